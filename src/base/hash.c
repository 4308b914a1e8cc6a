/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* SipHash-c-d after Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012), with c = 1
 * compression round a word and d = 3 finalisation rounds: the choice of the authors for hash
 * tables, where the attacker does not see the hash values.
 */
#include "base/hash.h"

#include <endian.h>

#include "base/assert.h"

static uint64_t key0, key1;
static bool key_set;

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 = rotl(s->v0, 32) + s->v3;
    s->v2 += s->v1;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 = rotl(s->v2, 32);
}

/* Each byte that is an ASCII upper-case letter gets bit 0x20. The sums cannot carry from one byte
 * into the next, because the high bits are masked off first. */
static inline uint64_t lower8(uint64_t w)
{
    const uint64_t ones = 0x0101010101010101ull;
    uint64_t low7 = w & (ones * 0x7f);
    uint64_t ge_a = low7 + ones * (0x80 - 'A');
    uint64_t gt_z = low7 + ones * (0x7f - 'Z');
    uint64_t upper = (ge_a & ~gt_z & ~w) & (ones * 0x80);
    return w | upper >> 2;
}

static inline uint64_t load_le(const unsigned char *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof(w));
    return le64toh(w);
}

static inline uint64_t sip13(const unsigned char *p, size_t n, bool fold)
{
    MP_ASSERT(key_set);
    struct sip s = {key0 ^ 0x736f6d6570736575ull, key1 ^ 0x646f72616e646f6dull,
                    key0 ^ 0x6c7967656e657261ull, key1 ^ 0x7465646279746573ull};
    size_t left = n;
    for (; left >= 8; p += 8, left -= 8) {
        uint64_t w = fold ? lower8(load_le(p)) : load_le(p);
        s.v3 ^= w;
        sip_round(&s);
        s.v0 ^= w;
    }
    uint64_t w = 0;
    for (size_t i = 0; i < left; i++) {
        w |= (uint64_t)p[i] << (8 * i);
    }
    w = (fold ? lower8(w) : w) | (uint64_t)n << 56;
    s.v3 ^= w;
    sip_round(&s);
    s.v0 ^= w;
    s.v2 ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

void mp_hash_set_key(uint64_t k0, uint64_t k1)
{
    key0 = k0;
    key1 = k1;
    key_set = true;
}

uint64_t mp_hash(const void *p, size_t n)
{
    return sip13(p, n, false);
}

uint64_t mp_hash_lower(struct mp_str s)
{
    return sip13((const unsigned char *)s.p, s.n, true);
}

uint64_t mp_hash_fnv(uint64_t seed, const void *p, size_t n)
{
    const unsigned char *bytes = p;
    for (size_t i = 0; i < n; i++) {
        seed = (seed ^ bytes[i]) * 0x100000001b3ull;
    }
    return seed;
}
