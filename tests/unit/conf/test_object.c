/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "conf/object.h"

#include <pthread.h>

#include "base/hash.h"
#include "t.h"

struct thing {
    struct mp_obj obj;
    int *destroyed;
};

static void destroy(struct mp_obj *o)
{
    struct thing *t = (struct thing *)o;
    ++*t->destroyed;
    mp_obj_fini(o);
    free(t);
}

static const struct mp_obj_ops ops = {.kind = "thing", .destroy = destroy};

static struct thing *thing_new(int *destroyed, uint32_t workers)
{
    struct thing *t = calloc(1, sizeof(*t));
    t->destroyed = destroyed;
    mp_obj_init(&t->obj, &ops, MP_STR("t"), 5, workers);
    return t;
}

static void test_root_reference(void)
{
    int gone = 0;
    struct thing *t = thing_new(&gone, 0);
    T_EQ(t->obj.refs, 1);
    mp_obj_ref(&t->obj);
    mp_obj_unref(&t->obj);
    T_EQ(gone, 0);
    mp_obj_unref(&t->obj);
    T_EQ(gone, 1);
    mp_obj_unref(NULL);
}

static void test_workers_hold(void)
{
    int gone = 0;
    struct thing *t = thing_new(&gone, 2);
    mp_obj_enter(&t->obj, 0);
    mp_obj_enter(&t->obj, 0); /* again in the next snapshot: one reference all the same */
    mp_obj_enter(&t->obj, 1);
    T_EQ(t->obj.refs, 3);
    mp_obj_unref(&t->obj); /* the root's */
    mp_obj_leave(&t->obj, 0);
    T_EQ(gone, 0);
    mp_obj_leave(&t->obj, 1);
    T_EQ(gone, 1);
}

static void test_pins_outlive_the_snapshot(void)
{
    int gone = 0;
    struct thing *t = thing_new(&gone, 1);
    mp_obj_enter(&t->obj, 0);
    mp_obj_pin(&t->obj, 0);
    mp_obj_pin(&t->obj, 0);
    mp_obj_unref(&t->obj);
    mp_obj_leave(&t->obj, 0);
    T_EQ(gone, 0);
    mp_obj_unpin(&t->obj, 0);
    T_EQ(gone, 0);
    mp_obj_unpin(&t->obj, 0);
    T_EQ(gone, 1);
}

/* A pinned object that comes back into the snapshot keeps its one reference. */
static void test_leave_and_return(void)
{
    int gone = 0;
    struct thing *t = thing_new(&gone, 1);
    mp_obj_enter(&t->obj, 0);
    mp_obj_pin(&t->obj, 0);
    mp_obj_leave(&t->obj, 0);
    mp_obj_enter(&t->obj, 0);
    T_EQ(t->obj.refs, 2);
    mp_obj_unpin(&t->obj, 0); /* current: stays held */
    T_EQ(t->obj.refs, 2);
    mp_obj_leave(&t->obj, 0);
    T_EQ(t->obj.refs, 1);
    mp_obj_leave(&t->obj, 0); /* a second time is harmless */
    T_EQ(t->obj.refs, 1);
    mp_obj_unref(&t->obj);
    T_EQ(gone, 1);
}

static void *hammer(void *arg)
{
    struct mp_obj *o = arg;
    for (int i = 0; i < 20000; i++) {
        mp_obj_ref(o);
        mp_obj_unref(o);
    }
    mp_obj_unref(o);
    return NULL;
}

static void test_threads(void)
{
    int gone = 0;
    pthread_t threads[4];
    struct thing *t = thing_new(&gone, 0);
    for (size_t i = 0; i < 4; i++) {
        mp_obj_ref(&t->obj);
        T_EQ(pthread_create(&threads[i], NULL, hammer, &t->obj), 0);
    }
    mp_obj_unref(&t->obj);
    for (size_t i = 0; i < 4; i++) {
        T_EQ(pthread_join(threads[i], NULL), 0);
    }
    T_EQ(gone, 1);
}

int main(void)
{
    T_RUN(test_root_reference);
    T_RUN(test_workers_hold);
    T_RUN(test_pins_outlive_the_snapshot);
    T_RUN(test_leave_and_return);
    T_RUN(test_threads);
    return T_DONE();
}
