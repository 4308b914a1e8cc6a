/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/compiler.h"
#include "filters/base64.h"
#include "filters/field_name.h"
#include "filters/http/auth.h"

#define NS_PER_S     1000000000ull
#define VALUE_ABSENT 0xffff
#define VALUE_MAX    4096

/* ---- metrics ---- */

enum {
    ST_REQUESTS,
    ST_ALLOWED_JWT,
    ST_ALLOWED_BASE64,
    ST_DENIED_MISSING,
    ST_DENIED_FORMAT,
    ST_DENIED_INVALID,
    ST_EXEMPT,
    ST_CACHE_HITS,
    ST_COUNT
};

#define COUNTER(text, help_)                                     \
    {                                                            \
        .name = (text), .kind = MP_STAT_COUNTER, .help = (help_) \
    }
#define COUNTER_L(text, help_, prom, key, value)                                       \
    {                                                                                  \
        .name = (text), .kind = MP_STAT_COUNTER, .help = (help_), .prom_name = (prom), \
        .label = (key), .label_value = (value)                                         \
    }
static const char help_allowed[] = "Requests that passed with a token";
static const char help_denied[] = "Requests that were refused";
static const struct mp_stat_def defs[ST_COUNT] = {
    [ST_REQUESTS] = COUNTER("requests_total", "Requests that the auth filter has seen"),
    [ST_ALLOWED_JWT] =
        COUNTER_L("allowed_total.jwt", help_allowed, "allowed_total", "method", "jwt"),
    [ST_ALLOWED_BASE64] =
        COUNTER_L("allowed_total.base64", help_allowed, "allowed_total", "method", "base64"),
    [ST_DENIED_MISSING] =
        COUNTER_L("denied_total.missing", help_denied, "denied_total", "reason", "missing"),
    [ST_DENIED_FORMAT] =
        COUNTER_L("denied_total.format", help_denied, "denied_total", "reason", "format"),
    [ST_DENIED_INVALID] =
        COUNTER_L("denied_total.invalid", help_denied, "denied_total", "reason", "invalid"),
    [ST_EXEMPT] = COUNTER("exempt_total", "Requests whose path is exempt"),
    [ST_CACHE_HITS] = COUNTER("jwt_cache_hits_total", "Tokens that were known to be valid"),
};
static const struct mp_stat_schema schema = {.kind = "marchproxy",
                                             .text_prefix = "marchproxy_auth_",
                                             .prom_prefix = "marchproxy_auth_",
                                             .defs = defs,
                                             .n = ST_COUNT};

void mp_auth_on_published(struct mp_guest_host *h, bool in_use)
{
    if (in_use) {
        (void)mp_guest_host_stats(h, &schema, MP_STR(""));
    }
}

/* ---- fields ---- */

/* x-auth-..., also in the spellings that some services take for it: gateways that make variables of
 * fields put '_' for whatever is no letter or digit. */
static bool is_ours(struct mp_str name)
{
    return name.n >= 7 && name.p[0] == 'x' && !mp_field_name_alnum(name.p[1]) &&
           memcmp(name.p + 2, "auth", 4) == 0 && !mp_field_name_alnum(name.p[6]);
}

void mp_auth_on_disabled(struct mp_guest *g)
{
    mp_guest_strip_fields(g, MP_GUEST_REQUEST, is_ours);
}

void mp_auth_on_trailers(struct mp_guest *g)
{
    mp_guest_strip_fields(g, MP_GUEST_TRAILERS, is_ours);
}

static enum mp_guest_verdict too_large(struct mp_guest *g)
{
    return mp_guest_reply(g, 431, NULL, 0, MP_STR(""), "request_headers_too_large");
}

/* ---- answers ---- */

struct refusal {
    unsigned status;
    unsigned stat;
    struct mp_str body;
};

static enum mp_guest_verdict refuse(struct mp_guest *g, const struct mp_stat_block *st,
                                    const struct refusal *r, const char *details)
{
    const struct mp_guest_field fields[] = {{MP_STR("content-type"), MP_STR("application/json")},
                                            {MP_STR("www-authenticate"), MP_STR("Bearer")}};
    mp_stat_inc(st, r->stat);
    return mp_guest_reply(g, r->status, fields, r->status == 401 ? 2 : 1, r->body, details);
}

#define BODY(text)               \
    {                            \
        (text), sizeof(text) - 1 \
    }
static const struct refusal missing = {401, ST_DENIED_MISSING,
                                       BODY("{\"error\":\"Missing Authorization header\"}")};
static const struct refusal bad_format = {
    401, ST_DENIED_FORMAT,
    BODY("{\"error\":\"Invalid Authorization header format. Use: Bearer <token>\"}")};
static const struct refusal bad_token = {403, ST_DENIED_INVALID,
                                         BODY("{\"error\":\"Invalid authentication token\"}")};

/* For the access log: why a token was none. */
static const char *details_of(enum mp_jwt_status s)
{
    static const char *const texts[] = {
#define X(token, name) [MP_JWT_##token] = "auth_invalid_" name,
        MP_JWT_STATUS(X)
#undef X
    };
    return texts[s];
}

/* ---- JSON web tokens ---- */

/* Values of claims in a row: two bytes of length, then the text; VALUE_ABSENT: no such claim. */
struct values {
    char *p;
    size_t n, max;
};

static bool put_length(struct values *v, size_t n)
{
    uint16_t n16 = (uint16_t)n;
    if (v->max - v->n < sizeof(n16)) {
        return false;
    }
    memcpy(v->p + v->n, &n16, sizeof(n16));
    v->n += sizeof(n16);
    return true;
}

static bool next_value(struct mp_str *rest, struct mp_str *ret)
{
    uint16_t n;
    memcpy(&n, rest->p, sizeof(n));
    *rest = mp_str(rest->p + sizeof(n), rest->n - sizeof(n));
    if (n == VALUE_ABSENT) {
        return false;
    }
    *ret = mp_str(rest->p, n);
    *rest = mp_str(rest->p + n, rest->n - n);
    return true;
}

/* A field's value means the same to everybody only without blanks at its ends and controls inside.
 */
static bool fits_field(struct mp_str s)
{
    if (s.n > VALUE_MAX || (s.n > 0 && (s.p[0] == ' ' || s.p[s.n - 1] == ' '))) {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        if ((uint8_t)s.p[i] < ' ' || s.p[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

/* Strings, numbers, and truth values but for sub; what else a claim may be is not told. */
static bool put_claim(struct values *v, const struct mp_json *j, struct mp_str name, bool is_sub)
{
    const struct mp_json_node *c = mp_json_member(j, j->nodes, name);
    bool text = c && (c->kind == MP_JSON_STRING || c->kind == MP_JSON_NUMBER ||
                      (!is_sub && (c->kind == MP_JSON_TRUE || c->kind == MP_JSON_FALSE)));
    size_t at = v->n;
    if (!text || c->n == 0) {
        return put_length(v, VALUE_ABSENT);
    }
    if (!put_length(v, 0) || v->max - v->n < c->n) {
        return false;
    }
    size_t n = mp_json_unescape(j, c, v->p + v->n);
    if (!fits_field(mp_str(v->p + v->n, n))) {
        return false;
    }
    v->n = at;
    (void)put_length(v, n);
    v->n += n;
    return true;
}

static enum mp_guest_verdict pass(const struct mp_auth *a, struct mp_guest *g, struct mp_str method,
                                  struct mp_str values)
{
    bool ok = mp_guest_add_own(g, MP_GUEST_REQUEST, MP_GUEST_X_AUTH_METHOD, method);
    for (uint32_t i = 0; values.n > 0 && ok && i < a->n_claims; i++) {
        struct mp_str value;
        if (next_value(&values, &value)) {
            ok = mp_guest_add_field(g, MP_GUEST_REQUEST, a->claims[i].header, value);
        }
    }
    return ok ? MP_GUEST_CONTINUE : too_large(g);
}

/* The wall clock in whole seconds, as dates in tokens are. */
static struct mp_auth_now now_of(const struct mp_guest *g)
{
    return (struct mp_auth_now){.mono_ns = mp_guest_now_ns(g),
                                .wall_s = (int64_t)(mp_guest_wall_ns(g) / NS_PER_S)};
}

/* OK: *ret are the claims' values, in memory of the stream. */
static enum mp_jwt_status verify(const struct mp_auth *a, struct mp_guest *g, struct mp_str token,
                                 struct mp_auth_now now, struct mp_str *ret)
{
    struct mp_jwt jwt __attribute__((uninitialized));
    if (token.n > MP_JWT_TOKEN_MAX) {
        return MP_JWT_TOO_LONG;
    }
    /* Values take no more than the claims that they come from, and a length each; sub may occur
     * twice. */
    size_t room_n = MP_JWT_ROOM(token.n), values_n = 2 * (room_n + a->n_claims);
    uint8_t *room = mp_guest_alloc(g, room_n + values_n);
    if (!room) {
        return MP_JWT_TOO_LONG;
    }
    enum mp_jwt_status s = mp_jwt_verify(&a->jwt, token, now.wall_s, room, &jwt);
    if (s != MP_JWT_OK) {
        return s;
    }
    struct values v = {.p = (char *)room + room_n, .max = values_n};
    for (uint32_t i = 0; i < a->n_claims; i++) {
        if (!put_claim(&v, &jwt.claims, a->claims[i].claim, i == 0)) {
            return MP_JWT_CLAIMS;
        }
    }
    *ret = mp_str(v.p, v.n);
    /* Rounded down: never past exp. */
    int64_t until_s = (int64_t)jwt.exp < jwt.key_until_s ? (int64_t)jwt.exp : jwt.key_until_s;
    mp_auth_cache_put(a, g, token, now, until_s, *ret);
    return MP_JWT_OK;
}

static enum mp_jwt_status check_jwt(const struct mp_auth *a, struct mp_guest *g,
                                    const struct mp_stat_block *st, struct mp_str token,
                                    struct mp_str *ret)
{
    if (a->jwt.n_keys == 0) {
        return MP_JWT_NO_KEY;
    }
    struct mp_auth_now now = now_of(g);
    struct mp_str known = mp_auth_cache_get(a, g, token, now);
    if (!known.p) {
        return verify(a, g, token, now, ret);
    }
    char *copy = mp_guest_alloc(g, known.n);
    if (!copy) {
        return MP_JWT_TOO_LONG;
    }
    memcpy(copy, known.p, known.n);
    *ret = mp_str(copy, known.n);
    mp_stat_inc(st, ST_CACHE_HITS);
    return MP_JWT_OK;
}

/* ---- listed tokens ---- */

/* Looks at all of them, whatever is found. */
static bool is_listed(const struct mp_auth *a, struct mp_guest *g, struct mp_str token)
{
    uint8_t literal[32], decoded[32];
    size_t n = 0;
    if (a->n_tokens == 0 || token.n > MP_JWT_TOKEN_MAX) {
        return false;
    }
    mp_crypto_sha256(token, literal);
    uint8_t *room = mp_guest_alloc(g, MP_BASE64_ROOM(token.n));
    bool is_base64 = room && mp_base64_decode(token, room, &n);
    mp_crypto_sha256(mp_str((const char *)room, n), decoded);
    unsigned found = 0;
    for (uint32_t i = 0; i < a->n_tokens; i++) {
        const struct mp_auth_token *t = &a->tokens[i];
        found |= mp_crypto_equal(literal, t->literal, 32);
        found |= is_base64 & mp_crypto_equal(decoded, t->literal, 32);
        found |= is_base64 & t->has_decoded & mp_crypto_equal(decoded, t->decoded, 32);
    }
    return found != 0;
}

/* ---- the request ---- */

/* False: not "Bearer <token>". */
static bool bearer(struct mp_str value, struct mp_str *ret)
{
    if (value.n < 7 || !mp_str_ieq(mp_str(value.p, 7), MP_STR("bearer "))) {
        return false;
    }
    *ret = mp_str_trim(mp_str(value.p + 7, value.n - 7));
    return ret->n > 0;
}

enum mp_guest_verdict mp_auth_on_request(const struct mp_auth *a, struct mp_guest *g)
{
    const struct mp_stat_block *st = mp_guest_stats(g, &schema, MP_STR(""));
    struct mp_str value, token, values = {NULL, 0};
    mp_stat_inc(st, ST_REQUESTS);
    mp_guest_strip_fields(g, MP_GUEST_REQUEST, is_ours);
    mp_guest_mark(g, MP_GUEST_AUTH_RAN);
    if (mp_path_is_open(a->exempt, a->n_exempt, g)) {
        mp_stat_inc(st, ST_EXEMPT);
        mp_guest_mark(g, MP_GUEST_AUTH_EXEMPT);
        return MP_GUEST_CONTINUE;
    }
    if (!a->require_auth) {
        return MP_GUEST_CONTINUE;
    }
    unsigned n = mp_guest_field(g, MP_GUEST_REQUEST, MP_STR("authorization"), &value);
    if (n == 0) {
        return refuse(g, st, &missing, "auth_missing");
    }
    /* Of two the service might take the other one. */
    if (n > 1 || !bearer(value, &token)) {
        return refuse(g, st, &bad_format, "auth_format");
    }
    enum mp_jwt_status s = check_jwt(a, g, st, token, &values);
    if (s == MP_JWT_OK) {
        mp_stat_inc(st, ST_ALLOWED_JWT);
        return pass(a, g, MP_STR("jwt"), values);
    }
    if (is_listed(a, g, token)) {
        mp_stat_inc(st, ST_ALLOWED_BASE64);
        return pass(a, g, MP_STR("base64"), MP_STR(""));
    }
    return refuse(g, st, &bad_token, details_of(s));
}
