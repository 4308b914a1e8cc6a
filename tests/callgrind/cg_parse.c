/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Instruction counts of the HTTP/1 codec: heads of a load generator (100 bytes) and a browser (492
 * bytes), a response, chunks. */
#include "callgrind/cg.h"
#include "codec/chunk.h"
#include "codec/h1_parse.h"
#include "codec/h1_write.h"
#include "codec/uri.h"
#include "unit/codec/heads.h"

#define RESPONSE                                                                                   \
    "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: origin\r\n"                 \
    "Content-Type: text/html\r\nContent-Length: 1024\r\nLast-Modified: Sat, 05 Nov 1994 10:00:00 " \
    "GMT\r\nConnection: keep-alive\r\nETag: \"54b-400\"\r\nAccept-Ranges: bytes\r\n\r\n"
#define CHUNKS "1a\r\nabcdefghijklmnopqrstuvwxyz\r\n5;x=y\r\nhello\r\n0\r\n"

static const struct mp_h1_limits limits = {60 * 1024, 100, 32 * 1024 - 1};
static struct mp_hdr fields[100];
static struct mp_h1_request rq;
static char buf[4096];

static void expect(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void parse(const char *head, size_t n)
{
    size_t scanned = 0;
    memcpy(buf, head, n); /* names are lowered in place: each round sees what a peer sends */
    expect(mp_h1_parse_request(buf, n, &scanned, &limits, fields, &rq) == MP_H1_OK);
}

static void parse_small(void)
{
    parse(HEAD_SMALL, sizeof(HEAD_SMALL) - 1);
}

static void parse_browser(void)
{
    parse(HEAD_BROWSER, sizeof(HEAD_BROWSER) - 1);
}

/* What a proxied request costs in the codec: parse, copy into the header map, write. */
static void forward_browser(void)
{
    static char first[8192], out[4096];
    struct mp_arena arena;
    struct mp_hdrs h;
    parse_browser();
    mp_arena_init(&arena, first, sizeof(first), &mp_block_source_heap, 4096, 65536);
    mp_hdrs_init(&h, &arena, 100);
    expect(!mp_is_err(mp_hdrs_take_block(&h, fields, rq.n_fields, buf, rq.head_n)));
    const struct mp_h1_head_out o = {
        .method = rq.method_name, .target = rq.path, .minor = 1, .hdrs = &h};
    expect(mp_h1_request_size(&o) <= sizeof(out));
    expect(mp_h1_write_request(out, &o) > 0);
    mp_arena_fini(&arena);
}

static void parse_response(void)
{
    struct mp_h1_response r;
    size_t scanned = 0;
    memcpy(buf, RESPONSE, sizeof(RESPONSE) - 1);
    expect(mp_h1_parse_response(buf, sizeof(RESPONSE) - 1, &scanned, &limits, MP_METHOD_GET, fields,
                                &r) == MP_H1_OK);
}

static void decode_chunks(void)
{
    struct mp_chunk_dec d;
    size_t payload, used;
    memcpy(buf, CHUNKS, sizeof(CHUNKS) - 1);
    mp_chunk_dec_init(&d);
    expect(mp_chunk_decode(&d, buf, sizeof(CHUNKS) - 1, &payload, &used) == MP_H1_OK);
    expect(payload == 31);
}

static void normal_path(void)
{
    static const struct mp_uri_policy policy = {.normalize = true};
    char out[64];
    struct mp_str ret;
    expect(mp_uri_normalize(&policy, MP_STR("/products/catalogue/summer?page=2"), out, &ret) ==
           MP_URI_SAME);
}

static void odd_path(void)
{
    static const struct mp_uri_policy policy = {.normalize = true, .merge_slashes = true};
    char out[64];
    struct mp_str ret;
    expect(mp_uri_normalize(&policy, MP_STR("/products//./x/../%63atalogue%2f?page=2"), out,
                            &ret) == MP_URI_CHANGED);
}

int main(int argc, char **argv)
{
    static const struct cg_case cases[] = {
        {"parse_small", NULL, parse_small},
        {"parse_browser", NULL, parse_browser},
        {"forward_browser", NULL, forward_browser},
        {"parse_response", NULL, parse_response},
        {"decode_chunks", NULL, decode_chunks},
        {"normal_path", NULL, normal_path},
        {"odd_path", NULL, odd_path},
    };
    return cg_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
