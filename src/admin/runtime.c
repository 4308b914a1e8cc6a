/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* /runtime: the keys of the static layers; and what Envoy has and we have not. */
#include <string.h>

#include "admin/pages.h"
#include "core/engine.h"

/* Is an earlier entry of the same key? */
static bool is_first(const struct mp_conf *c, uint32_t i)
{
    for (uint32_t k = 0; k < i; k++) {
        if (mp_str_eq(c->runtime[k].key, c->runtime[i].key)) {
            return false;
        }
    }
    return true;
}

static void add_entry(struct mp_sb *out, const struct mp_conf *c, struct mp_str key)
{
    struct mp_str last = MP_STR("");
    mp_sb_add_json(out, key);
    mp_sb_add_c(out, ": {\"layer_values\": [");
    for (uint32_t layer = 0; layer < c->n_layers; layer++) {
        struct mp_str value = MP_STR("");
        for (uint32_t i = 0; i < c->n_runtime; i++) {
            if (c->runtime[i].layer == layer && mp_str_eq(c->runtime[i].key, key)) {
                value = last = c->runtime[i].value;
            }
        }
        mp_sb_add_c(out, layer > 0 ? ", " : "");
        mp_sb_add_json(out, value);
    }
    mp_sb_add_c(out, "], \"final_value\": ");
    mp_sb_add_json(out, last);
    mp_sb_add_char(out, '}');
}

void mp_admin_page_runtime(struct mp_admin_call *call)
{
    const struct mp_conf *c = call->engine->snap->conf;
    struct mp_sb *out = &call->out;
    bool first = true;
    call->content_type = MP_ADMIN_JSON;
    mp_sb_add_c(out, "{\n \"layers\": [");
    for (uint32_t i = 0; i < c->n_layers; i++) {
        mp_sb_add_c(out, i > 0 ? ", " : "");
        mp_sb_add_json(out, c->layers[i]);
    }
    mp_sb_add_c(out, "],\n \"entries\": {");
    for (uint32_t i = 0; i < c->n_runtime; i++) {
        if (is_first(c, i)) {
            mp_sb_add_c(out, first ? "\n  " : ",\n  ");
            add_entry(out, c, c->runtime[i].key);
            first = false;
        }
    }
    mp_sb_add_c(out, first ? "}\n}\n" : "\n }\n}\n");
}

void mp_admin_page_absent(struct mp_admin_call *call)
{
    const struct mp_admin_page *p = mp_admin_find_page(call->path);
    mp_admin_fail(call, 501, "%s: %s\n", p->path, p->help);
}

bool mp_admin_is_metrics_page(const struct mp_admin_page *p)
{
    return strcmp(p->path, "/ready") == 0 || strcmp(p->path, "/metrics") == 0 ||
           strcmp(p->path, "/stats/prometheus") == 0;
}
