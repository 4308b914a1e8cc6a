/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The strict reader, also beside jansson, which refuses duplicates when told so. */
#include <jansson.h>
#include <math.h>

#include "filters/json.h"
#include "t.h"

#define NODES 64
static struct mp_json_node nodes[NODES];
static struct mp_json j;

static bool parse(const char *text)
{
    /* Of the exact size, so that a read past the end is seen. */
    size_t n = strlen(text);
    static char *kept;
    free(kept);
    kept = malloc(n + !n);
    if (!kept) {
        abort();
    }
    memcpy(kept, text, n);
    return mp_json_parse(mp_str(kept, n), nodes, NODES, &j);
}

static void accepted_and_refused(void)
{
    static const char *const good[] = {"{}",
                                       "[]",
                                       "\"\"",
                                       "0",
                                       "-0",
                                       "1",
                                       "-1.5",
                                       "1e5",
                                       "1E+5",
                                       "1.0e-10",
                                       "true",
                                       "false",
                                       "null",
                                       " [ 1 , 2 ] ",
                                       "\t\r\n{\"a\":1}\n",
                                       "{\"a\":{\"a\":{\"a\":1}}}",
                                       "{\"a\":1,\"b\":1}",
                                       "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\"",
                                       "\"\\ud83d\\ude00\"",
                                       "\"\xf0\x9f\x98\x80\"",
                                       "\"\x7f\"",
                                       "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]",
                                       "{\"\":1}",
                                       "{\"a\":1,\"A\":1}",
                                       "{\"\xc3\xa9\":1,\"e\":1}",
                                       "[{\"a\":1},{\"a\":1}]"};
    static const char *const bad[] = {"",
                                      " ",
                                      "{",
                                      "}",
                                      "[",
                                      "]",
                                      "{]",
                                      "[1,]",
                                      "[,1]",
                                      "[1 2]",
                                      "{\"a\"}",
                                      "{\"a\":}",
                                      "{\"a\":1,}",
                                      "{,}",
                                      "{a:1}",
                                      "{'a':1}",
                                      "{1:1}",
                                      "nul",
                                      "nulll",
                                      "True",
                                      "TRUE",
                                      "tru",
                                      "+1",
                                      "01",
                                      "-",
                                      "-01",
                                      "1.",
                                      ".5",
                                      "1e",
                                      "1e+",
                                      "0x10",
                                      "1_0",
                                      "NaN",
                                      "Infinity",
                                      "-Infinity",
                                      "\"",
                                      "\"a",
                                      "\"\\\"",
                                      "\"\\x41\"",
                                      "\"\\u12\"",
                                      "\"\\u123g\"",
                                      "\"\\ud800\"",
                                      "\"\\ud800x\"",
                                      "\"\\ud800\\u0041\"",
                                      "\"\\udc00\"",
                                      "\"\\u0000\"",
                                      "\"\n\"",
                                      "\"\x1f\"",
                                      "\"\x80\"",
                                      "\"\xc0\xaf\"",
                                      "\"\xed\xa0\x80\"",
                                      "\"\xf4\x90\x80\x80\"",
                                      "\"\xc3\"",
                                      "1 1",
                                      "{}{}",
                                      "[]x",
                                      "{} //x",
                                      "/**/{}",
                                      "\xef\xbb\xbf{}",
                                      "{\"a\":1,\"a\":2}",
                                      "{\"a\":1,\"b\":2,\"a\":3}",
                                      "{\"a\":1,\"\\u0061\":2}",
                                      "{\"\\u0061\":1,\"a\":2}",
                                      "{\"\\u00e9\":1,\"\xc3\xa9\":2}",
                                      "{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":2}",
                                      "{\"\\u0061\\n\":1,\"a\\u000a\":2}",
                                      "{\"\":1,\"\":2}",
                                      "[{\"x\":{\"a\":1,\"a\":1}}]",
                                      "[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]",
                                      "\v1",
                                      "1\f",
                                      "[1}",
                                      "{\"a\":1]",
                                      "\"a\"\"b\"",
                                      "--1",
                                      "1-",
                                      "1+1"};
    for (size_t i = 0; i < MP_COUNTOF(good); i++) {
        if (!parse(good[i])) {
            printf("# refused: %s\n", good[i]);
            T_OK(false);
        }
    }
    for (size_t i = 0; i < MP_COUNTOF(bad); i++) {
        if (parse(bad[i])) {
            printf("# accepted: %s\n", bad[i]);
            T_OK(false);
        }
    }
}

static void node_limit(void)
{
    char text[400] = "[1";
    for (int i = 2; i < NODES - 1; i++) {
        strcat(text, ",1");
    }
    strcat(text, "]");
    T_OK(parse(text)); /* n - 1 */
    T_EQ(j.n, NODES - 1);
    text[strlen(text) - 1] = '\0';
    strcat(text, ",1]");
    T_OK(parse(text)); /* n */
    T_EQ(j.n, NODES);
    text[strlen(text) - 1] = '\0';
    strcat(text, ",1]");
    T_OK(!parse(text)); /* n + 1 */
}

static void size_limit(void)
{
    char *text = malloc(MP_JSON_BYTES_MAX + 1);
    T_OK(text != NULL);
    memset(text, ' ', MP_JSON_BYTES_MAX + 1);
    text[0] = '1';
    bool less = mp_json_parse(mp_str(text, MP_JSON_BYTES_MAX - 1), nodes, NODES, &j);
    bool exact = mp_json_parse(mp_str(text, MP_JSON_BYTES_MAX), nodes, NODES, &j);
    bool more = mp_json_parse(mp_str(text, MP_JSON_BYTES_MAX + 1), nodes, NODES, &j);
    free(text);
    T_OK(less && exact && !more);
}

static void access(void)
{
    T_OK(parse("{\"a\":[1,{\"b\":2},\"x\"],\"c\":{\"a\":3},\"d\\u0065\":"
               "\"v\\u0061l\\n\\ud83d\\ude00\",\"e\":true}"));
    const struct mp_json_node *a = mp_json_member(&j, nodes, MP_STR("a"));
    T_OK(mp_json_is(a, MP_JSON_ARRAY));
    const struct mp_json_node *e = mp_json_first(&j, a);
    T_OK(mp_json_is(e, MP_JSON_NUMBER) && mp_json_number(&j, e) == 1);
    e = mp_json_after(&j, a, e);
    T_OK(mp_json_is(e, MP_JSON_OBJECT));
    T_OK(mp_json_number(&j, mp_json_member(&j, e, MP_STR("b"))) == 2);
    T_OK(!mp_json_member(&j, e, MP_STR("a")));
    e = mp_json_after(&j, a, e);
    T_OK(mp_json_equals(&j, e, MP_STR("x")));
    T_OK(!mp_json_after(&j, a, e));
    T_OK(mp_json_number(
             &j, mp_json_member(&j, mp_json_member(&j, nodes, MP_STR("c")), MP_STR("a"))) == 3);
    e = mp_json_member(&j, nodes, MP_STR("de"));
    T_OK(mp_json_equals(&j, e, MP_STR("val\n\xf0\x9f\x98\x80")));
    T_OK(!mp_json_equals(&j, e, MP_STR("val\n\xf0\x9f\x98")));
    T_OK(!mp_json_equals(&j, e, MP_STR("val\n\xf0\x9f\x98\x80x")));
    char out[64];
    size_t n = mp_json_unescape(&j, e, out);
    T_OK(mp_str_eq(mp_str(out, n), MP_STR("val\n\xf0\x9f\x98\x80")));
    T_OK(mp_json_is(mp_json_member(&j, nodes, MP_STR("e")), MP_JSON_TRUE));
    T_OK(!mp_json_member(&j, nodes, MP_STR("f")));
    T_OK(!mp_json_is(NULL, MP_JSON_NULL));
    T_OK(parse("[]") && !mp_json_first(&j, nodes));
    T_OK(parse("{}") && !mp_json_member(&j, nodes, MP_STR("")));
}

static void numbers(void)
{
    static const struct {
        const char *text;
        double v;
    } rows[] = {{"0", 0},
                {"-0", 0},
                {"1700000000", 1700000000},
                {"1700000000.5", 1700000000.5},
                {"17e8", 1.7e9},
                {"1.7E9", 1.7e9},
                {"170000000000e-2", 1.7e9},
                {"9007199254740992", 9007199254740992.0},
                {"-1", -1},
                {"0.25", 0.25},
                {"1e400", HUGE_VAL},
                {"-1e400", -HUGE_VAL},
                {"1e99999999999", HUGE_VAL},
                {"0e99999999999", 0},
                {"1e-99999999999", 0}};
    for (size_t i = 0; i < MP_COUNTOF(rows); i++) {
        T_OK(parse(rows[i].text));
        if (mp_json_number(&j, nodes) != rows[i].v) {
            printf("# %s: %.17g\n", rows[i].text, mp_json_number(&j, nodes));
            T_OK(false);
        }
    }
    /* Long numbers cost no more than their length, and come out about right. */
    char text[400] = "1";
    memset(text + 1, '0', 300);
    T_OK(parse(text));
    T_OK(fabs(mp_json_number(&j, nodes) / 1e300 - 1) < 1e-9);
}

/* Every change of one byte of a document: jansson and we agree on what is JSON. */
static void beside_jansson(void)
{
    static const char base[] =
        "{\"a\":[1,-2.5e+3,true,null],\"b\\u0041\":\"x\\n\xc3\xa9\",\"c\":{\"a\":{}}}";
    char text[sizeof(base)];
    unsigned accepted = 0;
    for (size_t i = 0; i < sizeof(base) - 1; i++) {
        for (int c = 1; c < 256; c++) {
            memcpy(text, base, sizeof(base));
            text[i] = (char)c;
            json_error_t err;
            json_t *other =
                json_loadb(text, sizeof(base) - 1, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &err);
            bool ours = parse(text);
            /* jansson reads numbers while it parses: one that is out of its range is not our
             * concern. */
            if (ours != (other != NULL) && json_error_code(&err) != json_error_numeric_overflow) {
                printf("# %d at %zu: ours %d, %s\n", c, i, ours, err.text);
                T_OK(false);
            }
            accepted += ours;
            json_decref(other);
        }
    }
    T_OK(accepted > 300);
}

int main(void)
{
    T_RUN(accepted_and_refused);
    T_RUN(node_limit);
    T_RUN(size_limit);
    T_RUN(access);
    T_RUN(numbers);
    T_RUN(beside_jansson);
    parse("0");
    return T_DONE();
}
