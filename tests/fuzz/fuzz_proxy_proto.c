/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/proxy_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mp_proxy_header h, again;
    size_t used = 0, k = 0;
    char out[MP_PROXY_OUT_MAX];
    if (mp_proxy_parse((const char *)data, size, &h, &used) != MP_PROXY_OK) {
        return 0;
    }
    /* It is whole exactly with its last byte, and what it says can be said again. */
    if (used > size || mp_proxy_parse((const char *)data, used - 1, &again, &k) != MP_PROXY_MORE) {
        abort();
    }
    size_t n = mp_proxy_write(&h, out);
    if (n > sizeof(out) || mp_proxy_parse(out, n, &again, &k) != MP_PROXY_OK || k != n ||
        memcmp(&h, &again, sizeof(h)) != 0) {
        abort();
    }
    return 0;
}
