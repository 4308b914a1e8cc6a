/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "kern/sources.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"

#define PARTS      16
#define CELLS      4096 /* of a part */
#define NEIGHBOURS 8

struct cell {
    uint64_t key; /* the source's bytes */
    uint8_t family;
    uint64_t last_ns; /* 0: free */
    uint64_t since_ns[MP_SOURCE_COUNTS];
    uint32_t n[MP_SOURCE_COUNTS];
};
struct part {
    pthread_mutex_t lock;
    struct cell *cells;
};
struct mp_source_table {
    struct part parts[PARTS];
};

struct mp_source_table *mp_source_table_new(void)
{
    struct mp_source_table *t = calloc(1, sizeof(*t));
    MP_ASSERT(t != NULL);
    for (uint32_t i = 0; i < PARTS; i++) {
        pthread_mutex_init(&t->parts[i].lock, NULL);
        t->parts[i].cells = calloc(CELLS, sizeof(struct cell));
        MP_ASSERT(t->parts[i].cells != NULL);
    }
    return t;
}

struct mp_source_table *mp_source_table_free(struct mp_source_table *t)
{
    for (uint32_t i = 0; t != NULL && i < PARTS; i++) {
        pthread_mutex_destroy(&t->parts[i].lock);
        free(t->parts[i].cells);
    }
    free(t);
    return NULL;
}

struct mp_conf_prefix mp_source_of(const struct mp_conf_prefix *host)
{
    struct mp_conf_prefix p = *host;
    if (p.ip6) {
        p.bits = 64;
        memset(p.addr + 8, 0, 8);
    }
    return p;
}

static struct cell *find_cell(struct part *part, uint64_t hash, uint64_t key, uint8_t family)
{
    struct cell *oldest = NULL;
    for (uint32_t i = 0; i < NEIGHBOURS; i++) {
        struct cell *c = &part->cells[(hash + i) % CELLS];
        if (c->last_ns != 0 && c->key == key && c->family == family) {
            return c;
        }
        if (oldest == NULL || c->last_ns < oldest->last_ns) {
            oldest = c;
        }
    }
    memset(oldest, 0, sizeof(*oldest));
    oldest->key = key;
    oldest->family = family;
    return oldest;
}

uint32_t mp_source_count(struct mp_source_table *t, const struct mp_conf_prefix *host,
                         uint32_t which, uint64_t now_ns, uint64_t window_ns, uint32_t stop)
{
    struct mp_conf_prefix s = mp_source_of(host);
    uint64_t key = 0, hash = mp_hash(&s, sizeof(s));
    memcpy(&key, s.addr, s.ip6 ? 8 : 4);
    struct part *part = &t->parts[hash >> 60];
    pthread_mutex_lock(&part->lock);
    struct cell *c = find_cell(part, hash, key, s.ip6);
    if (c->n[which] == 0 || now_ns - c->since_ns[which] > window_ns) {
        c->n[which] = 0;
        c->since_ns[which] = now_ns;
    }
    uint32_t n = ++c->n[which];
    c->last_ns = now_ns;
    if (n >= stop) {
        c->n[which] = 0;
    }
    pthread_mutex_unlock(&part->lock);
    return n;
}
