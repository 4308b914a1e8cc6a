/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Route tables and virtual hosts; single routes are in from_envoy_route.c. */
#include <stdlib.h>

#include "base/mem.h"
#include "conf/build.h"

#define DIRECT_BODY_DEFAULT 4096

/* ---- per-route filter configuration ---- */

static const struct mp_conf_http_filter *find_filter(const struct mp_conf_http *http,
                                                     const char *name)
{
    for (uint32_t i = 0; i < http->n_filters; i++) {
        if (mp_str_eq(http->filters[i].name, mp_str_c(name))) {
            return &http->filters[i];
        }
    }
    return NULL;
}

static void parse_override(struct mp_conf_build *b, const char *sub, const pb_any *any,
                           const struct mp_conf_http_filter *f, struct mp_conf_filter_override *ret)
{
    const ProtobufCMessage *m = mp_build_any(b, sub, any);
    if (!m) {
        return;
    }
    if (!f->type->route_message) {
        (void)mp_build_error(b, sub, NULL, "%s has no configuration per route", f->type->name);
        return;
    }
    if (m->descriptor != f->type->route_message) {
        (void)mp_build_error(b, sub, NULL, "%s takes %s here, not %s", f->type->name,
                             f->type->route_message->name, m->descriptor->name);
        return;
    }
    ret->type = f->type;
    size_t mark = sub ? mp_build_enter(b, "%s", sub) : b->path_n;
    struct mp_conf_where w = mp_build_where(b);
    size_t errors = b->diag->errors;
    if (mp_is_err(f->type->parse_route(m, b->arena, &w, &ret->parsed)) &&
        b->diag->errors == errors) {
        (void)mp_build_error(b, NULL, NULL, "%s refuses its configuration", f->type->name);
    }
    mp_build_leave(b, mark);
}

/* False when the entry is to be left out: the filter it is for is unknown. */
static bool build_override(struct mp_conf_build *b, const pb_override_entry *e,
                           const struct mp_conf_http *http, struct mp_conf_filter_override *ret)
{
    const struct mp_conf_http_filter *f = find_filter(http, e->key);
    ret->name = mp_build_str(b, e->key);
    if (!f) {
        if (b->filters_known) {
            (void)mp_build_error(b, NULL, "use the name of a filter in http_filters",
                                 "there is no filter \"%s\"", e->key);
        }
        return false;
    }
    if (!e->value) {
        mp_build_missing(b, NULL, NULL, "the configuration is empty");
        return false;
    }
    if (mp_pb_find_url(mp_str_c(e->value->type_url)) !=
        &envoy__config__route__v3__filter_config__descriptor) {
        parse_override(b, NULL, e->value, f, ret);
        return ret->type != NULL;
    }
    const Envoy__Config__Route__V3__FilterConfig *m = (const void *)mp_build_any(b, NULL, e->value);
    if (!m) {
        return false;
    }
    ret->disabled = m->disabled;
    if (m->disabled && f->type->terminal) {
        (void)mp_build_error(b, "disabled", NULL, "the last filter cannot be disabled");
    }
    if (m->config) {
        parse_override(b, "config", m->config, f, ret);
    } else if (!m->disabled) {
        mp_build_missing(b, NULL, "add config or disabled: true", "the configuration is empty");
    }
    return ret->disabled || ret->type;
}

void mp_build_overrides(struct mp_conf_build *b, pb_override_entry **entries, size_t n,
                        const struct mp_conf_http *http, struct mp_conf_filter_override **ret,
                        uint32_t *ret_n)
{
    *ret = mp_build_take(b, n, sizeof(**ret));
    for (size_t i = 0; i < n; i++) {
        struct mp_conf_filter_override *o = &(*ret)[*ret_n];
        *o = (struct mp_conf_filter_override){0};
        size_t mark = mp_build_enter(b, "typed_per_filter_config[\"%s\"]", entries[i]->key);
        *ret_n += build_override(b, entries[i], http, o);
        mp_build_leave(b, mark);
    }
}

/* ---- virtual hosts ---- */

/* "*", "*.suffix", "prefix.*" or a plain name, in lower case. */
static bool build_domain(struct mp_conf_build *b, const char *z, struct mp_str *ret)
{
    struct mp_str s = mp_build_str(b, z);
    char *p = (char *)s.p;
    if (s.n == 0) {
        mp_build_missing(b, NULL, "use \"*\" for every host", "the domain is empty");
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        p[i] = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] + 32) : p[i];
        if ((unsigned char)p[i] <= ' ' || (unsigned char)p[i] >= 0x7f || strchr("/?#@\\", p[i])) {
            (void)mp_build_error(b, NULL, NULL, "\"%s\" is not a domain", z);
            return false;
        }
        if (p[i] == '*' && i != 0 && i + 1 != s.n) {
            (void)mp_build_error(b, NULL, "put * at the beginning or at the end",
                                 "\"%s\" has a * inside", z);
            return false;
        }
    }
    if (s.n > 1 && p[0] == '*' && p[s.n - 1] == '*') {
        (void)mp_build_error(b, NULL, "put * at the beginning or at the end",
                             "\"%s\" has more than one *", z);
        return false;
    }
    *ret = s;
    return true;
}

static void build_tls(struct mp_conf_build *b, const pb_vhost *m, struct mp_conf_vhost *ret)
{
    switch (m->require_tls) {
    case ENVOY__CONFIG__ROUTE__V3__VIRTUAL_HOST__TLS_REQUIREMENT_TYPE__NONE:
        break;
    case ENVOY__CONFIG__ROUTE__V3__VIRTUAL_HOST__TLS_REQUIREMENT_TYPE__EXTERNAL_ONLY:
        ret->require_tls_external = true;
        break;
    case ENVOY__CONFIG__ROUTE__V3__VIRTUAL_HOST__TLS_REQUIREMENT_TYPE__ALL:
        ret->require_tls_all = true;
        break;
    default:
        (void)mp_build_error(b, "require_tls", NULL, "value %d is not supported",
                             (int)m->require_tls);
        break;
    }
}

static void build_vhost(struct mp_conf_build *b, const pb_vhost *m,
                        const struct mp_conf_routes *table, const struct mp_conf_http *http,
                        struct mp_conf_vhost *ret)
{
    if (m->name[0] == '\0') {
        mp_build_missing(b, "name", NULL, "name is missing");
    }
    ret->name = mp_build_str(b, m->name);
    ret->domains = mp_build_take(b, m->n_domains, sizeof(*ret->domains));
    if (m->n_domains == 0) {
        mp_build_missing(b, "domains", "add domains: [\"*\"]", "domains is missing");
    }
    for (size_t i = 0; i < m->n_domains; i++) {
        size_t mark = mp_build_enter(b, "domains[%zu]", i);
        ret->n_domains += build_domain(b, m->domains[i], &ret->domains[ret->n_domains]);
        mp_build_leave(b, mark);
    }
    build_tls(b, m, ret);
    mp_build_header_ops(b, MP_BUILD_HEADER_FIELDS(m), &ret->ops);
    mp_build_overrides(b, m->typed_per_filter_config, m->n_typed_per_filter_config, http,
                       &ret->overrides, &ret->n_overrides);
    struct mp_conf_route inherited = {
        .retry = mp_build_retry(b, "retry_policy", m->retry_policy),
        .count_attempts = m->include_request_attempt_count,
        .tell_attempts = m->include_attempt_count_in_response,
        .retry_buffer_max = UINT32_MAX,
    };
    mp_build_u32(b, "per_request_buffer_limit_bytes", m->per_request_buffer_limit_bytes, 0,
                 1u << 30, &inherited.retry_buffer_max);
    ret->routes = mp_build_take(b, m->n_routes, sizeof(*ret->routes));
    ret->n_routes = (uint32_t)m->n_routes;
    for (size_t i = 0; i < m->n_routes; i++) {
        size_t mark = mp_build_enter(b, "routes[%zu]", i);
        mp_build_route(b, m->routes[i], table, http, &inherited, &ret->routes[i]);
        mp_build_leave(b, mark);
    }
}

/* ---- the table ---- */

struct owner {
    struct mp_str text;
    uint32_t vhost;
};

static int by_text(const void *a, const void *b)
{
    const struct owner *x = a, *y = b;
    int c = mp_str_cmp(x->text, y->text);
    return c ? c : (x->vhost > y->vhost) - (x->vhost < y->vhost);
}

static void refuse_duplicates(struct mp_conf_build *b, struct owner *list, size_t n,
                              const char *field, const char *what, const char *cure)
{
    qsort(list, n, sizeof(*list), by_text);
    for (size_t i = 1; i < n; i++) {
        if (list[i].text.n > 0 && mp_str_eq(list[i - 1].text, list[i].text)) {
            size_t mark = mp_build_enter(b, "virtual_hosts[%u]", list[i].vhost);
            (void)mp_build_error(b, field, cure,
                                 "%s \"" MP_STR_FMT "\" is that of virtual_hosts[%u] too", what,
                                 MP_STR_ARG(list[i].text), list[i - 1].vhost);
            mp_build_leave(b, mark);
        }
    }
}

static void check_vhosts(struct mp_conf_build *b, const struct mp_conf_routes *t)
{
    size_t n = 0, max = 1;
    for (uint32_t i = 0; i < t->n_vhosts; i++) {
        max += MP_MAX(t->vhosts[i].n_domains, 1u);
    }
    struct owner *list = mp_xcalloc(max, sizeof(*list));
    for (uint32_t i = 0; i < t->n_vhosts; i++) {
        list[i] = (struct owner){t->vhosts[i].name, i};
    }
    refuse_duplicates(b, list, t->n_vhosts, "name", "name", NULL);
    for (uint32_t i = 0; i < t->n_vhosts; i++) {
        for (uint32_t j = 0; j < t->vhosts[i].n_domains; j++) {
            list[n++] = (struct owner){t->vhosts[i].domains[j], i};
        }
    }
    refuse_duplicates(b, list, n, "domains", "domain", "put its routes into one virtual host");
    free(list);
}

void mp_build_routes(struct mp_conf_build *b, const pb_route_config *m,
                     const struct mp_conf_http *http, struct mp_conf_routes *ret)
{
    ret->name = mp_build_str(b, m->name);
    ret->ops_most_specific_wins = m->most_specific_header_mutations_wins;
    ret->ignore_port_in_host = m->ignore_port_in_host_matching;
    ret->max_direct_body = DIRECT_BODY_DEFAULT;
    mp_build_u32(b, "max_direct_response_body_size_bytes", m->max_direct_response_body_size_bytes,
                 0, 1u << 20, &ret->max_direct_body);
    mp_build_header_ops(b, MP_BUILD_HEADER_FIELDS(m), &ret->ops);
    ret->n_vhosts = (uint32_t)m->n_virtual_hosts;
    ret->vhosts = mp_build_take(b, m->n_virtual_hosts, sizeof(*ret->vhosts));
    for (size_t i = 0; i < m->n_virtual_hosts; i++) {
        size_t mark = mp_build_enter(b, "virtual_hosts[%zu]", i);
        build_vhost(b, m->virtual_hosts[i], ret, http, &ret->vhosts[i]);
        mp_build_leave(b, mark);
    }
    check_vhosts(b, ret);
}
