/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Format strings with %OPERATORS% (Envoy's substitution formatter): access log lines and header
 * values. Compiled once by the builder, evaluated on the worker without allocation.
 *
 * Operators here: REQ(X?Y):Z, RESP(X?Y):Z, TRAILER(X):Z, START_TIME[(strftime)], PROTOCOL,
 * RESPONSE_CODE, RESPONSE_CODE_DETAILS, RESPONSE_FLAGS, BYTES_RECEIVED, BYTES_SENT, DURATION,
 * REQUEST_DURATION, RESPONSE_DURATION, RESPONSE_TX_DURATION, UPSTREAM_HOST, UPSTREAM_CLUSTER,
 * ROUTE_NAME, VIRTUAL_HOST_NAME, DOWNSTREAM_REMOTE_ADDRESS[_WITHOUT_PORT],
 * DOWNSTREAM_DIRECT_REMOTE_ADDRESS[_WITHOUT_PORT], DOWNSTREAM_LOCAL_ADDRESS[_WITHOUT_PORT],
 * DOWNSTREAM_LOCAL_PORT, GRPC_STATUS[(CAMEL_STRING|SNAKE_STRING|NUMBER)], GRPC_STATUS_NUMBER,
 * CONNECTION_ID, REQUEST_ID is REQ(X-REQUEST-ID), HOSTNAME, %%. An unknown
 * operator is an error that names it.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct mp_stream;
struct mp_subst;

/* ret_cause: text for the diagnostic, in the arena or static. */
MP_MUST_USE mp_err mp_subst_compile(struct mp_str format, struct mp_arena *arena,
                                    const struct mp_subst **ret, const char **ret_cause);
/* The fixed text when the format has no operator, else p NULL. */
struct mp_str mp_subst_literal(const struct mp_subst *f);
/* Appends to out[0..cap), cut there; returns the length. Absent values give "-" (Envoy), or nothing
 * with omit_empty. */
size_t mp_subst_eval(const struct mp_subst *f, const struct mp_stream *s, char *out, size_t cap,
                     bool omit_empty);
/* For JSON logs: a format that is one single numeric operator is printed as a number, an absent one
 * as null. */
bool mp_subst_is_number(const struct mp_subst *f);
/* True when the format is one single operator and its value is absent: null in JSON. */
bool mp_subst_is_absent(const struct mp_subst *f, const struct mp_stream *s);
