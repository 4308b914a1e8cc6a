/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "codec/client_hello.h"
#include "unit/t.h"

struct msg {
    char b[20000];
    size_t n;
};

static void put(struct msg *m, const void *p, size_t n)
{
    memcpy(m->b + m->n, p, n);
    m->n += n;
}

static void put_num(struct msg *m, size_t v, size_t bytes)
{
    for (size_t i = bytes; i > 0; i--) {
        m->b[m->n++] = (char)(v >> (8 * (i - 1)));
    }
}

/* A hello with these extensions, in records of at most piece bytes. */
static struct msg make(const struct msg *exts, size_t piece)
{
    static struct msg body, out;
    body.n = out.n = 0;
    put(&body, "\1\0\0\0\3\3", 6);
    for (int i = 0; i < 32; i++) {
        put(&body, "r", 1);
    }
    put(&body, "\0\0\2\x13\1\1\0", 7);
    if (exts) {
        put_num(&body, exts->n, 2);
        put(&body, exts->b, exts->n);
    }
    body.b[2] = (char)((body.n - 4) >> 8);
    body.b[3] = (char)(body.n - 4);
    for (size_t at = 0; at < body.n; at += piece) {
        size_t k = body.n - at < piece ? body.n - at : piece;
        put(&out, "\x16\3\1", 3);
        put_num(&out, k, 2);
        put(&out, body.b + at, k);
    }
    return out;
}

static struct msg name_ext(const char *name)
{
    struct msg m = {.n = 0};
    size_t n = strlen(name);
    put_num(&m, 0, 2);
    put_num(&m, n + 5, 2);
    put_num(&m, n + 3, 2);
    put_num(&m, 0, 1);
    put_num(&m, n, 2);
    put(&m, name, n);
    return m;
}

static enum mp_hello_status parse(const struct msg *m, size_t n, struct mp_hello *h)
{
    static char tmp[MP_HELLO_MAX];
    char *copy = malloc(n + 1);
    memcpy(copy + 1, m->b, n);
    enum mp_hello_status st = mp_hello_parse(copy + 1, n, tmp, h);
    free(copy);
    return st;
}

static void test_name_and_alpn(void)
{
    struct msg e = name_ext("A.Example");
    struct mp_hello h;
    put(&e, "\0\x10\0\x0e\0\x0c\2h2\x8http/1.1", 18);
    for (size_t piece = 1; piece < 200; piece += 7) {
        struct msg m = make(&e, piece);
        for (size_t n = 0; n < m.n; n++) {
            T_EQ(parse(&m, n, &h), MP_HELLO_MORE);
        }
        T_EQ(parse(&m, m.n, &h), MP_HELLO_OK);
        T_OK(strcmp(h.name, "a.example") == 0);
        T_EQ(h.alpn_n, 12);
        T_OK(memcmp(h.alpn, "\2h2\x8http/1.1", 12) == 0);
    }
    struct msg bare = make(NULL, 1000);
    T_EQ(parse(&bare, bare.n, &h), MP_HELLO_OK);
    T_EQ(h.name[0], 0);
}

static void test_not_tls(void)
{
    struct mp_hello h;
    struct msg m = {.b = "GET / HTTP/1.1\r\n\r\n", .n = 18};
    T_EQ(parse(&m, 1, &h), MP_HELLO_NONE);
    m.b[0] = 22;
    T_EQ(parse(&m, 1, &h), MP_HELLO_MORE);
    T_EQ(parse(&m, 18, &h), MP_HELLO_NONE);
}

static void test_bad(void)
{
    struct mp_hello h;
    struct msg e = name_ext("a.example");
    struct msg m = make(&e, 1000);
    m.b[5] = 2; /* a server's hello */
    T_EQ(parse(&m, m.n, &h), MP_HELLO_BAD);
    struct msg twice = name_ext("a.example");
    put(&twice, e.b, e.n);
    m = make(&twice, 1000);
    T_EQ(parse(&m, m.n, &h), MP_HELLO_BAD);
    struct msg empty = name_ext("");
    m = make(&empty, 1000);
    T_EQ(parse(&m, m.n, &h), MP_HELLO_BAD);
    for (size_t i = 0; i < e.n; i++) {
        /* Whatever a byte says, nothing is read beyond the message. */
        for (int v = 0; v < 256; v += 5) {
            struct msg bent = e;
            bent.b[i] = (char)v;
            m = make(&bent, 1000);
            (void)parse(&m, m.n, &h);
        }
    }
}

static void test_limits(void)
{
    static struct msg e;
    struct mp_hello h;
    /* 4 + 2 + 32 + 1 + 4 + 2 + 2 bytes, and one extension of 4 + its content. */
    for (int over = 0; over < 2; over++) {
        size_t content = MP_HELLO_MAX - 47 - 4 + (size_t)over;
        e.n = 0;
        put_num(&e, 99, 2);
        put_num(&e, content, 2);
        memset(e.b + e.n, 0, content);
        e.n += content;
        struct msg m = make(&e, 16000);
        T_EQ(parse(&m, m.n, &h), over ? MP_HELLO_BAD : MP_HELLO_OK);
    }
    char name[260];
    for (size_t n = 254; n <= 256; n++) {
        memset(name, 'a', n);
        name[n] = '\0';
        struct msg x = name_ext(name), m = make(&x, 16000);
        T_EQ(parse(&m, m.n, &h), n <= 255 ? MP_HELLO_OK : MP_HELLO_BAD);
    }
}

int main(void)
{
    T_RUN(test_name_and_alpn);
    T_RUN(test_not_tls);
    T_RUN(test_bad);
    T_RUN(test_limits);
    return T_DONE();
}
