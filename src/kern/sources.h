/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Counts by source in fixed windows: verdicts towards a ban, connections where no program in the
 * kernel limits packets. A source is an IPv4 address or an IPv6 /64. Bounded: a source that finds
 * no cell takes that of the one that was quiet for longest among the neighbours.
 *
 * Locked in parts. It is touched by what goes wrong, never by a request that goes well; or, where
 * connections are counted, once for each of them. Any thread.
 */
#pragma once
#include <stdint.h>
#include "conf/model.h"

#define MP_SOURCE_COUNTS 5

struct mp_source_table;
struct mp_source_table *mp_source_table_new(void);
struct mp_source_table *mp_source_table_free(struct mp_source_table *t);
/* One more of kind which; returns how many there are in the window now. A count that has reached
 * stop begins again at 0 with the next call, so that each crossing is told once. */
uint32_t mp_source_count(struct mp_source_table *t, const struct mp_conf_prefix *host,
                         uint32_t which, uint64_t now_ns, uint64_t window_ns, uint32_t stop);
/* The part of an address that makes a source. */
struct mp_conf_prefix mp_source_of(const struct mp_conf_prefix *host);
