/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The tree behind struct mp_yaml (conf/pb.h), for the files of this folder. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/diag.h"
#include "base/str.h"
#include "conf/pb.h"

enum mp_yaml_kind { MP_YAML_SCALAR, MP_YAML_LIST, MP_YAML_MAP };

struct mp_yaml_node {
    enum mp_yaml_kind kind;
    bool plain;    /* scalar without quotes: may be null, a number, a boolean */
    bool open;     /* still being read: an alias to it would be endless */
    bool expanded; /* by mp_yaml_expand */
    uint32_t line; /* 1-based */
    uint32_t n;    /* items or pairs */
    uint32_t
        weight; /* nodes below and including this one, aliases counted as often as they are used */
    struct mp_str text; /* scalar, NUL-terminated */
    union {
        struct mp_yaml_node **items;
        struct mp_yaml_pair *pairs;
    };
};
struct mp_yaml_pair {
    struct mp_yaml_node *key; /* a scalar */
    struct mp_yaml_node *value;
};
struct mp_yaml {
    struct mp_arena arena;
    struct mp_yaml_node *root;
};

/* What a document may cost; mp_yaml_parse takes the defaults. */
struct mp_yaml_limits {
    size_t bytes_max; /* of text */
    uint32_t depth_max;
    uint32_t nodes_max; /* aliases counted as often as they are used */
    uint32_t anchors_max;
};
extern const struct mp_yaml_limits mp_yaml_limits_default;
MP_MUST_USE mp_err mp_yaml_parse_limited(struct mp_str text, const struct mp_yaml_limits *limits,
                                         struct mp_diag *diag, struct mp_yaml **ret);

/* The value of a key in a map, under its snake_case or camelCase name; NULL when absent. ret_line:
 * line of the key (may be NULL). */
struct mp_yaml_node *mp_yaml_get(const struct mp_yaml_node *map, struct mp_str name,
                                 size_t *ret_line);
/* The node at a path, NULL when absent; *ret_line as mp_yaml_line_of. */
struct mp_yaml_node *mp_yaml_at(const struct mp_yaml *y, const char *path, size_t *ret_line);
/* Plain "", "~", "null". */
bool mp_yaml_is_null(const struct mp_yaml_node *n);

/* Replaces ${NAME} and ${NAME:-default} in all scalar values, and ${file:PATH} by the content of
 * the file without its last line end; "$${" stands for "${". An unset name without a default is an
 * error. Below "filters" a key with the ending "_file" becomes the key without it, with the content
 * of the file. file: that of y, beside which relative paths are looked for. */
struct mp_conf_load_opts;
MP_MUST_USE mp_err mp_yaml_expand(struct mp_yaml *y, const char *file,
                                  const struct mp_conf_load_opts *opts, struct mp_diag *diag);
