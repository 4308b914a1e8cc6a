/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What a good request is read as, limits, and input in pieces. Bad ones are in
 * tests/data/smuggling.json. */
#include "unit/t.h"
#include <time.h>
#include "unit/codec/codec_help.h"
#include "unit/codec/heads.h"

#define HOST "Host: a.example\r\n"

static bool eq(struct mp_str s, const char *z)
{
    return mp_str_eq(s, mp_str_c(z));
}

static struct parsed p;

static enum mp_h1_status parse(const char *head)
{
    help_free(&p);
    help_parse(&p, HELP_REQUEST, head, strlen(head));
    return p.st;
}

static const struct mp_hdr *field(const char *lower)
{
    for (size_t i = 0; i < p.n_fields; i++) {
        if (eq(mp_hdr_name(&p.f[i]), lower)) {
            return &p.f[i];
        }
    }
    return NULL;
}

static bool hop(const char *lower)
{
    const struct mp_hdr *f = field(lower);
    return f != NULL && (f->flags & MP_HDR_F_HOP) != 0;
}

static void test_request_line(void)
{
    static const struct {
        const char *head;
        enum mp_method method;
        const char *name;
        enum mp_target_form form;
        const char *scheme, *authority, *path;
    } rows[] = {
        {"GET /a?b HTTP/1.1\r\n" HOST, MP_METHOD_GET, "GET", MP_TARGET_ORIGIN, "", "a.example",
         "/a?b"},
        {"get / HTTP/1.1\r\n" HOST, MP_METHOD_OTHER, "get", MP_TARGET_ORIGIN, "", "a.example", "/"},
        {"M-SEARCH / HTTP/1.1\r\n" HOST, MP_METHOD_OTHER, "M-SEARCH", MP_TARGET_ORIGIN, "",
         "a.example", "/"},
        {"\r\nPUT / HTTP/1.1\r\n" HOST, MP_METHOD_PUT, "PUT", MP_TARGET_ORIGIN, "", "a.example",
         "/"},
        {"GET //x HTTP/1.1\r\n" HOST, MP_METHOD_GET, "GET", MP_TARGET_ORIGIN, "", "a.example",
         "//x"},
        {"OPTIONS * HTTP/1.1\r\n" HOST, MP_METHOD_OPTIONS, "OPTIONS", MP_TARGET_ASTERISK, "",
         "a.example", "*"},
        {"OPTIONS /x HTTP/1.1\r\n" HOST, MP_METHOD_OPTIONS, "OPTIONS", MP_TARGET_ORIGIN, "",
         "a.example", "/x"},
        {"GET http://a.example/x?y HTTP/1.1\r\n" HOST, MP_METHOD_GET, "GET", MP_TARGET_ABSOLUTE,
         "http", "a.example", "/x?y"},
        {"GET http://a.example HTTP/1.1\r\n" HOST, MP_METHOD_GET, "GET", MP_TARGET_ABSOLUTE, "http",
         "a.example", "/"},
        {"GET http://a.example?q=/ HTTP/1.1\r\n" HOST, MP_METHOD_GET, "GET", MP_TARGET_ABSOLUTE,
         "http", "a.example", "/?q=/"},
        {"GET HTTPS://A.example:443/ HTTP/1.1\r\n" HOST, MP_METHOD_GET, "GET", MP_TARGET_ABSOLUTE,
         "HTTPS", "A.example:443", "/"},
        {"GET http://[::1]:80 HTTP/1.1\r\nHost: [::1]\r\n", MP_METHOD_GET, "GET",
         MP_TARGET_ABSOLUTE, "http", "[::1]:80", "/"},
        {"CONNECT a.example:443 HTTP/1.1\r\n" HOST, MP_METHOD_CONNECT, "CONNECT",
         MP_TARGET_AUTHORITY, "", "a.example:443", ""},
        {"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n", MP_METHOD_CONNECT, "CONNECT",
         MP_TARGET_AUTHORITY, "", "[::1]:443", ""},
        {"GET / HTTP/1.0\r\n", MP_METHOD_GET, "GET", MP_TARGET_ORIGIN, "", "", "/"},
        {"GET http://b/ HTTP/1.0\r\n", MP_METHOD_GET, "GET", MP_TARGET_ABSOLUTE, "http", "b", "/"},
    };
    for (size_t i = 0; i < MP_COUNTOF(rows); i++) {
        char head[256];
        snprintf(head, sizeof(head), "%s\r\n", rows[i].head);
        T_EQ(parse(head), MP_H1_OK);
        T_EQ(p.rq.method, rows[i].method);
        T_OK(eq(p.rq.method_name, rows[i].name));
        T_EQ(p.rq.form, rows[i].form);
        T_OK(eq(p.rq.scheme, rows[i].scheme));
        T_OK(eq(p.rq.authority, rows[i].authority));
        T_OK(eq(p.rq.path, rows[i].path));
        T_EQ(p.used, strlen(head));
    }
}

static void test_fields(void)
{
    T_EQ(parse("GET / HTTP/1.1\r\nHOST:a.example\r\nX-Very-Long-Name-Of-More-Than-16: 1\r\n"
               "x_Y2: \t v w \t\r\nEmpty:\r\nBlank:  \r\n!#$%&'*+-.^_`|~09azAZ: "
               "\xe4\t\xff\r\n\r\nrest"),
         MP_H1_OK);
    static const char *const want[][2] = {
        {"host", "a.example"}, {"x-very-long-name-of-more-than-16", "1"},
        {"x_y2", "v w"},       {"empty", ""},
        {"blank", ""},         {"!#$%&'*+-.^_`|~09azaz", "\xe4\t\xff"}};
    T_EQ(p.n_fields, MP_COUNTOF(want));
    for (size_t i = 0; i < MP_COUNTOF(want); i++) {
        T_OK(eq(mp_hdr_name(&p.f[i]), want[i][0]));
        T_OK(eq(mp_hdr_value(&p.f[i]), want[i][1]));
        T_EQ(p.f[i].flags, 0);
    }
    T_EQ(p.f[0].id, MP_HDR_HOST);
    T_EQ(p.f[1].id, MP_HDR_OTHER);
    T_EQ(p.n - p.used, 4);
}

/* Only the name is lowered, however close its value is. */
static void test_values_keep_their_case(void)
{
    T_EQ(parse("GET / HTTP/1.1\r\nHost:A.EXAMPLE\r\nA:B\r\nTE:ABCDEFGHIJKLMNOP\r\nX-Abc: XYZ: "
               "W\r\n\r\n"),
         MP_H1_OK);
    static const char *const want[] = {"A.EXAMPLE", "B", "ABCDEFGHIJKLMNOP", "XYZ: W"};
    T_EQ(p.n_fields, MP_COUNTOF(want));
    for (size_t i = 0; i < MP_COUNTOF(want); i++) {
        T_OK(eq(mp_hdr_value(&p.f[i]), want[i]));
    }
}

/* Each known name gets its id, in any case and wherever it lies before the end of the buffer. */
static void test_every_known_name(void)
{
    for (int id = 1; id < MP_HDR_COUNT; id++) {
        if (id == MP_HDR_HOST || id == MP_HDR_TRANSFER_ENCODING || id == MP_HDR_EXPECT) {
            continue;
        }
        struct mp_str name = mp_hdr_id_name((enum mp_hdr_id)id);
        for (int style = 0; style < 3; style++) {
            char head[256], cased[64];
            for (size_t i = 0; i < name.n; i++) {
                bool up = style == 1 || (style == 2 && (i == 0 || name.p[i - 1] == '-'));
                cased[i] = up && name.p[i] >= 'a' && name.p[i] <= 'z' ? name.p[i] - 32 : name.p[i];
            }
            for (int pad = 0; pad < 20; pad++) {
                snprintf(head, sizeof(head), "GET / HTTP/1.1\r\n" HOST "%.*s:1\r\n%.*s\r\n",
                         (int)name.n, cased, pad > 3 ? pad : 0, "Y: 7890123456789\r\nZ:2\r\n");
                enum mp_h1_status st = parse(head);
                if (st == MP_H1_OK) {
                    T_EQ(p.f[1].id, id);
                    T_OK(mp_str_eq(mp_hdr_name(&p.f[1]), name));
                }
                T_OK(st == MP_H1_OK || pad > 3);
            }
        }
    }
}

static void test_body(void)
{
    T_EQ(parse("POST / HTTP/1.1\r\n" HOST "\r\n"), MP_H1_OK);
    T_EQ(p.rq.body, MP_BODY_NONE);
    T_OK(!p.rq.has_content_length);
    T_EQ(parse("POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n"), MP_H1_OK);
    T_EQ(p.rq.body, MP_BODY_NONE);
    T_OK(p.rq.has_content_length);
    T_EQ(p.rq.content_length, 0);
    T_EQ(parse("POST / HTTP/1.1\r\n" HOST "Content-Length: 0123\r\n\r\n"), MP_H1_OK);
    T_EQ(p.rq.body, MP_BODY_LENGTH);
    T_EQ(p.rq.content_length, 123);
    T_EQ(parse("POST / HTTP/1.0\r\nContent-Length: 9223372036854775807\r\n\r\n"), MP_H1_OK);
    T_EQ(p.rq.content_length, INT64_MAX);
    T_EQ(parse("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n"), MP_H1_OK);
    T_EQ(p.rq.body, MP_BODY_CHUNKED);
    T_OK(!p.rq.has_content_length);
    T_OK(hop("transfer-encoding"));
}

static void test_connection(void)
{
    static const struct {
        const char *version, *fields;
        bool keep_alive, upgrade;
    } rows[] = {
        {"1.1", "", true, false},
        {"1.1", "Connection: close\r\n", false, false},
        {"1.1", "Connection: Keep-Alive, CLOSE\r\n", false, false},
        {"1.1", "Connection: x\r\nConnection: close\r\n", false, false},
        {"1.1", "Connection: closed\r\n", true, false},
        {"1.0", "", false, false},
        {"1.0", "Connection: keep-alive\r\n", true, false},
        {"1.0", "Connection: keep-alive, close\r\n", false, false},
        {"1.0", "Proxy-Connection: keep-alive\r\n", false, false},
        {"1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", true, true},
        {"1.1", "Upgrade: websocket\r\nConnection: keep-alive, upgrade\r\n", true, true},
        {"1.1", "Connection: upgrade\r\n", true, false},
        {"1.1", "Upgrade: websocket\r\n", true, false},
        {"1.0", "Connection: upgrade\r\nUpgrade: websocket\r\n", false, false},
        {"1.1", "Connection: upgrade\r\nUpgrade: h2c\r\n", true, false},
        {"1.1", "Connection: upgrade\r\nUpgrade: websocket, H2C\r\n", true, false},
        {"1.1", "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c/1\r\n", true, false},
        {"1.1", "Connection: upgrade\r\nUpgrade: web socket\r\n", true, false},
        {"1.1", "Connection: upgrade\r\nUpgrade:\r\n", true, false},
        {"1.1", "Connection: upgrade\r\nUpgrade: IRC/6.9\r\n", true, true},
    };
    for (size_t i = 0; i < MP_COUNTOF(rows); i++) {
        char head[256];
        snprintf(head, sizeof(head), "GET / HTTP/%s\r\n" HOST "%s\r\n", rows[i].version,
                 rows[i].fields);
        T_EQ(parse(head), MP_H1_OK);
        T_EQ(p.rq.keep_alive, rows[i].keep_alive);
        T_EQ(p.rq.upgrade, rows[i].upgrade);
    }
}

static void test_hop_by_hop(void)
{
    T_EQ(parse("GET / HTTP/1.1\r\nX-Before: 1\r\n" HOST "Connection: x-BEFORE, close , x-none\r\n"
               "Keep-Alive: 1\r\nProxy-Connection: x\r\nTE: gzip, Trailers\r\nTrailer: x\r\n"
               "Upgrade: x\r\nHTTP2-Settings: x\r\nX-After: 1\r\nX-Befor: 1\r\nX-Stays: 1\r\n"
               "Close: 1\r\nConnection: X-After,te\r\nx-before: 2\r\nCookie: x\r\n\r\n"),
         MP_H1_OK);
    static const char *const hops[] = {"x-before",         "connection", "keep-alive",
                                       "proxy-connection", "te",         "trailer",
                                       "http2-settings",   "upgrade",    "x-after"};
    static const char *const others[] = {"host", "x-befor", "x-stays", "close", "cookie"};
    for (size_t i = 0; i < MP_COUNTOF(hops); i++) {
        T_OK(hop(hops[i]));
    }
    for (size_t i = 0; i < MP_COUNTOF(others); i++) {
        T_OK(field(others[i]) != NULL && !hop(others[i]));
    }
    T_OK(p.f[p.n_fields - 2].flags & MP_HDR_F_HOP); /* each of that name */
    T_OK(p.rq.te_trailers);
    T_EQ(parse("GET / HTTP/1.1\r\n" HOST "TE: trailers;q=1, xtrailers\r\n\r\n"), MP_H1_OK);
    T_OK(!p.rq.te_trailers);
}

static void test_expect(void)
{
    T_EQ(parse("POST / HTTP/1.1\r\n" HOST "Expect: 100-CONTINUE\r\nContent-Length: 1\r\n\r\n"), 0);
    T_OK(p.rq.expect_continue);
    T_EQ(parse("POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n\r\n"), 0);
    T_OK(!p.rq.expect_continue);
    T_EQ(parse("POST / HTTP/1.0\r\n" HOST "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n"), 0);
    T_OK(!p.rq.expect_continue);
}

/* ---- limits: one less, exactly, one more ---- */

static enum mp_h1_status with_limits(struct mp_h1_limits l, const char *head, size_t n)
{
    struct parsed part;
    help_free(&p);
    help_feed(&p, HELP_REQUEST, head, n, 0, 0, &l, MP_METHOD_GET);
    help_feed(&part, HELP_REQUEST, head, n, 0, 7, &l, MP_METHOD_GET);
    bool same = help_same(&p, &part, HELP_REQUEST);
    help_free(&part);
    return same ? p.st : MP_H1_STATUS_COUNT;
}

static void test_limit_head_bytes(void)
{
    static const char head[] = "GET / HTTP/1.1\r\n" HOST "\r\nnext";
    uint32_t n = sizeof(head) - 1 - 4;
    T_EQ(with_limits((struct mp_h1_limits){n + 1, 9, 99}, head, n), MP_H1_OK);
    T_EQ(with_limits((struct mp_h1_limits){n, 9, 99}, head, n), MP_H1_OK);
    T_EQ(with_limits((struct mp_h1_limits){n, 9, 99}, head, n + 4), MP_H1_OK);
    T_EQ(p.used, n);
    for (uint32_t max = 0; max < n; max++) {
        T_EQ(with_limits((struct mp_h1_limits){max, 9, 99}, head, n), MP_H1_ERR_HEAD_TOO_LARGE);
        /* As soon as it cannot fit any more. */
        T_EQ(with_limits((struct mp_h1_limits){max, 9, 99}, head, max),
             max ? MP_H1_ERR_HEAD_TOO_LARGE : MP_H1_MORE);
        if (max > 1) {
            T_EQ(with_limits((struct mp_h1_limits){max, 9, 99}, head, max - 1), MP_H1_MORE);
        }
    }
}

static void test_limit_fields(void)
{
    static const char head[] = "GET / HTTP/1.1\r\n" HOST "A: 1\r\nB: 2\r\n\r\n";
    T_EQ(with_limits((struct mp_h1_limits){999, 4, 99}, head, sizeof(head) - 1), MP_H1_OK);
    T_EQ(with_limits((struct mp_h1_limits){999, 3, 99}, head, sizeof(head) - 1), MP_H1_OK);
    T_EQ(p.n_fields, 3);
    T_EQ(with_limits((struct mp_h1_limits){999, 2, 99}, head, sizeof(head) - 1),
         MP_H1_ERR_TOO_MANY_FIELDS);
    T_EQ(with_limits((struct mp_h1_limits){999, 0, 99}, "GET / HTTP/1.0\r\n\r\n", 18), MP_H1_OK);
    T_EQ(with_limits((struct mp_h1_limits){999, 0, 99}, "GET / HTTP/1.0\r\na:\r\n\r\n", 22),
         MP_H1_ERR_TOO_MANY_FIELDS);
}

static void test_limit_target(void)
{
    static const char head[] = "GET /2345 HTTP/1.1\r\n" HOST "\r\n";
    T_EQ(with_limits((struct mp_h1_limits){999, 9, 6}, head, sizeof(head) - 1), MP_H1_OK);
    T_EQ(with_limits((struct mp_h1_limits){999, 9, 5}, head, sizeof(head) - 1), MP_H1_OK);
    T_EQ(with_limits((struct mp_h1_limits){999, 9, 4}, head, sizeof(head) - 1),
         MP_H1_ERR_TARGET_TOO_LONG);
    /* Without waiting for its end. */
    struct mp_h1_limits l = {999, 9, 4};
    help_free(&p);
    help_feed(&p, HELP_REQUEST, head, 9, 0, 0, &l, MP_METHOD_GET);
    T_EQ(p.st, MP_H1_ERR_TARGET_TOO_LONG);
    help_free(&p);
    help_feed(&p, HELP_REQUEST, head, 8, 0, 0, &l, MP_METHOD_GET);
    T_EQ(p.st, MP_H1_MORE);
}

static void test_limit_name(void)
{
    static const char line[] = "GET / HTTP/1.0\r\n";
    for (size_t name = 65534; name <= 65536; name++) {
        size_t n = sizeof(line) - 1;
        char *head = malloc(name + 100);
        memcpy(head, line, n);
        memset(head + n, 'N', name);
        n += name;
        memcpy(head + n, ": v\r\n\r\n", 7);
        n += 7;
        help_free(&p);
        struct mp_h1_limits l = {1 << 20, 9, 99};
        help_feed(&p, HELP_REQUEST, head, n, 0, 0, &l, MP_METHOD_GET);
        free(head);
        T_EQ(p.st, name <= 65535 ? MP_H1_OK : MP_H1_ERR_HEAD_TOO_LARGE);
        if (p.st == MP_H1_OK) {
            T_EQ(p.f[0].name_n, name);
        }
    }
}

/* ---- pieces ---- */

static const char *const good[] = {
    HEAD_SMALL,
    HEAD_BROWSER,
    "\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "POST /x HTTP/1.1\r\nHost:\ta.example:80 \r\nTransfer-Encoding: chunked\r\nX:\r\n\r\n",
    "GET http://a.example?q HTTP/1.1\r\n" HOST "Connection: x, close\r\nx: y\r\n\r\n",
    "CONNECT a.example:443 HTTP/1.1\r\n" HOST "\r\n",
    "OPTIONS * HTTP/1.1\r\n" HOST "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
};

/* Every prefix wants more; in two pieces or in many, the outcome is that of the whole. */
static void test_every_cut(void)
{
    for (size_t i = 0; i < MP_COUNTOF(good); i++) {
        size_t n = strlen(good[i]);
        struct parsed part;
        T_EQ(parse(good[i]), MP_H1_OK);
        T_EQ(p.used, n);
        for (size_t cut = 1; cut < n; cut++) {
            help_feed(&part, HELP_REQUEST, good[i], cut, 0, 0, &help_limits, MP_METHOD_GET);
            enum mp_h1_status st = part.st;
            help_free(&part);
            T_EQ(st, MP_H1_MORE);
            help_feed(&part, HELP_REQUEST, good[i], n, cut, 0, &help_limits, MP_METHOD_GET);
            bool same = help_same(&p, &part, HELP_REQUEST);
            unsigned more = part.more;
            help_free(&part);
            T_OK(same);
            T_EQ(more, 1);
        }
        for (size_t step = 1; step < n; step++) {
            help_feed(&part, HELP_REQUEST, good[i], n, 0, step, &help_limits, MP_METHOD_GET);
            bool same = help_same(&p, &part, HELP_REQUEST);
            help_free(&part);
            T_OK(same);
        }
    }
    size_t scanned = 0;
    T_EQ(mp_h1_parse_request(NULL, 0, &scanned, &help_limits, p.f, &p.rq), MP_H1_MORE);
}

/* Bytes that cannot start a request are refused as the first of them comes. */
static void test_refused_at_once(void)
{
    for (int c = 0; c < 256; c++) {
        char one = (char)c;
        size_t scanned = 0;
        enum mp_h1_status st = mp_h1_parse_request(&one, 1, &scanned, &help_limits, p.f, &p.rq);
        bool start = c == '\r' || mp_hdr_name_ok(mp_str(&one, 1));
        T_EQ(st == MP_H1_MORE, start);
        T_OK(start || st == MP_H1_ERR_BAD_METHOD || (c == '\n' && st == MP_H1_ERR_BARE_LF));
    }
    static const struct {
        const char *in;
        enum mp_h1_status st;
    } rows[] = {{"G\x01", MP_H1_ERR_BAD_METHOD},
                {"GET /\x80", MP_H1_ERR_BAD_TARGET},
                {"GET / HTTP/1.2", MP_H1_ERR_BAD_VERSION},
                {"GET / HTTQ", MP_H1_ERR_BAD_START_LINE},
                {"GET / HTTP/1.1\n", MP_H1_ERR_BARE_LF},
                {"GET / HTTP/1.1\r\nA B", MP_H1_ERR_BAD_NAME},
                {"GET / HTTP/1.1\r\nA: \x01", MP_H1_ERR_BAD_VALUE},
                {"GET / HTTP/1.1\r\nA: \rx", MP_H1_ERR_BARE_CR},
                {"GET / HTTP/1.1\r\nA: b\r\n ", MP_H1_ERR_OBS_FOLD}};
    for (size_t i = 0; i < MP_COUNTOF(rows); i++) {
        T_EQ(parse(rows[i].in), rows[i].st);
    }
    /* Also when the rest dripped in. */
    struct parsed part;
    static const char drip[] = "GET / HTTP/1.1\r\nHost: a\x01";
    help_feed(&part, HELP_REQUEST, drip, sizeof(drip) - 1, 0, 1, &help_limits, MP_METHOD_GET);
    enum mp_h1_status st = part.st;
    help_free(&part);
    T_EQ(st, MP_H1_ERR_BAD_VALUE);
}

/* 60 KiB byte by byte: parsing anew each time would read 1.8 GB; each byte is looked at a few
 * times. */
static void test_drip_is_linear(void)
{
    size_t n = 0, max = 60 * 1024 - 600;
    char *buf = malloc(60 * 1024);
    n += (size_t)sprintf(buf, "GET / HTTP/1.1\r\n" HOST);
    while (n < max) {
        n += (size_t)sprintf(buf + n, "X: %0500d\r\n", 1);
    }
    n += (size_t)sprintf(buf + n, "\r\n");
    struct mp_h1_limits l = {60 * 1024, 128, 99};
    size_t scanned = 0;
    enum mp_h1_status st = MP_H1_MORE;
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    double start = (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
    for (size_t have = 1; have <= n && st == MP_H1_MORE; have++) {
        st = mp_h1_parse_request(buf, have, &scanned, &l, p.f, &p.rq);
        if (st == MP_H1_MORE && scanned != have) {
            break;
        }
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    double spent = (double)t.tv_sec + (double)t.tv_nsec * 1e-9 - start;
    free(buf);
    p.buf = NULL;
    T_EQ(st, MP_H1_OK);
    /* Under sanitizers it takes some 10 ms; the quadratic way takes longer than this anywhere. */
    T_OK(spent < 0.25);
}

static void test_status_table(void)
{
    for (int s = 0; s < MP_H1_STATUS_COUNT; s++) {
        const char *name = mp_h1_status_name((enum mp_h1_status)s);
        T_OK(name[0] >= 'a' && name[0] <= 'z');
        T_OK(mp_h1_status_text((enum mp_h1_status)s)[0] != 0);
        int http = mp_h1_status_http((enum mp_h1_status)s);
        T_OK(http == 200 || http == 400 || http == 414 || http == 417 || http == 431 ||
             http == 501 || http == 502 || http == 505);
    }
    T_OK(strcmp(mp_h1_status_name(MP_H1_ERR_CL_AND_TE), "cl_and_te") == 0);
    T_EQ(mp_h1_status_http(MP_H1_ERR_TARGET_TOO_LONG), 414);
    T_EQ(mp_h1_status_http(MP_H1_ERR_HEAD_TOO_LARGE), 431);
    T_EQ(mp_h1_status_http(MP_H1_ERR_BAD_VERSION), 505);
    T_EQ(mp_h1_status_http(MP_H1_STATUS_COUNT), 500);
    T_OK(strcmp(mp_h1_status_name(MP_H1_STATUS_COUNT), "unknown") == 0);
}

int main(void)
{
    T_RUN(test_request_line);
    T_RUN(test_fields);
    T_RUN(test_values_keep_their_case);
    T_RUN(test_every_known_name);
    T_RUN(test_body);
    T_RUN(test_connection);
    T_RUN(test_hop_by_hop);
    T_RUN(test_expect);
    T_RUN(test_limit_head_bytes);
    T_RUN(test_limit_fields);
    T_RUN(test_limit_target);
    T_RUN(test_limit_name);
    T_RUN(test_every_cut);
    T_RUN(test_refused_at_once);
    help_free(&p);
    T_RUN(test_drip_is_linear);
    T_RUN(test_status_table);
    return T_DONE();
}
