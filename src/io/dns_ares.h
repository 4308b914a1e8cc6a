/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Private to this folder and its tests: the resolver with other settings than mp_dns_new takes. */
#pragma once
#include "io/dns.h"

struct mp_dns_tuning {
    uint32_t timeout_ms; /* of the first try; doubled for each further one */
    uint32_t tries;      /* per server */
    bool env_hosts;      /* the variable CARES_HOSTS names the hosts file */
};
MP_MUST_USE mp_err mp_dns_new_tuned(struct mp_loop *l, const char *servers,
                                    const struct mp_dns_tuning *tuning, struct mp_dns **ret);
