/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/hash.h"
#include "t.h"

/* SipHash-1-3, key 00 01 .. 0f, message 00 01 .. n-1: computed with a second implementation, which
 * was checked against the published SipHash-2-4 vector and against the hash of another language's
 * run time (SipHash-1-3 with key 0, lengths 1 to 39). */
static void known_answers(void)
{
    unsigned char m[64];
    for (int i = 0; i < 64; i++) {
        m[i] = (unsigned char)i;
    }
    static const struct {
        size_t n;
        uint64_t hash;
    } cases[] = {
        {0, 0xabac0158050fc4dc},  {1, 0xc9f49bf37d57ca93},  {7, 0xd3927d989bb11140},
        {8, 0x369095118d299a8e},  {9, 0x25a48eb36c063de4},  {15, 0xd320d86d2a519956},
        {16, 0xcc4fdd1a7d908b66}, {63, 0x9d199062b7bbb3a8},
    };
    mp_hash_set_key(0x0706050403020100, 0x0f0e0d0c0b0a0908);
    for (size_t i = 0; i < MP_COUNTOF(cases); i++) {
        T_OK(mp_hash(m, cases[i].n) == cases[i].hash);
    }
    T_OK(mp_hash(NULL, 0) == cases[0].hash);
    mp_hash_set_key(0, 0);
    T_OK(mp_hash("a", 1) == 0x407448d2b89b1813);
    T_OK(mp_hash("marchproxy", 10) == 0x23ade3e8ce392d99);
    T_OK(mp_hash("The quick brown fox jumps over the lazy dog", 43) == 0x8df676d3d00c451e);
}

static void lower(void)
{
    mp_hash_set_key(1, 2);
    /* Every byte in every position of a word and of the rest. */
    for (int c = 0; c < 256; c++) {
        for (size_t at = 0; at < 13; at++) {
            char raw[13], low[13];
            memset(raw, 'Q', sizeof(raw));
            memset(low, 'q', sizeof(low));
            raw[at] = (char)c;
            low[at] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
            T_OK(mp_hash_lower(mp_str(raw, 13)) == mp_hash(low, 13));
        }
    }
    T_OK(mp_hash_lower(mp_str(NULL, 0)) == mp_hash("", 0));
    T_OK(mp_hash_lower(MP_STR("Host")) == mp_hash_lower(MP_STR("hOST")));
    T_OK(mp_hash("Host", 4) != mp_hash("host", 4));
}

static void fnv(void)
{
    T_OK(mp_hash_fnv(MP_FNV_SEED, "", 0) == MP_FNV_SEED);
    T_OK(mp_hash_fnv(MP_FNV_SEED, "a", 1) == 0xaf63dc4c8601ec8c);
    T_OK(mp_hash_fnv(MP_FNV_SEED, "foobar", 6) == 0x85944171f73967e8);
    uint64_t parts = mp_hash_fnv(mp_hash_fnv(MP_FNV_SEED, "foo", 3), "bar", 3);
    T_OK(parts == 0x85944171f73967e8);
}

int main(void)
{
    T_RUN(known_answers);
    T_RUN(lower);
    T_RUN(fnv);
    return T_DONE();
}
