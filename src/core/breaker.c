/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Circuit breakers: limits of the whole process, counted in atomics of the cluster's name. Requests
 * are leased in batches, so that a worker seldom touches what others write; of a small limit
 * nothing is set aside that another worker may need. */
#include "core/cluster.h"
#include "core/stats.h"

#define LEASE_MIN_LIMIT (16 * MP_LEASE)

static uint32_t requests_max(const struct mp_cluster_local *c, unsigned priority)
{
    return c->conf != NULL ? c->conf->conf->breakers[priority].requests_max : 0;
}

bool mp_breaker_take(uint32_t *counter, uint32_t max)
{
    uint32_t now = __atomic_load_n(counter, __ATOMIC_RELAXED);
    while (now < max) {
        if (__atomic_compare_exchange_n(counter, &now, now + 1, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)) {
            return true;
        }
    }
    return false;
}

bool mp_cluster_take_request(struct mp_cluster_local *c, unsigned priority)
{
    if (MP_LIKELY(c->lease_free[priority] > 0)) {
        c->lease_free[priority]--;
        return true;
    }
    uint32_t max = requests_max(c, priority), *counter = &c->shared->use[priority].requests;
    uint32_t lease = max >= LEASE_MIN_LIMIT ? MP_LEASE : 1;
    uint32_t now = __atomic_load_n(counter, __ATOMIC_RELAXED);
    while (now < max) {
        uint32_t take = MP_MIN(lease, max - now);
        if (__atomic_compare_exchange_n(counter, &now, now + take, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)) {
            c->lease_free[priority] = take - 1;
            return true;
        }
    }
    return false;
}

void mp_cluster_give_request(struct mp_cluster_local *c, unsigned priority)
{
    uint32_t *left = &c->lease_free[priority];
    uint32_t keep = requests_max(c, priority) >= LEASE_MIN_LIMIT ? MP_LEASE : 0;
    ++*left;
    if (*left > 2 * keep) {
        __atomic_sub_fetch(&c->shared->use[priority].requests, *left - keep, __ATOMIC_RELAXED);
        *left = keep;
    }
}

/* ---- retries ---- */

static uint32_t retries_max(const struct mp_cluster_local *c, unsigned priority)
{
    const struct mp_conf_breaker *b = &c->conf->conf->breakers[priority];
    if (!b->retry_budget) {
        return b->retries_max;
    }
    uint64_t active = mp_stat_read(c->scope, MP_ST_CLUSTER_RQ_ACTIVE) +
                      mp_stat_read(c->scope, MP_ST_CLUSTER_RQ_PENDING_ACTIVE);
    uint64_t n = (uint64_t)((double)active * b->budget_percent / 100);
    return (uint32_t)MP_MAX(n, (uint64_t)b->budget_min);
}

bool mp_cluster_take_retry(struct mp_cluster_local *c, unsigned priority)
{
    return c->conf != NULL &&
           mp_breaker_take(&c->shared->use[priority].retries, retries_max(c, priority));
}

void mp_cluster_give_retry(struct mp_cluster_local *c, unsigned priority)
{
    __atomic_sub_fetch(&c->shared->use[priority].retries, 1, __ATOMIC_RELAXED);
}

/* ---- gauges ---- */

static void set_gauge(const struct mp_stat_block *st, uint32_t first, uint32_t index, uint32_t used,
                      uint32_t max, bool track)
{
    mp_stat_set(st, first + index, used >= max);
    mp_stat_set(st, first + 4 + index, track && used < max ? max - used : 0);
}

void mp_breaker_show(const struct mp_cluster *c, const struct mp_stat_block *st)
{
    _Static_assert(MP_ST_CLUSTER_CB_DEFAULT_REMAINING_CX == MP_ST_CLUSTER_CB_DEFAULT_CX_OPEN + 4,
                   "four states, four remainders");
    static const uint32_t first[MP_PRIORITIES] = {MP_ST_CLUSTER_CB_DEFAULT_CX_OPEN,
                                                  MP_ST_CLUSTER_CB_HIGH_CX_OPEN};
    for (int p = 0; p < MP_PRIORITIES; p++) {
        const struct mp_conf_breaker *b = &c->conf->breakers[p];
        const struct mp_breaker_use *u = &c->shared->use[p];
        const struct {
            uint32_t used, max;
        } rows[4] = {
            {__atomic_load_n(&u->connections, __ATOMIC_RELAXED), b->connections_max},
            {__atomic_load_n(&u->pending, __ATOMIC_RELAXED), b->pending_max},
            {__atomic_load_n(&u->requests, __ATOMIC_RELAXED), b->requests_max},
            {__atomic_load_n(&u->retries, __ATOMIC_RELAXED), b->retries_max},
        };
        for (uint32_t i = 0; i < 4; i++) {
            set_gauge(st, first[p], i, rows[i].used, rows[i].max, b->track_remaining);
        }
    }
}
