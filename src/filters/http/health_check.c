/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "filters/http/health_check.h"

#include "conf/match.h"
#include "conf/model.h"
#include "core/filter.h"
#include "envoy_extensions_filters_http_health_check_v3.pb-c.h"

struct health_check {
    bool pass_through; /* the upstream answers; only draining is answered here */
    struct mp_conf_header_match *headers;
    uint32_t n_headers;
};

static enum mp_verdict on_request_headers(struct mp_filter *f, struct mp_req_head *h, bool end)
{
    const struct health_check *c = f->conf;
    (void)end;
    if (!mp_filter_headers_match(c->headers, c->n_headers, h)) {
        return MP_VERDICT_CONTINUE;
    }
    mp_filter_mark(f, MP_FILTER_MARK_HEALTH_CHECK);
    if (mp_filter_server_draining(f)) {
        return mp_filter_reply(f, 503, NULL, MP_STR(""), "health_check_failed");
    }
    if (c->pass_through) {
        return MP_VERDICT_CONTINUE;
    }
    return mp_filter_reply(f, 200, NULL, MP_STR(""), "health_check_ok");
}

static mp_err parse(const ProtobufCMessage *m, struct mp_arena *arena,
                    const struct mp_conf_where *w, void **ret)
{
    const Envoy__Extensions__Filters__Http__HealthCheck__V3__HealthCheck *hc = (const void *)m;
    struct health_check *c = mp_arena_zalloc(arena, sizeof(*c));
    if (c == NULL) {
        return MP_FAIL(NOMEM);
    }
    if (hc->pass_through_mode == NULL) {
        return mp_conf_error(w, MP_E_INVALID, "pass_through_mode",
                             "set it to false to answer here, to true to let the upstream answer",
                             "pass_through_mode is required");
    }
    c->pass_through = hc->pass_through_mode->value;
    MP_TRY(mp_conf_header_matches(hc->headers, hc->n_headers, w, "headers", arena, &c->headers));
    c->n_headers = (uint32_t)hc->n_headers;
    for (uint32_t i = 0; i < c->n_headers; i++) {
        if (c->headers[i].kind == MP_MATCH_REGEX) {
            return mp_conf_error(w, MP_E_UNSUPPORTED, "headers",
                                 "use exact, prefix, suffix or contains",
                                 "regular expressions are not supported in health_check");
        }
    }
    *ret = c;
    return MP_OK;
}

static const struct mp_filter_type filter_health_check = {
    .name = "envoy.filters.http.health_check",
    .on_request_headers = on_request_headers,
};

const struct mp_conf_filter_type mp_conf_filter_health_check = {
    .name = "envoy.filters.http.health_check",
    .message = &envoy__extensions__filters__http__health_check__v3__health_check__descriptor,
    .parse = parse,
    .impl = &filter_health_check,
};
