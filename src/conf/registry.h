/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Which extension configurations exist: a constant table, given to the loader by proxy/main, so
 * that conf knows no filter. "type" is the full name of the protobuf message of typed_config.
 */
#pragma once
#include <protobuf-c/protobuf-c.h>
#include "base/arena.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/str.h"

/* Where the parser is in the file, for its error messages. Tests of a parser may leave line_of and
 * lines NULL. */
struct mp_conf_where {
    struct mp_diag *diag;
    const char *
        path; /* "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters[1]"
               */
    size_t (*line_of)(const struct mp_conf_where *w, const char *subpath); /* 0: unknown */
    const void *lines;                                                     /* private to line_of */
};
/* Reports an error at path.sub. Returns the code. */
mp_err mp_conf_error(const struct mp_conf_where *w, enum mp_err_code code, const char *sub,
                     const char *cure, const char *cause_fmt, ...) MP_PRINTF(5, 6);
void mp_conf_warn(const struct mp_conf_where *w, const char *sub, const char *cure,
                  const char *cause_fmt, ...) MP_PRINTF(4, 5);

struct mp_conf_filter_type {
    /* Canonical: "envoy.filters.http.router". One named marchproxy.filters.http.<x> is also <x> in
     * the filters: of a simple file, in front of the router in the order of the table. */
    const char *name;
    const ProtobufCMessageDescriptor *message; /* of the chain's typed_config */
    const ProtobufCMessageDescriptor
        *route_message; /* of typed_per_filter_config; NULL: none allowed */
    bool terminal;
    /* Checks m and makes the filter's own configuration in the arena. m has passed the generic
     * checks; it lives only during the call: text that is kept must be copied. */
    mp_err (*parse)(const ProtobufCMessage *m, struct mp_arena *arena,
                    const struct mp_conf_where *w, void **ret);
    mp_err (*parse_route)(const ProtobufCMessage *m, struct mp_arena *arena,
                          const struct mp_conf_where *w, void **ret);
    const void *impl; /* const struct mp_filter_type * for core; opaque here */
};
struct mp_conf_registry {
    const struct mp_conf_filter_type *const *http_filters; /* ends with NULL */
    /* Checks a format string with %OPERATORS% (access log, header values); NULL accepts literals
     * only. */
    mp_err (*check_format)(struct mp_str format, const char **ret_cause);
};
