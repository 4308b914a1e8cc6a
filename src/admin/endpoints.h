/* SPDX-License-Identifier: AGPL-3.0-or-later */
#pragma once
#include "admin/hosts.h"
#include "base/arena.h"
#include "base/str.h"

/* A serialised envoy.config.endpoint.v3.ClusterLoadAssignment with the hosts of the list, one
 * locality for each priority; in the arena. */
struct mp_str mp_admin_pack_endpoints(struct mp_str cluster, const struct mp_admin_host *first,
                                      struct mp_arena *arena);
