/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* certificates of the simple file, and who uses them: listeners, and services over TLS. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "conf/march.h"
#include "envoy_extensions_transport_sockets_tls_v3.pb-c.h"

typedef Marchproxy__Config__V1__Certificate pb_certificate;
typedef Envoy__Config__Core__V3__DataSource pb_source;
typedef Envoy__Config__Core__V3__TransportSocket pb_transport_socket;
typedef Envoy__Extensions__TransportSockets__Tls__V3__CommonTlsContext pb_common;
typedef Envoy__Extensions__TransportSockets__Tls__V3__TlsCertificate pb_tls_cert;
typedef Envoy__Extensions__TransportSockets__Tls__V3__CertificateValidationContext pb_validation;
#define TLS(name)      ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__##name
#define TLS_DESC(name) envoy__extensions__transport_sockets__tls__v3__##name

/* ---- checks ---- */

static bool has_cert(const pb_certificate *c)
{
    return c->cert_chain[0] || c->cert_chain_file[0];
}

static bool has_ca(const pb_certificate *c)
{
    return c->ca_cert[0] || c->ca_cert_file[0];
}

static void check_twice(struct mp_march *m, const char *field, const char *text, const char *file)
{
    if (text[0] && file[0]) {
        (void)mp_build_error(m->b, field, "keep one of them", "%s and %s_file exclude each other",
                             field, field);
    }
}

static void check_certificate(struct mp_march *m, size_t i)
{
    const pb_certificate *c = m->file->certificates[i];
    struct mp_conf_build *b = m->b;
    if (c->name[0] == '\0') {
        mp_build_missing(b, "name", NULL, "name is missing");
    }
    for (size_t j = 0; j < i && c->name[0]; j++) {
        if (strcmp(m->file->certificates[j]->name, c->name) == 0) {
            (void)mp_build_error(b, "name", NULL, "name \"%s\" is that of certificates[%zu] too",
                                 c->name, j);
        }
    }
    check_twice(m, "cert_chain", c->cert_chain, c->cert_chain_file);
    check_twice(m, "private_key", c->private_key, c->private_key_file);
    check_twice(m, "ca_cert", c->ca_cert, c->ca_cert_file);
    bool key = c->private_key[0] || c->private_key_file[0];
    if (has_cert(c) != key) {
        mp_build_missing(b, key ? "cert_chain_file" : "private_key_file", NULL,
                         "a certificate needs its chain and its key");
    } else if (!key && !has_ca(c)) {
        mp_build_missing(b, "cert_chain_file", "add cert_chain_file and private_key_file",
                         "there is no certificate");
    }
    if (c->require_client && !has_ca(c)) {
        mp_build_missing(b, "ca_cert_file", NULL,
                         "require_client needs the CA of the clients: ca_cert or ca_cert_file");
    }
}

void mp_march_check_certificates(struct mp_march *m)
{
    const pb_certificate *first = NULL;
    for (size_t i = 0; i < m->file->n_certificates; i++) {
        const pb_certificate *c = m->file->certificates[i];
        size_t mark = mp_build_enter(m->b, "certificates[%zu]", i);
        check_certificate(m, i);
        if (has_cert(c) && first && first->require_client != c->require_client) {
            (void)mp_build_error(m->b, "require_client",
                                 "give every certificate the same, or use an Envoy bootstrap",
                                 "certificates of one listener must agree on require_client");
        }
        first = first ? first : has_cert(c) ? c : NULL;
        mp_build_leave(m->b, mark);
    }
}

bool mp_march_has_certificates(const struct mp_march *m)
{
    for (size_t i = 0; i < m->file->n_certificates; i++) {
        if (has_cert(m->file->certificates[i])) {
            return true;
        }
    }
    return false;
}

static const pb_certificate *find(const struct mp_march *m, const char *name)
{
    for (size_t i = 0; i < m->file->n_certificates; i++) {
        if (strcmp(m->file->certificates[i]->name, name) == 0) {
            return m->file->certificates[i];
        }
    }
    return NULL;
}

/* ---- messages ---- */

static pb_source *source(struct mp_march *m, const char *text, const char *file)
{
    if (!text[0] && !file[0]) {
        return NULL;
    }
    pb_source *s = MP_MARCH_NEW(m, envoy__config__core__v3__data_source);
    if (file[0]) {
        s->specifier_case = ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_FILENAME;
        s->filename = (char *)(uintptr_t)file;
    } else {
        s->specifier_case = ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_STRING;
        s->inline_string = (char *)(uintptr_t)text;
    }
    return s;
}

static pb_tls_cert *tls_cert(struct mp_march *m, const pb_certificate *c)
{
    pb_tls_cert *t = mp_march_new(m, &TLS_DESC(tls_certificate__descriptor));
    t->certificate_chain = source(m, c->cert_chain, c->cert_chain_file);
    t->private_key = source(m, c->private_key, c->private_key_file);
    t->password = source(m, c->password, c->password_file);
    t->ocsp_staple = source(m, "", c->ocsp_staple_file);
    return t;
}

static void set_validation(pb_common *common, pb_validation *v)
{
    common->validation_context_type_case =
        TLS(COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_VALIDATION_CONTEXT);
    common->validation_context = v;
}

static pb_transport_socket *socket_of(struct mp_march *m, const ProtobufCMessage *context)
{
    pb_transport_socket *s = MP_MARCH_NEW(m, envoy__config__core__v3__transport_socket);
    s->name = (char *)(uintptr_t) "envoy.transport_sockets.tls";
    s->config_type_case = ENVOY__CONFIG__CORE__V3__TRANSPORT_SOCKET__CONFIG_TYPE_TYPED_CONFIG;
    s->typed_config = mp_march_any(m, context);
    return s;
}

/* ---- listeners ---- */

pb_transport_socket *mp_march_listener_tls(struct mp_march *m, const char *path)
{
    const pb_simple_file *f = m->file;
    Envoy__Extensions__TransportSockets__Tls__V3__DownstreamTlsContext *d =
        mp_march_new(m, &TLS_DESC(downstream_tls_context__descriptor));
    pb_common *c = mp_march_new(m, &TLS_DESC(common_tls_context__descriptor));
    d->common_tls_context = c;
    c->tls_certificates = MP_MARCH_LIST(m, c->tls_certificates, f->n_certificates);
    c->alpn_protocols = MP_MARCH_LIST(m, c->alpn_protocols, 2);
    c->alpn_protocols[c->n_alpn_protocols++] = (char *)(uintptr_t) "h2";
    c->alpn_protocols[c->n_alpn_protocols++] = (char *)(uintptr_t) "http/1.1";
    mp_conf_places_add(m->places, path, "certificates", false);
    for (size_t i = 0; i < f->n_certificates; i++) {
        const pb_certificate *k = f->certificates[i];
        if (!has_cert(k)) {
            continue;
        }
        mp_conf_places_add(m->places,
                           mp_march_printf(m, "%s.common_tls_context.tls_certificates[%zu]", path,
                                           c->n_tls_certificates),
                           mp_march_printf(m, "certificates[%zu]", i), false);
        c->tls_certificates[c->n_tls_certificates++] = tls_cert(m, k);
        if (has_ca(k) && !c->validation_context) {
            pb_validation *v =
                mp_march_new(m, &TLS_DESC(certificate_validation_context__descriptor));
            v->trusted_ca = source(m, k->ca_cert, k->ca_cert_file);
            v->crl = source(m, "", k->crl_file);
            set_validation(c, v);
            d->require_client_certificate = mp_march_bool(m, k->require_client);
        }
    }
    return socket_of(m, &d->base);
}

/* ---- services ---- */

static void match_host(struct mp_march *m, pb_validation *v, const char *host, bool ip)
{
    Envoy__Extensions__TransportSockets__Tls__V3__SubjectAltNameMatcher *s =
        mp_march_new(m, &TLS_DESC(subject_alt_name_matcher__descriptor));
    s->san_type = ip ? TLS(SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__IP_ADDRESS)
                     : TLS(SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__DNS);
    s->matcher = MP_MARCH_NEW(m, envoy__type__matcher__v3__string_matcher);
    s->matcher->match_pattern_case = ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_EXACT;
    s->matcher->exact = (char *)(uintptr_t)host;
    v->match_typed_subject_alt_names[v->n_match_typed_subject_alt_names++] = s;
}

void mp_march_check_service_tls(struct mp_march *m, const pb_service *s)
{
    if (s->tls_cert_name[0] && !find(m, s->tls_cert_name)) {
        (void)mp_build_error(m->b, "tls_cert_name", "add it to certificates",
                             "there is no certificate \"%s\"", s->tls_cert_name);
    }
}

/* The service's certificate must be for one of its hosts, from the CA named or one of the
 * system's. */
pb_transport_socket *mp_march_service_tls(struct mp_march *m, const pb_service *s)
{
    const pb_certificate *cert = s->tls_cert_name[0] ? find(m, s->tls_cert_name) : NULL;
    Envoy__Extensions__TransportSockets__Tls__V3__UpstreamTlsContext *u =
        mp_march_new(m, &TLS_DESC(upstream_tls_context__descriptor));
    pb_common *c = mp_march_new(m, &TLS_DESC(common_tls_context__descriptor));
    bool ip6, verify = !s->tls_verify || s->tls_verify->value;
    u->common_tls_context = c;
    if (cert && has_cert(cert)) {
        c->tls_certificates = MP_MARCH_LIST(m, c->tls_certificates, 1);
        c->tls_certificates[c->n_tls_certificates++] = tls_cert(m, cert);
    }
    pb_validation *v = mp_march_new(m, &TLS_DESC(certificate_validation_context__descriptor));
    v->match_typed_subject_alt_names =
        MP_MARCH_LIST(m, v->match_typed_subject_alt_names, s->n_hosts);
    for (size_t i = 0; i < s->n_hosts; i++) {
        bool ip = mp_conf_is_ip(s->hosts[i], &ip6) || ip6;
        if (!ip && !u->sni[0]) {
            u->sni = s->hosts[i];
        }
        match_host(m, v, s->hosts[i], ip);
    }
    if (verify) {
        if (cert && has_ca(cert)) {
            v->trusted_ca = source(m, cert->ca_cert, cert->ca_cert_file);
        } else {
            v->system_root_certs = mp_march_new(
                m, &TLS_DESC(certificate_validation_context__system_root_certs__descriptor));
        }
        set_validation(c, v);
    }
    return socket_of(m, &u->base);
}

/* ---- to https ---- */

#define ACME "/.well-known/acme-challenge/"

static pb_route *add_route(struct mp_march *m, pb_vhost *v, const char *prefix)
{
    pb_route *r = MP_MARCH_NEW(m, envoy__config__route__v3__route);
    r->match = MP_MARCH_NEW(m, envoy__config__route__v3__route_match);
    r->match->path_specifier_case = ENVOY__CONFIG__ROUTE__V3__ROUTE_MATCH__PATH_SPECIFIER_PREFIX;
    r->match->prefix = (char *)(uintptr_t)prefix;
    v->routes[v->n_routes++] = r;
    return r;
}

/* 301 for GET and HEAD; others must come again as they were. */
static void add_redirect(struct mp_march *m, pb_vhost *v, const char *method)
{
    pb_route *r = add_route(m, v, "/");
    if (method) {
        Envoy__Config__Route__V3__HeaderMatcher *h =
            MP_MARCH_NEW(m, envoy__config__route__v3__header_matcher);
        h->name = (char *)(uintptr_t) ":method";
        h->header_match_specifier_case =
            ENVOY__CONFIG__ROUTE__V3__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_STRING_MATCH;
        h->string_match = MP_MARCH_NEW(m, envoy__type__matcher__v3__string_matcher);
        h->string_match->match_pattern_case =
            ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_EXACT;
        h->string_match->exact = (char *)(uintptr_t)method;
        r->match->headers = MP_MARCH_LIST(m, r->match->headers, 1);
        r->match->headers[r->match->n_headers++] = h;
    }
    r->action_case = ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_REDIRECT;
    r->redirect = MP_MARCH_NEW(m, envoy__config__route__v3__redirect_action);
    r->redirect->scheme_rewrite_specifier_case =
        ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__SCHEME_REWRITE_SPECIFIER_HTTPS_REDIRECT;
    r->redirect->https_redirect = true;
    r->redirect->response_code =
        method
            ? ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__MOVED_PERMANENTLY
            : ENVOY__CONFIG__ROUTE__V3__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__PERMANENT_REDIRECT;
}

pb_route_config *mp_march_redirect_routes(struct mp_march *m)
{
    pb_route_config *c = MP_MARCH_NEW(m, envoy__config__route__v3__route_configuration);
    pb_vhost *v = MP_MARCH_NEW(m, envoy__config__route__v3__virtual_host);
    c->name = (char *)(uintptr_t) "redirect";
    c->virtual_hosts = MP_MARCH_LIST(m, c->virtual_hosts, 1);
    c->virtual_hosts[c->n_virtual_hosts++] = v;
    v->name = (char *)(uintptr_t) "redirect";
    v->domains = MP_MARCH_LIST(m, v->domains, 1);
    v->domains[v->n_domains++] = (char *)(uintptr_t) "*";
    v->routes = MP_MARCH_LIST(m, v->routes, 4);
    for (size_t i = 0; i < m->file->n_routes; i++) {
        const pb_march_route *r = m->file->routes[i];
        size_t n = strlen(r->prefix);
        bool all = r->n_hosts == 0 || strcmp(r->hosts[0], "*") == 0;
        if (n > 0 && all && r->cluster_name[0] && strncmp(ACME, r->prefix, n) == 0) {
            /* Proofs for a new certificate are asked for without TLS. */
            pb_route *acme = add_route(m, v, ACME);
            acme->action_case = ENVOY__CONFIG__ROUTE__V3__ROUTE__ACTION_ROUTE;
            acme->route = MP_MARCH_NEW(m, envoy__config__route__v3__route_action);
            acme->route->cluster_specifier_case =
                ENVOY__CONFIG__ROUTE__V3__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER;
            acme->route->cluster = r->cluster_name;
            break;
        }
    }
    add_redirect(m, v, "GET");
    add_redirect(m, v, "HEAD");
    add_redirect(m, v, NULL);
    return c;
}
