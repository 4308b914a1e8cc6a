/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Sources, rates, and levels of the overload manager. */
#include "base/hash.h"
#include "core/admit.h"
#include "core/overload.h"
#include "unit/t.h"

#define SECOND 1000000000ull

static struct mp_addr ip(const char *text)
{
    struct mp_addr a = {0};
    if (mp_is_err(mp_addr_parse_ip(mp_str_c(text), 0, &a))) {
        abort();
    }
    return a;
}

static void test_source_connections(void)
{
    const struct mp_conf_accept_limits l = {.source_connections = 3};
    struct mp_sources *t = mp_sources_new();
    struct mp_addr a = ip("10.0.0.1"), b = ip("10.0.0.2");
    for (int i = 0; i < 3; i++) {
        T_OK(mp_sources_enter(t, &a, &l, 1) == MP_SOURCE_OK);
    }
    T_OK(mp_sources_enter(t, &a, &l, 1) == MP_SOURCE_TOO_MANY);
    T_OK(mp_sources_enter(t, &b, &l, 1) == MP_SOURCE_OK);
    mp_sources_gone(t, &a, 1);
    T_OK(mp_sources_enter(t, &a, &l, 1) == MP_SOURCE_OK);
    T_OK(mp_sources_enter(t, &a, &l, 1) == MP_SOURCE_TOO_MANY);
    T_OK(mp_sources_count(t) == 2);
    mp_sources_gone(t, &b, 1);
    for (int i = 0; i < 3; i++) {
        mp_sources_gone(t, &a, 1);
    }
    T_OK(mp_sources_count(t) == 0);
    mp_sources_free(t);
}

static void test_ip6_prefix(void)
{
    const struct mp_conf_accept_limits l = {.source_connections = 1};
    struct mp_sources *t = mp_sources_new();
    struct mp_addr a = ip("2001:db8::1"), same = ip("2001:db8::2"), other = ip("2001:db8:0:1::1");
    T_OK(mp_sources_enter(t, &a, &l, 1) == MP_SOURCE_OK);
    T_OK(mp_sources_enter(t, &same, &l, 1) == MP_SOURCE_TOO_MANY);
    T_OK(mp_sources_enter(t, &other, &l, 1) == MP_SOURCE_OK);
    mp_sources_free(t);
}

static void test_many_sources(void)
{
    const struct mp_conf_accept_limits l = {.source_connections = 2};
    struct mp_sources *t = mp_sources_new();
    struct mp_addr a = ip("10.0.0.0");
    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 5000; i++) {
            a.ip[2] = (uint8_t)(i >> 8);
            a.ip[3] = (uint8_t)i;
            T_OK(mp_sources_enter(t, &a, &l, 1) == MP_SOURCE_OK);
        }
        T_OK(mp_sources_count(t) == 5000);
        for (unsigned i = 0; i < 5000; i++) { /* in another order */
            unsigned k = i * 1777 % 5000;
            a.ip[2] = (uint8_t)(k >> 8);
            a.ip[3] = (uint8_t)k;
            mp_sources_gone(t, &a, 1);
        }
        T_OK(mp_sources_count(t) == 0);
    }
    mp_sources_free(t);
}

static void test_source_rate(void)
{
    const struct mp_conf_accept_limits l = {.source_rate = 10, .source_burst = 3};
    struct mp_sources *t = mp_sources_new();
    struct mp_addr a = ip("10.0.0.1");
    uint64_t now = 1000 * SECOND;
    for (int i = 0; i < 3; i++) {
        T_OK(mp_sources_enter(t, &a, &l, now) == MP_SOURCE_OK);
        mp_sources_gone(t, &a, now);
    }
    T_OK(mp_sources_enter(t, &a, &l, now) == MP_SOURCE_TOO_FAST);
    T_OK(mp_sources_enter(t, &a, &l, now + SECOND / 10 - 1) == MP_SOURCE_TOO_FAST);
    T_OK(mp_sources_enter(t, &a, &l, now + SECOND / 10) == MP_SOURCE_OK);
    T_OK(mp_sources_enter(t, &a, &l, now + SECOND / 10) == MP_SOURCE_TOO_FAST);
    mp_sources_gone(t, &a, now + SECOND);
    T_OK(mp_sources_count(t) == 0); /* its bucket is full again: nothing is to be remembered */
    mp_sources_free(t);
}

/* Sources that came once are forgotten: the table does not grow with them. */
static void test_rate_forgets(void)
{
    const struct mp_conf_accept_limits l = {.source_rate = 100, .source_burst = 1};
    struct mp_sources *t = mp_sources_new();
    struct mp_addr a = ip("10.0.0.0");
    uint64_t now = 1000 * SECOND;
    for (unsigned i = 0; i < 100000; i++) {
        now += SECOND / 1000;
        a.ip[1] = (uint8_t)(i >> 16);
        a.ip[2] = (uint8_t)(i >> 8);
        a.ip[3] = (uint8_t)i;
        T_OK(mp_sources_enter(t, &a, &l, now) == MP_SOURCE_OK);
        mp_sources_gone(t, &a, now);
    }
    T_OK(mp_sources_count(t) < 2000);
    mp_sources_free(t);
}

static void test_rate(void)
{
    uint64_t full = 0, now = SECOND;
    for (int i = 0; i < 5; i++) {
        T_OK(mp_rate_take(&full, 5, 5, now));
    }
    T_OK(!mp_rate_take(&full, 5, 5, now));
    T_OK(mp_rate_take(&full, 5, 5, now + SECOND / 5));
    T_OK(!mp_rate_take(&full, 5, 5, now + SECOND / 5));
    int n = 0;
    for (unsigned ms = 0; ms < 10000; ms++) {
        n += mp_rate_take(&full, 5, 5, now + SECOND + ms * 1000000ull);
    }
    T_OK(n >= 50 && n <= 55);
}

static void test_levels(void)
{
    struct mp_conf_overload c = {0};
    c.triggers[MP_OVERLOAD_STOP_REQUESTS][0] =
        (struct mp_conf_trigger){MP_RESOURCE_MEMORY, 0.9, 0.9};
    c.triggers[MP_OVERLOAD_STOP_REQUESTS][1] = (struct mp_conf_trigger){MP_RESOURCE_FDS, 0.5, 0.7};
    c.n_triggers[MP_OVERLOAD_STOP_REQUESTS] = 2;
    const struct {
        double memory, fds;
        uint32_t level;
    } cases[] = {
        {0, 0, 0},      {0.899, 0.5, 0}, {0.9, 0, MP_OVERLOAD_FULL}, {5, 0, MP_OVERLOAD_FULL},
        {0, 0.4999, 0}, {0, 0.6, 32767}, {0, 0.7, MP_OVERLOAD_FULL}, {0.1, 0.55, 16383},
    };
    for (size_t i = 0; i < MP_COUNTOF(cases); i++) {
        const double p[MP_RESOURCES] = {cases[i].memory, cases[i].fds};
        uint32_t level = mp_overload_level(&c, MP_OVERLOAD_STOP_REQUESTS, p);
        T_OK(level + 1 >= cases[i].level && level <= cases[i].level + 1);
        T_OK(mp_overload_level(&c, MP_OVERLOAD_NO_KEEPALIVE, p) == 0);
    }
}

int main(void)
{
    mp_hash_set_key(1, 2);
    T_RUN(test_source_connections);
    T_RUN(test_ip6_prefix);
    T_RUN(test_many_sources);
    T_RUN(test_source_rate);
    T_RUN(test_rate_forgets);
    T_RUN(test_rate);
    T_RUN(test_levels);
    return T_DONE();
}
