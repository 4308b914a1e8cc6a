/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What a simple file is made of besides itself: files that it includes, files that hold secrets,
 * and environment variables. This folder opens nothing: who loads gives the functions.
 */
#pragma once
#include <stddef.h>
#include "base/diag.h"
#include "base/str.h"

struct mp_conf_load_opts;
struct mp_yaml;

struct mp_conf_files {
    /* *ret is malloc'ed. Returns 0 or a negative errno. */
    int (*read)(const char *path, size_t max, struct mp_str *ret);
    /* Paths that match, sorted, each with its NUL, *ret_n bytes in all; malloc'ed. Returns 0 or a
     * negative errno. */
    int (*glob)(const char *pattern, char **ret_paths, size_t *ret_n);
};

#define MP_CONF_INCLUDES_MAX  255 /* files */
#define MP_CONF_INCLUDE_DEPTH 8
#define MP_CONF_SECRET_MAX    (64 * 1024)

/* The documents whose nodes hang in the tree. */
struct mp_conf_included {
    struct mp_yaml *v[MP_CONF_INCLUDES_MAX];
    size_t n;
};
/* Puts variables and file contents into y, and the files that y includes below its root. file: the
 * path of y. ret is to be freed after y is no longer used, on failure as well. */
MP_MUST_USE mp_err mp_conf_include(struct mp_yaml *y, const char *file,
                                   const struct mp_conf_load_opts *opts, struct mp_diag *diag,
                                   struct mp_conf_included *ret);
void mp_conf_included_fini(struct mp_conf_included *inc);
/* "folder/name", or name when it is absolute; folder: that of the file. free() it. */
char *mp_conf_beside(const char *file, struct mp_str name);
