/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The configuration file, as the start and every reload read it. */
#pragma once
#include "base/diag.h"
#include "conf/model.h"

struct mp_conf_names;
struct mp_options;

/* Any thread. Everything that a person must know of a refusal is in diag. */
MP_MUST_USE mp_err mp_config_load(const struct mp_options *o, struct mp_diag *diag,
                                  struct mp_conf **ret);
/* For the broker: names is told of the files that are named, also when the file is refused. */
MP_MUST_USE mp_err mp_config_load_named(const struct mp_options *o,
                                        const struct mp_conf_names *names, struct mp_diag *diag,
                                        struct mp_conf **ret);
