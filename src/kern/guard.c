/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "kern/guard.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "io/addr.h"
#include "kern/sources.h"
#include "kern/state.h"

#define NS_PER_MS 1000000u

/* What workers read of the configuration: words, each of which is right by itself. */
struct policy {
    uint32_t ban_after[MP_GUARD_EVENTS];
    uint64_t ban_ns, window_ns;
    uint64_t rate_window_ns;
    uint32_t rate_max; /* 0: connections are not limited here */
};

struct mp_guard {
    struct mp_guard_hook *hook;
    struct mp_lists *lists;
    struct mp_program *program;
    struct mp_source_table *verdicts, *arrivals;
    struct policy policy;
    struct mp_guard_totals totals; /* atomic */
    char *attached;                /* what the programs were started with, as text */
    char *state_file;
    int state_fd;
    uint64_t state_version;
    bool keep_on_exit, state_failed;
};

#define GET(x)    __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define SET(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELAXED)
#define COUNT(x)  __atomic_add_fetch(&(x), 1, __ATOMIC_RELAXED)

uint64_t mp_guard_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

const char *mp_guard_reason_name(uint32_t reason)
{
    static const char *const names[MP_GUARD_EVENTS + 1] = {
        "", "auth_failures", "rate_limited", "protocol_errors", "header_timeouts", "client_errors"};
    return reason <= MP_GUARD_EVENTS ? names[reason] : "";
}

/* ---- the engine's side; any thread ---- */

/* Does anybody have to be asked? */
static void refresh_hook(struct mp_guard *g)
{
    uint32_t on = 0;
    bool bans = false;
    for (uint32_t i = 0; i < MP_GUARD_EVENTS; i++) {
        bans |= GET(g->policy.ban_after[i]) > 0;
    }
    on |= bans ? MP_GUARD_REPORTS : 0;
    on |= mp_lists_any_denied(g->lists) || GET(g->policy.rate_max) > 0 ? MP_GUARD_ADMITS : 0;
    SET(g->hook->on, on);
}

static bool admit(void *arg, const struct mp_addr *peer)
{
    struct mp_guard *g = arg;
    struct mp_conf_prefix host;
    if (!mp_prefix_of(peer, &host)) {
        return true;
    }
    uint64_t now = mp_guard_now_ns();
    if (mp_lists_is_denied(g->lists, &host, now)) {
        COUNT(g->totals.refused_denied);
        return false;
    }
    uint32_t max = GET(g->policy.rate_max);
    if (max > 0 &&
        mp_source_count(g->arrivals, &host, 0, now, GET(g->policy.rate_window_ns), UINT32_MAX) >
            max &&
        !mp_lists_is_allowed(g->lists, &host)) {
        COUNT(g->totals.refused_rate);
        return false;
    }
    return true;
}

static void ban(struct mp_guard *g, const struct mp_conf_prefix *host, enum mp_guard_event event,
                uint64_t now)
{
    char text[MP_PREFIX_TEXT];
    struct mp_list_entry e = {.prefix = mp_source_of(host),
                              .origin = MP_LIST_VERDICT,
                              .reason = event + 1,
                              .since_ns = now,
                              .expires_ns = now + GET(g->policy.ban_ns)};
    mp_prefix_format(&e.prefix, text);
    if (mp_is_err(mp_lists_add(g->lists, true, &e))) {
        mp_log(MP_LOG_WARNING, "the deny list is full", kv_c("source", text));
        return;
    }
    COUNT(g->totals.bans[event]);
    refresh_hook(g);
    mp_log(MP_LOG_WARNING, "a source is denied", kv_c("source", text),
           kv_c("reason", mp_guard_reason_name(event + 1)),
           kv_u64("seconds", GET(g->policy.ban_ns) / 1000000000u));
}

static void report(void *arg, const struct mp_addr *peer, enum mp_guard_event event)
{
    struct mp_guard *g = arg;
    struct mp_conf_prefix host;
    uint32_t max = GET(g->policy.ban_after[event]);
    COUNT(g->totals.verdicts[event]);
    if (max == 0 || !mp_prefix_of(peer, &host)) {
        return;
    }
    if (mp_lists_is_allowed(g->lists, &host)) {
        COUNT(g->totals.exempt);
        return;
    }
    uint64_t now = mp_guard_now_ns();
    if (mp_source_count(g->verdicts, &host, event, now, GET(g->policy.window_ns), max) >= max) {
        ban(g, &host, event, now);
    }
}

const struct mp_guard_ops mp_guard_ops = {.admit = admit, .report = report};

/* ---- life ---- */

struct mp_guard *mp_guard_new(struct mp_guard_hook *hook)
{
    struct mp_guard *g = calloc(1, sizeof(*g));
    MP_ASSERT(g != NULL);
    g->hook = hook;
    g->lists = mp_lists_new();
    g->verdicts = mp_source_table_new();
    g->arrivals = mp_source_table_new();
    g->state_fd = -1;
    hook->guard = g;
    hook->ops = &mp_guard_ops;
    return g;
}

static void write_state(struct mp_guard *g)
{
    uint64_t version = mp_lists_version(g->lists);
    if (g->state_fd < 0 || version == g->state_version) {
        return;
    }
    int rc = mp_state_write(g->state_fd, g->lists, mp_guard_now_ns());
    if (rc < 0 && !g->state_failed) {
        mp_log(MP_LOG_WARNING, "cannot write the deny list", kv_c("file", g->state_file),
               kv_c("error", strerror(-rc)));
    }
    g->state_failed = rc < 0;
    g->state_version = version;
}

static bool was_taken_over(const struct mp_guard *g)
{
    for (uint32_t i = 0; i < mp_program_links(g->program); i++) {
        if (mp_program_link(g->program, i).taken_over) {
            return true;
        }
    }
    return false;
}

struct mp_guard *mp_guard_free(struct mp_guard *g, bool served)
{
    if (g == NULL) {
        return NULL;
    }
    SET(g->hook->on, 0);
    write_state(g);
    mp_lists_set_sink(g->lists, NULL);
    mp_program_stop(g->program, g->keep_on_exit || (!served && was_taken_over(g)));
    if (g->state_fd >= 0) {
        close(g->state_fd);
    }
    mp_lists_free(g->lists);
    mp_source_table_free(g->verdicts);
    mp_source_table_free(g->arrivals);
    free(g->attached);
    free(g->state_file);
    free(g);
    return NULL;
}

/* ---- configuration ---- */

/* What asks for other programs or links when it changes. */
static char *attachment_of(const struct mp_conf_xdp *c)
{
    struct mp_sb sb;
    mp_sb_init(&sb, 8192);
    if (c != NULL && c->n_interfaces > 0) {
        mp_sb_printf(&sb, "%d %s", (int)c->mode, c->pin_path.p);
        for (uint32_t i = 0; i < c->n_interfaces; i++) {
            mp_sb_printf(&sb, " %s", c->interfaces[i].p);
        }
    }
    char *text = mp_str_dup_c(mp_sb_str(&sb));
    mp_sb_fini(&sb);
    return text;
}

static void set_program(struct mp_guard *g, const struct mp_conf_xdp *c)
{
    char *wanted = attachment_of(c);
    if (g->attached != NULL && strcmp(wanted, g->attached) == 0) {
        free(wanted);
        if (g->program != NULL) {
            mp_program_set_limits(g->program, c);
        }
        return;
    }
    bool first = g->attached == NULL;
    free(g->attached);
    g->attached = wanted;
    mp_lists_set_sink(g->lists, NULL);
    if (wanted[0] == '\0') {
        g->program = mp_program_stop(g->program, false);
        return;
    }
    g->program = mp_program_start(c, g->program);
    if (g->program != NULL && first) {
        mp_program_import(g->program, g->lists);
    }
}

static void set_state_file(struct mp_guard *g, const struct mp_conf_xdp *c)
{
    const char *path = c != NULL ? c->state_file.p : "";
    if (g->state_file != NULL && strcmp(g->state_file, path) == 0) {
        return;
    }
    if (g->state_fd >= 0) {
        close(g->state_fd);
        g->state_fd = -1;
    }
    free(g->state_file);
    g->state_file = mp_str_dup_c(mp_str_c(path));
    if (path[0] == '\0') {
        return;
    }
    g->state_fd = mp_state_open(path, g->lists, mp_guard_now_ns());
    if (g->state_fd < 0) {
        mp_log(MP_LOG_WARNING, "the deny list will not outlive the process", kv_c("file", path),
               kv_c("error", strerror(-g->state_fd)),
               kv_c("cure", "xdp.state_file names a file that can be written, or off"));
        g->state_fd = -1;
    }
}

static bool is_attached(const struct mp_guard *g)
{
    for (uint32_t i = 0; i < mp_program_links(g->program); i++) {
        if (mp_program_link(g->program, i).kind != MP_LINK_NONE) {
            return true;
        }
    }
    return false;
}

static void set_policy(struct mp_guard *g, const struct mp_conf_xdp *c)
{
    for (uint32_t i = 0; i < MP_GUARD_EVENTS; i++) {
        SET(g->policy.ban_after[i], c != NULL ? c->ban_after[i] : 0);
    }
    SET(g->policy.ban_ns, c != NULL ? c->ban_ms * NS_PER_MS : 0);
    SET(g->policy.window_ns, c != NULL ? c->ban_window_ms * NS_PER_MS : 0);
    SET(g->policy.rate_window_ns, c != NULL ? c->window_ns : 0);
    /* Asked for, and nobody in the kernel to do it: connections are counted instead of packets. */
    bool here = c != NULL && c->rate_enabled && c->n_interfaces > 0 && !is_attached(g);
    SET(g->policy.rate_max, here ? (uint32_t)c->max_packets : 0);
    if (here) {
        mp_log(MP_LOG_WARNING, "no program is attached: lists and limits act on connections");
    }
}

void mp_guard_configure(struct mp_guard *g, const struct mp_conf_xdp *c)
{
    set_state_file(g, c);
    set_program(g, c);
    mp_lists_replace(g->lists, false, MP_LIST_CONFIG, c != NULL ? c->allow : NULL,
                     c != NULL ? c->n_allow : 0);
    mp_lists_replace(g->lists, true, MP_LIST_CONFIG, c != NULL ? c->deny : NULL,
                     c != NULL ? c->n_deny : 0);
    (void)mp_lists_sweep(g->lists, mp_guard_now_ns());
    if (g->program != NULL) {
        struct mp_lists_sink sink = mp_program_sink(g->program);
        mp_lists_set_sink(g->lists, &sink);
        mp_program_prune(g->program, g->lists);
    }
    g->keep_on_exit = c != NULL && c->keep_on_exit;
    set_policy(g, c);
    refresh_hook(g);
}

void mp_guard_set_backends(struct mp_guard *g, const struct mp_conf_prefix *v, uint32_t n)
{
    mp_lists_replace(g->lists, false, MP_LIST_BACKEND, v, n);
}

void mp_guard_tick(struct mp_guard *g)
{
    if (mp_lists_sweep(g->lists, mp_guard_now_ns()) > 0) {
        refresh_hook(g);
    }
    write_state(g);
}

/* ---- by hand ---- */

mp_err mp_guard_deny(struct mp_guard *g, const struct mp_conf_prefix *p, uint64_t ms)
{
    uint64_t now = mp_guard_now_ns();
    struct mp_list_entry e = {.prefix = *p,
                              .origin = MP_LIST_MANUAL,
                              .since_ns = now,
                              .expires_ns = ms == 0 ? 0 : now + ms * NS_PER_MS};
    MP_TRY(mp_lists_add(g->lists, true, &e));
    refresh_hook(g);
    return MP_OK;
}

mp_err mp_guard_allow(struct mp_guard *g, const struct mp_conf_prefix *p)
{
    struct mp_list_entry e = {
        .prefix = *p, .origin = MP_LIST_MANUAL, .since_ns = mp_guard_now_ns()};
    return mp_lists_add(g->lists, false, &e);
}

mp_err mp_guard_remove(struct mp_guard *g, const struct mp_conf_prefix *p)
{
    mp_err deny = mp_lists_remove(g->lists, true, p);
    mp_err allow = mp_lists_remove(g->lists, false, p);
    refresh_hook(g);
    if (!mp_is_err(deny) || !mp_is_err(allow)) {
        return MP_OK;
    }
    return deny.code == MP_E_STATE ? deny : allow;
}

struct mp_lists *mp_guard_lists(struct mp_guard *g)
{
    return g->lists;
}

struct mp_program *mp_guard_program(struct mp_guard *g)
{
    return g->program;
}

void mp_guard_totals(struct mp_guard *g, struct mp_guard_totals *ret)
{
    uint64_t *to = (uint64_t *)ret, *from = (uint64_t *)&g->totals;
    for (size_t i = 0; i < sizeof(*ret) / sizeof(uint64_t); i++) {
        to[i] = GET(from[i]);
    }
}
