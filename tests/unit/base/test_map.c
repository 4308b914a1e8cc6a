/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/hash.h"
#include "base/map.h"
#include "base/rand.h"
#include "t.h"

static void basics(void)
{
    struct mp_map m;
    mp_map_init(&m);
    int a, b;
    T_OK(!mp_map_get(&m, MP_STR("x")));
    T_OK(!mp_map_del(&m, MP_STR("x")));
    size_t pos = 0;
    T_OK(!mp_map_next(&m, &pos));
    T_OK(!mp_map_set(&m, MP_STR("x"), &a));
    T_OK(mp_map_get(&m, MP_STR("x")) == &a);
    T_OK(!mp_map_get(&m, MP_STR("X")));
    T_OK(!mp_map_set(&m, mp_str(NULL, 0), &b)); /* the empty key is a key */
    T_OK(mp_map_get(&m, MP_STR("")) == &b);
    T_OK(mp_map_set(&m, MP_STR("x"), &b) == &a);
    T_EQ(m.n, 2);
    T_OK(mp_map_del(&m, MP_STR("x")) == &b);
    T_OK(!mp_map_del(&m, MP_STR("x")));
    T_EQ(m.n, 1);
    mp_map_fini(&m);
    T_EQ(m.n, 0);
    mp_map_fini(&m);
}

/* Against an array indexed by the key's number. */
static void random_model(void)
{
    enum { KEYS = 500 };
    static char keys[KEYS][8];
    static int values[KEYS][2];
    void *model[KEYS] = {0};
    for (int i = 0; i < KEYS; i++) {
        snprintf(keys[i], sizeof(keys[i]), "k%d", i);
    }
    struct mp_rand r;
    mp_rand_seed(&r, 42);
    struct mp_map m;
    mp_map_init(&m);
    size_t n = 0;
    for (int step = 0; step < 200000; step++) {
        /* Phases of growth and of shrinking, so that every fill is met. */
        uint32_t k = mp_rand_below(&r, KEYS), bias = step / 20000 % 2 ? 2 : 6;
        struct mp_str key = mp_str_c(keys[k]);
        uint32_t what = mp_rand_below(&r, 10);
        if (what < bias) {
            void *value = &values[k][mp_rand_below(&r, 2)];
            T_OK(mp_map_set(&m, key, value) == model[k]);
            n += !model[k];
            model[k] = value;
        } else if (what < 8) {
            T_OK(mp_map_del(&m, key) == model[k]);
            n -= model[k] != NULL;
            model[k] = NULL;
        } else {
            T_OK(mp_map_get(&m, key) == model[k]);
        }
        T_EQ(m.n, n);
        if (step % 1000 == 0) {
            size_t pos = 0, seen = 0;
            for (struct mp_map_entry *e; (e = mp_map_next(&m, &pos)); seen++) {
                T_OK(model[strtol(e->key.p + 1, NULL, 10)] == e->value);
            }
            T_EQ(seen, n);
            for (int i = 0; i < KEYS; i++) {
                T_OK(mp_map_get(&m, mp_str_c(keys[i])) == model[i]);
            }
            T_OK(m.n * 4 <= m.cap * 3);
        }
    }
    mp_map_fini(&m);
}

/* The table grows exactly when it would be fuller than 3/4. */
static void load(void)
{
    struct mp_map m;
    mp_map_init(&m);
    static char keys[100][4];
    for (int i = 0; i < 100; i++) {
        snprintf(keys[i], sizeof(keys[i]), "%d", i);
        mp_map_set(&m, mp_str_c(keys[i]), keys[i]);
        if (i + 1 == 6) {
            T_EQ(m.cap, 8);
            mp_map_set(&m, mp_str_c(keys[i]), keys[i]); /* replacing does not grow */
            T_EQ(m.cap, 8);
        }
        if (i + 1 == 7) {
            T_EQ(m.cap, 16);
        }
    }
    for (int i = 0; i < 100; i++) {
        T_OK(mp_map_get(&m, mp_str_c(keys[i])) == keys[i]);
    }
    mp_map_fini(&m);
}

int main(void)
{
    mp_hash_set_key(3, 4);
    T_RUN(basics);
    T_RUN(random_model);
    T_RUN(load);
    return T_DONE();
}
