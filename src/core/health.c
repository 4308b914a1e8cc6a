/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Which clusters are watched, and the gauges of membership. */
#include "core/health.h"

#include <stdlib.h>

#include "base/assert.h"
#include "core/engine.h"
#include "core/health_int.h"
#include "core/stats.h"

struct mp_health *mp_health_new(struct mp_engine *e)
{
    struct mp_health *h = calloc(1, sizeof(*h));
    MP_ASSERT(h != NULL);
    h->engine = e;
    h->store = mp_stat_store_new(e->n_workers + 1);
    h->scope = mp_stat_scope_get(h->store, &mp_stats_cluster, MP_STR("health_checks"));
    mp_list_init(&h->monitors);
    return h;
}

/* ---- monitors ---- */

static void monitor_free_now(struct mp_task *t)
{
    free(MP_CONTAINER_OF(t, struct mp_monitor, free_task));
}

static void monitor_close(struct mp_monitor *m)
{
    for (uint32_t i = 0; i < m->n_checks; i++) {
        mp_check_free(m->checks[i]);
    }
    if (m->cluster->conf->outlier != NULL) {
        mp_outlier_close(m);
    }
    free(m->checks);
    mp_lb_fini(&m->pool.lb);
    free(m->pool.hosts);
    mp_list_remove(&m->link);
    m->cluster->shared->monitor = NULL;
    mp_endpoint_set_unref(m->set);
    mp_obj_unref(&m->cluster->obj);
    /* Its hosts end in tasks of this turn and look at it. */
    mp_task_init(&m->free_task, monitor_free_now);
    mp_task_defer(mp_monitor_loop(m), &m->free_task);
}

static void open_checks(struct mp_monitor *m)
{
    struct mp_core_worker *main = m->health->engine->main;
    m->shared.name = m->cluster->shared->name;
    m->pool.cw = main;
    m->pool.conf = m->cluster;
    m->pool.shared = &m->shared;
    m->pool.stats = mp_stat_block(m->health->scope, main->w.writer);
    if (m->cluster->conf->check == NULL) {
        return;
    }
    m->checks = calloc(m->set->n + 1, sizeof(struct mp_check *));
    m->pool.hosts = calloc(m->set->n + 1, sizeof(struct mp_host_local *));
    MP_ASSERT(m->checks != NULL);
    MP_ASSERT(m->pool.hosts != NULL);
    for (uint32_t i = 0; i < m->set->n; i++) {
        if (!m->set->v[i].conf->unchecked) {
            struct mp_check *ck = mp_check_new(m, &m->set->v[i]);
            m->checks[m->n_checks++] = ck;
            m->pool.hosts[m->pool.n_hosts++] = ck->local;
        }
    }
}

static struct mp_monitor *monitor_new(struct mp_health *h, struct mp_cluster *c,
                                      struct mp_endpoint_set *set)
{
    struct mp_monitor *m = aligned_alloc(MP_CACHE_LINE, sizeof(*m));
    MP_ASSERT(m != NULL);
    *m = (struct mp_monitor){.health = h, .cluster = c, .set = set, .keep = true};
    mp_obj_ref(&c->obj);
    mp_endpoint_set_ref(set);
    mp_list_push_back(&h->monitors, &m->link);
    c->shared->monitor = m;
    open_checks(m);
    if (c->conf->outlier != NULL) {
        mp_outlier_open(m);
    }
    return m;
}

/* ---- hosts ---- */

/* What is known of a host that joins, and what does not count any more. */
static void prepare_host(struct mp_cluster *c, const struct mp_endpoint *e, uint64_t now_ns)
{
    struct mp_host_shared *h = e->shared;
    bool checked = c->conf->check != NULL && !e->conf->unchecked;
    if (!checked) {
        h->was_checked = false;
        mp_host_set_health(c->shared, h, 0, MP_HEALTH_FAILED_CHECK | MP_HEALTH_PENDING_CHECK,
                           now_ns);
    }
    if (c->conf->outlier == NULL) {
        mp_host_set_health(c->shared, h, 0, MP_HEALTH_FAILED_OUTLIER, now_ns);
    }
    if (h->seen) {
        return;
    }
    h->seen = true;
    if (c->shared->has_hosts) {
        __atomic_store_n(&h->since_ns, now_ns, __ATOMIC_RELAXED);
    }
    if (checked) {
        /* One that joins others waits for its first check; where nothing is known of any, they are
         * taken for healthy until then. */
        mp_host_set_health(c->shared, h,
                           MP_HEALTH_PENDING_CHECK |
                               (c->shared->has_hosts ? MP_HEALTH_FAILED_CHECK : 0),
                           0, now_ns);
    }
}

static void count_members(struct mp_engine *e, const struct mp_cluster *c,
                          const struct mp_endpoint_set *set)
{
    const struct mp_stat_block *st = mp_stat_block(c->stats, e->main->w.writer);
    uint32_t healthy = 0, checked = 0;
    for (uint32_t i = 0; i < set->n; i++) {
        uint32_t health = mp_host_health(set->v[i].shared);
        healthy += set->v[i].configured_up && (health & MP_HEALTH_DOWN) == 0;
        checked += (health & (MP_HEALTH_FAILED_CHECK | MP_HEALTH_PENDING_CHECK)) == 0;
    }
    mp_stat_set(st, MP_ST_CLUSTER_MEMBERSHIP_TOTAL, set->n);
    mp_stat_set(st, MP_ST_CLUSTER_MEMBERSHIP_HEALTHY, healthy);
    mp_stat_set(st, MP_ST_CLUSTER_HC_HEALTHY, c->conf->check != NULL ? checked : 0);
}

void mp_monitor_count(struct mp_monitor *m)
{
    count_members(m->health->engine, m->cluster, m->set);
}

void mp_health_hosts(struct mp_engine *e, struct mp_cluster *c, struct mp_endpoint_set *set)
{
    struct mp_monitor *old = c->shared->monitor;
    if (old != NULL && old->cluster == c && old->set == set) {
        old->keep = true;
        return;
    }
    uint64_t now_ns = mp_loop_now_ns(e->opts.main_loop);
    for (uint32_t i = 0; i < set->n; i++) {
        prepare_host(c, &set->v[i], now_ns);
    }
    c->shared->has_hosts = set->n > 0;
    if (old != NULL) {
        monitor_close(old);
    }
    if (c->conf->check != NULL || c->conf->outlier != NULL) {
        monitor_new(e->health, c, set);
    }
    count_members(e, c, set);
    mp_host_shared_purge(e, c->shared, false);
}

void mp_health_publish(struct mp_health *h, const struct mp_snapshot *snap)
{
    MP_LIST_FOREACH (it, &h->monitors) {
        MP_CONTAINER_OF(it, struct mp_monitor, link)->keep = false;
    }
    for (uint32_t i = 0; i < snap->n_clusters; i++) {
        struct mp_cluster *c = snap->clusters[i];
        struct mp_monitor *m = c->shared->monitor;
        if (m != NULL && m->cluster == c) {
            m->keep = true;
        } else if (c->endpoints != NULL && !c->published) {
            mp_health_hosts(h->engine, c, c->endpoints);
        } else if (m != NULL && c->endpoints == NULL) {
            m->keep = true; /* by name: until the resolver brings the hosts */
        }
        c->published = true;
    }
    MP_LIST_FOREACH_SAFE (it, &h->monitors) {
        struct mp_monitor *m = MP_CONTAINER_OF(it, struct mp_monitor, link);
        if (!m->keep) {
            m->cluster->shared->has_hosts = false;
            monitor_close(m);
        }
    }
}

/* ---- stats ---- */

void mp_health_refresh_stats(struct mp_engine *e)
{
    for (uint32_t i = 0; e->snap != NULL && i < e->snap->n_clusters; i++) {
        const struct mp_cluster *c = e->snap->clusters[i];
        mp_breaker_show(c, mp_stat_block(c->stats, e->main->w.writer));
    }
}

/* ---- the end ---- */

void mp_health_close(struct mp_health *h)
{
    MP_LIST_FOREACH_SAFE (it, &h->monitors) {
        monitor_close(MP_CONTAINER_OF(it, struct mp_monitor, link));
    }
}

struct mp_health *mp_health_free(struct mp_health *h)
{
    if (h == NULL) {
        return NULL;
    }
    mp_stat_scope_unref(h->scope);
    mp_stat_store_free(h->store);
    free(h);
    return NULL;
}
