/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* HTTP/1 towards upstreams: request calls -> bytes, bytes -> response events. */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "codec/h1_write.h"
#include "core/engine.h"
#include "core/outlier.h"
#include "core/snapshot.h"
#include "core/stats.h"
#include "core/upconn.h"
#include "io/sock.h"

#define MAX_1XX          32   /* informational responses before the final one */
#define BODY_IN_TRAILERS 0xff /* uc->body: the last chunk was seen */

/* ---- requests ---- */

static bool says_length_zero(const struct mp_req_head *h)
{
    /* RFC 9110 8.6: tell a server that expects content that there is none. */
    return h->has_content_length || h->method == MP_METHOD_POST || h->method == MP_METHOD_PUT ||
           h->method == MP_METHOD_PATCH;
}

void mp_h1_client_send_head(struct mp_upreq *u)
{
    struct mp_upconn *uc = u->conn;
    const struct mp_req_head *h = u->head;
    bool upgrade = h->upgrade.n > 0;
    if (MP_UNLIKELY(h->connect_here)) {
        mp_tunnel_open_raw(u);
        return;
    }
    struct mp_h1_head_out o = {.method = h->method_name,
                               .target = u->path,
                               .minor = 1,
                               .body = MP_BODY_NONE,
                               .hdrs = &h->hdrs};
    if (u->no_body) {
        o.write_length_zero = says_length_zero(h);
    } else if (MP_UNLIKELY(upgrade)) {
        /* Whole as it is; what may follow is the tunnel's. */
        bool connect = h->method == MP_METHOD_CONNECT;
        o.target = connect ? u->authority : u->path;
        o.conn = connect ? MP_H1_CONN_DEFAULT : MP_H1_CONN_UPGRADE;
        o.upgrade = h->upgrade;
    } else if (h->has_content_length) {
        o.body = MP_BODY_LENGTH;
        o.content_length = h->content_length;
        u->req_left = h->content_length;
    } else {
        o.body = MP_BODY_CHUNKED;
        u->req_chunked = true;
    }
    u->req_end = u->no_body || upgrade;
    char *p = mp_chan_reserve(uc->cw, &uc->ch, mp_h1_request_size(&o));
    if (p == NULL) {
        return; /* the channel has failed: its error event ends the request */
    }
    mp_chan_commit(uc->cw, &uc->ch, mp_h1_write_request(p, &o));
    u->head_sent = true;
    if (MP_UNLIKELY(upgrade)) {
        return;
    }
    bool held = u->held.n > 0;
    while (u->held.n > 0) {
        struct mp_str piece = mp_buf_front(&u->held);
        bool last = piece.n == u->held.n && u->held_all && !u->has_trailers;
        mp_h1_client_send_data(u, piece, last);
        mp_buf_consume(&u->held, &uc->cw->w.blocks, piece.n);
    }
    if (u->has_trailers) {
        mp_h1_client_send_trailers(u);
    } else if (u->held_all && !u->req_end) {
        mp_h1_client_send_data(u, MP_STR(""), true);
    }
    if (!uc->in_read && held && mp_chan_backlog(&uc->ch) == 0 && u->ops->on_writable != NULL) {
        u->ops->on_writable(u); /* nothing else will tell that the body may go on */
    }
}

void mp_h1_client_send_data(struct mp_upreq *u, struct mp_str data, bool end)
{
    struct mp_upconn *uc = u->conn;
    if (MP_UNLIKELY(u->tunnel)) {
        mp_tunnel_send(u, data, end);
        return;
    }
    u->body_sent += data.n;
    if (!u->req_chunked) {
        if (data.n > u->req_left || (end && data.n != u->req_left)) {
            /* A filter changed the body and kept the length. */
            mp_chan_fail(uc->cw, &uc->ch);
            return;
        }
        u->req_left -= data.n;
        u->req_end |= end;
        if (data.n > 0) {
            mp_chan_write(uc->cw, &uc->ch, MP_STR(""), data, MP_STR(""));
        }
        return;
    }
    u->req_end |= end;
    char head[MP_CHUNK_HEAD_MAX];
    struct mp_str pre = {head, data.n > 0 ? mp_chunk_head(head, data.n) : 0};
    struct mp_str post = data.n > 0 ? MP_STR("\r\n" MP_CHUNK_LAST) : MP_STR(MP_CHUNK_LAST);
    if (!end) {
        post.n = data.n > 0 ? 2 : 0;
    }
    mp_chan_write(uc->cw, &uc->ch, pre, data, post);
}

void mp_h1_client_send_trailers(struct mp_upreq *u)
{
    struct mp_upconn *uc = u->conn;
    u->req_end = true;
    if (!u->req_chunked) {
        return; /* a body with length has no place for them */
    }
    char *p = mp_chan_reserve(uc->cw, &uc->ch, 3 + mp_h1_trailers_size(u->trailers));
    if (p != NULL) {
        memcpy(p, "0\r\n", 3);
        mp_chan_commit(uc->cw, &uc->ch, 3 + mp_h1_write_trailers(p + 3, u->trailers));
    }
}

/* ---- responses ---- */

void mp_h1_client_lost(struct mp_upconn *uc, enum mp_upreq_end why, const char *details)
{
    struct mp_upreq *u = uc->req;
    struct mp_cluster_local *c = uc->host->cluster;
    uc->req = NULL;
    if (why == MP_UP_PROTOCOL_ERROR) {
        mp_stat_inc(c->stats, MP_ST_CLUSTER_CX_PROTOCOL_ERROR);
    } else {
        mp_stat_inc(c->stats, MP_ST_CLUSTER_CX_DESTROY_REMOTE);
        mp_stat_add(c->stats, MP_ST_CLUSTER_CX_DESTROY_REMOTE_RQ, u != NULL);
    }
    mp_upconn_close(uc);
    if (u != NULL) {
        mp_upreq_conn_lost(u, why, details);
    }
}

static void protocol_error(struct mp_upconn *uc, enum mp_h1_status why)
{
    mp_engine_count_h1_upstream_error(uc->cw, why);
    mp_h1_client_lost(uc, MP_UP_PROTOCOL_ERROR,
                      "upstream_reset_before_response_started{protocol_error}");
}

static bool keep_input(struct mp_upconn *uc, const char *p, size_t n)
{
    if (n == 0) {
        if (uc->in != NULL) {
            mp_blocks_put(&uc->cw->w.blocks, uc->in, uc->in_cap);
            uc->in = NULL;
        }
        uc->in_n = uc->in_cap = 0;
        return true;
    }
    if (n > uc->in_cap) {
        size_t size = n;
        char *in = mp_blocks_get(&uc->cw->w.blocks, &size);
        if (in == NULL) {
            return false;
        }
        memcpy(in, p, n);
        (void)keep_input(uc, NULL, 0);
        uc->in = in;
        uc->in_cap = (uint32_t)size;
    } else {
        memmove(uc->in, p, n);
    }
    uc->in_n = (uint32_t)n;
    return true;
}

/* Bytes that nobody asked for may wait behind a response whose last read filled the buffer: they
 * must not be taken for the next one. */
static bool nothing_waits(struct mp_upconn *uc)
{
    char byte;
    if (uc->ch.readable && !uc->ch.hup && mp_chan_recv(uc->cw, &uc->ch, &byte, 1) == -EAGAIN) {
        uc->ch.readable = false;
    }
    return !uc->ch.readable;
}

/* The response is complete: the connection goes back first, so that what the end sets off may use
 * it again. */
static void complete(struct mp_upconn *uc, struct mp_upreq *u, bool reusable)
{
    u->resp_end = true;
    u->conn = NULL;
    mp_upconn_release(uc, reusable && u->req_end && nothing_waits(uc));
}

static void finish(struct mp_upreq *u)
{
    if (!u->ended) {
        mp_upreq_finish(u, MP_UP_COMPLETE, NULL);
    }
}

static void count_status(struct mp_upconn *uc, unsigned status)
{
    const struct mp_stat_block *st = uc->host->cluster->stats;
    mp_stat_inc(st, MP_ST_CLUSTER_RQ_1XX + (status / 100 - 1));
    if (status >= 200) {
        mp_stat_inc(st, MP_ST_CLUSTER_RQ_COMPLETED);
    }
}

/* Fills a head in the owner's arena. NULL: the arena's limit. */
static struct mp_resp_head *make_head(struct mp_upconn *uc, const struct mp_h1_response *r,
                                      const char *block)
{
    struct mp_arena *arena = uc->req->ops->arena(uc->req);
    struct mp_resp_head *h = mp_arena_zalloc(arena, sizeof(*h));
    if (h == NULL) {
        return NULL;
    }
    mp_hdrs_init(&h->hdrs, arena, UINT16_MAX);
    h->status = r->status;
    h->has_content_length = r->has_content_length;
    h->content_length = r->content_length;
    bool ok =
        !mp_is_err(mp_hdrs_take_block(&h->hdrs, uc->cw->fields, r->n_fields, block, r->head_n));
    return ok ? h : NULL;
}

/* One head at buf. Returns bytes used; 0: stop (more input is needed, or the connection is gone).
 */
static size_t take_head(struct mp_upconn *uc, char *buf, size_t n)
{
    struct mp_upreq *u = uc->req;
    const struct mp_cluster *conf = uc->host->cluster->conf;
    struct mp_h1_limits limits = {60 * 1024, 100, 0};
    if (conf != NULL) {
        limits.head_bytes_max = MP_MIN(conf->conf->resp_head_bytes_max, MP_SCRATCH_SIZE - 1);
        limits.fields_max = conf->conf->resp_fields_max;
    }
    struct mp_h1_response r;
    size_t scanned = uc->scanned;
    enum mp_h1_status st =
        mp_h1_parse_response(buf, n, &scanned, &limits, u->head->method, uc->cw->fields, &r);
    if (st == MP_H1_MORE) {
        uc->scanned = (uint32_t)scanned;
        if (!keep_input(uc, buf, n)) {
            mp_h1_client_lost(uc, MP_UP_NOMEM, "overload");
        }
        return 0;
    }
    uc->scanned = 0;
    if (st != MP_H1_OK) {
        protocol_error(uc, st);
        return 0;
    }
    bool tunnel = MP_UNLIKELY(u->head->upgrade.n > 0) && mp_tunnel_accepts(uc, &r);
    if ((r.status == 101 && !tunnel) || ++uc->n_1xx > MAX_1XX) {
        protocol_error(uc, MP_H1_ERR_BAD_STATUS); /* nobody asked for that protocol */
        return 0;
    }
    struct mp_resp_head *h = make_head(uc, &r, buf);
    if (h == NULL) {
        mp_h1_client_lost(uc, MP_UP_NOMEM, "upstream_response_headers_too_large");
        return 0;
    }
    count_status(uc, r.status);
    if (r.status >= 200) {
        mp_outlier_status(u, r.status);
    }
    if (MP_UNLIKELY(tunnel)) {
        mp_tunnel_open(uc, h);
        return uc->req == u ? r.head_n : 0;
    }
    if (r.status < 200) {
        if (u->ops->on_1xx != NULL && (r.status != 100 || u->expect_100)) {
            u->ops->on_1xx(u, h);
        }
        return uc->req == u ? r.head_n : 0;
    }
    uc->keep_alive = r.keep_alive;
    uc->body = (uint8_t)r.body;
    uc->body_left = r.content_length;
    u->resp_head = true;
    if (r.body == MP_BODY_CHUNKED) {
        mp_chunk_dec_init(&uc->dec);
    }
    if (r.body == MP_BODY_NONE) {
        bool rest = n > r.head_n; /* bytes that nobody asked for */
        complete(uc, u, r.keep_alive && !rest);
        u->ops->on_headers(u, h, true);
        finish(u);
        return 0;
    }
    u->ops->on_headers(u, h, false);
    return uc->req == u ? r.head_n : 0;
}

static bool take_trailers(struct mp_upconn *uc, char *buf, size_t n)
{
    struct mp_upreq *u = uc->req;
    const struct mp_h1_limits limits = {60 * 1024, 100, 0};
    uint16_t fields = 0;
    size_t used = 0, scanned = uc->scanned;
    enum mp_h1_status st =
        mp_h1_parse_trailers(buf, n, &scanned, &limits, uc->cw->fields, &fields, &used);
    uc->scanned = (uint32_t)scanned;
    if (st == MP_H1_MORE) {
        if (!keep_input(uc, buf, n)) {
            mp_h1_client_lost(uc, MP_UP_NOMEM, "overload");
            return false;
        }
        return true; /* the end of the stream may be there already */
    }
    if (st != MP_H1_OK) {
        protocol_error(uc, st);
        return false;
    }
    struct mp_hdrs *t = NULL;
    if (fields > 0) {
        struct mp_arena *arena = u->ops->arena(u);
        t = mp_arena_zalloc(arena, sizeof(*t));
        if (t != NULL) {
            mp_hdrs_init(t, arena, limits.fields_max);
        }
        if (t == NULL || mp_is_err(mp_hdrs_take_block(t, uc->cw->fields, fields, buf, used))) {
            mp_h1_client_lost(uc, MP_UP_NOMEM, "upstream_response_headers_too_large");
            return false;
        }
    }
    complete(uc, u, uc->keep_alive && used == n);
    if (t != NULL && u->ops->on_trailers != NULL) {
        u->ops->on_trailers(u, t);
    } else {
        u->ops->on_data(u, MP_STR(""), true);
    }
    finish(u);
    return false;
}

/* Body bytes at buf. False: stop. */
static bool take_body(struct mp_upconn *uc, char *buf, size_t n)
{
    struct mp_upreq *u = uc->req;
    switch (uc->body) {
    case MP_BODY_CLOSE:
        u->ops->on_data(u, mp_str(buf, n), false);
        return uc->req == u;
    case MP_BODY_LENGTH: {
        size_t take = uc->body_left < n ? (size_t)uc->body_left : n;
        uc->body_left -= take;
        if (uc->body_left > 0) {
            u->ops->on_data(u, mp_str(buf, take), false);
            return uc->req == u;
        }
        complete(uc, u, uc->keep_alive && take == n);
        u->ops->on_data(u, mp_str(buf, take), true);
        finish(u);
        return false;
    }
    case MP_BODY_CHUNKED: {
        size_t payload = 0, used = 0;
        enum mp_h1_status st = mp_chunk_decode(&uc->dec, buf, n, &payload, &used);
        if (st != MP_H1_OK && st != MP_H1_MORE) {
            protocol_error(uc, st);
            return false;
        }
        /* The usual end, "0 CRLF CRLF" in the same read: one event with the last data. */
        if (st == MP_H1_OK && n - used == 2 && memcmp(buf + used, "\r\n", 2) == 0) {
            complete(uc, u, uc->keep_alive);
            u->ops->on_data(u, mp_str(buf, payload), true);
            finish(u);
            return false;
        }
        if (payload > 0) {
            u->ops->on_data(u, mp_str(buf, payload), false);
            if (uc->req != u) {
                return false;
            }
        }
        if (st == MP_H1_MORE) {
            return true;
        }
        uc->body = BODY_IN_TRAILERS;
        uc->scanned = 0;
        return take_trailers(uc, buf + used, n - used);
    }
    default:
        return take_trailers(uc, buf, n);
    }
}

/* False: do not read on. */
static bool process(struct mp_upconn *uc, char *buf, size_t n)
{
    struct mp_upreq *u = uc->req;
    u->any_response = true;
    while (!u->resp_head) {
        size_t used = take_head(uc, buf, n);
        if (used == 0) {
            return uc->req == u && uc->state == MP_UPCONN_BUSY;
        }
        buf += used;
        n -= used;
        if (n == 0) {
            return true;
        }
    }
    return take_body(uc, buf, n);
}

static void on_eof(struct mp_upconn *uc, ssize_t r)
{
    struct mp_upreq *u = uc->req;
    if (u != NULL && MP_UNLIKELY(u->tunnel)) {
        mp_tunnel_on_end(uc, r);
        return;
    }
    bool cut =
        uc->ch.more != NULL && uc->ch.more->truncated; /* TLS says whether that was the end */
    if (u != NULL && r == 0 && u->resp_head && uc->body == MP_BODY_CLOSE && !cut) {
        complete(uc, u, false);
        u->ops->on_data(u, MP_STR(""), true);
        finish(u);
        return;
    }
    mp_h1_client_lost(uc, r == 0 ? MP_UP_CLOSED : MP_UP_RESET,
                      "upstream_reset_before_response_started{connection_termination}");
}

void mp_h1_client_read(struct mp_upconn *uc)
{
    char *scratch = uc->cw->w.scratch;
    uc->in_read = true;
    for (int reads = 0; uc->state == MP_UPCONN_BUSY || uc->state == MP_UPCONN_IDLE; reads++) {
        struct mp_upreq *u = uc->req;
        if (u != NULL && u->resp_head && !u->ops->wants_response(u)) {
            mp_stat_inc(uc->host->cluster->stats, MP_ST_CLUSTER_FLOW_PAUSED);
            break; /* ch.readable stays set */
        }
        if (reads == MP_CHAN_READS_MAX) {
            mp_io_again(uc->cw->w.loop, &uc->ch.io);
            break;
        }
        size_t kept = uc->in_n;
        size_t ask = MP_MIN(MP_SCRATCH_SIZE - kept, (size_t)MP_CHAN_READ_MAX);
        if (kept > 0) {
            memcpy(scratch, uc->in, kept);
        }
        ssize_t r = mp_chan_recv(uc->cw, &uc->ch, scratch + kept, ask);
        if (r == -EAGAIN) {
            uc->ch.readable = false;
            if (uc->ch.failed) {
                mp_h1_client_lost(uc, MP_UP_RESET,
                                  "upstream_reset_before_response_started{write_failed}");
            }
            break;
        }
        uc->in_n = 0;
        if (r <= 0) {
            uc->ch.readable = false;
            on_eof(uc, r);
            break;
        }
        if (u == NULL) {
            mp_h1_client_lost(uc, MP_UP_PROTOCOL_ERROR, NULL); /* bytes on an idle connection */
            break;
        }
        bool more = (size_t)r == ask || uc->ch.hup;
        uc->ch.readable = more;
        if (!process(uc, scratch, kept + (size_t)r) || !more) {
            break;
        }
    }
    uc->in_read = false;
    /* A request that was attached while we read could not be told that its body may go on: its
     * client would have been read into the scratch buffer that we were using. */
    if (uc->state == MP_UPCONN_BUSY && uc->req != NULL && uc->req->head_sent &&
        uc->req->ops->on_writable != NULL) {
        uc->req->ops->on_writable(uc->req);
    }
}

void mp_h1_client_on_ready(struct mp_io *io, unsigned events)
{
    struct mp_upconn *uc = MP_CONTAINER_OF(io, struct mp_upconn, ch.io);
    MP_CHECK_MAGIC(uc, MP_UPCONN_MAGIC);
    struct mp_core_worker *cw = uc->cw;
    if (uc->state == MP_UPCONN_CONNECTING) {
        int err = mp_upconn_start(uc, events);
        if (err == -EAGAIN) {
            mp_cork_flush(cw);
            return;
        }
        mp_upconn_on_connected(uc, err);
        if (uc->state == MP_UPCONN_CLOSED) {
            mp_cork_flush(cw);
            return;
        }
        if (uc->ch.io.on_ready != mp_h1_client_on_ready) {
            /* Another protocol has taken over; what came with the connection is its own. */
            uc->ch.io.on_ready(io, events & ~(unsigned)MP_IO_OUT);
            return;
        }
    } else if ((events & MP_IO_OUT) != 0 && uc->ch.q.n > 0) {
        (void)mp_chan_on_writable(cw, &uc->ch);
        struct mp_upreq *u = uc->req;
        if (u != NULL && u->ops->on_writable != NULL) {
            u->ops->on_writable(u);
        }
        if (uc->ch.end) {
            mp_tunnel_check(uc);
        }
    }
    if (uc->state != MP_UPCONN_CLOSED && (events & (MP_IO_IN | MP_IO_HUP | MP_IO_ERR)) != 0) {
        uc->ch.readable = true;
        uc->ch.hup |= (events & (MP_IO_HUP | MP_IO_ERR)) != 0;
        if (!uc->in_read) {
            mp_h1_client_read(uc);
        }
    }
    mp_cork_flush(cw);
}
