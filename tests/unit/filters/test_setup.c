/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Limits of configurations at n - 1, n, n + 1; no secret in what is said; nothing kept of one that
 * went. */
#include "fake_core.h"
#include "filters/http/auth.h"
#include "filters/http/license.h"
#include "marchproxy_filters_v1.pb-c.h"
#include "t.h"

/* head, then n items, then tail; %zu in an item is its index. */
static bool loads(const struct mp_conf_filter_type *type, const char *head, const char *item,
                  size_t n, const char *tail)
{
    struct mp_sb sb;
    struct fc_conf c;
    mp_sb_init(&sb, 1 << 24);
    mp_sb_add_c(&sb, head);
    for (size_t i = 0; i < n; i++) {
        char number[24];
        snprintf(number, sizeof(number), "%zu", i);
        mp_sb_add_c(&sb, i > 0 ? "," : "");
        for (const char *p = item; *p; p++) {
            if (*p == '#') {
                mp_sb_add_c(&sb, number);
            } else {
                mp_sb_add_char(&sb, *p);
            }
        }
    }
    mp_sb_add_c(&sb, tail);
    bool ok = fc_conf_load(&c, type, mp_sb_str(&sb));
    fc_conf_free(&c);
    mp_sb_fini(&sb);
    return ok;
}

#define LIMIT(type, head, item, max, tail)               \
    do {                                                 \
        T_OK(loads(type, head, item, (max)-1, tail));    \
        T_OK(loads(type, head, item, (max), tail));      \
        T_OK(!loads(type, head, item, (max) + 1, tail)); \
    } while (0)

static void auth_limits(void)
{
    const struct mp_conf_filter_type *t = &mp_conf_filter_auth;
    LIMIT(t, "{\"base64_tokens\": [", "\"t#\"", (size_t)MP_AUTH_TOKENS_MAX, "]}");
    LIMIT(t, "{\"exempt_paths\": [", "\"/p#\"", (size_t)256, "]}");
    LIMIT(t, "{\"jwt_secret\": \"s\", \"jwt_issuers\": [", "\"i#\"", (size_t)MP_AUTH_LIST_MAX,
          "]}");
    LIMIT(t, "{\"jwt_secret\": \"s\", \"jwt_audiences\": [", "\"i#\"", (size_t)MP_AUTH_LIST_MAX,
          "]}");
    LIMIT(t, "{\"jwt_secret\": \"s\", \"jwt_required_claims\": {", "\"c#\": \"\"",
          (size_t)MP_AUTH_LIST_MAX, "}}");
    LIMIT(t, "{\"jwt_secret\": \"s\", \"jwt_claim_headers\": {", "\"c#\": \"x-auth-h#\"",
          (size_t)MP_AUTH_CLAIMS_MAX, "}}");
    LIMIT(t, "{\"jwt_secret\": \"s\", \"jwt_secrets_previous\": [",
          "{\"secret\": \"p#\", \"valid_until\": \"2030-01-01T00:00:00Z\"}",
          (size_t)MP_AUTH_PREVIOUS_MAX, "]}");
}

static void token_length(void)
{
    for (size_t n = MP_JWT_TOKEN_MAX - 1; n <= MP_JWT_TOKEN_MAX + 1; n++) {
        char *text = malloc(n + 64);
        T_OK(text != NULL);
        int k = sprintf(text, "{\"base64_tokens\": [\"");
        memset(text + k, 'x', n);
        strcpy(text + (size_t)k + n, "\"]}");
        struct fc_conf c;
        bool ok = fc_conf_load(&c, &mp_conf_filter_auth, mp_str_c(text));
        fc_conf_free(&c);
        free(text);
        T_EQ(ok, n <= MP_JWT_TOKEN_MAX);
    }
}

static void license_limits(void)
{
    const struct mp_conf_filter_type *t = &mp_conf_filter_license;
    LIMIT(t, "{\"feature_gates\": [", "{\"prefix\": \"/p#\", \"feature\": \"f\"}",
          (size_t)MP_LICENSE_GATES_MAX, "]}");
    LIMIT(t, "{\"features\": {", "\"f#\": true", (size_t)MP_LICENSE_FEATURES_MAX, "}}");
}

/* Whatever is wrong beside it, a secret is in no message. */
static void secrets_are_not_said(void)
{
    static const char *const texts[] = {
        "{\"jwt_secret\": \"HUSH\", \"jwt_algorithm\": \"RS256\"}",
        "{\"jwt_secret\": {\"a\": \"HUSH\"}}",
        "{\"jwt_secret\": [\"HUSH\"]}",
        "{\"base64_tokens\": \"HUSH\"}",
        "{\"base64_tokens\": [{\"HUSH\": 1}]}",
        "{\"base64_tokens\": [\"HUSH\"], \"jwt_algorithm\": \"x\"}",
        "{\"jwt_secret\": \"x\", \"jwt_secrets_previous\": [{\"secret\": \"HUSH\"}]}",
        "{\"jwt_secret\": \"x\", \"jwt_secrets_previous\": [{\"secret\": [\"HUSH\"]}]}",
        "{\"jwt_secret\": \"HUSH\"}",
        "{\"jwt_public_key\": \"-----BEGIN PRIVATE KEY-----HUSH\", \"jwt_algorithm\": \"RS256\"}",
        "{\"jwt_jwks\": {\"keys\": [{\"kty\": \"RSA\", \"d\": \"HUSH\"}]}}",
    };
    for (size_t i = 0; i < MP_COUNTOF(texts); i++) {
        struct fc_conf c;
        struct mp_sb sb;
        mp_sb_init(&sb, 1 << 16);
        (void)fc_conf_load(&c, &mp_conf_filter_auth, mp_str_c(texts[i]));
        mp_diag_format(&c.diag, &sb);
        bool said = sb.p && strstr(sb.p, "HUSH");
        if (said) {
            printf("# %s\n", sb.p);
        }
        bool any = c.diag.n > 0;
        fc_conf_free(&c);
        mp_sb_fini(&sb);
        T_OK(!said);
        T_OK(any);
    }
    struct fc_conf c;
    T_OK(fc_conf_load(&c, &mp_conf_filter_license,
                      MP_STR("{\"license_key\": \"HUSH\", \"is_enterprise\": true}")));
    T_OK(c.diag.n == 1 && !strstr(c.diag.items[0].cause, "HUSH"));
    fc_conf_free(&c);
}

static unsigned char last_block[1 << 16];
static size_t last_n;

static void *keep_get(struct mp_block_source *src, size_t *size)
{
    *size = sizeof(last_block);
    return calloc(1, *size);
}

static void keep_put(struct mp_block_source *src, void *block, size_t size)
{
    memcpy(last_block, block, size);
    last_n = size;
    free(block);
}

/* The compiled configuration holds neither secrets nor, once it has gone, the states of keys. */
static void secrets_are_not_kept(void)
{
    struct mp_block_source src = {keep_get, keep_put};
    struct mp_arena arena;
    const struct mp_conf_where w = {.path = ""};
    mp_arena_init(&arena, NULL, 0, &src, sizeof(last_block), SIZE_MAX);
    char secret[] = "a-secret-that-is-longer-than-thirty-two-bytes",
         token[] = "listed-token-of-somebody";
    char *tokens[] = {token};
    Marchproxy__Filters__V1__Auth m = MARCHPROXY__FILTERS__V1__AUTH__INIT;
    m.jwt_secret = secret;
    m.base64_tokens = tokens;
    m.n_base64_tokens = 1;
    void *parsed;
    T_OK(!mp_is_err(mp_conf_filter_auth.parse(&m.base, &arena, &w, &parsed)));
    const struct mp_auth *a = parsed;
    struct mp_hmac_key state = a->jwt.keys[0].hmac;
    T_EQ(a->jwt.n_keys, 1);
    T_OK(arena.blocks != NULL);
    T_OK(memmem((char *)arena.blocks, sizeof(last_block), secret + 2, 16) == NULL);
    T_OK(memmem((char *)arena.blocks, sizeof(last_block), token, 12) == NULL);
    T_OK(memmem((char *)arena.blocks, sizeof(last_block), state.inner, 32) != NULL);
    mp_arena_fini(&arena);
    T_EQ(last_n, sizeof(last_block));
    T_OK(memmem(last_block, last_n, state.inner, 32) == NULL);
    T_OK(memmem(last_block, last_n, state.outer, 32) == NULL);
}

/* Gauges tell of the licence in force: none, once the filter has gone; and nothing is there before
 * it comes. */
static void gauges_follow(void)
{
    struct fc_conf c;
    fc_publish_none(&mp_conf_filter_license);
    T_EQ(fc_stat("marchproxy_license_edition.community"), -1);
    T_OK(fc_conf_load(&c, &mp_conf_filter_license, MP_STR("{\"current_proxies\": 2}")));
    fc_publish(&c);
    T_EQ(fc_stat("marchproxy_license_edition.community"), 1);
    T_EQ(fc_stat("marchproxy_license_max_proxies"), 3);
    T_EQ(fc_stat("marchproxy_license_current_proxies"), 2);
    fc_publish_none(&mp_conf_filter_license);
    T_EQ(fc_stat("marchproxy_license_edition.community"), 0);
    T_EQ(fc_stat("marchproxy_license_edition.enterprise"), 0);
    T_EQ(fc_stat("marchproxy_license_max_proxies"), 0);
    T_EQ(fc_stat("marchproxy_license_current_proxies"), 0);
    fc_conf_free(&c);
}

int main(void)
{
    fc_init();
    T_RUN(auth_limits);
    T_RUN(token_length);
    T_RUN(license_limits);
    T_RUN(secrets_are_not_said);
    T_RUN(secrets_are_not_kept);
    T_RUN(gauges_follow);
    fc_fini();
    return T_DONE();
}
