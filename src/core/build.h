/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* From the model to compiled objects (builder thread). Unchanged objects of the running snapshot are taken over. */
#pragma once
#include "base/diag.h"
#include "core/engine.h"

/* old may be NULL. */
MP_MUST_USE mp_err mp_core_build_listener(struct mp_engine *e, const struct mp_conf_listener *conf,
                                     struct mp_conf_holder *holder, struct mp_listener_conf *old,
                                     struct mp_diag *diag, struct mp_listener_conf **ret);
MP_MUST_USE mp_err mp_core_build_cluster(struct mp_engine *e, const struct mp_conf_cluster *conf,
                                    struct mp_conf_holder *holder, struct mp_cluster *old, struct mp_diag *diag,
                                    struct mp_cluster **ret);
MP_MUST_USE mp_err mp_core_build_endpoints(const struct mp_conf_cluster *conf, struct mp_diag *diag,
                                      struct mp_endpoint_set **ret);
struct mp_cluster_shared *mp_cluster_shared_get(struct mp_engine *e, struct mp_str name);
