/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* HTTP/2 towards upstreams: request calls -> session, session -> response events. The
 * connection's life is in h2_client_conn.c. */
#include "core/h2_client_int.h"

#include <string.h>

#include "core/engine.h"
#include "core/h2_conf.h"
#include "core/outlier.h"
#include "core/snapshot.h"
#include "core/stats.h"

#define MAX_1XX 32

static struct mp_h2_client *client_of(struct mp_h2_session *h)
{
    return h->owner;
}

static const struct mp_stat_block *stats_of(const struct mp_h2_client *c)
{
    return c->uc->host->cluster->stats;
}

/* ---- requests ---- */

static void fill_head(const struct mp_upreq *u, struct mp_h2_head *ret)
{
    const struct mp_req_head *h = u->head;
    *ret = (struct mp_h2_head){.method = h->method,
                               .method_name = h->method_name,
                               .path = u->path,
                               .authority = u->authority,
                               .scheme = mp_chan_tls(&u->conn->ch) != NULL ? MP_STR("https")
                                                                           : MP_STR("http"),
                               .has_content_length = h->has_content_length,
                               .content_length = h->content_length,
                               .hdrs = h->hdrs};
}

void mp_h2_client_send(struct mp_upreq *u)
{
    struct mp_h2_client *c = u->conn->h2;
    struct mp_h2_head head;
    fill_head(u, &head);
    u->req_left = head.content_length;
    u->req_chunked = !head.has_content_length;
    u->req_end = u->no_body;
    u->head_sent = true;
    u->h2 = u->head->upgrade.n == 0 ? mp_h2_send_request(&c->h, &head, u->no_body, u) : NULL;
    if (u->h2 == NULL) {
        /* Other protocols do not pass here; or the connection has no id left. */
        u->conn = NULL;
        u->why = u->head->upgrade.n > 0 ? MP_UP_PROTOCOL_ERROR : MP_UP_RESET;
        u->details = "upstream_reset_before_response_started{protocol_error}";
        mp_task_defer(u->cw->w.loop, &u->end_task);
        return;
    }
    mp_h2_client_busy(c);
    bool held = u->held.n > 0;
    while (u->held.n > 0 && u->h2 != NULL) {
        struct mp_str piece = mp_buf_front(&u->held);
        bool last = piece.n == u->held.n && u->held_all && !u->has_trailers;
        mp_h2_client_send_data(u, piece, last);
        mp_buf_consume(&u->held, &u->cw->w.blocks, piece.n);
    }
    if (u->has_trailers) {
        mp_h2_client_send_trailers(u);
    } else if (u->held_all && !u->req_end) {
        mp_h2_client_send_data(u, MP_STR(""), true);
    }
    if (held && !c->in_read && u->ops->on_writable != NULL) {
        u->ops->on_writable(u); /* nothing else will tell that the body may go on */
    }
}

void mp_h2_client_send_data(struct mp_upreq *u, struct mp_str data, bool end)
{
    if (u->h2 == NULL) {
        return;
    }
    u->body_sent += data.n;
    if (!u->req_chunked) {
        if (data.n > u->req_left || (end && data.n != u->req_left)) {
            mp_h2_reset(u->h2,
                        MP_H2_INTERNAL_ERROR); /* a filter changed the body, not the length */
            return;
        }
        u->req_left -= data.n;
    }
    u->req_end |= end;
    if (!mp_h2_send_data(u->h2, data, end)) {
        mp_h2_reset(u->h2, MP_H2_INTERNAL_ERROR);
    }
}

void mp_h2_client_send_trailers(struct mp_upreq *u)
{
    u->req_end = true;
    if (u->h2 != NULL && !mp_h2_send_trailers(u->h2, u->trailers)) {
        mp_h2_reset(u->h2, MP_H2_INTERNAL_ERROR);
    }
}

/* The stream is no longer u's. */
static void let_go(struct mp_upreq *u)
{
    struct mp_h2_stream *st = u->h2;
    u->h2 = NULL;
    u->conn = NULL;
    if (st != NULL) {
        mp_h2_detach(st);
    }
}

void mp_h2_client_cancel(struct mp_upreq *u)
{
    if (u->h2 != NULL) {
        mp_stat_inc(u->cluster->stats, MP_ST_CLUSTER_H2_TX_RESET);
        mp_h2_reset(u->h2, MP_H2_CANCEL);
    }
    let_go(u);
}

/* ---- responses ---- */

static bool on_begin(struct mp_h2_session *h, struct mp_h2_stream *st)
{
    (void)h;
    (void)st;
    return false; /* no pushes */
}

static struct mp_arena *arena(struct mp_h2_session *h, struct mp_h2_stream *st)
{
    struct mp_upreq *u = st->user;
    (void)h;
    u->any_response = true;
    return u->ops->arena(u);
}

/* The response is complete; ends u behind the event that says so. */
static void complete(struct mp_upreq *u)
{
    u->resp_end = true;
    if (u->h2 != NULL && !u->req_end) {
        mp_h2_reset(u->h2, MP_H2_NO_ERROR); /* the rest of the request is not wanted */
    }
    let_go(u);
}

static void finish(struct mp_upreq *u)
{
    if (!u->ended) {
        mp_upreq_finish(u, MP_UP_COMPLETE, NULL);
    }
}

static void on_head(struct mp_h2_session *h, struct mp_h2_stream *st, struct mp_h2_head *head,
                    enum mp_h2_fault fault, bool end)
{
    struct mp_h2_client *c = client_of(h);
    struct mp_upreq *u = st->user;
    if (fault != MP_H2_HEAD_OK) {
        return; /* it has been reset: on_close follows */
    }
    struct mp_resp_head *r = mp_arena_zalloc(u->ops->arena(u), sizeof(*r));
    if (r == NULL) {
        mp_h2_reset(st, MP_H2_CANCEL);
        return;
    }
    r->status = head->status;
    r->hdrs = head->hdrs;
    r->hdrs.max = UINT16_MAX;
    r->has_content_length = head->has_content_length;
    r->content_length = head->content_length;
    mp_stat_inc(stats_of(c), MP_ST_CLUSTER_RQ_1XX + (MP_MIN(r->status, 599U) / 100 - 1));
    if (r->status < 200) {
        if (++u->n_1xx > MAX_1XX) {
            mp_h2_reset(st, MP_H2_PROTOCOL_ERROR);
        } else if (u->ops->on_1xx != NULL && (r->status != 100 || u->expect_100)) {
            u->ops->on_1xx(u, r);
        }
        return;
    }
    mp_stat_inc(stats_of(c), MP_ST_CLUSTER_RQ_COMPLETED);
    u->resp_head = true;
    if (end) {
        complete(u);
    }
    u->ops->on_headers(u, r, end);
    if (end) {
        finish(u);
    }
}

static void on_data(struct mp_h2_session *h, struct mp_h2_stream *st, struct mp_str data, bool end)
{
    struct mp_upreq *u = st->user;
    (void)h;
    if (end) {
        complete(u);
    }
    u->ops->on_data(u, data, end);
    if (end) {
        finish(u);
    }
}

static void on_trailers(struct mp_h2_session *h, struct mp_h2_stream *st, struct mp_hdrs *t)
{
    struct mp_upreq *u = st->user;
    (void)h;
    struct mp_hdrs *copy = mp_arena_zalloc(u->ops->arena(u), sizeof(*copy));
    if (copy != NULL) {
        *copy = *t;
    }
    complete(u);
    if (copy != NULL && u->ops->on_trailers != NULL) {
        u->ops->on_trailers(u, copy);
    } else {
        u->ops->on_data(u, MP_STR(""), true);
    }
    finish(u);
}

static bool wants_data(struct mp_h2_session *h, struct mp_h2_stream *st)
{
    struct mp_upreq *u = st->user;
    if (u->ops->wants_response(u)) {
        return true;
    }
    mp_stat_inc(stats_of(client_of(h)), MP_ST_CLUSTER_FLOW_PAUSED);
    return false;
}

static void on_drained(struct mp_h2_session *h, struct mp_h2_stream *st)
{
    struct mp_upreq *u = st->user;
    (void)h;
    if (u->ops->on_writable != NULL) {
        u->ops->on_writable(u);
    }
}

static void on_close(struct mp_h2_session *h, struct mp_h2_stream *st, uint32_t code,
                     bool unprocessed)
{
    struct mp_h2_client *c = client_of(h);
    struct mp_upreq *u = st->user;
    if (!st->reset && code != MP_H2_NO_ERROR) {
        mp_stat_inc(stats_of(c), MP_ST_CLUSTER_H2_RX_RESET);
    }
    if (u == NULL) {
        return;
    }
    st->user = NULL;
    u->h2 = NULL;
    u->conn = NULL;
    if (st->fault != MP_H2_HEAD_OK) {
        mp_stat_inc(stats_of(c), MP_ST_CLUSTER_H2_RX_MESSAGING_ERROR);
        mp_upreq_finish(u, MP_UP_PROTOCOL_ERROR,
                        "upstream_reset_before_response_started{protocol_error}");
    } else if (unprocessed) {
        mp_upreq_refused(u);
    } else {
        mp_stat_inc(u->cluster->stats, MP_ST_CLUSTER_RQ_RX_RESET);
        mp_upreq_finish(u, MP_UP_RESET, "upstream_reset_before_response_started{remote_reset}");
    }
}

static void on_settings(struct mp_h2_session *h)
{
    /* The next connection is not given more before its own SETTINGS come. */
    client_of(h)->uc->host->h2_streams_max = MP_MAX(mp_h2_peer_streams_max(h), 1U);
}

static void on_goaway(struct mp_h2_session *h, uint32_t code)
{
    (void)code;
    mp_stat_inc(stats_of(client_of(h)), MP_ST_CLUSTER_CX_CLOSE_NOTIFY);
}

static void on_ping_ack(struct mp_h2_session *h, const uint8_t payload[8])
{
    (void)payload;
    mp_h2_client_ping_ack(client_of(h));
}

static void on_flood(struct mp_h2_session *h, enum mp_h2_flood why)
{
    (void)why;
    mp_stat_inc(stats_of(client_of(h)), MP_ST_CLUSTER_H2_FLOOD);
}

static void want_flush(struct mp_h2_session *h)
{
    struct mp_h2_client *c = client_of(h);
    mp_task_defer(c->cw->w.loop, &c->task);
}

static bool writable(struct mp_h2_session *h)
{
    const struct mp_chan *ch = &client_of(h)->uc->ch;
    return !ch->failed && mp_chan_backlog(ch) < MP_H2_BACKLOG_MAX;
}

static void on_write(struct mp_h2_session *h, struct mp_str pre, struct mp_str data)
{
    struct mp_h2_client *c = client_of(h);
    mp_chan_write(c->cw, &c->uc->ch, pre, data, MP_STR(""));
}

const struct mp_h2_ops mp_h2_client_ops = {
    .on_begin = on_begin,
    .arena = arena,
    .on_head = on_head,
    .on_data = on_data,
    .on_trailers = on_trailers,
    .wants_data = wants_data,
    .on_drained = on_drained,
    .on_close = on_close,
    .on_settings = on_settings,
    .on_goaway = on_goaway,
    .on_ping_ack = on_ping_ack,
    .on_flood = on_flood,
    .want_flush = want_flush,
    .writable = writable,
    .write = on_write,
};
