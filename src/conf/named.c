/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "conf/named.h"

#include "conf/yaml_tree.h"

#define DEPTH_MAX 64

static bool is_file_log(const struct mp_yaml_node *map)
{
    const struct mp_yaml_node *type = mp_yaml_get(map, MP_STR("@type"), NULL);
    return type != NULL && type->kind == MP_YAML_SCALAR &&
           mp_str_find(type->text, MP_STR("access_loggers.file.")) >= 0;
}

/* A word such as "stdout" is no path; the reader of the field says which words there are. */
static bool is_path(const struct mp_yaml_node *n)
{
    return n->kind == MP_YAML_SCALAR && mp_str_chr(n->text, '/', 0) >= 0;
}

static void look(const struct mp_yaml_node *map, struct mp_str key,
                 const struct mp_yaml_node *value, bool in_log, const struct mp_conf_names *names)
{
    if (value->kind != MP_YAML_SCALAR || value->text.n == 0) {
        return;
    }
    if (mp_str_ends(key, MP_STR("_file")) || mp_str_eq(key, MP_STR("filename")) ||
        mp_str_ends(key, MP_STR("File"))) {
        names->named(names->arg, value->text, MP_NAMED_READ);
    } else if (is_path(value) &&
               (((mp_str_eq(key, MP_STR("path")) || mp_str_eq(key, MP_STR("to"))) &&
                 (in_log || is_file_log(map))) ||
                mp_str_ends(key, MP_STR("_log_path")) || mp_str_ends(key, MP_STR("LogPath")) ||
                mp_str_eq(key, MP_STR("access_log")))) {
        names->named(names->arg, value->text, MP_NAMED_APPEND);
    }
}

static void walk(const struct mp_yaml_node *n, bool in_log, uint32_t depth,
                 const struct mp_conf_names *names)
{
    if (depth > DEPTH_MAX) {
        return; /* deeper than any path field */
    }
    for (uint32_t i = 0; n->kind == MP_YAML_LIST && i < n->n; i++) {
        walk(n->items[i], in_log, depth + 1, names);
    }
    for (uint32_t i = 0; n->kind == MP_YAML_MAP && i < n->n; i++) {
        struct mp_str key = n->pairs[i].key->text;
        look(n, key, n->pairs[i].value, in_log, names);
        /* At the top only: in Envoy's form the logs below have their own types. */
        bool log = (depth == 0 && mp_str_eq(key, MP_STR("access_log"))) ||
                   mp_str_eq(key, MP_STR("key_log")) || mp_str_eq(key, MP_STR("keyLog"));
        walk(n->pairs[i].value, in_log || log, depth + 1, names);
    }
}

void mp_conf_find_names(const struct mp_yaml_node *root, const struct mp_conf_names *names)
{
    if (names != NULL && names->named != NULL) {
        walk(root, false, 0, names);
    }
}
