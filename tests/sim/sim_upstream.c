/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* An HTTP/1 origin that follows each stream's plan: framing, delays, interim and early responses,
 * stalls, resets. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/assert.h"
#include "base/hash.h"
#include "io/sock.h"
#include "sim_http.h"
#include "sim_world.h"

#define LINGER_MS \
    120000 /* longer than any client is slow: closing earlier could reset what it has not read */

struct sim_upstream {
    struct sim_world *w;
    struct mp_io io;
    uint32_t cluster, instance;
    struct mp_list conns; /* struct origin.link; closed ones too, until freed */
};

/* One connection. Requests are answered one after the other; while a response is under way the next
 * request waits, unread where possible. */
struct origin {
    struct mp_io io;
    struct mp_list link;
    struct sim_upstream *u;
    struct mp_task free_task;
    struct mp_timer read_timer, write_timer, linger_timer;
    struct sim_parser parser;
    struct sim_bytes in, out;
    size_t in_at, out_at;
    size_t resp_at; /* where the final response starts in out */
    struct sim_plan plan;
    uint64_t req_got, sum;
    uint32_t exchanges; /* finished ones */
    bool busy;          /* a request's head is there and its exchange is not over */
    bool head_seen, req_done, resp_started, resp_done;
    bool stalled, delayed; /* a timer is running */
    bool pause_done, stall_done;
    bool lingering, eof, closed;
};

static void origin_pump(struct origin *o);

/* ---- life ---- */

static void origin_free(struct mp_task *t)
{
    struct origin *o = MP_CONTAINER_OF(t, struct origin, free_task);
    mp_task_cancel(&o->free_task);
    mp_list_remove(&o->link);
    sim_parser_fini(&o->parser);
    sim_bytes_free(&o->in);
    sim_bytes_free(&o->out);
    free(o);
}

static void origin_close(struct origin *o)
{
    struct mp_loop *l = o->u->w->upstream_loop;
    if (o->closed) {
        return;
    }
    o->closed = true;
    mp_io_close(l, &o->io);
    mp_wheel_remove(mp_loop_wheel(l), &o->read_timer);
    mp_wheel_remove(mp_loop_wheel(l), &o->write_timer);
    mp_wheel_remove(mp_loop_wheel(l), &o->linger_timer);
    mp_task_defer(l, &o->free_task);
}

static void origin_reset(struct origin *o)
{
    mp_sock_set_reset_on_close(o->u->w->upstream_loop, o->io.fd);
    origin_close(o);
}

/* ---- the request ---- */

static void on_head(void *arg, struct sim_parser *p)
{
    struct origin *o = arg;
    struct sim_world *w = o->u->w;
    struct mp_str text, host;
    uint64_t id;
    if (!sim_parser_field(p, "x-stream", &text) || mp_is_err(mp_str_to_u64(text, &id)) ||
        id >= w->n_streams) {
        sim_world_fail(w, 0, "upstream got a request without a valid x-stream");
        return;
    }
    sim_plan_make(w, id, &o->plan);
    o->head_seen = o->busy = true;
    mp_sim_trace_event("origin", (int64_t)id, o->io.fd, o->plan.resp_len);
    char path[64];
    snprintf(path, sizeof(path), "/%c/s/%llu", 'a' + (int)o->plan.cluster, (unsigned long long)id);
    static const char *names[] = {"GET", "HEAD", "POST", "PUT"};
    if (!mp_str_eq(p->target, mp_str_c(path))) {
        sim_world_fail(w, id, "upstream got target " MP_STR_FMT, MP_STR_ARG(p->target));
    }
    if (!mp_str_eq(p->method, mp_str_c(names[o->plan.method]))) {
        sim_world_fail(w, id, "upstream got method " MP_STR_FMT, MP_STR_ARG(p->method));
    }
    if (w->opts.front && o->u->cluster != o->plan.cluster) {
        sim_world_fail(w, id, "came to cluster %u", o->u->cluster);
    }
    if (!sim_parser_field(p, "host", &host)) {
        sim_world_fail(w, id, "upstream got no host");
    }
    if (!sim_parser_field(p, "x-pad", &text) || text.n != o->plan.req_pad ||
        !sim_gen_text_is(id, SIM_DIR_REQ_PAD, text)) {
        sim_world_fail(w, id, "upstream got a wrong x-pad");
    }
    if (p->has_length && p->length != o->plan.req_len) {
        sim_world_fail(w, id, "upstream got content-length %llu", (unsigned long long)p->length);
    }
    if (++w->streams[id].seen > sim_seen_max(w, &o->plan)) {
        sim_world_fail(w, id, "seen more often than sent");
    }
    o->sum = MP_FNV_SEED;
}

static void on_body(void *arg, const char *bytes, size_t n)
{
    struct origin *o = arg;
    struct sim_world *w = o->u->w;
    ptrdiff_t bad = sim_gen_check(o->plan.id, SIM_DIR_REQ, o->req_got, bytes, n);
    if (bad >= 0) {
        sim_world_fail(w, o->plan.id, "request body is wrong at %llu",
                       (unsigned long long)o->req_got + (size_t)bad);
    }
    o->req_got += n;
    if (o->req_got > o->plan.req_len) {
        sim_world_fail(w, o->plan.id, "request body is too long");
    }
    o->sum = mp_hash_fnv(o->sum, bytes, n);
    w->body_bytes += n;
}

static void on_trailer(void *arg, struct mp_str name, struct mp_str value)
{
    struct origin *o = arg;
    if (!o->plan.req_trailer || !mp_str_ieq(name, MP_STR("x-trail")) ||
        !sim_gen_text_is(o->plan.id, SIM_DIR_TRAIL, value)) {
        sim_world_fail(o->u->w, o->plan.id, "upstream got a wrong trailer");
    }
}

static void on_end(void *arg)
{
    struct origin *o = arg;
    struct sim_world *w = o->u->w;
    if (!o->busy) {
        return; /* the head was refused */
    }
    if (o->req_got != o->plan.req_len) {
        sim_world_fail(w, o->plan.id, "request body ends at %llu of %u",
                       (unsigned long long)o->req_got, o->plan.req_len);
    }
    if (!w->streams[o->plan.id].req_sent) {
        sim_world_fail(w, o->plan.id,
                       "request is complete at the upstream, but was not at the client");
    }
}

static const struct sim_parser_ops parser_ops = {on_head, on_body, on_trailer, on_end};

/* ---- the response ---- */

static bool has_body(const struct sim_plan *p)
{
    return p->method != SIM_HEAD && p->status != 204 && p->status != 304;
}

static void write_head(struct origin *o)
{
    const struct sim_plan *p = &o->plan;
    struct sim_bytes *b = &o->out;
    sim_bytes_addf(b, "HTTP/1.1 %d Planned\r\nx-stream: %llu\r\nx-pad: ", p->status,
                   (unsigned long long)p->id);
    char *pad = malloc(p->resp_pad + 1);
    MP_ASSERT(pad);
    sim_gen_text(p->id, SIM_DIR_RESP_PAD, pad, p->resp_pad);
    sim_bytes_add(b, pad, p->resp_pad);
    free(pad);
    sim_bytes_addf(b, "\r\n");
    if (p->req_len > 0 && !p->early) {
        sim_bytes_addf(b, "x-body-sum: %016llx\r\n", (unsigned long long)o->sum);
    }
    if (p->resp_framing == SIM_F_LENGTH) {
        sim_bytes_addf(b, "Content-Length: %u\r\n", p->resp_len);
    }
    if (p->resp_framing == SIM_F_CHUNKED) {
        sim_bytes_addf(b, "Transfer-Encoding: chunked\r\n");
    }
    if (p->announce_close) {
        sim_bytes_addf(b, "Connection: close\r\n");
    }
    sim_bytes_addf(b, "\r\n");
}

static void write_trailer(struct origin *o)
{
    const struct sim_plan *p = &o->plan;
    sim_bytes_addf(&o->out, "0\r\n");
    if (p->resp_trailer) {
        char text[41] = {0};
        sim_gen_text(p->id, SIM_DIR_TRAIL, text, 40);
        sim_bytes_addf(&o->out, "X-Trail: %s\r\n", text);
    }
    sim_bytes_addf(&o->out, "\r\n");
}

static void start_response(struct origin *o)
{
    struct sim_plan *p = &o->plan;
    o->resp_started = true;
    mp_sim_trace_event("answer", (int64_t)p->id, o->io.fd, p->status);
    o->resp_at = o->out.n;
    write_head(o);
    if (has_body(p)) {
        sim_bytes_add_body(&o->out, p->id, SIM_DIR_RESP, p->resp_len,
                           p->resp_framing == SIM_F_CHUNKED, &o->u->w->rand);
        if (p->resp_framing == SIM_F_CHUNKED) {
            write_trailer(o);
        }
    }
    /* A fault that cuts nothing off would be none. */
    uint32_t total = (uint32_t)(o->out.n - o->resp_at);
    p->fault_at = MP_MIN(p->fault_at, total - 1);
    o->pause_done = p->pause_at == 0 || p->pause_at >= total;
}

/* Interim responses go out at once; the final one after the planned delay. */
static void prepare_response(struct origin *o)
{
    struct sim_plan *p = &o->plan;
    for (uint32_t i = 0; i < p->hints; i++) {
        sim_bytes_addf(&o->out, "HTTP/1.1 103 Early Hints\r\nx-stream: %llu\r\nLink: </%u>\r\n\r\n",
                       (unsigned long long)p->id, i);
    }
    if (p->head_delay_us == 0) {
        start_response(o);
        return;
    }
    o->delayed = true;
    mp_timer_in(o->u->w->upstream_loop, &o->write_timer, 1 + p->head_delay_us / 1000);
}

static void write_timer_fired(struct mp_timer *t)
{
    struct origin *o = MP_CONTAINER_OF(t, struct origin, write_timer);
    o->delayed = false;
    if (!o->resp_started) {
        start_response(o);
    } else {
        o->pause_done = true;
    }
    origin_pump(o);
}

static void read_timer_fired(struct mp_timer *t)
{
    struct origin *o = MP_CONTAINER_OF(t, struct origin, read_timer);
    o->stalled = false;
    origin_pump(o);
}

/* Also: idle for long enough to be closed. */
static void linger_timer_fired(struct mp_timer *t)
{
    struct origin *o = MP_CONTAINER_OF(t, struct origin, linger_timer);
    if (o->lingering || (!o->busy && o->parser.acc.n == 0)) {
        origin_close(o);
    }
}

static void exchange_over(struct origin *o)
{
    struct sim_world *w = o->u->w;
    o->busy = false;
    o->head_seen = o->req_done = o->resp_started = o->resp_done = false;
    o->req_got = 0;
    o->stall_done = false;
    o->exchanges++;
    if (w->opts.idle_close && mp_rand_below(&w->rand, 4) == 0) {
        mp_timer_in(w->upstream_loop, &o->linger_timer, 1 + mp_rand_below(&w->rand, 300));
    }
}

static void response_over(struct origin *o)
{
    struct mp_loop *l = o->u->w->upstream_loop;
    o->resp_done = true;
    sim_bytes_free(&o->out);
    o->out_at = 0;
    if (o->plan.fault == SIM_FAULT_NO_READ) {
        origin_close(o);
        return;
    }
    if (o->plan.announce_close) {
        o->lingering = true;
        mp_sock_shutdown_write(l, o->io.fd);
        mp_timer_in(l, &o->linger_timer, LINGER_MS);
        return;
    }
    if (o->req_done) {
        exchange_over(o);
    }
}

/* How far we may send before something planned happens. */
static size_t send_limit(const struct origin *o)
{
    size_t limit = o->out.n;
    if (!o->resp_started) {
        return limit;
    }
    if (!o->pause_done) {
        limit = MP_MIN(limit, o->resp_at + o->plan.pause_at);
    }
    if (o->plan.fault == SIM_FAULT_RST || o->plan.fault == SIM_FAULT_FIN) {
        limit = MP_MIN(limit, o->resp_at + o->plan.fault_at);
    }
    return limit;
}

static void at_limit(struct origin *o)
{
    const struct sim_plan *p = &o->plan;
    if (!o->resp_started || o->resp_done) {
        return;
    }
    bool cuts = p->fault == SIM_FAULT_RST || p->fault == SIM_FAULT_FIN;
    if (cuts && o->out_at == o->resp_at + p->fault_at) {
        if (p->fault == SIM_FAULT_RST) {
            origin_reset(o);
        } else {
            origin_close(o);
        }
        return;
    }
    if (o->out_at == o->out.n) {
        response_over(o);
        return;
    }
    o->delayed = true;
    mp_timer_in(o->u->w->upstream_loop, &o->write_timer, 1 + p->pause_us / 1000);
}

static void pump_out(struct origin *o)
{
    struct sim_world *w = o->u->w;
    while (!o->closed && !o->delayed && (o->out.n > 0 || o->resp_started) && !o->resp_done) {
        size_t limit = send_limit(o);
        if (o->out_at == limit) {
            at_limit(o);
            return;
        }
        ssize_t n =
            mp_sock_send(w->upstream_loop, o->io.fd, o->out.p + o->out_at, limit - o->out_at);
        if (n == -EAGAIN) {
            return;
        }
        if (n < 0) {
            origin_close(o);
            return;
        }
        o->out_at += (size_t)n;
        if (o->resp_started && o->out_at == o->out.n) {
            w->streams[o->plan.id].resp_sent = true;
        }
    }
}

/* ---- reading ---- */

static void request_cut(struct origin *o)
{
    const struct sim_world_opts *opts = &o->u->w->opts;
    bool begun = o->busy ? !o->req_done : o->parser.acc.n > 0;
    bool answered = o->busy && o->plan.early && o->resp_started;
    if (begun && !answered && !opts->peer_faults && !opts->net_faults && !opts->idle_close &&
        !o->lingering) {
        sim_world_fail(o->u->w, o->plan.id, "request was cut on its way to the upstream");
    }
}

static void after_feed(struct origin *o)
{
    struct sim_plan *p = &o->plan;
    if (o->head_seen) {
        o->head_seen = false;
        if (o->parser.expect && p->expect) {
            sim_bytes_addf(&o->out, "HTTP/1.1 100 Continue\r\n\r\n");
        }
        if (p->early) {
            prepare_response(o);
        }
    }
    if (o->busy && p->stall_at > 0 && !o->stall_done && o->req_got >= p->stall_at &&
        p->fault != SIM_FAULT_NO_READ) {
        o->stall_done = o->stalled = true;
        mp_timer_in(o->u->w->upstream_loop, &o->read_timer, 1 + p->stall_us / 1000);
    }
    if (o->busy && o->parser.state == SIM_P_DONE && !o->req_done) {
        o->req_done = true;
        if (!p->early) {
            prepare_response(o);
        }
        if (o->resp_done && !o->lingering) {
            exchange_over(o);
        }
    }
}

/* Gives what was received to the parser; false when it has to wait for the response. */
static bool feed(struct origin *o)
{
    if (o->parser.state == SIM_P_DONE) {
        if (o->lingering) {
            o->in.n = o->in_at = 0; /* requests after "close" are nobody's */
            return true;
        }
        if (o->busy) {
            return false;
        }
        sim_parser_next(&o->parser);
    }
    ptrdiff_t n = sim_parser_feed(&o->parser, o->in.p + o->in_at, o->in.n - o->in_at);
    if (n < 0 || (o->parser.state == SIM_P_DONE && !o->busy)) {
        sim_world_fail(o->u->w, o->plan.id, "upstream got a malformed request: %s",
                       o->parser.error ? o->parser.error : "head");
        origin_close(o);
        return false;
    }
    o->in_at += (size_t)n;
    after_feed(o);
    return true;
}

/* False: nothing more to read now. */
static bool receive(struct origin *o)
{
    char bytes[16384];
    struct sim_world *w = o->u->w;
    o->in.n = o->in_at = 0;
    ssize_t n =
        mp_sock_recv(w->upstream_loop, o->io.fd, bytes, 1 + mp_rand_below(&w->rand, sizeof(bytes)));
    if (n == -EAGAIN) {
        sim_bytes_free(&o->in);
        return false;
    }
    if (n > 0) {
        sim_bytes_add(&o->in, bytes, (size_t)n);
        return true;
    }
    o->eof = true;
    bool unfinished = o->busy ? !o->req_done : o->parser.state == SIM_P_HEAD && o->parser.acc.n > 0;
    if (unfinished) {
        request_cut(o);
    }
    /* After an orderly end of complete requests the rest of the response still goes out. */
    if (n < 0 || unfinished || !o->busy || o->lingering) {
        origin_close(o);
    }
    return false;
}

static void pump_in(struct origin *o)
{
    while (!o->closed && !o->stalled) {
        if (o->in_at < o->in.n) {
            if (!feed(o)) {
                return;
            }
            continue;
        }
        if (o->eof || (o->busy && o->req_done && !o->lingering) || !receive(o)) {
            return;
        }
    }
}

static void origin_pump(struct origin *o)
{
    uint32_t before;
    do {
        before = o->exchanges;
        pump_in(o);
        pump_out(o);
        /* A finished exchange lets the next request in. */
    } while (!o->closed && o->exchanges != before);
    if (!o->closed && o->eof && !o->busy) {
        origin_close(o);
    }
}

static void on_ready(struct mp_io *io, unsigned events)
{
    origin_pump(MP_CONTAINER_OF(io, struct origin, io));
}

/* ---- listener ---- */

static void on_accept(struct mp_io *io, unsigned events)
{
    struct sim_upstream *u = MP_CONTAINER_OF(io, struct sim_upstream, io);
    struct mp_loop *l = u->w->upstream_loop;
    for (;;) {
        int fd = mp_sock_accept(l, io->fd, NULL);
        if (fd < 0) {
            return; /* none, or out of descriptors: the listener reports again */
        }
        struct origin *o = calloc(1, sizeof(*o));
        MP_ASSERT(o);
        o->u = u;
        mp_list_push_back(&u->conns, &o->link);
        mp_task_init(&o->free_task, origin_free);
        mp_timer_init(&o->read_timer, read_timer_fired);
        mp_timer_init(&o->write_timer, write_timer_fired);
        mp_timer_init(&o->linger_timer, linger_timer_fired);
        sim_parser_init(&o->parser, false, &parser_ops, o);
        MP_ASSERT(!mp_is_err(mp_io_open(l, &o->io, fd, on_ready)));
    }
}

struct sim_upstream *sim_upstream_new(struct sim_world *w, uint32_t cluster, uint32_t instance)
{
    struct sim_upstream *u = calloc(1, sizeof(*u));
    MP_ASSERT(u);
    u->w = w;
    u->cluster = cluster;
    u->instance = instance;
    mp_list_init(&u->conns);
    struct mp_addr addr = sim_upstream_addr(cluster, instance);
    struct mp_listen_opts opts = {0};
    int fd = mp_sock_listen(w->upstream_loop, &addr, &opts);
    MP_ASSERT(fd >= 0);
    MP_ASSERT(!mp_is_err(mp_io_open_listener(w->upstream_loop, &u->io, fd, on_accept)));
    return u;
}

struct sim_upstream *sim_upstream_free(struct sim_upstream *u)
{
    if (!u) {
        return NULL;
    }
    mp_io_close(u->w->upstream_loop, &u->io);
    MP_LIST_FOREACH_SAFE (it, &u->conns) {
        struct origin *o = MP_CONTAINER_OF(it, struct origin, link);
        origin_close(o);
        origin_free(&o->free_task);
    }
    free(u);
    return NULL;
}
