/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "cli/out.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

void mp_cli_table_init(struct mp_cli_table *t, const char *const *titles, uint32_t columns,
                       uint32_t right)
{
    MP_ASSERT(columns <= MP_CLI_COLUMNS_MAX);
    *t = (struct mp_cli_table){.titles = titles, .columns = columns, .right = right};
}

void mp_cli_table_fini(struct mp_cli_table *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free(t->cells[i]);
    }
    free(t->cells);
    t->cells = NULL;
    t->n = t->cap = 0;
}

/* A name of a configuration must not move the cursor. */
static void make_safe(char *z)
{
    struct mp_str rest = mp_str_c(z);
    while (rest.n > 0) {
        uint32_t cp;
        size_t n = mp_utf8_next(rest, &cp);
        if (n == 0 || mp_utf8_is_unsafe(cp)) {
            n = MP_MAX(n, 1);
            memset((char *)(uintptr_t)rest.p, '?', n);
        }
        rest = mp_str(rest.p + n, rest.n - n);
    }
}

void mp_cli_cell(struct mp_cli_table *t, const char *fmt, ...)
{
    struct mp_sb sb;
    va_list ap;
    mp_sb_init(&sb, 4096);
    va_start(ap, fmt);
    mp_sb_vprintf(&sb, fmt, ap);
    va_end(ap);
    if (t->n == t->cap) {
        t->cap = MP_MAX(2 * t->cap, 64);
        t->cells = mp_xrealloc(t->cells, t->cap * sizeof(*t->cells));
    }
    char *text = mp_str_dup_c(mp_sb_str(&sb));
    make_safe(text);
    t->cells[t->n++] = text;
    mp_sb_fini(&sb);
}

/* In characters: what a terminal shows for most alphabets. */
static size_t width_of(const char *z)
{
    size_t n = 0;
    for (; *z != '\0'; z++) {
        n += ((unsigned char)*z & 0xc0) != 0x80;
    }
    return n;
}

static void print_row(const struct mp_cli_table *t, const size_t *widths, const char *const *row,
                      FILE *f)
{
    for (uint32_t c = 0; c < t->columns; c++) {
        size_t pad = widths[c] - width_of(row[c]);
        bool right = (t->right >> c) & 1, last = c + 1 == t->columns;
        fprintf(f, "%s%*s%s%*s", c > 0 ? "  " : "", right ? (int)pad : 0, "", row[c],
                right || last ? 0 : (int)pad, "");
    }
    fputc('\n', f);
}

void mp_cli_table_print(const struct mp_cli_table *t, FILE *f)
{
    size_t widths[MP_CLI_COLUMNS_MAX];
    for (uint32_t c = 0; c < t->columns; c++) {
        widths[c] = width_of(t->titles[c]);
    }
    for (size_t i = 0; i < t->n; i++) {
        widths[i % t->columns] = MP_MAX(widths[i % t->columns], width_of(t->cells[i]));
    }
    print_row(t, widths, t->titles, f);
    for (size_t i = 0; i + t->columns <= t->n; i += t->columns) {
        print_row(t, widths, (const char *const *)&t->cells[i], f);
    }
}

void mp_cli_short_number(char out[16], double v)
{
    static const char units[] = "kMGTP";
    if (v < 10000) {
        snprintf(out, 16, v < 10 && v != (double)(uint64_t)v ? "%.1f" : "%.0f", v);
        return;
    }
    size_t i = 0;
    for (v /= 1000; v >= 1000 && i + 2 < sizeof(units); i++) {
        v /= 1000;
    }
    snprintf(out, 16, v < 100 ? "%.1f%c" : "%.0f%c", v, units[i]);
}
