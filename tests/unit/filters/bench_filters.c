/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Nanoseconds a request of each filter's callbacks, without a proxy around: best of several rounds.
 * usage: bench_filters TOKEN SECRET (of tests/data/filters/tokens.json) */
#include <time.h>

#include <stdio.h>
#include <stdlib.h>
#include "fake_core.h"

#define ROUNDS 9

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static char bearer[1024];

/* The fields of a browser, as bench/ sends them. */
static void fill(struct mp_stream *s)
{
    static const char *const fields[][2] = {
        {"user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"},
        {"accept", "text/html,application/xhtml+xml"},
        {"accept-language", "en-US,en;q=0.9"},
        {"accept-encoding", "gzip, deflate"},
        {"cookie", "session=0123456789abcdef0123456789abcdef"},
        {"cache-control", "no-cache"},
        {"x-forwarded-for", "127.0.0.1"},
        {"x-forwarded-proto", "http"},
        {"x-request-id", "45492cdf-080e-4d04-bb80-04b6c164e88c"},
        {"authorization", bearer}};
    for (size_t i = 0; i < MP_COUNTOF(fields); i++) {
        fc_field(s, &s->req.hdrs, fields[i][0], fields[i][1]);
    }
    fc_field(s, &s->resp.hdrs, "content-type", "text/html");
    fc_field(s, &s->resp.hdrs, "server", "nginx");
    fc_field(s, &s->resp.hdrs, "etag", "\"5f\"");
}

/* The stream as it was before the filter. */
struct saved {
    struct mp_hdrs req, resp;
    char *cur;
    struct mp_hdr req_v[32], resp_v[32];
};

static void bench(const char *name, const struct mp_conf_filter_type *type, const char *text,
                  double target)
{
    struct fc_conf c;
    if (!fc_conf_load(&c, type, mp_str_c(text))) {
        printf("Bail out! %s\n", c.diag.items[0].cause);
        exit(1);
    }
    const struct mp_filter_type *t = type->impl;
    struct mp_stream *s = fc_stream_new(&c, "GET", "/api/test?x=1", "api.example.com:8080");
    char *large = malloc(1 << 16);
    mp_arena_init(&s->arena, large, 1 << 16, NULL, 0, 0);
    s->req.hdrs.arena = s->resp.hdrs.arena = &s->arena;
    fill(s);
    static struct saved save;
    save.req = s->req.hdrs;
    save.resp = s->resp.hdrs;
    save.cur = s->arena.cur;
    memcpy(save.req_v, save.req.v, save.req.n * sizeof(struct mp_hdr));
    memcpy(save.resp_v, save.resp.v, save.resp.n * sizeof(struct mp_hdr));
    s->bytes_out = 1024;
    uint64_t best = UINT64_MAX, base = UINT64_MAX;
    for (int round = 0; round < 2 * ROUNDS; round++) {
        bool empty = round % 2;
        unsigned n = 20000;
        uint64_t start = now_ns();
        for (unsigned i = 0; i < n; i++) {
            s->req.hdrs = save.req;
            s->resp.hdrs = save.resp;
            s->arena.cur = save.cur;
            memcpy(s->req.hdrs.v, save.req_v, save.req.n * sizeof(struct mp_hdr));
            memcpy(s->resp.hdrs.v, save.resp_v, save.resp.n * sizeof(struct mp_hdr));
            memset(mp_filter_state(s->filter), 0, t->state_size);
            s->resp.status = 200;
            s->replied = false;
            fc.now_ns += 1000;
            if (empty) {
                continue;
            }
            (void)t->on_request_headers(s->filter, &s->req, true);
            if (t->on_response_headers) {
                (void)t->on_response_headers(s->filter, &s->resp, false);
            }
            if (t->on_end) {
                t->on_end(s->filter);
            }
        }
        uint64_t took = now_ns() - start;
        uint64_t *to = empty ? &base : &best;
        *to = MP_MIN(*to, took / (n / 10));
        if (s->replied) {
            printf("Bail out! %s answered %u %s\n", name, s->resp.status, s->details);
            exit(1);
        }
    }
    printf("%-28s %6.0f ns (target %.0f)\n", name, (double)(best - base) / 10, target);
    mp_arena_init(&s->arena, NULL, 0, NULL, 0, 0);
    free(large);
    free(s);
    fc_conf_free(&c);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        printf("usage: bench_filters TOKEN SECRET\n");
        return 2;
    }
    fc_init();
    fc.wall_ns = 1700000000ull * 1000000000;
    snprintf(bearer, sizeof(bearer), "Bearer %s", argv[1]);
    char conf[512];
    snprintf(conf, sizeof(conf), "{\"jwt_secret\": \"%s\"}", argv[2]);
    bench("auth HS256, remembered", &mp_conf_filter_auth, conf, 500);
    snprintf(conf, sizeof(conf), "{\"jwt_secret\": \"%s\", \"jwt_cache_entries\": 0}", argv[2]);
    bench("auth HS256", &mp_conf_filter_auth, conf, 3000);
    bench("license", &mp_conf_filter_license,
          "{\"license_key\": \"PENG-1234-5678-90AB-CDEF-WXYZ\", \"is_enterprise\": true}", 300);
    bench("metrics", &mp_conf_filter_metrics, "{}", 300);
    fc_fini();
    return 0;
}
