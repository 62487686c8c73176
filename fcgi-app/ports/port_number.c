#include "fcgi-app/ports/port_number.h"

#include <stdlib.h>
#include <string.h>

#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/json.h"
#include "fcgi-app/ports/port_table.h"

unsigned port_parse(const char *text)
{
    size_t length = strspn(text, "0123456789");
    if (text[length] != '\0' || length == 0 || length > 5 || text[0] == '0') {
        return 0;
    }
    unsigned long port = strtoul(text, NULL, 10);
    return port <= 65535 ? (unsigned)port : 0;
}

unsigned port_wanted(struct request *request, const struct json_body *body, const char *name)
{
    unsigned port = port_parse(json_text(body, name));
    if (port == 0) {
        answer_error(request, 400, ERROR_invalid_request,
                     "Invalid %s: a number from 1 to 65535 is expected", name);
    } else if (port_is_own(port)) {
        answer_error(request, 400, ERROR_invalid_request, "Port %u is the server's own", port);
        return 0;
    }
    return port;
}
