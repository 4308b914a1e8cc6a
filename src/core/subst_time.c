/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* START_TIME formats: strftime's letters in the C locale and UTC, with Envoy's and absl's fractions
 * of a second. */
#include "core/civil.h"
#include "core/subst_int.h"

/* 'q' is a second with a fraction: %E3S. */
#define LETTERS "YymdeHIMSjaAbBhpZzTFDRsfuw"

static const char *const day_names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};
static const char *const month_names[] = {"January",   "February", "March",    "April",
                                          "May",       "June",     "July",     "August",
                                          "September", "October",  "November", "December"};

/* Parses one conversion after its '%'; returns the bytes used, 0 when it is unknown. */
static size_t conversion(struct mp_str s, struct subst_time *t)
{
    if (s.n >= 1 && s.p[0] == '%') {
        t->text = mp_str(s.p, 1);
        return 1;
    }
    if (s.n >= 3 && s.p[0] == 'E' && s.p[1] >= '1' && s.p[1] <= '9' &&
        (s.p[2] == 'S' || s.p[2] == 'f')) {
        t->letter = s.p[2] == 'S' ? 'q' : 'f';
        t->digits = (uint8_t)(s.p[1] - '0');
        return 3;
    }
    if (s.n >= 2 && s.p[0] >= '1' && s.p[0] <= '9' && s.p[1] == 'f') {
        t->letter = 'f';
        t->digits = (uint8_t)(s.p[0] - '0');
        return 2;
    }
    if (s.n >= 1 && s.p[0] != '\0' && strchr(LETTERS, s.p[0]) != NULL) {
        t->letter = s.p[0];
        t->digits = 9;
        return 1;
    }
    return 0;
}

mp_err mp_subst_time_compile(struct mp_str format, struct mp_arena *arena, struct subst_op *op,
                             const char **ret_cause)
{
    size_t max = 1;
    for (size_t i = 0; i < format.n; i++) {
        max += format.p[i] == '%' ? 2 : 0;
    }
    struct subst_time *times = mp_arena_zalloc(arena, max * sizeof(*times));
    if (times == NULL) {
        *ret_cause = "the format is too long";
        return MP_FAIL(LIMIT);
    }
    uint32_t n = 0;
    size_t text = 0, i = 0;
    while (i < format.n) {
        if (format.p[i] != '%') {
            i++;
            continue;
        }
        if (i > text) {
            times[n++].text = mp_str(format.p + text, i - text);
        }
        struct mp_str rest = mp_str(format.p + i + 1, format.n - i - 1);
        size_t used = conversion(rest, &times[n]);
        if (used == 0) {
            *ret_cause = mp_arena_printf(arena, "unknown time conversion %%%.*s",
                                         (int)MP_MIN(rest.n, (size_t)3), rest.p);
            return MP_FAIL(SYNTAX);
        }
        n++;
        i += 1 + used;
        text = i;
    }
    if (i > text) {
        times[n++].text = mp_str(format.p + text, i - text);
    }
    op->times = times;
    op->n_times = n;
    return MP_OK;
}

static void put_number(struct subst_out *o, uint64_t v, unsigned digits)
{
    char text[MP_U64_DIGITS];
    mp_subst_put(o, mp_str(text, (size_t)(mp_put_digits(text, v, digits) - text)));
}

static void put_fraction(struct subst_out *o, uint64_t ns, unsigned digits)
{
    char text[9];
    mp_put_digits(text, ns, 9);
    mp_subst_put(o, mp_str(text, digits));
}

static void put_c(struct subst_out *o, const char *z, size_t max)
{
    mp_subst_put(o, mp_str(z, MP_MIN(strlen(z), max)));
}

static void put_date(struct subst_out *o, char letter, const struct mp_civil *c)
{
    switch (letter) {
    case 'Y':
        put_number(o, c->year, 4);
        return;
    case 'y':
        put_number(o, c->year % 100, 2);
        return;
    case 'm':
        put_number(o, c->month, 2);
        return;
    case 'd':
        put_number(o, c->day, 2);
        return;
    case 'e':
        put_c(o, " ", c->day < 10);
        put_number(o, c->day, c->day < 10 ? 1 : 2);
        return;
    case 'j':
        put_number(o, c->yearday + 1u, 3);
        return;
    case 'u':
        put_number(o, c->weekday == 0 ? 7 : c->weekday, 1);
        return;
    case 'w':
        put_number(o, c->weekday, 1);
        return;
    case 'a':
    case 'A':
        put_c(o, day_names[c->weekday], letter == 'a' ? 3 : SIZE_MAX);
        return;
    default: /* b, h, B */
        put_c(o, month_names[c->month - 1], letter == 'B' ? SIZE_MAX : 3);
    }
}

static void put_parts(struct subst_out *o, const char *letters, char between,
                      const struct mp_civil *c);

static void put_clock(struct subst_out *o, const struct subst_time *t, uint64_t wall_ns,
                      const struct mp_civil *c)
{
    switch (t->letter) {
    case 'H':
        put_number(o, c->hour, 2);
        return;
    case 'I':
        put_number(o, c->hour % 12 == 0 ? 12 : c->hour % 12, 2);
        return;
    case 'M':
        put_number(o, c->minute, 2);
        return;
    case 'S':
    case 'q':
        put_number(o, c->second, 2);
        if (t->letter == 'q') {
            put_c(o, ".", 1);
            put_fraction(o, wall_ns % 1000000000u, t->digits);
        }
        return;
    case 'f':
        put_fraction(o, wall_ns % 1000000000u, t->digits);
        return;
    case 's': {
        char text[MP_U64_DIGITS];
        mp_subst_put(o, mp_str(text, (size_t)(mp_put_u64(text, wall_ns / 1000000000u) - text)));
        return;
    }
    case 'p':
        put_c(o, c->hour < 12 ? "AM" : "PM", 2);
        return;
    case 'Z':
        put_c(o, "UTC", 3);
        return;
    case 'z':
        put_c(o, "+0000", 5);
        return;
    case 'T':
        put_parts(o, "HMS", ':', c);
        return;
    case 'R':
        put_parts(o, "HM", ':', c);
        return;
    case 'F':
        put_parts(o, "Ymd", '-', c);
        return;
    case 'D':
        put_parts(o, "mdy", '/', c);
        return;
    default:
        put_date(o, t->letter, c);
    }
}

static void put_parts(struct subst_out *o, const char *letters, char between,
                      const struct mp_civil *c)
{
    for (size_t i = 0; letters[i] != '\0'; i++) {
        if (i > 0) {
            mp_subst_put(o, mp_str(&between, 1));
        }
        put_clock(o, &(struct subst_time){.letter = letters[i]}, 0, c);
    }
}

void mp_subst_time_eval(const struct subst_op *op, uint64_t wall_ns, struct subst_out *o)
{
    if (op->n_times == 0) {
        char text[MP_RFC3339_MS_SIZE];
        mp_rfc3339_ms(wall_ns, text);
        mp_subst_put(o, mp_str(text, sizeof(text)));
        return;
    }
    struct mp_civil c;
    mp_civil_of(wall_ns / 1000000000u, &c);
    for (uint32_t i = 0; i < op->n_times; i++) {
        if (op->times[i].letter == '\0') {
            mp_subst_put(o, op->times[i].text);
        } else {
            put_clock(o, &op->times[i], wall_ns, &c);
        }
    }
}
