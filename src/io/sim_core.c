/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The simulated world: clock, queue of coming events, scheduler, trace. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/hash.h"
#include "base/log.h"
#include "io/sim.h"
#include "io/sim_int.h"

#define DEFAULT_BUFFER (64 * 1024)

struct sim sim;

static uint64_t wall_ns(void)
{
    return SIM_WALL_NS + sim.now_ns;
}

static void take_opts(const struct mp_sim_opts *opts)
{
    uint64_t seed = sim.opts.seed;
    sim.opts = *opts;
    sim.opts.seed = seed;
    if (sim.opts.sock_buffer == 0) {
        sim.opts.sock_buffer = DEFAULT_BUFFER;
    }
    MP_ASSERT(sim.opts.latency_us_min <= sim.opts.latency_us_max);
}

void mp_sim_begin(const struct mp_sim_opts *opts)
{
    MP_ASSERT(!sim.active);
    bool print = sim.trace_print;
    memset(&sim, 0, sizeof(sim));
    sim.active = true;
    sim.trace_print = print;
    sim.opts.seed = opts->seed;
    take_opts(opts);
    /* Separate streams, so that one more fault in the world does not change what the harness plans.
     */
    mp_rand_seed(&sim.rand, opts->seed);
    mp_rand_seed(&sim.user, opts->seed ^ 0x9e3779b97f4a7c15ull);
    mp_rand_seed(&sim.ent, opts->seed ^ 0xd1b54a32d192ed03ull);
    /* Not at 0 (a time of 0 means "not set" in places) and not at a whole millisecond. */
    sim.now_ns = SIM_S + sim_between(0, SIM_MS);
    sim.hash = MP_FNV_SEED;
    sim.next_port = 32768;
    mp_list_init(&sim.listeners);
    mp_hash_set_key(0x6d61726368ull, 0x70726f7879ull);
    mp_log_set_clock(wall_ns);
}

static void report_leaks(void)
{
    for (uint32_t i = 0; i < sim.socks_made; i++) {
        const struct sim_sock *s = sim.socks[i];
        if (s) {
            fprintf(stderr, "simulation: descriptor %d (%s%s) is still open\n", s->fd,
                    s->kind == SIM_LISTENER ? "listener" : "stream", s->loop ? ", registered" : "");
        }
    }
    if (sim.loops_open > 0) {
        fprintf(stderr, "simulation: %u loops are still open\n", sim.loops_open);
    }
}

uint64_t mp_sim_end(void)
{
    MP_ASSERT(sim.active);
    MP_ASSERT(!sim.turn);
    for (size_t i = 0; i < sim.heap_n; i++) {
        if (sim.heap[i].conn) {
            sim_conn_unref(sim.heap[i].conn);
        }
    }
    if (sim.socks_open > 0 || sim.loops_open > 0) {
        report_leaks();
    }
    MP_ASSERT(sim.socks_open == 0);
    MP_ASSERT(sim.loops_open == 0);
    MP_ASSERT(sim.conns_open == 0);
    sim_dns_reset();
    free(sim.heap);
    free(sim.socks);
    sim.heap = NULL;
    sim.socks = NULL;
    sim.active = false;
    mp_log_set_clock(NULL);
    return sim.hash;
}

struct mp_rand *mp_sim_rand(void)
{
    return &sim.user;
}

uint64_t mp_sim_now_ns(void)
{
    return sim.now_ns;
}

uint32_t mp_sim_open_fds(void)
{
    return sim.socks_open;
}

void mp_sim_set_faults(const struct mp_sim_opts *opts)
{
    MP_ASSERT(sim.active);
    take_opts(opts);
}

bool sim_chance(uint32_t p_65536)
{
    return p_65536 > 0 && mp_rand_below(&sim.rand, 65536) < p_65536;
}

/* Uniform in [lo, hi]. */
uint64_t sim_between(uint64_t lo, uint64_t hi)
{
    MP_ASSERT(lo <= hi);
    uint64_t span = hi - lo;
    if (span == 0) {
        return lo;
    }
    if (span < UINT32_MAX) {
        return lo + mp_rand_below(&sim.rand, (uint32_t)span + 1);
    }
    return lo + mp_rand_u64(&sim.rand) % (span + 1);
}

uint64_t sim_latency_ns(void)
{
    return sim_between(sim.opts.latency_us_min * SIM_US, sim.opts.latency_us_max * SIM_US);
}

/* Trace */

void mp_sim_trace(const void *p, size_t n)
{
    sim.hash = mp_hash_fnv(sim.hash, p, n);
}

void mp_sim_trace_print(bool on)
{
    sim.trace_print = on;
}

void mp_sim_trace_event(const char *what, int64_t a, int64_t b, int64_t c)
{
    int64_t rec[4] = {(int64_t)sim.now_ns, a, b, c};
    mp_sim_trace(what, strlen(what));
    mp_sim_trace(rec, sizeof(rec));
    if (MP_UNLIKELY(sim.trace_print)) {
        fprintf(stderr, "%12.6f ms  %-9s %lld %lld %lld\n", (double)sim.now_ns / 1e6, what,
                (long long)a, (long long)b, (long long)c);
    }
}

/* Event queue: a binary heap. */

static bool before(const struct sim_ev *a, const struct sim_ev *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->tie < b->tie;
}

void sim_push(struct sim_ev ev)
{
    if (ev.at_ns < sim.now_ns) {
        ev.at_ns = sim.now_ns;
    }
    uint64_t shuffle = sim.opts.reorder ? mp_rand_u64(&sim.rand) << 40 : 0;
    ev.tie = shuffle | (++sim.seq & 0xffffffffffull);
    if (sim.heap_n == sim.heap_cap) {
        sim.heap_cap = sim.heap_cap ? sim.heap_cap * 2 : 64;
        sim.heap = realloc(sim.heap, sim.heap_cap * sizeof(*sim.heap));
        MP_ASSERT(sim.heap);
    }
    size_t i = sim.heap_n++;
    while (i > 0 && before(&ev, &sim.heap[(i - 1) / 2])) {
        sim.heap[i] = sim.heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    sim.heap[i] = ev;
}

static struct sim_ev pop(void)
{
    struct sim_ev top = sim.heap[0];
    struct sim_ev last = sim.heap[--sim.heap_n];
    size_t i = 0;
    for (;;) {
        size_t kid = 2 * i + 1;
        if (kid >= sim.heap_n) {
            break;
        }
        if (kid + 1 < sim.heap_n && before(&sim.heap[kid + 1], &sim.heap[kid])) {
            kid++;
        }
        if (!before(&sim.heap[kid], &last)) {
            break;
        }
        sim.heap[i] = sim.heap[kid];
        i = kid;
    }
    sim.heap[i] = last;
    return top;
}

static void run_event(const struct sim_ev *ev)
{
    switch (ev->kind) {
    case SIM_EV_CALL:
        mp_sim_trace_event("call", 0, 0, 0);
        ev->fn(ev->arg);
        break;
    case SIM_EV_WAKE:
        sim_loop_woken(ev->num);
        break;
    case SIM_EV_DNS:
        sim_dns_on_ev(ev->num);
        break;
    default:
        sim_conn_on_ev(ev);
        sim_conn_unref(ev->conn);
        break;
    }
}

/* The loop to run next and its time; among loops due together the seed chooses. */
static struct mp_loop *next_loop(uint64_t *ret_at)
{
    struct mp_loop *best = NULL;
    uint64_t best_at = SIM_NEVER;
    uint32_t ties = 0;
    for (uint32_t i = 0; i < sim.loops_made; i++) {
        struct mp_loop *l = sim.loops[i];
        uint64_t at = l ? sim_loop_due(l) : SIM_NEVER;
        if (at == SIM_NEVER || at > best_at) {
            continue;
        }
        ties = at < best_at ? 1 : ties + 1;
        if (ties == 1 || (sim.opts.reorder && mp_rand_below(&sim.rand, ties) == 0)) {
            best = l;
        }
        best_at = at;
    }
    *ret_at = best_at;
    return best;
}

bool sim_step(uint64_t limit_ns)
{
    MP_ASSERT(sim.active);
    MP_ASSERT(!sim.turn);
    uint64_t loop_at;
    struct mp_loop *l = next_loop(&loop_at);
    uint64_t ev_at = sim.heap_n > 0 ? sim.heap[0].at_ns : SIM_NEVER;
    uint64_t at = MP_MIN(loop_at, ev_at);
    if (at == SIM_NEVER || at > limit_ns) {
        return false;
    }
    sim.now_ns = MP_MAX(sim.now_ns, at);
    sim.steps++;
    bool loop_first = loop_at < ev_at;
    if (loop_at == ev_at && sim.opts.reorder) {
        loop_first = mp_rand_below(&sim.rand, 2) == 0;
    }
    if (loop_first) {
        sim_loop_turn(l);
        return true;
    }
    struct sim_ev ev = pop();
    run_event(&ev);
    return true;
}

/* When the next thing happens. */
static uint64_t next_at(void)
{
    uint64_t at = sim.heap_n > 0 ? sim.heap[0].at_ns : SIM_NEVER;
    for (uint32_t i = 0; i < sim.loops_made; i++) {
        uint64_t due = sim.loops[i] ? sim_loop_due(sim.loops[i]) : SIM_NEVER;
        at = MP_MIN(at, due);
    }
    return at;
}

bool mp_sim_run_until(bool (*pred)(void *arg), void *arg, uint64_t max_virtual_ms)
{
    uint64_t limit = sim.now_ns + max_virtual_ms * SIM_MS;
    bool held = pred && pred(arg);
    while (!held && sim_step(limit)) {
        held = pred && pred(arg);
    }
    if (!held && next_at() != SIM_NEVER) {
        /* The rest lies beyond the deadline: that much time has passed. */
        sim.now_ns = MP_MAX(sim.now_ns, limit);
        held = pred && pred(arg);
    }
    return held;
}

void mp_sim_at(uint64_t at_ns, void (*fn)(void *arg), void *arg)
{
    MP_ASSERT(sim.active);
    sim_push((struct sim_ev){.at_ns = at_ns, .kind = SIM_EV_CALL, .fn = fn, .arg = arg});
}
