/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The hosts of all clusters with their state, which only workers know: each reports, the reports
 * are added up. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/map.h"
#include "base/str.h"

struct mp_engine;

struct mp_admin_host {
    struct mp_str text; /* "1.2.3.4:80", path */
    struct mp_str ip;   /* or path */
    uint16_t port;
    bool is_unix;
    struct mp_str hostname;
    uint32_t weight, priority;
    bool configured_up;
    uint32_t health;               /* MP_HEALTH_* */
    uint32_t cx_active, rq_active; /* of all workers */
    struct mp_admin_host *next;    /* of the cluster */
};
struct mp_admin_cluster_hosts {
    struct mp_admin_host *first, *last;
};
struct mp_admin_hosts {
    struct mp_arena arena;
    struct mp_map clusters; /* by the bytes of the id: struct mp_admin_cluster_hosts */
    struct mp_map hosts;    /* by the bytes of the id and the text: struct mp_admin_host */
};

/* Main thread. done runs there later, with hosts freed after it returns. */
void mp_admin_collect_hosts(struct mp_engine *e,
                            void (*done)(void *arg, const struct mp_admin_hosts *hosts), void *arg);
/* The first host of a cluster; NULL: none. */
const struct mp_admin_host *mp_admin_hosts_of(const struct mp_admin_hosts *h, uint32_t cluster_id);
