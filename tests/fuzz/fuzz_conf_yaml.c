/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Any text as a configuration. The first byte chooses whether what is not supported is allowed.
 * What loads must hold together, and must load again from the JSON of its message.
 */
#include "unit/conf/conf_test.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_listener(const struct mp_conf_listener *l)
{
    MP_ASSERT(l->n_addrs > 0);
    MP_ASSERT(l->http);
    MP_ASSERT(l->http->routes);
    MP_ASSERT(l->http->n_filters > 0);
    MP_ASSERT(l->http->filters[l->http->n_filters - 1].type->terminal);
    for (uint32_t i = 0; i < l->http->routes->n_vhosts; i++) {
        const struct mp_conf_vhost *v = &l->http->routes->vhosts[i];
        MP_ASSERT(v->n_domains > 0);
        for (uint32_t j = 0; j < v->n_routes; j++) {
            const struct mp_conf_route *r = &v->routes[j];
            MP_ASSERT(r->action != MP_ROUTE_WEIGHTED || r->weight_total > 0);
            MP_ASSERT(r->action != MP_ROUTE_CLUSTER || r->cluster.n > 0);
            MP_ASSERT(r->action != MP_ROUTE_DIRECT || r->direct_status >= 200);
        }
    }
}

static void check_again(const struct mp_conf *c)
{
    struct mp_conf_load_opts opts = {.registry = &ct_registry, .allow_unsupported = true};
    struct mp_arena arena;
    struct mp_sb sb;
    ProtobufCMessage *m;
    struct mp_conf *again = NULL;
    struct mp_pb_read_opts read = {.allow_unsupported = true};
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 4096, SIZE_MAX);
    mp_sb_init(&sb, 64 << 20);
    MP_ASSERT(!mp_is_err(mp_pb_unpack(mp_pb_find_type(mp_str_c(c->source.type)), c->source.packed,
                                      &read, NULL, &arena, NULL, &m)));
    mp_pb_to_json(m, 0, &sb);
    if (sb.n > 2) { /* "{}" is no configuration */
        MP_ASSERT(!mp_is_err(mp_conf_load_text(mp_sb_str(&sb), NULL, &opts, NULL, &again)));
        MP_ASSERT(again->n_clusters == c->n_clusters);
        MP_ASSERT(again->n_listeners == c->n_listeners);
        mp_conf_free(again);
    }
    mp_sb_fini(&sb);
    mp_arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mp_conf *c = NULL;
    struct mp_diag diag;
    struct mp_sb sb;
    if (size == 0 || size > 65536) {
        return 0;
    }
    bool allow = data[0] == '!';
    struct mp_conf_load_opts opts = {
        .registry = &ct_registry, .allow_unsupported = allow, .getenv = ct_getenv};
    mp_diag_init(&diag, "f");
    mp_sb_init(&sb, 1 << 20);
    mp_err err =
        mp_conf_load_text(mp_str((const char *)data + allow, size - allow), "f", &opts, &diag, &c);
    MP_ASSERT(mp_is_err(err) == (diag.errors > 0));
    MP_ASSERT(mp_is_err(err) == (c == NULL));
    mp_diag_format(&diag, &sb);
    for (uint32_t i = 0; c && i < c->n_listeners; i++) {
        check_listener(c->listeners[i]);
    }
    if (c && !allow) {
        check_again(c);
    }
    mp_conf_free(c);
    mp_sb_fini(&sb);
    mp_diag_fini(&diag);
    return 0;
}
