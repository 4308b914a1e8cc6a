/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The tables behind core/stats.h. */
#include "core/stats.h"

#include "base/assert.h"

#define MP_COUNTER(token, name_, help_) \
    [MP_ST_##token] = {.name = (name_), .kind = MP_STAT_COUNTER, .help = (help_)},
#define MP_GAUGE(token, name_, help_) \
    [MP_ST_##token] = {.name = (name_), .kind = MP_STAT_GAUGE, .help = (help_)},
#define MP_HISTOGRAM(token, name_, help_, scale_) \
    [MP_ST_##                                     \
        token] = {.name = (name_), .kind = MP_STAT_HISTOGRAM, .help = (help_), .scale = (scale_)},
#define MP_COUNTER_L(token, name_, help_, prom, label_, value) \
    [MP_ST_##token] = {.name = (name_),                        \
                       .kind = MP_STAT_COUNTER,                \
                       .help = (help_),                        \
                       .prom_name = (prom),                    \
                       .label = (label_),                      \
                       .label_value = (value)},

static const struct mp_stat_def server_defs[MP_ST_SERVER_COUNT] = {
#include "core/stats_server.def"
};
static const struct mp_stat_def http_defs[MP_ST_HTTP_COUNT] = {
#include "core/stats_http.def"
};
static const struct mp_stat_def listener_defs[MP_ST_LISTENER_COUNT] = {
#include "core/stats_listener.def"
};
static const struct mp_stat_def http2_defs[MP_ST_HTTP2_COUNT] = {
#include "core/stats_http2.def"
};
static const struct mp_stat_def cluster_defs[MP_ST_CLUSTER_COUNT] = {
#include "core/stats_cluster.def"
};

const struct mp_stat_schema mp_stats_server = {
    .kind = "server",
    .text_prefix = "server.",
    .prom_prefix = "envoy_server_",
    .defs = server_defs,
    .n = MP_ST_SERVER_COUNT,
};
const struct mp_stat_schema mp_stats_http = {
    .kind = "http",
    .text_prefix = "http.",
    .prom_prefix = "envoy_http_",
    .label = "envoy_http_conn_manager_prefix",
    .defs = http_defs,
    .n = MP_ST_HTTP_COUNT,
};
const struct mp_stat_schema mp_stats_listener = {
    .kind = "listener",
    .text_prefix = "listener.",
    .prom_prefix = "envoy_listener_",
    .label = "envoy_listener_address",
    .defs = listener_defs,
    .n = MP_ST_LISTENER_COUNT,
};
const struct mp_stat_schema mp_stats_cluster = {
    .kind = "cluster",
    .text_prefix = "cluster.",
    .prom_prefix = "envoy_cluster_",
    .label = "envoy_cluster_name",
    .defs = cluster_defs,
    .n = MP_ST_CLUSTER_COUNT,
};

/* Towards clients; clusters have the same names among their own. */
const struct mp_stat_schema mp_stats_http2 = {
    .kind = "http2",
    .text_prefix = "http2.",
    .prom_prefix = "envoy_http2_",
    .defs = http2_defs,
    .n = MP_ST_HTTP2_COUNT,
};

/* Names come from the codec at start: it is the one place that spells a reason. */
static struct mp_stat_def http1_defs[MP_ST_HTTP1_COUNT] = {
#define MP_H1_REASON(token, http, text)                              \
    [MP_H1_ERR_##token - MP_H1_MORE - 1] = {.kind = MP_STAT_COUNTER, \
                                            .help = "Messages refused: " text},
#include "codec/h1_reason.def"
#undef MP_H1_REASON
};
struct mp_stat_schema mp_stats_http1 = {
    .kind = "http1",
    .text_prefix = "http1.",
    .prom_prefix = "envoy_http1_",
    .label = "envoy_http1_side",
    .defs = http1_defs,
    .n = MP_ST_HTTP1_COUNT,
};

void mp_stats_init(void)
{
    for (uint32_t i = 0; i < MP_ST_HTTP1_COUNT; i++) {
        http1_defs[i].name = mp_h1_status_name((enum mp_h1_status)(MP_H1_MORE + 1 + i));
        MP_ASSERT(http1_defs[i].help != NULL);
    }
}
