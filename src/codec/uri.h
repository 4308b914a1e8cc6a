/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* One explicit policy for request paths: what the router sees is what the upstream gets.
 *
 * Steps, in order, on the path part (before '?'; a '#' is refused by the parser):
 *   1. a byte outside RFC 3986 pchar, '/' and "[]^{|}" (which browsers leave unescaped) that is not
 *      percent-encoded is refused; so are "%00", a truncated or non-hex escape and a backslash;
 *   2. %-encoded unreserved characters are decoded, other escapes get upper-case hex digits;
 *   3. escaped slashes (%2F, %5C) are handled as configured; unescaped, both become '/';
 *   4. dot segments are removed (RFC 3986 5.2.4); a path that climbs above the root is refused;
 *   5. runs of slashes are merged when merge_slashes is set.
 * With normalize false step 1's refusals, step 3 and step 5 apply.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/str.h"

enum mp_escaped_slashes {
    MP_SLASH_KEEP,              /* leave %2F and %5C as they are */
    MP_SLASH_REJECT,            /* 400 */
    MP_SLASH_UNESCAPE_REDIRECT, /* unescape, answer 307 to the normalised path */
    MP_SLASH_UNESCAPE_FORWARD
};

struct mp_uri_policy {
    bool normalize;     /* default true */
    bool merge_slashes; /* default false, as Envoy */
    enum mp_escaped_slashes escaped_slashes;
};

enum mp_uri_result {
    MP_URI_SAME,     /* the path is in normal form already: out is not written */
    MP_URI_CHANGED,  /* out holds the new path and query */
    MP_URI_REDIRECT, /* out holds the path to redirect to */
    MP_URI_BAD
};

/* path: path and query, starting with '/'. out: room for path.n bytes. *ret: the new path (in out).
 */
enum mp_uri_result mp_uri_normalize(const struct mp_uri_policy *policy, struct mp_str path,
                                    char *out, struct mp_str *ret);
/* Splits at the first '?': the query is without it; has_query tells "/a?" from "/a". */
void mp_uri_split(struct mp_str path, struct mp_str *ret_path, struct mp_str *ret_query,
                  bool *ret_has_query);

/* host[:port] (RFC 3986 3.2 without userinfo, host not empty). port 0 when absent, else 1 to 65535.
 * False when malformed. An IPv6 literal keeps its brackets in host; zones and IPvFuture are
 * refused. */
bool mp_authority_parse(struct mp_str authority, struct mp_str *ret_host, unsigned *ret_port);
