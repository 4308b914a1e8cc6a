/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What one thread has of its own; passed as an argument, never found through thread-local storage,
 * so that the simulation can run many workers in one thread.
 */
#pragma once
#include "base/rand.h"
#include "base/slab.h"
#include "io/loop.h"
#include "io/mailbox.h"

/* One recv of a connection goes here; what is not consumed at once is copied out. */
#define MP_SCRATCH_SIZE (64 * 1024)

struct mp_worker {
    uint32_t id;     /* 0 .. n-1; the main thread is n */
    uint32_t writer; /* index for stat blocks: = id */
    struct mp_loop *loop;
    struct mp_mailbox mailbox;
    struct mp_blocks blocks; /* buffers and stream arenas */
    struct mp_rand rand;
    char *scratch;   /* MP_SCRATCH_SIZE bytes */
    uint64_t thread; /* pthread id of the owner once it runs, for asserts and the watchdog */
};
/* seed: for rand. blocks_max: bytes, 0 without limit. */
void mp_worker_init(struct mp_worker *w, uint32_t id, struct mp_loop *loop, uint64_t seed,
                    size_t blocks_max, void *mailbox_receiver);
void mp_worker_fini(struct mp_worker *w);
