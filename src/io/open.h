/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Everything that opens a path goes through here, so that the privileged broker can slip
 * underneath. Returns a descriptor (close-on-exec) or a negative errno. Control code only: these
 * calls may block.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include "base/err.h"
#include "base/str.h"

/* For reading. */
int mp_open_read(const char *path);
/* For appending; created with mode 0640. */
int mp_open_append(const char *path);
/* The whole file, at most max bytes (LIMIT when larger); *ret.p is malloc'ed and NUL-terminated. */
MP_MUST_USE mp_err mp_read_file(const char *path, size_t max, struct mp_str *ret, int *ret_errno);
/* A FIFO for writing, without waiting for its reader (-ENXIO: there is none), now or later. */
int mp_open_fifo(const char *path);
/* Datagrams to "unix:/path" or "udp:IP:PORT", non-blocking. -EINVAL: no such address. */
int mp_open_datagrams(const char *where);
/* A descriptor for the same pipe or terminal as fd, but with flags of its own (O_NONBLOCK), which
 * other processes do not see; for anything else, or where the system does not allow it, a negative
 * errno. */
int mp_open_own_output(int fd);
/* Paths that match the pattern (glob(7), and {a,b}), sorted, each with its NUL, *ret_n bytes in
 * all; free() them. The broker's answer when there is one. Returns 0 or a negative errno. */
int mp_glob(const char *pattern, char **ret_paths, size_t *ret_n);
/* A second descriptor for the same open file (close-on-exec), or a negative errno. Real files and
 * sockets only. */
int mp_fd_dup(int fd);

/* ---- the broker (proxy/broker.c): what the kernel refuses us, it may do for us ---- */

/* Before there are threads. Without it, what the kernel refuses is refused. */
void mp_open_set_broker(int fd);
bool mp_open_has_broker(void);
/* A descriptor or a negative errno. mp_open_read and mp_open_append call it themselves. */
int mp_broker_open(const char *path, bool append);
/* Binds our socket with the broker's rights: for ports below 1024. */
int mp_broker_bind(int fd, const struct sockaddr *addr, size_t n);
/* Paths that match, sorted, each ending with NUL, n bytes in all; free() them. */
int mp_broker_glob(const char *pattern, char **ret_paths, size_t *ret_n);
/* Has the broker read the configuration file: before we do. */
void mp_broker_refresh(void);
/* n bytes that say whether the configuration's files have changed. */
int mp_broker_state(void *ret, size_t n);
/* The configuration that was read last is live. */
void mp_broker_commit(void);
