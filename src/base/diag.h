/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What a person is told when input is refused: where (file, line, path), what, why, and the cure.
 * A diagnostic list belongs to its caller; parsers append and go on where they can, so that one run
 * reports every error. Text only, no secrets: a value of a field marked secret is never quoted.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"
#include "base/err.h"
#include "base/str.h"

enum mp_diag_level { MP_DIAG_ERROR, MP_DIAG_WARNING };

struct mp_diag_item {
    enum mp_diag_level level;
    char *file;      /* NULL: not from a file */
    size_t line;     /* 1-based; 0: unknown */
    uint32_t number; /* of the file; 0: the main one */
    char *path;      /* "static_resources.listeners[0].name"; NULL: none */
    char *cause;     /* "port 70000 is out of range" */
    char *cure;      /* "use 1 to 65535"; NULL: none */
};

struct mp_diag {
    struct mp_diag_item *items;
    size_t n, cap;
    size_t errors, warnings;
    size_t dropped; /* past the first 100 items only counted */
    char *file;     /* given to new items */
    char **others;  /* further files, numbered from 1 */
    uint32_t n_others;
};

void mp_diag_init(struct mp_diag *d, const char *file);
void mp_diag_fini(struct mp_diag *d);
/* Later items carry this file name. */
void mp_diag_set_file(struct mp_diag *d, const char *file);
/* A line may carry the number of a further file above its lowest MP_DIAG_LINE_BITS: readers of
 * several files stamp their lines so, and everybody else passes them on as they are. */
#define MP_DIAG_LINE_BITS 24
/* Returns the number. d may be NULL. */
uint32_t mp_diag_add_file(struct mp_diag *d, const char *name);
/* The further file that a line belongs to; NULL: the main one, or unknown. */
const char *mp_diag_file_of(const struct mp_diag *d, size_t line);
/* Appends an item; cause is printf-like, cure may be NULL. Returns code as an mp_err, for return
 * statements. d may be NULL: then only the code is passed through. */
mp_err mp_diag_error(struct mp_diag *d, enum mp_err_code code, size_t line, const char *path,
                     const char *cure, const char *cause_fmt, ...) MP_PRINTF(6, 7);
void mp_diag_warn(struct mp_diag *d, size_t line, const char *path, const char *cure,
                  const char *cause_fmt, ...) MP_PRINTF(5, 6);
/* "file:line: path: cause (cure)", one item a line; warnings say "warning: " after the place.
 * Control characters are escaped. Ends with "N more" when items were dropped. */
void mp_diag_format(const struct mp_diag *d, struct mp_sb *sb);
