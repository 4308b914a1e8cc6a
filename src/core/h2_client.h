/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* HTTP/2 towards upstreams: many requests on one connection. The pool (pool.c) chooses the
 * connection; here is what happens on it. */
#pragma once
#include "core/upconn.h"

extern const size_t mp_h2_client_size;

/* Is the connection to speak HTTP/2, by configuration or by what was negotiated? */
bool mp_h2_client_wanted(const struct mp_upconn *uc);
/* Connected: begins the session. False: out of memory. */
MP_MUST_USE bool mp_h2_client_begin(struct mp_upconn *uc);
/* mp_upconn_close is on its way; perhaps from inside the session. Its requests end. */
void mp_h2_client_closed(struct mp_upconn *uc);
/* No new requests; closes when the last one is complete. */
void mp_h2_client_leave(struct mp_upconn *uc);
/* May another request begin now? */
bool mp_h2_client_has_room(const struct mp_upconn *uc);
bool mp_h2_client_is_idle(const struct mp_upconn *uc);

/* The request has been attached: its head, and what was held. */
void mp_h2_client_send(struct mp_upreq *u);
void mp_h2_client_send_data(struct mp_upreq *u, struct mp_str data, bool end);
void mp_h2_client_send_trailers(struct mp_upreq *u);
/* Given up by its owner. */
void mp_h2_client_cancel(struct mp_upreq *u);
