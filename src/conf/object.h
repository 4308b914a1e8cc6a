/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Immutable, reference-counted pieces of a snapshot: a route table, a cluster, an HTTP manager, a
 * listener. Shared between generations when unchanged.
 *
 * Counting: the snapshot root holds one reference, each worker at most one (taken when the worker
 * first sees the object, given back when it is in the worker's snapshot no more and no stream of
 * the worker pins it). Streams and connections pin through a worker-local count, so that no shared
 * cache line is written on the request path.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/assert.h"
#include "base/str.h"

struct mp_obj;
struct mp_obj_ops {
    const char *kind;
    void (*destroy)(struct mp_obj *o); /* any thread; frees everything incl. o */
};

struct mp_obj_slot {
    uint32_t pins; /* only the worker writes */
    bool held;     /* this worker has its reference */
    bool current;  /* is in this worker's snapshot */
} __attribute__((aligned(MP_CACHE_LINE)));

#define MP_OBJ_MAGIC 0x6d704f42u /* "mpOB" */
struct mp_obj {
    uint32_t magic;
    uint32_t refs; /* atomic */
    const struct mp_obj_ops *ops;
    uint64_t hash; /* of the source; equal hash, name and kind: unchanged */
    struct mp_str name;
    uint32_t n_slots;
    struct mp_obj_slot *slots; /* one per worker */
};

/* refs = 1. Slots are allocated on the heap. */
void mp_obj_init(struct mp_obj *o, const struct mp_obj_ops *ops, struct mp_str name, uint64_t hash,
                 uint32_t n_slots);
/* Frees the slots; called by destroy. */
void mp_obj_fini(struct mp_obj *o);
void mp_obj_ref(struct mp_obj *o);
void mp_obj_unref(struct mp_obj *o); /* the last one destroys; NULL is harmless */

/* Worker w starts and stops having the object in its snapshot. */
void mp_obj_enter(struct mp_obj *o, uint32_t w);
void mp_obj_leave(struct mp_obj *o, uint32_t w);
void mp_obj_drop_slow(struct mp_obj *o, uint32_t w);

static inline void mp_obj_pin(struct mp_obj *o, uint32_t w)
{
    MP_DEBUG_ASSERT(o->magic == MP_OBJ_MAGIC);
    MP_DEBUG_ASSERT(o->slots[w].held);
    o->slots[w].pins++;
}
static inline void mp_obj_unpin(struct mp_obj *o, uint32_t w)
{
    struct mp_obj_slot *s = &o->slots[w];
    MP_DEBUG_ASSERT(s->pins > 0);
    if (--s->pins == 0 && MP_UNLIKELY(!s->current)) {
        mp_obj_drop_slow(o, w);
    }
}
