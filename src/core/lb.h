/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Which host of a cluster is next: on one worker, by the health that all share.
 *
 * Hosts are grouped by priority. Each group takes a share of the traffic by how many of its hosts
 * are healthy; usually the first one takes all. A group with too few healthy hosts panics: better
 * to try them all than to crush those that are left.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct mp_cluster_local;
struct mp_host_local;

struct mp_lb_group {
    struct mp_host_local **v; /* that get traffic */
    uint32_t n, next;
    uint32_t total, healthy;
    uint32_t load; /* percent of the traffic */
    bool panic, equal;
};
struct mp_lb {
    struct mp_lb_group *groups;
    uint32_t n_groups;
    struct mp_lb_group *only; /* the one that takes all; NULL: several do, or none */
    uint64_t health_seen;     /* mp_cluster_shared.health_version that this is made from */
    uint64_t reweigh_ms;      /* slow start: when weights change next; 0: never */
};

/* The hosts have changed. */
void mp_lb_rebuild(struct mp_cluster_local *c);
/* No host any more. */
void mp_lb_clear(struct mp_cluster_local *c);
void mp_lb_fini(struct mp_lb *lb);
