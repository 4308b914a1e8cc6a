/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What gRPC means for the proxy, whatever version of HTTP carries it: answers of our own become
 * status and message in a head without body, and the client's deadline counts. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "codec/hdr.h"
#include "core/filter.h"

struct mp_conf_route;
struct mp_stream;

/* Codes that the proxy gives itself. */
enum {
    MP_GRPC_UNKNOWN = 2,
    MP_GRPC_DEADLINE_EXCEEDED = 4,
    MP_GRPC_PERMISSION_DENIED = 7,
    MP_GRPC_UNIMPLEMENTED = 12,
    MP_GRPC_INTERNAL = 13,
    MP_GRPC_UNAVAILABLE = 14,
    MP_GRPC_UNAUTHENTICATED = 16
};

/* content-type is application/grpc, or that with a suffix of its own (+proto). */
bool mp_grpc_is_request(const struct mp_req_head *h);
/* The grpc-status of a head or of trailers; -1: none, or no number up to 99. */
int mp_grpc_status_of(const struct mp_hdrs *h);
/* "OK", "DEADLINE_EXCEEDED"; empty when unknown. */
struct mp_str mp_grpc_status_name(int status);
/* "DeadlineExceeded". */
struct mp_str mp_grpc_status_camel(int status);
int mp_grpc_status_of_http(unsigned status);
/* The status of the stream's response: trailers, head, or what the HTTP status means; -1: no gRPC
 * request or no response. */
int mp_grpc_status(const struct mp_stream *s);

/* Turns the head of a local reply into its gRPC form: 200, grpc-status, grpc-message (text,
 * encoded). False: the arena's limit. */
bool mp_grpc_reply_head(struct mp_stream *s, struct mp_resp_head *h, struct mp_str text);

/* "100m"; at least 1 ms. False: not of that form. */
bool mp_grpc_timeout_parse(struct mp_str text, uint64_t *ret_ms);
/* The time for the response as the route (max_grpc_timeout) and the client say; writes the header
 * again when the route shortens it. False: the route's own timeout counts. *ret_ms 0: none. */
bool mp_grpc_route_timeout(struct mp_stream *s, const struct mp_conf_route *r, uint64_t *ret_ms);
/* The time for the whole stream (max_stream_duration). 0: none. */
uint64_t mp_grpc_stream_duration(const struct mp_stream *s);
