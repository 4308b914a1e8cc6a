/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* HttpConnectionManager and its filters. */
#include "base/assert.h"
#include "conf/build.h"
#include "envoy_extensions_filters_http_router_v3.pb-c.h"
#include "envoy_extensions_filters_network_http_connection_manager_v3.pb-c.h"
#include "marchproxy_config_v1.pb-c.h"

typedef Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager
    pb_manager;
typedef Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpFilter pb_http_filter;
#define MANAGER(value) \
    ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__##value

/* Order of enum mp_escaped_slashes in codec/uri.h. */
enum { SLASH_KEEP, SLASH_REJECT, SLASH_REDIRECT, SLASH_FORWARD };

#define HEAD_KB_MAX  60 /* a head is parsed in one piece, in the worker's read buffer */
#define HEAD_DEFAULT (60 * 1024)
#define FIELDS_MAX   65535

/* ---- options ---- */

static void build_common(struct mp_conf_build *b, const pb_http_options *m,
                         struct mp_conf_http *ret)
{
    uint32_t fields = ret->fields_max;
    if (!m) {
        return;
    }
    size_t mark = mp_build_enter(b, "common_http_protocol_options");
    mp_build_ms(b, "idle_timeout", m->idle_timeout, &ret->idle_timeout_ms);
    mp_build_ms(b, "max_connection_duration", m->max_connection_duration,
                &ret->max_connection_duration_ms);
    mp_build_ms(b, "max_stream_duration", m->max_stream_duration, &ret->max_stream_duration_ms);
    mp_build_u32(b, "max_headers_count", m->max_headers_count, 1, FIELDS_MAX, &fields);
    mp_build_u32(b, "max_requests_per_connection", m->max_requests_per_connection, 0, UINT32_MAX,
                 &ret->requests_per_connection);
    ret->fields_max = (uint16_t)fields;
    switch (m->headers_with_underscores_action) {
    case ENVOY__CONFIG__CORE__V3__HTTP_PROTOCOL_OPTIONS__HEADERS_WITH_UNDERSCORES_ACTION__ALLOW:
        ret->underscores = MP_UNDERSCORE_ALLOW;
        break;
    case ENVOY__CONFIG__CORE__V3__HTTP_PROTOCOL_OPTIONS__HEADERS_WITH_UNDERSCORES_ACTION__REJECT_REQUEST:
        ret->underscores = MP_UNDERSCORE_REJECT;
        break;
    case ENVOY__CONFIG__CORE__V3__HTTP_PROTOCOL_OPTIONS__HEADERS_WITH_UNDERSCORES_ACTION__DROP_HEADER:
        ret->underscores = MP_UNDERSCORE_DROP;
        break;
    default:
        (void)mp_build_error(b, "headers_with_underscores_action", NULL,
                             "value %d is not supported", (int)m->headers_with_underscores_action);
        break;
    }
    mp_build_leave(b, mark);
}

static void build_http1(struct mp_conf_build *b, const pb_http1_options *m,
                        struct mp_conf_http *ret)
{
    if (!m) {
        return;
    }
    size_t mark = mp_build_enter(b, "http_protocol_options");
    ret->accept_http10 = m->accept_http_10;
    ret->enable_trailers = m->enable_trailers;
    mp_build_bool(m->allow_absolute_url, &ret->allow_absolute_url);
    if (m->default_host_for_http_10[0] &&
        mp_build_header_text(b, "default_host_for_http_10", m->default_host_for_http_10, false)) {
        ret->default_host_http10 = mp_build_str(b, m->default_host_for_http_10);
    }
    if (m->default_host_for_http_10[0] && !m->accept_http_10) {
        (void)mp_build_error(b, "default_host_for_http_10", "set accept_http_10: true",
                             "HTTP/1.0 is not accepted");
    }
    if (m->allow_chunked_length) {
        (void)mp_build_error(
            b, "allow_chunked_length", "remove it",
            "a message with both Transfer-Encoding and Content-Length is always refused");
    }
    mp_build_leave(b, mark);
}

static void build_xfcc(struct mp_conf_build *b, const pb_manager *m, struct mp_conf_http *ret)
{
    const Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager__SetCurrentClientCertDetails
        *d = m->set_current_client_cert_details;
    unsigned v = (unsigned)m->forward_client_cert_details;
    if (v > MP_XFCC_ALWAYS_FORWARD) {
        (void)mp_build_error(b, "forward_client_cert_details", NULL, "value %u is not supported",
                             v);
        return;
    }
    ret->xfcc = (enum mp_conf_xfcc)v;
    if (!d) {
        return;
    }
    mp_build_bool(d->subject, &ret->xfcc_subject);
    ret->xfcc_cert = d->cert;
    ret->xfcc_chain = d->chain;
    ret->xfcc_dns = d->dns;
    ret->xfcc_uri = d->uri;
}

static void build_enums(struct mp_conf_build *b, const pb_manager *m, struct mp_conf_http *ret)
{
    build_xfcc(b, m, ret);
    switch (m->codec_type) {
    case MANAGER(CODEC_TYPE__AUTO):
        ret->codec = MP_CODEC_AUTO;
        break;
    case MANAGER(CODEC_TYPE__HTTP1):
        ret->codec = MP_CODEC_HTTP1;
        break;
    case MANAGER(CODEC_TYPE__HTTP2):
        ret->codec = MP_CODEC_HTTP2;
        break;
    default:
        (void)mp_build_error(b, "codec_type", "use AUTO", "value %d is not supported",
                             (int)m->codec_type);
        break;
    }
    switch (m->server_header_transformation) {
    case MANAGER(SERVER_HEADER_TRANSFORMATION__OVERWRITE):
        ret->server_header = MP_SERVER_OVERWRITE;
        break;
    case MANAGER(SERVER_HEADER_TRANSFORMATION__APPEND_IF_ABSENT):
        ret->server_header = MP_SERVER_APPEND_IF_ABSENT;
        break;
    case MANAGER(SERVER_HEADER_TRANSFORMATION__PASS_THROUGH):
        ret->server_header = MP_SERVER_PASS_THROUGH;
        break;
    default:
        (void)mp_build_error(b, "server_header_transformation", NULL, "value %d is not supported",
                             (int)m->server_header_transformation);
        break;
    }
    switch (m->path_with_escaped_slashes_action) {
    case MANAGER(PATH_WITH_ESCAPED_SLASHES_ACTION__IMPLEMENTATION_SPECIFIC_DEFAULT):
    case MANAGER(PATH_WITH_ESCAPED_SLASHES_ACTION__KEEP_UNCHANGED):
        ret->escaped_slashes = SLASH_KEEP;
        break;
    case MANAGER(PATH_WITH_ESCAPED_SLASHES_ACTION__REJECT_REQUEST):
        ret->escaped_slashes = SLASH_REJECT;
        break;
    case MANAGER(PATH_WITH_ESCAPED_SLASHES_ACTION__UNESCAPE_AND_REDIRECT):
        ret->escaped_slashes = SLASH_REDIRECT;
        break;
    case MANAGER(PATH_WITH_ESCAPED_SLASHES_ACTION__UNESCAPE_AND_FORWARD):
        ret->escaped_slashes = SLASH_FORWARD;
        break;
    default:
        (void)mp_build_error(b, "path_with_escaped_slashes_action", NULL,
                             "value %d is not supported", (int)m->path_with_escaped_slashes_action);
        break;
    }
}

static void build_options(struct mp_conf_build *b, const pb_manager *m, struct mp_conf_http *ret)
{
    uint32_t head_kb = 0;
    if (m->server_name[0] && mp_build_header_text(b, "server_name", m->server_name, false)) {
        ret->server_name = mp_build_str(b, m->server_name);
    }
    if (m->via[0] && mp_build_header_text(b, "via", m->via, false)) {
        ret->via = mp_build_str(b, m->via);
    }
    mp_build_bool(m->use_remote_address, &ret->use_remote_address);
    mp_build_bool(m->generate_request_id, &ret->generate_request_id);
    mp_build_bool(m->normalize_path, &ret->normalize_path);
    ret->xff_trusted_hops = m->xff_num_trusted_hops;
    ret->skip_xff_append = m->skip_xff_append;
    ret->preserve_request_id = m->preserve_external_request_id;
    ret->always_set_request_id_in_response = m->always_set_request_id_in_response;
    ret->merge_slashes = m->merge_slashes;
    ret->strip_trailing_dot = m->strip_trailing_host_dot;
    ret->strip_any_port = m->strip_port_mode_case == MANAGER(STRIP_PORT_MODE_STRIP_ANY_HOST_PORT) &&
                          m->strip_any_host_port;
    mp_build_ms(b, "stream_idle_timeout", m->stream_idle_timeout, &ret->stream_idle_timeout_ms);
    mp_build_ms(b, "request_timeout", m->request_timeout, &ret->request_timeout_ms);
    mp_build_ms(b, "request_headers_timeout", m->request_headers_timeout,
                &ret->request_headers_timeout_ms);
    mp_build_ms(b, "drain_timeout", m->drain_timeout, &ret->drain_timeout_ms);
    mp_build_ms(b, "delayed_close_timeout", m->delayed_close_timeout,
                &ret->delayed_close_timeout_ms);
    mp_build_u32(b, "max_request_headers_kb", m->max_request_headers_kb, 1, HEAD_KB_MAX, &head_kb);
    ret->head_bytes_max = head_kb ? head_kb * 1024 : ret->head_bytes_max;
}

/* ---- filters ---- */

static const struct mp_conf_filter_type *find_type(const struct mp_conf_build *b,
                                                   const ProtobufCMessageDescriptor *d)
{
    const struct mp_conf_filter_type *const *t = b->opts->registry->http_filters;
    for (; t && *t; t++) {
        if ((*t)->message == d) {
            return *t;
        }
    }
    return NULL;
}

static void set_limits(struct mp_conf_build *b, const Marchproxy__Config__V1__HttpLimits *m,
                       struct mp_conf_http *ret)
{
    ret->body_bytes_max = m->max_request_body_bytes;
    if (m->max_request_head_bytes == 0) {
        return;
    }
    if (m->max_request_head_bytes < 1024 || m->max_request_head_bytes > HEAD_KB_MAX * 1024) {
        (void)mp_build_error(b, "typed_config.max_request_head_bytes", "use 1024 to 61440",
                             "%u is out of range", m->max_request_head_bytes);
        return;
    }
    ret->head_bytes_max = m->max_request_head_bytes;
}

static void check_filter_name(struct mp_conf_build *b, const char *name,
                              const struct mp_conf_http *http)
{
    if (name[0] == '\0') {
        mp_build_missing(b, "name", NULL, "name is missing");
    }
    for (uint32_t i = 0; i < http->n_filters; i++) {
        if (name[0] && mp_str_eq(http->filters[i].name, mp_str_c(name))) {
            (void)mp_build_error(b, "name", "routes choose filters by name: give each its own",
                                 "name \"%s\" is that of an earlier filter too", name);
        }
    }
}

static void build_filter(struct mp_conf_build *b, const pb_http_filter *m, struct mp_conf_http *ret)
{
    if (!m->typed_config) {
        mp_build_missing(b, "typed_config", "add typed_config with the \"@type\" of the filter",
                         "typed_config is missing");
        return;
    }
    const ProtobufCMessage *any = mp_build_any(b, "typed_config", m->typed_config);
    check_filter_name(b, m->name, ret);
    if (!any) {
        b->filters_known = false;
        return;
    }
    if (any->descriptor == &marchproxy__config__v1__http_limits__descriptor) {
        set_limits(b, (const Marchproxy__Config__V1__HttpLimits *)any, ret);
        return;
    }
    const struct mp_conf_filter_type *type = find_type(b, any->descriptor);
    if (!type) {
        b->filters_known = false;
        mp_build_unsupported(b, "typed_config",
                             "remove it, or use --allow-unsupported to run without it",
                             "%s is not an HTTP filter of this program", any->descriptor->name);
        return;
    }
    if (any->descriptor == &envoy__extensions__filters__http__router__v3__router__descriptor) {
        ret->suppress_envoy_headers =
            ((const Envoy__Extensions__Filters__Http__Router__V3__Router *)any)
                ->suppress_envoy_headers;
    }
    struct mp_conf_http_filter *f = &ret->filters[ret->n_filters++];
    *f = (struct mp_conf_http_filter){
        .name = mp_build_str(b, m->name), .type = type, .disabled = m->disabled};
    if (m->disabled && type->terminal) {
        (void)mp_build_error(b, "disabled", NULL, "the last filter cannot be disabled");
    }
    size_t mark = mp_build_enter(b, "typed_config");
    struct mp_conf_where w = mp_build_where(b);
    size_t errors = b->diag->errors;
    if (type->parse && mp_is_err(type->parse(any, b->arena, &w, &f->parsed)) &&
        b->diag->errors == errors) {
        (void)mp_build_error(b, NULL, NULL, "%s refuses its configuration", type->name);
    }
    mp_build_leave(b, mark);
}

static void build_filters(struct mp_conf_build *b, const pb_manager *m, struct mp_conf_http *ret)
{
    static const char cure[] = "end the list with envoy.filters.http.router";
    ret->filters = mp_build_take(b, m->n_http_filters, sizeof(*ret->filters));
    size_t errors = b->diag->errors;
    b->filters_known = true;
    for (size_t i = 0; i < m->n_http_filters; i++) {
        size_t mark = mp_build_enter(b, "http_filters[%zu]", i);
        build_filter(b, m->http_filters[i], ret);
        mp_build_leave(b, mark);
    }
    if (b->diag->errors != errors) {
        return; /* a filter is missing from our list: what follows would mislead */
    }
    if (ret->n_filters == 0) {
        mp_build_missing(b, "http_filters", cure, "http_filters is missing");
        return;
    }
    for (uint32_t i = 0; i < ret->n_filters; i++) {
        bool last = i + 1 == ret->n_filters;
        if (ret->filters[i].type->terminal != last) {
            size_t mark = mp_build_enter(b, "http_filters[%u]", i);
            (void)mp_build_error(b, NULL, cure,
                                 last ? "the last filter, %s, passes requests on to nobody"
                                      : "%s must be the last filter",
                                 ret->filters[i].type->name);
            mp_build_leave(b, mark);
        }
    }
}

/* ---- route table ---- */

/* What a route says about filters was checked against one manager's chain. */
static bool has_overrides(const struct mp_conf_routes *t)
{
    for (uint32_t i = 0; i < t->n_vhosts; i++) {
        const struct mp_conf_vhost *v = &t->vhosts[i];
        for (uint32_t j = 0; j < v->n_routes; j++) {
            if (v->routes[j].n_overrides > 0) {
                return true;
            }
        }
        if (v->n_overrides > 0) {
            return true;
        }
    }
    return false;
}

static void drop_part(void *arg)
{
    mp_conf_part_unref(arg);
}

/* The part under way keeps the table's. Takes the reference. */
static void keep_part(struct mp_conf_build *b, struct mp_conf_part *part)
{
    bool kept = mp_arena_on_fini(b->arena, drop_part, part);
    MP_ASSERT(kept); /* a model's arena has no maximum */
}

/* Managers with the same table share it. */
static struct mp_conf_routes *find_routes(const struct mp_conf_build *b,
                                          const struct mp_conf_source *s)
{
    const struct mp_conf *c = b->conf;
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        struct mp_conf_routes *r = c->listeners[i]->http ? c->listeners[i]->http->routes : NULL;
        if (r && r->source.hash == s->hash && mp_str_eq(r->source.packed, s->packed) &&
            !has_overrides(r)) {
            return r;
        }
    }
    return NULL;
}

static void build_route_config(struct mp_conf_build *b, const pb_manager *m,
                               struct mp_conf_http *ret)
{
    if (m->route_specifier_case != MANAGER(ROUTE_SPECIFIER_ROUTE_CONFIG)) {
        mp_build_missing(b, "route_config", NULL, "route_config is missing");
        return;
    }
    struct mp_conf_source source;
    size_t mark = mp_build_enter(b, "route_config");
    struct mp_conf_part *part = mp_conf_part_new();
    struct mp_arena *before = mp_build_enter_part(b, part);
    mp_build_source(b, &m->route_config->base, &source);
    struct mp_conf_routes *routes = find_routes(b, &source);
    if (!routes) {
        routes = mp_build_take(b, 1, sizeof(*routes));
        routes->part = part;
        routes->source = source;
        mp_build_routes(b, m->route_config, ret, routes);
    } else {
        mp_conf_part_unref(part);
        mp_conf_part_ref(routes->part);
    }
    mp_build_leave_part(b, before);
    keep_part(b, routes->part);
    ret->routes = routes;
    mp_build_leave(b, mark);
}

void mp_build_http(struct mp_conf_build *b, const ProtobufCMessage *manager,
                   struct mp_conf_http *ret)
{
    const pb_manager *m = (const pb_manager *)manager;
    *ret = (struct mp_conf_http){
        .server_name = MP_STR("marchproxy"),
        .generate_request_id = true,
        .normalize_path = true,
        .allow_absolute_url = true,
        .idle_timeout_ms = 3600000,
        .stream_idle_timeout_ms = 300000,
        .drain_timeout_ms = 5000,
        .delayed_close_timeout_ms = 1000,
        .head_bytes_max = HEAD_DEFAULT,
        .fields_max = 100,
    };
    if (m->stat_prefix[0] == '\0') {
        mp_build_missing(b, "stat_prefix", "add stat_prefix, such as ingress_http",
                         "stat_prefix is missing");
    }
    ret->stat_prefix = mp_build_str(b, m->stat_prefix);
    build_enums(b, m, ret);
    build_options(b, m, ret);
    build_common(b, m->common_http_protocol_options, ret);
    build_http1(b, m->http_protocol_options, ret);
    if (m->http2_protocol_options) {
        size_t mark = mp_build_enter(b, "http2_protocol_options");
        mp_build_http2(b, m->http2_protocol_options, &ret->http2);
        mp_build_leave(b, mark);
    }
    build_filters(b, m, ret);
    mp_build_http_upgrades(b, manager, ret);
    mp_build_alogs(b, m->access_log, m->n_access_log, &ret->alogs, &ret->n_alogs);
    build_route_config(b, m, ret);
}
