/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Paths as filters see them (filters/path.h): the plain form hides nothing, and is its own plain
 * form. */
#include <stdio.h>
#include <stdlib.h>

#include "filters/guest.h"
#include "filters/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define FUZZ_CHECK(c)                                                              \
    do {                                                                           \
        if (!(c)) {                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #c); \
            abort();                                                               \
        }                                                                          \
    } while (0)

/* Streams and configurations are no part of this. */
struct mp_str mp_guest_path(const struct mp_guest *g)
{
    (void)g;
    abort();
}
void *mp_guest_alloc(struct mp_guest *g, size_t n)
{
    (void)g, (void)n;
    abort();
}
void *mp_guest_setup_alloc(struct mp_guest_setup *s, size_t n)
{
    (void)s, (void)n;
    abort();
}
struct mp_str mp_guest_setup_dup(struct mp_guest_setup *s, struct mp_str text)
{
    (void)s, (void)text;
    abort();
}
void mp_guest_refuse(struct mp_guest_setup *s, const char *field, const char *cure,
                     const char *cause_fmt, ...)
{
    (void)s, (void)field, (void)cure, (void)cause_fmt;
    abort();
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static void check_hides_nothing(struct mp_str s)
{
    FUZZ_CHECK(s.n > 0 && s.p[0] == '/');
    for (size_t i = 0; i < s.n; i++) {
        FUZZ_CHECK(s.p[i] != '\\' && s.p[i] != ';');
        FUZZ_CHECK(!(s.p[i] == '%' && s.n - i > 2 && is_hex(s.p[i + 1]) && is_hex(s.p[i + 2])));
        if (s.p[i] != '/') {
            continue;
        }
        struct mp_str rest = mp_str(s.p + i, s.n - i);
        FUZZ_CHECK(!mp_str_starts(rest, MP_STR("//")));
        FUZZ_CHECK(!mp_str_starts(rest, MP_STR("/./")) && !mp_str_eq(rest, MP_STR("/.")));
        FUZZ_CHECK(!mp_str_starts(rest, MP_STR("/../")) && !mp_str_eq(rest, MP_STR("/..")));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *path = malloc(n + 1), *out = malloc(n + 1), *again = malloc(n + 2);
    struct mp_str whole, once, twice;
    bool odd, odd_again;
    FUZZ_CHECK(path && out && again);
    if (n > 0) {
        memcpy(path, data, n);
    }
    whole = mp_path_without_query(mp_str(path, n));
    FUZZ_CHECK(whole.n <= n);
    bool ok = mp_path_make_plain(whole, out, &once, &odd);
    FUZZ_CHECK(ok == (whole.n > 0 && whole.p[0] == '/'));
    if (ok) {
        FUZZ_CHECK(once.p == out && once.n <= whole.n + 1);
        check_hides_nothing(once);
        FUZZ_CHECK(mp_path_make_plain(once, again, &twice, &odd_again));
        FUZZ_CHECK(!odd_again && mp_str_eq(once, twice));
        FUZZ_CHECK(mp_path_is_plain(once) || mp_str_find(once, MP_STR("%")) >= 0 ||
                   mp_str_find(once, MP_STR("/.")) >= 0);
        if (mp_path_is_plain(whole)) {
            FUZZ_CHECK(!odd && mp_str_eq(once, whole));
        }
    }
    free(path);
    free(out);
    free(again);
    return 0;
}
