/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Strict decoders (RFC 4648): no blanks, no line ends, and only the one canonical spelling of any
 * bytes, so that a text that is compared or cached cannot be written in a second way.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/str.h"

/* Room that decoding n characters needs. */
#define MP_BASE64_ROOM(n) ((n) / 4 * 3 + 3)

/* Alphabet with '-' and '_', without padding (RFC 7515 2). False when malformed. */
bool mp_base64url_decode(struct mp_str in, uint8_t *out, size_t *ret_n);
/* Alphabet with '+' and '/', with padding. */
bool mp_base64_decode(struct mp_str in, uint8_t *out, size_t *ret_n);
