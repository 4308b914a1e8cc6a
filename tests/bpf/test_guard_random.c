/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Random frames, half of them broken in some way: the verdict of the kernel programs is that of the
 * reference. GUARD_PACKETS says how many; GUARD_SEED which. */
#include <inttypes.h>
#include <time.h>
#include <unistd.h>

#include "frames.h"
#include "guard_ref.h"
#include "guard_run.h"

#define ROUND 20000 /* packets between two times of forgetting all sources */

static uint64_t state;
static uint32_t rnd(uint32_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % n;
}

/* Denied: 10.99.0.0/28 and fd00:0:0:<0-7>::/64; allowed of these: the odd ones. 10.99.0.16/28 has
 * expired. */
static bool denied(uint8_t family, const uint8_t *a)
{
    if (family == 4) {
        return a[0] == 10 && a[1] == 99 && a[2] == 0 && a[3] < 16;
    }
    return a[0] == 0xfd && memcmp(a + 1, "\0\0\0\0\0\0", 6) == 0 && a[7] < 8;
}
static bool allowed(uint8_t family, const uint8_t *a)
{
    if (family == 4) {
        return a[0] == 10 && a[1] == 99 && a[2] == 0 && a[3] < 16 && a[3] % 2 == 1;
    }
    return a[0] == 0xfd && memcmp(a + 1, "\0\0\0\0\0\0", 6) == 0 && a[7] < 8 && a[7] % 2 == 1;
}

static void set_lists(const struct run *r)
{
    struct mp_guard_config c = {.syn_window_ns = RUN_HOUR_NS,
                                .syn_max = 4,
                                .syn_enabled = 1,
                                .deny4 = 1,
                                .deny6 = 1,
                                .allow4 = 1,
                                .allow6 = 1};
    run_config(r, &c);
    run_rate(r, RUN_HOUR_NS, 40, true);
    run_deny(r, 4, (const uint8_t[4]){10, 99, 0, 0}, 28, 0);
    run_deny(r, 4, (const uint8_t[4]){10, 99, 0, 16}, 28, 1);
    run_deny(r, 6, (const uint8_t[16]){0xfd}, 61, 0);
    for (uint8_t i = 1; i < 16; i += 2) {
        run_allow(r, 4, (const uint8_t[4]){10, 99, 0, i}, 32);
        run_allow(r, 6, (const uint8_t[16]){0xfd, 0, 0, 0, 0, 0, 0, i < 8 ? i : 1}, 64);
    }
}

static void make(struct frame *f)
{
    static const uint32_t protos[] = {6, 6, 6, 6, 17, 17, 1, 50, 59, 0};
    static const uint32_t flags[] = {TCP_SYN,           TCP_SYN, TCP_ACK, TCP_ACK,
                                     TCP_ACK | TCP_PSH, TCP_RST, TCP_FIN};
    static const uint32_t exts[] = {0, 43, 44, 51, 60, 135};
    static const uint32_t ports[] = {80, 443, 8080, 10000, 50051, 22};
    static const char *payloads[] = {"", "GET / HTTP/1.1\r\nUpgrade: x\r\n", "\x16\3\1",
                                     "PRI * HTTP", "xyz"};
    uint32_t proto = protos[rnd(10)], n_ext = 0, kinds[9];
    put_eth(f);
    for (uint32_t i = rnd(6); i > 3; i--) {
        put_tag(f, rnd(3) ? 0x8100 : rnd(2) ? 0x88a8 : 0x9100);
    }
    if (rnd(2)) {
        uint32_t frag = rnd(12) ? 0 : rnd(4) | (rnd(2) ? 0x2000u : 0);
        put_ip4(f, 0x0a630000 + rnd(64), proto, rnd(4) ? 0 : 4 * rnd(11), frag);
    } else {
        n_ext = rnd(3) ? 0 : rnd(9);
        for (uint32_t i = 0; i < n_ext; i++) {
            kinds[i] = exts[rnd(6)];
        }
        put_ip6(f, 0xfd00000000000000u + rnd(64), rnd(1000), n_ext > 0 ? kinds[0] : proto);
        for (uint32_t i = 0; i < n_ext; i++) {
            uint32_t next = i + 1 < n_ext ? kinds[i + 1] : proto;
            if (kinds[i] == 44) {
                put_frag6(f, next, rnd(3) ? 0 : rnd(3), (int)rnd(2));
            } else {
                put_ext(f, kinds[i], next, rnd(3));
            }
        }
    }
    const char *payload = payloads[rnd(5)];
    if (proto == 6) {
        put_tcp(f, ports[rnd(6)], rnd(30) ? flags[rnd(7)] : rnd(256), rnd(2) ? 0 : 4 * rnd(11));
        put_text(f, payload);
    } else if (proto == 17) {
        put_udp(f, 53, (uint32_t)strlen(payload));
        put_text(f, payload);
    }
    end_ip(f);
}

static void spoil(struct frame *f)
{
    switch (rnd(5)) {
    case 0: /* any bytes behind the addresses of Ethernet */
        for (uint32_t i = 1 + rnd(4); i > 0; i--) {
            f->b[12 + rnd(f->n - 12)] = (uint8_t)rnd(256);
        }
        break;
    case 1:
        f->n = 15 + rnd(f->n - 14);
        break;
    case 2:
        f->n = 15 + rnd(f->n - 14);
        if (f->n > f->l3 + 6) {
            end_ip(f);
        }
        break;
    case 3:
        set16(f, f->l3 + (f->family == 4 ? 2 : 4), rnd(2) ? rnd(200) : rnd(65536));
        break;
    default:
        for (uint32_t i = rnd(60); i > 0; i--) {
            put8(f, rnd(256));
        }
        break;
    }
}

static void show(const struct frame *f, bool tcx, int got, int expected)
{
    printf("# %s: %d, the reference says %d:", tcx ? "tcx" : "xdp", got, expected);
    for (uint32_t i = 0; i < f->n; i++) {
        printf("%s%02x", i % 4 == 0 ? " " : "", f->b[i]);
    }
    printf("\n");
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

int main(void)
{
    static struct ref_source sources[REF_SOURCES];
    struct ref ref = {
        .max_packets = 40, .max_syns = 4, .denied = denied, .allowed = allowed, .sources = sources};
    struct run run;
    const char *cannot = run_cannot();
    if (cannot != NULL) {
        printf("1..0 # SKIP %s\n", cannot);
        return 0;
    }
    uint64_t packets = number("GUARD_PACKETS", 200000),
             seed = number("GUARD_SEED", (uint64_t)time(NULL));
    uint64_t wrong = 0, dropped = 0, refused = 0, malformed[MP_GUARD_MALFORMED_N] = {0};
    state = seed * 0x9e3779b97f4a7c15u + 1;
    if (!run_open(&run, true)) {
        printf("not ok 1 - the guard loads\n1..1\n");
        return 1;
    }
    set_lists(&run);
    printf("# GUARD_SEED=%" PRIu64 " GUARD_PACKETS=%" PRIu64 "\n", seed, packets);
    for (uint64_t i = 0; i < packets && wrong < 5; i++) {
        struct frame f;
        if (i % ROUND == 0) {
            run_forget(&run);
            memset(sources, 0, sizeof(sources));
        }
        make(&f);
        if (rnd(2)) {
            spoil(&f);
        }
        bool tcx = rnd(2);
        int got = run_one(&run, tcx, f.b, f.n, NULL, NULL);
        if (got == RUN_REFUSED && tcx && f.n < RUN_TCX_MIN) {
            refused++;
            continue;
        }
        int expected = ref_judge(&ref, f.b, f.n);
        if (expected < MP_GUARD_MALFORMED_N) {
            malformed[expected]++;
        }
        dropped += got == RUN_DROP;
        if (got != (ref_passes(expected) ? RUN_PASS : RUN_DROP)) {
            show(&f, tcx, got, expected);
            wrong++;
        }
    }
    printf("%sok 1 - verdicts\n", wrong > 0 ? "not " : "");
    struct mp_guard_counters c;
    struct mp_guard_stats s;
    bool counted = true;
    run_counters(&run, &c, &s);
    for (int i = 0; i < MP_GUARD_MALFORMED_N; i++) {
        if (c.n[i] != malformed[i]) {
            printf("# reason %d: counted %llu, the reference %" PRIu64 "\n", i, c.n[i],
                   malformed[i]);
            counted = false;
        }
    }
    counted &= s.dropped == dropped && s.total_packets == packets - refused;
    printf("# %" PRIu64 " dropped, %" PRIu64 " not run by the kernel\n", dropped, refused);
    printf("%sok 2 - counters\n", counted || wrong > 0 ? "" : "not ");
    printf("1..2\n");
    mp_guard_bpf__destroy(run.o);
    return wrong > 0 || !counted;
}
