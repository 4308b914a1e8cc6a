/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the descriptors do not say by themselves: JSON names, maps, special types, what was probably
 * meant. */
#include <stdlib.h>

#include "base/assert.h"
#include "conf/pb_int.h"
#include "pb_registry.h"

/* ---- types ---- */

const ProtobufCMessageDescriptor *mp_pb_find_type(struct mp_str full_name)
{
    size_t lo = 0, hi = mp_pb_types_n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = mp_str_cmp(full_name, mp_str_c(mp_pb_types[mid]->name));
        if (c == 0) {
            return mp_pb_types[mid];
        }
        if (c < 0) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return NULL;
}

const ProtobufCMessageDescriptor *mp_pb_find_url(struct mp_str type_url)
{
    for (size_t i = type_url.n; i > 0; i--) {
        if (type_url.p[i - 1] == '/') {
            return mp_pb_find_type(mp_str(type_url.p + i, type_url.n - i));
        }
    }
    return mp_pb_find_type(type_url);
}

enum mp_pb_special mp_pb_special(const ProtobufCMessageDescriptor *d)
{
    static const struct {
        const char *name;
        enum mp_pb_special special;
    } table[] = {
        {"Any", MP_PB_ANY},
        {"Duration", MP_PB_DURATION},
        {"Timestamp", MP_PB_TIMESTAMP},
        {"FieldMask", MP_PB_FIELD_MASK},
        {"Struct", MP_PB_STRUCT},
        {"Value", MP_PB_VALUE},
        {"ListValue", MP_PB_LIST_VALUE},
        {"DoubleValue", MP_PB_WRAPPER},
        {"FloatValue", MP_PB_WRAPPER},
        {"Int64Value", MP_PB_WRAPPER},
        {"UInt64Value", MP_PB_WRAPPER},
        {"Int32Value", MP_PB_WRAPPER},
        {"UInt32Value", MP_PB_WRAPPER},
        {"BoolValue", MP_PB_WRAPPER},
        {"StringValue", MP_PB_WRAPPER},
        {"BytesValue", MP_PB_WRAPPER},
    };
    if (strcmp(d->package_name, "google.protobuf") != 0) {
        return MP_PB_PLAIN;
    }
    for (size_t i = 0; i < MP_COUNTOF(table); i++) {
        if (strcmp(table[i].name, d->short_name) == 0) {
            return table[i].special;
        }
    }
    return MP_PB_PLAIN;
}

/* ---- fields ---- */

bool mp_pb_is_camel_of(struct mp_str camel, struct mp_str snake)
{
    size_t j = 0;
    for (size_t i = 0; i < snake.n; i++, j++) {
        char want = snake.p[i];
        if (want == '_' && i + 1 < snake.n) {
            want = snake.p[++i];
            want = want >= 'a' && want <= 'z' ? (char)(want - 32) : want;
        }
        if (j >= camel.n || camel.p[j] != want) {
            return false;
        }
    }
    return j == camel.n;
}

bool mp_pb_is_map(const ProtobufCFieldDescriptor *f)
{
    if (f->label != PROTOBUF_C_LABEL_REPEATED || f->type != PROTOBUF_C_TYPE_MESSAGE) {
        return false;
    }
    const ProtobufCMessageDescriptor *d = f->descriptor;
    if (d->n_fields != 2 || strcmp(d->fields[0].name, "key") != 0 ||
        strcmp(d->fields[1].name, "value") != 0) {
        return false;
    }
    /* The compiler names the entry of "the_field" TheFieldEntry. */
    struct mp_str entry = mp_str_c(d->short_name);
    if (entry.n < 6 || !mp_str_ends(entry, MP_STR("Entry"))) {
        return false;
    }
    char name[128];
    struct mp_str camel = mp_str(entry.p, entry.n - 5);
    if (camel.n >= sizeof(name)) {
        return false;
    }
    memcpy(name, camel.p, camel.n);
    if (name[0] >= 'A' && name[0] <= 'Z') {
        name[0] = (char)(name[0] + 32);
    }
    return mp_pb_is_camel_of(mp_str(name, camel.n), mp_str_c(f->name));
}

size_t mp_pb_elem_size(const ProtobufCFieldDescriptor *f)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4;
    }
}

const ProtobufCFieldDescriptor *mp_pb_find_field(const ProtobufCMessageDescriptor *d,
                                                 struct mp_str name)
{
    for (unsigned i = 0; i < d->n_fields; i++) {
        struct mp_str own = mp_str_c(d->fields[i].name);
        if (mp_str_eq(own, name) || mp_pb_is_camel_of(name, own)) {
            return &d->fields[i];
        }
    }
    return NULL;
}

bool mp_pb_is_vital_field(const char *name)
{
    return name != NULL && mp_str_starts(mp_str_c(name), MP_STR("transport_socket"));
}

bool mp_pb_is_known_field(const ProtobufCMessageDescriptor *d, struct mp_str name, uint32_t number,
                          const char **ret_name)
{
    for (size_t i = 0; i < mp_pb_known_n; i++) {
        const struct mp_pb_known *k = &mp_pb_known[i];
        struct mp_str own = mp_str_c(k->name);
        if (strcmp(k->message, d->name) == 0 &&
            (number ? k->number == number : mp_str_eq(own, name) || mp_pb_is_camel_of(name, own))) {
            *ret_name = k->name;
            return true;
        }
    }
    return false;
}

bool mp_pb_is_secret(const ProtobufCMessageDescriptor *d, const ProtobufCFieldDescriptor *f)
{
    /* Also names of types that are not declared yet: the table must not be what is forgotten then.
     */
    static const struct {
        const char *message, *field;
    } table[] = {
        {"envoy.extensions.transport_sockets.tls.v3.TlsCertificate", "private_key"},
        {"envoy.extensions.transport_sockets.tls.v3.TlsCertificate", "password"},
        {"envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys", "keys"},
        {"envoy.extensions.transport_sockets.tls.v3.GenericSecret", "secret"},
        {"marchproxy.config.v1.Certificate", "private_key"},
        {"marchproxy.filters.v1.Auth", "jwt_secret"},
        {"marchproxy.filters.v1.Auth", "base64_tokens"},
        {"marchproxy.filters.v1.PreviousSecret", "secret"},
        {"marchproxy.filters.v1.License", "license_key"},
    };
    for (size_t i = 0; i < MP_COUNTOF(table); i++) {
        if (strcmp(table[i].field, f->name) == 0 && strcmp(table[i].message, d->name) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- did you mean ---- */

#define GUESS_MAX 120 /* longer names are not compared */

void mp_pb_guess_init(struct mp_pb_guess *g, struct mp_str wanted)
{
    /* A third of the letters may be wrong, three at most. */
    *g = (struct mp_pb_guess){.wanted = wanted,
                              .distance = (unsigned)MP_MIN(wanted.n / 3, (size_t)3) + 1};
}

/* Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
static unsigned edit_distance(struct mp_str a, struct mp_str b)
{
    unsigned rows[3][GUESS_MAX + 1];
    unsigned *before = rows[0], *prev = rows[1], *cur = rows[2];
    for (size_t j = 0; j <= b.n; j++) {
        prev[j] = (unsigned)j;
    }
    for (size_t i = 1; i <= a.n; i++) {
        cur[0] = (unsigned)i;
        for (size_t j = 1; j <= b.n; j++) {
            unsigned d = MP_MIN(prev[j] + 1, cur[j - 1] + 1);
            d = MP_MIN(d, prev[j - 1] + (a.p[i - 1] != b.p[j - 1]));
            if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1]) {
                d = MP_MIN(d, before[j - 2] + 1);
            }
            cur[j] = d;
        }
        unsigned *t = before;
        before = prev;
        prev = cur;
        cur = t;
    }
    return prev[b.n];
}

void mp_pb_guess_offer(struct mp_pb_guess *g, const char *candidate)
{
    struct mp_str c = mp_str_c(candidate);
    if (g->wanted.n > GUESS_MAX || c.n > GUESS_MAX || c.n + 3 < g->wanted.n ||
        g->wanted.n + 3 < c.n) {
        return;
    }
    unsigned d = edit_distance(g->wanted, c);
    if (d < g->distance) {
        g->distance = d;
        g->best = candidate;
    }
}

void mp_pb_guess_types(struct mp_pb_guess *g)
{
    for (size_t i = 0; i < mp_pb_types_n; i++) {
        mp_pb_guess_offer(g, mp_pb_types[i]->name);
    }
}

/* ---- memory ---- */

static void *arena_alloc(void *arena, size_t n)
{
    return mp_arena_alloc(arena, n);
}

static void arena_free(void *arena, void *p)
{
}

ProtobufCAllocator mp_pb_allocator(struct mp_arena *a)
{
    return (ProtobufCAllocator){.alloc = arena_alloc, .free = arena_free, .allocator_data = a};
}

/* ---- paths ---- */

void mp_pb_frame_path(const struct mp_pb_frame *f, const char *start, struct mp_sb *out)
{
    /* Depth is bounded by the parsers: 100 messages with a field and an index each, doubled for
     * maps. */
    const struct mp_pb_frame *chain[4 * MP_PB_DEPTH_MAX];
    size_t n = 0;
    for (; f && n < MP_COUNTOF(chain); f = f->up) {
        chain[n++] = f;
    }
    if (start) {
        mp_sb_add_c(out, start);
    }
    while (n > 0) {
        f = chain[--n];
        if (f->quoted) {
            mp_sb_printf(out, "[\"" MP_STR_FMT "\"]", MP_STR_ARG(f->name));
        } else if (f->name.n == 0) {
            mp_sb_printf(out, "[%zu]", f->index);
        } else {
            mp_sb_printf(out, "%s" MP_STR_FMT, out->n ? "." : "", MP_STR_ARG(f->name));
        }
    }
}
