/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Forwarding headers and the client's address (Envoy's use_remote_address and xff_num_trusted_hops
 * semantics). */
#include "core/forwarded.h"

#include <string.h>

#include "codec/hdr.h"
#include "codec/uri.h"
#include "core/conn.h"
#include "core/retry.h"
#include "core/snapshot.h"
#include "core/stream.h"
#include "core/xfcc.h"

/* The n-th address from the right of x-forwarded-for (1: the last); false when there are fewer or
 * it is no address. */
static bool xff_from_right(const struct mp_hdrs *h, uint32_t n, struct mp_addr *ret)
{
    struct mp_str last = {NULL, 0};
    /* Several fields count as one list: look at them from the last one backwards. */
    for (int i = (int)h->n - 1; i >= 0 && n > 0; i--) {
        const struct mp_hdr *e = &h->v[i];
        if (e->name_n == 0 || e->id != MP_HDR_X_FORWARDED_FOR) {
            continue;
        }
        struct mp_str v = mp_hdr_value(e);
        while (n > 0) {
            size_t cut = v.n;
            while (cut > 0 && v.p[cut - 1] != ',') {
                cut--;
            }
            last = mp_str_trim(mp_str(v.p + cut, v.n - cut));
            n--;
            if (cut == 0) {
                break;
            }
            v.n = cut - 1;
        }
    }
    return n == 0 && last.n > 0 && !mp_is_err(mp_addr_parse_ip(last, 0, ret));
}

static mp_err append_xff(struct mp_stream *s)
{
    char text[MP_ADDR_TEXT_MAX];
    if (s->conn->peer.family == MP_ADDR_UNIX || s->conn->peer.family == MP_ADDR_NONE) {
        return MP_OK; /* a local socket has no address to tell */
    }
    size_t n = mp_addr_format_ip(&s->conn->peer, text);
    struct mp_hdr *first = mp_hdrs_maybe(&s->req.hdrs, MP_HDR_X_FORWARDED_FOR)
                               ? mp_hdrs_get(&s->req.hdrs, MP_HDR_X_FORWARDED_FOR)
                               : NULL;
    if (first == NULL) {
        char *p = mp_arena_bytes(&s->arena, n);
        if (p == NULL) {
            return MP_FAIL(LIMIT);
        }
        memcpy(p, text, n);
        return mp_hdrs_put_id(&s->req.hdrs, MP_HDR_X_FORWARDED_FOR, mp_str(p, n));
    }
    size_t total = n;
    for (const struct mp_hdr *e = first; e != NULL; e = mp_hdrs_next_same(&s->req.hdrs, e)) {
        total += e->value_n + 2;
    }
    char *p = mp_arena_bytes(&s->arena, total), *o = p;
    if (p == NULL) {
        return MP_FAIL(LIMIT);
    }
    for (const struct mp_hdr *e = first; e != NULL; e = mp_hdrs_next_same(&s->req.hdrs, e)) {
        memcpy(o, e->value, e->value_n);
        o += e->value_n;
        *o++ = ',';
        *o++ = ' ';
    }
    memcpy(o, text, n);
    return mp_hdrs_set_id(&s->req.hdrs, MP_HDR_X_FORWARDED_FOR, mp_str(p, total));
}

static mp_err request_id(struct mp_stream *s)
{
    const struct mp_conf_http *hc = s->http->conf;
    struct mp_hdrs *h = &s->req.hdrs;
    bool there =
        mp_hdrs_maybe(h, MP_HDR_X_REQUEST_ID) && mp_hdrs_get(h, MP_HDR_X_REQUEST_ID) != NULL;
    bool outside = hc->use_remote_address && !hc->preserve_request_id;
    if (!hc->generate_request_id || (there && !outside)) {
        return MP_OK;
    }
    char *p = mp_arena_bytes(&s->arena, 36);
    if (p == NULL) {
        return MP_FAIL(LIMIT);
    }
    mp_rand_uuid(&s->cw->w.rand, p);
    return mp_hdrs_put_id(h, MP_HDR_X_REQUEST_ID, mp_str(p, 36));
}

static void drop_underscores(struct mp_hdrs *h)
{
    for (uint16_t i = 0; i < h->n; i++) {
        if (h->v[i].name_n > 0 && memchr(h->v[i].name, '_', h->v[i].name_n) != NULL) {
            mp_hdrs_remove(h, &h->v[i]);
        }
    }
}

/* strip_any_host_port, strip_trailing_host_dot: for routing and for the upstream. */
static mp_err clean_authority(struct mp_stream *s)
{
    const struct mp_conf_http *hc = s->http->conf;
    struct mp_str host = s->req.authority;
    unsigned port;
    struct mp_str name;
    if (!mp_authority_parse(host, &name, &port)) {
        return MP_OK; /* empty, in HTTP/1.0 */
    }
    struct mp_str rest = mp_str(name.p + name.n, hc->strip_any_port ? 0 : host.n - name.n);
    if (hc->strip_trailing_dot && name.n > 1 && name.p[name.n - 1] == '.') {
        name.n--;
    }
    if (name.n + rest.n == host.n) {
        return MP_OK;
    }
    char *p = mp_arena_bytes(&s->arena, name.n + rest.n);
    if (p == NULL) {
        return MP_FAIL(LIMIT);
    }
    memcpy(p, name.p, name.n);
    memcpy(p + name.n, rest.p, rest.n);
    s->req.authority = mp_str(p, name.n + rest.n);
    return MP_OK;
}

/* What others may not ask of us: only requests that come straight from a private network do. */
static void drop_outsiders_wishes(struct mp_stream *s)
{
    static const char *const ranges[] = {"10.0.0.0/8",  "172.16.0.0/12", "192.168.0.0/16",
                                         "127.0.0.0/8", "fd00::/8",      "::1/128"};
    struct mp_hdrs *h = &s->req.hdrs;
    struct mp_addr first, second;
    /* One address in x-forwarded-for, and that a private one. */
    bool inside = xff_from_right(h, 1, &first) && !xff_from_right(h, 2, &second);
    bool is_private = s->conn->peer.family == MP_ADDR_UNIX && s->http->conf->use_remote_address;
    for (size_t i = 0; inside && !is_private && i < MP_COUNTOF(ranges); i++) {
        struct mp_cidr c;
        is_private = !mp_is_err(mp_cidr_parse(mp_str_c(ranges[i]), &c)) && mp_cidr_has(&c, &first);
    }
    for (int id = MP_HDR_X_ENVOY_RETRY_ON;
         !is_private && id <= MP_HDR_X_ENVOY_UPSTREAM_RQ_PER_TRY_TIMEOUT_MS; id++) {
        mp_hdrs_remove_id(h, (enum mp_hdr_id)id);
    }
    if (!is_private) {
        h->seen &= ~MP_RETRY_FIELDS;
    }
}

mp_err mp_forwarded_request(struct mp_stream *s)
{
    const struct mp_conf_http *hc = s->http->conf;
    struct mp_hdrs *h = &s->req.hdrs;
    if (hc->underscores == MP_UNDERSCORE_DROP) {
        drop_underscores(h);
    }
    if (hc->strip_any_port || hc->strip_trailing_dot) {
        MP_TRY(clean_authority(s));
    }
    h->max = UINT16_MAX; /* our own additions do not count against the client's limit */
    if (hc->use_remote_address) {
        if (hc->xff_trusted_hops > 0) {
            (void)xff_from_right(h, hc->xff_trusted_hops, &s->client);
        }
        if (!hc->skip_xff_append) {
            MP_TRY(append_xff(s));
        }
        mp_hdrs_remove_id(h, MP_HDR_X_ENVOY_INTERNAL);
        mp_hdrs_remove_id(h, MP_HDR_X_ENVOY_EXTERNAL_ADDRESS);
        mp_hdrs_remove_id(h, MP_HDR_X_ENVOY_ORIGINAL_PATH);
    } else {
        (void)xff_from_right(h, hc->xff_trusted_hops + 1, &s->client);
    }
    if (MP_UNLIKELY((h->seen & MP_RETRY_FIELDS) != 0)) {
        drop_outsiders_wishes(s);
    }
    bool keep_proto = !hc->use_remote_address || hc->xff_trusted_hops > 0;
    struct mp_hdr *proto = mp_hdrs_maybe(h, MP_HDR_X_FORWARDED_PROTO)
                               ? mp_hdrs_get(h, MP_HDR_X_FORWARDED_PROTO)
                               : NULL;
    if (proto == NULL || !keep_proto) {
        MP_TRY(mp_hdrs_put_id(h, MP_HDR_X_FORWARDED_PROTO, s->req.scheme));
    }
    if (MP_UNLIKELY(hc->xfcc >= MP_XFCC_APPEND ||
                    mp_hdrs_maybe(h, MP_HDR_X_FORWARDED_CLIENT_CERT))) {
        MP_TRY(mp_xfcc_request(s));
    }
    if (hc->via.n > 0) {
        MP_TRY(mp_hdrs_add_id(h, MP_HDR_VIA, hc->via));
    }
    return request_id(s);
}
