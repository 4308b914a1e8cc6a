/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A worker's side of a listener: accepting, limits, connections over configuration changes. */
#include "core/listener.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "core/admit.h"
#include "core/conn.h"
#include "core/engine.h"
#include "core/overload.h"
#include "core/stats.h"
#include "io/sock.h"

#define ACCEPT_BATCH \
    64 /* connections per event at most, so that a storm does not starve the others */
#define RESUME_AFTER_MS 100

/* A stat scope of an earlier stat prefix: connections still count in it. */
struct old_scope {
    struct mp_list link;
    struct mp_stat_scope *scope;
};

/* Accepting goes on when no reason against it is left. */
static void pause_accept(struct mp_listener_local *l, enum mp_pause why, bool on)
{
    bool before = l->paused != 0;
    l->paused = (uint8_t)(on ? l->paused | why : l->paused & ~why);
    bool paused = l->paused != 0;
    if (paused == before) {
        return;
    }
    for (uint32_t i = 0; i < l->n_socks; i++) {
        if (l->socks[i].io.fd >= 0) {
            mp_io_listener_pause(l->cw->w.loop, &l->socks[i].io, paused);
        }
    }
}

static void on_resume(struct mp_timer *t)
{
    struct mp_listener_local *l = MP_CONTAINER_OF(t, struct mp_listener_local, resume_timer);
    pause_accept(l, MP_PAUSE_FDS, false);
}

void mp_listener_local_stop(struct mp_listener_local *l, bool stop)
{
    pause_accept(l, MP_PAUSE_OVERLOAD, stop);
}

static void on_cut(struct mp_timer *t)
{
    struct mp_listener_local *l = MP_CONTAINER_OF(t, struct mp_listener_local, cut_timer);
    if (l->n_conns > 0) {
        mp_log(MP_LOG_WARNING, "connections of a removed listener are cut",
               kv_str("listener", l->name), kv_u64("connections", l->n_conns));
        mp_listener_local_close_all(l, "listener_removed");
        mp_cork_flush(l->cw);
    }
}

/* How many to accept now. Asking in vain costs as much as two thirds of a success (the kernel makes
 * the socket first), and the descriptor is level-triggered: so one at a time, more while the queue
 * goes on to be full. */
static uint32_t accept_budget(struct mp_accept_sock *sock, uint64_t turn)
{
    sock->streak = turn == sock->last_turn + 1 ? sock->streak + 1 : 0;
    sock->last_turn = turn;
    return MP_MIN(1 + sock->streak / 4, ACCEPT_BATCH);
}

static void accept_some(struct mp_accept_sock *sock, uint32_t budget)
{
    struct mp_io *io = &sock->io;
    struct mp_listener_local *l = sock->lst;
    struct mp_loop *loop = l->cw->w.loop;
    for (uint32_t i = 0; i < budget && io->fd >= 0; i++) {
        struct mp_addr peer;
        int fd = mp_sock_accept(loop, io->fd, &peer);
        if (fd == -EAGAIN) {
            sock->streak = 0;
            return;
        }
        if (fd < 0) {
            mp_stat_inc(l->stats, MP_ST_LISTENER_ACCEPT_ERRORS);
            if (fd == -ECONNABORTED || fd == -EPROTO) {
                continue;
            }
            if ((fd == -EMFILE || fd == -ENFILE) && l->cw == l->cw->engine->main &&
                mp_engine_spend_reserve(l->cw->engine)) {
                continue; /* for the operator there is one left */
            }
            /* Out of descriptors or memory: the queue keeps the connections; try again shortly,
             * without spinning. */
            mp_stat_inc(l->stats, MP_ST_LISTENER_ACCEPT_PAUSED);
            mp_log(MP_LOG_WARNING, "accept failed, pausing", kv_str("listener", l->name),
                   kv_i64("errno", -fd));
            pause_accept(l, MP_PAUSE_FDS, true);
            mp_timer_in(loop, &l->resume_timer, RESUME_AFTER_MS);
            return;
        }
        bool counted;
        if (!mp_admit(l, &peer, &counted)) {
            mp_sock_close(loop, fd);
            continue;
        }
        mp_conn_accept(l, fd, &peer, counted);
    }
}

static void on_accept(struct mp_io *io, unsigned events)
{
    struct mp_accept_sock *sock = MP_CONTAINER_OF(io, struct mp_accept_sock, io);
    (void)events;
    accept_some(sock, accept_budget(sock, mp_loop_stats(sock->lst->cw->w.loop)->turns));
}

static struct mp_listener_local *local_new(struct mp_core_worker *cw, struct mp_str name)
{
    struct mp_listener_local *l = calloc(1, sizeof(*l));
    MP_ASSERT(l != NULL);
    l->cw = cw;
    l->name = mp_str_c(mp_str_dup_c(name));
    mp_list_init(&l->link);
    mp_list_init(&l->conns);
    mp_list_init(&l->old_scopes);
    mp_timer_init(&l->resume_timer, on_resume);
    mp_timer_init(&l->cut_timer, on_cut);
    return l;
}

struct mp_listener_local *mp_listener_local_new(struct mp_core_worker *cw,
                                                struct mp_listener_conf *conf, const int *fds,
                                                uint32_t n_fds)
{
    struct mp_listener_local *l = local_new(cw, conf->obj.name);
    mp_list_push_back(&cw->listeners, &l->link);
    mp_listener_local_update(l, conf);
    for (uint32_t i = 0; i < n_fds; i++) {
        struct mp_accept_sock *sock = &l->socks[l->n_socks++];
        sock->lst = l;
        sock->io.fd = -1;
        if (mp_is_err(mp_io_open_listener(cw->w.loop, &sock->io, fds[i], on_accept))) {
            mp_log(MP_LOG_ERROR, "cannot register a listening socket", kv_str("listener", l->name));
            mp_sock_close(cw->w.loop, fds[i]);
        }
    }
    if (mp_overload_on(cw, MP_OVERLOAD_STOP_ACCEPTING)) {
        mp_listener_local_stop(l, true);
    }
    return l;
}

/* One local takes its chain of the configuration. */
static void take_chain(struct mp_listener_local *l, struct mp_listener_conf *conf, uint32_t i)
{
    uint32_t w = l->cw->w.id;
    struct mp_listener_conf *old = l->conf;
    struct mp_http *old_http = l->http;
    const struct mp_chain_conf *chain = &conf->chains[i];
    mp_obj_enter(&conf->obj, w);
    mp_obj_enter(&chain->http->obj, w);
    l->conf = conf;
    l->chain = chain;
    l->http = chain->http;
    if (l->http_scope != l->http->stats) {
        if (l->http_scope != NULL) {
            struct old_scope *o = calloc(1, sizeof(*o));
            MP_ASSERT(o != NULL);
            o->scope = l->http_scope;
            mp_list_push_back(&l->old_scopes, &o->link);
        }
        mp_stat_scope_ref(l->http->stats);
        l->http_scope = l->http->stats;
        l->http_stats = mp_stat_block(l->http->stats, l->cw->w.writer);
    }
    l->stats = mp_stat_block(conf->stats, l->cw->w.writer);
    if (old != NULL) {
        mp_obj_leave(&old_http->obj, w);
        mp_obj_leave(&old->obj, w);
    }
}

/* Is it the local of this chain? By name; chains without one by their place. */
static bool same_chain(const struct mp_conf_chain *a, const struct mp_conf_chain *b,
                       bool same_place)
{
    struct mp_str x = a != NULL ? a->name : MP_STR(""), y = b != NULL ? b->name : MP_STR("");
    return x.n == 0 && y.n == 0 ? same_place : mp_str_eq(x, y);
}

/* The first chain keeps the local with the sockets; another local is found for each of the others,
 * or made. */
static void update_chains(struct mp_listener_local *l, struct mp_listener_conf *conf)
{
    struct mp_listener_local **old = l->chains;
    uint32_t n_old = l->n_chains;
    l->chains = calloc(conf->n_chains, sizeof(struct mp_listener_local *));
    MP_ASSERT(l->chains != NULL);
    l->n_chains = conf->n_chains;
    l->chains[0] = l;
    for (uint32_t i = 1; i < conf->n_chains; i++) {
        for (uint32_t k = 1; k < n_old && l->chains[i] == NULL; k++) {
            if (old[k] != NULL && same_chain(old[k]->chain->conf, conf->chains[i].conf, i == k)) {
                l->chains[i] = old[k];
                old[k] = NULL;
            }
        }
        if (l->chains[i] == NULL) {
            l->chains[i] = local_new(l->cw, l->name);
            l->chains[i]->n_chains = 1;
        }
        take_chain(l->chains[i], conf, i);
    }
    for (uint32_t k = 1; k < n_old; k++) {
        if (old[k] != NULL) {
            mp_listener_local_remove(old[k]);
        }
    }
    free(old);
}

void mp_listener_local_update(struct mp_listener_local *l, struct mp_listener_conf *conf)
{
    if (l->conf == conf) {
        return;
    }
    /* The chains before the first: old conditions are read while old configurations are there. */
    update_chains(l, conf);
    take_chain(l, conf, 0);
}

void mp_listener_local_move(struct mp_conn *c, struct mp_listener_local *to)
{
    struct mp_listener_local *from = c->lst;
    from->n_conns--;
    to->n_conns++;
    mp_list_remove(&c->link);
    mp_list_push_back(&to->conns, &c->link);
    c->lst = to;
}

static void drain_conns(struct mp_listener_local *l)
{
    MP_LIST_FOREACH_SAFE (it, &l->conns) {
        struct mp_conn *c = MP_CONTAINER_OF(it, struct mp_conn, link);
        c->proto->drain(c);
    }
}

void mp_listener_local_drain(struct mp_listener_local *l)
{
    for (uint32_t i = 0; i < l->n_socks; i++) {
        /* What the kernel has accepted already is served: closing the socket would reset it. */
        if (l->socks[i].io.fd >= 0) {
            accept_some(&l->socks[i], UINT32_MAX);
            mp_io_close(l->cw->w.loop, &l->socks[i].io);
        }
    }
    drain_conns(l);
    for (uint32_t i = 1; i < l->n_chains; i++) {
        drain_conns(l->chains[i]);
    }
}

static void free_if_unused(struct mp_listener_local *l)
{
    if (l->removed && l->n_conns == 0) {
        mp_listener_local_free(l);
    }
}

void mp_listener_local_remove(struct mp_listener_local *l)
{
    mp_list_remove(&l->link);
    mp_list_push_back(&l->cw->old_listeners, &l->link);
    l->removed = true; /* responses say so while the connections drain */
    mp_listener_local_drain(l);
    for (uint32_t i = 1; i < l->n_chains; i++) {
        mp_listener_local_remove(l->chains[i]);
    }
    l->n_chains = 1;
    mp_timer_in(l->cw->w.loop, &l->cut_timer, l->http->conf->drain_timeout_ms);
    free_if_unused(l);
}

void mp_listener_local_conn_gone(struct mp_listener_local *l)
{
    l->n_conns--;
    __atomic_sub_fetch(&l->conf->shared->connections, 1, __ATOMIC_RELAXED);
    free_if_unused(l);
}

static void free_now(struct mp_task *t)
{
    struct mp_listener_local *l = MP_CONTAINER_OF(t, struct mp_listener_local, free_task);
    uint32_t w = l->cw->w.id;
    mp_wheel_remove(mp_loop_wheel(l->cw->w.loop), &l->resume_timer);
    mp_wheel_remove(mp_loop_wheel(l->cw->w.loop), &l->cut_timer);
    for (uint32_t i = 0; i < l->n_socks; i++) {
        mp_io_close(l->cw->w.loop, &l->socks[i].io);
    }
    mp_obj_leave(&l->http->obj, w);
    mp_obj_leave(&l->conf->obj, w);
    mp_stat_scope_unref(l->http_scope);
    struct mp_list *it;
    while ((it = mp_list_pop_front(&l->old_scopes)) != NULL) {
        struct old_scope *o = MP_CONTAINER_OF(it, struct old_scope, link);
        mp_stat_scope_unref(o->scope);
        free(o);
    }
    mp_list_remove(&l->link);
    free(l->chains);
    free((char *)(uintptr_t)l->name.p);
    free(l);
}

void mp_listener_local_free(struct mp_listener_local *l)
{
    if (l->freeing) {
        return;
    }
    l->freeing = true;
    for (uint32_t i = 1; i < l->n_chains; i++) {
        mp_listener_local_free(l->chains[i]);
    }
    mp_task_init(&l->free_task, free_now);
    mp_task_defer(l->cw->w.loop, &l->free_task);
}

void mp_listener_local_close_all(struct mp_listener_local *l, const char *details)
{
    MP_LIST_FOREACH_SAFE (it, &l->conns) {
        struct mp_conn *c = MP_CONTAINER_OF(it, struct mp_conn, link);
        c->proto->cut(c, details);
    }
    for (uint32_t i = 1; i < l->n_chains; i++) {
        mp_listener_local_close_all(l->chains[i], details);
    }
}
