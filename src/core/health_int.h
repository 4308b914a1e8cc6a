/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Private to core/health*.c and core/outlier*.c. Everything belongs to the main thread. */
#pragma once
#include "base/arena.h"
#include "base/list.h"
#include "base/timerwheel.h"
#include "core/cluster.h"
#include "core/health.h"
#include "core/host.h"
#include "core/outlier.h"
#include "core/upstream.h"

struct mp_health {
    struct mp_engine *engine;
    struct mp_list monitors;
    struct mp_stat_store *store; /* what connections of checks count: shown nowhere */
    struct mp_stat_scope *scope;
};

/* A cluster with checks or outlier detection. */
struct mp_monitor {
    struct mp_list link;
    struct mp_health *health;
    struct mp_cluster *cluster;  /* a reference */
    struct mp_endpoint_set *set; /* a reference */
    bool keep;
    /* checks: connections of their own, so that no limit and no count of traffic knows them */
    struct mp_cluster_shared shared;
    struct mp_cluster_local pool;
    struct mp_check **checks;
    uint32_t n_checks;
    /* outlier detection */
    struct mp_timer sweep;
    uint64_t sweep_ms; /* when the interval ends */
    uint32_t ejected;
    struct mp_task free_task;
};

enum mp_check_result {
    MP_CHECK_PASSED,
    MP_CHECK_FAILED,    /* the host says so: counts at once */
    MP_CHECK_RETRIABLE, /* it says so, but in a way that may pass */
    MP_CHECK_NETWORK,
    MP_CHECK_TIMEOUT
};

struct mp_check {
    struct mp_monitor *monitor;
    const struct mp_endpoint *endpoint;
    struct mp_host_shared *host;
    struct mp_host_local *local;
    struct mp_timer next, timeout;
    bool active, first_logged;
    /* HTTP */
    struct mp_upreq up;
    struct mp_arena arena;
    struct mp_req_head head;
    unsigned status;
    bool whole;
    /* TCP */
    struct mp_io io;
    bool connected;
    char *in;
    uint32_t in_n;
};

static inline const struct mp_conf_health_check *mp_check_conf(const struct mp_check *ck)
{
    return ck->monitor->cluster->conf->check;
}
static inline struct mp_loop *mp_monitor_loop(const struct mp_monitor *m)
{
    return m->pool.cw->w.loop;
}
static inline const struct mp_stat_block *mp_monitor_stats(const struct mp_monitor *m)
{
    return mp_stat_block(m->cluster->stats, m->pool.cw->w.writer);
}

/* health.c */
/* The gauges of membership. */
void mp_monitor_count(struct mp_monitor *m);

/* health_check.c */
struct mp_check *mp_check_new(struct mp_monitor *m, const struct mp_endpoint *e);
void mp_check_free(struct mp_check *ck);
/* A probe has ended; it is not active any more. */
void mp_check_done(struct mp_check *ck, enum mp_check_result result);

/* health_http.c, health_tcp.c */
void mp_check_http_start(struct mp_check *ck);
void mp_check_http_stop(struct mp_check *ck);
void mp_check_tcp_start(struct mp_check *ck);
/* keep: the connection may serve the next check. */
void mp_check_tcp_stop(struct mp_check *ck, bool keep);

/* health_event.c: one JSON line for each change, in Envoy's form. */
void mp_health_event(struct mp_check *ck, const char *event, const char *failure, bool first);
void mp_outlier_event(struct mp_monitor *m, const struct mp_host_shared *h, bool eject,
                      const char *type, bool enforced);

/* outlier_judge.c */
void mp_outlier_open(struct mp_monitor *m);
void mp_outlier_close(struct mp_monitor *m);
/* A check has passed. */
void mp_outlier_check_passed(struct mp_monitor *m, struct mp_host_shared *h);
