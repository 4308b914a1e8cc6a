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

void mp_conf_places_add(struct mp_conf_places *p, const char *made, const char *written)
{
    if (p->n == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 64;
        p->origins = mp_xrealloc(p->origins, p->cap * sizeof(*p->origins));
    }
    p->origins[p->n++] = (struct mp_conf_origin){made, written};
}

const char *mp_conf_place(const struct mp_conf_places *p, const char *path, size_t *ret_line)
{
    size_t best = 0;
    const char *shown = path;
    for (size_t i = 0; p && i < p->n; i++) {
        size_t n = strlen(p->origins[i].made);
        if (n > best && strncmp(path, p->origins[i].made, n) == 0 && strchr(".[", path[n])) {
            best = n;
            shown = p->origins[i].written;
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
    (void)mp_conf_place(w->lines, path, &line);
    return line;
}

mp_err mp_conf_error(const struct mp_conf_where *w, enum mp_err_code code, const char *sub,
                     const char *cure, const char *cause_fmt, ...)
{
    char path[PATH_MAX_BYTES], cause[2048];
    const char *shown = path;
    size_t line = w->line_of ? w->line_of(w, sub) : 0;
    va_list ap;
    va_start(ap, cause_fmt);
    vsnprintf(cause, sizeof(cause), cause_fmt, ap);
    va_end(ap);
    mp_conf_path_join(w->path, sub, path, sizeof(path));
    if (w->line_of == mp_conf_line_of) {
        shown = mp_conf_place(w->lines, path, &line);
    }
    return mp_diag_error(w->diag, code, line, shown, cure, "%s", cause);
}
