/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Stat schemas of core: names as Envoy's. The tables are in stats.c, generated from the .def files.
 */
#pragma once
#include "base/stat.h"
#include "codec/h1_parse.h"

#define MP_COUNTER(token, name, help)                       MP_ST_##token,
#define MP_GAUGE(token, name, help)                         MP_ST_##token,
#define MP_HISTOGRAM(token, name, help, scale)              MP_ST_##token,
#define MP_COUNTER_L(token, name, help, prom, label, value) MP_ST_##token,
enum mp_stat_server {
#include "core/stats_server.def"
    MP_ST_SERVER_COUNT
};
enum mp_stat_http {
#include "core/stats_http.def"
    MP_ST_HTTP_COUNT
};
enum mp_stat_listener {
#include "core/stats_listener.def"
    MP_ST_LISTENER_COUNT
};
enum mp_stat_http2 {
#include "core/stats_http2.def"
    MP_ST_HTTP2_COUNT
};
enum mp_stat_cluster {
#include "core/stats_cluster.def"
    MP_ST_CLUSTER_COUNT
};
#define MP_TLS(token, name, help) MP_ST_TLS_##token,
enum mp_stat_tls { /* relative: from MP_ST_LISTENER_TLS_HANDSHAKE and its like on */
#include "core/stats_tls.def"
                   MP_ST_TLS_COUNT
};
#undef MP_TLS
#undef MP_COUNTER
#undef MP_GAUGE
#undef MP_HISTOGRAM
#undef MP_COUNTER_L

extern const struct mp_stat_schema mp_stats_server, mp_stats_http, mp_stats_listener,
    mp_stats_cluster, mp_stats_http2;

/* One counter per reason for which the codec refuses a message; scopes "downstream" and "upstream".
 */
#define MP_ST_HTTP1_COUNT (MP_H1_STATUS_COUNT - MP_H1_MORE - 1)
extern struct mp_stat_schema mp_stats_http1;
/* Not for MP_H1_OK and MP_H1_MORE. */
static inline uint32_t mp_stats_http1_index(enum mp_h1_status reason)
{
    return (uint32_t)reason - MP_H1_MORE - 1;
}
struct mp_tls;
/* A handshake's end; first: index of the scope's ssl.handshake. */
void mp_stats_tls_done(const struct mp_stat_block *b, uint32_t first, const struct mp_tls *t);
void mp_stats_tls_failed(const struct mp_stat_block *b, uint32_t first, const struct mp_tls *t);
/* Once, before the first scope is made. */
void mp_stats_init(void);
