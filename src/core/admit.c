/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/admit.h"

#include "core/engine.h"
#include "core/guard_ops.h"
#include "core/listener.h"
#include "core/overload.h"
#include "core/stats.h"

/* The bucket is the process's: workers that come at the same moment try again. */
static bool take_shared(uint64_t *full_ns, const struct mp_conf_accept_limits *a, uint64_t now_ns)
{
    uint64_t seen = __atomic_load_n(full_ns, __ATOMIC_RELAXED), next;
    do {
        next = seen;
        if (!mp_rate_take(&next, a->rate, a->burst, now_ns)) {
            return false;
        }
    } while (!__atomic_compare_exchange_n(full_ns, &seen, next, true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return true;
}

static bool admit_source(struct mp_listener_local *l, const struct mp_addr *peer, uint64_t now_ns)
{
    switch (mp_sources_enter(l->conf->shared->sources, peer, &l->conf->conf->accept, now_ns)) {
    case MP_SOURCE_TOO_MANY:
        mp_stat_inc(l->stats, MP_ST_LISTENER_SOURCE_OVERFLOW);
        return false;
    case MP_SOURCE_TOO_FAST:
        mp_stat_inc(l->stats, MP_ST_LISTENER_SOURCE_RATE_LIMITED);
        return false;
    case MP_SOURCE_OK:
        break;
    }
    return true;
}

bool mp_admit(struct mp_listener_local *l, const struct mp_addr *peer, bool *ret_counted)
{
    const struct mp_engine *e = l->cw->engine;
    *ret_counted = false;
    if (l->cw == e->main) {
        return true; /* the operator gets in when nobody else does */
    }
    if (!mp_guard_admits(e->guard, peer)) {
        mp_stat_inc(l->stats, MP_ST_LISTENER_GUARD_REFUSED);
        return false;
    }
    if (__atomic_load_n(&e->connections, __ATOMIC_RELAXED) >=
        __atomic_load_n(&e->connections_max, __ATOMIC_RELAXED)) {
        mp_stat_inc(l->stats, MP_ST_LISTENER_GLOBAL_CX_OVERFLOW);
        return false;
    }
    uint32_t own = l->conf->conf->connections_max;
    if (own > 0 && __atomic_load_n(&l->conf->shared->connections, __ATOMIC_RELAXED) >= own) {
        mp_stat_inc(l->stats, MP_ST_LISTENER_CX_OVERFLOW);
        return false;
    }
    if (mp_overload_on(l->cw, MP_OVERLOAD_REJECT_CONNECTIONS)) {
        mp_stat_inc(l->stats, MP_ST_LISTENER_OVERLOAD_REJECT);
        return false;
    }
    const struct mp_conf_accept_limits *a = &l->conf->conf->accept;
    uint64_t now_ns = mp_loop_now_ns(l->cw->w.loop);
    if (a->rate > 0 && !take_shared(&l->conf->shared->accept_full_ns, a, now_ns)) {
        mp_stat_inc(l->stats, MP_ST_LISTENER_RATE_LIMITED);
        return false;
    }
    if (a->source_connections == 0 && a->source_rate == 0) {
        return true;
    }
    *ret_counted = admit_source(l, peer, now_ns);
    return *ret_counted;
}

void mp_admit_gone(struct mp_listener_local *l, const struct mp_addr *peer)
{
    mp_sources_gone(l->conf->shared->sources, peer, mp_loop_now_ns(l->cw->w.loop));
}
