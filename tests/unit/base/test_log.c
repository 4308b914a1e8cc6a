/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <math.h>
#include <pthread.h>
#include <unistd.h>

#include "base/log.h"
#include "t.h"

static char last[4096];
static size_t last_n;
static int lines;
static uint64_t now_ns = 1795233300123000000u; /* 2026-11-21T03:55:00.123Z */

static uint64_t wall(void)
{
    return now_ns;
}

static void sink(void *arg, const char *line, size_t n)
{
    lines++;
    memcpy(last, line, n);
    last[n] = '\0';
    last_n = n;
}

#define STAMP "2026-11-21T03:55:00.123Z "

/* Without a site: no limit. */
#define EMIT(event, ...)                                                                         \
    do {                                                                                         \
        const struct mp_kv kvs_[] = {{0}, ##__VA_ARGS__};                                        \
        mp_log_emit(NULL, MP_LOG_INFO, "src/x/y.c", 7, (event), kvs_ + 1, MP_COUNTOF(kvs_) - 1); \
    } while (0)

static void setup(int json)
{
    mp_log_set_clock(wall);
    mp_log_set_sink(sink, NULL);
    mp_log_set_json(json);
    mp_log_set_level(MP_LOG_INFO);
    lines = 0;
}

static void text(void)
{
    setup(0);
    EMIT("started");
    T_OK(strcmp(last, STAMP "info started\n") == 0);
    EMIT("listener added", kv_c("name", "in"), kv_i64("i", -5), kv_u64("u", UINT64_MAX),
         kv_f64("f", 0.25), kv_bool("b", true), kv_bool("c", false));
    T_OK(strcmp(last, STAMP "info listener added name=in i=-5 u=18446744073709551615 f=0.25 b=true "
                            "c=false\n") == 0);
    EMIT("q", kv_c("empty", ""), kv_c("null", NULL), kv_c("sp", "a b"), kv_c("eq", "a=b"),
         kv_c("qu", "a\"b"), kv_c("bs", "a\\b"), kv_c("utf", "\xc3\xa4"), kv_c("ok", "a.b:80/[x]"));
    T_OK(strcmp(last, STAMP "info q empty=\"\" null=\"\" sp=\"a b\" eq=\"a=b\" qu=\"a\\\"b\" "
                            "bs=\"a\\\\b\" utf=\"\xc3\xa4\" ok=a.b:80/[x]\n") == 0);
    EMIT("f", kv_f64("nan", NAN), kv_f64("inf", -INFINITY));
    T_OK(strcmp(last, STAMP "info f nan=nan inf=-inf\n") == 0);
}

static void injection(void)
{
    setup(0);
    EMIT("x", kv_c("path", "/\n" STAMP "info forged\r\t\x1b[2J\x7f"),
         kv_str("bin", mp_str("\0\xff\xc2\x9b\xe2\x80\xae", 7)));
    T_OK(strcmp(last, STAMP "info x path=\"/\\n" STAMP "info forged\\r\\t\\x1b[2J\\x7f\" "
                            "bin=\"\\x00\\xff\\u009b\\u202e\"\n") == 0);
    EMIT("ev\nent", kv_c("k\ney", "v"));
    T_OK(strcmp(last, STAMP "info ev\\nent k\\ney=v\n") == 0);
    /* No byte below space, but the end of the line, whatever comes in. */
    for (int json = 0; json < 2; json++) {
        mp_log_set_json(json);
        char all[256];
        for (int i = 0; i < 256; i++) {
            all[i] = (char)i;
        }
        EMIT("all", kv_str("v", mp_str(all, 256)));
        for (size_t i = 0; i < last_n - 1; i++) {
            T_OK((unsigned char)last[i] >= 0x20 && last[i] != 0x7f);
        }
        T_EQ(last[last_n - 1], '\n');
    }
}

static void json(void)
{
    setup(1);
    EMIT("listener added", kv_c("name", "a\"b\n\xff"), kv_i64("i", -5), kv_f64("f", 0.5),
         kv_f64("nan", NAN), kv_bool("b", true), kv_c("null", NULL));
    T_OK(strcmp(last,
                "{\"ts\":\"2026-11-21T03:55:00.123Z\",\"level\":\"info\",\"event\":\"listener "
                "added\",\"name\":\"a\\\"b\\n\xef\xbf\xbd\",\"i\":-5,\"f\":0.5,\"nan\":null,"
                "\"b\":true,\"null\":\"\"}\n") == 0);
}

static int ends_with(const char *tail)
{
    size_t n = strlen(tail);
    return last_n >= n && memcmp(last + last_n - n, tail, n) == 0;
}

/* Every length around the size of the line: never past 2 KiB, always a whole line. */
static void cut(void)
{
    static char big[4000];
    memset(big, 'x', sizeof(big));
    for (int js = 0; js < 2; js++) {
        setup(js);
        int whole = 0, cut_lines = 0;
        for (size_t n = 1900; n < 2060; n++) {
            EMIT("e", kv_str("v", mp_str(big, n)));
            T_OK(last_n <= 2048);
            int is_cut = ends_with(js ? "...\",\"cut\":true}\n" : "x...\n");
            T_OK(is_cut || ends_with(js ? "x\"}\n" : "xx\n"));
            T_OK(!is_cut || last_n == 2048 - (js ? 0 : 13));
            whole += !is_cut;
            cut_lines += is_cut;
            EMIT("e", kv_str("v", mp_str(big, n)), kv_u64("num", 123456));
            T_OK(last_n <= 2048);
            T_OK(ends_with(js ? "x\",\"num\":123456}\n" : "x num=123456\n") ||
                 ends_with(js ? "x\",\"cut\":true}\n" : "x ...\n") ||
                 ends_with(js ? "...\",\"cut\":true}\n" : "x...\n"));
            EMIT("e", kv_str("v", mp_str(big, n)), kv_c("s", "a b"));
            T_OK(last_n <= 2048);
            T_OK(ends_with(js ? "}\n" : "s=\"a b\"\n") || ends_with("...\"\n") ||
                 ends_with("...\n"));
        }
        T_OK(whole > 20 && cut_lines > 20);
        /* An escape is never split, an event may fill the line too. */
        memset(big, '\n', sizeof(big));
        for (size_t n = 980; n < 1030; n++) {
            EMIT("e", kv_str("v", mp_str(big, n)));
            T_OK(last_n <= 2048);
            T_OK(ends_with(js ? "\\n\"}\n" : "\\n\"\n") ||
                 ends_with(js ? "\\n...\",\"cut\":true}\n" : "\\n...\"\n"));
        }
        memset(big, 'x', sizeof(big));
        big[3999] = '\0';
        EMIT(big, kv_c("k", "v"));
        T_OK(ends_with(js ? "x...\",\"cut\":true}\n" : "x ...\n"));
        EMIT("e", {.key = big, .kind = MP_KV_BOOL, .b = true}, kv_c("k", "v"));
        T_OK(strstr(last, js ? "\"event\":\"e\",\"cut\":true}\n" : "info e ...\n"));
    }
}

static void levels(void)
{
    static const char *const names[] = {"trace", "debug",    "info", "warning",
                                        "error", "critical", "off"};
    enum mp_log_level lv;
    for (int i = 0; i <= MP_LOG_OFF; i++) {
        T_OK(mp_log_level_parse(mp_str_c(names[i]), &lv));
        T_EQ(lv, i);
        T_OK(strcmp(mp_log_level_name((enum mp_log_level)i), names[i]) == 0);
    }
    T_OK(mp_log_level_parse(MP_STR("warn"), &lv));
    T_EQ(lv, MP_LOG_WARNING);
    T_OK(!mp_log_level_parse(MP_STR("Info"), &lv));
    T_OK(!mp_log_level_parse(MP_STR(""), &lv));
    T_EQ(lv, MP_LOG_WARNING);
    T_OK(strcmp(mp_log_level_name((enum mp_log_level)99), "unknown") == 0);
    setup(0);
    for (int threshold = 0; threshold <= MP_LOG_OFF; threshold++) {
        mp_log_set_level((enum mp_log_level)threshold);
        lines = 0;
        mp_log(MP_LOG_TRACE, "t");
        mp_log(MP_LOG_DEBUG, "d");
        mp_log(MP_LOG_INFO, "i");
        mp_log(MP_LOG_WARNING, "w");
        mp_log(MP_LOG_ERROR, "e");
        mp_log(MP_LOG_CRITICAL, "c");
        T_EQ(lines, MP_LOG_OFF - threshold);
    }
    /* Where it happened, for those who develop. */
    mp_log_set_level(MP_LOG_DEBUG);
    mp_log_emit(NULL, MP_LOG_DEBUG, "/a/b/src/core/x.c", 12, "d", NULL, 0);
    T_OK(strcmp(last, STAMP "debug d file=core/x.c line=12\n") == 0);
}

static void spam(int n)
{
    for (int i = 0; i < n; i++) {
        mp_log(MP_LOG_INFO, "spam", kv_i64("i", i));
    }
}

static void rate_limit(void)
{
    setup(0);
    spam(9);
    T_EQ(lines, 9);
    spam(1);
    T_EQ(lines, 10);
    spam(1);
    T_EQ(lines, 10);
    spam(4);
    T_EQ(lines, 10);
    mp_log(MP_LOG_INFO, "other site");
    T_EQ(lines, 11);
    now_ns += 1000000000u;
    spam(1);
    T_EQ(lines, 12);
    T_OK(strstr(last, "info spam suppressed=5 i=0\n"));
    spam(1);
    T_OK(!strstr(last, "suppressed"));
    now_ns -= 5000000000u; /* a clock set back opens a new window too */
    lines = 0;
    spam(12);
    T_EQ(lines, 10);
}

static void time_stamps(void)
{
    static const struct {
        uint64_t secs;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.999Z"},          {951782399, "2000-02-28T23:59:59.999Z"},
        {951782400, "2000-02-29T00:00:00.999Z"},  {951868800, "2000-03-01T00:00:00.999Z"},
        {1709164800, "2024-02-29T00:00:00.999Z"}, {1735689599, "2024-12-31T23:59:59.999Z"},
        {1735689600, "2025-01-01T00:00:00.999Z"}, {1740787199, "2025-02-28T23:59:59.999Z"},
        {1740787200, "2025-03-01T00:00:00.999Z"}, {4107542399, "2100-02-28T23:59:59.999Z"},
        {4107542400, "2100-03-01T00:00:00.999Z"}, {1767139199, "2025-12-30T23:59:59.999Z"},
    };
    setup(0);
    uint64_t saved = now_ns;
    for (size_t i = 0; i < MP_COUNTOF(cases); i++) {
        now_ns = cases[i].secs * 1000000000u + 999999999u;
        EMIT("t");
        T_OK(strncmp(last, cases[i].text, 24) == 0);
    }
    now_ns = saved;
    mp_log_set_clock(NULL);
    EMIT("t");
    T_OK(strncmp(last, "20", 2) == 0 && last[23] == 'Z');
}

static void default_sink(void)
{
    setup(0);
    mp_log_set_sink(NULL, NULL);
    int fd[2], saved = dup(STDERR_FILENO);
    T_EQ(pipe(fd), 0);
    dup2(fd[1], STDERR_FILENO);
    EMIT("to stderr");
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fd[1]);
    char got[200] = {0};
    T_OK(read(fd[0], got, sizeof(got) - 1) > 0);
    close(fd[0]);
    T_OK(strstr(got, "info to stderr\n"));
    T_EQ(lines, 0);
}

static int shared_lines;
static void count_sink(void *arg, const char *line, size_t n)
{
    __atomic_fetch_add(&shared_lines, 1, __ATOMIC_RELAXED);
}

static void *noisy(void *arg)
{
    spam(2000);
    return NULL;
}

/* One site, many threads: exactly ten lines in the second, and settings change beside them. */
static void threads(void)
{
    setup(0);
    now_ns += 100000000000u;
    mp_log_set_sink(count_sink, NULL);
    pthread_t t[4];
    for (int i = 0; i < 4; i++) {
        T_EQ(pthread_create(&t[i], NULL, noisy, NULL), 0);
    }
    for (int i = 0; i < 100; i++) {
        mp_log_set_json(i % 2);
        mp_log_set_sink(count_sink, i % 2 ? &shared_lines : NULL);
        mp_log_set_level(MP_LOG_INFO);
        mp_log_set_clock(wall);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
    }
    T_EQ(shared_lines, 10);
}

int main(void)
{
    T_RUN(text);
    T_RUN(injection);
    T_RUN(json);
    T_RUN(cut);
    T_RUN(levels);
    T_RUN(rate_limit);
    T_RUN(time_stamps);
    T_RUN(default_sink);
    T_RUN(threads);
    return T_DONE();
}
