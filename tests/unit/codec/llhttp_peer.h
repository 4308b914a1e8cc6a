/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A second opinion: what llhttp in strict mode makes of the same bytes. What our parser accepts,
 * llhttp must accept and read in the same way; it may accept more. */
#pragma once
#include <llhttp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "unit/codec/codec_help.h"

#define PEER_FIELDS 130

struct peer_span {
    const char *p;
    size_t n;
};

struct peer {
    llhttp_t parser;
    llhttp_settings_t settings;
    struct peer_span url, status, name[PEER_FIELDS], value[PEER_FIELDS];
    size_t n_fields;
    bool headers_done, message_done;
    bool stop_at_headers;
    bool no_body; /* the answer to HEAD */
    char *body;
    size_t body_n;
    /* as they were when the head was complete */
    uint8_t method, minor, keep_alive, needs_eof;
    uint16_t flags, code;
    uint64_t content_length;
};

static inline int peer_extend(struct peer_span *s, const char *at, size_t n)
{
    /* All input is given at once, so a span is never in two pieces. */
    s->p = at;
    s->n = n;
    return 0;
}
static inline int peer_on_url(llhttp_t *ll, const char *at, size_t n)
{
    return peer_extend(&((struct peer *)ll->data)->url, at, n);
}
static inline int peer_on_status(llhttp_t *ll, const char *at, size_t n)
{
    return peer_extend(&((struct peer *)ll->data)->status, at, n);
}
static inline int peer_on_name(llhttp_t *ll, const char *at, size_t n)
{
    struct peer *p = ll->data;
    return p->headers_done || p->n_fields >= PEER_FIELDS
               ? 0
               : peer_extend(&p->name[p->n_fields], at, n);
}
static inline int peer_on_value(llhttp_t *ll, const char *at, size_t n)
{
    struct peer *p = ll->data;
    return p->headers_done || p->n_fields >= PEER_FIELDS
               ? 0
               : peer_extend(&p->value[p->n_fields], at, n);
}
static inline int peer_on_value_complete(llhttp_t *ll)
{
    struct peer *p = ll->data;
    if (!p->headers_done && p->n_fields < PEER_FIELDS) {
        p->n_fields++;
    }
    return 0;
}
static inline int peer_on_headers(llhttp_t *ll)
{
    struct peer *p = ll->data;
    p->headers_done = true;
    p->method = ll->method;
    p->minor = ll->http_minor;
    p->flags = ll->flags;
    p->code = ll->status_code;
    p->content_length = ll->content_length;
    p->keep_alive = (uint8_t)llhttp_should_keep_alive(ll);
    p->needs_eof = (uint8_t)llhttp_message_needs_eof(ll);
    return p->stop_at_headers ? HPE_PAUSED : p->no_body;
}
static inline int peer_on_body(llhttp_t *ll, const char *at, size_t n)
{
    struct peer *p = ll->data;
    memcpy(p->body + p->body_n, at, n);
    p->body_n += n;
    return 0;
}
static inline int peer_on_message(llhttp_t *ll)
{
    ((struct peer *)ll->data)->message_done = true;
    return HPE_PAUSED;
}

/* Runs llhttp over in[0..n). body: room for n bytes. Returns its verdict. */
static inline llhttp_errno_t peer_run(struct peer *p, llhttp_type_t type, bool stop_at_headers,
                                      const char *in, size_t n, char *body)
{
    memset(p, 0, sizeof(*p));
    llhttp_settings_init(&p->settings);
    p->settings.on_url = peer_on_url;
    p->settings.on_status = peer_on_status;
    p->settings.on_header_field = peer_on_name;
    p->settings.on_header_value = peer_on_value;
    p->settings.on_header_value_complete = peer_on_value_complete;
    p->settings.on_headers_complete = peer_on_headers;
    p->settings.on_body = peer_on_body;
    p->settings.on_message_complete = peer_on_message;
    llhttp_init(&p->parser, type, &p->settings);
    p->parser.data = p;
    p->stop_at_headers = stop_at_headers;
    p->body = body;
    return llhttp_execute(&p->parser, in, n);
}

static inline bool peer_eq(struct peer_span s, const char *p, size_t n)
{
    return s.n == n && (n == 0 || memcmp(s.p, p, n) == 0);
}

static inline bool peer_same_fields(const struct peer *peer, const struct parsed *p)
{
    if (peer->n_fields != p->n_fields) {
        return false;
    }
    for (size_t i = 0; i < p->n_fields; i++) {
        struct peer_span name = peer->name[i], value = peer->value[i];
        const struct mp_hdr *f = &p->f[i];
        while (value.n > 0 && (value.p[value.n - 1] == ' ' || value.p[value.n - 1] == '\t')) {
            value.n--;
        }
        if (name.n != f->name_n || !peer_eq(value, f->value, f->value_n)) {
            return false;
        }
        for (size_t k = 0; k < name.n; k++) {
            char c = name.p[k];
            if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != f->name[k]) {
                return false;
            }
        }
    }
    return true;
}

/* NULL, or what is different. p: the outcome of our parser for in[0..n), which is OK. */
static inline const char *peer_check_request(const char *in, size_t n, const struct parsed *p)
{
    static const llhttp_method_t methods[MP_METHOD_COUNT] = {
        [MP_METHOD_GET] = HTTP_GET,         [MP_METHOD_HEAD] = HTTP_HEAD,
        [MP_METHOD_POST] = HTTP_POST,       [MP_METHOD_PUT] = HTTP_PUT,
        [MP_METHOD_DELETE] = HTTP_DELETE,   [MP_METHOD_CONNECT] = HTTP_CONNECT,
        [MP_METHOD_OPTIONS] = HTTP_OPTIONS, [MP_METHOD_TRACE] = HTTP_TRACE,
        [MP_METHOD_PATCH] = HTTP_PATCH};
    static struct peer peer;
    if (p->rq.method == MP_METHOD_OTHER) {
        return NULL; /* llhttp has a closed list of methods */
    }
    llhttp_errno_t e = peer_run(&peer, HTTP_REQUEST, true, in, n, NULL);
    if (!peer.headers_done) {
        return llhttp_errno_name(e);
    }
    if (peer.method != methods[p->rq.method]) {
        return "method";
    }
    if (peer.minor != p->rq.minor) {
        return "version";
    }
    /* The target as it was received: method SP target SP. */
    const char *url = in + (in[0] == '\r' ? 2 : 0) + p->rq.method_name.n + 1;
    if (peer.url.p != url) {
        return "place of the target";
    }
    struct mp_str path = p->rq.path;
    switch (p->rq.form) {
    case MP_TARGET_AUTHORITY:
        if (!peer_eq(peer.url, p->rq.authority.p, p->rq.authority.n)) {
            return "authority";
        }
        break;
    case MP_TARGET_ABSOLUTE: {
        size_t at = p->rq.scheme.n + 3 + p->rq.authority.n;
        size_t rest = peer.url.n - at;
        if (peer.url.n < at || memcmp(peer.url.p + at - p->rq.authority.n, p->rq.authority.p,
                                      p->rq.authority.n) != 0) {
            return "authority";
        }
        bool slash_added = rest == 0 || peer.url.p[at] == '?';
        if (rest + slash_added != path.n ||
            memcmp(peer.url.p + at, path.p + slash_added, rest) != 0) {
            return "path";
        }
        break;
    }
    default:
        if (!peer_eq(peer.url, path.p, path.n)) {
            return "path";
        }
    }
    if (!peer_same_fields(&peer, p)) {
        return "fields";
    }
    if (((peer.flags & F_CHUNKED) != 0) != (p->rq.body == MP_BODY_CHUNKED) ||
        ((peer.flags & F_CONTENT_LENGTH) != 0) != p->rq.has_content_length ||
        (p->rq.has_content_length && peer.content_length != p->rq.content_length)) {
        return "framing";
    }
    if (p->rq.keep_alive && !peer.keep_alive) {
        return "keep-alive";
    }
    return NULL;
}

static inline const char *peer_check_response(const char *in, size_t n, const struct parsed *p)
{
    static struct peer peer;
    llhttp_errno_t e = peer_run(&peer, HTTP_RESPONSE, true, in, n, NULL);
    if (!peer.headers_done) {
        return llhttp_errno_name(e);
    }
    if (peer.code != p->rs.status || peer.minor != p->rs.minor) {
        return "status line";
    }
    if (!peer_eq(peer.status, p->rs.reason.p, p->rs.reason.n)) {
        return "reason";
    }
    if (!peer_same_fields(&peer, p)) {
        return "fields";
    }
    if (((peer.flags & F_CONTENT_LENGTH) != 0) != p->rs.has_content_length ||
        (p->rs.has_content_length && peer.content_length != p->rs.content_length)) {
        return "length";
    }
    if (p->rs.body == MP_BODY_CHUNKED && !(peer.flags & F_CHUNKED)) {
        return "chunked";
    }
    if ((p->rs.body == MP_BODY_CLOSE) != (peer.needs_eof != 0)) {
        return "end of the body";
    }
    if (p->rs.keep_alive && !peer.keep_alive) {
        return "keep-alive";
    }
    return NULL;
}

/* llhttp 8.1 refuses a second chunk extension behind one with a value ("3;a=b;c") and a backslash
 * in a quoted value, which RFC 9112 7.1.1 allows. A different reading of the same bytes is never
 * excused. */
static inline bool peer_is_known(llhttp_errno_t e, const char *in, size_t n)
{
    const char *eq = memchr(in, '=', n);
    size_t left = eq ? n - (size_t)(eq - in) : 0;
    if (e == HPE_INVALID_CHUNK_SIZE) {
        return eq != NULL && memchr(eq, ';', left) != NULL;
    }
    if (e == HPE_INVALID_CONTENT_LENGTH || e == HPE_UNEXPECTED_CONTENT_LENGTH ||
        e == HPE_INVALID_TRANSFER_ENCODING) {
        return true; /* the head before the body has none of these faults */
    }
    return e == HPE_STRICT && eq != NULL && memchr(eq, '\\', left) != NULL;
}

/* in[0..n) is a chunked body with trailers that our decoder took as OK. */
static inline const char *peer_check_body(const char *in, size_t n, const char *payload,
                                          size_t payload_n, size_t used)
{
    static const char head[] = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    static struct peer peer;
    size_t head_n = sizeof(head) - 1;
    char *all = malloc(head_n + n), *body = malloc(n + 1);
    if (all == NULL || body == NULL) {
        abort();
    }
    memcpy(all, head, head_n);
    memcpy(all + head_n, in, n);
    llhttp_errno_t e = peer_run(&peer, HTTP_REQUEST, false, all, head_n + n, body);
    const char *why = NULL;
    if (!peer.message_done) {
        why = peer_is_known(e, in, n) ? NULL : llhttp_errno_name(e);
    } else if (peer.body_n != payload_n || memcmp(body, payload, payload_n) != 0) {
        why = "payload";
    } else if (llhttp_get_error_pos(&peer.parser) != all + head_n + used) {
        why = "end of the message";
    }
    free(all);
    free(body);
    return why;
}
