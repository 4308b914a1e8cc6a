/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Stats that filters find by schema and name while they run: core's side of mp_filter_stats.
 *
 * All values of one schema make a *family*. A family belongs to the engine, lives as long as it
 * does (so that counters survive a change of configuration), and has at most MP_FILTER_STAT_VALUES
 * names; whatever comes later counts under "other". Each worker has a table of the names it has
 * met: the family's lock is taken once for a new name and worker, and never again once the family
 * is full and the worker has copied it.
 */
#pragma once
#include "base/stat.h"
#include "base/str.h"

#define MP_FILTER_STAT_VALUES   256
#define MP_FILTER_STAT_FAMILIES 64

struct mp_filter_stats; /* the engine's */
struct mp_filter_stats *mp_filter_stats_new(struct mp_stat_store *store);
struct mp_filter_stats *mp_filter_stats_free(struct mp_filter_stats *fs);

struct mp_filter_stats_local; /* a worker's */
struct mp_filter_stats_local *mp_filter_stats_local_new(struct mp_filter_stats *fs,
                                                        uint32_t writer);
struct mp_filter_stats_local *mp_filter_stats_local_free(struct mp_filter_stats_local *l);
/* Some worker has asked for the schema before. */
bool mp_filter_stats_has(struct mp_filter_stats_local *l, const struct mp_stat_schema *schema);
const struct mp_stat_block *mp_filter_stats_find(struct mp_filter_stats_local *l,
                                                 const struct mp_stat_schema *schema,
                                                 struct mp_str name);
