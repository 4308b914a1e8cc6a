/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/hs_budget.h"

#include "base/hash.h"
#include "base/mem.h"
#include "core/worker.h"
#include "io/addr.h"

/* Four places for a hash: who fails most stays. A table that is too small forgets, and never
 * blames one source for another: the whole hash is compared. */
#define SETS 1024
#define WAYS 4

struct mp_hs_entry {
    uint64_t source;
    uint64_t window; /* its number; 0: free */
    uint32_t failures;
};

static uint64_t source_hash(const struct mp_addr *a)
{
    uint64_t h = mp_hash_fnv(MP_FNV_SEED, &a->family, 1);
    return mp_hash_fnv(h, a->ip, a->family == MP_ADDR_IP4 ? 4 : 8);
}

static bool has_source(const struct mp_addr *a)
{
    return a->family == MP_ADDR_IP4 || a->family == MP_ADDR_IP6;
}

static uint64_t window_of(uint64_t now_ms)
{
    return now_ms / MP_HS_WINDOW_MS + 1;
}

static struct mp_hs_entry *set_of(const struct mp_core_worker *cw, uint64_t source)
{
    return &cw->hs_failures[(source ^ source >> 32) % SETS * WAYS];
}

void mp_hs_budget_count(struct mp_core_worker *cw, const struct mp_addr *a, uint64_t now_ms)
{
    if (!has_source(a)) {
        return;
    }
    if (cw->hs_failures == NULL) {
        cw->hs_failures = mp_xcalloc(SETS * WAYS, sizeof(*cw->hs_failures));
    }
    uint64_t source = source_hash(a), window = window_of(now_ms);
    struct mp_hs_entry *set = set_of(cw, source), *least = set;
    for (struct mp_hs_entry *e = set; e < set + WAYS; e++) {
        if (e->window == window && e->source == source) {
            e->failures++;
            return;
        }
        bool old = e->window != window, least_old = least->window != window;
        if (old != least_old ? old : e->failures < least->failures) {
            least = e;
        }
    }
    *least = (struct mp_hs_entry){source, window, 1};
}

bool mp_hs_budget_spent(const struct mp_core_worker *cw, const struct mp_addr *a, uint32_t max,
                        uint64_t now_ms)
{
    if (max == 0 || cw->hs_failures == NULL || !has_source(a)) {
        return false;
    }
    uint64_t source = source_hash(a);
    const struct mp_hs_entry *set = set_of(cw, source);
    for (const struct mp_hs_entry *e = set; e < set + WAYS; e++) {
        if (e->window == window_of(now_ms) && e->source == source) {
            return e->failures >= max;
        }
    }
    return false;
}
