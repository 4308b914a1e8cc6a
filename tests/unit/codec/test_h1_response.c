/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What good responses and trailers are read as. */
#include "unit/codec/codec_help.h"
#include "unit/t.h"

static struct parsed p;

static bool eq(struct mp_str s, const char *z)
{
    return mp_str_eq(s, mp_str_c(z));
}

static enum mp_h1_status parse(const char *head, enum mp_method method)
{
    help_free(&p);
    help_feed(&p, HELP_RESPONSE, head, strlen(head), 0, 0, &help_limits, method);
    return p.st;
}

static void test_status_line(void)
{
    static const struct {
        const char *line;
        unsigned status;
        const char *reason;
        int minor;
    } rows[] = {{"HTTP/1.1 200 OK", 200, "OK", 1},
                {"HTTP/1.0 404 Not Found", 404, "Not Found", 0},
                {"HTTP/1.1 200 ", 200, "", 1},
                {"HTTP/1.1 200", 200, "", 1},
                {"HTTP/1.1 299  two\tblanks ", 299, " two\tblanks ", 1},
                {"HTTP/1.1 599 \xe4\xff", 599, "\xe4\xff", 1},
                {"HTTP/1.1 100 Continue", 100, "Continue", 1}};
    for (size_t i = 0; i < MP_COUNTOF(rows); i++) {
        char head[128];
        snprintf(head, sizeof(head), "%s\r\nContent-Length: 0\r\n\r\n", rows[i].line);
        T_EQ(parse(head, MP_METHOD_GET), MP_H1_OK);
        T_EQ(p.rs.status, rows[i].status);
        T_EQ(p.rs.minor, rows[i].minor);
        T_OK(eq(p.rs.reason, rows[i].reason));
        T_EQ(p.used, strlen(head));
    }
}

#define CL "Content-Length: 5\r\n"
#define C0 "Content-Length: 0\r\n"
#define TE "Transfer-Encoding: chunked\r\n"
#define CC "Connection: close\r\n"
#define KA "Connection: keep-alive\r\n"

static void test_body(void)
{
    static const struct {
        enum mp_method method;
        const char *line, *fields;
        enum mp_body_kind body;
        int length; /* -1: none said */
        bool keep_alive;
    } rows[] = {
        {MP_METHOD_GET, "HTTP/1.1 200 OK", CL, MP_BODY_LENGTH, 5, true},
        {MP_METHOD_GET, "HTTP/1.1 200 OK", C0, MP_BODY_NONE, 0, true},
        {MP_METHOD_GET, "HTTP/1.1 200 OK", CL CC, MP_BODY_LENGTH, 5, false},
        {MP_METHOD_GET, "HTTP/1.1 200 OK", TE, MP_BODY_CHUNKED, -1, true},
        {MP_METHOD_GET, "HTTP/1.1 200 OK", "", MP_BODY_CLOSE, -1, false},
        {MP_METHOD_GET, "HTTP/1.1 200 OK", KA, MP_BODY_CLOSE, -1, false},
        {MP_METHOD_GET, "HTTP/1.0 200 OK", CL, MP_BODY_LENGTH, 5, false},
        {MP_METHOD_GET, "HTTP/1.0 200 OK", CL KA, MP_BODY_LENGTH, 5, true},
        {MP_METHOD_GET, "HTTP/1.0 200 OK", KA, MP_BODY_CLOSE, -1, false},
        {MP_METHOD_HEAD, "HTTP/1.1 200 OK", CL, MP_BODY_NONE, 5, true},
        {MP_METHOD_HEAD, "HTTP/1.1 200 OK", TE, MP_BODY_NONE, -1, true},
        {MP_METHOD_HEAD, "HTTP/1.1 200 OK", "", MP_BODY_NONE, -1, true},
        {MP_METHOD_GET, "HTTP/1.1 304 Not Modified", CL, MP_BODY_NONE, 5, true},
        {MP_METHOD_GET, "HTTP/1.1 304 Not Modified", TE, MP_BODY_NONE, -1, true},
        {MP_METHOD_GET, "HTTP/1.1 204 No Content", "", MP_BODY_NONE, -1, true},
        {MP_METHOD_GET, "HTTP/1.1 204 No Content", C0, MP_BODY_NONE, 0, true},
        {MP_METHOD_GET, "HTTP/1.1 204 No Content", CL, MP_BODY_NONE, 5, false},
        {MP_METHOD_GET, "HTTP/1.1 204 No Content", TE, MP_BODY_NONE, -1, false},
        {MP_METHOD_GET, "HTTP/1.1 205 Reset Content", C0, MP_BODY_NONE, 0, true},
        {MP_METHOD_GET, "HTTP/1.1 205 Reset Content", TE, MP_BODY_CHUNKED, -1, true},
        {MP_METHOD_GET, "HTTP/1.1 100 Continue", "", MP_BODY_NONE, -1, true},
        {MP_METHOD_GET, "HTTP/1.1 101 Switching", "", MP_BODY_NONE, -1, true},
        {MP_METHOD_GET, "HTTP/1.1 103 Early Hints", C0, MP_BODY_NONE, 0, true},
        {MP_METHOD_CONNECT, "HTTP/1.1 200 OK", "", MP_BODY_NONE, -1, true},
        {MP_METHOD_CONNECT, "HTTP/1.1 200 OK", CL, MP_BODY_NONE, 5, true},
        {MP_METHOD_CONNECT, "HTTP/1.1 200 OK", TE, MP_BODY_NONE, -1, true},
        {MP_METHOD_CONNECT, "HTTP/1.1 299 OK", "", MP_BODY_NONE, -1, true},
        {MP_METHOD_CONNECT, "HTTP/1.1 300 X", CL, MP_BODY_LENGTH, 5, true},
        {MP_METHOD_CONNECT, "HTTP/1.1 407 X", TE, MP_BODY_CHUNKED, -1, true},
        {MP_METHOD_POST, "HTTP/1.1 500 X", "", MP_BODY_CLOSE, -1, false},
    };
    for (size_t i = 0; i < MP_COUNTOF(rows); i++) {
        char head[256];
        snprintf(head, sizeof(head), "%s\r\n%s\r\n", rows[i].line, rows[i].fields);
        T_EQ(parse(head, rows[i].method), MP_H1_OK);
        T_EQ(p.rs.body, rows[i].body);
        T_EQ(p.rs.has_content_length, rows[i].length >= 0);
        T_EQ(p.rs.content_length, rows[i].length >= 0 ? rows[i].length : 0);
        T_EQ(p.rs.keep_alive, rows[i].keep_alive);
    }
}

static void test_upgrade(void)
{
    static const char fields[] = "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    char head[128];
    snprintf(head, sizeof(head), "HTTP/1.1 101 X\r\n%s", fields);
    T_EQ(parse(head, MP_METHOD_GET), MP_H1_OK);
    T_OK(p.rs.upgrade);
    T_OK(p.f[0].flags & MP_HDR_F_HOP);
    snprintf(head, sizeof(head), "HTTP/1.1 426 X\r\n%s", fields);
    T_EQ(parse(head, MP_METHOD_GET), MP_H1_OK);
    T_OK(!p.rs.upgrade);
    T_EQ(parse("HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n", MP_METHOD_GET), MP_H1_OK);
    T_OK(!p.rs.upgrade);
    T_EQ(parse("HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", MP_METHOD_GET), 0);
    T_OK(!p.rs.upgrade);
}

static void test_hop_by_hop(void)
{
    T_EQ(parse("HTTP/1.1 200 OK\r\n" C0
               "X-A: 1\r\nConnection: x-a\r\nX-B: 1\r\nKeep-Alive: x\r\n\r\n",
               MP_METHOD_GET),
         MP_H1_OK);
    static const bool hop[] = {false, true, true, false, true};
    T_EQ(p.n_fields, MP_COUNTOF(hop));
    for (size_t i = 0; i < MP_COUNTOF(hop); i++) {
        T_EQ(p.f[i].flags, hop[i] ? MP_HDR_F_HOP : 0);
    }
}

static void test_every_cut(void)
{
    static const char *const good[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: x\r\nSet-Cookie: a=b; path=/\r\n\r\n",
        "HTTP/1.1 200\r\n\r\n",
        "HTTP/1.0 204 \r\n\r\n",
    };
    for (size_t i = 0; i < MP_COUNTOF(good); i++) {
        size_t n = strlen(good[i]);
        T_EQ(parse(good[i], MP_METHOD_GET), MP_H1_OK);
        for (size_t cut = 1; cut < n; cut++) {
            struct parsed part;
            help_feed(&part, HELP_RESPONSE, good[i], cut, 0, 0, &help_limits, MP_METHOD_GET);
            enum mp_h1_status st = part.st;
            help_free(&part);
            T_EQ(st, MP_H1_MORE);
            help_feed(&part, HELP_RESPONSE, good[i], n, cut, 0, &help_limits, MP_METHOD_GET);
            bool same = help_same(&p, &part, HELP_RESPONSE);
            help_free(&part);
            T_OK(same);
            help_feed(&part, HELP_RESPONSE, good[i], n, 0, cut, &help_limits, MP_METHOD_GET);
            same = help_same(&p, &part, HELP_RESPONSE);
            help_free(&part);
            T_OK(same);
        }
    }
}

static void test_limits(void)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\n\r\n";
    uint32_t n = sizeof(head) - 1;
    for (uint32_t max = 1; max <= n + 1; max++) {
        struct mp_h1_limits l = {max, 9, 0};
        help_free(&p);
        help_feed(&p, HELP_RESPONSE, head, n, 0, 0, &l, MP_METHOD_GET);
        T_EQ(p.st, max < n ? MP_H1_ERR_HEAD_TOO_LARGE : MP_H1_OK);
    }
    for (uint16_t max = 0; max <= 3; max++) {
        struct mp_h1_limits l = {999, max, 0};
        help_free(&p);
        help_feed(&p, HELP_RESPONSE, head, n, 0, 0, &l, MP_METHOD_GET);
        T_EQ(p.st, max < 2 ? MP_H1_ERR_TOO_MANY_FIELDS : MP_H1_OK);
    }
}

/* ---- trailers ---- */

static void test_trailers(void)
{
    static const char in[] =
        "Grpc-Status: 0\r\nX-Checksum: ab\r\nContent-Length: 5\r\n"
        "Transfer-Encoding: chunked\r\nHost: x\r\nCookie: x\r\nETag: x\r\n"
        "Cache-Control: x\r\nX-Forwarded-Anything: x\r\nSec-Fetch: x\r\n"
        "Connection: close\r\nGrpc-Message: m\r\nDigest: d\r\nVary: x\r\n\r\nrest";
    help_free(&p);
    help_parse(&p, HELP_TRAILERS, in, sizeof(in) - 1);
    T_EQ(p.st, MP_H1_OK);
    T_EQ(p.used, sizeof(in) - 1 - 4);
    static const char *const kept[] = {"grpc-status", "x-checksum", "grpc-message", "digest"};
    T_EQ(p.n_fields, MP_COUNTOF(kept));
    for (size_t i = 0; i < MP_COUNTOF(kept); i++) {
        T_OK(eq(mp_hdr_name(&p.f[i]), kept[i]));
    }
    for (size_t cut = 1; cut < p.used; cut++) {
        struct parsed part;
        help_feed(&part, HELP_TRAILERS, in, cut, 0, 0, &help_limits, MP_METHOD_GET);
        enum mp_h1_status st = part.st;
        help_free(&part);
        T_EQ(st, MP_H1_MORE);
        help_feed(&part, HELP_TRAILERS, in, sizeof(in) - 1, cut, 0, &help_limits, MP_METHOD_GET);
        bool same = help_same(&p, &part, HELP_TRAILERS);
        help_free(&part);
        T_OK(same);
    }
}

static void test_no_trailers(void)
{
    help_free(&p);
    help_parse(&p, HELP_TRAILERS, "\r\nGET", 5);
    T_EQ(p.st, MP_H1_OK);
    T_EQ(p.used, 2);
    T_EQ(p.n_fields, 0);
    help_free(&p);
    help_feed(&p, HELP_TRAILERS, "\r\n", 2, 0, 1, &help_limits, MP_METHOD_GET);
    T_EQ(p.st, MP_H1_OK);
    T_EQ(p.used, 2);
}

/* Dropped fields count too. */
static void test_trailer_limits(void)
{
    static const char in[] = "Host: a\r\nHost: b\r\nX: c\r\n\r\n";
    for (uint16_t max = 2; max <= 4; max++) {
        struct mp_h1_limits l = {999, max, 0};
        help_free(&p);
        help_feed(&p, HELP_TRAILERS, in, sizeof(in) - 1, 0, 0, &l, MP_METHOD_GET);
        T_EQ(p.st, max < 3 ? MP_H1_ERR_TOO_MANY_FIELDS : MP_H1_OK);
    }
    for (uint32_t max = 1; max <= sizeof(in); max++) {
        struct mp_h1_limits l = {max, 9, 0};
        help_free(&p);
        help_feed(&p, HELP_TRAILERS, in, sizeof(in) - 1, 0, 0, &l, MP_METHOD_GET);
        T_EQ(p.st, max < sizeof(in) - 1 ? MP_H1_ERR_HEAD_TOO_LARGE : MP_H1_OK);
    }
}

int main(void)
{
    T_RUN(test_status_line);
    T_RUN(test_body);
    T_RUN(test_upgrade);
    T_RUN(test_hop_by_hop);
    T_RUN(test_every_cut);
    T_RUN(test_limits);
    T_RUN(test_trailers);
    T_RUN(test_no_trailers);
    T_RUN(test_trailer_limits);
    help_free(&p);
    return T_DONE();
}
