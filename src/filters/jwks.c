/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* JSON web key sets (RFC 7517), from the configuration. */
#include <stdlib.h>

#include "base/mem.h"
#include "filters/base64.h"
#include "filters/jwt.h"

#define NODES_MAX  4096
#define NUMBER_MAX (MP_RSA_BITS_MAX / 8 + 1)

struct set {
    enum mp_jwt_alg alg;
    struct mp_json j;
    struct mp_jwt_key *keys;
    uint32_t *n_keys;
    struct mp_str (*dup)(void *arg, struct mp_str s);
    void *arg;
};

static const struct mp_json_node *get(const struct set *s, const struct mp_json_node *key,
                                      const char *name)
{
    return mp_json_member(&s->j, key, mp_str_c(name));
}

static bool is(const struct set *s, const struct mp_json_node *key, const char *name,
               const char *text)
{
    const struct mp_json_node *v = get(s, key, name);
    return v && mp_json_equals(&s->j, v, mp_str_c(text));
}

/* Absent, or what we look for. */
static bool allows(const struct set *s, const struct mp_json_node *key, const char *name,
                   const char *text)
{
    return !get(s, key, name) || is(s, key, name, text);
}

/* For verifying, and for our algorithm? Others are not refused: a set serves many purposes. */
static bool is_ours(const struct set *s, const struct mp_json_node *key)
{
    static const char *const names[] = {"HS256", "HS384", "HS512", "RS256", "ES256", "ES384"};
    bool rsa = s->alg == MP_JWT_RS256;
    const struct mp_json_node *ops = get(s, key, "key_ops");
    bool verifies = !ops;
    if (mp_json_is(ops, MP_JSON_ARRAY)) {
        const struct mp_json_node *e = mp_json_first(&s->j, ops);
        for (; e; e = mp_json_after(&s->j, ops, e)) {
            verifies |= mp_json_equals(&s->j, e, MP_STR("verify"));
        }
    }
    return verifies && is(s, key, "kty", rsa ? "RSA" : "EC") && allows(s, key, "use", "sig") &&
           allows(s, key, "alg", names[s->alg]) &&
           (rsa || is(s, key, "crv", s->alg == MP_JWT_ES256 ? "P-256" : "P-384"));
}

/* A big-endian number in base64url. */
static bool number(const struct set *s, const struct mp_json_node *key, const char *name,
                   uint8_t *out, struct mp_str *ret)
{
    const struct mp_json_node *v = get(s, key, name);
    size_t n;
    if (!mp_json_is(v, MP_JSON_STRING) || v->escaped || MP_BASE64_ROOM(v->n) > NUMBER_MAX + 8 ||
        !mp_base64url_decode(mp_json_raw(&s->j, v), out, &n)) {
        return false;
    }
    *ret = mp_str((const char *)out, n);
    return true;
}

static const char *add_key(struct set *s, const struct mp_json_node *key)
{
    static const char malformed[] = "a number of the key is missing or not base64url";
    uint8_t a[NUMBER_MAX + 16], b[NUMBER_MAX + 16];
    struct mp_str x, y;
    const char *cause = NULL;
    struct mp_jwt_key *k = &s->keys[*s->n_keys];
    bool rsa = s->alg == MP_JWT_RS256;
    if (*s->n_keys == MP_JWT_KEYS_MAX) {
        return "more than 32 usable keys";
    }
    if (!number(s, key, rsa ? "n" : "x", a, &x) || !number(s, key, rsa ? "e" : "y", b, &y)) {
        return malformed;
    }
    *k = (struct mp_jwt_key){.valid_until_s = INT64_MAX};
    k->pub = rsa ? mp_pubkey_from_rsa(mp_jwt_sig(s->alg), x, y, &cause)
                 : mp_pubkey_from_ec(mp_jwt_sig(s->alg), x, y, &cause);
    if (!k->pub) {
        return cause;
    }
    ++*s->n_keys;
    const struct mp_json_node *kid = get(s, key, "kid");
    if (mp_json_is(kid, MP_JSON_STRING)) {
        char *text = mp_xmalloc(kid->n + 1);
        size_t n = mp_json_unescape(&s->j, kid, text);
        k->kid = s->dup(s->arg, mp_str(text, n));
        free(text);
    }
    return NULL;
}

static const char *read_keys(struct set *s, const struct mp_json_node *list, uint32_t *ret_index)
{
    static const char *const private_parts[] = {"d", "p", "q", "dp", "dq", "qi", "k"};
    uint32_t before = *s->n_keys, index = 0;
    const struct mp_json_node *key = mp_json_first(&s->j, list);
    for (; key; key = mp_json_after(&s->j, list, key), index++) {
        *ret_index = index;
        if (!mp_json_is(key, MP_JSON_OBJECT)) {
            return "not an object";
        }
        for (size_t i = 0; i < MP_COUNTOF(private_parts); i++) {
            if (get(s, key, private_parts[i])) {
                return "a secret or private key does not belong here: give public keys only";
            }
        }
        const char *cause = is_ours(s, key) ? add_key(s, key) : NULL;
        if (cause) {
            return cause;
        }
    }
    *ret_index = UINT32_MAX;
    return *s->n_keys > before ? NULL : "no key in it can verify this algorithm";
}

const char *mp_jwks_read(enum mp_jwt_alg alg, struct mp_str text, struct mp_jwt_key *keys,
                         uint32_t *n_keys, struct mp_str (*dup)(void *arg, struct mp_str s),
                         void *arg, uint32_t *ret_index)
{
    struct set s = {.alg = alg, .keys = keys, .n_keys = n_keys, .dup = dup, .arg = arg};
    struct mp_json_node *nodes = mp_xcalloc(NODES_MAX, sizeof(*nodes));
    const char *cause = "not a JSON web key set: {\"keys\": [...]}";
    *ret_index = UINT32_MAX;
    if (mp_json_parse(text, nodes, NODES_MAX, &s.j) && mp_json_is(nodes, MP_JSON_OBJECT)) {
        const struct mp_json_node *list = get(&s, nodes, "keys");
        if (mp_json_is(list, MP_JSON_ARRAY)) {
            cause = read_keys(&s, list, ret_index);
        }
    }
    free(nodes);
    return cause;
}
