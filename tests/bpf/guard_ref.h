/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The guard's meaning once more, in the plainest words, to hold the kernel programs against: bytes
 * by index, one function, no cleverness. Lists and windows are those of the tests. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "bpf/shared/guard.h"

#define REF_PASS_OTHER 100 /* not IP */
#define REF_PASS       101
#define REF_DENIED     102
#define REF_RATE       103
#define REF_SYN        104

struct ref_source {
    uint64_t key;
    uint8_t family;
    uint32_t packets, syns;
};
#define REF_SOURCES 65536
struct ref {
    uint32_t max_packets, max_syns;
    bool (*denied)(uint8_t family, const uint8_t *addr);
    bool (*allowed)(uint8_t family, const uint8_t *addr);
    struct ref_source *sources; /* REF_SOURCES */
};

static inline struct ref_source *ref_source(struct ref *r, uint8_t family, uint64_t key)
{
    uint64_t h = (key ^ family) * 0x9e3779b97f4a7c15u >> 48;
    for (;; h = (h + 1) % REF_SOURCES) {
        struct ref_source *s = &r->sources[h];
        if (s->family == 0) {
            s->family = family;
            s->key = key;
        }
        if (s->family == family && s->key == key) {
            return s;
        }
    }
}

static inline uint32_t ref_be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

struct ref_packet {
    uint8_t family;
    const uint8_t *src;
    bool syn;
};

/* REF_PASS, REF_PASS_OTHER or the reason for which it is malformed. out->family is set as soon as
 * the addresses are known. */
static inline int ref_parse(const uint8_t *b, uint32_t n, struct ref_packet *out)
{
    uint32_t at = 14, tags = 0;
    memset(out, 0, sizeof(*out));
    if (n < 14) {
        return MP_GUARD_ETH_SHORT;
    }
    uint32_t type = ref_be16(b + 12);
    while (tags < 2 && (type == 0x8100 || type == 0x88a8 || type == 0x9100)) {
        if (n < at + 4) {
            return MP_GUARD_ETH_SHORT;
        }
        type = ref_be16(b + at + 2);
        at += 4;
        tags++;
    }
    uint32_t proto, len; /* len: bytes of the layer above IP */
    bool later = false, fragment = false;
    if (type == 0x0800) {
        if (n < at + 20) {
            return MP_GUARD_IP4_SHORT;
        }
        uint32_t head = (b[at] & 15u) * 4, total = ref_be16(b + at + 2);
        if (b[at] >> 4 != 4 || head < 20) {
            return MP_GUARD_IP4_HEADER;
        }
        if (total < head || total > n - at) {
            return MP_GUARD_IP4_LENGTH;
        }
        proto = b[at + 9];
        uint32_t frag = ref_be16(b + at + 6) & 0x3fff;
        fragment = frag != 0;
        later = (frag & 0x1fff) != 0;
        if ((frag & 0x1fff) == 1 && proto == 6) {
            return MP_GUARD_TINY_FRAGMENT;
        }
        out->family = 4;
        out->src = b + at + 12;
        len = total - head;
        at += head;
    } else if (type == 0x86dd) {
        if (n < at + 40) {
            return MP_GUARD_IP6_SHORT;
        }
        if (b[at] >> 4 != 6) {
            return MP_GUARD_IP6_HEADER;
        }
        len = ref_be16(b + at + 4);
        proto = b[at + 6];
        if (len == 0 && proto == 0) {
            len = n - at - 40;
        }
        if (len > n - at - 40) {
            return MP_GUARD_IP6_LENGTH;
        }
        out->src = b + at + 8;
        at += 40;
        for (int i = 0; !later; i++) {
            static const uint8_t known[] = {0, 43, 44, 51, 60, 135, 139, 140};
            if (memchr(known, (int)proto, sizeof(known)) == NULL) {
                break;
            }
            if (i == MP_GUARD_EXT_MAX) {
                return MP_GUARD_IP6_CHAIN;
            }
            if (len < 8) {
                return MP_GUARD_IP6_EXT;
            }
            uint32_t size = proto == 44   ? 8
                            : proto == 51 ? (b[at + 1] + 2u) * 4
                                          : (b[at + 1] + 1u) * 8;
            if (size > len) {
                return MP_GUARD_IP6_EXT;
            }
            if (proto == 44) {
                uint32_t field = ref_be16(b + at + 2);
                fragment |= (field & 0xfff9) != 0;
                if (field >> 3 == 1 && b[at] == 6) {
                    return MP_GUARD_TINY_FRAGMENT;
                }
                later = field >> 3 != 0;
            }
            proto = b[at];
            at += size;
            len -= size;
        }
        out->family = 6;
    } else {
        return REF_PASS_OTHER;
    }
    if (later) {
        return REF_PASS;
    }
    if (proto == 6) {
        if (len < 20) {
            return MP_GUARD_TCP_SHORT;
        }
        uint32_t head = (b[at + 12] >> 4) * 4u;
        if (head < 20 || head > len) {
            return MP_GUARD_TCP_OFFSET;
        }
        uint8_t f = b[at + 13] & 0x3f;
        bool fin = f & 1, syn = f & 2, rst = f & 4, psh = f & 8, ack = f & 16, urg = f & 32;
        if (f == 0 || (syn && fin) || (syn && rst) || (fin && psh && urg && !ack && !syn && !rst)) {
            return MP_GUARD_TCP_FLAGS;
        }
        out->syn = syn && !ack;
    } else if (proto == 17) {
        if (len < 8) {
            return MP_GUARD_UDP_SHORT;
        }
        uint32_t ulen = ref_be16(b + at + 4);
        if (ulen < 8 || (ulen > len && !fragment)) {
            return MP_GUARD_UDP_LENGTH;
        }
    }
    return REF_PASS;
}

static inline int ref_judge(struct ref *r, const uint8_t *b, uint32_t n)
{
    struct ref_packet p;
    int rc = ref_parse(b, n, &p);
    bool is_allowed = p.family != 0 && r->allowed(p.family, p.src);
    if (p.family != 0 && r->denied(p.family, p.src) && !is_allowed) {
        return REF_DENIED;
    }
    if (rc != REF_PASS) {
        return rc;
    }
    uint64_t key = 0;
    memcpy(&key, p.src, p.family == 4 ? 4 : 8);
    struct ref_source *s = ref_source(r, p.family, key);
    bool over = s->packets >= r->max_packets;
    s->packets += !over;
    if (over && !is_allowed) {
        return REF_RATE;
    }
    if (p.syn) {
        over = s->syns >= r->max_syns;
        s->syns += !over;
        if (over && !is_allowed) {
            return REF_SYN;
        }
    }
    return REF_PASS;
}

static inline bool ref_passes(int verdict)
{
    return verdict == REF_PASS || verdict == REF_PASS_OTHER;
}
