/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The bound of names, the table of a worker, many workers at once. */
#include "core/filter_stats.h"

#include <pthread.h>

#include "base/hash.h"
#include "t.h"

static const struct mp_stat_def name_defs[] = {{.name = "", .kind = MP_STAT_COUNTER, .help = "x"}};
static const struct mp_stat_schema by_name = {.kind = "test",
                                              .text_prefix = "by_name_",
                                              .prom_prefix = "by_name_",
                                              .scope_is_name = true,
                                              .defs = name_defs,
                                              .n = 1};
static const struct mp_stat_def fixed_defs[] = {
    {.name = "one", .kind = MP_STAT_COUNTER, .help = "x"},
    {.name = "two", .kind = MP_STAT_COUNTER, .help = "x"}};
static const struct mp_stat_schema fixed = {
    .kind = "test", .text_prefix = "fixed_", .prom_prefix = "fixed_", .defs = fixed_defs, .n = 2};

struct seen {
    uint64_t scopes, total, other;
};

static void look(void *arg, const struct mp_stat_view *v)
{
    struct seen *s = arg;
    if (v->schema == &by_name) {
        s->scopes++;
        s->total += v->value;
        s->other += mp_str_eq(v->scope, MP_STR("other")) ? v->value : 0;
    }
}

static void count(struct mp_filter_stats_local *l, const char *prefix, unsigned i)
{
    char name[32];
    snprintf(name, sizeof(name), "%s%u", prefix, i);
    mp_stat_inc(mp_filter_stats_find(l, &by_name, mp_str_c(name)), 0);
}

static void fixed_set(void)
{
    struct mp_stat_store *st = mp_stat_store_new(2);
    struct mp_filter_stats *fs = mp_filter_stats_new(st);
    struct mp_filter_stats_local *l = mp_filter_stats_local_new(fs, 0);
    const struct mp_stat_block *b = mp_filter_stats_find(l, &fixed, MP_STR(""));
    mp_stat_inc(b, 1);
    T_OK(mp_filter_stats_find(l, &fixed, MP_STR("")) == b);
    T_OK(mp_filter_stats_has(l, &fixed));
    T_OK(!mp_filter_stats_has(l, &by_name));
    T_EQ(b->v[1], 1);
    mp_filter_stats_local_free(l);
    mp_filter_stats_free(fs);
    mp_stat_store_free(st);
}

/* n-1, n, n+1 names, and a name that came in time still counts when the table is full. */
static void bound(void)
{
    for (unsigned n = MP_FILTER_STAT_VALUES - 1; n <= MP_FILTER_STAT_VALUES + 1; n++) {
        struct mp_stat_store *st = mp_stat_store_new(2);
        struct mp_filter_stats *fs = mp_filter_stats_new(st);
        struct mp_filter_stats_local *l = mp_filter_stats_local_new(fs, 0);
        for (unsigned i = 0; i < n; i++) {
            count(l, "v", i);
        }
        count(l, "v", 7);
        struct seen s = {0};
        mp_stat_walk(st, look, &s);
        T_EQ(s.total, n + 1);
        T_EQ(s.other, n > MP_FILTER_STAT_VALUES);
        T_EQ(s.scopes, n >= MP_FILTER_STAT_VALUES ? MP_FILTER_STAT_VALUES + 1 : n);
        T_EQ(mp_filter_stats_find(l, &by_name, MP_STR("v7"))->v[0], 2);
        mp_filter_stats_local_free(l);
        mp_filter_stats_free(fs);
        mp_stat_store_free(st);
    }
}

/* Names that one worker brought are not "other" for the next one. */
static void second_worker(void)
{
    struct mp_stat_store *st = mp_stat_store_new(2);
    struct mp_filter_stats *fs = mp_filter_stats_new(st);
    struct mp_filter_stats_local *a = mp_filter_stats_local_new(fs, 0);
    struct mp_filter_stats_local *b = mp_filter_stats_local_new(fs, 1);
    count(b, "v", 1);
    for (unsigned i = 0; i < 1000; i++) {
        count(a, "v", i);
    }
    for (unsigned i = 0; i < 1000; i++) {
        count(b, "v", i);
    }
    struct seen s = {0};
    mp_stat_walk(st, look, &s);
    T_EQ(s.scopes, MP_FILTER_STAT_VALUES + 1);
    T_EQ(s.total, 2001);
    T_EQ(s.other, 2 * (1000 - MP_FILTER_STAT_VALUES));
    mp_filter_stats_local_free(a);
    mp_filter_stats_local_free(b);
    mp_filter_stats_free(fs);
    mp_stat_store_free(st);
}

#define THREADS 4
#define ROUNDS  20000
struct work {
    struct mp_filter_stats *fs;
    uint32_t writer;
};

static void *run(void *arg)
{
    const struct work *w = arg;
    struct mp_filter_stats_local *l = mp_filter_stats_local_new(w->fs, w->writer);
    for (unsigned i = 0; i < ROUNDS; i++) {
        count(l, "t", (i * 7 + w->writer * 13) % 600);
    }
    mp_filter_stats_local_free(l);
    return NULL;
}

static void threads(void)
{
    struct mp_stat_store *st = mp_stat_store_new(THREADS);
    struct mp_filter_stats *fs = mp_filter_stats_new(st);
    pthread_t t[THREADS];
    struct work w[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        w[i] = (struct work){fs, i};
        T_EQ(pthread_create(&t[i], NULL, run, &w[i]), 0);
    }
    struct seen s = {0};
    mp_stat_walk(st, look, &s); /* a reader beside them */
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
    }
    s = (struct seen){0};
    mp_stat_walk(st, look, &s);
    T_EQ(s.scopes, MP_FILTER_STAT_VALUES + 1);
    T_EQ(s.total, THREADS * ROUNDS);
    mp_filter_stats_free(fs);
    mp_stat_store_free(st);
}

int main(void)
{
    mp_hash_set_key(1, 2);
    T_RUN(fixed_set);
    T_RUN(bound);
    T_RUN(second_worker);
    T_RUN(threads);
    return T_DONE();
}
