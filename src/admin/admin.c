/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The table of pages, and the model of the HTTP manager that serves them. */
#include "admin/admin.h"

#include <string.h>

#include "admin/filter.h"
#include "admin/pages.h"
#include "base/assert.h"
#include "codec/uri.h"
#include "conf/registry.h"
#include "core/engine.h"

#define PAGES_MAX 64

static const struct mp_admin_page builtin[] = {
    {"/", MP_METHOD_GET, mp_admin_page_index, "Admin home page", NULL},
    {"/certs", MP_METHOD_GET, mp_admin_page_certs, "print certificates in use", NULL},
    {"/clusters", MP_METHOD_GET, mp_admin_page_clusters, "upstream cluster status",
     "format: text (default) or json\n"},
    {"/config_dump", MP_METHOD_GET, mp_admin_page_config_dump,
     "dump current configuration; secrets are redacted",
     "resource: only the items of this field, such as static_clusters\n"
     "name_regex: only resources whose whole name matches\n"
     "include_eds: endpoints, as they are resolved now, as well\n"},
    {"/drain_listeners", MP_METHOD_POST, mp_admin_page_drain_listeners,
     "stop accepting; connections close after their current response",
     "graceful: as it always is\n"},
    {"/healthcheck/fail", MP_METHOD_POST, mp_admin_page_healthcheck_fail,
     "cause the server to fail health checks", NULL},
    {"/healthcheck/ok", MP_METHOD_POST, mp_admin_page_healthcheck_ok,
     "cause the server to pass health checks", NULL},
    {"/help", MP_METHOD_GET, mp_admin_page_help, "print out list of admin commands", NULL},
    {"/hot_restart_version", MP_METHOD_GET, mp_admin_page_hot_restart_version,
     "print the hot restart compatibility version", NULL},
    {"/listeners", MP_METHOD_GET, mp_admin_page_listeners, "print listener info",
     "format: text (default) or json\n"},
    {"/logging", MP_METHOD_POST, mp_admin_page_logging, "query/change logging levels",
     "level: trace, debug, info, warning, error, critical or off\n"},
    {"/memory", MP_METHOD_GET, mp_admin_page_memory, "print current allocation/heap usage", NULL},
    {"/metrics", MP_METHOD_GET, mp_admin_page_prometheus, "the same as /stats/prometheus",
     "usedonly: only stats that have been written\n"
     "filter: regular expression that a part of the name matches\n"},
    {"/quitquitquit", MP_METHOD_POST, mp_admin_page_quit, "exit the server", NULL},
    {"/ready", MP_METHOD_GET, mp_admin_page_ready,
     "print server state, return 200 if LIVE, otherwise return 503", NULL},
    {"/reopen_logs", MP_METHOD_POST, mp_admin_page_reopen_logs, "reopen access logs", NULL},
    {"/reset_counters", MP_METHOD_POST, mp_admin_page_reset_counters, "reset all counters to zero",
     NULL},
    {"/runtime", MP_METHOD_GET, mp_admin_page_runtime, "print runtime values", NULL},
    {"/server_info", MP_METHOD_GET, mp_admin_page_server_info,
     "print server version/status information", NULL},
    {"/stats", MP_METHOD_GET, mp_admin_page_stats, "print server stats",
     "usedonly: only stats that have been written\n"
     "filter: regular expression that a part of the name matches\n"
     "type: All, Counters, Gauges or Histograms\n"
     "format: text (default), json or prometheus\n"},
    {"/stats/prometheus", MP_METHOD_GET, mp_admin_page_prometheus,
     "print server stats in prometheus format",
     "usedonly: only stats that have been written\n"
     "filter: regular expression that a part of the name matches\n"},
};

/* Envoy's, of which we have nothing to show or to change: named, so that nobody looks for them. */
static const struct mp_admin_page absent[] = {
    {"/allocprofiler", MP_METHOD_POST, mp_admin_page_absent, "not supported here", NULL},
    {"/contention", MP_METHOD_GET, mp_admin_page_absent, "not supported here: there are no locks",
     NULL},
    {"/cpuprofiler", MP_METHOD_POST, mp_admin_page_absent, "not supported here: use perf", NULL},
    {"/heap_dump", MP_METHOD_GET, mp_admin_page_absent, "not supported here", NULL},
    {"/heapprofiler", MP_METHOD_POST, mp_admin_page_absent, "not supported here", NULL},
    {"/init_dump", MP_METHOD_GET, mp_admin_page_absent, "not supported here: see /config_dump",
     NULL},
    {"/runtime_modify", MP_METHOD_POST, mp_admin_page_absent,
     "not supported here: change the file and reload", NULL},
    {"/tap", MP_METHOD_POST, mp_admin_page_absent, "not supported here", NULL},
};

/* Written at start only. */
static struct {
    const struct mp_admin_page *v[PAGES_MAX];
    uint32_t n;
} pages;
static struct mp_admin_conf admin_conf, metrics_conf = {.metrics_only = true};
static struct {
    void (*fn)(void *arg);
    void *arg;
} quit;

static void insert(const struct mp_admin_page *page)
{
    uint32_t i = 0;
    while (i < pages.n && strcmp(pages.v[i]->path, page->path) < 0) {
        i++;
    }
    if (i == pages.n || strcmp(pages.v[i]->path, page->path) != 0) {
        MP_ASSERT(pages.n < PAGES_MAX);
        memmove(&pages.v[i + 1], &pages.v[i], (pages.n - i) * sizeof(pages.v[0]));
        pages.n++;
    }
    pages.v[i] = page;
}

static void fill_table(void)
{
    bool empty = pages.n == 0;
    for (size_t i = 0; empty && i < MP_COUNTOF(builtin); i++) {
        insert(&builtin[i]);
    }
    for (size_t i = 0; empty && i < MP_COUNTOF(absent); i++) {
        insert(&absent[i]);
    }
}

void mp_admin_register(const struct mp_admin_page *page)
{
    MP_ASSERT(page->path[0] == '/');
    fill_table();
    insert(page);
}

const struct mp_admin_page *const *mp_admin_pages(uint32_t *ret_n)
{
    fill_table();
    *ret_n = pages.n;
    return pages.v;
}

const struct mp_admin_page *mp_admin_find_page(struct mp_str path)
{
    uint32_t n;
    const struct mp_admin_page *const *v = mp_admin_pages(&n);
    for (uint32_t i = 0; i < n; i++) {
        if (mp_str_eq(mp_str_c(v[i]->path), path)) {
            return v[i];
        }
    }
    return NULL;
}

void mp_admin_bind(struct mp_engine *e)
{
    admin_conf.engine = e;
    metrics_conf.engine = e;
}

void mp_admin_set_quit(void (*fn)(void *arg), void *arg)
{
    quit.fn = fn;
    quit.arg = arg;
}

void mp_admin_quit(struct mp_engine *e)
{
    if (quit.fn != NULL) {
        quit.fn(quit.arg);
        return;
    }
    mp_engine_stop(e);
}

static const struct mp_conf_filter_type conf_type = {
    .name = "marchproxy.filters.http.admin",
    .terminal = true,
    .impl = &mp_filter_admin,
};
static struct mp_conf_http_filter filters[] = {
    {.name = {"marchproxy.filters.http.admin", 29}, .type = &conf_type, .parsed = &admin_conf},
};
static struct mp_conf_http_filter metrics_filters[] = {
    {.name = {"marchproxy.filters.http.admin", 29}, .type = &conf_type, .parsed = &metrics_conf},
};
static struct mp_conf_routes routes = {.name = {"admin", 5}};

/* What both managers have. */
#define MANAGER                                                                               \
    .codec = MP_CODEC_HTTP1, .routes = &routes, .server_name = {"marchproxy", 10},            \
    .server_header = MP_SERVER_OVERWRITE, .use_remote_address = true, .normalize_path = true, \
    .escaped_slashes = MP_SLASH_KEEP, .idle_timeout_ms = 3600000,                             \
    .stream_idle_timeout_ms = 300000, .request_timeout_ms = 60000,                            \
    .request_headers_timeout_ms = 10000, .drain_timeout_ms = 5000,                            \
    .delayed_close_timeout_ms = 1000, .head_bytes_max = 60 * 1024, .fields_max = 100,         \
    .body_bytes_max = MP_ADMIN_REQUEST_BODY_MAX, .accept_http10 = true,                       \
    .allow_absolute_url = true,

static const struct mp_conf_http http = {
    MANAGER.stat_prefix = {"admin", 5},
    .filters = filters,
    .n_filters = MP_COUNTOF(filters),
};
static const struct mp_conf_http metrics_http = {
    MANAGER.stat_prefix = {"metrics", 7},
    .filters = metrics_filters,
    .n_filters = MP_COUNTOF(metrics_filters),
};

const struct mp_conf_http *mp_admin_metrics_http(void)
{
    return &metrics_http;
}

const struct mp_conf_http *mp_admin_http(void)
{
    return &http;
}
