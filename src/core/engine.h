/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The proxy as a library: workers, the current snapshot, listeners, names that outlive generations.
 * It starts no thread and reads no file: proxy/main gives it loops that run in threads, the
 * simulation gives it loops that share one.
 *
 * Roles: the *main* worker (id = n_workers) serves the admin listener, DNS and publication; workers
 * 0 .. n-1 serve traffic. Functions here are for the main thread unless they say otherwise.
 *
 * Applying a configuration: mp_engine_build (any thread; pure computation plus opening of log
 * files) -> mp_engine_apply (opens new listening sockets; all or nothing; then posts the snapshot
 * to every worker).
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/diag.h"
#include "base/list.h"
#include "base/map.h"
#include "base/stat.h"
#include "base/timerwheel.h"
#include "conf/model.h"
#include "conf/registry.h"
#include "core/snapshot.h"
#include "core/worker.h"

struct mp_alog_set;
struct mp_guard_hook;
struct mp_dns;
struct mp_health;
struct mp_overload;

#define MP_RESERVE_FDS 8
#define MP_PORTS_LEFT  64

/* A port that was ours until then. */
struct mp_port_left {
    uint64_t at_ms;
    uint16_t port;
};

enum mp_server_state {
    MP_SERVER_LIVE,
    MP_SERVER_DRAINING,
    MP_SERVER_PRE_INITIALIZING,
    MP_SERVER_INITIALIZING
};

struct mp_engine_opts {
    uint32_t n_workers;
    struct mp_loop **loops; /* n_workers; borrowed */
    struct mp_loop *main_loop;
    uint64_t seed;
    const struct mp_conf_registry *registry;
    /* The admin's HTTP manager model, served by the main worker on conf->admin.addr; made by
     * admin/. NULL: no admin. */
    const struct mp_conf_http *admin_http;
    const struct mp_conf_http *metrics_http; /* of its second address */
    /* Builder thread: reads what the admin server needs besides (tokens) into the arena; *ret is
     * the snapshot's admin_access. NULL: nothing. */
    mp_err (*admin_prepare)(const struct mp_conf_admin *conf, struct mp_arena *arena,
                            struct mp_diag *diag, void **ret);
    bool threaded_log;        /* false in the simulation */
    size_t worker_memory_max; /* pools of one worker until a configuration says more; 0: no limit */
    uint64_t fd_limit;        /* RLIMIT_NOFILE; 0: unknown */
    uint64_t memory_limit;    /* what the system gives the process; 0: unknown */
    /* What the process uses now, for the overload manager; NULL: it does nothing. */
    uint64_t (*resident_bytes)(void);
    uint64_t (*descriptors)(void);
    const struct mp_guard_hook *guard; /* core/guard_ops.h; NULL: none */
    /* Runs on the main thread after every publication (log, notification). May be NULL. */
    void (*on_published)(void *arg, uint64_t generation);
    void *arg;
};

struct mp_engine {
    struct mp_engine_opts opts;
    const struct mp_guard_hook *guard; /* of opts, or one that is off */
    struct mp_core_worker **workers;   /* n_workers + 1; the last is main */
    struct mp_core_worker *main;
    uint32_t n_workers;
    struct mp_stat_store *stats;
    struct mp_stat_scope *server_scope, *h1_down_scope, *h1_up_scope, *h2_down_scope;
    struct mp_filter_stats *filter_stats;
    uint64_t proxies; /* atomic: count + 1 as the control plane reports it; 0: unknown */
    struct mp_tls_tickets *tickets; /* of every server context without keys of its own */
    struct mp_alog_set *alogs;
    struct mp_dns *dns;
    struct mp_names *cluster_names;
    struct mp_map cluster_shared;  /* name -> struct mp_cluster_shared; under shared_lock */
    struct mp_map listener_shared; /* name -> struct mp_listener_shared */
    pthread_mutex_t shared_lock;   /* builder and main */
    struct mp_snapshot *snap;      /* current; main thread */
    struct mp_health *health;      /* checks and outlier detection, main thread */
    struct mp_resolver *resolver;  /* DNS clusters, main thread */
    struct mp_list sockets; /* of published listeners: struct mp_listener_socks; main thread */
    struct mp_publication *warming; /* waits for first name resolutions; NULL: none */
    struct mp_timer drain_timer, flush_timer;
    uint64_t drain_deadline_ms;
    void (*drain_done)(void *arg);
    void *drain_arg;
    uint64_t generation;
    uint64_t start_wall_ns, start_ns;
    uint64_t config_wall_ns;                       /* when the current snapshot was applied */
    enum mp_server_state state;                    /* main writes, workers read (relaxed) */
    struct mp_port_left ports_left[MP_PORTS_LEFT]; /* by port; main thread */
    struct mp_overload *overload;
    int reserve[MP_RESERVE_FDS]; /* open descriptors that the admin listener may use up; main */
    uint32_t n_reserve;
    /* Written with every connection, */
    uint32_t connections __attribute__((aligned(MP_CACHE_LINE))); /* atomic: open downstream ones of
                                                        the workers, admin's not counted */
    /* and what workers only read, hardly ever. */
    uint32_t connections_max __attribute__((aligned(MP_CACHE_LINE)));
    uint32_t overload_level[MP_OVERLOAD_ACTIONS]; /* core/overload.h */
    uint32_t workers_running;                     /* atomic */
    /* The last refused configuration, for /config_dump; NULL: none. Main thread. */
    char *last_error;
    uint64_t last_error_wall_ns;
};

MP_MUST_USE mp_err mp_engine_new(const struct mp_engine_opts *opts, struct mp_engine **ret);
/* After all loops have stopped (or in the simulation): closes everything. */
struct mp_engine *mp_engine_free(struct mp_engine *e);

/* Takes conf (also on failure). Any thread, one at a time. base: the snapshot whose unchanged
 * objects are taken over, usually the current one, to which a builder on another thread holds a
 * reference; NULL: none. */
MP_MUST_USE mp_err mp_engine_build(struct mp_engine *e, const struct mp_snapshot *base,
                                   struct mp_conf *conf, struct mp_diag *diag,
                                   struct mp_snapshot **ret);
/* Takes snap's reference (also on failure). On failure the old configuration runs on untouched. */
/* A snapshot with name-resolved clusters that are new waits for their first answers, at most
 * MP_WARM_MS (at start, when nothing is served meanwhile, MP_WARM_FIRST_MS), before the workers get
 * it; then on_published runs. */
#define MP_WARM_MS       5000
#define MP_WARM_FIRST_MS 1000
MP_MUST_USE mp_err mp_engine_apply(struct mp_engine *e, struct mp_snapshot *snap,
                                   struct mp_diag *diag);

/* A configuration was refused, by whom so ever: counts it and remembers why until the next one is
 * published. */
void mp_engine_refused(struct mp_engine *e, const struct mp_diag *diag);

/* Graceful stop: no new connections, open ones are told to close after their current response;
 * done(arg) on the main thread when all are gone or after the deadline, when the rest has been cut.
 */
void mp_engine_drain(struct mp_engine *e, uint64_t deadline_ms, void (*done)(void *arg), void *arg);
/* Stops all loops (after a drain, or at once). */
void mp_engine_stop(struct mp_engine *e);

/* Runs fn on every worker incl. main, then done(arg) on the main thread. For admin pages that need
 * workers' own data. */
void mp_engine_for_each_worker(struct mp_engine *e,
                               void (*fn)(struct mp_core_worker *cw, void *arg),
                               void (*done)(void *arg), void *arg);
/* The writer of stats that no worker has: the watchdog's. */
static inline uint32_t mp_engine_watchdog_writer(const struct mp_engine *e)
{
    return e->n_workers + 1;
}
/* Gives up a descriptor of the reserve, so that the admin listener can accept; false: none left. */
bool mp_engine_spend_reserve(struct mp_engine *e);
void mp_engine_fill_reserve(struct mp_engine *e);
/* Counts a refused head or chunk by its reason (enum mp_h1_status), from a client or an upstream.
 */
void mp_engine_count_h1_error(struct mp_core_worker *cw, int why);
void mp_engine_count_h1_upstream_error(struct mp_core_worker *cw, int why);
/* Proxies that run under the licence, as the control plane counts them; false: it has not said. Any
 * thread. */
static inline bool mp_engine_proxies(const struct mp_engine *e, uint32_t *ret)
{
    uint64_t n = __atomic_load_n(&e->proxies, __ATOMIC_RELAXED);
    *ret = (uint32_t)(n - 1);
    return n > 0;
}
/* What the control plane has reported. */
void mp_engine_set_proxies(struct mp_engine *e, uint32_t n);
static inline enum mp_server_state mp_engine_state(const struct mp_engine *e)
{
    return (enum mp_server_state)__atomic_load_n(&e->state, __ATOMIC_RELAXED);
}
