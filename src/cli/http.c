/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "cli/http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/connect.h"
#include "codec/chunk.h"
#include "codec/h1_parse.h"
#include "codec/h1_write.h"
#include "io/open.h"

#define TOKEN_MAX 4096
#define READ_MAX  (64 * 1024)

static const struct mp_h1_limits limits = {
    .head_bytes_max = 64 * 1024, .fields_max = 100, .target_bytes_max = 32 * 1024 - 1};

/* One exchange on its way. */
struct exchange {
    struct mp_cli_link link;
    enum mp_method method;
    char *in; /* received and not yet used */
    size_t n, cap;
    struct mp_cli_answer *answer;
    struct mp_sb *error;
};

/* ---- the request ---- */

/* The token of the file, without the line end; false: complained. */
static bool read_token(const struct mp_cli *cli, char out[TOKEN_MAX], struct mp_sb *error)
{
    struct mp_str text;
    int err = 0;
    out[0] = '\0';
    if (cli->token_file == NULL) {
        return true;
    }
    if (mp_is_err(mp_read_file(cli->token_file, TOKEN_MAX - 1, &text, &err))) {
        mp_sb_printf(error, "cannot read the token file '%s': %s", cli->token_file, strerror(err));
        return false;
    }
    size_t n = text.n;
    while (n > 0 && (text.p[n - 1] == '\n' || text.p[n - 1] == '\r' || text.p[n - 1] == ' ')) {
        n--;
    }
    bool ok = n > 0 && mp_hdr_value_ok(mp_str(text.p, n));
    if (ok) {
        memcpy(out, text.p, n);
        out[n] = '\0';
    } else {
        mp_sb_printf(error, "the token file '%s' holds no token", cli->token_file);
    }
    explicit_bzero((char *)(uintptr_t)text.p, text.n);
    free((char *)(uintptr_t)text.p);
    return ok;
}

static bool send_request(struct exchange *x, const struct mp_cli *cli, const char *method,
                         const char *target)
{
    char token[TOKEN_MAX], bearer[TOKEN_MAX + 8];
    char scratch[1024];
    struct mp_arena arena;
    struct mp_hdrs hdrs;
    if (!read_token(cli, token, x->error)) {
        return false;
    }
    mp_arena_init(&arena, scratch, sizeof(scratch), &mp_block_source_heap, 8192, 65536);
    mp_hdrs_init(&hdrs, &arena, 8);
    snprintf(bearer, sizeof(bearer), "Bearer %s", token);
    bool ok = !mp_is_err(mp_hdrs_add(&hdrs, MP_STR("host"), mp_str_c(x->link.host))) &&
              !mp_is_err(mp_hdrs_add(&hdrs, MP_STR("user-agent"), MP_STR("marchctl/" MP_VERSION)));
    if (ok && token[0] != '\0') {
        ok = !mp_is_err(mp_hdrs_add(&hdrs, MP_STR("authorization"), mp_str_c(bearer)));
    }
    struct mp_h1_head_out head = {.method = mp_str_c(method),
                                  .target = mp_str_c(target),
                                  .minor = 1,
                                  .body = MP_BODY_NONE,
                                  .write_length_zero = x->method == MP_METHOD_POST,
                                  .conn = MP_H1_CONN_CLOSE,
                                  .hdrs = &hdrs};
    if (ok) {
        size_t size = mp_h1_request_size(&head);
        char *out = mp_xmalloc(size);
        ok = mp_cli_link_write(&x->link, out, mp_h1_write_request(out, &head), x->error);
        explicit_bzero(out, size);
        free(out);
    } else {
        mp_sb_add_c(x->error, "the request cannot be written");
    }
    explicit_bzero(token, sizeof(token));
    explicit_bzero(bearer, sizeof(bearer));
    mp_arena_fini(&arena);
    return ok;
}

/* ---- the answer ---- */

/* More input: 1, the end: 0, complained: -1. */
static int fill(struct exchange *x)
{
    if (x->cap - x->n < READ_MAX) {
        x->cap = x->n + 2 * READ_MAX;
        x->in = mp_xrealloc(x->in, x->cap);
    }
    ssize_t got = mp_cli_link_read(&x->link, x->in + x->n, READ_MAX, x->error);
    if (got > 0) {
        x->n += (size_t)got;
    }
    return got > 0 ? 1 : (int)got;
}

static bool cut_off(struct exchange *x, int got)
{
    if (got == 0) {
        mp_sb_add_c(x->error, "the connection was closed before the answer was complete");
    }
    return false;
}

static void use(struct exchange *x, size_t n)
{
    x->n -= n;
    memmove(x->in, x->in + n, x->n);
}

static bool take(struct exchange *x, size_t n)
{
    mp_sb_add(&x->answer->body, mp_str(x->in, n));
    if (x->answer->body.overflow) {
        mp_sb_printf(x->error, "the answer is larger than %zu bytes", MP_CLI_ANSWER_MAX);
        return false;
    }
    return true;
}

static bool read_head(struct exchange *x, struct mp_h1_response *ret)
{
    static struct mp_hdr fields[100];
    size_t scanned = 0;
    for (;;) {
        enum mp_h1_status s = x->n == 0 ? MP_H1_MORE
                                        : mp_h1_parse_response(x->in, x->n, &scanned, &limits,
                                                               x->method, fields, ret);
        if (s == MP_H1_OK) {
            use(x, ret->head_n);
            if (ret->status >= 200) {
                return true;
            }
            scanned = 0; /* 1xx: the answer is still to come */
            continue;
        }
        if (s != MP_H1_MORE) {
            mp_sb_printf(x->error, "the answer is not HTTP/1.1: %s", mp_h1_status_text(s));
            return false;
        }
        int got = fill(x);
        if (got <= 0) {
            return cut_off(x, got);
        }
    }
}

static bool read_length(struct exchange *x, uint64_t left)
{
    while (left > 0) {
        size_t n = (size_t)MP_MIN(left, (uint64_t)x->n);
        if (!take(x, n)) {
            return false;
        }
        use(x, n);
        left -= n;
        if (left > 0) {
            int got = fill(x);
            if (got <= 0) {
                return cut_off(x, got);
            }
        }
    }
    return true;
}

static bool read_chunks(struct exchange *x)
{
    struct mp_chunk_dec dec;
    mp_chunk_dec_init(&dec);
    for (;;) {
        size_t payload = 0, used = 0;
        enum mp_h1_status s = MP_H1_MORE;
        if (x->n > 0) {
            s = mp_chunk_decode(&dec, x->in, x->n, &payload, &used);
            if (!take(x, payload)) {
                return false;
            }
            use(x, used);
        }
        if (s == MP_H1_OK) {
            return true; /* trailers are of no interest */
        }
        if (s != MP_H1_MORE) {
            mp_sb_printf(x->error, "the answer is not HTTP/1.1: %s", mp_h1_status_text(s));
            return false;
        }
        int got = fill(x);
        if (got <= 0) {
            return cut_off(x, got);
        }
    }
}

static bool read_to_end(struct exchange *x)
{
    for (;;) {
        if (!take(x, x->n)) {
            return false;
        }
        x->n = 0;
        int got = fill(x);
        if (got <= 0) {
            return got == 0;
        }
    }
}

static bool read_answer(struct exchange *x)
{
    struct mp_h1_response head;
    if (!read_head(x, &head)) {
        return false;
    }
    x->answer->status = head.status;
    switch (head.body) {
    case MP_BODY_NONE:
        return true;
    case MP_BODY_LENGTH:
        return read_length(x, head.content_length);
    case MP_BODY_CHUNKED:
        return read_chunks(x);
    case MP_BODY_CLOSE:
        return read_to_end(x);
    }
    return false;
}

/* ---- calls ---- */

int mp_cli_try(const struct mp_cli *cli, const char *method, const char *target,
               struct mp_cli_answer *ret, struct mp_sb *error)
{
    struct exchange x = {.method = mp_method_of(mp_str_c(method)), .answer = ret, .error = error};
    ret->status = 0;
    mp_sb_init(&ret->body, MP_CLI_ANSWER_MAX);
    bool ok = mp_cli_link_open(&x.link, cli->admin, cli->timeout_ms, error);
    if (ok) {
        ok = send_request(&x, cli, method, target) && read_answer(&x);
        mp_cli_link_close(&x.link);
    }
    free(x.in);
    if (!ok) {
        mp_cli_answer_fini(ret);
    }
    return ok ? MP_CLI_OK : MP_CLI_UNREACHABLE;
}

int mp_cli_request(const struct mp_cli *cli, const char *method, const char *target,
                   struct mp_cli_answer *ret)
{
    struct mp_sb error;
    mp_sb_init(&error, 4096);
    int rc = mp_cli_try(cli, method, target, ret, &error);
    if (rc != MP_CLI_OK) {
        (void)mp_cli_fail(rc, "%s: %s", cli->admin, error.n > 0 ? error.p : "no answer");
    }
    mp_sb_fini(&error);
    if (rc != MP_CLI_OK || ret->status < 400) {
        return rc;
    }
    struct mp_str text = mp_sb_str(&ret->body);
    while (text.n > 0 && text.p[text.n - 1] == '\n') {
        text.n--;
    }
    rc = ret->status == 401 || ret->status == 403 ? MP_CLI_DENIED : MP_CLI_REFUSED;
    (void)mp_cli_fail(rc, "the proxy answers %u: " MP_STR_FMT, ret->status, MP_STR_ARG(text));
    mp_cli_answer_fini(ret);
    return rc;
}

void mp_cli_answer_fini(struct mp_cli_answer *a)
{
    mp_sb_fini(&a->body);
}

int mp_cli_show(const struct mp_cli *cli, const char *method, const char *target)
{
    struct mp_cli_answer a;
    int rc = mp_cli_request(cli, method, target, &a);
    if (rc == MP_CLI_OK) {
        fwrite(a.body.p, 1, a.body.n, stdout);
        mp_cli_answer_fini(&a);
    }
    return rc;
}

void mp_cli_add_param(struct mp_sb *target, const char *name, const char *value)
{
    bool first = target->n == 0 || memchr(target->p, '?', target->n) == NULL;
    mp_sb_printf(target, "%c%s=", first ? '?' : '&', name);
    for (; *value != '\0'; value++) {
        unsigned char c = (unsigned char)*value;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '.' || c == '_' || c == '-' || c == '~';
        mp_sb_printf(target, plain ? "%c" : "%%%02X", c);
    }
}
