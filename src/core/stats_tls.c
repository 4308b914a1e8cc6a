/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Counting handshakes. */
#include <string.h>

#include "core/stats.h"
#include "io/tls.h"

#define MP_TLS(token, name, help) [MP_ST_TLS_##token] = (name),
static const char *const names[MP_ST_TLS_COUNT] = {
#include "core/stats_tls.def"
};
#undef MP_TLS

/* The counter whose name ends so. */
static uint32_t find(const char *text, uint32_t from, uint32_t other)
{
    for (uint32_t i = from; i < other; i++) {
        const char *dot = strchr(strchr(names[i], '.') + 1, '.');
        if (strcmp(dot + 1, text) == 0) {
            return i;
        }
    }
    return other;
}

void mp_stats_tls_done(const struct mp_stat_block *b, uint32_t first, const struct mp_tls *t)
{
    const char *curve = mp_tls_curve(t);
    mp_stat_inc(b, first + MP_ST_TLS_HANDSHAKE);
    if (mp_tls_resumed(t)) {
        mp_stat_inc(b, first + MP_ST_TLS_SESSION_REUSED);
    }
    if (!mp_tls_has_cert(t)) {
        mp_stat_inc(b, first + MP_ST_TLS_NO_CERTIFICATE);
    }
    if (mp_tls_stapled(t)) {
        mp_stat_inc(b, first + MP_ST_TLS_OCSP_STAPLED);
    }
    bool old = strcmp(mp_tls_version(t), "TLSv1.2") == 0;
    mp_stat_inc(b, first + (old ? MP_ST_TLS_TLS12 : MP_ST_TLS_TLS13));
    mp_stat_inc(b, first + find(mp_tls_cipher(t), MP_ST_TLS_AES128, MP_ST_TLS_CIPHER_OTHER));
    if (curve != NULL) {
        mp_stat_inc(b, first + find(curve, MP_ST_TLS_X25519, MP_ST_TLS_CURVE_OTHER));
    }
}

void mp_stats_tls_failed(const struct mp_stat_block *b, uint32_t first, const struct mp_tls *t)
{
    static const uint8_t counters[] = {
        [MP_TLS_OK] = MP_ST_TLS_CONNECTION_ERROR,
        [MP_TLS_FAIL_PROTOCOL] = MP_ST_TLS_CONNECTION_ERROR,
        [MP_TLS_FAIL_NO_CERT] = MP_ST_TLS_FAIL_NO_CERT,
        [MP_TLS_FAIL_VERIFY] = MP_ST_TLS_FAIL_VERIFY,
        [MP_TLS_FAIL_SAN] = MP_ST_TLS_FAIL_SAN,
        [MP_TLS_FAIL_PIN] = MP_ST_TLS_FAIL_PIN,
        [MP_TLS_FAIL_SNI] = MP_ST_TLS_FAIL_SNI,
    };
    mp_stat_inc(b, first + counters[mp_tls_failure(t)]);
}
