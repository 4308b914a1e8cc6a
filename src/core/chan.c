/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Connected sockets: corked output, queue of what the kernel did not take. */
#include "core/chan_int.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "io/sock.h"

mp_err mp_chan_open(struct mp_core_worker *cw, struct mp_chan *ch, int fd,
                    void (*on_ready)(struct mp_io *io, unsigned events))
{
    ch->io.fd = -1;
    mp_buf_init(&ch->q);
    ch->more = NULL;
    ch->rx = ch->tx = 0;
    ch->reset = ch->failed = ch->readable = ch->hup = ch->fin = ch->end = false;
    return mp_io_open(cw->w.loop, &ch->io, fd, on_ready);
}

/* The kernel reports a broken connection once, and the write may have taken that report: the owner
 * must be told. */
void mp_chan_fail(struct mp_core_worker *cw, struct mp_chan *ch)
{
    if (ch->failed) {
        return;
    }
    ch->failed = true;
    if (cw->n_failed < MP_FAILED_MAX) {
        cw->failed[cw->n_failed++] = ch;
    } else {
        cw->failed_more = true;
    }
    mp_task_defer(cw->w.loop, &cw->failed_task);
}

static void forget_failed(struct mp_core_worker *cw, const struct mp_chan *ch)
{
    for (uint32_t i = 0; i < cw->n_failed; i++) {
        if (cw->failed[i] == ch) {
            cw->failed[i] = NULL;
        }
    }
}

void mp_chan_close(struct mp_core_worker *cw, struct mp_chan *ch)
{
    if (cw->cork.owner == ch) {
        mp_cork_flush(cw);
    }
    if (ch->more != NULL) {
        mp_chan_drop_more(cw, ch);
    }
    mp_io_close(cw->w.loop, &ch->io);
    mp_buf_fini(&ch->q, &cw->w.blocks);
    forget_failed(cw, ch);
    ch->failed = true;
}

ssize_t mp_chan_recv(struct mp_core_worker *cw, struct mp_chan *ch, void *buf, size_t n)
{
    if (MP_UNLIKELY(mp_chan_tls(ch) != NULL)) {
        return mp_chan_tls_recv(cw, ch, buf, n);
    }
    ssize_t r = mp_sock_recv(cw->w.loop, ch->io.fd, buf, n);
    if (r == 0 && ch->reset) {
        r = -ECONNRESET;
    }
    if (r > 0) {
        ch->rx += (size_t)r;
    } else if (r == 0) {
        ch->fin = true;
    }
    return r;
}

static void queue(struct mp_core_worker *cw, struct mp_chan *ch, const char *p, size_t n)
{
    if (n > 0 && !ch->failed && !mp_buf_add(&ch->q, &cw->w.blocks, p, n)) {
        mp_chan_fail(cw, ch);
    }
}

/* Sends the pieces; what is not taken is queued in order. */
void mp_chan_send_raw(struct mp_core_worker *cw, struct mp_chan *ch, struct iovec *iov, int n)
{
    ssize_t w = 0;
    if (ch->q.n == 0) {
        w = n == 1 ? mp_sock_send(cw->w.loop, ch->io.fd, iov[0].iov_base, iov[0].iov_len)
                   : mp_sock_sendv(cw->w.loop, ch->io.fd, iov, n);
        if (w < 0) {
            if (w != -EAGAIN) {
                ch->reset = w == -ECONNRESET;
                mp_chan_fail(cw, ch);
                return;
            }
            w = 0;
        }
        ch->tx += (size_t)w;
    }
    for (int i = 0; i < n; i++) {
        size_t len = iov[i].iov_len, skip = MP_MIN((size_t)w, len);
        w -= (ssize_t)skip;
        queue(cw, ch, (const char *)iov[i].iov_base + skip, len - skip);
    }
}

static void send_or_queue(struct mp_core_worker *cw, struct mp_chan *ch, struct iovec *iov, int n)
{
    if (ch->failed) {
        return;
    }
    if (MP_UNLIKELY(mp_chan_tls(ch) != NULL)) {
        mp_chan_tls_send(cw, ch, iov, n);
        return;
    }
    mp_chan_send_raw(cw, ch, iov, n);
}

void mp_cork_flush(struct mp_core_worker *cw)
{
    struct mp_cork *k = &cw->cork;
    struct mp_chan *ch = k->owner;
    if (ch == NULL) {
        return;
    }
    k->owner = NULL;
    struct iovec iov = {k->buf, k->n};
    k->n = 0;
    send_or_queue(cw, ch, &iov, 1);
}

/* Makes ch the cork's owner; false when its output must go to the queue, behind what waits there.
 */
static bool take_cork(struct mp_core_worker *cw, struct mp_chan *ch, size_t room)
{
    struct mp_cork *k = &cw->cork;
    /* The queue of a TLS channel holds records: plain text goes through the cork in any case. */
    bool behind = ch->q.n > 0 && mp_chan_tls(ch) == NULL;
    if (behind || room > MP_CORK_SIZE) {
        if (k->owner == ch) {
            mp_cork_flush(cw);
        }
        return false;
    }
    if (k->owner == ch) {
        if (k->n + room <= MP_CORK_SIZE) {
            return true;
        }
        mp_cork_flush(cw);
        if (ch->q.n > 0 && mp_chan_tls(ch) == NULL) {
            return false;
        }
    } else if (k->owner != NULL) {
        mp_cork_flush(cw);
    }
    k->owner = ch;
    k->n = 0;
    return true;
}

char *mp_chan_reserve(struct mp_core_worker *cw, struct mp_chan *ch, size_t n)
{
    if (MP_LIKELY(take_cork(cw, ch, n))) {
        return cw->cork.buf + cw->cork.n;
    }
    char *p = mp_chan_tls(ch) != NULL ? mp_chan_tls_reserve(cw, n)
                                      : mp_buf_reserve(&ch->q, &cw->w.blocks, n);
    if (p == NULL) {
        mp_chan_fail(cw, ch);
    }
    return p;
}

void mp_chan_commit(struct mp_core_worker *cw, struct mp_chan *ch, size_t n)
{
    if (cw->cork.owner == ch) {
        cw->cork.n += (uint32_t)n;
        return;
    }
    if (cw->big != NULL) {
        struct iovec iov = {cw->big, n};
        send_or_queue(cw, ch, &iov, 1);
        mp_chan_tls_drop_big(cw);
        return;
    }
    /* A head larger than the cork went to the queue although nothing waited there: start sending
     * it. */
    bool first = ch->q.n == 0;
    mp_buf_commit(&ch->q, n);
    if (first) {
        (void)mp_chan_on_writable(cw, ch);
    }
}

static char *put(char *p, struct mp_str s)
{
    if (s.n > 0) {
        memcpy(p, s.p, s.n);
    }
    return p + s.n;
}

void mp_chan_write(struct mp_core_worker *cw, struct mp_chan *ch, struct mp_str pre,
                   struct mp_str data, struct mp_str post)
{
    if (ch->failed) {
        return;
    }
    size_t n = pre.n + data.n + post.n;
    if (n <= MP_CORK_COPY_MAX && take_cork(cw, ch, n)) {
        put(put(put(cw->cork.buf + cw->cork.n, pre), data), post);
        cw->cork.n += (uint32_t)n;
        return;
    }
    struct iovec iov[4];
    int k = 0;
    if (cw->cork.owner == ch) {
        iov[k++] = (struct iovec){cw->cork.buf, cw->cork.n};
        cw->cork.owner = NULL;
        cw->cork.n = 0;
    }
    const struct mp_str parts[3] = {pre, data, post};
    for (int i = 0; i < 3; i++) {
        if (parts[i].n > 0) {
            iov[k++] = (struct iovec){(void *)(uintptr_t)parts[i].p, parts[i].n};
        }
    }
    if (k > 0) {
        send_or_queue(cw, ch, iov, k);
    }
}

void mp_chan_tell_failed(struct mp_core_worker *cw)
{
    for (uint32_t i = 0; i < cw->n_failed; i++) {
        struct mp_chan *ch = cw->failed[i];
        if (ch != NULL) {
            ch->io.on_ready(&ch->io, MP_IO_ERR);
        }
    }
    cw->n_failed = 0;
}

/* The end, now that everything is out. */
static void end_now(struct mp_core_worker *cw, struct mp_chan *ch)
{
    if (ch->more != NULL) {
        mp_chan_tls_end(cw, ch);
    }
    if (ch->q.n == 0 && !ch->failed) {
        mp_sock_shutdown_write(cw->w.loop, ch->io.fd);
    }
}

bool mp_chan_on_writable(struct mp_core_worker *cw, struct mp_chan *ch)
{
    while (ch->q.n > 0 && !ch->failed) {
        struct iovec iov[16];
        int k = mp_buf_peek(&ch->q, iov, 16);
        ssize_t w = mp_sock_sendv(cw->w.loop, ch->io.fd, iov, k);
        if (w < 0) {
            if (w != -EAGAIN) {
                ch->reset = w == -ECONNRESET;
                mp_chan_fail(cw, ch);
            }
            return false;
        }
        ch->tx += (size_t)w;
        mp_buf_consume(&ch->q, &cw->w.blocks, (size_t)w);
    }
    if (MP_UNLIKELY(ch->end) && ch->q.n == 0) {
        end_now(cw, ch);
    }
    return ch->q.n == 0;
}

void mp_chan_end(struct mp_core_worker *cw, struct mp_chan *ch)
{
    if (ch->failed || ch->end) {
        return;
    }
    if (cw->cork.owner == ch) {
        mp_cork_flush(cw);
    }
    ch->end = true;
    if (ch->q.n == 0) {
        end_now(cw, ch);
    }
}
