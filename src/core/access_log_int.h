/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Private to access_log*.c.
 *
 * Ways of a buffer: worker (open, filled) -> lane.full -> writer -> lane.back -> worker (free).
 * Both queues have one producer and one consumer and room for all buffers of the lane, so neither
 * side ever waits or fails.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/assert.h"
#include "base/compiler.h"
#include "core/access_log.h"
#include "core/subst.h"
#include "io/loop.h"

/* ---- formats (access_log_format.c) ---- */

enum alog_form { ALOG_DEFAULT, ALOG_TEXT, ALOG_JSON };
struct alog_key {
    struct mp_str lead; /* what stands before the value: {"key": */
    const struct mp_subst *value;
    bool number;
    size_t reserve; /* bytes that the keys after this one need at least */
};
struct alog_format {
    enum alog_form form;
    bool omit_empty; /* absent values: nothing in text, no key in JSON */
    const struct mp_subst *text;
    struct alog_key *keys;
    uint32_t n_keys;
};
MP_MUST_USE mp_err mp_alog_format_build(const struct mp_conf_alog *conf, struct mp_arena *arena,
                                        struct mp_diag *diag, struct alog_format *ret);
/* One line with its newline; 0: cap (below MP_ALOG_LINE_MAX) does not suffice. */
size_t mp_alog_format(const struct alog_format *f, const struct mp_stream *s, char *out,
                      size_t cap);

/* ---- filters (access_log_filter.c) ---- */

struct alog_filter;
/* NULL in, NULL out: every request passes. */
MP_MUST_USE mp_err mp_alog_filter_build(const struct mp_conf_alog_filter *conf,
                                        struct mp_arena *arena, struct mp_diag *diag,
                                        struct alog_filter **ret);
bool mp_alog_filter_passes(const struct alog_filter *f, struct mp_core_worker *cw,
                           const struct mp_stream *s);

/* ---- buffers ---- */

struct alog_buf {
    struct alog_buf *next; /* in the worker's free list */
    uint32_t n, lines;
    uint32_t lost, errors; /* filled in by the writer */
    char text[MP_ALOG_BUFFER];
};

struct alog_queue {
    uint32_t head __attribute__((aligned(MP_CACHE_LINE))); /* the producer's */
    uint32_t tail __attribute__((aligned(MP_CACHE_LINE))); /* the consumer's */
    struct alog_buf *slots[MP_ALOG_BUFFERS];
};
static inline void alog_push(struct alog_queue *q, struct alog_buf *b)
{
    uint32_t head = __atomic_load_n(&q->head, __ATOMIC_RELAXED);
    MP_ASSERT(head - __atomic_load_n(&q->tail, __ATOMIC_ACQUIRE) < MP_ALOG_BUFFERS);
    q->slots[head % MP_ALOG_BUFFERS] = b;
    /* Sequentially consistent: after it the worker looks whether the writer sleeps, and the writer
     * looks here after it has said so. One of them sees the other. */
    __atomic_store_n(&q->head, head + 1, __ATOMIC_SEQ_CST);
}
static inline struct alog_buf *alog_pop(struct alog_queue *q)
{
    uint32_t tail = __atomic_load_n(&q->tail, __ATOMIC_RELAXED);
    if (__atomic_load_n(&q->head, __ATOMIC_SEQ_CST) == tail) {
        return NULL;
    }
    struct alog_buf *b = q->slots[tail % MP_ALOG_BUFFERS];
    __atomic_store_n(&q->tail, tail + 1, __ATOMIC_RELEASE);
    return b;
}

/* One worker's part of a sink. */
struct alog_lane {
    struct alog_queue full, back;
    /* the worker's */
    struct alog_buf *open __attribute__((aligned(MP_CACHE_LINE)));
    struct alog_buf *free;
    struct mp_loop *loop; /* of the worker, once it has written */
    uint64_t since_ms;    /* when open became non-empty */
    uint32_t n_out;       /* buffers with the writer */
    uint32_t n_fresh;     /* of all: ever used */
    bool dirty;           /* atomic: open holds lines */
    /* nobody's after the start */
    struct alog_buf *all; /* MP_ALOG_BUFFERS of them; memory is touched when first used */
};

enum alog_output { ALOG_OUT_FILE, ALOG_OUT_SOCKET, ALOG_OUT_STREAM, ALOG_OUT_SYSLOG };

/* What every datagram of a syslog output has around its time. */
struct alog_syslog {
    char head[8];      /* "<134>1 " */
    char tail[400];    /* " host app pid - - " */
    uint64_t retry_ms; /* when it may be connected again */
};

struct alog_sink {
    struct alog_sink *next; /* sinks are never taken off the list */
    struct mp_alog_set *set;
    enum mp_conf_alog_kind kind;
    char *path;
    uint32_t refs; /* atomic; changed under the lock */
    bool is_open;  /* under the lock */
    int next_fd;   /* atomic: takes the place of fd; -1: none */
    struct alog_syslog syslog;
    /* the writer's, except while the sink is opened */
    int fd;
    enum alog_output output;
    struct alog_buf *cur;
    struct alog_lane *cur_lane;
    uint32_t cur_done;       /* bytes of cur */
    uint32_t next_lane;      /* to look at: workers take turns */
    bool mid_line;           /* the last write ended inside a line */
    struct alog_lane *lanes; /* set->opts.n_workers */
};

struct mp_alog_set {
    struct mp_alog_set_opts opts;
    pthread_mutex_t
        lock; /* control threads, and the writer when it closes a sink; never a worker */
    struct alog_sink *sinks; /* atomic head */
    uint32_t n_sinks;
    struct mp_stat_scope *scope;
    const struct mp_stat_block **stats; /* by worker */
    pthread_t thread;
    int wake_fd;
    bool asleep; /* atomic: the writer wants a wake */
    bool stop;   /* atomic */
};

struct mp_alog {
    struct mp_alog_set *set;
    struct alog_sink *sink;
    struct alog_filter *filter; /* NULL: all requests */
    struct alog_format format;
};

/* access_log_write.c */
void mp_alog_writer_start(struct mp_alog_set *set);
/* False: the thread hangs in a write and still uses the set. */
bool mp_alog_writer_stop(struct mp_alog_set *set);
/* A buffer was handed over, a sink given back or reopened. Any thread. */
void mp_alog_writer_wake(struct mp_alog_set *set);
/* Writes what can be written now (no thread). */
void mp_alog_pump_all(struct mp_alog_set *set);
/* access_log_syslog.c. One line of the current buffer, without its newline: 0 or a negative errno.
 */
int mp_alog_syslog_send(struct alog_sink *k, const char *line, size_t n);
void mp_alog_syslog_prepare(struct alog_sink *k, const struct mp_conf_alog *conf);
/* A descriptor or a negative errno. */
int mp_alog_syslog_open(const struct alog_sink *k);
void mp_alog_sink_set_fd(struct alog_sink *k, int fd);
