/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The guard's programs in the kernel: loaded, attached to interfaces, pinned so that they outlive
 * us, taken over by the next process without a gap. Main thread, but for mp_program_put and _del.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "bpf/shared/guard.h"
#include "conf/model.h"
#include "kern/lists.h"

struct mp_program;

enum mp_link_kind {
    MP_LINK_NONE,
    MP_LINK_NATIVE,
    MP_LINK_SKB,
    MP_LINK_HW,
    MP_LINK_TCX,
    MP_LINK_CLSACT
};
const char *mp_link_kind_name(enum mp_link_kind kind);

struct mp_link_state {
    const char *interface;
    enum mp_link_kind kind; /* NONE: not attached */
    const char *reason;     /* why it is not what was asked for; empty: it is */
    bool pinned, taken_over;
};

/* Loads and attaches as far as possible; what failed is logged with its cure. before: the programs
 * of the last configuration, taken over and freed. NULL: nothing is attached. */
struct mp_program *mp_program_start(const struct mp_conf_xdp *conf, struct mp_program *before);
/* Detaches unless keep, or unless another process has taken over. */
struct mp_program *mp_program_stop(struct mp_program *p, bool keep);
uint32_t mp_program_links(const struct mp_program *p);
struct mp_link_state mp_program_link(const struct mp_program *p, uint32_t i);
void mp_program_set_limits(struct mp_program *p, const struct mp_conf_xdp *conf);
/* Where the lists' copy is kept. */
struct mp_lists_sink mp_program_sink(struct mp_program *p);
/* Dynamic denials and allowances that a former process left in the pinned maps. */
void mp_program_import(struct mp_program *p, struct mp_lists *lists);
/* Takes out of the maps what the lists do not have. */
void mp_program_prune(struct mp_program *p, struct mp_lists *lists);
/* Sums over the CPUs. False: they cannot be read. */
bool mp_program_stats(struct mp_program *p, struct mp_guard_stats *stats,
                      struct mp_guard_counters *counters);
/* Packets that an entry of the deny list has dropped. */
uint64_t mp_program_hits(struct mp_program *p, const struct mp_conf_prefix *prefix);
