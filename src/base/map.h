/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Hash table from bytes to a pointer, open addressing, for control code and lookup tables built
 * once. Keys are borrowed: they must outlive the entry (usually they lie in the same arena as the
 * value). Readers need no lock once the table is no longer changed.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/str.h"

struct mp_map_entry {
    struct mp_str key;
    uint64_t hash;
    void *value; /* NULL: free cell */
};
struct mp_map {
    struct mp_map_entry *cells;
    size_t n, cap; /* cap: power of two or 0 */
};
void mp_map_init(struct mp_map *m);
void mp_map_fini(struct mp_map *m);
/* NULL when absent. */
void *mp_map_get(const struct mp_map *m, struct mp_str key);
/* value must not be NULL. Returns the previous value or NULL. */
void *mp_map_set(struct mp_map *m, struct mp_str key, void *value);
/* Returns the removed value or NULL. */
void *mp_map_del(struct mp_map *m, struct mp_str key);
/* Walk: start with *pos = 0; NULL at the end. The map must not change meanwhile. */
struct mp_map_entry *mp_map_next(const struct mp_map *m, size_t *pos);
