/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The overload manager: the main thread looks at memory and descriptors every refresh_interval and
 * sets how far each action goes; workers read that where the action would act.
 *
 * Memory is what the process has in RAM less what its pools hold free: freed requests count at
 * once, though their memory is kept for the next ones.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "conf/model.h"
#include "core/engine.h"
#include "core/worker.h"

/* An action's level: 0 off, MP_OVERLOAD_FULL always; between them a share of the cases. */
#define MP_OVERLOAD_FULL 65536u

bool mp_overload_roll(struct mp_core_worker *cw, uint32_t level);
/* Does the action act now, on this case? Worker thread. Off, it costs one load of a line that is
 * hardly ever written. Never for the admin's connections. */
static inline bool mp_overload_on(struct mp_core_worker *cw, enum mp_conf_overload_action a)
{
    uint32_t level = __atomic_load_n(&cw->engine->overload_level[a], __ATOMIC_RELAXED);
    return MP_UNLIKELY(level > 0) && mp_overload_roll(cw, level);
}

struct mp_overload *mp_overload_new(struct mp_engine *e);
struct mp_overload *mp_overload_free(struct mp_overload *o);
/* Main thread: a configuration has been published. */
void mp_overload_published(struct mp_overload *o);
/* Bytes that the pools of one worker may hand out under the configuration; 0: no limit. */
size_t mp_overload_worker_bytes(const struct mp_engine *e, const struct mp_conf_overload *conf);
/* The level of an action under the pressures (0 to 1 and above) of the resources. */
uint32_t mp_overload_level(const struct mp_conf_overload *conf, enum mp_conf_overload_action a,
                           const double pressure[MP_RESOURCES]);
