/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Event loops in simulated time. A loop takes a turn when it has something to do and its last turn
 * is over; during the turn the clock stands still. Events are as scarce as the kernel's: one per
 * edge, merged until fetched, with a mask that may be out of date when it is delivered.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "io/loop.h"
#include "io/sim_int.h"

#define BATCH_MAX      256
#define TASKS_PER_TURN 1024
#define SPURIOUS_65536 1024 /* per turn, with opts.reorder */

void sim_check_owner(const struct mp_loop *l)
{
    MP_ASSERT(sim.active);
    MP_ASSERT(l);
    if (sim.turn && sim.turn != l) {
        fprintf(stderr, "simulation: loop %u touches what belongs to loop %u\n", sim.turn->id,
                l->id);
        abort();
    }
}

struct mp_loop *mp_loop_new(void)
{
    MP_ASSERT(sim.active);
    MP_ASSERT(sim.loops_made < SIM_LOOPS);
    struct mp_loop *l = calloc(1, sizeof(*l));
    MP_ASSERT(l);
    l->id = sim.loops_made++;
    sim.loops[l->id] = l;
    sim.loops_open++;
    mp_wheel_init(&l->wheel, sim.now_ns / SIM_MS);
    mp_list_init(&l->ready);
    mp_list_init(&l->tasks);
    return l;
}

/* Timers that were unset lie in the wheel until their slot comes up; an armed one has been
 * forgotten. */
static void check_no_timer_armed(const struct mp_loop *l)
{
    for (uint32_t level = 0; level < MP_WHEEL_LEVELS; level++) {
        for (uint32_t slot = 0; slot < MP_WHEEL_SLOTS; slot++) {
            const struct mp_list *head = &l->wheel.slots[level][slot];
            MP_LIST_FOREACH (it, head) {
                const struct mp_timer *t = MP_CONTAINER_OF(it, struct mp_timer, link);
                MP_ASSERT(!mp_timer_is_set(t));
            }
        }
    }
}

struct mp_loop *mp_loop_free(struct mp_loop *l)
{
    if (!l) {
        return NULL;
    }
    MP_ASSERT(sim.turn != l);
    MP_ASSERT(l->regs_n == 0);
    while (mp_list_pop_front(&l->tasks)) {
    }
    check_no_timer_armed(l);
    sim.loops[l->id] = NULL;
    sim.loops_open--;
    free(l->regs);
    free(l->batch);
    free(l);
    return NULL;
}

/* Registration */

static void reg_add(struct mp_loop *l, struct sim_sock *s, struct mp_io *io)
{
    if (l->regs_n == l->regs_cap) {
        l->regs_cap = l->regs_cap ? l->regs_cap * 2 : 32;
        l->regs = realloc(l->regs, l->regs_cap * sizeof(*l->regs));
        MP_ASSERT(l->regs);
    }
    s->reg_index = l->regs_n;
    l->regs[l->regs_n++] = s;
    s->loop = l;
    s->io = io;
}

static void reg_remove(struct sim_sock *s)
{
    struct mp_loop *l = s->loop;
    struct sim_sock *last = l->regs[--l->regs_n];
    l->regs[s->reg_index] = last;
    last->reg_index = s->reg_index;
    if (s->batch_index > 0) {
        l->batch[s->batch_index - 1].sock = NULL;
        s->batch_index = 0;
    }
    mp_list_remove(&s->ready);
    s->pending = 0;
    s->paused = false;
    s->loop = NULL;
    s->io = NULL;
}

static mp_err open_io(struct mp_loop *l, struct mp_io *io, int fd, enum sim_kind kind,
                      void (*on_ready)(struct mp_io *io, unsigned events))
{
    sim_check_owner(l);
    struct sim_sock *s = sim_sock_get(fd);
    MP_ASSERT(s->kind == kind);
    MP_ASSERT(!s->loop);
    io->fd = fd;
    io->on_ready = on_ready;
    io->armed = 1;
    reg_add(l, s, io);
    if (kind == SIM_STREAM) {
        /* What is already true counts as an edge. */
        sim_edge(s, sim_sock_mask(s));
    }
    return MP_OK;
}

mp_err mp_io_open(struct mp_loop *l, struct mp_io *io, int fd,
                  void (*on_ready)(struct mp_io *, unsigned))
{
    return open_io(l, io, fd, SIM_STREAM, on_ready);
}

mp_err mp_io_open_listener(struct mp_loop *l, struct mp_io *io, int fd,
                           void (*on_ready)(struct mp_io *, unsigned))
{
    return open_io(l, io, fd, SIM_LISTENER, on_ready);
}

void mp_io_listener_pause(struct mp_loop *l, struct mp_io *io, bool paused)
{
    sim_check_owner(l);
    struct sim_sock *s = sim_sock_get(io->fd);
    MP_ASSERT(s->loop == l);
    MP_ASSERT(s->kind == SIM_LISTENER);
    s->paused = paused;
}

void mp_io_again(struct mp_loop *l, struct mp_io *io)
{
    sim_check_owner(l);
    struct sim_sock *s = sim_sock_get(io->fd);
    MP_ASSERT(s->loop == l);
    MP_ASSERT(s->kind == SIM_STREAM);
    sim_edge(s, sim_sock_mask(s));
}

int mp_io_steal(struct mp_loop *l, struct mp_io *io)
{
    sim_check_owner(l);
    if (!io->armed) {
        return -1;
    }
    struct sim_sock *s = sim_sock_get(io->fd);
    MP_ASSERT(s->loop == l);
    MP_ASSERT(s->io == io);
    reg_remove(s);
    int fd = io->fd;
    io->fd = -1;
    io->armed = 0;
    return fd;
}

void mp_io_close(struct mp_loop *l, struct mp_io *io)
{
    int fd = mp_io_steal(l, io);
    if (fd >= 0) {
        mp_sock_close(l, fd);
    }
}

/* Clock */

uint64_t mp_loop_now_ns(const struct mp_loop *l)
{
    sim_check_owner(l);
    return sim.now_ns;
}

uint64_t mp_loop_now_ms(const struct mp_loop *l)
{
    return mp_loop_now_ms_of(mp_loop_now_ns(l));
}

uint64_t mp_loop_clock_ns(struct mp_loop *l)
{
    return mp_loop_now_ns(l);
}

uint64_t mp_loop_wall_ns(const struct mp_loop *l)
{
    return SIM_WALL_NS + mp_loop_now_ns(l);
}

const char *mp_loop_http_date(struct mp_loop *l)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    uint64_t s = mp_loop_wall_ns(l) / SIM_S;
    if (s != l->date_s) {
        time_t t = (time_t)s;
        struct tm tm;
        gmtime_r(&t, &tm);
        snprintf(l->date, sizeof(l->date), "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
                 days + (size_t)3 * tm.tm_wday, (unsigned)tm.tm_mday % 100u,
                 months + (size_t)3 * tm.tm_mon, (unsigned)(tm.tm_year + 1900) % 10000u,
                 (unsigned)tm.tm_hour % 100u, (unsigned)tm.tm_min % 100u,
                 (unsigned)tm.tm_sec % 100u);
        l->date_s = s;
    }
    return l->date;
}

struct mp_wheel *mp_loop_wheel(struct mp_loop *l)
{
    sim_check_owner(l);
    return &l->wheel;
}

/* Tasks, hooks, wake-ups */

void mp_task_init(struct mp_task *t, void (*run)(struct mp_task *t))
{
    mp_list_init(&t->link);
    t->run = run;
}

void mp_task_defer(struct mp_loop *l, struct mp_task *t)
{
    sim_check_owner(l);
    if (!mp_task_pending(t)) {
        mp_list_push_back(&l->tasks, &t->link);
    }
}

void mp_task_cancel(struct mp_task *t)
{
    mp_list_remove(&t->link);
}

void mp_loop_add_hook(struct mp_loop *l, void (*fn)(void *arg), void *arg)
{
    sim_check_owner(l);
    MP_ASSERT(l->hooks_n < SIM_HOOKS);
    l->hooks[l->hooks_n].fn = fn;
    l->hooks[l->hooks_n].arg = arg;
    l->hooks_n++;
}

void mp_loop_set_on_wake(struct mp_loop *l, void (*fn)(void *arg), void *arg)
{
    sim_check_owner(l);
    l->on_wake = fn;
    l->on_wake_arg = arg;
}

void mp_loop_wake(struct mp_loop *l)
{
    MP_ASSERT(sim.active);
    if (l->wake_sent) {
        return;
    }
    l->wake_sent = true;
    uint64_t delay = sim_between(0, sim.opts.wake_us_max * SIM_US);
    sim_push((struct sim_ev){.at_ns = sim.now_ns + delay, .kind = SIM_EV_WAKE, .num = l->id});
}

void sim_loop_woken(uint64_t loop_id)
{
    mp_sim_trace_event("wake", (int64_t)loop_id, 0, 0);
    if (sim.loops[loop_id]) {
        sim.loops[loop_id]->wake_arrived = true;
    }
}

const struct mp_loop_stats *mp_loop_stats(const struct mp_loop *l)
{
    return &l->stats;
}

/* Turns */

static bool listener_ready(const struct sim_sock *s)
{
    return s->kind == SIM_LISTENER && !s->paused && s->queue_n > 0;
}

static bool any_listener_ready(const struct mp_loop *l)
{
    MP_LIST_FOREACH (it, &sim.listeners) {
        const struct sim_sock *s = MP_CONTAINER_OF(it, struct sim_sock, listeners);
        if (s->loop == l && listener_ready(s)) {
            return true;
        }
    }
    return false;
}

uint64_t sim_loop_due(const struct mp_loop *l)
{
    if (l->stopped) {
        return SIM_NEVER;
    }
    if (l->wake_arrived || !mp_list_empty(&l->ready) || !mp_list_empty(&l->tasks) ||
        any_listener_ready(l)) {
        return MP_MAX(sim.now_ns, l->busy_until_ns);
    }
    if (l->wheel.n == 0) {
        return SIM_NEVER;
    }
    uint64_t ms = l->wheel.now_ms + mp_wheel_next(&l->wheel, 1ull << 40);
    uint64_t at = MP_MAX(ms * SIM_MS, l->busy_until_ns);
    return MP_MAX(at, sim.now_ns);
}

static void batch_add(struct mp_loop *l, struct sim_sock *s, unsigned events, bool wake)
{
    if (l->batch_n == l->batch_cap) {
        l->batch_cap = l->batch_cap ? l->batch_cap * 2 : 64;
        l->batch = realloc(l->batch, l->batch_cap * sizeof(*l->batch));
        MP_ASSERT(l->batch);
    }
    l->batch[l->batch_n++] = (struct sim_batch){.sock = s, .events = events, .wake = wake};
    if (s) {
        s->batch_index = l->batch_n;
    }
}

/* The kernel reports the whole state of a descriptor on any edge; a user may count only on the
 * edges themselves and on the error bits, so the seed decides how much more is told. */
static unsigned fetch_mask(const struct sim_sock *s)
{
    unsigned mask = sim_sock_mask(s);
    if (sim.opts.reorder && mp_rand_below(&sim.rand, 2) == 0) {
        mask &= s->pending | MP_IO_HUP | MP_IO_ERR;
    }
    /* Neither call can block any more: whoever waits for one must look. */
    bool both_closed = s->shut_wr && s->conn->pipe[!s->side].fin_arrived;
    if (s->state == SIM_DEAD || both_closed) {
        mask |= MP_IO_IN | MP_IO_OUT;
    }
    return mask;
}

/* An event without an edge: the state may have changed between fetching and delivery, so readiness
 * is a hint. */
static void add_spurious(struct mp_loop *l)
{
    if (!sim.opts.reorder || l->regs_n == 0 || !sim_chance(SPURIOUS_65536)) {
        return;
    }
    struct sim_sock *s = l->regs[mp_rand_below(&sim.rand, l->regs_n)];
    if (s->kind == SIM_STREAM && s->state != SIM_CONNECTING && s->batch_index == 0) {
        batch_add(l, s, 1 + mp_rand_below(&sim.rand, MP_IO_IN | MP_IO_OUT), false);
    }
}

static void shuffle(struct mp_loop *l)
{
    for (uint32_t i = l->batch_n; i > 1; i--) {
        uint32_t j = mp_rand_below(&sim.rand, i);
        struct sim_batch tmp = l->batch[i - 1];
        l->batch[i - 1] = l->batch[j];
        l->batch[j] = tmp;
    }
    for (uint32_t i = 0; i < l->batch_n; i++) {
        if (l->batch[i].sock) {
            l->batch[i].sock->batch_index = i + 1;
        }
    }
}

static void fetch(struct mp_loop *l)
{
    uint32_t max = BATCH_MAX;
    if (sim.opts.reorder) {
        max = 1 + mp_rand_below(&sim.rand, 32);
    }
    l->batch_n = 0;
    if (l->wake_arrived) {
        l->wake_arrived = l->wake_sent = false;
        batch_add(l, NULL, 0, true);
    }
    MP_LIST_FOREACH (it, &sim.listeners) {
        struct sim_sock *s = MP_CONTAINER_OF(it, struct sim_sock, listeners);
        if (s->loop == l && listener_ready(s)) {
            batch_add(l, s, MP_IO_IN, false);
        }
    }
    while (l->batch_n < max && !mp_list_empty(&l->ready)) {
        struct sim_sock *s = MP_CONTAINER_OF(mp_list_pop_front(&l->ready), struct sim_sock, ready);
        unsigned events = fetch_mask(s);
        s->pending = 0;
        if (events) {
            batch_add(l, s, events, false);
        }
    }
    add_spurious(l);
    if (sim.opts.reorder) {
        shuffle(l);
    }
}

static void deliver(struct mp_loop *l)
{
    for (uint32_t i = 0; i < l->batch_n; i++) {
        struct sim_batch b = l->batch[i];
        if (b.wake && l->on_wake) {
            l->on_wake(l->on_wake_arg);
        }
        if (b.sock) {
            mp_sim_trace_event("ready", b.sock->fd, b.events, l->id);
            b.sock->batch_index = 0;
            l->stats.events++;
            b.sock->io->on_ready(b.sock->io, b.events);
        }
    }
    l->batch_n = 0;
}

static void run_tasks(struct mp_loop *l)
{
    uint32_t budget = TASKS_PER_TURN;
    if (sim.opts.reorder) {
        /* At least what was queued before; how many of those deferred meanwhile is not for users to
         * know. */
        MP_LIST_FOREACH (it, &l->tasks) {
            budget++;
        }
        budget -= TASKS_PER_TURN - mp_rand_below(&sim.rand, 64);
    }
    while (budget-- > 0) {
        struct mp_list *n = mp_list_pop_front(&l->tasks);
        if (!n) {
            break;
        }
        struct mp_task *t = MP_CONTAINER_OF(n, struct mp_task, link);
        t->run(t);
    }
}

void sim_loop_turn(struct mp_loop *l)
{
    MP_ASSERT(!sim.turn);
    sim.turn = l;
    l->stats.turns++;
    l->stats.last_turn_ns = sim.now_ns;
    fetch(l);
    mp_sim_trace_event("turn", l->id, l->batch_n, 0);
    deliver(l);
    mp_wheel_advance(&l->wheel, sim.now_ns / SIM_MS);
    run_tasks(l);
    for (uint32_t i = 0; i < l->hooks_n; i++) {
        l->hooks[i].fn(l->hooks[i].arg);
    }
    /* Never free of cost, so that a loop that finds no rest still lets time pass. */
    uint64_t took = SIM_US + sim_between(0, sim.opts.turn_us_max * SIM_US);
    l->stats.busy_ns += took;
    l->stats.last_turn_ns = 0;
    l->busy_until_ns = sim.now_ns + took;
    sim.turn = NULL;
}

void mp_loop_turn(struct mp_loop *l, uint32_t max_wait_ms)
{
    uint64_t limit = sim.now_ns + max_wait_ms * SIM_MS;
    uint64_t turns = l->stats.turns;
    l->stopped = false;
    while (l->stats.turns == turns && sim_step(limit)) {
    }
    if (l->stats.turns == turns) {
        sim.now_ns = MP_MAX(sim.now_ns, limit);
        sim_loop_turn(l);
    }
}

void mp_loop_run(struct mp_loop *l)
{
    l->stopped = false;
    while (!l->stopped) {
        /* With nothing left to happen the real loop would sleep for ever. */
        MP_ASSERT(sim_step(SIM_NEVER - 1));
    }
}

void mp_loop_stop(struct mp_loop *l)
{
    sim_check_owner(l);
    l->stopped = true;
}

bool mp_sim_loop_stopped(const struct mp_loop *l)
{
    return l->stopped;
}
