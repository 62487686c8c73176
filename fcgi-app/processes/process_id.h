/* The member that names a background process. */
#pragma once

#include "fcgi-app/http/json_body.h"

#define PROCESS_ID_MEMBER                                                                          \
    {                                                                                              \
        .name = "id", .kind = JSON_TEXT, .required = true, .missing = "Process ID is required",    \
        .about = "The process."                                                                    \
    }
