/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* JSON web tokens in compact form (RFC 7519, 7515) under one configured algorithm.
 *
 * Order: the header is read, its alg compared with ours, the signature verified; only then is the
 * payload looked at. Nothing in a token chooses key or algorithm beyond kid among our own keys.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "filters/crypto.h"
#include "filters/json.h"

#define MP_JWT_TOKEN_MAX    8192 /* characters */
#define MP_JWT_KEYS_MAX     32
#define MP_JWT_HEADER_NODES 64
#define MP_JWT_CLAIM_NODES  256
#define MP_JWT_LEEWAY_S     60
/* Public keys that a token is tried with: one that is forged must not cost dozens of signatures. */
#define MP_JWT_TRIES_MAX 4

enum mp_jwt_alg {
    MP_JWT_HS256,
    MP_JWT_HS384,
    MP_JWT_HS512,
    MP_JWT_RS256,
    MP_JWT_ES256,
    MP_JWT_ES384
};
#define MP_JWT_ALGS "HS256, HS384, HS512, RS256, ES256, ES384"
bool mp_jwt_alg_parse(struct mp_str name, enum mp_jwt_alg *ret);
static inline bool mp_jwt_alg_is_hmac(enum mp_jwt_alg a)
{
    return a <= MP_JWT_HS512;
}
static inline enum mp_crypto_hash mp_jwt_hash(enum mp_jwt_alg a) /* of HS* */
{
    return (enum mp_crypto_hash)a;
}
static inline enum mp_crypto_sig mp_jwt_sig(enum mp_jwt_alg a) /* of the others */
{
    return (enum mp_crypto_sig)(a - MP_JWT_RS256);
}

struct mp_jwt_key {
    struct mp_str kid;       /* p NULL: none */
    int64_t valid_until_s;   /* INT64_MAX: without end */
    struct mp_hmac_key hmac; /* of HS* */
    struct mp_pubkey *pub;   /* of the others */
};

/* What a valid token is. Text is compared bytewise. */
struct mp_jwt_claim_rule {
    struct mp_str name, value; /* value empty: any */
};
struct mp_jwt_policy {
    enum mp_jwt_alg alg;
    struct mp_jwt_key *keys;
    uint32_t n_keys;
    struct mp_str *issuers, *audiences;
    uint32_t n_issuers, n_audiences;
    struct mp_jwt_claim_rule *required;
    uint32_t n_required;
};

/* clang-format never settles on a layout of this. */
/* clang-format off */
#define MP_JWT_STATUS(X)                                                                      \
    X(OK, "ok")                                                                               \
    X(TOO_LONG, "too_long")                                                                   \
    X(MALFORMED, "malformed")                                                                 \
    X(ALGORITHM, "algorithm")                                                                 \
    X(CRITICAL, "critical")                                                                   \
    X(NO_KEY, "no_key")                                                                       \
    X(SIGNATURE, "signature")                                                                 \
    X(CLAIMS, "claims") X(NO_EXPIRY, "no_expiry") X(EXPIRED, "expired") X(NOT_YET, "not_yet") \
        X(ISSUER, "issuer") X(AUDIENCE, "audience") X(REQUIRED_CLAIM, "required_claim")
/* clang-format on */
enum mp_jwt_status {
#define X(token, name) MP_JWT_##token,
    MP_JWT_STATUS(X)
#undef X
        MP_JWT_STATUS_COUNT
};
const char *mp_jwt_status_name(enum mp_jwt_status s);

/* A verified token. The claims point into room. */
struct mp_jwt {
    struct mp_json claims;
    struct mp_json_node nodes[MP_JWT_CLAIM_NODES];
    double exp;          /* seconds */
    int64_t key_until_s; /* until when the key that verified it counts */
};
/* Bytes of room that a token of n characters needs. */
#define MP_JWT_ROOM(n) ((n) / 4 * 3 + 16)
/* Has the two dots of a JWT: anything else need not be looked at. */
bool mp_jwt_looks_like(struct mp_str token);
enum mp_jwt_status mp_jwt_verify(const struct mp_jwt_policy *p, struct mp_str token, int64_t now_s,
                                 uint8_t *room, struct mp_jwt *ret);

/* Control code. Adds the usable keys of a JSON web key set (RFC 7517) to keys[0..MP_JWT_KEYS_MAX);
 * kid is copied with dup. NULL on success; else the cause, *ret_index the key or UINT32_MAX. */
const char *mp_jwks_read(enum mp_jwt_alg alg, struct mp_str text, struct mp_jwt_key *keys,
                         uint32_t *n_keys, struct mp_str (*dup)(void *arg, struct mp_str s),
                         void *arg, uint32_t *ret_index);
