/* SPDX-License-Identifier: GPL-2.0-only */
/* The guard's two entries: guard_xdp at the card, guard_tcx behind it for links on which XDP does
 * not work (virtual links that hand over unsegmented frames). docs/kernel.md has the picture.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bpf/lib/classify.h"
#include "bpf/lib/cookie.h"
#include "bpf/lib/guard_core.h"

#define MP_TCX_NEXT (-1)
#define MP_TCX_DROP 2
#define MP_PULLED   384 /* Ethernet, two tags, the longest sane chain of headers */

/* ---- XDP ---- */

static __noinline int xdp_classify(struct xdp_md *x, __u32 off, __u32 there, __be16 dport)
{
    if (mp_has_frags) { /* bpf_xdp_load_bytes came with them */
        MP_CLASSIFY_PAYLOAD(bpf_xdp_load_bytes, x, off, there, dport);
    }
    return 0;
}

SEC("xdp.frags")
int guard_xdp(struct xdp_md *x)
{
    struct mp_pkt p = {.data = (void *)(long)x->data, .end = (void *)(long)x->data_end};
    p.at = p.data;
    p.len = mp_has_frags ? bpf_xdp_get_buff_len(x) : (__u32)(x->data_end - x->data);
    switch (judge(&p, 1, 1)) {
    case MP_DROP:
        return XDP_DROP;
    case MP_COOKIE: {
        int rc = answer_syn(x, &p);
        return rc == 0 ? XDP_PASS : rc > 0 ? XDP_TX : XDP_DROP;
    }
    case MP_CLASSIFY:
        xdp_classify(x, p.payload_off, p.payload_len, p.dport);
        return XDP_PASS;
    default:
        return XDP_PASS;
    }
}

/* ---- tcx ---- */

static __noinline int tcx_classify(struct __sk_buff *skb, __u32 off, __u32 there, __be16 dport)
{
    MP_CLASSIFY_PAYLOAD(bpf_skb_load_bytes, skb, off, there, dport);
    return 0;
}

MP_AI void look(struct mp_pkt *p, struct __sk_buff *skb)
{
    __builtin_memset(p, 0, sizeof(*p));
    p->data = (void *)(long)skb->data;
    p->end = (void *)(long)skb->data_end;
    p->at = p->data;
    p->len = skb->len;
    p->gso = skb->gso_segs > 1;
}

SEC("tc")
int guard_tcx(struct __sk_buff *skb)
{
    struct mp_pkt p;
    __u32 packets = skb->gso_segs > 1 ? skb->gso_segs : 1;
    look(&p, skb);
    enum mp_verdict v = judge(&p, packets, 0);
    if (v == MP_PULL) {
        bpf_skb_pull_data(skb, skb->len < MP_PULLED ? skb->len : MP_PULLED);
        look(&p, skb);
        v = judge(&p, packets, 1);
    }
    if (v == MP_CLASSIFY) {
        tcx_classify(skb, p.payload_off, p.payload_len, p.dport);
    }
    return v == MP_DROP ? MP_TCX_DROP : MP_TCX_NEXT;
}

char LICENSE[] SEC("license") = "GPL";
