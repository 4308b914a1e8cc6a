/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The engine's side of one worker thread. Everything here belongs to that thread. */
#pragma once
#include <stdint.h>
#include "base/list.h"
#include "base/slab.h"
#include "base/stat.h"
#include "codec/hdr.h"
#include "io/tls.h"
#include "io/worker.h"

struct mp_engine;
struct mp_chan;
struct mp_snapshot;
struct mp_cluster_local;
struct mp_listener_local;

/* Output being put together: the head and small bodies of one connection, sent with one system
 * call. */
#define MP_CORK_SIZE (20 * 1024)
struct mp_cork {
    struct mp_chan *owner; /* NULL: empty */
    uint32_t n;
    char *buf; /* MP_CORK_SIZE */
};

#define MP_FAILED_MAX 32

struct mp_core_worker {
    struct mp_worker w; /* first */
    struct mp_engine *engine;
    struct mp_snapshot *snap;
    uint64_t generation;

    struct mp_cork cork;
    struct mp_hdr *fields; /* parser scratch: MP_FIELDS_SCRATCH entries */
    struct mp_slab conns, upconns, hosts, h2_servers, h2_clients, h2_streams, mores;
    struct mp_hs_entry *hs_failures; /* core/hs_budget.h; NULL: none so far */
    struct mp_tls_worker tls;
    struct mp_chan *tls_in;  /* whose bytes are in tls.in; NULL: nobody's */
    struct mp_chan *tls_out; /* whose records are being made */
    char *big;               /* a head larger than the cork, before it is encrypted */
    size_t big_size;
    uint64_t next_id;                   /* of connections and streams */
    struct mp_list listeners;           /* mp_listener_local.link */
    struct mp_list old_listeners;       /* removed ones with connections left */
    struct mp_list streams;             /* all live ones */
    struct mp_cluster_local **clusters; /* by cluster id; NULL: not configured */
    uint32_t n_clusters;
    uint32_t n_conns, n_streams;
    bool draining;
    bool stopping;

    struct mp_filter_stats_local *filter_stats;
    const struct mp_stat_block *server_stats, *h1_down_stats, *h1_up_stats, *h2_down_stats;
    struct mp_timer alog_timer;
    /* Channels whose write failed in this turn; told at its end, as if the socket had reported the
     * error. */
    struct mp_task failed_task;
    struct mp_chan *failed[MP_FAILED_MAX];
    uint32_t n_failed;
    bool failed_more; /* there were more: all streams are looked at */
    /* What ended in this turn; freed at its end, because pointers may still be on the stack. */
    struct mp_task reap_task;
    struct mp_list dead_conns, dead_upconns, dead_streams;
};
/* As many as a header count limit can say (uint16_t); pages that are never touched cost nothing. */
#define MP_FIELDS_SCRATCH 65536

static inline uint64_t mp_cw_now_ms(const struct mp_core_worker *cw)
{
    return mp_loop_now_ms(cw->w.loop);
}
