/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Stats in Prometheus' text format. A scrape is refused whole when a metric's samples are apart, a
 * series occurs twice or a family has two types: so rows are sorted by family and labels, equal
 * series are added up, and a row that contradicts its family's type is left out.
 */
#include <stdio.h>
#include <stdlib.h>

#include "admin/stat_rows.h"

static struct mp_str label_value(const struct mp_admin_stat *s)
{
    return mp_str_c(s->def->label_value);
}

static int compare(const void *pa, const void *pb)
{
    const struct mp_admin_stat *a = pa, *b = pb;
    int c = mp_str_cmp(a->prom, b->prom);
    c = c != 0 ? c : (int)a->def->kind - (int)b->def->kind;
    c = c != 0 ? c : mp_str_cmp(mp_str_c(a->schema->label), mp_str_c(b->schema->label));
    c = c != 0 ? c : mp_str_cmp(a->scope, b->scope);
    return c != 0 ? c : mp_str_cmp(label_value(a), label_value(b));
}

static void add_to(struct mp_admin_stat *into, const struct mp_admin_stat *row)
{
    into->value += row->value;
    if (into->hist == NULL) {
        return;
    }
    for (size_t i = 0; i < MP_ADMIN_BUCKETS; i++) {
        into->hist->le[i] += row->hist->le[i];
    }
    into->hist->count += row->hist->count;
    into->hist->sum += row->hist->sum;
}

static void merge_equal(struct mp_admin_stats *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (kept > 0 && compare(&s->v[kept - 1], &s->v[i]) == 0) {
            add_to(&s->v[kept - 1], &s->v[i]);
        } else {
            s->v[kept++] = s->v[i];
        }
    }
    s->n = kept;
}

/* In help texts quotes stay as they are. Bytes that are not UTF-8 become U+FFFD. */
static void add_escaped(struct mp_sb *out, struct mp_str s, bool quoted)
{
    while (s.n > 0) {
        uint32_t cp;
        size_t n = mp_utf8_next(s, &cp);
        if (n == 0) {
            mp_sb_add_c(out, "\xef\xbf\xbd");
            n = 1;
        } else if (cp == '\n') {
            mp_sb_add_c(out, "\\n");
        } else {
            if (cp == '\\' || (cp == '"' && quoted)) {
                mp_sb_add_char(out, '\\');
            }
            mp_sb_add(out, mp_str(s.p, n));
        }
        s = mp_str(s.p + n, s.n - n);
    }
}

static void add_label(struct mp_sb *out, bool *first, const char *name, struct mp_str value)
{
    mp_sb_printf(out, "%c%s=\"", *first ? '{' : ',', name);
    add_escaped(out, value, true);
    mp_sb_add_char(out, '"');
    *first = false;
}

/* "name_suffix{labels} ", le NULL: without that label. */
static void begin_sample(struct mp_sb *out, const struct mp_admin_stat *s, const char *suffix,
                         const char *le)
{
    bool first = true;
    mp_sb_add(out, s->prom);
    mp_sb_add_c(out, suffix);
    if (s->def->label != NULL) {
        add_label(out, &first, s->def->label, label_value(s));
    }
    if (s->schema->label != NULL) {
        add_label(out, &first, s->schema->label, s->scope);
    }
    if (le != NULL) {
        add_label(out, &first, "le", mp_str_c(le));
    }
    mp_sb_add_c(out, first ? " " : "} ");
}

static void add_count(struct mp_sb *out, uint64_t n)
{
    mp_sb_printf(out, "%llu\n", (unsigned long long)n);
}

static void add_histogram(struct mp_sb *out, const struct mp_admin_stat *s)
{
    for (size_t i = 0; i < mp_admin_n_bounds(s->def); i++) {
        char own[40];
        snprintf(own, sizeof(own), "%.15g", mp_admin_bound(s->def, i));
        begin_sample(out, s, "_bucket", s->def->bounds != NULL ? own : mp_admin_bounds[i].text);
        add_count(out, s->hist->le[i]);
    }
    begin_sample(out, s, "_bucket", "+Inf");
    add_count(out, s->hist->count);
    begin_sample(out, s, "_sum", NULL);
    mp_admin_add_double(out, s->hist->sum);
    mp_sb_add_char(out, '\n');
    begin_sample(out, s, "_count", NULL);
    add_count(out, s->hist->count);
}

static void begin_family(struct mp_sb *out, const struct mp_admin_stat *s)
{
    static const char *const types[] = {
        [MP_STAT_COUNTER] = "counter",
        [MP_STAT_GAUGE] = "gauge",
        [MP_STAT_HISTOGRAM] = "histogram",
    };
    mp_sb_printf(out, "# HELP " MP_STR_FMT " ", MP_STR_ARG(s->prom));
    add_escaped(out, mp_str_c(s->def->help), false);
    mp_sb_printf(out, "\n# TYPE " MP_STR_FMT " %s\n", MP_STR_ARG(s->prom), types[s->def->kind]);
}

static uint64_t series_of(const struct mp_admin_stat *s)
{
    return s->hist != NULL ? mp_admin_n_bounds(s->def) + 3 : 1;
}

uint64_t mp_admin_stats_prometheus(struct mp_admin_stats *s, uint64_t series_max, struct mp_sb *out)
{
    uint64_t shown = 0, left_out = 0;
    const struct mp_admin_stat *family = NULL;
    if (s->n > 0) {
        qsort(s->v, s->n, sizeof(s->v[0]), compare);
    }
    merge_equal(s);
    for (size_t i = 0; i < s->n; i++) {
        const struct mp_admin_stat *row = &s->v[i];
        if (left_out > 0 || (series_max > 0 && shown + series_of(row) > series_max)) {
            left_out += series_of(row);
            continue;
        }
        shown += series_of(row);
        if (family == NULL || !mp_str_eq(family->prom, row->prom)) {
            family = row;
            begin_family(out, row);
        }
        if (row->def->kind != family->def->kind) {
            continue;
        }
        if (row->hist != NULL) {
            add_histogram(out, row);
        } else {
            begin_sample(out, row, "", NULL);
            add_count(out, row->value);
        }
    }
    if (left_out > 0) {
        mp_sb_printf(out, "# %llu series are left out: max_series is %llu\n",
                     (unsigned long long)left_out, (unsigned long long)series_max);
    }
    return left_out;
}
