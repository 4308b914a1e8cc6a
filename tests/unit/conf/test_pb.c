/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The generic converter: text forms, JSON of the special types, decoding from the wire. */
#include <math.h>

#include "conf/pb_int.h"
#include "conf_test.h"
#include "envoy_config_cluster_v3.pb-c.h"
#include "google_protobuf.pb-c.h"
#include "t.h"

/* ---- text forms ---- */

static void test_integers(void)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } table[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"-5", true, -5},
        {"1e3", true, 1000},
        {"5.0", true, 5},
        {"-2.5e1", true, -25},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999999", false, 0},
        {"1e19", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"1.5", false, 0},
        {"010", false, 0},
        {"-01", false, 0},
        {"0x10", false, 0},
        {"1 ", false, 0},
        {"+1", false, 0},
        {"1_000", false, 0},
        {"Infinity", false, 0},
        {"NaN", false, 0},
        {"e", false, 0},
    };
    const char *why;
    for (size_t i = 0; i < MP_COUNTOF(table); i++) {
        int64_t v = 77;
        bool ok = mp_pb_text_i64(mp_str_c(table[i].text), INT64_MIN, INT64_MAX, &v, &why);
        if (ok != table[i].ok || (ok && v != table[i].value)) {
            printf("# %s: %d %lld\n", table[i].text, ok, (long long)v);
        }
        T_EQ(ok, table[i].ok);
        T_EQ(v, ok ? table[i].value : 77);
    }
    int64_t v;
    uint64_t u;
    T_OK(mp_pb_text_i64(MP_STR("127"), -128, 127, &v, &why) &&
         mp_pb_text_i64(MP_STR("-128"), -128, 127, &v, &why));
    T_OK(!mp_pb_text_i64(MP_STR("128"), -128, 127, &v, &why) &&
         !mp_pb_text_i64(MP_STR("-129"), -128, 127, &v, &why));
    T_OK(mp_pb_text_u64(MP_STR("18446744073709551615"), UINT64_MAX, &u, &why) && u == UINT64_MAX);
    T_OK(!mp_pb_text_u64(MP_STR("18446744073709551616"), UINT64_MAX, &u, &why));
    T_OK(mp_pb_text_u64(MP_STR("-0"), 1, &u, &why) && u == 0);
    T_OK(!mp_pb_text_u64(MP_STR("-1"), 1, &u, &why) && strcmp(why, "is negative") == 0);
    T_OK(!mp_pb_text_u64(MP_STR("2"), 1, &u, &why));
}

static void test_doubles(void)
{
    static const char *const good[] = {"0",  "-1.5", "1e300",    "1.25E-2",
                                       ".5", "NaN",  "Infinity", "-Infinity"};
    static const char *const bad[] = {"",    "1e999", "inf", "nan", "0x1", "1.2.3",
                                      "--1", "+1",    "1e",  "e5",  "1,5"};
    double d;
    for (size_t i = 0; i < MP_COUNTOF(good); i++) {
        T_OK(mp_pb_text_double(mp_str_c(good[i]), &d));
    }
    for (size_t i = 0; i < MP_COUNTOF(bad); i++) {
        T_OK(!mp_pb_text_double(mp_str_c(bad[i]), &d));
    }
    static const struct {
        double d;
        bool is_float;
        const char *want;
    } out[] = {
        {0.1, false, "0.1"},
        {1, false, "1"},
        {-2.5, false, "-2.5"},
        {1e300, false, "1e+300"},
        {0.1f, true, "0.1"},
        {NAN, false, "\"NaN\""},
        {INFINITY, false, "\"Infinity\""},
        {-INFINITY, true, "\"-Infinity\""},
        {0.30000000000000004, false, "0.30000000000000004"},
        {16777217, false, "16777217"},
    };
    for (size_t i = 0; i < MP_COUNTOF(out); i++) {
        struct mp_sb sb;
        mp_sb_init(&sb, 100);
        mp_pb_add_double(&sb, out[i].d, out[i].is_float);
        T_OK(strcmp(sb.p, out[i].want) == 0);
        mp_sb_fini(&sb);
    }
}

static void test_durations(void)
{
    static const struct {
        const char *text;
        int64_t s;
        int32_t ns;
        const char *json; /* NULL: refused */
    } table[] = {
        {"0s", 0, 0, "\"0s\""},
        {"5s", 5, 0, "\"5s\""},
        {"0.25s", 0, 250000000, "\"0.250s\""},
        {".5s", 0, 500000000, "\"0.500s\""},
        {"-1.5s", -1, -500000000, "\"-1.500s\""},
        {"-0.000001s", 0, -1000, "\"-0.000001s\""},
        {"1.123456789s", 1, 123456789, "\"1.123456789s\""},
        {"315576000000s", 315576000000, 0, "\"315576000000s\""},
        {"315576000001s", 0, 0, NULL},
        {"315576000000.1s", 0, 0, NULL},
        {"5", 0, 0, NULL},
        {"s", 0, 0, NULL},
        {"-s", 0, 0, NULL},
        {".s", 0, 0, NULL},
        {"1.s", 0, 0, NULL},
        {"1.1234567890s", 0, 0, NULL},
        {"1m", 0, 0, NULL},
        {"1 s", 0, 0, NULL},
        {"--1s", 0, 0, NULL},
        {"", 0, 0, NULL},
    };
    for (size_t i = 0; i < MP_COUNTOF(table); i++) {
        int64_t s = 0;
        int32_t ns = 0;
        bool ok = mp_pb_text_duration(mp_str_c(table[i].text), &s, &ns);
        T_EQ(ok, table[i].json != NULL);
        T_EQ(s, table[i].s);
        T_EQ(ns, table[i].ns);
        if (ok) {
            struct mp_sb sb;
            mp_sb_init(&sb, 100);
            mp_pb_add_duration(&sb, s, ns);
            T_OK(strcmp(sb.p, table[i].json) == 0);
            mp_sb_fini(&sb);
        }
    }
    struct mp_sb sb;
    mp_sb_init(&sb, 100);
    mp_pb_add_duration(&sb, INT64_MIN, INT32_MIN); /* from a hostile peer */
    T_OK(strcmp(sb.p, "\"-9223372036854775808.2147483648s\"") == 0);
    mp_sb_fini(&sb);
}

static void test_timestamps(void)
{
    static const struct {
        const char *text;
        int64_t s;
        int32_t ns;
        const char *json;
    } table[] = {
        {"1970-01-01T00:00:00Z", 0, 0, "\"1970-01-01T00:00:00Z\""},
        {"2024-02-29T12:30:00.5Z", 1709209800, 500000000, "\"2024-02-29T12:30:00.500Z\""},
        {"2024-02-29T12:30:00+01:30", 1709204400, 0, "\"2024-02-29T11:00:00Z\""},
        {"1969-12-31T23:59:59.000001z", -1, 1000, "\"1969-12-31T23:59:59.000001Z\""},
        {"2023-02-29T00:00:00Z", 0, 0, NULL},
        {"2024-13-01T00:00:00Z", 0, 0, NULL},
        {"2024-01-01T24:00:00Z", 0, 0, NULL},
        {"2024-01-01 00:00:00Z", 0, 0, NULL},
        {"2024-01-01T00:00:00", 0, 0, NULL},
        {"2024-01-01T00:00:00.Z", 0, 0, NULL},
        {"2024-01-01T00:00:00+1:00", 0, 0, NULL},
        {"2024-01-01T00:00:00+25:00", 0, 0, NULL},
        {"0000-01-01T00:00:00Z", 0, 0, NULL},
        {"24-01-01T00:00:00Z", 0, 0, NULL},
    };
    for (size_t i = 0; i < MP_COUNTOF(table); i++) {
        int64_t s = 0;
        int32_t ns = 0;
        bool ok = mp_pb_text_timestamp(mp_str_c(table[i].text), &s, &ns);
        T_EQ(ok, table[i].json != NULL);
        T_EQ(s, table[i].s);
        T_EQ(ns, table[i].ns);
        if (ok) {
            struct mp_sb sb;
            mp_sb_init(&sb, 100);
            mp_pb_add_timestamp(&sb, s, ns);
            T_OK(strcmp(sb.p, table[i].json) == 0);
            mp_sb_fini(&sb);
        }
    }
    struct mp_sb sb;
    mp_sb_init(&sb, 100);
    mp_pb_add_timestamp(&sb, INT64_MAX, 0);
    T_OK(strcmp(sb.p, "null") == 0);
    mp_sb_fini(&sb);
}

static void test_base64(void)
{
    static const struct {
        const char *text, *want;
    } table[] = {
        {"", ""},
        {"YQ==", "a"},
        {"YQ", "a"},
        {"YWI=", "ab"},
        {"YWI", "ab"},
        {"YWJj", "abc"},
        {"-_-_", "\xfb\xff\xbf"},
        {"+/+/", "\xfb\xff\xbf"},
        {"Y", NULL},
        {"YQ=", NULL},
        {"Y===", NULL},
        {"YR==", NULL},
        {"YWI==", NULL},
        {"Y Q=", NULL},
        {"=", NULL},
        {"====", NULL},
        {"YWJjZ", NULL},
    };
    for (size_t i = 0; i < MP_COUNTOF(table); i++) {
        uint8_t out[32];
        size_t n = 0;
        bool ok = mp_pb_text_base64(mp_str_c(table[i].text), out, &n);
        T_EQ(ok, table[i].want != NULL);
        T_OK(!ok || mp_str_eq(mp_str((char *)out, n), mp_str_c(table[i].want)));
    }
}

/* ---- types and names ---- */

static void test_names(void)
{
    T_OK(mp_pb_find_type(MP_STR("envoy.config.cluster.v3.Cluster")));
    T_OK(mp_pb_find_type(MP_STR("google.protobuf.Any")));
    T_OK(!mp_pb_find_type(MP_STR("envoy.config.cluster.v3.Clusters")));
    T_OK(!mp_pb_find_type(MP_STR("")));
    T_OK(mp_pb_find_url(MP_STR("type.googleapis.com/envoy.config.cluster.v3.Cluster")));
    T_OK(mp_pb_find_url(MP_STR("a/b/envoy.config.cluster.v3.Cluster")));
    T_OK(!mp_pb_find_url(MP_STR("envoy.config.cluster.v3.Cluster/")));
    T_OK(mp_pb_is_camel_of(MP_STR("typedConfig"), MP_STR("typed_config")));
    T_OK(mp_pb_is_camel_of(MP_STR("ipv4Compat"), MP_STR("ipv4_compat")));
    T_OK(!mp_pb_is_camel_of(MP_STR("TypedConfig"), MP_STR("typed_config")));
    T_OK(!mp_pb_is_camel_of(MP_STR("typedConfi"), MP_STR("typed_config")));
    T_OK(!mp_pb_is_camel_of(MP_STR("typedConfigs"), MP_STR("typed_config")));
    const ProtobufCMessageDescriptor *d = &envoy__config__cluster__v3__cluster__descriptor;
    const char *name = NULL;
    T_OK(mp_pb_find_field(d, MP_STR("lbPolicy")) == mp_pb_find_field(d, MP_STR("lb_policy")));
    T_OK(!mp_pb_find_field(d, MP_STR("lb_subset_config")));
    T_OK(mp_pb_is_known_field(d, MP_STR("lbSubsetConfig"), 0, &name) &&
         strcmp(name, "lb_subset_config") == 0);
    T_OK(mp_pb_is_known_field(d, mp_str(NULL, 0), 22, &name) &&
         strcmp(name, "lb_subset_config") == 0);
    T_OK(!mp_pb_is_known_field(d, MP_STR("nonsense"), 0, &name));
    T_OK(!mp_pb_is_known_field(d, mp_str(NULL, 0), 9999, &name));
    T_OK(mp_pb_is_map(mp_pb_find_field(d, MP_STR("typed_extension_protocol_options"))));
    T_OK(!mp_pb_is_map(mp_pb_find_field(d, MP_STR("dns_resolvers"))));
}

static void test_guess(void)
{
    static const struct {
        const char *wanted, *offered;
        bool hit;
    } table[] = {
        {"clsuter", "cluster", true},
        {"cluster_nam", "cluster_name", true},
        {"prot", "port", true},
        {"hots", "hosts", true},
        {"a", "b", false},
        {"ab", "ba", false},
        {"name", "listeners", false},
        {"timeout", "cluster_name", false},
        {"listenerrrrs", "listeners", true},
        {"listenerrrrrs", "listeners", false},
    };
    for (size_t i = 0; i < MP_COUNTOF(table); i++) {
        struct mp_pb_guess g;
        mp_pb_guess_init(&g, mp_str_c(table[i].wanted));
        mp_pb_guess_offer(&g, table[i].offered);
        T_EQ(g.best != NULL, table[i].hit);
    }
    struct mp_pb_guess g;
    mp_pb_guess_init(&g, MP_STR("routs"));
    mp_pb_guess_offer(&g, "router");
    mp_pb_guess_offer(&g, "routes");
    mp_pb_guess_offer(&g, "rout"); /* not nearer */
    T_OK(strcmp(g.best, "routes") == 0);
}

static void test_secrets(void)
{
    ProtobufCMessageDescriptor d = {.name =
                                        "envoy.extensions.transport_sockets.tls.v3.TlsCertificate"};
    ProtobufCFieldDescriptor key = {.name = "private_key"}, chain = {.name = "certificate_chain"};
    T_OK(mp_pb_is_secret(&d, &key));
    T_OK(!mp_pb_is_secret(&d, &chain));
    d.name = "envoy.other";
    T_OK(!mp_pb_is_secret(&d, &key));
}

/* ---- JSON ---- */

/* Reads doc as the type; its JSON in *ret (heap), or the report when refused. */
static bool convert(const char *type, const char *doc, bool allow, char **ret)
{
    struct mp_diag diag;
    struct mp_arena arena;
    struct mp_sb sb;
    struct mp_yaml *y = NULL;
    ProtobufCMessage *m;
    struct mp_pb_read_opts opts = {.allow_unsupported = allow};
    mp_diag_init(&diag, NULL);
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 4096, SIZE_MAX);
    mp_sb_init(&sb, 1 << 20);
    bool ok = !mp_is_err(mp_yaml_parse(mp_str_c(doc), &diag, &y)) &&
              !mp_is_err(mp_pb_from_yaml(y, NULL, mp_pb_find_type(mp_str_c(type)), &opts, &arena,
                                         &diag, &m));
    MP_ASSERT(ok == (diag.errors == 0));
    if (ok) {
        mp_pb_to_json(m, 0, &sb);
    } else {
        mp_diag_format(&diag, &sb);
    }
    *ret = mp_str_dup_c(mp_sb_str(&sb));
    mp_yaml_free(y);
    mp_sb_fini(&sb);
    mp_arena_fini(&arena);
    mp_diag_fini(&diag);
    return ok;
}

#define ANY "google.protobuf.Any"
static const struct {
    const char *type, *doc;
    bool ok;
    const char *want; /* JSON, or a part of the report */
} conversions[] = {
    {"google.protobuf.Struct",
     "{a: 1, b: x, c: [true, null, {}], d: 'yes', e: 1.5, f: NaN, g: '5'}", true,
     "{\"a\":1,\"b\":\"x\",\"c\":[true,null,{}],\"d\":\"yes\",\"e\":1.5,\"f\":\"NaN\",\"g\":"
     "\"5\"}"},
    {"google.protobuf.Struct", "[1]", false, "a list where a map is expected"},
    {"google.protobuf.Value", "null", true, "null"},
    {"google.protobuf.Value", "[]", true, "[]"},
    {"google.protobuf.ListValue", "[1, [2]]", true, "[1,[2]]"},
    {"google.protobuf.ListValue", "{}", false, "a map where a list is expected"},
    {"google.protobuf.FieldMask", "aB.c,dEF", true, "\"aB.c,dEF\""},
    {"google.protobuf.FieldMask", "''", true, "\"\""},
    {"google.protobuf.FieldMask", "a_b", false, "is not a field mask"},
    {"google.protobuf.Duration", "1.5s", true, "\"1.500s\""},
    {"google.protobuf.Duration", "{seconds: 3}", true, "\"3s\""},
    {"google.protobuf.Duration", "7", false, "write 7s"},
    {"google.protobuf.Timestamp", "2024-02-29T12:30:00Z", true, "\"2024-02-29T12:30:00Z\""},
    {"google.protobuf.Timestamp", "yesterday", false, "is not a time"},
    {"google.protobuf.BoolValue", "true", true, "true"},
    {"google.protobuf.BoolValue", "'true'", false, "text where a boolean"},
    {"google.protobuf.StringValue", "'a\"b'", true, "\"a\\\"b\""},
    {"google.protobuf.BytesValue", "YWI", true, "\"YWI=\""},
    {"google.protobuf.BytesValue", "Y", false, "not base64"},
    {"google.protobuf.UInt64Value", "'18446744073709551615'", true, "\"18446744073709551615\""},
    {"google.protobuf.UInt32Value", "4294967295", true, "4294967295"},
    {"google.protobuf.UInt32Value", "4294967296", false, "is out of range"},
    {"google.protobuf.Int64Value", "-9223372036854775808", true, "\"-9223372036854775808\""},
    {"google.protobuf.Int32Value", "-2147483649", false, "is out of range"},
    {"google.protobuf.DoubleValue", "0.1", true, "0.1"},
    {"google.protobuf.FloatValue", "0.1", true, "0.1"},
    {"google.protobuf.FloatValue", "3.4028235e38", true, "3.4028235e+38"},
    {"google.protobuf.FloatValue", "3.5e38", false, "is out of range"},
    {"google.protobuf.FloatValue", "Infinity", true, "\"Infinity\""},
    {ANY, "{'@type': type.googleapis.com/google.protobuf.Duration, value: 1s}", true,
     "{\"@type\":\"type.googleapis.com/google.protobuf.Duration\",\"value\":\"1s\"}"},
    {ANY, "{'@type': x/google.protobuf.Duration}", false, "\"value\" is missing"},
    {ANY, "{'@type': x/google.protobuf.Any, value: {'@type': x/google.protobuf.Empty}}", true,
     "{\"@type\":\"x/google.protobuf.Any\",\"value\":{\"@type\":\"x/google.protobuf.Empty\"}}"},
    {ANY, "{'@type': x/envoy.config.core.v3.Locality, region: eu}", true,
     "{\"@type\":\"x/envoy.config.core.v3.Locality\",\"region\":\"eu\"}"},
    {ANY, "{'@type': x/no.such.Type}", false, "type \"no.such.Type\" is not supported"},
    {ANY, "{region: eu}", false, "\"@type\" is missing"},
    {ANY, "{'@type': [a]}", false, "\"@type\" is missing"},
    {ANY, "text", false, "a plain value where a map with"},
    {"envoy.type.v3.FractionalPercent", "{numerator: 1, denominator: million}", true,
     "{\"numerator\":1,\"denominator\":\"MILLION\"}"},
    {"envoy.type.v3.FractionalPercent", "{denominator: 1}", true,
     "{\"denominator\":\"TEN_THOUSAND\"}"},
    {"envoy.type.v3.FractionalPercent", "{denominator: 3}", false, "value \"3\""},
    {"envoy.type.v3.FractionalPercent", "{numerator: null, denominator: }", true, "{}"},
    {"envoy.type.v3.FractionalPercent", "null", true, "{}"},
    {"envoy.type.v3.Int64Range", "{start: -5, end: 1e3}", true,
     "{\"start\":\"-5\",\"end\":\"1000\"}"},
    {"envoy.config.core.v3.DataSource", "{inlineBytes: YWI}", true, "{\"inline_bytes\":\"YWI=\"}"},
    {"envoy.config.core.v3.DataSource", "{inline_string: ''}", true, "{\"inline_string\":\"\"}"},
    {"envoy.config.core.v3.DataSource", "{inline_string: a, inline_bytes: YWI}", false,
     "exclude each other"},
    {"envoy.config.core.v3.DataSource", "{inline_string: null, inline_bytes: YWI}", true,
     "{\"inline_bytes\":\"YWI=\"}"},
    {"envoy.config.cluster.v3.Cluster",
     "{typed_extension_protocol_options: {a.b: {'@type': x/google.protobuf.Empty, value: {}}}}",
     false, "typed_extension_protocol_options[\"a.b\"].value"},
    {"envoy.config.cluster.v3.Cluster",
     "{typedExtensionProtocolOptions: {a.b: {'@type': x/envoy.config.core.v3.Locality}}}", true,
     "{\"typed_extension_protocol_options\":{\"a.b\":{\"@type\":\"x/"
     "envoy.config.core.v3.Locality\"}}}"},
    {"envoy.config.route.v3.VirtualHost", "{domains: [a, 5, 'true']}", true,
     "{\"domains\":[\"a\",\"5\",\"true\"]}"},
    {"envoy.config.route.v3.VirtualHost", "{domains: [a, null]}", false,
     "domains[1]: nothing where a value"},
    {"envoy.config.route.v3.VirtualHost", "{domains: a}", false, "begin the items with"},
    {"envoy.config.route.v3.VirtualHost", "{routes: [null, {}]}", true, "{\"routes\":[{},{}]}"},
    {"marchproxy.config.v1.SimpleFile", "{listen: null, admin: false}", true,
     "{\"listen\":null,\"admin\":false}"},
};

static void test_conversions(void)
{
    for (size_t i = 0; i < MP_COUNTOF(conversions); i++) {
        char *got;
        bool ok = convert(conversions[i].type, conversions[i].doc, false, &got);
        bool same =
            ok ? strcmp(got, conversions[i].want) == 0 : strstr(got, conversions[i].want) != NULL;
        if (ok != conversions[i].ok || !same) {
            printf("# %s %s: %s\n", conversions[i].type, conversions[i].doc, got);
        }
        T_EQ(ok, conversions[i].ok);
        T_OK(same);
        free(got);
    }
}

static void test_allow_unsupported(void)
{
    char *got;
    T_OK(convert("envoy.config.cluster.v3.Cluster",
                 "{name: a, lb_subset_config: {}, nonsense: {deep: 1}}", true, &got));
    T_OK(strcmp(got, "{\"name\":\"a\"}") == 0);
    free(got);
    T_OK(convert(ANY, "{'@type': x/no.such.Type, a: 1}", true, &got));
    T_OK(strcmp(got, "{\"@type\":\"x/no.such.Type\",\"value\":\"\"}") == 0);
    free(got);
    /* Values that are wrong stay errors. */
    T_OK(!convert("envoy.config.cluster.v3.Cluster", "{type: EDS}", true, &got));
    free(got);
}

static void test_indent(void)
{
    struct mp_sb sb;
    char *got;
    T_OK(convert("google.protobuf.Struct", "{a: {b: [1]}}", false, &got));
    free(got);
    Google__Protobuf__Duration d = GOOGLE__PROTOBUF__DURATION__INIT;
    Envoy__Config__Cluster__V3__Cluster c = ENVOY__CONFIG__CLUSTER__V3__CLUSTER__INIT;
    c.name = (char *)"x\n";
    d.seconds = 2;
    c.connect_timeout = &d;
    mp_sb_init(&sb, 1000);
    mp_pb_to_json(&c.base, 2, &sb);
    T_OK(strcmp(sb.p, "{\n  \"name\": \"x\\n\",\n  \"connect_timeout\": \"2s\"\n}") == 0);
    mp_sb_fini(&sb);
}

/* The path may begin anywhere in the document. */
static void test_from_path(void)
{
    struct mp_diag diag;
    struct mp_arena arena;
    struct mp_yaml *y;
    ProtobufCMessage *m = NULL;
    struct mp_pb_read_opts opts = {0};
    mp_diag_init(&diag, NULL);
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 4096, SIZE_MAX);
    T_OK(!mp_is_err(mp_yaml_parse(MP_STR("x:\n- region: eu\n- regin: eu\n"), &diag, &y)));
    const ProtobufCMessageDescriptor *d = mp_pb_find_type(MP_STR("envoy.config.core.v3.Locality"));
    T_OK(!mp_is_err(mp_pb_from_yaml(y, "x[0]", d, &opts, &arena, &diag, &m)));
    T_OK(m);
    m = NULL;
    T_OK(mp_is_err(mp_pb_from_yaml(y, "x[1]", d, &opts, &arena, &diag, &m)));
    T_OK(!m); /* untouched on failure */
    T_OK(mp_is_err(mp_pb_from_yaml(y, "x[2]", d, &opts, &arena, &diag, &m)));
    T_EQ(diag.n, 2);
    T_OK(strcmp(diag.items[0].path, "x[1].regin") == 0);
    T_EQ(diag.items[0].line, 3);
    T_OK(strcmp(diag.items[1].path, "x[2]") == 0);
    mp_yaml_free(y);
    mp_arena_fini(&arena);
    mp_diag_fini(&diag);
}

/* The arena's maximum is an ordinary error. */
static void test_arena_limit(void)
{
    struct mp_pb_read_opts opts = {0};
    const ProtobufCMessageDescriptor *d =
        mp_pb_find_type(MP_STR("envoy.config.route.v3.VirtualHost"));
    bool failed = false, passed = false;
    for (size_t max = 64; max < 4096; max += 8) {
        struct mp_diag diag;
        struct mp_arena arena;
        struct mp_yaml *y;
        ProtobufCMessage *m;
        mp_diag_init(&diag, NULL);
        T_OK(!mp_is_err(mp_yaml_parse(
            MP_STR("{name: n, domains: [a, b], routes: [{name: r, match: {prefix: /}}], "
                   "typed_per_filter_config: {x: {'@type': x/envoy.config.core.v3.Locality, "
                   "region: a}}}"),
            &diag, &y)));
        mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 8, max);
        mp_err err = mp_pb_from_yaml(y, NULL, d, &opts, &arena, &diag, &m);
        if (mp_is_err(err)) {
            failed = true;
            T_EQ(diag.errors, 1); /* told once */
            T_OK(strcmp(diag.items[0].cause, "the configuration is too large") == 0);
            T_OK(!passed);
        } else {
            passed = true;
        }
        mp_arena_fini(&arena);
        mp_yaml_free(y);
        mp_diag_fini(&diag);
    }
    T_OK(failed && passed);
}

/* ---- wire ---- */

static mp_err unpack(const char *type, struct mp_str wire, bool allow, char **ret_said)
{
    struct mp_diag diag;
    struct mp_arena arena;
    struct mp_sb sb;
    ProtobufCMessage *m = NULL;
    struct mp_pb_read_opts opts = {.allow_unsupported = allow};
    mp_diag_init(&diag, NULL);
    mp_sb_init(&sb, 1 << 20);
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 4096, 64 << 20);
    mp_err err = mp_pb_unpack(mp_pb_find_type(mp_str_c(type)), wire, &opts, "r", &arena, &diag, &m);
    MP_ASSERT(mp_is_err(err) == (m == NULL));
    MP_ASSERT(mp_is_err(err) == (diag.errors > 0));
    mp_diag_format(&diag, &sb);
    if (m) {
        mp_pb_to_json(m, 0, &sb);
        struct mp_str packed = mp_pb_pack(m, &arena);
        MP_ASSERT(packed.p && packed.p[packed.n] == '\0');
    }
    *ret_said = mp_str_dup_c(mp_sb_str(&sb));
    mp_sb_fini(&sb);
    mp_arena_fini(&arena);
    mp_diag_fini(&diag);
    return err;
}

#define W(lit)               \
    {                        \
        lit, sizeof(lit) - 1 \
    }
static const struct {
    const char *type;
    struct mp_str wire;
    const char *want; /* JSON, or a part of the report when refused */
    bool ok;
} wires[] = {
    {"envoy.config.core.v3.Locality", W(""), "{}", true},
    {"envoy.config.core.v3.Locality",
     W("\x0a\x02"
       "eu"),
     "{\"region\":\"eu\"}", true},
    {"envoy.config.core.v3.Locality",
     W("\x0a\x03"
       "eu"),
     "Locality is truncated or malformed", false},
    {"envoy.config.core.v3.Locality", W("\x0a"), "is truncated", false},
    {"envoy.config.core.v3.Locality", W("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
     "is truncated", false},
    {"envoy.config.core.v3.Locality", W("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
     "is truncated", false},
    {"envoy.config.core.v3.Locality", W("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
     "is truncated", false},
    {"envoy.config.core.v3.Locality", W("\x0a\x01\xff"), "r.region: text is not UTF-8", false},
    {"envoy.config.core.v3.Locality", W("\x0a\x03\xed\xa0\x80"), "not UTF-8", false},
    {"envoy.config.core.v3.Locality", W("\x0a\x02\xc0\x80"), "not UTF-8", false},
    {"envoy.config.core.v3.Locality", W("\x0a\x01\x00"), "NUL character", false},
    {"envoy.config.core.v3.Locality", W("\x08\x01"), "r.region: wrong wire type 0", false},
    {"envoy.config.core.v3.Locality", W("\x00\x01"), "is truncated or malformed", false},
    {"envoy.config.core.v3.Locality", W("\x0b\x0c"), "is truncated or malformed",
     false}, /* a group */
    {"envoy.config.core.v3.Locality", W("\x22\x00"),
     "field 4 of envoy.config.core.v3.Locality is not supported", false},
    {"envoy.config.core.v3.Locality", W("\x0f"), "is truncated or malformed",
     false}, /* wire type 7 */
    {"envoy.config.cluster.v3.Cluster", W("\xb2\x01\x00"),
     "field \"lb_subset_config\" (22) of envoy.config.cluster.v3.Cluster", false},
    {"envoy.config.cluster.v3.Cluster", W("\x30\x03"), "{\"lb_policy\":\"RANDOM\"}", true},
    {"envoy.config.cluster.v3.Cluster", W("\x30\x07"), "{\"lb_policy\":7}",
     true}, /* the translation refuses it */
    {"google.protobuf.DoubleValue", W("\x09\0\0\0\0\0\0\xf8\x3f"), "1.5", true},
    {"google.protobuf.DoubleValue", W("\x09\0\0\0\0\0\0\xf8"), "is truncated", false},
    {"google.protobuf.FloatValue", W("\x0d\0\0\xc0\x3f"), "1.5", true},
    {"google.protobuf.Any", W("\x0a\x03x/y"), "type \"x/y\" is not supported", false},
    {"google.protobuf.Any", W(""), "{\"@type\":\"\",\"value\":\"\"}", true},
    {"google.protobuf.Any", W("\x0a\x1fx/envoy.config.core.v3.Locality\x12\x02\x22\x00"),
     "field 4 of envoy.config.core.v3.Locality", false},
    {"google.protobuf.Any", W("\x0a\x1fx/envoy.config.core.v3.Locality\x12\x04\x0a\x02\x65\x75"),
     "{\"@type\":\"x/envoy.config.core.v3.Locality\",\"region\":\"eu\"}", true},
    /* Order is free: value before type. */
    {"google.protobuf.Any", W("\x12\x02\x22\x00\x0a\x1fx/envoy.config.core.v3.Locality"),
     "field 4 of envoy", false},
    {"envoy.config.route.v3.VirtualHost",
     W("\x12\x01"
       "a\x12\x01\xff"),
     "r.domains[1]: text is not UTF-8", false},
    /* A map's entry without a value. */
    {"google.protobuf.Struct",
     W("\x0a\x03\x0a\x01"
       "a"),
     "{\"a\":null}", true},
    {"envoy.config.cluster.v3.Cluster",
     W("\xa2\x02\x03\x0a\x01"
       "a"),
     "{\"typed_extension_protocol_options\":{\"a\":{}}}", true},
};

static void test_wire(void)
{
    for (size_t i = 0; i < MP_COUNTOF(wires); i++) {
        char *said;
        bool ok = !mp_is_err(unpack(wires[i].type, wires[i].wire, false, &said));
        bool same = ok ? strcmp(said, wires[i].want) == 0 : strstr(said, wires[i].want) != NULL;
        if (ok != wires[i].ok || !same) {
            printf("# %zu %s: %s\n", i, wires[i].type, said);
        }
        T_EQ(ok, wires[i].ok);
        T_OK(same);
        free(said);
    }
}

static void test_wire_allow(void)
{
    char *said;
    T_OK(!mp_is_err(unpack("envoy.config.cluster.v3.Cluster",
                           (struct mp_str)W("\xb2\x01\x00\x30\x03"), true, &said)));
    T_OK(strstr(said, "warning: r: field \"lb_subset_config\" (22)") &&
         strstr(said, "{\"lb_policy\":\"RANDOM\"}"));
    free(said);
    T_OK(!mp_is_err(
        unpack("google.protobuf.Any", (struct mp_str)W("\x0a\x03x/y\x12\x01\x00"), true, &said)));
    T_OK(strstr(said, "warning: r: type \"x/y\" is not supported"));
    free(said);
    /* What is broken stays an error. */
    T_OK(mp_is_err(
        unpack("envoy.config.core.v3.Locality", (struct mp_str)W("\x0a\x01\xff"), true, &said)));
    free(said);
}

/* levels messages of the form around { around { ... } } built from the inside out; each adds tag
 * and length. */
static char *nest(const uint8_t *tags, size_t n_tags, size_t levels, struct mp_str *ret)
{
    size_t cap = levels * 12 + 16, at = cap;
    char *buf = malloc(cap);
    for (size_t i = 0; i < levels; i++) {
        size_t n = cap - at;
        uint8_t len[10];
        size_t k = 0;
        do {
            len[k++] = (uint8_t)((n & 0x7f) | (n > 0x7f ? 0x80 : 0));
            n >>= 7;
        } while (n);
        at -= k;
        memcpy(buf + at, len, k);
        /* The innermost message is of the kind that comes last. */
        buf[--at] = (char)tags[(levels - 1 - i) % n_tags];
    }
    *ret = mp_str(buf + at, cap - at);
    return buf;
}

static void test_wire_bombs(void)
{
    /* Value.struct_value (5), Struct.fields (1), FieldsEntry.value (2) */
    static const uint8_t via_struct[] = {0x2a, 0x0a, 0x12};
    /* Value.list_value (6), ListValue.values (1) */
    static const uint8_t via_list[] = {0x32, 0x0a};
    char *said;
    for (size_t levels = 98; levels <= 100; levels++) {
        struct mp_str wire;
        char *buf = nest(via_list, 2, levels, &wire); /* and the outermost: levels + 1 messages */
        mp_err err = unpack("google.protobuf.Value", wire, false, &said);
        T_EQ(mp_is_err(err), levels + 1 > MP_PB_DEPTH_MAX);
        T_OK(!mp_is_err(err) || err.code == MP_E_LIMIT);
        free(said);
        free(buf);
    }
    for (size_t i = 0; i < 2; i++) {
        struct mp_str wire;
        char *buf = i ? nest(via_struct, 3, 300000, &wire) : nest(via_list, 2, 300000, &wire);
        mp_err err = unpack("google.protobuf.Value", wire, false, &said);
        T_EQ(err.code, MP_E_LIMIT);
        T_OK(strstr(said, "nested deeper than 100 messages"));
        free(said);
        free(buf);
    }
}

/* Any in Any in Any: unpacked one by one later, so the depth counts through them. */
static void test_wire_nested_any(void)
{
    for (size_t levels = 98; levels <= 101; levels++) {
        struct mp_sb a, b;
        char *said;
        mp_sb_init(&a, 1 << 20);
        mp_sb_init(&b, 1 << 20);
        for (size_t i = 1; i < levels; i++) {
            mp_sb_reset(&b);
            mp_sb_add(&b, MP_STR("\x0a\x15x/google.protobuf.Any\x12"));
            for (size_t n = a.n;; n >>= 7) {
                mp_sb_add_char(&b, (char)((n & 0x7f) | (n > 0x7f ? 0x80 : 0)));
                if (n <= 0x7f) {
                    break;
                }
            }
            mp_sb_add(&b, mp_sb_str(&a));
            struct mp_sb t = a;
            a = b;
            b = t;
        }
        mp_err err = unpack("google.protobuf.Any", mp_sb_str(&a), false, &said);
        T_EQ(mp_is_err(err), levels > MP_PB_DEPTH_MAX);
        free(said);
        mp_sb_fini(&a);
        mp_sb_fini(&b);
    }
}

/* Two bytes make an empty message of a hundred: the arena's limit holds. */
static void test_wire_amplification(void)
{
    size_t n = 4 << 20;
    char *buf = malloc(n), *said;
    for (size_t i = 0; i < n; i += 2) {
        buf[i] = 0x1a; /* VirtualHost.routes */
        buf[i + 1] = 0;
    }
    mp_err err = unpack("envoy.config.route.v3.VirtualHost", mp_str(buf, n), false, &said);
    T_EQ(err.code, MP_E_LIMIT);
    T_OK(strstr(said, "is too large"));
    free(said);
    free(buf);
}

/* Every cut and every flipped byte of a good message: an answer, never a crash. */
static void test_wire_damage(void)
{
    static const char good[] = "\x0a\x01"
                               "c\x10\x01\x22\x02\x08\x05\x8a\x02\x11\x0a\x01"
                               "c\x12\x0c\x12\x0a\x0a\x08\x0a\x06\x0a\x04\x12\x02"
                               "ab\xa2\x02\x24\x0a\x01"
                               "a\x12\x1f\x0a\x1dx/google.protobuf.BoolValueX";
    char copy[sizeof(good)], *said;
    for (size_t n = 0; n < sizeof(good); n++) {
        (void)!mp_is_err(unpack("envoy.config.cluster.v3.Cluster", mp_str(good, n), n % 2, &said));
        free(said);
    }
    for (size_t i = 0; i < sizeof(good) - 1; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            memcpy(copy, good, sizeof(good));
            copy[i] = (char)(copy[i] ^ (1 << bit));
            (void)!mp_is_err(unpack("envoy.config.cluster.v3.Cluster",
                                    mp_str(copy, sizeof(good) - 1), bit % 2, &said));
            free(said);
        }
    }
    T_OK(true);
}

int main(void)
{
    mp_hash_set_key(1, 2);
    T_RUN(test_integers);
    T_RUN(test_doubles);
    T_RUN(test_durations);
    T_RUN(test_timestamps);
    T_RUN(test_base64);
    T_RUN(test_names);
    T_RUN(test_guess);
    T_RUN(test_secrets);
    T_RUN(test_conversions);
    T_RUN(test_allow_unsupported);
    T_RUN(test_indent);
    T_RUN(test_from_path);
    T_RUN(test_arena_limit);
    T_RUN(test_wire);
    T_RUN(test_wire_allow);
    T_RUN(test_wire_bombs);
    T_RUN(test_wire_nested_any);
    T_RUN(test_wire_amplification);
    T_RUN(test_wire_damage);
    return T_DONE();
}
