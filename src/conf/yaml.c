/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Text to tree, with a budget. libyaml gives events; the tree is ours, because the library's own
 * document has neither a limit of depth nor one for aliases, and forgets nothing until the end.
 */
#include "conf/yaml_tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#include "base/assert.h"
#include "base/mem.h"

#define DEPTH_CAP 100
#define BLOCK     (64 * 1024)

const struct mp_yaml_limits mp_yaml_limits_default = {
    .bytes_max = 64 << 20,
    .depth_max = DEPTH_CAP,
    .nodes_max = 4000000,
    .anchors_max = 1000, /* looked up one after the other */
};

/* An open list or map with what was read of it; a map's keys and values alternate. */
struct level {
    struct mp_yaml_node *node;
    struct mp_yaml_node **v;
    uint32_t n, cap;
    bool *ignored; /* maps: this pair's key carried !ignore */
};
struct anchor {
    struct mp_str name;
    struct mp_yaml_node *node;
};
struct loader {
    yaml_parser_t parser;
    const struct mp_yaml_limits *limits;
    struct mp_diag *diag;
    struct mp_yaml *y;
    struct level levels[DEPTH_CAP];
    uint32_t depth;
    struct anchor *anchors;
    size_t n_anchors, cap_anchors;
    uint64_t nodes;
    bool ignore_next; /* the key just read is tagged !ignore */
    bool failed;      /* something was reported, reading goes on */
};

static mp_err fail(struct loader *l, enum mp_err_code code, size_t line, const char *cure,
                   const char *fmt, ...) MP_PRINTF(5, 6);
static mp_err fail(struct loader *l, enum mp_err_code code, size_t line, const char *cure,
                   const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    l->failed = true;
    return mp_diag_error(l->diag, code, line, NULL, cure, "%s", text);
}

static void *take(struct loader *l, size_t n)
{
    void *p = mp_arena_zalloc(&l->y->arena, n);
    MP_ASSERT(p); /* the arena has no maximum: the budget of nodes is the limit */
    return p;
}

static int by_text(const void *a, const void *b)
{
    const struct mp_yaml_pair *x = *(const struct mp_yaml_pair *const *)a;
    const struct mp_yaml_pair *y = *(const struct mp_yaml_pair *const *)b;
    int c = mp_str_cmp(x->key->text, y->key->text);
    return c ? c : (x->key->line > y->key->line) - (x->key->line < y->key->line);
}

static void refuse_duplicates(struct loader *l, const struct mp_yaml_node *map)
{
    if (map->n < 2) {
        return;
    }
    const struct mp_yaml_pair **sorted = mp_xcalloc(map->n, sizeof(*sorted));
    for (uint32_t i = 0; i < map->n; i++) {
        sorted[i] = &map->pairs[i];
    }
    qsort(sorted, map->n, sizeof(*sorted), by_text);
    for (uint32_t i = 1; i < map->n; i++) {
        const struct mp_yaml_node *a = sorted[i - 1]->key, *b = sorted[i]->key;
        if (mp_str_eq(a->text, b->text)) {
            (void)fail(l, MP_E_INVALID, b->line, "keep one of them",
                       "key \"%s\" appears twice, first in line %u", b->text.p, a->line);
        }
    }
    free(sorted);
}

static void close_level(struct loader *l)
{
    struct level *lv = &l->levels[--l->depth];
    struct mp_yaml_node *node = lv->node;
    uint64_t weight = 1;
    for (uint32_t i = 0; i < lv->n; i++) {
        weight += lv->v[i]->weight;
    }
    node->weight = (uint32_t)weight; /* the budget is below 2^32 */
    node->open = false;
    if (node->kind == MP_YAML_LIST) {
        node->n = lv->n;
        node->items = take(l, lv->n * sizeof(*node->items));
        if (lv->n > 0) {
            memcpy(node->items, lv->v, lv->n * sizeof(*node->items));
        }
    } else {
        node->pairs = take(l, lv->n / 2 * sizeof(*node->pairs));
        for (uint32_t i = 0; i + 1 < lv->n; i += 2) {
            if (!lv->ignored[i]) {
                node->pairs[node->n++] = (struct mp_yaml_pair){lv->v[i], lv->v[i + 1]};
            }
        }
        refuse_duplicates(l, node);
    }
    free(lv->v);
    free(lv->ignored);
    *lv = (struct level){0};
}

/* Hangs a finished or just opened node below the innermost open one. */
static mp_err attach(struct loader *l, struct mp_yaml_node *node)
{
    if (l->depth == 0) {
        l->y->root = node;
        return MP_OK;
    }
    struct level *lv = &l->levels[l->depth - 1];
    bool is_key = lv->node->kind == MP_YAML_MAP && lv->n % 2 == 0;
    if (is_key && node->kind != MP_YAML_SCALAR) {
        return fail(l, MP_E_INVALID, node->line, "use plain text as the key",
                    "a key is a list or a map");
    }
    if (lv->n == lv->cap) {
        lv->cap = lv->cap ? lv->cap * 2 : 8;
        lv->v = mp_xrealloc(lv->v, lv->cap * sizeof(*lv->v));
        lv->ignored = mp_xrealloc(lv->ignored, lv->cap * sizeof(*lv->ignored));
    }
    lv->ignored[lv->n] = is_key && l->ignore_next;
    lv->v[lv->n++] = node;
    l->ignore_next = false;
    return MP_OK;
}

static mp_err spend(struct loader *l, uint64_t weight, size_t line)
{
    l->nodes += weight;
    if (l->nodes > l->limits->nodes_max) {
        return fail(l, MP_E_LIMIT, line, "split the configuration, or use fewer aliases",
                    "more than %u values (aliases counted in full)", l->limits->nodes_max);
    }
    return MP_OK;
}

static struct mp_yaml_node *new_node(struct loader *l, enum mp_yaml_kind kind,
                                     const yaml_mark_t *mark)
{
    struct mp_yaml_node *n = take(l, sizeof(*n));
    n->kind = kind;
    n->weight = 1;
    n->line = (uint32_t)mark->line + 1;
    return n;
}

static mp_err remember(struct loader *l, const yaml_char_t *name, struct mp_yaml_node *node)
{
    if (!name) {
        return MP_OK;
    }
    if (l->n_anchors == l->limits->anchors_max) {
        return fail(l, MP_E_LIMIT, node->line, NULL, "more than %u anchors",
                    l->limits->anchors_max);
    }
    if (l->n_anchors == l->cap_anchors) {
        l->cap_anchors = l->cap_anchors ? l->cap_anchors * 2 : 8;
        l->anchors = mp_xrealloc(l->anchors, l->cap_anchors * sizeof(*l->anchors));
    }
    struct mp_str copy = mp_arena_dup(&l->y->arena, mp_str_c((const char *)name));
    l->anchors[l->n_anchors++] = (struct anchor){copy, node};
    return MP_OK;
}

static mp_err on_alias(struct loader *l, const yaml_event_t *e)
{
    struct mp_str name = mp_str_c((const char *)e->data.alias.anchor);
    size_t line = e->start_mark.line + 1;
    struct mp_yaml_node *node = NULL;
    for (size_t i = l->n_anchors; i > 0 && !node; i--) { /* the newest of a name counts */
        node = mp_str_eq(l->anchors[i - 1].name, name) ? l->anchors[i - 1].node : NULL;
    }
    if (!node) {
        return fail(l, MP_E_INVALID, line, NULL, "alias *%s has no anchor", name.p);
    }
    if (node->open) {
        return fail(l, MP_E_INVALID, line, NULL, "alias *%s stands inside of what it names",
                    name.p);
    }
    MP_TRY(spend(l, node->weight, line));
    return attach(l, node);
}

#define STANDARD_TAG "tag:yaml.org,2002:"

/* True when the tag makes text of a scalar, whatever it looks like. */
static mp_err check_tag(struct loader *l, const yaml_char_t *raw, size_t line, bool *ret_text)
{
    struct mp_str tag = mp_str_c((const char *)raw);
    *ret_text = mp_str_eq(tag, MP_STR("!")) || mp_str_eq(tag, MP_STR(STANDARD_TAG "str"));
    if (tag.n == 0 || *ret_text || mp_str_starts(tag, MP_STR(STANDARD_TAG))) {
        return MP_OK;
    }
    if (mp_str_eq(tag, MP_STR("!ignore"))) {
        const struct level *lv = l->depth ? &l->levels[l->depth - 1] : NULL;
        if (lv && lv->node->kind == MP_YAML_MAP && lv->n % 2 == 0) {
            l->ignore_next = true;
            return MP_OK;
        }
    }
    return fail(l, MP_E_UNSUPPORTED, line, "remove it; !ignore is known, in front of keys",
                "tag %s has no meaning here", tag.p);
}

static mp_err on_scalar(struct loader *l, const yaml_event_t *e)
{
    size_t line = e->start_mark.line + 1;
    bool text;
    MP_TRY(spend(l, 1, line));
    MP_TRY(check_tag(l, e->data.scalar.tag, line, &text));
    struct mp_yaml_node *n = new_node(l, MP_YAML_SCALAR, &e->start_mark);
    n->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !text;
    n->text = mp_arena_dup(&l->y->arena,
                           mp_str((const char *)e->data.scalar.value, e->data.scalar.length));
    MP_TRY(remember(l, e->data.scalar.anchor, n));
    return attach(l, n);
}

static mp_err on_open(struct loader *l, enum mp_yaml_kind kind, const yaml_mark_t *mark,
                      const yaml_char_t *tag, const yaml_char_t *anchor)
{
    bool text;
    MP_TRY(spend(l, 1, mark->line + 1));
    MP_TRY(check_tag(l, tag, mark->line + 1, &text));
    struct mp_yaml_node *n = new_node(l, kind, mark);
    MP_TRY(attach(l, n));
    if (l->depth == l->limits->depth_max) {
        return fail(l, MP_E_LIMIT, n->line, NULL, "nested deeper than %u levels",
                    l->limits->depth_max);
    }
    n->open = true;
    MP_TRY(remember(l, anchor, n));
    l->levels[l->depth++] = (struct level){.node = n};
    return MP_OK;
}

static mp_err on_event(struct loader *l, const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        return on_scalar(l, e);
    case YAML_ALIAS_EVENT:
        return on_alias(l, e);
    case YAML_SEQUENCE_START_EVENT:
        return on_open(l, MP_YAML_LIST, &e->start_mark, e->data.sequence_start.tag,
                       e->data.sequence_start.anchor);
    case YAML_MAPPING_START_EVENT:
        return on_open(l, MP_YAML_MAP, &e->start_mark, e->data.mapping_start.tag,
                       e->data.mapping_start.anchor);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        close_level(l);
        return MP_OK;
    case YAML_DOCUMENT_START_EVENT:
        if (l->y->root) {
            return fail(l, MP_E_INVALID, e->start_mark.line + 1, "keep one document in the file",
                        "a second document begins");
        }
        return MP_OK;
    default:
        return MP_OK;
    }
}

static mp_err syntax_error(struct loader *l)
{
    const yaml_parser_t *p = &l->parser;
    size_t line = p->problem_mark.line + 1;
    if (p->error == YAML_READER_ERROR) {
        return fail(l, MP_E_SYNTAX, 0, "save the file as UTF-8", "%s at byte %zu", p->problem,
                    p->problem_offset);
    }
    bool start = p->problem && strstr(p->problem, "cannot start any token");
    const char *cure =
        start ? "indent with blanks, not tabs; quote text that begins with @, % or `" : NULL;
    if (p->context) {
        return fail(l, MP_E_SYNTAX, line, cure, "%s, %s (column %zu)", p->problem, p->context,
                    p->problem_mark.column + 1);
    }
    return fail(l, MP_E_SYNTAX, line, NULL, "%s (column %zu)",
                p->problem ? p->problem : "cannot be read", p->problem_mark.column + 1);
}

static mp_err load(struct loader *l)
{
    bool done = false;
    while (!done) {
        yaml_event_t e;
        if (!yaml_parser_parse(&l->parser, &e)) {
            return syntax_error(l);
        }
        done = e.type == YAML_STREAM_END_EVENT;
        mp_err err = on_event(l, &e);
        yaml_event_delete(&e);
        MP_TRY(err);
    }
    if (!l->y->root) {
        return fail(l, MP_E_INVALID, 0, NULL, "the file is empty");
    }
    return l->failed ? MP_FAIL(INVALID) : MP_OK;
}

static int hex4(const char *p)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int d = c >= '0' && c <= '9'                 ? c - '0'
                : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                     : -1;
        if (d < 0) {
            return -1;
        }
        v = v * 16 + d;
    }
    return v;
}

/* JSON writes characters beyond U+FFFF as two \u escapes, which YAML refuses: turned into UTF-8
 * here. Returns text itself when there are none; else a heap copy in *ret_copy. */
static struct mp_str join_surrogates(struct mp_str text, char **ret_copy)
{
    *ret_copy = NULL;
    struct mp_str rest = text;
    while (rest.n > 0 && strchr(" \t\r\n", *rest.p)) {
        rest = mp_str(rest.p + 1, rest.n - 1);
    }
    if (rest.n == 0 || !strchr("{[", *rest.p) ||
        (mp_str_find(text, MP_STR("\\ud")) < 0 && mp_str_find(text, MP_STR("\\uD")) < 0)) {
        return text;
    }
    char *out = *ret_copy = mp_xmalloc(text.n);
    size_t n = 0;
    for (size_t i = 0; i < text.n;) {
        if (text.p[i] != '\\' || i + 1 == text.n) {
            out[n++] = text.p[i++];
            continue;
        }
        int hi = text.n - i >= 12 && text.p[i + 1] == 'u' ? hex4(text.p + i + 2) : -1;
        int lo = hi >= 0xd800 && hi < 0xdc00 && text.p[i + 6] == '\\' && text.p[i + 7] == 'u'
                     ? hex4(text.p + i + 8)
                     : -1;
        if (lo < 0xdc00 || lo > 0xdfff) {
            out[n++] = text.p[i++]; /* an escape of another kind: both characters as they are */
            out[n++] = text.p[i++];
            continue;
        }
        uint32_t cp = 0x10000 + (((uint32_t)hi - 0xd800) << 10) + ((uint32_t)lo - 0xdc00);
        out[n++] = (char)(0xf0 | cp >> 18);
        out[n++] = (char)(0x80 | (cp >> 12 & 0x3f));
        out[n++] = (char)(0x80 | (cp >> 6 & 0x3f));
        out[n++] = (char)(0x80 | (cp & 0x3f));
        i += 12;
    }
    return mp_str(out, n);
}

mp_err mp_yaml_parse_limited(struct mp_str text, const struct mp_yaml_limits *limits,
                             struct mp_diag *diag, struct mp_yaml **ret)
{
    MP_ASSERT(limits->depth_max <= DEPTH_CAP);
    if (text.n > limits->bytes_max) {
        return mp_diag_error(diag, MP_E_LIMIT, 0, NULL, "split the configuration",
                             "larger than %zu bytes", limits->bytes_max);
    }
    char *copy;
    text = join_surrogates(text, &copy);
    struct loader *l = mp_xcalloc(1, sizeof(*l));
    l->limits = limits;
    l->diag = diag;
    l->y = mp_xcalloc(1, sizeof(*l->y));
    mp_arena_init(&l->y->arena, NULL, 0, &mp_block_source_heap, BLOCK, SIZE_MAX);
    l->y->arena.wipe = true;
    if (!yaml_parser_initialize(&l->parser)) {
        abort(); /* memory is out */
    }
    yaml_parser_set_input_string(&l->parser, (const unsigned char *)text.p, text.n);
    mp_err err = load(l);
    yaml_parser_delete(&l->parser);
    while (l->depth > 0) {
        l->depth--;
        free(l->levels[l->depth].v);
        free(l->levels[l->depth].ignored);
    }
    struct mp_yaml *y = l->y;
    free(l->anchors);
    free(l);
    if (copy) {
        explicit_bzero(copy, text.n);
        free(copy);
    }
    if (mp_is_err(err)) {
        mp_yaml_free(y);
        return err;
    }
    *ret = y;
    return MP_OK;
}

mp_err mp_yaml_parse(struct mp_str text, struct mp_diag *diag, struct mp_yaml **ret)
{
    return mp_yaml_parse_limited(text, &mp_yaml_limits_default, diag, ret);
}

struct mp_yaml *mp_yaml_free(struct mp_yaml *y)
{
    if (y) {
        mp_arena_fini(&y->arena);
        free(y);
    }
    return NULL;
}
