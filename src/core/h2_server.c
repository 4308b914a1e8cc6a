/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* HTTP/2 towards clients. Not served: the preface is refused as the malformed HTTP/1 that it is
 * made to be (RFC 9113 3.4). */
#include "core/conn.h"

void mp_h2_server_begin(struct mp_conn *c, char *first, size_t n)
{
    mp_h1_server_begin(c, first, n);
}
