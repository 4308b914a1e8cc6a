/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The files that the configuration was made of at its last reading: which they are, and whether any
 * of them is another one now. With --watch they are looked at once a second; the main file has
 * proxy/watch.h besides, which is faster.
 */
#pragma once
#include <stdint.h>
#include "conf/named.h"
#include "io/loop.h"

#define MP_PARTS_POLL_MS 1000

/* Any thread: told by a reading of the configuration. */
void mp_parts_begin(void);
void mp_parts_name(void *arg, struct mp_str path, enum mp_conf_named_kind kind);
void mp_parts_end(void);
struct mp_parts_state {
    uint64_t read, now; /* numbers that differ when one of them does */
};
void mp_parts_look(struct mp_parts_state *ret);

/* Main thread. changed runs while the files differ from those that were read, and have come to
 * rest. */
void mp_parts_watch(struct mp_loop *l, void (*changed)(void *arg), void *arg);
void mp_parts_unwatch(void);
void mp_parts_fini(void);
