/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* From the model to compiled objects (builder thread). Unchanged objects of the running snapshot
 * are taken over. */
#pragma once
#include "base/diag.h"
#include "core/engine.h"

/* old may be NULL; it is taken over when its source is the same. The object keeps the part of the
 * model that it is made from, and nothing else of the model. */
MP_MUST_USE mp_err mp_core_build_listener(struct mp_engine *e, const struct mp_conf_listener *conf,
                                          struct mp_listener_conf *old, struct mp_diag *diag,
                                          struct mp_listener_conf **ret);
MP_MUST_USE mp_err mp_core_build_cluster(struct mp_engine *e, const struct mp_conf_cluster *conf,
                                         struct mp_cluster *old, struct mp_diag *diag,
                                         struct mp_cluster **ret);
MP_MUST_USE mp_err mp_core_build_endpoints(struct mp_engine *e, struct mp_cluster_shared *shared,
                                           const struct mp_conf_cluster *conf, struct mp_diag *diag,
                                           struct mp_endpoint_set **ret);
/* The rest of an endpoint whose address and hostname are known. */
struct mp_endpoint;
void mp_endpoint_fill(struct mp_engine *e, struct mp_cluster_shared *c,
                      const struct mp_conf_endpoint *conf, struct mp_endpoint *ret);
/* old may be NULL; it is taken over when its content is the same. The context keeps conf, which
 * must lie in a part that outlives it. */
MP_MUST_USE mp_err mp_core_build_tls(struct mp_engine *e, const struct mp_conf_tls *conf,
                                     struct mp_diag *diag, struct mp_tls_ctx **ret);
/* The listeners of the admin server. */
MP_MUST_USE mp_err mp_core_build_admins(struct mp_engine *e, const struct mp_snapshot *base,
                                        struct mp_snapshot *s, struct mp_diag *diag);
/* The same message as before? */
static inline bool mp_core_same_source(const struct mp_conf_source *a,
                                       const struct mp_conf_source *b)
{
    return a->hash == b->hash && a->packed.n > 0 && mp_str_eq(a->packed, b->packed);
}
struct mp_cluster_shared *mp_cluster_shared_get(struct mp_engine *e, struct mp_str name);
