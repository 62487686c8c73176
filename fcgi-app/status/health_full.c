/*
 * GET /health?full=1, for a client with the token: beside the health, what an operator watches to
 * see how a server copes with its load.
 */
#include "fcgi-app/status/health_full.h"

#include <inttypes.h>
#include <string.h>

#include "fcgi-app/http/writer.h"
#include "fcgi-app/status/server_state.h"

/* `comma` comes before the first. Unknown is null. */
static void write_figures(struct writer *writer, const struct figure *figures, const void *state,
                          const char *comma)
{
    const char *object = "";
    for (const struct figure *figure = figures; figure->member != NULL; figure++) {
        if (strcmp(figure->object, object) != 0) {
            (void)writer_format(writer, "%s,\"%s\":{", *object == '\0' ? "" : "}", figure->object);
            object = figure->object;
            comma = "";
        }
        int64_t value = figure_value(figure, state);
        (void)writer_format(writer, "%s\"%s\":", comma, figure->member);
        (void)(value < 0 ? writer_string(writer, "null")
                         : writer_format(writer, "%" PRId64, value));
        comma = ",";
    }
    (void)writer_string(writer, *object == '\0' ? "" : "}");
}

void health_full_write(struct writer *writer, const struct server_state *state)
{
    write_figures(writer, server_figures, state, ",");
    (void)writer_string(writer, ",\"daemons\":{");
    for (size_t i = 0; i < state->procd.daemon_count; i++) {
        const struct daemon_status *daemon = &state->procd.daemons[i];
        (void)writer_format(writer, "%s\"%s\":{", i == 0 ? "" : ",", daemon->name);
        write_figures(writer, daemon_figures, daemon, "");
        (void)writer_string(writer, "}");
    }
    (void)writer_string(writer, "}");
}
