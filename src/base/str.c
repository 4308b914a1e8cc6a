/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"

static unsigned char lower(char c)
{
    unsigned char u = (unsigned char)c;
    return u >= 'A' && u <= 'Z' ? (unsigned char)(u | 0x20) : u;
}

bool mp_str_ieq(struct mp_str a, struct mp_str b)
{
    if (a.n != b.n) {
        return false;
    }
    for (size_t i = 0; i < a.n; i++) {
        if (lower(a.p[i]) != lower(b.p[i])) {
            return false;
        }
    }
    return true;
}

bool mp_str_starts(struct mp_str s, struct mp_str prefix)
{
    return prefix.n <= s.n && mp_str_eq(mp_str(s.p, prefix.n), prefix);
}

bool mp_str_ends(struct mp_str s, struct mp_str suffix)
{
    if (suffix.n == 0) {
        return true;
    }
    return suffix.n <= s.n && memcmp(s.p + (s.n - suffix.n), suffix.p, suffix.n) == 0;
}

int mp_str_cmp(struct mp_str a, struct mp_str b)
{
    size_t n = MP_MIN(a.n, b.n);
    int c = n > 0 ? memcmp(a.p, b.p, n) : 0;
    if (c != 0) {
        return c < 0 ? -1 : 1;
    }
    return (a.n > b.n) - (a.n < b.n);
}

ptrdiff_t mp_str_chr(struct mp_str s, char c, size_t from)
{
    if (from >= s.n) {
        return -1;
    }
    const char *hit = memchr(s.p + from, c, s.n - from);
    return hit ? hit - s.p : -1;
}

ptrdiff_t mp_str_find(struct mp_str s, struct mp_str needle)
{
    if (needle.n == 0) {
        return 0;
    }
    if (needle.n > s.n) {
        return -1;
    }
    const char *hit = memmem(s.p, s.n, needle.p, needle.n);
    return hit ? hit - s.p : -1;
}

struct mp_str mp_str_trim(struct mp_str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) {
        s.n--;
    }
    return s;
}

bool mp_str_split(struct mp_str *rest, char sep, struct mp_str *ret_part)
{
    /* p == NULL marks the end, so that "a," yields "a" and "". An empty text with a pointer is one
     * empty part; one without a pointer has none. */
    if (!rest->p) {
        return false;
    }
    ptrdiff_t at = mp_str_chr(*rest, sep, 0);
    if (at < 0) {
        *ret_part = *rest;
        *rest = mp_str(NULL, 0);
        return true;
    }
    *ret_part = mp_str(rest->p, (size_t)at);
    *rest = mp_str(rest->p + at + 1, rest->n - (size_t)at - 1);
    return true;
}

mp_err mp_str_to_u64(struct mp_str s, uint64_t *ret)
{
    if (s.n == 0) {
        return MP_FAIL(SYNTAX);
    }
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return MP_FAIL(SYNTAX);
        }
        if (__builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v)) {
            return MP_FAIL(LIMIT);
        }
    }
    *ret = v;
    return MP_OK;
}

char *mp_str_dup_c(struct mp_str s)
{
    char *z = mp_xmalloc(s.n + 1);
    if (s.n > 0) {
        memcpy(z, s.p, s.n);
    }
    z[s.n] = '\0';
    return z;
}

size_t mp_utf8_next(struct mp_str s, uint32_t *ret_cp)
{
    if (s.n == 0) {
        return 0;
    }
    const unsigned char *p = (const unsigned char *)s.p;
    if (p[0] < 0x80) {
        *ret_cp = p[0];
        return 1;
    }
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || s.n < len) {
        return 0;
    }
    uint32_t cp = p[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        cp = cp << 6 | (p[i] & 0x3fu);
    }
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (cp < smallest[len] || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff)) {
        return 0;
    }
    *ret_cp = cp;
    return len;
}

/* What an unused builder points at: never written, only read as the empty C string. */
static char nothing[1];

void mp_sb_init(struct mp_sb *sb, size_t max)
{
    MP_ASSERT(max < SIZE_MAX / 2);
    *sb = (struct mp_sb){.p = nothing, .max = max};
}

void mp_sb_fini(struct mp_sb *sb)
{
    if (sb->cap > 0) {
        free(sb->p);
    }
    *sb = (struct mp_sb){.p = nothing, .max = sb->max};
}

void mp_sb_reset(struct mp_sb *sb)
{
    sb->n = 0;
    sb->overflow = false;
    if (sb->cap > 0) {
        sb->p[0] = '\0';
    }
}

/* Room for extra more bytes and the NUL; returns how many of them the maximum allows. */
static size_t reserve(struct mp_sb *sb, size_t extra)
{
    if (extra > sb->max - sb->n) {
        extra = sb->max - sb->n;
        sb->overflow = true;
    }
    size_t need = sb->n + extra + 1;
    if (need > sb->cap) {
        size_t cap = MP_MIN(MP_MAX(MP_MAX(sb->cap * 2, need), (size_t)64), sb->max + 1);
        sb->p = mp_xrealloc(sb->cap > 0 ? sb->p : NULL, cap);
        sb->cap = cap;
        sb->p[sb->n] = '\0';
    }
    return extra;
}

void mp_sb_add(struct mp_sb *sb, struct mp_str s)
{
    size_t n = reserve(sb, s.n);
    if (n > 0) {
        memcpy(sb->p + sb->n, s.p, n);
        sb->n += n;
        sb->p[sb->n] = '\0';
    }
}

void mp_sb_add_c(struct mp_sb *sb, const char *z)
{
    mp_sb_add(sb, mp_str_c(z));
}

void mp_sb_add_char(struct mp_sb *sb, char c)
{
    mp_sb_add(sb, mp_str(&c, 1));
}

void mp_sb_vprintf(struct mp_sb *sb, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    MP_ASSERT(n >= 0);
    size_t room = reserve(sb, (size_t)n);
    vsnprintf(sb->p + sb->n, room + 1, fmt, again);
    sb->n += room;
    va_end(again);
}

void mp_sb_printf(struct mp_sb *sb, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    mp_sb_vprintf(sb, fmt, ap);
    va_end(ap);
}

size_t mp_json_escape(struct mp_str s, char out[MP_JSON_ESCAPE_MAX], size_t *ret_n)
{
    uint32_t cp;
    size_t used = mp_utf8_next(s, &cp);
    if (used == 0) {
        memcpy(out, "\xef\xbf\xbd", 3);
        *ret_n = 3;
        return 1;
    }
    static const char shorts[][2] = {{'"', '"'},  {'\\', '\\'}, {'\n', 'n'}, {'\r', 'r'},
                                     {'\t', 't'}, {'\b', 'b'},  {'\f', 'f'}};
    for (size_t i = 0; i < MP_COUNTOF(shorts); i++) {
        if (cp == (unsigned char)shorts[i][0]) {
            out[0] = '\\';
            out[1] = shorts[i][1];
            *ret_n = 2;
            return used;
        }
    }
    if (mp_utf8_is_unsafe(cp)) {
        static const char hex[] = "0123456789abcdef";
        char esc[6] = {'\\',        'u', hex[cp >> 12 & 15], hex[cp >> 8 & 15], hex[cp >> 4 & 15],
                       hex[cp & 15]};
        memcpy(out, esc, sizeof(esc));
        *ret_n = sizeof(esc);
        return used;
    }
    memcpy(out, s.p, used);
    *ret_n = used;
    return used;
}

void mp_sb_add_json(struct mp_sb *sb, struct mp_str s)
{
    mp_sb_add_char(sb, '"');
    while (s.n > 0) {
        char out[MP_JSON_ESCAPE_MAX];
        size_t n;
        size_t used = mp_json_escape(s, out, &n);
        mp_sb_add(sb, mp_str(out, n));
        s = mp_str(s.p + used, s.n - used);
    }
    mp_sb_add_char(sb, '"');
}
