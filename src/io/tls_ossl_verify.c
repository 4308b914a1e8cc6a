/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What is demanded of a peer's certificate, and what can be told of it. */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "io/tls_ossl.h"

/* ---- pins ---- */

static bool one_of(const uint8_t hash[32], uint8_t (*list)[32], uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (memcmp(list[i], hash, 32) == 0) {
            return true;
        }
    }
    return false;
}

static bool key_hash(X509 *x, uint8_t out[32])
{
    unsigned char *der = NULL;
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
    bool ok = n > 0 && EVP_Digest(der, (size_t)n, out, NULL, EVP_sha256(), NULL) == 1;
    OPENSSL_free(der);
    return ok;
}

static bool pin_ok(const struct mp_tls_ctx *c, X509 *x)
{
    uint8_t hash[32];
    if (c->n_hashes == 0 && c->n_keys == 0) {
        return true;
    }
    if (c->n_hashes > 0 && X509_digest(x, EVP_sha256(), hash, NULL) == 1 &&
        one_of(hash, c->hashes, c->n_hashes)) {
        return true;
    }
    return c->n_keys > 0 && key_hash(x, hash) && one_of(hash, c->keys, c->n_keys);
}

/* ---- names ---- */

static bool general_name(const GENERAL_NAME *g, enum mp_tls_san *ret_type, char *ip,
                         struct mp_str *ret)
{
    const ASN1_STRING *s = NULL;
    switch (g->type) {
    case GEN_DNS:
        *ret_type = MP_TLS_SAN_DNS;
        s = g->d.dNSName;
        break;
    case GEN_URI:
        *ret_type = MP_TLS_SAN_URI;
        s = g->d.uniformResourceIdentifier;
        break;
    case GEN_EMAIL:
        *ret_type = MP_TLS_SAN_EMAIL;
        s = g->d.rfc822Name;
        break;
    case GEN_IPADD: {
        int n = ASN1_STRING_length(g->d.iPAddress);
        if (n != 4 && n != 16) {
            return false;
        }
        *ret_type = MP_TLS_SAN_IP;
        inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(g->d.iPAddress), ip,
                  INET6_ADDRSTRLEN);
        *ret = mp_str_c(ip);
        return true;
    }
    default:
        return false;
    }
    *ret = mp_str((const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
    /* A NUL inside is how one name passes for another. */
    return ret->n > 0 && memchr(ret->p, '\0', ret->n) == NULL;
}

static bool san_ok(const struct mp_tls_ctx *c, X509 *x)
{
    if (c->san_ok == NULL) {
        return true;
    }
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    bool ok = false;
    for (int i = 0; !ok && names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
        char ip[INET6_ADDRSTRLEN];
        enum mp_tls_san type;
        struct mp_str name;
        ok = general_name(sk_GENERAL_NAME_value(names, i), &type, ip, &name) &&
             c->san_ok(c->san_arg, type, name);
    }
    GENERAL_NAMES_free(names);
    return ok;
}

/* ---- verification ---- */

static int refuse(struct mp_tls *t, X509_STORE_CTX *store, enum mp_tls_failure why, int error)
{
    t->failure = (uint8_t)why;
    X509_STORE_CTX_set_error(store, error);
    return 0;
}

int mp_ossl_verify(X509_STORE_CTX *store, void *arg)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct mp_tls *t = SSL_get_ex_data(ssl, mp_ossl_tls_index);
    const struct mp_tls_ctx *c = t->ctx;
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    (void)arg;
    if (c->checks_cert) {
        if (c->allow_expired) {
            X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(store),
                                        X509_V_FLAG_NO_CHECK_TIME);
        }
        if (X509_verify_cert(store) != 1) {
            if (!c->accept_untrusted) {
                t->failure = MP_TLS_FAIL_VERIFY;
                return 0;
            }
            t->unverified = true;
            X509_STORE_CTX_set_error(store, X509_V_OK);
        }
    }
    if (!pin_ok(c, leaf)) {
        return refuse(t, store, MP_TLS_FAIL_PIN, X509_V_ERR_CERT_UNTRUSTED);
    }
    if (!san_ok(c, leaf)) {
        return refuse(t, store, MP_TLS_FAIL_SAN, X509_V_ERR_HOSTNAME_MISMATCH);
    }
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

/* ---- texts ---- */

static X509 *cert_of(const struct mp_tls *t, unsigned side)
{
    return side == 0 ? SSL_get0_peer_certificate(t->ssl) : SSL_get_certificate(t->ssl);
}

bool mp_tls_has_cert(const struct mp_tls *t)
{
    return SSL_get0_peer_certificate(t->ssl) != NULL;
}

bool mp_tls_cert_verified(const struct mp_tls *t)
{
    return t->done && !t->unverified && mp_tls_has_cert(t) &&
           (t->ctx->checks_cert || t->ctx->n_hashes + t->ctx->n_keys > 0);
}

static size_t put_bio(BIO *bio, char *out, size_t cap)
{
    char *p = NULL;
    long n = BIO_get_mem_data(bio, &p);
    size_t len = n > 0 && (size_t)n <= cap ? (size_t)n : 0;
    memcpy(out, p, len);
    return len;
}

static size_t put_hex(const uint8_t *p, size_t n, char *out, size_t cap)
{
    static const char digits[] = "0123456789abcdef";
    if (cap < 2 * n) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    return 2 * n;
}

static size_t put_sans(X509 *x, enum mp_tls_san want, char *out, size_t cap)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    size_t n = 0;
    for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
        char ip[INET6_ADDRSTRLEN];
        enum mp_tls_san type;
        struct mp_str name;
        if (general_name(sk_GENERAL_NAME_value(names, i), &type, ip, &name) && type == want &&
            n + 1 + name.n <= cap) {
            if (n > 0) {
                out[n++] = ',';
            }
            memcpy(out + n, name.p, name.n);
            n += name.n;
        }
    }
    GENERAL_NAMES_free(names);
    return n;
}

static size_t put_time(const ASN1_TIME *at, char *out, size_t cap)
{
    struct tm tm;
    char text[80];
    if (ASN1_TIME_to_tm(at, &tm) != 1) {
        return 0;
    }
    int n = snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.000Z", tm.tm_year + 1900,
                     tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    size_t len = n > 0 && (size_t)n <= cap ? (size_t)n : 0;
    memcpy(out, text, len);
    return len;
}

static size_t put_pem(const struct mp_tls *t, unsigned side, X509 *x, bool chain, BIO *bio,
                      char *out, size_t cap)
{
    PEM_write_bio_X509(bio, x);
    if (chain) {
        STACK_OF(X509) *list = side == 0 ? SSL_get_peer_cert_chain(t->ssl) : NULL;
        for (int i = t->server ? 0 : 1; list != NULL && i < sk_X509_num(list); i++) {
            PEM_write_bio_X509(bio, sk_X509_value(list, i));
        }
    }
    return put_bio(bio, out, cap);
}

static size_t put_serial(X509 *x, char *out, size_t cap)
{
    const ASN1_INTEGER *n = X509_get0_serialNumber(x);
    return put_hex(ASN1_STRING_get0_data(n), (size_t)ASN1_STRING_length(n), out, cap);
}

size_t mp_tls_cert_text(const struct mp_tls *t, unsigned side, enum mp_tls_field f, char *out,
                        size_t cap)
{
    X509 *x = cert_of(t, side);
    uint8_t hash[32];
    size_t n = 0;
    if (x == NULL) {
        return 0;
    }
    BIO *bio = BIO_new(BIO_s_mem());
    MP_ASSERT(bio != NULL);
    switch (f) {
    case MP_TLS_SUBJECT:
        X509_NAME_print_ex(bio, X509_get_subject_name(x), 0, XN_FLAG_RFC2253);
        n = put_bio(bio, out, cap);
        break;
    case MP_TLS_ISSUER:
        X509_NAME_print_ex(bio, X509_get_issuer_name(x), 0, XN_FLAG_RFC2253);
        n = put_bio(bio, out, cap);
        break;
    case MP_TLS_SERIAL:
        n = put_serial(x, out, cap);
        break;
    case MP_TLS_FINGERPRINT_256:
        n = X509_digest(x, EVP_sha256(), hash, NULL) == 1 ? put_hex(hash, 32, out, cap) : 0;
        break;
    case MP_TLS_FINGERPRINT_1:
        n = X509_digest(x, EVP_sha1(), hash, NULL) == 1 ? put_hex(hash, 20, out, cap) : 0;
        break;
    case MP_TLS_URI_SAN:
        n = put_sans(x, MP_TLS_SAN_URI, out, cap);
        break;
    case MP_TLS_DNS_SAN:
        n = put_sans(x, MP_TLS_SAN_DNS, out, cap);
        break;
    case MP_TLS_VALID_FROM:
        n = put_time(X509_get0_notBefore(x), out, cap);
        break;
    case MP_TLS_VALID_TO:
        n = put_time(X509_get0_notAfter(x), out, cap);
        break;
    case MP_TLS_PEM:
    case MP_TLS_PEM_CHAIN:
        n = put_pem(t, side, x, f == MP_TLS_PEM_CHAIN, bio, out, cap);
        break;
    }
    BIO_free(bio);
    return n;
}
