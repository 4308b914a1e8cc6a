/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Resumption: keys of session tickets on the server's side, kept sessions on the client's. Both are
 * shared by all workers, so that a client may come back to any of them; a mutex guards them, which
 * only handshakes meet, and a handshake costs a thousand times as much. */
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/mem.h"
#include "io/tls_ossl.h"

#define KEYS_MAX     16
#define ROTATE_S     (12 * 3600)
#define KEEP_KEYS    2 /* the present one and the one before */
#define SESSIONS_MAX 1024
#define HOSTS_GUESS  16 /* sessions in all, for each that one host may have */

struct ticket_key {
    unsigned char name[16], mac[32], cipher[32];
};
struct mp_tls_tickets {
    pthread_mutex_t lock;
    struct ticket_key keys[KEYS_MAX]; /* the first encrypts */
    uint32_t n;
    bool fixed;
    time_t made_s;
    EVP_CIPHER *aes;
};

/* ---- server ---- */

static void make_key(struct ticket_key *k)
{
    MP_ASSERT(RAND_bytes((unsigned char *)k, sizeof(*k)) == 1);
}

static struct mp_tls_tickets *tickets_new(void)
{
    struct mp_tls_tickets *t = mp_xcalloc(1, sizeof(*t));
    pthread_mutex_init(&t->lock, NULL);
    t->aes = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    MP_ASSERT(t->aes != NULL);
    return t;
}

struct mp_tls_tickets *mp_tls_tickets_new(void)
{
    struct mp_tls_tickets *t = tickets_new();
    make_key(&t->keys[0]);
    t->n = 1;
    t->made_s = time(NULL);
    return t;
}

struct mp_tls_tickets *mp_ossl_tickets_fixed(const struct mp_str *keys, uint32_t n)
{
    struct mp_tls_tickets *t = tickets_new();
    t->fixed = true;
    for (uint32_t i = 0; i < n && i < KEYS_MAX; i++) {
        MP_ASSERT(keys[i].n == sizeof(t->keys[i]));
        memcpy(&t->keys[t->n++], keys[i].p, keys[i].n);
    }
    return t;
}

struct mp_tls_tickets *mp_tls_tickets_free(struct mp_tls_tickets *t)
{
    if (t != NULL) {
        pthread_mutex_destroy(&t->lock);
        EVP_CIPHER_free(t->aes);
        explicit_bzero(t->keys, sizeof(t->keys));
        free(t);
    }
    return NULL;
}

static void rotate(struct mp_tls_tickets *t)
{
    time_t now = time(NULL);
    if (t->fixed || now - t->made_s < ROTATE_S) {
        return;
    }
    /* After a long pause the former key is as old as the tickets that it must no longer open. */
    bool stale = now - t->made_s >= KEEP_KEYS * ROTATE_S;
    t->keys[1] = t->keys[0];
    make_key(&t->keys[0]);
    t->n = stale ? 1 : KEEP_KEYS;
    t->made_s = now;
}

static bool set_mac(EVP_MAC_CTX *mac, struct ticket_key *k)
{
    OSSL_PARAM p[3];
    p[0] = OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k->mac, sizeof(k->mac));
    p[1] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0);
    p[2] = OSSL_PARAM_construct_end();
    return EVP_MAC_CTX_set_params(mac, p) == 1;
}

static int find_key(const struct mp_tls_tickets *t, const unsigned char *name)
{
    for (uint32_t i = 0; i < t->n; i++) {
        if (CRYPTO_memcmp(t->keys[i].name, name, 16) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* 1: use it; 2: use it, and give a new ticket; 0: not ours; -1: error. */
int mp_ossl_ticket_cb(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                      EVP_MAC_CTX *mac, int encrypt)
{
    const struct mp_tls *c = SSL_get_ex_data(ssl, mp_ossl_tls_index);
    struct mp_tls_tickets *t = c->ctx->tickets;
    struct ticket_key k;
    int i = 0;
    pthread_mutex_lock(&t->lock);
    rotate(t);
    if (!encrypt) {
        i = find_key(t, name);
    }
    k = t->keys[i < 0 ? 0 : i];
    pthread_mutex_unlock(&t->lock);
    if (i < 0) {
        return 0;
    }
    bool ok = set_mac(mac, &k);
    if (encrypt) {
        memcpy(name, k.name, sizeof(k.name));
        ok = ok && RAND_bytes(iv, 16) == 1 &&
             EVP_EncryptInit_ex(cipher, t->aes, NULL, k.cipher, iv) == 1;
    } else {
        ok = ok && EVP_DecryptInit_ex(cipher, t->aes, NULL, k.cipher, iv) == 1;
    }
    explicit_bzero(&k, sizeof(k));
    return !ok ? -1 : i > 0 ? 2 : 1;
}

/* ---- client ---- */

struct kept {
    uint64_t key;
    SSL_SESSION *session;
};
struct ossl_sessions {
    pthread_mutex_t lock;
    uint32_t per_key, cap, n;
    struct kept *v; /* oldest first */
};

struct ossl_sessions *mp_ossl_sessions_new(uint32_t max)
{
    struct ossl_sessions *s = mp_xcalloc(1, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    s->per_key = max;
    s->cap = MP_MIN(max * HOSTS_GUESS, SESSIONS_MAX);
    s->v = mp_xcalloc(s->cap + 1, sizeof(*s->v));
    return s;
}

void mp_ossl_sessions_free(struct ossl_sessions *s)
{
    if (s != NULL) {
        for (uint32_t i = 0; i < s->n; i++) {
            SSL_SESSION_free(s->v[i].session);
        }
        pthread_mutex_destroy(&s->lock);
        free(s->v);
        free(s);
    }
}

static SSL_SESSION *remove_at(struct ossl_sessions *s, uint32_t i)
{
    SSL_SESSION *out = s->v[i].session;
    memmove(&s->v[i], &s->v[i + 1], (s->n - i - 1) * sizeof(*s->v));
    s->n--;
    return out;
}

SSL_SESSION *mp_ossl_sessions_take(struct ossl_sessions *s, uint64_t key)
{
    SSL_SESSION *out = NULL;
    pthread_mutex_lock(&s->lock);
    for (uint32_t i = s->n; i > 0 && out == NULL; i--) {
        if (s->v[i - 1].key == key) {
            out = remove_at(s, i - 1);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return out;
}

void mp_ossl_sessions_put(struct ossl_sessions *s, uint64_t key, SSL_SESSION *session)
{
    SSL_SESSION *old = NULL;
    uint32_t same = 0, oldest = 0;
    if (s->cap == 0) {
        SSL_SESSION_free(session);
        return;
    }
    pthread_mutex_lock(&s->lock);
    for (uint32_t i = s->n; i > 0; i--) {
        if (s->v[i - 1].key == key) {
            same++;
            oldest = i - 1;
        }
    }
    if (same >= s->per_key) {
        old = remove_at(s, oldest);
    } else if (s->n == s->cap) {
        old = remove_at(s, 0);
    }
    s->v[s->n++] = (struct kept){key, session};
    pthread_mutex_unlock(&s->lock);
    SSL_SESSION_free(old);
}
