/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "admin/stat_rows.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

const double mp_admin_quantiles[MP_ADMIN_QUANTILES] = {0,    0.25, 0.5,   0.75,  0.9,
                                                       0.95, 0.99, 0.995, 0.999, 1};
#define BOUND(v) \
    {            \
        v, #v    \
    }
const struct mp_admin_bound mp_admin_bounds[MP_ADMIN_BUCKETS] = {
    BOUND(0.5),    BOUND(1),      BOUND(5),       BOUND(10),     BOUND(25),
    BOUND(50),     BOUND(100),    BOUND(250),     BOUND(500),    BOUND(1000),
    BOUND(2500),   BOUND(5000),   BOUND(10000),   BOUND(30000),  BOUND(60000),
    BOUND(300000), BOUND(600000), BOUND(1800000), BOUND(3600000)};

struct reading {
    const struct mp_admin_stat_query *q;
    struct mp_admin_stats *rows;
    struct mp_sb name; /* scratch */
    bool failed;
};

static struct mp_str keep(struct reading *r, struct mp_str s)
{
    struct mp_str copy = mp_arena_dup(&r->rows->arena, s);
    MP_ASSERT(copy.p != NULL);
    return copy;
}

/* Scope names come from the configuration. A colon would end the name for readers of "name: value"
 * lines, a line break the line. */
static void add_scope(struct mp_sb *out, struct mp_str scope)
{
    for (size_t i = 0; i < scope.n; i++) {
        char c = scope.p[i];
        mp_sb_add_char(out, c == ':' || (unsigned char)c <= ' ' || c == 0x7f ? '_' : c);
    }
}

static void make_name(struct mp_sb *out, const struct mp_stat_view *v)
{
    mp_sb_reset(out);
    mp_sb_add_c(out, v->schema->text_prefix);
    if (v->scope.n > 0) {
        add_scope(out, v->scope);
        mp_sb_add_c(out, v->def->name[0] != '\0' ? "." : "");
    }
    mp_sb_add_c(out, v->def->name);
}

/* [a-zA-Z_:][a-zA-Z0-9_:]*, everything else becomes '_'. */
static struct mp_str prom_name(struct reading *r, const struct mp_stat_view *v)
{
    const char *last = v->def->prom_name != NULL ? v->def->prom_name : v->def->name;
    mp_sb_reset(&r->name);
    mp_sb_add_c(&r->name, v->schema->prom_prefix);
    mp_sb_add_c(&r->name, last);
    if (v->schema->scope_is_name) {
        mp_sb_add(&r->name, v->scope);
    }
    for (size_t i = 0; i < r->name.n; i++) {
        char c = r->name.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';
        if (!letter && (i == 0 || c < '0' || c > '9')) {
            r->name.p[i] = '_';
        }
    }
    return keep(r, mp_sb_str(&r->name));
}

size_t mp_admin_n_bounds(const struct mp_stat_def *def)
{
    return def->bounds != NULL ? MP_MIN(def->n_bounds, (uint32_t)MP_ADMIN_BUCKETS)
                               : MP_ADMIN_BUCKETS;
}

double mp_admin_bound(const struct mp_stat_def *def, size_t i)
{
    return def->bounds != NULL ? def->bounds[i] : mp_admin_bounds[i].value;
}

static struct mp_admin_hist *make_hist(struct reading *r, const struct mp_stat_view *v)
{
    struct mp_admin_hist *h = mp_arena_zalloc(&r->rows->arena, sizeof(*h));
    MP_ASSERT(h != NULL);
    double scale = v->def->scale > 0 ? v->def->scale : 1;
    h->count = v->hist->count;
    h->sum = (double)v->hist->sum / scale;
    for (size_t i = 0; r->q->prometheus && i < mp_admin_n_bounds(v->def); i++) {
        h->le[i] = mp_hist_count_le(v->hist, (uint64_t)(mp_admin_bound(v->def, i) * scale));
    }
    for (size_t i = 0; !r->q->prometheus && i < MP_ADMIN_QUANTILES; i++) {
        h->interval[i] = mp_hist_quantile(v->interval, mp_admin_quantiles[i]) / scale;
        h->total[i] = mp_hist_quantile(v->hist, mp_admin_quantiles[i]) / scale;
    }
    return h;
}

static void visit(void *arg, const struct mp_stat_view *v)
{
    struct reading *r = arg;
    if (r->failed || (r->q->kinds >> v->def->kind & 1) == 0 || (r->q->usedonly && v->value == 0)) {
        return;
    }
    make_name(&r->name, v);
    enum mp_regex_result match =
        r->q->filter != NULL ? mp_regex_match(r->q->filter, mp_sb_str(&r->name)) : MP_REGEX_YES;
    r->failed = match == MP_REGEX_FAILED;
    if (match != MP_REGEX_YES) {
        return;
    }
    struct mp_admin_stats *rows = r->rows;
    if (rows->n == rows->cap) {
        rows->cap = rows->cap > 0 ? 2 * rows->cap : 256;
        rows->v = mp_xrealloc(rows->v, rows->cap * sizeof(rows->v[0]));
    }
    struct mp_admin_stat *row = &rows->v[rows->n++];
    *row = (struct mp_admin_stat){.schema = v->schema, .def = v->def, .value = v->value};
    row->name = keep(r, mp_sb_str(&r->name));
    row->scope = v->schema->scope_is_name ? MP_STR("") : keep(r, v->scope);
    row->prom = r->q->prometheus ? prom_name(r, v) : MP_STR("");
    row->hist = v->def->kind == MP_STAT_HISTOGRAM ? make_hist(r, v) : NULL;
}

mp_err mp_admin_stats_read(struct mp_stat_store *st, const struct mp_admin_stat_query *q,
                           struct mp_admin_stats *ret)
{
    struct mp_admin_stats rows = {.n = 0};
    struct reading r = {.q = q, .rows = &rows};
    mp_arena_init(&rows.arena, NULL, 0, &mp_block_source_heap, 64 * 1024, SIZE_MAX / 2);
    mp_sb_init(&r.name, 64 * 1024);
    mp_stat_walk(st, visit, &r);
    mp_sb_fini(&r.name);
    if (r.failed) {
        mp_admin_stats_fini(&rows);
        return MP_FAIL(LIMIT);
    }
    *ret = rows;
    return MP_OK;
}

void mp_admin_stats_fini(struct mp_admin_stats *s)
{
    free(s->v);
    mp_arena_fini(&s->arena);
    *s = (struct mp_admin_stats){.n = 0};
}

void mp_admin_add_double(struct mp_sb *out, double v)
{
    char text[40];
    if (isnan(v)) {
        mp_sb_add_c(out, "nan");
        return;
    }
    int digits = 1;
    do {
        snprintf(text, sizeof(text), "%.*e", digits - 1, v);
    } while (digits++ < 17 && strtod(text, NULL) != v);
    const char *e = strchr(text, 'e');
    int exponent = e != NULL ? (int)strtol(e + 1, NULL, 10) : INT_MAX; /* no 'e': infinite */
    if (exponent >= -4 && exponent < 16) {
        mp_sb_printf(out, "%.*f", MP_MAX(digits - 2 - exponent, 0), v);
        return;
    }
    mp_sb_add_c(out, text);
}
