/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the parts of the head parser share: the cursor, and what the fields said about the message.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/str.h"
#include "codec/h1_parse.h"

/* Connection options besides close, keep-alive and upgrade that one head may have: each is searched
 * among all fields. */
#define MP_H1_CONN_OPTIONS_MAX 16

struct mp_h1_cur {
    char *base; /* readable from here */
    char *p;
    char *end;
};

/* What the start line said about an absolute-form target, to compare it with Host. */
struct mp_h1_target {
    struct mp_str host;
    unsigned port; /* 0: absent */
};

struct mp_h1_acc {
    uint64_t seen; /* bit per mp_hdr_id */
    uint64_t content_length;
    struct mp_str host;
    uint16_t n;            /* fields */
    uint16_t conn_options; /* besides the three below */
    uint8_t minor;         /* in: the message's version */
    bool is_request;       /* in */
    bool conn_close, conn_keep_alive, conn_upgrade;
    bool upgrade_odd; /* Upgrade names h2c or is malformed */
    bool te_trailers;
};

static inline bool mp_h1_seen(const struct mp_h1_acc *a, enum mp_hdr_id id)
{
    return (a->seen >> id) & 1;
}

/* p points at a CR or LF: OK when it is a CRLF, else what is wrong with it. */
static inline enum mp_h1_status mp_h1_line_end(const char *p, const char *end)
{
    if (*p == '\n') {
        return MP_H1_ERR_BARE_LF;
    }
    if (p + 1 == end) {
        return MP_H1_MORE;
    }
    return p[1] == '\n' ? MP_H1_OK : MP_H1_ERR_BARE_CR;
}

/* Each leaves c->p behind what it consumed when it returns OK. */
enum mp_h1_status mp_h1_request_line(struct mp_h1_cur *c, const struct mp_h1_limits *limits,
                                     struct mp_h1_request *ret, struct mp_h1_target *ret_target);
enum mp_h1_status mp_h1_status_line(struct mp_h1_cur *c, struct mp_h1_response *ret);
/* Field lines up to and with the empty line. a is NULL for trailers: then nothing is interpreted,
 * and *ret_n counts the fields. */
enum mp_h1_status mp_h1_fields(struct mp_h1_cur *c, uint16_t fields_max, struct mp_hdr *fields,
                               struct mp_h1_acc *a, uint16_t *ret_n);
/* Marks the fields that Connection names. */
void mp_h1_mark_hop(struct mp_hdr *fields, uint16_t n);
/* RFC 9110 6.5.1: whether the field may come as a trailer. */
bool mp_h1_trailer_allowed(const struct mp_hdr *f);
