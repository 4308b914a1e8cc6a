/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Active checks: when one is due, and what follows from its result. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "core/engine.h"
#include "core/health_int.h"
#include "core/stats.h"

static const char *const failures[] = {
    [MP_CHECK_FAILED] = "ACTIVE",
    [MP_CHECK_RETRIABLE] = "ACTIVE",
    [MP_CHECK_NETWORK] = "NETWORK",
    [MP_CHECK_TIMEOUT] = "NETWORK_TIMEOUT",
};

static bool is_down(const struct mp_check *ck)
{
    return (mp_host_health(ck->host) & MP_HEALTH_FAILED_CHECK) != 0;
}

/* ---- when ---- */

static uint64_t jitter(struct mp_check *ck, uint64_t max_ms)
{
    uint32_t bound = max_ms < UINT32_MAX ? (uint32_t)max_ms : UINT32_MAX;
    return bound > 0 ? mp_rand_below(&ck->monitor->pool.cw->w.rand, bound) : 0;
}

static uint64_t interval(struct mp_check *ck, bool changed)
{
    const struct mp_conf_health_check *c = mp_check_conf(ck);
    uint64_t ms;
    if (mp_stat_read(ck->monitor->cluster->stats, MP_ST_CLUSTER_CX_TOTAL) == 0) {
        ms = is_down(ck) ? c->no_traffic_ms : c->no_traffic_healthy_ms;
    } else if (is_down(ck)) {
        ms = changed ? c->unhealthy_edge_ms : c->unhealthy_ms;
    } else {
        ms = changed ? c->healthy_edge_ms : c->interval_ms;
    }
    ms += jitter(ck, ms * c->jitter_percent / 100);
    return ms + jitter(ck, c->interval_jitter_ms);
}

static void start(struct mp_check *ck)
{
    struct mp_loop *loop = mp_monitor_loop(ck->monitor);
    mp_stat_inc(mp_monitor_stats(ck->monitor), MP_ST_CLUSTER_HC_ATTEMPT);
    ck->active = true;
    mp_timer_in(loop, &ck->timeout, mp_check_conf(ck)->timeout_ms);
    if (mp_check_conf(ck)->is_http) {
        mp_check_http_start(ck);
    } else {
        mp_check_tcp_start(ck);
    }
}

static void on_next(struct mp_timer *t)
{
    start(MP_CONTAINER_OF(t, struct mp_check, next));
}

static void on_timeout(struct mp_timer *t)
{
    struct mp_check *ck = MP_CONTAINER_OF(t, struct mp_check, timeout);
    mp_check_http_stop(ck);
    mp_check_tcp_stop(ck, false);
    mp_check_done(ck, MP_CHECK_TIMEOUT);
}

/* ---- what follows ---- */

static void change(struct mp_check *ck, uint32_t set, uint32_t clear)
{
    struct mp_monitor *m = ck->monitor;
    mp_host_set_health(m->cluster->shared, ck->host, set, clear,
                       mp_loop_now_ns(mp_monitor_loop(m)));
    mp_monitor_count(m);
}

/* True when the host became healthy. */
static bool passed(struct mp_check *ck)
{
    struct mp_host_shared *h = ck->host;
    bool first = !h->was_checked, was_down = is_down(ck);
    h->failed = 0;
    h->was_checked = true;
    mp_stat_inc(mp_monitor_stats(ck->monitor), MP_ST_CLUSTER_HC_SUCCESS);
    mp_outlier_check_passed(ck->monitor, h);
    if (mp_check_conf(ck)->always_log_success) {
        mp_health_event(ck, "successful_health_check_event", NULL, first);
    }
    if (was_down && !first && ++h->passed < mp_check_conf(ck)->healthy_threshold) {
        return false;
    }
    change(ck, 0, MP_HEALTH_FAILED_CHECK | MP_HEALTH_PENDING_CHECK);
    if (was_down || first) {
        mp_health_event(ck, "add_healthy_event", NULL, first);
    }
    if (was_down) {
        mp_log(MP_LOG_INFO, "upstream host is healthy",
               kv_str("cluster", ck->monitor->cluster->shared->name), kv_str("host", h->text));
    }
    return was_down;
}

/* True when the host became unhealthy. */
static bool failed(struct mp_check *ck, enum mp_check_result result)
{
    struct mp_host_shared *h = ck->host;
    const struct mp_stat_block *st = mp_monitor_stats(ck->monitor);
    bool first = !h->was_checked, was_down = is_down(ck);
    h->passed = 0;
    h->failed++;
    h->was_checked = true;
    mp_stat_inc(st, MP_ST_CLUSTER_HC_FAILURE);
    mp_stat_add(st, MP_ST_CLUSTER_HC_NETWORK_FAILURE,
                result == MP_CHECK_NETWORK || result == MP_CHECK_TIMEOUT);
    bool enough =
        result == MP_CHECK_FAILED || first || h->failed >= mp_check_conf(ck)->unhealthy_threshold;
    if (first || mp_check_conf(ck)->always_log_failures) {
        mp_health_event(ck, "health_check_failure_event", failures[result], first);
    }
    change(ck, enough ? MP_HEALTH_FAILED_CHECK : 0, MP_HEALTH_PENDING_CHECK);
    if (was_down || !enough) {
        return false;
    }
    mp_health_event(ck, "eject_unhealthy_event", failures[result], first);
    mp_log(MP_LOG_WARNING, "upstream host is unhealthy",
           kv_str("cluster", ck->monitor->cluster->shared->name), kv_str("host", h->text),
           kv_c("reason", failures[result]));
    return true;
}

void mp_check_done(struct mp_check *ck, enum mp_check_result result)
{
    struct mp_loop *loop = mp_monitor_loop(ck->monitor);
    ck->active = false;
    mp_wheel_remove(mp_loop_wheel(loop), &ck->timeout);
    bool changed = result == MP_CHECK_PASSED ? passed(ck) : failed(ck, result);
    mp_timer_in(loop, &ck->next, MP_MAX(interval(ck, changed), (uint64_t)1));
}

/* ---- life ---- */

struct mp_check *mp_check_new(struct mp_monitor *m, const struct mp_endpoint *e)
{
    struct mp_check *ck = calloc(1, sizeof(*ck));
    MP_ASSERT(ck != NULL);
    ck->monitor = m;
    ck->endpoint = e;
    ck->host = e->shared;
    struct mp_endpoint at = *e;
    at.addr.port = e->conf->check_port != 0 ? e->conf->check_port : e->addr.port;
    ck->local = mp_host_local_new(&m->pool, &at);
    ck->io.fd = -1;
    mp_timer_init(&ck->next, on_next);
    mp_timer_init(&ck->timeout, on_timeout);
    /* The first one at once: all that is known so far is a guess. */
    mp_timer_in(mp_monitor_loop(m), &ck->next, jitter(ck, mp_check_conf(ck)->initial_jitter_ms));
    return ck;
}

void mp_check_free(struct mp_check *ck)
{
    struct mp_wheel *wheel = mp_loop_wheel(mp_monitor_loop(ck->monitor));
    mp_wheel_remove(wheel, &ck->next);
    mp_wheel_remove(wheel, &ck->timeout);
    mp_check_http_stop(ck);
    mp_check_tcp_stop(ck, false);
    mp_host_close_all(ck->local);
    mp_host_local_remove(ck->local);
    free(ck->in);
    free(ck);
}
