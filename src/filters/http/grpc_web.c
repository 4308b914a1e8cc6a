/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "filters/http/grpc_web.h"

#include <string.h>

#include "core/filter.h"
#include "envoy_extensions_filters_http_grpc_web_v3.pb-c.h"

#define PIECE 3072 /* bytes that are translated at a time: a multiple of 3 */

#define WEB      "application/grpc-web"
#define WEB_TEXT "application/grpc-web-text"
#define GRPC     "application/grpc"

struct grpc_web {
    bool on;
    bool text_request, text_response;
    bool translate; /* the response is gRPC */
    uint8_t n_carry;
    char carry[4]; /* characters of a group that is not whole */
};

/* ---- base64 ---- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* One group of four characters; the last one or two may be padding, also inside a body: each piece
 * that a client flushes may be padded. Returns the bytes, 0 when malformed. */
static size_t decode_group(const char in[4], char *out)
{
    size_t pad = in[3] != '=' ? 0 : in[2] != '=' ? 1 : 2;
    uint32_t bits = 0;
    for (size_t i = 0; i < 4; i++) {
        int v = i >= 4 - pad ? 0 : value_of(in[i]);
        if (v < 0) {
            return 0;
        }
        bits = bits << 6 | (uint32_t)v;
    }
    out[0] = (char)(bits >> 16);
    out[1] = (char)(bits >> 8);
    out[2] = (char)bits;
    return 3 - pad;
}

/* n <= PIECE; padded at the end. */
static size_t encode(const char *in, size_t n, char *out)
{
    char *w = out;
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t bits = (uint32_t)(uint8_t)in[i] << 16;
        bits |= left > 1 ? (uint32_t)(uint8_t)in[i + 1] << 8 : 0;
        bits |= left > 2 ? (uint32_t)(uint8_t)in[i + 2] : 0;
        *w++ = alphabet[bits >> 18];
        *w++ = alphabet[bits >> 12 & 63];
        *w++ = left > 1 ? alphabet[bits >> 6 & 63] : '=';
        *w++ = left > 2 ? alphabet[bits & 63] : '=';
    }
    return (size_t)(w - out);
}

/* ---- requests ---- */

static bool starts(struct mp_str s, struct mp_str prefix)
{
    return s.n >= prefix.n && mp_str_ieq(mp_str(s.p, prefix.n), prefix);
}

/* What follows type in a content type ("+proto", ""); false when it is another type. */
static bool type_is(struct mp_str value, struct mp_str type, struct mp_str *ret_rest)
{
    if (!starts(value, type)) {
        return false;
    }
    *ret_rest = mp_str(value.p + type.n, value.n - type.n);
    return ret_rest->n == 0 || ret_rest->p[0] == '+' || ret_rest->p[0] == ';';
}

/* type followed by rest, in the arena. */
static bool set_type(struct mp_filter *f, struct mp_hdrs *h, struct mp_str type, struct mp_str rest)
{
    char *p = mp_arena_bytes(mp_filter_arena(f), type.n + rest.n);
    if (p == NULL) {
        return false;
    }
    memcpy(p, type.p, type.n);
    if (rest.n > 0) {
        memcpy(p + type.n, rest.p, rest.n);
    }
    return !mp_is_err(mp_hdrs_set_id(h, MP_HDR_CONTENT_TYPE, mp_str(p, type.n + rest.n)));
}

/* A client that accepts text gets text; one that does not say gets what it sends. */
static bool wants_text(const struct mp_req_head *h, bool text_request)
{
    const struct mp_hdr *e = mp_hdrs_get(&h->hdrs, MP_HDR_ACCEPT);
    if (e == NULL || mp_str_find(mp_hdr_value(e), MP_STR(WEB)) < 0) {
        return text_request;
    }
    return mp_str_find(mp_hdr_value(e), MP_STR(WEB_TEXT)) >= 0;
}

static enum mp_verdict on_request_headers(struct mp_filter *f, struct mp_req_head *h, bool end)
{
    struct grpc_web *w = mp_filter_state(f);
    const struct mp_hdr *e = mp_hdrs_get(&h->hdrs, MP_HDR_CONTENT_TYPE);
    struct mp_str rest;
    (void)end;
    if (e == NULL) {
        return MP_VERDICT_CONTINUE;
    }
    w->text_request = type_is(mp_hdr_value(e), MP_STR(WEB_TEXT), &rest);
    if (!w->text_request && !type_is(mp_hdr_value(e), MP_STR(WEB), &rest)) {
        return MP_VERDICT_CONTINUE;
    }
    w->on = true;
    w->text_response = wants_text(h, w->text_request);
    if (w->text_request) {
        h->has_content_length = false;
        mp_hdrs_remove_id(&h->hdrs, MP_HDR_CONTENT_LENGTH);
    }
    mp_hdrs_remove_id(&h->hdrs, MP_HDR_TE); /* that of the client's hop */
    if (!set_type(f, &h->hdrs, MP_STR(GRPC), rest) ||
        mp_is_err(mp_hdrs_add_id(&h->hdrs, MP_HDR_TE, MP_STR("trailers")))) {
        return mp_filter_reply(f, 431, NULL, MP_STR(""), "request_headers_too_large");
    }
    return MP_VERDICT_CONTINUE;
}

static enum mp_verdict bad_text(struct mp_filter *f)
{
    return mp_filter_reply(f, 400, NULL, MP_STR("Bad gRPC-web request, invalid base64 data."),
                           "grpc_base_64_decode_failed");
}

static enum mp_verdict on_request_data(struct mp_filter *f, struct mp_str data, bool end)
{
    struct grpc_web *w = mp_filter_state(f);
    char out[PIECE];
    size_t n = 0;
    if (!w->text_request) {
        return MP_VERDICT_CONTINUE;
    }
    for (size_t i = 0; i < data.n; i++) {
        w->carry[w->n_carry++] = data.p[i];
        if (w->n_carry < 4) {
            continue;
        }
        w->n_carry = 0;
        size_t got = decode_group(w->carry, out + n);
        if (got == 0) {
            return bad_text(f);
        }
        n += got;
        if (n + 3 > sizeof(out)) {
            mp_filter_pass_request(f, mp_str(out, n), false);
            n = 0;
        }
    }
    if (end && w->n_carry > 0) {
        return bad_text(f);
    }
    if (n > 0 || end) {
        mp_filter_pass_request(f, mp_str(out, n), end);
    }
    return MP_VERDICT_TAKEN;
}

/* ---- responses ---- */

static enum mp_verdict on_response_headers(struct mp_filter *f, struct mp_resp_head *h, bool end)
{
    struct grpc_web *w = mp_filter_state(f);
    const struct mp_hdr *e = w->on ? mp_hdrs_get(&h->hdrs, MP_HDR_CONTENT_TYPE) : NULL;
    struct mp_str rest;
    w->translate = e != NULL && type_is(mp_hdr_value(e), MP_STR(GRPC), &rest);
    if (!w->translate) {
        return MP_VERDICT_CONTINUE; /* an answer that is not gRPC stays what it is */
    }
    if (!end) {
        h->has_content_length = false;
        mp_hdrs_remove_id(&h->hdrs, MP_HDR_CONTENT_LENGTH);
    }
    if (rest.n == 0) {
        rest = MP_STR("+proto"); /* what there is without a suffix; clients look for it */
    }
    return set_type(f, &h->hdrs, w->text_response ? MP_STR(WEB_TEXT) : MP_STR(WEB), rest)
               ? MP_VERDICT_CONTINUE
               : MP_VERDICT_ABORT;
}

/* As text, flushed with padding: a message must not wait for the next one. */
static void pass_text(struct mp_filter *f, struct mp_str data, bool end)
{
    char out[PIECE / 3 * 4];
    while (data.n > 0) {
        size_t n = MP_MIN(data.n, (size_t)PIECE);
        size_t k = encode(data.p, n, out);
        data.p += n;
        data.n -= n;
        mp_filter_pass_response(f, mp_str(out, k), end && data.n == 0);
    }
}

static enum mp_verdict on_response_data(struct mp_filter *f, struct mp_str data, bool end)
{
    struct grpc_web *w = mp_filter_state(f);
    if (!w->translate || !w->text_response || data.n == 0) {
        return MP_VERDICT_CONTINUE;
    }
    pass_text(f, data, end);
    return MP_VERDICT_TAKEN;
}

static char *put(char *p, struct mp_str s)
{
    memcpy(p, s.p, s.n);
    return p + s.n;
}

/* The trailers as a frame: flag, length, lines. p NULL: no room. */
static struct mp_str trailers_frame(struct mp_arena *arena, const struct mp_hdrs *t)
{
    size_t n = 0;
    for (uint16_t i = 0; i < t->n; i++) {
        n += t->v[i].name_n > 0 ? t->v[i].name_n + t->v[i].value_n + 3 : 0;
    }
    char *frame = n <= UINT32_MAX ? mp_arena_bytes(arena, n + 5) : NULL;
    if (frame == NULL) {
        return mp_str(NULL, 0);
    }
    char *p = frame;
    *p++ = (char)0x80;
    for (int shift = 24; shift >= 0; shift -= 8) {
        *p++ = (char)(n >> shift);
    }
    for (uint16_t i = 0; i < t->n; i++) {
        const struct mp_hdr *e = &t->v[i];
        if (e->name_n > 0) {
            p = put(p, mp_hdr_name(e));
            *p++ = ':';
            p = e->value_n > 0 ? put(p, mp_hdr_value(e)) : p;
            p = put(p, MP_STR("\r\n"));
        }
    }
    return mp_str(frame, n + 5);
}

static enum mp_verdict on_response_trailers(struct mp_filter *f, struct mp_hdrs *t)
{
    struct grpc_web *w = mp_filter_state(f);
    if (!w->translate) {
        return MP_VERDICT_CONTINUE;
    }
    struct mp_str frame = trailers_frame(mp_filter_arena(f), t);
    if (frame.p == NULL) {
        return MP_VERDICT_ABORT;
    }
    if (w->text_response) {
        pass_text(f, frame, true);
    } else {
        mp_filter_pass_response(f, frame, true);
    }
    return MP_VERDICT_TAKEN;
}

static mp_err parse(const ProtobufCMessage *m, struct mp_arena *arena,
                    const struct mp_conf_where *w, void **ret)
{
    (void)m;
    (void)arena;
    (void)w;
    *ret = NULL;
    return MP_OK;
}

static const struct mp_filter_type filter_grpc_web = {
    .name = "envoy.filters.http.grpc_web",
    .state_size = sizeof(struct grpc_web),
    .on_request_headers = on_request_headers,
    .on_request_data = on_request_data,
    .on_response_headers = on_response_headers,
    .on_response_data = on_response_data,
    .on_response_trailers = on_response_trailers,
};

const struct mp_conf_filter_type mp_conf_filter_grpc_web = {
    .name = "envoy.filters.http.grpc_web",
    .message = &envoy__extensions__filters__http__grpc_web__v3__grpc_web__descriptor,
    .parse = parse,
    .impl = &filter_grpc_web,
};
