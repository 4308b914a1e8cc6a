/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/rand.h"

#include "base/assert.h"

static uint64_t rotl(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

void mp_rand_seed(struct mp_rand *r, uint64_t seed)
{
    /* SplitMix64 spreads the seed: neighbouring seeds give unrelated states, and never all zeros.
     */
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15ull;
        uint64_t z = seed;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ z >> 27) * 0x94d049bb133111ebull;
        r->s[i] = z ^ z >> 31;
    }
}

uint64_t mp_rand_u64(struct mp_rand *r)
{
    uint64_t *s = r->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint32_t mp_rand_below(struct mp_rand *r, uint32_t bound)
{
    MP_ASSERT(bound > 0);
    /* The high half of draw * bound is the result. The low half tells whether the draw lies in the
     * part of the range that would favour some results: 2^32 mod bound draws are refused. */
    uint32_t refuse = -bound % bound;
    for (;;) {
        uint64_t product = (mp_rand_u64(r) >> 32) * bound;
        if ((uint32_t)product >= refuse) {
            return (uint32_t)(product >> 32);
        }
    }
}

void mp_rand_uuid(struct mp_rand *r, char out[36])
{
    static const char hex[] = "0123456789abcdef";
    uint64_t word[2] = {mp_rand_u64(r), mp_rand_u64(r)};
    word[0] = (word[0] & ~0xf000ull) | 0x4000ull;            /* version 4 */
    word[1] = (word[1] & ~(3ull << 62)) | (uint64_t)2 << 62; /* variant 10 */
    int at = 0;
    for (int i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20) {
            out[at++] = '-';
        }
        out[at++] = hex[word[i / 16] >> (60 - 4 * (i % 16)) & 15];
    }
}
