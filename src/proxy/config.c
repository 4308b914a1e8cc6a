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

/* The ids of a process cannot be another's after the start. */
static void check_user(const struct mp_conf *c, struct mp_diag *diag)
{
    static char *user, *group; /* of the first reading; readings follow each other */
    const struct {
        const char *key;
        char **first;
        struct mp_str now;
    } v[] = {{"user", &user, c->user}, {"group", &group, c->group}};
    for (size_t i = 0; i < MP_COUNTOF(v); i++) {
        if (*v[i].first == NULL) {
            *v[i].first = mp_str_dup_c(v[i].now);
        } else if (!mp_str_eq(mp_str_c(*v[i].first), v[i].now)) {
            mp_diag_warn(diag, 0, v[i].key, "restart the proxy", "takes effect at the start only");
        }
    }
}

mp_err mp_config_load(const struct mp_options *o, struct mp_diag *diag, struct mp_conf **ret)
{
    const struct mp_conf_names names = {.named = mp_parts_name};
    mp_broker_refresh();
    mp_parts_begin();
    mp_err err = mp_config_load_named(o, &names, diag, ret);
    mp_parts_end();
    if (!mp_is_err(err)) {
        check_user(*ret, diag);
    }
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
                                         .read_file = mp_read_file,
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
