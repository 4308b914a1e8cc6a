/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <pthread.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/stat.h"
#include "t.h"

enum { RQ, ACTIVE, TIME, N_STATS };
static const struct mp_stat_def defs[N_STATS] = {
    [RQ] = {.name = "rq_total", .kind = MP_STAT_COUNTER, .help = "Requests."},
    [ACTIVE] = {.name = "rq_active", .kind = MP_STAT_GAUGE, .help = "Requests now."},
    [TIME] = {.name = "rq_time", .kind = MP_STAT_HISTOGRAM, .help = "Time.", .scale = 1000},
};
static const struct mp_stat_schema http = {.kind = "http",
                                           .text_prefix = "http.",
                                           .prom_prefix = "envoy_http_",
                                           .label = "prefix",
                                           .defs = defs,
                                           .n = N_STATS};
static const struct mp_stat_schema other = {.kind = "other",
                                            .text_prefix = "other.",
                                            .prom_prefix = "envoy_o_",
                                            .defs = defs,
                                            .n = N_STATS};

static void scopes(void)
{
    struct mp_stat_store *st = mp_stat_store_new(2);
    struct mp_stat_scope *a = mp_stat_scope_get(st, &http, MP_STR("in"));
    T_OK(mp_stat_scope_get(st, &http, MP_STR("in")) == a);
    struct mp_stat_scope *b = mp_stat_scope_get(st, &other, MP_STR("in"));
    T_OK(b != a);
    struct mp_stat_scope *c = mp_stat_scope_get(st, &http, mp_str(NULL, 0));
    T_OK(c != a && c != b);
    mp_stat_inc(mp_stat_block(a, 0), RQ);
    T_OK(!mp_stat_scope_unref(a));
    T_EQ(mp_stat_read(a, RQ), 1); /* one reference is left */
    mp_stat_scope_ref(a);
    mp_stat_scope_unref(a);
    T_EQ(mp_stat_read(a, RQ), 1);
    mp_stat_scope_unref(a);
    a = mp_stat_scope_get(st, &http, MP_STR("in")); /* a new one */
    T_EQ(mp_stat_read(a, RQ), 0);
    mp_stat_scope_unref(a);
    mp_stat_scope_unref(b);
    mp_stat_scope_unref(c);
    T_OK(!mp_stat_scope_unref(NULL));
    T_OK(!mp_stat_store_free(st));
    T_OK(!mp_stat_store_free(NULL));
}

/* A store with scopes still held stays whole: counted as a bug, no dangling reference. */
static void store_in_use(void)
{
    struct mp_stat_store *st = mp_stat_store_new(1);
    struct mp_stat_scope *sc = mp_stat_scope_get(st, &http, MP_STR("x"));
    uint64_t bugs = mp_bug_count();
    mp_log_set_level(MP_LOG_OFF);
    T_OK(!mp_stat_store_free(st));
    T_EQ(mp_bug_count(), bugs + 1);
    mp_stat_inc(mp_stat_block(sc, 0), RQ);
    T_EQ(mp_stat_read(sc, RQ), 1);
    mp_stat_scope_unref(sc);
    T_OK(!mp_stat_store_free(st));
    T_EQ(mp_bug_count(), bugs + 1);
    mp_log_set_level(MP_LOG_INFO);
}

static void blocks(void)
{
    struct mp_stat_store *st = mp_stat_store_new(3);
    struct mp_stat_scope *sc = mp_stat_scope_get(st, &http, MP_STR("x"));
    const struct mp_stat_block *b[3];
    for (uint32_t w = 0; w < 3; w++) {
        b[w] = mp_stat_block(sc, w);
        T_OK(mp_stat_block(sc, w) == b[w]); /* never moves */
        T_EQ((uintptr_t)b[w] % MP_CACHE_LINE, 0);
        T_OK(b[w]->schema == &http);
        for (uint32_t i = 0; i < w; i++) {
            T_OK((uintptr_t)b[i] / MP_CACHE_LINE != (uintptr_t)b[w] / MP_CACHE_LINE);
        }
    }
    mp_stat_add(b[0], RQ, 10);
    mp_stat_inc(b[1], RQ);
    T_EQ(mp_stat_read(sc, RQ), 11);
    /* A gauge raised by one writer and lowered by another. */
    mp_stat_inc(b[0], ACTIVE);
    mp_stat_inc(b[0], ACTIVE);
    mp_stat_dec(b[1], ACTIVE);
    T_EQ(mp_stat_read(sc, ACTIVE), 1);
    mp_stat_dec(b[1], ACTIVE);
    mp_stat_dec(b[1], ACTIVE);
    T_EQ(mp_stat_read(sc, ACTIVE), 0); /* not 2^64 - 1 */
    mp_stat_set(b[2], ACTIVE, 100);
    T_EQ(mp_stat_read(sc, ACTIVE), 99);
    T_EQ(mp_stat_read(sc, TIME), 0);
    mp_stat_record(b[0], TIME, 5);
    mp_stat_record(b[2], TIME, 7);
    T_EQ(mp_stat_read(sc, TIME), 2);
    mp_stat_scope_unref(sc);
    mp_stat_store_free(st);
}

struct seen {
    char text[512];
    uint64_t hist, interval;
};

static void visit(void *arg, const struct mp_stat_view *v)
{
    struct seen *s = arg;
    size_t n = strlen(s->text);
    snprintf(s->text + n, sizeof(s->text) - n, "%s" MP_STR_FMT ".%s=%llu ", v->schema->text_prefix,
             MP_STR_ARG(v->scope), v->def->name, (unsigned long long)v->value);
    if (v->hist) {
        s->hist = v->hist->sum;
        s->interval = v->interval->sum;
    }
}

static void walk(void)
{
    struct mp_stat_store *st = mp_stat_store_new(2);
    struct mp_stat_scope *a = mp_stat_scope_get(st, &http, MP_STR("b"));
    struct mp_stat_scope *b = mp_stat_scope_get(st, &http, MP_STR("a"));
    mp_stat_add(mp_stat_block(a, 1), RQ, 3);
    struct seen s = {0};
    mp_stat_walk(st, visit, &s);
    T_OK(strcmp(s.text, "http.b.rq_total=3 http.b.rq_active=0 http.b.rq_time=0 "
                        "http.a.rq_total=0 http.a.rq_active=0 http.a.rq_time=0 ") == 0);
    mp_stat_scope_unref(a);
    s = (struct seen){0};
    mp_stat_walk(st, visit, &s);
    T_OK(strcmp(s.text, "http.a.rq_total=0 http.a.rq_active=0 http.a.rq_time=0 ") == 0);
    mp_stat_scope_unref(b);
    mp_stat_store_free(st);
}

static void intervals(void)
{
    struct mp_stat_store *st = mp_stat_store_new(2);
    struct mp_stat_scope *sc = mp_stat_scope_get(st, &http, MP_STR("x"));
    struct seen s = {0};
    mp_stat_record(mp_stat_block(sc, 0), TIME, 10);
    mp_stat_walk(st, visit, &s);
    T_EQ(s.hist, 10);
    T_EQ(s.interval, 0); /* none finished */
    mp_stat_flush(st);
    mp_stat_record(mp_stat_block(sc, 1), TIME, 1000);
    mp_stat_walk(st, visit, &s);
    T_EQ(s.hist, 1010);
    T_EQ(s.interval, 10);
    mp_stat_flush(st);
    mp_stat_walk(st, visit, &s);
    T_EQ(s.hist, 1010);
    T_EQ(s.interval, 1000);
    mp_stat_flush(st); /* an interval without values */
    mp_stat_walk(st, visit, &s);
    T_EQ(s.interval, 0);
    mp_stat_record(mp_stat_block(sc, 1), TIME, 7);
    mp_stat_reset_counters(st);
    mp_stat_walk(st, visit, &s);
    T_EQ(s.hist, 0);
    mp_stat_record(mp_stat_block(sc, 1), TIME, 8);
    mp_stat_flush(st);
    mp_stat_walk(st, visit, &s);
    T_EQ(s.hist, 8);
    T_EQ(s.interval, 15); /* a reset does not cut an interval */
    T_EQ(mp_stat_read(sc, TIME), 1);
    mp_stat_scope_unref(sc);
    mp_stat_store_free(st);
}

static void reset(void)
{
    struct mp_stat_store *st = mp_stat_store_new(1);
    struct mp_stat_scope *sc = mp_stat_scope_get(st, &http, MP_STR("x"));
    mp_stat_reset_counters(st); /* before anything was counted */
    mp_stat_add(mp_stat_block(sc, 0), RQ, 5);
    mp_stat_set(mp_stat_block(sc, 0), ACTIVE, 2);
    mp_stat_reset_counters(st);
    T_EQ(mp_stat_read(sc, RQ), 0);
    T_EQ(mp_stat_read(sc, ACTIVE), 2); /* gauges stay */
    mp_stat_inc(mp_stat_block(sc, 0), RQ);
    T_EQ(mp_stat_read(sc, RQ), 1);
    mp_stat_reset_counters(st);
    T_EQ(mp_stat_read(sc, RQ), 0);
    mp_stat_scope_unref(sc);
    mp_stat_store_free(st);
}

/* Two writers, each on its own block, beside readers, flushes, resets and scopes that come and go.
 */
#define ROUNDS 20000
static struct mp_stat_scope *shared;
static int running;

static void *writer(void *arg)
{
    uint32_t w = *(uint32_t *)arg;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        const struct mp_stat_block *b = mp_stat_block(shared, w);
        mp_stat_inc(b, RQ);
        mp_stat_inc(b, ACTIVE);
        mp_stat_record(b, TIME, i << (i % 20));
        mp_stat_dec(b, ACTIVE);
    }
    __atomic_fetch_sub(&running, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void consistent(void *arg, const struct mp_stat_view *v)
{
    uint64_t n = 0;
    for (size_t i = 0; v->hist && i < MP_COUNTOF(v->hist->bucket); i++) {
        n += v->hist->bucket[i];
    }
    if (v->hist && (n != v->hist->count || n > 2 * ROUNDS)) {
        *(int *)arg = 1;
    }
}

static void concurrent(void)
{
    struct mp_stat_store *st = mp_stat_store_new(3);
    shared = mp_stat_scope_get(st, &http, MP_STR("shared"));
    uint32_t ids[2] = {0, 1};
    pthread_t threads[2];
    running = 2;
    for (int i = 0; i < 2; i++) {
        T_EQ(pthread_create(&threads[i], NULL, writer, &ids[i]), 0);
    }
    uint64_t last = 0;
    int bad = 0;
    while (__atomic_load_n(&running, __ATOMIC_ACQUIRE) > 0) {
        uint64_t now = mp_stat_read(shared, RQ);
        bad |= now < last;
        last = now;
        bad |= mp_stat_read(shared, ACTIVE) > 2;
        mp_stat_walk(st, consistent, &bad);
        mp_stat_flush(st);
        struct mp_stat_scope *sc = mp_stat_scope_get(st, &http, MP_STR("short-lived"));
        mp_stat_inc(mp_stat_block(sc, 2), RQ);
        mp_stat_scope_unref(sc);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    T_OK(!bad);
    T_EQ(mp_stat_read(shared, RQ), 2 * ROUNDS);
    T_EQ(mp_stat_read(shared, TIME), 2 * ROUNDS);
    T_EQ(mp_stat_read(shared, ACTIVE), 0);
    mp_stat_reset_counters(st);
    T_EQ(mp_stat_read(shared, RQ), 0);
    mp_stat_scope_unref(shared);
    mp_stat_store_free(st);
}

int main(void)
{
    mp_hash_set_key(1, 2);
    T_RUN(scopes);
    T_RUN(store_in_use);
    T_RUN(blocks);
    T_RUN(walk);
    T_RUN(intervals);
    T_RUN(reset);
    T_RUN(concurrent);
    return T_DONE();
}
