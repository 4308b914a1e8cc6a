/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The parts of the engine that run on a worker's thread. Private to core/engine*.c. */
#pragma once
#include "core/engine.h"

/* What a worker is told of a new snapshot. */
struct mp_adopt_listener {
    struct mp_listener_conf *conf;
    uint32_t n_fds; /* 0: the listener is there already */
    int fds[16];
};
struct mp_adoption {
    struct mp_snapshot *snap;
    uint32_t n;
    struct mp_adopt_listener *v;
};

struct mp_core_worker *mp_core_worker_new(struct mp_engine *e, uint32_t id, struct mp_loop *loop,
                                          uint64_t seed);
/* Ends and closes everything; the loop must turn a few times before the memory can be freed. */
void mp_core_worker_close(struct mp_core_worker *cw);
struct mp_core_worker *mp_core_worker_free(struct mp_core_worker *cw);
void mp_core_worker_adopt(struct mp_core_worker *cw, const struct mp_adoption *a);
void mp_core_worker_drain(struct mp_core_worker *cw);
/* Ends every connection at once. */
void mp_core_worker_cut(struct mp_core_worker *cw);
