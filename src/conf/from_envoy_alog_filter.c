/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Filters of access loggers. */
#include "conf/build.h"

typedef Envoy__Config__Accesslog__V3__AccessLogFilter pb_filter;
typedef Envoy__Config__Accesslog__V3__ComparisonFilter pb_comparison;
#define KIND(x) ENVOY__CONFIG__ACCESSLOG__V3__ACCESS_LOG_FILTER__FILTER_SPECIFIER_##x

static void build(struct mp_conf_build *b, const pb_filter *m, struct mp_conf_alog_filter *ret);

static void build_comparison(struct mp_conf_build *b, const char *sub, const pb_comparison *m,
                             enum mp_conf_alog_test test, struct mp_conf_alog_filter *ret)
{
    ret->test = test;
    if (!m || !m->value) {
        mp_build_missing(b, sub, NULL, "%s", m ? "value is missing" : "comparison is missing");
        return;
    }
    if ((int)m->op < 0 || (int)m->op > (int)MP_COMPARE_LE) {
        (void)mp_build_error(b, sub, "use EQ, GE or LE", "op %d is not supported", (int)m->op);
        return;
    }
    ret->compare = (enum mp_conf_compare)m->op;
    ret->value = m->value->default_value;
}

static void build_sample(struct mp_conf_build *b,
                         const Envoy__Config__Accesslog__V3__RuntimeFilter *m,
                         struct mp_conf_alog_filter *ret)
{
    static const uint32_t per[] = {100, 10000, 1000000};
    const Envoy__Type__V3__FractionalPercent *p = m->percent_sampled;
    ret->test = MP_ALOG_SAMPLE;
    ret->independent = m->use_independent_randomness;
    if (!p) {
        mp_build_missing(b, "runtime_filter.percent_sampled",
                         "there is no runtime service: say how many here",
                         "percent_sampled is missing");
        return;
    }
    if ((int)p->denominator < 0 || (size_t)p->denominator >= MP_COUNTOF(per)) {
        (void)mp_build_error(b, "runtime_filter.percent_sampled.denominator", NULL,
                             "value %d is not supported", (int)p->denominator);
        return;
    }
    uint32_t d = per[p->denominator];
    ret->value = MP_MIN(p->numerator, d) * (1000000 / d);
}

static void build_list(struct mp_conf_build *b, const char *name, pb_filter *const *list, size_t n,
                       enum mp_conf_alog_test test, struct mp_conf_alog_filter *ret)
{
    ret->test = test;
    if (n < 2) {
        mp_build_missing(b, name, "give two filters or more", "filters are missing");
    }
    ret->list = mp_build_take(b, n, sizeof(*ret->list));
    ret->n = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        size_t mark = mp_build_enter(b, "%s.filters[%zu]", name, i);
        build(b, list[i], &ret->list[i]);
        mp_build_leave(b, mark);
    }
}

static void build_header(struct mp_conf_build *b,
                         const Envoy__Config__Accesslog__V3__HeaderFilter *m,
                         struct mp_conf_alog_filter *ret)
{
    ret->test = MP_ALOG_HEADER;
    if (!m->header) {
        mp_build_missing(b, "header_filter.header", NULL, "header is missing");
        return;
    }
    size_t mark = mp_build_enter(b, "header_filter");
    struct mp_conf_where w = mp_build_where(b);
    Envoy__Config__Route__V3__HeaderMatcher *const list[] = {m->header};
    if (!mp_is_err(mp_conf_header_matches(list, 1, &w, "header", b->arena, &ret->header)) &&
        ret->header->kind == MP_MATCH_REGEX) {
        (void)mp_build_error(b, "header", "use exact, prefix, suffix or contains",
                             "regular expressions are not supported in header_filter");
    }
    mp_build_leave(b, mark);
}

static void build_flags(struct mp_conf_build *b,
                        const Envoy__Config__Accesslog__V3__ResponseFlagFilter *m,
                        struct mp_conf_alog_filter *ret)
{
    ret->test = MP_ALOG_FLAGS;
    ret->flags = mp_build_take(b, m->n_flags, sizeof(*ret->flags));
    ret->n = (uint32_t)m->n_flags;
    for (size_t i = 0; i < m->n_flags; i++) {
        ret->flags[i] = mp_build_str(b, m->flags[i]);
    }
}

static void build_grpc(struct mp_conf_build *b,
                       const Envoy__Config__Accesslog__V3__GrpcStatusFilter *m,
                       struct mp_conf_alog_filter *ret)
{
    ret->test = MP_ALOG_GRPC_STATUS;
    ret->invert = m->exclude;
    for (size_t i = 0; i < m->n_statuses; i++) {
        if ((int)m->statuses[i] < 0 || (int)m->statuses[i] > 16) {
            (void)mp_build_error(b, "grpc_status_filter.statuses", NULL, "%d is no gRPC status",
                                 (int)m->statuses[i]);
            return;
        }
        ret->value |= 1u << m->statuses[i];
    }
}

static void build(struct mp_conf_build *b, const pb_filter *m, struct mp_conf_alog_filter *ret)
{
    switch (m->filter_specifier_case) {
    case KIND(STATUS_CODE_FILTER):
        build_comparison(b, "status_code_filter", m->status_code_filter->comparison, MP_ALOG_STATUS,
                         ret);
        break;
    case KIND(DURATION_FILTER):
        build_comparison(b, "duration_filter", m->duration_filter->comparison, MP_ALOG_DURATION,
                         ret);
        break;
    case KIND(NOT_HEALTH_CHECK_FILTER):
        ret->test = MP_ALOG_NOT_HEALTH_CHECK;
        break;
    case KIND(RUNTIME_FILTER):
        build_sample(b, m->runtime_filter, ret);
        break;
    case KIND(AND_FILTER):
        build_list(b, "and_filter", m->and_filter->filters, m->and_filter->n_filters, MP_ALOG_AND,
                   ret);
        break;
    case KIND(OR_FILTER):
        build_list(b, "or_filter", m->or_filter->filters, m->or_filter->n_filters, MP_ALOG_OR, ret);
        break;
    case KIND(HEADER_FILTER):
        build_header(b, m->header_filter, ret);
        break;
    case KIND(RESPONSE_FLAG_FILTER):
        build_flags(b, m->response_flag_filter, ret);
        break;
    case KIND(GRPC_STATUS_FILTER):
        build_grpc(b, m->grpc_status_filter, ret);
        break;
    default:
        mp_build_missing(b, NULL, NULL, "the filter is empty");
        break;
    }
}

struct mp_conf_alog_filter *
mp_build_alog_filter(struct mp_conf_build *b,
                     const Envoy__Config__Accesslog__V3__AccessLogFilter *m)
{
    if (!m) {
        return NULL;
    }
    struct mp_conf_alog_filter *f = mp_build_take(b, 1, sizeof(*f));
    size_t mark = mp_build_enter(b, "filter");
    build(b, m, f);
    mp_build_leave(b, mark);
    return f;
}
