/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A connection to the admin interface with one deadline for all that happens on it. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/str.h"

#define MP_CLI_PORT "9901"

struct mp_cli_link {
    int fd;
    uint64_t deadline_ms;
    char host[300]; /* for the Host field */
};

/* addr: "host:port", "host", "[::1]:port", with or without "http://", or the path of a Unix socket
 * ("/run/x.sock", "unix:/run/x.sock"). False: complained to error. */
bool mp_cli_link_open(struct mp_cli_link *l, const char *addr, uint32_t timeout_ms,
                      struct mp_sb *error);
void mp_cli_link_close(struct mp_cli_link *l);
bool mp_cli_link_write(struct mp_cli_link *l, const char *p, size_t n, struct mp_sb *error);
/* Bytes read; 0: the end; -1: complained. */
ssize_t mp_cli_link_read(struct mp_cli_link *l, char *p, size_t n, struct mp_sb *error);
