/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The router: the terminal filter of ordinary chains. Chooses what the route says (cluster,
 * redirect, direct response), sends the request upstream and the response back.
 */
#pragma once
#include <stdbool.h>
#include "conf/registry.h"
#include "core/filter.h"

struct mp_router_conf {
    bool suppress_envoy_headers; /* x-envoy-* fields are not added */
};
extern const struct mp_filter_type mp_filter_router;
