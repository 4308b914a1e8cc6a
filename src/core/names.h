/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Names to small stable numbers: routes name clusters by number, so that a route table need not
 * change when a cluster does. Numbers are never reused. Any control thread (a lock inside).
 */
#pragma once
#include <stdint.h>
#include "base/str.h"
struct mp_names;
struct mp_names *mp_names_new(void);
struct mp_names *mp_names_free(struct mp_names *n);
/* The number of a name, given out on first sight. */
uint32_t mp_names_id(struct mp_names *n, struct mp_str name);
uint32_t mp_names_count(struct mp_names *n);
