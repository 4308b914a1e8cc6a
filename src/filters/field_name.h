/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Names of header fields that are ours to set. */
#pragma once
#include <stdbool.h>

/* Of lower-case names: a letter or digit. Anything else may be a separator to somebody. */
static inline bool mp_field_name_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
