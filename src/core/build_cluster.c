/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Compiles clusters. */
#include <stdlib.h>

#include "base/assert.h"
#include "core/access_log.h"
#include "core/build.h"
#include "core/cluster.h"
#include "core/names.h"
#include "core/stats.h"
#include "io/tls.h"

static void cluster_destroy(struct mp_obj *o)
{
    struct mp_cluster *c = MP_CONTAINER_OF(o, struct mp_cluster, obj);
    mp_endpoint_set_unref(c->endpoints);
    mp_alog_fini(c->check_log);
    mp_alog_fini(c->outlier_log);
    mp_arena_fini(&c->arena);
    mp_tls_ctx_unref(c->tls);
    mp_stat_scope_unref(c->stats);
    mp_conf_part_unref(c->part);
    mp_obj_fini(o);
    free(c);
}
static const struct mp_obj_ops cluster_ops = {"cluster", cluster_destroy};

struct mp_cluster_shared *mp_cluster_shared_get(struct mp_engine *e, struct mp_str name)
{
    pthread_mutex_lock(&e->shared_lock);
    struct mp_cluster_shared *s = mp_map_get(&e->cluster_shared, name);
    if (s == NULL) {
        s = aligned_alloc(MP_CACHE_LINE, sizeof(*s));
        MP_ASSERT(s != NULL);
        *s = (struct mp_cluster_shared){0};
        mp_map_init(&s->hosts);
        s->name = mp_str_c(mp_str_dup_c(name));
        s->id = mp_names_id(e->cluster_names, name);
        mp_map_set(&e->cluster_shared, s->name, s);
    }
    pthread_mutex_unlock(&e->shared_lock);
    return s;
}

static mp_err endpoint_addr(const struct mp_conf_endpoint *e, struct mp_arena *arena,
                            struct mp_addr *ret)
{
    if (!e->addr.is_unix) {
        return mp_addr_parse_ip(e->addr.host, e->addr.port, ret);
    }
    struct mp_str path = mp_arena_dup(arena, e->addr.host);
    *ret = (struct mp_addr){.family = MP_ADDR_UNIX};
    ret->path = path.p;
    return MP_OK;
}

void mp_endpoint_fill(struct mp_engine *e, struct mp_cluster_shared *c,
                      const struct mp_conf_endpoint *conf, struct mp_endpoint *ret)
{
    ret->shared = mp_host_shared_get(e, c, &ret->addr);
    ret->conf = conf;
    ret->weight = conf->weight > 0 ? conf->weight : 1;
    ret->priority = conf->priority;
    ret->locality = conf->locality;
    ret->locality_weight = conf->locality_weight;
    ret->configured_up = !conf->draining && !conf->unhealthy;
}

mp_err mp_core_build_endpoints(struct mp_engine *engine, struct mp_cluster_shared *shared,
                               const struct mp_conf_cluster *conf, struct mp_diag *diag,
                               struct mp_endpoint_set **ret)
{
    struct mp_endpoint_set *s = calloc(1, sizeof(*s));
    MP_ASSERT(s != NULL);
    s->refs = 1;
    mp_arena_init(&s->arena, NULL, 0, &mp_block_source_heap, 1024, 1 << 30);
    s->v = mp_arena_zalloc(&s->arena, (conf->n_endpoints + 1) * sizeof(*s->v));
    MP_ASSERT(s->v != NULL);
    for (uint32_t i = 0; i < conf->n_endpoints; i++) {
        const struct mp_conf_endpoint *e = &conf->endpoints[i];
        struct mp_endpoint *out = &s->v[s->n];
        if (mp_is_err(endpoint_addr(e, &s->arena, &out->addr))) {
            mp_err err = mp_diag_error(diag, MP_E_INVALID, conf->line, conf->name.p,
                                       "use STRICT_DNS or LOGICAL_DNS for names",
                                       "endpoint \"%.*s\" of a STATIC cluster is not an IP address",
                                       (int)e->addr.host.n, e->addr.host.p);
            mp_endpoint_set_unref(s);
            return err;
        }
        out->hostname = mp_arena_dup(&s->arena, e->hostname);
        mp_endpoint_fill(engine, shared, e, out);
        s->n++;
    }
    *ret = s;
    return MP_OK;
}

static struct mp_str outlier_path(const struct mp_conf_cluster *c)
{
    return c->outlier != NULL ? c->outlier->event_log : MP_STR("");
}

static mp_err open_log(struct mp_engine *e, struct mp_cluster *c, struct mp_str path,
                       struct mp_diag *diag, struct mp_alog **ret)
{
    if (path.n == 0) {
        return MP_OK;
    }
    const struct mp_conf_alog conf = {.kind = MP_ALOG_FILE, .path = path, .default_json = true};
    return mp_alog_build(&conf, &c->arena, e->alogs, diag, ret);
}

static mp_err open_logs(struct mp_engine *e, struct mp_cluster *c, struct mp_diag *diag)
{
    struct mp_str check = c->conf->check != NULL ? c->conf->check->event_log : MP_STR("");
    MP_TRY(open_log(e, c, check, diag, &c->check_log));
    return open_log(e, c, outlier_path(c->conf), diag, &c->outlier_log);
}

mp_err mp_core_build_cluster(struct mp_engine *e, const struct mp_conf_cluster *conf,
                             struct mp_cluster *old, struct mp_diag *diag, struct mp_cluster **ret)
{
    if (old != NULL && mp_core_same_source(&old->conf->source, &conf->source) &&
        mp_str_eq(outlier_path(old->conf), outlier_path(conf))) {
        mp_obj_ref(&old->obj);
        *ret = old;
        return MP_OK;
    }
    struct mp_endpoint_set *set = NULL;
    struct mp_cluster_shared *shared = mp_cluster_shared_get(e, conf->name);
    if (conf->discovery == MP_CLUSTER_STATIC) {
        MP_TRY(mp_core_build_endpoints(e, shared, conf, diag, &set));
    }
    struct mp_tls_ctx *tls = NULL;
    mp_err err = conf->tls != NULL ? mp_core_build_tls(e, conf->tls, diag, &tls) : MP_OK;
    if (mp_is_err(err)) {
        mp_endpoint_set_unref(set);
        return err;
    }
    struct mp_cluster *c = calloc(1, sizeof(*c));
    MP_ASSERT(c != NULL);
    mp_obj_init(&c->obj, &cluster_ops, conf->name, conf->source.hash, e->n_workers + 1);
    c->conf = conf;
    c->part = conf->part;
    mp_conf_part_ref(c->part);
    c->endpoints = set;
    c->shared = shared;
    mp_arena_init(&c->arena, NULL, 0, &mp_block_source_heap, 256, 1 << 20);
    c->tls = tls;
    c->id = c->shared->id;
    c->stats = mp_stat_scope_get(e->stats, &mp_stats_cluster,
                                 conf->alt_stat_name.n > 0 ? conf->alt_stat_name : conf->name);
    err = open_logs(e, c, diag);
    if (mp_is_err(err)) {
        mp_obj_unref(&c->obj);
        return err;
    }
    *ret = c;
    return MP_OK;
}
