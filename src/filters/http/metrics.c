/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The metrics filter in the program: its callbacks and its protobuf configuration. */
#include "filters/http/metrics.h"

#include "filters/guest_native.h"
#include "filters/registry.h"
#include "marchproxy_filters_v1.pb-c.h"

/* ---- callbacks ---- */

static enum mp_verdict on_request_headers(struct mp_filter *f, struct mp_req_head *h, bool end)
{
    struct mp_guest g = {.filter = f};
    mp_metrics_on_request(f->conf, &g, mp_filter_state(f));
    return MP_VERDICT_CONTINUE;
}

static enum mp_verdict on_response_headers(struct mp_filter *f, struct mp_resp_head *h, bool end)
{
    struct mp_guest g = {.filter = f, .response = h};
    mp_metrics_on_response(f->conf, &g, mp_filter_state(f));
    return MP_VERDICT_CONTINUE;
}

static void on_end(struct mp_filter *f)
{
    struct mp_guest g = {.filter = f};
    mp_metrics_on_end(f->conf, &g, mp_filter_state(f));
}

static void on_published(struct mp_filter_host *host, const void *const *confs, uint32_t n)
{
    mp_metrics_on_published(mp_guest_host(host), (const struct mp_metrics *const *)confs, n);
}

/* ---- configuration ---- */

static bool on_unless_false(const Google__Protobuf__BoolValue *v)
{
    return !v || v->value;
}

static mp_err parse(const ProtobufCMessage *m, struct mp_arena *arena,
                    const struct mp_conf_where *w, void **ret)
{
    const Marchproxy__Filters__V1__Metrics *c = (const void *)m;
    struct mp_guest_setup s = {.arena = arena, .where = w};
    const struct mp_metrics_settings in = {
        .requests = on_unless_false(c->enable_request_metrics),
        .responses = on_unless_false(c->enable_response_metrics),
        .timing = on_unless_false(c->enable_timing_metrics),
        .sizes = on_unless_false(c->enable_size_metrics),
        .sample_rate = c->sample_rate ? c->sample_rate->value : 1.0,
    };
    *ret = mp_metrics_setup(&in, &s);
    return s.err;
}

static const struct mp_filter_type filter_metrics = {
    .name = "marchproxy.filters.http.metrics",
    .state_size = sizeof(struct mp_metrics_state),
    .on_request_headers = on_request_headers,
    .on_response_headers = on_response_headers,
    .on_end = on_end,
    .on_published = on_published,
};

const struct mp_conf_filter_type mp_conf_filter_metrics = {
    .name = "marchproxy.filters.http.metrics",
    .message = &marchproxy__filters__v1__metrics__descriptor,
    .route_message = &marchproxy__filters__v1__metrics__descriptor,
    .parse = parse,
    .parse_route = parse,
    .impl = &filter_metrics,
};
