/* SPDX-License-Identifier: AGPL-3.0-or-later */
#pragma once
#include "base/str.h"

/* s as text or as a quoted attribute's value. */
void mp_admin_add_html(struct mp_sb *out, struct mp_str s);
