/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Access log: one line per finished stream, formatted on the worker into its own buffer, written by
 * a log thread. A worker never waits: a full disk or a stuck reader costs lines, which are counted
 * (access_log.dropped), never requests.
 *
 * A *sink* is one output (standard output, a file), shared by path between generations and
 * listeners. Each worker has one open buffer (64 KiB) per sink; it is handed over when full or
 * after 100 ms. A worker has at most 16 buffers on their way to one sink; none free: the line is
 * dropped and counted.
 *
 * A line has at most 32 KiB, a value in a JSON line at most 8 KiB: what is longer is cut.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/diag.h"
#include "base/stat.h"
#include "conf/model.h"

struct mp_stream;
struct mp_core_worker;
struct mp_alog;     /* one configured logger: sink + compiled format; lives with the HTTP manager */
struct mp_alog_set; /* all sinks and the writer */

#define MP_ALOG_BUFFER    (64 * 1024)
#define MP_ALOG_BUFFERS   16
#define MP_ALOG_LINE_MAX  (32 * 1024)
#define MP_ALOG_VALUE_MAX (8 * 1024)
#define MP_ALOG_FLUSH_MS  100
#define MP_ALOG_SINKS_MAX 64

/* The scope "access_log" of the stat store. The counters are the workers': a buffer that comes back
 * from the writer tells what became of its lines. */
enum mp_stat_alog {
    MP_ST_ALOG_WRITTEN,      /* lines */
    MP_ST_ALOG_DROPPED,      /* lines: no buffer free, or writing failed */
    MP_ST_ALOG_WRITE_ERRORS, /* failed writes */
    MP_ST_ALOG_COUNT
};
extern const struct mp_stat_schema mp_stats_alog;

struct mp_alog_set_opts {
    uint32_t n_workers; /* incl. the main thread's */
    struct mp_stat_store *stats;
    bool threaded; /* false: written at once by the caller of the hand-over (simulation, tests) */
    /* Not NULL: takes the place of every output, nothing is opened. Returns bytes taken or a
     * negative errno; -EAGAIN is tried again (not threaded: with the next hand-over). path:
     * "stdout", "stderr" or the file's. */
    ssize_t (*write)(void *arg, struct mp_str path, const void *p, size_t n);
    void *arg;
};
struct mp_alog_set *mp_alog_set_new(const struct mp_alog_set_opts *opts);
/* The workers have ended. Writes what is there (at most for 1 s), stops the thread. Returns NULL.
 */
struct mp_alog_set *mp_alog_set_free(struct mp_alog_set *set);
/* Opens files again (SIGUSR1). A file that cannot be opened is logged and written on as it was.
 * Main thread. */
void mp_alog_set_reopen(struct mp_alog_set *set);

/* Builder thread. Opens the file (an error is a configuration error). */
MP_MUST_USE mp_err mp_alog_build(const struct mp_conf_alog *conf, struct mp_arena *arena,
                                 struct mp_alog_set *set, struct mp_diag *diag,
                                 struct mp_alog **ret);
/* Gives the sink back; the memory is the arena's. Any thread; no stream may use a any more. */
void mp_alog_fini(struct mp_alog *a);

/* Prepares cw->alog_timer. */
void mp_alog_worker_init(struct mp_core_worker *cw);
/* Worker: the stream has ended. */
void mp_alog_write(struct mp_alog *a, struct mp_core_worker *cw, const struct mp_stream *s);
/* Worker: a line that was made elsewhere, with its newline. */
void mp_alog_write_line(struct mp_alog *a, struct mp_core_worker *cw, struct mp_str line);
/* Worker: hands over what is older than 100 ms; called by the timer, and at the end with all true.
 */
void mp_alog_flush(struct mp_alog_set *set, uint32_t worker, bool all);
