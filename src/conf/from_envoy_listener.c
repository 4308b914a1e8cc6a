/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "conf/build.h"
#include "envoy_extensions_filters_network_http_connection_manager_v3.pb-c.h"
#include "marchproxy_config_v1.pb-c.h"

#define DEFAULT_BUFFER (1024 * 1024)

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
                         struct mp_conf_listener *ret)
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

static void build_chain(struct mp_conf_build *b, const pb_listener *m, struct mp_conf_listener *ret)
{
    if (m->n_filter_chains != 1) {
        if (m->n_filter_chains == 0) {
            mp_build_missing(b, "filter_chains", NULL, "filter_chains is missing");
        } else {
            (void)mp_build_error(b, "filter_chains[1]", "use one listener each",
                                 "more than one filter chain is not supported");
        }
        return;
    }
    const Envoy__Config__Listener__V3__FilterChain *chain = m->filter_chains[0];
    size_t mark = mp_build_enter(b, "filter_chains[0]");
    if (chain->n_filters == 0) {
        mp_build_missing(b, "filters", NULL, "filters is missing");
    } else if (chain->n_filters > 1) {
        (void)mp_build_error(b, "filters[1]", NULL, "no filter may follow HttpConnectionManager");
    }
    if (chain->n_filters > 0) {
        size_t mark2 = mp_build_enter(b, "filters[0]");
        build_filter(b, chain->filters[0], ret);
        mp_build_leave(b, mark2);
    }
    mp_build_leave(b, mark);
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

static void build_listener_filters(struct mp_conf_build *b, const pb_listener *m,
                                   struct mp_conf_listener *ret)
{
    for (size_t i = 0; i < m->n_listener_filters; i++) {
        size_t mark = mp_build_enter(b, "listener_filters[%zu]", i);
        const ProtobufCMessage *any =
            mp_build_any(b, "typed_config", m->listener_filters[i]->typed_config);
        size_t mark2 = mp_build_enter(b, "typed_config");
        if (any && any->descriptor == &marchproxy__config__v1__listener_limits__descriptor) {
            set_accept_limits(b, (const Marchproxy__Config__V1__ListenerLimits *)any, &ret->accept);
        } else if (any) {
            mp_build_unsupported(b, NULL, "remove it, or use --allow-unsupported",
                                 "%s is not a listener filter of this program",
                                 any->descriptor->name);
        }
        mp_build_leave(b, mark2);
        mp_build_leave(b, mark);
    }
}

void mp_build_listener(struct mp_conf_build *b, const pb_listener *m, struct mp_conf_listener *ret)
{
    *ret = (struct mp_conf_listener){.part = ret->part,
                                     .reuse_port = true,
                                     .buffer_limit = DEFAULT_BUFFER,
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
    build_listener_filters(b, m, ret);
    mp_build_bool(m->freebind, &ret->freebind);
    build_chain(b, m, ret);
}
