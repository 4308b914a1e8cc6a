/* SPDX-License-Identifier: GPL-2.0-only */
/* A frame's headers down to TCP and UDP. Nothing is trusted: each header lies within the frame and
 * within the length that the one before it states.
 */
#pragma once
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>

#include "bpf/lib/maps.h"

#define MP_ETH_QINQ_OLD 0x9100
#define MP_PROTO_NONE   255 /* reserved: what is above is not readable (a later fragment) */

/* What parsing came to, beside an enum mp_guard_counter below MP_GUARD_MALFORMED_N. */
enum mp_parsed {
    MP_PARSED = 100,
    MP_PARSED_NOT_IP,
    MP_PARSED_NOT_LINEAR /* a header is beyond the first buffer of the frame */
};

struct mp_pkt {
    void *data, *end; /* of the first buffer */
    void *at;         /* the next header */
    __u32 len;        /* of the whole frame */
    __u32 off;        /* of at, in the frame */
    __u32 l3_off, l4_off;
    __u32 l4_len; /* as the IP header states it: without padding */
    __u32 gso;    /* a frame that stands for many: IP lengths may be 0 (over 64 KiB) */
    __u8 family;  /* 4, 6 */
    __u8 proto;   /* of the layer above, or MP_PROTO_NONE */
    __u8 fragment;
    __u8 syn;
    __u16 sport, dport; /* network order */
    __u32 payload_off, payload_len;
    struct mp_guard_prefix4 src4;
    struct mp_guard_prefix6 src6;
};

/* Are n bytes of the next header there? */
#define MP_NEED(p, n, if_short)                                                   \
    do {                                                                          \
        if ((p)->at + (n) > (p)->end) {                                           \
            return (p)->off + (n) > (p)->len ? (if_short) : MP_PARSED_NOT_LINEAR; \
        }                                                                         \
    } while (0)

MP_AI void skip(struct mp_pkt *p, __u32 n)
{
    p->at += n;
    p->off += n;
}

struct mp_vlan_tag {
    __be16 tci, proto;
};

MP_AI int parse_eth(struct mp_pkt *p, __be16 *ret_proto)
{
    MP_NEED(p, sizeof(struct ethhdr), MP_GUARD_ETH_SHORT);
    __be16 proto = ((struct ethhdr *)p->at)->h_proto;
    skip(p, sizeof(struct ethhdr));
#pragma unroll
    for (int i = 0; i < MP_GUARD_VLAN_MAX; i++) {
        if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD) &&
            proto != bpf_htons(MP_ETH_QINQ_OLD)) {
            break;
        }
        MP_NEED(p, sizeof(struct mp_vlan_tag), MP_GUARD_ETH_SHORT);
        proto = ((struct mp_vlan_tag *)p->at)->proto;
        skip(p, sizeof(struct mp_vlan_tag));
    }
    p->l3_off = p->off;
    *ret_proto = proto;
    return MP_PARSED;
}

MP_AI int parse_ip4(struct mp_pkt *p)
{
    MP_NEED(p, sizeof(struct iphdr), MP_GUARD_IP4_SHORT);
    const struct iphdr *ip = p->at;
    __u32 head = ip->ihl * 4, room = p->len - p->off;
    if (ip->version != 4 || head < sizeof(*ip)) {
        return MP_GUARD_IP4_HEADER;
    }
    __u32 total = bpf_ntohs(ip->tot_len);
    if (total == 0 && p->gso) {
        total = room;
    }
    if (total < head || total > room) {
        return MP_GUARD_IP4_LENGTH;
    }
    p->family = 4;
    p->src4.prefixlen = 32;
    __builtin_memcpy(p->src4.addr, &ip->saddr, 4);
    p->l4_len = total - head;
    __u32 offset = bpf_ntohs(ip->frag_off) & 0x1fff;
    p->fragment = (ip->frag_off & bpf_htons(0x3fff)) != 0;
    p->proto = ip->protocol;
    if (offset != 0) {
        if (offset == 1 && p->proto == IPPROTO_TCP) {
            return MP_GUARD_TINY_FRAGMENT;
        }
        p->proto = MP_PROTO_NONE;
    }
    skip(p, head);
    p->l4_off = p->off;
    return MP_PARSED;
}

struct mp_ext_header {
    __u8 next, len;
    __u8 rest[6];
};

MP_AI int is_extension(__u8 proto)
{
    return proto == IPPROTO_HOPOPTS || proto == IPPROTO_ROUTING || proto == IPPROTO_FRAGMENT ||
           proto == IPPROTO_DSTOPTS || proto == IPPROTO_AH || proto == IPPROTO_MH || proto == 139 ||
           proto == 140; /* HIP, shim6 */
}

/* One extension header. l4_len shrinks with it. */
MP_AI int parse_ext(struct mp_pkt *p)
{
    if (p->l4_len < sizeof(struct mp_ext_header)) {
        return MP_GUARD_IP6_EXT;
    }
    MP_NEED(p, sizeof(struct mp_ext_header), MP_GUARD_IP6_EXT);
    const struct mp_ext_header *h = p->at;
    __u32 size = p->proto == IPPROTO_FRAGMENT ? 8
                 : p->proto == IPPROTO_AH     ? (h->len + 2) * 4
                                              : (h->len + 1) * 8;
    if (size > p->l4_len) {
        return MP_GUARD_IP6_EXT;
    }
    if (p->proto == IPPROTO_FRAGMENT) {
        __u32 field = ((__u32)h->rest[0] << 8) | h->rest[1];
        if ((field & 0xfff9) != 0) {
            p->fragment = 1;
        }
        if (field >> 3 != 0) {
            if (field >> 3 == 1 && h->next == IPPROTO_TCP) {
                return MP_GUARD_TINY_FRAGMENT;
            }
            p->proto = MP_PROTO_NONE;
            return MP_PARSED;
        }
    }
    p->proto = h->next;
    p->l4_len -= size;
    skip(p, size);
    return MP_PARSED;
}

MP_AI int parse_ip6(struct mp_pkt *p)
{
    MP_NEED(p, sizeof(struct ipv6hdr), MP_GUARD_IP6_SHORT);
    const struct ipv6hdr *ip = p->at;
    __u32 room = p->len - p->off - sizeof(*ip);
    if (ip->version != 6) {
        return MP_GUARD_IP6_HEADER;
    }
    p->l4_len = bpf_ntohs(ip->payload_len);
    p->proto = ip->nexthdr;
    if (p->l4_len == 0 && (p->gso || p->proto == IPPROTO_HOPOPTS)) {
        p->l4_len = room; /* jumbo */
    }
    if (p->l4_len > room) {
        return MP_GUARD_IP6_LENGTH;
    }
    p->family = 6;
    p->src6.prefixlen = 128;
    __builtin_memcpy(p->src6.addr, &ip->saddr, 16);
    skip(p, sizeof(*ip));
#pragma unroll
    for (int i = 0; i < MP_GUARD_EXT_MAX; i++) {
        if (!is_extension(p->proto)) {
            break;
        }
        int rc = parse_ext(p);
        if (rc != MP_PARSED) {
            return rc;
        }
    }
    if (is_extension(p->proto)) {
        return MP_GUARD_IP6_CHAIN;
    }
    p->l4_off = p->off;
    return MP_PARSED;
}

MP_AI int parse_tcp(struct mp_pkt *p)
{
    if (p->l4_len < sizeof(struct tcphdr)) {
        return MP_GUARD_TCP_SHORT;
    }
    MP_NEED(p, sizeof(struct tcphdr), MP_GUARD_TCP_SHORT);
    const struct tcphdr *t = p->at;
    __u32 head = t->doff * 4;
    if (head < sizeof(*t) || head > p->l4_len) {
        return MP_GUARD_TCP_OFFSET;
    }
    __u8 flags = ((const __u8 *)t)[13] & 0x3f; /* FIN SYN RST PSH ACK URG, from the lowest bit */
    if (flags == 0 || (flags & 3) == 3 || (flags & 6) == 6 || flags == 0x29) {
        return MP_GUARD_TCP_FLAGS;
    }
    p->syn = (flags & 0x12) == 0x02;
    p->sport = t->source;
    p->dport = t->dest;
    p->payload_off = p->off + head;
    p->payload_len = p->l4_len - head;
    return MP_PARSED;
}

MP_AI int parse_udp(struct mp_pkt *p)
{
    if (p->l4_len < sizeof(struct udphdr)) {
        return MP_GUARD_UDP_SHORT;
    }
    MP_NEED(p, sizeof(struct udphdr), MP_GUARD_UDP_SHORT);
    const struct udphdr *u = p->at;
    __u32 len = bpf_ntohs(u->len);
    if (!p->gso && (len < sizeof(*u) || (len > p->l4_len && !p->fragment))) {
        return MP_GUARD_UDP_LENGTH;
    }
    p->sport = u->source;
    p->dport = u->dest;
    return MP_PARSED;
}

/* The addresses: enough to ask the lists. */
MP_AI int parse_l3(struct mp_pkt *p)
{
    __be16 proto = 0;
    int rc = parse_eth(p, &proto);
    if (rc != MP_PARSED) {
        return rc;
    }
    if (proto == bpf_htons(ETH_P_IP)) {
        return parse_ip4(p);
    }
    return proto == bpf_htons(ETH_P_IPV6) ? parse_ip6(p) : MP_PARSED_NOT_IP;
}

MP_AI int parse_l4(struct mp_pkt *p)
{
    if (p->proto == IPPROTO_TCP) {
        return parse_tcp(p);
    }
    return p->proto == IPPROTO_UDP ? parse_udp(p) : MP_PARSED;
}
