/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Outlier detection: hosts that fail under traffic are left out for a while. */
#include "conf/build.h"

typedef Envoy__Config__Cluster__V3__OutlierDetection pb_outlier;

static void percent(struct mp_conf_build *b, const char *sub, const pb_u32 *v, uint32_t otherwise,
                    uint32_t *ret)
{
    *ret = otherwise;
    mp_build_u32(b, sub, v, 0, 100, ret);
}

static void number(struct mp_conf_build *b, const char *sub, const pb_u32 *v, uint32_t otherwise,
                   uint32_t *ret)
{
    *ret = otherwise;
    mp_build_u32(b, sub, v, 0, UINT32_MAX, ret);
}

static void build_times(struct mp_conf_build *b, const pb_outlier *m, struct mp_conf_outlier *o)
{
    o->interval_ms = 10000;
    o->base_ms = 30000;
    mp_build_ms(b, "interval", m->interval, &o->interval_ms);
    mp_build_ms(b, "base_ejection_time", m->base_ejection_time, &o->base_ms);
    mp_build_ms(b, "max_ejection_time_jitter", m->max_ejection_time_jitter, &o->jitter_ms);
    o->max_ms = MP_MAX(o->base_ms, (uint64_t)300000);
    mp_build_ms(b, "max_ejection_time", m->max_ejection_time, &o->max_ms);
    if (o->interval_ms == 0) {
        (void)mp_build_error(b, "interval", "leave it out for 10s", "the interval is 0");
    }
    if (o->base_ms == 0) {
        (void)mp_build_error(b, "base_ejection_time", "leave it out for 30s", "the time is 0");
    }
    if (o->max_ms < o->base_ms) {
        (void)mp_build_error(b, "max_ejection_time", NULL, "it is shorter than base_ejection_time");
    }
}

void mp_build_outlier(struct mp_conf_build *b, const pb_cluster *cluster,
                      struct mp_conf_cluster *ret)
{
    const pb_outlier *m = cluster->outlier_detection;
    if (!m) {
        return;
    }
    size_t mark = mp_build_enter(b, "outlier_detection");
    struct mp_conf_outlier *o = mp_build_take(b, 1, sizeof(*o));
    ret->outlier = o;
    build_times(b, m, o);
    o->event_log = mp_build_str(b, b->conf->outlier_log.p ? b->conf->outlier_log.p : "");
    number(b, "consecutive_5xx", m->consecutive_5xx, 5, &o->consecutive_5xx);
    number(b, "consecutive_gateway_failure", m->consecutive_gateway_failure, 5,
           &o->consecutive_gateway);
    number(b, "consecutive_local_origin_failure", m->consecutive_local_origin_failure, 5,
           &o->consecutive_local);
    percent(b, "enforcing_consecutive_5xx", m->enforcing_consecutive_5xx, 100, &o->enforce_5xx);
    percent(b, "enforcing_consecutive_gateway_failure", m->enforcing_consecutive_gateway_failure, 0,
            &o->enforce_gateway);
    percent(b, "enforcing_consecutive_local_origin_failure",
            m->enforcing_consecutive_local_origin_failure, 100, &o->enforce_local);
    percent(b, "max_ejection_percent", m->max_ejection_percent, 10, &o->ejection_percent_max);
    o->split_local = m->split_external_local_origin_errors;
    o->check_unejects = true;
    mp_build_bool(m->successful_active_health_check_uneject_host, &o->check_unejects);
    percent(b, "enforcing_success_rate", m->enforcing_success_rate, 100, &o->enforce_success);
    percent(b, "enforcing_local_origin_success_rate", m->enforcing_local_origin_success_rate, 100,
            &o->enforce_success_local);
    number(b, "success_rate_minimum_hosts", m->success_rate_minimum_hosts, 5,
           &o->success_hosts_min);
    number(b, "success_rate_request_volume", m->success_rate_request_volume, 100,
           &o->success_volume_min);
    number(b, "success_rate_stdev_factor", m->success_rate_stdev_factor, 1900,
           &o->success_stdev_factor);
    percent(b, "failure_percentage_threshold", m->failure_percentage_threshold, 85,
            &o->failure_threshold);
    percent(b, "enforcing_failure_percentage", m->enforcing_failure_percentage, 0,
            &o->enforce_failures);
    percent(b, "enforcing_failure_percentage_local_origin",
            m->enforcing_failure_percentage_local_origin, 0, &o->enforce_failures_local);
    number(b, "failure_percentage_minimum_hosts", m->failure_percentage_minimum_hosts, 5,
           &o->failure_hosts_min);
    number(b, "failure_percentage_request_volume", m->failure_percentage_request_volume, 50,
           &o->failure_volume_min);
    mp_build_leave(b, mark);
}
