/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* All filters of the product, in one greppable table. */
#pragma once
#include "conf/registry.h"

extern const struct mp_conf_registry mp_filters_registry;

extern const struct mp_conf_filter_type mp_conf_filter_auth, mp_conf_filter_license,
    mp_conf_filter_metrics;
