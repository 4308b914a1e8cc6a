/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/filter_stats.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"

#define CELLS (4 * MP_FILTER_STAT_VALUES) /* a power of two; a quarter full at most */

struct member {
    char *name;
    size_t n;
    uint64_t hash;
    struct mp_stat_scope *scope;
};

struct family {
    const struct mp_stat_schema *schema;
    uint32_t n; /* members before it are complete and never change: release, acquire */
    struct member members[MP_FILTER_STAT_VALUES];
    struct mp_stat_scope *other; /* NULL until the family is full */
};

struct mp_filter_stats {
    pthread_mutex_t lock; /* of everything here but complete members */
    struct mp_stat_store *store;
    uint32_t n;
    struct family *families[MP_FILTER_STAT_FAMILIES];
};

struct cell {
    const struct member *member; /* NULL: free */
    const struct mp_stat_block *block;
};

/* What a worker knows of a family. */
struct known {
    const struct mp_stat_schema *schema;
    struct family *family;
    uint32_t seen;                    /* members that are in cells */
    const struct mp_stat_block *only; /* of the empty name */
    const struct mp_stat_block *other;
    struct cell cells[CELLS];
};

struct mp_filter_stats_local {
    struct mp_filter_stats *shared;
    uint32_t writer;
    uint32_t n;
    struct known *known[MP_FILTER_STAT_FAMILIES];
};

/* ---- shared ---- */

struct mp_filter_stats *mp_filter_stats_new(struct mp_stat_store *store)
{
    struct mp_filter_stats *fs = mp_xcalloc(1, sizeof(*fs));
    pthread_mutex_init(&fs->lock, NULL);
    fs->store = store;
    return fs;
}

struct mp_filter_stats *mp_filter_stats_free(struct mp_filter_stats *fs)
{
    if (!fs) {
        return NULL;
    }
    for (uint32_t i = 0; i < fs->n; i++) {
        struct family *f = fs->families[i];
        for (uint32_t k = 0; k < f->n; k++) {
            mp_stat_scope_unref(f->members[k].scope);
            free(f->members[k].name);
        }
        mp_stat_scope_unref(f->other);
        free(f);
    }
    pthread_mutex_destroy(&fs->lock);
    free(fs);
    return NULL;
}

static struct family *family_get(struct mp_filter_stats *fs, const struct mp_stat_schema *schema)
{
    for (uint32_t i = 0; i < fs->n; i++) {
        if (fs->families[i]->schema == schema) {
            return fs->families[i];
        }
    }
    MP_ASSERT(fs->n < MP_FILTER_STAT_FAMILIES); /* schemas are constants of the program */
    struct family *f = mp_xcalloc(1, sizeof(*f));
    f->schema = schema;
    fs->families[fs->n++] = f;
    return f;
}

static void family_add(struct mp_filter_stats *fs, struct family *f, struct mp_str name,
                       uint64_t hash)
{
    struct member *m = &f->members[f->n];
    m->name = mp_str_dup_c(name);
    m->n = name.n;
    m->hash = hash;
    m->scope = mp_stat_scope_get(fs->store, f->schema, name);
    __atomic_store_n(&f->n, f->n + 1, __ATOMIC_RELEASE);
}

/* ---- a worker's ---- */

struct mp_filter_stats_local *mp_filter_stats_local_new(struct mp_filter_stats *fs, uint32_t writer)
{
    struct mp_filter_stats_local *l = mp_xcalloc(1, sizeof(*l));
    l->shared = fs;
    l->writer = writer;
    return l;
}

struct mp_filter_stats_local *mp_filter_stats_local_free(struct mp_filter_stats_local *l)
{
    for (uint32_t i = 0; l && i < l->n; i++) {
        free(l->known[i]);
    }
    free(l);
    return NULL;
}

static struct cell *find_cell(struct known *k, struct mp_str name, uint64_t hash)
{
    for (uint32_t i = (uint32_t)hash & (CELLS - 1);; i = (i + 1) & (CELLS - 1)) {
        struct cell *c = &k->cells[i];
        const struct member *m = c->member;
        if (!m || (m->hash == hash && mp_str_eq(mp_str(m->name, m->n), name))) {
            return c;
        }
    }
}

/* Brings the worker's table up to date. */
static void import(struct mp_filter_stats_local *l, struct known *k)
{
    uint32_t n = __atomic_load_n(&k->family->n, __ATOMIC_ACQUIRE);
    for (; k->seen < n; k->seen++) {
        const struct member *m = &k->family->members[k->seen];
        struct cell *c = find_cell(k, mp_str(m->name, m->n), m->hash);
        c->member = m;
        c->block = mp_stat_block(m->scope, l->writer);
    }
}

static struct known *known_get(struct mp_filter_stats_local *l, const struct mp_stat_schema *schema)
{
    for (uint32_t i = 0; i < l->n; i++) {
        if (MP_LIKELY(l->known[i]->schema == schema)) {
            return l->known[i];
        }
    }
    struct known *k = mp_xcalloc(1, sizeof(*k));
    pthread_mutex_lock(&l->shared->lock);
    k->family = family_get(l->shared, schema);
    pthread_mutex_unlock(&l->shared->lock);
    k->schema = schema;
    l->known[l->n++] = k;
    return k;
}

/* A name that the worker has not met: at most a few hundred times in its life. */
static const struct mp_stat_block *meet(struct mp_filter_stats_local *l, struct known *k,
                                        struct mp_str name, uint64_t hash)
{
    struct mp_filter_stats *fs = l->shared;
    pthread_mutex_lock(&fs->lock);
    import(l, k);
    if (!find_cell(k, name, hash)->member && k->seen < MP_FILTER_STAT_VALUES) {
        family_add(fs, k->family, name, hash);
        import(l, k);
    }
    if (k->seen == MP_FILTER_STAT_VALUES && !k->other) {
        struct family *f = k->family;
        if (!f->other) {
            f->other = mp_stat_scope_get(fs->store, f->schema, MP_STR("other"));
        }
        k->other = mp_stat_block(f->other, l->writer);
    }
    pthread_mutex_unlock(&fs->lock);
    const struct cell *c = find_cell(k, name, hash);
    return c->member ? c->block : k->other;
}

bool mp_filter_stats_has(struct mp_filter_stats_local *l, const struct mp_stat_schema *schema)
{
    bool found = false;
    pthread_mutex_lock(&l->shared->lock);
    for (uint32_t i = 0; i < l->shared->n; i++) {
        found |= l->shared->families[i]->schema == schema;
    }
    pthread_mutex_unlock(&l->shared->lock);
    return found;
}

const struct mp_stat_block *mp_filter_stats_find(struct mp_filter_stats_local *l,
                                                 const struct mp_stat_schema *schema,
                                                 struct mp_str name)
{
    struct known *k = known_get(l, schema);
    if (name.n == 0) {
        if (MP_UNLIKELY(!k->only)) {
            k->only = meet(l, k, name, 0);
        }
        return k->only;
    }
    uint64_t hash = mp_hash(name.p, name.n);
    const struct cell *c = find_cell(k, name, hash);
    if (MP_LIKELY(c->member)) {
        return c->block;
    }
    if (MP_LIKELY(k->other)) {
        return k->other; /* full, and all of it is in our table */
    }
    return meet(l, k, name, hash);
}
