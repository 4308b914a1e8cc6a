/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* 1000 lookups each. A table of 1000 prefixes should cost little more than one of a single route.
 */
#include "base/hash.h"
#include "callgrind/cg.h"
#include "callgrind/route_table.h"

static struct mp_route_table *table;
static struct mp_req_head head;

static void prepare_one(void)
{
    table = rt_prefix_table(0);
    for (int i = 0; i < RT_ROUTES; i++) {
        snprintf(rt_paths[i], sizeof(rt_paths[0]), "/service-%04d/v1/items/%d?page=2", i, i * 7);
    }
}
static void prepare_prefixes(void)
{
    table = rt_prefix_table(RT_ROUTES);
}
static void prepare_hosts(void)
{
    table = rt_host_table();
}

static void need(const struct mp_route *r)
{
    if (r == NULL) {
        abort();
    }
}

static void lookup_paths(void)
{
    head.authority = MP_STR("localhost:10000");
    for (int i = 0; i < RT_ROUTES; i++) {
        head.path = mp_str_c(rt_paths[i]);
        need(mp_route_find(table, &head, 0));
    }
}
static void lookup_hosts(void)
{
    head.path = MP_STR("/index.html");
    for (int i = 0; i < RT_HOSTS; i++) {
        head.authority = mp_str(rt_hosts[i], 26);
        need(mp_route_find(table, &head, 0));
    }
}

static const struct cg_case cases[] = {
    {"one_route", prepare_one, lookup_paths},
    {"prefixes_1000", prepare_prefixes, lookup_paths},
    {"hosts_1000", prepare_hosts, lookup_hosts},
};

int main(int argc, char **argv)
{
    mp_hash_set_key(1, 2);
    return cg_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
