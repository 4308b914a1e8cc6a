/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "conf/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "conf/pb_int.h"
#include "marchproxy_config_v1.pb-c.h"

#define TYPES_MAX     64
#define FILTER_PREFIX "marchproxy.filters.http."

/* A variable may stand for any scalar. */
#define VARIABLE "{\"type\": \"string\", \"pattern\": \"\\\\$\\\\{\"}"
#define ADDRESS  "{\"type\": [\"string\", \"integer\"]}"
#define SECONDS  "^[0-9]+(\\\\.[0-9]+)?s$"

struct schema {
    struct mp_sb *out;
    const struct mp_conf_registry *registry;
    const ProtobufCMessageDescriptor *types[TYPES_MAX]; /* whose definitions are needed */
    bool in_filter[TYPES_MAX];                          /* where NAME_file stands for NAME */
    size_t n;
};

/* Fields whose type says less than their reader (from_march*.c). */
static const struct {
    const char *message, *field, *schema;
} special[] = {
    {"marchproxy.config.v1.SimpleFile", "listen",
     "{\"anyOf\": [" ADDRESS ", {\"type\": \"array\", \"items\": {\"anyOf\": [" ADDRESS
     ", {\"type\": \"object\", \"properties\": {\"address\": " ADDRESS
     ", \"name\": {\"type\": \"string\"}, \"reuse_port\": {\"type\": \"boolean\"}}, \"required\": "
     "[\"address\"], "
     "\"additionalProperties\": false}]}}]}"},
    {"marchproxy.config.v1.SimpleFile", "admin",
     "{\"type\": [\"string\", \"integer\", \"boolean\", \"object\", \"null\"]}"},
    {"marchproxy.config.v1.SimpleFile", "access_log",
     "{\"type\": [\"string\", \"boolean\", \"object\", \"null\"]}"},
    {"marchproxy.config.v1.Service", "port",
     "{\"anyOf\": [{\"type\": \"integer\", \"minimum\": 1, \"maximum\": 65535}, "
     "{\"type\": \"string\", \"pattern\": \"^[0-9]+$|\\\\$\\\\{\"}]}"},
    {"marchproxy.config.v1.Service", "protocol",
     "{\"anyOf\": [{\"enum\": [\"\", \"http\", \"https\", \"grpc\", \"http2\", \"websocket\", "
     "\"tcp\", "
     "\"udp\"]}, " VARIABLE "]}"},
    {"marchproxy.xdp.v1.Guard", "interface",
     "{\"type\": [\"string\", \"array\", \"null\"], \"items\": {\"type\": \"string\"}}"},
    {"marchproxy.xdp.v1.Guard", "state_file", "{\"type\": [\"string\", \"boolean\"]}"},
    {"marchproxy.xdp.v1.SynLimit", "cookies",
     "{\"enum\": [\"off\", \"flood\", \"always\", false]}"},
};

/* ---- types ---- */

static size_t need(struct schema *s, const ProtobufCMessageDescriptor *d, bool in_filter)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->types[i] == d) {
            return i;
        }
    }
    MP_ASSERT(s->n < TYPES_MAX);
    s->types[s->n] = d;
    s->in_filter[s->n] = in_filter;
    return s->n++;
}

static void add_ref(struct schema *s, const ProtobufCMessageDescriptor *d, bool in_filter)
{
    (void)need(s, d, in_filter);
    mp_sb_printf(s->out, "{\"anyOf\": [{\"$ref\": \"#/definitions/%s\"}, {\"type\": \"null\"}]}",
                 d->name);
}

static void add_integer(struct mp_sb *out, bool sign, bool wide)
{
    mp_sb_add_c(out, "{\"anyOf\": [{\"type\": \"integer\"");
    if (!sign) {
        mp_sb_add_c(out, ", \"minimum\": 0");
    }
    if (!wide) {
        mp_sb_printf(out, sign ? ", \"minimum\": -2147483648, \"maximum\": 2147483647"
                               : ", \"maximum\": 4294967295");
    }
    mp_sb_printf(out, "}, {\"type\": \"string\", \"pattern\": \"^%s[0-9]+$|\\\\$\\\\{\"}]}",
                 sign ? "-?" : "");
}

static void add_enum(struct mp_sb *out, const ProtobufCEnumDescriptor *e)
{
    mp_sb_add_c(out, "{\"anyOf\": [{\"enum\": [");
    for (unsigned i = 0; i < e->n_values; i++) {
        mp_sb_add_c(out, i > 0 ? ", " : "");
        mp_sb_add_json(out, mp_str_c(e->values[i].name));
    }
    mp_sb_add_c(out, "]}, {\"type\": \"integer\"}, " VARIABLE "]}");
}

static void add_scalar(struct mp_sb *out, const ProtobufCFieldDescriptor *f)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        add_integer(out, true, false);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        add_integer(out, true, true);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        add_integer(out, false, false);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        add_integer(out, false, true);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        mp_sb_add_c(out, "{\"type\": [\"number\", \"string\"]}");
        break;
    case PROTOBUF_C_TYPE_BOOL:
        mp_sb_add_c(out, "{\"anyOf\": [{\"type\": \"boolean\"}, " VARIABLE "]}");
        break;
    case PROTOBUF_C_TYPE_ENUM:
        add_enum(out, f->descriptor);
        break;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        /* Plain numbers and words are text where text is expected. */
        mp_sb_add_c(out, "{\"type\": [\"string\", \"number\", \"boolean\"]}");
        break;
    }
}

static void add_message(struct schema *s, const ProtobufCMessageDescriptor *d, bool in_filter)
{
    switch (mp_pb_special(d)) {
    case MP_PB_PLAIN:
        add_ref(s, d, in_filter);
        break;
    case MP_PB_WRAPPER:
        add_scalar(s->out, &d->fields[0]);
        break;
    case MP_PB_DURATION:
        mp_sb_add_c(s->out, "{\"type\": \"string\", \"pattern\": \"" SECONDS "|\\\\$\\\\{\"}");
        break;
    case MP_PB_TIMESTAMP:
    case MP_PB_FIELD_MASK:
        mp_sb_add_c(s->out, "{\"type\": \"string\"}");
        break;
    case MP_PB_LIST_VALUE:
        mp_sb_add_c(s->out, "{\"type\": [\"array\", \"null\"]}");
        break;
    case MP_PB_STRUCT:
    case MP_PB_ANY:
        mp_sb_add_c(s->out, "{\"type\": [\"object\", \"null\"]}");
        break;
    case MP_PB_VALUE:
        mp_sb_add_c(s->out, "true");
        break;
    }
}

/* ---- filters ---- */

/* Those that a simple file may name, in the chain or on a route. */
static void add_filters(struct schema *s, bool route)
{
    const char *comma = "";
    mp_sb_add_c(s->out, "{\"type\": [\"object\", \"null\"], \"properties\": {");
    for (const struct mp_conf_filter_type *const *t = s->registry->http_filters; *t != NULL; t++) {
        const ProtobufCMessageDescriptor *d = route ? (*t)->route_message : (*t)->message;
        if (strncmp((*t)->name, FILTER_PREFIX, strlen(FILTER_PREFIX)) != 0 || d == NULL) {
            continue;
        }
        mp_sb_printf(s->out, "%s\"%s\": ", comma, (*t)->name + strlen(FILTER_PREFIX));
        comma = ", ";
        if (route) {
            mp_sb_add_c(s->out, "{\"anyOf\": [{\"enum\": [\"off\", false]}, ");
        }
        add_ref(s, d, true);
        mp_sb_add_c(s->out, route ? "]}" : "");
    }
    mp_sb_add_c(s->out, "}, \"additionalProperties\": false}");
}

/* ---- fields ---- */

static bool add_special(struct schema *s, const ProtobufCMessageDescriptor *d,
                        const ProtobufCFieldDescriptor *f)
{
    bool ours = strcmp(d->package_name, "marchproxy.config.v1") == 0;
    if (ours && strcmp(f->name, "filters") == 0) {
        add_filters(s, strcmp(d->short_name, "Route") == 0);
        return true;
    }
    for (size_t i = 0; i < MP_COUNTOF(special); i++) {
        if (strcmp(special[i].message, d->name) == 0 && strcmp(special[i].field, f->name) == 0) {
            mp_sb_add_c(s->out, special[i].schema);
            return true;
        }
    }
    return false;
}

static void add_value(struct schema *s, const ProtobufCFieldDescriptor *f, bool in_filter)
{
    if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
        add_message(s, f->descriptor, in_filter);
    } else {
        add_scalar(s->out, f);
    }
}

static void add_field(struct schema *s, const ProtobufCMessageDescriptor *d,
                      const ProtobufCFieldDescriptor *f, bool in_filter)
{
    if (add_special(s, d, f)) {
        return;
    }
    if (f->label != PROTOBUF_C_LABEL_REPEATED) {
        add_value(s, f, in_filter);
        return;
    }
    if (mp_pb_is_map(f)) {
        const ProtobufCMessageDescriptor *entry = f->descriptor;
        mp_sb_add_c(s->out, "{\"type\": [\"object\", \"null\"], \"additionalProperties\": ");
        add_value(s, protobuf_c_message_descriptor_get_field(entry, 2), in_filter);
    } else {
        mp_sb_add_c(s->out, "{\"type\": [\"array\", \"null\"], \"items\": ");
        add_value(s, f, in_filter);
    }
    mp_sb_add_char(s->out, '}');
}

/* The other spelling of a name. As a pattern, so that editors do not offer it. */
static void add_camel(struct mp_sb *out, const char *name)
{
    mp_sb_add_c(out, "\n    \"^");
    for (; *name != '\0'; name++) {
        if (name[0] == '_' && name[1] >= 'a' && name[1] <= 'z') {
            mp_sb_add_char(out, (char)(*++name - 'a' + 'A'));
        } else {
            mp_sb_add_char(out, *name);
        }
    }
    mp_sb_add_c(out, "$\": ");
}

static void add_definition(struct schema *s, const ProtobufCMessageDescriptor *d, bool in_filter,
                           bool root)
{
    struct mp_sb *out = s->out;
    mp_sb_add_c(out, "\"type\": \"object\", \"additionalProperties\": false, \"properties\": {");
    for (unsigned i = 0; i < d->n_fields; i++) {
        mp_sb_printf(out, "%s\n    \"%s\": ", i > 0 ? "," : "", d->fields[i].name);
        add_field(s, d, &d->fields[i], in_filter);
        if (in_filter && d->fields[i].type == PROTOBUF_C_TYPE_STRING &&
            d->fields[i].label != PROTOBUF_C_LABEL_REPEATED) {
            mp_sb_printf(out, ",\n    \"%s_file\": {\"type\": \"string\"}", d->fields[i].name);
        }
    }
    if (root) {
        mp_sb_add_c(out, ",\n    \"include\": {\"anyOf\": [{\"type\": [\"string\", \"null\"]}, "
                         "{\"type\": \"array\", \"items\": {\"type\": \"string\"}}]}");
    }
    mp_sb_add_c(out, "\n  }, \"patternProperties\": {");
    const char *comma = "";
    for (unsigned i = 0; i < d->n_fields; i++) {
        if (strchr(d->fields[i].name, '_') != NULL) {
            mp_sb_add_c(out, comma);
            add_camel(out, d->fields[i].name);
            add_field(s, d, &d->fields[i], in_filter);
            comma = ",";
        }
    }
    mp_sb_add_c(out, "\n  }");
}

void mp_conf_schema(const struct mp_conf_registry *registry, struct mp_sb *out)
{
    struct schema s = {.out = out, .registry = registry};
    mp_sb_add_c(out, "{\n  \"$schema\": \"http://json-schema.org/draft-07/schema#\",\n"
                     "  \"title\": \"MarchProxy: march.yaml\",\n  ");
    add_definition(&s, &marchproxy__config__v1__simple_file__descriptor, false, true);
    mp_sb_add_c(out, ",\n  \"definitions\": {");
    for (size_t i = 0; i < s.n; i++) { /* grows while definitions are written */
        mp_sb_printf(out, "%s\n  \"%s\": {", i > 0 ? "," : "", s.types[i]->name);
        add_definition(&s, s.types[i], s.in_filter[i], false);
        mp_sb_add_char(out, '}');
    }
    mp_sb_add_c(out, "\n  }\n}\n");
}
