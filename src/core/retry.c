/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/retry.h"

#include "base/assert.h"
#include "core/chan.h"
#include "core/cluster.h"
#include "core/grpc.h"
#include "core/route.h"
#include "core/snapshot.h"
#include "core/stats.h"
#include "core/stream.h"

#define BASE_MS      25 /* of the back-off where only headers ask */
#define MAX_MS       250
#define BACK_OFF_MAX (24 * 3600 * 1000)

static const struct mp_stat_block *stats_of(const struct mp_retry *r)
{
    return mp_cluster_stats(r->cluster);
}

static struct mp_loop *loop_of(const struct mp_retry *r)
{
    return r->router->stream->cw->w.loop;
}

/* ---- what the request asks for ---- */

/* The field's value, which is taken out; empty: none. */
static struct mp_str take_field(struct mp_hdrs *h, enum mp_hdr_id id)
{
    const struct mp_hdr *e = mp_hdrs_maybe(h, id) ? mp_hdrs_get(h, id) : NULL;
    struct mp_str v = e != NULL ? mp_hdr_value(e) : mp_str(NULL, 0);
    mp_hdrs_remove_id(h, id);
    return v;
}

/* False: absent, or no number. */
static bool take_number(struct mp_hdrs *h, enum mp_hdr_id id, uint64_t *ret)
{
    struct mp_str v = take_field(h, id);
    uint64_t n = 0;
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] < '0' || v.p[i] > '9' || n > UINT32_MAX) {
            return false;
        }
        n = n * 10 + (uint64_t)(v.p[i] - '0');
    }
    *ret = v.n > 0 ? n : *ret;
    return v.n > 0;
}

static void add_codes(struct mp_retry *r, struct mp_str v)
{
    unsigned code = 0;
    for (size_t i = 0; i <= v.n; i++) {
        if (i < v.n && v.p[i] >= '0' && v.p[i] <= '9' && code < 1000) {
            code = code * 10 + (unsigned)(v.p[i] - '0');
        } else if (i == v.n || v.p[i] == ',') {
            if (code >= 200 && code < 600 && r->n_codes < MP_RETRY_CODES_MAX) {
                r->codes[r->n_codes++] = (uint16_t)code;
            }
            code = 0;
        }
    }
}

static void read_fields(struct mp_retry *r, struct mp_hdrs *h)
{
    uint32_t on;
    uint64_t n;
    struct mp_str bad; /* what means nothing is passed over: it is a client's word */
    (void)mp_conf_retry_on(take_field(h, MP_HDR_X_ENVOY_RETRY_ON), &on, &bad);
    r->on |= on;
    (void)mp_conf_retry_on(take_field(h, MP_HDR_X_ENVOY_RETRY_GRPC_ON), &on, &bad);
    r->on |= on;
    add_codes(r, take_field(h, MP_HDR_X_ENVOY_RETRIABLE_STATUS_CODES));
    if (take_number(h, MP_HDR_X_ENVOY_MAX_RETRIES, &n)) {
        r->left = (uint32_t)MP_MIN(n, (uint64_t)UINT32_MAX);
    }
    if (take_number(h, MP_HDR_X_ENVOY_UPSTREAM_RQ_PER_TRY_TIMEOUT_MS, &n)) {
        r->per_try_ms = n;
    }
    if (take_number(h, MP_HDR_X_ENVOY_UPSTREAM_RQ_TIMEOUT_MS, &n)) {
        r->timeout_ms = n;
    }
}

static bool matches_any(const struct mp_conf_header_match *v, uint32_t n,
                        const struct mp_req_head *h)
{
    for (uint32_t i = 0; i < n; i++) {
        if (mp_filter_headers_match(&v[i], 1, h)) {
            return true;
        }
    }
    return false;
}

static void on_back_off(struct mp_timer *t)
{
    struct mp_retry *r = MP_CONTAINER_OF(t, struct mp_retry, back_off);
    struct mp_stream *s = r->router->stream;
    r->waiting = false;
    if (!s->ended && !s->local_reply && !s->resp_head_seen) {
        r->send(r->router);
    }
    mp_cork_flush(s->cw);
}

static void on_try_timeout(struct mp_timer *t)
{
    struct mp_retry *r = MP_CONTAINER_OF(t, struct mp_retry, try_timer);
    struct mp_core_worker *cw = r->router->stream->cw;
    mp_stat_inc(stats_of(r), MP_ST_CLUSTER_RQ_PER_TRY_TIMEOUT);
    r->too_long(r->router, false);
    mp_cork_flush(cw);
}

static void on_idle(struct mp_timer *t)
{
    struct mp_retry *r = MP_CONTAINER_OF(t, struct mp_retry, idle_timer);
    struct mp_core_worker *cw = r->router->stream->cw;
    mp_stat_inc(stats_of(r), MP_ST_CLUSTER_RQ_PER_TRY_IDLE);
    r->too_long(r->router, true);
    mp_cork_flush(cw);
}

struct mp_retry *mp_retry_new(struct mp_filter *router, struct mp_cluster_local *cluster,
                              struct mp_req_head *h, bool end)
{
    struct mp_stream *s = router->stream;
    const struct mp_conf_route *route = s->route->conf;
    struct mp_retry *r = mp_arena_zalloc(&s->arena, sizeof(*r));
    if (r == NULL) {
        return NULL;
    }
    r->router = router;
    r->cluster = cluster;
    r->conf = route->retry;
    r->timeout_ms = UINT64_MAX;
    r->left = 1;
    if (r->conf != NULL) {
        r->on = r->conf->on;
        r->left = r->conf->num_retries;
        r->per_try_ms = r->conf->per_try_timeout_ms;
        r->per_try_idle_ms = r->conf->per_try_idle_ms;
        if (r->conf->n_req_headers > 0 &&
            !matches_any(r->conf->req_headers, r->conf->n_req_headers, h)) {
            r->on = 0;
        }
    }
    read_fields(r, &h->hdrs);
    r->priority = route->high_priority;
    r->count_up = route->count_attempts;
    r->count_down = route->tell_attempts;
    r->head_end = end;
    r->body_max = MP_MIN(s->http->buffer_limit, route->retry_buffer_max);
    mp_buf_init(&r->body);
    mp_timer_init(&r->back_off, on_back_off);
    mp_timer_init(&r->try_timer, on_try_timeout);
    mp_timer_init(&r->idle_timer, on_idle);
    return r;
}

/* ---- attempts ---- */

mp_err mp_retry_begin(struct mp_retry *r, struct mp_upreq_spec *spec)
{
    r->attempts++;
    if (r->conf != NULL && r->conf->other_hosts) {
        spec->tried = r->tried;
        spec->n_tried = r->n_tried;
        spec->attempts = r->conf->host_attempts;
    }
    if (!r->count_up) {
        return MP_OK;
    }
    struct mp_stream *s = r->router->stream;
    char *text = mp_arena_printf(&s->arena, "%u", r->attempts);
    return text == NULL
               ? MP_FAIL(LIMIT)
               : mp_hdrs_set_copy(&s->req.hdrs, MP_STR("x-envoy-attempt-count"), mp_str_c(text));
}

void mp_retry_begun(struct mp_retry *r, const struct mp_upreq *u)
{
    if (u->host != NULL && r->n_tried < MP_RETRY_HOSTS_MAX) {
        r->tried[r->n_tried++] = u->host;
    }
    mp_retry_touch(r);
    if (r->head_end || r->body_end) {
        mp_retry_whole(r);
    }
}

void mp_retry_whole(struct mp_retry *r)
{
    if (r->per_try_ms > 0 && !r->waiting) {
        mp_timer_in(loop_of(r), &r->try_timer, r->per_try_ms);
    }
}

void mp_retry_touch(struct mp_retry *r)
{
    if (r->per_try_idle_ms > 0 && !r->waiting) {
        mp_timer_in(loop_of(r), &r->idle_timer, r->per_try_idle_ms);
    }
}

static void stop_timers(struct mp_retry *r)
{
    struct mp_wheel *wheel = mp_loop_wheel(loop_of(r));
    mp_wheel_remove(wheel, &r->back_off);
    mp_wheel_remove(wheel, &r->try_timer);
    mp_wheel_remove(wheel, &r->idle_timer);
}

/* ---- the body ---- */

void mp_retry_keep(struct mp_retry *r, struct mp_str data, bool end)
{
    struct mp_blocks *blocks = &r->router->stream->cw->w.blocks;
    r->body_end |= end;
    if (r->on == 0 || r->lost_body || data.n == 0) {
        return;
    }
    if (r->body.n + data.n > r->body_max || !mp_buf_add(&r->body, blocks, data.p, data.n)) {
        r->lost_body = true;
        mp_buf_fini(&r->body, blocks);
        mp_stat_inc(stats_of(r), MP_ST_CLUSTER_RETRY_ABANDONED);
    }
}

void mp_retry_keep_trailers(struct mp_retry *r, struct mp_hdrs *t)
{
    r->trailers = t;
    r->body_end = true;
}

bool mp_retry_feed(struct mp_retry *r, struct mp_upreq *u)
{
    struct mp_blocks *blocks = &r->router->stream->cw->w.blocks;
    size_t left = r->body.n;
    bool end = r->body_end && r->trailers == NULL;
    if (r->head_end) {
        return true;
    }
    while (left > 0 && !u->ended) {
        /* Each piece goes to the end, to be there for the next attempt. */
        struct mp_str piece = mp_buf_front(&r->body);
        piece.n = MP_MIN(piece.n, left);
        if (!mp_buf_add(&r->body, blocks, piece.p, piece.n)) {
            return false;
        }
        left -= piece.n;
        mp_upreq_data(u, piece, end && left == 0);
        mp_buf_consume(&r->body, blocks, piece.n);
    }
    if (end && r->body.n == 0) {
        mp_upreq_data(u, MP_STR(""), true);
    }
    if (r->trailers != NULL) {
        mp_upreq_trailers(u, r->trailers);
    }
    return true;
}

/* ---- verdicts ---- */

static bool has_field(const struct mp_resp_head *h, struct mp_str name)
{
    return mp_hdrs_find(&h->hdrs, name) != NULL;
}

static bool is_code(const struct mp_retry *r, unsigned status)
{
    for (uint32_t i = 0; r->conf != NULL && i < r->conf->n_codes; i++) {
        if (r->conf->codes[i] == status) {
            return true;
        }
    }
    for (uint32_t i = 0; i < r->n_codes; i++) {
        if (r->codes[i] == status) {
            return true;
        }
    }
    return false;
}

static bool grpc_would(const struct mp_retry *r, const struct mp_resp_head *h)
{
    static const struct {
        int status;
        uint32_t bit;
    } rows[] = {{1, MP_RETRY_CANCELLED},
                {4, MP_RETRY_DEADLINE_EXCEEDED},
                {8, MP_RETRY_RESOURCE_EXHAUSTED},
                {13, MP_RETRY_INTERNAL},
                {14, MP_RETRY_UNAVAILABLE}};
    int status = mp_grpc_status_of(&h->hdrs);
    for (size_t i = 0; status > 0 && i < MP_COUNTOF(rows); i++) {
        if (rows[i].status == status) {
            return (r->on & rows[i].bit) != 0;
        }
    }
    return false;
}

static bool head_would(const struct mp_retry *r, const struct mp_resp_head *h)
{
    unsigned s = h->status;
    if (has_field(h, MP_STR("x-envoy-ratelimited"))) {
        return (r->on & MP_RETRY_RATELIMITED) != 0;
    }
    if (((r->on & MP_RETRY_5XX) != 0 && s >= 500) ||
        ((r->on & MP_RETRY_GATEWAY_ERROR) != 0 && s >= 502 && s <= 504) ||
        ((r->on & MP_RETRY_RETRIABLE_4XX) != 0 && s == 409) ||
        ((r->on & MP_RETRY_STATUS_CODES) != 0 && is_code(r, s))) {
        return true;
    }
    if ((r->on & MP_RETRY_HEADERS) != 0 && r->conf != NULL) {
        const struct mp_req_head fields = {.hdrs = h->hdrs};
        if (matches_any(r->conf->headers, r->conf->n_headers, &fields)) {
            return true;
        }
    }
    return grpc_would(r, h);
}

static bool end_would(const struct mp_retry *r, enum mp_upreq_end why)
{
    switch (why) {
    case MP_UP_CONNECT_FAILED:
    case MP_UP_CONNECT_TIMEOUT:
        return (r->on & (MP_RETRY_CONNECT_FAILURE | MP_RETRY_RESET | MP_RETRY_5XX |
                         MP_RETRY_GATEWAY_ERROR)) != 0;
    case MP_UP_RESET:
    case MP_UP_CLOSED:
    case MP_UP_PROTOCOL_ERROR:
        return (r->on & (MP_RETRY_RESET | MP_RETRY_5XX | MP_RETRY_GATEWAY_ERROR)) != 0;
    default:
        return false; /* no host, a limit: another attempt would only add to it */
    }
}

static void give_back(struct mp_retry *r)
{
    if (r->counted) {
        r->counted = false;
        mp_cluster_give_retry(r->cluster, r->priority);
    }
}

/* Anything up to the bound, which doubles with each attempt. */
static uint64_t exponential(const struct mp_retry *r)
{
    uint64_t base = r->conf != NULL ? r->conf->base_ms : BASE_MS;
    uint64_t max = r->conf != NULL ? r->conf->max_ms : MAX_MS;
    uint64_t bound = max;
    if (r->attempts < 32) {
        bound = MP_MIN((((uint64_t)1 << r->attempts) - 1) * base, max);
    }
    bound = MP_MIN(MP_MAX(bound, (uint64_t)1), (uint64_t)BACK_OFF_MAX);
    return mp_rand_below(&r->router->stream->cw->w.rand, (uint32_t)bound);
}

/* The time that the response names; false: none, or too long a time. */
static bool reset_time(const struct mp_retry *r, const struct mp_resp_head *h, uint64_t *ret)
{
    uint64_t now_s = mp_loop_wall_ns(loop_of(r)) / 1000000000;
    for (uint32_t i = 0; r->conf != NULL && i < r->conf->n_reset_headers; i++) {
        const struct mp_conf_reset_header *c = &r->conf->reset_headers[i];
        const struct mp_hdr *e = mp_hdrs_find(&h->hdrs, c->name);
        uint64_t v = 0;
        bool ok = e != NULL && e->value_n > 0 && e->value_n < 12;
        for (uint32_t k = 0; ok && k < e->value_n; k++) {
            ok = e->value[k] >= '0' && e->value[k] <= '9';
            v = v * 10 + (uint64_t)(e->value[k] - '0');
        }
        if (!ok || (c->unix_time && v < now_s)) {
            continue;
        }
        uint64_t ms = (c->unix_time ? v - now_s : v) * 1000;
        if (ms <= r->conf->rate_limited_max_ms) {
            uint32_t half = (uint32_t)MP_MIN(ms / 2, (uint64_t)BACK_OFF_MAX);
            *ret = ms + (half > 0 ? mp_rand_below(&r->router->stream->cw->w.rand, half) : 0);
            return true;
        }
    }
    return false;
}

/* No attempt follows: the body is not kept any more. */
static enum mp_retry_verdict last(struct mp_retry *r, enum mp_retry_verdict v)
{
    r->on = 0;
    mp_buf_fini(&r->body, &r->router->stream->cw->w.blocks);
    return v;
}

static enum mp_retry_verdict decide(struct mp_retry *r, bool would, const struct mp_resp_head *h)
{
    const struct mp_stat_block *st = stats_of(r);
    stop_timers(r);
    give_back(r);
    if (!would || r->on == 0 || r->lost_body) {
        mp_stat_add(st, MP_ST_CLUSTER_RQ_RETRY_SUCCESS, !would && h != NULL && r->attempts > 1);
        return last(r, MP_RETRY_NO);
    }
    if (r->left == 0) {
        mp_stat_inc(st, MP_ST_CLUSTER_RQ_RETRY_LIMIT);
        return last(r, MP_RETRY_LIMIT);
    }
    r->left--;
    if (!mp_cluster_take_retry(r->cluster, r->priority)) {
        mp_stat_inc(st, MP_ST_CLUSTER_RQ_RETRY_OVERFLOW);
        return last(r, MP_RETRY_REFUSED);
    }
    r->counted = true;
    r->waiting = true;
    uint64_t ms;
    bool told = h != NULL && reset_time(r, h, &ms);
    ms = told ? ms : exponential(r);
    mp_stat_inc(st, MP_ST_CLUSTER_RQ_RETRY);
    mp_stat_inc(st, told ? MP_ST_CLUSTER_RQ_RETRY_RATELIMITED : MP_ST_CLUSTER_RQ_RETRY_EXPONENTIAL);
    /* Never at once: what has ended is still on the stack. */
    mp_timer_in(loop_of(r), &r->back_off, MP_MAX(ms, (uint64_t)1));
    return MP_RETRY_AGAIN;
}

enum mp_retry_verdict mp_retry_on_head(struct mp_retry *r, const struct mp_resp_head *h)
{
    uint64_t idle_ms = r->per_try_idle_ms;
    enum mp_retry_verdict v = decide(r, head_would(r, h), h);
    if (v != MP_RETRY_AGAIN) {
        r->per_try_ms = 0;
        if (idle_ms > 0) {
            mp_retry_touch(r); /* the response may still stand still */
        }
    }
    return v;
}

enum mp_retry_verdict mp_retry_on_end(struct mp_retry *r, enum mp_upreq_end why)
{
    return decide(r, end_would(r, why), NULL);
}

enum mp_retry_verdict mp_retry_on_timeout(struct mp_retry *r)
{
    return decide(r, (r->on & (MP_RETRY_RESET | MP_RETRY_5XX | MP_RETRY_GATEWAY_ERROR)) != 0, NULL);
}

void mp_retry_stop(struct mp_retry *r)
{
    stop_timers(r);
    give_back(r);
    r->on = 0;
    r->waiting = false;
    r->per_try_ms = r->per_try_idle_ms = 0;
    mp_buf_fini(&r->body, &r->router->stream->cw->w.blocks);
}
