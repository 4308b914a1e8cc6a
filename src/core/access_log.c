/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The control side (sinks) and the workers' side (buffers) of the access log. */
#include "core/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "core/access_log_int.h"
#include "core/engine.h"
#include "core/worker.h"
#include "io/open.h"

static const struct mp_stat_def stat_defs[MP_ST_ALOG_COUNT] = {
    [MP_ST_ALOG_WRITTEN] = {"written", MP_STAT_COUNTER, "Access log lines written"},
    [MP_ST_ALOG_DROPPED] = {"dropped", MP_STAT_COUNTER,
                            "Access log lines lost because their output was too slow or failed"},
    [MP_ST_ALOG_WRITE_ERRORS] = {"write_errors", MP_STAT_COUNTER, "Failed writes to an access log"},
};
const struct mp_stat_schema mp_stats_alog = {.kind = "access_log",
                                             .text_prefix = "",
                                             .prom_prefix = "envoy_access_log_",
                                             .defs = stat_defs,
                                             .n = MP_ST_ALOG_COUNT};

/* ---- the set ---- */

struct mp_alog_set *mp_alog_set_new(const struct mp_alog_set_opts *opts)
{
    struct mp_alog_set *set = mp_xcalloc(1, sizeof(*set));
    set->opts = *opts;
    set->wake_fd = -1;
    pthread_mutex_init(&set->lock, NULL);
    set->scope = mp_stat_scope_get(opts->stats, &mp_stats_alog, MP_STR("access_log"));
    set->stats = mp_xcalloc(opts->n_workers, sizeof(struct mp_stat_block *));
    for (uint32_t i = 0; i < opts->n_workers; i++) {
        set->stats[i] = mp_stat_block(set->scope, i);
    }
    if (opts->threaded) {
        mp_alog_writer_start(set);
    }
    return set;
}

static void close_fd(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

static void sink_free(struct alog_sink *k)
{
    close_fd(k->fd);
    close_fd(k->next_fd);
    for (uint32_t i = 0; i < k->set->opts.n_workers; i++) {
        free(k->lanes[i].all);
    }
    free(k->lanes);
    free(k->path);
    free(k);
}

static void hand_over(struct mp_alog_set *set, struct alog_lane *lane);

struct mp_alog_set *mp_alog_set_free(struct mp_alog_set *set)
{
    if (set == NULL) {
        return NULL;
    }
    for (struct alog_sink *k = set->sinks; k != NULL; k = k->next) {
        for (uint32_t i = 0; i < set->opts.n_workers; i++) {
            hand_over(set, &k->lanes[i]);
        }
    }
    if (set->opts.threaded && !mp_alog_writer_stop(set)) {
        /* It hangs in a write that does not return (a dead network disk): what it uses must stay.
         */
        mp_log(MP_LOG_WARNING, "access log writer does not stop; its memory is left behind");
        return NULL;
    }
    while (set->sinks != NULL) {
        struct alog_sink *next = set->sinks->next;
        sink_free(set->sinks);
        set->sinks = next;
    }
    mp_stat_scope_unref(set->scope);
    free(set->stats);
    pthread_mutex_destroy(&set->lock);
    free(set);
    return NULL;
}

/* ---- sinks ---- */

/* A FIFO is opened without waiting for its reader, which would stop the configuration. */
static int open_path(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0 || S_ISREG(st.st_mode) || S_ISCHR(st.st_mode)) {
        return mp_open_append(path);
    }
    return S_ISFIFO(st.st_mode) ? mp_open_fifo(path) : -EOPNOTSUPP;
}

/* Standard output and error are shared with other processes: where possible we get flags of our own
 * for the pipe or terminal behind them. */
static int open_standard(enum mp_conf_alog_kind kind)
{
    int std = kind == MP_ALOG_STDOUT ? STDOUT_FILENO : STDERR_FILENO;
    int fd = mp_open_own_output(std);
    if (fd < 0) {
        fd = fcntl(std, F_DUPFD_CLOEXEC, 3);
    }
    return fd < 0 ? -errno : fd;
}

static const char *cure_of(int fd)
{
    return fd == -ENXIO        ? "start the program that reads it first"
           : fd == -EOPNOTSUPP ? "use a file, a FIFO or standard output"
                               : NULL;
}

static mp_err sink_open(struct alog_sink *k, struct mp_diag *diag)
{
    if (k->is_open || k->set->opts.write != NULL) {
        k->is_open = true;
        return MP_OK;
    }
    int fd = k->kind == MP_ALOG_FILE     ? open_path(k->path)
             : k->kind == MP_ALOG_SYSLOG ? mp_alog_syslog_open(k)
                                         : open_standard(k->kind);
    if (fd < 0) {
        const char *why =
            fd == -EOPNOTSUPP ? "neither a file, a FIFO nor a character device" : strerror(-fd);
        return mp_diag_error(diag, mp_err_from_errno(-fd).code, 0, NULL, cure_of(fd),
                             "access log %s: %s", k->path, why);
    }
    mp_alog_sink_set_fd(k, fd);
    k->is_open = true;
    return MP_OK;
}

static struct alog_sink *sink_new(struct mp_alog_set *set, enum mp_conf_alog_kind kind,
                                  struct mp_str path)
{
    struct alog_sink *k = mp_xcalloc(1, sizeof(*k));
    k->set = set;
    k->kind = kind;
    k->path = mp_str_dup_c(path);
    k->fd = k->next_fd = -1;
    k->lanes = mp_xcalloc_line(set->opts.n_workers * sizeof(*k->lanes));
    for (uint32_t i = 0; i < set->opts.n_workers; i++) {
        struct alog_lane *lane = &k->lanes[i];
        lane->all = mp_xmalloc(MP_ALOG_BUFFERS * sizeof(*lane->all));
    }
    k->next = set->sinks;
    set->n_sinks++;
    __atomic_store_n(&set->sinks, k, __ATOMIC_RELEASE);
    return k;
}

/* "/dev/stdout" is what many configurations say for standard output; opening it again would not
 * work for a socket, and would truncate nothing but append at an other offset for a file. */
static void sink_key(const struct mp_conf_alog *conf, enum mp_conf_alog_kind *kind,
                     struct mp_str *path)
{
    *kind = conf->kind;
    *path = conf->path;
    if (conf->kind == MP_ALOG_FILE && mp_str_eq(conf->path, MP_STR("/dev/stdout"))) {
        *kind = MP_ALOG_STDOUT;
    }
    if (conf->kind == MP_ALOG_FILE && mp_str_eq(conf->path, MP_STR("/dev/stderr"))) {
        *kind = MP_ALOG_STDERR;
    }
    if (*kind == MP_ALOG_STDOUT || *kind == MP_ALOG_STDERR) {
        *path = *kind == MP_ALOG_STDOUT ? MP_STR("stdout") : MP_STR("stderr");
    }
}

static mp_err sink_get(struct mp_alog_set *set, const struct mp_conf_alog *conf,
                       struct mp_diag *diag, struct alog_sink **ret)
{
    enum mp_conf_alog_kind kind;
    struct mp_str path;
    char key[512];
    sink_key(conf, &kind, &path);
    if (kind == MP_ALOG_SYSLOG) {
        /* Two names at one address are two outputs. */
        int n = snprintf(key, sizeof(key), MP_STR_FMT " %u " MP_STR_FMT, MP_STR_ARG(conf->path),
                         conf->facility, MP_STR_ARG(conf->app_name));
        path = mp_str(key, MP_MIN((size_t)n, sizeof(key) - 1));
    }
    struct alog_sink *k = set->sinks, *unused = NULL;
    while (k != NULL && (k->kind != kind || !mp_str_eq(mp_str_c(k->path), path))) {
        bool idle = __atomic_load_n(&k->refs, __ATOMIC_RELAXED) == 0 && !k->is_open;
        unused = idle ? k : unused;
        k = k->next;
    }
    if (k == NULL && unused != NULL) {
        /* Nothing of it is in use, so it can get another name: the list does not grow with every
         * path ever used. */
        free(unused->path);
        unused->path = mp_str_dup_c(path);
        unused->kind = kind;
        k = unused;
    }
    if (k == NULL && set->n_sinks >= MP_ALOG_SINKS_MAX) {
        return mp_diag_error(diag, MP_E_LIMIT, 0, NULL, NULL, "more than %d access log outputs",
                             MP_ALOG_SINKS_MAX);
    }
    k = k != NULL ? k : sink_new(set, kind, path);
    if (kind == MP_ALOG_SYSLOG && !k->is_open) {
        mp_alog_syslog_prepare(k, conf);
    }
    MP_TRY(sink_open(k, diag));
    __atomic_fetch_add(&k->refs, 1, __ATOMIC_RELAXED);
    *ret = k;
    return MP_OK;
}

mp_err mp_alog_build(const struct mp_conf_alog *conf, struct mp_arena *arena,
                     struct mp_alog_set *set, struct mp_diag *diag, struct mp_alog **ret)
{
    struct mp_alog *a = mp_arena_zalloc(arena, sizeof(*a));
    if (a == NULL) {
        return mp_diag_error(diag, MP_E_LIMIT, 0, NULL, NULL, "the access log format is too large");
    }
    a->set = set;
    MP_TRY(mp_alog_format_build(conf, arena, diag, &a->format));
    MP_TRY(mp_alog_filter_build(conf->filter, arena, diag, &a->filter));
    pthread_mutex_lock(&set->lock);
    mp_err err = sink_get(set, conf, diag, &a->sink);
    pthread_mutex_unlock(&set->lock);
    MP_TRY(err);
    *ret = a;
    return MP_OK;
}

void mp_alog_fini(struct mp_alog *a)
{
    if (a == NULL || a->sink == NULL) {
        return;
    }
    struct mp_alog_set *set = a->set;
    pthread_mutex_lock(&set->lock);
    uint32_t left = __atomic_sub_fetch(&a->sink->refs, 1, __ATOMIC_ACQ_REL);
    pthread_mutex_unlock(&set->lock);
    a->sink = NULL;
    if (left == 0) {
        /* The writer closes it once all lines are out. */
        mp_alog_writer_wake(set);
    }
}

static void sink_reopen(struct alog_sink *k)
{
    int fd = open_path(k->path);
    if (fd < 0) {
        mp_log(MP_LOG_WARNING, "access log not opened again", kv_c("path", k->path),
               kv_c("error", strerror(-fd)));
        return;
    }
    close_fd(__atomic_exchange_n(&k->next_fd, fd, __ATOMIC_ACQ_REL));
}

void mp_alog_set_reopen(struct mp_alog_set *set)
{
    pthread_mutex_lock(&set->lock);
    for (struct alog_sink *k = set->sinks; k != NULL && set->opts.write == NULL; k = k->next) {
        if (k->kind == MP_ALOG_FILE && k->is_open) {
            sink_reopen(k);
        }
    }
    pthread_mutex_unlock(&set->lock);
    mp_alog_writer_wake(set);
}

/* ---- workers ---- */

/* What has come back from the writer: its outcome into the counters, the buffer onto the free list.
 */
static void reclaim(struct mp_alog_set *set, struct alog_lane *lane, uint32_t worker)
{
    struct alog_buf *b;
    const struct mp_stat_block *st = set->stats[worker];
    while ((b = alog_pop(&lane->back)) != NULL) {
        lane->n_out--;
        mp_stat_add(st, MP_ST_ALOG_WRITTEN, b->lines - b->lost);
        mp_stat_add(st, MP_ST_ALOG_DROPPED, b->lost);
        mp_stat_add(st, MP_ST_ALOG_WRITE_ERRORS, b->errors);
        b->next = lane->free;
        lane->free = b;
    }
}

/* An empty open buffer, or NULL. The one used last comes first: it is still in the cache. */
static struct alog_buf *open_buffer(struct mp_alog_set *set, struct alog_lane *lane,
                                    uint32_t worker)
{
    reclaim(set, lane, worker);
    struct alog_buf *b = lane->free;
    if (b != NULL) {
        lane->free = b->next;
    } else if (lane->n_fresh < MP_ALOG_BUFFERS) {
        b = &lane->all[lane->n_fresh++];
    } else {
        return NULL;
    }
    b->n = b->lines = b->lost = b->errors = 0;
    lane->open = b;
    return b;
}

static void hand_over(struct mp_alog_set *set, struct alog_lane *lane)
{
    struct alog_buf *b = lane->open;
    if (b == NULL || b->n == 0) {
        return;
    }
    lane->open = NULL;
    lane->n_out++;
    alog_push(&lane->full, b);
    __atomic_store_n(&lane->dirty, false, __ATOMIC_RELEASE);
    mp_alog_writer_wake(set);
}

/* The line at the end of the open buffer; false when it does not fit there. */
/* s: the line is made for it; NULL: it is there. */
static bool add_line(const struct mp_alog *a, struct alog_buf *b, const struct mp_stream *s,
                     struct mp_str line)
{
    size_t room = MP_ALOG_BUFFER - b->n, n = line.n <= room ? line.n : 0;
    if (MP_LIKELY(s != NULL)) {
        n = mp_alog_format(&a->format, s, b->text + b->n, MP_MIN(room, (size_t)MP_ALOG_LINE_MAX));
    } else {
        memcpy(b->text + b->n, line.p, n);
    }
    b->n += (uint32_t)n;
    b->lines += n > 0;
    return n > 0;
}

static void write_line(struct mp_alog *a, struct mp_core_worker *cw, const struct mp_stream *s,
                       struct mp_str line)
{
    uint32_t worker = cw->w.id;
    MP_DEBUG_ASSERT(worker < a->set->opts.n_workers);
    if (a->filter != NULL && !mp_alog_filter_passes(a->filter, cw, s)) {
        return;
    }
    struct alog_lane *lane = &a->sink->lanes[worker];
    struct alog_buf *b = lane->open != NULL ? lane->open : open_buffer(a->set, lane, worker);
    bool added = b != NULL && add_line(a, b, s, line);
    if (b != NULL && !added) {
        hand_over(a->set, lane);
        b = open_buffer(a->set, lane, worker);
        added = b != NULL && add_line(a, b, s, line);
    }
    if (!added) {
        mp_stat_inc(a->set->stats[worker], MP_ST_ALOG_DROPPED);
        return;
    }
    if (b->lines == 1) {
        lane->loop = cw->w.loop;
        lane->since_ms = mp_loop_now_ms(cw->w.loop);
        __atomic_store_n(&lane->dirty, true, __ATOMIC_RELAXED);
        if (!mp_timer_is_set(&cw->alog_timer)) {
            mp_timer_in(cw->w.loop, &cw->alog_timer, MP_ALOG_FLUSH_MS);
        }
    }
}

void mp_alog_write(struct mp_alog *a, struct mp_core_worker *cw, const struct mp_stream *s)
{
    write_line(a, cw, s, mp_str(NULL, 0));
}

void mp_alog_write_line(struct mp_alog *a, struct mp_core_worker *cw, struct mp_str line)
{
    write_line(a, cw, NULL, line);
}

void mp_alog_flush(struct mp_alog_set *set, uint32_t worker, bool all)
{
    struct alog_sink *k = __atomic_load_n(&set->sinks, __ATOMIC_ACQUIRE);
    for (; k != NULL; k = k->next) {
        struct alog_lane *lane = &k->lanes[worker];
        reclaim(set, lane, worker);
        if (lane->open == NULL || lane->open->n == 0) {
            continue;
        }
        if (all || mp_loop_now_ms(lane->loop) - lane->since_ms >= MP_ALOG_FLUSH_MS) {
            hand_over(set, lane);
        }
    }
}

/* Milliseconds until a buffer of the worker is old enough, or until the writer's results should be
 * looked at; 0: nothing is under way. */
static uint64_t next_flush_ms(struct mp_alog_set *set, uint32_t worker, uint64_t now_ms)
{
    uint64_t next = 0;
    struct alog_sink *k = __atomic_load_n(&set->sinks, __ATOMIC_ACQUIRE);
    for (; k != NULL; k = k->next) {
        const struct alog_lane *lane = &k->lanes[worker];
        uint64_t wait = lane->n_out > 0 ? MP_ALOG_FLUSH_MS : 0;
        if (lane->open != NULL && lane->open->n > 0) {
            uint64_t age = now_ms - lane->since_ms;
            wait = age < MP_ALOG_FLUSH_MS ? MP_ALOG_FLUSH_MS - age : 1;
        }
        next = wait != 0 && (next == 0 || wait < next) ? wait : next;
    }
    return next;
}

static void on_timer(struct mp_timer *t)
{
    struct mp_core_worker *cw = MP_CONTAINER_OF(t, struct mp_core_worker, alog_timer);
    struct mp_alog_set *set = cw->engine->alogs;
    mp_alog_flush(set, cw->w.id, false);
    uint64_t next = next_flush_ms(set, cw->w.id, mp_loop_now_ms(cw->w.loop));
    if (next != 0) {
        mp_timer_in(cw->w.loop, &cw->alog_timer, next);
    }
}

void mp_alog_worker_init(struct mp_core_worker *cw)
{
    mp_timer_init(&cw->alog_timer, on_timer);
}
