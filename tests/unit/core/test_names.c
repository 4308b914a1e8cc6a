/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <pthread.h>

#include "base/hash.h"
#include "core/names.h"
#include "t.h"

static void test_ids_are_given_once(void)
{
    struct mp_names *n = mp_names_new();
    T_EQ(mp_names_count(n), 0);
    char a[] = "a";
    uint32_t first = mp_names_id(n, mp_str_c(a));
    a[0] = 'x'; /* the name was copied */
    uint32_t second = mp_names_id(n, MP_STR("b"));
    T_EQ(first, 0);
    T_EQ(second, 1);
    T_EQ(mp_names_id(n, MP_STR("a")), first);
    T_EQ(mp_names_id(n, MP_STR("b")), second);
    T_EQ(mp_names_id(n, MP_STR("")), 2);
    T_EQ(mp_names_id(n, MP_STR("B")), 3);
    T_EQ(mp_names_count(n), 4);
    T_OK(mp_names_free(n) == NULL);
    T_OK(mp_names_free(NULL) == NULL);
}

#define NAMES 500
static uint32_t seen[4][NAMES];
static struct mp_names *shared;

static void *name_all(void *arg)
{
    uint32_t *ids = arg;
    for (int i = 0; i < NAMES; i++) {
        char text[16];
        int n = snprintf(text, sizeof(text), "n%d", i);
        ids[i] = mp_names_id(shared, mp_str(text, (size_t)n));
    }
    return NULL;
}

static void test_threads_agree(void)
{
    shared = mp_names_new();
    pthread_t t[4];
    for (int i = 0; i < 4; i++) {
        T_EQ(pthread_create(&t[i], NULL, name_all, seen[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
    }
    T_EQ(mp_names_count(shared), NAMES);
    for (int i = 1; i < 4; i++) {
        T_OK(memcmp(seen[0], seen[i], sizeof(seen[0])) == 0);
    }
    mp_names_free(shared);
}

int main(void)
{
    mp_hash_set_key(1, 2);
    T_RUN(test_ids_are_given_once);
    T_RUN(test_threads_agree);
    return T_DONE();
}
