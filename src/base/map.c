/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Linear probing. Deletion moves later entries of the run back into the hole, so there are no
 * tombstones and a lookup ends at the first free cell. At most 3/4 of the cells are in use.
 */
#include "base/map.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"

#define CAP_MIN 8

void mp_map_init(struct mp_map *m)
{
    *m = (struct mp_map){0};
}

void mp_map_fini(struct mp_map *m)
{
    free(m->cells);
    *m = (struct mp_map){0};
}

/* The cell of key, or the free cell where it belongs. cap > 0. */
static struct mp_map_entry *find(const struct mp_map *m, struct mp_str key, uint64_t hash)
{
    size_t i = hash & (m->cap - 1);
    while (m->cells[i].value && (m->cells[i].hash != hash || !mp_str_eq(m->cells[i].key, key))) {
        i = (i + 1) & (m->cap - 1);
    }
    return &m->cells[i];
}

static void grow(struct mp_map *m)
{
    struct mp_map old = *m;
    m->cap = old.cap ? old.cap * 2 : CAP_MIN;
    m->cells = mp_xcalloc(m->cap, sizeof(*m->cells));
    for (size_t i = 0; i < old.cap; i++) {
        if (old.cells[i].value) {
            *find(m, old.cells[i].key, old.cells[i].hash) = old.cells[i];
        }
    }
    free(old.cells);
}

void *mp_map_get(const struct mp_map *m, struct mp_str key)
{
    return m->n > 0 ? find(m, key, mp_hash(key.p, key.n))->value : NULL;
}

void *mp_map_set(struct mp_map *m, struct mp_str key, void *value)
{
    MP_ASSERT(value);
    uint64_t hash = mp_hash(key.p, key.n);
    if (m->cap > 0) {
        struct mp_map_entry *e = find(m, key, hash);
        if (e->value) {
            void *previous = e->value;
            /* The new key too: the old one may go away with the old value. */
            e->key = key;
            e->value = value;
            return previous;
        }
    }
    if ((m->n + 1) * 4 > m->cap * 3) {
        grow(m);
    }
    *find(m, key, hash) = (struct mp_map_entry){.key = key, .hash = hash, .value = value};
    m->n++;
    return NULL;
}

void *mp_map_del(struct mp_map *m, struct mp_str key)
{
    if (m->n == 0) {
        return NULL;
    }
    struct mp_map_entry *e = find(m, key, mp_hash(key.p, key.n));
    void *value = e->value;
    if (!value) {
        return NULL;
    }
    size_t mask = m->cap - 1;
    size_t hole = (size_t)(e - m->cells);
    for (size_t i = (hole + 1) & mask; m->cells[i].value; i = (i + 1) & mask) {
        /* An entry may move back unless its home lies after the hole, cyclically. */
        size_t home = m->cells[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->cells[hole] = m->cells[i];
            hole = i;
        }
    }
    m->cells[hole] = (struct mp_map_entry){0};
    m->n--;
    return value;
}

struct mp_map_entry *mp_map_next(const struct mp_map *m, size_t *pos)
{
    while (*pos < m->cap) {
        struct mp_map_entry *e = &m->cells[(*pos)++];
        if (e->value) {
            return e;
        }
    }
    return NULL;
}
