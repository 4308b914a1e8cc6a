/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The HTTP/2 session with hand-made frames: rules of messages, limits, windows, floods; then a
 * client session against a server session. */
#include "codec/h2_session.h"
#include "t.h"

/* ---- a session and what happened to it ---- */

struct side {
    struct mp_h2_session h;
    struct mp_h2_conf conf;
    struct mp_blocks blocks;
    struct mp_slab slab;
    struct mp_arena arena;
    char out[1 << 20];
    size_t out_n;
    bool blocked, unwanted, refuse;
    /* events */
    struct mp_h2_stream *st[64];
    int heads, trailers, ends, closes, drained, refused_heads, settings, goaways, infos;
    enum mp_h2_fault fault;
    unsigned status;
    char path[256], fields[4096], body[1 << 16];
    size_t body_n;
    uint32_t close_code, goaway_code;
    bool unprocessed;
    int flood;
};

static bool on_begin(struct mp_h2_session *h, struct mp_h2_stream *st)
{
    struct side *s = h->owner;
    st->user = s;
    return !s->refuse;
}
static struct mp_arena *arena(struct mp_h2_session *h, struct mp_h2_stream *st)
{
    return &((struct side *)h->owner)->arena;
}
static void add_fields(struct side *s, const struct mp_hdrs *h)
{
    for (int i = 0; i < h->n; i++) {
        if (h->v[i].name_n > 0) {
            size_t n = strlen(s->fields);
            snprintf(s->fields + n, sizeof(s->fields) - n, "%.*s=%.*s|", (int)h->v[i].name_n,
                     h->v[i].name, (int)h->v[i].value_n, h->v[i].value);
        }
    }
}
static void on_head(struct mp_h2_session *h, struct mp_h2_stream *st, struct mp_h2_head *head,
                    enum mp_h2_fault fault, bool end)
{
    struct side *s = h->owner;
    if (head->status >= 100 && head->status < 200) {
        s->infos++;
        return;
    }
    s->fault = fault;
    if (fault != MP_H2_HEAD_OK) {
        s->refused_heads++;
        return;
    }
    s->st[s->heads++ % 64] = st;
    s->ends += end;
    s->status = head->status;
    snprintf(s->path, sizeof(s->path), "%.*s", (int)head->path.n, head->path.p ? head->path.p : "");
    s->fields[0] = '\0';
    add_fields(s, &head->hdrs);
}
static void on_data(struct mp_h2_session *h, struct mp_h2_stream *st, struct mp_str data, bool end)
{
    struct side *s = h->owner;
    (void)st;
    s->ends += end;
    if (data.n > 0 && s->body_n + data.n < sizeof(s->body)) {
        memcpy(s->body + s->body_n, data.p, data.n);
    }
    s->body_n += data.n;
}
static void on_trailers(struct mp_h2_session *h, struct mp_h2_stream *st, struct mp_hdrs *t)
{
    struct side *s = h->owner;
    (void)st;
    s->trailers++;
    s->ends++;
    s->fields[0] = '\0';
    add_fields(s, t);
}
static bool wants_data(struct mp_h2_session *h, struct mp_h2_stream *st)
{
    (void)st;
    return !((struct side *)h->owner)->unwanted;
}
static void on_drained(struct mp_h2_session *h, struct mp_h2_stream *st)
{
    (void)st;
    ((struct side *)h->owner)->drained++;
}
static void on_close(struct mp_h2_session *h, struct mp_h2_stream *st, uint32_t code, bool un)
{
    struct side *s = h->owner;
    s->closes++;
    s->close_code = code;
    s->unprocessed = un;
    for (int i = 0; i < 64; i++) {
        s->st[i] = s->st[i] == st ? NULL : s->st[i];
    }
}
static void on_settings(struct mp_h2_session *h)
{
    ((struct side *)h->owner)->settings++;
}
static void on_goaway(struct mp_h2_session *h, uint32_t code)
{
    struct side *s = h->owner;
    s->goaways++;
    s->goaway_code = code;
}
static void on_flood(struct mp_h2_session *h, enum mp_h2_flood why)
{
    ((struct side *)h->owner)->flood = (int)why;
}
static void want_flush(struct mp_h2_session *h)
{
    (void)h;
}
static bool writable(struct mp_h2_session *h)
{
    struct side *s = h->owner;
    return !s->blocked && s->out_n < sizeof(s->out) / 2;
}
static void on_write(struct mp_h2_session *h, struct mp_str pre, struct mp_str data)
{
    struct side *s = h->owner;
    for (int i = 0; i < 2; i++, pre = data) {
        if (pre.n > 0) {
            memcpy(s->out + s->out_n, pre.p, pre.n);
            s->out_n += pre.n;
        }
    }
}
static const struct mp_h2_ops ops = {
    .on_begin = on_begin,
    .arena = arena,
    .on_head = on_head,
    .on_data = on_data,
    .on_trailers = on_trailers,
    .wants_data = wants_data,
    .on_drained = on_drained,
    .on_close = on_close,
    .on_settings = on_settings,
    .on_goaway = on_goaway,
    .on_flood = on_flood,
    .want_flush = want_flush,
    .writable = writable,
    .write = on_write,
};

static struct side A, B; /* server, client */
static uint64_t now = 1000;

static void side_conf(struct side *s, bool server)
{
    memset(s, 0, sizeof(*s));
    mp_h2_conf_defaults(&s->conf, server);
    s->flood = -1;
    mp_blocks_init(&s->blocks, 0);
    mp_slab_init(&s->slab, sizeof(struct mp_h2_stream), 0);
    mp_arena_init(&s->arena, NULL, 0, &mp_block_source_heap, 4096, SIZE_MAX);
}
static void side_start(struct side *s)
{
    bool ok = mp_h2_init(&s->h, &s->conf, &ops, s, &s->blocks, &s->slab, now);
    if (!ok) {
        abort();
    }
}
static void side_end(struct side *s)
{
    mp_h2_fini(&s->h);
    mp_arena_fini(&s->arena);
    mp_slab_fini(&s->slab);
    mp_blocks_fini(&s->blocks);
}

/* ---- frames by hand ---- */

static char in[1 << 20];
static size_t in_n;

static void raw(const void *p, size_t n)
{
    memcpy(in + in_n, p, n);
    in_n += n;
}
static void frame(int type, int flags, uint32_t id, const void *p, size_t n)
{
    uint8_t hd[9] = {(uint8_t)(n >> 16),  (uint8_t)(n >> 8),  (uint8_t)n,
                     (uint8_t)type,       (uint8_t)flags,     (uint8_t)(id >> 24),
                     (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};
    raw(hd, 9);
    raw(p, n);
}
static size_t hp_len(char *w, size_t n)
{
    if (n < 127) {
        w[0] = (char)n;
        return 1;
    }
    size_t k = 0;
    w[k++] = 127;
    n -= 127;
    while (n >= 128) {
        w[k++] = (char)(n % 128 + 128);
        n /= 128;
    }
    w[k++] = (char)n;
    return k;
}
static char block[1 << 18];
static size_t block_n;
static void fld_n(const char *name, size_t nn, const char *value, size_t vn)
{
    block[block_n++] = 0;
    block_n += hp_len(block + block_n, nn);
    memcpy(block + block_n, name, nn);
    block_n += nn;
    block_n += hp_len(block + block_n, vn);
    memcpy(block + block_n, value, vn);
    block_n += vn;
}
static void fld(const char *name, const char *value)
{
    fld_n(name, strlen(name), value, strlen(value));
}
static void get(const char *path)
{
    block_n = 0;
    fld(":method", "GET");
    fld(":scheme", "http");
    fld(":path", path);
    fld(":authority", "a.test");
}
static void post(void)
{
    block_n = 0;
    fld(":method", "POST");
    fld(":scheme", "http");
    fld(":path", "/p");
    fld(":authority", "a.test");
}
enum { DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINUP, CONT };
enum { ES = 1, ACK = 1, EH = 4, PAD = 8 };

static void headers(uint32_t id, int flags)
{
    size_t at = MP_MIN(block_n, (size_t)16384);
    frame(HEADERS, flags | (at == block_n ? EH : 0), id, block, at);
    while (at < block_n) {
        size_t n = MP_MIN(block_n - at, (size_t)16384);
        frame(CONT, at + n == block_n ? EH : 0, id, block + at, n);
        at += n;
    }
}
static void feed(void)
{
    mp_h2_recv(&A.h, now, in, in_n);
    in_n = 0;
    mp_h2_flush(&A.h, now);
}
static void begin(void)
{
    in_n = 0;
    raw(MP_H2_PREFACE, MP_H2_PREFACE_N);
    frame(SETTINGS, 0, 0, "", 0);
    feed();
}
/* A server that has seen the preface. */
static void server(void)
{
    side_conf(&A, true);
    side_start(&A);
    begin();
}

struct fr {
    uint32_t n, type, flags, id;
    const uint8_t *p;
};
static bool next(size_t *at, struct fr *f)
{
    const uint8_t *o = (const uint8_t *)A.out + *at;
    if (A.out_n - *at < 9) {
        return false;
    }
    *f = (struct fr){(uint32_t)(o[0] << 16 | o[1] << 8 | o[2]), o[3], o[4],
                     (uint32_t)(o[5] << 24 | o[6] << 16 | o[7] << 8 | o[8]), o + 9};
    *at += 9 + f->n;
    return true;
}
/* Number of frames of the type in the output; *ret the last one. */
static int count(uint32_t type, struct fr *ret)
{
    size_t at = 0;
    int n = 0;
    struct fr f;
    while (next(&at, &f)) {
        if (f.type == type) {
            n++;
            *ret = f;
        }
    }
    return n;
}
static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)(p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]);
}
/* Error code of the RST_STREAM for id, or of the GOAWAY (+1000), or -1. */
static int ended_with(uint32_t id)
{
    struct fr f;
    size_t at = 0;
    while (next(&at, &f)) {
        if (f.type == RST && f.id == id) {
            return (int)be32(f.p);
        }
        if (f.type == GOAWAY && be32(f.p + 4) != 0) {
            return (int)be32(f.p + 4) + 1000;
        }
    }
    return -1;
}
static struct mp_h2_head reply(unsigned status, struct mp_hdrs *h)
{
    struct mp_h2_head head = {.status = status};
    mp_hdrs_init(&head.hdrs, &A.arena, 100);
    (void)h;
    return head;
}
static void answer(struct mp_h2_stream *st, const char *body)
{
    struct mp_h2_head head = reply(200, NULL);
    mp_h2_send_response(st, &head, body == NULL);
    if (body != NULL) {
        (void)!mp_h2_send_data(st, mp_str_c(body), true);
    }
    mp_h2_detach(st);
    mp_h2_flush(&A.h, now);
}

/* ---- cases ---- */

static void t_handshake_order(void)
{
    server();
    size_t at = 0;
    struct fr f;
    T_OK(next(&at, &f) && f.type == SETTINGS && f.flags == 0);
    T_OK(next(&at, &f) && f.type == SETTINGS && f.flags == ACK);
    T_OK(next(&at, &f) && f.type == WINUP && f.id == 0);
    T_EQ(be32(f.p), 1024 * 1024 - 65535);
    side_end(&A);
}

static void t_get_and_answer(void)
{
    server();
    get("/x?y=1");
    fld("user-agent", "t");
    headers(1, ES);
    feed();
    T_EQ(A.heads, 1);
    T_EQ(A.ends, 1);
    T_OK(strcmp(A.path, "/x?y=1") == 0);
    T_OK(strcmp(A.fields, "host=a.test|user-agent=t|") == 0);
    answer(A.st[0], "hello");
    struct fr f;
    T_EQ(count(DATA, &f), 1);
    T_OK(f.n == 5 && f.flags == ES && memcmp(f.p, "hello", 5) == 0);
    T_EQ(A.closes, 1);
    T_EQ(A.close_code, 0);
    side_end(&A);
}

static void t_one_byte_at_a_time(void)
{
    side_conf(&A, true);
    side_start(&A);
    in_n = 0;
    raw(MP_H2_PREFACE, MP_H2_PREFACE_N);
    frame(SETTINGS, 0, 0, "", 0);
    post();
    fld("content-length", "3");
    headers(1, 0);
    frame(DATA, ES, 1, "abc", 3);
    for (size_t i = 0; i < in_n; i++) {
        mp_h2_recv(&A.h, now, in + i, 1);
    }
    T_EQ(A.heads, 1);
    T_EQ(A.ends, 1);
    T_OK(A.body_n == 3 && memcmp(A.body, "abc", 3) == 0);
    side_end(&A);
}

/* A head that must end the stream with PROTOCOL_ERROR. */
static int refused(void (*make)(void))
{
    server();
    make();
    headers(1, ES);
    feed();
    int code = ended_with(1);
    if (A.heads != 0 || A.fault != MP_H2_HEAD_MALFORMED || A.refused_heads != 1) {
        code = -100;
    }
    /* The connection goes on. */
    get("/next");
    headers(3, ES);
    feed();
    if (A.heads != 1) {
        code = -200;
    }
    side_end(&A);
    return code;
}
#define BAD(name, ...)                 \
    static void make_##name(void)      \
    {                                  \
        __VA_ARGS__                    \
    }                                  \
    static void t_bad_##name(void)     \
    {                                  \
        T_EQ(refused(make_##name), 1); \
    }
BAD(upper, get("/"); fld("X-A", "1");)
BAD(space_in_name, get("/"); fld("x a", "1");)
BAD(colon_in_name, get("/"); fld("x:a", "1");)
BAD(empty_name, get("/"); fld("", "1");)
BAD(nul_in_name, get("/"); fld_n("x\0a", 3, "1", 1);)
BAD(cr_in_value, get("/"); fld("x-a", "1\r");)
BAD(lf_in_value, get("/"); fld("x-a", "1\nx: y");)
BAD(nul_in_value, get("/"); fld_n("x-a", 3, "a\0b", 3);)
BAD(leading_space, get("/"); fld("x-a", " 1");)
BAD(trailing_tab, get("/"); fld("x-a", "1\t");)
BAD(high_name, get("/"); fld("x\xc3\xa4", "1");)
BAD(unknown_pseudo, get("/"); fld(":x", "1");)
BAD(status_in_request, get("/"); fld(":status", "200");)
BAD(pseudo_after_regular, get("/"); fld("x-a", "1"); fld(":path", "/2");)
BAD(late_authority, block_n = 0; fld(":method", "GET"); fld(":scheme", "http"); fld(":path", "/");
    fld("x-a", "1"); fld(":authority", "a.test");)
BAD(two_methods, get("/"); fld(":method", "GET");)
BAD(two_paths, get("/"); fld(":path", "/");)
BAD(two_schemes, get("/"); fld(":scheme", "http");)
BAD(two_authorities, get("/"); fld(":authority", "a.test");)
BAD(no_method, block_n = 0; fld(":scheme", "http"); fld(":path", "/"); fld(":authority", "a");)
BAD(no_scheme, block_n = 0; fld(":method", "GET"); fld(":path", "/"); fld(":authority", "a");)
BAD(no_path, block_n = 0; fld(":method", "GET"); fld(":scheme", "http"); fld(":authority", "a");)
BAD(empty_path, get("");)
BAD(relative_path, get("x");)
BAD(star_path, get("*");)
BAD(space_in_path, get("/a b");)
BAD(fragment_in_path, get("/a#b");)
BAD(crlf_in_path, get("/a\r\nx: y");)
BAD(method_with_space, block_n = 0; fld(":method", "GET /x"); fld(":scheme", "http");
    fld(":path", "/"); fld(":authority", "a");)
BAD(empty_method, block_n = 0; fld(":method", ""); fld(":scheme", "http"); fld(":path", "/");
    fld(":authority", "a");)
BAD(bad_scheme, block_n = 0; fld(":method", "GET"); fld(":scheme", "ht tp"); fld(":path", "/");
    fld(":authority", "a");)
BAD(userinfo, block_n = 0; fld(":method", "GET"); fld(":scheme", "http"); fld(":path", "/");
    fld(":authority", "u@a.test");)
BAD(no_authority, block_n = 0; fld(":method", "GET"); fld(":scheme", "http"); fld(":path", "/");)
BAD(host_differs, get("/"); fld("host", "b.test");)
BAD(two_hosts, block_n = 0; fld(":method", "GET"); fld(":scheme", "http"); fld(":path", "/");
    fld("host", "a"); fld("host", "a");)
BAD(connection, get("/"); fld("connection", "close");)
BAD(keep_alive, get("/"); fld("keep-alive", "1");)
BAD(proxy_connection, get("/"); fld("proxy-connection", "close");)
BAD(transfer_encoding, get("/"); fld("transfer-encoding", "chunked");)
BAD(upgrade, get("/"); fld("upgrade", "websocket");)
BAD(te_gzip, get("/"); fld("te", "trailers, gzip");)
BAD(length_and_end, get("/"); fld("content-length", "1");)
BAD(two_lengths, get("/"); fld("content-length", "0"); fld("content-length", "0");)
BAD(length_plus, get("/"); fld("content-length", "+0");)
BAD(length_list, get("/"); fld("content-length", "0, 0");)
BAD(length_empty, get("/"); fld("content-length", "");)
BAD(connect_with_path, block_n = 0; fld(":method", "CONNECT"); fld(":path", "/");
    fld(":authority", "a:1");)
BAD(connect_no_port, block_n = 0; fld(":method", "CONNECT"); fld(":authority", "a");)
BAD(protocol_not_allowed, block_n = 0; fld(":method", "CONNECT"); fld(":scheme", "http");
    fld(":path", "/"); fld(":authority", "a"); fld(":protocol", "websocket");)

static void t_good_heads(void)
{
    server();
    block_n = 0;
    fld(":method", "OPTIONS");
    fld(":scheme", "https");
    fld(":path", "*");
    fld("host", "a.test:8080");
    fld("te", "trailers");
    headers(1, ES);
    feed();
    T_EQ(A.heads, 1);
    T_OK(strcmp(A.fields, "host=a.test:8080|te=trailers|") == 0);
    get("/");
    fld("host", "A.test");
    fld("x-empty", "");
    fld("x-high", "\xc3\xa4");
    headers(3, ES);
    feed();
    T_EQ(A.heads, 2);
    T_OK(strcmp(A.fields, "host=a.test|x-empty=|x-high=\xc3\xa4|") == 0);
    block_n = 0;
    fld(":method", "CONNECT");
    fld(":authority", "a.test:443");
    headers(5, 0);
    feed();
    T_EQ(A.heads, 3);
    side_end(&A);
}

static void t_extended_connect(void)
{
    side_conf(&A, true);
    A.conf.allow_connect = true;
    side_start(&A);
    begin();
    block_n = 0;
    fld(":method", "CONNECT");
    fld(":protocol", "websocket");
    fld(":scheme", "http");
    fld(":path", "/chat");
    fld(":authority", "a");
    headers(1, 0);
    feed();
    T_EQ(A.heads, 1);
    T_OK(strcmp(A.path, "/chat") == 0);
    get("/");
    fld(":protocol", "websocket");
    headers(3, ES);
    feed();
    T_EQ(ended_with(3), 1);
    side_end(&A);
}

static void t_cookies_are_joined(void)
{
    server();
    get("/");
    fld("cookie", "a=1");
    fld("x-a", "1");
    fld("cookie", "b=2");
    fld("cookie", "");
    headers(1, ES);
    feed();
    T_OK(strcmp(A.fields, "host=a.test|x-a=1|cookie=a=1; b=2; |") == 0);
    side_end(&A);
}

static int with_fields(int n, int crumbs, const char *value)
{
    server();
    get("/");
    char name[16];
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "x-%d", i);
        fld(name, value);
    }
    for (int i = 0; i < crumbs; i++) {
        fld("cookie", "a");
    }
    headers(1, ES);
    feed();
    int r = A.heads == 1 ? 0 : (int)A.fault;
    side_end(&A);
    return r;
}

static void t_field_count_limit(void)
{
    T_EQ(with_fields(99, 0, "1"), 0);
    T_EQ(with_fields(100, 0, "1"), 0);
    T_EQ(with_fields(101, 0, "1"), MP_H2_HEAD_TOO_LARGE);
    T_EQ(with_fields(100, 255, "1"), 0);
    T_EQ(with_fields(100, 256, "1"), 0);
    T_EQ(with_fields(100, 257, "1"), MP_H2_HEAD_TOO_LARGE);
}

static int head_of(size_t bytes)
{
    static char value[1 << 17];
    server();
    get("/");
    /* :method GET, :scheme http, :path /, :authority a.test are 54 bytes with 4 for each */
    size_t rest = bytes - (7 + 3 + 7 + 4 + 5 + 1 + 10 + 6 + 16);
    memset(value, 'v', rest);
    fld_n("x-a", 3, value, rest - 7);
    headers(1, ES);
    feed();
    int r = A.heads == 1 ? 0 : (int)A.fault;
    side_end(&A);
    return r;
}

static void t_head_bytes_limit(void)
{
    T_EQ(head_of(60 * 1024 - 1), 0);
    T_EQ(head_of(60 * 1024), 0);
    T_EQ(head_of(60 * 1024 + 1), MP_H2_HEAD_TOO_LARGE);
}

static void t_bomb(void)
{
    server();
    /* One large entry in the table, then 15,000 one-byte references to it. */
    block_n = 0;
    block[block_n++] = 0x40;
    block_n += hp_len(block + block_n, 3);
    memcpy(block + block_n, "x-a", 3);
    block_n += 3;
    block_n += hp_len(block + block_n, 3800);
    memset(block + block_n, 'v', 3800);
    block_n += 3800;
    size_t first = block_n;
    int streams = 0;
    size_t before = A.arena.used;
    for (; streams < 1000 && A.flood < 0; streams++) {
        memset(block + first, 0x80 | 62, 15000);
        block_n = first + 15000;
        if (streams > 0) {
            memset(block, 0x80 | 62, block_n);
        }
        headers((uint32_t)streams * 2 + 1, ES);
        feed();
        A.out_n = 0;
    }
    T_EQ(A.flood, MP_H2_FLOOD_HEADERS);
    T_OK(streams <= 25);
    T_OK(A.arena.used - before < 2 * 1024 * 1024);
    side_end(&A);
}

static void t_body_and_length(void)
{
    server();
    post();
    fld("content-length", "5");
    headers(1, 0);
    frame(DATA, 0, 1, "he", 2);
    frame(DATA, ES | PAD, 1, "\x04llo....", 8);
    feed();
    T_EQ(A.ends, 1);
    T_OK(A.body_n == 5 && memcmp(A.body, "hello", 5) == 0);
    post();
    fld("content-length", "5");
    headers(3, 0);
    frame(DATA, ES, 3, "abcd", 4);
    feed();
    T_EQ(ended_with(3), 1);
    post();
    fld("content-length", "2");
    headers(5, 0);
    frame(DATA, 0, 5, "abc", 3);
    feed();
    T_EQ(ended_with(5), 1);
    post();
    fld("content-length", "2");
    headers(7, 0);
    block_n = 0;
    fld("x-t", "1");
    headers(7, ES);
    feed();
    T_EQ(ended_with(7), 1);
    side_end(&A);
}

static void t_trailers(void)
{
    server();
    post();
    headers(1, 0);
    frame(DATA, 0, 1, "ab", 2);
    block_n = 0;
    fld("x-sum", "1");
    fld("host", "evil");
    headers(1, ES);
    feed();
    T_EQ(A.trailers, 1);
    T_EQ(A.ends, 1);
    T_OK(strcmp(A.fields, "x-sum=1|") == 0);
    /* without END_STREAM; with a pseudo-header field */
    post();
    headers(3, 0);
    block_n = 0;
    fld("x-sum", "1");
    headers(3, 0);
    feed();
    T_EQ(ended_with(3), 1);
    post();
    headers(5, 0);
    block_n = 0;
    fld(":path", "/");
    headers(5, ES);
    feed();
    T_EQ(ended_with(5), 1);
    side_end(&A);
}

static void t_windows_follow_consumption(void)
{
    static char data[16384];
    server();
    A.unwanted = true;
    post();
    headers(1, 0);
    A.out_n = 0;
    for (int i = 0; i < 4; i++) {
        frame(DATA, 0, 1, data, 16000);
    }
    feed();
    struct fr f;
    T_EQ(count(WINUP, &f), 0);
    T_EQ(A.body_n, 0);
    A.unwanted = false;
    mp_h2_read_on(A.st[0]);
    mp_h2_flush(&A.h, now);
    T_EQ(A.body_n, 64000);
    T_OK(count(WINUP, &f) >= 1);
    /* one byte above the stream's window: FLOW_CONTROL_ERROR */
    A.unwanted = true;
    A.out_n = 0;
    for (int i = 0; i < 5; i++) {
        frame(DATA, 0, 1, data, 16000);
    }
    feed();
    T_OK(ended_with(1) == 3 || ended_with(1) == 1003);
    side_end(&A);
}

static void t_reset_in_the_same_piece_is_never_seen(void)
{
    server();
    get("/");
    headers(1, ES);
    frame(RST, 0, 1, "\0\0\0\x08", 4);
    feed();
    T_EQ(A.heads, 0);
    T_EQ(A.closes, 1);
    T_EQ(A.close_code, 8);
    side_end(&A);
}

static void t_output_waits_for_windows_and_socket(void)
{
    static char big[100000];
    memset(big, 'x', sizeof(big));
    server();
    get("/");
    headers(1, ES);
    feed();
    struct mp_h2_head head = reply(200, NULL);
    mp_h2_send_response(A.st[0], &head, false);
    T_OK(mp_h2_send_data(A.st[0], mp_str(big, sizeof(big)), false));
    A.blocked = true;
    A.out_n = 0;
    mp_h2_flush(&A.h, now);
    T_EQ(A.out_n, 0);
    A.blocked = false;
    mp_h2_flush(&A.h, now);
    T_EQ(A.st[0]->out.n, sizeof(big) - 65535);
    T_EQ(A.drained, 0);
    frame(WINUP, 0, 1, "\0\x01\0\0", 4);
    frame(WINUP, 0, 0, "\0\x01\0\0", 4);
    feed();
    T_EQ(A.st[0]->out.n, 0);
    T_EQ(A.drained, 1);
    T_OK(mp_h2_send_data(A.st[0], MP_STR(""), true));
    mp_h2_flush(&A.h, now);
    T_EQ(A.closes, 1);
    side_end(&A);
}

static void t_late_trailers_of_a_reset_stream_are_ignored(void)
{
    server();
    post();
    headers(1, 0);
    feed();
    struct mp_h2_stream *st = A.st[0];
    answer(st, "no"); /* ends with RST_STREAM NO_ERROR */
    block_n = 0;
    fld("x-late", "1");
    headers(1, ES);
    get("/");
    headers(3, ES);
    feed();
    T_EQ(ended_with(0), -1);
    T_EQ(A.heads, 2);
    side_end(&A);
}

static void t_early_response_stops_the_request(void)
{
    server();
    post();
    headers(1, 0);
    feed();
    A.out_n = 0;
    answer(A.st[0], "no");
    T_EQ(ended_with(1), 0);
    side_end(&A);
}

/* Repeats a frame until the session ends; the number it took. */
static int flood_of(void (*one)(int i), int max)
{
    server();
    int i = 0;
    while (i < max && A.flood < 0 && !A.h.ended) {
        one(i++);
        feed();
        A.out_n = A.flood >= 0 ? A.out_n : 0;
    }
    if (ended_with(0) != 1011 && A.flood != MP_H2_FLOOD_OUTBOUND) {
        i = -ended_with(0);
    }
    return i;
}
static void one_ping(int i)
{
    (void)i;
    frame(PING, 0, 0, "12345678", 8);
}
static void one_settings(int i)
{
    (void)i;
    frame(SETTINGS, 0, 0, "", 0);
}
static void one_priority(int i)
{
    (void)i;
    frame(PRIORITY, 0, 3, "\0\0\0\1\x10", 5);
}
static void one_winup(int i)
{
    (void)i;
    frame(WINUP, 0, 0, "\0\0\0\1", 4);
}
static void one_empty_data(int i)
{
    if (i == 0) {
        post();
        headers(1, 0);
    }
    frame(DATA, 0, 1, "", 0);
}
static void one_empty_data_apart(int i)
{
    one_empty_data(i);
    frame(PING, ACK, 0, "12345678", 8);
}
static void one_reset(int i)
{
    get("/");
    headers((uint32_t)i * 2 + 1, ES);
    feed();
    frame(RST, 0, (uint32_t)i * 2 + 1, "\0\0\0\x08", 4);
}
static void one_made_reset_length(int i)
{
    /* more DATA than was promised */
    post();
    fld("content-length", "1");
    headers((uint32_t)i * 2 + 1, 0);
    frame(DATA, 0, (uint32_t)i * 2 + 1, "xy", 2);
}
static void one_made_reset_window(int i)
{
    /* window overflow */
    get("/");
    headers((uint32_t)i * 2 + 1, ES);
    frame(WINUP, 0, (uint32_t)i * 2 + 1, "\x7f\xff\xff\xff", 4);
}
static void one_malformed(int i)
{
    get("/");
    fld("X", "1");
    headers((uint32_t)i * 2 + 1, ES);
}
static void one_empty_continuation(int i)
{
    if (i == 0) {
        get("/");
        frame(HEADERS, ES, 1, block, block_n);
    }
    frame(CONT, 0, 1, "", 0);
}
static void one_continuation(int i)
{
    if (i == 0) {
        get("/");
        frame(HEADERS, ES, 1, block, block_n);
    }
    block_n = 0;
    fld("x", "y");
    frame(CONT, 0, 1, block, block_n);
}
#define FLOOD(name, kind, from, to)         \
    static void t_flood_##name(void)        \
    {                                       \
        int n = flood_of(one_##name, 5000); \
        T_OK(n >= (from));                  \
        T_OK(n <= (to));                    \
        T_EQ(A.flood, MP_H2_FLOOD_##kind);  \
        side_end(&A);                       \
    }
FLOOD(ping, PING, 900, 1001)
FLOOD(settings, SETTINGS, 90, 101)
FLOOD(priority, PRIORITY, 400, 501)
FLOOD(winup, WINDOW_UPDATE, 1000, 1010)
FLOOD(empty_data, EMPTY, 10, 11)
FLOOD(empty_data_apart, EMPTY, 200, 201)
FLOOD(reset, RESET, 400, 401)
FLOOD(made_reset_length, MADE_RESET, 50, 101)
FLOOD(made_reset_window, MADE_RESET, 50, 101)
FLOOD(malformed, MADE_RESET, 100, 101)
FLOOD(empty_continuation, CONTINUATION, 5, 11)
FLOOD(continuation, CONTINUATION, 5, 201)

static void t_budgets_come_back_with_time(void)
{
    server();
    for (int i = 0; i < 3000; i++) {
        one_reset(i);
        feed();
        now += 25; /* 40 a second, of 50 that are given back */
        A.out_n = 0;
    }
    T_EQ(A.flood, -1);
    side_end(&A);
}

static void t_unread_answers_end_the_connection(void)
{
    server();
    A.blocked = true;
    A.conf.outbound_control_frames_max = 1000;
    int i = 0;
    while (!A.h.ended && i < 3000) {
        one_ping(i++);
        if (i % 100 == 0) {
            now += 1000;
        }
        mp_h2_recv(&A.h, now, in, in_n);
        in_n = 0;
    }
    T_OK(i <= 1010);
    T_OK(A.flood == MP_H2_FLOOD_OUTBOUND);
    side_end(&A);
}

static void t_too_many_streams(void)
{
    server();
    for (uint32_t i = 0; i < 101; i++) {
        get("/");
        headers(i * 2 + 1, ES);
    }
    feed();
    T_EQ(A.heads, 100);
    T_EQ(ended_with(201), 7); /* before our SETTINGS are acknowledged: refused */
    side_end(&A);
}

/* RFC 9113 3.4 to 6: what ends the connection, with which code. */
static int conn_error(void (*make)(void))
{
    server();
    make();
    feed();
    int code = ended_with(1);
    side_end(&A);
    return code;
}
#define CONN(name, want, ...)                  \
    static void make_##name(void)              \
    {                                          \
        __VA_ARGS__                            \
    }                                          \
    static void t_conn_##name(void)            \
    {                                          \
        T_EQ(conn_error(make_##name), (want)); \
    }
CONN(data_on_0, 1001, frame(DATA, 0, 0, "x", 1);)
CONN(headers_on_0, 1001, get("/"); headers(0, ES);)
CONN(headers_even, 1001, get("/"); headers(2, ES);)
CONN(id_not_growing, 1001, get("/"); headers(5, ES); headers(3, ES);)
CONN(id_of_closed, 1005, get("/"); headers(1, ES); feed(); answer(A.st[0], NULL); headers(1, ES);)
CONN(data_on_idle, 1001, frame(DATA, 0, 1, "x", 1);)
CONN(rst_on_idle, 1001, frame(RST, 0, 1, "\0\0\0\x08", 4);)
CONN(rst_on_0, 1001, frame(RST, 0, 0, "\0\0\0\x08", 4);)
CONN(rst_size, 1006, get("/"); headers(1, 0); frame(RST, 0, 1, "\0\0\0", 3);)
CONN(winup_on_idle, 1001, frame(WINUP, 0, 1, "\0\0\0\1", 4);)
CONN(winup_zero, 1001, frame(WINUP, 0, 0, "\0\0\0\0", 4);)
CONN(winup_size, 1006, frame(WINUP, 0, 0, "\0\0\1", 3);)
CONN(winup_overflow, 1003, frame(WINUP, 0, 0, "\x7f\xff\xff\xff", 4);)
CONN(settings_on_1, 1001, frame(SETTINGS, 0, 1, "", 0);)
CONN(settings_ack_payload, 1006, frame(SETTINGS, ACK, 0, "\0\3\0\0\0\1", 6);)
CONN(settings_size, 1006, frame(SETTINGS, 0, 0, "\0\3\0", 3);)
CONN(settings_push_2, 1001, frame(SETTINGS, 0, 0, "\0\2\0\0\0\2", 6);)
CONN(settings_window, 1003, frame(SETTINGS, 0, 0, "\0\4\x80\0\0\0", 6);)
CONN(settings_frame_small, 1001, frame(SETTINGS, 0, 0, "\0\5\0\0\x3f\xff", 6);)
CONN(settings_frame_large, 1001, frame(SETTINGS, 0, 0, "\0\5\1\0\0\0", 6);)
CONN(ping_on_1, 1001, frame(PING, 0, 1, "12345678", 8);)
CONN(ping_size, 1006, frame(PING, 0, 0, "1234567", 7);)
CONN(goaway_on_1, 1001, frame(GOAWAY, 0, 1, "\0\0\0\0\0\0\0\0", 8);)
CONN(push_from_client, 1001, get("/"); headers(1, 0); frame(PUSH, EH, 1, "\0\0\0\2", 4);)
CONN(cont_alone, 1001, frame(CONT, EH, 1, "", 0);)
CONN(headers_interrupted, 1001, get("/"); frame(HEADERS, ES, 1, block, block_n);
     frame(PING, 0, 0, "12345678", 8);)
CONN(cont_other_stream, 1001, get("/"); frame(HEADERS, ES, 1, block, block_n);
     frame(CONT, EH, 3, "", 0);)
CONN(hpack_index_0, 1009, frame(HEADERS, ES | EH, 1, "\x80", 1);)
CONN(hpack_bad_index, 1009, frame(HEADERS, ES | EH, 1, "\xff\xff\x7f", 3);)
CONN(hpack_table_too_large, 1009, frame(HEADERS, ES | EH, 1, "\x3f\xff\x7f\x82\x84\x86", 6);)
CONN(pad_too_long_data, 1001, post(); headers(1, 0); frame(DATA, PAD, 1, "\x05x", 2);)
CONN(pad_too_long_headers, 1001, frame(HEADERS, EH | PAD, 1, "\x7f\x82", 2);)

static void t_frame_too_large(void)
{
    static char big[16385];
    server();
    post();
    headers(1, 0);
    frame(DATA, 0, 1, big, sizeof(big));
    feed();
    T_EQ(ended_with(1), 1006);
    side_end(&A);
}

static void t_bad_preface(void)
{
    side_conf(&A, true);
    side_start(&A);
    in_n = 0;
    raw("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 24);
    feed();
    T_EQ(ended_with(0), 1001);
    T_OK(mp_h2_over(&A.h));
    side_end(&A);
    side_conf(&A, true);
    side_start(&A);
    in_n = 0;
    raw(MP_H2_PREFACE, MP_H2_PREFACE_N);
    frame(PING, 0, 0, "12345678", 8); /* not SETTINGS */
    feed();
    T_EQ(ended_with(0), 1001);
    side_end(&A);
}

static void t_data_after_end(void)
{
    server();
    get("/");
    headers(1, ES);
    feed();
    frame(DATA, 0, 1, "x", 1);
    feed();
    int code = ended_with(1);
    T_OK(code == 5 || code == 1005);
    side_end(&A);
}

static void t_self_dependency_and_unknown_settings_are_harmless(void)
{
    server();
    frame(SETTINGS, 0, 0, "\xff\xff\0\0\0\1", 6);
    frame(0xfe, 0xff, 0, "abc", 3);
    frame(PING, 0xfe, 0, "12345678", 8);
    feed();
    T_EQ(ended_with(0), -1);
    struct fr f;
    T_EQ(count(PING, &f), 1);
    T_EQ(f.flags, ACK);
    side_end(&A);
}

/* ---- client against server ---- */

static void pump(void)
{
    for (int i = 0; i < 20; i++) {
        mp_h2_flush(&B.h, now);
        if (B.out_n > 0) {
            size_t n = B.out_n;
            B.out_n = 0;
            memcpy(in, B.out, n);
            mp_h2_recv(&A.h, now, in, n);
        }
        mp_h2_flush(&A.h, now);
        if (A.out_n > 0) {
            size_t n = A.out_n;
            A.out_n = 0;
            memcpy(in, A.out, n);
            mp_h2_recv(&B.h, now, in, n);
        }
    }
}
static void pair(void)
{
    side_conf(&A, true);
    side_conf(&B, false);
    side_start(&A);
    side_start(&B);
    pump();
}
static void pair_end(void)
{
    side_end(&B);
    side_end(&A);
}
static struct mp_h2_stream *ask(const char *method, bool end)
{
    struct mp_h2_head head = {.method = mp_method_of(mp_str_c(method)),
                              .method_name = mp_str_c(method),
                              .path = MP_STR("/r"),
                              .scheme = MP_STR("http"),
                              .authority = MP_STR("b.test")};
    mp_hdrs_init(&head.hdrs, &B.arena, 100);
    (void)!mp_is_err(mp_hdrs_add(&head.hdrs, MP_STR("host"), MP_STR("other")));
    (void)!mp_is_err(mp_hdrs_add(&head.hdrs, MP_STR("connection"), MP_STR("close")));
    (void)!mp_is_err(mp_hdrs_add(&head.hdrs, MP_STR("te"), MP_STR("gzip, trailers")));
    (void)!mp_is_err(mp_hdrs_add(&head.hdrs, MP_STR("x-a"), MP_STR("1")));
    return mp_h2_send_request(&B.h, &head, end, &B);
}

static void t_pair_request_response(void)
{
    pair();
    T_EQ(B.settings, 1);
    T_EQ(mp_h2_peer_streams_max(&B.h), 100);
    struct mp_h2_stream *st = ask("POST", false);
    T_OK(st != NULL);
    T_OK(mp_h2_send_data(st, MP_STR("body"), true));
    pump();
    T_EQ(A.heads, 1);
    T_OK(strcmp(A.fields, "host=b.test|x-a=1|te=trailers|") == 0);
    T_OK(A.body_n == 4 && A.ends == 1);
    struct mp_h2_head info = reply(103, NULL), head = reply(200, NULL);
    head.has_content_length = true;
    head.content_length = 5;
    struct mp_hdrs t;
    mp_hdrs_init(&t, &A.arena, 10);
    T_OK(!mp_is_err(mp_hdrs_add(&t, MP_STR("grpc-status"), MP_STR("0"))));
    mp_h2_send_1xx(A.st[0], &info);
    mp_h2_send_response(A.st[0], &head, false);
    T_OK(mp_h2_send_data(A.st[0], MP_STR("hello"), false));
    T_OK(mp_h2_send_trailers(A.st[0], &t));
    mp_h2_detach(A.st[0]);
    pump();
    T_EQ(B.infos, 1);
    T_EQ(B.heads, 1);
    T_EQ(B.status, 200);
    T_EQ(B.trailers, 1);
    T_OK(strcmp(B.fields, "grpc-status=0|") == 0);
    T_OK(B.body_n == 5 && memcmp(B.body, "hello", 5) == 0);
    T_EQ(B.closes, 0);
    T_EQ(B.h.n_streams, 0);
    T_EQ(A.closes, 1);
    pair_end();
}

/* The response is complete long before its owner wants it. */
static void t_pair_slow_owner(void)
{
    pair();
    B.unwanted = true;
    (void)ask("GET", true);
    pump();
    struct mp_h2_head head = reply(200, NULL);
    mp_h2_send_response(A.st[0], &head, false);
    T_OK(mp_h2_send_data(A.st[0], MP_STR("hello"), true));
    mp_h2_detach(A.st[0]);
    pump();
    T_EQ(A.closes, 1);
    T_EQ(B.heads, 1);
    T_EQ(B.ends, 0);
    T_EQ(B.h.n_streams, 1);
    B.unwanted = false;
    mp_h2_read_on(B.st[0]);
    T_EQ(B.ends, 1);
    T_OK(B.body_n == 5 && memcmp(B.body, "hello", 5) == 0);
    T_EQ(B.h.n_streams, 0);
    pair_end();
}

static void t_pair_bad_responses(void)
{
    pair();
    (void)ask("GET", true);
    pump();
    struct mp_h2_head head = reply(200, NULL);
    head.has_content_length = true;
    head.content_length = 5;
    mp_h2_send_response(A.st[0], &head, false);
    T_OK(mp_h2_send_data(A.st[0], MP_STR("four"), true));
    pump();
    T_EQ(B.closes, 1);
    T_EQ(B.close_code, 1);
    T_EQ(B.ends, 0);
    pair_end();
}

static void t_pair_head_has_no_body(void)
{
    pair();
    (void)ask("HEAD", true);
    pump();
    struct mp_h2_head head = reply(200, NULL);
    head.has_content_length = true;
    head.content_length = 5;
    mp_h2_send_response(A.st[0], &head, true);
    pump();
    T_EQ(B.heads, 1);
    T_EQ(B.ends, 1);
    T_EQ(B.h.n_streams, 0);
    pair_end();
}

static void t_pair_goaway_leaves_the_unprocessed(void)
{
    pair();
    (void)ask("GET", true);
    pump();
    mp_h2_goaway(&A.h, MP_H2_NO_ERROR);
    struct mp_h2_stream *late = ask("GET", true);
    T_OK(late != NULL);
    pump();
    T_EQ(B.goaways, 1);
    T_EQ(B.closes, 1);
    T_OK(B.unprocessed);
    T_OK(!mp_h2_may_open(&B.h));
    T_EQ(A.heads, 1);
    answer(A.st[0], "x");
    pump();
    T_EQ(B.heads, 1);
    T_OK(mp_h2_over(&A.h));
    pair_end();
}

static void t_pair_refused(void)
{
    pair();
    A.refuse = true;
    (void)ask("GET", true);
    pump();
    T_EQ(B.closes, 1);
    T_OK(B.unprocessed);
    pair_end();
}

int main(void)
{
    T_RUN(t_handshake_order);
    T_RUN(t_get_and_answer);
    T_RUN(t_one_byte_at_a_time);
#define R(name) T_RUN(t_bad_##name)
    R(upper);
    R(space_in_name);
    R(colon_in_name);
    R(empty_name);
    R(nul_in_name);
    R(cr_in_value);
    R(lf_in_value);
    R(nul_in_value);
    R(leading_space);
    R(trailing_tab);
    R(high_name);
    R(unknown_pseudo);
    R(status_in_request);
    R(pseudo_after_regular);
    R(late_authority);
    R(two_methods);
    R(two_paths);
    R(two_schemes);
    R(two_authorities);
    R(no_method);
    R(no_scheme);
    R(no_path);
    R(empty_path);
    R(relative_path);
    R(star_path);
    R(space_in_path);
    R(fragment_in_path);
    R(crlf_in_path);
    R(method_with_space);
    R(empty_method);
    R(bad_scheme);
    R(userinfo);
    R(no_authority);
    R(host_differs);
    R(two_hosts);
    R(connection);
    R(keep_alive);
    R(proxy_connection);
    R(transfer_encoding);
    R(upgrade);
    R(te_gzip);
    R(length_and_end);
    R(two_lengths);
    R(length_plus);
    R(length_list);
    R(length_empty);
    R(connect_with_path);
    R(connect_no_port);
    R(protocol_not_allowed);
#undef R
    T_RUN(t_good_heads);
    T_RUN(t_extended_connect);
    T_RUN(t_cookies_are_joined);
    T_RUN(t_field_count_limit);
    T_RUN(t_head_bytes_limit);
    T_RUN(t_bomb);
    T_RUN(t_body_and_length);
    T_RUN(t_trailers);
    T_RUN(t_windows_follow_consumption);
    T_RUN(t_reset_in_the_same_piece_is_never_seen);
    T_RUN(t_output_waits_for_windows_and_socket);
    T_RUN(t_early_response_stops_the_request);
    T_RUN(t_late_trailers_of_a_reset_stream_are_ignored);
#define R(name) T_RUN(t_flood_##name)
    R(ping);
    R(settings);
    R(priority);
    R(winup);
    R(empty_data);
    R(empty_data_apart);
    R(reset);
    R(made_reset_length);
    R(made_reset_window);
    R(malformed);
    R(empty_continuation);
    R(continuation);
#undef R
    T_RUN(t_budgets_come_back_with_time);
    T_RUN(t_unread_answers_end_the_connection);
    T_RUN(t_too_many_streams);
#define R(name) T_RUN(t_conn_##name)
    R(data_on_0);
    R(headers_on_0);
    R(headers_even);
    R(id_not_growing);
    R(id_of_closed);
    R(data_on_idle);
    R(rst_on_idle);
    R(rst_on_0);
    R(rst_size);
    R(winup_on_idle);
    R(winup_zero);
    R(winup_size);
    R(winup_overflow);
    R(settings_on_1);
    R(settings_ack_payload);
    R(settings_size);
    R(settings_push_2);
    R(settings_window);
    R(settings_frame_small);
    R(settings_frame_large);
    R(ping_on_1);
    R(ping_size);
    R(goaway_on_1);
    R(push_from_client);
    R(cont_alone);
    R(headers_interrupted);
    R(cont_other_stream);
    R(hpack_index_0);
    R(hpack_bad_index);
    R(hpack_table_too_large);
    R(pad_too_long_data);
    R(pad_too_long_headers);
#undef R
    T_RUN(t_frame_too_large);
    T_RUN(t_bad_preface);
    T_RUN(t_data_after_end);
    T_RUN(t_self_dependency_and_unknown_settings_are_harmless);
    T_RUN(t_pair_request_response);
    T_RUN(t_pair_slow_owner);
    T_RUN(t_pair_bad_responses);
    T_RUN(t_pair_head_has_no_body);
    T_RUN(t_pair_goaway_leaves_the_unprocessed);
    T_RUN(t_pair_refused);
    return T_DONE();
}
