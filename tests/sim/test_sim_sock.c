/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The simulated loop, sockets and resolver, call by call. */
#include <errno.h>
#include "base/assert.h"
#include "io/dns.h"
#include "io/entropy.h"
#include "io/mailbox.h"
#include "io/sim.h"
#include "io/sock.h"
#include "t.h"

static const struct mp_addr SERVER = {.family = MP_ADDR_IP4, .port = 80, .ip = {10, 0, 0, 1}};

/* A descriptor that counts what it is told. */
struct probe {
    struct mp_io io;
    uint32_t n, in, out, hup, err;
    unsigned last;
};

static void probe_ready(struct mp_io *io, unsigned events)
{
    struct probe *p = MP_CONTAINER_OF(io, struct probe, io);
    p->n++;
    p->in += (events & MP_IO_IN) != 0;
    p->out += (events & MP_IO_OUT) != 0;
    p->hup += (events & MP_IO_HUP) != 0;
    p->err += (events & MP_IO_ERR) != 0;
    p->last = events;
}

static struct mp_loop *loop;
static struct probe a, b; /* the two ends of a connection */
static int listener;

static const struct mp_sim_opts PLAIN = {.seed = 1, .latency_us_min = 100, .latency_us_max = 100};

static void begin(const struct mp_sim_opts *opts)
{
    mp_sim_begin(opts);
    loop = mp_loop_new();
    a = b = (struct probe){.io.fd = -1};
}

static void end(void)
{
    mp_io_close(loop, &a.io);
    mp_io_close(loop, &b.io);
    if (listener >= 0) {
        mp_sock_close(loop, listener);
    }
    loop = mp_loop_free(loop);
    mp_sim_end();
}

static void run_ms(uint64_t ms)
{
    mp_sim_run_until(NULL, NULL, ms);
}

/* a (who connected) and b (who was accepted), registered, initial events delivered. */
static void pair_with(const struct mp_listen_opts *lo)
{
    listener = mp_sock_listen(loop, &SERVER, lo);
    int fd = mp_sock_connect(loop, &SERVER, NULL);
    MP_ASSERT(fd >= 0);
    MP_ASSERT(!mp_is_err(mp_io_open(loop, &a.io, fd, probe_ready)));
    run_ms(10);
    int accepted = mp_sock_accept(loop, listener, NULL);
    MP_ASSERT(accepted >= 0);
    MP_ASSERT(!mp_is_err(mp_io_open(loop, &b.io, accepted, probe_ready)));
    run_ms(10);
}

static void begin_pair(const struct mp_sim_opts *opts)
{
    struct mp_listen_opts lo = {0};
    begin(opts);
    pair_with(&lo);
    a.n = a.in = a.out = a.hup = a.err = 0;
    b.n = b.in = b.out = b.hup = b.err = 0;
}

static void connects_and_tells_addresses(void)
{
    begin(&PLAIN);
    struct mp_listen_opts lo = {0};
    struct mp_addr wild = {.family = MP_ADDR_IP4}, at, peer;
    listener = mp_sock_listen(loop, &wild, &lo);
    T_OK(mp_sock_local_addr(loop, listener, &at) == 0);
    T_OK(at.port != 0);
    struct mp_addr to = SERVER;
    to.port = at.port;
    T_EQ(mp_sock_accept(loop, listener, NULL), -EAGAIN);
    int fd = mp_sock_connect(loop, &to, NULL);
    T_OK(!mp_is_err(mp_io_open(loop, &a.io, fd, probe_ready)));
    T_EQ(mp_sock_send(loop, fd, "x", 1), -EAGAIN);
    T_EQ(a.n, 0);
    run_ms(10);
    T_EQ(a.n, 1);
    T_EQ(a.last, MP_IO_OUT);
    T_EQ(mp_sock_connect_result(loop, fd), 0);
    int accepted = mp_sock_accept(loop, listener, &peer);
    T_OK(accepted >= 0);
    T_OK(mp_sock_local_addr(loop, fd, &at) == 0);
    T_OK(mp_addr_eq(&at, &peer));
    T_OK(mp_sock_local_addr(loop, accepted, &at) == 0);
    T_OK(mp_addr_eq(&at, &to));
    mp_sock_close(loop, accepted);
    end();
}

static void registration_reports_what_is_there(void)
{
    struct mp_listen_opts lo = {0};
    begin(&PLAIN);
    listener = mp_sock_listen(loop, &SERVER, &lo);
    int fd = mp_sock_connect(loop, &SERVER, NULL);
    run_ms(10);
    T_EQ(mp_sock_send(loop, fd, "hello", 5), 5);
    mp_sock_shutdown_write(loop, fd);
    run_ms(10);
    int accepted = mp_sock_accept(loop, listener, NULL);
    T_OK(!mp_is_err(mp_io_open(loop, &b.io, accepted, probe_ready)));
    T_EQ(b.n, 0); /* never from inside the call */
    run_ms(1);
    T_EQ(b.n, 1);
    T_EQ(b.last, MP_IO_IN | MP_IO_OUT | MP_IO_HUP);
    mp_sock_close(loop, fd);
    end();
}

static void one_event_per_edge(void)
{
    char buf[100];
    begin_pair(&PLAIN);
    T_EQ(mp_sock_send(loop, a.io.fd, "0123456789", 10), 10);
    run_ms(10);
    T_EQ(b.n, 1);
    T_EQ(b.last, MP_IO_IN | MP_IO_OUT);
    /* Unread bytes do not report again; not even after some of them are read. */
    T_EQ(mp_sock_recv(loop, b.io.fd, buf, 4), 4);
    run_ms(1000);
    T_EQ(b.n, 1);
    /* New ones do. */
    T_EQ(mp_sock_send(loop, a.io.fd, "ab", 2), 2);
    run_ms(10);
    T_EQ(b.n, 2);
    T_EQ(mp_sock_recv(loop, b.io.fd, buf, sizeof(buf)), 8);
    T_OK(memcmp(buf, "456789ab", 8) == 0);
    T_EQ(mp_sock_recv(loop, b.io.fd, buf, sizeof(buf)), -EAGAIN);
    T_EQ(a.n, 0);
    end();
}

static void several_edges_merge_until_fetched(void)
{
    begin_pair(&PLAIN);
    for (int i = 0; i < 5; i++) {
        T_EQ(mp_sock_send(loop, a.io.fd, "x", 1), 1);
    }
    run_ms(10);
    T_EQ(b.n, 1);
    end();
}

static void a_full_buffer_wakes_its_writer_once(void)
{
    static char bulk[70000];
    char buf[16384];
    struct mp_sim_opts opts = PLAIN;
    opts.sock_buffer = 60000;
    begin_pair(&opts);
    T_EQ(mp_sock_send(loop, a.io.fd, bulk, 59999), 59999);
    T_EQ(mp_sock_send(loop, a.io.fd, bulk, 2), 1);
    T_EQ(mp_sock_send(loop, a.io.fd, bulk, 1), -EAGAIN);
    run_ms(10);
    T_EQ(a.n, 0);
    /* Less than a third free: not worth an event. */
    T_EQ(mp_sock_recv(loop, b.io.fd, buf, 16384), 16384);
    run_ms(10);
    T_EQ(a.n, 0);
    T_EQ(mp_sock_recv(loop, b.io.fd, buf, 16384), 16384);
    run_ms(10);
    T_EQ(a.n, 1);
    T_EQ(a.last, MP_IO_OUT);
    /* Nobody waits any more: no further event. */
    T_EQ(mp_sock_recv(loop, b.io.fd, buf, 16384), 16384);
    run_ms(10);
    T_EQ(a.n, 1);
    end();
}

static void half_close_leaves_the_other_way_open(void)
{
    char buf[10];
    begin_pair(&PLAIN);
    T_EQ(mp_sock_send(loop, a.io.fd, "ask", 3), 3);
    T_EQ(mp_sock_shutdown_write(loop, a.io.fd), 0);
    T_EQ(mp_sock_shutdown_write(loop, a.io.fd), 0);
    T_EQ(mp_sock_send(loop, a.io.fd, "x", 1), -EPIPE);
    run_ms(10);
    T_OK(b.hup > 0);
    T_EQ(mp_sock_recv(loop, b.io.fd, buf, 10), 3);
    T_EQ(mp_sock_recv(loop, b.io.fd, buf, 10), 0);
    T_EQ(mp_sock_recv(loop, b.io.fd, buf, 10), 0);
    T_EQ(mp_sock_send(loop, b.io.fd, "answer", 6), 6);
    T_EQ(mp_sock_shutdown_write(loop, b.io.fd), 0);
    run_ms(10);
    T_EQ(mp_sock_recv(loop, a.io.fd, buf, 10), 6);
    T_EQ(mp_sock_recv(loop, a.io.fd, buf, 10), 0);
    T_EQ(a.err + b.err, 0);
    end();
}

static void writing_to_a_closed_peer_is_answered_by_reset(void)
{
    char buf[10];
    begin_pair(&PLAIN);
    mp_io_close(loop, &b.io);
    run_ms(10);
    T_OK(a.hup > 0);
    T_EQ(mp_sock_recv(loop, a.io.fd, buf, 10), 0);
    T_EQ(mp_sock_send(loop, a.io.fd, "lost", 4), 4); /* nobody knows yet */
    run_ms(10);
    T_OK(a.err > 0);
    /* After FIN the error is EPIPE, and reading goes on to say "end". */
    T_EQ(mp_sock_recv(loop, a.io.fd, buf, 10), 0);
    T_EQ(mp_sock_send(loop, a.io.fd, "lost", 4), -EPIPE);
    T_EQ(mp_sock_send(loop, a.io.fd, "lost", 4), -EPIPE);
    end();
}

static void closing_with_unread_bytes_resets(void)
{
    char buf[10];
    begin_pair(&PLAIN);
    T_EQ(mp_sock_send(loop, a.io.fd, "unread", 6), 6);
    run_ms(10);
    mp_io_close(loop, &b.io);
    run_ms(10);
    T_EQ(a.n, 1);
    T_EQ(a.last, MP_IO_IN | MP_IO_OUT | MP_IO_HUP | MP_IO_ERR);
    /* The error is told once. */
    T_EQ(mp_sock_recv(loop, a.io.fd, buf, 10), -ECONNRESET);
    T_EQ(mp_sock_recv(loop, a.io.fd, buf, 10), 0);
    T_EQ(mp_sock_send(loop, a.io.fd, "x", 1), -EPIPE);
    end();
}

static void reset_on_close_is_seen_by_a_writer(void)
{
    begin_pair(&PLAIN);
    mp_sock_set_reset_on_close(loop, a.io.fd);
    mp_io_close(loop, &a.io);
    run_ms(10);
    T_EQ(b.err, 1);
    T_EQ(mp_sock_send(loop, b.io.fd, "x", 1), -ECONNRESET);
    T_EQ(mp_sock_send(loop, b.io.fd, "x", 1), -EPIPE);
    end();
}

/* What was received before a reset may be gone or not: both happen. */
static void reset_may_discard_unread_bytes(void)
{
    int kept = 0, lost = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        char buf[10];
        struct mp_sim_opts opts = PLAIN;
        opts.seed = seed;
        begin_pair(&opts);
        T_EQ(mp_sock_send(loop, a.io.fd, "abc", 3), 3);
        run_ms(10);
        mp_sim_reset_conn(a.io.fd);
        ssize_t n = mp_sock_recv(loop, b.io.fd, buf, 10);
        kept += n == 3;
        lost += n == -ECONNRESET;
        end();
    }
    T_EQ(kept + lost, 20);
    T_OK(kept > 0);
    T_OK(lost > 0);
}

static void nobody_listens(void)
{
    begin(&PLAIN);
    listener = -1;
    int fd = mp_sock_connect(loop, &SERVER, NULL);
    T_OK(!mp_is_err(mp_io_open(loop, &a.io, fd, probe_ready)));
    run_ms(10);
    T_EQ(a.err, 1);
    T_EQ(mp_sock_connect_result(loop, fd), -ECONNREFUSED);
    T_EQ(mp_sock_connect_result(loop, fd), 0);
    struct mp_addr gone = {.family = MP_ADDR_UNIX, .path = "/gone"};
    T_EQ(mp_sock_connect(loop, &gone, NULL), -ENOENT);
    end();
}

static void a_full_backlog_delays(void)
{
    begin(&PLAIN);
    struct mp_listen_opts lo = {.backlog = 2};
    listener = mp_sock_listen(loop, &SERVER, &lo);
    int fd[3];
    for (int i = 0; i < 3; i++) {
        fd[i] = mp_sock_connect(loop, &SERVER, NULL);
    }
    T_OK(!mp_is_err(mp_io_open(loop, &a.io, fd[2], probe_ready)));
    run_ms(500);
    T_EQ(a.n, 0);
    int accepted = mp_sock_accept(loop, listener, NULL);
    T_OK(accepted >= 0);
    mp_sock_close(loop, accepted);
    run_ms(1000); /* the second attempt comes after one second */
    T_EQ(a.n, 1);
    T_EQ(a.last, MP_IO_OUT);
    mp_sock_close(loop, fd[0]);
    mp_sock_close(loop, fd[1]);
    end();
}

static void a_backlog_that_stays_full_times_out(void)
{
    begin(&PLAIN);
    struct mp_listen_opts lo = {.backlog = 1};
    listener = mp_sock_listen(loop, &SERVER, &lo);
    int first = mp_sock_connect(loop, &SERVER, NULL);
    int fd = mp_sock_connect(loop, &SERVER, NULL);
    T_OK(!mp_is_err(mp_io_open(loop, &a.io, fd, probe_ready)));
    run_ms(126000);
    T_EQ(a.n, 0);
    run_ms(2000);
    T_EQ(mp_sock_connect_result(loop, fd), -ETIMEDOUT);
    mp_sock_close(loop, first);
    end();
}

static void listeners_share_only_with_reuse_port(void)
{
    begin(&PLAIN);
    struct mp_listen_opts plain = {0}, shared = {.reuse_port = true};
    listener = mp_sock_listen(loop, &SERVER, &shared);
    T_EQ(mp_sock_listen(loop, &SERVER, &plain), -EADDRINUSE);
    int second = mp_sock_listen(loop, &SERVER, &shared);
    T_OK(second >= 0);
    int n[2] = {0, 0}, fd[40];
    for (int i = 0; i < 40; i++) {
        fd[i] = mp_sock_connect(loop, &SERVER, NULL);
    }
    run_ms(10);
    for (int i = 0; i < 2; i++) {
        int got;
        while ((got = mp_sock_accept(loop, i ? second : listener, NULL)) >= 0) {
            mp_sock_close(loop, got);
            n[i]++;
        }
    }
    T_EQ(n[0] + n[1], 40);
    T_OK(n[0] > 5);
    T_OK(n[1] > 5);
    for (int i = 0; i < 40; i++) {
        mp_sock_close(loop, fd[i]);
    }
    mp_sock_close(loop, second);
    end();
}

static void a_listener_reports_until_it_is_empty(void)
{
    begin(&PLAIN);
    struct mp_listen_opts lo = {0};
    struct probe l = {.io.fd = -1};
    listener = -1;
    int lfd = mp_sock_listen(loop, &SERVER, &lo);
    T_OK(!mp_is_err(mp_io_open_listener(loop, &l.io, lfd, probe_ready)));
    int fd = mp_sock_connect(loop, &SERVER, NULL);
    run_ms(10);
    T_OK(l.n > 100); /* level-triggered, and time goes on meanwhile */
    mp_io_listener_pause(loop, &l.io, true);
    uint32_t before = l.n;
    run_ms(10);
    T_EQ(l.n, before);
    mp_io_listener_pause(loop, &l.io, false);
    run_ms(10);
    T_OK(l.n > before);
    /* Closing it resets who waits inside. */
    T_OK(!mp_is_err(mp_io_open(loop, &a.io, fd, probe_ready)));
    mp_io_close(loop, &l.io);
    run_ms(10);
    T_EQ(a.err, 1);
    end();
}

static void defer_accept_waits_for_bytes(void)
{
    begin(&PLAIN);
    struct mp_listen_opts lo = {.defer_accept = true};
    listener = mp_sock_listen(loop, &SERVER, &lo);
    int fd = mp_sock_connect(loop, &SERVER, NULL);
    int silent = mp_sock_connect(loop, &SERVER, NULL);
    run_ms(10);
    T_EQ(mp_sock_accept(loop, listener, NULL), -EAGAIN);
    T_EQ(mp_sock_send(loop, fd, "x", 1), 1);
    run_ms(10);
    int first = mp_sock_accept(loop, listener, NULL);
    T_OK(first >= 0);
    T_EQ(mp_sock_accept(loop, listener, NULL), -EAGAIN);
    run_ms(1000);
    int second = mp_sock_accept(loop, listener, NULL);
    T_OK(second >= 0);
    mp_sock_close(loop, first);
    mp_sock_close(loop, second);
    mp_sock_close(loop, fd);
    mp_sock_close(loop, silent);
    end();
}

static void unix_sockets(void)
{
    begin(&PLAIN);
    struct mp_addr at = {.family = MP_ADDR_UNIX, .path = "@sock"};
    struct mp_listen_opts lo = {.backlog = 1};
    listener = mp_sock_listen(loop, &at, &lo);
    int fd = mp_sock_connect(loop, &at, NULL);
    T_OK(fd >= 0);
    T_EQ(mp_sock_connect_result(loop, fd), 0);
    T_EQ(mp_sock_connect(loop, &at, NULL), -EAGAIN);
    T_EQ(mp_sock_send(loop, fd, "x", 1), 1);
    struct mp_addr peer;
    int accepted = mp_sock_accept(loop, listener, &peer);
    T_EQ(peer.family, MP_ADDR_UNIX);
    char c;
    run_ms(1);
    T_EQ(mp_sock_recv(loop, accepted, &c, 1), 1);
    mp_sock_close(loop, accepted);
    mp_sock_close(loop, fd);
    end();
}

/* A short read means "nothing more is here": then the rest must come with an event. */
static void a_short_read_is_followed_by_an_edge(void)
{
    struct mp_sim_opts opts = PLAIN;
    opts.short_read = 60000;
    begin_pair(&opts);
    static char bulk[5000], got[5000];
    mp_entropy(bulk, sizeof(bulk));
    T_EQ(mp_sock_send(loop, a.io.fd, bulk, sizeof(bulk)), sizeof(bulk));
    size_t at = 0;
    uint32_t events = 0;
    for (int i = 0; i < 2000 && at < sizeof(bulk); i++) {
        run_ms(1);
        if (b.n == events) {
            continue;
        }
        events = b.n;
        ssize_t n;
        do {
            size_t want = MP_MIN(sizeof(got) - at, 1000u);
            n = want > 0 ? mp_sock_recv(loop, b.io.fd, got + at, want) : 0;
            at += n > 0 ? (size_t)n : 0;
            if ((size_t)n < want) {
                break;
            }
        } while (n > 0);
    }
    T_EQ(at, sizeof(bulk));
    T_OK(memcmp(bulk, got, sizeof(bulk)) == 0);
    T_OK(events > 5);
    end();
}

static void a_short_write_is_followed_by_an_edge(void)
{
    struct mp_sim_opts opts = PLAIN;
    opts.short_write = 60000;
    begin_pair(&opts);
    static char bulk[5000];
    size_t at = 0;
    uint32_t events = 0, stops = 0;
    while (at < sizeof(bulk)) {
        ssize_t n = mp_sock_send(loop, a.io.fd, bulk + at, sizeof(bulk) - at);
        T_OK(n > 0 || n == -EAGAIN);
        at += n > 0 ? (size_t)n : 0;
        if (at < sizeof(bulk)) {
            stops++;
            run_ms(10);
            T_EQ(a.out, ++events);
        }
    }
    T_OK(stops > 3);
    end();
}

struct closer {
    struct probe p;
    struct probe *other;
};

static void close_other(struct mp_io *io, unsigned events)
{
    struct closer *c = MP_CONTAINER_OF(io, struct closer, p.io);
    c->p.n++;
    mp_io_close(loop, &c->other->io);
}

/* Two events fetched together; the first handler closes the second's descriptor. */
static void no_event_after_closing(void)
{
    begin(&PLAIN);
    struct mp_listen_opts lo = {0};
    listener = mp_sock_listen(loop, &SERVER, &lo);
    struct closer c = {.p.io.fd = -1, .other = &a};
    int fd[2] = {mp_sock_connect(loop, &SERVER, NULL), mp_sock_connect(loop, &SERVER, NULL)};
    run_ms(10);
    T_OK(!mp_is_err(mp_io_open(loop, &c.p.io, fd[0], close_other)));
    T_OK(!mp_is_err(mp_io_open(loop, &a.io, fd[1], probe_ready)));
    run_ms(10);
    T_EQ(c.p.n, 1);
    T_EQ(a.n, 0);
    T_EQ(a.io.fd, -1);
    mp_io_close(loop, &c.p.io);
    mp_io_close(loop, &c.p.io);
    end();
}

static void stealing_keeps_the_descriptor(void)
{
    begin_pair(&PLAIN);
    T_EQ(mp_sock_send(loop, a.io.fd, "x", 1), 1);
    int fd = mp_io_steal(loop, &b.io);
    run_ms(10);
    T_EQ(b.n, 0);
    struct mp_loop *other = mp_loop_new();
    T_OK(!mp_is_err(mp_io_open(other, &b.io, fd, probe_ready)));
    run_ms(1);
    T_EQ(b.n, 1);
    mp_io_close(other, &b.io);
    other = mp_loop_free(other);
    end();
}

/* Time */

struct ticker {
    struct mp_timer t;
    uint64_t fired_ns;
    uint32_t n;
};

static void tick(struct mp_timer *t)
{
    struct ticker *k = MP_CONTAINER_OF(t, struct ticker, t);
    k->n++;
    k->fired_ns = mp_loop_now_ns(loop);
}

static void timers_fire_in_virtual_time(void)
{
    begin(&PLAIN);
    listener = -1;
    static const uint64_t waits[] = {0, 1, 2, 63, 64, 65, 1000, 4096, 3600000};
    struct ticker k[MP_COUNTOF(waits)] = {0};
    uint64_t start = mp_sim_now_ns();
    for (size_t i = 0; i < MP_COUNTOF(waits); i++) {
        mp_timer_init(&k[i].t, tick);
        mp_timer_in(loop, &k[i].t, waits[i]);
    }
    run_ms(4000000);
    for (size_t i = 0; i < MP_COUNTOF(waits); i++) {
        T_EQ(k[i].n, 1);
        T_OK(k[i].fired_ns >= start + waits[i] * 1000000);
        T_OK(k[i].fired_ns <= start + (waits[i] + 1) * 1000000 + 10000);
    }
    /* With nothing left to happen the clock rests. */
    uint64_t rest = mp_sim_now_ns();
    run_ms(1000);
    T_OK(mp_sim_now_ns() == rest);
    end();
}

static void a_timer_may_be_set_from_outside_a_turn(void)
{
    begin(&PLAIN);
    listener = -1;
    struct ticker k[2] = {0};
    mp_timer_init(&k[0].t, tick);
    mp_timer_init(&k[1].t, tick);
    mp_timer_in(loop, &k[0].t, 5000);
    run_ms(1000);
    uint64_t at = mp_sim_now_ns();
    mp_timer_in(loop, &k[1].t, 10); /* earlier than what the loop waits for */
    run_ms(100);
    T_EQ(k[1].n, 1);
    T_OK(k[1].fired_ns - at <= 12 * 1000000);
    mp_wheel_remove(mp_loop_wheel(loop), &k[0].t);
    end();
}

static void the_date_follows_the_clock(void)
{
    begin(&PLAIN);
    listener = -1;
    T_OK(strcmp(mp_loop_http_date(loop), "Tue, 14 Nov 2023 22:13:21 GMT") == 0);
    struct ticker k = {0};
    mp_timer_init(&k.t, tick);
    mp_timer_in(loop, &k.t, 39000);
    run_ms(40000);
    T_OK(strcmp(mp_loop_http_date(loop), "Tue, 14 Nov 2023 22:14:00 GMT") == 0);
    T_EQ(mp_loop_wall_ns(loop) / 1000000000, 1700000040);
    end();
}

/* Tasks, hooks, wake-ups, messages */

struct job {
    struct mp_task t;
    int n, again;
};

static void job_run(struct mp_task *t)
{
    struct job *j = MP_CONTAINER_OF(t, struct job, t);
    j->n++;
    if (j->again-- > 0) {
        mp_task_defer(loop, t);
    }
}

static void count(void *arg)
{
    ++*(int *)arg;
}

static void tasks_and_hooks(void)
{
    begin(&PLAIN);
    listener = -1;
    struct job j = {.again = 3}, cancelled = {0};
    int hooks = 0;
    mp_task_init(&j.t, job_run);
    mp_task_init(&cancelled.t, job_run);
    T_OK(!mp_task_pending(&j.t));
    mp_task_defer(loop, &j.t);
    mp_task_defer(loop, &j.t);
    mp_task_defer(loop, &cancelled.t);
    T_OK(mp_task_pending(&j.t));
    mp_task_cancel(&cancelled.t);
    mp_loop_add_hook(loop, count, &hooks);
    mp_loop_turn(loop, 0);
    T_EQ(j.n, 4);
    T_EQ(cancelled.n, 0);
    T_EQ(hooks, 1);
    end();
}

static void a_task_without_end_lets_time_pass(void)
{
    begin(&PLAIN);
    listener = -1;
    struct job j = {.again = 3000000};
    mp_task_init(&j.t, job_run);
    mp_task_defer(loop, &j.t);
    uint64_t start = mp_sim_now_ns();
    run_ms(1);
    T_OK(mp_sim_now_ns() >= start + 1000000);
    T_OK(j.n > 1000);
    mp_task_cancel(&j.t);
    end();
}

static void wakes_merge_and_take_time(void)
{
    struct mp_sim_opts opts = PLAIN;
    opts.wake_us_max = 1000;
    begin(&opts);
    listener = -1;
    int n = 0;
    mp_loop_set_on_wake(loop, count, &n);
    for (int i = 0; i < 10; i++) {
        mp_loop_wake(loop);
    }
    T_EQ(n, 0);
    run_ms(10);
    T_EQ(n, 1);
    mp_loop_wake(loop);
    run_ms(10);
    T_EQ(n, 2);
    end();
}

struct note {
    struct mp_msg m;
    int value;
};
static int received[10], n_received;

static void note_deliver(struct mp_msg *m, void *receiver)
{
    received[n_received++] = MP_CONTAINER_OF(m, struct note, m)->value;
}

static void messages_arrive_in_order(void)
{
    begin(&PLAIN);
    listener = -1;
    struct mp_mailbox mb;
    struct note notes[3];
    mp_mailbox_init(&mb, loop, NULL);
    n_received = 0;
    for (int i = 0; i < 3; i++) {
        notes[i] = (struct note){.m.deliver = note_deliver, .value = i};
        mp_mailbox_post(&mb, &notes[i].m);
    }
    T_EQ(n_received, 0);
    run_ms(10);
    T_EQ(n_received, 3);
    T_EQ(received[0] * 100 + received[1] * 10 + received[2], 12);
    end();
}

static void stop(void *arg)
{
    mp_loop_stop(arg);
}

static void run_and_stop(void)
{
    begin(&PLAIN);
    listener = -1;
    mp_sim_at(mp_sim_now_ns() + 5000000, stop, loop);
    uint64_t start = mp_sim_now_ns();
    mp_loop_run(loop);
    T_OK(mp_sim_now_ns() == start + 5000000);
    T_OK(mp_sim_loop_stopped(loop));
    /* A stopped loop takes no turns, whatever happens. */
    int n = 0;
    mp_loop_set_on_wake(loop, count, &n);
    mp_loop_wake(loop);
    run_ms(10);
    T_EQ(n, 0);
    mp_loop_turn(loop, 0);
    T_EQ(n, 1);
    T_OK(!mp_sim_loop_stopped(loop));
    end();
}

/* Names */

struct asked {
    int calls;
    mp_err err;
    uint32_t n, ttl_s;
    struct mp_addr first;
};

static void answered(void *arg, const struct mp_dns_answer *ans)
{
    struct asked *q = arg;
    q->calls++;
    q->err = ans->err;
    q->n = ans->n;
    q->ttl_s = ans->ttl_s;
    if (ans->n > 0) {
        q->first = ans->addrs[0];
    }
}

static void names(void)
{
    begin(&PLAIN);
    listener = -1;
    struct mp_addr v[3] = {{.family = MP_ADDR_IP4, .port = 7, .ip = {2}},
                           {.family = MP_ADDR_IP4, .port = 7, .ip = {1}},
                           {.family = MP_ADDR_IP4, .port = 9, .ip = {2}}};
    struct mp_addr six = {.family = MP_ADDR_IP6, .ip = {6}};
    mp_sim_dns_set("Four.Test", v, 3, 30);
    struct mp_addr both[2] = {v[0], six};
    mp_sim_dns_set("both.test", both, 2, 5);
    struct mp_dns *d;
    T_OK(!mp_is_err(mp_dns_new(loop, NULL, &d)));
    struct asked q[8] = {0};
    mp_dns_resolve(d, MP_STR("four.test."), MP_DNS_AUTO, answered, &q[0]);
    mp_dns_resolve(d, MP_STR("four.test"), MP_DNS_V6_ONLY, answered, &q[1]);
    mp_dns_resolve(d, MP_STR("both.test"), MP_DNS_AUTO, answered, &q[2]);
    mp_dns_resolve(d, MP_STR("both.test"), MP_DNS_V4_PREFERRED, answered, &q[3]);
    mp_dns_resolve(d, MP_STR("both.test"), MP_DNS_ALL, answered, &q[4]);
    mp_dns_resolve(d, MP_STR("none.test"), MP_DNS_AUTO, answered, &q[5]);
    mp_dns_resolve(d, MP_STR("127.0.0.9"), MP_DNS_AUTO, answered, &q[6]);
    mp_dns_cancel(mp_dns_resolve(d, MP_STR("four.test"), MP_DNS_AUTO, answered, &q[7]));
    T_EQ(q[0].calls, 0);
    run_ms(1000);
    T_EQ(q[0].calls, 1);
    T_EQ(q[0].n, 2);
    T_EQ(q[0].ttl_s, 30);
    T_EQ(q[0].first.ip[0], 1);
    T_EQ(q[0].first.port, 0);
    T_EQ(q[1].err.code, MP_E_NOT_FOUND);
    T_EQ(q[2].first.family, MP_ADDR_IP6);
    T_EQ(q[2].n, 1);
    T_EQ(q[3].first.family, MP_ADDR_IP4);
    T_EQ(q[4].n, 2);
    T_EQ(q[5].err.code, MP_E_NOT_FOUND);
    T_EQ(q[6].first.ip[3], 9);
    T_EQ(q[7].calls, 0);
    /* Removed; and freeing cancels. */
    mp_sim_dns_set("four.test", NULL, 0, 0);
    mp_dns_resolve(d, MP_STR("four.test"), MP_DNS_AUTO, answered, &q[0]);
    run_ms(1000);
    T_EQ(q[0].err.code, MP_E_NOT_FOUND);
    mp_dns_resolve(d, MP_STR("both.test"), MP_DNS_AUTO, answered, &q[7]);
    mp_dns_free(d);
    run_ms(1000);
    T_EQ(q[7].calls, 0);
    end();
}

static void names_fail_by_seed(void)
{
    struct mp_sim_opts opts = PLAIN;
    opts.dns_fail = 65536;
    begin(&opts);
    listener = -1;
    struct mp_dns *d;
    T_OK(!mp_is_err(mp_dns_new(loop, NULL, &d)));
    int dns = 0, timeout = 0;
    for (int i = 0; i < 20; i++) {
        struct asked q = {0};
        mp_dns_resolve(d, MP_STR("127.0.0.1"), MP_DNS_AUTO, answered, &q);
        run_ms(11000);
        T_EQ(q.calls, 1);
        dns += q.err.code == MP_E_DNS;
        timeout += q.err.code == MP_E_TIMEOUT;
    }
    T_EQ(dns + timeout, 20);
    T_OK(dns > 0);
    T_OK(timeout > 0);
    mp_dns_free(d);
    end();
}

/* Faults */

static void faults_come_by_seed(void)
{
    struct mp_sim_opts opts = PLAIN;
    opts.accept_fail = 30000;
    begin(&opts);
    struct mp_listen_opts lo = {0};
    listener = mp_sock_listen(loop, &SERVER, &lo);
    int refused = 0, emfile = 0;
    opts.connect_fail = 30000;
    mp_sim_set_faults(&opts);
    for (int i = 0; i < 50; i++) {
        int fd = mp_sock_connect(loop, &SERVER, NULL);
        if (fd < 0) {
            T_OK(fd == -EMFILE || fd == -EADDRNOTAVAIL);
            continue;
        }
        run_ms(130000);
        refused += mp_sock_connect_result(loop, fd) < 0;
        int got;
        while ((got = mp_sock_accept(loop, listener, NULL)) != -EAGAIN) {
            emfile += got == -EMFILE;
            if (got >= 0) {
                mp_sock_close(loop, got);
            }
        }
        mp_sock_close(loop, fd);
    }
    T_OK(refused > 5);
    T_OK(emfile > 2);
    T_EQ(mp_sim_open_fds(), 1);
    end();
}

static void seeded_resets_reach_both_ends(void)
{
    struct mp_sim_opts opts = PLAIN;
    opts.reset = 65536;
    begin_pair(&opts);
    T_EQ(mp_sock_send(loop, a.io.fd, "x", 1), 1);
    run_ms(10);
    T_EQ(a.err, 1);
    T_EQ(b.err, 1);
    end();
}

static uint64_t entropy_of(uint64_t seed)
{
    struct mp_sim_opts opts = {.seed = seed};
    uint64_t v;
    mp_sim_begin(&opts);
    mp_entropy(&v, sizeof(v));
    mp_sim_end();
    return v;
}

static void entropy_is_seeded(void)
{
    T_OK(entropy_of(1) == entropy_of(1));
    T_OK(entropy_of(1) != entropy_of(2));
}

int main(void)
{
    T_RUN(connects_and_tells_addresses);
    T_RUN(registration_reports_what_is_there);
    T_RUN(one_event_per_edge);
    T_RUN(several_edges_merge_until_fetched);
    T_RUN(a_full_buffer_wakes_its_writer_once);
    T_RUN(half_close_leaves_the_other_way_open);
    T_RUN(writing_to_a_closed_peer_is_answered_by_reset);
    T_RUN(closing_with_unread_bytes_resets);
    T_RUN(reset_on_close_is_seen_by_a_writer);
    T_RUN(reset_may_discard_unread_bytes);
    T_RUN(nobody_listens);
    T_RUN(a_full_backlog_delays);
    T_RUN(a_backlog_that_stays_full_times_out);
    T_RUN(listeners_share_only_with_reuse_port);
    T_RUN(a_listener_reports_until_it_is_empty);
    T_RUN(defer_accept_waits_for_bytes);
    T_RUN(unix_sockets);
    T_RUN(a_short_read_is_followed_by_an_edge);
    T_RUN(a_short_write_is_followed_by_an_edge);
    T_RUN(no_event_after_closing);
    T_RUN(stealing_keeps_the_descriptor);
    T_RUN(timers_fire_in_virtual_time);
    T_RUN(a_timer_may_be_set_from_outside_a_turn);
    T_RUN(the_date_follows_the_clock);
    T_RUN(tasks_and_hooks);
    T_RUN(a_task_without_end_lets_time_pass);
    T_RUN(wakes_merge_and_take_time);
    T_RUN(messages_arrive_in_order);
    T_RUN(run_and_stop);
    T_RUN(names);
    T_RUN(names_fail_by_seed);
    T_RUN(faults_come_by_seed);
    T_RUN(seeded_resets_reach_both_ends);
    T_RUN(entropy_is_seeded);
    return T_DONE();
}
