/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/buf.h"
#include "base/rand.h"
#include "t.h"

/* Bytes of a running pattern: position tells content. */
static void pattern(char *p, size_t from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = (char)((from + i) * 31 >> 3);
    }
}

static int matches(const struct mp_buf *b, size_t from)
{
    struct iovec iov[64];
    int n = mp_buf_peek(b, iov, 64);
    size_t at = 0;
    for (int k = 0; k < n; k++) {
        for (size_t i = 0; i < iov[k].iov_len; i++, at++) {
            if (((char *)iov[k].iov_base)[i] != (char)((from + at) * 31 >> 3)) {
                return 0;
            }
        }
    }
    return at == b->n;
}

static void basics(void)
{
    struct mp_blocks blocks;
    mp_blocks_init(&blocks, 0);
    struct mp_buf b;
    mp_buf_init(&b);
    T_EQ(mp_buf_front(&b).n, 0);
    T_OK(mp_buf_add(&b, &blocks, NULL, 0));
    T_EQ(blocks.bytes_used, 0);
    T_OK(mp_buf_add(&b, &blocks, "abc", 3));
    T_OK(mp_buf_add(&b, &blocks, "def", 3));
    T_EQ(blocks.bytes_used, 1024);
    T_OK(mp_str_eq(mp_buf_front(&b), MP_STR("abcdef")));
    mp_buf_consume(&b, &blocks, 2);
    T_OK(mp_str_eq(mp_buf_front(&b), MP_STR("cdef")));
    mp_buf_consume(&b, &blocks, 4);
    T_EQ(blocks.bytes_used, 0); /* idle: no memory */
    mp_buf_consume(&b, &blocks, 0);
    mp_buf_commit(&b, 0);
    mp_buf_fini(&b, &blocks);
    mp_blocks_fini(&blocks);
}

static void reserve(void)
{
    struct mp_blocks blocks;
    mp_blocks_init(&blocks, 0);
    struct mp_buf b;
    mp_buf_init(&b);
    char *p = mp_buf_reserve(&b, &blocks, 900);
    T_OK(p);
    T_EQ(mp_buf_front(&b).n, 0);
    mp_buf_commit(&b, 0);
    T_OK(mp_buf_reserve(&b, &blocks, 500) == p);
    pattern(p, 0, 400);
    mp_buf_commit(&b, 400);
    p = mp_buf_reserve(&b, &blocks, 3000); /* does not fit: a further block */
    T_OK(p);
    p = mp_buf_reserve(&b, &blocks, 10000); /* the former stays empty between two */
    pattern(p, 400, 10000);
    mp_buf_commit(&b, 10000);
    T_EQ(b.n, 10400);
    T_OK(matches(&b, 0));
    mp_buf_consume(&b, &blocks, 400);
    T_OK(matches(&b, 400));
    T_EQ(mp_buf_front(&b).n, 10000);
    T_OK(!mp_buf_reserve(&b, &blocks, SIZE_MAX));
    p = mp_buf_reserve(&b, &blocks, 100000);
    pattern(p, 10400, 100000);
    mp_buf_commit(&b, 100000);
    T_OK(matches(&b, 400));
    mp_buf_fini(&b, &blocks);
    T_EQ(blocks.bytes_used, 0);
    mp_blocks_fini(&blocks);
}

/* A pool of n KiB: what fits exactly is added, one byte more adds nothing at all. */
static void dry_pool(void)
{
    const size_t head = 1024 - 992; /* of a block */
    struct mp_blocks blocks;
    mp_blocks_init(&blocks, 1024);
    static char text[4096];
    pattern(text, 0, sizeof(text));
    for (size_t n = 991; n <= 993; n++) {
        struct mp_buf b;
        mp_buf_init(&b);
        T_EQ(mp_buf_add(&b, &blocks, text, n), n <= 1024 - head);
        T_EQ(b.n, n <= 1024 - head ? n : 0);
        mp_buf_fini(&b, &blocks);
        T_EQ(blocks.bytes_used, 0);
        T_EQ(mp_buf_reserve(&b, &blocks, n) != NULL, n <= 1024 - head);
        mp_buf_fini(&b, &blocks);
    }
    /* All or nothing, also when the tail had room for a part. */
    struct mp_buf b;
    mp_buf_init(&b);
    T_OK(mp_buf_add(&b, &blocks, text, 500));
    T_OK(!mp_buf_add(&b, &blocks, text + 500, 1000));
    T_EQ(b.n, 500);
    T_OK(matches(&b, 0));
    T_OK(mp_buf_add(&b, &blocks, text + 500, 492));
    T_OK(matches(&b, 0));
    T_OK(!mp_buf_add(&b, &blocks, text, 1));
    mp_buf_fini(&b, &blocks);
    mp_blocks_fini(&blocks);
    /* The blocks taken before the pool was dry go back. */
    mp_blocks_init(&blocks, 40000);
    static char large[60000];
    T_OK(!mp_buf_add(&b, &blocks, large, sizeof(large)));
    T_EQ(blocks.bytes_used, 0);
    T_OK(mp_buf_add(&b, &blocks, large, 30000));
    mp_buf_fini(&b, &blocks);
    mp_blocks_fini(&blocks);
}

static void move(void)
{
    struct mp_blocks blocks;
    mp_blocks_init(&blocks, 0);
    struct mp_buf a, b;
    mp_buf_init(&a);
    mp_buf_init(&b);
    mp_buf_move(&a, &b);
    T_EQ(a.n, 0);
    char text[3000];
    pattern(text, 0, sizeof(text));
    T_OK(mp_buf_add(&b, &blocks, text, 1500));
    mp_buf_move(&a, &b); /* into an empty one */
    T_EQ(a.n, 1500);
    T_EQ(b.n, 0);
    T_OK(!b.head && !b.tail);
    T_OK(mp_buf_add(&b, &blocks, text + 1500, 1500));
    mp_buf_move(&a, &b);
    T_OK(matches(&a, 0));
    T_OK(mp_buf_add(&a, &blocks, "x", 1));
    T_EQ(a.n, 3001);
    mp_buf_fini(&a, &blocks);
    mp_buf_fini(&b, &blocks);
    mp_blocks_fini(&blocks);
}

static void random_stream(void)
{
    struct mp_blocks blocks;
    mp_blocks_init(&blocks, 0);
    struct mp_rand r;
    mp_rand_seed(&r, 1);
    struct mp_buf b;
    mp_buf_init(&b);
    static char text[40000];
    size_t in = 0, out = 0;
    for (int i = 0; i < 20000; i++) {
        size_t n = mp_rand_below(&r, i % 50 == 0 ? 40000 : 700);
        uint32_t what = mp_rand_below(&r, 5);
        if (what < 2 && b.n < 200000) {
            pattern(text, in, n);
            T_OK(mp_buf_add(&b, &blocks, text, n));
            in += n;
        } else if (what == 2 && b.n < 200000) {
            char *p = mp_buf_reserve(&b, &blocks, n);
            size_t part = mp_rand_below(&r, (uint32_t)n + 1);
            pattern(p, in, part);
            mp_buf_commit(&b, part);
            in += part;
        } else {
            n = MP_MIN(n * 2, b.n);
            struct mp_str front = mp_buf_front(&b);
            if (front.n > 0) {
                T_EQ(front.p[0], (char)(out * 31 >> 3));
            }
            mp_buf_consume(&b, &blocks, n);
            out += n;
        }
        T_EQ(b.n, in - out);
        if (i % 97 == 0 && b.n < 200000) {
            struct iovec one;
            T_EQ(mp_buf_peek(&b, &one, 1), b.n > 0);
            T_EQ(mp_buf_peek(&b, &one, 0), 0);
        }
    }
    mp_buf_fini(&b, &blocks);
    T_EQ(blocks.bytes_used, 0);
    mp_blocks_fini(&blocks);
}

int main(void)
{
    T_RUN(basics);
    T_RUN(reserve);
    T_RUN(dry_pool);
    T_RUN(move);
    T_RUN(random_stream);
    return T_DONE();
}
