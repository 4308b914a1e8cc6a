/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* HTTP/1 towards clients: bytes -> stream events, response calls -> bytes. One stream at a time;
 * pipelined requests wait in the kernel or in the connection's kept input.
 *
 * Closing: a connection whose last response is out is closed at once when the client has said that
 * it would send no further request, the request was read whole and nothing waits unread; otherwise
 * it lingers (shut down for writing, reading and dropping) so that the response is not destroyed by
 * a reset (RFC 9112 9.6).
 */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "codec/h1_write.h"
#include "core/chain.h"
#include "core/conn.h"
#include "core/engine.h"
#include "core/guard_ops.h"
#include "core/listener.h"
#include "core/overload.h"
#include "core/snapshot.h"
#include "core/stats.h"
#include "io/sock.h"

#define TARGET_BYTES_MAX (32 * 1024 - 1)
#define HEAD_BYTES_MAX \
    (MP_SCRATCH_SIZE - 1) /* a head is parsed in one piece, with room to read on */

static const struct mp_stream_codec codec;
static void process(struct mp_conn *c, char *buf, size_t n);
static void read_input(struct mp_conn *c);

static const struct mp_conf_http *conf_of(const struct mp_conn *c)
{
    return mp_conn_http(c)->conf;
}

static void set_timer(struct mp_conn *c, uint64_t at_ms)
{
    if (at_ms == 0) {
        mp_timer_unset(&c->timer);
        return;
    }
    mp_wheel_set(mp_loop_wheel(c->cw->w.loop), &c->timer, at_ms);
}

/* Between requests, or after the last one. A response that the client does not take counts as a
 * stream, not as idleness, and each time the client takes some of it the time begins again. */
static void arm_idle(struct mp_conn *c)
{
    const struct mp_conf_http *hc = conf_of(c);
    bool unread = c->ch.q.n > 0 && hc->stream_idle_timeout_ms > 0;
    uint64_t ms = unread ? hc->stream_idle_timeout_ms : hc->idle_timeout_ms;
    uint64_t now = mp_cw_now_ms(c->cw), at = ms > 0 ? now + ms : 0;
    if (MP_UNLIKELY(hc->max_connection_duration_ms > 0) && !unread) {
        uint64_t end = c->accepted_ns / 1000000 + hc->max_connection_duration_ms + 1;
        at = at == 0 || end < at ? MP_MAX(end, now + 1) : at;
    }
    set_timer(c, at);
}

/* ---- closing ---- */

/* The response is with the kernel, nothing more will be read: end of the connection. */
static void finish_close(struct mp_conn *c)
{
    bool unread = c->in_n > 0 || c->ch.readable || (c->stream == NULL && c->body != MP_BODY_NONE);
    /* It is we who end the connection after this response: a request that was pipelined behind it
     * may be on its way, and would be answered by a reset that overtakes the response in the
     * client's system. */
    bool coming = c->asked_to_keep && !c->idle;
    if (c->ch.failed || c->ch.fin || (!unread && !coming) ||
        conf_of(c)->delayed_close_timeout_ms == 0) {
        mp_conn_close(c);
        return;
    }
    c->lingering = true;
    mp_conn_drop_input(c);
    mp_chan_shutdown_write(c->cw, &c->ch);
    set_timer(c, mp_cw_now_ms(c->cw) + conf_of(c)->delayed_close_timeout_ms);
    if (c->ch.readable && !c->in_process) {
        read_input(c);
    }
}

/* Closes once the output is out. */
static void close_after_output(struct mp_conn *c)
{
    c->closing = true;
    if (c->cw->cork.owner == &c->ch) {
        mp_cork_flush(c->cw);
    }
    if (c->ch.failed || c->ch.q.n == 0) {
        finish_close(c);
        return;
    }
    arm_idle(c);
}

/* Answers a head that was refused or did not come in time, as a stream without a request, so that
 * filters, counters and logs see it. The connection ends: what follows cannot be understood. */
static void refuse(struct mp_conn *c, unsigned status, uint32_t flags, const char *details)
{
    c->idle = false;
    c->minor = 1;
    c->body = MP_BODY_CHUNKED;
    c->keep_alive = false;
    mp_timer_unset(&c->timer);
    struct mp_stream *s = mp_stream_new(c->cw, c, &codec, mp_conn_http(c));
    if (s == NULL) {
        mp_conn_close(c);
        return;
    }
    c->stream = s;
    s->protocol_minor = 1;
    mp_stream_local_reply(s, status, NULL, MP_STR(""), flags, details);
}

static void report(struct mp_conn *c, enum mp_guard_event event)
{
    mp_guard_report(c->cw->engine->guard, &c->peer, mp_conn_by_proxy(c), event);
}

static void refuse_head(struct mp_conn *c, enum mp_h1_status why, unsigned status)
{
    mp_stat_inc(c->stats, MP_ST_HTTP_CX_PROTOCOL_ERROR);
    mp_engine_count_h1_error(c->cw, why);
    report(c, MP_GUARD_PROTOCOL_ERROR);
    if (status == 431) {
        mp_stat_inc(c->stats, MP_ST_HTTP_RQ_HEADERS_TOO_LARGE);
    }
    refuse(c, status, MP_FLAG_DOWNSTREAM_PROTOCOL, mp_h1_status_name(why));
}

/* ---- input: heads ---- */

/* Of a list nothing is chosen: no configuration names "," (RFC 9110 7.8 lets us ignore the wish,
 * but then the client would get a response where others have tunnels). A request with a body keeps
 * it and is not asked. */
static struct mp_str asked_protocol(const struct mp_hdrs *h)
{
    const struct mp_hdr *e = mp_hdrs_get(h, MP_HDR_UPGRADE);
    return mp_hdrs_next_same(h, e) == NULL ? mp_hdr_value(e) : MP_STR(",");
}

static bool fill_request(struct mp_stream *s, const struct mp_h1_request *r,
                         const struct mp_hdr *fields, const char *block)
{
    if (mp_is_err(mp_hdrs_take_block(&s->req.hdrs, fields, r->n_fields, block, r->head_n))) {
        return false;
    }
    /* The block has been copied: what points into it moves along. */
    const char *copy = s->req.hdrs.n > 0 ? s->req.hdrs.v[0].name - (fields[0].name - block) : NULL;
    if (copy == NULL) {
        struct mp_str all = mp_arena_dup(&s->arena, mp_str(block, r->head_n));
        copy = all.p;
        if (copy == NULL) {
            return false;
        }
    }
    const struct mp_str parts[3] = {r->method_name, r->path, r->authority};
    struct mp_str moved[3];
    for (int i = 0; i < 3; i++) {
        bool inside = parts[i].p >= block && parts[i].p < block + r->head_n;
        moved[i] = inside ? mp_str(copy + (parts[i].p - block), parts[i].n) : parts[i];
    }
    s->req.method = r->method;
    s->req.method_name = moved[0];
    s->req.path = moved[1];
    s->req.authority = moved[2];
    if (s->req.authority.n == 0) {
        s->req.authority = s->http->conf->default_host_http10;
    }
    s->req.scheme = mp_chan_tls(&s->conn->ch) != NULL ? MP_STR("https") : MP_STR("http");
    s->req.has_content_length = r->has_content_length;
    s->req.content_length = r->content_length;
    s->protocol_minor = r->minor;
    if (MP_UNLIKELY(r->method == MP_METHOD_CONNECT)) {
        s->req.path = MP_STR("");
        s->req.upgrade = MP_STR("CONNECT");
    } else if (MP_UNLIKELY(r->upgrade) && r->body == MP_BODY_NONE) {
        s->req.upgrade = asked_protocol(&s->req.hdrs);
    }
    return true;
}

/* Rules of the manager that need no stream. */
static enum mp_h1_status check_head(const struct mp_conn *c, const struct mp_h1_request *r)
{
    const struct mp_conf_http *hc = conf_of(c);
    if (r->minor == 0 && !hc->accept_http10) {
        return MP_H1_ERR_BAD_VERSION;
    }
    if (r->form == MP_TARGET_ABSOLUTE && !hc->allow_absolute_url) {
        return MP_H1_ERR_BAD_TARGET;
    }
    for (uint16_t i = 0; hc->underscores == MP_UNDERSCORE_REJECT && i < r->n_fields; i++) {
        if (memchr(c->cw->fields[i].name, '_', c->cw->fields[i].name_n) != NULL) {
            return MP_H1_ERR_BAD_NAME;
        }
    }
    return MP_H1_OK;
}

static bool is_too_old(const struct mp_conn *c)
{
    uint64_t max_ms = conf_of(c)->max_connection_duration_ms;
    uint64_t age_ms = (mp_loop_now_ns(c->cw->w.loop) - c->accepted_ns) / 1000000;
    return max_ms > 0 && age_ms >= max_ms;
}

/* May the connection carry another request after this one? */
static bool more_requests(const struct mp_conn *c)
{
    const struct mp_conf_http *hc = conf_of(c);
    if (c->lst->removed || c->cw->draining) {
        return false;
    }
    if (hc->requests_per_connection > 0 && c->requests >= hc->requests_per_connection) {
        mp_stat_inc(c->stats, MP_ST_HTTP_CX_MAX_REQUESTS);
        return false;
    }
    if (is_too_old(c)) {
        mp_stat_inc(c->stats, MP_ST_HTTP_CX_MAX_DURATION);
        return false;
    }
    if (mp_overload_on(c->cw, MP_OVERLOAD_NO_KEEPALIVE)) {
        mp_stat_inc(c->stats, MP_ST_HTTP_CX_OVERLOAD_NO_KEEPALIVE);
        return false;
    }
    return true;
}

/* A head is complete: makes the stream and hands it up. Returns bytes used, 0 when the connection
 * is over. */
static size_t begin_request(struct mp_conn *c, char *buf, const struct mp_h1_request *r)
{
    struct mp_core_worker *cw = c->cw;
    c->idle = false;
    c->head_wait = false;
    c->requests++;
    mp_timer_unset(&c->timer);
    c->minor = r->minor;
    c->body = (uint8_t)r->body;
    if (r->body == MP_BODY_CHUNKED) {
        mp_chunk_dec_init(&c->dec);
    } else {
        c->body_left = r->content_length;
    }
    c->keep_alive = c->asked_to_keep = r->keep_alive;
    struct mp_stream *s = mp_stream_new(cw, c, &codec, mp_conn_http(c));
    if (s == NULL || (c->stream = s, !fill_request(s, r, cw->fields, buf))) {
        mp_stat_inc(c->stats, MP_ST_HTTP_RQ_OVERLOAD);
        if (s != NULL) {
            mp_stream_abort(s, MP_FLAG_OVERLOAD, "overload");
        } else {
            mp_conn_close(c);
        }
        return 0;
    }
    mp_stat_inc(c->stats, MP_ST_HTTP_RQ_HTTP1_TOTAL);
    return r->head_n;
}

/* ---- input: bodies ---- */

/* Checks body bytes that came with the head before the head is passed on: a message whose framing
 * is broken reaches nobody. Works on a copy of the decoder; the payload is moved together in place,
 * and *ret_payload, *ret_used tell. */
struct piece {
    struct mp_str payload;
    size_t used;
    bool end; /* the body is complete, trailers included */
    bool trailers;
    enum mp_h1_status error;
};

static void read_trailers(struct mp_conn *c, char *buf, size_t n, struct piece *p)
{
    struct mp_core_worker *cw = c->cw;
    const struct mp_conf_http *hc = conf_of(c);
    const struct mp_h1_limits limits = {MP_MIN(hc->head_bytes_max, HEAD_BYTES_MAX), hc->fields_max,
                                        0};
    uint16_t fields = 0;
    size_t used = 0, scanned = c->scanned;
    enum mp_h1_status st =
        mp_h1_parse_trailers(buf, n, &scanned, &limits, cw->fields, &fields, &used);
    c->scanned = (uint32_t)scanned;
    if (st == MP_H1_MORE) {
        return;
    }
    if (st != MP_H1_OK) {
        p->error = st;
        return;
    }
    p->used += used;
    p->end = true;
    c->scanned = 0;
    if (fields == 0) {
        return;
    }
    if (!hc->enable_trailers) {
        mp_stat_inc(c->stats, MP_ST_HTTP_TRAILERS_DROPPED);
        return;
    }
    struct mp_stream *s = c->stream;
    mp_hdrs_init(&s->req_trailers, &s->arena, hc->fields_max);
    if (mp_is_err(mp_hdrs_take_block(&s->req_trailers, cw->fields, fields, buf, used))) {
        p->error = MP_H1_ERR_HEAD_TOO_LARGE;
        return;
    }
    p->trailers = true;
}

#define BODY_IN_TRAILERS 0xff /* c->body: the last chunk was seen */

/* The client's bytes are those of a tunnel, up to its half close. */
#define BODY_TUNNEL 0xfe

static struct piece next_piece(struct mp_conn *c, char *buf, size_t n)
{
    struct piece p = {.payload = {buf, 0}, .used = 0};
    if (MP_UNLIKELY(c->body == BODY_TUNNEL)) {
        p.payload.n = p.used = n;
        return p;
    }
    if (c->body == MP_BODY_LENGTH) {
        size_t take = c->body_left < n ? (size_t)c->body_left : n;
        c->body_left -= take;
        p.payload.n = take;
        p.used = take;
        p.end = c->body_left == 0;
    } else if (c->body == MP_BODY_CHUNKED) {
        size_t payload = 0, used = 0;
        enum mp_h1_status st = mp_chunk_decode(&c->dec, buf, n, &payload, &used);
        p.payload.n = payload;
        p.used = used;
        if (st == MP_H1_OK) {
            c->body = BODY_IN_TRAILERS;
            c->scanned = 0;
            read_trailers(c, buf + used, n - used, &p);
        } else if (st != MP_H1_MORE) {
            p.error = st;
        }
    } else {
        read_trailers(c, buf, n, &p);
    }
    if (p.end) {
        c->body = MP_BODY_NONE;
    }
    return p;
}

/* Hands a piece to the stream, which may end under it. */
static void deliver(struct mp_conn *c, const struct piece *p)
{
    struct mp_stream *s = c->stream;
    if (p->payload.n > 0 || (p->end && !p->trailers)) {
        mp_stream_on_data(s, p->payload, p->end && !p->trailers);
    }
    if (p->trailers && c->stream == s) {
        mp_stream_on_trailers(s);
    }
}

static void body_error(struct mp_conn *c, enum mp_h1_status why)
{
    struct mp_stream *s = c->stream;
    mp_stat_inc(c->stats, MP_ST_HTTP_CX_PROTOCOL_ERROR);
    mp_engine_count_h1_error(c->cw, why);
    report(c, MP_GUARD_PROTOCOL_ERROR);
    c->keep_alive = false;
    if (s->resp_started) {
        mp_stream_abort(s, MP_FLAG_DOWNSTREAM_PROTOCOL, mp_h1_status_name(why));
        return;
    }
    mp_stream_local_reply(s, (unsigned)mp_h1_status_http(why), NULL, MP_STR(""),
                          MP_FLAG_DOWNSTREAM_PROTOCOL, mp_h1_status_name(why));
}

/* ---- input: the loop ---- */

static bool keep_rest(struct mp_conn *c, const char *p, size_t n)
{
    if (mp_conn_keep_input(c, p, n)) {
        return true;
    }
    mp_stat_inc(c->stats, MP_ST_HTTP_RQ_OVERLOAD);
    if (c->stream != NULL) {
        mp_stream_abort(c->stream, MP_FLAG_OVERLOAD, "overload");
    } else {
        mp_conn_close(c);
    }
    return false;
}

/* The start of a head is there: it must be complete in time. */
static void wait_for_head(struct mp_conn *c)
{
    uint64_t ms = conf_of(c)->request_headers_timeout_ms;
    c->idle = false;
    if (!c->head_wait && ms > 0) {
        c->head_wait = true;
        set_timer(c, mp_cw_now_ms(c->cw) + ms);
    }
}

/* Consumes one head at buf; returns bytes used, 0: stop. */
static size_t take_head(struct mp_conn *c, char *buf, size_t n)
{
    const struct mp_conf_http *hc = conf_of(c);
    const struct mp_h1_limits limits = {MP_MIN(hc->head_bytes_max, HEAD_BYTES_MAX), hc->fields_max,
                                        TARGET_BYTES_MAX};
    struct mp_h1_request r;
    size_t scanned = c->scanned;
    enum mp_h1_status st = mp_h1_parse_request(buf, n, &scanned, &limits, c->cw->fields, &r);
    bool parsed = st == MP_H1_OK;
    if (parsed) {
        st = check_head(c, &r);
    }
    if (st == MP_H1_MORE) {
        c->scanned = (uint32_t)scanned;
        wait_for_head(c);
        (void)keep_rest(c, buf, n);
        return 0;
    }
    c->scanned = 0;
    if (st != MP_H1_OK) {
        mp_conn_drop_input(c);
        unsigned status = (unsigned)mp_h1_status_http(st);
        if (st == MP_H1_ERR_BAD_VERSION && r.minor == 0 && parsed) {
            status = 426; /* HTTP/1.0 is understood, but not accepted here */
        }
        refuse_head(c, st, status);
        return 0;
    }
    size_t used = begin_request(c, buf, &r);
    if (used == 0) {
        return 0;
    }
    struct mp_stream *s = c->stream;
    if (r.body == MP_BODY_NONE) {
        mp_stream_on_headers(s, s->req.upgrade.n == 0);
        return used;
    }
    /* Look at the body bytes at hand first: broken framing is refused before anything goes out. */
    struct piece p = next_piece(c, buf + used, n - used);
    if (p.error != 0) {
        body_error(c, p.error);
        return used + p.used;
    }
    bool empty_body = p.end && p.payload.n == 0 && !p.trailers;
    if (r.expect_continue && p.used > 0) {
        mp_hdrs_remove_id(&s->req.hdrs, MP_HDR_EXPECT); /* the body is coming already */
    }
    mp_stream_on_headers(s, empty_body);
    if (c->stream == s && !empty_body) {
        deliver(c, &p);
    }
    return used + p.used;
}

static bool output_full(const struct mp_conn *c)
{
    return mp_chan_backlog(&c->ch) >= mp_conn_http(c)->buffer_limit;
}

static void process(struct mp_conn *c, char *buf, size_t n)
{
    c->in_process = true;
    while (n > 0 && !c->dead && !c->closing) {
        struct mp_stream *s = c->stream;
        size_t used;
        if (s == NULL && output_full(c)) {
            break; /* a client that pipelines and does not read its responses */
        }
        if (s == NULL) {
            used = take_head(c, buf, n);
            if (used == 0) {
                c->in_process = false;
                return;
            }
        } else if (c->body == MP_BODY_NONE) {
            break; /* the next request waits for this one's response */
        } else {
            struct piece p = next_piece(c, buf, n);
            used = p.used;
            if (p.error != 0) {
                body_error(c, p.error);
            } else {
                deliver(c, &p);
            }
            if (used == 0 && c->stream == s) {
                break; /* a part of the trailers */
            }
        }
        buf += used;
        n -= used;
    }
    if (!c->dead && !c->closing) {
        (void)keep_rest(c, buf, n);
    } else if (!c->dead) {
        mp_conn_drop_input(c);
    }
    c->in_process = false;
}

/* The peer ended its side, or reset. */
static void peer_gone(struct mp_conn *c, ssize_t err)
{
    struct mp_stream *s = c->stream;
    mp_stat_inc(c->stats, MP_ST_HTTP_CX_DESTROY_REMOTE);
    if (s == NULL) {
        if (err == 0) {
            close_after_output(c);
        } else {
            mp_conn_close(c);
        }
        return;
    }
    if (err == 0 && MP_UNLIKELY(c->body == BODY_TUNNEL)) {
        c->body = MP_BODY_NONE;
        mp_stream_on_data(s, MP_STR(""), true);
        return;
    }
    bool half_closed = err == 0 && c->body == MP_BODY_NONE;
    if (half_closed) {
        /* The request is whole: the client has only ended its side (docs/adr/004). It gets its
         * answer. */
        c->keep_alive = false;
        return;
    }
    mp_stat_inc(c->stats, MP_ST_HTTP_CX_DESTROY_ACTIVE_RQ);
    c->ch.failed = true;
    mp_stream_on_reset(s, MP_FLAG_DOWNSTREAM_CLOSED, "downstream_remote_disconnect");
}

/* May bytes be read now? */
static bool may_read(struct mp_conn *c)
{
    struct mp_stream *s = c->stream;
    if (s == NULL || c->lingering) {
        return c->lingering || !output_full(c);
    }
    if (c->body == MP_BODY_NONE) {
        return false; /* pipelined requests wait in the kernel */
    }
    if (mp_stream_wants_request(s)) {
        return true;
    }
    if (!s->codec_waits) {
        s->codec_waits = true;
        mp_stat_inc(c->stats, MP_ST_HTTP_FLOW_PAUSED);
    }
    return false;
}

static void read_input(struct mp_conn *c)
{
    char *scratch = c->cw->w.scratch;
    for (int reads = 0; !c->dead; reads++) {
        if (c->closing && !c->lingering) {
            return;
        }
        if (!may_read(c)) {
            return; /* ch.readable stays set */
        }
        if (reads == MP_CHAN_READS_MAX) {
            mp_io_again(c->cw->w.loop, &c->ch.io);
            return;
        }
        size_t kept = c->in_n;
        size_t ask = MP_MIN(MP_SCRATCH_SIZE - kept, (size_t)MP_CHAN_READ_MAX);
        if (kept > 0) {
            memcpy(scratch, c->in, kept);
        }
        ssize_t r = mp_chan_recv(c->cw, &c->ch, scratch + kept, ask);
        if (r == -EAGAIN) {
            c->ch.readable = false;
            return;
        }
        c->in_n = 0;
        if (r <= 0) {
            c->ch.readable = false;
            peer_gone(c, r);
            return;
        }
        bool more = (size_t)r == ask || c->ch.hup;
        c->ch.readable = more;
        if (!c->lingering) {
            process(c, scratch, kept + (size_t)r);
        }
        if (!more) {
            return;
        }
    }
}

/* A stream has ended, or a listener has changed: what has been kept or waits unread comes next. */
static void next_request(struct mp_conn *c)
{
    if (c->in_process || c->dead || c->closing) {
        return; /* the loop further up goes on */
    }
    while (c->in_n > 0 && c->stream == NULL && !c->dead && !c->closing && !output_full(c)) {
        uint32_t before = c->in_n;
        char *scratch = c->cw->w.scratch;
        memcpy(scratch, c->in, before);
        c->in_n = 0;
        process(c, scratch, before);
        if (c->in_n == before) {
            break; /* an incomplete head */
        }
    }
    if (!c->dead && !c->closing && c->ch.readable) {
        read_input(c);
    }
}

/* Bytes that came before their tunnel was open. */
static void take_early(struct mp_conn *c)
{
    uint32_t n = c->in_n;
    char *scratch = c->cw->w.scratch;
    memcpy(scratch, c->in, n);
    c->in_n = 0;
    process(c, scratch, n);
}

static void on_ready(struct mp_io *io, unsigned events)
{
    struct mp_conn *c = MP_CONTAINER_OF(io, struct mp_conn, ch.io);
    MP_CHECK_MAGIC(c, MP_CONN_MAGIC);
    if (MP_UNLIKELY(c->body == BODY_TUNNEL) && c->in_n > 0 && c->stream != NULL) {
        take_early(c);
    }
    if ((events & MP_IO_OUT) != 0 && c->ch.q.n > 0) {
        bool drained = mp_chan_on_writable(c->cw, &c->ch);
        if (c->closing && (drained || c->ch.failed) && !c->lingering) {
            finish_close(c);
        } else if (c->stream != NULL &&
                   mp_chan_backlog(&c->ch) < c->stream->http->buffer_limit / 2 + 1) {
            mp_stream_on_writable(c->stream);
        } else if (c->stream == NULL) {
            if (!c->head_wait) {
                arm_idle(c);
            }
            next_request(c);
        }
    }
    if (!c->dead && (events & MP_IO_ERR) != 0 && !c->lingering) {
        /* Reset: whatever is still to be said has no listener. */
        peer_gone(c, -ECONNRESET);
    }
    if (!c->dead && (events & (MP_IO_IN | MP_IO_HUP | MP_IO_ERR)) != 0) {
        c->ch.readable = true;
        c->ch.hup |= (events & (MP_IO_HUP | MP_IO_ERR)) != 0;
        if (c->closing && !c->lingering && c->ch.hup && c->ch.q.n == 0) {
            finish_close(c);
        } else {
            read_input(c);
        }
    }
    mp_cork_flush(c->cw);
}

static void on_timer(struct mp_timer *t)
{
    struct mp_conn *c = MP_CONTAINER_OF(t, struct mp_conn, timer);
    MP_CHECK_MAGIC(c, MP_CONN_MAGIC);
    if (c->lingering) {
        mp_stat_inc(c->stats, MP_ST_HTTP_CX_DELAYED_CLOSE_TIMEOUT);
        mp_conn_close(c);
        return;
    }
    if (c->closing) {
        mp_conn_close(c);
        return;
    }
    if (c->stream != NULL) {
        return; /* the stream has its own timer */
    }
    if (c->head_wait) {
        mp_stat_inc(c->stats, MP_ST_HTTP_RQ_HEADER_TIMEOUT);
        report(c, MP_GUARD_HEADER_TIMEOUT);
        mp_conn_drop_input(c);
        refuse(c, 408, MP_FLAG_DURATION_TIMEOUT, "request_header_timeout");
        mp_cork_flush(c->cw);
        return;
    }
    mp_stat_inc(c->stats, is_too_old(c) ? MP_ST_HTTP_CX_MAX_DURATION : MP_ST_HTTP_CX_IDLE_TIMEOUT);
    close_after_output(c);
}

static void drain(struct mp_conn *c)
{
    if (c->stream == NULL && c->idle && !c->closing) {
        /* A request may wait in the kernel: it was sent before anybody could know, so it is served.
         */
        read_input(c);
        if (!c->dead && c->stream == NULL && c->idle && !c->closing) {
            close_after_output(c);
        }
        return;
    }
    c->keep_alive = false;
}

static void cut(struct mp_conn *c, const char *details)
{
    if (c->stream == NULL) {
        mp_conn_close(c);
        return;
    }
    c->ch.failed = true;
    mp_stream_on_reset(c->stream, MP_FLAG_LOCAL_RESET, details);
}

const struct mp_conn_proto mp_h1_server_proto = {.name = "http1", .drain = drain, .cut = cut};

void mp_h1_server_begin(struct mp_conn *c, char *first, size_t n)
{
    c->proto = &mp_h1_server_proto;
    c->ch.io.on_ready = on_ready;
    c->timer.fire = on_timer;
    mp_stat_inc(c->stats, MP_ST_HTTP_CX_HTTP1_TOTAL);
    process(c, first, n);
    if (!c->dead && c->ch.readable) {
        read_input(c);
    }
}

/* ---- output ---- */

static void write_head(struct mp_conn *c, const struct mp_h1_head_out *o)
{
    char *p = mp_chan_reserve(c->cw, &c->ch, mp_h1_response_size(o));
    if (p != NULL) {
        mp_chan_commit(c->cw, &c->ch, mp_h1_write_response(p, o));
    }
}

static void write_1xx(struct mp_stream *s, struct mp_resp_head *h)
{
    if (s->conn->minor == 0) {
        return; /* RFC 9110 15.2 */
    }
    struct mp_h1_head_out o = {
        .status = h->status, .minor = 1, .body = MP_BODY_NONE, .hdrs = &h->hdrs};
    write_head(s->conn, &o);
    mp_stat_inc(s->stats, MP_ST_HTTP_RQ_1XX);
}

static void open_tunnel(struct mp_stream *s, struct mp_resp_head *h)
{
    struct mp_conn *c = s->conn;
    struct mp_h1_head_out o = {
        .status = h->status, .minor = 1, .body = MP_BODY_NONE, .hdrs = &h->hdrs};
    if (h->status == 101) {
        o.conn = MP_H1_CONN_UPGRADE;
        o.upgrade = s->req.upgrade;
    }
    c->keep_alive = false;
    c->body = BODY_TUNNEL;
    s->resp_framing = MP_BODY_CLOSE;
    write_head(c, &o);
    /* What the client has sent already is read in an event of its own: the read buffer is in use.
     */
    mp_io_again(c->cw->w.loop, &c->ch.io);
}

static void write_headers(struct mp_stream *s, struct mp_resp_head *h, bool end)
{
    struct mp_conn *c = s->conn;
    if (MP_UNLIKELY(s->upgraded)) {
        open_tunnel(s, h);
        return;
    }
    if (MP_UNLIKELY(s->req.method == MP_METHOD_CONNECT)) {
        /* The client may have sent the tunnel's first bytes without waiting; they are no request.
         */
        c->keep_alive = false;
    }
    bool bodiless = s->req.method == MP_METHOD_HEAD || h->status == 204 || h->status == 304;
    struct mp_h1_head_out o = {
        .status = h->status, .minor = 1, .body = MP_BODY_NONE, .hdrs = &h->hdrs};
    if (bodiless) {
        o.write_length_zero = h->has_content_length && h->status != 204;
        o.content_length = h->content_length;
    } else if (end) {
        o.write_length_zero = true;
    } else if (h->has_content_length) {
        o.body = MP_BODY_LENGTH;
        o.content_length = h->content_length;
    } else if (c->minor >= 1) {
        o.body = MP_BODY_CHUNKED;
    } else {
        o.body = MP_BODY_CLOSE;
        c->keep_alive = false;
    }
    /* A response that ends before its request was read whole leaves the connection unusable. */
    if (c->body != MP_BODY_NONE || (c->keep_alive && !more_requests(c))) {
        c->keep_alive = false;
    }
    o.conn = !c->keep_alive  ? MP_H1_CONN_CLOSE
             : c->minor == 0 ? MP_H1_CONN_KEEP_ALIVE
                             : MP_H1_CONN_DEFAULT;
    s->resp_framing = (uint8_t)(bodiless ? MP_BODY_NONE : o.body);
    s->resp_left = o.content_length;
    write_head(c, &o);
}

static void write_data(struct mp_stream *s, struct mp_str data, bool end)
{
    struct mp_conn *c = s->conn;
    if (s->resp_framing == MP_BODY_NONE) {
        return;
    }
    if (s->resp_framing == MP_BODY_LENGTH) {
        if (data.n > s->resp_left || (end && data.n != s->resp_left)) {
            /* A filter changed the body and kept the length: cut the connection, the client must
             * notice. */
            mp_stat_inc(s->stats, MP_ST_HTTP_RQ_TX_RESET);
            c->keep_alive = false;
            mp_chan_fail(c->cw, &c->ch);
            return;
        }
        s->resp_left -= data.n;
    }
    if (s->resp_framing != MP_BODY_CHUNKED) {
        mp_chan_write(c->cw, &c->ch, MP_STR(""), data, MP_STR(""));
        if (MP_UNLIKELY(s->tunnel_open) && end) {
            mp_chan_end(c->cw, &c->ch);
        }
        return;
    }
    char head[MP_CHUNK_HEAD_MAX];
    struct mp_str pre = {head, data.n > 0 ? mp_chunk_head(head, data.n) : 0};
    struct mp_str post = data.n > 0 ? MP_STR("\r\n" MP_CHUNK_LAST) : MP_STR(MP_CHUNK_LAST);
    if (!end) {
        post.n = data.n > 0 ? 2 : 0;
    }
    mp_chan_write(c->cw, &c->ch, pre, data, post);
}

static void write_trailers(struct mp_stream *s, struct mp_hdrs *t)
{
    struct mp_conn *c = s->conn;
    if (s->resp_framing != MP_BODY_CHUNKED) {
        return;
    }
    if (!s->http->conf->enable_trailers) {
        mp_stat_inc(s->stats, MP_ST_HTTP_TRAILERS_DROPPED);
        write_data(s, MP_STR(""), true);
        return;
    }
    char *p = mp_chan_reserve(c->cw, &c->ch, 3 + mp_h1_trailers_size(t));
    if (p != NULL) {
        memcpy(p, "0\r\n", 3);
        mp_chan_commit(c->cw, &c->ch, 3 + mp_h1_write_trailers(p + 3, t));
    }
}

static void stream_closed(struct mp_stream *s, bool reset)
{
    struct mp_conn *c = s->conn;
    bool whole = c->body == MP_BODY_NONE;
    c->stream = NULL;
    if (reset || c->ch.failed) {
        if (s->resp_started && !c->ch.failed) {
            /* Cut inside a response: the client must not take it for whole. */
            mp_chan_cut(c->cw, &c->ch);
        }
        mp_conn_close(c);
        return;
    }
    if (!whole || !c->keep_alive) {
        close_after_output(c);
        return;
    }
    c->idle = c->in_n == 0;
    c->scanned = 0;
    arm_idle(c);
    next_request(c);
}

static size_t queued(const struct mp_stream *s)
{
    const struct mp_chan *ch = &s->conn->ch;
    return ch->failed ? SIZE_MAX : mp_chan_backlog(ch); /* nobody listens: produce no more */
}

static void read_on(struct mp_stream *s)
{
    struct mp_conn *c = s->conn;
    mp_stat_inc(c->stats, MP_ST_HTTP_FLOW_RESUMED);
    if (c->in_process || c->dead) {
        return;
    }
    if (c->ch.readable) {
        read_input(c);
    }
}

static const struct mp_stream_codec codec = {
    .name = "http1",
    .write_1xx = write_1xx,
    .write_headers = write_headers,
    .write_data = write_data,
    .write_trailers = write_trailers,
    .closed = stream_closed,
    .queued = queued,
    .read_on = read_on,
};
