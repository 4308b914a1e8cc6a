/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Keeps web pages away from the admin server. It listens on loopback by default, but so does every
 * browser: a page of any site may post to http://127.0.0.1:9901, and a name whose owner lets it
 * resolve to 127.0.0.1 makes the admin server part of that site (DNS rebinding), readable like the
 * site itself.
 */
#pragma once
#include <stdbool.h>
#include "base/str.h"
#include "codec/hdr.h"
#include "conf/model.h"

/* A rebound name can only lead here: then Host must be an IP address or localhost. */
bool mp_admin_is_loopback(const struct mp_conf_addr *a);
/* NULL: the request may pass; else the reason for 403. authority: of the target or Host; empty when
 * there is none (HTTP/1.0, no browser). changes: the page wants POST. */
const char *mp_admin_refusal(bool loopback, bool changes, struct mp_str authority,
                             const struct mp_hdrs *hdrs);
