/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Transport sockets: TLS towards clients and upstreams. Certificates and keys are read here, so
 * that a file that changed makes another configuration; what they hold is looked at when they are
 * compiled. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "conf/build.h"
#include "envoy_extensions_transport_sockets_proxy_protocol_v3.pb-c.h"
#include "envoy_extensions_transport_sockets_raw_buffer_v3.pb-c.h"
#include "envoy_extensions_transport_sockets_tls_v3.pb-c.h"

typedef Envoy__Config__Core__V3__TransportSocket pb_transport_socket;
typedef Envoy__Config__Core__V3__DataSource pb_source;
typedef Envoy__Extensions__TransportSockets__Tls__V3__CommonTlsContext pb_common;
typedef Envoy__Extensions__TransportSockets__Tls__V3__DownstreamTlsContext pb_down;
typedef Envoy__Extensions__TransportSockets__Tls__V3__UpstreamTlsContext pb_up;
typedef Envoy__Extensions__TransportSockets__Tls__V3__TlsCertificate pb_cert;
typedef Envoy__Extensions__TransportSockets__Tls__V3__CertificateValidationContext pb_validation;
typedef Envoy__Extensions__TransportSockets__Tls__V3__TlsParameters pb_params;
typedef Envoy__Extensions__TransportSockets__Tls__V3__TlsSessionTicketKeys pb_ticket_keys;
typedef Envoy__Extensions__TransportSockets__Tls__V3__SdsSecretConfig pb_sds;
typedef Envoy__Extensions__TransportSockets__Tls__V3__Secret pb_secret;
typedef Envoy__Extensions__TransportSockets__Tls__V3__SubjectAltNameMatcher pb_san;
typedef Envoy__Type__Matcher__V3__StringMatcher pb_matcher;
#define TLS(name) ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__##name

#define TLS_DOWN_DESCRIPTOR \
    envoy__extensions__transport_sockets__tls__v3__downstream_tls_context__descriptor
#define TLS_UP_DESCRIPTOR \
    envoy__extensions__transport_sockets__tls__v3__upstream_tls_context__descriptor
#define RAW_DESCRIPTOR envoy__extensions__transport_sockets__raw_buffer__v3__raw_buffer__descriptor
#define PROXY_DESCRIPTOR \
    envoy__extensions__transport_sockets__proxy_protocol__v3__proxy_protocol_upstream_transport__descriptor

#define PEM_MAX                (4u << 20)
#define CA_MAX                 (16u << 20)
#define SMALL_MAX              (64u << 10)
#define TICKET_KEY             80
#define SERVER_TICKET_KEYS_MAX 16

/* ---- content ---- */

static bool read_content(struct mp_conf_build *b, const char *sub, const char *path, size_t max,
                         struct mp_conf_text *ret)
{
    struct mp_str text;
    int err = 0;
    if (!b->opts->read_file) {
        (void)mp_build_error(b, sub, "use inline_string", "files cannot be read here");
        return false;
    }
    mp_err e = b->opts->read_file(path, max, &text, &err);
    if (mp_is_err(e)) {
        (void)mp_build_error(b, sub, "check the path and its permissions", "cannot read \"%s\": %s",
                             path, err != 0 ? strerror(err) : mp_err_text(e));
        return false;
    }
    ret->bytes = mp_arena_dup(b->arena, text);
    ret->from = mp_build_str(b, path);
    MP_ASSERT(ret->bytes.p);
    explicit_bzero((char *)(uintptr_t)text.p, text.n);
    free((char *)(uintptr_t)text.p);
    return true;
}

bool mp_build_text(struct mp_conf_build *b, const char *sub, const pb_source *m, size_t max,
                   struct mp_conf_text *ret)
{
    static const char cure[] = "add filename or inline_string";
    struct mp_str s = {NULL, 0};
    *ret = (struct mp_conf_text){.bytes = MP_STR(""), .from = MP_STR("")};
    switch (m ? m->specifier_case : 0) {
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_FILENAME:
        if (!read_content(b, sub, m->filename, max, ret)) {
            return false;
        }
        break;
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_ENVIRONMENT_VARIABLE: {
        const char *v = b->opts->getenv ? b->opts->getenv(m->environment_variable) : NULL;
        if (!v) {
            (void)mp_build_error(b, sub, NULL, "the environment has no variable \"%s\"",
                                 m->environment_variable);
            return false;
        }
        s = mp_str_c(v);
        break;
    }
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_STRING:
        s = mp_str_c(m->inline_string);
        break;
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_BYTES:
        s = mp_str((const char *)m->inline_bytes.data, m->inline_bytes.len);
        break;
    default:
        mp_build_missing(b, sub, cure, "there is no content");
        return false;
    }
    if (s.p) {
        ret->bytes = mp_arena_dup(b->arena, s);
        MP_ASSERT(ret->bytes.p);
    }
    if (ret->bytes.n == 0) {
        (void)mp_build_error(b, sub, NULL, "the content is empty");
        return false;
    }
    if (b->hash) {
        *b->hash = mp_hash_fnv(*b->hash, ret->bytes.p, ret->bytes.n);
    }
    return true;
}

/* ---- static secrets ---- */

void mp_build_secrets(struct mp_conf_build *b)
{
    const Envoy__Config__Bootstrap__V3__Bootstrap__StaticResources *r = b->boot->static_resources;
    for (size_t i = 0; r && i < r->n_secrets; i++) {
        size_t mark = mp_build_enter(b, "secrets[%zu]", i);
        const pb_secret *s = r->secrets[i];
        if (s->name[0] == '\0') {
            mp_build_missing(b, "name", NULL, "name is missing");
        }
        if (s->type_case == TLS(SECRET__TYPE__NOT_SET)) {
            mp_build_missing(b, NULL,
                             "add tls_certificate, validation_context or session_ticket_keys",
                             "the secret is empty");
        }
        for (size_t j = 0; j < i && s->name[0]; j++) {
            if (strcmp(r->secrets[j]->name, s->name) == 0) {
                (void)mp_build_error(b, "name", NULL, "name \"%s\" is that of secrets[%zu] too",
                                     s->name, j);
            }
        }
        mp_build_leave(b, mark);
    }
}

static const pb_secret *find_secret(struct mp_conf_build *b, const char *sub, const pb_sds *m,
                                    unsigned kind, const char *what)
{
    const Envoy__Config__Bootstrap__V3__Bootstrap__StaticResources *r =
        b->boot ? b->boot->static_resources : NULL;
    for (size_t i = 0; r && m->name[0] && i < r->n_secrets; i++) {
        if (strcmp(r->secrets[i]->name, m->name) != 0) {
            continue;
        }
        if ((unsigned)r->secrets[i]->type_case != kind) {
            (void)mp_build_error(b, sub, NULL, "secret \"%s\" holds no %s", m->name, what);
            return NULL;
        }
        if (b->hash) { /* the reference is in the message, what it leads to is not */
            struct mp_str packed = mp_pb_pack(&r->secrets[i]->base, b->scratch);
            *b->hash = mp_hash_fnv(*b->hash, packed.p, packed.n);
        }
        return r->secrets[i];
    }
    (void)mp_build_error(b, sub, "add it to static_resources.secrets", "there is no secret \"%s\"",
                         m->name);
    return NULL;
}

/* ---- parameters ---- */

static struct mp_str join(struct mp_conf_build *b, char **list, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        len += strlen(list[i]) + 1;
    }
    char *out = mp_build_take(b, len + 1, 1), *p = out;
    for (size_t i = 0; i < n; i++) {
        /* "[A|B]": alike, and so in the order written. */
        for (const char *q = list[i]; *q; q++) {
            if (*q == '|') {
                *p++ = ':';
            } else if (*q != '[' && *q != ']') {
                *p++ = *q;
            }
        }
        *p++ = ':';
    }
    if (p > out) {
        p--;
    }
    *p = '\0';
    return mp_str(out, (size_t)(p - out));
}

static void build_version(struct mp_conf_build *b, const char *sub, int v, uint8_t *ret)
{
    switch (v) {
    case TLS(TLS_PARAMETERS__TLS_PROTOCOL__TLS_AUTO):
        break;
    case TLS(TLS_PARAMETERS__TLS_PROTOCOL__TLSv1_2):
        *ret = 12;
        break;
    case TLS(TLS_PARAMETERS__TLS_PROTOCOL__TLSv1_3):
        *ret = 13;
        break;
    case TLS(TLS_PARAMETERS__TLS_PROTOCOL__TLSv1_0):
    case TLS(TLS_PARAMETERS__TLS_PROTOCOL__TLSv1_1):
        (void)mp_build_error(b, sub, "use TLSv1_2", "versions below 1.2 are not safe");
        break;
    default:
        (void)mp_build_error(b, sub, NULL, "value %d is not supported", v);
        break;
    }
}

static void build_params(struct mp_conf_build *b, const pb_params *m, struct mp_conf_tls *ret)
{
    if (!m) {
        return;
    }
    size_t mark = mp_build_enter(b, "tls_params");
    build_version(b, "tls_minimum_protocol_version", (int)m->tls_minimum_protocol_version,
                  &ret->version_min);
    build_version(b, "tls_maximum_protocol_version", (int)m->tls_maximum_protocol_version,
                  &ret->version_max);
    if (ret->version_max && ret->version_min > ret->version_max) {
        (void)mp_build_error(b, "tls_minimum_protocol_version", NULL,
                             "the minimum is above the maximum");
    }
    ret->ciphers = join(b, m->cipher_suites, m->n_cipher_suites);
    ret->curves = join(b, m->ecdh_curves, m->n_ecdh_curves);
    ret->signatures = join(b, m->signature_algorithms, m->n_signature_algorithms);
    mp_build_leave(b, mark);
}

static void build_alpn(struct mp_conf_build *b, const pb_common *m, struct mp_conf_tls *ret)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_alpn_protocols; i++) {
        size_t len = strlen(m->alpn_protocols[i]);
        if (len == 0 || len > 255) {
            char sub[48];
            snprintf(sub, sizeof(sub), "alpn_protocols[%zu]", i);
            (void)mp_build_error(b, sub, "use h2 or http/1.1", "the name is empty or too long");
            return;
        }
        n += len + 1;
    }
    char *out = mp_build_take(b, n + 1, 1), *p = out;
    for (size_t i = 0; i < m->n_alpn_protocols; i++) {
        size_t len = strlen(m->alpn_protocols[i]);
        *p++ = (char)len;
        memcpy(p, m->alpn_protocols[i], len);
        p += len;
    }
    ret->alpn = mp_str(out, n);
}

/* ---- certificates ---- */

static void build_cert(struct mp_conf_build *b, const pb_cert *m, struct mp_conf_tls_cert *ret)
{
    ret->path = mp_build_str(b, mp_build_shown(b, b->path));
    ret->line = mp_build_line(b);
    if (!m->certificate_chain) {
        mp_build_missing(b, "certificate_chain", NULL, "certificate_chain is missing");
    } else {
        (void)mp_build_text(b, "certificate_chain", m->certificate_chain, PEM_MAX, &ret->chain);
    }
    if (!m->private_key) {
        mp_build_missing(b, "private_key", NULL, "private_key is missing");
    } else {
        (void)mp_build_text(b, "private_key", m->private_key, SMALL_MAX, &ret->key);
    }
    if (m->password && mp_build_text(b, "password", m->password, 1024, &ret->password)) {
        /* A file ends with a line end that nobody means. */
        while (ret->password.bytes.n > 0 &&
               strchr("\r\n", ret->password.bytes.p[ret->password.bytes.n - 1])) {
            ret->password.bytes.n--;
        }
    }
    if (m->ocsp_staple) {
        (void)mp_build_text(b, "ocsp_staple", m->ocsp_staple, SMALL_MAX, &ret->ocsp);
    }
}

static void build_certs(struct mp_conf_build *b, const pb_common *m, struct mp_conf_tls *ret)
{
    size_t n = m->n_tls_certificates + m->n_tls_certificate_sds_secret_configs;
    ret->certs = mp_build_take(b, n, sizeof(*ret->certs));
    for (size_t i = 0; i < m->n_tls_certificates; i++) {
        size_t mark = mp_build_enter(b, "tls_certificates[%zu]", i);
        build_cert(b, m->tls_certificates[i], &ret->certs[ret->n_certs++]);
        mp_build_leave(b, mark);
    }
    for (size_t i = 0; i < m->n_tls_certificate_sds_secret_configs; i++) {
        size_t mark = mp_build_enter(b, "tls_certificate_sds_secret_configs[%zu]", i);
        const pb_secret *s = find_secret(b, "name", m->tls_certificate_sds_secret_configs[i],
                                         TLS(SECRET__TYPE_TLS_CERTIFICATE), "certificate");
        if (s) {
            build_cert(b, s->tls_certificate, &ret->certs[ret->n_certs++]);
        }
        mp_build_leave(b, mark);
    }
}

/* ---- the peer's certificate ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* 64 hexadecimal digits, perhaps with colons. */
static bool parse_hex(const char *z, uint8_t *out)
{
    for (size_t i = 0; i < 32; i++) {
        int hi = hex_digit(z[0]), lo = hi < 0 ? -1 : hex_digit(z[1]);
        if (lo < 0) {
            return false;
        }
        out[i] = (uint8_t)(hi << 4 | lo);
        z += 2;
        z += *z == ':' && i < 31;
    }
    return *z == '\0';
}

/* 44 characters of base64 for 32 bytes. */
static bool parse_base64(const char *z, uint8_t *out)
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t acc = 0, bits = 0, n = 0;
    if (strlen(z) != 44 || z[43] != '=') {
        return false;
    }
    for (size_t i = 0; i < 43; i++) {
        const char *at = strchr(set, z[i]);
        if (!at || !*at) {
            return false;
        }
        acc = acc << 6 | (uint32_t)(at - set);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[n++] = (uint8_t)(acc >> bits);
        }
    }
    return n == 32;
}

static void build_pins(struct mp_conf_build *b, const char *field, char **list, size_t n,
                       bool (*parse)(const char *z, uint8_t *out), const char *cure,
                       uint8_t (**ret)[32], uint32_t *ret_n)
{
    *ret = mp_build_take(b, n, 32);
    for (size_t i = 0; i < n; i++) {
        char sub[64];
        snprintf(sub, sizeof(sub), "%s[%zu]", field, i);
        if (!parse(list[i], (*ret)[i])) {
            (void)mp_build_error(b, sub, cure, "not a SHA-256 hash");
        }
    }
    *ret_n = (uint32_t)n;
}

static void build_san(struct mp_conf_build *b, const pb_matcher *m, struct mp_conf_san *ret)
{
    const char *z = "";
    ret->ignore_case = m && m->ignore_case;
    switch (m ? m->match_pattern_case : 0) {
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_EXACT:
        ret->kind = MP_MATCH_EXACT;
        z = m->exact;
        break;
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_PREFIX:
        ret->kind = MP_MATCH_PREFIX;
        z = m->prefix;
        break;
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SUFFIX:
        ret->kind = MP_MATCH_SUFFIX;
        z = m->suffix;
        break;
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_CONTAINS:
        ret->kind = MP_MATCH_CONTAINS;
        z = m->contains;
        break;
    case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SAFE_REGEX:
        (void)mp_build_error(b, "safe_regex", "use exact, prefix, suffix or contains",
                             "names of certificates are not compared by regular expressions");
        return;
    default:
        break;
    }
    if (z[0] == '\0') {
        mp_build_missing(b, NULL, "add exact, prefix, suffix or contains", "the match is empty");
        return;
    }
    ret->value = mp_build_str(b, z);
}

static void build_sans(struct mp_conf_build *b, const pb_validation *m, struct mp_conf_tls *ret)
{
    static const uint8_t types[] = {
        [TLS(SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__EMAIL)] = MP_SAN_EMAIL,
        [TLS(SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__DNS)] = MP_SAN_DNS,
        [TLS(SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__URI)] = MP_SAN_URI,
        [TLS(SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__IP_ADDRESS)] = MP_SAN_IP,
    };
    size_t n = m->n_match_typed_subject_alt_names + m->n_match_subject_alt_names;
    ret->sans = mp_build_take(b, n, sizeof(*ret->sans));
    for (size_t i = 0; i < m->n_match_typed_subject_alt_names; i++) {
        size_t mark = mp_build_enter(b, "match_typed_subject_alt_names[%zu]", i);
        const pb_san *s = m->match_typed_subject_alt_names[i];
        unsigned type = (unsigned)s->san_type;
        if (type == 0 || type >= MP_COUNTOF(types)) {
            (void)mp_build_error(b, "san_type", "use DNS, URI, EMAIL or IP_ADDRESS",
                                 "value %u is not supported", type);
        } else {
            struct mp_conf_san *out = &ret->sans[ret->n_sans++];
            out->type = (enum mp_conf_san_type)types[type];
            size_t mark2 = mp_build_enter(b, "matcher");
            build_san(b, s->matcher, out);
            mp_build_leave(b, mark2);
        }
        mp_build_leave(b, mark);
    }
    for (size_t i = 0; i < m->n_match_subject_alt_names; i++) {
        size_t mark = mp_build_enter(b, "match_subject_alt_names[%zu]", i);
        build_san(b, m->match_subject_alt_names[i], &ret->sans[ret->n_sans++]);
        mp_build_leave(b, mark);
    }
}

static void build_validation(struct mp_conf_build *b, const pb_validation *m,
                             struct mp_conf_tls *ret)
{
    static const char ca_cure[] = "add trusted_ca";
    if (m->trusted_ca) {
        (void)mp_build_text(b, "trusted_ca", m->trusted_ca, CA_MAX, &ret->ca);
    }
    ret->system_roots |= m->system_root_certs != NULL;
    if (m->crl) {
        (void)mp_build_text(b, "crl", m->crl, CA_MAX, &ret->crl);
    }
    bool rooted = m->trusted_ca || ret->ca.bytes.n > 0 || ret->system_roots;
    if (m->crl && !rooted) {
        (void)mp_build_error(b, "crl", ca_cure, "a crl needs a CA");
    }
    ret->crl_leaf_only |= m->only_verify_leaf_cert_crl;
    ret->allow_expired |= m->allow_expired_certificate;
    ret->accept_untrusted |=
        m->trust_chain_verification ==
        TLS(CERTIFICATE_VALIDATION_CONTEXT__TRUST_CHAIN_VERIFICATION__ACCEPT_UNTRUSTED);
    mp_build_u32(b, "max_verify_depth", m->max_verify_depth, 1, 100, &ret->depth_max);
    if (m->n_verify_certificate_hash > 0) {
        build_pins(b, "verify_certificate_hash", m->verify_certificate_hash,
                   m->n_verify_certificate_hash, parse_hex, "use 64 hexadecimal digits",
                   &ret->hashes, &ret->n_hashes);
    }
    if (m->n_verify_certificate_spki > 0) {
        build_pins(b, "verify_certificate_spki", m->verify_certificate_spki,
                   m->n_verify_certificate_spki, parse_base64, "use 44 characters of base64",
                   &ret->keys, &ret->n_keys);
    }
    if (m->n_match_typed_subject_alt_names + m->n_match_subject_alt_names > 0) {
        build_sans(b, m, ret);
        if (!rooted && ret->n_hashes + ret->n_keys == 0) {
            (void)mp_build_error(b, "match_typed_subject_alt_names", ca_cure,
                                 "names of a certificate that nobody vouches for prove nothing");
        }
    }
}

static void build_validation_ref(struct mp_conf_build *b, const char *sub, const pb_sds *m,
                                 struct mp_conf_tls *ret)
{
    size_t mark = mp_build_enter(b, "%s", sub);
    const pb_secret *s =
        find_secret(b, "name", m, TLS(SECRET__TYPE_VALIDATION_CONTEXT), "validation context");
    if (s) {
        build_validation(b, s->validation_context, ret);
    }
    mp_build_leave(b, mark);
}

static void build_common(struct mp_conf_build *b, const pb_common *m, struct mp_conf_tls *ret)
{
    if (!m) {
        return;
    }
    size_t mark = mp_build_enter(b, "common_tls_context"), mark2;
    build_params(b, m->tls_params, ret);
    build_certs(b, m, ret);
    build_alpn(b, m, ret);
    switch (m->validation_context_type_case) {
    case TLS(COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_VALIDATION_CONTEXT):
        mark2 = mp_build_enter(b, "validation_context");
        build_validation(b, m->validation_context, ret);
        mp_build_leave(b, mark2);
        break;
    case TLS(COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_VALIDATION_CONTEXT_SDS_SECRET_CONFIG):
        build_validation_ref(b, "validation_context_sds_secret_config",
                             m->validation_context_sds_secret_config, ret);
        break;
    case TLS(COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_COMBINED_VALIDATION_CONTEXT):
        mark2 = mp_build_enter(b, "combined_validation_context");
        if (m->combined_validation_context->validation_context_sds_secret_config) {
            build_validation_ref(
                b, "validation_context_sds_secret_config",
                m->combined_validation_context->validation_context_sds_secret_config, ret);
        }
        if (m->combined_validation_context->default_validation_context) {
            size_t mark3 = mp_build_enter(b, "default_validation_context");
            build_validation(b, m->combined_validation_context->default_validation_context, ret);
            mp_build_leave(b, mark3);
        }
        mp_build_leave(b, mark2);
        break;
    default:
        break;
    }
    if (m->key_log) {
        if (m->key_log->path[0] == '\0') {
            mp_build_missing(b, "key_log.path", NULL, "path is missing");
        }
        ret->key_log = mp_build_str(b, m->key_log->path);
    }
    mp_build_leave(b, mark);
}

/* ---- both directions ---- */

static struct mp_conf_tls *begin(struct mp_conf_build *b, const ProtobufCMessage *m, bool server,
                                 uint64_t **ret_outer)
{
    struct mp_conf_tls *t = mp_build_take(b, 1, sizeof(*t));
    struct mp_str packed = mp_pb_pack(m, b->scratch);
    t->server = server;
    t->sessions_max = 1;
    t->path = mp_build_str(b, mp_build_shown(b, b->path));
    t->line = mp_build_line(b);
    t->hash = mp_hash_fnv(MP_FNV_SEED, packed.p, packed.n);
    *ret_outer = b->hash;
    b->hash = &t->hash;
    return t;
}

/* What was read is a part of the object around it, too. */
static void end(struct mp_conf_build *b, const struct mp_conf_tls *t, uint64_t *outer)
{
    b->hash = outer;
    if (outer) {
        *outer = mp_hash_fnv(*outer, &t->hash, sizeof(t->hash));
    }
}

static void build_tickets(struct mp_conf_build *b, const pb_ticket_keys *m, struct mp_conf_tls *ret)
{
    if (m->n_keys == 0 || m->n_keys > SERVER_TICKET_KEYS_MAX) {
        (void)mp_build_error(b, "keys", "give 1 to 16", "%zu keys", m->n_keys);
        return;
    }
    ret->ticket_keys = mp_build_take(b, m->n_keys, sizeof(*ret->ticket_keys));
    for (size_t i = 0; i < m->n_keys; i++) {
        char sub[32];
        snprintf(sub, sizeof(sub), "keys[%zu]", i);
        struct mp_conf_text *k = &ret->ticket_keys[ret->n_ticket_keys++];
        if (mp_build_text(b, sub, m->keys[i], 1024, k) && k->bytes.n != TICKET_KEY) {
            (void)mp_build_error(b, sub, "make one with openssl rand 80", "%zu bytes instead of 80",
                                 k->bytes.n);
        }
    }
}

static void build_down(struct mp_conf_build *b, const pb_down *m, struct mp_conf_tls *ret)
{
    build_common(b, m->common_tls_context, ret);
    if (ret->n_certs == 0) {
        mp_build_missing(b, "common_tls_context", "add tls_certificates",
                         "there is no certificate");
    }
    mp_build_bool(m->require_client_certificate, &ret->require_client_cert);
    bool roots = ret->ca.bytes.n > 0 || ret->system_roots;
    ret->ask_client_cert = ret->require_client_cert || roots || ret->n_hashes + ret->n_keys > 0;
    mp_build_bool(m->require_sni, &ret->require_sni);
    if (m->full_scan_certs_on_sni_mismatch && m->full_scan_certs_on_sni_mismatch->value) {
        mp_build_unsupported(b, "full_scan_certs_on_sni_mismatch", "leave it out",
                             "a name that no certificate has gets the first certificate");
    }
    uint64_t timeout_ms = 7200 * 1000;
    mp_build_ms(b, "session_timeout", m->session_timeout, &timeout_ms);
    ret->session_timeout_s = (uint32_t)MP_MIN(timeout_ms / 1000, 7u * 24 * 3600);
    switch (m->session_ticket_keys_type_case) {
    case TLS(DOWNSTREAM_TLS_CONTEXT__SESSION_TICKET_KEYS_TYPE_SESSION_TICKET_KEYS): {
        size_t mark = mp_build_enter(b, "session_ticket_keys");
        build_tickets(b, m->session_ticket_keys, ret);
        mp_build_leave(b, mark);
        break;
    }
    case TLS(
        DOWNSTREAM_TLS_CONTEXT__SESSION_TICKET_KEYS_TYPE_SESSION_TICKET_KEYS_SDS_SECRET_CONFIG): {
        size_t mark = mp_build_enter(b, "session_ticket_keys_sds_secret_config");
        const pb_secret *s = find_secret(b, "name", m->session_ticket_keys_sds_secret_config,
                                         TLS(SECRET__TYPE_SESSION_TICKET_KEYS), "ticket keys");
        if (s) {
            build_tickets(b, s->session_ticket_keys, ret);
        }
        mp_build_leave(b, mark);
        break;
    }
    default:
        ret->no_tickets = m->disable_stateless_session_resumption;
        break;
    }
    switch (m->ocsp_staple_policy) {
    case TLS(DOWNSTREAM_TLS_CONTEXT__OCSP_STAPLE_POLICY__LENIENT_STAPLING):
        break;
    case TLS(DOWNSTREAM_TLS_CONTEXT__OCSP_STAPLE_POLICY__STRICT_STAPLING):
        ret->ocsp = MP_OCSP_STRICT;
        break;
    case TLS(DOWNSTREAM_TLS_CONTEXT__OCSP_STAPLE_POLICY__MUST_STAPLE):
        ret->ocsp = MP_OCSP_MUST;
        break;
    default:
        (void)mp_build_error(b, "ocsp_staple_policy", NULL, "value %d is not supported",
                             (int)m->ocsp_staple_policy);
        break;
    }
}

static bool is_type(const ProtobufCMessage *m, const ProtobufCMessageDescriptor *d)
{
    return m->descriptor == d;
}

void mp_build_tls_down(struct mp_conf_build *b, const pb_transport_socket *m,
                       struct mp_conf_tls **ret)
{
    if (!m) {
        return;
    }
    size_t mark = mp_build_enter(b, "transport_socket");
    const ProtobufCMessage *any = mp_build_any(b, "typed_config", m->typed_config);
    size_t mark2 = mp_build_enter(b, "typed_config");
    if (!any) {
        if (m->typed_config && b->opts->allow_unsupported) {
            (void)mp_build_error(b, NULL, "remove the listener",
                                 "the listener cannot do without its transport socket");
        }
    } else if (is_type(any, &TLS_DOWN_DESCRIPTOR)) {
        uint64_t *outer;
        *ret = begin(b, any, true, &outer);
        build_down(b, (const pb_down *)any, *ret);
        end(b, *ret, outer);
    } else if (!is_type(any, &RAW_DESCRIPTOR)) {
        (void)mp_build_error(b, NULL, "use DownstreamTlsContext",
                             "%s is not a transport socket for listeners", any->descriptor->name);
    }
    mp_build_leave(b, mark2);
    mp_build_leave(b, mark);
}

static void build_up(struct mp_conf_build *b, const pb_up *m, struct mp_conf_tls *ret)
{
    build_common(b, m->common_tls_context, ret);
    if (ret->n_certs > 1) {
        (void)mp_build_error(b, "common_tls_context.tls_certificates[1]", NULL,
                             "an upstream is shown one certificate");
    }
    if (strlen(m->sni) > 255) {
        (void)mp_build_error(b, "sni", NULL, "the name is too long");
    }
    ret->sni = mp_build_str(b, m->sni);
    mp_build_u32(b, "max_session_keys", m->max_session_keys, 0, 1024, &ret->sessions_max);
    if (ret->ca.bytes.n == 0 && !ret->system_roots && ret->n_hashes + ret->n_keys == 0) {
        size_t line;
        const char *shown = mp_conf_place(b->places, b->path, &line);
        mp_diag_warn(b->diag, line, shown,
                     "add common_tls_context.validation_context with trusted_ca",
                     "the upstream's certificate is not verified: anyone in between can read and "
                     "change the traffic");
    }
}

static void build_up_socket(struct mp_conf_build *b, const pb_transport_socket *m, bool inner,
                            struct mp_conf_cluster *ret)
{
    const ProtobufCMessage *any = mp_build_any(b, "typed_config", m->typed_config);
    size_t mark = mp_build_enter(b, "typed_config");
    if (!any) {
        if (m->typed_config && b->opts->allow_unsupported) {
            (void)mp_build_error(b, NULL, "remove the cluster",
                                 "the cluster cannot do without its transport socket");
        }
    } else if (is_type(any, &TLS_UP_DESCRIPTOR)) {
        uint64_t *outer;
        ret->tls = begin(b, any, false, &outer);
        build_up(b, (const pb_up *)any, ret->tls);
        end(b, ret->tls, outer);
    } else if (!inner && is_type(any, &PROXY_DESCRIPTOR)) {
        const Envoy__Extensions__TransportSockets__ProxyProtocol__V3__ProxyProtocolUpstreamTransport
            *p = (const void *)any;
        bool v2 = p->config &&
                  p->config->version == ENVOY__CONFIG__CORE__V3__PROXY_PROTOCOL_CONFIG__VERSION__V2;
        ret->proxy_protocol = v2 ? 2 : 1;
        if (!p->transport_socket) {
            mp_build_missing(b, "transport_socket", "use raw_buffer",
                             "transport_socket is missing");
        } else {
            size_t mark2 = mp_build_enter(b, "transport_socket");
            build_up_socket(b, p->transport_socket, true, ret);
            mp_build_leave(b, mark2);
        }
    } else if (!is_type(any, &RAW_DESCRIPTOR)) {
        (void)mp_build_error(b, NULL, "use UpstreamTlsContext",
                             "%s is not a transport socket for clusters", any->descriptor->name);
    }
    mp_build_leave(b, mark);
}

void mp_build_tls_up(struct mp_conf_build *b, const pb_transport_socket *m,
                     struct mp_conf_cluster *ret)
{
    if (m) {
        size_t mark = mp_build_enter(b, "transport_socket");
        build_up_socket(b, m, false, ret);
        mp_build_leave(b, mark);
    }
}
