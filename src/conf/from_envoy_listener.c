/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "conf/build.h"
#include "envoy_extensions_filters_network_http_connection_manager_v3.pb-c.h"

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
    mp_build_bool(m->freebind, &ret->freebind);
    build_chain(b, m, ret);
}
