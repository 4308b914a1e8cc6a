/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Answers health checks of load balancers in front of the proxy: 200 while it serves, 503 while it
 * drains. */
#pragma once
#include "conf/registry.h"

extern const struct mp_conf_filter_type mp_conf_filter_health_check;
