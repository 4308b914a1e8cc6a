/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Watches the loops from a thread of its own: one that does not finish its turn, or does not wake
 * up when it is called, is counted (main_thread.watchdog_miss, workers.watchdog_mega_miss ...),
 * logged, and after kill_timeout ends the process with its backtrace.
 */
#pragma once
#include <stdint.h>
#include "base/stat.h"
#include "conf/model.h"
#include "io/loop.h"

struct mp_watchdog;

struct mp_watchdog_opts {
    struct mp_loop **loops; /* n of them; the last is the main thread's */
    uint32_t n;
    struct mp_stat_store *stats;
    uint32_t writer; /* of the stats: the watchdog's alone */
};
struct mp_watchdog *mp_watchdog_new(const struct mp_watchdog_opts *opts);
/* Main thread: times of the present configuration. */
void mp_watchdog_set(struct mp_watchdog *d, const struct mp_conf_watchdog *main,
                     const struct mp_conf_watchdog *workers);
/* Called in the thread that runs loop i. */
void mp_watchdog_enter(struct mp_watchdog *d, uint32_t i);
/* All loops run. */
void mp_watchdog_start(struct mp_watchdog *d);
/* Loops are about to end. NULL is harmless. Returns NULL. */
struct mp_watchdog *mp_watchdog_free(struct mp_watchdog *d);
