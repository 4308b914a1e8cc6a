/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The front doors: a file in one of two forms becomes a model. Everything that a person must know
 * is in diag; on failure nothing else remains.
 */
#pragma once
#include <stdbool.h>
#include "base/diag.h"
#include "conf/files.h"
#include "conf/model.h"
#include "conf/named.h"
#include "conf/registry.h"

struct mp_conf_load_opts {
    const struct mp_conf_registry *registry;
    bool allow_unsupported; /* what we do not act on is a warning instead of an error */
    const char *(*getenv)(const char *name); /* for ${VAR} in march.yaml; NULL: none */
    const struct mp_conf_files *files;       /* for include: and ${file:}; NULL: none */
    const struct mp_conf_names *names;       /* told of the files that are named; NULL: nobody */
    /* Other files that the configuration names (certificates); NULL: none. The text is malloc'ed.
     */
    mp_err (*read_file)(const char *path, size_t max, struct mp_str *ret, int *ret_errno);
};

/* text: the file's content. The form is recognised: an Envoy bootstrap has static_resources,
 * dynamic_resources, node or admin.address at the top; a simple file has services, routes or
 * listen. YAML or JSON (a subset of YAML). */
MP_MUST_USE mp_err mp_conf_load_text(struct mp_str text, const char *file,
                                     const struct mp_conf_load_opts *opts, struct mp_diag *diag,
                                     struct mp_conf **ret);
/* XDP_INTERFACE and XDP_MODE, where the file names no interface. */
MP_MUST_USE mp_err mp_conf_xdp_environment(struct mp_conf *conf, struct mp_diag *diag,
                                           const char *interface, const char *mode);
