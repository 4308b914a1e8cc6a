/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "codec/hdr.h"
#include "core/filter.h"
#include "core/subst_int.h"

#define FORMAT_MAX (64 * 1024)

enum argument { ARGUMENT_NONE, ARGUMENT_HEADER, ARGUMENT_TIME, ARGUMENT_STYLE, ARGUMENT_TEXT };

static const struct operator_def {
    struct mp_str name;
    enum argument argument;
    bool number;
} operators[SUBST_KINDS] = {
    [SUBST_LITERAL] = {{NULL, 0}, ARGUMENT_NONE, false},
#define MP_SUBST(token, name, argument, number) \
    [SUBST_##token] = {{name, sizeof(name) - 1}, ARGUMENT_##argument, number},
#include "core/subst_op.def"
#undef MP_SUBST
};

struct compiler {
    struct mp_str format;
    size_t at;
    struct mp_arena *arena;
    const char *cause;
    struct mp_subst *f;
    char *text; /* literal bytes; text[text_from..text_n) is the literal under way */
    size_t text_n, text_from;
};

static mp_err fail(struct compiler *c, enum mp_err_code code, const char *cause)
{
    c->cause = cause != NULL ? cause : "the format is too long";
    return (mp_err){code};
}

static bool is_name(char ch)
{
    return (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || ch == '_';
}

/* The text up to stop, which is consumed; false when it does not come. */
static bool take_until(struct compiler *c, char stop, struct mp_str *ret)
{
    ptrdiff_t end = mp_str_chr(c->format, stop, c->at);
    if (end < 0) {
        return false;
    }
    *ret = mp_str(c->format.p + c->at, (size_t)end - c->at);
    c->at = (size_t)end + 1;
    return true;
}

static bool pseudo_of(enum subst_kind kind, struct mp_str name, uint8_t *ret)
{
    static const struct {
        struct mp_str name;
        uint8_t kind, pseudo;
    } known[] = {{{":method", 7}, SUBST_REQ, SUBST_METHOD},
                 {{":path", 5}, SUBST_REQ, SUBST_PATH},
                 {{":authority", 10}, SUBST_REQ, SUBST_AUTHORITY},
                 {{":scheme", 7}, SUBST_REQ, SUBST_SCHEME},
                 {{":status", 7}, SUBST_RESP, SUBST_STATUS}};
    kind = kind == SUBST_REQ_WITHOUT_QUERY ? SUBST_REQ : kind;
    for (size_t i = 0; i < MP_COUNTOF(known); i++) {
        if (known[i].kind == kind && mp_str_eq(known[i].name, name)) {
            *ret = known[i].pseudo;
            return true;
        }
    }
    return false;
}

static mp_err header_name(struct compiler *c, enum subst_kind kind, struct mp_str given,
                          struct subst_name *ret)
{
    struct mp_str name = mp_arena_dup(c->arena, given);
    if (name.p == NULL) {
        return fail(c, MP_E_LIMIT, NULL);
    }
    char *p = (char *)(uintptr_t)name.p;
    for (size_t i = 0; i < name.n; i++) {
        p[i] = (char)(p[i] >= 'A' && p[i] <= 'Z' ? p[i] + 32 : p[i]);
    }
    ret->name = name;
    if (pseudo_of(kind, name, &ret->pseudo)) {
        return MP_OK;
    }
    if (!mp_hdr_name_ok(name)) {
        return fail(c, MP_E_SYNTAX,
                    mp_arena_printf(c->arena, "\"%.*s\" is not a header name that %%%s%% knows",
                                    MP_STR_ARG(given), operators[kind].name.p));
    }
    /* The parser keeps Host as the authority. */
    ret->id = (uint8_t)mp_hdr_id_of(name.p, name.n);
    if ((kind == SUBST_REQ || kind == SUBST_REQ_WITHOUT_QUERY) && ret->id == MP_HDR_HOST) {
        ret->pseudo = SUBST_AUTHORITY;
    }
    return MP_OK;
}

static mp_err header_argument(struct compiler *c, struct subst_op *op, struct mp_str argument)
{
    struct mp_str first = argument, other = mp_str(NULL, 0);
    ptrdiff_t mark = mp_str_chr(argument, '?', 0);
    if (mark >= 0) {
        first.n = (size_t)mark;
        other = mp_str(argument.p + mark + 1, argument.n - (size_t)mark - 1);
    }
    MP_TRY(header_name(c, op->kind, first, &op->name));
    if (mark >= 0) {
        MP_TRY(header_name(c, op->kind, other, &op->other));
    }
    return MP_OK;
}

static mp_err style_argument(struct compiler *c, struct subst_op *op, struct mp_str argument)
{
    static const struct mp_str names[] = {[SUBST_CAMEL] = {"CAMEL_STRING", 12},
                                          [SUBST_SNAKE] = {"SNAKE_STRING", 12},
                                          [SUBST_NUMBER] = {"NUMBER", 6}};
    for (size_t i = 0; i < MP_COUNTOF(names); i++) {
        if (mp_str_eq(names[i], argument)) {
            op->style = (uint8_t)i;
            return MP_OK;
        }
    }
    return fail(c, MP_E_SYNTAX,
                mp_arena_printf(c->arena, "\"%.*s\" is not CAMEL_STRING, SNAKE_STRING or NUMBER",
                                MP_STR_ARG(argument)));
}

static mp_err host_name(struct compiler *c, struct subst_op *op)
{
    char name[256];
    if (gethostname(name, sizeof(name)) != 0) {
        snprintf(name, sizeof(name), "-");
    }
    name[sizeof(name) - 1] = '\0';
    op->text = mp_arena_dup(c->arena, mp_str_c(name));
    return op->text.p != NULL ? MP_OK : fail(c, MP_E_LIMIT, NULL);
}

/* The value is that of the start: it does not change afterwards. */
static mp_err environment(struct compiler *c, struct subst_op *op, struct mp_str name)
{
    char key[256];
    if (name.n == 0 || name.n >= sizeof(key)) {
        return fail(c, MP_E_SYNTAX, "%ENVIRONMENT(NAME)% needs the name of a variable");
    }
    memcpy(key, name.p, name.n);
    key[name.n] = '\0';
    const char *value = getenv(key);
    if (value == NULL) {
        return MP_OK;
    }
    op->text = mp_arena_dup(c->arena, mp_str_c(value));
    return op->text.p != NULL ? MP_OK : fail(c, MP_E_LIMIT, NULL);
}

/* Operators of Envoy 1.28 that have no meaning here, or none yet. */
static bool is_known_elsewhere(struct mp_str name)
{
    static const char *const names[] = {
        "CLUSTER_METADATA",
        "DOWNSTREAM_HANDSHAKE_DURATION",
        "DOWNSTREAM_HEADER_BYTES_RECEIVED",
        "DOWNSTREAM_HEADER_BYTES_SENT",
        "DOWNSTREAM_LOCAL_SUBJECT",
        "DOWNSTREAM_LOCAL_URI_SAN",
        "DOWNSTREAM_LOCAL_DNS_SAN",
        "DOWNSTREAM_PEER_CERT",
        "DOWNSTREAM_PEER_CERT_V_END",
        "DOWNSTREAM_PEER_CERT_V_START",
        "DOWNSTREAM_PEER_FINGERPRINT_1",
        "DOWNSTREAM_PEER_FINGERPRINT_256",
        "DOWNSTREAM_PEER_ISSUER",
        "DOWNSTREAM_PEER_SERIAL",
        "DOWNSTREAM_PEER_SUBJECT",
        "DOWNSTREAM_PEER_URI_SAN",
        "DOWNSTREAM_TLS_CIPHER",
        "DOWNSTREAM_TLS_SESSION_ID",
        "DOWNSTREAM_TLS_VERSION",
        "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
        "DOWNSTREAM_WIRE_BYTES_RECEIVED",
        "DOWNSTREAM_WIRE_BYTES_SENT",
        "DYNAMIC_METADATA",
        "FILTER_CHAIN_NAME",
        "FILTER_STATE",
        "LOCAL_REPLY_BODY",
        "REQUESTED_SERVER_NAME",
        "REQUEST_TX_DURATION",
        "ROUNDTRIP_DURATION",
        "TRACE_ID",
        "UPSTREAM_CLUSTER_RAW",
        "UPSTREAM_FILTER_STATE",
        "UPSTREAM_HEADER_BYTES_RECEIVED",
        "UPSTREAM_HEADER_BYTES_SENT",
        "UPSTREAM_LOCAL_ADDRESS",
        "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
        "UPSTREAM_LOCAL_PORT",
        "UPSTREAM_METADATA",
        "UPSTREAM_PEER_CERT",
        "UPSTREAM_PEER_ISSUER",
        "UPSTREAM_PEER_SUBJECT",
        "UPSTREAM_PROTOCOL",
        "UPSTREAM_REQUEST_ATTEMPT_COUNT",
        "UPSTREAM_TLS_CIPHER",
        "UPSTREAM_TLS_SESSION_ID",
        "UPSTREAM_TLS_VERSION",
        "UPSTREAM_TRANSPORT_FAILURE_REASON",
        "UPSTREAM_WIRE_BYTES_RECEIVED",
        "UPSTREAM_WIRE_BYTES_SENT",
        "VIRTUAL_CLUSTER_NAME",
    };
    for (size_t i = 0; i < MP_COUNTOF(names); i++) {
        if (mp_str_eq(mp_str_c(names[i]), name)) {
            return true;
        }
    }
    return false;
}

static mp_err read_name(struct compiler *c, struct subst_op *op)
{
    size_t start = c->at;
    while (c->at < c->format.n && is_name(c->format.p[c->at])) {
        c->at++;
    }
    struct mp_str name = mp_str(c->format.p + start, c->at - start);
    if (name.n == 0) {
        return fail(c, MP_E_SYNTAX,
                    mp_arena_printf(
                        c->arena, "no operator after the %% at offset %zu; a percent sign is %%%%",
                        start - 1));
    }
    for (unsigned k = SUBST_LITERAL + 1; k < SUBST_KINDS; k++) {
        if (mp_str_eq(operators[k].name, name)) {
            op->kind = (uint8_t)k;
            return MP_OK;
        }
    }
    return fail(c, MP_E_UNSUPPORTED,
                mp_arena_printf(c->arena,
                                is_known_elsewhere(name) ? "operator %%%.*s%% is not supported"
                                                         : "unknown operator %%%.*s%%",
                                MP_STR_ARG(name)));
}

static mp_err read_argument(struct compiler *c, struct subst_op *op)
{
    const struct operator_def *def = &operators[op->kind];
    bool open = c->at < c->format.n && c->format.p[c->at] == '(';
    if (def->argument == ARGUMENT_NONE) {
        return !open ? MP_OK
                     : fail(c, MP_E_SYNTAX,
                            mp_arena_printf(c->arena, "%%%s%% has no argument", def->name.p));
    }
    if (!open) {
        return def->argument == ARGUMENT_TIME || def->argument == ARGUMENT_STYLE
                   ? MP_OK
                   : fail(c, MP_E_SYNTAX,
                          mp_arena_printf(c->arena, "%%%s%% needs an argument in parentheses",
                                          def->name.p));
    }
    c->at++;
    struct mp_str argument;
    if (!take_until(c, ')', &argument)) {
        return fail(c, MP_E_SYNTAX,
                    mp_arena_printf(c->arena, "no closing parenthesis after %%%s(", def->name.p));
    }
    if (def->argument == ARGUMENT_HEADER) {
        return header_argument(c, op, argument);
    }
    if (def->argument == ARGUMENT_STYLE) {
        return style_argument(c, op, argument);
    }
    if (def->argument == ARGUMENT_TEXT) {
        return environment(c, op, argument);
    }
    if (argument.n == 0) {
        return MP_OK; /* the default format */
    }
    struct mp_str kept = mp_arena_dup(c->arena, argument);
    if (kept.p == NULL) {
        return fail(c, MP_E_LIMIT, NULL);
    }
    return mp_subst_time_compile(kept, c->arena, op, &c->cause);
}

/* ":10" after a header operator. */
static mp_err read_length(struct compiler *c, struct subst_op *op)
{
    op->length_max = SIZE_MAX;
    if (c->at >= c->format.n || c->format.p[c->at] != ':') {
        return MP_OK;
    }
    const char *name = operators[op->kind].name.p;
    size_t start = ++c->at;
    while (c->at < c->format.n && c->format.p[c->at] >= '0' && c->format.p[c->at] <= '9') {
        c->at++;
    }
    uint64_t length;
    bool is_header = operators[op->kind].argument == ARGUMENT_HEADER;
    if (!is_header ||
        mp_is_err(mp_str_to_u64(mp_str(c->format.p + start, c->at - start), &length))) {
        return fail(c, MP_E_SYNTAX,
                    mp_arena_printf(c->arena,
                                    is_header ? "the length after %%%s(...): is not a number"
                                              : "%%%s%% has no length",
                                    name));
    }
    op->length_max = length;
    return MP_OK;
}

static mp_err read_operator(struct compiler *c, struct subst_op *op)
{
    MP_TRY(read_name(c, op));
    MP_TRY(read_argument(c, op));
    MP_TRY(read_length(c, op));
    if (c->at >= c->format.n || c->format.p[c->at] != '%') {
        return fail(c, MP_E_SYNTAX,
                    mp_arena_printf(c->arena, "no closing %% after the operator %s",
                                    operators[op->kind].name.p));
    }
    c->at++;
    if (op->kind == SUBST_HOSTNAME) {
        MP_TRY(host_name(c, op));
    }
    return MP_OK;
}

static void end_literal(struct compiler *c)
{
    if (c->text_n > c->text_from) {
        c->f->ops[c->f->n++] =
            (struct subst_op){.kind = SUBST_LITERAL,
                              .text = mp_str(c->text + c->text_from, c->text_n - c->text_from)};
        c->text_from = c->text_n;
    }
}

static mp_err compile(struct compiler *c)
{
    if (c->format.n > FORMAT_MAX) {
        return fail(c, MP_E_LIMIT, NULL);
    }
    size_t max = 1;
    for (size_t i = 0; i < c->format.n; i++) {
        max += c->format.p[i] == '%';
    }
    c->f = mp_arena_zalloc(c->arena, sizeof(*c->f) + max * sizeof(c->f->ops[0]));
    c->text = mp_arena_bytes(c->arena, c->format.n);
    if (c->f == NULL || c->text == NULL) {
        return fail(c, MP_E_LIMIT, NULL);
    }
    while (c->at < c->format.n) {
        char ch = c->format.p[c->at++];
        bool doubled = ch == '%' && c->at < c->format.n && c->format.p[c->at] == '%';
        if (ch != '%' || doubled) {
            c->text[c->text_n++] = ch;
            c->at += doubled;
            continue;
        }
        end_literal(c);
        struct subst_op op = {0};
        MP_TRY(read_operator(c, &op));
        c->f->ops[c->f->n++] = op;
    }
    end_literal(c);
    return MP_OK;
}

mp_err mp_subst_compile(struct mp_str format, struct mp_arena *arena, const struct mp_subst **ret,
                        const char **ret_cause)
{
    struct compiler c = {.format = format, .arena = arena};
    mp_err err = compile(&c);
    if (mp_is_err(err)) {
        *ret_cause = c.cause != NULL ? c.cause : "the format is too long";
        return err;
    }
    *ret = c.f;
    return MP_OK;
}

mp_err mp_subst_check(struct mp_str format, const char **ret_cause)
{
    /* The cause outlives the call: control threads each have their own. */
    static _Thread_local char cause_text[256];
    struct mp_arena arena;
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 4096, 16 * 1024 * 1024);
    const struct mp_subst *f;
    const char *cause = "";
    mp_err err = mp_subst_compile(format, &arena, &f, &cause);
    if (mp_is_err(err)) {
        snprintf(cause_text, sizeof(cause_text), "%s", cause);
        *ret_cause = cause_text;
    }
    mp_arena_fini(&arena);
    return err;
}

bool mp_subst_is_number(const struct mp_subst *f)
{
    return f->n == 1 && operators[f->ops[0].kind].number;
}

struct mp_str mp_subst_literal(const struct mp_subst *f)
{
    if (f->n == 0) {
        return MP_STR("");
    }
    return f->n == 1 && f->ops[0].kind == SUBST_LITERAL ? f->ops[0].text : mp_str(NULL, 0);
}
