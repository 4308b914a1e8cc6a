/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The HTTP/2 session: its life, input. Output is in h2_out.c. */
#include "codec/h2_session.h"

#include <string.h>

#include "base/assert.h"
#include "codec/h2_internal.h"

/* ---- ends ---- */

void mp_h2_end(struct mp_h2_session *h, enum mp_h2_code code)
{
    if (!h->ended) {
        h->ended = true;
        (void)nghttp2_session_terminate_session(h->ng, code);
        h->ops->want_flush(h);
    }
}

void mp_h2_stop(struct mp_h2_session *h)
{
    h->stopped = true;
}

bool mp_h2_over(const struct mp_h2_session *h)
{
    return !nghttp2_session_want_write(h->ng) && (h->ended || !nghttp2_session_want_read(h->ng));
}

static void consume(struct mp_h2_stream *st, size_t n)
{
    if (n > 0 && !st->gone) {
        st->unconsumed -= (uint32_t)n;
        (void)nghttp2_session_consume(st->h->ng, st->id, n);
    }
}

/* Nobody wants it. */
static void drop_input(struct mp_h2_stream *st)
{
    mp_buf_fini(&st->in, st->h->blocks);
    consume(st, st->unconsumed);
}

void mp_h2_malformed(struct mp_h2_stream *st, const char *why)
{
    if (st->fault == MP_H2_HEAD_OK) {
        st->fault = MP_H2_HEAD_MALFORMED;
        st->fault_text = why;
    }
    mp_h2_reset(st, MP_H2_PROTOCOL_ERROR);
    (void)mp_h2_spend(st->h, MP_H2_FLOOD_MADE_RESET);
}

/* ---- streams ---- */

static struct mp_h2_stream *stream_new(struct mp_h2_session *h, int32_t id)
{
    struct mp_h2_stream *st = mp_slab_get(h->slab);
    if (st == NULL) {
        return NULL;
    }
    memset(st, 0, sizeof(*st));
    st->h = h;
    st->id = id;
    st->moved_ms = h->now_ms;
    mp_buf_init(&st->in);
    mp_buf_init(&st->out);
    mp_list_init(&st->ready_link);
    mp_list_init(&st->drained_link);
    mp_list_push_back(&h->streams, &st->link);
    h->n_streams++;
    h->streams_seen++;
    return st;
}

static void stream_free(struct mp_h2_stream *st)
{
    struct mp_h2_session *h = st->h;
    mp_buf_fini(&st->in, h->blocks);
    mp_h2_out_free(st);
    mp_list_remove(&st->link);
    mp_list_remove(&st->ready_link);
    mp_list_remove(&st->drained_link);
    if (h->dec.st == st) {
        h->dec.st = NULL;
    }
    h->n_streams--;
    mp_slab_put(h->slab, st);
}

/* The last of a stream that nghttp2 has forgotten already. */
static void free_if_gone(struct mp_h2_stream *st)
{
    if (st->gone && !st->delivering && (st->user == NULL || st->end_told)) {
        stream_free(st);
    }
}

void mp_h2_detach(struct mp_h2_stream *st)
{
    st->user = NULL;
    mp_list_remove(&st->ready_link);
    mp_list_remove(&st->drained_link);
    drop_input(st);
    free_if_gone(st);
}

void mp_h2_reset(struct mp_h2_stream *st, enum mp_h2_code code)
{
    struct mp_h2_session *h = st->h;
    if (st->reset || st->gone) {
        return;
    }
    st->reset = true;
    h->resets_out++;
    mp_h2_out_free(st);
    (void)nghttp2_submit_rst_stream(h->ng, NGHTTP2_FLAG_NONE, st->id, code);
    if (h->resets_out > h->conf->outbound_control_frames_max) {
        mp_h2_flood_end(h, MP_H2_FLOOD_OUTBOUND);
    }
    h->ops->want_flush(h);
}

/* ---- delivery ---- */

static bool wants(struct mp_h2_stream *st)
{
    struct mp_h2_session *h = st->h;
    return st->user != NULL && st->head_told && !st->delivering && !st->reset && !h->stopped &&
           h->ops->wants_data(h, st);
}

static void tell_end(struct mp_h2_stream *st)
{
    struct mp_h2_session *h = st->h;
    if (st->end_told || st->user == NULL || h->stopped || st->reset) {
        return;
    }
    st->end_told = true;
    st->delivering = true;
    if (st->has_trailers) {
        h->ops->on_trailers(h, st, &st->trailers);
    } else {
        h->ops->on_data(h, st, MP_STR(""), true);
    }
    st->delivering = false;
}

/* Hands out what waits, and the end behind it. The stream may be freed. */
static void deliver(struct mp_h2_stream *st)
{
    struct mp_h2_session *h = st->h;
    while (st->in.n > 0 && wants(st)) {
        /* The owner may let go of the stream in the middle of it. */
        struct mp_buf held = st->in;
        mp_buf_init(&st->in);
        struct mp_str piece = mp_buf_front(&held);
        bool end = piece.n == held.n && st->recv_end && !st->has_trailers;
        st->end_told |= end;
        st->delivering = true;
        h->ops->on_data(h, st, piece, end);
        st->delivering = false;
        consume(st, MP_MIN(piece.n, (size_t)st->unconsumed));
        mp_buf_consume(&held, h->blocks, piece.n);
        if (st->user == NULL) {
            mp_buf_fini(&held, h->blocks);
        } else {
            mp_buf_move(&held, &st->in);
            st->in = held;
        }
    }
    if (st->in.n == 0 && st->recv_end && st->head_told && !st->delivering) {
        tell_end(st);
    }
    free_if_gone(st);
}

void mp_h2_read_on(struct mp_h2_stream *st)
{
    struct mp_h2_session *h = st->h;
    if (!st->delivering && st->in.n > 0) {
        deliver(st);
        h->ops->want_flush(h); /* window updates */
    }
}

static void tell_head(struct mp_h2_stream *st)
{
    struct mp_h2_session *h = st->h;
    if (st->user == NULL || st->head_told) {
        return;
    }
    st->head_told = true;
    bool end = st->recv_end && st->in.n == 0 && !st->has_trailers;
    st->end_told = end;
    st->delivering = true;
    h->ops->on_head(h, st, st->head, (enum mp_h2_fault)st->fault, end);
    st->delivering = false;
    deliver(st);
}

/* Heads that were completed by the piece that has just been parsed, in their order. */
static void tell_heads(struct mp_h2_session *h)
{
    while (!h->stopped && !h->flooded && !mp_list_empty(&h->ready)) {
        struct mp_list *it = mp_list_pop_front(&h->ready);
        tell_head(MP_CONTAINER_OF(it, struct mp_h2_stream, ready_link));
    }
}

/* ---- nghttp2's callbacks: heads ---- */

static struct mp_h2_stream *stream_of(struct mp_h2_session *h, int32_t id)
{
    return nghttp2_session_get_stream_user_data(h->ng, id);
}

/* ---- which ids were used ---- */

static uint32_t slot_of(uint32_t id)
{
    return id / 2 % MP_H2_REMEMBERED;
}

static void note_opened(struct mp_h2_session *h, uint32_t id)
{
    uint32_t from = MP_MAX(h->last_id, id > 2 * MP_H2_REMEMBERED ? id - 2 * MP_H2_REMEMBERED : 0);
    for (uint32_t i = from / 2 + (from > 0); i <= id / 2; i++) {
        uint32_t slot = i % MP_H2_REMEMBERED;
        h->opened[slot / 64] &= ~(UINT64_C(1) << slot % 64);
        h->cut[slot / 64] &= ~(UINT64_C(1) << slot % 64);
    }
    h->opened[slot_of(id) / 64] |= UINT64_C(1) << slot_of(id) % 64;
    h->last_id = id;
}

void mp_h2_note_cut(struct mp_h2_session *h, uint32_t id)
{
    if (h->last_id - id < 2 * MP_H2_REMEMBERED) {
        h->cut[slot_of(id) / 64] |= UINT64_C(1) << slot_of(id) % 64;
    }
}

/* RFC 9113 5.1.1: ids grow, and a closed stream stays closed. nghttp2 ignores a head on an old
 * stream, because it cannot tell what was under way when we reset it; we remember. */
static bool id_ok(struct mp_h2_session *h, uint32_t id)
{
    if (!h->server || (id & 1) == 0 || id > h->last_id ||
        nghttp2_session_find_stream(h->ng, (int32_t)id) != NULL ||
        h->last_id - id >= 2 * MP_H2_REMEMBERED) {
        return true;
    }
    if (((h->opened[slot_of(id) / 64] >> slot_of(id) % 64) & 1) == 0) {
        mp_h2_end(h, MP_H2_PROTOCOL_ERROR);
        return false;
    }
    if (((h->cut[slot_of(id) / 64] >> slot_of(id) % 64) & 1) == 0) {
        mp_h2_end(h, MP_H2_STREAM_CLOSED);
        return false;
    }
    return true;
}

static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *arg)
{
    struct mp_h2_session *h = arg;
    (void)ng;
    h->frame_left = (uint32_t)hd->length;
    h->frame_flags = hd->flags;
    if (hd->type == NGHTTP2_HEADERS && !id_ok(h, (uint32_t)hd->stream_id)) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return mp_h2_flood_frame(h, hd) && !h->stopped ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct mp_h2_session *h = arg;
    h->dec.st = NULL;
    if (frame->hd.type != NGHTTP2_HEADERS) {
        return 0;
    }
    int32_t id = frame->hd.stream_id;
    struct mp_h2_stream *st = stream_of(h, id);
    if (st == NULL && h->server && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        note_opened(h, (uint32_t)id);
        st = h->draining ? NULL : stream_new(h, id);
        if (st == NULL || !h->ops->on_begin(h, st)) {
            if (st != NULL) {
                stream_free(st);
            }
            h->resets_out++;
            (void)nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, id, MP_H2_REFUSED_STREAM);
            return mp_h2_spend(h, MP_H2_FLOOD_RESET) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
        }
        /* Equal shares of the connection unless the client asks for another order. */
        const nghttp2_extpri fair = {NGHTTP2_EXTPRI_DEFAULT_URGENCY, 1};
        (void)nghttp2_session_change_extpri_stream_priority(ng, id, &fair, 1);
        (void)nghttp2_session_set_stream_user_data(ng, id, st);
    }
    if (st != NULL && st->user != NULL && !st->reset && st->fault == MP_H2_HEAD_OK) {
        mp_h2_head_begin(h, st, st->head_done);
    }
    return h->ended ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *arg)
{
    (void)ng;
    (void)frame;
    (void)flags;
    mp_h2_head_field(arg, mp_str((const char *)name, name_n), mp_str((const char *)value, value_n));
    return 0;
}

static void body_expected(struct mp_h2_stream *st)
{
    const struct mp_h2_head *head = st->head;
    bool bodiless =
        !st->h->server && (st->head_request || head->status == 204 || head->status == 304);
    st->has_length = (head->has_content_length || bodiless) && !st->tunnel;
    st->left = bodiless ? 0 : head->content_length;
}

static void head_complete(struct mp_h2_session *h, struct mp_h2_stream *st, bool end)
{
    bool trailers = h->dec.trailers;
    enum mp_h2_fault fault = mp_h2_head_end(h, end);
    bool informational = h->dec.informational;
    h->dec.st = NULL;
    if (fault != MP_H2_HEAD_OK) {
        if (fault == MP_H2_HEAD_TOO_LARGE && !mp_h2_spend(h, MP_H2_FLOOD_HEADERS)) {
            return;
        }
        if (fault == MP_H2_HEAD_MALFORMED || trailers || !h->server) {
            mp_h2_malformed(st, st->fault_text);
        }
    } else if (trailers) {
        st->has_trailers = st->trailers.live > 0;
        if (st->has_length && st->left != 0) {
            mp_h2_malformed(st, "http2.content_length_mismatch");
        }
    } else if (informational) {
        if (!h->stopped && st->user != NULL) {
            h->ops->on_head(h, st, st->head, MP_H2_HEAD_OK, false);
        }
        return;
    } else {
        body_expected(st);
    }
    if (!trailers) {
        st->head_done = true;
        mp_list_push_back(&h->ready, &st->ready_link);
    }
}

static int on_headers(struct mp_h2_session *h, const nghttp2_frame *frame)
{
    bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    struct mp_h2_stream *st = stream_of(h, frame->hd.stream_id);
    if (st == NULL) {
        return 0;
    }
    st->recv_end |= end;
    if (h->dec.st == st) {
        head_complete(h, st, end);
    }
    if (end && st->head_told && st->in.n == 0 && !st->delivering) {
        tell_end(st);
    }
    return 0;
}

/* ---- nghttp2's callbacks: bodies ---- */

/* RFC 9113 8.1.1: the length that was promised. */
static bool length_ok(struct mp_h2_stream *st, size_t n, bool end)
{
    if (st->has_length) {
        if (n > st->left || (end && n != st->left)) {
            mp_h2_malformed(st, "http2.content_length_mismatch");
            return false;
        }
        st->left -= n;
    }
    return true;
}

static void take_data(struct mp_h2_stream *st, struct mp_str data, bool end)
{
    struct mp_h2_session *h = st->h;
    if (st->in.n == 0 && wants(st)) {
        st->end_told |= end;
        st->delivering = true;
        h->ops->on_data(h, st, data, end);
        st->delivering = false;
        consume(st, MP_MIN(data.n, (size_t)st->unconsumed));
        return;
    }
    if (!mp_buf_add(&st->in, h->blocks, data.p, data.n)) {
        mp_h2_reset(st, MP_H2_ENHANCE_YOUR_CALM); /* the worker's memory */
    }
}

static int on_chunk(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                    void *arg)
{
    struct mp_h2_session *h = arg;
    struct mp_h2_stream *st = stream_of(h, id);
    (void)flags;
    h->frame_left -= (uint32_t)MP_MIN(n, (size_t)h->frame_left);
    if (st == NULL) {
        (void)nghttp2_session_consume_connection(ng, n);
        return 0;
    }
    st->unconsumed += (uint32_t)n;
    bool last = (h->frame_flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
                (h->frame_flags & NGHTTP2_FLAG_PADDED) == 0 && h->frame_left == 0;
    if (!st->reset && st->fault == MP_H2_HEAD_OK && !st->head_done) {
        mp_h2_malformed(st, "http2.data_before_headers");
    }
    if (st->user == NULL || st->reset || st->fault != MP_H2_HEAD_OK || !length_ok(st, n, last)) {
        drop_input(st);
    } else {
        st->recv_end |= last;
        take_data(st, mp_str((const char *)p, n), last);
    }
    return h->stopped || h->ended ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static void on_data_frame(struct mp_h2_session *h, const nghttp2_frame *frame)
{
    struct mp_h2_stream *st = stream_of(h, frame->hd.stream_id);
    if (st == NULL || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) {
        return;
    }
    bool known = st->recv_end;
    st->recv_end = true;
    if (st->user == NULL || st->reset || st->fault != MP_H2_HEAD_OK) {
        return;
    }
    if (!st->head_done) {
        mp_h2_malformed(st, "http2.data_before_headers");
    } else if (known || length_ok(st, 0, true)) {
        if (st->head_told && st->in.n == 0 && !st->delivering) {
            tell_end(st);
        }
    }
}

/* ---- nghttp2's callbacks: the rest ---- */

static void on_settings(struct mp_h2_session *h, const nghttp2_frame *frame)
{
    if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) {
        return;
    }
    if (!h->got_settings) {
        h->got_settings = true;
        /* The ACK goes out before it: nghttp2 sends SETTINGS and PING first. */
        (void)nghttp2_session_set_local_window_size(h->ng, NGHTTP2_FLAG_NONE, 0,
                                                    (int32_t)h->conf->conn_window);
    }
    if (h->ops->on_settings != NULL && !h->stopped) {
        h->ops->on_settings(h);
    }
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct mp_h2_session *h = arg;
    (void)ng;
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
        on_data_frame(h, frame);
        break;
    case NGHTTP2_HEADERS:
        (void)on_headers(h, frame);
        break;
    case NGHTTP2_SETTINGS:
        on_settings(h, frame);
        break;
    case NGHTTP2_GOAWAY:
        h->draining = true;
        if (!h->stopped) {
            h->ops->on_goaway(h, frame->goaway.error_code);
        }
        break;
    case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0 && h->ops->on_ping_ack != NULL &&
            !h->stopped) {
            h->ops->on_ping_ack(h, frame->ping.opaque_data);
        }
        break;
    case NGHTTP2_RST_STREAM: {
        struct mp_h2_stream *st = stream_of(h, frame->hd.stream_id);
        if (h->server && st != NULL && !st->sent_end) {
            (void)mp_h2_spend(h, MP_H2_FLOOD_RESET);
        }
        break;
    }
    default:
        break;
    }
    return h->stopped || h->ended ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* nghttp2 found a frame that breaks a rule. A stream above the limit may be a matter of timing:
 * that counts as a reset. */
static int on_invalid_frame(nghttp2_session *ng, const nghttp2_frame *frame, int code, void *arg)
{
    struct mp_h2_session *h = arg;
    (void)ng;
    (void)frame;
    bool ok = mp_h2_spend(h, code == NGHTTP2_ERR_REFUSED_STREAM ? MP_H2_FLOOD_RESET
                                                                : MP_H2_FLOOD_MADE_RESET);
    return ok ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
    struct mp_h2_session *h = arg;
    struct mp_h2_stream *st = stream_of(h, id);
    if (st == NULL) {
        return 0;
    }
    if (st->unconsumed > 0) {
        (void)nghttp2_session_consume_connection(ng, st->unconsumed);
        st->unconsumed = 0;
    }
    (void)nghttp2_session_set_stream_user_data(ng, id, NULL);
    if (!h->server && code == NGHTTP2_NO_ERROR && st->recv_end && st->fault == MP_H2_HEAD_OK &&
        st->user != NULL && !st->end_told && !h->stopped) {
        /* A response is complete that its owner has not taken yet. */
        st->gone = true;
        mp_list_remove(&st->drained_link);
        mp_h2_out_free(st);
        return 0;
    }
    if (!h->stopped) {
        h->ops->on_close(h, st, code, code == NGHTTP2_REFUSED_STREAM && !st->head_done);
    }
    stream_free(st);
    return 0;
}

/* ---- life ---- */

void mp_h2_conf_defaults(struct mp_h2_conf *c, bool server)
{
    *c = (struct mp_h2_conf){
        .server = server,
        .max_concurrent_streams = 100,
        .stream_window = 64 * 1024,
        .conn_window = 1024 * 1024,
        .table_size = 4096,
        .head_bytes_max = 60 * 1024,
        .fields_max = 100,
        .crumbs_max = 256,
        .cookie_bytes_max = 32 * 1024,
        .outbound_control_frames_max = 1000,
        .empty_frames_max = 10,
        .priority_frames_per_stream = 100,
        .window_updates_per_data_frame = 10,
    };
}

static nghttp2_session_callbacks *make_callbacks(void)
{
    nghttp2_session_callbacks *cb;
    if (nghttp2_session_callbacks_new(&cb) != 0) {
        return NULL;
    }
    nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_send_data_callback(cb, mp_h2_on_send_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, mp_h2_on_sent);
    return cb;
}

/* Message rules are ours (h2_head.c); nghttp2 keeps frames, HPACK, states and windows. */
static nghttp2_option *make_options(const struct mp_h2_conf *conf)
{
    nghttp2_option *opt;
    if (nghttp2_option_new(&opt) != 0) {
        return NULL;
    }
    nghttp2_option_set_no_auto_window_update(opt, 1);
    nghttp2_option_set_no_http_messaging(opt, 1);
    nghttp2_option_set_no_closed_streams(opt, 1);
    nghttp2_option_set_max_outbound_ack(opt, conf->outbound_control_frames_max);
    nghttp2_option_set_max_deflate_dynamic_table_size(opt, conf->table_size);
    nghttp2_option_set_peer_max_concurrent_streams(opt, 100);
    /* Our own budget speaks first. */
    nghttp2_option_set_stream_reset_rate_limit(opt, 1000000, 1000000);
    return opt;
}

static int submit_settings(struct mp_h2_session *h)
{
    const struct mp_h2_conf *c = h->conf;
    nghttp2_settings_entry v[8];
    size_t n = 0;
    if (h->server) {
        v[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
                                          c->max_concurrent_streams};
        /* The tree of RFC 7540 priorities is work for whoever asks for it. */
        v[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1};
        if (c->allow_connect) {
            v[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1};
        }
    } else {
        v[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
    }
    v[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, c->stream_window};
    v[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, c->head_bytes_max};
    if (c->table_size != 4096) {
        v[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, c->table_size};
    }
    return nghttp2_submit_settings(h->ng, NGHTTP2_FLAG_NONE, v, n);
}

bool mp_h2_init(struct mp_h2_session *h, const struct mp_h2_conf *conf, const struct mp_h2_ops *ops,
                void *owner, struct mp_blocks *blocks, struct mp_slab *slab, uint64_t now_ms)
{
    memset(h, 0, sizeof(*h));
    h->conf = conf;
    h->ops = ops;
    h->owner = owner;
    h->blocks = blocks;
    h->slab = slab;
    h->server = conf->server;
    h->now_ms = now_ms;
    h->low_mark = 16 * 1024;
    mp_list_init(&h->streams);
    mp_list_init(&h->ready);
    mp_list_init(&h->drained);
    mp_h2_flood_init(h);
    nghttp2_session_callbacks *cb = make_callbacks();
    nghttp2_option *opt = make_options(conf);
    int rv = NGHTTP2_ERR_NOMEM;
    if (cb != NULL && opt != NULL) {
        rv = h->server ? nghttp2_session_server_new2(&h->ng, cb, h, opt)
                       : nghttp2_session_client_new2(&h->ng, cb, h, opt);
    }
    nghttp2_session_callbacks_del(cb);
    nghttp2_option_del(opt);
    if (rv != 0 || submit_settings(h) != 0) {
        nghttp2_session_del(h->ng);
        h->ng = NULL;
        return false;
    }
    return true;
}

void mp_h2_fini(struct mp_h2_session *h)
{
    if (h->ng == NULL) {
        return;
    }
    MP_ASSERT(!h->in_recv);
    MP_ASSERT(!h->in_flush);
    while (!mp_list_empty(&h->streams)) {
        struct mp_h2_stream *st = MP_CONTAINER_OF(h->streams.next, struct mp_h2_stream, link);
        if (!h->stopped) {
            h->ops->on_close(h, st, MP_H2_CANCEL, false);
        }
        (void)nghttp2_session_set_stream_user_data(h->ng, st->id, NULL);
        stream_free(st);
    }
    nghttp2_session_del(h->ng);
    h->ng = NULL;
}

/* ---- input ---- */

static void recv_failed(struct mp_h2_session *h, ssize_t rv)
{
    if (h->stopped || h->ended) {
        return;
    }
    switch (rv) {
    case NGHTTP2_ERR_FLOODED:
        mp_h2_flood_end(h, MP_H2_FLOOD_OUTBOUND);
        return;
    case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS:
        mp_h2_flood_end(h, MP_H2_FLOOD_CONTINUATION);
        return;
    case NGHTTP2_ERR_TOO_MANY_SETTINGS:
        mp_h2_flood_end(h, MP_H2_FLOOD_SETTINGS);
        return;
    case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
        mp_h2_end(h, MP_H2_PROTOCOL_ERROR);
        return;
    default:
        mp_h2_end(h, MP_H2_INTERNAL_ERROR);
        return;
    }
}

void mp_h2_recv(struct mp_h2_session *h, uint64_t now_ms, const char *p, size_t n)
{
    mp_h2_flood_tick(h, now_ms);
    if (h->ended || h->stopped) {
        return;
    }
    h->in_recv = true;
    ssize_t rv = nghttp2_session_mem_recv(h->ng, (const uint8_t *)p, n);
    if (rv < 0) {
        recv_failed(h, rv);
    }
    tell_heads(h);
    h->in_recv = false;
    if (!h->stopped) {
        h->ops->want_flush(h);
    }
}

const char *mp_h2_code_name(uint32_t code)
{
    return nghttp2_http2_strerror(code);
}
