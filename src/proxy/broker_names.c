/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "proxy/broker_names.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "conf/model.h"
#include "io/addr.h"

void mp_broker_names_fini(struct mp_broker_names *b)
{
    for (size_t i = 0; i < b->n; i++) {
        free(b->v[i].path);
    }
    free(b->v);
    *b = (struct mp_broker_names){0};
}

static bool same(const struct mp_broker_name *a, const struct mp_broker_name *b)
{
    if ((a->path == NULL) != (b->path == NULL)) {
        return false;
    }
    if (a->path != NULL) {
        return a->kind == b->kind && strcmp(a->path, b->path) == 0;
    }
    return a->family == b->family && a->port == b->port && memcmp(a->ip, b->ip, 16) == 0;
}

/* Takes name->path. */
static void add(struct mp_broker_names *b, const struct mp_broker_name *name)
{
    for (size_t i = 0; i < b->n; i++) {
        if (same(&b->v[i], name)) {
            b->v[i].reading = b->reading;
            free(name->path);
            return;
        }
    }
    if (b->n == MP_BROKER_NAMES_MAX) {
        free(name->path);
        return;
    }
    if (b->n == b->cap) {
        b->cap = b->cap > 0 ? 2 * b->cap : 16;
        b->v = mp_xrealloc(b->v, b->cap * sizeof(*b->v));
    }
    b->v[b->n] = *name;
    b->v[b->n++].reading = b->reading;
}

void mp_broker_names_add_path(struct mp_broker_names *b, struct mp_str path,
                              enum mp_conf_named_kind kind)
{
    if (path.n > 0 && memchr(path.p, '\0', path.n) == NULL) {
        add(b, &(struct mp_broker_name){.path = mp_str_dup_c(path), .kind = kind});
    }
}

static void add_addr(struct mp_broker_names *b, const struct mp_conf_addr *c)
{
    struct mp_addr a;
    if (c->is_unix || mp_is_err(mp_addr_parse_ip(c->host, c->port, &a))) {
        return;
    }
    struct mp_broker_name name = {.family = a.family == MP_ADDR_IP4 ? 4 : 6, .port = a.port};
    memcpy(name.ip, a.ip, name.family == 4 ? 4 : 16);
    add(b, &name);
}

void mp_broker_names_add_addrs(struct mp_broker_names *b, const struct mp_conf *conf)
{
    for (uint32_t i = 0; i < conf->n_listeners; i++) {
        for (uint32_t j = 0; j < conf->listeners[i]->n_addrs; j++) {
            add_addr(b, &conf->listeners[i]->addrs[j]);
        }
    }
    if (conf->admin.present) {
        add_addr(b, &conf->admin.addr);
        if (conf->admin.has_metrics) {
            add_addr(b, &conf->admin.metrics);
        }
    }
}

bool mp_broker_names_has_path(const struct mp_broker_names *b, const char *path,
                              enum mp_conf_named_kind kind)
{
    for (size_t i = 0; i < b->n; i++) {
        if (b->v[i].path != NULL && b->v[i].kind == kind && strcmp(b->v[i].path, path) == 0) {
            return true;
        }
    }
    return false;
}

bool mp_broker_names_has_addr(const struct mp_broker_names *b, const struct sockaddr *sa, size_t n)
{
    struct mp_broker_name wanted = {0};
    if (n >= sizeof(struct sockaddr_in) && sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;
        wanted.family = 4;
        wanted.port = ntohs(in->sin_port);
        memcpy(wanted.ip, &in->sin_addr, 4);
    } else if (n >= sizeof(struct sockaddr_in6) && sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)sa;
        wanted.family = 6;
        wanted.port = ntohs(in->sin6_port);
        memcpy(wanted.ip, &in->sin6_addr, 16);
    } else {
        return false;
    }
    for (size_t i = 0; i < b->n; i++) {
        if (same(&b->v[i], &wanted)) {
            return true;
        }
    }
    return false;
}

void mp_broker_names_commit(struct mp_broker_names *b)
{
    size_t kept = 0;
    for (size_t i = 0; i < b->n; i++) {
        if (b->v[i].reading == b->reading) {
            b->v[kept++] = b->v[i];
        } else {
            free(b->v[i].path);
        }
    }
    b->n = kept;
}
