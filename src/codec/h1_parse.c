/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The head as a whole: incremental input, then the rules that need more than one line. */
#include "codec/h1_parse.h"
#include <string.h>
#include "codec/h1_internal.h"
#include "codec/scan.h"
#include "codec/tables.h"
#include "codec/uri.h"

_Static_assert(MP_H1_REASON_COUNT == MP_H1_STATUS_COUNT - 2, "tables.h is made from h1_reason.def");

const char *mp_h1_status_name(enum mp_h1_status s)
{
    static const char *const names[MP_H1_STATUS_COUNT] = {"ok", "more", MP_H1_REASON_NAMES};
    return (unsigned)s < MP_H1_STATUS_COUNT ? names[s] : "unknown";
}

const char *mp_h1_status_text(enum mp_h1_status s)
{
    static const char *const texts[MP_H1_STATUS_COUNT] = {
        [MP_H1_OK] = "complete",
        [MP_H1_MORE] = "incomplete",
#define MP_H1_REASON(name, http, text) [MP_H1_ERR_##name] = text,
#include "codec/h1_reason.def"
#undef MP_H1_REASON
    };
    return (unsigned)s < MP_H1_STATUS_COUNT ? texts[s] : "unknown";
}

int mp_h1_status_http(enum mp_h1_status s)
{
    static const int codes[MP_H1_STATUS_COUNT] = {
        [MP_H1_OK] = 200,
        [MP_H1_MORE] = 400,
#define MP_H1_REASON(name, http, text) [MP_H1_ERR_##name] = http,
#include "codec/h1_reason.def"
#undef MP_H1_REASON
    };
    return (unsigned)s < MP_H1_STATUS_COUNT ? codes[s] : 500;
}

/* ---- incremental input ---- */

/* Whether parsing can come to an end now. The first call parses at once, since the whole head is
 * usually there. After that only new bytes are looked at, until there is a line end that ends the
 * head or a control character that is certain to be refused; so each byte is read a constant number
 * of times however it arrives. blank_first: an empty line at the very start settles it too; a
 * request may begin with one. */
static bool worth_parsing(const char *buf, size_t n, size_t *scanned, size_t max, bool blank_first)
{
    size_t at = *scanned;
    if (at == 0 || at > n || n >= max) {
        return true;
    }
    while (at < n) {
        size_t i = at;
        if (buf[at - 1] != '\r') {
            i = (size_t)(mp_scan_value(buf + at, buf + n, buf) - buf);
            if (i < n && buf[i] == '\r') {
                i++;
            } else if (i < n) {
                return true; /* NUL, LF without CR ... */
            }
        }
        if (i == n) {
            break;
        }
        if (buf[i] != '\n') {
            return true; /* CR without LF */
        }
        if (i >= 2 ? buf[i - 2] == '\n' : blank_first) {
            return true;
        }
        at = i + 1;
    }
    *scanned = n;
    return false;
}

/* No byte past the limit is looked at; a head that is not complete within it never will be. */
static struct mp_h1_cur cursor(char *buf, size_t n, size_t max)
{
    return (struct mp_h1_cur){.base = buf, .p = buf, .end = buf + MP_MIN(n, max)};
}

static enum mp_h1_status incomplete(enum mp_h1_status st, size_t n, size_t *scanned, size_t max)
{
    if (st != MP_H1_MORE) {
        return st;
    }
    if (n >= max) {
        return MP_H1_ERR_HEAD_TOO_LARGE;
    }
    *scanned = n;
    return MP_H1_MORE;
}

/* ---- requests ---- */

static bool eq_nocase(struct mp_str a, struct mp_str b)
{
    if (a.n != b.n) {
        return false;
    }
    for (size_t i = 0; i < a.n; i++) {
        char x = a.p[i], y = b.p[i];
        x = x >= 'A' && x <= 'Z' ? (char)(x | 0x20) : x;
        y = y >= 'A' && y <= 'Z' ? (char)(y | 0x20) : y;
        if (x != y) {
            return false;
        }
    }
    return true;
}

/* RFC 9112 3.2 and 3.2.2: one Host, valid, and the same as the target's authority. For CONNECT a
 * Host without port is let through, since clients send it and the target's port is the one that
 * counts. */
static enum mp_h1_status check_host(const struct mp_h1_acc *a, const struct mp_h1_target *t,
                                    struct mp_h1_request *ret)
{
    struct mp_str host;
    unsigned port;
    if (!mp_h1_seen(a, MP_HDR_HOST)) {
        return ret->minor == 0 ? MP_H1_OK : MP_H1_ERR_MISSING_HOST;
    }
    if (!mp_authority_parse(a->host, &host, &port)) {
        return MP_H1_ERR_BAD_HOST;
    }
    switch (ret->form) {
    case MP_TARGET_ABSOLUTE: {
        unsigned standard = ret->scheme.n == 5 ? 443 : 80;
        bool same_port = (port ? port : standard) == (t->port ? t->port : standard);
        return same_port && eq_nocase(host, t->host) ? MP_H1_OK : MP_H1_ERR_BAD_HOST;
    }
    case MP_TARGET_AUTHORITY:
        return (port == 0 || port == t->port) && eq_nocase(host, t->host) ? MP_H1_OK
                                                                          : MP_H1_ERR_BAD_HOST;
    default:
        ret->authority = a->host;
        return MP_H1_OK;
    }
}

static enum mp_h1_status request_body(const struct mp_h1_acc *a, struct mp_h1_request *ret)
{
    ret->has_content_length = mp_h1_seen(a, MP_HDR_CONTENT_LENGTH);
    ret->content_length = ret->has_content_length ? a->content_length : 0;
    ret->body = MP_BODY_NONE;
    if (mp_h1_seen(a, MP_HDR_TRANSFER_ENCODING)) {
        ret->body = MP_BODY_CHUNKED;
    } else if (ret->content_length > 0) {
        ret->body = MP_BODY_LENGTH;
    }
    if (ret->method == MP_METHOD_CONNECT && ret->body != MP_BODY_NONE) {
        /* What follows is the tunnel's (RFC 9110 9.3.6); a body would be read in two ways. */
        return ret->body == MP_BODY_CHUNKED ? MP_H1_ERR_BAD_TRANSFER_ENCODING
                                            : MP_H1_ERR_BAD_CONTENT_LENGTH;
    }
    return MP_H1_OK;
}

static bool keeps_alive(const struct mp_h1_acc *a)
{
    return !a->conn_close && (a->minor == 1 || a->conn_keep_alive);
}

/* RFC 9110 7.8: not in HTTP/1.0. */
static bool upgrades(const struct mp_h1_acc *a)
{
    return a->minor == 1 && a->conn_upgrade && mp_h1_seen(a, MP_HDR_UPGRADE) && !a->upgrade_odd;
}

/* "http://host?query" has no path: one '/' is needed in front of the query. Room for it is made
 * by moving the authority over the second slash of "//". Done last: the head is never parsed again.
 */
static void insert_slash(struct mp_h1_request *ret, char *buf)
{
    size_t at = (size_t)(ret->authority.p - buf);
    size_t n = ret->authority.n;
    memmove(buf + at - 1, buf + at, n);
    buf[at - 1 + n] = '/';
    ret->authority.p--;
    ret->path.p--;
    ret->path.n++;
}

enum mp_h1_status mp_h1_parse_request(char *buf, size_t n, size_t *scanned,
                                      const struct mp_h1_limits *limits, struct mp_hdr *fields,
                                      struct mp_h1_request *ret)
{
    size_t max = limits->head_bytes_max;
    if (n == 0 || !worth_parsing(buf, n, scanned, max, false)) {
        return MP_H1_MORE;
    }
    struct mp_h1_cur c = cursor(buf, n, max);
    if (c.p == c.end) {
        return MP_H1_ERR_HEAD_TOO_LARGE;
    }
    struct mp_h1_target target = {0};
    *ret = (struct mp_h1_request){0};
    enum mp_h1_status st = mp_h1_request_line(&c, limits, ret, &target);
    if (st != MP_H1_OK) {
        return incomplete(st, n, scanned, max);
    }
    struct mp_h1_acc a = {.minor = ret->minor, .is_request = true};
    st = mp_h1_fields(&c, limits->fields_max, fields, &a, &ret->n_fields);
    if (st != MP_H1_OK) {
        return incomplete(st, n, scanned, max);
    }
    st = check_host(&a, &target, ret);
    if (st != MP_H1_OK) {
        return st;
    }
    st = request_body(&a, ret);
    if (st != MP_H1_OK) {
        return st;
    }
    ret->head_n = (size_t)(c.p - buf);
    ret->keep_alive = keeps_alive(&a);
    ret->upgrade = upgrades(&a);
    ret->te_trailers = a.te_trailers;
    ret->expect_continue =
        mp_h1_seen(&a, MP_HDR_EXPECT) && ret->minor == 1 && ret->body != MP_BODY_NONE;
    if (a.conn_options > 0) {
        mp_h1_mark_hop(fields, ret->n_fields);
    }
    if (MP_UNLIKELY(ret->path.n > 0 && ret->path.p[0] == '?')) {
        insert_slash(ret, buf);
    }
    return MP_H1_OK;
}

/* ---- responses ---- */

/* RFC 9112 6.3. */
static enum mp_h1_status response_body(const struct mp_h1_acc *a, enum mp_method method,
                                       struct mp_h1_response *ret)
{
    bool chunked = mp_h1_seen(a, MP_HDR_TRANSFER_ENCODING);
    unsigned s = ret->status;
    ret->has_content_length = mp_h1_seen(a, MP_HDR_CONTENT_LENGTH);
    ret->content_length = ret->has_content_length ? a->content_length : 0;
    ret->keep_alive = keeps_alive(a);
    ret->body = MP_BODY_NONE;
    if (s < 200) {
        /* Framing is forbidden here, and a sender that means it would slip a second response in. */
        if (chunked) {
            return MP_H1_ERR_BAD_TRANSFER_ENCODING;
        }
        return ret->content_length > 0 ? MP_H1_ERR_BAD_CONTENT_LENGTH : MP_H1_OK;
    }
    if (s == 204 && (chunked || ret->content_length > 0)) {
        /* Some servers do this. There is no body, but what comes next cannot be trusted. */
        ret->keep_alive = false;
        return MP_H1_OK;
    }
    if (method == MP_METHOD_HEAD || s == 204 || s == 304) {
        return MP_H1_OK;
    }
    if (method == MP_METHOD_CONNECT && s < 300) {
        return MP_H1_OK;
    }
    if (chunked) {
        ret->body = MP_BODY_CHUNKED;
    } else if (!ret->has_content_length) {
        ret->body = MP_BODY_CLOSE;
        ret->keep_alive = false;
    } else if (ret->content_length > 0) {
        ret->body = MP_BODY_LENGTH;
    }
    return MP_H1_OK;
}

enum mp_h1_status mp_h1_parse_response(char *buf, size_t n, size_t *scanned,
                                       const struct mp_h1_limits *limits, enum mp_method method,
                                       struct mp_hdr *fields, struct mp_h1_response *ret)
{
    size_t max = limits->head_bytes_max;
    if (n == 0 || !worth_parsing(buf, n, scanned, max, true)) {
        return MP_H1_MORE;
    }
    struct mp_h1_cur c = cursor(buf, n, max);
    *ret = (struct mp_h1_response){0};
    enum mp_h1_status st = mp_h1_status_line(&c, ret);
    if (st != MP_H1_OK) {
        return incomplete(st, n, scanned, max);
    }
    struct mp_h1_acc a = {.minor = ret->minor};
    st = mp_h1_fields(&c, limits->fields_max, fields, &a, &ret->n_fields);
    if (st != MP_H1_OK) {
        return incomplete(st, n, scanned, max);
    }
    st = response_body(&a, method, ret);
    if (st != MP_H1_OK) {
        return st;
    }
    ret->head_n = (size_t)(c.p - buf);
    ret->upgrade = ret->status == 101 && upgrades(&a);
    if (a.conn_options > 0) {
        mp_h1_mark_hop(fields, ret->n_fields);
    }
    return MP_H1_OK;
}

/* ---- trailers ---- */

enum mp_h1_status mp_h1_parse_trailers(char *buf, size_t n, size_t *scanned,
                                       const struct mp_h1_limits *limits, struct mp_hdr *fields,
                                       uint16_t *ret_n_fields, size_t *ret_used)
{
    size_t max = limits->head_bytes_max;
    if (n == 0 || !worth_parsing(buf, n, scanned, max, true)) {
        return MP_H1_MORE;
    }
    struct mp_h1_cur c = cursor(buf, n, max);
    uint16_t count;
    enum mp_h1_status st = mp_h1_fields(&c, limits->fields_max, fields, NULL, &count);
    if (st != MP_H1_OK) {
        return incomplete(st, n, scanned, max);
    }
    uint16_t kept = 0;
    for (uint16_t i = 0; i < count; i++) {
        if (mp_h1_trailer_allowed(&fields[i])) {
            fields[kept++] = fields[i];
        }
    }
    *ret_n_fields = kept;
    *ret_used = (size_t)(c.p - buf);
    return MP_H1_OK;
}
