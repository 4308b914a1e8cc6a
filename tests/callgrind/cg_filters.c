/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* 100 requests through the callbacks of each stock filter. The hashes of the token are libcrypto's
 * and do not count. */
#include "callgrind/cg.h"
#include "filters/crypto.h"
#include "unit/filters/filter_rounds.h"

#define REQUESTS 100

static struct filter_rounds rounds;
static char bearer[256];

/* {"alg":"HS256"} . {"sub":"alice","exp":4000000000}, signed with "secret". */
static void make_token(void)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    struct mp_hmac_key k;
    uint8_t mac[33] = {0};
    size_t n = (size_t)snprintf(bearer, sizeof(bearer),
                                "Bearer eyJhbGciOiJIUzI1NiJ9."
                                "eyJzdWIiOiJhbGljZSIsImV4cCI6NDAwMDAwMDAwMH0");
    mp_hmac_key_init(&k, MP_SHA256, MP_STR("secret"));
    mp_hmac(&k, mp_str(bearer + 7, n - 7), mac);
    bearer[n++] = '.';
    for (size_t bit = 0; bit < 256; bit += 6) {
        bearer[n++] = letters[(mac[bit / 8] << 8 | mac[bit / 8 + 1]) >> (10 - bit % 8) & 63];
    }
    bearer[n] = '\0';
}

static void prepare(const struct mp_conf_filter_type *type, const char *conf)
{
    fc_init();
    fc.wall_ns = 1700000000ull * 1000000000;
    make_token();
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
