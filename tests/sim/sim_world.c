/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "sim_world.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/assert.h"

static bool one_in(struct mp_rand *r, uint32_t n)
{
    return mp_rand_below(r, n) == 0;
}

/* Mostly small, around the sizes of buffers, seldom large. */
static uint32_t body_len(const struct sim_world *w, struct mp_rand *r)
{
    static const uint32_t edges[] = {1, 1024, 4096, 16384, 20480, 32768, 65536};
    uint32_t n;
    switch (mp_rand_below(r, 8)) {
    case 0:
        n = 0;
        break;
    case 1:
    case 2:
        n = edges[mp_rand_below(r, MP_COUNTOF(edges))] + mp_rand_below(r, 3) - 1;
        break;
    case 3:
        n = mp_rand_below(r, w->opts.body_max + 1);
        break;
    default:
        n = mp_rand_below(r, 2000);
        break;
    }
    return MP_MIN(n, w->opts.body_max);
}

static void plan_request(const struct sim_world *w, struct mp_rand *r, struct sim_plan *p)
{
    static const enum sim_method methods[] = {SIM_GET,  SIM_GET,  SIM_GET, SIM_HEAD,
                                              SIM_POST, SIM_POST, SIM_PUT};
    p->method = methods[mp_rand_below(r, MP_COUNTOF(methods))];
    p->req_pad = one_in(r, 20) ? 6000 : mp_rand_below(r, 200);
    if (p->method != SIM_POST && p->method != SIM_PUT) {
        return;
    }
    p->req_framing = one_in(r, 2) ? SIM_F_LENGTH : SIM_F_CHUNKED;
    p->req_len = body_len(w, r);
    p->req_trailer = p->req_framing == SIM_F_CHUNKED && one_in(r, 4);
    p->expect = p->req_len > 0 && one_in(r, 5);
    p->early = !p->expect && one_in(r, 6);
    if (p->req_len > 1 && one_in(r, 6)) {
        p->stall_at = 1 + mp_rand_below(r, p->req_len - 1);
        p->stall_us = mp_rand_below(r, 200000);
    }
}

static void plan_response(const struct sim_world *w, struct mp_rand *r, struct sim_plan *p)
{
    static const int statuses[] = {200, 200, 200, 200, 201, 204, 304, 404, 500};
    p->status = statuses[mp_rand_below(r, MP_COUNTOF(statuses))];
    p->resp_pad = one_in(r, 20) ? 6000 : mp_rand_below(r, 200);
    p->hints = one_in(r, 8) ? 1 + mp_rand_below(r, 3) : 0;
    p->head_delay_us = one_in(r, 4) ? mp_rand_below(r, 50000) : 0;
    p->announce_close = one_in(r, 12);
    if (p->status == 204 || p->status == 304) {
        return;
    }
    static const enum sim_framing framings[] = {SIM_F_LENGTH, SIM_F_LENGTH, SIM_F_CHUNKED,
                                                SIM_F_CHUNKED, SIM_F_CLOSE};
    p->resp_framing = framings[mp_rand_below(r, MP_COUNTOF(framings))];
    p->resp_len = body_len(w, r);
    p->resp_trailer = p->resp_framing == SIM_F_CHUNKED && p->method != SIM_HEAD && one_in(r, 4);
    if (p->resp_framing == SIM_F_CLOSE) {
        p->announce_close = true;
    }
    if (one_in(r, 4)) {
        p->pause_at = 1 + mp_rand_below(r, p->resp_len + 200);
        p->pause_us = mp_rand_below(r, 100000);
    }
}

static void plan_fault(struct mp_rand *r, struct sim_plan *p)
{
    /* An orderly close is no cut where the close is what ends the message. */
    bool ends_by_close = p->resp_framing == SIM_F_CLOSE;
    uint32_t most = p->resp_len + p->resp_pad + 200;
    switch (mp_rand_below(r, 3)) {
    case 0:
        p->fault = SIM_FAULT_RST;
        p->fault_at = one_in(r, 3) ? 0 : mp_rand_below(r, most);
        break;
    case 1:
        p->fault = ends_by_close ? SIM_FAULT_RST : SIM_FAULT_FIN;
        p->fault_at = one_in(r, 3) ? 0 : mp_rand_below(r, most);
        break;
    default:
        p->fault = SIM_FAULT_NO_READ;
        p->early = p->announce_close = true;
        p->expect = false;
        break;
    }
}

void sim_plan_make(const struct sim_world *w, uint64_t id, struct sim_plan *ret)
{
    struct mp_rand r;
    mp_rand_seed(&r, w->opts.seed * 0x2545f4914f6cdd1dull + id);
    *ret = (struct sim_plan){.id = id, .cluster = mp_rand_below(&r, SIM_CLUSTERS)};
    plan_request(w, &r, ret);
    plan_response(w, &r, ret);
    if (w->opts.peer_faults && one_in(&r, 10)) {
        plan_fault(&r, ret);
    }
}

struct mp_addr sim_upstream_addr(uint32_t cluster, uint32_t instance)
{
    return (struct mp_addr){
        .family = MP_ADDR_IP4,
        .port = SIM_UPSTREAM_PORT,
        .ip = {10, 0, (uint8_t)(cluster + 1), (uint8_t)(instance + 1)},
    };
}

void sim_world_fail(struct sim_world *w, uint64_t stream, const char *fmt, ...)
{
    if (w->failures++ > 0) {
        return;
    }
    int n = snprintf(w->first_failure, sizeof(w->first_failure),
                     "at %.3f ms, stream %llu: ", (double)mp_sim_now_ns() / 1e6,
                     (unsigned long long)stream);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(w->first_failure + n, sizeof(w->first_failure) - (size_t)n, fmt, ap);
    va_end(ap);
}

void sim_world_resolve(struct sim_world *w, uint64_t stream, enum sim_outcome outcome)
{
    struct sim_stream *s = &w->streams[stream];
    if (s->outcome != SIM_PENDING) {
        sim_world_fail(w, stream, "resolved twice");
        return;
    }
    s->outcome = (uint8_t)outcome;
    w->n_resolved++;
    w->outcomes[outcome]++;
    uint64_t rec[2] = {stream, outcome};
    mp_sim_trace(rec, sizeof(rec));
}

void sim_world_faults(const struct sim_world_opts *opts, struct mp_sim_opts *ret)
{
    struct mp_rand r;
    mp_rand_seed(&r, opts->seed ^ 0x5eedf00d);
    *ret = (struct mp_sim_opts){
        .seed = opts->seed,
        .latency_us_min = 20,
        .latency_us_max = 200,
        .wake_us_max = 50,
        .turn_us_max = 20,
    };
    if (opts->calm) {
        return;
    }
    static const uint32_t chances[] = {0, 500, 5000, 30000};
    static const size_t buffers[] = {2048, 16384, 65536, 262144};
    static const uint32_t latencies[] = {0, 100, 2000, 40000};
    ret->short_read = chances[mp_rand_below(&r, 4)];
    ret->short_write = chances[mp_rand_below(&r, 4)];
    ret->sock_buffer = buffers[mp_rand_below(&r, 4)];
    ret->latency_us_min = mp_rand_below(&r, 50);
    ret->latency_us_max = ret->latency_us_min + latencies[mp_rand_below(&r, 4)];
    ret->turn_us_max = one_in(&r, 3) ? 5000 : 50;
    ret->wake_us_max = one_in(&r, 3) ? 5000 : 50;
    ret->reorder = !one_in(&r, 4);
    ret->accept_fail = one_in(&r, 3) ? 8000 : 0;
    if (opts->net_faults) {
        ret->reset = 40;
        ret->connect_fail = 2000;
        ret->dns_fail = 10000;
    }
}

static void start_client(void *arg)
{
    struct sim_world *w = arg;
    uint32_t n = 1 + mp_rand_below(&w->rand, w->opts.streams_max);
    uint64_t first = w->n_streams;
    w->n_streams += n;
    w->clients_left--;
    sim_client_start(w, first, n);
}

void sim_world_init(struct sim_world *w, const struct sim_world_opts *opts)
{
    memset(w, 0, sizeof(*w));
    w->opts = *opts;
    mp_rand_seed(&w->rand, opts->seed ^ 0x77);
    mp_list_init(&w->clients);
    w->client_loop = mp_loop_new();
    w->upstream_loop = mp_loop_new();
    w->streams = calloc((size_t)opts->n_conns * opts->streams_max, sizeof(*w->streams));
    MP_ASSERT(w->streams);
    for (uint32_t i = 0; i < MP_COUNTOF(w->upstreams); i++) {
        w->upstreams[i] = sim_upstream_new(w, i / SIM_INSTANCES, i % SIM_INSTANCES);
    }
    w->clients_left = opts->n_conns;
    uint64_t now = mp_sim_now_ns();
    for (uint32_t i = 0; i < opts->n_conns; i++) {
        uint64_t after_us = mp_rand_below(&w->rand, opts->spread_ms * 1000 + 1);
        mp_sim_at(now + after_us * 1000, start_client, w);
    }
}

static bool settled(void *arg)
{
    const struct sim_world *w = arg;
    bool tunnels = w->tunnels != NULL && sim_tunnels_left(w->tunnels) > 0;
    return w->failures > 0 || (w->clients_left == 0 && w->clients_open == 0 && !tunnels);
}

/* A proxy may send a request again, once, when a connection that it used before dies before the
 * first byte of the response, and the method is idempotent and has no body (RFC 9110 9.2.2). */
uint32_t sim_seen_max(const struct sim_world *w, const struct sim_plan *p)
{
    bool disturbed = w->opts.peer_faults || w->opts.net_faults || w->opts.idle_close;
    bool repeatable = p->method != SIM_POST && p->req_len == 0;
    uint32_t n = w->streams[p->id].attempts;
    n *= p->cluster == 1 ? 1 + w->opts.retries : 1;
    return w->opts.front && disturbed && repeatable ? 2 * n : n;
}

static void check_counts(struct sim_world *w)
{
    for (uint32_t i = 0; i < w->n_streams; i++) {
        const struct sim_stream *s = &w->streams[i];
        if (s->outcome == SIM_PENDING) {
            sim_world_fail(w, i, "has no outcome");
        }
        if (s->outcome == SIM_OK && s->seen == 0) {
            sim_world_fail(w, i, "answered without having been seen by an upstream");
        }
    }
}

void sim_world_run(struct sim_world *w, uint64_t max_virtual_ms)
{
    if (w->opts.front && w->opts.n_tunnels > 0) {
        w->tunnels = sim_tunnels_new(w, w->opts.n_tunnels);
    }
    mp_sim_run_until(settled, w, max_virtual_ms);
    if (!settled(w)) {
        sim_client_describe_all(w);
        if (w->tunnels != NULL && sim_tunnels_left(w->tunnels) > 0) {
            sim_world_fail(w, 0, "%u tunnels hang", sim_tunnels_left(w->tunnels));
        }
        sim_world_fail(w, w->n_resolved, "%u of %u streams have no outcome after %llu virtual ms",
                       w->n_streams - w->n_resolved, w->n_streams,
                       (unsigned long long)max_virtual_ms);
    }
    if (w->failures == 0) {
        check_counts(w);
    }
}

void sim_world_fini(struct sim_world *w)
{
    sim_client_drop_all(w);
    w->tunnels = sim_tunnels_free(w->tunnels);
    for (uint32_t i = 0; i < MP_COUNTOF(w->upstreams); i++) {
        w->upstreams[i] = sim_upstream_free(w->upstreams[i]);
    }
    w->client_loop = mp_loop_free(w->client_loop);
    w->upstream_loop = mp_loop_free(w->upstream_loop);
    free(w->streams);
    w->streams = NULL;
}
