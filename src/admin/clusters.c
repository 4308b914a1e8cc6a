/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "admin/address.h"
#include "admin/hosts.h"
#include "admin/pages.h"
#include "core/engine.h"

static void add_limits_text(struct mp_sb *out, const struct mp_conf_cluster *c)
{
    const struct {
        const char *name;
        uint32_t value;
    } limits[] = {
        {"max_connections", c->connections_max},
        {"max_pending_requests", c->pending_max},
        {"max_requests", c->requests_max},
        {"max_retries", c->retries_max},
    };
    struct mp_str name = c->name;
    mp_sb_printf(out, MP_STR_FMT "::observability_name::" MP_STR_FMT "\n", MP_STR_ARG(name),
                 MP_STR_ARG(c->alt_stat_name.n > 0 ? c->alt_stat_name : name));
    for (size_t i = 0; i < MP_COUNTOF(limits); i++) {
        mp_sb_printf(out, MP_STR_FMT "::default_priority::%s::%u\n", MP_STR_ARG(name),
                     limits[i].name, limits[i].value);
    }
    mp_sb_printf(out, MP_STR_FMT "::added_via_api::false\n", MP_STR_ARG(name));
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
    mp_sb_printf(out, MP_STR_FMT "::" MP_STR_FMT "::health_flags::%s\n", MP_STR_ARG(cluster),
                 MP_STR_ARG(h->text), h->healthy ? "healthy" : "/failed_eds_health");
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
        "     \"health_status\": {\"eds_health_status\": \"%s\"},\n"
        "     \"weight\": %u,\n     \"priority\": %u,\n     \"hostname\": ",
        h->cx_active, h->rq_active, h->healthy ? "HEALTHY" : "UNHEALTHY", h->weight, h->priority);
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
    mp_sb_printf(out,
                 ",\n   \"added_via_api\": false,\n   \"circuit_breakers\": {\"thresholds\": [\n"
                 "    {\"priority\": \"DEFAULT\", \"max_connections\": %u, "
                 "\"max_pending_requests\": %u, \"max_requests\": %u, \"max_retries\": %u}\n"
                 "   ]},\n   \"host_statuses\": [",
                 c->connections_max, c->pending_max, c->requests_max, c->retries_max);
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
