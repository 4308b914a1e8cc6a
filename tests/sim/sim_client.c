/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* An HTTP/1 client: one connection at a time carries its streams in order, pipelined to a depth, in
 * fragments and with pauses. What a closing connection leaves unanswered is sent again on the next
 * one, where that is allowed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/assert.h"
#include "base/hash.h"
#include "io/sock.h"
#include "sim_http.h"
#include "sim_world.h"

#define DIALS_MAX   40
#define CONTINUE_MS 1000
#define PIECES_MAX  500 /* of one message, however small the fragments */

enum ending {
    END_CLOSE,      /* after the last response */
    END_HALF_CLOSE, /* FIN after the last request, then the responses */
    END_LINGER,     /* stays idle for a while first */
    END_ABORT_SEND, /* gives up inside the last request */
    END_ABORT_RECV, /* gives up inside the last response */
};

struct sim_client {
    struct mp_io io;
    struct mp_list link;
    struct sim_world *w;
    struct mp_task free_task;
    struct mp_timer write_timer, read_timer, dial_timer;
    uint64_t first;
    uint32_t n, next_send, next_recv; /* streams, relative to first */
    uint32_t dials;

    /* manners, for the whole life */
    enum ending ending;
    uint32_t depth, fragment_max, pause_in, read_max;
    uint32_t slow_read_ms; /* pause after each read; 0: none */
    uint32_t stop_read_at; /* stops for a while after that many bytes; 0: never */
    uint32_t abort_at;
    bool abort_reset, lazy_read;

    /* of the current connection */
    bool connected, half_closed;
    bool wait_100, wait_write, wait_read;
    bool hup; /* the end of the stream has been announced: no further event would tell of it */
    struct sim_plan send_plan, recv_plan;
    struct sim_bytes out;
    size_t out_at, head_end;
    struct sim_parser parser;
    uint64_t received, resp_got;
    bool head_seen, local, interim_seen;
    char local_text[80]; /* begin of an answer that is not the upstream's */
    size_t local_n;
    int local_status;
    bool reset_seen; /* by a send: the error is told once, so reading would take it for an orderly
                        end */
    bool done, idle;
};

static void client_pump(struct sim_client *c);
static void client_dial(struct sim_client *c);

/* ---- life ---- */

static void client_free(struct mp_task *t)
{
    struct sim_client *c = MP_CONTAINER_OF(t, struct sim_client, free_task);
    mp_task_cancel(&c->free_task);
    mp_list_remove(&c->link);
    sim_parser_fini(&c->parser);
    sim_bytes_free(&c->out);
    free(c);
}

/* Forgets the connection; the streams stay. */
static void client_hang_up(struct sim_client *c)
{
    struct mp_loop *l = c->w->client_loop;
    mp_io_close(l, &c->io);
    mp_wheel_remove(mp_loop_wheel(l), &c->write_timer);
    mp_wheel_remove(mp_loop_wheel(l), &c->read_timer);
    sim_bytes_free(&c->out);
    c->out_at = c->head_end = 0;
    c->connected = c->half_closed = c->wait_100 = c->wait_write = c->wait_read = c->reset_seen =
        false;
}

static void client_done(struct sim_client *c)
{
    if (c->done) {
        return;
    }
    client_hang_up(c);
    c->done = true;
    c->w->clients_open--;
    mp_wheel_remove(mp_loop_wheel(c->w->client_loop), &c->dial_timer);
    mp_task_defer(c->w->client_loop, &c->free_task);
}

static void abandon_rest(struct sim_client *c)
{
    while (c->next_recv < c->n) {
        sim_world_resolve(c->w, c->first + c->next_recv++, SIM_ABANDONED);
    }
    client_done(c);
}

/* A fault is planned for a stream that the current connection carries: it may take the others with
 * it. */
static bool fault_near(const struct sim_client *c)
{
    uint32_t last = MP_MIN(c->n, c->next_send + 1);
    for (uint32_t i = c->next_recv; i < last; i++) {
        struct sim_plan p;
        sim_plan_make(c->w, c->first + i, &p);
        if (p.fault != SIM_FAULT_NONE) {
            return true;
        }
    }
    return false;
}

static bool may_break(const struct sim_client *c)
{
    const struct sim_world_opts *o = &c->w->opts;
    return o->net_faults || o->idle_close || fault_near(c);
}

/* The connection is gone. What it did not answer is tried again, unless the answer had begun. */
static void client_broken(struct sim_client *c, const char *why)
{
    struct sim_world *w = c->w;
    uint64_t id = c->first + c->next_recv;
    bool begun = c->parser.acc.n > 0 || c->parser.state != SIM_P_HEAD || c->interim_seen;
    bool asked = c->next_recv < c->next_send || (c->out_at > 0 && c->next_recv == c->next_send);
    if (c->next_recv == c->n) {
        client_done(c);
        return;
    }
    if ((begun || asked) && !may_break(c)) {
        sim_world_fail(w, id, "connection broke without cause (%s, %llu body bytes)", why,
                       (unsigned long long)c->resp_got);
    }
    if (begun || (asked && (c->recv_plan.fault != SIM_FAULT_NONE || w->streams[id].attempts > 5))) {
        sim_world_resolve(w, id, SIM_BROKEN);
        c->next_recv++;
    }
    client_hang_up(c);
    if (c->next_recv == c->n) {
        client_done(c);
        return;
    }
    client_dial(c);
}

/* ---- requests ---- */

static void build_request(struct sim_client *c)
{
    struct sim_plan *p = &c->send_plan;
    sim_plan_make(c->w, c->first + c->next_send, p);
    mp_sim_trace_event("request", (int64_t)p->id, c->io.fd, p->req_len);
    static const char *names[] = {"GET", "HEAD", "POST", "PUT"};
    sim_bytes_addf(&c->out, "%s /%c/s/%llu HTTP/1.1\r\nHost: sim.test\r\nX-Stream: %llu\r\nx-pad: ",
                   names[p->method], 'a' + (int)p->cluster, (unsigned long long)p->id,
                   (unsigned long long)p->id);
    char *pad = malloc(p->req_pad + 1);
    MP_ASSERT(pad);
    sim_gen_text(p->id, SIM_DIR_REQ_PAD, pad, p->req_pad);
    sim_bytes_add(&c->out, pad, p->req_pad);
    free(pad);
    sim_bytes_addf(&c->out, "\r\n");
    if (p->expect) {
        sim_bytes_addf(&c->out, "Expect: 100-continue\r\n");
    }
    if (p->req_framing == SIM_F_LENGTH) {
        sim_bytes_addf(&c->out, "Content-Length: %u\r\n", p->req_len);
    }
    if (p->req_framing == SIM_F_CHUNKED) {
        sim_bytes_addf(&c->out, "transfer-encoding: chunked\r\n%s",
                       p->req_trailer ? "Trailer: x-trail\r\n" : "");
    }
    sim_bytes_addf(&c->out, "\r\n");
    c->head_end = c->out.n;
    c->wait_100 = p->expect;
    if (p->req_framing == SIM_F_NONE) {
        return;
    }
    bool chunked = p->req_framing == SIM_F_CHUNKED;
    sim_bytes_add_body(&c->out, p->id, SIM_DIR_REQ, p->req_len, chunked, &c->w->rand);
    if (chunked) {
        sim_bytes_addf(&c->out, "0\r\n");
    }
    if (p->req_trailer) {
        char text[41] = {0};
        sim_gen_text(p->id, SIM_DIR_TRAIL, text, 40);
        sim_bytes_addf(&c->out, "x-trail: %s\r\n", text);
    }
    if (chunked) {
        sim_bytes_addf(&c->out, "\r\n");
    }
}

static void write_timer_fired(struct mp_timer *t)
{
    struct sim_client *c = MP_CONTAINER_OF(t, struct sim_client, write_timer);
    c->wait_write = c->wait_100 = false;
    client_pump(c);
}

static void request_sent(struct sim_client *c)
{
    struct mp_loop *l = c->w->client_loop;
    sim_bytes_free(&c->out);
    c->out_at = 0;
    c->next_send++;
    if (c->next_send == c->n && c->ending == END_HALF_CLOSE) {
        c->half_closed = true;
        mp_sock_shutdown_write(l, c->io.fd);
    }
}

/* False: no request to send now. */
static bool next_request(struct sim_client *c)
{
    if (c->out.n > 0) {
        return true;
    }
    if (c->next_send == c->n || c->next_send - c->next_recv >= c->depth) {
        return false;
    }
    build_request(c);
    return true;
}

static void client_abort(struct sim_client *c)
{
    if (c->abort_reset) {
        mp_sock_set_reset_on_close(c->w->client_loop, c->io.fd);
    }
    abandon_rest(c);
}

static void maybe_pause(struct sim_client *c)
{
    if (c->pause_in > 0 && mp_rand_below(&c->w->rand, c->pause_in) == 0) {
        c->wait_write = true;
        mp_timer_in(c->w->client_loop, &c->write_timer, mp_rand_below(&c->w->rand, 20));
    }
}

/* How far the current request may be sent now. */
static size_t send_limit(struct sim_client *c)
{
    size_t limit = c->wait_100 ? c->head_end : c->out.n;
    if (c->ending == END_ABORT_SEND && c->next_send + 1 == c->n) {
        limit = MP_MIN(limit, 1 + c->abort_at % (c->out.n > 1 ? c->out.n - 1 : 1));
    }
    return limit;
}

static void pump_out(struct sim_client *c)
{
    struct sim_world *w = c->w;
    while (!c->done && c->connected && !c->wait_write && next_request(c)) {
        struct sim_stream *s = &w->streams[c->first + c->next_send];
        size_t limit = send_limit(c);
        if (c->out_at >= limit) {
            if (c->wait_100 && c->out_at == c->head_end) {
                c->wait_write = true;
                mp_timer_in(w->client_loop, &c->write_timer, CONTINUE_MS);
                return;
            }
            client_abort(c);
            return;
        }
        uint32_t most = MP_MAX(c->fragment_max, (uint32_t)(c->out.n / PIECES_MAX));
        size_t fragment = 1 + mp_rand_below(&w->rand, most);
        size_t part = MP_MIN(limit - c->out_at, fragment);
        if (c->out_at == 0) {
            s->attempts++;
        }
        ssize_t n = mp_sock_send(w->client_loop, c->io.fd, c->out.p + c->out_at, part);
        if (n <= 0) {
            s->attempts -= c->out_at == 0 ? 1 : 0;
            c->reset_seen |= n == -ECONNRESET;
            return; /* full, or broken: then reading tells */
        }
        c->out_at += (size_t)n;
        if (c->out_at == c->out.n) {
            s->req_sent = true;
            request_sent(c);
        }
        maybe_pause(c);
    }
}

/* ---- responses ---- */

static void check_final_head(struct sim_client *c, struct sim_parser *p)
{
    struct sim_world *w = c->w;
    const struct sim_plan *plan = &c->recv_plan;
    struct mp_str text;
    if (p->status != plan->status) {
        sim_world_fail(w, plan->id, "status %d instead of %d", p->status, plan->status);
    }
    if (!sim_parser_field(p, "x-pad", &text) || text.n != plan->resp_pad ||
        !sim_gen_text_is(plan->id, SIM_DIR_RESP_PAD, text)) {
        sim_world_fail(w, plan->id, "client got a wrong x-pad");
    }
    bool bodyless = plan->status == 204 || plan->status == 304;
    if (p->has_length && p->length != (bodyless ? 0 : plan->resp_len)) {
        sim_world_fail(w, plan->id, "content-length %llu", (unsigned long long)p->length);
    }
    if (plan->req_len > 0 && !plan->early) {
        uint64_t sum = MP_FNV_SEED;
        char bytes[4096], want[17];
        for (uint32_t off = 0; off < plan->req_len; off += sizeof(bytes)) {
            size_t part = MP_MIN(sizeof(bytes), plan->req_len - off);
            sim_gen_fill(plan->id, SIM_DIR_REQ, off, bytes, part);
            sum = mp_hash_fnv(sum, bytes, part);
        }
        snprintf(want, sizeof(want), "%016llx", (unsigned long long)sum);
        if (!sim_parser_field(p, "x-body-sum", &text) || !mp_str_eq(text, mp_str_c(want))) {
            sim_world_fail(w, plan->id, "client got a wrong x-body-sum");
        }
    }
}

static void on_head(void *arg, struct sim_parser *p)
{
    struct sim_client *c = arg;
    struct sim_world *w = c->w;
    struct mp_str text;
    uint64_t id;
    mp_sim_trace_event("response", (int64_t)c->recv_plan.id, c->io.fd, p->status);
    bool marked = sim_parser_field(p, "x-stream", &text);
    if (marked && (mp_is_err(mp_str_to_u64(text, &id)) || id != c->recv_plan.id)) {
        sim_world_fail(w, c->recv_plan.id, "client got the response of stream " MP_STR_FMT,
                       MP_STR_ARG(text));
    }
    if (p->status < 200) {
        c->interim_seen = true;
        bool wanted =
            p->status == 100 ? c->recv_plan.expect : p->status == 103 && c->recv_plan.hints > 0;
        if (!wanted) {
            sim_world_fail(w, c->recv_plan.id, "unexpected interim response %d", p->status);
        }
        if (p->status == 100 && c->next_send == c->next_recv) {
            c->wait_100 = c->wait_write = false;
        }
        return;
    }
    if (c->next_send == c->next_recv) {
        c->wait_100 = c->wait_write = false;
    }
    c->head_seen = true;
    c->local = !marked;
    if (marked) {
        check_final_head(c, p);
        return;
    }
    c->local_status = p->status;
    c->local_n = 0;
}

/* An answer of the proxy itself: only faults excuse it. Called with its text. */
static void local_reply(struct sim_client *c)
{
    const struct sim_world_opts *o = &c->w->opts;
    bool excused =
        o->front && (o->net_faults || o->idle_close || c->recv_plan.fault != SIM_FAULT_NONE);
    if (c->local_status < 400 || !excused) {
        sim_world_fail(c->w, c->recv_plan.id,
                       "an answer with status %d that is not the upstream's: %.*s", c->local_status,
                       (int)c->local_n, c->local_text);
    }
}

static void on_body(void *arg, const char *bytes, size_t n)
{
    struct sim_client *c = arg;
    const struct sim_plan *plan = &c->recv_plan;
    if (c->local) {
        size_t part = MP_MIN(n, sizeof(c->local_text) - c->local_n);
        memcpy(c->local_text + c->local_n, bytes, part);
        c->local_n += part;
        return;
    }
    ptrdiff_t bad = sim_gen_check(plan->id, SIM_DIR_RESP, c->resp_got, bytes, n);
    if (bad >= 0) {
        sim_world_fail(c->w, plan->id, "response body is wrong at %llu",
                       (unsigned long long)c->resp_got + (size_t)bad);
    }
    c->resp_got += n;
    c->w->body_bytes += n;
    if (c->resp_got > plan->resp_len) {
        sim_world_fail(c->w, plan->id, "response body is too long");
    }
}

static void on_trailer(void *arg, struct mp_str name, struct mp_str value)
{
    struct sim_client *c = arg;
    if (!c->recv_plan.resp_trailer || !mp_str_ieq(name, MP_STR("x-trail")) ||
        !sim_gen_text_is(c->recv_plan.id, SIM_DIR_TRAIL, value)) {
        sim_world_fail(c->w, c->recv_plan.id, "client got a wrong trailer");
    }
}

static void on_end(void *arg)
{
    struct sim_client *c = arg;
    const struct sim_plan *plan = &c->recv_plan;
    if (c->local) {
        local_reply(c);
        return;
    }
    bool bodyless = plan->method == SIM_HEAD || plan->status == 204 || plan->status == 304;
    if (c->resp_got != (bodyless ? 0 : plan->resp_len)) {
        sim_world_fail(c->w, plan->id, "response body ends at %llu of %u",
                       (unsigned long long)c->resp_got, plan->resp_len);
    }
    if (!c->w->streams[plan->id].resp_sent) {
        sim_world_fail(c->w, plan->id,
                       "response is complete at the client, but was not at the upstream");
    }
}

static const struct sim_parser_ops parser_ops = {on_head, on_body, on_trailer, on_end};

static void expect_response(struct sim_client *c)
{
    c->resp_got = 0;
    c->head_seen = c->local = c->interim_seen = false;
    sim_plan_make(c->w, c->first + c->next_recv, &c->recv_plan);
    c->parser.no_body = c->recv_plan.method == SIM_HEAD;
}

static void all_answered(struct sim_client *c)
{
    struct sim_world *w = c->w;
    if (c->ending == END_LINGER && !c->parser.close) {
        c->idle = true;
        mp_timer_in(w->client_loop, &c->dial_timer, 1 + mp_rand_below(&w->rand, 2000));
        return;
    }
    client_done(c);
}

/* The parser is at the end of a response. */
static void response_over(struct sim_client *c)
{
    bool close = c->parser.close || c->parser.state == SIM_P_UNTIL_CLOSE;
    sim_world_resolve(c->w, c->recv_plan.id, c->local ? SIM_LOCAL : SIM_OK);
    /* An answer that came before its request was sent: the rest still has to go, unless the
     * connection ends. */
    if (c->next_send == c->next_recv && (close || c->next_recv + 1 == c->n)) {
        close = true;
    }
    c->next_recv++;
    if (c->next_recv == c->n) {
        all_answered(c);
        return;
    }
    if (close) {
        client_hang_up(c);
        client_dial(c);
        return;
    }
    sim_parser_next(&c->parser);
    expect_response(c);
}

static void read_timer_fired(struct mp_timer *t)
{
    struct sim_client *c = MP_CONTAINER_OF(t, struct sim_client, read_timer);
    c->wait_read = false;
    client_pump(c);
}

static void pause_reading(struct sim_client *c, uint32_t ms)
{
    c->wait_read = true;
    mp_timer_in(c->w->client_loop, &c->read_timer, ms);
}

static void feed(struct sim_client *c, const char *bytes, size_t n)
{
    for (size_t at = 0; at < n && !c->done && c->connected;) {
        if (c->idle || c->next_recv == c->next_send + (c->out_at > 0 ? 1 : 0)) {
            sim_world_fail(c->w, c->first + c->next_recv, "bytes without a request");
            return;
        }
        ptrdiff_t used = sim_parser_feed(&c->parser, bytes + at, n - at);
        if (used < 0) {
            sim_world_fail(c->w, c->recv_plan.id, "client got a malformed response: %s",
                           c->parser.error);
            return;
        }
        at += (size_t)used;
        if (c->ending == END_ABORT_RECV && c->next_recv + 1 == c->n && c->head_seen &&
            c->resp_got >= c->abort_at) {
            client_abort(c);
            return;
        }
        if (c->parser.state == SIM_P_DONE) {
            response_over(c);
        }
    }
}

static void end_of_stream(struct sim_client *c, ssize_t err)
{
    if (c->idle || c->next_recv == c->n) {
        client_done(c);
        return;
    }
    bool until_close = c->parser.state == SIM_P_UNTIL_CLOSE && !c->reset_seen;
    if (err == 0 && until_close && sim_parser_eof(&c->parser)) {
        response_over(c);
        return;
    }
    client_broken(c, err == 0 ? "end of stream" : strerror((int)-err));
}

static void pump_in(struct sim_client *c)
{
    char bytes[65536];
    struct sim_world *w = c->w;
    while (!c->done && c->connected && !c->wait_read) {
        uint32_t most = MP_MAX(c->read_max, c->recv_plan.resp_len / PIECES_MAX);
        size_t want = 1 + mp_rand_below(&w->rand, MP_MIN(most, (uint32_t)sizeof(bytes)));
        ssize_t n = mp_sock_recv(w->client_loop, c->io.fd, bytes, want);
        if (n == -EAGAIN) {
            return;
        }
        if (n <= 0) {
            end_of_stream(c, n);
            return;
        }
        uint64_t before = c->received;
        c->received += (uint64_t)n;
        feed(c, bytes, (size_t)n);
        if (c->done || !c->connected) {
            return;
        }
        if (c->stop_read_at > before && c->stop_read_at <= c->received) {
            pause_reading(c, 500);
        } else if (c->slow_read_ms > 0) {
            pause_reading(c, c->slow_read_ms);
        }
        if (c->lazy_read && !c->hup && (size_t)n < want) {
            return; /* a short read: the next bytes come with an event */
        }
    }
}

static void client_pump(struct sim_client *c)
{
    uint32_t before;
    do {
        before = c->next_recv;
        pump_out(c);
        pump_in(c);
        /* An answer makes room in the pipeline; a 100 lets the body go. */
    } while (!c->done && c->connected && !c->wait_read && before != c->next_recv);
    if (!c->done && c->connected) {
        pump_out(c);
    }
}

/* ---- connecting ---- */

static void dial_again(struct sim_client *c, int err)
{
    if (!c->w->opts.net_faults) {
        sim_world_fail(c->w, c->first + c->next_recv, "connect: %s", strerror(-err));
    }
    client_hang_up(c);
    mp_timer_in(c->w->client_loop, &c->dial_timer, 50);
}

static void on_ready(struct mp_io *io, unsigned events)
{
    struct sim_client *c = MP_CONTAINER_OF(io, struct sim_client, io);
    if (!c->connected) {
        int err = mp_sock_connect_result(c->w->client_loop, io->fd);
        if (err < 0) {
            dial_again(c, err);
            return;
        }
        c->connected = true;
    }
    c->hup |= (events & (MP_IO_HUP | MP_IO_ERR)) != 0;
    client_pump(c);
}

static void client_dial(struct sim_client *c)
{
    struct sim_world *w = c->w;
    if (c->dials++ == DIALS_MAX) {
        while (c->next_recv < c->n) {
            sim_world_resolve(w, c->first + c->next_recv++, SIM_BROKEN);
        }
        client_done(c);
        return;
    }
    sim_parser_fini(&c->parser);
    sim_parser_init(&c->parser, true, &parser_ops, c);
    c->next_send = c->next_recv;
    expect_response(c);
    struct mp_addr to = w->opts.front_addr;
    if (!w->opts.front) {
        to = sim_upstream_addr(c->recv_plan.cluster, mp_rand_below(&w->rand, SIM_INSTANCES));
    }
    int fd = mp_sock_connect(w->client_loop, &to, NULL);
    if (fd < 0) {
        dial_again(c, fd);
        return;
    }
    MP_ASSERT(!mp_is_err(mp_io_open(w->client_loop, &c->io, fd, on_ready)));
}

static void dial_timer_fired(struct mp_timer *t)
{
    struct sim_client *c = MP_CONTAINER_OF(t, struct sim_client, dial_timer);
    if (c->idle) {
        client_done(c);
        return;
    }
    client_dial(c);
}

static void choose_manners(struct sim_client *c)
{
    static const uint32_t fragments[] = {1, 30, 1000, 1000000};
    static const uint32_t reads[] = {1, 100, 4096, 65536};
    struct mp_rand *r = &c->w->rand;
    c->depth = mp_rand_below(r, 2) ? 1 : 1 + mp_rand_below(r, 8);
    c->fragment_max =
        fragments[mp_rand_below(r, 8) == 0 ? mp_rand_below(r, 2) : 2 + mp_rand_below(r, 2)];
    c->pause_in = mp_rand_below(r, 3) ? 0 : 2 + mp_rand_below(r, 50);
    c->read_max = reads[mp_rand_below(r, 8) == 0 ? mp_rand_below(r, 2) : 2 + mp_rand_below(r, 2)];
    c->lazy_read = mp_rand_below(r, 2);
    c->slow_read_ms = mp_rand_below(r, 10) || c->read_max < 1000 ? 0 : 1 + mp_rand_below(r, 10);
    c->stop_read_at = mp_rand_below(r, 6) ? 0 : 1 + mp_rand_below(r, 20000);
    c->abort_at = mp_rand_below(r, 20000);
    c->abort_reset = mp_rand_below(r, 2);
    c->ending = (enum ending)mp_rand_below(r, END_ABORT_SEND);
    if (c->w->opts.peer_faults && mp_rand_below(r, 6) == 0) {
        c->ending = mp_rand_below(r, 2) ? END_ABORT_SEND : END_ABORT_RECV;
    }
}

struct sim_client *sim_client_start(struct sim_world *w, uint64_t first, uint32_t n)
{
    struct sim_client *c = calloc(1, sizeof(*c));
    MP_ASSERT(c);
    c->w = w;
    c->first = first;
    c->n = n;
    c->io.fd = -1;
    w->clients_open++;
    mp_list_push_back(&w->clients, &c->link);
    mp_task_init(&c->free_task, client_free);
    mp_timer_init(&c->write_timer, write_timer_fired);
    mp_timer_init(&c->read_timer, read_timer_fired);
    mp_timer_init(&c->dial_timer, dial_timer_fired);
    choose_manners(c);
    client_dial(c);
    return c;
}

void sim_client_drop_all(struct sim_world *w)
{
    MP_LIST_FOREACH_SAFE (it, &w->clients) {
        struct sim_client *c = MP_CONTAINER_OF(it, struct sim_client, link);
        client_done(c);
        client_free(&c->free_task);
    }
}

void sim_client_describe_all(const struct sim_world *w)
{
    uint32_t left = 10;
    MP_LIST_FOREACH (it, &w->clients) {
        const struct sim_client *c = MP_CONTAINER_OF(it, struct sim_client, link);
        if (c->done || left-- == 0) {
            continue;
        }
        fprintf(stderr,
                "# waiting: descriptor %d, streams %llu + %u, sent %u, answered %u, request at %zu "
                "of %zu, "
                "parser state %d, %llu body bytes%s%s%s%s\n",
                c->io.fd, (unsigned long long)c->first, c->n, c->next_send, c->next_recv, c->out_at,
                c->out.n, c->parser.state, (unsigned long long)c->resp_got,
                c->connected ? "" : ", not connected", c->idle ? ", idle" : "",
                c->wait_read ? ", not reading" : "", c->wait_write ? ", not writing" : "");
    }
}
