/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Query strings and form bodies: name=value pairs, percent-decoded. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/str.h"

#define MP_ADMIN_PARAMS_MAX 32

struct mp_admin_query {
    struct {
        struct mp_str name, value;
    } v[MP_ADMIN_PARAMS_MAX];
    uint32_t n;
    char *text; /* heap; names and values lie in it */
};

/* INVALID: an escape is malformed or stands for NUL. LIMIT: too many pairs. form: '+' is a blank (a
 * query keeps it, so that a regular expression may be typed as it is). "a" and "a=" both have an
 * empty value. */
MP_MUST_USE mp_err mp_admin_query_parse(struct mp_str text, bool form, struct mp_admin_query *ret);
void mp_admin_query_fini(struct mp_admin_query *q);
/* The first of that name; NULL when absent. */
const struct mp_str *mp_admin_query_get(const struct mp_admin_query *q, struct mp_str name);
