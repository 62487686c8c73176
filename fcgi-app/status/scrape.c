/*
 * GET /metrics: what was counted, and the state now, for Prometheus. nginx decides which clients
 * may ask, and adds its own figures (nginx/snippets/metrics.conf).
 */
#include "fcgi-app/http/answer.h"
#include "fcgi-app/http/endpoint.h"
#include "fcgi-app/http/metrics.h"
#include "fcgi-app/http/request.h"
#include "fcgi-app/http/writer.h"
#include "fcgi-app/status/metrics_text.h"
#include "fcgi-app/status/server_state.h"

#define ANSWER_TIMEOUT_MS 2000

/* Room for every endpoint and status: the answer leaves at once and cannot be cut in the middle of
 * a number. */
#define ANSWER_BUFFER ((size_t)262144)

static void answer_metrics(struct request *request, const struct json_body *body)
{
    (void)body;
    struct metrics metrics;
    struct server_state state;
    struct writer writer;
    if (writer_init(&writer, request, ANSWER_BUFFER, true) < 0) {
        answer_error(request, 500, ERROR_internal, "Out of memory");
        return;
    }
    (void)server_state_take(&state, ANSWER_TIMEOUT_MS); /* without procd there is less */
    metrics_take(&metrics);
    if (request_begin(request, 200, METRICS_CONTENT_TYPE, NULL) == 0) {
        metrics_write(&writer, &metrics, &state);
        (void)writer_flush(&writer);
    }
    writer_clear(&writer);
}

const struct endpoint metrics_endpoint = {
    API_ROW(metrics),
    .about = "What was counted since the start, in the text format of Prometheus.",
    .handle = answer_metrics,
};
