/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Three grades of "cannot happen". Bytes that came from a peer are never asserted: they get an
 * error.
 *
 * MP_ASSERT        always on, cheap, aborts: invariants of our own code. One condition per assert.
 * MP_DEBUG_ASSERT  only with -Ddebug_asserts=true: may walk a structure.
 * MP_BUG_ONCE      suspected impossibility on live traffic: counted and logged once per site, then
 *                  the caller carries on. Evaluates to the condition.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"

_Noreturn void mp_assert_fail(const char *expr, const char *file, int line);
void mp_bug_report(const char *expr, const char *file, int line);
/* Number of MP_BUG_ONCE conditions met since start, all threads. Exported as server.bugs. */
uint64_t mp_bug_count(void);

#define MP_ASSERT(c) (MP_LIKELY(c) ? (void)0 : mp_assert_fail(#c, __FILE__, __LINE__))
#ifdef MP_DEBUG
#define MP_DEBUG_ASSERT(c) MP_ASSERT(c)
#else
#define MP_DEBUG_ASSERT(c) ((void)sizeof(c))
#endif
#define MP_BUG_ONCE(c) (MP_UNLIKELY(c) ? (mp_bug_report(#c, __FILE__, __LINE__), true) : false)

/* Long-lived objects start with a magic, checked where they cross a void pointer. */
#define MP_CHECK_MAGIC(obj, value) MP_ASSERT((obj)->magic == (value))
