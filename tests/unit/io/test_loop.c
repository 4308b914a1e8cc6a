/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "io/loop.h"
#include "io/loop_epoll.h"
#include "io/sock.h"
#include "t.h"
#include "unit/io/util.h"

/* One end in the loop, the other in the test's hand. */
struct end {
    struct mp_io io;
    struct mp_loop *loop;
    int peer;
    unsigned calls, events;
    unsigned drain_max; /* bytes a call reads; 0: none */
    size_t got;
    struct end *victim; /* closed (and freed when victim_free) by the handler */
    bool victim_free;
};

static void end_ready(struct mp_io *io, unsigned events)
{
    struct end *e = MP_CONTAINER_OF(io, struct end, io);
    e->calls++;
    e->events |= events;
    if (e->drain_max && (events & MP_IO_IN)) {
        char buf[4096];
        ssize_t n = mp_sock_recv(e->loop, io->fd, buf, MP_MIN(e->drain_max, sizeof buf));
        e->got += n > 0 ? (size_t)n : 0;
    }
    if (e->victim) {
        struct end *v = e->victim;
        e->victim = NULL;
        mp_io_close(e->loop, &v->io);
        if (e->victim_free) {
            close(v->peer);
            free(v);
        }
    }
}

static bool end_open(struct end *e, struct mp_loop *l)
{
    int fds[2];
    *e = (struct end){.loop = l};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0) {
        return false;
    }
    e->peer = fds[1];
    return !mp_is_err(mp_io_open(l, &e->io, fds[0], end_ready));
}

static void end_close(struct end *e)
{
    mp_io_close(e->loop, &e->io);
    close(e->peer);
}

static void initial_edge_and_only_one(void)
{
    struct mp_loop *l = mp_loop_new();
    struct end e;
    T_OK(end_open(&e, l));
    mp_loop_turn(l, 1000);
    T_EQ(e.calls, 1);
    T_EQ(e.events, MP_IO_OUT);
    mp_loop_turn(l, 0);
    T_EQ(e.calls, 1);
    end_close(&e);
    mp_loop_free(l);
}

/* Unread bytes make no second event; new bytes do, and tell IN. */
static void edge_triggered(void)
{
    struct mp_loop *l = mp_loop_new();
    struct end e;
    T_OK(end_open(&e, l));
    mp_loop_turn(l, 1000);
    e.calls = e.events = 0;
    e.drain_max = 3;
    T_EQ(write(e.peer, "abcdef", 6), 6);
    mp_loop_turn(l, 1000);
    T_EQ(e.calls, 1);
    T_OK(e.events & MP_IO_IN);
    T_EQ(e.got, 3);
    mp_loop_turn(l, 0);
    mp_loop_turn(l, 0);
    T_EQ(e.calls, 1);
    T_EQ(write(e.peer, "g", 1), 1);
    mp_loop_turn(l, 1000);
    T_EQ(e.calls, 2);
    T_EQ(e.got, 6);
    end_close(&e);
    mp_loop_free(l);
}

/* After EAGAIN, room for output makes an OUT event. */
static void out_edge_after_full(void)
{
    struct mp_loop *l = mp_loop_new();
    struct end e;
    static char block[65536];
    T_OK(end_open(&e, l));
    mp_loop_turn(l, 1000);
    ssize_t n;
    size_t sent = 0;
    while ((n = mp_sock_send(l, e.io.fd, block, sizeof block)) > 0) {
        sent += (size_t)n;
    }
    T_EQ(n, -EAGAIN);
    mp_loop_turn(l, 0);
    e.calls = e.events = 0;
    while (sent > 0) {
        n = read(e.peer, block, sizeof block);
        T_OK(n > 0);
        sent -= (size_t)n;
    }
    mp_loop_turn(l, 1000);
    T_OK(e.calls > 0);
    T_OK(e.events & MP_IO_OUT);
    end_close(&e);
    mp_loop_free(l);
}

static void hup_is_told(void)
{
    struct mp_loop *l = mp_loop_new();
    struct end e;
    T_OK(end_open(&e, l));
    mp_loop_turn(l, 1000);
    e.events = 0;
    shutdown(e.peer, SHUT_WR);
    mp_loop_turn(l, 1000);
    T_OK(e.events & MP_IO_HUP);
    T_OK(e.events & MP_IO_IN);
    T_OK(!(e.events & MP_IO_ERR));
    e.events = 0;
    close(e.peer);
    e.peer = dup(0);
    mp_loop_turn(l, 1000);
    T_EQ(e.events, MP_IO_HUP | MP_IO_IN | MP_IO_OUT);
    end_close(&e);
    mp_loop_free(l);
}

/* Two ready descriptors: whichever runs first closes the other, which must stay silent. */
static void close_in_batch(void)
{
    struct mp_loop *l = mp_loop_new();
    struct end a, b;
    T_OK(end_open(&a, l));
    T_OK(end_open(&b, l));
    a.victim = &b;
    b.victim = &a;
    mp_loop_turn(l, 1000);
    T_EQ(a.calls + b.calls, 1);
    T_EQ((a.io.fd < 0) + (b.io.fd < 0), 1);
    T_EQ(mp_loop_stats(l)->events, 1);
    end_close(&a);
    end_close(&b);
    mp_loop_free(l);
}

/* As above with memory that is freed at once, over a whole batch: each event frees its successor.
 * AddressSanitizer watches. */
static void free_in_batch(void)
{
    enum { N = 256 };
    struct mp_loop *l = mp_loop_new();
    struct end *e[N];
    for (int i = 0; i < N; i++) {
        e[i] = malloc(sizeof *e[i]);
        T_OK(e[i] && end_open(e[i], l));
    }
    for (int i = 0; i < N; i += 2) {
        e[i]->victim = e[i + 1];
        e[i]->victim_free = true;
        e[i + 1]->victim = NULL;
    }
    uint64_t before = mp_loop_stats(l)->events;
    mp_loop_turn(l, 1000);
    T_EQ(mp_loop_stats(l)->events - before, N / 2);
    mp_loop_turn(l, 0);
    T_EQ(mp_loop_stats(l)->events - before, N / 2);
    for (int i = 0; i < N; i += 2) {
        T_EQ(e[i]->calls, 1);
        end_close(e[i]);
        free(e[i]);
    }
    mp_loop_free(l);
}

/* The same object gets a new descriptor (even of the same number) inside the batch: the old event
 * is not delivered to it, the new one is. */
struct reopener {
    struct end *target;
    struct mp_io io;
    int new_peer;
};

static void reopen_ready(struct mp_io *io, unsigned events)
{
    struct reopener *r = MP_CONTAINER_OF(io, struct reopener, io);
    struct mp_loop *l = r->target->loop;
    if (!(events & MP_IO_IN) || r->new_peer >= 0) {
        return;
    }
    int fds[2];
    mp_io_close(l, &r->target->io);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0 &&
        !mp_is_err(mp_io_open(l, &r->target->io, fds[0], end_ready))) {
        r->new_peer = fds[1];
    }
}

static void reopen_in_batch(void)
{
    struct mp_loop *l = mp_loop_new();
    struct end e;
    struct reopener r = {.target = &e, .new_peer = -1};
    int fds[2];
    T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    T_OK(!mp_is_err(mp_io_open(l, &r.io, fds[0], reopen_ready)));
    T_OK(end_open(&e, l));
    mp_loop_turn(l, 1000);
    e.calls = e.events = 0;
    /* epoll reports in the order of readiness: first the closer, then the victim. */
    T_EQ(write(fds[1], "x", 1), 1);
    T_EQ(write(e.peer, "x", 1), 1);
    mp_loop_turn(l, 1000);
    T_OK(r.new_peer >= 0);
    T_EQ(e.calls, 0);
    mp_loop_turn(l, 1000);
    T_EQ(e.calls, 1);
    T_EQ(e.events, MP_IO_OUT);
    close(r.new_peer);
    mp_io_close(l, &r.io);
    close(fds[1]);
    end_close(&e);
    mp_loop_free(l);
}

/* Workers share listening sockets through duplicates: closing one registration must silence it all
 * the same. */
static void close_listener_with_duplicate(void)
{
    struct mp_loop *l = mp_loop_new();
    struct mp_addr any = {.family = MP_ADDR_IP4, .ip = {127, 0, 0, 1}}, bound;
    struct mp_listen_opts opts = {.backlog = 8};
    int fd = mp_sock_listen(l, &any, &opts);
    T_OK(fd >= 0);
    T_EQ(mp_sock_local_addr(l, fd, &bound), 0);
    int held = dup(fd);
    T_OK(held >= 0);
    struct end *e = calloc(1, sizeof *e);
    T_OK(e && !mp_is_err(mp_io_open_listener(l, &e->io, fd, end_ready)));
    mp_io_close(l, &e->io);
    free(e);
    int client = mp_sock_connect(l, &bound, NULL);
    T_OK(client >= 0);
    mp_loop_turn(l, 0);
    T_EQ(mp_loop_stats(l)->events, 0);
    mp_sock_close(l, client);
    close(held);
    mp_loop_free(l);
}

static void steal_and_close_twice(void)
{
    struct mp_loop *l = mp_loop_new();
    struct end e;
    T_OK(end_open(&e, l));
    int fd = mp_io_steal(l, &e.io);
    T_OK(fd >= 0);
    T_EQ(e.io.fd, -1);
    T_EQ(mp_io_steal(l, &e.io), -1);
    mp_io_close(l, &e.io);
    T_EQ(write(e.peer, "x", 1), 1);
    mp_loop_turn(l, 0);
    T_EQ(e.calls, 0);
    T_OK(fcntl(fd, F_GETFD) >= 0);
    /* Back in: what is ready already is told. */
    T_OK(!mp_is_err(mp_io_open(l, &e.io, fd, end_ready)));
    mp_loop_turn(l, 1000);
    T_OK(e.events & MP_IO_IN);
    end_close(&e);
    /* Never registered: whatever fd says is not ours to close. */
    struct mp_io never = {.fd = dup(0)};
    int other = never.fd;
    T_OK(other >= 0);
    mp_io_close(l, &never);
    T_OK(fcntl(other, F_GETFD) >= 0);
    close(other);
    mp_loop_free(l);
}

static void open_errors(void)
{
    struct mp_loop *l = mp_loop_new();
    struct mp_io io;
    T_OK(mp_is_err(mp_io_open(l, &io, -1, end_ready)));
    T_EQ(io.fd, -1);
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    T_OK(file >= 0);
    T_OK(mp_is_err(mp_io_open(l, &io, file, end_ready)));
    T_EQ(io.fd, -1);
    mp_io_close(l, &io);
    T_OK(fcntl(file, F_GETFD) >= 0);
    close(file);
    mp_loop_free(l);
}

static unsigned accept_events;
static void accept_ready(struct mp_io *io, unsigned events)
{
    (void)io;
    accept_events += !!(events & MP_IO_IN);
}

static void listener_level_and_pause(void)
{
    struct mp_loop *l = mp_loop_new();
    struct mp_addr any = addr_of("127.0.0.1:0"), at;
    struct mp_listen_opts o = {0};
    struct mp_io io;
    int fd = mp_sock_listen(l, &any, &o);
    T_OK(fd >= 0);
    T_EQ(mp_sock_local_addr(l, fd, &at), 0);
    T_OK(!mp_is_err(mp_io_open_listener(l, &io, fd, accept_ready)));
    int c = mp_sock_connect(l, &at, NULL);
    T_OK(c >= 0);
    accept_events = 0;
    RUN_UNTIL(l, accept_events > 0);
    mp_loop_turn(l, 1000);
    T_EQ(accept_events, 2); /* level: the connection still waits */
    mp_io_listener_pause(l, &io, true);
    mp_io_listener_pause(l, &io, true);
    mp_loop_turn(l, 10);
    T_EQ(accept_events, 2);
    mp_io_listener_pause(l, &io, false);
    mp_loop_turn(l, 1000);
    T_EQ(accept_events, 3);
    struct mp_addr peer;
    int s = mp_sock_accept(l, fd, &peer);
    T_OK(s >= 0);
    mp_loop_turn(l, 0);
    T_EQ(accept_events, 3);
    mp_sock_close(l, s);
    mp_sock_close(l, c);
    mp_io_close(l, &io);
    mp_loop_free(l);
}

static int again_events;

static void again_ready(struct mp_io *io, unsigned events)
{
    (void)io;
    again_events += (events & MP_IO_IN) != 0;
}

static void again_makes_an_edge(void)
{
    struct mp_loop *l = mp_loop_new();
    int fds[2];
    T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    struct mp_io io;
    T_OK(!mp_is_err(mp_io_open(l, &io, fds[0], again_ready)));
    T_EQ(write(fds[1], "x", 1), 1);
    mp_loop_turn(l, 1000);
    T_EQ(again_events, 1);
    mp_loop_turn(l, 0);
    T_EQ(again_events, 1); /* an edge is told once */
    mp_io_again(l, &io);
    mp_loop_turn(l, 1000);
    T_EQ(again_events, 2);
    char c;
    T_EQ(read(fds[0], &c, 1), 1);
    mp_io_again(l, &io);
    mp_loop_turn(l, 0);
    T_EQ(again_events, 2); /* nothing is ready */
    mp_io_close(l, &io);
    close(fds[1]);
    mp_loop_free(l);
}

/* ---- timers ---- */

struct late {
    struct mp_timer t;
    struct mp_loop *loop;
    uint64_t set_ns, fired_ns;
    uint64_t ms;
};

static void late_fire(struct mp_timer *t)
{
    struct late *x = MP_CONTAINER_OF(t, struct late, t);
    x->fired_ns = mp_loop_clock_ns(x->loop);
}

static void timers_never_early(void)
{
    enum { N = 40 };
    struct mp_loop *l = mp_loop_new();
    struct late x[N];
    mp_loop_turn(l, 0);
    for (unsigned i = 0; i < N; i++) {
        mp_timer_init(&x[i].t, late_fire);
        x[i].loop = l;
        x[i].fired_ns = 0;
        x[i].ms = i * 2;
        x[i].set_ns = mp_loop_now_ns(l);
        mp_timer_in(l, &x[i].t, x[i].ms);
    }
    uint64_t turns = mp_loop_stats(l)->turns;
    RUN_UNTIL(l, x[N - 1].fired_ns);
    for (unsigned i = 0; i < N; i++) {
        T_OK(x[i].fired_ns >= x[i].set_ns + x[i].ms * 1000000);
    }
    /* It slept: no spinning towards a deadline. */
    T_OK(mp_loop_stats(l)->turns - turns <= N * 3);
    mp_loop_free(l);
}

static void turn_waits_at_most(void)
{
    struct mp_loop *l = mp_loop_new();
    usleep(30000); /* an idle time before the turn is not taken off its wait */
    uint64_t t0 = mp_loop_clock_ns(l);
    mp_loop_turn(l, 20);
    uint64_t dt = mp_loop_clock_ns(l) - t0;
    T_OK(dt >= 20000000);
    T_OK(dt < 2000000000);
    struct late x = {.loop = l};
    mp_timer_init(&x.t, late_fire);
    mp_timer_in(l, &x.t, 100000);
    t0 = mp_loop_clock_ns(l);
    mp_loop_turn(l, 5);
    T_OK(mp_loop_clock_ns(l) - t0 < 2000000000);
    T_EQ(x.fired_ns, 0);
    mp_wheel_remove(mp_loop_wheel(l), &x.t);
    mp_loop_free(l);
}

/* ---- tasks and hooks ---- */

static char trace[32];
static size_t trace_n;
static struct mp_loop *trace_loop;
static struct mp_task task_a, task_b, task_c;

static void note(char c)
{
    if (trace_n < sizeof trace - 1) {
        trace[trace_n++] = c;
        trace[trace_n] = '\0';
    }
}
static void run_a(struct mp_task *t)
{
    (void)t;
    note('a');
    mp_task_defer(trace_loop, &task_c);
    mp_task_defer(trace_loop, &task_c);
}
static void run_b(struct mp_task *t)
{
    (void)t;
    note('b');
}
static void run_c(struct mp_task *t)
{
    note('c');
    (void)t;
}
static void hook(void *arg)
{
    note(*(char *)arg);
}

static void tasks_defer_tasks_then_hooks(void)
{
    struct mp_loop *l = mp_loop_new();
    char h1 = '1', h2 = '2';
    trace_n = 0;
    trace_loop = l;
    mp_task_init(&task_a, run_a);
    mp_task_init(&task_b, run_b);
    mp_task_init(&task_c, run_c);
    mp_loop_add_hook(l, hook, &h1);
    mp_loop_add_hook(l, hook, &h2);
    T_OK(!mp_task_pending(&task_a));
    mp_task_defer(l, &task_a);
    mp_task_defer(l, &task_b);
    mp_task_defer(l, &task_a);
    T_OK(mp_task_pending(&task_a));
    mp_loop_turn(l, 1000); /* does not sleep */
    T_OK(strcmp(trace, "abc12") == 0);
    mp_task_defer(l, &task_b);
    mp_task_cancel(&task_b);
    mp_task_cancel(&task_b);
    mp_loop_turn(l, 0);
    T_OK(strcmp(trace, "abc1212") == 0);
    mp_task_defer(l, &task_b);
    mp_loop_free(l);
    mp_task_cancel(&task_b); /* after the loop: harmless */
}

static void hooks_at_most_8(void)
{
    for (int n = 7; n <= 9; n++) {
        fflush(stdout);
        pid_t pid = fork();
        T_OK(pid >= 0);
        if (pid == 0) {
            int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
            dup2(null, 2);
            struct mp_loop *l = mp_loop_new();
            char h = 'h';
            for (int i = 0; i < n; i++) {
                mp_loop_add_hook(l, hook, &h);
            }
            trace_n = 0;
            mp_loop_turn(l, 0);
            mp_loop_free(l);
            _exit(trace_n == (size_t)n ? 0 : 1);
        }
        int status;
        T_EQ(waitpid(pid, &status, 0), pid);
        T_EQ(WIFEXITED(status) && WEXITSTATUS(status) == 0, n <= 8);
        T_EQ(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, n > 8);
    }
}

static unsigned self_runs;
static void run_self(struct mp_task *t)
{
    self_runs++;
    mp_task_defer(trace_loop, t);
}

/* A task that defers itself for ever does not stop the descriptors. */
static void tasks_are_bounded(void)
{
    struct mp_loop *l = mp_loop_new();
    struct mp_task t;
    struct end e;
    trace_loop = l;
    self_runs = 0;
    mp_task_init(&t, run_self);
    T_OK(end_open(&e, l));
    mp_task_defer(l, &t);
    mp_loop_turn(l, 1000);
    T_OK(self_runs > 0);
    unsigned first = self_runs;
    e.calls = 0;
    T_EQ(write(e.peer, "x", 1), 1);
    mp_loop_turn(l, 100000); /* work is left: no sleep */
    T_EQ(e.calls, 1);
    T_EQ(self_runs, 2 * first);
    mp_task_cancel(&t);
    end_close(&e);
    mp_loop_free(l);
}

static void run_stop(struct mp_task *t)
{
    (void)t;
    mp_loop_stop(trace_loop);
}

static void run_and_stop(void)
{
    struct mp_loop *l = mp_loop_new();
    struct mp_task t;
    trace_loop = l;
    mp_task_init(&t, run_stop);
    for (int i = 0; i < 2; i++) {
        mp_task_defer(l, &t);
        mp_loop_run(l);
    }
    T_EQ(mp_loop_stats(l)->turns, 2);
    mp_loop_free(l);
}

/* ---- time and stats ---- */

static void clocks(void)
{
    struct mp_loop *l = mp_loop_new();
    T_OK(mp_loop_now_ns(l) > 0);
    T_EQ(mp_loop_now_ms(l), mp_loop_now_ms_of(mp_loop_now_ns(l)));
    uint64_t now = mp_loop_now_ns(l);
    usleep(2000);
    T_EQ(mp_loop_now_ns(l), now); /* once a turn */
    T_OK(mp_loop_clock_ns(l) > now);
    mp_loop_turn(l, 0);
    T_OK(mp_loop_now_ns(l) >= now + 2000000);
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    int64_t wall = ts.tv_sec * 1000000000ll + ts.tv_nsec;
    T_OK(llabs(wall - (int64_t)mp_loop_wall_ns(l)) < 2000000000ll);
    char expect[40];
    time_t t = (time_t)(mp_loop_wall_ns(l) / 1000000000);
    struct tm tm;
    strftime(expect, sizeof expect, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&t, &tm));
    T_EQ(strlen(mp_loop_http_date(l)), 29);
    T_OK(strcmp(mp_loop_http_date(l), expect) == 0);
    mp_loop_free(l);
}

static void run_busy(struct mp_task *t)
{
    (void)t;
    usleep(3000);
    self_runs = mp_loop_stats(trace_loop)->last_turn_ns == mp_loop_now_ns(trace_loop);
}

static void stats_count(void)
{
    struct mp_loop *l = mp_loop_new();
    struct mp_task t;
    const struct mp_loop_stats *s = mp_loop_stats(l);
    trace_loop = l;
    self_runs = 0;
    mp_task_init(&t, run_busy);
    mp_task_defer(l, &t);
    mp_loop_turn(l, 0);
    T_EQ(s->turns, 1);
    T_EQ(self_runs, 1);
    T_OK(s->busy_ns >= 3000000);
    uint64_t busy = s->busy_ns;
    mp_loop_turn(l, 200); /* sleeping is not being busy */
    T_EQ(s->turns, 2);
    T_OK(s->busy_ns - busy < 150000000);
    mp_loop_free(l);
}

static unsigned wakes;
static void on_wake(void *arg)
{
    wakes += *(unsigned *)arg;
}

static void wake_before_sleep(void)
{
    struct mp_loop *l = mp_loop_new();
    unsigned one = 1;
    wakes = 0;
    mp_loop_set_on_wake(l, on_wake, &one);
    mp_loop_wake(l);
    mp_loop_wake(l);
    uint64_t t0 = mp_loop_clock_ns(l);
    mp_loop_turn(l, 5000);
    T_OK(mp_loop_clock_ns(l) - t0 < 4000000000ull);
    T_EQ(wakes, 1);
    mp_loop_turn(l, 0);
    T_EQ(wakes, 1);
    mp_loop_wake(l);
    mp_loop_turn(l, 0);
    T_EQ(wakes, 2);
    mp_loop_free(l);
}

static unsigned level_calls;
static void level_ready(struct mp_io *io, unsigned events)
{
    (void)io;
    level_calls += events;
}

static void level_variant(void)
{
    struct mp_loop *l = mp_loop_new();
    int fds[2];
    struct mp_io io;
    T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    T_OK(!mp_is_err(mp_io_open_level(l, &io, fds[0], MP_IO_IN, level_ready)));
    level_calls = 0;
    mp_loop_turn(l, 0);
    T_EQ(level_calls, 0);
    T_EQ(write(fds[1], "ab", 2), 2);
    mp_loop_turn(l, 1000);
    mp_loop_turn(l, 1000);
    T_EQ(level_calls, 2 * MP_IO_IN);
    mp_io_level_want(l, &io, MP_IO_IN | MP_IO_OUT);
    mp_loop_turn(l, 1000);
    T_EQ(level_calls, 3 * MP_IO_IN + MP_IO_OUT);
    T_EQ(mp_io_steal(l, &io), fds[0]);
    close(fds[0]);
    close(fds[1]);
    mp_loop_free(l);
}

/* Many descriptors: all are told once, in several batches. */
static void many_descriptors(void)
{
    struct rlimit rl;
    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
    size_t n = rl.rlim_cur > 18100 ? 18000 : rl.rlim_cur > 200 ? rl.rlim_cur - 100 : 0;
    n &= ~(size_t)1;
    struct mp_loop *l = mp_loop_new();
    struct end *e = calloc(n, sizeof *e);
    T_OK(e);
    for (size_t i = 0; i < n; i += 2) {
        int fds[2];
        T_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
        for (size_t k = 0; k < 2; k++) {
            e[i + k].loop = l;
            T_OK(!mp_is_err(mp_io_open(l, &e[i + k].io, fds[k], end_ready)));
        }
    }
    RUN_UNTIL(l, mp_loop_stats(l)->events >= n);
    T_EQ(mp_loop_stats(l)->events, n);
    for (size_t i = 0; i < n; i++) {
        T_EQ(e[i].calls, 1);
    }
    printf("# %zu descriptors\n", n);
    for (size_t i = 0; i < n; i++) {
        mp_io_close(l, &e[i].io);
    }
    free(e);
    mp_loop_free(l);
}

static void no_descriptors_left(void)
{
    struct rlimit rl, low;
    getrlimit(RLIMIT_NOFILE, &rl);
    low = rl;
    int probe = dup(0);
    close(probe);
    for (int spare = 0; spare < 2; spare++) {
        low.rlim_cur = (rlim_t)probe + (rlim_t)spare;
        setrlimit(RLIMIT_NOFILE, &low);
        struct mp_loop *l = mp_loop_new();
        int e = errno;
        setrlimit(RLIMIT_NOFILE, &rl);
        T_OK(!l);
        T_EQ(e, EMFILE);
    }
    int again = dup(0);
    T_EQ(again, probe); /* nothing leaked */
    close(again);
}

int main(void)
{
    T_RUN(initial_edge_and_only_one);
    T_RUN(edge_triggered);
    T_RUN(out_edge_after_full);
    T_RUN(hup_is_told);
    T_RUN(close_in_batch);
    T_RUN(free_in_batch);
    T_RUN(reopen_in_batch);
    T_RUN(close_listener_with_duplicate);
    T_RUN(steal_and_close_twice);
    T_RUN(open_errors);
    T_RUN(listener_level_and_pause);
    T_RUN(again_makes_an_edge);
    T_RUN(timers_never_early);
    T_RUN(turn_waits_at_most);
    T_RUN(tasks_defer_tasks_then_hooks);
    T_RUN(hooks_at_most_8);
    T_RUN(tasks_are_bounded);
    T_RUN(run_and_stop);
    T_RUN(clocks);
    T_RUN(stats_count);
    T_RUN(wake_before_sleep);
    T_RUN(level_variant);
    T_RUN(no_descriptors_left);
    T_RUN(many_descriptors);
    return T_DONE();
}
