/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What must hold for every head, whatever the bytes. */
#pragma once
#include <stdio.h>
#include "codec/h1_write.h"
#include "unit/codec/codec_help.h"
#if MP_HAVE_LLHTTP
#include "unit/codec/llhttp_peer.h"
#endif

#define FUZZ_CHECK(c)                                                              \
    do {                                                                           \
        if (!(c)) {                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #c); \
            abort();                                                               \
        }                                                                          \
    } while (0)

static inline uint32_t fuzz_hash(const uint8_t *data, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ data[i]) * 16777619u;
    }
    return h;
}

static inline bool fuzz_inside(const struct parsed *p, const char *s, size_t n)
{
    return s >= p->buf && n <= p->used && s + n <= p->buf + p->used;
}

static inline void fuzz_check_fields(const struct parsed *p)
{
    FUZZ_CHECK(p->n_fields <= help_limits.fields_max);
    FUZZ_CHECK(p->used <= p->n);
    for (size_t i = 0; i < p->n_fields; i++) {
        const struct mp_hdr *f = &p->f[i];
        FUZZ_CHECK(fuzz_inside(p, f->name, f->name_n));
        FUZZ_CHECK(fuzz_inside(p, f->value, f->value_n));
        FUZZ_CHECK(mp_hdr_name_ok(mp_hdr_name(f)));
        FUZZ_CHECK(mp_hdr_value_ok(mp_hdr_value(f)));
        FUZZ_CHECK(f->id == mp_hdr_id_of(f->name, f->name_n));
        for (size_t k = 0; k < f->name_n; k++) {
            FUZZ_CHECK(f->name[k] < 'A' || f->name[k] > 'Z');
        }
        if (f->value_n > 0) {
            FUZZ_CHECK(f->value[0] != ' ' && f->value[0] != '\t');
            FUZZ_CHECK(f->value[f->value_n - 1] != ' ' && f->value[f->value_n - 1] != '\t');
        }
    }
}

static inline bool fuzz_has_end(const char *in, size_t n)
{
    for (size_t i = 3; i < n; i++) {
        if (memcmp(in + i - 3, "\r\n\r\n", 4) == 0) {
            return true;
        }
    }
    return false;
}

/* At once and in pieces it is the same; in pieces a refusal may come later, with the next line end,
 * but never turns into something else. */
static inline void fuzz_check_pieces(const struct parsed *whole, enum help_kind kind,
                                     const char *in, size_t n, uint32_t h, enum mp_method method)
{
    struct parsed part;
    for (int round = 0; round < 3; round++) {
        size_t cut = n ? h % n : 0, step = round == 2 ? 1 + h % 37 : 0;
        help_feed(&part, kind, in, n, cut, step, &help_limits, method);
        bool late = part.st == MP_H1_MORE && whole->st != MP_H1_OK && !fuzz_has_end(in, n);
        FUZZ_CHECK(late || help_same(whole, &part, kind));
        help_free(&part);
        h = h * 2654435761u + 1;
    }
}

/* What we read is what we write is what we read. */
static inline void fuzz_check_written(const struct parsed *p, enum help_kind kind)
{
    struct mp_arena arena;
    struct mp_hdrs h;
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 4096, 1 << 20);
    mp_hdrs_init(&h, &arena, help_limits.fields_max);
    FUZZ_CHECK(!mp_is_err(mp_hdrs_take_block(&h, p->f, p->n_fields, p->buf, p->used)));
    struct mp_h1_head_out o = {.minor = 1, .hdrs = &h};
    if (kind == HELP_REQUEST) {
        o.method = p->rq.method_name;
        o.target = p->rq.form == MP_TARGET_AUTHORITY ? p->rq.authority : p->rq.path;
        o.body = p->rq.body;
        o.content_length = p->rq.content_length;
    } else {
        o.status = p->rs.status;
        o.reason = p->rs.reason;
        o.body = p->rs.body;
        o.content_length = p->rs.content_length;
    }
    size_t size = kind == HELP_REQUEST ? mp_h1_request_size(&o) : mp_h1_response_size(&o);
    char *out = malloc(size);
    FUZZ_CHECK(out != NULL);
    size_t n = kind == HELP_REQUEST ? mp_h1_write_request(out, &o) : mp_h1_write_response(out, &o);
    FUZZ_CHECK(n <= size);
    struct parsed again;
    help_parse(&again, kind, out, n);
    /* Dropping blanks never lengthens a head by more than ": " and framing that was there. */
    bool fits = n <= help_limits.head_bytes_max;
    if (kind == HELP_REQUEST) {
        /* HTTP/1.0 may come without Host, and then is no HTTP/1.1 request. */
        bool host = mp_hdrs_get(&h, MP_HDR_HOST) != NULL;
        FUZZ_CHECK(!fits || again.st == (host ? MP_H1_OK : MP_H1_ERR_MISSING_HOST) ||
                   again.st == MP_H1_ERR_BAD_EXPECT);
        if (again.st == MP_H1_OK) {
            FUZZ_CHECK(again.used == n);
            FUZZ_CHECK(again.rq.body == p->rq.body);
            FUZZ_CHECK(again.rq.content_length == p->rq.content_length);
        }
    } else if (fits) {
        FUZZ_CHECK(again.st == MP_H1_OK);
        FUZZ_CHECK(again.used == n);
        FUZZ_CHECK(again.rs.status == p->rs.status);
    }
    help_free(&again);
    free(out);
    mp_arena_fini(&arena);
}
