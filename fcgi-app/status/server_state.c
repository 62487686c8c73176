#include "fcgi-app/status/server_state.h"

#include "common/clock.h"
#include "common/log_drops.h"
#include "fcgi-app/http/acceptors.h"
#include "fcgi-app/http/admission.h"
#include "fcgi-app/http/places.h"
#include "fcgi-app/status/zombies.h"

static void add_log(void *context, const struct job *job)
{
    int64_t *sum = context;
    *sum += (int64_t)(job->position.next_offset - job->position.first_offset);
}

/* Bytes of all logs, -1 when procd does not answer. */
static int64_t size_of_logs(void)
{
    int64_t sum = 0;
    return procd_list(false, add_log, &sum) == PROCD_DONE ? sum : -1;
}

static const struct procd_status unknown = {.supervisor = -1,
                                            .uptime_ms = -1,
                                            .running = -1,
                                            .runners = -1,
                                            .idle_runners = -1,
                                            .disk_free = -1,
                                            .disk_total = -1};

static void count_drops(struct server_state *state)
{
    struct log_drops drops;
    state->dropped_lines = state->since_drop_ms = -1;
    if (log_drops_read(&drops) == 0) {
        state->dropped_lines = drops.lines;
        if (drops.last_ms > 0) {
            state->since_drop_ms = (int64_t)(clock_ns(CLOCK_BOOTTIME) / 1000000U) - drops.last_ms;
        }
    }
}

enum procd_result server_state_take(struct server_state *state, int timeout_ms)
{
    *state = (struct server_state){.zombies = -1,
                                   .requests = places_taken(),
                                   .backlog = acceptors_backlog(),
                                   .runs = admission_count(ADMISSION_RUN),
                                   .streams = admission_count(ADMISSION_STREAM),
                                   .log_bytes = -1};
    count_drops(state);
    enum procd_result result = procd_status(&state->procd, timeout_ms);
    if (result != PROCD_DONE) {
        state->procd = unknown;
        return result;
    }
    if (state->procd.supervisor > 0) {
        state->zombies = zombies_below(state->procd.supervisor);
    }
    state->has_procd = true;
    state->log_bytes = size_of_logs();
    return PROCD_DONE;
}
