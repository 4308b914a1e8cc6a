/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Runs simulations by seed.
 *
 *   sim --seeds A-B     each seed once, every eighth twice to compare the trace hashes
 *   sim --replay SEED   one seed twice; with --trace every event is printed
 *   --direct            clients against upstreams, nothing in between
 *   --conns N --streams K --body BYTES --spread MS --calm --no-faults   another shape of run
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include "base/log.h"
#include "sim_run.h"
#include "sim_subject.h"

struct args {
    uint64_t from, to;
    bool trace, replay;
    struct sim_run_opts run;
};

_Noreturn static void usage(void)
{
    fprintf(
        stderr,
        "usage: sim [--seeds A-B | --replay SEED] [--trace] [--direct] [--conns N] [--streams K]\n"
        "           [--body BYTES] [--spread MS] [--calm] [--no-faults]\n");
    exit(2);
}

static uint64_t number(const char *text)
{
    uint64_t v;
    if (!text || mp_is_err(mp_str_to_u64(mp_str_c(text), &v))) {
        usage();
    }
    return v;
}

static void parse_seeds(struct args *a, const char *text)
{
    struct mp_str rest = mp_str_c(text), from, to;
    if (!mp_str_split(&rest, '-', &from) || mp_is_err(mp_str_to_u64(from, &a->from))) {
        usage();
    }
    a->to = a->from;
    if (mp_str_split(&rest, '-', &to) && mp_is_err(mp_str_to_u64(to, &a->to))) {
        usage();
    }
}

static void parse_flag(struct args *a, const char *flag)
{
    if (strcmp(flag, "--trace") == 0) {
        a->trace = true;
    } else if (strcmp(flag, "--direct") == 0) {
        a->run.subject = NULL;
    } else if (strcmp(flag, "--calm") == 0) {
        a->run.calm = true;
    } else if (strcmp(flag, "--no-faults") == 0) {
        a->run.no_faults = true;
    } else {
        usage();
    }
}

static struct args parse(int argc, char **argv)
{
    struct args a = {.to = 9};
    a.run = (struct sim_run_opts){.n_conns = 40,
                                  .streams_max = 6,
                                  .body_max = 200000,
                                  .spread_ms = 300,
                                  .subject = sim_subject_default()};
    struct {
        const char *flag;
        uint32_t *value;
    } numbers[] = {{"--conns", &a.run.n_conns},
                   {"--streams", &a.run.streams_max},
                   {"--body", &a.run.body_max},
                   {"--spread", &a.run.spread_ms}};
    for (int i = 1; i < argc; i++) {
        uint32_t *value = NULL;
        for (size_t k = 0; k < MP_COUNTOF(numbers); k++) {
            value = strcmp(argv[i], numbers[k].flag) == 0 ? numbers[k].value : value;
        }
        if (value) {
            *value = (uint32_t)number(argv[++i]);
        } else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
            parse_seeds(&a, argv[++i]);
        } else if (strcmp(argv[i], "--replay") == 0 && i + 1 < argc) {
            a.from = a.to = number(argv[++i]);
            a.replay = true;
        } else {
            parse_flag(&a, argv[i]);
        }
    }
    return a;
}

/* False when the seed failed. */
static bool run_one(const struct args *a, uint64_t seed, struct sim_result *sum)
{
    struct sim_run_opts o = a->run;
    struct sim_result r;
    o.seed = seed;
    mp_sim_trace_print(a->trace);
    mp_log_set_level(a->trace ? MP_LOG_TRACE : MP_LOG_OFF);
    sim_run_seed(&o, &r);
    mp_sim_trace_print(false);
    mp_log_set_level(MP_LOG_OFF);
    bool ok = r.ok;
    if (!ok) {
        printf("seed %" PRIu64 " (%s): %s\n", seed, sim_run_kind(seed), r.failure);
    }
    if (a->replay || seed % 8 == 0) {
        struct sim_result again;
        sim_run_seed(&o, &again);
        if (again.hash != r.hash) {
            printf("seed %" PRIu64 ": trace hash %016" PRIx64 ", then %016" PRIx64 "\n", seed,
                   r.hash, again.hash);
            ok = false;
        }
    }
    if (a->replay) {
        printf("seed %" PRIu64 " (%s): trace hash %016" PRIx64 ", %" PRIu64 " virtual ms\n", seed,
               sim_run_kind(seed), r.hash, r.virtual_ms);
    }
    sum->n_streams += r.n_streams;
    sum->body_bytes += r.body_bytes;
    sum->virtual_ms += r.virtual_ms;
    for (int i = 0; i < SIM_OUTCOMES; i++) {
        sum->outcomes[i] += r.outcomes[i];
    }
    return ok;
}

int main(int argc, char **argv)
{
    struct args a = parse(argc, argv);
    struct sim_result sum = {0};
    uint64_t failed = 0;
    clock_t start = clock();
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (uint64_t seed = a.from; seed <= a.to; seed++) {
        failed += !run_one(&a, seed, &sum);
    }
    struct rusage ru;
    getrusage(RUSAGE_SELF, &ru);
    printf("%" PRIu64 " seeds, %" PRIu64
           " failed; %u streams: %u ok, %u local, %u broken, %u abandoned; %" PRIu64
           " body bytes verified, %.1f virtual s in %.1f s, peak memory %ld MiB\n",
           a.to - a.from + 1, failed, sum.n_streams, sum.outcomes[SIM_OK], sum.outcomes[SIM_LOCAL],
           sum.outcomes[SIM_BROKEN], sum.outcomes[SIM_ABANDONED], sum.body_bytes,
           (double)sum.virtual_ms / 1000, (double)(clock() - start) / CLOCKS_PER_SEC,
           ru.ru_maxrss / 1024);
    return failed ? 1 : 0;
}
