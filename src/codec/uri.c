/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "codec/uri.h"
#include <arpa/inet.h>
#include <string.h>
#include "codec/scan.h"

/* ---- authority ---- */

/* The length of "[...]" at the start of a, or 0. Zone identifiers and IPvFuture have no use in a
 * Host. */
static size_t ip_literal(struct mp_str a)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr parsed;
    const char *close = memchr(a.p, ']', a.n);
    if (close == NULL) {
        return 0;
    }
    size_t n = (size_t)(close - a.p) - 1;
    if (n == 0 || n >= sizeof(text) || memchr(a.p + 1, 0, n) != NULL) {
        return 0;
    }
    memcpy(text, a.p + 1, n);
    text[n] = 0;
    return inet_pton(AF_INET6, text, &parsed) == 1 ? n + 2 : 0;
}

static bool is_escape(const char *p, const char *end)
{
    return end - p >= 3 && p[0] == '%' && mp_c_is(p[1], MP_C_HEX) && mp_c_is(p[2], MP_C_HEX);
}

/* The length of the reg-name at the start of a; 0 when there is none. */
static size_t reg_name(struct mp_str a)
{
    const char *p = a.p, *end = a.p + a.n;
    for (;;) {
        while (p < end && mp_c_is(*p, MP_C_REGNAME)) {
            p++;
        }
        if (!is_escape(p, end)) {
            return (size_t)(p - a.p);
        }
        p += 3;
    }
}

/* 1 to 65535 in at most five digits; 0 when it is anything else. */
static unsigned port_number(const char *p, size_t n)
{
    unsigned v = 0;
    if (n == 0 || n > 5) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (!mp_c_is(p[i], MP_C_DIGIT)) {
            return 0;
        }
        v = v * 10 + (unsigned)(p[i] - '0');
    }
    return v <= 65535 ? v : 0;
}

bool mp_authority_parse(struct mp_str authority, struct mp_str *ret_host, unsigned *ret_port)
{
    if (authority.n == 0) {
        return false;
    }
    size_t n = authority.p[0] == '[' ? ip_literal(authority) : reg_name(authority);
    if (n == 0) {
        return false;
    }
    unsigned port = 0;
    if (n < authority.n) {
        if (authority.p[n] != ':') {
            return false;
        }
        port = port_number(authority.p + n + 1, authority.n - n - 1);
        if (port == 0) {
            return false;
        }
    }
    *ret_host = mp_str(authority.p, n);
    *ret_port = port;
    return true;
}

/* ---- path ---- */

void mp_uri_split(struct mp_str path, struct mp_str *ret_path, struct mp_str *ret_query,
                  bool *ret_has_query)
{
    const char *q = path.n > 0 ? memchr(path.p, '?', path.n) : NULL;
    *ret_has_query = q != NULL;
    if (q == NULL) {
        *ret_path = path;
        *ret_query = mp_str("", 0);
        return;
    }
    size_t at = (size_t)(q - path.p);
    *ret_path = mp_str(path.p, at);
    *ret_query = mp_str(q + 1, path.n - at - 1);
}

/* p is behind a '/': whether "." or ".." is all there is up to the next '/' or the end. */
static bool dot_segment(const char *p, const char *end)
{
    if (p < end && *p == '.') {
        p++;
    }
    if (p < end && *p == '.') {
        p++;
    }
    return p[-1] == '.' && (p == end || *p == '/' || *p == '?');
}

enum quick { QUICK_SAME, QUICK_LOOK, QUICK_BAD };

/* One pass that settles the common case: nothing escaped, no dot segment. */
static enum quick quick_check(const struct mp_uri_policy *policy, struct mp_str path)
{
    const char *p = path.p, *end = path.p + path.n;
    for (; p < end; p++) {
        char c = *p;
        if (c == '/') {
            if (policy->merge_slashes && p + 1 < end && p[1] == '/') {
                return QUICK_LOOK;
            }
            if (policy->normalize && dot_segment(p + 1, end)) {
                return QUICK_LOOK;
            }
        } else if (MP_UNLIKELY(!mp_c_is(c, MP_C_PATH))) {
            if (c == '%') {
                return QUICK_LOOK;
            }
            return c == '?' ? QUICK_SAME : QUICK_BAD;
        }
    }
    return QUICK_SAME;
}

/* Steps 1 to 3. False: refused. *ret_n: bytes in out. */
static bool unescape(const struct mp_uri_policy *policy, struct mp_str path, char *out,
                     size_t *ret_n, bool *ret_slash)
{
    static const char hex[] = "0123456789ABCDEF";
    const char *p = path.p, *end = path.p + path.n;
    char *w = out;
    *ret_slash = false;
    while (p < end) {
        if (mp_c_is(*p, MP_C_PATH)) {
            *w++ = *p++;
            continue;
        }
        if (!is_escape(p, end)) {
            return false;
        }
        unsigned v = mp_c_hex(p[1]) << 4 | mp_c_hex(p[2]);
        bool slash = v == '/' || v == '\\';
        if (v == 0 || (slash && policy->escaped_slashes == MP_SLASH_REJECT)) {
            return false;
        }
        if (slash && policy->escaped_slashes != MP_SLASH_KEEP) {
            *w++ = '/';
            *ret_slash = true;
        } else if (!policy->normalize) {
            *w++ = '%';
            *w++ = p[1];
            *w++ = p[2];
        } else if (mp_c_is((char)v, MP_C_UNRESERVED)) {
            *w++ = (char)v;
        } else {
            *w++ = '%';
            *w++ = hex[v >> 4];
            *w++ = hex[v & 15];
        }
        p += 3;
    }
    *ret_n = (size_t)(w - out);
    return true;
}

/* RFC 3986 5.2.4 in place. False: the path climbs above the root. */
static bool remove_dots(char *buf, size_t *n)
{
    size_t r = 0, w = 0;
    while (r < *n) { /* buf[r] is a '/' */
        const char *slash = memchr(buf + r + 1, '/', *n - r - 1);
        size_t e = slash ? (size_t)(slash - buf) : *n;
        size_t len = e - r - 1;
        bool one = len == 1 && buf[r + 1] == '.';
        bool two = len == 2 && buf[r + 1] == '.' && buf[r + 2] == '.';
        if (two) {
            if (w == 0) {
                return false;
            }
            while (buf[--w] != '/') {
            }
        }
        if (!one && !two) {
            memmove(buf + w, buf + r, e - r);
            w += e - r;
        } else if (e == *n) {
            buf[w++] = '/';
        }
        r = e;
    }
    *n = w;
    return true;
}

static void merge_slashes(char *buf, size_t *n)
{
    size_t w = 0;
    for (size_t r = 0; r < *n; r++) {
        if (buf[r] != '/' || w == 0 || buf[w - 1] != '/') {
            buf[w++] = buf[r];
        }
    }
    *n = w;
}

enum mp_uri_result mp_uri_normalize(const struct mp_uri_policy *policy, struct mp_str path,
                                    char *out, struct mp_str *ret)
{
    if (path.n == 0 || path.p[0] != '/') {
        return MP_URI_BAD;
    }
    switch (quick_check(policy, path)) {
    case QUICK_SAME:
        return MP_URI_SAME;
    case QUICK_BAD:
        return MP_URI_BAD;
    case QUICK_LOOK:
        break;
    }
    struct mp_str head, query;
    bool has_query, slash;
    size_t n;
    mp_uri_split(path, &head, &query, &has_query);
    if (!unescape(policy, head, out, &n, &slash)) {
        return MP_URI_BAD;
    }
    if (policy->normalize && !remove_dots(out, &n)) {
        return MP_URI_BAD;
    }
    if (policy->merge_slashes) {
        merge_slashes(out, &n);
    }
    if (n == head.n && memcmp(out, head.p, n) == 0) {
        return MP_URI_SAME;
    }
    if (has_query) {
        out[n++] = '?';
        if (query.n > 0) {
            memcpy(out + n, query.p, query.n);
            n += query.n;
        }
    }
    *ret = mp_str(out, n);
    return slash && policy->escaped_slashes == MP_SLASH_UNESCAPE_REDIRECT ? MP_URI_REDIRECT
                                                                          : MP_URI_CHANGED;
}
