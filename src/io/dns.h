/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Asynchronous name resolution (c-ares in the real program), on the main thread's loop. The
 * simulation answers from a table with seeded delays and failures.
 */
#pragma once
#include <stdint.h>
#include "base/err.h"
#include "base/str.h"
#include "io/addr.h"
#include "io/loop.h"

enum mp_dns_family { MP_DNS_AUTO, MP_DNS_V4_ONLY, MP_DNS_V6_ONLY, MP_DNS_V4_PREFERRED, MP_DNS_ALL };

struct mp_dns;
struct mp_dns_query;

struct mp_dns_answer {
    mp_err err;                  /* OK, DNS (failed), NOT_FOUND (no such name), TIMEOUT */
    const char *detail;          /* static text */
    const struct mp_addr *addrs; /* port 0; sorted, without duplicates; valid during the call */
    uint32_t n;
    uint32_t ttl_s; /* smallest of the answer; 0: none known (hosts file) */
};

/* servers: NULL takes /etc/resolv.conf; else "127.0.0.1:5353,..." (at most 16). */
MP_MUST_USE mp_err mp_dns_new(struct mp_loop *l, const char *servers, struct mp_dns **ret);
struct mp_dns *mp_dns_free(struct mp_dns *d); /* open queries are cancelled without a callback */
/* The callback runs exactly once, never from inside this call, unless cancelled. AUTO: IPv6 first,
 * IPv4 when there is none; V4_PREFERRED the reverse; ALL both. The hosts file is honoured. */
struct mp_dns_query *mp_dns_resolve(struct mp_dns *d, struct mp_str name, enum mp_dns_family family,
                                    void (*done)(void *arg, const struct mp_dns_answer *a),
                                    void *arg);
void mp_dns_cancel(struct mp_dns_query *q);
