/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Intrusive circular doubly-linked list with a head. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/compiler.h"

struct mp_list {
    struct mp_list *next, *prev;
};

static inline void mp_list_init(struct mp_list *h)
{
    h->next = h->prev = h;
}
static inline bool mp_list_empty(const struct mp_list *h)
{
    return h->next == h;
}
static inline void mp_list_insert_(struct mp_list *n, struct mp_list *prev, struct mp_list *next)
{
    n->prev = prev;
    n->next = next;
    prev->next = n;
    next->prev = n;
}
static inline void mp_list_push_front(struct mp_list *h, struct mp_list *n)
{
    mp_list_insert_(n, h, h->next);
}
static inline void mp_list_push_back(struct mp_list *h, struct mp_list *n)
{
    mp_list_insert_(n, h->prev, h);
}
/* Unlinks n; n becomes a list of itself, so that a second removal is harmless. */
static inline void mp_list_remove(struct mp_list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    n->next = n->prev = n;
}
/* The first node, unlinked, or NULL. */
static inline struct mp_list *mp_list_pop_front(struct mp_list *h)
{
    struct mp_list *n = h->next;
    if (n == h) {
        return NULL;
    }
    mp_list_remove(n);
    return n;
}
/* Moves all nodes of from to the end of to. */
static inline void mp_list_splice(struct mp_list *to, struct mp_list *from)
{
    if (mp_list_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    mp_list_init(from);
}

#define MP_LIST_FOREACH(it, head) \
    for (struct mp_list *it = (head)->next; it != (head); it = it->next)
/* it itself may be removed in the body. */
#define MP_LIST_FOREACH_SAFE(it, head)                                           \
    for (struct mp_list *it = (head)->next, *it##_next = it->next; it != (head); \
         it = it##_next, it##_next = it->next)
