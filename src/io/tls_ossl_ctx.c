/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Contexts: one SSL_CTX for each set of certificates that goes with a name, all with the same
 * rules.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "io/tls_ossl.h"

static const char default_ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                      "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                      "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char default_suites[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const char default_curves[] = "X25519:P-256:P-384";

/* ---- callbacks ---- */

static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    struct mp_tls *t = SSL_get_ex_data(ssl, mp_ossl_tls_index);
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)arg;
    if (name == NULL && t->ctx->require_sni) {
        t->failure = MP_TLS_FAIL_SNI;
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    uint32_t g = mp_ossl_find_group(t->ctx, name);
    if (g != 0) {
        SSL_set_SSL_CTX(ssl, t->ctx->groups[g].ctx);
    }
    return name != NULL ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

/* The first of ours that the client offers. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                   const unsigned char *in, unsigned in_n, void *arg)
{
    const struct mp_tls_ctx *c = arg;
    (void)ssl;
    for (uint32_t i = 0; i < c->alpn_n; i += 1u + c->alpn[i]) {
        for (unsigned j = 0; j < in_n; j += 1u + in[j]) {
            if (in[j] == c->alpn[i] && j + in[j] < in_n &&
                memcmp(&in[j + 1], &c->alpn[i + 1], in[j]) == 0) {
                *out = &in[j + 1];
                *out_n = in[j];
                return SSL_TLSEXT_ERR_OK;
            }
        }
    }
    return SSL_TLSEXT_ERR_NOACK;
}

static int on_status(SSL *ssl, void *arg)
{
    struct mp_tls *t = SSL_get_ex_data(ssl, mp_ossl_tls_index);
    const X509 *x = SSL_get_certificate(ssl);
    (void)arg;
    for (uint32_t i = 0; i < t->ctx->n_certs; i++) {
        const struct ossl_cert *c = &t->ctx->certs[i];
        if (c->leaf != x) {
            continue;
        }
        bool fresh = c->ocsp_until_s == 0 || c->ocsp_until_s > (int64_t)time(NULL);
        if (c->ocsp == NULL || !fresh) {
            bool strict = c->ocsp != NULL && t->ctx->ocsp != MP_TLS_OCSP_LENIENT;
            return strict ? SSL_TLSEXT_ERR_ALERT_FATAL : SSL_TLSEXT_ERR_NOACK;
        }
        unsigned char *copy = OPENSSL_memdup(c->ocsp, c->ocsp_n);
        if (copy == NULL) {
            return SSL_TLSEXT_ERR_NOACK;
        }
        SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)c->ocsp_n);
        t->stapled = true;
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

/* For debugging: one line, one write. */
static void on_key_log(const SSL *ssl, const char *line)
{
    const struct mp_tls *t = SSL_get_ex_data(ssl, mp_ossl_tls_index);
    char text[512];
    size_t n = strlen(line);
    if (t->ctx->key_log_fd < 0 || n + 1 > sizeof(text)) {
        return;
    }
    memcpy(text, line, n);
    text[n++] = '\n';
    while (write(t->ctx->key_log_fd, text, n) < 0 && errno == EINTR) {
    }
    explicit_bzero(text, sizeof(text));
}

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    const struct mp_tls *t = SSL_get_ex_data(ssl, mp_ossl_tls_index);
    mp_ossl_sessions_put(t->ctx->sessions, t->session_key, session);
    return 1; /* ours now */
}

/* ---- parameters ---- */

static mp_err each_cipher(SSL_CTX *ctx, struct mp_str list, struct mp_tls_fault *f)
{
    for (size_t at = 0; at < list.n;) {
        const char *end = memchr(list.p + at, ':', list.n - at);
        size_t n = end ? (size_t)(end - list.p) - at : list.n - at;
        char name[128];
        if (n == 0 || n >= sizeof(name)) {
            return mp_ossl_fault(f, MP_TLS_PART_PARAMS, 0, "the list of ciphers is malformed");
        }
        memcpy(name, list.p + at, n);
        name[n] = '\0';
        if (SSL_CTX_set_cipher_list(ctx, name) != 1) {
            ERR_clear_error();
            return mp_ossl_fault(f, MP_TLS_PART_PARAMS, 0, "cipher \"%s\" is not known", name);
        }
        at += n + 1;
    }
    return MP_OK;
}

static mp_err set_params(SSL_CTX *ctx, const struct mp_tls_settings *s, struct mp_tls_fault *f)
{
    SSL_CTX_set_min_proto_version(ctx, s->version_min == 13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(ctx, s->version_max == 12 ? TLS1_2_VERSION : TLS1_3_VERSION);
    /* The smaller key is as safe, and a third faster. */
    SSL_CTX_set_ciphersuites(ctx, default_suites);
    if (s->ciphers.n > 0) {
        MP_TRY(each_cipher(ctx, s->ciphers, f));
    }
    if (SSL_CTX_set_cipher_list(ctx, s->ciphers.n > 0 ? s->ciphers.p : default_ciphers) != 1) {
        return mp_ossl_fault(f, MP_TLS_PART_PARAMS, 0, "the ciphers: %s", mp_ossl_reason());
    }
    if (SSL_CTX_set1_groups_list(ctx, s->curves.n > 0 ? s->curves.p : default_curves) != 1) {
        return mp_ossl_fault(f, MP_TLS_PART_PARAMS, 0, "the curves \"%s\": %s", s->curves.p,
                             mp_ossl_reason());
    }
    if (s->signatures.n > 0 && SSL_CTX_set1_sigalgs_list(ctx, s->signatures.p) != 1) {
        return mp_ossl_fault(f, MP_TLS_PART_PARAMS, 0, "the signature algorithms \"%s\": %s",
                             s->signatures.p, mp_ossl_reason());
    }
    return MP_OK;
}

static void hash_str(EVP_MD_CTX *md, struct mp_str s)
{
    uint64_t n = s.n;
    EVP_DigestUpdate(md, &n, sizeof(n));
    EVP_DigestUpdate(md, s.p, s.n);
}

/* A ticket must not carry a client past rules that it was not checked by: what was demanded of its
 * certificate is part of the session. */
static void set_session_context(const struct mp_tls_ctx *c, SSL_CTX *ctx,
                                const struct mp_tls_settings *s)
{
    unsigned char id[32];
    const uint8_t flags[] = {s->crl_leaf_only, s->allow_expired, s->accept_untrusted,  s->ask_cert,
                             s->require_cert,  s->system_roots,  (uint8_t)s->depth_max};
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    MP_ASSERT(md != NULL);
    EVP_DigestInit_ex(md, EVP_sha256(), NULL);
    EVP_DigestUpdate(md, flags, sizeof(flags));
    hash_str(md, s->ca);
    hash_str(md, s->crl);
    hash_str(md, mp_str((const char *)c->hashes, (size_t)c->n_hashes * 32));
    hash_str(md, mp_str((const char *)c->keys, (size_t)c->n_keys * 32));
    hash_str(md, s->names);
    EVP_DigestFinal_ex(md, id, NULL);
    EVP_MD_CTX_free(md);
    SSL_CTX_set_session_id_context(ctx, id, sizeof(id));
}

static mp_err set_trust(struct mp_tls_ctx *c, SSL_CTX *ctx, const struct mp_tls_settings *s,
                        struct mp_tls_fault *f)
{
    X509_STORE *store = X509_STORE_new();
    MP_ASSERT(store != NULL);
    SSL_CTX_set_cert_store(ctx, store); /* takes it */
    MP_TRY(mp_ossl_load_trust(c, s, store, f));
    /* An intermediate that is trusted is as good as a root. */
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    if (s->depth_max > 0) {
        SSL_CTX_set_verify_depth(ctx, (int)s->depth_max);
    }
    bool checks = c->checks_cert || c->n_hashes + c->n_keys > 0;
    int mode = s->server ? (s->ask_cert ? SSL_VERIFY_PEER : SSL_VERIFY_NONE)
                         : (checks ? SSL_VERIFY_PEER : SSL_VERIFY_NONE);
    if (s->require_cert) {
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    }
    SSL_CTX_set_verify(ctx, mode, NULL);
    return MP_OK;
}

static void set_server(struct mp_tls_ctx *c, SSL_CTX *ctx, const struct mp_tls_settings *s)
{
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
    SSL_CTX_set_tlsext_status_cb(ctx, on_status);
    if (c->alpn_n > 0) {
        SSL_CTX_set_alpn_select_cb(ctx, on_alpn, c);
    }
    if (s->session_timeout_s > 0) {
        SSL_CTX_set_timeout(ctx, s->session_timeout_s);
    }
    if (c->tickets == NULL) {
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(ctx, 0);
    } else {
        SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, mp_ossl_ticket_cb);
        SSL_CTX_set_num_tickets(ctx, 1);
    }
    set_session_context(c, ctx, s);
}

static void set_client(struct mp_tls_ctx *c, SSL_CTX *ctx)
{
    if (c->alpn_n > 0) {
        SSL_CTX_set_alpn_protos(ctx, c->alpn, c->alpn_n);
    }
    if (c->sessions != NULL) {
        SSL_CTX_set_session_cache_mode(ctx,
                                       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
        SSL_CTX_sess_set_new_cb(ctx, on_session);
    } else {
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    }
}

static mp_err use_certs(struct mp_tls_ctx *c, const struct ossl_group *g, struct mp_tls_fault *f)
{
    for (unsigned k = 0; k < KIND_COUNT; k++) {
        uint32_t i = g->cert[k];
        if (i == NO_CERT) {
            continue;
        }
        const struct ossl_cert *o = &c->certs[i];
        if (SSL_CTX_use_cert_and_key(g->ctx, o->leaf, o->key, o->chain, 1) != 1) {
            return mp_ossl_fault(f, MP_TLS_PART_CERT, i, "the certificate cannot be used: %s",
                                 mp_ossl_reason());
        }
    }
    return MP_OK;
}

static mp_err make_group(struct mp_tls_ctx *c, struct ossl_group *g,
                         const struct mp_tls_settings *s, struct mp_tls_fault *f)
{
    g->ctx = SSL_CTX_new(s->server ? TLS_server_method() : TLS_client_method());
    MP_ASSERT(g->ctx != NULL);
    SSL_CTX_set_options(g->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(g->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                 SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    MP_TRY(set_params(g->ctx, s, f));
    MP_TRY(use_certs(c, g, f));
    if (g == c->groups) {
        MP_TRY(set_trust(c, g->ctx, s, f));
    } else {
        SSL_CTX_set1_cert_store(g->ctx, SSL_CTX_get_cert_store(c->groups[0].ctx));
    }
    SSL_CTX_set_cert_verify_callback(g->ctx, mp_ossl_verify, NULL);
    if (s->server) {
        set_server(c, g->ctx, s);
    } else {
        set_client(c, g->ctx);
    }
    if (c->key_log_fd >= 0) {
        SSL_CTX_set_keylog_callback(g->ctx, on_key_log);
    }
    return MP_OK;
}

/* ---- life ---- */

static void copy_pins(struct mp_tls_ctx *c, const struct mp_tls_settings *s)
{
    c->n_hashes = s->n_hashes;
    c->n_keys = s->n_keys;
    c->hashes = mp_xcalloc(s->n_hashes + 1, 32);
    c->keys = mp_xcalloc(s->n_keys + 1, 32);
    if (s->n_hashes > 0) {
        memcpy(c->hashes, s->hashes, (size_t)s->n_hashes * 32);
    }
    if (s->n_keys > 0) {
        memcpy(c->keys, s->keys, (size_t)s->n_keys * 32);
    }
}

static struct mp_tls_ctx *ctx_free(struct mp_tls_ctx *c)
{
    for (uint32_t i = 0; i < c->n_groups; i++) {
        SSL_CTX_free(c->groups[i].ctx);
    }
    mp_ossl_certs_fini(c);
    mp_ossl_sessions_free(c->sessions);
    if (c->own_tickets) {
        mp_tls_tickets_free(c->tickets);
    }
    if (c->key_log_fd >= 0) {
        close(c->key_log_fd);
    }
    free(c->groups);
    free(c->alpn);
    free(c->hashes);
    free(c->keys);
    free(c);
    return NULL;
}

static mp_err fill(struct mp_tls_ctx *c, const struct mp_tls_settings *s, uint64_t now_s,
                   struct mp_tls_fault *f)
{
    MP_TRY(mp_ossl_load_certs(c, s, now_s, f));
    MP_TRY(mp_ossl_group_names(c));
    if (c->n_groups == 0) {
        memset(c->groups[c->n_groups++].cert, 0xff, sizeof(c->groups[0].cert));
    }
    for (uint32_t i = 0; i < c->n_groups; i++) {
        MP_TRY(make_group(c, &c->groups[i], s, f));
    }
    c->ctx = c->groups[0].ctx;
    return MP_OK;
}

mp_err mp_tls_ctx_new(const struct mp_tls_settings *s, struct mp_tls_tickets *tickets,
                      struct mp_tls_fault *reterr, struct mp_tls_ctx **ret)
{
    struct mp_tls_ctx *c = mp_xcalloc(1, sizeof(*c));
    mp_ossl_init();
    *reterr = (struct mp_tls_fault){0};
    c->refs = 1;
    c->server = s->server;
    c->require_sni = s->require_sni;
    c->require_cert = s->require_cert;
    c->checks_cert = s->ca.n > 0 || s->system_roots;
    c->accept_untrusted = s->accept_untrusted;
    c->allow_expired = s->allow_expired;
    c->ocsp = s->ocsp;
    c->key_log_fd = s->key_log_fd;
    c->san_ok = s->san_ok;
    c->san_arg = s->san_arg;
    copy_pins(c, s);
    if (s->alpn.n > 0) {
        c->alpn = mp_xmalloc(s->alpn.n);
        memcpy(c->alpn, s->alpn.p, s->alpn.n);
        c->alpn_n = (uint32_t)s->alpn.n;
    }
    if (s->server && s->n_ticket_keys > 0) {
        c->tickets = mp_ossl_tickets_fixed(s->ticket_keys, s->n_ticket_keys);
        c->own_tickets = true;
    } else if (s->server && !s->no_tickets) {
        c->tickets = tickets;
    }
    if (!s->server && s->sessions_max > 0) {
        c->sessions = mp_ossl_sessions_new(s->sessions_max);
    }
    mp_err err = fill(c, s, (uint64_t)time(NULL), reterr);
    if (mp_is_err(err)) {
        ctx_free(c);
        return err;
    }
    *ret = c;
    return MP_OK;
}

void mp_tls_ctx_ref(struct mp_tls_ctx *c)
{
    __atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
}

void mp_tls_ctx_unref(struct mp_tls_ctx *c)
{
    if (c != NULL && __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        ctx_free(c);
    }
}
