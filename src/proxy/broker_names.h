/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the broker may do: names of files and addresses, each with the reading of the configuration
 * that named it last. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include "conf/named.h"

#define MP_BROKER_NAMES_MAX 65536

struct mp_broker_name {
    char *path; /* NULL: an address */
    enum mp_conf_named_kind kind;
    uint8_t ip[16];
    uint8_t family; /* 4 or 6 */
    uint16_t port;
    uint64_t reading;
};
struct mp_broker_names {
    struct mp_broker_name *v;
    size_t n, cap;
    uint64_t reading; /* counts up */
};

struct mp_conf;
void mp_broker_names_fini(struct mp_broker_names *b);
/* Past the maximum a name is not taken. */
void mp_broker_names_add_path(struct mp_broker_names *b, struct mp_str path,
                              enum mp_conf_named_kind kind);
/* The addresses of listeners and of the admin server. */
void mp_broker_names_add_addrs(struct mp_broker_names *b, const struct mp_conf *conf);
bool mp_broker_names_has_path(const struct mp_broker_names *b, const char *path,
                              enum mp_conf_named_kind kind);
bool mp_broker_names_has_addr(const struct mp_broker_names *b, const struct sockaddr *sa, size_t n);
/* Forgets what the last reading did not name. */
void mp_broker_names_commit(struct mp_broker_names *b);
