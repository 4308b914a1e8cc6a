/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/upgrade.h"

#include <string.h>

#include "base/rand.h"
#include "codec/ws.h"
#include "core/route.h"
#include "core/snapshot.h"
#include "core/stats.h"
#include "core/stream.h"
#include "core/worker.h"

static const struct mp_conf_upgrade *find(const struct mp_conf_upgrade *list, uint32_t n,
                                          const struct mp_req_head *h)
{
    bool connect = h->method == MP_METHOD_CONNECT;
    for (uint32_t i = 0; i < n; i++) {
        /* "Upgrade: CONNECT" asks for a protocol of that name, not for CONNECT. */
        if (list[i].is_connect == connect && mp_str_ieq(list[i].type, h->upgrade)) {
            return &list[i];
        }
    }
    return NULL;
}

const struct mp_conf_upgrade *mp_upgrade_allowed(const struct mp_http *http,
                                                 const struct mp_route *route,
                                                 const struct mp_req_head *h)
{
    const struct mp_conf_upgrade *u = NULL;
    if (route != NULL) {
        u = find(route->conf->upgrades, route->conf->n_upgrades, h);
    }
    if (u == NULL) {
        u = find(http->conf->upgrades, http->conf->n_upgrades, h);
    }
    return u != NULL && u->enabled ? u : NULL;
}

bool mp_upgrade_check(struct mp_stream *s)
{
    if (mp_upgrade_allowed(s->http, mp_stream_route(s), &s->req) != NULL) {
        return true;
    }
    mp_stat_inc(s->stats, MP_ST_HTTP_UPGRADE_REFUSED);
    mp_stream_local_reply(s, 403, NULL, MP_STR(""), 0, "upgrade_failed");
    return false;
}

/* ---- WebSocket between versions of HTTP ---- */

#define KEY    MP_STR("sec-websocket-key")
#define ACCEPT MP_STR("sec-websocket-accept")

static bool is_websocket(const struct mp_req_head *h)
{
    return h->method != MP_METHOD_CONNECT && mp_str_ieq(h->upgrade, MP_STR("websocket"));
}

mp_err mp_upgrade_add_key(struct mp_stream *s)
{
    struct mp_hdrs *h = &s->req.hdrs;
    if (s->protocol_minor != 20 || !is_websocket(&s->req)) {
        return MP_OK;
    }
    uint64_t random[2] = {mp_rand_u64(&s->cw->w.rand), mp_rand_u64(&s->cw->w.rand)};
    uint8_t bytes[16];
    memcpy(bytes, random, sizeof(bytes));
    char *key = mp_arena_bytes(&s->arena, MP_WS_KEY_N);
    if (key == NULL) {
        return MP_FAIL(LIMIT);
    }
    mp_ws_key(bytes, key);
    mp_hdrs_remove_name(h, KEY); /* has no meaning there */
    MP_TRY(mp_hdrs_add(h, KEY, mp_str(key, MP_WS_KEY_N)));
    if (mp_hdrs_find(h, MP_STR("sec-websocket-version")) == NULL) {
        MP_TRY(mp_hdrs_add(h, MP_STR("sec-websocket-version"), MP_STR("13")));
    }
    s->req.ws_key_ours = true;
    return MP_OK;
}

mp_err mp_upgrade_add_accept(const struct mp_req_head *req, struct mp_resp_head *h)
{
    const struct mp_hdr *key = is_websocket(req) ? mp_hdrs_find(&req->hdrs, KEY) : NULL;
    mp_hdrs_remove_name(&h->hdrs, ACCEPT);
    if (key == NULL || req->ws_key_ours) {
        return MP_OK;
    }
    char *out = mp_arena_bytes(h->hdrs.arena, MP_WS_ACCEPT_N);
    if (out == NULL || !mp_ws_accept(mp_hdr_value(key), out)) {
        return MP_FAIL(LIMIT);
    }
    return mp_hdrs_add(&h->hdrs, ACCEPT, mp_str(out, MP_WS_ACCEPT_N));
}

bool mp_upgrade_accept_ok(const struct mp_req_head *req, const struct mp_hdr *fields, uint16_t n)
{
    char right[MP_WS_ACCEPT_N];
    if (!req->ws_key_ours) {
        return true; /* the client's to judge */
    }
    const struct mp_hdr *key = mp_hdrs_find(&req->hdrs, KEY);
    if (key == NULL || !mp_ws_accept(mp_hdr_value(key), right)) {
        return false; /* a filter or the route took it away */
    }
    for (uint16_t i = 0; i < n; i++) {
        if (mp_str_eq(mp_hdr_name(&fields[i]), ACCEPT)) {
            return mp_str_eq(mp_hdr_value(&fields[i]), mp_str(right, sizeof(right)));
        }
    }
    return false;
}
