/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Stats as text: a store is read once into rows, which are then sorted and printed in one of three
 * forms. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/stat.h"
#include "base/str.h"
#include "core/regex.h"

#define MP_ADMIN_QUANTILES 10
extern const double mp_admin_quantiles[MP_ADMIN_QUANTILES];
/* Upper bounds in exported units (ms), as Envoy's, without the last one, +Inf. */
#define MP_ADMIN_BUCKETS 19
extern const struct mp_admin_bound {
    double value;
    const char *text;
} mp_admin_bounds[MP_ADMIN_BUCKETS];

_Static_assert(MP_ADMIN_BUCKETS >= MP_STAT_BOUNDS_MAX, "a histogram's own bounds fit");
/* The bounds of a histogram: its own, or the usual ones. */
size_t mp_admin_n_bounds(const struct mp_stat_def *def);
double mp_admin_bound(const struct mp_stat_def *def, size_t i);

struct mp_admin_hist {
    double interval[MP_ADMIN_QUANTILES], total[MP_ADMIN_QUANTILES]; /* NaN: no value */
    uint64_t le[MP_ADMIN_BUCKETS];                                  /* cumulative */
    uint64_t count;
    double sum;
};

struct mp_admin_stat {
    const struct mp_stat_schema *schema;
    const struct mp_stat_def *def;
    struct mp_str scope; /* as configured; empty when it is part of the name */
    struct mp_str name;  /* "cluster.main.upstream_rq_total" */
    struct mp_str prom;  /* "envoy_cluster_upstream_rq_total"; only when asked for */
    uint64_t value;
    struct mp_admin_hist *hist; /* of histograms */
};

struct mp_admin_stat_query {
    bool usedonly;
    unsigned kinds;                /* bit per enum mp_stat_kind */
    const struct mp_regex *filter; /* NULL: all names */
    bool prometheus;
};

struct mp_admin_stats {
    struct mp_arena arena;
    struct mp_admin_stat *v;
    size_t n, cap;
};
/* Fails with LIMIT when the filter does. */
MP_MUST_USE mp_err mp_admin_stats_read(struct mp_stat_store *st,
                                       const struct mp_admin_stat_query *q,
                                       struct mp_admin_stats *ret);
void mp_admin_stats_fini(struct mp_admin_stats *s);

/* Each sorts the rows as it needs them. */
void mp_admin_stats_text(struct mp_admin_stats *s, struct mp_sb *out);
void mp_admin_stats_json(struct mp_admin_stats *s, struct mp_sb *out);
/* At most series_max of them (0: all); returns how many were left out. */
uint64_t mp_admin_stats_prometheus(struct mp_admin_stats *s, uint64_t series_max,
                                   struct mp_sb *out);

/* The shortest decimal that reads back as the same number, without an exponent where people would
 * not use one; "nan". */
void mp_admin_add_double(struct mp_sb *out, double v);
