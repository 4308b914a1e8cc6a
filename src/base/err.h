/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The error type. A function that can fail returns mp_err, puts outputs last (named ret_*,
 * untouched on failure) and, where a person will read the outcome, takes a struct mp_diag *. base,
 * codec, io and conf return errors and never log them.
 *
 * gcc offers warn_unused_result for functions only: declare with MP_MUST_USE in front of mp_err.
 */
#pragma once
#include <stdbool.h>
#include "base/compiler.h"

enum mp_err_code {
    MP_E_OK = 0,
#define MP_ERR(name, text, http) MP_E_##name,
#include "base/err.def"
#undef MP_ERR
    MP_E_COUNT
};

/* A struct, so that it cannot mix with an int or a bool. */
typedef struct {
    int code; /* enum mp_err_code */
} mp_err;

#define MP_OK         ((mp_err){MP_E_OK})
#define MP_FAIL(name) ((mp_err){MP_E_##name})

static inline bool mp_is_err(mp_err e)
{
    return e.code != MP_E_OK;
}

/* Static text, never NULL. */
const char *mp_err_text(mp_err e);
/* HTTP status that stands for the error, 500 where the table has none. */
int mp_err_http_status(mp_err e);
/* The code for an errno value (positive). */
mp_err mp_err_from_errno(int errnum);

/* Returns the error of expr to the caller: the only macro in the tree that hides a return. */
#define MP_TRY(expr)                  \
    do {                              \
        mp_err mp_try_err_ = (expr);  \
        if (mp_is_err(mp_try_err_)) { \
            return mp_try_err_;       \
        }                             \
    } while (0)
