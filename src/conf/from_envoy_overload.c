/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The overload manager: which resources are watched, and what is done about them; and the watchdogs
 * of the threads. */
#include "conf/build.h"
#include "envoy_extensions_resource_monitors_downstream_connections_v3.pb-c.h"
#include "envoy_extensions_resource_monitors_fixed_heap_v3.pb-c.h"
#include "marchproxy_config_v1.pb-c.h"

typedef Envoy__Config__Overload__V3__OverloadManager pb_overload;
typedef Envoy__Config__Overload__V3__OverloadAction pb_action;
typedef Envoy__Config__Overload__V3__Trigger pb_trigger;
typedef Envoy__Config__Bootstrap__V3__Watchdog pb_watchdog;

#define REFRESH_MS        1000
#define STREAM_BYTES_LOG2 14

/* ---- monitors ---- */

static void set_connections(struct mp_conf_build *b, int64_t n)
{
    if (n < 1 || n > UINT32_MAX) {
        (void)mp_build_error(b, "typed_config.max_active_downstream_connections", "use 1 or more",
                             "%lld is out of range", (long long)n);
        return;
    }
    b->conf->downstream_connections_max = (uint32_t)n;
}

static void set_monitor(struct mp_conf_build *b, enum mp_conf_resource r, const char *name,
                        uint64_t max)
{
    struct mp_conf_overload *o = &b->conf->overload;
    if (o->monitor[r].n > 0) {
        (void)mp_build_error(b, NULL, "keep one", "the resource is watched by \"%s\" already",
                             o->monitor[r].p);
        return;
    }
    o->monitor[r] = mp_build_str(b, name);
    o->max[r] = max;
}

static void build_monitor(struct mp_conf_build *b,
                          const Envoy__Config__Overload__V3__ResourceMonitor *m)
{
    const ProtobufCMessage *any = mp_build_any(b, "typed_config", m->typed_config);
    if (m->name[0] == '\0') {
        mp_build_missing(b, "name", NULL, "name is missing");
    }
    if (!any) {
        return;
    }
    const ProtobufCMessageDescriptor *d = any->descriptor;
    if (d ==
        &envoy__extensions__resource_monitors__downstream_connections__v3__downstream_connections_config__descriptor) {
        set_connections(
            b,
            ((const Envoy__Extensions__ResourceMonitors__DownstreamConnections__V3__DownstreamConnectionsConfig
                  *)any)
                ->max_active_downstream_connections);
    } else if (
        d == &envoy__extensions__resource_monitors__fixed_heap__v3__fixed_heap_config__descriptor) {
        uint64_t max =
            ((const Envoy__Extensions__ResourceMonitors__FixedHeap__V3__FixedHeapConfig *)any)
                ->max_heap_size_bytes;
        if (max == 0) {
            (void)mp_build_error(b, "typed_config.max_heap_size_bytes", "use 1 or more",
                                 "max_heap_size_bytes is missing");
        }
        set_monitor(b, MP_RESOURCE_MEMORY, m->name, max);
    } else if (d == &marchproxy__config__v1__memory_monitor__descriptor) {
        set_monitor(b, MP_RESOURCE_MEMORY, m->name,
                    ((const Marchproxy__Config__V1__MemoryMonitor *)any)->max_bytes);
    } else if (d == &marchproxy__config__v1__descriptor_monitor__descriptor) {
        set_monitor(b, MP_RESOURCE_FDS, m->name,
                    ((const Marchproxy__Config__V1__DescriptorMonitor *)any)->max_descriptors);
    } else {
        (void)mp_build_error(b, "typed_config", NULL, "%s is not a resource monitor", d->name);
    }
}

/* ---- actions ---- */

static bool find_action(const char *name, enum mp_conf_overload_action *ret)
{
    static const char *const names[MP_OVERLOAD_ACTIONS] = {
        [MP_OVERLOAD_NO_KEEPALIVE] = "envoy.overload_actions.disable_http_keepalive",
        [MP_OVERLOAD_STOP_REQUESTS] = "envoy.overload_actions.stop_accepting_requests",
        [MP_OVERLOAD_REJECT_CONNECTIONS] = "envoy.overload_actions.reject_incoming_connections",
        [MP_OVERLOAD_STOP_ACCEPTING] = "envoy.overload_actions.stop_accepting_connections",
        [MP_OVERLOAD_RESET_STREAMS] = "envoy.overload_actions.reset_high_memory_stream",
    };
    for (unsigned i = 0; i < MP_OVERLOAD_ACTIONS; i++) {
        if (strcmp(names[i], name) == 0) {
            *ret = (enum mp_conf_overload_action)i;
            return true;
        }
    }
    return false;
}

static bool is_share(double v)
{
    return v >= 0 && v <= 1;
}

static void build_trigger(struct mp_conf_build *b, const pb_trigger *m,
                          enum mp_conf_overload_action action)
{
    struct mp_conf_overload *o = &b->conf->overload;
    struct mp_conf_trigger t = {.resource = MP_RESOURCES};
    for (unsigned i = 0; i < MP_RESOURCES; i++) {
        if (m->name[0] && mp_str_eq(o->monitor[i], mp_str_c(m->name))) {
            t.resource = (enum mp_conf_resource)i;
        }
    }
    if (t.resource == MP_RESOURCES) {
        (void)mp_build_error(b, "name", "name a resource monitor that is not of connections",
                             "there is no resource monitor \"%s\" for triggers", m->name);
        return;
    }
    if (m->trigger_oneof_case == ENVOY__CONFIG__OVERLOAD__V3__TRIGGER__TRIGGER_ONEOF_THRESHOLD) {
        t.from = t.full = m->threshold->value;
    } else if (m->trigger_oneof_case ==
               ENVOY__CONFIG__OVERLOAD__V3__TRIGGER__TRIGGER_ONEOF_SCALED) {
        t.from = m->scaled->scaling_threshold;
        t.full = m->scaled->saturation_threshold;
        if (t.from >= t.full) {
            (void)mp_build_error(b, "scaled", NULL,
                                 "scaling_threshold must be less than saturation_threshold");
            return;
        }
    } else {
        mp_build_missing(b, NULL, "add threshold or scaled", "the trigger is empty");
        return;
    }
    if (!is_share(t.from) || !is_share(t.full)) {
        (void)mp_build_error(b, NULL, "use 0 to 1", "a threshold is out of range");
        return;
    }
    for (uint32_t i = 0; i < o->n_triggers[action]; i++) {
        if (o->triggers[action][i].resource == t.resource) {
            (void)mp_build_error(b, "name", "keep one", "a second trigger of \"%s\"", m->name);
            return;
        }
    }
    o->triggers[action][o->n_triggers[action]++] = t;
}

static void build_action(struct mp_conf_build *b, const pb_action *m)
{
    enum mp_conf_overload_action action;
    if (!find_action(m->name, &action)) {
        mp_build_unsupported(b, "name",
                             "use stop_accepting_connections, stop_accepting_requests, "
                             "reject_incoming_connections, disable_http_keepalive or "
                             "reset_high_memory_stream of envoy.overload_actions",
                             "overload action \"%s\" is not supported", m->name);
        return;
    }
    if (b->conf->overload.n_triggers[action] > 0) {
        (void)mp_build_error(b, "name", "keep one", "action \"%s\" appears twice", m->name);
        return;
    }
    if (m->n_triggers == 0) {
        mp_build_missing(b, "triggers", NULL, "triggers is missing");
    }
    for (size_t i = 0; i < m->n_triggers; i++) {
        size_t mark = mp_build_enter(b, "triggers[%zu]", i);
        build_trigger(b, m->triggers[i], action);
        mp_build_leave(b, mark);
    }
}

void mp_build_overload(struct mp_conf_build *b, const pb_overload *m)
{
    struct mp_conf_overload *o = &b->conf->overload;
    o->refresh_ms = REFRESH_MS;
    o->stream_bytes_log2 = STREAM_BYTES_LOG2;
    if (!m) {
        return;
    }
    size_t mark = mp_build_enter(b, "overload_manager");
    mp_build_ms(b, "refresh_interval", m->refresh_interval, &o->refresh_ms);
    if (o->refresh_ms < 10) {
        (void)mp_build_error(b, "refresh_interval", "use 10ms or more", "too short");
    }
    uint32_t log2 = m->buffer_factory_config
                        ? m->buffer_factory_config->minimum_account_to_track_power_of_two
                        : 0;
    if (log2 != 0 && (log2 < 10 || log2 > 56)) {
        (void)mp_build_error(b, "buffer_factory_config.minimum_account_to_track_power_of_two",
                             "use 10 to 56", "%u is out of range", log2);
    } else if (log2 != 0) {
        o->stream_bytes_log2 = (uint8_t)log2;
    }
    for (size_t i = 0; i < m->n_resource_monitors; i++) {
        size_t mark2 = mp_build_enter(b, "resource_monitors[%zu]", i);
        build_monitor(b, m->resource_monitors[i]);
        mp_build_leave(b, mark2);
    }
    for (size_t i = 0; i < m->n_actions; i++) {
        size_t mark2 = mp_build_enter(b, "actions[%zu]", i);
        build_action(b, m->actions[i]);
        mp_build_leave(b, mark2);
    }
    mp_build_leave(b, mark);
}

/* ---- watchdogs ---- */

static void build_watchdog(struct mp_conf_build *b, const char *sub, const pb_watchdog *m,
                           struct mp_conf_watchdog *ret)
{
    *ret = (struct mp_conf_watchdog){.miss_ms = 200, .megamiss_ms = 1000};
    if (!m) {
        return;
    }
    size_t mark = mp_build_enter(b, "%s", sub);
    mp_build_ms(b, "miss_timeout", m->miss_timeout, &ret->miss_ms);
    mp_build_ms(b, "megamiss_timeout", m->megamiss_timeout, &ret->megamiss_ms);
    mp_build_ms(b, "kill_timeout", m->kill_timeout, &ret->kill_ms);
    mp_build_ms(b, "multikill_timeout", m->multikill_timeout, &ret->multikill_ms);
    mp_build_ms(b, "max_kill_timeout_jitter", m->max_kill_timeout_jitter, &ret->kill_jitter_ms);
    if (m->multikill_threshold) {
        double v = m->multikill_threshold->value;
        if (!(v >= 0 && v <= 100)) {
            (void)mp_build_error(b, "multikill_threshold", "use 0 to 100", "out of range");
        }
        ret->multikill_share = v / 100;
    }
    mp_build_leave(b, mark);
}

void mp_build_watchdogs(struct mp_conf_build *b, const pb_bootstrap *m)
{
    struct mp_conf *c = b->conf;
    if (m->watchdogs && m->watchdog) {
        (void)mp_build_error(b, "watchdog", "keep watchdogs",
                             "watchdog and watchdogs exclude each other");
    }
    const pb_watchdog *main = m->watchdogs ? m->watchdogs->main_thread_watchdog : m->watchdog;
    const pb_watchdog *worker = m->watchdogs ? m->watchdogs->worker_watchdog : m->watchdog;
    build_watchdog(b, m->watchdogs ? "watchdogs.main_thread_watchdog" : "watchdog", main,
                   &c->watchdog_main);
    build_watchdog(b, m->watchdogs ? "watchdogs.worker_watchdog" : "watchdog", worker,
                   &c->watchdog_workers);
}
