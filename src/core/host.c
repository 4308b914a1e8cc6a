/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/host.h"

#include <stdlib.h>

#include "base/assert.h"
#include "core/cluster.h"
#include "core/engine.h"

struct mp_host_shared *mp_host_shared_get(struct mp_engine *e, struct mp_cluster_shared *c,
                                          const struct mp_addr *addr)
{
    char text[MP_ADDR_TEXT_MAX];
    struct mp_str key = mp_str(text, mp_addr_format(addr, text));
    pthread_mutex_lock(&e->shared_lock);
    struct mp_host_shared *h = mp_map_get(&c->hosts, key);
    if (h == NULL) {
        h = aligned_alloc(MP_CACHE_LINE, sizeof(*h));
        MP_ASSERT(h != NULL);
        *h = (struct mp_host_shared){.refs = 1};
        h->text = mp_str_c(mp_str_dup_c(key));
        mp_map_set(&c->hosts, h->text, h);
    }
    mp_host_shared_ref(h);
    pthread_mutex_unlock(&e->shared_lock);
    return h;
}

void mp_host_shared_purge(struct mp_engine *e, struct mp_cluster_shared *c, bool all)
{
    pthread_mutex_lock(&e->shared_lock);
    size_t pos = 0, n = 0;
    struct mp_map_entry *entry;
    struct mp_host_shared **gone = malloc((c->hosts.n + 1) * sizeof(struct mp_host_shared *));
    MP_ASSERT(gone != NULL);
    while ((entry = mp_map_next(&c->hosts, &pos)) != NULL) {
        struct mp_host_shared *h = entry->value;
        if (all || __atomic_load_n(&h->refs, __ATOMIC_ACQUIRE) == 1) {
            gone[n++] = h;
        }
    }
    for (size_t i = 0; i < n; i++) {
        mp_map_del(&c->hosts, gone[i]->text);
        free((char *)(uintptr_t)gone[i]->text.p);
        free(gone[i]->counts);
        free(gone[i]);
    }
    pthread_mutex_unlock(&e->shared_lock);
    free(gone);
}

bool mp_host_set_health(struct mp_cluster_shared *c, struct mp_host_shared *h, uint32_t set,
                        uint32_t clear, uint64_t now_ns)
{
    uint32_t before = mp_host_health(h), after = (before & ~clear) | set;
    if (after == before) {
        return false;
    }
    if ((before & MP_HEALTH_DOWN) != 0 && (after & MP_HEALTH_DOWN) == 0) {
        __atomic_store_n(&h->since_ns, now_ns, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&h->health, after, __ATOMIC_RELAXED);
    __atomic_add_fetch(&c->health_version, 1, __ATOMIC_RELEASE);
    return true;
}
