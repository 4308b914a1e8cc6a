/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/route.h"

#include "base/log.h"
#include "codec/uri.h"
#include "core/civil.h"
#include "core/filter.h"
#include "core/grpc.h"
#include "core/route_int.h"

struct mp_str mp_route_vhost_name(const struct mp_route *r)
{
    return r->vhost->conf->name;
}

/* ---- hosts ---- */

/* Where the port begins, with its colon; host.n when there is none. */
static size_t port_at(struct mp_str host)
{
    size_t i = host.n;
    while (i > 0 && host.p[i - 1] >= '0' && host.p[i - 1] <= '9') {
        i--;
    }
    if (i == 0 || host.p[i - 1] != ':') {
        return host.n;
    }
    /* Inside an IPv6 literal without port there are colons too, but behind them comes the bracket.
     */
    return i - 1;
}

static struct mp_vhost *find_affix(const struct route_affixes *a, struct mp_str host, bool at_end)
{
    for (uint32_t i = 0; i < a->n_lengths; i++) {
        size_t n = a->lengths[i];
        if (n >= host.n) {
            continue; /* the wildcard stands for at least one character */
        }
        struct mp_vhost *v = mp_map_get(&a->hosts, mp_str(host.p + (at_end ? host.n - n : 0), n));
        if (v != NULL) {
            return v;
        }
    }
    return NULL;
}

static const struct mp_vhost *find_vhost(const struct mp_route_index *x, struct mp_str authority)
{
    char lower[MP_ROUTE_HOST_MAX];
    if (x->only_any || authority.n == 0 || authority.n > sizeof(lower)) {
        return x->any;
    }
    for (size_t i = 0; i < authority.n; i++) {
        char c = authority.p[i];
        lower[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    struct mp_str whole = mp_str(lower, authority.n), bare = mp_str(lower, port_at(whole));
    bool same = bare.n == whole.n;
    if (x->ignore_port) {
        whole = bare;
        same = true;
    }
    const struct mp_vhost *v = mp_map_get(&x->exact, whole);
    v = v == NULL && !same ? mp_map_get(&x->exact, bare) : v;
    v = v == NULL ? find_affix(&x->suffixes, whole, true) : v;
    v = v == NULL && !same ? find_affix(&x->suffixes, bare, true) : v;
    v = v == NULL ? find_affix(&x->prefixes, whole, false) : v;
    return v != NULL ? v : x->any;
}

/* ---- paths ---- */

/* Length of the common beginning of a and b, of which skip bytes are known to be equal. */
static size_t common(struct mp_str a, struct mp_str b, size_t skip)
{
    size_t n = MP_MIN(a.n, b.n), i = skip;
    for (; i + 8 <= n; i += 8) {
        uint64_t x, y;
        memcpy(&x, a.p + i, 8);
        memcpy(&y, b.p + i, 8);
        if (x != y) {
            break;
        }
    }
    while (i < n && a.p[i] == b.p[i]) {
        i++;
    }
    return i;
}

/* The longest literal that is a prefix of path, or -1.
 *
 * Binary search for the last literal not after path; what both ends of the range have in common
 * with path need not be compared again. Every literal that is a prefix of path is an ancestor of
 * that one, or itself. */
static int32_t deepest(const struct mp_vhost *v, struct mp_str path)
{
    int64_t low = -1, high = v->n_nodes;
    size_t low_common = 0, high_common = 0;
    while (high - low > 1) {
        int64_t mid = (low + high) / 2;
        struct mp_str text = v->nodes[mid].text;
        size_t n = common(text, path, MP_MIN(low_common, high_common));
        if (n == text.n || (n < path.n && (uint8_t)text.p[n] < (uint8_t)path.p[n])) {
            low = mid;
            low_common = n;
        } else {
            high = mid;
            high_common = n;
        }
    }
    int32_t i = (int32_t)low;
    while (i >= 0 && v->nodes[i].text.n > low_common) {
        i = v->nodes[i].parent;
    }
    return i;
}

struct search {
    struct route_request q;
    uint64_t random;
    const struct route_entry *best;
    uint32_t best_order; /* UINT32_MAX: none */
    bool failed;
};

static bool in_fraction(const struct route_entry *e, uint64_t random)
{
    return e->fraction_millionths >= 1000000 || random % 1000000 < e->fraction_millionths;
}

/* The path fits: decides about the rest. True when e is the answer among those like it. */
static bool consider(struct search *s, const struct route_entry *e)
{
    if (!in_fraction(e, s->random)) {
        return false;
    }
    if (MP_UNLIKELY(e->r.conf->grpc_only) && !mp_grpc_is_request(s->q.head)) {
        return false;
    }
    enum mp_regex_result r = mp_route_conditions_hold(e, &s->q);
    if (r == MP_REGEX_NO) {
        return false;
    }
    s->failed = r == MP_REGEX_FAILED;
    s->best = e;
    s->best_order = e->r.order;
    return true;
}

/* The literal is a prefix of the path. */
static bool literal_fits(const struct mp_conf_route *c, struct mp_str path)
{
    size_t n = c->path.n;
    switch (c->path_kind) {
    case MP_PATH_EXACT:
        return path.n == n;
    case MP_PATH_SEPARATED_PREFIX:
        return path.n == n || path.p[n] == '/';
    case MP_PATH_PREFIX:
        return true;
    case MP_PATH_REGEX:
    case MP_PATH_CONNECT:
        break;
    }
    return false;
}

static void search_literals(const struct mp_vhost *v, struct search *s)
{
    for (int32_t i = deepest(v, s->q.path); i >= 0; i = v->nodes[i].parent) {
        const struct route_node *node = &v->nodes[i];
        if (node->order_min >= s->best_order) {
            return;
        }
        for (uint32_t k = 0; k < node->n; k++) {
            const struct route_entry *e = v->by_node[node->first + k];
            if (e->r.order >= s->best_order) {
                break;
            }
            if (literal_fits(e->r.conf, s->q.path) && consider(s, e)) {
                break;
            }
        }
    }
}

static enum mp_regex_result irregular_fits(const struct route_entry *e, const struct search *s)
{
    const struct mp_conf_route *c = e->r.conf;
    if (c->path_kind == MP_PATH_CONNECT) {
        return s->q.head->method == MP_METHOD_CONNECT ? MP_REGEX_YES : MP_REGEX_NO;
    }
    if (s->q.path.n == 0) {
        return MP_REGEX_NO;
    }
    if (c->path_kind == MP_PATH_REGEX) {
        return mp_regex_match(e->path_re, s->q.path);
    }
    bool yes = s->q.path.n >= c->path.n && mp_str_ieq(mp_str(s->q.path.p, c->path.n), c->path) &&
               literal_fits(c, s->q.path);
    return yes ? MP_REGEX_YES : MP_REGEX_NO;
}

static void search_irregular(const struct mp_vhost *v, struct search *s)
{
    for (uint32_t i = 0; i < v->n_irregular && v->irregular[i]->r.order < s->best_order; i++) {
        const struct route_entry *e = v->irregular[i];
        enum mp_regex_result r = irregular_fits(e, s);
        if (r == MP_REGEX_FAILED) {
            s->best = e;
            s->best_order = e->r.order;
            s->failed = true;
            return;
        }
        if (r == MP_REGEX_YES && consider(s, e)) {
            return;
        }
    }
}

static bool wants_tls(const struct mp_vhost *v, const struct mp_req_head *h)
{
    if (v->tls_redirect == NULL || mp_str_eq(h->scheme, MP_STR("https"))) {
        return false;
    }
    if (v->conf->require_tls_all) {
        return true;
    }
    const struct mp_hdr *internal = mp_hdrs_maybe(&h->hdrs, MP_HDR_X_ENVOY_INTERNAL)
                                        ? mp_hdrs_get(&h->hdrs, MP_HDR_X_ENVOY_INTERNAL)
                                        : NULL;
    return internal == NULL || !mp_str_eq(mp_hdr_value(internal), MP_STR("true"));
}

const struct mp_route *mp_route_find(const struct mp_route_table *t, const struct mp_req_head *h,
                                     uint64_t random)
{
    const struct mp_vhost *v = find_vhost(t->index, h->authority);
    if (v == NULL) {
        return NULL;
    }
    if (MP_UNLIKELY(wants_tls(v, h))) {
        return &v->tls_redirect->r;
    }
    struct search s = {.q = {.head = h}, .random = random, .best_order = UINT32_MAX};
    mp_uri_split(h->path, &s.q.path, &s.q.query, &s.q.has_query);
    if (s.q.path.n > 0) {
        search_literals(v, &s);
    }
    search_irregular(v, &s);
    if (MP_UNLIKELY(s.failed)) {
        mp_log(MP_LOG_WARNING, "route condition not decided within its limits",
               kv_str("virtual_host", v->conf->name), kv_str("route", s.best->r.conf->name));
        return NULL;
    }
    return s.best != NULL ? &s.best->r : NULL;
}

/* ---- rewriting ---- */

static struct mp_str join(const struct mp_str *parts, size_t n, struct mp_arena *arena)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        total += parts[i].n;
    }
    char *p = mp_arena_bytes(arena, total), *o = p;
    if (p == NULL) {
        return mp_str(NULL, 0);
    }
    for (size_t i = 0; i < n; i++) {
        if (parts[i].n > 0) {
            memcpy(o, parts[i].p, parts[i].n);
            o += parts[i].n;
        }
    }
    return mp_str(p, total);
}

/* Splits off the query, with its question mark. */
static struct mp_str cut_query(struct mp_str *path)
{
    ptrdiff_t at = mp_str_chr(*path, '?', 0);
    if (at < 0) {
        return mp_str(path->p + path->n, 0);
    }
    struct mp_str query = mp_str(path->p + at, path->n - (size_t)at);
    path->n = (size_t)at;
    return query;
}

/* What the route has matched of a path without query: this is what a prefix rewrite replaces. */
static size_t matched(const struct mp_conf_route *c, struct mp_str path)
{
    bool is_prefix = c->path_kind == MP_PATH_PREFIX || c->path_kind == MP_PATH_SEPARATED_PREFIX;
    return is_prefix ? MP_MIN(c->path.n, path.n) : path.n;
}

static struct mp_str slash_before(struct mp_str path)
{
    return path.n > 0 && path.p[0] == '/' ? MP_STR("") : MP_STR("/");
}

static struct mp_str replace_prefix(const struct mp_conf_route *c, struct mp_str by,
                                    struct mp_str path, struct mp_str query, struct mp_arena *arena)
{
    size_t n = matched(c, path);
    struct mp_str rest = mp_str(path.p + n, path.n - n);
    struct mp_str parts[] = {slash_before(by), by, rest, query};
    return join(parts, MP_COUNTOF(parts), arena);
}

struct mp_str mp_route_rewrite_path(const struct mp_route *r, struct mp_str path,
                                    struct mp_arena *arena)
{
    const struct mp_conf_route *c = r->conf;
    const struct route_entry *e = (const struct route_entry *)(const void *)r;
    if ((c->prefix_rewrite.n == 0 && e->rewrite_re == NULL) || path.n == 0) {
        return path;
    }
    struct mp_str bare = path, query = cut_query(&bare), changed;
    if (c->prefix_rewrite.n > 0) {
        return replace_prefix(c, c->prefix_rewrite, bare, query, arena);
    }
    if (mp_is_err(mp_regex_replace(e->rewrite_re, bare, c->regex_substitution, arena, &changed))) {
        return mp_str(NULL, 0);
    }
    if (changed.p == bare.p) {
        return path;
    }
    struct mp_str parts[] = {slash_before(changed), changed, query};
    return join(parts, MP_COUNTOF(parts), arena);
}

static struct mp_str redirect_path(const struct mp_conf_route *c, const struct mp_req_head *h,
                                   struct mp_arena *arena)
{
    struct mp_str path = h->path.n > 0 && h->path.p[0] == '/' ? h->path : MP_STR("/");
    struct mp_str query = cut_query(&path);
    if (c->redirect_strip_query) {
        query.n = 0;
    }
    if (c->redirect_path.n > 0) {
        /* A configured query replaces the request's and is never stripped. */
        bool own_query = mp_str_chr(c->redirect_path, '?', 0) >= 0;
        struct mp_str parts[] = {slash_before(c->redirect_path), c->redirect_path,
                                 own_query ? MP_STR("") : query};
        return join(parts, MP_COUNTOF(parts), arena);
    }
    if (c->redirect_prefix.n > 0) {
        return replace_prefix(c, c->redirect_prefix, path, query, arena);
    }
    struct mp_str parts[] = {path, query};
    return join(parts, MP_COUNTOF(parts), arena);
}

/* The request's host; its port goes when there is a new one, or when it was the default of the
 * scheme that is left. */
static struct mp_str redirect_host(const struct mp_conf_route *c, const struct mp_req_head *h,
                                   struct mp_str old_scheme, struct mp_str new_scheme)
{
    if (c->redirect_host.n > 0) {
        return c->redirect_host;
    }
    struct mp_str host = h->authority;
    size_t at = port_at(host);
    struct mp_str port = mp_str(host.p + at, host.n - at);
    bool left_default =
        !mp_str_eq(old_scheme, new_scheme) &&
        mp_str_eq(port, mp_str_eq(old_scheme, MP_STR("https")) ? MP_STR(":443") : MP_STR(":80"));
    if (c->redirect_port != 0 || left_default) {
        host.n = at;
    }
    return host;
}

struct mp_str mp_route_redirect_location(const struct mp_route *r, const struct mp_req_head *h,
                                         struct mp_arena *arena)
{
    const struct mp_conf_route *c = r->conf;
    struct mp_str old_scheme = h->scheme.n > 0 ? h->scheme : MP_STR("http");
    struct mp_str scheme = c->redirect_https ? MP_STR("https") : old_scheme;
    scheme = c->redirect_scheme.n > 0 ? c->redirect_scheme : scheme;
    char port_text[1 + MP_U64_DIGITS] = ":";
    size_t port_n = 0;
    if (c->redirect_port != 0) {
        port_n = (size_t)(mp_put_u64(port_text + 1, c->redirect_port) - port_text);
    }
    struct mp_str path = redirect_path(c, h, arena);
    if (path.p == NULL) {
        return path;
    }
    struct mp_str parts[] = {scheme, MP_STR("://"), redirect_host(c, h, old_scheme, scheme),
                             mp_str(port_text, port_n), path};
    return join(parts, MP_COUNTOF(parts), arena);
}
