/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Upstream requests and the pool of connections that carries them.
 *
 * A request takes the warmest idle connection of its host, else waits in the host's queue while a
 * connection is opened for it, its own: it never depends on a connect that another request began
 * and that may be stuck. A connection that comes back meanwhile takes the oldest waiting request;
 * the connect that was its own goes on without an owner, for the pool or for the next request.
 *
 * The connection limit is the cluster's, over all workers; a host without any connection on this
 * worker may always open one, so that a limit held by others can slow a request but never starve
 * it. While requests wait for room under the limit, no connection of the cluster goes idle.
 *
 * HTTP/2: a request takes a connection of its host that has room. Connects are made as many as are
 * needed to carry what waits, and belong to nobody.
 */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "codec/h2_session.h"
#include "core/h2_client.h"
#include "core/outlier.h"
#include "core/stats.h"
#include "core/upconn.h"
#include "io/sock.h"

/* So long may a connect without an owner have taken for a new request to wait for it, and so long
 * does that request wait before it gets a connect of its own. */
#define ORPHAN_FRESH_MS 20
#define ORPHANS_LOOKED  8

static void on_timer(struct mp_timer *t);
static void serve_cluster(struct mp_cluster_local *c, struct mp_host_local *first);

/* ---- whose connect it is ---- */

static void bind(struct mp_upconn *uc, struct mp_upreq *u)
{
    uc->for_req = u;
    u->coming = uc;
    u->host->n_unbound--;
    u->cluster->n_unbound[u->priority]--;
}

/* Some request has no connection coming. */
static bool is_short(const struct mp_cluster_local *c)
{
    return c->n_unbound[MP_PRIORITY_DEFAULT] + c->n_unbound[MP_PRIORITY_HIGH] > 0;
}

static void unbind(struct mp_upreq *u)
{
    u->coming->for_req = NULL;
    u->coming = NULL;
    u->host->n_unbound++;
    u->cluster->n_unbound[u->priority]++;
}

/* ---- connections ---- */

static void drop_input(struct mp_upconn *uc)
{
    if (uc->in != NULL) {
        mp_blocks_put(&uc->cw->w.blocks, uc->in, uc->in_cap);
    }
    uc->in = NULL;
    uc->in_n = uc->in_cap = 0;
}

void mp_upconn_close(struct mp_upconn *uc)
{
    if (uc->state == MP_UPCONN_CLOSED) {
        return;
    }
    struct mp_core_worker *cw = uc->cw;
    struct mp_host_local *h = uc->host;
    struct mp_cluster_local *c = h->cluster;
    if (uc->state == MP_UPCONN_CONNECTING) {
        h->n_connecting--;
        if (uc->for_req != NULL) {
            unbind(uc->for_req);
        }
    }
    uc->state = MP_UPCONN_CLOSED;
    if (uc->h2 != NULL) {
        mp_h2_client_closed(uc);
    }
    mp_stat_add(c->stats, MP_ST_CLUSTER_CX_RX_BYTES, uc->ch.rx);
    mp_stat_add(c->stats, MP_ST_CLUSTER_CX_TX_BYTES, uc->ch.tx);
    mp_stat_inc(c->stats, MP_ST_CLUSTER_CX_DESTROY);
    mp_stat_dec(c->stats, MP_ST_CLUSTER_CX_ACTIVE);
    mp_stat_record(c->stats, MP_ST_CLUSTER_CX_LENGTH,
                   (mp_loop_now_ns(cw->w.loop) - uc->created_ns) / 1000);
    mp_chan_close(cw, &uc->ch);
    drop_input(uc);
    mp_wheel_remove(mp_loop_wheel(cw->w.loop), &uc->timer);
    mp_list_remove(&uc->link);
    mp_list_push_back(&cw->dead_upconns, &uc->link);
    mp_task_defer(cw->w.loop, &cw->reap_task);
    h->n_conns--;
    __atomic_sub_fetch(&c->shared->use[uc->priority].connections, 1, __ATOMIC_RELAXED);
    if (is_short(c)) {
        serve_cluster(c, h);
    }
    mp_host_maybe_free(h);
}

/* Closes an idle connection of another host of the cluster, to make room under the limit of the
 * priority. */
static bool evict_idle(struct mp_cluster_local *c, const struct mp_host_local *except,
                       unsigned priority)
{
    for (uint32_t i = 0; i < c->n_hosts; i++) {
        struct mp_host_local *h = c->hosts[i];
        struct mp_list *coldest = h->idle.prev;
        if (h != except && !mp_list_empty(&h->idle) &&
            MP_CONTAINER_OF(coldest, struct mp_upconn, link)->priority == priority) {
            mp_upconn_close(MP_CONTAINER_OF(coldest, struct mp_upconn, link));
            return true;
        }
        MP_LIST_FOREACH (it, &h->multi) {
            struct mp_upconn *uc = MP_CONTAINER_OF(it, struct mp_upconn, link);
            if (h != except && mp_h2_client_is_idle(uc)) {
                mp_upconn_close(uc);
                return true;
            }
        }
    }
    return false;
}

/* Takes a place under the connection limit. */
static bool may_connect(struct mp_host_local *h, unsigned priority)
{
    struct mp_cluster_local *c = h->cluster;
    uint32_t max = c->conf != NULL ? c->conf->conf->breakers[priority].connections_max : 0;
    uint32_t *counter = &c->shared->use[priority].connections;
    if (mp_breaker_take(counter, max)) {
        return true;
    }
    mp_stat_inc(c->stats, MP_ST_CLUSTER_CX_OVERFLOW);
    if (evict_idle(c, h, priority) && mp_breaker_take(counter, max)) {
        return true;
    }
    if (h->n_conns > 0) {
        return false;
    }
    __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
    return true;
}

/* Opens one connection, for which may_connect has taken the place. NULL: it failed at once. */
static struct mp_upconn *connect_one(struct mp_host_local *h, unsigned priority)
{
    struct mp_cluster_local *c = h->cluster;
    struct mp_core_worker *cw = c->cw;
    const struct mp_conf_cluster *conf = c->conf->conf;
    struct mp_upconn *uc = mp_slab_get(&cw->upconns);
    int fd = uc != NULL ? mp_sock_connect(cw->w.loop, &h->addr, NULL) : -ENOMEM;
    if (fd < 0) {
        goto failed;
    }
    if (conf->ka_idle_s != 0 || conf->ka_interval_s != 0 || conf->ka_probes != 0) {
        const struct mp_keepalive ka = {conf->ka_idle_s, conf->ka_interval_s, conf->ka_probes};
        (void)mp_sock_keepalive(cw->w.loop, fd, &ka);
    }
    memset(uc, 0, sizeof(*uc));
    uc->magic = MP_UPCONN_MAGIC;
    uc->state = MP_UPCONN_CONNECTING;
    uc->cw = cw;
    uc->host = h;
    uc->priority = (uint8_t)priority;
    uc->created_ns = mp_loop_now_ns(cw->w.loop);
    mp_timer_init(&uc->timer, on_timer);
    mp_list_init(&uc->link);
    if (mp_is_err(mp_chan_open(cw, &uc->ch, fd, mp_h1_client_on_ready))) {
        mp_sock_close(cw->w.loop, fd);
        goto failed;
    }
    h->n_conns++;
    h->n_connecting++;
    mp_list_push_back(&h->connecting, &uc->link);
    mp_stat_inc(c->stats, MP_ST_CLUSTER_CX_TOTAL);
    mp_stat_add(c->stats, MP_ST_CLUSTER_CX_HTTP1_TOTAL, !conf->http2);
    mp_stat_inc(c->stats, MP_ST_CLUSTER_CX_ACTIVE);
    if (conf->connect_timeout_ms > 0) {
        mp_timer_in(cw->w.loop, &uc->timer, conf->connect_timeout_ms);
    }
    return uc;
failed:
    if (uc != NULL) {
        mp_slab_put(&cw->upconns, uc);
    }
    __atomic_sub_fetch(&c->shared->use[priority].connections, 1, __ATOMIC_RELAXED);
    mp_stat_inc(c->stats, MP_ST_CLUSTER_CX_CONNECT_FAIL);
    return NULL;
}

/* ---- waiting requests ---- */

static void leave_pending(struct mp_upreq *u)
{
    struct mp_host_local *h = u->host;
    if (u->coming != NULL) {
        unbind(u);
    }
    h->n_unbound--;
    h->cluster->n_unbound[u->priority]--;
    mp_list_remove(&u->link);
    u->pending = false;
    h->n_pending--;
    __atomic_sub_fetch(&h->cluster->shared->use[u->priority].pending, 1, __ATOMIC_RELAXED);
    mp_stat_dec(h->cluster->stats, MP_ST_CLUSTER_RQ_PENDING_ACTIVE);
}

static bool speaks_h2(const struct mp_host_local *h)
{
    const struct mp_cluster *conf = h->cluster->conf;
    return conf != NULL && conf->conf->http2;
}

/* The connect has failed, and with it the request that it was made for; with HTTP/2 all that waited
 * for it. */
static void fail_owner(struct mp_upconn *uc, enum mp_upreq_end why, const char *details)
{
    struct mp_upreq *u = uc->for_req;
    struct mp_host_local *h = uc->host;
    if (speaks_h2(h)) {
        uint32_t n = h->n_connecting > 1 ? 1 : h->n_pending;
        for (; n > 0 && !mp_list_empty(&h->pending); n--) {
            u = MP_CONTAINER_OF(h->pending.next, struct mp_upreq, link);
            leave_pending(u);
            mp_upreq_finish(u, why, details);
        }
        return;
    }
    if (u != NULL) {
        leave_pending(u);
        mp_upreq_finish(u, why, details);
    }
}

/* A connect that has lost its owner, and is not stuck as far as one can tell. */
static struct mp_upconn *find_orphan(const struct mp_host_local *h)
{
    uint64_t now = mp_loop_now_ns(h->cluster->cw->w.loop);
    struct mp_list *it = h->connecting.prev;
    for (int i = 0; i < ORPHANS_LOOKED && it != &h->connecting; i++, it = it->prev) {
        struct mp_upconn *uc = MP_CONTAINER_OF(it, struct mp_upconn, link);
        if (now - uc->created_ns > ORPHAN_FRESH_MS * 1000000u) {
            return NULL; /* those before it are older */
        }
        if (uc->for_req == NULL) {
            return uc;
        }
    }
    return NULL;
}

static struct mp_upreq *first_unbound(const struct mp_host_local *h)
{
    MP_LIST_FOREACH (it, &h->pending) {
        struct mp_upreq *u = MP_CONTAINER_OF(it, struct mp_upreq, link);
        if (u->coming == NULL) {
            return u;
        }
    }
    return NULL;
}

/* Each connect will carry as many as the peer lets us; it tells later. */
static uint32_t streams_expected(const struct mp_host_local *h)
{
    uint32_t n = h->cluster->conf->conf->http2_options.max_concurrent_streams;
    uint32_t known = h->h2_streams_max > 0 ? MP_MIN(h->h2_streams_max, 100U) : 100;
    return n > 0 && n < known ? n : known;
}

static bool serve_pending_h2(struct mp_host_local *h)
{
    while (!h->removed && h->n_pending > h->n_connecting * streams_expected(h)) {
        struct mp_upreq *u = MP_CONTAINER_OF(h->pending.next, struct mp_upreq, link);
        if (!may_connect(h, u->priority)) {
            return false;
        }
        if (connect_one(h, u->priority) != NULL) {
            continue;
        }
        leave_pending(u);
        u->why = MP_UP_CONNECT_FAILED;
        u->details = "upstream_reset_before_response_started{connection_failure}";
        mp_task_defer(h->cluster->cw->w.loop, &u->end_task);
    }
    return true;
}

/* Connections for requests that have none coming. False: the limit. */
static bool serve_pending(struct mp_host_local *h)
{
    if (speaks_h2(h)) {
        return serve_pending_h2(h);
    }
    while (h->n_unbound > 0 && !h->removed) {
        struct mp_upreq *u = first_unbound(h);
        struct mp_upconn *uc = find_orphan(h);
        if (uc != NULL) {
            mp_timer_in(uc->cw->w.loop, &uc->timer, ORPHAN_FRESH_MS);
        } else {
            if (!may_connect(h, u->priority)) {
                return false;
            }
            uc = connect_one(h, u->priority);
        }
        if (uc != NULL) {
            bind(uc, u);
            continue;
        }
        leave_pending(u);
        u->why = MP_UP_CONNECT_FAILED;
        u->details = "upstream_reset_before_response_started{connection_failure}";
        mp_task_defer(h->cluster->cw->w.loop, &u->end_task);
    }
    return true;
}

/* Room has been made: for the host first, then for whichever is next. */
static void serve_cluster(struct mp_cluster_local *c, struct mp_host_local *first)
{
    if (c->serving || c->conf == NULL) {
        return;
    }
    c->serving = true;
    (void)serve_pending(first);
    for (uint32_t i = 0; i < c->n_hosts && is_short(c); i++) {
        c->serve_next = c->serve_next + 1 < c->n_hosts ? c->serve_next + 1 : 0;
        (void)serve_pending(c->hosts[c->serve_next]);
    }
    c->serving = false;
}

void mp_host_close_unused(struct mp_host_local *h)
{
    while (!mp_list_empty(&h->idle)) {
        mp_upconn_close(MP_CONTAINER_OF(h->idle.next, struct mp_upconn, link));
    }
    while (!mp_list_empty(&h->connecting)) {
        mp_upconn_close(MP_CONTAINER_OF(h->connecting.next, struct mp_upconn, link));
    }
    MP_LIST_FOREACH_SAFE (it, &h->multi) {
        struct mp_upconn *uc = MP_CONTAINER_OF(it, struct mp_upconn, link);
        if (mp_h2_client_is_idle(uc)) {
            mp_upconn_close(uc);
        } else {
            mp_h2_client_leave(uc);
        }
    }
}

void mp_host_close_all(struct mp_host_local *h)
{
    mp_host_close_unused(h);
    while (!mp_list_empty(&h->multi)) {
        mp_upconn_close(MP_CONTAINER_OF(h->multi.next, struct mp_upconn, link));
    }
    while (!mp_list_empty(&h->busy)) {
        struct mp_upconn *uc = MP_CONTAINER_OF(h->busy.next, struct mp_upconn, link);
        struct mp_upreq *u = uc->req;
        uc->req = NULL;
        mp_upconn_close(uc);
        if (u != NULL) {
            u->conn = NULL;
            mp_upreq_finish(u, MP_UP_CLOSED, "upstream_reset_before_response_started{local_reset}");
        }
    }
}

static void enqueue(struct mp_upreq *u)
{
    struct mp_host_local *h = u->host;
    mp_list_push_back(&h->pending, &u->link);
    u->pending = true;
    h->n_unbound++;
    h->cluster->n_unbound[u->priority]++;
    h->n_pending++;
    __atomic_add_fetch(&h->cluster->shared->use[u->priority].pending, 1, __ATOMIC_RELAXED);
    mp_stat_inc(h->cluster->stats, MP_ST_CLUSTER_RQ_PENDING_TOTAL);
    mp_stat_inc(h->cluster->stats, MP_ST_CLUSTER_RQ_PENDING_ACTIVE);
}

/* ---- a connection and a request meet ---- */

static bool wants_fresh(const struct mp_upreq *u)
{
    return u->retried || u->fresh;
}

static void attach(struct mp_upconn *uc, struct mp_upreq *u)
{
    u->reused_conn = uc->state == MP_UPCONN_IDLE || uc->requests > 0;
    uc->requests++;
    if (uc->h2 == NULL) {
        uc->state = MP_UPCONN_BUSY;
        uc->req = u;
        uc->n_1xx = 0;
        uc->body = MP_BODY_NONE;
        mp_list_remove(&uc->link);
        mp_list_push_back(&uc->host->busy, &uc->link);
        mp_timer_unset(&uc->timer);
    }
    u->conn = uc;
    u->sent_ns = mp_loop_now_ns(uc->cw->w.loop);
    if (!u->counted) {
        u->counted = true;
        mp_stat_inc(uc->host->cluster->stats, MP_ST_CLUSTER_RQ_TOTAL);
        mp_stat_inc(uc->host->cluster->stats, MP_ST_CLUSTER_RQ_ACTIVE);
    }
    if (u->ops->on_host != NULL) {
        u->ops->on_host(u, uc->host->text, uc->host->hostname);
    }
    if (uc->h2 != NULL) {
        mp_h2_client_send(u);
        return;
    }
    mp_h1_client_send_head(u);
}

/* A connection that can take the request at once, or NULL. */
static struct mp_upconn *find_ready(struct mp_host_local *h, const struct mp_upreq *u)
{
    MP_LIST_FOREACH (it, &h->multi) {
        struct mp_upconn *uc = MP_CONTAINER_OF(it, struct mp_upconn, link);
        if (mp_h2_client_has_room(uc)) {
            return uc;
        }
    }
    return wants_fresh(u) || mp_list_empty(&h->idle)
               ? NULL
               : MP_CONTAINER_OF(h->idle.next, struct mp_upconn, link);
}

void mp_host_use_room(struct mp_host_local *h, struct mp_upconn *uc)
{
    while (uc->state != MP_UPCONN_CLOSED && !mp_list_empty(&h->pending) &&
           mp_h2_client_has_room(uc)) {
        struct mp_upreq *u = MP_CONTAINER_OF(h->pending.next, struct mp_upreq, link);
        leave_pending(u);
        attach(uc, u);
    }
}

/* Connected, and the peer speaks HTTP/2. */
static void begin_h2(struct mp_upconn *uc)
{
    struct mp_host_local *h = uc->host;
    if (uc->for_req != NULL) {
        unbind(uc->for_req);
    }
    h->n_connecting--;
    mp_list_remove(&uc->link);
    mp_list_push_front(&h->multi, &uc->link);
    uc->state = MP_UPCONN_BUSY;
    if (!mp_h2_client_begin(uc)) {
        mp_upconn_close(uc);
        return;
    }
    mp_host_use_room(h, uc);
}

void mp_host_move_pending(struct mp_host_local *h)
{
    while (!mp_list_empty(&h->pending)) {
        struct mp_upreq *u = MP_CONTAINER_OF(h->pending.next, struct mp_upreq, link);
        struct mp_host_local *to = mp_cluster_pick(h->cluster);
        leave_pending(u);
        if (to == NULL) {
            mp_upreq_finish(u, MP_UP_NO_HOST, "no_healthy_upstream");
            continue;
        }
        h->n_active--;
        to->n_active++;
        u->host = to;
        struct mp_upconn *ready = find_ready(to, u);
        if (ready != NULL) {
            attach(ready, u);
            continue;
        }
        enqueue(u);
        serve_cluster(to->cluster, to);
    }
}

static bool may_reuse(struct mp_upconn *uc)
{
    struct mp_cluster_local *c = uc->host->cluster;
    if (c->conf == NULL || uc->host->removed || uc->ch.failed || uc->ch.hup || uc->ch.fin ||
        uc->in_n > 0 || mp_chan_queued(uc->cw, &uc->ch) > 0) {
        return false;
    }
    const struct mp_conf_cluster *conf = c->conf->conf;
    if (uc->proxy_serial != 0 && uc->requests > 0) {
        return false;
    }
    if (conf->requests_per_connection > 0 && uc->requests >= conf->requests_per_connection) {
        mp_stat_inc(c->stats, MP_ST_CLUSTER_CX_MAX_REQUESTS);
        return false;
    }
    uint64_t age_ms = (mp_loop_now_ns(uc->cw->w.loop) - uc->created_ns) / 1000000;
    if (conf->max_connection_duration_ms > 0 && age_ms >= conf->max_connection_duration_ms) {
        mp_stat_inc(c->stats, MP_ST_CLUSTER_CX_MAX_DURATION);
        return false;
    }
    return true;
}

void mp_upconn_on_connected(struct mp_upconn *uc, int err)
{
    struct mp_host_local *h = uc->host;
    struct mp_cluster_local *c = h->cluster;
    if (err < 0) {
        mp_stat_inc(c->stats, MP_ST_CLUSTER_CX_CONNECT_FAIL);
        fail_owner(uc, MP_UP_CONNECT_FAILED,
                   "upstream_reset_before_response_started{connection_failure}");
        mp_upconn_close(uc);
        return;
    }
    mp_stat_record(c->stats, MP_ST_CLUSTER_CX_CONNECT_MS,
                   (mp_loop_now_ns(uc->cw->w.loop) - uc->created_ns) / 1000);
    if (mp_h2_client_wanted(uc) && c->conf != NULL) {
        begin_h2(uc);
        return;
    }
    struct mp_upreq *u = uc->for_req;
    if (MP_UNLIKELY(!mp_upconn_is_for(uc, u))) {
        mp_upconn_close(uc); /* another request takes its place */
        return;
    }
    if (u != NULL && may_reuse(uc)) {
        leave_pending(u);
        h->n_connecting--;
        attach(uc, u);
        return;
    }
    if (u != NULL) {
        unbind(u);
    }
    h->n_connecting--;
    uc->state = MP_UPCONN_IDLE;
    mp_upconn_release(uc, true);
}

void mp_upconn_release(struct mp_upconn *uc, bool reusable)
{
    struct mp_host_local *h = uc->host;
    uc->req = NULL;
    if (!reusable || !may_reuse(uc)) {
        mp_upconn_close(uc);
        return;
    }
    drop_input(uc);
    uc->scanned = 0;
    MP_LIST_FOREACH (it, &h->pending) {
        struct mp_upreq *u = MP_CONTAINER_OF(it, struct mp_upreq, link);
        if (!wants_fresh(u) || uc->requests == 0) {
            leave_pending(u);
            attach(uc, u);
            return;
        }
    }
    if (h->cluster->n_unbound[uc->priority] > 0) {
        /* A request waits for a fresh connection, or for one to another host, and the limit keeps
         * it from having one: this one makes room. */
        mp_upconn_close(uc);
        return;
    }
    uc->state = MP_UPCONN_IDLE;
    mp_list_remove(&uc->link);
    mp_list_push_front(&h->idle, &uc->link);
    uint64_t idle_ms = h->cluster->conf->conf->idle_timeout_ms;
    if (idle_ms > 0) {
        mp_timer_in(uc->cw->w.loop, &uc->timer, idle_ms);
    }
}

static void on_timer(struct mp_timer *t)
{
    struct mp_upconn *uc = MP_CONTAINER_OF(t, struct mp_upconn, timer);
    MP_CHECK_MAGIC(uc, MP_UPCONN_MAGIC);
    struct mp_cluster_local *c = uc->host->cluster;
    uint64_t age_ms = (mp_loop_now_ns(c->cw->w.loop) - uc->created_ns) / 1000000;
    uint64_t connect_ms = c->conf != NULL ? c->conf->conf->connect_timeout_ms : 0;
    if (uc->state == MP_UPCONN_CONNECTING && age_ms < connect_ms) {
        /* It was taken over, and it is slow. */
        mp_timer_in(c->cw->w.loop, &uc->timer, connect_ms - age_ms);
        if (uc->for_req != NULL) {
            unbind(uc->for_req);
            serve_cluster(c, uc->host);
        }
    } else if (uc->state == MP_UPCONN_CONNECTING) {
        mp_stat_inc(c->stats, MP_ST_CLUSTER_CX_CONNECT_TIMEOUT);
        mp_stat_inc(c->stats, MP_ST_CLUSTER_CX_CONNECT_FAIL);
        fail_owner(uc, MP_UP_CONNECT_TIMEOUT,
                   "upstream_reset_before_response_started{connection_timeout}");
        mp_upconn_close(uc);
    } else if (uc->state == MP_UPCONN_IDLE) {
        mp_stat_inc(c->stats, MP_ST_CLUSTER_CX_IDLE_TIMEOUT);
        mp_upconn_close(uc);
    }
    mp_cork_flush(c->cw);
}

/* ---- requests ---- */

static void run_end_task(struct mp_task *t)
{
    struct mp_upreq *u = MP_CONTAINER_OF(t, struct mp_upreq, end_task);
    mp_upreq_finish(u, (enum mp_upreq_end)u->why, u->details);
    mp_cork_flush(u->cw);
}

static void fail_later(struct mp_upreq *u, enum mp_upreq_end why, const char *details)
{
    u->why = (uint8_t)why;
    u->details = details;
    mp_task_defer(u->cw->w.loop, &u->end_task);
}

static void account_end(struct mp_upreq *u)
{
    struct mp_cluster_local *c = u->cluster;
    mp_buf_fini(&u->held, &u->cw->w.blocks);
    if (u->host != NULL) {
        u->host->n_active--;
        u->host = NULL;
    }
    if (u->leased) {
        u->leased = false;
        mp_cluster_give_request(c, u->priority);
    }
    if (u->counted) {
        u->counted = false;
        mp_stat_dec(c->stats, MP_ST_CLUSTER_RQ_ACTIVE);
        mp_stat_record(c->stats, MP_ST_CLUSTER_RQ_TIME,
                       (mp_loop_now_ns(u->cw->w.loop) - u->sent_ns) / 1000);
    }
}

/* Takes u off whatever still holds it. */
static void detach(struct mp_upreq *u)
{
    mp_task_cancel(&u->end_task);
    struct mp_upconn *uc = u->conn;
    if (uc != NULL && uc->h2 != NULL) {
        mp_stat_inc(u->cluster->stats, MP_ST_CLUSTER_RQ_TX_RESET);
        mp_h2_client_cancel(u);
    } else if (uc != NULL) {
        u->conn = NULL;
        uc->req = NULL;
        mp_stat_inc(u->cluster->stats, MP_ST_CLUSTER_RQ_TX_RESET);
        mp_stat_inc(u->cluster->stats, MP_ST_CLUSTER_CX_DESTROY_LOCAL_RQ);
        if (u->tunnel) {
            /* An orderly end would look like the end of the tunnel's bytes. */
            mp_chan_cut(uc->cw, &uc->ch);
        }
        mp_upconn_close(uc);
    } else if (u->pending) {
        leave_pending(u);
        mp_stat_inc(u->cluster->stats, MP_ST_CLUSTER_RQ_CANCELLED);
        mp_host_maybe_free(u->host);
    }
}

void mp_upreq_finish(struct mp_upreq *u, enum mp_upreq_end why, const char *details)
{
    if (u->ended) {
        return;
    }
    u->ended = true;
    if (!u->resp_head && why >= MP_UP_CONNECT_FAILED && why <= MP_UP_PROTOCOL_ERROR) {
        mp_outlier_local(u, why == MP_UP_CONNECT_TIMEOUT);
    }
    detach(u);
    account_end(u);
    u->ops->on_end(u, why, details);
}

void mp_upreq_refused(struct mp_upreq *u)
{
    bool whole = u->no_body || (u->body_sent == 0 && !u->req_end);
    if (whole && !u->retried && !u->any_response && !u->host->removed) {
        u->retried = true;
        u->head_sent = false;
        mp_stat_inc(u->cluster->stats, MP_ST_CLUSTER_RQ_RESENT);
        enqueue(u);
        serve_cluster(u->cluster, u->host);
        return;
    }
    mp_stat_inc(u->cluster->stats, MP_ST_CLUSTER_RQ_RX_RESET);
    mp_upreq_finish(u, MP_UP_RESET, "upstream_reset_before_response_started{refused_stream}");
}

void mp_upreq_conn_lost(struct mp_upreq *u, enum mp_upreq_end why, const char *details)
{
    u->conn = NULL;
    bool bodiless = u->no_body || u->head->upgrade.n > 0;
    bool stale = u->reused_conn && !u->any_response && u->idempotent && bodiless && !u->retried;
    if (stale && !u->host->removed) {
        /* The upstream closed an idle connection as we began to use it: nothing was processed (RFC
         * 9112 9.3.1). */
        u->retried = true;
        u->head_sent = false;
        mp_stat_inc(u->cluster->stats, MP_ST_CLUSTER_RQ_RESENT);
        enqueue(u);
        serve_cluster(u->cluster, u->host);
        return;
    }
    mp_stat_inc(u->cluster->stats, MP_ST_CLUSTER_RQ_RX_RESET);
    mp_upreq_finish(u, why, details);
}

static bool was_tried(const struct mp_upreq_spec *spec, const struct mp_host_local *h)
{
    for (uint32_t i = 0; i < spec->n_tried; i++) {
        if (spec->tried[i] == h) {
            return true;
        }
    }
    return false;
}

/* The host for the request, or NULL: it will end. */
static struct mp_host_local *choose_host(struct mp_upreq *u, const struct mp_upreq_spec *spec)
{
    struct mp_cluster_local *c = u->cluster;
    if (spec->host != NULL) {
        u->unlimited = true;
        return spec->host;
    }
    if (!mp_cluster_take_request(c, u->priority)) {
        mp_stat_inc(c->stats, MP_ST_CLUSTER_RQ_PENDING_OVERFLOW);
        fail_later(u, MP_UP_OVERFLOW, "upstream_reset_before_response_started{overflow}");
        return NULL;
    }
    u->leased = true;
    struct mp_host_local *h = mp_cluster_pick(c);
    for (uint32_t i = 0; i < spec->attempts && h != NULL && was_tried(spec, h); i++) {
        h = mp_cluster_pick(c);
    }
    if (h == NULL) {
        mp_stat_inc(c->stats, MP_ST_CLUSTER_CX_NONE_HEALTHY);
        fail_later(u, MP_UP_NO_HOST, "no_healthy_upstream");
    }
    return h;
}

void mp_upreq_start(struct mp_upreq *u, struct mp_core_worker *cw, struct mp_cluster_local *cluster,
                    const struct mp_upreq_ops *ops, const struct mp_upreq_spec *spec)
{
    const struct mp_req_head *head = spec->head;
    memset(u, 0, sizeof(*u));
    u->ops = ops;
    u->cw = cw;
    u->serial = ++cw->next_id;
    u->cluster = cluster;
    u->head = head;
    u->path = spec->path;
    u->authority = spec->authority;
    u->req_end = spec->end;
    u->no_body = spec->end;
    u->priority = spec->priority;
    u->idempotent = mp_method_idempotent(head->method);
    u->fresh = head->method == MP_METHOD_CONNECT;
    u->started = true;
    u->expect_100 = mp_hdrs_maybe(&head->hdrs, MP_HDR_EXPECT) &&
                    mp_hdrs_get(&head->hdrs, MP_HDR_EXPECT) != NULL;
    mp_buf_init(&u->held);
    mp_list_init(&u->link);
    mp_task_init(&u->end_task, run_end_task);
    struct mp_host_local *h = choose_host(u, spec);
    if (h == NULL) {
        return;
    }
    u->host = h;
    h->n_active++;
    struct mp_upconn *ready = find_ready(h, u);
    if (ready != NULL) {
        attach(ready, u);
        return;
    }
    if (!u->unlimited &&
        __atomic_load_n(&cluster->shared->use[u->priority].pending, __ATOMIC_RELAXED) >=
            cluster->conf->conf->breakers[u->priority].pending_max) {
        mp_stat_inc(cluster->stats, MP_ST_CLUSTER_RQ_PENDING_OVERFLOW);
        fail_later(u, MP_UP_OVERFLOW, "upstream_reset_before_response_started{overflow}");
        return;
    }
    enqueue(u);
    serve_cluster(cluster, h);
}

static void hold(struct mp_upreq *u, struct mp_str data, bool end)
{
    if (data.n > 0 && !mp_buf_add(&u->held, &u->cw->w.blocks, data.p, data.n)) {
        fail_later(u, MP_UP_NOMEM, "overload");
        return;
    }
    u->held_all = end;
}

void mp_upreq_data(struct mp_upreq *u, struct mp_str data, bool end)
{
    if (u->ended) {
        return;
    }
    if (u->conn == NULL || !u->head_sent || (u->head->upgrade.n > 0 && !u->tunnel)) {
        hold(u, data, end);
        return;
    }
    if (u->conn->h2 != NULL) {
        mp_h2_client_send_data(u, data, end);
        return;
    }
    mp_h1_client_send_data(u, data, end);
}

void mp_upreq_trailers(struct mp_upreq *u, struct mp_hdrs *t)
{
    if (u->ended) {
        return;
    }
    u->has_trailers = true;
    u->trailers = t;
    if (u->conn == NULL || !u->head_sent) {
        u->held_all = true;
        return;
    }
    if (u->conn->h2 != NULL) {
        mp_h2_client_send_trailers(u);
        return;
    }
    mp_h1_client_send_trailers(u);
}

size_t mp_upreq_queued(const struct mp_upreq *u)
{
    if (u->h2 != NULL) {
        return u->held.n + u->h2->out.n;
    }
    return u->held.n + (u->conn != NULL ? mp_chan_backlog(&u->conn->ch) : 0);
}

void mp_upreq_read_on(struct mp_upreq *u)
{
    if (u->h2 != NULL) {
        mp_h2_read_on(u->h2);
        return;
    }
    if (!u->ended && u->conn != NULL && u->conn->ch.readable && !u->conn->in_read) {
        mp_stat_inc(u->cluster->stats, MP_ST_CLUSTER_FLOW_RESUMED);
        mp_h1_client_read(u->conn);
    }
}

void mp_upreq_cancel(struct mp_upreq *u)
{
    if (u->ended || !u->started) {
        return;
    }
    u->ended = true;
    detach(u);
    account_end(u);
}
