/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/assert.h"

#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

#define BUG_SITES 256

static uint64_t bug_count;
/* Sites already logged, a small open-addressed set that only grows. 0: free. */
static uint64_t bug_sites[BUG_SITES];

void mp_assert_fail(const char *expr, const char *file, int line)
{
    char text[512];
    int n = snprintf(text, sizeof(text), "assertion failed: %s at %s:%d\n", expr, file, line);
    size_t len = MP_MIN((size_t)MP_MAX(n, 0), sizeof(text) - 1);
    /* The message goes out first and past stdio: backtrace() may allocate, and the heap may be the
     * very thing that is broken. */
    ssize_t written = write(STDERR_FILENO, text, len);
    (void)written;
    void *frames[64];
    backtrace_symbols_fd(frames, backtrace(frames, (int)MP_COUNTOF(frames)), STDERR_FILENO);
    abort();
}

/* True when this site was not seen before. When the set is full, every further site counts as seen:
 * a flood of bugs must not become a flood of lines. */
static bool site_is_new(const char *file, int line)
{
    uint64_t key = ((uint64_t)(uintptr_t)file ^ ((uint64_t)line << 48) ^ (uint64_t)line) | 1;
    size_t at = (key * 0x9e3779b97f4a7c15ull) >> 56;
    for (size_t i = 0; i < BUG_SITES; i++) {
        uint64_t *cell = &bug_sites[(at + i) % BUG_SITES];
        uint64_t seen = 0;
        if (__atomic_compare_exchange_n(cell, &seen, key, false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)) {
            return true;
        }
        if (seen == key) {
            return false;
        }
    }
    return false;
}

void mp_bug_report(const char *expr, const char *file, int line)
{
    __atomic_fetch_add(&bug_count, 1, __ATOMIC_RELAXED);
    if (!site_is_new(file, line) ||
        MP_LOG_ERROR < __atomic_load_n(&mp_log_threshold, __ATOMIC_RELAXED)) {
        return;
    }
    const struct mp_kv kvs[] = {
        kv_c("condition", expr),
        kv_c("file", file),
        kv_i64("line", line),
    };
    mp_log_emit(NULL, MP_LOG_ERROR, file, line, "suspected bug, carrying on", kvs, MP_COUNTOF(kvs));
}

uint64_t mp_bug_count(void)
{
    return __atomic_load_n(&bug_count, __ATOMIC_RELAXED);
}
