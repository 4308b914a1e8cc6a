/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A client's connection, whatever it speaks. It begins in the start stage (conn_start.c), which
 * looks at the first bytes and hands it to a protocol (struct mp_conn_proto); from then on the
 * protocol's callbacks get its events. An idle one costs 256 bytes: buffers exist only while there
 * is something in them. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/timerwheel.h"
#include "codec/chunk.h"
#include "core/chan.h"
#include "core/listener.h"
#include "core/stream.h"
#include "io/addr.h"

struct mp_conn;
struct mp_h2_server;

/* What others ask of a connection without knowing what it speaks. Each may close it. */
struct mp_conn_proto {
    const char *name;
    /* Ends after the responses under way (at once when idle); what the kernel has already is
     * served. */
    void (*drain)(struct mp_conn *c);
    /* Ends now: requests under way are reset, and logged with these details. */
    void (*cut)(struct mp_conn *c, const char *details);
    /* mp_conn_close, before anything is given back: streams are gone or end here. May be NULL. */
    void (*closed)(struct mp_conn *c);
};
extern const struct mp_conn_proto mp_start_proto; /* not known yet */
extern const struct mp_conn_proto mp_h1_server_proto;
extern const struct mp_conn_proto mp_h2_server_proto;
extern const size_t mp_h2_server_size;

#define MP_CONN_MAGIC 0x6d70436eu /* "mpCn" */

struct mp_conn {
    uint32_t magic;
    bool closing;    /* no further request is read; closed once the output is out */
    bool lingering;  /* output is out and shut down: reading until the peer closes, then close */
    bool in_process; /* guard: input is being processed further up the stack */
    bool dead : 1;
    bool source_counted : 1; /* its source has one connection more */
    bool http_counted : 1;   /* by a manager: stats is set */
    bool tls_wait : 1;       /* start stage: the handshake is under way */
    bool proxy_wait : 1;     /* start stage: a PROXY header must come */
    bool chain_known : 1;    /* start stage: lst is that of the chain */
    bool idle;               /* no request under way, not even a part of a head */
    bool head_wait;          /* the timer is the deadline of a head under way */
    bool keep_alive;         /* HTTP/1: of the current request */
    bool asked_to_keep; /* HTTP/1: the client did not say that the current request is its last */
    uint8_t minor;      /* HTTP/1: of the current request */
    uint8_t body;       /* HTTP/1: enum mp_body_kind of the current request */
    uint16_t in_kib;    /* size of in */
    const struct mp_conn_proto *proto;
    struct mp_core_worker *cw;
    struct mp_listener_local *lst;
    const struct mp_stat_block *stats; /* HTTP manager scope that counted the connection */
    union {
        struct mp_stream *stream; /* HTTP/1: the current one */
        struct mp_h2_server *h2;
    };
    struct mp_chan ch;
    struct mp_list link; /* in lst->conns, or the worker's dead_conns */
    struct mp_timer timer;
    char *in; /* input kept between events: a part of a head, pipelined requests */
    uint32_t in_n;
    uint32_t requests;
    union {                      /* HTTP/1; each has its time */
        uint32_t scanned;        /* of in, by the parser of heads and trailers */
        uint64_t body_left;      /* of a body with length */
        struct mp_chunk_dec dec; /* of a chunked body, up to its last chunk */
    };
    struct mp_addr peer;
    uint64_t id; /* for the access log */
    uint64_t accepted_ns;
};
_Static_assert(sizeof(struct mp_conn) <= 256, "one for every idle connection");

/* The manager that serves the connection's requests; another one after a change of configuration.
 */
static inline struct mp_http *mp_conn_http(const struct mp_conn *c)
{
    return c->lst->http;
}

/* Others may stand behind the peer's address, or it is only said: never denied for what happens
 * here. */
static inline bool mp_conn_by_proxy(const struct mp_conn *c)
{
    return mp_conn_http(c)->conf->xff_trusted_hops > 0 || c->lst->conf->conf->proxy_protocol;
}

/* Takes the descriptor. source_counted: mp_admit said so. */
void mp_conn_accept(struct mp_listener_local *lst, int fd, const struct mp_addr *peer,
                    bool source_counted);
/* What the client connected to; behind a proxy, what that says. False: unknown. */
bool mp_conn_local_addr(const struct mp_conn *c, struct mp_addr *ret);
/* At once: output that is not out is lost. */
void mp_conn_close(struct mp_conn *c);
/* Keeps input for later; false when the worker's memory is exhausted. */
bool mp_conn_keep_input(struct mp_conn *c, const char *p, size_t n);
void mp_conn_drop_input(struct mp_conn *c);

/* Counts the connection in its manager's stats. */
void mp_conn_count_http(struct mp_conn *c);

/* ---- the start stage (conn_start.c) ---- */
void mp_conn_start(struct mp_conn *c);
/* The time for the first request head begins. */
void mp_conn_arm_first(struct mp_conn *c);
void mp_conn_start_on_ready(struct mp_io *io, unsigned events);
void mp_conn_start_on_timer(struct mp_timer *t);

/* ---- protocols ----
 * The start stage hands over: first[0..n) is what has been read, at the beginning of the worker's
 * scratch; n may be 0. ch.readable and ch.hup tell whether more may wait: the callee reads on while
 * they do. It sets c->proto, ch.io.on_ready and timer.fire, counts, and flushes nothing: its caller
 * flushes the cork. The connection may be closed when it returns. */
void mp_h1_server_begin(struct mp_conn *c, char *first, size_t n);
void mp_h2_server_begin(struct mp_conn *c, char *first, size_t n);
