/* SPDX-License-Identifier: GPL-2.0-only */
/* The lists and the windows: whether a source's packet goes on. */
#pragma once
#include "bpf/lib/parse.h"

MP_AI void count(enum mp_guard_counter which, __u64 n)
{
    struct mp_guard_counters *c = map_first(&guard_stats_map);
    if (c) {
        c->n[which] += n;
    }
}

/* The allow list is asked only for a packet that would be dropped: it costs others nothing. */
MP_AI int is_allowed(const struct mp_pkt *p, const struct mp_guard_config *conf, __u32 packets)
{
    void *found = NULL;
    if (p->family == 4 && conf->allow4 != 0) {
        found = bpf_map_lookup_elem(&allow4_map, &p->src4);
    } else if (p->family == 6 && conf->allow6 != 0) {
        found = bpf_map_lookup_elem(&allow6_map, &p->src6);
    }
    if (found) {
        count(MP_GUARD_EXEMPT, packets);
    }
    return found != NULL;
}

MP_AI int is_denied(const struct mp_pkt *p, const struct mp_guard_config *conf, __u32 packets)
{
    struct mp_guard_denial *d = NULL;
    if (p->family == 4 && conf->deny4 != 0) {
        d = bpf_map_lookup_elem(&deny4_map, &p->src4);
    } else if (p->family == 6 && conf->deny6 != 0) {
        d = bpf_map_lookup_elem(&deny6_map, &p->src6);
    }
    if (!d) {
        return 0;
    }
    if (d->expires_ns != 0 && bpf_ktime_get_ns() >= d->expires_ns) {
        count(MP_GUARD_EXPIRED, packets); /* user space takes it away soon */
        return 0;
    }
    if (is_allowed(p, conf, packets)) {
        return 0;
    }
    __sync_fetch_and_add(&d->hits, packets);
    count(MP_GUARD_DENIED, packets);
    return 1;
}

/* A fixed window of one source: at most max packets pass. More than one CPU may do this for one
 * source at a time: the one that wins the exchange begins the window, and what passes is counted
 * before it passes. Returns the window when the packet is over the limit. */
MP_AI struct mp_guard_window *over_limit(void *map, const void *key, __u64 window_ns, __u64 max,
                                         __u32 packets)
{
    __u64 now = bpf_ktime_get_ns();
    struct mp_guard_window *w = bpf_map_lookup_elem(map, key);
    if (!w) {
        struct mp_guard_window first = {.packet_count = packets, .last_reset_ns = now};
        bpf_map_update_elem(map, key, &first, BPF_ANY);
        return NULL;
    }
    __u64 begun = w->last_reset_ns;
    if ((__s64)(now - begun) > (__s64)window_ns) {
        if (__sync_val_compare_and_swap(&w->last_reset_ns, begun, now) == begun) {
            w->packet_count = packets;
            return NULL;
        }
    }
    if (w->packet_count + packets > max ||
        __sync_fetch_and_add(&w->packet_count, packets) + packets > max) {
        return w;
    }
    return NULL;
}

MP_AI struct mp_guard_window *over_rate(const struct mp_pkt *p, __u32 packets)
{
    const struct mp_guard_rate *r = map_first(&rate_limit_config_map);
    if (!r || !r->enabled) {
        return NULL;
    }
    if (p->family == 4) {
        __u32 key = *(const __u32 *)p->src4.addr;
        return over_limit(&rate_limit_map, &key, r->window_ns, r->max_packets, packets);
    }
    __u64 key;
    __builtin_memcpy(&key, p->src6.addr, 8);
    return over_limit(&rate_limit6_map, &key, r->window_ns, r->max_packets, packets);
}

MP_AI struct mp_guard_window *over_syns(const struct mp_pkt *p, const struct mp_guard_config *conf)
{
    if (p->family == 4) {
        __u32 key = *(const __u32 *)p->src4.addr;
        return over_limit(&syn_limit_map, &key, conf->syn_window_ns, conf->syn_max, 1);
    }
    __u64 key;
    __builtin_memcpy(&key, p->src6.addr, 8);
    return over_limit(&syn_limit6_map, &key, conf->syn_window_ns, conf->syn_max, 1);
}

#define MP_FLOOD_WINDOW_NS 100000000ull
#define MP_FLOOD_STAYS_NS  1000000000ull

/* Is this CPU flooded with SYNs? Counts one. A flood lasts for a second after its last window. */
MP_AI int is_flooded(const struct mp_guard_config *conf)
{
    struct mp_guard_flood *f = map_first(&guard_flood_map);
    if (!f) {
        return 0;
    }
    __u64 now = bpf_ktime_get_ns();
    if (now - f->since_ns > MP_FLOOD_WINDOW_NS) {
        f->since_ns = now;
        f->syns = 0;
    }
    f->syns++;
    if (f->syns * (1000000000ull / MP_FLOOD_WINDOW_NS) > conf->flood_syns) {
        f->until_ns = now + MP_FLOOD_STAYS_NS;
    }
    return now < f->until_ns;
}
