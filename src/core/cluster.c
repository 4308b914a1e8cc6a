/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Hosts of a cluster on one worker and which one is next. */
#include "core/cluster.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "core/engine.h"
#include "core/stats.h"
#include "core/upstream.h"

void mp_endpoint_set_ref(struct mp_endpoint_set *s)
{
    __atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
}

void mp_endpoint_set_unref(struct mp_endpoint_set *s)
{
    if (s != NULL && __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        for (uint32_t i = 0; i < s->n; i++) {
            mp_host_shared_unref(s->v[i].shared);
        }
        mp_arena_fini(&s->arena);
        free(s);
    }
}

/* ---- hosts ---- */

struct mp_host_local *mp_host_local_new(struct mp_cluster_local *c, const struct mp_endpoint *e)
{
    struct mp_host_local *h = calloc(1, sizeof(*h));
    MP_ASSERT(h != NULL);
    char text[MP_ADDR_TEXT_MAX];
    size_t n = mp_addr_format(&e->addr, text);
    h->cluster = c;
    h->addr = e->addr;
    h->shared = e->shared;
    mp_host_shared_ref(h->shared);
    h->text = mp_str_c(mp_str_dup_c(mp_str(text, n)));
    h->hostname = mp_str_c(mp_str_dup_c(e->hostname));
    if (h->addr.family == MP_ADDR_UNIX) {
        h->addr.path = h->text.p; /* the endpoint's memory goes with its set */
    }
    mp_list_init(&h->idle);
    mp_list_init(&h->busy);
    mp_list_init(&h->multi);
    mp_list_init(&h->connecting);
    mp_list_init(&h->pending);
    return h;
}

static void host_free_now(struct mp_task *t)
{
    struct mp_host_local *h = MP_CONTAINER_OF(t, struct mp_host_local, free_task);
    mp_host_shared_unref(h->shared);
    free((char *)(uintptr_t)h->text.p);
    free((char *)(uintptr_t)h->hostname.p);
    free(h);
}

void mp_host_maybe_free(struct mp_host_local *h)
{
    if (h->removed && !h->dead && h->n_conns == 0 && h->n_pending == 0) {
        h->dead = true;
        mp_task_init(&h->free_task, host_free_now);
        mp_task_defer(h->cluster->cw->w.loop, &h->free_task);
    }
}

void mp_host_local_remove(struct mp_host_local *h)
{
    h->removed = true;
    mp_host_move_pending(h);
    mp_host_close_unused(h);
    mp_host_maybe_free(h);
}

static struct mp_host_local *find_host(const struct mp_cluster_local *c,
                                       const struct mp_endpoint *e)
{
    for (uint32_t i = 0; i < c->n_hosts; i++) {
        struct mp_host_local *h = c->hosts[i];
        if (h != NULL && mp_addr_eq(&h->addr, &e->addr)) {
            return h;
        }
    }
    return NULL;
}

void mp_cluster_local_set_endpoints(struct mp_cluster_local *c, const struct mp_endpoint_set *set)
{
    struct mp_host_local **hosts = calloc(set->n + 1, sizeof(struct mp_host_local *));
    MP_ASSERT(hosts != NULL);
    for (uint32_t i = 0; i < set->n; i++) {
        const struct mp_endpoint *e = &set->v[i];
        struct mp_host_local *h = find_host(c, e);
        if (h != NULL) {
            for (uint32_t k = 0; k < c->n_hosts; k++) {
                c->hosts[k] = c->hosts[k] == h ? NULL : c->hosts[k];
            }
        } else {
            h = mp_host_local_new(c, e);
        }
        h->weight = e->weight;
        h->priority = e->priority;
        h->locality = e->locality;
        h->locality_weight = e->locality_weight;
        h->configured_up = e->configured_up;
        hosts[i] = h;
    }
    struct mp_host_local **old = c->hosts;
    uint32_t n_old = c->n_hosts;
    c->hosts = hosts;
    c->n_hosts = set->n;
    mp_lb_rebuild(c);
    for (uint32_t i = 0; i < n_old; i++) {
        if (old[i] != NULL) {
            mp_host_local_remove(old[i]);
        }
    }
    free(old);
}

/* ---- life ---- */

struct mp_cluster_local *mp_cluster_local_get(struct mp_core_worker *cw, struct mp_cluster *conf)
{
    if (conf->id >= cw->n_clusters) {
        uint32_t n = conf->id + 16;
        struct mp_cluster_local **v = realloc(cw->clusters, n * sizeof(*v));
        MP_ASSERT(v != NULL);
        memset(v + cw->n_clusters, 0, (n - cw->n_clusters) * sizeof(*v));
        cw->clusters = v;
        cw->n_clusters = n;
    }
    struct mp_cluster_local *c = cw->clusters[conf->id];
    if (c == NULL) {
        c = calloc(1, sizeof(*c));
        MP_ASSERT(c != NULL);
        c->cw = cw;
        c->shared = conf->shared;
        cw->clusters[conf->id] = c;
    }
    return c;
}

void mp_cluster_local_update(struct mp_cluster_local *c, struct mp_cluster *conf)
{
    if (c->conf == conf) {
        return;
    }
    struct mp_cluster *old = c->conf;
    c->conf = conf;
    mp_obj_enter(&conf->obj, c->cw->w.id);
    struct mp_stat_scope *scope = conf->stats;
    if (scope != c->scope) {
        mp_stat_scope_ref(scope);
        mp_stat_scope_unref(c->scope);
        c->scope = scope;
        c->stats = mp_stat_block(scope, c->cw->w.writer);
    }
    if (old != NULL) {
        mp_obj_leave(&old->obj, c->cw->w.id);
    }
}

void mp_cluster_local_remove(struct mp_cluster_local *c)
{
    if (c->conf == NULL) {
        return;
    }
    /* Requests that fail now may be followed by others at once: these find no host. */
    mp_lb_clear(c);
    for (uint32_t i = 0; i < c->n_hosts; i++) {
        mp_host_local_remove(c->hosts[i]);
    }
    c->n_hosts = 0;
    struct mp_cluster *old = c->conf;
    c->conf = NULL;
    mp_obj_leave(&old->obj, c->cw->w.id);
}

void mp_cluster_local_free(struct mp_cluster_local *c)
{
    if (c == NULL) {
        return;
    }
    for (uint32_t i = 0; i < c->n_hosts; i++) {
        mp_host_close_all(c->hosts[i]);
    }
    mp_cluster_local_remove(c);
    mp_stat_scope_unref(c->scope);
    free(c->hosts);
    mp_lb_fini(&c->lb);
    free(c);
}

struct mp_cluster_local *mp_cluster_find(struct mp_core_worker *cw, uint32_t id)
{
    struct mp_cluster_local *c = id < cw->n_clusters ? cw->clusters[id] : NULL;
    return c != NULL && c->conf != NULL ? c : NULL;
}

const struct mp_stat_block *mp_cluster_stats(const struct mp_cluster_local *c)
{
    return c->stats;
}

struct mp_str mp_cluster_name(const struct mp_cluster_local *c)
{
    return c->shared->name;
}
