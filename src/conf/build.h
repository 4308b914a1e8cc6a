/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Shared by from_envoy*.c: the state of one translation from messages to the model. */
#pragma once
#include "base/map.h"
#include "conf/load.h"
#include "conf/match.h"
#include "conf/model.h"
#include "conf/pb.h"
#include "conf/places.h"
#include "conf/registry.h"

#include "envoy_config_accesslog_v3.pb-c.h"
#include "envoy_config_bootstrap_v3.pb-c.h"
#include "envoy_config_cluster_v3.pb-c.h"
#include "envoy_config_core_v3.pb-c.h"
#include "envoy_config_listener_v3.pb-c.h"
#include "envoy_config_route_v3.pb-c.h"
#include "google_protobuf.pb-c.h"
#include "marchproxy_xdp_v1.pb-c.h"

/* The published messages have long names. */
typedef Envoy__Config__Core__V3__Address pb_address;
typedef Envoy__Config__Core__V3__HeaderValueOption pb_header_option;
typedef Envoy__Config__Core__V3__Http1ProtocolOptions pb_http1_options;
typedef Envoy__Config__Core__V3__HttpProtocolOptions pb_http_options;
typedef Envoy__Config__Accesslog__V3__AccessLog pb_access_log;
typedef Envoy__Config__Listener__V3__Listener pb_listener;
typedef Envoy__Config__Cluster__V3__Cluster pb_cluster;
typedef Envoy__Config__Bootstrap__V3__Bootstrap pb_bootstrap;
typedef Envoy__Config__Route__V3__RouteConfiguration pb_route_config;
typedef Envoy__Config__Route__V3__VirtualHost pb_vhost;
typedef Envoy__Config__Route__V3__Route pb_route;
typedef Google__Protobuf__Any pb_any;
typedef Google__Protobuf__Duration pb_duration;
typedef Google__Protobuf__UInt32Value pb_u32;
typedef Google__Protobuf__BoolValue pb_bool;

struct mp_conf_build {
    struct mp_conf *conf;
    struct mp_arena *arena;   /* what stays: of conf, or of the part being made */
    struct mp_arena *scratch; /* messages */
    const struct mp_conf_load_opts *opts;
    struct mp_diag *diag;
    struct mp_conf_places *places;
    char path[2048];
    size_t path_n;
    /* Names of clusters, sorted; references are only checked when every cluster has one. */
    struct mp_str *clusters;
    size_t n_clusters;
    bool clusters_known;
    bool filters_known;       /* of the present manager: none was left out */
    const pb_bootstrap *boot; /* for its static secrets */
    uint64_t *hash;           /* of the object being made: content that is read goes into it */
};

/* Goes down to a part of the message ("routes[3]", "[\"key\"]"); give the result to leave. */
size_t mp_build_enter(struct mp_conf_build *b, const char *fmt, ...) MP_PRINTF(2, 3);
void mp_build_leave(struct mp_conf_build *b, size_t mark);
/* sub: part of the present message, NULL: itself. Returns the error. */
mp_err mp_build_error(struct mp_conf_build *b, const char *sub, const char *cure, const char *fmt,
                      ...) MP_PRINTF(4, 5);
/* Something that must be there is not: unless the reader has complained about a field of the same
 * message, which then is the likely cause. */
void mp_build_missing(struct mp_conf_build *b, const char *sub, const char *cure, const char *fmt,
                      ...) MP_PRINTF(4, 5);
/* An error, or a warning with --allow-unsupported. */
void mp_build_unsupported(struct mp_conf_build *b, const char *sub, const char *cure,
                          const char *fmt, ...) MP_PRINTF(4, 5);
/* A path as the file has it. */
const char *mp_build_shown(const struct mp_conf_build *b, const char *path);
struct mp_conf_where mp_build_where(const struct mp_conf_build *b);
size_t mp_build_line(const struct mp_conf_build *b);

/* Zeroed memory of the model. */
void *mp_build_take(struct mp_conf_build *b, size_t n, size_t size);
struct mp_str mp_build_str(struct mp_conf_build *b, const char *z);
struct mp_str mp_build_printf(struct mp_conf_build *b, const char *fmt, ...) MP_PRINTF(2, 3);
/* What is taken until leave comes from the part; give the result to leave. */
struct mp_arena *mp_build_enter_part(struct mp_conf_build *b, struct mp_conf_part *part);
void mp_build_leave_part(struct mp_conf_build *b, struct mp_arena *before);
/* The message in an Any; NULL when it is absent (reported) or its type unknown (reported before).
 */
const ProtobufCMessage *mp_build_any(struct mp_conf_build *b, const char *sub, const pb_any *any);
void mp_build_source(struct mp_conf_build *b, const ProtobufCMessage *m,
                     struct mp_conf_source *ret);

/* Values; *ret stays as it is (the default) when the field is absent or bad. */
void mp_build_ms(struct mp_conf_build *b, const char *sub, const pb_duration *d, uint64_t *ret);
void mp_build_u32(struct mp_conf_build *b, const char *sub, const pb_u32 *v, uint32_t min,
                  uint32_t max, uint32_t *ret);
static inline void mp_build_bool(const pb_bool *v, bool *ret)
{
    *ret = v ? v->value : *ret;
}
/* Text that will be sent in a header: no control characters. */
bool mp_build_header_text(struct mp_conf_build *b, const char *sub, const char *z, bool format);

/* The content of a DataSource; false (reported) when there is none. */
bool mp_build_data_source(struct mp_conf_build *b, const char *sub,
                          const Envoy__Config__Core__V3__DataSource *m, struct mp_str *ret);

/* want_ip: names are refused, with this cure. port_min: 0 where the system may choose. */
bool mp_build_addr(struct mp_conf_build *b, const char *sub, const pb_address *a,
                   const char *want_ip, unsigned port_min, struct mp_conf_addr *ret);
bool mp_build_socket_addr(struct mp_conf_build *b, const char *sub,
                          const Envoy__Config__Core__V3__SocketAddress *m, const char *want_ip,
                          unsigned port_min, struct mp_conf_addr *ret);
bool mp_conf_is_ip(const char *text, bool *ret_ip6);
/* "1.2.3.4:80", "[::1]:80", "/path". */
struct mp_str mp_build_addr_text(struct mp_conf_build *b, const struct mp_conf_addr *a);

/* Header additions and removals of one message. */
struct mp_build_header_fields {
    pb_header_option **req_add, **resp_add;
    char **req_remove, **resp_remove;
    size_t n_req_add, n_resp_add, n_req_remove, n_resp_remove;
};
/* Every message with these fields names them alike. */
#define MP_BUILD_HEADER_FIELDS(m)                           \
    (&(struct mp_build_header_fields){                      \
        .req_add = (m)->request_headers_to_add,             \
        .resp_add = (m)->response_headers_to_add,           \
        .req_remove = (m)->request_headers_to_remove,       \
        .resp_remove = (m)->response_headers_to_remove,     \
        .n_req_add = (m)->n_request_headers_to_add,         \
        .n_resp_add = (m)->n_response_headers_to_add,       \
        .n_req_remove = (m)->n_request_headers_to_remove,   \
        .n_resp_remove = (m)->n_response_headers_to_remove, \
    })
void mp_build_header_ops(struct mp_conf_build *b, const struct mp_build_header_fields *f,
                         struct mp_conf_header_ops *ret);

/* The parts, one file each. */
void mp_build_bootstrap(struct mp_conf_build *b, const pb_bootstrap *m);
void mp_build_xdp(struct mp_conf_build *b, const Marchproxy__Xdp__V1__Guard *m,
                  struct mp_conf_xdp *ret);
void mp_build_listener(struct mp_conf_build *b, const pb_listener *m, struct mp_conf_listener *ret);
void mp_build_http(struct mp_conf_build *b, const ProtobufCMessage *manager,
                   struct mp_conf_http *ret);
void mp_build_alogs(struct mp_conf_build *b, pb_access_log **logs, size_t n,
                    struct mp_conf_alog **ret, uint32_t *ret_n);
/* Which requests are logged (from_envoy_alog_filter.c); NULL: all. */
struct mp_conf_alog_filter *
mp_build_alog_filter(struct mp_conf_build *b,
                     const Envoy__Config__Accesslog__V3__AccessLogFilter *m);
/* Envoy's default text format; path NULL: standard output. */
void mp_build_default_alog(struct mp_conf_build *b, const char *path, struct mp_conf_alog *ret);
#define MP_CONF_DEFAULT_KEYS 8
struct mp_conf_default_key {
    const char *key, *format;
};
extern const struct mp_conf_default_key
    mp_conf_default_keys[MP_CONF_DEFAULT_KEYS]; /* of the JSON log */
void mp_build_http2(struct mp_conf_build *b, const Envoy__Config__Core__V3__Http2ProtocolOptions *m,
                    struct mp_conf_http2 *ret);
/* upgrade_configs; of a route after its path kind. */
void mp_build_http_upgrades(struct mp_conf_build *b, const ProtobufCMessage *manager,
                            struct mp_conf_http *ret);
void mp_build_route_upgrades(struct mp_conf_build *b,
                             const Envoy__Config__Route__V3__RouteAction *m,
                             const struct mp_conf_http *http, struct mp_conf_route *ret);
void mp_build_routes(struct mp_conf_build *b, const pb_route_config *m,
                     const struct mp_conf_http *http, struct mp_conf_routes *ret);
/* vhost: what routes inherit; its routes are being built. */
void mp_build_route(struct mp_conf_build *b, const pb_route *m, const struct mp_conf_routes *table,
                    const struct mp_conf_http *http, const struct mp_conf_route *vhost,
                    struct mp_conf_route *ret);
typedef Envoy__Config__Route__V3__VirtualHost__TypedPerFilterConfigEntry pb_override_entry;
void mp_build_overrides(struct mp_conf_build *b, pb_override_entry **entries, size_t n,
                        const struct mp_conf_http *http, struct mp_conf_filter_override **ret,
                        uint32_t *ret_n);
/* The overload manager and the watchdogs (from_envoy_overload.c). */
void mp_build_overload(struct mp_conf_build *b,
                       const Envoy__Config__Overload__V3__OverloadManager *m);
void mp_build_watchdogs(struct mp_conf_build *b, const pb_bootstrap *m);
/* NULL when m is. */
struct mp_conf_retry *mp_build_retry(struct mp_conf_build *b, const char *sub,
                                     const Envoy__Config__Route__V3__RetryPolicy *m);
void mp_build_health(struct mp_conf_build *b, const pb_cluster *m, struct mp_conf_cluster *ret);
void mp_build_outlier(struct mp_conf_build *b, const pb_cluster *m, struct mp_conf_cluster *ret);
/* Circuit breakers and how hosts are chosen. */
void mp_build_balance(struct mp_conf_build *b, const pb_cluster *m, struct mp_conf_cluster *ret);
/* Percent; *ret stays as it is when absent or bad. */
void mp_build_percent(struct mp_conf_build *b, const char *sub, const Envoy__Type__V3__Percent *m,
                      double *ret);
/* The content of a DataSource that may be a file or a variable of the environment. m may be NULL.
 */
bool mp_build_text(struct mp_conf_build *b, const char *sub,
                   const Envoy__Config__Core__V3__DataSource *m, size_t max,
                   struct mp_conf_text *ret);
/* transport_socket: NULL, raw_buffer or TLS; upstream also PROXY protocol around one of them. */
void mp_build_tls_down(struct mp_conf_build *b, const Envoy__Config__Core__V3__TransportSocket *m,
                       struct mp_conf_tls **ret);
void mp_build_tls_up(struct mp_conf_build *b, const Envoy__Config__Core__V3__TransportSocket *m,
                     struct mp_conf_cluster *ret);
void mp_build_secrets(struct mp_conf_build *b);
void mp_build_cluster(struct mp_conf_build *b, const pb_cluster *m, struct mp_conf_cluster *ret);
bool mp_build_has_cluster(const struct mp_conf_build *b, const char *name);
/* Whatever spans several parts: names and addresses that must differ. */
void mp_build_check_whole(struct mp_conf_build *b);

/* The simple file: reads it from the tree and hands its translation to mp_build_bootstrap. */
struct mp_yaml;
void mp_build_from_march(struct mp_conf_build *b, const struct mp_yaml *y,
                         struct mp_conf_places *places);
