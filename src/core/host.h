/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the whole process knows of a host of a cluster: its health, which the main thread writes and
 * workers read, and the results of requests, which workers count and the main thread judges. Kept
 * by the cluster's name and the host's address over generations of configuration.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "base/map.h"
#include "base/str.h"
#include "io/addr.h"

struct mp_engine;
struct mp_cluster_shared;

enum { /* mp_host_shared.health: why it gets no traffic; 0: it does */
       MP_HEALTH_FAILED_CHECK = 1,
       MP_HEALTH_FAILED_OUTLIER = 2,
       /* no check has ended yet; for information */
       MP_HEALTH_PENDING_CHECK = 4,
       MP_HEALTH_DOWN = MP_HEALTH_FAILED_CHECK | MP_HEALTH_FAILED_OUTLIER
};

/* Results of one worker; it writes, the main thread reads. local: connecting, timeouts, resets. */
struct mp_host_counts {
    uint32_t total, ok, local_total, local_ok;
} __attribute__((aligned(MP_CACHE_LINE)));

struct mp_host_shared {
    uint32_t refs;     /* atomic */
    uint32_t health;   /* atomic: MP_HEALTH_* */
    uint64_t since_ns; /* atomic: when it began to take traffic (again); 0: with its cluster */
    struct mp_str text;
    struct mp_host_counts *counts; /* atomic; NULL without outlier detection; n_workers + 1 */
    /* Failures in a row, of all workers: atomics, written at failures and the first success after
     * one. */
    uint32_t row_5xx __attribute__((aligned(MP_CACHE_LINE)));
    uint32_t row_gateway, row_local;
    /* the main thread's */
    uint32_t passed, failed; /* checks in a row */
    bool seen;               /* has been in a published set of hosts */
    bool was_checked;        /* a check has ended */
    uint32_t ejections;      /* how often in a row, for the length of the next one */
    uint64_t ejected_ms, return_ms;
    struct mp_host_counts judged; /* sums of counts at the last sweep */
};

static inline uint32_t mp_host_health(const struct mp_host_shared *h)
{
    return __atomic_load_n(&h->health, __ATOMIC_RELAXED);
}

/* Finds or makes; a reference. Builder and main thread. */
struct mp_host_shared *mp_host_shared_get(struct mp_engine *e, struct mp_cluster_shared *c,
                                          const struct mp_addr *addr);
static inline void mp_host_shared_ref(struct mp_host_shared *h)
{
    __atomic_add_fetch(&h->refs, 1, __ATOMIC_RELAXED);
}
/* Any thread. The cluster keeps a reference of its own until mp_host_shared_purge. */
static inline void mp_host_shared_unref(struct mp_host_shared *h)
{
    __atomic_sub_fetch(&h->refs, 1, __ATOMIC_ACQ_REL);
}
/* Frees those that nobody else refers to; all: at the end of the program, every one. */
void mp_host_shared_purge(struct mp_engine *e, struct mp_cluster_shared *c, bool all);
/* Main thread: sets and clears bits and makes workers look. True when the word changed. */
bool mp_host_set_health(struct mp_cluster_shared *c, struct mp_host_shared *h, uint32_t set,
                        uint32_t clear, uint64_t now_ns);
