/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/router.h"
#include "core/conn.h"

#include <string.h>

#include "base/assert.h"
#include "core/chain.h"
#include "core/cluster.h"
#include "core/grpc.h"
#include "core/header_ops.h"
#include "core/outlier.h"
#include "core/retry.h"
#include "core/route.h"
#include "core/snapshot.h"
#include "core/stats.h"
#include "core/stream.h"
#include "core/upgrade.h"
#include "core/upstream.h"

struct router {
    struct mp_upreq up;
    struct mp_cluster_local *cluster;
    bool active;  /* up is under way */
    bool blocked; /* the request body waits for the upstream */
    bool grpc;    /* grpc_ms takes the place of the route's timeout, from the head on */
    uint64_t grpc_ms;
    struct mp_retry *retry; /* NULL: nobody asks for it */
};

static struct router *router_of(struct mp_filter *f)
{
    return mp_filter_state(f);
}

static struct mp_filter *filter_of(struct mp_upreq *u)
{
    struct router *r = MP_CONTAINER_OF(u, struct router, up);
    return (struct mp_filter *)(void *)r - 1;
}

/* ---- answers without an upstream ---- */

static enum mp_verdict redirect(struct mp_filter *f, const struct mp_route *route)
{
    struct mp_stream *s = f->stream;
    struct mp_str location = mp_route_redirect_location(route, &s->req, &s->arena);
    if (location.p == NULL) {
        return MP_VERDICT_ABORT;
    }
    mp_stat_inc(s->stats, MP_ST_HTTP_RQ_REDIRECT);
    const struct mp_reply_header headers[] = {{MP_STR("location"), location},
                                              {{NULL, 0}, {NULL, 0}}};
    return mp_filter_reply(f, route->conf->redirect_status, headers, MP_STR(""), "direct_response");
}

/* No upstream will be asked: answers and says so. */
static enum mp_verdict fail(struct mp_filter *f, unsigned status, struct mp_str body,
                            uint32_t flags, const char *details)
{
    mp_stream_local_reply(f->stream, status, NULL, body, flags, details);
    return MP_VERDICT_REPLY;
}

/* ---- requests ---- */

/* Sets the field to a number. */
static mp_err set_number(struct mp_stream *s, struct mp_hdrs *h, enum mp_hdr_id id, uint64_t v)
{
    char text[20];
    size_t n = 0;
    do {
        text[sizeof(text) - ++n] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    char *p = mp_arena_bytes(&s->arena, n);
    if (p == NULL) {
        return MP_FAIL(LIMIT);
    }
    memcpy(p, text + sizeof(text) - n, n);
    return mp_hdrs_put_id(h, id, mp_str(p, n));
}

static bool envoy_headers(const struct mp_filter *f)
{
    const struct mp_router_conf *c = f->conf;
    return !c->suppress_envoy_headers;
}

static uint64_t timeout_of(struct mp_filter *f)
{
    const struct router *r = router_of(f);
    if (MP_UNLIKELY(r->retry != NULL && r->retry->timeout_ms != UINT64_MAX)) {
        return r->retry->timeout_ms;
    }
    return MP_UNLIKELY(r->grpc) ? r->grpc_ms : f->stream->route->conf->timeout_ms;
}

/* Header work of the route and the path as the upstream will see it. */
static mp_err prepare(struct mp_filter *f, const struct mp_route *route,
                      const struct mp_route_target *target, struct mp_str *ret_path,
                      struct mp_str *ret_authority)
{
    struct mp_stream *s = f->stream;
    if (target->ops != NULL && !route->target_ops_last) {
        MP_TRY(mp_header_ops_request(target->ops, s, &s->req.hdrs));
    }
    for (int i = 0; i < 3; i++) {
        if (route->ops[i] != NULL) {
            MP_TRY(mp_header_ops_request(route->ops[i], s, &s->req.hdrs));
        }
    }
    if (target->ops != NULL && route->target_ops_last) {
        MP_TRY(mp_header_ops_request(target->ops, s, &s->req.hdrs));
    }
    s->target = target;
    *ret_path = mp_route_rewrite_path(route, s->req.path, &s->arena);
    if (ret_path->p == NULL) {
        return MP_FAIL(LIMIT);
    }
    *ret_authority = route->conf->host_rewrite.n > 0 ? route->conf->host_rewrite : s->req.authority;
    if (envoy_headers(f)) {
        if (ret_path->p != s->req.path.p) {
            MP_TRY(mp_hdrs_set_id(&s->req.hdrs, MP_HDR_X_ENVOY_ORIGINAL_PATH, s->req.path));
        }
        uint64_t ms = timeout_of(f);
        if (ms > 0) {
            MP_TRY(set_number(s, &s->req.hdrs, MP_HDR_X_ENVOY_EXPECTED_RQ_TIMEOUT_MS, ms));
        }
    }
    const struct mp_hdr *host = mp_hdrs_get(&s->req.hdrs, MP_HDR_HOST);
    if (host != NULL && host->value == ret_authority->p && host->value_n == ret_authority->n) {
        return MP_OK; /* as it came */
    }
    return mp_hdrs_set_id(&s->req.hdrs, MP_HDR_HOST, *ret_authority);
}

static const struct mp_upreq_ops up_ops;

static void start_route_timeout(struct mp_filter *f)
{
    uint64_t ms = timeout_of(f);
    if (ms > 0) {
        mp_filter_set_deadline(f, ms);
    }
}

static void send_again(struct mp_filter *f);
static void try_too_long(struct mp_filter *f, bool idle);

/* The first attempt, of a request that may have others. */
static void send_first(struct mp_filter *f, struct mp_upreq_spec *spec)
{
    struct router *r = router_of(f);
    struct mp_retry *rt = r->retry;
    rt->path = spec->path;
    rt->authority = spec->authority;
    rt->send = send_again;
    rt->too_long = try_too_long;
    if (mp_is_err(mp_retry_begin(rt, spec))) {
        mp_filter_fail(f, 431, 0, MP_STR(""), "request_headers_too_large");
        return;
    }
    r->active = true;
    mp_upreq_start(&r->up, f->stream->cw, r->cluster, &up_ops, spec);
    mp_retry_begun(rt, &r->up);
}

/* To the cluster that was chosen. */
static enum mp_verdict forward(struct mp_filter *f, struct mp_req_head *h,
                               const struct mp_route_target *target, bool end)
{
    struct mp_stream *s = f->stream;
    struct router *r = router_of(f);
    const struct mp_route *route = s->route;
    if (MP_UNLIKELY(route->conf->limits_grpc)) {
        r->grpc = mp_grpc_route_timeout(s, route->conf, &r->grpc_ms);
    }
    if (MP_UNLIKELY(mp_retry_asked(route->conf, h) && h->upgrade.n == 0)) {
        r->retry = mp_retry_new(f, r->cluster, h, end);
        if (r->retry == NULL) {
            return fail(f, 431, MP_STR(""), 0, "request_headers_too_large");
        }
    }
    struct mp_str path, authority;
    if (mp_is_err(prepare(f, route, target, &path, &authority))) {
        return fail(f, 431, MP_STR(""), 0, "request_headers_too_large");
    }
    if (route->conf->idle_timeout_ms != UINT64_MAX) {
        s->idle_timeout_ms = route->conf->idle_timeout_ms;
        s->idle_deadline = 0;
        mp_stream_touch(s);
        mp_stream_arm(s);
    }
    struct mp_upreq_spec spec = {
        .head = h,
        .path = path,
        .authority = authority,
        .end = end,
        .priority = route->conf->high_priority,
    };
    if (MP_UNLIKELY(r->retry != NULL)) {
        send_first(f, &spec);
    } else {
        r->active = true;
        mp_upreq_start(&r->up, s->cw, r->cluster, &up_ops, &spec);
    }
    if ((end || h->upgrade.n > 0 || r->grpc) && !s->ended) {
        start_route_timeout(f);
    }
    return MP_VERDICT_CONTINUE;
}

static enum mp_verdict on_request_headers(struct mp_filter *f, struct mp_req_head *h, bool end)
{
    struct mp_stream *s = f->stream;
    struct router *r = router_of(f);
    const struct mp_route *route = mp_stream_route(s);
    if (route == NULL) {
        mp_stat_inc(s->stats, MP_ST_HTTP_NO_ROUTE);
        return fail(f, 404, MP_STR(""), MP_FLAG_NO_ROUTE, "route_not_found");
    }
    switch (route->conf->action) {
    case MP_ROUTE_REDIRECT:
        return redirect(f, route);
    case MP_ROUTE_DIRECT:
        mp_stat_inc(s->stats, MP_ST_HTTP_RQ_DIRECT_RESPONSE);
        return fail(f, route->conf->direct_status, route->conf->direct_body, 0, "direct_response");
    case MP_ROUTE_NONE:
        mp_stat_inc(s->stats, MP_ST_HTTP_NO_ROUTE);
        return fail(f, 404, MP_STR(""), MP_FLAG_NO_ROUTE, "route_not_found");
    case MP_ROUTE_CLUSTER:
    case MP_ROUTE_WEIGHTED:
        break;
    }
    if (MP_UNLIKELY(h->upgrade.n > 0)) {
        /* A filter may have changed the route since the stream looked. */
        const struct mp_conf_upgrade *up = mp_upgrade_allowed(s->http, route, h);
        if (up == NULL) {
            mp_stat_inc(s->stats, MP_ST_HTTP_UPGRADE_REFUSED);
            return fail(f, 403, MP_STR(""), 0, "upgrade_failed");
        }
        h->connect_here = up->terminate;
        if (mp_is_err(mp_upgrade_add_key(s))) {
            return fail(f, 431, MP_STR(""), 0, "request_headers_too_large");
        }
    }
    const struct mp_route_target *target =
        mp_route_pick(route, route->n_targets > 1 ? mp_filter_random(f) : 0);
    r->cluster = mp_cluster_find(s->cw, target->cluster_id);
    s->upstream_cluster = target->cluster;
    if (r->cluster == NULL) {
        mp_stat_inc(s->stats, MP_ST_HTTP_NO_CLUSTER);
        return fail(f, 503, MP_STR(""), MP_FLAG_NO_CLUSTER, "cluster_not_found");
    }
    return forward(f, h, target, end);
}

/* Stops the client when the upstream does not keep up. */
static void check_flow(struct mp_filter *f)
{
    struct router *r = router_of(f);
    bool full = mp_upreq_queued(&r->up) >= f->stream->http->buffer_limit;
    if (full != r->blocked) {
        r->blocked = full;
        mp_filter_want_request(f, !full);
    }
}

/* False: there is no attempt that could take it now. */
static bool keep_for_retry(struct mp_filter *f, struct mp_str data, bool end)
{
    struct mp_retry *rt = router_of(f)->retry;
    mp_retry_keep(rt, data, end);
    mp_retry_touch(rt);
    if (rt->waiting && rt->lost_body) {
        mp_retry_stop(rt);
        mp_filter_fail(f, 507, 0, MP_STR("exceeded request buffer limit while retrying upstream"),
                       "request_payload_exceeded_retry_buffer_limit");
        return false;
    }
    if (end && rt->waiting && f->stream->route_deadline == 0) {
        start_route_timeout(f);
    }
    if (end) {
        mp_retry_whole(rt);
    }
    return !rt->waiting;
}

static enum mp_verdict on_request_data(struct mp_filter *f, struct mp_str data, bool end)
{
    struct router *r = router_of(f);
    if (MP_UNLIKELY(r->retry != NULL) && !keep_for_retry(f, data, end)) {
        return MP_VERDICT_CONTINUE;
    }
    if (!r->active) {
        return MP_VERDICT_CONTINUE; /* the response is complete already */
    }
    mp_upreq_data(&r->up, data, end);
    if (!end) {
        check_flow(f);
    } else if (r->active && f->stream->route_deadline == 0 && !f->stream->upgraded) {
        start_route_timeout(f);
    }
    return MP_VERDICT_CONTINUE;
}

static enum mp_verdict on_request_trailers(struct mp_filter *f, struct mp_hdrs *t)
{
    struct router *r = router_of(f);
    if (MP_UNLIKELY(r->retry != NULL)) {
        mp_retry_keep_trailers(r->retry, t);
        mp_retry_whole(r->retry);
    }
    if (r->active) {
        mp_upreq_trailers(&r->up, t);
        if (f->stream->route_deadline == 0) {
            start_route_timeout(f);
        }
    }
    return MP_VERDICT_CONTINUE;
}

/* ---- retries ---- */

/* The next attempt, when the back-off is over. */
static void send_again(struct mp_filter *f)
{
    struct router *r = router_of(f);
    struct mp_stream *s = f->stream;
    struct mp_retry *rt = r->retry;
    struct mp_upreq_spec spec = {
        .head = &s->req,
        .path = rt->path,
        .authority = rt->authority,
        .end = rt->head_end,
        .priority = rt->priority,
    };
    r->cluster = mp_cluster_find(s->cw, s->target->cluster_id);
    if (r->cluster == NULL || r->cluster != rt->cluster) {
        mp_retry_stop(rt);
        mp_filter_fail(f, 503, MP_FLAG_NO_CLUSTER, MP_STR(""), "cluster_not_found");
        return;
    }
    if (mp_is_err(mp_retry_begin(rt, &spec))) {
        mp_filter_fail(f, 431, 0, MP_STR(""), "request_headers_too_large");
        return;
    }
    r->active = true;
    mp_upreq_start(&r->up, s->cw, r->cluster, &up_ops, &spec);
    mp_retry_begun(rt, &r->up);
    if (!mp_retry_feed(rt, &r->up)) {
        mp_filter_fail(f, 503, MP_FLAG_OVERLOAD, MP_STR(""), "overload");
        return;
    }
    if (r->active && !rt->head_end) {
        check_flow(f);
    }
}

/* What the access log shall say of an attempt that is not followed by another. */
static void flag_retry(struct mp_filter *f, enum mp_retry_verdict v)
{
    f->stream->response_flags |= v == MP_RETRY_LIMIT     ? MP_FLAG_RETRY_LIMIT
                                 : v == MP_RETRY_REFUSED ? MP_FLAG_UPSTREAM_OVERFLOW
                                                         : 0;
}

/* The attempt's body may not wait for an upstream that has gone. */
static void leave_attempt(struct mp_filter *f)
{
    struct router *r = router_of(f);
    r->active = false;
    if (r->blocked) {
        r->blocked = false;
        mp_filter_want_request(f, true);
    }
}

/* True: another attempt follows this one, which is given up. */
static bool retry_head(struct mp_filter *f, struct mp_upreq *u, const struct mp_resp_head *h)
{
    enum mp_retry_verdict v = mp_retry_on_head(router_of(f)->retry, h);
    flag_retry(f, v);
    if (v != MP_RETRY_AGAIN) {
        return false;
    }
    mp_upreq_cancel(u);
    leave_attempt(f);
    return true;
}

static bool retry_end(struct mp_filter *f, const struct mp_upreq *u, enum mp_upreq_end why)
{
    struct mp_retry *rt = router_of(f)->retry;
    if (why == MP_UP_COMPLETE || u->resp_head) {
        mp_retry_stop(rt);
        return false;
    }
    enum mp_retry_verdict v = mp_retry_on_end(rt, why);
    flag_retry(f, v);
    if (v != MP_RETRY_AGAIN) {
        return false;
    }
    leave_attempt(f);
    return true;
}

static void try_too_long(struct mp_filter *f, bool idle)
{
    struct router *r = router_of(f);
    const char *details = idle ? "upstream_per_try_idle_timeout" : "upstream_per_try_timeout";
    if (!r->active) {
        return;
    }
    if (r->up.resp_head) {
        mp_filter_fail(f, 504, MP_FLAG_UPSTREAM_TIMEOUT, MP_STR(""), details);
        return;
    }
    mp_outlier_local(&r->up, true);
    enum mp_retry_verdict v = mp_retry_on_timeout(r->retry);
    flag_retry(f, v);
    mp_upreq_cancel(&r->up);
    leave_attempt(f);
    if (v != MP_RETRY_AGAIN) {
        mp_filter_fail(f, 504, MP_FLAG_UPSTREAM_TIMEOUT, MP_STR("upstream request timeout"),
                       details);
    }
}

/* ---- responses ---- */

static void up_on_host(struct mp_upreq *u, struct mp_str address, struct mp_str hostname)
{
    struct mp_filter *f = filter_of(u);
    struct mp_stream *s = f->stream;
    struct mp_str copy = mp_arena_dup(&s->arena, address);
    s->upstream_host = copy.p != NULL ? copy : MP_STR("");
    if (s->route->conf->auto_host_rewrite && hostname.n > 0) {
        struct mp_str host = mp_arena_dup(&s->arena, hostname);
        if (host.p != NULL && !mp_is_err(mp_hdrs_set_id(&s->req.hdrs, MP_HDR_HOST, host))) {
            u->authority = host;
        }
    }
}

static void up_on_1xx(struct mp_upreq *u, struct mp_resp_head *h)
{
    mp_filter_respond_1xx(filter_of(u), h);
}

static void up_on_headers(struct mp_upreq *u, struct mp_resp_head *h, bool end)
{
    struct mp_filter *f = filter_of(u);
    struct mp_stream *s = f->stream;
    struct mp_retry *rt = router_of(f)->retry;
    if (MP_UNLIKELY(rt != NULL) && retry_head(f, u, h)) {
        return;
    }
    s->upstream_first_ns = mp_loop_now_ns(s->cw->w.loop);
    if (MP_UNLIKELY(u->tunnel)) {
        s->upgraded = true;
        mp_filter_set_deadline(f, 0); /* it was for the answer; a tunnel has the idle timeout */
    }
    if (envoy_headers(f)) {
        h->hdrs.max = UINT16_MAX;
        uint64_t ms = (mp_loop_now_ns(s->cw->w.loop) - u->sent_ns) / 1000000;
        if (mp_is_err(set_number(s, &h->hdrs, MP_HDR_X_ENVOY_UPSTREAM_SERVICE_TIME, ms))) {
            mp_filter_fail(f, 502, MP_FLAG_UPSTREAM_PROTOCOL, MP_STR(""),
                           "upstream_response_headers_too_large");
            return;
        }
    }
    if (MP_UNLIKELY(rt != NULL && rt->count_down)) {
        char *text = mp_arena_printf(&s->arena, "%u", rt->attempts);
        if (text == NULL || mp_is_err(mp_hdrs_set_copy(&h->hdrs, MP_STR("x-envoy-attempt-count"),
                                                       mp_str_c(text)))) {
            mp_filter_fail(f, 502, MP_FLAG_UPSTREAM_PROTOCOL, MP_STR(""),
                           "upstream_response_headers_too_large");
            return;
        }
    }
    mp_filter_respond_headers(f, h, end);
}

static void up_on_data(struct mp_upreq *u, struct mp_str data, bool end)
{
    if (MP_UNLIKELY(router_of(filter_of(u))->retry != NULL)) {
        mp_retry_touch(router_of(filter_of(u))->retry);
    }
    mp_filter_respond_data(filter_of(u), data, end);
}

static void up_on_trailers(struct mp_upreq *u, struct mp_hdrs *t)
{
    mp_filter_respond_trailers(filter_of(u), t);
}

static void up_on_writable(struct mp_upreq *u)
{
    struct mp_filter *f = filter_of(u);
    struct router *r = router_of(f);
    if (r->blocked && mp_upreq_queued(u) < f->stream->http->buffer_limit / 2 + 1) {
        r->blocked = false;
        mp_filter_want_request(f, true);
    }
}

static void up_on_end(struct mp_upreq *u, enum mp_upreq_end why, const char *details)
{
    struct mp_filter *f = filter_of(u);
    router_of(f)->active = false;
    if (MP_UNLIKELY(router_of(f)->retry != NULL) && retry_end(f, u, why)) {
        return;
    }
    switch (why) {
    case MP_UP_COMPLETE:
        mp_stream_tunnel_end(f->stream);
        return;
    case MP_UP_NO_HOST:
        mp_filter_fail(f, 503, MP_FLAG_NO_HEALTHY_UPSTREAM, MP_STR("no healthy upstream"), details);
        return;
    case MP_UP_OVERFLOW:
        mp_filter_fail(f, 503, MP_FLAG_UPSTREAM_OVERFLOW,
                       MP_STR("upstream connect error or disconnect/reset before headers. reset "
                              "reason: overflow"),
                       details);
        return;
    case MP_UP_CONNECT_FAILED:
        mp_filter_fail(
            f, 503, MP_FLAG_UPSTREAM_CONNECT_FAILURE,
            MP_STR(
                "upstream connect error or disconnect/reset before headers. reset reason: remote "
                "connection failure"),
            details);
        return;
    case MP_UP_CONNECT_TIMEOUT:
        mp_filter_fail(f, 503, MP_FLAG_UPSTREAM_CONNECT_FAILURE,
                       MP_STR("upstream connect error or disconnect/reset before headers. reset "
                              "reason: connection "
                              "timeout"),
                       details);
        return;
    case MP_UP_RESET:
        mp_filter_fail(f, 503, MP_FLAG_UPSTREAM_RESET,
                       MP_STR("upstream connect error or disconnect/reset before headers. reset "
                              "reason: remote reset"),
                       details);
        return;
    case MP_UP_CLOSED:
        mp_filter_fail(f, 503, MP_FLAG_UPSTREAM_CLOSED,
                       MP_STR("upstream connect error or disconnect/reset before headers. reset "
                              "reason: connection "
                              "termination"),
                       details);
        return;
    case MP_UP_PROTOCOL_ERROR:
        mp_filter_fail(f, 502, MP_FLAG_UPSTREAM_PROTOCOL,
                       MP_STR("upstream connect error or disconnect/reset before headers. reset "
                              "reason: protocol error"),
                       details);
        return;
    case MP_UP_NOMEM:
        mp_filter_fail(f, 503, MP_FLAG_OVERLOAD, MP_STR(""), details);
        return;
    }
}

static bool up_wants_response(const struct mp_upreq *u)
{
    return mp_filter_response_wanted(filter_of((struct mp_upreq *)(uintptr_t)u));
}

static struct mp_arena *up_arena(struct mp_upreq *u)
{
    return &filter_of(u)->stream->arena;
}

static bool up_client(const struct mp_upreq *u, struct mp_addr *ret_from, struct mp_addr *ret_to)
{
    const struct mp_conn *c = filter_of((struct mp_upreq *)(uintptr_t)u)->stream->conn;
    *ret_from = c->peer;
    return mp_conn_local_addr(c, ret_to);
}

static const struct mp_upreq_ops up_ops = {
    .client = up_client,
    .on_host = up_on_host,
    .on_1xx = up_on_1xx,
    .on_headers = up_on_headers,
    .on_data = up_on_data,
    .on_trailers = up_on_trailers,
    .on_writable = up_on_writable,
    .on_end = up_on_end,
    .wants_response = up_wants_response,
    .arena = up_arena,
};

static void on_response_writable(struct mp_filter *f)
{
    struct router *r = router_of(f);
    if (r->active) {
        mp_upreq_read_on(&r->up);
    }
}

static void on_deadline(struct mp_filter *f)
{
    struct router *r = router_of(f);
    if (r->cluster != NULL) {
        mp_stat_inc(mp_cluster_stats(r->cluster), MP_ST_CLUSTER_RQ_TIMEOUT);
    }
    if (r->active && !r->up.resp_head) {
        mp_outlier_local(&r->up, true);
    }
    if (r->retry != NULL) {
        mp_retry_stop(r->retry);
    }
    if (r->grpc) {
        f->stream->grpc_reply = MP_GRPC_DEADLINE_EXCEEDED + 1; /* as the client sees it */
    }
    mp_filter_fail(f, 504, MP_FLAG_UPSTREAM_TIMEOUT, MP_STR("upstream request timeout"),
                   "response_timeout");
}

static void on_end(struct mp_filter *f)
{
    struct router *r = router_of(f);
    if (r->retry != NULL) {
        mp_retry_stop(r->retry);
    }
    if (r->active) {
        r->active = false;
        mp_upreq_cancel(&r->up);
    }
}

const struct mp_filter_type mp_filter_router = {
    .name = "envoy.filters.http.router",
    .state_size = sizeof(struct router),
    .on_request_headers = on_request_headers,
    .on_request_data = on_request_data,
    .on_request_trailers = on_request_trailers,
    .on_response_writable = on_response_writable,
    .on_deadline = on_deadline,
    .on_end = on_end,
};
