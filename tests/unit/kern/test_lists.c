/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The lists of the guard and its counts by source, without a kernel: a sink stands for the maps. */
#include "unit/t.h"

#include "base/compiler.h"
#include "base/hash.h"
#include "io/addr.h"
#include "kern/lists.h"
#include "kern/sources.h"

static struct {
    uint32_t puts, dels, deny[2], allow[2];
    struct mp_list_entry last;
} seen;

static void on_put(void *arg, bool deny, const struct mp_list_entry *e)
{
    seen.puts++;
    seen.last = *e;
}
static void on_del(void *arg, bool deny, const struct mp_conf_prefix *p)
{
    seen.dels++;
}
static void on_counts(void *arg, const uint32_t deny[2], const uint32_t allow[2])
{
    memcpy(seen.deny, deny, sizeof(seen.deny));
    memcpy(seen.allow, allow, sizeof(seen.allow));
}
static const struct mp_lists_sink sink = {on_put, on_del, on_counts, NULL};

static struct mp_conf_prefix prefix(const char *text)
{
    struct mp_conf_prefix p;
    if (!mp_conf_prefix_parse(text, &p)) {
        printf("# bad prefix %s\n", text);
        exit(1);
    }
    return p;
}

static struct mp_list_entry entry(const char *text, uint64_t expires_ns)
{
    return (struct mp_list_entry){
        .prefix = prefix(text), .origin = MP_LIST_MANUAL, .since_ns = 1, .expires_ns = expires_ns};
}

static bool denied(struct mp_lists *l, const char *host, uint64_t now)
{
    struct mp_conf_prefix p = prefix(host);
    return mp_lists_is_denied(l, &p, now);
}

static void test_prefixes(void)
{
    struct mp_conf_prefix p;
    char text[MP_PREFIX_TEXT];
    static const char *const good[][2] = {
        {"10.1.2.3", "10.1.2.3"},       {"10.1.2.3/8", "10.0.0.0/8"}, {"0.0.0.0/0", "0.0.0.0/0"},
        {"10.1.2.3/31", "10.1.2.2/31"}, {"fd00::1/63", "fd00::/63"},  {"::1", "::1"}};
    for (size_t i = 0; i < MP_COUNTOF(good); i++) {
        T_OK(mp_conf_prefix_parse(good[i][0], &p));
        mp_prefix_format(&p, text);
        T_OK(strcmp(text, good[i][1]) == 0);
    }
    static const char *const bad[] = {"",       "/8", "10.1.2.3/33", "::/129",
                                      "10.1.2", "x",  "10.0.0.0/",   "10.0.0.0/-1"};
    for (size_t i = 0; i < MP_COUNTOF(bad); i++) {
        T_OK(!mp_conf_prefix_parse(bad[i], &p));
    }
}

static void test_longest_is_not_all(void)
{
    struct mp_lists *l = mp_lists_new();
    memset(&seen, 0, sizeof(seen));
    mp_lists_set_sink(l, &sink);
    T_OK(!mp_lists_any_denied(l));
    struct mp_list_entry e = entry("10.0.0.0/8", 100);
    T_OK(!mp_is_err(mp_lists_add(l, true, &e)));
    e = entry("10.1.0.0/16", 50);
    T_OK(!mp_is_err(mp_lists_add(l, true, &e)));
    /* The host's own denial ends first: the kernel, which sees only the longest, gets the last. */
    e = entry("10.1.2.3", 20);
    T_OK(!mp_is_err(mp_lists_add(l, true, &e)));
    T_EQ(seen.last.expires_ns, 100);
    T_OK(denied(l, "10.1.2.3", 10) && denied(l, "10.1.2.3", 60) && !denied(l, "10.1.2.3", 100));
    T_OK(!denied(l, "11.1.2.3", 10));
    T_EQ(mp_lists_sweep(l, 60), 2);
    T_EQ(seen.deny[0], 1);
    T_EQ(seen.dels, 2);
    T_OK(denied(l, "10.1.2.3", 60));
    T_EQ(mp_lists_sweep(l, 100), 1);
    T_OK(!mp_lists_any_denied(l));
    mp_lists_free(l);
}

static void test_holders(void)
{
    struct mp_lists *l = mp_lists_new();
    memset(&seen, 0, sizeof(seen));
    mp_lists_set_sink(l, &sink);
    const struct mp_conf_prefix first[] = {prefix("10.0.0.1"), prefix("fd00::/64")};
    const struct mp_conf_prefix second[] = {prefix("10.0.0.1"), prefix("10.0.0.2")};
    mp_lists_replace(l, true, MP_LIST_CONFIG, first, 2);
    T_OK(denied(l, "10.0.0.1", 1) && denied(l, "fd00::9", 1));
    T_EQ(mp_lists_remove(l, true, &first[0]).code, MP_E_STATE);
    struct mp_list_entry e = entry("10.0.0.1", 10);
    T_OK(!mp_is_err(mp_lists_add(l, true, &e)));
    T_EQ(seen.last.expires_ns, 0); /* the configuration does not end */
    T_OK(denied(l, "10.0.0.1", 20));
    mp_lists_replace(l, true, MP_LIST_CONFIG, second, 2);
    T_OK(denied(l, "10.0.0.1", 20) && denied(l, "10.0.0.2", 20) && !denied(l, "fd00::9", 20));
    T_EQ(mp_lists_sweep(l, 20), 1);
    T_OK(denied(l, "10.0.0.1", 20));
    mp_lists_replace(l, true, MP_LIST_CONFIG, NULL, 0);
    T_OK(!mp_lists_any_denied(l));
    struct mp_conf_prefix nobody = prefix("10.9.9.9");
    T_EQ(mp_lists_remove(l, true, &nobody).code, MP_E_NOT_FOUND);
    mp_lists_free(l);
}

static void test_allow_wins(void)
{
    struct mp_lists *l = mp_lists_new();
    struct mp_list_entry e = entry("10.1.2.3", 0);
    T_OK(!mp_is_err(mp_lists_add(l, true, &e)));
    T_OK(denied(l, "10.1.2.3", 1));
    e = entry("10.0.0.0/8", 0);
    T_OK(!mp_is_err(mp_lists_add(l, false, &e)));
    T_OK(!denied(l, "10.1.2.3", 1));
    T_OK(!mp_is_err(mp_lists_remove(l, false, &e.prefix)));
    T_OK(denied(l, "10.1.2.3", 1));
    mp_lists_free(l);
}

static void test_mapped_addresses(void)
{
    struct mp_addr a;
    struct mp_conf_prefix p;
    T_OK(!mp_is_err(mp_addr_parse(MP_STR("[::ffff:10.1.2.3]:80"), &a)));
    T_OK(mp_prefix_of(&a, &p));
    T_OK(!p.ip6 && p.bits == 32 && p.addr[0] == 10);
    T_OK(!mp_is_err(mp_addr_parse(MP_STR("unix:/x"), &a)));
    T_OK(!mp_prefix_of(&a, &p));
}

static void test_source_windows(void)
{
    struct mp_source_table *t = mp_source_table_new();
    struct mp_conf_prefix a = prefix("10.0.0.1"), b = prefix("10.0.0.2");
    struct mp_conf_prefix x = prefix("fd00::1"), y = prefix("fd00::2");
    for (uint32_t i = 1; i <= 3; i++) {
        T_EQ(mp_source_count(t, &a, 0, 1000 + i, 100, 3), i); /* n-1, n */
    }
    T_EQ(mp_source_count(t, &a, 0, 1004, 100, 3), 1); /* told once, then anew */
    T_EQ(mp_source_count(t, &a, 1, 1004, 100, 3), 1);
    T_EQ(mp_source_count(t, &b, 0, 1004, 100, 3), 1);
    T_EQ(mp_source_count(t, &b, 0, 1104, 100, 3), 2);
    T_EQ(mp_source_count(t, &b, 0, 1105, 100, 3), 1); /* the window is over */
    T_EQ(mp_source_count(t, &x, 0, 1000, 100, 9), 1);
    T_EQ(mp_source_count(t, &y, 0, 1000, 100, 9), 2); /* one /64 */
    /* More sources than there is room for. */
    for (uint32_t i = 0; i < 300000; i++) {
        struct mp_conf_prefix p = {.bits = 32,
                                   .addr = {11, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i}};
        (void)mp_source_count(t, &p, 0, 2000 + i, 100, 9);
    }
    mp_source_table_free(t);
}

int main(void)
{
    mp_hash_set_key(1, 2);
    T_RUN(test_prefixes);
    T_RUN(test_longest_is_not_all);
    T_RUN(test_holders);
    T_RUN(test_allow_wins);
    T_RUN(test_mapped_addresses);
    T_RUN(test_source_windows);
    return T_DONE();
}
