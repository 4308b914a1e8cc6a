/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Region allocator: allocations are freed all at once. Used for snapshot objects, connections and
 * streams. The first block may be supplied by the owner (for a stream: the rest of its slab cell);
 * further blocks come from a block source, so that no malloc is on the request path.
 *
 * Limits are ordinary errors: when the arena would pass its maximum, or its source is dry, the
 * allocation returns NULL and the caller answers 431, 413 or 503. A source backed by malloc never
 * returns NULL before the maximum (true exhaustion aborts).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "base/compiler.h"
#include "base/str.h"

/* Where blocks come from. get returns at least *size bytes and sets *size to what it gave. */
struct mp_block_source {
    void *(*get)(struct mp_block_source *src, size_t *size);
    void (*put)(struct mp_block_source *src, void *block, size_t size);
};
/* malloc and free; usable from any thread. */
extern struct mp_block_source mp_block_source_heap;

struct mp_arena_block {
    struct mp_arena_block *next;
    size_t size;
};

struct mp_arena_cleanup {
    struct mp_arena_cleanup *next;
    void (*fn)(void *arg);
    void *arg;
};

struct mp_arena {
    char *cur, *end;
    struct mp_arena_block *blocks; /* those from the source, newest first */
    struct mp_block_source *src;
    size_t used;      /* bytes taken from the source so far */
    size_t max;       /* of used */
    size_t block_min; /* bytes asked from the source at a time */
    struct mp_arena_cleanup *cleanups;
    bool wipe; /* blocks are overwritten before they are given back: secrets lie in them */
};

/* first may be NULL. Its memory stays the caller's. */
void mp_arena_init(struct mp_arena *a, void *first, size_t first_size, struct mp_block_source *src,
                   size_t block_min, size_t max);
/* fn(arg) runs in mp_arena_fini, the last one registered first, while all memory is still there:
 * for what an object in the arena has outside of it. False when the limit is reached. */
MP_MUST_USE bool mp_arena_on_fini(struct mp_arena *a, void (*fn)(void *arg), void *arg);
/* Gives all blocks back; the arena may be initialised again. */
void mp_arena_fini(struct mp_arena *a);
void *mp_arena_alloc_slow(struct mp_arena *a, size_t n, size_t align);

/* Uninitialised, aligned to 8. NULL when the limit is reached. n may be 0. */
static inline void *mp_arena_alloc(struct mp_arena *a, size_t n)
{
    char *p = (char *)(((uintptr_t)a->cur + 7) & ~(uintptr_t)7);
    if (MP_LIKELY(p <= a->end && n <= (size_t)(a->end - p))) {
        a->cur = p + n;
        return p;
    }
    return mp_arena_alloc_slow(a, n, 8);
}
/* Bytes without alignment: for text. */
static inline char *mp_arena_bytes(struct mp_arena *a, size_t n)
{
    if (MP_LIKELY(n <= (size_t)(a->end - a->cur))) {
        char *p = a->cur;
        a->cur += n;
        return p;
    }
    return (char *)mp_arena_alloc_slow(a, n, 1);
}
static inline void *mp_arena_zalloc(struct mp_arena *a, size_t n)
{
    void *p = mp_arena_alloc(a, n);
    return p ? memset(p, 0, n) : NULL;
}
/* A copy of s inside the arena, NUL-terminated for the libc edge (the NUL is not counted).
 * p is NULL in the result when the limit is reached (and only then). */
struct mp_str mp_arena_dup(struct mp_arena *a, struct mp_str s);
char *mp_arena_printf(struct mp_arena *a, const char *fmt, ...) MP_PRINTF(2, 3);
