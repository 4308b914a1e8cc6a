/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A value without operators is laid out at build time as "name: value\r\n", the form that the
 * HTTP/1 writer sends in one piece, and only borrowed by the header map.
 */
#include "core/header_ops.h"

#include "core/stream.h"
#include "core/subst.h"

#define VALUE_MAX (16 * 1024)

struct add {
    struct mp_str name;
    struct mp_str literal; /* p NULL: evaluate value */
    const struct mp_subst *value;
    enum mp_conf_append action;
    bool keep_empty;
};
struct direction {
    struct add *adds;
    struct mp_str *removes;
    uint32_t n_adds, n_removes;
    bool computed; /* some value is not literal */
};
struct mp_header_ops {
    struct direction request, response;
};

/* Framing, routing and the connection are the proxy's: a configured header could contradict the
 * message. */
static const enum mp_hdr_id never_added[] = {
    MP_HDR_HOST,    MP_HDR_CONTENT_LENGTH, MP_HDR_TRANSFER_ENCODING, MP_HDR_CONNECTION,
    MP_HDR_TE,      MP_HDR_KEEP_ALIVE,     MP_HDR_PROXY_CONNECTION,  MP_HDR_TRAILER,
    MP_HDR_UPGRADE, MP_HDR_HTTP2_SETTINGS};
static const enum mp_hdr_id never_removed[] = {MP_HDR_HOST, MP_HDR_CONTENT_LENGTH,
                                               MP_HDR_TRANSFER_ENCODING};

static bool is_one_of(struct mp_str name, const enum mp_hdr_id *ids, size_t n)
{
    enum mp_hdr_id id = mp_hdr_id_of(name.p, name.n);
    for (size_t i = 0; i < n; i++) {
        if (ids[i] == id) {
            return true;
        }
    }
    return false;
}

static bool is_lower(struct mp_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] >= 'A' && s.p[i] <= 'Z') {
            return false;
        }
    }
    return true;
}

/* verb: "add" or "remove". */
static mp_err check_name(struct mp_str name, const enum mp_hdr_id *never, size_t n_never,
                         const char *verb, struct mp_diag *diag)
{
    if (name.n > 0 && name.p[0] == ':') {
        return mp_diag_error(diag, MP_E_INVALID, 0, NULL, "use the route's rewrite fields",
                             "cannot %s the pseudo-header \"%.*s\"", verb, MP_STR_ARG(name));
    }
    if (!mp_hdr_name_ok(name) || !is_lower(name)) {
        return mp_diag_error(diag, MP_E_INVALID, 0, NULL, NULL,
                             "cannot %s \"%.*s\": not a header name in lower case", verb,
                             MP_STR_ARG(name));
    }
    if (is_one_of(name, never, n_never)) {
        return mp_diag_error(diag, MP_E_UNSUPPORTED, 0, NULL, NULL,
                             "cannot %s \"%.*s\": the proxy sets it itself", verb,
                             MP_STR_ARG(name));
    }
    return MP_OK;
}

static mp_err no_room(struct mp_diag *diag)
{
    return mp_diag_error(diag, MP_E_LIMIT, 0, NULL, NULL, "the header operations are too large");
}

/* Into the arena as "name: value\r\n"; *name and *value point there afterwards. */
static bool lay_out(struct mp_arena *arena, struct mp_str *name, struct mp_str *value)
{
    char *p = mp_arena_bytes(arena, name->n + value->n + 4);
    if (p == NULL) {
        return false;
    }
    memcpy(p, name->p, name->n);
    memcpy(p + name->n, ": ", 2);
    char *v = p + name->n + 2;
    if (value->n > 0) {
        memcpy(v, value->p, value->n);
    }
    memcpy(v + value->n, "\r\n", 2);
    *name = mp_str(p, name->n);
    *value = mp_str(v, value->n);
    return true;
}

static mp_err build_add(const struct mp_conf_header_add *conf, struct mp_arena *arena,
                        struct mp_diag *diag, struct add *ret)
{
    MP_TRY(check_name(conf->name, never_added, MP_COUNTOF(never_added), "add", diag));
    const char *cause = "";
    *ret = (struct add){.action = conf->action, .keep_empty = conf->keep_empty};
    mp_err err = mp_subst_compile(conf->value, arena, &ret->value, &cause);
    if (mp_is_err(err)) {
        return mp_diag_error(diag, err.code, 0, NULL, NULL, "value of header \"%.*s\": %s",
                             MP_STR_ARG(conf->name), cause);
    }
    if (!mp_hdr_value_ok(conf->value)) {
        return mp_diag_error(diag, MP_E_INVALID, 0, NULL, NULL,
                             "value of header \"%.*s\": control characters are not allowed",
                             MP_STR_ARG(conf->name));
    }
    struct mp_str literal = mp_subst_literal(ret->value);
    bool is_literal = literal.p != NULL;
    literal = mp_str_trim(literal);
    ret->name = conf->name;
    if (!lay_out(arena, &ret->name, &literal)) {
        return no_room(diag);
    }
    ret->literal = is_literal ? literal : mp_str(NULL, 0);
    return MP_OK;
}

static mp_err build_direction(const struct mp_conf_header_add *adds, uint32_t n_adds,
                              const struct mp_str *removes, uint32_t n_removes,
                              struct mp_arena *arena, struct mp_diag *diag, struct direction *ret)
{
    ret->adds = mp_arena_zalloc(arena, n_adds * sizeof(*ret->adds));
    ret->removes = mp_arena_zalloc(arena, n_removes * sizeof(*ret->removes));
    if (ret->adds == NULL || ret->removes == NULL) {
        return no_room(diag);
    }
    mp_err first = MP_OK;
    for (uint32_t i = 0; i < n_adds; i++) {
        mp_err err = build_add(&adds[i], arena, diag, &ret->adds[i]);
        first = mp_is_err(first) ? first : err;
        ret->computed |= ret->adds[i].literal.p == NULL;
    }
    for (uint32_t i = 0; i < n_removes; i++) {
        mp_err err =
            check_name(removes[i], never_removed, MP_COUNTOF(never_removed), "remove", diag);
        first = mp_is_err(first) ? first : err;
        ret->removes[i] = removes[i];
    }
    ret->n_adds = n_adds;
    ret->n_removes = n_removes;
    return first;
}

mp_err mp_header_ops_build(const struct mp_conf_header_ops *conf, struct mp_arena *arena,
                           struct mp_diag *diag, const struct mp_header_ops **ret)
{
    if (conf->n_req_add == 0 && conf->n_resp_add == 0 && conf->n_req_remove == 0 &&
        conf->n_resp_remove == 0) {
        *ret = NULL;
        return MP_OK;
    }
    struct mp_header_ops *ops = mp_arena_zalloc(arena, sizeof(*ops));
    if (ops == NULL) {
        return no_room(diag);
    }
    mp_err request = build_direction(conf->req_add, conf->n_req_add, conf->req_remove,
                                     conf->n_req_remove, arena, diag, &ops->request);
    MP_TRY(build_direction(conf->resp_add, conf->n_resp_add, conf->resp_remove, conf->n_resp_remove,
                           arena, diag, &ops->response));
    MP_TRY(request);
    *ret = ops;
    return MP_OK;
}

/* All values are computed before the first one is set: they see the headers as they came. */
static mp_err compute(const struct direction *d, const struct mp_stream *s, struct mp_arena *arena,
                      struct mp_str *values)
{
    char text[VALUE_MAX];
    for (uint32_t i = 0; i < d->n_adds; i++) {
        const struct add *a = &d->adds[i];
        values[i] = a->literal;
        if (a->literal.p != NULL) {
            continue;
        }
        size_t n = mp_subst_eval(a->value, s, text, sizeof(text), true);
        if (n == sizeof(text)) {
            return MP_FAIL(LIMIT); /* cut */
        }
        struct mp_str name = a->name;
        values[i] = mp_str_trim(mp_str(text, n));
        if (!lay_out(arena, &name, &values[i])) {
            return MP_FAIL(LIMIT);
        }
    }
    return MP_OK;
}

static mp_err apply_add(const struct add *a, struct mp_str value, struct mp_hdrs *h)
{
    /* The name that lies before the value, so that the two can be sent in one piece. */
    struct mp_str name = mp_str(value.p - 2 - a->name.n, a->name.n);
    struct mp_hdr *there = a->action != MP_APPEND_IF_EXISTS_OR_ADD ? mp_hdrs_find(h, name) : NULL;
    switch (a->action) {
    case MP_APPEND_IF_EXISTS_OR_ADD:
        break;
    case MP_ADD_IF_ABSENT:
        if (there != NULL) {
            return MP_OK;
        }
        break;
    case MP_OVERWRITE_OR_ADD:
    case MP_OVERWRITE_IF_EXISTS:
        if (there == NULL && a->action == MP_OVERWRITE_IF_EXISTS) {
            return MP_OK;
        }
        if (there != NULL) {
            mp_hdrs_remove_name(h, name);
        }
        break;
    }
    return mp_hdrs_add(h, name, value);
}

static mp_err apply(const struct direction *d, const struct mp_stream *s, struct mp_hdrs *h)
{
    for (uint32_t i = 0; i < d->n_removes; i++) {
        mp_hdrs_remove_name(h, d->removes[i]);
    }
    struct mp_str *values = NULL;
    if (d->computed) {
        values = mp_arena_alloc(h->arena, d->n_adds * sizeof(*values));
        if (values == NULL) {
            return MP_FAIL(LIMIT);
        }
        MP_TRY(compute(d, s, h->arena, values));
    }
    for (uint32_t i = 0; i < d->n_adds; i++) {
        const struct add *a = &d->adds[i];
        struct mp_str value = values != NULL ? values[i] : a->literal;
        if (value.n > 0 || a->keep_empty) {
            MP_TRY(apply_add(a, value, h));
        }
    }
    return MP_OK;
}

mp_err mp_header_ops_request(const struct mp_header_ops *ops, struct mp_stream *s,
                             struct mp_hdrs *h)
{
    return apply(&ops->request, s, h);
}

mp_err mp_header_ops_response(const struct mp_header_ops *ops, struct mp_stream *s,
                              struct mp_hdrs *h)
{
    return apply(&ops->response, s, h);
}
