/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Calendar dates in UTC by arithmetic alone: gmtime_r takes a process-wide lock, strftime asks the
 * locale. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct mp_civil {
    uint32_t year;
    uint8_t month, day; /* from 1 */
    uint8_t hour, minute, second;
    uint8_t weekday;  /* 0: Sunday */
    uint16_t yearday; /* from 0 */
};
/* Seconds since 1970. */
void mp_civil_of(uint64_t seconds, struct mp_civil *ret);

/* "2025-12-12T10:00:00.000Z". Years up to 9999. */
#define MP_RFC3339_MS_SIZE 24
void mp_rfc3339_ms(uint64_t wall_ns, char out[MP_RFC3339_MS_SIZE]);

/* n digits with leading zeros. */
static inline char *mp_put_digits(char *p, uint64_t v, unsigned n)
{
    for (unsigned i = n; i > 0; i--) {
        p[i - 1] = (char)('0' + v % 10);
        v /= 10;
    }
    return p + n;
}
/* As many digits as needed: at most MP_U64_DIGITS. */
#define MP_U64_DIGITS 20
char *mp_put_u64(char *p, uint64_t v);
