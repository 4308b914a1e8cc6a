/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/hash.h"
#include "base/rand.h"
#include "conf/object.h"
#include "conf/registry.h"
#include "core/fixture.h"
#include "core/names.h"
#include "core/route.h"
#include "t.h"

#define MANY 64

/* A model built piece by piece. */
static struct fixture fx;
static struct mp_conf_routes conf;
static struct mp_conf_vhost vhosts[8];
static struct mp_str domains[8][12];
static struct mp_conf_route routes[8][MANY];
static struct mp_conf_http http;
static struct mp_route_table *table;
static struct mp_diag diag;
static struct mp_names *names;

static uint32_t cluster_id(void *arg, struct mp_str name)
{
    return mp_names_id(arg, name);
}

static void start(void)
{
    fx_init(&fx);
    memset(&conf, 0, sizeof(conf));
    memset(vhosts, 0, sizeof(vhosts));
    memset(routes, 0, sizeof(routes));
    memset(&http, 0, sizeof(http));
    conf.name = MP_STR("test");
    conf.vhosts = vhosts;
    conf.max_direct_body = 4096;
    table = NULL;
    names = mp_names_new();
    mp_diag_init(&diag, "test.yaml");
}

static void finish(void)
{
    mp_obj_unref(table != NULL ? &table->obj : NULL);
    table = NULL;
    mp_names_free(names);
    mp_diag_fini(&diag);
    fx_fini(&fx);
}

static struct mp_conf_vhost *vhost(const char *name)
{
    struct mp_conf_vhost *v = &vhosts[conf.n_vhosts];
    v->name = S(name);
    v->domains = domains[conf.n_vhosts];
    v->routes = routes[conf.n_vhosts];
    conf.n_vhosts++;
    return v;
}
static void domain(struct mp_conf_vhost *v, const char *text)
{
    v->domains[v->n_domains++] = S(text);
}
/* A direct response; name NULL: the path. */
static struct mp_conf_route *route(struct mp_conf_vhost *v, enum mp_conf_path_match kind,
                                   const char *path)
{
    struct mp_conf_route *r = &v->routes[v->n_routes++];
    r->path_kind = kind;
    r->path = S(path);
    r->name = S(path);
    r->runtime_fraction_millionths = 1000000;
    r->action = MP_ROUTE_DIRECT;
    r->direct_status = 200;
    return r;
}

static mp_err build(void)
{
    struct mp_route_build b = {
        .conf = &conf, .http = &http, .cluster_id = cluster_id, .arg = names, .n_workers = 1};
    return mp_route_table_build(&b, &diag, &table);
}
static bool built(void)
{
    if (mp_is_err(build())) {
        printf("# %s: %s\n", diag.items[0].path, diag.items[0].cause);
        return false;
    }
    return true;
}
/* Building fails with one error that holds part. */
static bool refused(const char *part)
{
    bool failed = mp_is_err(build());
    bool ok = failed && diag.n == 1 && strstr(diag.items[0].cause, part) != NULL;
    if (!ok) {
        printf("# %s, expected \"%s\"\n", diag.n > 0 ? diag.items[0].cause : "no error", part);
    }
    mp_diag_fini(&diag);
    mp_diag_init(&diag, NULL);
    if (!failed) {
        mp_obj_unref(&table->obj);
        table = NULL;
    }
    return ok;
}

static const struct mp_route *find(const char *host, const char *path)
{
    fx.s.req.authority = S(host);
    fx.s.req.path = S(path);
    return mp_route_find(table, &fx.s.req, 0);
}
/* The name of the route, "" for none. */
static bool goes(const char *path, const char *expected)
{
    const struct mp_route *r = find("a.test", path);
    struct mp_str got = r != NULL ? r->conf->name : MP_STR("");
    if (!mp_str_eq(got, S(expected))) {
        printf("# " MP_STR_FMT " goes to \"" MP_STR_FMT "\", expected \"%s\"\n",
               MP_STR_ARG(S(path)), MP_STR_ARG(got), expected);
    }
    return mp_str_eq(got, S(expected));
}
static bool host_goes(const char *host, const char *expected)
{
    const struct mp_route *r = find(host, "/");
    struct mp_str got = r != NULL ? mp_route_vhost_name(r) : MP_STR("");
    if (!mp_str_eq(got, S(expected))) {
        printf("# " MP_STR_FMT " goes to \"" MP_STR_FMT "\", expected \"%s\"\n",
               MP_STR_ARG(S(host)), MP_STR_ARG(got), expected);
    }
    return mp_str_eq(got, S(expected));
}

/* ---- hosts ---- */

static void add_hosts(bool with_any)
{
    static const char *const all[][4] = {{"exact", "A.test", "shop.a.test", "[2001:db8::1]"},
                                         {"port", "ported.test:8443"},
                                         {"suffix", "*.a.test", "*-x.a.test"},
                                         {"longer", "*.b.a.test"},
                                         {"prefix", "www.*", "h:*"},
                                         {"longprefix", "www.a.*"},
                                         {"any", "*"}};
    for (size_t i = 0; i < MP_COUNTOF(all) - !with_any; i++) {
        struct mp_conf_vhost *v = vhost(all[i][0]);
        for (size_t k = 1; k < 4 && all[i][k] != NULL; k++) {
            domain(v, all[i][k]);
        }
        route(v, MP_PATH_PREFIX, "/");
    }
}

static void test_hosts(void)
{
    start();
    add_hosts(true);
    T_OK(built());
    static const char *const cases[][2] = {{"a.test", "exact"},
                                           {"A.TEST", "exact"},
                                           {"a.test:80", "exact"},
                                           {"a.test:", "exact"},
                                           {"shop.a.test", "exact"},
                                           {"ported.test:8443", "port"},
                                           {"ported.test", "any"},
                                           {"ported.test:1", "any"},
                                           {"x.a.test", "suffix"},
                                           {"X.A.Test:99", "suffix"},
                                           {"x.y.a.test", "suffix"},
                                           {"foo-x.a.test", "suffix"},
                                           {"x.b.a.test", "longer"},
                                           {"b.a.test", "suffix"},
                                           {"www.b.example", "prefix"},
                                           {"www.a.example", "longprefix"},
                                           {"WWW.c", "prefix"},
                                           {"www.", "any"},
                                           {"h:80", "prefix"},
                                           {"h", "any"},
                                           {"[2001:db8::1]", "exact"},
                                           {"[2001:DB8::1]:80", "exact"},
                                           {"[2001:db8::2]", "any"},
                                           {"a.test.evil", "any"},
                                           {"xa.test", "any"},
                                           {".a.test", "any"},
                                           {"www", "any"},
                                           {"", "any"},
                                           {":", "any"},
                                           {":80", "any"}};
    for (size_t i = 0; i < MP_COUNTOF(cases); i++) {
        T_OK(host_goes(cases[i][0], cases[i][1]));
    }
    finish();
}

static void test_no_default_host(void)
{
    start();
    add_hosts(false);
    T_OK(built());
    T_OK(host_goes("a.test", "exact"));
    T_OK(host_goes("other", ""));
    T_OK(host_goes("", ""));
    finish();
}

static void test_ignore_port(void)
{
    start();
    add_hosts(true);
    conf.ignore_port_in_host = true;
    T_OK(built());
    T_OK(host_goes("a.test:80", "exact"));
    T_OK(host_goes("x.a.test:80", "suffix"));
    T_OK(host_goes("ported.test:8443", "any"));
    T_OK(host_goes("h:80", "any"));
    finish();
}

static void test_host_length(void)
{
    start();
    struct mp_conf_vhost *v = vhost("suffix"), *any = vhost("any");
    domain(v, "*.a.test");
    domain(any, "*");
    route(v, MP_PATH_PREFIX, "/");
    route(any, MP_PATH_PREFIX, "/");
    T_OK(built());
    for (size_t n = MP_ROUTE_HOST_MAX - 1; n <= MP_ROUTE_HOST_MAX + 1; n++) {
        char host[MP_ROUTE_HOST_MAX + 2];
        memset(host, 'x', n);
        memcpy(host + n - 7, ".a.test", 7);
        host[n] = '\0';
        T_OK(host_goes(host, n <= MP_ROUTE_HOST_MAX ? "suffix" : "any"));
    }
    finish();
}

static bool domain_refused(const char *a, const char *b, const char *part)
{
    start();
    struct mp_conf_vhost *v = vhost("v");
    domain(v, a);
    if (b != NULL) {
        domain(v, b);
    }
    bool ok = refused(part);
    finish();
    return ok;
}

static void test_refused_domains(void)
{
    T_OK(domain_refused("a", "A", "\"A\" occurs twice"));
    T_OK(domain_refused("*", "*", "\"*\" occurs twice"));
    T_OK(domain_refused("*.a", "*.a", "occurs twice"));
    T_OK(domain_refused("a.*", "a.*", "occurs twice"));
    T_OK(domain_refused("a.*.b", NULL, "in the middle"));
    T_OK(domain_refused("*.a.*", NULL, "two wildcards"));
    T_OK(domain_refused("**", NULL, "two wildcards"));
    T_OK(domain_refused("", NULL, "1 to 1024 bytes"));
    char host[MP_ROUTE_HOST_MAX + 2];
    memset(host, 'x', sizeof(host));
    host[MP_ROUTE_HOST_MAX + 1] = '\0';
    T_OK(domain_refused(host, NULL, "1 to 1024 bytes"));
    host[MP_ROUTE_HOST_MAX] = '\0';
    T_OK(domain_refused(host, host, "occurs twice"));
    start();
    vhost("v");
    T_OK(refused("domains: there is none"));
    finish();
}

/* ---- paths ---- */

static void test_paths(void)
{
    start();
    struct mp_conf_vhost *v = vhost("v");
    domain(v, "*");
    route(v, MP_PATH_EXACT, "/exact");
    route(v, MP_PATH_EXACT, "/cased")->ignore_case = true;
    route(v, MP_PATH_SEPARATED_PREFIX, "/sep");
    route(v, MP_PATH_SEPARATED_PREFIX, "/Sop")->ignore_case = true;
    route(v, MP_PATH_PREFIX, "/pre/longer");
    route(v, MP_PATH_PREFIX, "/pre");
    route(v, MP_PATH_PREFIX, "/Low")->ignore_case = true;
    route(v, MP_PATH_REGEX, "/r/[0-9]+");
    route(v, MP_PATH_PREFIX, "/pre/longer/still");
    route(v, MP_PATH_EXACT, "*");
    T_OK(built());
    static const char *const cases[][2] = {{"/exact", "/exact"},
                                           {"/exact?x=1", "/exact"},
                                           {"/exact/", ""},
                                           {"/Exact", ""},
                                           {"/exac", ""},
                                           {"/CASED", "/cased"},
                                           {"/cased", "/cased"},
                                           {"/cased/", ""},
                                           {"/sep", "/sep"},
                                           {"/sep?x", "/sep"},
                                           {"/sep/x", "/sep"},
                                           {"/separate", ""},
                                           {"/sep/", "/sep"},
                                           {"/SOP/x", "/Sop"},
                                           {"/sopx", ""},
                                           {"/sop?x", "/Sop"},
                                           {"/pre", "/pre"},
                                           {"/prefix", "/pre"},
                                           {"/pre?x", "/pre"},
                                           {"/pre/longer", "/pre/longer"},
                                           {"/pre/longer/still", "/pre/longer"},
                                           {"/pr", ""},
                                           {"/LOWER", "/Low"},
                                           {"/r/12", "/r/[0-9]+"},
                                           {"/r/12x", ""},
                                           {"/r/", ""},
                                           {"/r/5?q=z", "/r/[0-9]+"},
                                           {"/x/r/5", ""},
                                           {"/r/5\n", ""},
                                           {"*", "*"},
                                           {"/", ""},
                                           {"", ""},
                                           {"/?/exact", ""}};
    for (size_t i = 0; i < MP_COUNTOF(cases); i++) {
        T_OK(goes(cases[i][0], cases[i][1]));
    }
    finish();
}

static void test_order_decides(void)
{
    start();
    struct mp_conf_vhost *v = vhost("v");
    domain(v, "*");
    route(v, MP_PATH_PREFIX, "/a");
    route(v, MP_PATH_PREFIX, "/a/b");
    route(v, MP_PATH_REGEX, "/c.*");
    route(v, MP_PATH_EXACT, "/cc");
    route(v, MP_PATH_EXACT, "/d");
    route(v, MP_PATH_REGEX, "/d|/e");
    route(v, MP_PATH_EXACT, "/e");
    route(v, MP_PATH_PREFIX, "");
    route(v, MP_PATH_PREFIX, "/f");
    T_OK(built());
    T_OK(goes("/a/b", "/a"));
    T_OK(goes("/cc", "/c.*"));
    T_OK(goes("/d", "/d"));
    T_OK(goes("/e", "/d|/e"));
    T_OK(goes("/f", ""));
    T_OK(find("a.test", "/f") != NULL);
    T_OK(find("a.test", "*") != NULL);
    T_OK(find("a.test", "") == NULL);
    finish();
}

static void test_connect(void)
{
    start();
    struct mp_conf_vhost *v = vhost("v");
    domain(v, "*");
    route(v, MP_PATH_CONNECT, "")->name = MP_STR("connect");
    route(v, MP_PATH_PREFIX, "/");
    T_OK(built());
    T_OK(goes("/", "/"));
    fx.s.req.method = MP_METHOD_CONNECT;
    T_OK(goes("", "connect"));
    T_OK(goes("/", "connect"));
    finish();
}

/* The index against the definition: the first route in order whose path fits. */
static bool fits(const struct mp_conf_route *r, struct mp_str path)
{
    bool starts = r->ignore_case
                      ? path.n >= r->path.n && mp_str_ieq(mp_str(path.p, r->path.n), r->path)
                      : mp_str_starts(path, r->path);
    switch (r->path_kind) {
    case MP_PATH_EXACT:
        return starts && path.n == r->path.n;
    case MP_PATH_PREFIX:
        return starts;
    case MP_PATH_SEPARATED_PREFIX:
        return starts && (path.n == r->path.n || path.p[r->path.n] == '/');
    default:
        return false;
    }
}

static size_t random_path(struct mp_rand *rnd, char *p, unsigned parts)
{
    static const char *const words[] = {"/", "/a",        "/b",        "/ab", "a",
                                        "b", "/abcdefgh", "abcdefghi", "A",   "\xff"};
    size_t n = (size_t)snprintf(p, 64, "/");
    for (unsigned i = 0; i < parts; i++) {
        n += (size_t)snprintf(p + n, 64 - n, "%s", words[mp_rand_below(rnd, MP_COUNTOF(words))]);
    }
    return MP_MIN(n, (size_t)63);
}

static void test_index_against_definition(void)
{
    struct mp_rand rnd;
    mp_rand_seed(&rnd, 7);
    static char paths[MANY][64];
    for (int round = 0; round < 300; round++) {
        start();
        struct mp_conf_vhost *v = vhost("v");
        domain(v, "*");
        uint32_t n = 1 + mp_rand_below(&rnd, MANY);
        for (uint32_t i = 0; i < n; i++) {
            size_t len = random_path(&rnd, paths[i], mp_rand_below(&rnd, 5));
            enum mp_conf_path_match kind = (enum mp_conf_path_match)mp_rand_below(&rnd, 3);
            if (kind == MP_PATH_SEPARATED_PREFIX && paths[i][len - 1] == '/') {
                kind = MP_PATH_PREFIX;
            }
            route(v, kind, paths[i])->ignore_case = mp_rand_below(&rnd, 8) == 0;
        }
        T_OK(built());
        for (int i = 0; i < 100; i++) {
            char path[64];
            random_path(&rnd, path, mp_rand_below(&rnd, 7));
            const struct mp_conf_route *expected = NULL;
            for (uint32_t k = 0; k < n && expected == NULL; k++) {
                expected = fits(&v->routes[k], S(path)) ? &v->routes[k] : NULL;
            }
            const struct mp_route *got = find("x", path);
            T_OK((got != NULL ? got->conf : NULL) == expected);
        }
        finish();
    }
}

static bool path_refused(enum mp_conf_path_match kind, const char *path, const char *part)
{
    start();
    struct mp_conf_vhost *v = vhost("v");
    domain(v, "*");
    route(v, kind, path)->line = 7;
    bool ok = mp_is_err(build()) && diag.n == 1 && strstr(diag.items[0].cause, part) != NULL &&
              diag.items[0].line == 7 &&
              strcmp(diag.items[0].path, "route_config[test].virtual_hosts[0].routes[0]") == 0;
    if (!ok && diag.n > 0) {
        printf("# %s: %s\n", diag.items[0].path, diag.items[0].cause);
    }
    finish();
    return ok;
}

static void test_refused_paths(void)
{
    T_OK(path_refused(MP_PATH_PREFIX, "a", "\"a\" matches nothing"));
    T_OK(path_refused(MP_PATH_EXACT, "", "\"\" matches nothing"));
    T_OK(path_refused(MP_PATH_PREFIX, "*", "\"*\" matches nothing"));
    T_OK(path_refused(MP_PATH_PREFIX, "/a?b", "compared without its query"));
    T_OK(path_refused(MP_PATH_EXACT, "/a#b", "compared without its query"));
    T_OK(path_refused(MP_PATH_SEPARATED_PREFIX, "/a/", "ends with a slash"));
    T_OK(path_refused(MP_PATH_REGEX, "/(a", "missing closing parenthesis"));
    T_OK(path_refused(MP_PATH_REGEX, "/(a)\\1", "back references"));
    T_OK(path_refused(MP_PATH_REGEX, "\\C", "\\C"));
    char big[4200];
    memset(big, 'a', sizeof(big));
    big[4097] = '\0';
    T_OK(path_refused(MP_PATH_REGEX, big, "longer than the limit"));
    start();
    struct mp_conf_vhost *v = vhost("v");
    domain(v, "*");
    big[4096] = '\0';
    route(v, MP_PATH_REGEX, big);
    T_OK(built());
    finish();
}

/* An expression that would take for ever is not "no match": the rule behind it must not be reached.
 */
static void test_expensive_expression(void)
{
    start();
    struct mp_conf_vhost *v = vhost("v");
    domain(v, "*");
    route(v, MP_PATH_EXACT, "/first");
    route(v, MP_PATH_REGEX, "/(a+)+(b|c)?[^a]");
    route(v, MP_PATH_PREFIX, "/");
    T_OK(built());
    T_OK(goes("/aaab", "/(a+)+(b|c)?[^a]"));
    T_OK(goes("/x", "/"));
    T_OK(goes("/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", ""));
    T_OK(goes("/first", "/first"));
    finish();
}

/* ---- conditions ---- */

struct condition_case {
    struct mp_conf_header_match m;
    const char *values[3]; /* of x-h in the request */
    bool holds;
};

static void test_header_conditions(void)
{
#define M(kind_, value_, ...)                                                                \
    {                                                                                        \
        .name = {"x-h", 3}, .kind = MP_MATCH_##kind_, .value = {value_, sizeof(value_) - 1}, \
        __VA_ARGS__                                                                          \
    }
    static struct condition_case cases[] = {
        {M(EXACT, "v"), {"v"}, true},
        {M(EXACT, "v"), {"V"}, false},
        {M(EXACT, "v", .ignore_case = true), {"V"}, true},
        {M(EXACT, "v"), {"vv"}, false},
        {M(EXACT, "v"), {NULL}, false},
        {M(EXACT, "v", .invert = true), {"w"}, true},
        {M(EXACT, "v", .invert = true), {"v"}, false},
        {M(EXACT, "v", .invert = true), {NULL}, false},
        {M(EXACT, "v", .invert = true, .treat_missing_as_empty = true), {NULL}, true},
        {M(EXACT, "", .treat_missing_as_empty = true), {NULL}, true},
        {M(EXACT, "a,b"), {"a", "b"}, true},
        {M(EXACT, "a"), {"a", "b"}, false},
        {M(PREFIX, "ab"), {"abc"}, true},
        {M(PREFIX, "ab"), {"a"}, false},
        {M(PREFIX, "AB", .ignore_case = true), {"abc"}, true},
        {M(SUFFIX, "bc"), {"abc"}, true},
        {M(SUFFIX, "bc"), {"bcd"}, false},
        {M(SUFFIX, "BC", .ignore_case = true), {"abc"}, true},
        {M(SUFFIX, "abc"), {"bc"}, false},
        {M(CONTAINS, "b"), {"abc"}, true},
        {M(CONTAINS, "B"), {"abc"}, false},
        {M(CONTAINS, "B", .ignore_case = true), {"abc"}, true},
        {M(CONTAINS, "BCD", .ignore_case = true), {"abc"}, false},
        {M(CONTAINS, "abcd", .ignore_case = true), {"abc"}, false},
        {M(CONTAINS, "", .ignore_case = true), {""}, true},
        {M(REGEX, "[0-9]{3}"), {"123"}, true},
        {M(REGEX, "[0-9]{3}"), {"1234"}, false},
        {M(REGEX, "[0-9]{3}", .invert = true), {"1234"}, true},
        {M(REGEX, "a,b"), {"a", "b"}, true},
        {M(PRESENT, "", .present_value = true), {"x"}, true},
        {M(PRESENT, "", .present_value = true), {""}, true},
        {M(PRESENT, "", .present_value = true), {NULL}, false},
        {M(PRESENT, "", .present_value = false), {NULL}, true},
        {M(PRESENT, "", .present_value = false), {"x"}, false},
        {M(PRESENT, "", .present_value = true, .invert = true), {NULL}, true},
        {M(PRESENT, "", .present_value = true, .invert = true), {"x"}, false},
        {M(PRESENT, "", .present_value = true, .treat_missing_as_empty = true), {NULL}, true},
        {M(RANGE, "", .range_from = -10, .range_to = 10), {"-10"}, true},
        {M(RANGE, "", .range_from = -10, .range_to = 10), {"-11"}, false},
        {M(RANGE, "", .range_from = -10, .range_to = 10), {"9"}, true},
        {M(RANGE, "", .range_from = -10, .range_to = 10), {"+9"}, true},
        {M(RANGE, "", .range_from = -10, .range_to = 10), {"10"}, false},
        {M(RANGE, "", .range_from = -10, .range_to = 10), {"1x"}, false},
        {M(RANGE, "", .range_from = -10, .range_to = 10), {""}, false},
        {M(RANGE, "", .range_from = -10, .range_to = 10, .invert = true), {"x"}, true},
        {M(RANGE, "", .range_from = INT64_MIN, .range_to = 0), {"-9223372036854775808"}, true},
        {M(RANGE, "", .range_from = INT64_MIN, .range_to = 0), {"-9223372036854775809"}, false},
        {M(RANGE, "", .range_from = 0, .range_to = INT64_MAX), {"9223372036854775808"}, false}};
#undef M
    for (size_t i = 0; i < MP_COUNTOF(cases); i++) {
        start();
        struct mp_conf_vhost *v = vhost("v");
        domain(v, "*");
        struct mp_conf_route *r = route(v, MP_PATH_PREFIX, "/");
        r->headers = &cases[i].m;
        r->n_headers = 1;
        T_OK(built());
        for (size_t k = 0; k < 3 && cases[i].values[k] != NULL; k++) {
            fx_add(&fx.s.req.hdrs, "x-h", cases[i].values[k]);
        }
        if ((find("a", "/") != NULL) != cases[i].holds) {
            printf("# case %zu\n", i);
        }
        T_EQ(find("a", "/") != NULL, cases[i].holds);
        finish();
    }
}

static void test_known_and_pseudo_headers(void)
{
    start();
    struct mp_conf_vhost *v = vhost("v");
    domain(v, "*");
    struct mp_conf_header_match m[] = {
        {.name = MP_STR(":method"), .value = MP_STR("POST")},
        {.name = MP_STR(":path"), .value = MP_STR("/a?b=c")},
        {.name = MP_STR(":authority"), .kind = MP_MATCH_PREFIX, .value = MP_STR("a.")},
        {.name = MP_STR("host"), .kind = MP_MATCH_SUFFIX, .value = MP_STR(".test")},
        {.name = MP_STR(":scheme"), .value = MP_STR("http")},
        {.name = MP_STR("user-agent"), .kind = MP_MATCH_CONTAINS, .value = MP_STR("curl")}};
    struct mp_conf_route *r = route(v, MP_PATH_PREFIX, "/a");
    r->headers = m;
    r->n_headers = MP_COUNTOF(m);
    T_OK(built());
    fx.s.req.method_name = MP_STR("POST");
    T_OK(goes("/a?b=c", ""));
    fx_add(&fx.s.req.hdrs, "user-agent", "curl/8");
    T_OK(goes("/a?b=c", "/a"));
    T_OK(goes("/a?b=d", ""));
    fx.s.req.method_name = MP_STR("GET");
    T_OK(goes("/a?b=c", ""));
    finish();
}

static void test_query_conditions(void)
{
    start();
    struct mp_conf_vhost *v = vhost("v");
    domain(v, "*");
    struct mp_conf_header_match exact = {.name = MP_STR("a"), .value = MP_STR("1")};
    struct mp_conf_header_match present = {
        .name = MP_STR("a"), .kind = MP_MATCH_PRESENT, .present_value = true};
    struct mp_conf_header_match two[] = {
        {.name = MP_STR("b"), .value = MP_STR("")},
        {.name = MP_STR("c"), .kind = MP_MATCH_REGEX, .value = MP_STR("x*")}};
    struct mp_conf_route *r = route(v, MP_PATH_PREFIX, "/q");
    r->name = MP_STR("one");
    r->queries = &exact;
    r->n_queries = 1;
    r = route(v, MP_PATH_PREFIX, "/q");
    r->name = MP_STR("any");
    r->queries = &present;
    r->n_queries = 1;
    r = route(v, MP_PATH_PREFIX, "/q");
    r->name = MP_STR("two");
    r->queries = two;
    r->n_queries = 2;
    T_OK(built());
    static const char *const cases[][2] = {
        {"/q", ""},        {"/q?", ""},           {"/q?a=1", "one"},
        {"/q?a=2", "any"}, {"/q?b=1&a=1", "one"}, {"/q?a", "any"},
        {"/q?a=", "any"},  {"/q?ab=1", ""},       {"/q?a=2&a=1", "any"},
        {"/q?A=1", ""},    {"/q?x&a=1&", "one"},  {"/q?a=1=1", "any"},
        {"/q?b&c", "two"}, {"/q?c=xx&b=", "two"}, {"/q?c=y&b", ""},
        {"/q?&&", ""}};
    for (size_t i = 0; i < MP_COUNTOF(cases); i++) {
        T_OK(goes(cases[i][0], cases[i][1]));
    }
    finish();
}

static void test_joined_values_need_the_arena(void)
{
    start();
    struct mp_conf_vhost *v = vhost("v");
    domain(v, "*");
    struct mp_conf_header_match m = {.name = MP_STR("x-h"), .value = MP_STR("1,2")};
    struct mp_conf_route *r = route(v, MP_PATH_PREFIX, "/a");
    r->headers = &m;
    r->n_headers = 1;
    route(v, MP_PATH_PREFIX, "/");
    T_OK(built());
    fx_add(&fx.s.req.hdrs, "x-h", "1");
    fx_add(&fx.s.req.hdrs, "x-h", "2");
    T_OK(goes("/a", "/a"));
    struct mp_arena none;
    mp_arena_init(&none, NULL, 0, NULL, 0, 0);
    fx.s.req.hdrs.arena = &none;
    T_OK(find("a", "/a") == NULL);
    T_OK(goes("/b", "/"));
    finish();
}

static void test_runtime_fraction(void)
{
    start();
    struct mp_conf_vhost *v = vhost("v");
    domain(v, "*");
    route(v, MP_PATH_PREFIX, "/a")->runtime_fraction_millionths = 250000;
    route(v, MP_PATH_PREFIX, "/b")->runtime_fraction_millionths = 0;
    T_OK(built());
    fx.s.req.path = MP_STR("/a");
    T_OK(mp_route_find(table, &fx.s.req, 0) != NULL);
    T_OK(mp_route_find(table, &fx.s.req, 249999) != NULL);
    T_OK(mp_route_find(table, &fx.s.req, 250000) == NULL);
    T_OK(mp_route_find(table, &fx.s.req, 1000000) != NULL);
    fx.s.req.path = MP_STR("/b");
    T_OK(mp_route_find(table, &fx.s.req, 0) == NULL);
    finish();
}

/* ---- require_tls ---- */

static void test_require_tls(void)
{
    start();
    struct mp_conf_vhost *all = vhost("all"), *external = vhost("external");
    domain(all, "all");
    all->require_tls_all = true;
    domain(external, "external");
    external->require_tls_external = true;
    route(all, MP_PATH_PREFIX, "/");
    route(external, MP_PATH_PREFIX, "/");
    T_OK(built());
    const struct mp_route *r = find("all:80", "/x?y");
    T_OK(r != NULL);
    T_EQ(r->conf->action, MP_ROUTE_REDIRECT);
    T_EQ(r->conf->redirect_status, 301);
    struct mp_str location = mp_route_redirect_location(r, &fx.s.req, &fx.arena);
    T_OK(mp_str_eq(location, MP_STR("https://all/x?y")));
    T_OK(mp_str_eq(mp_route_vhost_name(r), MP_STR("all")));
    T_EQ(find("external", "/")->conf->action, MP_ROUTE_REDIRECT);
    fx_add(&fx.s.req.hdrs, "x-envoy-internal", "true");
    T_EQ(find("external", "/")->conf->action, MP_ROUTE_DIRECT);
    T_EQ(find("all", "/")->conf->action, MP_ROUTE_REDIRECT);
    fx.s.req.scheme = MP_STR("https");
    T_EQ(find("all", "/")->conf->action, MP_ROUTE_DIRECT);
    finish();
}

/* ---- rewriting ---- */

static bool rewrites(const struct mp_conf_route *like, const char *path, const char *expected)
{
    start();
    struct mp_conf_vhost *v = vhost("v");
    domain(v, "*");
    struct mp_conf_route *r = route(v, like->path_kind, "");
    *r = *like;
    r->action = MP_ROUTE_CLUSTER;
    r->cluster = MP_STR("c");
    r->runtime_fraction_millionths = 1000000;
    struct mp_str got = MP_STR("(none)");
    if (built() && find("a", path) != NULL) {
        got = mp_route_rewrite_path(find("a", path), S(path), &fx.arena);
    }
    bool ok = mp_str_eq(got, S(expected));
    if (!ok) {
        printf("# %s becomes " MP_STR_FMT ", expected %s\n", path, MP_STR_ARG(got), expected);
    }
    finish();
    return ok;
}

static void test_rewrite(void)
{
    struct mp_conf_route none = {.path_kind = MP_PATH_PREFIX, .path = MP_STR("/")};
    T_OK(rewrites(&none, "/a?b", "/a?b"));
    struct mp_conf_route prefix = {
        .path_kind = MP_PATH_PREFIX, .path = MP_STR("/api"), .prefix_rewrite = MP_STR("/v2")};
    T_OK(rewrites(&prefix, "/api", "/v2"));
    T_OK(rewrites(&prefix, "/api/x?y=1", "/v2/x?y=1"));
    T_OK(rewrites(&prefix, "/api?q", "/v2?q"));
    T_OK(rewrites(&prefix, "/apis", "/v2s"));
    prefix.prefix_rewrite = MP_STR("/");
    T_OK(rewrites(&prefix, "/api", "/"));
    T_OK(rewrites(&prefix, "/api?q", "/?q"));
    T_OK(rewrites(&prefix, "/api/x", "//x")); /* as Envoy: the prefix is text */
    prefix.path = MP_STR("/api/");
    T_OK(rewrites(&prefix, "/api/x", "/x"));
    prefix.path = MP_STR("/API/");
    prefix.ignore_case = true;
    T_OK(rewrites(&prefix, "/aPi/x", "/x"));
    prefix.prefix_rewrite = MP_STR("new");
    T_OK(rewrites(&prefix, "/api/x", "/newx"));
    struct mp_conf_route separated = {.path_kind = MP_PATH_SEPARATED_PREFIX,
                                      .path = MP_STR("/api"),
                                      .prefix_rewrite = MP_STR("/v2")};
    T_OK(rewrites(&separated, "/api/x?q", "/v2/x?q"));
    T_OK(rewrites(&separated, "/api", "/v2"));
    struct mp_conf_route exact = {
        .path_kind = MP_PATH_EXACT, .path = MP_STR("/a"), .prefix_rewrite = MP_STR("/b")};
    T_OK(rewrites(&exact, "/a?q", "/b?q"));
    struct mp_conf_route regex = {
        .path_kind = MP_PATH_REGEX, .path = MP_STR("/a.*"), .prefix_rewrite = MP_STR("/b")};
    T_OK(rewrites(&regex, "/axy?q", "/b?q"));
}

static void test_regex_rewrite(void)
{
    struct mp_conf_route r = {.path_kind = MP_PATH_PREFIX,
                              .path = MP_STR("/"),
                              .regex_rewrite = MP_STR("^/user/([0-9]+)/(.*)$"),
                              .regex_substitution = MP_STR("/\\2/of/\\1")};
    T_OK(rewrites(&r, "/user/12/books?q=1", "/books/of/12?q=1"));
    T_OK(rewrites(&r, "/other/12?q=1", "/other/12?q=1"));
    r.regex_rewrite = MP_STR("a");
    r.regex_substitution = MP_STR("<\\0\\\\>");
    T_OK(rewrites(&r, "/banana", "/b<a\\>n<a\\>n<a\\>"));
    r.regex_rewrite = MP_STR("b*");
    r.regex_substitution = MP_STR("-");
    T_OK(rewrites(&r, "/abb", "/-/-a-")); /* no empty match right after another match */
    r.regex_rewrite = MP_STR("/x(y)?");
    r.regex_substitution = MP_STR("\\1z");
    T_OK(rewrites(&r, "/x", "/z"));
    r.regex_rewrite = MP_STR(".*");
    r.regex_substitution = MP_STR("");
    T_OK(rewrites(&r, "/x?q", "/?q"));
    r.regex_rewrite = MP_STR("(a+)+[^a]");
    T_OK(rewrites(&r, "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", ""));
}

static bool location(const struct mp_conf_route *like, const char *host, const char *path,
                     const char *expected)
{
    start();
    struct mp_conf_vhost *v = vhost("v");
    domain(v, "*");
    struct mp_conf_route *r = route(v, MP_PATH_PREFIX, "/a");
    enum mp_conf_path_match kind = like->path_kind;
    *r = *like;
    r->path_kind = kind;
    r->path = MP_STR("/a");
    r->action = MP_ROUTE_REDIRECT;
    r->redirect_status = 301;
    r->runtime_fraction_millionths = 1000000;
    struct mp_str got = MP_STR("(none)");
    if (built() && find(host, path) != NULL) {
        got = mp_route_redirect_location(find(host, path), &fx.s.req, &fx.arena);
    }
    bool ok = mp_str_eq(got, S(expected));
    if (!ok) {
        printf("# location " MP_STR_FMT ", expected %s\n", MP_STR_ARG(got), expected);
    }
    finish();
    return ok;
}

static void test_redirects(void)
{
    struct mp_conf_route https = {.redirect_https = true};
    T_OK(location(&https, "test", "/a?b=c", "https://test/a?b=c"));
    T_OK(location(&https, "test:80", "/a", "https://test/a"));
    T_OK(location(&https, "test:8080", "/a", "https://test:8080/a"));
    T_OK(location(&https, "[::1]:80", "/a", "https://[::1]/a"));
    T_OK(location(&https, "[::1]", "/a", "https://[::1]/a"));
    https.redirect_port = 8443;
    T_OK(location(&https, "test:8080", "/a", "https://test:8443/a"));
    T_OK(location(&https, "[::1]:1", "/a", "https://[::1]:8443/a"));
    https.redirect_host = MP_STR("new.test");
    T_OK(location(&https, "test:8080", "/a", "https://new.test:8443/a"));
    https.redirect_port = 7;
    T_OK(location(&https, "test", "/a", "https://new.test:7/a"));
    struct mp_conf_route host = {.redirect_host = MP_STR("new.test:81")};
    T_OK(location(&host, "test:80", "/a?b=c", "http://new.test:81/a?b=c"));
    struct mp_conf_route scheme = {.redirect_scheme = MP_STR("https")};
    T_OK(location(&scheme, "test:80", "/a", "https://test/a"));
    scheme.redirect_scheme = MP_STR("http");
    T_OK(location(&scheme, "test:80", "/a", "http://test:80/a"));
    struct mp_conf_route path = {.redirect_path = MP_STR("/z")};
    T_OK(location(&path, "t", "/a?b=c", "http://t/z?b=c"));
    path.redirect_path = MP_STR("/z?own");
    T_OK(location(&path, "t", "/a?b=c", "http://t/z?own"));
    path.redirect_strip_query = true;
    T_OK(location(&path, "t", "/a?b=c", "http://t/z?own"));
    path.redirect_path = MP_STR("/z");
    T_OK(location(&path, "t", "/a?b=c", "http://t/z"));
    struct mp_conf_route prefix = {.redirect_prefix = MP_STR("/new")};
    T_OK(location(&prefix, "t", "/a/x?q", "http://t/new/x?q"));
    T_OK(location(&prefix, "t", "/ax", "http://t/newx"));
    prefix.redirect_strip_query = true;
    T_OK(location(&prefix, "t", "/a/x?q", "http://t/new/x"));
    prefix.path_kind = MP_PATH_EXACT;
    T_OK(location(&prefix, "t", "/a?q", "http://t/new"));
    struct mp_conf_route strip = {.redirect_strip_query = true};
    T_OK(location(&strip, "t", "/a?b=c", "http://t/a"));
}

/* From https to http the default port goes too. */
static void test_redirect_from_https(void)
{
    start();
    struct mp_conf_vhost *v = vhost("v");
    domain(v, "*");
    struct mp_conf_route *r = route(v, MP_PATH_PREFIX, "/");
    r->action = MP_ROUTE_REDIRECT;
    r->redirect_status = 308;
    r->redirect_scheme = MP_STR("http");
    T_OK(built());
    fx.s.req.scheme = MP_STR("https");
    const struct mp_route *got = find("t:443", "/");
    struct mp_str l = mp_route_redirect_location(got, &fx.s.req, &fx.arena);
    T_OK(mp_str_eq(l, MP_STR("http://t/")));
    got = find("t:80", "/");
    l = mp_route_redirect_location(got, &fx.s.req, &fx.arena);
    T_OK(mp_str_eq(l, MP_STR("http://t:80/")));
    struct mp_arena none;
    mp_arena_init(&none, NULL, 0, NULL, 0, 0);
    T_OK(mp_route_redirect_location(got, &fx.s.req, &none).p == NULL);
    finish();
}

static bool route_refused(const struct mp_conf_route *like, const char *part)
{
    start();
    struct mp_conf_vhost *v = vhost("v");
    domain(v, "*");
    struct mp_conf_route *r = route(v, MP_PATH_PREFIX, "/a");
    *r = *like;
    r->path = MP_STR("/a");
    bool ok = refused(part);
    finish();
    return ok;
}

static void test_refused_routes(void)
{
    struct mp_conf_route r = {.action = MP_ROUTE_REDIRECT, .redirect_status = 304};
    T_OK(route_refused(&r, "304 is no redirect"));
    r.redirect_status = 302;
    r.redirect_port = 65536;
    T_OK(route_refused(&r, "65536 is out of range"));
    r.redirect_port = 0;
    r.redirect_path = MP_STR("/a\r\nx: y");
    T_OK(route_refused(&r, "redirect.path_redirect: byte 0x0d"));
    r.redirect_path = MP_STR("/a b");
    T_OK(route_refused(&r, "byte 0x20"));
    struct mp_conf_route c = {.action = MP_ROUTE_CLUSTER};
    T_OK(route_refused(&c, "a cluster without a name"));
    c.cluster = MP_STR("c");
    c.prefix_rewrite = MP_STR("/\x7f");
    T_OK(route_refused(&c, "route.prefix_rewrite: byte 0x7f"));
    c.prefix_rewrite = MP_STR("/a?b");
    T_OK(route_refused(&c, "a query is not allowed"));
    c.prefix_rewrite = MP_STR("/a");
    c.regex_rewrite = MP_STR("a");
    T_OK(route_refused(&c, "both prefix_rewrite and regex_rewrite"));
    c.prefix_rewrite = MP_STR("");
    c.regex_substitution = MP_STR("\\1");
    T_OK(route_refused(&c, "\\1: the expression has 0 groups"));
    c.regex_substitution = MP_STR("\\x");
    T_OK(route_refused(&c, "a backslash must be followed"));
    c.regex_substitution = MP_STR("a\\");
    T_OK(route_refused(&c, "a backslash must be followed"));
    struct mp_conf_header_match m = {.kind = MP_MATCH_EXACT};
    struct mp_conf_route h = {.action = MP_ROUTE_NONE, .headers = &m, .n_headers = 1};
    T_OK(route_refused(&h, "a condition without a name"));
    m.name = MP_STR("a b");
    T_OK(route_refused(&h, "\"a b\" is not a header name"));
    m.name = MP_STR("a");
    m.kind = MP_MATCH_REGEX;
    m.value = MP_STR("[");
    T_OK(route_refused(&h, "headers: regular expression \"[\""));
}

static void test_direct_body_limit(void)
{
    static char body[101];
    for (size_t n = 99; n <= 101; n++) {
        start();
        conf.max_direct_body = 100;
        struct mp_conf_vhost *v = vhost("v");
        domain(v, "*");
        route(v, MP_PATH_PREFIX, "/")->direct_body = mp_str(body, n);
        T_EQ(build().code, n <= 100 ? MP_E_OK : MP_E_LIMIT);
        finish();
    }
    for (unsigned status = 199; status <= 600; status += status == 200 ? 399 : 1) {
        start();
        struct mp_conf_vhost *v = vhost("v");
        domain(v, "*");
        route(v, MP_PATH_PREFIX, "/")->direct_status = (uint16_t)status;
        T_EQ(mp_is_err(build()), status < 200 || status > 599);
        finish();
    }
}

/* ---- targets, headers, overrides ---- */

static void test_targets(void)
{
    start();
    struct mp_conf_vhost *v = vhost("v");
    domain(v, "*");
    struct mp_conf_route *r = route(v, MP_PATH_PREFIX, "/one");
    r->action = MP_ROUTE_CLUSTER;
    r->cluster = MP_STR("b");
    struct mp_conf_header_add add = {.name = MP_STR("x-a"), .value = MP_STR("1")};
    struct mp_conf_weighted w[] = {
        {.cluster = MP_STR("a"), .weight = 3, .headers = {.req_add = &add, .n_req_add = 1}},
        {.cluster = MP_STR("zero"), .weight = 0},
        {.cluster = MP_STR("b"), .weight = 1}};
    r = route(v, MP_PATH_PREFIX, "/w");
    r->action = MP_ROUTE_WEIGHTED;
    r->weighted = w;
    r->n_weighted = 3;
    T_OK(built());
    const struct mp_route *one = find("a", "/one"), *many = find("a", "/w");
    T_EQ(mp_route_pick(one, 12345)->cluster_id, mp_names_id(names, MP_STR("b")));
    T_OK(mp_str_eq(mp_route_pick(one, 0)->cluster, MP_STR("b")));
    T_EQ(many->weight_total, 4);
    uint32_t a = mp_names_id(names, MP_STR("a")), b = mp_names_id(names, MP_STR("b"));
    for (uint64_t i = 0; i < 8; i++) {
        T_EQ(mp_route_pick(many, i)->cluster_id, i % 4 < 3 ? a : b);
    }
    T_OK(many->targets[0].ops != NULL);
    T_OK(many->targets[2].ops == NULL);
    finish();

    start();
    v = vhost("v");
    domain(v, "*");
    r = route(v, MP_PATH_PREFIX, "/w");
    r->action = MP_ROUTE_WEIGHTED;
    r->weighted = w;
    r->n_weighted = 3;
    w[0].weight = w[2].weight = 0;
    T_OK(refused("the weights add up to 0"));
    w[0].weight = UINT32_MAX;
    w[2].weight = 1;
    T_OK(refused("more than 4294967295"));
    w[2].weight = 0;
    T_OK(built());
    finish();
}

static void test_header_ops_order(void)
{
    for (int turned = 0; turned < 2; turned++) {
        start();
        struct mp_conf_header_add add = {.name = MP_STR("x-a"), .value = MP_STR("1")};
        struct mp_conf_vhost *v = vhost("v");
        domain(v, "*");
        v->ops = (struct mp_conf_header_ops){.req_add = &add, .n_req_add = 1};
        route(v, MP_PATH_PREFIX, "/a");
        route(v, MP_PATH_PREFIX, "/b")->ops = v->ops;
        conf.ops_most_specific_wins = turned;
        T_OK(built());
        const struct mp_route *a = find("a", "/a"), *b = find("a", "/b");
        T_EQ(a->target_ops_last, turned);
        T_OK(a->ops[0] == NULL && a->ops[1] != NULL && a->ops[2] == NULL);
        T_OK(b->ops[turned ? 2 : 0] != NULL && b->ops[1] == a->ops[1] &&
             b->ops[turned ? 0 : 2] == NULL);
        finish();
    }
    start();
    struct mp_conf_header_add bad = {.name = MP_STR("host"), .value = MP_STR("1")};
    struct mp_conf_vhost *v = vhost("v");
    domain(v, "*");
    v->ops = (struct mp_conf_header_ops){.req_add = &bad, .n_req_add = 1};
    T_OK(refused("cannot add \"host\""));
    finish();
}

static void test_overrides(void)
{
    start();
    static const struct mp_conf_filter_type fa = {.name = "a"}, fb = {.name = "b"};
    struct mp_conf_http_filter filters[] = {
        {.name = MP_STR("one"), .type = &fa},
        {.name = MP_STR("two"), .type = &fb},
        {.name = MP_STR("three"), .type = &fa, .disabled = true},
        {.name = MP_STR("last"), .type = &fa}};
    http.filters = filters;
    http.n_filters = 4;
    int own[3];
    struct mp_conf_filter_override on_vhost[] = {
        {.name = MP_STR("one"), .type = &fa, .parsed = &own[0]},
        {.name = MP_STR("two"), .type = &fb, .parsed = &own[1]}};
    struct mp_conf_filter_override on_route[] = {
        {.name = MP_STR("three"), .type = &fa, .parsed = &own[2]},
        {.name = MP_STR("two"), .disabled = true}};
    struct mp_conf_vhost *v = vhost("v"), *plain = vhost("plain");
    domain(v, "*");
    domain(plain, "plain");
    v->overrides = on_vhost;
    v->n_overrides = 2;
    struct mp_conf_route *r = route(v, MP_PATH_PREFIX, "/a");
    r->overrides = on_route;
    r->n_overrides = 2;
    route(v, MP_PATH_PREFIX, "/b");
    route(plain, MP_PATH_PREFIX, "/");
    T_OK(built());
    const struct mp_route_override *a = find("x", "/a")->overrides, *b = find("x", "/b")->overrides;
    T_OK(a[0].conf == &own[0] && !a[0].disabled && a[0].enabled);
    T_OK(a[1].conf == NULL && a[1].disabled && !a[1].enabled);
    T_OK(a[2].conf == &own[2] && a[2].enabled);
    T_OK(a[3].conf == NULL && !a[3].disabled && !a[3].enabled);
    T_OK(b[1].conf == &own[1] && !b[1].disabled);
    T_OK(b[2].conf == NULL && !b[2].disabled && !b[2].enabled);
    T_OK(find("plain", "/")->overrides == NULL);

    mp_obj_unref(&table->obj);
    table = NULL;
    on_route[0].name = MP_STR("four");
    T_OK(refused("no filter \"four\""));
    on_route[0].name = MP_STR("last");
    on_route[0].disabled = true;
    T_OK(refused("\"last\", cannot be disabled"));
    on_route[0] = (struct mp_conf_filter_override){.name = MP_STR("three"), .type = &fb};
    T_OK(refused("\"three\" is a a, the configuration is for b"));
    finish();
}

/* ---- the object ---- */

static bool kept_destroyed;
static void destroy_kept(struct mp_obj *o)
{
    kept_destroyed = true;
    mp_obj_fini(o);
}

static void test_object(void)
{
    start();
    static const struct mp_obj_ops ops = {"kept", destroy_kept};
    struct mp_obj kept;
    kept_destroyed = false;
    mp_obj_init(&kept, &ops, MP_STR("kept"), 0, 1);
    struct mp_conf_vhost *v = vhost("v");
    domain(v, "*");
    route(v, MP_PATH_REGEX, "/.*");
    static const struct mp_conf_filter_type fa = {.name = "a"};
    struct mp_conf_http_filter filters[] = {{.name = MP_STR("one"), .type = &fa},
                                            {.name = MP_STR("two"), .type = &fa}};
    http.filters = filters;
    http.n_filters = 2;
    struct mp_route_build b = {.conf = &conf,
                               .keep = &kept,
                               .http = &http,
                               .cluster_id = cluster_id,
                               .arg = names,
                               .n_workers = 3};
    conf.source.hash = 1;
    struct mp_route_table *one, *two, *three;
    T_OK(!mp_is_err(mp_route_table_build(&b, &diag, &one)));
    T_OK(!mp_is_err(mp_route_table_build(&b, &diag, &two)));
    T_EQ(one->obj.n_slots, 3);
    T_OK(mp_str_eq(one->obj.name, MP_STR("test")));
    T_OK(one->obj.hash == two->obj.hash);
    filters[0].disabled = true;
    T_OK(!mp_is_err(mp_route_table_build(&b, &diag, &three)));
    T_OK(one->obj.hash != three->obj.hash);
    mp_obj_unref(&three->obj);
    filters[0].disabled = false;
    conf.source.hash = 2;
    T_OK(!mp_is_err(mp_route_table_build(&b, &diag, &three)));
    T_OK(one->obj.hash != three->obj.hash);
    mp_obj_unref(&kept);
    mp_obj_unref(&one->obj);
    mp_obj_unref(&two->obj);
    T_OK(!kept_destroyed);
    mp_obj_unref(&three->obj);
    T_OK(kept_destroyed);
    finish();
}

static void test_every_error_is_reported(void)
{
    start();
    struct mp_conf_vhost *v = vhost("v"), *w = vhost("w");
    domain(v, "*");
    domain(w, "*");
    route(v, MP_PATH_PREFIX, "a");
    route(v, MP_PATH_PREFIX, "/?");
    route(w, MP_PATH_REGEX, "(");
    T_OK(mp_is_err(build()));
    T_EQ(diag.errors, 4);
    T_OK(strcmp(diag.items[3].path, "route_config[test].virtual_hosts[1].routes[0]") == 0);
    finish();
}

static void test_empty_table(void)
{
    start();
    T_OK(built());
    T_OK(find("a", "/") == NULL);
    finish();
    start();
    domain(vhost("v"), "*");
    T_OK(built());
    T_OK(find("a", "/") == NULL);
    finish();
}

int main(void)
{
    mp_hash_set_key(1, 2);
    T_RUN(test_hosts);
    T_RUN(test_no_default_host);
    T_RUN(test_ignore_port);
    T_RUN(test_host_length);
    T_RUN(test_refused_domains);
    T_RUN(test_paths);
    T_RUN(test_order_decides);
    T_RUN(test_connect);
    T_RUN(test_index_against_definition);
    T_RUN(test_refused_paths);
    T_RUN(test_expensive_expression);
    T_RUN(test_header_conditions);
    T_RUN(test_known_and_pseudo_headers);
    T_RUN(test_query_conditions);
    T_RUN(test_joined_values_need_the_arena);
    T_RUN(test_runtime_fraction);
    T_RUN(test_require_tls);
    T_RUN(test_rewrite);
    T_RUN(test_regex_rewrite);
    T_RUN(test_redirects);
    T_RUN(test_redirect_from_https);
    T_RUN(test_refused_routes);
    T_RUN(test_direct_body_limit);
    T_RUN(test_targets);
    T_RUN(test_header_ops_order);
    T_RUN(test_overrides);
    T_RUN(test_object);
    T_RUN(test_every_error_is_reported);
    T_RUN(test_empty_table);
    return T_DONE();
}
