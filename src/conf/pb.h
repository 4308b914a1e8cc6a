/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Generic converter between protobuf messages (protobuf-c descriptors) and their proto3-JSON form
 * in YAML or JSON, and safe decoding from the wire. Types are found by full name in a generated
 * registry (proto/).
 */
#pragma once
#include <protobuf-c/protobuf-c.h>
#include "base/arena.h"
#include "base/diag.h"
#include "base/str.h"

/* NULL when we do not declare the type. */
const ProtobufCMessageDescriptor *mp_pb_find_type(struct mp_str full_name);
/* "type.googleapis.com/x.y.Z" or "x.y.Z". */
const ProtobufCMessageDescriptor *mp_pb_find_url(struct mp_str type_url);

/* A parsed YAML or JSON document; remembers lines. Anchors and aliases are resolved within a
 * budget. */
struct mp_yaml;
MP_MUST_USE mp_err mp_yaml_parse(struct mp_str text, struct mp_diag *diag, struct mp_yaml **ret);
struct mp_yaml *mp_yaml_free(struct mp_yaml *y);
/* Line of the node at a path such as "a.b[2].c" (the deepest existing ancestor when it is absent);
 * 0 when unknown. */
size_t mp_yaml_line_of(const struct mp_yaml *y, const char *path);

struct mp_pb_read_opts {
    bool allow_unsupported; /* undeclared fields and types: warn and skip */
};
/* The document (or the node at path, NULL: root) as a message of the given type, in the arena. All
 * errors are reported in diag with line and path; continues after an error to find more. */
MP_MUST_USE mp_err mp_pb_from_yaml(const struct mp_yaml *y, const char *path,
                                   const ProtobufCMessageDescriptor *type,
                                   const struct mp_pb_read_opts *opts, struct mp_arena *arena,
                                   struct mp_diag *diag, ProtobufCMessage **ret);
/* proto3 JSON with snake_case names as Envoy's admin prints; Any is expanded; fields marked secret
 * are
 * "[redacted]" (table in pb.c). indent: spaces per level, 0: one line. */
void mp_pb_to_json(const ProtobufCMessage *m, unsigned indent, struct mp_sb *out);

/* Checks and unpacks wire bytes: depth at most 100, UTF-8 valid, undeclared fields named by message
 * and number (error, or warning with allow_unsupported), nested Any of known types checked too.
 * Memory in the arena. */
MP_MUST_USE mp_err mp_pb_unpack(const ProtobufCMessageDescriptor *type, struct mp_str wire,
                                const struct mp_pb_read_opts *opts, const char *path,
                                struct mp_arena *arena, struct mp_diag *diag,
                                ProtobufCMessage **ret);
/* Serialised copy in the arena. */
struct mp_str mp_pb_pack(const ProtobufCMessage *m, struct mp_arena *arena);
