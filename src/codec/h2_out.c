/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* HTTP/2 output: heads, bodies, trailers, and the flush that makes bytes of them. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "codec/h2_internal.h"

/* What never crosses a hop, or what a pseudo-header field says. Content-Length is written from the
 * head; TE is looked at. */
#define LEFT_OUT                                                                      \
    (UINT64_C(1) << MP_HDR_CONTENT_LENGTH | UINT64_C(1) << MP_HDR_TRANSFER_ENCODING | \
     UINT64_C(1) << MP_HDR_CONNECTION | UINT64_C(1) << MP_HDR_KEEP_ALIVE |            \
     UINT64_C(1) << MP_HDR_PROXY_CONNECTION | UINT64_C(1) << MP_HDR_UPGRADE |         \
     UINT64_C(1) << MP_HDR_HTTP2_SETTINGS | UINT64_C(1) << MP_HDR_HOST | UINT64_C(1) << MP_HDR_TE)

#define STACK_FIELDS 64

static void put(nghttp2_nv *v, struct mp_str name, struct mp_str value, uint8_t flags)
{
    v->name = (uint8_t *)(uintptr_t)name.p;
    v->namelen = name.n;
    v->value = (uint8_t *)(uintptr_t)value.p;
    v->valuelen = value.n;
    v->flags = flags;
}

static bool skipped(const struct mp_hdr *e)
{
    return e->name_n == 0 || ((LEFT_OUT >> e->id) & 1) || (e->flags & MP_HDR_F_HOP);
}

/* Values that differ each time have no place in the peer's table. */
#define ONCE                                                                                    \
    (UINT64_C(1) << MP_HDR_X_REQUEST_ID | UINT64_C(1) << MP_HDR_X_ENVOY_UPSTREAM_SERVICE_TIME | \
     UINT64_C(1) << MP_HDR_AUTHORIZATION | UINT64_C(1) << MP_HDR_PROXY_AUTHORIZATION)

static size_t put_fields(nghttp2_nv *v, const struct mp_hdrs *h)
{
    size_t n = 0;
    for (uint16_t i = 0; i < h->n; i++) {
        const struct mp_hdr *e = &h->v[i];
        if (!skipped(e)) {
            uint8_t flags = ((ONCE >> e->id) & 1) ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
            put(&v[n++], mp_hdr_name(e), mp_hdr_value(e), flags);
        }
    }
    return n;
}

static size_t digits(char out[20], uint64_t v)
{
    char text[20];
    size_t n = 0;
    do {
        text[sizeof(text) - ++n] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    memcpy(out, text + sizeof(text) - n, n);
    return n;
}

/* A head as an array; on the stack when it is small. */
struct out_head {
    nghttp2_nv small[STACK_FIELDS];
    nghttp2_nv *v, *heap;
    size_t n;
    char number[20], code[4];
};

static void begin(struct out_head *o, const struct mp_hdrs *h)
{
    size_t room = (size_t)h->n + 8;
    o->heap = NULL;
    if (room > STACK_FIELDS) {
        o->heap = malloc(room * sizeof(nghttp2_nv));
        MP_ASSERT(o->heap != NULL);
    }
    o->v = o->heap != NULL ? o->heap : o->small;
    o->n = 0;
}

static void put_length(struct out_head *o, const struct mp_h2_head *head)
{
    if (head->has_content_length) {
        size_t n = digits(o->number, head->content_length);
        put(&o->v[o->n++], MP_STR("content-length"), mp_str(o->number, n), NGHTTP2_NV_FLAG_NONE);
    }
}

static void response(struct out_head *o, const struct mp_h2_head *head)
{
    begin(o, &head->hdrs);
    for (int i = 2, code = (int)head->status; i >= 0; i--, code /= 10) {
        o->code[i] = (char)('0' + code % 10);
    }
    put(&o->v[o->n++], MP_STR(":status"), mp_str(o->code, 3), NGHTTP2_NV_FLAG_NONE);
    o->n += put_fields(o->v + o->n, &head->hdrs);
    put_length(o, head);
}

static void failed(struct mp_h2_stream *st, int rv)
{
    if (rv != 0) {
        mp_h2_reset(st, MP_H2_INTERNAL_ERROR);
    }
}

/* ---- heads ---- */

void mp_h2_send_1xx(struct mp_h2_stream *st, const struct mp_h2_head *head)
{
    struct out_head o;
    if (st->reset || st->sent_head) {
        return;
    }
    struct mp_h2_head plain = *head;
    plain.has_content_length = false;
    response(&o, &plain);
    failed(st, nghttp2_submit_headers(st->h->ng, NGHTTP2_FLAG_NONE, st->id, NULL, o.v, o.n, NULL));
    free(o.heap);
    st->h->ops->want_flush(st->h);
}

void mp_h2_send_response(struct mp_h2_stream *st, const struct mp_h2_head *head, bool end)
{
    struct out_head o;
    if (st->reset || st->sent_head) {
        return;
    }
    response(&o, head);
    const nghttp2_data_provider body = {.source.ptr = st, .read_callback = mp_h2_on_read};
    st->sent_head = true;
    st->out_end = end;
    failed(st, nghttp2_submit_response(st->h->ng, st->id, o.v, o.n, end ? NULL : &body));
    free(o.heap);
    st->h->ops->want_flush(st->h);
}

static void request(struct out_head *o, const struct mp_h2_head *head)
{
    bool connect = head->method == MP_METHOD_CONNECT;
    begin(o, &head->hdrs);
    put(&o->v[o->n++], MP_STR(":method"), head->method_name, NGHTTP2_NV_FLAG_NONE);
    if (!connect || head->protocol.p != NULL) {
        put(&o->v[o->n++], MP_STR(":scheme"), head->scheme, NGHTTP2_NV_FLAG_NONE);
        put(&o->v[o->n++], MP_STR(":path"), head->path, NGHTTP2_NV_FLAG_NONE);
    }
    if (head->authority.n > 0) {
        put(&o->v[o->n++], MP_STR(":authority"), head->authority, NGHTTP2_NV_FLAG_NONE);
    }
    if (head->protocol.p != NULL) {
        put(&o->v[o->n++], MP_STR(":protocol"), head->protocol, NGHTTP2_NV_FLAG_NONE);
    }
    o->n += put_fields(o->v + o->n, &head->hdrs);
    if (mp_hdrs_maybe(&head->hdrs, MP_HDR_TE) &&
        mp_hdrs_list_has(&head->hdrs, MP_HDR_TE, MP_STR("trailers"))) {
        put(&o->v[o->n++], MP_STR("te"), MP_STR("trailers"), NGHTTP2_NV_FLAG_NONE);
    }
    put_length(o, head);
}

/* ---- bodies ---- */

static void more(struct mp_h2_stream *st)
{
    if (st->deferred) {
        st->deferred = false;
        st->moved_ms = st->h->now_ms;
        (void)nghttp2_session_resume_data(st->h->ng, st->id);
    }
    st->h->ops->want_flush(st->h);
}

bool mp_h2_send_data(struct mp_h2_stream *st, struct mp_str data, bool end)
{
    if (st->reset || st->out_end) {
        return true; /* nobody listens */
    }
    if (data.n > 0 && !mp_buf_add(&st->out, st->h->blocks, data.p, data.n)) {
        return false;
    }
    st->out_end = end;
    if (data.n > 0 || end) {
        more(st);
    }
    return true;
}

/* Array and texts in one piece. */
static struct mp_h2_fields *copy_fields(const struct mp_hdrs *t)
{
    size_t head = sizeof(struct mp_h2_fields) + t->n * sizeof(nghttp2_nv);
    struct mp_h2_fields *f = malloc(head + t->bytes);
    if (f == NULL) {
        return NULL;
    }
    f->n = put_fields(f->v, t);
    char *p = (char *)f + head;
    for (size_t i = 0; i < f->n; i++) {
        nghttp2_nv *v = &f->v[i];
        memcpy(p, v->name, v->namelen);
        v->name = (uint8_t *)p;
        p += v->namelen;
        if (v->valuelen > 0) {
            memcpy(p, v->value, v->valuelen);
        }
        v->value = (uint8_t *)p;
        p += v->valuelen;
    }
    return f;
}

bool mp_h2_send_trailers(struct mp_h2_stream *st, const struct mp_hdrs *t)
{
    if (st->reset || st->out_end) {
        return true;
    }
    struct mp_h2_fields *f = copy_fields(t);
    if (f == NULL) {
        return false;
    }
    st->out_end = true;
    if (f->n == 0) {
        free(f);
        more(st);
    } else if (st->out.n == 0 && st->deferred) {
        /* Nothing is before them: no empty DATA frame. */
        failed(st, nghttp2_submit_trailer(st->h->ng, st->id, f->v, f->n));
        free(f);
        st->h->ops->want_flush(st->h);
    } else {
        st->out_trailers = f;
        more(st);
    }
    return true;
}

void mp_h2_out_free(struct mp_h2_stream *st)
{
    mp_buf_fini(&st->out, st->h->blocks);
    free(st->out_trailers);
    st->out_trailers = NULL;
}

struct mp_h2_stream *mp_h2_send_request(struct mp_h2_session *h, const struct mp_h2_head *head,
                                        bool end, void *user)
{
    struct mp_h2_stream *st = mp_slab_get(h->slab);
    if (st == NULL) {
        return NULL;
    }
    memset(st, 0, sizeof(*st));
    st->h = h;
    st->user = user;
    st->moved_ms = h->now_ms;
    st->head_request = head->method == MP_METHOD_HEAD;
    st->is_connect = head->method == MP_METHOD_CONNECT;
    st->sent_head = true;
    st->out_end = end;
    mp_buf_init(&st->in);
    mp_buf_init(&st->out);
    mp_list_init(&st->ready_link);
    mp_list_init(&st->drained_link);
    struct out_head o;
    request(&o, head);
    const nghttp2_data_provider body = {.source.ptr = st, .read_callback = mp_h2_on_read};
    st->id = nghttp2_submit_request(h->ng, NULL, o.v, o.n, end ? NULL : &body, st);
    free(o.heap);
    if (st->id < 0) {
        mp_slab_put(h->slab, st);
        return NULL;
    }
    mp_list_push_back(&h->streams, &st->link);
    h->n_streams++;
    h->streams_seen++;
    h->ops->want_flush(h);
    return st;
}

/* ---- the flush ---- */

ssize_t mp_h2_on_read(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t n, uint32_t *flags,
                      nghttp2_data_source *source, void *arg)
{
    struct mp_h2_stream *st = source->ptr;
    (void)arg;
    (void)buf;
    if (st->out.n == 0 && !st->out_end) {
        st->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    size_t take = MP_MIN(n, st->out.n);
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (take == st->out.n && st->out_end) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (st->out_trailers != NULL) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            if (nghttp2_submit_trailer(ng, id, st->out_trailers->v, st->out_trailers->n) != 0) {
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
            }
        }
    }
    return (ssize_t)take;
}

int mp_h2_on_send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *hd, size_t n,
                       nghttp2_data_source *source, void *arg)
{
    struct mp_h2_session *h = arg;
    struct mp_h2_stream *st = source->ptr;
    (void)ng;
    (void)frame;
    if (!h->ops->writable(h)) {
        return NGHTTP2_ERR_WOULDBLOCK;
    }
    if (st->reset || st->out.n < n) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* out was dropped meanwhile */
    }
    size_t before = st->out.n;
    struct mp_str pre = mp_str((const char *)hd, 9);
    do {
        struct mp_str piece = mp_buf_front(&st->out);
        piece.n = MP_MIN(piece.n, n);
        h->ops->write(h, pre, piece);
        mp_buf_consume(&st->out, h->blocks, piece.n);
        n -= piece.n;
        pre = MP_STR("");
    } while (n > 0);
    st->moved_ms = h->now_ms;
    bool low = (before > h->low_mark && st->out.n <= h->low_mark) || st->out.n == 0;
    if (st->user != NULL && low && !st->out_end && !h->stopped &&
        mp_list_empty(&st->drained_link)) {
        mp_list_push_back(&h->drained, &st->drained_link);
    }
    return 0;
}

static void sent_end(struct mp_h2_session *h, int32_t id)
{
    struct mp_h2_stream *st = nghttp2_session_get_stream_user_data(h->ng, id);
    if (st == NULL) {
        return;
    }
    st->sent_end = true;
    if (h->server && !st->recv_end && !st->reset) {
        mp_h2_reset(st, MP_H2_NO_ERROR); /* RFC 9113 8.1: the rest of the request is not needed */
    }
}

int mp_h2_on_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct mp_h2_session *h = arg;
    (void)ng;
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
        h->data_sent++;
        break;
    case NGHTTP2_HEADERS:
        break;
    case NGHTTP2_RST_STREAM:
        h->resets_out -= h->resets_out > 0;
        mp_h2_note_cut(h, (uint32_t)frame->hd.stream_id);
        return 0;
    case NGHTTP2_GOAWAY:
        /* nghttp2 has found an error by itself. */
        h->ended |= frame->goaway.error_code != NGHTTP2_NO_ERROR;
        return 0;
    default:
        return 0;
    }
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        sent_end(h, frame->hd.stream_id);
    }
    return 0;
}

static void tell_drained(struct mp_h2_session *h)
{
    struct mp_list *it;
    while ((it = mp_list_pop_front(&h->drained)) != NULL) {
        struct mp_h2_stream *st = MP_CONTAINER_OF(it, struct mp_h2_stream, drained_link);
        if (!h->stopped && st->user != NULL && !st->reset) {
            h->ops->on_drained(h, st);
        }
    }
}

static void write_some(struct mp_h2_session *h)
{
    while (!h->stopped && h->ops->writable(h)) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(h->ng, &p);
        if (n < 0) {
            h->ended = true; /* out of memory */
        }
        if (n <= 0) {
            return;
        }
        h->ops->write(h, MP_STR(""), mp_str((const char *)p, (size_t)n));
    }
}

void mp_h2_flush(struct mp_h2_session *h, uint64_t now_ms)
{
    if (h->in_flush || h->stopped) {
        return;
    }
    mp_h2_flood_tick(h, now_ms);
    h->in_flush = true;
    do {
        write_some(h);
        tell_drained(h);
    } while (!h->stopped && h->ops->writable(h) && nghttp2_session_want_write(h->ng) &&
             !mp_list_empty(&h->drained));
    h->in_flush = false;
}

/* ---- the connection ---- */

void mp_h2_shutdown_notice(struct mp_h2_session *h)
{
    (void)nghttp2_submit_shutdown_notice(h->ng);
    h->ops->want_flush(h);
}

void mp_h2_goaway(struct mp_h2_session *h, enum mp_h2_code code)
{
    h->draining = true;
    (void)nghttp2_submit_goaway(h->ng, NGHTTP2_FLAG_NONE,
                                nghttp2_session_get_last_proc_stream_id(h->ng), code, NULL, 0);
    h->ops->want_flush(h);
}

void mp_h2_ping(struct mp_h2_session *h, const uint8_t payload[8])
{
    (void)nghttp2_submit_ping(h->ng, NGHTTP2_FLAG_NONE, payload);
    h->ops->want_flush(h);
}

uint32_t mp_h2_peer_streams_max(const struct mp_h2_session *h)
{
    return h->got_settings
               ? nghttp2_session_get_remote_settings(h->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
               : 100;
}

bool mp_h2_peer_allows_connect(const struct mp_h2_session *h)
{
    return h->got_settings && nghttp2_session_get_remote_settings(
                                  h->ng, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

bool mp_h2_may_open(const struct mp_h2_session *h)
{
    return !h->ended && !h->draining && h->n_streams < mp_h2_peer_streams_max(h) &&
           nghttp2_session_check_request_allowed(h->ng) != 0;
}
