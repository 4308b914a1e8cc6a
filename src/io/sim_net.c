/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The simulated network: connections, segments in flight, resets, and the edges that they cause. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "io/sim_int.h"

#define PIPE_START 4096

/* Sockets */

struct sim_sock *sim_sock_new(enum sim_kind kind)
{
    struct sim_sock *s = calloc(1, sizeof(*s));
    MP_ASSERT(s);
    s->magic = SIM_SOCK_MAGIC;
    s->fd = -1;
    s->kind = kind;
    mp_list_init(&s->ready);
    mp_list_init(&s->listeners);
    mp_list_init(&s->deferred);
    return s;
}

/* Numbers are never given out twice, so that every use after closing is noticed. */
void sim_sock_give_fd(struct sim_sock *s)
{
    MP_ASSERT(s->fd == -1);
    if (sim.socks_made == sim.socks_cap) {
        sim.socks_cap = sim.socks_cap ? sim.socks_cap * 2 : 256;
        sim.socks = realloc(sim.socks, sim.socks_cap * sizeof(struct sim_sock *));
        MP_ASSERT(sim.socks);
    }
    s->fd = SIM_FD_BASE + (int)sim.socks_made;
    sim.socks[sim.socks_made++] = s;
    sim.socks_open++;
}

struct sim_sock *sim_sock_get(int fd)
{
    MP_ASSERT(sim.active);
    MP_ASSERT(fd >= SIM_FD_BASE);
    MP_ASSERT(fd < SIM_FD_BASE + (int)sim.socks_made);
    struct sim_sock *s = sim.socks[fd - SIM_FD_BASE];
    MP_ASSERT(s); /* a descriptor that was closed */
    MP_CHECK_MAGIC(s, SIM_SOCK_MAGIC);
    return s;
}

void sim_sock_free(struct sim_sock *s)
{
    MP_ASSERT(!s->loop);
    if (s->fd != -1) {
        sim.socks[s->fd - SIM_FD_BASE] = NULL;
        sim.socks_open--;
    }
    mp_list_remove(&s->listeners);
    mp_list_remove(&s->deferred);
    free(s->queue);
    free(s->path);
    s->magic = 0;
    free(s);
}

static bool writable(const struct sim_sock *s)
{
    /* The kernel wakes a writer when a third of the buffer is free, not for every byte. */
    size_t len = s->conn->pipe[s->side].len;
    size_t limit = sim.opts.sock_buffer;
    return len < limit && limit - len >= limit / 3;
}

/* What poll would say now. */
unsigned sim_sock_mask(const struct sim_sock *s)
{
    if (s->kind == SIM_LISTENER) {
        return s->queue_n > 0 ? MP_IO_IN : 0;
    }
    if (s->state == SIM_CONNECTING) {
        return 0;
    }
    const struct sim_pipe *in = &s->conn->pipe[!s->side];
    bool dead = s->state == SIM_DEAD;
    unsigned mask = 0;
    if (in->avail > 0 || in->fin_arrived || dead) {
        mask |= MP_IO_IN;
    }
    if (in->fin_arrived || dead) {
        mask |= MP_IO_HUP;
    }
    if (s->shut_wr || dead || writable(s)) {
        mask |= MP_IO_OUT;
    }
    if (s->err) {
        mask |= MP_IO_ERR;
    }
    return mask;
}

void sim_edge(struct sim_sock *s, unsigned events)
{
    if (!s->loop || events == 0) {
        return;
    }
    s->pending |= events;
    if (mp_list_empty(&s->ready)) {
        mp_list_push_back(&s->loop->ready, &s->ready);
    }
}

/* Connections */

struct sim_conn *sim_conn_new(void)
{
    struct sim_conn *c = calloc(1, sizeof(*c));
    MP_ASSERT(c);
    c->id = sim.conns_made++;
    sim.conns_open++;
    return c;
}

void sim_conn_unref(struct sim_conn *c)
{
    MP_ASSERT(c->refs > 0);
    if (--c->refs > 0) {
        return;
    }
    for (int i = 0; i < 2; i++) {
        free(c->pipe[i].buf);
        free(c->pipe[i].segs);
    }
    sim.conns_open--;
    free(c);
}

void sim_conn_ev(struct sim_conn *c, enum sim_ev_kind kind, uint8_t side, uint64_t at_ns,
                 uint64_t num)
{
    c->refs++;
    sim_push((struct sim_ev){
        .at_ns = at_ns, .kind = (uint8_t)kind, .side = side, .num = num, .conn = c});
}

/* Pipes */

static void schedule(struct sim_conn *c, uint8_t side, uint64_t at_ns)
{
    c->pipe[side].ev_n++;
    sim_conn_ev(c, SIM_EV_PIPE, side, at_ns, 0);
}

static struct sim_seg *seg_at(const struct sim_pipe *p, uint32_t i)
{
    return &p->segs[(p->seg_head + i) % p->seg_cap];
}

static void seg_room(struct sim_pipe *p)
{
    if (p->seg_n < p->seg_cap) {
        return;
    }
    uint32_t cap = p->seg_cap ? p->seg_cap * 2 : 4;
    struct sim_seg *segs = calloc(cap, sizeof(*segs));
    MP_ASSERT(segs);
    for (uint32_t i = 0; i < p->seg_n; i++) {
        segs[i] = *seg_at(p, i);
    }
    free(p->segs);
    p->segs = segs;
    p->seg_cap = cap;
    p->seg_head = 0;
}

static void seg_push(struct sim_conn *c, uint8_t side, uint32_t n, uint32_t flags)
{
    struct sim_pipe *p = &c->pipe[side];
    seg_room(p);
    uint64_t at = sim.now_ns + sim_latency_ns();
    if (p->seg_n > 0) {
        at = MP_MAX(at, seg_at(p, p->seg_n - 1)->at_ns);
    }
    *seg_at(p, p->seg_n++) = (struct sim_seg){.at_ns = at, .n = n, .flags = flags};
    if (p->ev_n == 0) {
        schedule(c, side, at);
    }
}

static void pipe_room(struct sim_pipe *p, size_t n)
{
    if (p->cap - p->len >= n) {
        return;
    }
    size_t cap = p->cap ? p->cap : PIPE_START;
    while (cap < p->len + n) {
        cap *= 2;
    }
    char *buf = malloc(cap);
    MP_ASSERT(buf);
    size_t first = MP_MIN(p->len, p->cap - p->head);
    if (p->len > 0) {
        memcpy(buf, p->buf + p->head, first);
        memcpy(buf + first, p->buf, p->len - first);
    }
    free(p->buf);
    p->buf = buf;
    p->cap = cap;
    p->head = 0;
}

static void pipe_drop_storage(struct sim_pipe *p)
{
    free(p->buf);
    p->buf = NULL;
    p->cap = p->head = p->len = p->avail = 0;
}

/* Appends bytes and sends them as one to three segments. */
void sim_pipe_write(struct sim_conn *c, uint8_t side, const void *bytes, size_t n)
{
    struct sim_pipe *p = &c->pipe[side];
    MP_ASSERT(!p->closed);
    pipe_room(p, n);
    size_t at = (p->head + p->len) % p->cap;
    size_t first = MP_MIN(n, p->cap - at);
    memcpy(p->buf + at, bytes, first);
    memcpy(p->buf, (const char *)bytes + first, n - first);
    p->len += n;
    for (int i = 0; i < 2 && n > 1 && sim_chance(sim.opts.short_read); i++) {
        uint32_t part = 1 + mp_rand_below(&sim.rand, (uint32_t)n - 1);
        seg_push(c, side, part, 0);
        n -= part;
    }
    seg_push(c, side, (uint32_t)n, 0);
}

/* FIN and the like: a segment without bytes. */
void sim_pipe_mark(struct sim_conn *c, uint8_t side, uint32_t flags)
{
    if (flags & (SIM_SEG_FIN | SIM_SEG_RST)) {
        c->pipe[side].closed = true;
    }
    seg_push(c, side, 0, flags);
}

/* Takes arrived bytes out. */
size_t sim_pipe_read(struct sim_conn *c, uint8_t side, void *out, size_t n)
{
    struct sim_pipe *p = &c->pipe[side];
    n = MP_MIN(n, p->avail);
    size_t first = MP_MIN(n, p->cap - p->head);
    memcpy(out, p->buf + p->head, first);
    memcpy((char *)out + first, p->buf, n - first);
    p->head = (p->head + n) % p->cap;
    p->len -= n;
    p->avail -= n;
    if (p->len == 0) {
        pipe_drop_storage(p);
    }
    struct sim_sock *writer = c->end[side];
    if (writer && writer->nospace && !p->space_ev) {
        p->space_ev = true;
        sim_conn_ev(c, SIM_EV_SPACE, side, sim.now_ns + sim_latency_ns(), 0);
    }
    return n;
}

/* After a read that was cut short: a short read means "nothing more has arrived" to an
 * edge-triggered reader, so the rest is made to arrive later, with an edge of its own. */
void sim_pipe_hold_rest(struct sim_conn *c, uint8_t side)
{
    struct sim_pipe *p = &c->pipe[side];
    if (p->avail == 0) {
        return;
    }
    seg_room(p);
    p->seg_head = (p->seg_head + p->seg_cap - 1) % p->seg_cap;
    p->seg_n++;
    uint64_t at = sim.now_ns + sim_latency_ns();
    *seg_at(p, 0) = (struct sim_seg){.at_ns = at, .n = (uint32_t)p->avail};
    p->avail = 0;
    schedule(c, side, at);
}

/* Forgets the last k segments in flight. */
static void cut_flight(struct sim_pipe *p, uint32_t k)
{
    for (; k > 0; k--) {
        p->len -= seg_at(p, --p->seg_n)->n;
    }
    if (p->len == 0) {
        pipe_drop_storage(p);
    }
}

/* Resets */

/* The end `side` sends RST. What it had not got rid of yet is lost: how much, the seed says. */
void sim_conn_reset_by(struct sim_conn *c, uint8_t side)
{
    struct sim_pipe *p = &c->pipe[side];
    uint32_t keep = 0;
    while (keep < p->seg_n && (seg_at(p, keep)->flags & SIM_SEG_EST)) {
        keep++;
    }
    cut_flight(p, mp_rand_below(&sim.rand, p->seg_n - keep + 1));
    sim_pipe_mark(c, side, SIM_SEG_RST);
}

/* RST reaches the end `side`. */
static void rst_arrives(struct sim_conn *c, uint8_t side)
{
    struct sim_sock *s = c->end[side];
    if (!s || s->state == SIM_DEAD) {
        return;
    }
    struct sim_pipe *in = &c->pipe[!side], *out = &c->pipe[side];
    mp_sim_trace_event("rst", c->id, side, (int64_t)in->avail);
    cut_flight(in, in->seg_n);
    cut_flight(out, out->seg_n);
    out->closed = in->closed = true;
    if (!in->fin_arrived && mp_rand_below(&sim.rand, 2) == 0) {
        /* Some systems drop what was received and not yet read; nobody may count on it. With FIN
         * there already it stays: reading goes on to say "end", and the end must not come early. */
        pipe_drop_storage(in);
    }
    s->state = SIM_DEAD;
    s->err = in->fin_arrived ? EPIPE : ECONNRESET;
    sim_edge(s, MP_IO_IN | MP_IO_OUT | MP_IO_HUP | MP_IO_ERR);
}

/* Somebody in between resets both ends. */
void sim_conn_reset_both(struct sim_conn *c)
{
    sim_handshake_over(c);
    for (uint8_t side = 0; side < 2; side++) {
        rst_arrives(c, side);
    }
}

/* Arrival of segments */

static void fin_arrives(struct sim_conn *c, uint8_t from)
{
    c->pipe[from].fin_arrived = true;
    struct sim_sock *s = c->end[!from];
    if (s) {
        sim_edge(s, MP_IO_IN | MP_IO_HUP);
    }
}

/* Bytes for an end that is closed: its system answers RST, once. */
static void nobody_reads(struct sim_conn *c, uint8_t from)
{
    struct sim_pipe *p = &c->pipe[from];
    pipe_drop_storage(p);
    p->seg_n = 0;
    p->closed = true;
    if (c->end[from] && c->end[from]->state != SIM_DEAD) {
        cut_flight(&c->pipe[!from], mp_rand_below(&sim.rand, c->pipe[!from].seg_n + 1));
        seg_push(c, !from, 0, SIM_SEG_RST);
        c->pipe[!from].closed = true;
    }
}

static void segment_arrives(struct sim_conn *c, uint8_t from, struct sim_seg seg)
{
    struct sim_pipe *p = &c->pipe[from];
    mp_sim_trace_event("segment", (int64_t)c->id * 2 + from, seg.n, seg.flags);
    p->avail += seg.n;
    if (seg.flags & SIM_SEG_EST) {
        sim_handshake_done(c);
        return;
    }
    if (seg.flags & SIM_SEG_RST) {
        rst_arrives(c, !from);
        sim_undefer(c);
        return;
    }
    if (seg.n > 0 && sim_chance(sim.opts.reset)) {
        sim_conn_reset_both(c);
        sim_undefer(c);
        return;
    }
    struct sim_sock *s = c->end[!from];
    if (seg.n > 0 && !s) {
        nobody_reads(c, from);
        return;
    }
    if (seg.n > 0) {
        sim_edge(s, MP_IO_IN);
    }
    if (seg.flags & SIM_SEG_FIN) {
        fin_arrives(c, from);
    }
    if (from == 0) {
        sim_undefer(c);
    }
}

static void pipe_event(struct sim_conn *c, uint8_t side)
{
    struct sim_pipe *p = &c->pipe[side];
    p->ev_n--;
    while (p->seg_n > 0 && seg_at(p, 0)->at_ns <= sim.now_ns) {
        struct sim_seg seg = *seg_at(p, 0);
        p->seg_head = (p->seg_head + 1) % p->seg_cap;
        p->seg_n--;
        segment_arrives(c, side, seg);
    }
    if (p->seg_n > 0 && p->ev_n == 0) {
        schedule(c, side, seg_at(p, 0)->at_ns);
    }
}

static void space_event(struct sim_conn *c, uint8_t side)
{
    struct sim_sock *s = c->end[side];
    c->pipe[side].space_ev = false;
    if (s && s->state == SIM_OPEN && s->nospace && writable(s)) {
        mp_sim_trace_event("space", s->fd, (int64_t)c->pipe[side].len, 0);
        s->nospace = false;
        sim_edge(s, MP_IO_OUT);
    }
}

void sim_conn_on_ev(const struct sim_ev *ev)
{
    struct sim_conn *c = ev->conn;
    switch (ev->kind) {
    case SIM_EV_PIPE:
        pipe_event(c, ev->side);
        break;
    case SIM_EV_SPACE:
        space_event(c, ev->side);
        break;
    case SIM_EV_SYN:
        sim_syn_arrives(c);
        break;
    case SIM_EV_SYNACK:
        sim_synack_arrives(c);
        break;
    case SIM_EV_REFUSED:
        sim_refusal_arrives(c, (int)ev->num);
        break;
    case SIM_EV_UNDEFER:
        sim_undefer(c);
        break;
    default:
        MP_ASSERT(!"an event of a connection");
    }
}
