/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdio.h>
#include <string.h>

#include "conf/build.h"
#include "envoy_extensions_filters_listener_proxy_protocol_v3.pb-c.h"
#include "envoy_extensions_filters_listener_tls_inspector_v3.pb-c.h"
#include "envoy_extensions_filters_network_http_connection_manager_v3.pb-c.h"
#include "marchproxy_config_v1.pb-c.h"

#define DEFAULT_BUFFER   (1024 * 1024)
#define DEFAULT_FAILURES 200
#define CHAINS_MAX       1024

typedef Envoy__Config__Listener__V3__FilterChain pb_chain;

/* The name of a listener's stats: the address, with '_' where ':' would divide. */
static struct mp_str stat_name(struct mp_conf_build *b, const struct mp_conf_addr *a)
{
    struct mp_str text = mp_build_addr_text(b, a);
    char *copy = (char *)mp_build_str(b, text.p).p;
    for (size_t i = 0; i < text.n && !a->is_unix; i++) {
        copy[i] = copy[i] == ':' ? '_' : copy[i];
    }
    return mp_str(copy, text.n);
}

static bool ipv4_compat(const pb_address *a)
{
    return a->address_case == ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS &&
           a->socket_address->ipv4_compat;
}

/* One switch for the socket of every address: those to which it matters must agree. */
static void build_ip6_only(struct mp_conf_build *b, const pb_listener *m,
                           struct mp_conf_listener *ret)
{
    bool seen = false;
    for (uint32_t i = 0; i < ret->n_addrs; i++) {
        const pb_address *a = i == 0 ? m->address : m->additional_addresses[i - 1]->address;
        bool ip6 = false;
        if (!a || ret->addrs[i].is_unix || !ret->addrs[i].host.p ||
            !mp_conf_is_ip(ret->addrs[i].host.p, &ip6) || !ip6) {
            continue;
        }
        bool only = !ipv4_compat(a);
        if (seen && only != ret->ip6_only) {
            (void)mp_build_error(b, NULL, "use two listeners",
                                 "ipv4_compat differs between the addresses of a listener");
            return;
        }
        seen = true;
        ret->ip6_only = only;
    }
}

static void build_addresses(struct mp_conf_build *b, const pb_listener *m,
                            struct mp_conf_listener *ret)
{
    static const char cure[] = "use 0.0.0.0 for every address of this host";
    ret->n_addrs = (uint32_t)m->n_additional_addresses + 1;
    ret->addrs = mp_build_take(b, ret->n_addrs, sizeof(*ret->addrs));
    bool ok = mp_build_addr(b, "address", m->address, cure, 0, &ret->addrs[0]);
    for (size_t i = 0; i < m->n_additional_addresses; i++) {
        size_t mark = mp_build_enter(b, "additional_addresses[%zu]", i);
        ok &= mp_build_addr(b, "address", m->additional_addresses[i]->address, cure, 0,
                            &ret->addrs[i + 1]);
        mp_build_leave(b, mark);
    }
    if (!ok) {
        ret->n_addrs = 0;
        return;
    }
    build_ip6_only(b, m, ret);
}

static void build_filter(struct mp_conf_build *b, const Envoy__Config__Listener__V3__Filter *m,
                         struct mp_conf_chain *ret)
{
    if (m->name[0] == '\0') {
        mp_build_missing(b, "name", NULL, "name is missing");
    }
    const ProtobufCMessage *any = mp_build_any(b, "typed_config", m->typed_config);
    if (!any) {
        if (m->typed_config && b->opts->allow_unsupported) {
            (void)mp_build_error(b, "typed_config", "remove the listener",
                                 "the listener cannot do without this filter");
        }
        return;
    }
    if (any->descriptor !=
        &envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager__descriptor) {
        (void)mp_build_error(b, "typed_config", "use HttpConnectionManager",
                             "%s is not a network filter", any->descriptor->name);
        return;
    }
    size_t mark = mp_build_enter(b, "typed_config");
    ret->http = mp_build_take(b, 1, sizeof(*ret->http));
    mp_build_http(b, any, ret->http);
    mp_build_leave(b, mark);
}

/* ---- filter chains ---- */

static struct mp_str lower(struct mp_conf_build *b, const char *z)
{
    struct mp_str s = mp_build_str(b, z);
    char *p = (char *)(uintptr_t)s.p;
    for (size_t i = 0; i < s.n; i++) {
        p[i] = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] + 32) : p[i];
    }
    return s;
}

static void build_match(struct mp_conf_build *b,
                        const Envoy__Config__Listener__V3__FilterChainMatch *m,
                        struct mp_conf_chain *ret)
{
    size_t mark = mp_build_enter(b, "filter_chain_match");
    if (strcmp(m->transport_protocol, "tls") == 0) {
        ret->transport = MP_TRANSPORT_TLS;
    } else if (strcmp(m->transport_protocol, "raw_buffer") == 0) {
        ret->transport = MP_TRANSPORT_RAW;
    } else if (m->transport_protocol[0]) {
        (void)mp_build_error(b, "transport_protocol", "use tls or raw_buffer",
                             "transport protocol \"%s\" is not known", m->transport_protocol);
    }
    ret->server_names = mp_build_take(b, m->n_server_names, sizeof(*ret->server_names));
    for (size_t i = 0; i < m->n_server_names; i++) {
        const char *z = m->server_names[i];
        char sub[40];
        snprintf(sub, sizeof(sub), "server_names[%zu]", i);
        if (z[0] == '\0' || strcmp(z, "*") == 0 || strchr(z[0] == '*' ? z + 1 : z, '*') ||
            (z[0] == '*' && z[1] != '.')) {
            (void)mp_build_error(b, sub, "use name.example or *.example; leave it out for all",
                                 "\"%s\" is not a server name", z);
        }
        ret->server_names[ret->n_server_names++] = lower(b, z);
    }
    ret->alpn = mp_build_take(b, m->n_application_protocols, sizeof(*ret->alpn));
    for (size_t i = 0; i < m->n_application_protocols; i++) {
        ret->alpn[ret->n_alpn++] = mp_build_str(b, m->application_protocols[i]);
    }
    mp_build_leave(b, mark);
}

static void build_chain(struct mp_conf_build *b, const pb_chain *chain, struct mp_conf_chain *ret)
{
    ret->name = mp_build_str(b, chain->name);
    if (chain->filter_chain_match) {
        build_match(b, chain->filter_chain_match, ret);
    }
    mp_build_tls_down(b, chain->transport_socket, &ret->tls);
    if (ret->transport == MP_TRANSPORT_RAW && ret->tls) {
        (void)mp_build_error(b, "transport_socket", NULL,
                             "a chain for raw_buffer has no use for a TLS context");
    }
    mp_build_ms(b, "transport_socket_connect_timeout", chain->transport_socket_connect_timeout,
                &ret->connect_timeout_ms);
    if (chain->n_filters == 0) {
        mp_build_missing(b, "filters", NULL, "filters is missing");
    } else if (chain->n_filters > 1) {
        (void)mp_build_error(b, "filters[1]", NULL, "no filter may follow HttpConnectionManager");
    }
    if (chain->n_filters > 0 && !ret->http) {
        size_t mark = mp_build_enter(b, "filters[0]");
        build_filter(b, chain->filters[0], ret);
        mp_build_leave(b, mark);
    }
}

/* Managers that are the same are one: with and without TLS, a listener has the same routes. */
static bool same_filter(const pb_chain *a, const pb_chain *b)
{
    if (a->n_filters != 1 || b->n_filters != 1) {
        return false;
    }
    const pb_any *x = a->filters[0]->typed_config, *y = b->filters[0]->typed_config;
    return x && y && strcmp(x->type_url, y->type_url) == 0 && x->value.len == y->value.len &&
           memcmp(x->value.data, y->value.data, x->value.len) == 0;
}

static struct mp_conf_http *shared_http(const pb_listener *m, const struct mp_conf_listener *l,
                                        const pb_chain *chain)
{
    for (uint32_t k = 0; k + 1 < l->n_chains; k++) {
        if (k < m->n_filter_chains && l->chains[k].http &&
            same_filter(m->filter_chains[k], chain)) {
            return l->chains[k].http;
        }
    }
    return NULL;
}

static bool has_condition(const struct mp_conf_chain *c)
{
    return c->transport != MP_TRANSPORT_ANY || c->n_server_names > 0 || c->n_alpn > 0;
}

static void build_chains(struct mp_conf_build *b, const pb_listener *m,
                         struct mp_conf_listener *ret)
{
    size_t n = m->n_filter_chains + (m->default_filter_chain != NULL);
    if (n == 0) {
        mp_build_missing(b, "filter_chains", NULL, "filter_chains is missing");
        return;
    }
    if (n > CHAINS_MAX) {
        (void)mp_build_error(b, "filter_chains", NULL, "%zu chains are more than %d", n,
                             CHAINS_MAX);
        return;
    }
    ret->chains = mp_build_take(b, n, sizeof(*ret->chains));
    uint32_t open = UINT32_MAX;
    for (uint32_t i = 0; i < n; i++) {
        bool standard = i == m->n_filter_chains;
        size_t mark = standard ? mp_build_enter(b, "default_filter_chain")
                               : mp_build_enter(b, "filter_chains[%u]", i);
        const pb_chain *chain = standard ? m->default_filter_chain : m->filter_chains[i];
        struct mp_conf_chain *c = &ret->chains[ret->n_chains++];
        c->http = shared_http(m, ret, chain);
        build_chain(b, chain, c);
        if (standard && chain->filter_chain_match) {
            (void)mp_build_error(b, "filter_chain_match", "remove it",
                                 "the default chain has no conditions");
        }
        if (!standard && !has_condition(c)) {
            if (open != UINT32_MAX) {
                (void)mp_build_error(b, "filter_chain_match", "add a condition",
                                     "filter_chains[%u] is for every connection, too", open);
            }
            open = i;
        }
        ret->inspect |= has_condition(c);
        mp_build_leave(b, mark);
    }
    ret->http = ret->chains[0].http;
}

static void build_options(struct mp_conf_build *b, const pb_listener *m,
                          struct mp_conf_listener *ret)
{
    if (m->n_socket_options > MP_CONF_SOCK_OPTIONS_MAX) {
        (void)mp_build_error(b, "socket_options", NULL, "more than %d socket options",
                             MP_CONF_SOCK_OPTIONS_MAX);
        return;
    }
    for (size_t i = 0; i < m->n_socket_options; i++) {
        const Envoy__Config__Core__V3__SocketOption *o = m->socket_options[i];
        size_t mark = mp_build_enter(b, "socket_options[%zu]", i);
        if (o->value_case != ENVOY__CONFIG__CORE__V3__SOCKET_OPTION__VALUE_INT_VALUE) {
            mp_build_missing(b, "int_value", NULL, "int_value is missing");
        } else if (o->level < 0 || o->level > INT32_MAX || o->name < 0 || o->name > INT32_MAX ||
                   o->int_value < INT32_MIN || o->int_value > INT32_MAX) {
            (void)mp_build_error(b, NULL, NULL, "a number is out of range");
        } else if ((int)o->state < 0 || (int)o->state > (int)MP_SOCK_LISTENING) {
            (void)mp_build_error(b, "state", NULL, "value %d is not supported", (int)o->state);
        } else {
            ret->options[ret->n_options++] =
                (struct mp_conf_sock_option){.level = (int32_t)o->level,
                                             .name = (int32_t)o->name,
                                             .value = (int32_t)o->int_value,
                                             .state = (uint8_t)o->state};
        }
        mp_build_leave(b, mark);
    }
}

static void set_accept_limits(struct mp_conf_build *b,
                              const Marchproxy__Config__V1__ListenerLimits *m,
                              struct mp_conf_accept_limits *ret)
{
    *ret = (struct mp_conf_accept_limits){
        .source_connections = m->max_connections_per_source,
        .rate = m->accepts_per_second,
        .burst = m->accept_burst > 0 ? m->accept_burst : m->accepts_per_second,
        .source_rate = m->source_accepts_per_second,
        .source_burst =
            m->source_accept_burst > 0 ? m->source_accept_burst : m->source_accepts_per_second};
    if ((m->accept_burst > 0 && m->accepts_per_second == 0) ||
        (m->source_accept_burst > 0 && m->source_accepts_per_second == 0)) {
        (void)mp_build_error(b, NULL, "give the rate too", "a burst without a rate limits nothing");
    }
    if (m->accepts_per_second > MP_ACCEPT_RATE_MAX || m->accept_burst > MP_ACCEPT_RATE_MAX ||
        m->source_accepts_per_second > MP_ACCEPT_RATE_MAX ||
        m->source_accept_burst > MP_ACCEPT_RATE_MAX) {
        (void)mp_build_error(b, NULL, NULL, "a rate is out of range: at most %d",
                             MP_ACCEPT_RATE_MAX);
    }
}

/* ---- listener filters ---- */

static void build_guard(struct mp_conf_build *b, const Marchproxy__Config__V1__ListenerLimits *m,
                        struct mp_conf_listener *ret)
{
    mp_build_u32(b, "handshake_failures_per_source", m->handshake_failures_per_source, 0,
                 UINT32_MAX, &ret->handshake_failures_max);
    ret->proxy_from = mp_build_take(b, m->n_proxy_protocol_from, sizeof(*ret->proxy_from));
    for (size_t i = 0; i < m->n_proxy_protocol_from; i++) {
        const Envoy__Config__Core__V3__CidrRange *r = m->proxy_protocol_from[i];
        size_t mark = mp_build_enter(b, "proxy_protocol_from[%zu]", i);
        bool ip6, ip = mp_conf_is_ip(r->address_prefix, &ip6);
        uint32_t bits = 0;
        if (!ip) {
            (void)mp_build_error(b, "address_prefix", NULL, "\"%s\" is not an IP address",
                                 r->address_prefix);
        }
        mp_build_u32(b, "prefix_len", r->prefix_len, 0, ip && !ip6 ? 32 : 128, &bits);
        ret->proxy_from[ret->n_proxy_from++] = (struct mp_conf_range){
            .address = mp_build_str(b, r->address_prefix), .bits = (uint8_t)bits};
        mp_build_leave(b, mark);
    }
}

static void build_listener_filters(struct mp_conf_build *b, const pb_listener *m,
                                   struct mp_conf_listener *ret)
{
    for (size_t i = 0; i < m->n_listener_filters; i++) {
        size_t mark = mp_build_enter(b, "listener_filters[%zu]", i);
        const ProtobufCMessage *any =
            mp_build_any(b, "typed_config", m->listener_filters[i]->typed_config);
        size_t mark2 = mp_build_enter(b, "typed_config");
        if (!any) {
            /* told */
        } else if (
            any->descriptor ==
            &envoy__extensions__filters__listener__tls_inspector__v3__tls_inspector__descriptor) {
            ret->inspect = true;
        } else if (
            any->descriptor ==
            &envoy__extensions__filters__listener__proxy_protocol__v3__proxy_protocol__descriptor) {
            ret->proxy_protocol = true;
            ret->proxy_optional =
                ((const Envoy__Extensions__Filters__Listener__ProxyProtocol__V3__ProxyProtocol *)
                     any)
                    ->allow_requests_without_proxy_protocol;
        } else if (any->descriptor == &marchproxy__config__v1__listener_limits__descriptor) {
            set_accept_limits(b, (const Marchproxy__Config__V1__ListenerLimits *)any, &ret->accept);
            build_guard(b, (const Marchproxy__Config__V1__ListenerLimits *)any, ret);
        } else {
            mp_build_unsupported(b, NULL, "remove it, or use --allow-unsupported",
                                 "%s is not a listener filter of this program",
                                 any->descriptor->name);
        }
        mp_build_leave(b, mark2);
        mp_build_leave(b, mark);
    }
    if (ret->n_proxy_from > 0 && !ret->proxy_protocol) {
        (void)mp_build_error(b, "listener_filters", "add envoy.filters.listener.proxy_protocol",
                             "proxy_protocol_from without the PROXY protocol has no meaning");
    }
    mp_build_ms(b, "listener_filters_timeout", m->listener_filters_timeout,
                &ret->filters_timeout_ms);
}

void mp_build_listener(struct mp_conf_build *b, const pb_listener *m, struct mp_conf_listener *ret)
{
    *ret = (struct mp_conf_listener){.part = ret->part,
                                     .reuse_port = true,
                                     .buffer_limit = DEFAULT_BUFFER,
                                     .filters_timeout_ms = 15000,
                                     .handshake_failures_max = DEFAULT_FAILURES,
                                     .line = mp_build_line(b)};
    mp_build_source(b, &m->base, &ret->source);
    ret->name = mp_build_str(b, m->name);
    build_addresses(b, m, ret);
    if (ret->n_addrs > 0) {
        if (ret->name.n == 0) {
            ret->name = mp_build_addr_text(b, &ret->addrs[0]);
        }
        ret->stat_prefix =
            m->stat_prefix[0] ? mp_build_str(b, m->stat_prefix) : stat_name(b, &ret->addrs[0]);
    }
    mp_build_u32(b, "tcp_backlog_size", m->tcp_backlog_size, 1, INT32_MAX, &ret->backlog);
    mp_build_u32(b, "per_connection_buffer_limit_bytes", m->per_connection_buffer_limit_bytes, 1024,
                 1u << 30, &ret->buffer_limit);
    mp_build_bool(m->enable_reuse_port, &ret->reuse_port);
    /* Said aloud, it also allows what it makes possible: a second process on the same port. */
    ret->share_port = m->enable_reuse_port && m->enable_reuse_port->value;
    build_options(b, m, ret);
    mp_build_bool(m->freebind, &ret->freebind);
    b->hash = &ret->source.hash;
    build_chains(b, m, ret);
    build_listener_filters(b, m, ret);
    b->hash = NULL;
}
