/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Files, threads, signals, entropy and the worker. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>
#include "io/entropy.h"
#include "io/open.h"
#include "io/signal.h"
#include "io/thread.h"
#include "io/worker.h"
#include "t.h"
#include "unit/io/util.h"

static char dir[] = "/tmp/mp-test-os-XXXXXX";
static char path[64];

static bool write_file(const char *text, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write(fd, text, n) == (ssize_t)n;
    close(fd);
    return ok;
}

static void read_file_limits(void)
{
    static char text[20000];
    memset(text, 'x', sizeof text);
    for (size_t n = 99; n <= 101; n++) {
        struct mp_str s = {NULL, 0};
        int e = 0;
        T_OK(write_file(text, n));
        mp_err r = mp_read_file(path, 100, &s, &e);
        T_EQ(r.code, n <= 100 ? MP_E_OK : MP_E_LIMIT);
        if (n <= 100) {
            T_EQ(s.n, n);
            T_EQ(s.p[n], '\0');
            free((char *)(uintptr_t)s.p);
        } else {
            T_OK(!s.p);
            T_EQ(e, EFBIG);
        }
    }
    struct mp_str s;
    T_OK(write_file(text, sizeof text));
    T_OK(!mp_is_err(mp_read_file(path, SIZE_MAX, &s, NULL)));
    T_EQ(s.n, sizeof text);
    free((char *)(uintptr_t)s.p);
    T_OK(write_file("", 0));
    T_OK(!mp_is_err(mp_read_file(path, 0, &s, NULL)));
    T_EQ(s.n, 0);
    T_EQ(s.p[0], '\0');
    free((char *)(uintptr_t)s.p);
    T_OK(write_file("x", 1));
    T_EQ(mp_read_file(path, 0, &s, NULL).code, MP_E_LIMIT);
}

static void read_file_without_size(void)
{
    struct mp_str s;
    int e = 0;
    T_OK(!mp_is_err(mp_read_file("/proc/self/smaps", 100 << 20, &s, &e)));
    T_OK(s.n > 8192);
    T_EQ(strlen(s.p), s.n);
    free((char *)(uintptr_t)s.p);
}

static void read_file_errors(void)
{
    struct mp_str s;
    int e = 0;
    T_EQ(mp_read_file("/nonexistent/x", 10, &s, &e).code, MP_E_NOT_FOUND);
    T_EQ(e, ENOENT);
    T_OK(mp_is_err(mp_read_file("/tmp", 10, &s, &e)));
    T_EQ(e, EISDIR);
    T_OK(mp_is_err(mp_read_file("/tmp", 10, &s, NULL)));
}

static void open_append(void)
{
    struct stat st;
    unlink(path);
    mode_t mask = umask(0);
    int fd = mp_open_append(path);
    umask(mask);
    T_OK(fd >= 0);
    T_OK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    T_EQ(fstat(fd, &st), 0);
    T_EQ(st.st_mode & 07777, 0640);
    T_EQ(write(fd, "ab", 2), 2);
    close(fd);
    fd = mp_open_append(path);
    T_EQ(write(fd, "cd", 2), 2);
    close(fd);
    struct mp_str s;
    T_OK(!mp_is_err(mp_read_file(path, 10, &s, NULL)));
    T_OK(mp_str_eq(s, MP_STR("abcd")));
    free((char *)(uintptr_t)s.p);
    T_EQ(mp_open_append("/nonexistent/x"), -ENOENT);
    T_EQ(mp_open_read("/nonexistent/x"), -ENOENT);
}

struct seen {
    char name[16];
    int cpu_count, cpu;
    sigset_t mask;
};

static void look(void *arg)
{
    struct seen *s = arg;
    cpu_set_t set;
    pthread_getname_np(pthread_self(), s->name, sizeof s->name);
    sched_getaffinity(0, sizeof set, &set);
    s->cpu_count = CPU_COUNT(&set);
    for (s->cpu = 0; s->cpu < CPU_SETSIZE && !CPU_ISSET((size_t)s->cpu, &set); s->cpu++) {
    }
    pthread_sigmask(SIG_SETMASK, NULL, &s->mask);
}

static void thread_name_pin_mask(void)
{
    uint32_t cpus[1024];
    uint32_t n = mp_cpus_allowed(cpus, 1024);
    T_OK(n > 0);
    T_EQ(mp_cpus_allowed(cpus, 1), 1);
    n = mp_cpus_allowed(cpus, 1024);
    struct seen s;
    struct mp_thread *t;
    T_OK(!mp_is_err(mp_thread_start("fifteen-letters-and-more", (int)cpus[n - 1], look, &s, &t)));
    mp_thread_join(t);
    T_OK(strcmp(s.name, "fifteen-letters") == 0);
    T_EQ(s.cpu_count, 1);
    T_EQ(s.cpu, cpus[n - 1]);
    T_OK(sigismember(&s.mask, SIGTERM));
    T_OK(sigismember(&s.mask, SIGUSR1));
    T_OK(!mp_is_err(mp_thread_start("w", -1, look, &s, &t)));
    mp_thread_join(t);
    T_EQ(s.cpu_count, n);
    sigset_t own;
    pthread_sigmask(SIG_SETMASK, NULL, &own);
    T_OK(!sigismember(&own, SIGUSR1));
    t = NULL;
    T_OK(mp_is_err(mp_thread_start("w", 100000, look, &s, &t)));
    T_OK(!t);
    mp_thread_join(NULL);
}

struct caught {
    struct mp_signals s;
    struct mp_loop *loop;
    int n, last, pid;
    bool close_on_first;
};

static void on_signal(void *arg, int signo, int sender_pid)
{
    struct caught *c = arg;
    c->n++;
    c->last = signo;
    c->pid = sender_pid;
    if (c->close_on_first) {
        mp_signals_close(&c->s, c->loop);
    }
}

static void signals_in_loop(void)
{
    struct caught c = {.loop = mp_loop_new()};
    static const int signos[] = {SIGUSR1, SIGUSR2, 0}, bad[] = {SIGUSR1, 1000, 0};
    T_EQ(mp_signals_open(&c.s, c.loop, bad, on_signal, &c).code, MP_E_INVALID);
    mp_signals_close(&c.s, c.loop);
    T_OK(!mp_is_err(mp_signals_open(&c.s, c.loop, signos, on_signal, &c)));
    kill(getpid(), SIGUSR1);
    RUN_UNTIL(c.loop, c.n == 1);
    T_EQ(c.last, SIGUSR1);
    T_EQ(c.pid, getpid());
    kill(getpid(), SIGUSR2);
    kill(getpid(), SIGUSR1);
    RUN_UNTIL(c.loop, c.n == 3);
    T_EQ(c.n, 3);
    /* Closing from inside the callback with a second signal waiting. */
    c.close_on_first = true;
    kill(getpid(), SIGUSR2);
    kill(getpid(), SIGUSR1);
    RUN_UNTIL(c.loop, c.n == 4);
    mp_loop_turn(c.loop, 0);
    T_EQ(c.n, 4);
    T_EQ(c.s.io.fd, -1);
    struct sigaction sa;
    sigaction(SIGPIPE, NULL, &sa);
    T_OK(sa.sa_handler == SIG_IGN);
    /* What is left pending is taken, so that unblocking does not kill the test. */
    sigset_t set;
    struct timespec zero = {0, 0};
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    while (sigtimedwait(&set, NULL, &zero) > 0) {
    }
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    mp_loop_free(c.loop);
}

static void entropy_fills(void)
{
    unsigned char a[1000] = {0}, b[1000] = {0};
    mp_entropy(a, sizeof a);
    mp_entropy(b, sizeof b);
    T_OK(memcmp(a, b, sizeof a) != 0);
    unsigned zeros = 0;
    for (size_t i = 0; i < sizeof a; i++) {
        zeros += a[i] == 0;
    }
    T_OK(zeros < 50);
    T_OK(mp_entropy_u64() != mp_entropy_u64());
    mp_entropy(a, 0);
}

static unsigned delivered;
static void msg_deliver(struct mp_msg *m, void *receiver)
{
    (void)m;
    delivered += *(unsigned *)receiver;
}

static void worker_parts(void)
{
    struct mp_worker w;
    unsigned seven = 7;
    struct mp_msg m1 = {.deliver = msg_deliver}, m2 = {.deliver = msg_deliver};
    struct mp_loop *l = mp_loop_new();
    mp_worker_init(&w, 3, l, 42, 64 * 1024, &seven);
    T_EQ(w.id, 3);
    T_EQ(w.writer, 3);
    T_OK(w.loop == l);
    memset(w.scratch, 1, MP_SCRATCH_SIZE);
    delivered = 0;
    mp_mailbox_post(&w.mailbox, &m1);
    mp_loop_turn(l, 1000);
    T_EQ(delivered, 7);
    size_t n = 1000;
    void *p = mp_blocks_get(&w.blocks, &n);
    T_OK(p);
    mp_blocks_put(&w.blocks, p, n);
    struct mp_rand same;
    mp_rand_seed(&same, 42);
    T_OK(mp_rand_u64(&w.rand) == mp_rand_u64(&same));
    mp_mailbox_post(&w.mailbox, &m2);
    mp_worker_fini(&w);
    T_EQ(delivered, 14);
    mp_loop_free(l);
}

int main(void)
{
    if (!mkdtemp(dir)) {
        return 1;
    }
    snprintf(path, sizeof path, "%s/file", dir);
    T_RUN(read_file_limits);
    T_RUN(read_file_without_size);
    T_RUN(read_file_errors);
    T_RUN(open_append);
    T_RUN(thread_name_pin_mask);
    T_RUN(signals_in_loop);
    T_RUN(entropy_fills);
    T_RUN(worker_parts);
    unlink(path);
    rmdir(dir);
    return T_DONE();
}
