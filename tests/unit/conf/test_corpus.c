/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The files under tests/data/conf: what must load, silently, and what must be refused with the
 * words in the .txt file beside it. argv: the folder, then optionally "-w" to write the .txt files
 * anew.
 */
#include <dirent.h>

#include "conf_test.h"
#include "t.h"

static const char *root;
static bool rewrite;

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_document(const struct dirent *d)
{
    struct mp_str s = mp_str_c(d->d_name);
    return mp_str_ends(s, MP_STR(".yaml")) || mp_str_ends(s, MP_STR(".json"));
}

/* Calls check for every document of a folder; false when one failed or there is none. */
static bool each(const char *folder, bool (*check)(const char *path, const char *text))
{
    char dir[512];
    struct dirent **list;
    bool ok = true;
    snprintf(dir, sizeof(dir), "%s/%s", root, folder);
    int n = scandir(dir, &list, is_document, by_name);
    for (int i = 0; i < n; i++) {
        char path[1024];
        snprintf(path, sizeof(path), "%s/%s", dir, list[i]->d_name);
        char *text = ct_read(path);
        if (!text || !check(path, text)) {
            printf("# %s: failed\n", path);
            ok = false;
        }
        free(text);
        free(list[i]);
    }
    if (n > 0) {
        free(list);
    }
    printf("# %s: %d files\n", dir, n);
    return ok && n > 0;
}

static bool loads(const char *path, const char *text)
{
    char *said;
    struct mp_conf *c = ct_load(text, false, &said);
    bool ok = c && said[0] == '\0';
    if (!ok) {
        printf("# %s\n", said);
    }
    mp_conf_free(c);
    free(said);
    return ok;
}

static bool is_refused(const char *path, const char *text)
{
    char name[1100], *said;
    struct mp_conf *c = ct_load(text, false, &said);
    snprintf(name, sizeof(name), "%.*s.txt", (int)(strlen(path) - 5), path);
    if (rewrite) {
        FILE *f = fopen(name, "w");
        bool ok = f && fputs(said, f) >= 0;
        ok = f && fclose(f) == 0 && ok;
        free(said);
        return ok && !c;
    }
    char *want = ct_read(name);
    bool ok = !c && want && strcmp(want, said) == 0;
    if (!ok) {
        printf("# said:\n%s# expected:\n%s", said, want ? want : "(no file)\n");
    }
    mp_conf_free(c);
    free(want);
    free(said);
    return ok;
}

/* With what is not supported allowed, nothing may crash or leak, whatever the outcome. */
static bool survives_allow(const char *path, const char *text)
{
    char *said;
    mp_conf_free(ct_load(text, true, &said));
    free(said);
    return true;
}

/* Every prefix of a document. */
static bool survives_cut(const char *path, const char *text)
{
    size_t n = strlen(text);
    char *copy = mp_str_dup_c(mp_str_c(text)), *said;
    for (size_t i = n; i > 0; i -= MP_MIN(i, n / 40 + 1)) {
        copy[i] = '\0';
        mp_conf_free(ct_load(copy, false, &said));
        free(said);
    }
    free(copy);
    return true;
}

/* message -> JSON -> message -> JSON */
static bool round_trip(const char *path, const char *text)
{
    struct mp_diag diag;
    struct mp_arena arena;
    struct mp_sb one, two;
    struct mp_yaml *y1 = NULL, *y2 = NULL;
    ProtobufCMessage *m1, *m2;
    struct mp_pb_read_opts opts = {0};
    const ProtobufCMessageDescriptor *d =
        mp_pb_find_type(MP_STR("envoy.config.bootstrap.v3.Bootstrap"));
    mp_diag_init(&diag, path);
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 65536, SIZE_MAX);
    mp_sb_init(&one, 1 << 20);
    mp_sb_init(&two, 1 << 20);
    bool ok = !mp_is_err(mp_yaml_parse(mp_str_c(text), &diag, &y1)) &&
              !mp_is_err(mp_pb_from_yaml(y1, NULL, d, &opts, &arena, &diag, &m1));
    if (ok) {
        mp_pb_to_json(m1, strlen(path) % 3, &one);
        ok = !mp_is_err(mp_yaml_parse(mp_sb_str(&one), &diag, &y2)) &&
             !mp_is_err(mp_pb_from_yaml(y2, NULL, d, &opts, &arena, &diag, &m2));
    }
    if (ok) {
        struct mp_str p1 = mp_pb_pack(m1, &arena), p2 = mp_pb_pack(m2, &arena);
        ProtobufCMessage *m3;
        ok = mp_str_eq(p1, p2) && !mp_is_err(mp_pb_unpack(d, p1, &opts, NULL, &arena, &diag, &m3));
        if (ok) {
            mp_pb_to_json(m3, strlen(path) % 3, &two);
            ok = mp_str_eq(mp_sb_str(&one), mp_sb_str(&two));
        }
    }
    struct mp_sb said;
    mp_sb_init(&said, 65536);
    mp_diag_format(&diag, &said);
    if (!ok) {
        printf("# %s\n%s\n", said.p, one.p ? one.p : "");
    }
    mp_sb_fini(&said);
    mp_yaml_free(y1);
    mp_yaml_free(y2);
    mp_sb_fini(&one);
    mp_sb_fini(&two);
    mp_arena_fini(&arena);
    mp_diag_fini(&diag);
    return ok;
}

static void test_envoy_loads(void)
{
    T_OK(each("envoy", loads));
}

static void test_march_loads(void)
{
    T_OK(each("march", loads));
}

/* Filters are not this layer's: tests/e2e/test_docs.py has those examples. */
static bool loads_example(const char *path, const char *text)
{
    return strstr(text, "\nfilters:") != NULL || loads(path, text);
}

static void test_examples_load(void)
{
    T_OK(each("../../../examples", loads_example));
}

static void test_bad_are_refused(void)
{
    T_OK(each("bad", is_refused));
}

static void test_allow_unsupported_survives(void)
{
    T_OK(each("bad", survives_allow));
}

static void test_cut_documents_survive(void)
{
    T_OK(each("envoy", survives_cut));
    T_OK(each("march", survives_cut));
    T_OK(each("bad", survives_cut));
}

static void test_envoy_round_trip(void)
{
    T_OK(each("envoy", round_trip));
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        return 2;
    }
    root = argv[1];
    rewrite = argc > 2 && strcmp(argv[2], "-w") == 0;
    mp_hash_set_key(1, 2);
    T_RUN(test_envoy_loads);
    T_RUN(test_march_loads);
    T_RUN(test_examples_load);
    T_RUN(test_bad_are_refused);
    T_RUN(test_allow_unsupported_survives);
    T_RUN(test_cut_documents_survive);
    T_RUN(test_envoy_round_trip);
    return T_DONE();
}
