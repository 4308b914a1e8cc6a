/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <errno.h>
#include <sys/random.h>
#include <sys/types.h>
#include "base/assert.h"
#include "io/entropy.h"

void mp_entropy(void *out, size_t n)
{
    char *at = out;
    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0) {
            MP_ASSERT(errno == EINTR);
            continue;
        }
        at += got;
        n -= (size_t)got;
    }
}

uint64_t mp_entropy_u64(void)
{
    uint64_t v;
    mp_entropy(&v, sizeof v);
    return v;
}
