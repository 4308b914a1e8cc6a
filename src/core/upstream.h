/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* One request to a cluster, for the router, filters (call_http) and rpc: load balancing, pool,
 * connection, codec are behind it. Worker thread only.
 *
 * Life: the owner embeds struct mp_upreq in memory that lives to the end of the loop's turn in
 * which on_end comes; mp_upreq_start; then callbacks. on_end comes exactly once and never from
 * inside mp_upreq_start, unless the owner cancels: then nothing comes any more.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/str.h"
#include "core/filter.h"
#include "io/addr.h"
#include "io/loop.h"

struct mp_cluster_local;
struct mp_core_worker;
struct mp_h2_stream;
struct mp_host_local;
struct mp_upconn;
struct mp_upreq;

enum mp_upreq_end {
    MP_UP_COMPLETE, /* response delivered whole */
    MP_UP_NO_HOST,  /* no healthy upstream */
    MP_UP_OVERFLOW, /* pending or connection limit */
    MP_UP_CONNECT_FAILED,
    MP_UP_CONNECT_TIMEOUT,
    MP_UP_RESET,          /* by the upstream, before or inside the response */
    MP_UP_CLOSED,         /* closed by the upstream before the response was whole */
    MP_UP_PROTOCOL_ERROR, /* malformed response */
    MP_UP_NOMEM           /* worker's memory limit */
};

struct mp_upreq_ops {
    /* The client on whose behalf the request is made, and the address it came to; false: nobody's.
     * NULL: nobody's. */
    bool (*client)(const struct mp_upreq *u, struct mp_addr *ret_from, struct mp_addr *ret_to);
    /* A connection to this host will carry the request (text of its address; valid until on_end).
     */
    void (*on_host)(struct mp_upreq *u, struct mp_str address, struct mp_str hostname);
    void (*on_1xx)(struct mp_upreq *u, struct mp_resp_head *h);
    void (*on_headers)(struct mp_upreq *u, struct mp_resp_head *h, bool end);
    void (*on_data)(struct mp_upreq *u, struct mp_str data, bool end);
    void (*on_trailers)(struct mp_upreq *u, struct mp_hdrs *t);
    /* Request body may be sent again. */
    void (*on_writable)(struct mp_upreq *u);
    void (*on_end)(struct mp_upreq *u, enum mp_upreq_end why, const char *details);
    /* May response bytes be read now? Otherwise the owner calls mp_upreq_read_on later. */
    bool (*wants_response)(const struct mp_upreq *u);
    /* Arena for heads and trailers of the response. */
    struct mp_arena *(*arena)(struct mp_upreq *u);
};

struct mp_upreq {
    const struct mp_upreq_ops *ops;
    struct mp_core_worker *cw;
    uint64_t serial; /* of the worker; never 0 */
    struct mp_cluster_local *cluster;
    struct mp_host_local *host;
    struct mp_upconn *conn;   /* NULL: waiting for one */
    struct mp_h2_stream *h2;  /* on an HTTP/2 connection */
    struct mp_upconn *coming; /* pending: the connect made for it; NULL: none (limit) */
    struct mp_list link;      /* in the pending queue */
    struct mp_task end_task;  /* failure found inside mp_upreq_start */
    /* request; borrowed until on_end */
    const struct mp_req_head *head;
    struct mp_str path, authority; /* as to be sent */
    bool idempotent;
    /* progress */
    bool started, pending, head_sent, ended;
    bool no_body;      /* the request ends with its head */
    bool req_end;      /* the request has been written whole */
    bool held_all;     /* the whole rest of the request is in held (and trailers) */
    bool req_chunked;  /* framing chosen for the request body */
    bool expect_100;   /* the client waits for 100 (Continue) */
    bool any_response; /* a byte of a response has come */
    bool resp_head, resp_end;
    bool reused_conn, retried;
    bool fresh;           /* wants a connection that has carried nothing */
    bool tunnel;          /* the answer has opened a tunnel (core/upgrade.h) */
    bool leased, counted; /* in the request breaker; in upstream_rq_active */
    bool unlimited;       /* spec.host */
    uint8_t priority;     /* MP_PRIORITY_* */
    uint8_t why;          /* enum mp_upreq_end for end_task */
    uint8_t n_1xx;        /* HTTP/2; HTTP/1 counts on its connection */
    const char *details;
    uint64_t req_left;  /* of a body with length */
    struct mp_buf held; /* body kept while there is no connection */
    bool has_trailers;
    struct mp_hdrs *trailers;
    uint64_t sent_ns;
    uint64_t body_sent;
};

/* What is asked for. The rest of the zeroed struct is the usual thing. */
struct mp_upreq_spec {
    const struct mp_req_head *head;
    struct mp_str path, authority; /* as to be sent */
    bool end;                      /* the request has no body */
    uint8_t priority;              /* MP_PRIORITY_*: whose circuit breaker */
    /* This host and no other, whatever its health and without limits (health checks). */
    struct mp_host_local *host;
    /* Hosts to avoid if possible, by so many attempts to find another one (retries). */
    const struct mp_host_local *const *tried;
    uint32_t n_tried, attempts;
};
/* cluster NULL is not allowed: the owner has answered 503 already. */
void mp_upreq_start(struct mp_upreq *u, struct mp_core_worker *cw, struct mp_cluster_local *cluster,
                    const struct mp_upreq_ops *ops, const struct mp_upreq_spec *spec);
/* In a tunnel, end is the half close; before it is open, data wait. */
void mp_upreq_data(struct mp_upreq *u, struct mp_str data, bool end);
void mp_upreq_trailers(struct mp_upreq *u, struct mp_hdrs *t);
/* Bytes accepted and not yet taken by the kernel. */
size_t mp_upreq_queued(const struct mp_upreq *u);
void mp_upreq_read_on(struct mp_upreq *u);
/* No callback comes any more. Harmless after the end. */
void mp_upreq_cancel(struct mp_upreq *u);
/* NULL when the cluster is not configured on this worker. */
struct mp_cluster_local *mp_cluster_find(struct mp_core_worker *cw, uint32_t cluster_id);
const struct mp_stat_block *mp_cluster_stats(const struct mp_cluster_local *c);
struct mp_str mp_cluster_name(const struct mp_cluster_local *c);
