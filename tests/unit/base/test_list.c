/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "t.h"
#include "base/list.h"

struct item {
    int v;
    struct mp_list link;
};

static int digits(struct mp_list *h)
{
    int r = 0;
    MP_LIST_FOREACH (it, h) {
        r = r * 10 + MP_CONTAINER_OF(it, struct item, link)->v;
    }
    return r;
}

static void operations(void)
{
    struct mp_list a, b;
    struct item x[5];
    for (int i = 0; i < 5; i++) {
        x[i].v = i + 1;
        mp_list_init(&x[i].link);
    }
    mp_list_init(&a);
    mp_list_init(&b);
    T_OK(mp_list_empty(&a));
    T_OK(!mp_list_pop_front(&a));
    mp_list_push_back(&a, &x[1].link);
    mp_list_push_back(&a, &x[2].link);
    mp_list_push_front(&a, &x[0].link);
    T_EQ(digits(&a), 123);
    mp_list_remove(&x[1].link);
    mp_list_remove(&x[1].link); /* twice is harmless */
    T_EQ(digits(&a), 13);
    mp_list_splice(&b, &a);
    T_OK(mp_list_empty(&a));
    T_EQ(digits(&b), 13);
    mp_list_splice(&b, &a);
    T_EQ(digits(&b), 13);
    mp_list_push_back(&a, &x[3].link);
    mp_list_push_back(&a, &x[4].link);
    mp_list_splice(&b, &a);
    T_EQ(digits(&b), 1345);
    MP_LIST_FOREACH_SAFE (it, &b) {
        if (MP_CONTAINER_OF(it, struct item, link)->v > 3) {
            mp_list_remove(it);
        }
    }
    T_EQ(digits(&b), 13);
    T_OK(mp_list_pop_front(&b) == &x[0].link);
    T_OK(mp_list_pop_front(&b) == &x[2].link);
    T_OK(mp_list_empty(&b));
}

int main(void)
{
    T_RUN(operations);
    return T_DONE();
}
