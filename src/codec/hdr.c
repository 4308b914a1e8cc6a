/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "codec/hdr.h"
#include <string.h>
#include "codec/hdr_lookup.h"
#include "codec/scan.h"

const uint8_t mp_hdr_slots[256] = MP_HDR_HASH_SLOTS;

const struct mp_hdr_name mp_hdr_names[MP_HDR_COUNT] = {
#define MP_HDR(token, name) [MP_HDR_##token] = {sizeof(name) - 1, name},
#include "codec/hdr.def"
#undef MP_HDR
};

enum mp_hdr_id mp_hdr_id_of(const char *name, size_t n)
{
    if (n == 0 || n > MP_HDR_NAME_MAX) {
        return MP_HDR_OTHER;
    }
    unsigned id = mp_hdr_candidate(name, n);
    const struct mp_hdr_name *known = &mp_hdr_names[id];
    return known->n == n && memcmp(known->name, name, n) == 0 ? (enum mp_hdr_id)id : MP_HDR_OTHER;
}

struct mp_str mp_hdr_id_name(enum mp_hdr_id id)
{
    if ((unsigned)id >= MP_HDR_COUNT) {
        return MP_STR("");
    }
    return mp_str(mp_hdr_names[id].name, mp_hdr_names[id].n);
}

bool mp_hdr_name_ok(struct mp_str name)
{
    for (size_t i = 0; i < name.n; i++) {
        if (!mp_c_is(name.p[i], MP_C_TCHAR)) {
            return false;
        }
    }
    return name.n > 0;
}

bool mp_hdr_value_ok(struct mp_str value)
{
    return value.n == 0 || mp_scan_value(value.p, value.p + value.n, value.p) == value.p + value.n;
}

static const struct mp_str method_names[MP_METHOD_COUNT] = {
    [MP_METHOD_GET] = {"GET", 3},         [MP_METHOD_HEAD] = {"HEAD", 4},
    [MP_METHOD_POST] = {"POST", 4},       [MP_METHOD_PUT] = {"PUT", 3},
    [MP_METHOD_DELETE] = {"DELETE", 6},   [MP_METHOD_CONNECT] = {"CONNECT", 7},
    [MP_METHOD_OPTIONS] = {"OPTIONS", 7}, [MP_METHOD_TRACE] = {"TRACE", 5},
    [MP_METHOD_PATCH] = {"PATCH", 5},
};

static enum mp_method method_if(struct mp_str name, enum mp_method m)
{
    return memcmp(name.p, method_names[m].p, name.n) == 0 ? m : MP_METHOD_OTHER;
}

enum mp_method mp_method_of(struct mp_str name)
{
    switch (name.n) {
    case 3:
        return method_if(name, name.p[0] == 'G' ? MP_METHOD_GET : MP_METHOD_PUT);
    case 4:
        return method_if(name, name.p[0] == 'P' ? MP_METHOD_POST : MP_METHOD_HEAD);
    case 5:
        return method_if(name, name.p[0] == 'P' ? MP_METHOD_PATCH : MP_METHOD_TRACE);
    case 6:
        return method_if(name, MP_METHOD_DELETE);
    case 7:
        return method_if(name, name.p[0] == 'C' ? MP_METHOD_CONNECT : MP_METHOD_OPTIONS);
    default:
        return MP_METHOD_OTHER;
    }
}

struct mp_str mp_method_name(enum mp_method m)
{
    return (unsigned)m < MP_METHOD_COUNT && method_names[m].p ? method_names[m] : MP_STR("");
}

/* IANA HTTP Status Code Registry. */
static const char *const reason_1xx[] = {"Continue", "Switching Protocols", "Processing",
                                         "Early Hints"};
static const char *const reason_2xx[] = {"OK",
                                         "Created",
                                         "Accepted",
                                         "Non-Authoritative Information",
                                         "No Content",
                                         "Reset Content",
                                         "Partial Content",
                                         "Multi-Status",
                                         "Already Reported",
                                         [26] = "IM Used"};
static const char *const reason_3xx[] = {"Multiple Choices",
                                         "Moved Permanently",
                                         "Found",
                                         "See Other",
                                         "Not Modified",
                                         "Use Proxy",
                                         [7] = "Temporary Redirect",
                                         "Permanent Redirect"};
static const char *const reason_4xx[] = {"Bad Request",
                                         "Unauthorized",
                                         "Payment Required",
                                         "Forbidden",
                                         "Not Found",
                                         "Method Not Allowed",
                                         "Not Acceptable",
                                         "Proxy Authentication Required",
                                         "Request Timeout",
                                         "Conflict",
                                         "Gone",
                                         "Length Required",
                                         "Precondition Failed",
                                         "Content Too Large",
                                         "URI Too Long",
                                         "Unsupported Media Type",
                                         "Range Not Satisfiable",
                                         "Expectation Failed",
                                         [21] = "Misdirected Request",
                                         "Unprocessable Content",
                                         "Locked",
                                         "Failed Dependency",
                                         "Too Early",
                                         "Upgrade Required",
                                         [28] = "Precondition Required",
                                         "Too Many Requests",
                                         [31] = "Request Header Fields Too Large",
                                         [51] = "Unavailable For Legal Reasons"};
static const char *const reason_5xx[] = {"Internal Server Error",
                                         "Not Implemented",
                                         "Bad Gateway",
                                         "Service Unavailable",
                                         "Gateway Timeout",
                                         "HTTP Version Not Supported",
                                         "Variant Also Negotiates",
                                         "Insufficient Storage",
                                         "Loop Detected",
                                         [10] = "Not Extended",
                                         "Network Authentication Required"};

struct mp_str mp_status_reason(unsigned status)
{
    static const struct {
        const char *const *v;
        size_t n;
    } classes[] = {{reason_1xx, MP_COUNTOF(reason_1xx)},
                   {reason_2xx, MP_COUNTOF(reason_2xx)},
                   {reason_3xx, MP_COUNTOF(reason_3xx)},
                   {reason_4xx, MP_COUNTOF(reason_4xx)},
                   {reason_5xx, MP_COUNTOF(reason_5xx)}};
    if (status < 100 || status > 599) {
        return MP_STR("");
    }
    unsigned class = status / 100 - 1;
    unsigned at = status % 100;
    return mp_str_c(at < classes[class].n ? classes[class].v[at] : NULL);
}
