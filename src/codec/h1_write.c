/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "codec/h1_write.h"
#include <string.h>

/* What the writer sets itself, or what never passes a hop; TE and Trailer pass when the core put
 * them there itself, without the flag. */
#define OWN_IDS                                                                       \
    (UINT64_C(1) << MP_HDR_CONTENT_LENGTH | UINT64_C(1) << MP_HDR_TRANSFER_ENCODING | \
     UINT64_C(1) << MP_HDR_CONNECTION | UINT64_C(1) << MP_HDR_KEEP_ALIVE |            \
     UINT64_C(1) << MP_HDR_PROXY_CONNECTION | UINT64_C(1) << MP_HDR_UPGRADE |         \
     UINT64_C(1) << MP_HDR_HTTP2_SETTINGS)

/* "HTTP/1.1 200 " or " HTTP/1.1", the framing and connection lines, line ends. */
#define FIXED_MAX 192
_Static_assert(FIXED_MAX > sizeof(" HTTP/1.1\r\n"
                                  "content-length: 18446744073709551615\r\n"
                                  "transfer-encoding: chunked\r\n"
                                  "connection: keep-alive\r\n"
                                  "upgrade: \r\n\r\n"),
               "room for what is not in the map");

static inline char *put(char *w, const char *p, size_t n)
{
    memcpy(w, p, n);
    return w + n;
}
#define PUT(w, lit) put((w), (lit), sizeof(lit) - 1)

static char *put_str(char *w, struct mp_str s)
{
    return s.n > 0 ? put(w, s.p, s.n) : w;
}

static char *put_u64(char *w, uint64_t v)
{
    char digits[20];
    size_t n = 0;
    do {
        digits[sizeof(digits) - ++n] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    return put(w, digits + sizeof(digits) - n, n);
}

static bool skipped(const struct mp_hdr *e)
{
    return e->name_n == 0 || (e->flags & MP_HDR_F_HOP) || ((OWN_IDS >> e->id) & 1);
}

static bool two_bytes(const char *p, char a, char b)
{
    return p[0] == a && p[1] == b;
}

/* Writes entry i as a line, and with it the entries that follow it in memory exactly as they would
 * be written: those of a parsed head lie that way, so most heads go out in a few pieces. Returns
 * the first entry not written. */
static size_t put_run(char **w, const struct mp_hdrs *h, size_t i)
{
    const struct mp_hdr *e = &h->v[i];
    const char *from = e->name;
    const char *end; /* of the run's last value */
    if (e->value != e->name + e->name_n + 2 || !two_bytes(e->value - 2, ':', ' ')) {
        *w = put(*w, e->name, e->name_n);
        *w = PUT(*w, ": ");
        from = e->value;
    }
    for (;;) {
        end = e->value + e->value_n;
        if (++i == h->n) {
            break;
        }
        e = &h->v[i];
        if (e->name != end + 2 || e->value != e->name + e->name_n + 2 || skipped(e) ||
            !two_bytes(end, '\r', '\n') || !two_bytes(e->value - 2, ':', ' ')) {
            break;
        }
    }
    *w = put(*w, from, (size_t)(end - from));
    *w = PUT(*w, "\r\n");
    return i;
}

static char *put_fields(char *w, const struct mp_hdrs *h)
{
    size_t i = 0, n = h != NULL ? h->n : 0;
    while (i < n) {
        if (skipped(&h->v[i])) {
            i++;
        } else {
            i = put_run(&w, h, i);
        }
    }
    return w;
}

static char *put_framing(char *w, const struct mp_h1_head_out *o)
{
    if (o->body == MP_BODY_CHUNKED) {
        w = PUT(w, "transfer-encoding: chunked\r\n");
    } else if (o->body == MP_BODY_LENGTH || (o->body == MP_BODY_NONE && o->write_length_zero)) {
        w = PUT(w, "content-length: ");
        w = put_u64(w, o->content_length);
        w = PUT(w, "\r\n");
    }
    return w;
}

static char *put_conn(char *w, const struct mp_h1_head_out *o)
{
    switch (o->conn) {
    case MP_H1_CONN_DEFAULT:
        return w;
    case MP_H1_CONN_CLOSE:
        return PUT(w, "connection: close\r\n");
    case MP_H1_CONN_KEEP_ALIVE:
        return PUT(w, "connection: keep-alive\r\n");
    case MP_H1_CONN_UPGRADE:
        w = PUT(w, "connection: upgrade\r\nupgrade: ");
        w = put_str(w, o->upgrade);
        return PUT(w, "\r\n");
    }
    return w;
}

static size_t fields_size(const struct mp_hdrs *h)
{
    return h != NULL ? h->bytes + (size_t)h->live * 4 : 0;
}

size_t mp_h1_request_size(const struct mp_h1_head_out *o)
{
    return FIXED_MAX + o->method.n + o->target.n + o->upgrade.n + fields_size(o->hdrs);
}

static struct mp_str reason_of(const struct mp_h1_head_out *o)
{
    return o->reason.n > 0 ? o->reason : mp_status_reason(o->status);
}

size_t mp_h1_response_size(const struct mp_h1_head_out *o)
{
    return FIXED_MAX + reason_of(o).n + o->upgrade.n + fields_size(o->hdrs);
}

size_t mp_h1_write_request(char *out, const struct mp_h1_head_out *o)
{
    char *w = put_str(out, o->method);
    *w++ = ' ';
    w = put_str(w, o->target);
    w = PUT(w, " HTTP/1.");
    *w++ = (char)('0' + o->minor);
    w = PUT(w, "\r\n");
    w = put_fields(w, o->hdrs);
    w = put_framing(w, o);
    w = put_conn(w, o);
    w = PUT(w, "\r\n");
    return (size_t)(w - out);
}

size_t mp_h1_write_response(char *out, const struct mp_h1_head_out *o)
{
    char *w = PUT(out, "HTTP/1.");
    *w++ = (char)('0' + o->minor);
    *w++ = ' ';
    *w++ = (char)('0' + o->status / 100 % 10);
    *w++ = (char)('0' + o->status / 10 % 10);
    *w++ = (char)('0' + o->status % 10);
    *w++ = ' ';
    w = put_str(w, reason_of(o));
    w = PUT(w, "\r\n");
    w = put_fields(w, o->hdrs);
    w = put_framing(w, o);
    w = put_conn(w, o);
    w = PUT(w, "\r\n");
    return (size_t)(w - out);
}

size_t mp_h1_trailers_size(const struct mp_hdrs *h)
{
    return fields_size(h) + 2;
}

size_t mp_h1_write_trailers(char *out, const struct mp_hdrs *h)
{
    char *w = put_fields(out, h);
    w = PUT(w, "\r\n");
    return (size_t)(w - out);
}
