/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "conf/yaml_tree.h"
#include "conf_test.h"
#include "t.h"

/* Parses; NULL and the report when refused. */
static struct mp_yaml *parse(struct mp_str text, const struct mp_yaml_limits *limits,
                             char **ret_said)
{
    struct mp_diag diag;
    struct mp_sb sb;
    struct mp_yaml *y = NULL;
    mp_diag_init(&diag, NULL);
    mp_sb_init(&sb, 65536);
    mp_err err = mp_yaml_parse_limited(text, limits ? limits : &mp_yaml_limits_default, &diag, &y);
    MP_ASSERT(mp_is_err(err) == (y == NULL));
    MP_ASSERT(mp_is_err(err) == (diag.errors > 0));
    mp_diag_format(&diag, &sb);
    *ret_said = mp_str_dup_c(mp_sb_str(&sb));
    mp_sb_fini(&sb);
    mp_diag_fini(&diag);
    return y;
}

static bool parses(const char *text, const struct mp_yaml_limits *limits)
{
    char *said;
    struct mp_yaml *y = parse(mp_str_c(text), limits, &said);
    bool ok = y != NULL;
    mp_yaml_free(y);
    free(said);
    return ok;
}

static bool says(const char *text, const struct mp_yaml_limits *limits, const char *want)
{
    char *said;
    struct mp_yaml *y = parse(mp_str_c(text), limits, &said);
    bool ok = !y && strstr(said, want);
    if (!ok) {
        printf("# said \"%s\", expected \"%s\"\n", said, want);
    }
    mp_yaml_free(y);
    free(said);
    return ok;
}

static char *repeat(const char *a, size_t n, const char *middle, const char *b)
{
    struct mp_sb sb;
    mp_sb_init(&sb, 8 << 20);
    for (size_t i = 0; i < n; i++) {
        mp_sb_add_c(&sb, a);
    }
    mp_sb_add_c(&sb, middle);
    for (size_t i = 0; i < n; i++) {
        mp_sb_add_c(&sb, b);
    }
    char *z = mp_str_dup_c(mp_sb_str(&sb));
    mp_sb_fini(&sb);
    return z;
}

static void test_depth_limit(void)
{
    for (size_t n = 99; n <= 101; n++) {
        char *z = repeat("[", n, "1", "]");
        T_EQ(parses(z, NULL), n <= 100);
        free(z);
    }
    char *z = repeat("[", 100000, "", "");
    T_OK(says(z, NULL, "nested deeper than 100 levels"));
    free(z);
    z = repeat("{a: ", 101, "1", "}");
    T_OK(says(z, NULL, "nested deeper than 100 levels"));
    free(z);
}

static void test_node_limit(void)
{
    struct mp_yaml_limits l = mp_yaml_limits_default;
    for (l.nodes_max = 4; l.nodes_max <= 6; l.nodes_max++) {
        T_EQ(parses("[1, 2, 3, 4]", &l), l.nodes_max >= 5); /* the list counts as well */
        T_EQ(parses("{a: 1, b: 2}", &l), l.nodes_max >= 5);
        T_EQ(parses("[&a 1, *a, *a, *a]", &l), l.nodes_max >= 5);
    }
    l.nodes_max = 4;
    T_OK(says("a: 1\nb: 2\n", &l, "line 2: more than 4 values"));
    /* 10 levels of 10 aliases each would be 10^10 nodes. */
    struct mp_sb sb;
    mp_sb_init(&sb, 65536);
    mp_sb_add_c(&sb, "a0: &a0 x\n");
    for (int i = 1; i <= 10; i++) {
        mp_sb_printf(&sb, "a%d: &a%d [", i, i);
        for (int j = 0; j < 10; j++) {
            mp_sb_printf(&sb, "%s*a%d", j ? ", " : "", i - 1);
        }
        mp_sb_add_c(&sb, "]\n");
    }
    T_OK(says(sb.p, NULL, "more than 4000000 values (aliases counted in full)"));
    mp_sb_fini(&sb);
}

static void test_byte_and_anchor_limit(void)
{
    struct mp_yaml_limits l = mp_yaml_limits_default;
    for (l.bytes_max = 6; l.bytes_max <= 8; l.bytes_max++) {
        T_EQ(parses("a: 123\n", &l), l.bytes_max >= 7);
    }
    l = mp_yaml_limits_default;
    for (l.anchors_max = 1; l.anchors_max <= 3; l.anchors_max++) {
        T_EQ(parses("[&a 1, &b [2], 3]", &l), l.anchors_max >= 2);
    }
}

static void test_structure_errors(void)
{
    T_OK(says("", NULL, "the file is empty"));
    T_OK(says("# nothing\n", NULL, "the file is empty"));
    T_OK(says("a: 1\nb: 2\na: 3\n", NULL, "line 3: key \"a\" appears twice, first in line 1"));
    T_OK(says("a: 1\n'a': 3\n", NULL, "appears twice"));
    T_OK(says("x: {b: 1, b: 2}\ny: {c: 1, c: 2}\n", NULL, "line 2: key \"c\""));
    T_OK(says("- *a\n", NULL, "alias *a has no anchor"));
    T_OK(says("&a [*a]\n", NULL, "alias *a stands inside of what it names"));
    T_OK(says("&a {b: *a}\n", NULL, "alias *a stands inside"));
    T_OK(says("a: 1\n---\nb: 2\n", NULL, "line 2: a second document"));
    T_OK(says("{[1]: 2}\n", NULL, "a key is a list or a map"));
    T_OK(says("a: !x 1\n", NULL, "tag !x"));
    T_OK(says("- !ignore 1\n", NULL, "tag !ignore"));
    T_OK(says("a: [1\n", NULL, "line 2: "));
    T_OK(says("a: \"\\ud800\"\n", NULL, "line 1: "));
    T_OK(parses("a: 1\n...\n", NULL));
    T_OK(parses("%YAML 1.1\n---\na: 1\n", NULL));
    T_OK(parses("\xef\xbb\xbf{}", NULL));
}

static const struct mp_yaml_node *at(const struct mp_yaml *y, const char *path)
{
    return mp_yaml_at(y, path, NULL);
}

static void test_values(void)
{
    char *said;
    struct mp_yaml *y = parse(
        MP_STR("a: null\nb: 'null'\nc: ~\nd:\ne: \"\"\nf: !!str 5\ng: !!int 5\n!ignore h: &h 7\n"
               "i: *h\nj: &h 8\nk: *h\nl: |\n  two\n  lines\n"),
        NULL, &said);
    T_OK(y);
    T_OK(mp_yaml_is_null(at(y, "a")));
    T_OK(!mp_yaml_is_null(at(y, "b")));
    T_OK(mp_yaml_is_null(at(y, "c")));
    T_OK(mp_yaml_is_null(at(y, "d")));
    T_OK(!mp_yaml_is_null(at(y, "e")));
    T_OK(!at(y, "f")->plain);
    T_OK(at(y, "g")->plain);
    T_OK(!at(y, "h"));
    T_OK(mp_str_eq(at(y, "i")->text, MP_STR("7")));
    T_OK(mp_str_eq(at(y, "k")->text, MP_STR("8"))); /* the newest of a name */
    T_OK(mp_str_eq(at(y, "l")->text, MP_STR("two\nlines\n")));
    mp_yaml_free(y);
    free(said);
}

static void test_surrogates(void)
{
    static const struct {
        const char *doc, *want;
    } table[] = {
        {"{\"a\": \"\\ud83d\\ude80!\"}", "\xf0\x9f\x9a\x80!"},
        {"{\"a\": \"\\uD83D\\uDE80\"}", "\xf0\x9f\x9a\x80"},
        {" [0, {\"a\": \"x\"}, \"\\ud83d\\ude80\"]", NULL},
        {"{\"a\": \"\\\\ud83d\\u0041\"}", "\\ud83dA"},
        {"{\"a\": \"\\u0041\\/\"}", "A/"},
        {"{\"a\": \"\\udbff\\udfff\"}", "\xf4\x8f\xbf\xbf"},
    };
    for (size_t i = 0; i < MP_COUNTOF(table); i++) {
        char *said;
        struct mp_yaml *y = parse(mp_str_c(table[i].doc), NULL, &said);
        T_OK(y);
        T_OK(!table[i].want || mp_str_eq(at(y, "a")->text, mp_str_c(table[i].want)));
        mp_yaml_free(y);
        free(said);
    }
    T_OK(!parses("{\"a\": \"\\ud83d\"}", NULL));
    T_OK(!parses("{\"a\": \"\\ude80\\ud83d\"}", NULL));
    T_OK(!parses("{\"a\": \"\\ud83d\\u", NULL));
}

static void test_lines(void)
{
    char *said;
    struct mp_yaml *y = parse(MP_STR("a:\n  b:\n  - c: 1\n  - c: 2\n    camelCase:\n      d: [x,\n "
                                     "       y]\n\"q.r\": {e: 1}\n"),
                              NULL, &said);
    static const struct {
        const char *path;
        size_t line;
    } table[] = {
        {"", 1},
        {"a", 1},
        {"a.b", 2},
        {"a.b[0]", 3},
        {"a.b[1].c", 4},
        {"a.b[2]", 2},
        {"a.b[x]", 2},
        {"a.b[1].camel_case", 5},
        {"a.b[1].camelCase.d", 6},
        {"a.b[1].camel_case.d[1]", 7},
        {"a.b[1].camel_case.d[1].z", 7},
        {"[\"q.r\"].e", 8},
        {"[\"q.r\"]", 8},
        {"nothing", 1},
        {"a.b[", 2},
        {"[\"", 1},
        {"a..b", 1},
        {"a.b[0", 2},
    };
    T_OK(y);
    for (size_t i = 0; i < MP_COUNTOF(table); i++) {
        if (mp_yaml_line_of(y, table[i].path) != table[i].line) {
            printf("# %s: %zu\n", table[i].path, mp_yaml_line_of(y, table[i].path));
        }
        T_EQ(mp_yaml_line_of(y, table[i].path), table[i].line);
    }
    mp_yaml_free(y);
    free(said);
}

static void test_expand(void)
{
    static const struct {
        const char *doc, *want; /* want NULL: refused */
    } table[] = {
        {"plain", "plain"},
        {"${CT_HOST}", "127.0.0.9"},
        {"a${CT_HOST}b", "a127.0.0.9b"},
        {"'${CT_HOST}${CT_HOST}'", "127.0.0.9127.0.0.9"},
        {"'${CT_EMPTY}'", ""},
        {"${CT_EMPTY:-x}", "x"},
        {"${NOPE:-}", ""},
        {"${NOPE:-a:-b}", "a:-b"},
        {"${CT_HOST:-x}", "127.0.0.9"},
        {"'$${CT_HOST}'", "${CT_HOST}"},
        {"'$$ $ $x'", "$$ $ $x"},
        {"'${NOPE}'", NULL},
        {"'${}'", NULL},
        {"'${1A}'", NULL},
        {"'${A B}'", NULL},
        {"'${CT_HOST'", NULL},
        {"'a ${'", NULL},
    };
    for (size_t i = 0; i < MP_COUNTOF(table); i++) {
        char doc[256], *said;
        struct mp_diag diag;
        snprintf(doc, sizeof(doc), "a:\n- %s\n\"${CT_HOST}\": 1\n", table[i].doc);
        struct mp_yaml *y = parse(mp_str_c(doc), NULL, &said);
        T_OK(y);
        mp_diag_init(&diag, NULL);
        mp_err err =
            mp_yaml_expand(y, "f", &(struct mp_conf_load_opts){.getenv = ct_getenv}, &diag);
        T_EQ(mp_is_err(err), table[i].want == NULL);
        T_EQ(diag.errors > 0, table[i].want == NULL);
        T_OK(!table[i].want || mp_str_eq(at(y, "a[0]")->text, mp_str_c(table[i].want)));
        T_OK(at(y, "[\"${CT_HOST}\"]")); /* keys stay */
        mp_diag_fini(&diag);
        mp_yaml_free(y);
        free(said);
    }
}

static void test_expand_alias_once(void)
{
    char *said;
    struct mp_yaml *y = parse(MP_STR("a: &a ['$${x}']\nb: *a\n"), NULL, &said);
    T_OK(y);
    T_OK(!mp_is_err(mp_yaml_expand(y, "f", &(struct mp_conf_load_opts){0}, NULL)));
    T_OK(mp_str_eq(at(y, "b[0]")->text, MP_STR("${x}")));
    mp_yaml_free(y);
    free(said);
}

int main(void)
{
    mp_hash_set_key(1, 2);
    T_RUN(test_depth_limit);
    T_RUN(test_node_limit);
    T_RUN(test_byte_and_anchor_limit);
    T_RUN(test_structure_errors);
    T_RUN(test_values);
    T_RUN(test_surrogates);
    T_RUN(test_lines);
    T_RUN(test_expand);
    T_RUN(test_expand_alias_once);
    return T_DONE();
}
