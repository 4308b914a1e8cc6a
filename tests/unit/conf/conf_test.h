/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A registry and short ways for the tests of conf. */
#pragma once
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/hash.h"
#include "conf/load.h"
#include "conf/match.h"
#include "conf/pb.h"
#include "envoy_config_route_v3.pb-c.h"
#include "envoy_extensions_filters_http_health_check_v3.pb-c.h"
#include "envoy_extensions_filters_http_router_v3.pb-c.h"
#include "marchproxy_config_v1.pb-c.h"

/* The router takes nothing but its message. */
static mp_err ct_parse_router(const ProtobufCMessage *m, struct mp_arena *arena,
                              const struct mp_conf_where *w, void **ret)
{
    *ret = mp_arena_zalloc(arena, 8);
    return MP_OK;
}

/* pass_through_mode is required, as in the real filter. */
struct ct_health {
    struct mp_conf_header_match *headers;
    size_t n;
};
static mp_err ct_parse_health(const ProtobufCMessage *m, struct mp_arena *arena,
                              const struct mp_conf_where *w, void **ret)
{
    const Envoy__Extensions__Filters__Http__HealthCheck__V3__HealthCheck *h = (const void *)m;
    struct ct_health *out = mp_arena_zalloc(arena, sizeof(*out));
    if (!h->pass_through_mode) {
        return mp_conf_error(w, MP_E_INVALID, "pass_through_mode", "add pass_through_mode: false",
                             "pass_through_mode is missing");
    }
    MP_TRY(mp_conf_header_matches(h->headers, h->n_headers, w, "headers", arena, &out->headers));
    out->n = h->n_headers;
    *ret = out;
    return MP_OK;
}

/* A filter of our own, with a configuration per route; the message of the limits serves as its
 * configuration. */
static mp_err ct_parse_own(const ProtobufCMessage *m, struct mp_arena *arena,
                           const struct mp_conf_where *w, void **ret)
{
    const Marchproxy__Config__V1__Route *own = (const void *)m;
    if (own->timeout < 0) {
        return mp_conf_error(w, MP_E_INVALID, "timeout", "use 0 or more", "timeout is negative");
    }
    *ret = (void *)mp_arena_dup(arena, mp_str_c(own->name)).p;
    return MP_OK;
}

static const struct mp_conf_filter_type ct_router = {
    .name = "envoy.filters.http.router",
    .message = &envoy__extensions__filters__http__router__v3__router__descriptor,
    .terminal = true,
    .parse = ct_parse_router,
};
static const struct mp_conf_filter_type ct_health = {
    .name = "envoy.filters.http.health_check",
    .message = &envoy__extensions__filters__http__health_check__v3__health_check__descriptor,
    .parse = ct_parse_health,
};
static const struct mp_conf_filter_type ct_own = {
    .name = "marchproxy.filters.http.own",
    .message = &marchproxy__config__v1__route__descriptor,
    .route_message = &marchproxy__config__v1__route__descriptor,
    .parse = ct_parse_own,
    .parse_route = ct_parse_own,
};
static const struct mp_conf_filter_type *const ct_filters[] = {&ct_health, &ct_own, &ct_router,
                                                               NULL};

/* %NAME% or %NAME(anything)%, and %% for itself. */
static mp_err ct_check_format(struct mp_str f, const char **ret_cause)
{
    for (size_t i = 0; i < f.n; i++) {
        if (f.p[i] != '%') {
            continue;
        }
        struct mp_str name = mp_str(f.p + i + 1, f.n - i - 1);
        int open = 0;
        for (i++; i < f.n && (f.p[i] != '%' || open > 0); i++) {
            open += f.p[i] == '(';
            open -= f.p[i] == ')';
        }
        if (i == f.n) {
            *ret_cause = "% without an end";
            return MP_FAIL(INVALID);
        }
        if (mp_str_starts(name, MP_STR("NOPE"))) {
            *ret_cause = "unknown operator NOPE";
            return MP_FAIL(INVALID);
        }
    }
    return MP_OK;
}

static const struct mp_conf_registry ct_registry = {.http_filters = ct_filters,
                                                    .check_format = ct_check_format};

static inline const char *ct_getenv(const char *name)
{
    return strcmp(name, "CT_HOST") == 0 ? "127.0.0.9" : strcmp(name, "CT_EMPTY") == 0 ? "" : NULL;
}

/* The model, or NULL; text gets what was reported (heap). */
static inline struct mp_conf *ct_load(const char *doc, bool allow, char **ret_text)
{
    struct mp_conf_load_opts opts = {
        .registry = &ct_registry, .allow_unsupported = allow, .getenv = ct_getenv};
    struct mp_diag diag;
    struct mp_sb sb;
    struct mp_conf *c = NULL;
    mp_diag_init(&diag, NULL);
    mp_sb_init(&sb, 1 << 20);
    mp_err err = mp_conf_load_text(mp_str_c(doc), "f", &opts, &diag, &c);
    mp_diag_format(&diag, &sb);
    *ret_text = mp_str_dup_c(mp_sb_str(&sb));
    MP_ASSERT(mp_is_err(err) == (c == NULL));
    MP_ASSERT(mp_is_err(err) == (diag.errors > 0));
    mp_diag_fini(&diag);
    mp_sb_fini(&sb);
    return c;
}

/* A whole file, heap; NULL when it cannot be read. */
static inline char *ct_read(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        return NULL;
    }
    char *out = NULL;
    size_t n = 0, got;
    do {
        out = realloc(out, n + 4097);
        got = fread(out + n, 1, 4096, f);
        n += got;
    } while (got > 0);
    out[n] = '\0';
    fclose(f);
    return out;
}
