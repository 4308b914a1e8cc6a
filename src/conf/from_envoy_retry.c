/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What is tried again. */
#include <stdio.h>

#include "conf/build.h"
#include "envoy_extensions_retry_host_previous_hosts_v3.pb-c.h"

typedef Envoy__Config__Route__V3__RetryPolicy pb_retry;

#define BASE_MS         25
#define RATE_LIMITED_MS 300000

bool mp_conf_retry_on(struct mp_str words, uint32_t *ret, struct mp_str *ret_bad)
{
    static const struct {
        const char *word;
        uint32_t bit;
    } table[] = {
        {"5xx", MP_RETRY_5XX},
        {"gateway-error", MP_RETRY_GATEWAY_ERROR},
        {"reset", MP_RETRY_RESET},
        {"connect-failure", MP_RETRY_CONNECT_FAILURE},
        {"refused-stream", MP_RETRY_REFUSED_STREAM},
        {"retriable-4xx", MP_RETRY_RETRIABLE_4XX},
        {"retriable-status-codes", MP_RETRY_STATUS_CODES},
        {"retriable-headers", MP_RETRY_HEADERS},
        {"envoy-ratelimited", MP_RETRY_RATELIMITED},
        {"cancelled", MP_RETRY_CANCELLED},
        {"deadline-exceeded", MP_RETRY_DEADLINE_EXCEEDED},
        {"internal", MP_RETRY_INTERNAL},
        {"resource-exhausted", MP_RETRY_RESOURCE_EXHAUSTED},
        {"unavailable", MP_RETRY_UNAVAILABLE},
    };
    bool ok = true;
    *ret = 0;
    while (words.n > 0) {
        const char *comma = memchr(words.p, ',', words.n);
        size_t n = comma ? (size_t)(comma - words.p) : words.n;
        struct mp_str word = mp_str_trim(mp_str(words.p, n));
        words.p += n + (comma != NULL);
        words.n -= n + (comma != NULL);
        uint32_t bit = 0;
        for (size_t i = 0; i < MP_COUNTOF(table); i++) {
            bit = mp_str_eq(word, mp_str_c(table[i].word)) ? table[i].bit : bit;
        }
        if (bit == 0 && word.n > 0) {
            *ret_bad = word;
            ok = false;
        }
        *ret |= bit;
    }
    return ok;
}

static void build_codes(struct mp_conf_build *b, const pb_retry *m, struct mp_conf_retry *r)
{
    r->codes = mp_build_take(b, m->n_retriable_status_codes, sizeof(*r->codes));
    r->n_codes = (uint32_t)m->n_retriable_status_codes;
    for (size_t i = 0; i < m->n_retriable_status_codes; i++) {
        uint32_t code = m->retriable_status_codes[i];
        if (code < 200 || code > 599) {
            char sub[48];
            snprintf(sub, sizeof(sub), "retriable_status_codes[%zu]", i);
            (void)mp_build_error(b, sub, "use 200 to 599", "%u is out of range", code);
        }
        r->codes[i] = (uint16_t)code;
    }
}

static void build_headers(struct mp_conf_build *b, const pb_retry *m, struct mp_conf_retry *r)
{
    struct mp_conf_where w = mp_build_where(b);
    if (!mp_is_err(mp_conf_header_matches(m->retriable_headers, m->n_retriable_headers, &w,
                                          "retriable_headers", b->arena, &r->headers))) {
        r->n_headers = (uint32_t)m->n_retriable_headers;
    }
    if (!mp_is_err(
            mp_conf_header_matches(m->retriable_request_headers, m->n_retriable_request_headers, &w,
                                   "retriable_request_headers", b->arena, &r->req_headers))) {
        r->n_req_headers = (uint32_t)m->n_retriable_request_headers;
    }
    for (uint32_t i = 0; i < r->n_headers + r->n_req_headers; i++) {
        const struct mp_conf_header_match *h =
            i < r->n_headers ? &r->headers[i] : &r->req_headers[i - r->n_headers];
        if (i < r->n_headers && h->name.p[0] == ':') {
            (void)mp_build_error(b, "retriable_headers", "use retriable_status_codes for a status",
                                 "\"%s\" is no header of a response", h->name.p);
            return;
        }
        if (h->kind == MP_MATCH_REGEX) {
            (void)mp_build_error(
                b, i < r->n_headers ? "retriable_headers" : "retriable_request_headers",
                "use exact, prefix, suffix or contains",
                "regular expressions are not supported here");
            return;
        }
    }
}

static void build_back_off(struct mp_conf_build *b, const pb_retry *m, struct mp_conf_retry *r)
{
    r->base_ms = BASE_MS;
    r->max_ms = 10 * BASE_MS;
    if (!m->retry_back_off) {
        return;
    }
    size_t mark = mp_build_enter(b, "retry_back_off");
    mp_build_ms(b, "base_interval", m->retry_back_off->base_interval, &r->base_ms);
    if (!m->retry_back_off->base_interval || r->base_ms == 0) {
        mp_build_missing(b, "base_interval", "use 0.001s or more", "base_interval is missing or 0");
    }
    r->max_ms = 10 * r->base_ms;
    mp_build_ms(b, "max_interval", m->retry_back_off->max_interval, &r->max_ms);
    if (r->max_ms < r->base_ms) {
        (void)mp_build_error(b, "max_interval", NULL, "it is shorter than base_interval");
    }
    mp_build_leave(b, mark);
}

static void build_rate_limited(struct mp_conf_build *b, const pb_retry *m, struct mp_conf_retry *r)
{
    r->rate_limited_max_ms = RATE_LIMITED_MS;
    if (!m->rate_limited_retry_back_off) {
        return;
    }
    const Envoy__Config__Route__V3__RetryPolicy__RateLimitedRetryBackOff *l =
        m->rate_limited_retry_back_off;
    size_t mark = mp_build_enter(b, "rate_limited_retry_back_off");
    if (l->n_reset_headers == 0) {
        mp_build_missing(b, "reset_headers", NULL, "reset_headers is missing");
    }
    mp_build_ms(b, "max_interval", l->max_interval, &r->rate_limited_max_ms);
    r->reset_headers = mp_build_take(b, l->n_reset_headers, sizeof(*r->reset_headers));
    for (size_t i = 0; i < l->n_reset_headers; i++) {
        struct mp_conf_reset_header *h = &r->reset_headers[r->n_reset_headers++];
        h->name = mp_conf_header_name(l->reset_headers[i]->name, false, b->arena);
        h->unix_time = l->reset_headers[i]->format ==
                       ENVOY__CONFIG__ROUTE__V3__RETRY_POLICY__RESET_HEADER_FORMAT__UNIX_TIMESTAMP;
        if (!h->name.p) {
            char sub[48];
            snprintf(sub, sizeof(sub), "reset_headers[%zu].name", i);
            (void)mp_build_error(b, sub, NULL, "\"%s\" is not a header name",
                                 l->reset_headers[i]->name);
        }
    }
    mp_build_leave(b, mark);
}

static void build_hosts(struct mp_conf_build *b, const pb_retry *m, struct mp_conf_retry *r)
{
    for (size_t i = 0; i < m->n_retry_host_predicate; i++) {
        size_t mark = mp_build_enter(b, "retry_host_predicate[%zu]", i);
        const ProtobufCMessage *any =
            mp_build_any(b, "typed_config", m->retry_host_predicate[i]->typed_config);
        if (any &&
            any->descriptor !=
                &envoy__extensions__retry__host__previous_hosts__v3__previous_hosts_predicate__descriptor) {
            (void)mp_build_error(b, "typed_config", "use PreviousHostsPredicate",
                                 "%s is not supported", any->descriptor->name);
        }
        r->other_hosts |= any != NULL;
        mp_build_leave(b, mark);
    }
    r->host_attempts = 1;
    if (m->host_selection_retry_max_attempts < 0 || m->host_selection_retry_max_attempts > 1000) {
        (void)mp_build_error(b, "host_selection_retry_max_attempts", "use 1 to 1000",
                             "the number is out of range");
    } else if (m->host_selection_retry_max_attempts > 0) {
        r->host_attempts = (uint32_t)m->host_selection_retry_max_attempts;
    }
}

struct mp_conf_retry *mp_build_retry(struct mp_conf_build *b, const char *sub, const pb_retry *m)
{
    if (!m) {
        return NULL;
    }
    size_t mark = mp_build_enter(b, "%s", sub);
    struct mp_conf_retry *r = mp_build_take(b, 1, sizeof(*r));
    struct mp_str bad;
    if (!mp_conf_retry_on(mp_str_c(m->retry_on), &r->on, &bad)) {
        (void)mp_build_error(b, "retry_on", NULL, "\"" MP_STR_FMT "\" is not supported",
                             MP_STR_ARG(bad));
    }
    r->num_retries = 1;
    mp_build_u32(b, "num_retries", m->num_retries, 0, UINT32_MAX, &r->num_retries);
    mp_build_ms(b, "per_try_timeout", m->per_try_timeout, &r->per_try_timeout_ms);
    mp_build_ms(b, "per_try_idle_timeout", m->per_try_idle_timeout, &r->per_try_idle_ms);
    build_codes(b, m, r);
    build_headers(b, m, r);
    build_back_off(b, m, r);
    build_rate_limited(b, m, r);
    build_hosts(b, m, r);
    mp_build_leave(b, mark);
    return r;
}
