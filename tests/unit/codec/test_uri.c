/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "codec/uri.h"
#include "unit/t.h"

enum { PLAIN = 1, MERGE = 2, RAW = 4, REJECT = 8, FORWARD = 16, REDIRECT = 32 };

static struct mp_uri_policy policy_of(unsigned how)
{
    return (struct mp_uri_policy){.normalize = !(how & RAW),
                                  .merge_slashes = (how & MERGE) != 0,
                                  .escaped_slashes = how & REJECT     ? MP_SLASH_REJECT
                                                     : how & FORWARD  ? MP_SLASH_UNESCAPE_FORWARD
                                                     : how & REDIRECT ? MP_SLASH_UNESCAPE_REDIRECT
                                                                      : MP_SLASH_KEEP};
}

/* Result and text; the path lies in, and the answer goes to, buffers of exactly path.n bytes. */
static enum mp_uri_result normalize(unsigned how, struct mp_str path, char *text, size_t *ret_n)
{
    struct mp_uri_policy policy = policy_of(how);
    char *in = malloc(path.n + 1), *out = malloc(path.n + 1);
    struct mp_str ret = {0};
    memcpy(in + 1, path.p, path.n);
    enum mp_uri_result r = mp_uri_normalize(&policy, mp_str(in + 1, path.n), out + 1, &ret);
    if (r == MP_URI_SAME) {
        memcpy(text, path.p, path.n);
        *ret_n = path.n;
    } else if (r != MP_URI_BAD) {
        memcpy(text, ret.p, ret.n);
        *ret_n = ret.n;
    }
    free(in);
    free(out);
    return r;
}

static const struct {
    unsigned how;
    const char *in;
    const char *want; /* NULL: refused; equal to in: MP_URI_SAME */
} cases[] = {
    {PLAIN, "/", "/"},
    {PLAIN, "/a/b.c/d..e/.f/g./...", "/a/b.c/d..e/.f/g./..."},
    {PLAIN, "/a?b=/../%zz", "/a?b=/../%zz"}, /* the query is not ours */
    {PLAIN, "/a?", "/a?"},
    {PLAIN, "/?", "/?"},
    {PLAIN, "//a//b/", "//a//b/"},
    {MERGE, "//a///b/", "/a/b/"},
    {MERGE, "/a//", "/a/"},
    {MERGE, "////", "/"},
    {MERGE, "/a/b?x=//", "/a/b?x=//"},
    {MERGE, "/a//b?x=//", "/a/b?x=//"},
    {PLAIN, "/.", "/"},
    {PLAIN, "/./", "/"},
    {PLAIN, "/a/.", "/a/"},
    {PLAIN, "/a/./b", "/a/b"},
    {PLAIN, "/a/..", "/"},
    {PLAIN, "/a/../", "/"},
    {PLAIN, "/a/b/../c", "/a/c"},
    {PLAIN, "/a/b/../../c", "/c"},
    {PLAIN, "/a/../b?c/..", "/b?c/.."},
    {PLAIN, "/..?x", NULL},
    {PLAIN, "/a/.?x", "/a/?x"},
    {PLAIN, "/a/..?x", "/?x"},
    {PLAIN, "/..", NULL},
    {PLAIN, "/../a", NULL},
    {PLAIN, "/a/../..", NULL},
    {PLAIN, "/a/../../a", NULL},
    {PLAIN, "/./../a", NULL},
    {PLAIN, "//..", "/"},
    {PLAIN, "/a//../b", "/a/b"},
    {MERGE, "/a//../b", "/a/b"}, /* dots before merging */
    {MERGE,
     "/a/./"
     "/b",
     "/a/b"},
    {PLAIN, "/a/..b/c", "/a/..b/c"},
    {PLAIN, "/%2e", "/"},
    {PLAIN, "/a/%2e%2E/b", "/b"},
    {PLAIN, "/a/.%2e/b", "/b"},
    {PLAIN, "/%2e%2e/b", NULL},
    {PLAIN, "/%41%7a%30%2D%5f%7E", "/Az0-_~"},
    {PLAIN, "/%2b%3a%c3%a4", "/%2B%3A%C3%A4"},
    {PLAIN, "/%20%3F%23%25", "/%20%3F%23%25"},
    {PLAIN, "/%252e%252E", "/%252e%252E"}, /* decoded once, never twice */
    {PLAIN, "/%25%32%45", "/%252E"},
    {PLAIN, "/%00", NULL},
    {PLAIN, "/a%", NULL},
    {PLAIN, "/a%2", NULL},
    {PLAIN, "/a%2?1", NULL}, /* the escape does not reach into the query */
    {PLAIN, "/a%?41", NULL},
    {PLAIN, "/a%g0", NULL},
    {PLAIN, "/a%0g", NULL},
    {PLAIN, "/a%%41", NULL},
    {PLAIN, "/a\\b", NULL},
    {PLAIN, "/a b", NULL},
    {PLAIN, "/a\"b", NULL},
    {PLAIN, "/a<b", NULL},
    {PLAIN, "/a>b", NULL},
    {PLAIN, "/a`b", NULL},
    {PLAIN, "/a[1]{b}|c^d", "/a[1]{b}|c^d"},
    {PLAIN, "/a`b", NULL},
    {PLAIN, "/a\x7f", NULL},
    {PLAIN, "/a\xe4", NULL},
    {PLAIN, "/a#b", NULL},
    {PLAIN, "/%41\\", NULL},
    {PLAIN, "", NULL},
    {PLAIN, "a", NULL},
    {PLAIN, "*", NULL},
    {PLAIN, "?a", NULL},
    {PLAIN, "/!$&'()*+,;=:@", "/!$&'()*+,;=:@"},
    {PLAIN, "/a;x=../b", "/a;x=../b"},
    {PLAIN, "/a/..;/b", "/a/..;/b"},
    {PLAIN, "/a%2Fb%5Cc", "/a%2Fb%5Cc"},
    {PLAIN, "/a%2fb%5cc", "/a%2Fb%5Cc"},
    {PLAIN, "/a/..%2f..%2fb", "/a/..%2F..%2Fb"},
    {REJECT, "/a%2Fb", NULL},
    {REJECT, "/a%2fb", NULL},
    {REJECT, "/a%5Cb", NULL},
    {REJECT, "/a?%2F", "/a?%2F"},
    {REJECT, "/a%41", "/aA"},
    {FORWARD, "/a%2Fb%5cc", "/a/b/c"},
    {FORWARD, "/a/..%2f..%2fb", NULL},
    {FORWARD, "/a%2f..%2fb", "/b"},
    {FORWARD, "/a%252Fb", "/a%252Fb"},
    {FORWARD | MERGE, "/a/%2Fb", "/a/b"},
    {REDIRECT, "/a%2Fb?c", "/a/b?c"},
    {REDIRECT, "/a/../b", "/b"},
    {RAW, "/a/../b/./%41%2f%c3", "/a/../b/./%41%2f%c3"},
    {RAW, "/../", "/../"},
    {RAW, "/%00", NULL},
    {RAW, "/%4", NULL},
    {RAW, "/\\", NULL},
    {RAW | REJECT, "/%2f", NULL},
    {RAW | FORWARD, "/a%2f%41", "/a/%41"},
    {RAW | MERGE, "/a//..//b", "/a/../b"},
};

static void test_normalize(void)
{
    char text[256];
    for (size_t i = 0; i < MP_COUNTOF(cases); i++) {
        size_t n = 0;
        struct mp_str in = mp_str_c(cases[i].in);
        enum mp_uri_result r = normalize(cases[i].how, in, text, &n);
        const char *want = cases[i].want;
        bool slash = (cases[i].how & REDIRECT) && strstr(cases[i].in, "%2F");
        enum mp_uri_result want_r = want == NULL                     ? MP_URI_BAD
                                    : strcmp(want, cases[i].in) == 0 ? MP_URI_SAME
                                    : slash                          ? MP_URI_REDIRECT
                                                                     : MP_URI_CHANGED;
        if (r != want_r || (want && !mp_str_eq(mp_str(text, n), mp_str_c(want)))) {
            printf("# %s: result %d, \"%.*s\"\n", cases[i].in, r, (int)n, text);
            t_case_failed = 1;
        }
    }
}

/* Over many made-up paths: the answer is in normal form itself, is not longer, has no dot segment,
 * and keeps the query. */
static void test_normal_form_is_stable(void)
{
    static const char *const parts[] = {"/",   "a",   ".",  "..",  "%2e", "%2F", "%5c", "%41",
                                        "%c3", "%25", "//", "/./", "?",   "b;",  "/..", "%2E%2e"};
    static const unsigned hows[] = {PLAIN,    MERGE,           REJECT, FORWARD,
                                    REDIRECT, MERGE | FORWARD, RAW,    RAW | MERGE};
    char in[128], one[128], two[128];
    unsigned seed = 1, changed = 0;
    for (int round = 0; round < 200000; round++) {
        size_t n = 0;
        in[n++] = '/';
        for (int k = 0; k < 8; k++) {
            seed = seed * 1103515245u + 12345;
            const char *part = parts[seed >> 16 & 15];
            memcpy(in + n, part, strlen(part));
            n += strlen(part);
        }
        unsigned how = hows[round % (int)MP_COUNTOF(hows)];
        size_t one_n = 0, two_n = 0;
        enum mp_uri_result r = normalize(how, mp_str(in, n), one, &one_n);
        if (r == MP_URI_BAD) {
            continue;
        }
        changed += r != MP_URI_SAME;
        T_OK(one_n <= n);
        T_OK(one[0] == '/');
        T_EQ(normalize(how, mp_str(one, one_n), two, &two_n), MP_URI_SAME);
        struct mp_str path, query, old_path, old_query;
        bool has, had;
        mp_uri_split(mp_str(in, n), &old_path, &old_query, &had);
        mp_uri_split(mp_str(one, one_n), &path, &query, &has);
        T_OK(had == has && mp_str_eq(query, old_query));
        if (!(how & RAW)) {
            struct mp_str rest = path, seg;
            while (mp_str_split(&rest, '/', &seg)) {
                T_OK(!mp_str_eq(seg, MP_STR(".")) && !mp_str_eq(seg, MP_STR("..")));
            }
            T_OK(mp_str_find(path, MP_STR("%2e")) < 0);
            T_OK(mp_str_find(path, MP_STR("%2E")) < 0);
        }
        if (how & MERGE) {
            T_OK(mp_str_find(path, MP_STR("//")) < 0);
        }
        if (how & FORWARD) {
            T_OK(mp_str_find(path, MP_STR("%2F")) < 0);
        }
    }
    T_OK(changed > 10000);
}

static void test_split(void)
{
    static const struct {
        const char *in, *path, *query;
        bool has;
    } rows[] = {{"/a?b?c", "/a", "b?c", true}, {"/a?", "/a", "", true}, {"/a", "/a", "", false},
                {"?", "", "", true},           {"", "", "", false},     {"*", "*", "", false}};
    for (size_t i = 0; i < MP_COUNTOF(rows); i++) {
        struct mp_str path, query;
        bool has;
        mp_uri_split(mp_str_c(rows[i].in), &path, &query, &has);
        T_OK(mp_str_eq(path, mp_str_c(rows[i].path)));
        T_OK(mp_str_eq(query, mp_str_c(rows[i].query)));
        T_EQ(has, rows[i].has);
    }
}

static void test_authority(void)
{
    static const struct {
        const char *in, *host; /* host NULL: refused */
        unsigned port;
    } rows[] = {{"a", "a", 0},
                {"a.example", "a.example", 0},
                {"a:1", "a", 1},
                {"a:65535", "a", 65535},
                {"a:00080", "a", 80},
                {"1.2.3.4:80", "1.2.3.4", 80},
                {"[::1]", "[::1]", 0},
                {"[::1]:443", "[::1]", 443},
                {"[2001:db8:0:0:0:0:0:1]:1", "[2001:db8:0:0:0:0:0:1]", 1},
                {"[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]", 0},
                {"a%41!$&'()*+,;=_~", "a%41!$&'()*+,;=_~", 0},
                {"", NULL, 0},
                {":", NULL, 0},
                {":80", NULL, 0},
                {"a:", NULL, 0},
                {"a:0", NULL, 0},
                {"a:65536", NULL, 0},
                {"a:000080", NULL, 0},
                {"a:8 ", NULL, 0},
                {"a:+8", NULL, 0},
                {"a:8:8", NULL, 0},
                {"a b", NULL, 0},
                {"a/b", NULL, 0},
                {"u@a", NULL, 0},
                {"a%4", NULL, 0},
                {"a%", NULL, 0},
                {"a%4g", NULL, 0},
                {"[::1", NULL, 0},
                {"::1", NULL, 0},
                {"[]", NULL, 0},
                {"[", NULL, 0},
                {"[::1]a", NULL, 0},
                {"[::1]:", NULL, 0},
                {"[::g]", NULL, 0},
                {"[1.2.3.4]", NULL, 0},
                {"[fe80::1%25eth0]", NULL, 0},
                {"[v1.a]", NULL, 0},
                {"[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa]", NULL, 0},
                {"\xe4", NULL, 0},
                {"a\\", NULL, 0}};
    for (size_t i = 0; i < MP_COUNTOF(rows); i++) {
        size_t n = strlen(rows[i].in);
        char *in = malloc(n + 1);
        memcpy(in + 1, rows[i].in, n);
        struct mp_str host = {0};
        unsigned port = 99999;
        bool ok = mp_authority_parse(mp_str(in + 1, n), &host, &port);
        bool right = ok == (rows[i].host != NULL);
        if (right && ok) {
            right = mp_str_eq(host, mp_str_c(rows[i].host)) && port == rows[i].port;
        }
        free(in);
        if (!right) {
            printf("# %s\n", rows[i].in);
        }
        T_OK(right);
    }
    struct mp_str host;
    unsigned port;
    T_OK(!mp_authority_parse(mp_str("a\0b", 3), &host, &port));
    T_OK(!mp_authority_parse(mp_str("[::1\0]", 6), &host, &port));
}

int main(void)
{
    T_RUN(test_normalize);
    T_RUN(test_normal_form_is_stable);
    T_RUN(test_split);
    T_RUN(test_authority);
    return T_DONE();
}
