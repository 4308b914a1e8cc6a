/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* /stats and /stats/prometheus: what the parameters ask for. */
#include <string.h>

#include "admin/admin.h"
#include "admin/pages.h"
#include "admin/stat_rows.h"
#include "core/engine.h"
#include "core/health.h"
#include "core/stats.h"

enum form { FORM_TEXT, FORM_JSON, FORM_PROMETHEUS };

#define KIND(k)   (1u << MP_STAT_##k)
#define ALL_KINDS (KIND(COUNTER) | KIND(GAUGE) | KIND(HISTOGRAM))

static bool parse_form(struct mp_admin_call *call, enum form *ret)
{
    static const struct {
        const char *name;
        enum form form;
    } forms[] = {{"text", FORM_TEXT}, {"json", FORM_JSON}, {"prometheus", FORM_PROMETHEUS}};
    const struct mp_str *v = mp_admin_param(call, "format");
    if (v == NULL) {
        return true;
    }
    for (size_t i = 0; i < MP_COUNTOF(forms); i++) {
        if (mp_str_eq(*v, mp_str_c(forms[i].name))) {
            *ret = forms[i].form;
            return true;
        }
    }
    mp_admin_fail(call, 400, "usage: /stats?format=(json|prometheus|text)\n\n");
    return false;
}

static bool parse_kinds(struct mp_admin_call *call, unsigned *ret)
{
    static const struct {
        const char *name;
        unsigned kinds;
    } types[] = {{"All", ALL_KINDS},
                 {"Counters", KIND(COUNTER)},
                 {"Gauges", KIND(GAUGE)},
                 {"Histograms", KIND(HISTOGRAM)},
                 {"TextReadouts", 0}}; /* there are none */
    const struct mp_str *v = mp_admin_param(call, "type");
    *ret = ALL_KINDS;
    if (v == NULL || v->n == 0) {
        return true;
    }
    for (size_t i = 0; i < MP_COUNTOF(types); i++) {
        if (mp_str_ieq(*v, mp_str_c(types[i].name))) {
            *ret = types[i].kinds;
            return true;
        }
    }
    mp_admin_fail(call, 400, "invalid &type= param\n");
    return false;
}

static bool parse_filter(struct mp_admin_call *call, struct mp_regex **ret)
{
    const struct mp_str *v = mp_admin_param(call, "filter");
    struct mp_arena arena;
    const char *cause = "";
    if (v == NULL || v->n == 0) {
        return true;
    }
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 1024, 64 * 1024);
    mp_err err = mp_regex_new(*v, false, &arena, ret, &cause);
    if (mp_is_err(err)) {
        mp_admin_fail(call, 400, "Invalid regex: %s\n", cause != NULL ? cause : "");
    }
    mp_arena_fini(&arena);
    return !mp_is_err(err);
}

/* What Envoy has and we would have to ignore. */
static bool refuse_unsupported(struct mp_admin_call *call)
{
    const struct mp_str *v = mp_admin_param(call, "histogram_buckets");
    if (v != NULL && !mp_str_eq(*v, MP_STR("none")) && !mp_str_eq(*v, MP_STR("summary"))) {
        mp_admin_fail(call, 400,
                      "histogram_buckets: only \"summary\" is supported here; "
                      "buckets are in /stats/prometheus\n");
        return false;
    }
    return true;
}

static void print(struct mp_admin_call *call, enum form form, struct mp_admin_stats *rows)
{
    switch (form) {
    case FORM_TEXT:
        mp_admin_stats_text(rows, &call->out);
        break;
    case FORM_JSON:
        call->content_type = MP_ADMIN_JSON;
        mp_admin_stats_json(rows, &call->out);
        break;
    case FORM_PROMETHEUS:
        mp_stat_add(call->engine->main->server_stats, MP_ST_SERVER_SERIES_LEFT_OUT,
                    mp_admin_stats_prometheus(rows, call->engine->snap->conf->admin.series_max,
                                              &call->out));
        break;
    }
}

static void answer(struct mp_admin_call *call, enum form form)
{
    struct mp_regex *filter = NULL;
    struct mp_admin_stat_query q = {.usedonly = mp_admin_param(call, "usedonly") != NULL};
    struct mp_admin_stats rows;
    if (!refuse_unsupported(call) || !parse_form(call, &form) || !parse_kinds(call, &q.kinds) ||
        !parse_filter(call, &filter)) {
        return;
    }
    q.filter = filter;
    q.prometheus = form == FORM_PROMETHEUS;
    mp_admin_refresh(call->engine);
    mp_health_refresh_stats(call->engine);
    if (mp_is_err(mp_admin_stats_read(call->engine->stats, &q, &rows))) {
        mp_admin_fail(call, 400, "Invalid regex: it takes too long to match\n");
    } else {
        print(call, form, &rows);
        mp_admin_stats_fini(&rows);
    }
    mp_regex_free(filter);
}

void mp_admin_page_stats(struct mp_admin_call *call)
{
    answer(call, FORM_TEXT);
}

void mp_admin_page_prometheus(struct mp_admin_call *call)
{
    answer(call, FORM_PROMETHEUS);
}
