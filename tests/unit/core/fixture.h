/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A stream built by hand: the facts that logs, header values and routes look at, without a
 * connection. */
#pragma once
#include <stdlib.h>
#include "base/arena.h"
#include "codec/hdr.h"
#include "core/conn.h"
#include "core/stream.h"
#include "io/addr.h"

#define S(x) mp_str_c(x)

struct fixture {
    struct mp_arena arena;
    struct mp_stream s;
    struct mp_conn conn;
    struct mp_resp_head resp;
};

static inline void fx_addr(struct mp_addr *a, const char *ip, uint16_t port)
{
    if (mp_is_err(mp_addr_parse_ip(S(ip), port, a))) {
        abort();
    }
}

static inline void fx_add(struct mp_hdrs *h, const char *name, const char *value)
{
    if (mp_is_err(mp_hdrs_add_copy(h, S(name), S(value)))) {
        abort();
    }
}

/* GET http://a.test/p?q, started 2025-12-12T10:00:00.123456789Z, no response yet. */
static inline void fx_init(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    mp_arena_init(&f->arena, NULL, 0, &mp_block_source_heap, 4096, 1 << 20);
    struct mp_stream *s = &f->s;
    s->magic = MP_STREAM_MAGIC;
    s->conn = &f->conn;
    s->req.method = MP_METHOD_GET;
    s->req.method_name = MP_STR("GET");
    s->req.path = MP_STR("/p?q");
    s->req.authority = MP_STR("a.test");
    s->req.scheme = MP_STR("http");
    mp_hdrs_init(&s->req.hdrs, &f->arena, 100);
    mp_hdrs_init(&s->resp_trailers, &f->arena, 100);
    mp_hdrs_init(&f->resp.hdrs, &f->arena, 100);
    s->protocol_minor = 1;
    s->start_ns = 5000000000u;
    s->start_wall_ns = 1765533600123456789u;
    fx_addr(&s->client, "10.1.2.3", 4567);
    fx_addr(&f->conn.peer, "192.0.2.9", 999);
    f->conn.ch.io.fd = -1;
    f->conn.id = 42;
}

static inline void fx_respond(struct fixture *f, unsigned status)
{
    f->resp.status = status;
    f->s.resp = &f->resp;
}

static inline void fx_fini(struct fixture *f)
{
    mp_arena_fini(&f->arena);
}
