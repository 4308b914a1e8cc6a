/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "io/addr.h"
#include <arpa/inet.h>
#include <stdio.h>
#include "base/hash.h"

#define IP4_BITS    32
#define IP6_BITS    128
#define MAPPED_BITS 96

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* Decimal without sign, blank or leading zero, at most max. */
static mp_err parse_number(struct mp_str text, uint64_t max, uint64_t *ret)
{
    uint64_t v;
    if (text.n == 0 || (text.n > 1 && text.p[0] == '0')) {
        return MP_FAIL(SYNTAX);
    }
    MP_TRY(mp_str_to_u64(text, &v));
    if (v > max) {
        return MP_FAIL(INVALID);
    }
    *ret = v;
    return MP_OK;
}

/* inet_pton is strict (four decimal parts without leading zeros; no scope) but wants a C string. */
static bool pton(int family, struct mp_str text, uint8_t *out)
{
    char z[INET6_ADDRSTRLEN];
    if (text.n == 0 || text.n >= sizeof z || memchr(text.p, '\0', text.n)) {
        return false;
    }
    memcpy(z, text.p, text.n);
    z[text.n] = '\0';
    return inet_pton(family, z, out) == 1;
}

static mp_err parse_ip6(struct mp_str text, uint16_t port, struct mp_addr *ret)
{
    struct mp_addr a = {.family = MP_ADDR_IP6, .port = port};
    ptrdiff_t percent = mp_str_chr(text, '%', 0);
    if (percent >= 0) {
        uint64_t scope;
        size_t at = (size_t)percent;
        MP_TRY(parse_number(mp_str(text.p + at + 1, text.n - at - 1), UINT32_MAX, &scope));
        if (scope == 0) {
            return MP_FAIL(INVALID);
        }
        a.scope_id = (uint32_t)scope;
        text.n = at;
    }
    if (!pton(AF_INET6, text, a.ip)) {
        return MP_FAIL(SYNTAX);
    }
    *ret = a;
    return MP_OK;
}

mp_err mp_addr_parse_ip(struct mp_str text, uint16_t port, struct mp_addr *ret)
{
    if (text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']') {
        return parse_ip6(mp_str(text.p + 1, text.n - 2), port, ret);
    }
    if (mp_str_chr(text, ':', 0) >= 0) {
        return parse_ip6(text, port, ret);
    }
    struct mp_addr a = {.family = MP_ADDR_IP4, .port = port};
    if (!pton(AF_INET, text, a.ip)) {
        return MP_FAIL(SYNTAX);
    }
    *ret = a;
    return MP_OK;
}

/* The path is used in place, as a C string. */
static mp_err parse_unix(struct mp_str path, struct mp_addr *ret)
{
    if (path.n < 2) {
        return MP_FAIL(SYNTAX);
    }
    if (memchr(path.p, '\0', path.n)) {
        return MP_FAIL(SYNTAX);
    }
    if (path.n >= MP_ADDR_UNIX_MAX) {
        return MP_FAIL(LIMIT);
    }
    if (path.p[path.n] != '\0') {
        return MP_FAIL(INVALID);
    }
    *ret = (struct mp_addr){.family = MP_ADDR_UNIX, .path = path.p};
    return MP_OK;
}

mp_err mp_addr_parse(struct mp_str text, struct mp_addr *ret)
{
    if (mp_str_starts(text, MP_STR("@"))) {
        return parse_unix(text, ret);
    }
    if (mp_str_starts(text, MP_STR("unix:/")) || mp_str_starts(text, MP_STR("unix:@"))) {
        return parse_unix(mp_str(text.p + 5, text.n - 5), ret);
    }
    /* The colon before the port is the last one; IPv6 needs its brackets here. */
    size_t colon = text.n;
    while (colon > 0 && text.p[colon - 1] != ':') {
        colon--;
    }
    if (colon == 0) {
        return MP_FAIL(SYNTAX);
    }
    struct mp_str host = mp_str(text.p, colon - 1);
    bool bracketed = host.n > 0 && host.p[0] == '[';
    if (!bracketed && mp_str_chr(host, ':', 0) >= 0) {
        return MP_FAIL(SYNTAX);
    }
    if (bracketed && host.p[host.n - 1] != ']') {
        return MP_FAIL(SYNTAX);
    }
    uint64_t port;
    MP_TRY(parse_number(mp_str(text.p + colon, text.n - colon), UINT16_MAX, &port));
    return mp_addr_parse_ip(host, (uint16_t)port, ret);
}

static size_t ip_size(const struct mp_addr *a)
{
    return a->family == MP_ADDR_IP4 ? 4 : a->family == MP_ADDR_IP6 ? 16 : 0;
}

bool mp_addr_ip_eq(const struct mp_addr *a, const struct mp_addr *b)
{
    if (a->family != b->family) {
        return false;
    }
    if (a->family == MP_ADDR_UNIX) {
        return strcmp(a->path, b->path) == 0;
    }
    return a->scope_id == b->scope_id && memcmp(a->ip, b->ip, ip_size(a)) == 0;
}

bool mp_addr_eq(const struct mp_addr *a, const struct mp_addr *b)
{
    if (!mp_addr_ip_eq(a, b)) {
        return false;
    }
    return a->family == MP_ADDR_UNIX || a->port == b->port;
}

uint64_t mp_addr_hash(const struct mp_addr *a)
{
    if (a->family == MP_ADDR_UNIX) {
        return mp_hash(a->path, strlen(a->path));
    }
    uint8_t bytes[1 + 2 + 4 + 16];
    bytes[0] = a->family;
    memcpy(bytes + 1, &a->port, 2);
    memcpy(bytes + 3, &a->scope_id, 4);
    memcpy(bytes + 7, a->ip, ip_size(a));
    return mp_hash(bytes, 7 + ip_size(a));
}

static char *put_number(char *out, uint32_t v)
{
    char digits[10];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    while (n > 0) {
        *out++ = digits[--n];
    }
    return out;
}

static char *put_ip4(char *out, const uint8_t *ip)
{
    for (int i = 0; i < 4; i++) {
        if (i > 0) {
            *out++ = '.';
        }
        out = put_number(out, ip[i]);
    }
    return out;
}

static char *put_ip6(char *out, const struct mp_addr *a)
{
    inet_ntop(AF_INET6, a->ip, out, INET6_ADDRSTRLEN);
    out += strlen(out);
    if (a->scope_id) {
        *out++ = '%';
        out = put_number(out, a->scope_id);
    }
    return out;
}

/* A path longer than any socket's (not from our parser) is cut. */
static char *put_path(char *out, const char *path)
{
    size_t n = strnlen(path, MP_ADDR_TEXT_MAX - 1);
    memcpy(out, path, n);
    return out + n;
}

size_t mp_addr_format_ip(const struct mp_addr *a, char *out)
{
    char *end = out;
    if (a->family == MP_ADDR_IP4) {
        end = put_ip4(out, a->ip);
    }
    if (a->family == MP_ADDR_IP6) {
        end = put_ip6(out, a);
    }
    if (a->family == MP_ADDR_UNIX) {
        end = put_path(out, a->path);
    }
    *end = '\0';
    return (size_t)(end - out);
}

size_t mp_addr_format(const struct mp_addr *a, char *out)
{
    bool ip6 = a->family == MP_ADDR_IP6;
    char *end = out;
    if (ip6) {
        *end++ = '[';
    }
    end += mp_addr_format_ip(a, end);
    if (ip6) {
        *end++ = ']';
    }
    if (ip6 || a->family == MP_ADDR_IP4) {
        *end++ = ':';
        end = put_number(end, a->port);
    }
    *end = '\0';
    return (size_t)(end - out);
}

static bool is_mapped(const struct mp_addr *a)
{
    return a->family == MP_ADDR_IP6 && memcmp(a->ip, mapped_prefix, sizeof mapped_prefix) == 0;
}

static bool prefix_eq(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned bytes = bits / 8, rest = bits % 8;
    if (memcmp(a, b, bytes) != 0) {
        return false;
    }
    return rest == 0 || ((a[bytes] ^ b[bytes]) >> (8 - rest)) == 0;
}

mp_err mp_cidr_parse(struct mp_str text, struct mp_cidr *ret)
{
    struct mp_cidr c = {0};
    ptrdiff_t slash = mp_str_chr(text, '/', 0);
    struct mp_str ip = mp_str(text.p, slash < 0 ? text.n : (size_t)slash);
    MP_TRY(mp_addr_parse_ip(ip, 0, &c.base));
    if (c.base.scope_id) {
        return MP_FAIL(INVALID);
    }
    uint64_t bits = c.base.family == MP_ADDR_IP4 ? IP4_BITS : IP6_BITS;
    if (slash >= 0) {
        size_t at = (size_t)slash + 1;
        MP_TRY(parse_number(mp_str(text.p + at, text.n - at), bits, &bits));
    }
    /* ::ffff:10.0.0.0/104 means 10.0.0.0/8. */
    if (is_mapped(&c.base) && bits >= MAPPED_BITS) {
        memmove(c.base.ip, c.base.ip + 12, 4);
        memset(c.base.ip + 4, 0, 12);
        c.base.family = MP_ADDR_IP4;
        bits -= MAPPED_BITS;
    }
    c.bits = (uint8_t)bits;
    /* Bits after the prefix mean nothing; cleared, so that equal ranges are equal bytes. */
    for (unsigned i = 0; i < 16; i++) {
        unsigned keep = bits > i * 8 ? MP_MIN((unsigned)bits - i * 8, 8u) : 0;
        c.base.ip[i] &= (uint8_t)(0xff00u >> keep);
    }
    *ret = c;
    return MP_OK;
}

bool mp_cidr_has(const struct mp_cidr *c, const struct mp_addr *a)
{
    if (a->family == c->base.family) {
        return ip_size(a) > 0 && prefix_eq(a->ip, c->base.ip, c->bits);
    }
    /* An IPv4 peer written as IPv6 does not slip past an IPv4 range. */
    return c->base.family == MP_ADDR_IP4 && is_mapped(a) &&
           prefix_eq(a->ip + 12, c->base.ip, c->bits);
}
