/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* tests/data/filters/{auth,license,metrics}.json: a filter, its configuration, requests, and what
 * must come of them. In texts {name} stands for an entry of tokens.json.
 *
 * A case has "refused" (path, and part of the cause), or "steps" and "stats". A step is a request:
 * method, path, host, fields, trailers, bytes_in, bytes_out; what happens around it: wait_s (before
 * it), wall_s (the wall clock's own step), random (share of the range), marks, proxies, disabled
 * (the filter is, on this route), front (a filter in front answers with this status), answer (the
 * service's status and fields), no_answer; and what is expected: status, body, details of our own
 * answer, or that there is none; request, response, trailers_after: fields, null: absent; warns:
 * part of a warning of the configuration.
 */
#include <jansson.h>

#include "fake_core.h"
#include "t.h"

#define NS_PER_S 1000000000

static json_t *tokens;
static const struct mp_conf_filter_type *type;
static const char *case_name;

#define EXPECT(c, ...)                   \
    do {                                 \
        if (!(c)) {                      \
            printf("# %s: ", case_name); \
            printf(__VA_ARGS__);         \
            printf("\n");                \
            t_case_failed = 1;           \
        }                                \
    } while (0)

static const char *text_of(const json_t *o, const char *key, const char *otherwise)
{
    const json_t *v = json_object_get(o, key);
    return json_is_string(v) ? json_string_value(v) : otherwise;
}

static int64_t int_of(const json_t *o, const char *key, int64_t otherwise)
{
    const json_t *v = json_object_get(o, key);
    return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

/* ---- {name} ---- */

static char *expand_text(const char *text)
{
    struct mp_sb sb;
    mp_sb_init(&sb, 1 << 20);
    while (*text) {
        size_t n = text[0] == '{' ? strspn(text + 1, "abcdefghijklmnopqrstuvwxyz0123456789_") : 0;
        char name[64];
        if (n > 0 && n < sizeof(name) && text[n + 1] == '}') {
            snprintf(name, sizeof(name), "%.*s", (int)n, text + 1);
            const char *value = text_of(tokens, name, NULL);
            if (!value) {
                printf("Bail out! no token %s\n", name);
                exit(1);
            }
            mp_sb_add_c(&sb, value);
            text += n + 2;
        } else {
            mp_sb_add_char(&sb, *text++);
        }
    }
    char *out = strdup(sb.p ? sb.p : "");
    mp_sb_fini(&sb);
    return out;
}

static json_t *expand(const json_t *v)
{
    json_t *out, *item;
    const char *key;
    size_t i;
    if (json_is_string(v)) {
        char *text = expand_text(json_string_value(v));
        out = json_string(text);
        free(text);
        return out;
    }
    if (json_is_array(v)) {
        out = json_array();
        json_array_foreach(v, i, item)
        {
            json_array_append_new(out, expand(item));
        }
        return out;
    }
    if (json_is_object(v)) {
        out = json_object();
        json_object_foreach((json_t *)v, key, item)
        {
            json_object_set_new(out, key, expand(item));
        }
        return out;
    }
    return json_deep_copy(v);
}

/* ---- steps ---- */

static void put_fields(struct mp_stream *s, struct mp_hdrs *h, const json_t *list)
{
    json_t *pair;
    size_t i;
    json_array_foreach(list, i, pair)
    {
        fc_field(s, h, json_string_value(json_array_get(pair, 0)),
                 json_string_value(json_array_get(pair, 1)));
    }
}

static void check_fields(struct mp_stream *s, const struct mp_hdrs *h, const json_t *wanted,
                         const char *what, size_t step)
{
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)wanted, name, v)
    {
        const char *got = fc_value(s, h, name);
        const struct mp_hdr *any = mp_hdrs_find(h, mp_str_c(name));
        if (json_is_null(v)) {
            EXPECT(!any, "step %zu: %s field %s is there", step, what, name);
        } else {
            EXPECT(got && strcmp(got, json_string_value(v)) == 0, "step %zu: %s field %s is %s",
                   step, what, name,
                   got   ? got
                   : any ? "there twice"
                         : "absent");
        }
    }
}

static void check_own_answer(struct mp_stream *s, const json_t *step, size_t i)
{
    const char *body = text_of(step, "body", NULL), *details = text_of(step, "details", NULL);
    int64_t status = int_of(step, "status", 0);
    EXPECT(s->replied == (status != 0), "step %zu: %s", i, s->replied ? "answered" : "passed on");
    if (status != 0 && s->replied) {
        EXPECT((int64_t)s->resp.status == status, "step %zu: status %u", i, s->resp.status);
        EXPECT(!body || mp_str_eq(s->body, mp_str_c(body)), "step %zu: body %.*s", i,
               MP_STR_ARG(s->body));
        EXPECT(!details || strcmp(details, s->details) == 0, "step %zu: details %s", i, s->details);
    }
}

static void run_request(struct mp_stream *s, const json_t *step, size_t i)
{
    const struct mp_filter_type *t = type->impl;
    const json_t *front = json_object_get(step, "front"), *answer = json_object_get(step, "answer");
    const json_t *trailers = json_object_get(step, "trailers");
    struct mp_filter *f = s->filter;
    if (!front) {
        enum mp_verdict v = t->on_request_headers(f, &s->req, true);
        EXPECT(v == (s->replied ? MP_VERDICT_REPLY : MP_VERDICT_CONTINUE), "step %zu: verdict %d",
               i, (int)v);
        check_own_answer(s, step, i);
    }
    if (trailers && !s->replied) {
        put_fields(s, &s->trailers, trailers);
        EXPECT(t->on_request_trailers(f, &s->trailers) == MP_VERDICT_CONTINUE, "trailers");
        check_fields(s, &s->trailers, json_object_get(step, "trailers_after"), "trailer", i);
    }
    check_fields(s, &s->req.hdrs, json_object_get(step, "request"), "request", i);
    if (!s->replied) {
        s->resp.status =
            front ? (unsigned)json_integer_value(front) : (unsigned)int_of(answer, "status", 200);
        put_fields(s, &s->resp.hdrs, json_object_get(answer, "fields"));
    }
    if (!json_is_true(json_object_get(step, "no_answer"))) {
        if (t->on_response_headers) {
            EXPECT(t->on_response_headers(f, &s->resp, true) == MP_VERDICT_CONTINUE, "response");
        }
        check_fields(s, &s->resp.hdrs, json_object_get(step, "response"), "response", i);
    } else {
        s->resp.status = 0;
    }
    fc.now_ns += (uint64_t)int_of(step, "takes_us", 0) * 1000;
    if (t->on_end) {
        t->on_end(f);
    }
}

static void run_step(const struct fc_conf *c, const json_t *raw, size_t i)
{
    json_t *step = expand(raw);
    for (int64_t times = int_of(step, "times", 1); times > 0; times--) {
        fc.now_ns += (uint64_t)int_of(step, "wait_s", 0) * NS_PER_S;
        fc.wall_ns += (uint64_t)int_of(step, "wait_s", 0) * NS_PER_S;
        fc.wall_ns += (uint64_t)int_of(step, "wall_s", 0) * NS_PER_S;
        fc.random = (uint64_t)(json_number_value(json_object_get(step, "random")) * 0x1p64);
        fc.has_proxies = json_object_get(step, "proxies");
        fc.proxies = (uint32_t)int_of(step, "proxies", 0);
        struct mp_stream *s = fc_stream_new(c, text_of(step, "method", "GET"),
                                            text_of(step, "path", "/"), text_of(step, "host", "a"));
        s->marks = (uint32_t)int_of(step, "marks", 0);
        s->filter->conf = json_is_true(json_object_get(step, "disabled")) ? NULL : c->parsed;
        s->bytes_in = (uint64_t)int_of(step, "bytes_in", 0);
        s->bytes_out = (uint64_t)int_of(step, "bytes_out", 0);
        put_fields(s, &s->req.hdrs, json_object_get(step, "fields"));
        run_request(s, step, i);
        fc_stream_free(s);
    }
    json_decref(step);
}

/* ---- cases ---- */

/* "path: part of the cause" */
static void check_said(const struct fc_conf *c, enum mp_diag_level level, const char *wanted)
{
    bool found = false;
    for (size_t i = 0; i < c->diag.n; i++) {
        const struct mp_diag_item *d = &c->diag.items[i];
        char said[2048];
        snprintf(said, sizeof(said), "%s: %s", d->path ? d->path : "", d->cause);
        found |= d->level == level && strstr(said, wanted);
        if (d->level == level && !strstr(said, wanted)) {
            printf("# %s: said: %s\n", case_name, said);
        }
    }
    EXPECT(found, "not said: %s", wanted);
}

static void run_case(const json_t *c, int64_t now)
{
    struct fc_conf conf;
    json_t *config = expand(json_object_get(c, "config")), *v;
    const char *refused = text_of(c, "refused", NULL), *warns = text_of(c, "warns", NULL), *name;
    char *text = json_dumps(config, 0);
    size_t i;
    fc_init();
    fc.wall_ns = (uint64_t)now * NS_PER_S + NS_PER_S / 2;
    bool ok = fc_conf_load(&conf, type, mp_str_c(text));
    if (refused) {
        EXPECT(!ok, "accepted");
        check_said(&conf, MP_DIAG_ERROR, refused);
    } else if (!ok) {
        EXPECT(ok, "refused: %s: %s", conf.diag.items[0].path, conf.diag.items[0].cause);
    } else {
        if (warns) {
            check_said(&conf, MP_DIAG_WARNING, warns);
        }
        fc_publish(&conf);
        json_array_foreach(json_object_get(c, "steps"), i, v)
        {
            run_step(&conf, v, i);
        }
        json_object_foreach(json_object_get(c, "stats"), name, v)
        {
            int64_t wanted = json_is_null(v) ? -1 : json_integer_value(v);
            EXPECT(fc_stat(name) == wanted, "%s is %lld", name, (long long)fc_stat(name));
        }
    }
    fc_conf_free(&conf);
    fc_fini();
    free(text);
    json_decref(config);
}

static int run_file(const char *path)
{
    json_error_t err;
    json_t *data = json_load_file(path, 0, &err), *c;
    size_t i;
    if (!data) {
        printf("Bail out! %s:%d: %s\n", path, err.line, err.text);
        exit(1);
    }
    const char *filter = text_of(data, "filter", "");
    type = strcmp(filter, "auth") == 0      ? &mp_conf_filter_auth
           : strcmp(filter, "license") == 0 ? &mp_conf_filter_license
                                            : &mp_conf_filter_metrics;
    json_array_foreach(json_object_get(data, "cases"), i, c)
    {
        case_name = text_of(c, "name", "?");
        t_case_failed = 0;
        run_case(c, int_of(data, "now", 1700000000));
        t_failed += t_case_failed;
        printf("%s %d - %s: %s\n", t_case_failed ? "not ok" : "ok", ++t_n, filter, case_name);
    }
    json_decref(data);
    return 0;
}

int main(int argc, char **argv)
{
    json_error_t err;
    tokens = argc > 2 ? json_load_file(argv[1], 0, &err) : NULL;
    if (!tokens) {
        printf("Bail out! usage: test_vectors tokens.json file.json...\n");
        return 1;
    }
    for (int i = 2; i < argc; i++) {
        run_file(argv[i]);
    }
    json_decref(tokens);
    return T_DONE();
}
