/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/civil.h"

#include <stdbool.h>
#include <string.h>

static const char two_digits[] = "00010203040506070809101112131415161718192021222324"
                                 "25262728293031323334353637383940414243444546474849"
                                 "50515253545556575859606162636465666768697071727374"
                                 "75767778798081828384858687888990919293949596979899";

/* Years begin in March here, so that the leap day is the last one and months have a regular
 * pattern. */
void mp_civil_of(uint64_t seconds, struct mp_civil *ret)
{
    uint64_t days = seconds / 86400;
    uint32_t left = (uint32_t)(seconds % 86400);
    uint64_t shifted = days + 719468; /* since 0000-03-01 */
    uint64_t era = shifted / 146097;  /* of 400 years */
    uint32_t day_of_era = (uint32_t)(shifted % 146097);
    uint32_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint32_t month_from_march = (5 * day_of_year + 2) / 153;
    ret->day = (uint8_t)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
    ret->month = (uint8_t)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
    ret->year = (uint32_t)(era * 400 + year_of_era + (ret->month <= 2));
    ret->hour = (uint8_t)(left / 3600);
    ret->minute = (uint8_t)(left / 60 % 60);
    ret->second = (uint8_t)(left % 60);
    ret->weekday = (uint8_t)((days + 4) % 7);
    bool leap = (ret->year % 4 == 0 && ret->year % 100 != 0) || ret->year % 400 == 0;
    /* 1 March is day 59 of a common year. */
    ret->yearday = (uint16_t)(ret->month > 2 ? day_of_year + 59 + leap : day_of_year - 306);
}

static char *put2(char *p, unsigned v)
{
    memcpy(p, two_digits + 2 * v, 2);
    return p + 2;
}

void mp_rfc3339_ms(uint64_t wall_ns, char out[MP_RFC3339_MS_SIZE])
{
    struct mp_civil c;
    mp_civil_of(wall_ns / 1000000000u, &c);
    char *p = put2(out, c.year / 100 % 100);
    p = put2(p, c.year % 100);
    *p++ = '-';
    p = put2(p, c.month);
    *p++ = '-';
    p = put2(p, c.day);
    *p++ = 'T';
    p = put2(p, c.hour);
    *p++ = ':';
    p = put2(p, c.minute);
    *p++ = ':';
    p = put2(p, c.second);
    *p++ = '.';
    p = mp_put_digits(p, wall_ns / 1000000u % 1000, 3);
    *p = 'Z';
}

char *mp_put_u64(char *p, uint64_t v)
{
    char text[MP_U64_DIGITS];
    char *at = text + sizeof(text);
    while (v >= 100) {
        at -= 2;
        memcpy(at, two_digits + 2 * (v % 100), 2);
        v /= 100;
    }
    if (v >= 10) {
        at -= 2;
        memcpy(at, two_digits + 2 * v, 2);
    } else {
        *--at = (char)('0' + v);
    }
    size_t n = (size_t)(text + sizeof(text) - at);
    memcpy(p, at, n);
    return p + n;
}
