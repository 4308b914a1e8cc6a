/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* TLS as a machine between two heaps of bytes: what comes from the socket goes in, plain text comes
 * out, and the other way round. No descriptor, no loop: core/chan.c moves the bytes, so that TLS
 * runs in the simulation as it does over the kernel. One implementation, tls_ossl_*.c; the header
 * knows nothing of it.
 *
 *   mp_tls_ctx     immutable, counted, any thread: certificates, what is demanded of the peer
 *   mp_tls_worker  one per worker: buffers that all its connections share
 *   mp_tls         one per connection
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/err.h"
#include "base/str.h"

/* ---- contexts ---- */

enum mp_tls_san { MP_TLS_SAN_ANY, MP_TLS_SAN_EMAIL, MP_TLS_SAN_DNS, MP_TLS_SAN_URI, MP_TLS_SAN_IP };
enum mp_tls_ocsp { MP_TLS_OCSP_LENIENT, MP_TLS_OCSP_STRICT, MP_TLS_OCSP_MUST };

struct mp_tls_cert_in {
    struct mp_str chain, key; /* PEM */
    struct mp_str password;   /* of key; n 0: none */
    struct mp_str ocsp;       /* DER; n 0: none */
};
/* Borrowed during mp_tls_ctx_new, but for san_arg. */
struct mp_tls_settings {
    bool server;
    uint8_t version_min, version_max;          /* 12, 13; 0: 1.2 and 1.3 */
    struct mp_str ciphers, curves, signatures; /* NUL-terminated; n 0: default */
    const struct mp_tls_cert_in *certs;
    uint32_t n_certs;
    /* The peer's certificate. */
    struct mp_str ca, crl; /* PEM */
    bool system_roots, crl_leaf_only, allow_expired, accept_untrusted;
    bool ask_cert, require_cert; /* server */
    uint32_t depth_max;
    const uint8_t (*hashes)[32]; /* SHA-256 of certificate or public key; one must agree */
    const uint8_t (*keys)[32];
    uint32_t n_hashes, n_keys;
    /* Is one of the names wanted? NULL: any. Called until it says yes. */
    bool (*san_ok)(void *arg, enum mp_tls_san type, struct mp_str name);
    void *san_arg;
    struct mp_str names; /* san_arg's, as bytes: other names, other sessions */
    struct mp_str alpn;  /* as on the wire */
    int key_log_fd;      /* taken; -1: none */
    bool require_sni, no_tickets;
    const struct mp_str *ticket_keys; /* 80 bytes each; the first one encrypts */
    uint32_t n_ticket_keys;
    uint32_t session_timeout_s; /* 0: default */
    enum mp_tls_ocsp ocsp;
    uint32_t sessions_max; /* client */
};
/* What is wrong, and with which setting. */
enum mp_tls_part {
    MP_TLS_PART_PARAMS,
    MP_TLS_PART_CERT,
    MP_TLS_PART_KEY,
    MP_TLS_PART_OCSP,
    MP_TLS_PART_CA,
    MP_TLS_PART_CRL
};
struct mp_tls_fault {
    enum mp_tls_part part;
    uint32_t index; /* of certs */
    char text[256];
};

struct mp_tls_ctx;
/* Keys of session tickets, for all contexts that have none of their own; made anew every 12 hours,
 * good for 24. Any thread. wall_s: seconds since 1970. */
struct mp_tls_tickets;
struct mp_tls_tickets *mp_tls_tickets_new(void);
struct mp_tls_tickets *mp_tls_tickets_free(struct mp_tls_tickets *t);

/* tickets must outlive the context; NULL: no tickets. A certificate of our own that has expired is
 * refused. */
MP_MUST_USE mp_err mp_tls_ctx_new(const struct mp_tls_settings *s, struct mp_tls_tickets *tickets,
                                  struct mp_tls_fault *reterr, struct mp_tls_ctx **ret);
void mp_tls_ctx_ref(struct mp_tls_ctx *c);
void mp_tls_ctx_unref(struct mp_tls_ctx *c); /* NULL is harmless */

/* For people: a certificate of the context. Texts are valid while the context is. */
struct mp_tls_cert_info {
    const char *subject, *issuer, *serial, *sans; /* sans: "DNS:a, URI:b" */
    int64_t not_before_s, not_after_s;
    bool ca; /* one that is trusted, not shown */
};
uint32_t mp_tls_ctx_certs(const struct mp_tls_ctx *c);
struct mp_tls_cert_info mp_tls_ctx_cert(const struct mp_tls_ctx *c, uint32_t i);

/* ---- workers ---- */

#define MP_TLS_IN_SIZE  (64 * 1024)
#define MP_TLS_OUT_SIZE (96 * 1024)
#define MP_TLS_RECORD   (16 * 1024)

struct mp_tls_worker {
    char *in; /* MP_TLS_IN_SIZE: bytes from the socket, in[in_at..in_n) not used yet */
    uint32_t in_at, in_n;
    char *out; /* MP_TLS_OUT_SIZE: bytes for the socket; whoever calls takes them afterwards */
    uint32_t out_n;
    char *plain; /* MP_TLS_RECORD: small pieces are put together here */
    /* out is full: takes what is there. */
    void (*spill)(struct mp_tls_worker *w, void *arg);
    void *spill_arg;
};
void mp_tls_worker_init(struct mp_tls_worker *w);
void mp_tls_worker_fini(struct mp_tls_worker *w);

/* ---- connections ---- */

struct mp_tls;
/* sni: of the host to be asked for, NUL-terminated, or NULL. session_key: sessions are kept and
 * offered again under it (client). NULL: memory. */
struct mp_tls *mp_tls_new(struct mp_tls_ctx *c, const char *sni, uint64_t session_key);
struct mp_tls *mp_tls_free(struct mp_tls *t);

/* Each call works on w->in and appends to w->out. */
/* 1: done; -EAGAIN: wants more input; -EPROTO: failed, mp_tls_failure says how (an alert may be in
 * w->out). */
int mp_tls_handshake(struct mp_tls *t, struct mp_tls_worker *w);
/* Could mp_tls_read give something, without more input? */
bool mp_tls_has_more(const struct mp_tls *t, const struct mp_tls_worker *w);
/* Bytes; 0: the peer has said that it will send no more; -EAGAIN: wants more input; -EPROTO. */
ssize_t mp_tls_read(struct mp_tls *t, struct mp_tls_worker *w, void *buf, size_t n);
/* False: the connection cannot be written any more. */
bool mp_tls_write(struct mp_tls *t, struct mp_tls_worker *w, const void *p, size_t n);
/* Says that we will send no more. Harmless when said already, or before the handshake. */
void mp_tls_shutdown(struct mp_tls *t, struct mp_tls_worker *w);

/* ---- what became of it ---- */

enum mp_tls_failure {
    MP_TLS_OK,
    MP_TLS_FAIL_PROTOCOL, /* not TLS, nothing in common, an alert of the peer */
    MP_TLS_FAIL_NO_CERT,  /* the peer showed none */
    MP_TLS_FAIL_VERIFY,   /* not from a CA of ours, expired, revoked */
    MP_TLS_FAIL_SAN,      /* none of the names wanted */
    MP_TLS_FAIL_PIN,      /* another certificate or key */
    MP_TLS_FAIL_SNI       /* require_sni */
};
enum mp_tls_failure mp_tls_failure(const struct mp_tls *t);
/* "TLSV1_ALERT_UNKNOWN_CA" or so; static or the connection's. */
const char *mp_tls_failure_text(const struct mp_tls *t);

bool mp_tls_is_done(const struct mp_tls *t);
/* Selected by ALPN; n 0: none. */
struct mp_str mp_tls_alpn(const struct mp_tls *t);
const char *mp_tls_version(const struct mp_tls *t); /* "TLSv1.3" */
const char *mp_tls_cipher(const struct mp_tls *t);  /* "ECDHE-RSA-AES128-GCM-SHA256" */
const char *mp_tls_curve(const struct mp_tls *t);   /* "X25519"; NULL: none */
bool mp_tls_resumed(const struct mp_tls *t);
bool mp_tls_stapled(const struct mp_tls *t);
struct mp_str mp_tls_sni(const struct mp_tls *t); /* asked for by the client; n 0: none */
/* The session's id in hex; length. */
size_t mp_tls_session_id(const struct mp_tls *t, char *out, size_t cap);

/* The peer's certificate (side 0) or ours (1). Text goes to out (cap bytes, no NUL counted); the
 * length is returned, 0 when there is none or no room. */
enum mp_tls_field {
    MP_TLS_SUBJECT,
    MP_TLS_ISSUER,
    MP_TLS_SERIAL,
    MP_TLS_FINGERPRINT_256,
    MP_TLS_FINGERPRINT_1,
    MP_TLS_URI_SAN, /* ',' between */
    MP_TLS_DNS_SAN,
    MP_TLS_VALID_FROM, /* "2026-11-21T07:00:00.000Z" */
    MP_TLS_VALID_TO,
    MP_TLS_PEM,
    MP_TLS_PEM_CHAIN
};
bool mp_tls_has_cert(const struct mp_tls *t);
/* It was shown, and passed every check that the context makes. */
bool mp_tls_cert_verified(const struct mp_tls *t);
size_t mp_tls_cert_text(const struct mp_tls *t, unsigned side, enum mp_tls_field f, char *out,
                        size_t cap);
