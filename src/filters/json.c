/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "filters/json.h"

struct parser {
    struct mp_json *j;
    size_t at;
    unsigned depth;
};

static bool value(struct parser *p);

static int peek(const struct parser *p)
{
    return p->at < p->j->text.n ? (uint8_t)p->j->text.p[p->at] : -1;
}

static void blanks(struct parser *p)
{
    for (int c = peek(p); c == ' ' || c == '\t' || c == '\n' || c == '\r'; c = peek(p)) {
        p->at++;
    }
}

static bool take(struct parser *p, char c)
{
    if (peek(p) != (uint8_t)c) {
        return false;
    }
    p->at++;
    return true;
}

static struct mp_json_node *add(struct parser *p, enum mp_json_kind kind)
{
    struct mp_json *j = p->j;
    if (j->n == j->max) {
        return NULL;
    }
    struct mp_json_node *v = &j->nodes[j->n++];
    *v = (struct mp_json_node){.kind = (uint8_t)kind, .at = (uint32_t)p->at, .next = j->n};
    return v;
}

/* ---- strings ---- */

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The four digits at s; -1: there are none. */
static int32_t hex4(struct mp_str s)
{
    int32_t v = 0;
    if (s.n < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        int d = hex(s.p[i]);
        if (d < 0) {
            return -1;
        }
        v = v << 4 | d;
    }
    return v;
}

/* The character that the escape at s stands for (s begins with the backslash) and its length; 0:
 * malformed, or NUL. */
static uint32_t escape(struct mp_str s, size_t *ret_n)
{
    static const char plain[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    *ret_n = 2;
    if (s.n < 2) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(plain) - 1; i++) {
        if (s.p[1] == plain[i]) {
            return (uint8_t)meant[i];
        }
    }
    int32_t high = s.p[1] == 'u' ? hex4(mp_str(s.p + 2, s.n - 2)) : -1;
    *ret_n = 6;
    if (high < 0 || (high >= 0xdc00 && high <= 0xdfff)) {
        return 0;
    }
    if (high < 0xd800 || high > 0xdbff) {
        return (uint32_t)high;
    }
    if (s.n < 12 || s.p[6] != '\\' || s.p[7] != 'u') {
        return 0;
    }
    int32_t low = hex4(mp_str(s.p + 8, s.n - 8));
    *ret_n = 12;
    if (low < 0xdc00 || low > 0xdfff) {
        return 0;
    }
    return 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
}

static bool string(struct parser *p)
{
    const struct mp_str text = p->j->text;
    p->at++; /* the quote */
    struct mp_json_node *v = add(p, MP_JSON_STRING);
    while (v && p->at < text.n) {
        uint8_t c = (uint8_t)text.p[p->at];
        struct mp_str rest = mp_str(text.p + p->at, text.n - p->at);
        uint32_t cp;
        size_t n = 1;
        if (c == '"') {
            v->n = (uint32_t)p->at - v->at;
            p->at++;
            return true;
        }
        if (c < 0x20) {
            return false;
        }
        if (c == '\\') {
            v->escaped = true;
            if (escape(rest, &n) == 0) {
                return false;
            }
        } else if (c >= 0x80) {
            n = mp_utf8_next(rest, &cp);
            if (n == 0) {
                return false;
            }
        }
        p->at += n;
    }
    return false;
}

static size_t put_utf8(uint32_t cp, char *out)
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xc0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xe0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
        out[2] = (char)(0x80 | (cp & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
    out[3] = (char)(0x80 | (cp & 0x3f));
    return 4;
}

/* One unit of a string that has been checked: a byte, or what an escape stands for. */
static size_t unit(struct mp_str s, char out[4], size_t *ret_n)
{
    *ret_n = 1;
    if (s.p[0] != '\\') {
        out[0] = s.p[0];
        return 1;
    }
    uint32_t cp = escape(s, ret_n);
    return put_utf8(cp, out);
}

size_t mp_json_unescape(const struct mp_json *j, const struct mp_json_node *v, char *out)
{
    struct mp_str s = mp_json_raw(j, v);
    size_t n = 0, used;
    if (!v->escaped) {
        memcpy(out, s.p, s.n);
        return s.n;
    }
    while (s.n > 0) {
        char piece[4];
        size_t k = unit(s, piece, &used);
        memcpy(out + n, piece, k);
        n += k;
        s = mp_str(s.p + used, s.n - used);
    }
    return n;
}

bool mp_json_equals(const struct mp_json *j, const struct mp_json_node *v, struct mp_str text)
{
    struct mp_str s = mp_json_raw(j, v);
    if (v->kind != MP_JSON_STRING) {
        return false;
    }
    if (!v->escaped) {
        return mp_str_eq(s, text);
    }
    while (s.n > 0) {
        char piece[4];
        size_t used, k = unit(s, piece, &used);
        if (k > text.n || memcmp(piece, text.p, k) != 0) {
            return false;
        }
        text = mp_str(text.p + k, text.n - k);
        s = mp_str(s.p + used, s.n - used);
    }
    return text.n == 0;
}

static bool same_string(const struct mp_json *j, const struct mp_json_node *a,
                        const struct mp_json_node *b)
{
    if (!a->escaped) {
        return mp_json_equals(j, b, mp_json_raw(j, a));
    }
    if (!b->escaped) {
        return mp_json_equals(j, a, mp_json_raw(j, b));
    }
    struct mp_str x = mp_json_raw(j, a), y = mp_json_raw(j, b);
    char px[4], py[4];
    size_t nx = 0, ny = 0, ix = 0, iy = 0, used;
    for (;;) {
        if (ix == nx && x.n > 0) {
            nx = unit(x, px, &used);
            ix = 0;
            x = mp_str(x.p + used, x.n - used);
        }
        if (iy == ny && y.n > 0) {
            ny = unit(y, py, &used);
            iy = 0;
            y = mp_str(y.p + used, y.n - used);
        }
        if (ix == nx || iy == ny) {
            return ix == nx && iy == ny;
        }
        if (px[ix++] != py[iy++]) {
            return false;
        }
    }
}

/* ---- the other kinds ---- */

static bool digits(struct parser *p)
{
    size_t from = p->at;
    for (int c = peek(p); c >= '0' && c <= '9'; c = peek(p)) {
        p->at++;
    }
    return p->at > from;
}

static bool number(struct parser *p)
{
    struct mp_json_node *v = add(p, MP_JSON_NUMBER);
    if (!v) {
        return false;
    }
    (void)take(p, '-');
    if (!take(p, '0') && !digits(p)) {
        return false;
    }
    if (take(p, '.') && !digits(p)) {
        return false;
    }
    if (peek(p) == 'e' || peek(p) == 'E') {
        p->at++;
        if (peek(p) == '+' || peek(p) == '-') {
            p->at++;
        }
        if (!digits(p)) {
            return false;
        }
    }
    v->n = (uint32_t)p->at - v->at;
    return true;
}

static bool word(struct parser *p, struct mp_str text, enum mp_json_kind kind)
{
    struct mp_str rest = mp_str(p->j->text.p + p->at, p->j->text.n - p->at);
    struct mp_json_node *v = mp_str_starts(rest, text) ? add(p, kind) : NULL;
    if (!v) {
        return false;
    }
    v->n = (uint32_t)text.n;
    p->at += text.n;
    return true;
}

/* Is the name in node k the first of its kind in the object that begins at node from? */
static bool is_new_name(const struct mp_json *j, uint32_t from, uint32_t k)
{
    for (uint32_t i = from + 1; i < k; i = j->nodes[i + 1].next) {
        if (same_string(j, &j->nodes[i], &j->nodes[k])) {
            return false;
        }
    }
    return true;
}

static bool member(struct parser *p, uint32_t object)
{
    blanks(p);
    uint32_t name = p->j->n;
    if (peek(p) != '"' || !string(p) || !is_new_name(p->j, object, name)) {
        return false;
    }
    blanks(p);
    return take(p, ':') && value(p);
}

/* An array or an object. */
static bool container(struct parser *p, enum mp_json_kind kind, char close)
{
    uint32_t self = p->j->n;
    if (++p->depth > MP_JSON_DEPTH || !add(p, kind)) {
        return false;
    }
    p->at++;
    blanks(p);
    if (!take(p, close)) {
        do {
            if (kind == MP_JSON_OBJECT ? !member(p, self) : !value(p)) {
                return false;
            }
            blanks(p);
        } while (take(p, ','));
        if (!take(p, close)) {
            return false;
        }
    }
    p->depth--;
    struct mp_json_node *v = &p->j->nodes[self];
    v->n = (uint32_t)p->at - v->at;
    v->next = p->j->n;
    return true;
}

static bool value(struct parser *p)
{
    blanks(p);
    switch (peek(p)) {
    case '{':
        return container(p, MP_JSON_OBJECT, '}');
    case '[':
        return container(p, MP_JSON_ARRAY, ']');
    case '"':
        return string(p);
    case 't':
        return word(p, MP_STR("true"), MP_JSON_TRUE);
    case 'f':
        return word(p, MP_STR("false"), MP_JSON_FALSE);
    case 'n':
        return word(p, MP_STR("null"), MP_JSON_NULL);
    default:
        return number(p);
    }
}

bool mp_json_parse(struct mp_str text, struct mp_json_node *nodes, uint32_t max,
                   struct mp_json *ret)
{
    struct parser p = {.j = ret};
    if (text.n > MP_JSON_BYTES_MAX) {
        return false;
    }
    *ret = (struct mp_json){.text = text, .nodes = nodes, .max = max};
    if (!value(&p)) {
        return false;
    }
    blanks(&p);
    return p.at == text.n;
}

/* ---- access ---- */

bool mp_json_is(const struct mp_json_node *v, enum mp_json_kind kind)
{
    return v && v->kind == kind;
}

const struct mp_json_node *mp_json_member(const struct mp_json *j,
                                          const struct mp_json_node *object, struct mp_str name)
{
    uint32_t self = (uint32_t)(object - j->nodes);
    for (uint32_t i = self + 1; i < object->next; i = j->nodes[i + 1].next) {
        if (mp_json_equals(j, &j->nodes[i], name)) {
            return &j->nodes[i + 1];
        }
    }
    return NULL;
}

const struct mp_json_node *mp_json_first(const struct mp_json *j, const struct mp_json_node *array)
{
    uint32_t self = (uint32_t)(array - j->nodes);
    return self + 1 < array->next ? &j->nodes[self + 1] : NULL;
}

const struct mp_json_node *mp_json_after(const struct mp_json *j, const struct mp_json_node *array,
                                         const struct mp_json_node *e)
{
    return e->next < array->next ? &j->nodes[e->next] : NULL;
}

double mp_json_number(const struct mp_json *j, const struct mp_json_node *v)
{
    struct mp_str s = mp_json_raw(j, v);
    double m = 0;
    int scale = 0, exponent = 0;
    bool negative = s.p[0] == '-', fraction = false, down = false;
    size_t i = negative;
    for (; i < s.n && (s.p[i] == '.' || (s.p[i] >= '0' && s.p[i] <= '9')); i++) {
        if (s.p[i] == '.') {
            fraction = true;
            continue;
        }
        /* Doubles hold 17 digits; more of them only move the point. */
        if (m < 1e18) {
            m = m * 10 + (s.p[i] - '0');
            scale -= fraction;
        } else {
            scale += !fraction;
        }
    }
    if (i < s.n) {
        i++; /* e */
        down = s.p[i] == '-';
        i += s.p[i] == '-' || s.p[i] == '+';
        for (; i < s.n; i++) {
            exponent = exponent < 10000 ? exponent * 10 + (s.p[i] - '0') : exponent;
        }
    }
    scale += down ? -exponent : exponent;
    for (; scale > 0 && m != 0 && m <= 1.7e308; scale--) {
        m *= 10;
    }
    for (; scale < 0 && m != 0; scale++) {
        m /= 10;
    }
    return negative ? -m : m;
}
