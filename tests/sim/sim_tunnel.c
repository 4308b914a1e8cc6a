/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Tunnels behind an upgrade: pairs of peers that send each other bytes of which each one is known
 * from the seed, in pieces and with pauses, end their sides in any order, or reset. Checked are
 * that nothing reaches the upstream before it has agreed, that every byte comes in order, and that
 * an orderly end is never seen before the last byte.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/assert.h"
#include "io/sock.h"
#include "sim_world.h"

#define HEAD_MAX 8192

struct plan {
    uint32_t len[2];      /* bytes from the client, from the upstream */
    uint32_t early;       /* of the client's, sent with the request */
    uint32_t pause_at[2]; /* the receiver stops for a while; 0: never */
    uint32_t reset_at[2]; /* the sender resets after so many; UINT32_MAX: never */
    uint32_t delay_ms;    /* before the 101 */
};

/* One end of a tunnel. */
struct end {
    struct mp_io io;
    struct sim_tunnels *ts;
    struct mp_loop *loop;
    struct plan plan;
    uint64_t id;
    uint32_t sent, got;
    bool upstream;
    bool known;  /* upstream: the request has said which tunnel it is */
    bool open;   /* the 101 was sent, or has come */
    bool agreed; /* upstream: the delay is over */
    bool fin, eof, closed, paused, waited;
    char head[HEAD_MAX]; /* upstream: as far as it has come; client: the same of the answer */
    uint32_t head_n;
    char out[256]; /* the head to send */
    uint32_t out_n, out_at;
    struct mp_timer timer;
    struct mp_list link;
    struct mp_task free_task;
};

struct start {
    struct sim_tunnels *ts;
    uint64_t id;
};

struct sim_tunnels {
    struct sim_world *w;
    struct mp_io listener;
    struct mp_list ends;
    uint32_t left;
    struct start starts[];
};

static void plan_make(const struct sim_world *w, uint64_t id, struct plan *p)
{
    static const uint32_t lengths[] = {0, 1, 5000, 70000, 400000};
    struct mp_rand r;
    mp_rand_seed(&r, w->opts.seed * 0x9e3779b97f4a7c15ull + id);
    for (int d = 0; d < 2; d++) {
        p->len[d] = mp_rand_below(&r, lengths[mp_rand_below(&r, MP_COUNTOF(lengths))] + 1);
        p->pause_at[d] = mp_rand_below(&r, 3) == 0 ? 1 + mp_rand_below(&r, p->len[d] + 1) : 0;
        bool reset = w->opts.peer_faults && mp_rand_below(&r, 6) == 0;
        p->reset_at[d] = reset ? mp_rand_below(&r, p->len[d] + 1) : UINT32_MAX;
    }
    uint32_t early = mp_rand_below(&r, 2) ? mp_rand_below(&r, 100) : 0;
    p->early = MP_MIN(p->len[0], early);
    p->delay_ms = mp_rand_below(&r, 3) == 0 ? mp_rand_below(&r, 200) : 0;
}

static char byte_of(uint64_t id, int direction, uint32_t at)
{
    uint64_t x = ((id * 2 + (unsigned)direction) << 32 | at) * 0x9e3779b97f4a7c15ull;
    x ^= x >> 29;
    x *= 0xd1342543de82ef95ull;
    return (char)(x >> 56);
}

static int mine(const struct end *e)
{
    return e->upstream;
}

static int theirs(const struct end *e)
{
    return !e->upstream;
}

/* ---- life ---- */

static void end_free(struct mp_task *t)
{
    struct end *e = MP_CONTAINER_OF(t, struct end, free_task);
    mp_task_cancel(&e->free_task);
    mp_list_remove(&e->link);
    free(e);
}

static void end_close(struct end *e, bool reset)
{
    if (e->closed) {
        return;
    }
    e->closed = true;
    if (reset) {
        mp_sock_set_reset_on_close(e->loop, e->io.fd);
    }
    mp_io_close(e->loop, &e->io);
    mp_wheel_remove(mp_loop_wheel(e->loop), &e->timer);
    e->ts->left -= !e->upstream;
    mp_task_defer(e->loop, &e->free_task);
}

/* Something ended before its time: only where the run has faults. */
static void broken(struct end *e, const char *what)
{
    const struct sim_world_opts *o = &e->ts->w->opts;
    if (!o->peer_faults && !o->net_faults) {
        sim_world_fail(e->ts->w, e->id, "tunnel, %s: %s after %u of %u bytes, %u of %u sent",
                       e->upstream ? "upstream" : "client", what, e->got, e->plan.len[theirs(e)],
                       e->sent, e->plan.len[mine(e)]);
    }
    end_close(e, false);
}

static void pump(struct end *e);

static void on_timer(struct mp_timer *t)
{
    struct end *e = MP_CONTAINER_OF(t, struct end, timer);
    e->paused = false;
    e->agreed |= e->known;
    pump(e);
}

static void pause_for(struct end *e, uint32_t ms)
{
    e->paused = true;
    mp_timer_in(e->loop, &e->timer, ms);
}

/* ---- bytes out ---- */

/* A send that fails has taken the news of the reset: reading would show an orderly end. */
static bool sent(struct end *e, ssize_t n, uint32_t *at)
{
    if (n < 0 && n != -EAGAIN) {
        broken(e, "reset");
        return false;
    }
    *at += n > 0 ? (uint32_t)n : 0;
    return n > 0;
}

/* False: nothing more can be sent now. */
static bool send_some(struct end *e)
{
    char piece[4096];
    uint32_t n = 0, left = e->plan.len[mine(e)] - e->sent;
    struct mp_rand *r = &e->ts->w->rand;
    if (e->out_at < e->out_n) {
        return sent(e, mp_sock_send(e->loop, e->io.fd, e->out + e->out_at, e->out_n - e->out_at),
                    &e->out_at);
    }
    if (!e->open || e->fin) {
        return false;
    }
    if (e->sent >= e->plan.reset_at[mine(e)]) {
        end_close(e, true);
        return false;
    }
    if (left == 0) {
        e->fin = true;
        mp_sock_shutdown_write(e->loop, e->io.fd);
        return false;
    }
    uint32_t some = 1 + mp_rand_below(r, sizeof(piece));
    left = MP_MIN(left, some);
    left = MP_MIN(left, e->plan.reset_at[mine(e)] - e->sent);
    for (; n < left; n++) {
        piece[n] = byte_of(e->id, mine(e), e->sent + n);
    }
    return sent(e, mp_sock_send(e->loop, e->io.fd, piece, n), &e->sent);
}

/* ---- bytes in ---- */

static bool take_bytes(struct end *e, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (e->got >= e->plan.len[theirs(e)] || p[i] != byte_of(e->id, theirs(e), e->got)) {
            sim_world_fail(e->ts->w, e->id, "tunnel: wrong byte at %u towards the %s", e->got,
                           e->upstream ? "upstream" : "client");
            end_close(e, true);
            return false;
        }
        e->got++;
    }
    e->ts->w->body_bytes += n;
    uint32_t at = e->plan.pause_at[theirs(e)];
    if (at > 0 && e->got >= at && !e->waited) {
        e->waited = true;
        pause_for(e, 1 + mp_rand_below(&e->ts->w->rand, 300));
    }
    return true;
}

/* The upstream's answer to a request whose head is whole. */
static void agree(struct end *e)
{
    static const char start[] = "GET /t/";
    char *end = e->head;
    uint64_t id = 0;
    if (strncmp(e->head, start, sizeof(start) - 1) == 0) {
        id = strtoull(e->head + sizeof(start) - 1, &end, 10);
    }
    if (end == e->head || *end != ' ' || !strstr(e->head, "\r\nupgrade: websocket\r\n")) {
        sim_world_fail(e->ts->w, 0, "tunnel: the upstream got %.60s", e->head);
        end_close(e, true);
        return;
    }
    e->id = id;
    e->known = true;
    plan_make(e->ts->w, id, &e->plan);
    e->out_n = (uint32_t)snprintf(e->out, sizeof(e->out),
                                  "HTTP/1.1 101 Fine\r\nConnection: upgrade\r\nUpgrade: "
                                  "websocket\r\n\r\n");
    e->out_at = e->out_n; /* not yet */
    if (e->plan.delay_ms > 0) {
        mp_timer_in(e->loop, &e->timer, e->plan.delay_ms);
    } else {
        e->agreed = true;
    }
}

/* Returns the bytes that belong to the head. */
static size_t take_head(struct end *e, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (e->head_n + 1 == HEAD_MAX) {
            broken(e, "endless head");
            return n;
        }
        e->head[e->head_n++] = p[i];
        if (e->head_n < 4 || memcmp(e->head + e->head_n - 4, "\r\n\r\n", 4) != 0) {
            continue;
        }
        e->head[e->head_n] = '\0';
        if (e->upstream) {
            agree(e);
        } else if (strncmp(e->head, "HTTP/1.1 101 ", 13) == 0) {
            e->open = true;
        } else {
            broken(e, "no 101");
        }
        return i + 1;
    }
    return n;
}

static void take(struct end *e, const char *p, size_t n)
{
    bool head = e->upstream ? !e->known : !e->open;
    if (head) {
        size_t used = take_head(e, p, n);
        p += used;
        n -= used;
    }
    if (n == 0 || e->closed) {
        return;
    }
    if (!e->open) {
        sim_world_fail(e->ts->w, e->id, "tunnel: %zu bytes before the upstream's 101", n);
        end_close(e, true);
        return;
    }
    (void)take_bytes(e, p, n);
}

static void take_end(struct end *e)
{
    e->eof = true;
    if (e->upstream && !e->known) {
        end_close(e, false); /* a connection that was made and not needed */
    } else if (!e->open) {
        broken(e, "closed before the 101");
    } else if (e->got < e->plan.len[theirs(e)]) {
        /* Never orderly before the last byte, whatever happened. */
        sim_world_fail(e->ts->w, e->id, "tunnel: an orderly end after %u of %u bytes (%s)", e->got,
                       e->plan.len[theirs(e)], e->upstream ? "upstream" : "client");
        end_close(e, true);
    }
}

/* False: nothing more to read now. */
static bool receive(struct end *e)
{
    char bytes[8192];
    if (e->paused || e->eof) {
        return false;
    }
    ssize_t n =
        mp_sock_recv(e->loop, e->io.fd, bytes, 1 + mp_rand_below(&e->ts->w->rand, sizeof(bytes)));
    if (n == -EAGAIN) {
        return false;
    }
    if (n < 0) {
        broken(e, "reset");
        return false;
    }
    if (n == 0) {
        take_end(e);
        return false;
    }
    take(e, bytes, (size_t)n);
    return true;
}

static void pump(struct end *e)
{
    if (e->upstream && e->agreed && !e->open) {
        e->open = true;
        e->out_at = 0;
    }
    bool more = true;
    while (more && !e->closed) {
        more = receive(e);
        if (e->upstream && e->agreed && !e->open) {
            e->open = true;
            e->out_at = 0;
        }
        more |= !e->closed && send_some(e);
    }
    if (!e->closed && e->fin && e->eof) {
        end_close(e, false);
    }
}

static void on_ready(struct mp_io *io, unsigned events)
{
    struct end *e = MP_CONTAINER_OF(io, struct end, io);
    if (!e->upstream && (events & MP_IO_OUT) && e->out_at == 0) {
        int err = mp_sock_connect_result(e->loop, io->fd);
        if (err == -EINPROGRESS) {
            return;
        }
        if (err < 0) {
            broken(e, "connect");
            return;
        }
    }
    pump(e);
}

static struct end *end_new(struct sim_tunnels *ts, bool upstream, int fd)
{
    struct end *e = calloc(1, sizeof(*e));
    MP_ASSERT(e);
    e->ts = ts;
    e->upstream = upstream;
    e->loop = upstream ? ts->w->upstream_loop : ts->w->client_loop;
    mp_list_push_back(&ts->ends, &e->link);
    mp_task_init(&e->free_task, end_free);
    mp_timer_init(&e->timer, on_timer);
    MP_ASSERT(!mp_is_err(mp_io_open(e->loop, &e->io, fd, on_ready)));
    return e;
}

static void on_accept(struct mp_io *io, unsigned events)
{
    struct sim_tunnels *ts = MP_CONTAINER_OF(io, struct sim_tunnels, listener);
    for (;;) {
        int fd = mp_sock_accept(ts->w->upstream_loop, io->fd, NULL);
        if (fd < 0) {
            return;
        }
        (void)end_new(ts, true, fd);
    }
}

static void start_client(void *arg)
{
    struct start *s = arg;
    struct sim_tunnels *ts = s->ts;
    int fd = mp_sock_connect(ts->w->client_loop, &ts->w->opts.front_addr, NULL);
    if (fd < 0) {
        ts->left--;
        return;
    }
    struct end *e = end_new(ts, false, fd);
    e->id = s->id;
    plan_make(ts->w, e->id, &e->plan);
    int n = snprintf(e->out, sizeof(e->out),
                     "GET /t/%llu HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: "
                     "websocket\r\n\r\n",
                     (unsigned long long)e->id);
    e->out_n = (uint32_t)n;
    for (; e->sent < e->plan.early && e->out_n < sizeof(e->out); e->sent++) {
        e->out[e->out_n++] = byte_of(e->id, 0, e->sent);
    }
}

struct sim_tunnels *sim_tunnels_new(struct sim_world *w, uint32_t n)
{
    struct sim_tunnels *ts = calloc(1, sizeof(*ts) + n * sizeof(ts->starts[0]));
    MP_ASSERT(ts);
    ts->w = w;
    ts->left = n;
    mp_list_init(&ts->ends);
    struct mp_addr addr = sim_upstream_addr(SIM_TUNNEL_CLUSTER, 0);
    struct mp_listen_opts opts = {0};
    int fd = mp_sock_listen(w->upstream_loop, &addr, &opts);
    MP_ASSERT(fd >= 0);
    MP_ASSERT(!mp_is_err(mp_io_open_listener(w->upstream_loop, &ts->listener, fd, on_accept)));
    for (uint32_t i = 0; i < n; i++) {
        ts->starts[i] = (struct start){ts, i};
        uint64_t after_us = mp_rand_below(&w->rand, w->opts.spread_ms * 1000 + 1);
        mp_sim_at(mp_sim_now_ns() + after_us * 1000, start_client, &ts->starts[i]);
    }
    return ts;
}

uint32_t sim_tunnels_left(const struct sim_tunnels *ts)
{
    return ts->left;
}

struct sim_tunnels *sim_tunnels_free(struct sim_tunnels *ts)
{
    if (!ts) {
        return NULL;
    }
    mp_io_close(ts->w->upstream_loop, &ts->listener);
    MP_LIST_FOREACH_SAFE (it, &ts->ends) {
        struct end *e = MP_CONTAINER_OF(it, struct end, link);
        end_close(e, false);
        end_free(&e->free_task);
    }
    free(ts);
    return NULL;
}
