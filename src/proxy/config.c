/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "proxy/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf/load.h"
#include "filters/registry.h"
#include "io/open.h"
#include "proxy/options.h"
#include "proxy/parts.h"

#define CONFIG_BYTES_MAX (64 << 20)

/* With what we are already granted; the broker's files as well. */
static int read_whole(const char *path, size_t max, struct mp_str *ret)
{
    int err = 0;
    mp_err e = mp_read_file(path, max, ret, &err);
    return !mp_is_err(e) ? 0 : err != 0 ? -err : -EIO;
}

static const struct mp_conf_files files = {.read = read_whole, .glob = mp_glob};

mp_err mp_config_load(const struct mp_options *o, struct mp_diag *diag, struct mp_conf **ret)
{
    const struct mp_conf_names names = {.named = mp_parts_name};
    mp_broker_refresh();
    mp_parts_begin();
    mp_err err = mp_config_load_named(o, &names, diag, ret);
    mp_parts_end();
    return err;
}

mp_err mp_config_load_named(const struct mp_options *o, const struct mp_conf_names *names,
                            struct mp_diag *diag, struct mp_conf **ret)
{
    struct mp_str text;
    int err = 0;
    mp_err e = mp_read_file(o->config, CONFIG_BYTES_MAX, &text, &err);
    if (mp_is_err(e)) {
        mp_diag_set_file(diag, o->config);
        return mp_diag_error(diag, (enum mp_err_code)e.code, 0, NULL,
                             "check the path and its permissions", "cannot read: %s",
                             err != 0 ? strerror(err) : mp_err_text(e));
    }
    const struct mp_conf_load_opts lo = {.registry = &mp_filters_registry,
                                         .allow_unsupported = o->allow_unsupported,
                                         .getenv = (const char *(*)(const char *))getenv,
                                         .files = &files,
                                         .names = names};
    e = mp_conf_load_text(text, o->config, &lo, diag, ret);
    char *own = (char *)(uintptr_t)text.p;
    explicit_bzero(own, text.n); /* secrets of filters may stand in it */
    free(own);
    if (!mp_is_err(e)) {
        e = mp_conf_xdp_environment(*ret, diag, getenv("XDP_INTERFACE"), getenv("XDP_MODE"));
        if (mp_is_err(e)) {
            mp_conf_free(*ret);
            return e;
        }
        if (o->on_exit != NULL && (*ret)->xdp != NULL) {
            (*ret)->xdp->keep_on_exit = strcmp(o->on_exit, "keep") == 0;
        }
    }
    return e;
}
