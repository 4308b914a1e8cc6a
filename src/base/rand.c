/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/rand.h"
#include <endian.h>
#include <string.h>

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

/* Eight lower-case hex digits of v, most significant first, computed side by side in one word. */
static void put_hex(char *out, uint32_t v)
{
    uint64_t x = v;
    x = (x & 0xffff0000u) << 16 | (x & 0xffffu);
    x = (x & 0x0000ff000000ff00u) << 8 | (x & 0x000000ff000000ffu);
    x = (x & 0x00f000f000f000f0u) << 4 | (x & 0x000f000f000f000fu);
    uint64_t letters = (x + 0x0606060606060606u) >> 4 & 0x0101010101010101u;
    x += 0x3030303030303030u + letters * ('a' - '0' - 10);
    x = htobe64(x);
    memcpy(out, &x, sizeof(x));
}

void mp_rand_uuid(struct mp_rand *r, char out[36])
{
    uint64_t high = mp_rand_u64(r), low = mp_rand_u64(r);
    high = (high & ~0xf000ull) | 0x4000ull;          /* version 4 */
    low = (low & ~(3ull << 62)) | (uint64_t)2 << 62; /* variant 10 */
    char digits[32];
    put_hex(digits, (uint32_t)(high >> 32));
    put_hex(digits + 8, (uint32_t)high);
    put_hex(digits + 16, (uint32_t)(low >> 32));
    put_hex(digits + 24, (uint32_t)low);
    memcpy(out, digits, 8);
    memcpy(out + 9, digits + 8, 4);
    memcpy(out + 14, digits + 12, 4);
    memcpy(out + 19, digits + 16, 4);
    memcpy(out + 24, digits + 20, 12);
    out[8] = out[13] = out[18] = out[23] = '-';
}
