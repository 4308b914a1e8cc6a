/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Finding things in a tree. */
#include <stdlib.h>

#include "base/assert.h"
#include "conf/pb_int.h"
#include "conf/yaml_tree.h"

bool mp_yaml_is_null(const struct mp_yaml_node *n)
{
    return n->kind == MP_YAML_SCALAR && n->plain &&
           (n->text.n == 0 || mp_str_eq(n->text, MP_STR("~")) ||
            mp_str_eq(n->text, MP_STR("null")));
}

struct mp_yaml_node *mp_yaml_get(const struct mp_yaml_node *map, struct mp_str name,
                                 size_t *ret_line)
{
    if (map->kind != MP_YAML_MAP) {
        return NULL;
    }
    for (uint32_t i = 0; i < map->n; i++) {
        const struct mp_yaml_pair *p = &map->pairs[i];
        if (mp_str_eq(p->key->text, name) || mp_pb_is_camel_of(p->key->text, name)) {
            if (ret_line) {
                *ret_line = p->key->line;
            }
            return p->value;
        }
    }
    return NULL;
}

/* Cuts the next step off *rest: a name, ["name"] or [index]. False at the end and when the path is
 * malformed. */
static bool next_step(struct mp_str *rest, struct mp_str *ret_name, bool *ret_is_index)
{
    struct mp_str r = *rest;
    *ret_is_index = false;
    if (r.n > 0 && r.p[0] == '.') {
        r = mp_str(r.p + 1, r.n - 1);
    }
    if (r.n == 0) {
        return false;
    }
    size_t n = 0;
    if (mp_str_starts(r, MP_STR("[\""))) {
        ptrdiff_t end = mp_str_find(r, MP_STR("\"]"));
        if (end < 2) {
            return false;
        }
        *ret_name = mp_str(r.p + 2, (size_t)end - 2);
        n = (size_t)end + 2;
    } else if (r.p[0] == '[') {
        ptrdiff_t end = mp_str_chr(r, ']', 0);
        if (end < 0) {
            return false;
        }
        *ret_name = mp_str(r.p + 1, (size_t)end - 1);
        *ret_is_index = true;
        n = (size_t)end + 1;
    } else {
        while (n < r.n && r.p[n] != '.' && r.p[n] != '[') {
            n++;
        }
        *ret_name = mp_str(r.p, n);
    }
    *rest = mp_str(r.p + n, r.n - n);
    return true;
}

struct mp_yaml_node *mp_yaml_at(const struct mp_yaml *y, const char *path, size_t *ret_line)
{
    struct mp_yaml_node *node = y->root;
    size_t line = node->line;
    struct mp_str rest = mp_str_c(path), name;
    bool is_index, whole = true;
    while (rest.n > 0) {
        struct mp_yaml_node *below = NULL;
        uint64_t i;
        if (!next_step(&rest, &name, &is_index)) {
            whole = false;
            break;
        }
        if (!is_index) {
            below = mp_yaml_get(node, name, &line);
        } else if (node->kind == MP_YAML_LIST && !mp_is_err(mp_str_to_u64(name, &i)) &&
                   i < node->n) {
            below = node->items[i];
            line = below->line;
        }
        if (!below) {
            whole = false;
            break;
        }
        node = below;
    }
    if (ret_line) {
        *ret_line = line;
    }
    return whole ? node : NULL;
}

size_t mp_yaml_line_of(const struct mp_yaml *y, const char *path)
{
    size_t line = 0;
    (void)mp_yaml_at(y, path, &line);
    return line;
}
