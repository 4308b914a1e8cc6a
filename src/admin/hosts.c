/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "admin/hosts.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "core/cluster.h"
#include "core/engine.h"

/* What one worker saw; its own until all have reported. */
struct seen {
    uint32_t cluster_id;
    struct mp_addr addr;
    struct mp_str text, hostname;
    uint32_t weight, priority, cx_active, rq_active;
    bool configured_up;
    uint32_t health;
};
struct report {
    struct mp_arena arena;
    struct seen *v;
    uint32_t n;
};

struct collection {
    struct mp_admin_hosts hosts;
    void (*done)(void *arg, const struct mp_admin_hosts *hosts);
    void *arg;
    uint32_t n_reports;
    struct report reports[];
};

static struct mp_str dup(struct mp_arena *a, struct mp_str s)
{
    struct mp_str copy = mp_arena_dup(a, s);
    MP_ASSERT(copy.p != NULL);
    return copy;
}

static void *alloc(struct mp_arena *a, size_t n)
{
    void *p = mp_arena_zalloc(a, n);
    MP_ASSERT(p != NULL);
    return p;
}

/* ---- on the workers ---- */

static uint32_t length(const struct mp_list *list)
{
    uint32_t n = 0;
    MP_LIST_FOREACH (it, list) {
        n++;
    }
    return n;
}

static void report_host(struct report *r, uint32_t cluster_id, const struct mp_host_local *h)
{
    struct seen *s = &r->v[r->n++];
    *s = (struct seen){
        .cluster_id = cluster_id,
        .addr = h->addr,
        .text = dup(&r->arena, h->text),
        .hostname = dup(&r->arena, h->hostname),
        .weight = h->weight,
        .priority = h->priority,
        .cx_active = h->n_conns,
        .rq_active = length(&h->busy),
        .configured_up = h->configured_up,
        .health = mp_host_health(h->shared),
    };
}

static void report_worker(struct mp_core_worker *cw, void *arg)
{
    struct collection *col = arg;
    struct report *r = &col->reports[cw->w.id];
    uint32_t n = 0;
    for (uint32_t i = 0; i < cw->n_clusters; i++) {
        n +=
            cw->clusters[i] != NULL && cw->clusters[i]->conf != NULL ? cw->clusters[i]->n_hosts : 0;
    }
    r->v = alloc(&r->arena, n * sizeof(*r->v));
    for (uint32_t i = 0; i < cw->n_clusters; i++) {
        const struct mp_cluster_local *c = cw->clusters[i];
        for (uint32_t k = 0; c != NULL && c->conf != NULL && k < c->n_hosts; k++) {
            report_host(r, c->conf->id, c->hosts[k]);
        }
    }
}

/* ---- on the main thread ---- */

static struct mp_admin_cluster_hosts *cluster_of(struct mp_admin_hosts *h, uint32_t id)
{
    struct mp_str key = mp_str((const char *)&id, sizeof(id));
    struct mp_admin_cluster_hosts *c = mp_map_get(&h->clusters, key);
    if (c == NULL) {
        c = alloc(&h->arena, sizeof(*c));
        mp_map_set(&h->clusters, dup(&h->arena, key), c);
    }
    return c;
}

static struct mp_admin_host *host_of(struct mp_admin_hosts *h, const struct seen *s)
{
    char *bytes = alloc(&h->arena, sizeof(s->cluster_id) + s->text.n);
    memcpy(bytes, &s->cluster_id, sizeof(s->cluster_id));
    memcpy(bytes + sizeof(s->cluster_id), s->text.p, s->text.n);
    struct mp_str key = mp_str(bytes, sizeof(s->cluster_id) + s->text.n);
    struct mp_admin_host *host = mp_map_get(&h->hosts, key);
    if (host != NULL) {
        return host;
    }
    char ip[MP_ADDR_TEXT_MAX];
    bool is_unix = s->addr.family == MP_ADDR_UNIX;
    host = alloc(&h->arena, sizeof(*host));
    *host = (struct mp_admin_host){
        .text = dup(&h->arena, s->text),
        .is_unix = is_unix,
        .port = s->addr.port,
        .ip = dup(&h->arena, is_unix ? s->text : mp_str(ip, mp_addr_format_ip(&s->addr, ip))),
        .hostname = dup(&h->arena, s->hostname),
        .weight = s->weight,
        .priority = s->priority,
        .configured_up = s->configured_up,
        .health = s->health,
    };
    mp_map_set(&h->hosts, key, host);
    struct mp_admin_cluster_hosts *c = cluster_of(h, s->cluster_id);
    if (c->last != NULL) {
        c->last->next = host;
    } else {
        c->first = host;
    }
    c->last = host;
    return host;
}

static void all_reported(void *arg)
{
    struct collection *col = arg;
    for (uint32_t i = 0; i < col->n_reports; i++) {
        struct report *r = &col->reports[i];
        for (uint32_t k = 0; k < r->n; k++) {
            struct mp_admin_host *host = host_of(&col->hosts, &r->v[k]);
            host->cx_active += r->v[k].cx_active;
            host->rq_active += r->v[k].rq_active;
        }
        mp_arena_fini(&r->arena);
    }
    col->done(col->arg, &col->hosts);
    mp_map_fini(&col->hosts.clusters);
    mp_map_fini(&col->hosts.hosts);
    mp_arena_fini(&col->hosts.arena);
    free(col);
}

static void init_arena(struct mp_arena *a)
{
    mp_arena_init(a, NULL, 0, &mp_block_source_heap, 16 * 1024, SIZE_MAX / 2);
}

void mp_admin_collect_hosts(struct mp_engine *e,
                            void (*done)(void *arg, const struct mp_admin_hosts *hosts), void *arg)
{
    uint32_t n = e->n_workers + 1;
    struct collection *col = mp_xcalloc(1, sizeof(*col) + n * sizeof(col->reports[0]));
    init_arena(&col->hosts.arena);
    mp_map_init(&col->hosts.clusters);
    mp_map_init(&col->hosts.hosts);
    for (uint32_t i = 0; i < n; i++) {
        init_arena(&col->reports[i].arena);
    }
    col->n_reports = n;
    col->done = done;
    col->arg = arg;
    mp_engine_for_each_worker(e, report_worker, all_reported, col);
}

const struct mp_admin_host *mp_admin_hosts_of(const struct mp_admin_hosts *h, uint32_t cluster_id)
{
    const struct mp_admin_cluster_hosts *c =
        mp_map_get(&h->clusters, mp_str((const char *)&cluster_id, sizeof(cluster_id)));
    return c != NULL ? c->first : NULL;
}
