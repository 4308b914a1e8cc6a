/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* One route: what it matches, what it does. */
#include <stdio.h>

#include "conf/build.h"
#include "conf/pb_int.h"

typedef Envoy__Config__Route__V3__RouteMatch pb_match;
typedef Envoy__Config__Route__V3__RouteAction pb_action;
typedef Envoy__Config__Route__V3__RedirectAction pb_redirect;
typedef Envoy__Config__Route__V3__WeightedCluster pb_weighted;
#define PATH(value)     ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_##value
#define ACTION(value)   ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_##value
#define REDIRECT(value) ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__##value

#define DEFAULT_TIMEOUT_MS 15000

/* ---- match ---- */

static void set_path(struct mp_conf_build *b, const char *sub, enum mp_conf_path_match kind,
                     const char *z, struct mp_conf_route *ret)
{
    ret->path_kind = kind;
    ret->path = mp_build_str(b, z);
    if (kind == MP_PATH_PREFIX && z[0] == '\0') {
        return; /* every path, "*" of OPTIONS included */
    }
    if (z[0] != '/') {
        (void)mp_build_error(b, sub, "begin it with /", "\"%s\" matches no path", z);
    } else if (strpbrk(z, "?#")) {
        (void)mp_build_error(b, sub, "use query_parameters for what follows the ?",
                             "\"%s\" matches no path: paths are compared without the query", z);
    } else if (kind == MP_PATH_SEPARATED_PREFIX && z[strlen(z) - 1] == '/') {
        (void)mp_build_error(b, sub, "remove the / at the end", "\"%s\" ends with the separator",
                             z);
    }
}

static void build_fraction(struct mp_conf_build *b,
                           const Envoy__Config__Core__V3__RuntimeFractionalPercent *m,
                           struct mp_conf_route *ret)
{
    static const uint32_t scale[] = {10000, 100, 1}; /* HUNDRED, TEN_THOUSAND, MILLION */
    if (!m) {
        return;
    }
    if (!m->default_value) {
        mp_build_missing(b, "runtime_fraction.default_value", NULL, "default_value is missing");
        return;
    }
    if ((unsigned)m->default_value->denominator >= MP_COUNTOF(scale)) {
        (void)mp_build_error(b, "runtime_fraction.default_value.denominator", NULL,
                             "value %d is not supported", (int)m->default_value->denominator);
        return;
    }
    uint64_t n = (uint64_t)m->default_value->numerator * scale[m->default_value->denominator];
    ret->runtime_fraction_millionths =
        (uint32_t)MP_MIN(n, (uint64_t)1000000); /* more than all is all */
}

static void build_match(struct mp_conf_build *b, const pb_match *m, struct mp_conf_route *ret)
{
    struct mp_conf_where w = mp_build_where(b);
    switch (m->path_specifier_case) {
    case PATH(PREFIX):
        set_path(b, "prefix", MP_PATH_PREFIX, m->prefix, ret);
        break;
    case PATH(PATH):
        set_path(b, "path", MP_PATH_EXACT, m->path, ret);
        break;
    case PATH(PATH_SEPARATED_PREFIX):
        set_path(b, "path_separated_prefix", MP_PATH_SEPARATED_PREFIX, m->path_separated_prefix,
                 ret);
        break;
    case PATH(SAFE_REGEX):
        ret->path_kind = MP_PATH_REGEX;
        (void)mp_conf_regex(m->safe_regex, &w, "safe_regex", b->arena, &ret->path);
        break;
    case PATH(CONNECT_MATCHER):
        ret->path_kind = MP_PATH_CONNECT;
        break;
    default:
        mp_build_missing(b, NULL, "add prefix, path, path_separated_prefix or safe_regex",
                         "there is no path to match");
        break;
    }
    if (m->case_sensitive && !m->case_sensitive->value) {
        ret->ignore_case = true;
        if (ret->path_kind == MP_PATH_REGEX) {
            (void)mp_build_error(b, "case_sensitive", "begin the pattern with (?i)",
                                 "case_sensitive does not go with safe_regex");
        }
    }
    ret->grpc_only = m->grpc != NULL;
    build_fraction(b, m->runtime_fraction, ret);
    if (!mp_is_err(mp_conf_header_matches(m->headers, m->n_headers, &w, "headers", b->arena,
                                          &ret->headers))) {
        ret->n_headers = (uint32_t)m->n_headers;
    }
    if (!mp_is_err(mp_conf_query_matches(m->query_parameters, m->n_query_parameters, &w,
                                         "query_parameters", b->arena, &ret->queries))) {
        ret->n_queries = (uint32_t)m->n_query_parameters;
    }
}

/* ---- forwarding ---- */

static void check_cluster(struct mp_conf_build *b, const char *sub, const char *name)
{
    char cure[300];
    if (name[0] == '\0') {
        mp_build_missing(b, sub, NULL, "the name of the cluster is missing");
        return;
    }
    if (!b->clusters_known || mp_build_has_cluster(b, name)) {
        return;
    }
    struct mp_pb_guess guess;
    mp_pb_guess_init(&guess, mp_str_c(name));
    for (size_t i = 0; i < b->n_clusters; i++) {
        mp_pb_guess_offer(&guess, b->clusters[i].p);
    }
    snprintf(cure, sizeof(cure), "did you mean \"%s\"?", guess.best ? guess.best : "");
    (void)mp_build_error(b, sub, guess.best ? cure : NULL, "there is no cluster \"%s\"", name);
}

static void build_weight(struct mp_conf_build *b,
                         const Envoy__Config__Route__V3__WeightedCluster__ClusterWeight *m,
                         struct mp_conf_weighted *ret)
{
    check_cluster(b, "name", m->name);
    ret->cluster = mp_build_str(b, m->name);
    if (!m->weight) {
        mp_build_missing(b, "weight", NULL, "weight is missing");
    }
    ret->weight = m->weight ? m->weight->value : 0;
    mp_build_header_ops(b, MP_BUILD_HEADER_FIELDS(m), &ret->headers);
}

static void build_weighted(struct mp_conf_build *b, const pb_weighted *m, struct mp_conf_route *ret)
{
    uint64_t total = 0;
    size_t errors = b->diag->errors;
    ret->action = MP_ROUTE_WEIGHTED;
    ret->weighted = mp_build_take(b, m->n_clusters, sizeof(*ret->weighted));
    ret->n_weighted = (uint32_t)m->n_clusters;
    if (m->n_clusters == 0) {
        mp_build_missing(b, "clusters", NULL, "clusters is missing");
        return;
    }
    for (size_t i = 0; i < m->n_clusters; i++) {
        size_t mark = mp_build_enter(b, "clusters[%zu]", i);
        build_weight(b, m->clusters[i], &ret->weighted[i]);
        total += ret->weighted[i].weight;
        mp_build_leave(b, mark);
    }
    if (b->diag->errors != errors) {
        return;
    }
    if (total == 0 || total > UINT32_MAX) {
        (void)mp_build_error(b, NULL, "use 1 to 4294967295", "the sum of the weights is %llu",
                             (unsigned long long)total);
        return;
    }
    if (m->total_weight && m->total_weight->value != total) {
        (void)mp_build_error(b, "total_weight", "remove total_weight",
                             "the weights add up to %llu, not %u", (unsigned long long)total,
                             m->total_weight->value);
    }
    ret->weight_total = (uint32_t)total;
}

static void build_rewrite(struct mp_conf_build *b, const pb_action *m, struct mp_conf_route *ret)
{
    struct mp_conf_where w = mp_build_where(b);
    if (m->prefix_rewrite[0]) {
        if (m->prefix_rewrite[0] != '/') {
            (void)mp_build_error(b, "prefix_rewrite", "begin it with /", "\"%s\" makes no path",
                                 m->prefix_rewrite);
        }
        if (mp_build_header_text(b, "prefix_rewrite", m->prefix_rewrite, false)) {
            ret->prefix_rewrite = mp_build_str(b, m->prefix_rewrite);
        }
    }
    if (m->regex_rewrite) {
        if (m->prefix_rewrite[0]) {
            (void)mp_build_error(b, "regex_rewrite", "keep one of them",
                                 "prefix_rewrite and regex_rewrite exclude each other");
        }
        (void)mp_conf_regex(m->regex_rewrite->pattern, &w, "regex_rewrite.pattern", b->arena,
                            &ret->regex_rewrite);
        if (mp_build_header_text(b, "regex_rewrite.substitution", m->regex_rewrite->substitution,
                                 false)) {
            ret->regex_substitution = mp_build_str(b, m->regex_rewrite->substitution);
        }
    }
    switch (m->host_rewrite_specifier_case) {
    case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HOST_REWRITE_SPECIFIER_HOST_REWRITE_LITERAL:
        if (mp_build_header_text(b, "host_rewrite_literal", m->host_rewrite_literal, false)) {
            ret->host_rewrite = mp_build_str(b, m->host_rewrite_literal);
        }
        break;
    case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__HOST_REWRITE_SPECIFIER_AUTO_HOST_REWRITE:
        ret->auto_host_rewrite = m->auto_host_rewrite->value;
        break;
    default:
        break;
    }
}

static void build_durations(struct mp_conf_build *b, const pb_action *m, struct mp_conf_route *ret)
{
    ret->limits_grpc = m->max_grpc_timeout != NULL;
    ret->max_stream_duration_ms = ret->grpc_timeout_header_max_ms = UINT64_MAX;
    mp_build_ms(b, "max_grpc_timeout", m->max_grpc_timeout, &ret->max_grpc_timeout_ms);
    mp_build_ms(b, "grpc_timeout_offset", m->grpc_timeout_offset, &ret->grpc_timeout_offset_ms);
    if (m->grpc_timeout_offset && !m->max_grpc_timeout) {
        (void)mp_build_error(b, "grpc_timeout_offset", "set max_grpc_timeout: 0s",
                             "without max_grpc_timeout the client's deadline is not looked at");
    }
    if (!m->max_stream_duration) {
        return;
    }
    size_t mark = mp_build_enter(b, "max_stream_duration");
    ret->limits_duration = true;
    mp_build_ms(b, "max_stream_duration", m->max_stream_duration->max_stream_duration,
                &ret->max_stream_duration_ms);
    mp_build_ms(b, "grpc_timeout_header_max", m->max_stream_duration->grpc_timeout_header_max,
                &ret->grpc_timeout_header_max_ms);
    mp_build_ms(b, "grpc_timeout_header_offset", m->max_stream_duration->grpc_timeout_header_offset,
                &ret->grpc_timeout_header_offset_ms);
    if (m->max_stream_duration->grpc_timeout_header_offset &&
        !m->max_stream_duration->grpc_timeout_header_max) {
        (void)mp_build_error(b, "grpc_timeout_header_offset", "set grpc_timeout_header_max: 0s",
                             "without grpc_timeout_header_max the client's deadline is not looked "
                             "at");
    }
    mp_build_leave(b, mark);
}

static void build_forward(struct mp_conf_build *b, const pb_action *m,
                          const struct mp_conf_http *http, struct mp_conf_route *ret)
{
    ret->timeout_ms = DEFAULT_TIMEOUT_MS;
    ret->idle_timeout_ms = UINT64_MAX;
    mp_build_ms(b, "timeout", m->timeout, &ret->timeout_ms);
    mp_build_ms(b, "idle_timeout", m->idle_timeout, &ret->idle_timeout_ms);
    build_durations(b, m, ret);
    if (m->retry_policy) {
        ret->retry = mp_build_retry(b, "retry_policy", m->retry_policy);
    }
    switch (m->priority) {
    case ENVOY__CONFIG__CORE__V3__ROUTING_PRIORITY__DEFAULT:
        break;
    case ENVOY__CONFIG__CORE__V3__ROUTING_PRIORITY__HIGH:
        ret->high_priority = true;
        break;
    default:
        (void)mp_build_error(b, "priority", NULL, "value %d is not supported", (int)m->priority);
        break;
    }
    build_rewrite(b, m, ret);
    mp_build_route_upgrades(b, m, http, ret);
    switch (m->cluster_specifier_case) {
    case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER:
        ret->action = MP_ROUTE_CLUSTER;
        ret->cluster = mp_build_str(b, m->cluster);
        check_cluster(b, "cluster", m->cluster);
        break;
    case ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS: {
        size_t mark = mp_build_enter(b, "weighted_clusters");
        build_weighted(b, m->weighted_clusters, ret);
        mp_build_leave(b, mark);
        break;
    }
    default:
        mp_build_missing(b, NULL, "add cluster or weighted_clusters", "there is no cluster");
        break;
    }
}

/* ---- answers of our own ---- */

static void build_redirect(struct mp_conf_build *b, const pb_redirect *m, struct mp_conf_route *ret)
{
    static const uint16_t status[] = {301, 302, 303, 307, 308};
    ret->action = MP_ROUTE_REDIRECT;
    if ((unsigned)m->response_code >= MP_COUNTOF(status)) {
        (void)mp_build_error(b, "response_code", NULL, "value %d is not supported",
                             (int)m->response_code);
    } else {
        ret->redirect_status = status[m->response_code];
    }
    if (mp_build_header_text(b, "host_redirect", m->host_redirect, false)) {
        ret->redirect_host = mp_build_str(b, m->host_redirect);
    }
    if (m->port_redirect > 65535) {
        (void)mp_build_error(b, "port_redirect", "use 1 to 65535", "port %u is out of range",
                             m->port_redirect);
    }
    ret->redirect_port = m->port_redirect;
    ret->redirect_strip_query = m->strip_query;
    switch (m->scheme_rewrite_specifier_case) {
    case REDIRECT(SCHEME_REWRITE_SPECIFIER_HTTPS_REDIRECT):
        ret->redirect_https = m->https_redirect;
        break;
    case REDIRECT(SCHEME_REWRITE_SPECIFIER_SCHEME_REDIRECT):
        if (mp_build_header_text(b, "scheme_redirect", m->scheme_redirect, false)) {
            ret->redirect_scheme = mp_build_str(b, m->scheme_redirect);
        }
        break;
    default:
        break;
    }
    switch (m->path_rewrite_specifier_case) {
    case REDIRECT(PATH_REWRITE_SPECIFIER_PATH_REDIRECT):
        if (mp_build_header_text(b, "path_redirect", m->path_redirect, false)) {
            ret->redirect_path = mp_build_str(b, m->path_redirect);
        }
        break;
    case REDIRECT(PATH_REWRITE_SPECIFIER_PREFIX_REWRITE):
        if (mp_build_header_text(b, "prefix_rewrite", m->prefix_rewrite, false)) {
            ret->redirect_prefix = mp_build_str(b, m->prefix_rewrite);
        }
        break;
    default:
        break;
    }
}

static void build_direct(struct mp_conf_build *b,
                         const Envoy__Config__Route__V3__DirectResponseAction *m,
                         const struct mp_conf_routes *table, struct mp_conf_route *ret)
{
    ret->action = MP_ROUTE_DIRECT;
    if (m->status == 0) {
        mp_build_missing(b, "status", NULL, "status is missing");
    } else if (m->status < 200 || m->status > 599) {
        (void)mp_build_error(b, "status", "use 200 to 599", "status %u is out of range", m->status);
    }
    ret->direct_status = (uint16_t)m->status;
    if (m->body && mp_build_data_source(b, "body", m->body, &ret->direct_body) &&
        ret->direct_body.n > table->max_direct_body) {
        (void)mp_build_error(
            b, "body", "raise max_direct_response_body_size_bytes of the route configuration",
            "the body has %zu bytes, %u are allowed", ret->direct_body.n, table->max_direct_body);
    }
}

/* ---- the route ---- */

void mp_build_route(struct mp_conf_build *b, const pb_route *m, const struct mp_conf_routes *table,
                    const struct mp_conf_http *http, const struct mp_conf_route *vhost,
                    struct mp_conf_route *ret)
{
    size_t mark;
    ret->line = mp_build_line(b);
    ret->name = mp_build_str(b, m->name);
    ret->runtime_fraction_millionths = 1000000;
    ret->idle_timeout_ms = UINT64_MAX;
    ret->retry = vhost->retry;
    ret->count_attempts = vhost->count_attempts;
    ret->tell_attempts = vhost->tell_attempts;
    ret->retry_buffer_max = vhost->retry_buffer_max;
    mp_build_u32(b, "per_request_buffer_limit_bytes", m->per_request_buffer_limit_bytes, 0,
                 1u << 30, &ret->retry_buffer_max);
    if (m->match) {
        mark = mp_build_enter(b, "match");
        build_match(b, m->match, ret);
        mp_build_leave(b, mark);
    } else {
        mp_build_missing(b, "match", "add match: {prefix: \"/\"}", "match is missing");
    }
    switch (m->action_case) {
    case ACTION(ROUTE):
        mark = mp_build_enter(b, "route");
        build_forward(b, m->route, http, ret);
        mp_build_leave(b, mark);
        break;
    case ACTION(REDIRECT):
        mark = mp_build_enter(b, "redirect");
        build_redirect(b, m->redirect, ret);
        mp_build_leave(b, mark);
        break;
    case ACTION(DIRECT_RESPONSE):
        mark = mp_build_enter(b, "direct_response");
        build_direct(b, m->direct_response, table, ret);
        mp_build_leave(b, mark);
        break;
    default:
        mp_build_missing(b, NULL, "add route, redirect or direct_response",
                         "the route does nothing");
        break;
    }
    mp_build_header_ops(b, MP_BUILD_HEADER_FIELDS(m), &ret->ops);
    /* The entries of both maps are alike: a key and an Any. */
    mp_build_overrides(b, (pb_override_entry **)m->typed_per_filter_config,
                       m->n_typed_per_filter_config, http, &ret->overrides, &ret->n_overrides);
}
