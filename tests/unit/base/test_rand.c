/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/rand.h"
#include "t.h"

static void reference(void)
{
    struct mp_rand r = {{1, 2, 3, 4}};
    static const uint64_t expected[] = {11520, 0, 1509978240, 1215971899390074240,
                                        1216172134540287360};
    for (size_t i = 0; i < 5; i++) {
        T_OK(mp_rand_u64(&r) == expected[i]);
    }
    mp_rand_seed(&r, 0);
    T_OK(r.s[0] == 0xe220a8397b1dcdaf && r.s[1] == 0x6e789e6aa1b965f4);
    T_OK(r.s[2] == 0x06c45d188009454f && r.s[3] == 0xf88bb8a8724c81ec);
}

static void below(void)
{
    struct mp_rand r;
    mp_rand_seed(&r, 7);
    for (int i = 0; i < 100; i++) {
        T_EQ(mp_rand_below(&r, 1), 0);
    }
    uint32_t seen[6] = {0};
    for (int i = 0; i < 60000; i++) {
        uint32_t v = mp_rand_below(&r, 6);
        T_OK(v < 6);
        seen[v]++;
    }
    for (int i = 0; i < 6; i++) {
        T_OK(seen[i] > 9500 && seen[i] < 10500);
    }
    /* Four draws stand for three results here: without refusing a quarter of the draws, every third
     * result would come twice as often. */
    uint32_t third[3] = {0};
    for (int i = 0; i < 30000; i++) {
        uint32_t v = mp_rand_below(&r, 3u << 30);
        T_OK(v < 3u << 30);
        third[v % 3]++;
    }
    for (int i = 0; i < 3; i++) {
        T_OK(third[i] > 9500 && third[i] < 10500);
    }
    uint32_t top = 0;
    for (int i = 0; i < 1000; i++) {
        top |= mp_rand_below(&r, UINT32_MAX);
    }
    T_OK(top == UINT32_MAX);
}

static void uuid(void)
{
    struct mp_rand r;
    mp_rand_seed(&r, 1);
    char last[36] = {0};
    for (int k = 0; k < 1000; k++) {
        char u[37];
        u[36] = '!';
        mp_rand_uuid(&r, u);
        T_EQ(u[36], '!'); /* no NUL is written */
        for (int i = 0; i < 36; i++) {
            int dash = i == 8 || i == 13 || i == 18 || i == 23;
            T_EQ(u[i] == '-', dash);
            T_OK(dash || strchr("0123456789abcdef", u[i]));
        }
        T_EQ(u[14], '4');
        T_OK(strchr("89ab", u[19]));
        T_OK(memcmp(u, last, 36) != 0);
        memcpy(last, u, 36);
    }
}

int main(void)
{
    T_RUN(reference);
    T_RUN(below);
    T_RUN(uuid);
    return T_DONE();
}
