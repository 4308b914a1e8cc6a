/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/subst.h"

#include "codec/hdr.h"
#include "core/civil.h"
#include "core/conn.h"
#include "core/grpc.h"
#include "core/route.h"
#include "core/stream.h"
#include "core/subst_int.h"
#include "io/addr.h"
#include "io/sock.h"

static void put_u64(struct subst_out *o, uint64_t v)
{
    char text[MP_U64_DIGITS];
    mp_subst_put(o, mp_str(text, (size_t)(mp_put_u64(text, v) - text)));
}

/* Each of these returns false when the value is absent; then nothing was written. */

static bool put_text(struct subst_out *o, struct mp_str s)
{
    if (s.n == 0) {
        return false;
    }
    mp_subst_put(o, s);
    return true;
}

static bool put_ms(struct subst_out *o, uint64_t from_ns, uint64_t to_ns)
{
    if (from_ns == 0 || to_ns == 0) {
        return false;
    }
    put_u64(o, to_ns > from_ns ? (to_ns - from_ns) / 1000000 : 0);
    return true;
}

static bool put_addr(struct subst_out *o, const struct mp_addr *a, bool with_port)
{
    char text[MP_ADDR_TEXT_MAX];
    return put_text(o,
                    mp_str(text, with_port ? mp_addr_format(a, text) : mp_addr_format_ip(a, text)));
}

static bool put_field(struct subst_out *o, const struct mp_hdrs *h, const struct subst_name *name,
                      size_t max)
{
    if (h == NULL || !mp_hdrs_maybe(h, name->id)) {
        return false;
    }
    const struct mp_hdr *e =
        name->id != MP_HDR_OTHER ? mp_hdrs_get(h, name->id) : mp_hdrs_find(h, name->name);
    if (e == NULL) {
        return false;
    }
    mp_subst_put(o, mp_str(e->value, MP_MIN((size_t)e->value_n, max)));
    return true;
}

static struct mp_str start_line_part(const struct mp_req_head *r, uint8_t pseudo)
{
    switch (pseudo) {
    case SUBST_METHOD:
        return r->method_name;
    case SUBST_PATH:
        return r->path;
    case SUBST_AUTHORITY:
        return r->authority;
    default:
        return r->scheme;
    }
}

static size_t query_at(struct mp_str s)
{
    ptrdiff_t mark = mp_str_chr(s, '?', 0);
    return mark < 0 ? s.n : (size_t)mark;
}

static bool put_named(struct subst_out *o, const struct mp_stream *s, const struct subst_op *op,
                      const struct subst_name *name)
{
    if (name->name.n == 0) {
        return false;
    }
    if (op->kind == SUBST_TRAILER) {
        return put_field(o, s->has_resp_trailers ? &s->resp_trailers : NULL, name, op->length_max);
    }
    bool cut = op->kind == SUBST_REQ_WITHOUT_QUERY;
    if ((op->kind == SUBST_REQ || cut) && name->pseudo != SUBST_FIELD) {
        struct mp_str part = start_line_part(&s->req, name->pseudo);
        part.n = cut ? query_at(part) : part.n;
        return put_text(o, mp_str(part.p, MP_MIN(part.n, op->length_max)));
    }
    if (cut) {
        const struct mp_hdr *e = mp_hdrs_find(&s->req.hdrs, name->name);
        return e != NULL && (mp_subst_put(o, mp_str(e->value, MP_MIN(query_at(mp_hdr_value(e)),
                                                                     op->length_max))),
                             true);
    }
    if (op->kind == SUBST_REQ) {
        return put_field(o, &s->req.hdrs, name, op->length_max);
    }
    if (name->pseudo == SUBST_STATUS) {
        if (s->resp == NULL) {
            return false;
        }
        put_u64(o, s->resp->status);
        return true;
    }
    return put_field(o, s->resp != NULL ? &s->resp->hdrs : NULL, name, op->length_max);
}

static void put_protocol(struct subst_out *o, unsigned minor)
{
    static const char text[] = "HTTP/1.0";
    if (minor == 20) {
        mp_subst_put(o, MP_STR("HTTP/2"));
        return;
    }
    mp_subst_put(o, mp_str(text, sizeof(text) - 2));
    put_u64(o, minor);
}

static bool put_flags(struct subst_out *o, uint32_t flags)
{
    char text[MP_FLAG_BITS * 4 + 1];
    return put_text(o, mp_str(text, mp_response_flags_format(flags, text, sizeof(text))));
}

static bool proxied(const struct mp_conn *c)
{
    return c->ch.more != NULL && c->ch.more->proxied;
}

/* The local end is asked for when a log wants it: idle connections need not carry it. */
static bool put_local(struct subst_out *o, const struct mp_conn *c, uint8_t kind)
{
    struct mp_addr local;
    if (!mp_conn_local_addr(c, &local)) {
        return false;
    }
    if (kind != SUBST_LOCAL_PORT) {
        return put_addr(o, &local, kind == SUBST_LOCAL_ADDRESS);
    }
    if (local.family != MP_ADDR_IP4 && local.family != MP_ADDR_IP6) {
        return false;
    }
    put_u64(o, local.port);
    return true;
}

static bool put_connection(struct subst_out *o, const struct mp_conn *c, uint8_t kind)
{
    if (c == NULL) {
        return false;
    }
    switch (kind) {
    case SUBST_DIRECT_ADDRESS:
    case SUBST_DIRECT_IP:
        return put_addr(o, proxied(c) ? &c->ch.more->direct : &c->peer,
                        kind == SUBST_DIRECT_ADDRESS);
    case SUBST_LOCAL_ADDRESS:
    case SUBST_LOCAL_IP:
    case SUBST_LOCAL_PORT:
        return put_local(o, c, kind);
    case SUBST_CONNECTION_ID:
        put_u64(o, c->id);
        return true;
    default:
        return mp_subst_put_tls(o, c, kind);
    }
}

static bool put_grpc_status(struct subst_out *o, const struct mp_stream *s, uint8_t style)
{
    int status = mp_grpc_status(s);
    struct mp_str name = style == SUBST_CAMEL   ? mp_grpc_status_camel(status)
                         : style == SUBST_SNAKE ? mp_grpc_status_name(status)
                                                : MP_STR("");
    if (status < 0 || put_text(o, name)) {
        return status >= 0;
    }
    put_u64(o, (uint64_t)status);
    return true;
}

static bool put_port(struct subst_out *o, const struct mp_addr *a)
{
    if (a->family != MP_ADDR_IP4 && a->family != MP_ADDR_IP6) {
        return false;
    }
    put_u64(o, a->port);
    return true;
}

/* "1.2.3.4:80", "[::1]:80", a path. */
static bool put_upstream(struct subst_out *o, struct mp_str host, uint8_t kind)
{
    size_t at = host.n;
    while (at > 0 && host.p[at - 1] != ':') {
        at--;
    }
    bool is_path = host.n > 0 && (host.p[0] == '/' || host.p[0] == '@');
    if (is_path || at == 0) {
        return kind != SUBST_UPSTREAM_REMOTE_PORT && put_text(o, host);
    }
    if (kind == SUBST_UPSTREAM_REMOTE_PORT) {
        return put_text(o, mp_str(host.p + at, host.n - at));
    }
    struct mp_str ip = mp_str(host.p, at - 1);
    if (ip.n > 2 && ip.p[0] == '[') {
        ip = mp_str(ip.p + 1, ip.n - 2);
    }
    return put_text(o, ip);
}

static bool put_size(struct subst_out *o, const struct mp_hdrs *h, size_t more)
{
    put_u64(o, h->bytes + more);
    return true;
}

/* Envoy counts the start line as the fields that HTTP/2 makes of it. */
static bool put_request_size(struct subst_out *o, const struct mp_req_head *r)
{
    return put_size(o, &r->hdrs,
                    sizeof(":method:path:authority:scheme") - 1 + r->method_name.n + r->path.n +
                        r->authority.n + r->scheme.n);
}

static bool put_long_flags(struct subst_out *o, uint32_t flags)
{
    static const char *const names[][2] = {
        {"UH", "NoHealthyUpstream"},
        {"UF", "UpstreamConnectionFailure"},
        {"UO", "UpstreamOverflow"},
        {"NR", "NoRouteFound"},
        {"UT", "UpstreamRequestTimeout"},
        {"UR", "UpstreamRemoteReset"},
        {"UC", "UpstreamConnectionTermination"},
        {"UPE", "UpstreamProtocolError"},
        {"URX", "UpstreamRetryLimitExceeded"},
        {"UMSDR", "UpstreamMaxStreamDurationReached"},
        {"DC", "DownstreamConnectionTermination"},
        {"DPE", "DownstreamProtocolError"},
        {"LR", "LocalReset"},
        {"LH", "FailedLocalHealthCheck"},
        {"SI", "StreamIdleTimeout"},
        {"DT", "DurationTimeout"},
        {"NC", "NoClusterFound"},
        {"OM", "OverloadManagerTerminated"},
        {"RL", "RateLimited"},
        {"UAEX", "UnauthorizedExternalService"},
        {"FI", "FaultInjected"},
        {"DI", "DelayInjected"},
        {"DF", "DnsResolutionFailed"},
    };
    char text[MP_FLAG_BITS * 6 + 1];
    struct mp_str rest = mp_str(text, mp_response_flags_format(flags, text, sizeof(text))), part;
    bool first = true;
    if (flags == 0) {
        return false;
    }
    while (mp_str_split(&rest, ',', &part)) {
        for (size_t i = 0; i < MP_COUNTOF(names); i++) {
            if (mp_str_eq(mp_str_c(names[i][0]), part)) {
                part = mp_str_c(names[i][1]);
                break;
            }
        }
        mp_subst_put(o, first ? MP_STR("") : MP_STR(","));
        mp_subst_put(o, part);
        first = false;
    }
    return true;
}

static bool put_more(struct subst_out *o, const struct subst_op *op, const struct mp_stream *s)
{
    switch (op->kind) {
    case SUBST_REMOTE_PORT:
        return put_port(o, &s->client);
    case SUBST_DIRECT_PORT:
        return s->conn != NULL && put_port(o, &s->conn->peer);
    case SUBST_UPSTREAM_REMOTE_ADDRESS:
        return put_text(o, s->upstream_host);
    case SUBST_UPSTREAM_REMOTE_IP:
    case SUBST_UPSTREAM_REMOTE_PORT:
        return put_upstream(o, s->upstream_host, op->kind);
    case SUBST_RESPONSE_FLAGS_LONG:
        return put_long_flags(o, s->response_flags);
    case SUBST_REQUEST_HEADERS_BYTES:
        return put_request_size(o, &s->req);
    case SUBST_RESPONSE_HEADERS_BYTES:
        return s->resp != NULL && put_size(o, &s->resp->hdrs, sizeof(":status200") - 1);
    case SUBST_RESPONSE_TRAILERS_BYTES:
        return s->has_resp_trailers && put_size(o, &s->resp_trailers, 0);
    case SUBST_STREAM_ID: {
        const struct mp_hdr *id = mp_hdrs_get(&s->req.hdrs, MP_HDR_X_REQUEST_ID);
        return id != NULL && put_text(o, mp_hdr_value(id));
    }
    case SUBST_ACCESS_LOG_TYPE:
        return put_text(o, MP_STR("DownstreamEnd"));
    case SUBST_ENVIRONMENT:
        return put_text(o, op->text);
    case SUBST_TERMINATION_DETAILS:
        return false; /* what ends connections of itself says so in RESPONSE_CODE_DETAILS */
    default:
        return put_connection(o, s->conn, op->kind);
    }
}

static bool put_op(struct subst_out *o, const struct subst_op *op, const struct mp_stream *s)
{
    switch (op->kind) {
    case SUBST_LITERAL:
    case SUBST_HOSTNAME:
        mp_subst_put(o, op->text);
        return true;
    case SUBST_REQ:
    case SUBST_RESP:
    case SUBST_TRAILER:
    case SUBST_REQ_WITHOUT_QUERY:
        return put_named(o, s, op, &op->name) || put_named(o, s, op, &op->other);
    case SUBST_START_TIME:
        mp_subst_time_eval(op, s->start_wall_ns, o);
        return true;
    case SUBST_PROTOCOL:
        put_protocol(o, s->protocol_minor);
        return true;
    case SUBST_RESPONSE_CODE:
        put_u64(o, s->resp != NULL ? s->resp->status : 0);
        return true;
    case SUBST_RESPONSE_CODE_DETAILS:
        /* Without a cause of our own the answer is the service's. */
        return put_text(o, s->details == NULL && s->upstream_first_ns != 0 ? MP_STR("via_upstream")
                                                                           : mp_str_c(s->details));
    case SUBST_RESPONSE_FLAGS:
        return put_flags(o, s->response_flags);
    case SUBST_BYTES_RECEIVED:
        put_u64(o, s->bytes_in);
        return true;
    case SUBST_BYTES_SENT:
        put_u64(o, s->bytes_out);
        return true;
    case SUBST_DURATION:
        return put_ms(o, s->start_ns, s->end_ns);
    case SUBST_REQUEST_DURATION:
        return put_ms(o, s->start_ns, s->req_end_ns);
    case SUBST_RESPONSE_DURATION:
        return put_ms(o, s->start_ns, s->upstream_first_ns);
    case SUBST_RESPONSE_TX_DURATION:
        return put_ms(o, s->upstream_first_ns, s->end_ns);
    case SUBST_GRPC_STATUS:
        return put_grpc_status(o, s, op->style);
    case SUBST_GRPC_STATUS_NUMBER:
        return put_grpc_status(o, s, SUBST_NUMBER);
    case SUBST_UPSTREAM_HOST:
        return put_text(o, s->upstream_host);
    case SUBST_UPSTREAM_CLUSTER:
        return put_text(o, s->upstream_cluster);
    case SUBST_ROUTE_NAME:
        return s->route != NULL && put_text(o, s->route->conf->name);
    case SUBST_VIRTUAL_HOST_NAME:
        return s->route != NULL && put_text(o, mp_route_vhost_name(s->route));
    case SUBST_REMOTE_ADDRESS:
    case SUBST_REMOTE_IP:
        return put_addr(o, &s->client, op->kind == SUBST_REMOTE_ADDRESS);
    default:
        return put_more(o, op, s);
    }
}

size_t mp_subst_eval(const struct mp_subst *f, const struct mp_stream *s, char *out, size_t cap,
                     bool omit_empty)
{
    struct subst_out o = {out, out + cap};
    for (uint32_t i = 0; i < f->n; i++) {
        if (!put_op(&o, &f->ops[i], s) && !omit_empty) {
            mp_subst_put(&o, MP_STR("-"));
        }
    }
    return (size_t)(o.p - out);
}

bool mp_subst_is_absent(const struct mp_subst *f, const struct mp_stream *s)
{
    char nothing[1];
    struct subst_out o = {nothing, nothing}; /* only whether there is a value counts */
    return f->n == 1 && !put_op(&o, &f->ops[0], s);
}
