/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Tunnels over an HTTP/1 or plain connection to an upstream. The connection is the tunnel's alone
 * and ends with it. */
#include "codec/h1_write.h"
#include "core/stats.h"
#include "core/upconn.h"
#include "core/upgrade.h"

/* RFC 9110 7.8: the one protocol that was asked for; anything else is not what the client expects
 * behind the head. */
static bool names_protocol(const struct mp_hdr *fields, uint16_t n, struct mp_str protocol)
{
    uint32_t seen = 0, same = 0;
    for (uint16_t i = 0; i < n; i++) {
        if (fields[i].id == MP_HDR_UPGRADE) {
            seen++;
            same += mp_str_ieq(mp_hdr_value(&fields[i]), protocol);
        }
    }
    return seen == 1 && same == 1;
}

bool mp_tunnel_accepts(const struct mp_upconn *uc, const struct mp_h1_response *r)
{
    const struct mp_req_head *h = uc->req->head;
    if (h->method == MP_METHOD_CONNECT) {
        return r->status >= 200 && r->status < 300;
    }
    return r->status == 101 && r->upgrade &&
           names_protocol(uc->cw->fields, r->n_fields, h->upgrade) &&
           mp_upgrade_accept_ok(h, uc->cw->fields, r->n_fields);
}

/* What the client sent before the tunnel was open. */
static void send_held(struct mp_upreq *u)
{
    struct mp_core_worker *cw = u->cw;
    while (u->held.n > 0) {
        struct mp_str piece = mp_buf_front(&u->held);
        mp_tunnel_send(u, piece, false);
        mp_buf_consume(&u->held, &cw->w.blocks, piece.n);
    }
    if (u->held_all) {
        mp_tunnel_send(u, MP_STR(""), true);
    }
}

void mp_tunnel_open(struct mp_upconn *uc, struct mp_resp_head *h)
{
    struct mp_upreq *u = uc->req;
    if (u->head->ws_key_ours) {
        mp_hdrs_remove_name(&h->hdrs, MP_STR("sec-websocket-accept"));
    }
    h->has_content_length = false; /* of a 2xx to CONNECT: RFC 9110 9.3.6 */
    uc->keep_alive = false;
    uc->body = MP_BODY_CLOSE;
    u->tunnel = true;
    u->resp_head = true;
    u->req_end = false;
    bool held = u->held.n > 0;
    send_held(u);
    u->ops->on_headers(u, h, false);
    if (uc->req == u && held && mp_chan_backlog(&uc->ch) == 0 && u->ops->on_writable != NULL) {
        u->ops->on_writable(u); /* nothing else will tell that more may come */
    }
}

void mp_tunnel_open_raw(struct mp_upreq *u)
{
    struct mp_upconn *uc = u->conn;
    struct mp_arena *arena = u->ops->arena(u);
    struct mp_resp_head *h = mp_arena_zalloc(arena, sizeof(*h));
    u->head_sent = true;
    u->any_response = true;
    if (h == NULL) {
        mp_h1_client_lost(uc, MP_UP_NOMEM, "upstream_response_headers_too_large");
        return;
    }
    h->status = 200;
    mp_hdrs_init(&h->hdrs, arena, UINT16_MAX);
    mp_tunnel_open(uc, h);
}

void mp_tunnel_send(struct mp_upreq *u, struct mp_str data, bool end)
{
    struct mp_upconn *uc = u->conn;
    u->body_sent += data.n;
    if (data.n > 0) {
        mp_chan_write(uc->cw, &uc->ch, MP_STR(""), data, MP_STR(""));
    }
    if (end) {
        u->req_end = true;
        mp_chan_end(uc->cw, &uc->ch);
        mp_tunnel_check(uc);
    }
}

void mp_tunnel_check(struct mp_upconn *uc)
{
    struct mp_upreq *u = uc->req;
    if (u == NULL || !u->tunnel || !u->resp_end || !u->req_end || uc->ch.failed ||
        mp_chan_queued(uc->cw, &uc->ch) > 0) {
        return;
    }
    u->conn = NULL;
    mp_upconn_release(uc, false);
    mp_upreq_finish(u, MP_UP_COMPLETE, NULL);
}

void mp_tunnel_on_end(struct mp_upconn *uc, ssize_t err)
{
    struct mp_upreq *u = uc->req;
    if (err < 0 || uc->ch.failed) {
        mp_h1_client_lost(uc, MP_UP_RESET, "upstream_reset_after_response_started{remote_reset}");
        return;
    }
    if (u->resp_end) {
        return; /* told already */
    }
    u->resp_end = true;
    u->ops->on_data(u, MP_STR(""), true);
    if (uc->req == u) {
        mp_tunnel_check(uc);
    }
}
