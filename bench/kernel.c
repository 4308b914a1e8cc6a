/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the guard costs a packet: BPF_PROG_TEST_RUN, the best of several runs, beside the kernel's
 * own cost of the call. Prints JSON lines; bench/kernel.py makes the table. Run as root.
 */
#include <unistd.h>

#include "bpf/frames.h"
#include "bpf/guard_run.h"

#define RUNS   7
#define REPEAT 200000

static void show(const char *name, double ns, double target)
{
    printf("{\"row\": \"%s\", \"ns\": %.0f, \"target_ns\": %.0f}\n", name, ns, target);
    fflush(stdout);
}

static double once(int prog, const struct frame *f, int repeat)
{
    LIBBPF_OPTS(bpf_test_run_opts, t, .data_in = f->b, .data_size_in = f->n, .repeat = repeat);
    return bpf_prog_test_run_opts(prog, &t) == 0 ? t.duration : 1e9;
}

static double best(int prog, const struct frame *f)
{
    double ns = 1e9;
    for (int i = 0; i < RUNS; i++) {
        double one = once(prog, f, REPEAT);
        ns = one < ns ? one : ns;
    }
    return ns;
}

static void tcp(struct frame *f, uint32_t src, uint32_t dport, const char *text)
{
    put_eth(f);
    put_ip4(f, src, 6, 0, 0);
    put_tcp(f, dport, TCP_ACK | TCP_PSH, 12);
    put_text(f, text);
    end_ip(f);
}

/* 100,000 prefixes each, none of which is the packet's source. */
static void fill_lists(struct run *r)
{
    for (uint32_t i = 0; i < 100000; i++) {
        uint32_t deny = __builtin_bswap32(0x0b000000u + i * 97),
                 allow = __builtin_bswap32(0xc0000000u + i * 89);
        run_deny(r, 4, &deny, 24 + i % 9, 0);
        run_allow(r, 4, &allow, 24 + i % 9);
    }
}

int main(void)
{
    struct run r;
    struct frame f;
    struct mp_guard_config c = {.syn_window_ns = 1000000000, .syn_max = 1000, .syn_enabled = 1};
    const char *why = run_cannot();
    if (why != NULL || !run_open(&r, false)) {
        fprintf(stderr, "kernel bench: %s\n", why != NULL ? why : "the guard does not load");
        return 77;
    }
    run_config(&r, &c);
    run_rate(&r, RUN_HOUR_NS, 1ull << 60, true);
    tcp(&f, 0x0a630002, 9999, "data that no port of ours is for");
    show("guard warm, XDP", best(r.xdp, &f), 100);
    show("guard warm, tcx", best(r.tcx, &f), 100);
    tcp(&f, 0x0a630002, 443, "\x16\3\1\2\0\1\0\1\374\3\3 and more");
    show("guard warm, a TLS record is classified", best(r.xdp, &f), 100);
    tcp(&f, 0x0a630002, 80,
        "GET / HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\nUser-Agent: x\r\n\r\n");
    show("guard warm, a GET is scanned for an upgrade", best(r.xdp, &f), 0);
    tcp(&f, 0x0a630002, 9999, "data");
    /* Sources one after the other, a packet each: the fixed cost of the call is taken off. */
    double sum = 0, floor_ns = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        tcp(&f, 0x0a000000 + i, 9999, "data");
        (void)once(r.xdp, &f, 1);
    }
    for (uint32_t i = 0; i < 100000; i++) {
        tcp(&f, 0x0a000000 + (i * 7919u) % 100000, 9999, "data");
        sum += once(r.xdp, &f, 1);
    }
    tcp(&f, 0x0a630002, 9999, "data");
    for (int i = 0; i < 20000; i++) {
        floor_ns += once(r.xdp, &f, 1);
    }
    floor_ns = floor_ns / 20000 - best(r.xdp, &f);
    show("100,000 sources in turn, the call's own cost taken off", sum / 100000 - floor_ns, 500);
    fill_lists(&r);
    c.deny4 = c.allow4 = 100000;
    run_config(&r, &c);
    show("deny and allow lists of 100,000 prefixes", best(r.xdp, &f), 130);
    run_rate(&r, RUN_HOUR_NS, 1, true);
    c.deny4 = c.allow4 = 0;
    run_config(&r, &c);
    show("dropped by rate", best(r.xdp, &f), 80);
    run_deny(&r, 4, (const uint8_t[4]){10, 99, 0, 2}, 32, 0);
    c.deny4 = 1;
    run_config(&r, &c);
    show("dropped by the deny list of 100,000", best(r.xdp, &f), 80);
    mp_guard_bpf__destroy(r.o);
    return 0;
}
