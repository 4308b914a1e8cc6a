/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Frames for the tests of the kernel programs, piece by piece: each put_* appends. */
#pragma once
#include <stdint.h>
#include <string.h>

#define FRAME_MAX 1600

struct frame {
    uint8_t b[FRAME_MAX];
    uint32_t n;
    uint32_t l3, l4; /* where these begin */
    uint8_t family;
};

static inline void put(struct frame *f, const void *p, uint32_t n)
{
    memcpy(f->b + f->n, p, n);
    f->n += n;
}
static inline void put8(struct frame *f, uint32_t v)
{
    f->b[f->n++] = (uint8_t)v;
}
static inline void put16(struct frame *f, uint32_t v)
{
    put8(f, v >> 8);
    put8(f, v & 255);
}
static inline void put32(struct frame *f, uint32_t v)
{
    put16(f, v >> 16);
    put16(f, v & 65535);
}
static inline void set16(struct frame *f, uint32_t at, uint32_t v)
{
    f->b[at] = (uint8_t)(v >> 8);
    f->b[at + 1] = (uint8_t)v;
}

static inline void put_eth(struct frame *f)
{
    memset(f, 0, sizeof(*f));
    put(f, "\x02\0\0\0\0\x01\x02\0\0\0\0\x02", 12);
}
static inline void put_tag(struct frame *f, uint32_t tpid)
{
    put16(f, tpid);
    put16(f, 100);
}
/* Lengths are filled in by end_ip. options: bytes, a multiple of 4. */
static inline void put_ip4(struct frame *f, uint32_t src, uint32_t proto, uint32_t options,
                           uint32_t frag)
{
    put16(f, 0x0800);
    f->l3 = f->n;
    f->family = 4;
    put8(f, 0x40 + 5 + options / 4);
    put8(f, 0);
    put32(f, 0);
    put16(f, frag);
    put8(f, 64);
    put8(f, proto);
    put16(f, 0);
    put32(f, src);
    put32(f, 0x0a630001); /* 10.99.0.1 */
    for (uint32_t i = 0; i < options; i++) {
        put8(f, 1);
    }
    f->l4 = f->n;
}
static inline void put_ip6(struct frame *f, uint64_t net, uint64_t host, uint32_t next)
{
    put16(f, 0x86dd);
    f->l3 = f->n;
    f->family = 6;
    put32(f, 0x60000000);
    put16(f, 0);
    put8(f, next);
    put8(f, 64);
    for (int i = 56; i >= 0; i -= 8) {
        put8(f, (uint32_t)(net >> i) & 255);
    }
    for (int i = 56; i >= 0; i -= 8) {
        put8(f, (uint32_t)(host >> i) & 255);
    }
    put(f, "\xfd\x99\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
    f->l4 = f->n;
}
/* units: of 8 bytes beyond the first. */
static inline void put_ext(struct frame *f, uint32_t kind, uint32_t next, uint32_t units)
{
    put8(f, next);
    put8(f, kind == 51 ? units * 2 : kind == 44 ? 0 : units);
    uint32_t size = kind == 44 ? 8 : (units + 1) * 8;
    while (size-- > 2) {
        put8(f, 0);
    }
    f->l4 = f->n;
}
static inline void put_frag6(struct frame *f, uint32_t next, uint32_t offset, int more)
{
    put8(f, next);
    put8(f, 0);
    put16(f, offset << 3 | (more ? 1 : 0));
    put32(f, 7);
    f->l4 = f->n;
}
static inline void put_tcp(struct frame *f, uint32_t dport, uint32_t flags, uint32_t options)
{
    put16(f, 40000);
    put16(f, dport);
    put32(f, 1000);
    put32(f, 0);
    put8(f, (5 + options / 4) << 4);
    put8(f, flags);
    put16(f, 65535);
    put32(f, 0);
    for (uint32_t i = 0; i < options; i++) {
        put8(f, 1);
    }
}
static inline void put_udp(struct frame *f, uint32_t dport, uint32_t payload)
{
    put16(f, 40000);
    put16(f, dport);
    put16(f, 8 + payload);
    put16(f, 0);
}
static inline void put_text(struct frame *f, const char *text)
{
    put(f, text, (uint32_t)strlen(text));
}
static inline void end_ip(struct frame *f)
{
    if (f->family == 4) {
        set16(f, f->l3 + 2, f->n - f->l3);
    } else {
        set16(f, f->l3 + 4, f->n - f->l3 - 40);
    }
}
#define TCP_FIN 1
#define TCP_SYN 2
#define TCP_RST 4
#define TCP_PSH 8
#define TCP_ACK 16
#define TCP_URG 32
