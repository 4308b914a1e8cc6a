/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A table of many routes, for instruction counts and timings. */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include "core/filter.h"
#include "core/route.h"

#define RT_ROUTES 1000
#define RT_HOSTS  1000

static struct mp_conf_route rt_routes[RT_ROUTES + 1];
static struct mp_conf_vhost rt_vhosts[RT_HOSTS + 1];
static struct mp_str rt_domains[RT_HOSTS + 1];
static char rt_prefixes[RT_ROUTES][32], rt_paths[RT_ROUTES][64], rt_hosts[RT_HOSTS][32];
static struct mp_conf_http rt_http;
static struct mp_conf_routes rt_conf;

static uint32_t rt_cluster_id(void *arg, struct mp_str name)
{
    return 0;
}

static struct mp_route_table *rt_build(void)
{
    struct mp_route_build b = {
        .conf = &rt_conf, .http = &rt_http, .cluster_id = rt_cluster_id, .n_workers = 1};
    struct mp_route_table *t = NULL;
    if (mp_is_err(mp_route_table_build(&b, NULL, &t))) {
        fprintf(stderr, "the table cannot be built\n");
        exit(1);
    }
    return t;
}

static void rt_route(struct mp_conf_route *r, const char *prefix)
{
    *r = (struct mp_conf_route){.path_kind = MP_PATH_PREFIX,
                                .path = mp_str_c(prefix),
                                .runtime_fraction_millionths = 1000000,
                                .action = MP_ROUTE_CLUSTER,
                                .cluster = MP_STR("c")};
}

/* n prefixes ("/service-0123/v1/") and "/" behind them, one virtual host for all. */
static struct mp_route_table *rt_prefix_table(int n)
{
    for (int i = 0; i < n; i++) {
        snprintf(rt_prefixes[i], sizeof(rt_prefixes[0]), "/service-%04d/v1/", i);
        snprintf(rt_paths[i], sizeof(rt_paths[0]), "/service-%04d/v1/items/%d?page=2", i, i * 7);
        rt_route(&rt_routes[i], rt_prefixes[i]);
    }
    rt_route(&rt_routes[n], "/");
    rt_domains[0] = MP_STR("*");
    rt_vhosts[0] = (struct mp_conf_vhost){
        .domains = rt_domains, .n_domains = 1, .routes = rt_routes, .n_routes = (uint32_t)n + 1};
    rt_conf = (struct mp_conf_routes){.vhosts = rt_vhosts, .n_vhosts = 1};
    return rt_build();
}

/* 1000 virtual hosts with one route each. */
static struct mp_route_table *rt_host_table(void)
{
    rt_route(&rt_routes[0], "/");
    for (int i = 0; i < RT_HOSTS; i++) {
        snprintf(rt_hosts[i], sizeof(rt_hosts[0]), "Host-%04d.example.com:8080", i);
        rt_domains[i] = mp_str(rt_hosts[i], 21);
        rt_vhosts[i] = (struct mp_conf_vhost){
            .domains = &rt_domains[i], .n_domains = 1, .routes = rt_routes, .n_routes = 1};
    }
    rt_conf = (struct mp_conf_routes){.vhosts = rt_vhosts, .n_vhosts = RT_HOSTS};
    return rt_build();
}
