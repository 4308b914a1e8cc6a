/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Bytes with a length. Not NUL-terminated unless a function says so; C strings live at the libc
 * edge. */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "base/compiler.h"
#include "base/err.h"

struct mp_str {
    const char *p; /* may be NULL when n is 0 */
    size_t n;
};

#define MP_STR(lit)   ((struct mp_str){(lit), sizeof(lit) - 1})
#define MP_STR_FMT    "%.*s"
#define MP_STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""

static inline struct mp_str mp_str(const char *p, size_t n)
{
    return (struct mp_str){p, n};
}
/* NULL gives the empty string. */
static inline struct mp_str mp_str_c(const char *z)
{
    return (struct mp_str){z, z ? strlen(z) : 0};
}
static inline bool mp_str_eq(struct mp_str a, struct mp_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
/* ASCII case only; never the locale's. */
bool mp_str_ieq(struct mp_str a, struct mp_str b);
bool mp_str_starts(struct mp_str s, struct mp_str prefix);
bool mp_str_ends(struct mp_str s, struct mp_str suffix);
int mp_str_cmp(struct mp_str a, struct mp_str b);
/* Index of the first c at or after from, or -1. */
ptrdiff_t mp_str_chr(struct mp_str s, char c, size_t from);
/* Index of the first needle, or -1. */
ptrdiff_t mp_str_find(struct mp_str s, struct mp_str needle);
/* Without leading and trailing SP and HTAB. */
struct mp_str mp_str_trim(struct mp_str s);
/* Cuts the part before sep off *rest (or all of it); false when *rest was exhausted before the
 * call. "a," has the parts "a" and ""; "" has one empty part; a NULL pointer has none and marks the
 * end. */
bool mp_str_split(struct mp_str *rest, char sep, struct mp_str *ret_part);
/* Strict decimal: digits only, no sign, no blank, no overflow. */
MP_MUST_USE mp_err mp_str_to_u64(struct mp_str s, uint64_t *ret);
/* Heap copy, NUL-terminated; free() it. Aborts when memory is out. */
char *mp_str_dup_c(struct mp_str s);

/* Length of the well-formed UTF-8 sequence s starts with, 0 when there is none (overlong forms and
 * surrogates count as none). ret_cp is its code point. */
size_t mp_utf8_next(struct mp_str s, uint32_t *ret_cp);
/* Code points that are never printed as they are: C0 and C1 controls, DEL, line and paragraph
 * separators, and the bidirectional overrides that let a value disguise itself on a terminal. */
static inline bool mp_utf8_is_unsafe(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp <= 0x9f) || (cp >= 0x2028 && cp <= 0x202e) ||
           (cp >= 0x2066 && cp <= 0x2069);
}
/* Writes the first character of s (not empty) as it stands inside a JSON string; an invalid byte
 * becomes U+FFFD. Returns the bytes of s consumed, *ret_n the bytes written. */
#define MP_JSON_ESCAPE_MAX 6
size_t mp_json_escape(struct mp_str s, char out[MP_JSON_ESCAPE_MAX], size_t *ret_n);

/* Growable text for control code (configuration, admin pages, logs): never on the request path.
 * The maximum is given at init; past it the text is cut and overflow is set, so a caller checks
 * once at the end. Always NUL-terminated.
 */
struct mp_sb {
    char *p;
    size_t n, cap, max;
    bool overflow;
};
void mp_sb_init(struct mp_sb *sb, size_t max);
void mp_sb_fini(struct mp_sb *sb);
void mp_sb_reset(struct mp_sb *sb);
void mp_sb_add(struct mp_sb *sb, struct mp_str s);
void mp_sb_add_c(struct mp_sb *sb, const char *z);
void mp_sb_add_char(struct mp_sb *sb, char c);
void mp_sb_printf(struct mp_sb *sb, const char *fmt, ...) MP_PRINTF(2, 3);
void mp_sb_vprintf(struct mp_sb *sb, const char *fmt, va_list ap) MP_PRINTF(2, 0);
/* s as a JSON string with quotes; invalid UTF-8 becomes U+FFFD. */
void mp_sb_add_json(struct mp_sb *sb, struct mp_str s);
static inline struct mp_str mp_sb_str(const struct mp_sb *sb)
{
    return (struct mp_str){sb->p, sb->n};
}
