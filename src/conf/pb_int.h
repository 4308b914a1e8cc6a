/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Shared by the pb_*.c files: what the descriptors do not say by themselves. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/str.h"
#include "conf/pb.h"

#define MP_PB_DEPTH_MAX 100 /* of messages in messages, Any included */

/* The types whose JSON form is not that of their fields. */
enum mp_pb_special {
    MP_PB_PLAIN,
    MP_PB_ANY,
    MP_PB_DURATION,
    MP_PB_TIMESTAMP,
    MP_PB_FIELD_MASK,
    MP_PB_STRUCT,
    MP_PB_VALUE,
    MP_PB_LIST_VALUE,
    MP_PB_WRAPPER /* one field "value", written bare */
};
enum mp_pb_special mp_pb_special(const ProtobufCMessageDescriptor *d);

/* map<K,V> is a list of entries with key and value on the wire and in memory. */
bool mp_pb_is_map(const ProtobufCFieldDescriptor *f);
/* The member of a message at an offset that its descriptor gives. */
static inline void *mp_pb_at(const void *m, size_t offset)
{
    return (char *)(uintptr_t)m + offset;
}
/* Bytes of one element of the field in memory. */
size_t mp_pb_elem_size(const ProtobufCFieldDescriptor *f);
/* "typedConfig" is the camel-case form of "typed_config". */
bool mp_pb_is_camel_of(struct mp_str camel, struct mp_str snake);
/* By either name; NULL when not declared. */
const ProtobufCFieldDescriptor *mp_pb_find_field(const ProtobufCMessageDescriptor *d,
                                                 struct mp_str name);
/* Published, but not declared by us? number 0: by name (either form); else by number, *ret_name may
 * be NULL then. */
bool mp_pb_is_known_field(const ProtobufCMessageDescriptor *d, struct mp_str name, uint32_t number,
                          const char **ret_name);
/* Fields that --allow-unsupported does not drop: without them the proxy would do something
 * dangerous. */
bool mp_pb_is_vital_field(const char *name);
/* Values never shown. */
bool mp_pb_is_secret(const ProtobufCMessageDescriptor *d, const ProtobufCFieldDescriptor *f);

/* Of the candidates, the one that was probably meant; NULL when none is near. */
struct mp_pb_guess {
    struct mp_str wanted;
    const char *best;
    unsigned distance;
};
void mp_pb_guess_init(struct mp_pb_guess *g, struct mp_str wanted);
void mp_pb_guess_offer(struct mp_pb_guess *g, const char *candidate);
void mp_pb_guess_types(struct mp_pb_guess *g); /* offers all declared types */

/* For protobuf_c_message_unpack; never frees one by one. */
ProtobufCAllocator mp_pb_allocator(struct mp_arena *a);

/* Where a conversion stands; text is only made when there is something to report. */
struct mp_pb_frame {
    const struct mp_pb_frame *up;
    struct mp_str name; /* of a field; empty: index counts */
    bool quoted;        /* name is a map's key */
    size_t index;
};
/* start: path of the frame without an up, NULL: none. */
void mp_pb_frame_path(const struct mp_pb_frame *f, const char *start, struct mp_sb *out);

/* As mp_pb_from_yaml, for a node; *ret is what could be read, also when the result is false (NULL:
 * nothing). */
struct mp_yaml_node;
bool mp_pb_read_partial(const struct mp_yaml_node *n, size_t line, const char *path,
                        const ProtobufCMessageDescriptor *type, const struct mp_pb_read_opts *opts,
                        struct mp_arena *arena, struct mp_diag *diag, ProtobufCMessage **ret);

/* ---- text forms (pb_text.c) ---- */

/* Reads a number; on failure *ret_why says what is wrong (static text). */
bool mp_pb_text_i64(struct mp_str s, int64_t min, int64_t max, int64_t *ret, const char **ret_why);
bool mp_pb_text_u64(struct mp_str s, uint64_t max, uint64_t *ret, const char **ret_why);
bool mp_pb_text_double(struct mp_str s, double *ret);
/* "1.5s", "-3s". */
bool mp_pb_text_duration(struct mp_str s, int64_t *ret_s, int32_t *ret_ns);
/* RFC 3339. */
bool mp_pb_text_timestamp(struct mp_str s, int64_t *ret_s, int32_t *ret_ns);
/* Standard and URL-safe alphabet, with or without padding. out: room for 3 bytes for each 4 of s,
 * rounded up. */
bool mp_pb_text_base64(struct mp_str s, uint8_t *out, size_t *ret_n);
void mp_pb_add_double(struct mp_sb *out, double d, bool is_float);
void mp_pb_add_duration(struct mp_sb *out, int64_t s, int32_t ns);
void mp_pb_add_timestamp(struct mp_sb *out, int64_t s, int32_t ns);
void mp_pb_add_base64(struct mp_sb *out, const uint8_t *p, size_t n);
