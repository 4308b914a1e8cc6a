/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/upgrade.h"

#include "core/route.h"
#include "core/snapshot.h"
#include "core/stats.h"
#include "core/stream.h"

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
