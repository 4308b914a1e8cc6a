/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Between the files of the HTTP/2 client. */
#pragma once
#include "codec/h2_session.h"
#include "core/h2_client.h"

struct mp_h2_client {
    struct mp_h2_session h; /* first */
    struct mp_h2_conf conf;
    struct mp_upconn *uc;
    struct mp_core_worker *cw;
    struct mp_task task; /* flush at the end of the turn; when the connection is dead: free */
    bool leaving;        /* no new requests */
    bool lost;           /* the peer has gone; complete responses are still being taken */
    bool busy;           /* there are streams */
    bool in_read;
    bool ping_out;
    uint64_t heard_ms, ping_ms;
    uint64_t idle_ms; /* since when there are no streams; 0: there are */
};

extern const struct mp_h2_ops mp_h2_client_ops;

/* h2_client_conn.c */
void mp_h2_client_busy(struct mp_h2_client *c);
void mp_h2_client_ping_ack(struct mp_h2_client *c);
