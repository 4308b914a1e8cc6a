/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Counters, gauges and histograms.
 *
 * A *schema* is a constant table of the stats that one kind of object has (an HTTP manager, a
 * cluster, a listener). A *scope* is one such object's set: schema + name + labels, created and
 * found by name in a *store*, reference-counted, kept across configuration generations. Each
 * (scope, worker) owns one lazily allocated dense block of u64, padded as a whole to cache lines; a
 * worker writes only its own block with relaxed stores, readers add the blocks up.
 *
 * Names follow Envoy: "<prefix><scope name>.<stat>", for Prometheus "envoy_<kind>_<stat>" with the
 * scope name as a label.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"
#include "base/str.h"

enum mp_stat_kind { MP_STAT_COUNTER, MP_STAT_GAUGE, MP_STAT_HISTOGRAM };

struct mp_stat_def {
    const char *name; /* "downstream_rq_total"; dots allowed */
    enum mp_stat_kind kind;
    const char *help; /* one line, for # HELP */
    /* Optional label split for Prometheus: "downstream_rq_xx" with label
     * envoy_response_code_class="2" for the stat named downstream_rq_2xx. NULL: prom_name is name.
     */
    const char *prom_name, *label, *label_value;
    /* Histograms only: recorded unit per exported unit; 1000 = recorded in us, exported in ms. */
    uint32_t scale;
    /* Histograms only: Prometheus' upper bounds, in exported units and ascending, when the usual
     * ones (times in ms) do not fit. */
    const double *bounds;
    uint32_t n_bounds; /* at most MP_STAT_BOUNDS_MAX */
};
#define MP_STAT_BOUNDS_MAX 19

struct mp_stat_schema {
    const char *kind;        /* "http", "cluster", "listener", "server" */
    const char *text_prefix; /* "http." ; the full text name is prefix + scope + "." + stat */
    const char *prom_prefix; /* "envoy_http_" */
    const char *label;       /* "envoy_http_conn_manager_prefix"; NULL: scope has no label */
    /* The scope's name ends the stat's name, in Prometheus too: text_prefix + scope, prom_prefix +
     * scope. Such a schema has one def, with an empty name. (With label, an empty name of the def
     * gives text_prefix + scope, and prom_prefix with the scope as label.) */
    bool scope_is_name;
    const struct mp_stat_def *defs;
    uint32_t n;
};

/* Histogram of u64 values: 16 linear sub-buckets per power of two (error at most 1/32 with
 * midpoints); powers are allocated when first used. One writer; readers may look at any time. */
#define MP_HIST_SUB_BITS 4
#define MP_HIST_SUB      (1 << MP_HIST_SUB_BITS)
#define MP_HIST_POWERS   48 /* values up to 2^51; larger ones count in the last bucket */
struct mp_hist {
    uint64_t count, sum;
    uint64_t *power[MP_HIST_POWERS];
};
void mp_hist_record(struct mp_hist *h, uint64_t v);
void mp_hist_free(struct mp_hist *h);
/* A plain sum of histograms, for readers. */
struct mp_hist_sum {
    uint64_t count, sum;
    uint64_t bucket[MP_HIST_POWERS * MP_HIST_SUB];
};
void mp_hist_add_to(const struct mp_hist *h, struct mp_hist_sum *into);
/* q in [0,1]; NaN when empty. Interpolates inside the bucket. */
double mp_hist_quantile(const struct mp_hist_sum *s, double q);
/* Number of values <= bound (to bucket resolution). */
uint64_t mp_hist_count_le(const struct mp_hist_sum *s, uint64_t bound);

struct mp_stat_store;
struct mp_stat_scope;

/* writers: number of blocks a scope may have = workers + 1 (the main thread is the last). */
struct mp_stat_store *mp_stat_store_new(uint32_t writers);
struct mp_stat_store *mp_stat_store_free(struct mp_stat_store *st);

/* Finds or creates; takes a reference. Any control thread (a lock inside). name is copied. */
struct mp_stat_scope *mp_stat_scope_get(struct mp_stat_store *st,
                                        const struct mp_stat_schema *schema, struct mp_str name);
void mp_stat_scope_ref(struct mp_stat_scope *sc);
/* The last reference removes the scope from the store. Returns NULL. */
struct mp_stat_scope *mp_stat_scope_unref(struct mp_stat_scope *sc);

/* The calling writer's block: index by the schema's position. Allocated on first use. */
struct mp_stat_block {
    uint64_t *v; /* counters and gauges; a histogram's cell holds its struct mp_hist * */
    const struct mp_stat_schema *schema;
};
const struct mp_stat_block *mp_stat_block(struct mp_stat_scope *sc, uint32_t writer);

static inline void mp_stat_add(const struct mp_stat_block *b, uint32_t i, uint64_t n)
{
    __atomic_store_n(&b->v[i], __atomic_load_n(&b->v[i], __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}
static inline void mp_stat_inc(const struct mp_stat_block *b, uint32_t i)
{
    mp_stat_add(b, i, 1);
}
static inline void mp_stat_dec(const struct mp_stat_block *b, uint32_t i)
{
    mp_stat_add(b, i, (uint64_t)-1);
}
/* Gauges that one writer owns alone. */
static inline void mp_stat_set(const struct mp_stat_block *b, uint32_t i, uint64_t n)
{
    __atomic_store_n(&b->v[i], n, __ATOMIC_RELAXED);
}
/* Histogram cell i of the block. */
void mp_stat_record(const struct mp_stat_block *b, uint32_t i, uint64_t v);

/* Reading. The visitor sees each stat of each scope, scopes in creation order; h is set for
 * histograms (owned by the walk), value otherwise. Holds the store's lock. */
struct mp_stat_view {
    const struct mp_stat_schema *schema;
    struct mp_str scope;
    const struct mp_stat_def *def;
    uint32_t index;
    uint64_t value;
    const struct mp_hist_sum *hist;     /* since start or reset */
    const struct mp_hist_sum *interval; /* of the last finished interval (mp_stat_flush) */
};
void mp_stat_walk(struct mp_stat_store *st, void (*visit)(void *arg, const struct mp_stat_view *v),
                  void *arg);
/* Ends an interval: call every stats_flush_interval (default 5 s) from the main thread. */
void mp_stat_flush(struct mp_stat_store *st);
/* Counters read 0 afterwards (readers subtract a base; writers are not touched). */
void mp_stat_reset_counters(struct mp_stat_store *st);
/* Sum over writers of one stat. */
uint64_t mp_stat_read(struct mp_stat_scope *sc, uint32_t i);
