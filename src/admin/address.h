/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the pages about listeners and clusters share. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "admin/page.h"
#include "base/str.h"

/* "1.2.3.4:80", "[::1]:80", path. */
void mp_admin_add_address_text(struct mp_sb *out, struct mp_str host, uint16_t port, bool is_unix);
/* {"socket_address": {...}} or {"pipe": {...}} */
void mp_admin_add_address_json(struct mp_sb *out, struct mp_str host, uint16_t port, bool is_unix);
/* ?format=json; false: the call has been answered 400. */
bool mp_admin_wants_json(struct mp_admin_call *call, bool *ret_json);
