/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Compiles TLS contexts. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "core/build.h"
#include "io/open.h"
#include "io/tls.h"

/* ---- names of the peer's certificate ---- */

static bool equal(struct mp_str a, struct mp_str b, bool ignore_case)
{
    return ignore_case ? mp_str_ieq(a, b) : mp_str_eq(a, b);
}

static bool matches(const struct mp_conf_san *m, struct mp_str name)
{
    size_t n = m->value.n;
    switch (m->kind) {
    case MP_MATCH_EXACT:
        /* A certificate for *.example.com is one for a.example.com (RFC 6125). */
        if (m->type == MP_SAN_DNS && mp_str_starts(name, MP_STR("*."))) {
            const char *dot = memchr(m->value.p, '.', n);
            return dot != NULL && dot > m->value.p &&
                   mp_str_ieq(mp_str(dot, n - (size_t)(dot - m->value.p)),
                              mp_str(name.p + 1, name.n - 1));
        }
        return equal(name, m->value, m->ignore_case || m->type == MP_SAN_DNS);
    case MP_MATCH_PREFIX:
        return name.n >= n && equal(mp_str(name.p, n), m->value, m->ignore_case);
    case MP_MATCH_SUFFIX:
        return name.n >= n && equal(mp_str(name.p + name.n - n, n), m->value, m->ignore_case);
    case MP_MATCH_CONTAINS:
        for (size_t i = 0; i + n <= name.n; i++) {
            if (equal(mp_str(name.p + i, n), m->value, m->ignore_case)) {
                return true;
            }
        }
        return false;
    default:
        return false;
    }
}

static bool san_ok(void *arg, enum mp_tls_san type, struct mp_str name)
{
    const struct mp_conf_tls *t = arg;
    for (uint32_t i = 0; i < t->n_sans; i++) {
        const struct mp_conf_san *m = &t->sans[i];
        if ((m->type == MP_SAN_ANY || (int)m->type == (int)type) && matches(m, name)) {
            return true;
        }
    }
    return false;
}
_Static_assert((int)MP_SAN_IP == (int)MP_TLS_SAN_IP, "the same order");
_Static_assert((int)MP_OCSP_MUST == (int)MP_TLS_OCSP_MUST, "the same order");

/* ---- the context ---- */

static mp_err report(const struct mp_conf_tls *c, const struct mp_tls_fault *f,
                     struct mp_diag *diag)
{
    static const char *const fields[] = {
        [MP_TLS_PART_PARAMS] = "common_tls_context.tls_params",
        [MP_TLS_PART_CERT] = "certificate_chain",
        [MP_TLS_PART_KEY] = "private_key",
        [MP_TLS_PART_OCSP] = "ocsp_staple",
        [MP_TLS_PART_CA] = "common_tls_context.validation_context.trusted_ca",
        [MP_TLS_PART_CRL] = "common_tls_context.validation_context.crl",
    };
    bool cert =
        f->part == MP_TLS_PART_CERT || f->part == MP_TLS_PART_KEY || f->part == MP_TLS_PART_OCSP;
    const struct mp_conf_tls_cert *k = cert ? &c->certs[f->index] : NULL;
    struct mp_str at = k != NULL ? k->path : c->path;
    struct mp_str from = MP_STR("");
    if (k != NULL) {
        from = f->part == MP_TLS_PART_CERT  ? k->chain.from
               : f->part == MP_TLS_PART_KEY ? k->key.from
                                            : k->ocsp.from;
    } else if (f->part == MP_TLS_PART_CA || f->part == MP_TLS_PART_CRL) {
        from = f->part == MP_TLS_PART_CA ? c->ca.from : c->crl.from;
    }
    char path[1024];
    snprintf(path, sizeof(path), MP_STR_FMT ".%s", MP_STR_ARG(at), fields[f->part]);
    return mp_diag_error(diag, MP_E_INVALID, k != NULL ? k->line : c->line, path, NULL,
                         from.n > 0 ? "%s (" MP_STR_FMT ")" : "%s", f->text, MP_STR_ARG(from));
}

/* What the names demand, as bytes. */
static struct mp_str names_of(const struct mp_conf_tls *c, struct mp_arena *a)
{
    struct mp_str out = MP_STR("");
    for (uint32_t i = 0; i < c->n_sans; i++) {
        const struct mp_conf_san *m = &c->sans[i];
        const char *p =
            mp_arena_printf(a, MP_STR_FMT "%d %d %d " MP_STR_FMT "\n", MP_STR_ARG(out),
                            (int)m->type, (int)m->kind, (int)m->ignore_case, MP_STR_ARG(m->value));
        MP_ASSERT(p != NULL);
        out = mp_str_c(p);
    }
    return out;
}

mp_err mp_core_build_tls(struct mp_engine *e, const struct mp_conf_tls *c, struct mp_diag *diag,
                         struct mp_tls_ctx **ret)
{
    struct mp_arena a;
    struct mp_tls_fault fault;
    mp_arena_init(&a, NULL, 0, &mp_block_source_heap, 4096, SIZE_MAX);
    struct mp_tls_cert_in *certs = mp_arena_zalloc(&a, (c->n_certs + 1) * sizeof(*certs));
    struct mp_str *keys = mp_arena_zalloc(&a, (c->n_ticket_keys + 1) * sizeof(*keys));
    MP_ASSERT(certs != NULL);
    MP_ASSERT(keys != NULL);
    for (uint32_t i = 0; i < c->n_certs; i++) {
        const struct mp_conf_tls_cert *k = &c->certs[i];
        certs[i] =
            (struct mp_tls_cert_in){k->chain.bytes, k->key.bytes, k->password.bytes, k->ocsp.bytes};
    }
    for (uint32_t i = 0; i < c->n_ticket_keys; i++) {
        keys[i] = c->ticket_keys[i].bytes;
    }
    struct mp_tls_settings s = {
        .server = c->server,
        .version_min = c->version_min,
        .version_max = c->version_max,
        .ciphers = c->ciphers,
        .curves = c->curves,
        .signatures = c->signatures,
        .certs = certs,
        .n_certs = c->n_certs,
        .ca = c->ca.bytes,
        .crl = c->crl.bytes,
        .system_roots = c->system_roots,
        .crl_leaf_only = c->crl_leaf_only,
        .allow_expired = c->allow_expired,
        .accept_untrusted = c->accept_untrusted,
        .ask_cert = c->ask_client_cert,
        .require_cert = c->require_client_cert,
        .depth_max = c->depth_max,
        .hashes = (const uint8_t(*)[32])c->hashes,
        .keys = (const uint8_t(*)[32])c->keys,
        .n_hashes = c->n_hashes,
        .n_keys = c->n_keys,
        .san_ok = c->n_sans > 0 ? san_ok : NULL,
        .san_arg = (void *)(uintptr_t)c,
        .names = names_of(c, &a),
        .alpn = c->alpn,
        .key_log_fd = -1,
        .require_sni = c->require_sni,
        .no_tickets = c->no_tickets,
        .ticket_keys = keys,
        .n_ticket_keys = c->n_ticket_keys,
        .session_timeout_s = c->session_timeout_s,
        .ocsp = (enum mp_tls_ocsp)c->ocsp,
        .sessions_max = c->sessions_max,
    };
    mp_err err = MP_OK;
    if (c->key_log.n > 0) {
        s.key_log_fd = mp_open_append(c->key_log.p);
        if (s.key_log_fd < 0) {
            err = mp_diag_error(
                diag, MP_E_INVALID, c->line, c->path.p, "check the path and its permissions",
                "cannot write the key log \"%s\": %s", c->key_log.p, strerror(-s.key_log_fd));
        } else {
            mp_log(MP_LOG_WARNING,
                   "TLS secrets are written to a file: anyone who reads it can "
                   "read the traffic",
                   kv_str("path", c->key_log));
        }
    }
    if (!mp_is_err(err)) {
        err = mp_tls_ctx_new(&s, e->tickets, &fault, ret);
        if (mp_is_err(err)) {
            err = report(c, &fault, diag);
        }
    }
    mp_arena_fini(&a);
    return err;
}
