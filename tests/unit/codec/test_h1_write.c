/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "codec/h1_write.h"
#include "unit/codec/codec_help.h"
#include "unit/codec/heads.h"
#include "unit/t.h"

#define S(lit) MP_STR(lit)

static struct mp_arena arena;
static struct mp_hdrs h;
static struct parsed p;

static void fresh(void)
{
    mp_arena_fini(&arena);
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 4096, 1 << 20);
    mp_hdrs_init(&h, &arena, 200);
}

static bool add(const char *name, const char *value)
{
    return !mp_is_err(mp_hdrs_add(&h, mp_str_c(name), mp_str_c(value)));
}

/* Into a buffer of exactly the promised size. */
static bool writes(bool request, const struct mp_h1_head_out *o, const char *want)
{
    size_t size = request ? mp_h1_request_size(o) : mp_h1_response_size(o);
    char *out = malloc(size);
    size_t n = request ? mp_h1_write_request(out, o) : mp_h1_write_response(out, o);
    bool same = n <= size && n == strlen(want) && memcmp(out, want, n) == 0;
    if (!same) {
        printf("# wrote: %.*s\n", (int)n, out);
    }
    free(out);
    return same;
}

static void test_request(void)
{
    fresh();
    T_OK(add("host", "a") && add("x", "") && add("via", "v"));
    struct mp_h1_head_out o = {
        .method = S("GET"), .target = S("/p?q"), .minor = 1, .hdrs = &h, .body = MP_BODY_NONE};
    T_OK(writes(true, &o, "GET /p?q HTTP/1.1\r\nhost: a\r\nx: \r\nvia: v\r\n\r\n"));
    o.write_length_zero = true;
    T_OK(writes(true, &o,
                "GET /p?q HTTP/1.1\r\nhost: a\r\nx: \r\nvia: v\r\ncontent-length: 0\r\n\r\n"));
    T_EQ(mp_hdrs_remove_name(&h, S("x")), 1);
    mp_hdrs_get(&h, MP_HDR_VIA)->flags = MP_HDR_F_HOP;
    o.body = MP_BODY_CHUNKED;
    T_OK(writes(true, &o, "GET /p?q HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"));
    o.body = MP_BODY_LENGTH;
    o.content_length = UINT64_MAX;
    T_OK(writes(true, &o,
                "GET /p?q HTTP/1.1\r\nhost: a\r\ncontent-length: 18446744073709551615\r\n\r\n"));
    fresh();
    o.body = MP_BODY_NONE;
    o.write_length_zero = false;
    T_OK(writes(true, &o, "GET /p?q HTTP/1.1\r\n\r\n"));
}

static void test_connection(void)
{
    fresh();
    struct mp_h1_head_out o = {.method = S("GET"), .target = S("/"), .minor = 1, .hdrs = &h};
    o.conn = MP_H1_CONN_CLOSE;
    T_OK(writes(true, &o, "GET / HTTP/1.1\r\nconnection: close\r\n\r\n"));
    o.conn = MP_H1_CONN_KEEP_ALIVE;
    T_OK(writes(true, &o, "GET / HTTP/1.1\r\nconnection: keep-alive\r\n\r\n"));
    o.conn = MP_H1_CONN_UPGRADE;
    o.upgrade = S("websocket");
    T_OK(writes(true, &o, "GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"));
}

static void test_response(void)
{
    fresh();
    T_OK(add("server", "m"));
    struct mp_h1_head_out o = {.status = 200, .minor = 1, .hdrs = &h, .body = MP_BODY_CLOSE};
    T_OK(writes(false, &o, "HTTP/1.1 200 OK\r\nserver: m\r\n\r\n"));
    o.status = 299;
    T_OK(writes(false, &o, "HTTP/1.1 299 \r\nserver: m\r\n\r\n"));
    o.reason = S("Fine");
    o.body = MP_BODY_LENGTH;
    o.content_length = 10;
    o.conn = MP_H1_CONN_CLOSE;
    T_OK(writes(
        false, &o,
        "HTTP/1.1 299 Fine\r\nserver: m\r\ncontent-length: 10\r\nconnection: close\r\n\r\n"));
    o = (struct mp_h1_head_out){.status = 431, .hdrs = &h, .write_length_zero = true};
    T_OK(writes(
        false, &o,
        "HTTP/1.0 431 Request Header Fields Too Large\r\nserver: m\r\ncontent-length: 0\r\n\r\n"));
    /* The answer to HEAD says the length that GET would have. */
    o = (struct mp_h1_head_out){.status = 200, .minor = 1, .hdrs = &h, .write_length_zero = true};
    o.content_length = 77;
    T_OK(writes(false, &o, "HTTP/1.1 200 OK\r\nserver: m\r\ncontent-length: 77\r\n\r\n"));
}

/* Framing and connection fields of the map never get out, whoever put them there. */
static void test_own_fields_are_skipped(void)
{
    fresh();
    T_OK(add("content-length", "5") && add("a", "1") && add("transfer-encoding", "chunked") &&
         add("connection", "close") && add("keep-alive", "1") && add("b", "2") &&
         add("proxy-connection", "x") && add("upgrade", "h2c") && add("http2-settings", "x"));
    struct mp_h1_head_out o = {.method = S("GET"), .target = S("/"), .minor = 1, .hdrs = &h};
    T_OK(writes(true, &o, "GET / HTTP/1.1\r\na: 1\r\nb: 2\r\n\r\n"));
    /* TE for gRPC is the core's to add; a received one has the flag. */
    T_OK(add("te", "trailers"));
    T_OK(writes(true, &o, "GET / HTTP/1.1\r\na: 1\r\nb: 2\r\nte: trailers\r\n\r\n"));
}

static void test_trailers(void)
{
    fresh();
    T_OK(add("grpc-status", "0") && add("x", "y") && add("content-length", "1"));
    char *out = malloc(mp_h1_trailers_size(&h));
    size_t n = mp_h1_write_trailers(out, &h);
    bool same = n == 24 && memcmp(out, "grpc-status: 0\r\nx: y\r\n\r\n", 24) == 0;
    free(out);
    T_OK(same);
    fresh();
    out = malloc(mp_h1_trailers_size(&h));
    n = mp_h1_write_trailers(out, &h);
    same = n == 2 && memcmp(out, "\r\n", 2) == 0;
    free(out);
    T_OK(same);
}

/* A parsed head with all sorts of blanks is written in one form, whatever runs it is made of. */
static void test_runs(void)
{
    static const char head[] =
        "GET / HTTP/1.1\r\nHost: a\r\nB:1\r\nC: 2\r\nD:  3\r\nE: 4 \r\nF: \r\n"
        "G:\r\nConnection: j\r\nH: 5\r\nI: 6\r\nJ: 7\r\nK: 8\r\n\r\n";
    fresh();
    T_OK(add("first", "x"));
    help_free(&p);
    help_parse(&p, HELP_REQUEST, head, sizeof(head) - 1);
    T_EQ(p.st, MP_H1_OK);
    T_OK(!mp_is_err(mp_hdrs_take_block(&h, p.f, p.n_fields, p.buf, p.used)));
    T_OK(!mp_is_err(mp_hdrs_add_copy(&h, S("L"), S(" 9 "))));
    T_OK(!mp_is_err(mp_hdrs_add_copy(&h, S("m"), S("10"))));
    T_OK(add("n", "11"));
    struct mp_h1_head_out o = {.method = S("GET"), .target = S("/"), .minor = 1, .hdrs = &h};
    T_OK(writes(
        true, &o,
        "GET / HTTP/1.1\r\nfirst: x\r\nhost: a\r\nb: 1\r\nc: 2\r\nd: 3\r\ne: 4\r\nf: \r\ng: \r\n"
        "h: 5\r\ni: 6\r\nk: 8\r\nl: 9\r\nm: 10\r\nn: 11\r\n\r\n"));
    T_EQ(mp_hdrs_remove_name(&h, S("c")), 1);
    T_EQ(mp_hdrs_remove_name(&h, S("host")), 1);
    T_EQ(mp_hdrs_remove_name(&h, S("i")), 1);
    T_OK(!mp_is_err(mp_hdrs_set_copy(&h, S("e"), S("new"))));
    T_OK(writes(true, &o,
                "GET / HTTP/1.1\r\nfirst: x\r\nb: 1\r\nd: 3\r\ne: new\r\nf: \r\ng: \r\n"
                "h: 5\r\nk: 8\r\nl: 9\r\nm: 10\r\nn: 11\r\n\r\n"));
}

/* Neighbours in memory that are not "name: value CRLF" are no run. */
static void test_false_runs(void)
{
    static const char *const tight[] = {
        "aa::bb::cc::dd::", "aa: bb::cc: dd::", "aa: bb\r\ncc::dd\r\n", "aa::bb\r\ncc: dd\r\n",
        "aa: bb\r\ncc: dd\r\n"};
    for (size_t i = 0; i < MP_COUNTOF(tight); i++) {
        fresh();
        T_OK(!mp_is_err(mp_hdrs_add(&h, mp_str(tight[i], 2), mp_str(tight[i] + 4, 2))));
        T_OK(!mp_is_err(mp_hdrs_add(&h, mp_str(tight[i] + 8, 2), mp_str(tight[i] + 12, 2))));
        struct mp_h1_head_out o = {.method = S("GET"), .target = S("/"), .minor = 1, .hdrs = &h};
        T_OK(writes(true, &o, "GET / HTTP/1.1\r\naa: bb\r\ncc: dd\r\n\r\n"));
    }
}

static void test_round_trip_request(void)
{
    static const char *const heads[] = {
        HEAD_SMALL, HEAD_BROWSER,
        "POST / HTTP/1.1\r\nhost:a\r\nContent-Length: 12\r\nX: \t\xe4 \r\nTE: x\r\n\r\n",
        "PUT /y HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n"};
    for (size_t i = 0; i < MP_COUNTOF(heads); i++) {
        fresh();
        help_free(&p);
        help_parse(&p, HELP_REQUEST, heads[i], strlen(heads[i]));
        T_EQ(p.st, MP_H1_OK);
        T_OK(!mp_is_err(mp_hdrs_take_block(&h, p.f, p.n_fields, p.buf, p.used)));
        struct mp_h1_head_out o = {.method = p.rq.method_name,
                                   .target = p.rq.path,
                                   .minor = 1,
                                   .body = p.rq.body,
                                   .content_length = p.rq.content_length,
                                   .conn = p.rq.keep_alive ? 0 : MP_H1_CONN_CLOSE,
                                   .hdrs = &h};
        size_t size = mp_h1_request_size(&o);
        char *out = malloc(size);
        size_t n = mp_h1_write_request(out, &o);
        struct parsed again;
        help_parse(&again, HELP_REQUEST, out, n);
        free(out);
        bool ok = n <= size && again.st == MP_H1_OK && again.used == n &&
                  again.rq.method == p.rq.method && mp_str_eq(again.rq.path, p.rq.path) &&
                  mp_str_eq(again.rq.authority, p.rq.authority) && again.rq.body == p.rq.body &&
                  again.rq.content_length == p.rq.content_length &&
                  again.rq.keep_alive == p.rq.keep_alive;
        /* The end-to-end fields, in order. */
        size_t k = 0;
        for (size_t j = 0; ok && j < p.n_fields; j++) {
            const struct mp_hdr *f = &p.f[j];
            if ((f->flags & MP_HDR_F_HOP) || f->id == MP_HDR_CONTENT_LENGTH) {
                continue;
            }
            ok = k < again.n_fields && mp_str_eq(mp_hdr_name(f), mp_hdr_name(&again.f[k])) &&
                 mp_str_eq(mp_hdr_value(f), mp_hdr_value(&again.f[k]));
            k++;
        }
        help_free(&again);
        T_OK(ok);
    }
}

static void test_round_trip_response(void)
{
    static const enum mp_body_kind kinds[] = {MP_BODY_NONE, MP_BODY_LENGTH, MP_BODY_CHUNKED,
                                              MP_BODY_CLOSE};
    fresh();
    T_OK(add("server", "x") && add("set-cookie", "a=b") && add("set-cookie", "c=d"));
    for (unsigned status = 200; status < 600; status++) {
        if (status == 204 || status == 304) {
            continue;
        }
        struct mp_h1_head_out o = {.status = status, .minor = 1, .hdrs = &h};
        o.body = kinds[status % 4];
        o.content_length = o.body == MP_BODY_LENGTH ? status : 0;
        o.write_length_zero = true;
        o.conn = status & 4 ? MP_H1_CONN_CLOSE : MP_H1_CONN_DEFAULT;
        char out[512];
        T_OK(mp_h1_response_size(&o) <= sizeof(out));
        size_t n = mp_h1_write_response(out, &o);
        help_free(&p);
        help_parse(&p, HELP_RESPONSE, out, n);
        T_EQ(p.st, MP_H1_OK);
        T_EQ(p.used, n);
        T_EQ(p.rs.status, status);
        T_EQ(p.rs.body, o.body);
        T_EQ(p.rs.content_length, o.content_length);
        T_OK(mp_str_eq(p.rs.reason, mp_status_reason(status)));
        T_EQ(p.rs.keep_alive, !(status & 4) && o.body != MP_BODY_CLOSE);
        T_EQ(p.n_fields, 3 + (o.body != MP_BODY_CLOSE) + ((status & 4) != 0));
    }
}

static void test_no_fields(void)
{
    const struct mp_h1_head_out o = {
        .status = 400, .minor = 1, .write_length_zero = true, .conn = MP_H1_CONN_CLOSE};
    char out[512];
    T_OK(mp_h1_response_size(&o) <= sizeof(out));
    struct mp_str got = mp_str(out, mp_h1_write_response(out, &o));
    T_OK(mp_str_eq(got, MP_STR("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n"
                               "connection: close\r\n\r\n")));
}

int main(void)
{
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 1024, 1024);
    T_RUN(test_request);
    T_RUN(test_connection);
    T_RUN(test_response);
    T_RUN(test_no_fields);
    T_RUN(test_own_fields_are_skipped);
    T_RUN(test_trailers);
    T_RUN(test_runs);
    T_RUN(test_false_runs);
    T_RUN(test_round_trip_request);
    T_RUN(test_round_trip_response);
    help_free(&p);
    mp_arena_fini(&arena);
    return T_DONE();
}
