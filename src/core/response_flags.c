/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <string.h>

#include "core/stream.h"

uint32_t mp_response_flag_of(struct mp_str name)
{
#define MP_FLAG(token, short_name, text)         \
    if (mp_str_eq(name, mp_str_c(short_name))) { \
        return MP_FLAG_##token;                  \
    }
#include "core/response_flag.def"
#undef MP_FLAG
    return 0;
}

size_t mp_response_flags_format(uint32_t flags, char *out, size_t cap)
{
    static const char *const names[] = {
#define MP_FLAG(token, name, text) name,
#include "core/response_flag.def"
#undef MP_FLAG
    };
    size_t n = 0;
    for (unsigned i = 0; i < MP_FLAG_BITS; i++) {
        if ((flags >> i & 1) == 0) {
            continue;
        }
        size_t len = strlen(names[i]);
        if (n + len + 1 > cap) {
            break;
        }
        if (n > 0) {
            out[n++] = ',';
        }
        memcpy(out + n, names[i], len);
        n += len;
    }
    if (n == 0 && cap > 0) {
        out[n++] = '-';
    }
    return n;
}
