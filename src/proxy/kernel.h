/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The kernel tier's guard in this program: its life beside the engine's, its admin pages
 * (/deny_list, /kernel), its stats. */
#pragma once
#include "core/guard_ops.h"

struct mp_conf;
struct mp_engine;

/* For mp_engine_opts.guard; is there from the start. */
const struct mp_guard_hook *mp_kernel_hook(void);
/* With all rights, before threads: loads and attaches what the configuration asks for. Registers
 * the admin pages. */
void mp_kernel_start(const struct mp_conf *conf);
/* The engine lives: stats and the timer begin. */
void mp_kernel_bind(struct mp_engine *e);
/* From the engine's on_published: what the current snapshot says holds. */
void mp_kernel_published(struct mp_engine *e);
/* The loops are at rest; before the engine is freed. */
void mp_kernel_stop(struct mp_engine *e);
