/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "admin/access.h"

#include <stdlib.h>
#include <string.h>

#include "admin/admin.h"
#include "io/open.h"

#define FILE_MAX_BYTES ((size_t)64 * 1024)
#define TOKEN_MIN      16
#define TOKENS_MAX     256

struct mp_admin_access {
    uint32_t n;
    struct {
        struct mp_str token;
        bool reader;
    } v[TOKENS_MAX];
};

static mp_err add_token(struct mp_admin_access *a, struct mp_str token, bool reader,
                        const char *path, struct mp_arena *arena, struct mp_diag *diag)
{
    if (token.n < TOKEN_MIN) {
        return mp_diag_error(diag, MP_E_INVALID, 0, NULL, "use 16 characters or more",
                             "%s: a token is too short to be a secret", path);
    }
    if (a->n == TOKENS_MAX) {
        return mp_diag_error(diag, MP_E_LIMIT, 0, NULL, NULL, "%s: more than %d tokens", path,
                             TOKENS_MAX);
    }
    a->v[a->n].token = mp_arena_dup(arena, token);
    a->v[a->n++].reader = reader;
    return MP_OK;
}

static struct mp_str trimmed(struct mp_str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s = mp_str(s.p + 1, s.n - 1);
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t' || s.p[s.n - 1] == '\r')) {
        s.n--;
    }
    return s;
}

static mp_err read_tokens(struct mp_admin_access *a, struct mp_str path, bool reader,
                          struct mp_arena *arena, struct mp_diag *diag)
{
    struct mp_str text, line;
    int errnum = 0;
    uint32_t before = a->n;
    if (path.n == 0) {
        return MP_OK;
    }
    if (mp_is_err(mp_read_file(path.p, FILE_MAX_BYTES, &text, &errnum))) {
        return mp_diag_error(diag, MP_E_IO, 0, NULL, NULL, "admin tokens %s: %s", path.p,
                             strerror(errnum));
    }
    struct mp_str rest = text;
    mp_err err = MP_OK;
    while (!mp_is_err(err) && mp_str_split(&rest, '\n', &line)) {
        line = trimmed(line);
        if (line.n > 0 && line.p[0] != '#') {
            err = add_token(a, line, reader, path.p, arena, diag);
        }
    }
    explicit_bzero((char *)(uintptr_t)text.p, text.n);
    free((char *)(uintptr_t)text.p);
    if (!mp_is_err(err) && a->n == before) {
        return mp_diag_error(diag, MP_E_INVALID, 0, NULL, "write one token a line",
                             "admin tokens %s: there is none", path.p);
    }
    return err;
}

mp_err mp_admin_prepare(const struct mp_conf_admin *conf, struct mp_arena *arena,
                        struct mp_diag *diag, void **ret)
{
    *ret = NULL;
    if (conf->token_file.n + conf->read_token_file.n == 0) {
        return MP_OK;
    }
    struct mp_admin_access *a = mp_arena_zalloc(arena, sizeof(*a));
    if (a == NULL) {
        return MP_FAIL(LIMIT);
    }
    MP_TRY(read_tokens(a, conf->token_file, false, arena, diag));
    MP_TRY(read_tokens(a, conf->read_token_file, true, arena, diag));
    *ret = a;
    return MP_OK;
}

/* In a time that depends on the lengths alone. */
static bool same(struct mp_str a, struct mp_str b)
{
    volatile unsigned char diff = a.n != b.n;
    for (size_t i = 0; i < a.n; i++) {
        diff |= (unsigned char)(a.p[i] ^ (b.n > 0 ? b.p[i % b.n] : 0));
    }
    return diff == 0;
}

enum mp_admin_role mp_admin_role_of(const struct mp_admin_access *a, const struct mp_hdrs *hdrs)
{
    static const struct mp_str scheme = {"bearer ", 7};
    if (a == NULL) {
        return MP_ADMIN_OPERATOR;
    }
    const struct mp_hdr *h = mp_hdrs_find(hdrs, MP_STR("authorization"));
    struct mp_str given = h != NULL ? mp_hdr_value(h) : MP_STR("");
    if (given.n <= scheme.n || !mp_str_ieq(mp_str(given.p, scheme.n), scheme)) {
        return MP_ADMIN_NOBODY;
    }
    given = trimmed(mp_str(given.p + scheme.n, given.n - scheme.n));
    enum mp_admin_role role = MP_ADMIN_NOBODY;
    for (uint32_t i = 0; i < a->n; i++) { /* all of them, wherever the right one is */
        enum mp_admin_role this = a->v[i].reader ? MP_ADMIN_READER : MP_ADMIN_OPERATOR;
        role = same(given, a->v[i].token) && this > role ? this : role;
    }
    return role;
}
