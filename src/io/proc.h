/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the system says of the process: memory, descriptors, and the limits of both. Real program
 * only. 0: it does not say. */
#pragma once
#include <stdint.h>

/* Memory in RAM. */
uint64_t mp_proc_resident_bytes(void);
/* What the process may have: the tightest limit of its control groups, at most the machine's
 * memory.
 */
uint64_t mp_proc_memory_limit(void);
/* Open descriptors. Newer kernels answer with one call, older ones have them counted. */
uint64_t mp_proc_descriptors(void);
