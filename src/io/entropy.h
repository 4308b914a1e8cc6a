/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Randomness from outside; the simulation gives seeded bytes. */
#pragma once
#include <stddef.h>
#include <stdint.h>
/* Fills from getrandom(2); aborts when the kernel refuses. */
void mp_entropy(void *out, size_t n);
uint64_t mp_entropy_u64(void);
