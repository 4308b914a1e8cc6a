/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "codec/chunk.h"
#include <string.h>
#include "codec/scan.h"

#define EXT_LINE_MAX  256
#define EXT_TOTAL_MAX (16 * 1024)
#define DIGITS_MAX    16

enum state {
    SIZE_FIRST, /* the first digit of a size */
    SIZE,
    EXT_NAME_FIRST, /* after ';' */
    EXT_NAME,
    EXT_VALUE_FIRST, /* after '=' */
    EXT_VALUE,
    EXT_QUOTED,
    EXT_QUOTED_PAIR, /* after a backslash */
    EXT_QUOTED_END,  /* after the closing quote */
    SIZE_LF,
    CHUNK_DATA,
    DATA_CR,
    DATA_LF,
    LAST,  /* the last chunk's line is behind us */
    FAILED /* the reason is in digits */
};

void mp_chunk_dec_init(struct mp_chunk_dec *d)
{
    *d = (struct mp_chunk_dec){.state = SIZE_FIRST};
}

/* After a complete item of the line: another extension, the line's end, or a fault. */
static enum mp_h1_status item_end(struct mp_chunk_dec *d, char c, enum mp_h1_status fault)
{
    if (c == '\r') {
        d->state = SIZE_LF;
        return MP_H1_OK;
    }
    if (c == ';') {
        d->state = EXT_NAME_FIRST;
        return MP_H1_OK;
    }
    return c == '\n' ? MP_H1_ERR_BARE_LF : fault;
}

/* Every byte from the first ';' of a line to its CR counts. */
static bool ext_fits(struct mp_chunk_dec *d)
{
    return ++d->ext_line <= EXT_LINE_MAX && ++d->ext_total <= EXT_TOTAL_MAX;
}

static enum mp_h1_status size_byte(struct mp_chunk_dec *d, char c)
{
    if (!mp_c_is(c, MP_C_HEX)) {
        if (d->state == SIZE_FIRST) {
            return MP_H1_ERR_BAD_CHUNK_SIZE;
        }
        enum mp_h1_status st = item_end(d, c, MP_H1_ERR_BAD_CHUNK_SIZE);
        return d->state != EXT_NAME_FIRST || ext_fits(d) ? st : MP_H1_ERR_BAD_CHUNK_EXT;
    }
    /* Nothing is near 2^63 bytes; a larger number is an attempt at an overflow somewhere. */
    if (d->digits == DIGITS_MAX || d->left > (INT64_MAX >> 4)) {
        return MP_H1_ERR_BAD_CHUNK_SIZE;
    }
    d->left = d->left << 4 | mp_c_hex(c);
    d->digits++;
    d->state = SIZE;
    return MP_H1_OK;
}

/* ";" token [ "=" ( token / quoted-string ) ], without the blanks that RFC 9112 7.1.1 calls bad. */
static enum mp_h1_status ext_byte(struct mp_chunk_dec *d, char c)
{
    switch (d->state) {
    case EXT_NAME_FIRST:
    case EXT_VALUE_FIRST:
        if (mp_c_is(c, MP_C_TCHAR)) {
            d->state++;
            return MP_H1_OK;
        }
        if (c == '"' && d->state == EXT_VALUE_FIRST) {
            d->state = EXT_QUOTED;
            return MP_H1_OK;
        }
        return c == '\n' ? MP_H1_ERR_BARE_LF : MP_H1_ERR_BAD_CHUNK_EXT;
    case EXT_NAME:
    case EXT_VALUE:
        if (mp_c_is(c, MP_C_TCHAR)) {
            return MP_H1_OK;
        }
        if (c == '=' && d->state == EXT_NAME) {
            d->state = EXT_VALUE_FIRST;
            return MP_H1_OK;
        }
        return item_end(d, c, MP_H1_ERR_BAD_CHUNK_EXT);
    case EXT_QUOTED:
        if (c == '"') {
            d->state = EXT_QUOTED_END;
        } else if (c == '\\') {
            d->state = EXT_QUOTED_PAIR;
        }
        return mp_c_is(c, MP_C_VALUE) ? MP_H1_OK : MP_H1_ERR_BAD_CHUNK_EXT;
    case EXT_QUOTED_PAIR:
        d->state = EXT_QUOTED;
        return mp_c_is(c, MP_C_VALUE) ? MP_H1_OK : MP_H1_ERR_BAD_CHUNK_EXT;
    default: /* EXT_QUOTED_END */
        return item_end(d, c, MP_H1_ERR_BAD_CHUNK_EXT);
    }
}

/* One byte of a chunk's line or of the CRLF after its data. */
static enum mp_h1_status line_byte(struct mp_chunk_dec *d, char c)
{
    enum mp_h1_status st;
    switch (d->state) {
    case SIZE_FIRST:
    case SIZE:
        return size_byte(d, c);
    case SIZE_LF:
        if (c != '\n') {
            return MP_H1_ERR_BARE_CR;
        }
        d->state = d->left > 0 ? CHUNK_DATA : LAST;
        d->digits = 0;
        d->ext_line = 0;
        return MP_H1_OK;
    case DATA_CR:
        d->state = DATA_LF;
        return c == '\r' ? MP_H1_OK : MP_H1_ERR_BAD_CHUNK_END;
    case DATA_LF:
        d->state = SIZE_FIRST;
        return c == '\n' ? MP_H1_OK : MP_H1_ERR_BAD_CHUNK_END;
    default:
        st = ext_byte(d, c);
        if (st == MP_H1_OK && d->state != SIZE_LF && !ext_fits(d)) {
            return MP_H1_ERR_BAD_CHUNK_EXT;
        }
        return st;
    }
}

enum mp_h1_status mp_chunk_decode(struct mp_chunk_dec *d, char *buf, size_t n, size_t *ret_payload,
                                  size_t *ret_used)
{
    enum mp_h1_status st = MP_H1_OK;
    size_t at = 0, out = 0;
    while (at < n && d->state < LAST) {
        if (d->state == CHUNK_DATA) {
            size_t take = MP_MIN(d->left, n - at);
            if (out != at) {
                memmove(buf + out, buf + at, take);
            }
            out += take;
            at += take;
            d->left -= take;
            d->state = d->left > 0 ? CHUNK_DATA : DATA_CR;
            continue;
        }
        st = line_byte(d, buf[at]);
        if (st != MP_H1_OK) {
            d->state = FAILED;
            d->digits = (uint8_t)st;
            break;
        }
        at++;
    }
    *ret_payload = out;
    *ret_used = at;
    if (d->state == FAILED) {
        return (enum mp_h1_status)d->digits;
    }
    return d->state == LAST ? MP_H1_OK : MP_H1_MORE;
}

size_t mp_chunk_head(char out[MP_CHUNK_HEAD_MAX], uint64_t n)
{
    size_t digits = n ? (size_t)(67 - __builtin_clzll(n)) / 4 : 1;
    for (size_t i = digits; i-- > 0; n >>= 4) {
        out[i] = "0123456789abcdef"[n & 15];
    }
    out[digits] = '\r';
    out[digits + 1] = '\n';
    return digits + 2;
}
