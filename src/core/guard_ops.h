/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the engine asks of the kernel tier's guard, and tells it: who may connect, and which source
 * misbehaves. Injected by proxy/main; NULL in the simulation and in tests. Any worker thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "io/addr.h"

/* Order: mp_conf_xdp.ban_after. */
enum mp_guard_event {
    MP_GUARD_AUTH_FAILURE,
    MP_GUARD_RATE_LIMITED,
    MP_GUARD_PROTOCOL_ERROR,
    MP_GUARD_HEADER_TIMEOUT,
    MP_GUARD_CLIENT_ERROR,
    MP_GUARD_EVENTS
};

struct mp_guard_ops {
    /* False: the source is denied, or over its limit where no program in the kernel sees to it. */
    bool (*admit)(void *guard, const struct mp_addr *peer);
    void (*report)(void *guard, const struct mp_addr *peer, enum mp_guard_event event);
};

/* One in the engine. on says whether the calls can have an effect at all: it is 0 most of the time,
 * which costs a load of a line that nobody writes and a predicted branch. */
#define MP_GUARD_ADMITS  1u
#define MP_GUARD_REPORTS 2u
struct mp_guard_hook {
    const struct mp_guard_ops *ops;
    void *guard;
    uint32_t on; /* atomic */
};

static inline bool mp_guard_is_on(const struct mp_guard_hook *h, uint32_t what)
{
    return MP_UNLIKELY((__atomic_load_n(&h->on, __ATOMIC_RELAXED) & what) != 0);
}
static inline bool mp_guard_admits(const struct mp_guard_hook *h, const struct mp_addr *peer)
{
    return !mp_guard_is_on(h, MP_GUARD_ADMITS) || h->ops->admit(h->guard, peer);
}
/* by_proxy: the peer is a trusted proxy, who is never denied for what its clients do. */
static inline void mp_guard_report(const struct mp_guard_hook *h, const struct mp_addr *peer,
                                   bool by_proxy, enum mp_guard_event event)
{
    if (mp_guard_is_on(h, MP_GUARD_REPORTS) && !by_proxy) {
        h->ops->report(h->guard, peer, event);
    }
}
static inline void mp_guard_report_status(const struct mp_guard_hook *h, const struct mp_addr *peer,
                                          bool by_proxy, unsigned status)
{
    if (!mp_guard_is_on(h, MP_GUARD_REPORTS) || by_proxy || status < 400 || status > 499) {
        return;
    }
    if (status == 401 || status == 403) {
        h->ops->report(h->guard, peer, MP_GUARD_AUTH_FAILURE);
    } else if (status == 429) {
        h->ops->report(h->guard, peer, MP_GUARD_RATE_LIMITED);
    }
    h->ops->report(h->guard, peer, MP_GUARD_CLIENT_ERROR);
}
