/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The resolver against a small name server in the same loop. What a name answers is in its labels:
 *   v4.test       A 10.0.0.2, 10.0.0.1, 10.0.0.2 (unsorted, a duplicate), TTL 60, 30, 90
 *   v6.test       AAAA 2001:db8::2, ::1, TTL 40
 *   both.test     both
 *   cname.test    CNAME to v4.test with TTL 5, and its A records
 *   none.test     no error, no records
 *   nx.test       NXDOMAIN
 *   servfail.test SERVFAIL
 *   mute.test     no reply
 *   half.test     A as v4.test, no reply for AAAA
 *   big.test      truncated over UDP; 200 A records over TCP
 *   junk.test     bytes that are no message
 *   neg.test      A with a TTL above 2^31
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include "io/dns.h"
#include "io/dns_ares.h"
#include "t.h"
#include "unit/io/util.h"

enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_AAAA = 28, BIG = 200 };

/* ---- the server ---- */

struct server {
    struct mp_io udp, tcp, conn;
    struct mp_loop *loop;
    unsigned queries, tcp_queries;
    char servers[64];
};

struct out {
    uint8_t b[65536];
    size_t n;
};

static void put(struct out *o, const void *p, size_t n)
{
    memcpy(o->b + o->n, p, n);
    o->n += n;
}
static void put16(struct out *o, unsigned v)
{
    put(o, (uint8_t[]){(uint8_t)(v >> 8), (uint8_t)v}, 2);
}
static void put_record(struct out *o, unsigned name_at, unsigned type, uint32_t ttl, const void *p,
                       size_t n)
{
    put16(o, 0xc000 | name_at);
    put16(o, type);
    put16(o, 1);
    put16(o, ttl >> 16);
    put16(o, ttl & 0xffff);
    put16(o, (unsigned)n);
    put(o, p, n);
}

static unsigned put_v4(struct out *o, unsigned name_at)
{
    put_record(o, name_at, TYPE_A, 60, (uint8_t[]){10, 0, 0, 2}, 4);
    put_record(o, name_at, TYPE_A, 30, (uint8_t[]){10, 0, 0, 1}, 4);
    put_record(o, name_at, TYPE_A, 90, (uint8_t[]){10, 0, 0, 2}, 4);
    return 3;
}

static unsigned put_v6(struct out *o)
{
    uint8_t ip[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 2};
    put_record(o, 12, TYPE_AAAA, 40, ip, 16);
    ip[15] = 1;
    put_record(o, 12, TYPE_AAAA, 41, ip, 16);
    return 2;
}

static unsigned put_cname(struct out *o)
{
    /* The target's name lies in this record, after its 12 bytes of head. */
    unsigned target_at = (unsigned)o->n + 12;
    put_record(o, 12, TYPE_CNAME, 5, "\2v4\4test", 9);
    return 1 + put_v4(o, target_at);
}

static unsigned put_big(struct out *o)
{
    for (unsigned i = 0; i < BIG; i++) {
        put_record(o, 12, TYPE_A, 7, (uint8_t[]){10, 1, 0, (uint8_t)(BIG - 1 - i)}, 4);
    }
    return BIG;
}

/* Returns false when no reply is sent. */
static bool answer(const uint8_t *q, size_t n, bool tcp, struct out *o)
{
    char name[256] = "";
    size_t at = 12;
    while (at < n && q[at] != 0 && at + q[at] < n) {
        snprintf(name + strlen(name), sizeof name - strlen(name), "%s%.*s", name[0] ? "." : "",
                 (int)q[at], (const char *)q + at + 1);
        at += q[at] + 1u;
    }
    at += 5;
    if (at > n) {
        return false;
    }
    unsigned type = (unsigned)q[at - 4] << 8 | q[at - 3];
    unsigned rcode = 0, records = 0, truncated = 0;
    o->n = 0;
    put(o, q, at);
    bool both = strcmp(name, "both.test") == 0;
    if (strcmp(name, "mute.test") == 0 || (strcmp(name, "half.test") == 0 && type == TYPE_AAAA)) {
        return false;
    }
    if (strcmp(name, "junk.test") == 0) {
        memset(o->b + 2, 0xff, o->n - 2);
        return true;
    }
    if ((both || strcmp(name, "v4.test") == 0 || strcmp(name, "half.test") == 0) &&
        type == TYPE_A) {
        records = put_v4(o, 12);
    }
    if ((both || strcmp(name, "v6.test") == 0) && type == TYPE_AAAA) {
        records = put_v6(o);
    }
    if (strcmp(name, "cname.test") == 0 && type == TYPE_A) {
        records = put_cname(o);
    }
    if (strcmp(name, "neg.test") == 0 && type == TYPE_A) {
        put_record(o, 12, TYPE_A, 0x80000001u, (uint8_t[]){10, 0, 0, 1}, 4);
        records = 1;
    }
    if (strcmp(name, "big.test") == 0 && type == TYPE_A) {
        records = tcp ? put_big(o) : 0;
        truncated = tcp ? 0 : 0x02;
    }
    rcode = strcmp(name, "nx.test") == 0 ? 3 : strcmp(name, "servfail.test") == 0 ? 2 : 0;
    o->b[2] = (uint8_t)(0x80 | (q[2] & 1) | truncated);
    o->b[3] = (uint8_t)(0x80 | rcode);
    memcpy(o->b + 4, (uint8_t[]){0, 1, 0, (uint8_t)records, 0, 0, 0, 0}, 8);
    return true;
}

static void udp_ready(struct mp_io *io, unsigned events)
{
    struct server *s = MP_CONTAINER_OF(io, struct server, udp);
    static struct out o;
    uint8_t q[512];
    struct sockaddr_storage from;
    socklen_t from_n = sizeof from;
    ssize_t n;
    (void)events;
    while ((n = recvfrom(io->fd, q, sizeof q, 0, (struct sockaddr *)&from, &from_n)) > 0) {
        s->queries++;
        if (n > 12 && answer(q, (size_t)n, false, &o)) {
            (void)!sendto(io->fd, o.b, o.n, 0, (struct sockaddr *)&from, from_n);
        }
        from_n = sizeof from;
    }
}

/* One query a segment: enough for a client that we know. The answer goes out in two parts. */
static void conn_ready(struct mp_io *io, unsigned events)
{
    struct server *s = MP_CONTAINER_OF(io, struct server, conn);
    static struct out o, framed;
    uint8_t q[514];
    ssize_t n;
    (void)events;
    while ((n = mp_sock_recv(s->loop, io->fd, q, sizeof q)) > 2) {
        s->tcp_queries++;
        if (answer(q + 2, (size_t)n - 2, true, &o)) {
            framed.n = 0;
            put16(&framed, (unsigned)o.n);
            put(&framed, o.b, o.n);
            mp_sock_send(s->loop, io->fd, framed.b, 100);
            mp_sock_send(s->loop, io->fd, framed.b + 100, framed.n - 100);
        }
    }
    if (n == 0) {
        mp_io_close(s->loop, io);
    }
}

static void tcp_ready(struct mp_io *io, unsigned events)
{
    struct server *s = MP_CONTAINER_OF(io, struct server, tcp);
    struct mp_addr peer;
    (void)events;
    int fd = mp_sock_accept(s->loop, io->fd, &peer);
    mp_io_close(s->loop, &s->conn);
    if (fd >= 0 && mp_is_err(mp_io_open(s->loop, &s->conn, fd, conn_ready))) {
        close(fd);
    }
}

static bool server_open(struct server *s, struct mp_loop *l)
{
    *s = (struct server){.loop = l};
    /* The same port for both: TCP first, since there the kernel chooses among more. */
    struct mp_addr any = addr_of("127.0.0.1:0"), at;
    struct mp_listen_opts o = {0};
    int tcp = mp_sock_listen(l, &any, &o);
    if (tcp < 0 || mp_sock_local_addr(l, tcp, &at) < 0) {
        return false;
    }
    int udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(at.port)};
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (udp < 0 || bind(udp, (struct sockaddr *)&sin, sizeof sin) < 0) {
        return false;
    }
    snprintf(s->servers, sizeof s->servers, "127.0.0.1:%u", at.port);
    return !mp_is_err(mp_io_open_listener(l, &s->tcp, tcp, tcp_ready)) &&
           !mp_is_err(mp_io_open(l, &s->udp, udp, udp_ready));
}

static void server_close(struct server *s)
{
    mp_io_close(s->loop, &s->udp);
    mp_io_close(s->loop, &s->tcp);
    mp_io_close(s->loop, &s->conn);
}

/* ---- the tests ---- */

static struct mp_loop *loop;
static struct server server;
static struct mp_dns *dns;

struct result {
    unsigned calls;
    int code;
    uint32_t n, ttl;
    char text[8192];
    bool inside; /* set while resolve runs */
    bool inline_call;
    struct mp_dns *free_in_done;
};

static void done(void *arg, const struct mp_dns_answer *a)
{
    struct result *r = arg;
    r->calls++;
    r->inline_call = r->inline_call || r->inside;
    r->code = a->err.code;
    r->n = a->n;
    r->ttl = a->ttl_s;
    r->text[0] = '\0';
    for (uint32_t i = 0; i < a->n && strlen(r->text) < 8000; i++) {
        char one[MP_ADDR_TEXT_MAX];
        mp_addr_format_ip(&a->addrs[i], one);
        snprintf(r->text + strlen(r->text), sizeof r->text - strlen(r->text), "%s%s", i ? " " : "",
                 one);
        if (a->addrs[i].port != 0) {
            r->code = -1;
        }
    }
    if (!a->detail) {
        r->code = -2;
    }
    if (r->free_in_done) {
        r->free_in_done = mp_dns_free(r->free_in_done);
    }
}

static struct mp_dns_query *start(struct result *r, const char *name, enum mp_dns_family family)
{
    *r = (struct result){.inside = true};
    struct mp_dns_query *q = mp_dns_resolve(dns, mp_str_c(name), family, done, r);
    r->inside = false;
    return q;
}

static struct result res;
static struct result *ask(const char *name, enum mp_dns_family family)
{
    start(&res, name, family);
    RUN_UNTIL(loop, res.calls);
    return &res;
}

static bool gives(const char *name, enum mp_dns_family family, const char *text, uint32_t ttl)
{
    struct result *r = ask(name, family);
    bool ok = r->calls == 1 && !r->inline_call && r->code == MP_E_OK &&
              strcmp(r->text, text) == 0 && r->ttl == ttl;
    if (!ok) {
        printf("# %s: calls %u code %d ttl %u: %s\n", name, r->calls, r->code, r->ttl, r->text);
    }
    return ok;
}

static bool fails(const char *name, enum mp_dns_family family, int code)
{
    struct result *r = ask(name, family);
    bool ok = r->calls == 1 && !r->inline_call && r->code == code && r->n == 0;
    if (!ok) {
        printf("# %s: calls %u code %d n %u\n", name, r->calls, r->code, r->n);
    }
    return ok;
}

static void families(void)
{
    static const char v4[] = "10.0.0.1 10.0.0.2", v6[] = "2001:db8::1 2001:db8::2";
    static const char all[] = "10.0.0.1 10.0.0.2 2001:db8::1 2001:db8::2";
    T_OK(gives("v4.test", MP_DNS_V4_ONLY, v4, 30));
    T_OK(gives("v6.test", MP_DNS_V6_ONLY, v6, 40));
    T_OK(fails("v4.test", MP_DNS_V6_ONLY, MP_E_NOT_FOUND));
    T_OK(fails("v6.test", MP_DNS_V4_ONLY, MP_E_NOT_FOUND));
    T_OK(gives("v4.test", MP_DNS_AUTO, v4, 30));
    T_OK(gives("v6.test", MP_DNS_AUTO, v6, 40));
    T_OK(gives("both.test", MP_DNS_AUTO, v6, 30));
    T_OK(gives("v4.test", MP_DNS_V4_PREFERRED, v4, 30));
    T_OK(gives("v6.test", MP_DNS_V4_PREFERRED, v6, 40));
    T_OK(gives("both.test", MP_DNS_V4_PREFERRED, v4, 30));
    T_OK(gives("both.test", MP_DNS_ALL, all, 30));
    T_OK(gives("both.test", MP_DNS_V6_ONLY, v6, 40));
    T_OK(gives("v4.test", MP_DNS_ALL, v4, 30));
    T_OK(gives("v4.test.", MP_DNS_V4_ONLY, v4, 30));
}

static void cname_and_ttl(void)
{
    T_OK(gives("cname.test", MP_DNS_V4_ONLY, "10.0.0.1 10.0.0.2", 5));
    T_OK(gives("neg.test", MP_DNS_V4_ONLY, "10.0.0.1", 0));
}

static void failures(void)
{
    T_OK(fails("nx.test", MP_DNS_AUTO, MP_E_NOT_FOUND));
    T_OK(fails("nx.test", MP_DNS_V4_ONLY, MP_E_NOT_FOUND));
    T_OK(fails("none.test", MP_DNS_AUTO, MP_E_NOT_FOUND));
    T_OK(fails("servfail.test", MP_DNS_AUTO, MP_E_DNS));
    T_OK(fails("servfail.test", MP_DNS_V4_ONLY, MP_E_DNS));
    unsigned before = server.queries;
    T_OK(fails("mute.test", MP_DNS_V4_ONLY, MP_E_TIMEOUT));
    T_EQ(server.queries - before, 2); /* the tries */
    T_OK(fails("mute.test", MP_DNS_AUTO, MP_E_TIMEOUT));
    struct result *r = ask("junk.test", MP_DNS_V4_ONLY);
    T_EQ(r->calls, 1);
    T_OK(r->code == MP_E_DNS || r->code == MP_E_TIMEOUT);
}

/* One family answers, the other never does: what there is counts. */
static void half_answer(void)
{
    T_OK(gives("half.test", MP_DNS_AUTO, "10.0.0.1 10.0.0.2", 30));
}

static void over_tcp(void)
{
    struct result *r = ask("big.test", MP_DNS_V4_ONLY);
    T_EQ(r->code, MP_E_OK);
    T_EQ(r->n, BIG);
    T_EQ(r->ttl, 7);
    T_OK(strncmp(r->text, "10.1.0.0 10.1.0.1 10.1.0.2 ", 27) == 0);
    T_OK(server.tcp_queries > 0);
}

static void numeric_names(void)
{
    unsigned before = server.queries;
    T_OK(gives("1.2.3.4", MP_DNS_AUTO, "1.2.3.4", 0));
    T_OK(gives("1.2.3.4", MP_DNS_V4_ONLY, "1.2.3.4", 0));
    T_OK(fails("1.2.3.4", MP_DNS_V6_ONLY, MP_E_NOT_FOUND));
    T_OK(gives("::1", MP_DNS_AUTO, "::1", 0));
    T_OK(gives("::1", MP_DNS_ALL, "::1", 0));
    T_OK(gives("::1", MP_DNS_V4_PREFERRED, "::1", 0));
    T_OK(fails("::1", MP_DNS_V4_ONLY, MP_E_NOT_FOUND));
    T_EQ(server.queries, before);
}

static void bad_names(void)
{
    char name[260];
    unsigned before = server.queries;
    T_OK(fails("", MP_DNS_AUTO, MP_E_DNS));
    T_OK(fails("a b", MP_DNS_AUTO, MP_E_DNS));
    T_OK(fails("a\\046b.test", MP_DNS_AUTO, MP_E_DNS));
    T_OK(fails("\xc3\xa4.test", MP_DNS_AUTO, MP_E_DNS));
    res = (struct result){0};
    mp_dns_resolve(dns, mp_str("v4.test\0x", 9), MP_DNS_AUTO, done, &res);
    RUN_UNTIL(loop, res.calls);
    T_EQ(res.code, MP_E_DNS);
    memset(name, 'a', sizeof name);
    name[255] = '\0';
    T_OK(fails(name, MP_DNS_AUTO, MP_E_DNS));
    T_EQ(server.queries, before);
    /* Labels of 63 bytes: 253 bytes with final dot are still a name, a label of 64 is none. */
    for (size_t i = 63; i < 255; i += 64) {
        name[i] = '.';
    }
    name[253] = '.';
    name[254] = '\0';
    T_OK(fails(name, MP_DNS_V4_ONLY, MP_E_NOT_FOUND) || res.code == MP_E_DNS);
    memset(name, 'a', 64);
    memcpy(name + 64, ".test", 6);
    T_OK(fails(name, MP_DNS_V4_ONLY, MP_E_DNS) || res.code == MP_E_NOT_FOUND);
    T_OK(fails("a..test", MP_DNS_V4_ONLY, MP_E_DNS) || res.code == MP_E_NOT_FOUND);
}

static void cancel_while_waiting(void)
{
    struct result r1, r2;
    struct mp_dns_query *q = start(&r1, "v4.test", MP_DNS_V4_ONLY);
    start(&r2, "v4.test", MP_DNS_V4_ONLY);
    mp_dns_cancel(q);
    RUN_UNTIL(loop, r2.calls);
    for (int i = 0; i < 5; i++) {
        mp_loop_turn(loop, 2);
    }
    T_EQ(r1.calls, 0);
    T_EQ(r2.calls, 1);
    T_EQ(r2.code, MP_E_OK);
    mp_dns_cancel(NULL);
}

/* Finished, not delivered yet. */
static void cancel_when_ready(void)
{
    struct result r;
    struct mp_dns_query *q = start(&r, "1.2.3.4", MP_DNS_AUTO);
    mp_dns_cancel(q);
    mp_loop_turn(loop, 0);
    T_EQ(r.calls, 0);
}

static struct mp_dns_query *self_query;
static unsigned chain_calls;
static void done_chain(void *arg, const struct mp_dns_answer *a)
{
    (void)arg;
    (void)a;
    chain_calls++;
    mp_dns_cancel(self_query); /* of the very query that is being delivered: harmless */
    if (chain_calls < 3) {
        self_query = mp_dns_resolve(dns, MP_STR("v4.test"), MP_DNS_V4_ONLY, done_chain, NULL);
    }
}

static void resolve_from_callback(void)
{
    chain_calls = 0;
    self_query = mp_dns_resolve(dns, MP_STR("v4.test"), MP_DNS_V4_ONLY, done_chain, NULL);
    RUN_UNTIL(loop, chain_calls == 3);
    T_EQ(chain_calls, 3);
    mp_loop_turn(loop, 5);
    T_EQ(chain_calls, 3);
}

static void many_at_once(void)
{
    /* Two datagrams each: more would overflow the name server's socket buffer while nobody reads
     * it. */
    enum { N = 100 };
    static struct result r[N];
    for (int i = 0; i < N; i++) {
        start(&r[i], i % 2 ? "both.test" : "nx.test", MP_DNS_ALL);
    }
    unsigned finished = 0;
    for (int turn = 0; turn < 20000 && finished < N; turn++) {
        mp_loop_turn(loop, 20);
        finished = 0;
        for (int i = 0; i < N; i++) {
            finished += r[i].calls;
        }
    }
    for (int i = 0; i < N; i++) {
        T_EQ(r[i].calls, 1);
        T_EQ(r[i].code, i % 2 ? MP_E_OK : MP_E_NOT_FOUND);
    }
}

static void hosts_file(void)
{
    char path[] = "/tmp/mp-test-hosts-XXXXXX";
    int fd = mkstemp(path);
    static const char text[] = "10.9.9.9 hosty.test alias.test\n2001:db8::9 six.test\n"
                               "10.9.9.1 two.test\n2001:db8::1 two.test\n";
    T_EQ(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    setenv("CARES_HOSTS", path, 1);
    unsigned before = server.queries;
    T_OK(gives("hosty.test", MP_DNS_AUTO, "10.9.9.9", 0));
    T_OK(gives("alias.test", MP_DNS_V4_ONLY, "10.9.9.9", 0));
    T_OK(gives("six.test", MP_DNS_AUTO, "2001:db8::9", 0));
    T_OK(gives("two.test", MP_DNS_ALL, "10.9.9.1 2001:db8::1", 0));
    T_OK(gives("two.test", MP_DNS_V4_PREFERRED, "10.9.9.1", 0));
    T_EQ(server.queries, before);
    unsetenv("CARES_HOSTS");
    unlink(path);
}

static void localhost(void)
{
    T_OK(gives("localhost", MP_DNS_V4_ONLY, "127.0.0.1", 0));
}

static void server_lists(void)
{
    static const char *const bad[] = {"",
                                      ",",
                                      "x",
                                      "127.0.0.1,",
                                      "1.2.3",
                                      "127.0.0.1:0",
                                      "@x",
                                      "127.0.0.1:99999",
                                      "unix:/x",
                                      "fe80::1%2",
                                      "1.1.1.1;2.2.2.2"};
    static const char *const good[] = {"127.0.0.1", "127.0.0.1:5353, [::1]:53,::1", "[::1]"};
    struct mp_dns *d = NULL;
    for (size_t i = 0; i < MP_COUNTOF(bad); i++) {
        if (!mp_is_err(mp_dns_new(loop, bad[i], &d)) || d) {
            printf("# accepted: %s\n", bad[i]);
            T_OK(!"refused");
        }
    }
    for (size_t i = 0; i < MP_COUNTOF(good); i++) {
        T_OK(!mp_is_err(mp_dns_new(loop, good[i], &d)));
        d = mp_dns_free(d);
    }
    char list[20 * 16] = "";
    for (int n = 1; n <= 17; n++) {
        strcat(list, n > 1 ? ",127.0.0.1" : "127.0.0.1");
        if (n >= 15) {
            T_EQ(mp_dns_new(loop, list, &d).code, n <= 16 ? MP_E_OK : MP_E_LIMIT);
            d = n <= 16 ? mp_dns_free(d) : d;
        }
    }
    T_OK(!mp_is_err(mp_dns_new(loop, NULL, &d)));
    T_OK(!mp_dns_free(d));
    T_OK(!mp_dns_free(NULL));
}

/* The first server is dead, the second answers. */
static void second_server(void)
{
    char list[160];
    static const struct mp_dns_tuning tuning = {.timeout_ms = 120, .tries = 2};
    struct mp_dns *keep = dns;
    snprintf(list, sizeof list, "127.0.0.1:1,%s", server.servers);
    T_OK(!mp_is_err(mp_dns_new_tuned(loop, list, &tuning, &dns)));
    bool ok = gives("v4.test", MP_DNS_V4_ONLY, "10.0.0.1 10.0.0.2", 30);
    mp_dns_free(dns);
    dns = keep;
    T_OK(ok);
}

static void no_server(void)
{
    static const struct mp_dns_tuning tuning = {.timeout_ms = 120, .tries = 1};
    struct mp_dns *keep = dns;
    T_OK(!mp_is_err(mp_dns_new_tuned(loop, "127.0.0.1:1", &tuning, &dns)));
    struct result *r = ask("v4.test", MP_DNS_V4_ONLY);
    mp_dns_free(dns);
    dns = keep;
    T_EQ(r->calls, 1);
    T_OK(r->code == MP_E_DNS || r->code == MP_E_TIMEOUT);
}

/* Freed with queries waiting, cancelled, ready; and from inside a callback. */
static void free_with_open_queries(void)
{
    static const struct mp_dns_tuning tuning = {.timeout_ms = 1000, .tries = 2};
    struct result r[4], first;
    struct mp_dns *keep = dns;
    T_OK(!mp_is_err(mp_dns_new_tuned(loop, server.servers, &tuning, &dns)));
    start(&r[0], "mute.test", MP_DNS_AUTO);
    start(&r[1], "1.2.3.4", MP_DNS_AUTO);
    mp_dns_cancel(start(&r[2], "mute.test", MP_DNS_V4_ONLY));
    start(&r[3], "big.test", MP_DNS_V4_ONLY);
    struct mp_dns *d = dns;
    dns = keep;
    mp_dns_free(d);
    mp_loop_turn(loop, 20);
    for (int i = 0; i < 4; i++) {
        T_EQ(r[i].calls, 0);
    }
    T_OK(!mp_is_err(mp_dns_new_tuned(loop, server.servers, &tuning, &dns)));
    start(&first, "v4.test", MP_DNS_V4_ONLY);
    first.free_in_done = dns;
    start(&r[0], "mute.test", MP_DNS_AUTO);
    start(&r[1], "v4.test", MP_DNS_ALL);
    dns = keep;
    RUN_UNTIL(loop, first.calls);
    mp_loop_turn(loop, 20);
    T_EQ(first.calls, 1);
    T_EQ(r[0].calls, 0);
    T_OK(!first.free_in_done);
}

/* Nothing stays behind when all is answered: no socket, no timer that wakes the loop. */
static void quiet_afterwards(void)
{
    int probe = dup(0);
    close(probe);
    T_OK(gives("v4.test", MP_DNS_AUTO, "10.0.0.1 10.0.0.2", 30));
    int again = dup(0);
    close(again);
    T_EQ(again, probe);
    uint64_t turns = mp_loop_stats(loop)->turns;
    uint64_t until = mp_loop_clock_ns(loop) + 300000000;
    while (mp_loop_clock_ns(loop) < until) {
        mp_loop_turn(loop, 300);
    }
    T_OK(mp_loop_stats(loop)->turns - turns <= 12);
}

int main(void)
{
    static const struct mp_dns_tuning tuning = {.timeout_ms = 120, .tries = 2, .env_hosts = true};
    /* The search list of this machine must not matter. */
    setenv("LOCALDOMAIN", "search.invalid", 1);
    loop = mp_loop_new();
    if (!server_open(&server, loop) ||
        mp_is_err(mp_dns_new_tuned(loop, server.servers, &tuning, &dns))) {
        return 1;
    }
    T_RUN(families);
    T_RUN(cname_and_ttl);
    T_RUN(failures);
    T_RUN(half_answer);
    T_RUN(over_tcp);
    T_RUN(numeric_names);
    T_RUN(bad_names);
    T_RUN(cancel_while_waiting);
    T_RUN(cancel_when_ready);
    T_RUN(resolve_from_callback);
    T_RUN(many_at_once);
    T_RUN(hosts_file);
    T_RUN(localhost);
    T_RUN(server_lists);
    T_RUN(second_server);
    T_RUN(no_server);
    T_RUN(free_with_open_queries);
    T_RUN(quiet_afterwards);
    dns = mp_dns_free(dns);
    server_close(&server);
    loop = mp_loop_free(loop);
    return T_DONE();
}
