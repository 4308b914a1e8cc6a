/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* HTTP/2 towards clients: a session (codec/h2_session.h) on a connection, its streams through the
 * ordinary chain. This file: events and calls of streams. The connection's life is in
 * h2_server_conn.c.
 *
 * What a turn of the loop produces for a connection leaves in one flush at its end. A response's
 * bytes wait in the session's stream; the chain stops the upstream above the buffer limit
 * (queued). Request bytes count as consumed when the chain has taken them, so that a slow upstream
 * closes the stream's window. */
#include <string.h>

#include "core/chain.h"
#include "core/engine.h"
#include "core/guard_ops.h"
#include "core/h2_server.h"
#include "core/snapshot.h"
#include "core/stats.h"

static struct mp_h2_server *server_of(struct mp_h2_session *h)
{
    return h->owner;
}

static void count(struct mp_h2_server *s, enum mp_stat_http2 what)
{
    mp_stat_inc(s->conn->cw->h2_down_stats, what);
}

/* ---- session -> stream ---- */

static bool on_begin(struct mp_h2_session *h, struct mp_h2_stream *st)
{
    struct mp_h2_server *srv = server_of(h);
    struct mp_conn *c = srv->conn;
    struct mp_stream *s = mp_stream_new(c->cw, c, &mp_h2_server_codec, mp_conn_http(c));
    if (s == NULL) {
        mp_stat_inc(c->stats, MP_ST_HTTP_RQ_OVERLOAD);
        return false;
    }
    s->protocol_minor = 20;
    s->h2 = st;
    st->user = s;
    c->requests++;
    mp_stat_inc(c->stats, MP_ST_HTTP_RQ_HTTP2_TOTAL);
    mp_stat_inc(c->cw->h2_down_stats, MP_ST_HTTP2_STREAMS_ACTIVE);
    mp_h2_server_busy(srv);
    return true;
}

static struct mp_arena *arena(struct mp_h2_session *h, struct mp_h2_stream *st)
{
    (void)h;
    return &((struct mp_stream *)st->user)->arena;
}

static bool has_underscore(const struct mp_hdrs *h)
{
    for (uint16_t i = 0; i < h->n; i++) {
        if (h->v[i].name_n > 0 && memchr(h->v[i].name, '_', h->v[i].name_n) != NULL) {
            return true;
        }
    }
    return false;
}

static void fill_request(struct mp_stream *s, const struct mp_h2_head *head)
{
    s->req.method = head->method;
    s->req.method_name = head->method_name.p != NULL ? head->method_name : MP_STR("");
    s->req.path = head->path.p != NULL ? head->path : MP_STR("");
    s->req.authority = head->authority.p != NULL ? head->authority : MP_STR("");
    /* What the connection is, not what the client says. */
    s->req.scheme = mp_chan_tls(&s->conn->ch) != NULL ? MP_STR("https") : MP_STR("http");
    s->req.has_content_length = head->has_content_length;
    s->req.content_length = head->content_length;
    s->req.hdrs = head->hdrs;
    s->req.hdrs.max = UINT16_MAX; /* the limit was checked while decoding */
    if (MP_UNLIKELY(head->method == MP_METHOD_CONNECT)) {
        if (head->protocol.p != NULL) {
            /* RFC 8441: for everybody else it looks as it does in HTTP/1. */
            s->req.method = MP_METHOD_GET;
            s->req.method_name = MP_STR("GET");
            s->req.upgrade = head->protocol;
        } else {
            s->req.upgrade = MP_STR("CONNECT");
        }
    }
}

static void on_head(struct mp_h2_session *h, struct mp_h2_stream *st, struct mp_h2_head *head,
                    enum mp_h2_fault fault, bool end)
{
    struct mp_h2_server *srv = server_of(h);
    struct mp_stream *s = st->user;
    fill_request(s, head);
    switch (fault) {
    case MP_H2_HEAD_MALFORMED:
        count(srv, MP_ST_HTTP2_RX_MESSAGING_ERROR);
        mp_guard_report(srv->conn->cw->engine->guard, &srv->conn->peer, mp_conn_by_proxy(srv->conn),
                        MP_GUARD_PROTOCOL_ERROR);
        mp_stream_on_reset(s, MP_FLAG_DOWNSTREAM_PROTOCOL, st->fault_text);
        return;
    case MP_H2_HEAD_TOO_LARGE:
        count(srv, MP_ST_HTTP2_HEADER_OVERFLOW);
        mp_stat_inc(s->stats, MP_ST_HTTP_RQ_HEADERS_TOO_LARGE);
        mp_stream_local_reply(s, 431, NULL, MP_STR(""), MP_FLAG_DOWNSTREAM_PROTOCOL,
                              st->fault_text);
        return;
    case MP_H2_HEAD_OK:
        break;
    }
    if (s->http->conf->underscores == MP_UNDERSCORE_REJECT && has_underscore(&s->req.hdrs)) {
        mp_stream_local_reply(s, 400, NULL, MP_STR(""), MP_FLAG_DOWNSTREAM_PROTOCOL,
                              "http2.unexpected_underscore");
        return;
    }
    st->tunnel = s->req.upgrade.n > 0;
    mp_stream_on_headers(s, end && s->req.upgrade.n == 0);
    if (end && s->req.upgrade.n > 0 && st->user == s) {
        mp_stream_on_data(s, MP_STR(""), true); /* a tunnel whose client has ended its side */
    }
}

static void on_data(struct mp_h2_session *h, struct mp_h2_stream *st, struct mp_str data, bool end)
{
    (void)h;
    mp_stream_on_data(st->user, data, end);
}

static void on_trailers(struct mp_h2_session *h, struct mp_h2_stream *st, struct mp_hdrs *t)
{
    struct mp_stream *s = st->user;
    count(server_of(h), MP_ST_HTTP2_TRAILERS);
    s->req_trailers = *t;
    mp_stream_on_trailers(s);
}

static bool wants_data(struct mp_h2_session *h, struct mp_h2_stream *st)
{
    struct mp_stream *s = st->user;
    if (mp_stream_wants_request(s)) {
        return true;
    }
    if (!s->codec_waits) {
        s->codec_waits = true;
        mp_stat_inc(server_of(h)->conn->stats, MP_ST_HTTP_FLOW_PAUSED);
    }
    return false;
}

static void on_drained(struct mp_h2_session *h, struct mp_h2_stream *st)
{
    (void)h;
    mp_stream_on_writable(st->user);
}

static void on_close(struct mp_h2_session *h, struct mp_h2_stream *st, uint32_t code,
                     bool unprocessed)
{
    struct mp_h2_server *srv = server_of(h);
    struct mp_stream *s = st->user;
    (void)unprocessed;
    mp_stat_dec(srv->conn->cw->h2_down_stats, MP_ST_HTTP2_STREAMS_ACTIVE);
    if (st->reset) {
        count(srv, MP_ST_HTTP2_TX_RESET);
    } else if (code != MP_H2_NO_ERROR) {
        count(srv, MP_ST_HTTP2_RX_RESET);
    }
    if (s == NULL) {
        return;
    }
    s->h2 = NULL;
    bool ours = st->fault != MP_H2_HEAD_OK;
    if (ours) {
        count(srv, MP_ST_HTTP2_RX_MESSAGING_ERROR);
    }
    mp_stream_on_reset(s, ours ? MP_FLAG_DOWNSTREAM_PROTOCOL : MP_FLAG_DOWNSTREAM_CLOSED,
                       ours ? st->fault_text : "http2.remote_reset");
}

static void on_goaway(struct mp_h2_session *h, uint32_t code)
{
    (void)h;
    (void)code; /* the client opens no more streams; those that are open go on */
}

static void on_ping_ack(struct mp_h2_session *h, const uint8_t payload[8])
{
    mp_h2_server_ping_ack(server_of(h), payload);
}

static void on_flood(struct mp_h2_session *h, enum mp_h2_flood why)
{
    struct mp_h2_server *srv = server_of(h);
    count(srv, (enum mp_stat_http2)(MP_ST_HTTP2_FLOOD_RESET + (unsigned)why));
    if (why == MP_H2_FLOOD_RESET) {
        mp_stat_inc(srv->conn->stats, MP_ST_HTTP_RQ_PREMATURE_RESETS);
    }
}

static void want_flush(struct mp_h2_session *h)
{
    struct mp_h2_server *srv = server_of(h);
    mp_task_defer(srv->conn->cw->w.loop, &srv->task);
}

static bool writable(struct mp_h2_session *h)
{
    const struct mp_chan *ch = &server_of(h)->conn->ch;
    return !ch->failed && mp_chan_backlog(ch) < MP_H2_BACKLOG_MAX;
}

static void on_write(struct mp_h2_session *h, struct mp_str pre, struct mp_str data)
{
    struct mp_conn *c = server_of(h)->conn;
    mp_chan_write(c->cw, &c->ch, pre, data, MP_STR(""));
}

const struct mp_h2_ops mp_h2_server_ops = {
    .on_begin = on_begin,
    .arena = arena,
    .on_head = on_head,
    .on_data = on_data,
    .on_trailers = on_trailers,
    .wants_data = wants_data,
    .on_drained = on_drained,
    .on_close = on_close,
    .on_goaway = on_goaway,
    .on_ping_ack = on_ping_ack,
    .on_flood = on_flood,
    .want_flush = want_flush,
    .writable = writable,
    .write = on_write,
};

/* ---- stream -> session ---- */

static struct mp_h2_head response_head(const struct mp_resp_head *h)
{
    return (struct mp_h2_head){.status = h->status,
                               .has_content_length = h->has_content_length,
                               .content_length = h->content_length,
                               .hdrs = h->hdrs};
}

static void write_1xx(struct mp_stream *s, struct mp_resp_head *h)
{
    if (s->h2 != NULL && h->status != 101) {
        const struct mp_h2_head head = response_head(h);
        mp_h2_send_1xx(s->h2, &head);
        mp_stat_inc(s->stats, MP_ST_HTTP_RQ_1XX);
    }
}

static void write_headers(struct mp_stream *s, struct mp_resp_head *h, bool end)
{
    if (s->h2 == NULL) {
        return;
    }
    struct mp_h2_head head = response_head(h);
    bool bodiless = s->req.method == MP_METHOD_HEAD || h->status == 204 || h->status == 304;
    if (MP_UNLIKELY(s->upgraded)) {
        head.status = h->status == 101 ? 200 : h->status; /* RFC 8441 5 */
        head.has_content_length = false;
        bodiless = false;
    }
    if (h->status == 204) {
        head.has_content_length = false;
    }
    s->resp_framing = (uint8_t)(bodiless                  ? MP_BODY_NONE
                                : head.has_content_length ? MP_BODY_LENGTH
                                                          : MP_BODY_CHUNKED);
    s->resp_left = head.content_length;
    mp_h2_send_response(s->h2, &head, end || bodiless);
}

static void overload(struct mp_stream *s)
{
    mp_stat_inc(s->stats, MP_ST_HTTP_RQ_OVERLOAD);
    mp_h2_reset(s->h2, MP_H2_INTERNAL_ERROR);
}

static void write_data(struct mp_stream *s, struct mp_str data, bool end)
{
    if (s->h2 == NULL || s->resp_framing == MP_BODY_NONE) {
        return;
    }
    if (s->resp_framing == MP_BODY_LENGTH) {
        if (data.n > s->resp_left || (end && data.n != s->resp_left)) {
            /* A filter changed the body and kept the length. */
            mp_stat_inc(s->stats, MP_ST_HTTP_RQ_TX_RESET);
            mp_h2_reset(s->h2, MP_H2_INTERNAL_ERROR);
            return;
        }
        s->resp_left -= data.n;
    }
    if (!mp_h2_send_data(s->h2, data, end)) {
        overload(s);
    }
}

static void write_trailers(struct mp_stream *s, struct mp_hdrs *t)
{
    if (s->h2 != NULL && s->resp_framing != MP_BODY_NONE && !mp_h2_send_trailers(s->h2, t)) {
        overload(s);
    }
}

static void stream_closed(struct mp_stream *s, bool reset)
{
    struct mp_h2_stream *st = s->h2;
    if (st == NULL) {
        return;
    }
    s->h2 = NULL;
    if (reset && st->fault != MP_H2_HEAD_MALFORMED) {
        mp_h2_reset(st, (s->response_flags & MP_FLAG_OVERLOAD) && !s->resp_started
                            ? MP_H2_REFUSED_STREAM
                            : MP_H2_INTERNAL_ERROR);
    }
    mp_h2_detach(st);
}

static size_t queued(const struct mp_stream *s)
{
    if (s->h2 == NULL || s->h2->reset || s->conn->ch.failed) {
        return SIZE_MAX; /* nobody listens: produce no more */
    }
    return s->h2->out.n;
}

static void read_on(struct mp_stream *s)
{
    mp_stat_inc(s->conn->stats, MP_ST_HTTP_FLOW_RESUMED);
    if (s->h2 != NULL) {
        mp_h2_read_on(s->h2);
    }
}

const struct mp_stream_codec mp_h2_server_codec = {
    .name = "http2",
    .write_1xx = write_1xx,
    .write_headers = write_headers,
    .write_data = write_data,
    .write_trailers = write_trailers,
    .closed = stream_closed,
    .queued = queued,
    .read_on = read_on,
};
