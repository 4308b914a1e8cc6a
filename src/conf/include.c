/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* include: of the simple file. An included file has the same keys; lists are put one after the
 * other, maps are united, and what is neither may be given once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "conf/files.h"
#include "conf/load.h"
#include "conf/yaml_tree.h"

#define BYTES_MAX ((size_t)64 << 20)
/* A line of an included file carries the file's number (base/diag.h). */
#define LINE_BITS MP_DIAG_LINE_BITS

struct includer {
    const struct mp_conf_load_opts *opts;
    struct mp_diag *diag;
    struct mp_yaml *main;
    struct mp_conf_included *done;
    char *paths[MP_CONF_INCLUDES_MAX + 1]; /* of all files, the main one first */
    size_t n_paths;
    bool failed;
};

char *mp_conf_beside(const char *file, struct mp_str name)
{
    const char *slash = file != NULL ? strrchr(file, '/') : NULL;
    struct mp_sb sb;
    mp_sb_init(&sb, 8192);
    if (slash != NULL && (name.n == 0 || name.p[0] != '/')) {
        mp_sb_add(&sb, mp_str(file, (size_t)(slash - file) + 1));
    }
    mp_sb_add(&sb, name);
    char *path = mp_str_dup_c(mp_sb_str(&sb));
    mp_sb_fini(&sb);
    return path;
}

static void complain(struct includer *x, size_t line, const char *cure, const char *what,
                     const char *path, const char *why)
{
    x->failed = true;
    (void)mp_diag_error(x->diag, MP_E_INVALID, line, "include", cure, "%s \"%s\"%s%s", what, path,
                        why != NULL ? ": " : "", why != NULL ? why : "");
}

static void stamp(struct mp_yaml_node *n, uint32_t number)
{
    if (n->line >> LINE_BITS != 0) {
        return; /* an alias to it was met before */
    }
    n->line = MP_MIN(n->line, (1u << LINE_BITS) - 1) | number << LINE_BITS;
    for (uint32_t i = 0; n->kind == MP_YAML_LIST && i < n->n; i++) {
        stamp(n->items[i], number);
    }
    for (uint32_t i = 0; n->kind == MP_YAML_MAP && i < n->n; i++) {
        stamp(n->pairs[i].key, number);
        stamp(n->pairs[i].value, number);
    }
}

/* ---- union ---- */

static void *take(struct includer *x, size_t n)
{
    void *p = mp_arena_zalloc(&x->main->arena, n);
    MP_ASSERT(p != NULL);
    return p;
}

/* A list of its own: either may hang elsewhere, too, by an alias. */
static struct mp_yaml_node *join_lists(struct includer *x, const struct mp_yaml_node *a,
                                       const struct mp_yaml_node *b)
{
    struct mp_yaml_node *both = take(x, sizeof(*both));
    *both = *a;
    both->items = take(x, ((size_t)a->n + b->n + 1) * sizeof(struct mp_yaml_node *));
    if (a->n > 0) {
        memcpy(both->items, a->items, a->n * sizeof(struct mp_yaml_node *));
    }
    if (b->n > 0) {
        memcpy(both->items + a->n, b->items, b->n * sizeof(struct mp_yaml_node *));
    }
    both->n = a->n + b->n;
    both->weight = a->weight + b->weight;
    return both;
}

static struct mp_yaml_pair *find_pair(struct mp_yaml_node *map, struct mp_str key)
{
    for (uint32_t i = 0; i < map->n; i++) {
        if (mp_str_eq(map->pairs[i].key->text, key)) {
            return &map->pairs[i];
        }
    }
    return NULL;
}

static struct mp_yaml_node *join_maps(struct includer *x, const struct mp_yaml_node *a,
                                      const struct mp_yaml_node *b);

static void join_pair(struct includer *x, struct mp_yaml_pair *to, const struct mp_yaml_pair *from)
{
    struct mp_yaml_node *a = to->value, *b = from->value;
    if (mp_yaml_is_null(b)) {
        return; /* "services:" with nothing below */
    }
    if (mp_yaml_is_null(a)) {
        to->value = b;
    } else if (a->kind == MP_YAML_LIST && b->kind == MP_YAML_LIST) {
        to->value = join_lists(x, a, b);
    } else if (a->kind == MP_YAML_MAP && b->kind == MP_YAML_MAP) {
        to->value = join_maps(x, a, b);
    } else {
        const char *file = mp_diag_file_of(x->diag, to->key->line);
        x->failed = true;
        (void)mp_diag_error(x->diag, MP_E_INVALID, from->key->line, NULL, "keep one of them",
                            "key \"%s\" is given twice, first in %s:%u", from->key->text.p,
                            file != NULL ? file : x->paths[0],
                            (unsigned)(to->key->line & ((1u << LINE_BITS) - 1)));
    }
}

static struct mp_yaml_node *join_maps(struct includer *x, const struct mp_yaml_node *a,
                                      const struct mp_yaml_node *b)
{
    struct mp_yaml_node *both = take(x, sizeof(*both));
    *both = *a;
    both->pairs = take(x, ((size_t)a->n + b->n + 1) * sizeof(*both->pairs));
    if (a->n > 0) {
        memcpy(both->pairs, a->pairs, a->n * sizeof(*both->pairs));
    }
    for (uint32_t i = 0; i < b->n; i++) {
        struct mp_yaml_pair *to = find_pair(both, b->pairs[i].key->text);
        if (to != NULL) {
            join_pair(x, to, &b->pairs[i]);
        } else {
            both->pairs[both->n++] = b->pairs[i];
        }
    }
    both->weight = a->weight + b->weight;
    return both;
}

/* ---- files ---- */

static void follow(struct includer *x, struct mp_yaml *y, const char *file, uint32_t depth);

static bool is_new(struct includer *x, const char *path, size_t line)
{
    for (size_t i = 0; i < x->n_paths; i++) {
        if (strcmp(x->paths[i], path) == 0) {
            complain(x, line, "include each file once; a file cannot include itself",
                     "again:", path, NULL);
            return false;
        }
    }
    if (x->n_paths > MP_CONF_INCLUDES_MAX) {
        complain(x, line, NULL, "too many files are included, at", path, NULL);
        return false;
    }
    x->paths[x->n_paths++] = mp_str_dup_c(mp_str_c(path));
    return true;
}

/* Blank lines and comments only: a file that is kept for later. */
static bool is_blank(struct mp_str text)
{
    struct mp_str line;
    while (mp_str_split(&text, '\n', &line)) {
        line = mp_str_trim(line);
        if (line.n > 0 && line.p[0] != '#' && line.p[0] != '\r') {
            return false;
        }
    }
    return true;
}

static void include_one(struct includer *x, const char *path, size_t line, uint32_t depth)
{
    struct mp_str text;
    if (!is_new(x, path, line)) {
        return;
    }
    if (x->opts->names != NULL) {
        x->opts->names->named(x->opts->names->arg, mp_str_c(path), MP_NAMED_READ);
    }
    int r = x->opts->files->read(path, BYTES_MAX, &text);
    if (r < 0) {
        complain(x, line, "check the path and its permissions", "cannot read", path, strerror(-r));
        return;
    }
    if (is_blank(text)) {
        free((char *)(uintptr_t)text.p);
        return;
    }
    char *before = x->diag->file != NULL ? mp_str_dup_c(mp_str_c(x->diag->file)) : NULL;
    struct mp_yaml *y;
    mp_diag_set_file(x->diag, path); /* syntax errors have plain lines */
    mp_err err = mp_yaml_parse(text, x->diag, &y);
    mp_diag_set_file(x->diag, before);
    free(before);
    explicit_bzero((char *)(uintptr_t)text.p, text.n);
    free((char *)(uintptr_t)text.p);
    if (mp_is_err(err)) {
        x->failed = true;
        return;
    }
    x->done->v[x->done->n++] = y;
    stamp(y->root, mp_diag_add_file(x->diag, path));
    if (y->root->kind != MP_YAML_MAP && !mp_yaml_is_null(y->root)) {
        complain(x, y->root->line, "write services:, routes: and so on", "not a map:", path, NULL);
        return;
    }
    follow(x, y, path, depth + 1);
}

static bool has_wildcard(const char *path)
{
    return strpbrk(path, "*?[{") != NULL;
}

static void include_pattern(struct includer *x, const struct mp_yaml_node *n, const char *file,
                            uint32_t depth)
{
    if (n->kind != MP_YAML_SCALAR || n->text.n == 0) {
        complain(x, n->line, "write conf.d/*.yaml", "not a path or pattern:", "", NULL);
        return;
    }
    if (depth >= MP_CONF_INCLUDE_DEPTH) {
        complain(x, n->line, "include from fewer levels", "too deep:", n->text.p, NULL);
        return;
    }
    char *path = mp_conf_beside(file, n->text), *found = NULL;
    size_t found_n = 0;
    if (!has_wildcard(path)) {
        include_one(x, path, n->line, depth);
        free(path);
        return;
    }
    if (x->opts->names != NULL) {
        x->opts->names->named(x->opts->names->arg, mp_str_c(path), MP_NAMED_GLOB);
    }
    int r = x->opts->files->glob(path, &found, &found_n);
    if (r < 0) {
        complain(x, n->line, NULL, "cannot look for", path, strerror(-r));
    }
    for (size_t i = 0; r == 0 && i < found_n; i += strlen(found + i) + 1) {
        include_one(x, found + i, n->line, depth);
    }
    free(found);
    free(path);
}

/* Takes the key off the map. */
static struct mp_yaml_node *cut_include(struct mp_yaml_node *map)
{
    for (uint32_t i = 0; map->kind == MP_YAML_MAP && i < map->n; i++) {
        if (mp_str_eq(map->pairs[i].key->text, MP_STR("include"))) {
            struct mp_yaml_node *value = map->pairs[i].value;
            memmove(&map->pairs[i], &map->pairs[i + 1], (map->n - i - 1) * sizeof(map->pairs[0]));
            map->n--;
            return value;
        }
    }
    return NULL;
}

static void follow(struct includer *x, struct mp_yaml *y, const char *file, uint32_t depth)
{
    if (mp_is_err(mp_yaml_expand(y, file, x->opts, x->diag))) {
        x->failed = true;
    }
    struct mp_yaml_node *include = cut_include(y->root);
    if (y != x->main && y->root->kind == MP_YAML_MAP) {
        x->main->root = join_maps(x, x->main->root, y->root);
    }
    if (include == NULL || mp_yaml_is_null(include)) {
        return;
    }
    if (x->opts->files == NULL) {
        complain(x, include->line, NULL, "no file can be included here, as in", file, NULL);
    } else if (include->kind == MP_YAML_LIST) {
        for (uint32_t i = 0; i < include->n; i++) {
            include_pattern(x, include->items[i], file, depth);
        }
    } else {
        include_pattern(x, include, file, depth);
    }
}

mp_err mp_conf_include(struct mp_yaml *y, const char *file, const struct mp_conf_load_opts *opts,
                       struct mp_diag *diag, struct mp_conf_included *ret)
{
    struct includer x = {.opts = opts, .diag = diag, .main = y, .done = ret};
    file = file != NULL ? file : "";
    x.paths[x.n_paths++] = mp_str_dup_c(mp_str_c(file));
    follow(&x, y, file, 0);
    for (size_t i = 0; i < x.n_paths; i++) {
        free(x.paths[i]);
    }
    return x.failed ? MP_FAIL(INVALID) : MP_OK;
}

void mp_conf_included_fini(struct mp_conf_included *inc)
{
    for (size_t i = 0; i < inc->n; i++) {
        mp_yaml_free(inc->v[i]);
    }
    inc->n = 0;
}
