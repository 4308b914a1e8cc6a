/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Bytes to message. The library's decoder recurses without a limit, takes any bytes for text and
 * keeps unknown fields to itself: so the bytes are walked with the descriptors first, nested Any
 * included, and decoded only when clean.
 */
#include <stdio.h>

#include "conf/pb_int.h"
#include "google_protobuf.pb-c.h"

typedef struct mp_pb_frame frame;

struct checker {
    const struct mp_pb_read_opts *opts;
    struct mp_diag *diag;
    const char *start;
    mp_err err; /* the first */
};

static bool check(struct checker *c, const frame *f, const ProtobufCMessageDescriptor *d,
                  struct mp_str wire, unsigned depth);

/* Always false. */
static bool report(struct checker *c, const frame *f, enum mp_err_code code, const char *fmt, ...)
    MP_PRINTF(4, 5);
static bool report(struct checker *c, const frame *f, enum mp_err_code code, const char *fmt, ...)
{
    struct mp_sb path, cause;
    va_list ap;
    va_start(ap, fmt);
    mp_sb_init(&path, 4096);
    mp_sb_init(&cause, 1024);
    mp_pb_frame_path(f, c->start, &path);
    mp_sb_vprintf(&cause, fmt, ap);
    va_end(ap);
    mp_err e;
    if (code == MP_E_UNSUPPORTED && c->opts->allow_unsupported) {
        mp_diag_warn(c->diag, 0, path.p, NULL, "%s", cause.p);
        e = MP_OK;
    } else {
        e = mp_diag_error(c->diag, code, 0, path.p, NULL, "%s", cause.p);
    }
    if (!mp_is_err(c->err)) {
        c->err = e;
    }
    mp_sb_fini(&path);
    mp_sb_fini(&cause);
    return false;
}

static bool varint(struct mp_str *rest, uint64_t *ret)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 10 && i < rest->n; i++) {
        uint8_t byte = (uint8_t)rest->p[i];
        if (i == 9 && byte > 1) {
            return false;
        }
        v |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *rest = mp_str(rest->p + i + 1, rest->n - i - 1);
            *ret = v;
            return true;
        }
    }
    return false;
}

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* Cuts a value off *rest; its bytes, for WIRE_BYTES without the length. */
static bool value(struct mp_str *rest, unsigned wire_type, struct mp_str *ret)
{
    uint64_t n;
    const char *from = rest->p;
    switch (wire_type) {
    case WIRE_VARINT:
        if (!varint(rest, &n)) {
            return false;
        }
        *ret = mp_str(from, (size_t)(rest->p - from));
        return true;
    case WIRE_64:
    case WIRE_32:
        n = wire_type == WIRE_64 ? 8 : 4;
        break;
    case WIRE_BYTES:
        if (!varint(rest, &n)) {
            return false;
        }
        break;
    default:
        return false; /* groups */
    }
    if (n > rest->n) {
        return false;
    }
    *ret = mp_str(rest->p, (size_t)n);
    *rest = mp_str(rest->p + n, rest->n - (size_t)n);
    return true;
}

static unsigned wire_type_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return WIRE_64;
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return WIRE_32;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_BYTES;
    default:
        return WIRE_VARINT;
    }
}

static bool check_text(struct checker *c, const frame *f, struct mp_str s)
{
    while (s.n > 0) {
        uint32_t cp;
        size_t used = mp_utf8_next(s, &cp);
        if (used == 0) {
            return report(c, f, MP_E_INVALID, "text is not UTF-8");
        }
        if (cp == 0) {
            return report(c, f, MP_E_INVALID, "text with a NUL character");
        }
        s = mp_str(s.p + used, s.n - used);
    }
    return true;
}

static bool check_packed(struct checker *c, const frame *f, ProtobufCType type, struct mp_str s)
{
    unsigned wt = wire_type_of(type);
    struct mp_str item;
    if (wt == WIRE_BYTES) {
        return report(c, f, MP_E_SYNTAX, "wrong wire type");
    }
    while (s.n > 0) {
        if (!value(&s, wt, &item)) {
            return report(c, f, MP_E_SYNTAX, "truncated list of numbers");
        }
    }
    return true;
}

static bool check_any(struct checker *c, const frame *f, struct mp_str type_url, struct mp_str wire,
                      unsigned depth)
{
    const ProtobufCMessageDescriptor *d = mp_pb_find_url(type_url);
    if (type_url.n == 0 && wire.n == 0) {
        return true;
    }
    if (!d) {
        return report(c, f, MP_E_UNSUPPORTED, "type \"" MP_STR_FMT "\" is not supported",
                      MP_STR_ARG(mp_str(type_url.p, MP_MIN(type_url.n, (size_t)200)))) ||
               c->opts->allow_unsupported;
    }
    return check(c, f, d, wire, depth + 1);
}

static bool unknown_field(struct checker *c, const frame *f, const ProtobufCMessageDescriptor *d,
                          uint64_t number)
{
    const char *name = NULL;
    if (number <= UINT32_MAX && mp_pb_is_known_field(d, mp_str(NULL, 0), (uint32_t)number, &name)) {
        if (mp_pb_is_vital_field(name)) {
            return report(c, f, MP_E_INVALID, "field \"%s\" (%llu) of %s is not supported", name,
                          (unsigned long long)number, d->name);
        }
        (void)report(c, f, MP_E_UNSUPPORTED, "field \"%s\" (%llu) of %s is not supported", name,
                     (unsigned long long)number, d->name);
    } else {
        (void)report(c, f, MP_E_UNSUPPORTED, "field %llu of %s is not supported",
                     (unsigned long long)number, d->name);
    }
    return c->opts->allow_unsupported;
}

static bool check_field(struct checker *c, const frame *f, const ProtobufCFieldDescriptor *field,
                        unsigned wire_type, struct mp_str v, unsigned depth)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED && wire_type == WIRE_BYTES &&
        wire_type_of(field->type) != WIRE_BYTES) {
        return check_packed(c, f, field->type, v);
    }
    if (wire_type != wire_type_of(field->type)) {
        return report(c, f, MP_E_SYNTAX, "wrong wire type %u", wire_type);
    }
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        return check_text(c, f, v);
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        return check(c, f, field->descriptor, v, depth + 1);
    }
    return true;
}

/* Errors of one level do not hide those of the next; a broken encoding ends the walk of its
 * message. */
static bool check(struct checker *c, const frame *f, const ProtobufCMessageDescriptor *d,
                  struct mp_str wire, unsigned depth)
{
    enum { COUNTED = 64 };
    uint32_t counts[COUNTED] = {0}; /* of repeated fields, for the index in paths */
    struct mp_str type_url = {0}, any_value = {0};
    bool ok = true, is_any = mp_pb_special(d) == MP_PB_ANY;
    if (depth > MP_PB_DEPTH_MAX) {
        return report(c, f, MP_E_LIMIT, "nested deeper than %d messages", MP_PB_DEPTH_MAX);
    }
    while (wire.n > 0) {
        uint64_t tag;
        struct mp_str v;
        if (!varint(&wire, &tag) || tag >> 3 == 0 || tag > UINT32_MAX ||
            !value(&wire, tag & 7, &v)) {
            return report(c, f, MP_E_SYNTAX, "%s is truncated or malformed", d->name);
        }
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(d, (unsigned)(tag >> 3));
        if (!field) {
            ok &= unknown_field(c, f, d, tag >> 3);
            continue;
        }
        size_t at = (size_t)(field - d->fields);
        frame named = {.up = f, .name = mp_str_c(field->name)};
        frame item = {.up = &named, .index = at < COUNTED ? counts[at]++ : 0};
        bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
        if (is_any) {
            *(field->id == 1 ? &type_url : &any_value) = v;
        }
        ok &= check_field(c, repeated ? &item : &named, field, tag & 7, v, depth);
    }
    return (!is_any || check_any(c, f, type_url, any_value, depth)) && ok;
}

mp_err mp_pb_unpack(const ProtobufCMessageDescriptor *type, struct mp_str wire,
                    const struct mp_pb_read_opts *opts, const char *path, struct mp_arena *arena,
                    struct mp_diag *diag, ProtobufCMessage **ret)
{
    struct checker c = {.opts = opts, .diag = diag, .start = path, .err = MP_OK};
    if (!check(&c, NULL, type, wire, 1)) {
        return mp_is_err(c.err) ? c.err : MP_FAIL(INVALID);
    }
    ProtobufCAllocator alloc = mp_pb_allocator(arena);
    ProtobufCMessage *m = protobuf_c_message_unpack(type, &alloc, wire.n, (const uint8_t *)wire.p);
    if (!m) {
        /* The encoding was found good: what is left is the arena. */
        return mp_diag_error(diag, MP_E_LIMIT, 0, path, NULL, "%s is too large", type->name);
    }
    *ret = m;
    return MP_OK;
}

struct mp_str mp_pb_pack(const ProtobufCMessage *m, struct mp_arena *arena)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    char *p = mp_arena_bytes(arena, n + 1);
    if (!p) {
        return mp_str(NULL, 0);
    }
    p[protobuf_c_message_pack(m, (uint8_t *)p)] = '\0';
    return mp_str(p, n);
}
