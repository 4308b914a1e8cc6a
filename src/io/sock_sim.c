/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Socket calls on the simulated network. They answer as Linux does, unless the seed makes them
 * harsher. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "io/sim_int.h"
#include "io/sock.h"

#define DEFAULT_BACKLOG 4096
#define EPHEMERAL_FIRST 32768
#define EPHEMERAL_LAST  60999

static void check_owner(const struct mp_loop *l, const struct sim_sock *s)
{
    if (l) {
        sim_check_owner(l);
    }
    if (s->loop) {
        sim_check_owner(s->loop);
    }
}

static struct sim_sock *stream_of(const struct mp_loop *l, int fd)
{
    struct sim_sock *s = sim_sock_get(fd);
    MP_ASSERT(s->kind == SIM_STREAM);
    check_owner(l, s);
    return s;
}

static uint16_t ephemeral_port(void)
{
    uint16_t port = sim.next_port;
    sim.next_port = port == EPHEMERAL_LAST ? EPHEMERAL_FIRST : (uint16_t)(port + 1);
    return port;
}

/* Listening */

static bool in_use(const struct mp_addr *addr, const struct mp_listen_opts *opts)
{
    MP_LIST_FOREACH (it, &sim.listeners) {
        const struct sim_sock *s = MP_CONTAINER_OF(it, struct sim_sock, listeners);
        if (s->addr.family != addr->family) {
            continue;
        }
        if (addr->family == MP_ADDR_UNIX) {
            if (strcmp(s->addr.path, addr->path) == 0) {
                return true;
            }
            continue;
        }
        if (mp_addr_eq(&s->addr, addr) &&
            !(s->opts.reuse_port && opts->reuse_port && !opts->probe)) {
            return true;
        }
    }
    return false;
}

int mp_sock_listen(struct mp_loop *l, const struct mp_addr *addr, const struct mp_listen_opts *opts)
{
    if (l) {
        sim_check_owner(l);
    }
    MP_ASSERT(sim.active);
    MP_ASSERT(addr->family != MP_ADDR_NONE);
    struct mp_addr bound = *addr;
    while (bound.family != MP_ADDR_UNIX && addr->port == 0) {
        bound.port = ephemeral_port();
        if (!in_use(&bound, opts)) {
            break;
        }
    }
    if (in_use(&bound, opts)) {
        return -EADDRINUSE;
    }
    struct sim_sock *s = sim_sock_new(SIM_LISTENER);
    s->addr = bound;
    s->opts = *opts;
    if (s->opts.backlog == 0) {
        s->opts.backlog = DEFAULT_BACKLOG;
    }
    if (bound.family == MP_ADDR_UNIX) {
        s->path = strdup(bound.path);
        MP_ASSERT(s->path);
        s->addr.path = s->path;
    }
    sim_sock_give_fd(s);
    mp_list_push_back(&sim.listeners, &s->listeners);
    mp_sim_trace_event("listen", s->fd, bound.port, 0);
    return s->fd;
}

int mp_sock_local_addr(struct mp_loop *l, int fd, struct mp_addr *ret)
{
    struct sim_sock *s = sim_sock_get(fd);
    check_owner(l, s);
    *ret = s->kind == SIM_LISTENER ? s->addr : s->conn->addr[s->side];
    return 0;
}

int mp_sock_accept(struct mp_loop *l, int fd, struct mp_addr *ret_peer)
{
    struct sim_sock *s = sim_sock_get(fd);
    check_owner(l, s);
    MP_ASSERT(s->kind == SIM_LISTENER);
    if (s->queue_n == 0) {
        return -EAGAIN;
    }
    if (sim_chance(sim.opts.accept_fail)) {
        mp_sim_trace_event("accept", fd, -EMFILE, 0);
        return -EMFILE;
    }
    struct sim_sock *a = s->queue[s->queue_head];
    s->queue_head = (s->queue_head + 1) % s->queue_cap;
    s->queue_n--;
    sim_sock_give_fd(a);
    mp_sim_trace_event("accept", fd, a->fd, a->conn->id);
    if (ret_peer) {
        *ret_peer = a->conn->addr[0];
    }
    return a->fd;
}

/* Connecting */

static void local_of(struct mp_addr *ret, const struct mp_addr *to, const struct mp_addr *source)
{
    if (source) {
        *ret = *source;
    }
    if (!source && to->family == MP_ADDR_IP4) {
        *ret = (struct mp_addr){.family = MP_ADDR_IP4, .ip = {127, 0, 0, 1}};
    }
    if (!source && to->family == MP_ADDR_IP6) {
        *ret = (struct mp_addr){.family = MP_ADDR_IP6, .ip = {[15] = 1}};
    }
    if (to->family == MP_ADDR_UNIX) {
        *ret = (struct mp_addr){.family = MP_ADDR_UNIX, .path = ""};
    }
    if (to->family != MP_ADDR_UNIX && ret->port == 0) {
        ret->port = ephemeral_port();
    }
}

static int open_connecting(const struct mp_addr *to, const struct mp_addr *source)
{
    struct sim_conn *c = sim_conn_new();
    struct sim_sock *s = sim_sock_new(SIM_STREAM);
    s->conn = c;
    s->state = SIM_CONNECTING;
    c->end[0] = s;
    c->refs = 1;
    c->addr[1] = *to;
    local_of(&c->addr[0], to, source);
    sim_sock_give_fd(s);
    return s->fd;
}

/* A Unix connect is finished, for good or ill, when it returns. */
static int connect_unix(const struct mp_addr *to)
{
    struct sim_sock *listener = sim_listener_for(to);
    if (!listener) {
        return -ENOENT;
    }
    if (listener->queue_n >= listener->opts.backlog) {
        return -EAGAIN;
    }
    int fd = open_connecting(to, NULL);
    struct sim_sock *s = sim_sock_get(fd);
    s->state = SIM_OPEN;
    s->conn->listener_fd = listener->fd;
    s->conn->established = true;
    sim_conn_accepting(s->conn, listener);
    return fd;
}

int mp_sock_connect(struct mp_loop *l, const struct mp_addr *to, const struct mp_addr *source)
{
    if (l) {
        sim_check_owner(l);
    }
    MP_ASSERT(sim.active);
    int fd;
    if (to->family == MP_ADDR_UNIX) {
        fd = sim_chance(sim.opts.connect_fail) ? -ECONNREFUSED : connect_unix(to);
    } else if (sim_chance(sim.opts.connect_fail / 4)) {
        fd = mp_rand_below(&sim.rand, 2) ? -EADDRNOTAVAIL : -EMFILE;
    } else {
        fd = open_connecting(to, source);
        sim_conn_ev(sim_sock_get(fd)->conn, SIM_EV_SYN, 0, sim.now_ns + sim_latency_ns(), 0);
    }
    mp_sim_trace_event("connect", fd, to->port, 0);
    return fd;
}

int mp_sock_connect_result(struct mp_loop *l, int fd)
{
    struct sim_sock *s = stream_of(l, fd);
    int err = s->err;
    s->err = 0;
    return -err;
}

int mp_sock_keepalive(struct mp_loop *l, int fd, const struct mp_keepalive *ka)
{
    stream_of(l, fd);
    return 0;
}

/* Bytes */

static int take_err(struct sim_sock *s)
{
    int err = s->err;
    s->err = 0;
    return -err;
}

static ssize_t recv_now(struct sim_sock *s, void *buf, size_t n)
{
    struct sim_pipe *in = &s->conn->pipe[!s->side];
    if (in->avail == 0) {
        if (in->fin_arrived) {
            return 0;
        }
        if (s->err) {
            return take_err(s);
        }
        return s->state == SIM_DEAD ? 0 : -EAGAIN;
    }
    size_t can = MP_MIN(n, in->avail);
    /* After FIN no later edge would come for the rest: then a short read cannot happen. */
    if (s->state == SIM_OPEN && !in->fin_arrived && can > 1 && sim_chance(sim.opts.short_read)) {
        can = 1 + mp_rand_below(&sim.rand, (uint32_t)can - 1);
        can = sim_pipe_read(s->conn, !s->side, buf, can);
        sim_pipe_hold_rest(s->conn, !s->side);
        return (ssize_t)can;
    }
    return (ssize_t)sim_pipe_read(s->conn, !s->side, buf, can);
}

ssize_t mp_sock_recv(struct mp_loop *l, int fd, void *buf, size_t n)
{
    struct sim_sock *s = stream_of(l, fd);
    MP_ASSERT(n > 0);
    ssize_t got = recv_now(s, buf, n);
    mp_sim_trace_event("recv", fd, (int64_t)n, got);
    return got;
}

/* How much of n may be sent now, or a negative errno. */
static ssize_t may_send(struct sim_sock *s, size_t n)
{
    struct sim_pipe *out = &s->conn->pipe[s->side];
    if (s->state == SIM_CONNECTING) {
        s->nospace = true;
        return -EAGAIN;
    }
    if (s->err) {
        return take_err(s);
    }
    if (s->state == SIM_DEAD || s->shut_wr) {
        return -EPIPE;
    }
    size_t limit = sim.opts.sock_buffer;
    size_t can = out->len < limit ? MP_MIN(n, limit - out->len) : 0;
    if (can > 0 && sim_chance(sim.opts.short_write)) {
        /* As if memory were short for a moment: an edge follows. */
        can = mp_rand_below(&sim.rand, (uint32_t)can);
        if (!out->space_ev) {
            out->space_ev = true;
            sim_conn_ev(s->conn, SIM_EV_SPACE, s->side, sim.now_ns + sim_latency_ns(), 0);
        }
    }
    if (can < n) {
        s->nospace = true;
    }
    return can == 0 && n > 0 ? -EAGAIN : (ssize_t)can;
}

ssize_t mp_sock_sendv(struct mp_loop *l, int fd, const struct iovec *iov, int n_iov)
{
    struct sim_sock *s = stream_of(l, fd);
    size_t n = 0;
    for (int i = 0; i < n_iov; i++) {
        n += iov[i].iov_len;
    }
    ssize_t can = may_send(s, n);
    mp_sim_trace_event("send", fd, (int64_t)n, can);
    /* A closed direction drops what is written: the reset is under way. */
    if (can <= 0 || s->conn->pipe[s->side].closed) {
        return can;
    }
    size_t left = (size_t)can;
    char *flat = malloc(left);
    MP_ASSERT(flat);
    for (int i = 0, at = 0; left > 0; i++) {
        size_t part = MP_MIN(left, iov[i].iov_len);
        if (part > 0) {
            memcpy(flat + at, iov[i].iov_base, part);
        }
        at += (int)part;
        left -= part;
    }
    sim_pipe_write(s->conn, s->side, flat, (size_t)can);
    free(flat);
    return can;
}

ssize_t mp_sock_send(struct mp_loop *l, int fd, const void *buf, size_t n)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = n};
    return mp_sock_sendv(l, fd, &iov, 1);
}

int mp_sock_shutdown_write(struct mp_loop *l, int fd)
{
    struct sim_sock *s = stream_of(l, fd);
    mp_sim_trace_event("shutdown", fd, 0, 0);
    if (s->state != SIM_OPEN) {
        return -ENOTCONN;
    }
    if (s->shut_wr) {
        return 0;
    }
    s->shut_wr = true;
    if (!s->conn->pipe[s->side].closed) {
        sim_pipe_mark(s->conn, s->side, SIM_SEG_FIN);
    }
    /* The kernel wakes whoever polls the descriptor, its owner too. */
    sim_edge(s, MP_IO_OUT | (sim_sock_mask(s) & MP_IO_HUP));
    return 0;
}

/* Closing */

void mp_sock_set_reset_on_close(struct mp_loop *l, int fd)
{
    stream_of(l, fd)->reset_on_close = true;
}

static void close_stream(struct sim_sock *s)
{
    struct sim_conn *c = s->conn;
    struct sim_pipe *in = &c->pipe[!s->side], *out = &c->pipe[s->side];
    c->end[s->side] = NULL;
    if (s->state == SIM_OPEN) {
        if (s->reset_on_close || in->avail > 0) {
            sim_conn_reset_by(c, s->side);
        } else if (!out->closed) {
            sim_pipe_mark(c, s->side, SIM_SEG_FIN);
        }
    }
    sim_sock_free(s);
    sim_conn_unref(c);
}

static void close_listener(struct sim_sock *s)
{
    while (s->queue_n > 0) {
        struct sim_sock *a = s->queue[s->queue_head];
        s->queue_head = (s->queue_head + 1) % s->queue_cap;
        s->queue_n--;
        a->reset_on_close = true;
        close_stream(a);
    }
    for (;;) {
        struct mp_list *n = mp_list_pop_front(&s->deferred);
        if (!n) {
            break;
        }
        struct sim_sock *a = MP_CONTAINER_OF(n, struct sim_sock, deferred);
        a->reset_on_close = true;
        close_stream(a);
    }
    sim_sock_free(s);
}

void mp_sock_close(struct mp_loop *l, int fd)
{
    struct sim_sock *s = sim_sock_get(fd);
    check_owner(l, s);
    MP_ASSERT(!s->loop); /* registered: use mp_io_close */
    mp_sim_trace_event("close", fd, 0, 0);
    if (s->kind == SIM_LISTENER) {
        close_listener(s);
        return;
    }
    close_stream(s);
}

void mp_sim_reset_conn(int fd)
{
    struct sim_sock *s = sim_sock_get(fd);
    MP_ASSERT(s->kind == SIM_STREAM);
    MP_ASSERT(s->state != SIM_CONNECTING);
    sim_conn_reset_both(s->conn);
}
