/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Strict HTTP/1.x head parser (RFC 9112). No state besides the arguments, no allocation.
 *
 * The caller gives the bytes it has; when the head is not complete it gets MP_H1_MORE and calls
 * again with the same bytes plus new ones and the same *scanned, so that a head that drips in costs
 * linear time. *scanned is 0 for a new head; it may stay anything after another outcome. The buffer
 * is written to: header names are lowered in place, obs-text is kept as is.
 *
 * A fault is reported as soon as it is seen in the first call. While a head drips in, control
 * characters and bare line ends are reported at once, other faults with the end of the head or its
 * limit.
 *
 * What is refused (each reason is one enum value, one counter and one line in the tests): CL and TE
 * together, several or odd Content-Length values, a Transfer-Encoding other than exactly "chunked",
 * TE in an HTTP/1.0 message, bare CR, bare LF, obs-fold, blank before the colon, NUL and other
 * control characters, a head that starts with blank lines (more than one CRLF), a missing or
 * repeated Host in HTTP/1.1, a Host that is not a valid authority or differs from the absolute-form
 * target's, an unknown version, a target in no known form, too many fields, too many bytes,
 * HTTP/0.9. Beyond the RFC: HTAB around the value of Content-Length or Transfer-Encoding (peers
 * read it differently), CONNECT with a body, 1xx with framing fields, more than 16 Connection
 * options that are not close, keep-alive or upgrade.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/str.h"
#include "codec/hdr.h"

enum mp_h1_status {
    MP_H1_OK = 0,
    MP_H1_MORE,
#define MP_H1_REASON(name, http, text) MP_H1_ERR_##name,
#include "codec/h1_reason.def"
#undef MP_H1_REASON
    MP_H1_STATUS_COUNT
};
/* "cl_and_te": for counters and logs. */
const char *mp_h1_status_name(enum mp_h1_status s);
const char *mp_h1_status_text(enum mp_h1_status s);
/* 400, 414, 431, 505 or 501 for a refused request. */
int mp_h1_status_http(enum mp_h1_status s);

struct mp_h1_limits {
    uint32_t head_bytes_max;   /* start line + fields; default 60 KiB */
    uint16_t fields_max;       /* default 100 */
    uint16_t target_bytes_max; /* default 32 KiB - 1 */
};

enum mp_target_form {
    MP_TARGET_ORIGIN,
    MP_TARGET_ABSOLUTE,
    MP_TARGET_AUTHORITY,
    MP_TARGET_ASTERISK
};
enum mp_body_kind {
    MP_BODY_NONE,   /* no body follows */
    MP_BODY_LENGTH, /* content_length bytes follow (> 0) */
    MP_BODY_CHUNKED,
    MP_BODY_CLOSE /* responses only: until the peer closes */
};

struct mp_h1_request {
    enum mp_method method;
    struct mp_str method_name;
    enum mp_target_form form;
    struct mp_str path; /* path and query as received, from the '/' ("*" for asterisk-form, "/" for
                           an absolute-form without path, empty for authority-form) */
    struct mp_str authority; /* of an absolute- or authority-form target; else the Host value */
    struct mp_str scheme;    /* of an absolute-form target, else empty */
    uint8_t minor;           /* HTTP/1.minor: 0 or 1 */
    bool keep_alive;         /* version and Connection considered */
    bool expect_continue;    /* only in HTTP/1.1 with a body */
    bool upgrade;            /* Connection: upgrade and an Upgrade field are present (not h2c) */
    bool te_trailers;        /* TE names trailers */
    enum mp_body_kind body;
    uint64_t content_length; /* valid for MP_BODY_LENGTH and MP_BODY_NONE with a CL of 0 */
    bool has_content_length;
    size_t head_n;     /* bytes of the head, incl. the empty line and a leading CRLF */
    uint16_t n_fields; /* in fields[] */
};

struct mp_h1_response {
    unsigned status; /* 100-599 (RFC 9110 15: others are refused) */
    struct mp_str reason;
    uint8_t minor;
    bool keep_alive; /* false as well when the body ends with the connection, or for a 204 with
                        framing */
    bool upgrade;    /* 101 with Connection: upgrade and an Upgrade field (not h2c) */
    enum mp_body_kind body; /* for the request's method, 1xx, 204, 304 considered */
    uint64_t content_length;
    bool has_content_length; /* also set for HEAD and 304, where no body follows */
    size_t head_n;
    uint16_t n_fields;
};

/* fields: room for limits->fields_max entries (the caller's scratch), filled in order. Hop-by-hop
 * fields (Connection, those it names, Keep-Alive, Proxy-Connection, Transfer-Encoding, TE, Trailer,
 * Upgrade, HTTP2-Settings) carry MP_HDR_F_HOP. A Connection option may not name Host,
 * Content-Length, Transfer-Encoding or an other field that the proxy's own decisions need (refused:
 * bad_connection). */
enum mp_h1_status mp_h1_parse_request(char *buf, size_t n, size_t *scanned,
                                      const struct mp_h1_limits *limits, struct mp_hdr *fields,
                                      struct mp_h1_request *ret);
/* method: of the request that this answers (HEAD and CONNECT decide about the body). */
enum mp_h1_status mp_h1_parse_response(char *buf, size_t n, size_t *scanned,
                                       const struct mp_h1_limits *limits, enum mp_method method,
                                       struct mp_hdr *fields, struct mp_h1_response *ret);
/* Trailer section after the last chunk, up to and with the empty line. Fields that would
 * change framing, routing, authentication or caching decisions (RFC 9110 6.5.1) are dropped, not
 * refused. *ret_used: bytes consumed. */
enum mp_h1_status mp_h1_parse_trailers(char *buf, size_t n, size_t *scanned,
                                       const struct mp_h1_limits *limits, struct mp_hdr *fields,
                                       uint16_t *ret_n_fields, size_t *ret_used);
