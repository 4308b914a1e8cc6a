/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Field lines (RFC 9112 5), and what those that frame or route a message mean. */
#include <string.h>
#include "codec/h1_internal.h"
#include "codec/hdr_lookup.h"
#include "codec/scan.h"

#define BIT(id) (UINT64_C(1) << MP_HDR_##id)
#define HOP_IDS                                                                           \
    (BIT(CONNECTION) | BIT(KEEP_ALIVE) | BIT(PROXY_CONNECTION) | BIT(TRANSFER_ENCODING) | \
     BIT(TE) | BIT(TRAILER) | BIT(UPGRADE) | BIT(HTTP2_SETTINGS))
/* Fields that field_meaning looks at. */
#define MEANING_IDS                                                                  \
    (BIT(HOST) | BIT(CONNECTION) | BIT(TRANSFER_ENCODING) | BIT(TE) | BIT(UPGRADE) | \
     BIT(CONTENT_LENGTH) | BIT(EXPECT))
/* Known names that a Connection option may be; of the others the proxy makes decisions, which a
 * peer must not be able to take away. */
#define OPTION_IDS                                                                      \
    (BIT(OTHER) | BIT(CONNECTION) | BIT(KEEP_ALIVE) | BIT(PROXY_CONNECTION) | BIT(TE) | \
     BIT(TRAILER) | BIT(UPGRADE) | BIT(HTTP2_SETTINGS))

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

static bool equals_nocase(struct mp_str s, const char *lower, size_t n)
{
    if (s.n != n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        /* The words compared with are tokens, so a byte that is not maps to 0 and differs. */
        if (mp_tchar_lower[(uint8_t)s.p[i]] != (uint8_t)lower[i]) {
            return false;
        }
    }
    return true;
}
#define EQUALS(s, lit) equals_nocase((s), (lit), sizeof(lit) - 1)

/* Cuts the next element, without blanks, off a comma-separated list; may be empty. */
static bool list_next(struct mp_str *rest, struct mp_str *ret)
{
    if (rest->p == NULL) {
        return false;
    }
    const char *comma = memchr(rest->p, ',', rest->n);
    size_t n = comma ? (size_t)(comma - rest->p) : rest->n;
    *ret = trim(mp_str(rest->p, n));
    *rest = comma ? mp_str(comma + 1, rest->n - n - 1) : mp_str(NULL, 0);
    return true;
}

/* ---- names ---- */

/* Names the fault of the byte at p inside a field name. */
static enum mp_h1_status name_fault(const char *p, const char *end)
{
    if (*p == '\r' || *p == '\n') {
        enum mp_h1_status st = mp_h1_line_end(p, end);
        return st == MP_H1_OK ? MP_H1_ERR_BAD_NAME : st;
    }
    if (*p != ' ' && *p != '\t') {
        return MP_H1_ERR_BAD_NAME;
    }
    while (p < end && (*p == ' ' || *p == '\t')) {
        p++;
    }
    if (p == end) {
        return MP_H1_MORE;
    }
    return *p == ':' ? MP_H1_ERR_SPACE_BEFORE_COLON : MP_H1_ERR_BAD_NAME;
}

/* Checks and lowers byte by byte up to the colon. */
static enum mp_h1_status name_slow(char *p, const char *end, size_t *ret_n, unsigned *ret_id)
{
    char *start = p;
    while (p < end) {
        uint8_t low = mp_tchar_lower[(uint8_t)*p];
        if (low == 0) {
            break;
        }
        *p++ = (char)low;
    }
    size_t n = (size_t)(p - start);
    if (n > UINT16_MAX) {
        return MP_H1_ERR_HEAD_TOO_LARGE;
    }
    if (p == end) {
        return MP_H1_MORE;
    }
    if (*p != ':') {
        return n == 0 ? MP_H1_ERR_BAD_NAME : name_fault(p, end);
    }
    if (n == 0) {
        return MP_H1_ERR_BAD_NAME;
    }
    *ret_n = n;
    *ret_id = mp_hdr_id_of(start, n);
    return MP_H1_OK;
}

#if MP_SCAN_SSE2
/* 0xff for the first n bytes, when read from mask_bytes + 16 - n. */
static const uint8_t mask_bytes[32] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                       0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

struct name16 {
    __m128i raw, low, mask;
};

/* The common case: letters and '-' only, the colon among the 16 bytes at p. 0: not so. Does not
 * write: a load that overlaps a younger store waits for it, so the name is stored after its value
 * has been scanned. */
static inline size_t name16_load(const char *p, struct name16 *ret)
{
    __m128i raw = _mm_loadu_si128((const __m128i *)(const void *)p);
    unsigned colons = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(raw, _mm_set1_epi8(':')));
    if (colons == 0) {
        return 0;
    }
    unsigned n = (unsigned)__builtin_ctz(colons);
    __m128i upper = _mm_and_si128(_mm_cmpgt_epi8(raw, _mm_set1_epi8('A' - 1)),
                                  _mm_cmplt_epi8(raw, _mm_set1_epi8('Z' + 1)));
    __m128i low = _mm_or_si128(raw, _mm_and_si128(upper, _mm_set1_epi8(0x20)));
    __m128i ok = _mm_and_si128(_mm_cmpgt_epi8(low, _mm_set1_epi8('a' - 1)),
                               _mm_cmplt_epi8(low, _mm_set1_epi8('z' + 1)));
    ok = _mm_or_si128(ok, _mm_cmpeq_epi8(raw, _mm_set1_epi8('-')));
    unsigned want = (1u << n) - 1;
    if (((unsigned)_mm_movemask_epi8(ok) & want) != want) {
        return 0;
    }
    ret->raw = raw;
    ret->low = low;
    ret->mask = _mm_loadu_si128((const __m128i *)(const void *)(mask_bytes + 16 - n));
    return n;
}

/* Writes the lowered name back (and the bytes behind it as they were); returns its id. */
static inline unsigned name16_store(char *p, size_t n, const struct name16 *nm)
{
    __m128i name = _mm_and_si128(nm->low, nm->mask);
    unsigned id = mp_hdr_candidate(p, n);
    _mm_storeu_si128((__m128i *)(void *)p, _mm_or_si128(name, _mm_andnot_si128(nm->mask, nm->raw)));
    __m128i known = _mm_loadu_si128((const __m128i *)(const void *)mp_hdr_names[id].name);
    bool same = _mm_movemask_epi8(_mm_cmpeq_epi8(known, name)) == 0xffff;
    return same ? id : MP_HDR_OTHER;
}
#endif

/* ---- meaning ---- */

/* HTAB is a legal blank, but peers differ about it around the value of a framing field, so there it
 * is refused. The value was trimmed; the line is still complete around it. */
static bool tab_around(const struct mp_hdr *f)
{
    for (const char *p = f->name + f->name_n + 1; p < f->value; p++) {
        if (*p == '\t') {
            return true;
        }
    }
    for (const char *p = f->value + f->value_n; *p != '\r'; p++) {
        if (*p == '\t') {
            return true;
        }
    }
    return false;
}

/* RFC 9110 8.6: digits only. 19 of them fit; a longer row of zeros is refused as odd. */
static enum mp_h1_status content_length(struct mp_h1_acc *a, struct mp_str v)
{
    uint64_t n = 0;
    if (v.n == 0 || v.n > 19) {
        return MP_H1_ERR_BAD_CONTENT_LENGTH;
    }
    for (size_t i = 0; i < v.n; i++) {
        if (!mp_c_is(v.p[i], MP_C_DIGIT)) {
            return MP_H1_ERR_BAD_CONTENT_LENGTH;
        }
        n = n * 10 + (unsigned)(v.p[i] - '0');
    }
    if (n > INT64_MAX) {
        return MP_H1_ERR_BAD_CONTENT_LENGTH;
    }
    a->content_length = n;
    return MP_H1_OK;
}

static bool is_token(struct mp_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!mp_c_is(s.p[i], MP_C_TCHAR)) {
            return false;
        }
    }
    return s.n > 0;
}

static enum mp_hdr_id id_of_any_case(struct mp_str name)
{
    char low[MP_HDR_NAME_MAX];
    if (name.n > sizeof(low)) {
        return MP_HDR_OTHER;
    }
    for (size_t i = 0; i < name.n; i++) {
        low[i] = (char)mp_tchar_lower[(uint8_t)name.p[i]];
    }
    return mp_hdr_id_of(low, name.n);
}

static bool is_connection_word(struct mp_str option)
{
    return EQUALS(option, "close") || EQUALS(option, "keep-alive") || EQUALS(option, "upgrade");
}

static enum mp_h1_status connection(struct mp_h1_acc *a, struct mp_str rest)
{
    struct mp_str option;
    while (list_next(&rest, &option)) {
        if (option.n == 0) {
            continue; /* RFC 9110 5.6.1.2: empty elements are ignored */
        }
        if (EQUALS(option, "keep-alive")) {
            a->conn_keep_alive = true;
        } else if (EQUALS(option, "close")) {
            a->conn_close = true;
        } else if (EQUALS(option, "upgrade")) {
            a->conn_upgrade = true;
        } else if (!is_token(option) || !((OPTION_IDS >> id_of_any_case(option)) & 1) ||
                   ++a->conn_options > MP_H1_CONN_OPTIONS_MAX) {
            return MP_H1_ERR_BAD_CONNECTION;
        }
    }
    return MP_H1_OK;
}

static void upgrade(struct mp_h1_acc *a, struct mp_str rest)
{
    struct mp_str protocol;
    while (list_next(&rest, &protocol)) {
        const char *slash = protocol.n ? memchr(protocol.p, '/', protocol.n) : NULL;
        struct mp_str name = slash ? mp_str(protocol.p, (size_t)(slash - protocol.p)) : protocol;
        if (!is_token(name) || EQUALS(name, "h2c")) {
            a->upgrade_odd = true;
        }
    }
}

static void te(struct mp_h1_acc *a, struct mp_str rest)
{
    struct mp_str coding;
    while (list_next(&rest, &coding)) {
        if (EQUALS(coding, "trailers")) {
            a->te_trailers = true;
        }
    }
}

static enum mp_h1_status transfer_encoding(const struct mp_h1_acc *a, const struct mp_hdr *f)
{
    bool chunked = EQUALS(mp_hdr_value(f), "chunked") && !tab_around(f);
    if (a->minor == 0) {
        return MP_H1_ERR_TE_IN_HTTP10;
    }
    if (mp_h1_seen(a, MP_HDR_TRANSFER_ENCODING) || !chunked) {
        return MP_H1_ERR_BAD_TRANSFER_ENCODING;
    }
    return mp_h1_seen(a, MP_HDR_CONTENT_LENGTH) ? MP_H1_ERR_CL_AND_TE : MP_H1_OK;
}

static enum mp_h1_status expect(const struct mp_h1_acc *a, struct mp_str v)
{
    if (!a->is_request || a->minor == 0) {
        return MP_H1_OK; /* RFC 9110 10.1.1: ignored */
    }
    bool fine = EQUALS(v, "100-continue") && !mp_h1_seen(a, MP_HDR_EXPECT);
    return fine ? MP_H1_OK : MP_H1_ERR_BAD_EXPECT;
}

/* a->seen does not have f's bit yet, unless an earlier field had the same name. */
static enum mp_h1_status field_meaning(struct mp_h1_acc *a, const struct mp_hdr *f)
{
    struct mp_str v = mp_hdr_value(f);
    switch (f->id) {
    case MP_HDR_HOST:
        if (a->is_request && mp_h1_seen(a, MP_HDR_HOST)) {
            return MP_H1_ERR_REPEATED_HOST;
        }
        a->host = v;
        return MP_H1_OK;
    case MP_HDR_CONTENT_LENGTH:
        if (mp_h1_seen(a, MP_HDR_CONTENT_LENGTH)) {
            return MP_H1_ERR_REPEATED_CONTENT_LENGTH;
        }
        if (mp_h1_seen(a, MP_HDR_TRANSFER_ENCODING)) {
            return MP_H1_ERR_CL_AND_TE;
        }
        return tab_around(f) ? MP_H1_ERR_BAD_CONTENT_LENGTH : content_length(a, v);
    case MP_HDR_TRANSFER_ENCODING:
        return transfer_encoding(a, f);
    case MP_HDR_CONNECTION:
        return connection(a, v);
    case MP_HDR_EXPECT:
        return expect(a, v);
    case MP_HDR_UPGRADE:
        upgrade(a, v);
        return MP_H1_OK;
    case MP_HDR_TE:
        te(a, v);
        return MP_H1_OK;
    default:
        return MP_H1_OK;
    }
}

/* ---- lines ---- */

/* One field line at c->p, whose first byte is there and neither blank nor a line end. */
static inline __attribute__((always_inline)) enum mp_h1_status field_line(struct mp_h1_cur *c,
                                                                          struct mp_hdr *f)
{
    char *name = c->p;
    size_t n = 0;
    unsigned id = MP_HDR_OTHER;
#if MP_SCAN_SSE2
    struct name16 nm __attribute__((uninitialized));
    if (MP_LIKELY(c->end - name >= 16)) {
        n = name16_load(name, &nm);
    }
    bool deferred = n != 0;
#else
    const bool deferred = false;
#endif
    if (!deferred) {
        enum mp_h1_status st = name_slow(name, c->end, &n, &id);
        if (st != MP_H1_OK) {
            return st;
        }
    }
    const char *v = name + n + 1;
    while (v < c->end && (*v == ' ' || *v == '\t')) {
        v++;
    }
    const char *e = mp_scan_value(v, c->end, c->base);
    if (MP_UNLIKELY(c->end - e < 2 || e[0] != '\r' || e[1] != '\n')) {
        if (e == c->end) {
            return MP_H1_MORE;
        }
        return *e == '\r' || *e == '\n' ? mp_h1_line_end(e, c->end) : MP_H1_ERR_BAD_VALUE;
    }
#if MP_SCAN_SSE2
    if (deferred) {
        id = name16_store(name, n, &nm);
    }
#endif
    c->p = name + (e - name) + 2;
    while (e > v && (e[-1] == ' ' || e[-1] == '\t')) {
        e--;
    }
    f->name = name;
    f->value = v;
    f->value_n = (uint32_t)(e - v);
    f->name_n = (uint16_t)n;
    f->id = (uint8_t)id;
    f->flags = (HOP_IDS >> id) & 1 ? MP_HDR_F_HOP : 0;
    return MP_H1_OK;
}

enum mp_h1_status mp_h1_fields(struct mp_h1_cur *c, uint16_t fields_max, struct mp_hdr *fields,
                               struct mp_h1_acc *a, uint16_t *ret_n)
{
    uint64_t meaning = a ? MEANING_IDS : 0;
    uint64_t seen = 0;
    struct mp_h1_cur cur = *c;
    for (uint16_t i = 0;; i++) {
        if (cur.p == cur.end) {
            return MP_H1_MORE;
        }
        if (MP_UNLIKELY((uint8_t)*cur.p <= ' ')) {
            if (*cur.p == ' ' || *cur.p == '\t') {
                return MP_H1_ERR_OBS_FOLD;
            }
            if (*cur.p != '\r' && *cur.p != '\n') {
                return MP_H1_ERR_BAD_NAME;
            }
            enum mp_h1_status st = mp_h1_line_end(cur.p, cur.end);
            if (st != MP_H1_OK) {
                return st;
            }
            c->p = cur.p + 2;
            *ret_n = i;
            if (a) {
                a->seen = seen;
            }
            return MP_H1_OK;
        }
        if (i == fields_max) {
            return MP_H1_ERR_TOO_MANY_FIELDS;
        }
        enum mp_h1_status st = field_line(&cur, &fields[i]);
        if (st != MP_H1_OK) {
            return st;
        }
        if ((meaning >> fields[i].id) & 1) {
            a->seen = seen;
            st = field_meaning(a, &fields[i]);
            if (st != MP_H1_OK) {
                return st;
            }
        }
        seen |= UINT64_C(1) << fields[i].id;
    }
}

static void mark_named(struct mp_hdr *fields, uint16_t n, struct mp_str option)
{
    for (uint16_t i = 0; i < n; i++) {
        struct mp_hdr *f = &fields[i];
        if (f->id == MP_HDR_OTHER && equals_nocase(option, f->name, f->name_n)) {
            f->flags |= MP_HDR_F_HOP;
        }
    }
}

void mp_h1_mark_hop(struct mp_hdr *fields, uint16_t n)
{
    for (uint16_t i = 0; i < n; i++) {
        if (fields[i].id != MP_HDR_CONNECTION) {
            continue;
        }
        struct mp_str rest = mp_hdr_value(&fields[i]), option;
        while (list_next(&rest, &option)) {
            if (option.n > 0 && !is_connection_word(option)) {
                mark_named(fields, n, option);
            }
        }
    }
}
