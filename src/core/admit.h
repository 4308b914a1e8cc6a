/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Which new connections are taken: limits of the process, of the listener and of one source, rates,
 * and the overload manager. */
#pragma once
#include <stdbool.h>
#include "conf/model.h"
#include "io/addr.h"

struct mp_listener_local;
struct mp_sources;

/* Open connections and rates by source, of one listener, for all workers. A source is an IPv4
 * address or an IPv6 /64; peers without an address have no limits.
 *
 * The table is shared and locked (in 16 parts): a limit of a source holds for the process, and each
 * of its connections may come to another worker. Only accepting and closing touch it, and only
 * when such a limit is configured. Its size follows the sources that have connections or came
 * within the last burst. */
struct mp_sources *mp_sources_new(void);
struct mp_sources *mp_sources_free(struct mp_sources *t);
enum mp_source_verdict { MP_SOURCE_OK, MP_SOURCE_TOO_MANY, MP_SOURCE_TOO_FAST };
/* On OK the connection counts until mp_sources_gone. */
enum mp_source_verdict mp_sources_enter(struct mp_sources *t, const struct mp_addr *peer,
                                        const struct mp_conf_accept_limits *limits,
                                        uint64_t now_ns);
void mp_sources_gone(struct mp_sources *t, const struct mp_addr *peer, uint64_t now_ns);
/* Sources known now; for tests and stats. */
uint64_t mp_sources_count(struct mp_sources *t);

/* A token bucket in one word (generic cell rate algorithm): the time at which it would be full.
 * rate a second, burst at once. */
static inline bool mp_rate_take(uint64_t *full_ns, uint32_t rate, uint32_t burst, uint64_t now_ns)
{
    uint64_t each = 1000000000u / rate;
    uint64_t from = *full_ns > now_ns ? *full_ns : now_ns;
    if (from + each - now_ns > each * burst) {
        return false;
    }
    *full_ns = from + each;
    return true;
}

/* One more connection? Counts the refusal. *ret_counted: its source was entered, and must be left
 * with mp_admit_gone. Worker thread. */
bool mp_admit(struct mp_listener_local *l, const struct mp_addr *peer, bool *ret_counted);
void mp_admit_gone(struct mp_listener_local *l, const struct mp_addr *peer);
