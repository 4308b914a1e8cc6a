/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Shared by tls_ossl_*.c. */
#pragma once
#include <openssl/ssl.h>
#include "base/list.h"
#include "io/tls.h"

enum { KIND_RSA, KIND_EC, KIND_ED, KIND_COUNT };
#define NO_CERT UINT32_MAX

struct ossl_cert {
    X509 *leaf;
    STACK_OF(X509) * chain; /* without the leaf */
    EVP_PKEY *key;
    unsigned char *ocsp;
    size_t ocsp_n;
    int64_t ocsp_until_s; /* 0: no end */
    unsigned kind;
    struct mp_tls_cert_info info;
};
/* Certificates for one name: at most one of each kind. */
struct ossl_group {
    uint32_t cert[KIND_COUNT];
    SSL_CTX *ctx;
};
struct ossl_name {
    struct mp_str name; /* lower case; a wildcard without its "*" */
    bool wild;
    uint32_t group;
};

struct mp_tls_ctx {
    uint32_t refs; /* atomic */
    bool server;
    bool require_sni, require_cert, checks_cert, accept_untrusted, allow_expired;
    enum mp_tls_ocsp ocsp;
    SSL_CTX *ctx; /* of the default group */
    struct ossl_cert *certs;
    uint32_t n_certs;
    struct ossl_group *groups;
    uint32_t n_groups;
    struct ossl_name *names; /* sorted */
    uint32_t n_names;
    struct mp_tls_cert_info *cas;
    uint32_t n_cas;
    unsigned char *alpn;
    uint32_t alpn_n;
    uint8_t (*hashes)[32], (*keys)[32];
    uint32_t n_hashes, n_keys;
    bool (*san_ok)(void *arg, enum mp_tls_san type, struct mp_str name);
    void *san_arg;
    struct mp_tls_tickets *tickets; /* the process's, or own */
    bool own_tickets;
    int key_log_fd;
    uint32_t sessions_max;
    struct ossl_sessions *sessions; /* client */
};

struct mp_tls {
    SSL *ssl;
    struct mp_tls_ctx *ctx;  /* a reference */
    struct mp_tls_worker *w; /* during a call */
    uint64_t session_key;
    bool done, server;
    bool stapled;
    bool unverified; /* the chain did not hold, and that was accepted */
    uint8_t failure; /* enum mp_tls_failure */
    bool shut;
    uint32_t reason; /* of OpenSSL's error */
};

/* tls_ossl_cert.c */
mp_err mp_ossl_load_certs(struct mp_tls_ctx *c, const struct mp_tls_settings *s, uint64_t now_s,
                          struct mp_tls_fault *f);
mp_err mp_ossl_group_names(struct mp_tls_ctx *c);
mp_err mp_ossl_load_trust(struct mp_tls_ctx *c, const struct mp_tls_settings *s, X509_STORE *store,
                          struct mp_tls_fault *f);
void mp_ossl_certs_fini(struct mp_tls_ctx *c);
uint32_t mp_ossl_find_group(const struct mp_tls_ctx *c, const char *name);
mp_err mp_ossl_fault(struct mp_tls_fault *f, enum mp_tls_part part, uint32_t index, const char *fmt,
                     ...) MP_PRINTF(4, 5);
const char *mp_ossl_reason(void);
/* tls_ossl_verify.c */
int mp_ossl_verify(X509_STORE_CTX *store, void *arg);
extern int mp_ossl_tls_index; /* of struct mp_tls in SSL's extra data */
/* tls_ossl_ticket.c */
int mp_ossl_ticket_cb(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                      EVP_MAC_CTX *mac, int encrypt);
struct mp_tls_tickets *mp_ossl_tickets_fixed(const struct mp_str *keys, uint32_t n);
/* Sessions of a client, to be resumed. */
struct ossl_sessions *mp_ossl_sessions_new(uint32_t max);
void mp_ossl_sessions_free(struct ossl_sessions *s);
SSL_SESSION *mp_ossl_sessions_take(struct ossl_sessions *s, uint64_t key);
void mp_ossl_sessions_put(struct ossl_sessions *s, uint64_t key, SSL_SESSION *session);
/* tls_ossl.c */
void mp_ossl_init(void); /* harmless when done */
