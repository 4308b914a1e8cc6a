/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"

_Static_assert(sizeof(struct mp_arena_block) % 8 == 0, "the first cell of a block is aligned");

static void *heap_get(struct mp_block_source *src, size_t *size)
{
    return mp_xmalloc(*size);
}

static void heap_put(struct mp_block_source *src, void *block, size_t size)
{
    free(block);
}

struct mp_block_source mp_block_source_heap = {heap_get, heap_put};

/* Where an arena without memory points, so that an allocation of 0 bytes is not taken for the
 * limit. */
static char nothing[8] __attribute__((aligned(8)));

void mp_arena_init(struct mp_arena *a, void *first, size_t first_size, struct mp_block_source *src,
                   size_t block_min, size_t max)
{
    *a = (struct mp_arena){.cur = nothing, .end = nothing, .src = src, .max = max};
    a->block_min = block_min;
    if (first) {
        a->cur = first;
        a->end = a->cur + first_size;
    }
}

bool mp_arena_on_fini(struct mp_arena *a, void (*fn)(void *arg), void *arg)
{
    struct mp_arena_cleanup *c = mp_arena_alloc(a, sizeof(*c));
    if (!c) {
        return false;
    }
    *c = (struct mp_arena_cleanup){.next = a->cleanups, .fn = fn, .arg = arg};
    a->cleanups = c;
    return true;
}

void mp_arena_fini(struct mp_arena *a)
{
    for (struct mp_arena_cleanup *c = a->cleanups; c; c = c->next) {
        c->fn(c->arg);
    }
    a->cleanups = NULL;
    struct mp_arena_block *b = a->blocks;
    while (b) {
        struct mp_arena_block *next = b->next;
        if (a->wipe) {
            explicit_bzero(b + 1, b->size - sizeof(*b));
        }
        a->src->put(a->src, b, b->size);
        b = next;
    }
    a->blocks = NULL;
    a->cur = a->end = nothing;
    a->used = 0;
}

void *mp_arena_alloc_slow(struct mp_arena *a, size_t n, size_t align)
{
    MP_ASSERT(align == 1 || align == 8);
    size_t left = a->max - MP_MIN(a->used, a->max);
    size_t head = sizeof(struct mp_arena_block);
    if (!a->src || left < head || n > left - head) {
        return NULL;
    }
    /* The last block is smaller than usual when that is what the maximum leaves. */
    size_t size = MP_MIN(MP_MAX(a->block_min, n + head), left);
    struct mp_arena_block *b = a->src->get(a->src, &size);
    if (!b) {
        return NULL;
    }
    b->size = size;
    b->next = a->blocks;
    a->blocks = b;
    /* A source may round up past the maximum. The surplus stays unused, so that the limit does not
     * depend on the classes of the source. */
    size_t usable = MP_MIN(size, left);
    a->used += usable;
    char *p = (char *)(b + 1);
    char *rest = p + n, *end = (char *)b + usable;
    /* After a large allocation the old block may have more room left than the new one. */
    if (end - rest >= a->end - a->cur) {
        a->cur = rest;
        a->end = end;
    }
    return p;
}

struct mp_str mp_arena_dup(struct mp_arena *a, struct mp_str s)
{
    char *p = s.n < SIZE_MAX ? mp_arena_bytes(a, s.n + 1) : NULL;
    if (!p) {
        return mp_str(NULL, 0);
    }
    if (s.n > 0) {
        memcpy(p, s.p, s.n);
    }
    p[s.n] = '\0';
    return mp_str(p, s.n);
}

char *mp_arena_printf(struct mp_arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    size_t room = (size_t)(a->end - a->cur);
    int n = vsnprintf(a->cur, room, fmt, ap);
    MP_ASSERT(n >= 0);
    char *p = mp_arena_bytes(a, (size_t)n + 1);
    if (p && (size_t)n >= room) {
        vsnprintf(p, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    va_end(ap);
    return p;
}
