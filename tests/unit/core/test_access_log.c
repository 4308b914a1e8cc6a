/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "core/access_log.h"
#include "core/engine.h"
#include "core/fixture.h"
#include "core/worker.h"
#include "io/loop.h"
#include "t.h"

#define WORKERS 3

/* ---- an output in memory ---- */

static struct capture {
    pthread_mutex_t lock;
    char text[4 * 1024 * 1024];
    size_t n;
    int fail_at;    /* the call that fails, counted from 1; 0: none */
    int error;      /* with this errno; forever when fail_for is 0 */
    int fail_for;   /* calls */
    size_t at_most; /* bytes a call; 0: all */
    int calls;
} cap = {.lock = PTHREAD_MUTEX_INITIALIZER};

static ssize_t capture(void *arg, struct mp_str path, const void *p, size_t n)
{
    struct capture *c = arg;
    pthread_mutex_lock(&c->lock);
    c->calls++;
    bool fails = c->fail_at != 0 && c->calls >= c->fail_at &&
                 (c->fail_for == 0 || c->calls < c->fail_at + c->fail_for);
    ssize_t r = -c->error;
    if (!fails) {
        n = c->at_most != 0 && n > c->at_most ? c->at_most : n;
        n = MP_MIN(n, sizeof(c->text) - c->n);
        memcpy(c->text + c->n, p, n);
        c->n += n;
        r = (ssize_t)n;
    }
    pthread_mutex_unlock(&c->lock);
    return r;
}

static void capture_reset(void)
{
    pthread_mutex_lock(&cap.lock);
    cap.n = 0;
    cap.fail_at = cap.error = cap.fail_for = cap.calls = 0;
    cap.at_most = 0;
    pthread_mutex_unlock(&cap.lock);
}

static struct mp_str captured(void)
{
    return mp_str(cap.text, cap.n);
}

/* ---- workers without a proxy around them ---- */

static struct mp_stat_store *stats;
static struct mp_stat_scope *scope;
static struct mp_alog_set *set;
static struct mp_engine engine;
static struct mp_core_worker workers[WORKERS];
static struct mp_arena arena;
static struct fixture fx;

static void start(bool threaded, bool captures)
{
    capture_reset();
    fx_init(&fx);
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 4096, SIZE_MAX);
    stats = mp_stat_store_new(WORKERS);
    struct mp_alog_set_opts opts = {.n_workers = WORKERS,
                                    .stats = stats,
                                    .threaded = threaded,
                                    .write = captures ? capture : NULL,
                                    .arg = &cap};
    set = mp_alog_set_new(&opts);
    scope = mp_stat_scope_get(stats, &mp_stats_alog, MP_STR("access_log"));
    engine.alogs = set;
    for (uint32_t i = 0; i < WORKERS; i++) {
        workers[i].w.id = i;
        workers[i].w.loop = mp_loop_new();
        workers[i].engine = &engine;
        mp_alog_worker_init(&workers[i]);
    }
}

static void finish(void)
{
    set = mp_alog_set_free(set);
    for (uint32_t i = 0; i < WORKERS; i++) {
        mp_wheel_remove(mp_loop_wheel(workers[i].w.loop), &workers[i].alog_timer);
        mp_loop_free(workers[i].w.loop);
    }
    mp_stat_scope_unref(scope);
    mp_stat_store_free(stats);
    mp_arena_fini(&arena);
    fx_fini(&fx);
}

static uint64_t stat_of(enum mp_stat_alog i)
{
    return mp_stat_read(scope, i);
}

static struct mp_alog *build(const struct mp_conf_alog *conf)
{
    struct mp_alog *a = NULL;
    struct mp_diag diag;
    mp_diag_init(&diag, NULL);
    if (mp_is_err(mp_alog_build(conf, &arena, set, &diag, &a))) {
        printf("# %s\n", diag.n > 0 ? diag.items[0].cause : "error without a word");
        a = NULL;
    }
    mp_diag_fini(&diag);
    return a;
}

static struct mp_alog *build_default(void)
{
    struct mp_conf_alog conf = {.kind = MP_ALOG_STDOUT, .default_json = true};
    return build(&conf);
}
static struct mp_alog *build_text(const char *format, const char *path)
{
    struct mp_conf_alog conf = {.kind = path != NULL ? MP_ALOG_FILE : MP_ALOG_STDOUT,
                                .path = S(path != NULL ? path : ""),
                                .text = S(format)};
    return build(&conf);
}

static void write_line(struct mp_alog *a, uint32_t worker)
{
    mp_alog_write(a, &workers[worker], &fx.s);
}
static void flush_all(void)
{
    for (uint32_t i = 0; i < WORKERS; i++) {
        mp_alog_flush(set, i, true);
    }
}

/* One line of a format, written at once. */
static bool line_is(struct mp_alog *a, const char *expected)
{
    capture_reset();
    write_line(a, 0);
    flush_all();
    bool ok = mp_str_eq(captured(), S(expected));
    if (!ok) {
        printf("# got: " MP_STR_FMT "# expected: %s", MP_STR_ARG(captured()), expected);
    }
    return ok;
}

static bool until(bool (*done)(void))
{
    for (int i = 0; i < 5000; i++) {
        if (done()) {
            return true;
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        flush_all();
    }
    return false;
}

/* ---- formats ---- */

static void test_default_format(void)
{
    start(false, true);
    struct mp_alog *a = build_default();
    T_OK(a != NULL);
    T_OK(line_is(
        a, "{\"start_time\":\"2025-12-12T10:00:00.123Z\",\"method\":\"GET\",\"path\":\"/p?q\","
           "\"response_code\":0,\"bytes_sent\":0,\"bytes_received\":0,\"duration\":0,"
           "\"user_agent\":\"\"}\n"));
    fx_respond(&fx, 200);
    fx_add(&fx.s.req.hdrs, "user-agent", "curl/7.68.0");
    fx.s.bytes_in = 256;
    fx.s.bytes_out = 1024;
    fx.s.end_ns = fx.s.start_ns + 3999999;
    T_OK(line_is(
        a, "{\"start_time\":\"2025-12-12T10:00:00.123Z\",\"method\":\"GET\",\"path\":\"/p?q\","
           "\"response_code\":200,\"bytes_sent\":1024,\"bytes_received\":256,\"duration\":3,"
           "\"user_agent\":\"curl/7.68.0\"}\n"));
    /* A request that was refused before it had a method. */
    fx.s.req.method_name = fx.s.req.path = mp_str(NULL, 0);
    fx.s.bytes_in = fx.s.bytes_out = UINT64_MAX;
    fx.s.end_ns = UINT64_MAX;
    fx.s.start_ns = 0;
    fx.resp.status = UINT32_MAX;
    T_OK(line_is(a, "{\"start_time\":\"2025-12-12T10:00:00.123Z\",\"method\":\"\",\"path\":\"\","
                    "\"response_code\":4294967295,\"bytes_sent\":18446744073709551615,"
                    "\"bytes_received\":18446744073709551615,\"duration\":18446744073709,"
                    "\"user_agent\":\"curl/7.68.0\"}\n"));
    mp_alog_fini(a);
    finish();
}

static void test_escapes(void)
{
    start(false, true);
    struct mp_conf_json_key key = {MP_STR("k\"\n"), MP_STR("%REQ(:path)%")};
    struct mp_conf_alog conf = {.json = &key, .n_json = 1};
    struct mp_alog *a = build(&conf);
    T_OK(a != NULL);
    static const char *const cases[][2] = {{"plain", "plain"},
                                           {"12345678", "12345678"},
                                           {"a\"b\\c", "a\\\"b\\\\c"},
                                           {"1234567\"", "1234567\\\""},
                                           {"1234567\\x", "1234567\\\\x"},
                                           {"\x01tab\tnl\n\r\b\f", "\\u0001tab\\tnl\\n\\r\\b\\f"},
                                           {"12345678\x1f"
                                            "234567812345678",
                                            "12345678\\u001f234567812345678"},
                                           {"del\x7f", "del\\u007f"},
                                           {"1234567\x7f"
                                            "1",
                                            "1234567\\u007f1"},
                                           {"\xc3\xa9", "\xc3\xa9"},
                                           {"bad\xff"
                                            "byte",
                                            "bad\xef\xbf\xbd"
                                            "byte"},
                                           {"cut\xc3", "cut\xef\xbf\xbd"},
                                           {"\xe2\x80\xae", "\\u202e"},
                                           {" !#[]~", " !#[]~"}};
    for (size_t i = 0; i < MP_COUNTOF(cases); i++) {
        char expected[200];
        fx.s.req.path = S(cases[i][0]);
        snprintf(expected, sizeof(expected), "{\"k\\\"\\n\":\"%s\"}\n", cases[i][1]);
        T_OK(line_is(a, expected));
    }
    mp_alog_fini(a);
    finish();
}

/* Every byte at every place of a word, with the byte loop of the library as the judge. */
static void test_escapes_of_every_byte(void)
{
    start(false, true);
    struct mp_conf_json_key key = {MP_STR("k"), MP_STR("%REQ(:path)%")};
    struct mp_conf_alog conf = {.json = &key, .n_json = 1};
    struct mp_alog *a = build(&conf);
    T_OK(a != NULL);
    for (int byte = 0; byte < 256; byte++) {
        for (size_t at = 0; at < 17; at++) {
            char text[17];
            memset(text, 'x', sizeof(text));
            text[at] = (char)byte;
            fx.s.req.path = mp_str(text, sizeof(text));
            struct mp_sb sb;
            mp_sb_init(&sb, 1000);
            mp_sb_add_c(&sb, "{\"k\":");
            mp_sb_add_json(&sb, fx.s.req.path);
            mp_sb_add_c(&sb, "}\n");
            bool ok = line_is(a, sb.p);
            mp_sb_fini(&sb);
            T_OK(ok);
        }
    }
    mp_alog_fini(a);
    finish();
}

static void test_text_format(void)
{
    start(false, true);
    struct mp_alog *a = build_text("%REQ(:METHOD)% %REQ(x)% %RESPONSE_CODE%", NULL);
    T_OK(line_is(a, "GET - 0\n"));
    mp_alog_fini(a);
    a = build_text("%REQ(:METHOD)%\n", NULL);
    T_OK(line_is(a, "GET\n"));
    mp_alog_fini(a);
    a = build_text("", NULL);
    T_OK(line_is(a, "\n"));
    mp_alog_fini(a);
    finish();
}

static void test_json_format(void)
{
    start(false, true);
    struct mp_conf_json_key keys[] = {{MP_STR("z"), MP_STR("%RESPONSE_CODE%")},
                                      {MP_STR("both"), MP_STR("%REQ(:METHOD)% %REQ(x)%")},
                                      {MP_STR("absent"), MP_STR("%REQ(x)%")},
                                      {MP_STR("n"), MP_STR("%DURATION%")},
                                      {MP_STR("fixed"), MP_STR("te\"xt")},
                                      {MP_STR("flags"), MP_STR("%RESPONSE_FLAGS%")},
                                      {MP_STR("empty"), MP_STR("")}};
    struct mp_conf_alog conf = {.json = keys, .n_json = MP_COUNTOF(keys)};
    struct mp_alog *a = build(&conf);
    T_OK(line_is(a, "{\"z\":0,\"both\":\"GET -\",\"absent\":null,\"n\":null,\"fixed\":\"te\\\"xt\","
                    "\"flags\":\"-\",\"empty\":\"\"}\n"));
    mp_alog_fini(a);
    struct mp_conf_json_key some[] = {{MP_STR("absent"), MP_STR("%REQ(x)%")},
                                      {MP_STR("both"), MP_STR("%REQ(:METHOD)% %REQ(x)%")},
                                      {MP_STR("n"), MP_STR("%DURATION%")}};
    struct mp_conf_alog omitting = {.json = some, .n_json = MP_COUNTOF(some), .omit_empty = true};
    a = build(&omitting);
    T_OK(line_is(a, "{\"both\":\"GET \"}\n"));
    mp_alog_fini(a);
    omitting.n_json = 1;
    a = build(&omitting);
    T_OK(line_is(a, "{}\n"));
    mp_alog_fini(a);
    finish();
}

static size_t count_in(struct mp_str s, char c)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        n += s.p[i] == c;
    }
    return n;
}

/* Values are cut at 8 KiB, at the border of a character; the line stays a line. */
static void test_long_values(void)
{
    start(false, true);
    static char big[60000];
    memset(big, 'z', sizeof(big));
    struct mp_alog *a = build_default();
    for (size_t n = MP_ALOG_VALUE_MAX - 1; n <= MP_ALOG_VALUE_MAX + 1; n++) {
        fx.s.req.path = mp_str(big, n);
        capture_reset();
        write_line(a, 0);
        flush_all();
        T_EQ(count_in(captured(), 'z'), MP_MIN(n, (size_t)MP_ALOG_VALUE_MAX));
    }
    fx.s.req.path = fx.s.req.method_name = mp_str(big, sizeof(big));
    T_OK(!mp_is_err(mp_hdrs_add(&fx.s.req.hdrs, MP_STR("user-agent"), mp_str(big, sizeof(big)))));
    capture_reset();
    write_line(a, 0);
    flush_all();
    T_EQ(count_in(captured(), 'z'), 3 * MP_ALOG_VALUE_MAX);
    T_OK(mp_str_ends(captured(), MP_STR("z\"}\n")));
    /* An escape is written whole or not at all. */
    memset(big, '\x01', sizeof(big));
    capture_reset();
    write_line(a, 0);
    flush_all();
    T_EQ(count_in(captured(), '\\'), 3 * (MP_ALOG_VALUE_MAX / 6));
    T_OK(captured().n <= MP_ALOG_LINE_MAX);
    mp_alog_fini(a);

    memset(big, 'b', sizeof(big));
    a = build_text("%REQ(:path)%\n", NULL);
    for (size_t n = MP_ALOG_LINE_MAX - 2; n <= MP_ALOG_LINE_MAX + 1; n++) {
        fx.s.req.path = mp_str(big, n);
        capture_reset();
        write_line(a, 0);
        flush_all();
        T_EQ(captured().n, MP_MIN(n + 1, (size_t)MP_ALOG_LINE_MAX));
        T_OK(captured().p[captured().n - 1] == '\n');
    }
    mp_alog_fini(a);
    T_EQ(stat_of(MP_ST_ALOG_DROPPED), 0);
    finish();
}

/* Ten keys with long values: the line ends in time, and is JSON. */
static void test_long_json_line(void)
{
    start(false, true);
    static char big[8000];
    memset(big, 'c', sizeof(big));
    fx.s.req.path = mp_str(big, sizeof(big));
    struct mp_conf_json_key keys[10];
    for (size_t i = 0; i < 10; i++) {
        keys[i] = (struct mp_conf_json_key){MP_STR("k"), MP_STR("%REQ(:path)%")};
    }
    keys[9].format = MP_STR("%BYTES_SENT%");
    fx.s.bytes_out = UINT64_MAX;
    struct mp_conf_alog conf = {.json = keys, .n_json = 10};
    struct mp_alog *a = build(&conf);
    write_line(a, 0);
    write_line(a, 0);
    flush_all();
    struct mp_str all = captured(), line;
    T_OK(mp_str_split(&all, '\n', &line));
    T_OK(line.n <= MP_ALOG_LINE_MAX && line.n > MP_ALOG_LINE_MAX - 64);
    T_OK(mp_str_ends(line, MP_STR(",\"k\":18446744073709551615}")));
    T_EQ(count_in(line, '"'), 10 * 2 + 9 * 2);
    T_OK(mp_str_split(&all, '\n', &line));
    T_OK(mp_str_ends(line, MP_STR(",\"k\":18446744073709551615}")));
    mp_alog_fini(a);
    finish();
}

static bool refused(const struct mp_conf_alog *conf, const char *part)
{
    struct mp_alog *a = NULL;
    struct mp_diag diag;
    mp_diag_init(&diag, NULL);
    mp_err err = mp_alog_build(conf, &arena, set, &diag, &a);
    bool ok = mp_is_err(err) && diag.n == 1 && strstr(diag.items[0].cause, part) != NULL;
    if (!ok) {
        printf("# %s, expected \"%s\"\n", diag.n > 0 ? diag.items[0].cause : "no error", part);
    }
    mp_diag_fini(&diag);
    return ok;
}

static void test_refused_formats(void)
{
    start(false, true);
    struct mp_conf_alog text = {.text = MP_STR("%NONE%")};
    T_OK(refused(&text, "access log format: unknown operator %NONE%"));
    struct mp_conf_json_key key = {MP_STR("k"), MP_STR("%")};
    struct mp_conf_alog json = {.json = &key, .n_json = 1};
    T_OK(refused(&json, "no operator after the %"));
    static char big[MP_ALOG_LINE_MAX];
    memset(big, 'k', sizeof(big));
    key.format = MP_STR("v");
    /* {"k...":"...}\n and room for a value: half a line is allowed. */
    size_t most = MP_ALOG_LINE_MAX / 2 - 4 - 20 - 2;
    for (size_t n = most - 1; n <= most + 1; n++) {
        key.key = mp_str(big, n);
        struct mp_alog *a = NULL;
        mp_err err = mp_alog_build(&json, &arena, set, NULL, &a);
        T_EQ(err.code, n <= most ? MP_E_OK : MP_E_LIMIT);
        mp_alog_fini(a);
    }
    key.key = mp_str(big, sizeof(big));
    T_OK(refused(&json, "a key is too long"));
    finish();
}

/* ---- hand-over ---- */

static void test_lines_wait_for_the_timer(void)
{
    start(false, true);
    struct mp_alog *a = build_text("%REQ(:path)%", NULL);
    struct mp_core_worker *cw = &workers[1];
    mp_loop_turn(cw->w.loop, 0);
    write_line(a, 1);
    write_line(a, 1);
    T_EQ(cap.calls, 0);
    uint64_t from = mp_loop_clock_ns(cw->w.loop);
    while (cap.calls == 0 && mp_loop_clock_ns(cw->w.loop) - from < 5000000000u) {
        mp_loop_turn(cw->w.loop, 1000);
    }
    uint64_t took = (mp_loop_clock_ns(cw->w.loop) - from) / 1000000;
    T_OK(took >= MP_ALOG_FLUSH_MS - 2);
    T_EQ(cap.calls, 1);
    T_OK(mp_str_eq(captured(), MP_STR("/p?q\n/p?q\n")));
    /* The timer runs once more for the result of the writer, then rests. */
    while (mp_timer_is_set(&cw->alog_timer)) {
        mp_loop_turn(cw->w.loop, 1000);
    }
    T_EQ(stat_of(MP_ST_ALOG_WRITTEN), 2);
    mp_alog_fini(a);
    finish();
}

static void test_young_lines_stay(void)
{
    start(false, true);
    struct mp_alog *a = build_text("%REQ(:path)%", NULL);
    write_line(a, 0);
    mp_alog_flush(set, 0, false);
    T_EQ(cap.calls, 0);
    mp_alog_flush(set, 0, true);
    T_EQ(cap.calls, 1);
    mp_alog_flush(set, 0, true);
    T_EQ(cap.calls, 1);
    mp_alog_fini(a);
    finish();
}

static void test_full_buffers_go_at_once(void)
{
    start(false, true);
    struct mp_alog *a = build_text("%REQ(:path)%", NULL);
    char line[1000];
    memset(line, 'x', sizeof(line));
    fx.s.req.path = mp_str(line, sizeof(line) - 1);
    for (int i = 0; i < MP_ALOG_BUFFER / 1000; i++) {
        write_line(a, 0);
    }
    T_EQ(cap.calls, 0);
    write_line(a, 0);
    T_EQ(cap.calls, 1);
    T_EQ(captured().n, MP_ALOG_BUFFER / 1000 * 1000);
    mp_alog_fini(a);
    flush_all();
    T_EQ(captured().n, MP_ALOG_BUFFER / 1000 * 1000 + 1000);
    finish();
}

/* Two loggers of one path share the sink; order is kept. */
static void test_sinks_are_shared(void)
{
    start(false, true);
    struct mp_alog *a = build_text("a", "/x/log"), *b = build_text("b", "/x/log"),
                   *c = build_text("c", "/x/other");
    write_line(a, 0);
    write_line(c, 0);
    write_line(b, 0);
    flush_all();
    T_EQ(cap.calls, 2);
    T_OK(mp_str_eq(captured(), MP_STR("c\na\nb\n")) || mp_str_eq(captured(), MP_STR("a\nb\nc\n")));
    mp_alog_fini(a);
    mp_alog_fini(b);
    mp_alog_fini(c);
    finish();
}

/* More paths over time than there may be at once. */
static void test_sinks_are_used_again(void)
{
    start(false, true);
    char path[32];
    for (int i = 0; i < 3 * MP_ALOG_SINKS_MAX; i++) {
        snprintf(path, sizeof(path), "/log/%d", i);
        struct mp_alog *a = build_text("l", path);
        T_OK(a != NULL);
        write_line(a, (uint32_t)i % WORKERS);
        flush_all();
        mp_alog_fini(a);
    }
    T_EQ(captured().n, 3 * MP_ALOG_SINKS_MAX * 2);
    struct mp_alog *all[MP_ALOG_SINKS_MAX];
    struct mp_conf_alog conf = {.kind = MP_ALOG_FILE, .path = S(path), .text = MP_STR("l")};
    for (int i = 0; i < MP_ALOG_SINKS_MAX; i++) {
        snprintf(path, sizeof(path), "/held/%d", i);
        all[i] = build_text("l", path);
        T_OK(all[i] != NULL);
    }
    conf.path = MP_STR("/one/more");
    T_OK(refused(&conf, "more than 64 access log outputs"));
    mp_alog_fini(all[7]);
    all[7] = build(&conf);
    T_OK(all[7] != NULL);
    for (int i = 0; i < MP_ALOG_SINKS_MAX; i++) {
        mp_alog_fini(all[i]);
    }
    finish();
}

/* A stuck output costs lines: exactly those for which there is no buffer. */
static void test_stuck_output_drops(void)
{
    start(false, true);
    struct mp_alog *a = build_text("%REQ(:path)%", NULL);
    char line[1000];
    memset(line, 'x', sizeof(line));
    fx.s.req.path = mp_str(line, sizeof(line) - 1);
    cap.fail_at = 1;
    cap.error = EAGAIN;
    const int fits = MP_ALOG_BUFFERS * (MP_ALOG_BUFFER / 1000);
    for (int i = 0; i < fits; i++) {
        write_line(a, 0);
    }
    T_EQ(stat_of(MP_ST_ALOG_DROPPED), 0);
    for (int i = 1; i <= 10; i++) {
        write_line(a, 0);
        T_EQ(stat_of(MP_ST_ALOG_DROPPED), i);
    }
    write_line(a, 1); /* other workers have their own buffers */
    T_EQ(stat_of(MP_ST_ALOG_DROPPED), 10);
    cap.fail_at = 0;
    flush_all();
    flush_all();
    T_EQ(stat_of(MP_ST_ALOG_WRITTEN), fits + 1);
    T_EQ(captured().n, (fits + 1) * 1000);
    write_line(a, 0);
    T_EQ(stat_of(MP_ST_ALOG_DROPPED), 10);
    T_EQ(stat_of(MP_ST_ALOG_WRITE_ERRORS), 0);
    mp_alog_fini(a);
    finish();
}

/* A full disk: the rest of the buffer is lost and counted, the half line is ended before the next
 * one. */
static void test_failed_write(void)
{
    start(false, true);
    struct mp_alog *a = build_text("%REQ(:path)%", NULL);
    fx.s.req.path = MP_STR("123456789");
    for (int i = 0; i < 5; i++) {
        write_line(a, 0);
    }
    cap.at_most = 25;
    cap.fail_at = 2;
    cap.error = ENOSPC;
    cap.fail_for = 1;
    flush_all();
    flush_all();
    T_OK(mp_str_eq(captured(), MP_STR("123456789\n123456789\n12345")));
    T_EQ(stat_of(MP_ST_ALOG_WRITTEN), 2);
    T_EQ(stat_of(MP_ST_ALOG_DROPPED), 3);
    T_EQ(stat_of(MP_ST_ALOG_WRITE_ERRORS), 1);
    write_line(a, 0);
    flush_all();
    flush_all();
    T_OK(mp_str_eq(captured(), MP_STR("123456789\n123456789\n12345\n123456789\n")));
    T_EQ(stat_of(MP_ST_ALOG_WRITTEN), 3);
    T_EQ(stat_of(MP_ST_ALOG_DROPPED), 3);
    mp_alog_fini(a);
    finish();
}

static void test_short_writes_and_interrupts(void)
{
    start(false, true);
    struct mp_alog *a = build_text("%REQ(:path)%", NULL);
    for (int i = 0; i < 100; i++) {
        write_line(a, 0);
    }
    cap.at_most = 7;
    cap.fail_at = 5;
    cap.error = EINTR;
    cap.fail_for = 3;
    flush_all();
    flush_all();
    T_EQ(captured().n, 500);
    T_EQ(stat_of(MP_ST_ALOG_WRITTEN), 100);
    mp_alog_fini(a);
    finish();
}

/* ---- with the thread ---- */

struct producer {
    struct mp_alog *a;
    uint32_t worker;
    int lines;
};

static void *produce(void *arg)
{
    struct producer *p = arg;
    struct mp_stream s = fx.s;
    char path[32];
    for (int i = 0; i < p->lines; i++) {
        int n = snprintf(path, sizeof(path), "/%u/%06d", p->worker, i);
        s.req.path = mp_str(path, (size_t)n);
        mp_alog_write(p->a, &workers[p->worker], &s);
        if (i % 97 == 0) {
            mp_alog_flush(set, p->worker, true);
        }
        if (i % 1024 == 0) {
            sched_yield();
        }
    }
    mp_alog_flush(set, p->worker, true);
    return NULL;
}

#define LINES 20000

/* Every line is written once or counted as dropped, and lines of one worker keep their order. */
static void test_threads(void)
{
    start(true, true);
    struct mp_alog *a = build_text("%REQ(:path)%", NULL);
    pthread_t t[WORKERS];
    struct producer p[WORKERS];
    for (uint32_t i = 0; i < WORKERS; i++) {
        p[i] = (struct producer){a, i, LINES};
        T_EQ(pthread_create(&t[i], NULL, produce, &p[i]), 0);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        pthread_join(t[i], NULL);
    }
    mp_alog_fini(a);
    uint64_t dropped = stat_of(MP_ST_ALOG_DROPPED);
    finish();
    int last[WORKERS] = {-1, -1, -1};
    size_t lines = 0;
    struct mp_str rest = captured(), line;
    while (mp_str_split(&rest, '\n', &line) && line.n > 0) {
        unsigned w = (unsigned)(line.p[1] - '0');
        int i = (int)strtol(line.p + 3, NULL, 10);
        T_EQ(line.n, 9);
        T_OK(w < WORKERS && i > last[w]);
        last[w] = i;
        lines++;
    }
    T_EQ(lines + dropped, WORKERS * LINES);
    T_OK(lines > LINES / 2);
}

static bool eleven_written(void)
{
    return stat_of(MP_ST_ALOG_WRITTEN) == 11;
}

/* Sleeping and waking, one hand-over at a time. */
static void test_every_hand_over_wakes(void)
{
    start(true, true);
    struct mp_alog *a = build_text("%REQ(:path)%", NULL);
    for (int i = 0; i < 11; i++) {
        nanosleep(&(struct timespec){.tv_nsec = i * 300000}, NULL);
        write_line(a, (uint32_t)i % WORKERS);
        mp_alog_flush(set, (uint32_t)i % WORKERS, true);
    }
    T_OK(until(eleven_written));
    T_EQ(captured().n, 11 * 5);
    mp_alog_fini(a);
    finish();
}

static char dir[64];

static const char *in_dir(const char *name)
{
    static char path[2][128];
    static int turn;
    turn ^= 1;
    snprintf(path[turn], sizeof(path[0]), "%s/%s", dir, name);
    return path[turn];
}

static struct mp_str file_text(const char *name)
{
    static char text[4096];
    int fd = open(in_dir(name), O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text)) : -1;
    if (fd >= 0) {
        close(fd);
    }
    return n >= 0 ? mp_str(text, (size_t)n) : mp_str(NULL, 0);
}

static bool one_written(void)
{
    return stat_of(MP_ST_ALOG_WRITTEN) == 1;
}
static bool two_written(void)
{
    return stat_of(MP_ST_ALOG_WRITTEN) == 2;
}

static void test_file_and_reopen(void)
{
    for (int threaded = 0; threaded < 2; threaded++) {
        start(threaded, false);
        struct mp_alog *a = build_text("%REQ(:path)%", in_dir("log"));
        T_OK(a != NULL);
        write_line(a, 0);
        flush_all();
        T_OK(until(one_written));
        T_EQ(rename(in_dir("log"), in_dir("log.1")), 0);
        mp_alog_set_reopen(set);
        mp_alog_set_reopen(set);
        fx.s.req.path = MP_STR("/two");
        write_line(a, 1);
        flush_all();
        T_OK(until(two_written));
        T_OK(mp_str_eq(file_text("log.1"), MP_STR("/p?q\n")));
        T_OK(mp_str_eq(file_text("log"), MP_STR("/two\n")));
        mp_alog_fini(a);
        /* Opened again by the next configuration; appended to. */
        a = build_text("three", in_dir("log"));
        T_OK(a != NULL);
        write_line(a, 2);
        flush_all();
        mp_alog_fini(a);
        finish();
        T_OK(mp_str_eq(file_text("log"), MP_STR("/two\nthree\n")));
        unlink(in_dir("log"));
        unlink(in_dir("log.1"));
    }
}

static void test_reopen_that_fails(void)
{
    start(true, false);
    T_EQ(mkdir(in_dir("sub"), 0700), 0);
    struct mp_alog *a = build_text("%REQ(:path)%", in_dir("sub/log"));
    T_OK(a != NULL);
    write_line(a, 0);
    flush_all();
    T_OK(until(one_written));
    T_EQ(rename(in_dir("sub"), in_dir("moved")), 0);
    mp_log_set_level(MP_LOG_OFF);
    mp_alog_set_reopen(set);
    mp_log_set_level(MP_LOG_INFO);
    write_line(a, 0);
    flush_all();
    T_OK(until(two_written));
    T_OK(mp_str_eq(file_text("moved/log"), MP_STR("/p?q\n/p?q\n")));
    mp_alog_fini(a);
    finish();
    unlink(in_dir("moved/log"));
    rmdir(in_dir("moved"));
}

static void test_refused_files(void)
{
    start(false, false);
    struct mp_conf_alog conf = {.kind = MP_ALOG_FILE, .text = MP_STR("l")};
    conf.path = S(in_dir("none/log"));
    T_OK(refused(&conf, "No such file or directory"));
    conf.path = S(dir);
    T_OK(refused(&conf, "neither a file, a FIFO nor a character device"));
    T_EQ(mkfifo(in_dir("fifo"), 0600), 0);
    conf.path = S(in_dir("fifo"));
    T_OK(refused(&conf, "No such device or address")); /* nobody reads it */
    conf.path = MP_STR("/dev/null");
    struct mp_alog *a = build(&conf);
    T_OK(a != NULL);
    write_line(a, 0);
    flush_all();
    flush_all();
    T_EQ(stat_of(MP_ST_ALOG_WRITTEN), 1);
    mp_alog_fini(a);
    finish();
    unlink(in_dir("fifo"));
}

static void test_full_device(void)
{
    start(true, false);
    struct mp_alog *a = build_text("l", "/dev/full");
    T_OK(a != NULL);
    for (int i = 0; i < 5; i++) {
        write_line(a, 0);
    }
    flush_all();
    for (int i = 0; i < 2000 && stat_of(MP_ST_ALOG_WRITE_ERRORS) == 0; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        flush_all();
    }
    T_EQ(stat_of(MP_ST_ALOG_WRITE_ERRORS), 1);
    T_EQ(stat_of(MP_ST_ALOG_DROPPED), 5);
    T_EQ(stat_of(MP_ST_ALOG_WRITTEN), 0);
    mp_alog_fini(a);
    finish();
}

/* ---- standard output as a pipe or socket ---- */

static int saved_stdout, reader;

static void stdout_to(int fds[2])
{
    fflush(stdout);
    saved_stdout = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 100);
    dup2(fds[1], STDOUT_FILENO);
    close(fds[1]);
    reader = fds[0];
}
static void stdout_back(void)
{
    dup2(saved_stdout, STDOUT_FILENO);
    close(saved_stdout);
}

static uint64_t ms_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void fill(struct mp_alog *a, int lines)
{
    static char line[1024];
    memset(line, 'x', sizeof(line));
    fx.s.req.path = mp_str(line, sizeof(line) - 1);
    for (int i = 0; i < lines; i++) {
        write_line(a, 0);
    }
}

/* Nobody reads: the worker goes on, another sink is written, the stop takes its second. */
static void test_stuck_pipe(void)
{
    for (int kind = 0; kind < 2; kind++) {
        int fds[2];
        T_EQ(kind == 0 ? pipe2(fds, O_CLOEXEC)
                       : socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
             0);
        stdout_to(fds);
        start(true, false);
        struct mp_alog *a = build_text("%REQ(:path)%", NULL);
        struct mp_alog *b = build_text("other", in_dir("other"));
        stdout_back();
        T_OK(a != NULL && b != NULL);
        uint64_t from = ms_now();
        fill(a, 4000);
        flush_all();
        T_OK(ms_now() - from < 1000);
        T_OK(stat_of(MP_ST_ALOG_DROPPED) > 1000);
        write_line(b, 0);
        flush_all();
        struct mp_str text = mp_str(NULL, 0);
        for (int i = 0; i < 2000 && text.n == 0; i++) {
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
            text = file_text("other");
        }
        T_OK(mp_str_eq(text, MP_STR("other\n")));
        mp_alog_fini(a);
        mp_alog_fini(b);
        from = ms_now();
        finish();
        T_OK(ms_now() - from >= 900);
        T_OK(ms_now() - from < 1400);
        close(reader);
        unlink(in_dir("other"));
    }
}

static void *read_all(void *arg)
{
    size_t *n = arg;
    static char text[65536];
    ssize_t got;
    while ((got = read(reader, text, sizeof(text))) > 0) {
        *n += (size_t)got;
    }
    return NULL;
}

/* A slow reader gets every line for which there was room. */
static void test_pipe_drains(void)
{
    int fds[2];
    T_EQ(pipe2(fds, O_CLOEXEC), 0);
    (void)fcntl(fds[1], F_SETPIPE_SZ, 4096);
    stdout_to(fds);
    start(true, false);
    struct mp_conf_alog conf = {
        .kind = MP_ALOG_FILE, .path = MP_STR("/dev/stdout"), .text = MP_STR("%REQ(:path)%")};
    struct mp_alog *a = build(&conf);
    stdout_back();
    T_OK(a != NULL);
    fill(a, 500);
    flush_all();
    pthread_t t;
    size_t n = 0;
    T_EQ(pthread_create(&t, NULL, read_all, &n), 0);
    mp_alog_fini(a);
    finish();
    pthread_join(t, NULL);
    T_EQ(n, 500 * 1024);
    close(reader);
}

/* The reader has gone: no signal ends the program. */
static void test_closed_pipe(void)
{
    int fds[2];
    T_EQ(pipe2(fds, O_CLOEXEC), 0);
    stdout_to(fds);
    start(true, false);
    struct mp_alog *a = build_text("%REQ(:path)%", NULL);
    stdout_back();
    close(reader);
    fill(a, 3);
    flush_all();
    for (int i = 0; i < 2000 && stat_of(MP_ST_ALOG_WRITE_ERRORS) == 0; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        flush_all();
    }
    T_EQ(stat_of(MP_ST_ALOG_DROPPED), 3);
    mp_alog_fini(a);
    finish();
}

static int open_fds(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++) {
        n += fcntl(fd, F_GETFD) >= 0;
    }
    return n;
}

static int fds_before;
static bool fds_are_back(void)
{
    return open_fds() == fds_before;
}

/* An output that no configuration names any more is closed, after its last line. */
static void test_unused_files_are_closed(void)
{
    start(true, false);
    fds_before = open_fds();
    struct mp_alog *a = build_text("l", in_dir("log"));
    T_EQ(open_fds(), fds_before + 1);
    write_line(a, 0);
    mp_alog_fini(a);
    T_EQ(open_fds(), fds_before + 1);
    T_OK(until(fds_are_back));
    T_OK(mp_str_eq(file_text("log"), MP_STR("l\n")));
    a = build_text("m", in_dir("log"));
    write_line(a, 0);
    mp_alog_fini(a);
    finish();
    T_OK(mp_str_eq(file_text("log"), MP_STR("l\nm\n")));
    unlink(in_dir("log"));
}

/* Generations come and go while workers write. */
static void test_churn(void)
{
    start(true, true);
    struct mp_alog *a = build_text("%REQ(:path)%", "/keep");
    pthread_t t[WORKERS];
    struct producer p[WORKERS];
    for (uint32_t i = 0; i < WORKERS; i++) {
        p[i] = (struct producer){a, i, LINES};
        T_EQ(pthread_create(&t[i], NULL, produce, &p[i]), 0);
    }
    for (int i = 0; i < 300; i++) {
        char path[32];
        snprintf(path, sizeof(path), "/churn/%d", i % 40);
        struct mp_alog *b = build_text("x", path), *c = build_text("x", "/keep");
        mp_alog_set_reopen(set);
        mp_alog_fini(b);
        mp_alog_fini(c);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        pthread_join(t[i], NULL);
    }
    mp_alog_fini(a);
    uint64_t dropped = stat_of(MP_ST_ALOG_DROPPED);
    finish();
    T_EQ(count_in(captured(), '\n') + dropped, WORKERS * LINES);
}

int main(void)
{
    mp_hash_set_key(1, 2);
    snprintf(dir, sizeof(dir), "/tmp/mp-alog-XXXXXX");
    if (mkdtemp(dir) == NULL) {
        return 1;
    }
    T_RUN(test_default_format);
    T_RUN(test_escapes);
    T_RUN(test_escapes_of_every_byte);
    T_RUN(test_text_format);
    T_RUN(test_json_format);
    T_RUN(test_long_values);
    T_RUN(test_long_json_line);
    T_RUN(test_refused_formats);
    T_RUN(test_lines_wait_for_the_timer);
    T_RUN(test_young_lines_stay);
    T_RUN(test_full_buffers_go_at_once);
    T_RUN(test_sinks_are_shared);
    T_RUN(test_sinks_are_used_again);
    T_RUN(test_stuck_output_drops);
    T_RUN(test_failed_write);
    T_RUN(test_short_writes_and_interrupts);
    T_RUN(test_threads);
    T_RUN(test_every_hand_over_wakes);
    T_RUN(test_file_and_reopen);
    T_RUN(test_reopen_that_fails);
    T_RUN(test_refused_files);
    T_RUN(test_full_device);
    T_RUN(test_stuck_pipe);
    T_RUN(test_pipe_drains);
    T_RUN(test_closed_pipe);
    T_RUN(test_unused_files_are_closed);
    T_RUN(test_churn);
    rmdir(dir);
    return T_DONE();
}
