/*
 * The headers of /files: ranges, dates, conditions and digests. The first byte tells the size or
 * the etag that they are about, the rest is the value of each header.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "fcgi-app/files/body_digest.h"
#include "fcgi-app/http/byte_range.h"
#include "fcgi-app/http/conditions.h"
#include "fcgi-app/http/http_date.h"
#include "fcgi-app/http/prefer.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/fake_request.h"

/* A part lies within what there is. */
static void check_range(const char *text, uint64_t size)
{
    struct byte_range range;
    enum range_kind kind = byte_range_read(text, size, &range);
    if (kind == RANGE_PART) {
        assert(range.length > 0 && range.first < size && range.length <= size - range.first);
    } else if (kind == RANGE_WHOLE) {
        assert(range.first == 0 && range.length == size);
    }
}

/* What is a date can be written, and is the same date then. */
static void check_date(const char *text)
{
    time_t date, again;
    char written[HTTP_DATE_SIZE];
    if (http_date_parse(text, &date) && *http_date_format(date, written) != '\0') {
        assert(!http_date_parse(written, &again) || again == date);
    }
}

/* A condition holds for a state or for its absence, or fails; and never reads beyond its value. */
static void check_conditions(const char *text, const char *etag)
{
    const struct validators current = {
        .etag = etag, .has_date = true, .modified = {.tv_sec = 1000000000}};
    for (int reads = 0; reads < 2; reads++) {
        struct request request = {.param = text, .only_reads = reads != 0};
        enum verdict verdict = conditions_check(&request, &current);
        assert(reads != 0 || verdict != CONDITIONS_NOT_MODIFIED);
        (void)conditions_check(&request, NULL);
        (void)conditions_allow_range(&request, &current);
    }
}

static void check_digest(const char *text)
{
    struct body_digest digest;
    struct request request = {.param = text};
    if (body_digest_begin(&digest, &request) == NULL) {
        body_digest_add(&digest, text, strlen(text));
        (void)body_digest_holds(&digest);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    static const uint64_t sizes[] = {0, 1, 10, UINT64_C(1) << 40, INT64_MAX};
    static const char *const etags[] = {"", "\"1\"", "\"1.0-2.0-3-4\""};
    cleanup_free char *text = strndup((const char *)data + 1, size - 1);
    assert(text != NULL);
    check_range(text, sizes[data[0] % (sizeof(sizes) / sizeof(sizes[0]))]);
    check_date(text);
    check_conditions(text, etags[data[0] % (sizeof(etags) / sizeof(etags[0]))]);
    check_digest(text);
    (void)prefers_strict_handling(text);
    return 0;
}
