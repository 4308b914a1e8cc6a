/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/slab.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/mem.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif

#ifdef HAVE_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
/* Mapped memory is no root of the leak checker by itself: cells point to heap objects. */
#define ROOT_ADD(p, n)  __lsan_register_root_region(p, n)
#define ROOT_DROP(p, n) __lsan_unregister_root_region(p, n)
#define IS_POISONED(p)  __asan_address_is_poisoned(p)
#else
#define POISON(p, n)    ((void)0)
#define UNPOISON(p, n)  ((void)0)
#define ROOT_ADD(p, n)  ((void)0)
#define ROOT_DROP(p, n) ((void)0)
#define IS_POISONED(p)  0
#endif

/* Mapped, never touched before a cell is handed out: a page costs address space only. */
#define PAGE_MIN   ((size_t)256 * 1024)
#define PAGE_CELLS 8 /* at least, for large cells */
#define CELL_MAX   ((size_t)64 * 1024 * 1024)
#define HEAP_ROUND ((size_t)4096)

/* Kept apart from the cells, so that cells of a power of two fill the page without a rest. */
struct mp_slab_page {
    struct mp_slab_page *next;
    char *base;
};

static size_t page_size(const struct mp_slab *s)
{
    return ((size_t)s->cell_size * s->per_page + 4095) & ~(size_t)4095;
}

void mp_slab_init(struct mp_slab *s, size_t cell_size, size_t cells_max)
{
    MP_ASSERT(cell_size <= CELL_MAX);
    MP_ASSERT(cells_max <= UINT32_MAX);
    size_t size = (MP_MAX(cell_size, (size_t)1) + 15) & ~(size_t)15;
    *s = (struct mp_slab){.cell_size = (uint32_t)size, .cells_max = (uint32_t)cells_max};
    s->per_page = (uint32_t)MP_MAX(PAGE_MIN / size, (size_t)PAGE_CELLS);
}

void mp_slab_fini(struct mp_slab *s)
{
    MP_ASSERT(s->cells_used == 0);
    struct mp_slab_page *page = s->pages;
    while (page) {
        struct mp_slab_page *next = page->next;
        size_t size = page_size(s);
        UNPOISON(page->base, size);
        ROOT_DROP(page->base, size);
        munmap(page->base, size);
        free(page);
        page = next;
    }
    s->pages = NULL;
    s->free = NULL;
    s->fresh = NULL;
    s->fresh_left = s->cells_total = 0;
}

static void add_page(struct mp_slab *s)
{
    size_t size = page_size(s);
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MP_ASSERT(base != MAP_FAILED);
    ROOT_ADD(base, size);
    POISON(base, size);
    struct mp_slab_page *page = mp_xmalloc(sizeof(*page));
    *page = (struct mp_slab_page){.next = s->pages, .base = base};
    s->pages = page;
    s->fresh = base;
    s->fresh_left = s->per_page;
}

void *mp_slab_get(struct mp_slab *s)
{
    void *cell = s->free;
    if (MP_LIKELY(cell)) {
        UNPOISON(cell, s->cell_size);
        s->free = *(void **)cell;
        s->cells_used++;
        return cell;
    }
    /* No free cell: cells_total are all in use. */
    if (s->cells_total == (s->cells_max ? s->cells_max : UINT32_MAX)) {
        return NULL;
    }
    if (s->fresh_left == 0) {
        add_page(s);
    }
    cell = s->fresh;
    UNPOISON(cell, s->cell_size);
    s->fresh += s->cell_size;
    s->fresh_left--;
    __atomic_store_n(&s->cells_total, s->cells_total + 1, __ATOMIC_RELAXED);
    s->cells_used++;
    return cell;
}

void mp_slab_put(struct mp_slab *s, void *cell)
{
    MP_ASSERT(s->cells_used > 0);
    MP_ASSERT(!IS_POISONED(cell)); /* given back twice */
    *(void **)cell = s->free;
    s->free = cell;
    s->cells_used--;
    POISON(cell, s->cell_size);
}

static const uint32_t class_size[MP_BLOCK_CLASSES] = {1024, 4096, 16384, 65536};

/* The class for size, MP_BLOCK_CLASSES for the heap. */
static size_t class_of(size_t size)
{
    size_t i = 0;
    while (i < MP_BLOCK_CLASSES && size > class_size[i]) {
        i++;
    }
    return i;
}

static size_t rounded(size_t size)
{
    size_t i = class_of(size);
    return i < MP_BLOCK_CLASSES ? class_size[i] : (size + HEAP_ROUND - 1) & ~(HEAP_ROUND - 1);
}

static void *source_get(struct mp_block_source *src, size_t *size)
{
    return mp_blocks_get(MP_CONTAINER_OF(src, struct mp_blocks, src), size);
}

static void source_put(struct mp_block_source *src, void *block, size_t size)
{
    mp_blocks_put(MP_CONTAINER_OF(src, struct mp_blocks, src), block, size);
}

void mp_blocks_init(struct mp_blocks *b, size_t bytes_max)
{
    *b = (struct mp_blocks){.src = {source_get, source_put}, .bytes_max = bytes_max};
    for (size_t i = 0; i < MP_BLOCK_CLASSES; i++) {
        mp_slab_init(&b->cls[i], class_size[i], 0);
    }
}

void mp_blocks_fini(struct mp_blocks *b)
{
    MP_ASSERT(b->bytes_used == 0);
    for (size_t i = 0; i < MP_BLOCK_CLASSES; i++) {
        mp_slab_fini(&b->cls[i]);
    }
}

/* Other threads look at it. */
static inline void set_used(struct mp_blocks *b, size_t n)
{
    __atomic_store_n(&b->bytes_used, n, __ATOMIC_RELAXED);
}

size_t mp_slab_bytes_seen(const struct mp_slab *s)
{
    return (size_t)__atomic_load_n(&s->cells_total, __ATOMIC_RELAXED) * s->cell_size;
}

size_t mp_blocks_bytes_free(const struct mp_blocks *b)
{
    size_t seen = 0, used = __atomic_load_n(&b->bytes_used, __ATOMIC_RELAXED);
    for (size_t i = 0; i < MP_BLOCK_CLASSES; i++) {
        seen += mp_slab_bytes_seen(&b->cls[i]);
    }
    return seen - MP_MIN(seen, used);
}

void *mp_blocks_get(struct mp_blocks *b, size_t *size)
{
    if (*size > SIZE_MAX / 4) {
        return NULL;
    }
    size_t got = rounded(*size);
    if (b->bytes_max > 0 && got > b->bytes_max - MP_MIN(b->bytes_used, b->bytes_max)) {
        return NULL;
    }
    size_t i = class_of(got);
    void *p = i < MP_BLOCK_CLASSES ? mp_slab_get(&b->cls[i]) : mp_xmalloc(got);
    if (!p) {
        return NULL;
    }
    set_used(b, b->bytes_used + got);
    *size = got;
    return p;
}

void mp_blocks_put(struct mp_blocks *b, void *p, size_t size)
{
    size_t got = rounded(size);
    MP_ASSERT(got <= b->bytes_used);
    set_used(b, b->bytes_used - got);
    size_t i = class_of(got);
    if (i < MP_BLOCK_CLASSES) {
        mp_slab_put(&b->cls[i], p);
        return;
    }
    free(p);
}
