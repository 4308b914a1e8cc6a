/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Text to model: which of the two forms it is, then the way from tree to messages to model. */
#include "conf/load.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "conf/build.h"
#include "conf/pb_int.h"
#include "conf/yaml_tree.h"
#include "marchproxy_config_v1.pb-c.h"

#define BLOCK      (64 * 1024)
#define ROOT_BLOCK (8 * 1024)

enum form { FORM_NONE, FORM_ENVOY, FORM_MARCH, FORM_BOTH };

struct mp_conf *mp_conf_free(struct mp_conf *c)
{
    if (c) {
        mp_conf_drop_parts(c);
        mp_arena_fini(&c->arena);
        free(c);
    }
    return NULL;
}

/* By the keys at the top. "admin" is in both: a map is Envoy's, an address is ours. */
static enum form form_of(const struct mp_yaml_node *root)
{
    bool envoy = false, march = false;
    for (uint32_t i = 0; root->kind == MP_YAML_MAP && i < root->n; i++) {
        struct mp_str key = root->pairs[i].key->text;
        const char *name;
        if (mp_str_eq(key, MP_STR("admin"))) {
            bool map = root->pairs[i].value->kind == MP_YAML_MAP;
            envoy |= map;
            march |= !map && !mp_yaml_is_null(root->pairs[i].value);
        } else if (mp_str_eq(key, MP_STR("include")) ||
                   mp_pb_find_field(&marchproxy__config__v1__simple_file__descriptor, key)) {
            march = true;
        } else if (mp_pb_find_field(&envoy__config__bootstrap__v3__bootstrap__descriptor, key) ||
                   mp_pb_is_known_field(&envoy__config__bootstrap__v3__bootstrap__descriptor, key,
                                        0, &name)) {
            envoy = true;
        }
    }
    return envoy && march ? FORM_BOTH : envoy ? FORM_ENVOY : march ? FORM_MARCH : FORM_NONE;
}

static void report_form(struct mp_diag *diag, const struct mp_yaml_node *root, enum form form)
{
    char cure[256] =
        "begin with services: and routes: (simple file) or static_resources: (Envoy bootstrap)";
    if (form == FORM_BOTH) {
        (void)mp_diag_error(diag, MP_E_INVALID, root->line, NULL, "use the keys of one of them",
                            "the keys at the top mix a simple file with an Envoy bootstrap");
        return;
    }
    if (root->kind != MP_YAML_MAP) {
        (void)mp_diag_error(diag, MP_E_INVALID, root->line, NULL, cure,
                            "not a configuration: a map is expected");
        return;
    }
    for (uint32_t i = 0; i < root->n; i++) {
        struct mp_pb_guess guess;
        mp_pb_guess_init(&guess, root->pairs[i].key->text);
        for (unsigned j = 0; j < marchproxy__config__v1__simple_file__descriptor.n_fields; j++) {
            mp_pb_guess_offer(&guess,
                              marchproxy__config__v1__simple_file__descriptor.fields[j].name);
        }
        for (unsigned j = 0; j < envoy__config__bootstrap__v3__bootstrap__descriptor.n_fields;
             j++) {
            mp_pb_guess_offer(&guess,
                              envoy__config__bootstrap__v3__bootstrap__descriptor.fields[j].name);
        }
        if (guess.best) {
            snprintf(cure, sizeof(cure), "did you mean \"%s\"?", guess.best);
            (void)mp_diag_error(diag, MP_E_INVALID, root->pairs[i].key->line, NULL, cure,
                                "neither a simple file nor an Envoy bootstrap: \"" MP_STR_FMT
                                "\" is unknown",
                                MP_STR_ARG(root->pairs[i].key->text));
            return;
        }
    }
    (void)mp_diag_error(diag, MP_E_INVALID, root->line, NULL, cure,
                        "neither a simple file nor an Envoy bootstrap");
}

static void from_envoy(struct mp_conf_build *b, const struct mp_yaml *y)
{
    struct mp_pb_read_opts opts = {.allow_unsupported = b->opts->allow_unsupported};
    ProtobufCMessage *m;
    (void)mp_pb_read_partial(y->root, y->root->line, NULL,
                             &envoy__config__bootstrap__v3__bootstrap__descriptor, &opts,
                             b->scratch, b->diag, &m);
    /* Also with errors: what was read is checked further, so that one run reports all. */
    if (m) {
        mp_build_bootstrap(b, (const pb_bootstrap *)m);
    }
}

static void translate(struct mp_conf_build *b, struct mp_yaml *y, struct mp_conf_places *places,
                      struct mp_conf_included *included)
{
    enum form form = form_of(y->root);
    switch (form) {
    case FORM_ENVOY:
        mp_conf_find_names(y->root, b->opts->names);
        from_envoy(b, y);
        break;
    case FORM_MARCH:
        if (!mp_is_err(mp_conf_include(y, b->conf->file.p, b->opts, b->diag, included))) {
            mp_conf_find_names(y->root, b->opts->names);
            mp_build_from_march(b, y, places);
        }
        break;
    case FORM_NONE:
    case FORM_BOTH:
        report_form(b->diag, y->root, form);
        break;
    }
}

static bool is_before(const struct mp_diag_item *a, const struct mp_diag_item *b)
{
    return a->number != b->number ? a->number < b->number : a->line < b->line;
}

/* Reader and translation report one after the other; a person reads from top to bottom. Few items:
 * insertion. */
static void sort_by_line(struct mp_diag *diag, size_t from)
{
    for (size_t i = from + 1; i < diag->n; i++) {
        struct mp_diag_item item = diag->items[i];
        size_t j = i;
        for (; j > from && is_before(&item, &diag->items[j - 1]); j--) {
            diag->items[j] = diag->items[j - 1];
        }
        diag->items[j] = item;
    }
}

mp_err mp_conf_load_text(struct mp_str text, const char *file, const struct mp_conf_load_opts *opts,
                         struct mp_diag *diag, struct mp_conf **ret)
{
    struct mp_yaml *y;
    struct mp_arena scratch;
    struct mp_diag own;
    if (!diag) {
        mp_diag_init(&own, NULL);
        mp_err err = mp_conf_load_text(text, file, opts, &own, ret);
        mp_diag_fini(&own);
        return err;
    }
    size_t errors = diag->errors, items = diag->n;
    mp_diag_set_file(diag, file);
    MP_TRY(mp_yaml_parse(text, diag, &y));
    mp_arena_init(&scratch, NULL, 0, &mp_block_source_heap, BLOCK, SIZE_MAX);
    scratch.wipe = true; /* secrets of filters lie in all of these */
    struct mp_conf *c = mp_xcalloc(1, sizeof(*c));
    mp_arena_init(&c->arena, NULL, 0, &mp_block_source_heap, ROOT_BLOCK, SIZE_MAX);
    c->arena.wipe = true;
    struct mp_conf_places places = {.yaml = y};
    struct mp_conf_build *b = mp_xcalloc(1, sizeof(*b));
    *b = (struct mp_conf_build){.conf = c,
                                .arena = &c->arena,
                                .scratch = &scratch,
                                .opts = opts,
                                .diag = diag,
                                .places = &places};
    c->file = mp_build_str(b, file ? file : "");
    struct mp_conf_included *included = mp_xcalloc(1, sizeof(*included));
    translate(b, y, &places, included);
    sort_by_line(diag, items);
    free(b);
    mp_conf_places_fini(&places);
    mp_arena_fini(&scratch);
    mp_conf_included_fini(included);
    free(included);
    mp_yaml_free(y);
    if (diag->errors > errors) {
        mp_conf_free(c);
        return MP_FAIL(INVALID);
    }
    *ret = c;
    return MP_OK;
}
