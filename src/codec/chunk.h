/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Chunked transfer coding (RFC 9112 7.1), both ways. Strict: sizes are 1 to 16 hex digits without
 * sign, blank or prefix; lines end in CRLF; extensions are checked, bounded (per chunk 256 bytes,
 * 16 KiB per body) and dropped. Trailers are left to mp_h1_parse_trailers.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "codec/h1_parse.h"

struct mp_chunk_dec {
    uint64_t left; /* bytes left of the current chunk's data */
    uint32_t ext_total;
    uint16_t ext_line;
    uint8_t state;
    uint8_t digits;
};

void mp_chunk_dec_init(struct mp_chunk_dec *d);
/* Decodes in place: moves the payload found in buf[0..n) together at buf[0..*ret_payload).
 * *ret_used: input bytes consumed (all of them, unless the body ended or an error was met).
 * MP_H1_MORE: wants more input. MP_H1_OK: the last chunk's line has been consumed; the trailer
 * section starts at buf[*ret_used]. Else the reason. */
enum mp_h1_status mp_chunk_decode(struct mp_chunk_dec *d, char *buf, size_t n, size_t *ret_payload,
                                  size_t *ret_used);

/* "<hex>\r\n" of a chunk of n > 0 bytes; returns its length (at most 18). The data is followed by
 * CRLF. */
#define MP_CHUNK_HEAD_MAX 18
size_t mp_chunk_head(char out[MP_CHUNK_HEAD_MAX], uint64_t n);
#define MP_CHUNK_LAST "0\r\n\r\n"
