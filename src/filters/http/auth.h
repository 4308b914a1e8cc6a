/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The auth filter: who may pass. auth_logic.c decides, auth_setup.c checks the configuration,
 * auth_cache.c remembers tokens, auth.c ties them to the program.
 *
 * A request passes when its path is exempt, or when it carries "Authorization: Bearer <token>" with
 * a valid JSON web token or one of the listed tokens. Fields that begin with x-auth- come from here
 * alone: a client's are removed from every request.
 */
#pragma once
#include "filters/guest.h"
#include "filters/jwt.h"
#include "filters/path.h"

/* ---- configuration as it was written ---- */

struct mp_auth_previous {
    struct mp_str secret;
    int64_t valid_until_s;
    bool has_valid_until;
};
struct mp_auth_pair {
    struct mp_str name, value;
};
struct mp_auth_settings {
    struct mp_str jwt_secret, jwt_algorithm, jwt_public_key, jwt_jwks;
    bool require_auth;
    const struct mp_str *base64_tokens, *exempt_paths, *issuers, *audiences;
    size_t n_base64_tokens, n_exempt_paths, n_issuers, n_audiences;
    bool has_exempt_paths; /* false: the default list */
    const struct mp_auth_previous *previous;
    size_t n_previous;
    const struct mp_auth_pair *required_claims, *claim_headers;
    size_t n_required_claims, n_claim_headers;
    uint64_t cache_ttl_ns;
    uint32_t cache_entries;
};
#define MP_AUTH_CACHE_TTL_NS    60000000000ull
#define MP_AUTH_CACHE_TTL_S_MAX 300
#define MP_AUTH_CACHE_ENTRIES   1024
#define MP_AUTH_CACHE_MAX       65536
#define MP_AUTH_PREVIOUS_MAX    8
#define MP_AUTH_TOKENS_MAX      1024
#define MP_AUTH_LIST_MAX        256
#define MP_AUTH_CLAIMS_MAX      8

/* ---- configuration as it is used ---- */

/* Listed tokens are kept as digests: what is compared is not the secret. */
struct mp_auth_token {
    uint8_t literal[32], decoded[32];
    bool has_decoded;
};
struct mp_auth_claim {
    struct mp_str claim, header;
};
struct mp_auth {
    bool require_auth;
    struct mp_jwt_policy jwt;
    struct mp_auth_token *tokens;
    struct mp_path_rule *exempt;
    /* Claims that the service is told; the first is sub. */
    struct mp_auth_claim claims[1 + MP_AUTH_CLAIMS_MAX];
    uint32_t n_tokens, n_exempt, n_claims;
    uint64_t cache_ttl_ns;
    uint32_t cache_sets; /* of 4 entries; 0: no cache */
    struct mp_guest_locals *caches;
};
/* NULL: refused. */
struct mp_auth *mp_auth_setup(const struct mp_auth_settings *in, struct mp_guest_setup *s);

enum mp_guest_verdict mp_auth_on_request(const struct mp_auth *a, struct mp_guest *g);
/* Where the filter is disabled: nothing is asked for, but nobody else may speak in its name. */
void mp_auth_on_disabled(struct mp_guest *g);
void mp_auth_on_trailers(struct mp_guest *g);
/* in_use: some listener has the filter. */
void mp_auth_on_published(struct mp_guest_host *h, bool in_use);

/* ---- verified tokens of one thread (auth_cache.c) ---- */

/* Bytes of an entry; a token that does not fit with its claims is not remembered. */
#define MP_AUTH_SLOT      1024
#define MP_AUTH_SLOT_TEXT (MP_AUTH_SLOT - 32)
struct mp_auth_slot {
    uint64_t hash;
    uint64_t until_ns; /* monotonic; 0: free */
    int64_t until_s;   /* wall clock: exp or the end of the key; from then on it is forgotten */
    uint32_t token_n, values_n;
    char text[MP_AUTH_SLOT_TEXT]; /* the token, then the claims' values */
};
_Static_assert(sizeof(struct mp_auth_slot) == MP_AUTH_SLOT, "slots fill whole cache lines");

/* Where the time is now. */
struct mp_auth_now {
    uint64_t mono_ns;
    int64_t wall_s;
};
/* The claims' values as mp_auth_cache_put was given them; p NULL: the token is not there. */
struct mp_str mp_auth_cache_get(const struct mp_auth *a, const struct mp_guest *g,
                                struct mp_str token, struct mp_auth_now now);
void mp_auth_cache_put(const struct mp_auth *a, const struct mp_guest *g, struct mp_str token,
                       struct mp_auth_now now, int64_t until_s, struct mp_str values);
struct mp_guest_locals *mp_auth_cache_new(struct mp_guest_setup *s, uint32_t sets);
