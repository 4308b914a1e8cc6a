/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Trying a request again: what may be tried again, how often, when, and the body that is sent
 * again. It is there for requests whose route or headers ask for it; the router does the sending.
 *
 * A request is sent again whole or not at all: its body is kept as it passes, up to a limit, beyond
 * which there is no retry any more. Once the head of a response has gone to the client there is
 * none either.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/timerwheel.h"
#include "conf/model.h"
#include "core/filter.h"
#include "core/upstream.h"

#define MP_RETRY_HOSTS_MAX 16
#define MP_RETRY_CODES_MAX 16

enum mp_retry_verdict {
    MP_RETRY_NO,      /* nothing that would be tried again */
    MP_RETRY_LIMIT,   /* it would, but that was the last attempt */
    MP_RETRY_REFUSED, /* it would, but the circuit breaker or the budget says no */
    MP_RETRY_AGAIN    /* the timer runs */
};

struct mp_retry {
    struct mp_filter *router;
    struct mp_cluster_local *cluster;
    const struct mp_conf_retry *conf; /* NULL: headers alone ask for it */
    /* The back-off is over: send it again. An attempt took too long, or stood still (idle). */
    void (*send)(struct mp_filter *router);
    void (*too_long)(struct mp_filter *router, bool idle);
    uint32_t on, left, attempts;
    uint64_t per_try_ms, per_try_idle_ms;
    uint64_t timeout_ms; /* instead of the route's; UINT64_MAX: that */
    uint16_t codes[MP_RETRY_CODES_MAX];
    uint32_t n_codes;
    uint8_t priority;
    bool count_up, count_down; /* x-envoy-attempt-count */
    bool counted;              /* in the circuit breaker */
    bool waiting;              /* between two attempts */
    bool lost_body;            /* it was too large */
    bool head_end, body_end;   /* the request had no body; its body is whole */
    struct mp_hdrs *trailers;
    struct mp_buf body;
    size_t body_max;
    const struct mp_host_local *tried[MP_RETRY_HOSTS_MAX];
    uint32_t n_tried;
    struct mp_str path, authority; /* as to be sent */
    struct mp_timer back_off, try_timer, idle_timer;
};

struct mp_route;
#define MP_RETRY_FIELDS                                                                     \
    ((uint64_t)1 << MP_HDR_X_ENVOY_RETRY_ON | (uint64_t)1 << MP_HDR_X_ENVOY_RETRY_GRPC_ON | \
     (uint64_t)1 << MP_HDR_X_ENVOY_MAX_RETRIES |                                            \
     (uint64_t)1 << MP_HDR_X_ENVOY_RETRIABLE_STATUS_CODES |                                 \
     (uint64_t)1 << MP_HDR_X_ENVOY_UPSTREAM_RQ_TIMEOUT_MS |                                 \
     (uint64_t)1 << MP_HDR_X_ENVOY_UPSTREAM_RQ_PER_TRY_TIMEOUT_MS)

static inline bool mp_retry_asked(const struct mp_conf_route *route, const struct mp_req_head *h)
{
    return route->retry != NULL || (h->hdrs.seen & MP_RETRY_FIELDS) != 0 || route->count_attempts ||
           route->tell_attempts;
}
/* Takes the fields that ask out of the head. NULL: the arena's limit. */
struct mp_retry *mp_retry_new(struct mp_filter *router, struct mp_cluster_local *cluster,
                              struct mp_req_head *h, bool end);
/* An attempt begins: fills in what it must avoid, counts it, tells it in the head. */
MP_MUST_USE mp_err mp_retry_begin(struct mp_retry *r, struct mp_upreq_spec *spec);
/* It was given to this host; the request may be whole already. */
void mp_retry_begun(struct mp_retry *r, const struct mp_upreq *u);
/* The request is whole: the attempt's time runs. */
void mp_retry_whole(struct mp_retry *r);
/* Something has moved. */
void mp_retry_touch(struct mp_retry *r);
/* Part of the body. */
void mp_retry_keep(struct mp_retry *r, struct mp_str data, bool end);
void mp_retry_keep_trailers(struct mp_retry *r, struct mp_hdrs *t);
/* Gives the kept body to an attempt. False: the worker's memory limit. */
MP_MUST_USE bool mp_retry_feed(struct mp_retry *r, struct mp_upreq *u);
/* The head of a final response. */
enum mp_retry_verdict mp_retry_on_head(struct mp_retry *r, const struct mp_resp_head *h);
enum mp_retry_verdict mp_retry_on_end(struct mp_retry *r, enum mp_upreq_end why);
enum mp_retry_verdict mp_retry_on_timeout(struct mp_retry *r);
/* No attempt follows any more. */
void mp_retry_stop(struct mp_retry *r);
