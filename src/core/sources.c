/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The table of sources: open addressing with linear probing, deletion by moving what follows. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "core/admit.h"

#define PARTS   16
#define CAP_MIN 64

struct source {
    uint8_t key[16]; /* IPv4 mapped; of IPv6 the first 8 bytes */
    uint64_t full_ns;
    uint32_t connections;
    uint32_t used; /* 0: free */
};

struct part {
    pthread_mutex_t lock;
    struct source *v;
    uint32_t cap, n; /* cap: a power of two */
};

struct mp_sources {
    struct part parts[PARTS];
};

struct mp_sources *mp_sources_new(void)
{
    struct mp_sources *t = mp_xcalloc(1, sizeof(*t));
    for (int i = 0; i < PARTS; i++) {
        pthread_mutex_init(&t->parts[i].lock, NULL);
        t->parts[i].cap = CAP_MIN;
        t->parts[i].v = mp_xcalloc(CAP_MIN, sizeof(struct source));
    }
    return t;
}

struct mp_sources *mp_sources_free(struct mp_sources *t)
{
    for (int i = 0; t != NULL && i < PARTS; i++) {
        pthread_mutex_destroy(&t->parts[i].lock);
        free(t->parts[i].v);
    }
    free(t);
    return NULL;
}

static bool key_of(const struct mp_addr *peer, uint8_t key[16])
{
    memset(key, 0, 16);
    if (peer->family == MP_ADDR_IP4) {
        key[10] = key[11] = 0xff;
        memcpy(key + 12, peer->ip, 4);
        return true;
    }
    memcpy(key, peer->ip, 8);
    return peer->family == MP_ADDR_IP6;
}

/* Where the key is, or the free place where it would go. */
static uint32_t find(const struct part *p, const uint8_t key[16], uint64_t hash)
{
    uint32_t i = (uint32_t)hash & (p->cap - 1);
    while (p->v[i].used && memcmp(p->v[i].key, key, 16) != 0) {
        i = (i + 1) & (p->cap - 1);
    }
    return i;
}

static uint64_t hash_of(const uint8_t key[16])
{
    return mp_hash(key, 16);
}

/* Of the same hash, other bits than those that choose the place. */
static struct part *part_of(struct mp_sources *t, uint64_t hash)
{
    return &t->parts[hash >> 60];
}

static void remove_at(struct part *p, uint32_t hole)
{
    uint32_t mask = p->cap - 1;
    p->n--;
    for (uint32_t i = (hole + 1) & mask; p->v[i].used; i = (i + 1) & mask) {
        uint32_t home = (uint32_t)hash_of(p->v[i].key) & mask;
        /* May what is at i stand at the hole? Not when its home lies between the two. */
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            p->v[hole] = p->v[i];
            hole = i;
        }
    }
    p->v[hole].used = 0;
}

/* A source that has no connection and a full bucket is like one that never came. */
static bool is_idle(const struct source *s, uint64_t now_ns)
{
    return s->connections == 0 && s->full_ns <= now_ns;
}

/* Makes room: without the idle ones, larger when they are still many. */
static void make_room(struct part *p, uint64_t now_ns)
{
    struct source *old = p->v;
    uint32_t cap = p->cap, live = 0;
    for (uint32_t i = 0; i < cap; i++) {
        live += old[i].used && !is_idle(&old[i], now_ns);
    }
    while (p->cap < CAP_MIN || live >= p->cap / 2) {
        p->cap *= 2;
    }
    p->v = mp_xcalloc(p->cap, sizeof(*p->v));
    p->n = live;
    for (uint32_t i = 0; i < cap; i++) {
        if (old[i].used && !is_idle(&old[i], now_ns)) {
            p->v[find(p, old[i].key, hash_of(old[i].key))] = old[i];
        }
    }
    free(old);
}

static enum mp_source_verdict enter(struct part *p, const uint8_t key[16], uint64_t hash,
                                    const struct mp_conf_accept_limits *limits, uint64_t now_ns)
{
    if (p->n >= p->cap / 4 * 3) {
        make_room(p, now_ns);
    }
    uint32_t i = find(p, key, hash);
    struct source *s = &p->v[i];
    if (!s->used) {
        *s = (struct source){.used = 1};
        memcpy(s->key, key, 16);
        p->n++;
    }
    if (limits->source_connections > 0 && s->connections >= limits->source_connections) {
        return MP_SOURCE_TOO_MANY;
    }
    if (limits->source_rate > 0 &&
        !mp_rate_take(&s->full_ns, limits->source_rate, limits->source_burst, now_ns)) {
        return MP_SOURCE_TOO_FAST;
    }
    s->connections++;
    return MP_SOURCE_OK;
}

enum mp_source_verdict mp_sources_enter(struct mp_sources *t, const struct mp_addr *peer,
                                        const struct mp_conf_accept_limits *limits, uint64_t now_ns)
{
    uint8_t key[16];
    (void)key_of(peer, key); /* what has no address shares the empty one */
    uint64_t hash = hash_of(key);
    struct part *p = part_of(t, hash);
    pthread_mutex_lock(&p->lock);
    enum mp_source_verdict v = enter(p, key, hash, limits, now_ns);
    pthread_mutex_unlock(&p->lock);
    return v;
}

void mp_sources_gone(struct mp_sources *t, const struct mp_addr *peer, uint64_t now_ns)
{
    uint8_t key[16];
    (void)key_of(peer, key);
    uint64_t hash = hash_of(key);
    struct part *p = part_of(t, hash);
    pthread_mutex_lock(&p->lock);
    uint32_t i = find(p, key, hash);
    MP_ASSERT(p->v[i].used);
    MP_ASSERT(p->v[i].connections > 0);
    p->v[i].connections--;
    if (is_idle(&p->v[i], now_ns)) {
        remove_at(p, i);
    }
    pthread_mutex_unlock(&p->lock);
}

uint64_t mp_sources_count(struct mp_sources *t)
{
    uint64_t n = 0;
    for (int i = 0; i < PARTS; i++) {
        pthread_mutex_lock(&t->parts[i].lock);
        n += t->parts[i].n;
        pthread_mutex_unlock(&t->parts[i].lock);
    }
    return n;
}
