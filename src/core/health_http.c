/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* HTTP checks: a request to one host over the pool of the checks, so that they speak whatever
 * protocol the cluster speaks. */
#include "base/assert.h"
#include "core/health_int.h"

#define ARENA_MAX (256 * 1024) /* of a request and the head of its response */

static struct mp_check *check_of(struct mp_upreq *u)
{
    return MP_CONTAINER_OF(u, struct mp_check, up);
}

static bool is_in(const struct mp_conf_status_range *v, uint32_t n, unsigned status)
{
    for (uint32_t i = 0; i < n; i++) {
        if (status >= v[i].from && status < v[i].to) {
            return true;
        }
    }
    return false;
}

static enum mp_check_result judge(const struct mp_conf_health_check *c, unsigned status)
{
    if (c->n_expected > 0 ? is_in(c->expected, c->n_expected, status) : status == 200) {
        return MP_CHECK_PASSED;
    }
    return is_in(c->retriable, c->n_retriable, status) ? MP_CHECK_RETRIABLE : MP_CHECK_FAILED;
}

static void finish(struct mp_check *ck, enum mp_check_result result)
{
    mp_arena_fini(&ck->arena);
    if (!mp_check_conf(ck)->reuse_connection) {
        mp_host_close_unused(ck->local);
    }
    mp_check_done(ck, result);
}

static void on_headers(struct mp_upreq *u, struct mp_resp_head *h, bool end)
{
    (void)end;
    check_of(u)->status = h->status;
}

static void on_data(struct mp_upreq *u, struct mp_str data, bool end)
{
    (void)u;
    (void)data;
    (void)end;
}

static void on_end(struct mp_upreq *u, enum mp_upreq_end why, const char *details)
{
    struct mp_check *ck = check_of(u);
    (void)details;
    finish(ck, why == MP_UP_COMPLETE ? judge(mp_check_conf(ck), ck->status) : MP_CHECK_NETWORK);
}

static bool wants_response(const struct mp_upreq *u)
{
    (void)u;
    return true;
}

static struct mp_arena *arena(struct mp_upreq *u)
{
    return &check_of(u)->arena;
}

static const struct mp_upreq_ops ops = {
    .on_headers = on_headers,
    .on_data = on_data,
    .on_end = on_end,
    .wants_response = wants_response,
    .arena = arena,
};

static mp_err add_field(struct mp_hdrs *h, const struct mp_conf_header_add *a)
{
    bool there = mp_hdrs_find(h, a->name) != NULL;
    switch (a->action) {
    case MP_ADD_IF_ABSENT:
        return there ? MP_OK : mp_hdrs_add(h, a->name, a->value);
    case MP_OVERWRITE_IF_EXISTS:
        return there ? mp_hdrs_set_copy(h, a->name, a->value) : MP_OK;
    case MP_OVERWRITE_OR_ADD:
        return mp_hdrs_set_copy(h, a->name, a->value);
    default:
        return mp_hdrs_add(h, a->name, a->value);
    }
}

static mp_err make_head(struct mp_check *ck)
{
    const struct mp_conf_health_check *c = mp_check_conf(ck);
    struct mp_req_head *h = &ck->head;
    struct mp_str host = ck->endpoint->conf->check_host;
    host = host.n > 0 ? host : c->host.n > 0 ? c->host : ck->monitor->cluster->shared->name;
    *h = (struct mp_req_head){.method = mp_method_of(c->method),
                              .method_name = c->method,
                              .path = c->path,
                              .authority = host,
                              .scheme = MP_STR("http")};
    mp_hdrs_init(&h->hdrs, &ck->arena, UINT16_MAX);
    MP_TRY(mp_hdrs_add_id(&h->hdrs, MP_HDR_HOST, host));
    MP_TRY(mp_hdrs_add_id(&h->hdrs, MP_HDR_USER_AGENT, MP_STR("MarchProxy/HC")));
    for (uint32_t i = 0; i < c->ops.n_req_remove; i++) {
        mp_hdrs_remove_name(&h->hdrs, c->ops.req_remove[i]);
    }
    for (uint32_t i = 0; i < c->ops.n_req_add; i++) {
        if (c->ops.req_add[i].value.n > 0 || c->ops.req_add[i].keep_empty) {
            MP_TRY(add_field(&h->hdrs, &c->ops.req_add[i]));
        }
    }
    return MP_OK;
}

void mp_check_http_start(struct mp_check *ck)
{
    struct mp_monitor *m = ck->monitor;
    ck->status = 0;
    mp_arena_init(&ck->arena, NULL, 0, &mp_block_source_heap, 4096, ARENA_MAX);
    if (mp_is_err(make_head(ck))) {
        finish(ck, MP_CHECK_NETWORK);
        return;
    }
    const struct mp_upreq_spec spec = {.head = &ck->head,
                                       .path = ck->head.path,
                                       .authority = ck->head.authority,
                                       .end = true,
                                       .host = ck->local};
    mp_upreq_start(&ck->up, m->pool.cw, &m->pool, &ops, &spec);
}

void mp_check_http_stop(struct mp_check *ck)
{
    if (ck->active && mp_check_conf(ck)->is_http) {
        mp_upreq_cancel(&ck->up);
        mp_arena_fini(&ck->arena);
        ck->active = false;
    }
}
