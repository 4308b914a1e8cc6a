/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Finding things in a tree, and putting environment variables into it. */
#include <stdlib.h>

#include "base/assert.h"
#include "conf/pb_int.h"
#include "conf/yaml_tree.h"

#define EXPANDED_MAX (64 * 1024) /* of one scalar */

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

/* ---- environment ---- */

struct expander {
    struct mp_yaml *y;
    const char *(*getenv)(const char *name);
    struct mp_diag *diag;
    bool failed;
};

static bool is_name(struct mp_str s)
{
    if (s.n == 0 || s.n > 255 || (s.p[0] >= '0' && s.p[0] <= '9')) {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c | 32) >= 'a' && (c | 32) <= 'z') && !(c >= '0' && c <= '9') && c != '_') {
            return false;
        }
    }
    return true;
}

static void complain(struct expander *x, const struct mp_yaml_node *n, const char *cure,
                     const char *what, struct mp_str about)
{
    x->failed = true;
    (void)mp_diag_error(x->diag, MP_E_INVALID, n->line, NULL, cure, "%s%s" MP_STR_FMT "%s", what,
                        about.n ? " \"" : "", MP_STR_ARG(about), about.n ? "\"" : "");
}

/* One ${...}, body without the braces. */
static void expand_one(struct expander *x, const struct mp_yaml_node *n, struct mp_str body,
                       struct mp_sb *out)
{
    ptrdiff_t at = mp_str_find(body, MP_STR(":-"));
    struct mp_str name = at < 0 ? body : mp_str(body.p, (size_t)at);
    if (!is_name(name)) {
        complain(x, n, "write ${NAME}, ${NAME:-default}, or $${ for the characters themselves",
                 "not the name of an environment variable:", body);
        return;
    }
    char z[256];
    memcpy(z, name.p, name.n);
    z[name.n] = '\0';
    const char *value = x->getenv ? x->getenv(z) : NULL;
    if (value && (*value || at < 0)) {
        mp_sb_add_c(out, value);
    } else if (at >= 0) {
        mp_sb_add(out, mp_str(body.p + at + 2, body.n - (size_t)at - 2));
    } else {
        complain(x, n, "set it, or write ${NAME:-default}",
                 "environment variable is not set:", name);
    }
}

static void expand_scalar(struct expander *x, struct mp_yaml_node *n)
{
    ptrdiff_t at = mp_str_find(n->text, MP_STR("${"));
    if (at < 0) {
        return;
    }
    struct mp_sb out;
    mp_sb_init(&out, EXPANDED_MAX);
    struct mp_str rest = n->text;
    for (; at >= 0; at = mp_str_find(rest, MP_STR("${"))) {
        if (at > 0 && rest.p[at - 1] == '$') {
            mp_sb_add(&out, mp_str(rest.p, (size_t)at - 1));
            mp_sb_add_c(&out, "${");
            rest = mp_str(rest.p + at + 2, rest.n - (size_t)at - 2);
            continue;
        }
        mp_sb_add(&out, mp_str(rest.p, (size_t)at));
        ptrdiff_t end = mp_str_chr(rest, '}', (size_t)at);
        if (end < 0) {
            complain(x, n, "close it with }", "${ has no end", mp_str(NULL, 0));
            break;
        }
        expand_one(x, n, mp_str(rest.p + at + 2, (size_t)(end - at) - 2), &out);
        rest = mp_str(rest.p + end + 1, rest.n - (size_t)end - 1);
    }
    mp_sb_add(&out, rest);
    if (out.overflow) {
        complain(x, n, NULL, "too long after the environment was put in", mp_str(NULL, 0));
    }
    n->text = mp_arena_dup(&x->y->arena, mp_sb_str(&out));
    mp_sb_fini(&out);
}

static void expand(struct expander *x, struct mp_yaml_node *n)
{
    if (n->expanded) {
        return; /* an alias to it was met before */
    }
    n->expanded = true;
    switch (n->kind) {
    case MP_YAML_SCALAR:
        expand_scalar(x, n);
        break;
    case MP_YAML_LIST:
        for (uint32_t i = 0; i < n->n; i++) {
            expand(x, n->items[i]);
        }
        break;
    case MP_YAML_MAP:
        for (uint32_t i = 0; i < n->n; i++) {
            expand(x, n->pairs[i].value);
        }
        break;
    }
}

mp_err mp_yaml_expand(struct mp_yaml *y, const char *(*env)(const char *name), struct mp_diag *diag)
{
    struct expander x = {.y = y, .getenv = env, .diag = diag};
    expand(&x, y->root);
    return x.failed ? MP_FAIL(INVALID) : MP_OK;
}
