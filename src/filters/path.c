/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "filters/path.h"

#include <stdio.h>

#include "base/compiler.h"
#include "filters/guest.h"

#define RULES_MAX 256

const char *mp_path_rule_parse(struct mp_str text, struct mp_path_rule *ret)
{
    bool star = text.n > 0 && text.p[text.n - 1] == '*';
    struct mp_str s = mp_str(text.p, text.n - star);
    if (text.n == 0) {
        return "the path is empty";
    }
    if (s.n > 0 && s.p[0] != '/') {
        return "a path begins with /";
    }
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = (uint8_t)s.p[i];
        if (c <= ' ' || c >= 0x7f) {
            return "a path has no blanks and nothing but ASCII characters";
        }
        if (c == '?' || c == '#') {
            return "paths are compared without the query";
        }
        if (c == '*') {
            return "* may stand only at the end";
        }
    }
    *ret = (struct mp_path_rule){.text = s, .prefix = star || s.p[s.n - 1] == '/'};
    return NULL;
}

bool mp_path_rule_match(const struct mp_path_rule *r, struct mp_str path)
{
    if (!mp_str_starts(path, r->text)) {
        return false;
    }
    return r->prefix || path.n == r->text.n || path.p[r->text.n] == '/';
}

bool mp_path_rules_match(const struct mp_path_rule *rules, uint32_t n, struct mp_str path)
{
    for (uint32_t i = 0; i < n; i++) {
        if (mp_path_rule_match(&rules[i], path)) {
            return true;
        }
    }
    return false;
}

struct mp_path_rule *mp_path_rules_setup(struct mp_guest_setup *s, const char *field,
                                         const struct mp_str *list, size_t n, bool given,
                                         uint32_t *ret_n)
{
    static const struct mp_str usual[] = {{"/healthz", 8}, {"/metrics", 8}, {"/ready", 6}};
    if (!given) {
        list = usual;
        n = MP_COUNTOF(usual);
    }
    if (n > RULES_MAX) {
        mp_guest_refuse(s, field, NULL, "%zu entries: at most %d are allowed", n, RULES_MAX);
        return NULL;
    }
    struct mp_path_rule *rules = mp_guest_setup_alloc(s, n * sizeof(*rules));
    for (size_t i = 0; i < n; i++) {
        const char *cause = mp_path_rule_parse(mp_guest_setup_dup(s, list[i]), &rules[i]);
        if (cause) {
            char at[64];
            snprintf(at, sizeof(at), "%s[%zu]", field, i);
            mp_guest_refuse(s, at, NULL, "\"%.*s\": %s", (int)MP_MIN(list[i].n, (size_t)100),
                            list[i].p, cause);
        }
    }
    *ret_n = (uint32_t)n;
    return rules;
}

bool mp_path_is_open(const struct mp_path_rule *rules, uint32_t n, struct mp_guest *g)
{
    struct mp_str path = mp_path_without_query(mp_guest_path(g)), plain;
    if (!mp_path_rules_match(rules, n, path)) {
        return false;
    }
    if (mp_path_is_plain(path)) {
        return true;
    }
    char *out = mp_guest_alloc(g, path.n + 1);
    bool odd;
    return out && mp_path_make_plain(path, out, &plain, &odd) && !odd &&
           mp_path_rules_match(rules, n, plain);
}

struct mp_str mp_path_without_query(struct mp_str path)
{
    const char *q = path.n > 0 ? memchr(path.p, '?', path.n) : NULL;
    return q ? mp_str(path.p, (size_t)(q - path.p)) : path;
}

bool mp_path_is_plain(struct mp_str path)
{
    char before = 0;
    for (size_t i = 0; i < path.n; i++) {
        char c = path.p[i];
        if (c == '%' || c == ';' || c == '\\' || (before == '/' && (c == '/' || c == '.'))) {
            return false;
        }
        before = c;
    }
    return true;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Resolves escapes, also those that resolving others brings about, in one walk: whenever what is
 * written ends with an escape, it is replaced by its character. Returns the length. */
static size_t unescape(struct mp_str path, char *out, bool *ret_nested)
{
    size_t k = 0, made = 0; /* out[0..made) has characters that come from escapes */
    *ret_nested = false;
    for (size_t i = 0; i < path.n; i++) {
        out[k++] = path.p[i];
        while (k >= 3 && out[k - 3] == '%' && hex(out[k - 2]) >= 0 && hex(out[k - 1]) >= 0) {
            *ret_nested |= made + 2 >= k;
            out[k - 3] = (char)(hex(out[k - 2]) << 4 | hex(out[k - 1]));
            k -= 2;
            made = k;
        }
    }
    return k;
}

/* Takes the segment without its ";parameters" over to out[0..n); false: that would climb above the
 * root. */
static bool put_segment(struct mp_str seg, char *out, size_t *n)
{
    const char *semi = seg.n > 0 ? memchr(seg.p, ';', seg.n) : NULL;
    seg.n = semi ? (size_t)(semi - seg.p) : seg.n;
    if (seg.n == 0 || mp_str_eq(seg, MP_STR("."))) {
        return true;
    }
    if (mp_str_eq(seg, MP_STR(".."))) {
        if (*n == 0) {
            return false;
        }
        do {
            --*n;
        } while (out[*n] != '/');
        return true;
    }
    out[(*n)++] = '/';
    memmove(out + *n, seg.p, seg.n);
    *n += seg.n;
    return true;
}

bool mp_path_make_plain(struct mp_str path, char *out, struct mp_str *ret, bool *ret_odd)
{
    size_t made = 0;
    if (path.n == 0 || path.p[0] != '/') {
        return false;
    }
    size_t n = unescape(path, out, ret_odd);
    for (size_t i = 0; i < n; i++) {
        out[i] = out[i] == '\\' ? '/' : out[i];
    }
    bool slash = n > 1 && out[n - 1] == '/';
    /* What is written never overtakes what is read: each segment brings its own slash. */
    for (size_t i = 1, end; i <= n; i = end + 1) {
        const char *p = memchr(out + i, '/', n - i);
        end = p ? (size_t)(p - out) : n;
        *ret_odd |= !put_segment(mp_str(out + i, end - i), out, &made);
    }
    if (slash || made == 0) {
        out[made++] = '/';
    }
    *ret = mp_str(out, made);
    return true;
}
