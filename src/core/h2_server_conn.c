/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* An HTTP/2 client's connection: reading, flushing once a turn, timers, leaving in two steps,
 * closing. */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "core/engine.h"
#include "core/guard_ops.h"
#include "core/h2_server.h"
#include "core/snapshot.h"
#include "core/stats.h"

#define NOTICE_MS 1000 /* for a client that does not answer the PING behind the notice */
#define TICK_MS   500  /* how exact the times of streams that are only being sent are */

static const uint8_t ping_notice[8] = "mp-leave", ping_alive[8] = "mp-alive";

const size_t mp_h2_server_size = sizeof(struct mp_h2_server);

static const struct mp_conf_http *conf_of(const struct mp_conn *c)
{
    return mp_conn_http(c)->conf;
}

static void count(const struct mp_conn *c, enum mp_stat_http2 what)
{
    mp_stat_inc(c->cw->h2_down_stats, what);
}

/* ---- timers ---- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a == 0 ? b : b == 0 ? a : MP_MIN(a, b);
}

static uint64_t after(uint64_t from, uint64_t ms)
{
    return from != 0 && ms != 0 ? from + ms : 0;
}

static void arm(struct mp_h2_server *s)
{
    struct mp_conn *c = s->conn;
    const struct mp_conf_http *hc = conf_of(c);
    if (c->lingering) {
        return;
    }
    uint64_t now = mp_cw_now_ms(c->cw), at = 0;
    at = sooner(at, after(s->head_ms, hc->request_headers_timeout_ms));
    at = sooner(at, after(s->idle_ms, hc->idle_timeout_ms));
    at = sooner(at, s->leaving == MP_H2_NOTICE ? s->leave_ms : 0);
    if (s->busy) {
        at = sooner(at, now + TICK_MS);
    }
    if (c->closing && c->ch.q.n > 0) {
        at = sooner(at, now + MP_MAX(hc->delayed_close_timeout_ms, UINT64_C(1000)));
    }
    if (s->leaving == MP_H2_STAYS) {
        at = sooner(at, after(c->accepted_ns / 1000000 + 1, hc->max_connection_duration_ms));
    }
    if (hc->http2.ka_timeout_ms > 0) {
        uint64_t idle = after(s->heard_ms, hc->http2.ka_idle_ms);
        at = sooner(at, s->ping_out ? s->ping_ms + hc->http2.ka_timeout_ms
                                    : sooner(after(s->ping_ms, hc->http2.ka_interval_ms), idle));
    }
    if (at == 0) {
        mp_timer_unset(&c->timer);
    } else {
        mp_wheel_set(mp_loop_wheel(c->cw->w.loop), &c->timer, MP_MAX(at, now + 1));
    }
}

void mp_h2_server_busy(struct mp_h2_server *s)
{
    if (!s->busy) {
        s->busy = true;
        s->conn->idle = false;
        s->idle_ms = 0;
        arm(s);
    }
}

/* ---- closing ---- */

static void reset_streams(struct mp_h2_server *s, uint32_t flags, const char *details)
{
    MP_LIST_FOREACH_SAFE (it, &s->h.streams) {
        struct mp_h2_stream *st = MP_CONTAINER_OF(it, struct mp_h2_stream, link);
        struct mp_stream *stream = st->user;
        if (stream != NULL) {
            st->user = NULL;
            stream->h2 = NULL;
            mp_stream_on_reset(stream, flags, details);
        }
    }
}

static void run_free(struct mp_task *t)
{
    struct mp_h2_server *s = MP_CONTAINER_OF(t, struct mp_h2_server, task);
    struct mp_core_worker *cw = s->cw; /* the connection may be gone */
    mp_stat_add(cw->h2_down_stats, MP_ST_HTTP2_STREAMS_ACTIVE, -(uint64_t)s->h.n_streams);
    mp_h2_fini(&s->h);
    mp_slab_put(&cw->h2_servers, s);
}

/* mp_conn_close is on its way; perhaps from inside the session. */
static void closed(struct mp_conn *c)
{
    struct mp_h2_server *s = c->h2;
    mp_stat_dec(c->stats, MP_ST_HTTP_CX_HTTP2_ACTIVE);
    mp_h2_stop(&s->h);
    reset_streams(s, MP_FLAG_DOWNSTREAM_CLOSED, "downstream_remote_disconnect");
    mp_task_cancel(&s->task);
    mp_task_init(&s->task, run_free);
    mp_task_defer(c->cw->w.loop, &s->task);
}

/* All that we have to say is with the kernel. What the peer still sends would be answered by a
 * reset that destroys our GOAWAY: read and drop it for a while. */
static void finish_close(struct mp_conn *c)
{
    uint64_t ms = conf_of(c)->delayed_close_timeout_ms;
    if (c->ch.failed || c->ch.fin || ms == 0) {
        mp_conn_close(c);
        return;
    }
    c->lingering = true;
    mp_chan_shutdown_write(c->cw, &c->ch);
    mp_timer_in(c->cw->w.loop, &c->timer, ms);
}

static void close_if_over(struct mp_h2_server *s)
{
    struct mp_conn *c = s->conn;
    if (s->h.ended && !s->swept) {
        s->swept = true;
        count(c, MP_ST_HTTP2_GOAWAY_SENT);
        if (!s->h.flooded) {
            count(c, MP_ST_HTTP2_PROTOCOL_ERROR);
        }
        mp_stat_inc(c->stats, MP_ST_HTTP_CX_PROTOCOL_ERROR);
        mp_guard_report(c->cw->engine->guard, &c->peer, mp_conn_by_proxy(c),
                        MP_GUARD_PROTOCOL_ERROR);
        reset_streams(s, MP_FLAG_DOWNSTREAM_PROTOCOL,
                      s->h.flooded ? "http2.flood" : "http2.protocol_error");
    }
    if (c->dead || c->lingering || !mp_h2_over(&s->h)) {
        return;
    }
    c->closing = true;
    if (c->cw->cork.owner == &c->ch) {
        mp_cork_flush(c->cw);
    }
    if (c->ch.failed || c->ch.q.n == 0) {
        finish_close(c);
    } else {
        arm(s);
    }
}

/* ---- the end of a turn ---- */

static void run_flush(struct mp_task *t)
{
    struct mp_h2_server *s = MP_CONTAINER_OF(t, struct mp_h2_server, task);
    struct mp_conn *c = s->conn;
    mp_h2_flush(&s->h, mp_cw_now_ms(c->cw));
    if (c->dead) {
        return;
    }
    close_if_over(s);
    if (!c->dead && s->busy && s->h.n_streams == 0) {
        s->busy = false;
        c->idle = true;
        s->idle_ms = mp_cw_now_ms(c->cw);
        arm(s);
    }
}

/* ---- leaving ---- */

static void leave(struct mp_h2_server *s)
{
    s->leaving = MP_H2_LEAVES;
    count(s->conn, MP_ST_HTTP2_GOAWAY_SENT);
    mp_h2_goaway(&s->h, MP_H2_NO_ERROR);
}

/* RFC 9113 6.8: first a notice, so that requests on their way are served, then the real one. */
static void give_notice(struct mp_h2_server *s)
{
    if (s->leaving != MP_H2_STAYS || s->h.ended) {
        return;
    }
    s->leaving = MP_H2_NOTICE;
    s->leave_ms = mp_cw_now_ms(s->conn->cw) + NOTICE_MS;
    mp_h2_shutdown_notice(&s->h);
    mp_h2_ping(&s->h, ping_notice);
    arm(s);
}

void mp_h2_server_ping_ack(struct mp_h2_server *s, const uint8_t payload[8])
{
    if (memcmp(payload, ping_notice, 8) == 0 && s->leaving == MP_H2_NOTICE) {
        leave(s);
    } else if (memcmp(payload, ping_alive, 8) == 0 && s->ping_out) {
        s->ping_out = false;
        s->ping_ms = mp_cw_now_ms(s->conn->cw);
        arm(s);
    }
}

static void drain(struct mp_conn *c)
{
    struct mp_h2_server *s = c->h2;
    if (s->leaving == MP_H2_STAYS && !c->closing) {
        mp_stat_inc(c->stats, MP_ST_HTTP_CX_DRAIN_CLOSE);
        give_notice(s);
    }
}

static void cut(struct mp_conn *c, const char *details)
{
    c->ch.failed = true;
    reset_streams(c->h2, MP_FLAG_LOCAL_RESET, details);
    mp_conn_close(c);
}

/* May the connection go on after what it has just carried? */
static void check_age(struct mp_h2_server *s)
{
    struct mp_conn *c = s->conn;
    const struct mp_conf_http *hc = conf_of(c);
    if (s->leaving != MP_H2_STAYS) {
        return;
    }
    if (c->lst->removed || c->cw->draining) {
        drain(c);
    } else if (hc->requests_per_connection > 0 && c->requests >= hc->requests_per_connection) {
        mp_stat_inc(c->stats, MP_ST_HTTP_CX_MAX_REQUESTS);
        leave(s);
    }
}

/* ---- input ---- */

static void peer_gone(struct mp_conn *c, ssize_t err)
{
    struct mp_h2_server *s = c->h2;
    (void)err;
    if (!c->lingering) {
        mp_stat_inc(c->stats, MP_ST_HTTP_CX_DESTROY_REMOTE);
        mp_stat_add(c->stats, MP_ST_HTTP_CX_DESTROY_ACTIVE_RQ, s->h.n_streams > 0);
    }
    c->ch.failed = true;
    mp_conn_close(c);
}

static void take(struct mp_h2_server *s, char *p, size_t n)
{
    struct mp_conn *c = s->conn;
    uint64_t now = mp_cw_now_ms(c->cw);
    s->heard_ms = now;
    c->in_process = true;
    mp_h2_recv(&s->h, now, p, n);
    c->in_process = false;
    if (c->dead) {
        return;
    }
    bool waits = !s->h.ended && (!s->h.got_settings || s->h.dec.st != NULL);
    if (waits != (s->head_ms != 0)) {
        s->head_ms = waits ? now : 0;
        arm(s);
    }
    check_age(s);
}

static void read_input(struct mp_conn *c)
{
    char *scratch = c->cw->w.scratch;
    for (int reads = 0; !c->dead && (!c->closing || c->lingering); reads++) {
        if (reads == MP_CHAN_READS_MAX) {
            mp_io_again(c->cw->w.loop, &c->ch.io);
            return;
        }
        ssize_t r = mp_chan_recv(c->cw, &c->ch, scratch, MP_CHAN_READ_MAX);
        if (r == -EAGAIN) {
            c->ch.readable = false;
            return;
        }
        if (r <= 0) {
            c->ch.readable = false;
            peer_gone(c, r);
            return;
        }
        c->ch.readable = (size_t)r == MP_CHAN_READ_MAX || c->ch.hup;
        if (!c->lingering) {
            take(c->h2, scratch, (size_t)r);
        }
        if (!c->ch.readable) {
            return;
        }
    }
}

static void on_ready(struct mp_io *io, unsigned events)
{
    struct mp_conn *c = MP_CONTAINER_OF(io, struct mp_conn, ch.io);
    MP_CHECK_MAGIC(c, MP_CONN_MAGIC);
    if ((events & MP_IO_OUT) != 0 && c->ch.q.n > 0) {
        bool drained = mp_chan_on_writable(c->cw, &c->ch);
        if (c->closing && (drained || c->ch.failed) && !c->lingering) {
            finish_close(c);
        } else if (!c->dead && !c->closing && mp_chan_backlog(&c->ch) < MP_H2_BACKLOG_MAX / 2) {
            mp_task_defer(c->cw->w.loop, &c->h2->task);
        }
    }
    if (!c->dead && (events & MP_IO_ERR) != 0) {
        peer_gone(c, -ECONNRESET);
    }
    if (!c->dead && (events & (MP_IO_IN | MP_IO_HUP)) != 0) {
        c->ch.readable = true;
        c->ch.hup |= (events & MP_IO_HUP) != 0;
        if (c->closing && !c->lingering && c->ch.hup && c->ch.q.n == 0) {
            finish_close(c);
        } else {
            read_input(c);
        }
    }
    mp_cork_flush(c->cw);
}

/* ---- time ---- */

/* Responses whose stream has ended for everybody else, and that the client does not take. */
static void check_unread(struct mp_h2_server *s, uint64_t now)
{
    uint64_t ms = conf_of(s->conn)->stream_idle_timeout_ms;
    MP_LIST_FOREACH_SAFE (it, &s->h.streams) {
        struct mp_h2_stream *st = MP_CONTAINER_OF(it, struct mp_h2_stream, link);
        if (st->user == NULL && !st->reset && ms > 0 && now - st->moved_ms >= ms) {
            count(s->conn, MP_ST_HTTP2_TX_FLUSH_TIMEOUT);
            mp_h2_reset(st, MP_H2_CANCEL);
        }
    }
}

/* True: the connection is over. */
static bool check_alive(struct mp_h2_server *s, uint64_t now)
{
    struct mp_conn *c = s->conn;
    const struct mp_conf_http2 *k = &conf_of(c)->http2;
    if (k->ka_timeout_ms == 0) {
        return false;
    }
    if (s->ping_out) {
        if (now < s->ping_ms + k->ka_timeout_ms) {
            return false;
        }
        count(c, MP_ST_HTTP2_KEEPALIVE_TIMEOUT);
        mp_conn_close(c);
        return true;
    }
    bool due = (k->ka_interval_ms > 0 && now >= s->ping_ms + k->ka_interval_ms) ||
               (k->ka_idle_ms > 0 && now >= s->heard_ms + k->ka_idle_ms);
    if (due) {
        s->ping_out = true;
        s->ping_ms = now;
        mp_h2_ping(&s->h, ping_alive);
    }
    return false;
}

static void on_time(struct mp_h2_server *s)
{
    struct mp_conn *c = s->conn;
    const struct mp_conf_http *hc = conf_of(c);
    uint64_t now = mp_cw_now_ms(c->cw);
    if (s->head_ms != 0 && now >= after(s->head_ms, hc->request_headers_timeout_ms) &&
        hc->request_headers_timeout_ms > 0) {
        count(c, MP_ST_HTTP2_SETTINGS_TIMEOUT);
        mp_stat_inc(c->stats, MP_ST_HTTP_RQ_HEADER_TIMEOUT);
        mp_conn_close(c);
        return;
    }
    if (check_alive(s, now)) {
        return;
    }
    if (s->idle_ms != 0 && hc->idle_timeout_ms > 0 && now >= s->idle_ms + hc->idle_timeout_ms) {
        mp_stat_inc(c->stats, MP_ST_HTTP_CX_IDLE_TIMEOUT);
        s->idle_ms = 0;
        leave(s);
    }
    if (s->leaving == MP_H2_NOTICE && now >= s->leave_ms) {
        leave(s);
    }
    uint64_t age = now - c->accepted_ns / 1000000;
    if (s->leaving == MP_H2_STAYS && hc->max_connection_duration_ms > 0 &&
        age >= hc->max_connection_duration_ms) {
        mp_stat_inc(c->stats, MP_ST_HTTP_CX_MAX_DURATION);
        give_notice(s);
    }
    if (s->busy) {
        check_unread(s, now);
    }
    arm(s);
}

static void on_timer(struct mp_timer *t)
{
    struct mp_conn *c = MP_CONTAINER_OF(t, struct mp_conn, timer);
    MP_CHECK_MAGIC(c, MP_CONN_MAGIC);
    if (c->lingering) {
        mp_stat_inc(c->stats, MP_ST_HTTP_CX_DELAYED_CLOSE_TIMEOUT);
        mp_conn_close(c);
    } else if (c->closing) {
        mp_conn_close(c);
    } else {
        on_time(c->h2);
    }
    mp_cork_flush(c->cw);
}

/* ---- the beginning ---- */

const struct mp_conn_proto mp_h2_server_proto = {
    .name = "http2", .drain = drain, .cut = cut, .closed = closed};

void mp_h2_server_begin(struct mp_conn *c, char *first, size_t n)
{
    struct mp_core_worker *cw = c->cw;
    struct mp_h2_server *s = mp_slab_get(&cw->h2_servers);
    if (s == NULL) {
        mp_conn_close(c);
        return;
    }
    memset(s, 0, sizeof(*s));
    uint64_t now = mp_cw_now_ms(cw);
    s->conn = c;
    s->cw = cw;
    s->heard_ms = s->ping_ms = now;
    s->head_ms = s->idle_ms = now;
    mp_h2_conf_set(&s->conf, &conf_of(c)->http2, true);
    s->conf.head_bytes_max = conf_of(c)->head_bytes_max;
    s->conf.fields_max = conf_of(c)->fields_max;
    mp_task_init(&s->task, run_flush);
    if (!mp_h2_init(&s->h, &s->conf, &mp_h2_server_ops, s, &cw->w.blocks, &cw->h2_streams, now)) {
        mp_slab_put(&cw->h2_servers, s);
        mp_conn_close(c);
        return;
    }
    s->h.low_mark = c->lst->http->buffer_limit / 2;
    c->h2 = s;
    c->proto = &mp_h2_server_proto;
    c->idle = true;
    c->head_wait = false;
    c->ch.io.on_ready = on_ready;
    c->timer.fire = on_timer;
    mp_stat_inc(c->stats, MP_ST_HTTP_CX_HTTP2_TOTAL);
    mp_stat_inc(c->stats, MP_ST_HTTP_CX_HTTP2_ACTIVE);
    mp_conn_drop_input(c);
    arm(s);
    if (n > 0) {
        take(s, first, n);
    }
    if (!c->dead && c->ch.readable) {
        read_input(c);
    }
}
