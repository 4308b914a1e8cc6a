/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Name resolution with c-ares.
 *
 * c-ares opens and closes its sockets itself and tells us through the socket state callback; they
 * are registered level-triggered, since it reads TCP once per call. Its timeouts run on one timer.
 *
 * An answer is copied into its query and handed over by a deferred task: so the callback never runs
 * inside mp_dns_resolve, and it may call anything here, mp_dns_free included, because no frame of
 * c-ares is on the stack then. c-ares cannot cancel one query: a cancelled one waits for its answer
 * without an owner.
 */
#include "io/dns_ares.h"
#include <ares.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include "base/assert.h"
#include "io/loop_epoll.h"

#define DNS_MAGIC          0x646e7321u
#define DNS_PORT           53
#define TIMEOUT_MS_DEFAULT 2000
#define TRIES_DEFAULT      3
#define NAME_MAX_BYTES     254 /* 253 and a final dot */

struct dns_sock {
    struct mp_list link;
    struct mp_io io;
    struct mp_dns *dns;
};

struct mp_dns {
    uint32_t magic;
    struct mp_loop *loop;
    ares_channel channel;
    struct mp_timer timer;
    struct mp_list socks;
    struct mp_list queries; /* all that have not been delivered */
    bool env_hosts;
};

enum query_state { WAITING, READY, DELIVERING };

struct mp_dns_query {
    struct mp_list link;
    struct mp_task task;
    struct mp_dns *dns;
    enum query_state state;
    enum mp_dns_family family;
    void (*done)(void *arg, const struct mp_dns_answer *a);
    void *arg; /* done NULL: cancelled */
    struct mp_addr *addrs;
    struct mp_dns_answer answer;
};

/* ---- answers ---- */

static void query_free(struct mp_dns_query *q)
{
    mp_task_cancel(&q->task);
    mp_list_remove(&q->link);
    free(q->addrs);
    free(q);
}

static void deliver(struct mp_task *t)
{
    struct mp_dns_query *q = MP_CONTAINER_OF(t, struct mp_dns_query, task);
    q->state = DELIVERING;
    /* From here the resolver does not know it: done may free the resolver. */
    mp_list_remove(&q->link);
    q->answer.addrs = q->addrs;
    q->done(q->arg, &q->answer);
    query_free(q);
}

static void query_finish(struct mp_dns_query *q, mp_err err, const char *detail)
{
    q->answer.err = err;
    q->answer.detail = detail;
    q->state = READY;
    mp_task_defer(q->dns->loop, &q->task);
}

static int addr_cmp(const void *va, const void *vb)
{
    const struct mp_addr *a = va, *b = vb;
    if (a->family != b->family) {
        return a->family < b->family ? -1 : 1;
    }
    int c = memcmp(a->ip, b->ip, sizeof a->ip);
    if (c != 0) {
        return c;
    }
    return a->scope_id < b->scope_id ? -1 : a->scope_id > b->scope_id;
}

static bool from_sockaddr(const struct sockaddr *sa, struct mp_addr *ret)
{
    *ret = (struct mp_addr){.family = MP_ADDR_NONE};
    if (sa->sa_family == AF_INET) {
        ret->family = MP_ADDR_IP4;
        memcpy(ret->ip, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
        return true;
    }
    if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *sa6 = (const void *)sa;
        ret->family = MP_ADDR_IP6;
        ret->scope_id = sa6->sin6_scope_id;
        memcpy(ret->ip, &sa6->sin6_addr, 16);
        return true;
    }
    return false;
}

/* The family whose addresses count when an answer may hold both. */
static uint8_t family_chosen(enum mp_dns_family wanted, bool has_ip4, bool has_ip6)
{
    if (wanted == MP_DNS_AUTO) {
        return has_ip6 ? MP_ADDR_IP6 : MP_ADDR_IP4;
    }
    if (wanted == MP_DNS_V4_PREFERRED) {
        return has_ip4 ? MP_ADDR_IP4 : MP_ADDR_IP6;
    }
    return wanted == MP_DNS_V4_ONLY   ? MP_ADDR_IP4
           : wanted == MP_DNS_V6_ONLY ? MP_ADDR_IP6
                                      : MP_ADDR_NONE; /* all */
}

/* Keeps the chosen family of q->addrs[0 .. n), sorts and removes duplicates. */
static void query_take(struct mp_dns_query *q, uint32_t n)
{
    bool has_ip4 = false, has_ip6 = false;
    for (uint32_t i = 0; i < n; i++) {
        has_ip4 = has_ip4 || q->addrs[i].family == MP_ADDR_IP4;
        has_ip6 = has_ip6 || q->addrs[i].family == MP_ADDR_IP6;
    }
    uint8_t family = family_chosen(q->family, has_ip4, has_ip6);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (family == MP_ADDR_NONE || q->addrs[i].family == family) {
            q->addrs[kept++] = q->addrs[i];
        }
    }
    if (kept == 0) {
        query_finish(q, MP_FAIL(NOT_FOUND), "no address of the wanted family");
        return;
    }
    qsort(q->addrs, kept, sizeof *q->addrs, addr_cmp);
    uint32_t distinct = 1;
    for (uint32_t i = 1; i < kept; i++) {
        if (addr_cmp(&q->addrs[i], &q->addrs[distinct - 1]) != 0) {
            q->addrs[distinct++] = q->addrs[i];
        }
    }
    q->answer.n = distinct;
    query_finish(q, MP_OK, "resolved");
}

static void addrs_alloc(struct mp_dns_query *q, size_t n)
{
    q->addrs = calloc(n, sizeof *q->addrs);
    if (!q->addrs) {
        abort();
    }
}

/* The smallest time to live; RFC 2181 section 8: one with the top bit set counts as 0. */
static uint32_t smallest_ttl(const struct ares_addrinfo *ai)
{
    int ttl = INT32_MAX;
    for (const struct ares_addrinfo_node *n = ai->nodes; n; n = n->ai_next) {
        ttl = MP_MIN(ttl, n->ai_ttl);
    }
    for (const struct ares_addrinfo_cname *c = ai->cnames; c; c = c->next) {
        ttl = MP_MIN(ttl, c->ttl);
    }
    return ttl < 0 ? 0 : (uint32_t)ttl;
}

static void query_take_result(struct mp_dns_query *q, const struct ares_addrinfo *ai)
{
    size_t n = 0;
    for (const struct ares_addrinfo_node *node = ai->nodes; node; node = node->ai_next) {
        n++;
    }
    if (n == 0) {
        query_finish(q, MP_FAIL(NOT_FOUND), "no address");
        return;
    }
    addrs_alloc(q, n);
    uint32_t used = 0;
    for (const struct ares_addrinfo_node *node = ai->nodes; node; node = node->ai_next) {
        if (from_sockaddr(node->ai_addr, &q->addrs[used])) {
            used++;
        }
    }
    q->answer.ttl_s = smallest_ttl(ai);
    query_take(q, used);
}

static mp_err err_of(int status)
{
    if (status == ARES_ENOTFOUND || status == ARES_ENODATA) {
        return MP_FAIL(NOT_FOUND);
    }
    return status == ARES_ETIMEOUT ? MP_FAIL(TIMEOUT) : MP_FAIL(DNS);
}

static void on_result(void *arg, int status, int timeouts, struct ares_addrinfo *ai)
{
    struct mp_dns_query *q = arg;
    (void)timeouts;
    if (status == ARES_EDESTRUCTION || !q->done) {
        query_free(q);
    } else if (status == ARES_SUCCESS) {
        query_take_result(q, ai);
    } else {
        query_finish(q, err_of(status), ares_strerror(status));
    }
    if (ai) {
        ares_freeaddrinfo(ai);
    }
}

/* ---- sockets and time of c-ares ---- */

static void timer_update(struct mp_dns *d)
{
    struct timeval tv;
    if (!ares_timeout(d->channel, NULL, &tv)) {
        mp_timer_unset(&d->timer);
        return;
    }
    mp_timer_in(d->loop, &d->timer,
                (uint64_t)tv.tv_sec * 1000 + ((uint64_t)tv.tv_usec + 999) / 1000);
}

static void on_timer(struct mp_timer *t)
{
    struct mp_dns *d = MP_CONTAINER_OF(t, struct mp_dns, timer);
    ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    timer_update(d);
}

static void on_ready(struct mp_io *io, unsigned events)
{
    struct dns_sock *s = MP_CONTAINER_OF(io, struct dns_sock, io);
    struct mp_dns *d = s->dns;
    int fd = io->fd;
    /* An error shows itself by reading. c-ares may close the socket, and s with it. */
    ares_process_fd(d->channel, events & MP_IO_IN ? fd : ARES_SOCKET_BAD,
                    events & MP_IO_OUT ? fd : ARES_SOCKET_BAD);
    timer_update(d);
}

static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct mp_dns *d = arg;
    unsigned want = (readable ? (unsigned)MP_IO_IN : 0) | (writable ? (unsigned)MP_IO_OUT : 0);
    MP_LIST_FOREACH_SAFE (link, &d->socks) {
        struct dns_sock *s = MP_CONTAINER_OF(link, struct dns_sock, link);
        if (s->io.fd != fd) {
            continue;
        }
        if (want) {
            mp_io_level_want(d->loop, &s->io, want);
            return;
        }
        mp_io_steal(d->loop, &s->io);
        mp_list_remove(&s->link);
        free(s);
        return;
    }
    if (!want) {
        return;
    }
    struct dns_sock *s = calloc(1, sizeof *s);
    if (!s) {
        abort();
    }
    s->dns = d;
    if (mp_is_err(mp_io_open_level(d->loop, &s->io, fd, want, on_ready))) {
        /* c-ares cannot be told here: the query ends by its timeout. */
        free(s);
        return;
    }
    mp_list_push_back(&d->socks, &s->link);
}

/* ---- lifecycle ---- */

static mp_err parse_server(struct mp_str text, struct ares_addr_port_node *node)
{
    struct mp_addr a;
    if (mp_is_err(mp_addr_parse_ip(text, DNS_PORT, &a))) {
        MP_TRY(mp_addr_parse(text, &a));
    }
    if (a.family == MP_ADDR_UNIX || a.port == 0 || a.scope_id) {
        return MP_FAIL(INVALID);
    }
    node->family = a.family == MP_ADDR_IP4 ? AF_INET : AF_INET6;
    memcpy(&node->addr, a.ip, a.family == MP_ADDR_IP4 ? 4 : 16);
    node->udp_port = node->tcp_port = a.port;
    return MP_OK;
}

#define SERVERS_MAX 16

static mp_err set_servers(struct mp_dns *d, const char *servers)
{
    struct ares_addr_port_node nodes[SERVERS_MAX];
    struct mp_str rest = mp_str_c(servers), part;
    size_t n = 0;
    memset(nodes, 0, sizeof nodes);
    while (mp_str_split(&rest, ',', &part)) {
        if (n == SERVERS_MAX) {
            return MP_FAIL(LIMIT);
        }
        MP_TRY(parse_server(mp_str_trim(part), &nodes[n]));
        if (n > 0) {
            nodes[n - 1].next = &nodes[n];
        }
        n++;
    }
    if (n == 0) {
        return MP_FAIL(INVALID);
    }
    return ares_set_servers_ports(d->channel, nodes) == ARES_SUCCESS ? MP_OK : MP_FAIL(DNS);
}

mp_err mp_dns_new_tuned(struct mp_loop *l, const char *servers, const struct mp_dns_tuning *tuning,
                        struct mp_dns **ret)
{
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
        return MP_FAIL(DNS);
    }
    struct mp_dns *d = calloc(1, sizeof *d);
    if (!d) {
        abort();
    }
    d->magic = DNS_MAGIC;
    d->loop = l;
    d->env_hosts = tuning->env_hosts;
    mp_list_init(&d->socks);
    mp_list_init(&d->queries);
    mp_timer_init(&d->timer, on_timer);

    char lookups[] = "fb"; /* the hosts file, then DNS */
    struct ares_options o = {
        .timeout = (int)tuning->timeout_ms,
        .tries = (int)tuning->tries,
        .lookups = lookups,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = d,
    };
    int status = ares_init_options(&d->channel, &o,
                                   ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
                                       ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS) {
        free(d);
        ares_library_cleanup();
        return MP_FAIL(DNS);
    }
    mp_err e = servers ? set_servers(d, servers) : MP_OK;
    if (mp_is_err(e)) {
        mp_dns_free(d);
        return e;
    }
    *ret = d;
    return MP_OK;
}

mp_err mp_dns_new(struct mp_loop *l, const char *servers, struct mp_dns **ret)
{
    static const struct mp_dns_tuning tuning = {
        .timeout_ms = TIMEOUT_MS_DEFAULT,
        .tries = TRIES_DEFAULT,
    };
    return mp_dns_new_tuned(l, servers, &tuning, ret);
}

struct mp_dns *mp_dns_free(struct mp_dns *d)
{
    if (!d) {
        return NULL;
    }
    MP_CHECK_MAGIC(d, DNS_MAGIC);
    /* Those that c-ares has finished with; it ends the others itself. */
    MP_LIST_FOREACH_SAFE (link, &d->queries) {
        struct mp_dns_query *q = MP_CONTAINER_OF(link, struct mp_dns_query, link);
        if (q->state == READY) {
            query_free(q);
        }
    }
    ares_destroy(d->channel);
    MP_ASSERT(mp_list_empty(&d->queries));
    MP_ASSERT(mp_list_empty(&d->socks));
    mp_wheel_remove(mp_loop_wheel(d->loop), &d->timer);
    d->magic = 0;
    free(d);
    ares_library_cleanup();
    return NULL;
}

/* ---- queries ---- */

/* A host name as it may stand in a hosts file or a zone; nothing that c-ares would take as escape.
 */
static bool name_valid(struct mp_str name)
{
    if (name.n == 0 || name.n > NAME_MAX_BYTES) {
        return false;
    }
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool digit = c >= '0' && c <= '9';
        if (!letter && !digit && c != '-' && c != '_' && c != '.') {
            return false;
        }
    }
    return true;
}

struct mp_dns_query *mp_dns_resolve(struct mp_dns *d, struct mp_str name, enum mp_dns_family family,
                                    void (*done)(void *arg, const struct mp_dns_answer *a),
                                    void *arg)
{
    MP_CHECK_MAGIC(d, DNS_MAGIC);
    struct mp_dns_query *q = calloc(1, sizeof *q);
    if (!q) {
        abort();
    }
    q->dns = d;
    q->family = family;
    q->done = done;
    q->arg = arg;
    mp_task_init(&q->task, deliver);
    mp_list_push_back(&d->queries, &q->link);

    struct mp_addr numeric;
    if (!mp_is_err(mp_addr_parse_ip(name, 0, &numeric))) {
        addrs_alloc(q, 1);
        q->addrs[0] = numeric;
        query_take(q, 1);
        return q;
    }
    if (!name_valid(name)) {
        query_finish(q, MP_FAIL(DNS), "not a host name");
        return q;
    }
    char z[NAME_MAX_BYTES + 1];
    memcpy(z, name.p, name.n);
    z[name.n] = '\0';
    struct ares_addrinfo_hints hints = {
        .ai_flags = ARES_AI_NOSORT | (d->env_hosts ? ARES_AI_ENVHOSTS : 0),
        .ai_family = family == MP_DNS_V4_ONLY   ? AF_INET
                     : family == MP_DNS_V6_ONLY ? AF_INET6
                                                : AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
    };
    ares_getaddrinfo(d->channel, z, NULL, &hints, on_result, q);
    timer_update(d);
    return q;
}

void mp_dns_cancel(struct mp_dns_query *q)
{
    if (!q || q->state == DELIVERING) {
        return;
    }
    if (q->state == READY) {
        query_free(q);
        return;
    }
    q->done = NULL;
}
