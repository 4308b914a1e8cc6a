/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The metrics filter: counts requests, answers, times and sizes. metrics_logic.c counts, metrics.c
 * ties it to the program.
 *
 * Whether a request is counted is decided once. A request that a filter in front answers never
 * comes by here, but its answer does: it is counted then.
 */
#pragma once
#include "filters/guest.h"

struct mp_metrics {
    bool requests, responses, timing, sizes;
    uint64_t sample_below; /* counted when a random number of 53 bits is less */
    struct mp_guest_locals *locals;
};
#define MP_METRICS_SAMPLE_ALL (1ull << 53)

struct mp_metrics_settings {
    bool requests, responses, timing, sizes;
    double sample_rate;
};
/* NULL: refused. */
struct mp_metrics *mp_metrics_setup(const struct mp_metrics_settings *in, struct mp_guest_setup *s);

/* Of one request; begins all zero. */
struct mp_metrics_state {
    bool decided, counted, request_done, response_done;
};
void mp_metrics_on_request(const struct mp_metrics *m, struct mp_guest *g,
                           struct mp_metrics_state *st);
void mp_metrics_on_response(const struct mp_metrics *m, struct mp_guest *g,
                            struct mp_metrics_state *st);
void mp_metrics_on_end(const struct mp_metrics *m, struct mp_guest *g, struct mp_metrics_state *st);
void mp_metrics_on_published(struct mp_guest_host *h, const struct mp_metrics *const *list,
                             uint32_t n);
