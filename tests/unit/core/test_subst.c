/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "core/civil.h"
#include "core/fixture.h"
#include "core/route.h"
#include "core/subst.h"
#include "t.h"

static struct fixture fx;

/* The text of a format over fx, or "error: cause". */
static const char *eval_as(const char *format, bool omit_empty)
{
    static char text[1000];
    const struct mp_subst *f;
    const char *cause = NULL;
    if (mp_is_err(mp_subst_compile(S(format), &fx.arena, &f, &cause))) {
        snprintf(text, sizeof(text), "error: %s", cause);
        return text;
    }
    size_t n = mp_subst_eval(f, &fx.s, text, sizeof(text) - 1, omit_empty);
    text[n] = '\0';
    return text;
}

static bool is(const char *format, const char *expected)
{
    const char *got = eval_as(format, false);
    if (strcmp(got, expected) != 0) {
        printf("# %s gives \"%s\", expected \"%s\"\n", format, got, expected);
    }
    return strcmp(got, expected) == 0;
}

static bool fails(const char *format, const char *part)
{
    const char *got = eval_as(format, false);
    const char *cause = NULL;
    bool checked = mp_is_err(mp_subst_check(S(format), &cause)) && strstr(cause, part) != NULL;
    if (!checked || strncmp(got, "error: ", 7) != 0 || strstr(got, part) == NULL) {
        printf("# %s gives \"%s\", expected an error with \"%s\"\n", format, got, part);
        return false;
    }
    return true;
}

static void test_literals(void)
{
    fx_init(&fx);
    T_OK(is("", ""));
    T_OK(is("plain text", "plain text"));
    T_OK(is("100%%", "100%"));
    T_OK(is("%%%%a%%REQ(x)%%", "%%a%REQ(x)%"));
    const struct mp_subst *f;
    const char *cause;
    T_OK(!mp_is_err(mp_subst_compile(MP_STR("a%%b"), &fx.arena, &f, &cause)));
    T_OK(mp_str_eq(mp_subst_literal(f), MP_STR("a%b")));
    T_OK(!mp_is_err(mp_subst_compile(MP_STR(""), &fx.arena, &f, &cause)));
    T_OK(mp_subst_literal(f).p != NULL);
    T_EQ(mp_subst_literal(f).n, 0);
    T_OK(!mp_is_err(mp_subst_compile(MP_STR("a%PROTOCOL%"), &fx.arena, &f, &cause)));
    T_OK(mp_subst_literal(f).p == NULL);
    fx_fini(&fx);
}

static void test_request_headers(void)
{
    fx_init(&fx);
    fx_add(&fx.s.req.hdrs, "user-agent", "curl/8");
    fx_add(&fx.s.req.hdrs, "x-own", "first");
    fx_add(&fx.s.req.hdrs, "x-own", "second");
    T_OK(
        is("%REQ(:METHOD)% %REQ(:PATH)% %REQ(:AUTHORITY)% %REQ(:scheme)%", "GET /p?q a.test http"));
    T_OK(is("%REQ(Host)%", "a.test"));
    T_OK(is("%REQ(User-Agent)%|%REQ(x-own)%", "curl/8|first"));
    T_OK(is("%REQ(X-None)%", "-"));
    T_OK(is("%REQ(X-None?X-Own)%", "first"));
    T_OK(is("%REQ(X-Own?X-None)%", "first"));
    T_OK(is("%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "/p?q"));
    T_OK(is("%REQ(X-None?X-Nor)%", "-"));
    T_OK(is("%REQ(User-Agent):4%", "curl"));
    T_OK(is("%REQ(User-Agent):6%", "curl/8"));
    T_OK(is("%REQ(User-Agent):7%", "curl/8"));
    T_OK(is("%REQ(User-Agent):0%", ""));
    T_OK(is("%REQ(:PATH):2%", "/p"));
    mp_hdrs_remove_name(&fx.s.req.hdrs, MP_STR("user-agent"));
    T_OK(is("%REQ(User-Agent)%", "-"));
    T_OK(strcmp(eval_as("<%REQ(X-None)%>", true), "<>") == 0);
    fx_fini(&fx);
}

static void test_response(void)
{
    fx_init(&fx);
    T_OK(is("%RESPONSE_CODE% %RESP(:STATUS)% %RESP(content-type)% %TRAILER(x-t)%", "0 - - -"));
    fx_respond(&fx, 503);
    fx_add(&fx.resp.hdrs, "content-type", "text/plain");
    fx_add(&fx.s.resp_trailers, "x-t", "last");
    T_OK(is("%RESPONSE_CODE% %RESP(:STATUS)% %RESP(content-type):4%", "503 503 text"));
    T_OK(is("%TRAILER(x-t)%", "-"));
    fx.s.has_resp_trailers = true;
    T_OK(is("%TRAILER(X-T)%", "last"));
    T_OK(is("%RESPONSE_CODE_DETAILS%", "-"));
    fx.s.upstream_first_ns = 1;
    T_OK(is("%RESPONSE_CODE_DETAILS%", "via_upstream"));
    fx.s.details = "response_timeout";
    T_OK(is("%RESPONSE_CODE_DETAILS%", "response_timeout"));
    T_OK(is("%RESPONSE_FLAGS%", "-"));
    fx.s.response_flags = MP_FLAG_UPSTREAM_CONNECT_FAILURE;
    T_OK(is("%RESPONSE_FLAGS%", "UF"));
    fx.s.response_flags |= MP_FLAG_UPSTREAM_OVERFLOW | MP_FLAG_DOWNSTREAM_PROTOCOL;
    T_OK(is("%RESPONSE_FLAGS%", "UF,UO,DPE"));
    fx.s.response_flags = (1u << MP_FLAG_BITS) - 1;
    T_OK(strlen(eval_as("%RESPONSE_FLAGS%", false)) > 3 * MP_FLAG_BITS - 3);
    T_OK(strstr(eval_as("%RESPONSE_FLAGS%", false), ",OM") != NULL);
    fx_fini(&fx);
}

static void test_numbers(void)
{
    fx_init(&fx);
    fx.s.bytes_in = 12;
    fx.s.bytes_out = UINT64_MAX;
    T_OK(is("%BYTES_RECEIVED% %BYTES_SENT%", "12 18446744073709551615"));
    T_OK(is("%DURATION% %REQUEST_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%", "- - - -"));
    fx.s.req_end_ns = fx.s.start_ns + 1999999;
    fx.s.upstream_first_ns = fx.s.start_ns + 20000000;
    fx.s.end_ns = fx.s.start_ns + 1234999999;
    T_OK(is("%DURATION% %REQUEST_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%",
            "1234 1 20 1214"));
    fx.s.req_end_ns = fx.s.start_ns - 1;
    T_OK(is("%REQUEST_DURATION%", "0"));
    T_OK(is("%CONNECTION_ID%", "42"));
    fx_fini(&fx);
}

static void test_places(void)
{
    fx_init(&fx);
    T_OK(is("%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
            "10.1.2.3:4567 10.1.2.3"));
    T_OK(is("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
            "192.0.2.9:999 192.0.2.9"));
    T_OK(is("%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_PORT%", "- -")); /* no socket */
    fx.s.conn = NULL;
    T_OK(is("%CONNECTION_ID% %DOWNSTREAM_LOCAL_PORT%", "- -"));
    T_OK(is("%UPSTREAM_HOST% %UPSTREAM_CLUSTER% %ROUTE_NAME% %VIRTUAL_HOST_NAME%", "- - - -"));
    fx.s.upstream_host = MP_STR("1.1.1.1:80");
    fx.s.upstream_cluster = MP_STR("c");
    struct mp_conf_route conf = {.name = MP_STR("r")};
    struct mp_route route = {.conf = &conf};
    fx.s.route = &route;
    T_OK(is("%UPSTREAM_HOST% %UPSTREAM_CLUSTER% %ROUTE_NAME%", "1.1.1.1:80 c r"));
    char host[256] = "";
    T_EQ(gethostname(host, sizeof(host)), 0);
    T_OK(is("%HOSTNAME%", host));
    fx_fini(&fx);
}

static void test_protocol(void)
{
    fx_init(&fx);
    T_OK(is("%PROTOCOL%", "HTTP/1.1"));
    fx.s.protocol_minor = 0;
    T_OK(is("%PROTOCOL%", "HTTP/1.0"));
    fx.s.protocol_minor = 20;
    T_OK(is("%PROTOCOL%", "HTTP/2"));
    fx_fini(&fx);
}

static void test_start_time(void)
{
    fx_init(&fx);
    T_OK(is("%START_TIME%", "2025-12-12T10:00:00.123Z"));
    T_OK(is("%START_TIME()%", "2025-12-12T10:00:00.123Z"));
    T_OK(is("%START_TIME(%Y-%m-%dT%H:%M:%E3SZ)%", "2025-12-12T10:00:00.123Z"));
    T_OK(is("%START_TIME(%Y/%m/%dT%H:%M:%S%z %s)%", "2025/12/12T10:00:00+0000 1765533600"));
    T_OK(is("%START_TIME(%s.%3f)%", "1765533600.123"));
    T_OK(is("%START_TIME(%3f %6f %9f %f %1f)%", "123 123456 123456789 123456789 1"));
    T_OK(is("%START_TIME(%E6S %E9f)%", "00.123456 123456789"));
    T_OK(is("%START_TIME(%F %T|%D|%R)%", "2025-12-12 10:00:00|12/12/25|10:00"));
    T_OK(is("%START_TIME(%a %A %b %B %h %j %u %w %y %e %I %p %Z)%",
            "Fri Friday Dec December Dec 346 5 5 25 12 10 AM UTC"));
    T_OK(is("%START_TIME(a%%b)%", "a%b"));
    T_OK(fails("%START_TIME(%n)%", "unknown time conversion %n"));
    fx.s.start_wall_ns = 1709164799000000000u + 86400000000000u; /* 2024-02-29T23:59:59Z */
    T_OK(is("%START_TIME(%F %T %j %a %I%p)%", "2024-02-29 23:59:59 060 Thu 11PM"));
    fx.s.start_wall_ns = 0;
    T_OK(is("%START_TIME(%F %T %j %a %e %I%p %u %w)%", "1970-01-01 00:00:00 001 Thu  1 12AM 4 4"));
    T_OK(fails("%START_TIME(%Q)%", "unknown time conversion %Q"));
    T_OK(fails("%START_TIME(%)%", "unknown time conversion %"));
    T_OK(fails("%START_TIME(%Y%", "no closing parenthesis"));
    fx_fini(&fx);
}

/* Every day of 130 years against the C library. */
static void test_calendar(void)
{
    for (uint64_t day = 0; day < 130 * 366; day++) {
        time_t t = (time_t)(day * 86400 + day % 86400);
        struct tm tm;
        struct mp_civil c;
        gmtime_r(&t, &tm);
        mp_civil_of((uint64_t)t, &c);
        T_EQ(c.year, tm.tm_year + 1900);
        T_EQ(c.month, tm.tm_mon + 1);
        T_EQ(c.day, tm.tm_mday);
        T_EQ(c.hour, tm.tm_hour);
        T_EQ(c.minute, tm.tm_min);
        T_EQ(c.second, tm.tm_sec);
        T_EQ(c.weekday, tm.tm_wday);
        T_EQ(c.yearday, tm.tm_yday);
    }
    char text[MP_U64_DIGITS];
    for (uint64_t v = 1, i = 0; i < 64; i++, v = v * 3 + i) {
        char expected[32];
        int n = snprintf(expected, sizeof(expected), "%" PRIu64, v);
        T_EQ(mp_put_u64(text, v) - text, n);
        T_OK(memcmp(text, expected, (size_t)n) == 0);
    }
    T_EQ(mp_put_u64(text, 0) - text, 1);
    T_OK(text[0] == '0');
}

static void test_errors_name_the_cause(void)
{
    fx_init(&fx);
    T_OK(fails("%NO_SUCH_THING%", "unknown operator %NO_SUCH_THING%"));
    T_OK(fails("%TRACE_ID%", "operator %TRACE_ID% is not supported"));
    T_OK(fails("100%", "no operator after the % at offset 3"));
    T_OK(fails("% PROTOCOL%", "no operator after the %"));
    T_OK(fails("%PROTOCOL", "no closing % after the operator PROTOCOL"));
    T_OK(fails("%PROTOCOL x%", "no closing %"));
    T_OK(fails("%PROTOCOL(x)%", "%PROTOCOL% has no argument"));
    T_OK(fails("%PROTOCOL:3%", "%PROTOCOL% has no length"));
    T_OK(fails("%REQ%", "%REQ% needs an argument"));
    T_OK(fails("%REQ(x%", "no closing parenthesis after %REQ("));
    T_OK(fails("%REQ()%", "\"\" is not a header name"));
    T_OK(fails("%REQ(x?)%", "\"\" is not a header name"));
    T_OK(fails("%REQ(a b)%", "\"a b\" is not a header name"));
    T_OK(fails("%REQ(:status)%", "\":status\" is not a header name that %REQ% knows"));
    T_OK(fails("%RESP(:path)%", "that %RESP% knows"));
    T_OK(fails("%TRAILER(:status)%", "that %TRAILER% knows"));
    T_OK(fails("%REQ(x):%", "is not a number"));
    T_OK(fails("%REQ(x):1a%", "no closing %"));
    T_OK(fails("%REQ(x):99999999999999999999%", "is not a number"));
    const char *cause = "untouched";
    T_OK(!mp_is_err(mp_subst_check(MP_STR("%REQ(x)% %START_TIME(%s)%"), &cause)));
    T_OK(strcmp(cause, "untouched") == 0);
    fx_fini(&fx);
}

static void test_cut_at_capacity(void)
{
    fx_init(&fx);
    const struct mp_subst *f;
    const char *cause;
    T_OK(!mp_is_err(
        mp_subst_compile(MP_STR("ab%REQ(:path)%%BYTES_SENT%cd"), &fx.arena, &f, &cause)));
    const char whole[] = "ab/p?q0cd";
    for (size_t cap = 0; cap <= sizeof(whole); cap++) {
        char out[sizeof(whole) + 1];
        memset(out, '#', sizeof(out));
        size_t n = mp_subst_eval(f, &fx.s, out, cap, false);
        T_EQ(n, MP_MIN(cap, sizeof(whole) - 1));
        T_OK(memcmp(out, whole, n) == 0);
        T_OK(out[n] == '#');
    }
    fx_fini(&fx);
}

static void test_absent_and_number(void)
{
    fx_init(&fx);
    const struct mp_subst *f;
    const char *cause;
    T_OK(!mp_is_err(mp_subst_compile(MP_STR("%RESPONSE_CODE%"), &fx.arena, &f, &cause)));
    T_OK(mp_subst_is_number(f));
    T_OK(!mp_subst_is_absent(f, &fx.s));
    T_OK(!mp_is_err(mp_subst_compile(MP_STR("%DURATION%"), &fx.arena, &f, &cause)));
    T_OK(mp_subst_is_number(f));
    T_OK(mp_subst_is_absent(f, &fx.s));
    T_OK(!mp_is_err(mp_subst_compile(MP_STR("%DURATION%ms"), &fx.arena, &f, &cause)));
    T_OK(!mp_subst_is_number(f));
    T_OK(!mp_subst_is_absent(f, &fx.s));
    T_OK(!mp_is_err(mp_subst_compile(MP_STR("%REQ(x)%"), &fx.arena, &f, &cause)));
    T_OK(!mp_subst_is_number(f));
    T_OK(mp_subst_is_absent(f, &fx.s));
    fx_add(&fx.s.req.hdrs, "x", "");
    T_OK(!mp_subst_is_absent(f, &fx.s));
    T_OK(!mp_is_err(mp_subst_compile(MP_STR(""), &fx.arena, &f, &cause)));
    T_OK(!mp_subst_is_absent(f, &fx.s));
    fx_fini(&fx);
}

static void test_format_size(void)
{
    fx_init(&fx);
    static char big[64 * 1024 + 1];
    memset(big, 'a', sizeof(big));
    const struct mp_subst *f;
    const char *cause = NULL;
    T_OK(!mp_is_err(mp_subst_compile(mp_str(big, sizeof(big) - 2), &fx.arena, &f, &cause)));
    T_OK(!mp_is_err(mp_subst_compile(mp_str(big, sizeof(big) - 1), &fx.arena, &f, &cause)));
    T_EQ(mp_subst_compile(mp_str(big, sizeof(big)), &fx.arena, &f, &cause).code, MP_E_LIMIT);
    T_OK(strcmp(cause, "the format is too long") == 0);
    fx_fini(&fx);
}

int main(void)
{
    mp_hash_set_key(1, 2);
    T_RUN(test_literals);
    T_RUN(test_request_headers);
    T_RUN(test_response);
    T_RUN(test_numbers);
    T_RUN(test_places);
    T_RUN(test_protocol);
    T_RUN(test_start_time);
    T_RUN(test_calendar);
    T_RUN(test_errors_name_the_cause);
    T_RUN(test_cut_at_capacity);
    T_RUN(test_absent_and_number);
    T_RUN(test_format_size);
    return T_DONE();
}
