/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Compiled header additions and removals of a route, virtual host, table or weighted cluster. */
#pragma once
#include "base/diag.h"
#include "codec/hdr.h"
#include "conf/model.h"

struct mp_stream;
struct mp_header_ops;
/* NULL in *ret when there is nothing to do. */
MP_MUST_USE mp_err mp_header_ops_build(const struct mp_conf_header_ops *conf,
                                       struct mp_arena *arena, struct mp_diag *diag,
                                       const struct mp_header_ops **ret);
/* Removals first, then additions, as Envoy. LIMIT when the map or arena is full. */
MP_MUST_USE mp_err mp_header_ops_request(const struct mp_header_ops *ops, struct mp_stream *s,
                                         struct mp_hdrs *h);
MP_MUST_USE mp_err mp_header_ops_response(const struct mp_header_ops *ops, struct mp_stream *s,
                                          struct mp_hdrs *h);
