/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Reads tests/data/smuggling.json: a list of {name, kind, bytes, expect}. */
#pragma once
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct vector {
    char *name;
    const char *kind, *expect;
    char *bytes;
    size_t n;
};

/* The string holds one character, U+0000 to U+00FF, for each byte. */
static inline size_t latin1(const char *utf8, size_t n, char *out)
{
    size_t w = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)utf8[i];
        if (c < 0x80) {
            out[w++] = (char)c;
        } else if ((c == 0xc2 || c == 0xc3) && i + 1 < n) {
            out[w++] = (char)((c & 3) << 6 | ((unsigned char)utf8[++i] & 0x3f));
        } else {
            fprintf(stderr, "a character above U+00FF\n");
            exit(1);
        }
    }
    return w;
}

/* The list lives until the program ends; *ret_n is its length. Exits when the file is no good. */
static inline struct vector *vectors_load(const char *path, size_t *ret_n, json_t **ret_root)
{
    json_error_t err;
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, &err);
    if (!json_is_array(root) || json_array_size(root) == 0) {
        fprintf(stderr, "%s:%d: %s\n", path, err.line, err.text);
        exit(1);
    }
    size_t n = json_array_size(root);
    struct vector *v = calloc(n, sizeof(*v));
    if (v == NULL) {
        abort();
    }
    for (size_t i = 0; i < n; i++) {
        char *name, *bytes;
        size_t bytes_n;
        if (json_unpack_ex(json_array_get(root, i), &err, 0, "{s:s,s:s,s:s,s:s%}", "name", &name,
                           "kind", &v[i].kind, "expect", &v[i].expect, "bytes", &bytes,
                           &bytes_n) != 0) {
            fprintf(stderr, "%s: item %zu: %s\n", path, i, err.text);
            exit(1);
        }
        v[i].name = name;
        v[i].bytes = malloc(bytes_n + 1);
        if (v[i].bytes == NULL) {
            abort();
        }
        v[i].n = latin1(bytes, bytes_n, v[i].bytes);
    }
    *ret_n = n;
    *ret_root = root;
    return v;
}

static inline void vectors_free(struct vector *v, size_t n, json_t *root)
{
    for (size_t i = 0; i < n; i++) {
        free(v[i].bytes);
    }
    free(v);
    json_decref(root);
}
