/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What the guard's programs and user space share: the layouts of its maps. Every number is in the
 * machine's byte order unless its comment says network order. A change of a layout is a new
 * MP_GUARD_ABI: programs and maps of another number are never mixed (the pins lie in a folder that
 * bears it).
 */
#pragma once
#include <linux/types.h>

#define MP_GUARD_ABI 1

/* Map names as bpftool shows them: 15 characters at most are kept. */
#define MP_GUARD_SOURCES_MAX  1000000 /* rate_limit_map */
#define MP_GUARD_SOURCES6_MAX 262144  /* rate_limit6_map */
#define MP_GUARD_SYNS_MAX     131072  /* syn_limit_map, syn_limit6_map */
#define MP_GUARD_LIST_MAX     262144  /* allow and deny lists, each */

/* rate_limit_map, rate_limit6_map, syn_limit_map, syn_limit6_map: a source's current window. Key:
 * the IPv4 address (network order), or the first 8 bytes of the IPv6 address (its /64). */
struct mp_guard_window {
    __u64 packet_count;  /* let through in this window */
    __u64 last_reset_ns; /* CLOCK_MONOTONIC; start of the window */
    __u64 dropped_count; /* since the source is known */
};
_Static_assert(sizeof(struct mp_guard_window) == 24, "SPEC 1.5");

/* rate_limit_config_map[0] */
struct mp_guard_rate {
    __u64 window_ns;
    __u64 max_packets;
    __u32 enabled;
    __u32 pad;
};
_Static_assert(sizeof(struct mp_guard_rate) == 24, "SPEC 1.5");

/* stats_map[0], one of it for each CPU */
struct mp_guard_stats {
    __u64 total_packets, total_bytes;
    __u64 http_packets, https_packets, http2_packets, grpc_packets, websocket_packets;
    __u64 rate_limited, dropped;
};
_Static_assert(sizeof(struct mp_guard_stats) == 72, "SPEC 1.5");

/* guard_stats_map[0], one of it for each CPU: an array of counters by this index. The first ones,
 * up to MP_GUARD_MALFORMED_N, are the reasons for which a packet is malformed and dropped. */
enum mp_guard_counter {
    MP_GUARD_ETH_SHORT,     /* shorter than its Ethernet header and VLAN tags */
    MP_GUARD_IP4_SHORT,     /* shorter than its IPv4 header */
    MP_GUARD_IP4_HEADER,    /* version is not 4, or the header is shorter than 20 bytes */
    MP_GUARD_IP4_LENGTH,    /* the total length is less than the header or more than the frame */
    MP_GUARD_IP6_SHORT,     /* shorter than its IPv6 header */
    MP_GUARD_IP6_HEADER,    /* version is not 6 */
    MP_GUARD_IP6_LENGTH,    /* the payload length is more than the frame */
    MP_GUARD_IP6_EXT,       /* an extension header is cut off */
    MP_GUARD_IP6_CHAIN,     /* more than MP_GUARD_EXT_MAX extension headers */
    MP_GUARD_TCP_SHORT,     /* less than 20 bytes of TCP */
    MP_GUARD_TCP_OFFSET,    /* the data offset is less than 5, or beyond the end */
    MP_GUARD_TCP_FLAGS,     /* none at all, SYN with FIN or RST, FIN PSH URG without ACK */
    MP_GUARD_UDP_SHORT,     /* less than 8 bytes of UDP */
    MP_GUARD_UDP_LENGTH,    /* the length is less than 8 or beyond the end */
    MP_GUARD_TINY_FRAGMENT, /* a fragment that would rewrite a TCP header (RFC 3128) */
    MP_GUARD_MALFORMED_N,
    MP_GUARD_DENIED = MP_GUARD_MALFORMED_N, /* dropped: the source is on the deny list */
    MP_GUARD_SYN_DROPPED,                   /* dropped: too many SYNs of one source */
    MP_GUARD_EXEMPT,             /* would have been dropped, but the source is on the allow list */
    MP_GUARD_EXPIRED,            /* met a denial that had expired */
    MP_GUARD_SYN_COOKIES,        /* SYNs answered with a cookie */
    MP_GUARD_SYN_COOKIES_FAILED, /* an answer could not be built */
    MP_GUARD_IP4_PACKETS,
    MP_GUARD_IP6_PACKETS,
    MP_GUARD_OTHER_PACKETS, /* neither IPv4 nor IPv6: passed */
    MP_GUARD_FRAGMENTS,     /* passed */
    MP_GUARD_NOT_LINEAR,    /* headers beyond the first buffer: passed unread */
    MP_GUARD_COUNTERS_N
};
#define MP_GUARD_COUNTERS_MAX 48 /* of the map's value; room for more */
_Static_assert(MP_GUARD_COUNTERS_N <= MP_GUARD_COUNTERS_MAX, "the value has room");
struct mp_guard_counters {
    __u64 n[MP_GUARD_COUNTERS_MAX];
};

#define MP_GUARD_EXT_MAX  6 /* IPv6 extension headers of a packet */
#define MP_GUARD_VLAN_MAX 2

enum mp_guard_cookies {
    MP_GUARD_COOKIES_OFF,
    MP_GUARD_COOKIES_FLOOD, /* while more than flood_syns a second arrive on a CPU */
    MP_GUARD_COOKIES_ALWAYS
};

/* guard_config_map[0] */
struct mp_guard_config {
    __u64 syn_window_ns;
    __u64 syn_max;
    __u64 flood_syns; /* a second and CPU */
    __u32 syn_enabled;
    __u32 cookies;        /* enum mp_guard_cookies */
    __u32 deny4, deny6;   /* entries of the deny lists; 0: not looked at */
    __u32 allow4, allow6; /* entries of the allow lists; 0: not looked at */
    __u16 mss4, mss6;     /* in answers with a cookie */
    __u32 pad;
};
_Static_assert(sizeof(struct mp_guard_config) == 56, "no hidden padding");

/* guard_flood_map[0], one of it for each CPU */
struct mp_guard_flood {
    __u64 since_ns, syns, until_ns;
};

/* Keys of the lists. The prefix length is in the machine's order, the address in network order. */
struct mp_guard_prefix4 {
    __u32 prefixlen;
    __u8 addr[4];
};
struct mp_guard_prefix6 {
    __u32 prefixlen;
    __u8 addr[16];
};
_Static_assert(sizeof(struct mp_guard_prefix6) == 20, "the kernel's layout");

/* deny4_map, deny6_map */
struct mp_guard_denial {
    __u64 expires_ns; /* CLOCK_MONOTONIC; 0: never */
    __u64 since_ns;   /* CLOCK_MONOTONIC */
    __u64 hits;       /* packets dropped */
    __u32 origin;     /* user space's own: who asked for it */
    __u32 reason;     /* user space's own */
};
_Static_assert(sizeof(struct mp_guard_denial) == 32, "no hidden padding");

/* allow4_map, allow6_map */
struct mp_guard_allowance {
    __u32 origin; /* user space's own */
    __u32 pad;
};
