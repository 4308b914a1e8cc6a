/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Bucket layout. Bucket number = group * 16 + sub, groups 0 to 47.
 *
 *   group 0:      values 0 to 15, one bucket each (sub = value)
 *   group g >= 1: values 2^(g+3) to 2^(g+4) - 1 in 16 buckets of 2^(g-1) values;
 *                 sub = the four bits after the leading one
 *
 * So the values 0 to 31 have buckets of their own; from 32 on a bucket is 1/16 of its lower end
 * wide or less, its middle at most 1/32 off. The last bucket (group 47, sub 15) also takes
 * everything from 2^51 on. The 16 buckets of a group are one allocation, made at its first value.
 */
#include <math.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/stat.h"

#define BUCKETS (MP_HIST_POWERS * MP_HIST_SUB)

static uint32_t bucket_of(uint64_t v)
{
    if (v < MP_HIST_SUB) {
        return (uint32_t)v;
    }
    uint32_t power = 63 - (uint32_t)__builtin_clzll(v);
    uint32_t group = power - MP_HIST_SUB_BITS + 1;
    if (group >= MP_HIST_POWERS) {
        return BUCKETS - 1;
    }
    uint32_t sub = (uint32_t)(v >> (power - MP_HIST_SUB_BITS)) & (MP_HIST_SUB - 1);
    return group * MP_HIST_SUB + sub;
}

/* The smallest value of a bucket, and how many values it has. */
static uint64_t bucket_low(uint32_t i, uint64_t *ret_width)
{
    uint32_t group = i / MP_HIST_SUB, sub = i % MP_HIST_SUB;
    uint32_t shift = group > 0 ? group - 1 : 0;
    *ret_width = (uint64_t)1 << shift;
    return (uint64_t)(sub + (group > 0 ? MP_HIST_SUB : 0)) << shift;
}

/* One writer: plain load and store, relaxed, so that readers on other threads see whole words. */
static void bump(uint64_t *p, uint64_t by)
{
    __atomic_store_n(p, __atomic_load_n(p, __ATOMIC_RELAXED) + by, __ATOMIC_RELAXED);
}

void mp_hist_record(struct mp_hist *h, uint64_t v)
{
    uint32_t i = bucket_of(v);
    uint64_t *group = __atomic_load_n(&h->power[i / MP_HIST_SUB], __ATOMIC_RELAXED);
    if (MP_UNLIKELY(!group)) {
        group = mp_xcalloc_line(MP_HIST_SUB * sizeof(*group));
        __atomic_store_n(&h->power[i / MP_HIST_SUB], group, __ATOMIC_RELEASE);
    }
    bump(&group[i % MP_HIST_SUB], 1);
    bump(&h->count, 1);
    bump(&h->sum, v);
}

void mp_hist_free(struct mp_hist *h)
{
    for (size_t g = 0; g < MP_HIST_POWERS; g++) {
        free(h->power[g]);
        h->power[g] = NULL;
    }
    h->count = h->sum = 0;
}

void mp_hist_add_to(const struct mp_hist *h, struct mp_hist_sum *into)
{
    for (size_t g = 0; g < MP_HIST_POWERS; g++) {
        const uint64_t *group = __atomic_load_n(&h->power[g], __ATOMIC_ACQUIRE);
        if (!group) {
            continue;
        }
        for (size_t i = 0; i < MP_HIST_SUB; i++) {
            uint64_t n = __atomic_load_n(&group[i], __ATOMIC_RELAXED);
            into->bucket[g * MP_HIST_SUB + i] += n;
            /* Counted here, not taken from h->count: a reader beside the writer still gets a
             * count that is the sum of the buckets it saw. */
            into->count += n;
        }
    }
    into->sum += __atomic_load_n(&h->sum, __ATOMIC_RELAXED);
}

double mp_hist_quantile(const struct mp_hist_sum *s, double q)
{
    MP_ASSERT(q >= 0 && q <= 1);
    if (s->count == 0) {
        return NAN;
    }
    double rank = q * (double)s->count;
    double below = 0, value = 0;
    for (uint32_t i = 0; i < BUCKETS; i++) {
        if (s->bucket[i] == 0) {
            continue;
        }
        double n = (double)s->bucket[i];
        uint64_t width;
        double low = (double)bucket_low(i, &width);
        double share = MP_MIN((rank - below) / n, 1.0);
        /* From the first to the last value of the bucket: a bucket of one value is exact. */
        value = low + share * (double)(width - 1);
        below += n;
        if (below >= rank) {
            break;
        }
    }
    return value;
}

uint64_t mp_hist_count_le(const struct mp_hist_sum *s, uint64_t bound)
{
    uint32_t last = bucket_of(bound);
    uint64_t n = 0;
    for (uint32_t i = 0; i <= last; i++) {
        n += s->bucket[i];
    }
    return n;
}
