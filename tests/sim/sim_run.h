/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Runs one world from a seed. */
#pragma once
#include "sim_world.h"

/* What stands between clients and upstreams. */
struct sim_subject {
    const char *name;
    /* Sets w->opts.front and front_addr; clients start afterwards. */
    void *(*start)(struct sim_world *w);
    void (*stop)(struct sim_world *w, void *subject);
};

struct sim_run_opts {
    uint64_t seed;
    uint32_t n_conns, streams_max, body_max, spread_ms;
    bool calm, no_faults;
    const struct sim_subject *subject; /* NULL: clients talk to upstreams */
};
struct sim_result {
    uint64_t hash, virtual_ms, body_bytes;
    uint32_t n_streams, outcomes[SIM_OUTCOMES];
    bool ok;
    char failure[256];
};
void sim_run_seed(const struct sim_run_opts *o, struct sim_result *ret);
/* The kinds of faults that a seed brings. */
const char *sim_run_kind(uint64_t seed);
