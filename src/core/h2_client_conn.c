/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* An HTTP/2 connection to an upstream host: reading, flushing once a turn, room for requests,
 * timers, the end. */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "core/engine.h"
#include "core/h2_client_int.h"
#include "core/h2_conf.h"
#include "core/snapshot.h"
#include "core/stats.h"

const size_t mp_h2_client_size = sizeof(struct mp_h2_client);

static const uint8_t ping_alive[8] = "mp-alive";

/* NULL: the cluster is not configured any more. */
static const struct mp_conf_cluster *conf_of(const struct mp_h2_client *c)
{
    const struct mp_cluster *conf = c->uc->host->cluster->conf;
    return conf != NULL ? conf->conf : NULL;
}

static const struct mp_stat_block *stats_of(const struct mp_h2_client *c)
{
    return c->uc->host->cluster->stats;
}

bool mp_h2_client_wanted(const struct mp_upconn *uc)
{
    const struct mp_cluster *conf = uc->host->cluster->conf;
    return uc->negotiated_h2 || (conf != NULL && conf->conf->http2);
}

/* ---- room ---- */

bool mp_h2_client_is_idle(const struct mp_upconn *uc)
{
    return uc->h2->h.n_streams == 0;
}

bool mp_h2_client_has_room(const struct mp_upconn *uc)
{
    const struct mp_h2_client *c = uc->h2;
    const struct mp_conf_cluster *conf = conf_of(c);
    uint32_t known = uc->host->h2_streams_max;
    if (!c->h.got_settings && known > 0 && c->h.n_streams >= known) {
        return false;
    }
    return conf != NULL && !c->leaving && !c->lost && !c->h.stopped && !uc->ch.failed &&
           !uc->host->removed && c->h.n_streams < c->conf.max_concurrent_streams &&
           mp_h2_may_open(&c->h) &&
           (conf->requests_per_connection == 0 || uc->requests < conf->requests_per_connection);
}

/* ---- timers ---- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a == 0 ? b : b == 0 ? a : MP_MIN(a, b);
}

static uint64_t after(uint64_t from, uint64_t ms)
{
    return from != 0 && ms != 0 ? from + ms : 0;
}

static void arm(struct mp_h2_client *c)
{
    const struct mp_conf_cluster *conf = conf_of(c);
    uint64_t at = 0, now = mp_cw_now_ms(c->cw);
    if (conf != NULL) {
        const struct mp_conf_http2 *k = &conf->http2_options;
        at = after(c->idle_ms, conf->idle_timeout_ms);
        if (!c->leaving) {
            at = sooner(at,
                        after(c->uc->created_ns / 1000000 + 1, conf->max_connection_duration_ms));
        }
        if (k->ka_timeout_ms > 0) {
            uint64_t idle = after(c->heard_ms, k->ka_idle_ms);
            at = sooner(at, c->ping_out ? c->ping_ms + k->ka_timeout_ms
                                        : sooner(after(c->ping_ms, k->ka_interval_ms), idle));
        }
    }
    if (at == 0) {
        mp_timer_unset(&c->uc->timer);
    } else {
        mp_wheel_set(mp_loop_wheel(c->cw->w.loop), &c->uc->timer, MP_MAX(at, now + 1));
    }
}

void mp_h2_client_busy(struct mp_h2_client *c)
{
    if (!c->busy) {
        c->busy = true;
        c->idle_ms = 0;
        arm(c);
    }
}

void mp_h2_client_ping_ack(struct mp_h2_client *c)
{
    c->ping_out = false;
    c->ping_ms = mp_cw_now_ms(c->cw);
    arm(c);
}

void mp_h2_client_leave(struct mp_upconn *uc)
{
    struct mp_h2_client *c = uc->h2;
    if (!c->leaving) {
        c->leaving = true;
        arm(c);
        mp_task_defer(c->cw->w.loop, &c->task);
    }
}

/* ---- the end ---- */

/* A request whose response has not come whole. What one of them sets off may end others. */
static struct mp_upreq *first_unserved(const struct mp_h2_client *c)
{
    MP_LIST_FOREACH (it, &c->h.streams) {
        const struct mp_h2_stream *st = MP_CONTAINER_OF(it, struct mp_h2_stream, link);
        if (st->user != NULL && (!st->gone || c->h.stopped)) {
            return st->user;
        }
    }
    return NULL;
}

static void fail_streams(struct mp_h2_client *c, enum mp_upreq_end why, const char *details)
{
    struct mp_upreq *u;
    while ((u = first_unserved(c)) != NULL) {
        u->h2->user = NULL;
        u->h2 = NULL;
        mp_upreq_conn_lost(u, why, details);
    }
}

static void run_free(struct mp_task *t)
{
    struct mp_h2_client *c = MP_CONTAINER_OF(t, struct mp_h2_client, task);
    struct mp_core_worker *cw = c->cw;
    mp_h2_fini(&c->h);
    mp_slab_put(&cw->h2_clients, c);
}

void mp_h2_client_closed(struct mp_upconn *uc)
{
    struct mp_h2_client *c = uc->h2;
    mp_h2_stop(&c->h);
    mp_task_cancel(&c->task);
    mp_task_init(&c->task, run_free);
    mp_task_defer(c->cw->w.loop, &c->task);
    fail_streams(c, MP_UP_CLOSED, "upstream_reset_before_response_started{connection_termination}");
}

static void close_now(struct mp_h2_client *c)
{
    mp_upconn_close(c->uc);
}

/* The upstream is gone. Responses that have come whole are still handed out. */
static void lost(struct mp_h2_client *c, enum mp_upreq_end why, const char *details)
{
    const struct mp_stat_block *st = stats_of(c);
    if (c->lost) {
        return;
    }
    c->lost = true;
    mp_stat_inc(st, MP_ST_CLUSTER_CX_DESTROY_REMOTE);
    mp_stat_add(st, MP_ST_CLUSTER_CX_DESTROY_REMOTE_RQ, c->h.n_streams > 0);
    fail_streams(c, why, details);
    if (c->uc->state == MP_UPCONN_CLOSED) {
        return;
    }
    bool left = false;
    MP_LIST_FOREACH (it, &c->h.streams) {
        const struct mp_h2_stream *s = MP_CONTAINER_OF(it, struct mp_h2_stream, link);
        left |= s->gone && s->user != NULL;
    }
    if (!left) {
        close_now(c);
    }
}

/* ---- the end of a turn ---- */

static bool none_waits(const struct mp_h2_client *c)
{
    MP_LIST_FOREACH (it, &c->h.streams) {
        const struct mp_h2_stream *s = MP_CONTAINER_OF(it, struct mp_h2_stream, link);
        if (s->user != NULL) {
            return false;
        }
    }
    return true;
}

static void check_end(struct mp_h2_client *c)
{
    struct mp_upconn *uc = c->uc;
    if (c->h.ended || (mp_h2_over(&c->h) && !c->lost && c->h.n_streams > 0)) {
        mp_stat_inc(stats_of(c), MP_ST_CLUSTER_CX_PROTOCOL_ERROR);
        fail_streams(c, MP_UP_PROTOCOL_ERROR,
                     "upstream_reset_before_response_started{protocol_error}");
        if (uc->state != MP_UPCONN_CLOSED) {
            close_now(c);
        }
        return;
    }
    if (uc->requests > 0 && conf_of(c) != NULL && conf_of(c)->requests_per_connection > 0 &&
        uc->requests >= conf_of(c)->requests_per_connection && !c->leaving) {
        mp_stat_inc(stats_of(c), MP_ST_CLUSTER_CX_MAX_REQUESTS);
        c->leaving = true;
    }
    bool over = c->leaving || c->h.draining || uc->host->removed || conf_of(c) == NULL;
    over |= mp_h2_over(&c->h);
    if ((c->lost && none_waits(c)) || (over && c->h.n_streams == 0)) {
        close_now(c);
    }
}

static void run_flush(struct mp_task *t)
{
    struct mp_h2_client *c = MP_CONTAINER_OF(t, struct mp_h2_client, task);
    struct mp_upconn *uc = c->uc;
    if (!c->lost) {
        mp_h2_flush(&c->h, mp_cw_now_ms(c->cw));
    }
    if (uc->state == MP_UPCONN_CLOSED) {
        return;
    }
    check_end(c);
    if (uc->state == MP_UPCONN_CLOSED) {
        return;
    }
    mp_host_use_room(uc->host, uc);
    if (uc->state != MP_UPCONN_CLOSED && c->busy && c->h.n_streams == 0) {
        c->busy = false;
        c->idle_ms = mp_cw_now_ms(c->cw);
        arm(c);
    }
}

/* ---- input ---- */

static void read_input(struct mp_h2_client *c)
{
    struct mp_upconn *uc = c->uc;
    char *scratch = c->cw->w.scratch;
    c->in_read = true;
    for (int reads = 0; uc->state != MP_UPCONN_CLOSED && !c->lost; reads++) {
        if (reads == MP_CHAN_READS_MAX) {
            mp_io_again(c->cw->w.loop, &uc->ch.io);
            break;
        }
        ssize_t r = mp_chan_recv(c->cw, &uc->ch, scratch, MP_CHAN_READ_MAX);
        if (r == -EAGAIN) {
            uc->ch.readable = false;
            if (uc->ch.failed) {
                lost(c, MP_UP_RESET, "upstream_reset_before_response_started{write_failed}");
            }
            break;
        }
        if (r <= 0) {
            uc->ch.readable = false;
            lost(c, r == 0 ? MP_UP_CLOSED : MP_UP_RESET,
                 "upstream_reset_before_response_started{connection_termination}");
            break;
        }
        uc->ch.readable = (size_t)r == MP_CHAN_READ_MAX || uc->ch.hup;
        c->heard_ms = mp_cw_now_ms(c->cw);
        mp_h2_recv(&c->h, c->heard_ms, scratch, (size_t)r);
        if (!uc->ch.readable) {
            break;
        }
    }
    c->in_read = false;
}

static void on_ready(struct mp_io *io, unsigned events)
{
    struct mp_upconn *uc = MP_CONTAINER_OF(io, struct mp_upconn, ch.io);
    MP_CHECK_MAGIC(uc, MP_UPCONN_MAGIC);
    struct mp_core_worker *cw = uc->cw;
    struct mp_h2_client *c = uc->h2;
    if ((events & MP_IO_OUT) != 0 && uc->ch.q.n > 0) {
        (void)mp_chan_on_writable(cw, &uc->ch);
        if (mp_chan_backlog(&uc->ch) < MP_H2_BACKLOG_MAX / 2) {
            mp_task_defer(cw->w.loop, &c->task);
        }
    }
    if ((events & (MP_IO_IN | MP_IO_HUP | MP_IO_ERR)) != 0) {
        uc->ch.readable = true;
        uc->ch.hup |= (events & (MP_IO_HUP | MP_IO_ERR)) != 0;
        if (!c->in_read) {
            read_input(c);
        }
    }
    mp_cork_flush(cw);
}

static void on_timer(struct mp_timer *t)
{
    struct mp_upconn *uc = MP_CONTAINER_OF(t, struct mp_upconn, timer);
    MP_CHECK_MAGIC(uc, MP_UPCONN_MAGIC);
    struct mp_h2_client *c = uc->h2;
    const struct mp_conf_cluster *conf = conf_of(c);
    uint64_t now = mp_cw_now_ms(c->cw);
    if (conf == NULL) {
        mp_h2_client_leave(uc);
        return;
    }
    const struct mp_conf_http2 *k = &conf->http2_options;
    if (k->ka_timeout_ms > 0 && c->ping_out && now >= c->ping_ms + k->ka_timeout_ms) {
        mp_stat_inc(stats_of(c), MP_ST_CLUSTER_H2_KEEPALIVE_TIMEOUT);
        lost(c, MP_UP_CLOSED, "upstream_reset_before_response_started{keepalive_timeout}");
        return;
    }
    if (k->ka_timeout_ms > 0 && !c->ping_out &&
        ((k->ka_interval_ms > 0 && now >= c->ping_ms + k->ka_interval_ms) ||
         (k->ka_idle_ms > 0 && now >= c->heard_ms + k->ka_idle_ms))) {
        c->ping_out = true;
        c->ping_ms = now;
        mp_h2_ping(&c->h, ping_alive);
    }
    if (c->idle_ms != 0 && conf->idle_timeout_ms > 0 && now >= c->idle_ms + conf->idle_timeout_ms) {
        mp_stat_inc(stats_of(c), MP_ST_CLUSTER_CX_IDLE_TIMEOUT);
        close_now(c);
        return;
    }
    uint64_t age = now - uc->created_ns / 1000000;
    if (conf->max_connection_duration_ms > 0 && age >= conf->max_connection_duration_ms &&
        !c->leaving) {
        mp_stat_inc(stats_of(c), MP_ST_CLUSTER_CX_MAX_DURATION);
        mp_h2_client_leave(uc);
    }
    arm(c);
}

/* ---- the beginning ---- */

bool mp_h2_client_begin(struct mp_upconn *uc)
{
    struct mp_core_worker *cw = uc->cw;
    const struct mp_conf_cluster *conf = uc->host->cluster->conf->conf;
    struct mp_h2_client *c = mp_slab_get(&cw->h2_clients);
    if (c == NULL) {
        return false;
    }
    memset(c, 0, sizeof(*c));
    c->uc = uc;
    c->cw = cw;
    c->heard_ms = c->ping_ms = c->idle_ms = mp_cw_now_ms(cw);
    mp_h2_conf_set(&c->conf, &conf->http2_options, false);
    c->conf.head_bytes_max = conf->resp_head_bytes_max;
    c->conf.fields_max = conf->resp_fields_max;
    mp_task_init(&c->task, run_flush);
    if (!mp_h2_init(&c->h, &c->conf, &mp_h2_client_ops, c, &cw->w.blocks, &cw->h2_streams,
                    c->heard_ms)) {
        mp_slab_put(&cw->h2_clients, c);
        return false;
    }
    c->h.low_mark = conf->buffer_limit / 2;
    uc->h2 = c;
    uc->ch.io.on_ready = on_ready;
    uc->timer.fire = on_timer;
    mp_stat_inc(stats_of(c), MP_ST_CLUSTER_CX_HTTP2_TOTAL);
    mp_task_defer(cw->w.loop, &c->task);
    arm(c);
    return true;
}
