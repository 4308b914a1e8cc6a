/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What passes between the data process and the broker: one request and one answer a time, each one
 * packet of a SOCK_SEQPACKET pair, with at most one descriptor beside it.
 *
 * The data process asks only after the kernel has refused it (EACCES, EPERM). The broker answers
 * what the configuration file names, and nothing else; it reads that file itself.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum mp_broker_op {
    MP_BROKER_READ = 1, /* bytes: a path. Answer: a descriptor */
    MP_BROKER_APPEND,   /* bytes: a path. Answer: a descriptor */
    MP_BROKER_BIND,     /* bytes: a sockaddr; the socket is passed. Answer: 0 */
    MP_BROKER_GLOB,     /* bytes: a pattern. Answer: paths, each with its NUL */
    MP_BROKER_REFRESH,  /* read the configuration file again: its names are allowed as well */
    MP_BROKER_STATE,    /* Answer: struct mp_parts_state, of the files that were read */
    MP_BROKER_COMMIT    /* the last one read is live: the names of older ones are forgotten */
};

#define MP_BROKER_BYTES_MAX 4096
struct mp_broker_request {
    uint32_t op;
    uint32_t n; /* of bytes */
    char bytes[MP_BROKER_BYTES_MAX];
};
#define MP_BROKER_ANSWER_MAX (64 * 1024)
struct mp_broker_answer {
    int32_t result; /* 0, or a negative errno */
    uint32_t n;     /* of bytes */
    char bytes[MP_BROKER_ANSWER_MAX];
};
_Static_assert(offsetof(struct mp_broker_request, bytes) == 8, "a packet without padding");
_Static_assert(offsetof(struct mp_broker_answer, bytes) == 8, "a packet without padding");
