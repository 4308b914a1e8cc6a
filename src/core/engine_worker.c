/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What happens on a worker's own thread: its life, taking over a snapshot, draining. */
#include "core/engine_worker.h"

#include <stdlib.h>

#include "base/assert.h"
#include "codec/h2_session.h"
#include "core/access_log.h"
#include "core/chain.h"
#include "core/cluster.h"
#include "core/conn.h"
#include "core/filter_stats.h"
#include "core/h2_client.h"
#include "core/listener.h"
#include "core/overload.h"
#include "core/stats.h"
#include "core/upconn.h"
#include "io/sock.h"

static void reap(struct mp_task *t)
{
    struct mp_core_worker *cw = MP_CONTAINER_OF(t, struct mp_core_worker, reap_task);
    struct mp_list *it;
    while ((it = mp_list_pop_front(&cw->dead_streams)) != NULL) {
        mp_stream_free(MP_CONTAINER_OF(it, struct mp_stream, link));
    }
    while ((it = mp_list_pop_front(&cw->dead_conns)) != NULL) {
        mp_slab_put(&cw->conns, MP_CONTAINER_OF(it, struct mp_conn, link));
    }
    while ((it = mp_list_pop_front(&cw->dead_upconns)) != NULL) {
        mp_slab_put(&cw->upconns, MP_CONTAINER_OF(it, struct mp_upconn, link));
    }
}

static void tell_failed(struct mp_task *t)
{
    struct mp_core_worker *cw = MP_CONTAINER_OF(t, struct mp_core_worker, failed_task);
    mp_chan_tell_failed(cw);
    if (!cw->failed_more) {
        return;
    }
    cw->failed_more = false;
    MP_LIST_FOREACH_SAFE (it, &cw->streams) {
        struct mp_stream *s = MP_CONTAINER_OF(it, struct mp_stream, link);
        if (s->conn->ch.failed) {
            mp_stream_on_reset(s, MP_FLAG_DOWNSTREAM_CLOSED, "downstream_remote_disconnect");
        }
    }
}

static void flush_hook(void *arg)
{
    mp_cork_flush(arg);
}

struct mp_core_worker *mp_core_worker_new(struct mp_engine *e, uint32_t id, struct mp_loop *loop,
                                          uint64_t seed)
{
    struct mp_core_worker *cw = calloc(1, sizeof(*cw));
    MP_ASSERT(cw != NULL);
    cw->engine = e;
    mp_worker_init(&cw->w, id, loop, seed, e->opts.worker_memory_max, cw);
    cw->cork.buf = malloc(MP_CORK_SIZE);
    cw->fields = malloc(MP_FIELDS_SCRATCH * sizeof(struct mp_hdr));
    MP_ASSERT(cw->cork.buf != NULL);
    MP_ASSERT(cw->fields != NULL);
    mp_slab_init(&cw->conns, sizeof(struct mp_conn), 0);
    mp_slab_init(&cw->upconns, sizeof(struct mp_upconn), 0);
    mp_slab_init(&cw->h2_servers, mp_h2_server_size, 0);
    mp_slab_init(&cw->h2_clients, mp_h2_client_size, 0);
    mp_slab_init(&cw->h2_streams, sizeof(struct mp_h2_stream), 0);
    mp_slab_init(&cw->mores, sizeof(struct mp_chan_more), 0);
    mp_list_init(&cw->listeners);
    mp_list_init(&cw->old_listeners);
    mp_list_init(&cw->streams);
    mp_list_init(&cw->dead_conns);
    mp_list_init(&cw->dead_upconns);
    mp_list_init(&cw->dead_streams);
    mp_task_init(&cw->reap_task, reap);
    mp_task_init(&cw->failed_task, tell_failed);
    mp_alog_worker_init(cw);
    mp_loop_add_hook(loop, flush_hook, cw);
    cw->filter_stats = mp_filter_stats_local_new(e->filter_stats, cw->w.writer);
    cw->server_stats = mp_stat_block(e->server_scope, cw->w.writer);
    cw->h1_down_stats = mp_stat_block(e->h1_down_scope, cw->w.writer);
    cw->h1_up_stats = mp_stat_block(e->h1_up_scope, cw->w.writer);
    cw->h2_down_stats = mp_stat_block(e->h2_down_scope, cw->w.writer);
    cw->next_id = ((uint64_t)id << 48) + 1;
    return cw;
}

/* ---- taking over a snapshot ---- */

static struct mp_listener_local *find_listener(struct mp_core_worker *cw, struct mp_str name)
{
    MP_LIST_FOREACH (it, &cw->listeners) {
        struct mp_listener_local *l = MP_CONTAINER_OF(it, struct mp_listener_local, link);
        if (mp_str_eq(l->name, name)) {
            return l;
        }
    }
    return NULL;
}

static void adopt_clusters(struct mp_core_worker *cw, const struct mp_snapshot *snap)
{
    for (uint32_t i = 0; i < snap->n_clusters; i++) {
        struct mp_cluster *conf = snap->clusters[i];
        struct mp_cluster_local *c = mp_cluster_local_get(cw, conf);
        bool changed = c->conf != conf;
        mp_cluster_local_update(c, conf);
        c->generation = snap->generation;
        if (changed && conf->endpoints != NULL) {
            mp_cluster_local_set_endpoints(c, conf->endpoints);
        }
    }
    for (uint32_t i = 0; i < cw->n_clusters; i++) {
        struct mp_cluster_local *c = cw->clusters[i];
        if (c != NULL && c->conf != NULL && c->generation != snap->generation) {
            mp_cluster_local_remove(c);
        }
    }
}

static void adopt_listener(struct mp_core_worker *cw, struct mp_listener_conf *conf, const int *fds,
                           uint32_t n_fds)
{
    struct mp_listener_local *l = find_listener(cw, conf->obj.name);
    if (n_fds > 0) {
        if (l != NULL) {
            mp_listener_local_remove(l);
        }
        l = mp_listener_local_new(cw, conf, fds, n_fds);
    } else if (l != NULL) {
        mp_listener_local_update(l, conf);
    }
    if (l != NULL) {
        l->generation = cw->generation;
        if (cw->draining) {
            mp_listener_local_drain(l);
        }
    }
}

void mp_core_worker_adopt(struct mp_core_worker *cw, const struct mp_adoption *a)
{
    cw->generation = a->snap->generation;
    if (cw != cw->engine->main) {
        size_t max = mp_overload_worker_bytes(cw->engine, &a->snap->conf->overload);
        cw->w.blocks.bytes_max = max > 0 ? max : cw->engine->opts.worker_memory_max;
    }
    adopt_clusters(cw, a->snap);
    for (uint32_t i = 0; i < a->n; i++) {
        adopt_listener(cw, a->v[i].conf, a->v[i].fds, a->v[i].n_fds);
    }
    MP_LIST_FOREACH_SAFE (it, &cw->listeners) {
        struct mp_listener_local *l = MP_CONTAINER_OF(it, struct mp_listener_local, link);
        if (l->generation != cw->generation) {
            mp_listener_local_remove(l);
        }
    }
    mp_cork_flush(cw);
}

void mp_core_worker_drain(struct mp_core_worker *cw)
{
    cw->draining = true;
    MP_LIST_FOREACH_SAFE (it, &cw->listeners) {
        mp_listener_local_drain(MP_CONTAINER_OF(it, struct mp_listener_local, link));
    }
    mp_cork_flush(cw);
}

static void close_list(struct mp_list *list)
{
    MP_LIST_FOREACH_SAFE (it, list) {
        mp_listener_local_close_all(MP_CONTAINER_OF(it, struct mp_listener_local, link),
                                    "server_stopping");
    }
}

void mp_core_worker_cut(struct mp_core_worker *cw)
{
    close_list(&cw->listeners);
    close_list(&cw->old_listeners);
}

/* ---- the end ---- */

void mp_core_worker_close(struct mp_core_worker *cw)
{
    mp_core_worker_cut(cw);
    MP_LIST_FOREACH_SAFE (it, &cw->listeners) {
        struct mp_listener_local *l = MP_CONTAINER_OF(it, struct mp_listener_local, link);
        l->removed = true;
        mp_listener_local_free(l);
    }
    for (uint32_t i = 0; i < cw->n_clusters; i++) {
        mp_cluster_local_free(cw->clusters[i]);
        cw->clusters[i] = NULL;
    }
}

struct mp_core_worker *mp_core_worker_free(struct mp_core_worker *cw)
{
    MP_ASSERT(mp_list_empty(&cw->streams));
    MP_ASSERT(mp_list_empty(&cw->dead_streams));
    mp_wheel_remove(mp_loop_wheel(cw->w.loop), &cw->alog_timer);
    mp_filter_stats_local_free(cw->filter_stats);
    free(cw->clusters);
    free(cw->cork.buf);
    free(cw->fields);
    mp_slab_fini(&cw->conns);
    mp_slab_fini(&cw->upconns);
    mp_slab_fini(&cw->h2_servers);
    mp_slab_fini(&cw->h2_clients);
    mp_slab_fini(&cw->h2_streams);
    mp_slab_fini(&cw->mores);
    mp_tls_worker_fini(&cw->tls);
    free(cw->hs_failures);
    mp_worker_fini(&cw->w);
    free(cw);
    return NULL;
}
