/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Shared by from_march*.c: one simple file on its way to messages. */
#pragma once
#include "conf/build.h"
#include "conf/yaml_tree.h"
#include "marchproxy_config_v1.pb-c.h"

typedef Marchproxy__Config__V1__SimpleFile pb_simple_file;
typedef Marchproxy__Config__V1__Service pb_service;
typedef Marchproxy__Config__V1__Route pb_march_route;
typedef Marchproxy__Config__V1__Limits pb_limits;
typedef Google__Protobuf__Value pb_value;

/* What a listener does about TLS; detect: by the first byte. */
enum mp_march_tls { MP_MARCH_TLS_OFF, MP_MARCH_TLS_ON, MP_MARCH_TLS_DETECT };
struct mp_march_listener {
    enum mp_march_tls tls;
    bool redirect;            /* every request to https */
    struct mp_conf_addr addr; /* host is NUL-terminated */
    const char *name;
    const char *written; /* "listen[1]" */
    bool reuse_port;     /* other processes may listen there too */
};
/* filters: of a route. */
struct mp_march_overrides {
    Envoy__Config__Route__V3__Route__TypedPerFilterConfigEntry **v;
    const char **keys; /* paths in the file */
    size_t n;
};
struct mp_march {
    struct mp_conf_build *b;
    const struct mp_yaml *yaml;
    struct mp_conf_places *places;
    const pb_simple_file *file;
    pb_service **services; /* sorted by name */
    bool services_known;   /* each has a name */
    uint32_t buffer_bytes;
    struct mp_march_listener *listeners;
    size_t n_listeners;
    struct mp_march_overrides *overrides; /* of each route */
};

/* Reports what is wrong, in the file's own paths. */
void mp_march_check(struct mp_march *m);
/* By its name; NULL: none. Only while services_known. */
const pb_service *mp_march_service(const struct mp_march *m, const char *name);
bool mp_march_is_ours(const pb_service *s);
pb_cluster *mp_march_cluster(struct mp_march *m, const pb_service *s);
/* listen, admin, access_log (from_march_edge.c). False: reported. */
bool mp_march_listen(struct mp_march *m);
bool mp_march_addr(struct mp_march *m, const char *sub, const pb_value *v,
                   struct mp_conf_addr *ret);
Envoy__Config__Bootstrap__V3__Admin *mp_march_admin(struct mp_march *m);
bool mp_march_is_off(const pb_value *v);
/* NULL: none. */
const pb_value *mp_march_member(const Google__Protobuf__Struct *s, const char *key);
/* from_march_alog.c; NULL: off. */
pb_access_log *mp_march_access_log(struct mp_march *m);
pb_route_config *mp_march_routes(struct mp_march *m);
/* HttpConnectionManager, packed (from_march_http.c). */
pb_any *mp_march_manager(struct mp_march *m);
/* Of a listener that redirects to https. */
pb_any *mp_march_redirect_manager(struct mp_march *m);
pb_route_config *mp_march_redirect_routes(struct mp_march *m);

/* A filter of filters: by its key; NULL: none. */
const struct mp_conf_filter_type *mp_march_find_filter(const struct mp_march *m, const char *key);
bool mp_march_is_given(const Google__Protobuf__Struct *s, const char *key);

/* filters: of routes (from_march_filters.c): read once, then given to each route that is made of
 * it; made is its path. */
void mp_march_read_overrides(struct mp_march *m);
void mp_march_override(struct mp_march *m, size_t route, const char *made, pb_route *out);

/* limits: (from_march_limits.c). */
void mp_march_check_limits(struct mp_march *m);
void mp_march_listener_limits(struct mp_march *m, pb_listener *out);
pb_duration *mp_march_request_timeout(struct mp_march *m); /* the default; NULL: none */
void mp_march_overload(struct mp_march *m, pb_bootstrap *boot);
void mp_march_watchdogs(struct mp_march *m, pb_bootstrap *boot);

/* TLS (from_march_tls.c). */
void mp_march_check_certificates(struct mp_march *m);
bool mp_march_has_certificates(const struct mp_march *m);
void mp_march_check_service_tls(struct mp_march *m, const pb_service *s);
/* path: of the context in the messages, for errors. */
Envoy__Config__Core__V3__TransportSocket *mp_march_listener_tls(struct mp_march *m,
                                                                const char *path);
Envoy__Config__Core__V3__TransportSocket *mp_march_service_tls(struct mp_march *m,
                                                               const pb_service *s);

/* Making messages in the scratch arena. */
void *mp_march_new(struct mp_march *m, const ProtobufCMessageDescriptor *d);
#define MP_MARCH_NEW(m, type)     mp_march_new(m, &type##__descriptor)
#define MP_MARCH_LIST(m, list, n) mp_arena_zalloc((m)->b->scratch, ((n) + 1) * sizeof(*(list)))
char *mp_march_printf(struct mp_march *m, const char *fmt, ...) MP_PRINTF(2, 3);
pb_duration *mp_march_seconds(struct mp_march *m, int64_t seconds);
pb_u32 *mp_march_u32(struct mp_march *m, uint32_t v);
pb_bool *mp_march_bool(struct mp_march *m, bool v);
pb_any *mp_march_any(struct mp_march *m, const ProtobufCMessage *inner);
pb_address *mp_march_address(struct mp_march *m, const char *host, uint32_t port);
pb_address *mp_march_conf_address(struct mp_march *m, const struct mp_conf_addr *a);
