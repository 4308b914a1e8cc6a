/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The filter chain. Requests run filters[0] .. filters[n-1]; responses run filters[n-1] ..
 * filters[0]. */
#include "core/chain.h"

#include <string.h>

#include "base/assert.h"
#include "core/chan.h"
#include "core/engine.h"
#include "core/filter_stats.h"
#include "core/route.h"
#include "core/snapshot.h"
#include "core/stats.h"

static struct mp_filter *terminal(struct mp_stream *s)
{
    return s->filters[s->n_filters - 1];
}

static void arm_filters(struct mp_stream *s);

bool mp_chain_new(struct mp_stream *s)
{
    const struct mp_http *http = s->http;
    char *cells = mp_arena_zalloc(&s->arena, http->filter_cells +
                                                 http->n_filters * sizeof(struct mp_filter *));
    if (cells == NULL) {
        return false;
    }
    s->filters = (struct mp_filter **)(void *)cells;
    cells += http->n_filters * sizeof(struct mp_filter *);
    const struct mp_route *route = mp_stream_route(s);
    const struct mp_route_override *over = route != NULL ? route->overrides : NULL;
    uint16_t n = 0;
    for (uint16_t i = 0; i < http->n_filters; i++) {
        const struct mp_conf_http_filter *conf = &http->filters[i];
        const struct mp_filter_type *type = conf->type->impl;
        bool disabled = conf->disabled;
        const void *parsed = conf->parsed;
        if (over != NULL) {
            disabled = over[i].disabled || (disabled && !over[i].enabled);
            parsed = over[i].conf != NULL ? over[i].conf : parsed;
        }
        if (disabled) {
            if (!type->guards) {
                continue;
            }
            parsed = NULL;
        }
        struct mp_filter *f = (struct mp_filter *)(void *)cells;
        cells += sizeof(*f) + ((type->state_size + 15) & ~(size_t)15);
        f->type = type;
        f->conf = parsed;
        f->stream = s;
        f->index = n;
        s->filters[n++] = f;
    }
    s->n_filters = n;
    return true;
}

void mp_chain_end(struct mp_stream *s)
{
    for (uint16_t i = 0; i < s->n_filters; i++) {
        struct mp_filter *f = s->filters[i];
        if (f->type->on_end != NULL) {
            f->type->on_end(f);
        }
    }
}

/* ---- requests ---- */

static void read_on(struct mp_stream *s)
{
    if (!s->ended && s->codec_waits && mp_stream_wants_request(s)) {
        s->codec_waits = false;
        s->codec->read_on(s);
    }
}

/* Keeps data for the paused filter. */
static void hold_request(struct mp_stream *s, struct mp_str data)
{
    if (s->req_pause_in_data && s->req_held.n + data.n > s->http->buffer_limit) {
        mp_stat_inc(s->stats, MP_ST_HTTP_RQ_TOO_LARGE);
        mp_stream_local_reply(s, 413, NULL, MP_STR(""), 0, "request_payload_too_large");
        return;
    }
    if (data.n > 0 && !mp_buf_add(&s->req_held, &s->cw->w.blocks, data.p, data.n)) {
        mp_stream_abort(s, MP_FLAG_OVERLOAD, "overload");
    }
}

/* True: go on with the next filter. */
static bool request_verdict(struct mp_stream *s, uint16_t i, enum mp_verdict v, bool in_data)
{
    if (s->ended || s->local_reply) {
        return false;
    }
    switch (v) {
    case MP_VERDICT_CONTINUE:
        return true;
    case MP_VERDICT_PAUSE:
        s->req_paused = true;
        s->req_pause_in_data = in_data;
        s->req_at = i;
        return false;
    case MP_VERDICT_REPLY:
    case MP_VERDICT_TAKEN:
        return false;
    case MP_VERDICT_ABORT:
        break;
    }
    mp_stream_abort(s, MP_FLAG_LOCAL_RESET, "filter_abort");
    return false;
}

static bool request_headers_from(struct mp_stream *s, uint16_t i, bool end)
{
    for (; i < s->n_filters; i++) {
        struct mp_filter *f = s->filters[i];
        if (f->type->on_request_headers == NULL) {
            continue;
        }
        enum mp_verdict v = f->type->on_request_headers(f, &s->req, end);
        if (!request_verdict(s, i, v, false)) {
            return false;
        }
    }
    s->req_headers_passed = true;
    s->req_end_passed = end;
    return true;
}

/* Data has come as far as the filter that pauses. One that paused in its data callback sees the
 * rest too; one that paused at the head does not yet. */
static void paused_request_data(struct mp_stream *s, struct mp_str data, bool end)
{
    struct mp_filter *f = s->filters[s->req_at];
    if (s->req_pause_in_data) {
        enum mp_verdict v = f->type->on_request_data(f, data, end);
        if (s->ended || s->local_reply) {
            return;
        }
        if (v == MP_VERDICT_CONTINUE) {
            hold_request(s, data);
            if (!s->ended) {
                mp_filter_resume_request(f);
            }
            return;
        }
        if (!request_verdict(s, s->req_at, v, true) && s->ended) {
            return;
        }
    }
    hold_request(s, data);
}

/* False: it waits at a filter, or the stream is over. */
static bool request_data_from(struct mp_stream *s, uint16_t i, struct mp_str data, bool end)
{
    for (; i < s->n_filters; i++) {
        if (MP_UNLIKELY(s->req_paused) && i == s->req_at) {
            paused_request_data(s, data, end);
            return false;
        }
        struct mp_filter *f = s->filters[i];
        if (f->type->on_request_data == NULL) {
            continue;
        }
        enum mp_verdict v = f->type->on_request_data(f, data, end);
        if (MP_UNLIKELY(v == MP_VERDICT_TAKEN)) {
            return !s->ended && !s->local_reply;
        }
        if (!request_verdict(s, i, v, true)) {
            if (s->req_paused && !s->ended) {
                hold_request(s, data);
            }
            return false;
        }
    }
    s->req_end_passed = end;
    return true;
}

static void paused_request_trailers(struct mp_stream *s)
{
    struct mp_filter *f = s->filters[s->req_at];
    s->req_trailers_held = true;
    if (s->req_pause_in_data && f->type->on_request_trailers != NULL &&
        f->type->on_request_trailers(f, &s->req_trailers) == MP_VERDICT_CONTINUE && !s->ended &&
        !s->local_reply) {
        mp_filter_resume_request(f);
    }
}

static bool request_trailers_from(struct mp_stream *s, uint16_t i)
{
    for (; i < s->n_filters; i++) {
        if (MP_UNLIKELY(s->req_paused) && i == s->req_at) {
            paused_request_trailers(s);
            return false;
        }
        struct mp_filter *f = s->filters[i];
        if (f->type->on_request_trailers == NULL) {
            continue;
        }
        enum mp_verdict v = f->type->on_request_trailers(f, &s->req_trailers);
        if (!request_verdict(s, i, v, true)) {
            s->req_trailers_held = s->req_paused;
            return false;
        }
    }
    s->req_end_passed = true;
    return true;
}

void mp_chain_request_headers(struct mp_stream *s, bool end)
{
    (void)request_headers_from(s, 0, end);
    arm_filters(s);
}

void mp_chain_request_data(struct mp_stream *s, struct mp_str data, bool end)
{
    (void)request_data_from(s, 0, data, end);
    arm_filters(s);
}

void mp_chain_request_trailers(struct mp_stream *s)
{
    (void)request_trailers_from(s, 0);
}

/* Gives the held body, as one piece at a time, to the filters from i on. */
static void release_held_request(struct mp_stream *s, uint16_t i)
{
    struct mp_buf held = s->req_held;
    mp_buf_init(&s->req_held);
    bool trailers = s->req_trailers_held;
    s->req_trailers_held = false;
    bool end_without_data =
        held.n == 0 && s->req_end && !s->req_more && !trailers && !s->req_end_passed;
    while (held.n > 0 && !s->ended && !s->local_reply) {
        struct mp_str piece = mp_buf_front(&held);
        bool more = s->req_more;
        s->req_more = more || piece.n < held.n || trailers;
        (void)request_data_from(s, i, piece, s->req_end && !s->req_more);
        s->req_more = more;
        mp_buf_consume(&held, &s->cw->w.blocks, piece.n);
    }
    mp_buf_fini(&held, &s->cw->w.blocks);
    if (s->ended || s->local_reply) {
        return;
    }
    if (end_without_data) {
        (void)request_data_from(s, i, MP_STR(""), true);
    } else if (trailers) {
        (void)request_trailers_from(s, i);
    }
}

void mp_filter_resume_request(struct mp_filter *f)
{
    struct mp_stream *s = f->stream;
    if (s->ended || s->local_reply || !s->req_paused || s->req_at != f->index) {
        return;
    }
    bool in_data = s->req_pause_in_data;
    s->req_paused = false;
    s->req_pause_in_data = false;
    if (!s->req_headers_passed) {
        bool end = s->req_end && !s->req_more && s->req_held.n == 0 && !s->req_trailers_held &&
                   !s->has_req_trailers;
        if (!request_headers_from(s, (uint16_t)(f->index + 1), end) || end) {
            if (!s->ended && !s->req_paused) {
                read_on(s);
            }
            arm_filters(s);
            return;
        }
    }
    release_held_request(s, in_data ? (uint16_t)(f->index + 1) : f->index);
    arm_filters(s);
    read_on(s);
}

/* ---- responses ---- */

static bool response_verdict(struct mp_stream *s, int i, enum mp_verdict v, bool in_data)
{
    if (s->ended) {
        return false;
    }
    switch (v) {
    case MP_VERDICT_CONTINUE:
    case MP_VERDICT_TAKEN:
    case MP_VERDICT_REPLY: /* a reply inside a response callback has replaced the response already
                            */
        return v == MP_VERDICT_CONTINUE;
    case MP_VERDICT_PAUSE:
        s->resp_paused = true;
        s->resp_pause_in_data = in_data;
        s->resp_at = (uint16_t)i;
        return false;
    case MP_VERDICT_ABORT:
        break;
    }
    mp_stream_abort(s, MP_FLAG_LOCAL_RESET, "filter_abort");
    return false;
}

static bool response_headers_from(struct mp_stream *s, int i, bool end)
{
    struct mp_resp_head *h = s->resp;
    for (; i >= 0; i--) {
        struct mp_filter *f = s->filters[i];
        if (f->type->on_response_headers == NULL) {
            continue;
        }
        enum mp_verdict v = f->type->on_response_headers(f, h, end);
        if (s->resp != h || !response_verdict(s, i, v, false)) {
            return false;
        }
    }
    s->resp_headers_passed = true;
    mp_stream_send_headers(s, h, end);
    return !s->ended;
}

static void hold_response(struct mp_stream *s, struct mp_str data)
{
    if (s->resp_pause_in_data && s->resp_held.n + data.n > s->http->buffer_limit) {
        s->resp_paused = false;
        mp_buf_fini(&s->resp_held, &s->cw->w.blocks);
        mp_stream_local_reply(s, 500, NULL, MP_STR(""), MP_FLAG_LOCAL_RESET,
                              "response_payload_too_large");
        return;
    }
    if (data.n > 0 && !mp_buf_add(&s->resp_held, &s->cw->w.blocks, data.p, data.n)) {
        mp_stream_abort(s, MP_FLAG_OVERLOAD, "overload");
    }
}

static void paused_response_data(struct mp_stream *s, struct mp_str data, bool end)
{
    struct mp_filter *f = s->filters[s->resp_at];
    enum mp_verdict v = MP_VERDICT_PAUSE;
    if (s->resp_pause_in_data) {
        v = f->type->on_response_data(f, data, end);
        if (s->ended || s->local_reply) {
            return;
        }
    }
    hold_response(s, data);
    if (v == MP_VERDICT_CONTINUE && !s->ended) {
        mp_filter_resume_response(f);
    } else if (v == MP_VERDICT_ABORT) {
        mp_stream_abort(s, MP_FLAG_LOCAL_RESET, "filter_abort");
    }
}

static bool response_data_from(struct mp_stream *s, int i, struct mp_str data, bool end)
{
    for (; i >= 0; i--) {
        if (MP_UNLIKELY(s->resp_paused) && i == s->resp_at) {
            paused_response_data(s, data, end);
            return false;
        }
        struct mp_filter *f = s->filters[i];
        if (f->type->on_response_data == NULL) {
            continue;
        }
        enum mp_verdict v = f->type->on_response_data(f, data, end);
        if (MP_UNLIKELY(v == MP_VERDICT_TAKEN)) {
            return !s->ended;
        }
        if (!response_verdict(s, i, v, true)) {
            if (s->resp_paused && !s->ended) {
                hold_response(s, data);
            }
            return false;
        }
    }
    mp_stream_send_data(s, data, end);
    return true;
}

static void paused_response_trailers(struct mp_stream *s)
{
    struct mp_filter *f = s->filters[s->resp_at];
    s->resp_trailers_held = true;
    if (s->resp_pause_in_data && f->type->on_response_trailers != NULL &&
        f->type->on_response_trailers(f, &s->resp_trailers) == MP_VERDICT_CONTINUE && !s->ended &&
        !s->local_reply) {
        mp_filter_resume_response(f);
    }
}

static bool response_trailers_from(struct mp_stream *s, int i)
{
    for (; i >= 0; i--) {
        if (MP_UNLIKELY(s->resp_paused) && i == s->resp_at) {
            paused_response_trailers(s);
            return false;
        }
        struct mp_filter *f = s->filters[i];
        if (f->type->on_response_trailers == NULL) {
            continue;
        }
        enum mp_verdict v = f->type->on_response_trailers(f, &s->resp_trailers);
        if (!response_verdict(s, i, v, true)) {
            s->resp_trailers_held = s->resp_paused;
            return false;
        }
    }
    mp_stream_send_trailers(s, &s->resp_trailers);
    return true;
}

void mp_chain_local_reply(struct mp_stream *s, struct mp_resp_head *h, struct mp_str body)
{
    /* A response that waited at a filter is replaced. */
    s->resp_paused = s->resp_pause_in_data = s->resp_trailers_held = false;
    mp_buf_fini(&s->resp_held, &s->cw->w.blocks);
    s->resp = h;
    s->resp_head_seen = true;
    s->resp_end_seen = true;
    if (response_headers_from(s, (int)s->n_filters - 1, body.n == 0)) {
        if (body.n > 0) {
            (void)response_data_from(s, (int)s->n_filters - 1, body, true);
        }
        return;
    }
    if (!s->ended && s->resp_paused && s->resp == h && body.n > 0) {
        hold_response(s, body);
    }
}

void mp_filter_respond_1xx(struct mp_filter *f, struct mp_resp_head *h)
{
    struct mp_stream *s = f->stream;
    if (!s->ended && !s->local_reply) {
        mp_stream_send_1xx(s, h);
    }
}

void mp_filter_respond_headers(struct mp_filter *f, struct mp_resp_head *h, bool end)
{
    struct mp_stream *s = f->stream;
    if (s->ended || s->local_reply) {
        return;
    }
    s->resp = h;
    s->resp_head_seen = true;
    s->resp_end_seen = end;
    mp_stream_touch(s);
    (void)response_headers_from(s, (int)f->index - 1, end);
    arm_filters(s);
}

void mp_filter_respond_data(struct mp_filter *f, struct mp_str data, bool end)
{
    struct mp_stream *s = f->stream;
    if (s->ended || s->local_reply) {
        return;
    }
    s->resp_end_seen = end;
    (void)response_data_from(s, (int)f->index - 1, data, end);
}

void mp_filter_respond_trailers(struct mp_filter *f, struct mp_hdrs *t)
{
    struct mp_stream *s = f->stream;
    if (s->ended || s->local_reply) {
        return;
    }
    s->resp_end_seen = true;
    s->resp_trailers = *t;
    s->has_resp_trailers = true;
    (void)response_trailers_from(s, (int)f->index - 1);
}

static void release_held_response(struct mp_stream *s, int i)
{
    struct mp_buf held = s->resp_held;
    mp_buf_init(&s->resp_held);
    bool trailers = s->resp_trailers_held;
    s->resp_trailers_held = false;
    bool end_without_data =
        held.n == 0 && s->resp_end_seen && !s->resp_more && !trailers && !s->resp_end;
    while (held.n > 0 && !s->ended) {
        struct mp_str piece = mp_buf_front(&held);
        bool more = s->resp_more;
        s->resp_more = more || piece.n < held.n || trailers;
        (void)response_data_from(s, i, piece, s->resp_end_seen && !s->resp_more);
        s->resp_more = more;
        mp_buf_consume(&held, &s->cw->w.blocks, piece.n);
    }
    mp_buf_fini(&held, &s->cw->w.blocks);
    if (s->ended) {
        return;
    }
    if (end_without_data) {
        (void)response_data_from(s, i, MP_STR(""), true);
    } else if (trailers) {
        (void)response_trailers_from(s, i);
    }
}

void mp_filter_resume_response(struct mp_filter *f)
{
    struct mp_stream *s = f->stream;
    if (s->ended || !s->resp_paused || s->resp_at != f->index) {
        return;
    }
    bool in_data = s->resp_pause_in_data;
    s->resp_paused = s->resp_pause_in_data = false;
    if (!s->resp_headers_passed) {
        bool end =
            s->resp_end_seen && !s->resp_more && s->resp_held.n == 0 && !s->resp_trailers_held;
        if (!response_headers_from(s, (int)f->index - 1, end) || end) {
            return;
        }
    }
    release_held_response(s, in_data ? (int)f->index - 1 : (int)f->index);
    if (!s->ended) {
        mp_chain_writable(s);
    }
    mp_cork_flush(s->cw);
}

void mp_filter_pass_request(struct mp_filter *f, struct mp_str data, bool end)
{
    struct mp_stream *s = f->stream;
    if (!s->ended && !s->local_reply) {
        (void)request_data_from(s, (uint16_t)(f->index + 1), data, end);
    }
}

void mp_filter_pass_response(struct mp_filter *f, struct mp_str data, bool end)
{
    struct mp_stream *s = f->stream;
    if (!s->ended) {
        (void)response_data_from(s, (int)f->index - 1, data, end);
    }
}

/* ---- services ---- */

static void arm_filters(struct mp_stream *s)
{
    if (MP_LIKELY(s->filter_deadline == 0) || s->ended) {
        return;
    }
    mp_stream_arm(s);
}

void mp_filter_set_timer(struct mp_filter *f, uint64_t ms, void (*fire)(struct mp_filter *f))
{
    struct mp_stream *s = f->stream;
    f->timer_ms = ms > 0 ? mp_cw_now_ms(s->cw) + ms : 0;
    f->timer_fire = fire;
    s->filter_deadline = 0;
    for (uint16_t i = 0; i < s->n_filters; i++) {
        uint64_t at = s->filters[i]->timer_ms;
        if (at != 0 && (s->filter_deadline == 0 || at < s->filter_deadline)) {
            s->filter_deadline = at;
        }
    }
    mp_stream_arm(s);
}

void mp_chain_fire_timers(struct mp_stream *s, uint64_t now_ms)
{
    uint64_t next = 0;
    for (uint16_t i = 0; i < s->n_filters && !s->ended; i++) {
        struct mp_filter *f = s->filters[i];
        if (f->timer_ms != 0 && f->timer_ms <= now_ms) {
            f->timer_ms = 0;
            f->timer_fire(f);
        }
    }
    for (uint16_t i = 0; i < s->n_filters; i++) {
        uint64_t at = s->filters[i]->timer_ms;
        next = next == 0 || (at != 0 && at < next) ? at : next;
    }
    s->filter_deadline = next;
}

void mp_chain_fire_deadline(struct mp_stream *s)
{
    if (s->n_filters == 0) {
        return;
    }
    struct mp_filter *f = terminal(s);
    if (f->type->on_deadline != NULL) {
        f->type->on_deadline(f);
    }
}

void mp_filter_set_deadline(struct mp_filter *f, uint64_t ms)
{
    struct mp_stream *s = f->stream;
    s->route_deadline = ms > 0 ? mp_cw_now_ms(s->cw) + ms : 0;
    mp_stream_arm(s);
}

void mp_chain_writable(struct mp_stream *s)
{
    if (s->n_filters == 0) {
        return; /* refused before its chain was made */
    }
    struct mp_filter *f = terminal(s);
    if (f->type->on_response_writable != NULL && mp_filter_response_wanted(f)) {
        f->type->on_response_writable(f);
    }
}

bool mp_filter_response_wanted(const struct mp_filter *f)
{
    const struct mp_stream *s = f->stream;
    return s->resp_held.n < s->http->buffer_limit && s->codec->queued(s) < s->http->buffer_limit;
}

void mp_filter_want_request(struct mp_filter *f, bool wanted)
{
    struct mp_stream *s = f->stream;
    s->req_unwanted = !wanted;
    if (wanted) {
        read_on(s);
    }
}

enum mp_verdict mp_filter_reply(struct mp_filter *f, unsigned status,
                                const struct mp_reply_header *headers, struct mp_str body,
                                const char *details)
{
    mp_stream_local_reply(f->stream, status, headers, body, 0, details);
    return MP_VERDICT_REPLY;
}

void mp_filter_fail(struct mp_filter *f, unsigned status, uint32_t flags, struct mp_str body,
                    const char *details)
{
    struct mp_stream *s = f->stream;
    if (s->resp_started) {
        mp_stream_abort(s, flags, details);
        return;
    }
    mp_stream_local_reply(s, status, NULL, body, flags, details);
}

struct mp_arena *mp_filter_arena(const struct mp_filter *f)
{
    return &f->stream->arena;
}

struct mp_req_head *mp_filter_request(const struct mp_filter *f)
{
    return &f->stream->req;
}

uint64_t mp_filter_wall_ns(const struct mp_filter *f)
{
    return mp_loop_wall_ns(f->stream->cw->w.loop);
}

uint64_t mp_filter_now_ns(const struct mp_filter *f)
{
    return mp_loop_now_ns(f->stream->cw->w.loop);
}

uint64_t mp_filter_clock_ns(const struct mp_filter *f)
{
    return mp_loop_clock_ns(f->stream->cw->w.loop);
}

uint64_t mp_filter_start_ns(const struct mp_filter *f)
{
    return f->stream->start_ns;
}

uint64_t mp_filter_random(const struct mp_filter *f)
{
    return mp_rand_u64(&f->stream->cw->w.rand);
}

uint32_t mp_filter_writer(const struct mp_filter *f)
{
    return f->stream->cw->w.writer;
}

const struct mp_stat_block *mp_filter_stats(const struct mp_filter *f,
                                            const struct mp_stat_schema *schema, struct mp_str name)
{
    return mp_filter_stats_find(f->stream->cw->filter_stats, schema, name);
}

void mp_filter_mark(struct mp_filter *f, uint32_t bits)
{
    f->stream->filter_marks |= bits;
}

uint32_t mp_filter_marks(const struct mp_filter *f)
{
    return f->stream->filter_marks;
}

bool mp_filter_proxies(const struct mp_filter *f, uint32_t *ret)
{
    return mp_engine_proxies(f->stream->cw->engine, ret);
}

uint64_t mp_filter_request_bytes(const struct mp_filter *f)
{
    return f->stream->bytes_in;
}

uint64_t mp_filter_response_bytes(const struct mp_filter *f)
{
    return f->stream->bytes_out;
}

unsigned mp_filter_response_status(const struct mp_filter *f)
{
    const struct mp_stream *s = f->stream;
    return s->resp_head_seen ? s->resp->status : 0;
}

bool mp_filter_server_draining(const struct mp_filter *f)
{
    return mp_engine_state(f->stream->cw->engine) == MP_SERVER_DRAINING;
}

void mp_filter_clear_route(struct mp_filter *f)
{
    f->stream->route_known = false;
    f->stream->route = NULL;
}

struct mp_str mp_filter_client_ip(const struct mp_filter *f)
{
    return mp_stream_client_ip(f->stream);
}
