/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "codec/h1_parse.h"
#include "codec/hdr.h"
#include "unit/codec/codec_help.h"
#include "unit/t.h"

#define S(lit) MP_STR(lit)

static struct mp_arena arena;
static struct mp_hdrs h;

static void fresh(uint16_t max, size_t arena_max)
{
    mp_arena_fini(&arena);
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 1024, arena_max);
    mp_hdrs_init(&h, &arena, max);
}

static bool is(const struct mp_hdr *e, const char *name, const char *value)
{
    return e != NULL && mp_str_eq(mp_hdr_name(e), mp_str_c(name)) &&
           mp_str_eq(mp_hdr_value(e), mp_str_c(value));
}

static bool ok(mp_err e)
{
    return !mp_is_err(e);
}

/* The counts follow from the entries. */
static bool consistent(void)
{
    size_t live = 0, bytes = 0;
    for (size_t i = 0; i < h.n; i++) {
        if (h.v[i].name_n == 0) {
            continue;
        }
        live++;
        bytes += (size_t)h.v[i].name_n + h.v[i].value_n;
        if (!mp_hdrs_maybe(&h, (enum mp_hdr_id)h.v[i].id) ||
            h.v[i].id != mp_hdr_id_of(h.v[i].name, h.v[i].name_n)) {
            return false;
        }
    }
    return live == h.live && bytes == h.bytes && h.n <= h.cap && h.live <= h.max;
}

static void test_add_get_remove(void)
{
    fresh(100, 65536);
    T_OK(mp_hdrs_get(&h, MP_HDR_HOST) == NULL);
    T_OK(!mp_hdrs_maybe(&h, MP_HDR_HOST));
    T_OK(ok(mp_hdrs_add(&h, S("host"), S("a"))));
    T_OK(ok(mp_hdrs_add(&h, S("x-one"), S("1"))));
    T_OK(ok(mp_hdrs_add_id(&h, MP_HDR_VIA, S("v1"))));
    T_OK(ok(mp_hdrs_add(&h, S("x-one"), S("2"))));
    T_OK(ok(mp_hdrs_add(&h, S("x-two"), S(""))));
    T_OK(ok(mp_hdrs_add_id(&h, MP_HDR_VIA, S("v2"))));
    T_OK(consistent());
    T_EQ(h.live, 6);
    T_OK(is(mp_hdrs_get(&h, MP_HDR_HOST), "host", "a"));
    T_OK(mp_hdrs_get(&h, MP_HDR_OTHER) == NULL);
    struct mp_hdr *e = mp_hdrs_find(&h, S("x-one"));
    T_OK(is(e, "x-one", "1"));
    e = mp_hdrs_next_same(&h, e);
    T_OK(is(e, "x-one", "2"));
    T_OK(mp_hdrs_next_same(&h, e) == NULL);
    e = mp_hdrs_get(&h, MP_HDR_VIA);
    T_OK(is(e, "via", "v1"));
    mp_hdrs_remove(&h, e);
    mp_hdrs_remove(&h, e); /* twice is once */
    T_OK(consistent());
    T_OK(is(mp_hdrs_get(&h, MP_HDR_VIA), "via", "v2"));
    T_EQ(mp_hdrs_remove_id(&h, MP_HDR_VIA), 1);
    T_EQ(mp_hdrs_remove_id(&h, MP_HDR_VIA), 0);
    T_OK(mp_hdrs_get(&h, MP_HDR_VIA) == NULL);
    T_OK(mp_hdrs_maybe(&h, MP_HDR_VIA)); /* removed since */
    T_EQ(mp_hdrs_remove_name(&h, S("x-one")), 2);
    T_EQ(mp_hdrs_remove_name(&h, S("x-none")), 0);
    T_EQ(mp_hdrs_remove_name(&h, S("")), 0);
    T_EQ(mp_hdrs_remove_id(&h, MP_HDR_OTHER), 0);
    T_OK(mp_hdrs_find(&h, S("x-one")) == NULL);
    T_OK(mp_hdrs_find(&h, S("")) == NULL);
    T_OK(is(mp_hdrs_find(&h, S("x-two")), "x-two", ""));
    T_EQ(h.live, 2);
    T_EQ(h.n, 6); /* places are stable */
    T_OK(consistent());
}

static void test_add_refuses(void)
{
    fresh(100, 65536);
    static const struct {
        const char *name, *value;
        size_t name_n, value_n;
    } bad[] = {{"", "x", 0, 1},      {"X", "x", 1, 1},      {"a b", "x", 3, 1},
               {"a:", "x", 2, 1},    {"a\0", "x", 2, 1},    {"a\r", "x", 2, 1},
               {"a\xe4", "x", 2, 1}, {"a", "x\ry", 1, 3},   {"a", "x\ny", 1, 3},
               {"a", "x\0y", 1, 3},  {"a", "x\x7fy", 1, 3}, {"a", "\x01", 1, 1},
               {":path", "/", 5, 1}, {"a", "x\r\n", 1, 3},  {"a", "\x0b", 1, 1}};
    for (size_t i = 0; i < MP_COUNTOF(bad); i++) {
        struct mp_str name = mp_str(bad[i].name, bad[i].name_n);
        struct mp_str value = mp_str(bad[i].value, bad[i].value_n);
        T_EQ(mp_hdrs_add(&h, name, value).code, MP_E_INVALID);
        bool upper = bad[i].name[0] == 'X';
        T_EQ(mp_hdrs_add_copy(&h, name, value).code, upper ? MP_E_OK : MP_E_INVALID);
        T_EQ(mp_hdrs_set_copy(&h, name, value).code, upper ? MP_E_OK : MP_E_INVALID);
        if (value.n > 1) {
            T_EQ(mp_hdrs_add_id(&h, MP_HDR_VIA, value).code, MP_E_INVALID);
            T_EQ(mp_hdrs_set_id(&h, MP_HDR_VIA, value).code, MP_E_INVALID);
        }
    }
    T_EQ(h.live, 1);
    T_OK(consistent());
}

static void test_values_are_trimmed(void)
{
    fresh(100, 65536);
    T_OK(ok(mp_hdrs_add(&h, S("a"), S(" \t x y\t "))));
    T_OK(ok(mp_hdrs_add_copy(&h, S("B"), S("\tz "))));
    T_OK(ok(mp_hdrs_set_id(&h, MP_HDR_VIA, S("   "))));
    T_OK(ok(mp_hdrs_add(&h, S("c"), mp_str(NULL, 0))));
    T_OK(is(&h.v[0], "a", "x y"));
    T_OK(is(&h.v[1], "b", "z"));
    T_OK(is(&h.v[2], "via", ""));
    T_OK(is(&h.v[3], "c", ""));
    T_OK(consistent());
}

static void test_copy_owns_its_bytes(void)
{
    fresh(100, 65536);
    char name[] = "X-Name", value[] = "value";
    T_OK(ok(mp_hdrs_add_copy(&h, mp_str_c(name), mp_str_c(value))));
    memset(name, '!', sizeof(name));
    memset(value, '!', sizeof(value));
    T_OK(is(&h.v[0], "x-name", "value"));
}

static void test_set(void)
{
    fresh(100, 65536);
    T_OK(ok(mp_hdrs_add(&h, S("x"), S("1"))));
    T_OK(ok(mp_hdrs_add(&h, S("y"), S("2"))));
    T_OK(ok(mp_hdrs_add(&h, S("x"), S("3"))));
    h.v[0].flags = MP_HDR_F_HOP;
    T_OK(ok(mp_hdrs_set_copy(&h, S("X"), S("longer"))));
    T_OK(is(&h.v[0], "x", "longer"));
    T_EQ(h.v[0].flags, 0);
    T_EQ(h.live, 2);
    T_OK(consistent());
    T_OK(ok(mp_hdrs_set_copy(&h, S("new"), S("n"))));
    T_EQ(h.live, 3);
    /* The new value may be the old one. */
    T_OK(ok(mp_hdrs_set_copy(&h, S("x"), mp_hdr_value(&h.v[0]))));
    T_OK(is(&h.v[0], "x", "longer"));
    T_OK(ok(mp_hdrs_set_id(&h, MP_HDR_SERVER, S("s1"))));
    T_OK(ok(mp_hdrs_add_clean(&h, MP_HDR_SERVER, S("server"), S("s2"), 0)));
    T_OK(ok(mp_hdrs_set_id(&h, MP_HDR_SERVER, S("s3"))));
    struct mp_hdr *e = mp_hdrs_get(&h, MP_HDR_SERVER);
    T_OK(is(e, "server", "s3"));
    T_OK(mp_hdrs_next_same(&h, e) == NULL);
    T_OK(consistent());
}

static void test_limit_of_entries(void)
{
    fresh(3, 65536);
    T_OK(ok(mp_hdrs_add(&h, S("a"), S("1"))));
    T_OK(ok(mp_hdrs_add(&h, S("b"), S("1"))));
    T_OK(ok(mp_hdrs_add(&h, S("c"), S("1"))));
    T_EQ(mp_hdrs_add(&h, S("d"), S("1")).code, MP_E_LIMIT);
    T_EQ(mp_hdrs_add_id(&h, MP_HDR_VIA, S("1")).code, MP_E_LIMIT);
    T_EQ(mp_hdrs_add_clean(&h, MP_HDR_VIA, S("via"), S("1"), 0).code, MP_E_LIMIT);
    T_EQ(mp_hdrs_add_copy(&h, S("d"), S("1")).code, MP_E_LIMIT);
    T_EQ(mp_hdrs_set_copy(&h, S("d"), S("1")).code, MP_E_LIMIT);
    T_OK(ok(mp_hdrs_set_copy(&h, S("c"), S("2")))); /* replaces */
    T_EQ(mp_hdrs_remove_name(&h, S("a")), 1);
    T_OK(ok(mp_hdrs_add(&h, S("d"), S("1")))); /* the live ones count */
    T_OK(consistent());
}

static void test_limit_of_arena(void)
{
    fresh(1000, 2048);
    int added = 0;
    mp_err e = MP_OK;
    while (added < 1000 && ok(e = mp_hdrs_add_copy(&h, S("name"), S("0123456789")))) {
        added++;
        T_OK(consistent());
    }
    T_EQ(e.code, MP_E_LIMIT);
    T_OK(added > 10 && added < 200);
    T_OK(consistent());
    T_OK(is(&h.v[0], "name", "0123456789"));
}

static void test_places_run_out(void)
{
    fresh(UINT16_MAX, 64u << 20);
    for (size_t i = 0; i < UINT16_MAX; i++) {
        T_OK(ok(mp_hdrs_add(&h, S("a"), S("1"))));
        mp_hdrs_remove(&h, &h.v[h.n - 1]);
    }
    T_EQ(mp_hdrs_add(&h, S("a"), S("1")).code, MP_E_LIMIT);
    T_EQ(h.live, 0);
    T_EQ(h.n, UINT16_MAX);
}

static void test_take_block(void)
{
    static const char head[] =
        "GET /p HTTP/1.1\r\nHost: a.b\r\nX-Y:1\r\nAccept: \r\nX-Y:  2 \r\n\r\n";
    struct parsed p;
    fresh(6, 65536);
    T_OK(ok(mp_hdrs_add(&h, S("first"), S("f"))));
    help_parse(&p, HELP_REQUEST, head, sizeof(head) - 1);
    T_EQ(p.st, MP_H1_OK);
    T_EQ(p.n_fields, 4);
    mp_err e = mp_hdrs_take_block(&h, p.f, p.n_fields, p.buf, p.used);
    help_free(&p); /* nothing points there any more */
    T_OK(ok(e));
    T_EQ(h.live, 5);
    T_OK(is(&h.v[0], "first", "f"));
    T_OK(is(&h.v[1], "host", "a.b"));
    T_OK(is(&h.v[2], "x-y", "1"));
    T_OK(is(&h.v[3], "accept", ""));
    T_OK(is(&h.v[4], "x-y", "2"));
    T_OK(consistent());
    T_OK(mp_hdrs_maybe(&h, MP_HDR_HOST));
    T_OK(mp_hdrs_maybe(&h, MP_HDR_ACCEPT));
    T_OK(!mp_hdrs_maybe(&h, MP_HDR_COOKIE));
    T_OK(is(mp_hdrs_next_same(&h, mp_hdrs_find(&h, S("x-y"))), "x-y", "2"));
}

static void test_take_block_limits(void)
{
    static const char head[] = "GET / HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n";
    struct parsed p;
    help_parse(&p, HELP_REQUEST, head, sizeof(head) - 1);
    fresh(1, 65536);
    T_EQ(mp_hdrs_take_block(&h, p.f, 2, p.buf, p.used).code, MP_E_LIMIT);
    T_EQ(h.live, 0);
    fresh(2, 65536);
    T_OK(ok(mp_hdrs_take_block(&h, p.f, 2, p.buf, p.used)));
    T_EQ(mp_hdrs_take_block(&h, p.f, 1, p.buf, p.used).code, MP_E_LIMIT);
    T_OK(ok(mp_hdrs_take_block(&h, p.f, 0, p.buf, p.used)));
    T_OK(consistent());
    fresh(2, 16); /* no room for the entries */
    T_EQ(mp_hdrs_take_block(&h, p.f, 2, p.buf, p.used).code, MP_E_LIMIT);
    T_EQ(h.live, 0);
    T_OK(consistent());
    help_free(&p);
}

static void test_list_has(void)
{
    fresh(10, 65536);
    T_OK(!mp_hdrs_list_has(&h, MP_HDR_TE, S("trailers")));
    T_OK(ok(mp_hdrs_add_id(&h, MP_HDR_TE, S("gzip;q=1,, Trailers\t,x"))));
    T_OK(ok(mp_hdrs_add_id(&h, MP_HDR_TE, S("last"))));
    T_OK(mp_hdrs_list_has(&h, MP_HDR_TE, S("trailers")));
    T_OK(mp_hdrs_list_has(&h, MP_HDR_TE, S("LAST")));
    T_OK(mp_hdrs_list_has(&h, MP_HDR_TE, S("x")));
    T_OK(!mp_hdrs_list_has(&h, MP_HDR_TE, S("gzip")));
    T_OK(!mp_hdrs_list_has(&h, MP_HDR_TE, S("trailer")));
    T_OK(!mp_hdrs_list_has(&h, MP_HDR_VIA, S("x")));
}

int main(void)
{
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 1024, 1024);
    T_RUN(test_add_get_remove);
    T_RUN(test_add_refuses);
    T_RUN(test_values_are_trimmed);
    T_RUN(test_copy_owns_its_bytes);
    T_RUN(test_set);
    T_RUN(test_limit_of_entries);
    T_RUN(test_limit_of_arena);
    T_RUN(test_places_run_out);
    T_RUN(test_take_block);
    T_RUN(test_take_block_limits);
    T_RUN(test_list_has);
    mp_arena_fini(&arena);
    return T_DONE();
}
