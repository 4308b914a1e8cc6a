/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The auth filter in the program: its callbacks and its protobuf configuration. */
#include "filters/http/auth.h"
#include "conf/pb.h"
#include "filters/guest_native.h"
#include "filters/registry.h"
#include "filters/settings.h"
#include "marchproxy_filters_v1.pb-c.h"

#define JWKS_MAX (1 << 18)

/* ---- callbacks ---- */

static enum mp_verdict on_request_headers(struct mp_filter *f, struct mp_req_head *h, bool end)
{
    struct mp_guest g = {.filter = f};
    if (MP_UNLIKELY(!f->conf)) {
        mp_auth_on_disabled(&g);
        return MP_VERDICT_CONTINUE;
    }
    return mp_guest_verdict(mp_auth_on_request(f->conf, &g));
}

static enum mp_verdict on_request_trailers(struct mp_filter *f, struct mp_hdrs *t)
{
    struct mp_guest g = {.filter = f, .trailers = t};
    mp_auth_on_trailers(&g);
    return MP_VERDICT_CONTINUE;
}

static void on_published(struct mp_filter_host *host, const void *const *confs, uint32_t n)
{
    mp_auth_on_published(mp_guest_host(host), n > 0);
}

/* ---- configuration ---- */

static struct mp_auth_previous *read_previous(Marchproxy__Filters__V1__PreviousSecret **list,
                                              size_t n, struct mp_guest_setup *s)
{
    struct mp_auth_previous *out = mp_guest_setup_alloc(s, n * sizeof(*out));
    for (size_t i = 0; i < n; i++) {
        out[i].secret = mp_str_c(list[i]->secret);
        out[i].has_valid_until = list[i]->valid_until;
        out[i].valid_until_s = list[i]->valid_until ? list[i]->valid_until->seconds : 0;
    }
    return out;
}

/* Entries of the two maps are the same type but for their name. */
#define PAIRS(list, n_list, s, ret, ret_n)                                                   \
    do {                                                                                     \
        struct mp_auth_pair *pairs_ = mp_guest_setup_alloc((s), (n_list) * sizeof(*pairs_)); \
        for (size_t i_ = 0; i_ < (n_list); i_++) {                                           \
            pairs_[i_].name = mp_str_c((list)[i_]->key);                                     \
            pairs_[i_].value = mp_str_c((list)[i_]->value);                                  \
        }                                                                                    \
        (ret) = pairs_;                                                                      \
        (ret_n) = (n_list);                                                                  \
    } while (0)

/* An object or a text becomes text. sb keeps it. */
static struct mp_str read_jwks(const Google__Protobuf__Value *v, struct mp_sb *sb,
                               struct mp_guest_setup *s)
{
    if (!v || v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE) {
        return MP_STR("");
    }
    if (v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE) {
        return mp_str_c(v->string_value);
    }
    mp_pb_to_json(&v->base, 0, sb);
    if (v->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE || sb->overflow) {
        mp_guest_refuse(s, "jwt_jwks", NULL, "not a JSON web key set: {\"keys\": [...]}");
        return MP_STR("");
    }
    return mp_sb_str(sb);
}

static uint64_t read_ttl(const Google__Protobuf__Duration *d, struct mp_guest_setup *s)
{
    if (!d) {
        return MP_AUTH_CACHE_TTL_NS;
    }
    if (d->seconds < 0 || d->nanos < 0) {
        mp_guest_refuse(s, "jwt_cache_ttl", "use 0s to 300s", "the time is negative");
        return 0;
    }
    if (d->seconds > MP_AUTH_CACHE_TTL_S_MAX) {
        return UINT64_MAX;
    }
    return (uint64_t)d->seconds * 1000000000u + (uint64_t)d->nanos;
}

static mp_err parse(const ProtobufCMessage *m, struct mp_arena *arena,
                    const struct mp_conf_where *w, void **ret)
{
    const Marchproxy__Filters__V1__Auth *c = (const void *)m;
    struct mp_guest_setup s = {.arena = arena, .where = w};
    struct mp_sb jwks;
    mp_sb_init(&jwks, JWKS_MAX);
    struct mp_auth_settings in = {
        .jwt_secret = mp_str_c(c->jwt_secret),
        .jwt_algorithm = mp_str_c(c->jwt_algorithm),
        .jwt_public_key = mp_str_c(c->jwt_public_key),
        .jwt_jwks = read_jwks(c->jwt_jwks, &jwks, &s),
        .require_auth = !c->require_auth || c->require_auth->value,
        .has_exempt_paths = c->exempt_paths,
        .previous = read_previous(c->jwt_secrets_previous, c->n_jwt_secrets_previous, &s),
        .n_previous = c->n_jwt_secrets_previous,
        .cache_ttl_ns = read_ttl(c->jwt_cache_ttl, &s),
        .cache_entries = c->jwt_cache_entries ? c->jwt_cache_entries->value : MP_AUTH_CACHE_ENTRIES,
    };
    in.base64_tokens = mp_settings_texts(c->base64_tokens, c->n_base64_tokens, &s);
    in.n_base64_tokens = c->n_base64_tokens;
    in.issuers = mp_settings_texts(c->jwt_issuers, c->n_jwt_issuers, &s);
    in.n_issuers = c->n_jwt_issuers;
    in.audiences = mp_settings_texts(c->jwt_audiences, c->n_jwt_audiences, &s);
    in.n_audiences = c->n_jwt_audiences;
    in.exempt_paths = mp_settings_list(c->exempt_paths, "exempt_paths", &in.n_exempt_paths, &s);
    PAIRS(c->jwt_required_claims, c->n_jwt_required_claims, &s, in.required_claims,
          in.n_required_claims);
    PAIRS(c->jwt_claim_headers, c->n_jwt_claim_headers, &s, in.claim_headers, in.n_claim_headers);
    struct mp_auth *a = mp_auth_setup(&in, &s);
    mp_sb_fini(&jwks);
    *ret = a;
    return s.err;
}

static const struct mp_filter_type filter_auth = {
    .name = "marchproxy.filters.http.auth",
    .guards = true,
    .on_request_headers = on_request_headers,
    .on_request_trailers = on_request_trailers,
    .on_published = on_published,
};

const struct mp_conf_filter_type mp_conf_filter_auth = {
    .name = "marchproxy.filters.http.auth",
    .message = &marchproxy__filters__v1__auth__descriptor,
    .route_message = &marchproxy__filters__v1__auth__descriptor,
    .parse = parse,
    .parse_route = parse,
    .impl = &filter_auth,
};
