/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Nanoseconds a request of each filter's callbacks, without a proxy around: best of several rounds.
 * usage: bench_filters TOKEN SECRET (of tests/data/filters/tokens.json) */
#include <time.h>

#include "filter_rounds.h"

#define ROUNDS   9
#define REQUESTS 20000

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void bench(const char *name, const struct mp_conf_filter_type *type, const char *conf,
                  const char *authorization, unsigned target)
{
    struct filter_rounds r;
    uint64_t best[2] = {UINT64_MAX, UINT64_MAX};
    rounds_init(&r, type, conf, authorization);
    for (int round = 0; round < 2 * ROUNDS; round++) {
        int empty = round % 2;
        uint64_t start = now_ns();
        rounds_run(&r, REQUESTS, empty);
        best[empty] = MP_MIN(best[empty], now_ns() - start);
    }
    rounds_fini(&r);
    printf("%-24s %6.0f ns (target %u)\n", name, (double)(best[0] - best[1]) / REQUESTS, target);
}

int main(int argc, char **argv)
{
    char conf[512], authorization[1024];
    if (argc < 3) {
        printf("usage: bench_filters TOKEN SECRET\n");
        return 2;
    }
    fc_init();
    fc.wall_ns = 1700000000ull * 1000000000;
    snprintf(authorization, sizeof(authorization), "Bearer %s", argv[1]);
    snprintf(conf, sizeof(conf), "{\"jwt_secret\": \"%s\"}", argv[2]);
    bench("auth HS256, remembered", &mp_conf_filter_auth, conf, authorization, 500);
    snprintf(conf, sizeof(conf), "{\"jwt_secret\": \"%s\", \"jwt_cache_entries\": 0}", argv[2]);
    bench("auth HS256", &mp_conf_filter_auth, conf, authorization, 3000);
    bench("license", &mp_conf_filter_license,
          "{\"license_key\": \"PENG-1234-5678-90AB-CDEF-WXYZ\", \"is_enterprise\": true}",
          authorization, 300);
    bench("metrics", &mp_conf_filter_metrics, "{}", authorization, 300);
    fc_fini();
    return 0;
}
