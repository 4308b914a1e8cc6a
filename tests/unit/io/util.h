/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Helpers of the io tests. */
#pragma once
#include <stdbool.h>
#include "io/addr.h"
#include "io/loop.h"
#include "io/sock.h"

/* Turns the loop until the condition holds; gives up after 10 s. */
#define RUN_UNTIL(l, c)                                         \
    do {                                                        \
        uint64_t until_ = mp_loop_clock_ns(l) + 10000000000ull; \
        while (!(c) && mp_loop_clock_ns(l) < until_) {          \
            mp_loop_turn((l), 50);                              \
        }                                                       \
    } while (0)

static inline struct mp_addr addr_of(const char *text)
{
    struct mp_addr a = {0};
    if (mp_is_err(mp_addr_parse(mp_str_c(text), &a))) {
        a.family = MP_ADDR_NONE;
    }
    return a;
}
