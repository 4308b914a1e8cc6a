/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The front door as a whole: errors and limits in both forms, and large configurations. */
#include <time.h>

#include "conf_test.h"
#include "t.h"

#define HCM                \
    "type.googleapis.com/" \
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
#define ROUTER                             \
    "{name: r, typed_config: {\"@type\": " \
    "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}"

static bool accepts(const char *doc)
{
    char *said;
    struct mp_conf *c = ct_load(doc, false, &said);
    bool ok = c != NULL;
    mp_conf_free(c);
    free(said);
    return ok;
}

/* A bootstrap with one listener; the pieces go in where their names say. */
static char *boot(const char *manager, const char *routes, const char *cluster)
{
    struct mp_sb sb;
    mp_sb_init(&sb, 1 << 20);
    mp_sb_printf(
        &sb,
        "static_resources:\n  listeners:\n  - name: l\n    address: {socket_address: {address: "
        "127.0.0.1, port_value: 1}}\n"
        "    filter_chains:\n    - filters:\n      - name: h\n        typed_config:\n          "
        "\"@type\": " HCM "\n"
        "          stat_prefix: s\n%s          http_filters: [" ROUTER
        "]\n          route_config:\n"
        "            virtual_hosts:\n            - name: v\n              domains: [\"*\"]\n       "
        "       routes: [%s]\n"
        "  clusters:\n  - name: c\n%s    load_assignment: {cluster_name: c, endpoints: "
        "[{lb_endpoints: "
        "[{endpoint: {address: {socket_address: {address: 10.0.0.1, port_value: 1}}}}]}]}\n",
        manager, routes, cluster);
    char *z = mp_str_dup_c(mp_sb_str(&sb));
    mp_sb_fini(&sb);
    return z;
}

/* Every limit at n-1, n, n+1:  */
struct limit {
    const char *what, *before; /* the number stands between */
    const char *after;
    long long min, max;
};

static bool limit_holds(const struct limit *l, char *(*make)(const char *piece))
{
    const long long tries[] = {l->min - 1, l->min, l->min + 1, l->max - 1, l->max, l->max + 1};
    for (size_t i = 0; i < MP_COUNTOF(tries); i++) {
        char piece[300];
        snprintf(piece, sizeof(piece), "%s%lld%s", l->before, tries[i], l->after);
        char *doc = make(piece);
        bool ok = accepts(doc);
        free(doc);
        if (ok != (tries[i] >= l->min && tries[i] <= l->max)) {
            printf("# %s: %lld is %s\n", l->what, tries[i], ok ? "accepted" : "refused");
            return false;
        }
    }
    return true;
}

static char *in_manager(const char *piece)
{
    return boot(piece, "", "");
}

static char *in_route(const char *piece)
{
    return boot("", piece, "");
}

static char *in_cluster(const char *piece)
{
    return boot("", "", piece);
}

static char *in_march(const char *piece)
{
    struct mp_sb sb;
    mp_sb_init(&sb, 65536);
    mp_sb_printf(&sb, "services: [{name: a, hosts: [a], port: 1}]\n%s\n", piece);
    char *z = mp_str_dup_c(mp_sb_str(&sb));
    mp_sb_fini(&sb);
    return z;
}

static void test_limits(void)
{
    static const struct limit manager[] = {
        {"head kb", "          max_request_headers_kb: ", "\n", 1, 60},
        {"fields", "          common_http_protocol_options: {max_headers_count: ", "}\n", 1, 65535},
        {"per connection", "          common_http_protocol_options: {max_requests_per_connection: ",
         "}\n", 0, 4294967295},
        {"timeout", "          request_timeout: ", "s\n", 0, 315576000000},
        {"hops", "          xff_num_trusted_hops: ", "\n", 0, 4294967295},
    };
    static const struct limit route[] = {
        {"direct status", "{match: {prefix: /}, direct_response: {status: ", "}}", 200, 599},
        {"redirect port", "{match: {prefix: /}, redirect: {port_redirect: ", "}}", 0, 65535},
        {"weight", "{match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: c, weight: ",
         "}]}}}", 1, 4294967295},
    };
    static const struct limit cluster[] = {
        {"buffer", "    per_connection_buffer_limit_bytes: ", "\n", 1024, 1073741824},
        {"keepalive time",
         "    upstream_connection_options: {tcp_keepalive: {keepalive_time: ", "}}\n", 1, 32767},
        {"keepalive interval",
         "    upstream_connection_options: {tcp_keepalive: {keepalive_interval: ", "}}\n", 1,
         32767},
        {"keepalive probes",
         "    upstream_connection_options: {tcp_keepalive: {keepalive_probes: ", "}}\n", 1, 127},
        {"response fields", "    common_http_protocol_options: {max_headers_count: ", "}\n", 1,
         65535},
        {"breaker", "    circuit_breakers: {thresholds: [{max_connections: ", "}]}\n", 0,
         4294967295},
        {"source port",
         "    upstream_bind_config: {source_address: {address: 10.0.0.1, port_value: ", "}}\n", 0,
         65535},
    };
    static const struct limit march[] = {
        {"port", "listen: \":", "\"", 0, 65535},
        {"number", "listen: ", "", 0, 65535},
        {"admin", "admin: \"127.0.0.1:", "\"", 0, 65535},
        {"head", "limits: {head_bytes: ", "}", 1024, 61440},
        {"fields", "limits: {header_fields: ", "}", 1, 65535},
        {"connections", "limits: {connections: ", "}", 1, 4294967295},
        {"buffer", "limits: {buffer_bytes: ", "}", 1024, 1073741824},
        {"service connections", "limits: {service_connections: ", "}", 0, 4294967295},
    };
    for (size_t i = 0; i < MP_COUNTOF(manager); i++) {
        T_OK(limit_holds(&manager[i], in_manager));
    }
    for (size_t i = 0; i < MP_COUNTOF(route); i++) {
        T_OK(limit_holds(&route[i], in_route));
    }
    for (size_t i = 0; i < MP_COUNTOF(cluster); i++) {
        T_OK(limit_holds(&cluster[i], in_cluster));
    }
    for (size_t i = 0; i < MP_COUNTOF(march); i++) {
        T_OK(limit_holds(&march[i], in_march));
    }
}

static char *service_port(const char *piece)
{
    struct mp_sb sb;
    mp_sb_init(&sb, 65536);
    mp_sb_printf(&sb, "services: [{name: a, hosts: [a], port: %s}]\n", piece);
    char *z = mp_str_dup_c(mp_sb_str(&sb));
    mp_sb_fini(&sb);
    return z;
}

static void test_more_limits(void)
{
    static const struct limit port = {"service port", "", "", 1, 65535};
    T_OK(limit_holds(&port, service_port));
    /* The body of a direct response. */
    for (size_t n = 4095; n <= 4097; n++) {
        struct mp_sb body;
        mp_sb_init(&body, 65536);
        mp_sb_add_c(&body,
                    "{match: {prefix: /}, direct_response: {status: 200, body: {inline_string: \"");
        for (size_t i = 0; i < n; i++) {
            mp_sb_add_char(&body, 'x');
        }
        mp_sb_add_c(&body, "\"}}}");
        char *doc = boot("", body.p, "");
        T_EQ(accepts(doc), n <= 4096);
        free(doc);
        mp_sb_fini(&body);
    }
    /* The path of a Unix socket. */
    for (size_t n = 106; n <= 108; n++) {
        char doc[400], path[200];
        memset(path, 'p', n);
        path[0] = '/';
        path[n] = '\0';
        snprintf(doc, sizeof(doc), "listen: \"unix:%s\"\nservices: []\n", path);
        T_EQ(accepts(doc), n <= 107);
    }
    /* The flush interval. */
    T_OK(accepts("services: []\n"));
    T_OK(accepts("stats_flush_interval: 0.001s\nstatic_resources: {}\n"));
    T_OK(accepts("stats_flush_interval: 299.999s\nstatic_resources: {}\n"));
    T_OK(!accepts("stats_flush_interval: 300s\nstatic_resources: {}\n"));
    T_OK(!accepts("stats_flush_interval: 0s\nstatic_resources: {}\n"));
}

static void test_forms(void)
{
    T_OK(accepts("static_resources: {}\n"));
    T_OK(accepts("staticResources: {}\n"));
    T_OK(accepts("node: {id: a}\n"));
    T_OK(accepts("admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n"));
    T_OK(accepts("admin: 127.0.0.1:0\n"));
    T_OK(accepts("listen: \":1\"\n"));
    T_OK(accepts("{\"services\": []}"));
    T_OK(accepts("version: 1\n"));
    T_OK(!accepts("{}"));
    T_OK(!accepts("admin:\n"));
    T_OK(!accepts("services: []\nadmin: {}\n"));
    T_OK(!accepts("dynamic_resources: {}\n")); /* known to be Envoy's, and refused by name */
}

/* Nothing is told, but the outcome is the same. */
static void test_without_diag(void)
{
    struct mp_conf_load_opts opts = {.registry = &ct_registry};
    struct mp_conf *c = NULL;
    T_OK(mp_is_err(mp_conf_load_text(MP_STR("services: {}"), NULL, &opts, NULL, &c)));
    T_OK(!c);
    T_OK(!mp_is_err(mp_conf_load_text(MP_STR("services: []"), NULL, &opts, NULL, &c)));
    T_OK(c);
    mp_conf_free(c);
    T_OK(!mp_conf_free(NULL));
}

/* Without check_format only fixed text is taken. */
static void test_without_formats(void)
{
    static const struct mp_conf_registry plain = {.http_filters = ct_filters};
    struct mp_conf_load_opts opts = {.registry = &plain};
    struct mp_conf *c = NULL;
    T_OK(mp_is_err(mp_conf_load_text(MP_STR("services: []"), NULL, &opts, NULL, &c)));
    T_OK(!mp_is_err(
        mp_conf_load_text(MP_STR("services: []\naccess_log: off"), NULL, &opts, NULL, &c)));
    mp_conf_free(c);
}

static void test_allow_unsupported(void)
{
    char *said;
    char *doc = boot("          tracing: {}\n",
                     "{match: {prefix: /}, route: {cluster: c, hedge_policy: {}}}",
                     "    lb_subset_config: {}\n");
    T_OK(!accepts(doc));
    struct mp_conf *c = ct_load(doc, true, &said);
    T_OK(c);
    T_OK(strstr(said, "warning: ") && strstr(said, "\"tracing\"") &&
         strstr(said, "\"hedge_policy\"") && strstr(said, "\"lb_subset_config\""));
    mp_conf_free(c);
    free(said);
    free(doc);
    /* A filter that is unknown is left out; a listener that would be empty is not. */
    doc = boot("          access_log: [{name: a, typed_config: {\"@type\": x/envoy.Other}}]\n", "",
               "");
    c = ct_load(doc, true, &said);
    T_OK(c && c->listeners[0]->http->n_alogs == 0);
    mp_conf_free(c);
    free(said);
    free(doc);
    c = ct_load(
        "static_resources: {listeners: [{name: l, address: {socket_address: {address: 127.0.0.1, "
        "port_value: 1}}, "
        "filter_chains: [{filters: [{name: f, typed_config: {\"@type\": x/envoy.TcpProxy}}]}]}]}",
        true, &said);
    T_OK(!c && strstr(said, "cannot do without this filter"));
    free(said);
    c = ct_load("services: [{name: a, hosts: [a], port: 1, health_check_path: /, "
                "websocket_upgrade: true}]\n"
                "filters: {nothing: {}}\n",
                true, &said);
    T_OK(c);
    T_OK(strstr(said, "warning: filters[\"nothing\"]: "));
    mp_conf_free(c);
    free(said);
    /* What a route says about a filter that was left out goes with it. */
    doc = boot("",
               "{match: {prefix: /}, direct_response: {status: 200}, typed_per_filter_config: "
               "{gone: {\"@type\": x/envoy.Gone}, r: {\"@type\": x/envoy.Gone}}}",
               "");
    char *with = mp_str_dup_c(mp_str_c(doc)), *at = strstr(with, "[{name: r,");
    struct mp_sb sb;
    mp_sb_init(&sb, 65536);
    mp_sb_add(&sb, mp_str(with, (size_t)(at - with)));
    mp_sb_add_c(&sb, "[{name: gone, typed_config: {\"@type\": x/envoy.Gone}}, ");
    mp_sb_add_c(&sb, at + 1);
    c = ct_load(sb.p, true, &said);
    T_OK(c && c->listeners[0]->http->n_filters == 1);
    T_EQ(c->listeners[0]->http->routes->vhosts[0].routes[0].n_overrides, 0);
    mp_conf_free(c);
    free(said);
    mp_sb_fini(&sb);
    free(with);
    free(doc);
    /* Where TLS is asked for there is TLS, and the other end is checked. */
    c = ct_load("services: [{name: a, hosts: [a], port: 1, tls_enabled: true}]\n", true, &said);
    T_OK(c && c->clusters[0]->tls && c->clusters[0]->tls->system_roots);
    T_OK(c->clusters[0]->tls->n_sans == 1 && mp_str_eq(c->clusters[0]->tls->sni, MP_STR("a")));
    mp_conf_free(c);
    free(said);
}

static void test_hidden_route_warning(void)
{
    char *said;
    struct mp_conf *c = ct_load(
        "services: [{name: a, hosts: [a], port: 1}]\nroutes:\n- {prefix: /, cluster_name: a}\n"
        "- {prefix: /x, cluster_name: a}\n- {prefix: /x, cluster_name: a, hosts: [h]}\n",
        false, &said);
    T_OK(c);
    T_OK(strcmp(said, "f:4: warning: routes[1]: never reached for host \"*\": routes[0] has prefix "
                      "\"/\" (put the longer "
                      "prefix first)\n") == 0);
    mp_conf_free(c);
    free(said);
}

static void test_hash_follows_content(void)
{
    char *said;
    struct mp_conf *a = ct_load(
        "services: [{name: a, hosts: [a], port: 1}, {name: b, hosts: [a], port: 1}]", false, &said);
    free(said);
    struct mp_conf *b = ct_load("# other text\nservices:\n- {port: 1, name: a, hosts: [a]}\n- "
                                "{name: b, hosts: [a], port: 2}",
                                false, &said);
    free(said);
    T_OK(a && b);
    T_EQ(a->clusters[0]->source.hash, b->clusters[0]->source.hash);
    T_OK(a->clusters[1]->source.hash != b->clusters[1]->source.hash);
    T_OK(a->source.hash != b->source.hash);
    T_EQ(a->listeners[0]->source.hash, b->listeners[0]->source.hash);
    mp_conf_free(a);
    mp_conf_free(b);
}

/* ---- large ---- */

/* Processor time: other programs do not count. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void load_large(const char *what, const struct mp_sb *doc, uint32_t clusters)
{
    char *said;
    double from = now();
    struct mp_conf *c = ct_load(doc->p, false, &said);
    double loaded = now();
    T_OK(!doc->overflow);
    T_OK(c);
    T_EQ(c->n_clusters, clusters);
    size_t bytes = c->arena.used + mp_conf_parts_alive().bytes;
    mp_conf_free(c);
    printf("# %s: %zu KB of text, loaded in %.0f ms, model %zu KB, freed in %.1f ms\n", what,
           doc->n / 1024, (loaded - from) * 1e3, bytes / 1024, (now() - loaded) * 1e3);
    T_OK(bytes < (size_t)clusters * 4096);
    free(said);
}

static void test_large_envoy(void)
{
    enum { N = 10000 };
    struct mp_sb sb;
    mp_sb_init(&sb, 64 << 20);
    mp_sb_add_c(&sb,
                "static_resources:\n  listeners:\n  - name: l\n    address: {socket_address: "
                "{address: 127.0.0.1, port_value: 1}}\n"
                "    filter_chains:\n    - filters:\n      - name: h\n        typed_config:\n      "
                "    \"@type\": " HCM "\n          stat_prefix: s\n          http_filters: [" ROUTER
                "]\n          route_config:\n"
                "            virtual_hosts:\n            - name: v\n              domains: "
                "[\"*\"]\n              routes:\n");
    for (int i = 0; i < N; i++) {
        mp_sb_printf(&sb, "              - {match: {prefix: /%d/}, route: {cluster: cluster_%d}}\n",
                     i, i);
    }
    mp_sb_add_c(&sb, "  clusters:\n");
    for (int i = 0; i < N; i++) {
        mp_sb_printf(
            &sb,
            "  - name: cluster_%d\n    type: STATIC\n    connect_timeout: 1s\n    "
            "load_assignment:\n      cluster_name: c\n"
            "      endpoints:\n      - lb_endpoints:\n        - endpoint:\n            address:\n"
            "              socket_address: {address: 10.0.0.1, port_value: 80}\n",
            i);
    }
    load_large("Envoy, 10000 clusters", &sb, N);
    mp_sb_fini(&sb);
}

static void test_large_march(void)
{
    enum { N = 10000 };
    struct mp_sb sb;
    mp_sb_init(&sb, 64 << 20);
    mp_sb_add_c(&sb, "services:\n");
    for (int i = 0; i < N; i++) {
        mp_sb_printf(&sb, "- {name: s%d, hosts: [10.0.0.1, 10.0.0.2], port: 80}\n", i);
    }
    mp_sb_add_c(&sb, "routes:\n");
    for (int i = 0; i < N; i++) {
        mp_sb_printf(&sb, "- {prefix: /, cluster_name: s%d, hosts: [h%d.example.com]}\n", i, i);
    }
    load_large("simple file, 10000 services", &sb, N);
    mp_sb_fini(&sb);
}

/* Many errors cost little and are counted. */
static void test_many_errors(void)
{
    struct mp_sb sb;
    char *said;
    mp_sb_init(&sb, 64 << 20);
    mp_sb_add_c(&sb, "listen: [\":1\", \":2\"]\nservices:\n");
    for (int i = 0; i < 3000; i++) {
        mp_sb_add_c(&sb, "- {name: a, hosts: [\"b c\"], port: 0, x: 1}\n");
    }
    double from = now();
    T_OK(!ct_load(sb.p, false, &said));
    printf("# 3000 bad services: %.0f ms\n", (now() - from) * 1e3);
    T_OK(strstr(said, " more\n"));
    free(said);
    mp_sb_fini(&sb);
}

int main(void)
{
    mp_hash_set_key(1, 2);
    T_RUN(test_limits);
    T_RUN(test_more_limits);
    T_RUN(test_forms);
    T_RUN(test_without_diag);
    T_RUN(test_without_formats);
    T_RUN(test_allow_unsupported);
    T_RUN(test_hidden_route_warning);
    T_RUN(test_hash_follows_content);
    T_RUN(test_large_envoy);
    T_RUN(test_large_march);
    T_RUN(test_many_errors);
    return T_DONE();
}
