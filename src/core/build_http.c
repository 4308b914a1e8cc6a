/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Compiles listeners and their HTTP managers. */
#include <stdlib.h>

#include "base/assert.h"
#include "core/access_log.h"
#include "core/admit.h"
#include "core/build.h"
#include "core/cluster.h"
#include "core/stats.h"

static void http_destroy(struct mp_obj *o)
{
    struct mp_http *h = MP_CONTAINER_OF(o, struct mp_http, obj);
    for (uint32_t i = 0; i < h->n_alogs; i++) {
        mp_alog_fini(h->alogs[i]);
    }
    if (h->routes != NULL) {
        mp_obj_unref(&h->routes->obj);
    }
    mp_stat_scope_unref(h->stats);
    mp_conf_part_unref(h->part);
    mp_arena_fini(&h->arena);
    mp_obj_fini(o);
    free(h);
}
static const struct mp_obj_ops http_ops = {"http", http_destroy};

static uint32_t cluster_id(void *arg, struct mp_str name)
{
    struct mp_engine *e = arg;
    return mp_cluster_shared_get(e, name)->id;
}

static mp_err build_alogs(struct mp_engine *e, struct mp_http *h, struct mp_diag *diag)
{
    h->alogs = mp_arena_zalloc(&h->arena, (h->conf->n_alogs + 1) * sizeof(struct mp_alog *));
    MP_ASSERT(h->alogs != NULL);
    for (uint32_t i = 0; i < h->conf->n_alogs; i++) {
        MP_TRY(mp_alog_build(&h->conf->alogs[i], &h->arena, e->alogs, diag, &h->alogs[i]));
        h->n_alogs++;
    }
    return MP_OK;
}

static mp_err build_http(struct mp_engine *e, const struct mp_conf_listener *l,
                         struct mp_diag *diag, struct mp_http **ret)
{
    struct mp_http *h = calloc(1, sizeof(*h));
    MP_ASSERT(h != NULL);
    mp_obj_init(&h->obj, &http_ops, l->http->stat_prefix, l->source.hash, e->n_workers + 1);
    mp_arena_init(&h->arena, NULL, 0, &mp_block_source_heap, 1024, 64 << 20);
    h->conf = l->http;
    h->part = l->part;
    mp_conf_part_ref(h->part);
    h->filters = l->http->filters;
    h->n_filters = (uint16_t)l->http->n_filters;
    h->buffer_limit = l->buffer_limit;
    h->stats = mp_stat_scope_get(e->stats, &mp_stats_http, l->http->stat_prefix);
    for (uint32_t i = 0; i < l->http->n_filters; i++) {
        const struct mp_filter_type *t = l->http->filters[i].type->impl;
        h->filter_cells +=
            (uint32_t)(sizeof(struct mp_filter) + ((t->state_size + 15) & ~(size_t)15));
    }
    const struct mp_route_build rb = {.conf = l->http->routes,
                                      .keep = &l->part->obj,
                                      .http = l->http,
                                      .cluster_id = cluster_id,
                                      .arg = e,
                                      .n_workers = e->n_workers + 1};
    mp_err err = mp_route_table_build(&rb, diag, &h->routes);
    if (!mp_is_err(err)) {
        err = build_alogs(e, h, diag);
    }
    if (mp_is_err(err)) {
        mp_obj_unref(&h->obj);
        return err;
    }
    *ret = h;
    return MP_OK;
}

static void listener_destroy(struct mp_obj *o)
{
    struct mp_listener_conf *l = MP_CONTAINER_OF(o, struct mp_listener_conf, obj);
    if (l->http != NULL) {
        mp_obj_unref(&l->http->obj);
    }
    mp_stat_scope_unref(l->stats);
    mp_conf_part_unref(l->part);
    mp_obj_fini(o);
    free(l);
}
static const struct mp_obj_ops listener_ops = {"listener", listener_destroy};

static struct mp_listener_shared *listener_shared(struct mp_engine *e, struct mp_str name,
                                                  bool by_source)
{
    pthread_mutex_lock(&e->shared_lock);
    struct mp_listener_shared *s = mp_map_get(&e->listener_shared, name);
    if (s == NULL) {
        s = calloc(1, sizeof(*s));
        MP_ASSERT(s != NULL);
        s->name = mp_str_c(mp_str_dup_c(name));
        mp_map_set(&e->listener_shared, s->name, s);
    }
    if (by_source && s->sources == NULL) {
        s->sources = mp_sources_new(); /* kept: connections count in it over generations */
    }
    pthread_mutex_unlock(&e->shared_lock);
    return s;
}

mp_err mp_core_build_listener(struct mp_engine *e, const struct mp_conf_listener *conf,
                              struct mp_listener_conf *old, struct mp_diag *diag,
                              struct mp_listener_conf **ret)
{
    if (old != NULL && mp_core_same_source(&old->conf->source, &conf->source)) {
        mp_obj_ref(&old->obj);
        *ret = old;
        return MP_OK;
    }
    struct mp_http *http;
    MP_TRY(build_http(e, conf, diag, &http));
    struct mp_listener_conf *l = calloc(1, sizeof(*l));
    MP_ASSERT(l != NULL);
    mp_obj_init(&l->obj, &listener_ops, conf->name, conf->source.hash, e->n_workers + 1);
    l->conf = conf;
    l->part = conf->part;
    mp_conf_part_ref(l->part);
    l->http = http;
    l->stats = mp_stat_scope_get(e->stats, &mp_stats_listener, conf->stat_prefix);
    l->shared = listener_shared(
        e, conf->name, conf->accept.source_connections > 0 || conf->accept.source_rate > 0);
    *ret = l;
    return MP_OK;
}
