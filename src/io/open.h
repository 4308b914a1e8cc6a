/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Everything that opens a path goes through here, so that the privileged broker can slip
 * underneath. Returns a descriptor (close-on-exec) or a negative errno. Control code only: these
 * calls may block.
 */
#pragma once
#include <stddef.h>
#include "base/err.h"
#include "base/str.h"

/* For reading. */
int mp_open_read(const char *path);
/* For appending; created with mode 0640. */
int mp_open_append(const char *path);
/* The whole file, at most max bytes (LIMIT when larger); *ret.p is malloc'ed and NUL-terminated. */
MP_MUST_USE mp_err mp_read_file(const char *path, size_t max, struct mp_str *ret, int *ret_errno);
/* A second descriptor for the same open file (close-on-exec), or a negative errno. Real files and
 * sockets only. */
int mp_fd_dup(int fd);
