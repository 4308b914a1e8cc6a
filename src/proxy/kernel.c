/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "proxy/kernel.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "core/engine.h"
#include "kern/guard.h"
#include "kern/probe.h"
#include "proxy/kernel_pages.h"

#define TICK_MS 1000

static struct {
    struct mp_guard_hook hook;
    struct mp_guard *guard;
    struct mp_timer tick;
    struct mp_engine *engine;
    struct mp_stat_scope *scope;
    bool served;
} kernel;

/* ---- stats ---- */

#define COUNTER(name_, help_)                                     \
    {                                                             \
        .name = (name_), .kind = MP_STAT_COUNTER, .help = (help_) \
    }
#define GAUGE(name_, help_)                                     \
    {                                                           \
        .name = (name_), .kind = MP_STAT_GAUGE, .help = (help_) \
    }

/* In the order of struct mp_guard_stats, enum mp_guard_counter, struct mp_guard_totals; then
 * gauges.
 */
static const struct mp_stat_def defs[] = {
    COUNTER("total_packets", "Packets that the guard saw, dropped ones too"),
    COUNTER("total_bytes", "Their bytes"),
    COUNTER("http_packets", "Packets that begin an HTTP/1 request"),
    COUNTER("https_packets", "Packets that begin with a TLS record"),
    COUNTER("http2_packets", "Packets that begin an HTTP/2 connection"),
    COUNTER("grpc_packets", "Packets to the gRPC port"),
    COUNTER("websocket_packets", "Packets that begin an upgrade"),
    COUNTER("rate_limited", "Packets dropped because their source sent too many"),
    COUNTER("dropped", "Packets dropped, for whatever reason"),
    COUNTER("malformed.eth_short", "Dropped: shorter than Ethernet and VLAN headers"),
    COUNTER("malformed.ip4_short", "Dropped: shorter than an IPv4 header"),
    COUNTER("malformed.ip4_header", "Dropped: bad IPv4 version or header length"),
    COUNTER("malformed.ip4_length", "Dropped: bad IPv4 total length"),
    COUNTER("malformed.ip6_short", "Dropped: shorter than an IPv6 header"),
    COUNTER("malformed.ip6_header", "Dropped: bad IPv6 version"),
    COUNTER("malformed.ip6_length", "Dropped: bad IPv6 payload length"),
    COUNTER("malformed.ip6_extension", "Dropped: an IPv6 extension header is cut off"),
    COUNTER("malformed.ip6_chain", "Dropped: too many IPv6 extension headers"),
    COUNTER("malformed.tcp_short", "Dropped: shorter than a TCP header"),
    COUNTER("malformed.tcp_offset", "Dropped: bad TCP data offset"),
    COUNTER("malformed.tcp_flags", "Dropped: impossible TCP flags"),
    COUNTER("malformed.udp_short", "Dropped: shorter than a UDP header"),
    COUNTER("malformed.udp_length", "Dropped: bad UDP length"),
    COUNTER("malformed.tiny_fragment", "Dropped: a fragment that would rewrite a TCP header"),
    COUNTER("denied", "Packets dropped by the deny list"),
    COUNTER("syn_dropped", "SYNs dropped because their source sent too many"),
    COUNTER("exempt", "Packets that only the allow list let through"),
    COUNTER("expired", "Packets that met a denial that had expired"),
    COUNTER("syn_cookies", "SYNs answered with a cookie"),
    COUNTER("syn_cookies_failed", "SYNs that could not be answered"),
    COUNTER("ip4_packets", "IPv4 packets that were whole"),
    COUNTER("ip6_packets", "IPv6 packets that were whole"),
    COUNTER("other_packets", "Packets that are not IP: passed"),
    COUNTER("fragments", "IP fragments: passed to the stack"),
    COUNTER("not_linear", "Packets whose headers could not be read: passed"),
    COUNTER("verdicts.auth_failures", "Answers 401 and 403"),
    COUNTER("verdicts.rate_limited", "Answers 429"),
    COUNTER("verdicts.protocol_errors", "Requests that were no HTTP"),
    COUNTER("verdicts.header_timeouts", "Requests whose header did not come in time"),
    COUNTER("verdicts.client_errors", "Answers 400 to 499"),
    COUNTER("bans.auth_failures", "Sources denied for auth_failures"),
    COUNTER("bans.rate_limited", "Sources denied for rate_limited"),
    COUNTER("bans.protocol_errors", "Sources denied for protocol_errors"),
    COUNTER("bans.header_timeouts", "Sources denied for header_timeouts"),
    COUNTER("bans.client_errors", "Sources denied for client_errors"),
    COUNTER("verdicts_exempt", "Verdicts on sources that are allowed"),
    COUNTER("connections_denied", "Connections refused by the deny list"),
    COUNTER("connections_rate_limited", "Connections refused by the rate, without a program"),
    GAUGE("attached", "Interfaces that the guard is attached to"),
    GAUGE("deny_entries", "Entries of the deny list"),
    GAUGE("allow_entries", "Entries of the allow list"),
};
#define N_STATS   (sizeof(struct mp_guard_stats) / sizeof(uint64_t))
#define N_TOTALS  (sizeof(struct mp_guard_totals) / sizeof(uint64_t))
#define AT_TOTALS (N_STATS + MP_GUARD_COUNTERS_N)
#define AT_GAUGES (AT_TOTALS + N_TOTALS)
_Static_assert(MP_COUNTOF(defs) == AT_GAUGES + 3, "one def for each");

static const struct mp_stat_schema schema = {
    .kind = "xdp",
    .text_prefix = "xdp.",
    .prom_prefix = "marchproxy_xdp_",
    .defs = defs,
    .n = MP_COUNTOF(defs),
};

static void count_entry(void *arg, const struct mp_list_entry *e)
{
    (*(uint64_t *)arg)++;
}

static void refresh_stats(void)
{
    const struct mp_stat_block *b = mp_stat_block(kernel.scope, kernel.engine->main->w.writer);
    struct mp_program *p = mp_guard_program(kernel.guard);
    struct mp_guard_stats stats = {0};
    struct mp_guard_counters counters;
    struct mp_guard_totals totals;
    uint64_t attached = 0, deny = 0, allow = 0;
    if (p != NULL && mp_program_stats(p, &stats, &counters)) {
        for (uint32_t i = 0; i < N_STATS; i++) {
            mp_stat_set(b, i, ((uint64_t *)&stats)[i]);
        }
        for (uint32_t i = 0; i < MP_GUARD_COUNTERS_N; i++) {
            mp_stat_set(b, (uint32_t)N_STATS + i, counters.n[i]);
        }
    }
    mp_guard_totals(kernel.guard, &totals);
    for (uint32_t i = 0; i < N_TOTALS; i++) {
        mp_stat_set(b, (uint32_t)AT_TOTALS + i, ((uint64_t *)&totals)[i]);
    }
    for (uint32_t i = 0; i < mp_program_links(p); i++) {
        attached += mp_program_link(p, i).kind != MP_LINK_NONE;
    }
    mp_lists_walk(mp_guard_lists(kernel.guard), true, count_entry, &deny);
    mp_lists_walk(mp_guard_lists(kernel.guard), false, count_entry, &allow);
    mp_stat_set(b, AT_GAUGES, attached);
    mp_stat_set(b, AT_GAUGES + 1, deny);
    mp_stat_set(b, AT_GAUGES + 2, allow);
}

static void on_tick(struct mp_timer *t)
{
    mp_guard_tick(kernel.guard);
    refresh_stats();
    mp_timer_in(kernel.engine->opts.main_loop, t, TICK_MS);
}

/* ---- life ---- */

const struct mp_guard_hook *mp_kernel_hook(void)
{
    return &kernel.hook;
}

void mp_kernel_start(const struct mp_conf *conf)
{
    kernel.guard = mp_guard_new(&kernel.hook);
    mp_kernel_pages_register(kernel.guard);
    mp_probe_run();
    mp_guard_configure(kernel.guard, conf->xdp);
}

void mp_kernel_bind(struct mp_engine *e)
{
    kernel.engine = e;
    kernel.scope = mp_stat_scope_get(e->stats, &schema, MP_STR(""));
    mp_timer_init(&kernel.tick, on_tick);
    mp_timer_in(e->opts.main_loop, &kernel.tick, TICK_MS);
}

/* Hosts given by address; what DNS answers is not known here. */
static void set_backends(const struct mp_snapshot *snap)
{
    uint32_t n = 0, cap = 0;
    for (uint32_t i = 0; i < snap->n_clusters; i++) {
        cap += snap->clusters[i]->conf->n_endpoints;
    }
    struct mp_conf_prefix *v = calloc((size_t)cap + 1, sizeof(*v));
    MP_ASSERT(v != NULL);
    for (uint32_t i = 0; i < snap->n_clusters; i++) {
        const struct mp_conf_cluster *c = snap->clusters[i]->conf;
        for (uint32_t k = 0; k < c->n_endpoints; k++) {
            if (!c->endpoints[k].addr.is_unix &&
                mp_conf_prefix_parse(c->endpoints[k].addr.host.p, &v[n])) {
                n++;
            }
        }
    }
    mp_guard_set_backends(kernel.guard, v, n);
    free(v);
}

void mp_kernel_published(struct mp_engine *e)
{
    kernel.served = true;
    mp_guard_configure(kernel.guard, e->snap->conf->xdp);
    set_backends(e->snap);
    refresh_stats();
}

void mp_kernel_stop(struct mp_engine *e)
{
    if (e != NULL && kernel.engine == e) {
        mp_wheel_remove(mp_loop_wheel(e->opts.main_loop), &kernel.tick);
        mp_stat_scope_unref(kernel.scope);
        kernel.engine = NULL;
    }
    kernel.guard = mp_guard_free(kernel.guard, kernel.served);
}
