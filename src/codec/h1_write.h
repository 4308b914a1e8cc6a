/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Writes HTTP/1.1 heads. The writer refuses nothing: the header map is clean by construction
 * (codec/hdr.h); it skips hop-by-hop and removed entries and adds its own framing. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "codec/h1_parse.h"
#include "codec/hdr.h"

enum mp_h1_conn { MP_H1_CONN_DEFAULT, MP_H1_CONN_CLOSE, MP_H1_CONN_KEEP_ALIVE, MP_H1_CONN_UPGRADE };

struct mp_h1_head_out {
    /* request: method and target; response: status, reason (empty: the standard phrase) */
    struct mp_str method, target;
    unsigned status;
    struct mp_str reason;
    uint8_t minor; /* as told to the peer: always 1 towards upstreams; responses too */
    enum mp_body_kind
        body; /* MP_BODY_LENGTH writes content-length, MP_BODY_CHUNKED transfer-encoding, NONE and
                 CLOSE nothing; entries of the map with these ids are skipped, always */
    uint64_t content_length;
    bool write_length_zero; /* MP_BODY_NONE: write "content-length: 0" (or content_length, for HEAD)
                             */
    enum mp_h1_conn conn;
    struct mp_str upgrade;      /* for MP_H1_CONN_UPGRADE */
    const struct mp_hdrs *hdrs; /* NULL: no fields but our own */
};
/* Upper bound of the bytes that the head takes. */
size_t mp_h1_request_size(const struct mp_h1_head_out *o);
size_t mp_h1_response_size(const struct mp_h1_head_out *o);
/* Writes to out, which has room for mp_h1_*_size bytes; returns the bytes written. */
size_t mp_h1_write_request(char *out, const struct mp_h1_head_out *o);
size_t mp_h1_write_response(char *out, const struct mp_h1_head_out *o);
/* Trailer fields and the final empty line, after "0\r\n". */
size_t mp_h1_trailers_size(const struct mp_hdrs *h);
size_t mp_h1_write_trailers(char *out, const struct mp_hdrs *h);
