/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Once warm, a request takes memory from its stream alone: no call of malloc and its kin, by us or
 * by the library of cryptography. (Public keys are the exception: there the library allocates.) */
#include <openssl/crypto.h>

#include "fake_core.h"
#include "filters/crypto.h"
#include "t.h"

static unsigned long calls;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
int __real_posix_memalign(void **p, size_t align, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
int __wrap_posix_memalign(void **p, size_t align, size_t n);

void *__wrap_malloc(size_t n)
{
    calls++;
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    calls++;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    calls++;
    return __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
    calls++;
    return __real_aligned_alloc(align, n);
}

int __wrap_posix_memalign(void **p, size_t align, size_t n)
{
    calls++;
    return __real_posix_memalign(p, align, n);
}

static void *lib_malloc(size_t n, const char *file, int line)
{
    calls++;
    return __real_malloc(n);
}

static void *lib_realloc(void *p, size_t n, const char *file, int line)
{
    calls++;
    return __real_realloc(p, n);
}

static void lib_free(void *p, const char *file, int line)
{
    free(p);
}

/* A token that is good for long, signed here. */
static char bearer[512];

static void make_token(void)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    struct mp_hmac_key k;
    uint8_t mac[33] = {0};
    mp_hmac_key_init(&k, MP_SHA256, MP_STR("secret"));
    /* {"alg":"HS256"} . {"sub":"alice","exp":4000000000} */
    size_t n = (size_t)sprintf(
        bearer, "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSIsImV4cCI6NDAwMDAwMDAwMH0");
    mp_hmac(&k, mp_str(bearer + 7, n - 7), mac);
    bearer[n++] = '.';
    for (size_t bit = 0; bit < 256; bit += 6) {
        unsigned v = (unsigned)(mac[bit / 8] << 8 | mac[bit / 8 + 1]) >> (10 - bit % 8) & 63;
        bearer[n++] = letters[v];
    }
    bearer[n] = '\0';
}

struct kind {
    const struct mp_conf_filter_type *type;
    const char *conf, *path, *value;
    unsigned status; /* of our own answer; 0: passed on */
};

/* Returns the calls during callbacks of one request. */
static unsigned long one(const struct fc_conf *c, const struct kind *k, unsigned *ret_status)
{
    const struct mp_filter_type *t = c->type->impl;
    struct mp_stream *s = fc_stream_new(c, "GET", k->path, "api.example.com:8080");
    if (k->value) {
        fc_field(s, &s->req.hdrs, "authorization", k->value);
    }
    fc_field(s, &s->req.hdrs, "x-auth-subject", "forged");
    s->bytes_in = 10;
    s->bytes_out = 1000;
    (void)mp_arena_alloc(&s->arena, 1); /* the stream has a block already */
    char *room = mp_arena_bytes(&s->arena, 0);
    (void)room;
    unsigned long before = calls;
    size_t blocks = s->arena.used;
    if (t->on_request_headers) {
        (void)t->on_request_headers(s->filter, &s->req, true);
    }
    *ret_status = s->replied ? s->resp.status : 0;
    s->resp.status = s->replied ? s->resp.status : 200;
    if (t->on_response_headers) {
        (void)t->on_response_headers(s->filter, &s->resp, true);
    }
    if (t->on_end) {
        t->on_end(s->filter);
    }
    unsigned long used = calls - before;
    /* The test's stream takes its blocks from malloc: those are the stream's. */
    used -= (s->arena.used - blocks + 4095) / 4096;
    fc_stream_free(s);
    return used;
}

static void no_allocation(void)
{
    static const char auth[] =
        "{\"jwt_secret\": \"secret\", \"base64_tokens\": [\"dG9rZW4=\", \"other\"]}";
    static const char uncached[] = "{\"jwt_secret\": \"secret\", \"jwt_cache_entries\": 0}";
    const struct kind kinds[] = {
        {&mp_conf_filter_auth, auth, "/api/test", bearer, 0},
        {&mp_conf_filter_auth, uncached, "/api/test", bearer, 0},
        {&mp_conf_filter_auth, auth, "/api/test", "Bearer other", 0},
        {&mp_conf_filter_auth, auth, "/api/test", "Bearer nobody", 403},
        {&mp_conf_filter_auth, auth, "/api/test", "Bearer eyJhbGciOiJIUzI1NiJ9.e30.AAAA", 403},
        {&mp_conf_filter_auth, auth, "/api/test", "Basic x", 401},
        {&mp_conf_filter_auth, auth, "/api/test", NULL, 401},
        {&mp_conf_filter_auth, auth, "/healthz", NULL, 0},
        {&mp_conf_filter_auth, auth, "/healthz/%2e%2e/x", NULL, 401},
        {&mp_conf_filter_license, "{}", "/api/test", NULL, 0},
        {&mp_conf_filter_license, "{}", "/api/v1/%6dulti-cloud", NULL, 402},
        {&mp_conf_filter_license, "{\"current_proxies\": 4}", "/", NULL, 429},
        {&mp_conf_filter_metrics, "{}", "/api/test", NULL, 0},
        {&mp_conf_filter_metrics, "{\"sample_rate\": 0.5}", "/api/test", NULL, 0},
    };
    for (size_t i = 0; i < MP_COUNTOF(kinds); i++) {
        struct fc_conf c;
        unsigned status;
        T_OK(fc_conf_load(&c, kinds[i].type, mp_str_c(kinds[i].conf)));
        fc_publish(&c);
        (void)one(&c, &kinds[i], &status); /* warms tables and caches */
        unsigned long used = 0;
        for (int k = 0; k < 100; k++) {
            used += one(&c, &kinds[i], &status);
        }
        fc_conf_free(&c);
        if (used != 0 || status != kinds[i].status) {
            printf("# case %zu: %lu calls, status %u\n", i, used, status);
        }
        T_EQ(status, kinds[i].status);
        T_EQ(used, 0);
    }
}

/* The counting counts: the first request of a configuration makes its table. */
static void counts(void)
{
    struct fc_conf c;
    unsigned status;
    const struct kind k = {&mp_conf_filter_auth, "{\"jwt_secret\": \"secret\"}", "/", bearer, 0};
    T_OK(fc_conf_load(&c, k.type, mp_str_c(k.conf)));
    T_EQ(one(&c, &k, &status), 1);
    T_EQ(one(&c, &k, &status), 0);
    fc_conf_free(&c);
}

struct census {
    const char *prefix;
    uint64_t names, total, other;
};

static void look(void *arg, const struct mp_stat_view *v)
{
    struct census *c = arg;
    if (strcmp(v->schema->text_prefix, c->prefix) == 0) {
        c->names++;
        c->total += v->value;
        c->other += mp_str_eq(v->scope, MP_STR("other")) ? v->value : 0;
    }
}

/* Whatever a million requests name, memory and lists of stats have an end: 256 names of a kind, and
 * "other". */
static void million_names(void)
{
    enum { REQUESTS = 1000000, BOUND = 256 };
    static const char *const prefixes[] = {"marchproxy_requests_by_path_",
                                           "marchproxy_requests_by_host.",
                                           "marchproxy_requests_by_method_"};
    const struct mp_filter_type *t = mp_conf_filter_metrics.impl;
    struct fc_conf c;
    char method[32], path[64], host[64];
    fc_fini(); /* begins without the names of the other cases */
    fc_init();
    T_OK(fc_conf_load(&c, &mp_conf_filter_metrics, MP_STR("{}")));
    fc_publish(&c);
    struct mp_stream *s = fc_stream_new(&c, "GET", "/", "a");
    unsigned long late = 0;
    for (unsigned i = 0; i < REQUESTS; i++) {
        s->req.method_name = mp_str(method, (size_t)sprintf(method, "M%u", i));
        s->req.path = mp_str(path, (size_t)sprintf(path, "/path%u/x?y=%u", i, i));
        s->req.authority = mp_str(host, (size_t)sprintf(host, "host%u.example:%u", i, i % 65536));
        s->resp.status = 200;
        memset(mp_filter_state(s->filter), 0, t->state_size);
        unsigned long before = calls;
        (void)t->on_request_headers(s->filter, &s->req, true);
        (void)t->on_response_headers(s->filter, &s->resp, true);
        t->on_end(s->filter);
        late += i > BOUND ? calls - before : 0;
    }
    T_EQ(late, 0);
    for (size_t i = 0; i < MP_COUNTOF(prefixes); i++) {
        struct census k = {.prefix = prefixes[i]};
        mp_stat_walk(fc.store, look, &k);
        T_EQ(k.names, BOUND + 1);
        T_EQ(k.total, REQUESTS);
        T_EQ(k.other, REQUESTS - BOUND);
    }
    fc_stream_free(s);
    fc_conf_free(&c);
}

int main(void)
{
    if (CRYPTO_set_mem_functions(lib_malloc, lib_realloc, lib_free) != 1) {
        printf("Bail out! the library has allocated already\n");
        return 1;
    }
    fc_init();
    fc.wall_ns = 1700000000000000000;
    make_token();
    T_RUN(no_allocation);
    T_RUN(counts);
    T_RUN(million_names);
    fc_fini();
    return T_DONE();
}
