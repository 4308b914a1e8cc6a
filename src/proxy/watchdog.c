/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A loop that is busy tells when its turn began. One that sleeps is woken now and then: if it is
 * alive, it makes a turn. So a loop that works pays nothing, and an idle one a wake a second. */
#include "proxy/watchdog.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "io/crash.h"
#include "io/entropy.h"
#include "io/thread.h"

#define PERIOD_MIN_MS 50
#define PERIOD_MAX_MS 500
#define CALL_MS       1000 /* an idle loop is called after so long */
#define LATE_MS       1000 /* we were not woken for so long: everything stood still, not a loop */
#define DEATH_MS      3000 /* for a thread's own report */

enum { ST_MISS, ST_MEGA, ST_COUNT };
static const struct mp_stat_def defs[ST_COUNT] = {
    [ST_MISS] = {"watchdog_miss", MP_STAT_COUNTER, "Times a loop did not move for miss_timeout"},
    [ST_MEGA] = {"watchdog_mega_miss", MP_STAT_COUNTER,
                 "Times a loop did not move for megamiss_timeout"},
};
static const struct mp_stat_schema schema = {.kind = "watchdog",
                                             .text_prefix = "",
                                             .prom_prefix = "envoy_",
                                             .label = "envoy_watchdog",
                                             .defs = defs,
                                             .n = ST_COUNT};

struct watched {
    struct mp_loop *loop;
    pid_t tid; /* atomic; 0: not running */
    uint64_t turns;
    uint64_t since_ms; /* it made its last turn, or was called; 0: nothing is expected of it */
    uint64_t quiet_ms; /* since then it sleeps */
    bool missed, mega_missed;
};

struct mp_watchdog {
    struct watched *v;
    uint32_t n;
    struct mp_stat_scope *scopes[2]; /* workers, main_thread */
    const struct mp_stat_block *stats[2];
    struct mp_thread *thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;                       /* under the lock */
    struct mp_conf_watchdog conf[2]; /* under the lock */
    uint64_t jitter;
};

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Milliseconds for which it has not moved though it should have. */
static uint64_t stuck_ms(struct watched *w, uint64_t now)
{
    const struct mp_loop_stats *st = mp_loop_stats(w->loop);
    uint64_t turns = __atomic_load_n(&st->turns, __ATOMIC_RELAXED);
    uint64_t turn_ns = __atomic_load_n(&st->last_turn_ns, __ATOMIC_RELAXED);
    if (turns != w->turns) {
        w->turns = turns;
        w->since_ms = 0;
        w->quiet_ms = now;
        w->missed = w->mega_missed = false;
    }
    if (turn_ns != 0) {
        uint64_t began = turn_ns / 1000000;
        w->since_ms = w->since_ms == 0 || began < w->since_ms ? began : w->since_ms;
    } else if (w->since_ms == 0 && now - w->quiet_ms >= CALL_MS) {
        w->since_ms = now;
        mp_loop_wake(w->loop);
    }
    return w->since_ms > 0 && now > w->since_ms ? now - w->since_ms : 0;
}

static void end_process(const struct watched *w, const char *why)
{
    pid_t tid = __atomic_load_n(&w->tid, __ATOMIC_RELAXED);
    mp_log(MP_LOG_CRITICAL, "a thread hangs: ending the process", kv_c("reason", why),
           kv_i64("tid", tid));
    if (mp_crash_thread(tid)) {
        /* Its handler ends the process; unless it cannot even run that. */
        const struct timespec wait = {.tv_sec = DEATH_MS / 1000};
        (void)nanosleep(&wait, NULL);
    }
    (void)signal(SIGABRT, SIG_DFL);
    abort();
}

static void look_at(struct mp_watchdog *d, struct watched *w, const struct mp_conf_watchdog *c,
                    const struct mp_stat_block *st, uint64_t now, uint64_t *ret_stuck)
{
    uint64_t stuck = stuck_ms(w, now);
    *ret_stuck = stuck;
    if (c->miss_ms > 0 && stuck >= c->miss_ms && !w->missed) {
        w->missed = true;
        mp_stat_inc(st, ST_MISS);
    }
    if (c->megamiss_ms > 0 && stuck >= c->megamiss_ms && !w->mega_missed) {
        w->mega_missed = true;
        mp_stat_inc(st, ST_MEGA);
        mp_log(MP_LOG_WARNING, "a thread does not move", kv_u64("ms", stuck),
               kv_i64("tid", __atomic_load_n(&w->tid, __ATOMIC_RELAXED)));
    }
    if (c->kill_ms > 0 && stuck >= c->kill_ms + d->jitter % (c->kill_jitter_ms + 1)) {
        end_process(w, "kill_timeout");
    }
}

static void look(struct mp_watchdog *d, const struct mp_conf_watchdog conf[2], uint64_t now)
{
    uint32_t stuck_many = 0;
    uint64_t stuck;
    const struct mp_conf_watchdog *c = &conf[0];
    const struct watched *last = NULL;
    for (uint32_t i = 0; i < d->n; i++) {
        bool main = i == d->n - 1;
        if (__atomic_load_n(&d->v[i].tid, __ATOMIC_ACQUIRE) == 0) {
            continue;
        }
        look_at(d, &d->v[i], &conf[main], d->stats[main], now, &stuck);
        if (!main && c->multikill_ms > 0 && stuck >= c->multikill_ms) {
            stuck_many++;
            last = &d->v[i];
        }
    }
    if (last != NULL && stuck_many >= 1 + (uint32_t)(c->multikill_share * (d->n - 1) - 1e-9)) {
        end_process(last, "multikill_timeout");
    }
}

static uint64_t period_ms(const struct mp_conf_watchdog conf[2])
{
    uint64_t ms = PERIOD_MAX_MS;
    for (int i = 0; i < 2; i++) {
        const uint64_t times[] = {conf[i].miss_ms, conf[i].megamiss_ms, conf[i].kill_ms,
                                  conf[i].multikill_ms};
        for (size_t k = 0; k < MP_COUNTOF(times); k++) {
            ms = times[k] > 0 ? MP_MIN(ms, times[k] / 2) : ms;
        }
    }
    return MP_MAX(ms, (uint64_t)PERIOD_MIN_MS);
}

/* Forgets what it knows of the loops. */
static void begin_anew(struct mp_watchdog *d, uint64_t now)
{
    for (uint32_t i = 0; i < d->n; i++) {
        d->v[i].since_ms = 0;
        d->v[i].quiet_ms = now;
        d->v[i].turns = __atomic_load_n(&mp_loop_stats(d->v[i].loop)->turns, __ATOMIC_RELAXED);
    }
}

static void watch(void *arg)
{
    struct mp_watchdog *d = arg;
    uint64_t before = now_ms(), grace = 0;
    pthread_mutex_lock(&d->lock);
    while (!d->stop) {
        struct mp_conf_watchdog conf[2] = {d->conf[0], d->conf[1]};
        uint64_t period = period_ms(conf);
        uint64_t until = before + period;
        struct timespec ts = {.tv_sec = (time_t)(until / 1000),
                              .tv_nsec = (long)(until % 1000) * 1000000};
        (void)pthread_cond_timedwait(&d->wake, &d->lock, &ts);
        if (d->stop) {
            break;
        }
        pthread_mutex_unlock(&d->lock);
        uint64_t now = now_ms();
        if (now > until + LATE_MS) {
            /* The process was stopped, or the machine: turns began long ago for no fault of theirs.
             */
            begin_anew(d, now);
            grace = now + LATE_MS;
        } else if (now >= grace) {
            look(d, conf, now);
        }
        before = now;
        pthread_mutex_lock(&d->lock);
    }
    pthread_mutex_unlock(&d->lock);
}

struct mp_watchdog *mp_watchdog_new(const struct mp_watchdog_opts *opts)
{
    static const char *const names[2] = {"workers", "main_thread"};
    struct mp_watchdog *d = mp_xcalloc(1, sizeof(*d));
    d->n = opts->n;
    d->v = mp_xcalloc(opts->n, sizeof(*d->v));
    for (uint32_t i = 0; i < opts->n; i++) {
        d->v[i].loop = opts->loops[i];
    }
    for (int i = 0; i < 2; i++) {
        d->scopes[i] = mp_stat_scope_get(opts->stats, &schema, mp_str_c(names[i]));
        d->stats[i] = mp_stat_block(d->scopes[i], opts->writer);
    }
    d->jitter = mp_entropy_u64();
    pthread_mutex_init(&d->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&d->wake, &attr);
    pthread_condattr_destroy(&attr);
    return d;
}

void mp_watchdog_set(struct mp_watchdog *d, const struct mp_conf_watchdog *main,
                     const struct mp_conf_watchdog *workers)
{
    pthread_mutex_lock(&d->lock);
    d->conf[0] = *workers;
    d->conf[1] = *main;
    pthread_mutex_unlock(&d->lock);
}

void mp_watchdog_enter(struct mp_watchdog *d, uint32_t i)
{
    MP_ASSERT(i < d->n);
    __atomic_store_n(&d->v[i].tid, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
}

void mp_watchdog_start(struct mp_watchdog *d)
{
    begin_anew(d, now_ms());
    if (mp_is_err(mp_thread_start("watchdog", -1, watch, d, &d->thread))) {
        mp_log(MP_LOG_WARNING, "no thread for the watchdog: hangs will not be noticed");
        d->thread = NULL;
    }
}

struct mp_watchdog *mp_watchdog_free(struct mp_watchdog *d)
{
    if (d == NULL) {
        return NULL;
    }
    pthread_mutex_lock(&d->lock);
    d->stop = true;
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
    mp_thread_join(d->thread);
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->wake);
    for (int i = 0; i < 2; i++) {
        mp_stat_scope_unref(d->scopes[i]);
    }
    free(d->v);
    free(d);
    return NULL;
}
