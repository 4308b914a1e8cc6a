/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Tables for people, and text that is safe to print on a terminal. */
#pragma once
#include <stdint.h>
#include <stdio.h>
#include "base/str.h"

#define MP_CLI_COLUMNS_MAX 16

/* Rows are gathered, then printed with columns as wide as their widest cell. */
struct mp_cli_table {
    const char *const *titles;
    uint32_t columns;
    uint32_t right; /* bit per column: numbers */
    char **cells;
    size_t n, cap;
};
void mp_cli_table_init(struct mp_cli_table *t, const char *const *titles, uint32_t columns,
                       uint32_t right);
void mp_cli_table_fini(struct mp_cli_table *t);
/* Cells come row by row, column by column; unsafe characters become '?'. */
void mp_cli_cell(struct mp_cli_table *t, const char *fmt, ...) MP_PRINTF(2, 3);
void mp_cli_table_print(const struct mp_cli_table *t, FILE *f);
/* "1.2M"; exact below 10,000. */
void mp_cli_short_number(char out[16], double v);
