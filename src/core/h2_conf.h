/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* From the model's HTTP/2 options to the session's. */
#pragma once
#include "codec/h2_session.h"
#include "conf/model.h"

void mp_h2_conf_set(struct mp_h2_conf *ret, const struct mp_conf_http2 *c, bool server);
/* Output that may wait for a socket; the rest waits in the streams. */
#define MP_H2_BACKLOG_MAX (64 * 1024)
