/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/slab.h"
#include "t.h"

static void cells(void)
{
    static const size_t sizes[] = {0, 1, 15, 16, 17, 48, 64, 100, 192, 1024, 5000, 65536, 300000};
    for (size_t k = 0; k < MP_COUNTOF(sizes); k++) {
        struct mp_slab s;
        mp_slab_init(&s, sizes[k], 0);
        T_EQ(s.cell_size % 16, 0);
        T_OK(s.cell_size >= sizes[k] && s.cell_size >= 16);
        enum { N = 40 };
        unsigned char *p[N];
        for (size_t i = 0; i < N; i++) {
            p[i] = mp_slab_get(&s);
            T_EQ((uintptr_t)p[i] % (s.cell_size % 64 == 0 ? 64 : 16), 0);
            memset(p[i], (int)i, s.cell_size);
        }
        for (size_t i = 0; i < N; i++) {
            T_OK(p[i][0] == i && p[i][s.cell_size - 1] == i); /* no overlap */
        }
        T_EQ(s.cells_used, N);
        mp_slab_put(&s, p[3]);
        mp_slab_put(&s, p[7]);
        T_OK(mp_slab_get(&s) == p[7]); /* the last comes first */
        T_OK(mp_slab_get(&s) == p[3]);
        T_EQ(s.cells_total, N);
        for (size_t i = 0; i < N; i++) {
            mp_slab_put(&s, p[i]);
        }
        T_EQ(s.cells_used, 0);
        mp_slab_fini(&s);
    }
}

static void limit(void)
{
    enum { MAX = 10 };
    struct mp_slab s;
    mp_slab_init(&s, 64, MAX);
    void *p[MAX];
    for (int i = 0; i < MAX - 1; i++) {
        p[i] = mp_slab_get(&s);
        T_OK(p[i]);
    }
    p[MAX - 1] = mp_slab_get(&s);
    T_OK(p[MAX - 1]);
    T_OK(!mp_slab_get(&s));
    mp_slab_put(&s, p[4]);
    T_OK(mp_slab_get(&s) == p[4]);
    T_OK(!mp_slab_get(&s));
    for (int i = 0; i < MAX; i++) {
        mp_slab_put(&s, p[i]);
    }
    mp_slab_fini(&s);
}

static void many_pages(void)
{
    struct mp_slab s;
    mp_slab_init(&s, 16384, 0);
    enum { N = 200 };
    void *p[N];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            p[i] = mp_slab_get(&s);
            memset(p[i], 1, 16384);
        }
        for (int i = 0; i < N; i++) {
            mp_slab_put(&s, p[i]);
        }
    }
    T_EQ(s.cells_total, N); /* all reused */
    mp_slab_fini(&s);
    void *again = mp_slab_get(&s); /* usable after fini */
    T_OK(again);
    mp_slab_put(&s, again);
    mp_slab_fini(&s);
}

static int dies(void (*fn)(void))
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        close(STDERR_FILENO);
        fn();
        _exit(0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void fini_with_cell_out(void)
{
    struct mp_slab s;
    mp_slab_init(&s, 64, 0);
    (void)mp_slab_get(&s);
    mp_slab_fini(&s);
}

static void put_too_many(void)
{
    struct mp_slab s;
    mp_slab_init(&s, 64, 0);
    void *p = mp_slab_get(&s);
    mp_slab_put(&s, p);
    mp_slab_put(&s, p);
}

#ifdef __SANITIZE_ADDRESS__
static void use_after_put(void)
{
    struct mp_slab s;
    mp_slab_init(&s, 64, 0);
    volatile char *p = mp_slab_get(&s);
    mp_slab_put(&s, (void *)p);
    p[20] = 1;
}
#endif

static void misuse(void)
{
    T_OK(dies(fini_with_cell_out));
    T_OK(dies(put_too_many));
#ifdef __SANITIZE_ADDRESS__
    T_OK(dies(use_after_put));
#endif
}

static void block_classes(void)
{
    static const struct {
        size_t ask, got;
    } cases[] = {
        {0, 1024},      {1, 1024},      {1023, 1024},   {1024, 1024},   {1025, 4096},
        {4095, 4096},   {4096, 4096},   {4097, 16384},  {16383, 16384}, {16384, 16384},
        {16385, 65536}, {65535, 65536}, {65536, 65536}, {65537, 69632}, {1 << 20, 1 << 20},
    };
    struct mp_blocks b;
    mp_blocks_init(&b, 0);
    for (size_t i = 0; i < MP_COUNTOF(cases); i++) {
        size_t size = cases[i].ask;
        void *p = mp_blocks_get(&b, &size);
        T_OK(p);
        T_EQ(size, cases[i].got);
        T_EQ(b.bytes_used, size);
        memset(p, 1, size);
        mp_blocks_put(&b, p, size);
        T_EQ(b.bytes_used, 0);
    }
    size_t size = SIZE_MAX;
    T_OK(!mp_blocks_get(&b, &size));
    T_OK(size == SIZE_MAX);
    mp_blocks_fini(&b);
}

static void block_limit(void)
{
    for (size_t max = 4 * 1024 - 1; max <= 4 * 1024 + 1; max++) {
        struct mp_blocks b;
        mp_blocks_init(&b, max);
        void *p[8];
        size_t n = 0, size = 1000;
        while ((p[n] = mp_blocks_get(&b, &size))) {
            n++;
            size = 1000;
        }
        T_EQ(size, 1000);
        T_EQ(n, max / 1024);
        size = 100000;
        T_OK(!mp_blocks_get(&b, &size));
        mp_blocks_put(&b, p[0], 1000);
        size = 1;
        T_OK((p[0] = mp_blocks_get(&b, &size)));
        while (n > 0) {
            mp_blocks_put(&b, p[--n], 1024);
        }
        mp_blocks_fini(&b);
    }
}

static void block_source(void)
{
    struct mp_blocks b;
    mp_blocks_init(&b, 0);
    size_t size = 5000;
    void *p = b.src.get(&b.src, &size);
    T_OK(p);
    T_EQ(size, 16384);
    T_EQ(b.bytes_used, 16384);
    b.src.put(&b.src, p, size);
    T_EQ(b.bytes_used, 0);
    mp_blocks_fini(&b);
}

int main(void)
{
    T_RUN(cells);
    T_RUN(limit);
    T_RUN(many_pages);
    T_RUN(misuse);
    T_RUN(block_classes);
    T_RUN(block_limit);
    T_RUN(block_source);
    return T_DONE();
}
