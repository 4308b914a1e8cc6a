/* SPDX-License-Identifier: GPL-2.0-only */
/* SYNs for the host's own listeners are answered with a cookie before a socket buffer exists. The
 * kernel makes the cookie and knows it again when the client's ACK comes, which passes on the
 * normal way. It makes one only when the listener's queue of half-open connections is full (or
 * always, with net.ipv4.tcp_syncookies=2): before that the SYN goes on to the stack.
 */
#pragma once
#include "bpf/lib/limits.h"

#define MP_TCP_MAX   60
#define MP_REPLY_TCP 24 /* header and the MSS option */
#define MP_ETH_MAX   (14 + 4 * MP_GUARD_VLAN_MAX)

struct mp_reply4 {
    struct iphdr ip;
    struct tcphdr tcp;
    __u8 mss[4];
};
struct mp_reply6 {
    struct ipv6hdr ip;
    struct tcphdr tcp;
    __u8 mss[4];
};
_Static_assert(sizeof(struct mp_reply4) == 44 && sizeof(struct mp_reply6) == 64, "as on the wire");

MP_AI __u16 fold(__u32 sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return ~sum;
}

MP_AI void fill_tcp(struct tcphdr *t, __u8 *opt, const struct tcphdr *syn, __u32 cookie, __u16 mss)
{
    __builtin_memset(t, 0, sizeof(*t));
    t->source = syn->dest;
    t->dest = syn->source;
    t->seq = bpf_htonl(cookie);
    t->ack_seq = bpf_htonl(bpf_ntohl(syn->seq) + 1);
    ((__u8 *)t)[12] = MP_REPLY_TCP / 4 << 4;
    ((__u8 *)t)[13] = 0x12; /* SYN, ACK */
    t->window = bpf_htons(0xffff);
    opt[0] = 2;
    opt[1] = 4;
    opt[2] = mss >> 8;
    opt[3] = (__u8)mss;
}

/* The cookie for a SYN to a listener of ours; negative: there is none, or none is wanted. */
MP_AI __s64 make_cookie(struct xdp_md *x, const struct mp_pkt *p,
                        const struct bpf_sock_tuple *tuple, __u32 tuple_size, void *ip,
                        __u32 ip_size, struct tcphdr *syn)
{
    struct bpf_sock *sk =
        bpf_skc_lookup_tcp(x, (struct bpf_sock_tuple *)tuple, tuple_size, BPF_F_CURRENT_NETNS, 0);
    if (!sk) {
        return -1;
    }
    __s64 cookie = -1;
    __u32 size = p->payload_off - p->l4_off;
    if (sk->state == BPF_TCP_LISTEN && size >= sizeof(*syn) && size <= MP_TCP_MAX &&
        bpf_xdp_load_bytes(x, p->l4_off, syn, size) == 0) {
        cookie = bpf_tcp_gen_syncookie(sk, ip, ip_size, syn, size);
    }
    bpf_sk_release(sk);
    return cookie;
}

/* Cuts the frame to the size of the answer; a pointer to where its IP header goes, or NULL. */
MP_AI void *make_room(struct xdp_md *x, const struct mp_pkt *p, __u32 size)
{
    __u32 l3 = p->l3_off;
    if (l3 > MP_ETH_MAX || bpf_xdp_adjust_tail(x, (int)(l3 + size) - (int)p->len) != 0) {
        return NULL;
    }
    void *data = (void *)(long)x->data, *end = (void *)(long)x->data_end;
    void *at = data + l3;
    if (data + sizeof(struct ethhdr) > end || at + size > end) {
        return NULL;
    }
    struct ethhdr *eth = data;
    __u8 mac[ETH_ALEN];
    __builtin_memcpy(mac, eth->h_source, ETH_ALEN);
    __builtin_memcpy(eth->h_source, eth->h_dest, ETH_ALEN);
    __builtin_memcpy(eth->h_dest, mac, ETH_ALEN);
    return at;
}

static __noinline int answer4(struct xdp_md *x, struct mp_pkt *p, __u16 mss)
{
    __u8 syn[MP_TCP_MAX] = {0};
    struct iphdr ip;
    if (bpf_xdp_load_bytes(x, p->l3_off, &ip, sizeof(ip)) != 0) {
        return 0;
    }
    struct bpf_sock_tuple tuple = {.ipv4 = {ip.saddr, ip.daddr, p->sport, p->dport}};
    __s64 cookie = make_cookie(x, p, &tuple, sizeof(tuple.ipv4), &ip, sizeof(ip), (void *)syn);
    if (cookie < 0) {
        return 0;
    }
    struct mp_reply4 r;
    __builtin_memset(&r, 0, sizeof(r));
    ((__u8 *)&r.ip)[0] = 0x45;
    r.ip.tot_len = bpf_htons(sizeof(r));
    r.ip.frag_off = bpf_htons(0x4000);
    r.ip.ttl = 64;
    r.ip.protocol = IPPROTO_TCP;
    r.ip.saddr = ip.daddr;
    r.ip.daddr = ip.saddr;
    r.ip.check = fold(bpf_csum_diff(NULL, 0, (__be32 *)&r.ip, sizeof(r.ip), 0));
    fill_tcp(&r.tcp, r.mss, (void *)syn, (__u32)cookie, mss);
    __u32 sum = bpf_csum_diff(NULL, 0, (__be32 *)&r.ip.saddr, 8,
                              bpf_htons(IPPROTO_TCP) + bpf_htons(MP_REPLY_TCP));
    r.tcp.check = fold(bpf_csum_diff(NULL, 0, (__be32 *)&r.tcp, MP_REPLY_TCP, sum));
    void *at = make_room(x, p, sizeof(r));
    if (!at) {
        return -1;
    }
    __builtin_memcpy(at, &r, sizeof(r));
    return 1;
}

static __noinline int answer6(struct xdp_md *x, struct mp_pkt *p, __u16 mss)
{
    __u8 syn[MP_TCP_MAX] = {0};
    struct ipv6hdr ip;
    if (bpf_xdp_load_bytes(x, p->l3_off, &ip, sizeof(ip)) != 0) {
        return 0;
    }
    struct bpf_sock_tuple tuple = {0};
    __builtin_memcpy(tuple.ipv6.saddr, &ip.saddr, 16);
    __builtin_memcpy(tuple.ipv6.daddr, &ip.daddr, 16);
    tuple.ipv6.sport = p->sport;
    tuple.ipv6.dport = p->dport;
    __s64 cookie = make_cookie(x, p, &tuple, sizeof(tuple.ipv6), &ip, sizeof(ip), (void *)syn);
    if (cookie < 0) {
        return 0;
    }
    struct mp_reply6 r;
    __builtin_memset(&r, 0, sizeof(r));
    ((__u8 *)&r.ip)[0] = 0x60;
    r.ip.payload_len = bpf_htons(MP_REPLY_TCP);
    r.ip.nexthdr = IPPROTO_TCP;
    r.ip.hop_limit = 64;
    r.ip.saddr = ip.daddr;
    r.ip.daddr = ip.saddr;
    fill_tcp(&r.tcp, r.mss, (void *)syn, (__u32)cookie, mss);
    __u32 sum = bpf_csum_diff(NULL, 0, (__be32 *)&r.ip.saddr, 32,
                              bpf_htons(IPPROTO_TCP) + bpf_htons(MP_REPLY_TCP));
    r.tcp.check = fold(bpf_csum_diff(NULL, 0, (__be32 *)&r.tcp, MP_REPLY_TCP, sum));
    void *at = make_room(x, p, sizeof(r));
    if (!at) {
        return -1;
    }
    __builtin_memcpy(at, &r, sizeof(r));
    return 1;
}

/* True: the frame is now the answer. */
MP_AI int answer_syn(struct xdp_md *x, struct mp_pkt *p)
{
    const struct mp_guard_config *conf = map_first(&guard_config_map);
    if (!mp_has_frags || !conf) {
        return 0;
    }
    int rc = p->family == 4 ? answer4(x, p, conf->mss4) : answer6(x, p, conf->mss6);
    if (rc != 0) {
        count(rc > 0 ? MP_GUARD_SYN_COOKIES : MP_GUARD_SYN_COOKIES_FAILED, 1);
    }
    return rc;
}
