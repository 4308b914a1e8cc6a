/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Tree to message: proto3 JSON, driven by the descriptors. Goes on after an error to find the next
 * one. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "conf/pb_int.h"
#include "conf/yaml_tree.h"
#include "google_protobuf.pb-c.h"

#define QUOTE_MAX 60 /* of a bad value in an error */

typedef struct mp_pb_frame frame;

struct reader {
    struct mp_arena *arena;
    struct mp_diag *diag;
    const struct mp_pb_read_opts *opts;
    const char *start; /* path of the root */
    bool limit;        /* the arena is full: reported once */
};

static bool read_message(struct reader *r, const frame *f, const struct mp_yaml_node *n,
                         size_t line, const ProtobufCMessageDescriptor *d, ProtobufCMessage **ret);
static bool read_fields(struct reader *r, const frame *f, const struct mp_yaml_node *n, size_t line,
                        ProtobufCMessage *m, bool in_any);

/* ---- reporting ---- */

static void vreport(struct reader *r, const frame *f, bool warn, enum mp_err_code code, size_t line,
                    const char *cure, const char *fmt, va_list ap) MP_PRINTF(7, 0);
static void vreport(struct reader *r, const frame *f, bool warn, enum mp_err_code code, size_t line,
                    const char *cure, const char *fmt, va_list ap)
{
    struct mp_sb path, cause;
    mp_sb_init(&path, 4096);
    mp_sb_init(&cause, 4096);
    mp_pb_frame_path(f, r->start, &path);
    mp_sb_vprintf(&cause, fmt, ap);
    if (warn) {
        mp_diag_warn(r->diag, line, path.p, cure, "%s", cause.p);
    } else {
        (void)mp_diag_error(r->diag, code, line, path.p, cure, "%s", cause.p);
    }
    mp_sb_fini(&path);
    mp_sb_fini(&cause);
}

/* Always false, for return statements. */
static bool report(struct reader *r, const frame *f, size_t line, const char *cure, const char *fmt,
                   ...) MP_PRINTF(5, 6);
static bool report(struct reader *r, const frame *f, size_t line, const char *cure, const char *fmt,
                   ...)
{
    va_list ap;
    va_start(ap, fmt);
    vreport(r, f, false, MP_E_INVALID, line, cure, fmt, ap);
    va_end(ap);
    return false;
}

/* What we do not act on: true (go on without it) when the operator allowed that. */
static bool unsupported(struct reader *r, const frame *f, size_t line, const char *cure,
                        const char *fmt, ...) MP_PRINTF(5, 6);
static bool unsupported(struct reader *r, const frame *f, size_t line, const char *cure,
                        const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vreport(r, f, r->opts->allow_unsupported, MP_E_UNSUPPORTED, line, cure, fmt, ap);
    va_end(ap);
    return r->opts->allow_unsupported;
}

static void report_full(struct reader *r, const frame *f, size_t line)
{
    if (!r->limit) {
        r->limit = true;
        (void)report(r, f, line, NULL, "the configuration is too large");
    }
}

static void *take(struct reader *r, const frame *f, size_t line, size_t n)
{
    void *p = mp_arena_zalloc(r->arena, n);
    if (!p) {
        report_full(r, f, line);
    }
    return p;
}

static ProtobufCMessage *new_message(struct reader *r, const frame *f, size_t line,
                                     const ProtobufCMessageDescriptor *d)
{
    ProtobufCMessage *m = take(r, f, line, d->sizeof_message);
    if (m) {
        protobuf_c_message_init(d, m);
    }
    return m;
}

static const char *kind_name(const struct mp_yaml_node *n)
{
    static const char *const names[] = {"a plain value", "a list", "a map"};
    return mp_yaml_is_null(n) ? "nothing" : names[n->kind];
}

/* A value cut to a length that fits an error line. */
static struct mp_str brief(const struct mp_yaml_node *n)
{
    return mp_str(n->text.p, MP_MIN(n->text.n, (size_t)QUOTE_MAX));
}

/* ---- scalars ---- */

static char *read_string(struct reader *r, const frame *f, const struct mp_yaml_node *n,
                         size_t line)
{
    if (memchr(n->text.p, '\0', n->text.n)) {
        (void)report(r, f, line, NULL, "text with a NUL character");
        return NULL;
    }
    struct mp_str s = mp_arena_dup(r->arena, n->text);
    if (!s.p) {
        report_full(r, f, line);
    }
    return (char *)s.p;
}

static bool read_enum(struct reader *r, const frame *f, const struct mp_yaml_node *n, size_t line,
                      const ProtobufCEnumDescriptor *e, int *ret)
{
    struct mp_pb_guess guess;
    char cure[512];
    int64_t v;
    const char *why;
    mp_pb_guess_init(&guess, n->text);
    for (unsigned i = 0; i < e->n_values; i++) {
        /* Envoy's own examples hold lower-case names. */
        if (mp_str_ieq(n->text, mp_str_c(e->values[i].name))) {
            *ret = e->values[i].value;
            return true;
        }
        mp_pb_guess_offer(&guess, e->values[i].name);
    }
    if (mp_pb_text_i64(n->text, INT32_MIN, INT32_MAX, &v, &why) &&
        protobuf_c_enum_descriptor_get_value(e, (int)v)) {
        *ret = (int)v;
        return true;
    }
    size_t used = 0;
    /* Short names are alike by chance: HTTP2 is no slip for HTTP1. */
    if (guess.best && n->text.n > 5) {
        snprintf(cure, sizeof(cure), "did you mean %s?", guess.best);
    } else {
        for (unsigned i = 0; i < e->n_values && used < sizeof(cure) - 1; i++) {
            used += (size_t)snprintf(cure + used, sizeof(cure) - used, "%s%s",
                                     i ? ", " : "one of: ", e->values[i].name);
        }
    }
    return report(r, f, line, cure, "value \"" MP_STR_FMT "\" of %s is not supported",
                  MP_STR_ARG(brief(n)), e->name);
}

static bool read_bool(struct reader *r, const frame *f, const struct mp_yaml_node *n, size_t line,
                      protobuf_c_boolean *ret)
{
    bool yes = mp_str_eq(n->text, MP_STR("true")) || mp_str_eq(n->text, MP_STR("True"));
    if (!yes && !mp_str_eq(n->text, MP_STR("false")) && !mp_str_eq(n->text, MP_STR("False"))) {
        return report(r, f, line, "write true or false", "\"" MP_STR_FMT "\" is not a boolean",
                      MP_STR_ARG(brief(n)));
    }
    if (!n->plain) {
        return report(r, f, line, "remove the quotes", "text where a boolean is expected");
    }
    *ret = yes;
    return true;
}

static bool read_number(struct reader *r, const frame *f, const struct mp_yaml_node *n, size_t line,
                        ProtobufCType type, void *out)
{
    const char *why = "is not a number";
    int64_t i = 0;
    uint64_t u = 0;
    double d = 0;
    bool ok = false;
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        ok = mp_pb_text_i64(n->text, INT32_MIN, INT32_MAX, &i, &why);
        *(int32_t *)out = (int32_t)i;
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        ok = mp_pb_text_i64(n->text, INT64_MIN, INT64_MAX, &i, &why);
        *(int64_t *)out = i;
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        ok = mp_pb_text_u64(n->text, UINT32_MAX, &u, &why);
        *(uint32_t *)out = (uint32_t)u;
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        ok = mp_pb_text_u64(n->text, UINT64_MAX, &u, &why);
        *(uint64_t *)out = u;
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        ok = mp_pb_text_double(n->text, &d);
        if (ok && isinf((float)d) && !isinf(d)) {
            ok = false;
            why = "is out of range";
        }
        *(float *)out = (float)d;
        break;
    default:
        ok = mp_pb_text_double(n->text, &d);
        *(double *)out = d;
        break;
    }
    return ok || report(r, f, line, NULL, "\"" MP_STR_FMT "\" %s", MP_STR_ARG(brief(n)), why);
}

static bool read_value(struct reader *r, const frame *f, const struct mp_yaml_node *n, size_t line,
                       const ProtobufCFieldDescriptor *field, void *out)
{
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        return read_message(r, f, n, line, field->descriptor, out);
    }
    if (n->kind != MP_YAML_SCALAR || mp_yaml_is_null(n)) {
        return report(r, f, line, NULL, "%s where a value is expected", kind_name(n));
    }
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        *(char **)out = read_string(r, f, n, line);
        return *(char **)out != NULL;
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(r, f, n, line, field->descriptor, out);
    case PROTOBUF_C_TYPE_BOOL:
        return read_bool(r, f, n, line, out);
    case PROTOBUF_C_TYPE_BYTES: {
        ProtobufCBinaryData *b = out;
        b->data = take(r, f, line, n->text.n / 4 * 3 + 3);
        if (b->data && !mp_pb_text_base64(n->text, b->data, &b->len)) {
            return report(r, f, line, NULL, "not base64");
        }
        return b->data != NULL;
    }
    default:
        return read_number(r, f, n, line, field->type, out);
    }
}

/* ---- special types ---- */

static bool read_struct(struct reader *r, const frame *f, const struct mp_yaml_node *n, size_t line,
                        Google__Protobuf__Struct *s);

static bool read_any_value(struct reader *r, const frame *f, const struct mp_yaml_node *n,
                           size_t line, Google__Protobuf__Value *v)
{
    double d;
    if (n->kind == MP_YAML_MAP) {
        v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE;
        v->struct_value = (void *)new_message(r, f, line, &google__protobuf__struct__descriptor);
        return v->struct_value && read_struct(r, f, n, line, v->struct_value);
    }
    if (n->kind == MP_YAML_LIST) {
        Google__Protobuf__ListValue *list =
            (void *)new_message(r, f, line, &google__protobuf__list_value__descriptor);
        v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE;
        v->list_value = list;
        if (!list || !(list->values = take(r, f, line, n->n * sizeof(*list->values)))) {
            return false;
        }
        for (uint32_t i = 0; i < n->n; i++) {
            frame at = {.up = f, .index = i};
            Google__Protobuf__Value *item = (void *)new_message(
                r, &at, n->items[i]->line, &google__protobuf__value__descriptor);
            if (!item || !read_any_value(r, &at, n->items[i], n->items[i]->line, item)) {
                return false;
            }
            list->values[list->n_values++] = item;
        }
        return true;
    }
    if (mp_yaml_is_null(n)) {
        v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE;
    } else if (n->plain &&
               (mp_str_eq(n->text, MP_STR("true")) || mp_str_eq(n->text, MP_STR("false")))) {
        v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE;
        v->bool_value = n->text.p[0] == 't';
    } else if (n->plain && mp_pb_text_double(n->text, &d) && d - d == 0) {
        v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE;
        v->number_value = d;
    } else {
        v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
        v->string_value = read_string(r, f, n, line);
        return v->string_value != NULL;
    }
    return true;
}

static bool read_struct(struct reader *r, const frame *f, const struct mp_yaml_node *n, size_t line,
                        Google__Protobuf__Struct *s)
{
    if (n->kind != MP_YAML_MAP) {
        return report(r, f, line, NULL, "%s where a map is expected", kind_name(n));
    }
    s->fields = take(r, f, line, n->n * sizeof(*s->fields));
    for (uint32_t i = 0; s->fields && i < n->n; i++) {
        const struct mp_yaml_pair *p = &n->pairs[i];
        frame at = {.up = f, .name = p->key->text, .quoted = true};
        Google__Protobuf__Struct__FieldsEntry *e = (void *)new_message(
            r, &at, p->key->line, &google__protobuf__struct__fields_entry__descriptor);
        if (!e || !(e->key = read_string(r, &at, p->key, p->key->line))) {
            return false;
        }
        e->value = (void *)new_message(r, &at, p->key->line, &google__protobuf__value__descriptor);
        if (!e->value || !read_any_value(r, &at, p->value, p->key->line, e->value)) {
            return false;
        }
        s->fields[s->n_fields++] = e;
    }
    return s->fields != NULL;
}

static bool read_duration(struct reader *r, const frame *f, const struct mp_yaml_node *n,
                          size_t line, Google__Protobuf__Duration *d)
{
    const char *why;
    uint64_t u;
    char cure[64] = "write seconds such as 5s or 0.25s";
    if (mp_pb_text_duration(n->text, &d->seconds, &d->nanos)) {
        return true;
    }
    if (mp_pb_text_u64(n->text, UINT32_MAX, &u, &why)) {
        snprintf(cure, sizeof(cure), "write %llus", (unsigned long long)u);
    } else if (mp_str_ends(n->text, MP_STR("ms")) &&
               mp_pb_text_u64(mp_str(n->text.p, n->text.n - 2), 1000000, &u, &why)) {
        snprintf(cure, sizeof(cure), "write %gs", (double)u / 1000);
    }
    return report(r, f, line, cure, "\"" MP_STR_FMT "\" is not a duration", MP_STR_ARG(brief(n)));
}

/* "a.bC,d" -> a.b_c and d. */
static bool read_field_mask(struct reader *r, const frame *f, const struct mp_yaml_node *n,
                            size_t line, Google__Protobuf__FieldMask *m)
{
    struct mp_str rest = n->text, part;
    size_t count = 1;
    for (size_t i = 0; i < rest.n; i++) {
        count += rest.p[i] == ',';
    }
    m->paths = take(r, f, line, count * sizeof(*m->paths));
    while (m->paths && n->text.n > 0 && mp_str_split(&rest, ',', &part)) {
        char *out = take(r, f, line, part.n * 2 + 1);
        if (!out) {
            return false;
        }
        m->paths[m->n_paths++] = out;
        for (size_t i = 0; i < part.n; i++) {
            char c = part.p[i];
            if (c == '\0' || c == '_') {
                return report(r, f, line, "use the camelCase names",
                              "\"" MP_STR_FMT "\" is not a field mask", MP_STR_ARG(brief(n)));
            }
            if (c >= 'A' && c <= 'Z') {
                *out++ = '_';
                c = (char)(c + 32);
            }
            *out++ = c;
        }
    }
    return m->paths != NULL;
}

static bool pack_any(struct reader *r, const frame *f, size_t line, const ProtobufCMessage *inner,
                     Google__Protobuf__Any *any)
{
    any->value.len = protobuf_c_message_get_packed_size(inner);
    any->value.data = take(r, f, line, any->value.len + 1);
    if (!any->value.data) {
        return false;
    }
    protobuf_c_message_pack(inner, any->value.data);
    return true;
}

static bool unknown_type(struct reader *r, const frame *f, size_t line,
                         const struct mp_yaml_node *type)
{
    char cure[256] = "remove it, or use --allow-unsupported to run without it";
    struct mp_pb_guess guess;
    struct mp_str name = type->text;
    for (size_t i = name.n; i > 0; i--) {
        if (name.p[i - 1] == '/') {
            name = mp_str(name.p + i, name.n - i);
            break;
        }
    }
    mp_pb_guess_init(&guess, name);
    mp_pb_guess_types(&guess);
    if (guess.best) {
        snprintf(cure, sizeof(cure), "did you mean %s?", guess.best);
    }
    return unsupported(r, f, line, cure, "type \"" MP_STR_FMT "\" is not supported",
                       MP_STR_ARG(name));
}

static bool read_any(struct reader *r, const frame *f, const struct mp_yaml_node *n, size_t line,
                     Google__Protobuf__Any *any)
{
    size_t type_line = line;
    if (n->kind != MP_YAML_MAP) {
        return report(r, f, line, NULL, "%s where a map with \"@type\" is expected", kind_name(n));
    }
    const struct mp_yaml_node *type = mp_yaml_get(n, MP_STR("@type"), &type_line);
    if (!type || type->kind != MP_YAML_SCALAR || type->text.n == 0) {
        return report(r, f, line, "add \"@type\": type.googleapis.com/...", "\"@type\" is missing");
    }
    any->type_url = read_string(r, f, type, type_line);
    if (!any->type_url) {
        return false;
    }
    const ProtobufCMessageDescriptor *d = mp_pb_find_url(type->text);
    if (!d) {
        return unknown_type(r, f, type_line, type);
    }
    ProtobufCMessage *inner = NULL;
    if (mp_pb_special(d) != MP_PB_PLAIN) {
        const struct mp_yaml_node *value = mp_yaml_get(n, MP_STR("value"), &line);
        if (!value) {
            return report(r, f, line, NULL, "\"value\" is missing");
        }
        return read_message(r, f, value, line, d, &inner) && pack_any(r, f, line, inner, any);
    }
    inner = new_message(r, f, line, d);
    /* Also when a field is bad: what is right still takes part in the checks that follow. */
    bool ok = inner && read_fields(r, f, n, line, inner, true);
    return inner && pack_any(r, f, line, inner, any) && ok;
}

/* ---- messages ---- */

static bool unknown_field(struct reader *r, const frame *f, const struct mp_yaml_node *key,
                          const ProtobufCMessageDescriptor *d)
{
    char cure[512] = "remove it, or use --allow-unsupported to run without it";
    const char *name;
    frame at = {.up = f, .name = key->text};
    if (mp_str_eq(key->text, MP_STR("<<"))) {
        return report(r, &at, key->line, "write the values out", "merge keys are not supported");
    }
    if (mp_pb_is_known_field(d, key->text, 0, &name)) {
        if (mp_pb_is_vital_field(name)) {
            return report(r, &at, key->line,
                          "TLS is not supported yet: remove it only where plain text is meant",
                          "field \"%s\" of %s is not supported, and going on without it would "
                          "speak plain text",
                          name, d->name);
        }
        return unsupported(r, &at, key->line, cure, "field \"%s\" of %s is not supported", name,
                           d->name);
    }
    struct mp_pb_guess guess;
    mp_pb_guess_init(&guess, key->text);
    for (unsigned i = 0; i < d->n_fields; i++) {
        mp_pb_guess_offer(&guess, d->fields[i].name);
    }
    bool own = mp_str_starts(mp_str_c(d->name), MP_STR("marchproxy."));
    if (guess.best) {
        snprintf(cure, sizeof(cure), "did you mean \"%s\"?", guess.best);
    } else if (own) {
        size_t used = (size_t)snprintf(cure, sizeof(cure), "known are: ");
        for (unsigned i = 0; i < d->n_fields && used < sizeof(cure) - 1; i++) {
            used += (size_t)snprintf(cure + used, sizeof(cure) - used, "%s%s", i ? ", " : "",
                                     d->fields[i].name);
        }
    }
    if (own) {
        return unsupported(r, &at, key->line, cure, "unknown key \"" MP_STR_FMT "\"",
                           MP_STR_ARG(brief(key)));
    }
    return unsupported(r, &at, key->line, cure,
                       "field \"" MP_STR_FMT "\" of %s is not supported: there is no such field",
                       MP_STR_ARG(brief(key)), d->name);
}

static bool read_list(struct reader *r, const frame *f, const struct mp_yaml_node *n, size_t line,
                      const ProtobufCFieldDescriptor *field, ProtobufCMessage *m)
{
    if (n->kind != MP_YAML_LIST) {
        return report(r, f, line, "begin the items with \"-\", or use [ ]",
                      "%s where a list is expected", kind_name(n));
    }
    size_t size = mp_pb_elem_size(field);
    char *items = take(r, f, line, n->n * size);
    size_t *count = mp_pb_at(m, field->quantifier_offset);
    bool ok = items != NULL;
    *(void **)mp_pb_at(m, field->offset) = items;
    /* Bad items keep their place, so that later checks name the right index. */
    for (uint32_t i = 0; items && i < n->n; i++) {
        frame at = {.up = f, .index = i};
        void *slot = items + *count * size;
        ok &= read_value(r, &at, n->items[i], n->items[i]->line, field, slot);
        if (size == sizeof(void *) && !*(void **)slot &&
            (field->type == PROTOBUF_C_TYPE_MESSAGE || field->type == PROTOBUF_C_TYPE_STRING)) {
            if (field->type == PROTOBUF_C_TYPE_STRING) {
                *(const char **)slot = "";
            } else if (!(*(ProtobufCMessage **)slot =
                             new_message(r, &at, line, field->descriptor))) {
                return false;
            }
        }
        ++*count;
    }
    return ok;
}

static bool read_map(struct reader *r, const frame *f, const struct mp_yaml_node *n, size_t line,
                     const ProtobufCFieldDescriptor *field, ProtobufCMessage *m)
{
    const ProtobufCMessageDescriptor *d = field->descriptor;
    if (n->kind != MP_YAML_MAP) {
        return report(r, f, line, NULL, "%s where a map is expected", kind_name(n));
    }
    ProtobufCMessage **items = take(r, f, line, n->n * sizeof(*items));
    size_t *count = mp_pb_at(m, field->quantifier_offset);
    bool ok = items != NULL;
    *(void **)mp_pb_at(m, field->offset) = items;
    for (uint32_t i = 0; items && i < n->n; i++) {
        const struct mp_yaml_pair *p = &n->pairs[i];
        frame at = {.up = f, .name = p->key->text, .quoted = true};
        ProtobufCMessage *e = new_message(r, &at, p->key->line, d);
        if (!e ||
            !read_value(r, &at, p->key, p->key->line, &d->fields[0],
                        mp_pb_at(e, d->fields[0].offset)) ||
            !read_value(r, &at, p->value, p->key->line, &d->fields[1],
                        mp_pb_at(e, d->fields[1].offset))) {
            ok = false;
            continue;
        }
        items[(*count)++] = e;
    }
    return ok;
}

static const char *name_of(const ProtobufCMessageDescriptor *d, uint32_t number)
{
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(d, number);
    return f ? f->name : "?";
}

static bool read_field(struct reader *r, const frame *f, const struct mp_yaml_node *n, size_t line,
                       const ProtobufCFieldDescriptor *field, ProtobufCMessage *m)
{
    void *at = mp_pb_at(m, field->offset);
    bool takes_null =
        field->type == PROTOBUF_C_TYPE_MESSAGE && mp_pb_special(field->descriptor) == MP_PB_VALUE;
    if (mp_yaml_is_null(n) && !takes_null) {
        return true; /* as if it were not there */
    }
    if (mp_pb_is_map(field)) {
        return read_map(r, f, n, line, field, m);
    }
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        return read_list(r, f, n, line, field, m);
    }
    if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)) {
        return read_value(r, f, n, line, field, at);
    }
    uint32_t *which = mp_pb_at(m, field->quantifier_offset);
    if (*which != 0) {
        return report(r, f, line, "keep one of them", "\"%s\" and \"%s\" exclude each other",
                      name_of(m->descriptor, *which), field->name);
    }
    memset(at, 0, mp_pb_elem_size(field));
    if (!read_value(r, f, n, line, field, at)) {
        /* A half-read message is kept for the checks that follow, a missing one would be taken for
         * absence. */
        if (field->type == PROTOBUF_C_TYPE_MESSAGE && *(void **)at) {
            *which = field->id;
        }
        return false;
    }
    *which = field->id;
    return true;
}

static bool read_fields(struct reader *r, const frame *f, const struct mp_yaml_node *n, size_t line,
                        ProtobufCMessage *m, bool in_any)
{
    const ProtobufCMessageDescriptor *d = m->descriptor;
    bool ok = true;
    uint64_t seen[4] = {0}; /* fields by index: both spellings of one may stand in a map */
    if (mp_yaml_is_null(n)) {
        return true;
    }
    if (n->kind != MP_YAML_MAP) {
        return report(r, f, line, NULL, "%s where a map is expected (%s)", kind_name(n), d->name);
    }
    MP_ASSERT(d->n_fields <= 64 * MP_COUNTOF(seen));
    for (uint32_t i = 0; i < n->n; i++) {
        const struct mp_yaml_node *key = n->pairs[i].key;
        if (in_any && mp_str_eq(key->text, MP_STR("@type"))) {
            continue;
        }
        const ProtobufCFieldDescriptor *field = mp_pb_find_field(d, key->text);
        if (!field) {
            ok &= unknown_field(r, f, key, d);
            continue;
        }
        frame at = {.up = f, .name = mp_str_c(field->name)};
        size_t index = (size_t)(field - d->fields);
        if (seen[index / 64] >> (index % 64) & 1) {
            ok = report(r, &at, key->line, "keep one of them", "field \"%s\" appears twice",
                        field->name);
            continue;
        }
        seen[index / 64] |= 1ull << (index % 64);
        ok &= read_field(r, &at, n->pairs[i].value, key->line, field, m);
    }
    return ok;
}

/* The types that are written as one scalar. */
static bool read_bare(struct reader *r, const frame *f, const struct mp_yaml_node *n, size_t line,
                      ProtobufCMessage *m)
{
    const ProtobufCMessageDescriptor *d = m->descriptor;
    Google__Protobuf__Timestamp *t = (Google__Protobuf__Timestamp *)m;
    switch (mp_pb_special(d)) {
    case MP_PB_WRAPPER:
        return read_value(r, f, n, line, &d->fields[0], mp_pb_at(m, d->fields[0].offset));
    case MP_PB_DURATION:
        return read_duration(r, f, n, line, (Google__Protobuf__Duration *)m);
    case MP_PB_FIELD_MASK:
        return read_field_mask(r, f, n, line, (Google__Protobuf__FieldMask *)m);
    default:
        return mp_pb_text_timestamp(n->text, &t->seconds, &t->nanos) ||
               report(r, f, line, "write 2006-01-02T15:04:05Z", "\"" MP_STR_FMT "\" is not a time",
                      MP_STR_ARG(brief(n)));
    }
}

static bool read_list_value(struct reader *r, const frame *f, const struct mp_yaml_node *n,
                            size_t line, Google__Protobuf__ListValue *list)
{
    Google__Protobuf__Value v = GOOGLE__PROTOBUF__VALUE__INIT;
    if (n->kind != MP_YAML_LIST) {
        return report(r, f, line, NULL, "%s where a list is expected", kind_name(n));
    }
    bool ok = read_any_value(r, f, n, line, &v);
    if (v.list_value) {
        *list = *v.list_value;
    }
    return ok;
}

/* *ret is set as far as something could be read; a bad bare value counts as absent. */
static bool read_message(struct reader *r, const frame *f, const struct mp_yaml_node *n,
                         size_t line, const ProtobufCMessageDescriptor *d, ProtobufCMessage **ret)
{
    ProtobufCMessage *m = new_message(r, f, line, d);
    if (!m) {
        return false;
    }
    *ret = m;
    switch (mp_pb_special(d)) {
    case MP_PB_ANY:
        return read_any(r, f, n, line, (Google__Protobuf__Any *)m);
    case MP_PB_STRUCT:
        return read_struct(r, f, n, line, (Google__Protobuf__Struct *)m);
    case MP_PB_VALUE:
        return read_any_value(r, f, n, line, (Google__Protobuf__Value *)m);
    case MP_PB_LIST_VALUE:
        return read_list_value(r, f, n, line, (Google__Protobuf__ListValue *)m);
    case MP_PB_WRAPPER:
    case MP_PB_DURATION:
    case MP_PB_TIMESTAMP:
    case MP_PB_FIELD_MASK:
        if (n->kind != MP_YAML_SCALAR) {
            break; /* {seconds: 1} occurs in older files */
        }
        if (!read_bare(r, f, n, line, m)) {
            *ret = NULL;
            return false;
        }
        return true;
    case MP_PB_PLAIN:
        break;
    }
    return read_fields(r, f, n, line, m, false);
}

bool mp_pb_read_partial(const struct mp_yaml_node *n, size_t line, const char *path,
                        const ProtobufCMessageDescriptor *type, const struct mp_pb_read_opts *opts,
                        struct mp_arena *arena, struct mp_diag *diag, ProtobufCMessage **ret)
{
    struct reader r = {.arena = arena, .diag = diag, .opts = opts, .start = path};
    *ret = NULL;
    return read_message(&r, NULL, n, line, type, ret);
}

mp_err mp_pb_from_yaml(const struct mp_yaml *y, const char *path,
                       const ProtobufCMessageDescriptor *type, const struct mp_pb_read_opts *opts,
                       struct mp_arena *arena, struct mp_diag *diag, ProtobufCMessage **ret)
{
    size_t line = y->root->line;
    const struct mp_yaml_node *n = path ? mp_yaml_at(y, path, &line) : y->root;
    ProtobufCMessage *m;
    if (!n) {
        return mp_diag_error(diag, MP_E_NOT_FOUND, line, path, NULL, "is missing");
    }
    if (!mp_pb_read_partial(n, line, path, type, opts, arena, diag, &m)) {
        return MP_FAIL(INVALID);
    }
    *ret = m;
    return MP_OK;
}
