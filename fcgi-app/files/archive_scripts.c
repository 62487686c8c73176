#include "fcgi-app/files/archive_scripts.h"

#include <stdint.h>

#include "fcgi-app/files/raw_limits.h"

#define FILE_UNIT 512 /* bytes that ulimit(1) counts in */

void archive_script_to_extract(const struct archive_kind *kind, char script[ARCHIVE_SCRIPT_SIZE])
{
    script[0] = '\0';
    archive_append(script, ARCHIVE_SCRIPT, kind->programs);
    if (raw_limits_upload_max() != UINT64_MAX) {
        unsigned long long most = raw_limits_upload_max() / FILE_UNIT;
        archive_append(script,
                       "trap '' XFSZ; was=$(ulimit -f)\n"
                       "[ \"$was\" != unlimited ] && [ \"$was\" -le %llu ] || ulimit -f %llu\n",
                       most, most);
    }
    archive_append(script,
                   "TZ=UTC0 exec tar --extract --file=- %s --blocking-factor=128 "
                   "--verbose --verbose --numeric-owner --block-number --quoting-style=escape "
                   "--preserve-permissions --no-same-owner --delay-directory-restore "
                   "--warning=no-timestamp --warning=no-unknown-keyword",
                   kind->unpacking);
}

void archive_script_to_clear_bits(time_t since, char script[ARCHIVE_SCRIPT_SIZE])
{
    script[0] = '\0';
    archive_append(script, ARCHIVE_SCRIPT "[ \"$(id -u)\" = 0 ] || exit 0\n", "find");
    archive_append(script, "find . -xdev -type f -perm /6000 -newerct @%lld -exec chmod a-s {} +",
                   (long long)since);
}
