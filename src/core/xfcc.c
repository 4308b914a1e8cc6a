/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/xfcc.h"

#include <string.h>

#include "codec/hdr.h"
#include "core/conn.h"
#include "core/snapshot.h"
#include "core/stream.h"
#include "io/tls.h"

#define VALUE_MAX (40 * 1024)
#define TEXT_MAX  (16 * 1024)

struct out {
    char *p;
    size_t n;
    bool full;
};

static void put(struct out *o, struct mp_str s)
{
    if (o->full || s.n > VALUE_MAX - o->n) {
        o->full = true;
        return;
    }
    memcpy(o->p + o->n, s.p, s.n);
    o->n += s.n;
}

static void put_key(struct out *o, struct mp_str key)
{
    if (o->n > 0) {
        put(o, MP_STR(";"));
    }
    put(o, key);
}

/* Names come from a certificate that somebody else made: nothing in them may end the element. */
static void put_quoted(struct out *o, struct mp_str s)
{
    put(o, MP_STR("\""));
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\') {
            put(o, MP_STR("\\"));
        }
        bool bad = (unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f;
        put(o, bad ? MP_STR("?") : mp_str(s.p + i, 1));
    }
    put(o, MP_STR("\""));
}

static void put_encoded(struct out *o, struct mp_str s)
{
    static const char digits[] = "0123456789ABCDEF";
    put(o, MP_STR("\""));
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '.' || c == '_' || c == '~';
        char hex[3] = {'%', digits[c >> 4], digits[c & 15]};
        put(o, plain ? mp_str(s.p + i, 1) : mp_str(hex, 3));
    }
    put(o, MP_STR("\""));
}

static bool is_plain(struct mp_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f || strchr("\",;=\\", s.p[i]) != NULL) {
            return false;
        }
    }
    return true;
}

/* "URI=a;URI=b" of a list with commas. */
static void put_list(struct out *o, struct mp_str key, struct mp_str list)
{
    while (list.n > 0) {
        const char *comma = memchr(list.p, ',', list.n);
        size_t n = comma != NULL ? (size_t)(comma - list.p) : list.n;
        struct mp_str one = mp_str(list.p, n);
        put_key(o, key);
        if (is_plain(one)) {
            put(o, one);
        } else {
            put_quoted(o, one);
        }
        list = comma != NULL ? mp_str(comma + 1, list.n - n - 1) : MP_STR("");
    }
}

static void describe(const struct mp_conf_http *hc, const struct mp_tls *t, struct out *o)
{
    char text[TEXT_MAX];
    size_t n = mp_tls_cert_text(t, 1, MP_TLS_URI_SAN, text, sizeof(text));
    put_list(o, MP_STR("By="), mp_str(text, n));
    put_key(o, MP_STR("Hash="));
    put(o, mp_str(text, mp_tls_cert_text(t, 0, MP_TLS_FINGERPRINT_256, text, sizeof(text))));
    if (hc->xfcc_cert) {
        put_key(o, MP_STR("Cert="));
        put_encoded(o, mp_str(text, mp_tls_cert_text(t, 0, MP_TLS_PEM, text, sizeof(text))));
    }
    if (hc->xfcc_chain) {
        put_key(o, MP_STR("Chain="));
        put_encoded(o, mp_str(text, mp_tls_cert_text(t, 0, MP_TLS_PEM_CHAIN, text, sizeof(text))));
    }
    if (hc->xfcc_subject) {
        put_key(o, MP_STR("Subject="));
        put_quoted(o, mp_str(text, mp_tls_cert_text(t, 0, MP_TLS_SUBJECT, text, sizeof(text))));
    }
    if (hc->xfcc_uri) {
        n = mp_tls_cert_text(t, 0, MP_TLS_URI_SAN, text, sizeof(text));
        put_list(o, MP_STR("URI="), mp_str(text, n));
    }
    if (hc->xfcc_dns) {
        n = mp_tls_cert_text(t, 0, MP_TLS_DNS_SAN, text, sizeof(text));
        put_list(o, MP_STR("DNS="), mp_str(text, n));
    }
}

static mp_err set(struct mp_stream *s, const struct mp_tls *t)
{
    const struct mp_conf_http *hc = s->http->conf;
    struct mp_hdrs *h = &s->req.hdrs;
    char value[VALUE_MAX];
    struct out o = {.p = value};
    describe(hc, t, &o);
    if (o.full) {
        mp_hdrs_remove_id(h, MP_HDR_X_FORWARDED_CLIENT_CERT);
        return MP_OK; /* a certificate that large is not told; what the client says neither */
    }
    struct mp_hdr *old =
        hc->xfcc == MP_XFCC_APPEND && mp_hdrs_maybe(h, MP_HDR_X_FORWARDED_CLIENT_CERT)
            ? mp_hdrs_get(h, MP_HDR_X_FORWARDED_CLIENT_CERT)
            : NULL;
    struct mp_str before = old != NULL ? mp_hdr_value(old) : MP_STR("");
    size_t n = before.n + (before.n > 0) + o.n;
    char *p = mp_arena_bytes(&s->arena, n);
    if (p == NULL) {
        return MP_FAIL(LIMIT);
    }
    if (before.n > 0) {
        memcpy(p, before.p, before.n);
        p[before.n] = ',';
    }
    memcpy(p + n - o.n, o.p, o.n);
    return mp_hdrs_set_id(h, MP_HDR_X_FORWARDED_CLIENT_CERT, mp_str(p, n));
}

mp_err mp_xfcc_request(struct mp_stream *s)
{
    const struct mp_tls *t = mp_chan_tls(&s->conn->ch);
    enum mp_conf_xfcc how = s->http->conf->xfcc;
    if (how == MP_XFCC_ALWAYS_FORWARD) {
        return MP_OK;
    }
    if (how == MP_XFCC_SANITIZE || t == NULL || !mp_tls_has_cert(t)) {
        mp_hdrs_remove_id(&s->req.hdrs, MP_HDR_X_FORWARDED_CLIENT_CERT);
        return MP_OK;
    }
    return how == MP_XFCC_FORWARD_ONLY ? MP_OK : set(s, t);
}
