/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Failed TLS handshakes by source, on one worker: a source that fails again and again (a private
 * key costs a millisecond) is closed unread for a while. A source is an IPv4 address or an IPv6
 * /64. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct mp_addr;
struct mp_core_worker;

#define MP_HS_WINDOW_MS 10000
/* One more failure. */
void mp_hs_budget_count(struct mp_core_worker *cw, const struct mp_addr *source, uint64_t now_ms);
/* Has it had max in this window already? max 0: no limit. */
bool mp_hs_budget_spent(const struct mp_core_worker *cw, const struct mp_addr *source, uint32_t max,
                        uint64_t now_ms);
