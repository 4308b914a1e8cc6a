/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/grpc.h"

#include "base/hash.h"
#include "conf/model.h"
#include "core/fixture.h"
#include "core/route.h"
#include "core/subst.h"
#include "t.h"

static struct fixture fx;

static void test_content_types(void)
{
    static const struct {
        const char *value;
        bool grpc;
    } rows[] = {{"application/grpc", true},       {"application/grpc+proto", true},
                {"application/grpc;v=1", true},   {"Application/GRPC", true},
                {"application/grpc-web", false},  {"application/grpc-web-text+proto", false},
                {"application/grp", false},       {"application/grpcx", false},
                {"text/application/grpc", false}, {"", false}};
    for (size_t i = 0; i < MP_COUNTOF(rows); i++) {
        fx_init(&fx);
        fx_add(&fx.s.req.hdrs, "content-type", rows[i].value);
        T_EQ(mp_grpc_is_request(&fx.s.req), rows[i].grpc);
        mp_arena_fini(&fx.arena);
    }
    fx_init(&fx);
    T_OK(!mp_grpc_is_request(&fx.s.req));
    mp_arena_fini(&fx.arena);
}

static void test_status_of_http(void)
{
    static const int rows[][2] = {{400, 13}, {401, 16}, {403, 7},  {404, 12}, {429, 14},
                                  {502, 14}, {503, 14}, {504, 14}, {500, 2},  {413, 2},
                                  {431, 2},  {408, 2},  {499, 2}};
    for (size_t i = 0; i < MP_COUNTOF(rows); i++) {
        T_EQ(mp_grpc_status_of_http((unsigned)rows[i][0]), rows[i][1]);
    }
}

static bool same(struct mp_str a, const char *b)
{
    return mp_str_eq(a, S(b));
}

static void test_names(void)
{
    T_OK(same(mp_grpc_status_name(0), "OK") && same(mp_grpc_status_camel(1), "Canceled"));
    T_OK(same(mp_grpc_status_name(16), "UNAUTHENTICATED"));
    T_OK(mp_grpc_status_name(17).n == 0 && mp_grpc_status_name(-1).n == 0);
}

static void test_timeouts(void)
{
    static const struct {
        const char *text;
        uint64_t ms; /* 0: refused */
    } rows[] = {{"1H", 3600000},
                {"2M", 120000},
                {"3S", 3000},
                {"4m", 4},
                {"5000u", 5},
                {"1u", 1},
                {"1001u", 2},
                {"6000000n", 6},
                {"6000001n", 7},
                {"0m", 1},
                {"0n", 1},
                {"99999999H", 359999996400000},
                {"99999999m", 99999999},
                {"100000000m", 0},
                {"m", 0},
                {"", 0},
                {"5", 0},
                {"-1S", 0},
                {"1s", 0},
                {" 1S", 0},
                {"1.5S", 0},
                {"1S ", 0}};
    for (size_t i = 0; i < MP_COUNTOF(rows); i++) {
        uint64_t ms = 0;
        bool ok = mp_grpc_timeout_parse(S(rows[i].text), &ms);
        T_EQ(ok, rows[i].ms > 0);
        T_EQ(ms, rows[i].ms);
    }
}

/* What a route makes of a client's timeout; header: as it goes on. */
static void check_route(const char *asked, uint64_t max, uint64_t offset, uint64_t ms,
                        const char *header)
{
    struct mp_conf_route r = {
        .limits_grpc = true, .max_grpc_timeout_ms = max, .grpc_timeout_offset_ms = offset};
    uint64_t got = 99;
    fx_init(&fx);
    mp_arena_init(&fx.s.arena, NULL, 0, &mp_block_source_heap, 4096, 1 << 20);
    fx_add(&fx.s.req.hdrs, "content-type", "application/grpc");
    if (asked != NULL) {
        fx_add(&fx.s.req.hdrs, "grpc-timeout", asked);
    }
    T_OK(mp_grpc_route_timeout(&fx.s, &r, &got));
    T_EQ(got, ms);
    const struct mp_hdr *e = mp_hdrs_get(&fx.s.req.hdrs, MP_HDR_GRPC_TIMEOUT);
    T_OK(header == NULL ? e == NULL : e != NULL && same(mp_hdr_value(e), header));
    mp_arena_fini(&fx.s.arena);
    mp_arena_fini(&fx.arena);
}

static void test_route_timeouts(void)
{
    check_route("2S", 0, 0, 2000, "2S");
    check_route(NULL, 0, 0, 0, NULL);
    check_route(NULL, 500, 0, 500, "500m");
    check_route("2S", 500, 0, 500, "500m");
    check_route("400m", 500, 0, 400, "400m");
    check_route("2S", 0, 200, 1800, "1800m");
    check_route("100m", 0, 100, 100, "100m"); /* never none */
    check_route("1H", 100000000000, 0, 3600000, "1H");
    check_route(NULL, 100000000, 0, 100000000, "100000S");
    check_route("nonsense", 0, 0, 0, "nonsense");
    struct mp_conf_route off = {0};
    uint64_t ms;
    fx_init(&fx);
    fx_add(&fx.s.req.hdrs, "content-type", "application/grpc");
    T_OK(!mp_grpc_route_timeout(&fx.s, &off, &ms));
    off.limits_grpc = true;
    mp_hdrs_remove_id(&fx.s.req.hdrs, MP_HDR_CONTENT_TYPE);
    T_OK(!mp_grpc_route_timeout(&fx.s, &off, &ms));
    mp_arena_fini(&fx.arena);
}

static void test_local_reply(void)
{
    fx_init(&fx);
    mp_arena_init(&fx.s.arena, NULL, 0, &mp_block_source_heap, 4096, 1 << 20);
    struct mp_resp_head h = {.status = 503, .has_content_length = true, .content_length = 9};
    mp_hdrs_init(&h.hdrs, &fx.s.arena, 100);
    fx_add(&h.hdrs, "content-type", "application/json");
    T_OK(mp_grpc_reply_head(&fx.s, &h, MP_STR("a%b\r\nc\x80 d~\n")));
    T_OK(h.status == 200 && !h.has_content_length && h.hdrs.live == 3);
    T_EQ(mp_grpc_status_of(&h.hdrs), 14);
    T_OK(same(mp_hdr_value(mp_hdrs_get(&h.hdrs, MP_HDR_CONTENT_TYPE)), "application/grpc"));
    T_OK(same(mp_hdr_value(mp_hdrs_get(&h.hdrs, MP_HDR_GRPC_MESSAGE)), "a%25b%0D%0Ac%80 d~%0A"));
    h.status = 504;
    fx.s.grpc_reply = MP_GRPC_DEADLINE_EXCEEDED + 1;
    mp_hdrs_remove_id(&h.hdrs, MP_HDR_GRPC_MESSAGE);
    T_OK(mp_grpc_reply_head(&fx.s, &h, MP_STR("")));
    T_EQ(mp_grpc_status_of(&h.hdrs), 4);
    T_OK(mp_hdrs_get(&h.hdrs, MP_HDR_GRPC_MESSAGE) == NULL);
    mp_arena_fini(&fx.s.arena);
    mp_arena_fini(&fx.arena);
}

static const char *logged(const char *format)
{
    static char text[100];
    const struct mp_subst *f;
    const char *cause;
    if (mp_is_err(mp_subst_compile(S(format), &fx.arena, &f, &cause))) {
        return cause;
    }
    text[mp_subst_eval(f, &fx.s, text, sizeof(text) - 1, false)] = '\0';
    return text;
}

static void test_log(void)
{
    fx_init(&fx);
    T_OK(strcmp(logged("%GRPC_STATUS%"), "-") == 0);
    fx_add(&fx.s.req.hdrs, "content-type", "application/grpc");
    T_OK(strcmp(logged("%GRPC_STATUS%"), "-") == 0);
    fx_respond(&fx, 503);
    T_OK(strcmp(logged("%GRPC_STATUS% %GRPC_STATUS_NUMBER%"), "Unavailable 14") == 0);
    fx_add(&fx.resp.hdrs, "grpc-status", "4");
    T_OK(strcmp(logged("%GRPC_STATUS(SNAKE_STRING)%"), "DEADLINE_EXCEEDED") == 0);
    fx.s.has_resp_trailers = true;
    fx_add(&fx.s.resp_trailers, "grpc-status", "0");
    T_OK(strcmp(logged("%GRPC_STATUS(CAMEL_STRING)%"), "OK") == 0);
    T_OK(strcmp(logged("%GRPC_STATUS(NUMBER)%"), "0") == 0);
    T_OK(strstr(logged("%GRPC_STATUS(other)%"), "is not CAMEL_STRING"));
    mp_hdrs_remove_id(&fx.s.resp_trailers, MP_HDR_GRPC_STATUS);
    fx_add(&fx.s.resp_trailers, "grpc-status", "33");
    T_OK(strcmp(logged("%GRPC_STATUS%"), "33") == 0);
    mp_arena_fini(&fx.arena);
}

int main(void)
{
    mp_hash_set_key(1, 2);
    T_RUN(test_content_types);
    T_RUN(test_status_of_http);
    T_RUN(test_names);
    T_RUN(test_timeouts);
    T_RUN(test_route_timeouts);
    T_RUN(test_local_reply);
    T_RUN(test_log);
    return T_DONE();
}
