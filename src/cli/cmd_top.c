/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Two readings of /stats and what changed between them. A view is a kind of object (HTTP manager,
 * route, cluster) and its columns; a row is an object that has the view's first stat. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/http.h"
#include "cli/out.h"

/* ---- a reading ---- */

struct stat_line {
    struct mp_str name, value;
};
struct reading {
    struct mp_cli_answer answer; /* the lines point into it */
    struct stat_line *v;
    size_t n;
    double at_s;
};

static int by_name(const void *a, const void *b)
{
    return mp_str_cmp(((const struct stat_line *)a)->name, ((const struct stat_line *)b)->name);
}

static int read_stats(const struct mp_cli *cli, struct reading *r)
{
    *r = (struct reading){.v = NULL};
    int rc =
        mp_cli_request(cli, "GET", "/stats?filter=^(http|cluster|vhost|server)\\.", &r->answer);
    if (rc != MP_CLI_OK) {
        return rc;
    }
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    r->at_s = (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
    struct mp_str rest = mp_sb_str(&r->answer.body), line;
    size_t cap = 0;
    while (mp_str_split(&rest, '\n', &line)) {
        ptrdiff_t at = mp_str_find(line, MP_STR(": "));
        if (at <= 0) {
            continue;
        }
        if (r->n == cap) {
            cap = MP_MAX(2 * cap, 1024);
            r->v = mp_xrealloc(r->v, cap * sizeof(*r->v));
        }
        size_t n = (size_t)at;
        r->v[r->n++] =
            (struct stat_line){mp_str(line.p, n), mp_str(line.p + n + 2, line.n - n - 2)};
    }
    if (r->n > 0) {
        qsort(r->v, r->n, sizeof(*r->v), by_name);
    }
    return MP_CLI_OK;
}

static void reading_fini(struct reading *r)
{
    free(r->v);
    r->v = NULL;
    mp_cli_answer_fini(&r->answer);
}

static const struct stat_line *find(const struct reading *r, struct mp_str object, const char *key)
{
    char name[1024];
    int n = snprintf(name, sizeof(name), MP_STR_FMT ".%s", MP_STR_ARG(object), key);
    struct stat_line wanted = {mp_str(name, (size_t)MP_MAX(n, 0)), {NULL, 0}};
    if (n <= 0 || (size_t)n >= sizeof(name) || r->n == 0) {
        return NULL;
    }
    return bsearch(&wanted, r->v, r->n, sizeof(*r->v), by_name);
}

static double number(const struct reading *r, struct mp_str object, const char *key)
{
    uint64_t v;
    const struct stat_line *l = find(r, object, key);
    return l != NULL && !mp_is_err(mp_str_to_u64(l->value, &v)) ? (double)v : NAN;
}

/* Of "P0(nan,1) P25(nan,2) ...": the value of the last interval, else that since the start. */
static double quantile(const struct reading *r, struct mp_str object, const char *key,
                       const char *which)
{
    const struct stat_line *l = find(r, object, key);
    ptrdiff_t at = l != NULL ? mp_str_find(l->value, mp_str_c(which)) : -1;
    if (at < 0) {
        return NAN;
    }
    char text[64];
    snprintf(text, sizeof(text), MP_STR_FMT,
             MP_STR_ARG(
                 mp_str(l->value.p + at + strlen(which), l->value.n - (size_t)at - strlen(which))));
    char *comma, *end;
    double interval = strtod(text, &comma);
    if (comma == text || *comma != ',') {
        return NAN;
    }
    double total = strtod(comma + 1, &end);
    if (end == comma + 1) {
        return NAN;
    }
    return isnan(interval) ? total : interval;
}

/* ---- views ---- */

enum kind { RATE, VALUE, P50, P99 };
struct column {
    const char *title, *json, *key;
    enum kind kind;
};
struct view {
    const char *title, *json;
    const char *prefix, *inner; /* of the object's name: "vhost." ... ".route." ... */
    const struct column *columns;
    uint32_t n_columns;
};

static const struct column http_columns[] = {
    {"REQ/S", "requests_per_second", "downstream_rq_total", RATE},
    {"4XX/S", "4xx_per_second", "downstream_rq_4xx", RATE},
    {"5XX/S", "5xx_per_second", "downstream_rq_5xx", RATE},
    {"ACTIVE", "active", "downstream_rq_active", VALUE},
    {"CONN", "connections", "downstream_cx_active", VALUE},
    {"IN B/S", "bytes_in_per_second", "downstream_cx_rx_bytes_total", RATE},
    {"OUT B/S", "bytes_out_per_second", "downstream_cx_tx_bytes_total", RATE},
    {"P50 MS", "p50_ms", "downstream_rq_time", P50},
    {"P99 MS", "p99_ms", "downstream_rq_time", P99},
};
static const struct column route_columns[] = {
    {"REQ/S", "requests_per_second", "upstream_rq_total", RATE},
    {"4XX/S", "4xx_per_second", "upstream_rq_4xx", RATE},
    {"5XX/S", "5xx_per_second", "upstream_rq_5xx", RATE},
    {"P50 MS", "p50_ms", "upstream_rq_time", P50},
    {"P99 MS", "p99_ms", "upstream_rq_time", P99},
};
static const struct column cluster_columns[] = {
    {"REQ/S", "requests_per_second", "upstream_rq_total", RATE},
    {"4XX/S", "4xx_per_second", "upstream_rq_4xx", RATE},
    {"5XX/S", "5xx_per_second", "upstream_rq_5xx", RATE},
    {"RETRY/S", "retries_per_second", "upstream_rq_retry", RATE},
    {"ACTIVE", "active", "upstream_rq_active", VALUE},
    {"PENDING", "pending", "upstream_rq_pending_active", VALUE},
    {"CONN", "connections", "upstream_cx_active", VALUE},
    {"HEALTHY", "hosts_healthy", "membership_healthy", VALUE},
    {"HOSTS", "hosts", "membership_total", VALUE},
    {"P50 MS", "p50_ms", "upstream_rq_time", P50},
    {"P99 MS", "p99_ms", "upstream_rq_time", P99},
};
static const struct view views[] = {
    {"LISTENERS", "http", "http.", NULL, http_columns, MP_COUNTOF(http_columns)},
    {"ROUTES", "routes", "vhost.", ".route.", route_columns, MP_COUNTOF(route_columns)},
    {"CLUSTERS", "clusters", "cluster.", NULL, cluster_columns, MP_COUNTOF(cluster_columns)},
};

static double cell(const struct reading *old, const struct reading *now, struct mp_str object,
                   const struct column *c)
{
    double v, before;
    switch (c->kind) {
    case RATE:
        v = number(now, object, c->key);
        before = number(old, object, c->key);
        if (isnan(v)) {
            return v;
        }
        if (isnan(before) || before > v) {
            before = 0; /* new, or reset */
        }
        return (v - before) / MP_MAX(now->at_s - old->at_s, 1e-3);
    case VALUE:
        return number(now, object, c->key);
    case P50:
        return quantile(now, object, c->key, "P50(");
    case P99:
        return quantile(now, object, c->key, "P99(");
    }
    return NAN;
}

/* The object of a line that holds the first stat of the view; false: another line. */
static bool object_of(const struct view *v, const struct stat_line *l, struct mp_str *ret)
{
    struct mp_str key = mp_str_c(v->columns[0].key);
    if (!mp_str_starts(l->name, mp_str_c(v->prefix)) || !mp_str_ends(l->name, key) ||
        l->name.n < key.n + 1 + strlen(v->prefix) || l->name.p[l->name.n - key.n - 1] != '.') {
        return false;
    }
    *ret = mp_str(l->name.p, l->name.n - key.n - 1);
    return ret->n > strlen(v->prefix) && !mp_str_eq(*ret, MP_STR("http.admin")) &&
           (v->inner == NULL || mp_str_find(*ret, mp_str_c(v->inner)) >= 0);
}

/* ---- output ---- */

static bool print_view(const struct view *v, const struct reading *old, const struct reading *now)
{
    const char *titles[MP_CLI_COLUMNS_MAX] = {v->title};
    struct mp_cli_table t;
    struct mp_str object;
    for (uint32_t c = 0; c < v->n_columns; c++) {
        titles[c + 1] = v->columns[c].title;
    }
    mp_cli_table_init(&t, titles, v->n_columns + 1, ~1u);
    for (size_t i = 0; i < now->n; i++) {
        if (!object_of(v, &now->v[i], &object)) {
            continue;
        }
        size_t skip = strlen(v->prefix);
        mp_cli_cell(&t, MP_STR_FMT, MP_STR_ARG(mp_str(object.p + skip, object.n - skip)));
        for (uint32_t c = 0; c < v->n_columns; c++) {
            char text[16] = "-";
            double x = cell(old, now, object, &v->columns[c]);
            if (!isnan(x)) {
                mp_cli_short_number(text, x);
            }
            mp_cli_cell(&t, "%s", text);
        }
    }
    bool any = t.n > 0;
    if (any) {
        putchar('\n');
        mp_cli_table_print(&t, stdout);
    }
    mp_cli_table_fini(&t);
    return any;
}

static void print_text(const struct reading *old, const struct reading *now)
{
    static const char *const states[] = {"LIVE", "DRAINING", "PRE_INITIALIZING", "INITIALIZING"};
    struct mp_str server = MP_STR("server");
    double state = number(now, server, "state");
    char memory[16], connections[16];
    double mem = number(now, server, "memory_allocated");
    double cx = number(now, server, "total_connections");
    mp_cli_short_number(memory, isnan(mem) ? 0 : mem);
    mp_cli_short_number(connections, isnan(cx) ? 0 : cx);
    printf("%s, up %.0f s, %s connections, %s bytes in pools; rates over %.1f s\n",
           state >= 0 && (size_t)state < MP_COUNTOF(states) ? states[(size_t)state] : "unknown",
           number(now, server, "uptime"), connections, memory, now->at_s - old->at_s);
    for (size_t i = 0; i < MP_COUNTOF(views); i++) {
        (void)print_view(&views[i], old, now);
    }
}

static void json_rows(struct mp_sb *out, const struct view *v, const struct reading *old,
                      const struct reading *now)
{
    struct mp_str object;
    const char *comma = "";
    for (size_t i = 0; i < now->n; i++) {
        if (!object_of(v, &now->v[i], &object)) {
            continue;
        }
        size_t skip = strlen(v->prefix);
        mp_sb_printf(out, "%s{\"name\": ", comma);
        mp_sb_add_json(out, mp_str(object.p + skip, object.n - skip));
        for (uint32_t c = 0; c < v->n_columns; c++) {
            double x = cell(old, now, object, &v->columns[c]);
            mp_sb_printf(out, ", \"%s\": ", v->columns[c].json);
            if (isnan(x)) {
                mp_sb_add_c(out, "null");
            } else {
                mp_sb_printf(out, "%.6g", x);
            }
        }
        mp_sb_add_char(out, '}');
        comma = ", ";
    }
}

/* One object a line. */
static void print_json(const struct reading *old, const struct reading *now)
{
    struct mp_sb out;
    mp_sb_init(&out, MP_CLI_ANSWER_MAX);
    mp_sb_printf(&out, "{\"seconds\": %.3f", now->at_s - old->at_s);
    for (size_t i = 0; i < MP_COUNTOF(views); i++) {
        mp_sb_printf(&out, ", \"%s\": [", views[i].json);
        json_rows(&out, &views[i], old, now);
        mp_sb_add_char(&out, ']');
    }
    mp_sb_add_c(&out, "}\n");
    fwrite(out.p, 1, out.n, stdout);
    mp_sb_fini(&out);
}

/* ---- the loop ---- */

static int watch(struct mp_cli *cli, double interval_s, uint64_t count)
{
    struct reading old, now;
    int rc = read_stats(cli, &old);
    bool screen = isatty(STDOUT_FILENO) && count != 1 && !cli->json;
    for (uint64_t i = 0; rc == MP_CLI_OK && (count == 0 || i < count); i++) {
        struct timespec ts = {.tv_sec = (time_t)interval_s};
        ts.tv_nsec = (long)((interval_s - (double)ts.tv_sec) * 1e9);
        nanosleep(&ts, NULL);
        rc = read_stats(cli, &now);
        if (rc != MP_CLI_OK) {
            break;
        }
        fputs(screen ? "\033[H\033[2J" : i > 0 && !cli->json ? "\n" : "", stdout);
        (cli->json ? print_json : print_text)(&old, &now);
        if (fflush(stdout) != 0) {
            reading_fini(&now);
            rc = MP_CLI_UNREACHABLE;
            break;
        }
        reading_fini(&old);
        old = now;
    }
    if (old.v != NULL) {
        reading_fini(&old);
    }
    return rc;
}

static int run(struct mp_cli *cli)
{
    const char *interval = mp_cli_value(cli, "interval"), *count = mp_cli_value(cli, "count");
    bool once = mp_cli_value(cli, "once") != NULL;
    double interval_s = once ? 1 : 2;
    uint64_t n = once ? 1 : 0;
    if (interval != NULL) {
        char *end;
        interval_s = strtod(interval, &end);
        if (*end != '\0' || !(interval_s >= 0.1 && interval_s <= 3600)) {
            return mp_cli_fail(MP_CLI_USAGE,
                               "--interval '%s': must be a number of seconds from 0.1 to 3600",
                               interval);
        }
    }
    if (count != NULL && (once || !mp_cli_number("--count", count, 1, 1000000000, &n))) {
        return once ? mp_cli_fail(MP_CLI_USAGE, "--once and --count exclude each other")
                    : MP_CLI_USAGE;
    }
    return watch(cli, interval_s, n);
}

static const struct mp_cli_opt opts[] = {
    {"once", NULL, "one table over one second, then end", NULL},
    {"interval", "SECONDS", "between readings (default: 2)", NULL},
    {"count", "N", "end after N tables", NULL},
    {NULL, NULL, NULL, NULL},
};

const struct mp_cli_cmd mp_cmd_top = {
    .name = "top",
    .args = "",
    .help = "a live table of listeners, routes and clusters with their rates",
    .more =
        "Quantiles are those of the last interval that the proxy has finished. With --json each "
        "table is an object on a line of its own.",
    .opts = opts,
    .run = run,
};
