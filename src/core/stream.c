/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Streams: life, deadlines, the connection manager's work on heads, local replies, the way out to
 * the codec. */
#include "core/stream.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "codec/uri.h"
#include "core/access_log.h"
#include "core/chain.h"
#include "core/conn.h"
#include "core/engine.h"
#include "core/forwarded.h"
#include "core/grpc.h"
#include "core/guard_ops.h"
#include "core/header_ops.h"
#include "core/listener.h"
#include "core/overload.h"
#include "core/snapshot.h"
#include "core/stats.h"
#include "core/upgrade.h"

#define STREAM_CELL \
    4096 /* a class of mp_blocks: stream, filters and both heads of a usual request */
#define STREAM_ARENA_BLOCK 4096
/* Heads of both directions, added fields, texts: a request cannot take more. */
#define STREAM_ARENA_MAX (1024 * 1024)

static void on_timer(struct mp_timer *t);

struct mp_stream *mp_stream_new(struct mp_core_worker *cw, struct mp_conn *conn,
                                const struct mp_stream_codec *codec, struct mp_http *http)
{
    size_t cell = STREAM_CELL;
    struct mp_stream *s = mp_blocks_get(&cw->w.blocks, &cell);
    if (s == NULL) {
        return NULL;
    }
    memset(s, 0, sizeof(*s));
    s->magic = MP_STREAM_MAGIC;
    s->conn = conn;
    s->codec = codec;
    s->cw = cw;
    s->http = http;
    s->stats = conn->stats;
    s->cell_size = cell;
    mp_obj_pin(&http->obj, cw->w.id);
    mp_arena_init(&s->arena, s + 1, cell - sizeof(*s), &cw->w.blocks.src, STREAM_ARENA_BLOCK,
                  STREAM_ARENA_MAX);
    mp_buf_init(&s->req_held);
    mp_buf_init(&s->resp_held);
    mp_hdrs_init(&s->req.hdrs, &s->arena, http->conf->fields_max);
    mp_timer_init(&s->timer, on_timer);
    s->id = cw->next_id++;
    s->start_ns = mp_loop_now_ns(cw->w.loop);
    s->start_wall_ns = mp_loop_wall_ns(cw->w.loop);
    s->client = conn->peer;
    s->idle_timeout_ms = http->conf->stream_idle_timeout_ms;
    mp_list_push_back(&cw->streams, &s->link);
    cw->n_streams++;
    mp_stat_inc(s->stats, MP_ST_HTTP_RQ_TOTAL);
    mp_stat_inc(s->stats, MP_ST_HTTP_RQ_ACTIVE);
    return s;
}

static void count_status(struct mp_stream *s)
{
    unsigned status = s->resp != NULL && s->resp_started ? s->resp->status : 0;
    if (status >= 200 && status < 600) {
        mp_stat_inc(s->stats, MP_ST_HTTP_RQ_2XX + (status / 100 - 2));
    }
    mp_guard_report_status(s->cw->engine->guard, &s->conn->peer, mp_conn_by_proxy(s->conn), status);
    if (MP_UNLIKELY(s->tunnel_open)) {
        mp_stat_dec(s->stats, MP_ST_HTTP_UPGRADES_ACTIVE);
    }
    if (s->resp_end && !s->reset) {
        mp_stat_inc(s->stats, MP_ST_HTTP_RQ_COMPLETED);
    }
    mp_stat_record(s->stats, MP_ST_HTTP_RQ_TIME, (s->end_ns - s->start_ns) / 1000);
}

static void stream_end(struct mp_stream *s, bool reset)
{
    if (s->ended) {
        return;
    }
    s->ended = true;
    s->reset = reset;
    s->end_ns = mp_loop_now_ns(s->cw->w.loop);
    mp_chain_end(s);
    s->codec->closed(s, reset);
    count_status(s);
    for (uint32_t i = 0; i < s->http->n_alogs; i++) {
        mp_alog_write(s->http->alogs[i], s->cw, s);
    }
    mp_stat_dec(s->stats, MP_ST_HTTP_RQ_ACTIVE);
    mp_wheel_remove(mp_loop_wheel(s->cw->w.loop), &s->timer);
    mp_list_remove(&s->link);
    mp_list_push_back(&s->cw->dead_streams, &s->link);
    mp_task_defer(s->cw->w.loop, &s->cw->reap_task);
}

void mp_stream_free(struct mp_stream *s)
{
    struct mp_core_worker *cw = s->cw;
    mp_list_remove(&s->link);
    mp_buf_fini(&s->req_held, &cw->w.blocks);
    mp_buf_fini(&s->resp_held, &cw->w.blocks);
    mp_obj_unpin(&s->http->obj, cw->w.id);
    mp_arena_fini(&s->arena);
    s->magic = 0;
    cw->n_streams--;
    mp_blocks_put(&cw->w.blocks, s, s->cell_size);
}

/* ---- deadlines ---- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a == 0 ? b : b == 0 ? a : MP_MIN(a, b);
}

void mp_stream_arm(struct mp_stream *s)
{
    uint64_t at = sooner(sooner(s->request_deadline, s->idle_deadline),
                         sooner(s->route_deadline, s->filter_deadline));
    at = sooner(at, s->duration_deadline);
    if (at == 0) {
        mp_timer_unset(&s->timer);
        return;
    }
    mp_wheel_set(mp_loop_wheel(s->cw->w.loop), &s->timer, at);
}

void mp_stream_touch(struct mp_stream *s)
{
    if (s->idle_timeout_ms > 0) {
        /* The wheel notices by itself that the deadline has moved: on_timer arms again. */
        s->idle_deadline = mp_cw_now_ms(s->cw) + s->idle_timeout_ms;
    }
}

static bool due(uint64_t deadline, uint64_t now)
{
    return deadline != 0 && now >= deadline;
}

static void on_timer(struct mp_timer *t)
{
    struct mp_stream *s = MP_CONTAINER_OF(t, struct mp_stream, timer);
    MP_CHECK_MAGIC(s, MP_STREAM_MAGIC);
    uint64_t now = mp_cw_now_ms(s->cw);
    if (due(s->filter_deadline, now)) {
        mp_chain_fire_timers(s, now);
    }
    if (!s->ended && due(s->route_deadline, now)) {
        s->route_deadline = 0;
        mp_chain_fire_deadline(s);
    }
    if (!s->ended && due(s->request_deadline, now) && !s->upgraded) {
        s->request_deadline = 0;
        mp_stat_inc(s->stats, MP_ST_HTTP_RQ_TIMEOUT);
        mp_stream_local_reply(s, 408, NULL, MP_STR("request timeout"), MP_FLAG_DURATION_TIMEOUT,
                              "request_overall_timeout");
    }
    if (!s->ended && due(s->duration_deadline, now)) {
        s->duration_deadline = 0;
        mp_stat_inc(s->stats, MP_ST_HTTP_RQ_MAX_DURATION);
        s->grpc_reply = MP_GRPC_DEADLINE_EXCEEDED + 1;
        mp_stream_local_reply(s, s->req_end ? 504 : 408, NULL,
                              MP_STR("downstream duration timeout"), MP_FLAG_DURATION_TIMEOUT,
                              "max_duration_timeout");
    }
    if (!s->ended && due(s->idle_deadline, now)) {
        s->idle_deadline = 0;
        mp_stat_inc(s->stats, MP_ST_HTTP_RQ_IDLE_TIMEOUT);
        bool request_whole = s->req_end || s->req.upgrade.n > 0;
        mp_stream_local_reply(s, request_whole ? 504 : 408, NULL, MP_STR("stream timeout"),
                              MP_FLAG_STREAM_IDLE_TIMEOUT, "stream_idle_timeout");
    }
    if (!s->ended) {
        mp_stream_arm(s);
    }
    mp_cork_flush(s->cw);
}

/* ---- codec -> stream ---- */

/* The model holds the number; conf knows nothing of codec. */
_Static_assert(MP_SLASH_KEEP == 0 && MP_SLASH_REJECT == 1 && MP_SLASH_UNESCAPE_REDIRECT == 2 &&
                   MP_SLASH_UNESCAPE_FORWARD == 3,
               "order in conf/from_envoy_http.c");

/* Path policy. False: the stream has been answered. */
static bool normalise_path(struct mp_stream *s)
{
    const struct mp_conf_http *hc = s->http->conf;
    if (s->req.path.n == 0 || s->req.path.p[0] != '/') {
        return true; /* asterisk-form; authority-form has no path */
    }
    const struct mp_uri_policy policy = {hc->normalize_path, hc->merge_slashes,
                                         (enum mp_escaped_slashes)hc->escaped_slashes};
    char *out = mp_arena_bytes(&s->arena, s->req.path.n);
    if (out == NULL) {
        mp_stream_local_reply(s, 431, NULL, MP_STR(""), 0, "request_headers_too_large");
        return false;
    }
    struct mp_str path;
    switch (mp_uri_normalize(&policy, s->req.path, out, &path)) {
    case MP_URI_SAME:
        return true;
    case MP_URI_CHANGED:
        s->req.path = path;
        return true;
    case MP_URI_REDIRECT: {
        mp_stat_inc(s->stats, MP_ST_HTTP_RQ_PATH_REDIRECT);
        const struct mp_reply_header location[] = {{MP_STR("location"), path},
                                                   {{NULL, 0}, {NULL, 0}}};
        mp_stream_local_reply(s, 307, location, MP_STR(""), 0, "path_normalization_failed");
        return false;
    }
    case MP_URI_BAD:
        break;
    }
    mp_stat_inc(s->stats, MP_ST_HTTP_RQ_BAD_PATH);
    mp_stream_local_reply(s, 400, NULL, MP_STR(""), MP_FLAG_DOWNSTREAM_PROTOCOL,
                          "path_normalization_failed");
    return false;
}

void mp_stream_on_headers(struct mp_stream *s, bool end)
{
    const struct mp_conf_http *hc = s->http->conf;
    uint64_t now = mp_cw_now_ms(s->cw);
    s->req_end = end;
    if (end) {
        s->req_end_ns = s->start_ns;
    } else if (hc->request_timeout_ms > 0 && s->req.upgrade.n == 0) {
        s->request_deadline = now + hc->request_timeout_ms;
    }
    if (MP_UNLIKELY(hc->max_stream_duration_ms > 0)) {
        s->duration_deadline = now + hc->max_stream_duration_ms;
    }
    mp_stream_touch(s);
    mp_stream_arm(s);
    if (mp_overload_on(s->cw, MP_OVERLOAD_STOP_REQUESTS)) {
        mp_stat_inc(s->stats, MP_ST_HTTP_RQ_OVERLOAD);
        mp_stream_local_reply(s, 503, NULL, MP_STR("overloaded"), MP_FLAG_OVERLOAD, "overload");
        return;
    }
    if (!normalise_path(s)) {
        return;
    }
    if (mp_is_err(mp_forwarded_request(s))) {
        mp_stream_local_reply(s, 431, NULL, MP_STR(""), 0, "request_headers_too_large");
        return;
    }
    if (!mp_chain_new(s)) {
        mp_stat_inc(s->stats, MP_ST_HTTP_RQ_OVERLOAD);
        mp_stream_abort(s, MP_FLAG_OVERLOAD, "overload");
        return;
    }
    if (MP_UNLIKELY(s->route != NULL && s->route->conf->limits_duration)) {
        uint64_t ms = mp_grpc_stream_duration(s);
        s->duration_deadline = ms > 0 ? now + ms : 0;
        mp_stream_arm(s);
    }
    if (hc->body_bytes_max > 0 && s->req.has_content_length &&
        s->req.content_length > hc->body_bytes_max) {
        mp_stat_inc(s->stats, MP_ST_HTTP_RQ_TOO_LARGE);
        mp_stream_local_reply(s, 413, NULL, MP_STR(""), 0, "request_payload_too_large");
        return;
    }
    if (MP_UNLIKELY(s->req.upgrade.n > 0) && !mp_upgrade_check(s)) {
        return;
    }
    mp_chain_request_headers(s, end);
}

void mp_stream_on_data(struct mp_stream *s, struct mp_str data, bool end)
{
    if (s->ended || s->local_reply) {
        return;
    }
    s->bytes_in += data.n;
    mp_stream_touch(s);
    if (s->http->conf->body_bytes_max > 0 && s->bytes_in > s->http->conf->body_bytes_max &&
        s->req.upgrade.n == 0) {
        mp_stat_inc(s->stats, MP_ST_HTTP_RQ_TOO_LARGE);
        mp_stream_local_reply(s, 413, NULL, MP_STR(""), 0, "request_payload_too_large");
        return;
    }
    if (end) {
        s->req_end = true;
        s->req_end_ns = mp_loop_now_ns(s->cw->w.loop);
        s->request_deadline = 0;
    }
    mp_chain_request_data(s, data, end);
}

void mp_stream_on_trailers(struct mp_stream *s)
{
    if (s->ended || s->local_reply) {
        return;
    }
    s->req_end = true;
    s->req_end_ns = mp_loop_now_ns(s->cw->w.loop);
    s->request_deadline = 0;
    s->has_req_trailers = true;
    mp_chain_request_trailers(s);
}

void mp_stream_on_reset(struct mp_stream *s, uint32_t flags, const char *details)
{
    if (s->ended) {
        return;
    }
    s->response_flags |= flags;
    if (s->details == NULL) {
        s->details = details;
    }
    mp_stat_inc(s->stats, MP_ST_HTTP_RQ_RX_RESET);
    stream_end(s, true);
}

void mp_stream_on_writable(struct mp_stream *s)
{
    if (!s->ended) {
        mp_stream_touch(s);
        mp_chain_writable(s);
    }
}

bool mp_stream_wants_request(const struct mp_stream *s)
{
    return !s->req_unwanted && s->req_held.n < s->http->buffer_limit;
}

/* ---- stream -> codec ---- */

/* The connection manager's own response headers. */
static mp_err finish_response_head(struct mp_stream *s, struct mp_resp_head *h)
{
    const struct mp_conf_http *hc = s->http->conf;
    const struct mp_header_ops *target_ops = s->target != NULL ? s->target->ops : NULL;
    if (target_ops != NULL && !s->route->target_ops_last) {
        MP_TRY(mp_header_ops_response(target_ops, s, &h->hdrs));
    }
    for (int i = 0; s->route != NULL && i < 3; i++) {
        if (s->route->ops[i] != NULL) {
            MP_TRY(mp_header_ops_response(s->route->ops[i], s, &h->hdrs));
        }
    }
    if (target_ops != NULL && s->route->target_ops_last) {
        MP_TRY(mp_header_ops_response(target_ops, s, &h->hdrs));
    }
    if (hc->server_header == MP_SERVER_OVERWRITE ||
        (hc->server_header == MP_SERVER_APPEND_IF_ABSENT &&
         mp_hdrs_get(&h->hdrs, MP_HDR_SERVER) == NULL)) {
        MP_TRY(mp_hdrs_put_id(&h->hdrs, MP_HDR_SERVER, hc->server_name));
    }
    if (mp_hdrs_get(&h->hdrs, MP_HDR_DATE) == NULL) {
        char *date = mp_arena_bytes(&s->arena, 29);
        if (date == NULL) {
            return MP_FAIL(LIMIT);
        }
        memcpy(date, mp_loop_http_date(s->cw->w.loop), 29);
        MP_TRY(mp_hdrs_put_id(&h->hdrs, MP_HDR_DATE, mp_str(date, 29)));
    }
    if (hc->via.n > 0) {
        MP_TRY(mp_hdrs_add_id(&h->hdrs, MP_HDR_VIA, hc->via));
    }
    if (hc->always_set_request_id_in_response) {
        const struct mp_hdr *id = mp_hdrs_get(&s->req.hdrs, MP_HDR_X_REQUEST_ID);
        if (id != NULL) {
            MP_TRY(mp_hdrs_set_id(&h->hdrs, MP_HDR_X_REQUEST_ID, mp_hdr_value(id)));
        }
    }
    return MP_OK;
}

void mp_stream_send_1xx(struct mp_stream *s, struct mp_resp_head *h)
{
    if (!s->ended && !s->resp_started) {
        s->codec->write_1xx(s, h);
    }
}

void mp_stream_send_headers(struct mp_stream *s, struct mp_resp_head *h, bool end)
{
    if (s->ended) {
        return;
    }
    h->hdrs.max = UINT16_MAX; /* our own additions are not the upstream's fault */
    if (mp_is_err(finish_response_head(s, h))) {
        mp_stream_abort(s, MP_FLAG_OVERLOAD, "response_headers_too_large");
        return;
    }
    if (MP_UNLIKELY(s->req.upgrade.n > 0) && !s->upgraded && h->status / 100 == 2 &&
        (s->protocol_minor == 20 || s->req.method == MP_METHOD_CONNECT)) {
        /* To these clients it would say that the tunnel is open. */
        h->status = 502;
    }
    s->resp = h;
    s->resp_started = true;
    s->resp_first_ns = mp_loop_now_ns(s->cw->w.loop);
    s->resp_end = end;
    if (MP_UNLIKELY(s->upgraded)) {
        s->tunnel_open = true;
        mp_stat_inc(s->stats, MP_ST_HTTP_UPGRADES_TOTAL);
        mp_stat_inc(s->stats, MP_ST_HTTP_UPGRADES_ACTIVE);
        mp_stat_add(s->stats, MP_ST_HTTP_RQ_1XX, h->status == 101);
    }
    s->codec->write_headers(s, h, end);
    if (end) {
        stream_end(s, false);
    }
}

void mp_stream_send_data(struct mp_stream *s, struct mp_str data, bool end)
{
    if (s->ended) {
        return;
    }
    s->bytes_out += data.n;
    mp_stream_touch(s);
    s->resp_end = end;
    s->codec->write_data(s, data, end);
    if (end && !s->tunnel_open) {
        stream_end(s, false);
    }
}

void mp_stream_tunnel_end(struct mp_stream *s)
{
    if (!s->ended && s->tunnel_open) {
        stream_end(s, false);
    }
}

void mp_stream_send_trailers(struct mp_stream *s, struct mp_hdrs *t)
{
    if (s->ended) {
        return;
    }
    s->resp_end = true;
    s->codec->write_trailers(s, t);
    stream_end(s, false);
}

/* ---- local replies and aborts ---- */

void mp_stream_abort(struct mp_stream *s, uint32_t flags, const char *details)
{
    if (s->ended) {
        return;
    }
    s->response_flags |= flags;
    s->details = details;
    mp_stat_inc(s->stats, MP_ST_HTTP_RQ_TX_RESET);
    stream_end(s, true);
}

static bool build_reply(struct mp_stream *s, struct mp_resp_head *h, unsigned status,
                        const struct mp_reply_header *headers, struct mp_str body)
{
    bool has_type = false;
    h->status = status;
    mp_hdrs_init(&h->hdrs, &s->arena, UINT16_MAX);
    for (; headers != NULL && headers->name.p != NULL; headers++) {
        has_type |= mp_str_eq(headers->name, MP_STR("content-type"));
        if (mp_is_err(mp_hdrs_add(&h->hdrs, headers->name, headers->value))) {
            return false;
        }
    }
    if (body.n > 0 && !has_type &&
        mp_is_err(mp_hdrs_add_id(&h->hdrs, MP_HDR_CONTENT_TYPE, MP_STR("text/plain")))) {
        return false;
    }
    h->has_content_length = true;
    h->content_length = body.n;
    return true;
}

void mp_stream_local_reply(struct mp_stream *s, unsigned status,
                           const struct mp_reply_header *headers, struct mp_str body,
                           uint32_t flags, const char *details)
{
    if (s->ended) {
        return;
    }
    s->response_flags |= flags;
    s->details = details;
    if (s->n_filters == 0 && !s->route_known) {
        /* Refused before a route was looked for: the filters see the answer all the same. */
        s->route_known = true;
        (void)mp_chain_new(s);
    }
    struct mp_resp_head *h =
        s->resp_started || s->local_reply ? NULL : mp_arena_zalloc(&s->arena, sizeof(*h));
    if (h == NULL || !build_reply(s, h, status, headers, body)) {
        mp_stream_abort(s, flags, details);
        return;
    }
    if (MP_UNLIKELY(status >= 400 && mp_grpc_is_request(&s->req))) {
        if (!mp_grpc_reply_head(s, h, body)) {
            mp_stream_abort(s, flags, details);
            return;
        }
        body = MP_STR("");
    }
    s->local_reply = true;
    s->upgraded = false; /* a filter has replaced the head that would have opened the tunnel */
    s->route_deadline = 0;
    mp_chain_local_reply(s, h, body);
}

const struct mp_route *mp_stream_route(struct mp_stream *s)
{
    if (!s->route_known) {
        s->route = mp_route_find(s->http->routes, &s->req, mp_rand_u64(&s->cw->w.rand));
        s->route_known = true;
    }
    return s->route;
}

struct mp_str mp_stream_client_ip(struct mp_stream *s)
{
    if (s->client_ip == NULL) {
        char text[MP_ADDR_TEXT_MAX];
        size_t n = mp_addr_format_ip(&s->client, text);
        struct mp_str copy = mp_arena_dup(&s->arena, mp_str(text, n));
        if (copy.p == NULL) {
            return MP_STR("");
        }
        s->client_ip = (char *)(uintptr_t)copy.p;
    }
    return mp_str_c(s->client_ip);
}
