/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* From the path of something in a message to what the person wrote: the line, and for a simple file
 * the path there. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "conf/registry.h"

struct mp_yaml;
/* What lies at or below made (a path in the translated messages) comes from written (a path in the
 * file). */
struct mp_conf_origin {
    const char *made, *written;
    bool whole; /* what lies below has the same names in both */
};
struct mp_conf_places {
    const struct mp_yaml *yaml;     /* NULL: no file, lines are unknown */
    struct mp_conf_origin *origins; /* heap; none: the paths are the same */
    size_t n, cap;
    bool sorted;
    char shown[4096];
};
void mp_conf_places_fini(struct mp_conf_places *p);
/* made and written are borrowed. */
void mp_conf_places_add(struct mp_conf_places *p, const char *made, const char *written,
                        bool whole);
/* The path to show for a path (itself when it has no other origin; else valid until the next call
 * with p), and its line. */
const char *mp_conf_place(struct mp_conf_places *p, const char *path, size_t *ret_line);
/* path.sub in out; sub may be NULL or begin with '['. */
void mp_conf_path_join(const char *path, const char *sub, char *out, size_t cap);
/* struct mp_conf_where.line_of with a struct mp_conf_places in lines. */
size_t mp_conf_line_of(const struct mp_conf_where *w, const char *sub);
