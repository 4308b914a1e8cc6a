/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* TCP checks: connecting suffices, or bytes are sent and the answer must hold others in order. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "core/health_int.h"
#include "io/sock.h"

#define ANSWER_MAX (16 * 1024)

static void finish(struct mp_check *ck, enum mp_check_result result)
{
    const struct mp_conf_health_check *c = mp_check_conf(ck);
    mp_check_tcp_stop(ck, result == MP_CHECK_PASSED && c->reuse_connection && c->n_receive > 0);
    mp_check_done(ck, result);
}

/* Each part after the one before it; other bytes may stand between them. */
static bool is_answer(const struct mp_check *ck)
{
    const struct mp_conf_health_check *c = mp_check_conf(ck);
    const char *p = ck->in, *end = ck->in + ck->in_n;
    for (uint32_t i = 0; i < c->n_receive; i++) {
        p = memmem(p, (size_t)(end - p), c->receive[i].p, c->receive[i].n);
        if (p == NULL) {
            return false;
        }
        p += c->receive[i].n;
    }
    return true;
}

static void ask(struct mp_check *ck)
{
    const struct mp_conf_health_check *c = mp_check_conf(ck);
    ck->in_n = 0;
    if (c->send.n > 0 && mp_sock_send(mp_monitor_loop(ck->monitor), ck->io.fd, c->send.p,
                                      c->send.n) != (ssize_t)c->send.n) {
        finish(ck, MP_CHECK_NETWORK); /* 4 KiB fit into the buffer of a connection that is well */
        return;
    }
    if (c->n_receive == 0) {
        finish(ck, MP_CHECK_PASSED);
    }
}

static void take_answer(struct mp_check *ck)
{
    while (ck->io.fd >= 0) {
        char scratch[1024];
        bool full = ck->in_n == ANSWER_MAX;
        ssize_t r = mp_sock_recv(mp_monitor_loop(ck->monitor), ck->io.fd,
                                 full ? scratch : ck->in + ck->in_n,
                                 full ? sizeof(scratch) : ANSWER_MAX - ck->in_n);
        if (r == -EAGAIN) {
            return;
        }
        if (r <= 0) {
            if (ck->active) {
                finish(ck, MP_CHECK_NETWORK);
            } else {
                mp_check_tcp_stop(ck, false); /* between checks: the next one connects again */
            }
            return;
        }
        ck->in_n += full ? 0 : (uint32_t)r;
        if (ck->active && is_answer(ck)) {
            finish(ck, MP_CHECK_PASSED);
        }
    }
}

static void on_ready(struct mp_io *io, unsigned events)
{
    struct mp_check *ck = MP_CONTAINER_OF(io, struct mp_check, io);
    if (!ck->connected) {
        if ((events & (MP_IO_OUT | MP_IO_ERR | MP_IO_HUP)) == 0) {
            return;
        }
        int err = mp_sock_connect_result(mp_monitor_loop(ck->monitor), io->fd);
        if (err == -EINPROGRESS || err == -EALREADY) {
            return;
        }
        if (err < 0) {
            finish(ck, MP_CHECK_NETWORK);
            return;
        }
        ck->connected = true;
        ask(ck);
    }
    if (io->fd >= 0 && (events & (MP_IO_IN | MP_IO_ERR | MP_IO_HUP)) != 0) {
        take_answer(ck);
    }
}

void mp_check_tcp_start(struct mp_check *ck)
{
    struct mp_loop *loop = mp_monitor_loop(ck->monitor);
    if (ck->in == NULL && mp_check_conf(ck)->n_receive > 0) {
        ck->in = malloc(ANSWER_MAX);
        MP_ASSERT(ck->in != NULL);
    }
    if (ck->io.fd >= 0) {
        ask(ck);
        return;
    }
    int fd = mp_sock_connect(loop, &ck->local->addr, NULL);
    if (fd < 0) {
        finish(ck, MP_CHECK_NETWORK);
        return;
    }
    ck->connected = false;
    if (mp_is_err(mp_io_open(loop, &ck->io, fd, on_ready))) {
        mp_sock_close(loop, fd);
        ck->io.fd = -1;
        finish(ck, MP_CHECK_NETWORK);
    }
}

void mp_check_tcp_stop(struct mp_check *ck, bool keep)
{
    if (!keep && ck->io.fd >= 0) {
        mp_io_close(mp_monitor_loop(ck->monitor), &ck->io);
        ck->io.fd = -1;
    }
}
