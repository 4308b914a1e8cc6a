/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Between the files of the HTTP/2 server. */
#pragma once
#include "codec/h2_session.h"
#include "core/conn.h"
#include "core/h2_conf.h"

enum mp_h2_leaving {
    MP_H2_STAYS,
    MP_H2_NOTICE, /* "no new streams soon" is out; the PING behind it tells when it has arrived */
    MP_H2_LEAVES  /* GOAWAY is out: the last stream ends the connection */
};

struct mp_h2_server {
    struct mp_h2_session h; /* first */
    struct mp_h2_conf conf;
    struct mp_conn *conn;
    struct mp_core_worker *cw;
    struct mp_task task; /* flush at the end of the turn; when the connection is dead: free */
    uint8_t leaving;     /* enum mp_h2_leaving */
    bool swept;          /* streams were reset after an error */
    bool busy;           /* there are streams; the timer looks after them */
    bool ping_out;       /* a keepalive PING waits for its ACK */
    uint64_t heard_ms;   /* bytes last came in */
    uint64_t head_ms;    /* since when a preface or head is incomplete; 0: none */
    uint64_t idle_ms;    /* since when there are no streams */
    uint64_t ping_ms;    /* when the PING under way was sent, or the last one answered */
    uint64_t leave_ms;   /* second step of the drain, at the latest */
};

extern const struct mp_h2_ops mp_h2_server_ops;
extern const struct mp_stream_codec mp_h2_server_codec;

/* h2_server_conn.c */
void mp_h2_server_busy(struct mp_h2_server *s);
void mp_h2_server_ping_ack(struct mp_h2_server *s, const uint8_t payload[8]);
