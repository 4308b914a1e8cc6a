/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "codec/hdr.h"
#include "codec/hdr_lookup.h"
#include "codec/scan.h"
#include "unit/t.h"

static const char *const known[] = {
#define MP_HDR(token, name) name,
#include "codec/hdr.def"
#undef MP_HDR
};

static void test_ids(void)
{
    T_EQ(MP_COUNTOF(known), MP_HDR_COUNT - 1);
    for (size_t i = 0; i < MP_COUNTOF(known); i++) {
        size_t n = strlen(known[i]);
        T_EQ(mp_hdr_id_of(known[i], n), i + 1);
        T_OK(mp_str_eq(mp_hdr_id_name((enum mp_hdr_id)(i + 1)), mp_str_c(known[i])));
        T_EQ(mp_hdr_candidate(known[i], n), i + 1);
    }
    T_EQ(mp_hdr_id_name(MP_HDR_OTHER).n, 0);
    T_EQ(mp_hdr_id_name(MP_HDR_COUNT).n, 0);
}

static void test_table_is_perfect(void)
{
    unsigned used = 0;
    for (size_t i = 0; i < 256; i++) {
        T_OK(mp_hdr_slots[i] < MP_HDR_COUNT);
        used += mp_hdr_slots[i] != 0;
    }
    T_EQ(used, MP_HDR_COUNT - 1);
}

/* One byte changed, added or left out gives another name, unless that is known too. */
static void test_near_misses(void)
{
    char name[64];
    for (size_t i = 0; i < MP_COUNTOF(known); i++) {
        size_t n = strlen(known[i]);
        for (size_t at = 0; at < n; at++) {
            memcpy(name, known[i], n);
            name[at] ^= 1;
            T_EQ(mp_hdr_id_of(name, n), MP_HDR_OTHER);
            memcpy(name, known[i], n);
            if (name[at] != '-' && !(name[at] >= '0' && name[at] <= '9')) {
                name[at] ^= 0x20; /* upper case: ids are for lower-case names */
                T_EQ(mp_hdr_id_of(name, n), MP_HDR_OTHER);
            }
        }
        memcpy(name, known[i], n);
        name[n] = 's';
        T_EQ(mp_hdr_id_of(name, n + 1), MP_HDR_OTHER);
        T_EQ(mp_hdr_id_of(name, n - 1), MP_HDR_OTHER);
    }
    T_EQ(mp_hdr_id_of("", 0), MP_HDR_OTHER);
    memset(name, 'x', sizeof(name));
    T_EQ(mp_hdr_id_of(name, sizeof(name)), MP_HDR_OTHER);
    T_EQ(mp_hdr_id_of(NULL, 0), MP_HDR_OTHER);
}

/* The grammar in another notation than the tables'. */
static bool is_tchar(int c)
{
    return c != 0 && strchr("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                            "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
                            c) != NULL;
}

static void test_names_and_values(void)
{
    for (int c = 0; c < 256; c++) {
        char one = (char)c;
        char three[] = {'a', one, 'b'};
        bool value = c == '\t' || (c >= 0x20 && c != 0x7f);
        T_EQ(mp_hdr_name_ok(mp_str(&one, 1)), is_tchar(c));
        T_EQ(mp_hdr_name_ok(mp_str(three, 3)), is_tchar(c));
        T_EQ(mp_hdr_value_ok(mp_str(&one, 1)), value);
        /* At every place of values of every length: all the ways of the scan. */
        for (size_t n = 1; n <= 40; n++) {
            for (size_t at = 0; at < n; at++) {
                char *v = malloc(n);
                memset(v, 'x', n);
                v[at] = one;
                bool got = mp_hdr_value_ok(mp_str(v, n));
                free(v);
                T_EQ(got, value);
            }
        }
    }
    T_OK(!mp_hdr_name_ok(MP_STR("")));
    T_OK(mp_hdr_value_ok(MP_STR("")));
    T_OK(mp_hdr_value_ok(mp_str(NULL, 0)));
}

static void test_classes(void)
{
    for (int c = 0; c < 256; c++) {
        bool alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool digit = c >= '0' && c <= '9';
        bool unreserved = alpha || digit || (c && strchr("-._~", c));
        bool sub = c && strchr("!$&'()*+,;=", c);
        T_EQ(mp_c_is((char)c, MP_C_TARGET), c > 0x20 && c < 0x7f && c != '#');
        T_EQ(mp_c_is((char)c, MP_C_UNRESERVED), unreserved);
        T_EQ(mp_c_is((char)c, MP_C_REGNAME), unreserved || sub);
        bool loose = c && strchr(":@/[]^{|}", c);
        T_EQ(mp_c_is((char)c, MP_C_PATH), unreserved || sub || loose);
        T_EQ(mp_c_is((char)c, MP_C_HEX), digit || (c && strchr("abcdefABCDEF", c)));
        T_EQ(mp_c_is((char)c, MP_C_DIGIT), digit);
        int low = c >= 'A' && c <= 'Z' ? c + 32 : c;
        T_EQ(mp_tchar_lower[c], is_tchar(c) ? low : 0);
    }
    T_EQ(mp_c_hex('0') << 8 | mp_c_hex('a') << 4 | mp_c_hex('F'), 0x0af);
}

/* The first odd byte is found wherever it lies, and nothing behind the end counts. */
static void test_scan(void)
{
    for (size_t n = 0; n <= 70; n++) {
        for (size_t from = 0; from <= n; from++) {
            for (size_t odd = from; odd <= n; odd++) {
                char *buf = malloc(n + 1);
                memset(buf, 'a', n + 1);
                buf[odd] = '\n';
                for (size_t k = odd + 1; k <= n; k += 3) {
                    buf[k] = 0x7f;
                }
                memset(buf, 0, from); /* what lies before is not looked at */
                const char *v = mp_scan_value(buf + from, buf + n, buf);
                const char *t = mp_scan_target(buf + from, buf + n, buf);
                bool ok = v == buf + odd && t == buf + odd;
                free(buf);
                T_OK(ok);
            }
        }
    }
}

static void test_methods(void)
{
    static const char *const names[] = {"GET",     "HEAD",    "POST",  "PUT",  "DELETE",
                                        "CONNECT", "OPTIONS", "TRACE", "PATCH"};
    T_EQ(MP_COUNTOF(names), MP_METHOD_COUNT - 1);
    for (size_t i = 0; i < MP_COUNTOF(names); i++) {
        struct mp_str s = mp_str_c(names[i]);
        T_EQ(mp_method_of(s), i + 1);
        T_OK(mp_str_eq(mp_method_name((enum mp_method)(i + 1)), s));
        char other[8];
        for (size_t at = 0; at < s.n; at++) {
            memcpy(other, s.p, s.n);
            other[at] ^= 0x20; /* case-sensitive */
            T_EQ(mp_method_of(mp_str(other, s.n)), MP_METHOD_OTHER);
        }
    }
    T_EQ(mp_method_of(MP_STR("")), MP_METHOD_OTHER);
    T_EQ(mp_method_of(MP_STR("PROPFIND")), MP_METHOD_OTHER);
    T_EQ(mp_method_name(MP_METHOD_OTHER).n, 0);
    T_EQ(mp_method_name(MP_METHOD_COUNT).n, 0);
    T_OK(mp_method_idempotent(MP_METHOD_PUT));
    T_OK(!mp_method_idempotent(MP_METHOD_POST));
    T_OK(!mp_method_idempotent(MP_METHOD_CONNECT));
}

static void test_status_reasons(void)
{
    static const struct {
        unsigned status;
        const char *text;
    } some[] = {{100, "Continue"},
                {103, "Early Hints"},
                {104, ""},
                {199, ""},
                {200, "OK"},
                {204, "No Content"},
                {206, "Partial Content"},
                {209, ""},
                {226, "IM Used"},
                {301, "Moved Permanently"},
                {304, "Not Modified"},
                {306, ""},
                {307, "Temporary Redirect"},
                {308, "Permanent Redirect"},
                {400, "Bad Request"},
                {404, "Not Found"},
                {413, "Content Too Large"},
                {414, "URI Too Long"},
                {417, "Expectation Failed"},
                {418, ""},
                {421, "Misdirected Request"},
                {426, "Upgrade Required"},
                {428, "Precondition Required"},
                {429, "Too Many Requests"},
                {431, "Request Header Fields Too Large"},
                {451, "Unavailable For Legal Reasons"},
                {452, ""},
                {500, "Internal Server Error"},
                {502, "Bad Gateway"},
                {503, "Service Unavailable"},
                {504, "Gateway Timeout"},
                {511, "Network Authentication Required"},
                {512, ""},
                {599, ""},
                {600, ""},
                {99, ""},
                {0, ""},
                {4000000000u, ""}};
    for (size_t i = 0; i < MP_COUNTOF(some); i++) {
        T_OK(mp_str_eq(mp_status_reason(some[i].status), mp_str_c(some[i].text)));
    }
}

int main(void)
{
    T_RUN(test_ids);
    T_RUN(test_table_is_perfect);
    T_RUN(test_near_misses);
    T_RUN(test_names_and_values);
    T_RUN(test_classes);
    T_RUN(test_scan);
    T_RUN(test_methods);
    T_RUN(test_status_reasons);
    return T_DONE();
}
