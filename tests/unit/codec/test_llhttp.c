/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Compares with llhttp (unit/codec/llhttp_peer.h): the vectors, the good heads, and many mutations
 * of both. */
#include "unit/codec/heads.h"
#include "unit/codec/llhttp_peer.h"
#include "unit/codec/vectors.h"
#include "unit/t.h"

#define MUTATIONS 400

static struct vector *vectors;
static size_t n_vectors;
static size_t n_ok, n_refused;
static uint64_t seed = 42;

static unsigned below(unsigned n)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % n;
}

static void show(const char *kind, const char *in, size_t n, const char *why)
{
    printf("# %s, we accept, llhttp differs (%s): ", kind, why);
    for (size_t i = 0; i < n && i < 400; i++) {
        unsigned char c = (unsigned char)in[i];
        printf(c >= 0x20 && c < 0x7f ? "%c" : "\\x%02x", c);
    }
    printf("\n");
    t_case_failed = 1;
}

static void compare(const char *kind, const char *in, size_t n)
{
    static struct parsed p;
    const char *why = NULL;
    enum mp_h1_status st;
    if (strcmp(kind, "body") == 0) {
        char *payload = malloc(n + 1);
        size_t payload_n, used = 0;
        st = help_body(in, n, 0, payload, &payload_n, &used);
        why = st == MP_H1_OK ? peer_check_body(in, n, payload, payload_n, used) : NULL;
        free(payload);
    } else {
        bool request = strcmp(kind, "request") == 0;
        help_parse(&p, request ? HELP_REQUEST : HELP_RESPONSE, in, n);
        st = p.st;
        if (st == MP_H1_OK) {
            why = request ? peer_check_request(in, n, &p) : peer_check_response(in, n, &p);
        }
        help_free(&p);
    }
    n_ok += st == MP_H1_OK;
    n_refused += st != MP_H1_OK && st != MP_H1_MORE;
    if (why != NULL) {
        show(kind, in, n, why);
    }
}

static size_t mutate(char *buf, size_t n, size_t room)
{
    static const char *const bits[] = {"\r\n",
                                       "\n",
                                       "\r",
                                       " ",
                                       "\t",
                                       ":",
                                       ",",
                                       ";",
                                       "\r\n ",
                                       "\0",
                                       "0",
                                       "chunked",
                                       "\x80",
                                       "\x7f",
                                       "Content-Length: 3\r\n",
                                       "Transfer-Encoding: chunked\r\n",
                                       "Connection: close\r\n",
                                       "Connection: upgrade, keep-alive\r\n",
                                       "Upgrade: websocket\r\n",
                                       "Host: a.example\r\n",
                                       "HTTP/1.0",
                                       "HTTP/1.1",
                                       "?",
                                       "/",
                                       "#",
                                       "[::1]",
                                       "\"",
                                       "=",
                                       "http://a.example",
                                       "0\r\n\r\n",
                                       "1\r\nx\r\n",
                                       "CONNECT",
                                       "HEAD",
                                       "204",
                                       "304",
                                       "101",
                                       "A",
                                       "%",
                                       "@",
                                       "*"};
    for (unsigned k = 1 + below(3); k > 0; k--) {
        size_t at = n ? below((unsigned)n) : 0;
        switch (below(4)) {
        case 0:
            if (n > 0) {
                buf[at] = (char)below(256);
            }
            break;
        case 1:
            if (n > 0) {
                size_t gone = 1 + below((unsigned)(n - at < 8 ? n - at : 8));
                memmove(buf + at, buf + at + gone, n - at - gone);
                n -= gone;
            }
            break;
        default: {
            const char *bit = bits[below((unsigned)(sizeof(bits) / sizeof(bits[0])))];
            size_t len = bit[0] ? strlen(bit) : 1;
            if (n + len <= room) {
                memmove(buf + at + len, buf + at, n - at);
                memcpy(buf + at, bit, len);
                n += len;
            }
        }
        }
    }
    return n;
}

static void compare_kind(const char *kind, unsigned mutations)
{
    static char buf[8192];
    n_ok = n_refused = 0;
    for (size_t i = 0; i < n_vectors; i++) {
        const struct vector *v = &vectors[i];
        if (strcmp(v->kind, kind) != 0) {
            continue;
        }
        compare(kind, v->bytes, v->n);
        for (unsigned k = 0; k < mutations && v->n < 2000; k++) {
            memcpy(buf, v->bytes, v->n);
            compare(kind, buf, mutate(buf, v->n, sizeof(buf)));
        }
    }
    printf("# %s: %zu accepted, %zu refused\n", kind, n_ok, n_refused);
    T_OK(n_ok > 1000);
    T_OK(n_refused > 1000);
}

static void test_requests(void)
{
    compare_kind("request", MUTATIONS);
}

static void test_responses(void)
{
    compare_kind("response", MUTATIONS * 5);
}

static void test_bodies(void)
{
    compare_kind("body", MUTATIONS * 3);
}

static void test_heads(void)
{
    static const char *const heads[] = {HEAD_SMALL, HEAD_BROWSER};
    static char buf[8192];
    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(heads[i]);
        compare("request", heads[i], n);
        for (unsigned k = 0; k < 20000; k++) {
            memcpy(buf, heads[i], n);
            compare("request", buf, mutate(buf, n, sizeof(buf)));
        }
    }
}

int main(int argc, char **argv)
{
    json_t *root;
    if (argc != 2) {
        fprintf(stderr, "usage: test_llhttp smuggling.json\n");
        return 2;
    }
    vectors = vectors_load(argv[1], &n_vectors, &root);
    T_RUN(test_requests);
    T_RUN(test_responses);
    T_RUN(test_bodies);
    T_RUN(test_heads);
    vectors_free(vectors, n_vectors, root);
    return T_DONE();
}
