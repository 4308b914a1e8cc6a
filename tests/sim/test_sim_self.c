/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The simulation and its peers against each other, nothing in between: what they report later about
 * the proxy is worth only what they report about an empty wire.
 */
#include <inttypes.h>
#include "sim_run.h"
#include "t.h"

#define SEEDS 200

static struct sim_run_opts opts_of(uint64_t seed)
{
    return (struct sim_run_opts){
        .seed = seed, .n_conns = 40, .streams_max = 6, .body_max = 200000, .spread_ms = 300};
}

static void seeds_lose_no_byte(void)
{
    uint64_t streams = 0, bytes = 0, ok = 0, broken = 0, abandoned = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct sim_run_opts o = opts_of(seed);
        struct sim_result r;
        sim_run_seed(&o, &r);
        if (!r.ok) {
            printf("# seed %" PRIu64 " (%s): %s\n", seed, sim_run_kind(seed), r.failure);
        }
        T_OK(r.ok);
        T_EQ(r.outcomes[SIM_LOCAL], 0);
        if (seed % 2 == 0) {
            T_EQ(r.outcomes[SIM_OK], r.n_streams);
        }
        streams += r.n_streams;
        bytes += r.body_bytes;
        ok += r.outcomes[SIM_OK];
        broken += r.outcomes[SIM_BROKEN];
        abandoned += r.outcomes[SIM_ABANDONED];
    }
    printf("# %" PRIu64 " streams (%" PRIu64 " ok, %" PRIu64 " broken, %" PRIu64
           " abandoned), %" PRIu64 " body bytes verified\n",
           streams, ok, broken, abandoned, bytes);
    /* Faults have happened at all, and most streams survive them. */
    T_OK(broken > 0);
    T_OK(abandoned > 0);
    T_OK(ok > streams * 8 / 10);
}

static void a_seed_replays(void)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct sim_run_opts o = opts_of(seed);
        struct sim_result a, b;
        sim_run_seed(&o, &a);
        sim_run_seed(&o, &b);
        T_OK(a.hash == b.hash);
        T_OK(a.virtual_ms == b.virtual_ms);
        T_OK(a.body_bytes == b.body_bytes);
    }
}

static void seeds_differ(void)
{
    uint64_t hashes[20];
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct sim_run_opts o = opts_of(seed);
        struct sim_result r;
        sim_run_seed(&o, &r);
        hashes[seed] = r.hash;
        for (uint64_t i = 0; i < seed; i++) {
            T_OK(hashes[i] != hashes[seed]);
        }
    }
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    T_RUN(seeds_lose_no_byte);
    T_RUN(a_seed_replays);
    T_RUN(seeds_differ);
    return T_DONE();
}
