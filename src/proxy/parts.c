/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "proxy/parts.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "base/mem.h"
#include "io/open.h"

struct part {
    char *path;
    enum mp_conf_named_kind kind;
};
struct list {
    struct part *v;
    size_t n, cap;
    uint64_t sum; /* of the files as they were when they were named, before they were read */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list last, next; /* next: of the reading under way; one at a time */

static struct {
    struct mp_loop *loop;
    struct mp_timer timer;
    uint64_t seen; /* the sum a poll ago */
    void (*changed)(void *arg);
    void *arg;
} watch;

static void list_fini(struct list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->v[i].path);
    }
    free(l->v);
    *l = (struct list){0};
}

static uint64_t look_at(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        return 0;
    }
    const int64_t words[] = {(int64_t)st.st_dev,  (int64_t)st.st_ino,
                             (int64_t)st.st_size, (int64_t)st.st_mtim.tv_sec,
                             st.st_mtim.tv_nsec,  (int64_t)st.st_ctim.tv_sec,
                             st.st_ctim.tv_nsec};
    return mp_hash_fnv(mp_hash_fnv(MP_FNV_SEED, words, sizeof(words)), path, strlen(path));
}

/* The sum of what there is to say about a path, or the paths of a pattern. */
static uint64_t look(const char *path, enum mp_conf_named_kind kind)
{
    char *found;
    size_t n;
    uint64_t sum = 0;
    if (kind != MP_NAMED_GLOB) {
        return kind == MP_NAMED_READ ? look_at(path) : 0;
    }
    if (mp_glob(path, &found, &n) < 0) {
        return 0;
    }
    for (size_t i = 0; i < n; i += strlen(found + i) + 1) {
        sum += look_at(found + i) * 3; /* also named by itself, as a file that was read */
    }
    free(found);
    return sum;
}

void mp_parts_begin(void)
{
    pthread_mutex_lock(&lock);
    list_fini(&next);
    pthread_mutex_unlock(&lock);
}

void mp_parts_name(void *arg, struct mp_str path, enum mp_conf_named_kind kind)
{
    (void)arg;
    if (kind == MP_NAMED_APPEND) {
        return; /* a log changes all the time */
    }
    pthread_mutex_lock(&lock);
    if (next.n == next.cap) {
        next.cap = next.cap > 0 ? 2 * next.cap : 16;
        next.v = mp_xrealloc(next.v, next.cap * sizeof(*next.v));
    }
    struct part *p = &next.v[next.n++];
    *p = (struct part){mp_str_dup_c(path), kind};
    next.sum += look(p->path, kind);
    pthread_mutex_unlock(&lock);
}

void mp_parts_end(void)
{
    pthread_mutex_lock(&lock);
    list_fini(&last);
    last = next;
    next = (struct list){0};
    pthread_mutex_unlock(&lock);
}

static int read_state(struct mp_parts_state *ret)
{
    if (mp_open_has_broker()) {
        /* It may look where we may not. */
        return mp_broker_state(ret, sizeof(*ret));
    }
    mp_parts_look(ret);
    return 0;
}

void mp_parts_look(struct mp_parts_state *ret)
{
    pthread_mutex_lock(&lock);
    *ret = (struct mp_parts_state){.read = last.sum};
    for (size_t i = 0; i < last.n; i++) {
        ret->now += look(last.v[i].path, last.v[i].kind);
    }
    pthread_mutex_unlock(&lock);
}

/* A file that is being written shows another state at each poll. */
static void on_timer(struct mp_timer *t)
{
    struct mp_parts_state s;
    (void)t;
    if (read_state(&s) == 0) {
        if (s.now != s.read && s.now == watch.seen) {
            watch.changed(watch.arg);
        }
        watch.seen = s.now;
    }
    mp_timer_in(watch.loop, &watch.timer, MP_PARTS_POLL_MS);
}

void mp_parts_watch(struct mp_loop *l, void (*changed)(void *arg), void *arg)
{
    watch.loop = l;
    watch.changed = changed;
    watch.arg = arg;
    mp_timer_init(&watch.timer, on_timer);
    mp_timer_in(l, &watch.timer, MP_PARTS_POLL_MS);
}

void mp_parts_unwatch(void)
{
    if (watch.loop != NULL) {
        mp_wheel_remove(mp_loop_wheel(watch.loop), &watch.timer);
        watch.loop = NULL;
    }
}

void mp_parts_fini(void)
{
    list_fini(&last);
    list_fini(&next);
}
