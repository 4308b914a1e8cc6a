/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Between accept and the protocol: looks at the first bytes of a connection and hands it over. The
 * bytes of the first read go along in the worker's scratch, so that a client of HTTP/1 costs no
 * system call and no copy for this. */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "core/conn.h"
#include "core/engine.h"
#include "core/snapshot.h"
#include "core/stats.h"

/* RFC 9113 3.4 */
static const char h2_preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#define H2_PREFACE_N (sizeof(h2_preface) - 1)

enum choice { CHOICE_MORE, CHOICE_HTTP1, CHOICE_HTTP2 };

static enum choice choose(const struct mp_conn *c, const char *p, size_t n)
{
    switch (mp_conn_http(c)->conf->codec) {
    case MP_CODEC_HTTP1:
        return CHOICE_HTTP1;
    case MP_CODEC_HTTP2:
        return CHOICE_HTTP2;
    default:
        break;
    }
    if (MP_LIKELY(p[0] != 'P') || memcmp(p, h2_preface, MP_MIN(n, H2_PREFACE_N)) != 0) {
        return CHOICE_HTTP1;
    }
    return n < H2_PREFACE_N ? CHOICE_MORE : CHOICE_HTTP2;
}

static void peer_gone(struct mp_conn *c)
{
    mp_stat_inc(c->stats, MP_ST_HTTP_CX_DESTROY_REMOTE);
    mp_conn_close(c);
}

/* Too little to tell. The first such bytes start the time for a request head. */
static void wait_for_more(struct mp_conn *c, const char *p, size_t n)
{
    uint64_t ms = mp_conn_http(c)->conf->request_headers_timeout_ms;
    c->idle = false;
    if (!c->head_wait && ms > 0) {
        c->head_wait = true;
        mp_timer_in(c->cw->w.loop, &c->timer, ms);
    }
    if (!mp_conn_keep_input(c, p, n)) {
        mp_stat_inc(c->stats, MP_ST_HTTP_RQ_OVERLOAD);
        mp_conn_close(c);
    }
}

/* Reads until the protocol is known or the socket is empty. */
static void read_first(struct mp_conn *c)
{
    char *scratch = c->cw->w.scratch;
    while (!c->dead) {
        size_t kept = c->in_n;
        if (kept > 0) {
            memcpy(scratch, c->in, kept);
        }
        ssize_t r = mp_chan_recv(c->cw, &c->ch, scratch + kept, MP_SCRATCH_SIZE - kept);
        if (r == -EAGAIN) {
            c->ch.readable = false;
            return;
        }
        if (r <= 0) {
            peer_gone(c);
            return;
        }
        c->in_n = 0;
        c->ch.readable = (size_t)r == MP_SCRATCH_SIZE - kept || c->ch.hup;
        size_t n = kept + (size_t)r;
        switch (choose(c, scratch, n)) {
        case CHOICE_HTTP1:
            mp_h1_server_begin(c, scratch, n);
            return;
        case CHOICE_HTTP2:
            mp_conn_drop_input(c);
            mp_h2_server_begin(c, scratch, n);
            return;
        case CHOICE_MORE:
            wait_for_more(c, scratch, n);
            if (!c->ch.readable) {
                return;
            }
        }
    }
}

void mp_conn_start_on_ready(struct mp_io *io, unsigned events)
{
    struct mp_conn *c = MP_CONTAINER_OF(io, struct mp_conn, ch.io);
    MP_CHECK_MAGIC(c, MP_CONN_MAGIC);
    if ((events & MP_IO_ERR) != 0) {
        peer_gone(c);
    } else if ((events & (MP_IO_IN | MP_IO_HUP)) != 0) {
        c->ch.readable = true;
        c->ch.hup |= (events & MP_IO_HUP) != 0;
        read_first(c);
    }
    mp_cork_flush(c->cw);
}

void mp_conn_start_on_timer(struct mp_timer *t)
{
    struct mp_conn *c = MP_CONTAINER_OF(t, struct mp_conn, timer);
    MP_CHECK_MAGIC(c, MP_CONN_MAGIC);
    if (c->in_n == 0) {
        mp_stat_inc(c->stats, MP_ST_HTTP_CX_IDLE_TIMEOUT);
        mp_conn_close(c);
        return;
    }
    /* Whatever it was going to be, it gets the answer to a head that is too slow. */
    size_t n = c->in_n;
    memcpy(c->cw->w.scratch, c->in, n);
    c->in_n = 0;
    mp_h1_server_begin(c, c->cw->w.scratch, n);
    if (!c->dead && c->proto == &mp_h1_server_proto && c->head_wait) {
        c->timer.fire(t);
    }
    mp_cork_flush(c->cw);
}

static void drain(struct mp_conn *c)
{
    /* What waits in the kernel was sent before anybody could know: it is served. */
    if (c->idle) {
        read_first(c);
    }
    if (c->dead) {
        return;
    }
    if (c->proto != &mp_start_proto) {
        c->proto->drain(c);
    } else if (c->idle) {
        mp_conn_close(c);
    }
}

static void cut(struct mp_conn *c, const char *details)
{
    (void)details;
    mp_conn_close(c);
}

const struct mp_conn_proto mp_start_proto = {.name = "start", .drain = drain, .cut = cut};
