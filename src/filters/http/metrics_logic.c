/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/compiler.h"
#include "filters/http/metrics.h"
#include "filters/path.h"

/* Longer values share "other": a name is kept for ever. */
#define PATH_VALUE_MAX   64
#define HOST_VALUE_MAX   128
#define METHOD_VALUE_MAX 24

/* ---- metrics ---- */

#define P              "marchproxy_"
#define NUMBERS(kind_) .kind = "marchproxy", .defs = kind_, .n = MP_COUNTOF(kind_)

static const struct mp_stat_def request_defs[] = {
    {.name = "requests_total", .kind = MP_STAT_COUNTER, .help = "Requests"}};
static const struct mp_stat_schema request_set = {
    .text_prefix = P, .prom_prefix = P, NUMBERS(request_defs)};

static const struct mp_stat_def response_defs[] = {
    {.name = "responses_total", .kind = MP_STAT_COUNTER, .help = "Responses"}};
static const struct mp_stat_schema response_set = {
    .text_prefix = P, .prom_prefix = P, NUMBERS(response_defs)};

static const struct mp_stat_def timing_defs[] = {
    {.name = "request_duration_ms",
     .kind = MP_STAT_HISTOGRAM,
     .help = "From the first byte of a request to the end of its response",
     .scale = 1000000}};
static const struct mp_stat_schema timing_set = {
    .text_prefix = P, .prom_prefix = P, NUMBERS(timing_defs)};

enum { SIZE_REQUEST, SIZE_RESPONSE, SIZE_RECEIVED, SIZE_SENT };
static const double size_bounds[] = {1e2, 1e3, 1e4, 1e5, 1e6, 1e7};
static const struct mp_stat_def size_defs[] = {
    [SIZE_REQUEST] = {.name = "request_size_bytes",
                      .kind = MP_STAT_HISTOGRAM,
                      .help = "Bodies of requests that have one",
                      .scale = 1,
                      .bounds = size_bounds,
                      .n_bounds = MP_COUNTOF(size_bounds)},
    [SIZE_RESPONSE] = {.name = "response_size_bytes",
                       .kind = MP_STAT_HISTOGRAM,
                       .help = "Bodies of responses that have one",
                       .scale = 1,
                       .bounds = size_bounds,
                       .n_bounds = MP_COUNTOF(size_bounds)},
    [SIZE_RECEIVED] = {.name = "bandwidth_bytes_total.received",
                       .kind = MP_STAT_COUNTER,
                       .help = "Bytes of bodies",
                       .prom_name = "bandwidth_bytes_total",
                       .label = "direction",
                       .label_value = "received"},
    [SIZE_SENT] = {.name = "bandwidth_bytes_total.sent",
                   .kind = MP_STAT_COUNTER,
                   .help = "Bytes of bodies",
                   .prom_name = "bandwidth_bytes_total",
                   .label = "direction",
                   .label_value = "sent"},
};
static const struct mp_stat_schema size_set = {
    .text_prefix = P, .prom_prefix = P, NUMBERS(size_defs)};

/* Sets whose name ends with a value. */
#define NAMED(what, help_)                                                 \
    static const struct mp_stat_def what##_defs[] = {                      \
        {.name = "", .kind = MP_STAT_COUNTER, .help = (help_)}};           \
    static const struct mp_stat_schema what = {.text_prefix = P #what "_", \
                                               .prom_prefix = P #what "_", \
                                               .scope_is_name = true,      \
                                               NUMBERS(what##_defs)}
NAMED(requests_by_method, "Requests by method");
NAMED(requests_by_path, "Requests by the first segment of the path");
NAMED(responses_by_status, "Responses by status");
NAMED(responses_by_class, "Responses by class of status");

static const struct mp_stat_def host_defs[] = {
    {.name = "", .kind = MP_STAT_COUNTER, .help = "Requests by host, without the port"}};
static const struct mp_stat_schema requests_by_host = {.text_prefix = P "requests_by_host.",
                                                       .prom_prefix = P "requests_by_host",
                                                       .label = "host",
                                                       NUMBERS(host_defs)};

void mp_metrics_on_published(struct mp_guest_host *h, const struct mp_metrics *const *list,
                             uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (list[i]->requests) {
            (void)mp_guest_host_stats(h, &request_set, MP_STR(""));
        }
        if (list[i]->responses) {
            (void)mp_guest_host_stats(h, &response_set, MP_STR(""));
        }
        if (list[i]->timing) {
            (void)mp_guest_host_stats(h, &timing_set, MP_STR(""));
        }
        if (list[i]->sizes) {
            (void)mp_guest_host_stats(h, &size_set, MP_STR(""));
        }
    }
}

/* What a thread has found already: most requests are like the one before. */
#define STATUS_MAX 600
#define KEPT_MAX   HOST_VALUE_MAX
struct kept {
    const struct mp_stat_block *block;
    uint32_t n;
    char text[KEPT_MAX];
};
struct locals {
    struct kept method, path, host;
    const struct mp_stat_block *requests, *responses, *timing, *sizes;
    const struct mp_stat_block *by_status[STATUS_MAX], *by_class[STATUS_MAX / 100];
};

struct mp_metrics *mp_metrics_setup(const struct mp_metrics_settings *in, struct mp_guest_setup *s)
{
    struct mp_metrics *m = mp_guest_setup_alloc(s, sizeof(*m));
    if (!(in->sample_rate >= 0 && in->sample_rate <= 1)) {
        mp_guest_refuse(s, "sample_rate", "use 0.0 to 1.0", "%g is not a share", in->sample_rate);
        return NULL;
    }
    *m = (struct mp_metrics){.requests = in->requests,
                             .responses = in->responses,
                             .timing = in->timing,
                             .sizes = in->sizes};
    m->sample_below = (uint64_t)(in->sample_rate * (double)MP_METRICS_SAMPLE_ALL);
    m->locals = mp_guest_setup_locals(s, sizeof(struct locals), NULL);
    return m;
}

static const struct mp_stat_block *set_of(const struct mp_guest *g,
                                          const struct mp_stat_schema *schema,
                                          const struct mp_stat_block **kept)
{
    if (MP_UNLIKELY(!*kept)) {
        *kept = mp_guest_stats(g, schema, MP_STR(""));
    }
    return *kept;
}

/* raw stands for the value: the same raw text always gives the same block. It is nothing at all (p
 * NULL) of a request that was refused before it was understood. */
static bool is_kept(const struct kept *k, struct mp_str raw)
{
    return k->block && k->n == raw.n && (raw.n == 0 || memcmp(k->text, raw.p, raw.n) == 0);
}

static void count_named(const struct mp_guest *g, const struct mp_stat_schema *schema,
                        struct kept *k, struct mp_str raw, struct mp_str value)
{
    k->block = mp_guest_stats(g, schema, value);
    k->n = (uint32_t)raw.n;
    if (raw.n > 0) {
        memcpy(k->text, raw.p, raw.n);
    }
    mp_stat_inc(k->block, 0);
}

/* ---- values ---- */

static bool is_kept_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static void count_path(struct mp_guest *g, struct locals *l)
{
    struct mp_str path = mp_path_without_query(mp_guest_path(g));
    char value[PATH_VALUE_MAX];
    size_t n = 0;
    struct mp_str seg = path.n > 0 && path.p[0] == '/' ? mp_str(path.p + 1, path.n - 1) : path;
    const char *slash = seg.n > 0 ? memchr(seg.p, '/', seg.n) : NULL;
    seg.n = slash ? (size_t)(slash - seg.p) : seg.n;
    if (seg.n > PATH_VALUE_MAX) {
        mp_stat_inc(mp_guest_stats(g, &requests_by_path, MP_STR("other")), 0);
        return;
    }
    if (is_kept(&l->path, seg)) {
        mp_stat_inc(l->path.block, 0);
        return;
    }
    for (size_t i = 0; i < seg.n; i++) {
        if (is_kept_char(seg.p[i])) {
            value[n++] = seg.p[i];
        }
    }
    count_named(g, &requests_by_path, &l->path, seg, n > 0 ? mp_str(value, n) : MP_STR("root"));
}

/* Without the port. */
static struct mp_str host_of(struct mp_str authority)
{
    size_t n = authority.n;
    while (n > 0 && authority.p[n - 1] >= '0' && authority.p[n - 1] <= '9') {
        n--;
    }
    /* An IPv6 address is in brackets, so a colon in front of digits is the port's. */
    return n > 0 && authority.p[n - 1] == ':' ? mp_str(authority.p, n - 1) : authority;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static void count_host(struct mp_guest *g, struct locals *l)
{
    struct mp_str host = host_of(mp_guest_authority(g));
    char value[HOST_VALUE_MAX];
    if (host.n > HOST_VALUE_MAX) {
        mp_stat_inc(mp_guest_stats(g, &requests_by_host, MP_STR("other")), 0);
        return;
    }
    if (is_kept(&l->host, host)) {
        mp_stat_inc(l->host.block, 0);
        return;
    }
    for (size_t i = 0; i < host.n; i++) {
        value[i] = lower(host.p[i]);
    }
    struct mp_str v = host.n > 0 ? mp_str(value, host.n) : MP_STR("none");
    count_named(g, &requests_by_host, &l->host, host, v);
}

static void count_method(struct mp_guest *g, struct locals *l)
{
    struct mp_str method = mp_guest_method(g);
    char value[METHOD_VALUE_MAX];
    size_t n = 0;
    if (method.n > METHOD_VALUE_MAX) {
        mp_stat_inc(mp_guest_stats(g, &requests_by_method, MP_STR("other")), 0);
        return;
    }
    if (is_kept(&l->method, method)) {
        mp_stat_inc(l->method.block, 0);
        return;
    }
    for (size_t i = 0; i < method.n; i++) {
        if (is_kept_char(method.p[i])) {
            value[n++] = lower(method.p[i]);
        }
    }
    count_named(g, &requests_by_method, &l->method, method,
                n > 0 ? mp_str(value, n) : MP_STR("other"));
}

static void count_status(struct mp_guest *g, struct locals *l, unsigned status)
{
    char text[3] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10),
                    (char)('0' + status % 10)};
    char class_text[3] = {text[0], 'x', 'x'};
    if (status < 100 || status >= STATUS_MAX) {
        return; /* no status that we would pass on */
    }
    const struct mp_stat_block **by_status = &l->by_status[status];
    const struct mp_stat_block **by_class = &l->by_class[status / 100];
    if (!*by_status) {
        *by_status = mp_guest_stats(g, &responses_by_status, mp_str(text, 3));
    }
    if (!*by_class) {
        *by_class = mp_guest_stats(g, &responses_by_class, mp_str(class_text, 3));
    }
    mp_stat_inc(*by_status, 0);
    mp_stat_inc(*by_class, 0);
}

/* ---- the request ---- */

static bool is_counted(const struct mp_metrics *m, struct mp_guest *g, struct mp_metrics_state *st)
{
    if (!st->decided) {
        st->decided = true;
        st->counted = m->sample_below >= MP_METRICS_SAMPLE_ALL ||
                      (m->sample_below > 0 && mp_guest_random(g) >> 11 < m->sample_below);
    }
    return st->counted;
}

void mp_metrics_on_request(const struct mp_metrics *m, struct mp_guest *g,
                           struct mp_metrics_state *st)
{
    if (!is_counted(m, g, st) || st->request_done) {
        return;
    }
    st->request_done = true;
    if (!m->requests) {
        return;
    }
    struct locals *l = mp_guest_local(g, m->locals);
    mp_stat_inc(set_of(g, &request_set, &l->requests), 0);
    count_method(g, l);
    count_path(g, l);
    count_host(g, l);
}

void mp_metrics_on_response(const struct mp_metrics *m, struct mp_guest *g,
                            struct mp_metrics_state *st)
{
    mp_metrics_on_request(m, g, st); /* one that was answered in front of us */
    if (!st->counted || st->response_done) {
        return;
    }
    st->response_done = true;
    if (!m->responses) {
        return;
    }
    struct locals *l = mp_guest_local(g, m->locals);
    mp_stat_inc(set_of(g, &response_set, &l->responses), 0);
    count_status(g, l, mp_guest_status(g));
}

void mp_metrics_on_end(const struct mp_metrics *m, struct mp_guest *g, struct mp_metrics_state *st)
{
    mp_metrics_on_request(m, g, st); /* one that nobody answered */
    if (!st->counted) {
        return;
    }
    struct locals *l = mp_guest_local(g, m->locals);
    if (m->timing) {
        /* The turn's clock would say 0 of whatever is answered in the turn that brought it. */
        uint64_t now = mp_guest_clock_ns(g), start = mp_guest_start_ns(g);
        mp_stat_record(set_of(g, &timing_set, &l->timing), 0, now > start ? now - start : 0);
    }
    if (m->sizes) {
        const struct mp_stat_block *b = set_of(g, &size_set, &l->sizes);
        uint64_t received = mp_guest_request_bytes(g), sent = mp_guest_response_bytes(g);
        if (received > 0) {
            mp_stat_record(b, SIZE_REQUEST, received);
            mp_stat_add(b, SIZE_RECEIVED, received);
        }
        if (sent > 0) {
            mp_stat_record(b, SIZE_RESPONSE, sent);
            mp_stat_add(b, SIZE_SENT, sent);
        }
    }
}
