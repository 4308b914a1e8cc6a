/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "admin/guard.h"
#include "t.h"

static struct mp_arena arena;
static struct mp_hdrs hdrs;

static bool passes(bool loopback, bool changes, const char *host)
{
    return mp_admin_refusal(loopback, changes, mp_str_c(host), &hdrs) == NULL;
}

static void with_origins(const char *a, const char *b)
{
    mp_hdrs_init(&hdrs, &arena, 10);
    if (a != NULL && mp_is_err(mp_hdrs_add(&hdrs, MP_STR("origin"), mp_str_c(a)))) {
        abort();
    }
    if (b != NULL && mp_is_err(mp_hdrs_add(&hdrs, MP_STR("origin"), mp_str_c(b)))) {
        abort();
    }
}

static void test_own_names(void)
{
    static const char *const good[] = {"localhost",  "localhost:9901", "LocalHost",   "127.0.0.1",
                                       "[::1]:9901", "[::1]",          "10.1.2.3:80", ""};
    with_origins(NULL, NULL);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        T_OK(passes(true, false, good[i]));
        T_OK(passes(true, true, good[i]));
    }
}

static void test_names_that_may_be_rebound(void)
{
    static const char *const bad[] = {"evil.example",
                                      "evil.example:9901",
                                      "localhost.evil.example",
                                      "127.0.0.1.nip.example",
                                      "127.0.0.1.",
                                      "localhost.",
                                      "2130706433",
                                      "0x7f.0.0.1",
                                      "127.1",
                                      "xlocalhost",
                                      "localhost:",
                                      "localhost:99999",
                                      "user@localhost",
                                      "[::1",
                                      "::1",
                                      "localhost:9901:1",
                                      "127.0.0.1:9901/x",
                                      "127.0.0.1 ",
                                      "a"};
    with_origins(NULL, NULL);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (passes(true, false, bad[i])) {
            printf("# passes: " MP_STR_FMT "\n", MP_STR_ARG(mp_str_c(bad[i])));
        }
        T_OK(!passes(true, false, bad[i]));
        T_OK(passes(false, false, bad[i]));
    }
}

static void test_origins(void)
{
    with_origins("http://127.0.0.1:9901", NULL);
    T_OK(passes(true, true, "127.0.0.1:9901"));
    T_OK(!passes(true, true, "127.0.0.1:9902"));
    T_OK(!passes(true, true, "localhost:9901"));
    T_OK(passes(true, false, "localhost:9901"));
    with_origins("http://LOCALHOST:9901", NULL);
    T_OK(passes(true, true, "localhost:9901"));
    static const char *const foreign[] = {"http://evil.example",
                                          "null",
                                          "",
                                          "http://",
                                          "127.0.0.1:9901",
                                          "http://127.0.0.1:9901.evil.example",
                                          "http://127.0.0.1:9901/"};
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        with_origins(foreign[i], NULL);
        T_OK(!passes(true, true, "127.0.0.1:9901"));
        T_OK(!passes(false, true, "127.0.0.1:9901"));
        T_OK(passes(true, false, "127.0.0.1:9901"));
    }
    with_origins("http://", NULL);
    T_OK(!passes(true, true, ""));
    with_origins("http://127.0.0.1:9901", "http://evil.example");
    T_OK(!passes(true, true, "127.0.0.1:9901"));
}

static bool loopback(const char *host, bool is_unix)
{
    const struct mp_conf_addr a = {.host = mp_str_c(host), .port = 9901, .is_unix = is_unix};
    return mp_admin_is_loopback(&a);
}

static void test_loopback(void)
{
    T_OK(loopback("127.0.0.1", false));
    T_OK(loopback("127.255.0.9", false));
    T_OK(loopback("::1", false));
    T_OK(loopback("::ffff:127.0.0.1", false));
    T_OK(!loopback("0.0.0.0", false));
    T_OK(!loopback("::", false));
    T_OK(!loopback("128.0.0.1", false));
    T_OK(!loopback("::2", false));
    T_OK(!loopback("127.0.0.1", true));
}

int main(void)
{
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 4096, 1 << 20);
    T_RUN(test_own_names);
    T_RUN(test_names_that_may_be_rebound);
    T_RUN(test_origins);
    T_RUN(test_loopback);
    mp_arena_fini(&arena);
    return T_DONE();
}
