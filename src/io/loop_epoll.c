/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The event loop on epoll.
 *
 * Closing inside a batch. epoll_wait fetches up to 256 events; a handler may close, and free, an
 * object whose event lies further back in the same batch. mp_io_close therefore looks through the
 * rest of the batch and clears the entry (a registration has at most one). The alternative, a
 * generation number in a table indexed by descriptor, would cost one more cache line for every
 * event; the scan costs at most some 100 ns, once per connection, and only while a batch is being
 * handled.
 *
 * For the same safety a level-triggered descriptor (a listening socket, which workers may share by
 * duplicates) is removed from epoll explicitly before close. A connection is not: its open file has
 * no other holder, so close removes it. That saves a system call a connection and rests on this
 * rule: no descriptor of mp_io_open is duplicated, and nothing is forked while there are any (the
 * broker is forked at start; descriptors are close-on-exec).
 *
 * Waking. The word "wake" is AWAKE, ASLEEP or PENDING. A thread that wakes the loop writes to the
 * eventfd only when it finds ASLEEP, so a busy loop is woken without any system call: it looks at
 * the word before it sleeps. The eventfd is edge-triggered and never read: every write makes a new
 * edge.
 */
#include "io/loop_epoll.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include "base/assert.h"
#include "io/loop.h"

#define LOOP_MAGIC      0x6c6f6f70u
#define BATCH           256
#define HOOKS_MAX       8
#define TASKS_PER_TURN  1024
#define RUN_WAIT_MAX_MS 3600000u
#define WALL_REFRESH_NS 100000000ull
#define NS_PER_MS       1000000ull
#define NS_PER_S        1000000000ull

enum { AWAKE, ASLEEP, PENDING };

/* Bits of mp_io.armed. */
enum { REGISTERED = 1, LISTENER = 2, PAUSED = 4, LEVEL = 8 };

#define ET_EVENTS ((uint32_t)EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

struct mp_loop {
    uint32_t magic;
    int epoll_fd;
    uint64_t now_ns, now_ms;
    uint64_t turn_end_ns;    /* clock at the end of the last turn */
    uint64_t wall_offset_ns; /* wall clock minus monotonic clock */
    uint64_t wall_read_ns;   /* when the offset was taken */
    struct mp_list tasks;
    uint32_t batch_at, batch_n; /* events[batch_at .. batch_n) are fetched and not handled */
    uint32_t n_hooks;
    bool in_turn, stop;
    void (*on_wake)(void *arg);
    void *on_wake_arg;
    struct mp_loop_stats stats;
    struct {
        void (*fn)(void *arg);
        void *arg;
    } hooks[HOOKS_MAX];
    uint64_t date_s;
    char date[32];
    /* Written by other threads: apart from what the owner reads all the time. */
    struct {
        int word;
        int fd;
    } wake __attribute__((aligned(MP_CACHE_LINE)));
    struct epoll_event events[BATCH] __attribute__((aligned(MP_CACHE_LINE)));
    struct mp_wheel wheel;
};

static uint64_t clock_read(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static void stat_set(uint64_t *at, uint64_t v)
{
    __atomic_store_n(at, v, __ATOMIC_RELAXED);
}

/* A step of the wall clock is noticed within WALL_REFRESH_NS; between, monotonic time is added. */
static void clock_update(struct mp_loop *l)
{
    l->now_ns = clock_read(CLOCK_MONOTONIC);
    l->now_ms = l->now_ns / NS_PER_MS;
    if (l->now_ns - l->wall_read_ns >= WALL_REFRESH_NS) {
        l->wall_offset_ns = clock_read(CLOCK_REALTIME) - l->now_ns;
        l->wall_read_ns = l->now_ns;
    }
}

struct mp_loop *mp_loop_new(void)
{
    struct mp_loop *l = aligned_alloc(MP_CACHE_LINE, sizeof *l);
    if (!l) {
        abort();
    }
    memset(l, 0, sizeof *l);
    l->magic = LOOP_MAGIC;
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->wake.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    mp_list_init(&l->tasks);
    clock_update(l);
    mp_wheel_init(&l->wheel, l->now_ms);
    l->date_s = UINT64_MAX;
    /* No pointer: the event itself says nothing, the wake word does. */
    struct epoll_event ev = {.events = (uint32_t)EPOLLIN | EPOLLET};
    if (l->epoll_fd < 0 || l->wake.fd < 0 ||
        epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->wake.fd, &ev) < 0) {
        int saved = errno;
        l = mp_loop_free(l);
        errno = saved;
    }
    return l;
}

struct mp_loop *mp_loop_free(struct mp_loop *l)
{
    if (!l) {
        return NULL;
    }
    MP_CHECK_MAGIC(l, LOOP_MAGIC);
    MP_ASSERT(!l->in_turn);
    /* Unlinked one by one, so that a later mp_task_cancel does not touch this memory. */
    while (mp_list_pop_front(&l->tasks)) {
    }
    if (l->wake.fd >= 0) {
        close(l->wake.fd);
    }
    if (l->epoll_fd >= 0) {
        close(l->epoll_fd);
    }
    l->magic = 0;
    free(l);
    return NULL;
}

/* ---- descriptors ---- */

static mp_err io_register(struct mp_loop *l, struct mp_io *io, int fd, uint32_t events,
                          uint32_t armed, void (*on_ready)(struct mp_io *io, unsigned events))
{
    struct epoll_event ev = {.events = events, .data.ptr = io};
    io->fd = -1;
    io->armed = 0;
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
        return mp_err_from_errno(errno);
    }
    io->on_ready = on_ready;
    io->fd = fd;
    io->armed = armed | REGISTERED;
    return MP_OK;
}

mp_err mp_io_open(struct mp_loop *l, struct mp_io *io, int fd,
                  void (*on_ready)(struct mp_io *io, unsigned events))
{
    return io_register(l, io, fd, ET_EVENTS, 0, on_ready);
}

mp_err mp_io_open_listener(struct mp_loop *l, struct mp_io *io, int fd,
                           void (*on_ready)(struct mp_io *io, unsigned events))
{
    return io_register(l, io, fd, EPOLLIN, LISTENER, on_ready);
}

static uint32_t level_events(unsigned want)
{
    return (want & MP_IO_IN ? (uint32_t)EPOLLIN : 0) | (want & MP_IO_OUT ? (uint32_t)EPOLLOUT : 0);
}

mp_err mp_io_open_level(struct mp_loop *l, struct mp_io *io, int fd, unsigned want,
                        void (*on_ready)(struct mp_io *io, unsigned events))
{
    return io_register(l, io, fd, level_events(want), LEVEL, on_ready);
}

void mp_io_level_want(struct mp_loop *l, struct mp_io *io, unsigned want)
{
    MP_ASSERT(io->armed & LEVEL);
    struct epoll_event ev = {.events = level_events(want), .data.ptr = io};
    MP_ASSERT(epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, io->fd, &ev) == 0);
}

/* Takes back an event that was fetched and not delivered. */
static void batch_forget(struct mp_loop *l, const struct mp_io *io)
{
    for (uint32_t i = l->batch_at; i < l->batch_n; i++) {
        if (l->events[i].data.ptr == io) {
            l->events[i].data.ptr = NULL;
            return;
        }
    }
}

void mp_io_listener_pause(struct mp_loop *l, struct mp_io *io, bool paused)
{
    MP_ASSERT(io->armed & LISTENER);
    if (paused == !!(io->armed & PAUSED)) {
        return;
    }
    struct epoll_event ev = {.events = paused ? 0 : (uint32_t)EPOLLIN, .data.ptr = io};
    MP_ASSERT(epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, io->fd, &ev) == 0);
    io->armed ^= PAUSED;
    if (paused) {
        batch_forget(l, io);
    }
}

void mp_io_again(struct mp_loop *l, struct mp_io *io)
{
    MP_ASSERT(io->armed == REGISTERED);
    /* A change of the registration, even to the same, is an edge. */
    struct epoll_event ev = {.events = ET_EVENTS, .data.ptr = io};
    MP_ASSERT(epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, io->fd, &ev) == 0);
}

int mp_io_steal(struct mp_loop *l, struct mp_io *io)
{
    int fd = io->fd;
    if (!(io->armed & REGISTERED)) {
        return -1;
    }
    /* Fails only for a descriptor that was closed behind our back. */
    MP_ASSERT(epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, fd, NULL) == 0);
    batch_forget(l, io);
    io->fd = -1;
    io->armed = 0;
    return fd;
}

void mp_io_close(struct mp_loop *l, struct mp_io *io)
{
    if ((io->armed & REGISTERED) && !(io->armed & (LEVEL | LISTENER))) {
        batch_forget(l, io);
        close(io->fd);
        io->fd = -1;
        io->armed = 0;
        return;
    }
    int fd = mp_io_steal(l, io);
    if (fd >= 0) {
        close(fd);
    }
}

/* ---- time ---- */

uint64_t mp_loop_now_ns(const struct mp_loop *l)
{
    return l->now_ns;
}

uint64_t mp_loop_now_ms(const struct mp_loop *l)
{
    return l->now_ms;
}

uint64_t mp_loop_clock_ns(struct mp_loop *l)
{
    (void)l;
    return clock_read(CLOCK_MONOTONIC);
}

uint64_t mp_loop_wall_ns(const struct mp_loop *l)
{
    return l->now_ns + l->wall_offset_ns;
}

static char *put_2digits(char *at, int v)
{
    at[0] = (char)('0' + v / 10 % 10);
    at[1] = (char)('0' + v % 10);
    return at + 2;
}

const char *mp_loop_http_date(struct mp_loop *l)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    uint64_t now_s = mp_loop_wall_ns(l) / NS_PER_S;
    if (now_s == l->date_s) {
        return l->date;
    }
    time_t t = (time_t)now_s;
    struct tm tm;
    gmtime_r(&t, &tm);
    /* Not strftime: its names follow the locale. */
    memcpy(l->date, "---, -- --- ---- --:--:-- GMT", 30);
    memcpy(l->date, days + (size_t)tm.tm_wday * 3, 3);
    put_2digits(l->date + 5, tm.tm_mday);
    memcpy(l->date + 8, months + (size_t)tm.tm_mon * 3, 3);
    put_2digits(l->date + 12, (tm.tm_year + 1900) / 100);
    put_2digits(l->date + 14, (tm.tm_year + 1900) % 100);
    put_2digits(l->date + 17, tm.tm_hour);
    put_2digits(l->date + 20, tm.tm_min);
    put_2digits(l->date + 23, tm.tm_sec);
    l->date_s = now_s;
    return l->date;
}

struct mp_wheel *mp_loop_wheel(struct mp_loop *l)
{
    return &l->wheel;
}

/* ---- tasks, hooks, wake-ups ---- */

void mp_task_init(struct mp_task *t, void (*run)(struct mp_task *t))
{
    mp_list_init(&t->link);
    t->run = run;
}

void mp_task_defer(struct mp_loop *l, struct mp_task *t)
{
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
    MP_ASSERT(l->n_hooks < HOOKS_MAX);
    l->hooks[l->n_hooks].fn = fn;
    l->hooks[l->n_hooks].arg = arg;
    l->n_hooks++;
}

void mp_loop_set_on_wake(struct mp_loop *l, void (*fn)(void *arg), void *arg)
{
    l->on_wake = fn;
    l->on_wake_arg = arg;
}

void mp_loop_wake(struct mp_loop *l)
{
    /* What the caller wrote before is seen by the owner, which takes the word by exchange too. */
    if (__atomic_exchange_n(&l->wake.word, PENDING, __ATOMIC_SEQ_CST) != ASLEEP) {
        return;
    }
    uint64_t one = 1;
    ssize_t n;
    do {
        n = write(l->wake.fd, &one, sizeof one);
    } while (n < 0 && errno == EINTR);
    MP_ASSERT(n == sizeof one);
}

/* ---- the turn ---- */

/* How long to sleep, in whole ms rounded up: a timer never makes the loop spin before its time. */
static int wait_timeout(struct mp_loop *l, uint64_t before_ns, uint32_t max_wait_ms)
{
    if (max_wait_ms == 0 || !mp_list_empty(&l->tasks)) {
        return 0;
    }
    uint32_t wait_ms = MP_MIN(max_wait_ms, RUN_WAIT_MAX_MS);
    uint64_t due_ns = (l->wheel.now_ms + mp_wheel_next(&l->wheel, UINT32_MAX)) * NS_PER_MS;
    if (due_ns <= before_ns) {
        return 0;
    }
    uint64_t due_ms = (due_ns - before_ns + NS_PER_MS - 1) / NS_PER_MS;
    return (int)MP_MIN(due_ms, wait_ms);
}

/* Sleeps and fetches; true when another thread has asked for on_wake. */
static bool turn_wait(struct mp_loop *l, uint32_t max_wait_ms)
{
    int timeout = wait_timeout(l, l->turn_end_ns, max_wait_ms);
    int word = AWAKE;
    if (timeout != 0 && !__atomic_compare_exchange_n(&l->wake.word, &word, ASLEEP, false,
                                                     __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        timeout = 0;
    }
    stat_set(&l->stats.last_turn_ns, 0);
    int n = epoll_wait(l->epoll_fd, l->events, BATCH, timeout);
    if (n < 0) {
        MP_ASSERT(errno == EINTR);
        n = 0;
    }
    l->batch_at = 0;
    l->batch_n = (uint32_t)n;
    clock_update(l);
    stat_set(&l->stats.last_turn_ns, l->now_ns);
    if (__atomic_load_n(&l->wake.word, __ATOMIC_RELAXED) == AWAKE) {
        return false;
    }
    return __atomic_exchange_n(&l->wake.word, AWAKE, __ATOMIC_SEQ_CST) == PENDING;
}

/* EPOLLHUP and EPOLLERR mean that neither direction can block: whoever waits for one must look. */
static unsigned events_of(uint32_t e)
{
    unsigned r = e & EPOLLIN ? MP_IO_IN : 0;
    r |= e & EPOLLOUT ? MP_IO_OUT : 0;
    r |= e & EPOLLRDHUP ? MP_IO_HUP : 0;
    if (MP_UNLIKELY(e & (EPOLLHUP | EPOLLERR))) {
        r |= MP_IO_IN | MP_IO_OUT;
        r |= e & EPOLLHUP ? MP_IO_HUP : 0;
        r |= e & EPOLLERR ? MP_IO_ERR : 0;
    }
    return r;
}

static void turn_dispatch(struct mp_loop *l)
{
    uint64_t handled = 0;
    while (l->batch_at < l->batch_n) {
        const struct epoll_event *ev = &l->events[l->batch_at++];
        struct mp_io *io = ev->data.ptr;
        if (l->batch_at < l->batch_n) {
            /* The next owner's memory comes in while this one works. A prefetch of any address,
             * NULL included, is harmless. */
            __builtin_prefetch(l->events[l->batch_at].data.ptr);
        }
        if (io) {
            handled++;
            io->on_ready(io, events_of(ev->events));
        }
    }
    l->batch_at = l->batch_n = 0;
    stat_set(&l->stats.events, l->stats.events + handled);
}

/* The bound keeps a task that defers itself from starving the descriptors. */
static void turn_tasks(struct mp_loop *l)
{
    for (uint32_t i = 0; i < TASKS_PER_TURN; i++) {
        struct mp_list *link = mp_list_pop_front(&l->tasks);
        if (!link) {
            return;
        }
        struct mp_task *t = MP_CONTAINER_OF(link, struct mp_task, link);
        t->run(t);
    }
}

/* The clock has been read just now (turn_end_ns). */
static void turn(struct mp_loop *l, uint32_t max_wait_ms)
{
    MP_CHECK_MAGIC(l, LOOP_MAGIC);
    MP_ASSERT(!l->in_turn);
    l->in_turn = true;
    bool woken = turn_wait(l, max_wait_ms);
    if (woken && l->on_wake) {
        l->on_wake(l->on_wake_arg);
    }
    turn_dispatch(l);
    mp_wheel_advance(&l->wheel, l->now_ms);
    turn_tasks(l);
    for (uint32_t i = 0; i < l->n_hooks; i++) {
        l->hooks[i].fn(l->hooks[i].arg);
    }
    stat_set(&l->stats.turns, l->stats.turns + 1);
    l->turn_end_ns = clock_read(CLOCK_MONOTONIC);
    stat_set(&l->stats.busy_ns, l->stats.busy_ns + l->turn_end_ns - l->now_ns);
    l->in_turn = false;
}

void mp_loop_turn(struct mp_loop *l, uint32_t max_wait_ms)
{
    l->turn_end_ns = clock_read(CLOCK_MONOTONIC);
    turn(l, max_wait_ms);
}

void mp_loop_run(struct mp_loop *l)
{
    l->stop = false;
    l->turn_end_ns = clock_read(CLOCK_MONOTONIC);
    do {
        turn(l, RUN_WAIT_MAX_MS);
    } while (!l->stop);
}

void mp_loop_stop(struct mp_loop *l)
{
    l->stop = true;
}

const struct mp_loop_stats *mp_loop_stats(const struct mp_loop *l)
{
    return &l->stats;
}
