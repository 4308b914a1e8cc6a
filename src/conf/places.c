/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "conf/places.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "conf/pb.h"

#define PATH_MAX_BYTES 4096

void mp_conf_places_fini(struct mp_conf_places *p)
{
    free(p->origins);
    *p = (struct mp_conf_places){0};
}

void mp_conf_places_add(struct mp_conf_places *p, const char *made, const char *written, bool whole)
{
    if (p->n == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 64;
        p->origins = mp_xrealloc(p->origins, p->cap * sizeof(*p->origins));
    }
    p->origins[p->n++] = (struct mp_conf_origin){made, written, whole};
}

const char *mp_conf_place(struct mp_conf_places *p, const char *path, size_t *ret_line)
{
    size_t best = 0;
    const char *shown = path;
    for (size_t i = 0; p && i < p->n; i++) {
        const struct mp_conf_origin *o = &p->origins[i];
        size_t n = strlen(o->made);
        if (n > best && strncmp(path, o->made, n) == 0 && strchr(".[", path[n])) {
            best = n;
            snprintf(p->shown, sizeof(p->shown), "%s%s", o->written, o->whole ? path + n : "");
            shown = p->shown;
        }
    }
    *ret_line = p && p->yaml ? mp_yaml_line_of(p->yaml, shown) : 0;
    return shown;
}

void mp_conf_path_join(const char *path, const char *sub, char *out, size_t cap)
{
    bool dot = path[0] && sub && sub[0] && sub[0] != '[';
    snprintf(out, cap, "%s%s%s", path, dot ? "." : "", sub ? sub : "");
}

size_t mp_conf_line_of(const struct mp_conf_where *w, const char *sub)
{
    char path[PATH_MAX_BYTES];
    size_t line;
    mp_conf_path_join(w->path, sub, path, sizeof(path));
    (void)mp_conf_place((struct mp_conf_places *)w->lines, path, &line);
    return line;
}

/* Listeners of a simple file have the same manager: one error is enough. */
static bool is_repeated(const struct mp_diag *d, const char *path, const char *cause)
{
    for (size_t i = 0; d && i < d->n; i++) {
        if (d->items[i].path && strcmp(d->items[i].path, path) == 0 &&
            strcmp(d->items[i].cause, cause) == 0) {
            return true;
        }
    }
    return false;
}

mp_err mp_conf_error(const struct mp_conf_where *w, enum mp_err_code code, const char *sub,
                     const char *cure, const char *cause_fmt, ...)
{
    char path[PATH_MAX_BYTES], cause[2048];
    const char *shown = path;
    struct mp_conf_places *places = NULL;
    size_t line = w->line_of ? w->line_of(w, sub) : 0;
    va_list ap;
    va_start(ap, cause_fmt);
    vsnprintf(cause, sizeof(cause), cause_fmt, ap);
    va_end(ap);
    mp_conf_path_join(w->path, sub, path, sizeof(path));
    if (w->line_of == mp_conf_line_of) {
        places = (struct mp_conf_places *)w->lines;
        shown = mp_conf_place(places, path, &line);
    }
    if (places && places->n > 0 && is_repeated(w->diag, shown, cause)) {
        return (mp_err){(int)code};
    }
    return mp_diag_error(w->diag, code, line, shown, cure, "%s", cause);
}
