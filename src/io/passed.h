/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Listening sockets that were passed to the program at its start (systemd's socket activation).
 * Main thread. */
#pragma once
#include <stdint.h>
#include "base/str.h"
#include "io/addr.h"

/* Takes fds first..first+n-1; names: separated by ':', or NULL. Returns the number of sockets that
 * can be used; what is no listening stream socket is closed and left out. */
uint32_t mp_passed_init(int first, uint32_t n, const char *names);
/* A descriptor of the passed socket that is bound to addr, else of the one that has the name
 * (empty: none); the passed one stays for later. Negative: there is none. */
int mp_passed_take(const struct mp_addr *addr, struct mp_str name);
/* The i-th socket that nobody has taken; false: there is none. */
bool mp_passed_unused(uint32_t i, struct mp_str *ret_name, struct mp_addr *ret_addr);
/* At the end of the program. */
void mp_passed_fini(void);
