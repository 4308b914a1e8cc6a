/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Outlier detection, the main thread's side: who is ejected, and for how long. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "core/engine.h"
#include "core/health_int.h"
#include "core/stats.h"

static const struct {
    const char *name; /* in the event log */
    uint32_t detected, enforced;
} kinds[MP_OUTLIER_KINDS] = {
    [MP_OUTLIER_5XX] = {"CONSECUTIVE_5XX", MP_ST_CLUSTER_OD_DETECTED_5XX,
                        MP_ST_CLUSTER_OD_ENFORCED_5XX},
    [MP_OUTLIER_GATEWAY] = {"CONSECUTIVE_GATEWAY_FAILURE", MP_ST_CLUSTER_OD_DETECTED_GATEWAY,
                            MP_ST_CLUSTER_OD_ENFORCED_GATEWAY},
    [MP_OUTLIER_LOCAL] = {"CONSECUTIVE_LOCAL_ORIGIN_FAILURE", MP_ST_CLUSTER_OD_DETECTED_LOCAL,
                          MP_ST_CLUSTER_OD_ENFORCED_LOCAL},
    [MP_OUTLIER_SUCCESS_RATE] = {"SUCCESS_RATE", MP_ST_CLUSTER_OD_DETECTED_SUCCESS,
                                 MP_ST_CLUSTER_OD_ENFORCED_SUCCESS},
    [MP_OUTLIER_SUCCESS_RATE_LOCAL] = {"SUCCESS_RATE_LOCAL_ORIGIN",
                                       MP_ST_CLUSTER_OD_DETECTED_SUCCESS_LOCAL,
                                       MP_ST_CLUSTER_OD_ENFORCED_SUCCESS_LOCAL},
    [MP_OUTLIER_FAILURES] = {"FAILURE_PERCENTAGE", MP_ST_CLUSTER_OD_DETECTED_FAILURES,
                             MP_ST_CLUSTER_OD_ENFORCED_FAILURES},
    [MP_OUTLIER_FAILURES_LOCAL] = {"FAILURE_PERCENTAGE_LOCAL_ORIGIN",
                                   MP_ST_CLUSTER_OD_DETECTED_FAILURES_LOCAL,
                                   MP_ST_CLUSTER_OD_ENFORCED_FAILURES_LOCAL},
};

static const struct mp_conf_outlier *conf_of(const struct mp_monitor *m)
{
    return m->cluster->conf->outlier;
}

static uint32_t enforcement(const struct mp_conf_outlier *o, enum mp_outlier_kind kind)
{
    const uint32_t percent[MP_OUTLIER_KINDS] = {
        [MP_OUTLIER_5XX] = o->enforce_5xx,
        [MP_OUTLIER_GATEWAY] = o->enforce_gateway,
        [MP_OUTLIER_LOCAL] = o->enforce_local,
        [MP_OUTLIER_SUCCESS_RATE] = o->enforce_success,
        [MP_OUTLIER_SUCCESS_RATE_LOCAL] = o->enforce_success_local,
        [MP_OUTLIER_FAILURES] = o->enforce_failures,
        [MP_OUTLIER_FAILURES_LOCAL] = o->enforce_failures_local,
    };
    return percent[kind];
}

/* ---- ejecting and letting return ---- */

static void forget_rows(struct mp_host_shared *h)
{
    __atomic_store_n(&h->row_5xx, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&h->row_gateway, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&h->row_local, 0, __ATOMIC_RELAXED);
}

static void arm(struct mp_monitor *m)
{
    uint64_t now = mp_loop_now_ms(mp_monitor_loop(m)), at = m->sweep_ms;
    for (uint32_t i = 0; m->ejected > 0 && i < m->set->n; i++) {
        const struct mp_host_shared *h = m->set->v[i].shared;
        if ((mp_host_health(h) & MP_HEALTH_FAILED_OUTLIER) != 0) {
            at = MP_MIN(at, h->return_ms);
        }
    }
    mp_timer_in(mp_monitor_loop(m), &m->sweep, at > now ? at - now : 0);
}

static void eject(struct mp_monitor *m, struct mp_host_shared *h)
{
    const struct mp_conf_outlier *o = conf_of(m);
    uint64_t now_ms = mp_loop_now_ms(mp_monitor_loop(m));
    h->ejections++;
    uint64_t time = MP_MIN(o->base_ms * h->ejections, o->max_ms);
    time += o->jitter_ms > 0 ? mp_rand_below(&m->pool.cw->w.rand, (uint32_t)o->jitter_ms + 1) : 0;
    h->ejected_ms = now_ms;
    h->return_ms = now_ms + time;
    m->ejected++;
    mp_host_set_health(m->cluster->shared, h, MP_HEALTH_FAILED_OUTLIER, 0,
                       mp_loop_now_ns(mp_monitor_loop(m)));
    mp_stat_inc(mp_monitor_stats(m), MP_ST_CLUSTER_OD_ENFORCED_TOTAL);
    mp_stat_set(mp_monitor_stats(m), MP_ST_CLUSTER_OD_ACTIVE, m->ejected);
    mp_monitor_count(m);
    arm(m);
}

static void let_return(struct mp_monitor *m, struct mp_host_shared *h)
{
    forget_rows(h);
    m->ejected--;
    mp_host_set_health(m->cluster->shared, h, 0, MP_HEALTH_FAILED_OUTLIER,
                       mp_loop_now_ns(mp_monitor_loop(m)));
    mp_stat_set(mp_monitor_stats(m), MP_ST_CLUSTER_OD_ACTIVE, m->ejected);
    mp_monitor_count(m);
    mp_outlier_event(m, h, false, NULL, true);
    mp_log(MP_LOG_INFO, "upstream host returns", kv_str("cluster", m->cluster->shared->name),
           kv_str("host", h->text));
}

static void found(struct mp_monitor *m, struct mp_host_shared *h, enum mp_outlier_kind kind)
{
    const struct mp_conf_outlier *o = conf_of(m);
    const struct mp_stat_block *st = mp_monitor_stats(m);
    if ((mp_host_health(h) & MP_HEALTH_FAILED_OUTLIER) != 0) {
        return;
    }
    mp_stat_inc(st, kinds[kind].detected);
    bool enforced = mp_rand_below(&m->pool.cw->w.rand, 100) < enforcement(o, kind);
    bool room = m->ejected == 0 || 100.0 * (m->ejected + 1) / m->set->n <= o->ejection_percent_max;
    if (enforced && !room) {
        mp_stat_inc(st, MP_ST_CLUSTER_OD_OVERFLOW);
    }
    enforced = enforced && room;
    mp_outlier_event(m, h, true, kinds[kind].name, enforced);
    if (enforced) {
        mp_stat_inc(st, kinds[kind].enforced);
        mp_log(MP_LOG_WARNING, "upstream host ejected", kv_str("cluster", m->cluster->shared->name),
               kv_str("host", h->text), kv_c("reason", kinds[kind].name));
        eject(m, h);
    }
}

void mp_outlier_found(struct mp_cluster_shared *c, struct mp_host_shared *h,
                      enum mp_outlier_kind kind)
{
    struct mp_monitor *m = c->monitor;
    for (uint32_t i = 0; m != NULL && conf_of(m) != NULL && i < m->set->n; i++) {
        if (m->set->v[i].shared == h) {
            found(m, h, kind);
            forget_rows(h);
            return;
        }
    }
}

void mp_outlier_check_passed(struct mp_monitor *m, struct mp_host_shared *h)
{
    if (conf_of(m) != NULL && conf_of(m)->check_unejects &&
        (mp_host_health(h) & MP_HEALTH_FAILED_OUTLIER) != 0) {
        let_return(m, h);
    }
}

/* ---- rates, at the end of an interval ---- */

struct rate {
    uint32_t total, ok;
};

/* What the host has met since the last sweep. */
static void take_rates(struct mp_monitor *m, struct mp_host_shared *h, struct rate *ret_all,
                       struct rate *ret_local)
{
    struct mp_host_counts sum = {0};
    const struct mp_host_counts *v = h->counts;
    for (uint32_t i = 0; v != NULL && i <= m->health->engine->n_workers; i++) {
        sum.total += __atomic_load_n(&v[i].total, __ATOMIC_RELAXED);
        sum.ok += __atomic_load_n(&v[i].ok, __ATOMIC_RELAXED);
        sum.local_total += __atomic_load_n(&v[i].local_total, __ATOMIC_RELAXED);
        sum.local_ok += __atomic_load_n(&v[i].local_ok, __ATOMIC_RELAXED);
    }
    *ret_all = (struct rate){sum.total - h->judged.total, sum.ok - h->judged.ok};
    *ret_local =
        (struct rate){sum.local_total - h->judged.local_total, sum.local_ok - h->judged.local_ok};
    /* Totals and successes are read one after the other. */
    ret_all->ok = MP_MIN(ret_all->ok, ret_all->total);
    ret_local->ok = MP_MIN(ret_local->ok, ret_local->total);
    h->judged = sum;
}

static double percent_ok(const struct rate *r)
{
    return 100.0 * r->ok / r->total;
}

static void judge_success(struct mp_monitor *m, const struct rate *v, enum mp_outlier_kind kind)
{
    const struct mp_conf_outlier *o = conf_of(m);
    uint32_t n = 0;
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < m->set->n; i++) {
        if (v[i].total > 0 && v[i].total >= o->success_volume_min) {
            n++;
            sum += percent_ok(&v[i]);
        }
    }
    if (n == 0 || n < o->success_hosts_min) {
        return;
    }
    double mean = sum / n;
    for (uint32_t i = 0; i < m->set->n; i++) {
        if (v[i].total > 0 && v[i].total >= o->success_volume_min) {
            double d = percent_ok(&v[i]) - mean;
            squares += d * d;
        }
    }
    double least = mean - sqrt(squares / n) * o->success_stdev_factor / 1000;
    for (uint32_t i = 0; i < m->set->n; i++) {
        if (v[i].total > 0 && v[i].total >= o->success_volume_min && percent_ok(&v[i]) < least) {
            found(m, m->set->v[i].shared, kind);
        }
    }
}

static void judge_failures(struct mp_monitor *m, const struct rate *v, enum mp_outlier_kind kind)
{
    const struct mp_conf_outlier *o = conf_of(m);
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->set->n; i++) {
        n += v[i].total > 0 && v[i].total >= o->failure_volume_min;
    }
    if (n == 0 || n < o->failure_hosts_min) {
        return;
    }
    for (uint32_t i = 0; i < m->set->n; i++) {
        if (v[i].total > 0 && v[i].total >= o->failure_volume_min &&
            100 - percent_ok(&v[i]) >= o->failure_threshold) {
            found(m, m->set->v[i].shared, kind);
        }
    }
}

static void judge_interval(struct mp_monitor *m)
{
    const struct mp_conf_outlier *o = conf_of(m);
    struct rate *all = calloc(m->set->n + 1, 2 * sizeof(*all)), *local = all + m->set->n;
    MP_ASSERT(all != NULL);
    for (uint32_t i = 0; i < m->set->n; i++) {
        struct mp_host_shared *h = m->set->v[i].shared;
        take_rates(m, h, &all[i], &local[i]);
        if ((mp_host_health(h) & MP_HEALTH_FAILED_OUTLIER) == 0 && h->ejections > 0) {
            h->ejections--; /* the next ejection is shorter again */
        }
    }
    judge_success(m, all, MP_OUTLIER_SUCCESS_RATE);
    judge_failures(m, all, MP_OUTLIER_FAILURES);
    if (o->split_local) {
        judge_success(m, local, MP_OUTLIER_SUCCESS_RATE_LOCAL);
        judge_failures(m, local, MP_OUTLIER_FAILURES_LOCAL);
    }
    free(all);
}

static void on_sweep(struct mp_timer *t)
{
    struct mp_monitor *m = MP_CONTAINER_OF(t, struct mp_monitor, sweep);
    uint64_t now = mp_loop_now_ms(mp_monitor_loop(m));
    for (uint32_t i = 0; m->ejected > 0 && i < m->set->n; i++) {
        struct mp_host_shared *h = m->set->v[i].shared;
        if ((mp_host_health(h) & MP_HEALTH_FAILED_OUTLIER) != 0 && now >= h->return_ms) {
            let_return(m, h);
        }
    }
    if (now >= m->sweep_ms) {
        m->sweep_ms = now + conf_of(m)->interval_ms;
        judge_interval(m);
    }
    arm(m);
}

/* ---- life ---- */

void mp_outlier_open(struct mp_monitor *m)
{
    uint32_t n_workers = m->health->engine->n_workers;
    for (uint32_t i = 0; i < m->set->n; i++) {
        struct mp_host_shared *h = m->set->v[i].shared;
        if (h->counts == NULL) {
            size_t size = (n_workers + 1) * sizeof(struct mp_host_counts);
            struct mp_host_counts *v = aligned_alloc(MP_CACHE_LINE, size);
            MP_ASSERT(v != NULL);
            memset(v, 0, size);
            __atomic_store_n(&h->counts, v, __ATOMIC_RELEASE);
        }
        m->ejected += (mp_host_health(h) & MP_HEALTH_FAILED_OUTLIER) != 0;
    }
    mp_timer_init(&m->sweep, on_sweep);
    m->sweep_ms = mp_loop_now_ms(mp_monitor_loop(m)) + conf_of(m)->interval_ms;
    mp_stat_set(mp_monitor_stats(m), MP_ST_CLUSTER_OD_ACTIVE, m->ejected);
    arm(m);
}

void mp_outlier_close(struct mp_monitor *m)
{
    mp_wheel_remove(mp_loop_wheel(mp_monitor_loop(m)), &m->sweep);
    mp_stat_set(mp_monitor_stats(m), MP_ST_CLUSTER_OD_ACTIVE, 0);
}
