/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <errno.h>

#include "base/err.h"
#include "t.h"

static void table(void)
{
    T_OK(!mp_is_err(MP_OK));
    T_OK(mp_is_err(MP_FAIL(NOMEM)));
    T_OK(strcmp(mp_err_text(MP_OK), "ok") == 0);
    T_EQ(mp_err_http_status(MP_OK), 200);
    T_OK(strcmp(mp_err_text(MP_FAIL(DNS)), "name resolution failed") == 0);
    T_EQ(mp_err_http_status(MP_FAIL(NOT_FOUND)), 404);
    T_EQ(mp_err_http_status(MP_FAIL(TIMEOUT)), 504);
    for (int i = 0; i < MP_E_COUNT; i++) {
        T_OK(strlen(mp_err_text((mp_err){i})) > 0);
        T_OK(mp_err_http_status((mp_err){i}) >= 200);
    }
    const int beyond[] = {MP_E_COUNT, MP_E_COUNT + 1, -1};
    for (size_t i = 0; i < MP_COUNTOF(beyond); i++) {
        T_OK(strcmp(mp_err_text((mp_err){beyond[i]}), "unknown error") == 0);
        T_EQ(mp_err_http_status((mp_err){beyond[i]}), 500);
    }
}

static void from_errno(void)
{
    static const struct {
        int errnum, code;
    } cases[] = {
        {ENOMEM, MP_E_NOMEM},
        {EMFILE, MP_E_LIMIT},
        {ENOSPC, MP_E_LIMIT},
        {EINVAL, MP_E_INVALID},
        {EAFNOSUPPORT, MP_E_UNSUPPORTED},
        {ENOENT, MP_E_NOT_FOUND},
        {EADDRINUSE, MP_E_EXISTS},
        {EAGAIN, MP_E_AGAIN},
        {EINTR, MP_E_AGAIN},
        {ECONNRESET, MP_E_CLOSED},
        {ECONNREFUSED, MP_E_CLOSED},
        {ETIMEDOUT, MP_E_TIMEOUT},
        {EACCES, MP_E_DENIED},
        {EPERM, MP_E_DENIED},
        {EBUSY, MP_E_STATE},
        {EIO, MP_E_IO},
        {99999, MP_E_IO},
        {0, MP_E_IO},
    };
    for (size_t i = 0; i < MP_COUNTOF(cases); i++) {
        T_EQ(mp_err_from_errno(cases[i].errnum).code, cases[i].code);
    }
}

static mp_err tried(mp_err e, int *after)
{
    MP_TRY(e);
    *after = 1;
    return MP_OK;
}

static void try_returns(void)
{
    int after = 0;
    T_EQ(tried(MP_FAIL(IO), &after).code, MP_E_IO);
    T_EQ(after, 0);
    T_EQ(tried(MP_OK, &after).code, MP_E_OK);
    T_EQ(after, 1);
}

int main(void)
{
    T_RUN(table);
    T_RUN(from_errno);
    T_RUN(try_returns);
    return T_DONE();
}
