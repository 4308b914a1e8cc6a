/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Runs the parsers on heap buffers of exactly the size of the input, so that a read past the end is
 * seen by AddressSanitizer, and feeds input in pieces. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "codec/chunk.h"
#include "codec/h1_parse.h"

#define HELP_FIELDS 128

static const struct mp_h1_limits help_limits = {60 * 1024, 100, 32 * 1024 - 1};

/* Everything that a parser said. The buffer belongs to it. */
struct parsed {
    enum mp_h1_status st;
    char *buf;
    size_t n;
    struct mp_h1_request rq;
    struct mp_h1_response rs;
    struct mp_hdr f[HELP_FIELDS];
    uint16_t n_fields;
    size_t used;
    unsigned more; /* times that more input was wanted */
};

enum help_kind { HELP_REQUEST, HELP_RESPONSE, HELP_TRAILERS };

static inline void help_free(struct parsed *p)
{
    free(p->buf);
    p->buf = NULL;
}

static inline enum mp_h1_status help_step(struct parsed *p, enum help_kind kind, char *buf,
                                          size_t n, size_t *scanned,
                                          const struct mp_h1_limits *limits, enum mp_method method)
{
    enum mp_h1_status st;
    switch (kind) {
    case HELP_REQUEST:
        st = mp_h1_parse_request(buf, n, scanned, limits, p->f, &p->rq);
        p->n_fields = p->rq.n_fields;
        p->used = p->rq.head_n;
        return st;
    case HELP_RESPONSE:
        st = mp_h1_parse_response(buf, n, scanned, limits, method, p->f, &p->rs);
        p->n_fields = p->rs.n_fields;
        p->used = p->rs.head_n;
        return st;
    default:
        return mp_h1_parse_trailers(buf, n, scanned, limits, p->f, &p->n_fields, &p->used);
    }
}

/* Feeds in[0..n) as two pieces of cut and n - cut bytes (cut 0: at once), or with step > 0 in
 * pieces of step bytes. Each call sees a fresh buffer of exactly the bytes so far, as written to by
 * the call before. */
static inline void help_feed(struct parsed *p, enum help_kind kind, const char *in, size_t n,
                             size_t cut, size_t step, const struct mp_h1_limits *limits,
                             enum mp_method method)
{
    size_t scanned = 0, have = 0;
    *p = (struct parsed){0};
    do {
        size_t want = step ? have + step : have == 0 && cut ? cut : n;
        want = want > n ? n : want;
        char *buf = malloc(want ? want : 1);
        if (buf == NULL) {
            abort();
        }
        if (have > 0) {
            memcpy(buf, p->buf, have);
        }
        if (want > have) {
            memcpy(buf + have, in + have, want - have);
        }
        free(p->buf);
        p->buf = buf;
        p->n = have = want;
        p->st = help_step(p, kind, buf, want, &scanned, limits, method);
        p->more += p->st == MP_H1_MORE;
    } while (p->st == MP_H1_MORE && have < n);
}

static inline void help_parse(struct parsed *p, enum help_kind kind, const char *in, size_t n)
{
    help_feed(p, kind, in, n, 0, 0, &help_limits, MP_METHOD_GET);
}

/* The same place in both buffers, or the same literal. */
static inline bool help_same_str(const struct parsed *a, const char *pa, size_t na,
                                 const struct parsed *b, const char *pb, size_t nb)
{
    if (na != nb || (na > 0 && memcmp(pa, pb, na) != 0)) {
        return false;
    }
    bool in_a = pa >= a->buf && pa <= a->buf + a->n;
    bool in_b = pb >= b->buf && pb <= b->buf + b->n;
    return in_a == in_b && (!in_a || pa - a->buf == pb - b->buf);
}

static inline bool help_same(const struct parsed *a, const struct parsed *b, enum help_kind kind)
{
#define SAME(field)     (a->field == b->field)
#define SAME_STR(field) help_same_str(a, a->field.p, a->field.n, b, b->field.p, b->field.n)
    if (!SAME(st)) {
        return false;
    }
    if (a->st != MP_H1_OK) {
        return true;
    }
    if (!SAME(used) || !SAME(n_fields)) {
        return false;
    }
    for (size_t i = 0; i < a->n_fields; i++) {
        if (!SAME(f[i].id) || !SAME(f[i].flags) ||
            !help_same_str(a, a->f[i].name, a->f[i].name_n, b, b->f[i].name, b->f[i].name_n) ||
            !help_same_str(a, a->f[i].value, a->f[i].value_n, b, b->f[i].value, b->f[i].value_n)) {
            return false;
        }
    }
    if (kind == HELP_REQUEST) {
        return SAME(rq.method) && SAME_STR(rq.method_name) && SAME(rq.form) && SAME_STR(rq.path) &&
               SAME_STR(rq.authority) && SAME_STR(rq.scheme) && SAME(rq.minor) &&
               SAME(rq.keep_alive) && SAME(rq.expect_continue) && SAME(rq.upgrade) &&
               SAME(rq.te_trailers) && SAME(rq.body) && SAME(rq.content_length) &&
               SAME(rq.has_content_length);
    }
    if (kind == HELP_RESPONSE) {
        return SAME(rs.status) && SAME_STR(rs.reason) && SAME(rs.minor) && SAME(rs.keep_alive) &&
               SAME(rs.upgrade) && SAME(rs.body) && SAME(rs.content_length) &&
               SAME(rs.has_content_length);
    }
    return true;
#undef SAME
#undef SAME_STR
}

/* A chunked body with its trailers: in pieces of step bytes (0: at once), each decoded in a buffer
 * of its own. out gets the payload (room for n bytes). *ret_used: bytes consumed when it is OK. */
static inline enum mp_h1_status help_body(const char *in, size_t n, size_t step, char *out,
                                          size_t *ret_out, size_t *ret_used)
{
    struct mp_chunk_dec d;
    mp_chunk_dec_init(&d);
    *ret_out = 0;
    size_t at = 0;
    enum mp_h1_status st = MP_H1_MORE;
    while (st == MP_H1_MORE && at < n) {
        size_t take = step && step < n - at ? step : n - at;
        size_t payload, used;
        char *piece = malloc(take);
        if (piece == NULL) {
            abort();
        }
        memcpy(piece, in + at, take);
        st = mp_chunk_decode(&d, piece, take, &payload, &used);
        if (payload > 0) {
            memcpy(out + *ret_out, piece, payload);
        }
        *ret_out += payload;
        free(piece);
        if (st == MP_H1_MORE && used != take) {
            abort();
        }
        at += used;
    }
    if (st != MP_H1_OK) {
        return st;
    }
    struct parsed t;
    help_feed(&t, HELP_TRAILERS, in + at, n - at, 0, step, &help_limits, MP_METHOD_GET);
    st = t.st;
    *ret_used = at + t.used;
    help_free(&t);
    return st;
}
