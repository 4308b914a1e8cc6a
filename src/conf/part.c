/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Parts of a model. Most clusters fit into the block that comes with the part. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "conf/model.h"

#define FIRST_BLOCK 1536
#define NEXT_BLOCK  (8 * 1024)

static uint64_t alive, bytes; /* atomic */

static void *block_get(struct mp_block_source *src, size_t *size)
{
    void *p = mp_block_source_heap.get(src, size);
    __atomic_add_fetch(&bytes, *size, __ATOMIC_RELAXED);
    return p;
}

static void block_put(struct mp_block_source *src, void *block, size_t size)
{
    __atomic_sub_fetch(&bytes, size, __ATOMIC_RELAXED);
    mp_block_source_heap.put(src, block, size);
}

static struct mp_block_source blocks = {block_get, block_put};

static void part_destroy(struct mp_obj *o)
{
    struct mp_conf_part *p = MP_CONTAINER_OF(o, struct mp_conf_part, obj);
    mp_arena_fini(&p->arena);
    explicit_bzero(p + 1, FIRST_BLOCK);
    mp_obj_fini(o);
    __atomic_sub_fetch(&alive, 1, __ATOMIC_RELAXED);
    __atomic_sub_fetch(&bytes, sizeof(*p) + FIRST_BLOCK, __ATOMIC_RELAXED);
    free(p);
}
static const struct mp_obj_ops part_ops = {"part", part_destroy};

struct mp_conf_part *mp_conf_part_new(void)
{
    struct mp_conf_part *p = mp_xcalloc(1, sizeof(*p) + FIRST_BLOCK);
    mp_obj_init(&p->obj, &part_ops, MP_STR(""), 0, 0);
    mp_arena_init(&p->arena, p + 1, FIRST_BLOCK, &blocks, NEXT_BLOCK, SIZE_MAX);
    p->arena.wipe = true;
    __atomic_add_fetch(&alive, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&bytes, sizeof(*p) + FIRST_BLOCK, __ATOMIC_RELAXED);
    return p;
}

struct mp_conf_parts mp_conf_parts_alive(void)
{
    return (struct mp_conf_parts){__atomic_load_n(&alive, __ATOMIC_RELAXED),
                                  __atomic_load_n(&bytes, __ATOMIC_RELAXED)};
}

void mp_conf_drop_parts(struct mp_conf *c)
{
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        mp_conf_part_unref(c->listeners[i]->part);
    }
    for (uint32_t i = 0; i < c->n_clusters; i++) {
        mp_conf_part_unref(c->clusters[i]->part);
    }
    mp_conf_part_unref(c->admin.part);
    c->admin.part = NULL;
    c->n_listeners = 0;
    c->n_clusters = 0;
}
