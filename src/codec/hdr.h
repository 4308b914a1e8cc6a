/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The header map that HTTP/1, HTTP/2, filters and Wasm share, for requests, responses and trailers.
 *
 * Names are lower case; values have no leading or trailing blanks; neither holds CR, LF or NUL (the
 * codecs guarantee it, mp_hdrs_add checks it). Order is kept; a name may occur several times. The
 * bytes belong to the stream's arena, never to a connection's buffer. Pseudo-headers are fields of
 * struct mp_req_head / mp_resp_head, not entries.
 *
 * Removal marks the entry dead (name_n 0) and keeps positions stable, so that a filter may remove
 * while it walks. Adding may move the entries: pointers to them are good until the next add.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/str.h"

enum mp_hdr_id {
    MP_HDR_OTHER = 0,
#define MP_HDR(token, name) MP_HDR_##token,
#include "codec/hdr.def"
#undef MP_HDR
    MP_HDR_COUNT
};
_Static_assert(MP_HDR_COUNT <= 64, "presence is one bit each in mp_hdrs.seen");

struct mp_hdr {
    const char *name;
    const char *value;
    uint32_t value_n;
    uint16_t name_n; /* 0: removed */
    uint8_t id;      /* enum mp_hdr_id */
    uint8_t flags;   /* MP_HDR_F_* */
};
_Static_assert(sizeof(struct mp_hdr) == 24, "header entries are copied in bulk");

#define MP_HDR_F_HOP                                                            \
    1 /* hop-by-hop: named in Connection or one of the fixed set; not forwarded \
       */

struct mp_hdrs {
    struct mp_hdr *v;
    uint16_t n, cap; /* entries incl. removed ones */
    uint16_t max;    /* of live entries */
    uint16_t live;
    uint64_t seen; /* bit per mp_hdr_id: present now or removed since; 0 = surely absent */
    struct mp_arena *arena;
    size_t bytes; /* names + values, live */
};

/* The id of a lower-case name; MP_HDR_OTHER when it is not in hdr.def. */
enum mp_hdr_id mp_hdr_id_of(const char *name, size_t n);
struct mp_str mp_hdr_id_name(enum mp_hdr_id id);
/* RFC 9110 5.6.2 token, not empty. */
bool mp_hdr_name_ok(struct mp_str name);
/* RFC 9110 5.5: no CR, LF, NUL or other control characters except HTAB. */
bool mp_hdr_value_ok(struct mp_str value);

void mp_hdrs_init(struct mp_hdrs *h, struct mp_arena *arena, uint16_t max);
/* Copies entries and bytes of a parsed head (src[0..n), whose names and values all lie inside
 * block[0..block_n)) into the arena with two memcpy. LIMIT when arena or count is exceeded. */
MP_MUST_USE mp_err mp_hdrs_take_block(struct mp_hdrs *h, const struct mp_hdr *src, uint16_t n,
                                      const char *block, size_t block_n);
static inline struct mp_str mp_hdr_name(const struct mp_hdr *e)
{
    return (struct mp_str){e->name, e->name_n};
}
static inline struct mp_str mp_hdr_value(const struct mp_hdr *e)
{
    return (struct mp_str){e->value, e->value_n};
}
static inline bool mp_hdrs_maybe(const struct mp_hdrs *h, enum mp_hdr_id id)
{
    return (h->seen >> id) & 1;
}
/* First live entry or NULL. */
struct mp_hdr *mp_hdrs_get(const struct mp_hdrs *h, enum mp_hdr_id id);
struct mp_hdr *mp_hdrs_find(const struct mp_hdrs *h, struct mp_str lower_name);
/* Next live entry with the same name after e, which is live itself. */
struct mp_hdr *mp_hdrs_next_same(const struct mp_hdrs *h, const struct mp_hdr *e);
/* Appends; name and value are borrowed and must live as long as the arena (literals, arena bytes).
 * INVALID when name or value hold forbidden bytes or the name is not lower case; LIMIT when full.
 */
MP_MUST_USE mp_err mp_hdrs_add(struct mp_hdrs *h, struct mp_str name, struct mp_str value);
/* Same with a known id: no check of the name. */
MP_MUST_USE mp_err mp_hdrs_add_id(struct mp_hdrs *h, enum mp_hdr_id id, struct mp_str value);
/* Same for a codec that has checked both already; id is that of the name. */
MP_MUST_USE mp_err mp_hdrs_add_clean(struct mp_hdrs *h, enum mp_hdr_id id, struct mp_str name,
                                     struct mp_str value, uint8_t flags);
/* Room for n more entries at once. False: the arena's limit. */
MP_MUST_USE bool mp_hdrs_reserve(struct mp_hdrs *h, uint16_t n);
/* Copies name (lower-cased) and value into the arena first. */
MP_MUST_USE mp_err mp_hdrs_add_copy(struct mp_hdrs *h, struct mp_str name, struct mp_str value);
/* Replaces all entries of that name by one. */
MP_MUST_USE mp_err mp_hdrs_set_copy(struct mp_hdrs *h, struct mp_str name, struct mp_str value);
MP_MUST_USE mp_err mp_hdrs_set_id(struct mp_hdrs *h, enum mp_hdr_id id, struct mp_str value);
/* The same for a value that is known to be clean and trimmed: our own text, configuration that was
 * checked at load, or a value taken from a parsed head. Only LIMIT. */
MP_MUST_USE mp_err mp_hdrs_put_id(struct mp_hdrs *h, enum mp_hdr_id id, struct mp_str value);
void mp_hdrs_remove(struct mp_hdrs *h, struct mp_hdr *e);
/* Number removed. */
uint32_t mp_hdrs_remove_id(struct mp_hdrs *h, enum mp_hdr_id id);
uint32_t mp_hdrs_remove_name(struct mp_hdrs *h, struct mp_str lower_name);
/* Comma-separated list membership, ASCII case-insensitive, over all entries of that id. */
bool mp_hdrs_list_has(const struct mp_hdrs *h, enum mp_hdr_id id, struct mp_str token);

enum mp_method {
    MP_METHOD_OTHER = 0,
    MP_METHOD_GET,
    MP_METHOD_HEAD,
    MP_METHOD_POST,
    MP_METHOD_PUT,
    MP_METHOD_DELETE,
    MP_METHOD_CONNECT,
    MP_METHOD_OPTIONS,
    MP_METHOD_TRACE,
    MP_METHOD_PATCH,
    MP_METHOD_COUNT
};
/* Case-sensitive (RFC 9110 9.1). */
enum mp_method mp_method_of(struct mp_str name);
struct mp_str mp_method_name(enum mp_method m);
static inline bool mp_method_idempotent(enum mp_method m) /* RFC 9110 9.2.2 */
{
    return m == MP_METHOD_GET || m == MP_METHOD_HEAD || m == MP_METHOD_OPTIONS ||
           m == MP_METHOD_TRACE || m == MP_METHOD_PUT || m == MP_METHOD_DELETE;
}
/* "OK" for 200; empty when unknown. */
struct mp_str mp_status_reason(unsigned status);
