/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* 100 requests through the callbacks of each stock filter. The hashes of the token are libcrypto's
 * and do not count. */
#include "callgrind/cg.h"
#include "callgrind/token.h"
#include "unit/filters/filter_rounds.h"

#define REQUESTS 100

static struct filter_rounds rounds;
static char bearer[256];

static void prepare(const struct mp_conf_filter_type *type, const char *conf)
{
    fc_init();
    fc.wall_ns = 1700000000ull * 1000000000;
    memcpy(bearer, "Bearer ", 7);
    cg_make_token(bearer + 7, sizeof(bearer) - 7);
    rounds_init(&rounds, type, conf, bearer);
}
static void prepare_remembered(void)
{
    prepare(&mp_conf_filter_auth, "{\"jwt_secret\": \"secret\"}");
}
static void prepare_auth(void)
{
    prepare(&mp_conf_filter_auth, "{\"jwt_secret\": \"secret\", \"jwt_cache_entries\": 0}");
}
static void prepare_license(void)
{
    prepare(&mp_conf_filter_license,
            "{\"license_key\": \"PENG-1234-5678-90AB-CDEF-WXYZ\", \"is_enterprise\": true}");
}
static void prepare_metrics(void)
{
    prepare(&mp_conf_filter_metrics, "{}");
}

static void run(void)
{
    rounds_run(&rounds, REQUESTS, false);
}

static const struct cg_case cases[] = {
    {"auth_remembered", prepare_remembered, run},
    {"auth", prepare_auth, run},
    {"license", prepare_license, run},
    {"metrics", prepare_metrics, run},
};

int main(int argc, char **argv)
{
    return cg_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
