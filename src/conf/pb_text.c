/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Numbers, times and bytes as proto3 JSON writes them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "conf/pb_int.h"

#define SECONDS_MAX 315576000000 /* 10,000 years: the range of Duration */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Numbers with a fraction or an exponent that are whole all the same: 1e3, 5.0. Beyond 2^53 doubles
 * skip integers. */
static bool whole_double(struct mp_str s, double *ret)
{
    double d;
    if (!mp_pb_text_double(s, &d) || d != floor(d) || fabs(d) > 9007199254740992.0) {
        return false;
    }
    *ret = d;
    return true;
}

enum shape { SHAPE_INTEGER, SHAPE_OCTAL, SHAPE_OTHER };

/* Optional sign and digits. A leading zero is octal to one reader and decimal to the next: never
 * taken. */
static enum shape shape_of(struct mp_str s)
{
    size_t i = s.n > 0 && s.p[0] == '-';
    if (i == s.n) {
        return SHAPE_OTHER;
    }
    bool zero = s.n - i > 1 && s.p[i] == '0';
    for (; i < s.n; i++) {
        if (!is_digit(s.p[i])) {
            return SHAPE_OTHER;
        }
    }
    return zero ? SHAPE_OCTAL : SHAPE_INTEGER;
}

/* Size and sign of an integer in any of its shapes; false with *ret_why set. */
static bool read_integer(struct mp_str s, bool *ret_negative, uint64_t *ret_size,
                         const char **ret_why)
{
    double d;
    switch (shape_of(s)) {
    case SHAPE_OCTAL:
        *ret_why = "has a leading zero, which some read as octal";
        return false;
    case SHAPE_OTHER:
        if (!whole_double(s, &d)) {
            *ret_why = "is not a whole number";
            return false;
        }
        *ret_negative = d < 0;
        *ret_size = (uint64_t)fabs(d);
        return true;
    case SHAPE_INTEGER:
        *ret_negative = s.p[0] == '-';
        if (mp_is_err(mp_str_to_u64(mp_str(s.p + *ret_negative, s.n - *ret_negative), ret_size))) {
            *ret_why = "is out of range";
            return false;
        }
        *ret_negative &= *ret_size != 0;
        return true;
    }
    return false;
}

bool mp_pb_text_i64(struct mp_str s, int64_t min, int64_t max, int64_t *ret, const char **ret_why)
{
    bool negative;
    uint64_t size;
    if (!read_integer(s, &negative, &size, ret_why)) {
        return false;
    }
    /* The magnitude of INT64_MIN does not fit an int64_t. */
    if (negative ? size > 0 - (uint64_t)min : size > (uint64_t)max) {
        *ret_why = "is out of range";
        return false;
    }
    *ret = negative ? (int64_t)(0 - size) : (int64_t)size;
    return true;
}

bool mp_pb_text_u64(struct mp_str s, uint64_t max, uint64_t *ret, const char **ret_why)
{
    bool negative;
    uint64_t size;
    if (!read_integer(s, &negative, &size, ret_why)) {
        return false;
    }
    if (negative || size > max) {
        *ret_why = negative ? "is negative" : "is out of range";
        return false;
    }
    *ret = size;
    return true;
}

bool mp_pb_text_double(struct mp_str s, double *ret)
{
    static const struct {
        const char *name;
        double value;
    } special[] = {{"NaN", NAN}, {"Infinity", INFINITY}, {"-Infinity", -INFINITY}};
    for (size_t i = 0; i < MP_COUNTOF(special); i++) {
        if (mp_str_eq(s, mp_str_c(special[i].name))) {
            *ret = special[i].value;
            return true;
        }
    }
    char buf[64];
    bool digits = false;
    if (s.n == 0 || s.n >= sizeof(buf) || s.p[0] == '+') {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        digits |= is_digit(s.p[i]);
        if (!is_digit(s.p[i]) && !strchr("+-.eE", s.p[i])) {
            return false;
        }
    }
    memcpy(buf, s.p, s.n);
    buf[s.n] = '\0';
    char *end;
    double d = strtod(buf, &end);
    if (!digits || *end || isinf(d)) {
        return false;
    }
    *ret = d;
    return true;
}

/* Digits after a point as nanoseconds; s is what follows the point. */
static bool fraction(struct mp_str s, int32_t *ret_ns)
{
    int32_t ns = 0;
    if (s.n == 0 || s.n > 9) {
        return false;
    }
    for (size_t i = 0; i < 9; i++) {
        if (i < s.n && !is_digit(s.p[i])) {
            return false;
        }
        ns = ns * 10 + (i < s.n ? s.p[i] - '0' : 0);
    }
    *ret_ns = ns;
    return true;
}

bool mp_pb_text_duration(struct mp_str s, int64_t *ret_s, int32_t *ret_ns)
{
    uint64_t seconds = 0;
    int32_t ns = 0;
    if (s.n < 2 || s.p[s.n - 1] != 's') {
        return false;
    }
    bool negative = s.p[0] == '-';
    s = mp_str(s.p + negative, s.n - negative - 1);
    ptrdiff_t dot = mp_str_chr(s, '.', 0);
    struct mp_str whole = dot < 0 ? s : mp_str(s.p, (size_t)dot);
    if (dot >= 0 && !fraction(mp_str(s.p + dot + 1, s.n - (size_t)dot - 1), &ns)) {
        return false;
    }
    /* ".5s" is read as well; "." alone was refused above. */
    if ((whole.n > 0 || dot < 0) && mp_is_err(mp_str_to_u64(whole, &seconds))) {
        return false;
    }
    if (seconds > SECONDS_MAX || (seconds == SECONDS_MAX && ns > 0)) {
        return false;
    }
    *ret_s = negative ? -(int64_t)seconds : (int64_t)seconds;
    *ret_ns = negative ? -ns : ns;
    return true;
}

static bool two_digits(const char *p, int lo, int hi, int *ret)
{
    if (!is_digit(p[0]) || !is_digit(p[1])) {
        return false;
    }
    *ret = (p[0] - '0') * 10 + p[1] - '0';
    return *ret >= lo && *ret <= hi;
}

bool mp_pb_text_timestamp(struct mp_str s, int64_t *ret_s, int32_t *ret_ns)
{
    struct tm tm = {0};
    int century, year, month, offset_h = 0, offset_m = 0, sign = 0;
    int32_t ns = 0;
    /* 2024-02-29T12:30:00 is 19 long, then [.fraction] and Z or +hh:mm. */
    if (s.n < 20 || s.p[4] != '-' || s.p[7] != '-' || (s.p[10] != 'T' && s.p[10] != 't') ||
        s.p[13] != ':' || s.p[16] != ':') {
        return false;
    }
    if (!two_digits(s.p, 0, 99, &century) || !two_digits(s.p + 2, 0, 99, &year) ||
        !two_digits(s.p + 5, 1, 12, &month) || !two_digits(s.p + 8, 1, 31, &tm.tm_mday) ||
        !two_digits(s.p + 11, 0, 23, &tm.tm_hour) || !two_digits(s.p + 14, 0, 59, &tm.tm_min) ||
        !two_digits(s.p + 17, 0, 59, &tm.tm_sec) || century + year == 0) {
        return false;
    }
    tm.tm_year = century * 100 + year - 1900;
    tm.tm_mon = month - 1;
    int day = tm.tm_mday;
    struct mp_str rest = mp_str(s.p + 19, s.n - 19);
    if (rest.p[0] == '.') {
        size_t n = 1;
        while (n < rest.n && is_digit(rest.p[n])) {
            n++;
        }
        if (!fraction(mp_str(rest.p + 1, n - 1), &ns)) {
            return false;
        }
        rest = mp_str(rest.p + n, rest.n - n);
    }
    if (rest.n == 6 && (rest.p[0] == '+' || rest.p[0] == '-') && rest.p[3] == ':') {
        sign = rest.p[0] == '+' ? -1 : 1;
        if (!two_digits(rest.p + 1, 0, 23, &offset_h) ||
            !two_digits(rest.p + 4, 0, 59, &offset_m)) {
            return false;
        }
    } else if (!mp_str_ieq(rest, MP_STR("Z"))) {
        return false;
    }
    time_t t = timegm(&tm);
    if (tm.tm_mday != day) { /* 31 April */
        return false;
    }
    *ret_s = (int64_t)t + sign * (offset_h * 3600 + offset_m * 60);
    *ret_ns = ns;
    return true;
}

bool mp_pb_text_base64(struct mp_str s, uint8_t *out, size_t *ret_n)
{
    size_t n = 0;
    uint32_t bits = 0;
    unsigned have = 0;
    size_t end = s.n;
    while (end > 0 && s.n - end < 2 && s.p[end - 1] == '=') {
        end--;
    }
    if ((end < s.n && s.n % 4 != 0) || end % 4 == 1) {
        return false;
    }
    for (size_t i = 0; i < end; i++) {
        char c = s.p[i];
        uint32_t v = c >= 'A' && c <= 'Z'   ? (uint32_t)(c - 'A')
                     : c >= 'a' && c <= 'z' ? (uint32_t)(c - 'a') + 26
                     : is_digit(c)          ? (uint32_t)(c - '0') + 52
                     : c == '+' || c == '-' ? 62
                     : c == '/' || c == '_' ? 63
                                            : 64;
        if (v == 64) {
            return false;
        }
        bits = bits << 6 | v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (uint8_t)(bits >> have);
        }
    }
    if (bits & ((1u << have) - 1)) { /* bits that belong to no byte */
        return false;
    }
    *ret_n = n;
    return true;
}

/* ---- writing ---- */

void mp_pb_add_double(struct mp_sb *out, double d, bool is_float)
{
    if (isnan(d) || isinf(d)) {
        mp_sb_add_c(out, isnan(d) ? "\"NaN\"" : d > 0 ? "\"Infinity\"" : "\"-Infinity\"");
        return;
    }
    /* The shortest form that reads back as the same number. */
    char text[40];
    for (int digits = is_float ? 6 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, d);
        double back = strtod(text, NULL);
        if (is_float ? (float)back == (float)d : back == d) {
            break;
        }
    }
    mp_sb_add_c(out, text);
}

/* ".5", ".123456789": three, six or nine digits. */
static void add_fraction(struct mp_sb *out, int64_t ns)
{
    if (ns == 0) {
        return;
    }
    if (ns % 1000000 == 0) {
        mp_sb_printf(out, ".%03d", (int)(ns / 1000000));
    } else if (ns % 1000 == 0) {
        mp_sb_printf(out, ".%06d", (int)(ns / 1000));
    } else {
        mp_sb_printf(out, ".%09lld", (long long)ns);
    }
}

void mp_pb_add_duration(struct mp_sb *out, int64_t s, int32_t ns)
{
    bool negative = s < 0 || ns < 0;
    mp_sb_printf(out, "\"%s%llu", negative ? "-" : "",
                 s < 0 ? 0 - (unsigned long long)s : (unsigned long long)s);
    add_fraction(out, ns < 0 ? -(int64_t)ns : ns);
    mp_sb_add_c(out, "s\"");
}

void mp_pb_add_timestamp(struct mp_sb *out, int64_t s, int32_t ns)
{
    struct tm tm;
    time_t t = (time_t)s;
    char text[64];
    if (!gmtime_r(&t, &tm) || strftime(text, sizeof(text), "%FT%T", &tm) == 0) {
        mp_sb_add_c(out, "null");
        return;
    }
    mp_sb_printf(out, "\"%s", text);
    add_fraction(out, ns);
    mp_sb_add_c(out, "Z\"");
}

void mp_pb_add_base64(struct mp_sb *out, const uint8_t *p, size_t n)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    mp_sb_add_char(out, '"');
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) |
                     (i + 2 < n ? p[i + 2] : 0);
        mp_sb_add_char(out, alphabet[v >> 18]);
        mp_sb_add_char(out, alphabet[v >> 12 & 63]);
        mp_sb_add_char(out, i + 1 < n ? alphabet[v >> 6 & 63] : '=');
        mp_sb_add_char(out, i + 2 < n ? alphabet[v & 63] : '=');
    }
    mp_sb_add_char(out, '"');
}
