/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A connection to an upstream host, carrying one HTTP/1 request at a time. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/timerwheel.h"
#include "codec/chunk.h"
#include "codec/h1_parse.h"
#include "core/chan.h"
#include "core/cluster.h"
#include "core/upstream.h"

#define MP_UPCONN_MAGIC 0x6d705563u /* "mpUc" */

enum mp_upconn_state { MP_UPCONN_CONNECTING, MP_UPCONN_IDLE, MP_UPCONN_BUSY, MP_UPCONN_CLOSED };

struct mp_h2_client;

struct mp_upconn {
    uint32_t magic;
    uint8_t state; /* enum mp_upconn_state */
    uint8_t body;  /* enum mp_body_kind of the response, or MP_BODY_IN_TRAILERS */
    bool keep_alive;
    bool in_read;
    bool negotiated_h2; /* by ALPN */
    uint8_t n_1xx;
    uint8_t priority; /* in whose breaker it counts */
    bool connected;   /* CONNECTING: the socket is, TLS is not yet */
    struct mp_core_worker *cw;
    struct mp_host_local *host;
    struct mp_upreq *req;     /* BUSY */
    struct mp_h2_client *h2;  /* HTTP/2: many requests, none of them in req */
    struct mp_upreq *for_req; /* CONNECTING: waits for this one; NULL: it was served otherwise */
    struct mp_chan ch;
    struct mp_list link;
    struct mp_timer timer; /* connecting: timeout; idle: idle timeout */
    char *in;              /* input kept: a part of a head or of trailers */
    uint32_t in_n, in_cap, scanned, requests;
    uint64_t body_left;
    struct mp_chunk_dec dec;
    uint64_t created_ns;
    uint64_t
        proxy_serial; /* of the request whose client the PROXY header names; 0: none was sent */
};

/* pool.c */
void mp_upconn_close(struct mp_upconn *uc);
/* The response is complete: to the pool, or closed when it cannot be used again. */
void mp_upconn_release(struct mp_upconn *uc, bool reusable);
/* Ends u: on_end, accounting. u->conn must have been detached. */
void mp_upreq_finish(struct mp_upreq *u, enum mp_upreq_end why, const char *details);
/* Connection lost under u. Sends it again on a fresh connection when that is safe. */
void mp_upreq_conn_lost(struct mp_upreq *u, enum mp_upreq_end why, const char *details);
/* The upstream has not processed it (HTTP/2): sent once more when none of its body is lost. u->conn
 * must have been detached. */
void mp_upreq_refused(struct mp_upreq *u);
/* Requests that wait for the host go on this connection while it has room. */
void mp_host_use_room(struct mp_host_local *h, struct mp_upconn *uc);
void mp_upconn_on_connected(struct mp_upconn *uc, int err);

/* upconn_start.c */
/* An event of a connection that is CONNECTING. 0: ready for requests; -EAGAIN: goes on; else the
 * negative errno that ends it. */
int mp_upconn_start(struct mp_upconn *uc, unsigned events);
/* May the connection carry the request? (A PROXY header names another one's client.) */
bool mp_upconn_is_for(const struct mp_upconn *uc, const struct mp_upreq *u);

/* upgrade_client.c: requests for another protocol, and tunnels. */
/* CONNECT that ends here: the connection itself is the tunnel. */
void mp_tunnel_open_raw(struct mp_upreq *u);
/* The head opens the tunnel that was asked for. */
bool mp_tunnel_accepts(const struct mp_upconn *uc, const struct mp_h1_response *r);
/* Passes on the head that does. The request may be over afterwards. */
void mp_tunnel_open(struct mp_upconn *uc, struct mp_resp_head *h);
void mp_tunnel_send(struct mp_upreq *u, struct mp_str data, bool end);
/* The upstream's half close (0) or a negative errno. */
void mp_tunnel_on_end(struct mp_upconn *uc, ssize_t err);
/* Output has drained: that may have been the last of the tunnel. */
void mp_tunnel_check(struct mp_upconn *uc);

/* h1_client.c */
/* The connection ends, and with it its request. */
void mp_h1_client_lost(struct mp_upconn *uc, enum mp_upreq_end why, const char *details);
void mp_h1_client_send_head(struct mp_upreq *u);
void mp_h1_client_send_data(struct mp_upreq *u, struct mp_str data, bool end);
void mp_h1_client_send_trailers(struct mp_upreq *u);
void mp_h1_client_read(struct mp_upconn *uc);
void mp_h1_client_on_ready(struct mp_io *io, unsigned events);
