/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/err.h"

#include <errno.h>

static const struct {
    const char *text;
    int http;
} table[MP_E_COUNT] = {
    [MP_E_OK] = {"ok", 200},
#define MP_ERR(name, text_, http_) [MP_E_##name] = {text_, http_},
#include "base/err.def"
#undef MP_ERR
};

static bool is_known(mp_err e)
{
    return e.code >= 0 && e.code < MP_E_COUNT;
}

const char *mp_err_text(mp_err e)
{
    return is_known(e) ? table[e.code].text : "unknown error";
}

int mp_err_http_status(mp_err e)
{
    return is_known(e) && table[e.code].http != 0 ? table[e.code].http : 500;
}

mp_err mp_err_from_errno(int errnum)
{
    switch (errnum) {
    case ENOMEM:
        return MP_FAIL(NOMEM);
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMSGSIZE:
    case ENAMETOOLONG:
        return MP_FAIL(LIMIT);
    case EINVAL:
    case EBADF:
    case EDOM:
    case ERANGE:
    case EISDIR:
    case ENOTDIR:
    case EDESTADDRREQ:
        return MP_FAIL(INVALID);
    case EOPNOTSUPP:
    case ENOSYS:
    case EAFNOSUPPORT:
    case EPROTONOSUPPORT:
    case ESOCKTNOSUPPORT:
    case ENOPROTOOPT:
        return MP_FAIL(UNSUPPORTED);
    case ENOENT:
    case ENODEV:
    case ENXIO:
    case ESRCH:
        return MP_FAIL(NOT_FOUND);
    case EEXIST:
    case EADDRINUSE:
        return MP_FAIL(EXISTS);
    case EAGAIN:
    case EINTR:
    case EINPROGRESS:
        return MP_FAIL(AGAIN);
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED:
    case ECONNREFUSED:
    case ENOTCONN:
    case ESHUTDOWN:
        return MP_FAIL(CLOSED);
    case ETIMEDOUT:
        return MP_FAIL(TIMEOUT);
    case EACCES:
    case EPERM:
    case EROFS:
        return MP_FAIL(DENIED);
    case EBUSY:
    case EALREADY:
    case EISCONN:
        return MP_FAIL(STATE);
    default:
        return MP_FAIL(IO);
    }
}
