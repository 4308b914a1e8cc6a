/* SPDX-License-Identifier: GPL-2.0-only */
/* The guard: parse -> lists -> windows -> what user space sees. The two entries (XDP, tcx) differ
 * in how they reach bytes beyond the first buffer, and in answering SYNs, which only XDP does: at
 * tcx the packet is a socket buffer already, and the kernel's own SYN cookies cost little more.
 */
#pragma once
#include "bpf/lib/classify.h"
#include "bpf/lib/limits.h"

enum mp_verdict {
    MP_PASS,
    MP_DROP,
    MP_CLASSIFY, /* pass; the payload is worth a look */
    MP_COOKIE,   /* a SYN in a flood */
    MP_PULL      /* parse again with more of the frame in the first buffer */
};

MP_AI enum mp_verdict drop(struct mp_guard_stats *s, __u32 packets)
{
    s->dropped += packets;
    return MP_DROP;
}

MP_AI enum mp_verdict judge_syn(const struct mp_pkt *p, const struct mp_guard_config *conf,
                                struct mp_guard_stats *s)
{
    if (conf->syn_enabled) {
        struct mp_guard_window *w = over_syns(p, conf);
        if (w && !is_allowed(p, conf, 1)) {
            __sync_fetch_and_add(&w->dropped_count, 1);
            count(MP_GUARD_SYN_DROPPED, 1);
            return drop(s, 1);
        }
    }
    if (conf->cookies == MP_GUARD_COOKIES_ALWAYS ||
        (conf->cookies == MP_GUARD_COOKIES_FLOOD && is_flooded(conf))) {
        return p->fragment ? MP_PASS : MP_COOKIE;
    }
    return MP_PASS;
}

/* A packet that is whole: the windows of its source. */
MP_AI enum mp_verdict judge_source(const struct mp_pkt *p, const struct mp_guard_config *conf,
                                   struct mp_guard_stats *s, __u32 packets)
{
    count(p->family == 4 ? MP_GUARD_IP4_PACKETS : MP_GUARD_IP6_PACKETS, packets);
    if (p->fragment) {
        count(MP_GUARD_FRAGMENTS, packets);
    }
    struct mp_guard_window *w = over_rate(p, packets);
    if (w && !is_allowed(p, conf, packets)) {
        __sync_fetch_and_add(&w->dropped_count, packets);
        s->rate_limited += packets;
        return drop(s, packets);
    }
    if (p->syn) {
        return judge_syn(p, conf, s);
    }
    return p->payload_len > 0 && is_looked_at(p->dport) ? MP_CLASSIFY : MP_PASS;
}

/* last: the frame cannot be pulled together any further. */
MP_AI enum mp_verdict judge(struct mp_pkt *p, __u32 packets, int last)
{
    int l3 = parse_l3(p);
    int rc = l3 == MP_PARSED ? parse_l4(p) : l3;
    if (rc == MP_PARSED_NOT_LINEAR && !last) {
        return MP_PULL;
    }
    struct mp_guard_stats *s = map_first(&stats_map);
    const struct mp_guard_config *conf = map_first(&guard_config_map);
    if (!s || !conf) {
        return MP_PASS;
    }
    s->total_packets += packets;
    s->total_bytes += p->len;
    if (l3 == MP_PARSED && is_denied(p, conf, packets)) {
        return drop(s, packets);
    }
    if (rc == MP_PARSED) {
        return judge_source(p, conf, s, packets);
    }
    if (rc == MP_PARSED_NOT_IP || rc == MP_PARSED_NOT_LINEAR) {
        count(rc == MP_PARSED_NOT_IP ? MP_GUARD_OTHER_PACKETS : MP_GUARD_NOT_LINEAR, packets);
        return MP_PASS;
    }
    if (rc >= 0 && rc < MP_GUARD_MALFORMED_N) {
        count(rc, packets);
    }
    return drop(s, packets);
}
