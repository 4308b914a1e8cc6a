/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The engine on the main thread: building and publishing snapshots, sockets, draining, the end. */
#include "core/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/h1_parse.h"
#include "core/access_log.h"
#include "core/admit.h"
#include "core/build.h"
#include "core/cluster.h"
#include "core/engine_worker.h"
#include "core/filter_stats.h"
#include "core/guard_ops.h"
#include "core/health.h"
#include "core/listener.h"
#include "core/names.h"
#include "core/overload.h"
#include "core/resolver.h"
#include "core/stats.h"
#include "io/dns.h"
#include "io/open.h"
#include "io/passed.h"
#include "io/sock.h"
#include "io/tls.h"

#define PORT_LEFT_MS   60000
#define LAST_ERROR_MAX (64 * 1024) /* of text kept of a refused configuration */

/* Which listener has sockets already. */
struct mp_listener_socks {
    struct mp_list link;
    struct mp_listener_conf *conf; /* a reference */
    bool main_only;                /* the admin's, which may have the name of any other */
};

/* A snapshot on its way to the workers. */
struct mp_publication {
    struct mp_engine *engine;
    struct mp_snapshot *snap;
    uint32_t n;
    struct mp_new_socks {
        struct mp_listener_conf *conf;
        int *fds; /* n_addrs x workers, worker by worker; NULL: kept */
        uint32_t n_addrs;
        bool main_only;
        struct mp_new_socks *from; /* of the publication that is overtaken: its sockets are taken */
    } * v;
    struct mp_timer timer;
};

static void publish(struct mp_publication *p);

/* ---- life ---- */

static uint32_t connections_for_fds(uint64_t fds)
{
    if (fds == 0) {
        return UINT32_MAX;
    }
    uint64_t reserve = fds / 20 + 512; /* upstream connections, logs, sockets of our own */
    uint64_t n = fds > 2 * reserve ? fds - reserve : fds / 2;
    return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static void on_stat_flush(struct mp_timer *t)
{
    struct mp_engine *e = MP_CONTAINER_OF(t, struct mp_engine, flush_timer);
    mp_stat_flush(e->stats);
    uint64_t ms = e->snap != NULL ? e->snap->conf->stats_flush_interval_ms : 5000;
    mp_timer_in(e->opts.main_loop, &e->flush_timer, ms > 0 ? ms : 5000);
}

static void on_drain_timer(struct mp_timer *t);

mp_err mp_engine_new(const struct mp_engine_opts *opts, struct mp_engine **ret)
{
    struct mp_engine *e = mp_xcalloc_line(sizeof(*e));
    static const struct mp_guard_hook no_guard;
    e->opts = *opts;
    e->guard = opts->guard != NULL ? opts->guard : &no_guard;
    e->n_workers = opts->n_workers;
    e->state = MP_SERVER_PRE_INITIALIZING;
    e->connections_max = connections_for_fds(opts->fd_limit);
    e->start_wall_ns = mp_loop_wall_ns(opts->main_loop);
    e->start_ns = mp_loop_now_ns(opts->main_loop);
    pthread_mutex_init(&e->shared_lock, NULL);
    mp_map_init(&e->cluster_shared);
    mp_map_init(&e->listener_shared);
    mp_list_init(&e->sockets);
    mp_stats_init();
    e->stats = mp_stat_store_new(e->n_workers + 2);
    e->server_scope = mp_stat_scope_get(e->stats, &mp_stats_server, MP_STR(""));
    e->h1_down_scope = mp_stat_scope_get(e->stats, &mp_stats_http1, MP_STR("downstream"));
    e->h1_up_scope = mp_stat_scope_get(e->stats, &mp_stats_http1, MP_STR("upstream"));
    e->h2_down_scope = mp_stat_scope_get(e->stats, &mp_stats_http2, MP_STR(""));
    e->filter_stats = mp_filter_stats_new(e->stats);
    e->tickets = mp_tls_tickets_new();
    e->cluster_names = mp_names_new();
    const struct mp_alog_set_opts alog_opts = {
        .n_workers = e->n_workers + 1, .stats = e->stats, .threaded = opts->threaded_log};
    e->alogs = mp_alog_set_new(&alog_opts);
    e->workers = calloc(e->n_workers + 1, sizeof(*e->workers));
    MP_ASSERT(e->workers != NULL);
    for (uint32_t i = 0; i <= e->n_workers; i++) {
        struct mp_loop *loop = i < e->n_workers ? opts->loops[i] : opts->main_loop;
        e->workers[i] = mp_core_worker_new(e, i, loop, mp_hash_fnv(opts->seed, &i, sizeof(i)));
    }
    e->main = e->workers[e->n_workers];
    mp_err err = mp_dns_new(opts->main_loop, NULL, &e->dns);
    if (mp_is_err(err)) {
        mp_engine_free(e);
        return err;
    }
    e->health = mp_health_new(e);
    e->resolver = mp_resolver_new(e);
    e->overload = mp_overload_new(e);
    mp_engine_fill_reserve(e);
    mp_timer_init(&e->flush_timer, on_stat_flush);
    mp_timer_init(&e->drain_timer, on_drain_timer);
    mp_timer_in(opts->main_loop, &e->flush_timer, 5000);
    *ret = e;
    return MP_OK;
}

static void free_socks(struct mp_engine *e)
{
    struct mp_list *it;
    while ((it = mp_list_pop_front(&e->sockets)) != NULL) {
        struct mp_listener_socks *s = MP_CONTAINER_OF(it, struct mp_listener_socks, link);
        mp_obj_unref(&s->conf->obj);
        free(s);
    }
}

static void free_sources(struct mp_map *listeners)
{
    size_t pos = 0;
    struct mp_map_entry *entry;
    while ((entry = mp_map_next(listeners, &pos)) != NULL) {
        struct mp_listener_shared *s = entry->value;
        mp_sources_free(s->sources);
    }
}

static void free_hosts(struct mp_engine *e)
{
    size_t pos = 0;
    struct mp_map_entry *entry;
    while ((entry = mp_map_next(&e->cluster_shared, &pos)) != NULL) {
        struct mp_cluster_shared *c = entry->value;
        mp_host_shared_purge(e, c, true);
        mp_map_fini(&c->hosts);
    }
}

static void free_shared(struct mp_map *m)
{
    size_t pos = 0;
    struct mp_map_entry *entry;
    while ((entry = mp_map_next(m, &pos)) != NULL) {
        char *name = (char *)(uintptr_t)entry->key.p;
        free(entry->value);
        entry->key = MP_STR("");
        free(name);
    }
    mp_map_fini(m);
}

struct mp_engine *mp_engine_free(struct mp_engine *e)
{
    if (e == NULL) {
        return NULL;
    }
    if (e->warming != NULL) {
        publish(e->warming);
    }
    if (e->resolver != NULL) {
        mp_wheel_remove(mp_loop_wheel(e->opts.main_loop), &e->flush_timer);
        mp_wheel_remove(mp_loop_wheel(e->opts.main_loop), &e->drain_timer);
    }
    e->overload = mp_overload_free(e->overload);
    mp_resolver_free(e->resolver);
    if (e->health != NULL) {
        mp_health_close(e->health);
    }
    mp_dns_free(e->dns);
    for (uint32_t i = 0; i <= e->n_workers; i++) {
        mp_mailbox_drain(&e->workers[i]->w.mailbox);
        mp_core_worker_close(e->workers[i]);
    }
    /* Objects end in tasks, and tasks defer tasks. */
    for (int turn = 0; turn < 4; turn++) {
        for (uint32_t i = 0; i <= e->n_workers; i++) {
            mp_loop_turn(e->workers[i]->w.loop, 0);
        }
    }
    for (uint32_t i = 0; i <= e->n_workers; i++) {
        mp_alog_flush(e->alogs, i, true);
    }
    free_socks(e);
    if (e->snap != NULL) {
        mp_snapshot_unref(e->snap);
    }
    for (uint32_t i = 0; i <= e->n_workers; i++) {
        mp_core_worker_free(e->workers[i]);
    }
    mp_health_free(e->health);
    mp_tls_tickets_free(e->tickets);
    mp_alog_set_free(e->alogs);
    mp_stat_scope_unref(e->server_scope);
    mp_stat_scope_unref(e->h1_down_scope);
    mp_stat_scope_unref(e->h1_up_scope);
    mp_stat_scope_unref(e->h2_down_scope);
    mp_filter_stats_free(e->filter_stats);
    mp_stat_store_free(e->stats);
    mp_names_free(e->cluster_names);
    free_hosts(e);
    free_shared(&e->cluster_shared);
    free_sources(&e->listener_shared);
    free_shared(&e->listener_shared);
    pthread_mutex_destroy(&e->shared_lock);
    while (mp_engine_spend_reserve(e)) {
    }
    free(e->workers);
    free(e->last_error);
    free(e);
    return NULL;
}

/* ---- the admin's descriptors ---- */

void mp_engine_fill_reserve(struct mp_engine *e)
{
    while (e->opts.fd_limit > 0 && e->n_reserve < MP_RESERVE_FDS) {
        int fd = mp_open_read("/dev/null");
        if (fd < 0) {
            return;
        }
        e->reserve[e->n_reserve++] = fd;
    }
}

bool mp_engine_spend_reserve(struct mp_engine *e)
{
    if (e->n_reserve == 0) {
        return false;
    }
    mp_sock_close(e->opts.main_loop, e->reserve[--e->n_reserve]);
    return true;
}

/* ---- messages to workers ---- */

struct adopt_msg {
    struct mp_msg msg;
    struct mp_adoption a;
};

static void deliver_adoption(struct mp_msg *m, void *receiver)
{
    struct adopt_msg *msg = MP_CONTAINER_OF(m, struct adopt_msg, msg);
    mp_core_worker_adopt(receiver, &msg->a);
    mp_snapshot_unref(msg->a.snap);
    free(msg->a.v);
    free(msg);
}

struct call_msg {
    struct mp_msg msg;
    struct call *call;
};
struct call {
    struct mp_engine *engine;
    void (*fn)(struct mp_core_worker *cw, void *arg);
    void (*done)(void *arg);
    void *arg;
    uint32_t left; /* atomic */
    struct mp_msg done_msg;
    struct call_msg msgs[];
};

static void deliver_done(struct mp_msg *m, void *receiver)
{
    struct call *c = MP_CONTAINER_OF(m, struct call, done_msg);
    (void)receiver;
    if (c->done != NULL) {
        c->done(c->arg);
    }
    free(c);
}

static void deliver_call(struct mp_msg *m, void *receiver)
{
    struct call *c = MP_CONTAINER_OF(m, struct call_msg, msg)->call;
    c->fn(receiver, c->arg);
    if (__atomic_sub_fetch(&c->left, 1, __ATOMIC_ACQ_REL) == 0) {
        c->done_msg.deliver = deliver_done;
        mp_mailbox_post(&c->engine->main->w.mailbox, &c->done_msg);
    }
}

void mp_engine_for_each_worker(struct mp_engine *e,
                               void (*fn)(struct mp_core_worker *cw, void *arg),
                               void (*done)(void *arg), void *arg)
{
    uint32_t n = e->n_workers + 1;
    struct call *c = calloc(1, sizeof(*c) + n * sizeof(c->msgs[0]));
    MP_ASSERT(c != NULL);
    c->engine = e;
    c->fn = fn;
    c->done = done;
    c->arg = arg;
    c->left = n;
    for (uint32_t i = 0; i < n; i++) {
        c->msgs[i].call = c;
        c->msgs[i].msg.deliver = deliver_call;
        mp_mailbox_post(&e->workers[i]->w.mailbox, &c->msgs[i].msg);
    }
}

/* ---- sockets ---- */

static bool same_addr(const struct mp_conf_addr *a, const struct mp_conf_addr *b)
{
    return a->is_unix == b->is_unix && a->port == b->port && mp_str_eq(a->host, b->host);
}

static bool same_sockets(const struct mp_conf_listener *a, const struct mp_conf_listener *b)
{
    bool same = a->n_addrs == b->n_addrs && a->reuse_port == b->reuse_port &&
                a->backlog == b->backlog && a->freebind == b->freebind &&
                a->ip6_only == b->ip6_only;
    for (uint32_t i = 0; same && i < a->n_addrs; i++) {
        same = same_addr(&a->addrs[i], &b->addrs[i]);
    }
    return same;
}

static struct mp_listener_socks *find_socks(struct mp_engine *e, struct mp_str name, bool main_only)
{
    MP_LIST_FOREACH (it, &e->sockets) {
        struct mp_listener_socks *s = MP_CONTAINER_OF(it, struct mp_listener_socks, link);
        if (s->main_only == main_only && mp_str_eq(s->conf->obj.name, name)) {
            return s;
        }
    }
    return NULL;
}

static mp_err listen_addr(const struct mp_conf_addr *c, struct mp_addr *ret)
{
    if (c->is_unix) {
        *ret = (struct mp_addr){.family = MP_ADDR_UNIX};
        ret->path = c->host.p;
        return MP_OK;
    }
    return mp_addr_parse_ip(c->host, c->port, ret);
}

static void set_options(const struct mp_conf_listener *l, struct mp_listen_opts *o)
{
    _Static_assert(MP_CONF_SOCK_OPTIONS_MAX <= MP_SOCK_OPTIONS_MAX, "all of them fit");
    for (uint32_t i = 0; i < l->n_options; i++) {
        const struct mp_conf_sock_option *from = &l->options[i];
        o->options[o->n_options++] =
            (struct mp_sock_option){from->level, from->name, from->value, from->state};
    }
}

static bool has_port(const struct mp_conf_listener *l, uint16_t port)
{
    for (uint32_t i = 0; i < l->n_addrs; i++) {
        if (!l->addrs[i].is_unix && l->addrs[i].port == port) {
            return true;
        }
    }
    return false;
}

/* Is there, or was there a short while ago, a socket of our own at that port? Those of a removed
 * listener are closed by the workers, later than the main thread knows. */
static bool is_own_port(const struct mp_engine *e, const struct mp_publication *p, uint16_t port)
{
    MP_LIST_FOREACH (it, &e->sockets) {
        if (has_port(MP_CONTAINER_OF(it, struct mp_listener_socks, link)->conf->conf, port)) {
            return true;
        }
    }
    for (uint32_t i = 0; i < p->n; i++) {
        if (p->v[i].fds != NULL && p->v[i].fds[0] >= 0 && has_port(p->v[i].conf->conf, port)) {
            return true;
        }
    }
    for (uint32_t i = 0; e->warming != NULL && i < e->warming->n; i++) {
        if (has_port(e->warming->v[i].conf->conf, port)) {
            return true;
        }
    }
    uint64_t left = e->ports_left[port % MP_PORTS_LEFT].at_ms;
    return left > 0 && e->ports_left[port % MP_PORTS_LEFT].port == port &&
           mp_loop_now_ms(e->opts.main_loop) - left < PORT_LEFT_MS;
}

static mp_err open_one(struct mp_engine *e, const struct mp_conf_listener *l,
                       const struct mp_conf_addr *c, bool probe, struct mp_diag *diag, int *ret)
{
    struct mp_addr addr;
    if (mp_is_err(listen_addr(c, &addr))) {
        return mp_diag_error(diag, MP_E_INVALID, l->line, l->name.p, "use an IP address",
                             "listener address \"" MP_STR_FMT "\" is not an IP address",
                             MP_STR_ARG(c->host));
    }
    /* Passed by the service manager, with whatever waits in its queue; shared by the workers. */
    int passed = mp_passed_take(&addr, l->n_addrs == 1 ? l->name : mp_str(NULL, 0));
    if (passed >= 0) {
        *ret = passed;
        return MP_OK;
    }
    struct mp_listen_opts opts = {.backlog = l->backlog,
                                  .reuse_port = l->reuse_port && !c->is_unix,
                                  .ip6_only = l->ip6_only,
                                  .freebind = l->freebind,
                                  .probe = probe,
                                  .unix_mode = c->unix_mode};
    set_options(l, &opts);
    int fd = mp_sock_listen(e->opts.main_loop, &addr, &opts);
    if (fd < 0) {
        char text[MP_ADDR_TEXT_MAX];
        mp_addr_format(&addr, text);
        const char *cure =
            fd == -EADDRINUSE
                ? "stop the program that uses it or choose another port (reuse_port lets a "
                  "second process share it)"
            : fd == -EACCES ? "ports below 1024 need CAP_NET_BIND_SERVICE"
                            : NULL;
        return mp_diag_error(diag, MP_E_IO, l->line, l->name.p, cure, "cannot listen on %s: %s",
                             text, strerror(-fd));
    }
    *ret = fd;
    return MP_OK;
}

/* One socket for each worker (SO_REUSEPORT), or one that they share. */
static mp_err open_socks(struct mp_publication *p, struct mp_new_socks *ns, uint32_t n_workers,
                         struct mp_diag *diag)
{
    struct mp_engine *e = p->engine;
    const struct mp_conf_listener *l = ns->conf->conf;
    ns->n_addrs = l->n_addrs;
    ns->fds = malloc(sizeof(int) * l->n_addrs * n_workers);
    MP_ASSERT(ns->fds != NULL);
    for (uint32_t i = 0; i < l->n_addrs * n_workers; i++) {
        ns->fds[i] = -1;
    }
    for (uint32_t w = 0; w < n_workers; w++) {
        for (uint32_t a = 0; a < l->n_addrs; a++) {
            int *fd = &ns->fds[w * l->n_addrs + a];
            if (w > 0 && (!l->reuse_port || l->addrs[a].is_unix)) {
                *fd = mp_fd_dup(ns->fds[a]);
                if (*fd < 0) {
                    return mp_diag_error(diag, MP_E_IO, l->line, l->name.p, NULL,
                                         "cannot share a socket: %s", strerror(-*fd));
                }
                continue;
            }
            bool probe = w == 0 && !l->share_port && !is_own_port(e, p, l->addrs[a].port);
            MP_TRY(open_one(e, l, &l->addrs[a], probe, diag, fd));
        }
    }
    return MP_OK;
}

static void publication_free(struct mp_publication *p, bool close_fds)
{
    mp_wheel_remove(mp_loop_wheel(p->engine->opts.main_loop), &p->timer);
    for (uint32_t i = 0; i < p->n; i++) {
        struct mp_new_socks *ns = &p->v[i];
        uint32_t n = ns->fds != NULL ? ns->n_addrs * (ns->main_only ? 1 : p->engine->n_workers) : 0;
        for (uint32_t k = 0; close_fds && k < n; k++) {
            if (ns->fds[k] >= 0) {
                mp_sock_close(p->engine->opts.main_loop, ns->fds[k]);
            }
        }
        free(ns->fds);
    }
    mp_snapshot_unref(p->snap);
    free(p->v);
    free(p);
}

static void on_warm_timeout(struct mp_timer *t)
{
    publish(MP_CONTAINER_OF(t, struct mp_publication, timer));
}

static void on_warmed(void *arg)
{
    struct mp_engine *e = arg;
    if (e->warming != NULL) {
        publish(e->warming);
    }
}

/* Sockets that wait for an earlier publication, perhaps with connections in their queues. */
static struct mp_new_socks *find_warming(struct mp_publication *w, const struct mp_new_socks *ns)
{
    for (uint32_t i = 0; w != NULL && i < w->n; i++) {
        struct mp_new_socks *s = &w->v[i];
        if (s->fds != NULL && s->main_only == ns->main_only &&
            mp_str_eq(s->conf->obj.name, ns->conf->obj.name) &&
            same_sockets(s->conf->conf, ns->conf->conf)) {
            return s;
        }
    }
    return NULL;
}

/* p has all it needs: an earlier publication that nobody has seen goes. */
static void overtake(struct mp_engine *e, struct mp_publication *p)
{
    for (uint32_t i = 0; i < p->n; i++) {
        struct mp_new_socks *ns = &p->v[i];
        if (ns->from != NULL) {
            ns->fds = ns->from->fds;
            ns->n_addrs = ns->from->n_addrs;
            ns->from->fds = NULL;
            ns->from = NULL;
        }
    }
    if (e->warming != NULL) {
        publication_free(e->warming, true);
    }
    e->warming = p;
}

mp_err mp_engine_apply(struct mp_engine *e, struct mp_snapshot *snap, struct mp_diag *diag)
{
    struct mp_publication *p = calloc(1, sizeof(*p));
    MP_ASSERT(p != NULL);
    p->engine = e;
    p->snap = snap;
    mp_timer_init(&p->timer, on_warm_timeout);
    p->v = calloc(snap->n_listeners + MP_ADMINS_MAX, sizeof(*p->v));
    MP_ASSERT(p->v != NULL);
    for (uint32_t i = 0; i < snap->n_listeners + snap->n_admins; i++) {
        struct mp_new_socks *ns = &p->v[p->n++];
        ns->main_only = i >= snap->n_listeners;
        ns->conf = ns->main_only ? snap->admins[i - snap->n_listeners] : snap->listeners[i];
        struct mp_listener_socks *have = find_socks(e, ns->conf->obj.name, ns->main_only);
        if (have != NULL && same_sockets(have->conf->conf, ns->conf->conf)) {
            continue;
        }
        ns->from = find_warming(e->warming, ns);
        if (ns->from != NULL) {
            continue;
        }
        mp_err err = open_socks(p, ns, ns->main_only ? 1 : e->n_workers, diag);
        if (mp_is_err(err)) {
            publication_free(p, true);
            return err;
        }
    }
    if (e->state == MP_SERVER_PRE_INITIALIZING) {
        e->state = MP_SERVER_INITIALIZING;
    }
    overtake(e, p);
    if (mp_resolver_prepare(e->resolver, snap, on_warmed, e)) {
        publish(p);
    } else {
        mp_timer_in(e->opts.main_loop, &p->timer, e->snap != NULL ? MP_WARM_MS : MP_WARM_FIRST_MS);
    }
    return MP_OK;
}

/* ---- publication ---- */

static void post_adoption(struct mp_publication *p, uint32_t worker)
{
    struct mp_engine *e = p->engine;
    struct adopt_msg *m = calloc(1, sizeof(*m));
    MP_ASSERT(m != NULL);
    m->msg.deliver = deliver_adoption;
    m->a.snap = p->snap;
    mp_snapshot_ref(p->snap);
    m->a.v = calloc(p->n + 1, sizeof(*m->a.v));
    MP_ASSERT(m->a.v != NULL);
    bool is_main = worker == e->n_workers;
    for (uint32_t i = 0; i < p->n; i++) {
        const struct mp_new_socks *ns = &p->v[i];
        if (ns->main_only != is_main) {
            continue;
        }
        struct mp_adopt_listener *al = &m->a.v[m->a.n++];
        al->conf = ns->conf;
        al->n_fds = ns->fds != NULL ? ns->n_addrs : 0;
        for (uint32_t a = 0; a < al->n_fds; a++) {
            al->fds[a] = ns->fds[(is_main ? 0 : worker) * ns->n_addrs + a];
        }
    }
    mp_mailbox_post(&e->workers[worker]->w.mailbox, &m->msg);
}

static void note_ports(struct mp_engine *e, const struct mp_conf_listener *l)
{
    for (uint32_t i = 0; i < l->n_addrs; i++) {
        uint16_t port = l->addrs[i].port;
        e->ports_left[port % MP_PORTS_LEFT] =
            (struct mp_port_left){mp_loop_now_ms(e->opts.main_loop), port};
    }
}

static void remember_socks(struct mp_publication *p)
{
    struct mp_engine *e = p->engine;
    MP_LIST_FOREACH (it, &e->sockets) {
        note_ports(e, MP_CONTAINER_OF(it, struct mp_listener_socks, link)->conf->conf);
    }
    free_socks(e);
    for (uint32_t i = 0; i < p->n; i++) {
        struct mp_listener_socks *s = calloc(1, sizeof(*s));
        MP_ASSERT(s != NULL);
        s->conf = p->v[i].conf;
        s->main_only = p->v[i].main_only;
        mp_obj_ref(&s->conf->obj);
        mp_list_push_back(&e->sockets, &s->link);
    }
}

static uint32_t collect(const struct mp_listener_conf *l, const struct mp_conf_filter_type *type,
                        const void **confs, uint32_t n)
{
    for (uint32_t j = 0; j < l->n_chains; j++) {
        const struct mp_http *http = l->chains[j].http;
        bool seen = false;
        for (uint32_t i = 0; i < j; i++) {
            seen |= l->chains[i].http == http;
        }
        for (uint16_t k = 0; k < http->n_filters && !seen; k++) {
            if (http->filters[k].type == type) {
                confs[n++] = http->filters[k].parsed;
            }
        }
    }
    return n;
}

/* Tells every type of filter which of its configurations are in use now. */
static void tell_filters(struct mp_engine *e)
{
    const struct mp_conf_filter_type *const *t =
        e->opts.registry != NULL ? e->opts.registry->http_filters : NULL;
    const struct mp_snapshot *s = e->snap;
    uint32_t n_max = 1;
    for (uint32_t i = 0; i < s->n_listeners; i++) {
        for (uint32_t j = 0; j < s->listeners[i]->n_chains; j++) {
            n_max += s->listeners[i]->chains[j].http->n_filters;
        }
    }
    const void **confs = calloc(n_max, sizeof(*confs));
    MP_ASSERT(confs != NULL);
    for (; t != NULL && *t != NULL; t++) {
        const struct mp_filter_type *type = (*t)->impl;
        uint32_t n = 0;
        if (type == NULL || type->on_published == NULL) {
            continue;
        }
        for (uint32_t i = 0; i < s->n_listeners; i++) {
            n = collect(s->listeners[i], *t, confs, n);
        }
        type->on_published((struct mp_filter_host *)(void *)e->main, confs, n);
    }
    free(confs);
}

void mp_engine_set_proxies(struct mp_engine *e, uint32_t n)
{
    __atomic_store_n(&e->proxies, (uint64_t)n + 1, __ATOMIC_RELAXED);
    if (e->snap != NULL) {
        tell_filters(e);
    }
}

const struct mp_stat_block *mp_filter_host_stats(struct mp_filter_host *host,
                                                 const struct mp_stat_schema *schema,
                                                 struct mp_str name)
{
    struct mp_core_worker *cw = (struct mp_core_worker *)(void *)host;
    return mp_filter_stats_find(cw->filter_stats, schema, name);
}

bool mp_filter_host_has_stats(const struct mp_filter_host *host,
                              const struct mp_stat_schema *schema)
{
    const struct mp_core_worker *cw = (const struct mp_core_worker *)(const void *)host;
    return mp_filter_stats_has(cw->filter_stats, schema);
}

bool mp_filter_host_proxies(const struct mp_filter_host *host, uint32_t *ret)
{
    return mp_engine_proxies(((const struct mp_core_worker *)(const void *)host)->engine, ret);
}

static void leave(struct mp_core_worker *cw, void *arg)
{
    (void)cw;
    (void)arg;
}

static void free_left(void *arg)
{
    mp_snapshot_unref(arg);
}

static void publish(struct mp_publication *p)
{
    struct mp_engine *e = p->engine;
    e->warming = NULL;
    struct mp_snapshot *old = e->snap;
    const struct mp_conf *conf = p->snap->conf;
    e->snap = p->snap;
    mp_snapshot_ref(e->snap);
    e->config_wall_ns = mp_loop_wall_ns(e->opts.main_loop);
    uint64_t fds = conf->overload.max[MP_RESOURCE_FDS];
    fds = fds > 0 && (e->opts.fd_limit == 0 || fds < e->opts.fd_limit) ? fds : e->opts.fd_limit;
    uint32_t by_fds = connections_for_fds(fds), wanted = conf->downstream_connections_max;
    __atomic_store_n(&e->connections_max, wanted == 0 || wanted > by_fds ? by_fds : wanted,
                     __ATOMIC_RELAXED);
    mp_health_publish(e->health, e->snap);
    for (uint32_t i = 0; i <= e->n_workers; i++) {
        post_adoption(p, i);
    }
    if (old != NULL) {
        /* The last reference goes here, once every worker has taken over the new one: freeing
         * thousands of objects would hold up a worker's streams. */
        mp_engine_for_each_worker(e, leave, free_left, old);
    }
    remember_socks(p);
    mp_resolver_published(e->resolver, e->snap);
    mp_overload_published(e->overload);
    if (e->state != MP_SERVER_DRAINING) {
        __atomic_store_n(&e->state, MP_SERVER_LIVE, __ATOMIC_RELAXED);
    }
    mp_stat_inc(e->main->server_stats, MP_ST_SERVER_CONFIG_OK);
    free(e->last_error);
    e->last_error = NULL;
    tell_filters(e);
    if (e->opts.on_published != NULL) {
        e->opts.on_published(e->opts.arg, e->snap->generation);
    }
    publication_free(p, false);
}

/* ---- building ---- */

void mp_snapshot_ref(struct mp_snapshot *s)
{
    __atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
}

void mp_snapshot_unref(struct mp_snapshot *s)
{
    if (__atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }
    for (uint32_t i = 0; i < s->n_listeners; i++) {
        mp_obj_unref(&s->listeners[i]->obj);
    }
    for (uint32_t i = 0; i < s->n_clusters; i++) {
        mp_obj_unref(&s->clusters[i]->obj);
    }
    for (uint32_t i = 0; i < s->n_admins; i++) {
        mp_obj_unref(&s->admins[i]->obj);
    }
    mp_conf_free(s->conf);
    free(s->listeners);
    free(s->clusters);
    free(s);
}

static struct mp_listener_conf *old_listener(const struct mp_snapshot *base, struct mp_str name)
{
    for (uint32_t i = 0; base != NULL && i < base->n_listeners; i++) {
        if (mp_str_eq(base->listeners[i]->obj.name, name)) {
            return base->listeners[i];
        }
    }
    return NULL;
}

/* Old clusters by name: linear search would be quadratic with 10,000 of them. */
static void index_clusters(const struct mp_snapshot *base, struct mp_map *map)
{
    mp_map_init(map);
    for (uint32_t i = 0; base != NULL && i < base->n_clusters; i++) {
        mp_map_set(map, base->clusters[i]->obj.name, base->clusters[i]);
    }
}

static mp_err build_parts(struct mp_engine *e, const struct mp_snapshot *base,
                          struct mp_snapshot *s, struct mp_diag *diag)
{
    const struct mp_conf *conf = s->conf;
    mp_err first = MP_OK;
    struct mp_map old;
    index_clusters(base, &old);
    for (uint32_t i = 0; i < conf->n_clusters; i++) {
        const struct mp_conf_cluster *c = conf->clusters[i];
        mp_err err = mp_core_build_cluster(e, c, mp_map_get(&old, c->name), diag,
                                           &s->clusters[s->n_clusters]);
        s->n_clusters += !mp_is_err(err);
        first = mp_is_err(first) ? first : err;
    }
    mp_map_fini(&old);
    for (uint32_t i = 0; i < conf->n_listeners; i++) {
        const struct mp_conf_listener *l = conf->listeners[i];
        mp_err err = mp_core_build_listener(e, l, old_listener(base, l->name), diag,
                                            &s->listeners[s->n_listeners]);
        s->n_listeners += !mp_is_err(err);
        first = mp_is_err(first) ? first : err;
    }
    mp_err err = mp_core_build_admins(e, base, s, diag);
    return mp_is_err(first) ? first : err;
}

mp_err mp_engine_build(struct mp_engine *e, const struct mp_snapshot *base, struct mp_conf *conf,
                       struct mp_diag *diag, struct mp_snapshot **ret)
{
    struct mp_snapshot *s = calloc(1, sizeof(*s));
    MP_ASSERT(s != NULL);
    s->refs = 1;
    s->generation = ++e->generation;
    s->conf = conf;
    s->listeners = calloc(conf->n_listeners + 1, sizeof(*s->listeners));
    s->clusters = calloc(conf->n_clusters + 1, sizeof(*s->clusters));
    MP_ASSERT(s->listeners != NULL);
    MP_ASSERT(s->clusters != NULL);
    mp_err err = build_parts(e, base, s, diag);
    mp_conf_drop_parts(conf);
    if (mp_is_err(err)) {
        mp_snapshot_unref(s);
        return err;
    }
    *ret = s;
    return MP_OK;
}

void mp_engine_refused(struct mp_engine *e, const struct mp_diag *diag)
{
    struct mp_sb sb;
    mp_sb_init(&sb, LAST_ERROR_MAX);
    mp_diag_format(diag, &sb);
    free(e->last_error);
    e->last_error = mp_str_dup_c(mp_sb_str(&sb));
    e->last_error_wall_ns = mp_loop_wall_ns(e->opts.main_loop);
    mp_sb_fini(&sb);
    mp_stat_inc(e->main->server_stats, MP_ST_SERVER_CONFIG_REJECTED);
}

/* ---- draining and stopping ---- */

static void drain_worker(struct mp_core_worker *cw, void *arg)
{
    (void)arg;
    if (cw != cw->engine->main) {
        mp_core_worker_drain(cw);
    }
}

static void cut_worker(struct mp_core_worker *cw, void *arg)
{
    (void)arg;
    if (cw != cw->engine->main) {
        mp_core_worker_cut(cw);
    }
}

static void drained(void *arg)
{
    struct mp_engine *e = arg;
    void (*done)(void *) = e->drain_done;
    e->drain_done = NULL;
    if (done != NULL) {
        done(e->drain_arg);
    }
}

#define DRAIN_POLL_MS 10

static void on_drain_timer(struct mp_timer *t)
{
    struct mp_engine *e = MP_CONTAINER_OF(t, struct mp_engine, drain_timer);
    uint32_t open = __atomic_load_n(&e->connections, __ATOMIC_RELAXED);
    if (open == 0) {
        drained(e);
        return;
    }
    if (mp_loop_now_ms(e->opts.main_loop) >= e->drain_deadline_ms) {
        mp_log(MP_LOG_WARNING, "drain deadline reached, closing connections",
               kv_u64("connections", open));
        mp_engine_for_each_worker(e, cut_worker, drained, e);
        return;
    }
    mp_timer_in(e->opts.main_loop, &e->drain_timer, DRAIN_POLL_MS);
}

static void drain_posted(void *arg)
{
    struct mp_engine *e = arg;
    mp_timer_in(e->opts.main_loop, &e->drain_timer, 1);
}

void mp_engine_drain(struct mp_engine *e, uint64_t deadline_ms, void (*done)(void *arg), void *arg)
{
    __atomic_store_n(&e->state, MP_SERVER_DRAINING, __ATOMIC_RELAXED);
    bool running = e->drain_done != NULL;
    e->drain_done = done;
    e->drain_arg = arg;
    e->drain_deadline_ms = mp_loop_now_ms(e->opts.main_loop) + deadline_ms;
    if (!running) {
        mp_engine_for_each_worker(e, drain_worker, drain_posted, e);
    }
}

static void stop_worker(struct mp_core_worker *cw, void *arg)
{
    (void)arg;
    mp_loop_stop(cw->w.loop);
}

void mp_engine_stop(struct mp_engine *e)
{
    mp_engine_for_each_worker(e, stop_worker, NULL, NULL);
}

/* ---- counters ---- */

void mp_engine_count_h1_error(struct mp_core_worker *cw, int why)
{
    mp_stat_inc(cw->h1_down_stats, (uint32_t)(why - MP_H1_MORE - 1));
}

void mp_engine_count_h1_upstream_error(struct mp_core_worker *cw, int why)
{
    mp_stat_inc(cw->h1_up_stats, (uint32_t)(why - MP_H1_MORE - 1));
}
