/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/overload.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/conn.h"
#include "core/listener.h"
#include "core/stream.h"

#define WORKER_BYTES_MIN ((size_t)8 << 20)
#define STREAM_CLASSES   8  /* by weight: each twice the one before */
#define RESETS_MAX       50 /* of one worker in one refresh: the next one sees what they gave back */

enum { ST_PRESSURE, ST_FAILED, ST_RESOURCE_COUNT };
static const struct mp_stat_def resource_defs[ST_RESOURCE_COUNT] = {
    [ST_PRESSURE] = {"pressure", MP_STAT_GAUGE, "Use of the resource, in percent of its limit"},
    [ST_FAILED] = {"failed_updates", MP_STAT_COUNTER, "Times the system did not tell the use"},
};
static const struct mp_stat_schema resource_schema = {.kind = "overload_resource",
                                                      .text_prefix = "overload.",
                                                      .prom_prefix = "envoy_overload_",
                                                      .label = "envoy_overload_resource",
                                                      .defs = resource_defs,
                                                      .n = ST_RESOURCE_COUNT};
enum { ST_ACTIVE, ST_SCALE, ST_RESET, ST_ACTION_COUNT };
static const struct mp_stat_def action_defs[ST_ACTION_COUNT] = {
    [ST_ACTIVE] = {"active", MP_STAT_GAUGE, "1 when the action is saturated"},
    [ST_SCALE] = {"scale_percent", MP_STAT_GAUGE, "How far the action goes"},
    [ST_RESET] = {"streams_reset", MP_STAT_COUNTER, "Streams that the action has reset"},
};
static const struct mp_stat_schema action_schema = {.kind = "overload_action",
                                                    .text_prefix = "overload.",
                                                    .prom_prefix = "envoy_overload_",
                                                    .label = "envoy_overload_action",
                                                    .defs = action_defs,
                                                    .n = ST_RESET};
static const struct mp_stat_schema reset_schema = {.kind = "overload_reset",
                                                   .text_prefix = "overload.",
                                                   .prom_prefix = "envoy_overload_",
                                                   .label = "envoy_overload_action",
                                                   .defs = action_defs,
                                                   .n = ST_ACTION_COUNT};
static const char *const action_names[MP_OVERLOAD_ACTIONS] = {
    [MP_OVERLOAD_NO_KEEPALIVE] = "envoy.overload_actions.disable_http_keepalive",
    [MP_OVERLOAD_STOP_REQUESTS] = "envoy.overload_actions.stop_accepting_requests",
    [MP_OVERLOAD_REJECT_CONNECTIONS] = "envoy.overload_actions.reject_incoming_connections",
    [MP_OVERLOAD_STOP_ACCEPTING] = "envoy.overload_actions.stop_accepting_connections",
    [MP_OVERLOAD_RESET_STREAMS] = "envoy.overload_actions.reset_high_memory_stream",
};

struct mp_overload {
    struct mp_engine *engine;
    struct mp_timer timer;
    struct mp_conf_overload conf; /* names are not valid: they belong to the snapshot */
    struct mp_stat_scope *resources[MP_RESOURCES];
    struct mp_stat_scope *actions[MP_OVERLOAD_ACTIONS];
    bool stopped; /* listeners were told to stop accepting */
};

/* ---- levels ---- */

uint32_t mp_overload_level(const struct mp_conf_overload *conf, enum mp_conf_overload_action a,
                           const double pressure[MP_RESOURCES])
{
    double most = 0;
    for (uint32_t i = 0; i < conf->n_triggers[a]; i++) {
        const struct mp_conf_trigger *t = &conf->triggers[a][i];
        double p = pressure[t->resource], level = 0;
        if (p >= t->full) {
            level = 1;
        } else if (p > t->from) {
            level = (p - t->from) / (t->full - t->from);
        }
        most = MP_MAX(most, level);
    }
    return (uint32_t)(most * MP_OVERLOAD_FULL);
}

bool mp_overload_roll(struct mp_core_worker *cw, uint32_t level)
{
    if (cw == cw->engine->main) {
        return false;
    }
    return level >= MP_OVERLOAD_FULL || mp_rand_u64(&cw->w.rand) % MP_OVERLOAD_FULL < level;
}

/* ---- resources ---- */

static uint64_t memory_max(const struct mp_engine *e, const struct mp_conf_overload *conf)
{
    uint64_t set = conf->max[MP_RESOURCE_MEMORY];
    return set > 0 ? set : e->opts.memory_limit / 4 * 3;
}

size_t mp_overload_worker_bytes(const struct mp_engine *e, const struct mp_conf_overload *conf)
{
    uint64_t max = memory_max(e, conf);
    return max == 0 ? 0 : MP_MAX((size_t)(max / e->n_workers), WORKER_BYTES_MIN);
}

static bool read_pressure(struct mp_overload *o, enum mp_conf_resource r, double *ret)
{
    struct mp_engine *e = o->engine;
    uint64_t max = r == MP_RESOURCE_MEMORY ? memory_max(e, &o->conf)
                   : o->conf.max[r] > 0    ? o->conf.max[r]
                                           : e->opts.fd_limit;
    uint64_t now = r == MP_RESOURCE_MEMORY ? e->opts.resident_bytes() : e->opts.descriptors();
    if (now == 0 || max == 0) {
        return false;
    }
    for (uint32_t i = 0; r == MP_RESOURCE_MEMORY && i <= e->n_workers; i++) {
        uint64_t kept = mp_blocks_bytes_free(&e->workers[i]->w.blocks);
        now -= MP_MIN(now, kept);
    }
    *ret = (double)now / (double)max;
    return true;
}

/* ---- the heaviest streams ---- */

static size_t weight_of(const struct mp_stream *s)
{
    size_t queued = s->codec->queued(s);
    return s->cell_size + s->arena.used + s->req_held.n + s->resp_held.n +
           (queued == SIZE_MAX ? 0 : queued) + (size_t)s->conn->in_kib * 1024;
}

static unsigned class_of(size_t weight, uint8_t log2)
{
    unsigned c = 0;
    for (weight >>= log2; weight > 1 && c < STREAM_CLASSES - 1; weight >>= 1) {
        c++;
    }
    return c;
}

struct reset_job {
    uint32_t level;
    uint8_t log2;
    struct mp_stat_scope *scope;
};

/* With growing pressure from the heaviest class down to the lightest. */
static void reset_streams(struct mp_core_worker *cw, void *arg)
{
    const struct reset_job *job = arg;
    if (cw == cw->engine->main) {
        return;
    }
    unsigned classes =
        1 + (unsigned)((uint64_t)job->level * (STREAM_CLASSES - 1) / MP_OVERLOAD_FULL);
    uint32_t n = 0;
    for (unsigned c = STREAM_CLASSES; c-- > STREAM_CLASSES - classes;) {
        MP_LIST_FOREACH_SAFE (it, &cw->streams) {
            struct mp_stream *s = MP_CONTAINER_OF(it, struct mp_stream, link);
            size_t weight = weight_of(s);
            if (n < RESETS_MAX && !s->ended && weight >> job->log2 > 0 &&
                class_of(weight, job->log2) == c) {
                mp_stream_abort(s, MP_FLAG_OVERLOAD, "overload_manager_reset");
                n++;
            }
        }
    }
    if (n > 0) {
        mp_stat_add(mp_stat_block(job->scope, cw->w.writer), ST_RESET, n);
        mp_cork_flush(cw);
    }
}

static void reset_done(void *arg)
{
    struct reset_job *job = arg;
    mp_stat_scope_unref(job->scope);
    free(job);
}

static void reset_heavy(struct mp_overload *o, uint32_t level)
{
    struct reset_job *job = mp_xcalloc(1, sizeof(*job));
    job->level = level;
    job->log2 = o->conf.stream_bytes_log2;
    job->scope = o->actions[MP_OVERLOAD_RESET_STREAMS];
    mp_stat_scope_ref(job->scope);
    mp_engine_for_each_worker(o->engine, reset_streams, reset_done, job);
}

/* ---- accepting ---- */

static void tell_listeners(struct mp_core_worker *cw, void *arg)
{
    (void)arg;
    if (cw == cw->engine->main) {
        return;
    }
    uint32_t level =
        __atomic_load_n(&cw->engine->overload_level[MP_OVERLOAD_STOP_ACCEPTING], __ATOMIC_RELAXED);
    MP_LIST_FOREACH (it, &cw->listeners) {
        mp_listener_local_stop(MP_CONTAINER_OF(it, struct mp_listener_local, link),
                               level >= MP_OVERLOAD_FULL);
    }
}

/* ---- the timer ---- */

static void set_action(struct mp_overload *o, enum mp_conf_overload_action a, uint32_t level)
{
    struct mp_engine *e = o->engine;
    uint32_t before = e->overload_level[a];
    if (o->actions[a] == NULL) {
        return;
    }
    __atomic_store_n(&e->overload_level[a], level, __ATOMIC_RELAXED);
    const struct mp_stat_block *st = mp_stat_block(o->actions[a], e->main->w.writer);
    mp_stat_set(st, ST_ACTIVE, level >= MP_OVERLOAD_FULL);
    mp_stat_set(st, ST_SCALE, level * 100 / MP_OVERLOAD_FULL);
    if ((before == 0) != (level == 0)) {
        mp_log(level > 0 ? MP_LOG_WARNING : MP_LOG_INFO,
               level > 0 ? "overload: action begins" : "overload: action ends",
               kv_c("action", action_names[a]));
    }
}

static void refresh(struct mp_overload *o)
{
    struct mp_engine *e = o->engine;
    double pressure[MP_RESOURCES] = {0};
    for (unsigned r = 0; r < MP_RESOURCES; r++) {
        if (o->resources[r] == NULL) {
            continue;
        }
        const struct mp_stat_block *st = mp_stat_block(o->resources[r], e->main->w.writer);
        if (!read_pressure(o, (enum mp_conf_resource)r, &pressure[r])) {
            mp_stat_inc(st, ST_FAILED);
        }
        mp_stat_set(st, ST_PRESSURE, (uint64_t)(pressure[r] * 100));
    }
    for (unsigned a = 0; a < MP_OVERLOAD_ACTIONS; a++) {
        set_action(o, (enum mp_conf_overload_action)a,
                   mp_overload_level(&o->conf, (enum mp_conf_overload_action)a, pressure));
    }
    bool stop = e->overload_level[MP_OVERLOAD_STOP_ACCEPTING] >= MP_OVERLOAD_FULL;
    if (stop != o->stopped) {
        o->stopped = stop;
        mp_engine_for_each_worker(e, tell_listeners, NULL, NULL);
    }
    if (e->overload_level[MP_OVERLOAD_RESET_STREAMS] > 0) {
        reset_heavy(o, e->overload_level[MP_OVERLOAD_RESET_STREAMS]);
    }
}

static void on_timer(struct mp_timer *t)
{
    struct mp_overload *o = MP_CONTAINER_OF(t, struct mp_overload, timer);
    refresh(o);
    mp_timer_in(o->engine->opts.main_loop, &o->timer, o->conf.refresh_ms);
}

static void drop_scopes(struct mp_overload *o)
{
    for (unsigned r = 0; r < MP_RESOURCES; r++) {
        o->resources[r] = o->resources[r] ? mp_stat_scope_unref(o->resources[r]) : NULL;
    }
    for (unsigned a = 0; a < MP_OVERLOAD_ACTIONS; a++) {
        o->actions[a] = o->actions[a] ? mp_stat_scope_unref(o->actions[a]) : NULL;
    }
}

/* Old scopes go last, so that counters of what stays are kept. */
static void take_scopes(struct mp_overload *o, const struct mp_conf_overload *conf)
{
    struct mp_overload old = *o;
    struct mp_stat_store *stats = o->engine->stats;
    for (unsigned r = 0; r < MP_RESOURCES; r++) {
        o->resources[r] = conf->monitor[r].n > 0
                              ? mp_stat_scope_get(stats, &resource_schema, conf->monitor[r])
                              : NULL;
    }
    for (unsigned a = 0; a < MP_OVERLOAD_ACTIONS; a++) {
        const struct mp_stat_schema *schema =
            a == MP_OVERLOAD_RESET_STREAMS ? &reset_schema : &action_schema;
        o->actions[a] = conf->n_triggers[a] > 0
                            ? mp_stat_scope_get(stats, schema, mp_str_c(action_names[a]))
                            : NULL;
    }
    drop_scopes(&old);
}

void mp_overload_published(struct mp_overload *o)
{
    struct mp_engine *e = o->engine;
    const struct mp_conf_overload *conf = &e->snap->conf->overload;
    bool any = conf->monitor[MP_RESOURCE_MEMORY].n + conf->monitor[MP_RESOURCE_FDS].n > 0;
    take_scopes(o, conf);
    o->conf = *conf;
    for (unsigned a = 0; a < MP_OVERLOAD_ACTIONS; a++) {
        if (o->actions[a] == NULL) {
            __atomic_store_n(&e->overload_level[a], 0, __ATOMIC_RELAXED);
        }
    }
    if (e->opts.resident_bytes == NULL || (!any && !o->stopped)) {
        mp_wheel_remove(mp_loop_wheel(e->opts.main_loop), &o->timer);
        return;
    }
    if (!mp_timer_is_set(&o->timer)) {
        mp_timer_in(e->opts.main_loop, &o->timer, 1);
    }
}

struct mp_overload *mp_overload_new(struct mp_engine *e)
{
    struct mp_overload *o = mp_xcalloc(1, sizeof(*o));
    o->engine = e;
    mp_timer_init(&o->timer, on_timer);
    return o;
}

struct mp_overload *mp_overload_free(struct mp_overload *o)
{
    if (o != NULL) {
        mp_wheel_remove(mp_loop_wheel(o->engine->opts.main_loop), &o->timer);
        drop_scopes(o);
        free(o);
    }
    return NULL;
}
