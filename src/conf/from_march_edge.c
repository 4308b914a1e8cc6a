/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the simple file says about the outside: listen, admin. */
#include <stdio.h>

#include "base/assert.h"
#include "conf/march.h"

/* ---- addresses ---- */

static bool bad_address(struct mp_march *m, const char *sub, const char *text)
{
    (void)mp_build_error(m->b, sub, "write IP:PORT, :PORT, [IPv6]:PORT or unix:/path",
                         "\"%s\" is not an address", text);
    return false;
}

/* host is cut out of text: "1.2.3.4:80", "[::1]:80", ":80". */
static bool split_address(struct mp_march *m, const char *sub, const char *text,
                          struct mp_conf_addr *ret)
{
    uint64_t port;
    bool ip6;
    const char *colon = strrchr(text, ':');
    if (!colon || mp_is_err(mp_str_to_u64(mp_str_c(colon + 1), &port))) {
        return bad_address(m, sub, text);
    }
    if (port > 65535) {
        (void)mp_build_error(m->b, sub, "use 1 to 65535", "port %llu is out of range",
                             (unsigned long long)port);
        return false;
    }
    size_t n = (size_t)(colon - text);
    bool bracket = n >= 2 && text[0] == '[' && text[n - 1] == ']';
    char *host = n == 0 ? mp_march_printf(m, "0.0.0.0")
                        : mp_march_printf(m, "%.*s", (int)(bracket ? n - 2 : n), text + bracket);
    if (strcmp(host, "localhost") == 0) {
        host = mp_march_printf(m, "127.0.0.1");
    }
    if (!mp_conf_is_ip(host, &ip6) || ip6 != bracket) {
        return bad_address(m, sub, text);
    }
    *ret = (struct mp_conf_addr){.host = mp_str_c(host), .port = (uint16_t)port};
    return true;
}

bool mp_march_addr(struct mp_march *m, const char *sub, const pb_value *v, struct mp_conf_addr *ret)
{
    if (v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE && v->number_value >= 0 &&
        v->number_value <= 65535 && v->number_value == (double)(uint16_t)v->number_value) {
        *ret = (struct mp_conf_addr){.host = MP_STR("0.0.0.0"), .port = (uint16_t)v->number_value};
        return true;
    }
    if (v->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE) {
        (void)mp_build_error(m->b, sub, "write IP:PORT, :PORT, [IPv6]:PORT or unix:/path",
                             "an address is expected");
        return false;
    }
    const char *text = v->string_value;
    if (strncmp(text, "unix:", 5) == 0 && text[5]) {
        *ret = (struct mp_conf_addr){.host = mp_str_c(text + 5), .is_unix = true};
        return true;
    }
    return split_address(m, sub, text, ret);
}

/* ---- listen ---- */

static const pb_value *member(struct mp_march *m, const char *sub,
                              const Google__Protobuf__Struct *s, const char *key)
{
    const pb_value *found = NULL;
    for (size_t i = 0; i < s->n_fields; i++) {
        const char *k = s->fields[i]->key;
        if (strcmp(k, key) == 0) {
            found = s->fields[i]->value;
        } else if (strcmp(k, "address") != 0 && strcmp(k, "name") != 0 &&
                   strcmp(k, "reuse_port") != 0 && strcmp(k, "tls") != 0 &&
                   strcmp(k, "redirect") != 0) {
            char at[128];
            snprintf(at, sizeof(at), "%s[\"%s\"]", sub, k);
            (void)mp_build_error(m->b, at, "known are: address, name, redirect, reuse_port, tls",
                                 "unknown key");
        }
    }
    return found;
}

const pb_value *mp_march_member(const Google__Protobuf__Struct *s, const char *key)
{
    const pb_value *found = NULL;
    for (size_t i = 0; i < s->n_fields; i++) {
        if (strcmp(s->fields[i]->key, key) == 0) {
            found = s->fields[i]->value;
        }
    }
    return found;
}

/* Without a word: with certificates a listener takes TLS and plain text, but for :443 (TLS) and :80
 * (sends everybody to https). */
static void set_tls(struct mp_march *m, const char *sub, const pb_value *tls,
                    const pb_value *redirect, struct mp_march_listener *l)
{
    bool certs = mp_march_has_certificates(m), word = tls != NULL;
    uint16_t port = l->addr.is_unix ? 0 : l->addr.port;
    l->redirect = certs && port == 80 && !word;
    l->tls = !certs        ? MP_MARCH_TLS_OFF
             : port == 443 ? MP_MARCH_TLS_ON
             : l->redirect ? MP_MARCH_TLS_OFF
                           : MP_MARCH_TLS_DETECT;
    if (tls && tls->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE) {
        l->tls = tls->bool_value ? MP_MARCH_TLS_ON : MP_MARCH_TLS_OFF;
    } else if (tls && tls->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE &&
               strcmp(tls->string_value, "detect") == 0) {
        l->tls = MP_MARCH_TLS_DETECT;
    } else if (tls) {
        (void)mp_build_error(m->b, sub, "use true, false or detect", "tls is none of its values");
    }
    if (redirect && redirect->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE) {
        l->redirect = redirect->bool_value;
        l->tls = l->redirect && !word ? MP_MARCH_TLS_OFF : l->tls;
    } else if (redirect) {
        (void)mp_build_error(m->b, sub, NULL, "redirect is neither true nor false");
    }
    if (l->tls != MP_MARCH_TLS_OFF && !certs) {
        (void)mp_build_error(m->b, sub, "add certificates", "tls without a certificate");
    }
}

static bool add_listener(struct mp_march *m, const char *sub, const pb_value *v)
{
    struct mp_march_listener *l = &m->listeners[m->n_listeners];
    const pb_value *tls = NULL, *redirect = NULL;
    size_t errors = m->b->diag->errors;
    *l = (struct mp_march_listener){.written = mp_march_printf(m, "%s", sub)};
    if (v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE) {
        const pb_value *address = member(m, sub, v->struct_value, "address");
        const pb_value *name = mp_march_member(v->struct_value, "name");
        const pb_value *share = mp_march_member(v->struct_value, "reuse_port");
        tls = mp_march_member(v->struct_value, "tls");
        redirect = mp_march_member(v->struct_value, "redirect");
        if (!address) {
            (void)mp_build_error(m->b, sub, NULL, "address is missing");
            return false;
        }
        if (name && name->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE &&
            name->string_value[0]) {
            l->name = name->string_value;
        } else if (name) {
            (void)mp_build_error(m->b, sub, NULL, "name is not a text");
        }
        if (share && share->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE) {
            (void)mp_build_error(m->b, sub, NULL, "reuse_port is neither true nor false");
        }
        l->reuse_port = share && share->bool_value;
        v = address;
    }
    if (!mp_march_addr(m, sub, v, &l->addr)) {
        return false;
    }
    set_tls(m, sub, tls, redirect, l);
    if (m->b->diag->errors != errors) {
        return false;
    }
    if (!l->name) {
        l->name = m->n_listeners == 0
                      ? "marchproxy_listener"
                      : mp_march_printf(m, "marchproxy_listener_%zu", m->n_listeners + 1);
    }
    m->n_listeners++;
    return true;
}

bool mp_march_listen(struct mp_march *m)
{
    const pb_value *v = m->file->listen;
    pb_value standard = GOOGLE__PROTOBUF__VALUE__INIT;
    bool ok = true;
    if (!v || v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE) {
        standard.kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
        standard.string_value = (char *)"0.0.0.0:10000";
        v = &standard;
    }
    if (v->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE) {
        m->listeners = MP_MARCH_LIST(m, m->listeners, 1);
        return add_listener(m, "listen", v);
    }
    m->listeners = MP_MARCH_LIST(m, m->listeners, v->list_value->n_values);
    if (v->list_value->n_values == 0) {
        (void)mp_build_error(m->b, "listen", "leave it out for 0.0.0.0:10000", "the list is empty");
        return false;
    }
    for (size_t i = 0; i < v->list_value->n_values; i++) {
        char sub[32];
        snprintf(sub, sizeof(sub), "listen[%zu]", i);
        ok &= add_listener(m, sub, v->list_value->values[i]);
    }
    return ok;
}

/* ---- admin ---- */

/* "off", false and null switch a thing off. */
bool mp_march_is_off(const pb_value *v)
{
    return (v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE &&
            strcmp(v->string_value, "off") == 0) ||
           (v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE && !v->bool_value);
}

Envoy__Config__Bootstrap__V3__Admin *mp_march_admin(struct mp_march *m)
{
    const pb_value *v = m->file->admin;
    struct mp_conf_addr a = {.host = MP_STR("127.0.0.1"), .port = 9901};
    bool given = v && v->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE;
    if (given && mp_march_is_off(v)) {
        return NULL;
    }
    if (given && !mp_march_addr(m, "admin", v, &a)) {
        return NULL;
    }
    Envoy__Config__Bootstrap__V3__Admin *admin =
        MP_MARCH_NEW(m, envoy__config__bootstrap__v3__admin);
    admin->address = mp_march_conf_address(m, &a);
    return admin;
}

pb_address *mp_march_conf_address(struct mp_march *m, const struct mp_conf_addr *a)
{
    if (!a->is_unix) {
        return mp_march_address(m, a->host.p, a->port);
    }
    pb_address *out = MP_MARCH_NEW(m, envoy__config__core__v3__address);
    out->address_case = ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_PIPE;
    out->pipe = MP_MARCH_NEW(m, envoy__config__core__v3__pipe);
    out->pipe->path = (char *)a->host.p;
    return out;
}
