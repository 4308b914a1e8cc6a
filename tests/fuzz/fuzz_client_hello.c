/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/client_hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char tmp[MP_HELLO_MAX];
    struct mp_hello whole, part;
    enum mp_hello_status st = mp_hello_parse((const char *)data, size, tmp, &whole);
    /* What a part has decided, the whole does not change. */
    size_t n = size / 2;
    enum mp_hello_status first = mp_hello_parse((const char *)data, n, tmp, &part);
    if (first != MP_HELLO_MORE && first != st) {
        abort();
    }
    if (st == MP_HELLO_OK && strnlen(whole.name, sizeof(whole.name)) == sizeof(whole.name)) {
        abort();
    }
    return 0;
}
