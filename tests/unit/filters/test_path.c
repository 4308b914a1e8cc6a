/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "filters/path.h"
#include "t.h"

/* "!": none; "~" in front: odd. */
static const char *plain(const char *path)
{
    static char text[256];
    struct mp_str ret;
    size_t n = strlen(path);
    char *out = malloc(n + 1);
    if (!out) {
        abort();
    }
    bool odd = false, ok = mp_path_make_plain(mp_str(path, n), out, &ret, &odd);
    snprintf(text, sizeof(text), "%s%.*s", odd ? "~" : "", ok ? (int)ret.n : 1, ok ? ret.p : "!");
    free(out);
    return text;
}

static void plain_form(void)
{
    static const struct {
        const char *path, *plain;
    } rows[] = {{"/", "/"},
                {"/a", "/a"},
                {"/a/", "/a/"},
                {"/a/b", "/a/b"},
                {"//", "/"},
                {"//a//b//", "/a/b/"},
                {"/a/.", "/a"},
                {"/a/./b", "/a/b"},
                {"/a/..", "/"},
                {"/a/../", "/"},
                {"/a/../b", "/b"},
                {"/a/b/../../c", "/c"},
                {"/..", "~/"},
                {"/../a", "~/a"},
                {"/a/../../b", "~/b"},
                {"/%61", "/a"},
                {"/%2e%2e/a", "~/a"},
                {"/a/%2e%2e/b", "/b"},
                {"/a%2fb", "/a/b"},
                {"/a%5Cb", "/a/b"},
                {"/a\\b", "/a/b"},
                {"/a;x=1/b", "/a/b"},
                {"/a/..;x/b", "/b"},
                {"/a/;/b", "/a/b"},
                {"/%252e%252e", "~/"},
                {"/a/%252e%252e/b", "~/b"},
                {"/a/%25252e./b", "~/b"},
                {"/%2525252561", "~/a"},
                {"/%25252525252525252561", "~/a"},
                {"/%61%62", "/ab"},
                {"/a%25", "/a%"},
                {"/a%25b", "/a%b"},
                {"/a%25b0", "~/a\xb0"},
                {"/%%36%31", "~/a"},
                {"/%36%31", "/61"},
                {"/%2561%61", "~/aa"},
                {"/a%", "/a%"},
                {"/a%2", "/a%2"},
                {"/a%zz", "/a%zz"},
                {"/...", "/..."},
                {"/a..b", "/a..b"},
                {"/.a", "/.a"},
                {"/a/...", "/a/..."},
                {"", "!"},
                {"a", "!"},
                {"*", "!"},
                {"/a%3Bb", "/a"}};
    for (size_t i = 0; i < MP_COUNTOF(rows); i++) {
        if (strcmp(plain(rows[i].path), rows[i].plain) != 0) {
            printf("# %s: %s\n", rows[i].path, plain(rows[i].path));
            T_OK(false);
        }
    }
}

/* What passes for plain is not changed by being made plain; all texts of six letters out of these.
 */
static void plain_is_plain(void)
{
    static const char letters[] = "/.a%2;\\";
    const size_t k = sizeof(letters) - 1;
    size_t all = 1;
    for (int i = 0; i < 6; i++) {
        all *= k;
    }
    for (size_t x = 0; x < all; x++) {
        char path[8] = "/", out[8];
        struct mp_str once, twice;
        bool odd, odd_again;
        char again[8];
        size_t rest = x;
        for (int i = 1; i < 7; i++, rest /= k) {
            path[i] = letters[rest % k];
        }
        bool ok = mp_path_make_plain(mp_str(path, 7), out, &once, &odd);
        if (mp_path_is_plain(mp_str(path, 7))) {
            T_OK(ok && !odd && mp_str_eq(once, mp_str(path, 7)));
        }
        if (ok) {
            T_OK(once.n > 0 && once.n <= 7 && once.p[0] == '/');
            T_OK(mp_str_find(once, MP_STR("//")) < 0 && mp_str_find(once, MP_STR("/../")) < 0);
            T_OK(!mp_str_ends(once, MP_STR("/..")) && mp_str_find(once, MP_STR("\\")) < 0);
            T_OK(mp_path_make_plain(once, again, &twice, &odd_again) && mp_str_eq(once, twice));
        }
    }
}

static void query(void)
{
    T_OK(mp_str_eq(mp_path_without_query(MP_STR("/a?b?c")), MP_STR("/a")));
    T_OK(mp_str_eq(mp_path_without_query(MP_STR("/a")), MP_STR("/a")));
    T_EQ(mp_path_without_query(MP_STR("?")).n, 0);
    T_EQ(mp_path_without_query(mp_str(NULL, 0)).n, 0);
}

int main(void)
{
    T_RUN(plain_form);
    T_RUN(plain_is_plain);
    T_RUN(query);
    return T_DONE();
}
