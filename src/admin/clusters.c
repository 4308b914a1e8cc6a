/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "admin/address.h"
#include "admin/hosts.h"
#include "admin/pages.h"
#include "core/engine.h"
#include "core/host.h"

static void add_limits_text(struct mp_sb *out, const struct mp_conf_cluster *c)
{
    static const char *const priorities[MP_PRIORITIES] = {"default", "high"};
    struct mp_str name = c->name;
    mp_sb_printf(out, MP_STR_FMT "::observability_name::" MP_STR_FMT "\n", MP_STR_ARG(name),
                 MP_STR_ARG(c->alt_stat_name.n > 0 ? c->alt_stat_name : name));
    for (int p = 0; p < MP_PRIORITIES; p++) {
        const struct mp_conf_breaker *b = &c->breakers[p];
        const struct {
            const char *name;
            uint32_t value;
        } limits[] = {
            {"max_connections", b->connections_max},
            {"max_pending_requests", b->pending_max},
            {"max_requests", b->requests_max},
            {"max_retries", b->retries_max},
        };
        for (size_t i = 0; i < MP_COUNTOF(limits); i++) {
            mp_sb_printf(out, MP_STR_FMT "::%s_priority::%s::%u\n", MP_STR_ARG(name), priorities[p],
                         limits[i].name, limits[i].value);
        }
    }
    mp_sb_printf(out, MP_STR_FMT "::added_via_api::false\n", MP_STR_ARG(name));
}

static const struct {
    uint32_t bit;
    const char *text, *json;
} health_names[] = {
    {MP_HEALTH_FAILED_CHECK, "/failed_active_hc", "failed_active_health_check"},
    {MP_HEALTH_FAILED_OUTLIER, "/failed_outlier_check", "failed_outlier_check"},
    {MP_HEALTH_PENDING_CHECK, "/pending_active_hc", "pending_active_hc"},
};

static void add_health_text(struct mp_sb *out, const struct mp_admin_host *h)
{
    if (h->configured_up && h->health == 0) {
        mp_sb_add_c(out, "healthy");
    }
    for (size_t i = 0; i < MP_COUNTOF(health_names); i++) {
        mp_sb_add_c(out, (h->health & health_names[i].bit) != 0 ? health_names[i].text : "");
    }
    mp_sb_add_c(out, h->configured_up ? "" : "/failed_eds_health");
}

static void add_health_json(struct mp_sb *out, const struct mp_admin_host *h)
{
    mp_sb_add_c(out, "\"health_status\": {");
    for (size_t i = 0; i < MP_COUNTOF(health_names); i++) {
        if ((h->health & health_names[i].bit) != 0) {
            mp_sb_printf(out, "\"%s\": true, ", health_names[i].json);
        }
    }
    mp_sb_printf(out, "\"eds_health_status\": \"%s\"}", h->configured_up ? "HEALTHY" : "UNHEALTHY");
}

static void add_host_text(struct mp_sb *out, struct mp_str cluster, const struct mp_admin_host *h)
{
    const struct {
        const char *name;
        uint32_t value;
    } numbers[] = {
        {"cx_active", h->cx_active},
        {"rq_active", h->rq_active},
        {"weight", h->weight},
        {"priority", h->priority},
    };
    for (size_t i = 0; i < MP_COUNTOF(numbers); i++) {
        mp_sb_printf(out, MP_STR_FMT "::" MP_STR_FMT "::%s::%u\n", MP_STR_ARG(cluster),
                     MP_STR_ARG(h->text), numbers[i].name, numbers[i].value);
    }
    mp_sb_printf(out, MP_STR_FMT "::" MP_STR_FMT "::hostname::" MP_STR_FMT "\n",
                 MP_STR_ARG(cluster), MP_STR_ARG(h->text), MP_STR_ARG(h->hostname));
    mp_sb_printf(out, MP_STR_FMT "::" MP_STR_FMT "::health_flags::", MP_STR_ARG(cluster),
                 MP_STR_ARG(h->text));
    add_health_text(out, h);
    mp_sb_add_c(out, "\n");
}

static void add_host_json(struct mp_sb *out, const struct mp_admin_host *h)
{
    mp_sb_add_c(out, "\n    {\n     \"address\": ");
    mp_admin_add_address_json(out, h->ip, h->port, h->is_unix);
    mp_sb_printf(
        out,
        ",\n     \"stats\": [\n"
        "      {\"name\": \"cx_active\", \"value\": \"%u\", \"type\": \"GAUGE\"},\n"
        "      {\"name\": \"rq_active\", \"value\": \"%u\", \"type\": \"GAUGE\"}\n     ],\n"
        "     ",
        h->cx_active, h->rq_active);
    add_health_json(out, h);
    mp_sb_printf(out,
                 ",\n     \"weight\": %u,\n     \"priority\": %u,\n     \"hostname\": ", h->weight,
                 h->priority);
    mp_sb_add_json(out, h->hostname);
    mp_sb_add_c(out, "\n    }");
}

static void add_json(struct mp_sb *out, const struct mp_conf_cluster *c,
                     const struct mp_admin_host *h)
{
    mp_sb_add_c(out, "\n  {\n   \"name\": ");
    mp_sb_add_json(out, c->name);
    mp_sb_add_c(out, ",\n   \"observability_name\": ");
    mp_sb_add_json(out, c->alt_stat_name.n > 0 ? c->alt_stat_name : c->name);
    mp_sb_add_c(out,
                ",\n   \"added_via_api\": false,\n   \"circuit_breakers\": {\"thresholds\": [");
    for (int p = 0; p < MP_PRIORITIES; p++) {
        const struct mp_conf_breaker *b = &c->breakers[p];
        mp_sb_printf(out,
                     "%s\n    {\"priority\": \"%s\", \"max_connections\": %u, "
                     "\"max_pending_requests\": %u, \"max_requests\": %u, \"max_retries\": %u}",
                     p > 0 ? "," : "", p > 0 ? "HIGH" : "DEFAULT", b->connections_max,
                     b->pending_max, b->requests_max, b->retries_max);
    }
    mp_sb_add_c(out, "\n   ]},\n   \"host_statuses\": [");
    for (const struct mp_admin_host *first = h; h != NULL; h = h->next) {
        mp_sb_add_c(out, h == first ? "" : ",");
        add_host_json(out, h);
    }
    mp_sb_add_c(out, "\n   ]\n  }");
}

static void collected(void *arg, const struct mp_admin_hosts *hosts)
{
    struct mp_admin_call *call = arg;
    const struct mp_snapshot *snap = call->engine->snap;
    struct mp_sb *out = &call->out;
    bool json = mp_str_eq(call->content_type, MP_ADMIN_JSON);
    mp_sb_add_c(out, json ? "{\n \"cluster_statuses\": [" : "");
    for (uint32_t i = 0; i < snap->n_clusters; i++) {
        const struct mp_conf_cluster *c = snap->clusters[i]->conf;
        const struct mp_admin_host *h = mp_admin_hosts_of(hosts, snap->clusters[i]->id);
        if (json) {
            mp_sb_add_c(out, i > 0 ? "," : "");
            add_json(out, c, h);
            continue;
        }
        add_limits_text(out, c);
        for (; h != NULL; h = h->next) {
            add_host_text(out, c->name, h);
        }
    }
    mp_sb_add_c(out, json ? "\n ]\n}\n" : "");
    mp_admin_finish(call);
}

void mp_admin_page_clusters(struct mp_admin_call *call)
{
    bool json;
    if (mp_admin_wants_json(call, &json)) {
        call->later = true;
        mp_admin_collect_hosts(call->engine, collected, call);
    }
}
