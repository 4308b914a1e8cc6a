/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Compiled route table: virtual host by authority, then the first route in configuration order
 * whose conditions hold.
 *
 * Hosts: exact (with port, then without), longest "*.suffix", longest "prefix.*", "*". ASCII
 * case-insensitive. Paths: all literal paths of a virtual host are sorted; the longest one that is
 * a prefix of the request's path is found by binary search, its shorter prefixes by links; so 1000
 * prefixes cost about ten comparisons. Routes with a regular expression, ignored case or CONNECT
 * are kept in a list and merged by order.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/diag.h"
#include "base/str.h"
#include "codec/hdr.h"
#include "conf/model.h"
#include "conf/object.h"

struct mp_engine;
struct mp_header_ops; /* core/header_ops.h */
struct mp_req_head;
struct mp_regex;

/* One filter's configuration on a route, the virtual host's and the route's merged; NULL conf: the
 * chain's own. */
struct mp_route_override {
    const void *conf;
    bool disabled; /* turned off here */
    bool enabled;  /* named here and not turned off: runs also when the chain has it disabled */
};

struct mp_route_target {
    uint32_t cluster_id; /* core/names.h */
    uint32_t weight_end; /* running sum, for weighted routes */
    struct mp_str cluster;
    const struct mp_header_ops *ops; /* NULL: none */
};

struct mp_route {
    const struct mp_conf_route *conf; /* timeouts, redirects, rewrites: the model as is */
    const struct mp_vhost *vhost;
    uint32_t order; /* in the virtual host */
    struct mp_route_target *targets;
    uint32_t n_targets, weight_total;
    /* In the order of application: route, virtual host, table; NULL: none. A target's own come
     * before them all, or after them when target_ops_last (most_specific_header_mutations_wins,
     * which also turns this order round). */
    const struct mp_header_ops *ops[3];
    bool target_ops_last;
    const struct mp_route_override *overrides; /* by filter index of the chain; NULL: none at all */
};

struct mp_vhost;
struct mp_route_table {
    struct mp_obj obj; /* first */
    const struct mp_conf_routes *conf;
    /* private: core/route.c */
    struct mp_route_index *index;
};

struct mp_route_build {
    const struct mp_conf_routes *conf; /* must outlive the table: keep is referenced meanwhile */
    struct mp_obj *keep;             /* the object that owns conf's memory; a reference is taken */
    const struct mp_conf_http *http; /* the chain, for overrides by filter name */
    uint32_t (*cluster_id)(void *arg, struct mp_str name);
    void *arg;
    uint32_t n_workers;
};
/* Builder thread. */
MP_MUST_USE mp_err mp_route_table_build(const struct mp_route_build *b, struct mp_diag *diag,
                                        struct mp_route_table **ret);

/* Longest host that can match anything but "*". */
#define MP_ROUTE_HOST_MAX 1024

/* NULL: no virtual host or no route matches, or a condition could not be decided within its limits
 * (then no later route is tried: a request must not get past a rule by making it expensive).
 * random: for runtime fractions. */
const struct mp_route *mp_route_find(const struct mp_route_table *t, const struct mp_req_head *h,
                                     uint64_t random);
/* The cluster of a route: the only one, or by weight. */
static inline const struct mp_route_target *mp_route_pick(const struct mp_route *r, uint64_t random)
{
    if (MP_LIKELY(r->n_targets == 1)) {
        return &r->targets[0];
    }
    uint32_t x = (uint32_t)(random % r->weight_total), i = 0;
    while (i + 1 < r->n_targets && x >= r->targets[i].weight_end) {
        i++;
    }
    return &r->targets[i];
}
struct mp_str mp_route_vhost_name(const struct mp_route *r);
/* The path to send upstream after prefix_rewrite or regex_rewrite, in the arena (the same bytes
 * when nothing changes). p NULL: arena limit or the limit of a match. */
struct mp_str mp_route_rewrite_path(const struct mp_route *r, struct mp_str path,
                                    struct mp_arena *arena);
/* Location of a redirect route of a table. p NULL: arena limit. */
struct mp_str mp_route_redirect_location(const struct mp_route *r, const struct mp_req_head *h,
                                         struct mp_arena *arena);
