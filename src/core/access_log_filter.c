/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Which requests an access logger logs. */
#include "base/hash.h"
#include "codec/hdr.h"
#include "core/access_log_int.h"
#include "core/filter.h"
#include "core/grpc.h"
#include "core/stream.h"
#include "core/worker.h"

struct alog_filter {
    const struct mp_conf_alog_filter *conf;
    uint32_t flags;           /* FLAGS */
    struct alog_filter *list; /* AND, OR */
};

static mp_err build_flags(const struct mp_conf_alog_filter *conf, struct mp_diag *diag,
                          uint32_t *ret)
{
    *ret = conf->n == 0 ? UINT32_MAX : 0;
    for (uint32_t i = 0; i < conf->n; i++) {
        uint32_t bit = mp_response_flag_of(conf->flags[i]);
        if (bit == 0) {
            return mp_diag_error(diag, MP_E_UNSUPPORTED, 0, NULL, NULL,
                                 "access log filter: there is no response flag \"" MP_STR_FMT
                                 "\" here",
                                 MP_STR_ARG(conf->flags[i]));
        }
        *ret |= bit;
    }
    return MP_OK;
}

static mp_err build(const struct mp_conf_alog_filter *conf, struct mp_arena *arena,
                    struct mp_diag *diag, struct alog_filter *ret)
{
    ret->conf = conf;
    if (conf->test == MP_ALOG_FLAGS) {
        return build_flags(conf, diag, &ret->flags);
    }
    if (conf->test != MP_ALOG_AND && conf->test != MP_ALOG_OR) {
        return MP_OK;
    }
    ret->list = mp_arena_zalloc(arena, conf->n * sizeof(*ret->list));
    if (ret->list == NULL) {
        return mp_diag_error(diag, MP_E_LIMIT, 0, NULL, NULL, "access log filter: too large");
    }
    for (uint32_t i = 0; i < conf->n; i++) {
        MP_TRY(build(&conf->list[i], arena, diag, &ret->list[i]));
    }
    return MP_OK;
}

mp_err mp_alog_filter_build(const struct mp_conf_alog_filter *conf, struct mp_arena *arena,
                            struct mp_diag *diag, struct alog_filter **ret)
{
    *ret = NULL;
    if (conf == NULL) {
        return MP_OK;
    }
    struct alog_filter *f = mp_arena_zalloc(arena, sizeof(*f));
    if (f == NULL) {
        return mp_diag_error(diag, MP_E_LIMIT, 0, NULL, NULL, "access log filter: too large");
    }
    MP_TRY(build(conf, arena, diag, f));
    *ret = f;
    return MP_OK;
}

static bool compare(const struct mp_conf_alog_filter *c, uint64_t v)
{
    switch (c->compare) {
    case MP_COMPARE_EQ:
        return v == c->value;
    case MP_COMPARE_GE:
        return v >= c->value;
    default:
        return v <= c->value;
    }
}

/* By the request's id all proxies on its way choose the same requests. */
static bool sampled(const struct mp_conf_alog_filter *c, struct mp_core_worker *cw,
                    const struct mp_stream *s)
{
    const struct mp_hdr *id =
        c->independent ? NULL : mp_hdrs_get(&s->req.hdrs, MP_HDR_X_REQUEST_ID);
    uint64_t v =
        id != NULL ? mp_hash_fnv(MP_FNV_SEED, id->value, id->value_n) : mp_rand_u64(&cw->w.rand);
    return (v >> 16) % 1000000 < c->value;
}

static bool grpc_is_one_of(const struct mp_conf_alog_filter *c, const struct mp_stream *s)
{
    int status = mp_grpc_status(s);
    if (status < 0 && s->resp != NULL) {
        status = mp_grpc_status_of_http(s->resp->status);
    }
    status = status < 0 || status > 16 ? MP_GRPC_UNKNOWN : status;
    return ((c->value >> status & 1) != 0) != c->invert;
}

bool mp_alog_filter_passes(const struct alog_filter *f, struct mp_core_worker *cw,
                           const struct mp_stream *s)
{
    const struct mp_conf_alog_filter *c = f->conf;
    switch (c->test) {
    case MP_ALOG_STATUS:
        return compare(c, s->resp != NULL ? s->resp->status : 0);
    case MP_ALOG_DURATION:
        return compare(c, s->end_ns > s->start_ns ? (s->end_ns - s->start_ns) / 1000000 : 0);
    case MP_ALOG_NOT_HEALTH_CHECK:
        return (s->filter_marks & MP_FILTER_MARK_HEALTH_CHECK) == 0;
    case MP_ALOG_SAMPLE:
        return sampled(c, cw, s);
    case MP_ALOG_HEADER:
        return mp_filter_headers_match(c->header, 1, &s->req);
    case MP_ALOG_FLAGS:
        return (s->response_flags & f->flags) != 0;
    case MP_ALOG_GRPC_STATUS:
        return grpc_is_one_of(c, s);
    case MP_ALOG_AND:
    case MP_ALOG_OR:
        break;
    }
    for (uint32_t i = 0; i < c->n; i++) {
        if (mp_alog_filter_passes(&f->list[i], cw, s) != (c->test == MP_ALOG_AND)) {
            return c->test == MP_ALOG_OR;
        }
    }
    return c->test == MP_ALOG_AND;
}
