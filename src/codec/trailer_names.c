/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Which fields a trailer section may hold. */
#include <string.h>
#include "codec/h1_internal.h"

/* The known fields that are harmless after the body: everything else in hdr.def frames, routes,
 * authenticates or describes the message, or is ours to set. */
#define HARMLESS                                                       \
    (UINT64_C(1) << MP_HDR_OTHER | UINT64_C(1) << MP_HDR_GRPC_STATUS | \
     UINT64_C(1) << MP_HDR_GRPC_MESSAGE)

/* Others that decide about framing, routing, authentication, caching, conditions or how the content
 * is handled. */
static const char *const forbidden[] = {
    "accept-ranges",
    "age",
    "allow",
    "authentication-info",
    "cache-control",
    "clear-site-data",
    "content-disposition",
    "content-language",
    "content-location",
    "content-security-policy",
    "etag",
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "origin",
    "pragma",
    "proxy-authentication-info",
    "range",
    "referer",
    "retry-after",
    "strict-transport-security",
    "vary",
    "warning",
    "www-authenticate",
    "x-http-method-override",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
};
/* Families that name the client or steer the proxy. */
static const char *const forbidden_prefix[] = {
    "access-control-",
    "sec-",
    "x-envoy-",
    "x-forwarded-",
};

bool mp_h1_trailer_allowed(const struct mp_hdr *f)
{
    if (!((HARMLESS >> f->id) & 1)) {
        return false;
    }
    if (f->id != MP_HDR_OTHER) {
        return true;
    }
    for (size_t i = 0; i < MP_COUNTOF(forbidden); i++) {
        if (mp_str_eq(mp_hdr_name(f), mp_str_c(forbidden[i]))) {
            return false;
        }
    }
    for (size_t i = 0; i < MP_COUNTOF(forbidden_prefix); i++) {
        size_t n = strlen(forbidden_prefix[i]);
        if (f->name_n >= n && memcmp(f->name, forbidden_prefix[i], n) == 0) {
            return false;
        }
    }
    return true;
}
