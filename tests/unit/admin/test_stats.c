/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The three forms of stats, from a store made by hand. */
#include "admin/stat_rows.h"
#include "base/hash.h"
#include "core/stats.h"
#include "prom_check.h"
#include "t.h"

static void prometheus(struct mp_admin_stats *s, struct mp_sb *out)
{
    (void)mp_admin_stats_prometheus(s, 0, out);
}

#define MS 1000

static struct mp_stat_store *store;
static struct mp_sb out;
static struct prom prom;

static const struct mp_stat_def custom_defs[] = {
    {.name = "marchproxy_requests_by_path_a-b",
     .kind = MP_STAT_COUNTER,
     .help = "back\\slash \"q\"\nline"},
    {.name = "marchproxy_requests_by_path_a.b", .kind = MP_STAT_COUNTER, .help = "same series"},
    {.name = "marchproxy_requests_by_path_a_b", .kind = MP_STAT_GAUGE, .help = "other type"},
    {.name = "9starts_with_digit", .kind = MP_STAT_GAUGE, .help = "digit"},
    {.name = "plain_sizes", .kind = MP_STAT_HISTOGRAM, .help = "unscaled", .scale = 1},
};
static const struct mp_stat_schema custom = {
    .kind = "custom", .text_prefix = "", .prom_prefix = "", .defs = custom_defs, .n = 5};

#define ALL ((1u << MP_STAT_COUNTER) | (1u << MP_STAT_GAUGE) | (1u << MP_STAT_HISTOGRAM))

/* Reads with the query, prints in a form; the text is in out. */
static int print(struct mp_admin_stat_query q,
                 void (*form)(struct mp_admin_stats *, struct mp_sb *))
{
    struct mp_admin_stats rows;
    q.kinds = q.kinds != 0 ? q.kinds : ALL;
    q.prometheus = form == prometheus;
    mp_err err = mp_admin_stats_read(store, &q, &rows);
    mp_sb_reset(&out);
    if (!mp_is_err(err)) {
        form(&rows, &out);
        mp_admin_stats_fini(&rows);
    }
    return err.code;
}

#define Q(...) ((struct mp_admin_stat_query){__VA_ARGS__})

static bool has(const char *text)
{
    return strstr(out.p, text) != NULL;
}

static void test_doubles(void)
{
    static const struct {
        double v;
        const char *text;
    } rows[] = {{0, "0"},
                {1, "1"},
                {0.5, "0.5"},
                {-2.25, "-2.25"},
                {3600000, "3600000"},
                {1234567890123456, "1234567890123456"},
                {1e15, "1000000000000000"},
                {1e16, "1e+16"},
                {0.1 + 0.2, "0.30000000000000004"},
                {1.0 / 3, "0.3333333333333333"},
                {0.0001, "0.0001"},
                {0.00001, "1e-05"},
                {1e300, "1e+300"},
                {0.0 / 0.0, "nan"},
                {1.0 / 0.0, "inf"},
                {100.025, "100.025"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        mp_sb_reset(&out);
        mp_admin_add_double(&out, rows[i].v);
        if (strcmp(out.p, rows[i].text) != 0) {
            printf("# %s instead of %s\n", out.p, rows[i].text);
        }
        T_OK(strcmp(out.p, rows[i].text) == 0);
    }
}

static struct mp_stat_scope *cluster_a, *cluster_odd, *server, *http1, *own;

static void fill(void)
{
    cluster_a = mp_stat_scope_get(store, &mp_stats_cluster, MP_STR("a"));
    cluster_odd = mp_stat_scope_get(store, &mp_stats_cluster, MP_STR("b:1 \"x\\\n\xff"));
    server = mp_stat_scope_get(store, &mp_stats_server, MP_STR(""));
    http1 = mp_stat_scope_get(store, &mp_stats_http1, MP_STR("downstream"));
    own = mp_stat_scope_get(store, &custom, MP_STR(""));
    for (uint32_t w = 0; w < 2; w++) {
        const struct mp_stat_block *a = mp_stat_block(cluster_a, w);
        mp_stat_add(a, MP_ST_CLUSTER_RQ_TOTAL, 5);
        mp_stat_inc(a, MP_ST_CLUSTER_RQ_2XX);
        mp_stat_inc(a, MP_ST_CLUSTER_RQ_ACTIVE);
    }
    const struct mp_stat_block *a = mp_stat_block(cluster_a, 0);
    mp_stat_record(a, MP_ST_CLUSTER_RQ_TIME, 20); /* us */
    mp_stat_record(a, MP_ST_CLUSTER_RQ_TIME, 700);
    mp_stat_record(a, MP_ST_CLUSTER_RQ_TIME, 30 * MS);
    mp_stat_inc(mp_stat_block(http1, 0), mp_stats_http1_index(MP_H1_ERR_CL_AND_TE));
    mp_stat_set(mp_stat_block(server, 1), MP_ST_SERVER_LIVE, 1);
    mp_stat_add(mp_stat_block(own, 0), 0, 3);
    mp_stat_add(mp_stat_block(own, 0), 1, 4);
    mp_stat_add(mp_stat_block(own, 0), 2, 9);
    mp_stat_record(mp_stat_block(own, 0), 4, 77);
}

static void test_text(void)
{
    T_EQ(print(Q(), mp_admin_stats_text), MP_E_OK);
    T_OK(has("cluster.a.upstream_rq_total: 10\n"));
    T_OK(has("cluster.a.upstream_rq_2xx: 2\n"));
    T_OK(has("cluster.b_1_\"x\\_\xff.upstream_rq_total: 0\n"));
    T_OK(has("\nserver.live: 1\n"));
    T_OK(has("http1.downstream.cl_and_te: 1\n"));
    T_OK(has("cluster.a.upstream_cx_connect_ms: No recorded values\n"));
    T_OK(has("\nmarchproxy_requests_by_path_a-b: 3\n"));
}

static void test_text_is_sorted(void)
{
    T_EQ(print(Q(), mp_admin_stats_text), MP_E_OK);
    char last[256] = "";
    bool histograms = false;
    size_t lines = 0;
    for (char *line = strtok(out.p, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char *value = strstr(line, ": ");
        T_OK(value != NULL && (size_t)(value - line) < sizeof(last));
        *value = '\0';
        value += 2;
        bool is_hist = value[0] == 'P' || value[0] == 'N';
        if (is_hist && !histograms) {
            histograms = true;
            last[0] = '\0';
        }
        T_OK(is_hist == histograms);
        T_OK(strcmp(last, line) < 0);
        strcpy(last, line);
        lines++;
    }
    T_EQ(lines, 2 * MP_ST_CLUSTER_COUNT + MP_ST_SERVER_COUNT + MP_ST_HTTP1_COUNT + 5);
}

static void test_histogram_text(void)
{
    T_EQ(print(Q(.kinds = 1u << MP_STAT_HISTOGRAM), mp_admin_stats_text), MP_E_OK);
    T_OK(has("cluster.a.upstream_rq_time: P0(nan,0.02) P25(nan,"));
    T_OK(has(" P99.5(nan,"));
    T_OK(has(" P99.9(nan,"));
    T_OK(!has("upstream_rq_total"));
    mp_stat_flush(store);
    T_EQ(print(Q(.kinds = 1u << MP_STAT_HISTOGRAM), mp_admin_stats_text), MP_E_OK);
    T_OK(has("cluster.a.upstream_rq_time: P0(0.02,0.02) P25("));
    mp_stat_flush(store); /* an interval without values */
    T_EQ(print(Q(.kinds = 1u << MP_STAT_HISTOGRAM), mp_admin_stats_text), MP_E_OK);
    T_OK(has("cluster.a.upstream_rq_time: P0(nan,0.02) "));
    T_OK(has("plain_sizes: P0(nan,7"));
}

static void test_selection(void)
{
    struct mp_regex *re;
    const char *cause;
    struct mp_arena arena;
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 1024, 1 << 20);
    T_OK(!mp_is_err(mp_regex_new(MP_STR("^cluster\\.a\\.upstream_rq_(total|2xx)$"), false, &arena,
                                 &re, &cause)));
    T_EQ(print(Q(.filter = re), mp_admin_stats_text), MP_E_OK);
    T_OK(strcmp(out.p, "cluster.a.upstream_rq_2xx: 2\ncluster.a.upstream_rq_total: 10\n") == 0);
    T_EQ(print(Q(.filter = re), mp_admin_stats_json), MP_E_OK);
    T_OK(strcmp(out.p, "{\"stats\":[{\"name\":\"cluster.a.upstream_rq_2xx\",\"value\":2},"
                       "{\"name\":\"cluster.a.upstream_rq_total\",\"value\":10}]}") == 0);
    T_EQ(print(Q(.filter = re, .kinds = 1u << MP_STAT_GAUGE), mp_admin_stats_text), MP_E_OK);
    T_EQ(out.n, 0);
    T_EQ(print(Q(.filter = re, .kinds = 1u << MP_STAT_GAUGE), mp_admin_stats_json), MP_E_OK);
    T_OK(strcmp(out.p, "{\"stats\":[]}") == 0);
    mp_regex_free(re);
    T_EQ(print(Q(.usedonly = true), mp_admin_stats_text), MP_E_OK);
    T_OK(!has(": 0\n"));
    T_OK(!has("No recorded values"));
    T_OK(has("cluster.a.upstream_rq_time: P0("));
    mp_arena_fini(&arena);
}

/* A filter that cannot be decided fails the request and does not hide rows. */
static void test_expensive_filter(void)
{
    struct mp_regex *re;
    const char *cause;
    struct mp_arena arena;
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 1024, 1 << 20);
    T_OK(!mp_is_err(mp_regex_new(MP_STR("^(([a-z_.]*)*)*$"), false, &arena, &re, &cause)));
    struct mp_stat_scope *sc =
        mp_stat_scope_get(store, &mp_stats_cluster,
                          MP_STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1"));
    T_EQ(print(Q(.filter = re), mp_admin_stats_text), MP_E_LIMIT);
    mp_stat_scope_unref(sc);
    mp_regex_free(re);
    mp_arena_fini(&arena);
}

static void test_json_histograms(void)
{
    T_EQ(print(Q(.kinds = 1u << MP_STAT_HISTOGRAM), mp_admin_stats_json), MP_E_OK);
    struct mp_str text = mp_sb_str(&out);
    T_OK(mp_str_starts(text, MP_STR("{\"stats\":[{\"histograms\":{\"supported_quantiles\":"
                                    "[0,25,50,75,90,95,99,99.5,99.9,100],\"computed_quantiles\":["
                                    "{\"name\":\"cluster.a.upstream_cx_connect_ms\",\"values\":["
                                    "{\"interval\":null,\"cumulative\":null},")));
    T_OK(has("{\"name\":\"cluster.a.upstream_rq_time\",\"values\":["
             "{\"interval\":null,\"cumulative\":0.02}"));
    T_OK(!has("nan"));
    T_OK(mp_str_ends(text, MP_STR("}]}]}}]}")));
}

static void test_json_escapes(void)
{
    T_EQ(print(Q(.kinds = 1u << MP_STAT_GAUGE), mp_admin_stats_json), MP_E_OK);
    T_OK(has("{\"name\":\"cluster.b_1_\\\"x\\\\_\xef\xbf\xbd.membership_total\",\"value\":0}"));
}

static void test_prometheus(void)
{
    T_EQ(print(Q(), prometheus), MP_E_OK);
    bool ok = prom_parse(&prom, out.p);
    if (!ok) {
        printf("# %s at %.100s\n", prom.why, prom.p);
    }
    T_OK(ok);
    T_OK(prom_histograms_are_cumulative(&prom));
    T_EQ(prom_value(&prom, "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"a\"}"), 10);
    T_EQ(prom_value(&prom, "envoy_cluster_upstream_rq_active{envoy_cluster_name=\"a\"}"), 2);
    T_EQ(prom_value(&prom, "envoy_cluster_health_check_success{envoy_cluster_name=\"a\"}"), 0);
    T_EQ(prom_value(&prom, "envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"2\",envoy_"
                           "cluster_name=\"a\"}"),
         2);
    T_EQ(prom_value(&prom, "envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"5\",envoy_"
                           "cluster_name=\"a\"}"),
         0);
    T_EQ(prom_value(&prom, "envoy_http1_cl_and_te{envoy_http1_side=\"downstream\"}"), 1);
    T_EQ(prom_value(&prom, "envoy_server_live"), 1);
    T_OK(has("envoy_cluster_upstream_rq_total{envoy_cluster_name=\"b:1 \\\"x\\\\\\n\xef\xbf\xbd\"} "
             "0\n"));
}

static void test_prometheus_histogram(void)
{
    T_EQ(print(Q(.usedonly = true), prometheus), MP_E_OK);
    T_OK(prom_parse(&prom, out.p));
#define BUCKET(le) "envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"a\",le=\"" le "\"}"
    T_EQ(prom_value(&prom, BUCKET("0.5")), 1);
    T_EQ(prom_value(&prom, BUCKET("1")), 2);
    T_EQ(prom_value(&prom, BUCKET("25")), 2);
    T_EQ(prom_value(&prom, BUCKET("50")), 3);
    T_EQ(prom_value(&prom, BUCKET("3600000")), 3);
    T_EQ(prom_value(&prom, BUCKET("+Inf")), 3);
    T_EQ(prom_value(&prom, "envoy_cluster_upstream_rq_time_count{envoy_cluster_name=\"a\"}"), 3);
    T_OK(has("envoy_cluster_upstream_rq_time_sum{envoy_cluster_name=\"a\"} 30.72\n"));
    T_OK(has("# TYPE envoy_cluster_upstream_rq_time histogram\n"));
    T_OK(has("plain_sizes_sum 77\n"));
    T_OK(!has("envoy_cluster_upstream_cx_connect_ms"));
}

/* Names that become one series are added up; one that contradicts the type is left out. */
static void test_prometheus_conflicts(void)
{
    T_EQ(print(Q(), prometheus), MP_E_OK);
    T_OK(has("# HELP marchproxy_requests_by_path_a_b "));
    T_OK(has(
        "# TYPE marchproxy_requests_by_path_a_b counter\nmarchproxy_requests_by_path_a_b 7\n#"));
    T_OK(has("# TYPE _starts_with_digit gauge\n"));
}

/* Sets whose name ends with that of the scope, sets with a label, and own bounds of histograms. */
static void test_named_scopes(void)
{
    static const double bounds[] = {100, 1e7};
    static const struct mp_stat_def unnamed[] = {
        {.name = "", .kind = MP_STAT_COUNTER, .help = "h"}};
    static const struct mp_stat_def sized[] = {{.name = "size",
                                                .kind = MP_STAT_HISTOGRAM,
                                                .help = "h",
                                                .scale = 1,
                                                .bounds = bounds,
                                                .n_bounds = 2}};
    static const struct mp_stat_schema by_path = {.kind = "t",
                                                  .text_prefix = "t_by_path_",
                                                  .prom_prefix = "t_by_path_",
                                                  .scope_is_name = true,
                                                  .defs = unnamed,
                                                  .n = 1};
    static const struct mp_stat_schema by_host = {.kind = "t",
                                                  .text_prefix = "t_by_host.",
                                                  .prom_prefix = "t_by_host",
                                                  .label = "host",
                                                  .defs = unnamed,
                                                  .n = 1};
    static const struct mp_stat_schema size = {
        .kind = "t", .text_prefix = "t_", .prom_prefix = "t_", .defs = sized, .n = 1};
    struct mp_stat_scope *s[] = {mp_stat_scope_get(store, &by_path, MP_STR("a-b")),
                                 mp_stat_scope_get(store, &by_path, MP_STR("a_b")),
                                 mp_stat_scope_get(store, &by_host, MP_STR("x.example")),
                                 mp_stat_scope_get(store, &size, MP_STR(""))};
    for (size_t i = 0; i < 3; i++) {
        mp_stat_inc(mp_stat_block(s[i], 0), 0);
    }
    mp_stat_record(mp_stat_block(s[3], 0), 0, 64);
    mp_stat_record(mp_stat_block(s[3], 0), 0, 1u << 30);
    T_EQ(print(Q(), mp_admin_stats_text), MP_E_OK);
    bool text = has("\nt_by_path_a-b: 1\n") && has("\nt_by_path_a_b: 1\n") &&
                has("\nt_by_host.x.example: 1\n");
    T_EQ(print(Q(), prometheus), MP_E_OK);
    for (size_t i = 0; i < 4; i++) {
        mp_stat_scope_unref(s[i]);
    }
    T_OK(text);
    T_OK(prom_parse(&prom, out.p));
    T_EQ(prom_value(&prom, "t_by_path_a_b"), 2);
    T_EQ(prom_value(&prom, "t_by_host{host=\"x.example\"}"), 1);
    T_EQ(prom_value(&prom, "t_size_bucket{le=\"100\"}"), 1);
    T_EQ(prom_value(&prom, "t_size_bucket{le=\"10000000\"}"), 1);
    T_EQ(prom_value(&prom, "t_size_bucket{le=\"+Inf\"}"), 2);
    T_OK(!has("t_size_bucket{le=\"0.5\"}"));
}

static void test_help_is_escaped(void)
{
    struct mp_admin_stat rows[1] = {
        {.schema = &custom, .def = &custom_defs[0], .prom = MP_STR("x")}};
    struct mp_admin_stats s = {.v = rows, .n = 1};
    mp_sb_reset(&out);
    prometheus(&s, &out);
    T_OK(strcmp(out.p, "# HELP x back\\\\slash \"q\"\\nline\n# TYPE x counter\nx 0\n") == 0);
}

static void test_reset(void)
{
    mp_stat_reset_counters(store);
    T_EQ(print(Q(), mp_admin_stats_text), MP_E_OK);
    T_OK(has("cluster.a.upstream_rq_total: 0\n"));
    T_OK(has("cluster.a.upstream_rq_active: 2\n"));
    T_OK(has("cluster.a.upstream_rq_time: No recorded values\n"));
}

/* The output's limit cuts the text and says so. */
static void test_output_limit(void)
{
    struct mp_sb small;
    struct mp_admin_stats rows;
    struct mp_admin_stat_query q = {.kinds = ALL};
    T_OK(!mp_is_err(mp_admin_stats_read(store, &q, &rows)));
    mp_sb_reset(&out);
    mp_admin_stats_text(&rows, &out);
    mp_sb_init(&small, out.n);
    mp_admin_stats_text(&rows, &small);
    T_OK(!small.overflow);
    mp_sb_fini(&small);
    mp_sb_init(&small, out.n - 1);
    mp_admin_stats_text(&rows, &small);
    T_OK(small.overflow);
    mp_sb_fini(&small);
    mp_admin_stats_fini(&rows);
}

static void test_empty_store(void)
{
    struct mp_stat_store *full = store;
    store = mp_stat_store_new(1);
    T_EQ(print(Q(), mp_admin_stats_text), MP_E_OK);
    T_EQ(out.n, 0);
    T_EQ(print(Q(), mp_admin_stats_json), MP_E_OK);
    T_OK(strcmp(out.p, "{\"stats\":[]}") == 0);
    T_EQ(print(Q(), prometheus), MP_E_OK);
    T_EQ(out.n, 0);
    mp_stat_store_free(store);
    store = full;
}

/* The checker itself can fail. */
static void test_checker(void)
{
    static const char *const bad[] = {
        "a 1\n",
        "# HELP a x\na 1\n",
        "# HELP a x\n# TYPE a counter\na 1",
        "# HELP a x\n# TYPE a counter\na 1\na 1\n",
        "# HELP a x\n# TYPE a counter\nb 1\n",
        "# HELP a x\n# TYPE a counter\na{l=\"x} 1\n",
        "# HELP a x\n# TYPE a counter\na{l=\"\\x\"} 1\n",
        "# HELP a x\n# TYPE a counter\na 1\n# HELP b x\n# TYPE b counter\nb 1\n# HELP a x\n",
        "# HELP a x\n# TYPE a text\na 1\n",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        T_OK(!prom_parse(&prom, bad[i]));
    }
    T_OK(prom_parse(&prom, "# HELP a x\n# TYPE a histogram\na_bucket{le=\"1\"} "
                           "3\na_bucket{le=\"+Inf\"} 2\na_sum 1\na_count 2\n"));
    T_OK(!prom_histograms_are_cumulative(&prom));
}

int main(void)
{
    mp_stats_init();
    mp_hash_set_key(1, 2);
    mp_sb_init(&out, 1 << 24);
    store = mp_stat_store_new(2);
    fill();
    T_RUN(test_checker);
    T_RUN(test_doubles);
    T_RUN(test_text);
    T_RUN(test_text_is_sorted);
    T_RUN(test_histogram_text);
    T_RUN(test_selection);
    T_RUN(test_expensive_filter);
    T_RUN(test_json_histograms);
    T_RUN(test_json_escapes);
    T_RUN(test_prometheus);
    T_RUN(test_prometheus_histogram);
    T_RUN(test_prometheus_conflicts);
    T_RUN(test_named_scopes);
    T_RUN(test_help_is_escaped);
    T_RUN(test_output_limit);
    T_RUN(test_empty_store);
    T_RUN(test_reset);
    mp_stat_scope_unref(cluster_a);
    mp_stat_scope_unref(cluster_odd);
    mp_stat_scope_unref(server);
    mp_stat_scope_unref(http1);
    mp_stat_scope_unref(own);
    mp_stat_store_free(store);
    mp_sb_fini(&out);
    return T_DONE();
}
