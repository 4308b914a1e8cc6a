/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Tokens and key sets. The first byte says what the rest is: a token as it stands under one of the
 * six algorithms (0 to 5); header and payload, parted by a NUL, that are encoded and signed with
 * the key (HMAC only: 6 to 8), so that the fuzzer gets past the signature; a key set (9 to 11).
 *
 * Whatever is accepted must be so for jansson too (which then reads the same algorithm and time),
 * and its signature must be the one that OpenSSL's HMAC makes.
 */
#include <jansson.h>
#include <math.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "filters/base64.h"
#include "filters/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define FUZZ_CHECK(c)                                                              \
    do {                                                                           \
        if (!(c)) {                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #c); \
            abort();                                                               \
        }                                                                          \
    } while (0)

#define NOW    1700000000
#define SECRET "the secret of the fuzzer, which is of no use to anybody"

static const char rsa_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                              "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEApKM5BFYEm+W4sbep/pbu\n"
                              "wsCUOsISNPmLYt65BTwsWCFazNQClPTRg29S70lVU+AG/KbnDb1iojUf7pU7mHfG\n"
                              "Q89Ltoe3lB31wNjdhpjDNwBostP55AKh0it0f7ADeeUgCURK0KWXc0+f/b0gYA3+\n"
                              "YxX/Cp9KBwaNIeIu8lSNkadxcOb7DLsyTJ0vU/5pDqQCUky9I0/bwNVusOsPSAW/\n"
                              "gw6IxhZAIVrMbRgK7xPTl9Z5PXm0qcvfRetRMeqsQyYCab/x7tF13GDImMinjWm4\n"
                              "dVjT5EWHqPVZ7BrOuDD2x1UcRpytVqNxI3QRqsm1BlO9XZ5jZwf190LeTQjH4Yul\n"
                              "IwIDAQAB\n"
                              "-----END PUBLIC KEY-----\n";
static const char ec_pem[2][300] = {
    "-----BEGIN PUBLIC KEY-----\n"
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEj6P+wVu5HlFFs7UfRvJ3BuOvKvif\n"
    "02WVMCxOf+5sYIz2ToaDg9HgSblbgPnvN2Bu3MvZpEYmS4mw9b3cx7Fw7w==\n"
    "-----END PUBLIC KEY-----\n",
    "-----BEGIN PUBLIC KEY-----\n"
    "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEabnCAAxGnxd4rla7qM4ZS3Fkny6QgVBY\n"
    "XJigVsZLDeDXfczunErLdkDwFTshS8TpvEp2QTxqRxQdokfhCfmT3q6J48uUWpHD\n"
    "hN8hV5UcaOsFM1kRxdkXA+KqoMOIFaeJ\n"
    "-----END PUBLIC KEY-----\n"};

/* Made once. */
static struct mp_jwt_policy *policy_of(enum mp_jwt_alg alg)
{
    static struct mp_jwt_policy policies[6];
    static struct mp_jwt_key keys[6];
    struct mp_jwt_policy *p = &policies[alg];
    if (p->n_keys == 0) {
        const char *cause = NULL,
                   *pem = alg == MP_JWT_RS256 ? rsa_pem : ec_pem[alg == MP_JWT_ES384];
        keys[alg].valid_until_s = INT64_MAX;
        if (mp_jwt_alg_is_hmac(alg)) {
            mp_hmac_key_init(&keys[alg].hmac, mp_jwt_hash(alg), MP_STR(SECRET));
        } else {
            keys[alg].pub = mp_pubkey_from_pem(mp_jwt_sig(alg), mp_str_c(pem), &cause);
            FUZZ_CHECK(keys[alg].pub != NULL);
        }
        *p = (struct mp_jwt_policy){.alg = alg, .keys = &keys[alg], .n_keys = 1};
    }
    return p;
}

static size_t encode(struct mp_str in, char *out)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t k = 0;
    for (size_t bit = 0; bit < in.n * 8; bit += 6) {
        size_t i = bit / 8;
        unsigned v = (unsigned)(uint8_t)in.p[i] << 8 | (i + 1 < in.n ? (uint8_t)in.p[i + 1] : 0u);
        out[k++] = letters[v >> (10 - bit % 8) & 63];
    }
    return k;
}

static size_t hmac(enum mp_jwt_alg alg, struct mp_str text, uint8_t *out)
{
    const EVP_MD *md = alg == MP_JWT_HS256   ? EVP_sha256()
                       : alg == MP_JWT_HS384 ? EVP_sha384()
                                             : EVP_sha512();
    unsigned n = 0;
    FUZZ_CHECK(HMAC(md, SECRET, sizeof(SECRET) - 1, (const uint8_t *)text.p, text.n, out, &n) !=
               NULL);
    return n;
}

/* A part of an accepted token as jansson reads it. */
static json_t *read_part(struct mp_str part)
{
    uint8_t *text = malloc(MP_BASE64_ROOM(part.n));
    size_t n;
    json_error_t err;
    FUZZ_CHECK(text != NULL);
    FUZZ_CHECK(mp_base64url_decode(part, text, &n));
    json_t *j = json_loadb((const char *)text, n, JSON_REJECT_DUPLICATES, &err);
    if (j == NULL && json_error_code(&err) == json_error_numeric_overflow) {
        j = json_null(); /* a number that is out of jansson's range stands somewhere */
    }
    free(text);
    FUZZ_CHECK(j != NULL);
    return j;
}

static void check_accepted(enum mp_jwt_alg alg, struct mp_str token, const struct mp_jwt *jwt)
{
    static const char *const names[] = {"HS256", "HS384", "HS512", "RS256", "ES256", "ES384"};
    struct mp_str rest = token, part[3];
    for (int i = 0; i < 3; i++) {
        FUZZ_CHECK(mp_str_split(&rest, '.', &part[i]));
    }
    FUZZ_CHECK(rest.p == NULL);
    json_t *header = read_part(part[0]), *claims = read_part(part[1]);
    const char *name = json_string_value(json_object_get(header, "alg"));
    FUZZ_CHECK(json_is_null(header) || (name != NULL && strcmp(name, names[alg]) == 0));
    FUZZ_CHECK(json_object_get(header, "crit") == NULL);
    if (!json_is_null(claims)) {
        double exp = json_number_value(json_object_get(claims, "exp"));
        FUZZ_CHECK(json_is_number(json_object_get(claims, "exp")));
        FUZZ_CHECK(fabs(exp - jwt->exp) <= fabs(exp) * 1e-12);
    }
    FUZZ_CHECK(jwt->exp + MP_JWT_LEEWAY_S >= NOW);
    if (mp_jwt_alg_is_hmac(alg)) {
        uint8_t mac[EVP_MAX_MD_SIZE];
        char text[2 * EVP_MAX_MD_SIZE];
        size_t n = hmac(alg, mp_str(token.p, part[0].n + 1 + part[1].n), mac);
        FUZZ_CHECK(mp_str_eq(mp_str(text, encode(mp_str((const char *)mac, n), text)), part[2]));
    }
    json_decref(header);
    json_decref(claims);
}

static void check_token(enum mp_jwt_alg alg, struct mp_str in)
{
    char *token = malloc(in.n + 1);
    uint8_t *room = malloc(MP_JWT_ROOM(MP_MIN(in.n, (size_t)MP_JWT_TOKEN_MAX)));
    static struct mp_jwt jwt;
    FUZZ_CHECK(token != NULL && room != NULL);
    memcpy(token, in.p, in.n);
    enum mp_jwt_status s = mp_jwt_verify(policy_of(alg), mp_str(token, in.n), NOW, room, &jwt);
    FUZZ_CHECK(s < MP_JWT_STATUS_COUNT);
    if (s == MP_JWT_OK) {
        check_accepted(alg, mp_str(token, in.n), &jwt);
    }
    free(token);
    free(room);
}

static void check_signed(enum mp_jwt_alg alg, struct mp_str in)
{
    struct mp_str header, rest = in;
    uint8_t mac[EVP_MAX_MD_SIZE];
    char *token = malloc(2 * in.n + 256);
    FUZZ_CHECK(token != NULL);
    FUZZ_CHECK(mp_str_split(&rest, '\0', &header));
    size_t n = encode(header, token);
    token[n++] = '.';
    n += encode(rest, token + n);
    size_t mac_n = hmac(alg, mp_str(token, n), mac);
    token[n++] = '.';
    n += encode(mp_str((const char *)mac, mac_n), token + n);
    check_token(alg, mp_str(token, n));
    free(token);
}

static struct mp_str dup(void *arg, struct mp_str s)
{
    return mp_arena_dup(arg, s);
}

static void check_set(enum mp_jwt_alg alg, struct mp_str in)
{
    static struct mp_jwt_key keys[MP_JWT_KEYS_MAX];
    struct mp_arena arena;
    uint32_t n = 0, index;
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 4096, 1 << 24);
    const char *cause = mp_jwks_read(alg, in, keys, &n, dup, &arena, &index);
    FUZZ_CHECK(n <= MP_JWT_KEYS_MAX);
    FUZZ_CHECK(cause != NULL || n > 0);
    for (uint32_t i = 0; i < n; i++) {
        FUZZ_CHECK(!mp_pubkey_verify(keys[i].pub, MP_STR("text"), MP_STR("no signature")));
        mp_pubkey_free(keys[i].pub);
    }
    mp_arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0) {
        return 0;
    }
    struct mp_str rest = mp_str((const char *)data + 1, n - 1);
    unsigned kind = data[0] % 12;
    if (kind < 6) {
        check_token((enum mp_jwt_alg)kind, rest);
    } else if (kind < 9) {
        check_signed((enum mp_jwt_alg)(kind - 6), rest);
    } else {
        check_set((enum mp_jwt_alg)(kind - 9 + MP_JWT_RS256), rest);
    }
    return 0;
}
