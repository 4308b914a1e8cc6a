/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Control of the simulation (library mp_io_sim): one process, one thread, virtual time. Every loop
 * made with mp_loop_new belongs to the current simulation. The scheduler repeatedly picks the next
 * thing to happen (a byte arriving, a timer, a wake-up, a loop's turn) by virtual time and seed, so
 * a run is a pure function of its seed.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/rand.h"
#include "io/addr.h"
#include "io/loop.h"

struct mp_sim_opts {
    uint64_t seed;
    /* Probabilities in 1/65536. */
    uint32_t short_read, short_write; /* a call moves fewer bytes than it could */
    uint32_t reset;                   /* per delivered segment: the connection is reset instead */
    uint32_t connect_fail;
    uint32_t accept_fail;                    /* accept returns EMFILE once */
    uint32_t latency_us_min, latency_us_max; /* per segment, order kept within a connection */
    uint32_t wake_us_max;                    /* delay of mp_loop_wake */
    uint32_t turn_us_max;                    /* how long a loop's turn takes */
    uint32_t dns_fail;
    size_t sock_buffer; /* bytes per direction before EAGAIN; default 64 KiB */
    bool reorder;       /* shuffle the events of one turn */
};
/* One simulation at a time. Sets the hash key, entropy and log clock. */
void mp_sim_begin(const struct mp_sim_opts *opts);
/* Asserts that no descriptor and no loop is left open; returns the trace hash. */
uint64_t mp_sim_end(void);
struct mp_rand *mp_sim_rand(void);
uint64_t mp_sim_now_ns(void);
/* Runs events until pred(arg) is true, or nothing is left to happen, or the virtual deadline has
 * passed. True when pred held. */
bool mp_sim_run_until(bool (*pred)(void *arg), void *arg, uint64_t max_virtual_ms);
/* Runs fn at a virtual time. */
void mp_sim_at(uint64_t at_ns, void (*fn)(void *arg), void *arg);
/* Feeds the trace hash: every event does so itself; the harness adds what it observes. */
void mp_sim_trace(const void *p, size_t n);
/* The same with a name, so that a printed trace can be read. */
void mp_sim_trace_event(const char *what, int64_t a, int64_t b, int64_t c);
/* Prints every traced event on standard error, for a replay; survives mp_sim_end. */
void mp_sim_trace_print(bool on);
/* True after mp_loop_stop until the loop runs again: such a loop takes no turns, as its thread
 * would have left. */
bool mp_sim_loop_stopped(const struct mp_loop *l);
/* Answers of mp_dns_resolve; n 0 removes (NOT_FOUND). */
void mp_sim_dns_set(const char *name, const struct mp_addr *addrs, uint32_t n, uint32_t ttl_s);
/* Faults on demand. */
void mp_sim_reset_conn(int fd);
void mp_sim_set_faults(
    const struct mp_sim_opts *opts); /* probabilities from now on; seed is ignored */
uint32_t mp_sim_open_fds(void);
