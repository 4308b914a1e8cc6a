/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Access loggers: standard output, standard error, files, syslog. */
#include "conf/build.h"
#include "envoy_extensions_access_loggers_file_v3.pb-c.h"
#include "envoy_extensions_access_loggers_stream_v3.pb-c.h"
#include "marchproxy_config_v1.pb-c.h"

typedef Envoy__Config__Core__V3__SubstitutionFormatString pb_format;
typedef Envoy__Extensions__AccessLoggers__File__V3__FileAccessLog pb_file_log;

/* What Envoy writes when nothing is configured. */
static const char default_text[] =
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" "
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "
    "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" "
    "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

const struct mp_conf_default_key mp_conf_default_keys[MP_CONF_DEFAULT_KEYS] = {
    {"start_time", "%START_TIME%"},
    {"method", "%REQ(:METHOD)%"},
    {"path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"},
    {"response_code", "%RESPONSE_CODE%"},
    {"bytes_sent", "%BYTES_SENT%"},
    {"bytes_received", "%BYTES_RECEIVED%"},
    {"duration", "%DURATION%"},
    {"user_agent", "%REQ(USER-AGENT)%"},
};

static void check_format(struct mp_conf_build *b, const char *sub, const char *z)
{
    const char *cause = NULL;
    if (b->opts->registry->check_format) {
        if (mp_is_err(b->opts->registry->check_format(mp_str_c(z), &cause))) {
            (void)mp_build_error(b, sub, "write %% for a percent sign", "%s",
                                 cause ? cause : "bad format");
        }
    } else if (strchr(z, '%')) {
        (void)mp_build_error(b, sub, NULL, "%%OPERATORS%% are not available here");
    }
}

static void set_text(struct mp_conf_build *b, const char *sub, const char *z,
                     struct mp_conf_alog *ret)
{
    if (z[0] == '\0') {
        (void)mp_build_error(b, sub, NULL, "the format is empty");
        return;
    }
    check_format(b, sub, z);
    ret->text = mp_build_str(b, z);
}

/* The very keys of the default format, in its order. */
static bool is_default(const struct mp_conf_alog *a)
{
    if (a->n_json != MP_CONF_DEFAULT_KEYS || a->omit_empty) {
        return false;
    }
    for (size_t i = 0; i < MP_CONF_DEFAULT_KEYS; i++) {
        if (!mp_str_eq(a->json[i].key, mp_str_c(mp_conf_default_keys[i].key)) ||
            !mp_str_eq(a->json[i].format, mp_str_c(mp_conf_default_keys[i].format))) {
            return false;
        }
    }
    return true;
}

static void set_json(struct mp_conf_build *b, const char *sub, const Google__Protobuf__Struct *s,
                     struct mp_conf_alog *ret)
{
    size_t mark = mp_build_enter(b, "%s", sub);
    ret->json = mp_build_take(b, s->n_fields, sizeof(*ret->json));
    if (s->n_fields == 0) {
        (void)mp_build_error(b, NULL, NULL, "the format is empty");
    }
    for (size_t i = 0; i < s->n_fields; i++) {
        const Google__Protobuf__Struct__FieldsEntry *e = s->fields[i];
        size_t mark2 = mp_build_enter(b, "[\"%s\"]", e->key);
        if (!e->value || e->value->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE) {
            (void)mp_build_error(b, NULL, "write one level of keys with text values",
                                 "only text is supported as the value of a JSON key");
        } else {
            check_format(b, NULL, e->value->string_value);
            ret->json[ret->n_json++] = (struct mp_conf_json_key){
                .key = mp_build_str(b, e->key), .format = mp_build_str(b, e->value->string_value)};
        }
        mp_build_leave(b, mark2);
    }
    mp_build_leave(b, mark);
    ret->default_json = is_default(ret);
}

static void set_format(struct mp_conf_build *b, const pb_format *m, struct mp_conf_alog *ret)
{
    size_t mark = mp_build_enter(b, "log_format");
    ret->omit_empty = m->omit_empty_values;
    switch (m->format_case) {
    case ENVOY__CONFIG__CORE__V3__SUBSTITUTION_FORMAT_STRING__FORMAT_TEXT_FORMAT:
        set_text(b, "text_format", m->text_format, ret);
        break;
    case ENVOY__CONFIG__CORE__V3__SUBSTITUTION_FORMAT_STRING__FORMAT_JSON_FORMAT:
        set_json(b, "json_format", m->json_format, ret);
        break;
    case ENVOY__CONFIG__CORE__V3__SUBSTITUTION_FORMAT_STRING__FORMAT_TEXT_FORMAT_SOURCE: {
        struct mp_str text;
        if (mp_build_data_source(b, "text_format_source", m->text_format_source, &text)) {
            set_text(b, "text_format_source", text.p, ret);
        }
        break;
    }
    default:
        mp_build_missing(b, NULL, "add text_format or json_format", "the format is empty");
        break;
    }
    mp_build_leave(b, mark);
}

static void set_path(struct mp_conf_build *b, const char *path, struct mp_conf_alog *ret)
{
    ret->path = mp_build_str(b, path);
    if (strcmp(path, "/dev/stdout") == 0) {
        ret->kind = MP_ALOG_STDOUT;
    } else if (strcmp(path, "/dev/stderr") == 0) {
        ret->kind = MP_ALOG_STDERR;
    } else {
        ret->kind = MP_ALOG_FILE;
    }
}

void mp_build_default_alog(struct mp_conf_build *b, const char *path, struct mp_conf_alog *ret)
{
    *ret = (struct mp_conf_alog){.kind = MP_ALOG_STDOUT};
    if (path) {
        set_path(b, path, ret);
    }
    set_text(b, NULL, default_text, ret);
}

static void build_file(struct mp_conf_build *b, const pb_file_log *m, struct mp_conf_alog *ret)
{
    if (m->path[0] == '\0') {
        mp_build_missing(b, "path", NULL, "path is missing");
    }
    set_path(b, m->path, ret);
    switch (m->access_log_format_case) {
    case ENVOY__EXTENSIONS__ACCESS_LOGGERS__FILE__V3__FILE_ACCESS_LOG__ACCESS_LOG_FORMAT_FORMAT:
        if (m->format[0]) { /* empty: the default, as Envoy takes it */
            set_text(b, "format", m->format, ret);
        } else {
            mp_build_default_alog(b, m->path, ret);
        }
        break;
    case ENVOY__EXTENSIONS__ACCESS_LOGGERS__FILE__V3__FILE_ACCESS_LOG__ACCESS_LOG_FORMAT_JSON_FORMAT:
        set_json(b, "json_format", m->json_format, ret);
        break;
    case ENVOY__EXTENSIONS__ACCESS_LOGGERS__FILE__V3__FILE_ACCESS_LOG__ACCESS_LOG_FORMAT_TYPED_JSON_FORMAT:
        set_json(b, "typed_json_format", m->typed_json_format, ret);
        break;
    case ENVOY__EXTENSIONS__ACCESS_LOGGERS__FILE__V3__FILE_ACCESS_LOG__ACCESS_LOG_FORMAT_LOG_FORMAT:
        set_format(b, m->log_format, ret);
        break;
    default:
        mp_build_default_alog(b, m->path, ret);
        break;
    }
}

/* Header fields of a syslog line hold no blank. */
static bool is_word(const char *z, size_t max)
{
    size_t n = strlen(z);
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)z[i] <= ' ' || (unsigned char)z[i] >= 0x7f) {
            return false;
        }
    }
    return n > 0 && n <= max;
}

static void set_syslog(struct mp_conf_build *b, const Marchproxy__Config__V1__SyslogAccessLog *m,
                       struct mp_conf_alog *ret)
{
    const char *address = m->address[0] ? m->address : "unix:/dev/log";
    const char *app = m->app_name[0] ? m->app_name : "marchproxy";
    uint32_t facility = 16;
    mp_build_u32(b, "facility", m->facility, 0, 23, &facility);
    if (!is_word(app, 48)) {
        (void)mp_build_error(b, "app_name", "use up to 48 letters without blanks",
                             "not a name for syslog");
    }
    ret->kind = MP_ALOG_SYSLOG;
    ret->path = mp_build_str(b, address);
    ret->app_name = mp_build_str(b, app);
    ret->facility = (uint8_t)facility;
}

static bool build_one(struct mp_conf_build *b, const ProtobufCMessage *m, struct mp_conf_alog *ret)
{
    const pb_format *format = NULL;
    const ProtobufCMessageDescriptor *d = m->descriptor;
    if (d == &envoy__extensions__access_loggers__file__v3__file_access_log__descriptor) {
        build_file(b, (const pb_file_log *)m, ret);
        return true;
    }
    if (d == &envoy__extensions__access_loggers__stream__v3__stdout_access_log__descriptor) {
        format =
            ((const Envoy__Extensions__AccessLoggers__Stream__V3__StdoutAccessLog *)m)->log_format;
        ret->kind = MP_ALOG_STDOUT;
    } else if (d == &envoy__extensions__access_loggers__stream__v3__stderr_access_log__descriptor) {
        format =
            ((const Envoy__Extensions__AccessLoggers__Stream__V3__StderrAccessLog *)m)->log_format;
        ret->kind = MP_ALOG_STDERR;
    } else if (d == &marchproxy__config__v1__syslog_access_log__descriptor) {
        const Marchproxy__Config__V1__SyslogAccessLog *l =
            (const Marchproxy__Config__V1__SyslogAccessLog *)m;
        set_syslog(b, l, ret);
        format = l->log_format;
    } else {
        (void)mp_build_error(b, NULL, NULL, "%s is not an access logger", d->name);
        return false;
    }
    if (format) {
        set_format(b, format, ret);
    } else {
        set_text(b, NULL, default_text, ret);
    }
    return true;
}

void mp_build_alogs(struct mp_conf_build *b, pb_access_log **logs, size_t n,
                    struct mp_conf_alog **ret, uint32_t *ret_n)
{
    *ret = mp_build_take(b, n, sizeof(**ret));
    for (size_t i = 0; i < n; i++) {
        size_t mark = mp_build_enter(b, "access_log[%zu]", i);
        const ProtobufCMessage *m = mp_build_any(b, "typed_config", logs[i]->typed_config);
        size_t mark2 = mp_build_enter(b, "typed_config");
        bool ok = m && build_one(b, m, &(*ret)[*ret_n]);
        mp_build_leave(b, mark2);
        if (ok) {
            (*ret)[*ret_n].filter = mp_build_alog_filter(b, logs[i]->filter);
            ++*ret_n;
        }
        mp_build_leave(b, mark);
    }
}
