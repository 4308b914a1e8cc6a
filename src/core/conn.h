/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A client's connection. An idle one costs 256 bytes: buffers exist only while there is something
 * in them. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/timerwheel.h"
#include "codec/chunk.h"
#include "core/chan.h"
#include "core/stream.h"
#include "io/addr.h"

struct mp_listener_local;

#define MP_CONN_MAGIC 0x6d70436eu /* "mpCn" */

struct mp_conn {
    uint32_t magic;
    bool closing;    /* no further request is read; closed once the output is out */
    bool lingering;  /* output is out and shut down: reading until the peer closes, then close */
    bool in_process; /* guard: input is being processed further up the stack */
    bool dead;
    bool idle;          /* no request under way, not even a part of a head */
    bool head_wait;     /* the timer is the deadline of a head under way */
    bool keep_alive;    /* of the current request */
    bool asked_to_keep; /* the client did not say that the current request is its last */
    uint8_t minor;      /* of the current request */
    uint8_t body;       /* enum mp_body_kind of the current request */
    struct mp_core_worker *cw;
    struct mp_listener_local *lst;
    const struct mp_stat_block *stats; /* HTTP manager scope that counted the connection */
    struct mp_stream *stream;
    struct mp_chan ch;
    struct mp_list link; /* in lst->conns, or the worker's dead_conns */
    struct mp_timer timer;
    char *in; /* input kept between events: a part of a head, pipelined requests */
    uint32_t in_n, in_cap;
    uint32_t scanned; /* of in, by the head parser */
    uint32_t requests;
    uint64_t body_left;
    struct mp_chunk_dec dec;
    struct mp_addr peer;
    uint64_t id; /* for the access log */
    uint64_t accepted_ns;
};
_Static_assert(sizeof(struct mp_conn) <= 256, "one for every idle connection");

/* Takes the descriptor. */
void mp_conn_accept(struct mp_listener_local *lst, int fd, const struct mp_addr *peer);
/* At once: output that is not out is lost. */
void mp_conn_close(struct mp_conn *c);
/* After the current response (at once when idle). */
void mp_conn_drain(struct mp_conn *c);
/* The HTTP/1 server codec (h1_server.c). */
void mp_h1_server_on_ready(struct mp_io *io, unsigned events);
void mp_h1_server_on_timer(struct mp_timer *t);
/* Keeps input for later; false when the worker's memory is exhausted. */
bool mp_conn_keep_input(struct mp_conn *c, const char *p, size_t n);
void mp_conn_drop_input(struct mp_conn *c);
extern const struct mp_stream_codec mp_h1_server_codec;
