/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/names.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/map.h"
#include "base/mem.h"

struct mp_names {
    pthread_mutex_t lock;
    struct mp_map ids; /* name -> id + 1: a map has no NULL values */
    struct mp_arena arena;
};

struct mp_names *mp_names_new(void)
{
    struct mp_names *n = mp_xcalloc(1, sizeof(*n));
    pthread_mutex_init(&n->lock, NULL);
    mp_map_init(&n->ids);
    mp_arena_init(&n->arena, NULL, 0, &mp_block_source_heap, 4096, SIZE_MAX);
    return n;
}

struct mp_names *mp_names_free(struct mp_names *n)
{
    if (n != NULL) {
        mp_map_fini(&n->ids);
        mp_arena_fini(&n->arena);
        pthread_mutex_destroy(&n->lock);
        free(n);
    }
    return NULL;
}

uint32_t mp_names_id(struct mp_names *n, struct mp_str name)
{
    pthread_mutex_lock(&n->lock);
    uintptr_t id = (uintptr_t)mp_map_get(&n->ids, name);
    if (id == 0) {
        id = n->ids.n + 1;
        MP_ASSERT(id <= UINT32_MAX);
        struct mp_str copy = mp_arena_dup(&n->arena, name);
        MP_ASSERT(copy.p != NULL);
        mp_map_set(&n->ids, copy, (void *)id);
    }
    pthread_mutex_unlock(&n->lock);
    return (uint32_t)(id - 1);
}

uint32_t mp_names_count(struct mp_names *n)
{
    pthread_mutex_lock(&n->lock);
    uint32_t count = (uint32_t)n->ids.n;
    pthread_mutex_unlock(&n->lock);
    return count;
}
