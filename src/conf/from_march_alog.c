/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* access_log: of a simple file: a place, or a place with a format and conditions. */
#include <math.h>
#include <stdio.h>

#include "conf/march.h"
#include "envoy_extensions_access_loggers_file_v3.pb-c.h"
#include "envoy_extensions_access_loggers_stream_v3.pb-c.h"

typedef Envoy__Config__Core__V3__SubstitutionFormatString pb_format;
typedef Envoy__Config__Accesslog__V3__AccessLogFilter pb_filter;
typedef Envoy__Config__Accesslog__V3__ComparisonFilter pb_comparison;
#define FILTER(x) ENVOY__CONFIG__ACCESSLOG__V3__ACCESS_LOG_FILTER__FILTER_SPECIFIER_##x

static pb_format *default_format(struct mp_march *m)
{
    pb_format *f = MP_MARCH_NEW(m, envoy__config__core__v3__substitution_format_string);
    Google__Protobuf__Struct *s = MP_MARCH_NEW(m, google__protobuf__struct);
    s->fields = MP_MARCH_LIST(m, s->fields, MP_CONF_DEFAULT_KEYS);
    for (size_t i = 0; i < MP_CONF_DEFAULT_KEYS; i++) {
        Google__Protobuf__Struct__FieldsEntry *e =
            MP_MARCH_NEW(m, google__protobuf__struct__fields_entry);
        e->key = (char *)mp_conf_default_keys[i].key;
        e->value = MP_MARCH_NEW(m, google__protobuf__value);
        e->value->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
        e->value->string_value = (char *)mp_conf_default_keys[i].format;
        s->fields[s->n_fields++] = e;
    }
    f->format_case = ENVOY__CONFIG__CORE__V3__SUBSTITUTION_FORMAT_STRING__FORMAT_JSON_FORMAT;
    f->json_format = s;
    return f;
}

/* A text is one line, a map one JSON object. */
static pb_format *own_format(struct mp_march *m, const pb_value *v)
{
    pb_format *f = MP_MARCH_NEW(m, envoy__config__core__v3__substitution_format_string);
    if (v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE) {
        f->format_case = ENVOY__CONFIG__CORE__V3__SUBSTITUTION_FORMAT_STRING__FORMAT_JSON_FORMAT;
        f->json_format = v->struct_value;
        return f;
    }
    if (v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE) {
        f->format_case = ENVOY__CONFIG__CORE__V3__SUBSTITUTION_FORMAT_STRING__FORMAT_TEXT_FORMAT;
        f->text_format = mp_march_printf(m, "%s\n", v->string_value);
        return f;
    }
    (void)mp_build_error(m->b, "access_log", "write a text with %OPERATORS%, or a map of them",
                         "format is neither a text nor a map");
    return default_format(m);
}

static const ProtobufCMessage *logger(struct mp_march *m, const char *to, pb_format *format,
                                      const char **ret_name)
{
    if (strcmp(to, "stdout") == 0) {
        Envoy__Extensions__AccessLoggers__Stream__V3__StdoutAccessLog *l =
            MP_MARCH_NEW(m, envoy__extensions__access_loggers__stream__v3__stdout_access_log);
        l->access_log_format_case =
            ENVOY__EXTENSIONS__ACCESS_LOGGERS__STREAM__V3__STDOUT_ACCESS_LOG__ACCESS_LOG_FORMAT_LOG_FORMAT;
        l->log_format = format;
        *ret_name = "envoy.access_loggers.stdout";
        return &l->base;
    }
    if (strcmp(to, "stderr") == 0) {
        Envoy__Extensions__AccessLoggers__Stream__V3__StderrAccessLog *l =
            MP_MARCH_NEW(m, envoy__extensions__access_loggers__stream__v3__stderr_access_log);
        l->access_log_format_case =
            ENVOY__EXTENSIONS__ACCESS_LOGGERS__STREAM__V3__STDERR_ACCESS_LOG__ACCESS_LOG_FORMAT_LOG_FORMAT;
        l->log_format = format;
        *ret_name = "envoy.access_loggers.stderr";
        return &l->base;
    }
    if (strcmp(to, "syslog") == 0 || strncmp(to, "syslog:", 7) == 0) {
        Marchproxy__Config__V1__SyslogAccessLog *l =
            MP_MARCH_NEW(m, marchproxy__config__v1__syslog_access_log);
        l->address = (char *)(to[6] ? to + 7 : "");
        l->log_format = format;
        *ret_name = "marchproxy.access_loggers.syslog";
        return &l->base;
    }
    Envoy__Extensions__AccessLoggers__File__V3__FileAccessLog *l =
        MP_MARCH_NEW(m, envoy__extensions__access_loggers__file__v3__file_access_log);
    l->path = (char *)to;
    l->access_log_format_case =
        ENVOY__EXTENSIONS__ACCESS_LOGGERS__FILE__V3__FILE_ACCESS_LOG__ACCESS_LOG_FORMAT_LOG_FORMAT;
    l->log_format = format;
    *ret_name = "envoy.access_loggers.file";
    return &l->base;
}

/* ---- conditions ---- */

static pb_filter *compare(struct mp_march *m, bool duration, uint32_t value)
{
    pb_comparison *c = MP_MARCH_NEW(m, envoy__config__accesslog__v3__comparison_filter);
    pb_filter *f = MP_MARCH_NEW(m, envoy__config__accesslog__v3__access_log_filter);
    c->op = ENVOY__CONFIG__ACCESSLOG__V3__COMPARISON_FILTER__OP__GE;
    c->value = MP_MARCH_NEW(m, envoy__config__core__v3__runtime_uint32);
    c->value->default_value = value;
    if (duration) {
        f->filter_specifier_case = FILTER(DURATION_FILTER);
        f->duration_filter = MP_MARCH_NEW(m, envoy__config__accesslog__v3__duration_filter);
        f->duration_filter->comparison = c;
    } else {
        f->filter_specifier_case = FILTER(STATUS_CODE_FILTER);
        f->status_code_filter = MP_MARCH_NEW(m, envoy__config__accesslog__v3__status_code_filter);
        f->status_code_filter->comparison = c;
    }
    return f;
}

static pb_filter *sample(struct mp_march *m, double percent)
{
    pb_filter *f = MP_MARCH_NEW(m, envoy__config__accesslog__v3__access_log_filter);
    f->filter_specifier_case = FILTER(RUNTIME_FILTER);
    f->runtime_filter = MP_MARCH_NEW(m, envoy__config__accesslog__v3__runtime_filter);
    f->runtime_filter->percent_sampled = MP_MARCH_NEW(m, envoy__type__v3__fractional_percent);
    f->runtime_filter->percent_sampled->numerator = (uint32_t)(percent * 10000 + 0.5);
    f->runtime_filter->percent_sampled->denominator =
        ENVOY__TYPE__V3__FRACTIONAL_PERCENT__DENOMINATOR_TYPE__MILLION;
    return f;
}

/* False: absent, or reported. */
static bool number(struct mp_march *m, const Google__Protobuf__Struct *s, const char *key,
                   double max, bool whole, double *ret)
{
    const pb_value *v = mp_march_member(s, key);
    if (!v) {
        return false;
    }
    double d = v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE ? v->number_value : -1;
    if (!(d >= 0 && d <= max) || (whole && d != floor(d))) {
        (void)mp_build_error(m->b, "access_log", NULL, "%s is out of range: 0 to %.0f", key, max);
        return false;
    }
    *ret = d;
    return true;
}

static pb_filter *conditions(struct mp_march *m, const Google__Protobuf__Struct *s)
{
    pb_filter *list[3];
    size_t n = 0;
    double v;
    if (number(m, s, "min_status", 599, true, &v)) {
        list[n++] = compare(m, false, (uint32_t)v);
    }
    if (number(m, s, "min_duration_ms", 4e9, true, &v)) {
        list[n++] = compare(m, true, (uint32_t)v);
    }
    if (number(m, s, "sample_percent", 100, false, &v)) {
        list[n++] = sample(m, v);
    }
    if (n < 2) {
        return n == 1 ? list[0] : NULL;
    }
    pb_filter *f = MP_MARCH_NEW(m, envoy__config__accesslog__v3__access_log_filter);
    f->filter_specifier_case = FILTER(AND_FILTER);
    f->and_filter = MP_MARCH_NEW(m, envoy__config__accesslog__v3__and_filter);
    f->and_filter->filters = MP_MARCH_LIST(m, f->and_filter->filters, n);
    for (size_t i = 0; i < n; i++) {
        f->and_filter->filters[f->and_filter->n_filters++] = list[i];
    }
    return f;
}

/* ---- the whole ---- */

static void check_keys(struct mp_march *m, const Google__Protobuf__Struct *s)
{
    static const char *const known[] = {"to", "format", "min_status", "min_duration_ms",
                                        "sample_percent"};
    for (size_t i = 0; i < s->n_fields; i++) {
        bool found = false;
        for (size_t k = 0; k < MP_COUNTOF(known); k++) {
            found |= strcmp(s->fields[i]->key, known[k]) == 0;
        }
        if (!found) {
            (void)mp_build_error(
                m->b, "access_log",
                "known are: to, format, min_status, min_duration_ms, sample_percent",
                "unknown key \"%s\"", s->fields[i]->key);
        }
    }
}

static bool is_place(const pb_value *v)
{
    return v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE &&
           (strcmp(v->string_value, "stdout") == 0 || strcmp(v->string_value, "stderr") == 0 ||
            strcmp(v->string_value, "syslog") == 0 || strchr(v->string_value, '/') ||
            strncmp(v->string_value, "syslog:", 7) == 0);
}

pb_access_log *mp_march_access_log(struct mp_march *m)
{
    const pb_value *v = m->file->access_log;
    const char *to = "stdout";
    pb_format *format = default_format(m);
    pb_filter *filter = NULL;
    if (v && v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE) {
        const Google__Protobuf__Struct *s = v->struct_value;
        const pb_value *own = mp_march_member(s, "format");
        check_keys(m, s);
        filter = conditions(m, s);
        format = own ? own_format(m, own) : format;
        v = mp_march_member(s, "to");
    }
    if (v && v->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE) {
        if (mp_march_is_off(v)) {
            return NULL;
        }
        if (!is_place(v)) {
            (void)mp_build_error(
                m->b, "access_log",
                "use stdout, stderr, syslog, off, or the path of a file (./access.log)",
                "not a place to log to");
            return NULL;
        }
        to = v->string_value;
    }
    pb_access_log *log = MP_MARCH_NEW(m, envoy__config__accesslog__v3__access_log);
    const char *name;
    const ProtobufCMessage *typed = logger(m, to, format, &name);
    log->name = (char *)name;
    log->filter = filter;
    log->config_type_case = ENVOY__CONFIG__ACCESSLOG__V3__ACCESS_LOG__CONFIG_TYPE_TYPED_CONFIG;
    log->typed_config = mp_march_any(m, typed);
    return log;
}
