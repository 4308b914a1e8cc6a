/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Keyed 64-bit hash (SipHash-1-3 by J.-P. Aumasson and D. J. Bernstein): safe for tables that a
 * peer fills. One process-wide random key, set before the first use.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/str.h"

/* Must be called once, before threads start; the simulation gives a fixed key. */
void mp_hash_set_key(uint64_t k0, uint64_t k1);
uint64_t mp_hash(const void *p, size_t n);
/* ASCII upper case counts as lower case. */
uint64_t mp_hash_lower(struct mp_str s);
/* Unkeyed FNV-1a, for trace hashes and change detection of our own data; never for tables. */
uint64_t mp_hash_fnv(uint64_t seed, const void *p, size_t n);
#define MP_FNV_SEED 0xcbf29ce484222325ull
