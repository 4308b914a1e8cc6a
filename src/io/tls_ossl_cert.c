/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Certificates, keys, CA and CRL: reading and checking them, and finding the ones for a name. */
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/mem.h"
#include "io/tls_ossl.h"

const char *mp_ossl_reason(void)
{
    unsigned long e = ERR_peek_last_error();
    const char *text = ERR_reason_error_string(e);
    ERR_clear_error();
    return text ? text : "unknown reason";
}

mp_err mp_ossl_fault(struct mp_tls_fault *f, enum mp_tls_part part, uint32_t index, const char *fmt,
                     ...)
{
    va_list ap;
    f->part = part;
    f->index = index;
    va_start(ap, fmt);
    vsnprintf(f->text, sizeof(f->text), fmt, ap);
    va_end(ap);
    return MP_FAIL(INVALID);
}

/* ---- one certificate ---- */

static int64_t seconds_of(const ASN1_TIME *t)
{
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) ? (int64_t)timegm(&tm) : 0;
}

static char *name_text(const X509_NAME *n)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *p = NULL;
    MP_ASSERT(bio != NULL);
    X509_NAME_print_ex(bio, n, 0, XN_FLAG_RFC2253);
    long len = BIO_get_mem_data(bio, &p);
    char *out = mp_str_dup_c(mp_str(p, (size_t)MP_MAX(len, 0)));
    BIO_free(bio);
    return out;
}

static char *sans_text(X509 *x)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *p = NULL;
    MP_ASSERT(bio != NULL);
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
        if (i > 0) {
            BIO_puts(bio, ", ");
        }
        GENERAL_NAME_print(bio, sk_GENERAL_NAME_value(names, i));
    }
    GENERAL_NAMES_free(names);
    long len = BIO_get_mem_data(bio, &p);
    char *out = mp_str_dup_c(mp_str(p, (size_t)MP_MAX(len, 0)));
    BIO_free(bio);
    return out;
}

static struct mp_tls_cert_info info_of(X509 *x, bool ca)
{
    BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
    char *hex = n ? BN_bn2hex(n) : NULL;
    struct mp_tls_cert_info i = {
        .subject = name_text(X509_get_subject_name(x)),
        .issuer = name_text(X509_get_issuer_name(x)),
        .serial = mp_str_dup_c(mp_str_c(hex ? hex : "")),
        .sans = sans_text(x),
        .not_before_s = seconds_of(X509_get0_notBefore(x)),
        .not_after_s = seconds_of(X509_get0_notAfter(x)),
        .ca = ca,
    };
    for (char *p = (char *)(uintptr_t)i.serial; *p; p++) {
        *p = *p >= 'A' && *p <= 'F' ? (char)(*p + 32) : *p;
    }
    OPENSSL_free(hex);
    BN_free(n);
    return i;
}

static void info_fini(struct mp_tls_cert_info *i)
{
    free((char *)(uintptr_t)i->subject);
    free((char *)(uintptr_t)i->issuer);
    free((char *)(uintptr_t)i->serial);
    free((char *)(uintptr_t)i->sans);
}

static BIO *bio_of(struct mp_str s)
{
    BIO *bio = BIO_new_mem_buf(s.p, (int)s.n);
    MP_ASSERT(bio != NULL);
    return bio;
}

static mp_err read_chain(struct mp_str pem, struct ossl_cert *c, uint32_t i, struct mp_tls_fault *f)
{
    BIO *bio = bio_of(pem);
    X509 *x;
    ERR_clear_error();
    c->chain = sk_X509_new_null();
    MP_ASSERT(c->chain != NULL);
    while ((x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (c->leaf == NULL) {
            c->leaf = x;
        } else {
            sk_X509_push(c->chain, x);
        }
    }
    BIO_free(bio);
    bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (c->leaf == NULL || !end) {
        return mp_ossl_fault(f, MP_TLS_PART_CERT, i, "not a certificate in PEM: %s",
                             end ? "no BEGIN CERTIFICATE" : mp_ossl_reason());
    }
    ERR_clear_error();
    return MP_OK;
}

static int give_password(char *buf, int size, int rwflag, void *arg)
{
    const struct mp_str *pw = arg;
    (void)rwflag;
    if (pw->n == 0 || pw->n > (size_t)size) {
        return 0;
    }
    memcpy(buf, pw->p, pw->n);
    return (int)pw->n;
}

static mp_err read_key(const struct mp_tls_cert_in *in, struct ossl_cert *c, uint32_t i,
                       struct mp_tls_fault *f)
{
    struct mp_str pw = in->password;
    BIO *bio = bio_of(in->key);
    ERR_clear_error();
    c->key = PEM_read_bio_PrivateKey(bio, NULL, give_password, &pw);
    BIO_free(bio);
    if (c->key == NULL) {
        bool locked = memmem(in->key.p, in->key.n, "ENCRYPTED", 9) != NULL;
        const char *why = mp_ossl_reason();
        return mp_ossl_fault(f, MP_TLS_PART_KEY, i, "not a private key in PEM: %s",
                             !locked     ? why
                             : pw.n == 0 ? "it is encrypted, and there is no password"
                                         : "the password does not fit");
    }
    if (X509_check_private_key(c->leaf, c->key) != 1) {
        ERR_clear_error();
        return mp_ossl_fault(f, MP_TLS_PART_KEY, i,
                             "the private key does not belong to the certificate");
    }
    switch (EVP_PKEY_get_base_id(c->key)) {
    case EVP_PKEY_RSA:
        c->kind = KIND_RSA;
        if (EVP_PKEY_get_bits(c->key) < 2048) {
            return mp_ossl_fault(f, MP_TLS_PART_KEY, i, "an RSA key of %d bits is not safe",
                                 EVP_PKEY_get_bits(c->key));
        }
        return MP_OK;
    case EVP_PKEY_EC:
        c->kind = KIND_EC;
        return MP_OK;
    case EVP_PKEY_ED25519:
        c->kind = KIND_ED;
        return MP_OK;
    default:
        return mp_ossl_fault(f, MP_TLS_PART_KEY, i, "the key is neither RSA, ECDSA nor Ed25519");
    }
}

static mp_err read_ocsp(struct mp_str der, struct ossl_cert *c, uint32_t i, int64_t now_s,
                        struct mp_tls_fault *f)
{
    const unsigned char *p = (const unsigned char *)der.p;
    OCSP_RESPONSE *r = d2i_OCSP_RESPONSE(NULL, &p, (long)der.n);
    OCSP_BASICRESP *basic = r ? OCSP_response_get1_basic(r) : NULL;
    const char *fault = NULL;
    ERR_clear_error();
    if (r == NULL || OCSP_response_status(r) != OCSP_RESPONSE_STATUS_SUCCESSFUL || basic == NULL) {
        fault = "not a successful OCSP response in DER";
    } else if (OCSP_resp_count(basic) != 1) {
        fault = "the OCSP response must speak of one certificate";
    } else {
        OCSP_SINGLERESP *one = OCSP_resp_get0(basic, 0);
        ASN1_GENERALIZEDTIME *until = NULL;
        int reason, status = OCSP_single_get0_status(one, &reason, NULL, NULL, &until);
        ASN1_INTEGER *serial = NULL;
        OCSP_id_get0_info(NULL, NULL, NULL, &serial,
                          (OCSP_CERTID *)(uintptr_t)OCSP_SINGLERESP_get0_id(one));
        c->ocsp_until_s = until ? seconds_of(until) : 0;
        if (ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(c->leaf)) != 0) {
            fault = "the OCSP response is of another certificate";
        } else if (status == V_OCSP_CERTSTATUS_REVOKED) {
            fault = "the OCSP response says that the certificate is revoked";
        } else if (c->ocsp_until_s != 0 && c->ocsp_until_s <= now_s) {
            fault = "the OCSP response has expired";
        }
    }
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(r);
    if (fault != NULL) {
        return mp_ossl_fault(f, MP_TLS_PART_OCSP, i, "%s", fault);
    }
    c->ocsp = mp_xcalloc(1, der.n);
    memcpy(c->ocsp, der.p, der.n);
    c->ocsp_n = der.n;
    return MP_OK;
}

mp_err mp_ossl_load_certs(struct mp_tls_ctx *c, const struct mp_tls_settings *s, uint64_t now_s,
                          struct mp_tls_fault *f)
{
    c->certs = mp_xcalloc(s->n_certs + 1, sizeof(*c->certs));
    for (uint32_t i = 0; i < s->n_certs; i++) {
        struct ossl_cert *o = &c->certs[i];
        c->n_certs++;
        MP_TRY(read_chain(s->certs[i].chain, o, i, f));
        o->info = info_of(o->leaf, false);
        MP_TRY(read_key(&s->certs[i], o, i, f));
        if (o->info.not_after_s <= (int64_t)now_s) {
            char when[32];
            time_t t = (time_t)o->info.not_after_s;
            struct tm tm;
            strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&t, &tm));
            return mp_ossl_fault(f, MP_TLS_PART_CERT, i, "the certificate expired on %s", when);
        }
        if (s->certs[i].ocsp.n > 0) {
            MP_TRY(read_ocsp(s->certs[i].ocsp, o, i, (int64_t)now_s, f));
        } else if (s->ocsp == MP_TLS_OCSP_MUST) {
            return mp_ossl_fault(f, MP_TLS_PART_OCSP, i,
                                 "MUST_STAPLE wants ocsp_staple for every certificate");
        }
    }
    return MP_OK;
}

/* ---- names ---- */

static int name_order(const void *a, const void *b)
{
    const struct ossl_name *x = a, *y = b;
    int c = mp_str_cmp(x->name, y->name);
    return c ? c : (int)x->wild - (int)y->wild;
}

static struct ossl_name *find_name(const struct mp_tls_ctx *c, struct mp_str name, bool wild)
{
    struct ossl_name key = {.name = name, .wild = wild};
    return bsearch(&key, c->names, c->n_names, sizeof(key), name_order);
}

static void lower(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] + 32) : p[i];
    }
}

/* Collects the names of certificate i; group holds i for now. */
static void add_name(struct mp_tls_ctx *c, uint32_t *cap, struct mp_str name, uint32_t i)
{
    bool wild = mp_str_starts(name, MP_STR("*."));
    if (name.n == 0 || memchr(name.p, '\0', name.n) != NULL) {
        return;
    }
    if (c->n_names == *cap) {
        *cap = *cap ? *cap * 2 : 16;
        c->names = mp_xrealloc(c->names, *cap * sizeof(*c->names));
    }
    struct mp_str kept = wild ? mp_str(name.p + 1, name.n - 1) : name;
    char *copy = mp_str_dup_c(kept);
    lower(copy, kept.n);
    c->names[c->n_names++] = (struct ossl_name){mp_str(copy, kept.n), wild, i};
}

static void collect_names(struct mp_tls_ctx *c, uint32_t *cap, uint32_t i)
{
    X509 *x = c->certs[i].leaf;
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    bool any = false;
    for (int k = 0; names != NULL && k < sk_GENERAL_NAME_num(names); k++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, k);
        if (g->type == GEN_DNS) {
            add_name(c, cap,
                     mp_str((const char *)ASN1_STRING_get0_data(g->d.dNSName),
                            (size_t)ASN1_STRING_length(g->d.dNSName)),
                     i);
            any = true;
        }
    }
    GENERAL_NAMES_free(names);
    X509_NAME *subject = X509_get_subject_name(x);
    int at = any ? -1 : X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at >= 0) {
        unsigned char *utf8 = NULL;
        int n =
            ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
        if (n > 0) {
            add_name(c, cap, mp_str((const char *)utf8, (size_t)n), i);
        }
        OPENSSL_free(utf8);
    }
}

static uint32_t group_of(struct mp_tls_ctx *c, const uint32_t cert[KIND_COUNT])
{
    for (uint32_t i = 0; i < c->n_groups; i++) {
        if (memcmp(c->groups[i].cert, cert, sizeof(c->groups[i].cert)) == 0) {
            return i;
        }
    }
    memcpy(c->groups[c->n_groups].cert, cert, sizeof(c->groups[0].cert));
    return c->n_groups++;
}

/* Certificates of one name that are of different kinds go together; of one kind the first counts.
 */
mp_err mp_ossl_group_names(struct mp_tls_ctx *c)
{
    uint32_t cap = 0, first[KIND_COUNT];
    for (uint32_t i = 0; i < c->n_certs; i++) {
        collect_names(c, &cap, i);
    }
    struct ossl_name *all = c->names;
    uint32_t n = c->n_names;
    c->groups = mp_xcalloc(n + c->n_certs + 1, sizeof(*c->groups));
    memset(first, 0xff, sizeof(first));
    /* The group of the first certificate is for whoever asks for nothing that we have. */
    if (c->n_certs > 0) {
        first[c->certs[0].kind] = 0;
        for (uint32_t i = 0; i < n; i++) {
            bool shared = false;
            for (uint32_t k = 0; k < n && all[i].group != 0; k++) {
                shared |= all[k].group == 0 && name_order(&all[i], &all[k]) == 0;
            }
            uint32_t kind = c->certs[all[i].group].kind;
            if (shared && first[kind] == NO_CERT) {
                first[kind] = all[i].group;
            }
        }
        (void)group_of(c, first);
    }
    if (n > 0) {
        qsort(all, n, sizeof(*all), name_order);
    }
    /* The order of certificates within a name is lost... */
    uint32_t out = 0;
    for (uint32_t i = 0; i < n;) {
        uint32_t cert[KIND_COUNT], end = i;
        memset(cert, 0xff, sizeof(cert));
        while (end < n && name_order(&all[i], &all[end]) == 0) {
            uint32_t *slot = &cert[c->certs[all[end].group].kind];
            *slot = MP_MIN(*slot, all[end].group); /* ... but the first has the smallest number */
            end++;
        }
        for (uint32_t k = i + 1; k < end; k++) {
            free((char *)(uintptr_t)all[k].name.p);
        }
        all[out] = all[i];
        all[out++].group = group_of(c, cert);
        i = end;
    }
    c->n_names = out;
    return MP_OK;
}

uint32_t mp_ossl_find_group(const struct mp_tls_ctx *c, const char *name)
{
    char text[256];
    size_t n = name ? strlen(name) : 0;
    if (n > 0 && name[n - 1] == '.') {
        n--;
    }
    if (n == 0 || n >= sizeof(text)) {
        return 0;
    }
    memcpy(text, name, n);
    lower(text, n);
    const struct ossl_name *found = find_name(c, mp_str(text, n), false);
    const char *dot = memchr(text, '.', n);
    if (found == NULL && dot != NULL) {
        /* A wildcard stands for one label. */
        found = find_name(c, mp_str(dot, n - (size_t)(dot - text)), true);
    }
    return found ? found->group : 0;
}

/* ---- trust ---- */

static mp_err add_cas(struct mp_tls_ctx *c, struct mp_str pem, X509_STORE *store,
                      struct mp_tls_fault *f)
{
    BIO *bio = bio_of(pem);
    X509 *x;
    uint32_t cap = 0;
    ERR_clear_error();
    while ((x = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL)) != NULL) {
        if (c->n_cas == cap) {
            cap = cap ? cap * 2 : 4;
            c->cas = mp_xrealloc(c->cas, cap * sizeof(*c->cas));
        }
        c->cas[c->n_cas++] = info_of(x, true);
        (void)X509_STORE_add_cert(store, x);
        X509_free(x);
    }
    BIO_free(bio);
    bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (c->n_cas == 0 || !end) {
        return mp_ossl_fault(f, MP_TLS_PART_CA, 0, "not certificates in PEM: %s",
                             end ? "no BEGIN CERTIFICATE" : mp_ossl_reason());
    }
    ERR_clear_error();
    return MP_OK;
}

static mp_err add_crls(struct mp_str pem, bool leaf_only, X509_STORE *store, struct mp_tls_fault *f)
{
    BIO *bio = bio_of(pem);
    X509_CRL *crl;
    uint32_t n = 0;
    ERR_clear_error();
    while ((crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)) != NULL) {
        (void)X509_STORE_add_crl(store, crl);
        X509_CRL_free(crl);
        n++;
    }
    BIO_free(bio);
    bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (n == 0 || !end) {
        return mp_ossl_fault(f, MP_TLS_PART_CRL, 0, "not a CRL in PEM: %s",
                             end ? "no BEGIN X509 CRL" : mp_ossl_reason());
    }
    ERR_clear_error();
    X509_STORE_set_flags(store,
                         X509_V_FLAG_CRL_CHECK | (leaf_only ? 0 : X509_V_FLAG_CRL_CHECK_ALL));
    return MP_OK;
}

mp_err mp_ossl_load_trust(struct mp_tls_ctx *c, const struct mp_tls_settings *s, X509_STORE *store,
                          struct mp_tls_fault *f)
{
    if (s->system_roots && X509_STORE_set_default_paths(store) != 1) {
        return mp_ossl_fault(f, MP_TLS_PART_CA, 0, "the system's roots cannot be read: %s",
                             mp_ossl_reason());
    }
    if (s->ca.n > 0) {
        MP_TRY(add_cas(c, s->ca, store, f));
    }
    return s->crl.n > 0 ? add_crls(s->crl, s->crl_leaf_only, store, f) : MP_OK;
}

void mp_ossl_certs_fini(struct mp_tls_ctx *c)
{
    for (uint32_t i = 0; i < c->n_certs; i++) {
        struct ossl_cert *o = &c->certs[i];
        X509_free(o->leaf);
        sk_X509_pop_free(o->chain, X509_free);
        EVP_PKEY_free(o->key);
        free(o->ocsp);
        info_fini(&o->info);
    }
    for (uint32_t i = 0; i < c->n_cas; i++) {
        info_fini(&c->cas[i]);
    }
    for (uint32_t i = 0; i < c->n_names; i++) {
        free((char *)(uintptr_t)c->names[i].name.p);
    }
    free(c->certs);
    free(c->cas);
    free(c->names);
}

uint32_t mp_tls_ctx_certs(const struct mp_tls_ctx *c)
{
    return c->n_certs + c->n_cas;
}

struct mp_tls_cert_info mp_tls_ctx_cert(const struct mp_tls_ctx *c, uint32_t i)
{
    return i < c->n_certs ? c->certs[i].info : c->cas[i - c->n_certs];
}
