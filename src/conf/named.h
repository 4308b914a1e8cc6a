/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The files that a configuration names, found by the keys that hold paths. The privileged broker
 * opens these and no others. A new field that holds a path ends in "_file" or "_log_path", is
 * called "filename", or is added to the table in named.c. */
#pragma once
#include "base/str.h"

struct mp_yaml_node;
enum mp_conf_named_kind { MP_NAMED_READ, MP_NAMED_APPEND, MP_NAMED_GLOB };
struct mp_conf_names {
    void (*named)(void *arg, struct mp_str path, enum mp_conf_named_kind kind);
    void *arg;
};
/* names NULL: does nothing. */
void mp_conf_find_names(const struct mp_yaml_node *root, const struct mp_conf_names *names);
