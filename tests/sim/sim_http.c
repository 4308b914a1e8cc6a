/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "sim_http.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/assert.h"
#include "base/rand.h"

#define HEAD_MAX       (256 * 1024)
#define LINE_MAX_BYTES (16 * 1024)

/* Content */

static uint64_t gen_word(uint64_t id, int dir, uint64_t index)
{
    uint64_t x = (id + 1) * 0x9e3779b97f4a7c15ull + (uint64_t)dir * 0xc2b2ae3d27d4eb4full + index;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

void sim_gen_fill(uint64_t id, int dir, uint64_t off, char *out, size_t n)
{
    while (n > 0) {
        uint64_t word = gen_word(id, dir, off / 8);
        size_t skip = off % 8;
        size_t part = MP_MIN(n, 8 - skip);
        memcpy(out, (const char *)&word + skip, part);
        out += part;
        off += part;
        n -= part;
    }
}

ptrdiff_t sim_gen_check(uint64_t id, int dir, uint64_t off, const char *p, size_t n)
{
    char want[4096];
    for (size_t at = 0; at < n;) {
        size_t part = MP_MIN(n - at, sizeof(want));
        sim_gen_fill(id, dir, off + at, want, part);
        if (memcmp(want, p + at, part) != 0) {
            while (p[at] == want[at % sizeof(want)]) {
                at++;
            }
            return (ptrdiff_t)at;
        }
        at += part;
    }
    return -1;
}

void sim_gen_text(uint64_t id, int dir, char *out, size_t n)
{
    sim_gen_fill(id, dir, 0, out, n);
    for (size_t i = 0; i < n; i++) {
        out[i] = (char)('a' + (unsigned char)out[i] % 26);
    }
}

bool sim_gen_text_is(uint64_t id, int dir, struct mp_str s)
{
    char *want = malloc(s.n + 1);
    MP_ASSERT(want);
    sim_gen_text(id, dir, want, s.n);
    bool same = s.n == 0 || memcmp(want, s.p, s.n) == 0;
    free(want);
    return same;
}

/* Bytes */

static char *bytes_room(struct sim_bytes *b, size_t n)
{
    if (b->cap - b->n < n) {
        size_t cap = MP_MAX(b->cap * 2, b->n + n);
        b->p = realloc(b->p, cap);
        MP_ASSERT(b->p);
        b->cap = cap;
    }
    return b->p + b->n;
}

void sim_bytes_add(struct sim_bytes *b, const void *p, size_t n)
{
    if (n > 0) {
        memcpy(bytes_room(b, n), p, n);
        b->n += n;
    }
}

void sim_bytes_addf(struct sim_bytes *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char text[512];
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    MP_ASSERT(n >= 0);
    MP_ASSERT((size_t)n < sizeof(text));
    sim_bytes_add(b, text, (size_t)n);
}

void sim_bytes_free(struct sim_bytes *b)
{
    free(b->p);
    *b = (struct sim_bytes){0};
}

void sim_bytes_add_body(struct sim_bytes *b, uint64_t id, int dir, size_t n, bool chunked,
                        struct mp_rand *rand)
{
    static const uint32_t sizes[] = {1, 7, 16, 200, 4096, 16384, 70000};
    for (size_t off = 0; off < n;) {
        size_t part = n - off;
        if (chunked) {
            size_t chunk = 1 + mp_rand_below(rand, sizes[mp_rand_below(rand, MP_COUNTOF(sizes))]);
            part = MP_MIN(part, chunk);
            /* Both cases of hexadecimal, and leading zeros. */
            sim_bytes_addf(b, mp_rand_below(rand, 2) ? "%zx\r\n" : "%04zX\r\n", part);
        }
        sim_gen_fill(id, dir, off, bytes_room(b, part), part);
        b->n += part;
        off += part;
        if (chunked) {
            sim_bytes_add(b, "\r\n", 2);
        }
    }
}

/* Parser */

void sim_parser_init(struct sim_parser *p, bool responses, const struct sim_parser_ops *ops,
                     void *arg)
{
    *p = (struct sim_parser){.ops = ops, .arg = arg, .responses = responses};
}

void sim_parser_fini(struct sim_parser *p)
{
    sim_bytes_free(&p->acc);
}

void sim_parser_next(struct sim_parser *p)
{
    MP_ASSERT(p->state == SIM_P_DONE);
    sim_bytes_free(&p->acc);
    p->state = SIM_P_HEAD;
    p->no_body = p->close = p->expect = p->chunked = p->has_length = false;
    p->left = p->length = 0;
}

static bool fail(struct sim_parser *p, const char *error)
{
    if (!p->error) {
        p->error = error;
    }
    return false;
}

/* Cuts one line, which must end in CRLF and hold no other control character. */
static bool take_line(struct sim_parser *p, struct mp_str *rest, struct mp_str *ret)
{
    ptrdiff_t lf = mp_str_chr(*rest, '\n', 0);
    if (lf < 1 || rest->p[lf - 1] != '\r') {
        return fail(p, "line without CRLF");
    }
    *ret = mp_str(rest->p, (size_t)lf - 1);
    for (size_t i = 0; i < ret->n; i++) {
        unsigned char c = (unsigned char)ret->p[i];
        if (c == 0x7f || (c < 0x20 && c != '\t')) {
            return fail(p, "control character in a line");
        }
    }
    rest->p += lf + 1;
    rest->n -= (size_t)lf + 1;
    return true;
}

static bool split_field(struct sim_parser *p, struct mp_str line, struct mp_str *name,
                        struct mp_str *value)
{
    ptrdiff_t colon = mp_str_chr(line, ':', 0);
    if (colon < 1) {
        return fail(p, "field without a name");
    }
    *name = mp_str(line.p, (size_t)colon);
    for (size_t i = 0; i < name->n; i++) {
        if (!strchr("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
                    name->p[i])) {
            return fail(p, "field name is not a token");
        }
    }
    *value = mp_str_trim(mp_str(line.p + colon + 1, line.n - (size_t)colon - 1));
    return true;
}

bool sim_parser_field(const struct sim_parser *p, const char *name, struct mp_str *ret)
{
    struct mp_str rest = mp_str(p->acc.p, p->acc.n), line, n, v;
    struct sim_parser scratch = {0};
    if (!take_line(&scratch, &rest, &line)) {
        return false;
    }
    while (take_line(&scratch, &rest, &line) && line.n > 0) {
        if (split_field(&scratch, line, &n, &v) && mp_str_ieq(n, mp_str_c(name))) {
            *ret = v;
            return true;
        }
    }
    return false;
}

static bool start_line(struct sim_parser *p, struct mp_str line)
{
    struct mp_str version, status;
    if (!p->responses) {
        if (!mp_str_split(&line, ' ', &p->method) || !mp_str_split(&line, ' ', &p->target)) {
            return fail(p, "request line");
        }
        p->close = mp_str_eq(line, MP_STR("HTTP/1.0"));
        return p->close || mp_str_eq(line, MP_STR("HTTP/1.1")) || fail(p, "version of a request");
    }
    uint64_t code;
    if (!mp_str_split(&line, ' ', &version) || !mp_str_split(&line, ' ', &status) ||
        status.n != 3 || mp_is_err(mp_str_to_u64(status, &code)) || code < 100 || code > 599) {
        return fail(p, "status line");
    }
    p->status = (int)code;
    p->close = mp_str_eq(version, MP_STR("HTTP/1.0"));
    return p->close || mp_str_eq(version, MP_STR("HTTP/1.1")) || fail(p, "version of a response");
}

static bool framing_field(struct sim_parser *p, struct mp_str name, struct mp_str value)
{
    if (mp_str_ieq(name, MP_STR("content-length"))) {
        if (p->has_length || mp_is_err(mp_str_to_u64(value, &p->length))) {
            return fail(p, "content-length");
        }
        p->has_length = true;
    }
    if (mp_str_ieq(name, MP_STR("transfer-encoding"))) {
        if (p->chunked || !mp_str_ieq(value, MP_STR("chunked"))) {
            return fail(p, "transfer-encoding");
        }
        p->chunked = true;
    }
    if (mp_str_ieq(name, MP_STR("connection"))) {
        struct mp_str part;
        while (mp_str_split(&value, ',', &part)) {
            p->close |= mp_str_ieq(mp_str_trim(part), MP_STR("close"));
        }
    }
    p->expect |= mp_str_ieq(name, MP_STR("expect"));
    return true;
}

static void end_message(struct sim_parser *p)
{
    p->state = SIM_P_DONE;
    p->ops->on_end(p->arg);
}

static void begin_body(struct sim_parser *p)
{
    p->acc.n = 0;
    bool bodyless = p->responses && (p->no_body || p->status == 204 || p->status == 304);
    if (p->chunked && !bodyless) {
        p->state = SIM_P_CHUNK_SIZE;
        return;
    }
    p->left = p->has_length ? p->length : 0;
    if (!bodyless && p->left > 0) {
        p->state = SIM_P_LENGTH;
        return;
    }
    if (!bodyless && p->responses && !p->has_length) {
        p->close = true;
        p->state = SIM_P_UNTIL_CLOSE;
        return;
    }
    end_message(p);
}

static bool head_complete(struct sim_parser *p)
{
    struct mp_str rest = mp_str(p->acc.p, p->acc.n), line, name, value;
    if (!take_line(p, &rest, &line) || !start_line(p, line)) {
        return false;
    }
    for (;;) {
        if (!take_line(p, &rest, &line)) {
            return false;
        }
        if (line.n == 0) {
            break;
        }
        if (!split_field(p, line, &name, &value) || !framing_field(p, name, value)) {
            return false;
        }
    }
    if (p->chunked && p->has_length) {
        return fail(p, "both content-length and transfer-encoding");
    }
    bool interim = p->responses && p->status < 200;
    if ((interim || (p->responses && p->status == 204)) && (p->chunked || p->has_length)) {
        return fail(p, "framing fields in a message without a body");
    }
    p->ops->on_head(p->arg, p);
    if (interim) {
        p->acc.n = 0;
        p->close = false;
        return true;
    }
    begin_body(p);
    return true;
}

/* Collects up to and including the end of a line or of a head. True when it is there. */
static bool collect(struct sim_parser *p, const char *bytes, size_t n, size_t *used, bool head)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != '\n') {
            continue;
        }
        sim_bytes_add(&p->acc, bytes + *used, i + 1 - *used);
        *used = i + 1;
        bool blank = p->acc.n >= 4 && memcmp(p->acc.p + p->acc.n - 4, "\r\n\r\n", 4) == 0;
        if (!head || blank) {
            return true;
        }
    }
    sim_bytes_add(&p->acc, bytes + *used, n - *used);
    *used = n;
    if (p->acc.n > (head ? HEAD_MAX : LINE_MAX_BYTES)) {
        fail(p, "line or head too long");
    }
    return false;
}

static bool chunk_size(struct sim_parser *p)
{
    struct mp_str rest = mp_str(p->acc.p, p->acc.n), line;
    if (!take_line(p, &rest, &line) || line.n == 0 || line.n > 15) {
        return fail(p, "chunk size");
    }
    uint64_t size = 0;
    for (size_t i = 0; i < line.n; i++) {
        const char *digits = "0123456789abcdef";
        char c = line.p[i] >= 'A' && line.p[i] <= 'F' ? (char)(line.p[i] + 32) : line.p[i];
        const char *at = strchr(digits, c);
        if (!at || c == 0) {
            return fail(p, "chunk size");
        }
        size = size * 16 + (uint64_t)(at - digits);
    }
    p->acc.n = 0;
    p->left = size;
    p->state = size > 0 ? SIM_P_CHUNK_DATA : SIM_P_TRAILER;
    return true;
}

static bool trailer_line(struct sim_parser *p)
{
    struct mp_str rest = mp_str(p->acc.p, p->acc.n), line, name, value;
    if (!take_line(p, &rest, &line)) {
        return false;
    }
    if (line.n == 0) {
        p->acc.n = 0;
        end_message(p);
        return true;
    }
    if (!split_field(p, line, &name, &value)) {
        return false;
    }
    p->ops->on_trailer(p->arg, name, value);
    p->acc.n = 0;
    return true;
}

static bool line_complete(struct sim_parser *p)
{
    if (p->state == SIM_P_HEAD) {
        return head_complete(p);
    }
    if (p->state == SIM_P_CHUNK_SIZE) {
        return chunk_size(p);
    }
    if (p->state == SIM_P_TRAILER) {
        return trailer_line(p);
    }
    bool blank = p->acc.n == 2 && p->acc.p[0] == '\r';
    p->acc.n = 0;
    p->state = SIM_P_CHUNK_SIZE;
    return blank || fail(p, "chunk is longer than its size");
}

static size_t body_bytes(struct sim_parser *p, const char *bytes, size_t n)
{
    size_t part = p->state == SIM_P_UNTIL_CLOSE ? n : MP_MIN(n, p->left);
    p->ops->on_body(p->arg, bytes, part);
    if (p->state == SIM_P_UNTIL_CLOSE) {
        return part;
    }
    p->left -= part;
    if (p->left == 0 && p->state == SIM_P_CHUNK_DATA) {
        p->state = SIM_P_CHUNK_END;
    } else if (p->left == 0) {
        end_message(p);
    }
    return part;
}

ptrdiff_t sim_parser_feed(struct sim_parser *p, const char *bytes, size_t n)
{
    size_t used = 0;
    while (used < n && p->state != SIM_P_DONE && !p->error) {
        bool in_body = p->state == SIM_P_LENGTH || p->state == SIM_P_CHUNK_DATA ||
                       p->state == SIM_P_UNTIL_CLOSE;
        if (in_body) {
            used += body_bytes(p, bytes + used, n - used);
            continue;
        }
        size_t part = 0;
        bool whole = collect(p, bytes + used, n - used, &part, p->state == SIM_P_HEAD);
        used += part;
        if (whole) {
            line_complete(p);
        }
    }
    return p->error ? -1 : (ptrdiff_t)used;
}

bool sim_parser_eof(struct sim_parser *p)
{
    if (p->state == SIM_P_UNTIL_CLOSE) {
        end_message(p);
        return true;
    }
    return p->state == SIM_P_DONE || (p->state == SIM_P_HEAD && p->acc.n == 0);
}
