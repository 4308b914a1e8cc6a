/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "admin/query.h"
#include "t.h"

static struct mp_admin_query q;

static int parse(const char *text, bool form)
{
    return mp_admin_query_parse(mp_str_c(text), form, &q).code;
}

static bool has(const char *name, const char *value)
{
    const struct mp_str *v = mp_admin_query_get(&q, mp_str_c(name));
    return v != NULL && mp_str_eq(*v, mp_str_c(value));
}

static void test_pairs(void)
{
    T_EQ(parse("usedonly&filter=a%5E%2eb&format=json&empty=", false), MP_E_OK);
    T_EQ(q.n, 4);
    T_OK(has("usedonly", ""));
    T_OK(has("filter", "a^.b"));
    T_OK(has("format", "json"));
    T_OK(has("empty", ""));
    T_OK(mp_admin_query_get(&q, MP_STR("forma")) == NULL);
    T_OK(mp_admin_query_get(&q, MP_STR("formatt")) == NULL);
    mp_admin_query_fini(&q);
}

static void test_shapes(void)
{
    T_EQ(parse("", false), MP_E_OK);
    T_EQ(q.n, 0);
    mp_admin_query_fini(&q);
    T_EQ(parse("&&a=1&", false), MP_E_OK);
    T_EQ(q.n, 1);
    mp_admin_query_fini(&q);
    T_EQ(parse("a=b=c&=x&%61%62=%3D", false), MP_E_OK);
    T_OK(has("a", "b=c"));
    T_OK(has("", "x"));
    T_OK(has("ab", "="));
    mp_admin_query_fini(&q);
    T_EQ(parse("a=1&a=2", false), MP_E_OK);
    T_OK(has("a", "1"));
    mp_admin_query_fini(&q);
}

static void test_plus(void)
{
    T_EQ(parse("f=.+x%2B", false), MP_E_OK);
    T_OK(has("f", ".+x+"));
    mp_admin_query_fini(&q);
    T_EQ(parse("f=.+x%2B", true), MP_E_OK);
    T_OK(has("f", ". x+"));
    mp_admin_query_fini(&q);
}

static void test_bad_escapes(void)
{
    static const char *const bad[] = {"a=%",  "a=%4",  "a=%4g", "a=%g4", "a=%00", "%",
                                      "%4=1", "a=%%4", "a&b=%", "a=% 4", "a=%+4", "a=%\xff\xff"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        T_EQ(parse(bad[i], false), MP_E_INVALID);
    }
    T_EQ(parse("a=%01%fF", false), MP_E_OK);
    T_OK(has("a", "\x01\xff"));
    mp_admin_query_fini(&q);
}

static int parse_count(int n)
{
    struct mp_sb sb;
    mp_sb_init(&sb, 4096);
    for (int i = 0; i < n; i++) {
        mp_sb_printf(&sb, "%sp%d=v", i > 0 ? "&" : "", i);
    }
    int code = mp_admin_query_parse(mp_sb_str(&sb), false, &q).code;
    mp_sb_fini(&sb);
    return code;
}

static void test_count_limit(void)
{
    T_EQ(parse_count(MP_ADMIN_PARAMS_MAX - 1), MP_E_OK);
    mp_admin_query_fini(&q);
    T_EQ(parse_count(MP_ADMIN_PARAMS_MAX), MP_E_OK);
    T_OK(has("p31", "v"));
    mp_admin_query_fini(&q);
    T_EQ(parse_count(MP_ADMIN_PARAMS_MAX + 1), MP_E_LIMIT);
}

int main(void)
{
    T_RUN(test_pairs);
    T_RUN(test_shapes);
    T_RUN(test_plus);
    T_RUN(test_bad_escapes);
    T_RUN(test_count_limit);
    return T_DONE();
}
