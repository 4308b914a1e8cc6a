/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A chunked body and its trailers. */
#include "fuzz/fuzz_h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *in = (const char *)data;
    char *whole = malloc(n + 1), *part = malloc(n + 1);
    size_t whole_n, part_n, used = 0, part_used = 0;
    FUZZ_CHECK(whole != NULL && part != NULL);
    enum mp_h1_status st = help_body(in, n, 0, whole, &whole_n, &used);
    FUZZ_CHECK(whole_n <= n);
    uint32_t h = fuzz_hash(data, n);
    for (int round = 0; round < 3; round++) {
        size_t step = 1 + h % 61;
        enum mp_h1_status s = help_body(in, n, step, part, &part_n, &part_used);
        /* In pieces a bad trailer section may be refused later. */
        FUZZ_CHECK(s == st || (s == MP_H1_MORE && st != MP_H1_OK));
        FUZZ_CHECK(part_n == whole_n && memcmp(part, whole, whole_n) == 0);
        FUZZ_CHECK(st != MP_H1_OK || part_used == used);
        h = h * 2654435761u + 1;
    }
    if (st == MP_H1_OK) {
        FUZZ_CHECK(used <= n);
#if MP_HAVE_LLHTTP
        const char *why = peer_check_body(in, n, whole, whole_n, used);
        if (why != NULL) {
            fprintf(stderr, "llhttp differs: %s\n", why);
            abort();
        }
#endif
    }
    free(whole);
    free(part);
    return 0;
}
