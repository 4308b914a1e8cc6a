/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* One generation of compiled configuration: a root over shared immutable objects (conf/object.h).
 */
#pragma once
#include <stdint.h>
#include "base/diag.h"
#include "base/stat.h"
#include "conf/model.h"
#include "conf/object.h"
#include "core/filter.h"
#include "core/route.h"
#include "io/addr.h"

struct mp_alog;
struct mp_engine;
struct mp_sources;

/* A compiled HTTP connection manager. Pinned by every stream that runs under it. */
struct mp_http {
    struct mp_obj obj; /* first */
    const struct mp_conf_http *conf;
    struct mp_conf_part *part;     /* a reference: conf is in it */
    struct mp_route_table *routes; /* a reference */
    struct mp_stat_scope *stats;
    const struct mp_conf_http_filter *filters; /* the model's */
    uint16_t n_filters;
    uint32_t filter_cells; /* bytes of all instances of one stream */
    struct mp_alog **alogs;
    uint32_t n_alogs;
    uint32_t buffer_limit;
    struct mp_arena arena; /* of compiled parts */
};

/* A configured cluster. Per-worker state (struct mp_cluster_local) outlives it. */
struct mp_cluster {
    struct mp_obj obj; /* first */
    const struct mp_conf_cluster *conf;
    struct mp_conf_part *part; /* a reference: conf is in it */
    uint32_t id;               /* of the name, stable over generations */
    struct mp_stat_scope *stats;
    struct mp_cluster_shared *shared;
    struct mp_alog *check_log, *outlier_log; /* of changes of health; NULL: none */
    struct mp_arena arena;                   /* of the logs */
    bool published;                          /* main thread: has been in a running snapshot */
    struct mp_tls_ctx *tls;                  /* a reference; NULL: none */
    struct mp_endpoint_set *endpoints; /* of a STATIC cluster; NULL: the resolver brings them */
};

/* Process-wide state of a listener's name; kept to the end of the program. */
struct mp_listener_shared {
    struct mp_str name;
    uint32_t connections;       /* atomic */
    uint64_t accept_full_ns;    /* atomic: the bucket of the rate, core/admit.h */
    struct mp_sources *sources; /* NULL: never limited by source */
};

struct mp_tls_ctx;
/* A filter chain: what one kind of a listener's connections gets. */
struct mp_chain_conf {
    const struct mp_conf_chain *conf; /* NULL: the one chain of a listener without conditions */
    struct mp_http *http;             /* a reference */
    struct mp_tls_ctx *tls;           /* a reference; NULL: none */
};
struct mp_listener_conf {
    struct mp_obj obj; /* first */
    const struct mp_conf_listener *conf;
    struct mp_conf_part *part; /* a reference: conf is in it */
    struct mp_http *http;      /* of the first chain */
    struct mp_chain_conf *chains;
    uint32_t n_chains; /* >= 1 */
    bool plain;        /* one chain without TLS, and nothing comes before it */
    struct mp_cidr *proxy_from;
    struct mp_stat_scope *stats;
    struct mp_listener_shared *shared;
};

#define MP_ADMINS_MAX 2

struct mp_snapshot {
    uint32_t refs; /* atomic */
    uint64_t generation;
    struct mp_conf *conf; /* the model without its parts, which the objects keep */
    struct mp_listener_conf **listeners;
    uint32_t n_listeners;
    struct mp_cluster **clusters;
    uint32_t n_clusters;
    struct mp_listener_conf *admins[MP_ADMINS_MAX]; /* the admin server's own, and its metrics */
    uint32_t n_admins;
    void *admin_access; /* what mp_engine_opts.admin_prepare made; in conf's arena */
};
void mp_snapshot_ref(struct mp_snapshot *s);
void mp_snapshot_unref(struct mp_snapshot *s);
