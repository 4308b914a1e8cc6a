/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "kern/lists.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/map.h"
#include "io/addr.h"

/* The key of the table: prefix as bytes. */
_Static_assert(sizeof(struct mp_conf_prefix) == 18, "no padding: it is a key");

struct list {
    struct mp_map map;        /* prefix -> struct mp_list_entry, heap */
    uint32_t by_bits[2][129]; /* entries of each length: only these are looked for */
    uint32_t n[2];
};

struct mp_lists {
    pthread_rwlock_t lock;
    struct list deny, allow;
    struct mp_lists_sink sink;
    uint32_t denied; /* atomic: entries of the deny list */
    uint64_t version;
};

struct mp_lists *mp_lists_new(void)
{
    struct mp_lists *l = calloc(1, sizeof(*l));
    MP_ASSERT(l != NULL);
    pthread_rwlock_init(&l->lock, NULL);
    mp_map_init(&l->deny.map);
    mp_map_init(&l->allow.map);
    return l;
}

static void free_list(struct list *s)
{
    size_t pos = 0;
    struct mp_map_entry *cell;
    while ((cell = mp_map_next(&s->map, &pos)) != NULL) {
        free(cell->value);
    }
    mp_map_fini(&s->map);
}

struct mp_lists *mp_lists_free(struct mp_lists *l)
{
    if (l != NULL) {
        free_list(&l->deny);
        free_list(&l->allow);
        pthread_rwlock_destroy(&l->lock);
        free(l);
    }
    return NULL;
}

/* ---- looking ---- */

static struct mp_str key_of(const struct mp_conf_prefix *p)
{
    return mp_str((const char *)p, sizeof(*p));
}

static struct list *list_of(struct mp_lists *l, bool deny)
{
    return deny ? &l->deny : &l->allow;
}

static struct mp_conf_prefix cut(const struct mp_conf_prefix *p, uint32_t bits)
{
    struct mp_conf_prefix c = *p;
    c.bits = (uint8_t)bits;
    for (uint32_t i = 0; i < sizeof(c.addr); i++) {
        uint32_t kept = bits > 8 * i ? bits - 8 * i : 0;
        c.addr[i] &= kept >= 8 ? 0xff : (uint8_t)(0xff00u >> kept);
    }
    return c;
}

static bool is_live(const struct mp_list_entry *e, uint64_t now_ns)
{
    return (e->origin & ~MP_LIST_DYNAMIC) != 0 || e->expires_ns == 0 || e->expires_ns > now_ns;
}

/* The next entry that covers p, the longest first; *bits: where to go on. */
static struct mp_list_entry *next_cover(const struct list *s, const struct mp_conf_prefix *p,
                                        int *bits)
{
    for (int i = *bits; i >= 0; i--) {
        if (s->by_bits[p->ip6][i] == 0) {
            continue;
        }
        struct mp_conf_prefix key = cut(p, (uint32_t)i);
        struct mp_list_entry *e = mp_map_get(&s->map, key_of(&key));
        if (e != NULL) {
            *bits = i - 1;
            return e;
        }
    }
    return NULL;
}

static bool covers(const struct list *s, const struct mp_conf_prefix *host, uint64_t now_ns)
{
    int bits = host->bits;
    struct mp_list_entry *e;
    while ((e = next_cover(s, host, &bits)) != NULL) {
        if (is_live(e, now_ns)) {
            return true;
        }
    }
    return false;
}

bool mp_lists_any_denied(const struct mp_lists *l)
{
    return __atomic_load_n(&l->denied, __ATOMIC_RELAXED) > 0;
}

bool mp_lists_is_denied(struct mp_lists *l, const struct mp_conf_prefix *host, uint64_t now_ns)
{
    if (!mp_lists_any_denied(l)) {
        return false;
    }
    pthread_rwlock_rdlock(&l->lock);
    bool yes = covers(&l->deny, host, now_ns) && !covers(&l->allow, host, now_ns);
    pthread_rwlock_unlock(&l->lock);
    return yes;
}

bool mp_lists_is_allowed(struct mp_lists *l, const struct mp_conf_prefix *host)
{
    pthread_rwlock_rdlock(&l->lock);
    bool yes = covers(&l->allow, host, UINT64_MAX);
    pthread_rwlock_unlock(&l->lock);
    return yes;
}

uint64_t mp_lists_version(const struct mp_lists *l)
{
    return __atomic_load_n(&l->version, __ATOMIC_RELAXED);
}

/* ---- the kernel's copy ---- */

/* The kernel sees the longest prefix only: it gets the latest expiry of all that cover it. */
static void sink_put(struct mp_lists *l, bool deny, const struct mp_list_entry *e)
{
    if (l->sink.put == NULL) {
        return;
    }
    struct mp_list_entry copy = *e;
    const struct mp_list_entry *c;
    int bits = e->prefix.bits;
    if ((e->origin & ~MP_LIST_DYNAMIC) != 0) {
        copy.expires_ns = 0;
    }
    while (copy.expires_ns != 0 && (c = next_cover(list_of(l, deny), &e->prefix, &bits)) != NULL) {
        bool forever = c->expires_ns == 0 || (c->origin & ~MP_LIST_DYNAMIC) != 0;
        copy.expires_ns = forever ? 0 : MP_MAX(copy.expires_ns, c->expires_ns);
    }
    l->sink.put(l->sink.arg, deny, &copy);
}

static void sink_counts(struct mp_lists *l)
{
    __atomic_store_n(&l->denied, l->deny.n[0] + l->deny.n[1], __ATOMIC_RELAXED);
    __atomic_add_fetch(&l->version, 1, __ATOMIC_RELAXED);
    if (l->sink.counts != NULL) {
        l->sink.counts(l->sink.arg, l->deny.n, l->allow.n);
    }
}

static void sink_all(struct mp_lists *l, bool deny)
{
    size_t pos = 0;
    struct mp_map_entry *cell;
    while (l->sink.put != NULL && (cell = mp_map_next(&list_of(l, deny)->map, &pos)) != NULL) {
        sink_put(l, deny, cell->value);
    }
}

void mp_lists_set_sink(struct mp_lists *l, const struct mp_lists_sink *sink)
{
    pthread_rwlock_wrlock(&l->lock);
    l->sink = sink != NULL ? *sink : (struct mp_lists_sink){0};
    sink_all(l, true);
    sink_all(l, false);
    sink_counts(l);
    pthread_rwlock_unlock(&l->lock);
}

static bool is_host(const struct mp_conf_prefix *p)
{
    return p->bits == (p->ip6 ? 128 : 32);
}

/* An entry is new or other. What lies below a prefix may live longer or shorter now. */
static void changed(struct mp_lists *l, bool deny, const struct mp_list_entry *e)
{
    if (deny && !is_host(&e->prefix)) {
        sink_all(l, true);
    } else {
        sink_put(l, deny, e);
    }
}

/* ---- changes; under the lock ---- */

static struct mp_list_entry *find_or_make(struct mp_lists *l, bool deny,
                                          const struct mp_conf_prefix *p)
{
    struct list *s = list_of(l, deny);
    struct mp_list_entry *e = mp_map_get(&s->map, key_of(p));
    if (e != NULL || s->n[p->ip6] >= MP_LIST_MAX) {
        return e;
    }
    e = calloc(1, sizeof(*e));
    MP_ASSERT(e != NULL);
    e->prefix = *p;
    mp_map_set(&s->map, key_of(&e->prefix), e);
    s->by_bits[p->ip6][p->bits]++;
    s->n[p->ip6]++;
    return e;
}

static void drop(struct mp_lists *l, bool deny, struct mp_list_entry *e)
{
    struct list *s = list_of(l, deny);
    struct mp_conf_prefix p = e->prefix;
    mp_map_del(&s->map, key_of(&p));
    s->by_bits[p.ip6][p.bits]--;
    s->n[p.ip6]--;
    free(e);
    if (l->sink.del != NULL) {
        l->sink.del(l->sink.arg, deny, &p);
    }
    if (deny && !is_host(&p)) {
        sink_all(l, true);
    }
}

/* Entries that wanted() names lose origin, and go when nothing else holds them. The map may move
 * while it is walked, so they are collected first. */
static uint32_t drop_some(struct mp_lists *l, bool deny, uint32_t origin,
                          bool (*wanted)(const struct mp_list_entry *e, uint64_t now_ns),
                          uint64_t now_ns)
{
    struct list *s = list_of(l, deny);
    struct mp_list_entry **v =
        calloc((size_t)s->n[0] + s->n[1] + 1, sizeof(struct mp_list_entry *));
    MP_ASSERT(v != NULL);
    size_t pos = 0;
    uint32_t n = 0;
    struct mp_map_entry *cell;
    while ((cell = mp_map_next(&s->map, &pos)) != NULL) {
        if (wanted(cell->value, now_ns)) {
            v[n++] = cell->value;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        v[i]->origin &= ~origin;
        if (v[i]->origin == 0) {
            drop(l, deny, v[i]);
        } else {
            changed(l, deny, v[i]);
        }
    }
    free(v);
    return n;
}

static bool of_old_config(const struct mp_list_entry *e, uint64_t now_ns)
{
    return (e->origin & MP_LIST_CONFIG) != 0 && !e->mark;
}
static bool of_old_backends(const struct mp_list_entry *e, uint64_t now_ns)
{
    return (e->origin & MP_LIST_BACKEND) != 0 && !e->mark;
}
static bool has_expired(const struct mp_list_entry *e, uint64_t now_ns)
{
    return (e->origin & MP_LIST_DYNAMIC) != 0 && e->expires_ns != 0 && e->expires_ns <= now_ns;
}

void mp_lists_replace(struct mp_lists *l, bool deny, uint32_t origin,
                      const struct mp_conf_prefix *v, uint32_t n)
{
    pthread_rwlock_wrlock(&l->lock);
    /* The new ones first: who stays on the list is never off it. */
    for (uint32_t i = 0; i < n; i++) {
        struct mp_list_entry *e = find_or_make(l, deny, &v[i]);
        if (e != NULL) {
            e->mark = true;
            if ((e->origin & origin) == 0) {
                e->origin |= origin;
                changed(l, deny, e);
            }
        }
    }
    drop_some(l, deny, origin, origin == MP_LIST_CONFIG ? of_old_config : of_old_backends, 0);
    size_t pos = 0;
    struct mp_map_entry *cell;
    while ((cell = mp_map_next(&list_of(l, deny)->map, &pos)) != NULL) {
        ((struct mp_list_entry *)cell->value)->mark = false;
    }
    sink_counts(l);
    pthread_rwlock_unlock(&l->lock);
}

mp_err mp_lists_add(struct mp_lists *l, bool deny, const struct mp_list_entry *e)
{
    pthread_rwlock_wrlock(&l->lock);
    struct mp_list_entry *to = find_or_make(l, deny, &e->prefix);
    if (to != NULL) {
        to->origin = (to->origin & ~MP_LIST_DYNAMIC) | e->origin;
        to->reason = e->reason;
        to->since_ns = e->since_ns;
        to->expires_ns = e->expires_ns;
        changed(l, deny, to);
        sink_counts(l);
    }
    pthread_rwlock_unlock(&l->lock);
    return to != NULL ? MP_OK : MP_FAIL(LIMIT);
}

mp_err mp_lists_remove(struct mp_lists *l, bool deny, const struct mp_conf_prefix *p)
{
    mp_err err = MP_OK;
    pthread_rwlock_wrlock(&l->lock);
    struct mp_list_entry *e = mp_map_get(&list_of(l, deny)->map, key_of(p));
    if (e == NULL) {
        err = MP_FAIL(NOT_FOUND);
    } else if ((e->origin & MP_LIST_DYNAMIC) == 0) {
        err = MP_FAIL(STATE);
    } else {
        e->origin &= ~MP_LIST_DYNAMIC;
        if (e->origin == 0) {
            drop(l, deny, e);
        } else {
            changed(l, deny, e);
        }
        sink_counts(l);
    }
    pthread_rwlock_unlock(&l->lock);
    return err;
}

uint32_t mp_lists_sweep(struct mp_lists *l, uint64_t now_ns)
{
    if (!mp_lists_any_denied(l)) {
        return 0;
    }
    pthread_rwlock_wrlock(&l->lock);
    uint32_t n = drop_some(l, true, MP_LIST_DYNAMIC, has_expired, now_ns);
    if (n > 0) {
        sink_counts(l);
    }
    pthread_rwlock_unlock(&l->lock);
    return n;
}

void mp_lists_walk(struct mp_lists *l, bool deny,
                   void (*visit)(void *arg, const struct mp_list_entry *e), void *arg)
{
    size_t pos = 0;
    struct mp_map_entry *cell;
    pthread_rwlock_rdlock(&l->lock);
    while ((cell = mp_map_next(&list_of(l, deny)->map, &pos)) != NULL) {
        visit(arg, cell->value);
    }
    pthread_rwlock_unlock(&l->lock);
}

/* ---- prefixes ---- */

bool mp_prefix_of(const struct mp_addr *a, struct mp_conf_prefix *ret)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct mp_conf_prefix p = {0};
    if (a->family != MP_ADDR_IP4 && a->family != MP_ADDR_IP6) {
        return false;
    }
    p.ip6 = a->family == MP_ADDR_IP6 && memcmp(a->ip, mapped, sizeof(mapped)) != 0;
    p.bits = p.ip6 ? 128 : 32;
    if (p.ip6) {
        memcpy(p.addr, a->ip, 16);
    } else {
        memcpy(p.addr, a->family == MP_ADDR_IP6 ? a->ip + 12 : a->ip, 4);
    }
    *ret = p;
    return true;
}

void mp_prefix_format(const struct mp_conf_prefix *p, char out[MP_PREFIX_TEXT])
{
    char addr[INET6_ADDRSTRLEN] = "?";
    (void)inet_ntop(p->ip6 ? AF_INET6 : AF_INET, p->addr, addr, sizeof(addr));
    snprintf(out, MP_PREFIX_TEXT, is_host(p) ? "%s" : "%s/%u", addr, p->bits);
}
