/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Stream sockets, non-blocking. Thin over the kernel; the simulation implements the same calls in
 * memory. Calls return >= 0 or a negative errno (-EAGAIN, -ECONNRESET, ...); EINTR never comes out.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include "base/err.h"
#include "io/addr.h"
#include "io/loop.h"

struct mp_keepalive {
    uint32_t idle_s, interval_s, probes; /* 0: the kernel's */
};

/* Set on a listening socket; accepted sockets inherit most of them. */
struct mp_sock_option {
    int32_t level, name, value;
    uint8_t state; /* 0: before bind, 1: bound, 2: listening */
};
#define MP_SOCK_OPTIONS_MAX 8

/* Plain data without pointers: it may travel to another process. */
struct mp_listen_opts {
    uint32_t backlog; /* 0: 4096 */
    bool reuse_port;  /* one socket per worker */
    bool ip6_only;
    bool freebind;
    bool defer_accept; /* wake on first bytes */
    /* Fails with -EADDRINUSE when another socket listens there, though it would share the port. */
    bool probe;
    uint8_t n_options;
    struct mp_sock_option options[MP_SOCK_OPTIONS_MAX];
    uint32_t unix_mode; /* permissions of a Unix socket file; 0: 0660. A stale file (nobody listens)
                           is removed */
};
/* Creates, binds and listens. Returns the descriptor or a negative errno. */
int mp_sock_listen(struct mp_loop *l, const struct mp_addr *addr,
                   const struct mp_listen_opts *opts);
/* The bound address (port 0 resolved). An address of a Unix socket comes back with an empty path,
 * here and from accept: nobody owns its bytes. IPv4 over a dual-stack socket comes back as IPv4. */
int mp_sock_local_addr(struct mp_loop *l, int fd, struct mp_addr *ret);
/* New descriptor, TCP_NODELAY set, or a negative errno. -EMFILE and -ENFILE are for the caller to
 * handle. */
int mp_sock_accept(struct mp_loop *l, int fd, struct mp_addr *ret_peer);
/* Starts connecting; the descriptor (TCP_NODELAY set) becomes writable when done: then
 * mp_sock_connect_result. source may be NULL. */
int mp_sock_connect(struct mp_loop *l, const struct mp_addr *to, const struct mp_addr *source);
/* 0, or the negative errno of the finished connect. */
int mp_sock_connect_result(struct mp_loop *l, int fd);
int mp_sock_keepalive(struct mp_loop *l, int fd, const struct mp_keepalive *ka);
ssize_t mp_sock_recv(struct mp_loop *l, int fd, void *buf, size_t n);
ssize_t mp_sock_send(struct mp_loop *l, int fd, const void *buf, size_t n);
ssize_t mp_sock_sendv(struct mp_loop *l, int fd, const struct iovec *iov, int n_iov);
/* Ends our writing side. */
int mp_sock_shutdown_write(struct mp_loop *l, int fd);
/* Makes the later close send RST instead of FIN. */
void mp_sock_set_reset_on_close(struct mp_loop *l, int fd);
/* Closes a descriptor that is not registered with a loop. */
void mp_sock_close(struct mp_loop *l, int fd);
