/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* One connection: OpenSSL between a worker's two buffers. */
#include <errno.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "io/tls_ossl.h"

/* ---- the BIO ---- */

static int bio_read(BIO *bio, char *out, size_t n, size_t *ret)
{
    const struct mp_tls *t = BIO_get_data(bio);
    struct mp_tls_worker *w = t->w;
    size_t have = w->in_n - w->in_at;
    BIO_clear_retry_flags(bio);
    if (have == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    n = MP_MIN(n, have);
    memcpy(out, w->in + w->in_at, n);
    w->in_at += (uint32_t)n;
    *ret = n;
    return 1;
}

static int bio_write(BIO *bio, const char *p, size_t n, size_t *ret)
{
    const struct mp_tls *t = BIO_get_data(bio);
    struct mp_tls_worker *w = t->w;
    BIO_clear_retry_flags(bio);
    for (size_t at = 0; at < n;) {
        if (w->out_n == MP_TLS_OUT_SIZE) {
            w->spill(w, w->spill_arg);
            w->out_n = 0;
        }
        size_t k = MP_MIN(n - at, MP_TLS_OUT_SIZE - w->out_n);
        memcpy(w->out + w->out_n, p + at, k);
        w->out_n += (uint32_t)k;
        at += k;
    }
    *ret = n;
    return 1;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void)bio;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

int mp_ossl_tls_index = -1;
static BIO_METHOD *bio_method;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init(void)
{
    mp_ossl_tls_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    MP_ASSERT(mp_ossl_tls_index >= 0);
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "marchproxy");
    MP_ASSERT(bio_method != NULL);
    BIO_meth_set_read_ex(bio_method, bio_read);
    BIO_meth_set_write_ex(bio_method, bio_write);
    BIO_meth_set_ctrl(bio_method, bio_ctrl);
    BIO_meth_set_create(bio_method, bio_create);
}

void mp_ossl_init(void)
{
    pthread_once(&once, init);
}

/* ---- workers ---- */

void mp_tls_worker_init(struct mp_tls_worker *w)
{
    *w = (struct mp_tls_worker){.in = mp_xmalloc(MP_TLS_IN_SIZE),
                                .out = mp_xmalloc(MP_TLS_OUT_SIZE),
                                .plain = mp_xmalloc(MP_TLS_RECORD)};
}

void mp_tls_worker_fini(struct mp_tls_worker *w)
{
    if (w->plain != NULL) {
        explicit_bzero(w->plain, MP_TLS_RECORD);
    }
    free(w->in);
    free(w->out);
    free(w->plain);
    *w = (struct mp_tls_worker){0};
}

/* ---- connections ---- */

struct mp_tls *mp_tls_new(struct mp_tls_ctx *c, const char *sni, uint64_t session_key)
{
    struct mp_tls *t = calloc(1, sizeof(*t));
    SSL *ssl = t != NULL ? SSL_new(c->ctx) : NULL;
    BIO *bio = ssl != NULL ? BIO_new(bio_method) : NULL;
    if (bio == NULL) {
        SSL_free(ssl);
        free(t);
        ERR_clear_error();
        return NULL;
    }
    BIO_set_data(bio, t);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_ex_data(ssl, mp_ossl_tls_index, t);
    t->ssl = ssl;
    t->ctx = c;
    t->server = c->server;
    t->session_key = session_key;
    mp_tls_ctx_ref(c);
    if (c->server) {
        SSL_set_accept_state(ssl);
        return t;
    }
    SSL_set_connect_state(ssl);
    if (sni != NULL && sni[0] != '\0') {
        SSL_set_tlsext_host_name(ssl, sni);
    }
    SSL_SESSION *session =
        c->sessions != NULL ? mp_ossl_sessions_take(c->sessions, session_key) : NULL;
    if (session != NULL) {
        SSL_set_session(ssl, session);
        SSL_SESSION_free(session);
    }
    return t;
}

struct mp_tls *mp_tls_free(struct mp_tls *t)
{
    if (t != NULL) {
        struct mp_tls_ctx *c = t->ctx;
        SSL_free(t->ssl);
        mp_tls_ctx_unref(c);
        free(t);
    }
    return NULL;
}

static void note_failure(struct mp_tls *t)
{
    unsigned long e = ERR_peek_error();
    t->reason = (uint32_t)e;
    if (t->failure == MP_TLS_OK) {
        t->failure = ERR_GET_LIB(e) == ERR_LIB_SSL &&
                             ERR_GET_REASON(e) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE
                         ? MP_TLS_FAIL_NO_CERT
                         : MP_TLS_FAIL_PROTOCOL;
    }
    ERR_clear_error();
}

/* OpenSSL judges a call by the thread's error queue too: whoever leaves something there must clear
 * it, so that it is empty before every call. */
int mp_tls_handshake(struct mp_tls *t, struct mp_tls_worker *w)
{
    t->w = w;
    int r = SSL_do_handshake(t->ssl);
    if (r == 1) {
        t->done = true;
        return 1;
    }
    if (SSL_get_error(t->ssl, r) == SSL_ERROR_WANT_READ) {
        return -EAGAIN;
    }
    note_failure(t);
    return -EPROTO;
}

bool mp_tls_has_more(const struct mp_tls *t, const struct mp_tls_worker *w)
{
    return w->in_at < w->in_n || SSL_pending(t->ssl) > 0;
}

ssize_t mp_tls_read(struct mp_tls *t, struct mp_tls_worker *w, void *buf, size_t n)
{
    size_t got = 0;
    t->w = w;
    int r = SSL_read_ex(t->ssl, buf, n, &got);
    if (r == 1) {
        return (ssize_t)got;
    }
    switch (SSL_get_error(t->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        note_failure(t);
        return -EPROTO;
    }
}

bool mp_tls_write(struct mp_tls *t, struct mp_tls_worker *w, const void *p, size_t n)
{
    const char *at = p;
    t->w = w;
    while (n > 0) {
        size_t done = 0;
        if (SSL_write_ex(t->ssl, at, n, &done) != 1 || done == 0) {
            note_failure(t);
            return false;
        }
        at += done;
        n -= done;
    }
    return true;
}

void mp_tls_shutdown(struct mp_tls *t, struct mp_tls_worker *w)
{
    if (!t->done || t->shut || t->failure != MP_TLS_OK) {
        return;
    }
    t->w = w;
    t->shut = true;
    if (SSL_shutdown(t->ssl) < 0) {
        ERR_clear_error();
    }
}

/* ---- what became of it ---- */

enum mp_tls_failure mp_tls_failure(const struct mp_tls *t)
{
    return (enum mp_tls_failure)t->failure;
}

const char *mp_tls_failure_text(const struct mp_tls *t)
{
    if (t->failure == MP_TLS_FAIL_VERIFY || t->failure == MP_TLS_FAIL_SAN ||
        t->failure == MP_TLS_FAIL_PIN) {
        return X509_verify_cert_error_string(SSL_get_verify_result(t->ssl));
    }
    const char *text = ERR_reason_error_string(t->reason);
    return text != NULL ? text : "closed";
}

bool mp_tls_is_done(const struct mp_tls *t)
{
    return t->done;
}

struct mp_str mp_tls_alpn(const struct mp_tls *t)
{
    const unsigned char *p = NULL;
    unsigned n = 0;
    SSL_get0_alpn_selected(t->ssl, &p, &n);
    return mp_str((const char *)p, n);
}

const char *mp_tls_version(const struct mp_tls *t)
{
    return SSL_get_version(t->ssl);
}

const char *mp_tls_cipher(const struct mp_tls *t)
{
    return SSL_get_cipher_name(t->ssl);
}

const char *mp_tls_curve(const struct mp_tls *t)
{
    switch (SSL_get_negotiated_group(t->ssl)) {
    case NID_X25519:
        return "X25519";
    case NID_X9_62_prime256v1:
        return "P-256";
    case NID_secp384r1:
        return "P-384";
    case NID_secp521r1:
        return "P-521";
    case 0:
        return NULL;
    default:
        return "other";
    }
}

bool mp_tls_resumed(const struct mp_tls *t)
{
    return SSL_session_reused(t->ssl) == 1;
}

bool mp_tls_stapled(const struct mp_tls *t)
{
    return t->stapled;
}

struct mp_str mp_tls_sni(const struct mp_tls *t)
{
    return mp_str_c(SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name));
}

size_t mp_tls_session_id(const struct mp_tls *t, char *out, size_t cap)
{
    static const char digits[] = "0123456789abcdef";
    unsigned n = 0;
    const SSL_SESSION *s = SSL_get_session(t->ssl);
    const unsigned char *id = s != NULL ? SSL_SESSION_get_id(s, &n) : NULL;
    if (id == NULL || 2u * n > cap) {
        return 0;
    }
    for (unsigned i = 0; i < n; i++) {
        out[2 * i] = digits[id[i] >> 4];
        out[2 * i + 1] = digits[id[i] & 15];
    }
    return 2u * n;
}
