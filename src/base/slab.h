/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Pool of equal cells for one thread: LIFO, so the cell that comes out is the warmest. Memory is
 * taken from the system in slabs and kept; the high-water mark is bounded by max_cells. Under
 * AddressSanitizer free cells are poisoned.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"

struct mp_slab_page;
struct mp_slab {
    void *free;
    struct mp_slab_page *pages;
    uint32_t cell_size;
    uint32_t per_page;
    uint32_t cells_used, cells_total, cells_max;
    uint32_t fresh_left; /* cells of the newest page that were never handed out */
    char *fresh;
};

/* cell_size is rounded up to 16; cells are aligned to 16, to 64 when cell_size is a multiple of 64.
 * cells_max 0: no limit. */
void mp_slab_init(struct mp_slab *s, size_t cell_size, size_t cells_max);
/* All cells must have been given back (asserted). */
void mp_slab_fini(struct mp_slab *s);
/* Uninitialised memory; NULL when cells_max is reached. */
void *mp_slab_get(struct mp_slab *s);
/* Bytes of all cells that were ever handed out. Any thread. */
size_t mp_slab_bytes_seen(const struct mp_slab *s);
void mp_slab_put(struct mp_slab *s, void *cell);

/* Size classes 1, 4, 16 and 64 KiB over four slabs: the block source of stream arenas and the
 * buffers of a worker. Requests above 64 KiB go to the heap (configuration may allow such heads).
 * One thread. */
#define MP_BLOCK_CLASSES 4
struct mp_blocks {
    struct mp_block_source src; /* pass &blocks->src to an arena */
    struct mp_slab cls[MP_BLOCK_CLASSES];
    size_t bytes_used; /* handed out now; other threads may read it (relaxed) */
    size_t bytes_max;  /* get returns NULL above this; 0: no limit */
};
void mp_blocks_init(struct mp_blocks *b, size_t bytes_max);
void mp_blocks_fini(struct mp_blocks *b);
/* Bytes that were handed out before and are free now. Any thread. */
size_t mp_blocks_bytes_free(const struct mp_blocks *b);
/* *size is rounded up to the class. NULL when bytes_max is reached. */
void *mp_blocks_get(struct mp_blocks *b, size_t *size);
void mp_blocks_put(struct mp_blocks *b, void *p, size_t size);
