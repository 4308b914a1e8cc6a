/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "codec/client_hello.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"

#define RECORD_HANDSHAKE 22
#define CLIENT_HELLO     1
#define EXT_SERVER_NAME  0
#define EXT_ALPN         16

/* What is left of a part of the message; broken: it was shorter than it says. */
struct reader {
    const uint8_t *p;
    size_t n;
    bool broken;
};

static const uint8_t *take(struct reader *r, size_t n)
{
    if (r->broken || n > r->n) {
        r->broken = true;
        return NULL;
    }
    const uint8_t *p = r->p;
    r->p += n;
    r->n -= n;
    return p;
}

static size_t number(struct reader *r, size_t bytes)
{
    const uint8_t *p = take(r, bytes);
    size_t v = 0;
    for (size_t i = 0; p != NULL && i < bytes; i++) {
        v = v << 8 | p[i];
    }
    return v;
}

/* A part with its length in front. */
static struct reader part(struct reader *r, size_t bytes)
{
    size_t n = number(r, bytes);
    const uint8_t *p = take(r, n);
    return (struct reader){p, p != NULL ? n : 0, p == NULL};
}

static bool read_name(struct reader ext, struct mp_hello *ret)
{
    struct reader list = part(&ext, 2);
    if (ext.n > 0) {
        return false;
    }
    while (list.n > 0 && !list.broken) {
        size_t type = number(&list, 1);
        struct reader name = part(&list, 2);
        if (name.broken || type != 0) {
            return false; /* no other type was ever defined */
        }
        if (name.n == 0 || name.n > 255 || memchr(name.p, '\0', name.n) != NULL ||
            ret->name[0] != '\0') {
            return false;
        }
        for (size_t i = 0; i < name.n; i++) {
            uint8_t c = name.p[i];
            ret->name[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
        }
        ret->name[name.n] = '\0';
    }
    return !list.broken;
}

static bool read_alpn(struct reader ext, struct mp_hello *ret)
{
    struct reader list = part(&ext, 2);
    if (ext.n > 0) {
        return false;
    }
    while (list.n > 0 && !list.broken) {
        struct reader name = part(&list, 1);
        if (name.broken || name.n == 0) {
            return false;
        }
        if (ret->alpn_n + 1 + name.n <= sizeof(ret->alpn)) {
            ret->alpn[ret->alpn_n++] = (char)name.n;
            memcpy(ret->alpn + ret->alpn_n, name.p, name.n);
            ret->alpn_n += name.n;
        }
    }
    return !list.broken;
}

static bool read_hello(struct reader m, struct mp_hello *ret)
{
    bool seen_name = false, seen_alpn = false;
    (void)take(&m, 2 + 32); /* version, random */
    (void)part(&m, 1);      /* session */
    (void)part(&m, 2);      /* ciphers */
    (void)part(&m, 1);      /* compression */
    if (m.broken) {
        return false;
    }
    if (m.n == 0) {
        return true;
    }
    struct reader exts = part(&m, 2);
    while (exts.n > 0 && !exts.broken) {
        size_t type = number(&exts, 2);
        struct reader ext = part(&exts, 2);
        if (ext.broken) {
            return false;
        }
        if (type == EXT_SERVER_NAME) {
            if (seen_name || !read_name(ext, ret)) {
                return false;
            }
            seen_name = true;
        } else if (type == EXT_ALPN) {
            if (seen_alpn || !read_alpn(ext, ret)) {
                return false;
            }
            seen_alpn = true;
        }
    }
    return !exts.broken && !m.broken && m.n == 0;
}

enum mp_hello_status mp_hello_parse(const char *p, size_t n, char *tmp, struct mp_hello *ret)
{
    const uint8_t *u = (const uint8_t *)p;
    size_t have = 0, want = 4;
    memset(ret, 0, sizeof(*ret));
    for (size_t at = 0;;) {
        size_t left = n - at;
        if ((left > 0 && u[at] != RECORD_HANDSHAKE) || (left > 1 && u[at + 1] != 3)) {
            return at == 0 ? MP_HELLO_NONE : MP_HELLO_BAD;
        }
        if (left < 5) {
            return MP_HELLO_MORE;
        }
        size_t len = (size_t)u[at + 3] << 8 | u[at + 4];
        if (len == 0 || len > MP_HELLO_MAX) {
            return MP_HELLO_BAD;
        }
        size_t here = MP_MIN(len, left - 5), k = MP_MIN(here, MP_HELLO_MAX - have);
        memcpy(tmp + have, p + at + 5, k);
        have += k;
        if (have >= 4) {
            const uint8_t *h = (const uint8_t *)tmp;
            want = 4 + ((size_t)h[1] << 16 | (size_t)h[2] << 8 | h[3]);
            if (h[0] != CLIENT_HELLO || want > MP_HELLO_MAX) {
                return MP_HELLO_BAD;
            }
        }
        if (have >= 4 && have >= want) {
            struct reader m = {(const uint8_t *)tmp + 4, want - 4, false};
            return read_hello(m, ret) ? MP_HELLO_OK : MP_HELLO_BAD;
        }
        if (here < len) {
            return MP_HELLO_MORE;
        }
        at += 5 + len;
    }
}
