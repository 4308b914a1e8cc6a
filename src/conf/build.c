/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Small tools of the translation. */
#include "conf/build.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "conf/pb_int.h"

#define CAUSE_MAX 1024

/* ---- where ---- */

size_t mp_build_enter(struct mp_conf_build *b, const char *fmt, ...)
{
    size_t mark = b->path_n, room = sizeof(b->path) - mark;
    char step[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(step, sizeof(step), fmt, ap);
    va_end(ap);
    bool dot = mark > 0 && step[0] != '[';
    int n = snprintf(b->path + mark, room, "%s%s", dot ? "." : "", step);
    b->path_n += MP_MIN((size_t)MP_MAX(n, 0), room - 1);
    return mark;
}

void mp_build_leave(struct mp_conf_build *b, size_t mark)
{
    b->path_n = mark;
    b->path[mark] = '\0';
}

struct mp_conf_where mp_build_where(const struct mp_conf_build *b)
{
    return (struct mp_conf_where){
        .diag = b->diag, .path = b->path, .line_of = mp_conf_line_of, .lines = b->places};
}

size_t mp_build_line(const struct mp_conf_build *b)
{
    size_t line;
    (void)mp_conf_place(b->places, b->path, &line);
    return line;
}

/* Was something at or below the place reported in the words of the simple file? Then what the
 * messages made from it lack is a consequence. */
static bool is_told(const struct mp_conf_build *b, const char *sub)
{
    char path[sizeof(b->path) + 512];
    size_t line;
    mp_conf_path_join(b->path, sub, path, sizeof(path));
    const char *shown = mp_conf_place(b->places, path, &line);
    size_t n = strlen(shown);
    if (shown == path) {
        return false;
    }
    for (size_t i = 0; i < b->diag->n; i++) {
        const struct mp_diag_item *item = &b->diag->items[i];
        if (item->level == MP_DIAG_ERROR && item->path && strncmp(item->path, shown, n) == 0 &&
            strchr(".[", item->path[n])) {
            return true;
        }
    }
    return false;
}

mp_err mp_build_error(struct mp_conf_build *b, const char *sub, const char *cure, const char *fmt,
                      ...)
{
    char cause[CAUSE_MAX];
    struct mp_conf_where w = mp_build_where(b);
    if (is_told(b, sub)) {
        return MP_FAIL(INVALID);
    }
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cause, sizeof(cause), fmt, ap);
    va_end(ap);
    return mp_conf_error(&w, MP_E_INVALID, sub, cure, "%s", cause);
}

const char *mp_build_shown(const struct mp_conf_build *b, const char *path)
{
    size_t line;
    return mp_conf_place(b->places, path, &line);
}

/* Has a field directly in the present message been refused? */
static bool is_tainted(const struct mp_conf_build *b)
{
    for (size_t i = 0; i < b->diag->n; i++) {
        const struct mp_diag_item *item = &b->diag->items[i];
        if (item->level != MP_DIAG_ERROR || !item->path ||
            strncmp(item->path, b->path, b->path_n) != 0) {
            continue;
        }
        const char *rest = item->path + b->path_n;
        if (b->path_n > 0 && *rest++ != '.') {
            continue;
        }
        if (!strpbrk(rest, ".[")) {
            return true;
        }
    }
    return false;
}

void mp_build_missing(struct mp_conf_build *b, const char *sub, const char *cure, const char *fmt,
                      ...)
{
    char cause[CAUSE_MAX];
    va_list ap;
    if (is_tainted(b)) {
        return;
    }
    va_start(ap, fmt);
    vsnprintf(cause, sizeof(cause), fmt, ap);
    va_end(ap);
    (void)mp_build_error(b, sub, cure, "%s", cause);
}

void mp_build_unsupported(struct mp_conf_build *b, const char *sub, const char *cure,
                          const char *fmt, ...)
{
    char cause[CAUSE_MAX], path[sizeof(b->path) + 512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cause, sizeof(cause), fmt, ap);
    va_end(ap);
    if (!b->opts->allow_unsupported) {
        struct mp_conf_where w = mp_build_where(b);
        (void)mp_conf_error(&w, MP_E_UNSUPPORTED, sub, cure, "%s", cause);
        return;
    }
    size_t line;
    mp_conf_path_join(b->path, sub, path, sizeof(path));
    const char *shown = mp_conf_place(b->places, path, &line);
    mp_diag_warn(b->diag, line, shown, cure, "%s", cause);
}

/* ---- memory ---- */

void *mp_build_take(struct mp_conf_build *b, size_t n, size_t size)
{
    size_t bytes;
    MP_ASSERT(!__builtin_mul_overflow(n, size, &bytes));
    void *p = mp_arena_zalloc(b->arena, bytes);
    MP_ASSERT(p); /* the model's arena has no maximum: the messages it is made from have */
    return p;
}

struct mp_str mp_build_str(struct mp_conf_build *b, const char *z)
{
    struct mp_str s = mp_arena_dup(b->arena, mp_str_c(z));
    MP_ASSERT(s.p);
    return s;
}

struct mp_str mp_build_printf(struct mp_conf_build *b, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return mp_build_str(b, text);
}

struct mp_arena *mp_build_enter_part(struct mp_conf_build *b, struct mp_conf_part *part)
{
    struct mp_arena *before = b->arena;
    b->arena = &part->arena;
    return before;
}

void mp_build_leave_part(struct mp_conf_build *b, struct mp_arena *before)
{
    b->arena = before;
}

const ProtobufCMessage *mp_build_any(struct mp_conf_build *b, const char *sub, const pb_any *any)
{
    if (!any) {
        mp_build_missing(b, sub, NULL, "%s is missing", sub);
        return NULL;
    }
    const ProtobufCMessageDescriptor *d = mp_pb_find_url(mp_str_c(any->type_url));
    if (!d) {
        return NULL; /* reported by whoever read the message */
    }
    /* The reader packed it, or mp_pb_unpack looked into it when it took the message around it. */
    ProtobufCAllocator alloc = mp_pb_allocator(b->scratch);
    ProtobufCMessage *m = protobuf_c_message_unpack(d, &alloc, any->value.len, any->value.data);
    if (!m) {
        (void)mp_build_error(b, sub, NULL, "the configuration is too large");
    }
    return m;
}

void mp_build_source(struct mp_conf_build *b, const ProtobufCMessage *m, struct mp_conf_source *ret)
{
    ret->type = m->descriptor->name;
    ret->packed = mp_pb_pack(m, b->arena);
    MP_ASSERT(ret->packed.p);
    ret->hash = mp_hash_fnv(MP_FNV_SEED, ret->packed.p, ret->packed.n);
}

/* ---- values ---- */

void mp_build_ms(struct mp_conf_build *b, const char *sub, const pb_duration *d, uint64_t *ret)
{
    if (!d) {
        return;
    }
    if (d->seconds < 0 || d->nanos < 0 || d->nanos > 999999999 || d->seconds > 315576000000) {
        (void)mp_build_error(b, sub, "use 0s or more", "duration is negative or out of range");
        return;
    }
    /* Rounded up: a tiny time must not become 0, which means none. */
    *ret = (uint64_t)d->seconds * 1000 + ((uint64_t)d->nanos + 999999) / 1000000;
}

void mp_build_u32(struct mp_conf_build *b, const char *sub, const pb_u32 *v, uint32_t min,
                  uint32_t max, uint32_t *ret)
{
    if (!v) {
        return;
    }
    if (v->value < min || v->value > max) {
        char cure[64];
        snprintf(cure, sizeof(cure), "use %u to %u", min, max);
        (void)mp_build_error(b, sub, cure, "%u is out of range", v->value);
        return;
    }
    *ret = v->value;
}

bool mp_build_header_text(struct mp_conf_build *b, const char *sub, const char *z, bool format)
{
    const char *cause = NULL;
    for (const char *p = z; *p; p++) {
        if (((unsigned char)*p < 0x20 && *p != '\t') || *p == 0x7f) {
            (void)mp_build_error(b, sub, NULL, "a control character cannot be sent in a header");
            return false;
        }
    }
    if (!format) {
        return true;
    }
    if (!b->opts->registry->check_format) {
        if (strchr(z, '%')) {
            (void)mp_build_error(b, sub, NULL, "%%OPERATORS%% are not available here");
            return false;
        }
    } else if (mp_is_err(b->opts->registry->check_format(mp_str_c(z), &cause))) {
        (void)mp_build_error(b, sub, "write %% for a percent sign", "%s",
                             cause ? cause : "bad format");
        return false;
    }
    return true;
}

bool mp_build_data_source(struct mp_conf_build *b, const char *sub,
                          const Envoy__Config__Core__V3__DataSource *m, struct mp_str *ret)
{
    struct mp_str s;
    switch (m->specifier_case) {
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_STRING:
        s = mp_str_c(m->inline_string);
        break;
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_INLINE_BYTES:
        s = mp_str((const char *)m->inline_bytes.data, m->inline_bytes.len);
        break;
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_FILENAME:
    case ENVOY__CONFIG__CORE__V3__DATA_SOURCE__SPECIFIER_ENVIRONMENT_VARIABLE:
        mp_build_unsupported(b, sub, "use inline_string",
                             "content from a file or the environment is not supported here");
        return false;
    default:
        mp_build_missing(b, sub, "add inline_string", "there is no content");
        return false;
    }
    *ret = mp_arena_dup(b->arena, s);
    MP_ASSERT(ret->p);
    return true;
}

/* ---- addresses ---- */

bool mp_conf_is_ip(const char *text, bool *ret_ip6)
{
    unsigned char bin[16];
    bool ip4 = inet_pton(AF_INET, text, bin) == 1;
    *ret_ip6 = !ip4 && inet_pton(AF_INET6, text, bin) == 1;
    return ip4 || *ret_ip6;
}

/* A DNS name: letters, digits, '-', '_' and dots, not empty, not too long. */
static bool is_host_name(struct mp_str s)
{
    if (s.n == 0 || s.n > 253 || s.p[0] == '.' || s.p[0] == '-') {
        return false;
    }
    size_t label = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        label = c == '.' ? 0 : label + 1;
        bool ok = ((c | 32) >= 'a' && (c | 32) <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
                  c == '_' || (c == '.' && s.p[i - 1] != '.');
        if (!ok || label > 63) {
            return false;
        }
    }
    return true;
}

static bool build_pipe(struct mp_conf_build *b, const Envoy__Config__Core__V3__Pipe *m,
                       struct mp_conf_addr *ret)
{
    size_t n = strlen(m->path);
    if (n == 0) {
        mp_build_missing(b, "path", NULL, "path is missing");
        return false;
    }
    if (n > 107) {
        (void)mp_build_error(b, "path", NULL,
                             "path of %zu bytes is too long: a Unix socket takes 107", n);
        return false;
    }
    if (m->mode > 0777) {
        (void)mp_build_error(b, "mode", "write the decimal value, 511 (octal 777) at most",
                             "mode %u is out of range", m->mode);
        return false;
    }
    *ret = (struct mp_conf_addr){
        .host = mp_build_str(b, m->path), .is_unix = true, .unix_mode = m->mode};
    return true;
}

static bool build_socket_address(struct mp_conf_build *b,
                                 const Envoy__Config__Core__V3__SocketAddress *m,
                                 const char *want_ip, unsigned port_min, struct mp_conf_addr *ret)
{
    bool ip6, ip = mp_conf_is_ip(m->address, &ip6), ok = true;
    if (m->address[0] == '\0') {
        mp_build_missing(b, "address", NULL, "address is missing");
        ok = false;
    } else if (!ip && want_ip) {
        (void)mp_build_error(b, "address", want_ip, "\"%s\" is not an IP address", m->address);
        ok = false;
    } else if (!ip && !is_host_name(mp_str_c(m->address))) {
        (void)mp_build_error(b, "address", NULL, "\"%s\" is neither an IP address nor a host name",
                             m->address);
        ok = false;
    }
    if (m->port_specifier_case !=
        ENVOY__CONFIG__CORE__V3__SOCKET_ADDRESS__PORT_SPECIFIER_PORT_VALUE) {
        mp_build_missing(b, "port_value", "add port_value", "port_value is missing");
        return false;
    }
    if (m->port_value < port_min || m->port_value > 65535) {
        char cure[32];
        snprintf(cure, sizeof(cure), "use %u to 65535", port_min);
        (void)mp_build_error(b, "port_value", cure, "port %u is out of range", m->port_value);
        return false;
    }
    if (ok) {
        *ret = (struct mp_conf_addr){.host = mp_build_str(b, m->address),
                                     .port = (uint16_t)m->port_value};
    }
    return ok;
}

bool mp_build_socket_addr(struct mp_conf_build *b, const char *sub,
                          const Envoy__Config__Core__V3__SocketAddress *m, const char *want_ip,
                          unsigned port_min, struct mp_conf_addr *ret)
{
    if (!m) {
        mp_build_missing(b, sub, NULL, "%s is missing", sub);
        return false;
    }
    size_t mark = mp_build_enter(b, "%s", sub);
    bool ok = build_socket_address(b, m, want_ip, port_min, ret);
    mp_build_leave(b, mark);
    return ok;
}

bool mp_build_addr(struct mp_conf_build *b, const char *sub, const pb_address *a,
                   const char *want_ip, unsigned port_min, struct mp_conf_addr *ret)
{
    if (!a) {
        mp_build_missing(b, sub, "add socket_address with address and port_value", "%s is missing",
                         sub);
        return false;
    }
    size_t mark = mp_build_enter(b, "%s", sub), mark2;
    bool ok = false;
    switch (a->address_case) {
    case ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS:
        ok = mp_build_socket_addr(b, "socket_address", a->socket_address, want_ip, port_min, ret);
        break;
    case ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_PIPE:
        mark2 = mp_build_enter(b, "pipe");
        ok = build_pipe(b, a->pipe, ret);
        mp_build_leave(b, mark2);
        break;
    default:
        mp_build_missing(b, NULL, "add socket_address with address and port_value",
                         "the address is empty");
        break;
    }
    mp_build_leave(b, mark);
    return ok;
}

struct mp_str mp_build_addr_text(struct mp_conf_build *b, const struct mp_conf_addr *a)
{
    bool ip6;
    if (a->is_unix) {
        return a->host;
    }
    (void)mp_conf_is_ip(a->host.p, &ip6);
    return mp_build_printf(b, ip6 ? "[%s]:%u" : "%s:%u", a->host.p, a->port);
}
