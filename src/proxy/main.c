/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The program marchproxy: options, configuration, threads, signals. Wiring only. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/log.h"
#include "core/access_log.h"
#include "core/engine.h"
#include "core/overload.h"
#include "filters/registry.h"
#include "io/crash.h"
#include "io/entropy.h"
#include "io/open.h"
#include "io/proc.h"
#include "io/signal.h"
#include "io/thread.h"
#include "proxy/config.h"
#include "proxy/kernel.h"
#include "proxy/options.h"
#include "proxy/parts.h"
#include "proxy/privs.h"
#include "proxy/reload.h"
#include "proxy/service.h"
#include "proxy/watch.h"
#include "proxy/watchdog.h"

#define WORKERS_MAX 256

struct program;
struct worker_start {
    struct program *program;
    uint32_t i;
};

struct program {
    struct mp_options opts;
    struct mp_engine *engine;
    struct mp_loop *main_loop;
    struct mp_loop **loops;
    struct mp_thread **threads;
    uint32_t n_workers;
    struct mp_signals signals;
    struct mp_reload *reload;
    struct mp_watch watch;
    struct mp_watchdog *watchdog;
    uint64_t memory_limit;
    struct worker_start *starts; /* n_workers */
    bool draining;
};

/* ---- configuration ---- */

static void print_diag(const struct mp_diag *diag)
{
    struct mp_sb sb;
    mp_sb_init(&sb, 1 << 20);
    mp_diag_format(diag, &sb);
    if (sb.n > 0) {
        fwrite(sb.p, 1, sb.n, stderr);
    }
    mp_sb_fini(&sb);
}

/* ---- workers ---- */

static void run_worker(void *arg)
{
    struct worker_start *s = arg;
    struct program *p = s->program;
    mp_watchdog_enter(p->watchdog, s->i);
    mp_loop_run(p->loops[s->i]);
}

static bool make_loops(struct program *p)
{
    uint32_t cpus[WORKERS_MAX];
    uint32_t n_cpus = mp_cpus_allowed(cpus, WORKERS_MAX);
    p->n_workers = p->opts.concurrency > 0 ? p->opts.concurrency : MP_MAX(n_cpus, 1);
    p->loops = calloc(p->n_workers, sizeof(*p->loops));
    p->threads = calloc(p->n_workers, sizeof(*p->threads));
    p->starts = calloc(p->n_workers, sizeof(*p->starts));
    MP_ASSERT(p->starts != NULL);
    MP_ASSERT(p->loops != NULL);
    MP_ASSERT(p->threads != NULL);
    p->main_loop = mp_loop_new();
    for (uint32_t i = 0; i < p->n_workers; i++) {
        p->loops[i] = mp_loop_new();
        if (p->loops[i] == NULL) {
            return false;
        }
    }
    return p->main_loop != NULL;
}

static mp_err start_workers(struct program *p)
{
    uint32_t cpus[WORKERS_MAX];
    uint32_t n_cpus = mp_cpus_allowed(cpus, WORKERS_MAX);
    for (uint32_t i = 0; i < p->n_workers; i++) {
        char name[32];
        p->starts[i] = (struct worker_start){p, i};
        snprintf(name, sizeof(name), "worker-%u", i);
        /* Pinned when each worker can have a CPU of its own. */
        int cpu = p->n_workers <= n_cpus ? (int)cpus[i] : -1;
        MP_TRY(mp_thread_start(name, cpu, run_worker, &p->starts[i], &p->threads[i]));
    }
    return MP_OK;
}

/* ---- signals ---- */

static void on_drained(void *arg)
{
    struct program *p = arg;
    mp_engine_stop(p->engine);
}

static void drain(struct program *p)
{
    p->draining = true;
    mp_service_stopping("draining connections");
    mp_engine_drain(p->engine, (uint64_t)p->opts.drain_time_s * 1000, on_drained, p);
}

/* /quitquitquit */
static void on_quit(void *arg)
{
    struct program *p = arg;
    if (!p->draining) {
        drain(p);
    }
}

static void on_changed(void *arg)
{
    struct program *p = arg;
    mp_reload_request(p->reload, "the file has changed");
}

static void on_signal(void *arg, int signo, int sender_pid)
{
    struct program *p = arg;
    if (signo == SIGUSR1) {
        mp_alog_set_reopen(p->engine->alogs);
        return;
    }
    if (signo == SIGHUP) {
        mp_reload_request(p->reload, "SIGHUP");
        return;
    }
    if (p->draining) {
        mp_log(MP_LOG_WARNING, "stopping at once", kv_i64("signal", signo));
        mp_engine_stop(p->engine);
        return;
    }
    mp_log(MP_LOG_INFO, "stopping: draining connections", kv_i64("signal", signo),
           kv_i64("sender", sender_pid), kv_u64("drain_time_s", p->opts.drain_time_s));
    drain(p);
}

/* ---- the program ---- */

static bool set_log(const struct mp_options *o)
{
    const char *name = o->log_level != NULL ? o->log_level : getenv("LOGLEVEL");
    enum mp_log_level level = MP_LOG_INFO;
    if (name != NULL && name[0] != '\0' && !mp_log_level_parse(mp_str_c(name), &level)) {
        fprintf(stderr,
                "marchproxy: log level '%s' is unknown: use trace, debug, info, warning, error, "
                "critical or off\n",
                name);
        return false;
    }
    mp_log_set_level(level);
    mp_log_set_json(o->log_json);
    return true;
}

/* What belongs to parts that this program does not have yet is not ignored in silence. */
static void check_environment(void)
{
    static const char *const names[] = {"XDS_SERVER", "CLUSTER_API_KEY"};
    for (size_t i = 0; i < MP_COUNTOF(names); i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && value[0] != '\0') {
            mp_log(MP_LOG_WARNING, "an environment variable is set that has no effect yet",
                   kv_c("name", names[i]));
        }
    }
}

/* All the descriptors that we may have; returns the limit. */
static uint64_t raise_fd_limit(void)
{
    struct rlimit rl;
    if (getrlimit(RLIMIT_NOFILE, &rl) != 0) {
        return 0;
    }
    if (rl.rlim_cur < rl.rlim_max) {
        rl.rlim_cur = rl.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &rl);
        (void)getrlimit(RLIMIT_NOFILE, &rl);
    }
    return rl.rlim_cur;
}

static void on_published(void *arg, uint64_t generation)
{
    struct program *p = arg;
    mp_broker_commit();
    mp_reload_published(p->reload, generation);
    mp_kernel_published(p->engine);
    const struct mp_conf *conf = p->engine->snap->conf;
    mp_watchdog_set(p->watchdog, &conf->watchdog_main, &conf->watchdog_workers);
    mp_log(MP_LOG_INFO, "configuration is live", kv_u64("generation", generation),
           kv_u64("listeners", p->engine->snap->n_listeners),
           kv_u64("clusters", p->engine->snap->n_clusters),
           kv_u64("connections_max", p->engine->connections_max));
    char status[128];
    snprintf(status, sizeof(status), "serving: generation %llu, %u listeners, %u clusters",
             (unsigned long long)generation, p->engine->snap->n_listeners,
             p->engine->snap->n_clusters);
    mp_service_ready(status);
}

/* Frees what make_loops and mp_engine_new made; the workers have ended or never begun. */
static void free_all(struct program *p)
{
    mp_kernel_stop(p->engine);
    mp_watchdog_free(p->watchdog);
    mp_reload_free(p->reload);
    mp_engine_free(p->engine);
    for (uint32_t i = 0; p->loops != NULL && i < p->n_workers; i++) {
        mp_loop_free(p->loops[i]);
    }
    mp_loop_free(p->main_loop);
    free(p->loops);
    free(p->threads);
    free(p->starts);
}

/* -t: compiles everything that serving would compile, and opens no socket. */
static int validate(struct program *p, struct mp_conf *conf, struct mp_diag *diag)
{
    const struct mp_engine_opts eo = {.n_workers = p->n_workers,
                                      .loops = p->loops,
                                      .main_loop = p->main_loop,
                                      .seed = 1,
                                      .registry = &mp_filters_registry,
                                      .admin_http = mp_admin_http(),
                                      .metrics_http = mp_admin_metrics_http(),
                                      .admin_prepare = mp_admin_prepare};
    struct mp_snapshot *snap = NULL;
    if (mp_is_err(mp_engine_new(&eo, &p->engine))) {
        fprintf(stderr, "marchproxy: cannot start: %s\n", strerror(errno));
        mp_conf_free(conf);
        return 1;
    }
    mp_err err = mp_engine_build(p->engine, NULL, conf, diag, &snap);
    print_diag(diag);
    if (mp_is_err(err)) {
        return 1;
    }
    mp_snapshot_unref(snap);
    printf("configuration '%s' OK\n", p->opts.config);
    return 0;
}

static void make_watchdog(struct program *p)
{
    struct mp_loop *loops[WORKERS_MAX + 1];
    for (uint32_t i = 0; i < p->n_workers; i++) {
        loops[i] = p->loops[i];
    }
    loops[p->n_workers] = p->main_loop;
    const struct mp_watchdog_opts o = {.loops = loops,
                                       .n = p->n_workers + 1,
                                       .stats = p->engine->stats,
                                       .writer = mp_engine_watchdog_writer(p->engine)};
    p->watchdog = mp_watchdog_new(&o);
}

/* Our own flags for the log's pipe or terminal; what is no such thing cannot make us wait, or is
 * asked before. */
static void own_log_output(void)
{
    struct stat st;
    int fd = mp_open_own_output(STDERR_FILENO);
    if (fd >= 0) {
        mp_log_set_output(fd, MP_LOG_TO_OWN);
    } else if (fstat(STDERR_FILENO, &st) == 0 && S_ISSOCK(st.st_mode)) {
        mp_log_set_output(STDERR_FILENO, MP_LOG_TO_SOCKET);
    } else if (fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode)) {
        mp_log_set_output(STDERR_FILENO, MP_LOG_TO_OWN);
    }
}

static bool start_engine(struct program *p, struct mp_conf *conf, struct mp_diag *diag)
{
    const struct mp_engine_opts eo = {.n_workers = p->n_workers,
                                      .loops = p->loops,
                                      .main_loop = p->main_loop,
                                      .seed = mp_entropy_u64(),
                                      .registry = &mp_filters_registry,
                                      .admin_http = mp_admin_http(),
                                      .metrics_http = mp_admin_metrics_http(),
                                      .admin_prepare = mp_admin_prepare,
                                      .threaded_log = true,
                                      .fd_limit = raise_fd_limit(),
                                      .memory_limit = p->memory_limit,
                                      .resident_bytes = mp_proc_resident_bytes,
                                      .descriptors = mp_proc_descriptors,
                                      .guard = mp_kernel_hook(),
                                      .on_published = on_published,
                                      .arg = p};
    if (mp_is_err(mp_engine_new(&eo, &p->engine))) {
        fprintf(stderr, "marchproxy: cannot start: %s\n", strerror(errno));
        mp_conf_free(conf);
        return false;
    }
    make_watchdog(p);
    const struct mp_conf_overload overload = conf->overload;
    p->reload = mp_reload_new(p->engine, &p->opts);
    mp_admin_set_quit(on_quit, p);
    mp_admin_bind(p->engine);
    mp_kernel_bind(p->engine);
    struct mp_snapshot *snap;
    bool ok = !mp_is_err(mp_engine_build(p->engine, NULL, conf, diag, &snap)) &&
              !mp_is_err(mp_engine_apply(p->engine, snap, diag));
    print_diag(diag); /* errors, or warnings */
    /* A folder that only the broker may look into is looked at by it (proxy/parts.h). */
    if (ok && p->opts.watch && mp_is_err(mp_watch_open(&p->watch, p->main_loop, on_changed, p)) &&
        !mp_open_has_broker()) {
        fprintf(stderr, "marchproxy: cannot watch '%s': %s\n", p->opts.config, strerror(errno));
        return false;
    }
    if (ok) {
        mp_log(MP_LOG_INFO, "marchproxy starts", kv_c("version", MP_VERSION),
               kv_u64("workers", p->n_workers), kv_u64("fd_limit", eo.fd_limit),
               kv_u64("memory_limit", eo.memory_limit),
               kv_u64("worker_memory_max", mp_overload_worker_bytes(p->engine, &overload)));
    }
    return ok;
}

static int serve(struct program *p, struct mp_conf *conf, struct mp_diag *diag)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGUSR1, SIGHUP, 0};
    if (mp_is_err(mp_signals_open(&p->signals, p->main_loop, signals, on_signal, p))) {
        fprintf(stderr, "marchproxy: cannot read signals: %s\n", strerror(errno));
        mp_conf_free(conf);
        return 1;
    }
    int rc = 1;
    if (start_engine(p, conf, diag)) {
        if (mp_is_err(start_workers(p))) {
            fprintf(stderr, "marchproxy: cannot start a thread: %s\n", strerror(errno));
            exit(1);
        }
        mp_watchdog_enter(p->watchdog, p->n_workers);
        mp_watchdog_start(p->watchdog);
        mp_service_check_sockets();
        mp_service_watch(p->engine);
        if (p->opts.watch) {
            mp_parts_watch(p->main_loop, on_changed, p);
        }
        mp_loop_run(p->main_loop);
        mp_parts_unwatch();
        mp_service_unwatch(p->engine);
        p->watchdog = mp_watchdog_free(p->watchdog);
        for (uint32_t i = 0; i < p->n_workers; i++) {
            mp_thread_join(p->threads[i]);
        }
        mp_log(MP_LOG_INFO, "marchproxy has stopped");
        rc = 0;
    }
    mp_signals_close(&p->signals, p->main_loop);
    return rc;
}

/* A reload that is asked for while the program starts happens after the start, and does not end it.
 */
static void hold_sighup(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
}

int main(int argc, char **argv)
{
    struct program p = {0};
    switch (mp_options_parse(argc, argv, &p.opts)) {
    case MP_OPTIONS_EXIT_OK:
        return 0;
    case MP_OPTIONS_EXIT_USAGE:
        return 2;
    case MP_OPTIONS_RUN:
        break;
    }
    if (!set_log(&p.opts)) {
        return 2;
    }
    hold_sighup();
    if (!p.opts.validate) {
        own_log_output();
        mp_crash_install();
        p.memory_limit = mp_proc_memory_limit(); /* the sandbox hides it */
    }
    mp_hash_set_key(mp_entropy_u64(), mp_entropy_u64());
    struct mp_diag diag;
    struct mp_conf *conf;
    mp_diag_init(&diag, p.opts.config);
    mp_watch_init(&p.watch, p.opts.config);
    if (mp_is_err(mp_config_load(&p.opts, &diag, &conf))) {
        print_diag(&diag);
        mp_diag_fini(&diag);
        mp_watch_close(&p.watch);
        return 1;
    }
    if (p.opts.validate) {
        p.opts.concurrency = 1;
    }
    int rc = 1;
    struct mp_privs privs;
    mp_err err = mp_privs_resolve(&p.opts, conf, &diag, &privs);
    if (!mp_is_err(err) && !p.opts.validate) {
        check_environment();
        mp_service_init();
        mp_kernel_start(conf); /* what it opens outlives the rights */
        err = mp_privs_enter(&privs, &p.opts);
    }
    if (mp_is_err(err)) {
        print_diag(&diag);
        mp_conf_free(conf);
        mp_diag_fini(&diag);
        mp_watch_close(&p.watch);
        return 1;
    }
    if (!make_loops(&p)) {
        fprintf(stderr, "marchproxy: cannot create an event loop: %s\n", strerror(errno));
        mp_conf_free(conf);
    } else {
        rc = p.opts.validate ? validate(&p, conf, &diag) : serve(&p, conf, &diag);
    }
    mp_watch_close(&p.watch);
    free_all(&p);
    mp_service_fini();
    mp_parts_fini();
    mp_diag_fini(&diag);
    return rc;
}
