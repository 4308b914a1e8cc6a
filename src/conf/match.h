/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Conditions on headers and query parameters, for routes and for filters that have such. */
#pragma once
#include "conf/model.h"
#include "conf/registry.h"
#include "envoy_config_route_v3.pb-c.h"

/* sub: name of the field that holds the list ("headers"). */
MP_MUST_USE mp_err mp_conf_header_matches(Envoy__Config__Route__V3__HeaderMatcher *const *list,
                                          size_t n, const struct mp_conf_where *w, const char *sub,
                                          struct mp_arena *arena,
                                          struct mp_conf_header_match **ret);
MP_MUST_USE mp_err
mp_conf_query_matches(Envoy__Config__Route__V3__QueryParameterMatcher *const *list, size_t n,
                      const struct mp_conf_where *w, const char *sub, struct mp_arena *arena,
                      struct mp_conf_header_match **ret);
/* A pattern that is given and not empty; what it means is the regex engine's. */
mp_err mp_conf_regex(const Envoy__Type__Matcher__V3__RegexMatcher *m, const struct mp_conf_where *w,
                     const char *sub, struct mp_arena *arena, struct mp_str *ret);
/* Lower-case copy of a header name; p NULL when it is none. pseudo: ":path" and its like are names
 * too. */
struct mp_str mp_conf_header_name(const char *name, bool pseudo, struct mp_arena *arena);
