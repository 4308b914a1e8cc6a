/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "filters/registry.h"

#include <stddef.h>

#include "core/filter.h"
#include "filters/http/grpc_web.h"
#include "filters/http/health_check.h"

static const struct mp_conf_filter_type *const http_filters[] = {
    &mp_conf_filter_health_check,
    &mp_conf_filter_auth,
    &mp_conf_filter_license,
    &mp_conf_filter_metrics,
    &mp_conf_filter_grpc_web,
    &mp_conf_filter_router,
    NULL,
};

const struct mp_conf_registry mp_filters_registry = {
    .http_filters = http_filters,
    .check_format = mp_subst_check,
};
