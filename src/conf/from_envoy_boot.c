/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Bootstrap: node, admin, runtime, and the lists of listeners and clusters. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "conf/build.h"
#include "marchproxy_config_v1.pb-c.h"

#define DEFAULT_CONNECTIONS 50000
#define DEFAULT_FLUSH_MS    5000
#define SERIES_MAX          200000

/* ---- runtime ---- */

/* The runtime keys that act. Each gets a whole number. */
static bool set_runtime(struct mp_conf_build *b, struct mp_str key, uint32_t value)
{
    static const struct mp_str prefix = {"envoy.resource_limits.listener.", 31};
    static const struct mp_str suffix = {".connection_limit", 17};
    if (mp_str_eq(key, MP_STR("overload.global_downstream_max_connections"))) {
        b->conf->downstream_connections_max = value;
        return true;
    }
    if (key.n <= prefix.n + suffix.n || !mp_str_starts(key, prefix) || !mp_str_ends(key, suffix)) {
        return false;
    }
    /* The limit of a listener that does not exist limits nothing, as the layers come before the
     * listeners. */
    struct mp_str name = mp_str(key.p + prefix.n, key.n - prefix.n - suffix.n);
    for (uint32_t i = 0; i < b->conf->n_listeners; i++) {
        struct mp_conf_listener *l = b->conf->listeners[i];
        if (mp_str_eq(l->name, name)) {
            l->connections_max = value;
            /* Not of the listener's own message, but a change of the listener all the same. */
            l->source.hash = mp_hash_fnv(l->source.hash, &value, sizeof(value));
        }
    }
    return true;
}

/* For /runtime; the last layer's value is the one that holds. */
static void note_runtime(struct mp_conf_build *b, struct mp_str key, uint32_t value)
{
    struct mp_conf *c = b->conf;
    if (c->n_runtime == c->cap_runtime) {
        struct mp_conf_runtime *old = c->runtime;
        c->cap_runtime = c->cap_runtime > 0 ? 2 * c->cap_runtime : 16;
        c->runtime = mp_build_take(b, c->cap_runtime, sizeof(*c->runtime));
        if (old) {
            memcpy(c->runtime, old, c->n_runtime * sizeof(*old));
        }
    }
    c->runtime[c->n_runtime++] = (struct mp_conf_runtime){
        .key = key, .value = mp_build_printf(b, "%u", value), .layer = c->n_layers - 1};
}

static void build_runtime_value(struct mp_conf_build *b, struct mp_str key,
                                const Google__Protobuf__Value *v)
{
    double d = v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE ? v->number_value : -1;
    uint64_t n;
    if (v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE &&
        !mp_is_err(mp_str_to_u64(mp_str_c(v->string_value), &n)) && n <= UINT32_MAX) {
        d = (double)n;
    }
    bool whole = d >= 0 && d <= UINT32_MAX && d == floor(d);
    note_runtime(b, key, whole ? (uint32_t)d : 0);
    if (!set_runtime(b, key, whole ? (uint32_t)d : 0)) {
        mp_build_unsupported(b, NULL, "remove it, or use --allow-unsupported to run without it",
                             "runtime key \"" MP_STR_FMT "\" is not supported", MP_STR_ARG(key));
    } else if (!whole || d < 1) {
        (void)mp_build_error(b, NULL, "use 1 or more",
                             "runtime key \"" MP_STR_FMT "\" needs a whole number",
                             MP_STR_ARG(key));
    }
}

/* Nested maps and dotted keys mean the same. */
static void build_runtime(struct mp_conf_build *b, struct mp_str prefix,
                          const Google__Protobuf__Struct *s)
{
    for (size_t i = 0; i < s->n_fields; i++) {
        const Google__Protobuf__Struct__FieldsEntry *e = s->fields[i];
        struct mp_str key =
            mp_build_printf(b, MP_STR_FMT "%s%s", MP_STR_ARG(prefix), prefix.n ? "." : "", e->key);
        size_t mark = mp_build_enter(b, "[\"%s\"]", e->key);
        if (!e->value) {
            (void)mp_build_error(b, NULL, NULL, "has no value");
        } else if (e->value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE) {
            build_runtime(b, key, e->value->struct_value);
        } else {
            build_runtime_value(b, key, e->value);
        }
        mp_build_leave(b, mark);
    }
}

static void build_layers(struct mp_conf_build *b,
                         const Envoy__Config__Bootstrap__V3__LayeredRuntime *m)
{
    b->conf->layers = mp_build_take(b, m ? m->n_layers : 0, sizeof(*b->conf->layers));
    for (size_t i = 0; m && i < m->n_layers; i++) {
        const Envoy__Config__Bootstrap__V3__RuntimeLayer *l = m->layers[i];
        b->conf->layers[b->conf->n_layers++] = mp_build_str(b, l->name);
        size_t mark = mp_build_enter(b, "layered_runtime.layers[%zu]", i);
        if (l->name[0] == '\0') {
            mp_build_missing(b, "name", NULL, "name is missing");
        }
        if (l->layer_specifier_case ==
            ENVOY__CONFIG__BOOTSTRAP__V3__RUNTIME_LAYER__LAYER_SPECIFIER_STATIC_LAYER) {
            size_t mark2 = mp_build_enter(b, "static_layer");
            build_runtime(b, mp_str(NULL, 0), l->static_layer);
            mp_build_leave(b, mark2);
        } else {
            mp_build_missing(b, NULL, "add static_layer", "the layer is empty");
        }
        mp_build_leave(b, mark);
    }
}

/* ---- admin ---- */

static void build_admin(struct mp_conf_build *b, const Envoy__Config__Bootstrap__V3__Admin *m)
{
    struct mp_conf_admin *a = &b->conf->admin;
    if (!m) {
        return;
    }
    size_t mark = mp_build_enter(b, "admin");
    if (m->address) {
        a->present = mp_build_addr(b, "address", m->address, "use 127.0.0.1", 0, &a->addr);
    }
    mp_build_source(b, &m->base, &a->source);
    a->part = mp_conf_part_new();
    struct mp_arena *before = mp_build_enter_part(b, a->part);
    mp_build_alogs(b, m->access_log, m->n_access_log, &a->alogs, &a->n_alogs);
    /* The older way, found in many files; mostly to say: none. */
    if (m->access_log_path[0] && m->n_access_log > 0) {
        (void)mp_build_error(b, "access_log_path", "keep access_log",
                             "access_log and access_log_path exclude each other");
    } else if (m->access_log_path[0] && strcmp(m->access_log_path, "/dev/null") != 0) {
        a->alogs = mp_build_take(b, 1, sizeof(*a->alogs));
        a->n_alogs = 1;
        mp_build_default_alog(b, m->access_log_path, a->alogs);
    }
    mp_build_leave_part(b, before);
    mp_build_leave(b, mark);
}

/* "IP:PORT", "[IPv6]:PORT" or "unix:/path". */
static bool parse_address(struct mp_conf_build *b, const char *text, struct mp_conf_addr *ret)
{
    const char *colon = strrchr(text, ':');
    uint64_t port = 0;
    bool ip6;
    if (strncmp(text, "unix:/", 6) == 0) {
        *ret = (struct mp_conf_addr){.host = mp_build_str(b, text + 5), .is_unix = true};
        return true;
    }
    if (!colon || mp_is_err(mp_str_to_u64(mp_str_c(colon + 1), &port)) || port > 65535) {
        return false;
    }
    bool bracket = text[0] == '[' && colon > text + 1 && colon[-1] == ']';
    struct mp_str host =
        mp_build_printf(b, "%.*s", (int)(colon - text) - 2 * bracket, text + bracket);
    *ret = (struct mp_conf_addr){.host = host, .port = (uint16_t)port};
    return mp_conf_is_ip(host.p, &ip6) && ip6 == bracket;
}

static void set_admin_options(struct mp_conf_build *b,
                              const Marchproxy__Config__V1__AdminOptions *m)
{
    struct mp_conf_admin *a = &b->conf->admin;
    if (!a->present) {
        (void)mp_build_error(b, NULL, "give admin an address", "there is no admin");
        return;
    }
    if (m->metrics_address[0]) {
        a->has_metrics = parse_address(b, m->metrics_address, &a->metrics);
        if (!a->has_metrics) {
            (void)mp_build_error(b, "metrics_address", "write IP:PORT, [IPv6]:PORT or unix:/path",
                                 "\"%s\" is not an address", m->metrics_address);
        }
    }
    a->token_file = mp_build_str(b, m->token_file);
    a->read_token_file = mp_build_str(b, m->read_token_file);
    mp_build_u32(b, "max_series", m->max_series, 0, UINT32_MAX, &a->series_max);
}

static void build_node(struct mp_conf_build *b, const Envoy__Config__Core__V3__Node *m)
{
    struct mp_conf *c = b->conf;
    c->node_id = mp_build_str(b, m ? m->id : "");
    c->node_cluster = mp_build_str(b, m ? m->cluster : "");
    const Envoy__Config__Core__V3__Locality *l = m ? m->locality : NULL;
    c->locality_region = mp_build_str(b, l ? l->region : "");
    c->locality_zone = mp_build_str(b, l ? l->zone : "");
    c->locality_sub_zone = mp_build_str(b, l ? l->sub_zone : "");
}

/* ---- lists ---- */

static int by_name(const void *a, const void *b)
{
    return mp_str_cmp(*(const struct mp_str *)a, *(const struct mp_str *)b);
}

/* Names first: routes refer to clusters, and duplicates are found on the way. */
static void collect_clusters(struct mp_conf_build *b, pb_cluster **list, size_t n)
{
    b->clusters = mp_arena_zalloc(b->scratch, (n + 1) * sizeof(*b->clusters));
    b->clusters_known = true;
    for (size_t i = 0; i < n; i++) {
        b->clusters_known &= list[i]->name[0] != '\0';
        b->clusters[i] = mp_str_c(list[i]->name);
    }
    b->n_clusters = n;
    qsort(b->clusters, n, sizeof(*b->clusters), by_name);
}

bool mp_build_has_cluster(const struct mp_conf_build *b, const char *name)
{
    struct mp_str key = mp_str_c(name);
    return bsearch(&key, b->clusters, b->n_clusters, sizeof(key), by_name) != NULL;
}

static void build_resources(struct mp_conf_build *b,
                            const Envoy__Config__Bootstrap__V3__Bootstrap__StaticResources *m)
{
    struct mp_conf *c = b->conf;
    size_t mark = mp_build_enter(b, "static_resources");
    mp_build_secrets(b);
    collect_clusters(b, m ? m->clusters : NULL, m ? m->n_clusters : 0);
    c->n_clusters = m ? (uint32_t)m->n_clusters : 0;
    c->n_listeners = m ? (uint32_t)m->n_listeners : 0;
    c->clusters = mp_build_take(b, c->n_clusters, sizeof(struct mp_conf_cluster *));
    c->listeners = mp_build_take(b, c->n_listeners, sizeof(struct mp_conf_listener *));
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        struct mp_conf_part *part = mp_conf_part_new();
        c->listeners[i] = mp_arena_zalloc(&part->arena, sizeof(*c->listeners[i]));
        c->listeners[i]->part = part;
    }
    for (uint32_t i = 0; i < c->n_clusters; i++) {
        struct mp_conf_part *part = mp_conf_part_new();
        c->clusters[i] = mp_arena_zalloc(&part->arena, sizeof(*c->clusters[i]));
        c->clusters[i]->part = part;
    }
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        size_t mark2 = mp_build_enter(b, "listeners[%u]", i);
        struct mp_arena *before = mp_build_enter_part(b, c->listeners[i]->part);
        mp_build_listener(b, m->listeners[i], c->listeners[i]);
        mp_build_leave_part(b, before);
        mp_build_leave(b, mark2);
    }
    for (uint32_t i = 0; i < c->n_clusters; i++) {
        size_t mark2 = mp_build_enter(b, "clusters[%u]", i);
        struct mp_arena *before = mp_build_enter_part(b, c->clusters[i]->part);
        mp_build_cluster(b, m->clusters[i], c->clusters[i]);
        mp_build_leave_part(b, before);
        mp_build_leave(b, mark2);
    }
    mp_build_check_whole(b);
    mp_build_leave(b, mark);
}

static void build_extensions(struct mp_conf_build *b, const pb_bootstrap *m)
{
    bool seen = false;
    b->conf->admin.series_max = SERIES_MAX;
    for (size_t i = 0; i < m->n_bootstrap_extensions; i++) {
        size_t mark = mp_build_enter(b, "bootstrap_extensions[%zu].typed_config", i);
        const ProtobufCMessage *any =
            mp_build_any(b, NULL, m->bootstrap_extensions[i]->typed_config);
        const ProtobufCMessageDescriptor *d = any != NULL ? any->descriptor : NULL;
        if (d == &marchproxy__config__v1__admin_options__descriptor && seen) {
            (void)mp_build_error(b, NULL, "keep one of them", "there are options already");
        } else if (d == &marchproxy__config__v1__admin_options__descriptor) {
            seen = true;
            set_admin_options(b, (const Marchproxy__Config__V1__AdminOptions *)any);
        } else if (d != NULL && d != &marchproxy__xdp__v1__guard__descriptor) {
            (void)mp_build_error(b, NULL, NULL, "%s is not an extension of the bootstrap", d->name);
        } else if (d != NULL && b->conf->xdp != NULL) {
            (void)mp_build_error(b, NULL, "keep one of them", "there is a guard already");
        } else if (d != NULL) {
            b->conf->xdp = mp_build_take(b, 1, sizeof(*b->conf->xdp));
            mp_build_xdp(b, (const Marchproxy__Xdp__V1__Guard *)any, b->conf->xdp);
        }
        mp_build_leave(b, mark);
    }
}

void mp_build_bootstrap(struct mp_conf_build *b, const pb_bootstrap *m)
{
    struct mp_conf *c = b->conf;
    c->stats_flush_interval_ms = DEFAULT_FLUSH_MS;
    c->downstream_connections_max = DEFAULT_CONNECTIONS;
    b->boot = m;
    mp_build_source(b, &m->base, &c->source);
    build_node(b, m->node);
    build_admin(b, m->admin);
    mp_build_ms(b, "stats_flush_interval", m->stats_flush_interval, &c->stats_flush_interval_ms);
    if (c->stats_flush_interval_ms < 1 || c->stats_flush_interval_ms >= 300000) {
        (void)mp_build_error(b, "stats_flush_interval", "use 1ms or more, less than 300s",
                             "interval is out of range");
    }
    if (m->cluster_manager && m->cluster_manager->outlier_detection) {
        c->outlier_log = mp_build_str(b, m->cluster_manager->outlier_detection->event_log_path);
    }
    build_resources(b, m->static_resources);
    /* After the listeners, whose limits it may set. */
    build_layers(b, m->layered_runtime);
    mp_build_overload(b, m->overload_manager);
    build_extensions(b, m);
    mp_build_watchdogs(b, m);
}
