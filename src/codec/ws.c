/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "codec/ws.h"

#include <string.h>

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

/* ---- SHA-1 (FIPS 180-4): the handshake names it; nothing here depends on its strength ---- */

static uint32_t rol(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

static void sha1_block(uint32_t h[5], const uint8_t *p)
{
    uint32_t w[80];
    for (int i = 0; i < 16; i++, p += 4) {
        w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    }
    for (int i = 16; i < 80; i++) {
        w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    }
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                     : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                     : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                              : (b ^ c ^ d) + 0xca62c1d6;
        uint32_t t = rol(a, 5) + f + e + w[i];
        e = d;
        d = c;
        c = rol(b, 30);
        b = a;
        a = t;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

#define SHA1_MAX 183 /* three blocks with padding */
_Static_assert(MP_WS_KEY_MAX + sizeof(GUID) - 1 <= SHA1_MAX, "the text fits");

static void sha1(const char *text, size_t n, uint8_t ret[20])
{
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t buf[192] = {0};
    size_t blocks = (n + 9 + 63) / 64;
    memcpy(buf, text, n);
    buf[n] = 0x80;
    for (size_t i = 0; i < 4; i++) {
        buf[blocks * 64 - 1 - i] = (uint8_t)(n * 8 >> (8 * i));
    }
    for (size_t i = 0; i < blocks; i++) {
        sha1_block(h, buf + i * 64);
    }
    for (size_t i = 0; i < 20; i++) {
        ret[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
    }
}

static char *base64(const uint8_t *p, size_t n, char *w)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t bits = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) |
                        (i + 2 < n ? (uint32_t)p[i + 2] : 0);
        *w++ = alphabet[bits >> 18];
        *w++ = alphabet[bits >> 12 & 63];
        *w++ = i + 1 < n ? alphabet[bits >> 6 & 63] : '=';
        *w++ = i + 2 < n ? alphabet[bits & 63] : '=';
    }
    return w;
}

void mp_ws_key(const uint8_t random[16], char ret[MP_WS_KEY_N])
{
    (void)base64(random, 16, ret);
}

bool mp_ws_accept(struct mp_str key, char ret[MP_WS_ACCEPT_N])
{
    char text[SHA1_MAX];
    uint8_t digest[20];
    if (key.n > MP_WS_KEY_MAX) {
        return false;
    }
    if (key.n > 0) {
        memcpy(text, key.p, key.n);
    }
    memcpy(text + key.n, GUID, sizeof(GUID) - 1);
    sha1(text, key.n + sizeof(GUID) - 1, digest);
    (void)base64(digest, sizeof(digest), ret);
    return true;
}
