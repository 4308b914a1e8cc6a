/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdint.h>

#include "base/mem.h"
#include "t.h"

static void sizes(void)
{
    void *p = mp_xmalloc(0);
    T_OK(p);
    p = mp_xrealloc(p, 0);
    T_OK(p);
    free(p);
    p = mp_xcalloc(0, 8);
    T_OK(p);
    free(p);
    unsigned char *z = mp_xcalloc(3, 5);
    for (int i = 0; i < 15; i++) {
        T_EQ(z[i], 0);
    }
    z = mp_xrealloc(z, 1000);
    z[999] = 1;
    free(z);
}

static void lines(void)
{
    for (size_t n = 0; n <= 129; n++) {
        unsigned char *p = mp_xcalloc_line(n);
        T_EQ((uintptr_t)p % MP_CACHE_LINE, 0);
        size_t whole = n == 0 ? 64 : (n + 63) / 64 * 64;
        for (size_t i = 0; i < whole; i++) {
            T_EQ(p[i], 0); /* the sanitizer objects when the last line is not whole */
        }
        free(p);
    }
}

int main(void)
{
    T_RUN(sizes);
    T_RUN(lines);
    return T_DONE();
}
