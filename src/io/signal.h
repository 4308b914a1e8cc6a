/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Signals as loop events (signalfd); real program only. */
#pragma once
#include "io/loop.h"

struct mp_signals {
    struct mp_io io;
    void (*on_signal)(void *arg, int signo, int sender_pid);
    void *arg;
};
/* Blocks the listed signals in the calling thread (do it before threads start) and reads them in
 * the loop. SIGPIPE is ignored process-wide. signos ends with 0. */
MP_MUST_USE mp_err mp_signals_open(struct mp_signals *s, struct mp_loop *l, const int *signos,
                                   void (*on_signal)(void *arg, int signo, int sender_pid),
                                   void *arg);
void mp_signals_close(struct mp_signals *s, struct mp_loop *l);
