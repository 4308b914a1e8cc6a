/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "io/worker.h"
#include <stdlib.h>

void mp_worker_init(struct mp_worker *w, uint32_t id, struct mp_loop *loop, uint64_t seed,
                    size_t blocks_max, void *mailbox_receiver)
{
    *w = (struct mp_worker){.id = id, .writer = id, .loop = loop};
    w->scratch = aligned_alloc(MP_CACHE_LINE, MP_SCRATCH_SIZE);
    if (!w->scratch) {
        abort();
    }
    mp_blocks_init(&w->blocks, blocks_max);
    mp_rand_seed(&w->rand, seed);
    mp_mailbox_init(&w->mailbox, loop, mailbox_receiver);
}

void mp_worker_fini(struct mp_worker *w)
{
    /* Messages own memory: what arrived last is still delivered. */
    mp_mailbox_drain(&w->mailbox);
    mp_blocks_fini(&w->blocks);
    free(w->scratch);
    w->scratch = NULL;
}
