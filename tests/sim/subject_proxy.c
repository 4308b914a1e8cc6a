/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The whole proxy between clients and upstreams: main loop, two workers, three clusters, one of
 * them by name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/assert.h"
#include "base/stat.h"
#include "conf/load.h"
#include "core/engine.h"
#include "filters/registry.h"
#include "sim_subject.h"

#define WORKERS 2
#define FRONT   10000
/* A client that has gone after a whole request looks half-closed: its request goes on waiting for a
 * connection. So this is longer than the slowest failure to connect (127 s, sim_connect.c). */
#define DRAIN_MS       150000
#define RELOAD_FROM_MS 100 /* the first names have been resolved */
#define RELOADS        2   /* at most, at seeded times while streams are under way */

/* Longer than any peer of the simulation is slow: no timeout may hide a stream that hangs. */
static const char BOOTSTRAP[] =
    "static_resources:\n"
    "  listeners:\n"
    "  - name: front\n"
    "    per_connection_buffer_limit_bytes: %u\n"
    "    address: {socket_address: {address: 0.0.0.0, port_value: 10000}}\n"
    "    filter_chains:\n"
    "    - filters:\n"
    "      - name: envoy.filters.network.http_connection_manager\n"
    "        typed_config:\n"
    "          \"@type\": type.googleapis.com/envoy.extensions.filters.network"
    ".http_connection_manager.v3.HttpConnectionManager\n"
    "          stat_prefix: front\n"
    "          stream_idle_timeout: 1200s\n"
    "          delayed_close_timeout: 1200s\n"
    "          http_protocol_options: {enable_trailers: true}\n"
    "          route_config:\n"
    "            name: routes\n"
    "            virtual_hosts:\n"
    "            - name: all\n"
    "              domains: [\"*\"]\n"
    "              routes:\n"
    "              - match: {prefix: /a/}\n"
    "                route: {cluster: a, timeout: 0s}\n"
    "              - match: {prefix: /b/}\n"
    "                route: {cluster: b, timeout: 0s%s}\n"
    "              - match: {prefix: /c/}\n"
    "                route: {cluster: c, timeout: 0s}\n"
    "              - match: {prefix: /t/}\n"
    "                route: {cluster: d, timeout: 0s, upgrade_configs: [{upgrade_type: "
    "websocket}]}\n"
    "          http_filters:\n"
    "          - name: envoy.filters.http.router\n"
    "            typed_config:\n"
    "              \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\n"
    "  clusters:\n";

/* For half of the seeds, cluster b only: requests are tried again, hosts that fail are ejected,
 * checks connect. Hosts that all fail are used all the same (panic). */
#define RETRIES 2
static const char RETRY_POLICY[] =
    ", retry_policy: {retry_on: \"reset,connect-failure\", num_retries: 2, "
    "retry_back_off: {base_interval: 0.001s, max_interval: 0.1s}, retry_host_predicate: [{name: p, "
    "typed_config: {\"@type\": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3"
    ".PreviousHostsPredicate}}], host_selection_retry_max_attempts: 3}";
static const char HEALTH[] =
    "    outlier_detection: {consecutive_5xx: 2, interval: 0.5s, base_ejection_time: 0.7s, "
    "max_ejection_percent: 67}\n"
    "    health_checks: [{timeout: 0.5s, interval: 0.3s, no_traffic_interval: 1s, "
    "interval_jitter: 0.1s, unhealthy_threshold: 2, healthy_threshold: 1, tcp_health_check: {}}]\n"
    "    lb_policy: LEAST_REQUEST\n";

struct proxy {
    struct sim_world *w;
    struct mp_loop *loops[WORKERS], *main_loop;
    struct mp_engine *engine;
    uint32_t reloads_left;
    bool drained;
};

static void add_cluster(struct mp_sb *sb, char name, bool by_name, uint32_t generation, bool health)
{
    static const char limits[] = "{max_connections: 1000000, max_pending_requests: 1000000, "
                                 "max_requests: 1000000, max_retries: 1000000}";
    mp_sb_printf(sb, "  - name: %c\n    type: %s\n    connect_timeout: %us\n", name,
                 by_name ? "STRICT_DNS" : "STATIC", 300 + generation);
    mp_sb_printf(sb, "    circuit_breakers: {thresholds: [%s]}\n", limits);
    mp_sb_add_c(sb, health ? HEALTH : "");
    mp_sb_printf(sb, "    load_assignment:\n      cluster_name: %c\n", name);
    mp_sb_add_c(sb, "      endpoints:\n      - lb_endpoints:\n");
    bool one = by_name || name == 'd';
    for (uint32_t i = 0; i < (one ? 1 : SIM_INSTANCES); i++) {
        struct mp_addr addr = sim_upstream_addr((uint32_t)(name - 'a'), i);
        char ip[MP_ADDR_TEXT_MAX];
        mp_addr_format_ip(&addr, ip);
        mp_sb_printf(
            sb, "        - endpoint: {address: {socket_address: {address: %s, port_value: %u}}}\n",
            by_name ? "c.sim.test" : ip, SIM_UPSTREAM_PORT);
    }
}

/* Loads and publishes; the text changes with every generation, so that something is rebuilt. */
static void publish(struct proxy *p, uint32_t generation)
{
    struct mp_sb sb;
    struct mp_diag diag;
    mp_sb_init(&sb, 65536);
    mp_diag_init(&diag, "sim.yaml");
    /* Small ones, so that bodies stop and go in both directions. */
    static const uint32_t buffer_limits[] = {1024, 8192, 32768, 1024 * 1024};
    bool health = p->w->opts.retries > 0;
    mp_sb_printf(&sb, BOOTSTRAP, buffer_limits[p->w->opts.seed % MP_COUNTOF(buffer_limits)],
                 health ? RETRY_POLICY : "");
    add_cluster(&sb, 'a', false, generation, false);
    add_cluster(&sb, 'b', false, 0, health);
    add_cluster(&sb, 'c', true, generation / 2, false);
    add_cluster(&sb, 'd', false, generation, false);
    struct mp_conf_load_opts lo = {.registry = &mp_filters_registry};
    struct mp_conf *conf;
    struct mp_snapshot *snap;
    mp_err err = mp_conf_load_text(mp_sb_str(&sb), "sim.yaml", &lo, &diag, &conf);
    if (!mp_is_err(err)) {
        err = mp_engine_build(p->engine, p->engine->snap, conf, &diag, &snap);
    }
    if (!mp_is_err(err)) {
        err = mp_engine_apply(p->engine, snap, &diag);
    }
    if (mp_is_err(err)) {
        mp_sb_reset(&sb);
        mp_diag_format(&diag, &sb);
        sim_world_fail(p->w, 0, "configuration: %s: " MP_STR_FMT, mp_err_text(err),
                       MP_STR_ARG(mp_sb_str(&sb)));
    }
    mp_diag_fini(&diag);
    mp_sb_fini(&sb);
}

static void reload(void *arg)
{
    struct proxy *p = arg;
    if (p->reloads_left > 0) {
        publish(p, p->reloads_left--);
    }
}

static void *proxy_start(struct sim_world *w)
{
    struct proxy *p = calloc(1, sizeof(*p));
    MP_ASSERT(p);
    p->w = w;
    p->main_loop = mp_loop_new();
    for (uint32_t i = 0; i < WORKERS; i++) {
        p->loops[i] = mp_loop_new();
    }
    struct mp_addr upstreams[SIM_INSTANCES];
    for (uint32_t i = 0; i < SIM_INSTANCES; i++) {
        upstreams[i] = sim_upstream_addr(2, i);
    }
    mp_sim_dns_set("c.sim.test", upstreams, SIM_INSTANCES, 60);
    struct mp_engine_opts opts = {
        .n_workers = WORKERS,
        .loops = p->loops,
        .main_loop = p->main_loop,
        .seed = w->opts.seed,
        .registry = &mp_filters_registry,
    };
    if (mp_is_err(mp_engine_new(&opts, &p->engine))) {
        sim_world_fail(w, 0, "the engine does not start");
        return p;
    }
    w->opts.retries = w->opts.seed / 4 % 2 == 1 ? RETRIES : 0;
    publish(p, 0);
    p->reloads_left = w->opts.calm ? 0 : RELOADS;
    for (uint32_t i = 0; i < p->reloads_left; i++) {
        uint64_t after_ms = RELOAD_FROM_MS + mp_rand_below(&w->rand, 2 * w->opts.spread_ms + 1);
        mp_sim_at(mp_sim_now_ns() + after_ms * 1000000, reload, p);
    }
    w->opts.front = true;
    w->opts.front_addr =
        (struct mp_addr){.family = MP_ADDR_IP4, .port = FRONT, .ip = {10, 9, 9, 9}};
    return p;
}

static void on_drained(void *arg)
{
    struct proxy *p = arg;
    p->drained = true;
}

static bool is_drained(void *arg)
{
    const struct proxy *p = arg;
    return p->drained;
}

static bool is_stopped(void *arg)
{
    const struct proxy *p = arg;
    bool stopped = mp_sim_loop_stopped(p->main_loop);
    for (uint32_t i = 0; i < WORKERS; i++) {
        stopped = stopped && mp_sim_loop_stopped(p->loops[i]);
    }
    return stopped;
}

/* With all clients gone, what counts them must be back at 0. Upstream connections may still be
 * pooled. */
static void check_gauge(void *arg, const struct mp_stat_view *v)
{
    struct proxy *p = arg;
    static const char *const zero[] = {"downstream_cx_active", "downstream_rq_active",
                                       "upstream_rq_active", "upstream_rq_pending_active"};
    for (size_t i = 0; i < MP_COUNTOF(zero); i++) {
        if (v->def->kind == MP_STAT_GAUGE && strcmp(v->def->name, zero[i]) == 0 && v->value != 0) {
            sim_world_fail(p->w, 0, "after the drain " MP_STR_FMT ".%s is %lld",
                           MP_STR_ARG(v->scope), zero[i], (long long)v->value);
        }
    }
}

static void proxy_stop(struct sim_world *w, void *subject)
{
    struct proxy *p = subject;
    p->reloads_left = 0;
    if (p->engine) {
        bool clean = w->failures == 0;
        uint64_t start = mp_sim_now_ns();
        mp_engine_drain(p->engine, DRAIN_MS, on_drained, p);
        if (!mp_sim_run_until(is_drained, p, 2 * DRAIN_MS)) {
            sim_world_fail(w, 0, "the drain does not end");
        }
        if (clean && mp_sim_now_ns() - start >= DRAIN_MS * 1000000ull) {
            sim_world_fail(w, 0, "connections were left after all clients had gone");
        }
        if (clean) {
            mp_stat_walk(p->engine->stats, check_gauge, p);
        }
        mp_engine_stop(p->engine);
        if (!mp_sim_run_until(is_stopped, p, 1000)) {
            sim_world_fail(w, 0, "the loops do not stop");
        }
        mp_engine_free(p->engine);
    }
    if (mp_bug_count() > 0) {
        sim_world_fail(w, 0, "%llu suspected bugs were counted",
                       (unsigned long long)mp_bug_count());
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        mp_loop_free(p->loops[i]);
    }
    mp_loop_free(p->main_loop);
    free(p);
}

static const struct sim_subject proxy_subject = {"proxy", proxy_start, proxy_stop};

const struct sim_subject *sim_subject_default(void)
{
    return &proxy_subject;
}
