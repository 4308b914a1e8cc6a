/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Which host is next: rotation, weights, health, priorities, panic, slow start, the least busy. */
#include <stdlib.h>
#include <string.h>
#include "base/hash.h"
#include "base/stat.h"
#include "core/cluster.h"
#include "core/host.h"
#include "core/stats.h"
#include "t.h"

#define HOSTS 12

struct world {
    struct mp_core_worker cw;
    struct mp_cluster_shared shared;
    struct mp_conf_cluster conf;
    struct mp_cluster cluster;
    struct mp_cluster_local c;
    struct mp_host_local host[HOSTS];
    struct mp_host_local *hosts[HOSTS];
    struct mp_host_shared host_shared[HOSTS];
    struct mp_stat_store *store;
    struct mp_stat_scope *scope;
};

static void init(struct world *w, uint32_t n)
{
    memset(w, 0, sizeof(*w));
    mp_stats_init();
    w->cw.w.loop = mp_loop_new();
    mp_loop_turn(w->cw.w.loop, 0);
    mp_rand_seed(&w->cw.w.rand, 7);
    w->store = mp_stat_store_new(1);
    w->scope = mp_stat_scope_get(w->store, &mp_stats_cluster, MP_STR("c"));
    w->conf = (struct mp_conf_cluster){.panic_percent = 50,
                                       .overprovisioning = 140,
                                       .choice_count = 2,
                                       .active_bias = 1,
                                       .slow_aggression = 1,
                                       .slow_min_percent = 10};
    w->cluster.conf = &w->conf;
    w->c = (struct mp_cluster_local){.cw = &w->cw,
                                     .conf = &w->cluster,
                                     .shared = &w->shared,
                                     .stats = mp_stat_block(w->scope, 0),
                                     .hosts = w->hosts,
                                     .n_hosts = n};
    for (uint32_t i = 0; i < n; i++) {
        w->hosts[i] = &w->host[i];
        w->host[i].shared = &w->host_shared[i];
        w->host[i].configured_up = true;
        w->host[i].weight = 1;
    }
}

static void fini(struct world *w)
{
    mp_lb_fini(&w->c.lb);
    mp_stat_scope_unref(w->scope);
    mp_stat_store_free(w->store);
    mp_loop_free(w->cw.w.loop);
}

static void down(struct world *w, uint32_t i, bool yes)
{
    mp_host_set_health(&w->shared, &w->host_shared[i], yes ? MP_HEALTH_FAILED_CHECK : 0,
                       yes ? 0 : MP_HEALTH_FAILED_CHECK, mp_loop_now_ns(w->cw.w.loop));
}

/* n choices; how many went to each host. */
static void take(struct world *w, uint32_t n, uint32_t *ret)
{
    memset(ret, 0, HOSTS * sizeof(*ret));
    for (uint32_t i = 0; i < n; i++) {
        struct mp_host_local *h = mp_cluster_pick(&w->c);
        if (h != NULL) {
            ret[h - w->host]++;
        }
    }
}

static void test_rotation(void)
{
    struct world w;
    uint32_t got[HOSTS];
    init(&w, 3);
    mp_lb_rebuild(&w.c);
    struct mp_host_local *a = mp_cluster_pick(&w.c), *b = mp_cluster_pick(&w.c),
                         *c = mp_cluster_pick(&w.c);
    T_OK(a != b && b != c && a != c);
    for (int i = 0; i < 5; i++) {
        T_OK(mp_cluster_pick(&w.c) == a && mp_cluster_pick(&w.c) == b &&
             mp_cluster_pick(&w.c) == c);
    }
    take(&w, 300, got);
    T_OK(got[0] == 100 && got[1] == 100 && got[2] == 100);
    fini(&w);
}

static void test_weights(void)
{
    struct world w;
    uint32_t got[HOSTS];
    init(&w, 3);
    w.host[1].weight = 2;
    w.host[2].weight = 7;
    mp_lb_rebuild(&w.c);
    take(&w, 1000, got);
    T_EQ(got[0], 100);
    T_EQ(got[1], 200);
    T_EQ(got[2], 700);
    fini(&w);
}

static void test_health(void)
{
    struct world w;
    uint32_t got[HOSTS];
    init(&w, 4);
    mp_lb_rebuild(&w.c);
    down(&w, 2, true);
    take(&w, 300, got);
    T_OK(got[0] == 100 && got[1] == 100 && got[2] == 0 && got[3] == 100);
    down(&w, 2, false);
    take(&w, 400, got);
    T_EQ(got[2], 100);
    fini(&w);
}

/* Of ten hosts, six, five and four are healthy; the threshold is 50 %. */
static void test_panic(void)
{
    for (uint32_t n_down = 4; n_down <= 6; n_down++) {
        struct world w;
        uint32_t got[HOSTS], used = 0;
        init(&w, 10);
        for (uint32_t i = 0; i < n_down; i++) {
            down(&w, i, true);
        }
        mp_lb_rebuild(&w.c);
        take(&w, 1000, got);
        for (uint32_t i = 0; i < 10; i++) {
            used += got[i] > 0;
        }
        bool panic = n_down == 6;
        T_EQ(used, panic ? 10 : 10 - n_down);
        T_EQ(mp_stat_read(w.scope, MP_ST_CLUSTER_LB_PANIC), panic ? 1000 : 0);
        fini(&w);
    }
}

static void test_no_panic(void)
{
    struct world w;
    init(&w, 2);
    w.conf.panic_percent = 0;
    down(&w, 0, true);
    down(&w, 1, true);
    mp_lb_rebuild(&w.c);
    T_OK(mp_cluster_pick(&w.c) == NULL);
    /* What the operator has taken out stays out in a panic too. */
    w.conf.panic_percent = 50;
    w.host[0].configured_up = false;
    mp_lb_rebuild(&w.c);
    for (int i = 0; i < 10; i++) {
        T_OK(mp_cluster_pick(&w.c) == &w.host[1]);
    }
    w.host[1].configured_up = false;
    mp_lb_rebuild(&w.c);
    T_OK(mp_cluster_pick(&w.c) == NULL);
    fini(&w);
}

/* Priority 0 bears all while 1.4 times its healthy share makes 100 %; then the rest falls. */
static void test_priorities(void)
{
    struct world w;
    uint32_t got[HOSTS];
    init(&w, 12);
    for (uint32_t i = 10; i < 12; i++) {
        w.host[i].priority = 1;
    }
    for (uint32_t n = 0; n <= 10; n++) {
        mp_lb_rebuild(&w.c);
        take(&w, 20000, got);
        uint32_t second = got[10] + got[11];
        uint32_t bears = (10 - n) * 14 < 100 ? (10 - n) * 14 : 100;
        uint32_t want = 20000 / 100 * (100 - bears);
        T_OK(second + 500 >= want && second <= want + 500);
        T_OK(n > 2 || second == 0);
        down(&w, n < 10 ? n : 0, true);
    }
    fini(&w);
}

static void test_slow_start(void)
{
    struct world w;
    uint32_t got[HOSTS];
    init(&w, 2);
    w.conf.slow_start_ms = 10000;
    uint64_t now = mp_loop_now_ns(w.cw.w.loop);
    static const struct {
        uint64_t age_ms;
        uint32_t percent; /* of a full weight */
    } rows[] = {{0, 10}, {500, 10}, {2500, 25}, {5000, 50}, {9999, 100}, {10000, 100}};
    for (size_t i = 0; i < MP_COUNTOF(rows); i++) {
        /* A machine that came up a moment ago has no time so far back. */
        if (now <= rows[i].age_ms * 1000000) {
            continue;
        }
        w.host_shared[1].since_ns = now - rows[i].age_ms * 1000000;
        mp_lb_rebuild(&w.c);
        take(&w, 1000 + 10 * rows[i].percent, got);
        T_OK(got[1] + 5 >= 10 * rows[i].percent && got[1] <= 10 * rows[i].percent + 5);
        T_OK((w.c.lb.reweigh_ms != 0) == (rows[i].age_ms < 10000));
    }
    fini(&w);
}

static void test_localities(void)
{
    struct world w;
    uint32_t got[HOSTS];
    init(&w, 6);
    w.conf.locality_weighted = true;
    for (uint32_t i = 0; i < 6; i++) {
        w.host[i].locality = i < 4 ? 0 : 1;
        w.host[i].locality_weight = i < 4 ? 1 : 3;
    }
    mp_lb_rebuild(&w.c);
    take(&w, 8000, got);
    for (uint32_t i = 0; i < 6; i++) {
        uint32_t want = i < 4 ? 500 : 3000;
        T_OK(got[i] + 20 >= want && got[i] <= want + 20);
    }
    fini(&w);
}

static void test_least_request(void)
{
    struct world w;
    uint32_t got[HOSTS];
    init(&w, 3);
    w.conf.lb = MP_LB_LEAST_REQUEST;
    w.conf.choice_count = 20;
    w.host[0].n_active = 5;
    w.host[1].n_active = 4;
    w.host[2].n_active = 6;
    mp_lb_rebuild(&w.c);
    take(&w, 200, got);
    T_OK(got[1] > 190);
    /* Weights: a host of twice the weight that is twice as busy gets as much. */
    w.host[0].weight = 2;
    w.host[0].n_active = 3;
    w.host[1].n_active = 1;
    w.host[2].n_active = 1;
    mp_lb_rebuild(&w.c);
    take(&w, 300, got);
    T_OK(got[0] >= 98 && got[0] <= 102 && got[1] >= 98 && got[1] <= 102);
    w.conf.active_bias = 0;
    mp_lb_rebuild(&w.c);
    take(&w, 400, got);
    T_OK(got[0] >= 198 && got[0] <= 202);
    fini(&w);
}

static void test_random(void)
{
    struct world w;
    uint32_t got[HOSTS];
    init(&w, 4);
    w.conf.lb = MP_LB_RANDOM;
    mp_lb_rebuild(&w.c);
    take(&w, 40000, got);
    for (uint32_t i = 0; i < 4; i++) {
        T_OK(got[i] > 9500 && got[i] < 10500);
    }
    fini(&w);
}

/* Requests are leased in batches only of limits that bear it; n-1, n, n+1. */
static void test_request_breaker(void)
{
    static const uint32_t limits[] = {1, 3, 255, 256, 1000};
    for (size_t k = 0; k < MP_COUNTOF(limits); k++) {
        struct world w;
        init(&w, 1);
        w.conf.breakers[1].requests_max = limits[k];
        for (uint32_t i = 0; i < limits[k]; i++) {
            T_OK(mp_cluster_take_request(&w.c, 1));
        }
        T_EQ(w.shared.use[1].requests, limits[k]);
        T_OK(!mp_cluster_take_request(&w.c, 1));
        T_OK(!mp_cluster_take_request(&w.c, 0)); /* limit 0 */
        mp_cluster_give_request(&w.c, 1);
        T_OK(mp_cluster_take_request(&w.c, 1));
        T_OK(!mp_cluster_take_request(&w.c, 1));
        for (uint32_t i = 0; i < limits[k]; i++) {
            mp_cluster_give_request(&w.c, 1);
        }
        T_OK(w.shared.use[1].requests <= 2 * MP_LEASE);
        T_EQ(w.shared.use[1].requests, w.c.lease_free[1]);
        T_OK(limits[k] >= 256 || w.c.lease_free[1] == 0);
        fini(&w);
    }
}

int main(void)
{
    mp_hash_set_key(1, 2);
    T_RUN(test_rotation);
    T_RUN(test_weights);
    T_RUN(test_health);
    T_RUN(test_panic);
    T_RUN(test_no_panic);
    T_RUN(test_priorities);
    T_RUN(test_slow_start);
    T_RUN(test_localities);
    T_RUN(test_least_request);
    T_RUN(test_random);
    T_RUN(test_request_breaker);
    return T_DONE();
}
