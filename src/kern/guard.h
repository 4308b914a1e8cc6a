/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The guard as a whole: programs in the kernel where there are any, the lists, verdicts of requests
 * that become denials, and the same lists enforced when a connection is accepted.
 *
 * Main thread, except the table of operations.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "bpf/shared/guard.h"
#include "core/guard_ops.h"
#include "kern/lists.h"
#include "kern/program.h"

struct mp_guard;

extern const struct mp_guard_ops mp_guard_ops;

/* hook: where the engine looks; on is kept up to date here, also before the engine exists. */
struct mp_guard *mp_guard_new(struct mp_guard_hook *hook);
/* Ends it all: programs are detached unless the configuration keeps them. served false: the start
 * has failed; what was there before us stays. */
struct mp_guard *mp_guard_free(struct mp_guard *g, bool served);
/* NULL: off. Copies what it keeps. At start with all rights; later what needs rights that are gone
 * fails with a log line, and the rest acts. */
void mp_guard_configure(struct mp_guard *g, const struct mp_conf_xdp *conf);
/* Hosts that we send requests to: no limit applies to their packets. */
void mp_guard_set_backends(struct mp_guard *g, const struct mp_conf_prefix *v, uint32_t n);
/* Once a second: takes expired entries away, writes the state file. */
void mp_guard_tick(struct mp_guard *g);

/* By hand. ms 0: for ever. */
MP_MUST_USE mp_err mp_guard_deny(struct mp_guard *g, const struct mp_conf_prefix *p, uint64_t ms);
MP_MUST_USE mp_err mp_guard_allow(struct mp_guard *g, const struct mp_conf_prefix *p);
/* From either list. */
MP_MUST_USE mp_err mp_guard_remove(struct mp_guard *g, const struct mp_conf_prefix *p);

struct mp_lists *mp_guard_lists(struct mp_guard *g);
struct mp_program *mp_guard_program(struct mp_guard *g); /* NULL: none */
const char *mp_guard_reason_name(uint32_t reason);       /* of an entry */
uint64_t mp_guard_now_ns(void); /* CLOCK_MONOTONIC, as the kernel's entries */
/* Gains: verdicts by event, bans by event, refused at accept (denied, over the rate). */
struct mp_guard_totals {
    uint64_t verdicts[MP_GUARD_EVENTS], bans[MP_GUARD_EVENTS];
    uint64_t exempt; /* verdicts on who is allowed */
    uint64_t refused_denied, refused_rate;
};
void mp_guard_totals(struct mp_guard *g, struct mp_guard_totals *ret);
