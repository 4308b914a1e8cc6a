/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Environment variables and contents of files, put into a tree. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "conf/files.h"
#include "conf/load.h"
#include "conf/yaml_tree.h"

#define EXPANDED_MAX     (64 * 1024) /* of one scalar */
#define FILTER_DEPTH_MAX 16

struct expander {
    struct mp_yaml *y;
    const char *file;
    const struct mp_conf_load_opts *opts;
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

/* The content of a file, to the end of out; false: complained. */
static bool put_file(struct expander *x, const struct mp_yaml_node *n, struct mp_str name,
                     struct mp_sb *out)
{
    struct mp_str text;
    if (x->opts->files == NULL || name.n == 0) {
        complain(x, n, name.n == 0 ? "write ${file:PATH}" : NULL,
                 name.n == 0 ? "a file without a path" : "no file can be read here, as", name);
        return false;
    }
    char *path = mp_conf_beside(x->file, name);
    if (x->opts->names != NULL) {
        x->opts->names->named(x->opts->names->arg, mp_str_c(path), MP_NAMED_READ);
    }
    int r = x->opts->files->read(path, MP_CONF_SECRET_MAX, &text);
    if (r < 0) {
        x->failed = true;
        (void)mp_diag_error(x->diag, MP_E_INVALID, n->line, NULL,
                            "check the path and its permissions", "cannot read \"%s\": %s", path,
                            strerror(-r));
    } else {
        size_t end = text.n;
        end -= end > 0 && text.p[end - 1] == '\n';
        end -= end > 0 && text.p[end - 1] == '\r';
        bool binary = memchr(text.p, '\0', end) != NULL;
        if (binary) {
            complain(x, n, NULL, "the file holds a NUL byte:", mp_str_c(path));
        }
        mp_sb_add(out, mp_str(text.p, end));
        explicit_bzero((char *)(uintptr_t)text.p, text.n);
        free((char *)(uintptr_t)text.p);
        r = binary ? -1 : 0;
    }
    free(path);
    return r == 0;
}

/* One ${...}, body without the braces. */
static void expand_one(struct expander *x, const struct mp_yaml_node *n, struct mp_str body,
                       struct mp_sb *out)
{
    if (mp_str_starts(body, MP_STR("file:"))) {
        (void)put_file(x, n, mp_str(body.p + 5, body.n - 5), out);
        return;
    }
    ptrdiff_t at = mp_str_find(body, MP_STR(":-"));
    struct mp_str name = at < 0 ? body : mp_str(body.p, (size_t)at);
    if (!is_name(name)) {
        complain(
            x, n,
            "write ${NAME}, ${NAME:-default}, ${file:PATH}, or $${ for the characters themselves",
            "not the name of an environment variable:", body);
        return;
    }
    char z[256];
    memcpy(z, name.p, name.n);
    z[name.n] = '\0';
    const char *value = x->opts->getenv ? x->opts->getenv(z) : NULL;
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

/* ---- keys that end in _file, below filters ---- */

static void read_value(struct expander *x, struct mp_yaml_node *map, struct mp_yaml_pair *p,
                       struct mp_str name)
{
    struct mp_sb out;
    for (uint32_t i = 0; i < map->n; i++) {
        if (mp_str_eq(map->pairs[i].key->text, name)) {
            complain(x, p->key, "keep one of them", "the value is given twice, here and as", name);
            return;
        }
    }
    mp_sb_init(&out, EXPANDED_MAX);
    if (put_file(x, p->value, p->value->text, &out) && !out.overflow) {
        /* New nodes: an alias may lead to the old ones. */
        struct mp_yaml_node *key = mp_arena_zalloc(&x->y->arena, 2 * sizeof(*key));
        MP_ASSERT(key != NULL);
        struct mp_yaml_node *value = key + 1;
        *key = *p->key;
        *value = *p->value;
        key->text = mp_arena_dup(&x->y->arena, name);
        value->text = mp_arena_dup(&x->y->arena, mp_sb_str(&out));
        value->plain = false;
        *p = (struct mp_yaml_pair){key, value};
    }
    mp_sb_fini(&out);
}

static void read_files(struct expander *x, struct mp_yaml_node *n, uint32_t depth)
{
    for (uint32_t i = 0; depth < FILTER_DEPTH_MAX && n->kind == MP_YAML_LIST && i < n->n; i++) {
        read_files(x, n->items[i], depth + 1);
    }
    for (uint32_t i = 0; depth < FILTER_DEPTH_MAX && n->kind == MP_YAML_MAP && i < n->n; i++) {
        struct mp_yaml_pair *p = &n->pairs[i];
        struct mp_str key = p->key->text;
        if (mp_str_ends(key, MP_STR("_file")) && key.n > 5 && p->value->kind == MP_YAML_SCALAR) {
            read_value(x, n, p, mp_str(key.p, key.n - 5));
        } else {
            read_files(x, p->value, depth + 1);
        }
    }
}

mp_err mp_yaml_expand(struct mp_yaml *y, const char *file, const struct mp_conf_load_opts *opts,
                      struct mp_diag *diag)
{
    struct expander x = {.y = y, .file = file, .opts = opts, .diag = diag};
    expand(&x, y->root);
    struct mp_yaml_node *filters = mp_yaml_get(y->root, MP_STR("filters"), NULL);
    if (filters != NULL) {
        read_files(&x, filters, 0);
    }
    return x.failed ? MP_FAIL(INVALID) : MP_OK;
}
