/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/lb.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "core/cluster.h"
#include "core/host.h"
#include "core/stats.h"

#define WEIGHT_UNIT   1000 /* of effective weights, where they are not the configured ones */
#define SLOW_STEPS    50   /* changes of weight during a slow start */
#define SLOW_STEP_MIN 10   /* ms */

static bool is_healthy(const struct mp_host_local *h)
{
    return h->configured_up && (mp_host_health(h->shared) & MP_HEALTH_DOWN) == 0;
}

/* ---- weights ---- */

/* What is left of a host's weight while it warms up: 0 to 1. */
static double slow_factor(const struct mp_cluster_local *c, const struct mp_host_local *h,
                          uint64_t now_ns, bool *ret_slow)
{
    const struct mp_conf_cluster *conf = c->conf->conf;
    uint64_t since = __atomic_load_n(&h->shared->since_ns, __ATOMIC_RELAXED);
    uint64_t age_ms = since < now_ns ? (now_ns - since) / 1000000 : 0;
    if (since == 0 || age_ms >= conf->slow_start_ms) {
        return 1;
    }
    *ret_slow = true;
    double t = (double)MP_MAX(age_ms, (uint64_t)1) / (double)conf->slow_start_ms;
    double f = conf->slow_aggression == 1 ? t : pow(t, 1 / conf->slow_aggression);
    return MP_MAX(f, conf->slow_min_percent / 100);
}

/* Share of the host's locality in the group, spread over its hosts. */
static double locality_factor(const struct mp_cluster_local *c, const struct mp_lb_group *g,
                              const struct mp_host_local *h)
{
    double total = 0, healthy = 0, weights = 0;
    for (uint32_t i = 0; i < c->n_hosts; i++) {
        const struct mp_host_local *o = c->hosts[i];
        if (o->priority == h->priority && o->locality == h->locality) {
            total++;
            healthy += is_healthy(o);
        }
    }
    for (uint32_t i = 0; i < g->n; i++) {
        weights += g->v[i]->locality == h->locality ? g->v[i]->weight : 0;
    }
    double up = g->panic ? 1 : healthy / total * c->conf->conf->overprovisioning / 100;
    return h->locality_weight * MP_MIN(up, 1.0) / weights;
}

static void weigh(struct mp_cluster_local *c, struct mp_lb_group *g, uint64_t now_ns)
{
    const struct mp_conf_cluster *conf = c->conf->conf;
    bool slow = false;
    g->equal = true;
    for (uint32_t i = 0; i < g->n; i++) {
        struct mp_host_local *h = g->v[i];
        double w = h->weight;
        if (conf->locality_weighted) {
            w *= locality_factor(c, g, h) * WEIGHT_UNIT;
        }
        if (conf->slow_start_ms > 0) {
            w *= slow_factor(c, h, now_ns, &slow) * WEIGHT_UNIT;
        }
        h->effective = w < 1 ? 1 : w > 1e12 ? (uint64_t)1e12 : (uint64_t)(w + 0.5);
        g->equal &= h->effective == g->v[0]->effective;
    }
    if (slow) {
        uint64_t step = MP_MAX(conf->slow_start_ms / SLOW_STEPS, (uint64_t)SLOW_STEP_MIN);
        c->lb.reweigh_ms = mp_cw_now_ms(c->cw) + step;
    }
}

static void weigh_all(struct mp_cluster_local *c)
{
    uint64_t now_ns = mp_loop_now_ns(c->cw->w.loop);
    c->lb.reweigh_ms = 0;
    for (uint32_t i = 0; i < c->lb.n_groups; i++) {
        weigh(c, &c->lb.groups[i], now_ns);
    }
}

/* ---- groups ---- */

static uint32_t percent_of(const struct mp_lb_group *g, uint32_t overprovisioning)
{
    uint64_t p = g->total > 0 ? (uint64_t)g->healthy * overprovisioning / g->total : 0;
    return (uint32_t)MP_MIN(p, (uint64_t)100);
}

/* Shares of the traffic: priority by priority, as far as its healthy hosts bear. */
static void share_load(struct mp_lb *lb, uint32_t overprovisioning, uint32_t hosts, bool all_panic)
{
    uint32_t sum = 0, left = 100;
    for (uint32_t i = 0; i < lb->n_groups; i++) {
        sum += percent_of(&lb->groups[i], overprovisioning);
    }
    uint32_t norm = MP_MIN(sum, 100u);
    struct mp_lb_group *first = NULL;
    for (uint32_t i = 0; i < lb->n_groups; i++) {
        struct mp_lb_group *g = &lb->groups[i];
        g->load = all_panic   ? g->total * 100 / hosts
                  : norm == 0 ? 0
                              : percent_of(g, overprovisioning) * 100 / norm;
        g->load = g->n > 0 ? MP_MIN(g->load, left) : 0;
        left -= g->load;
        first = first == NULL && g->load > 0 ? g : first;
    }
    if (first != NULL) {
        first->load += left;
    }
}

/* Which groups panic; true: every one that has hosts. */
static bool find_panic(struct mp_lb *lb, const struct mp_conf_cluster *conf)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < lb->n_groups; i++) {
        sum += percent_of(&lb->groups[i], conf->overprovisioning);
    }
    bool all = conf->panic_percent > 0;
    for (uint32_t i = 0; i < lb->n_groups; i++) {
        struct mp_lb_group *g = &lb->groups[i];
        g->panic = sum < 100 && g->total > 0 && conf->panic_percent > 0 &&
                   100.0 * g->healthy / g->total < conf->panic_percent;
        all &= g->panic || g->total == 0;
    }
    return all;
}

static void fill(struct mp_cluster_local *c, struct mp_host_local **room)
{
    for (uint32_t i = 0; i < c->lb.n_groups; i++) {
        struct mp_lb_group *g = &c->lb.groups[i];
        g->v = room;
        for (uint32_t k = 0; k < c->n_hosts; k++) {
            struct mp_host_local *h = c->hosts[k];
            bool weighted_out = c->conf->conf->locality_weighted && h->locality_weight == 0;
            /* What the operator has taken out stays out in a panic. */
            if (h->priority == i && !weighted_out &&
                (g->panic ? h->configured_up : is_healthy(h))) {
                h->current = 0;
                g->v[g->n++] = h;
            }
        }
        room += g->n;
        g->next = g->n > 0 ? mp_rand_below(&c->cw->w.rand, g->n) : 0;
    }
}

void mp_lb_rebuild(struct mp_cluster_local *c)
{
    struct mp_lb *lb = &c->lb;
    mp_lb_fini(lb);
    lb->health_seen = __atomic_load_n(&c->shared->health_version, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < c->n_hosts; i++) {
        lb->n_groups = MP_MAX(lb->n_groups, c->hosts[i]->priority + 1);
    }
    lb->groups = calloc(1, lb->n_groups * sizeof(*lb->groups) +
                               (c->n_hosts + 1) * sizeof(struct mp_host_local *));
    MP_ASSERT(lb->groups != NULL);
    for (uint32_t i = 0; i < c->n_hosts; i++) {
        struct mp_lb_group *g = &lb->groups[c->hosts[i]->priority];
        g->total++;
        g->healthy += is_healthy(c->hosts[i]);
    }
    bool all_panic = find_panic(lb, c->conf->conf);
    fill(c, (struct mp_host_local **)(void *)(lb->groups + lb->n_groups));
    share_load(lb, c->conf->conf->overprovisioning, MP_MAX(c->n_hosts, 1u), all_panic);
    for (uint32_t i = 0; i < lb->n_groups; i++) {
        if (lb->groups[i].load == 100) {
            lb->only = &lb->groups[i];
        }
    }
    weigh_all(c);
}

void mp_lb_clear(struct mp_cluster_local *c)
{
    uint64_t seen = c->lb.health_seen;
    mp_lb_fini(&c->lb);
    c->lb.health_seen = seen;
}

void mp_lb_fini(struct mp_lb *lb)
{
    free(lb->groups);
    *lb = (struct mp_lb){0};
}

/* ---- the choice ---- */

/* Smooth weighted round robin: each host gains its weight, the richest is taken and pays the sum.
 * Weights shrink with the requests under way (bias) where the least busy host is wanted. */
static struct mp_host_local *pick_weighted(struct mp_lb_group *g, bool least, double bias)
{
    struct mp_host_local *best = g->v[0];
    int64_t sum = 0;
    for (uint32_t i = 0; i < g->n; i++) {
        struct mp_host_local *h = g->v[i];
        int64_t w = (int64_t)h->effective;
        if (least) {
            double busy = (double)h->n_active + 1;
            w = (int64_t)((double)w * WEIGHT_UNIT / (bias == 1 ? busy : pow(busy, bias))) + 1;
        }
        h->current += w;
        sum += w;
        if (h->current > best->current) {
            best = h;
        }
    }
    best->current -= sum;
    return best;
}

static struct mp_host_local *pick_least(struct mp_cluster_local *c, struct mp_lb_group *g)
{
    struct mp_host_local *best = g->v[mp_rand_below(&c->cw->w.rand, g->n)];
    for (uint32_t i = 1; i < c->conf->conf->choice_count; i++) {
        struct mp_host_local *h = g->v[mp_rand_below(&c->cw->w.rand, g->n)];
        if (h->n_active < best->n_active) {
            best = h;
        }
    }
    return best;
}

static struct mp_lb_group *pick_group(struct mp_cluster_local *c)
{
    if (c->lb.n_groups == 0) {
        return NULL;
    }
    uint32_t point = mp_rand_below(&c->cw->w.rand, 100);
    for (uint32_t i = 0; i < c->lb.n_groups; i++) {
        struct mp_lb_group *g = &c->lb.groups[i];
        if (point < g->load) {
            return g;
        }
        point -= g->load;
    }
    return NULL;
}

static void catch_up(struct mp_cluster_local *c)
{
    if (c->lb.health_seen != __atomic_load_n(&c->shared->health_version, __ATOMIC_RELAXED)) {
        mp_lb_rebuild(c);
    } else if (c->lb.reweigh_ms != 0 && mp_cw_now_ms(c->cw) >= c->lb.reweigh_ms) {
        weigh_all(c);
    }
}

struct mp_host_local *mp_cluster_pick(struct mp_cluster_local *c)
{
    if (MP_LIKELY(c->conf != NULL)) {
        catch_up(c);
    }
    struct mp_lb_group *g = MP_LIKELY(c->lb.only != NULL) ? c->lb.only : pick_group(c);
    if (g == NULL || g->n == 0) {
        return NULL;
    }
    if (MP_UNLIKELY(g->panic)) {
        mp_stat_inc(c->stats, MP_ST_CLUSTER_LB_PANIC);
    }
    enum mp_conf_lb lb = c->conf->conf->lb;
    if (MP_LIKELY(lb == MP_LB_ROUND_ROBIN && g->equal)) {
        struct mp_host_local *h = g->v[g->next];
        g->next = g->next + 1 < g->n ? g->next + 1 : 0;
        return h;
    }
    if (lb == MP_LB_RANDOM) {
        return g->v[mp_rand_below(&c->cw->w.rand, g->n)];
    }
    if (lb == MP_LB_LEAST_REQUEST && g->equal) {
        return pick_least(c, g);
    }
    return pick_weighted(g, lb == MP_LB_LEAST_REQUEST, c->conf->conf->active_bias);
}
