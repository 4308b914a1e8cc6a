/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Unit test frame: TAP on standard output, one line per case. A case fails at its first failed T_OK
 * (return), the program exits 1 when any case failed. */
#pragma once
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int t_failed, t_case_failed, t_n;

#define T_OK(c)                                                      \
    do {                                                             \
        if (!(c)) {                                                  \
            printf("# %s:%d: failed: %s\n", __FILE__, __LINE__, #c); \
            t_case_failed = 1;                                       \
            return;                                                  \
        }                                                            \
    } while (0)
#define T_EQ(a, b)                                                                              \
    do {                                                                                        \
        long long t_a_ = (long long)(a), t_b_ = (long long)(b);                                 \
        if (t_a_ != t_b_) {                                                                     \
            printf("# %s:%d: %s is %lld, expected %lld\n", __FILE__, __LINE__, #a, t_a_, t_b_); \
            t_case_failed = 1;                                                                  \
            return;                                                                             \
        }                                                                                       \
    } while (0)
#define T_RUN(fn)                                                            \
    do {                                                                     \
        t_case_failed = 0;                                                   \
        fn();                                                                \
        t_failed += t_case_failed;                                           \
        printf("%s %d - %s\n", t_case_failed ? "not ok" : "ok", ++t_n, #fn); \
        fflush(stdout);                                                      \
    } while (0)
#define T_DONE() (printf("1..%d\n", t_n), t_failed ? 1 : 0)
