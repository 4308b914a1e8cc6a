/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Clusters at run time: what all workers share (by name, over generations) and what each worker has
 * of its own: hosts, rotation, pools. Nothing here is locked: shared parts are atomics, everything
 * else belongs to one worker.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/list.h"
#include "base/stat.h"
#include "core/host.h"
#include "core/lb.h"
#include "core/snapshot.h"
#include "core/worker.h"
#include "io/addr.h"

/* One address of a cluster, as configured or resolved. */
struct mp_endpoint {
    struct mp_host_shared *shared; /* a reference */
    struct mp_addr addr;
    struct mp_str hostname; /* as configured; for auto_host_rewrite */
    uint32_t weight, priority;
    uint32_t locality, locality_weight;
    bool configured_up;                  /* by its health_status */
    const struct mp_conf_endpoint *conf; /* in the cluster's part of the model */
};
/* Immutable, counted; the memory of the texts is its own. */
struct mp_endpoint_set {
    uint32_t refs; /* atomic */
    uint32_t n;
    struct mp_arena arena;
    struct mp_endpoint *v;
};
void mp_endpoint_set_ref(struct mp_endpoint_set *s);
void mp_endpoint_set_unref(struct mp_endpoint_set *s);

/* What a routing priority uses of its circuit breaker: atomics, of the whole process. */
struct mp_breaker_use {
    uint32_t connections; /* open upstream connections */
    uint32_t pending;     /* requests waiting for one */
    uint32_t requests;    /* leased to workers (MP_LEASE at a time) */
    uint32_t retries;     /* under way */
};
/* Process-wide state of a name. Made by the builder, kept to the end of the program. */
struct mp_cluster_shared {
    struct mp_str name;
    uint32_t id;
    struct mp_map hosts; /* by address: struct mp_host_shared; under the engine's shared_lock */
    struct mp_monitor *monitor; /* main thread: its checks and judge; NULL: none */
    bool has_hosts;             /* main thread: hosts have been published */
    uint64_t health_version;    /* atomic: changes with the health of any host; main writes */
    struct mp_breaker_use use[MP_PRIORITIES] __attribute__((aligned(MP_CACHE_LINE)));
};
#define MP_LEASE 16

struct mp_host_local {
    struct mp_cluster_local *cluster;
    struct mp_addr addr;
    struct mp_str text;            /* "ip:port" or path; heap */
    struct mp_str hostname;        /* heap */
    struct mp_host_shared *shared; /* a reference */
    uint32_t weight, priority;
    uint32_t locality, locality_weight;
    uint64_t effective; /* weight as it counts now */
    int64_t current;    /* smooth weighted round robin */
    uint32_t n_active;  /* requests that wait for it or are with it */
    bool configured_up;
    bool removed; /* freed when its last connection has gone */
    bool dead;
    uint32_t n_conns, n_connecting, n_pending;
    uint32_t n_unbound;  /* of the pending: no connect is being made for them */
    struct mp_list idle; /* mp_upconn.link, warmest first */
    struct mp_list busy;
    struct mp_list multi;      /* HTTP/2 connections, the newest first */
    uint32_t h2_streams_max;   /* that the host allowed a connection at last; 0: not known */
    struct mp_list connecting; /* oldest first */
    struct mp_list pending;    /* mp_upreq.link, oldest first */
    struct mp_task free_task;
};

struct mp_cluster_local {
    struct mp_core_worker *cw;
    struct mp_cluster *conf; /* entered; NULL: not configured now */
    struct mp_cluster_shared *shared;
    struct mp_stat_scope *scope;
    const struct mp_stat_block *stats;
    struct mp_host_local **hosts;
    uint32_t n_hosts;
    struct mp_lb lb;
    uint64_t generation;                           /* of the last snapshot that had the cluster */
    uint32_t n_unbound[MP_PRIORITIES], serve_next; /* of all hosts; pool.c */
    bool serving;
    uint32_t lease_free[MP_PRIORITIES]; /* leased and not in use */
};

/* Worker thread. */
struct mp_cluster_local *mp_cluster_local_get(struct mp_core_worker *cw, struct mp_cluster *conf);
/* The cluster is configured as conf (new or changed). */
void mp_cluster_local_update(struct mp_cluster_local *c, struct mp_cluster *conf);
/* The cluster is configured no more: waiting requests fail, idle connections close. */
void mp_cluster_local_remove(struct mp_cluster_local *c);
/* New set of hosts; hosts that stay keep their connections. */
void mp_cluster_local_set_endpoints(struct mp_cluster_local *c, const struct mp_endpoint_set *set);
/* At the end of the program. */
void mp_cluster_local_free(struct mp_cluster_local *c);
/* NULL: no healthy host. */
struct mp_host_local *mp_cluster_pick(struct mp_cluster_local *c);
/* For a health check: a host by itself, in a set of its own; mp_host_remove when done. */
struct mp_host_local *mp_host_local_new(struct mp_cluster_local *c, const struct mp_endpoint *e);
void mp_host_local_remove(struct mp_host_local *h);
/* Frees the host when it is removed and unused. */
void mp_host_maybe_free(struct mp_host_local *h);

/* breaker.c. One more; false: the limit is reached. */
bool mp_cluster_take_request(struct mp_cluster_local *c, unsigned priority);
void mp_cluster_give_request(struct mp_cluster_local *c, unsigned priority);
bool mp_cluster_take_retry(struct mp_cluster_local *c, unsigned priority);
void mp_cluster_give_retry(struct mp_cluster_local *c, unsigned priority);
bool mp_breaker_take(uint32_t *counter, uint32_t max);
/* Main thread, before stats are read: sets the gauges. */
void mp_breaker_show(const struct mp_cluster *c, const struct mp_stat_block *st);

/* pool.c */
/* The host goes: what waits for it goes to others of the cluster, or fails when there are none. */
void mp_host_move_pending(struct mp_host_local *h);
/* Closes idle connections and those that are still being made. */
void mp_host_close_unused(struct mp_host_local *h);
void mp_host_close_all(struct mp_host_local *h);
