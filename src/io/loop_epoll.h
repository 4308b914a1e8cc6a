/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the kernel loop offers beyond io/loop.h to files of this folder: level-triggered descriptors
 * for a foreign library (c-ares) that opens, drains and closes its sockets by its own rules.
 */
#pragma once
#include "io/loop.h"

/* want: MP_IO_IN | MP_IO_OUT. The descriptor stays the library's: end with mp_io_steal. */
MP_MUST_USE mp_err mp_io_open_level(struct mp_loop *l, struct mp_io *io, int fd, unsigned want,
                                    void (*on_ready)(struct mp_io *io, unsigned events));
void mp_io_level_want(struct mp_loop *l, struct mp_io *io, unsigned want);
