/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A connected socket with its output, the same for clients and upstreams, over TLS or not.
 *
 * Writing is corked: what one event produces for one connection is put together in the worker's
 * cork and sent with one system call at the end of the event (mp_cork_flush), or when another
 * connection writes. Two sends instead of one cost 3 us a request. Bodies above MP_CORK_COPY_MAX
 * are not copied: cork and body go out with one sendmsg. What the kernel does not take is queued in
 * blocks; users look at mp_chan_backlog and stop producing above their limit.
 *
 * Over TLS (chan_tls.c) the cork's plain text becomes records when it is flushed, all of one event
 * in one system call, and the queue holds records: the backlog is what the socket has not taken.
 * Input is decrypted straight into the reader's buffer; records that do not fit are parked until it
 * asks again, so that a short read means here, too, that the socket is empty.
 *
 * Errors: a failed write marks the channel failed and drops later output; the owner gets an error
 * event at the end of the turn and ends the connection.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "core/worker.h"
#include "io/addr.h"
#include "io/loop.h"

#define MP_CORK_COPY_MAX 4096
/* One read. What is read goes out with one write, and that should make one packet: on the loopback
 * interface 65,483 bytes, elsewhere a GSO packet of 64 KiB with its headers. Two of them cost twice
 * the work, and where the congestion control paces, twice the timers (1 MB: 550 us against 260). */
#define MP_CHAN_READ_MAX (56 * 1024)
/* Full reads of one connection in a row; then the others have their turn (mp_io_again). */
#define MP_CHAN_READS_MAX 8

struct mp_tls;
struct mp_tls_ctx;

/* What few connections have. */
struct mp_chan_more {
    struct mp_tls *tls; /* NULL: none */
    char *parked;       /* bytes from the socket that were not decrypted yet */
    uint32_t parked_n, parked_size;
    bool eof;       /* the socket's end was read, perhaps without the end of TLS */
    bool truncated; /* ... without it: what has no length of its own may have been cut */
    bool shut;      /* we have said, or must not say, that no more comes */
    /* Of a client's connection behind a proxy that speaks the PROXY protocol. */
    bool proxied;
    struct mp_addr direct, local;
};

struct mp_chan {
    struct mp_io io;
    struct mp_buf q;           /* waits for the socket to become writable */
    struct mp_chan_more *more; /* NULL: plain */
    uint64_t rx, tx;           /* bytes moved */
    bool reset;    /* a send reported ECONNRESET: the kernel tells once, a read would see an orderly
                      end */
    bool failed;   /* a write failed */
    bool readable; /* input may wait: an event came while nobody read */
    bool hup;      /* end of the peer's stream is known to come: read until 0 */
    bool fin;      /* end of the peer's stream was read */
    bool end;      /* our stream ends behind what is queued */
};

MP_MUST_USE mp_err mp_chan_open(struct mp_core_worker *cw, struct mp_chan *ch, int fd,
                                void (*on_ready)(struct mp_io *io, unsigned events));
/* Drops queued output and closes. Harmless when closed. */
void mp_chan_close(struct mp_core_worker *cw, struct mp_chan *ch);

/* Gives the connection up: later output is dropped, and at the end of the turn the owner gets
 * MP_IO_ERR. */
void mp_chan_fail(struct mp_core_worker *cw, struct mp_chan *ch);
void mp_chan_tell_failed(struct mp_core_worker *cw);

/* Bytes, 0 at the end of the stream, or a negative errno. */
ssize_t mp_chan_recv(struct mp_core_worker *cw, struct mp_chan *ch, void *buf, size_t n);

/* Room for n bytes of a head; never NULL unless the worker's memory is exhausted. Commit what was
 * written. */
char *mp_chan_reserve(struct mp_core_worker *cw, struct mp_chan *ch, size_t n);
void mp_chan_commit(struct mp_core_worker *cw, struct mp_chan *ch, size_t n);
/* pre and post are small (chunk framing). */
void mp_chan_write(struct mp_core_worker *cw, struct mp_chan *ch, struct mp_str pre,
                   struct mp_str data, struct mp_str post);
static inline size_t mp_chan_queued(const struct mp_core_worker *cw, const struct mp_chan *ch);
/* Half close: the peer reads the end of our stream once all output is out. Nothing is written after
 * this. */
void mp_chan_end(struct mp_core_worker *cw, struct mp_chan *ch);
/* The socket is writable: sends the queue. True when it is empty. */
bool mp_chan_on_writable(struct mp_core_worker *cw, struct mp_chan *ch);

/* Ends our writing side, after what is queued when that is nothing. */
void mp_chan_shutdown_write(struct mp_core_worker *cw, struct mp_chan *ch);
/* Makes the later close a reset: the peer must not take what it has for whole. */
void mp_chan_cut(struct mp_core_worker *cw, struct mp_chan *ch);

/* NULL: the worker's memory is exhausted. */
struct mp_chan_more *mp_chan_get_more(struct mp_core_worker *cw, struct mp_chan *ch);
/* Begins TLS; mp_chan_handshake goes on with it. False: memory. For sni and session_key see
 * io/tls.h. */
MP_MUST_USE bool mp_chan_tls_begin(struct mp_core_worker *cw, struct mp_chan *ch,
                                   struct mp_tls_ctx *ctx, const char *sni, uint64_t session_key);
/* Bytes of TLS that were read as if they were plain. */
void mp_chan_tls_feed(struct mp_core_worker *cw, struct mp_chan *ch, const char *p, size_t n);
/* 1: done; -EAGAIN: goes on with the next input; else failed (mp_tls_failure when -EPROTO). */
int mp_chan_handshake(struct mp_core_worker *cw, struct mp_chan *ch);
static inline struct mp_tls *mp_chan_tls(const struct mp_chan *ch)
{
    return ch->more != NULL ? ch->more->tls : NULL;
}

/* The cork's owner is a channel. */
void mp_cork_flush(struct mp_core_worker *cw);

/* For flow control: what waits for the socket. The cork does not count, it goes out at the end of
 * the event; so a backlog always means that a writable event will come. */
static inline size_t mp_chan_backlog(const struct mp_chan *ch)
{
    return ch->q.n;
}
static inline bool mp_chan_is_open(const struct mp_chan *ch)
{
    return ch->io.fd >= 0;
}
static inline size_t mp_chan_queued(const struct mp_core_worker *cw, const struct mp_chan *ch)
{
    return ch->q.n + (cw->cork.owner == ch ? cw->cork.n : 0);
}
