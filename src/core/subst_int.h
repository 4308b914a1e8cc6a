/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Compiled format strings: private to subst.c and subst_compile.c. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/str.h"
#include "core/subst.h"

enum subst_kind {
    SUBST_LITERAL,
#define MP_SUBST(token, name, argument, number) SUBST_##token,
#include "core/subst_op.def"
#undef MP_SUBST
    SUBST_KINDS
};

/* What a header operator names: a field, or a part of the start line. */
enum subst_pseudo {
    SUBST_FIELD,
    SUBST_METHOD,
    SUBST_PATH,
    SUBST_AUTHORITY,
    SUBST_SCHEME,
    SUBST_STATUS
};
struct subst_name {
    struct mp_str name; /* lower case; empty: none */
    uint8_t pseudo;     /* enum subst_pseudo */
    uint8_t id;         /* enum mp_hdr_id */
};

/* A piece of a time format: a conversion letter, or text. */
struct subst_time {
    char letter;    /* 0: text */
    uint8_t digits; /* of 'f' and of a second with a fraction ('q') */
    struct mp_str text;
};

enum subst_style { SUBST_CAMEL, SUBST_SNAKE, SUBST_NUMBER };

struct subst_op {
    uint8_t kind;  /* enum subst_kind */
    uint8_t style; /* enum subst_style of a gRPC status */
    uint32_t n_times;
    size_t length_max;  /* of a header's value */
    struct mp_str text; /* literals */
    struct subst_name name, other;
    const struct subst_time *times; /* n_times 0: RFC 3339 with milliseconds */
};

struct mp_subst {
    uint32_t n;
    struct subst_op ops[];
};

/* subst_time.c */
MP_MUST_USE mp_err mp_subst_time_compile(struct mp_str format, struct mp_arena *arena,
                                         struct subst_op *op, const char **ret_cause);
struct subst_out {
    char *p, *end;
};
static inline void mp_subst_put(struct subst_out *o, struct mp_str s)
{
    size_t n = MP_MIN(s.n, (size_t)(o->end - o->p));
    if (n > 0) {
        memcpy(o->p, s.p, n);
        o->p += n;
    }
}
void mp_subst_time_eval(const struct subst_op *op, uint64_t wall_ns, struct subst_out *o);
struct mp_conn;
/* Of the connection's TLS; false: there is none, or nothing to say. */
bool mp_subst_put_tls(struct subst_out *o, const struct mp_conn *c, uint8_t kind);
