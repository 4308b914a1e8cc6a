/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* How a cluster's hosts are chosen, and its circuit breakers. */
#include "conf/build.h"

typedef Envoy__Config__Cluster__V3__CircuitBreakers__Thresholds pb_thresholds;
typedef Envoy__Config__Cluster__V3__Cluster__SlowStartConfig pb_slow_start;
#define CLUSTER(value) ENVOY__CONFIG__CLUSTER__V3__CLUSTER__##value

#define CHOICES_MAX 64

void mp_build_percent(struct mp_conf_build *b, const char *sub, const Envoy__Type__V3__Percent *m,
                      double *ret)
{
    if (!m) {
        return;
    }
    if (!(m->value >= 0 && m->value <= 100)) {
        (void)mp_build_error(b, sub, "use 0 to 100", "%g is out of range", m->value);
        return;
    }
    *ret = m->value;
}

/* ---- circuit breakers ---- */

static void build_thresholds(struct mp_conf_build *b, const pb_thresholds *t,
                             struct mp_conf_breaker *to)
{
    mp_build_u32(b, "max_connections", t->max_connections, 0, UINT32_MAX, &to->connections_max);
    mp_build_u32(b, "max_pending_requests", t->max_pending_requests, 0, UINT32_MAX,
                 &to->pending_max);
    mp_build_u32(b, "max_requests", t->max_requests, 0, UINT32_MAX, &to->requests_max);
    mp_build_u32(b, "max_retries", t->max_retries, 0, UINT32_MAX, &to->retries_max);
    to->track_remaining = t->track_remaining;
    if (t->retry_budget) {
        to->retry_budget = true;
        mp_build_percent(b, "retry_budget.budget_percent", t->retry_budget->budget_percent,
                         &to->budget_percent);
        mp_build_u32(b, "retry_budget.min_retry_concurrency",
                     t->retry_budget->min_retry_concurrency, 0, UINT32_MAX, &to->budget_min);
    }
}

static void build_breakers(struct mp_conf_build *b,
                           const Envoy__Config__Cluster__V3__CircuitBreakers *m,
                           struct mp_conf_cluster *ret)
{
    bool seen[MP_PRIORITIES] = {false};
    for (int i = 0; i < MP_PRIORITIES; i++) {
        ret->breakers[i] = (struct mp_conf_breaker){
            .connections_max = 1024,
            .pending_max = 1024,
            .requests_max = 1024,
            .retries_max = 3,
            .budget_percent = 20,
            .budget_min = 3,
        };
    }
    for (size_t i = 0; m && i < m->n_thresholds; i++) {
        size_t mark = mp_build_enter(b, "circuit_breakers.thresholds[%zu]", i);
        unsigned priority = (unsigned)m->thresholds[i]->priority;
        if (priority >= MP_COUNTOF(seen)) {
            (void)mp_build_error(b, "priority", NULL, "value %u is not supported", priority);
        } else if (seen[priority]) {
            mp_build_missing(b, "priority", NULL, "there are thresholds for this priority already");
        } else {
            seen[priority] = true;
            build_thresholds(b, m->thresholds[i], &ret->breakers[priority]);
        }
        mp_build_leave(b, mark);
    }
}

/* ---- balancing ---- */

static void build_slow_start(struct mp_conf_build *b, const char *sub, const pb_slow_start *m,
                             struct mp_conf_cluster *ret)
{
    if (!m) {
        return;
    }
    size_t mark = mp_build_enter(b, "%s.slow_start_config", sub);
    mp_build_ms(b, "slow_start_window", m->slow_start_window, &ret->slow_start_ms);
    if (ret->slow_start_ms == 0) {
        mp_build_missing(b, "slow_start_window", NULL, "slow_start_window is missing");
    }
    if (m->aggression) {
        ret->slow_aggression = m->aggression->default_value;
        if (!(ret->slow_aggression > 0 && ret->slow_aggression <= 1000)) {
            (void)mp_build_error(b, "aggression.default_value", "use more than 0, 1 is linear",
                                 "%g is out of range", ret->slow_aggression);
        }
    }
    mp_build_percent(b, "min_weight_percent", m->min_weight_percent, &ret->slow_min_percent);
    mp_build_leave(b, mark);
}

static void build_policy(struct mp_conf_build *b, const pb_cluster *m, struct mp_conf_cluster *ret)
{
    switch (m->lb_policy) {
    case CLUSTER(LB_POLICY__ROUND_ROBIN):
        ret->lb = MP_LB_ROUND_ROBIN;
        break;
    case CLUSTER(LB_POLICY__LEAST_REQUEST):
        ret->lb = MP_LB_LEAST_REQUEST;
        break;
    case CLUSTER(LB_POLICY__RANDOM):
        ret->lb = MP_LB_RANDOM;
        break;
    default:
        (void)mp_build_error(b, "lb_policy", "use ROUND_ROBIN, LEAST_REQUEST or RANDOM",
                             "value %d is not supported", (int)m->lb_policy);
        break;
    }
}

static void build_policy_config(struct mp_conf_build *b, const pb_cluster *m,
                                struct mp_conf_cluster *ret)
{
    if (m->lb_config_case == CLUSTER(LB_CONFIG_LEAST_REQUEST_LB_CONFIG)) {
        const Envoy__Config__Cluster__V3__Cluster__LeastRequestLbConfig *l =
            m->least_request_lb_config;
        if (ret->lb != MP_LB_LEAST_REQUEST) {
            (void)mp_build_error(b, "least_request_lb_config", "add lb_policy: LEAST_REQUEST",
                                 "it has no meaning for this lb_policy");
        }
        mp_build_u32(b, "least_request_lb_config.choice_count", l->choice_count, 2, CHOICES_MAX,
                     &ret->choice_count);
        if (l->active_request_bias) {
            ret->active_bias = l->active_request_bias->default_value;
            if (!(ret->active_bias >= 0 && ret->active_bias <= 1000)) {
                (void)mp_build_error(b, "least_request_lb_config.active_request_bias",
                                     "use 0 or more", "%g is out of range", ret->active_bias);
            }
        }
        build_slow_start(b, "least_request_lb_config", l->slow_start_config, ret);
    } else if (m->lb_config_case == CLUSTER(LB_CONFIG_ROUND_ROBIN_LB_CONFIG)) {
        if (ret->lb != MP_LB_ROUND_ROBIN) {
            (void)mp_build_error(b, "round_robin_lb_config", "add lb_policy: ROUND_ROBIN",
                                 "it has no meaning for this lb_policy");
        }
        build_slow_start(b, "round_robin_lb_config", m->round_robin_lb_config->slow_start_config,
                         ret);
    }
}

void mp_build_balance(struct mp_conf_build *b, const pb_cluster *m, struct mp_conf_cluster *ret)
{
    ret->panic_percent = 50;
    ret->overprovisioning = 140;
    ret->choice_count = 2;
    ret->active_bias = 1;
    ret->slow_aggression = 1;
    ret->slow_min_percent = 10;
    build_breakers(b, m->circuit_breakers, ret);
    build_policy(b, m, ret);
    build_policy_config(b, m, ret);
    if (m->common_lb_config) {
        mp_build_percent(b, "common_lb_config.healthy_panic_threshold",
                         m->common_lb_config->healthy_panic_threshold, &ret->panic_percent);
        ret->locality_weighted =
            m->common_lb_config->locality_config_specifier_case ==
            CLUSTER(COMMON_LB_CONFIG__LOCALITY_CONFIG_SPECIFIER_LOCALITY_WEIGHTED_LB_CONFIG);
    }
    if (m->load_assignment && m->load_assignment->policy) {
        mp_build_u32(b, "load_assignment.policy.overprovisioning_factor",
                     m->load_assignment->policy->overprovisioning_factor, 1, 1000000,
                     &ret->overprovisioning);
    }
}
