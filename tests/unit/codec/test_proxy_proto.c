/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/str.h"
#include "codec/proxy_proto.h"
#include "unit/t.h"

/* In a buffer of exactly n bytes, and of every shorter length: MORE, and never more than that. */
static enum mp_proxy_status parse(const char *p, size_t n, struct mp_proxy_header *h, size_t *used)
{
    enum mp_proxy_status st = MP_PROXY_MORE;
    for (size_t k = 0; k <= n; k++) {
        char *copy = malloc(k + 1);
        memcpy(copy + 1, p, k);
        st = mp_proxy_parse(copy + 1, k, h, used);
        free(copy);
        if (st != MP_PROXY_MORE) {
            return k == n || st != MP_PROXY_OK ? st : MP_PROXY_OK;
        }
    }
    return st;
}

static enum mp_proxy_status line(const char *z)
{
    struct mp_proxy_header h;
    size_t used;
    return parse(z, strlen(z), &h, &used);
}

static void test_v1(void)
{
    struct mp_proxy_header h;
    size_t used = 0;
    static const char text[] = "PROXY TCP4 1.2.3.4 5.6.7.8 65535 443\r\n";
    T_EQ(parse(text, sizeof(text) - 1, &h, &used), MP_PROXY_OK);
    T_EQ(used, sizeof(text) - 1);
    T_EQ(h.family, 4);
    T_EQ(h.version, 1);
    T_OK(memcmp(h.from.ip, "\1\2\3\4", 4) == 0);
    T_OK(memcmp(h.to.ip, "\5\6\7\10", 4) == 0);
    T_EQ(h.from.port, 65535);
    T_EQ(h.to.port, 443);
    T_EQ(line("PROXY TCP6 ::1 2001:db8::1 1 2\r\n"), MP_PROXY_OK);
    T_EQ(line("PROXY UNKNOWN\r\n"), MP_PROXY_OK);
    T_EQ(line("PROXY UNKNOWN ffff:f...f:ffff 65535 65535\r\n"), MP_PROXY_OK);
}

static void test_v1_bad(void)
{
    static const char *const bad[] = {
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
        "PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n",
        "PROXY TCP4 ::1 ::2 1 2\r\n",
        "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n",
        "PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        T_EQ(line(bad[i]), MP_PROXY_BAD);
    }
    /* 107 bytes are the longest line. */
    char text[120] = "PROXY UNKNOWN ";
    memset(text + 14, 'a', 105 - 14);
    memcpy(text + 105, "\r\n", 3);
    T_EQ(line(text), MP_PROXY_OK);
    memset(text + 14, 'a', 106 - 14);
    memcpy(text + 106, "\r\n", 3);
    T_EQ(line(text), MP_PROXY_BAD);
    T_EQ(line("GET / HTTP/1.1\r\n"), MP_PROXY_NONE);
    T_EQ(line("PRO"), MP_PROXY_MORE);
}

static const char sign[] = "\r\n\r\n\0\r\nQUIT\n";

static size_t v2(char *out, uint8_t command, uint8_t family, const char *body, size_t n)
{
    memcpy(out, sign, 12);
    out[12] = (char)(0x20 | command);
    out[13] = (char)family;
    out[14] = (char)(n >> 8);
    out[15] = (char)n;
    memcpy(out + 16, body, n);
    return 16 + n;
}

static void test_v2(void)
{
    char out[8192], body[4200] = "\1\2\3\4\5\6\7\10\0\1\1\2";
    struct mp_proxy_header h;
    size_t used = 0;
    T_EQ(parse(out, v2(out, 1, 0x11, body, 12), &h, &used), MP_PROXY_OK);
    T_EQ(used, 28);
    T_EQ(h.family, 4);
    T_EQ(h.from.port, 1);
    T_EQ(h.to.port, 258);
    T_EQ(parse(out, v2(out, 1, 0x11, body, 11), &h, &used), MP_PROXY_BAD);
    T_EQ(parse(out, v2(out, 1, 0x21, body, 36), &h, &used), MP_PROXY_OK);
    T_EQ(h.family, 6);
    T_EQ(parse(out, v2(out, 1, 0x21, body, 35), &h, &used), MP_PROXY_BAD);
    T_EQ(parse(out, v2(out, 0, 0, body, 0), &h, &used), MP_PROXY_OK);
    T_EQ(h.family, 0);
    T_EQ(parse(out, v2(out, 2, 0x11, body, 12), &h, &used), MP_PROXY_BAD);
    T_EQ(parse(out, v2(out, 1, 0x41, body, 12), &h, &used), MP_PROXY_BAD);
    T_EQ(parse(out, v2(out, 1, 0x13, body, 12), &h, &used), MP_PROXY_BAD);
    /* TLVs: a whole one, one that says more than there is, the longest header. */
    memcpy(body + 12, "\4\0\1x", 4);
    T_EQ(parse(out, v2(out, 1, 0x11, body, 16), &h, &used), MP_PROXY_OK);
    body[14] = 2;
    T_EQ(parse(out, v2(out, 1, 0x11, body, 16), &h, &used), MP_PROXY_BAD);
    memset(body + 12, 0, sizeof(body) - 12);
    body[12] = 4;
    body[13] = (char)((4096 - 15) >> 8);
    body[14] = (char)((4096 - 15) & 255);
    T_EQ(mp_proxy_parse(out, v2(out, 1, 0x11, body, 4096), &h, &used), MP_PROXY_OK);
    T_EQ(mp_proxy_parse(out, v2(out, 1, 0x11, body, 4097), &h, &used), MP_PROXY_BAD);
    out[12] = 0x11;
    T_EQ(mp_proxy_parse(out, 16, &h, &used), MP_PROXY_BAD);
}

static void test_checksum(void)
{
    /* "123456789" has the checksum e3069283; here that of a whole header is found by trying. */
    char out[64], body[64] = "\1\2\3\4\5\6\7\10\0\1\1\2\3\0\4";
    struct mp_proxy_header h;
    size_t used;
    T_EQ(parse(out, v2(out, 1, 0x11, body, 19), &h, &used), MP_PROXY_BAD);
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < 35; i++) {
        crc ^= (uint8_t)out[i];
        for (int k = 0; k < 8; k++) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
        }
    }
    crc = ~crc;
    for (int i = 0; i < 4; i++) {
        body[15 + i] = (char)(crc >> (24 - 8 * i));
    }
    T_EQ(parse(out, v2(out, 1, 0x11, body, 19), &h, &used), MP_PROXY_OK);
    body[0] ^= 1;
    T_EQ(parse(out, v2(out, 1, 0x11, body, 19), &h, &used), MP_PROXY_BAD);
}

static void test_write(void)
{
    for (unsigned version = 1; version <= 2; version++) {
        for (unsigned family = 0; family <= 6; family += family == 0 ? 4 : 2) {
            struct mp_proxy_header h = {.version = (uint8_t)version, .family = (uint8_t)family}, r;
            char out[MP_PROXY_OUT_MAX];
            size_t used = 0;
            memset(h.from.ip, family ? 0xfe : 0, family == 4 ? 4 : 16);
            memset(h.to.ip, family ? 0xab : 0, family == 4 ? 4 : 16);
            h.from.port = family ? 65535 : 0;
            h.to.port = family ? 65534 : 0;
            size_t n = mp_proxy_write(&h, out);
            T_OK(n <= MP_PROXY_OUT_MAX);
            T_EQ(parse(out, n, &r, &used), MP_PROXY_OK);
            T_EQ(used, n);
            T_OK(memcmp(&h, &r, sizeof(h)) == 0);
        }
    }
}

int main(void)
{
    T_RUN(test_v1);
    T_RUN(test_v1_bad);
    T_RUN(test_v2);
    T_RUN(test_checksum);
    T_RUN(test_write);
    return T_DONE();
}
