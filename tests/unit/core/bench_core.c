/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Prints nanoseconds per route lookup and per access log line. */
#include <time.h>

#include "base/hash.h"
#include "callgrind/alog_stream.h"
#include "callgrind/route_table.h"

#define ROUNDS 400

static struct mp_route_table *table;
static struct mp_req_head head;

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* The fastest of many rounds of 1000: the machine may be busy with something else. */
static void bench(const char *name, void (*fn)(int i))
{
    double least = 1e18;
    for (int i = 0; i < ROUNDS; i++) {
        double t = now_ns();
        for (int k = 0; k < 1000; k++) {
            fn(k);
        }
        t = (now_ns() - t) / 1000;
        least = t < least ? t : least;
    }
    printf("%-28s %7.1f ns\n", name, least);
}

static void lookup(int i)
{
    head.path = mp_str_c(rt_paths[i]);
    if (mp_route_find(table, &head, 0) == NULL) {
        abort();
    }
}
static void lookup_host(int i)
{
    head.authority = mp_str(rt_hosts[i], 26);
    if (mp_route_find(table, &head, 0) == NULL) {
        abort();
    }
}
static void line(int i)
{
    as_line();
}

int main(void)
{
    mp_hash_set_key(1, 2);
    head.authority = MP_STR("localhost:10000");
    table = rt_prefix_table(1);
    for (int i = 0; i < RT_ROUTES; i++) {
        snprintf(rt_paths[i], sizeof(rt_paths[0]), "/service-%04d/v1/items/%d?page=2", i, i * 7);
    }
    bench("route, one prefix", lookup);
    table = rt_prefix_table(RT_ROUTES);
    bench("route, 1000 prefixes", lookup);
    table = rt_host_table();
    bench("route, 1000 hosts", lookup_host);
    as_start(&(struct mp_conf_alog){.kind = MP_ALOG_STDOUT, .default_json = true});
    bench("access log, default", line);
    as_start(&(struct mp_conf_alog){
        .kind = MP_ALOG_STDOUT,
        .text = MP_STR(
            "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% "
            "%PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% "
            "%DURATION% \"%REQ(USER-AGENT)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n")});
    bench("access log, text", line);
    return 0;
}
