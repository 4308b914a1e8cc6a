/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Outlier detection, the workers' side: what requests meet at a host is counted, and the main
 * thread is told when failures in a row reach a limit. It judges and ejects (outlier_judge.c).
 */
#pragma once
#include <stdbool.h>
#include "core/cluster.h"
#include "core/upstream.h"

enum mp_outlier_kind {
    MP_OUTLIER_5XX,
    MP_OUTLIER_GATEWAY,
    MP_OUTLIER_LOCAL,
    MP_OUTLIER_SUCCESS_RATE,
    MP_OUTLIER_SUCCESS_RATE_LOCAL,
    MP_OUTLIER_FAILURES,
    MP_OUTLIER_FAILURES_LOCAL,
    MP_OUTLIER_KINDS
};

void mp_outlier_count_status(struct mp_upreq *u, unsigned status);
void mp_outlier_count_local(struct mp_upreq *u, bool timeout);

static inline bool mp_outlier_on(const struct mp_upreq *u)
{
    return u->cluster->conf != NULL && u->cluster->conf->conf->outlier != NULL && !u->unlimited &&
           u->host != NULL;
}
/* A final response head has come. */
static inline void mp_outlier_status(struct mp_upreq *u, unsigned status)
{
    if (MP_UNLIKELY(mp_outlier_on(u))) {
        mp_outlier_count_status(u, status);
    }
}
/* No connection, no answer in time, or the connection was lost before an answer. */
static inline void mp_outlier_local(struct mp_upreq *u, bool timeout)
{
    if (MP_UNLIKELY(mp_outlier_on(u))) {
        mp_outlier_count_local(u, timeout);
    }
}

/* Main thread: a worker's finding. */
struct mp_host_shared;
void mp_outlier_found(struct mp_cluster_shared *c, struct mp_host_shared *h,
                      enum mp_outlier_kind kind);
