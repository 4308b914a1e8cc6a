/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "admin/query.h"

#include <stdlib.h>

#include "base/mem.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes s to *out and moves it on; false when malformed. */
static bool decode(struct mp_str s, bool form, char **out, struct mp_str *ret)
{
    char *p = *out;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '+' && form) {
            c = ' ';
        }
        if (c == '%') {
            int high = s.n - i > 2 ? hex(s.p[i + 1]) : -1;
            int low = s.n - i > 2 ? hex(s.p[i + 2]) : -1;
            if (high < 0 || low < 0 || (high | low) == 0) {
                return false;
            }
            c = (char)(high << 4 | low);
            i += 2;
        }
        *p++ = c;
    }
    *ret = mp_str(*out, (size_t)(p - *out));
    *out = p;
    return true;
}

static mp_err parse_pair(struct mp_str pair, bool form, char **out, struct mp_admin_query *q)
{
    if (pair.n == 0) {
        return MP_OK; /* "a&&b" */
    }
    if (q->n == MP_ADMIN_PARAMS_MAX) {
        return MP_FAIL(LIMIT);
    }
    ptrdiff_t eq = mp_str_chr(pair, '=', 0);
    struct mp_str name = eq < 0 ? pair : mp_str(pair.p, (size_t)eq);
    struct mp_str value = eq < 0 ? MP_STR("") : mp_str(pair.p + eq + 1, pair.n - (size_t)eq - 1);
    if (!decode(name, form, out, &q->v[q->n].name) ||
        !decode(value, form, out, &q->v[q->n].value)) {
        return MP_FAIL(INVALID);
    }
    q->n++;
    return MP_OK;
}

mp_err mp_admin_query_parse(struct mp_str text, bool form, struct mp_admin_query *ret)
{
    struct mp_admin_query q = {.text = mp_xmalloc(text.n + 1)}; /* decoding never lengthens */
    char *out = q.text;
    struct mp_str rest = text, pair;
    mp_err err = MP_OK;
    while (!mp_is_err(err) && mp_str_split(&rest, '&', &pair)) {
        err = parse_pair(pair, form, &out, &q);
    }
    if (mp_is_err(err)) {
        free(q.text);
        return err;
    }
    *ret = q;
    return MP_OK;
}

void mp_admin_query_fini(struct mp_admin_query *q)
{
    free(q->text);
    *q = (struct mp_admin_query){.n = 0};
}

const struct mp_str *mp_admin_query_get(const struct mp_admin_query *q, struct mp_str name)
{
    for (uint32_t i = 0; i < q->n; i++) {
        if (mp_str_eq(q->v[i].name, name)) {
            return &q->v[i].value;
        }
    }
    return NULL;
}
