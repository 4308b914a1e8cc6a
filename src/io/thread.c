/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "io/thread.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/assert.h"
#include "io/crash.h"

struct mp_thread {
    pthread_t id;
    void (*fn)(void *arg);
    void *arg;
    char name[16];
    void *alt_stack;
};

static void *thread_main(void *arg)
{
    struct mp_thread *t = arg;
    pthread_setname_np(pthread_self(), t->name);
    mp_crash_use_stack(t->alt_stack);
    t->fn(t->arg);
    mp_crash_use_stack(NULL);
    return NULL;
}

/* The set is sized for any CPU number that the kernel may know. */
static cpu_set_t *cpu_set_new(uint32_t cpu_count, size_t *ret_size)
{
    cpu_set_t *set = CPU_ALLOC(cpu_count);
    if (!set) {
        abort();
    }
    *ret_size = CPU_ALLOC_SIZE(cpu_count);
    CPU_ZERO_S(*ret_size, set);
    return set;
}

static int attr_pin(pthread_attr_t *attr, int cpu)
{
    size_t size;
    cpu_set_t *set = cpu_set_new((uint32_t)cpu + 1, &size);
    CPU_SET_S((size_t)cpu, size, set);
    int e = pthread_attr_setaffinity_np(attr, size, set);
    CPU_FREE(set);
    return e;
}

mp_err mp_thread_start(const char *name, int cpu, void (*fn)(void *arg), void *arg,
                       struct mp_thread **ret)
{
    struct mp_thread *t = calloc(1, sizeof *t);
    if (!t) {
        abort();
    }
    t->fn = fn;
    t->arg = arg;
    snprintf(t->name, sizeof t->name, "%s", name);

    pthread_attr_t attr;
    int e = pthread_attr_init(&attr);
    if (e) {
        free(t);
        return mp_err_from_errno(e);
    }
    e = cpu < 0 ? 0 : attr_pin(&attr, cpu);
    if (!e) {
        /* The mask is inherited, so the thread never runs with signals open. */
        sigset_t all, before;
        sigfillset(&all);
        mp_crash_signals(&all, false); /* a blocked fault would end the process without a word */
        t->alt_stack = mp_crash_stack_new();
        pthread_sigmask(SIG_SETMASK, &all, &before);
        e = pthread_create(&t->id, &attr, thread_main, t);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_attr_destroy(&attr);
    if (e) {
        free(t->alt_stack);
        free(t);
        return mp_err_from_errno(e);
    }
    *ret = t;
    return MP_OK;
}

void mp_thread_join(struct mp_thread *t)
{
    if (!t) {
        return;
    }
    MP_ASSERT(pthread_join(t->id, NULL) == 0);
    free(t->alt_stack);
    free(t);
}

uint32_t mp_cpus_allowed(uint32_t *ret_cpus, uint32_t max)
{
    uint32_t n = 0;
    /* sched_getaffinity refuses a set smaller than the kernel's. */
    for (uint32_t cpu_count = 1024; cpu_count <= 1024 * 1024; cpu_count *= 4) {
        size_t size;
        cpu_set_t *set = cpu_set_new(cpu_count, &size);
        bool known = sched_getaffinity(0, size, set) == 0;
        for (uint32_t c = 0; known && c < cpu_count && n < max; c++) {
            if (CPU_ISSET_S(c, size, set)) {
                ret_cpus[n++] = c;
            }
        }
        CPU_FREE(set);
        if (known) {
            break;
        }
    }
    return n;
}
