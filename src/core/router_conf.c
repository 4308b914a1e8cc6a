/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Configuration of the router: envoy.extensions.filters.http.router.v3.Router. */
#include "core/router.h"

#include "envoy_extensions_filters_http_router_v3.pb-c.h"

static mp_err parse(const ProtobufCMessage *m, struct mp_arena *arena,
                    const struct mp_conf_where *w, void **ret)
{
    const Envoy__Extensions__Filters__Http__Router__V3__Router *r = (const void *)m;
    struct mp_router_conf *c = mp_arena_zalloc(arena, sizeof(*c));
    (void)w;
    if (c == NULL) {
        return MP_FAIL(NOMEM);
    }
    c->suppress_envoy_headers = r->suppress_envoy_headers;
    *ret = c;
    return MP_OK;
}

const struct mp_conf_filter_type mp_conf_filter_router = {
    .name = "envoy.filters.http.router",
    .message = &envoy__extensions__filters__http__router__v3__router__descriptor,
    .terminal = true,
    .parse = parse,
    .impl = &mp_filter_router,
};
