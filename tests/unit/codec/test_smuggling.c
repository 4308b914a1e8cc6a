/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Each vector of tests/data/smuggling.json gives the reason that it names: at once, cut in two at
 * every place, and byte by byte. Every reason of h1_reason.def is met. */
#include "unit/codec/codec_help.h"
#include "unit/codec/vectors.h"
#include "unit/t.h"

static struct vector *vectors;
static size_t n_vectors;
static bool reached[MP_H1_STATUS_COUNT];

static bool check_head(const struct vector *v, enum help_kind kind)
{
    struct parsed whole, part;
    help_parse(&whole, kind, v->bytes, v->n);
    reached[whole.st] = true;
    bool ok = strcmp(mp_h1_status_name(whole.st), v->expect) == 0;
    if (!ok) {
        printf("# %s: %s, expected %s\n", v->name, mp_h1_status_name(whole.st), v->expect);
    }
    /* Long ones are cut at some places only. */
    size_t stride = v->n > 4096 ? v->n / 64 : 1;
    for (size_t cut = 1; ok && cut < v->n; cut += stride) {
        help_feed(&part, kind, v->bytes, v->n, cut, 0, &help_limits, MP_METHOD_GET);
        ok = help_same(&whole, &part, kind);
        if (!ok) {
            printf("# %s: %s when cut at %zu\n", v->name, mp_h1_status_name(part.st), cut);
        }
        help_free(&part);
    }
    for (size_t step = 1; ok && step < 40; step += 6) {
        help_feed(&part, kind, v->bytes, v->n, 0, step * stride, &help_limits, MP_METHOD_GET);
        ok = help_same(&whole, &part, kind);
        if (!ok) {
            printf("# %s: %s in pieces of %zu\n", v->name, mp_h1_status_name(part.st), step);
        }
        help_free(&part);
    }
    help_free(&whole);
    return ok;
}

static bool check_body(const struct vector *v)
{
    char *whole = malloc(v->n + 1), *part = malloc(v->n + 1);
    size_t whole_n, part_n, used = 0, part_used = 0;
    enum mp_h1_status st = help_body(v->bytes, v->n, 0, whole, &whole_n, &used);
    reached[st] = true;
    bool ok = strcmp(mp_h1_status_name(st), v->expect) == 0;
    if (!ok) {
        printf("# %s: %s, expected %s\n", v->name, mp_h1_status_name(st), v->expect);
    }
    for (size_t step = 1; ok && step < 64 && step < v->n; step++) {
        enum mp_h1_status s = help_body(v->bytes, v->n, step, part, &part_n, &part_used);
        ok = s == st && part_n == whole_n && memcmp(part, whole, part_n) == 0 &&
             (st != MP_H1_OK || used == part_used);
        if (!ok) {
            printf("# %s: %s in pieces of %zu\n", v->name, mp_h1_status_name(s), step);
        }
    }
    free(whole);
    free(part);
    return ok;
}

static void check_kind(const char *kind, size_t least)
{
    size_t n = 0, failed = 0;
    for (size_t i = 0; i < n_vectors; i++) {
        const struct vector *v = &vectors[i];
        if (strcmp(v->kind, kind) != 0) {
            continue;
        }
        n++;
        if (strcmp(kind, "body") == 0) {
            failed += !check_body(v);
        } else {
            failed += !check_head(v, strcmp(kind, "request") == 0 ? HELP_REQUEST : HELP_RESPONSE);
        }
    }
    T_EQ(failed, 0);
    T_OK(n >= least);
}

static void test_requests(void)
{
    check_kind("request", 400);
}

static void test_responses(void)
{
    check_kind("response", 60);
}

static void test_bodies(void)
{
    check_kind("body", 90);
}

static void test_every_kind_is_known(void)
{
    for (size_t i = 0; i < n_vectors; i++) {
        const char *k = vectors[i].kind;
        T_OK(strcmp(k, "request") == 0 || strcmp(k, "response") == 0 || strcmp(k, "body") == 0);
    }
}

static void test_every_reason_is_reached(void)
{
    int missing = 0;
    for (int s = 0; s < MP_H1_STATUS_COUNT; s++) {
        if (!reached[s]) {
            printf("# no vector gives %s\n", mp_h1_status_name((enum mp_h1_status)s));
            missing++;
        }
    }
    /* Only a request that never ends is "more"; heads that are cut are tested elsewhere. */
    T_EQ(missing, 0);
}

int main(int argc, char **argv)
{
    json_t *root;
    if (argc != 2) {
        fprintf(stderr, "usage: test_smuggling smuggling.json\n");
        return 2;
    }
    vectors = vectors_load(argv[1], &n_vectors, &root);
    T_RUN(test_requests);
    T_RUN(test_responses);
    T_RUN(test_bodies);
    T_RUN(test_every_kind_is_known);
    T_RUN(test_every_reason_is_reached);
    vectors_free(vectors, n_vectors, root);
    return T_DONE();
}
