/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* x-forwarded-client-cert: what the upstream learns of the client's certificate. */
#pragma once
#include "base/err.h"

struct mp_stream;
/* Called when the field is there, or the manager wants to set it. */
MP_MUST_USE mp_err mp_xfcc_request(struct mp_stream *s);
