/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/compiler.h"
#include "filters/field_name.h"
#include "filters/http/license.h"

#define UPGRADE_URL "https://marchproxy.penguintech.io/pricing"
#define KEY_SIZE    29 /* PENG-XXXX-XXXX-XXXX-XXXX-XXXX */
#define TEXT_MAX    128

/* ---- metrics ---- */

enum { ST_CHECKS, ST_LIMIT_EXCEEDED, ST_COMMUNITY, ST_ENTERPRISE, ST_MAX, ST_CURRENT, ST_COUNT };

static const struct mp_stat_def defs[ST_COUNT] = {
    [ST_CHECKS] = {.name = "checks_total",
                   .kind = MP_STAT_COUNTER,
                   .help = "Requests that were held against the licence"},
    [ST_LIMIT_EXCEEDED] = {.name = "limit_exceeded_total",
                           .kind = MP_STAT_COUNTER,
                           .help = "Requests refused because too many proxies run"},
    [ST_COMMUNITY] = {.name = "edition.community",
                      .kind = MP_STAT_GAUGE,
                      .help = "1: this edition is in use",
                      .prom_name = "edition",
                      .label = "edition",
                      .label_value = "community"},
    [ST_ENTERPRISE] = {.name = "edition.enterprise",
                       .kind = MP_STAT_GAUGE,
                       .help = "1: this edition is in use",
                       .prom_name = "edition",
                       .label = "edition",
                       .label_value = "enterprise"},
    [ST_MAX] = {.name = "max_proxies",
                .kind = MP_STAT_GAUGE,
                .help = "Proxies that the licence allows; 0: no limit"},
    [ST_CURRENT] = {.name = "current_proxies",
                    .kind = MP_STAT_GAUGE,
                    .help = "Proxies that run under the licence"},
};
static const struct mp_stat_schema schema = {.kind = "marchproxy",
                                             .text_prefix = "marchproxy_license_",
                                             .prom_prefix = "marchproxy_license_",
                                             .defs = defs,
                                             .n = ST_COUNT};

static const struct mp_stat_def denied_defs[] = {
    {.name = "", .kind = MP_STAT_COUNTER, .help = "Requests refused for want of a feature"}};
static const struct mp_stat_schema denied = {.kind = "marchproxy",
                                             .text_prefix = "marchproxy_license_denied_total.",
                                             .prom_prefix = "marchproxy_license_denied_total",
                                             .label = "feature",
                                             .defs = denied_defs,
                                             .n = 1};

static uint32_t current_of(const struct mp_license *l, bool reported, uint32_t proxies)
{
    return reported ? proxies : l->current_proxies;
}

/* The gauges tell of the first listener's licence, and of all editions in use. */
void mp_license_on_published(struct mp_guest_host *h, const struct mp_license *const *list,
                             uint32_t n)
{
    uint32_t proxies, editions[2] = {0, 0};
    bool reported = mp_guest_host_proxies(h, &proxies);
    for (uint32_t i = 0; i < n; i++) {
        editions[list[i]->is_enterprise] = 1;
    }
    if (n == 0 && !mp_guest_host_has_stats(h, &schema)) {
        return; /* the filter was never in use */
    }
    const struct mp_stat_block *st = mp_guest_host_stats(h, &schema, MP_STR(""));
    mp_stat_set(st, ST_COMMUNITY, editions[0]);
    mp_stat_set(st, ST_ENTERPRISE, editions[1]);
    mp_stat_set(st, ST_MAX, n > 0 ? list[0]->max_proxies : 0);
    mp_stat_set(st, ST_CURRENT, n > 0 ? current_of(list[0], reported, proxies) : 0);
}

/* ---- fields ---- */

/* The three, also with something else for '-', which some services take for the same. */
static bool is_ours(struct mp_str name)
{
    static const struct mp_str ours[] = {
        {"x-license-key", 13}, {"x-license-edition", 17}, {"x-marchproxy-edition", 20}};
    if (name.p[0] != 'x' || (name.n != 13 && name.n != 17 && name.n != 20)) {
        return false;
    }
    for (size_t i = 0; i < MP_COUNTOF(ours); i++) {
        size_t k = 0;
        while (name.n == ours[i].n && k < name.n &&
               (name.p[k] == ours[i].p[k] ||
                (ours[i].p[k] == '-' && !mp_field_name_alnum(name.p[k])))) {
            k++;
        }
        if (k == ours[i].n) {
            return true;
        }
    }
    return false;
}

static bool add_fields(const struct mp_license *l, struct mp_guest *g, enum mp_guest_fields which)
{
    return mp_guest_add_own(g, which, MP_GUEST_X_LICENSE_EDITION, l->edition) &&
           mp_guest_add_own(g, which, MP_GUEST_X_LICENSE_KEY, l->masked_key);
}

bool mp_license_on_response(const struct mp_license *l, struct mp_guest *g)
{
    mp_guest_strip_fields(g, MP_GUEST_RESPONSE, is_ours);
    return add_fields(l, g, MP_GUEST_RESPONSE) &&
           mp_guest_add_own(g, MP_GUEST_RESPONSE, MP_GUEST_X_MARCHPROXY_EDITION, l->edition);
}

void mp_license_on_disabled(struct mp_guest *g)
{
    mp_guest_strip_fields(g, MP_GUEST_REQUEST, is_ours);
}

void mp_license_on_trailers(struct mp_guest *g)
{
    mp_guest_strip_fields(g, MP_GUEST_TRAILERS, is_ours);
}

/* ---- the request ---- */

static enum mp_guest_verdict payment_required(struct mp_guest *g,
                                              const struct mp_license_gate *gate)
{
    const struct mp_guest_field fields[] = {{MP_STR("content-type"), MP_STR("application/json")},
                                            {MP_STR("x-license-required"), MP_STR("enterprise")}};
    mp_stat_inc(mp_guest_stats(g, &denied, gate->feature), 0);
    return mp_guest_reply(g, 402, fields, MP_COUNTOF(fields), gate->body,
                          "license_feature_required");
}

static enum mp_guest_verdict too_many_proxies(struct mp_guest *g, const struct mp_stat_block *st,
                                              uint32_t current, uint32_t max)
{
    const struct mp_guest_field fields[] = {{MP_STR("content-type"), MP_STR("application/json")},
                                            {MP_STR("x-license-limit-exceeded"), MP_STR("true")}};
    char body[192];
    int n = snprintf(body, sizeof(body),
                     "{\"error\":\"Proxy count limit exceeded\",\"current\":%" PRIu32
                     ",\"limit\":%" PRIu32 ",\"upgrade_url\":\"" UPGRADE_URL "\"}",
                     current, max);
    mp_stat_inc(st, ST_LIMIT_EXCEEDED);
    return mp_guest_reply(g, 429, fields, MP_COUNTOF(fields), mp_str(body, (size_t)n),
                          "license_limit_exceeded");
}

static const struct mp_license_gate *find_gate(const struct mp_license *l, struct mp_str path)
{
    if (!mp_str_starts(path, l->common)) {
        return NULL;
    }
    for (uint32_t i = 0; i < l->n_gates; i++) {
        if (mp_str_starts(path, l->gates[i].prefix)) {
            return &l->gates[i];
        }
    }
    return NULL;
}

/* The gate that is shut on the path in either of its forms. */
static const struct mp_license_gate *shut_gate(const struct mp_license *l, struct mp_guest *g)
{
    struct mp_str path = mp_path_without_query(mp_guest_path(g)), plain;
    const struct mp_license_gate *gate = find_gate(l, path);
    if (gate && !gate->open) {
        return gate;
    }
    if (mp_path_is_plain(path)) {
        return NULL;
    }
    char *out = mp_guest_alloc(g, path.n + 1);
    bool odd; /* odd or not: the service may read it like this */
    gate = out && mp_path_make_plain(path, out, &plain, &odd) ? find_gate(l, plain) : NULL;
    return gate && !gate->open ? gate : NULL;
}

static bool is_exempt(const struct mp_license *l, struct mp_guest *g)
{
    uint32_t marks = mp_guest_marks(g);
    if (!l->own_exempt && (marks & MP_GUEST_AUTH_RAN)) {
        return marks & MP_GUEST_AUTH_EXEMPT;
    }
    return mp_path_is_open(l->exempt, l->n_exempt, g);
}

enum mp_guest_verdict mp_license_on_request(const struct mp_license *l, struct mp_guest *g)
{
    uint32_t proxies;
    mp_guest_strip_fields(g, MP_GUEST_REQUEST, is_ours);
    if (!add_fields(l, g, MP_GUEST_REQUEST)) {
        return mp_guest_reply(g, 431, NULL, 0, MP_STR(""), "request_headers_too_large");
    }
    if (is_exempt(l, g)) {
        return MP_GUEST_CONTINUE;
    }
    const struct mp_stat_block *st = mp_guest_stats(g, &schema, MP_STR(""));
    mp_stat_inc(st, ST_CHECKS);
    const struct mp_license_gate *gate = shut_gate(l, g);
    if (gate) {
        return payment_required(g, gate);
    }
    bool reported = mp_guest_proxies(g, &proxies);
    uint32_t current = current_of(l, reported, proxies);
    if (l->max_proxies > 0 && current > l->max_proxies) {
        return too_many_proxies(g, st, current, l->max_proxies);
    }
    return MP_GUEST_CONTINUE;
}

/* ---- configuration ---- */

bool mp_license_key_ok(struct mp_str key)
{
    if (key.n != KEY_SIZE || !mp_str_starts(key, MP_STR("PENG"))) {
        return false;
    }
    for (size_t i = 4; i < key.n; i++) {
        char c = key.p[i];
        bool ok = (i - 4) % 5 == 0 ? c == '-' : (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!ok) {
            return false;
        }
    }
    return true;
}

static struct mp_str mask(struct mp_guest_setup *s, struct mp_str key)
{
    char text[KEY_SIZE + 1];
    if (mp_str_eq(key, MP_STR("COMMUNITY"))) {
        return MP_STR("COMMUNITY");
    }
    if (!mp_license_key_ok(key)) {
        return MP_STR("****");
    }
    int n = snprintf(text, sizeof(text), "PENG-****-****-****-****-%.4s", key.p + KEY_SIZE - 4);
    return mp_guest_setup_dup(s, mp_str(text, (size_t)n));
}

/* A name that needs no escapes, neither in JSON nor as a label. */
static bool name_ok(struct mp_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '_' && c != '-' && c != '.') {
            return false;
        }
    }
    return s.n > 0 && s.n <= TEXT_MAX;
}

static bool feature_on(const struct mp_license_settings *in, bool enterprise, struct mp_str name)
{
    bool basic = mp_str_eq(name, MP_STR("basic_proxy"));
    for (size_t i = 0; i < in->n_features; i++) {
        if (mp_str_eq(in->features[i].name, name)) {
            return in->features[i].on && (enterprise || basic);
        }
    }
    return enterprise || basic;
}

static int longest_first(const void *a, const void *b)
{
    const struct mp_license_gate *x = a, *y = b;
    return x->prefix.n != y->prefix.n ? (x->prefix.n < y->prefix.n ? 1 : -1)
                                      : mp_str_cmp(x->prefix, y->prefix);
}

static void check_gate(struct mp_guest_setup *s, size_t i, const struct mp_license_gate_setting *in)
{
    struct mp_path_rule rule;
    char field[64];
    snprintf(field, sizeof(field), "feature_gates[%zu].prefix", i);
    const char *cause = mp_path_rule_parse(in->prefix, &rule);
    if (cause || in->prefix.p[in->prefix.n - 1] == '*') {
        mp_guest_refuse(s, field, NULL, "%s", cause ? cause : "a prefix needs no *");
    }
    snprintf(field, sizeof(field), "feature_gates[%zu].feature", i);
    if (!name_ok(in->feature)) {
        mp_guest_refuse(s, field, NULL, "a feature has a name of letters, digits and _ - .");
    }
}

/* What all prefixes begin with: most requests are compared with that alone. */
static struct mp_str common_prefix(const struct mp_license *l)
{
    struct mp_str all = l->n_gates > 0 ? l->gates[0].prefix : MP_STR("");
    for (uint32_t i = 1; i < l->n_gates; i++) {
        struct mp_str p = l->gates[i].prefix;
        size_t n = 0;
        while (n < MP_MIN(all.n, p.n) && all.p[n] == p.p[n]) {
            n++;
        }
        all.n = n;
    }
    return all;
}

static void set_gates(struct mp_license *l, const struct mp_license_settings *in,
                      struct mp_guest_setup *s)
{
    static const struct mp_license_gate_setting usual[] = {
        {{"/api/v1/traffic-shaping", 23}, {"advanced_routing", 16}},
        {{"/api/v1/multi-cloud", 19}, {"multi_cloud", 11}},
        {{"/api/v1/tracing", 15}, {"distributed_tracing", 19}},
        {{"/api/v1/zero-trust", 18}, {"zero_trust", 10}},
        {{"/api/v1/advanced-rate-limit", 27}, {"rate_limiting", 13}}};
    const struct mp_license_gate_setting *list = in->n_gates > 0 ? in->gates : usual;
    size_t n = in->n_gates > 0 ? in->n_gates : MP_COUNTOF(usual);
    if (n > MP_LICENSE_GATES_MAX) {
        mp_guest_refuse(s, "feature_gates", NULL, "%zu entries: at most %d are allowed", n,
                        MP_LICENSE_GATES_MAX);
        return;
    }
    l->gates = mp_guest_setup_alloc(s, n * sizeof(*l->gates));
    for (size_t i = 0; i < n; i++) {
        struct mp_license_gate *g = &l->gates[i];
        char body[TEXT_MAX + 160];
        check_gate(s, i, &list[i]);
        g->prefix = mp_guest_setup_dup(s, list[i].prefix);
        g->feature = mp_guest_setup_dup(s, list[i].feature);
        g->open = feature_on(in, l->is_enterprise, g->feature);
        int k = snprintf(body, sizeof(body),
                         "{\"error\":\"Enterprise license required for feature: %.*s\","
                         "\"upgrade_url\":\"" UPGRADE_URL "\"}",
                         (int)MP_MIN(g->feature.n, (size_t)TEXT_MAX), g->feature.p);
        g->body = mp_guest_setup_dup(s, mp_str(body, (size_t)k));
    }
    qsort(l->gates, n, sizeof(*l->gates), longest_first);
    l->n_gates = (uint32_t)n;
    l->common = common_prefix(l);
    for (uint32_t i = 1; i < l->n_gates; i++) {
        if (mp_str_eq(l->gates[i - 1].prefix, l->gates[i].prefix)) {
            mp_guest_refuse(
                s, "feature_gates", "keep one of them", "two gates have the prefix \"%.*s\"",
                (int)MP_MIN(l->gates[i].prefix.n, (size_t)TEXT_MAX), l->gates[i].prefix.p);
        }
    }
}

static void set_edition(struct mp_license *l, const struct mp_license_settings *in,
                        struct mp_str key, struct mp_guest_setup *s)
{
    l->is_enterprise = in->is_enterprise && mp_license_key_ok(key);
    if (in->is_enterprise && !l->is_enterprise) {
        mp_guest_warn(s, "license_key", "use PENG-XXXX-XXXX-XXXX-XXXX-XXXX",
                      "not the format of an enterprise key: this is the community edition");
    }
    l->edition = l->is_enterprise ? MP_STR("enterprise") : MP_STR("community");
    if (l->is_enterprise) {
        l->max_proxies = in->has_max_proxies ? in->max_proxies : 0;
        return;
    }
    l->max_proxies = MP_LICENSE_COMMUNITY_MAX;
    if (in->has_max_proxies && in->max_proxies > 0 && in->max_proxies < l->max_proxies) {
        l->max_proxies = in->max_proxies;
    }
}

struct mp_license *mp_license_setup(const struct mp_license_settings *in, struct mp_guest_setup *s)
{
    struct mp_license *l = mp_guest_setup_alloc(s, sizeof(*l));
    struct mp_str key = in->license_key.n > 0 ? in->license_key : MP_STR("COMMUNITY");
    l->current_proxies = in->current_proxies;
    l->masked_key = mask(s, key);
    l->own_exempt = in->has_exempt_paths;
    set_edition(l, in, key, s);
    if (in->n_features > MP_LICENSE_FEATURES_MAX) {
        mp_guest_refuse(s, "features", NULL, "%zu entries: at most %d are allowed", in->n_features,
                        MP_LICENSE_FEATURES_MAX);
    } else {
        set_gates(l, in, s);
    }
    l->exempt = mp_path_rules_setup(s, "exempt_paths", in->exempt_paths, in->n_exempt_paths,
                                    in->has_exempt_paths, &l->n_exempt);
    return mp_guest_refused(s) ? NULL : l;
}
