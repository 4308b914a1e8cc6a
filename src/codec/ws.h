/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The key and its answer in WebSocket's HTTP/1 handshake (RFC 6455 1.3), for when the other side
 * speaks HTTP/2, where there is none (RFC 8441 5). Frames are not looked at. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/str.h"

#define MP_WS_KEY_N    24
#define MP_WS_ACCEPT_N 28
/* A longer key is no key. */
#define MP_WS_KEY_MAX 128

/* Sec-WebSocket-Key of 16 random bytes. */
void mp_ws_key(const uint8_t random[16], char ret[MP_WS_KEY_N]);
/* Sec-WebSocket-Accept. False: the key is too long. */
bool mp_ws_accept(struct mp_str key, char ret[MP_WS_ACCEPT_N]);
