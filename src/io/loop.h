/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Event loop of one thread: descriptors, timers, end-of-turn tasks, wake-ups from other threads.
 *
 * Two implementations of this header and of io/sock.h, io/dns.h and io/entropy.h exist; a program
 * links one: loop_epoll.c + sock_os.c ...  the kernel (library mp_io) loop_sim.c + sock_sim.c ...
 * virtual time, in-memory sockets, seeded faults (library mp_io_sim)
 *
 * Descriptors are registered once, edge-triggered, for input, output and peer shutdown together
 * (epoll_ctl per request costs up to 1 us). Consequence for users: read until a short read or
 * EAGAIN, or remember that more may be there; write speculatively, on EAGAIN wait for MP_IO_OUT.
 *
 * One turn: wait -> clock is read -> ready descriptors -> due timers -> deferred tasks (including
 * those deferred meanwhile, up to a bound; the rest next turn without sleeping) -> hooks.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/list.h"
#include "base/timerwheel.h"

struct mp_loop;

enum {
    MP_IO_IN = 1,  /* bytes, a connection or end of stream may be read */
    MP_IO_OUT = 2, /* writing may go on */
    MP_IO_HUP = 4, /* the peer has shut down its writing side, or both are closed */
    MP_IO_ERR = 8  /* error state: the next call returns it */
};
/* When both directions are closed, or with MP_IO_ERR, IN and OUT are set too: neither call can
 * block. */

/* A registered descriptor, embedded in its owner. */
struct mp_io {
    void (*on_ready)(struct mp_io *io, unsigned events);
    int fd; /* -1: closed; no event is delivered any more, even one already fetched */
    uint32_t
        armed; /* private to the loop; 0 when not registered, so a zeroed mp_io counts as closed */
};

/* Work for the end of the turn; embedded. The usual way to free an object safely: its pointers may
 * still be on the stack of the caller or in the batch of fetched events. */
struct mp_task {
    struct mp_list link;
    void (*run)(struct mp_task *t);
};

/* NULL with errno set when descriptors are out. */
struct mp_loop *mp_loop_new(void);
/* Registered descriptors stay open, pending tasks do not run: close and turn the loop before. */
struct mp_loop *mp_loop_free(struct mp_loop *l);
/* Runs until mp_loop_stop. The calling thread owns the loop. */
void mp_loop_run(struct mp_loop *l);
/* One turn; waits at most max_wait_ms. */
void mp_loop_turn(struct mp_loop *l, uint32_t max_wait_ms);
/* Makes mp_loop_run return after the current turn. Owner thread; from others use a mailbox. */
void mp_loop_stop(struct mp_loop *l);

/* Registers a non-blocking descriptor. What is ready already makes an event in the next turn. On
 * failure the descriptor stays the caller's and io->fd is -1. */
MP_MUST_USE mp_err mp_io_open(struct mp_loop *l, struct mp_io *io, int fd,
                              void (*on_ready)(struct mp_io *io, unsigned events));
/* Listening sockets only: level-triggered, input only, so that accept may stop after a batch. */
MP_MUST_USE mp_err mp_io_open_listener(struct mp_loop *l, struct mp_io *io, int fd,
                                       void (*on_ready)(struct mp_io *io, unsigned events));
/* Stops and resumes events of a listener (accept paused by a limit). */
void mp_io_listener_pause(struct mp_loop *l, struct mp_io *io, bool paused);
/* Makes another event, in the next turn, of whatever is ready. For users that stop before EAGAIN so
 * that others get their turn. */
void mp_io_again(struct mp_loop *l, struct mp_io *io);
/* Unregisters and closes the descriptor. Harmless when closed already. */
void mp_io_close(struct mp_loop *l, struct mp_io *io);
/* Unregisters and gives the descriptor back, open; -1 when there is none. */
int mp_io_steal(struct mp_loop *l, struct mp_io *io);

/* Monotonic time, read once a turn. Never 0. */
uint64_t mp_loop_now_ns(const struct mp_loop *l);
static inline uint64_t mp_loop_now_ms_of(uint64_t ns)
{
    return ns / 1000000;
}
uint64_t mp_loop_now_ms(const struct mp_loop *l);
/* Reads the monotonic clock now (about 25 ns); for latencies inside a turn. */
uint64_t mp_loop_clock_ns(struct mp_loop *l);
/* Wall clock of this turn, ns since 1970. */
uint64_t mp_loop_wall_ns(const struct mp_loop *l);
/* "Sun, 06 Nov 1994 08:49:37 GMT" of this turn, 29 bytes, refreshed once a second. */
const char *mp_loop_http_date(struct mp_loop *l);

struct mp_wheel *mp_loop_wheel(struct mp_loop *l);
/* In ms from now (of this turn); at least the given time passes: the clock stands somewhere inside
 * its millisecond. */
static inline void mp_timer_in(struct mp_loop *l, struct mp_timer *t, uint64_t ms);

static inline bool mp_task_pending(const struct mp_task *t)
{
    return t->link.next != &t->link;
}
void mp_task_init(struct mp_task *t, void (*run)(struct mp_task *t));
/* Runs the task at the end of this turn. A task deferred twice runs once. */
void mp_task_defer(struct mp_loop *l, struct mp_task *t);
void mp_task_cancel(struct mp_task *t);

/* Called at the end of every turn, before sleeping. At most 8. */
void mp_loop_add_hook(struct mp_loop *l, void (*fn)(void *arg), void *arg);

/* Any thread: makes the loop's current or next wait return and on_wake run on the owner thread.
 * Several wakes may be merged into one. */
void mp_loop_set_on_wake(struct mp_loop *l, void (*fn)(void *arg), void *arg);
void mp_loop_wake(struct mp_loop *l);

/* What the loop did, for stats; owner writes, anyone reads. */
struct mp_loop_stats {
    uint64_t turns, events, busy_ns,
        last_turn_ns; /* last_turn_ns: start of the current turn, 0 while asleep (watchdog) */
};
const struct mp_loop_stats *mp_loop_stats(const struct mp_loop *l);

static inline void mp_timer_in(struct mp_loop *l, struct mp_timer *t, uint64_t ms)
{
    mp_wheel_set(mp_loop_wheel(l), t, mp_loop_now_ms(l) + ms + (ms != 0));
}
