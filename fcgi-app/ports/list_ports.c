/* GET /list_ports: what listens now, and who. */
#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/error_text.h"
#include "fcgi-app/commands/command.h"
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/writer.h"
#include "fcgi-app/ports/port_table.h"
#include "fcgi-app/ports/port_text.h"
#include "fcgi-app/ports/shared_ports.h"

static void write_ports(struct request *request, const struct port_list *list)
{
    char buffer[16384];
    struct writer writer = writer_over(request, buffer, sizeof(buffer), 200);
    (void)writer_string(&writer, "{\"ports\":[");
    for (size_t i = 0; i < list->count; i++) {
        char text[PORT_TEXT_SIZE];
        size_t length = port_text(&list->entries[i], text);
        (void)writer_string(&writer, i == 0 ? "" : ",");
        (void)writer_raw(&writer, text, length);
    }
    (void)writer_string(&writer, "]}");
    (void)writer_finish(&writer);
}

/* errno says why. */
static void answer_unlisted(struct request *request)
{
    answer_error(request, 500, api_error_of_errno(errno), "The ports cannot be listed: %s",
                 error_text(errno));
}

static void handle_list_ports(struct request *request, const struct json_body *query)
{
    (void)query;
    cleanup_(port_list_clear) struct port_list list = {0};
    uint64_t version;
    if (port_table_look(0) < 0) {
        answer_unlisted(request);
        return;
    }
    enum procd_result result = port_table_ask(true);
    if (result != PROCD_DONE) {
        answer_procd_failure(request, result);
    } else if (port_table_copy(&list, &version) < 0 || port_list_mark_shared(&list) < 0) {
        answer_unlisted(request);
    } else {
        write_ports(request, &list);
    }
}

const struct endpoint list_ports_endpoint = {
    API_ROW(list_ports),
    .about = "Lists the TCP ports on which something listens.",
    .handle = handle_list_ports,
};
