/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The HTTP manager of a simple file, its route table, and the document as a whole. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "conf/march.h"
#include "conf/pb_int.h"
#include "envoy_extensions_filters_http_router_v3.pb-c.h"
#include "envoy_extensions_filters_network_http_connection_manager_v3.pb-c.h"
#include "envoy_extensions_retry_host_previous_hosts_v3.pb-c.h"

typedef Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager
    pb_manager;
typedef Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpFilter pb_http_filter;

#define ROUTE_SECONDS 30
#define SHADOW_MAX    2000 /* routes of a host among which hidden ones are looked for */
#define MANAGER_PATH  "static_resources.listeners[%zu].filter_chains[0].filters[0].typed_config"

/* ---- route table ---- */

/* One route of one host, in the order of the file. */
struct use {
    struct mp_str host; /* lower case */
    size_t order;       /* of the host: that of its first route */
    size_t route;
};

static int by_host(const void *a, const void *b)
{
    const struct use *x = a, *y = b;
    int c = mp_str_cmp(x->host, y->host);
    return c ? c : (x->route > y->route) - (x->route < y->route);
}

static int by_order(const void *a, const void *b)
{
    const struct use *x = a, *y = b;
    int c = (x->order > y->order) - (x->order < y->order);
    return c ? c : (x->route > y->route) - (x->route < y->route);
}

static struct mp_str lower(struct mp_march *m, const char *z)
{
    struct mp_str s = mp_arena_dup(m->b->scratch, mp_str_c(z));
    MP_ASSERT(s.p);
    for (char *p = (char *)s.p; *p; p++) {
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
    }
    return s;
}

/* All (host, route) pairs, hosts in the order in which the file first names them. */
static struct use *collect_uses(struct mp_march *m, size_t *ret_n)
{
    const pb_simple_file *f = m->file;
    size_t n = 0, max = 1;
    for (size_t i = 0; i < f->n_routes; i++) {
        max += MP_MAX(f->routes[i]->n_hosts, (size_t)1);
    }
    struct use *uses = mp_arena_zalloc(m->b->scratch, max * sizeof(*uses));
    MP_ASSERT(uses);
    for (size_t i = 0; i < f->n_routes; i++) {
        for (size_t j = 0; j < MP_MAX(f->routes[i]->n_hosts, (size_t)1); j++) {
            struct mp_str host =
                f->routes[i]->n_hosts ? lower(m, f->routes[i]->hosts[j]) : MP_STR("*");
            uses[n] = (struct use){.host = host, .order = n, .route = i};
            n++;
        }
    }
    qsort(uses, n, sizeof(*uses), by_host);
    for (size_t i = 1; i < n; i++) {
        if (mp_str_eq(uses[i].host, uses[i - 1].host)) {
            uses[i].order = uses[i - 1].order;
        }
    }
    qsort(uses, n, sizeof(*uses), by_order);
    *ret_n = n;
    return uses;
}

/* A route behind one with a shorter prefix is never reached; a common slip, as the order of the
 * file counts. */
static void warn_hidden(struct mp_march *m, const struct use *uses, size_t n)
{
    if (n > SHADOW_MAX || m->b->diag->errors > 0) {
        return;
    }
    for (size_t i = 1; i < n; i++) {
        struct mp_str prefix = mp_str_c(m->file->routes[uses[i].route]->prefix);
        for (size_t j = 0; j < i; j++) {
            struct mp_str earlier = mp_str_c(m->file->routes[uses[j].route]->prefix);
            if (mp_str_starts(prefix, earlier)) {
                char path[64];
                snprintf(path, sizeof(path), "routes[%zu]", uses[i].route);
                mp_diag_warn(m->b->diag, mp_yaml_line_of(m->yaml, path), path,
                             "put the longer prefix first",
                             "never reached for host \"" MP_STR_FMT
                             "\": routes[%zu] has prefix \"" MP_STR_FMT "\"",
                             MP_STR_ARG(uses[i].host), uses[j].route, MP_STR_ARG(earlier));
                break;
            }
        }
    }
}

/* Of services that say so. */
static bool allows_websocket(const struct mp_march *m, const char *service)
{
    const pb_service *s = m->services_known ? mp_march_service(m, service) : NULL;
    return s && (s->websocket_upgrade || strcmp(s->protocol, "websocket") == 0);
}

static void allow_websocket(struct mp_march *m, Envoy__Config__Route__V3__RouteAction *a)
{
    Envoy__Config__Route__V3__RouteAction__UpgradeConfig *u =
        MP_MARCH_NEW(m, envoy__config__route__v3__route_action__upgrade_config);
    u->upgrade_type = (char *)"websocket";
    a->upgrade_configs = MP_MARCH_LIST(m, a->upgrade_configs, 1);
    a->upgrade_configs[a->n_upgrade_configs++] = u;
}

static Envoy__Config__Route__V3__RetryPolicy *retry_policy(struct mp_march *m,
                                                           const Marchproxy__Config__V1__Retries *r)
{
    if (!r) {
        return NULL;
    }
    Envoy__Config__Route__V3__RetryPolicy *p =
        MP_MARCH_NEW(m, envoy__config__route__v3__retry_policy);
    Envoy__Config__Route__V3__RetryPolicy__RetryHostPredicate *other =
        MP_MARCH_NEW(m, envoy__config__route__v3__retry_policy__retry_host_predicate);
    p->retry_on = r->on[0] ? r->on : "connect-failure,refused-stream,reset";
    p->num_retries = r->attempts;
    p->per_try_timeout = r->per_try_timeout;
    other->name = "envoy.retry_host_predicates.previous_hosts";
    other->config_type_case =
        ENVOY__CONFIG__ROUTE__V3__RETRY_POLICY__RETRY_HOST_PREDICATE__CONFIG_TYPE_TYPED_CONFIG;
    ProtobufCMessage *predicate = MP_MARCH_NEW(
        m, envoy__extensions__retry__host__previous_hosts__v3__previous_hosts_predicate);
    other->typed_config = mp_march_any(m, predicate);
    p->retry_host_predicate = MP_MARCH_LIST(m, p->retry_host_predicate, 1);
    p->retry_host_predicate[p->n_retry_host_predicate++] = other;
    p->host_selection_retry_max_attempts = 5;
    return p;
}

static pb_route *make_route(struct mp_march *m, const pb_march_route *r)
{
    pb_route *out = MP_MARCH_NEW(m, envoy__config__route__v3__route);
    out->name = r->name;
    out->match = MP_MARCH_NEW(m, envoy__config__route__v3__route_match);
    out->match->path_specifier_case = ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PREFIX;
    out->match->prefix = r->prefix;
    out->action_case = ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_ROUTE;
    out->route = MP_MARCH_NEW(m, envoy__config__route__v3__route_action);
    out->route->cluster_specifier_case =
        ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER;
    out->route->cluster = r->cluster_name;
    out->route->timeout = mp_march_seconds(m, r->timeout > 0 ? r->timeout : ROUTE_SECONDS);
    if (allows_websocket(m, r->cluster_name)) {
        allow_websocket(m, out->route);
    }
    out->route->retry_policy = retry_policy(m, r->retries);
    return out;
}

static pb_vhost *make_vhost(struct mp_march *m, struct mp_str host, const struct use *uses,
                            size_t n, size_t index)
{
    pb_vhost *v = MP_MARCH_NEW(m, envoy__config__route__v3__virtual_host);
    v->name = (char *)host.p;
    v->domains = MP_MARCH_LIST(m, v->domains, 2);
    v->domains[v->n_domains++] = (char *)host.p;
    if (host.p[0] != '*') {
        v->domains[v->n_domains++] = mp_march_printf(m, "%s:*", host.p);
    }
    v->routes = MP_MARCH_LIST(m, v->routes, n);
    if (n > 0) {
        mp_conf_places_add(
            m->places,
            mp_march_printf(m, MANAGER_PATH ".route_config.virtual_hosts[%zu]", (size_t)0, index),
            mp_march_printf(m, "routes[%zu].hosts", uses[0].route), false);
    }
    for (size_t i = 0; i < n; i++) {
        const char *made = mp_march_printf(
            m, MANAGER_PATH ".route_config.virtual_hosts[%zu].routes[%zu]", (size_t)0, index, i);
        v->routes[v->n_routes++] = make_route(m, m->file->routes[uses[i].route]);
        mp_march_override(m, uses[i].route, made, v->routes[i]);
        mp_conf_places_add(m->places, made, mp_march_printf(m, "routes[%zu]", uses[i].route),
                           false);
    }
    warn_hidden(m, uses, n);
    return v;
}

/* Without routes every request is answered 404. */
static pb_vhost *nothing_here(struct mp_march *m)
{
    pb_vhost *v = make_vhost(m, MP_STR("*"), NULL, 0, 0);
    pb_route *r = MP_MARCH_NEW(m, envoy__config__route__v3__route);
    r->match = MP_MARCH_NEW(m, envoy__config__route__v3__route_match);
    r->match->path_specifier_case = ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PREFIX;
    r->match->prefix = (char *)"/";
    r->action_case = ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_DIRECT_RESPONSE;
    r->direct_response = MP_MARCH_NEW(m, envoy__config__route__v3__direct_response_action);
    r->direct_response->status = 404;
    v->routes = MP_MARCH_LIST(m, v->routes, 1);
    v->routes[v->n_routes++] = r;
    return v;
}

pb_route_config *mp_march_routes(struct mp_march *m)
{
    pb_route_config *t = MP_MARCH_NEW(m, envoy__config__route__v3__route_configuration);
    size_t n;
    struct use *uses = collect_uses(m, &n);
    mp_march_read_overrides(m);
    t->name = (char *)"marchproxy_routes";
    t->ignore_port_in_host_matching = true;
    t->virtual_hosts = MP_MARCH_LIST(m, t->virtual_hosts, n + 1);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && mp_str_eq(uses[i].host, uses[end].host); end++) {
        }
        t->virtual_hosts[t->n_virtual_hosts] =
            make_vhost(m, uses[i].host, uses + i, end - i, t->n_virtual_hosts);
        t->n_virtual_hosts++;
    }
    if (n == 0) {
        t->virtual_hosts[t->n_virtual_hosts++] = nothing_here(m);
    }
    return t;
}

/* ---- filters ---- */

static void add_filter(struct mp_march *m, pb_manager *hm, const char *name,
                       const ProtobufCMessage *conf)
{
    pb_http_filter *f = MP_MARCH_NEW(
        m, envoy__extensions__filters__network__http_connection_manager__v3__http_filter);
    f->name = (char *)name;
    f->config_type_case =
        ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_FILTER__CONFIG_TYPE_TYPED_CONFIG;
    f->typed_config = mp_march_any(m, conf);
    hm->http_filters[hm->n_http_filters++] = f;
}

#define FILTER_PREFIX "marchproxy.filters.http."

const struct mp_conf_filter_type *mp_march_find_filter(const struct mp_march *m, const char *key)
{
    const struct mp_conf_filter_type *const *t = m->b->opts->registry->http_filters;
    for (; t && *t; t++) {
        if (strncmp((*t)->name, FILTER_PREFIX, sizeof(FILTER_PREFIX) - 1) == 0 &&
            strcmp((*t)->name + sizeof(FILTER_PREFIX) - 1, key) == 0) {
            return *t;
        }
    }
    return NULL;
}

bool mp_march_is_given(const Google__Protobuf__Struct *s, const char *key)
{
    for (size_t i = 0; s && i < s->n_fields; i++) {
        if (strcmp(s->fields[i]->key, key) == 0) {
            return true;
        }
    }
    return false;
}

/* In the order of the registry, whatever the order of the file: auth before license before metrics.
 */
static void add_filters(struct mp_march *m, pb_manager *hm)
{
    const Google__Protobuf__Struct *s = m->file->filters;
    const struct mp_conf_filter_type *const *t = m->b->opts->registry->http_filters;
    for (size_t i = 0; s && i < s->n_fields; i++) {
        char sub[128];
        snprintf(sub, sizeof(sub), "filters[\"%s\"]", s->fields[i]->key);
        if (!mp_march_find_filter(m, s->fields[i]->key)) {
            mp_build_unsupported(m->b, sub,
                                 "remove it, or use --allow-unsupported to run without it",
                                 "filter \"%s\" is not supported", s->fields[i]->key);
        }
    }
    for (; t && *t; t++) {
        const char *key = (*t)->name + sizeof(FILTER_PREFIX) - 1;
        char path[128];
        ProtobufCMessage *conf;
        if (strncmp((*t)->name, FILTER_PREFIX, sizeof(FILTER_PREFIX) - 1) != 0 ||
            !mp_march_is_given(s, key)) {
            continue;
        }
        snprintf(path, sizeof(path), "filters[\"%s\"]", key);
        struct mp_pb_read_opts opts = {.allow_unsupported = m->b->opts->allow_unsupported};
        if (!mp_is_err(mp_pb_from_yaml(m->yaml, path, (*t)->message, &opts, m->b->scratch,
                                       m->b->diag, &conf))) {
            for (size_t i = 0; i < m->n_listeners; i++) {
                mp_conf_places_add(m->places,
                                   mp_march_printf(m,
                                                   MANAGER_PATH ".http_filters[%zu].typed_config",
                                                   i, hm->n_http_filters),
                                   mp_march_printf(m, "%s", path), true);
            }
            add_filter(m, hm, (*t)->name, conf);
        }
    }
}

/* ---- limits ---- */

/* What Envoy has no field for, or one of coarser grain. */
static void add_own_limits(struct mp_march *m, pb_manager *hm)
{
    const pb_limits *l = m->file->limits;
    if (!l || (!l->head_bytes && !l->body_bytes)) {
        return;
    }
    Marchproxy__Config__V1__HttpLimits *own = MP_MARCH_NEW(m, marchproxy__config__v1__http_limits);
    own->max_request_head_bytes = l->head_bytes ? l->head_bytes->value : 0;
    own->max_request_body_bytes = l->body_bytes ? l->body_bytes->value : 0;
    add_filter(m, hm, "marchproxy.limits", &own->base);
}

static void set_limits(struct mp_march *m, pb_manager *hm)
{
    const pb_limits none = MARCHPROXY__CONFIG__V1__LIMITS__INIT,
                    *l = m->file->limits ? m->file->limits : &none;
    if (l->idle_timeout || l->max_connection_duration || l->max_stream_duration ||
        l->header_fields || l->requests_per_connection) {
        pb_http_options *o = MP_MARCH_NEW(m, envoy__config__core__v3__http_protocol_options);
        o->idle_timeout = l->idle_timeout;
        o->max_connection_duration = l->max_connection_duration;
        o->max_stream_duration = l->max_stream_duration;
        o->max_headers_count = l->header_fields;
        o->max_requests_per_connection = l->requests_per_connection;
        hm->common_http_protocol_options = o;
    }
    hm->stream_idle_timeout = l->stream_idle_timeout;
    hm->request_timeout = l->request_timeout ? l->request_timeout : mp_march_request_timeout(m);
    hm->request_headers_timeout =
        l->request_headers_timeout ? l->request_headers_timeout : mp_march_seconds(m, 10);
    hm->drain_timeout = l->drain_timeout;
}

/* ---- manager ---- */

pb_any *mp_march_manager(struct mp_march *m)
{
    pb_manager *hm = MP_MARCH_NEW(
        m,
        envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager);
    pb_access_log *log = mp_march_access_log(m);
    size_t n_filters = m->file->filters ? m->file->filters->n_fields : 0;
    hm->stat_prefix = (char *)"ingress_http";
    hm->use_remote_address = mp_march_bool(m, true);
    hm->http_protocol_options = MP_MARCH_NEW(m, envoy__config__core__v3__http1_protocol_options);
    hm->http_protocol_options->accept_http_10 = true;
    for (size_t i = 0; i < m->file->n_services; i++) {
        if (allows_websocket(m, m->file->services[i]->name)) {
            hm->http2_protocol_options =
                MP_MARCH_NEW(m, envoy__config__core__v3__http2_protocol_options);
            hm->http2_protocol_options->allow_connect = true;
            break;
        }
    }
    set_limits(m, hm);
    if (log) {
        hm->access_log = MP_MARCH_LIST(m, hm->access_log, 1);
        hm->access_log[hm->n_access_log++] = log;
    }
    hm->http_filters = MP_MARCH_LIST(m, hm->http_filters, n_filters + 2);
    add_own_limits(m, hm);
    add_filters(m, hm);
    Envoy__Extensions__Filters__Http__Router__V3__Router *router =
        MP_MARCH_NEW(m, envoy__extensions__filters__http__router__v3__router);
    add_filter(m, hm, "envoy.filters.http.router", &router->base);
    hm->route_specifier_case =
        ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_ROUTE_CONFIG;
    hm->route_config = mp_march_routes(m);
    return mp_march_any(m, &hm->base);
}

pb_any *mp_march_redirect_manager(struct mp_march *m)
{
    pb_manager *hm = MP_MARCH_NEW(
        m,
        envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager);
    pb_access_log *log = mp_march_access_log(m);
    hm->stat_prefix = (char *)"ingress_redirect";
    hm->use_remote_address = mp_march_bool(m, true);
    hm->http_protocol_options = MP_MARCH_NEW(m, envoy__config__core__v3__http1_protocol_options);
    hm->http_protocol_options->accept_http_10 = true;
    set_limits(m, hm);
    if (log) {
        hm->access_log = MP_MARCH_LIST(m, hm->access_log, 1);
        hm->access_log[hm->n_access_log++] = log;
    }
    hm->strip_port_mode_case =
        ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__STRIP_PORT_MODE_STRIP_ANY_HOST_PORT;
    hm->strip_any_host_port = true;
    hm->http_filters = MP_MARCH_LIST(m, hm->http_filters, 2);
    add_own_limits(m, hm);
    Envoy__Extensions__Filters__Http__Router__V3__Router *router =
        MP_MARCH_NEW(m, envoy__extensions__filters__http__router__v3__router);
    add_filter(m, hm, "envoy.filters.http.router", &router->base);
    hm->route_specifier_case =
        ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_ROUTE_CONFIG;
    hm->route_config = mp_march_redirect_routes(m);
    return mp_march_any(m, &hm->base);
}

/* ---- the whole ---- */

static Envoy__Config__Listener__V3__FilterChain *add_chain(struct mp_march *m, pb_listener *out,
                                                           pb_any *manager)
{
    Envoy__Config__Listener__V3__FilterChain *chain =
        MP_MARCH_NEW(m, envoy__config__listener__v3__filter_chain);
    Envoy__Config__Listener__V3__Filter *filter =
        MP_MARCH_NEW(m, envoy__config__listener__v3__filter);
    out->filter_chains[out->n_filter_chains++] = chain;
    chain->filters = MP_MARCH_LIST(m, chain->filters, 1);
    chain->filters[chain->n_filters++] = filter;
    filter->name = (char *)"envoy.filters.network.http_connection_manager";
    filter->config_type_case = ENVOY__CONFIG__LISTENER__V3__FILTER__CONFIG_TYPE_TYPED_CONFIG;
    filter->typed_config = manager;
    return chain;
}

static pb_listener *make_listener(struct mp_march *m, const struct mp_march_listener *l, size_t i,
                                  pb_any *manager)
{
    pb_listener *out = MP_MARCH_NEW(m, envoy__config__listener__v3__listener);
    out->name = (char *)l->name;
    out->address = mp_march_conf_address(m, &l->addr);
    out->per_connection_buffer_limit_bytes = mp_march_u32(m, m->buffer_bytes);
    out->filter_chains = MP_MARCH_LIST(m, out->filter_chains, 2);
    bool detect = l->tls == MP_MARCH_TLS_DETECT;
    if (l->tls != MP_MARCH_TLS_ON) {
        Envoy__Config__Listener__V3__FilterChain *raw = add_chain(m, out, manager);
        if (detect) {
            raw->filter_chain_match =
                MP_MARCH_NEW(m, envoy__config__listener__v3__filter_chain_match);
            raw->filter_chain_match->transport_protocol = (char *)"raw_buffer";
        }
    }
    if (l->tls != MP_MARCH_TLS_OFF) {
        char *path = mp_march_printf(
            m, "static_resources.listeners[%zu].filter_chains[%zu].transport_socket.typed_config",
            i, out->n_filter_chains);
        Envoy__Config__Listener__V3__FilterChain *tls = add_chain(m, out, manager);
        tls->transport_socket = mp_march_listener_tls(m, path);
        if (detect) {
            tls->filter_chain_match =
                MP_MARCH_NEW(m, envoy__config__listener__v3__filter_chain_match);
            tls->filter_chain_match->transport_protocol = (char *)"tls";
        }
    }
    mp_march_listener_limits(m, out);
    out->enable_reuse_port = l->reuse_port ? mp_march_bool(m, true) : NULL;
    return out;
}

static void set_connections(struct mp_march *m, pb_bootstrap *boot)
{
    if (!m->file->limits || !m->file->limits->connections) {
        return;
    }
    Envoy__Config__Bootstrap__V3__RuntimeLayer *layer =
        MP_MARCH_NEW(m, envoy__config__bootstrap__v3__runtime_layer);
    Google__Protobuf__Struct__FieldsEntry *e =
        MP_MARCH_NEW(m, google__protobuf__struct__fields_entry);
    e->key = (char *)"overload.global_downstream_max_connections";
    e->value = MP_MARCH_NEW(m, google__protobuf__value);
    e->value->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE;
    e->value->number_value = m->file->limits->connections->value;
    mp_conf_places_add(m->places, "layered_runtime", "limits.connections", false);
    layer->name = (char *)"limits";
    layer->layer_specifier_case =
        ENVOY__CONFIG__BOOTSTRAP__V3__RUNTIME_LAYER__LAYER_SPECIFIER_STATIC_LAYER;
    layer->static_layer = MP_MARCH_NEW(m, google__protobuf__struct);
    layer->static_layer->fields = MP_MARCH_LIST(m, layer->static_layer->fields, 1);
    layer->static_layer->fields[layer->static_layer->n_fields++] = e;
    boot->layered_runtime = MP_MARCH_NEW(m, envoy__config__bootstrap__v3__layered_runtime);
    boot->layered_runtime->layers = MP_MARCH_LIST(m, boot->layered_runtime->layers, 1);
    boot->layered_runtime->layers[boot->layered_runtime->n_layers++] = layer;
}

static void add_extension(struct mp_march *m, pb_bootstrap *boot, const char *name,
                          const char *written, const ProtobufCMessage *conf)
{
    Envoy__Config__Core__V3__TypedExtensionConfig *e =
        MP_MARCH_NEW(m, envoy__config__core__v3__typed_extension_config);
    e->name = (char *)name;
    e->typed_config = mp_march_any(m, conf);
    mp_conf_places_add(
        m->places,
        mp_march_printf(m, "bootstrap_extensions[%zu].typed_config", boot->n_bootstrap_extensions),
        written, true);
    boot->bootstrap_extensions[boot->n_bootstrap_extensions++] = e;
}

static void add_extensions(struct mp_march *m, pb_bootstrap *boot)
{
    const pb_simple_file *f = m->file;
    boot->bootstrap_extensions = MP_MARCH_LIST(m, boot->bootstrap_extensions, 2);
    if (f->admin_options != NULL) {
        add_extension(m, boot, "marchproxy.admin", "admin_options", &f->admin_options->base);
    }
    if (f->xdp != NULL) {
        add_extension(m, boot, "marchproxy.xdp", "xdp", &f->xdp->base);
    }
}

static pb_bootstrap *make_bootstrap(struct mp_march *m)
{
    const pb_simple_file *f = m->file;
    pb_bootstrap *boot = MP_MARCH_NEW(m, envoy__config__bootstrap__v3__bootstrap);
    Envoy__Config__Bootstrap__V3__Bootstrap__StaticResources *res =
        MP_MARCH_NEW(m, envoy__config__bootstrap__v3__bootstrap__static_resources);
    pb_any *manager = mp_march_manager(m);
    boot->node = MP_MARCH_NEW(m, envoy__config__core__v3__node);
    m->b->conf->user = mp_build_str(m->b, f->user);
    m->b->conf->group = mp_build_str(m->b, f->group);
    boot->node->id = f->node_id[0] ? f->node_id : (char *)"marchproxy-node";
    boot->node->cluster = (char *)"marchproxy-cluster";
    boot->admin = mp_march_admin(m);
    boot->static_resources = res;
    mp_conf_places_add(m->places, "admin", "admin", false);
    res->listeners = MP_MARCH_LIST(m, res->listeners, m->n_listeners);
    for (size_t i = 0; i < m->n_listeners; i++) {
        mp_conf_places_add(m->places, mp_march_printf(m, "static_resources.listeners[%zu]", i),
                           m->listeners[i].written, false);
        mp_conf_places_add(m->places, mp_march_printf(m, MANAGER_PATH, i), "limits", false);
        mp_conf_places_add(m->places, mp_march_printf(m, MANAGER_PATH ".access_log", i),
                           "access_log", false);
        res->listeners[res->n_listeners++] =
            make_listener(m, &m->listeners[i], i,
                          m->listeners[i].redirect ? mp_march_redirect_manager(m) : manager);
    }
    res->clusters = MP_MARCH_LIST(m, res->clusters, f->n_services);
    for (size_t i = 0; i < f->n_services; i++) {
        if (mp_march_is_ours(f->services[i])) {
            mp_conf_places_add(
                m->places, mp_march_printf(m, "static_resources.clusters[%zu]", res->n_clusters),
                mp_march_printf(m, "services[%zu]", i), false);
            res->clusters[res->n_clusters++] = mp_march_cluster(m, f->services[i]);
        }
    }
    set_connections(m, boot);
    mp_march_overload(m, boot);
    add_extensions(m, boot);
    mp_march_watchdogs(m, boot);
    return boot;
}

void mp_build_from_march(struct mp_conf_build *b, const struct mp_yaml *y,
                         struct mp_conf_places *places)
{
    struct mp_march m = {.b = b, .yaml = y, .places = places};
    struct mp_pb_read_opts opts = {.allow_unsupported = b->opts->allow_unsupported};
    ProtobufCMessage *msg;
    (void)mp_pb_read_partial(y->root, y->root->line, NULL,
                             &marchproxy__config__v1__simple_file__descriptor, &opts, b->scratch,
                             b->diag, &msg);
    m.file = (const pb_simple_file *)msg;
    if (!msg) {
        return;
    }
    mp_march_check(&m);
    mp_march_check_limits(&m);
    (void)mp_march_listen(&m);
    pb_bootstrap *boot = make_bootstrap(&m);
    /* Also with errors: filters have not been heard yet. What was told is not told again. */
    mp_build_bootstrap(b, boot);
}
