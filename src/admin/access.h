/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Who may use the admin server: bearer tokens from files, some of which may only read. */
#pragma once
#include <stdbool.h>
#include "base/str.h"
#include "codec/hdr.h"

struct mp_admin_access; /* in the configuration's arena, which is wiped */

enum mp_admin_role { MP_ADMIN_NOBODY, MP_ADMIN_READER, MP_ADMIN_OPERATOR };
/* NULL: there are no tokens, everybody is an operator. */
enum mp_admin_role mp_admin_role_of(const struct mp_admin_access *a, const struct mp_hdrs *hdrs);
