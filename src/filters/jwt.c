/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "filters/jwt.h"

#include "filters/base64.h"

#define SIGNATURE_MAX (MP_RSA_BITS_MAX / 8)

/* The three parts as they stand, and the part that is signed. */
struct parts {
    struct mp_str header, payload, signature, signed_part;
};

bool mp_jwt_alg_parse(struct mp_str name, enum mp_jwt_alg *ret)
{
    static const char names[][6] = {"HS256", "HS384", "HS512", "RS256", "ES256", "ES384"};
    for (size_t i = 0; i < MP_COUNTOF(names); i++) {
        if (mp_str_eq(name, mp_str_c(names[i]))) {
            *ret = (enum mp_jwt_alg)i;
            return true;
        }
    }
    return false;
}

static struct mp_str alg_name(enum mp_jwt_alg alg)
{
    static const char names[] = "HS256HS384HS512RS256ES256ES384";
    return mp_str(names + 5 * (size_t)alg, 5);
}

const char *mp_jwt_status_name(enum mp_jwt_status s)
{
    static const char *const names[] = {
#define X(token, name) [MP_JWT_##token] = name,
        MP_JWT_STATUS(X)
#undef X
    };
    return (unsigned)s < MP_COUNTOF(names) ? names[s] : "?";
}

static bool split(struct mp_str token, struct parts *ret)
{
    ptrdiff_t one = mp_str_chr(token, '.', 0);
    ptrdiff_t two = one > 0 ? mp_str_chr(token, '.', (size_t)one + 1) : -1;
    if (two < 0 || mp_str_chr(token, '.', (size_t)two + 1) >= 0) {
        return false;
    }
    size_t a = (size_t)one, b = (size_t)two;
    ret->header = mp_str(token.p, a);
    ret->payload = mp_str(token.p + a + 1, b - a - 1);
    ret->signature = mp_str(token.p + b + 1, token.n - b - 1);
    ret->signed_part = mp_str(token.p, b);
    return ret->payload.n > 0 && ret->signature.n > 0;
}

bool mp_jwt_looks_like(struct mp_str token)
{
    struct parts parts;
    return split(token, &parts);
}

/* ---- header ---- */

static enum mp_jwt_status read_header(const struct mp_jwt_policy *p, struct mp_str text,
                                      uint8_t *room, struct mp_json *j,
                                      const struct mp_json_node **ret_kid)
{
    size_t n;
    if (!mp_base64url_decode(text, room, &n) ||
        !mp_json_parse(mp_str((const char *)room, n), j->nodes, MP_JWT_HEADER_NODES, j) ||
        !mp_json_is(j->nodes, MP_JSON_OBJECT)) {
        return MP_JWT_MALFORMED;
    }
    const struct mp_json_node *alg = mp_json_member(j, j->nodes, MP_STR("alg"));
    if (!alg || !mp_json_equals(j, alg, alg_name(p->alg))) {
        return MP_JWT_ALGORITHM;
    }
    /* Extensions that must be understood: we understand none. */
    if (mp_json_member(j, j->nodes, MP_STR("crit"))) {
        return MP_JWT_CRITICAL;
    }
    *ret_kid = mp_json_member(j, j->nodes, MP_STR("kid"));
    return *ret_kid && !mp_json_is(*ret_kid, MP_JSON_STRING) ? MP_JWT_MALFORMED : MP_JWT_OK;
}

/* ---- signature ---- */

static bool verify_one(const struct mp_jwt_policy *p, const struct mp_jwt_key *k,
                       struct mp_str text, struct mp_str signature)
{
    if (!mp_jwt_alg_is_hmac(p->alg)) {
        return mp_pubkey_verify(k->pub, text, signature);
    }
    uint8_t code[MP_HASH_MAX];
    size_t n = mp_crypto_hash_size(k->hmac.hash);
    if (signature.n != n) {
        return false;
    }
    mp_hmac(&k->hmac, text, code);
    bool same = mp_crypto_equal(code, signature.p, n);
    mp_crypto_wipe(code, sizeof(code)); /* it is what a forger is after */
    return same;
}

/* Of keys with names only those that the token means, when it says so. */
static bool may_verify(const struct mp_jwt_key *k, const struct mp_json *j,
                       const struct mp_json_node *kid)
{
    return !kid || !k->kid.p || mp_json_equals(j, kid, k->kid);
}

static enum mp_jwt_status check_signature(const struct mp_jwt_policy *p, const struct parts *parts,
                                          const struct mp_json *header,
                                          const struct mp_json_node *kid, int64_t now_s,
                                          int64_t *ret_until)
{
    uint8_t sig[MP_BASE64_ROOM(SIGNATURE_MAX / 3 * 4 + 4)] __attribute__((uninitialized));
    size_t n;
    enum mp_jwt_status status = MP_JWT_NO_KEY;
    unsigned tries = mp_jwt_alg_is_hmac(p->alg) ? UINT32_MAX : MP_JWT_TRIES_MAX;
    if (parts->signature.n > SIGNATURE_MAX / 3 * 4 + 4 ||
        !mp_base64url_decode(parts->signature, sig, &n)) {
        return MP_JWT_MALFORMED;
    }
    for (uint32_t i = 0; i < p->n_keys && tries > 0; i++) {
        const struct mp_jwt_key *k = &p->keys[i];
        if (now_s > k->valid_until_s || !may_verify(k, header, kid)) {
            continue;
        }
        if (verify_one(p, k, parts->signed_part, mp_str((const char *)sig, n))) {
            *ret_until = k->valid_until_s;
            return MP_JWT_OK;
        }
        status = MP_JWT_SIGNATURE;
        tries--;
    }
    return status;
}

/* ---- claims ---- */

/* A date in seconds; false: not a number or no date. */
static bool date(const struct mp_json *j, const struct mp_json_node *v, double *ret)
{
    if (!mp_json_is(v, MP_JSON_NUMBER)) {
        return false;
    }
    double d = mp_json_number(j, v);
    *ret = d;
    return d >= -9007199254740992.0 && d <= 9007199254740992.0;
}

static bool equals_any(const struct mp_json *j, const struct mp_json_node *v,
                       const struct mp_str *list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (mp_json_equals(j, v, list[i])) {
            return true;
        }
    }
    return false;
}

/* A string, or an array of nothing but strings. */
static bool audience_ok(const struct mp_jwt_policy *p, const struct mp_json *j,
                        const struct mp_json_node *v)
{
    bool found = false;
    if (!mp_json_is(v, MP_JSON_ARRAY)) {
        return v && equals_any(j, v, p->audiences, p->n_audiences);
    }
    for (const struct mp_json_node *e = mp_json_first(j, v); e; e = mp_json_after(j, v, e)) {
        if (!mp_json_is(e, MP_JSON_STRING)) {
            return false;
        }
        found |= equals_any(j, e, p->audiences, p->n_audiences);
    }
    return found;
}

static bool has_value(const struct mp_json *j, const struct mp_json_node *v, struct mp_str wanted)
{
    switch (v->kind) {
    case MP_JSON_STRING:
        return mp_json_equals(j, v, wanted);
    case MP_JSON_NUMBER:
    case MP_JSON_TRUE:
    case MP_JSON_FALSE:
        return mp_str_eq(mp_json_raw(j, v), wanted);
    default:
        return false;
    }
}

static bool rule_holds(const struct mp_json *j, const struct mp_jwt_claim_rule *r)
{
    const struct mp_json_node *v = mp_json_member(j, j->nodes, r->name);
    if (!v || v->kind == MP_JSON_NULL) {
        return false;
    }
    if (r->value.n == 0) {
        return true;
    }
    if (v->kind != MP_JSON_ARRAY) {
        return has_value(j, v, r->value);
    }
    for (const struct mp_json_node *e = mp_json_first(j, v); e; e = mp_json_after(j, v, e)) {
        if (has_value(j, e, r->value)) {
            return true;
        }
    }
    return false;
}

static enum mp_jwt_status check_times(const struct mp_json *j, int64_t now_s, double *ret_exp)
{
    const struct mp_json_node *exp = mp_json_member(j, j->nodes, MP_STR("exp"));
    const struct mp_json_node *nbf = mp_json_member(j, j->nodes, MP_STR("nbf"));
    double from;
    if (!exp) {
        return MP_JWT_NO_EXPIRY;
    }
    if (!date(j, exp, ret_exp) || (nbf && !date(j, nbf, &from))) {
        return MP_JWT_CLAIMS;
    }
    if ((double)now_s > *ret_exp + MP_JWT_LEEWAY_S) {
        return MP_JWT_EXPIRED;
    }
    if (nbf && (double)now_s < from - MP_JWT_LEEWAY_S) {
        return MP_JWT_NOT_YET;
    }
    return MP_JWT_OK;
}

static enum mp_jwt_status check_claims(const struct mp_jwt_policy *p, struct mp_str text,
                                       int64_t now_s, uint8_t *room, struct mp_jwt *ret)
{
    struct mp_json *j = &ret->claims;
    size_t n;
    if (!mp_base64url_decode(text, room, &n) ||
        !mp_json_parse(mp_str((const char *)room, n), ret->nodes, MP_JWT_CLAIM_NODES, j) ||
        !mp_json_is(j->nodes, MP_JSON_OBJECT)) {
        return MP_JWT_MALFORMED;
    }
    enum mp_jwt_status s = check_times(j, now_s, &ret->exp);
    if (s != MP_JWT_OK) {
        return s;
    }
    if (p->n_issuers > 0) {
        const struct mp_json_node *iss = mp_json_member(j, j->nodes, MP_STR("iss"));
        if (!iss || !equals_any(j, iss, p->issuers, p->n_issuers)) {
            return MP_JWT_ISSUER;
        }
    }
    if (p->n_audiences > 0 && !audience_ok(p, j, mp_json_member(j, j->nodes, MP_STR("aud")))) {
        return MP_JWT_AUDIENCE;
    }
    for (uint32_t i = 0; i < p->n_required; i++) {
        if (!rule_holds(j, &p->required[i])) {
            return MP_JWT_REQUIRED_CLAIM;
        }
    }
    return MP_JWT_OK;
}

enum mp_jwt_status mp_jwt_verify(const struct mp_jwt_policy *p, struct mp_str token, int64_t now_s,
                                 uint8_t *room, struct mp_jwt *ret)
{
    struct parts parts;
    const struct mp_json_node *kid = NULL;
    if (token.n > MP_JWT_TOKEN_MAX) {
        return MP_JWT_TOO_LONG;
    }
    if (!split(token, &parts)) {
        return MP_JWT_MALFORMED;
    }
    /* The header lends the room and the nodes of the claims, which come after it. */
    struct mp_json header = {.nodes = ret->nodes};
    enum mp_jwt_status s = read_header(p, parts.header, room, &header, &kid);
    if (s == MP_JWT_OK) {
        s = check_signature(p, &parts, &header, kid, now_s, &ret->key_until_s);
    }
    return s == MP_JWT_OK ? check_claims(p, parts.payload, now_s, room, ret) : s;
}
