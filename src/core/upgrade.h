/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Requests that ask for another protocol: Upgrade of HTTP/1.1, CONNECT, extended CONNECT of HTTP/2.
 *
 * Whatever the protocols on both sides, such a request has req.upgrade set ("websocket",
 * "CONNECT"), its head is passed on without end, and no body follows it. Extended CONNECT comes as
 * GET. The upstream's codec sets mp_upreq.tunnel when the answer opens the tunnel (101 naming the
 * protocol that was asked for, 2xx for CONNECT) and then delivers a head with that status, without
 * end; any other answer is an ordinary response. From then on data of both directions are the
 * tunnel's bytes, and end is the half close of that direction alone: the stream goes on until both
 * have come.
 *
 * A downstream codec, in write_headers: when s->upgraded is set, the response opens the tunnel;
 * after that the client's bytes are mp_stream_on_data, its half close the end. Bytes that came
 * early wait until then.
 */
#pragma once
#include "conf/model.h"
#include "core/filter.h"

struct mp_http;
struct mp_route;
struct mp_stream;

/* What the route (NULL: none), or else the manager, says about the protocol that h asks for. NULL:
 * not allowed. */
const struct mp_conf_upgrade *mp_upgrade_allowed(const struct mp_http *http,
                                                 const struct mp_route *route,
                                                 const struct mp_req_head *h);
/* Before the chain runs; false: answered 403. */
bool mp_upgrade_check(struct mp_stream *s);

/* WebSocket's handshake has a key and its answer in HTTP/1 alone (RFC 8441 5). */
/* Towards the upstream: makes the key when the client, over HTTP/2, has none. LIMIT: no room. */
MP_MUST_USE mp_err mp_upgrade_add_key(struct mp_stream *s);
/* An HTTP/2 upstream has accepted: adds the answer to the request's key, if there is one. */
MP_MUST_USE mp_err mp_upgrade_add_accept(const struct mp_req_head *req, struct mp_resp_head *h);
/* The answer of an HTTP/1 upstream to a key that we made is right. */
bool mp_upgrade_accept_ok(const struct mp_req_head *req, const struct mp_hdr *fields, uint16_t n);
