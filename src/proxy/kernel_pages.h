/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Admin pages of the kernel tier. */
#pragma once

struct mp_guard;
/* Once, before the admin listens. */
void mp_kernel_pages_register(struct mp_guard *g);
