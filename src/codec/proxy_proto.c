/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "codec/proxy_proto.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"

#define V1_LINE_MAX 107
#define TLV_CRC32C  3

static const char v1_sign[] = "PROXY ";
static const uint8_t v2_sign[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                    0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

/* ---- version 1 ---- */

/* The next word of the line; n 0: none. */
static size_t word(const char **at, const char *end, char *out, size_t cap)
{
    const char *p = *at;
    size_t n = 0;
    while (p + n < end && p[n] != ' ') {
        n++;
    }
    if (n == 0 || n >= cap) {
        return 0;
    }
    memcpy(out, p, n);
    out[n] = '\0';
    *at = p + n + (p + n < end);
    return n;
}

static bool parse_port(const char *z, uint16_t *ret)
{
    unsigned v = 0;
    if (z[0] == '\0' || (z[0] == '0' && z[1] != '\0')) {
        return false;
    }
    for (; *z; z++) {
        if (*z < '0' || *z > '9' || (v = v * 10 + (unsigned)(*z - '0')) > 65535) {
            return false;
        }
    }
    *ret = (uint16_t)v;
    return true;
}

static bool parse_line(const char *p, const char *end, struct mp_proxy_header *ret)
{
    char family[8], from[48], to[48], port_from[8], port_to[8];
    if (word(&p, end, family, sizeof(family)) == 0) {
        return false;
    }
    if (strcmp(family, "UNKNOWN") == 0) {
        return true; /* the rest says nothing */
    }
    bool ip4 = strcmp(family, "TCP4") == 0;
    if (!ip4 && strcmp(family, "TCP6") != 0) {
        return false;
    }
    if (word(&p, end, from, sizeof(from)) == 0 || word(&p, end, to, sizeof(to)) == 0 ||
        word(&p, end, port_from, sizeof(port_from)) == 0 ||
        word(&p, end, port_to, sizeof(port_to)) == 0 || p != end || end[-1] == ' ') {
        return false;
    }
    int af = ip4 ? AF_INET : AF_INET6;
    ret->family = ip4 ? 4 : 6;
    return inet_pton(af, from, ret->from.ip) == 1 && inet_pton(af, to, ret->to.ip) == 1 &&
           parse_port(port_from, &ret->from.port) && parse_port(port_to, &ret->to.port);
}

static enum mp_proxy_status parse_v1(const char *p, size_t n, struct mp_proxy_header *ret,
                                     size_t *ret_used)
{
    const char *lf = memchr(p, '\n', MP_MIN(n, V1_LINE_MAX));
    if (lf == NULL) {
        return n >= V1_LINE_MAX ? MP_PROXY_BAD : MP_PROXY_MORE;
    }
    if (lf[-1] != '\r' || memchr(p, '\0', (size_t)(lf - p)) != NULL) {
        return MP_PROXY_BAD;
    }
    ret->version = 1;
    *ret_used = (size_t)(lf - p) + 1;
    return parse_line(p + sizeof(v1_sign) - 1, lf - 1, ret) ? MP_PROXY_OK : MP_PROXY_BAD;
}

/* ---- version 2 ---- */

static uint32_t crc32c(uint32_t crc, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++) {
            crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
        }
    }
    return crc;
}

/* TLVs: well formed, and a checksum that is there holds (its field counts as zero). */
static bool check_tlvs(const uint8_t *head, size_t from, size_t end)
{
    for (size_t at = from; at < end;) {
        if (end - at < 3) {
            return false;
        }
        size_t len = (size_t)head[at + 1] << 8 | head[at + 2];
        if (len > end - at - 3) {
            return false;
        }
        if (head[at] == TLV_CRC32C) {
            static const uint8_t zero[4];
            const uint8_t *sum = head + at + 3;
            if (len != 4) {
                return false;
            }
            uint32_t crc = crc32c(0xffffffffu, head, at + 3);
            crc = crc32c(crc, zero, 4);
            crc = ~crc32c(crc, sum + 4, end - at - 7);
            uint32_t want =
                (uint32_t)sum[0] << 24 | (uint32_t)sum[1] << 16 | (uint32_t)sum[2] << 8 | sum[3];
            if (crc != want) {
                return false;
            }
        }
        at += 3 + len;
    }
    return true;
}

static enum mp_proxy_status parse_v2(const uint8_t *p, size_t n, struct mp_proxy_header *ret,
                                     size_t *ret_used)
{
    if (n < 16) {
        return n >= 13 && p[12] >> 4 != 2 ? MP_PROXY_BAD : MP_PROXY_MORE;
    }
    unsigned version = p[12] >> 4, command = p[12] & 15, family = p[13] >> 4;
    size_t len = (size_t)p[14] << 8 | p[15];
    if (version != 2 || command > 1 || family > 3 || (p[13] & 15) > 2 || len > MP_PROXY_BODY_MAX) {
        return MP_PROXY_BAD;
    }
    if (n < 16 + len) {
        return MP_PROXY_MORE;
    }
    static const uint8_t sizes[] = {0, 12, 36, 216};
    size_t size = sizes[family], ip = family == 1 ? 4 : 16;
    if (command == 1 && len < size) {
        return MP_PROXY_BAD;
    }
    ret->version = 2;
    *ret_used = 16 + len;
    if (command == 0) {
        return MP_PROXY_OK; /* LOCAL: whatever stands there means nothing */
    }
    if (!check_tlvs(p, 16 + size, 16 + len)) {
        return MP_PROXY_BAD;
    }
    if (family == 1 || family == 2) {
        const uint8_t *a = p + 16;
        ret->family = family == 1 ? 4 : 6;
        memcpy(ret->from.ip, a, ip);
        memcpy(ret->to.ip, a + ip, ip);
        ret->from.port = (uint16_t)(a[2 * ip] << 8 | a[2 * ip + 1]);
        ret->to.port = (uint16_t)(a[2 * ip + 2] << 8 | a[2 * ip + 3]);
    }
    return MP_PROXY_OK;
}

enum mp_proxy_status mp_proxy_parse(const char *p, size_t n, struct mp_proxy_header *ret,
                                    size_t *ret_used)
{
    *ret = (struct mp_proxy_header){0};
    if (n == 0) {
        return MP_PROXY_MORE;
    }
    if (memcmp(p, v1_sign, MP_MIN(n, sizeof(v1_sign) - 1)) == 0) {
        return n < sizeof(v1_sign) - 1 ? MP_PROXY_MORE : parse_v1(p, n, ret, ret_used);
    }
    if (memcmp(p, v2_sign, MP_MIN(n, sizeof(v2_sign))) == 0) {
        return n < sizeof(v2_sign) ? MP_PROXY_MORE : parse_v2((const uint8_t *)p, n, ret, ret_used);
    }
    return MP_PROXY_NONE;
}

/* ---- writing ---- */

static size_t write_v1(const struct mp_proxy_header *h, char *out)
{
    char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
    if (h->family == 0) {
        return (size_t)snprintf(out, MP_PROXY_OUT_MAX, "PROXY UNKNOWN\r\n");
    }
    int af = h->family == 4 ? AF_INET : AF_INET6;
    inet_ntop(af, h->from.ip, from, sizeof(from));
    inet_ntop(af, h->to.ip, to, sizeof(to));
    return (size_t)snprintf(out, MP_PROXY_OUT_MAX, "PROXY TCP%u %s %s %u %u\r\n", h->family, from,
                            to, h->from.port, h->to.port);
}

static size_t write_v2(const struct mp_proxy_header *h, char *out)
{
    size_t ip = h->family == 4 ? 4 : h->family == 6 ? 16 : 0;
    size_t len = ip > 0 ? 2 * ip + 4 : 0;
    uint8_t *p = (uint8_t *)out;
    memcpy(p, v2_sign, 12);
    p[12] = h->family == 0 ? 0x20 : 0x21;
    p[13] = h->family == 4 ? 0x11 : h->family == 6 ? 0x21 : 0;
    p[14] = 0;
    p[15] = (uint8_t)len;
    if (ip > 0) {
        memcpy(p + 16, h->from.ip, ip);
        memcpy(p + 16 + ip, h->to.ip, ip);
        p[16 + 2 * ip] = (uint8_t)(h->from.port >> 8);
        p[17 + 2 * ip] = (uint8_t)h->from.port;
        p[18 + 2 * ip] = (uint8_t)(h->to.port >> 8);
        p[19 + 2 * ip] = (uint8_t)h->to.port;
    }
    return 16 + len;
}

size_t mp_proxy_write(const struct mp_proxy_header *h, char *out)
{
    return h->version == 1 ? write_v1(h, out) : write_v2(h, out);
}
