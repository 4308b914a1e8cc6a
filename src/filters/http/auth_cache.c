/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Tokens that were valid a moment ago. One table a thread and configuration: a new configuration
 * begins with an empty one, so nothing outlives a rotated secret.
 *
 * Sets of four slots; in a full set the entry that would be forgotten first makes room.
 */
#include "base/hash.h"
#include "filters/http/auth.h"

#define WAYS 4

struct cache {
    uint32_t sets;
    struct mp_auth_slot slots[] __attribute__((aligned(64)));
};

static void wipe_cache(void *p)
{
    struct cache *c = p;
    for (uint32_t i = 0; i < c->sets * WAYS; i++) {
        if (c->slots[i].until_ns != 0) { /* pages that were never used stay so */
            mp_crypto_wipe(&c->slots[i], sizeof(c->slots[i]));
        }
    }
}

struct mp_guest_locals *mp_auth_cache_new(struct mp_guest_setup *s, uint32_t sets)
{
    size_t size = sizeof(struct cache) + (size_t)sets * WAYS * sizeof(struct mp_auth_slot);
    return mp_guest_setup_locals(s, size, wipe_cache);
}

static struct mp_auth_slot *set_of(const struct mp_auth *a, const struct mp_guest *g, uint64_t hash)
{
    struct cache *c = mp_guest_local(g, a->caches);
    c->sets = a->cache_sets;
    return &c->slots[(hash >> 32) * c->sets >> 32 << 2];
}

/* The hash is keyed: nobody outside can make two tokens meet, so the comparison need not hide how
 * far it went. */
static bool is(const struct mp_auth_slot *s, uint64_t hash, struct mp_str token)
{
    return s->hash == hash && s->until_ns != 0 && s->token_n == token.n &&
           memcmp(s->text, token.p, token.n) == 0;
}

struct mp_str mp_auth_cache_get(const struct mp_auth *a, const struct mp_guest *g,
                                struct mp_str token, struct mp_auth_now now)
{
    struct mp_str nothing = {NULL, 0};
    if (a->cache_sets == 0 || token.n > MP_AUTH_SLOT_TEXT) {
        return nothing;
    }
    uint64_t hash = mp_hash(token.p, token.n);
    const struct mp_auth_slot *s = set_of(a, g, hash);
    for (int i = 0; i < WAYS; i++, s++) {
        if (is(s, hash, token) && now.mono_ns < s->until_ns && now.wall_s < s->until_s) {
            return mp_str(s->text + s->token_n, s->values_n);
        }
    }
    return nothing;
}

void mp_auth_cache_put(const struct mp_auth *a, const struct mp_guest *g, struct mp_str token,
                       struct mp_auth_now now, int64_t until_s, struct mp_str values)
{
    if (a->cache_sets == 0 || token.n + values.n > MP_AUTH_SLOT_TEXT || now.wall_s >= until_s) {
        return;
    }
    uint64_t hash = mp_hash(token.p, token.n);
    struct mp_auth_slot *set = set_of(a, g, hash), *victim = set;
    for (int i = 0; i < WAYS; i++) {
        if (is(&set[i], hash, token)) {
            victim = &set[i];
            break;
        }
        victim = set[i].until_ns < victim->until_ns ? &set[i] : victim;
    }
    mp_crypto_wipe(victim, sizeof(*victim));
    victim->hash = hash;
    victim->until_ns = now.mono_ns + a->cache_ttl_ns;
    victim->until_s = until_s;
    victim->token_n = (uint32_t)token.n;
    victim->values_n = (uint32_t)values.n;
    memcpy(victim->text, token.p, token.n);
    memcpy(victim->text + token.n, values.p, values.n);
}
