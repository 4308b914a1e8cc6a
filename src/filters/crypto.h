/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The cryptography that filters need, and nothing more: hashes, message authentication codes,
 * verification of signatures, comparison that takes the same time for all contents.
 * crypto_openssl.c implements it; the logic of filters sees only this.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/str.h"

enum mp_crypto_hash { MP_SHA256, MP_SHA384, MP_SHA512 };
#define MP_HASH_MAX 64
static inline size_t mp_crypto_hash_size(enum mp_crypto_hash h)
{
    return h == MP_SHA256 ? 32 : h == MP_SHA384 ? 48 : 64;
}

/* Allocates nothing. */
void mp_crypto_sha256(struct mp_str s, uint8_t out[32]);

/* A key as the two states of the hash that it begins with: the key itself is not kept, and a code
 * costs only the blocks of the message and one more. Allocates nothing. */
struct mp_hmac_key {
    enum mp_crypto_hash hash;
    uint64_t inner[27], outer[27];
};
void mp_hmac_key_init(struct mp_hmac_key *k, enum mp_crypto_hash hash, struct mp_str secret);
/* out: mp_crypto_hash_size bytes. */
void mp_hmac(const struct mp_hmac_key *k, struct mp_str s, uint8_t *out);

/* Time depends on n alone. */
bool mp_crypto_equal(const void *a, const void *b, size_t n);
/* Overwrites, whatever the compiler thinks of it. */
void mp_crypto_wipe(void *p, size_t n);

enum mp_crypto_sig { MP_SIG_RS256, MP_SIG_ES256, MP_SIG_ES384 };
struct mp_pubkey;
#define MP_RSA_BITS_MIN 2048
#define MP_RSA_BITS_MAX 8192

/* Control code, heap. NULL: refused, *ret_cause says why (static text). The key must fit sig. */
struct mp_pubkey *mp_pubkey_from_pem(enum mp_crypto_sig sig, struct mp_str pem,
                                     const char **ret_cause);
/* Big-endian numbers. */
struct mp_pubkey *mp_pubkey_from_rsa(enum mp_crypto_sig sig, struct mp_str modulus,
                                     struct mp_str exponent, const char **ret_cause);
struct mp_pubkey *mp_pubkey_from_ec(enum mp_crypto_sig sig, struct mp_str x, struct mp_str y,
                                    const char **ret_cause);
struct mp_pubkey *mp_pubkey_free(struct mp_pubkey *k);
/* signature as in a JSON web signature: RSA PKCS #1 v1.5, or r and s of ECDSA. Any thread. The
 * library allocates. */
bool mp_pubkey_verify(const struct mp_pubkey *k, struct mp_str message, struct mp_str signature);
