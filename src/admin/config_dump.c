/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* /config_dump: the messages that the running snapshot was made from, in Envoy's envelopes. The
 * converter that prints them hides secrets.
 */
#include <stdlib.h>
#include <string.h>

#include "admin/endpoints.h"
#include "admin/hosts.h"
#include "admin/pages.h"
#include "base/assert.h"
#include "base/mem.h"
#include "conf/pb.h"
#include "core/engine.h"
#include "core/regex.h"
#include "envoy_admin_v3.pb-c.h"

struct item {
    struct mp_str name;
    const char *type; /* full name */
    struct mp_str packed;
};

struct dump {
    struct mp_arena arena;
    const struct mp_engine *engine;
    const struct mp_admin_hosts *hosts; /* NULL: without endpoints */
    const struct mp_regex *name_regex;  /* NULL: all */
    Google__Protobuf__Timestamp when;
    struct item *items;
    uint32_t n_items;
    bool regex_failed;
    Envoy__Admin__V3__ConfigDump out;
};

static void *alloc(struct dump *d, size_t n)
{
    void *p = mp_arena_zalloc(&d->arena, n);
    MP_ASSERT(p != NULL);
    return p;
}

static void add_item(struct dump *d, struct mp_str name, const char *type, struct mp_str packed)
{
    if (d->name_regex != NULL && !d->regex_failed) {
        enum mp_regex_result match = mp_regex_match(d->name_regex, name);
        d->regex_failed = match == MP_REGEX_FAILED;
        if (match != MP_REGEX_YES) {
            return;
        }
    }
    d->items[d->n_items++] = (struct item){name, type, packed};
}

/* ---- what there is ---- */

static void collect_clusters(struct dump *d)
{
    const struct mp_snapshot *s = d->engine->snap;
    d->items = alloc(d, s->n_clusters * sizeof(*d->items));
    for (uint32_t i = 0; i < s->n_clusters; i++) {
        const struct mp_conf_cluster *c = s->clusters[i]->conf;
        add_item(d, c->name, c->source.type, c->source.packed);
    }
}

static void collect_endpoints(struct dump *d)
{
    const struct mp_snapshot *s = d->engine->snap;
    d->items = alloc(d, s->n_clusters * sizeof(*d->items));
    for (uint32_t i = 0; i < s->n_clusters; i++) {
        struct mp_str name = s->clusters[i]->conf->name;
        const struct mp_admin_host *first = mp_admin_hosts_of(d->hosts, s->clusters[i]->id);
        add_item(d, name, "envoy.config.endpoint.v3.ClusterLoadAssignment",
                 mp_admin_pack_endpoints(name, first, &d->arena));
    }
}

static void collect_listeners(struct dump *d)
{
    const struct mp_snapshot *s = d->engine->snap;
    d->items = alloc(d, s->n_listeners * sizeof(*d->items));
    for (uint32_t i = 0; i < s->n_listeners; i++) {
        const struct mp_conf_listener *l = s->listeners[i]->conf;
        add_item(d, l->name, l->source.type, l->source.packed);
    }
}

static void collect_routes(struct dump *d)
{
    const struct mp_snapshot *s = d->engine->snap;
    d->items = alloc(d, s->n_listeners * sizeof(*d->items));
    for (uint32_t i = 0; i < s->n_listeners; i++) {
        const struct mp_conf_http *h = s->listeners[i]->conf->http;
        if (h != NULL && h->routes != NULL && h->routes->source.type != NULL) {
            add_item(d, h->routes->name, h->routes->source.type, h->routes->source.packed);
        }
    }
}

/* The parts of the dump, in Envoy's order. All have the form {version_info?, repeated {Any,
 * last_updated}}. */
static const struct section {
    const char *field;
    const ProtobufCMessageDescriptor *dump, *item;
    void (*collect)(struct dump *d);
    bool endpoints;
} sections[] = {
    {"static_clusters", &envoy__admin__v3__clusters_config_dump__descriptor,
     &envoy__admin__v3__clusters_config_dump__static_cluster__descriptor, collect_clusters, false},
    {"static_endpoint_configs", &envoy__admin__v3__endpoints_config_dump__descriptor,
     &envoy__admin__v3__endpoints_config_dump__static_endpoint_config__descriptor,
     collect_endpoints, true},
    {"static_listeners", &envoy__admin__v3__listeners_config_dump__descriptor,
     &envoy__admin__v3__listeners_config_dump__static_listener__descriptor, collect_listeners,
     false},
    {"static_route_configs", &envoy__admin__v3__routes_config_dump__descriptor,
     &envoy__admin__v3__routes_config_dump__static_route_config__descriptor, collect_routes, false},
};

/* Published lists that are always empty as long as all configuration is static. */
static const char *const empty_lists[] = {
    "dynamic_active_clusters", "dynamic_warming_clusters", "dynamic_endpoint_configs",
    "dynamic_listeners",       "dynamic_route_configs",    "static_secrets",
    "dynamic_active_secrets",  "dynamic_warming_secrets",
};

/* ---- messages ---- */

static Google__Protobuf__Any *make_any(struct dump *d, const char *type, struct mp_str packed)
{
    Google__Protobuf__Any *any = alloc(d, sizeof(*any));
    google__protobuf__any__init(any);
    any->type_url = mp_arena_printf(&d->arena, "type.googleapis.com/%s", type);
    MP_ASSERT(any->type_url != NULL);
    any->value.data = (uint8_t *)(uintptr_t)packed.p;
    any->value.len = packed.n;
    return any;
}

static void add_config(struct dump *d, const ProtobufCMessage *m)
{
    d->out.configs[d->out.n_configs++] = make_any(d, m->descriptor->name, mp_pb_pack(m, &d->arena));
}

static void *field_at(ProtobufCMessage *m, const char *name, size_t **ret_count)
{
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);
    MP_ASSERT(f != NULL);
    *ret_count = (size_t *)(void *)((char *)m + f->quantifier_offset);
    return (char *)m + f->offset;
}

/* {Any, last_updated}: the first field is the resource. */
static ProtobufCMessage *make_entry(struct dump *d, const struct section *s, const struct item *it)
{
    ProtobufCMessage *m = alloc(d, s->item->sizeof_message);
    protobuf_c_message_init(s->item, m);
    *(void **)(void *)((char *)m + s->item->fields[0].offset) = make_any(d, it->type, it->packed);
    size_t *unused;
    *(void **)field_at(m, "last_updated", &unused) = &d->when;
    return m;
}

static ProtobufCMessage **make_entries(struct dump *d, const struct section *s)
{
    s->collect(d);
    ProtobufCMessage **v = alloc(d, (d->n_items + 1) * sizeof(ProtobufCMessage *));
    for (uint32_t i = 0; i < d->n_items; i++) {
        v[i] = make_entry(d, s, &d->items[i]);
    }
    return v;
}

static void add_section(struct dump *d, const struct section *s)
{
    d->n_items = 0;
    ProtobufCMessage *m = alloc(d, s->dump->sizeof_message);
    protobuf_c_message_init(s->dump, m);
    size_t *count;
    void *list = field_at(m, s->field, &count);
    *(ProtobufCMessage ***)list = make_entries(d, s);
    *count = d->n_items;
    add_config(d, m);
}

static void add_bootstrap(struct dump *d)
{
    const struct mp_conf_source *src = &d->engine->snap->conf->source;
    const struct mp_pb_read_opts opts = {.allow_unsupported = true};
    struct mp_diag diag;
    ProtobufCMessage *bootstrap = NULL;
    mp_diag_init(&diag, NULL);
    mp_err err = mp_pb_unpack(&envoy__config__bootstrap__v3__bootstrap__descriptor, src->packed,
                              &opts, "bootstrap", &d->arena, &diag, &bootstrap);
    mp_diag_fini(&diag);
    if (MP_BUG_ONCE(mp_is_err(err))) {
        return; /* we packed it ourselves */
    }
    Envoy__Admin__V3__BootstrapConfigDump m = ENVOY__ADMIN__V3__BOOTSTRAP_CONFIG_DUMP__INIT;
    m.bootstrap = (Envoy__Config__Bootstrap__V3__Bootstrap *)(void *)bootstrap;
    m.last_updated = &d->when;
    add_config(d, &m.base);
}

/* A reload that was refused since the running configuration was applied. */
static void add_failure(struct dump *d)
{
    const struct mp_engine *e = d->engine;
    if (e->last_error == NULL) {
        return;
    }
    Google__Protobuf__Timestamp when = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    Envoy__Admin__V3__UpdateFailureState m = ENVOY__ADMIN__V3__UPDATE_FAILURE_STATE__INIT;
    when.seconds = (int64_t)(e->last_error_wall_ns / 1000000000);
    when.nanos = (int32_t)(e->last_error_wall_ns % 1000000000);
    m.last_update_attempt = &when;
    m.details = e->last_error;
    add_config(d, &m.base);
}

/* ---- the page ---- */

static void add_everything(struct dump *d)
{
    d->out.configs = alloc(d, (MP_COUNTOF(sections) + 3) * sizeof(d->out.configs[0]));
    add_bootstrap(d);
    for (size_t i = 0; i < MP_COUNTOF(sections); i++) {
        if (!sections[i].endpoints || d->hosts != NULL) {
            add_section(d, &sections[i]);
        }
    }
    Envoy__Admin__V3__SecretsConfigDump secrets = ENVOY__ADMIN__V3__SECRETS_CONFIG_DUMP__INIT;
    add_config(d, &secrets.base);
    add_failure(d);
}

static const struct section *find_section(struct mp_str field)
{
    for (size_t i = 0; i < MP_COUNTOF(sections); i++) {
        if (mp_str_eq(field, mp_str_c(sections[i].field))) {
            return &sections[i];
        }
    }
    return NULL;
}

static void add_resource(struct dump *d, struct mp_str field)
{
    const struct section *s = find_section(field);
    if (s == NULL || (s->endpoints && d->hosts == NULL)) {
        return; /* an empty list */
    }
    ProtobufCMessage **v = make_entries(d, s);
    d->out.configs = alloc(d, (d->n_items + 1) * sizeof(d->out.configs[0]));
    for (uint32_t i = 0; i < d->n_items; i++) {
        add_config(d, v[i]);
    }
}

static void print(struct mp_admin_call *call, const struct mp_admin_hosts *hosts,
                  const struct mp_regex *name_regex)
{
    const struct mp_engine *e = call->engine;
    const struct mp_str *resource = mp_admin_param(call, "resource");
    struct dump d = {.engine = e, .hosts = hosts, .name_regex = name_regex};
    mp_arena_init(&d.arena, NULL, 0, &mp_block_source_heap, 64 * 1024, SIZE_MAX / 2);
    google__protobuf__timestamp__init(&d.when);
    d.when.seconds = (int64_t)(e->config_wall_ns / 1000000000);
    d.when.nanos = (int32_t)(e->config_wall_ns / 1000000 % 1000 * 1000000);
    envoy__admin__v3__config_dump__init(&d.out);
    if (resource != NULL) {
        add_resource(&d, *resource);
    } else {
        add_everything(&d);
    }
    if (d.regex_failed) {
        mp_admin_fail(call, 400, "name_regex: it takes too long to match\n");
    } else {
        call->content_type = MP_ADMIN_JSON;
        mp_pb_to_json(&d.out.base, 1, &call->out);
        mp_sb_add_char(&call->out, '\n');
    }
    mp_arena_fini(&d.arena);
}

/* False: the call has been answered. *ret is NULL without a name_regex. */
static bool compile_regex(struct mp_admin_call *call, struct mp_regex **ret)
{
    const struct mp_str *v = mp_admin_param(call, "name_regex");
    struct mp_arena arena;
    const char *cause = NULL;
    *ret = NULL;
    if (v == NULL || v->n == 0) {
        return true;
    }
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 1024, 64 * 1024);
    mp_err err = mp_regex_new(*v, true, &arena, ret, &cause);
    if (mp_is_err(err)) {
        mp_admin_fail(call, 400, "Error while parsing name_regex: %s\n",
                      cause != NULL ? cause : "");
    }
    mp_arena_fini(&arena);
    return !mp_is_err(err);
}

static void answer(struct mp_admin_call *call, const struct mp_admin_hosts *hosts)
{
    struct mp_regex *re;
    if (compile_regex(call, &re)) {
        print(call, hosts, re);
        mp_regex_free(re);
    }
}

static void hosts_collected(void *arg, const struct mp_admin_hosts *hosts)
{
    struct mp_admin_call *call = arg;
    answer(call, hosts);
    mp_admin_finish(call);
}

static bool check_params(struct mp_admin_call *call)
{
    const struct mp_str *resource = mp_admin_param(call, "resource");
    if (mp_admin_param(call, "mask") != NULL) {
        mp_admin_fail(call, 400, "mask is not supported; resource selects one list\n");
        return false;
    }
    if (resource == NULL || find_section(*resource) != NULL) {
        return true;
    }
    for (size_t i = 0; i < MP_COUNTOF(empty_lists); i++) {
        if (mp_str_eq(*resource, mp_str_c(empty_lists[i]))) {
            return true;
        }
    }
    if (mp_str_eq(*resource, MP_STR("bootstrap"))) {
        mp_admin_fail(call, 400, "bootstrap is not a repeated field.\n");
        return false;
    }
    mp_admin_fail(call, 404, MP_STR_FMT " not found in config dump", MP_STR_ARG(*resource));
    return false;
}

void mp_admin_page_config_dump(struct mp_admin_call *call)
{
    if (!check_params(call)) {
        return;
    }
    if (mp_admin_param(call, "include_eds") == NULL) {
        answer(call, NULL);
        return;
    }
    call->later = true;
    mp_admin_collect_hosts(call->engine, hosts_collected, call);
}
