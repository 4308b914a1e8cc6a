/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/hash.h"
#include "core/fixture.h"
#include "core/header_ops.h"
#include "t.h"

static struct fixture fx;
static struct mp_arena built; /* outlives streams, as the route table's */

static void start(void)
{
    fx_init(&fx);
    mp_arena_init(&built, NULL, 0, &mp_block_source_heap, 4096, 1 << 20);
}
static void finish(void)
{
    mp_arena_fini(&built);
    fx_fini(&fx);
}

/* All live entries: "name=value;...". */
static const char *dump(const struct mp_hdrs *h)
{
    static char text[2000];
    size_t n = 0;
    for (unsigned i = 0; i < h->n; i++) {
        if (h->v[i].name_n > 0) {
            n += (size_t)snprintf(text + n, sizeof(text) - n, MP_STR_FMT "=" MP_STR_FMT ";",
                                  MP_STR_ARG(mp_hdr_name(&h->v[i])),
                                  MP_STR_ARG(mp_hdr_value(&h->v[i])));
        }
    }
    text[n] = '\0';
    return text;
}

static bool same(const char *got, const char *expected)
{
    if (strcmp(got, expected) != 0) {
        printf("# got \"%s\", expected \"%s\"\n", got, expected);
    }
    return strcmp(got, expected) == 0;
}

static const struct mp_header_ops *build(struct mp_conf_header_add *adds, uint32_t n)
{
    struct mp_conf_header_ops conf = {.req_add = adds, .n_req_add = n};
    const struct mp_header_ops *ops = NULL;
    if (mp_is_err(mp_header_ops_build(&conf, &built, NULL, &ops))) {
        abort();
    }
    return ops;
}

/* One addition to a request that has x-a: before[0], before[1] ... */
static const char *one(enum mp_conf_append action, const char *value, bool keep_empty, int before)
{
    struct mp_conf_header_add add = {
        .name = MP_STR("x-a"), .value = S(value), .action = action, .keep_empty = keep_empty};
    const struct mp_header_ops *ops = build(&add, 1);
    struct mp_hdrs h;
    mp_hdrs_init(&h, &fx.arena, 100);
    const char *values[] = {"1", "2"};
    for (int i = 0; i < before; i++) {
        fx_add(&h, "x-a", values[i]);
    }
    fx_add(&h, "x-z", "z");
    if (mp_is_err(mp_header_ops_request(ops, &fx.s, &h))) {
        return "error";
    }
    return dump(&h);
}

static void test_nothing_to_do(void)
{
    start();
    struct mp_conf_header_ops conf = {0};
    const struct mp_header_ops *ops = (const void *)"x";
    T_OK(!mp_is_err(mp_header_ops_build(&conf, &built, NULL, &ops)));
    T_OK(ops == NULL);
    finish();
}

static void test_append_actions(void)
{
    start();
    T_OK(same(one(MP_APPEND_IF_EXISTS_OR_ADD, "n", false, 0), "x-z=z;x-a=n;"));
    T_OK(same(one(MP_APPEND_IF_EXISTS_OR_ADD, "n", false, 2), "x-a=1;x-a=2;x-z=z;x-a=n;"));
    T_OK(same(one(MP_ADD_IF_ABSENT, "n", false, 0), "x-z=z;x-a=n;"));
    T_OK(same(one(MP_ADD_IF_ABSENT, "n", false, 1), "x-a=1;x-z=z;"));
    T_OK(same(one(MP_OVERWRITE_OR_ADD, "n", false, 0), "x-z=z;x-a=n;"));
    T_OK(same(one(MP_OVERWRITE_OR_ADD, "n", false, 2), "x-z=z;x-a=n;"));
    T_OK(same(one(MP_OVERWRITE_IF_EXISTS, "n", false, 0), "x-z=z;"));
    T_OK(same(one(MP_OVERWRITE_IF_EXISTS, "n", false, 2), "x-z=z;x-a=n;"));
    finish();
}

static void test_empty_values(void)
{
    start();
    T_OK(same(one(MP_APPEND_IF_EXISTS_OR_ADD, "", false, 1), "x-a=1;x-z=z;"));
    T_OK(same(one(MP_APPEND_IF_EXISTS_OR_ADD, "", true, 1), "x-a=1;x-z=z;x-a=;"));
    T_OK(same(one(MP_OVERWRITE_OR_ADD, "%REQ(x-none)%", false, 1), "x-a=1;x-z=z;"));
    T_OK(same(one(MP_OVERWRITE_OR_ADD, "%REQ(x-none)%", true, 1), "x-z=z;x-a=;"));
    T_OK(same(one(MP_APPEND_IF_EXISTS_OR_ADD, "  ", false, 0), "x-z=z;"));
    finish();
}

static void test_computed_values(void)
{
    start();
    fx_add(&fx.s.req.hdrs, "x-in", "value");
    T_OK(same(one(MP_OVERWRITE_OR_ADD, "<%REQ(x-in)%>", false, 0), "x-z=z;x-a=<value>;"));
    T_OK(same(one(MP_OVERWRITE_OR_ADD, "%REQ(x-none)% b ", false, 0), "x-z=z;x-a=b;"));
    T_OK(same(one(MP_OVERWRITE_OR_ADD, "100%%", false, 0), "x-z=z;x-a=100%;"));
    T_OK(same(one(MP_OVERWRITE_OR_ADD, "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", false, 0),
              "x-z=z;x-a=10.1.2.3;"));
    finish();
}

/* Values are computed from the headers as they came, not as earlier additions left them. */
static void test_values_see_the_original(void)
{
    start();
    struct mp_hdrs *h = &fx.s.req.hdrs;
    fx_add(h, "x-a", "old");
    struct mp_conf_header_add adds[] = {
        {.name = MP_STR("x-a"), .value = MP_STR("new"), .action = MP_OVERWRITE_OR_ADD},
        {.name = MP_STR("x-b"), .value = MP_STR("was %REQ(x-a)%"), .action = MP_OVERWRITE_OR_ADD}};
    T_OK(!mp_is_err(mp_header_ops_request(build(adds, 2), &fx.s, h)));
    T_OK(same(dump(h), "x-a=new;x-b=was old;"));
    finish();
}

/* Name and value lie as the writer sends them. */
static void test_laid_out_for_the_writer(void)
{
    start();
    fx_add(&fx.s.req.hdrs, "x-in", "v");
    struct mp_conf_header_add adds[] = {
        {.name = MP_STR("x-b"), .value = MP_STR(" literal ")},
        {.name = MP_STR("user-agent"), .value = MP_STR(" %REQ(x-in)% ")}};
    struct mp_hdrs h;
    mp_hdrs_init(&h, &fx.arena, 10);
    T_OK(!mp_is_err(mp_header_ops_request(build(adds, 2), &fx.s, &h)));
    T_EQ(h.n, 2);
    T_OK(memcmp(h.v[0].name, "x-b: literal\r\n", 14) == 0);
    T_OK(memcmp(h.v[1].name, "user-agent: v\r\n", 15) == 0);
    T_EQ(h.v[1].id, MP_HDR_USER_AGENT);
    finish();
}

static void test_removal_comes_first(void)
{
    start();
    struct mp_conf_header_add adds[] = {{.name = MP_STR("x-a"), .value = MP_STR("n")},
                                        {.name = MP_STR("x-b"), .value = MP_STR("%REQ(x-a)%")}};
    struct mp_str removes[] = {MP_STR("x-a"), MP_STR("server"), MP_STR("x-none")};
    struct mp_conf_header_ops conf = {.req_add = adds,
                                      .n_req_add = 2,
                                      .req_remove = removes,
                                      .n_req_remove = 3,
                                      .resp_remove = removes,
                                      .n_resp_remove = 2};
    const struct mp_header_ops *ops;
    T_OK(!mp_is_err(mp_header_ops_build(&conf, &built, NULL, &ops)));
    struct mp_hdrs *h = &fx.s.req.hdrs;
    fx_add(h, "x-a", "1");
    fx_add(h, "server", "s");
    fx_add(h, "x-a", "2");
    T_OK(!mp_is_err(mp_header_ops_request(ops, &fx.s, h)));
    T_OK(same(dump(h), "x-a=n;")); /* the second value was gone before it was computed */
    fx_add(&fx.resp.hdrs, "x-a", "1");
    fx_add(&fx.resp.hdrs, "x-keep", "1");
    T_OK(!mp_is_err(mp_header_ops_response(ops, &fx.s, &fx.resp.hdrs)));
    T_OK(same(dump(&fx.resp.hdrs), "x-keep=1;"));
    finish();
}

static void test_response_additions(void)
{
    start();
    struct mp_conf_header_add adds[] = {
        {.name = MP_STR("x-code"), .value = MP_STR("%RESPONSE_CODE%")}};
    struct mp_conf_header_ops conf = {.resp_add = adds, .n_resp_add = 1};
    const struct mp_header_ops *ops;
    T_OK(!mp_is_err(mp_header_ops_build(&conf, &built, NULL, &ops)));
    fx_respond(&fx, 204);
    T_OK(!mp_is_err(mp_header_ops_request(ops, &fx.s, &fx.s.req.hdrs)));
    T_OK(same(dump(&fx.s.req.hdrs), ""));
    T_OK(!mp_is_err(mp_header_ops_response(ops, &fx.s, &fx.resp.hdrs)));
    T_OK(same(dump(&fx.resp.hdrs), "x-code=204;"));
    finish();
}

static int refused_add(const char *name, const char *value, const char *part)
{
    struct mp_conf_header_add add = {.name = S(name), .value = S(value)};
    struct mp_conf_header_ops conf = {.resp_add = &add, .n_resp_add = 1};
    const struct mp_header_ops *ops = NULL;
    struct mp_diag diag;
    mp_diag_init(&diag, NULL);
    mp_err err = mp_header_ops_build(&conf, &built, &diag, &ops);
    bool named = diag.n == 1 && strstr(diag.items[0].cause, part) != NULL;
    if (!named && diag.n > 0) {
        printf("# cause: %s\n", diag.items[0].cause);
    }
    mp_diag_fini(&diag);
    return named ? err.code : -1;
}

static void test_refused_names(void)
{
    start();
    T_EQ(refused_add(":path", "x", "pseudo-header \":path\""), MP_E_INVALID);
    T_EQ(refused_add("", "x", "not a header name"), MP_E_INVALID);
    T_EQ(refused_add("a b", "x", "not a header name"), MP_E_INVALID);
    T_EQ(refused_add("X-A", "x", "in lower case"), MP_E_INVALID);
    const char *own[] = {"host",    "content-length",   "transfer-encoding", "connection",
                         "te",      "proxy-connection", "keep-alive",        "trailer",
                         "upgrade", "http2-settings"};
    for (size_t i = 0; i < MP_COUNTOF(own); i++) {
        T_EQ(refused_add(own[i], "x", "the proxy sets it itself"), MP_E_UNSUPPORTED);
    }
    T_EQ(refused_add("x-a", "%NONE%", "value of header \"x-a\": unknown operator %NONE%"),
         MP_E_UNSUPPORTED);
    T_EQ(refused_add("x-a", "a\r\nx-b: c", "control characters"), MP_E_INVALID);
    T_EQ(refused_add("x-a", "%START_TIME(%n)%", "unknown time conversion"), MP_E_SYNTAX);
    const char *kept[] = {"host", "content-length", "transfer-encoding", ":status", "A"};
    for (size_t i = 0; i < MP_COUNTOF(kept); i++) {
        struct mp_str name = S(kept[i]);
        struct mp_conf_header_ops conf = {.req_remove = &name, .n_req_remove = 1};
        const struct mp_header_ops *ops = NULL;
        T_OK(mp_is_err(mp_header_ops_build(&conf, &built, NULL, &ops)));
        T_OK(ops == NULL);
    }
    finish();
}

/* All errors are reported, not only the first. */
static void test_every_error_is_reported(void)
{
    start();
    struct mp_conf_header_add adds[] = {{.name = MP_STR("host"), .value = MP_STR("x")},
                                        {.name = MP_STR("x-a"), .value = MP_STR("%")}};
    struct mp_conf_header_ops conf = {
        .req_add = adds, .n_req_add = 2, .resp_add = adds, .n_resp_add = 2};
    struct mp_diag diag;
    mp_diag_init(&diag, NULL);
    const struct mp_header_ops *ops = NULL;
    T_OK(mp_is_err(mp_header_ops_build(&conf, &built, &diag, &ops)));
    T_EQ(diag.errors, 4);
    mp_diag_fini(&diag);
    finish();
}

static void test_limits(void)
{
    start();
    /* The map. */
    struct mp_conf_header_add add = {.name = MP_STR("x-a"), .value = MP_STR("1")};
    const struct mp_header_ops *ops = build(&add, 1);
    for (uint16_t max = 1; max <= 3; max++) {
        struct mp_hdrs h;
        mp_hdrs_init(&h, &fx.arena, max);
        fx_add(&h, "x-b", "1");
        T_EQ(mp_header_ops_request(ops, &fx.s, &h).code, max < 2 ? MP_E_LIMIT : MP_E_OK);
    }
    /* A computed value: 16 KiB are not reached. */
    static char big[16 * 1024];
    memset(big, 'v', sizeof(big));
    struct mp_conf_header_add computed = {.name = MP_STR("x-a"), .value = MP_STR("%REQ(x-in)%")};
    ops = build(&computed, 1);
    for (size_t n = sizeof(big) - 2; n <= sizeof(big); n++) {
        struct mp_hdrs h;
        mp_hdrs_init(&h, &fx.arena, 10);
        mp_hdrs_remove_name(&fx.s.req.hdrs, MP_STR("x-in"));
        T_OK(!mp_is_err(mp_hdrs_add(&fx.s.req.hdrs, MP_STR("x-in"), mp_str(big, n))));
        T_EQ(mp_header_ops_request(ops, &fx.s, &h).code, n < sizeof(big) ? MP_E_OK : MP_E_LIMIT);
    }
    /* The stream's arena. */
    struct mp_arena small;
    char room[256];
    struct mp_str value = mp_str(big, 200);
    mp_hdrs_remove_name(&fx.s.req.hdrs, MP_STR("x-in"));
    T_OK(!mp_is_err(mp_hdrs_add(&fx.s.req.hdrs, MP_STR("x-in"), value)));
    mp_arena_init(&small, room, sizeof(room), NULL, 0, 0);
    struct mp_hdrs h;
    mp_hdrs_init(&h, &small, 10);
    T_EQ(mp_header_ops_request(ops, &fx.s, &h).code, MP_E_LIMIT);
    finish();
}

int main(void)
{
    mp_hash_set_key(1, 2);
    T_RUN(test_nothing_to_do);
    T_RUN(test_append_actions);
    T_RUN(test_empty_values);
    T_RUN(test_computed_values);
    T_RUN(test_values_see_the_original);
    T_RUN(test_laid_out_for_the_writer);
    T_RUN(test_removal_comes_first);
    T_RUN(test_response_additions);
    T_RUN(test_refused_names);
    T_RUN(test_every_error_is_reported);
    T_RUN(test_limits);
    return T_DONE();
}
