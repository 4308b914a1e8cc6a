/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Hosts of STRICT_DNS and LOGICAL_DNS clusters: resolves names on the main thread, again and again,
 * and hands every change to the workers. A failed resolution keeps the hosts that are known.
 */
#pragma once
#include <stdbool.h>
#include "core/engine.h"

struct mp_resolver;
struct mp_endpoint_set;
struct mp_resolver *mp_resolver_new(struct mp_engine *e);
struct mp_resolver *mp_resolver_free(struct mp_resolver *r);
/* The clusters of the next snapshot: starts resolving new and changed ones. warmed(arg) runs later,
 * on the main thread, when each has had a first answer, good or bad. Never from inside this call
 * unless it returns true: all are warm. */
bool mp_resolver_prepare(struct mp_resolver *r, const struct mp_snapshot *snap,
                         void (*warmed)(void *arg), void *arg);
/* The snapshot is with the workers: forgets clusters that are gone, hands out what is known. */
void mp_resolver_published(struct mp_resolver *r, const struct mp_snapshot *snap);
