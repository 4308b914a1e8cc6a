/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "conf/object.h"

#include <stdlib.h>

#include "base/mem.h"

_Static_assert(sizeof(struct mp_obj_slot) == MP_CACHE_LINE, "workers write their own line");

void mp_obj_init(struct mp_obj *o, const struct mp_obj_ops *ops, struct mp_str name, uint64_t hash,
                 uint32_t n_slots)
{
    *o = (struct mp_obj){.magic = MP_OBJ_MAGIC,
                         .refs = 1,
                         .ops = ops,
                         .hash = hash,
                         .name = name,
                         .n_slots = n_slots};
    if (n_slots > 0) {
        o->slots = mp_xcalloc_line(n_slots * sizeof(*o->slots));
    }
}

void mp_obj_fini(struct mp_obj *o)
{
    MP_CHECK_MAGIC(o, MP_OBJ_MAGIC);
    MP_ASSERT(__atomic_load_n(&o->refs, __ATOMIC_RELAXED) == 0);
    free(o->slots);
    o->slots = NULL;
    o->magic = 0;
}

void mp_obj_ref(struct mp_obj *o)
{
    MP_CHECK_MAGIC(o, MP_OBJ_MAGIC);
    uint32_t before = __atomic_fetch_add(&o->refs, 1, __ATOMIC_RELAXED);
    MP_ASSERT(before > 0);
    MP_ASSERT(before < UINT32_MAX);
}

void mp_obj_unref(struct mp_obj *o)
{
    if (!o) {
        return;
    }
    MP_CHECK_MAGIC(o, MP_OBJ_MAGIC);
    /* Release: what this thread did with the object happens before its destruction. Acquire: so it
     * does here. */
    uint32_t before = __atomic_fetch_sub(&o->refs, 1, __ATOMIC_ACQ_REL);
    MP_ASSERT(before > 0);
    if (before == 1) {
        o->ops->destroy(o);
    }
}

void mp_obj_enter(struct mp_obj *o, uint32_t w)
{
    MP_ASSERT(w < o->n_slots);
    struct mp_obj_slot *s = &o->slots[w];
    s->current = true;
    if (!s->held) {
        mp_obj_ref(o);
        s->held = true;
    }
}

void mp_obj_leave(struct mp_obj *o, uint32_t w)
{
    MP_ASSERT(w < o->n_slots);
    o->slots[w].current = false;
    mp_obj_drop_slow(o, w);
}

void mp_obj_drop_slow(struct mp_obj *o, uint32_t w)
{
    struct mp_obj_slot *s = &o->slots[w];
    if (s->held && !s->current && s->pins == 0) {
        s->held = false;
        mp_obj_unref(o); /* may be the end of o and s */
    }
}
