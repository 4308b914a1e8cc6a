/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/arena.h"
#include "base/slab.h"
#include "t.h"

/* A source that gives fail_after blocks, then none. */
struct failing {
    struct mp_block_source src;
    int fail_after;
    int out;
    size_t round; /* sizes are rounded up to a multiple */
};

static void *failing_get(struct mp_block_source *src, size_t *size)
{
    struct failing *f = MP_CONTAINER_OF(src, struct failing, src);
    if (f->fail_after == 0) {
        return NULL;
    }
    f->fail_after--;
    f->out++;
    *size = (*size + f->round - 1) / f->round * f->round;
    return malloc(*size);
}

static void failing_put(struct mp_block_source *src, void *block, size_t size)
{
    struct failing *f = MP_CONTAINER_OF(src, struct failing, src);
    f->out--;
    memset(block, 0xee, size);
    free(block);
}

static void first_block(void)
{
    char first[64] __attribute__((aligned(8)));
    struct mp_arena a;
    mp_arena_init(&a, first, sizeof(first), NULL, 0, 0);
    char *p = mp_arena_alloc(&a, 3);
    T_OK(p == first);
    T_OK((char *)mp_arena_alloc(&a, 1) == first + 8);
    T_OK(mp_arena_bytes(&a, 5) == first + 9);
    T_OK((char *)mp_arena_zalloc(&a, 48) == first + 16);
    T_OK(first[16] == 0 && first[63] == 0);
    T_OK(mp_arena_alloc(&a, 0) != NULL);
    T_OK(mp_arena_bytes(&a, 0) != NULL);
    T_OK(!mp_arena_alloc(&a, 1));
    T_OK(!mp_arena_bytes(&a, 1));
    mp_arena_fini(&a);
}

/* The limit of the first block alone, at n-1, n, n+1. */
static void first_exact(void)
{
    char first[64] __attribute__((aligned(8)));
    for (size_t n = 63; n <= 65; n++) {
        struct mp_arena a;
        mp_arena_init(&a, first, sizeof(first), NULL, 0, 0);
        T_EQ(mp_arena_alloc(&a, n) != NULL, n <= 64);
        mp_arena_init(&a, first, sizeof(first), NULL, 0, 0);
        T_EQ(mp_arena_bytes(&a, n) != NULL, n <= 64);
        mp_arena_init(&a, first, sizeof(first), NULL, 0, 0);
        T_EQ(mp_arena_zalloc(&a, n) != NULL, n <= 64);
    }
}

static void empty_arena(void)
{
    struct mp_arena a;
    mp_arena_init(&a, NULL, 0, NULL, 0, 0);
    T_OK(mp_arena_alloc(&a, 0) != NULL); /* not the limit */
    T_OK(mp_arena_bytes(&a, 0) != NULL);
    T_OK(!mp_arena_alloc(&a, 1));
    T_OK(!mp_arena_dup(&a, MP_STR("")).p);
    T_OK(!mp_arena_printf(&a, "x"));
    mp_arena_fini(&a);
}

static void maximum(void)
{
    /* One block of exactly the maximum: its header and what is left. */
    size_t head = sizeof(struct mp_arena_block);
    for (size_t n = 999; n <= 1001; n++) {
        struct mp_arena a;
        mp_arena_init(&a, NULL, 0, &mp_block_source_heap, 64, 1000 + head);
        char *p = mp_arena_bytes(&a, n);
        T_EQ(p != NULL, n <= 1000);
        if (p) {
            memset(p, 1, n);
        }
        T_EQ(mp_arena_bytes(&a, 1) != NULL, !p); /* a refusal costs nothing */
        mp_arena_fini(&a);
        T_EQ(a.used, 0);
    }
    /* Small allocations: the sum is what counts, and the last block shrinks to what is left. */
    struct mp_arena a;
    mp_arena_init(&a, NULL, 0, &mp_block_source_heap, 256, 1000);
    size_t got = 0;
    while (mp_arena_alloc(&a, 8)) {
        got += 8;
    }
    T_OK(a.used <= 1000);
    T_EQ(got, 3 * (256 - head) + (232 - head));
    mp_arena_fini(&a);
    /* Sizes near the end of the address space do not wrap. */
    mp_arena_init(&a, NULL, 0, &mp_block_source_heap, 64, SIZE_MAX / 2);
    T_OK(!mp_arena_alloc(&a, SIZE_MAX - 4));
    T_OK(!mp_arena_alloc(&a, SIZE_MAX));
    T_OK(!mp_arena_bytes(&a, SIZE_MAX));
    T_OK(!mp_arena_dup(&a, mp_str("x", SIZE_MAX)).p);
    mp_arena_fini(&a);
}

static void rounding_source(void)
{
    /* The source rounds up to 4096, the limit of 5000 holds nevertheless. */
    struct failing f = {{failing_get, failing_put}, 100, 0, 4096};
    struct mp_arena a;
    mp_arena_init(&a, NULL, 0, &f.src, 1024, 5000);
    size_t got = 0;
    while (mp_arena_alloc(&a, 8)) {
        got += 8;
    }
    T_OK(a.used <= 5000);
    T_OK(got > 4096 && got < 5000);
    T_EQ(f.out, 2);
    mp_arena_fini(&a);
    T_EQ(f.out, 0);
}

static void failing_source(void)
{
    for (int blocks = 0; blocks < 5; blocks++) {
        struct failing f = {{failing_get, failing_put}, blocks, 0, 1};
        struct mp_arena a;
        mp_arena_init(&a, NULL, 0, &f.src, 100 + sizeof(struct mp_arena_block), SIZE_MAX);
        int got = 0;
        while (mp_arena_bytes(&a, 100)) {
            got++;
        }
        T_EQ(got, blocks);
        T_OK(!mp_arena_dup(&a, MP_STR("does not fit")).p);
        T_OK(!mp_arena_printf(&a, "neither"));
        T_OK(!mp_arena_zalloc(&a, 1));
        f.fail_after = 1; /* a later try may succeed */
        T_OK(mp_arena_zalloc(&a, 1));
        mp_arena_fini(&a);
        T_EQ(f.out, 0);
    }
}

static void large_keeps_current(void)
{
    struct mp_arena a;
    mp_arena_init(&a, NULL, 0, &mp_block_source_heap, 1024, 1 << 20);
    char *p = mp_arena_bytes(&a, 10);
    char *big = mp_arena_alloc(&a, 100000);
    memset(big, 1, 100000);
    T_OK(mp_arena_bytes(&a, 10) == p + 10);
    mp_arena_fini(&a);
    T_OK(mp_arena_alloc(&a, 10)); /* usable again */
    mp_arena_fini(&a);
}

static void text(void)
{
    struct mp_arena a;
    mp_arena_init(&a, NULL, 0, &mp_block_source_heap, 64, 1 << 20);
    struct mp_str s = mp_arena_dup(&a, mp_str("abcd", 3));
    T_OK(mp_str_eq(s, MP_STR("abc")));
    T_EQ(s.p[3], 0);
    s = mp_arena_dup(&a, mp_str(NULL, 0));
    T_OK(s.p && s.n == 0 && s.p[0] == 0);
    for (int n = 0; n < 200; n++) {
        char *z = mp_arena_printf(&a, "%0*d", n, 0);
        T_EQ(strlen(z), n ? n : 1);
        for (const char *c = z; *c; c++) {
            T_EQ(*c, '0');
        }
    }
    mp_arena_fini(&a);
}

static void alignment(void)
{
    struct mp_blocks blocks;
    mp_blocks_init(&blocks, 0);
    struct mp_arena a;
    mp_arena_init(&a, NULL, 0, &blocks.src, 1024, 1 << 20);
    for (size_t n = 0; n < 300; n++) {
        T_OK(mp_arena_bytes(&a, n % 7));
        uint64_t *p = mp_arena_alloc(&a, n);
        T_EQ((uintptr_t)p % 8, 0);
        memset(p, 0xff, n);
    }
    T_OK(blocks.bytes_used > 0);
    mp_arena_fini(&a);
    T_EQ(blocks.bytes_used, 0);
    mp_blocks_fini(&blocks);
}

static int order[4], n_order;

static void note(void *arg)
{
    order[n_order++] = *(int *)arg;
}

static void cleanups(void)
{
    struct mp_arena a;
    mp_arena_init(&a, NULL, 0, &mp_block_source_heap, 128, 1 << 20);
    int *one = mp_arena_alloc(&a, sizeof(*one)), *two = mp_arena_alloc(&a, sizeof(*two));
    *one = 1;
    *two = 2;
    T_OK(mp_arena_on_fini(&a, note, one));
    T_OK(mp_arena_on_fini(&a, note, two));
    T_EQ(n_order, 0);
    mp_arena_fini(&a);
    T_EQ(n_order, 2);
    T_EQ(order[0], 2);
    T_EQ(order[1], 1);
    mp_arena_fini(&a);
    T_EQ(n_order, 2); /* once */
    mp_arena_init(&a, NULL, 0, NULL, 0, 0);
    T_OK(!mp_arena_on_fini(&a, note, &order[0]));
}

static unsigned char kept[256];

static void keep_put(struct mp_block_source *src, void *block, size_t size)
{
    memcpy(kept, (char *)block + sizeof(struct mp_arena_block), sizeof(kept));
    free(block);
}

static void wiping(void)
{
    for (int wipe = 0; wipe < 2; wipe++) {
        struct failing f = {.src = {failing_get, keep_put}, .fail_after = 1, .round = 512};
        struct mp_arena a;
        mp_arena_init(&a, NULL, 0, &f.src, 512, 4096);
        a.wipe = wipe;
        memset(mp_arena_bytes(&a, sizeof(kept)), 0x5a, sizeof(kept));
        mp_arena_fini(&a);
        T_EQ(kept[0], wipe ? 0 : 0x5a);
        T_EQ(kept[sizeof(kept) - 1], wipe ? 0 : 0x5a);
    }
}

int main(void)
{
    T_RUN(first_block);
    T_RUN(first_exact);
    T_RUN(empty_arena);
    T_RUN(maximum);
    T_RUN(rounding_source);
    T_RUN(failing_source);
    T_RUN(large_keeps_current);
    T_RUN(text);
    T_RUN(alignment);
    T_RUN(cleanups);
    T_RUN(wiping);
    return T_DONE();
}
