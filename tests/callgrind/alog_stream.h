/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A typical finished stream and a logger that writes to nowhere, for instruction counts and
 * timings. */
#pragma once
#include "core/access_log.h"
#include "core/engine.h"
#include "core/worker.h"
#include "unit/core/fixture.h"

static struct fixture as_fx;
static struct mp_core_worker as_worker;
static struct mp_engine as_engine;
static struct mp_alog *as_alog;

static ssize_t as_discard(void *arg, struct mp_str path, const void *p, size_t n)
{
    return (ssize_t)n;
}

static void as_start(const struct mp_conf_alog *conf)
{
    fx_init(&as_fx);
    fx_respond(&as_fx, 200);
    fx_add(&as_fx.s.req.hdrs, "accept", "*/*");
    fx_add(&as_fx.s.req.hdrs, "user-agent",
           "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0");
    as_fx.s.req.path = MP_STR("/api/v1/items/4711?page=2&sort=name");
    as_fx.s.bytes_out = 1024;
    as_fx.s.end_ns = as_fx.s.start_ns + 3456789;
    as_fx.s.upstream_host = MP_STR("127.0.0.1:8080");
    struct mp_alog_set_opts opts = {
        .n_workers = 1, .stats = mp_stat_store_new(1), .write = as_discard};
    as_engine.alogs = mp_alog_set_new(&opts);
    as_worker.engine = &as_engine;
    as_worker.w.loop = mp_loop_new();
    mp_alog_worker_init(&as_worker);
    if (mp_is_err(mp_alog_build(conf, &as_fx.arena, as_engine.alogs, NULL, &as_alog))) {
        abort();
    }
}

static inline void as_line(void)
{
    mp_alog_write(as_alog, &as_worker, &as_fx.s);
}
