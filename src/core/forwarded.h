/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the connection manager adds to a request: x-forwarded-for, x-forwarded-proto, x-request-id,
 * via; and who the client is, after trusted hops. */
#pragma once
#include "base/err.h"
struct mp_stream;
/* LIMIT when the header map is full. */
MP_MUST_USE mp_err mp_forwarded_request(struct mp_stream *s);
