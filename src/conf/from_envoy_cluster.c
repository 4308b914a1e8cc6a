/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Clusters and their endpoints. */
#include <stdio.h>

#include "conf/build.h"
#include "envoy_extensions_network_dns_resolver_cares_v3.pb-c.h"
#include "envoy_extensions_upstreams_http_v3.pb-c.h"

typedef Envoy__Config__Endpoint__V3__ClusterLoadAssignment pb_assignment;
typedef Envoy__Config__Endpoint__V3__LbEndpoint pb_lb_endpoint;
typedef Envoy__Extensions__Upstreams__Http__V3__HttpProtocolOptions pb_upstream_options;
#define CLUSTER(value) ENVOY__CONFIG__CLUSTER__V3__CLUSTER__##value
#define HEALTH(value)  ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__##value

#define BUFFER_DEFAULT (1024 * 1024)
#define HEAD_DEFAULT   (60 * 1024)
#define WEIGHT_MAX     1000000
#define PRIORITY_MAX   128
#define PROTOCOL(value) \
    ENVOY__EXTENSIONS__UPSTREAMS__HTTP__V3__HTTP_PROTOCOL_OPTIONS__EXPLICIT_HTTP_CONFIG__PROTOCOL_CONFIG_##value
#define UPSTREAM_OPTIONS "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

/* ---- endpoints ---- */

static bool build_health(struct mp_conf_build *b, const pb_lb_endpoint *m,
                         struct mp_conf_endpoint *ret)
{
    switch (m->health_status) {
    case HEALTH(UNKNOWN):
    case HEALTH(HEALTHY):
        return true;
    case HEALTH(DRAINING):
        ret->draining = true;
        return true;
    case HEALTH(UNHEALTHY):
    case HEALTH(TIMEOUT):
        ret->unhealthy = true;
        return true;
    default:
        (void)mp_build_error(b, "health_status", NULL, "value %d is not supported",
                             (int)m->health_status);
        return false;
    }
}

static bool build_check_config(struct mp_conf_build *b,
                               const Envoy__Config__Endpoint__V3__Endpoint__HealthCheckConfig *m,
                               struct mp_conf_endpoint *ret)
{
    if (m->port_value > UINT16_MAX) {
        (void)mp_build_error(b, "health_check_config.port_value", "use 1 to 65535",
                             "port %u is out of range", m->port_value);
        return false;
    }
    ret->check_port = (uint16_t)m->port_value;
    ret->unchecked = m->disable_active_health_check;
    if (!mp_build_header_text(b, "health_check_config.hostname", m->hostname, false)) {
        return false;
    }
    ret->check_host = mp_build_str(b, m->hostname);
    return true;
}

static bool build_endpoint(struct mp_conf_build *b, const pb_lb_endpoint *m,
                           enum mp_conf_discovery discovery, struct mp_conf_endpoint *ret)
{
    const char *want_ip = discovery == MP_CLUSTER_STATIC ? "use type: STRICT_DNS for names" : NULL;
    ret->weight = 1;
    mp_build_u32(b, "load_balancing_weight", m->load_balancing_weight, 1, WEIGHT_MAX, &ret->weight);
    if (!build_health(b, m, ret)) {
        return false;
    }
    if (m->host_identifier_case !=
        ENVOY__CONFIG__ENDPOINT__V3__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT) {
        mp_build_missing(b, "endpoint", NULL, "endpoint is missing");
        return false;
    }
    size_t mark = mp_build_enter(b, "endpoint");
    bool ok = mp_build_addr(b, "address", m->endpoint->address, want_ip, 1, &ret->addr);
    if (ok && ret->addr.is_unix && discovery != MP_CLUSTER_STATIC) {
        (void)mp_build_error(b, "address.pipe", "use type: STATIC",
                             "a Unix socket has no name to resolve");
        ok = false;
    }
    ret->hostname = mp_build_str(b, m->endpoint->hostname);
    if (m->endpoint->health_check_config) {
        ok &= build_check_config(b, m->endpoint->health_check_config, ret);
    }
    if (ok && ret->hostname.n == 0 && discovery != MP_CLUSTER_STATIC) {
        ret->hostname = ret->addr.host; /* what auto_host_rewrite sends */
    }
    mp_build_leave(b, mark);
    return ok;
}

static void build_endpoints(struct mp_conf_build *b, const pb_assignment *m,
                            struct mp_conf_cluster *ret)
{
    size_t total = 0;
    for (size_t i = 0; i < m->n_endpoints; i++) {
        total += m->endpoints[i]->n_lb_endpoints;
    }
    if (m->cluster_name[0] == '\0') {
        mp_build_missing(b, "cluster_name", "repeat the name of the cluster",
                         "cluster_name is missing");
    }
    if (ret->discovery == MP_CLUSTER_LOGICAL_DNS && (total != 1 || m->n_endpoints != 1)) {
        mp_build_missing(b, "endpoints", "use type: STRICT_DNS for several",
                         "LOGICAL_DNS takes one endpoint, not %zu", total);
    }
    ret->endpoints = mp_build_take(b, total, sizeof(*ret->endpoints));
    for (size_t i = 0; i < m->n_endpoints; i++) {
        const Envoy__Config__Endpoint__V3__LocalityLbEndpoints *l = m->endpoints[i];
        size_t mark = mp_build_enter(b, "endpoints[%zu]", i);
        uint32_t locality_weight = 0;
        mp_build_u32(b, "load_balancing_weight", l->load_balancing_weight, 1, WEIGHT_MAX,
                     &locality_weight);
        if (l->priority > PRIORITY_MAX) {
            (void)mp_build_error(b, "priority", "use 0 to 128", "%u is out of range", l->priority);
        }
        for (size_t j = 0; j < l->n_lb_endpoints; j++) {
            size_t mark2 = mp_build_enter(b, "lb_endpoints[%zu]", j);
            struct mp_conf_endpoint *e = &ret->endpoints[ret->n_endpoints];
            e->priority = l->priority;
            e->locality = (uint32_t)i;
            e->locality_weight = locality_weight;
            ret->n_endpoints += build_endpoint(b, l->lb_endpoints[j], ret->discovery, e);
            mp_build_leave(b, mark2);
        }
        mp_build_leave(b, mark);
    }
}

/* Priorities count from 0 without a gap: traffic falls from one to the next. */
static void check_priorities(struct mp_conf_build *b, const struct mp_conf_cluster *c)
{
    bool seen[PRIORITY_MAX + 1] = {false};
    uint32_t top = 0;
    for (uint32_t i = 0; i < c->n_endpoints; i++) {
        uint32_t p = MP_MIN(c->endpoints[i].priority, (uint32_t)PRIORITY_MAX);
        seen[p] = true;
        top = MP_MAX(top, p);
    }
    for (uint32_t p = 0; c->n_endpoints > 0 && p < top; p++) {
        if (!seen[p]) {
            (void)mp_build_error(b, "load_assignment.endpoints",
                                 "number the priorities from 0 without a gap",
                                 "no endpoint has priority %u, but some have %u", p, top);
            return;
        }
    }
}

/* ---- DNS ---- */

/* "1.2.3.4:53,[::1]:53" */
static void build_resolvers(struct mp_conf_build *b, const char *sub, pb_address **list, size_t n,
                            struct mp_conf_cluster *ret)
{
    struct mp_sb text;
    mp_sb_init(&text, 4096);
    for (size_t i = 0; i < n; i++) {
        struct mp_conf_addr a = {0};
        char at[64];
        snprintf(at, sizeof(at), "%s[%zu]", sub, i);
        if (!mp_build_addr(b, at, list[i], "name servers are found by address", 1, &a)) {
            continue;
        }
        if (a.is_unix) {
            (void)mp_build_error(b, at, NULL, "a name server has an IP address");
            continue;
        }
        mp_sb_add_c(&text, text.n ? "," : "");
        mp_sb_add(&text, mp_build_addr_text(b, &a));
    }
    if (text.overflow) {
        (void)mp_build_error(b, sub, NULL, "too many name servers");
    }
    ret->dns_servers = mp_build_str(b, text.n ? text.p : "");
    mp_sb_fini(&text);
}

static void build_dns(struct mp_conf_build *b, const pb_cluster *m, struct mp_conf_cluster *ret)
{
    /* Order of enum mp_dns_family in io/dns.h. */
    if ((unsigned)m->dns_lookup_family > CLUSTER(DNS_LOOKUP_FAMILY__ALL)) {
        (void)mp_build_error(b, "dns_lookup_family", NULL, "value %d is not supported",
                             (int)m->dns_lookup_family);
    } else {
        ret->dns_family = (uint8_t)m->dns_lookup_family;
    }
    mp_build_ms(b, "dns_refresh_rate", m->dns_refresh_rate, &ret->dns_refresh_ms);
    if (ret->dns_refresh_ms < 1) {
        (void)mp_build_error(b, "dns_refresh_rate", "use 0.001s or more", "the rate is 0");
    }
    ret->respect_dns_ttl = m->respect_dns_ttl;
    build_resolvers(b, "dns_resolvers", m->dns_resolvers, m->n_dns_resolvers, ret);
    if (!m->typed_dns_resolver_config) {
        return;
    }
    size_t mark = mp_build_enter(b, "typed_dns_resolver_config");
    const ProtobufCMessage *any =
        mp_build_any(b, "typed_config", m->typed_dns_resolver_config->typed_config);
    size_t mark2 = mp_build_enter(b, "typed_config");
    if (any &&
        any->descriptor !=
            &envoy__extensions__network__dns_resolver__cares__v3__cares_dns_resolver_config__descriptor) {
        (void)mp_build_error(b, NULL, "use CaresDnsResolverConfig", "%s is not a DNS resolver",
                             any->descriptor->name);
    } else if (any) {
        const Envoy__Extensions__Network__DnsResolver__Cares__V3__CaresDnsResolverConfig *cares =
            (const void *)any;
        build_resolvers(b, "resolvers", cares->resolvers, cares->n_resolvers, ret);
    }
    mp_build_leave(b, mark2);
    mp_build_leave(b, mark);
}

/* ---- protocol options ---- */

static void build_common(struct mp_conf_build *b, const pb_http_options *m,
                         struct mp_conf_cluster *ret)
{
    uint32_t fields = ret->resp_fields_max;
    if (!m) {
        return;
    }
    size_t mark = mp_build_enter(b, "common_http_protocol_options");
    mp_build_ms(b, "idle_timeout", m->idle_timeout, &ret->idle_timeout_ms);
    mp_build_ms(b, "max_connection_duration", m->max_connection_duration,
                &ret->max_connection_duration_ms);
    mp_build_u32(b, "max_headers_count", m->max_headers_count, 1, UINT16_MAX, &fields);
    mp_build_u32(b, "max_requests_per_connection", m->max_requests_per_connection, 0, UINT32_MAX,
                 &ret->requests_per_connection);
    ret->resp_fields_max = (uint16_t)fields;
    if (m->max_stream_duration) {
        (void)mp_build_error(b, "max_stream_duration", "set it in HttpConnectionManager",
                             "it acts on the clients' side only");
    }
    if (m->headers_with_underscores_action != 0) {
        (void)mp_build_error(b, "headers_with_underscores_action",
                             "set it in HttpConnectionManager", "it acts on requests only");
    }
    mp_build_leave(b, mark);
}

/* Every option of HTTP/1 is one of the client's side; on this side only "nothing special" is true.
 */
static void check_http1(struct mp_conf_build *b, const pb_http1_options *m)
{
    if (!m || protobuf_c_message_get_packed_size(&m->base) == 0) {
        return;
    }
    mp_build_unsupported(b, "http_protocol_options", "leave it empty: {}",
                         "HTTP/1 options of a cluster are not supported");
}

static void build_http2(struct mp_conf_build *b,
                        const Envoy__Config__Core__V3__Http2ProtocolOptions *m,
                        struct mp_conf_cluster *ret)
{
    size_t mark = mp_build_enter(b, "http2_protocol_options");
    ret->http2 = true;
    mp_build_http2(b, m, &ret->http2_options);
    mp_build_leave(b, mark);
}

static void build_upstream_options(struct mp_conf_build *b, const pb_cluster *m,
                                   struct mp_conf_cluster *ret)
{
    for (size_t i = 0; i < m->n_typed_extension_protocol_options; i++) {
        const char *key = m->typed_extension_protocol_options[i]->key;
        size_t mark = mp_build_enter(b, "typed_extension_protocol_options[\"%s\"]", key);
        const ProtobufCMessage *any =
            mp_build_any(b, NULL, m->typed_extension_protocol_options[i]->value);
        if (any &&
            (any->descriptor !=
                 &envoy__extensions__upstreams__http__v3__http_protocol_options__descriptor ||
             strcmp(key, UPSTREAM_OPTIONS) != 0)) {
            (void)mp_build_error(b, NULL, "use the key " UPSTREAM_OPTIONS, "%s has no meaning here",
                                 any->descriptor->name);
        } else if (any) {
            const pb_upstream_options *o = (const pb_upstream_options *)any;
            build_common(b, o->common_http_protocol_options, ret);
            if (o->explicit_http_config) {
                size_t mark2 = mp_build_enter(b, "explicit_http_config");
                if (o->explicit_http_config->protocol_config_case == 0) {
                    mp_build_missing(b, NULL, "add http_protocol_options: {}",
                                     "no protocol is chosen");
                } else if (o->explicit_http_config->protocol_config_case ==
                           PROTOCOL(HTTP2_PROTOCOL_OPTIONS)) {
                    build_http2(b, o->explicit_http_config->http2_protocol_options, ret);
                } else {
                    check_http1(b, o->explicit_http_config->http_protocol_options);
                }
                mp_build_leave(b, mark2);
            } else {
                mp_build_missing(b, NULL, "add explicit_http_config: {http_protocol_options: {}}",
                                 "no protocol is chosen");
            }
        }
        mp_build_leave(b, mark);
    }
}

/* ---- the rest ---- */

static void build_keepalive(struct mp_conf_build *b, const Envoy__Config__Core__V3__TcpKeepalive *m,
                            struct mp_conf_cluster *ret)
{
    if (!m) {
        return;
    }
    /* What is not given is the system's default (tcp(7)). */
    ret->ka_idle_s = 7200;
    ret->ka_interval_s = 75;
    ret->ka_probes = 9;
    size_t mark = mp_build_enter(b, "upstream_connection_options.tcp_keepalive");
    mp_build_u32(b, "keepalive_time", m->keepalive_time, 1, 32767, &ret->ka_idle_s);
    mp_build_u32(b, "keepalive_interval", m->keepalive_interval, 1, 32767, &ret->ka_interval_s);
    mp_build_u32(b, "keepalive_probes", m->keepalive_probes, 1, 127, &ret->ka_probes);
    mp_build_leave(b, mark);
}

static void build_kind(struct mp_conf_build *b, const pb_cluster *m, struct mp_conf_cluster *ret)
{
    if (m->cluster_discovery_type_case != CLUSTER(CLUSTER_DISCOVERY_TYPE_TYPE)) {
        /* Envoy takes the first of the enumeration, STATIC, as well. */
        ret->discovery = MP_CLUSTER_STATIC;
    } else if (m->type == CLUSTER(DISCOVERY_TYPE__STATIC)) {
        ret->discovery = MP_CLUSTER_STATIC;
    } else if (m->type == CLUSTER(DISCOVERY_TYPE__STRICT_DNS)) {
        ret->discovery = MP_CLUSTER_STRICT_DNS;
    } else if (m->type == CLUSTER(DISCOVERY_TYPE__LOGICAL_DNS)) {
        ret->discovery = MP_CLUSTER_LOGICAL_DNS;
    } else {
        (void)mp_build_error(b, "type", "use STATIC, STRICT_DNS or LOGICAL_DNS",
                             "value %d is not supported", (int)m->type);
    }
}

/* A TCP check speaks plain text: where TLS is asked for it may only connect. */
static void check_plain_text(struct mp_conf_build *b, const struct mp_conf_cluster *c)
{
    const struct mp_conf_health_check *h = c->check;
    if (h && !h->is_http && c->tls && (h->send.n > 0 || h->n_receive > 0)) {
        (void)mp_build_error(b, "health_checks[0].tcp_health_check",
                             "use http_health_check, or a tcp_health_check that only connects",
                             "its bytes would go past the cluster's TLS");
    }
}

void mp_build_cluster(struct mp_conf_build *b, const pb_cluster *m, struct mp_conf_cluster *ret)
{
    *ret = (struct mp_conf_cluster){
        .part = ret->part,
        .dns_refresh_ms = 5000,
        .connect_timeout_ms = 5000,
        .idle_timeout_ms = 3600000,
        .buffer_limit = BUFFER_DEFAULT,
        .resp_fields_max = 100,
        .resp_head_bytes_max = HEAD_DEFAULT,
        .line = mp_build_line(b),
    };
    if (m->name[0] == '\0') {
        mp_build_missing(b, "name", NULL, "name is missing");
    }
    mp_build_source(b, &m->base, &ret->source);
    ret->name = mp_build_str(b, m->name);
    ret->alt_stat_name = mp_build_str(b, m->alt_stat_name);
    build_kind(b, m, ret);
    build_dns(b, m, ret);
    mp_build_ms(b, "connect_timeout", m->connect_timeout, &ret->connect_timeout_ms);
    if (ret->connect_timeout_ms == 0) {
        (void)mp_build_error(b, "connect_timeout", "leave it out for 5s", "the timeout is 0");
    }
    mp_build_u32(b, "per_connection_buffer_limit_bytes", m->per_connection_buffer_limit_bytes, 1024,
                 1u << 30, &ret->buffer_limit);
    mp_build_u32(b, "max_requests_per_connection", m->max_requests_per_connection, 0, UINT32_MAX,
                 &ret->requests_per_connection);
    build_common(b, m->common_http_protocol_options, ret);
    check_http1(b, m->http_protocol_options);
    if (m->http2_protocol_options) {
        build_http2(b, m->http2_protocol_options, ret);
    }
    build_upstream_options(b, m, ret);
    mp_build_balance(b, m, ret);
    mp_build_health(b, m, ret);
    mp_build_outlier(b, m, ret);
    if (m->upstream_connection_options) {
        build_keepalive(b, m->upstream_connection_options->tcp_keepalive, ret);
    }
    if (m->upstream_bind_config) {
        size_t mark = mp_build_enter(b, "upstream_bind_config");
        mp_build_socket_addr(b, "source_address", m->upstream_bind_config->source_address,
                             "use an address of this host", 0, &ret->source_addr);
        mp_build_leave(b, mark);
    }
    b->hash = &ret->source.hash;
    mp_build_tls_up(b, m->transport_socket, ret);
    b->hash = NULL;
    if (ret->http2 && ret->proxy_protocol > 0) {
        (void)mp_build_error(b, "transport_socket", "use HTTP/1 to this cluster",
                             "a PROXY header names one client, HTTP/2 carries many");
    }
    if (m->load_assignment) {
        size_t mark = mp_build_enter(b, "load_assignment");
        build_endpoints(b, m->load_assignment, ret);
        mp_build_leave(b, mark);
        check_priorities(b, ret);
    } else {
        mp_build_missing(b, "load_assignment", NULL, "load_assignment is missing");
    }
    check_plain_text(b, ret);
}
