/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The PROXY protocol, versions 1 and 2: who the client of a connection through another proxy is. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mp_proxy_status {
    MP_PROXY_OK,
    MP_PROXY_MORE, /* may become one */
    MP_PROXY_NONE, /* begins with something else */
    MP_PROXY_BAD
};
struct mp_proxy_end {
    uint8_t ip[16]; /* network order; IPv4 in the first 4 */
    uint16_t port;
};
struct mp_proxy_header {
    uint8_t version; /* 1, 2 */
    uint8_t family;  /* 4, 6; 0: nothing is said (health checks of the proxy, UNKNOWN, Unix) */
    struct mp_proxy_end from, to;
};

/* Addresses and TLVs of version 2; a longer header is refused. */
#define MP_PROXY_BODY_MAX 4096
/* *ret_used: length of the header, when OK. */
enum mp_proxy_status mp_proxy_parse(const char *p, size_t n, struct mp_proxy_header *ret,
                                    size_t *ret_used);

/* Longest of both versions as written here. */
#define MP_PROXY_OUT_MAX 108
/* Writes version h->version; returns the length. */
size_t mp_proxy_write(const struct mp_proxy_header *h, char *out);
