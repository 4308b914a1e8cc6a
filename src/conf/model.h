/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The configuration as plain structs: what from_envoy makes of Envoy v3 messages, with every
 * default filled in and every reference resolved to an index or a name. Nothing here is compiled
 * (regexes, TLS contexts, tables): that is core/build_*.c. Text is NUL-terminated.
 *
 * Memory: each listener, cluster and route table lies in a counted part of its own, so that what is
 * compiled from an unchanged one keeps only that part of an old model; the rest belongs to the
 * arena of struct mp_conf.
 *
 * Times are milliseconds, sizes bytes. "0: none" means that the timeout or limit is off.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/str.h"
#include "conf/object.h"

struct mp_conf_filter_type; /* conf/registry.h */

/* The message an object came from: for /config_dump and for finding out what changed. */
struct mp_conf_source {
    const char *type;     /* "envoy.config.cluster.v3.Cluster" */
    struct mp_str packed; /* serialised message */
    uint64_t hash;        /* FNV of packed */
};

/* Memory of one listener, cluster or route table: freed with the last reference, from any thread.
 */
struct mp_conf_part {
    struct mp_obj obj; /* first; without slots */
    struct mp_arena arena;
};
struct mp_conf_part *mp_conf_part_new(void);
static inline void mp_conf_part_ref(struct mp_conf_part *p)
{
    mp_obj_ref(&p->obj);
}
/* NULL is harmless. */
static inline void mp_conf_part_unref(struct mp_conf_part *p)
{
    mp_obj_unref(p ? &p->obj : NULL);
}
/* How many there are in the process, and their bytes: what running configurations and open streams
 * keep. Any thread. */
struct mp_conf_parts {
    uint64_t n, bytes;
};
struct mp_conf_parts mp_conf_parts_alive(void);

/* An address as configured; names are allowed only where a resolver follows. */
struct mp_conf_addr {
    struct mp_str host; /* IP, host name, or path of a Unix socket ("@": abstract) */
    uint16_t port;
    bool is_unix;
    uint32_t unix_mode;
};

/* ---- header manipulation ---- */
enum mp_conf_append {
    MP_APPEND_IF_EXISTS_OR_ADD,
    MP_ADD_IF_ABSENT,
    MP_OVERWRITE_OR_ADD,
    MP_OVERWRITE_IF_EXISTS
};
struct mp_conf_header_add {
    struct mp_str name;  /* lower case, checked */
    struct mp_str value; /* may hold %OPERATORS%; parsed and checked by core/subst */
    enum mp_conf_append action;
    bool keep_empty;
};
struct mp_conf_header_ops {
    struct mp_conf_header_add *req_add, *resp_add;
    uint32_t n_req_add, n_resp_add;
    struct mp_str *req_remove, *resp_remove; /* lower case */
    uint32_t n_req_remove, n_resp_remove;
};

/* Configuration of one filter on a virtual host or route, overriding the chain's. */
struct mp_conf_filter_override {
    struct mp_str name; /* of the filter in the chain */
    bool disabled;
    const struct mp_conf_filter_type *type; /* NULL when only disabled */
    void *parsed;
};

/* ---- matching ---- */
enum mp_conf_string_match {
    MP_MATCH_EXACT,
    MP_MATCH_PREFIX,
    MP_MATCH_SUFFIX,
    MP_MATCH_CONTAINS,
    MP_MATCH_REGEX,
    MP_MATCH_PRESENT,
    MP_MATCH_RANGE
};
struct mp_conf_header_match { /* also query parameters */
    struct mp_str name;
    enum mp_conf_string_match kind;
    struct mp_str value;
    int64_t range_from, range_to; /* [from, to) */
    bool ignore_case, invert, treat_missing_as_empty;
    bool present_value; /* for MP_MATCH_PRESENT */
};
enum mp_conf_path_match {
    MP_PATH_PREFIX,
    MP_PATH_EXACT,
    MP_PATH_SEPARATED_PREFIX,
    MP_PATH_REGEX,
    MP_PATH_CONNECT
};

/* ---- routes ---- */
enum mp_conf_route_action {
    MP_ROUTE_CLUSTER,
    MP_ROUTE_WEIGHTED,
    MP_ROUTE_REDIRECT,
    MP_ROUTE_DIRECT,
    MP_ROUTE_NONE
};
/* A protocol that requests may change to (Upgrade, extended CONNECT), or CONNECT itself. */
struct mp_conf_upgrade {
    struct mp_str type; /* "websocket", "CONNECT"; any case */
    bool is_connect;
    bool enabled;
    bool terminate; /* CONNECT ends here: the cluster gets the tunnel's bytes, not the request */
};
struct mp_conf_weighted {
    struct mp_str cluster;
    uint32_t weight;
    struct mp_conf_header_ops headers;
};
enum { /* what may be tried again */
       MP_RETRY_5XX = 1 << 0,
       MP_RETRY_GATEWAY_ERROR = 1 << 1,
       MP_RETRY_RESET = 1 << 2,
       MP_RETRY_CONNECT_FAILURE = 1 << 3,
       MP_RETRY_REFUSED_STREAM = 1 << 4,
       MP_RETRY_RETRIABLE_4XX = 1 << 5,
       MP_RETRY_STATUS_CODES = 1 << 6,
       MP_RETRY_HEADERS = 1 << 7,
       MP_RETRY_RATELIMITED = 1 << 8,
       /* by grpc-status in the response's head */
       MP_RETRY_CANCELLED = 1 << 9,
       MP_RETRY_DEADLINE_EXCEEDED = 1 << 10,
       MP_RETRY_INTERNAL = 1 << 11,
       MP_RETRY_RESOURCE_EXHAUSTED = 1 << 12,
       MP_RETRY_UNAVAILABLE = 1 << 13
};
struct mp_conf_reset_header {
    struct mp_str name; /* lower case */
    bool unix_time;     /* else seconds from now */
};
struct mp_conf_retry {
    uint32_t on; /* MP_RETRY_* */
    uint32_t num_retries;
    uint64_t per_try_timeout_ms, per_try_idle_ms; /* 0: none */
    uint64_t base_ms, max_ms;                     /* of the back-off; default 25 and 250 */
    uint16_t *codes;
    uint32_t n_codes;
    struct mp_conf_header_match *headers, *req_headers;
    uint32_t n_headers, n_req_headers;
    bool other_hosts; /* previous_hosts */
    uint32_t host_attempts;
    struct mp_conf_reset_header *reset_headers;
    uint32_t n_reset_headers;
    uint64_t rate_limited_max_ms;
};
/* "5xx,reset"; false with *ret_bad set to the word that means nothing (empty: all do). grpc: words
 * of retry_on that tell of grpc-status only. */
bool mp_conf_retry_on(struct mp_str words, uint32_t *ret, struct mp_str *ret_bad);
struct mp_conf_route {
    struct mp_str name; /* may be empty */
    enum mp_conf_path_match path_kind;
    struct mp_str path;
    bool ignore_case; /* of the path */
    bool grpc_only;
    struct mp_conf_header_match *headers, *queries;
    uint32_t n_headers, n_queries;
    uint32_t runtime_fraction_millionths; /* 1000000: always */

    enum mp_conf_route_action action;
    /* CLUSTER, WEIGHTED */
    struct mp_str cluster;
    struct mp_conf_weighted *weighted;
    uint32_t n_weighted, weight_total;
    uint64_t timeout_ms;      /* whole response; default 15000; 0: none */
    uint64_t idle_timeout_ms; /* stream idle; UINT64_MAX: the manager's */
    /* The deadline of gRPC clients (grpc-timeout) counts instead of timeout_ms; 0: as it is, or
     * none. */
    bool limits_grpc;
    uint64_t max_grpc_timeout_ms, grpc_timeout_offset_ms;
    /* max_stream_duration of this route. UINT64_MAX: not given; 0: none, whatever the manager says,
     * or the client's deadline as it is. */
    bool limits_duration;
    uint64_t max_stream_duration_ms, grpc_timeout_header_max_ms, grpc_timeout_header_offset_ms;
    const struct mp_conf_retry *retry;  /* NULL: none */
    bool high_priority;                 /* of the circuit breakers */
    bool count_attempts, tell_attempts; /* x-envoy-attempt-count up- and downstream */
    uint32_t retry_buffer_max;          /* body kept for a retry; UINT32_MAX: the listener's */
    struct mp_conf_upgrade *upgrades;   /* those named here; for others the manager's count */
    uint32_t n_upgrades;
    struct mp_str prefix_rewrite; /* empty: none */
    struct mp_str host_rewrite;   /* empty: none */
    bool auto_host_rewrite;       /* host of the upstream address (DNS clusters) */
    struct mp_str regex_rewrite, regex_substitution;
    /* REDIRECT */
    struct mp_str redirect_host, redirect_path, redirect_prefix, redirect_scheme;
    uint32_t redirect_port;
    bool redirect_https, redirect_strip_query;
    uint16_t redirect_status;
    /* DIRECT */
    uint16_t direct_status;
    struct mp_str direct_body;

    struct mp_conf_header_ops ops;
    struct mp_conf_filter_override *overrides;
    uint32_t n_overrides;
    size_t line; /* in the file; 0: unknown */
};
struct mp_conf_vhost {
    struct mp_str name;
    struct mp_str *
        domains; /* lower case; "*", "*.suffix", "prefix.*", exact; no port or with port as given */
    uint32_t n_domains;
    struct mp_conf_route *routes;
    uint32_t n_routes;
    struct mp_conf_header_ops ops;
    struct mp_conf_filter_override *overrides;
    uint32_t n_overrides;
    bool require_tls_all, require_tls_external;
};
struct mp_conf_routes {
    struct mp_conf_part *part; /* kept by those of the listeners that have the table */
    struct mp_conf_source source;
    struct mp_str name;
    struct mp_conf_vhost *vhosts;
    uint32_t n_vhosts;
    struct mp_conf_header_ops ops;
    bool ops_most_specific_wins;
    bool ignore_port_in_host;
    uint32_t max_direct_body; /* default 4096 */
};

/* ---- access log ---- */
enum mp_conf_alog_kind { MP_ALOG_STDOUT, MP_ALOG_STDERR, MP_ALOG_FILE, MP_ALOG_SYSLOG };
/* Which requests are logged. */
enum mp_conf_alog_test {
    MP_ALOG_STATUS,
    MP_ALOG_DURATION,
    MP_ALOG_NOT_HEALTH_CHECK,
    MP_ALOG_SAMPLE,
    MP_ALOG_AND,
    MP_ALOG_OR,
    MP_ALOG_HEADER,
    MP_ALOG_FLAGS,
    MP_ALOG_GRPC_STATUS
};
enum mp_conf_compare { MP_COMPARE_EQ, MP_COMPARE_GE, MP_COMPARE_LE };
struct mp_conf_alog_filter {
    enum mp_conf_alog_test test;
    enum mp_conf_compare compare;     /* STATUS, DURATION */
    uint32_t value;                   /* of them; of SAMPLE: millionths; of GRPC_STATUS: bits */
    bool invert;                      /* GRPC_STATUS */
    bool independent;                 /* SAMPLE: not by the request's id */
    struct mp_conf_alog_filter *list; /* AND, OR */
    struct mp_conf_header_match *header;
    struct mp_str *flags; /* short names; none: any */
    uint32_t n;           /* of list, flags */
};
struct mp_conf_json_key {
    struct mp_str key, format;
};
struct mp_conf_alog {
    enum mp_conf_alog_kind kind;
    struct mp_str path;                 /* of SYSLOG: "unix:/dev/log", "udp:127.0.0.1:514" */
    uint8_t facility;                   /* SYSLOG */
    struct mp_str app_name;             /* SYSLOG */
    struct mp_conf_alog_filter *filter; /* NULL: all requests */
    bool default_json;                  /* the eight keys of the default format */
    struct mp_str text;                 /* text format, line ends included; else empty */
    bool omit_empty; /* an absent value gives nothing instead of "-", a JSON key with it is left out
                      */
    struct mp_conf_json_key *json;
    uint32_t n_json;
};

/* ---- HTTP connection manager ---- */
struct mp_conf_http_filter {
    struct mp_str name;
    const struct mp_conf_filter_type *type;
    void *parsed;
    bool disabled;
};
enum mp_conf_codec { MP_CODEC_AUTO, MP_CODEC_HTTP1, MP_CODEC_HTTP2 };
/* Request headers with '_' in their name: Proxy_User passes for Proxy-User at some applications. */
enum mp_conf_underscores { MP_UNDERSCORE_ALLOW, MP_UNDERSCORE_REJECT, MP_UNDERSCORE_DROP };
enum mp_conf_server_header {
    MP_SERVER_OVERWRITE,
    MP_SERVER_APPEND_IF_ABSENT,
    MP_SERVER_PASS_THROUGH
};
/* HTTP/2 of one side; 0: the default (codec/h2_session.h). */
struct mp_conf_http2 {
    bool allow_connect;
    uint32_t table_size, max_concurrent_streams, stream_window, conn_window;
    uint32_t outbound_control_frames_max, empty_frames_max, priority_frames_per_stream,
        window_updates_per_data_frame;
    bool table_size_set;
    /* PING after this long, or when the connection was idle for so long; 0: none */
    uint64_t ka_interval_ms, ka_idle_ms, ka_timeout_ms;
};
/* x-forwarded-client-cert. */
enum mp_conf_xfcc {
    MP_XFCC_SANITIZE,
    MP_XFCC_FORWARD_ONLY,
    MP_XFCC_APPEND,
    MP_XFCC_SET,
    MP_XFCC_ALWAYS_FORWARD
};
struct mp_conf_http {
    struct mp_str stat_prefix;
    enum mp_conf_xfcc xfcc;
    bool xfcc_subject, xfcc_cert, xfcc_chain, xfcc_dns, xfcc_uri;
    enum mp_conf_codec codec;
    struct mp_conf_routes *routes;
    struct mp_conf_http_filter *filters; /* the last one is terminal */
    uint32_t n_filters;
    struct mp_conf_alog *alogs;
    uint32_t n_alogs;

    struct mp_str server_name; /* default "marchproxy" */
    enum mp_conf_server_header server_header;
    bool use_remote_address; /* default false as Envoy; march.yaml: true */
    uint32_t xff_trusted_hops;
    bool skip_xff_append;
    bool generate_request_id; /* default true */
    bool preserve_request_id; /* keep x-request-id of outside clients; default false */
    bool always_set_request_id_in_response;
    struct mp_str via;
    bool suppress_envoy_headers; /* from the router filter */
    bool strip_any_port, strip_trailing_dot;

    struct mp_conf_upgrade *upgrades;
    uint32_t n_upgrades;

    /* path policy, codec/uri.h */
    bool normalize_path, merge_slashes;
    uint8_t escaped_slashes; /* enum mp_escaped_slashes */

    /* times */
    uint64_t idle_timeout_ms;            /* connection without a stream; default 3600000 */
    uint64_t stream_idle_timeout_ms;     /* default 300000 */
    uint64_t request_timeout_ms;         /* whole request received; default 0 (none) */
    uint64_t request_headers_timeout_ms; /* default 0 in an Envoy file, 10000 in march.yaml */
    uint64_t max_connection_duration_ms; /* default 0 */
    uint64_t max_stream_duration_ms;     /* default 0 */
    uint64_t drain_timeout_ms;           /* default 5000 */
    uint64_t delayed_close_timeout_ms;   /* default 1000 */
    /* limits */
    uint32_t head_bytes_max;              /* default 60 KiB */
    uint16_t fields_max;                  /* default 100 */
    uint32_t requests_per_connection;     /* 0: no limit */
    uint64_t body_bytes_max;              /* 0: no limit */
    enum mp_conf_underscores underscores; /* default allow; reject: 400 */
    struct mp_conf_http2 http2;
    /* http1 */
    bool accept_http10; /* default true in march.yaml, false in an Envoy file */
    struct mp_str default_host_http10;
    bool enable_trailers;
    bool allow_absolute_url;   /* default true */
    bool allow_chunked_length; /* must be false: refused otherwise */
};

/* ---- TLS ---- */
/* Content that was written in the file, or read from another one when the configuration was. */
struct mp_conf_text {
    struct mp_str bytes; /* n 0: none */
    struct mp_str from;  /* path; empty: inline */
};
struct mp_conf_tls_cert {
    struct mp_conf_text chain, key, password, ocsp;
    struct mp_str path; /* of the message, for errors */
    size_t line;
};
enum mp_conf_san_type { MP_SAN_ANY, MP_SAN_EMAIL, MP_SAN_DNS, MP_SAN_URI, MP_SAN_IP };
struct mp_conf_san {
    enum mp_conf_san_type type;
    enum mp_conf_string_match kind;
    struct mp_str value;
    bool ignore_case;
};
enum mp_conf_ocsp { MP_OCSP_LENIENT, MP_OCSP_STRICT, MP_OCSP_MUST };
struct mp_conf_tls {
    bool server;
    uint8_t version_min, version_max;          /* 12, 13; 0: default */
    struct mp_str ciphers, curves, signatures; /* ':' between; empty: default */
    struct mp_conf_tls_cert *certs;
    uint32_t n_certs;
    /* of the peer's certificate */
    struct mp_conf_text ca, crl;
    bool system_roots, crl_leaf_only, allow_expired, accept_untrusted;
    uint32_t depth_max;    /* 0: OpenSSL's */
    uint8_t (*hashes)[32]; /* SHA-256 of the certificate */
    uint8_t (*keys)[32];   /* SHA-256 of the public key (SPKI) */
    uint32_t n_hashes, n_keys;
    struct mp_conf_san *sans;
    uint32_t n_sans;
    struct mp_str alpn; /* as on the wire: length, name, ... */
    struct mp_str key_log;
    /* server */
    bool require_client_cert, ask_client_cert, require_sni, no_tickets;
    struct mp_conf_text *ticket_keys; /* 80 bytes each; none: keys of the process, rotated */
    uint32_t n_ticket_keys;
    uint32_t session_timeout_s;
    enum mp_conf_ocsp ocsp;
    /* client */
    struct mp_str sni;
    uint32_t sessions_max; /* kept for resumption; default 1 */
    struct mp_str path;    /* of the message, for errors */
    size_t line;
    uint64_t hash; /* of the message and of all content that was read */
};

/* ---- listeners ---- */
/* A whole number given to setsockopt on the listening socket. */
enum mp_conf_sock_state { MP_SOCK_BEFORE_BIND, MP_SOCK_BOUND, MP_SOCK_LISTENING };
struct mp_conf_sock_option {
    int32_t level, name, value;
    uint8_t state; /* enum mp_conf_sock_state */
};
#define MP_CONF_SOCK_OPTIONS_MAX 8
#define MP_ACCEPT_RATE_MAX       1000000
/* New connections; 0: no limit. */
struct mp_conf_accept_limits {
    uint32_t source_connections; /* open ones of one source */
    uint32_t rate, burst;        /* a second */
    uint32_t source_rate, source_burst;
};
enum mp_conf_transport { MP_TRANSPORT_ANY, MP_TRANSPORT_RAW, MP_TRANSPORT_TLS };
/* What connections of a listener have in common; the first chain whose conditions hold best. */
struct mp_conf_chain {
    struct mp_str name;               /* of the chain; empty: none */
    enum mp_conf_transport transport; /* that it is for */
    struct mp_str *server_names;      /* lower case; "*.suffix" */
    uint32_t n_server_names;          /* 0: every one */
    struct mp_str *alpn;              /* one of which the client offers */
    uint32_t n_alpn;                  /* 0: whatever it offers */
    struct mp_conf_tls *tls;          /* NULL: none */
    uint64_t connect_timeout_ms;      /* until the handshake is done; 0: none */
    struct mp_conf_http *http;
};
struct mp_conf_range {
    struct mp_str address;
    uint8_t bits;
};
struct mp_conf_listener {
    struct mp_conf_part *part; /* where all of it is */
    struct mp_conf_source source;
    struct mp_str name;
    struct mp_conf_addr *addrs; /* first: address; others: additional_addresses */
    uint32_t n_addrs;
    struct mp_str stat_prefix; /* default: the address with '_' for ':' and '.' kept */
    uint32_t backlog;          /* 0: 4096 */
    bool reuse_port;           /* one socket for each worker; default true */
    bool share_port;           /* other processes may listen there too; default false */
    struct mp_conf_sock_option options[MP_CONF_SOCK_OPTIONS_MAX];
    uint32_t n_options;
    bool freebind;
    bool ip6_only;
    uint32_t buffer_limit;    /* per connection; default 1 MiB as Envoy, 32 KiB in march.yaml */
    uint32_t connections_max; /* 0: no limit of its own */
    struct mp_conf_accept_limits accept;
    struct mp_conf_http *http; /* of the first chain */
    struct mp_conf_chain *chains;
    uint32_t n_chains;
    bool inspect;                     /* the ClientHello is looked at before a chain is chosen */
    bool proxy_protocol;              /* connections begin with a PROXY header */
    bool proxy_optional;              /* or not */
    struct mp_conf_range *proxy_from; /* only there it is believed, and expected */
    uint32_t n_proxy_from;            /* 0: from everywhere */
    uint64_t filters_timeout_ms;      /* for PROXY header and ClientHello; default 15000 */
    uint32_t handshake_failures_max;  /* of one address in ten seconds; 0: no limit */
    size_t line;
};

/* ---- clusters ---- */
enum mp_conf_discovery { MP_CLUSTER_STATIC, MP_CLUSTER_STRICT_DNS, MP_CLUSTER_LOGICAL_DNS };
enum mp_conf_lb { MP_LB_ROUND_ROBIN, MP_LB_LEAST_REQUEST, MP_LB_RANDOM };
struct mp_conf_endpoint {
    struct mp_conf_addr addr;
    struct mp_str hostname;
    uint32_t weight;          /* >= 1; default 1 */
    uint32_t priority;        /* 0 is best */
    uint32_t locality;        /* index of its group in the file */
    uint32_t locality_weight; /* 0: gets no traffic where localities are weighted */
    bool draining, unhealthy; /* configured health_status */
    bool unchecked;           /* no active health check */
    uint16_t check_port;      /* 0: that of addr */
    struct mp_str check_host; /* empty: the check's own */
};
struct mp_conf_status_range {
    uint16_t from, to; /* [from, to) */
};
struct mp_conf_health_check {
    bool is_http; /* else TCP */
    uint64_t timeout_ms, interval_ms, initial_jitter_ms, interval_jitter_ms;
    uint32_t jitter_percent;
    uint32_t unhealthy_threshold, healthy_threshold;
    bool reuse_connection;
    uint64_t no_traffic_ms, no_traffic_healthy_ms, unhealthy_ms, unhealthy_edge_ms, healthy_edge_ms;
    struct mp_str event_log; /* path; empty: none */
    bool always_log_failures, always_log_success;
    struct mp_str host, path, method;
    struct mp_conf_header_ops ops; /* of requests; plain values */
    struct mp_conf_status_range *expected, *retriable;
    uint32_t n_expected, n_retriable;
    struct mp_str send, *receive; /* bytes */
    uint32_t n_receive;
};
struct mp_conf_outlier {
    uint32_t consecutive_5xx, consecutive_gateway, consecutive_local; /* 0: off */
    uint32_t enforce_5xx, enforce_gateway, enforce_local;             /* percent */
    uint64_t interval_ms, base_ms, max_ms, jitter_ms;
    struct mp_str event_log; /* path, the same for all clusters; empty: none */
    uint32_t ejection_percent_max;
    bool split_local;
    bool check_unejects;
    uint32_t enforce_success, enforce_success_local, success_hosts_min, success_volume_min,
        success_stdev_factor; /* in thousandths */
    uint32_t enforce_failures, enforce_failures_local, failure_threshold, failure_hosts_min,
        failure_volume_min;
};
enum { MP_PRIORITY_DEFAULT, MP_PRIORITY_HIGH, MP_PRIORITIES };
/* Circuit breaker of one routing priority: limits of the whole process. */
struct mp_conf_breaker {
    uint32_t connections_max, pending_max, requests_max; /* default 1024 */
    uint32_t retries_max;                                /* default 3 */
    bool track_remaining;
    bool retry_budget;
    double budget_percent;
    uint32_t budget_min;
};
struct mp_conf_cluster {
    struct mp_conf_part *part; /* where all of it is */
    struct mp_conf_source source;
    struct mp_str name, alt_stat_name;
    enum mp_conf_discovery discovery;
    enum mp_conf_lb lb;
    uint8_t dns_family;      /* enum mp_dns_family */
    uint64_t dns_refresh_ms; /* default 5000 */
    bool respect_dns_ttl;
    struct mp_str dns_servers; /* empty: system */
    struct mp_conf_endpoint *endpoints;
    uint32_t n_endpoints;
    uint64_t connect_timeout_ms; /* default 5000 */
    uint64_t idle_timeout_ms;    /* of pooled connections; default 3600000 */
    uint64_t max_connection_duration_ms;
    uint32_t requests_per_connection; /* 0: no limit */
    struct mp_conf_breaker breakers[MP_PRIORITIES];
    uint32_t buffer_limit; /* per connection */
    bool http2;            /* HTTP/1 otherwise */
    struct mp_conf_http2 http2_options;
    uint32_t ka_idle_s, ka_interval_s, ka_probes; /* TCP keepalive; all 0: off */
    struct mp_conf_tls *tls;                      /* NULL: none */
    uint8_t proxy_protocol;                       /* version of the header sent first; 0: none */
    struct mp_conf_addr source_addr;              /* host empty: none */
    struct mp_conf_health_check *check;           /* NULL: none */
    struct mp_conf_outlier *outlier;              /* NULL: none */
    double panic_percent;                         /* default 50 */
    uint32_t overprovisioning;                    /* percent; default 140 */
    bool locality_weighted;
    uint32_t choice_count;  /* LEAST_REQUEST; default 2 */
    double active_bias;     /* LEAST_REQUEST; default 1 */
    uint64_t slow_start_ms; /* 0: off */
    double slow_aggression, slow_min_percent;
    uint16_t resp_fields_max;     /* default 100 */
    uint32_t resp_head_bytes_max; /* default 60 KiB */
    size_t line;
};

/* ---- overload ---- */
enum mp_conf_resource { MP_RESOURCE_MEMORY, MP_RESOURCE_FDS, MP_RESOURCES };
enum mp_conf_overload_action {
    MP_OVERLOAD_NO_KEEPALIVE,
    MP_OVERLOAD_STOP_REQUESTS,
    MP_OVERLOAD_REJECT_CONNECTIONS,
    MP_OVERLOAD_STOP_ACCEPTING,
    MP_OVERLOAD_RESET_STREAMS,
    MP_OVERLOAD_ACTIONS
};
struct mp_conf_trigger {
    enum mp_conf_resource resource;
    double from, full; /* pressure at which the action begins and is complete; equal: at once */
};
struct mp_conf_overload {
    struct mp_str monitor[MP_RESOURCES]; /* name of the resource monitor; empty: not watched */
    uint64_t max[MP_RESOURCES];          /* bytes, descriptors; 0: what the system allows */
    struct mp_conf_trigger triggers[MP_OVERLOAD_ACTIONS][MP_RESOURCES];
    uint32_t n_triggers[MP_OVERLOAD_ACTIONS]; /* 0: no such action */
    uint64_t refresh_ms;                      /* default 1000 */
    uint8_t stream_bytes_log2;                /* lighter streams are never reset; default 14 */
};

/* Times after which a thread that does not move is counted, and the process ended; 0: never. */
struct mp_conf_watchdog {
    uint64_t miss_ms, megamiss_ms, kill_ms, multikill_ms, kill_jitter_ms;
    double multikill_share; /* of the threads: 0 to 1 */
};

/* ---- the kernel tier ---- */
enum mp_conf_xdp_mode { MP_XDP_NATIVE, MP_XDP_SKB, MP_XDP_HW, MP_XDP_TCX };
enum mp_conf_cookies { MP_COOKIES_OFF, MP_COOKIES_FLOOD, MP_COOKIES_ALWAYS };
struct mp_conf_prefix { /* IPv4 in the first 4 bytes; bits behind the prefix are 0 */
    bool ip6;
    uint8_t bits;
    uint8_t addr[16];
};
/* "10.0.0.0/8", "::1"; text is NUL-terminated. False: it is none. */
bool mp_conf_prefix_parse(const char *text, struct mp_conf_prefix *ret);
struct mp_conf_xdp {
    struct mp_str *interfaces;
    uint32_t n_interfaces;
    enum mp_conf_xdp_mode mode;
    bool mode_given;
    uint64_t window_ns, max_packets;
    bool rate_enabled;
    uint64_t syn_window_ns, syn_max;
    bool syn_enabled;
    enum mp_conf_cookies cookies;
    uint32_t flood_syns;
    struct mp_conf_prefix *allow, *deny;
    uint32_t n_allow, n_deny;
    uint64_t ban_ms, ban_window_ms;
    uint32_t ban_after[8]; /* by enum mp_guard_event (core/guard_ops.h); 0: never */
    bool keep_on_exit;
    struct mp_str pin_path;
    struct mp_str state_file; /* empty: none */
};

/* ---- the whole ---- */
struct mp_conf_admin {
    bool present;
    struct mp_conf_addr addr;
    struct mp_conf_part *part;    /* where the logs are; NULL: no admin */
    struct mp_conf_source source; /* the Admin message */
    struct mp_conf_alog *alogs;
    uint32_t n_alogs;
    bool has_metrics;
    struct mp_conf_addr metrics;
    struct mp_str token_file, read_token_file; /* empty: none */
    uint32_t series_max;                       /* 0: all */
};
/* A key of a runtime layer, for /runtime. */
struct mp_conf_runtime {
    struct mp_str key, value;
    uint32_t layer;
};
struct mp_conf {
    struct mp_arena arena;
    struct mp_conf_source source; /* the bootstrap */
    struct mp_str file;
    struct mp_str user, group; /* of the process; empty: as it is */
    struct mp_str node_id, node_cluster;
    struct mp_str locality_region, locality_zone, locality_sub_zone;
    struct mp_conf_admin admin;
    struct mp_conf_listener **listeners; /* one reference each */
    uint32_t n_listeners;
    struct mp_conf_cluster **clusters; /* one reference each */
    uint32_t n_clusters;
    struct mp_str *layers; /* names of runtime layers */
    uint32_t n_layers;
    struct mp_conf_runtime *runtime; /* in the order of the layers */
    uint32_t n_runtime, cap_runtime;
    struct mp_conf_overload overload;
    struct mp_conf_xdp *xdp; /* NULL: not configured */
    struct mp_conf_watchdog watchdog_main, watchdog_workers;
    struct mp_str outlier_log;           /* path; empty: none */
    uint64_t stats_flush_interval_ms;    /* default 5000 */
    uint32_t downstream_connections_max; /* whole process; default 50000, lowered to what
                                            RLIMIT_NOFILE allows */
};
/* Gives back the references to the parts and forgets listeners and clusters: whoever compiled them
 * keeps what is needed. */
void mp_conf_drop_parts(struct mp_conf *c);
/* Heap; frees the arena, drops the parts. Returns NULL. */
struct mp_conf *mp_conf_free(struct mp_conf *c);
