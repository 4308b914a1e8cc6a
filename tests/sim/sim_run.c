/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "sim_run.h"
#include <string.h>

#define DEADLINE_MS (30 * 60 * 1000)

/* Half of the seeds must come out clean: every stream answered in full. */
enum { KIND_CLEAN, KIND_PEERS, KIND_CLEAN_TOO, KIND_ALL, KINDS };

const char *sim_run_kind(uint64_t seed)
{
    static const char *names[KINDS] = {"clean", "peer faults", "clean", "peer and network faults"};
    return names[seed % KINDS];
}

void sim_run_seed(const struct sim_run_opts *o, struct sim_result *ret)
{
    uint64_t kind = o->no_faults ? KIND_CLEAN : o->seed % KINDS;
    struct sim_world_opts wo = {
        .seed = o->seed,
        .n_conns = o->n_conns,
        .n_tunnels = o->n_conns / 8,
        .streams_max = o->streams_max,
        .body_max = o->body_max,
        .spread_ms = o->spread_ms,
        .peer_faults = kind == KIND_PEERS || kind == KIND_ALL,
        .net_faults = kind == KIND_ALL,
        .idle_close = kind == KIND_ALL,
        .calm = o->calm,
    };
    struct mp_sim_opts so;
    sim_world_faults(&wo, &so);
    mp_sim_begin(&so);
    struct sim_world w;
    sim_world_init(&w, &wo);
    void *subject = o->subject ? o->subject->start(&w) : NULL;
    sim_world_run(&w, DEADLINE_MS);
    uint64_t took_ms = mp_sim_now_ns() / 1000000;
    if (o->subject) {
        o->subject->stop(&w, subject);
    }
    *ret = (struct sim_result){
        .virtual_ms = took_ms,
        .body_bytes = w.body_bytes,
        .n_streams = w.n_streams,
        .ok = w.failures == 0,
    };
    memcpy(ret->outcomes, w.outcomes, sizeof(ret->outcomes));
    memcpy(ret->failure, w.first_failure, sizeof(ret->failure));
    sim_world_fini(&w);
    ret->hash = mp_sim_end();
}
