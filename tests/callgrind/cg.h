/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Frame of the instruction-count programs. Without an argument a program lists its cases; with a
 * case's name it prepares it, runs it once to warm up (lazy binding, first blocks of pools), and
 * once measured: tools/callgrind_gate.py counts what runs inside cg_run, in our own code alone (not
 * libc's), and compares it with limits.json.
 */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cg_case {
    const char *name;
    void (*prepare)(void); /* may be NULL */
    void (*run)(void);     /* must do the same work each time */
};

/* Counting starts and ends with this function, by name. */
__attribute__((noinline)) static void cg_run(void (*run)(void))
{
    run();
    __asm__ volatile("" ::: "memory");
}

static inline int cg_main(int argc, char **argv, const struct cg_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (argc < 2) {
            puts(cases[i].name);
        } else if (strcmp(argv[1], cases[i].name) == 0) {
            if (cases[i].prepare) {
                cases[i].prepare();
            }
            cases[i].run();
            cg_run(cases[i].run);
            return 0;
        }
    }
    if (argc < 2) {
        return 0;
    }
    fprintf(stderr, "no such case: %s\n", argv[1]);
    return 2;
}
