#include "api/statuses.h"

#include <stddef.h>

#define STATUS(status, reason)                  {reason, NULL, status, ERROR_internal},
#define FAILURE(status, reason, message, error) {reason, message, status, ERROR_##error},
const struct api_status api_statuses[API_STATUS_COUNT] = {API_STATUSES(STATUS, FAILURE)};

unsigned api_status_index(int status)
{
    unsigned index = 0;
    while (index < API_STATUS_COUNT && api_statuses[index].status != status) {
        index++;
    }
    return index;
}
