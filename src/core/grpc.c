/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/grpc.h"

#include <string.h>

#include "core/civil.h"
#include "core/route.h"
#include "core/snapshot.h"
#include "core/stream.h"

bool mp_grpc_is_request(const struct mp_req_head *h)
{
    static const char type[] = "application/grpc";
    size_t n = sizeof(type) - 1;
    if (!mp_hdrs_maybe(&h->hdrs, MP_HDR_CONTENT_TYPE)) {
        return false;
    }
    const struct mp_hdr *e = mp_hdrs_get(&h->hdrs, MP_HDR_CONTENT_TYPE);
    return e != NULL && e->value_n >= n && mp_str_ieq(mp_str(e->value, n), mp_str(type, n)) &&
           (e->value_n == n || e->value[n] == '+' || e->value[n] == ';');
}

int mp_grpc_status_of(const struct mp_hdrs *h)
{
    const struct mp_hdr *e =
        mp_hdrs_maybe(h, MP_HDR_GRPC_STATUS) ? mp_hdrs_get(h, MP_HDR_GRPC_STATUS) : NULL;
    uint64_t v;
    if (e == NULL || mp_is_err(mp_str_to_u64(mp_hdr_value(e), &v)) || v > 99) {
        return -1;
    }
    return (int)v;
}

static const struct {
    struct mp_str name, camel;
} statuses[] = {
#define STATUS(name, camel)          \
    {                                \
        {name, sizeof(name) - 1},    \
        {                            \
            camel, sizeof(camel) - 1 \
        }                            \
    }
    STATUS("OK", "OK"),
    STATUS("CANCELLED", "Canceled"),
    STATUS("UNKNOWN", "Unknown"),
    STATUS("INVALID_ARGUMENT", "InvalidArgument"),
    STATUS("DEADLINE_EXCEEDED", "DeadlineExceeded"),
    STATUS("NOT_FOUND", "NotFound"),
    STATUS("ALREADY_EXISTS", "AlreadyExists"),
    STATUS("PERMISSION_DENIED", "PermissionDenied"),
    STATUS("RESOURCE_EXHAUSTED", "ResourceExhausted"),
    STATUS("FAILED_PRECONDITION", "FailedPrecondition"),
    STATUS("ABORTED", "Aborted"),
    STATUS("OUT_OF_RANGE", "OutOfRange"),
    STATUS("UNIMPLEMENTED", "Unimplemented"),
    STATUS("INTERNAL", "Internal"),
    STATUS("UNAVAILABLE", "Unavailable"),
    STATUS("DATA_LOSS", "DataLoss"),
    STATUS("UNAUTHENTICATED", "Unauthenticated"),
#undef STATUS
};

struct mp_str mp_grpc_status_name(int status)
{
    return status >= 0 && (size_t)status < MP_COUNTOF(statuses) ? statuses[status].name
                                                                : MP_STR("");
}

struct mp_str mp_grpc_status_camel(int status)
{
    return status >= 0 && (size_t)status < MP_COUNTOF(statuses) ? statuses[status].camel
                                                                : MP_STR("");
}

int mp_grpc_status_of_http(unsigned status)
{
    switch (status) {
    case 400:
        return MP_GRPC_INTERNAL;
    case 401:
        return MP_GRPC_UNAUTHENTICATED;
    case 403:
        return MP_GRPC_PERMISSION_DENIED;
    case 404:
        return MP_GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return MP_GRPC_UNAVAILABLE;
    default:
        return MP_GRPC_UNKNOWN;
    }
}

int mp_grpc_status(const struct mp_stream *s)
{
    if (!mp_grpc_is_request(&s->req) || s->resp == NULL) {
        return -1;
    }
    int status = s->has_resp_trailers ? mp_grpc_status_of(&s->resp_trailers) : -1;
    if (status < 0) {
        status = mp_grpc_status_of(&s->resp->hdrs);
    }
    return status >= 0 ? status : mp_grpc_status_of_http(s->resp->status);
}

/* ---- local replies ---- */

/* The gRPC rule for grpc-message: bytes that are not printable ASCII, and '%', as %XX. */
static struct mp_str percent_encode(struct mp_arena *arena, struct mp_str text)
{
    static const char hex[] = "0123456789ABCDEF";
    char *p = mp_arena_bytes(arena, text.n * 3), *w = p;
    for (size_t i = 0; p != NULL && i < text.n; i++) {
        uint8_t c = (uint8_t)text.p[i];
        if (c >= 0x20 && c <= 0x7e && c != '%') {
            *w++ = (char)c;
        } else {
            *w++ = '%';
            *w++ = hex[c >> 4];
            *w++ = hex[c & 15];
        }
    }
    return mp_str(p, p != NULL ? (size_t)(w - p) : 0);
}

bool mp_grpc_reply_head(struct mp_stream *s, struct mp_resp_head *h, struct mp_str text)
{
    int status = s->grpc_reply > 0 ? s->grpc_reply - 1 : mp_grpc_status_of_http(h->status);
    struct mp_arena *arena = &s->arena;
    char *digits = mp_arena_bytes(arena, 2);
    if (digits == NULL) {
        return false;
    }
    size_t n = 0;
    if (status >= 10) {
        digits[n++] = (char)('0' + status / 10);
    }
    digits[n++] = (char)('0' + status % 10);
    h->status = 200;
    h->has_content_length = false;
    h->content_length = 0;
    if (mp_is_err(mp_hdrs_set_id(&h->hdrs, MP_HDR_CONTENT_TYPE, MP_STR("application/grpc"))) ||
        mp_is_err(mp_hdrs_set_id(&h->hdrs, MP_HDR_GRPC_STATUS, mp_str(digits, n)))) {
        return false;
    }
    if (text.n == 0) {
        return true;
    }
    struct mp_str message = percent_encode(arena, mp_str_trim(text));
    return message.p != NULL && !mp_is_err(mp_hdrs_set_id(&h->hdrs, MP_HDR_GRPC_MESSAGE, message));
}

/* ---- deadlines ---- */

bool mp_grpc_timeout_parse(struct mp_str text, uint64_t *ret_ms)
{
    /* Nanoseconds of one unit; the form allows eight digits. */
    static const struct {
        char letter;
        uint64_t ns;
    } units[] = {{'H', 3600000000000}, {'M', 60000000000}, {'S', 1000000000},
                 {'m', 1000000},       {'u', 1000},        {'n', 1}};
    uint64_t v;
    if (text.n < 2 || text.n > 9 || mp_is_err(mp_str_to_u64(mp_str(text.p, text.n - 1), &v))) {
        return false;
    }
    for (size_t i = 0; i < MP_COUNTOF(units); i++) {
        if (units[i].letter != text.p[text.n - 1]) {
            continue;
        }
        uint64_t ns = units[i].ns;
        uint64_t ms = ns >= 1000000 ? v * (ns / 1000000) : (v * ns + 999999) / 1000000;
        *ret_ms = MP_MAX(ms, (uint64_t)1); /* 0 would mean no limit to everybody else */
        return true;
    }
    return false;
}

static bool client_timeout(const struct mp_stream *s, uint64_t *ret_ms)
{
    const struct mp_hdrs *h = &s->req.hdrs;
    const struct mp_hdr *e =
        mp_hdrs_maybe(h, MP_HDR_GRPC_TIMEOUT) ? mp_hdrs_get(h, MP_HDR_GRPC_TIMEOUT) : NULL;
    return e != NULL && mp_grpc_timeout_parse(mp_hdr_value(e), ret_ms);
}

/* Envoy's rule: the offset is for a client that would otherwise give up just before our answer
 * arrives; it never turns a deadline into none. */
static uint64_t less_offset(uint64_t ms, uint64_t offset)
{
    return offset > 0 && offset < ms ? ms - offset : ms;
}

/* The upstream is told of a deadline that is nearer than the client's. */
static void tell_upstream(struct mp_stream *s, uint64_t ms)
{
    char text[MP_U64_DIGITS + 1];
    bool fits = ms < 100000000;
    char *end = mp_put_u64(text, fits ? ms : ms / 1000);
    *end++ = fits ? 'm' : 'S';
    if ((size_t)(end - text) > 9) {
        return; /* three years and more */
    }
    struct mp_str copy = mp_arena_dup(&s->arena, mp_str(text, (size_t)(end - text)));
    if (copy.p != NULL) {
        /* Without room the client's own deadline stays there, which is no harm. */
        (void)!mp_is_err(mp_hdrs_set_id(&s->req.hdrs, MP_HDR_GRPC_TIMEOUT, copy));
    }
}

bool mp_grpc_route_timeout(struct mp_stream *s, const struct mp_conf_route *r, uint64_t *ret_ms)
{
    uint64_t max = r->max_grpc_timeout_ms, asked = 0, ms;
    if (!r->limits_grpc || !mp_grpc_is_request(&s->req)) {
        return false;
    }
    bool given = client_timeout(s, &asked);
    ms = given ? less_offset(asked, r->grpc_timeout_offset_ms) : 0;
    if (max > 0 && (ms == 0 || ms > max)) {
        ms = max;
    }
    if (ms > 0 && (!given || ms < asked)) {
        tell_upstream(s, ms);
    }
    *ret_ms = ms;
    return true;
}

uint64_t mp_grpc_stream_duration(const struct mp_stream *s)
{
    const struct mp_conf_route *r = s->route != NULL ? s->route->conf : NULL;
    uint64_t ms = s->http->conf->max_stream_duration_ms, asked = 0;
    if (r == NULL || !r->limits_duration) {
        return ms;
    }
    uint64_t max = r->grpc_timeout_header_max_ms;
    if (max != UINT64_MAX && mp_grpc_is_request(&s->req) && client_timeout(s, &asked)) {
        asked = max > 0 ? MP_MIN(asked, max) : asked;
        return less_offset(asked, r->grpc_timeout_header_offset_ms);
    }
    return r->max_stream_duration_ms != UINT64_MAX ? r->max_stream_duration_ms : ms;
}
