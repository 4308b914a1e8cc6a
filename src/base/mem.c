/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

static void *checked(void *p)
{
    if (!p) {
        mp_assert_fail("out of memory", __FILE__, __LINE__);
    }
    return p;
}

void *mp_xmalloc(size_t n)
{
    return checked(malloc(n ? n : 1));
}

void *mp_xcalloc(size_t count, size_t size)
{
    if (count == 0 || size == 0) {
        return checked(calloc(1, 1));
    }
    return checked(calloc(count, size));
}

void *mp_xrealloc(void *p, size_t n)
{
    return checked(realloc(p, n ? n : 1));
}

void *mp_xcalloc_line(size_t n)
{
    MP_ASSERT(n <= SIZE_MAX - MP_CACHE_LINE);
    size_t size = (n + MP_CACHE_LINE - 1) & ~(size_t)(MP_CACHE_LINE - 1);
    size = size ? size : MP_CACHE_LINE;
    return memset(checked(aligned_alloc(MP_CACHE_LINE, size)), 0, size);
}
