/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "codec/ws.h"

#include <stdlib.h>
#include <string.h>

#include "t.h"

static bool accepts(struct mp_str key, const char *expected)
{
    char out[MP_WS_ACCEPT_N];
    return mp_ws_accept(key, out) && memcmp(out, expected, sizeof(out)) == 0;
}

static void test_accept(void)
{
    T_OK(accepts(MP_STR("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    T_OK(accepts(mp_str(NULL, 0), "Kfh9QIsMVZcl6xEPYxPHzW8SZ8w="));
    /* Each number of blocks, and lengths around their borders. */
    static const struct {
        size_t n;
        const char *accept;
    } rows[] = {{18, "qChxkF3JDYNASeew3saQqqTWi7o="}, {19, "tWclcP21hrR+xgjYVswtQRW71GQ="},
                {20, "tSsjsIAvEVIQ+IC5K8+T/OkG8nU="}, {24, "Osl8Plp/k+NDIMqB3yv/XvvAbcA="},
                {27, "qUNe7W8rvas6tQS5F4QBTf/JpvE="}, {28, "x9bmfLYIxLMaaT5h0sFuRlAhhb8="},
                {29, "23YR1Db+zw7wlQpr5c9wffHlaIs="}, {82, "BZ0JPMQmH1VG9cKUF6yLHO44z6w="},
                {83, "c8WQ7edrEIKQKdUK6YpbGv6/vjc="}, {84, "oSGTDoRzn25LiA1UjW2lEH1Pvlc="},
                {91, "Mxd/SwBPfhz1zQHW7M6srlOA0TM="}, {92, "LY9EluoxzTck+ySKVLqXrQNaqCc="},
                {93, "OlyDH6wkbrkWbIFLI9V2r4u7Uus="}, {127, "Tgft4ztdnI3TerMIoij7JdbQj9w="},
                {128, "LcijRWdSv8weHsk1E7Dug2wMBbg="}};
    char key[MP_WS_KEY_MAX + 1];
    memset(key, 'k', sizeof(key));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        T_OK(accepts(mp_str(key, rows[i].n), rows[i].accept));
    }
    char out[MP_WS_ACCEPT_N];
    T_OK(!mp_ws_accept(mp_str(key, MP_WS_KEY_MAX + 1), out));
}

static void test_key(void)
{
    char out[MP_WS_KEY_N];
    mp_ws_key((const uint8_t *)"the sample nonce", out);
    T_OK(memcmp(out, "dGhlIHNhbXBsZSBub25jZQ==", sizeof(out)) == 0);
}

int main(void)
{
    T_RUN(test_accept);
    T_RUN(test_key);
    return T_DONE();
}
