/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A TLS ClientHello as far as it chooses a filter chain: the server's name and the protocols. What
 * it finds is only a choice; TLS itself reads the message again. */
#pragma once
#include <stddef.h>
#include "base/str.h"

enum mp_hello_status {
    MP_HELLO_OK,
    MP_HELLO_MORE,
    MP_HELLO_NONE, /* not TLS */
    MP_HELLO_BAD
};
struct mp_hello {
    char name[256]; /* lower case, NUL-terminated; empty: none */
    char alpn[256]; /* as on the wire: length, name, ...; what does not fit is left out */
    size_t alpn_n;
};
/* Longer ones are refused. */
#define MP_HELLO_MAX (16 * 1024)
/* One byte tells whether it is TLS. tmp: room to put records together, MP_HELLO_MAX bytes. */
enum mp_hello_status mp_hello_parse(const char *p, size_t n, char *tmp, struct mp_hello *ret);
