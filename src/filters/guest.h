/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the logic of our stock filters sees of the world: one request, its answer, the clock,
 * metrics, and its own configuration. Nothing of the proxy's inside shows here, so that the same
 * source can be built into the program (guest_native.c) and as a sandboxed module, where each of
 * these calls is one of the host's.
 *
 * Text that is returned lives as long as the stream; so does text that is given, unless a function
 * says that it copies.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/stat.h"
#include "base/str.h"

struct mp_guest;       /* one filter's view of one request, during a callback */
struct mp_guest_host;  /* of the program, while a configuration is published */
struct mp_guest_setup; /* of a configuration that is being checked */

enum mp_guest_verdict { MP_GUEST_CONTINUE, MP_GUEST_REPLIED, MP_GUEST_ABORT };

/* ---- the request and its answer ---- */

struct mp_str mp_guest_method(const struct mp_guest *g);
/* Normalised path and query. */
struct mp_str mp_guest_path(const struct mp_guest *g);
struct mp_str mp_guest_authority(const struct mp_guest *g);

/* Which fields: the answer's only in its own callback. */
enum mp_guest_fields { MP_GUEST_REQUEST, MP_GUEST_RESPONSE, MP_GUEST_TRAILERS };
/* How many fields have this lower-case name (2: two or more); *ret is the first one's value. */
unsigned mp_guest_field(const struct mp_guest *g, enum mp_guest_fields which, struct mp_str name,
                        struct mp_str *ret);
/* False: no room, or the value cannot be a field's. */
MP_MUST_USE bool mp_guest_add_field(struct mp_guest *g, enum mp_guest_fields which,
                                    struct mp_str name, struct mp_str value);
/* The same for fields that every stock filter's configuration sets. value: needs no check, a
 * constant or one of a configuration. */
enum mp_guest_own {
    MP_GUEST_X_AUTH_METHOD,
    MP_GUEST_X_LICENSE_EDITION,
    MP_GUEST_X_LICENSE_KEY,
    MP_GUEST_X_MARCHPROXY_EDITION
};
MP_MUST_USE bool mp_guest_add_own(struct mp_guest *g, enum mp_guest_fields which,
                                  enum mp_guest_own own, struct mp_str value);
/* Removes all fields whose name fits. */
void mp_guest_strip_fields(struct mp_guest *g, enum mp_guest_fields which,
                           bool (*fits)(struct mp_str name));

/* Answers instead of the service. fields: n pairs. body is copied. details: static text for the
 * access log. */
struct mp_guest_field {
    struct mp_str name, value;
};
enum mp_guest_verdict mp_guest_reply(struct mp_guest *g, unsigned status,
                                     const struct mp_guest_field *fields, size_t n,
                                     struct mp_str body, const char *details);

/* Memory of the stream, not zeroed; NULL when its limit is reached. */
void *mp_guest_alloc(struct mp_guest *g, size_t n);

/* ---- facts ---- */

unsigned mp_guest_status(const struct mp_guest *g); /* of the answer; 0: none yet */
uint64_t mp_guest_request_bytes(const struct mp_guest *g);
uint64_t mp_guest_response_bytes(const struct mp_guest *g);
uint64_t mp_guest_wall_ns(const struct mp_guest *g);
uint64_t mp_guest_now_ns(const struct mp_guest *g);   /* monotonic, of this turn of the loop */
uint64_t mp_guest_clock_ns(const struct mp_guest *g); /* monotonic, read now */
uint64_t mp_guest_start_ns(const struct mp_guest *g); /* monotonic: first byte of the request */
uint64_t mp_guest_random(const struct mp_guest *g);
/* What auth says to the filters behind it. */
enum { MP_GUEST_AUTH_RAN = 1, MP_GUEST_AUTH_EXEMPT = 2 };
void mp_guest_mark(struct mp_guest *g, uint32_t bits);
uint32_t mp_guest_marks(const struct mp_guest *g);
/* Proxies under the licence as the control plane reports them; false: not reported. */
bool mp_guest_proxies(const struct mp_guest *g, uint32_t *ret);

/* ---- metrics ---- */

/* This thread's block of a set of metrics. name "": the only one; other names are bounded (256 a
 * schema), later ones share "other". Count with mp_stat_inc and so on. */
const struct mp_stat_block *mp_guest_stats(const struct mp_guest *g,
                                           const struct mp_stat_schema *schema, struct mp_str name);
const struct mp_stat_block *mp_guest_host_stats(struct mp_guest_host *h,
                                                const struct mp_stat_schema *schema,
                                                struct mp_str name);
/* Someone has asked for metrics of the schema before. */
bool mp_guest_host_has_stats(const struct mp_guest_host *h, const struct mp_stat_schema *schema);
bool mp_guest_host_proxies(const struct mp_guest_host *h, uint32_t *ret);

/* ---- memory of a configuration on each thread ---- */

#define MP_GUEST_THREADS_MAX 257
/* Part of a configuration. What a thread finds here only this thread touches. */
struct mp_guest_locals {
    size_t size;
    void (*fini)(void *p); /* may be NULL; runs when the configuration goes */
    void *v[MP_GUEST_THREADS_MAX];
};
/* Zeroed when the thread asks for the first time. */
void *mp_guest_local(const struct mp_guest *g, struct mp_guest_locals *l);

/* ---- checking a configuration ---- */

/* Zeroed, lives as long as the configuration; never NULL. */
void *mp_guest_setup_alloc(struct mp_guest_setup *s, size_t n);
struct mp_str mp_guest_setup_dup(struct mp_guest_setup *s, struct mp_str text);
/* fn(arg) runs when the configuration goes. */
void mp_guest_setup_on_end(struct mp_guest_setup *s, void (*fn)(void *arg), void *arg);
struct mp_guest_locals *mp_guest_setup_locals(struct mp_guest_setup *s, size_t size,
                                              void (*fini)(void *p));
/* field: "jwt_secrets_previous[1].secret". cure may be NULL. Never quote a secret. */
void mp_guest_refuse(struct mp_guest_setup *s, const char *field, const char *cure,
                     const char *cause_fmt, ...) MP_PRINTF(4, 5);
void mp_guest_warn(struct mp_guest_setup *s, const char *field, const char *cure,
                   const char *cause_fmt, ...) MP_PRINTF(4, 5);
bool mp_guest_refused(const struct mp_guest_setup *s);
