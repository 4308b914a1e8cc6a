/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* limits: of a simple file that are not the HTTP manager's: of listeners, the overload manager and
 * the watchdogs, with safe defaults. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "conf/march.h"

typedef Envoy__Config__Overload__V3__OverloadManager pb_overload;
typedef Envoy__Config__Overload__V3__OverloadAction pb_action;
typedef Envoy__Config__Overload__V3__Trigger pb_trigger;

#define BUFFER_DEFAULT    32768
#define MEMORY_MIN        (4u << 20)
#define KEEPALIVE_S       60
#define KEEPALIVE_EVERY_S 15
#define KEEPALIVE_PROBES  4
#define REQUEST_TIMEOUT_S 300
#define HANG_S            30
#define REFRESH_NS        200000000

/* ---- checks ---- */

static void check_range(struct mp_march *m, const char *name, const pb_u32 *v, uint32_t min,
                        uint32_t max, uint32_t *ret)
{
    char sub[64];
    snprintf(sub, sizeof(sub), "limits.%s", name);
    mp_build_u32(m->b, sub, v, min, max, ret);
}

static void check_time(struct mp_march *m, const char *name, const pb_duration *d)
{
    char sub[64];
    uint64_t ignored;
    snprintf(sub, sizeof(sub), "limits.%s", name);
    mp_build_ms(m->b, sub, d, &ignored);
}

/* Whole seconds, as the kernel has them. */
static void check_keepalive(struct mp_march *m, const pb_limits *l)
{
    const struct {
        const char *name;
        const pb_duration *d;
    } times[] = {{"limits.tcp_keepalive_time", l->tcp_keepalive_time},
                 {"limits.tcp_keepalive_interval", l->tcp_keepalive_interval}};
    uint32_t ignored;
    for (size_t i = 0; i < MP_COUNTOF(times); i++) {
        const pb_duration *d = times[i].d;
        bool off = i == 0 && d && d->seconds == 0;
        if (d && (d->nanos != 0 || d->seconds > 32767 || (d->seconds < 1 && !off))) {
            (void)mp_build_error(m->b, times[i].name, "use 1s to 32767s",
                                 "whole seconds are expected");
        }
    }
    check_range(m, "tcp_keepalive_probes", l->tcp_keepalive_probes, 1, 127, &ignored);
}

void mp_march_check_limits(struct mp_march *m)
{
    const pb_limits *l = m->file->limits;
    uint32_t ignored;
    m->buffer_bytes = BUFFER_DEFAULT;
    if (!l) {
        return;
    }
    check_range(m, "head_bytes", l->head_bytes, 1024, 60 << 10, &ignored);
    check_range(m, "header_fields", l->header_fields, 1, 65535, &ignored);
    check_range(m, "connections", l->connections, 1, UINT32_MAX, &ignored);
    check_range(m, "buffer_bytes", l->buffer_bytes, 1024, 1u << 30, &m->buffer_bytes);
    check_time(m, "idle_timeout", l->idle_timeout);
    check_time(m, "stream_idle_timeout", l->stream_idle_timeout);
    check_time(m, "request_timeout", l->request_timeout);
    check_time(m, "request_headers_timeout", l->request_headers_timeout);
    check_time(m, "max_connection_duration", l->max_connection_duration);
    check_time(m, "drain_timeout", l->drain_timeout);
    check_time(m, "max_stream_duration", l->max_stream_duration);
    check_time(m, "tcp_keepalive_interval", l->tcp_keepalive_interval);
    check_time(m, "hang_timeout", l->hang_timeout);
    check_keepalive(m, l);
    check_range(m, "per_source_connections", l->per_source_connections, 0, UINT32_MAX, &ignored);
    check_range(m, "accepts_per_second", l->accepts_per_second, 0, MP_ACCEPT_RATE_MAX, &ignored);
    check_range(m, "per_source_accepts_per_second", l->per_source_accepts_per_second, 0,
                MP_ACCEPT_RATE_MAX, &ignored);
    check_range(m, "descriptors", l->descriptors, 64, UINT32_MAX, &ignored);
    if (l->memory_bytes && l->memory_bytes->value < MEMORY_MIN) {
        (void)mp_build_error(m->b, "limits.memory_bytes", "use 4194304 or more",
                             "%llu bytes are too few", (unsigned long long)l->memory_bytes->value);
    }
}

/* ---- listeners ---- */

static void add_option(struct mp_march *m, pb_listener *out, int level, int name, int64_t value)
{
    Envoy__Config__Core__V3__SocketOption *o =
        MP_MARCH_NEW(m, envoy__config__core__v3__socket_option);
    o->level = level;
    o->name = name;
    o->value_case = ENVOY__CONFIG__CORE__V3__SOCKET_OPTION__VALUE_INT_VALUE;
    o->int_value = value;
    out->socket_options[out->n_socket_options++] = o;
}

/* A client that is gone without a word is noticed after two minutes, whatever the timeouts. */
static void add_keepalive(struct mp_march *m, pb_listener *out)
{
    const pb_limits *l = m->file->limits;
    const pb_duration *time = l ? l->tcp_keepalive_time : NULL;
    const pb_duration *interval = l ? l->tcp_keepalive_interval : NULL;
    const pb_u32 *probes = l ? l->tcp_keepalive_probes : NULL;
    if ((time && time->seconds == 0) ||
        out->address->address_case == ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_PIPE) {
        return;
    }
    out->socket_options = MP_MARCH_LIST(m, out->socket_options, 4);
    add_option(m, out, SOL_SOCKET, SO_KEEPALIVE, 1);
    add_option(m, out, IPPROTO_TCP, TCP_KEEPIDLE, time ? time->seconds : KEEPALIVE_S);
    add_option(m, out, IPPROTO_TCP, TCP_KEEPINTVL,
               interval ? interval->seconds : KEEPALIVE_EVERY_S);
    add_option(m, out, IPPROTO_TCP, TCP_KEEPCNT, probes ? probes->value : KEEPALIVE_PROBES);
}

void mp_march_listener_limits(struct mp_march *m, pb_listener *out)
{
    const pb_limits *l = m->file->limits;
    add_keepalive(m, out);
    if (!l || (!l->per_source_connections && !l->accepts_per_second &&
               !l->per_source_accepts_per_second)) {
        return;
    }
    Marchproxy__Config__V1__ListenerLimits *own =
        MP_MARCH_NEW(m, marchproxy__config__v1__listener_limits);
    own->max_connections_per_source =
        l->per_source_connections ? l->per_source_connections->value : 0;
    own->accepts_per_second = l->accepts_per_second ? l->accepts_per_second->value : 0;
    own->source_accepts_per_second =
        l->per_source_accepts_per_second ? l->per_source_accepts_per_second->value : 0;
    Envoy__Config__Listener__V3__ListenerFilter *f =
        MP_MARCH_NEW(m, envoy__config__listener__v3__listener_filter);
    f->name = (char *)"marchproxy.limits";
    f->config_type_case = ENVOY__CONFIG__LISTENER__V3__LISTENER_FILTER__CONFIG_TYPE_TYPED_CONFIG;
    f->typed_config = mp_march_any(m, &own->base);
    out->listener_filters = MP_MARCH_LIST(m, out->listener_filters, 1);
    out->listener_filters[out->n_listener_filters++] = f;
}

/* A body that drips for ever is cut off after five minutes; not where gRPC may stream for hours. */
pb_duration *mp_march_request_timeout(struct mp_march *m)
{
    for (size_t i = 0; i < m->file->n_services; i++) {
        const pb_service *s = m->file->services[i];
        if (strcmp(s->protocol, "grpc") == 0 || strcmp(s->protocol, "http2") == 0 ||
            s->http2_enabled) {
            return NULL;
        }
    }
    return mp_march_seconds(m, REQUEST_TIMEOUT_S);
}

/* ---- overload ---- */

#define MEMORY      "marchproxy.resource_monitors.memory"
#define DESCRIPTORS "marchproxy.resource_monitors.descriptors"

static void add_monitor(struct mp_march *m, pb_overload *o, const char *name,
                        const ProtobufCMessage *conf)
{
    Envoy__Config__Overload__V3__ResourceMonitor *r =
        MP_MARCH_NEW(m, envoy__config__overload__v3__resource_monitor);
    r->name = (char *)name;
    r->config_type_case = ENVOY__CONFIG__OVERLOAD__V3__RESOURCE_MONITOR__CONFIG_TYPE_TYPED_CONFIG;
    r->typed_config = mp_march_any(m, conf);
    o->resource_monitors[o->n_resource_monitors++] = r;
}

/* full 0: a threshold. */
static pb_trigger *trigger(struct mp_march *m, const char *monitor, double from, double full)
{
    pb_trigger *t = MP_MARCH_NEW(m, envoy__config__overload__v3__trigger);
    t->name = (char *)monitor;
    if (full == 0) {
        t->trigger_oneof_case = ENVOY__CONFIG__OVERLOAD__V3__TRIGGER__TRIGGER_ONEOF_THRESHOLD;
        t->threshold = MP_MARCH_NEW(m, envoy__config__overload__v3__threshold_trigger);
        t->threshold->value = from;
        return t;
    }
    t->trigger_oneof_case = ENVOY__CONFIG__OVERLOAD__V3__TRIGGER__TRIGGER_ONEOF_SCALED;
    t->scaled = MP_MARCH_NEW(m, envoy__config__overload__v3__scaled_trigger);
    t->scaled->scaling_threshold = from;
    t->scaled->saturation_threshold = full;
    return t;
}

void mp_march_overload(struct mp_march *m, pb_bootstrap *boot)
{
    /* First connections are given back, then the heaviest requests, then new ones are refused; the
     * connections that carry them last, because a refusal in words tells the client more. */
    static const struct {
        const char *name;
        double memory, memory_full, fds, fds_full;
    } actions[] = {
        {"envoy.overload_actions.disable_http_keepalive", 0.85, 0, 0.85, 0},
        {"envoy.overload_actions.reset_high_memory_stream", 0.92, 0.98, 0, 0},
        {"envoy.overload_actions.stop_accepting_requests", 0.90, 0, 0.92, 0},
        {"envoy.overload_actions.reject_incoming_connections", 0.96, 0, 0.96, 0},
    };
    const pb_limits *l = m->file->limits;
    if (l && l->overload && !l->overload->value) {
        return;
    }
    pb_overload *o = MP_MARCH_NEW(m, envoy__config__overload__v3__overload_manager);
    Marchproxy__Config__V1__MemoryMonitor *memory =
        MP_MARCH_NEW(m, marchproxy__config__v1__memory_monitor);
    Marchproxy__Config__V1__DescriptorMonitor *fds =
        MP_MARCH_NEW(m, marchproxy__config__v1__descriptor_monitor);
    memory->max_bytes = l && l->memory_bytes ? l->memory_bytes->value : 0;
    fds->max_descriptors = l && l->descriptors ? l->descriptors->value : 0;
    o->refresh_interval = mp_march_seconds(m, 0);
    o->refresh_interval->nanos = REFRESH_NS;
    o->resource_monitors = MP_MARCH_LIST(m, o->resource_monitors, 2);
    add_monitor(m, o, MEMORY, &memory->base);
    add_monitor(m, o, DESCRIPTORS, &fds->base);
    o->actions = MP_MARCH_LIST(m, o->actions, MP_COUNTOF(actions));
    for (size_t i = 0; i < MP_COUNTOF(actions); i++) {
        pb_action *a = MP_MARCH_NEW(m, envoy__config__overload__v3__overload_action);
        a->name = (char *)actions[i].name;
        a->triggers = MP_MARCH_LIST(m, a->triggers, 2);
        a->triggers[a->n_triggers++] =
            trigger(m, MEMORY, actions[i].memory, actions[i].memory_full);
        if (actions[i].fds > 0) {
            a->triggers[a->n_triggers++] =
                trigger(m, DESCRIPTORS, actions[i].fds, actions[i].fds_full);
        }
        o->actions[o->n_actions++] = a;
    }
    boot->overload_manager = o;
}

/* ---- watchdogs ---- */

void mp_march_watchdogs(struct mp_march *m, pb_bootstrap *boot)
{
    const pb_limits *l = m->file->limits;
    Envoy__Config__Bootstrap__V3__Watchdog *w =
        MP_MARCH_NEW(m, envoy__config__bootstrap__v3__watchdog);
    w->kill_timeout = l && l->hang_timeout ? l->hang_timeout : mp_march_seconds(m, HANG_S);
    boot->watchdogs = MP_MARCH_NEW(m, envoy__config__bootstrap__v3__watchdogs);
    boot->watchdogs->main_thread_watchdog = w;
    boot->watchdogs->worker_watchdog = w;
}
