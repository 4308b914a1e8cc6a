/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The terminal filter of the admin server's chain: from a request to a call of a page, from its
 * answer to a response. */
#pragma once
#include "core/filter.h"

struct mp_engine;

#define MP_ADMIN_REQUEST_BODY_MAX (64 * 1024)

struct mp_admin_conf {
    struct mp_engine *engine; /* NULL: not bound yet */
    bool metrics_only;        /* of the second address */
};
extern const struct mp_filter_type mp_filter_admin;
