/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "io/crash.h"

#include <errno.h>
#include <execinfo.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

#define STACK_SIZE ((size_t)64 * 1024)
#define FRAMES_MAX 64

static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
static const char *const names[] = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT"};
static struct sigaction before[MP_COUNTOF(signals)];
static int reporting; /* atomic: id of the thread that reports */

static pid_t own_tid(void)
{
    return (pid_t)syscall(SYS_gettid);
}

static size_t index_of(int signo)
{
    size_t i = 0;
    while (i + 1 < MP_COUNTOF(signals) && signals[i] != signo) {
        i++;
    }
    return i;
}

/* Only what is safe inside a handler: the log formats on the stack and does not wait, and the
 * library behind backtrace was loaded at start. */
static void report(const char *name, const siginfo_t *si)
{
    char thread[17] = "";
    char address[2 + 16 + 1] = "0x";
    uintptr_t at = (uintptr_t)si->si_addr;
    bool fault = si->si_code > 0;
    for (int i = 0; i < 16; i++) {
        address[2 + i] = "0123456789abcdef"[at >> (60 - 4 * i) & 15];
    }
    (void)prctl(PR_GET_NAME, thread);
    const struct mp_kv kvs[] = {kv_c("signal", name), kv_c("thread", thread),
                                kv_i64("tid", own_tid()), kv_c("address", fault ? address : "-"),
                                kv_i64("sender", fault ? 0 : si->si_pid)};
    mp_log_emit(NULL, MP_LOG_CRITICAL, __FILE__, __LINE__, "crash, backtrace follows", kvs,
                MP_COUNTOF(kvs));
    void *frames[FRAMES_MAX];
    backtrace_symbols_fd(frames, backtrace(frames, FRAMES_MAX), mp_log_output_fd());
}

static void on_crash(int signo, siginfo_t *si, void *context)
{
    int errno_before = errno, nobody = 0;
    (void)context;
    size_t i = index_of(signo);
    if (__atomic_compare_exchange_n(&reporting, &nobody, own_tid(), false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST)) {
        report(names[i], si);
    } else if (nobody != own_tid()) {
        for (;;) {
            pause(); /* another thread's report ends the process */
        }
    }
    /* The next one, at the return from here, is for whoever was there before: it ends the process.
     */
    (void)sigaction(signo, &before[i], NULL);
    (void)raise(signo);
    errno = errno_before;
}

void mp_crash_install(void)
{
    void *frame[1];
    (void)backtrace(frame, 1); /* loads its library, which a handler must not do */
    static char main_stack[STACK_SIZE];
    mp_crash_use_stack(main_stack);
    struct sigaction sa = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&sa.sa_mask);
    for (size_t i = 0; i < MP_COUNTOF(signals); i++) {
        (void)sigaction(signals[i], &sa, &before[i]);
    }
}

void *mp_crash_stack_new(void)
{
    return mp_xmalloc(STACK_SIZE);
}

void mp_crash_use_stack(void *stack)
{
    stack_t ss = {.ss_sp = stack, .ss_size = STACK_SIZE, .ss_flags = stack ? 0 : SS_DISABLE};
    (void)sigaltstack(&ss, NULL);
}

void mp_crash_signals(sigset_t *set, bool add)
{
    for (size_t i = 0; i < MP_COUNTOF(signals); i++) {
        (void)(add ? sigaddset(set, signals[i]) : sigdelset(set, signals[i]));
    }
    (void)(add ? sigaddset(set, SIGSYS) : sigdelset(set, SIGSYS)); /* the sandbox's */
}

bool mp_crash_thread(pid_t tid)
{
    return syscall(SYS_tgkill, getpid(), tid, SIGABRT) == 0;
}

bool mp_crash_under_way(void)
{
    return __atomic_load_n(&reporting, __ATOMIC_SEQ_CST) != 0;
}
