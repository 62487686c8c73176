#include "common/daemons.h"

#define DAEMON_ENTRY(identifier, name, is_ours, serves)                                            \
    [DAEMON_##identifier] = {name, is_ours, serves},
const struct daemon_entry server_daemons[DAEMON_COUNT] = {DAEMON_LIST(DAEMON_ENTRY)};
