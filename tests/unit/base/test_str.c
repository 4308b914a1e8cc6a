/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/str.h"
#include "t.h"

static void compare(void)
{
    T_OK(mp_str_eq(MP_STR("abc"), MP_STR("abc")));
    T_OK(!mp_str_eq(MP_STR("abc"), MP_STR("abd")));
    T_OK(!mp_str_eq(MP_STR("abc"), MP_STR("ab")));
    T_OK(mp_str_eq(mp_str(NULL, 0), MP_STR("")));
    T_OK(mp_str_eq(mp_str_c(NULL), mp_str(NULL, 0)));
    T_OK(mp_str_ieq(MP_STR("Host-9@Z"), MP_STR("hOST-9@z")));
    T_OK(!mp_str_ieq(MP_STR("@"), MP_STR("`"))); /* 0x40 and 0x60 are no letters */
    T_OK(!mp_str_ieq(MP_STR("["), MP_STR("{")));
    T_OK(!mp_str_ieq(MP_STR("\xc0"), MP_STR("\xe0")));
    T_OK(!mp_str_ieq(MP_STR("ab"), MP_STR("abc")));
    T_OK(mp_str_ieq(mp_str(NULL, 0), MP_STR("")));
    T_EQ(mp_str_cmp(MP_STR("a"), MP_STR("b")), -1);
    T_EQ(mp_str_cmp(MP_STR("b"), MP_STR("a")), 1);
    T_EQ(mp_str_cmp(MP_STR("a"), MP_STR("ab")), -1);
    T_EQ(mp_str_cmp(MP_STR("ab"), MP_STR("a")), 1);
    T_EQ(mp_str_cmp(MP_STR("ab"), MP_STR("ab")), 0);
    T_EQ(mp_str_cmp(mp_str(NULL, 0), MP_STR("")), 0);
    T_EQ(mp_str_cmp(MP_STR("\xff"), MP_STR("a")), 1); /* bytes are unsigned */
}

static void starts_ends(void)
{
    T_OK(mp_str_starts(MP_STR("abc"), MP_STR("ab")));
    T_OK(mp_str_starts(MP_STR("abc"), MP_STR("abc")));
    T_OK(!mp_str_starts(MP_STR("abc"), MP_STR("abcd")));
    T_OK(!mp_str_starts(MP_STR("abc"), MP_STR("b")));
    T_OK(mp_str_starts(mp_str(NULL, 0), MP_STR("")));
    T_OK(mp_str_ends(MP_STR("abc"), MP_STR("bc")));
    T_OK(mp_str_ends(MP_STR("abc"), MP_STR("abc")));
    T_OK(!mp_str_ends(MP_STR("abc"), MP_STR("zabc")));
    T_OK(!mp_str_ends(MP_STR("abc"), MP_STR("b")));
    T_OK(mp_str_ends(mp_str(NULL, 0), mp_str(NULL, 0)));
}

static void search(void)
{
    struct mp_str s = mp_str("a\0b=b", 5);
    T_EQ(mp_str_chr(s, 'b', 0), 2);
    T_EQ(mp_str_chr(s, 'b', 2), 2);
    T_EQ(mp_str_chr(s, 'b', 3), 4);
    T_EQ(mp_str_chr(s, 'b', 5), -1);
    T_EQ(mp_str_chr(s, 'b', 99), -1);
    T_EQ(mp_str_chr(s, '\0', 0), 1);
    T_EQ(mp_str_chr(mp_str(NULL, 0), 'x', 0), -1);
    T_EQ(mp_str_find(s, MP_STR("b=")), 2);
    T_EQ(mp_str_find(s, MP_STR("")), 0);
    T_EQ(mp_str_find(s, MP_STR("=b ")), -1);
    T_EQ(mp_str_find(s, MP_STR("a longer needle")), -1);
    T_EQ(mp_str_find(mp_str(NULL, 0), MP_STR("a")), -1);
}

static void trim(void)
{
    T_OK(mp_str_eq(mp_str_trim(MP_STR(" \t a b\t ")), MP_STR("a b")));
    T_OK(mp_str_eq(mp_str_trim(MP_STR(" \t ")), MP_STR("")));
    T_OK(mp_str_eq(mp_str_trim(MP_STR("\na\r")), MP_STR("\na\r")));
    T_EQ(mp_str_trim(mp_str(NULL, 0)).n, 0);
}

static void split(void)
{
    struct mp_str rest = MP_STR("a,,bc,"), part;
    const char *expected[] = {"a", "", "bc", ""};
    for (size_t i = 0; i < 4; i++) {
        T_OK(mp_str_split(&rest, ',', &part));
        T_OK(mp_str_eq(part, mp_str_c(expected[i])));
    }
    T_OK(!mp_str_split(&rest, ',', &part));
    T_OK(!mp_str_split(&rest, ',', &part));
    rest = MP_STR("");
    T_OK(mp_str_split(&rest, ',', &part));
    T_EQ(part.n, 0);
    T_OK(!mp_str_split(&rest, ',', &part));
    rest = mp_str(NULL, 0);
    T_OK(!mp_str_split(&rest, ',', &part));
}

static void to_u64(void)
{
    uint64_t v = 7;
    T_EQ(mp_str_to_u64(MP_STR("18446744073709551614"), &v).code, MP_E_OK);
    T_OK(v == UINT64_MAX - 1);
    T_EQ(mp_str_to_u64(MP_STR("18446744073709551615"), &v).code, MP_E_OK);
    T_OK(v == UINT64_MAX);
    v = 7;
    T_EQ(mp_str_to_u64(MP_STR("18446744073709551616"), &v).code, MP_E_LIMIT);
    T_EQ(mp_str_to_u64(MP_STR("99999999999999999999"), &v).code, MP_E_LIMIT);
    T_EQ(mp_str_to_u64(MP_STR("100000000000000000000000"), &v).code, MP_E_LIMIT);
    static const char *const bad[] = {"", " 1", "1 ", "+1", "-1", "0x1", "1.0", "1a", "\xb1"};
    for (size_t i = 0; i < MP_COUNTOF(bad); i++) {
        T_EQ(mp_str_to_u64(mp_str_c(bad[i]), &v).code, MP_E_SYNTAX);
    }
    T_EQ(mp_str_to_u64(mp_str(NULL, 0), &v).code, MP_E_SYNTAX);
    T_EQ(mp_str_to_u64(mp_str("1\0", 2), &v).code, MP_E_SYNTAX);
    T_EQ(v, 7); /* untouched on failure */
    T_EQ(mp_str_to_u64(MP_STR("000"), &v).code, MP_E_OK);
    T_EQ(v, 0);
}

static void dup_c(void)
{
    char *z = mp_str_dup_c(mp_str("abcd", 3));
    T_OK(strcmp(z, "abc") == 0);
    free(z);
    z = mp_str_dup_c(mp_str(NULL, 0));
    T_OK(strcmp(z, "") == 0);
    free(z);
}

static void utf8(void)
{
    uint32_t cp = 0;
    static const struct {
        const char *p;
        size_t n, used;
        uint32_t cp;
    } cases[] = {
        {"", 0, 0, 0},
        {"\0", 1, 1, 0},
        {"\x7f", 1, 1, 0x7f},
        {"\x80", 1, 0, 0},
        {"\xc1\xbf", 2, 0, 0}, /* overlong 0x7f */
        {"\xc2\x80", 2, 2, 0x80},
        {"\xc2", 1, 0, 0},
        {"\xc2\x41", 2, 0, 0},
        {"\xdf\xbf", 2, 2, 0x7ff},
        {"\xe0\x9f\xbf", 3, 0, 0}, /* overlong 0x7ff */
        {"\xe0\xa0\x80", 3, 3, 0x800},
        {"\xe2\x82", 2, 0, 0},
        {"\xed\x9f\xbf", 3, 3, 0xd7ff},
        {"\xed\xa0\x80", 3, 0, 0}, /* surrogates */
        {"\xed\xbf\xbf", 3, 0, 0},
        {"\xee\x80\x80", 3, 3, 0xe000},
        {"\xf0\x8f\xbf\xbf", 4, 0, 0}, /* overlong 0xffff */
        {"\xf0\x90\x80\x80", 4, 4, 0x10000},
        {"\xf4\x8f\xbf\xbf", 4, 4, 0x10ffff},
        {"\xf4\x90\x80\x80", 4, 0, 0},
        {"\xf5\x80\x80\x80", 4, 0, 0},
        {"\xff", 1, 0, 0},
        {"\xf0\x90\x80", 3, 0, 0},
    };
    for (size_t i = 0; i < MP_COUNTOF(cases); i++) {
        T_EQ(mp_utf8_next(mp_str(cases[i].p, cases[i].n), &cp), cases[i].used);
        T_OK(cases[i].used == 0 || cp == cases[i].cp);
    }
    T_OK(mp_utf8_is_unsafe(0x1f) && !mp_utf8_is_unsafe(0x20));
    T_OK(!mp_utf8_is_unsafe(0x7e) && mp_utf8_is_unsafe(0x7f) && mp_utf8_is_unsafe(0x9f));
    T_OK(!mp_utf8_is_unsafe(0xa0) && mp_utf8_is_unsafe(0x2028) && mp_utf8_is_unsafe(0x202e));
    T_OK(!mp_utf8_is_unsafe(0x2027) && !mp_utf8_is_unsafe(0x202f) && mp_utf8_is_unsafe(0x2066));
}

static void sb_basics(void)
{
    struct mp_sb sb;
    mp_sb_init(&sb, 1000);
    T_EQ(sb.p[0], 0);
    mp_sb_add_c(&sb, "ab");
    mp_sb_add_char(&sb, '-');
    mp_sb_add(&sb, mp_str(NULL, 0));
    mp_sb_printf(&sb, "%d/%s", 42, "x");
    T_OK(mp_str_eq(mp_sb_str(&sb), MP_STR("ab-42/x")));
    T_EQ(sb.p[sb.n], 0);
    mp_sb_reset(&sb);
    T_EQ(sb.n, 0);
    T_EQ(sb.p[0], 0);
    for (int i = 0; i < 100; i++) {
        mp_sb_printf(&sb, "%09d\n", i);
    }
    T_EQ(sb.n, 1000);
    T_OK(!sb.overflow);
    T_OK(memcmp(sb.p + 990, "000000099\n", 11) == 0);
    mp_sb_fini(&sb);
    T_EQ(sb.n, 0);
    T_EQ(sb.p[0], 0);
    mp_sb_add_c(&sb, "again"); /* usable after fini */
    T_EQ(sb.n, 5);
    mp_sb_fini(&sb);
}

static void sb_limit(void)
{
    struct mp_sb sb;
    for (size_t n = 9; n <= 11; n++) {
        mp_sb_init(&sb, 10);
        for (size_t i = 0; i < n; i++) {
            mp_sb_add_char(&sb, 'x');
        }
        T_EQ(sb.n, n < 10 ? n : 10);
        T_EQ(sb.overflow, n > 10);
        T_EQ(sb.p[sb.n], 0);
        mp_sb_reset(&sb);
        T_OK(!sb.overflow);
        mp_sb_printf(&sb, "%.*s", (int)n, "0123456789a");
        T_EQ(sb.n, n < 10 ? n : 10);
        T_EQ(sb.overflow, n > 10);
        T_OK(strncmp(sb.p, "0123456789", sb.n) == 0 && sb.p[sb.n] == 0);
        mp_sb_fini(&sb);
        mp_sb_init(&sb, 10);
        mp_sb_add(&sb, mp_str("0123456789a", n));
        T_EQ(sb.n, n < 10 ? n : 10);
        T_EQ(sb.overflow, n > 10);
        mp_sb_fini(&sb);
    }
    mp_sb_init(&sb, 0);
    mp_sb_add_c(&sb, "");
    T_OK(!sb.overflow);
    mp_sb_add_c(&sb, "x");
    T_OK(sb.overflow);
    T_EQ(sb.p[0], 0);
    mp_sb_fini(&sb);
}

static void sb_json(void)
{
    static const struct {
        struct mp_str in;
        const char *out;
    } cases[] = {
        {{NULL, 0}, "\"\""},
        {{"a\"b\\c/", 6}, "\"a\\\"b\\\\c/\""},
        {{"\n\r\t\b\f", 5}, "\"\\n\\r\\t\\b\\f\""},
        {{"\0\x1f\x7f", 3}, "\"\\u0000\\u001f\\u007f\""},
        {{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9}, "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {{"\xe2\x80\xa8\xc2\x9b", 5}, "\"\\u2028\\u009b\""},
        {{"x\xff\xc3y", 4}, "\"x\xef\xbf\xbd\xef\xbf\xbdy\""},
        {{"\xed\xa0\x80", 3}, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    struct mp_sb sb;
    mp_sb_init(&sb, 1000);
    for (size_t i = 0; i < MP_COUNTOF(cases); i++) {
        mp_sb_reset(&sb);
        mp_sb_add_json(&sb, cases[i].in);
        T_OK(strcmp(sb.p, cases[i].out) == 0);
    }
    mp_sb_fini(&sb);
}

int main(void)
{
    T_RUN(compare);
    T_RUN(starts_ends);
    T_RUN(search);
    T_RUN(trim);
    T_RUN(split);
    T_RUN(to_u64);
    T_RUN(dup_c);
    T_RUN(utf8);
    T_RUN(sb_basics);
    T_RUN(sb_limit);
    T_RUN(sb_json);
    return T_DONE();
}
