/* The member that names a background process. */
#ifndef FCGI_APP_PROCESSES_PROCESS_ID_H
#define FCGI_APP_PROCESSES_PROCESS_ID_H

#include "fcgi-app/http/json.h"

#define PROCESS_ID_MEMBER                                                                          \
    {                                                                                              \
        .name = "id", .kind = JSON_TEXT, .required = true, .missing = "Process ID is required",    \
        .about = "The process."                                                                    \
    }

#endif
