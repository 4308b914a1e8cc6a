/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Randomness from outside, seeded. */
#include <string.h>
#include "io/entropy.h"
#include "io/sim_int.h"

uint64_t mp_entropy_u64(void)
{
    MP_ASSERT(sim.active);
    return mp_rand_u64(&sim.ent);
}

void mp_entropy(void *out, size_t n)
{
    char *at = out;
    while (n > 0) {
        uint64_t word = mp_entropy_u64();
        size_t part = MP_MIN(n, sizeof(word));
        memcpy(at, &word, part);
        at += part;
        n -= part;
    }
}
