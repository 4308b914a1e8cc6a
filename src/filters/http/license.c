/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The license filter in the program: its callbacks and its protobuf configuration. */
#include "filters/http/license.h"

#include "filters/guest_native.h"
#include "filters/registry.h"
#include "filters/settings.h"
#include "marchproxy_filters_v1.pb-c.h"

/* ---- callbacks ---- */

static enum mp_verdict on_request_headers(struct mp_filter *f, struct mp_req_head *h, bool end)
{
    struct mp_guest g = {.filter = f};
    if (MP_UNLIKELY(!f->conf)) {
        mp_license_on_disabled(&g);
        return MP_VERDICT_CONTINUE;
    }
    return mp_guest_verdict(mp_license_on_request(f->conf, &g));
}

static enum mp_verdict on_request_trailers(struct mp_filter *f, struct mp_hdrs *t)
{
    struct mp_guest g = {.filter = f, .trailers = t};
    mp_license_on_trailers(&g);
    return MP_VERDICT_CONTINUE;
}

static enum mp_verdict on_response_headers(struct mp_filter *f, struct mp_resp_head *h, bool end)
{
    struct mp_guest g = {.filter = f, .response = h};
    if (MP_UNLIKELY(!f->conf)) {
        return MP_VERDICT_CONTINUE;
    }
    return mp_license_on_response(f->conf, &g) ? MP_VERDICT_CONTINUE : MP_VERDICT_ABORT;
}

static void on_published(struct mp_filter_host *host, const void *const *confs, uint32_t n)
{
    mp_license_on_published(mp_guest_host(host), (const struct mp_license *const *)confs, n);
}

/* ---- configuration ---- */

static mp_err parse(const ProtobufCMessage *m, struct mp_arena *arena,
                    const struct mp_conf_where *w, void **ret)
{
    const Marchproxy__Filters__V1__License *c = (const void *)m;
    struct mp_guest_setup s = {.arena = arena, .where = w};
    struct mp_license_feature *features =
        mp_guest_setup_alloc(&s, c->n_features * sizeof(*features));
    struct mp_license_gate_setting *gates =
        mp_guest_setup_alloc(&s, c->n_feature_gates * sizeof(*gates));
    for (size_t i = 0; i < c->n_features; i++) {
        features[i] =
            (struct mp_license_feature){mp_str_c(c->features[i]->key), c->features[i]->value};
    }
    for (size_t i = 0; i < c->n_feature_gates; i++) {
        gates[i] = (struct mp_license_gate_setting){mp_str_c(c->feature_gates[i]->prefix),
                                                    mp_str_c(c->feature_gates[i]->feature)};
    }
    struct mp_license_settings in = {
        .license_key = mp_str_c(c->license_key),
        .is_enterprise = c->is_enterprise,
        .features = features,
        .n_features = c->n_features,
        .has_max_proxies = c->max_proxies,
        .max_proxies = c->max_proxies ? c->max_proxies->value : 0,
        .current_proxies = c->current_proxies,
        .gates = gates,
        .n_gates = c->n_feature_gates,
        .has_exempt_paths = c->exempt_paths,
    };
    in.exempt_paths = mp_settings_list(c->exempt_paths, "exempt_paths", &in.n_exempt_paths, &s);
    *ret = mp_license_setup(&in, &s);
    return s.err;
}

static const struct mp_filter_type filter_license = {
    .name = "marchproxy.filters.http.license",
    .guards = true,
    .on_request_headers = on_request_headers,
    .on_request_trailers = on_request_trailers,
    .on_response_headers = on_response_headers,
    .on_published = on_published,
};

const struct mp_conf_filter_type mp_conf_filter_license = {
    .name = "marchproxy.filters.http.license",
    .message = &marchproxy__filters__v1__license__descriptor,
    .route_message = &marchproxy__filters__v1__license__descriptor,
    .parse = parse,
    .parse_route = parse,
    .impl = &filter_license,
};
