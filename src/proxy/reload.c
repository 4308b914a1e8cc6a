/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "proxy/reload.h"

#include <stdlib.h>

#include "admin/admin.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/engine.h"
#include "io/mailbox.h"
#include "io/thread.h"
#include "proxy/config.h"
#include "proxy/options.h"
#include "proxy/service.h"

#define WAITERS_MAX 100       /* requests of POST /reload that have no answer yet */
#define ANSWER_MAX  (1 << 20) /* bytes of diagnostics in one */

/* A request of the admin page that gets its answer when the fate of the file is known. */
struct waiter {
    struct mp_list link;
    struct mp_admin_call *call;
    char *warnings; /* of its configuration; NULL until that is known */
};

/* One build. The thread has it until it posts it back. */
struct job {
    struct mp_msg msg; /* first */
    struct mp_reload *reload;
    struct mp_thread *thread;
    struct mp_snapshot *base; /* a reference; NULL before the first publication */
    struct mp_snapshot *snap; /* the result; NULL: refused */
    struct mp_diag diag;
};

struct mp_reload {
    struct mp_engine *engine;
    const struct mp_options *opts;
    struct job *job;        /* under way; NULL: none */
    const char *again;      /* asked for during the build: why; NULL: not */
    struct mp_list current; /* waiters for the build under way */
    struct mp_list next;    /* for the one after it */
    struct mp_list applied; /* for publication, and then for the workers to have it */
    uint32_t n_waiters;
    uint64_t generation; /* last one published */
    bool closed;
};

/* The page has no argument of its own. */
static struct mp_reload *the_reload;

/* ---- answers ---- */

static char *format_diag(const struct mp_diag *diag)
{
    struct mp_sb sb;
    mp_sb_init(&sb, ANSWER_MAX);
    mp_diag_format(diag, &sb);
    char *text = mp_str_dup_c(mp_sb_str(&sb));
    mp_sb_fini(&sb);
    return text;
}

/* status 200: the running configuration is that of the file. */
static void answer_all(struct mp_reload *r, struct mp_list *waiters, unsigned status,
                       const char *text)
{
    const struct mp_snapshot *s = r->engine->snap;
    struct mp_list *it;
    while ((it = mp_list_pop_front(waiters)) != NULL) {
        struct waiter *w = MP_CONTAINER_OF(it, struct waiter, link);
        struct mp_sb *out = &w->call->out;
        w->call->status = status;
        if (status == 200) {
            mp_sb_printf(out, "configuration is live: generation %llu, %u listeners, %u clusters\n",
                         (unsigned long long)s->generation, s->n_listeners, s->n_clusters);
        }
        mp_sb_add_c(out, w->warnings != NULL ? w->warnings : "");
        mp_sb_add_c(out, text);
        mp_admin_finish(w->call);
        free(w->warnings);
        free(w);
        r->n_waiters--;
    }
}

static void log_item(const char *file, const struct mp_diag_item *i)
{
    mp_log(i->level == MP_DIAG_ERROR ? MP_LOG_ERROR : MP_LOG_WARNING, "configuration",
           kv_c("file", i->file != NULL ? i->file : file), kv_u64("line", i->line),
           kv_c("path", i->path != NULL ? i->path : ""), kv_c("cause", i->cause),
           kv_c("cure", i->cure != NULL ? i->cure : ""));
}

static void log_diag(const struct mp_reload *r, const struct mp_diag *diag)
{
    for (size_t i = 0; i < diag->n; i++) {
        log_item(r->opts->config, &diag->items[i]);
    }
}

static void refuse(struct mp_reload *r, const struct mp_diag *diag)
{
    char *text = format_diag(diag);
    mp_log(MP_LOG_ERROR, "configuration refused, the running one stays",
           kv_c("file", r->opts->config), kv_u64("errors", diag->errors));
    mp_engine_refused(r->engine, diag);
    mp_service_ready("serving: the last configuration was refused");
    answer_all(r, &r->current, 400, text);
    free(text);
}

/* ---- building ---- */

static void build(void *arg)
{
    struct job *j = arg;
    struct mp_engine *e = j->reload->engine;
    struct mp_conf *conf;
    mp_err err = mp_config_load(j->reload->opts, &j->diag, &conf);
    if (!mp_is_err(err)) {
        err = mp_engine_build(e, j->base, conf, &j->diag, &j->snap);
    }
    MP_ASSERT(mp_is_err(err) == (j->snap == NULL));
    mp_mailbox_post(&e->main->w.mailbox, &j->msg);
}

/* Listeners that are closed for good must not come back by a new configuration. */
static bool is_stopping(const struct mp_engine *e)
{
    return e->drain_deadline_ms != 0;
}

static void apply(struct mp_reload *r, struct job *j)
{
    struct mp_snapshot *snap = j->snap;
    uint64_t generation = snap->generation;
    j->snap = NULL;
    if (mp_is_err(mp_engine_apply(r->engine, snap, &j->diag))) {
        log_diag(r, &j->diag);
        refuse(r, &j->diag);
        return;
    }
    log_diag(r, &j->diag); /* warnings */
    struct mp_list *it;
    while ((it = mp_list_pop_front(&r->current)) != NULL) {
        MP_CONTAINER_OF(it, struct waiter, link)->warnings = format_diag(&j->diag);
        mp_list_push_back(&r->applied, it);
    }
    if (r->generation >= generation) {
        mp_reload_published(r, r->generation); /* it was, before the waiters were in the list */
    }
}

static void start(struct mp_reload *r, const char *why);

static void deliver(struct mp_msg *m, void *receiver)
{
    struct job *j = MP_CONTAINER_OF(m, struct job, msg);
    struct mp_reload *r = j->reload;
    (void)receiver;
    mp_thread_join(j->thread);
    r->job = NULL;
    if (r->closed || is_stopping(r->engine)) {
        answer_all(r, &r->current, 503, "the server is draining\n");
    } else if (j->snap == NULL) {
        log_diag(r, &j->diag);
        refuse(r, &j->diag);
    } else {
        apply(r, j);
    }
    if (j->snap != NULL) {
        mp_snapshot_unref(j->snap);
    }
    if (j->base != NULL) {
        mp_snapshot_unref(j->base);
    }
    mp_diag_fini(&j->diag);
    free(j);
    if (r->again != NULL) {
        const char *why = r->again;
        r->again = NULL;
        start(r, why);
    }
}

static void start(struct mp_reload *r, const char *why)
{
    struct mp_list *it;
    while ((it = mp_list_pop_front(&r->next)) != NULL) {
        mp_list_push_back(&r->current, it);
    }
    if (r->closed || is_stopping(r->engine)) {
        mp_log(MP_LOG_WARNING, "no reload: the server is draining", kv_c("cause", why));
        answer_all(r, &r->current, 503, "the server is draining\n");
        return;
    }
    mp_log(MP_LOG_INFO, "reloading the configuration", kv_c("file", r->opts->config),
           kv_c("cause", why));
    mp_service_reloading();
    struct job *j = mp_xcalloc(1, sizeof(*j));
    j->msg.deliver = deliver;
    j->reload = r;
    j->base = r->engine->snap;
    mp_diag_init(&j->diag, r->opts->config);
    if (j->base != NULL) {
        mp_snapshot_ref(j->base);
    }
    r->job = j;
    mp_err err = mp_thread_start("builder", -1, build, j, &j->thread);
    if (mp_is_err(err)) {
        (void)mp_diag_error(&j->diag, MP_E_IO, 0, NULL, NULL, "cannot start a thread: %s",
                            mp_err_text(err));
        mp_mailbox_post(&r->engine->main->w.mailbox,
                        &j->msg); /* a page must not be answered from inside of it */
    }
}

void mp_reload_request(struct mp_reload *r, const char *why)
{
    if (r->job != NULL) {
        r->again = why;
        return;
    }
    start(r, why);
}

static void pass(struct mp_core_worker *cw, void *arg)
{
    (void)cw;
    (void)arg;
}

static void adopted(void *arg)
{
    (void)arg;
    if (the_reload != NULL) {
        answer_all(the_reload, &the_reload->applied, 200, "");
    }
}

void mp_reload_published(struct mp_reload *r, uint64_t generation)
{
    r->generation = generation;
    if (!mp_list_empty(&r->applied)) {
        /* Behind the new configuration in every mailbox: whoever asked sees it at once. */
        mp_engine_for_each_worker(r->engine, pass, adopted, NULL);
    }
}

/* ---- the page ---- */

static void page_reload(struct mp_admin_call *call)
{
    struct mp_reload *r = the_reload;
    if (r == NULL || r->n_waiters >= WAITERS_MAX) {
        mp_admin_fail(call, 503, "%s\n", r == NULL ? "not ready" : "too many reloads wait");
        return;
    }
    if (is_stopping(r->engine)) {
        mp_admin_fail(call, 503, "the server is draining\n");
        return;
    }
    struct waiter *w = mp_xcalloc(1, sizeof(*w));
    w->call = call;
    call->later = true;
    r->n_waiters++;
    mp_list_push_back(&r->next, &w->link);
    mp_reload_request(r, "admin request");
}

static const struct mp_admin_page page = {
    "/reload", MP_METHOD_POST, page_reload,
    "read the configuration file again; 400 and why when it is refused", NULL};

/* ---- life ---- */

struct mp_reload *mp_reload_new(struct mp_engine *e, const struct mp_options *opts)
{
    struct mp_reload *r = mp_xcalloc(1, sizeof(*r));
    r->engine = e;
    r->opts = opts;
    mp_list_init(&r->current);
    mp_list_init(&r->next);
    mp_list_init(&r->applied);
    the_reload = r;
    mp_admin_register(&page);
    return r;
}

struct mp_reload *mp_reload_free(struct mp_reload *r)
{
    if (r == NULL) {
        return NULL;
    }
    r->closed = true;
    r->again = NULL;
    the_reload = NULL;
    if (r->job != NULL) {
        /* Joined here, so that its message is certain to be there. */
        struct mp_thread *t = r->job->thread;
        r->job->thread = NULL;
        mp_thread_join(t);
        mp_mailbox_drain(&r->engine->main->w.mailbox);
    }
    answer_all(r, &r->next, 503, "the server is draining\n");
    answer_all(r, &r->applied, 503, "the server is draining\n");
    free(r);
    return NULL;
}
