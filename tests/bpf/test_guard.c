/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Each branch of both entries on frames made by hand: verdict, counters, maps. */
#include <time.h>
#include <unistd.h>

#include "frames.h"
#include "guard_ref.h"
#include "guard_run.h"
#include "unit/t.h"

#define NET6 0xfd00000000000000u

static struct run run;
static bool tcx; /* which entry is under test */

static void calm(void)
{
    struct mp_guard_config c = {.syn_window_ns = RUN_HOUR_NS,
                                .syn_max = 1000,
                                .syn_enabled = 1,
                                .mss4 = 1460,
                                .mss6 = 1440};
    run_rate(&run, RUN_HOUR_NS, 1000000, true);
    run_config(&run, &c);
    run_forget(&run);
    run_clear(bpf_map__fd(run.o->maps.deny4_map));
    run_clear(bpf_map__fd(run.o->maps.deny6_map));
    run_clear(bpf_map__fd(run.o->maps.allow4_map));
    run_clear(bpf_map__fd(run.o->maps.allow6_map));
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct seen {
    struct mp_guard_counters c;
    struct mp_guard_stats s;
};
static void see(struct seen *s)
{
    run_counters(&run, &s->c, &s->s);
}

/* Runs the frame; true when it ended as expected: REF_PASS, REF_PASS_OTHER, or a reason. */
static bool ends(const struct frame *f, int expected)
{
    struct seen a, b;
    see(&a);
    int got = run_one(&run, tcx, f->b, f->n, NULL, NULL);
    see(&b);
    if (got == RUN_REFUSED && tcx && f->n < RUN_TCX_MIN) {
        return true;
    }
    bool pass = ref_passes(expected);
    if (got != (pass ? RUN_PASS : RUN_DROP)) {
        printf("# verdict %d, expected %s\n", got, pass ? "pass" : "drop");
        return false;
    }
    if (b.s.total_packets != a.s.total_packets + 1 || b.s.total_bytes != a.s.total_bytes + f->n ||
        b.s.dropped != a.s.dropped + !pass) {
        printf("# totals are wrong: bytes %llu\n", b.s.total_bytes - a.s.total_bytes);
        return false;
    }
    for (int i = 0; i < MP_GUARD_MALFORMED_N; i++) {
        uint64_t delta = b.c.n[i] - a.c.n[i];
        if (delta != (i == expected)) {
            printf("# reason %d counted %d, expected reason %d\n", i, (int)delta, expected);
            return false;
        }
    }
    return true;
}
#define ENDS(expected) T_OK(ends(&f, expected))

static struct frame f;

static void tcp4(uint32_t flags)
{
    put_eth(&f);
    put_ip4(&f, 0x0a630002, 6, 0, 0);
    put_tcp(&f, 80, flags, 0);
    end_ip(&f);
}
static void tcp6(uint32_t flags)
{
    put_eth(&f);
    put_ip6(&f, NET6, 2, 6);
    put_tcp(&f, 80, flags, 0);
    end_ip(&f);
}

static void whole_packets_pass(void)
{
    calm();
    tcp4(TCP_SYN);
    ENDS(REF_PASS);
    tcp4(TCP_ACK);
    ENDS(REF_PASS);
    tcp6(TCP_SYN);
    ENDS(REF_PASS);
    tcp6(TCP_ACK | TCP_FIN);
    ENDS(REF_PASS);
    put_eth(&f);
    put_ip4(&f, 0x0a630002, 17, 0, 0);
    put_udp(&f, 53, 4);
    put_text(&f, "abcd");
    end_ip(&f);
    ENDS(REF_PASS);
    put_eth(&f);
    put_ip4(&f, 0x0a630002, 1, 0, 0); /* ICMP */
    put32(&f, 0);
    end_ip(&f);
    ENDS(REF_PASS);
    /* Padding behind the packet is no part of it. */
    tcp4(TCP_ACK);
    put32(&f, 0);
    ENDS(REF_PASS);
}

static void not_ip_passes(void)
{
    calm();
    put_eth(&f);
    put16(&f, 0x0806);
    put32(&f, 1);
    ENDS(REF_PASS_OTHER);
    put_eth(&f);
    put_tag(&f, 0x8100);
    put_tag(&f, 0x8100);
    put_tag(&f, 0x8100); /* a third tag is not looked behind */
    put16(&f, 0x0800);
    put32(&f, 1);
    ENDS(REF_PASS_OTHER);
}

static void tags(void)
{
    static const uint32_t tpid[] = {0x8100, 0x88a8, 0x9100};
    calm();
    for (size_t i = 0; i < 3; i++) {
        for (int two = 0; two < 2; two++) {
            for (int bad = 0; bad < 2; bad++) {
                put_eth(&f);
                put_tag(&f, tpid[i]);
                if (two) {
                    put_tag(&f, 0x8100);
                }
                put_ip4(&f, 0x0a630002, 6, 0, 0);
                put_tcp(&f, 80, bad ? 0 : TCP_ACK, 0);
                end_ip(&f);
                ENDS(bad ? MP_GUARD_TCP_FLAGS : REF_PASS);
            }
        }
    }
    put_eth(&f);
    put_tag(&f, 0x88a8);
    put_tag(&f, 0x8100);
    put_ip6(&f, NET6, 2, 6);
    put_tcp(&f, 80, 0, 0);
    end_ip(&f);
    ENDS(MP_GUARD_TCP_FLAGS);
}

static void ip4_headers(void)
{
    calm();
    for (uint32_t options = 0; options <= 40; options += 4) {
        put_eth(&f);
        put_ip4(&f, 0x0a630002, 6, options, 0);
        put_tcp(&f, 80, TCP_ACK, 0);
        end_ip(&f);
        ENDS(REF_PASS);
        f.b[f.l4 + 13] = 0;
        ENDS(MP_GUARD_TCP_FLAGS); /* so the flags were found behind the options */
    }
    tcp4(TCP_ACK);
    f.b[f.l3] = 0x44;
    ENDS(MP_GUARD_IP4_HEADER);
    f.b[f.l3] = 0x55;
    ENDS(MP_GUARD_IP4_HEADER);
    tcp4(TCP_ACK);
    set16(&f, f.l3 + 2, 19);
    ENDS(MP_GUARD_IP4_LENGTH);
    set16(&f, f.l3 + 2, f.n - f.l3 + 1);
    ENDS(MP_GUARD_IP4_LENGTH);
    set16(&f, f.l3 + 2, 0);
    ENDS(MP_GUARD_IP4_LENGTH);
}

static void tcp_headers(void)
{
    calm();
    for (uint32_t flags = 0; flags < 256; flags++) {
        uint32_t six = flags & 63;
        bool bad =
            six == 0 || (six & 3) == 3 || (six & 6) == 6 || six == (TCP_FIN | TCP_PSH | TCP_URG);
        tcp4(flags);
        ENDS(bad ? MP_GUARD_TCP_FLAGS : REF_PASS);
    }
    for (uint32_t options = 0; options <= 40; options += 4) {
        put_eth(&f);
        put_ip4(&f, 0x0a630002, 6, 0, 0);
        put_tcp(&f, 80, TCP_ACK, options);
        end_ip(&f);
        ENDS(REF_PASS);
        f.n--;
        end_ip(&f);
        ENDS(options == 0 ? MP_GUARD_TCP_SHORT : MP_GUARD_TCP_OFFSET);
    }
    tcp4(TCP_ACK);
    f.b[f.l4 + 12] = 0x40;
    ENDS(MP_GUARD_TCP_OFFSET);
    f.b[f.l4 + 12] = 0x60;
    ENDS(MP_GUARD_TCP_OFFSET);
}

static void udp_headers(void)
{
    calm();
    for (uint32_t stated = 0; stated < 20; stated++) {
        put_eth(&f);
        put_ip4(&f, 0x0a630002, 17, 0, 0);
        put_udp(&f, 53, 4);
        put_text(&f, "abcd");
        end_ip(&f);
        set16(&f, f.l4 + 4, stated);
        ENDS(stated < 8 || stated > 12 ? MP_GUARD_UDP_LENGTH : REF_PASS);
    }
    put_eth(&f);
    put_ip6(&f, NET6, 2, 17);
    put(&f, "\0\0\0\0\0\0\0", 7);
    end_ip(&f);
    ENDS(MP_GUARD_UDP_SHORT);
}

static void fragments(void)
{
    struct seen a, b;
    calm();
    for (uint32_t offset = 0; offset < 4; offset++) {
        for (int more = 0; more < 2; more++) {
            for (int tcp = 0; tcp < 2; tcp++) {
                see(&a);
                put_eth(&f);
                put_ip4(&f, 0x0a630002, tcp ? 6 : 17, 0, offset | (more ? 0x2000u : 0));
                if (tcp) {
                    put_tcp(&f, 80, TCP_ACK, 0);
                } else {
                    put_udp(&f, 80, 100); /* the rest is in other fragments */
                }
                end_ip(&f);
                bool tiny = offset == 1 && tcp, whole = offset == 0 && !more;
                ENDS(tiny            ? MP_GUARD_TINY_FRAGMENT
                     : whole && !tcp ? MP_GUARD_UDP_LENGTH
                                     : REF_PASS);
                see(&b);
                T_EQ(b.c.n[MP_GUARD_FRAGMENTS] - a.c.n[MP_GUARD_FRAGMENTS], !tiny && !whole);
                put_eth(&f);
                put_ip6(&f, NET6, 2, 44);
                put_frag6(&f, tcp ? 6 : 17, offset, more);
                put_tcp(&f, 80, tcp ? TCP_ACK : 0, 0);
                if (!tcp) {
                    set16(&f, f.l4 + 4, 100);
                }
                end_ip(&f);
                ENDS(tiny            ? MP_GUARD_TINY_FRAGMENT
                     : whole && !tcp ? MP_GUARD_UDP_LENGTH
                                     : REF_PASS);
            }
        }
    }
    /* The header of the first fragment must be whole. */
    put_eth(&f);
    put_ip4(&f, 0x0a630002, 6, 0, 0x2000);
    put32(&f, 0);
    put32(&f, 0);
    end_ip(&f);
    ENDS(MP_GUARD_TCP_SHORT);
}

static void ip6_extensions(void)
{
    static const uint32_t kinds[] = {0, 43, 60, 51, 135, 139, 140};
    calm();
    for (size_t k = 0; k < 7; k++) {
        for (uint32_t n = 0; n <= MP_GUARD_EXT_MAX + 1; n++) {
            put_eth(&f);
            put_ip6(&f, NET6, 2, n == 0 ? 6 : kinds[k]);
            for (uint32_t i = 0; i < n; i++) {
                put_ext(&f, kinds[k], i + 1 == n ? 6 : kinds[k], i % 3);
            }
            put_tcp(&f, 80, 0, 0);
            end_ip(&f);
            ENDS(n > MP_GUARD_EXT_MAX ? MP_GUARD_IP6_CHAIN : MP_GUARD_TCP_FLAGS);
        }
        put_eth(&f);
        put_ip6(&f, NET6, 2, kinds[k]);
        put_ext(&f, kinds[k], 6, 1);
        end_ip(&f);
        f.b[f.l3 + 41] = 200; /* longer than the packet */
        ENDS(MP_GUARD_IP6_EXT);
    }
    tcp6(TCP_ACK);
    f.b[f.l3] = 0x40;
    ENDS(MP_GUARD_IP6_HEADER);
    tcp6(TCP_ACK);
    set16(&f, f.l3 + 4, f.n - f.l3 - 39);
    ENDS(MP_GUARD_IP6_LENGTH);
    put_eth(&f);
    put_ip6(&f, NET6, 2, 59);
    end_ip(&f);
    ENDS(REF_PASS);
    put_eth(&f);
    put_ip6(&f, NET6, 2, 50); /* ESP: nothing above is readable */
    put32(&f, 1);
    end_ip(&f);
    ENDS(REF_PASS);
}

/* Cut at every byte, with the lengths as they were and with lengths that fit the cut. */
static bool cut_everywhere(const struct frame *whole)
{
    for (uint32_t n = 15; n <= whole->n; n++) {
        for (int fits = 0; fits < 2; fits++) {
            struct frame g = *whole;
            struct ref_packet p;
            g.n = n;
            if (fits && n >= g.l3 + (g.family == 4 ? 20u : 40u)) {
                end_ip(&g);
            }
            if (!ends(&g, ref_parse(g.b, g.n, &p))) {
                printf("# cut at %u of %u, lengths %s\n", n, whole->n, fits ? "fit" : "as before");
                return false;
            }
        }
    }
    return true;
}

static void truncation(void)
{
    calm();
    for (int tagged = 0; tagged < 3; tagged++) {
        for (int kind = 0; kind < 4; kind++) {
            put_eth(&f);
            for (int i = 0; i < tagged; i++) {
                put_tag(&f, i == 0 && tagged == 2 ? 0x88a8 : 0x8100);
            }
            if (kind < 2) {
                put_ip4(&f, 0x0a630002, kind == 0 ? 6 : 17, 8, 0);
            } else {
                put_ip6(&f, NET6, 2, 0);
                put_ext(&f, 0, 60, 1);
                put_ext(&f, 60, kind == 2 ? 6 : 17, 0);
            }
            if (kind % 2 == 0) {
                put_tcp(&f, 80, TCP_ACK | TCP_PSH, 12);
                put_text(&f, "GET / HTTP/1.1\r\n");
            } else {
                put_udp(&f, 53, 0);
            }
            end_ip(&f);
            T_OK(cut_everywhere(&f));
        }
    }
}

static void rate_windows(void)
{
    struct seen a, b;
    calm();
    run_rate(&run, RUN_HOUR_NS, 5, true);
    see(&a);
    for (int i = 1; i <= 8; i++) {
        tcp4(TCP_ACK);
        ENDS(i <= 5 ? REF_PASS : REF_RATE);
        tcp6(TCP_ACK);
        f.b[f.l3 + 23] = (uint8_t)i; /* another host of the same /64 */
        ENDS(i <= 5 ? REF_PASS : REF_RATE);
    }
    see(&b);
    T_EQ(b.s.rate_limited - a.s.rate_limited, 6);
    struct mp_guard_window w;
    uint32_t key = __builtin_bswap32(0x0a630002);
    T_OK(bpf_map_lookup_elem(bpf_map__fd(run.o->maps.rate_limit_map), &key, &w) == 0);
    T_EQ(w.packet_count, 5);
    T_EQ(w.dropped_count, 3);
    /* Another source is not concerned. */
    tcp4(TCP_ACK);
    f.b[f.l3 + 15] = 9;
    ENDS(REF_PASS);
    /* The window is over: it begins anew with 1. */
    w.last_reset_ns = now_ns() - RUN_HOUR_NS - 1000000;
    T_OK(bpf_map_update_elem(bpf_map__fd(run.o->maps.rate_limit_map), &key, &w, BPF_ANY) == 0);
    tcp4(TCP_ACK);
    ENDS(REF_PASS);
    T_OK(bpf_map_lookup_elem(bpf_map__fd(run.o->maps.rate_limit_map), &key, &w) == 0);
    T_EQ(w.packet_count, 1);
    T_EQ(w.dropped_count, 3);
    /* Off. */
    run_rate(&run, RUN_HOUR_NS, 0, false);
    ENDS(REF_PASS);
}

static void syn_windows(void)
{
    struct seen a, b;
    struct mp_guard_config c = {.syn_window_ns = RUN_HOUR_NS, .syn_max = 3, .syn_enabled = 1};
    calm();
    run_config(&run, &c);
    see(&a);
    for (int i = 1; i <= 5; i++) {
        tcp4(TCP_SYN);
        ENDS(i <= 3 ? REF_PASS : REF_SYN);
        tcp6(TCP_SYN);
        ENDS(i <= 3 ? REF_PASS : REF_SYN);
        tcp4(TCP_SYN | TCP_ACK); /* a server's answer is no attempt */
        ENDS(REF_PASS);
        tcp4(TCP_ACK);
        ENDS(REF_PASS);
    }
    see(&b);
    T_EQ(b.c.n[MP_GUARD_SYN_DROPPED] - a.c.n[MP_GUARD_SYN_DROPPED], 4);
    c.syn_enabled = 0;
    run_config(&run, &c);
    tcp4(TCP_SYN);
    ENDS(REF_PASS);
}

static void lists(void)
{
    struct seen a, b;
    struct mp_guard_config c = {.deny4 = 1, .deny6 = 1, .allow4 = 1, .allow6 = 1};
    static const uint8_t net4[4] = {10, 99, 0, 0}, host4[4] = {10, 99, 0, 2};
    static const uint8_t net6[16] = {0xfd}, host6[16] = {0xfd, [15] = 2};
    calm();
    run_config(&run, &c);
    run_deny(&run, 4, net4, 24, 0);
    run_deny(&run, 6, net6, 64, now_ns() + RUN_HOUR_NS);
    see(&a);
    tcp4(TCP_ACK);
    ENDS(REF_DENIED);
    tcp4(0); /* also what is malformed counts as denied */
    ENDS(REF_DENIED);
    tcp6(TCP_ACK);
    ENDS(REF_DENIED);
    see(&b);
    T_EQ(b.c.n[MP_GUARD_DENIED] - a.c.n[MP_GUARD_DENIED], 3);
    struct mp_guard_prefix4 k = {24, {10, 99, 0, 0}};
    struct mp_guard_denial d;
    T_OK(bpf_map_lookup_elem(bpf_map__fd(run.o->maps.deny4_map), &k, &d) == 0);
    T_EQ(d.hits, 2);
    tcp4(TCP_ACK);
    f.b[f.l3 + 14] = 1; /* 10.99.1.2 */
    ENDS(REF_PASS);
    /* The allow list wins, however short its prefix. */
    run_allow(&run, 4, net4, 8);
    run_allow(&run, 6, host6, 128);
    tcp4(TCP_ACK);
    ENDS(REF_PASS);
    tcp6(TCP_ACK);
    ENDS(REF_PASS);
    run_rate(&run, RUN_HOUR_NS, 1, true);
    tcp4(TCP_ACK);
    ENDS(REF_PASS);
    ENDS(REF_PASS);
    see(&b);
    T_OK(b.c.n[MP_GUARD_EXEMPT] - a.c.n[MP_GUARD_EXEMPT] >= 4);
    /* Expired. */
    run_clear(bpf_map__fd(run.o->maps.allow4_map));
    run_rate(&run, RUN_HOUR_NS, 1000, true);
    run_deny(&run, 4, host4, 32, now_ns() - 1);
    tcp4(TCP_ACK);
    ENDS(REF_PASS);
    see(&b);
    T_EQ(b.c.n[MP_GUARD_EXPIRED] - a.c.n[MP_GUARD_EXPIRED], 1);
    /* An empty list is not looked at. */
    c.deny6 = 0;
    run_clear(bpf_map__fd(run.o->maps.allow6_map));
    run_config(&run, &c);
    tcp6(TCP_ACK);
    ENDS(REF_PASS);
}

enum { HTTP, HTTPS, HTTP2, GRPC, WEBSOCKET, NOTHING };
static bool is_class(uint32_t dport, const void *payload, uint32_t n, int expected)
{
    struct seen a, b;
    put_eth(&f);
    put_ip4(&f, 0x0a630002, 6, 0, 0);
    put_tcp(&f, dport, TCP_ACK | TCP_PSH, 12);
    put(&f, payload, n);
    end_ip(&f);
    see(&a);
    if (!ends(&f, REF_PASS)) {
        return false;
    }
    see(&b);
    const uint64_t delta[] = {
        b.s.http_packets - a.s.http_packets, b.s.https_packets - a.s.https_packets,
        b.s.http2_packets - a.s.http2_packets, b.s.grpc_packets - a.s.grpc_packets,
        b.s.websocket_packets - a.s.websocket_packets};
    for (int i = 0; i < NOTHING; i++) {
        if (delta[i] != (i == expected)) {
            printf("# port %u \"%.8s\": class %d counted %d\n", dport, (const char *)payload, i,
                   (int)delta[i]);
            return false;
        }
    }
    return true;
}
#define CLASS(dport, text, expected) T_OK(is_class(dport, text, sizeof(text) - 1, expected))

static void classes(void)
{
    static const char *methods[] = {"POST /", "PUT /x", "DELETE", "HEAD /", "OPTION", "PATCH "};
    static const uint32_t plain[] = {80, 8080, 10000}, tls[] = {443, 8443, 10000};
    calm();
    for (size_t i = 0; i < 6; i++) {
        for (size_t k = 0; k < 3; k++) {
            T_OK(is_class(plain[k], methods[i], 6, HTTP));
            T_OK(is_class(plain[k], methods[i], 4, HTTP));
            T_OK(is_class(plain[k], methods[i], 3, NOTHING));
        }
        T_OK(is_class(443, methods[i], 6, NOTHING));
        T_OK(is_class(81, methods[i], 6, NOTHING));
    }
    for (size_t k = 0; k < 3; k++) {
        CLASS(plain[k], "GET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP);
        CLASS(plain[k], "GET /", HTTP);
        CLASS(plain[k], "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP2);
        CLASS(plain[k], "\0\0\x12\4\0\0\0\0\0\0\3\0\0\0d", HTTP2);
        CLASS(plain[k], "\0\0\x12\4\0\0\0\0\1\0\3\0\0\0d", NOTHING);
        CLASS(plain[k], "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUPGRADE: websocket\r\n\r\n",
              WEBSOCKET);
        CLASS(plain[k], "GET / HTTP/1.1\r\nX-Upgrade: no\r\n\r\n", HTTP);
        CLASS(tls[k], "\x16\3\1\2\0\1\0", HTTPS);
        CLASS(tls[k], "\x16\3\4\2\0\1\0", HTTPS);
        CLASS(tls[k], "\x17\3\3", HTTPS);
        CLASS(tls[k], "\x16\3\0\2\0", NOTHING);
        CLASS(tls[k], "\x16\3\5\2\0", NOTHING);
        CLASS(tls[k], "\x15\3\3\2\0", NOTHING);
        CLASS(tls[k], "\x16\3", NOTHING);
    }
    CLASS(50051, "anything", GRPC);
    T_OK(is_class(50051, "", 0, NOTHING));
    /* The header is looked for in the first 512 bytes. */
    char big[700];
    for (uint32_t at = 480; at < 520; at++) {
        memset(big, 'a', sizeof(big));
        memcpy(big, "GET /", 5);
        memcpy(big + at, "\r\nUpgrade:", 10);
        T_OK(is_class(80, big, sizeof(big), at + 10 <= 512 ? WEBSOCKET : HTTP));
    }
}

static void both(void (*test)(void))
{
    tcx = false;
    test();
    if (!t_case_failed) {
        tcx = true;
        test();
    }
    if (t_case_failed) {
        printf("# in the %s entry\n", tcx ? "tcx" : "XDP");
    }
}
#define BOTH(fn)                \
    static void both_##fn(void) \
    {                           \
        both(fn);               \
    }
BOTH(whole_packets_pass)
BOTH(not_ip_passes)
BOTH(tags)
BOTH(ip4_headers)
BOTH(tcp_headers)
BOTH(udp_headers)
BOTH(fragments)
BOTH(ip6_extensions)
BOTH(truncation)
BOTH(rate_windows)
BOTH(syn_windows)
BOTH(lists)
BOTH(classes)

int main(void)
{
    const char *cannot = run_cannot();
    if (cannot != NULL) {
        printf("1..0 # SKIP %s\n", cannot);
        return 0;
    }
    if (!run_open(&run, true)) {
        printf("not ok 1 - the guard loads\n1..1\n");
        return 1;
    }
    T_RUN(both_whole_packets_pass);
    T_RUN(both_not_ip_passes);
    T_RUN(both_tags);
    T_RUN(both_ip4_headers);
    T_RUN(both_tcp_headers);
    T_RUN(both_udp_headers);
    T_RUN(both_fragments);
    T_RUN(both_ip6_extensions);
    T_RUN(both_truncation);
    T_RUN(both_rate_windows);
    T_RUN(both_syn_windows);
    T_RUN(both_lists);
    T_RUN(both_classes);
    mp_guard_bpf__destroy(run.o);
    return T_DONE();
}
