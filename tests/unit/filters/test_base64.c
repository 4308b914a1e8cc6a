/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "filters/base64.h"
#include "t.h"

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/* The encoder that the tests trust: straight from the table of RFC 4648. */
static size_t encode(const uint8_t *in, size_t n, char c62, char c63, int pad, char *out)
{
    size_t k = 0;
    char table[65];
    snprintf(table, sizeof(table), "%s%c%c", letters, c62, c63);
    for (size_t bit = 0; bit < n * 8; bit += 6) {
        unsigned v = 0;
        for (size_t b = bit; b < bit + 6; b++) {
            v = v << 1 | (b < n * 8 ? in[b / 8] >> (7 - b % 8) & 1u : 0u);
        }
        out[k++] = table[v];
    }
    while (pad && k % 4) {
        out[k++] = '=';
    }
    return k;
}

static void round_trips(void)
{
    uint8_t in[70], out[MP_BASE64_ROOM(200)];
    char text[200];
    uint32_t x = 1;
    for (size_t n = 0; n < sizeof(in); n++) {
        for (int round = 0; round < 20; round++) {
            for (size_t i = 0; i < n; i++) {
                in[i] = (uint8_t)((x = x * 1664525u + 1013904223u) >> 24);
            }
            size_t got = 999;
            size_t k = encode(in, n, '-', '_', 0, text);
            T_OK(mp_base64url_decode(mp_str(text, k), out, &got));
            T_EQ(got, n);
            T_OK(memcmp(out, in, n) == 0);
            k = encode(in, n, '+', '/', 1, text);
            T_OK(mp_base64_decode(mp_str(text, k), out, &got));
            T_EQ(got, n);
            T_OK(memcmp(out, in, n) == 0);
        }
    }
}

/* Of all texts of up to three letters exactly those that an encoder makes are accepted. */
static void only_canonical(void)
{
    uint8_t out[16];
    char again[16];
    for (int a = 0; a < 256; a++) {
        for (int b = 0; b < 256; b++) {
            char t[2] = {(char)a, (char)b};
            size_t n;
            if (mp_base64url_decode(mp_str(t, 2), out, &n)) {
                T_EQ(n, 1);
                T_EQ(encode(out, n, '-', '_', 0, again), 2);
                T_OK(memcmp(again, t, 2) == 0);
            }
            for (int c = 0; c < 256; c += 3) {
                char u[3] = {(char)a, (char)b, (char)c};
                if (mp_base64url_decode(mp_str(u, 3), out, &n)) {
                    T_EQ(n, 2);
                    T_EQ(encode(out, n, '-', '_', 0, again), 3);
                    T_OK(memcmp(again, u, 3) == 0);
                }
            }
        }
    }
}

static void refused(void)
{
    static const char *const url[] = {"A",    "AAAAA", "AA=",   "AA==", "AAA=", "A A", "AA\n",
                                      "+AAA", "/AAA",  "AAAA=", "====", "AB",   "AAB", "\xc3\xa9"};
    static const char *const plain[] = {
        "A",    "AA",   "AAA",  "AA=",   "A===",     "====",     "=",    "-AAA",  "_AAA",
        "AB==", "AAB=", "AA=A", "AAAA=", "AAAA====", "AA==AAAA", "A=AA", "AA==\n"};
    uint8_t out[64];
    size_t n;
    for (size_t i = 0; i < MP_COUNTOF(url); i++) {
        T_OK(!mp_base64url_decode(mp_str_c(url[i]), out, &n));
    }
    for (size_t i = 0; i < MP_COUNTOF(plain); i++) {
        T_OK(!mp_base64_decode(mp_str_c(plain[i]), out, &n));
    }
    T_OK(mp_base64_decode(MP_STR(""), out, &n) && n == 0);
    T_OK(mp_base64url_decode(MP_STR(""), out, &n) && n == 0);
}

int main(void)
{
    T_RUN(round_trips);
    T_RUN(only_canonical);
    T_RUN(refused);
    return T_DONE();
}
