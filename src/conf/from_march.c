/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The simple file (march.yaml, or the services document of the control plane): checked in its own
 * words, then written as Envoy messages, which take the same way as a bootstrap. So there is one
 * meaning.
 *
 * Paths: while the document is checked, errors name its own paths. The messages made from it have
 * other ones; for what is only found there, struct mp_conf_places leads back.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "conf/march.h"
#include "conf/pb_int.h"

/* ---- services ---- */

enum protocol { PLAIN_HTTP, NEEDS_TLS, NEEDS_HTTP2, OTHER_LAYER, UNKNOWN };

static enum protocol protocol_of(const char *name)
{
    static const struct {
        const char *name;
        enum protocol protocol;
    } table[] = {
        {"", PLAIN_HTTP},     {"http", PLAIN_HTTP},  {"websocket", PLAIN_HTTP},
        {"https", NEEDS_TLS}, {"grpc", NEEDS_HTTP2}, {"http2", NEEDS_HTTP2},
        {"tcp", OTHER_LAYER}, {"udp", OTHER_LAYER},
    };
    for (size_t i = 0; i < MP_COUNTOF(table); i++) {
        if (strcmp(name, table[i].name) == 0) {
            return table[i].protocol;
        }
    }
    return UNKNOWN;
}

/* Envoy's number; negative: none. */
static int policy_of(const char *name)
{
    static const char *const names[] = {"round_robin", "least_request", "", "random"};
    for (size_t i = 0; i < MP_COUNTOF(names); i++) {
        if (name[0] && strcmp(name, names[i]) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static void check_hosts(struct mp_march *m, const pb_service *s)
{
    if (s->n_hosts == 0) {
        mp_build_missing(m->b, "hosts", "add hosts: [127.0.0.1]", "hosts is missing");
    }
    for (size_t i = 0; i < s->n_hosts; i++) {
        bool ip6;
        char sub[32];
        snprintf(sub, sizeof(sub), "hosts[%zu]", i);
        if (strchr(s->hosts[i], '/')) {
            (void)mp_build_error(m->b, sub, "write the name or address alone",
                                 "\"%s\" is not a host", s->hosts[i]);
        } else if (strchr(s->hosts[i], ':') && !mp_conf_is_ip(s->hosts[i], &ip6)) {
            (void)mp_build_error(m->b, sub, "the port has its own key: port",
                                 "\"%s\" is not a host", s->hosts[i]);
        } else if (s->hosts[i][0] == '\0') {
            (void)mp_build_error(m->b, sub, NULL, "the host is empty");
        }
    }
}

/* What is checked here is checked in the file's own words; the rest after translation. */
static void check_balance(struct mp_march *m, const pb_service *s)
{
    struct mp_conf_build *b = m->b;
    const char *path = s->health_check_path;
    if (path[0] && (path[0] != '/' || strpbrk(path, " #"))) {
        (void)mp_build_error(b, "health_check_path", "begin it with /", "\"%s\" is not a path",
                             path);
    }
    if (s->balance[0] && policy_of(s->balance) < 0) {
        (void)mp_build_error(b, "balance", "use round_robin, least_request or random",
                             "\"%s\" is not supported", s->balance);
    }
    if (s->ejection && s->ejection->max_percent && s->ejection->max_percent->value > 100) {
        (void)mp_build_error(b, "ejection.max_percent", "use 0 to 100", "%u is out of range",
                             s->ejection->max_percent->value);
    }
}

static void check_service(struct mp_march *m, const pb_service *s)
{
    struct mp_conf_build *b = m->b;
    if (s->name[0] == '\0') {
        mp_build_missing(b, "name", NULL, "name is missing");
    }
    check_hosts(m, s);
    if (s->port == 0) {
        mp_build_missing(b, "port", "use 1 to 65535", "port is missing");
    } else if (s->port > 65535) {
        (void)mp_build_error(b, "port", "use 1 to 65535", "port %u is out of range", s->port);
    }
    switch (protocol_of(s->protocol)) {
    case PLAIN_HTTP:
    case NEEDS_HTTP2:
        break;
    case NEEDS_TLS:
        break;
    case OTHER_LAYER: {
        size_t line;
        const char *shown = mp_conf_place(b->places, b->path, &line);
        mp_diag_warn(b->diag, line, shown, NULL,
                     "protocol \"%s\" is not for this proxy: the service is left out", s->protocol);
        break;
    }
    case UNKNOWN:
        (void)mp_build_error(b, "protocol", "use http", "protocol \"%s\" is not supported",
                             s->protocol);
        break;
    }
    mp_march_check_service_tls(m, s);
    check_balance(m, s);
}

static int by_name(const void *a, const void *b)
{
    const pb_service *x = *(pb_service *const *)a, *y = *(pb_service *const *)b;
    return strcmp(x->name, y->name);
}

/* Names the last service with the name, and the first. */
static void report_twin(struct mp_march *m, const char *name)
{
    size_t first = SIZE_MAX, last = 0;
    for (size_t i = 0; i < m->file->n_services; i++) {
        if (strcmp(m->file->services[i]->name, name) == 0) {
            first = MP_MIN(first, i);
            last = i;
        }
    }
    size_t mark = mp_build_enter(m->b, "services[%zu]", last);
    (void)mp_build_error(m->b, "name", "give each service its own name",
                         "name \"%s\" is that of services[%zu] too", name, first);
    mp_build_leave(m->b, mark);
}

static void check_services(struct mp_march *m)
{
    const pb_simple_file *f = m->file;
    struct mp_conf_build *b = m->b;
    m->services = mp_arena_zalloc(b->scratch, (f->n_services + 1) * sizeof(*m->services));
    m->services_known = true;
    for (size_t i = 0; i < f->n_services; i++) {
        size_t mark = mp_build_enter(b, "services[%zu]", i);
        check_service(m, f->services[i]);
        mp_build_leave(b, mark);
        m->services[i] = f->services[i];
        m->services_known &= f->services[i]->name[0] != '\0';
    }
    qsort(m->services, f->n_services, sizeof(*m->services), by_name);
    for (size_t i = 1; i < f->n_services; i++) {
        if (m->services[i]->name[0] &&
            strcmp(m->services[i - 1]->name, m->services[i]->name) == 0) {
            report_twin(m, m->services[i]->name);
        }
    }
}

const pb_service *mp_march_service(const struct mp_march *m, const char *name)
{
    pb_service key = MARCHPROXY__CONFIG__V1__SERVICE__INIT, *p = &key;
    key.name = (char *)name;
    pb_service **found =
        bsearch(&p, m->services, m->file->n_services, sizeof(*m->services), by_name);
    return found ? *found : NULL;
}

/* ---- routes ---- */

/* Without what a host never holds. */
static bool is_plain(const char *z)
{
    for (; *z; z++) {
        if ((unsigned char)*z <= ' ' || (unsigned char)*z >= 0x7f || strchr("/?#@\\", *z)) {
            return false;
        }
    }
    return true;
}

static void check_route_hosts(struct mp_march *m, const pb_march_route *r)
{
    for (size_t i = 0; i < r->n_hosts; i++) {
        const char *h = r->hosts[i];
        char sub[32];
        snprintf(sub, sizeof(sub), "hosts[%zu]", i);
        if (h[0] == '\0') {
            (void)mp_build_error(m->b, sub, "use \"*\" for every host", "the host is empty");
        } else if (h[0] == '[' ? strstr(h, "]:") : strchr(h, ':')) {
            (void)mp_build_error(m->b, sub, "remove the port",
                                 "\"%s\": hosts are compared without the port", h);
        } else if (!is_plain(h)) {
            (void)mp_build_error(m->b, sub, NULL, "\"%s\" is not a host", h);
        } else if (strchr(h, '*') && strcmp(h, "*") != 0 && strncmp(h, "*.", 2) != 0) {
            (void)mp_build_error(m->b, sub, "use *.example.com", "\"%s\" is not a host", h);
        } else {
            for (size_t j = 0; j < i; j++) {
                if (mp_str_ieq(mp_str_c(r->hosts[j]), mp_str_c(h))) {
                    (void)mp_build_error(m->b, sub, "keep one of them", "host \"%s\" appears twice",
                                         h);
                }
            }
        }
    }
}

static void no_service(struct mp_march *m, const char *name)
{
    char cure[300];
    struct mp_pb_guess guess;
    mp_pb_guess_init(&guess, mp_str_c(name));
    for (size_t i = 0; i < m->file->n_services; i++) {
        mp_pb_guess_offer(&guess, m->file->services[i]->name);
    }
    snprintf(cure, sizeof(cure), "did you mean \"%s\"?", guess.best ? guess.best : "");
    (void)mp_build_error(m->b, "cluster_name", guess.best ? cure : NULL,
                         "there is no service \"%s\"", name);
}

static void check_route(struct mp_march *m, const pb_march_route *r)
{
    struct mp_conf_build *b = m->b;
    if (r->prefix[0] == '\0') {
        mp_build_missing(b, "prefix", "use / for every path", "prefix is missing");
    } else if (r->prefix[0] != '/') {
        (void)mp_build_error(b, "prefix", "begin it with /", "\"%s\" matches no path", r->prefix);
    } else if (strpbrk(r->prefix, "?#")) {
        (void)mp_build_error(b, "prefix", NULL,
                             "\"%s\" matches no path: paths are compared without the query",
                             r->prefix);
    }
    if (r->cluster_name[0] == '\0') {
        mp_build_missing(b, "cluster_name", "name a service", "cluster_name is missing");
    } else if (m->services_known) {
        const pb_service *s = mp_march_service(m, r->cluster_name);
        if (!s) {
            no_service(m, r->cluster_name);
        } else if (protocol_of(s->protocol) == OTHER_LAYER) {
            (void)mp_build_error(b, "cluster_name", NULL,
                                 "service \"%s\" has protocol %s: routes are for HTTP",
                                 r->cluster_name, s->protocol);
        }
    }
    check_route_hosts(m, r);
}

void mp_march_check(struct mp_march *m)
{
    check_services(m);
    for (size_t i = 0; i < m->file->n_routes; i++) {
        size_t mark = mp_build_enter(m->b, "routes[%zu]", i);
        check_route(m, m->file->routes[i]);
        mp_build_leave(m->b, mark);
    }
    mp_march_check_certificates(m);
}

/* ---- clusters ---- */

pb_duration *mp_march_seconds(struct mp_march *m, int64_t seconds)
{
    pb_duration *d = MP_MARCH_NEW(m, google__protobuf__duration);
    d->seconds = seconds;
    return d;
}

pb_u32 *mp_march_u32(struct mp_march *m, uint32_t v)
{
    pb_u32 *u = MP_MARCH_NEW(m, google__protobuf__uint32_value);
    u->value = v;
    return u;
}

pb_bool *mp_march_bool(struct mp_march *m, bool v)
{
    pb_bool *u = MP_MARCH_NEW(m, google__protobuf__bool_value);
    u->value = v;
    return u;
}

pb_any *mp_march_any(struct mp_march *m, const ProtobufCMessage *inner)
{
    pb_any *any = MP_MARCH_NEW(m, google__protobuf__any);
    struct mp_str packed = mp_pb_pack(inner, m->b->scratch);
    any->type_url = mp_march_printf(m, "type.googleapis.com/%s", inner->descriptor->name);
    any->value = (ProtobufCBinaryData){packed.n, (uint8_t *)packed.p};
    return any;
}

pb_address *mp_march_address(struct mp_march *m, const char *host, uint32_t port)
{
    pb_address *a = MP_MARCH_NEW(m, envoy__config__core__v3__address);
    a->address_case = ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS;
    a->socket_address = MP_MARCH_NEW(m, envoy__config__core__v3__socket_address);
    a->socket_address->address = (char *)host;
    a->socket_address->port_specifier_case =
        ENVOY__CONFIG__CORE__V3__SOCKET_ADDRESS__PORT_SPECIFIER_PORT_VALUE;
    a->socket_address->port_value = port;
    return a;
}

void *mp_march_new(struct mp_march *m, const ProtobufCMessageDescriptor *d)
{
    ProtobufCMessage *p = mp_arena_alloc(m->b->scratch, d->sizeof_message);
    MP_ASSERT(p);
    protobuf_c_message_init(d, p);
    return p;
}

char *mp_march_printf(struct mp_march *m, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    struct mp_str s = mp_arena_dup(m->b->scratch, mp_str_c(text));
    MP_ASSERT(s.p);
    return (char *)s.p;
}

static Envoy__Config__Endpoint__V3__ClusterLoadAssignment *make_assignment(struct mp_march *m,
                                                                           const pb_service *s)
{
    Envoy__Config__Endpoint__V3__ClusterLoadAssignment *a =
        MP_MARCH_NEW(m, envoy__config__endpoint__v3__cluster_load_assignment);
    Envoy__Config__Endpoint__V3__LocalityLbEndpoints *l =
        MP_MARCH_NEW(m, envoy__config__endpoint__v3__locality_lb_endpoints);
    a->cluster_name = s->name;
    a->endpoints = MP_MARCH_LIST(m, a->endpoints, 1);
    a->endpoints[a->n_endpoints++] = l;
    l->lb_endpoints = MP_MARCH_LIST(m, l->lb_endpoints, s->n_hosts);
    for (size_t i = 0; i < s->n_hosts; i++) {
        Envoy__Config__Endpoint__V3__LbEndpoint *e =
            MP_MARCH_NEW(m, envoy__config__endpoint__v3__lb_endpoint);
        e->host_identifier_case =
            ENVOY__CONFIG__ENDPOINT__V3__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT;
        e->endpoint = MP_MARCH_NEW(m, envoy__config__endpoint__v3__endpoint);
        e->endpoint->address = mp_march_address(m, s->hosts[i], s->port);
        l->lb_endpoints[l->n_lb_endpoints++] = e;
    }
    return a;
}

static void set_breakers(struct mp_march *m, pb_cluster *c)
{
    const pb_limits *l = m->file->limits;
    if (!l || (!l->service_connections && !l->service_pending && !l->service_requests &&
               !l->service_retries)) {
        return;
    }
    Envoy__Config__Cluster__V3__CircuitBreakers__Thresholds *t =
        MP_MARCH_NEW(m, envoy__config__cluster__v3__circuit_breakers__thresholds);
    t->max_connections = l->service_connections;
    t->max_pending_requests = l->service_pending;
    t->max_requests = l->service_requests;
    t->max_retries = l->service_retries;
    c->circuit_breakers = MP_MARCH_NEW(m, envoy__config__cluster__v3__circuit_breakers);
    c->circuit_breakers->thresholds = MP_MARCH_LIST(m, c->circuit_breakers->thresholds, 1);
    c->circuit_breakers->thresholds[c->circuit_breakers->n_thresholds++] = t;
}

#define CHECK_INTERVAL_S 10
#define CHECK_TIMEOUT_S  5

static void set_health_check(struct mp_march *m, const pb_service *s, pb_cluster *c)
{
    if (s->health_check_path[0] == '\0') {
        return;
    }
    Envoy__Config__Core__V3__HealthCheck *h =
        MP_MARCH_NEW(m, envoy__config__core__v3__health_check);
    h->interval = mp_march_seconds(m, CHECK_INTERVAL_S);
    h->no_traffic_interval = mp_march_seconds(m, CHECK_INTERVAL_S);
    h->timeout = mp_march_seconds(m, CHECK_TIMEOUT_S);
    h->unhealthy_threshold = mp_march_u32(m, 3);
    h->healthy_threshold = mp_march_u32(m, 2);
    h->interval_jitter_percent = 10;
    h->health_checker_case =
        ENVOY__CONFIG__CORE__V3__HEALTH_CHECK__HEALTH_CHECKER_HTTP_HEALTH_CHECK;
    h->http_health_check =
        MP_MARCH_NEW(m, envoy__config__core__v3__health_check__http_health_check);
    h->http_health_check->path = s->health_check_path;
    h->http_health_check->host = s->hosts[0];
    c->health_checks = MP_MARCH_LIST(m, c->health_checks, 1);
    c->health_checks[c->n_health_checks++] = h;
}

static void set_ejection(struct mp_march *m, const pb_service *s, pb_cluster *c)
{
    if (!s->ejection) {
        return;
    }
    c->outlier_detection = MP_MARCH_NEW(m, envoy__config__cluster__v3__outlier_detection);
    c->outlier_detection->consecutive_5xx = s->ejection->failures;
    c->outlier_detection->base_ejection_time = s->ejection->time;
    c->outlier_detection->max_ejection_percent = s->ejection->max_percent;
    /* Rates need a traffic and a number of hosts that few simple files have. */
    c->outlier_detection->enforcing_success_rate = mp_march_u32(m, 0);
}

pb_cluster *mp_march_cluster(struct mp_march *m, const pb_service *s)
{
    pb_cluster *c = MP_MARCH_NEW(m, envoy__config__cluster__v3__cluster);
    if (s->http2_enabled || protocol_of(s->protocol) == NEEDS_HTTP2) {
        c->http2_protocol_options =
            MP_MARCH_NEW(m, envoy__config__core__v3__http2_protocol_options);
    }
    bool all_ip = true, ip6;
    for (size_t i = 0; i < s->n_hosts; i++) {
        all_ip &= mp_conf_is_ip(s->hosts[i], &ip6);
    }
    c->name = s->name;
    c->cluster_discovery_type_case =
        ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE;
    c->type = all_ip ? ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__STATIC
                     : ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DISCOVERY_TYPE__STRICT_DNS;
    /* "localhost" of a service that listens on 127.0.0.1 only has to work. */
    c->dns_lookup_family =
        all_ip ? ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DNS_LOOKUP_FAMILY__AUTO
               : ENVOY__CONFIG__CLUSTER__V3__CLUSTER__DNS_LOOKUP_FAMILY__V4_PREFERRED;
    c->connect_timeout = mp_march_seconds(m, s->timeout_seconds > 0 ? s->timeout_seconds : 5);
    c->per_connection_buffer_limit_bytes = mp_march_u32(m, m->buffer_bytes);
    c->upstream_connection_options =
        MP_MARCH_NEW(m, envoy__config__cluster__v3__upstream_connection_options);
    c->upstream_connection_options->tcp_keepalive =
        MP_MARCH_NEW(m, envoy__config__core__v3__tcp_keepalive);
    c->upstream_connection_options->tcp_keepalive->keepalive_time = mp_march_u32(m, 60);
    c->upstream_connection_options->tcp_keepalive->keepalive_interval = mp_march_u32(m, 15);
    c->upstream_connection_options->tcp_keepalive->keepalive_probes = mp_march_u32(m, 4);
    set_breakers(m, c);
    set_health_check(m, s, c);
    set_ejection(m, s, c);
    if (s->balance[0]) {
        c->lb_policy = (Envoy__Config__Cluster__V3__Cluster__LbPolicy)policy_of(s->balance);
    }
    if (c->n_health_checks > 0 || c->outlier_detection) {
        /* Hosts that all fail are no hosts: 503 says so. */
        c->common_lb_config =
            MP_MARCH_NEW(m, envoy__config__cluster__v3__cluster__common_lb_config);
        c->common_lb_config->healthy_panic_threshold = MP_MARCH_NEW(m, envoy__type__v3__percent);
    }
    if (s->tls_enabled || protocol_of(s->protocol) == NEEDS_TLS) {
        c->transport_socket = mp_march_service_tls(m, s);
    }
    c->load_assignment = make_assignment(m, s);
    return c;
}

bool mp_march_is_ours(const pb_service *s)
{
    return protocol_of(s->protocol) != OTHER_LAYER;
}
