/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Stats as Envoy's /stats prints them: text and JSON. */
#include <math.h>
#include <stdlib.h>

#include "admin/stat_rows.h"

/* Counters and gauges by name, then histograms by name. */
static int compare(const void *pa, const void *pb)
{
    const struct mp_admin_stat *a = pa, *b = pb;
    if ((a->hist != NULL) != (b->hist != NULL)) {
        return a->hist != NULL ? 1 : -1;
    }
    return mp_str_cmp(a->name, b->name);
}

static void sort(struct mp_admin_stats *s)
{
    if (s->n > 0) {
        qsort(s->v, s->n, sizeof(s->v[0]), compare);
    }
}

static void add_summary(struct mp_sb *out, const struct mp_admin_hist *h)
{
    if (h->count == 0) {
        mp_sb_add_c(out, "No recorded values");
        return;
    }
    for (size_t i = 0; i < MP_ADMIN_QUANTILES; i++) {
        mp_sb_printf(out, "%sP%g(", i > 0 ? " " : "", 100 * mp_admin_quantiles[i]);
        mp_admin_add_double(out, h->interval[i]);
        mp_sb_add_char(out, ',');
        mp_admin_add_double(out, h->total[i]);
        mp_sb_add_char(out, ')');
    }
}

void mp_admin_stats_text(struct mp_admin_stats *s, struct mp_sb *out)
{
    sort(s);
    for (size_t i = 0; i < s->n; i++) {
        const struct mp_admin_stat *row = &s->v[i];
        mp_sb_add(out, row->name);
        mp_sb_add_c(out, ": ");
        if (row->hist != NULL) {
            add_summary(out, row->hist);
        } else {
            mp_sb_printf(out, "%llu", (unsigned long long)row->value);
        }
        mp_sb_add_char(out, '\n');
    }
}

/* JSON has no NaN. */
static void add_number(struct mp_sb *out, double v)
{
    if (isnan(v)) {
        mp_sb_add_c(out, "null");
        return;
    }
    mp_admin_add_double(out, v);
}

static void add_hist_json(struct mp_sb *out, const struct mp_admin_stat *row)
{
    mp_sb_add_c(out, "{\"name\":");
    mp_sb_add_json(out, row->name);
    mp_sb_add_c(out, ",\"values\":[");
    for (size_t i = 0; i < MP_ADMIN_QUANTILES; i++) {
        mp_sb_add_c(out, i > 0 ? ",{\"interval\":" : "{\"interval\":");
        add_number(out, row->hist->interval[i]);
        mp_sb_add_c(out, ",\"cumulative\":");
        add_number(out, row->hist->total[i]);
        mp_sb_add_char(out, '}');
    }
    mp_sb_add_c(out, "]}");
}

/* The percentiles once, then all histograms in one member. */
static void add_hists_json(struct mp_sb *out, const struct mp_admin_stat *v, size_t n)
{
    mp_sb_add_c(out, "{\"histograms\":{\"supported_quantiles\":[");
    for (size_t i = 0; i < MP_ADMIN_QUANTILES; i++) {
        mp_sb_printf(out, "%s%g", i > 0 ? "," : "", 100 * mp_admin_quantiles[i]);
    }
    mp_sb_add_c(out, "],\"computed_quantiles\":[");
    for (size_t i = 0; i < n; i++) {
        mp_sb_add_c(out, i > 0 ? "," : "");
        add_hist_json(out, &v[i]);
    }
    mp_sb_add_c(out, "]}}");
}

void mp_admin_stats_json(struct mp_admin_stats *s, struct mp_sb *out)
{
    sort(s);
    mp_sb_add_c(out, "{\"stats\":[");
    size_t i = 0;
    for (; i < s->n && s->v[i].hist == NULL; i++) {
        mp_sb_add_c(out, i > 0 ? ",{\"name\":" : "{\"name\":");
        mp_sb_add_json(out, s->v[i].name);
        mp_sb_printf(out, ",\"value\":%llu}", (unsigned long long)s->v[i].value);
    }
    if (i < s->n) {
        mp_sb_add_c(out, i > 0 ? "," : "");
        add_hists_json(out, &s->v[i], s->n - i);
    }
    mp_sb_add_c(out, "]}");
}
