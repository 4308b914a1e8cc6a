/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Access log: one line per finished stream, formatted on the worker into its own buffer, written by a log thread.
 * A worker never waits: a full disk or a stuck reader costs lines, which are counted (access_log.dropped), never requests.
 *
 * A *sink* is one output (standard output, a file), shared by path between generations and listeners. Each
 * worker has one open buffer (64 KiB) per sink; it is handed over when full or after 100 ms, through a bounded queue of 16 buffers per
 * sink. No buffer free: the line is dropped and counted.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/diag.h"
#include "base/stat.h"
#include "conf/model.h"

struct mp_stream;
struct mp_core_worker;
struct mp_alog;       /* one configured logger: sink + compiled format; lives with the HTTP manager */
struct mp_alog_set;   /* all sinks and the writer */

struct mp_alog_set_opts {
    uint32_t n_workers;               /* incl. the main thread's */
    struct mp_stat_store *stats;
    bool threaded;                    /* false: written at once by the caller of the hand-over (simulation, tests) */
};
struct mp_alog_set *mp_alog_set_new(const struct mp_alog_set_opts *opts);
/* Writes what is queued (at most for 1 s), stops the thread. */
struct mp_alog_set *mp_alog_set_free(struct mp_alog_set *set);
/* Opens files again (SIGUSR1). */
void mp_alog_set_reopen(struct mp_alog_set *set);

/* Builder thread. Opens the file (an error is a configuration error). */
MP_MUST_USE mp_err mp_alog_build(const struct mp_conf_alog *conf, struct mp_arena *arena, struct mp_alog_set *set,
                                 struct mp_diag *diag, struct mp_alog **ret);
/* Gives the sink back; the memory is the arena's. */
void mp_alog_fini(struct mp_alog *a);

/* Worker: the stream has ended. */
void mp_alog_write(struct mp_alog *a, struct mp_core_worker *cw, const struct mp_stream *s);
/* Worker: hands over what is older than 100 ms; called by a timer, and at the end with all true. */
void mp_alog_flush(struct mp_alog_set *set, uint32_t worker, bool all);
