/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Shared by chan.c and chan_tls.c. */
#pragma once
#include <sys/uio.h>
#include "core/chan.h"

/* Sends the pieces as they are; what is not taken is queued in order. */
void mp_chan_send_raw(struct mp_core_worker *cw, struct mp_chan *ch, struct iovec *iov, int n);
/* Encrypts and sends. */
void mp_chan_tls_send(struct mp_core_worker *cw, struct mp_chan *ch, const struct iovec *iov,
                      int n);
ssize_t mp_chan_tls_recv(struct mp_core_worker *cw, struct mp_chan *ch, char *buf, size_t n);
char *mp_chan_tls_reserve(struct mp_core_worker *cw, size_t n);
void mp_chan_tls_drop_big(struct mp_core_worker *cw);
/* Says, once, that our stream ends; that may have to wait in the queue. */
void mp_chan_tls_end(struct mp_core_worker *cw, struct mp_chan *ch);
void mp_chan_drop_more(struct mp_core_worker *cw, struct mp_chan *ch);
