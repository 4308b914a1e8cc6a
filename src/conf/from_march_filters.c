/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* filters: of a route in a simple file. */
#include <stdio.h>

#include "base/assert.h"
#include "conf/march.h"
#include "conf/pb_int.h"

typedef Envoy__Config__Route__V3__Route__TypedPerFilterConfigEntry pb_entry;

/* Off: the value false, or the text off. */
static bool is_off(const pb_value *v)
{
    return (v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE && !v->bool_value) ||
           (v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE &&
            strcmp(v->string_value, "off") == 0);
}

/* NULL: reported. */
static const ProtobufCMessage *read_one(struct mp_march *m, const char *path, const pb_value *v,
                                        const struct mp_conf_filter_type *type)
{
    if (is_off(v)) {
        Envoy__Config__Route__V3__FilterConfig *c =
            MP_MARCH_NEW(m, envoy__config__route__v3__filter_config);
        c->disabled = true;
        return &c->base;
    }
    if (v->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE) {
        (void)mp_build_error(m->b, path, NULL,
                             "the filter's configuration for this route is expected, or off");
        return NULL;
    }
    ProtobufCMessage *conf;
    struct mp_pb_read_opts opts = {.allow_unsupported = m->b->opts->allow_unsupported};
    return mp_is_err(mp_pb_from_yaml(m->yaml, path, type->route_message, &opts, m->b->scratch,
                                     m->b->diag, &conf))
               ? NULL
               : conf;
}

static void read_route(struct mp_march *m, size_t route, struct mp_march_overrides *ret)
{
    const Google__Protobuf__Struct *s = m->file->routes[route]->filters;
    ret->v = MP_MARCH_LIST(m, ret->v, s ? s->n_fields : 0);
    ret->keys = MP_MARCH_LIST(m, ret->keys, s ? s->n_fields : 0);
    for (size_t i = 0; s && i < s->n_fields; i++) {
        const char *key = s->fields[i]->key;
        const struct mp_conf_filter_type *type = mp_march_find_filter(m, key);
        char *path = mp_march_printf(m, "routes[%zu].filters[\"%s\"]", route, key);
        if (!type || !type->route_message) {
            mp_build_unsupported(m->b, path,
                                 "remove it, or use --allow-unsupported to run without it",
                                 "filter \"%s\" is not supported for a route", key);
            continue;
        }
        if (!mp_march_is_given(m->file->filters, key)) {
            (void)mp_build_error(m->b, path, "add it there, for all other routes",
                                 "the filter is not in filters:");
            continue;
        }
        const ProtobufCMessage *conf = read_one(m, path, s->fields[i]->value, type);
        if (conf) {
            pb_entry *e =
                MP_MARCH_NEW(m, envoy__config__route__v3__route__typed_per_filter_config_entry);
            e->key = (char *)type->name;
            e->value = mp_march_any(m, conf);
            ret->keys[ret->n] = path;
            ret->v[ret->n++] = e;
        }
    }
}

void mp_march_read_overrides(struct mp_march *m)
{
    m->overrides = MP_MARCH_LIST(m, m->overrides, m->file->n_routes);
    MP_ASSERT(m->overrides);
    for (size_t i = 0; i < m->file->n_routes; i++) {
        read_route(m, i, &m->overrides[i]);
    }
}

void mp_march_override(struct mp_march *m, size_t route, const char *made, pb_route *out)
{
    const struct mp_march_overrides *o = &m->overrides[route];
    out->typed_per_filter_config = o->v;
    out->n_typed_per_filter_config = o->n;
    for (size_t i = 0; i < o->n; i++) {
        mp_conf_places_add(
            m->places, mp_march_printf(m, "%s.typed_per_filter_config[\"%s\"]", made, o->v[i]->key),
            o->keys[i], true);
    }
}
