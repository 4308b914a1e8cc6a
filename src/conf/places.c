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
    p->sorted = false;
    p->origins[p->n++] = (struct mp_conf_origin){made, written, whole};
}

static int by_made(const void *a, const void *b)
{
    return strcmp(((const struct mp_conf_origin *)a)->made,
                  ((const struct mp_conf_origin *)b)->made);
}

/* The origin of exactly the first n bytes of path, or NULL. */
static const struct mp_conf_origin *find_origin(const struct mp_conf_places *p, const char *path,
                                                size_t n)
{
    size_t lo = 0, hi = p->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = strncmp(path, p->origins[mid].made, n);
        if (c == 0 && p->origins[mid].made[n] != '\0') {
            c = -1; /* the one sought is shorter, so it comes earlier */
        }
        if (c == 0) {
            return &p->origins[mid];
        }
        if (c < 0) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return NULL;
}

const char *mp_conf_place(struct mp_conf_places *p, const char *path, size_t *ret_line)
{
    const char *shown = path;
    if (p && !p->sorted && p->n > 0) {
        qsort(p->origins, p->n, sizeof(*p->origins), by_made);
        p->sorted = true;
    }
    /* The longest part of the path that has one. */
    for (size_t n = p && p->n ? strlen(path) : 0; n > 0; n--) {
        const struct mp_conf_origin *o = strchr(".[", path[n]) ? find_origin(p, path, n) : NULL;
        if (o) {
            snprintf(p->shown, sizeof(p->shown), "%s%s", o->written, o->whole ? path + n : "");
            shown = p->shown;
            break;
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

/* The place as it is shown to people. path: room for it, PATH_MAX_BYTES. */
static const char *shown_place(const struct mp_conf_where *w, const char *sub, char *path,
                               size_t *ret_line)
{
    mp_conf_path_join(w->path, sub, path, PATH_MAX_BYTES);
    if (w->line_of == mp_conf_line_of) {
        return mp_conf_place((struct mp_conf_places *)w->lines, path, ret_line);
    }
    *ret_line = w->line_of ? w->line_of(w, sub) : 0;
    return path;
}

static bool said_already(const struct mp_conf_where *w, const char *shown, const char *cause)
{
    const struct mp_conf_places *places =
        w->line_of == mp_conf_line_of ? (const struct mp_conf_places *)w->lines : NULL;
    return places && places->n > 0 && is_repeated(w->diag, shown, cause);
}

mp_err mp_conf_error(const struct mp_conf_where *w, enum mp_err_code code, const char *sub,
                     const char *cure, const char *cause_fmt, ...)
{
    char path[PATH_MAX_BYTES], cause[2048];
    size_t line;
    va_list ap;
    va_start(ap, cause_fmt);
    vsnprintf(cause, sizeof(cause), cause_fmt, ap);
    va_end(ap);
    const char *shown = shown_place(w, sub, path, &line);
    if (said_already(w, shown, cause)) {
        return (mp_err){(int)code};
    }
    return mp_diag_error(w->diag, code, line, shown, cure, "%s", cause);
}

void mp_conf_warn(const struct mp_conf_where *w, const char *sub, const char *cure,
                  const char *cause_fmt, ...)
{
    char path[PATH_MAX_BYTES], cause[2048];
    size_t line;
    va_list ap;
    va_start(ap, cause_fmt);
    vsnprintf(cause, sizeof(cause), cause_fmt, ap);
    va_end(ap);
    const char *shown = shown_place(w, sub, path, &line);
    if (w->diag && !said_already(w, shown, cause)) {
        mp_diag_warn(w->diag, line, shown, cure, "%s", cause);
    }
}
