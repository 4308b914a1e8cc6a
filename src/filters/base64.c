/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "filters/base64.h"

#define BAD 0xff

#define LETTERS                                                                                   \
    ['A'] = 0, ['B'] = 1, ['C'] = 2, ['D'] = 3, ['E'] = 4, ['F'] = 5, ['G'] = 6, ['H'] = 7,       \
    ['I'] = 8, ['J'] = 9, ['K'] = 10, ['L'] = 11, ['M'] = 12, ['N'] = 13, ['O'] = 14, ['P'] = 15, \
    ['Q'] = 16, ['R'] = 17, ['S'] = 18, ['T'] = 19, ['U'] = 20, ['V'] = 21, ['W'] = 22,           \
    ['X'] = 23, ['Y'] = 24, ['Z'] = 25, ['a'] = 26, ['b'] = 27, ['c'] = 28, ['d'] = 29,           \
    ['e'] = 30, ['f'] = 31, ['g'] = 32, ['h'] = 33, ['i'] = 34, ['j'] = 35, ['k'] = 36,           \
    ['l'] = 37, ['m'] = 38, ['n'] = 39, ['o'] = 40, ['p'] = 41, ['q'] = 42, ['r'] = 43,           \
    ['s'] = 44, ['t'] = 45, ['u'] = 46, ['v'] = 47, ['w'] = 48, ['x'] = 49, ['y'] = 50,           \
    ['z'] = 51, ['0'] = 52, ['1'] = 53, ['2'] = 54, ['3'] = 55, ['4'] = 56, ['5'] = 57,           \
    ['6'] = 58, ['7'] = 59, ['8'] = 60, ['9'] = 61

static const uint8_t letters[256] = {LETTERS};

static uint8_t value_of(uint8_t c, uint8_t c62, uint8_t c63)
{
    if (c == c62) {
        return 62;
    }
    if (c == c63) {
        return 63;
    }
    uint8_t v = letters[c];
    return v == 0 && c != 'A' ? BAD : v;
}

/* Without padding. */
static bool decode(struct mp_str in, uint8_t c62, uint8_t c63, uint8_t *out, size_t *ret_n)
{
    size_t i = 0, n = 0;
    uint8_t bad = 0;
    for (; i + 4 <= in.n; i += 4) {
        uint8_t v[4];
        for (int k = 0; k < 4; k++) {
            v[k] = value_of((uint8_t)in.p[i + (size_t)k], c62, c63);
            bad |= v[k];
        }
        out[n++] = (uint8_t)(v[0] << 2 | v[1] >> 4);
        out[n++] = (uint8_t)(v[1] << 4 | v[2] >> 2);
        out[n++] = (uint8_t)(v[2] << 6 | v[3]);
    }
    size_t left = in.n - i;
    if (bad > 63 || left == 1) {
        return false;
    }
    if (left > 0) {
        uint8_t a = value_of((uint8_t)in.p[i], c62, c63);
        uint8_t b = value_of((uint8_t)in.p[i + 1], c62, c63);
        uint8_t c = left == 3 ? value_of((uint8_t)in.p[i + 2], c62, c63) : 0;
        /* Bits that carry nothing must be 0. */
        uint8_t unused = left == 3 ? c & 3 : b & 15;
        if ((a | b | c) > 63 || unused != 0) {
            return false;
        }
        out[n++] = (uint8_t)(a << 2 | b >> 4);
        if (left == 3) {
            out[n++] = (uint8_t)(b << 4 | c >> 2);
        }
    }
    *ret_n = n;
    return true;
}

bool mp_base64url_decode(struct mp_str in, uint8_t *out, size_t *ret_n)
{
    return decode(in, '-', '_', out, ret_n);
}

bool mp_base64_decode(struct mp_str in, uint8_t *out, size_t *ret_n)
{
    if (in.n % 4 != 0) {
        return false;
    }
    for (int i = 0; i < 2 && in.n > 0 && in.p[in.n - 1] == '='; i++) {
        in.n--;
    }
    return decode(in, '+', '/', out, ret_n);
}
