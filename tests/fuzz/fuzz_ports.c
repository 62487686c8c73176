/*
 * What fcgi-app reads of shared ports. The first line of the input is the list embed_origins of a
 * body, the rest the file of a share, which commands may have written.
 */
#include <assert.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-app/ports/embed_origins.h"
#include "fcgi-app/ports/shares.h"
#include "tests/fuzz/fuzz.h"

#define ORIGIN_CHARACTERS                                                                          \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:/ " /* and between two */

/* Nothing in it ends a header, a directive of its policy, or a line of a file. */
static bool read_origins(struct json_span list, char text[static SHARE_ORIGINS_MOST + 1])
{
    if (embed_origins_read(list, text) != NULL) {
        return false;
    }
    size_t length = strlen(text);
    assert(length <= SHARE_ORIGINS_MOST && strspn(text, ORIGIN_CHARACTERS) == length);
    assert(length == 0 || (text[0] != ' ' && text[length - 1] != ' '));
    assert(strstr(text, "  ") == NULL);
    return true;
}

static void check_share(const struct share *share)
{
    assert(strlen(share->id) == SHARE_ID_SIZE - 1);
    assert(strspn(share->id, "0123456789abcdef") == SHARE_ID_SIZE - 1);
    assert(share->port >= 1 && share->port <= 65535 && share->expires_ms > 0);
}

/* The file of the input is a share or it is gone. One of ours is there beside it. */
static void read_file(struct input *input, const char *origins)
{
    static struct share shares[SHARES_MOST];
    struct share ours = {.port = 8080, .expires_ms = UINT64_C(999999999999999)};
    int directory = scratch_directory();
    scratch_file(SHARE_PREFIX "0123456789abcdef", input->data, input->left);
    scratch_file(SHARE_PUBLIC_PREFIX "3000", input->data, input->left);
    shares_init(directory);
    assert(shares_add(&ours, origins) == 0);
    int count = shares_now(shares);
    bool found = false;
    for (int i = 0; i < count; i++) {
        check_share(&shares[i]);
        found = found || (strcmp(shares[i].id, ours.id) == 0 && shares[i].port == ours.port &&
                          shares[i].expires_ms == ours.expires_ms && !shares[i].is_public);
    }
    assert(found && count <= 3);
    assert((faccessat(directory, SHARE_PUBLIC_PREFIX "3000", F_OK, 0) == 0) == (count == 3));
    assert(shares_end(ours.id, 0) >= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char origins[SHARE_ORIGINS_MOST + 1];
    struct input input = {data, size};
    const uint8_t *end = size == 0 ? NULL : memchr(data, '\n', size);
    size_t length = end == NULL ? size : (size_t)(end - data);
    struct json_span list = {input_bytes(&input, &length), length};
    bool good = read_origins(list, origins);
    if (input.left > 0) {
        (void)input_number(&input, 1); /* the newline */
    }
    read_file(&input, good ? origins : "");
    return 0;
}
