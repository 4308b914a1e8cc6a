/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The file in which what operators and verdicts have put on the lists outlives the process. It
 * stays open, because later we may have no right to open it.
 */
#pragma once
#include <stdint.h>
#include "kern/lists.h"

/* A descriptor, or a negative errno; what the file holds is added to the lists. */
int mp_state_open(const char *path, struct mp_lists *lists, uint64_t now_ns);
/* 0 or a negative errno. */
int mp_state_write(int fd, struct mp_lists *lists, uint64_t now_ns);
