/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Prints nanoseconds per parsed request head, and per head copied into a map and written again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "codec/h1_parse.h"
#include "codec/h1_write.h"
#include "unit/codec/heads.h"

#define ROUNDS 400000
#define BATCH  1000

static const struct mp_h1_limits limits = {60 * 1024, 100, 32 * 1024 - 1};
static struct mp_hdr fields[100];

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* The fastest of many batches: the machine may be busy with something else. */
static double best(void (*fn)(const char *head, size_t n), const char *head, size_t n)
{
    double least = 1e18;
    for (int i = 0; i < ROUNDS / BATCH; i++) {
        double t = now_ns();
        for (int k = 0; k < BATCH; k++) {
            fn(head, n);
        }
        t = (now_ns() - t) / BATCH;
        least = t < least ? t : least;
    }
    return least;
}

static struct mp_h1_request rq;
static char buf[4096];

static void copy_only(const char *head, size_t n)
{
    memcpy(buf, head, n);
    __asm__ volatile("" : : "r"(buf) : "memory");
}

static void parse(const char *head, size_t n)
{
    size_t scanned = 0;
    memcpy(buf, head, n); /* names are lowered in place: each round sees what a peer sends */
    if (mp_h1_parse_request(buf, n, &scanned, &limits, fields, &rq) != MP_H1_OK) {
        abort();
    }
}

static void parse_and_write(const char *head, size_t n)
{
    static char first[8192], out[4096];
    struct mp_arena arena;
    struct mp_hdrs h;
    parse(head, n);
    mp_arena_init(&arena, first, sizeof(first), &mp_block_source_heap, 4096, 65536);
    mp_hdrs_init(&h, &arena, 100);
    if (mp_is_err(mp_hdrs_take_block(&h, fields, rq.n_fields, buf, rq.head_n))) {
        abort();
    }
    struct mp_h1_head_out o = {.method = rq.method_name, .target = rq.path, .minor = 1, .hdrs = &h};
    if (mp_h1_request_size(&o) > sizeof(out)) {
        abort();
    }
    mp_h1_write_request(out, &o);
    __asm__ volatile("" : : "r"(out) : "memory");
}

static void report(const char *name, const char *head, size_t n)
{
    double c = best(copy_only, head, n);
    double p = best(parse, head, n);
    double w = best(parse_and_write, head, n);
    printf("%-8s %3zu bytes: parse %6.1f ns (copying it to the buffer took %4.1f of them), "
           "parse+map+write %6.1f ns\n",
           name, n, p, c, w);
}

int main(void)
{
    report("small", HEAD_SMALL, sizeof(HEAD_SMALL) - 1);
    report("browser", HEAD_BROWSER, sizeof(HEAD_BROWSER) - 1);
    return 0;
}
