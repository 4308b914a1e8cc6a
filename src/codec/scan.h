/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Byte classes and the scanning loops of the HTTP/1 and URI code.
 *
 * A loop reads inside [base, end) only. With SSE2 the last, partial block is read as the 16 bytes
 * that end at `end`, when base is far enough away; otherwise the rest is done byte by byte.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"
/* MP_SCAN_SCALAR: the tests build the portable way on machines that would never take it. */
#if defined(__SSE2__) && !defined(MP_SCAN_SCALAR)
#include <emmintrin.h>
#define MP_SCAN_SSE2 1
#else
#define MP_SCAN_SSE2 0
#endif

#define MP_C_TCHAR      0x01 /* RFC 9110 5.6.2 */
#define MP_C_VALUE      0x02 /* inside a field value: HTAB, SP, VCHAR, obs-text */
#define MP_C_TARGET     0x04 /* inside a request target: VCHAR without '#' */
#define MP_C_PATH       0x08 /* pchar, '/' and []^{|}, without '%' */
#define MP_C_UNRESERVED 0x10 /* RFC 3986 2.3 */
#define MP_C_REGNAME    0x20 /* unreserved and sub-delims */
#define MP_C_HEX        0x40
#define MP_C_DIGIT      0x80

extern const uint8_t mp_ctype[256];
/* The lower-case form of a tchar; 0 for every other byte. */
extern const uint8_t mp_tchar_lower[256];

static inline bool mp_c_is(char c, unsigned classes)
{
    return (mp_ctype[(uint8_t)c] & classes) != 0;
}
/* The value of a hex digit (which c is). */
static inline unsigned mp_c_hex(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

#if MP_SCAN_SSE2
/* One bit a byte: set where the byte ends a field value (a control character except HTAB). */
static inline unsigned mp_scan_value_mask(__m128i v)
{
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
    __m128i tab = _mm_cmpeq_epi8(v, _mm_set1_epi8('\t'));
    __m128i del = _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, low), del));
}
/* Set where the byte may not be in a target. The comparison is signed: it catches 0x80-0xff too. */
static inline unsigned mp_scan_target_mask(__m128i v)
{
    __m128i low = _mm_cmplt_epi8(v, _mm_set1_epi8(0x21));
    __m128i del = _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f));
    __m128i frag = _mm_cmpeq_epi8(v, _mm_set1_epi8('#'));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(low, del), frag));
}
static inline __attribute__((always_inline)) const char *mp_scan_(const char *p, const char *end,
                                                                  const char *base,
                                                                  unsigned (*mask)(__m128i),
                                                                  unsigned class)
{
    while (end - p >= 16) {
        unsigned m = mask(_mm_loadu_si128((const __m128i *)(const void *)p));
        if (m != 0) {
            return p + __builtin_ctz(m);
        }
        p += 16;
    }
    if (p < end && end - base >= 16) {
        unsigned m = mask(_mm_loadu_si128((const __m128i *)(const void *)(end - 16)));
        m >>= 16 - (end - p);
        return m != 0 ? p + __builtin_ctz(m) : end;
    }
    while (p < end && mp_c_is(*p, class)) {
        p++;
    }
    return p;
}
#else
#define mp_scan_value_mask  NULL
#define mp_scan_target_mask NULL
static inline const char *mp_scan_(const char *p, const char *end, const char *base,
                                   const void *mask, unsigned class)
{
    (void)base;
    (void)mask;
    while (p < end && mp_c_is(*p, class)) {
        p++;
    }
    return p;
}
#endif

/* The first byte of [p, end) that cannot be in a field value, or end. base <= p: readable from
 * there. */
static inline const char *mp_scan_value(const char *p, const char *end, const char *base)
{
    return mp_scan_(p, end, base, mp_scan_value_mask, MP_C_VALUE);
}
/* The first byte of [p, end) that cannot be in a request target, or end. */
static inline const char *mp_scan_target(const char *p, const char *end, const char *base)
{
    return mp_scan_(p, end, base, mp_scan_target_mask, MP_C_TARGET);
}
