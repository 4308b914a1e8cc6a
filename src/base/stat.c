/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Store, scopes and blocks. Who touches what:
 *
 * - A block belongs to its writer. It is published by a release store into its scope, so that a
 * reader that finds it sees it zeroed; from then on its cells are relaxed words. Blocks, histograms
 * and scopes never move, they live until the last reference to the scope is gone.
 * - The list and map of scopes, the histogram copies of intervals and resets: the store's lock.
 * - The base values of a reset are published like blocks, so that mp_stat_read needs no lock and
 * may be called from a visitor.
 */
#include "base/stat.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

#define SCOPE_MAGIC 0x53434f50u

/* Copies of a histogram, kept sparse like the original. */
struct hist_state {
    struct mp_hist base;     /* at the last reset */
    struct mp_hist flushed;  /* at the last flush */
    struct mp_hist interval; /* between the last two */
};

/* One allocation, padded to cache lines: the handle, then the cells. */
struct block {
    struct mp_stat_block handle;
    uint64_t cells[];
};

struct mp_stat_scope {
    uint32_t magic;
    uint32_t refs; /* taken anywhere, dropped under the lock */
    struct mp_stat_store *store;
    const struct mp_stat_schema *schema;
    struct mp_list link;
    struct mp_str name; /* inside key */
    char *key;          /* schema address, then name: the same name may exist in several schemas */
    uint64_t *base;     /* NULL before the first reset */
    struct hist_state **hists; /* by stat, NULL until needed */
    struct block *blocks[];    /* by writer */
};

struct mp_stat_store {
    pthread_mutex_t lock;
    uint32_t writers;
    struct mp_list scopes;
    struct mp_map by_key;
    struct mp_hist_sum total, interval, previous; /* scratch of walks and flushes */
};

struct mp_stat_store *mp_stat_store_new(uint32_t writers)
{
    MP_ASSERT(writers > 0);
    struct mp_stat_store *st = mp_xcalloc(1, sizeof(*st));
    pthread_mutex_init(&st->lock, NULL);
    st->writers = writers;
    mp_list_init(&st->scopes);
    mp_map_init(&st->by_key);
    return st;
}

struct mp_stat_store *mp_stat_store_free(struct mp_stat_store *st)
{
    /* A scope still held would point into freed memory: then the store stays. */
    if (!st || MP_BUG_ONCE(!mp_list_empty(&st->scopes))) {
        return NULL;
    }
    mp_map_fini(&st->by_key);
    pthread_mutex_destroy(&st->lock);
    free(st);
    return NULL;
}

static struct mp_stat_scope *scope_new(struct mp_stat_store *st,
                                       const struct mp_stat_schema *schema, char *key, size_t key_n)
{
    struct mp_stat_scope *sc = mp_xcalloc(1, sizeof(*sc) + st->writers * sizeof(sc->blocks[0]));
    sc->magic = SCOPE_MAGIC;
    sc->store = st;
    sc->schema = schema;
    sc->key = key;
    sc->name = mp_str(key + sizeof(schema), key_n - sizeof(schema));
    mp_list_push_back(&st->scopes, &sc->link);
    mp_map_set(&st->by_key, mp_str(key, key_n), sc);
    return sc;
}

struct mp_stat_scope *mp_stat_scope_get(struct mp_stat_store *st,
                                        const struct mp_stat_schema *schema, struct mp_str name)
{
    size_t key_n = sizeof(schema) + name.n;
    char *key = mp_xmalloc(key_n + 1);
    memcpy(key, &schema, sizeof(schema));
    if (name.n > 0) {
        memcpy(key + sizeof(schema), name.p, name.n);
    }
    key[key_n] = '\0';

    pthread_mutex_lock(&st->lock);
    struct mp_stat_scope *sc = mp_map_get(&st->by_key, mp_str(key, key_n));
    if (!sc) {
        sc = scope_new(st, schema, key, key_n);
        key = NULL;
    }
    __atomic_fetch_add(&sc->refs, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&st->lock);
    free(key);
    return sc;
}

void mp_stat_scope_ref(struct mp_stat_scope *sc)
{
    MP_CHECK_MAGIC(sc, SCOPE_MAGIC);
    __atomic_fetch_add(&sc->refs, 1, __ATOMIC_RELAXED);
}

static struct mp_hist *hist_at(const struct block *b, uint32_t i)
{
    return (struct mp_hist *)(uintptr_t)__atomic_load_n(&b->cells[i], __ATOMIC_ACQUIRE);
}

static void scope_free(struct mp_stat_scope *sc)
{
    for (uint32_t w = 0; w < sc->store->writers; w++) {
        struct block *b = sc->blocks[w];
        for (uint32_t i = 0; b && i < sc->schema->n; i++) {
            struct mp_hist *h =
                sc->schema->defs[i].kind == MP_STAT_HISTOGRAM ? hist_at(b, i) : NULL;
            if (h) {
                mp_hist_free(h);
                free(h);
            }
        }
        free(b);
    }
    for (uint32_t i = 0; sc->hists && i < sc->schema->n; i++) {
        if (sc->hists[i]) {
            mp_hist_free(&sc->hists[i]->base);
            mp_hist_free(&sc->hists[i]->flushed);
            mp_hist_free(&sc->hists[i]->interval);
            free(sc->hists[i]);
        }
    }
    free(sc->hists);
    free(sc->base);
    free(sc->key);
    sc->magic = 0;
    free(sc);
}

struct mp_stat_scope *mp_stat_scope_unref(struct mp_stat_scope *sc)
{
    if (!sc) {
        return NULL;
    }
    MP_CHECK_MAGIC(sc, SCOPE_MAGIC);
    struct mp_stat_store *st = sc->store;
    pthread_mutex_lock(&st->lock);
    uint32_t before = __atomic_fetch_sub(&sc->refs, 1, __ATOMIC_ACQ_REL);
    MP_ASSERT(before > 0);
    if (before == 1) {
        mp_list_remove(&sc->link);
        mp_map_del(&st->by_key, mp_str(sc->key, sizeof(sc->schema) + sc->name.n));
    }
    pthread_mutex_unlock(&st->lock);
    if (before == 1) {
        scope_free(sc);
    }
    return NULL;
}

const struct mp_stat_block *mp_stat_block(struct mp_stat_scope *sc, uint32_t writer)
{
    MP_CHECK_MAGIC(sc, SCOPE_MAGIC);
    MP_ASSERT(writer < sc->store->writers);
    struct block *b = __atomic_load_n(&sc->blocks[writer], __ATOMIC_RELAXED);
    if (b) {
        return &b->handle;
    }
    b = mp_xcalloc_line(sizeof(*b) + sc->schema->n * sizeof(b->cells[0]));
    b->handle = (struct mp_stat_block){.v = b->cells, .schema = sc->schema};
    __atomic_store_n(&sc->blocks[writer], b, __ATOMIC_RELEASE);
    return &b->handle;
}

void mp_stat_record(const struct mp_stat_block *b, uint32_t i, uint64_t v)
{
    MP_DEBUG_ASSERT(i < b->schema->n);
    MP_DEBUG_ASSERT(b->schema->defs[i].kind == MP_STAT_HISTOGRAM);
    struct mp_hist *h = (struct mp_hist *)(uintptr_t)__atomic_load_n(&b->v[i], __ATOMIC_RELAXED);
    if (MP_UNLIKELY(!h)) {
        h = mp_xcalloc_line(sizeof(*h));
        __atomic_store_n(&b->v[i], (uint64_t)(uintptr_t)h, __ATOMIC_RELEASE);
    }
    mp_hist_record(h, v);
}

/* Adds up one stat without the base; a histogram's value is its count. */
static uint64_t raw_sum(const struct mp_stat_scope *sc, uint32_t i)
{
    bool is_hist = sc->schema->defs[i].kind == MP_STAT_HISTOGRAM;
    uint64_t sum = 0;
    for (uint32_t w = 0; w < sc->store->writers; w++) {
        const struct block *b = __atomic_load_n(&sc->blocks[w], __ATOMIC_ACQUIRE);
        if (b && !is_hist) {
            sum += __atomic_load_n(&b->cells[i], __ATOMIC_RELAXED);
        }
        const struct mp_hist *h = b && is_hist ? hist_at(b, i) : NULL;
        if (h) {
            sum += __atomic_load_n(&h->count, __ATOMIC_RELAXED);
        }
    }
    return sum;
}

uint64_t mp_stat_read(struct mp_stat_scope *sc, uint32_t i)
{
    MP_ASSERT(i < sc->schema->n);
    uint64_t sum = raw_sum(sc, i);
    if (sc->schema->defs[i].kind == MP_STAT_GAUGE) {
        /* One writer's increment may be seen after another's decrement: not 2^64 - 1, but none. */
        return (int64_t)sum < 0 ? 0 : sum;
    }
    const uint64_t *base = __atomic_load_n(&sc->base, __ATOMIC_ACQUIRE);
    return base ? sum - __atomic_load_n(&base[i], __ATOMIC_RELAXED) : sum;
}

/* All writers' histograms of one stat; false when none was ever recorded. */
static bool sum_hists(const struct mp_stat_scope *sc, uint32_t i, struct mp_hist_sum *ret)
{
    *ret = (struct mp_hist_sum){0};
    bool any = false;
    for (uint32_t w = 0; w < sc->store->writers; w++) {
        const struct block *b = __atomic_load_n(&sc->blocks[w], __ATOMIC_ACQUIRE);
        const struct mp_hist *h = b ? hist_at(b, i) : NULL;
        if (h) {
            mp_hist_add_to(h, ret);
            any = true;
        }
    }
    return any;
}

static void subtract(struct mp_hist_sum *from, const struct mp_hist_sum *what)
{
    for (size_t i = 0; i < MP_COUNTOF(from->bucket); i++) {
        from->bucket[i] -= what->bucket[i];
    }
    from->count -= what->count;
    from->sum -= what->sum;
}

/* Makes h a sparse copy of s. */
static void copy_sparse(struct mp_hist *h, const struct mp_hist_sum *s)
{
    for (size_t g = 0; g < MP_HIST_POWERS; g++) {
        const uint64_t *from = &s->bucket[g * MP_HIST_SUB];
        uint64_t any = 0;
        for (size_t i = 0; i < MP_HIST_SUB; i++) {
            any |= from[i];
        }
        if (any && !h->power[g]) {
            h->power[g] = mp_xcalloc(MP_HIST_SUB, sizeof(*from));
        }
        if (h->power[g]) {
            memcpy(h->power[g], from, MP_HIST_SUB * sizeof(*from));
        }
    }
    h->count = s->count;
    h->sum = s->sum;
}

static struct hist_state *state_of(struct mp_stat_scope *sc, uint32_t i)
{
    if (!sc->hists) {
        sc->hists = mp_xcalloc(sc->schema->n, sizeof(sc->hists[0]));
    }
    if (!sc->hists[i]) {
        sc->hists[i] = mp_xcalloc(1, sizeof(*sc->hists[i]));
    }
    return sc->hists[i];
}

static void view_hist(struct mp_stat_store *st, struct mp_stat_scope *sc, uint32_t i,
                      struct mp_stat_view *v)
{
    sum_hists(sc, i, &st->total);
    st->interval = (struct mp_hist_sum){0};
    struct hist_state *hs = sc->hists ? sc->hists[i] : NULL;
    if (hs) {
        mp_hist_add_to(&hs->interval, &st->interval);
        st->previous = (struct mp_hist_sum){0};
        mp_hist_add_to(&hs->base, &st->previous);
        subtract(&st->total, &st->previous);
    }
    v->value = st->total.count;
    v->hist = &st->total;
    v->interval = &st->interval;
}

void mp_stat_walk(struct mp_stat_store *st, void (*visit)(void *arg, const struct mp_stat_view *v),
                  void *arg)
{
    pthread_mutex_lock(&st->lock);
    MP_LIST_FOREACH (it, &st->scopes) {
        struct mp_stat_scope *sc = MP_CONTAINER_OF(it, struct mp_stat_scope, link);
        for (uint32_t i = 0; i < sc->schema->n; i++) {
            struct mp_stat_view v = {
                .schema = sc->schema, .scope = sc->name, .def = &sc->schema->defs[i], .index = i};
            if (v.def->kind == MP_STAT_HISTOGRAM) {
                view_hist(st, sc, i, &v);
            } else {
                v.value = mp_stat_read(sc, i);
            }
            visit(arg, &v);
        }
    }
    pthread_mutex_unlock(&st->lock);
}

void mp_stat_flush(struct mp_stat_store *st)
{
    pthread_mutex_lock(&st->lock);
    MP_LIST_FOREACH (it, &st->scopes) {
        struct mp_stat_scope *sc = MP_CONTAINER_OF(it, struct mp_stat_scope, link);
        for (uint32_t i = 0; i < sc->schema->n; i++) {
            if (sc->schema->defs[i].kind != MP_STAT_HISTOGRAM || !sum_hists(sc, i, &st->total)) {
                continue;
            }
            struct hist_state *hs = state_of(sc, i);
            st->previous = (struct mp_hist_sum){0};
            mp_hist_add_to(&hs->flushed, &st->previous);
            copy_sparse(&hs->flushed, &st->total);
            subtract(&st->total, &st->previous);
            copy_sparse(&hs->interval, &st->total);
        }
    }
    pthread_mutex_unlock(&st->lock);
}

static void reset_scope(struct mp_stat_store *st, struct mp_stat_scope *sc)
{
    uint64_t *base = sc->base;
    if (!base) {
        base = mp_xcalloc(sc->schema->n, sizeof(*base));
    }
    for (uint32_t i = 0; i < sc->schema->n; i++) {
        uint64_t value = 0;
        switch (sc->schema->defs[i].kind) {
        case MP_STAT_COUNTER:
            value = raw_sum(sc, i);
            break;
        case MP_STAT_GAUGE:
            break;
        case MP_STAT_HISTOGRAM:
            if (sum_hists(sc, i, &st->total)) {
                copy_sparse(&state_of(sc, i)->base, &st->total);
                value = st->total.count;
            }
            break;
        }
        __atomic_store_n(&base[i], value, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&sc->base, base, __ATOMIC_RELEASE);
}

void mp_stat_reset_counters(struct mp_stat_store *st)
{
    pthread_mutex_lock(&st->lock);
    MP_LIST_FOREACH (it, &st->scopes) {
        reset_scope(st, MP_CONTAINER_OF(it, struct mp_stat_scope, link));
    }
    pthread_mutex_unlock(&st->lock);
}
