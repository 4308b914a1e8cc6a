/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Health of upstream hosts, on the main thread: active checks, judging what requests have met
 * (core/outlier.h), the gauges of membership. What comes out is one word for each host
 * (core/host.h).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct mp_cluster;
struct mp_endpoint_set;
struct mp_engine;
struct mp_health;
struct mp_snapshot;

struct mp_health *mp_health_new(struct mp_engine *e);
/* Loops must turn afterwards for connections to go. */
void mp_health_close(struct mp_health *h);
struct mp_health *mp_health_free(struct mp_health *h);

/* The snapshot is about to be given to the workers. */
void mp_health_publish(struct mp_health *h, const struct mp_snapshot *snap);
/* A cluster of the published snapshot has these hosts now, and workers have not been told yet. */
void mp_health_hosts(struct mp_engine *e, struct mp_cluster *c, struct mp_endpoint_set *set);
/* Before stats are read: sets the gauges that nobody writes in passing. */
void mp_health_refresh_stats(struct mp_engine *e);
