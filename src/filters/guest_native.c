/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "filters/guest_native.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"

_Static_assert((int)MP_GUEST_AUTH_RAN == (int)MP_FILTER_MARK_AUTH, "the same bits");
_Static_assert((int)MP_GUEST_AUTH_EXEMPT == (int)MP_FILTER_MARK_EXEMPT, "the same bits");

#define CAUSE_MAX 512

/* ---- the request and its answer ---- */

struct mp_str mp_guest_method(const struct mp_guest *g)
{
    return mp_filter_request(g->filter)->method_name;
}

struct mp_str mp_guest_path(const struct mp_guest *g)
{
    return mp_filter_request(g->filter)->path;
}

struct mp_str mp_guest_authority(const struct mp_guest *g)
{
    return mp_filter_request(g->filter)->authority;
}

static struct mp_hdrs *fields_of(const struct mp_guest *g, enum mp_guest_fields which)
{
    switch (which) {
    case MP_GUEST_REQUEST:
        return &mp_filter_request(g->filter)->hdrs;
    case MP_GUEST_RESPONSE:
        return &g->response->hdrs;
    case MP_GUEST_TRAILERS:
        break;
    }
    return g->trailers;
}

unsigned mp_guest_field(const struct mp_guest *g, enum mp_guest_fields which, struct mp_str name,
                        struct mp_str *ret)
{
    const struct mp_hdrs *h = fields_of(g, which);
    enum mp_hdr_id id = mp_hdr_id_of(name.p, name.n);
    if (id != MP_HDR_OTHER && !mp_hdrs_maybe(h, id)) {
        return 0;
    }
    const struct mp_hdr *e = id != MP_HDR_OTHER ? mp_hdrs_get(h, id) : mp_hdrs_find(h, name);
    if (!e) {
        return 0;
    }
    *ret = mp_hdr_value(e);
    return mp_hdrs_next_same(h, e) ? 2 : 1;
}

bool mp_guest_add_field(struct mp_guest *g, enum mp_guest_fields which, struct mp_str name,
                        struct mp_str value)
{
    struct mp_hdrs *h = fields_of(g, which);
    /* The client's fields were counted when they came; ours are no fault of theirs. */
    h->max = UINT16_MAX;
    enum mp_hdr_id id = mp_hdr_id_of(name.p, name.n);
    return !mp_is_err(id != MP_HDR_OTHER ? mp_hdrs_add_id(h, id, value)
                                         : mp_hdrs_add(h, name, value));
}

bool mp_guest_add_own(struct mp_guest *g, enum mp_guest_fields which, enum mp_guest_own own,
                      struct mp_str value)
{
    static const uint8_t ids[] = {[MP_GUEST_X_AUTH_METHOD] = MP_HDR_X_AUTH_METHOD,
                                  [MP_GUEST_X_LICENSE_EDITION] = MP_HDR_X_LICENSE_EDITION,
                                  [MP_GUEST_X_LICENSE_KEY] = MP_HDR_X_LICENSE_KEY,
                                  [MP_GUEST_X_MARCHPROXY_EDITION] = MP_HDR_X_MARCHPROXY_EDITION};
    struct mp_hdrs *h = fields_of(g, which);
    h->max = UINT16_MAX;
    enum mp_hdr_id id = (enum mp_hdr_id)ids[own];
    return !mp_is_err(mp_hdrs_add_clean(h, id, mp_hdr_id_name(id), value, 0));
}

void mp_guest_strip_fields(struct mp_guest *g, enum mp_guest_fields which,
                           bool (*fits)(struct mp_str name))
{
    struct mp_hdrs *h = fields_of(g, which);
    for (uint16_t i = 0; i < h->n; i++) {
        struct mp_hdr *e = &h->v[i];
        if (e->name_n > 0 && fits(mp_hdr_name(e))) {
            mp_hdrs_remove(h, e);
        }
    }
}

enum mp_guest_verdict mp_guest_reply(struct mp_guest *g, unsigned status,
                                     const struct mp_guest_field *fields, size_t n,
                                     struct mp_str body, const char *details)
{
    struct mp_reply_header *h = mp_arena_alloc(mp_filter_arena(g->filter), (n + 1) * sizeof(*h));
    if (!h) {
        return MP_GUEST_ABORT;
    }
    for (size_t i = 0; i < n; i++) {
        h[i] = (struct mp_reply_header){fields[i].name, fields[i].value};
    }
    h[n] = (struct mp_reply_header){{NULL, 0}, {NULL, 0}};
    (void)mp_filter_reply(g->filter, status, h, body, details);
    return MP_GUEST_REPLIED;
}

void *mp_guest_alloc(struct mp_guest *g, size_t n)
{
    return mp_arena_alloc(mp_filter_arena(g->filter), n);
}

/* ---- facts ---- */

unsigned mp_guest_status(const struct mp_guest *g)
{
    return g->response ? g->response->status : mp_filter_response_status(g->filter);
}

uint64_t mp_guest_request_bytes(const struct mp_guest *g)
{
    return mp_filter_request_bytes(g->filter);
}

uint64_t mp_guest_response_bytes(const struct mp_guest *g)
{
    return mp_filter_response_bytes(g->filter);
}

uint64_t mp_guest_wall_ns(const struct mp_guest *g)
{
    return mp_filter_wall_ns(g->filter);
}

uint64_t mp_guest_now_ns(const struct mp_guest *g)
{
    return mp_filter_now_ns(g->filter);
}

uint64_t mp_guest_clock_ns(const struct mp_guest *g)
{
    return mp_filter_clock_ns(g->filter);
}

uint64_t mp_guest_start_ns(const struct mp_guest *g)
{
    return mp_filter_start_ns(g->filter);
}

uint64_t mp_guest_random(const struct mp_guest *g)
{
    return mp_filter_random(g->filter);
}

void mp_guest_mark(struct mp_guest *g, uint32_t bits)
{
    mp_filter_mark(g->filter, bits);
}

uint32_t mp_guest_marks(const struct mp_guest *g)
{
    return mp_filter_marks(g->filter);
}

bool mp_guest_proxies(const struct mp_guest *g, uint32_t *ret)
{
    return mp_filter_proxies(g->filter, ret);
}

/* ---- metrics ---- */

const struct mp_stat_block *mp_guest_stats(const struct mp_guest *g,
                                           const struct mp_stat_schema *schema, struct mp_str name)
{
    return mp_filter_stats(g->filter, schema, name);
}

const struct mp_stat_block *mp_guest_host_stats(struct mp_guest_host *h,
                                                const struct mp_stat_schema *schema,
                                                struct mp_str name)
{
    return mp_filter_host_stats((struct mp_filter_host *)(void *)h, schema, name);
}

bool mp_guest_host_has_stats(const struct mp_guest_host *h, const struct mp_stat_schema *schema)
{
    return mp_filter_host_has_stats((const struct mp_filter_host *)(const void *)h, schema);
}

bool mp_guest_host_proxies(const struct mp_guest_host *h, uint32_t *ret)
{
    return mp_filter_host_proxies((const struct mp_filter_host *)(const void *)h, ret);
}

/* ---- memory of a configuration on each thread ---- */

void *mp_guest_local(const struct mp_guest *g, struct mp_guest_locals *l)
{
    uint32_t writer = mp_filter_writer(g->filter);
    MP_ASSERT(writer < MP_GUEST_THREADS_MAX);
    if (MP_UNLIKELY(!l->v[writer])) {
        l->v[writer] = mp_xcalloc(1, l->size);
    }
    return l->v[writer];
}

static void free_locals(void *arg)
{
    struct mp_guest_locals *l = arg;
    for (size_t i = 0; i < MP_GUEST_THREADS_MAX; i++) {
        if (l->v[i] && l->fini) {
            l->fini(l->v[i]);
        }
        free(l->v[i]);
    }
}

struct mp_guest_locals *mp_guest_setup_locals(struct mp_guest_setup *s, size_t size,
                                              void (*fini)(void *p))
{
    struct mp_guest_locals *l = mp_guest_setup_alloc(s, sizeof(*l));
    l->size = size;
    l->fini = fini;
    mp_guest_setup_on_end(s, free_locals, l);
    return l;
}

/* ---- checking a configuration ---- */

void *mp_guest_setup_alloc(struct mp_guest_setup *s, size_t n)
{
    void *p = mp_arena_zalloc(s->arena, n);
    MP_ASSERT(p); /* a configuration's arena has no maximum */
    return p;
}

struct mp_str mp_guest_setup_dup(struct mp_guest_setup *s, struct mp_str text)
{
    struct mp_str copy = mp_arena_dup(s->arena, text);
    MP_ASSERT(copy.p);
    return copy;
}

void mp_guest_setup_on_end(struct mp_guest_setup *s, void (*fn)(void *arg), void *arg)
{
    bool ok = mp_arena_on_fini(s->arena, fn, arg);
    MP_ASSERT(ok);
}

void mp_guest_refuse(struct mp_guest_setup *s, const char *field, const char *cure,
                     const char *cause_fmt, ...)
{
    char cause[CAUSE_MAX];
    va_list ap;
    va_start(ap, cause_fmt);
    vsnprintf(cause, sizeof(cause), cause_fmt, ap);
    va_end(ap);
    mp_err err = mp_conf_error(s->where, MP_E_INVALID, field, cure, "%s", cause);
    s->err = mp_is_err(s->err) ? s->err : err;
}

void mp_guest_warn(struct mp_guest_setup *s, const char *field, const char *cure,
                   const char *cause_fmt, ...)
{
    char cause[CAUSE_MAX];
    va_list ap;
    va_start(ap, cause_fmt);
    vsnprintf(cause, sizeof(cause), cause_fmt, ap);
    va_end(ap);
    mp_conf_warn(s->where, field, cure, "%s", cause);
}

bool mp_guest_refused(const struct mp_guest_setup *s)
{
    return mp_is_err(s->err);
}
