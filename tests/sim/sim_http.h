/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the peers of a simulation know of HTTP/1: generated content and a small strict parser.
 * Written apart from src/codec on purpose: it judges what the proxy writes, so it shares nothing
 * with it.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/str.h"

/* Body byte `off` of stream `id` in direction `dir` is a function of the three, so that a lost,
 * doubled or foreign byte shows at once. */
enum {
    SIM_DIR_REQ = 1,
    SIM_DIR_RESP = 2,
    SIM_DIR_REQ_PAD = 3,
    SIM_DIR_RESP_PAD = 4,
    SIM_DIR_TRAIL = 5
};
void sim_gen_fill(uint64_t id, int dir, uint64_t off, char *out, size_t n);
/* Index of the first wrong byte, or -1. */
ptrdiff_t sim_gen_check(uint64_t id, int dir, uint64_t off, const char *p, size_t n);
/* The same as lower-case letters, for header values. */
void sim_gen_text(uint64_t id, int dir, char *out, size_t n);
bool sim_gen_text_is(uint64_t id, int dir, struct mp_str s);

/* Growable bytes. */
struct sim_bytes {
    char *p;
    size_t n, cap;
};
void sim_bytes_add(struct sim_bytes *b, const void *p, size_t n);
void sim_bytes_addf(struct sim_bytes *b, const char *fmt, ...) MP_PRINTF(2, 3);
void sim_bytes_free(struct sim_bytes *b);
/* Body bytes, framed: chunks of varying size (taken from *rand), or bare. */
struct mp_rand;
void sim_bytes_add_body(struct sim_bytes *b, uint64_t id, int dir, size_t n, bool chunked,
                        struct mp_rand *rand);

struct sim_parser;
struct sim_parser_ops {
    void (*on_head)(void *arg, struct sim_parser *p); /* also for 1xx */
    void (*on_body)(void *arg, const char *bytes, size_t n);
    void (*on_trailer)(void *arg, struct mp_str name, struct mp_str value);
    void (*on_end)(void *arg); /* of a message that is not 1xx */
};
enum sim_parser_state {
    SIM_P_HEAD,
    SIM_P_LENGTH,
    SIM_P_CHUNK_SIZE,
    SIM_P_CHUNK_DATA,
    SIM_P_CHUNK_END,
    SIM_P_TRAILER,
    SIM_P_UNTIL_CLOSE,
    SIM_P_DONE, /* between messages: feed takes nothing until sim_parser_next */
};
struct sim_parser {
    const struct sim_parser_ops *ops;
    void *arg;
    const char *error;    /* static; NULL: none */
    struct sim_bytes acc; /* head or line being collected */
    uint64_t left;
    enum sim_parser_state state;
    bool responses;
    bool no_body; /* set by the owner before the head: answer to HEAD */
    bool close;   /* the message says that the connection ends after it */
    bool expect;  /* Expect: 100-continue */
    bool chunked, has_length;
    uint64_t length;
    int status;
    struct mp_str method, target; /* into acc; valid in on_head */
};
void sim_parser_init(struct sim_parser *p, bool responses, const struct sim_parser_ops *ops,
                     void *arg);
void sim_parser_fini(struct sim_parser *p);
/* Bytes taken, or -1 and p->error. Stops at the end of a message. */
ptrdiff_t sim_parser_feed(struct sim_parser *p, const char *bytes, size_t n);
/* The stream has ended; false when that cuts a message. Nothing received of a message is fine. */
bool sim_parser_eof(struct sim_parser *p);
/* Ready for the next message. */
void sim_parser_next(struct sim_parser *p);
/* In on_head. False when absent; the first one of several. */
bool sim_parser_field(const struct sim_parser *p, const char *name, struct mp_str *ret);
