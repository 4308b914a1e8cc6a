/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/regex.h"
#include "t.h"

static struct mp_arena arena;

static struct mp_regex *compile(const char *prefix, const char *pattern, bool whole)
{
    char text[300];
    snprintf(text, sizeof(text), "%s%s", prefix, pattern);
    struct mp_regex *re = NULL;
    const char *cause = "";
    if (mp_is_err(mp_regex_new(mp_str_c(text), whole, &arena, &re, &cause))) {
        printf("# %s: %s\n", text, cause);
        return NULL;
    }
    return re;
}

/* With compiled code and, as where executable memory is forbidden, interpreted. */
static const char *const modes[] = {"", "(*NO_JIT)"};

static enum mp_regex_result whole_match(const char *mode, const char *pattern, struct mp_str text)
{
    struct mp_regex *re = compile(mode, pattern, true);
    enum mp_regex_result r = re != NULL ? mp_regex_match(re, text) : MP_REGEX_FAILED;
    mp_regex_free(re);
    return r;
}

static void test_whole_match(void)
{
    for (size_t i = 0; i < MP_COUNTOF(modes); i++) {
        const char *m = modes[i];
        T_EQ(whole_match(m, "/r/[0-9]+", MP_STR("/r/12")), MP_REGEX_YES);
        T_EQ(whole_match(m, "/r/[0-9]+", MP_STR("/r/12x")), MP_REGEX_NO);
        T_EQ(whole_match(m, "/r/[0-9]+", MP_STR("x/r/12")), MP_REGEX_NO);
        T_EQ(whole_match(m, "a|ab", MP_STR("ab")), MP_REGEX_YES);
        T_EQ(whole_match(m, "a$", MP_STR("a\n")), MP_REGEX_NO);
        T_EQ(whole_match(m, "", mp_str(NULL, 0)), MP_REGEX_YES);
        T_EQ(whole_match(m, "a", mp_str(NULL, 0)), MP_REGEX_NO);
        T_EQ(whole_match(m, "a.b",
                         MP_STR("a\xff"
                                "b")),
             MP_REGEX_YES);
        T_EQ(whole_match(m, "a.b", MP_STR("a\0b")), MP_REGEX_YES);
        T_EQ(whole_match(m, "(?i)abc", MP_STR("aBC")), MP_REGEX_YES);
        T_EQ(whole_match(m, "(?P<n>a)(b)(c)(d)(e)(f)(g)(h)(i)(j)(k)(l)", MP_STR("abcdefghijkl")),
             MP_REGEX_YES);
    }
}

/* Bounded: an expression with exponential cost fails, and soon. */
static void test_limit(void)
{
    char text[40001];
    memset(text, 'a', sizeof(text));
    for (size_t i = 0; i < MP_COUNTOF(modes); i++) {
        T_EQ(whole_match(modes[i], "(a+)+(b|c)?[^a]", mp_str(text, 60)), MP_REGEX_FAILED);
        /* Recursion needs memory for each level: the stack's, and that is limited. */
        text[sizeof(text) - 1] = 'b';
        T_EQ(whole_match(modes[i], "(a(?1)?b)", mp_str(text, sizeof(text))), MP_REGEX_FAILED);
        /* Linear ones do not care about the length. */
        T_EQ(whole_match(modes[i], "[a-z]+", mp_str(text, sizeof(text))), MP_REGEX_YES);
    }
}

static bool replaced(const char *mode, const char *pattern, const char *text, const char *sub,
                     const char *expected)
{
    struct mp_regex *re = compile(mode, pattern, false);
    struct mp_str got = MP_STR("(error)");
    const char *cause = "";
    if (re != NULL && !mp_is_err(mp_regex_check_substitution(re, mp_str_c(sub), &arena, &cause))) {
        (void)!mp_is_err(mp_regex_replace(re, mp_str_c(text), mp_str_c(sub), &arena, &got));
    }
    mp_regex_free(re);
    if (!mp_str_eq(got, mp_str_c(expected))) {
        printf("# %s: \"" MP_STR_FMT "\", expected \"%s\"\n", pattern, MP_STR_ARG(got), expected);
    }
    return mp_str_eq(got, mp_str_c(expected));
}

static void test_replace(void)
{
    for (size_t i = 0; i < MP_COUNTOF(modes); i++) {
        const char *m = modes[i];
        T_OK(replaced(m, "a", "banana", "o", "bonono"));
        T_OK(replaced(m, "x", "banana", "o", "banana"));
        T_OK(replaced(m, "^b", "bbb", "", "bb"));
        T_OK(replaced(m, "(a)(n)?", "banana", "[\\2\\1]", "b[na][na][a]"));
        T_OK(replaced(m, "", "ab", "-", "-a-b-"));
        T_OK(replaced(m, "b*", "abb", "-", "-a-"));
        T_OK(replaced(m, "b*", "abc", "-", "-a-c-"));
        T_OK(replaced(m, "\\b", "ab cd", "|", "|ab| |cd|"));
        T_OK(replaced(m, "a", "", "o", ""));
        T_OK(replaced(m, ".*", "", "o", "o"));
        T_OK(replaced(m, "(a)|b", "ab", "\\0\\1", "aab"));
        T_OK(replaced(m, "a", "a", "\\\\", "\\"));
        T_OK(replaced(m, "(1)(2)(3)(4)(5)(6)(7)(8)(9)(a)(b)", "123456789ab", "\\9\\1", "91"));
    }
}

static void test_replace_limits(void)
{
    struct mp_regex *re = compile("", "(a+)+(b|c)?[^a]", false);
    char text[60];
    memset(text, 'a', sizeof(text));
    struct mp_str got = MP_STR("untouched");
    T_EQ(mp_regex_replace(re, mp_str(text, 60), MP_STR(""), &arena, &got).code, MP_E_LIMIT);
    T_OK(mp_str_eq(got, MP_STR("untouched")));
    mp_regex_free(re);
    re = compile("", "a", false);
    for (size_t room = 9; room <= 11; room++) {
        char first[16];
        struct mp_arena small;
        mp_arena_init(&small, first, room, NULL, 0, 0);
        T_EQ(mp_regex_replace(re, mp_str(text, 5), MP_STR("xy"), &small, &got).code,
             room < 10 ? MP_E_LIMIT : MP_E_OK);
    }
    mp_regex_free(re);
}

static int refused(const char *pattern)
{
    struct mp_regex *re = NULL;
    const char *cause = NULL;
    mp_err err = mp_regex_new(mp_str_c(pattern), true, &arena, &re, &cause);
    if (!mp_is_err(err) || cause == NULL || re != NULL) {
        mp_regex_free(re);
        return -1;
    }
    return err.code;
}

static void test_refused_patterns(void)
{
    T_EQ(refused("("), MP_E_SYNTAX);
    T_EQ(refused("[a"), MP_E_SYNTAX);
    T_EQ(refused("a{2,1}"), MP_E_SYNTAX);
    T_EQ(refused("\\C"), MP_E_SYNTAX);
    T_EQ(refused("(*UTF)a"), MP_E_SYNTAX);
    T_EQ(refused("(a)\\1"), MP_E_UNSUPPORTED);
    char nested[250];
    memset(nested, '(', 101);
    nested[101] = 'a';
    memset(nested + 102, ')', 101);
    nested[203] = '\0';
    T_EQ(refused(nested), MP_E_SYNTAX);
    memmove(nested, nested + 1, 202);
    nested[201] = '\0';
    struct mp_regex *re = compile("", nested, true);
    T_OK(re != NULL);
    T_OK(mp_regex_free(re) == NULL);
    T_OK(mp_regex_free(NULL) == NULL);
}

static void test_substitution_check(void)
{
    struct mp_regex *re = compile("", "(a)(b)", false);
    const char *cause = "";
    T_OK(!mp_is_err(mp_regex_check_substitution(re, MP_STR("\\0\\1\\2\\\\"), &arena, &cause)));
    T_EQ(mp_regex_check_substitution(re, MP_STR("\\3"), &arena, &cause).code, MP_E_INVALID);
    T_OK(strstr(cause, "2 groups") != NULL);
    T_EQ(mp_regex_check_substitution(re, MP_STR("\\"), &arena, &cause).code, MP_E_SYNTAX);
    T_EQ(mp_regex_check_substitution(re, MP_STR("\\n"), &arena, &cause).code, MP_E_SYNTAX);
    mp_regex_free(re);
}

int main(void)
{
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 4096, SIZE_MAX);
    T_RUN(test_whole_match);
    T_RUN(test_limit);
    T_RUN(test_replace);
    T_RUN(test_replace_limits);
    T_RUN(test_refused_patterns);
    T_RUN(test_substitution_check);
    mp_arena_fini(&arena);
    return T_DONE();
}
