/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Pages about the process as a whole, and the switches. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "admin/admin.h"
#include "admin/pages.h"
#include "base/assert.h"
#include "base/log.h"
#include "core/access_log.h"
#include "core/engine.h"
#include "core/stats.h"
#include "io/open.h"

/* Longer than any process lives: connections that do not end by themselves are left alone. */
#define DRAIN_FOREVER_MS ((uint64_t)1 << 40)

static const char *state_name(enum mp_server_state s)
{
    static const char *const names[] = {
        [MP_SERVER_LIVE] = "LIVE",
        [MP_SERVER_DRAINING] = "DRAINING",
        [MP_SERVER_PRE_INITIALIZING] = "PRE_INITIALIZING",
        [MP_SERVER_INITIALIZING] = "INITIALIZING",
    };
    return names[s];
}

static uint64_t uptime_s(const struct mp_engine *e)
{
    return (mp_loop_now_ns(e->opts.main_loop) - e->start_ns) / 1000000000;
}

/* ---- gauges ---- */

/* Every worker writes its own cell, so the value is complete at the next reading. */
static void refresh_worker(struct mp_core_worker *cw, void *arg)
{
    (void)arg;
    mp_stat_set(cw->server_stats, MP_ST_SERVER_MEMORY_ALLOCATED, cw->w.blocks.bytes_used);
}

void mp_admin_refresh(struct mp_engine *e)
{
    const struct mp_stat_block *st = e->main->server_stats;
    enum mp_server_state state = mp_engine_state(e);
    mp_stat_set(st, MP_ST_SERVER_LIVE, state == MP_SERVER_LIVE);
    mp_stat_set(st, MP_ST_SERVER_STATE, (uint64_t)state);
    mp_stat_set(st, MP_ST_SERVER_UPTIME, uptime_s(e));
    mp_stat_set(st, MP_ST_SERVER_CONCURRENCY, e->n_workers);
    mp_stat_set(st, MP_ST_SERVER_TOTAL_CONNECTIONS,
                __atomic_load_n(&e->connections, __ATOMIC_RELAXED));
    mp_stat_set(st, MP_ST_SERVER_BUGS, mp_bug_count());
    mp_stat_set(st, MP_ST_SERVER_LOG_LOST, mp_log_lost());
    struct mp_conf_parts parts = mp_conf_parts_alive();
    mp_stat_set(st, MP_ST_SERVER_CONFIG_PARTS, parts.n);
    mp_stat_set(st, MP_ST_SERVER_CONFIG_BYTES, parts.bytes);
    mp_engine_for_each_worker(e, refresh_worker, NULL, NULL);
}

/* ---- state ---- */

void mp_admin_page_ready(struct mp_admin_call *call)
{
    enum mp_server_state state = mp_engine_state(call->engine);
    call->status = state == MP_SERVER_LIVE ? 200 : 503;
    mp_sb_printf(&call->out, "%s\n", state_name(state));
}

static void add_member(struct mp_sb *out, bool *first, const char *indent, const char *name,
                       struct mp_str value)
{
    mp_sb_printf(out, "%s\n%s\"%s\": ", *first ? "" : ",", indent, name);
    mp_sb_add_json(out, value);
    *first = false;
}

static void add_node(struct mp_sb *out, const struct mp_conf *conf)
{
    bool first = true;
    mp_sb_add_c(out, " \"node\": {");
    add_member(out, &first, "  ", "id", conf->node_id);
    add_member(out, &first, "  ", "cluster", conf->node_cluster);
    add_member(out, &first, "  ", "user_agent_name", MP_STR("marchproxy"));
    mp_sb_add_c(out, ",\n  \"locality\": {");
    first = true;
    if (conf->locality_region.n + conf->locality_zone.n + conf->locality_sub_zone.n > 0) {
        add_member(out, &first, "   ", "region", conf->locality_region);
        add_member(out, &first, "   ", "zone", conf->locality_zone);
        add_member(out, &first, "   ", "sub_zone", conf->locality_sub_zone);
        mp_sb_add_c(out, "\n  ");
    }
    mp_sb_add_c(out, "}\n }");
}

void mp_admin_page_server_info(struct mp_admin_call *call)
{
    const struct mp_engine *e = call->engine;
    const struct mp_conf *conf = e->snap->conf;
    struct mp_sb *out = &call->out;
    enum mp_log_level level = __atomic_load_n(&mp_log_threshold, __ATOMIC_RELAXED);
    call->content_type = MP_ADMIN_JSON;
    mp_sb_add_c(out, "{\n \"version\": ");
    mp_sb_add_json(out, MP_STR("marchproxy/" MP_VERSION));
    mp_sb_printf(out, ",\n \"state\": \"%s\",\n", state_name(mp_engine_state(e)));
    mp_sb_printf(out, " \"uptime_current_epoch\": \"%llus\",\n", (unsigned long long)uptime_s(e));
    mp_sb_printf(out, " \"uptime_all_epochs\": \"%llus\",\n", (unsigned long long)uptime_s(e));
    mp_sb_add_c(out, " \"hot_restart_version\": \"disabled\",\n \"command_line_options\": {\n");
    mp_sb_printf(out, "  \"concurrency\": %u,\n  \"config_path\": ", e->n_workers);
    mp_sb_add_json(out, conf->file);
    mp_sb_printf(out, ",\n  \"log_level\": \"%s\",\n  \"mode\": \"Serve\"\n },\n",
                 mp_log_level_name(level));
    add_node(out, conf);
    mp_sb_add_c(out, "\n}\n");
}

void mp_admin_page_hot_restart_version(struct mp_admin_call *call)
{
    mp_sb_add_c(&call->out, "disabled");
}

/* Pages of memory that the process has in RAM; 0 when the kernel does not say. */
static uint64_t resident_bytes(void)
{
    struct mp_str text;
    int errnum;
    if (mp_is_err(mp_read_file("/proc/self/statm", 4096, &text, &errnum))) {
        return 0;
    }
    uint64_t pages = 0;
    struct mp_str rest = text, part;
    (void)mp_str_split(&rest, ' ', &part); /* the size of the address space */
    if (!mp_str_split(&rest, ' ', &part) || mp_is_err(mp_str_to_u64(part, &pages))) {
        pages = 0;
    }
    free((char *)(uintptr_t)text.p);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void mp_admin_page_memory(struct mp_admin_call *call)
{
    struct mallinfo2 mi = mallinfo2();
    call->content_type = MP_ADMIN_JSON;
    mp_sb_printf(&call->out,
                 "{\n \"allocated\": \"%zu\",\n \"heap_size\": \"%zu\",\n"
                 " \"pageheap_unmapped\": \"0\",\n \"pageheap_free\": \"%zu\",\n"
                 " \"total_thread_cache\": \"0\",\n \"total_physical_bytes\": \"%llu\"\n}\n",
                 mi.uordblks + mi.hblkhd, mi.arena + mi.hblkhd, mi.fordblks,
                 (unsigned long long)resident_bytes());
}

/* ---- switches ---- */

static bool is_draining_for_good(const struct mp_engine *e)
{
    return e->drain_deadline_ms != 0;
}

void mp_admin_page_healthcheck_fail(struct mp_admin_call *call)
{
    __atomic_store_n(&call->engine->state, MP_SERVER_DRAINING, __ATOMIC_RELAXED);
    mp_sb_add_c(&call->out, "OK\n");
}

void mp_admin_page_healthcheck_ok(struct mp_admin_call *call)
{
    if (is_draining_for_good(call->engine)) {
        mp_admin_fail(call, 409, "listeners are draining: that cannot be undone\n");
        return;
    }
    __atomic_store_n(&call->engine->state, MP_SERVER_LIVE, __ATOMIC_RELAXED);
    mp_sb_add_c(&call->out, "OK\n");
}

void mp_admin_page_drain_listeners(struct mp_admin_call *call)
{
    for (uint32_t i = 0; i < call->query.n; i++) {
        if (!mp_str_eq(call->query.v[i].name, MP_STR("graceful"))) {
            mp_admin_fail(call, 400, "parameter " MP_STR_FMT " is not supported here\n",
                          MP_STR_ARG(call->query.v[i].name));
            return;
        }
    }
    if (!is_draining_for_good(call->engine)) {
        mp_engine_drain(call->engine, DRAIN_FOREVER_MS, NULL, NULL);
    }
    mp_sb_add_c(&call->out, "OK\n");
}

void mp_admin_page_quit(struct mp_admin_call *call)
{
    mp_log(MP_LOG_INFO, "stopping at the admin server's request");
    call->after = mp_admin_quit;
    mp_sb_add_c(&call->out, "OK\n");
}

void mp_admin_page_reset_counters(struct mp_admin_call *call)
{
    mp_stat_reset_counters(call->engine->stats);
    mp_sb_add_c(&call->out, "OK\n");
}

void mp_admin_page_reopen_logs(struct mp_admin_call *call)
{
    mp_alog_set_reopen(call->engine->alogs);
    mp_sb_add_c(&call->out, "OK\n");
}

void mp_admin_page_logging(struct mp_admin_call *call)
{
    const struct mp_str *wanted = mp_admin_param(call, "level");
    enum mp_log_level level;
    if (wanted != NULL && !mp_log_level_parse(*wanted, &level)) {
        mp_admin_fail(
            call, 400,
            "error: unknown logger level\nusage: /logging?level=(trace|debug|info|warning|"
            "error|critical|off)\n");
        return;
    }
    if (wanted != NULL) {
        mp_log_set_level(level);
    }
    level = __atomic_load_n(&mp_log_threshold, __ATOMIC_RELAXED);
    mp_sb_printf(&call->out, "active loggers:\n  marchproxy: %s\n", mp_log_level_name(level));
}
