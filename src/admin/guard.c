/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "admin/guard.h"

#include "codec/uri.h"
#include "io/addr.h"

bool mp_admin_is_loopback(const struct mp_conf_addr *a)
{
    struct mp_cidr ip4, ip6;
    struct mp_addr addr;
    if (a->is_unix || mp_is_err(mp_addr_parse_ip(a->host, 0, &addr)) ||
        mp_is_err(mp_cidr_parse(MP_STR("127.0.0.0/8"), &ip4)) ||
        mp_is_err(mp_cidr_parse(MP_STR("::1"), &ip6))) {
        return false;
    }
    return mp_cidr_has(&ip4, &addr) || mp_cidr_has(&ip6, &addr);
}

/* An address cannot be rebound, and localhost is not looked up in the DNS. */
static bool is_own_name(struct mp_str authority)
{
    struct mp_str host;
    unsigned port;
    struct mp_addr addr;
    if (authority.n == 0) {
        return true;
    }
    if (!mp_authority_parse(authority, &host, &port)) {
        return false;
    }
    return mp_str_ieq(host, MP_STR("localhost")) || !mp_is_err(mp_addr_parse_ip(host, 0, &addr));
}

/* "scheme://authority", or "null", which equals nothing. */
static bool is_same_origin(struct mp_str origin, struct mp_str authority)
{
    ptrdiff_t at = mp_str_find(origin, MP_STR("://"));
    if (at < 0) {
        return false;
    }
    struct mp_str there = mp_str(origin.p + at + 3, origin.n - (size_t)at - 3);
    return there.n > 0 && mp_str_ieq(there, authority);
}

const char *mp_admin_refusal(bool loopback, bool changes, struct mp_str authority,
                             const struct mp_hdrs *hdrs)
{
    if (loopback && !is_own_name(authority)) {
        return "the admin server listens on a loopback address and answers only to localhost or an "
               "IP address as Host";
    }
    if (!changes) {
        return NULL;
    }
    for (const struct mp_hdr *e = mp_hdrs_find(hdrs, MP_STR("origin")); e != NULL;
         e = mp_hdrs_next_same(hdrs, e)) {
        if (!is_same_origin(mp_hdr_value(e), authority)) {
            return "the request comes from a web page of another origin";
        }
    }
    return NULL;
}
