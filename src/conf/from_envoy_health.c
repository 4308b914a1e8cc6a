/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Active health checks of a cluster. */
#include <stdio.h>

#include "conf/build.h"

typedef Envoy__Config__Core__V3__HealthCheck pb_check;
typedef Envoy__Config__Core__V3__HealthCheck__HttpHealthCheck pb_http_check;
typedef Envoy__Config__Core__V3__HealthCheck__TcpHealthCheck pb_tcp_check;
typedef Envoy__Config__Core__V3__HealthCheck__Payload pb_payload;
#define CHECK(value) ENVOY__CONFIG__CORE__V3__HEALTH_CHECK__##value

#define NO_TRAFFIC_MS 60000
#define RECEIVE_MAX   4096 /* bytes of answer that a TCP check looks at */

/* ---- HTTP ---- */

static void build_statuses(struct mp_conf_build *b, const char *sub,
                           Envoy__Type__V3__Int64Range **list, size_t n,
                           struct mp_conf_status_range **ret, uint32_t *ret_n)
{
    *ret = mp_build_take(b, n, sizeof(**ret));
    *ret_n = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        if (list[i]->start < 100 || list[i]->end > 600 || list[i]->start >= list[i]->end) {
            size_t mark = mp_build_enter(b, "%s[%zu]", sub, i);
            (void)mp_build_error(b, NULL, "use 100 <= start < end <= 600",
                                 "the range is empty or holds what is no status");
            mp_build_leave(b, mark);
            continue;
        }
        (*ret)[i] = (struct mp_conf_status_range){(uint16_t)list[i]->start, (uint16_t)list[i]->end};
    }
}

static void build_request_headers(struct mp_conf_build *b, const pb_http_check *m,
                                  struct mp_conf_health_check *ret)
{
    const struct mp_build_header_fields f = {
        .req_add = m->request_headers_to_add,
        .req_remove = m->request_headers_to_remove,
        .n_req_add = m->n_request_headers_to_add,
        .n_req_remove = m->n_request_headers_to_remove,
    };
    mp_build_header_ops(b, &f, &ret->ops);
    for (uint32_t i = 0; i < ret->ops.n_req_add; i++) {
        if (memchr(ret->ops.req_add[i].value.p, '%', ret->ops.req_add[i].value.n)) {
            char sub[64];
            snprintf(sub, sizeof(sub), "request_headers_to_add[%u].header.value", i);
            (void)mp_build_error(b, sub, "use plain text",
                                 "a check has no request to take %%operators%% from");
        }
    }
}

static void build_http(struct mp_conf_build *b, const pb_http_check *m,
                       struct mp_conf_health_check *ret)
{
    static const char *const methods[] = {"GET",    "GET", "HEAD",    "POST",  "PUT",
                                          "DELETE", NULL,  "OPTIONS", "TRACE", "PATCH"};
    size_t mark = mp_build_enter(b, "http_health_check");
    ret->is_http = true;
    if (m->path[0] == '\0') {
        mp_build_missing(b, "path", NULL, "path is missing");
    } else if (m->path[0] != '/') {
        (void)mp_build_error(b, "path", "begin it with /", "\"%s\" is not a path", m->path);
    } else if (strpbrk(m->path, " #") || !mp_build_header_text(b, "path", m->path, false)) {
        (void)mp_build_error(b, "path", NULL, "\"%s\" is not a path", m->path);
    }
    ret->path = mp_build_str(b, m->path);
    if (mp_build_header_text(b, "host", m->host, false)) {
        ret->host = mp_build_str(b, m->host);
    }
    if ((unsigned)m->method >= MP_COUNTOF(methods) || !methods[m->method]) {
        (void)mp_build_error(b, "method", "use GET", "a check cannot have this method");
    } else {
        ret->method = mp_str_c(methods[m->method]);
    }
    build_request_headers(b, m, ret);
    build_statuses(b, "expected_statuses", m->expected_statuses, m->n_expected_statuses,
                   &ret->expected, &ret->n_expected);
    build_statuses(b, "retriable_statuses", m->retriable_statuses, m->n_retriable_statuses,
                   &ret->retriable, &ret->n_retriable);
    mp_build_leave(b, mark);
}

/* ---- TCP ---- */

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static void build_payload(struct mp_conf_build *b, const char *sub, const pb_payload *m,
                          struct mp_str *ret)
{
    size_t mark = mp_build_enter(b, "%s", sub);
    if (m->payload_case == CHECK(PAYLOAD__PAYLOAD_BINARY)) {
        *ret = mp_arena_dup(b->arena, mp_str((char *)m->binary.data, m->binary.len));
    } else {
        const char *z = m->payload_case == CHECK(PAYLOAD__PAYLOAD_TEXT) ? m->text : "";
        size_t n = strlen(z);
        char *p = mp_build_take(b, n / 2 + 1, 1);
        bool ok = n % 2 == 0;
        for (size_t i = 0; ok && i + 1 < n; i += 2) {
            ok = hex(z[i]) >= 0 && hex(z[i + 1]) >= 0;
            p[i / 2] = (char)(hex(z[i]) * 16 + hex(z[i + 1]));
        }
        if (!ok) {
            (void)mp_build_error(b, "text", "write two hexadecimal digits for each byte",
                                 "\"%s\" is not hexadecimal", z);
        }
        *ret = mp_str(p, n / 2);
    }
    if (ret->n == 0 || ret->n > RECEIVE_MAX) {
        mp_build_missing(b, NULL, "use 1 to 4096 bytes", "the payload has %zu bytes", ret->n);
    }
    mp_build_leave(b, mark);
}

static void build_tcp(struct mp_conf_build *b, const pb_tcp_check *m,
                      struct mp_conf_health_check *ret)
{
    size_t mark = mp_build_enter(b, "tcp_health_check"), total = 0;
    if (m->send) {
        build_payload(b, "send", m->send, &ret->send);
    }
    ret->receive = mp_build_take(b, m->n_receive, sizeof(*ret->receive));
    ret->n_receive = (uint32_t)m->n_receive;
    for (size_t i = 0; i < m->n_receive; i++) {
        char sub[32];
        snprintf(sub, sizeof(sub), "receive[%zu]", i);
        build_payload(b, sub, m->receive[i], &ret->receive[i]);
        total += ret->receive[i].n;
    }
    if (total > RECEIVE_MAX) {
        (void)mp_build_error(b, "receive", "use at most 4096 bytes", "it has %zu bytes", total);
    }
    mp_build_leave(b, mark);
}

/* ---- both ---- */

static void need_time(struct mp_conf_build *b, const char *sub, const pb_duration *d, uint64_t *ret)
{
    mp_build_ms(b, sub, d, ret);
    if (!d) {
        mp_build_missing(b, sub, NULL, "%s is missing", sub);
    } else if (*ret == 0) {
        (void)mp_build_error(b, sub, "use 0.001s or more", "the time is 0");
    }
}

static void time_or(struct mp_conf_build *b, const char *sub, const pb_duration *d,
                    uint64_t otherwise, uint64_t *ret)
{
    *ret = otherwise;
    if (d) {
        need_time(b, sub, d, ret);
    }
}

static void build_times(struct mp_conf_build *b, const pb_check *m,
                        struct mp_conf_health_check *ret)
{
    need_time(b, "timeout", m->timeout, &ret->timeout_ms);
    need_time(b, "interval", m->interval, &ret->interval_ms);
    mp_build_ms(b, "initial_jitter", m->initial_jitter, &ret->initial_jitter_ms);
    mp_build_ms(b, "interval_jitter", m->interval_jitter, &ret->interval_jitter_ms);
    ret->jitter_percent = m->interval_jitter_percent;
    time_or(b, "no_traffic_interval", m->no_traffic_interval, NO_TRAFFIC_MS, &ret->no_traffic_ms);
    time_or(b, "no_traffic_healthy_interval", m->no_traffic_healthy_interval, ret->no_traffic_ms,
            &ret->no_traffic_healthy_ms);
    time_or(b, "unhealthy_interval", m->unhealthy_interval, ret->interval_ms, &ret->unhealthy_ms);
    time_or(b, "unhealthy_edge_interval", m->unhealthy_edge_interval, ret->unhealthy_ms,
            &ret->unhealthy_edge_ms);
    time_or(b, "healthy_edge_interval", m->healthy_edge_interval, ret->interval_ms,
            &ret->healthy_edge_ms);
}

static void build_check(struct mp_conf_build *b, const pb_check *m,
                        struct mp_conf_health_check *ret)
{
    build_times(b, m, ret);
    if (!m->unhealthy_threshold) {
        mp_build_missing(b, "unhealthy_threshold", NULL, "unhealthy_threshold is missing");
    }
    if (!m->healthy_threshold) {
        mp_build_missing(b, "healthy_threshold", NULL, "healthy_threshold is missing");
    }
    ret->unhealthy_threshold = ret->healthy_threshold = 1;
    mp_build_u32(b, "unhealthy_threshold", m->unhealthy_threshold, 1, UINT32_MAX,
                 &ret->unhealthy_threshold);
    mp_build_u32(b, "healthy_threshold", m->healthy_threshold, 1, UINT32_MAX,
                 &ret->healthy_threshold);
    ret->reuse_connection = true;
    mp_build_bool(m->reuse_connection, &ret->reuse_connection);
    ret->event_log = mp_build_str(b, m->event_log_path);
    ret->always_log_failures = m->always_log_health_check_failures;
    ret->always_log_success = m->always_log_health_check_success;
    switch (m->health_checker_case) {
    case CHECK(HEALTH_CHECKER_HTTP_HEALTH_CHECK):
        build_http(b, m->http_health_check, ret);
        break;
    case CHECK(HEALTH_CHECKER_TCP_HEALTH_CHECK):
        build_tcp(b, m->tcp_health_check, ret);
        break;
    default:
        mp_build_missing(b, NULL, "add http_health_check or tcp_health_check",
                         "there is nothing to check");
        break;
    }
}

void mp_build_health(struct mp_conf_build *b, const pb_cluster *m, struct mp_conf_cluster *ret)
{
    if (m->n_health_checks == 0) {
        return;
    }
    if (m->n_health_checks > 1) {
        (void)mp_build_error(b, "health_checks[1]", "keep one of them",
                             "a cluster has one health check");
        return;
    }
    size_t mark = mp_build_enter(b, "health_checks[0]");
    ret->check = mp_build_take(b, 1, sizeof(*ret->check));
    build_check(b, m->health_checks[0], ret->check);
    mp_build_leave(b, mark);
}
