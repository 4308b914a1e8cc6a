/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <string.h>
#include "base/assert.h"
#include "codec/hdr.h"
#include "codec/hdr_lookup.h"
#include "codec/scan.h"

/* Entries that a proxied head gets on top of its own (request id, forwarded-for, via ...), so that
 * the array is not copied again for them. */
#define SPARE 8

void mp_hdrs_init(struct mp_hdrs *h, struct mp_arena *arena, uint16_t max)
{
    *h = (struct mp_hdrs){.arena = arena, .max = max};
}

/* Makes room for n more entries. */
static mp_err reserve(struct mp_hdrs *h, size_t n)
{
    size_t need = h->n + n;
    if (need <= h->cap) {
        return MP_OK;
    }
    if (need > UINT16_MAX) {
        return MP_FAIL(LIMIT);
    }
    size_t cap = MP_MAX(need + SPARE, (size_t)h->cap * 2);
    cap = MP_MIN(cap, UINT16_MAX);
    struct mp_hdr *v = mp_arena_alloc(h->arena, cap * sizeof(*v));
    if (v == NULL) {
        return MP_FAIL(LIMIT);
    }
    if (h->n > 0) {
        memcpy(v, h->v, h->n * sizeof(*v));
    }
    h->v = v;
    h->cap = (uint16_t)cap;
    return MP_OK;
}

mp_err mp_hdrs_take_block(struct mp_hdrs *h, const struct mp_hdr *src, uint16_t n,
                          const char *block, size_t block_n)
{
    if (n == 0) {
        return MP_OK;
    }
    if (n > h->max - h->live) {
        return MP_FAIL(LIMIT);
    }
    MP_TRY(reserve(h, n));
    char *copy = mp_arena_bytes(h->arena, block_n);
    if (copy == NULL) {
        return MP_FAIL(LIMIT);
    }
    memcpy(copy, block, block_n);
    struct mp_hdr *v = h->v + h->n;
    memcpy(v, src, n * sizeof(*v));
    uint64_t seen = 0;
    size_t bytes = 0;
    for (uint16_t i = 0; i < n; i++) {
        MP_DEBUG_ASSERT(v[i].name_n > 0);
        MP_DEBUG_ASSERT(v[i].name >= block);
        MP_DEBUG_ASSERT(v[i].value >= block);
        MP_DEBUG_ASSERT(v[i].name + v[i].name_n <= block + block_n);
        MP_DEBUG_ASSERT(v[i].value + v[i].value_n <= block + block_n);
        v[i].name = copy + (v[i].name - block);
        v[i].value = copy + (v[i].value - block);
        seen |= UINT64_C(1) << v[i].id;
        bytes += v[i].name_n + v[i].value_n;
    }
    h->seen |= seen;
    h->bytes += bytes;
    h->n = (uint16_t)(h->n + n);
    h->live = (uint16_t)(h->live + n);
    return MP_OK;
}

static bool same_name(const struct mp_hdr *e, enum mp_hdr_id id, struct mp_str lower_name)
{
    if (e->name_n == 0 || e->id != id) {
        return false;
    }
    return id != MP_HDR_OTHER || mp_str_eq(mp_hdr_name(e), lower_name);
}

/* The first live entry of v[from..n) with that id and, for MP_HDR_OTHER, that name. */
static struct mp_hdr *find_from(const struct mp_hdrs *h, size_t from, enum mp_hdr_id id,
                                struct mp_str lower_name)
{
    if (!mp_hdrs_maybe(h, id)) {
        return NULL;
    }
    for (size_t i = from; i < h->n; i++) {
        if (same_name(&h->v[i], id, lower_name)) {
            return &h->v[i];
        }
    }
    return NULL;
}

struct mp_hdr *mp_hdrs_get(const struct mp_hdrs *h, enum mp_hdr_id id)
{
    return id == MP_HDR_OTHER ? NULL : find_from(h, 0, id, MP_STR(""));
}

struct mp_hdr *mp_hdrs_find(const struct mp_hdrs *h, struct mp_str lower_name)
{
    if (lower_name.n == 0) {
        return NULL;
    }
    return find_from(h, 0, mp_hdr_id_of(lower_name.p, lower_name.n), lower_name);
}

struct mp_hdr *mp_hdrs_next_same(const struct mp_hdrs *h, const struct mp_hdr *e)
{
    return find_from(h, (size_t)(e - h->v) + 1, e->id, mp_hdr_name(e));
}

/* name and value are clean. */
static mp_err append(struct mp_hdrs *h, enum mp_hdr_id id, struct mp_str name, struct mp_str value)
{
    if (h->live >= h->max) {
        return MP_FAIL(LIMIT);
    }
    MP_TRY(reserve(h, 1));
    h->v[h->n++] = (struct mp_hdr){.name = name.p,
                                   .value = value.p ? value.p : "",
                                   .value_n = (uint32_t)value.n,
                                   .name_n = (uint16_t)name.n,
                                   .id = (uint8_t)id};
    h->live++;
    h->seen |= UINT64_C(1) << id;
    h->bytes += name.n + value.n;
    return MP_OK;
}

mp_err mp_hdrs_add_clean(struct mp_hdrs *h, enum mp_hdr_id id, struct mp_str name,
                         struct mp_str value, uint8_t flags)
{
    MP_TRY(append(h, id, name, value));
    h->v[h->n - 1].flags = flags;
    return MP_OK;
}

bool mp_hdrs_reserve(struct mp_hdrs *h, uint16_t n)
{
    return !mp_is_err(reserve(h, n));
}

static bool name_is_lower(struct mp_str name)
{
    for (size_t i = 0; i < name.n; i++) {
        if (mp_tchar_lower[(uint8_t)name.p[i]] != (uint8_t)name.p[i] || name.p[i] == 0) {
            return false;
        }
    }
    return name.n > 0 && name.n <= UINT16_MAX;
}

static bool value_fits(struct mp_str value)
{
    return value.n <= UINT32_MAX && mp_hdr_value_ok(value);
}

/* Values have no blanks around them. */
static struct mp_str trim(struct mp_str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) {
        s.n--;
    }
    return s;
}

mp_err mp_hdrs_add(struct mp_hdrs *h, struct mp_str name, struct mp_str value)
{
    value = trim(value);
    if (!name_is_lower(name) || !value_fits(value)) {
        return MP_FAIL(INVALID);
    }
    return append(h, mp_hdr_id_of(name.p, name.n), name, value);
}

mp_err mp_hdrs_add_id(struct mp_hdrs *h, enum mp_hdr_id id, struct mp_str value)
{
    MP_ASSERT(id > MP_HDR_OTHER);
    MP_ASSERT(id < MP_HDR_COUNT);
    value = trim(value);
    if (!value_fits(value)) {
        return MP_FAIL(INVALID);
    }
    return append(h, id, mp_hdr_id_name(id), value);
}

/* Copies into the arena, in the form "name: value\r\n" that the HTTP/1 writer can send in one
 * piece. */
static mp_err copy_in(struct mp_hdrs *h, struct mp_str *name, struct mp_str *value)
{
    *value = trim(*value);
    if (name->n > UINT16_MAX || !mp_hdr_name_ok(*name) || !value_fits(*value)) {
        return MP_FAIL(INVALID);
    }
    char *p = mp_arena_bytes(h->arena, name->n + 2 + value->n + 2);
    if (p == NULL) {
        return MP_FAIL(LIMIT);
    }
    char *w = p;
    for (size_t i = 0; i < name->n; i++) {
        *w++ = (char)mp_tchar_lower[(uint8_t)name->p[i]];
    }
    *w++ = ':';
    *w++ = ' ';
    if (value->n > 0) {
        memcpy(w, value->p, value->n);
    }
    *name = mp_str(p, name->n);
    *value = mp_str(w, value->n);
    w += value->n;
    *w++ = '\r';
    *w = '\n';
    return MP_OK;
}

mp_err mp_hdrs_add_copy(struct mp_hdrs *h, struct mp_str name, struct mp_str value)
{
    if (h->live >= h->max) {
        return MP_FAIL(LIMIT);
    }
    MP_TRY(copy_in(h, &name, &value));
    return append(h, mp_hdr_id_of(name.p, name.n), name, value);
}

/* Keeps the place of the first entry with that name; the others go. */
static mp_err replace(struct mp_hdrs *h, enum mp_hdr_id id, struct mp_str name, struct mp_str value)
{
    struct mp_hdr *e = find_from(h, 0, id, name);
    if (e == NULL) {
        return append(h, id, name, value);
    }
    for (struct mp_hdr *d = mp_hdrs_next_same(h, e); d != NULL; d = mp_hdrs_next_same(h, e)) {
        mp_hdrs_remove(h, d);
    }
    h->bytes = h->bytes - e->value_n + value.n;
    e->name = name.p;
    e->value = value.p ? value.p : "";
    e->value_n = (uint32_t)value.n;
    e->flags = 0;
    return MP_OK;
}

mp_err mp_hdrs_set_copy(struct mp_hdrs *h, struct mp_str name, struct mp_str value)
{
    MP_TRY(copy_in(h, &name, &value));
    return replace(h, mp_hdr_id_of(name.p, name.n), name, value);
}

mp_err mp_hdrs_set_id(struct mp_hdrs *h, enum mp_hdr_id id, struct mp_str value)
{
    MP_ASSERT(id > MP_HDR_OTHER);
    MP_ASSERT(id < MP_HDR_COUNT);
    value = trim(value);
    if (!value_fits(value)) {
        return MP_FAIL(INVALID);
    }
    return replace(h, id, mp_hdr_id_name(id), value);
}

mp_err mp_hdrs_put_id(struct mp_hdrs *h, enum mp_hdr_id id, struct mp_str value)
{
    MP_DEBUG_ASSERT(id > MP_HDR_OTHER);
    MP_DEBUG_ASSERT(id < MP_HDR_COUNT);
    MP_DEBUG_ASSERT(value_fits(value));
    struct mp_str name = mp_str(mp_hdr_names[id].name, mp_hdr_names[id].n);
    return mp_hdrs_maybe(h, id) ? replace(h, id, name, value) : append(h, id, name, value);
}

void mp_hdrs_remove(struct mp_hdrs *h, struct mp_hdr *e)
{
    if (e->name_n == 0) {
        return;
    }
    h->bytes -= (size_t)e->name_n + e->value_n;
    h->live--;
    e->name_n = 0;
}

static uint32_t remove_all(struct mp_hdrs *h, enum mp_hdr_id id, struct mp_str lower_name)
{
    uint32_t removed = 0;
    struct mp_hdr *e = find_from(h, 0, id, lower_name);
    while (e != NULL) {
        mp_hdrs_remove(h, e);
        removed++;
        e = find_from(h, (size_t)(e - h->v) + 1, id, lower_name);
    }
    return removed;
}

uint32_t mp_hdrs_remove_id(struct mp_hdrs *h, enum mp_hdr_id id)
{
    return id == MP_HDR_OTHER ? 0 : remove_all(h, id, MP_STR(""));
}

uint32_t mp_hdrs_remove_name(struct mp_hdrs *h, struct mp_str lower_name)
{
    if (lower_name.n == 0) {
        return 0;
    }
    return remove_all(h, mp_hdr_id_of(lower_name.p, lower_name.n), lower_name);
}

bool mp_hdrs_list_has(const struct mp_hdrs *h, enum mp_hdr_id id, struct mp_str token)
{
    for (struct mp_hdr *e = mp_hdrs_get(h, id); e != NULL; e = mp_hdrs_next_same(h, e)) {
        struct mp_str rest = mp_hdr_value(e), part;
        while (mp_str_split(&rest, ',', &part)) {
            if (mp_str_ieq(trim(part), token)) {
                return true;
            }
        }
    }
    return false;
}
