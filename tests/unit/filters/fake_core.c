/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "fake_core.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "conf/pb.h"

struct fc_world fc;

void fc_init(void)
{
    mp_hash_set_key(0x0123456789abcdef, 0xfedcba9876543210);
    fc.now_ns = 5000000000000;
    fc.store = mp_stat_store_new(FC_WRITERS);
    fc.stats = mp_filter_stats_new(fc.store);
    for (uint32_t i = 0; i < FC_WRITERS; i++) {
        fc.local[i] = mp_filter_stats_local_new(fc.stats, i);
    }
}

void fc_fini(void)
{
    for (uint32_t i = 0; i < FC_WRITERS; i++) {
        mp_filter_stats_local_free(fc.local[i]);
    }
    mp_filter_stats_free(fc.stats);
    mp_stat_store_free(fc.store);
    fc = (struct fc_world){0};
}

/* ---- configurations ---- */

bool fc_conf_load(struct fc_conf *c, const struct mp_conf_filter_type *type, struct mp_str text)
{
    struct mp_yaml *y = NULL;
    struct mp_arena scratch;
    ProtobufCMessage *m;
    const struct mp_pb_read_opts opts = {0};
    *c = (struct fc_conf){.type = type};
    mp_arena_init(&c->arena, NULL, 0, &mp_block_source_heap, 4096, SIZE_MAX);
    mp_arena_init(&scratch, NULL, 0, &mp_block_source_heap, 4096, SIZE_MAX);
    mp_diag_init(&c->diag, "conf");
    const struct mp_conf_where w = {.diag = &c->diag, .path = ""};
    if (!mp_is_err(mp_yaml_parse(text, &c->diag, &y)) &&
        !mp_is_err(mp_pb_from_yaml(y, NULL, type->message, &opts, &scratch, &c->diag, &m)) &&
        mp_is_err(type->parse(m, &c->arena, &w, &c->parsed))) {
        MP_ASSERT(c->diag.errors > 0); /* never refused without a word */
        c->parsed = NULL;
    }
    mp_yaml_free(y);
    mp_arena_fini(&scratch);
    return c->parsed;
}

void fc_conf_free(struct fc_conf *c)
{
    mp_diag_fini(&c->diag);
    mp_arena_fini(&c->arena);
}

void fc_publish(const struct fc_conf *c)
{
    const struct mp_filter_type *t = c->type->impl;
    const void *confs[] = {c->parsed};
    t->on_published((struct mp_filter_host *)(void *)&fc, confs, 1);
}

void fc_publish_none(const struct mp_conf_filter_type *type)
{
    const struct mp_filter_type *t = type->impl;
    t->on_published((struct mp_filter_host *)(void *)&fc, NULL, 0);
}

/* ---- streams ---- */

struct mp_stream *fc_stream_new(const struct fc_conf *c, const char *method, const char *path,
                                const char *host)
{
    const struct mp_filter_type *t = c->type->impl;
    struct mp_stream *s = calloc(1, sizeof(*s));
    MP_ASSERT(s);
    mp_arena_init(&s->arena, NULL, 0, &mp_block_source_heap, 4096, 1 << 20);
    s->req.method_name = mp_arena_dup(&s->arena, mp_str_c(method));
    s->req.method = mp_method_of(s->req.method_name);
    s->req.path = mp_arena_dup(&s->arena, mp_str_c(path));
    s->req.authority = mp_arena_dup(&s->arena, mp_str_c(host));
    mp_hdrs_init(&s->req.hdrs, &s->arena, 100);
    mp_hdrs_init(&s->resp.hdrs, &s->arena, 100);
    mp_hdrs_init(&s->trailers, &s->arena, 100);
    s->start_ns = fc.now_ns;
    s->filter = mp_arena_zalloc(&s->arena, sizeof(*s->filter) + t->state_size);
    s->filter->type = t;
    s->filter->conf = c->parsed;
    s->filter->stream = s;
    return s;
}

void fc_stream_free(struct mp_stream *s)
{
    mp_arena_fini(&s->arena);
    free(s);
}

void fc_field(struct mp_stream *s, struct mp_hdrs *h, const char *name, const char *value)
{
    (void)s;
    mp_err err = mp_hdrs_add_copy(h, mp_str_c(name), mp_str_c(value));
    MP_ASSERT(!mp_is_err(err));
}

const char *fc_value(struct mp_stream *s, const struct mp_hdrs *h, const char *name)
{
    const struct mp_hdr *e = mp_hdrs_find(h, mp_str_c(name));
    if (!e || mp_hdrs_next_same(h, e)) {
        return NULL;
    }
    return mp_arena_dup(&s->arena, mp_hdr_value(e)).p;
}

struct lookup {
    const char *name;
    int64_t value;
};

static void look(void *arg, const struct mp_stat_view *v)
{
    struct lookup *l = arg;
    char name[512];
    snprintf(name, sizeof(name), "%s%.*s%s%s", v->schema->text_prefix, MP_STR_ARG(v->scope),
             v->scope.n > 0 && v->def->name[0] ? "." : "", v->def->name);
    if (strcmp(name, l->name) == 0) {
        l->value = (int64_t)v->value;
    }
}

int64_t fc_stat(const char *name)
{
    struct lookup l = {name, -1};
    mp_stat_walk(fc.store, look, &l);
    return l.value;
}

/* ---- core/filter.h ---- */

enum mp_verdict mp_filter_reply(struct mp_filter *f, unsigned status,
                                const struct mp_reply_header *headers, struct mp_str body,
                                const char *details)
{
    struct mp_stream *s = f->stream;
    s->replied = true;
    s->replies++;
    s->resp.status = status;
    s->details = details;
    s->body = mp_arena_dup(&s->arena, body);
    for (; headers && headers->name.p; headers++) {
        mp_err err = mp_hdrs_add(&s->resp.hdrs, headers->name, headers->value);
        MP_ASSERT(!mp_is_err(err));
    }
    return MP_VERDICT_REPLY;
}

struct mp_arena *mp_filter_arena(const struct mp_filter *f)
{
    return &f->stream->arena;
}

struct mp_req_head *mp_filter_request(const struct mp_filter *f)
{
    return &f->stream->req;
}

uint64_t mp_filter_wall_ns(const struct mp_filter *f)
{
    return fc.wall_ns;
}

uint64_t mp_filter_now_ns(const struct mp_filter *f)
{
    return fc.now_ns;
}

uint64_t mp_filter_clock_ns(const struct mp_filter *f)
{
    (void)f;
    return fc.now_ns;
}

uint64_t mp_filter_start_ns(const struct mp_filter *f)
{
    return f->stream->start_ns;
}

uint64_t mp_filter_random(const struct mp_filter *f)
{
    return fc.random;
}

uint32_t mp_filter_writer(const struct mp_filter *f)
{
    return f->stream->writer;
}

uint64_t mp_filter_request_bytes(const struct mp_filter *f)
{
    return f->stream->bytes_in;
}

uint64_t mp_filter_response_bytes(const struct mp_filter *f)
{
    return f->stream->bytes_out;
}

unsigned mp_filter_response_status(const struct mp_filter *f)
{
    return f->stream->resp.status;
}

const struct mp_stat_block *mp_filter_stats(const struct mp_filter *f,
                                            const struct mp_stat_schema *schema, struct mp_str name)
{
    return mp_filter_stats_find(fc.local[f->stream->writer], schema, name);
}

void mp_filter_mark(struct mp_filter *f, uint32_t bits)
{
    f->stream->marks |= bits;
}

uint32_t mp_filter_marks(const struct mp_filter *f)
{
    return f->stream->marks;
}

bool mp_filter_proxies(const struct mp_filter *f, uint32_t *ret)
{
    *ret = fc.proxies;
    return fc.has_proxies;
}

bool mp_filter_host_has_stats(const struct mp_filter_host *host,
                              const struct mp_stat_schema *schema)
{
    (void)host;
    return mp_filter_stats_has(fc.local[0], schema);
}

const struct mp_stat_block *mp_filter_host_stats(struct mp_filter_host *host,
                                                 const struct mp_stat_schema *schema,
                                                 struct mp_str name)
{
    return mp_filter_stats_find(fc.local[FC_WRITERS - 1], schema, name);
}

bool mp_filter_host_proxies(const struct mp_filter_host *host, uint32_t *ret)
{
    *ret = fc.proxies;
    return fc.has_proxies;
}
