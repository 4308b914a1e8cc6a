/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The writer: takes full buffers of all lanes in turn and writes them. One output that does not
 * take bytes is left alone until it does; the others go on. Descriptors are shared with other
 * processes (standard output), so they are not made non-blocking: a pipe or terminal is asked with
 * poll first and gets at most PIPE_BUF bytes, which it then takes at once.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/access_log_int.h"

#define STOP_MS       1000 /* for what is queued when the program ends */
#define STOP_GRACE_MS 500
#define RETRY_MS      10 /* outputs that cannot be polled */

void mp_alog_sink_set_fd(struct alog_sink *k, int fd)
{
    struct stat st;
    k->fd = fd;
    k->output = ALOG_OUT_STREAM;
    if (k->kind == MP_ALOG_SYSLOG) {
        k->output = ALOG_OUT_SYSLOG;
        return;
    }
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        k->output = ALOG_OUT_FILE;
    }
    if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode)) {
        k->output = ALOG_OUT_SOCKET;
    }
}

/* ---- writing ---- */

/* Bytes taken or a negative errno. */
static ssize_t write_once(struct alog_sink *k, const char *p, size_t n)
{
    const struct mp_alog_set_opts *opts = &k->set->opts;
    if (opts->write != NULL) {
        return opts->write(opts->arg, mp_str_c(k->path), p, n);
    }
    ssize_t done = -1;
    switch (k->output) {
    case ALOG_OUT_SYSLOG: /* write_datagram */
    case ALOG_OUT_FILE:
        done = write(k->fd, p, n);
        break;
    case ALOG_OUT_SOCKET:
        done = send(k->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        break;
    case ALOG_OUT_STREAM: {
        struct pollfd ready = {.fd = k->fd, .events = POLLOUT};
        if (poll(&ready, 1, 0) == 0) {
            return -EAGAIN;
        }
        done = write(k->fd, p, MP_MIN(n, (size_t)PIPE_BUF));
        break;
    }
    }
    return done < 0 ? -errno : done;
}

static uint32_t count_newlines(const char *p, size_t n)
{
    uint32_t count = 0;
    const char *end = p + n;
    while ((p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
        count++;
        p++;
    }
    return count;
}

static void give_back(struct alog_sink *k)
{
    alog_push(&k->cur_lane->back, k->cur);
    k->cur = NULL;
}

/* The rest of the buffer is lost. */
static void give_up(struct alog_sink *k)
{
    struct alog_buf *b = k->cur;
    /* A text format may hold newlines of its own: then there are fewer lines than newlines. */
    b->lost = MP_MIN(b->lines, count_newlines(b->text + k->cur_done, b->n - k->cur_done));
    give_back(k);
}

enum outcome { WROTE, NOTHING, BLOCKED };

/* A line that cannot be sent is lost alone: the next one may be shorter, or the reader back. */
static enum outcome write_datagram(struct alog_sink *k)
{
    struct alog_buf *b = k->cur;
    const char *p = b->text + k->cur_done;
    size_t n = b->n - k->cur_done;
    const char *end = memchr(p, '\n', n);
    size_t line = end != NULL ? (size_t)(end - p) : n;
    int r = line > 0 ? mp_alog_syslog_send(k, p, line) : 0;
    if (r == -EAGAIN || r == -ENOBUFS) {
        return BLOCKED;
    }
    if (r < 0) {
        b->errors++;
        b->lost = MP_MIN(b->lines, b->lost + 1);
    }
    k->cur_done += (uint32_t)MP_MIN(line + 1, n);
    if (k->cur_done == b->n) {
        give_back(k);
    }
    return WROTE;
}

static enum outcome write_cur(struct alog_sink *k)
{
    struct alog_buf *b = k->cur;
    const char *p = b->text + k->cur_done;
    size_t n = b->n - k->cur_done;
    if (k->output == ALOG_OUT_SYSLOG && k->set->opts.write == NULL) {
        return write_datagram(k);
    }
    bool mend = k->mid_line && k->cur_done == 0;
    if (mend) {
        /* The line that was cut by a failure does not run into the next one. */
        p = "\n";
        n = 1;
    }
    ssize_t done = write_once(k, p, n);
    if (done == -EINTR) {
        return WROTE;
    }
    if (done == -EAGAIN || done == -EWOULDBLOCK) {
        return BLOCKED;
    }
    if (done <= 0) {
        b->errors++;
        give_up(k);
        return WROTE;
    }
    k->mid_line = p[done - 1] != '\n';
    if (mend) {
        return WROTE;
    }
    k->cur_done += (uint32_t)done;
    if (k->cur_done == b->n) {
        give_back(k);
    }
    return WROTE;
}

static bool next_buffer(struct alog_sink *k)
{
    uint32_t n = k->set->opts.n_workers;
    for (uint32_t i = 0; i < n; i++) {
        struct alog_lane *lane = &k->lanes[(k->next_lane + i) % n];
        struct alog_buf *b = alog_pop(&lane->full);
        if (b != NULL) {
            k->cur = b;
            k->cur_lane = lane;
            k->cur_done = 0;
            k->next_lane = (k->next_lane + i + 1) % n;
            return true;
        }
    }
    return false;
}

static void take_next_fd(struct alog_sink *k)
{
    if (MP_LIKELY(__atomic_load_n(&k->next_fd, __ATOMIC_RELAXED) < 0)) {
        return;
    }
    int fd = __atomic_exchange_n(&k->next_fd, -1, __ATOMIC_ACQ_REL);
    if (fd >= 0) {
        close(k->fd);
        mp_alog_sink_set_fd(k, fd);
        k->mid_line = false;
    }
}

/* At most one buffer, so that no sink keeps the others waiting for long. */
static enum outcome pump(struct alog_sink *k)
{
    if (k->cur == NULL) {
        take_next_fd(k);
        if (!next_buffer(k)) {
            return NOTHING;
        }
    }
    enum outcome r = WROTE;
    while (k->cur != NULL && r == WROTE) {
        r = write_cur(k);
    }
    return r;
}

static bool lanes_empty(const struct alog_sink *k)
{
    for (uint32_t i = 0; i < k->set->opts.n_workers; i++) {
        const struct alog_lane *lane = &k->lanes[i];
        if (__atomic_load_n(&lane->dirty, __ATOMIC_ACQUIRE) ||
            __atomic_load_n(&lane->full.head, __ATOMIC_ACQUIRE) !=
                __atomic_load_n(&lane->full.tail, __ATOMIC_RELAXED)) {
            return false;
        }
    }
    return true;
}

/* Closes the output when no logger uses it and every line is out. */
static void close_unused(struct alog_sink *k)
{
    if (__atomic_load_n(&k->refs, __ATOMIC_ACQUIRE) != 0 || k->cur != NULL) {
        return;
    }
    pthread_mutex_lock(&k->set->lock);
    if (k->is_open && __atomic_load_n(&k->refs, __ATOMIC_ACQUIRE) == 0 && lanes_empty(k)) {
        take_next_fd(k);
        if (k->fd >= 0) {
            close(k->fd);
        }
        k->fd = -1;
        k->mid_line = false;
        k->is_open = false;
    }
    pthread_mutex_unlock(&k->set->lock);
}

/* One round over all sinks. */
static enum outcome pump_round(struct mp_alog_set *set)
{
    enum outcome all = NOTHING;
    struct alog_sink *k = __atomic_load_n(&set->sinks, __ATOMIC_ACQUIRE);
    for (; k != NULL; k = k->next) {
        enum outcome r = pump(k);
        if (r == WROTE || (r == BLOCKED && all == NOTHING)) {
            all = r;
        }
        if (r == NOTHING) {
            close_unused(k);
        }
    }
    return all;
}

void mp_alog_pump_all(struct mp_alog_set *set)
{
    while (pump_round(set) == WROTE) {
    }
}

/* ---- the thread ---- */

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Waits for a wake, or for an output that was full to take more. */
static void sleep_for_work(struct mp_alog_set *set, bool blocked, int timeout_ms)
{
    struct pollfd fds[1 + MP_ALOG_SINKS_MAX] = {{.fd = set->wake_fd, .events = POLLIN}};
    nfds_t n = 1;
    struct alog_sink *k = __atomic_load_n(&set->sinks, __ATOMIC_ACQUIRE);
    for (; blocked && k != NULL; k = k->next) {
        if (k->cur != NULL && k->fd >= 0) {
            fds[n++] = (struct pollfd){.fd = k->fd, .events = POLLOUT};
        } else if (k->cur != NULL) {
            timeout_ms = timeout_ms < 0 || timeout_ms > RETRY_MS ? RETRY_MS : timeout_ms;
        }
    }
    (void)poll(fds, n, timeout_ms);
    if (fds[0].revents != 0) {
        uint64_t count;
        (void)!read(set->wake_fd, &count, sizeof(count));
    }
}

/* Everything that can be done now. What is handed over after a result other than WROTE makes a
 * wake. */
static enum outcome work(struct mp_alog_set *set)
{
    if (pump_round(set) == WROTE) {
        return WROTE;
    }
    /* Once more: a worker that did not see the flag has handed over before it was set. */
    __atomic_store_n(&set->asleep, true, __ATOMIC_SEQ_CST);
    enum outcome r = pump_round(set);
    if (r == WROTE) {
        __atomic_store_n(&set->asleep, false, __ATOMIC_SEQ_CST);
    }
    return r;
}

static void *writer_main(void *arg)
{
    struct mp_alog_set *set = arg;
    uint64_t deadline = 0;
    pthread_setname_np(pthread_self(), "mp:access-log");
    for (;;) {
        /* Read before the work: what was handed over before the stop is done. */
        bool stop = __atomic_load_n(&set->stop, __ATOMIC_SEQ_CST);
        enum outcome r = work(set);
        int timeout = -1;
        if (stop) {
            uint64_t now = now_ms();
            deadline = deadline == 0 ? now + STOP_MS : deadline;
            if (r == NOTHING || now >= deadline) {
                return NULL;
            }
            timeout = (int)(deadline - now);
        }
        if (r != WROTE) {
            sleep_for_work(set, r == BLOCKED, timeout);
            __atomic_store_n(&set->asleep, false, __ATOMIC_SEQ_CST);
        }
    }
}

void mp_alog_writer_start(struct mp_alog_set *set)
{
    set->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    MP_ASSERT(set->wake_fd >= 0);
    /* The mask is inherited. It also keeps a closed pipe's SIGPIPE away. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int e = pthread_create(&set->thread, NULL, writer_main, set);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    MP_ASSERT(e == 0);
}

bool mp_alog_writer_stop(struct mp_alog_set *set)
{
    __atomic_store_n(&set->stop, true, __ATOMIC_SEQ_CST);
    uint64_t one = 1;
    (void)!write(set->wake_fd, &one, sizeof(one));
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + (STOP_MS + STOP_GRACE_MS) * 1000000ull;
    until.tv_sec += (time_t)(ns / 1000000000u);
    until.tv_nsec = (long)(ns % 1000000000u);
    if (pthread_timedjoin_np(set->thread, NULL, &until) != 0) {
        pthread_detach(set->thread);
        return false;
    }
    close(set->wake_fd);
    return true;
}

void mp_alog_writer_wake(struct mp_alog_set *set)
{
    if (!set->opts.threaded) {
        mp_alog_pump_all(set);
        return;
    }
    if (__atomic_load_n(&set->asleep, __ATOMIC_SEQ_CST) &&
        __atomic_exchange_n(&set->asleep, false, __ATOMIC_SEQ_CST)) {
        uint64_t one = 1;
        (void)!write(set->wake_fd, &one, sizeof(one));
    }
}
