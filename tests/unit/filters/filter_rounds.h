/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* One request, again and again, through the callbacks of one filter: for what measures. */
#pragma once
#include <stdio.h>
#include <stdlib.h>

#include "fake_core.h"

struct filter_rounds {
    struct fc_conf conf;
    struct mp_stream *stream;
    char *memory;
    /* The stream as it was before the filter. */
    struct mp_hdrs req, resp;
    char *cur;
    struct mp_hdr req_v[32], resp_v[32];
};

/* The fields of a browser and a token. */
static inline void rounds_fill(struct mp_stream *s, const char *authorization)
{
    const char *const fields[][2] = {
        {"user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"},
        {"accept", "text/html,application/xhtml+xml"},
        {"accept-language", "en-US,en;q=0.9"},
        {"accept-encoding", "gzip, deflate"},
        {"cookie", "session=0123456789abcdef0123456789abcdef"},
        {"cache-control", "no-cache"},
        {"x-forwarded-for", "127.0.0.1"},
        {"x-forwarded-proto", "http"},
        {"x-request-id", "45492cdf-080e-4d04-bb80-04b6c164e88c"},
        {"authorization", authorization}};
    for (size_t i = 0; i < MP_COUNTOF(fields); i++) {
        fc_field(s, &s->req.hdrs, fields[i][0], fields[i][1]);
    }
    fc_field(s, &s->resp.hdrs, "content-type", "text/html");
    fc_field(s, &s->resp.hdrs, "server", "nginx");
    fc_field(s, &s->resp.hdrs, "etag", "\"5f\"");
}

static inline void rounds_init(struct filter_rounds *r, const struct mp_conf_filter_type *type,
                               const char *conf, const char *authorization)
{
    if (!fc_conf_load(&r->conf, type, mp_str_c(conf))) {
        fprintf(stderr, "%s\n", r->conf.diag.items[0].cause);
        exit(1);
    }
    struct mp_stream *s = r->stream =
        fc_stream_new(&r->conf, "GET", "/api/test?x=1", "api.example.com:8080");
    r->memory = malloc(1 << 16);
    s->req.hdrs.arena = s->resp.hdrs.arena = &s->arena;
    /* What fc_stream_new took stays; from here on there is no other block. */
    s->arena.cur = r->memory;
    s->arena.end = r->memory + (1 << 16);
    rounds_fill(s, authorization);
    r->req = s->req.hdrs;
    r->resp = s->resp.hdrs;
    r->cur = s->arena.cur;
    memcpy(r->req_v, r->req.v, r->req.n * sizeof(struct mp_hdr));
    memcpy(r->resp_v, r->resp.v, r->resp.n * sizeof(struct mp_hdr));
    s->bytes_out = 1024;
}

static inline void rounds_fini(struct filter_rounds *r)
{
    fc_stream_free(r->stream);
    free(r->memory);
    fc_conf_free(&r->conf);
}

/* empty: everything but the filter. */
static inline void rounds_run(struct filter_rounds *r, unsigned n, bool empty)
{
    struct mp_stream *s = r->stream;
    const struct mp_filter_type *t = r->conf.type->impl;
    for (unsigned i = 0; i < n; i++) {
        s->req.hdrs = r->req;
        s->resp.hdrs = r->resp;
        s->arena.cur = r->cur;
        memcpy(s->req.hdrs.v, r->req_v, r->req.n * sizeof(struct mp_hdr));
        memcpy(s->resp.hdrs.v, r->resp_v, r->resp.n * sizeof(struct mp_hdr));
        memset(mp_filter_state(s->filter), 0, t->state_size);
        s->resp.status = 200;
        fc.now_ns += 1000;
        if (empty) {
            continue;
        }
        (void)t->on_request_headers(s->filter, &s->req, true);
        if (t->on_response_headers) {
            (void)t->on_response_headers(s->filter, &s->resp, false);
        }
        if (t->on_end) {
            t->on_end(s->filter);
        }
    }
    if (s->replied) {
        fprintf(stderr, "%s answered %u %s\n", t->name, s->resp.status, s->details);
        exit(1);
    }
}
