/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What becomes of each thing that can be configured: the good files of the corpus, value by value.
 * argv: its folder. */
#include "conf_test.h"
#include "t.h"

static const char *root;

static struct mp_conf *load(const char *name)
{
    char path[512], *said;
    snprintf(path, sizeof(path), "%s/%s", root, name);
    char *text = ct_read(path);
    struct mp_conf *c = text ? ct_load(text, false, &said) : NULL;
    if (text) {
        free(said);
    }
    free(text);
    return c;
}

#define S(a, lit) T_OK(mp_str_eq((a), MP_STR(lit)))

static void test_quick_start(void)
{
    struct mp_conf *c = load("envoy/quick_start.yaml");
    T_OK(c);
    T_OK(!c->admin.present);
    T_EQ(c->stats_flush_interval_ms, 5000);
    T_EQ(c->downstream_connections_max, 50000);
    S(c->source.type[0] ? mp_str_c(c->source.type) : MP_STR(""),
      "envoy.config.bootstrap.v3.Bootstrap");
    T_OK(c->source.packed.n > 100 && c->source.hash != 0);
    T_EQ(c->n_listeners, 1);
    const struct mp_conf_listener *l = c->listeners[0];
    S(l->name, "listener_0");
    S(mp_str_c(l->source.type), "envoy.config.listener.v3.Listener");
    T_EQ(l->n_addrs, 1);
    S(l->addrs[0].host, "0.0.0.0");
    T_EQ(l->addrs[0].port, 10000);
    S(l->stat_prefix, "0.0.0.0_10000");
    T_EQ(l->backlog, 0);
    T_OK(l->reuse_port && !l->freebind && !l->ip6_only);
    T_EQ(l->buffer_limit, 1048576);
    T_EQ(l->connections_max, 0);
    T_EQ(l->line, 6);
    const struct mp_conf_http *h = l->http;
    S(h->stat_prefix, "ingress_http");
    T_EQ(h->codec, MP_CODEC_AUTO);
    S(h->server_name, "marchproxy");
    T_EQ(h->server_header, MP_SERVER_OVERWRITE);
    T_OK(!h->use_remote_address && h->generate_request_id && !h->preserve_request_id);
    T_OK(!h->always_set_request_id_in_response && !h->skip_xff_append &&
         !h->suppress_envoy_headers);
    T_OK(h->normalize_path && !h->merge_slashes && !h->strip_any_port && !h->strip_trailing_dot);
    T_EQ(h->escaped_slashes, 0);
    T_EQ(h->idle_timeout_ms, 3600000);
    T_EQ(h->stream_idle_timeout_ms, 300000);
    T_EQ(h->request_timeout_ms, 0);
    T_EQ(h->request_headers_timeout_ms, 0);
    T_EQ(h->max_connection_duration_ms, 0);
    T_EQ(h->drain_timeout_ms, 5000);
    T_EQ(h->delayed_close_timeout_ms, 1000);
    T_EQ(h->head_bytes_max, 61440);
    T_EQ(h->fields_max, 100);
    T_EQ(h->requests_per_connection, 0);
    T_EQ(h->body_bytes_max, 0);
    T_EQ(h->underscores, MP_UNDERSCORE_ALLOW);
    T_OK(!h->accept_http10 && !h->enable_trailers && h->allow_absolute_url &&
         !h->allow_chunked_length);
    T_EQ(h->n_filters, 1);
    S(h->filters[0].name, "envoy.filters.http.router");
    T_OK(h->filters[0].type == &ct_router && h->filters[0].parsed && !h->filters[0].disabled);
    T_EQ(h->n_alogs, 1);
    T_EQ(h->alogs[0].kind, MP_ALOG_STDOUT);
    T_OK(mp_str_starts(h->alogs[0].text, MP_STR("[%START_TIME%] \"%REQ(:METHOD)% ")));
    T_OK(mp_str_ends(h->alogs[0].text, MP_STR("\"%UPSTREAM_HOST%\"\n")) &&
         !h->alogs[0].default_json);
    const struct mp_conf_routes *t = h->routes;
    S(t->name, "local_route");
    T_EQ(t->max_direct_body, 4096);
    T_OK(!t->ops_most_specific_wins && !t->ignore_port_in_host);
    T_EQ(t->n_vhosts, 1);
    S(t->vhosts[0].name, "local_service");
    T_EQ(t->vhosts[0].n_domains, 1);
    S(t->vhosts[0].domains[0], "*");
    const struct mp_conf_route *r = &t->vhosts[0].routes[0];
    T_EQ(t->vhosts[0].n_routes, 1);
    T_EQ(r->path_kind, MP_PATH_PREFIX);
    S(r->path, "/");
    T_OK(!r->ignore_case);
    T_EQ(r->runtime_fraction_millionths, 1000000);
    T_EQ(r->action, MP_ROUTE_CLUSTER);
    S(r->cluster, "service_example_com");
    S(r->host_rewrite, "www.example.com");
    T_EQ(r->timeout_ms, 15000);
    T_OK(r->idle_timeout_ms == UINT64_MAX);
    T_EQ(r->line, 31);
    const struct mp_conf_cluster *k = c->clusters[0];
    T_EQ(c->n_clusters, 1);
    S(k->name, "service_example_com");
    S(mp_str_c(k->source.type), "envoy.config.cluster.v3.Cluster");
    T_EQ(k->discovery, MP_CLUSTER_LOGICAL_DNS);
    T_EQ(k->dns_family, 1);
    T_EQ(k->dns_refresh_ms, 5000);
    T_EQ(k->lb, MP_LB_ROUND_ROBIN);
    T_EQ(k->connect_timeout_ms, 5000);
    T_EQ(k->idle_timeout_ms, 3600000);
    T_EQ(k->breakers[0].connections_max, 1024);
    T_EQ(k->breakers[0].pending_max, 1024);
    T_EQ(k->breakers[0].requests_max, 1024);
    T_EQ(k->breakers[0].retries_max, 3);
    T_EQ(k->requests_per_connection, 0);
    T_EQ(k->buffer_limit, 1048576);
    T_EQ(k->resp_fields_max, 100);
    T_EQ(k->resp_head_bytes_max, 61440);
    T_EQ(k->ka_idle_s + k->ka_interval_s + k->ka_probes, 0);
    T_EQ(k->n_endpoints, 1);
    S(k->endpoints[0].addr.host, "www.example.com");
    T_EQ(k->endpoints[0].addr.port, 80);
    S(k->endpoints[0].hostname, "www.example.com");
    T_EQ(k->endpoints[0].weight, 1);
    T_EQ(k->endpoints[0].priority, 0);
    mp_conf_free(c);
}

static void test_front_proxy(void)
{
    struct mp_conf *c = load("envoy/front_proxy.yaml");
    T_OK(c);
    T_OK(c->admin.present);
    T_EQ(c->admin.addr.port, 8001);
    T_EQ(c->admin.n_alogs, 0);
    T_EQ(c->listeners[0]->connections_max, 10000);
    T_EQ(c->downstream_connections_max, 20000);
    T_EQ(c->clusters[0]->connect_timeout_ms, 250);
    T_EQ(c->clusters[1]->connect_timeout_ms, 1000);
    T_EQ(c->clusters[0]->discovery, MP_CLUSTER_STRICT_DNS);
    T_EQ(c->clusters[1]->lb, MP_LB_LEAST_REQUEST);
    T_EQ(c->clusters[1]->n_endpoints, 2);
    T_EQ(c->listeners[0]->http->routes->vhosts[0].routes[1].timeout_ms, 0);
    mp_conf_free(c);
}

static void test_json(void)
{
    struct mp_conf *c = load("envoy/quick_start.json");
    T_OK(c);
    S(c->node_id, "test-id");
    S(c->node_cluster, "test-cluster");
    S(c->locality_region, "eu");
    S(c->locality_zone, "eu-1");
    S(c->locality_sub_zone, "a");
    T_EQ(c->stats_flush_interval_ms, 1000);
    S(c->listeners[0]->name, "listener_\xf0\x9f\x9a\x80");
    T_EQ(c->listeners[0]->addrs[0].port, 0);
    T_EQ(c->clusters[0]->lb, MP_LB_RANDOM);
    T_EQ(c->listeners[0]->http->routes->vhosts[0].routes[0].timeout_ms, 1500);
    mp_conf_free(c);
}

static void test_camel_case(void)
{
    struct mp_conf *c = load("envoy/camel_case.yaml");
    T_OK(c);
    T_EQ(c->stats_flush_interval_ms, 10000);
    T_EQ(c->listeners[0]->buffer_limit, 65536);
    T_OK(c->listeners[0]->http->merge_slashes);
    T_EQ(c->listeners[0]->http->stream_idle_timeout_ms, 60000);
    const struct mp_conf_route *r = &c->listeners[0]->http->routes->vhosts[0].routes[0];
    T_EQ(r->path_kind, MP_PATH_SEPARATED_PREFIX);
    S(r->prefix_rewrite, "/v1");
    T_EQ(r->idle_timeout_ms, 0);
    T_EQ(c->clusters[0]->dns_family, 3);
    mp_conf_free(c);
}

static void test_redirects(void)
{
    struct mp_conf *c = load("envoy/redirect.yaml");
    T_OK(c);
    T_OK(!c->listeners[0]->ip6_only); /* ipv4_compat */
    S(c->listeners[0]->stat_prefix, "[__]_80");
    const struct mp_conf_vhost *v = c->listeners[0]->http->routes->vhosts;
    S(v[0].domains[1], "old.example.com:*");
    const struct mp_conf_route *r = &v[0].routes[0];
    T_EQ(r->action, MP_ROUTE_REDIRECT);
    S(r->redirect_host, "new.example.com");
    T_EQ(r->redirect_status, 308);
    r = v[1].routes;
    S(r[0].redirect_path, "/");
    T_OK(r[0].redirect_strip_query && r[0].path_kind == MP_PATH_EXACT);
    T_EQ(r[0].redirect_status, 303);
    S(r[1].redirect_prefix, "/manual/");
    T_EQ(r[1].redirect_status, 307);
    S(r[2].redirect_scheme, "https");
    T_EQ(r[2].redirect_port, 8443);
    T_EQ(r[2].redirect_status, 302);
    T_OK(!v[1].require_tls_all && !v[1].require_tls_external && v[2].require_tls_all);
    T_OK(v[2].routes[0].redirect_https);
    T_EQ(v[2].routes[0].redirect_status, 301);
    mp_conf_free(c);
}

static void test_upgrades(void)
{
    struct mp_conf *c = load("envoy/upgrades.yaml");
    T_OK(c);
    const struct mp_conf_http *h = c->listeners[0]->http;
    T_EQ(h->n_upgrades, 1);
    S(h->upgrades[0].type, "websocket");
    T_OK(h->upgrades[0].enabled && !h->upgrades[0].is_connect && !h->upgrades[0].terminate);
    const struct mp_conf_route *r = h->routes->vhosts[0].routes;
    T_EQ(r[0].path_kind, MP_PATH_CONNECT);
    T_EQ(r[0].n_upgrades, 1);
    T_OK(r[0].upgrades[0].is_connect && r[0].upgrades[0].terminate && r[0].upgrades[0].enabled);
    T_OK(r[1].n_upgrades == 1 && !r[1].upgrades[0].enabled);
    T_EQ(r[2].n_upgrades, 0);
    mp_conf_free(c);
}

static void test_direct(void)
{
    struct mp_conf *c = load("envoy/direct_response.yaml");
    T_OK(c);
    S(c->listeners[0]->stat_prefix, "direct");
    T_EQ(c->listeners[0]->http->codec, MP_CODEC_HTTP1);
    T_OK(c->listeners[0]->http->suppress_envoy_headers);
    T_EQ(c->listeners[0]->http->routes->max_direct_body, 8192);
    const struct mp_conf_route *r = c->listeners[0]->http->routes->vhosts[0].routes;
    T_EQ(r[0].action, MP_ROUTE_DIRECT);
    S(r[0].name, "greeting");
    T_EQ(r[0].direct_status, 200);
    S(r[0].direct_body, "hello\n");
    T_EQ(r[0].ops.n_resp_add, 1);
    S(r[0].ops.resp_add[0].name, "content-type");
    T_EQ(r[0].ops.resp_add[0].action, MP_OVERWRITE_OR_ADD);
    S(r[1].direct_body, "hello\n");
    T_EQ(r[2].direct_status, 404);
    T_EQ(r[2].direct_body.n, 0);
    mp_conf_free(c);
}

static void test_headers(void)
{
    struct mp_conf *c = load("envoy/headers.yaml");
    T_OK(c);
    const struct mp_conf_http *h = c->listeners[0]->http;
    S(c->listeners[0]->name, "0.0.0.0:10000"); /* unnamed: the address */
    S(h->server_name, "edge");
    T_EQ(h->server_header, MP_SERVER_APPEND_IF_ABSENT);
    S(h->via, "1.1 edge");
    T_OK(h->use_remote_address && h->preserve_request_id && h->always_set_request_id_in_response);
    T_EQ(h->xff_trusted_hops, 1);
    const struct mp_conf_routes *t = h->routes;
    T_OK(t->ops_most_specific_wins);
    S(t->ops.req_add[0].name, "x-level");
    T_EQ(t->ops.req_add[0].action, MP_APPEND_IF_EXISTS_OR_ADD);
    T_EQ(t->ops.n_resp_remove, 2);
    S(t->ops.resp_remove[0], "x-powered-by");
    const struct mp_conf_vhost *v = &t->vhosts[0];
    S(v->ops.req_add[0].value, "vhost %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%");
    T_EQ(v->ops.req_add[0].action, MP_APPEND_IF_EXISTS_OR_ADD);
    T_EQ(v->ops.resp_add[0].action, MP_OVERWRITE_OR_ADD);
    S(v->ops.req_remove[0], "x-internal");
    const struct mp_conf_route *r = &v->routes[0];
    T_EQ(r->ops.req_add[0].action, MP_ADD_IF_ABSENT);
    T_EQ(r->ops.resp_add[0].action, MP_OVERWRITE_IF_EXISTS);
    T_EQ(r->action, MP_ROUTE_WEIGHTED);
    T_EQ(r->n_weighted, 2);
    T_EQ(r->weight_total, 100);
    S(r->weighted[0].cluster, "a");
    T_EQ(r->weighted[0].weight, 90);
    S(r->weighted[0].headers.req_add[0].value, "a");
    S(r->weighted[0].headers.resp_remove[0], "x-debug");
    T_OK(r->weighted[1].headers.resp_add[0].keep_empty);
    T_EQ(r->weighted[1].headers.resp_add[0].value.n, 0);
    mp_conf_free(c);
}

static void test_split(void)
{
    struct mp_conf *c = load("envoy/traffic_split.yaml");
    T_OK(c);
    const struct mp_conf_vhost *v = c->listeners[0]->http->routes->vhosts;
    T_EQ(v[0].routes[0].runtime_fraction_millionths, 500000);
    T_EQ(v[0].routes[1].runtime_fraction_millionths, 1000000);
    T_EQ(v[1].routes[0].weight_total, 100);
    T_EQ(c->n_clusters, 3);
    S(c->clusters[2]->endpoints[0].addr.host, "10.1.0.1");
    mp_conf_free(c);
}

static void test_access_logs(void)
{
    struct mp_conf *c = load("envoy/access_logs.yaml");
    T_OK(c);
    T_EQ(c->admin.n_alogs, 1);
    T_EQ(c->admin.alogs[0].kind, MP_ALOG_FILE);
    S(c->admin.alogs[0].path, "/tmp/admin_access.log");
    T_OK(mp_str_starts(c->admin.alogs[0].text, MP_STR("[%START_TIME%]")));
    const struct mp_conf_alog *a = c->listeners[0]->http->alogs;
    T_EQ(c->listeners[0]->http->n_alogs, 5);
    T_EQ(a[0].kind, MP_ALOG_STDOUT);
    S(a[0].text, "[%START_TIME%] %REQ(:METHOD)% %RESPONSE_CODE%\n");
    T_EQ(a[1].kind, MP_ALOG_FILE);
    T_EQ(a[1].n_json, 2);
    S(a[1].json[0].key, "status");
    S(a[1].json[1].format, "%REQ(:PATH)%");
    T_OK(a[1].omit_empty && !a[0].omit_empty && !a[1].default_json && a[1].text.n == 0);
    T_EQ(a[2].kind, MP_ALOG_STDERR);
    T_EQ(a[2].n_json, 1);
    S(a[3].path, "/dev/null");
    S(a[3].text, "%RESPONSE_CODE%\n");
    T_EQ(a[4].kind, MP_ALOG_STDERR);
    S(a[4].text, "%DURATION%\n");
    mp_conf_free(c);
}

static void test_edge(void)
{
    struct mp_conf *c = load("envoy/edge.yaml");
    T_OK(c);
    T_EQ(c->downstream_connections_max, 1000);
    T_OK(c->admin.present && c->admin.addr.is_unix);
    S(c->admin.addr.host, "/run/admin.sock");
    T_EQ(c->admin.addr.unix_mode, 0600);
    const struct mp_conf_listener *l = c->listeners[0];
    T_EQ(l->n_addrs, 3);
    S(l->addrs[1].host, "::");
    S(l->addrs[2].host, "@edge");
    T_OK(l->addrs[2].is_unix && l->ip6_only && !l->reuse_port && l->freebind);
    T_EQ(l->backlog, 1024);
    T_EQ(l->buffer_limit, 32768);
    const struct mp_conf_http *h = l->http;
    T_OK(h->merge_slashes && h->strip_any_port && h->strip_trailing_dot);
    T_EQ(h->escaped_slashes, 2);
    T_EQ(h->head_bytes_max, 32768);
    T_EQ(h->fields_max, 50);
    T_EQ(h->max_connection_duration_ms, 86400000);
    T_EQ(h->requests_per_connection, 1000);
    T_EQ(h->underscores, MP_UNDERSCORE_REJECT);
    T_OK(!h->allow_absolute_url && h->accept_http10 && h->enable_trailers);
    S(h->default_host_http10, "www.example.com");
    T_EQ(h->request_timeout_ms, 300000);
    T_EQ(h->request_headers_timeout_ms, 10000);
    T_EQ(h->drain_timeout_ms, 8000);
    T_EQ(h->delayed_close_timeout_ms, 500);
    T_EQ(h->body_bytes_max, 1048576);
    T_EQ(h->n_filters, 2); /* the limits are no filter */
    T_OK(h->filters[0].type == &ct_health);
    const struct ct_health *hc = h->filters[0].parsed;
    T_EQ(hc->n, 1);
    S(hc->headers[0].name, ":path");
    S(hc->headers[0].value, "/healthz");
    T_OK(h->routes->ignore_port_in_host);
    T_EQ(h->routes->vhosts[0].routes[0].idle_timeout_ms, 15000);
    T_EQ(c->clusters[0]->idle_timeout_ms, 60000);
    T_EQ(c->clusters[0]->resp_fields_max, 200);
    T_EQ(c->clusters[0]->buffer_limit, 32768);
    mp_conf_free(c);
}

static void test_matching(void)
{
    static const struct {
        const char *name, *value;
        enum mp_conf_string_match kind;
    } want[] = {
        {"x-present", NULL, MP_MATCH_PRESENT},  {"x-absent", NULL, MP_MATCH_PRESENT},
        {"x-prefix", "a", MP_MATCH_PREFIX},     {"x-suffix", "b", MP_MATCH_SUFFIX},
        {"x-contains", "c", MP_MATCH_CONTAINS}, {"x-regex", "a+", MP_MATCH_REGEX},
        {"x-range", NULL, MP_MATCH_RANGE},      {":authority", ".COM", MP_MATCH_SUFFIX},
        {"x-exact", "", MP_MATCH_EXACT},        {"x-s1", "a", MP_MATCH_PREFIX},
        {"x-s2", "b", MP_MATCH_CONTAINS},       {"x-s3", "^b$", MP_MATCH_REGEX},
    };
    static const char *const domains[] = {"a.example.com", "*.example.org",       "-x.example.com",
                                          "example.*",     "a2.example.com:8080", "*"};
    struct mp_conf *c = load("envoy/matching.yaml");
    T_OK(c);
    const struct mp_conf_vhost *v = c->listeners[0]->http->routes->vhosts;
    T_EQ(v->n_domains, MP_COUNTOF(domains));
    for (size_t i = 0; i < MP_COUNTOF(domains); i++) {
        T_OK(mp_str_eq(v->domains[i], mp_str_c(domains[i])));
    }
    const struct mp_conf_route *r = v->routes;
    T_EQ(r[0].path.n, 0);
    S(r[0].headers[0].name, ":method");
    T_EQ(r[1].path_kind, MP_PATH_EXACT);
    S(r[1].path, "/Exact");
    T_OK(r[1].ignore_case);
    T_EQ(r[1].n_headers, MP_COUNTOF(want));
    for (size_t i = 0; i < MP_COUNTOF(want); i++) {
        const struct mp_conf_header_match *m = &r[1].headers[i];
        T_OK(mp_str_eq(m->name, mp_str_c(want[i].name)));
        T_EQ(m->kind, want[i].kind);
        T_OK(!want[i].value || mp_str_eq(m->value, mp_str_c(want[i].value)));
        T_EQ(m->invert, i == 3);
        T_EQ(m->treat_missing_as_empty, i == 4);
        T_EQ(m->ignore_case, i == 7);
        T_EQ(m->present_value, i == 0);
    }
    T_EQ(r[1].headers[6].range_from, -5);
    T_EQ(r[1].headers[6].range_to, 10);
    T_EQ(r[1].n_queries, 3);
    T_OK(r[1].queries[0].kind == MP_MATCH_PRESENT && r[1].queries[0].present_value);
    T_OK(r[1].queries[1].kind == MP_MATCH_PRESENT && r[1].queries[1].present_value);
    T_EQ(r[1].queries[2].kind, MP_MATCH_EXACT);
    S(r[1].queries[2].value, "alice");
    T_EQ(r[2].path_kind, MP_PATH_REGEX);
    S(r[2].path, "/v[0-9]+/.*");
    S(r[2].regex_rewrite, "^/v([0-9]+)/");
    S(r[2].regex_substitution, "/\\1/");
    T_OK(r[2].auto_host_rewrite);
    T_EQ(r[3].path_kind, MP_PATH_CONNECT);
    T_EQ(r[4].runtime_fraction_millionths, 500000);
    S(r[4].prefix_rewrite, "/");
    T_OK(c->listeners[0]->http->filters[0].disabled);
    mp_conf_free(c);
}

static void test_clusters(void)
{
    struct mp_conf *c = load("envoy/clusters.yaml");
    T_OK(c);
    T_EQ(c->n_listeners, 0);
    T_EQ(c->n_clusters, 3);
    const struct mp_conf_cluster *k = c->clusters[0];
    S(k->alt_stat_name, "all_of_it");
    T_EQ(k->connect_timeout_ms, 2500);
    T_EQ(k->requests_per_connection, 100);
    T_EQ(k->dns_refresh_ms, 30000);
    T_OK(k->respect_dns_ttl);
    T_EQ(k->dns_family, 4);
    S(k->dns_servers, "127.0.0.1:5353,[::1]:53");
    T_EQ(k->idle_timeout_ms, 30000);
    T_EQ(k->max_connection_duration_ms, 600000);
    T_EQ(k->breakers[0].connections_max, 10);
    T_EQ(k->breakers[0].pending_max, 20);
    T_EQ(k->breakers[0].requests_max, 30);
    T_EQ(k->breakers[0].retries_max, 4);
    T_EQ(k->ka_idle_s, 300);
    T_EQ(k->ka_interval_s, 75);
    T_EQ(k->ka_probes, 9);
    S(k->source_addr.host, "127.0.0.2");
    T_EQ(k->n_endpoints, 3);
    S(k->endpoints[0].hostname, "inner.example.com");
    T_EQ(k->endpoints[0].weight, 3);
    T_OK(k->endpoints[1].draining && !k->endpoints[1].unhealthy);
    T_OK(k->endpoints[2].unhealthy && k->endpoints[2].priority == 1);
    T_EQ(c->clusters[1]->discovery, MP_CLUSTER_STATIC);
    T_OK(c->clusters[1]->endpoints[0].addr.is_unix);
    T_EQ(c->clusters[2]->n_endpoints, 0);
    S(c->clusters[2]->dns_servers, "9.9.9.9:53");
    T_EQ(c->clusters[2]->lb, MP_LB_RANDOM);
    mp_conf_free(c);
}

static void test_overrides(void)
{
    struct mp_conf *c = load("envoy/per_route_filters.yaml");
    T_OK(c);
    const struct mp_conf_vhost *v = c->listeners[0]->http->routes->vhosts;
    T_EQ(v->n_overrides, 1);
    S(v->overrides[0].name, "my.own");
    T_OK(v->overrides[0].type == &ct_own && strcmp(v->overrides[0].parsed, "vhost") == 0);
    T_OK(v->routes[0].overrides[0].disabled && !v->routes[0].overrides[0].type);
    T_OK(!v->routes[1].overrides[0].disabled &&
         strcmp(v->routes[1].overrides[0].parsed, "route") == 0);
    T_OK(strcmp(c->listeners[0]->http->filters[0].parsed, "chain") == 0);
    mp_conf_free(c);
}

/* ---- the simple file ---- */

static void test_march_defaults(void)
{
    struct mp_conf *c = load("march/services.json");
    T_OK(c);
    S(c->node_id, "edge-1");
    S(c->node_cluster, "marchproxy-cluster");
    T_OK(c->admin.present);
    S(c->admin.addr.host, "127.0.0.1");
    T_EQ(c->admin.addr.port, 9901);
    T_EQ(c->downstream_connections_max, 50000);
    T_EQ(c->n_listeners, 1);
    const struct mp_conf_listener *l = c->listeners[0];
    S(l->name, "marchproxy_listener");
    S(l->addrs[0].host, "0.0.0.0");
    T_EQ(l->addrs[0].port, 10000);
    T_EQ(l->buffer_limit, 32768);
    const struct mp_conf_http *h = l->http;
    S(h->stat_prefix, "ingress_http");
    T_OK(h->use_remote_address && h->accept_http10 && h->normalize_path);
    T_EQ(h->request_headers_timeout_ms, 10000);
    T_EQ(h->body_bytes_max, 0);
    T_EQ(h->head_bytes_max, 61440);
    T_EQ(h->n_filters, 1);
    T_EQ(h->n_alogs, 1);
    T_EQ(h->alogs[0].kind, MP_ALOG_STDOUT);
    T_OK(h->alogs[0].default_json);
    T_EQ(h->alogs[0].n_json, 8);
    const struct mp_conf_routes *t = h->routes;
    S(t->name, "marchproxy_routes");
    T_OK(t->ignore_port_in_host);
    T_EQ(t->n_vhosts, 3);
    S(t->vhosts[0].domains[0], "example.com");
    S(t->vhosts[0].domains[1], "example.com:*");
    T_EQ(t->vhosts[0].n_routes, 2);
    S(t->vhosts[0].routes[0].path, "/api");
    T_EQ(t->vhosts[0].routes[0].timeout_ms, 10000);
    T_EQ(t->vhosts[0].routes[0].line, 11);
    S(t->vhosts[0].routes[1].cluster, "web");
    T_EQ(t->vhosts[0].routes[1].timeout_ms, 30000);
    S(t->vhosts[1].name, "www.example.com");
    T_EQ(t->vhosts[1].n_routes, 1);
    S(t->vhosts[2].domains[0], "*");
    T_EQ(t->vhosts[2].n_domains, 1);
    T_EQ(c->n_clusters, 2);
    struct mp_conf_cluster *const *k = c->clusters;
    T_EQ(k[0]->discovery, MP_CLUSTER_STATIC);
    T_EQ(k[0]->n_endpoints, 2);
    T_EQ(k[0]->connect_timeout_ms, 3000);
    T_EQ(k[0]->buffer_limit, 32768);
    T_EQ(k[0]->ka_idle_s, 60);
    T_EQ(k[0]->line, 5);
    T_EQ(k[1]->discovery, MP_CLUSTER_STRICT_DNS);
    T_EQ(k[1]->dns_family, 3);
    T_EQ(k[1]->connect_timeout_ms, 5000);
    mp_conf_free(c);
}

static void test_march_full(void)
{
    struct mp_conf *c = load("march/full.yaml");
    T_OK(c);
    S(c->node_id, "marchproxy-node");
    T_EQ(c->downstream_connections_max, 100);
    S(c->admin.addr.host, "::1");
    T_EQ(c->n_listeners, 6);
    struct mp_conf_listener *const *l = c->listeners;
    S(l[0]->name, "marchproxy_listener");
    S(l[1]->name, "six");
    S(l[1]->addrs[0].host, "::1");
    T_OK(l[1]->ip6_only);
    S(l[2]->name, "marchproxy_listener_3");
    S(l[2]->addrs[0].host, "/run/march.sock");
    S(l[3]->addrs[0].host, "0.0.0.0");
    T_EQ(l[3]->addrs[0].port, 10003);
    T_EQ(l[4]->addrs[0].port, 10004);
    S(l[5]->addrs[0].host, "127.0.0.1");
    T_OK(l[0]->http->routes == l[1]->http->routes); /* one table */
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        const struct mp_conf_http *h = l[i]->http;
        T_EQ(l[i]->buffer_limit, 16384);
        T_EQ(h->head_bytes_max, 5000);
        T_EQ(h->fields_max, 20);
        T_EQ(h->body_bytes_max, 1000000);
        T_EQ(h->requests_per_connection, 10);
        T_EQ(h->idle_timeout_ms, 60000);
        T_EQ(h->stream_idle_timeout_ms, 20000);
        T_EQ(h->request_timeout_ms, 5000);
        T_EQ(h->request_headers_timeout_ms, 2000);
        T_EQ(h->max_connection_duration_ms, 3600000);
        T_EQ(h->drain_timeout_ms, 1000);
        T_EQ(h->n_filters, 2);
        S(h->filters[0].name, "marchproxy.filters.http.own");
        T_OK(strcmp(h->filters[0].parsed, "chain") == 0);
        T_OK(h->filters[1].type == &ct_router);
        T_EQ(h->alogs[0].kind, MP_ALOG_FILE);
        S(h->alogs[0].path, "./access.log");
        T_OK(h->alogs[0].default_json);
    }
    struct mp_conf_cluster *const *k = c->clusters;
    T_EQ(c->n_clusters, 3);
    S(k[0]->endpoints[0].addr.host, "127.0.0.9");
    S(k[0]->endpoints[1].addr.host, "::1");
    T_EQ(k[0]->endpoints[0].addr.port, 8080);
    T_EQ(k[0]->discovery, MP_CLUSTER_STATIC);
    T_EQ(k[0]->breakers[0].connections_max, 7);
    T_EQ(k[0]->breakers[0].pending_max, 8);
    T_EQ(k[0]->breakers[0].requests_max, 9);
    T_EQ(k[1]->connect_timeout_ms, 5000);
    S(k[1]->endpoints[1].addr.host, "b.example.com");
    S(k[2]->name, "lit${eral}");
    const struct mp_conf_routes *t = l[0]->http->routes;
    T_EQ(t->n_vhosts, 3);
    S(t->vhosts[0].domains[0], "*.example.com");
    T_EQ(t->vhosts[0].n_domains, 1);
    T_EQ(t->vhosts[0].n_routes, 2);
    S(t->vhosts[0].routes[0].name, "long");
    T_EQ(t->vhosts[0].routes[1].timeout_ms, 5000);
    S(t->vhosts[1].domains[0], "example.com");
    mp_conf_free(c);
}

static void test_march_empty(void)
{
    struct mp_conf *c = load("march/empty.yaml");
    T_OK(c);
    T_EQ(c->n_clusters, 0);
    const struct mp_conf_routes *t = c->listeners[0]->http->routes;
    T_EQ(t->n_vhosts, 1);
    S(t->vhosts[0].domains[0], "*");
    T_EQ(t->vhosts[0].routes[0].action, MP_ROUTE_DIRECT);
    T_EQ(t->vhosts[0].routes[0].direct_status, 404);
    T_EQ(t->vhosts[0].routes[0].direct_body.n, 0);
    mp_conf_free(c);
    c = load("march/off.yaml");
    T_OK(c);
    T_OK(!c->admin.present);
    T_EQ(c->listeners[0]->http->n_alogs, 0);
    mp_conf_free(c);
}

static void same_triggers(const struct mp_conf_overload *a, const struct mp_conf_overload *b)
{
    for (int i = 0; i < MP_OVERLOAD_ACTIONS; i++) {
        for (int k = 0; k < MP_RESOURCES; k++) {
            const struct mp_conf_trigger *x = &a->triggers[i][k], *y = &b->triggers[i][k];
            T_EQ(x->resource, y->resource);
            T_OK(x->from >= y->from && x->from <= y->from);
            T_OK(x->full >= y->full && x->full <= y->full);
        }
    }
}

static void same_watchdog(const struct mp_conf_watchdog *a, const struct mp_conf_watchdog *b)
{
    T_EQ(a->miss_ms, b->miss_ms);
    T_EQ(a->megamiss_ms, b->megamiss_ms);
    T_EQ(a->kill_ms, b->kill_ms);
    T_EQ(a->multikill_ms, b->multikill_ms);
    T_EQ(a->kill_jitter_ms, b->kill_jitter_ms);
    T_OK(a->multikill_share >= b->multikill_share && a->multikill_share <= b->multikill_share);
}

/* The two examples are the same proxy: what differs is only what a file says about itself. */
static void test_examples_are_the_same(void)
{
    struct mp_conf *a = load("../../../examples/march.yaml"),
                   *b = load("../../../examples/envoy.yaml");
    T_OK(a && b);
    T_OK(mp_str_eq(a->listeners[0]->http->routes->source.packed,
                   b->listeners[0]->http->routes->source.packed));
    T_EQ(a->n_clusters, b->n_clusters);
    for (uint32_t i = 0; i < a->n_clusters; i++) {
        T_OK(mp_str_eq(a->clusters[i]->source.packed, b->clusters[i]->source.packed));
        T_EQ(a->clusters[i]->source.hash, b->clusters[i]->source.hash);
    }
    T_OK(mp_str_eq(a->listeners[0]->source.packed, b->listeners[0]->source.packed));
    same_triggers(&a->overload, &b->overload);
    T_OK(memcmp(a->overload.n_triggers, b->overload.n_triggers, sizeof(a->overload.n_triggers)) ==
         0);
    T_EQ(a->overload.refresh_ms, b->overload.refresh_ms);
    same_watchdog(&a->watchdog_main, &b->watchdog_main);
    same_watchdog(&a->watchdog_workers, &b->watchdog_workers);
    mp_conf_free(a);
    mp_conf_free(b);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        return 2;
    }
    root = argv[1];
    mp_hash_set_key(1, 2);
    T_RUN(test_quick_start);
    T_RUN(test_front_proxy);
    T_RUN(test_json);
    T_RUN(test_camel_case);
    T_RUN(test_redirects);
    T_RUN(test_upgrades);
    T_RUN(test_direct);
    T_RUN(test_headers);
    T_RUN(test_split);
    T_RUN(test_access_logs);
    T_RUN(test_edge);
    T_RUN(test_matching);
    T_RUN(test_clusters);
    T_RUN(test_overrides);
    T_RUN(test_march_defaults);
    T_RUN(test_march_full);
    T_RUN(test_march_empty);
    T_RUN(test_examples_are_the_same);
    return T_DONE();
}
