/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Message to proto3 JSON, with the field names as declared. Messages come from the reader or from
 * mp_pb_unpack, which bound their depth; so recursion is bounded here.
 */
#include <stdio.h>

#include "conf/pb_int.h"
#include "google_protobuf.pb-c.h"

struct writer {
    struct mp_sb *out;
    unsigned indent;
};

static void write_message(struct writer *w, const ProtobufCMessage *m, unsigned level,
                          const char *type_url);
static void write_value(struct writer *w, const Google__Protobuf__Value *v, unsigned level);

static void new_line(struct writer *w, unsigned level)
{
    static const char blanks[] = "                ";
    size_t n = (size_t)w->indent * level;
    if (w->indent == 0) {
        return;
    }
    mp_sb_add_char(w->out, '\n');
    for (; n >= sizeof(blanks) - 1; n -= sizeof(blanks) - 1) {
        mp_sb_add_c(w->out, blanks);
    }
    mp_sb_add(w->out, mp_str(blanks, n));
}

/* Begins a member or an item: the comma, the line. */
static void begin(struct writer *w, bool *first, unsigned level)
{
    if (!*first) {
        mp_sb_add_char(w->out, ',');
    }
    *first = false;
    new_line(w, level);
}

static void end(struct writer *w, bool empty, unsigned level, char bracket)
{
    if (!empty) {
        new_line(w, level);
    }
    mp_sb_add_char(w->out, bracket);
}

static void write_key(struct writer *w, const char *name)
{
    mp_sb_add_json(w->out, mp_str_c(name));
    mp_sb_add_c(w->out, w->indent ? ": " : ":");
}

static void write_text(struct writer *w, const char *z)
{
    mp_sb_add_json(w->out, mp_str_c(z));
}

/* ---- fields ---- */

static void write_scalar(struct writer *w, const ProtobufCFieldDescriptor *f, const void *p,
                         unsigned level)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        write_message(w, *(ProtobufCMessage *const *)p, level, NULL);
        break;
    case PROTOBUF_C_TYPE_STRING:
        write_text(w, *(char *const *)p);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        mp_pb_add_base64(w->out, ((const ProtobufCBinaryData *)p)->data,
                         ((const ProtobufCBinaryData *)p)->len);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        mp_sb_add_c(w->out, *(const protobuf_c_boolean *)p ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_ENUM: {
        const ProtobufCEnumValue *v =
            protobuf_c_enum_descriptor_get_value(f->descriptor, *(const int *)p);
        if (v) {
            write_text(w, v->name);
        } else {
            mp_sb_printf(w->out, "%d", *(const int *)p);
        }
        break;
    }
    case PROTOBUF_C_TYPE_DOUBLE:
        mp_pb_add_double(w->out, *(const double *)p, false);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        mp_pb_add_double(w->out, (double)*(const float *)p, true);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        mp_sb_printf(w->out, "\"%llu\"", (unsigned long long)*(const uint64_t *)p);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        mp_sb_printf(w->out, "\"%lld\"", (long long)*(const int64_t *)p);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        mp_sb_printf(w->out, "%u", *(const uint32_t *)p);
        break;
    default:
        mp_sb_printf(w->out, "%d", *(const int32_t *)p);
        break;
    }
}

static void write_list(struct writer *w, const ProtobufCFieldDescriptor *f, const char *items,
                       size_t n, unsigned level)
{
    size_t size = mp_pb_elem_size(f);
    bool first = true;
    mp_sb_add_char(w->out, '[');
    for (size_t i = 0; i < n; i++) {
        begin(w, &first, level + 1);
        write_scalar(w, f, items + i * size, level + 1);
    }
    end(w, n == 0, level, ']');
}

static void write_map(struct writer *w, const ProtobufCFieldDescriptor *f,
                      ProtobufCMessage *const *items, size_t n, unsigned level)
{
    const ProtobufCMessageDescriptor *d = f->descriptor;
    bool first = true;
    mp_sb_add_char(w->out, '{');
    for (size_t i = 0; i < n; i++) {
        const void *e = items[i];
        begin(w, &first, level + 1);
        /* Keys that are not text are quoted all the same; 64-bit ones are already. */
        bool quoted =
            d->fields[0].type == PROTOBUF_C_TYPE_STRING || mp_pb_elem_size(&d->fields[0]) == 8;
        if (!quoted) {
            mp_sb_add_char(w->out, '"');
        }
        write_scalar(w, &d->fields[0], mp_pb_at(e, d->fields[0].offset), 0);
        mp_sb_add_c(w->out, quoted ? "" : "\"");
        mp_sb_add_c(w->out, w->indent ? ": " : ":");
        if (d->fields[1].type == PROTOBUF_C_TYPE_MESSAGE &&
            !*(void *const *)mp_pb_at(e, d->fields[1].offset)) {
            mp_sb_add_c(w->out, "{}"); /* absent on the wire: the empty message */
        } else {
            write_scalar(w, &d->fields[1], mp_pb_at(e, d->fields[1].offset), level + 1);
        }
    }
    end(w, n == 0, level, '}');
}

static bool is_set(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    const void *p = mp_pb_at(m, f->offset);
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        return *(const size_t *)mp_pb_at(m, f->quantifier_offset) != 0;
    }
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        return *(const uint32_t *)mp_pb_at(m, f->quantifier_offset) == f->id;
    }
    switch (f->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(void *const *)p != NULL;
    case PROTOBUF_C_TYPE_STRING:
        return *(char *const *)p && **(char *const *)p;
    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *)p)->len != 0;
    default: {
        static const char zero[8];
        return memcmp(p, zero, mp_pb_elem_size(f)) != 0;
    }
    }
}

static void write_field(struct writer *w, const ProtobufCMessage *m,
                        const ProtobufCFieldDescriptor *f, unsigned level)
{
    const void *p = mp_pb_at(m, f->offset);
    write_key(w, f->name);
    if (mp_pb_is_secret(m->descriptor, f)) {
        mp_sb_add_c(w->out, "\"[redacted]\"");
        return;
    }
    if (f->label != PROTOBUF_C_LABEL_REPEATED) {
        write_scalar(w, f, p, level);
        return;
    }
    size_t n = *(const size_t *)mp_pb_at(m, f->quantifier_offset);
    if (mp_pb_is_map(f)) {
        write_map(w, f, *(ProtobufCMessage *const *const *)p, n, level);
    } else {
        write_list(w, f, *(char *const *)p, n, level);
    }
}

/* ---- special types ---- */

static void write_struct(struct writer *w, const Google__Protobuf__Struct *s, unsigned level)
{
    bool first = true;
    mp_sb_add_char(w->out, '{');
    for (size_t i = 0; i < s->n_fields; i++) {
        begin(w, &first, level + 1);
        write_key(w, s->fields[i]->key);
        if (s->fields[i]->value) {
            write_value(w, s->fields[i]->value, level + 1);
        } else {
            mp_sb_add_c(w->out, "null");
        }
    }
    end(w, s->n_fields == 0, level, '}');
}

static void write_values(struct writer *w, const Google__Protobuf__ListValue *l, unsigned level)
{
    bool first = true;
    mp_sb_add_char(w->out, '[');
    for (size_t i = 0; i < l->n_values; i++) {
        begin(w, &first, level + 1);
        write_value(w, l->values[i], level + 1);
    }
    end(w, l->n_values == 0, level, ']');
}

static void write_value(struct writer *w, const Google__Protobuf__Value *v, unsigned level)
{
    switch (v->kind_case) {
    case GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE:
        write_struct(w, v->struct_value, level);
        break;
    case GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE:
        write_values(w, v->list_value, level);
        break;
    case GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE:
        mp_sb_add_c(w->out, v->bool_value ? "true" : "false");
        break;
    case GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE:
        mp_pb_add_double(w->out, v->number_value, false);
        break;
    case GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE:
        write_text(w, v->string_value);
        break;
    default:
        mp_sb_add_c(w->out, "null");
        break;
    }
}

static void write_any(struct writer *w, const Google__Protobuf__Any *any, unsigned level)
{
    const ProtobufCMessageDescriptor *d = mp_pb_find_url(mp_str_c(any->type_url));
    struct mp_arena arena;
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 4096, SIZE_MAX);
    ProtobufCAllocator alloc = mp_pb_allocator(&arena);
    ProtobufCMessage *inner =
        d ? protobuf_c_message_unpack(d, &alloc, any->value.len, any->value.data) : NULL;
    if (inner) {
        write_message(w, inner, level, any->type_url);
    } else {
        bool first = true;
        mp_sb_add_char(w->out, '{');
        begin(w, &first, level + 1);
        write_key(w, "@type");
        write_text(w, any->type_url);
        begin(w, &first, level + 1);
        write_key(w, "value");
        mp_pb_add_base64(w->out, any->value.data, any->value.len);
        end(w, false, level, '}');
    }
    mp_arena_fini(&arena);
}

static void write_field_mask(struct writer *w, const Google__Protobuf__FieldMask *m)
{
    struct mp_sb text;
    mp_sb_init(&text, 1 << 20);
    for (size_t i = 0; i < m->n_paths; i++) {
        const char *p = m->paths[i];
        mp_sb_add_c(&text, i ? "," : "");
        for (; *p; p++) {
            if (*p == '_' && p[1] >= 'a' && p[1] <= 'z') {
                p++;
                mp_sb_add_char(&text, (char)(*p - 32));
            } else {
                mp_sb_add_char(&text, *p);
            }
        }
    }
    mp_sb_add_json(w->out, mp_sb_str(&text));
    mp_sb_fini(&text);
}

/* False: the type has no form of its own. */
static bool write_special(struct writer *w, const ProtobufCMessage *m, unsigned level)
{
    const ProtobufCMessageDescriptor *d = m->descriptor;
    switch (mp_pb_special(d)) {
    case MP_PB_ANY:
        write_any(w, (const Google__Protobuf__Any *)m, level);
        return true;
    case MP_PB_DURATION:
        mp_pb_add_duration(w->out, ((const Google__Protobuf__Duration *)m)->seconds,
                           ((const Google__Protobuf__Duration *)m)->nanos);
        return true;
    case MP_PB_TIMESTAMP:
        mp_pb_add_timestamp(w->out, ((const Google__Protobuf__Timestamp *)m)->seconds,
                            ((const Google__Protobuf__Timestamp *)m)->nanos);
        return true;
    case MP_PB_FIELD_MASK:
        write_field_mask(w, (const Google__Protobuf__FieldMask *)m);
        return true;
    case MP_PB_STRUCT:
        write_struct(w, (const Google__Protobuf__Struct *)m, level);
        return true;
    case MP_PB_VALUE:
        write_value(w, (const Google__Protobuf__Value *)m, level);
        return true;
    case MP_PB_LIST_VALUE:
        write_values(w, (const Google__Protobuf__ListValue *)m, level);
        return true;
    case MP_PB_WRAPPER:
        write_scalar(w, &d->fields[0], mp_pb_at(m, d->fields[0].offset), level);
        return true;
    case MP_PB_PLAIN:
        return false;
    }
    return false;
}

static void write_message(struct writer *w, const ProtobufCMessage *m, unsigned level,
                          const char *type_url)
{
    const ProtobufCMessageDescriptor *d = m->descriptor;
    bool first = true;
    if (!type_url && write_special(w, m, level)) {
        return;
    }
    mp_sb_add_char(w->out, '{');
    if (type_url) {
        begin(w, &first, level + 1);
        write_key(w, "@type");
        write_text(w, type_url);
    }
    if (type_url && mp_pb_special(d) != MP_PB_PLAIN) {
        begin(w, &first, level + 1);
        write_key(w, "value");
        (void)write_special(w, m, level + 1);
    } else {
        for (unsigned i = 0; i < d->n_fields; i++) {
            if (is_set(m, &d->fields[i])) {
                begin(w, &first, level + 1);
                write_field(w, m, &d->fields[i], level + 1);
            }
        }
    }
    end(w, first, level, '}');
}

void mp_pb_to_json(const ProtobufCMessage *m, unsigned indent, struct mp_sb *out)
{
    struct writer w = {.out = out, .indent = indent};
    write_message(&w, m, 0, NULL);
}
