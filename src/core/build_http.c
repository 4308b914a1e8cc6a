/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Compiles listeners and their HTTP managers. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "core/access_log.h"
#include "core/admit.h"
#include "core/build.h"
#include "core/cluster.h"
#include "core/stats.h"
#include "io/tls.h"

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
                         const struct mp_conf_http *conf, struct mp_diag *diag,
                         struct mp_http **ret)
{
    struct mp_http *h = calloc(1, sizeof(*h));
    MP_ASSERT(h != NULL);
    mp_obj_init(&h->obj, &http_ops, conf->stat_prefix, l->source.hash, e->n_workers + 1);
    mp_arena_init(&h->arena, NULL, 0, &mp_block_source_heap, 1024, 64 << 20);
    h->conf = conf;
    h->part = l->part;
    mp_conf_part_ref(h->part);
    h->filters = conf->filters;
    h->n_filters = (uint16_t)conf->n_filters;
    h->buffer_limit = l->buffer_limit;
    h->stats = mp_stat_scope_get(e->stats, &mp_stats_http, conf->stat_prefix);
    for (uint32_t i = 0; i < conf->n_filters; i++) {
        const struct mp_filter_type *t = conf->filters[i].type->impl;
        h->filter_cells +=
            (uint32_t)(sizeof(struct mp_filter) + ((t->state_size + 15) & ~(size_t)15));
    }
    const struct mp_route_build rb = {.conf = conf->routes,
                                      .keep = &l->part->obj,
                                      .http = conf,
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
    for (uint32_t i = 0; i < l->n_chains; i++) {
        mp_tls_ctx_unref(l->chains[i].tls);
        mp_obj_unref(&l->chains[i].http->obj);
    }
    free(l->chains);
    free(l->proxy_from);
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

/* A context that did not change is kept with its sessions; the new one would have an equal key. */
static mp_err build_tls(struct mp_engine *e, const struct mp_conf_tls *conf,
                        const struct mp_listener_conf *old, struct mp_diag *diag,
                        struct mp_tls_ctx **ret)
{
    for (uint32_t i = 0; old != NULL && i < old->n_chains; i++) {
        const struct mp_chain_conf *c = &old->chains[i];
        if (c->tls != NULL && c->conf->tls->hash == conf->hash && conf->n_sans == 0) {
            mp_tls_ctx_ref(c->tls);
            *ret = c->tls;
            return MP_OK;
        }
    }
    return mp_core_build_tls(e, conf, diag, ret);
}

static mp_err build_chain(struct mp_engine *e, struct mp_listener_conf *l,
                          const struct mp_listener_conf *old, uint32_t i, struct mp_diag *diag)
{
    const struct mp_conf_chain *conf = l->conf->n_chains > 0 ? &l->conf->chains[i] : NULL;
    const struct mp_conf_http *http = conf != NULL ? conf->http : l->conf->http;
    struct mp_chain_conf *c = &l->chains[i];
    for (uint32_t k = 0; k < i && c->http == NULL; k++) {
        if (l->chains[k].http->conf == http) {
            c->http = l->chains[k].http;
            mp_obj_ref(&c->http->obj);
        }
    }
    if (c->http == NULL) {
        MP_TRY(build_http(e, l->conf, http, diag, &c->http));
    }
    c->conf = conf;
    l->n_chains++;
    return conf != NULL && conf->tls != NULL ? build_tls(e, conf->tls, old, diag, &c->tls) : MP_OK;
}

static mp_err build_chains(struct mp_engine *e, struct mp_listener_conf *l,
                           const struct mp_listener_conf *old, struct mp_diag *diag)
{
    uint32_t n = MP_MAX(l->conf->n_chains, 1);
    l->chains = calloc(n, sizeof(*l->chains));
    MP_ASSERT(l->chains != NULL);
    for (uint32_t i = 0; i < n; i++) {
        MP_TRY(build_chain(e, l, old, i, diag));
    }
    return MP_OK;
}

static mp_err build_ranges(struct mp_listener_conf *l, struct mp_diag *diag)
{
    const struct mp_conf_listener *conf = l->conf;
    l->proxy_from = calloc(conf->n_proxy_from + 1, sizeof(*l->proxy_from));
    MP_ASSERT(l->proxy_from != NULL);
    for (uint32_t i = 0; i < conf->n_proxy_from; i++) {
        char text[96];
        snprintf(text, sizeof(text), "%s/%u", conf->proxy_from[i].address.p,
                 conf->proxy_from[i].bits);
        if (mp_is_err(mp_cidr_parse(mp_str_c(text), &l->proxy_from[i]))) {
            return mp_diag_error(diag, MP_E_INVALID, conf->line, conf->name.p, NULL,
                                 "\"%s\" is not an address range", text);
        }
    }
    return MP_OK;
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
    struct mp_listener_conf *l = calloc(1, sizeof(*l));
    MP_ASSERT(l != NULL);
    mp_obj_init(&l->obj, &listener_ops, conf->name, conf->source.hash, e->n_workers + 1);
    l->conf = conf;
    l->part = conf->part;
    mp_conf_part_ref(l->part);
    l->stats = mp_stat_scope_get(e->stats, &mp_stats_listener, conf->stat_prefix);
    l->shared = listener_shared(
        e, conf->name, conf->accept.source_connections > 0 || conf->accept.source_rate > 0);
    mp_err err = build_chains(e, l, old, diag);
    if (!mp_is_err(err)) {
        err = build_ranges(l, diag);
    }
    if (mp_is_err(err)) {
        mp_obj_unref(&l->obj);
        return err;
    }
    l->http = l->chains[0].http;
    l->plain =
        l->n_chains == 1 && l->chains[0].tls == NULL && !conf->inspect && !conf->proxy_protocol;
    *ret = l;
    return MP_OK;
}
