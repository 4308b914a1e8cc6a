/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A strict JSON reader (RFC 8259) for small documents of strangers: JSON web tokens and key sets.
 *
 * The document becomes a flat array of nodes in the order of the text, in memory of the caller;
 * nothing is allocated. Refused besides what the RFC refuses: a name that occurs twice in an
 * object, at any depth; text that is not UTF-8, also when it is so only through \u escapes; NUL
 * characters; more than MP_JSON_DEPTH levels; more nodes than there is room for.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/str.h"

#define MP_JSON_DEPTH     16
#define MP_JSON_BYTES_MAX (1 << 20)

enum mp_json_kind {
    MP_JSON_NULL,
    MP_JSON_FALSE,
    MP_JSON_TRUE,
    MP_JSON_NUMBER,
    MP_JSON_STRING,
    MP_JSON_ARRAY,
    MP_JSON_OBJECT
};

/* In an object names (strings) and values take turns. */
struct mp_json_node {
    uint8_t kind;
    bool escaped;   /* string with escapes inside */
    uint32_t at, n; /* the text; of strings without the quotes */
    uint32_t next;  /* index of the node after this one and all below it */
};

struct mp_json {
    struct mp_str text;
    struct mp_json_node *nodes;
    uint32_t n, max;
};

/* nodes: room for max of them. False: refused. Node 0 is the document. */
bool mp_json_parse(struct mp_str text, struct mp_json_node *nodes, uint32_t max,
                   struct mp_json *ret);
/* The text of a node as it stands; of strings without the quotes, escapes not resolved. */
static inline struct mp_str mp_json_raw(const struct mp_json *j, const struct mp_json_node *v)
{
    return (struct mp_str){j->text.p + v->at, v->n};
}
/* The member's value or NULL. object: a node of that kind. */
const struct mp_json_node *mp_json_member(const struct mp_json *j,
                                          const struct mp_json_node *object, struct mp_str name);
/* First element of an array, the one after e; NULL at the end. */
const struct mp_json_node *mp_json_first(const struct mp_json *j, const struct mp_json_node *array);
const struct mp_json_node *mp_json_after(const struct mp_json *j, const struct mp_json_node *array,
                                         const struct mp_json_node *e);
bool mp_json_is(const struct mp_json_node *v, enum mp_json_kind kind);
/* A string node says exactly this. */
bool mp_json_equals(const struct mp_json *j, const struct mp_json_node *v, struct mp_str text);
/* Resolves escapes; out: room for v->n bytes. Returns the length. */
size_t mp_json_unescape(const struct mp_json *j, const struct mp_json_node *v, char *out);
/* The value of a number node; infinite when it is out of range. */
double mp_json_number(const struct mp_json *j, const struct mp_json_node *v);
