/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Loads the guard for tests and runs its programs on frames with BPF_PROG_TEST_RUN. */
#pragma once
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bpf/shared/guard.h"
#include "guard.skel.h"

#define RUN_HOUR_NS 3600000000000ull
#define RUN_PASS    0
#define RUN_DROP    1
#define RUN_TX      2
#define RUN_REFUSED 3  /* the kernel runs no such frame */
#define RUN_TCX_MIN 62 /* it wants whole IP headers of what stands for a socket buffer */

struct run {
    struct mp_guard_bpf *o;
    int xdp, tcx, cpus;
};

static inline void run_small_maps(struct mp_guard_bpf *o)
{
    bpf_map__set_max_entries(o->maps.rate_limit_map, 65536);
    bpf_map__set_max_entries(o->maps.rate_limit6_map, 65536);
    bpf_map__set_max_entries(o->maps.syn_limit_map, 65536);
    bpf_map__set_max_entries(o->maps.syn_limit6_map, 65536);
}

static inline int run_quiet(enum libbpf_print_level level, const char *fmt, va_list args)
{
    (void)level, (void)fmt, (void)args;
    return 0;
}

/* Why kernel tests cannot run here; NULL: they can. */
static inline const char *run_cannot(void)
{
    libbpf_set_print(run_quiet);
    errno = 0;
    int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "mp_probe", 4, 8, 1, NULL);
    if (fd < 0) {
        return errno == EPERM ? "needs root or CAP_BPF" : "the kernel has no BPF";
    }
    close(fd);
    return NULL;
}

static inline bool run_open(struct run *r, bool small)
{
    memset(r, 0, sizeof(*r));
    r->o = mp_guard_bpf__open();
    if (r->o != NULL && small) {
        run_small_maps(r->o);
    }
    if (r->o == NULL || mp_guard_bpf__load(r->o) != 0) {
        printf("# cannot load the guard: %s\n", strerror(errno));
        return false;
    }
    r->xdp = bpf_program__fd(r->o->progs.guard_xdp);
    r->tcx = bpf_program__fd(r->o->progs.guard_tcx);
    r->cpus = libbpf_num_possible_cpus();
    return true;
}

/* One frame through an entry; out (may be NULL): what became of it, *n bytes. */
static inline int run_one(const struct run *r, bool tcx, const void *frame, uint32_t n, void *out,
                          uint32_t *out_n)
{
    LIBBPF_OPTS(bpf_test_run_opts, t, .data_in = frame, .data_size_in = n, .data_out = out,
                .data_size_out = out ? *out_n : 0, .repeat = 1);
    if (bpf_prog_test_run_opts(tcx ? r->tcx : r->xdp, &t) != 0) {
        return RUN_REFUSED;
    }
    if (out_n) {
        *out_n = t.data_size_out;
    }
    if (tcx) {
        return t.retval == 2 ? RUN_DROP : t.retval == UINT32_MAX ? RUN_PASS : 100 + (int)t.retval;
    }
    return t.retval == 1   ? RUN_DROP
           : t.retval == 2 ? RUN_PASS
           : t.retval == 3 ? RUN_TX
                           : 100 + (int)t.retval;
}

static inline void run_counters(const struct run *r, struct mp_guard_counters *ret,
                                struct mp_guard_stats *stats)
{
    uint32_t zero = 0;
    struct mp_guard_counters *c = calloc((size_t)r->cpus, sizeof(*c));
    /* Values of a per-CPU map lie 8 bytes aligned, as these are. */
    struct mp_guard_stats *s = calloc((size_t)r->cpus, sizeof(*s));
    memset(ret, 0, sizeof(*ret));
    memset(stats, 0, sizeof(*stats));
    if (bpf_map_lookup_elem(bpf_map__fd(r->o->maps.guard_stats_map), &zero, c) != 0 ||
        bpf_map_lookup_elem(bpf_map__fd(r->o->maps.stats_map), &zero, s) != 0) {
        printf("# cannot read the counters\n");
        exit(1);
    }
    for (int i = 0; i < r->cpus; i++) {
        for (int k = 0; k < MP_GUARD_COUNTERS_MAX; k++) {
            ret->n[k] += c[i].n[k];
        }
        for (size_t k = 0; k < sizeof(*stats) / 8; k++) {
            ((uint64_t *)stats)[k] += ((uint64_t *)&s[i])[k];
        }
    }
    free(c);
    free(s);
}

static inline void run_clear(int map)
{
    uint8_t key[16];
    while (bpf_map_get_next_key(map, NULL, key) == 0) {
        bpf_map_delete_elem(map, key);
    }
}

static inline void run_forget(const struct run *r)
{
    run_clear(bpf_map__fd(r->o->maps.rate_limit_map));
    run_clear(bpf_map__fd(r->o->maps.rate_limit6_map));
    run_clear(bpf_map__fd(r->o->maps.syn_limit_map));
    run_clear(bpf_map__fd(r->o->maps.syn_limit6_map));
}

static inline void run_rate(const struct run *r, uint64_t window_ns, uint64_t max, bool on)
{
    uint32_t zero = 0;
    struct mp_guard_rate v = {.window_ns = window_ns, .max_packets = max, .enabled = on};
    bpf_map_update_elem(bpf_map__fd(r->o->maps.rate_limit_config_map), &zero, &v, BPF_ANY);
}

static inline void run_config(const struct run *r, const struct mp_guard_config *c)
{
    uint32_t zero = 0;
    bpf_map_update_elem(bpf_map__fd(r->o->maps.guard_config_map), &zero, c, BPF_ANY);
}

static inline void run_deny(const struct run *r, int family, const void *addr, uint32_t bits,
                            uint64_t expires_ns)
{
    struct mp_guard_prefix6 k = {.prefixlen = bits};
    struct mp_guard_denial d = {.expires_ns = expires_ns};
    memcpy(k.addr, addr, family == 4 ? 4 : 16);
    bpf_map_update_elem(bpf_map__fd(family == 4 ? r->o->maps.deny4_map : r->o->maps.deny6_map), &k,
                        &d, BPF_ANY);
}

static inline void run_allow(const struct run *r, int family, const void *addr, uint32_t bits)
{
    struct mp_guard_prefix6 k = {.prefixlen = bits};
    struct mp_guard_allowance a = {0};
    memcpy(k.addr, addr, family == 4 ? 4 : 16);
    bpf_map_update_elem(bpf_map__fd(family == 4 ? r->o->maps.allow4_map : r->o->maps.allow6_map),
                        &k, &a, BPF_ANY);
}
