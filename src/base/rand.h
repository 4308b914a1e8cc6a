/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* xoshiro256** (Blackman and Vigna), one state per owner: load balancing, jitter, sampling, request
 * ids. Not for keys or secrets. The seed comes from io/rand, so that a simulation replays.
 */
#pragma once
#include <stdint.h>

struct mp_rand {
    uint64_t s[4];
};
void mp_rand_seed(struct mp_rand *r, uint64_t seed);
uint64_t mp_rand_u64(struct mp_rand *r);
/* Uniform in [0, bound), bound > 0, without modulo bias. */
uint32_t mp_rand_below(struct mp_rand *r, uint32_t bound);
/* 36 bytes of lower-case RFC 9562 version 4 UUID, no NUL. */
void mp_rand_uuid(struct mp_rand *r, char out[36]);
