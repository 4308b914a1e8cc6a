/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* filters/crypto.h over libcrypto.
 *
 * Hashes use the functions below EVP, though OpenSSL 3 would have programs leave them: EVP
 * allocates for each message and copy of a state, which costs more than hashing a token and has no
 * place on the request path. They are the same code underneath.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "filters/crypto.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"

_Static_assert(sizeof(SHA256_CTX) <= sizeof(((struct mp_hmac_key *)0)->inner), "state fits");
_Static_assert(sizeof(SHA512_CTX) <= sizeof(((struct mp_hmac_key *)0)->inner), "state fits");

#define BLOCK_MAX SHA512_CBLOCK
#define EC_MAX    48 /* bytes of a coordinate of P-384 */

struct mp_pubkey {
    EVP_PKEY *pkey;
    enum mp_crypto_sig sig;
    size_t size; /* of a signature */
};

/* ---- hashes ---- */

union state {
    SHA256_CTX s256;
    SHA512_CTX s512; /* SHA-384 too */
};

void mp_crypto_sha256(struct mp_str s, uint8_t out[32])
{
    SHA256_CTX c;
    SHA256_Init(&c);
    SHA256_Update(&c, s.p, s.n);
    SHA256_Final(out, &c);
}

static void begin(union state *c, enum mp_crypto_hash hash)
{
    switch (hash) {
    case MP_SHA256:
        SHA256_Init(&c->s256);
        return;
    case MP_SHA384:
        SHA384_Init(&c->s512);
        return;
    case MP_SHA512:
        SHA512_Init(&c->s512);
        return;
    }
}

static void add(union state *c, enum mp_crypto_hash hash, const void *p, size_t n)
{
    if (hash == MP_SHA256) {
        SHA256_Update(&c->s256, p, n);
    } else {
        SHA512_Update(&c->s512, p, n); /* SHA384_Update is the same */
    }
}

static void finish(union state *c, enum mp_crypto_hash hash, uint8_t *out)
{
    if (hash == MP_SHA256) {
        SHA256_Final(out, &c->s256);
    } else if (hash == MP_SHA384) {
        SHA384_Final(out, &c->s512);
    } else {
        SHA512_Final(out, &c->s512);
    }
}

void mp_hmac_key_init(struct mp_hmac_key *k, enum mp_crypto_hash hash, struct mp_str secret)
{
    uint8_t block[BLOCK_MAX] = {0}, pad[BLOCK_MAX];
    size_t block_n = hash == MP_SHA256 ? SHA256_CBLOCK : SHA512_CBLOCK;
    union state c;
    if (secret.n > block_n) {
        begin(&c, hash);
        add(&c, hash, secret.p, secret.n);
        finish(&c, hash, block);
    } else if (secret.n > 0) {
        memcpy(block, secret.p, secret.n);
    }
    k->hash = hash;
    for (int outer = 0; outer < 2; outer++) {
        for (size_t i = 0; i < block_n; i++) {
            pad[i] = block[i] ^ (outer ? 0x5c : 0x36);
        }
        begin(&c, hash);
        add(&c, hash, pad, block_n);
        memcpy(outer ? k->outer : k->inner, &c, sizeof(c));
    }
    mp_crypto_wipe(block, sizeof(block));
    mp_crypto_wipe(pad, sizeof(pad));
    mp_crypto_wipe(&c, sizeof(c));
}

void mp_hmac(const struct mp_hmac_key *k, struct mp_str s, uint8_t *out)
{
    union state c;
    memcpy(&c, k->inner, sizeof(c));
    add(&c, k->hash, s.p, s.n);
    finish(&c, k->hash, out);
    memcpy(&c, k->outer, sizeof(c));
    add(&c, k->hash, out, mp_crypto_hash_size(k->hash));
    finish(&c, k->hash, out);
    mp_crypto_wipe(&c, sizeof(c));
}

bool mp_crypto_equal(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

void mp_crypto_wipe(void *p, size_t n)
{
    explicit_bzero(p, n);
}

/* ---- public keys ---- */

static struct mp_pubkey *refuse(EVP_PKEY *pkey, const char *cause, const char **ret_cause)
{
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    *ret_cause = cause;
    return NULL;
}

static const char *curve_of(enum mp_crypto_sig sig)
{
    return sig == MP_SIG_ES256 ? "prime256v1" : "secp384r1";
}

static size_t coordinate_size(enum mp_crypto_sig sig)
{
    return sig == MP_SIG_ES256 ? 32 : 48;
}

/* Takes pkey. */
static struct mp_pubkey *accept(enum mp_crypto_sig sig, EVP_PKEY *pkey, const char **ret_cause)
{
    size_t size;
    if (sig == MP_SIG_RS256) {
        if (EVP_PKEY_get_base_id(pkey) != EVP_PKEY_RSA) {
            return refuse(pkey, "RS256 needs an RSA key", ret_cause);
        }
        int bits = EVP_PKEY_get_bits(pkey);
        if (bits < MP_RSA_BITS_MIN || bits > MP_RSA_BITS_MAX) {
            return refuse(pkey, "an RSA key must have 2048 to 8192 bits", ret_cause);
        }
        size = (size_t)EVP_PKEY_get_size(pkey);
    } else {
        char group[64] = "";
        size_t n;
        if (EVP_PKEY_get_base_id(pkey) != EVP_PKEY_EC ||
            EVP_PKEY_get_group_name(pkey, group, sizeof(group), &n) != 1 ||
            strcmp(group, curve_of(sig)) != 0) {
            return refuse(pkey,
                          sig == MP_SIG_ES256 ? "ES256 needs a key on the curve P-256"
                                              : "ES384 needs a key on the curve P-384",
                          ret_cause);
        }
        size = 2 * coordinate_size(sig);
    }
    EVP_PKEY_CTX *check = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    int ok = check ? EVP_PKEY_public_check(check) : 0;
    EVP_PKEY_CTX_free(check);
    if (ok != 1) {
        return refuse(pkey, "the key's numbers are not those of a public key", ret_cause);
    }
    struct mp_pubkey *k = mp_xcalloc(1, sizeof(*k));
    *k = (struct mp_pubkey){.pkey = pkey, .sig = sig, .size = size};
    return k;
}

/* No passphrase is ever asked for. */
static int no_password(char *buf, int size, int rw, void *arg)
{
    (void)buf, (void)size, (void)rw, (void)arg;
    return -1;
}

struct mp_pubkey *mp_pubkey_from_pem(enum mp_crypto_sig sig, struct mp_str pem,
                                     const char **ret_cause)
{
    static const char rest_cause[] = "there is something after the key";
    if (mp_str_find(pem, MP_STR("PRIVATE KEY")) >= 0) {
        *ret_cause = "a private key does not belong here: give the public key";
        return NULL;
    }
    if (mp_str_find(pem, MP_STR("BEGIN PUBLIC KEY")) < 0 || pem.n > 1 << 16) {
        *ret_cause = "not a PEM public key (-----BEGIN PUBLIC KEY-----)";
        return NULL;
    }
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    MP_ASSERT(bio != NULL);
    EVP_PKEY *pkey = PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL);
    char rest[64];
    bool more = false;
    for (int n; pkey != NULL && (n = BIO_read(bio, rest, sizeof(rest))) > 0;) {
        for (int i = 0; i < n; i++) {
            more |= strchr(" \t\r\n", rest[i]) == NULL || rest[i] == '\0';
        }
    }
    BIO_free(bio);
    if (pkey == NULL || more) {
        return refuse(pkey, more ? rest_cause : "the PEM text cannot be read", ret_cause);
    }
    return accept(sig, pkey, ret_cause);
}

static EVP_PKEY *from_params(const char *type, OSSL_PARAM_BLD *build)
{
    EVP_PKEY *pkey = NULL;
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    MP_ASSERT(c != NULL);
    MP_ASSERT(params != NULL);
    if (EVP_PKEY_fromdata_init(c) != 1 ||
        EVP_PKEY_fromdata(c, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        pkey = NULL;
    }
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(c);
    return pkey;
}

struct mp_pubkey *mp_pubkey_from_rsa(enum mp_crypto_sig sig, struct mp_str modulus,
                                     struct mp_str exponent, const char **ret_cause)
{
    if (modulus.n > MP_RSA_BITS_MAX / 8 || exponent.n > 8 || modulus.n == 0 || exponent.n == 0) {
        *ret_cause = "an RSA key must have 2048 to 8192 bits";
        return NULL;
    }
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    BIGNUM *n = BN_bin2bn((const uint8_t *)modulus.p, (int)modulus.n, NULL);
    BIGNUM *e = BN_bin2bn((const uint8_t *)exponent.p, (int)exponent.n, NULL);
    MP_ASSERT(build != NULL);
    MP_ASSERT(n != NULL);
    MP_ASSERT(e != NULL);
    MP_ASSERT(OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1);
    MP_ASSERT(OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1);
    EVP_PKEY *pkey = from_params("RSA", build);
    OSSL_PARAM_BLD_free(build);
    BN_free(n);
    BN_free(e);
    if (pkey == NULL) {
        return refuse(NULL, "the key's numbers are not those of a public key", ret_cause);
    }
    return accept(sig, pkey, ret_cause);
}

struct mp_pubkey *mp_pubkey_from_ec(enum mp_crypto_sig sig, struct mp_str x, struct mp_str y,
                                    const char **ret_cause)
{
    uint8_t point[1 + 2 * EC_MAX] = {POINT_CONVERSION_UNCOMPRESSED};
    size_t n = coordinate_size(sig);
    if (sig == MP_SIG_RS256 || x.n != n || y.n != n) {
        *ret_cause = "the coordinates do not have the length that the curve asks for";
        return NULL;
    }
    memcpy(point + 1, x.p, n);
    memcpy(point + 1 + n, y.p, n);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    MP_ASSERT(build != NULL);
    MP_ASSERT(
        OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, curve_of(sig), 0) == 1);
    MP_ASSERT(OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * n) ==
              1);
    EVP_PKEY *pkey = from_params("EC", build);
    OSSL_PARAM_BLD_free(build);
    if (pkey == NULL) {
        return refuse(NULL, "the coordinates are not those of a point on the curve", ret_cause);
    }
    return accept(sig, pkey, ret_cause);
}

struct mp_pubkey *mp_pubkey_free(struct mp_pubkey *k)
{
    if (k) {
        EVP_PKEY_free(k->pkey);
        free(k);
    }
    return NULL;
}

/* One positive INTEGER of DER; returns its length. */
static size_t put_integer(struct mp_str number, uint8_t *out)
{
    while (number.n > 1 && number.p[0] == 0) {
        number = mp_str(number.p + 1, number.n - 1);
    }
    size_t n = 2;
    if (number.p[0] & 0x80) {
        out[n++] = 0;
    }
    memcpy(out + n, number.p, number.n);
    n += number.n;
    out[0] = 0x02;
    out[1] = (uint8_t)(n - 2);
    return n;
}

/* r and s side by side become SEQUENCE { INTEGER r, INTEGER s }: at most 2 * 51 + 2 bytes, so that
 * lengths fit one byte each. */
static size_t make_der(struct mp_str sig, uint8_t *out)
{
    size_t half = sig.n / 2;
    size_t n = put_integer(mp_str(sig.p, half), out + 2);
    n += put_integer(mp_str(sig.p + half, half), out + 2 + n);
    out[0] = 0x30;
    out[1] = (uint8_t)n;
    return n + 2;
}

bool mp_pubkey_verify(const struct mp_pubkey *k, struct mp_str message, struct mp_str signature)
{
    uint8_t der[2 + 2 * (3 + EC_MAX)];
    const uint8_t *sig = (const uint8_t *)signature.p;
    size_t sig_n = signature.n;
    if (sig_n != k->size) {
        return false;
    }
    if (k->sig != MP_SIG_RS256) {
        sig_n = make_der(signature, der);
        sig = der;
    }
    const EVP_MD *md = k->sig == MP_SIG_ES384 ? EVP_sha384() : EVP_sha256();
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    MP_ASSERT(c != NULL);
    /* PKCS #1 v1.5 is what RSA keys do unless told otherwise. */
    bool ok = EVP_DigestVerifyInit(c, NULL, md, NULL, k->pkey) == 1 &&
              EVP_DigestVerify(c, sig, sig_n, (const uint8_t *)message.p, message.n) == 1;
    EVP_MD_CTX_free(c);
    ERR_clear_error(); /* a refused signature is no error of ours */
    return ok;
}
