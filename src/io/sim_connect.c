/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* How connections come about on the simulated network: listeners by address, handshake, backlog,
 * refusals. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "io/sim_int.h"

#define SYN_TRIES_MAX   6 /* 1, 2, 4 ... 32 s: then ETIMEDOUT after 127 s, as Linux does */
#define DEFER_ACCEPT_NS (1 * SIM_S)

/* The listener that took the SYN, or NULL when it has closed since. */
static struct sim_sock *listener_of(const struct sim_conn *c)
{
    return sim.socks[c->listener_fd - SIM_FD_BASE];
}

/* Frees the place in the backlog; the listener, or NULL. */
struct sim_sock *sim_handshake_over(struct sim_conn *c)
{
    struct sim_sock *l = listener_of(c);
    if (l && !c->established) {
        l->half_open--;
    }
    c->established = true;
    return l;
}

static void queue_push(struct sim_sock *l, struct sim_sock *s)
{
    if (l->queue_n == l->queue_cap) {
        uint32_t cap = l->queue_cap ? l->queue_cap * 2 : 16;
        struct sim_sock **queue = calloc(cap, sizeof(struct sim_sock *));
        MP_ASSERT(queue);
        for (uint32_t i = 0; i < l->queue_n; i++) {
            queue[i] = l->queue[(l->queue_head + i) % l->queue_cap];
        }
        free(l->queue);
        l->queue = queue;
        l->queue_cap = cap;
        l->queue_head = 0;
    }
    l->queue[(l->queue_head + l->queue_n++) % l->queue_cap] = s;
}

/* The withheld end goes to the accept queue. */
void sim_undefer(struct sim_conn *c)
{
    struct sim_sock *s = c->end[1];
    if (!s || mp_list_empty(&s->deferred)) {
        return;
    }
    mp_list_remove(&s->deferred);
    queue_push(listener_of(c), s);
}

/* The handshake is complete on the accepting side. */
void sim_conn_accepting(struct sim_conn *c, struct sim_sock *listener)
{
    struct sim_sock *s = sim_sock_new(SIM_STREAM);
    s->conn = c;
    s->side = 1;
    s->state = SIM_OPEN;
    c->end[1] = s;
    c->refs++;
    c->established = true;
    if (!listener->opts.defer_accept) {
        queue_push(listener, s);
        return;
    }
    mp_list_push_back(&listener->deferred, &s->deferred);
    sim_conn_ev(c, SIM_EV_UNDEFER, 1, sim.now_ns + DEFER_ACCEPT_NS, 0);
}

void sim_handshake_done(struct sim_conn *c)
{
    struct sim_sock *l = sim_handshake_over(c);
    if (l) {
        sim_conn_accepting(c, l);
        return;
    }
    /* Closed during the handshake. */
    sim_conn_reset_by(c, 1);
}

static bool addr_covers(const struct sim_sock *l, const struct mp_addr *to, bool wildcard)
{
    static const uint8_t zero[16];
    const struct mp_addr *a = &l->addr;
    if (to->family == MP_ADDR_UNIX || a->family == MP_ADDR_UNIX) {
        return a->family == to->family && strcmp(a->path, to->path) == 0;
    }
    if (a->port != to->port) {
        return false;
    }
    if (!wildcard) {
        return mp_addr_ip_eq(a, to);
    }
    if (memcmp(a->ip, zero, a->family == MP_ADDR_IP4 ? 4 : 16) != 0) {
        return false;
    }
    return a->family == to->family || (a->family == MP_ADDR_IP6 && !l->opts.ip6_only);
}

/* The listener for an address, exact before wildcard; among several (reuse_port) the seed chooses.
 */
struct sim_sock *sim_listener_for(const struct mp_addr *to)
{
    for (int wildcard = 0; wildcard < 2; wildcard++) {
        struct sim_sock *found = NULL;
        uint32_t n = 0;
        MP_LIST_FOREACH (it, &sim.listeners) {
            struct sim_sock *s = MP_CONTAINER_OF(it, struct sim_sock, listeners);
            if (addr_covers(s, to, wildcard) && mp_rand_below(&sim.rand, ++n) == 0) {
                found = s;
            }
        }
        if (found) {
            return found;
        }
    }
    return NULL;
}

static void refuse(struct sim_conn *c, int err, uint64_t after_ns)
{
    sim_conn_ev(c, SIM_EV_REFUSED, 0, sim.now_ns + after_ns, (uint64_t)err);
}

void sim_syn_arrives(struct sim_conn *c)
{
    if (!c->end[0]) {
        return;
    }
    if (c->syn_tries == 0 && sim_chance(sim.opts.connect_fail)) {
        static const struct {
            int err;
            uint32_t after_s;
        } ways[] = {{ECONNREFUSED, 0}, {ECONNREFUSED, 0}, {EHOSTUNREACH, 3}, {ETIMEDOUT, 127}};
        uint32_t i = mp_rand_below(&sim.rand, MP_COUNTOF(ways));
        refuse(c, ways[i].err, ways[i].after_s * SIM_S + sim_latency_ns());
        return;
    }
    struct sim_sock *l = sim_listener_for(&c->addr[1]);
    if (!l) {
        refuse(c, ECONNREFUSED, sim_latency_ns());
        return;
    }
    if (l->queue_n + l->half_open >= l->opts.backlog) {
        uint64_t wait = SIM_S << c->syn_tries;
        if (c->syn_tries++ == SYN_TRIES_MAX) {
            refuse(c, ETIMEDOUT, wait);
            return;
        }
        sim_conn_ev(c, SIM_EV_SYN, 0, sim.now_ns + wait, 0);
        return;
    }
    l->half_open++;
    c->listener_fd = l->fd;
    sim_conn_ev(c, SIM_EV_SYNACK, 0, sim.now_ns + sim_latency_ns(), 0);
}

void sim_synack_arrives(struct sim_conn *c)
{
    struct sim_sock *s = c->end[0];
    if (!s) {
        sim_handshake_over(c);
        return;
    }
    mp_sim_trace_event("connected", s->fd, c->id, 0);
    s->state = SIM_OPEN;
    s->nospace = false;
    sim_pipe_mark(c, 0, SIM_SEG_EST);
    sim_edge(s, MP_IO_OUT);
}

void sim_refusal_arrives(struct sim_conn *c, int err)
{
    struct sim_sock *s = c->end[0];
    if (!s) {
        return;
    }
    mp_sim_trace_event("refused", s->fd, err, 0);
    s->state = SIM_DEAD;
    s->err = err;
    c->pipe[0].closed = c->pipe[1].closed = true;
    sim_edge(s, MP_IO_IN | MP_IO_OUT | MP_IO_HUP | MP_IO_ERR);
}
