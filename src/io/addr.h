/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Socket address, compact: one per connection. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/str.h"

enum mp_addr_family { MP_ADDR_NONE, MP_ADDR_IP4, MP_ADDR_IP6, MP_ADDR_UNIX };

#define MP_ADDR_UNIX_MAX 108

/* IPv4 or IPv6 in 24 bytes; a Unix path is a pointer owned by the configuration ("@name":
 * abstract). */
struct mp_addr {
    uint8_t family; /* enum mp_addr_family */
    uint8_t flags;
    uint16_t port; /* host order */
    uint32_t scope_id;
    union {
        uint8_t ip[16]; /* network order; IPv4 in the first 4 */
        const char *path;
    };
};
_Static_assert(sizeof(struct mp_addr) == 24, "one in every connection");

/* "1.2.3.4", "::1", "[::1]", "fe80::1%2": numeric only. */
MP_MUST_USE mp_err mp_addr_parse_ip(struct mp_str text, uint16_t port, struct mp_addr *ret);
/* "1.2.3.4:80", "[::1]:80", "unix:/path", "@abstract", "unix:@abstract". A Unix path is not copied:
 * there a NUL must follow the text, and the text must outlive ret. */
MP_MUST_USE mp_err mp_addr_parse(struct mp_str text, struct mp_addr *ret);
bool mp_addr_eq(const struct mp_addr *a, const struct mp_addr *b);    /* with port */
bool mp_addr_ip_eq(const struct mp_addr *a, const struct mp_addr *b); /* without */
uint64_t mp_addr_hash(const struct mp_addr *a);
/* Longest text of mp_addr_format, with NUL. */
#define MP_ADDR_TEXT_MAX 120
/* "1.2.3.4:80", "[::1]:80", path. Returns the length; out has MP_ADDR_TEXT_MAX bytes,
 * NUL-terminated. */
size_t mp_addr_format(const struct mp_addr *a, char *out);
/* "1.2.3.4", "::1". */
size_t mp_addr_format_ip(const struct mp_addr *a, char *out);

struct mp_cidr {
    struct mp_addr base;
    uint8_t bits;
};
/* "10.0.0.0/8", "::1/128"; an address alone is a range of one. Bits after the prefix are cleared.
 * An IPv4 range written as mapped IPv6 becomes IPv4, and mp_cidr_has takes a mapped address for
 * IPv4. */
MP_MUST_USE mp_err mp_cidr_parse(struct mp_str text, struct mp_cidr *ret);
bool mp_cidr_has(const struct mp_cidr *c, const struct mp_addr *a);
