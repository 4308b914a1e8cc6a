/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <math.h>

#include "base/mem.h"
#include "base/rand.h"
#include "base/stat.h"
#include "t.h"

static void one(uint64_t v, struct mp_hist_sum *s)
{
    struct mp_hist h = {0};
    *s = (struct mp_hist_sum){0};
    mp_hist_record(&h, v);
    mp_hist_add_to(&h, s);
    mp_hist_free(&h);
}

static size_t bucket(uint64_t v)
{
    struct mp_hist_sum s;
    one(v, &s);
    for (size_t i = 0; i < MP_COUNTOF(s.bucket); i++) {
        if (s.bucket[i]) {
            return i;
        }
    }
    return SIZE_MAX;
}

static void layout(void)
{
    for (uint64_t v = 0; v < 32; v++) {
        T_EQ(bucket(v), v);
    }
    T_EQ(bucket(32), 32);
    T_EQ(bucket(33), 32);
    T_EQ(bucket(34), 33);
    T_EQ(bucket(63), 47);
    T_EQ(bucket(64), 48);
    T_EQ(bucket(67), 48);
    T_EQ(bucket(68), 49);
    /* The ends of each power. */
    for (int p = 5; p < 51; p++) {
        uint64_t v = (uint64_t)1 << p;
        T_EQ(bucket(v), (p - 3) * 16);
        T_EQ(bucket(v - 1), (p - 3) * 16 - 1);
        T_EQ(bucket(v + 1), (p - 3) * 16);
    }
    uint64_t top = (uint64_t)1 << 51;
    T_EQ(bucket(top - 1), 767);
    T_EQ(bucket(top), 767);
    T_EQ(bucket(top + 1), 767);
    T_EQ(bucket(UINT64_MAX), 767);
    /* Monotone, and no bucket wider than 1/16 of its lower end. */
    struct mp_rand r;
    mp_rand_seed(&r, 5);
    for (int i = 0; i < 2000; i++) {
        uint64_t v = mp_rand_u64(&r) >> (14 + mp_rand_below(&r, 50));
        T_OK(bucket(v) <= bucket(v + 1));
        T_OK(v < 16 || bucket(v) < bucket(v + v / 16 + 1));
    }
}

static void small_values_exact(void)
{
    struct mp_hist_sum s;
    for (uint64_t v = 0; v < 32; v++) {
        one(v, &s);
        T_OK(mp_hist_quantile(&s, 0) == (double)v);
        T_OK(mp_hist_quantile(&s, 0.5) == (double)v);
        T_OK(mp_hist_quantile(&s, 1) == (double)v);
    }
    struct mp_hist h = {0};
    for (uint64_t v = 1; v <= 10; v++) {
        mp_hist_record(&h, v);
    }
    s = (struct mp_hist_sum){0};
    mp_hist_add_to(&h, &s);
    T_EQ(s.count, 10);
    T_EQ(s.sum, 55);
    T_OK(mp_hist_quantile(&s, 0.0) == 1);
    T_OK(mp_hist_quantile(&s, 0.1) == 1);
    T_OK(mp_hist_quantile(&s, 0.5) == 5);
    T_OK(mp_hist_quantile(&s, 0.51) == 6);
    T_OK(mp_hist_quantile(&s, 0.9) == 9);
    T_OK(mp_hist_quantile(&s, 1.0) == 10);
    for (uint64_t v = 0; v <= 11; v++) {
        T_EQ(mp_hist_count_le(&s, v), MP_MIN(v, (uint64_t)10));
    }
    T_EQ(mp_hist_count_le(&s, UINT64_MAX), 10);
    mp_hist_free(&h);
    T_EQ(h.count, 0);
    mp_hist_free(&h);
}

static void interpolation(void)
{
    /* 96 to 99 are one bucket: 4 values from 96 to 99, quantiles along the line. */
    struct mp_hist h = {0};
    for (uint64_t v = 96; v < 100; v++) {
        mp_hist_record(&h, v);
    }
    struct mp_hist_sum s = {0};
    mp_hist_add_to(&h, &s);
    T_OK(mp_hist_quantile(&s, 0) == 96);
    T_OK(fabs(mp_hist_quantile(&s, 0.5) - 97.5) < 1e-9);
    T_OK(mp_hist_quantile(&s, 1) == 99);
    mp_hist_free(&h);
    s = (struct mp_hist_sum){0};
    T_OK(isnan(mp_hist_quantile(&s, 0.5)));
    T_EQ(mp_hist_count_le(&s, 5), 0);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Against exact quantiles: bucket width is at most 1/16, so is the error. */
static void accuracy(void)
{
    enum { N = 50000 };
    uint64_t *v = mp_xmalloc(N * sizeof(*v));
    struct mp_rand r;
    mp_rand_seed(&r, 11);
    for (int shape = 0; shape < 3; shape++) {
        struct mp_hist h = {0};
        uint64_t sum = 0;
        for (int i = 0; i < N; i++) {
            double u = (double)(mp_rand_u64(&r) >> 11) / 9007199254740992.0;
            v[i] = shape == 0   ? (uint64_t)(u * 1e6)
                   : shape == 1 ? (uint64_t)(-log(1 - u) * 20000)
                                : mp_rand_u64(&r) >> mp_rand_below(&r, 40) >> 14;
            sum += v[i];
            mp_hist_record(&h, v[i]);
        }
        qsort(v, N, sizeof(*v), by_value);
        struct mp_hist_sum s = {0};
        mp_hist_add_to(&h, &s);
        T_EQ(s.count, N);
        T_OK(s.sum == sum);
        static const double qs[] = {0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999};
        double before = 0;
        for (size_t k = 0; k < MP_COUNTOF(qs); k++) {
            double exact = (double)v[(size_t)(qs[k] * N) - 1];
            double got = mp_hist_quantile(&s, qs[k]);
            T_OK(fabs(got - exact) <= exact / 16 + 1);
            T_OK(got >= before);
            before = got;
        }
        mp_hist_free(&h);
    }
    free(v);
}

static void adds_up(void)
{
    struct mp_hist a = {0}, b = {0};
    mp_hist_record(&a, 5);
    mp_hist_record(&b, 5);
    mp_hist_record(&b, 1000);
    struct mp_hist_sum s = {0};
    mp_hist_add_to(&a, &s);
    mp_hist_add_to(&b, &s);
    T_EQ(s.count, 3);
    T_EQ(s.sum, 1010);
    T_EQ(s.bucket[5], 2);
    T_EQ(mp_hist_count_le(&s, 5), 2);
    T_EQ(mp_hist_count_le(&s, 1000), 3);
    T_OK(!a.power[7]); /* only what was used exists */
    mp_hist_free(&a);
    mp_hist_free(&b);
}

int main(void)
{
    T_RUN(layout);
    T_RUN(small_values_exact);
    T_RUN(interpolation);
    T_RUN(accuracy);
    T_RUN(adds_up);
    return T_DONE();
}
