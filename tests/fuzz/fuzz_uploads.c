/*
 * What is read of an upload: Upload-Metadata, Upload-Checksum, and the text of its record, which
 * commands may be able to write. The whole input is each of these in turn.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "fcgi-app/files/raw_path.h"
#include "fcgi-app/uploads/upload_checksum.h"
#include "fcgi-app/uploads/upload_metadata.h"
#include "fcgi-app/uploads/upload_record.h"
#include "tests/fuzz/fuzz.h"

/* A path is absolute and leads nowhere up, and a mode is one; or there is a reason. */
static void check_metadata(const char *text)
{
    cleanup_(upload_metadata_clear) struct upload_metadata metadata;
    const char *fault = upload_metadata_read(&metadata, text);
    if (fault != NULL) {
        assert(*fault != '\0');
        return;
    }
    assert(metadata.path[0] == '/' && !raw_path_goes_up(metadata.path));
    assert(!metadata.wish.has_mode || metadata.wish.mode <= 07777);
    assert(!metadata.wish.has_time ||
           (metadata.wish.modified.tv_nsec >= 0 && metadata.wish.modified.tv_nsec < 1000000000));
}

static void check_checksum(const char *text)
{
    struct upload_checksum checksum;
    const char *fault = upload_checksum_begin(&checksum, text);
    if (fault == NULL) {
        assert((checksum.algorithm == UPLOAD_NO_CHECKSUM) == (*text == '\0'));
        upload_checksum_add(&checksum, text, strlen(text));
        (void)upload_checksum_holds(&checksum);
    }
}

static void check_record(const char *data, size_t size)
{
    struct upload_record record = {.fd = -1};
    if (upload_record_parse(&record, data, size) == 0) {
        assert(record.part.path != NULL && record.metadata != NULL);
        check_metadata(record.metadata);
    }
    upload_record_clear(&record);
}

static void check_name(const char *name)
{
    char id[UPLOAD_ID_SIZE];
    enum upload_name kind = upload_name_read(name, id);
    assert(kind == UPLOAD_OTHER || strlen(id) == UPLOAD_ID_LENGTH);
    assert(!upload_id_is(name) || (strchr(name, '/') == NULL && strcmp(name, id) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_free char *text = strndup((const char *)data, size);
    assert(text != NULL);
    check_metadata(text);
    check_checksum(text);
    check_name(text);
    check_record((const char *)data, size);
    return 0;
}
