/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Heap memory for control code. True exhaustion aborts with a message: there is no caller that
 * could do better. Everything here is released with free().
 */
#pragma once
#include <stddef.h>
#include "base/compiler.h"

void *mp_xmalloc(size_t n);
/* Zeroed; count * size is checked. */
void *mp_xcalloc(size_t count, size_t size);
void *mp_xrealloc(void *p, size_t n);
/* Zeroed, starts on a cache line and fills whole ones, so that nobody else writes beside it. */
void *mp_xcalloc_line(size_t n);
