/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/diag.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/mem.h"

#define ITEMS_MAX 100
#define CAUSE_MAX 4096

static char *dup_or_null(const char *z)
{
    return z ? mp_str_dup_c(mp_str_c(z)) : NULL;
}

void mp_diag_init(struct mp_diag *d, const char *file)
{
    *d = (struct mp_diag){.file = dup_or_null(file)};
}

void mp_diag_fini(struct mp_diag *d)
{
    for (size_t i = 0; i < d->n; i++) {
        free(d->items[i].file);
        free(d->items[i].path);
        free(d->items[i].cause);
        free(d->items[i].cure);
    }
    for (uint32_t i = 0; i < d->n_others; i++) {
        free(d->others[i]);
    }
    free(d->others);
    free(d->items);
    free(d->file);
    *d = (struct mp_diag){0};
}

void mp_diag_set_file(struct mp_diag *d, const char *file)
{
    char *copy = dup_or_null(file); /* first: file may be the old name */
    free(d->file);
    d->file = copy;
}

uint32_t mp_diag_add_file(struct mp_diag *d, const char *name)
{
    if (!d) {
        return 0;
    }
    d->others = mp_xrealloc(d->others, (d->n_others + 1) * sizeof(*d->others));
    d->others[d->n_others++] = mp_str_dup_c(mp_str_c(name));
    return d->n_others;
}

const char *mp_diag_file_of(const struct mp_diag *d, size_t line)
{
    size_t number = line >> MP_DIAG_LINE_BITS;
    return d && number > 0 && number <= d->n_others ? d->others[number - 1] : NULL;
}

static void append(struct mp_diag *d, struct mp_diag_item item, const char *fmt, va_list ap)
    MP_PRINTF(3, 0);
static void append(struct mp_diag *d, struct mp_diag_item item, const char *fmt, va_list ap)
{
    size_t *count = item.level == MP_DIAG_ERROR ? &d->errors : &d->warnings;
    (*count)++;
    if (d->n == ITEMS_MAX) {
        d->dropped++;
        return;
    }
    if (d->n == d->cap) {
        d->cap = d->cap ? MP_MIN(d->cap * 2, (size_t)ITEMS_MAX) : 8;
        d->items = mp_xrealloc(d->items, d->cap * sizeof(*d->items));
    }
    struct mp_sb sb;
    mp_sb_init(&sb, CAUSE_MAX);
    mp_sb_vprintf(&sb, fmt, ap);
    const char *other = mp_diag_file_of(d, item.line);
    item.number = other != NULL ? (uint32_t)(item.line >> MP_DIAG_LINE_BITS) : 0;
    item.line &= ((size_t)1 << MP_DIAG_LINE_BITS) - 1;
    item.file = dup_or_null(other != NULL ? other : d->file);
    item.path = dup_or_null(item.path);
    item.cure = dup_or_null(item.cure);
    item.cause = mp_str_dup_c(mp_sb_str(&sb));
    mp_sb_fini(&sb);
    d->items[d->n++] = item;
}

mp_err mp_diag_error(struct mp_diag *d, enum mp_err_code code, size_t line, const char *path,
                     const char *cure, const char *cause_fmt, ...)
{
    if (d) {
        va_list ap;
        va_start(ap, cause_fmt);
        append(
            d,
            (struct mp_diag_item){
                .level = MP_DIAG_ERROR, .line = line, .path = (char *)path, .cure = (char *)cure},
            cause_fmt, ap);
        va_end(ap);
    }
    return (mp_err){(int)code};
}

void mp_diag_warn(struct mp_diag *d, size_t line, const char *path, const char *cure,
                  const char *cause_fmt, ...)
{
    if (!d) {
        return;
    }
    va_list ap;
    va_start(ap, cause_fmt);
    append(d,
           (struct mp_diag_item){
               .level = MP_DIAG_WARNING, .line = line, .path = (char *)path, .cure = (char *)cure},
           cause_fmt, ap);
    va_end(ap);
}

/* Input quoted in a cause may hold anything: it must not start a line of its own. */
static void add_printable(struct mp_sb *sb, const char *z)
{
    struct mp_str s = mp_str_c(z);
    while (s.n > 0) {
        uint32_t cp;
        size_t used = mp_utf8_next(s, &cp);
        if (used == 0) {
            mp_sb_printf(sb, "\\x%02x", (unsigned char)s.p[0]);
            used = 1;
        } else if (mp_utf8_is_unsafe(cp)) {
            mp_sb_printf(sb, cp < 0x100 ? "\\x%02x" : "\\u%04x", cp);
        } else {
            mp_sb_add(sb, mp_str(s.p, used));
        }
        s = mp_str(s.p + used, s.n - used);
    }
}

void mp_diag_format(const struct mp_diag *d, struct mp_sb *sb)
{
    for (size_t i = 0; i < d->n; i++) {
        const struct mp_diag_item *it = &d->items[i];
        if (it->file) {
            add_printable(sb, it->file);
            mp_sb_add_char(sb, ':');
        }
        if (it->line > 0) {
            mp_sb_printf(sb, it->file ? "%zu:" : "line %zu:", it->line);
        }
        if (it->file || it->line > 0) {
            mp_sb_add_char(sb, ' ');
        }
        if (it->level == MP_DIAG_WARNING) {
            mp_sb_add_c(sb, "warning: ");
        }
        if (it->path && it->path[0]) {
            add_printable(sb, it->path);
            mp_sb_add_c(sb, ": ");
        }
        add_printable(sb, it->cause);
        if (it->cure) {
            mp_sb_add_c(sb, " (");
            add_printable(sb, it->cure);
            mp_sb_add_char(sb, ')');
        }
        mp_sb_add_char(sb, '\n');
    }
    if (d->dropped > 0) {
        mp_sb_printf(sb, "%zu more\n", d->dropped);
    }
}
