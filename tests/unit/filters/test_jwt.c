/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* tests/data/filters/jwt.json: each token gets the verdict that stands there. */
#include <jansson.h>

#include "fake_core.h"
#include "filters/http/auth.h"
#include "filters/jwt.h"
#include "t.h"

static json_t *data;

struct policy {
    const char *name;
    struct fc_conf conf;
};
static struct policy policies[32];
static size_t n_policies;

static const char *text_of(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static void load_policies(void)
{
    const char *name;
    json_t *v;
    json_object_foreach(json_object_get(data, "policies"), name, v)
    {
        char *text = json_dumps(v, 0);
        struct policy *p = &policies[n_policies++];
        p->name = name;
        bool ok = fc_conf_load(&p->conf, &mp_conf_filter_auth, mp_str_c(text));
        free(text);
        if (!ok) {
            printf("# policy %s: %s\n", name,
                   p->conf.diag.n > 0 ? p->conf.diag.items[0].cause : "");
        }
        T_OK(ok);
    }
    T_OK(n_policies > 5);
}

static const struct mp_jwt_policy *policy_of(const char *name)
{
    for (size_t i = 0; i < n_policies; i++) {
        if (strcmp(policies[i].name, name) == 0) {
            return &((const struct mp_auth *)policies[i].conf.parsed)->jwt;
        }
    }
    return NULL;
}

/* In blocks of the exact size, so that a read or write past the end is seen. */
static const char *verdict(const struct mp_jwt_policy *p, const json_t *token, int64_t now)
{
    size_t n = json_string_length(token);
    char *exact = malloc(n + !n);
    uint8_t *room = malloc(MP_JWT_ROOM(MP_MIN(n, (size_t)MP_JWT_TOKEN_MAX)));
    struct mp_jwt *jwt = malloc(sizeof(*jwt));
    if (!exact || !room || !jwt) {
        abort();
    }
    memcpy(exact, json_string_value(token), n);
    enum mp_jwt_status s = mp_jwt_verify(p, mp_str(exact, n), now, room, jwt);
    free(exact);
    free(room);
    free(jwt);
    return mp_jwt_status_name(s);
}

static void vectors(void)
{
    size_t i, valid = 0, hostile = 0, wrong = 0, seen[MP_JWT_STATUS_COUNT] = {0};
    json_t *v;
    int64_t at = json_integer_value(json_object_get(data, "now"));
    json_array_foreach(json_object_get(data, "vectors"), i, v)
    {
        const struct mp_jwt_policy *p = policy_of(text_of(v, "policy"));
        const json_t *now = json_object_get(v, "now");
        const char *wanted = text_of(v, "status");
        T_OK(p != NULL);
        const char *got =
            verdict(p, json_object_get(v, "token"), now ? json_integer_value(now) : at);
        if (strcmp(got, wanted) != 0) {
            printf("# %s: %s, expected %s\n", text_of(v, "name"), got, wanted);
            wrong++;
        }
        for (int k = 0; k < MP_JWT_STATUS_COUNT; k++) {
            seen[k] += strcmp(got, mp_jwt_status_name((enum mp_jwt_status)k)) == 0;
        }
        valid += strcmp(wanted, "ok") == 0;
        hostile += strcmp(wanted, "ok") != 0;
    }
    printf("# %zu valid, %zu hostile tokens\n", valid, hostile);
    T_EQ(wrong, 0);
    T_OK(valid > 100);
    T_OK(hostile > 200);
    for (int k = 0; k < MP_JWT_STATUS_COUNT; k++) {
        T_OK(seen[k] > 0); /* every verdict is reached */
    }
}

/* No proper part of a valid token is one. */
static void truncated(void)
{
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(data, "vectors"), i, v)
    {
        const struct mp_jwt_policy *p = policy_of(text_of(v, "policy"));
        const char *token = text_of(v, "token");
        size_t n = json_string_length(json_object_get(v, "token"));
        uint8_t room[MP_JWT_ROOM(1024)];
        struct mp_jwt jwt;
        if (strcmp(text_of(v, "status"), "ok") != 0 || !mp_jwt_alg_is_hmac(p->alg) || n > 1024) {
            continue;
        }
        for (size_t k = 0; k < n; k++) {
            T_OK(mp_jwt_verify(p, mp_str(token, k), 1700000000, room, &jwt) != MP_JWT_OK);
        }
    }
}

int main(int argc, char **argv)
{
    json_error_t err;
    data = argc > 1 ? json_load_file(argv[1], JSON_ALLOW_NUL, &err) : NULL;
    if (!data) {
        printf("Bail out! no data: %s\n", argc > 1 ? err.text : "usage: test_jwt jwt.json");
        return 1;
    }
    fc_init();
    T_RUN(load_policies);
    T_RUN(vectors);
    T_RUN(truncated);
    for (size_t i = 0; i < n_policies; i++) {
        fc_conf_free(&policies[i].conf);
    }
    json_decref(data);
    fc_fini();
    return T_DONE();
}
