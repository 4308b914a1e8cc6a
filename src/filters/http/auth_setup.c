/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Checks the configuration of the auth filter. Errors name fields, never what is in secret ones. */
#include <inttypes.h>
#include <stdio.h>

#include "base/compiler.h"
#include "filters/base64.h"
#include "filters/http/auth.h"

#define QUOTE_MAX 100
#define QUOTE(s)  (int)MP_MIN((s).n, (size_t)QUOTE_MAX), (s).p ? (s).p : ""

#define VARIABLES "variables are replaced in simple files only"

struct setup {
    const struct mp_auth_settings *in;
    struct mp_guest_setup *s;
    struct mp_auth *a;
};

static bool too_many(struct mp_guest_setup *s, const char *field, size_t n, size_t max)
{
    if (n > max) {
        mp_guest_refuse(s, field, NULL, "%zu entries: at most %zu are allowed", n, max);
    }
    return n > max;
}

/* ---- keys ---- */

static void free_keys(void *arg)
{
    struct mp_auth *a = arg;
    for (uint32_t i = 0; i < a->jwt.n_keys; i++) {
        mp_pubkey_free(a->jwt.keys[i].pub);
    }
    mp_crypto_wipe(a->jwt.keys, MP_JWT_KEYS_MAX * sizeof(*a->jwt.keys));
}

/* "${NAME}": in an Envoy bootstrap that is a text like any other, and one that is easy to guess. */
static bool is_variable(struct mp_str s)
{
    if (s.n < 4 || !mp_str_starts(s, MP_STR("${")) || s.p[s.n - 1] != '}') {
        return false;
    }
    for (size_t i = 2; i + 1 < s.n; i++) {
        char c = s.p[i];
        if (c != '_' && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') &&
            !(c >= '0' && c <= '9')) {
            return false;
        }
    }
    return true;
}

static void add_secret(struct setup *b, const char *field, struct mp_str secret, int64_t until_s)
{
    enum mp_crypto_hash hash = mp_jwt_hash(b->a->jwt.alg);
    if (mp_str_find(secret, MP_STR("-----BEGIN ")) >= 0) {
        /* Whoever has the public key, and that is everybody, could sign with it. */
        mp_guest_refuse(b->s, field, "use jwt_public_key, and set jwt_algorithm to RS256 or ES256",
                        "the text of a key or certificate is no secret");
        return;
    }
    if (is_variable(secret)) {
        mp_guest_refuse(b->s, field, VARIABLES, "the secret is the name of a variable");
        return;
    }
    struct mp_jwt_key *k = &b->a->jwt.keys[b->a->jwt.n_keys++];
    size_t wanted = mp_crypto_hash_size(hash);
    k->valid_until_s = until_s;
    mp_hmac_key_init(&k->hmac, hash, secret);
    if (secret.n < wanted) {
        mp_guest_warn(b->s, field, "make one with: openssl rand -base64 48",
                      "the secret has %zu bytes; a safe one has %zu or more", secret.n, wanted);
    }
}

static void add_previous(struct setup *b)
{
    const struct mp_auth_settings *in = b->in;
    if (too_many(b->s, "jwt_secrets_previous", in->n_previous, MP_AUTH_PREVIOUS_MAX)) {
        return;
    }
    for (size_t i = 0; i < in->n_previous; i++) {
        const struct mp_auth_previous *p = &in->previous[i];
        char field[64];
        snprintf(field, sizeof(field), "jwt_secrets_previous[%zu]", i);
        if (!p->has_valid_until) {
            mp_guest_refuse(b->s, field, "add valid_until: \"2030-01-01T00:00:00Z\"",
                            "valid_until is missing");
        }
        if (p->secret.n == 0) {
            mp_guest_refuse(b->s, field, NULL, "secret is missing");
            continue;
        }
        add_secret(b, field, p->secret, p->valid_until_s);
    }
}

static struct mp_str dup_kid(void *arg, struct mp_str s)
{
    return mp_guest_setup_dup(arg, s);
}

static void add_public(struct setup *b)
{
    const struct mp_auth_settings *in = b->in;
    struct mp_jwt_policy *p = &b->a->jwt;
    const char *cause = NULL;
    if (in->jwt_public_key.n > 0 && in->jwt_jwks.n > 0) {
        mp_guest_refuse(b->s, "jwt_jwks", "keep one of the two",
                        "jwt_public_key and jwt_jwks cannot be combined");
        return;
    }
    if (in->jwt_public_key.n > 0) {
        struct mp_jwt_key *k = &p->keys[0];
        k->valid_until_s = INT64_MAX;
        k->pub = mp_pubkey_from_pem(mp_jwt_sig(p->alg), in->jwt_public_key, &cause);
        if (!k->pub) {
            mp_guest_refuse(b->s, "jwt_public_key", NULL, "%s", cause);
            return;
        }
        p->n_keys = 1;
    } else if (in->jwt_jwks.n > 0) {
        uint32_t index;
        char field[64] = "jwt_jwks";
        cause = mp_jwks_read(p->alg, in->jwt_jwks, p->keys, &p->n_keys, dup_kid, b->s, &index);
        if (cause && index != UINT32_MAX) {
            snprintf(field, sizeof(field), "jwt_jwks.keys[%" PRIu32 "]", index);
        }
        if (cause) {
            mp_guest_refuse(b->s, field, NULL, "%s", cause);
        }
    }
}

static void set_keys(struct setup *b)
{
    const struct mp_auth_settings *in = b->in;
    struct mp_jwt_policy *p = &b->a->jwt;
    if (in->jwt_algorithm.n > 0 && !mp_jwt_alg_parse(in->jwt_algorithm, &p->alg)) {
        mp_guest_refuse(b->s, "jwt_algorithm", "use one of " MP_JWT_ALGS,
                        "algorithm \"%.*s\" is not supported", QUOTE(in->jwt_algorithm));
        return;
    }
    p->keys = mp_guest_setup_alloc(b->s, MP_JWT_KEYS_MAX * sizeof(*p->keys));
    mp_guest_setup_on_end(b->s, free_keys, b->a);
    bool hmac = mp_jwt_alg_is_hmac(p->alg);
    if (!hmac && (in->jwt_secret.n > 0 || in->n_previous > 0)) {
        mp_guest_refuse(b->s, in->jwt_secret.n > 0 ? "jwt_secret" : "jwt_secrets_previous",
                        "use jwt_public_key or jwt_jwks",
                        "secrets are for HS256, HS384 and HS512, not for %.*s",
                        QUOTE(in->jwt_algorithm));
        return;
    }
    if (hmac && (in->jwt_public_key.n > 0 || in->jwt_jwks.n > 0)) {
        mp_guest_refuse(b->s, in->jwt_public_key.n > 0 ? "jwt_public_key" : "jwt_jwks",
                        "set jwt_algorithm to RS256, ES256 or ES384",
                        "public keys are not for HS256, HS384 and HS512");
        return;
    }
    if (!hmac) {
        add_public(b);
        return;
    }
    if (in->jwt_secret.n > 0) {
        add_secret(b, "jwt_secret", in->jwt_secret, INT64_MAX);
    } else if (in->n_previous > 0) {
        mp_guest_refuse(b->s, "jwt_secrets_previous", "set jwt_secret",
                        "there is no secret that came after them");
        return;
    }
    add_previous(b);
}

/* ---- what a token must say, and what is told to the service ---- */

static struct mp_str *copy_list(struct setup *b, const char *field, const struct mp_str *list,
                                size_t n, uint32_t *ret_n)
{
    if (too_many(b->s, field, n, MP_AUTH_LIST_MAX)) {
        return NULL;
    }
    struct mp_str *copy = mp_guest_setup_alloc(b->s, n * sizeof(*copy));
    for (size_t i = 0; i < n; i++) {
        if (list[i].n == 0) {
            char sub[64];
            snprintf(sub, sizeof(sub), "%s[%zu]", field, i);
            mp_guest_refuse(b->s, sub, NULL, "the text is empty");
        }
        copy[i] = mp_guest_setup_dup(b->s, list[i]);
    }
    *ret_n = (uint32_t)n;
    return copy;
}

static void set_rules(struct setup *b)
{
    const struct mp_auth_settings *in = b->in;
    struct mp_jwt_policy *p = &b->a->jwt;
    p->issuers = copy_list(b, "jwt_issuers", in->issuers, in->n_issuers, &p->n_issuers);
    p->audiences = copy_list(b, "jwt_audiences", in->audiences, in->n_audiences, &p->n_audiences);
    if (too_many(b->s, "jwt_required_claims", in->n_required_claims, MP_AUTH_LIST_MAX)) {
        return;
    }
    p->required = mp_guest_setup_alloc(b->s, in->n_required_claims * sizeof(*p->required));
    for (size_t i = 0; i < in->n_required_claims; i++) {
        if (in->required_claims[i].name.n == 0) {
            mp_guest_refuse(b->s, "jwt_required_claims", NULL, "a claim has no name");
        }
        p->required[i].name = mp_guest_setup_dup(b->s, in->required_claims[i].name);
        p->required[i].value = mp_guest_setup_dup(b->s, in->required_claims[i].value);
    }
    p->n_required = (uint32_t)in->n_required_claims;
}

/* Lower case, x-auth- and a token. */
static bool header_ok(struct mp_str h)
{
    if (!mp_str_starts(h, MP_STR("x-auth-")) || h.n == 7 || h.n > 64) {
        return false;
    }
    for (size_t i = 7; i < h.n; i++) {
        char c = h.p[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-') {
            return false;
        }
    }
    return true;
}

static void set_claims(struct setup *b)
{
    const struct mp_auth_settings *in = b->in;
    struct mp_auth *a = b->a;
    a->claims[a->n_claims++] = (struct mp_auth_claim){MP_STR("sub"), MP_STR("x-auth-subject")};
    if (too_many(b->s, "jwt_claim_headers", in->n_claim_headers, MP_AUTH_CLAIMS_MAX)) {
        return;
    }
    for (size_t i = 0; i < in->n_claim_headers; i++) {
        const struct mp_auth_pair *p = &in->claim_headers[i];
        char field[QUOTE_MAX + 40];
        snprintf(field, sizeof(field), "jwt_claim_headers[\"%.*s\"]", QUOTE(p->name));
        bool taken = mp_str_eq(p->value, MP_STR("x-auth-method"));
        for (uint32_t k = 0; k < a->n_claims; k++) {
            taken |= mp_str_eq(p->value, a->claims[k].header);
        }
        if (p->name.n == 0 || !header_ok(p->value)) {
            mp_guest_refuse(b->s, field, "use a lower-case name such as x-auth-email",
                            "a claim is told in a header that begins with x-auth-");
        } else if (taken) {
            mp_guest_refuse(b->s, field, "use another name", "header %.*s is taken",
                            QUOTE(p->value));
        } else {
            a->claims[a->n_claims++] = (struct mp_auth_claim){mp_guest_setup_dup(b->s, p->name),
                                                              mp_guest_setup_dup(b->s, p->value)};
        }
    }
}

/* ---- the rest ---- */

static void set_tokens(struct setup *b)
{
    const struct mp_auth_settings *in = b->in;
    struct mp_auth *a = b->a;
    if (too_many(b->s, "base64_tokens", in->n_base64_tokens, MP_AUTH_TOKENS_MAX)) {
        return;
    }
    a->tokens = mp_guest_setup_alloc(b->s, in->n_base64_tokens * sizeof(*a->tokens));
    for (size_t i = 0; i < in->n_base64_tokens; i++) {
        struct mp_str t = in->base64_tokens[i];
        if (t.n == 0) {
            continue; /* an empty setting must not open the door */
        }
        char field[64];
        snprintf(field, sizeof(field), "base64_tokens[%zu]", i);
        if (t.n > MP_JWT_TOKEN_MAX) {
            mp_guest_refuse(b->s, field, NULL, "the token is longer than %d bytes",
                            MP_JWT_TOKEN_MAX);
            continue;
        }
        if (is_variable(t)) {
            mp_guest_refuse(b->s, field, VARIABLES, "the token is the name of a variable");
            continue;
        }
        struct mp_auth_token *to = &a->tokens[a->n_tokens++];
        uint8_t decoded[MP_BASE64_ROOM(MP_JWT_TOKEN_MAX)];
        size_t n;
        mp_crypto_sha256(t, to->literal);
        if (mp_base64_decode(t, decoded, &n) && n > 0) {
            mp_crypto_sha256(mp_str((const char *)decoded, n), to->decoded);
            to->has_decoded = true;
            mp_crypto_wipe(decoded, n);
        }
    }
}

static void set_cache(struct setup *b)
{
    const struct mp_auth_settings *in = b->in;
    struct mp_auth *a = b->a;
    if (in->cache_ttl_ns > MP_AUTH_CACHE_TTL_S_MAX * 1000000000ull) {
        mp_guest_refuse(b->s, "jwt_cache_ttl", "use 0s to 300s",
                        "a token may not be remembered that long");
    }
    if (in->cache_entries > MP_AUTH_CACHE_MAX) {
        mp_guest_refuse(b->s, "jwt_cache_entries", "use 0 to 65536", "%" PRIu32 " are too many",
                        in->cache_entries);
    }
    if (mp_guest_refused(b->s) || in->cache_ttl_ns == 0 || a->jwt.n_keys == 0) {
        return;
    }
    a->cache_ttl_ns = in->cache_ttl_ns;
    a->cache_sets = (in->cache_entries + 3) / 4;
    if (a->cache_sets > 0) {
        a->caches = mp_auth_cache_new(b->s, a->cache_sets);
    }
}

struct mp_auth *mp_auth_setup(const struct mp_auth_settings *in, struct mp_guest_setup *s)
{
    struct mp_auth *a = mp_guest_setup_alloc(s, sizeof(*a));
    struct setup b = {.in = in, .s = s, .a = a};
    a->require_auth = in->require_auth;
    set_keys(&b);
    set_rules(&b);
    set_claims(&b);
    set_tokens(&b);
    a->exempt = mp_path_rules_setup(s, "exempt_paths", in->exempt_paths, in->n_exempt_paths,
                                    in->has_exempt_paths, &a->n_exempt);
    set_cache(&b);
    if (mp_guest_refused(s)) {
        return NULL;
    }
    if (a->require_auth && a->jwt.n_keys == 0 && a->n_tokens == 0) {
        mp_guest_warn(s, "require_auth", "set jwt_secret, a public key or base64_tokens",
                      "no token is valid: every request that is not exempt will be refused");
    }
    return a;
}
