/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* From the model to the compiled table. Everything lies in the table's arena, but the expressions
 * and the maps of hosts, which are on the heap. All errors of a table are reported, then it is
 * thrown away.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "codec/hdr.h"
#include "conf/registry.h"
#include "core/header_ops.h"
#include "core/route_int.h"

struct builder {
    const struct mp_route_build *b;
    const struct mp_conf_routes *conf;
    struct mp_route_index *x;
    struct mp_diag *diag;
    mp_err err; /* the first one */
    /* Where we are, for messages. */
    const struct mp_conf_vhost *vhost;
    const struct mp_conf_route *route;
    uint32_t vhost_at, route_at;
    const struct mp_header_ops *table_ops, *vhost_ops;
};

/* Text of the configuration inside a message. */
#define QUOTE(s) (int)MP_MIN((s).n, (size_t)100), (s).p != NULL ? (s).p : ""

static void fail(struct builder *bd, enum mp_err_code code, const char *cure, const char *fmt, ...)
    MP_PRINTF(4, 5);
static void fail(struct builder *bd, enum mp_err_code code, const char *cure, const char *fmt, ...)
{
    char where[300], cause[600];
    int n = snprintf(where, sizeof(where), "route_config[%.*s]", MP_STR_ARG(bd->conf->name));
    if (bd->vhost != NULL && n < (int)sizeof(where)) {
        n += snprintf(where + n, sizeof(where) - (size_t)n, ".virtual_hosts[%u]", bd->vhost_at);
    }
    if (bd->route != NULL && n < (int)sizeof(where)) {
        snprintf(where + n, sizeof(where) - (size_t)n, ".routes[%u]", bd->route_at);
    }
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cause, sizeof(cause), fmt, ap);
    va_end(ap);
    mp_err err = mp_diag_error(bd->diag, code, bd->route != NULL ? bd->route->line : 0, where, cure,
                               "%s", cause);
    bd->err = mp_is_err(bd->err) ? bd->err : err;
}

/* The arena has no limit but memory, whose exhaustion aborts. */
static void *take(struct builder *bd, size_t n)
{
    void *p = mp_arena_zalloc(&bd->x->arena, n);
    MP_ASSERT(p != NULL);
    return p;
}

static const struct mp_header_ops *build_ops(struct builder *bd,
                                             const struct mp_conf_header_ops *conf)
{
    const struct mp_header_ops *ops = NULL;
    mp_err err = mp_header_ops_build(conf, &bd->x->arena, bd->diag, &ops);
    if (mp_is_err(err)) {
        bd->err = mp_is_err(bd->err) ? bd->err : err;
        return NULL;
    }
    return ops;
}

static const struct mp_regex *build_regex(struct builder *bd, const char *what,
                                          struct mp_str pattern, bool whole)
{
    struct route_regex *node = take(bd, sizeof(*node));
    const char *cause = "";
    mp_err err = mp_regex_new(pattern, whole, &bd->x->arena, &node->re, &cause);
    if (mp_is_err(err)) {
        fail(bd, err.code, NULL, "%s: regular expression \"%.*s\": %s", what, QUOTE(pattern),
             cause);
        return NULL;
    }
    node->next = bd->x->regexes;
    bd->x->regexes = node;
    return node->re;
}

/* ---- one route ---- */

static void build_condition(struct builder *bd, const struct mp_conf_header_match *m, bool query,
                            struct route_condition *c)
{
    static const struct {
        struct mp_str name;
        enum route_subject subject;
    } parts[] = {{{":method", 7}, ROUTE_METHOD},
                 {{":path", 5}, ROUTE_PATH},
                 {{":authority", 10}, ROUTE_AUTHORITY},
                 {{"host", 4}, ROUTE_AUTHORITY},
                 {{":scheme", 7}, ROUTE_SCHEME}};
    c->conf = m;
    if (m->name.n == 0) {
        fail(bd, MP_E_INVALID, NULL, "a condition without a name");
        return;
    }
    if (m->kind == MP_MATCH_REGEX) {
        c->re = build_regex(bd, query ? "query_parameters" : "headers", m->value, true);
    }
    if (query) {
        c->subject = ROUTE_QUERY;
        return;
    }
    for (size_t i = 0; i < MP_COUNTOF(parts); i++) {
        if (mp_str_eq(parts[i].name, m->name)) {
            c->subject = (uint8_t)parts[i].subject;
            return;
        }
    }
    if (!mp_hdr_name_ok(m->name)) {
        fail(bd, MP_E_INVALID, NULL, "headers: \"%.*s\" is not a header name", QUOTE(m->name));
        return;
    }
    c->subject = ROUTE_FIELD;
    c->id = (uint8_t)mp_hdr_id_of(m->name.p, m->name.n);
}

static void build_conditions(struct builder *bd, struct route_entry *e)
{
    const struct mp_conf_route *c = e->r.conf;
    e->n_conditions = c->n_headers + c->n_queries;
    e->conditions = take(bd, e->n_conditions * sizeof(*e->conditions));
    for (uint32_t i = 0; i < c->n_headers; i++) {
        build_condition(bd, &c->headers[i], false, &e->conditions[i]);
    }
    for (uint32_t i = 0; i < c->n_queries; i++) {
        build_condition(bd, &c->queries[i], true, &e->conditions[c->n_headers + i]);
    }
}

static bool is_literal(const struct mp_conf_route *c)
{
    return !c->ignore_case && c->path_kind != MP_PATH_REGEX && c->path_kind != MP_PATH_CONNECT;
}

static void check_path(struct builder *bd, struct route_entry *e)
{
    const struct mp_conf_route *c = e->r.conf;
    struct mp_str p = c->path;
    if (c->path_kind == MP_PATH_CONNECT) {
        return;
    }
    if (c->path_kind == MP_PATH_REGEX) {
        e->path_re = build_regex(bd, "match.safe_regex", p, true);
        return;
    }
    bool asterisk = c->path_kind == MP_PATH_EXACT && mp_str_eq(p, MP_STR("*"));
    bool all = c->path_kind == MP_PATH_PREFIX && p.n == 0;
    if (!asterisk && !all && (p.n == 0 || p.p[0] != '/')) {
        fail(bd, MP_E_INVALID, "begin it with a slash", "match: the path \"%.*s\" matches nothing",
             QUOTE(p));
        return;
    }
    if (mp_str_chr(p, '?', 0) >= 0 || mp_str_chr(p, '#', 0) >= 0) {
        fail(bd, MP_E_INVALID, "use query_parameters",
             "match: the path \"%.*s\" matches nothing: it is compared without its query",
             QUOTE(p));
        return;
    }
    if (c->path_kind == MP_PATH_SEPARATED_PREFIX && p.p[p.n - 1] == '/') {
        fail(bd, MP_E_INVALID, "remove the slash at the end",
             "match: path_separated_prefix \"%.*s\" ends with a slash", QUOTE(p));
    }
}

/* What is put into a request line or a Location field. */
static void check_text(struct builder *bd, const char *what, struct mp_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = (uint8_t)s.p[i];
        if (c <= ' ' || c >= 0x7f || c == '#') {
            fail(bd, MP_E_INVALID, "percent-encode it",
                 "%s: byte 0x%02x is not allowed in a path or host", what, c);
            return;
        }
    }
}

static void build_redirect(struct builder *bd, const struct mp_conf_route *c)
{
    check_text(bd, "redirect.host_redirect", c->redirect_host);
    check_text(bd, "redirect.prefix_rewrite", c->redirect_prefix);
    check_text(bd, "redirect.path_redirect", c->redirect_path);
    check_text(bd, "redirect.scheme_redirect", c->redirect_scheme);
    if (c->redirect_port > 65535) {
        fail(bd, MP_E_INVALID, "use 1 to 65535", "redirect.port_redirect: %u is out of range",
             c->redirect_port);
    }
    static const uint16_t known[] = {301, 302, 303, 307, 308};
    for (size_t i = 0; i < MP_COUNTOF(known); i++) {
        if (known[i] == c->redirect_status) {
            return;
        }
    }
    fail(bd, MP_E_INVALID, "use 301, 302, 303, 307 or 308",
         "redirect.response_code: %u is no redirect", c->redirect_status);
}

static void build_direct(struct builder *bd, const struct mp_conf_route *c)
{
    if (c->direct_status < 200 || c->direct_status > 599) {
        fail(bd, MP_E_INVALID, "use 200 to 599", "direct_response.status: %u", c->direct_status);
    }
    if (c->direct_body.n > bd->conf->max_direct_body) {
        fail(bd, MP_E_LIMIT, "raise max_direct_response_body_size_bytes",
             "direct_response.body: %zu bytes, at most %u are allowed", c->direct_body.n,
             bd->conf->max_direct_body);
    }
}

static void add_target(struct builder *bd, struct mp_route *r, struct mp_str cluster)
{
    if (cluster.n == 0) {
        fail(bd, MP_E_INVALID, NULL, "route: a cluster without a name");
        return;
    }
    struct mp_route_target *t = &r->targets[r->n_targets++];
    t->cluster = cluster;
    t->cluster_id = bd->b->cluster_id(bd->b->arg, cluster);
    t->weight_end = r->weight_total;
}

static void build_targets(struct builder *bd, struct mp_route *r)
{
    const struct mp_conf_route *c = r->conf;
    bool weighted = c->action == MP_ROUTE_WEIGHTED;
    r->targets = take(bd, (weighted ? c->n_weighted : 1) * sizeof(*r->targets));
    if (!weighted) {
        r->weight_total = 1;
        add_target(bd, r, c->cluster);
        return;
    }
    uint64_t total = 0;
    for (uint32_t i = 0; i < c->n_weighted; i++) {
        total += c->weighted[i].weight;
        if (total > UINT32_MAX) {
            fail(bd, MP_E_LIMIT, "use smaller weights",
                 "weighted_clusters: the weights add up to more than 4294967295");
            return;
        }
        r->weight_total = (uint32_t)total;
        uint32_t before = r->n_targets;
        add_target(bd, r, c->weighted[i].cluster);
        if (r->n_targets > before) {
            r->targets[before].ops = build_ops(bd, &c->weighted[i].headers);
        }
    }
    if (total == 0) {
        fail(bd, MP_E_INVALID, "give one of them a weight",
             "weighted_clusters: the weights add up to 0");
    }
}

static void build_rewrite(struct builder *bd, struct route_entry *e)
{
    const struct mp_conf_route *c = e->r.conf;
    check_text(bd, "route.prefix_rewrite", c->prefix_rewrite);
    check_text(bd, "route.host_rewrite_literal", c->host_rewrite);
    if (mp_str_chr(c->prefix_rewrite, '?', 0) >= 0) {
        fail(bd, MP_E_INVALID, NULL, "route.prefix_rewrite: a query is not allowed here");
    }
    if (c->regex_rewrite.n == 0) {
        return;
    }
    if (c->prefix_rewrite.n > 0) {
        fail(bd, MP_E_INVALID, "use one of them", "route: both prefix_rewrite and regex_rewrite");
    }
    check_text(bd, "route.regex_rewrite.substitution", c->regex_substitution);
    if (mp_str_chr(c->regex_substitution, '?', 0) >= 0) {
        fail(bd, MP_E_INVALID, NULL,
             "route.regex_rewrite.substitution: a query is not allowed here");
    }
    e->rewrite_re = build_regex(bd, "route.regex_rewrite", c->regex_rewrite, false);
    const char *cause = "";
    if (e->rewrite_re != NULL) {
        mp_err err = mp_regex_check_substitution(e->rewrite_re, c->regex_substitution,
                                                 &bd->x->arena, &cause);
        if (mp_is_err(err)) {
            fail(bd, err.code, NULL, "route.regex_rewrite.substitution: %s", cause);
        }
    }
}

static void merge_overrides(struct builder *bd, const struct mp_conf_filter_override *from,
                            uint32_t n, struct mp_route_override *into)
{
    const struct mp_conf_http *http = bd->b->http;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = 0;
        while (at < http->n_filters && !mp_str_eq(http->filters[at].name, from[i].name)) {
            at++;
        }
        if (at == http->n_filters) {
            fail(bd, MP_E_NOT_FOUND, "use a name of http_filters",
                 "typed_per_filter_config: no filter \"%.*s\" in the chain", QUOTE(from[i].name));
            continue;
        }
        if (from[i].disabled && at + 1 == http->n_filters) {
            fail(bd, MP_E_INVALID, NULL,
                 "typed_per_filter_config: the last filter, \"%.*s\", cannot "
                 "be disabled",
                 QUOTE(from[i].name));
            continue;
        }
        if (from[i].type != NULL && from[i].type != http->filters[at].type) {
            fail(bd, MP_E_INVALID, NULL,
                 "typed_per_filter_config: \"%.*s\" is a %s, the configuration is for %s",
                 QUOTE(from[i].name), http->filters[at].type->name, from[i].type->name);
            continue;
        }
        into[at] = (struct mp_route_override){.conf = from[i].disabled ? NULL : from[i].parsed,
                                              .disabled = from[i].disabled,
                                              .enabled = !from[i].disabled};
    }
}

/* The route's win over the virtual host's, filter by filter. */
static void build_overrides(struct builder *bd, struct mp_route *r)
{
    if (bd->vhost->n_overrides == 0 && r->conf->n_overrides == 0) {
        return;
    }
    struct mp_route_override *all = take(bd, bd->b->http->n_filters * sizeof(*all));
    merge_overrides(bd, bd->vhost->overrides, bd->vhost->n_overrides, all);
    merge_overrides(bd, r->conf->overrides, r->conf->n_overrides, all);
    r->overrides = all;
}

static void set_ops(struct builder *bd, struct mp_route *r, const struct mp_header_ops *own)
{
    bool turned = bd->conf->ops_most_specific_wins;
    r->target_ops_last = turned;
    r->ops[0] = turned ? bd->table_ops : own;
    r->ops[1] = bd->vhost_ops;
    r->ops[2] = turned ? own : bd->table_ops;
}

static void build_route(struct builder *bd, struct route_entry *e)
{
    const struct mp_conf_route *c = e->r.conf;
    e->fraction_millionths = c->runtime_fraction_millionths;
    check_path(bd, e);
    build_conditions(bd, e);
    set_ops(bd, &e->r, build_ops(bd, &c->ops));
    build_overrides(bd, &e->r);
    switch (c->action) {
    case MP_ROUTE_CLUSTER:
    case MP_ROUTE_WEIGHTED:
        build_targets(bd, &e->r);
        build_rewrite(bd, e);
        break;
    case MP_ROUTE_REDIRECT:
        build_redirect(bd, c);
        break;
    case MP_ROUTE_DIRECT:
        build_direct(bd, c);
        break;
    case MP_ROUTE_NONE:
        break;
    }
}

/* ---- the path index ---- */

static int by_path_then_order(const void *a, const void *b)
{
    const struct route_entry *const *x = a, *const *y = b;
    int c = mp_str_cmp((*x)->r.conf->path, (*y)->r.conf->path);
    if (c != 0) {
        return c;
    }
    return (*x)->r.order < (*y)->r.order ? -1 : 1;
}

static void link_node(struct mp_vhost *v, int32_t at)
{
    struct route_node *node = &v->nodes[at];
    int32_t up = at - 1;
    while (up >= 0 && !mp_str_starts(node->text, v->nodes[up].text)) {
        up = v->nodes[up].parent;
    }
    node->parent = up;
    node->order_min = v->by_node[node->first]->r.order;
    if (up >= 0) {
        node->order_min = MP_MIN(node->order_min, v->nodes[up].order_min);
    }
}

static void build_index(struct builder *bd, struct mp_vhost *v, struct route_entry *entries,
                        uint32_t n)
{
    v->by_node = take(bd, n * sizeof(struct route_entry *));
    v->irregular = take(bd, n * sizeof(struct route_entry *));
    uint32_t literals = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (is_literal(entries[i].r.conf)) {
            v->by_node[literals++] = &entries[i];
        } else {
            v->irregular[v->n_irregular++] = &entries[i];
        }
    }
    if (literals > 0) {
        qsort(v->by_node, literals, sizeof(struct route_entry *), by_path_then_order);
    }
    v->nodes = take(bd, literals * sizeof(*v->nodes));
    for (uint32_t i = 0; i < literals; i++) {
        struct mp_str path = v->by_node[i]->r.conf->path;
        struct route_node *last = v->n_nodes > 0 ? &v->nodes[v->n_nodes - 1] : NULL;
        if (last != NULL && mp_str_eq(last->text, path)) {
            last->n++;
            continue;
        }
        v->nodes[v->n_nodes++] = (struct route_node){.text = path, .first = i, .n = 1};
    }
    for (uint32_t i = 0; i < v->n_nodes; i++) {
        link_node(v, (int32_t)i);
    }
}

/* The route that answers plain HTTP where TLS is required. */
static struct route_entry *build_tls_redirect(struct builder *bd, const struct mp_vhost *v)
{
    struct mp_conf_route *conf = take(bd, sizeof(*conf));
    *conf = (struct mp_conf_route){.name = MP_STR("require_tls"),
                                   .path_kind = MP_PATH_PREFIX,
                                   .path = MP_STR(""),
                                   .runtime_fraction_millionths = 1000000,
                                   .action = MP_ROUTE_REDIRECT,
                                   .idle_timeout_ms = UINT64_MAX,
                                   .redirect_https = true,
                                   .redirect_status = 301};
    struct route_entry *e = take(bd, sizeof(*e));
    e->r.conf = conf;
    e->r.vhost = v;
    e->r.order = UINT32_MAX;
    e->fraction_millionths = 1000000;
    set_ops(bd, &e->r, NULL);
    build_overrides(bd, &e->r);
    return e;
}

/* ---- hosts ---- */

static void add_affix(struct builder *bd, struct route_affixes *a, struct mp_str text,
                      struct mp_vhost *v, bool *ret_twice)
{
    *ret_twice = mp_map_set(&a->hosts, text, v) != NULL;
    uint32_t i = 0;
    while (i < a->n_lengths && a->lengths[i] > text.n) {
        i++;
    }
    if (i < a->n_lengths && a->lengths[i] == text.n) {
        return;
    }
    uint16_t *grown = take(bd, (a->n_lengths + 1) * sizeof(*grown));
    for (uint32_t k = 0; k < a->n_lengths; k++) {
        grown[k < i ? k : k + 1] = a->lengths[k];
    }
    grown[i] = (uint16_t)text.n;
    a->lengths = grown;
    a->n_lengths++;
}

static void add_domain(struct builder *bd, struct mp_vhost *v, struct mp_str given)
{
    if (given.n == 0 || given.n > MP_ROUTE_HOST_MAX) {
        fail(bd, MP_E_INVALID, NULL, "domains: a domain has 1 to %d bytes, not %zu",
             MP_ROUTE_HOST_MAX, given.n);
        return;
    }
    char *p = take(bd, given.n);
    for (size_t i = 0; i < given.n; i++) {
        char c = given.p[i];
        p[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    struct mp_str domain = mp_str(p, given.n);
    ptrdiff_t star = mp_str_chr(domain, '*', 0);
    bool at_end = star == (ptrdiff_t)domain.n - 1, twice = false;
    if (star > 0 && !at_end) {
        fail(bd, MP_E_INVALID, "put it first or last",
             "domains: the wildcard of \"%.*s\" is in the middle", QUOTE(given));
        return;
    }
    if (star >= 0 && mp_str_chr(domain, '*', (size_t)star + 1) >= 0) {
        fail(bd, MP_E_INVALID, NULL, "domains: two wildcards in \"%.*s\"", QUOTE(given));
        return;
    }
    if (domain.n == 1 && star == 0) {
        twice = bd->x->any != NULL;
        bd->x->any = v;
    } else if (star == 0) {
        add_affix(bd, &bd->x->suffixes, mp_str(p + 1, domain.n - 1), v, &twice);
    } else if (at_end) {
        add_affix(bd, &bd->x->prefixes, mp_str(p, domain.n - 1), v, &twice);
    } else {
        twice = mp_map_set(&bd->x->exact, domain, v) != NULL;
    }
    if (twice) {
        fail(bd, MP_E_EXISTS, "name each domain once in a route configuration",
             "domains: \"%.*s\" occurs twice", QUOTE(given));
    }
}

static void build_vhost(struct builder *bd, const struct mp_conf_vhost *conf)
{
    struct mp_vhost *v = take(bd, sizeof(*v));
    v->conf = conf;
    bd->vhost = conf;
    bd->vhost_ops = build_ops(bd, &conf->ops);
    if (conf->n_domains == 0) {
        fail(bd, MP_E_INVALID, "use \"*\" for all hosts", "domains: there is none");
    }
    for (uint32_t i = 0; i < conf->n_domains; i++) {
        add_domain(bd, v, conf->domains[i]);
    }
    struct route_entry *entries = take(bd, conf->n_routes * sizeof(*entries));
    for (uint32_t i = 0; i < conf->n_routes; i++) {
        bd->route = &conf->routes[i];
        bd->route_at = i;
        entries[i].r.conf = bd->route;
        entries[i].r.vhost = v;
        entries[i].r.order = i;
        build_route(bd, &entries[i]);
    }
    bd->route = NULL;
    build_index(bd, v, entries, conf->n_routes);
    if (conf->require_tls_all || conf->require_tls_external) {
        v->tls_redirect = build_tls_redirect(bd, v);
    }
    bd->vhost = NULL;
}

/* ---- the table ---- */

static struct mp_route_index *index_free(struct mp_route_index *x)
{
    for (struct route_regex *r = x->regexes; r != NULL; r = r->next) {
        mp_regex_free(r->re);
    }
    mp_map_fini(&x->exact);
    mp_map_fini(&x->suffixes.hosts);
    mp_map_fini(&x->prefixes.hosts);
    if (x->keep != NULL) {
        mp_obj_unref(x->keep);
    }
    mp_arena_fini(&x->arena);
    free(x);
    return NULL;
}

static void destroy(struct mp_obj *o)
{
    struct mp_route_table *t = MP_CONTAINER_OF(o, struct mp_route_table, obj);
    mp_obj_fini(o);
    index_free(t->index);
    free(t);
}

static const struct mp_obj_ops table_ops = {"routes", destroy};

/* Overrides are found by place in the chain, so the chain is part of what the table was made from.
 */
static uint64_t table_hash(const struct mp_route_build *b)
{
    uint64_t hash = mp_hash_fnv(MP_FNV_SEED, &b->conf->source.hash, sizeof(b->conf->source.hash));
    for (uint32_t i = 0; i < b->http->n_filters; i++) {
        const struct mp_conf_http_filter *f = &b->http->filters[i];
        hash = mp_hash_fnv(hash, f->name.p, f->name.n);
        hash = mp_hash_fnv(hash, f->type->name, strlen(f->type->name) + 1);
        hash = mp_hash_fnv(hash, &f->disabled, 1);
    }
    return hash;
}

mp_err mp_route_table_build(const struct mp_route_build *b, struct mp_diag *diag,
                            struct mp_route_table **ret)
{
    struct mp_route_index *x = mp_xcalloc(1, sizeof(*x));
    mp_arena_init(&x->arena, NULL, 0, &mp_block_source_heap, 16 * 1024, SIZE_MAX);
    mp_map_init(&x->exact);
    mp_map_init(&x->suffixes.hosts);
    mp_map_init(&x->prefixes.hosts);
    x->ignore_port = b->conf->ignore_port_in_host;

    struct builder bd = {.b = b, .conf = b->conf, .x = x, .diag = diag};
    bd.table_ops = build_ops(&bd, &b->conf->ops);
    for (uint32_t i = 0; i < b->conf->n_vhosts; i++) {
        bd.vhost_at = i;
        build_vhost(&bd, &b->conf->vhosts[i]);
    }
    if (mp_is_err(bd.err)) {
        index_free(x);
        return bd.err;
    }
    x->only_any = x->exact.n == 0 && x->suffixes.hosts.n == 0 && x->prefixes.hosts.n == 0;
    if (b->keep != NULL) {
        mp_obj_ref(b->keep);
        x->keep = b->keep;
    }
    struct mp_route_table *t = mp_xcalloc(1, sizeof(*t));
    mp_obj_init(&t->obj, &table_ops, b->conf->name, table_hash(b), b->n_workers);
    t->conf = b->conf;
    t->index = x;
    *ret = t;
    return MP_OK;
}
