/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Answers are text on the heap, some of them megabytes, and streams have a memory limit: so a
 * response is produced from the call in pieces, as fast as the client takes them.
 */
#include "admin/filter.h"

#include <stdio.h>
#include <stdlib.h>

#include "admin/access.h"
#include "admin/guard.h"
#include "admin/page.h"
#include "admin/pages.h"
#include "base/assert.h"
#include "base/mem.h"
#include "codec/uri.h"
#include "core/chan.h"
#include "core/engine.h"
#include "core/stream.h"

#define PIECE (32 * 1024)

struct admin_stream {
    struct mp_admin_call *call; /* NULL: over */
    const struct mp_admin_page *page;
    struct mp_str query; /* of the target */
    struct mp_sb body;   /* of the request; a form's parameters */
    bool answering;
    bool pumping;
    size_t sent;
};

/* ---- calls ---- */

struct mp_admin_call *mp_admin_call_new(struct mp_engine *e, enum mp_method method,
                                        struct mp_str path)
{
    struct mp_admin_call *call = mp_xcalloc(1, sizeof(*call));
    call->engine = e;
    call->method = method;
    call->path = mp_str(mp_str_dup_c(path), path.n);
    call->status = 200;
    call->content_type = MP_ADMIN_TEXT;
    mp_sb_init(&call->out, MP_ADMIN_BODY_MAX);
    return call;
}

struct mp_admin_call *mp_admin_call_free(struct mp_admin_call *call)
{
    if (call != NULL) {
        mp_admin_query_fini(&call->query);
        mp_sb_fini(&call->out);
        free((char *)(uintptr_t)call->path.p);
        free(call);
    }
    return NULL;
}

void mp_admin_fail(struct mp_admin_call *call, unsigned status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    call->status = status;
    call->content_type = MP_ADMIN_TEXT;
    mp_sb_reset(&call->out);
    mp_sb_vprintf(&call->out, fmt, ap);
    va_end(ap);
}

const struct mp_str *mp_admin_param(const struct mp_admin_call *call, const char *name)
{
    return mp_admin_query_get(&call->query, mp_str_c(name));
}

/* ---- the response ---- */

static void pump(struct mp_filter *f)
{
    struct admin_stream *st = mp_filter_state(f);
    if (st->pumping) {
        return;
    }
    st->pumping = true;
    while (st->call != NULL && st->sent < st->call->out.n && mp_filter_response_wanted(f)) {
        struct mp_str rest = mp_sb_str(&st->call->out);
        struct mp_str piece = mp_str(rest.p + st->sent, MP_MIN(rest.n - st->sent, (size_t)PIECE));
        st->sent += piece.n;
        mp_filter_respond_data(f, piece, st->sent == rest.n); /* at the end on_end frees the call */
    }
    st->pumping = false;
}

static mp_err add_fields(struct mp_hdrs *h, const struct mp_admin_call *call)
{
    MP_TRY(mp_hdrs_add_id(h, MP_HDR_CONTENT_TYPE, call->content_type));
    MP_TRY(mp_hdrs_add(h, MP_STR("cache-control"), MP_STR("no-cache, max-age=0")));
    MP_TRY(mp_hdrs_add(h, MP_STR("x-content-type-options"), MP_STR("nosniff")));
    if (call->challenge) {
        MP_TRY(mp_hdrs_add(h, MP_STR("www-authenticate"), MP_STR("Bearer")));
    }
    if (call->allow.n > 0) {
        MP_TRY(mp_hdrs_add(h, MP_STR("allow"), call->allow));
    }
    /* No page needs script, and none may be framed: a click in a frame would be of our own origin.
     */
    return mp_hdrs_add(h, MP_STR("content-security-policy"),
                       MP_STR("default-src 'none'; form-action 'self'; base-uri 'none'; "
                              "frame-ancestors 'none'"));
}

static void respond(struct mp_filter *f)
{
    struct admin_stream *st = mp_filter_state(f);
    struct mp_admin_call *call = st->call;
    if (call->out.overflow) {
        mp_admin_fail(call, 500, "the answer is larger than %zu bytes\n", MP_ADMIN_BODY_MAX);
    }
    st->answering = true;
    struct mp_resp_head *h = mp_arena_zalloc(mp_filter_arena(f), sizeof(*h));
    if (h != NULL) {
        h->status = call->status;
        h->has_content_length = true;
        h->content_length = call->out.n;
        mp_hdrs_init(&h->hdrs, mp_filter_arena(f), UINT16_MAX);
    }
    if (h == NULL || mp_is_err(add_fields(&h->hdrs, call))) {
        mp_filter_fail(f, 503, MP_FLAG_OVERLOAD, MP_STR(""), "overload");
        return;
    }
    bool end = call->out.n == 0 || call->method == MP_METHOD_HEAD;
    mp_filter_respond_headers(f, h, end);
    if (!end) {
        pump(f);
    }
}

void mp_admin_finish(struct mp_admin_call *call)
{
    struct mp_filter *f = call->filter;
    MP_ASSERT(call->later);
    call->later = false;
    if (f == NULL) {
        mp_admin_call_free(call);
        return;
    }
    struct mp_core_worker *cw = f->stream->cw;
    respond(f);
    mp_cork_flush(cw);
}

/* ---- the request ---- */

static bool parse_params(struct mp_filter *f, struct admin_stream *st)
{
    const struct mp_hdr *type = mp_hdrs_get(&mp_filter_request(f)->hdrs, MP_HDR_CONTENT_TYPE);
    bool form = st->body.n > 0 && type != NULL &&
                mp_str_eq(mp_hdr_value(type), MP_STR("application/x-www-form-urlencoded"));
    struct mp_str text = form ? mp_sb_str(&st->body) : st->query;
    mp_err err = mp_admin_query_parse(text, form, &st->call->query);
    if (!mp_is_err(err)) {
        return true;
    }
    if (err.code == MP_E_LIMIT) {
        mp_admin_fail(st->call, 400, "more than %d parameters\n", MP_ADMIN_PARAMS_MAX);
    } else {
        mp_admin_fail(st->call, 400, "a percent escape in the parameters is malformed\n");
    }
    return false;
}

static void run_page(struct mp_filter *f)
{
    struct admin_stream *st = mp_filter_state(f);
    struct mp_admin_call *call = st->call;
    if (parse_params(f, st)) {
        st->page->handle(call);
    }
    if (!call->later) {
        respond(f);
    }
}

/* Probes ask /ready without a token. */
static bool has_right(struct admin_stream *st, const struct mp_req_head *h)
{
    struct mp_admin_call *call = st->call;
    const struct mp_admin_access *access = call->engine->snap->admin_access;
    enum mp_admin_role role = mp_admin_role_of(access, &h->hdrs);
    if (st->page != NULL && st->page->handle == mp_admin_page_ready) {
        return true;
    }
    if (role == MP_ADMIN_NOBODY) {
        mp_admin_fail(call, 401, "a bearer token is needed\n");
        call->challenge = true;
        return false;
    }
    if (role == MP_ADMIN_READER && st->page != NULL && st->page->method == MP_METHOD_POST) {
        mp_admin_fail(call, 403, "this token may only read\n");
        return false;
    }
    return true;
}

/* Answers what no page gets to see. */
static bool admit(struct mp_filter *f, struct admin_stream *st, const struct mp_req_head *h)
{
    struct mp_admin_call *call = st->call;
    const struct mp_engine *e = call->engine;
    if (e == NULL || e->snap == NULL) {
        mp_admin_fail(call, 503, "PRE_INITIALIZING\n");
        return false;
    }
    bool changes = st->page != NULL && st->page->method == MP_METHOD_POST;
    const struct mp_admin_conf *conf = f->conf;
    const struct mp_conf_admin *where = &e->snap->conf->admin;
    bool loopback = mp_admin_is_loopback(conf->metrics_only ? &where->metrics : &where->addr);
    const char *refusal = mp_admin_refusal(loopback, changes, h->authority, &h->hdrs);
    if (refusal != NULL) {
        mp_admin_fail(call, 403, "%s\n", refusal);
        return false;
    }
    if (conf->metrics_only && (st->page == NULL || !mp_admin_is_metrics_page(st->page))) {
        mp_admin_fail(call, 404, "here are only /ready, /metrics and /stats/prometheus\n");
        return false;
    }
    if (!conf->metrics_only && !has_right(st, h)) {
        return false;
    }
    if (st->page == NULL) {
        mp_admin_fail(call, 404, "invalid path. ");
        mp_admin_list_pages(&call->out);
        return false;
    }
    bool reads = h->method == MP_METHOD_GET || h->method == MP_METHOD_HEAD;
    if (h->method == MP_METHOD_POST || (reads && !changes)) {
        return true;
    }
    mp_admin_fail(call, 405, "Method " MP_STR_FMT " not allowed, %s required.",
                  MP_STR_ARG(h->method_name), changes ? "POST" : "GET");
    call->allow = changes ? MP_STR("POST") : MP_STR("GET, HEAD");
    return false;
}

static enum mp_verdict on_request_headers(struct mp_filter *f, struct mp_req_head *h, bool end)
{
    struct admin_stream *st = mp_filter_state(f);
    const struct mp_admin_conf *conf = f->conf;
    struct mp_str path;
    bool has_query;
    mp_uri_split(h->path, &path, &st->query, &has_query);
    st->call = mp_admin_call_new(conf->engine, h->method, path);
    st->call->filter = f;
    st->page = mp_admin_find_page(path);
    mp_sb_init(&st->body, MP_ADMIN_REQUEST_BODY_MAX);
    if (!admit(f, st, h)) {
        respond(f);
    } else if (end) {
        run_page(f);
    }
    return MP_VERDICT_CONTINUE;
}

static enum mp_verdict on_request_data(struct mp_filter *f, struct mp_str data, bool end)
{
    struct admin_stream *st = mp_filter_state(f);
    if (st->call == NULL || st->answering) {
        return MP_VERDICT_CONTINUE; /* refused at its head: what follows is not looked at */
    }
    mp_sb_add(&st->body, data); /* cannot overflow: the manager has the same limit */
    if (end) {
        run_page(f);
    }
    return MP_VERDICT_CONTINUE;
}

static enum mp_verdict on_request_trailers(struct mp_filter *f, struct mp_hdrs *t)
{
    (void)t;
    return on_request_data(f, MP_STR(""), true);
}

static void on_response_writable(struct mp_filter *f)
{
    const struct admin_stream *st = mp_filter_state(f);
    if (st->answering) {
        pump(f);
    }
}

static void on_end(struct mp_filter *f)
{
    struct admin_stream *st = mp_filter_state(f);
    struct mp_admin_call *call = st->call;
    st->call = NULL;
    mp_sb_fini(&st->body);
    if (call == NULL) {
        return;
    }
    call->filter = NULL;
    if (call->after != NULL) {
        call->after(call->engine);
    }
    if (!call->later) {
        mp_admin_call_free(call);
    }
}

const struct mp_filter_type mp_filter_admin = {
    .name = "marchproxy.filters.http.admin",
    .state_size = sizeof(struct admin_stream),
    .on_request_headers = on_request_headers,
    .on_request_data = on_request_data,
    .on_request_trailers = on_request_trailers,
    .on_response_writable = on_response_writable,
    .on_end = on_end,
};
