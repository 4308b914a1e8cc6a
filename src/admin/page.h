/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What a page of the admin server is: a row of a table. Handlers run on the main thread, where
 * nothing waits for them but other admin requests and configuration work; a page that needs what
 * belongs to a worker asks for it with mp_engine_for_each_worker and answers later.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "admin/query.h"
#include "base/str.h"
#include "codec/hdr.h"

struct mp_admin_call;
struct mp_engine;
struct mp_filter;

struct mp_admin_page {
    const char *path; /* exact: "/stats" */
    /* GET: reads (HEAD and POST are accepted as well, as Envoy does). POST: changes something. */
    enum mp_method method;
    void (*handle)(struct mp_admin_call *call);
    const char *help;   /* one line */
    const char *params; /* "name: meaning" lines for /help, each ended by a newline; NULL: none */
};

/* The largest body of an answer. */
#define MP_ADMIN_BODY_MAX ((size_t)512 << 20)

/* One request and its answer. Heap; the filter's, or the handler's between later and
 * mp_admin_finish. */
struct mp_admin_call {
    struct mp_engine *engine;
    enum mp_method method;
    struct mp_str path; /* without the query */
    struct mp_admin_query query;

    /* The answer: 200 and text/plain unless the handler says otherwise. */
    unsigned status;
    struct mp_str content_type;
    struct mp_str allow; /* of a 405; else empty */
    bool challenge;      /* of a 401 */
    struct mp_sb out;
    /* Runs when the answer is on its way to the client, or the client has gone. */
    void (*after)(struct mp_engine *e);

    /* Set by a handler that answers with mp_admin_finish, on the main thread. */
    bool later;
    struct mp_filter *filter; /* NULL: the client has gone */
};

#define MP_ADMIN_TEXT MP_STR("text/plain; charset=UTF-8")
#define MP_ADMIN_JSON MP_STR("application/json")
#define MP_ADMIN_HTML MP_STR("text/html; charset=UTF-8")

/* path is copied. */
struct mp_admin_call *mp_admin_call_new(struct mp_engine *e, enum mp_method method,
                                        struct mp_str path);
struct mp_admin_call *mp_admin_call_free(struct mp_admin_call *call);
/* Replaces whatever has been written. */
void mp_admin_fail(struct mp_admin_call *call, unsigned status, const char *fmt, ...)
    MP_PRINTF(3, 4);
/* Ends a call whose handler has set later. */
void mp_admin_finish(struct mp_admin_call *call);
/* The value of a parameter; NULL when it is absent. */
const struct mp_str *mp_admin_param(const struct mp_admin_call *call, const char *name);
