/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What format strings tell of a connection's TLS. */
#include "core/conn.h"
#include "core/subst_int.h"
#include "io/tls.h"

#define TEXT_MAX (16 * 1024)

static bool put_some(struct subst_out *o, struct mp_str s)
{
    if (s.n > 0) {
        mp_subst_put(o, s);
    }
    return s.n > 0;
}

static bool put_cert(struct subst_out *o, const struct mp_tls *t, unsigned side,
                     enum mp_tls_field field)
{
    char text[TEXT_MAX];
    return put_some(o, mp_str(text, mp_tls_cert_text(t, side, field, text, sizeof(text))));
}

bool mp_subst_put_tls(struct subst_out *o, const struct mp_conn *c, uint8_t kind)
{
    const struct mp_tls *t = c != NULL ? mp_chan_tls(&c->ch) : NULL;
    char id[128];
    if (t == NULL) {
        return false;
    }
    switch (kind) {
    case SUBST_TLS_VERSION:
        return put_some(o, mp_str_c(mp_tls_version(t)));
    case SUBST_TLS_CIPHER:
        return put_some(o, mp_str_c(mp_tls_cipher(t)));
    case SUBST_TLS_SESSION_ID:
        return put_some(o, mp_str(id, mp_tls_session_id(t, id, sizeof(id))));
    case SUBST_SERVER_NAME:
        return put_some(o, mp_tls_sni(t));
    case SUBST_PEER_SUBJECT:
        return put_cert(o, t, 0, MP_TLS_SUBJECT);
    case SUBST_PEER_ISSUER:
        return put_cert(o, t, 0, MP_TLS_ISSUER);
    case SUBST_PEER_SERIAL:
        return put_cert(o, t, 0, MP_TLS_SERIAL);
    case SUBST_PEER_FINGERPRINT_256:
        return put_cert(o, t, 0, MP_TLS_FINGERPRINT_256);
    case SUBST_PEER_FINGERPRINT_1:
        return put_cert(o, t, 0, MP_TLS_FINGERPRINT_1);
    case SUBST_PEER_URI_SAN:
        return put_cert(o, t, 0, MP_TLS_URI_SAN);
    case SUBST_PEER_DNS_SAN:
        return put_cert(o, t, 0, MP_TLS_DNS_SAN);
    case SUBST_PEER_CERT_V_START:
        return put_cert(o, t, 0, MP_TLS_VALID_FROM);
    case SUBST_PEER_CERT_V_END:
        return put_cert(o, t, 0, MP_TLS_VALID_TO);
    case SUBST_LOCAL_SUBJECT:
        return put_cert(o, t, 1, MP_TLS_SUBJECT);
    case SUBST_LOCAL_URI_SAN:
        return put_cert(o, t, 1, MP_TLS_URI_SAN);
    case SUBST_LOCAL_DNS_SAN:
        return put_cert(o, t, 1, MP_TLS_DNS_SAN);
    default:
        return false;
    }
}
