/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "io/signal.h"
#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void on_ready(struct mp_io *io, unsigned events)
{
    struct mp_signals *s = MP_CONTAINER_OF(io, struct mp_signals, io);
    (void)events;
    /* The callback may close us. */
    while (s->io.fd >= 0) {
        struct signalfd_siginfo si;
        ssize_t n = read(s->io.fd, &si, sizeof si);
        if (n == sizeof si) {
            s->on_signal(s->arg, (int)si.ssi_signo, (int)si.ssi_pid);
            continue;
        }
        if (n < 0 && errno == EINTR) {
            continue;
        }
        return;
    }
}

mp_err mp_signals_open(struct mp_signals *s, struct mp_loop *l, const int *signos,
                       void (*on_signal)(void *arg, int signo, int sender_pid), void *arg)
{
    s->io.fd = -1;
    s->io.armed = 0;
    s->on_signal = on_signal;
    s->arg = arg;
    sigset_t set;
    sigemptyset(&set);
    for (const int *signo = signos; *signo; signo++) {
        if (sigaddset(&set, *signo) < 0) {
            return MP_FAIL(INVALID);
        }
    }
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0) {
        return mp_err_from_errno(errno);
    }
    if (sigaction(SIGPIPE, &ignore, NULL) < 0 || sigprocmask(SIG_BLOCK, &set, NULL) < 0) {
        mp_err e = mp_err_from_errno(errno);
        close(fd);
        return e;
    }
    mp_err e = mp_io_open(l, &s->io, fd, on_ready);
    if (mp_is_err(e)) {
        close(fd);
    }
    return e;
}

void mp_signals_close(struct mp_signals *s, struct mp_loop *l)
{
    mp_io_close(l, &s->io);
}
