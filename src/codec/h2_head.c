/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* HTTP/2 heads and trailers, field by field as HPACK gives them: limits are checked while decoding,
 * so that a block of one-byte references costs what the limits allow and no more; rules of RFC 9113
 * 8.2 and 8.3. Fields are laid into the arena as "name: value CR LF", the form that the HTTP/1
 * writer sends in one piece. */
#include <string.h>

#include "codec/h1_internal.h"
#include "codec/h2_internal.h"
#include "codec/hdr_lookup.h"
#include "codec/scan.h"
#include "codec/uri.h"

#define METHOD_MAX  64
#define PATH_MAX    (32 * 1024 - 1)
#define SCHEME_MAX  32
#define FIELDS_ROOM 20 /* entries made at once; a browser sends about fifteen */

enum {
    SEEN_METHOD = 1,
    SEEN_PATH = 2,
    SEEN_AUTHORITY = 4,
    SEEN_SCHEME = 8,
    SEEN_STATUS = 16,
    SEEN_PROTOCOL = 32
};

static void bad(struct mp_h2_session *h, const char *why)
{
    struct mp_h2_stream *st = h->dec.st;
    if (st->fault == MP_H2_HEAD_OK) {
        st->fault = MP_H2_HEAD_MALFORMED;
        st->fault_text = why;
    }
}

static void too_large(struct mp_h2_session *h, const char *why)
{
    struct mp_h2_stream *st = h->dec.st;
    if (st->fault == MP_H2_HEAD_OK) {
        st->fault = MP_H2_HEAD_TOO_LARGE;
        st->fault_text = why;
    }
}

void mp_h2_head_begin(struct mp_h2_session *h, struct mp_h2_stream *st, bool trailers)
{
    memset(&h->dec, 0, sizeof(h->dec));
    h->dec.trailers = trailers;
    struct mp_arena *arena = h->ops->arena(h, st);
    if (arena == NULL) {
        mp_h2_reset(st, h->server ? MP_H2_REFUSED_STREAM : MP_H2_CANCEL);
        return;
    }
    uint32_t max = (uint32_t)h->conf->fields_max + h->conf->crumbs_max + 1;
    struct mp_hdrs *hdrs = &st->trailers;
    if (!trailers) {
        st->head = mp_arena_zalloc(arena, sizeof(*st->head));
        if (st->head == NULL) {
            mp_h2_reset(st, h->server ? MP_H2_REFUSED_STREAM : MP_H2_CANCEL);
            return;
        }
        hdrs = &st->head->hdrs;
    }
    mp_hdrs_init(hdrs, arena, (uint16_t)MP_MIN(max, UINT16_MAX));
    if (!trailers && !mp_hdrs_reserve(hdrs, FIELDS_ROOM)) {
        mp_h2_reset(st, h->server ? MP_H2_REFUSED_STREAM : MP_H2_CANCEL);
        return;
    }
    h->dec.st = st;
    h->dec.hdrs = hdrs;
}

/* Appends a clean field. */
static void append(struct mp_h2_session *h, enum mp_hdr_id id, struct mp_str name,
                   struct mp_str value, uint8_t flags)
{
    struct mp_hdrs *hdrs = h->dec.hdrs;
    char *p = mp_arena_bytes(hdrs->arena, name.n + value.n + 4);
    if (p == NULL) {
        too_large(h, "http2.headers_too_large");
        return;
    }
    char *v = p + name.n + 2;
    memcpy(p, name.p, name.n);
    memcpy(p + name.n, ": ", 2);
    if (value.n > 0) {
        memcpy(v, value.p, value.n);
    }
    memcpy(v + value.n, "\r\n", 2);
    if (mp_is_err(mp_hdrs_add_clean(hdrs, id, mp_str(p, name.n), mp_str(v, value.n), flags))) {
        too_large(h, "http2.too_many_headers");
    }
}

/* ---- pseudo-header fields ---- */

static struct mp_str copy(struct mp_h2_session *h, struct mp_str s)
{
    struct mp_str c = mp_arena_dup(h->dec.hdrs->arena, s);
    if (c.p == NULL) {
        too_large(h, "http2.headers_too_large");
        return MP_STR("");
    }
    return c;
}

static bool authority_ok(struct mp_str s)
{
    struct mp_str host;
    unsigned port;
    return mp_authority_parse(s, &host, &port);
}

static bool scheme_ok(struct mp_str s)
{
    if (s.n == 0 || s.n > SCHEME_MAX || !((uint8_t)((s.p[0] | 0x20) - 'a') < 26)) {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!mp_c_is(c, MP_C_DIGIT) && !((uint8_t)((c | 0x20) - 'a') < 26) && c != '+' &&
            c != '-' && c != '.') {
            return false;
        }
    }
    return true;
}

static void status(struct mp_h2_session *h, struct mp_str v)
{
    unsigned code = 0;
    for (size_t i = 0; i < v.n; i++) {
        code =
            mp_c_is(v.p[i], MP_C_DIGIT) && v.n == 3 ? code * 10 + (unsigned)(v.p[i] - '0') : 10000;
    }
    if (code < 100 || code > 999) {
        bad(h, "http2.bad_status");
        return;
    }
    h->dec.st->head->status = code;
    h->dec.informational = code < 200;
    if (code == 101) {
        bad(h, "http2.bad_status"); /* RFC 9113 8.6 */
    }
}

static void pseudo_request(struct mp_h2_session *h, unsigned what, struct mp_str v)
{
    struct mp_h2_head *head = h->dec.st->head;
    switch (what) {
    case SEEN_METHOD:
        if (v.n > METHOD_MAX || !mp_hdr_name_ok(v)) {
            bad(h, "http2.bad_method");
            return;
        }
        head->method = mp_method_of(v);
        head->method_name =
            head->method != MP_METHOD_OTHER ? mp_method_name(head->method) : copy(h, v);
        return;
    case SEEN_PATH:
        if (v.n > PATH_MAX) {
            too_large(h, "http2.path_too_long");
        } else if (v.n == 0 || mp_scan_target(v.p, v.p + v.n, v.p) != v.p + v.n) {
            bad(h, "http2.bad_path");
        } else {
            head->path = copy(h, v);
        }
        return;
    case SEEN_SCHEME:
        if (!scheme_ok(v)) {
            bad(h, "http2.bad_scheme");
        } else {
            head->scheme = copy(h, v);
        }
        return;
    case SEEN_PROTOCOL:
        if (!h->conf->allow_connect || !mp_hdr_name_ok(v)) {
            bad(h, "http2.bad_protocol");
        } else {
            head->protocol = copy(h, v);
        }
        return;
    default: /* SEEN_AUTHORITY; it is "host" too, for routes, filters and HTTP/1 */
        if (!authority_ok(v)) {
            bad(h, "http2.bad_authority");
            return;
        }
        append(h, MP_HDR_HOST, MP_STR("host"), v, 0);
        if (h->dec.hdrs->n > 0) {
            head->authority = mp_hdr_value(&h->dec.hdrs->v[h->dec.hdrs->n - 1]);
        }
        return;
    }
}

static void pseudo(struct mp_h2_session *h, struct mp_str name, struct mp_str value)
{
    static const struct {
        struct mp_str name;
        unsigned what;
    } known[] = {
        {{":method", 7}, SEEN_METHOD},        {{":path", 5}, SEEN_PATH},
        {{":authority", 10}, SEEN_AUTHORITY}, {{":scheme", 7}, SEEN_SCHEME},
        {{":status", 7}, SEEN_STATUS},        {{":protocol", 9}, SEEN_PROTOCOL},
    };
    unsigned what = 0;
    for (size_t i = 0; i < MP_COUNTOF(known) && what == 0; i++) {
        what = mp_str_eq(name, known[i].name) ? known[i].what : 0;
    }
    if (what == 0 || (what == SEEN_STATUS) == h->server || h->dec.trailers || h->dec.regular ||
        (h->dec.seen & what) != 0) {
        bad(h, "http2.bad_pseudo_header");
        return;
    }
    h->dec.seen |= (uint8_t)what;
    if (what == SEEN_STATUS) {
        status(h, value);
    } else {
        pseudo_request(h, what, value);
    }
}

/* ---- other fields ---- */

static void content_length(struct mp_h2_session *h, struct mp_str v)
{
    struct mp_h2_head *head = h->dec.st->head;
    uint64_t n = 0;
    bool ok = v.n > 0 && v.n <= 19 && !head->has_content_length;
    for (size_t i = 0; ok && i < v.n; i++) {
        ok = mp_c_is(v.p[i], MP_C_DIGIT);
        n = n * 10 + (uint64_t)(v.p[i] - '0');
    }
    if (!ok) {
        bad(h, "http2.bad_content_length");
        return;
    }
    head->has_content_length = true;
    head->content_length = n;
    append(h, MP_HDR_CONTENT_LENGTH, MP_STR("content-length"), v, 0);
}

static void host(struct mp_h2_session *h, struct mp_str v)
{
    struct mp_h2_head *head = h->dec.st->head;
    if (!h->server) {
        return; /* has no meaning in a response */
    }
    if (h->dec.host || !authority_ok(v) ||
        ((h->dec.seen & SEEN_AUTHORITY) != 0 && !mp_str_ieq(head->authority, v))) {
        bad(h, "http2.bad_host");
        return;
    }
    h->dec.host = true;
    if ((h->dec.seen & SEEN_AUTHORITY) == 0) {
        append(h, MP_HDR_HOST, MP_STR("host"), v, 0);
        if (h->dec.hdrs->n > 0) {
            head->authority = mp_hdr_value(&h->dec.hdrs->v[h->dec.hdrs->n - 1]);
        }
    }
}

static void crumb(struct mp_h2_session *h, struct mp_str v)
{
    h->dec.cookie_bytes += (uint32_t)MP_MIN(v.n + 2, (size_t)UINT32_MAX / 2);
    if (++h->dec.crumbs > h->conf->crumbs_max || h->dec.cookie_bytes > h->conf->cookie_bytes_max) {
        too_large(h, "http2.too_many_cookies");
        return;
    }
    append(h, MP_HDR_COOKIE, MP_STR("cookie"), v, 0);
}

static bool name_ok(struct mp_str name)
{
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = (uint8_t)name.p[i];
        if (c == 0 || mp_tchar_lower[c] != c) {
            return false;
        }
    }
    return name.n > 0 && name.n <= UINT16_MAX;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool value_ok(struct mp_str v)
{
    return v.n == 0 || (!blank(v.p[0]) && !blank(v.p[v.n - 1]) && mp_hdr_value_ok(v));
}

static void regular(struct mp_h2_session *h, struct mp_str name, struct mp_str value)
{
    enum mp_hdr_id id = mp_hdr_id_of(name.p, name.n);
    h->dec.regular = true;
    if ((id == MP_HDR_OTHER && !name_ok(name)) || !value_ok(value)) {
        bad(h, "http2.bad_header");
        return;
    }
    if ((id != MP_HDR_COOKIE || !h->server) && ++h->dec.fields > h->conf->fields_max) {
        too_large(h, "http2.too_many_headers");
        return;
    }
    uint8_t flags = 0;
    switch (id) {
    case MP_HDR_CONNECTION:
    case MP_HDR_KEEP_ALIVE:
    case MP_HDR_PROXY_CONNECTION:
    case MP_HDR_TRANSFER_ENCODING:
    case MP_HDR_UPGRADE:
        bad(h, "http2.connection_header");
        return;
    case MP_HDR_HTTP2_SETTINGS:
        return; /* belongs to a connection that was not upgraded */
    case MP_HDR_TE:
        if (!mp_str_ieq(value, MP_STR("trailers"))) {
            bad(h, "http2.bad_te");
            return;
        }
        flags = MP_HDR_F_HOP; /* HTTP/2 upstreams get it all the same */
        break;
    case MP_HDR_CONTENT_LENGTH:
        if (!h->dec.trailers) {
            content_length(h, value);
            return;
        }
        break;
    case MP_HDR_HOST:
        if (!h->dec.trailers) {
            host(h, value);
            return;
        }
        break;
    case MP_HDR_COOKIE:
        if (h->server && !h->dec.trailers) {
            crumb(h, value);
            return;
        }
        break;
    default:
        break;
    }
    if (h->dec.trailers) {
        const struct mp_hdr f = {.name = name.p,
                                 .value = value.p,
                                 .value_n = (uint32_t)value.n,
                                 .name_n = (uint16_t)name.n,
                                 .id = (uint8_t)id};
        if (!mp_h1_trailer_allowed(&f)) {
            return; /* as with HTTP/1: left out */
        }
    }
    append(h, id, name, value, flags);
}

void mp_h2_head_field(struct mp_h2_session *h, struct mp_str name, struct mp_str value)
{
    struct mp_h2_stream *st = h->dec.st;
    if (st == NULL || st->fault != MP_H2_HEAD_OK) {
        return;
    }
    size_t bytes = name.n + value.n + 4;
    if (bytes > h->conf->head_bytes_max - h->dec.bytes) {
        too_large(h, "http2.headers_too_large");
        return;
    }
    h->dec.bytes += (uint32_t)bytes;
    if (MP_LIKELY(name.n > 0) && name.p[0] == ':') {
        pseudo(h, name, value);
    } else {
        regular(h, name, value);
    }
}

/* ---- the end of a block ---- */

/* RFC 9113 8.2.3: crumbs become one field again. */
static void join_cookies(struct mp_h2_session *h)
{
    struct mp_hdrs *hdrs = h->dec.hdrs;
    char *p = mp_arena_bytes(hdrs->arena, sizeof("cookie: \r\n") + h->dec.cookie_bytes);
    if (p == NULL) {
        too_large(h, "http2.headers_too_large");
        return;
    }
    memcpy(p, "cookie: ", 8);
    char *w = p + 8;
    for (uint16_t i = 0; i < hdrs->n; i++) {
        struct mp_hdr *e = &hdrs->v[i];
        if (e->id != MP_HDR_COOKIE || e->name_n == 0) {
            continue;
        }
        if (w != p + 8) {
            memcpy(w, "; ", 2);
            w += 2;
        }
        if (e->value_n > 0) {
            memcpy(w, e->value, e->value_n);
            w += e->value_n;
        }
    }
    memcpy(w, "\r\n", 2);
    mp_hdrs_remove_id(hdrs, MP_HDR_COOKIE);
    if (mp_is_err(mp_hdrs_add_clean(hdrs, MP_HDR_COOKIE, mp_str(p, 6),
                                    mp_str(p + 8, (size_t)(w - p - 8)), 0))) {
        too_large(h, "http2.too_many_headers");
    }
}

static void check_request(struct mp_h2_session *h, const struct mp_h2_head *head, bool end)
{
    unsigned seen = h->dec.seen;
    bool plain_connect = head->method == MP_METHOD_CONNECT && head->protocol.p == NULL;
    if ((seen & SEEN_METHOD) == 0) {
        bad(h, "http2.missing_method");
    } else if (plain_connect) {
        struct mp_str name;
        unsigned port = 0;
        if ((seen & (SEEN_PATH | SEEN_SCHEME)) != 0 || (seen & SEEN_AUTHORITY) == 0 ||
            !mp_authority_parse(head->authority, &name, &port) || port == 0) {
            bad(h, "http2.bad_connect");
        }
    } else if ((seen & SEEN_SCHEME) == 0 || (seen & SEEN_PATH) == 0) {
        bad(h, "http2.missing_pseudo_header");
    } else if (head->protocol.p != NULL && head->method != MP_METHOD_CONNECT) {
        bad(h, "http2.bad_protocol");
    } else if (head->authority.n == 0) {
        bad(h, "http2.missing_authority");
    } else if (head->path.p[0] != '/' &&
               !(head->method == MP_METHOD_OPTIONS && mp_str_eq(head->path, MP_STR("*")))) {
        bad(h, "http2.bad_path");
    }
    if (end && head->has_content_length && head->content_length != 0) {
        bad(h, "http2.content_length_mismatch");
    }
    if (head->method == MP_METHOD_CONNECT && head->has_content_length) {
        bad(h, "http2.bad_connect");
    }
}

static void check_response(struct mp_h2_session *h, struct mp_h2_stream *st, bool end)
{
    const struct mp_h2_head *head = st->head;
    if ((h->dec.seen & SEEN_STATUS) == 0) {
        bad(h, "http2.missing_status");
        return;
    }
    if (h->dec.informational && end) {
        bad(h, "http2.final_response_missing");
    }
    bool bodiless = st->head_request || head->status == 204 || head->status == 304;
    if (!h->dec.informational && end && !bodiless && head->has_content_length &&
        head->content_length != 0) {
        bad(h, "http2.content_length_mismatch");
    }
}

enum mp_h2_fault mp_h2_head_end(struct mp_h2_session *h, bool end)
{
    struct mp_h2_stream *st = h->dec.st;
    if (st->fault != MP_H2_HEAD_OK) {
        return st->fault;
    }
    if (h->dec.trailers) {
        if (!end) {
            bad(h, "http2.trailers_without_end");
        }
        return st->fault;
    }
    if (h->server) {
        check_request(h, st->head, end);
        if (h->dec.crumbs > 1 && st->fault == MP_H2_HEAD_OK) {
            join_cookies(h);
        }
    } else {
        check_response(h, st, end);
    }
    return st->fault;
}
