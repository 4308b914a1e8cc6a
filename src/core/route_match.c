/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Conditions of a route on headers and query parameters, with Envoy's rules: a value that is absent
 * does not match, also not inverted, unless missing counts as empty; several fields of one name are
 * one value, joined by commas; query parameters are compared as they stand, the first one of a name
 * counts.
 */
#include "codec/hdr.h"
#include "core/filter.h"
#include "core/route_int.h"

static bool contains(struct mp_str s, struct mp_str part, bool ignore_case)
{
    if (!ignore_case) {
        return mp_str_find(s, part) >= 0;
    }
    for (size_t i = 0; part.n <= s.n && i <= s.n - part.n; i++) {
        if (mp_str_ieq(mp_str(s.p + i, part.n), part)) {
            return true;
        }
    }
    return false;
}

static bool equal(struct mp_str a, struct mp_str b, bool ignore_case)
{
    return ignore_case ? mp_str_ieq(a, b) : mp_str_eq(a, b);
}

/* Decimal with an optional sign, nothing else around it. */
static bool to_i64(struct mp_str s, int64_t *ret)
{
    bool negative = s.n > 0 && s.p[0] == '-';
    if (negative || (s.n > 0 && s.p[0] == '+')) {
        s = mp_str(s.p + 1, s.n - 1);
    }
    uint64_t v;
    if (mp_is_err(mp_str_to_u64(s, &v)) || v > (uint64_t)INT64_MAX + negative) {
        return false;
    }
    *ret = negative ? (int64_t)-v : (int64_t)v;
    return true;
}

static enum mp_regex_result value_matches(const struct route_condition *c, struct mp_str v)
{
    const struct mp_conf_header_match *m = c->conf;
    bool yes = false;
    int64_t number;
    switch (m->kind) {
    case MP_MATCH_EXACT:
        yes = equal(v, m->value, m->ignore_case);
        break;
    case MP_MATCH_PREFIX:
        yes = v.n >= m->value.n && equal(mp_str(v.p, m->value.n), m->value, m->ignore_case);
        break;
    case MP_MATCH_SUFFIX:
        yes = v.n >= m->value.n &&
              equal(mp_str(v.p + (v.n - m->value.n), m->value.n), m->value, m->ignore_case);
        break;
    case MP_MATCH_CONTAINS:
        yes = contains(v, m->value, m->ignore_case);
        break;
    case MP_MATCH_REGEX: {
        enum mp_regex_result r = mp_regex_match(c->re, v);
        if (r == MP_REGEX_FAILED) {
            return r;
        }
        yes = r == MP_REGEX_YES;
        break;
    }
    case MP_MATCH_RANGE:
        yes = to_i64(v, &number) && number >= m->range_from && number < m->range_to;
        break;
    case MP_MATCH_PRESENT:
        yes = m->present_value;
        break;
    }
    return yes != m->invert ? MP_REGEX_YES : MP_REGEX_NO;
}

static enum mp_regex_result missing_matches(const struct route_condition *c)
{
    const struct mp_conf_header_match *m = c->conf;
    if (m->treat_missing_as_empty) {
        return value_matches(c, MP_STR(""));
    }
    if (m->kind == MP_MATCH_PRESENT) {
        return m->present_value == m->invert ? MP_REGEX_YES : MP_REGEX_NO;
    }
    return MP_REGEX_NO;
}

/* The values from e on, joined. Rare, so the stream's arena pays. */
static enum mp_regex_result joined_match(const struct route_condition *c, const struct mp_hdrs *h,
                                         const struct mp_hdr *e)
{
    size_t n = 0;
    for (const struct mp_hdr *i = e; i != NULL; i = mp_hdrs_next_same(h, i)) {
        n += i->value_n + 1;
    }
    char *p = mp_arena_bytes(h->arena, n), *o = p;
    if (p == NULL) {
        return MP_REGEX_FAILED;
    }
    for (const struct mp_hdr *i = e; i != NULL; i = mp_hdrs_next_same(h, i)) {
        memcpy(o, i->value, i->value_n);
        o += i->value_n;
        *o++ = ',';
    }
    return value_matches(c, mp_str(p, n - 1));
}

static enum mp_regex_result field_matches(const struct route_condition *c, const struct mp_hdrs *h)
{
    if (!mp_hdrs_maybe(h, c->id)) {
        return missing_matches(c);
    }
    const struct mp_hdr *e =
        c->id != MP_HDR_OTHER ? mp_hdrs_get(h, c->id) : mp_hdrs_find(h, c->conf->name);
    if (e == NULL) {
        return missing_matches(c);
    }
    if (c->conf->kind == MP_MATCH_PRESENT || mp_hdrs_next_same(h, e) == NULL) {
        return value_matches(c, mp_hdr_value(e));
    }
    return joined_match(c, h, e);
}

static enum mp_regex_result query_matches(const struct route_condition *c,
                                          const struct route_request *q)
{
    struct mp_str rest = q->has_query ? q->query : mp_str(NULL, 0), part;
    while (mp_str_split(&rest, '&', &part)) {
        ptrdiff_t eq = mp_str_chr(part, '=', 0);
        struct mp_str name = mp_str(part.p, eq < 0 ? part.n : (size_t)eq);
        if (mp_str_eq(name, c->conf->name)) {
            size_t skip = eq < 0 ? part.n : (size_t)eq + 1;
            return value_matches(c, mp_str(part.p + skip, part.n - skip));
        }
    }
    return missing_matches(c);
}

static enum mp_regex_result part_matches(const struct route_condition *c, struct mp_str part)
{
    return part.n > 0 ? value_matches(c, part) : missing_matches(c);
}

static enum mp_regex_result holds(const struct route_condition *c, const struct route_request *q)
{
    switch ((enum route_subject)c->subject) {
    case ROUTE_METHOD:
        return part_matches(c, q->head->method_name);
    case ROUTE_PATH:
        return part_matches(c, q->head->path);
    case ROUTE_AUTHORITY:
        return part_matches(c, q->head->authority);
    case ROUTE_SCHEME:
        return part_matches(c, q->head->scheme);
    case ROUTE_QUERY:
        return query_matches(c, q);
    case ROUTE_FIELD:
        break;
    }
    return field_matches(c, &q->head->hdrs);
}

enum mp_regex_result mp_route_conditions_hold(const struct route_entry *e,
                                              const struct route_request *q)
{
    for (uint32_t i = 0; i < e->n_conditions; i++) {
        enum mp_regex_result r = holds(&e->conditions[i], q);
        if (r != MP_REGEX_YES) {
            return r;
        }
    }
    return MP_REGEX_YES;
}
