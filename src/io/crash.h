/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A crash tells where it happened: signal, address, thread and a backtrace go to the log, then the
 * process ends by that signal, for the supervisor to start it again. Real program only.
 */
#pragma once
#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

/* Once, in the main thread, before others start. Handlers that were there before (a sanitizer's)
 * run afterwards. */
void mp_crash_install(void);
/* Frames are written with what the linker knows of symbols; addresses are those of the file, as
 * addr2line wants them. */
/* A stack for the handler of one thread: its own may be what has run out. NULL: the usual one
 * again. Called in the thread. */
void *mp_crash_stack_new(void);
void mp_crash_use_stack(void *stack);
/* Adds or takes out the signals of crashes. */
void mp_crash_signals(sigset_t *set, bool add);
/* Ends the process with the backtrace of that thread. False: it could not be told. */
bool mp_crash_thread(pid_t tid);
/* A crash is being reported. */
bool mp_crash_under_way(void);
