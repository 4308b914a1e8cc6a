/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "conf/match.h"

#include <stdio.h>

#include "base/assert.h"

typedef Envoy__Config__Route__V3__HeaderMatcher pb_header_matcher;
typedef Envoy__Config__Route__V3__QueryParameterMatcher pb_query_matcher;
typedef Envoy__Type__Matcher__V3__StringMatcher pb_string_matcher;
#define STRING(value) ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_##value
#define HEADER(value) ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_##value
#define QUERY(value) \
    ENVOY__CONFIG__ROUTE__V3__QUERY_PARAMETER_MATCHER__QUERY_PARAMETER_MATCH_SPECIFIER_##value

static mp_err dup(struct mp_arena *arena, const char *z, struct mp_str *ret)
{
    struct mp_str s = mp_arena_dup(arena, mp_str_c(z));
    if (!s.p) {
        return MP_FAIL(LIMIT);
    }
    *ret = s;
    return MP_OK;
}

static bool is_token_char(char c)
{
    return ((c | 32) >= 'a' && (c | 32) <= 'z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

struct mp_str mp_conf_header_name(const char *name, bool pseudo, struct mp_arena *arena)
{
    static const char *const pseudos[] = {":path", ":method", ":authority", ":scheme"};
    struct mp_str s = mp_arena_dup(arena, mp_str_c(name));
    char *p = (char *)s.p;
    if (!p || s.n == 0) {
        return mp_str(NULL, 0);
    }
    for (size_t i = 0; i < s.n; i++) {
        p[i] = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] + 32) : p[i];
    }
    for (size_t i = 0; pseudo && i < MP_COUNTOF(pseudos); i++) {
        if (strcmp(p, pseudos[i]) == 0) {
            return s;
        }
    }
    for (size_t i = 0; i < s.n; i++) {
        if (!is_token_char(p[i])) {
            return mp_str(NULL, 0);
        }
    }
    return s;
}

mp_err mp_conf_regex(const Envoy__Type__Matcher__V3__RegexMatcher *m, const struct mp_conf_where *w,
                     const char *sub, struct mp_arena *arena, struct mp_str *ret)
{
    if (!m || m->regex[0] == '\0') {
        return mp_conf_error(w, MP_E_INVALID, sub, "add regex", "the pattern is empty");
    }
    return dup(arena, m->regex, ret);
}

static mp_err literal(enum mp_conf_string_match kind, const char *z, const struct mp_conf_where *w,
                      const char *sub, struct mp_arena *arena, struct mp_conf_header_match *ret)
{
    /* An empty prefix, suffix or part is in everything: that is said with present_match. */
    if (kind != MP_MATCH_EXACT && z[0] == '\0') {
        return mp_conf_error(w, MP_E_INVALID, sub, "use present_match to accept every value",
                             "the text is empty");
    }
    ret->kind = kind;
    return dup(arena, z, &ret->value);
}

static mp_err string_match(const pb_string_matcher *m, const struct mp_conf_where *w,
                           const char *sub, struct mp_arena *arena,
                           struct mp_conf_header_match *ret)
{
    ret->ignore_case = m->ignore_case;
    switch (m->match_pattern_case) {
    case STRING(EXACT):
        return literal(MP_MATCH_EXACT, m->exact, w, sub, arena, ret);
    case STRING(PREFIX):
        return literal(MP_MATCH_PREFIX, m->prefix, w, sub, arena, ret);
    case STRING(SUFFIX):
        return literal(MP_MATCH_SUFFIX, m->suffix, w, sub, arena, ret);
    case STRING(CONTAINS):
        return literal(MP_MATCH_CONTAINS, m->contains, w, sub, arena, ret);
    case STRING(SAFE_REGEX):
        if (m->ignore_case) {
            return mp_conf_error(w, MP_E_INVALID, sub, "begin the pattern with (?i)",
                                 "ignore_case does not go with safe_regex");
        }
        ret->kind = MP_MATCH_REGEX;
        return mp_conf_regex(m->safe_regex, w, sub, arena, &ret->value);
    default:
        return mp_conf_error(w, MP_E_INVALID, sub,
                             "add exact, prefix, suffix, contains or safe_regex",
                             "the match is empty");
    }
}

static mp_err range_match(const Envoy__Type__V3__Int64Range *m, const struct mp_conf_where *w,
                          const char *sub, struct mp_conf_header_match *ret)
{
    if (m->start >= m->end) {
        return mp_conf_error(w, MP_E_INVALID, sub,
                             "end is outside of the range: it must be above start",
                             "the range is empty");
    }
    ret->kind = MP_MATCH_RANGE;
    ret->range_from = m->start;
    ret->range_to = m->end;
    return MP_OK;
}

static mp_err header_match(const pb_header_matcher *m, const struct mp_conf_where *w,
                           const char *sub, struct mp_arena *arena,
                           struct mp_conf_header_match *ret)
{
    ret->invert = m->invert_match;
    ret->treat_missing_as_empty = m->treat_missing_header_as_empty;
    ret->name = mp_conf_header_name(m->name, true, arena);
    if (!ret->name.p) {
        return mp_conf_error(w, MP_E_INVALID, sub, NULL, "\"%s\" is not a header name", m->name);
    }
    switch (m->header_match_specifier_case) {
    case HEADER(EXACT_MATCH):
        return literal(MP_MATCH_EXACT, m->exact_match, w, sub, arena, ret);
    case HEADER(PREFIX_MATCH):
        return literal(MP_MATCH_PREFIX, m->prefix_match, w, sub, arena, ret);
    case HEADER(SUFFIX_MATCH):
        return literal(MP_MATCH_SUFFIX, m->suffix_match, w, sub, arena, ret);
    case HEADER(CONTAINS_MATCH):
        return literal(MP_MATCH_CONTAINS, m->contains_match, w, sub, arena, ret);
    case HEADER(SAFE_REGEX_MATCH):
        ret->kind = MP_MATCH_REGEX;
        return mp_conf_regex(m->safe_regex_match, w, sub, arena, &ret->value);
    case HEADER(STRING_MATCH):
        return string_match(m->string_match, w, sub, arena, ret);
    case HEADER(RANGE_MATCH):
        return range_match(m->range_match, w, sub, ret);
    case HEADER(PRESENT_MATCH):
        ret->kind = MP_MATCH_PRESENT;
        ret->present_value = m->present_match;
        return MP_OK;
    default: /* nothing given: the header must be there */
        ret->kind = MP_MATCH_PRESENT;
        ret->present_value = true;
        return MP_OK;
    }
}

static mp_err query_match(const pb_query_matcher *m, const struct mp_conf_where *w, const char *sub,
                          struct mp_arena *arena, struct mp_conf_header_match *ret)
{
    if (m->name[0] == '\0') {
        return mp_conf_error(w, MP_E_INVALID, sub, NULL, "name is missing");
    }
    MP_TRY(dup(arena, m->name, &ret->name));
    switch (m->query_parameter_match_specifier_case) {
    case QUERY(STRING_MATCH):
        return string_match(m->string_match, w, sub, arena, ret);
    case QUERY(PRESENT_MATCH):
        ret->kind = MP_MATCH_PRESENT;
        ret->present_value = m->present_match;
        return MP_OK;
    default:
        ret->kind = MP_MATCH_PRESENT;
        ret->present_value = true;
        return MP_OK;
    }
}

/* Every item is looked at, so that all errors are reported; the first is returned. */
#define DEFINE_LIST(function, one, message)                                                     \
    mp_err function(message *const *list, size_t n, const struct mp_conf_where *w,              \
                    const char *sub, struct mp_arena *arena, struct mp_conf_header_match **ret) \
    {                                                                                           \
        mp_err first = MP_OK;                                                                   \
        struct mp_conf_header_match *out = mp_arena_zalloc(arena, n * sizeof(*out));            \
        if (!out) {                                                                             \
            return MP_FAIL(LIMIT);                                                              \
        }                                                                                       \
        for (size_t i = 0; i < n; i++) {                                                        \
            char at[128];                                                                       \
            snprintf(at, sizeof(at), "%s[%zu]", sub, i);                                        \
            mp_err err = one(list[i], w, at, arena, &out[i]);                                   \
            first = mp_is_err(first) ? first : err;                                             \
        }                                                                                       \
        if (!mp_is_err(first)) {                                                                \
            *ret = out;                                                                         \
        }                                                                                       \
        return first;                                                                           \
    }
DEFINE_LIST(mp_conf_header_matches, header_match, pb_header_matcher)
DEFINE_LIST(mp_conf_query_matches, query_match, pb_query_matcher)
