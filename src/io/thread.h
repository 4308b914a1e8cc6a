/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Threads of the real program (the simulation has none). */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"

struct mp_thread;
/* Starts fn(arg) under the given name (15 bytes at most); cpu < 0: not pinned. All signals are
 * blocked in it. */
MP_MUST_USE mp_err mp_thread_start(const char *name, int cpu, void (*fn)(void *arg), void *arg,
                                   struct mp_thread **ret);
void mp_thread_join(struct mp_thread *t);
/* CPUs that this process may use (cpuset considered); ids in ret_cpus, at most max. */
uint32_t mp_cpus_allowed(uint32_t *ret_cpus, uint32_t max);
