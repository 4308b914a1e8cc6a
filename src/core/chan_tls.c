/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* TLS in a channel: moves bytes between the socket, the worker's TLS buffers and OpenSSL. */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "core/chan_int.h"
#include "io/sock.h"
#include "io/tls.h"

/* ---- output ---- */

static void flush_out(struct mp_core_worker *cw, struct mp_chan *ch)
{
    struct mp_tls_worker *tw = &cw->tls;
    struct iovec iov = {tw->out, tw->out_n};
    tw->out_n = 0;
    if (iov.iov_len > 0 && !ch->failed) {
        mp_chan_send_raw(cw, ch, &iov, 1);
    }
}

static void spill(struct mp_tls_worker *tw, void *arg)
{
    struct mp_core_worker *cw = arg;
    (void)tw;
    flush_out(cw, cw->tls_out);
}

/* Every call into TLS may write. */
static void enter(struct mp_core_worker *cw, struct mp_chan *ch)
{
    cw->tls.spill = spill;
    cw->tls.spill_arg = cw;
    cw->tls_out = ch;
}

/* Whole records as far as possible: small pieces (the framing of a chunk) travel with what follows
 * them. */
void mp_chan_tls_send(struct mp_core_worker *cw, struct mp_chan *ch, const struct iovec *iov, int n)
{
    struct mp_tls_worker *tw = &cw->tls;
    struct mp_tls *t = ch->more->tls;
    size_t have = 0;
    bool ok = true;
    enter(cw, ch);
    for (int i = 0; i < n && ok; i++) {
        const char *p = iov[i].iov_base;
        size_t left = iov[i].iov_len;
        while (left > 0 && ok) {
            if (have == 0 && (left >= MP_TLS_RECORD || i == n - 1)) {
                size_t k = MP_MIN(left, MP_TLS_RECORD);
                ok = mp_tls_write(t, tw, p, k);
                p += k;
                left -= k;
                continue;
            }
            size_t k = MP_MIN(left, MP_TLS_RECORD - have);
            memcpy(tw->plain + have, p, k);
            have += k;
            p += k;
            left -= k;
            if (have == MP_TLS_RECORD) {
                ok = mp_tls_write(t, tw, tw->plain, have);
                have = 0;
            }
        }
    }
    if (ok && have > 0) {
        ok = mp_tls_write(t, tw, tw->plain, have);
    }
    flush_out(cw, ch);
    if (!ok) {
        mp_chan_fail(cw, ch);
    }
}

char *mp_chan_tls_reserve(struct mp_core_worker *cw, size_t n)
{
    MP_ASSERT(cw->big == NULL);
    cw->big_size = n;
    cw->big = mp_blocks_get(&cw->w.blocks, &cw->big_size);
    return cw->big;
}

void mp_chan_tls_drop_big(struct mp_core_worker *cw)
{
    mp_blocks_put(&cw->w.blocks, cw->big, cw->big_size);
    cw->big = NULL;
}

/* ---- input ---- */

static void drop_parked(struct mp_core_worker *cw, struct mp_chan_more *m)
{
    if (m->parked != NULL) {
        mp_blocks_put(&cw->w.blocks, m->parked, m->parked_size);
    }
    m->parked = NULL;
    m->parked_n = m->parked_size = 0;
}

/* Puts what is left of the buffer's owner aside. */
static void park(struct mp_core_worker *cw)
{
    struct mp_tls_worker *tw = &cw->tls;
    struct mp_chan *ch = cw->tls_in;
    size_t left = tw->in_n - tw->in_at;
    cw->tls_in = NULL;
    if (ch == NULL || left == 0) {
        return;
    }
    struct mp_chan_more *m = ch->more;
    size_t size = left;
    m->parked = mp_blocks_get(&cw->w.blocks, &size);
    if (m->parked == NULL) {
        mp_chan_fail(cw, ch);
        return;
    }
    memcpy(m->parked, tw->in + tw->in_at, left);
    m->parked_n = (uint32_t)left;
    m->parked_size = (uint32_t)size;
}

static void take_in(struct mp_core_worker *cw, struct mp_chan *ch)
{
    struct mp_tls_worker *tw = &cw->tls;
    struct mp_chan_more *m = ch->more;
    enter(cw, ch);
    if (cw->tls_in == ch) {
        return;
    }
    park(cw);
    cw->tls_in = ch;
    tw->in_at = 0;
    tw->in_n = m->parked_n;
    if (m->parked != NULL) {
        memcpy(tw->in, m->parked, m->parked_n);
        drop_parked(cw, m);
    }
}

/* More ciphertext. *ret_empty: the socket has no more for now. Returns as recv. */
static ssize_t fill(struct mp_core_worker *cw, struct mp_chan *ch, bool *ret_empty)
{
    struct mp_tls_worker *tw = &cw->tls;
    ssize_t r = mp_sock_recv(cw->w.loop, ch->io.fd, tw->in, MP_TLS_IN_SIZE);
    if (r == 0 && ch->reset) {
        r = -ECONNRESET;
    }
    *ret_empty = r == -EAGAIN || (r < MP_TLS_IN_SIZE && !ch->hup);
    if (r > 0) {
        tw->in_at = 0;
        tw->in_n = (uint32_t)r;
        ch->rx += (size_t)r;
    } else if (r == 0) {
        ch->more->eof = true;
    }
    return r;
}

/* Decrypts until the buffer is full or nothing is there. What ends the stream is told by a call of
 * its own, after the bytes before it. */
ssize_t mp_chan_tls_recv(struct mp_core_worker *cw, struct mp_chan *ch, char *buf, size_t n)
{
    struct mp_tls_worker *tw = &cw->tls;
    struct mp_chan_more *m = ch->more;
    size_t got = 0;
    ssize_t end = -EAGAIN;
    bool empty = false, asked = false;
    take_in(cw, ch);
    while (got < n) {
        if (mp_tls_has_more(m->tls, tw) || !asked) {
            ssize_t r = mp_tls_read(m->tls, tw, buf + got, n - got);
            asked = true;
            if (r > 0) {
                got += (size_t)r;
                continue;
            }
            if (r != -EAGAIN) {
                end = r == -EPROTO ? -ECONNRESET : r;
                break;
            }
        }
        if (m->eof) {
            m->truncated = true;
            end = 0;
            break;
        }
        if (empty) {
            break;
        }
        ssize_t r = fill(cw, ch, &empty);
        if (r < 0 && r != -EAGAIN) {
            /* The kernel tells an error once: it is told again when these bytes are taken. */
            ch->reset |= got > 0;
            end = r;
            break;
        }
    }
    flush_out(cw, ch);
    if (got > 0) {
        return (ssize_t)got;
    }
    ch->fin |= end == 0;
    return end;
}

/* ---- handshake ---- */

struct mp_chan_more *mp_chan_get_more(struct mp_core_worker *cw, struct mp_chan *ch)
{
    if (ch->more == NULL) {
        ch->more = mp_slab_get(&cw->mores);
        if (ch->more != NULL) {
            *ch->more = (struct mp_chan_more){0};
        }
    }
    return ch->more;
}

bool mp_chan_tls_begin(struct mp_core_worker *cw, struct mp_chan *ch, struct mp_tls_ctx *ctx,
                       const char *sni, uint64_t session_key)
{
    struct mp_chan_more *m = mp_chan_get_more(cw, ch);
    if (m == NULL) {
        return false;
    }
    if (cw->tls.in == NULL) {
        mp_tls_worker_init(&cw->tls);
    }
    m->tls = mp_tls_new(ctx, sni, session_key);
    return m->tls != NULL;
}

void mp_chan_tls_feed(struct mp_core_worker *cw, struct mp_chan *ch, const char *p, size_t n)
{
    MP_ASSERT(n <= MP_TLS_IN_SIZE);
    take_in(cw, ch);
    memcpy(cw->tls.in, p, n);
    cw->tls.in_at = 0;
    cw->tls.in_n = (uint32_t)n;
}

int mp_chan_handshake(struct mp_core_worker *cw, struct mp_chan *ch)
{
    bool empty = false;
    take_in(cw, ch);
    for (;;) {
        int r = mp_tls_handshake(ch->more->tls, &cw->tls);
        flush_out(cw, ch);
        if (r != -EAGAIN) {
            return r;
        }
        if (ch->failed) {
            return -EPIPE;
        }
        if (empty) {
            return -EAGAIN;
        }
        ssize_t k = fill(cw, ch, &empty);
        if (k <= 0) {
            return k == 0 ? -ECONNRESET : (int)k;
        }
    }
}

/* ---- end ---- */

void mp_chan_tls_end(struct mp_core_worker *cw, struct mp_chan *ch)
{
    struct mp_chan_more *m = ch->more;
    if (m->tls != NULL && !ch->failed && !m->shut) {
        m->shut = true;
        enter(cw, ch);
        mp_tls_shutdown(m->tls, &cw->tls);
        flush_out(cw, ch);
    }
}

void mp_chan_shutdown_write(struct mp_core_worker *cw, struct mp_chan *ch)
{
    struct mp_tls *t = mp_chan_tls(ch);
    if (t != NULL && !ch->failed && !ch->more->shut && ch->q.n == 0) {
        enter(cw, ch);
        mp_tls_shutdown(t, &cw->tls);
        flush_out(cw, ch);
    }
    mp_sock_shutdown_write(cw->w.loop, ch->io.fd);
}

void mp_chan_cut(struct mp_core_worker *cw, struct mp_chan *ch)
{
    if (ch->more != NULL) {
        ch->more->shut = true;
    }
    mp_sock_set_reset_on_close(cw->w.loop, ch->io.fd);
}

void mp_chan_drop_more(struct mp_core_worker *cw, struct mp_chan *ch)
{
    struct mp_chan_more *m = ch->more;
    if (m->tls != NULL) {
        if (!ch->failed && !m->shut && ch->q.n == 0 && ch->io.fd >= 0) {
            enter(cw, ch);
            mp_tls_shutdown(m->tls, &cw->tls);
            flush_out(cw, ch);
        }
        m->tls = mp_tls_free(m->tls);
    }
    if (cw->tls_in == ch) {
        cw->tls_in = NULL;
    }
    if (cw->tls_out == ch) {
        cw->tls_out = NULL;
    }
    drop_parked(cw, m);
    mp_slab_put(&cw->mores, m);
    ch->more = NULL;
}
