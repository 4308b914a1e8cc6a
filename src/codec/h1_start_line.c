/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Request line and status line (RFC 9112 3 and 4). Everything is checked from left to right, so
 * that the reason does not depend on how the bytes were cut into reads. */
#include <string.h>
#include "codec/h1_internal.h"
#include "codec/scan.h"
#include "codec/uri.h"

#define METHOD_MAX 32

static uint64_t load8(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* Names the fault of a byte that does not belong into a start line. */
static enum mp_h1_status odd_byte(const char *p, const char *end, enum mp_h1_status fault)
{
    if (*p != '\r' && *p != '\n') {
        return fault;
    }
    enum mp_h1_status st = mp_h1_line_end(p, end);
    return st == MP_H1_OK ? MP_H1_ERR_BAD_START_LINE : st;
}

/* "HTTP/1.0" or "HTTP/1.1" at c->p, byte by byte: for the end of the input and for everything that
 * is not one of the two. */
static enum mp_h1_status version_slow(struct mp_h1_cur *c, uint8_t *ret_minor)
{
    static const char form[8] = "HTTP/D.D";
    for (size_t i = 0; i < sizeof(form); i++) {
        if (c->p + i == c->end) {
            return MP_H1_MORE;
        }
        char b = c->p[i];
        if (form[i] == 'D' ? !mp_c_is(b, MP_C_DIGIT) : b != form[i]) {
            return odd_byte(c->p + i, c->end, MP_H1_ERR_BAD_START_LINE);
        }
    }
    if (c->p[5] != '1' || c->p[7] > '1') {
        return MP_H1_ERR_BAD_VERSION;
    }
    *ret_minor = (uint8_t)(c->p[7] - '0');
    c->p += sizeof(form);
    return MP_H1_OK;
}

static enum mp_h1_status version(struct mp_h1_cur *c, uint8_t *ret_minor)
{
    if (MP_LIKELY(c->end - c->p >= 8)) {
        uint64_t v = load8(c->p);
        if (MP_LIKELY(v == load8("HTTP/1.1"))) {
            *ret_minor = 1;
            c->p += 8;
            return MP_H1_OK;
        }
    }
    return version_slow(c, ret_minor);
}

/* CRLF at c->p; any other byte is a malformed start line. */
static enum mp_h1_status crlf(struct mp_h1_cur *c)
{
    if (c->p == c->end) {
        return MP_H1_MORE;
    }
    if (*c->p != '\r' && *c->p != '\n') {
        return MP_H1_ERR_BAD_START_LINE;
    }
    enum mp_h1_status st = mp_h1_line_end(c->p, c->end);
    if (st == MP_H1_OK) {
        c->p += 2;
    }
    return st;
}

/* The method and the one SP after it. */
static enum mp_h1_status method(struct mp_h1_cur *c, struct mp_h1_request *ret)
{
    char *p = c->p;
    while (p < c->end && mp_c_is(*p, MP_C_TCHAR)) {
        p++;
        if (p - c->p > METHOD_MAX) {
            return MP_H1_ERR_BAD_METHOD;
        }
    }
    if (p == c->end) {
        return MP_H1_MORE;
    }
    if (*p != ' ') {
        return odd_byte(p, c->end, MP_H1_ERR_BAD_METHOD);
    }
    if (p == c->p) {
        return MP_H1_ERR_BAD_METHOD;
    }
    ret->method_name = mp_str(c->p, (size_t)(p - c->p));
    ret->method = mp_method_of(ret->method_name);
    c->p = p + 1;
    return MP_H1_OK;
}

/* The bytes of the target and the SP after it; its form is looked at later. */
static enum mp_h1_status target_bytes(struct mp_h1_cur *c, size_t max, struct mp_str *ret)
{
    size_t room = (size_t)(c->end - c->p);
    const char *end = room > max ? c->p + max + 1 : c->end;
    const char *p = mp_scan_target(c->p, end, c->base);
    if (p == end) {
        return room > max ? MP_H1_ERR_TARGET_TOO_LONG : MP_H1_MORE;
    }
    if (*p != ' ') {
        return odd_byte(p, c->end, MP_H1_ERR_BAD_TARGET);
    }
    if (p == c->p) {
        return MP_H1_ERR_BAD_START_LINE;
    }
    *ret = mp_str(c->p, (size_t)(p - c->p));
    c->p += ret->n + 1;
    return MP_H1_OK;
}

static bool starts_nocase(struct mp_str s, const char *lower, size_t n)
{
    if (s.n < n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        char b = s.p[i];
        if ((b >= 'A' && b <= 'Z' ? b + 0x20 : b) != lower[i]) {
            return false;
        }
    }
    return true;
}

static enum mp_h1_status absolute_form(struct mp_str target, struct mp_h1_request *ret,
                                       struct mp_h1_target *ret_target)
{
    if (starts_nocase(target, "http://", 7)) {
        ret->scheme = mp_str(target.p, 4);
    } else if (starts_nocase(target, "https://", 8)) {
        ret->scheme = mp_str(target.p, 5);
    } else {
        return MP_H1_ERR_BAD_TARGET;
    }
    struct mp_str rest = mp_str(target.p + ret->scheme.n + 3, target.n - ret->scheme.n - 3);
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?') {
        n++;
    }
    ret->form = MP_TARGET_ABSOLUTE;
    ret->authority = mp_str(rest.p, n);
    ret->path = n < rest.n ? mp_str(rest.p + n, rest.n - n) : MP_STR("/");
    return mp_authority_parse(ret->authority, &ret_target->host, &ret_target->port)
               ? MP_H1_OK
               : MP_H1_ERR_BAD_TARGET;
}

/* RFC 9112 3.2: which of the four forms it is, and whether the method allows it. */
static enum mp_h1_status target_form(struct mp_str target, struct mp_h1_request *ret,
                                     struct mp_h1_target *ret_target)
{
    if (ret->method == MP_METHOD_CONNECT) {
        ret->form = MP_TARGET_AUTHORITY;
        ret->authority = target;
        /* The port is not optional here. */
        bool ok = mp_authority_parse(target, &ret_target->host, &ret_target->port);
        return ok && ret_target->port != 0 ? MP_H1_OK : MP_H1_ERR_BAD_TARGET;
    }
    if (MP_LIKELY(target.p[0] == '/')) {
        ret->form = MP_TARGET_ORIGIN;
        ret->path = target;
        return MP_H1_OK;
    }
    if (target.p[0] == '*' && target.n == 1) {
        ret->form = MP_TARGET_ASTERISK;
        ret->path = target;
        return ret->method == MP_METHOD_OPTIONS ? MP_H1_OK : MP_H1_ERR_BAD_TARGET;
    }
    return absolute_form(target, ret, ret_target);
}

enum mp_h1_status mp_h1_request_line(struct mp_h1_cur *c, const struct mp_h1_limits *limits,
                                     struct mp_h1_request *ret, struct mp_h1_target *ret_target)
{
    if (*c->p == '\r') {
        /* One empty line before the request line (RFC 9112 2.2). */
        enum mp_h1_status st = mp_h1_line_end(c->p, c->end);
        if (st != MP_H1_OK) {
            return st;
        }
        c->p += 2;
    }
    struct mp_str target;
    enum mp_h1_status st = method(c, ret);
    if (st != MP_H1_OK) {
        return st;
    }
    st = target_bytes(c, limits->target_bytes_max, &target);
    if (st != MP_H1_OK) {
        return st;
    }
    st = version(c, &ret->minor);
    if (st != MP_H1_OK) {
        return st;
    }
    st = crlf(c);
    if (st != MP_H1_OK) {
        return st;
    }
    return target_form(target, ret, ret_target);
}

/* Three digits, 100 to 599, with the SP before them. */
static enum mp_h1_status status_code(struct mp_h1_cur *c, unsigned *ret)
{
    unsigned v = 0;
    if (c->p == c->end) {
        return MP_H1_MORE;
    }
    if (*c->p != ' ') {
        return odd_byte(c->p, c->end, MP_H1_ERR_BAD_START_LINE);
    }
    for (size_t i = 1; i <= 3; i++) {
        if (c->p + i == c->end) {
            return MP_H1_MORE;
        }
        if (!mp_c_is(c->p[i], MP_C_DIGIT)) {
            return odd_byte(c->p + i, c->end, MP_H1_ERR_BAD_STATUS);
        }
        v = v * 10 + (unsigned)(c->p[i] - '0');
    }
    if (v < 100 || v > 599) {
        return MP_H1_ERR_BAD_STATUS;
    }
    *ret = v;
    c->p += 4;
    return MP_H1_OK;
}

enum mp_h1_status mp_h1_status_line(struct mp_h1_cur *c, struct mp_h1_response *ret)
{
    enum mp_h1_status st = version(c, &ret->minor);
    if (st != MP_H1_OK) {
        return st;
    }
    st = status_code(c, &ret->status);
    if (st != MP_H1_OK) {
        return st;
    }
    if (c->p == c->end) {
        return MP_H1_MORE;
    }
    if (*c->p != ' ') {
        /* No reason phrase, and no blank either: not in the grammar, but common. */
        return *c->p == '\r' || *c->p == '\n' ? crlf(c) : MP_H1_ERR_BAD_STATUS;
    }
    const char *reason = c->p + 1;
    const char *e = mp_scan_value(reason, c->end, c->base);
    if (e == c->end) {
        return MP_H1_MORE;
    }
    ret->reason = mp_str(reason, (size_t)(e - reason));
    c->p += 1 + ret->reason.n;
    return crlf(c);
}
