/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The origin that benchmarks put behind every proxy: one thread, epoll, canned answers, so that it
 * costs as little of the shared CPU as possible. Not a server for anything else: it trusts the
 * proxies that talk to it.
 *
 *   /64k...  65536 bytes      /1m...  1 MiB      anything else: 1024 bytes
 *
 * Request bodies (Content-Length or chunked) are read and dropped. Keep-alive unless told to close.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define FD_MAX     20000
#define HEAD_MAX   16384
#define SCRATCH    (256 * 1024)
#define CHUNK_LAST "0\r\n\r\n"

struct answer {
    char *bytes;
    size_t n;
};

enum state { READING_HEAD, SKIPPING_LENGTH, SKIPPING_CHUNKED, ANSWERING };

struct conn {
    enum state state;
    bool close_after, waits_for_room;
    size_t head_n;    /* bytes of an unfinished head, or the last ones of a chunked body */
    size_t body_left; /* of a request body with length */
    const struct answer *answer;
    size_t sent;
    char head[HEAD_MAX];
};

static struct conn *conns[FD_MAX];
static struct answer small, medium, large;
static char scratch[SCRATCH];
static int epfd;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static struct answer make_answer(size_t body)
{
    struct answer a;
    a.bytes = malloc(body + 512);
    if (!a.bytes) {
        die("malloc");
    }
    int head =
        snprintf(a.bytes, 512,
                 "HTTP/1.1 200 OK\r\nServer: backend\r\nDate: Fri, 20 Nov 2026 20:00:00 GMT\r\n"
                 "Content-Type: text/plain\r\nContent-Length: %zu\r\nCache-Control: no-cache\r\n"
                 "X-Served-By: 0123456789abcdef\r\n\r\n",
                 body);
    memset(a.bytes + head, 'x', body);
    a.n = (size_t)head + body;
    return a;
}

static void drop(int fd)
{
    close(fd);
    free(conns[fd]);
    conns[fd] = NULL;
}

static void watch(int fd, uint32_t events, int op)
{
    struct epoll_event e = {.events = events, .data.fd = fd};
    if (epoll_ctl(epfd, op, fd, &e) < 0) {
        die("epoll_ctl");
    }
}

static const struct answer *choose(const char *head, size_t n)
{
    const char *blank = memchr(head, ' ', n);
    if (!blank || (size_t)(blank - head) + 5 > n) {
        return &small;
    }
    if (memcmp(blank + 1, "/64k", 4) == 0) {
        return &medium;
    }
    return memcmp(blank + 1, "/1m", 3) == 0 ? &large : &small;
}

/* The value behind a lower-case or capitalised field name; NULL when there is none. head ends in
 * NUL. */
static const char *field(const char *head, const char *name)
{
    const char *at = strcasestr(head, name);
    return at ? at + strlen(name) : NULL;
}

/* True when the answer is out; false when it waits for room or the connection is gone. */
static bool push_answer(int fd)
{
    struct conn *c = conns[fd];
    while (c->sent < c->answer->n) {
        ssize_t n = send(fd, c->answer->bytes + c->sent, c->answer->n - c->sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            if (errno != EAGAIN) {
                drop(fd);
                return false;
            }
            if (!c->waits_for_room) {
                watch(fd, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
                c->waits_for_room = true;
            }
            return false;
        }
        c->sent += (size_t)n;
    }
    if (c->waits_for_room) {
        watch(fd, EPOLLIN, EPOLL_CTL_MOD);
        c->waits_for_room = false;
    }
    if (c->close_after) {
        drop(fd);
        return false;
    }
    c->state = READING_HEAD;
    return true;
}

static bool start_answer(int fd)
{
    struct conn *c = conns[fd];
    c->state = ANSWERING;
    c->sent = 0;
    return push_answer(fd);
}

/* Takes a head out of the n bytes at p; returns the bytes used, 0 when it is not whole. */
static size_t take_head(struct conn *c, char *p, size_t n)
{
    char *end = memmem(p, n, "\r\n\r\n", 4);
    if (!end) {
        return 0;
    }
    end[2] = '\0';
    c->answer = choose(p, n);
    const char *length = field(p, "\r\ncontent-length:");
    c->body_left = length ? strtoul(length, NULL, 10) : 0;
    c->close_after = field(p, "\r\nconnection: close") != NULL;
    c->state = c->body_left > 0 ? SKIPPING_LENGTH : ANSWERING;
    if (field(p, "\r\ntransfer-encoding: chunked")) {
        c->state = SKIPPING_CHUNKED;
        c->head_n = 0;
    }
    return (size_t)(end + 4 - p);
}

/* Looks for the last chunk in the bytes; keeps the last four for the next look. Body bytes of the
 * loads never hold the pattern. Returns the bytes used. */
static size_t skip_chunked(struct conn *c, const char *p, size_t n)
{
    const size_t want = sizeof(CHUNK_LAST) - 1;
    char joint[2 * sizeof(CHUNK_LAST)];
    size_t front = n < want ? n : want;
    memcpy(joint, c->head, c->head_n);
    memcpy(joint + c->head_n, p, front);
    const char *hit = memmem(joint, c->head_n + front, CHUNK_LAST, want);
    if (hit) {
        size_t used = (size_t)(hit - joint) + want - c->head_n;
        c->head_n = 0;
        c->state = ANSWERING;
        return used;
    }
    hit = memmem(p, n, CHUNK_LAST, want);
    if (hit) {
        c->head_n = 0;
        c->state = ANSWERING;
        return (size_t)(hit - p) + want;
    }
    size_t total = c->head_n + front;
    if (n >= want) {
        memcpy(c->head, p + n - (want - 1), want - 1);
        c->head_n = want - 1;
        return n;
    }
    size_t keep = total < want - 1 ? total : want - 1;
    memcpy(c->head, joint + total - keep, keep);
    c->head_n = keep;
    return n;
}

/* Works on n bytes at p; a rest that is not whole is kept in the connection. */
static void consume(int fd, char *p, size_t n)
{
    while (n > 0) {
        struct conn *c = conns[fd];
        size_t used = 0;
        switch (c->state) {
        case READING_HEAD:
            used = take_head(c, p, n);
            if (used == 0) {
                if (n >= HEAD_MAX) {
                    drop(fd);
                    return;
                }
                memmove(c->head, p, n);
                c->head_n = n;
                return;
            }
            break;
        case SKIPPING_LENGTH:
            used = n < c->body_left ? n : c->body_left;
            c->body_left -= used;
            if (c->body_left == 0) {
                c->state = ANSWERING;
            }
            break;
        case SKIPPING_CHUNKED:
            used = skip_chunked(c, p, n);
            break;
        case ANSWERING: /* pipelined while an answer waits for room: proxies do not do that */
            drop(fd);
            return;
        }
        p += used;
        n -= used;
        if (c->state == ANSWERING && !start_answer(fd)) {
            if (n > 0 && conns[fd]) {
                drop(fd);
            }
            return;
        }
    }
}

static void on_readable(int fd)
{
    struct conn *c = conns[fd];
    size_t kept = c->state == READING_HEAD ? c->head_n : 0;
    if (kept > 0) {
        memcpy(scratch, c->head, kept);
        c->head_n = 0;
    }
    ssize_t n = recv(fd, scratch + kept, sizeof(scratch) - kept, 0);
    if (n > 0) {
        consume(fd, scratch, kept + (size_t)n);
        return;
    }
    if (n == 0 || errno != EAGAIN) {
        drop(fd);
        return;
    }
    c->head_n = kept;
}

static void on_event(int fd, uint32_t events)
{
    if (!conns[fd]) {
        return;
    }
    if ((events & EPOLLOUT) && conns[fd]->state == ANSWERING) {
        if (!push_answer(fd)) {
            return;
        }
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        on_readable(fd);
    }
}

static void accept_all(int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= FD_MAX) {
            close(fd);
            continue;
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        conns[fd] = calloc(1, sizeof(struct conn));
        if (!conns[fd]) {
            die("calloc");
        }
        watch(fd, EPOLLIN, EPOLL_CTL_ADD);
    }
}

static int listen_on(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 4096) < 0) {
        die("bind");
    }
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: backend PORT\n");
        return 2;
    }
    struct rlimit limit = {FD_MAX, FD_MAX};
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
        perror("setrlimit"); /* the soft limit may do */
    }
    small = make_answer(1024);
    medium = make_answer(65536);
    large = make_answer(1 << 20);
    epfd = epoll_create1(0);
    int listener = listen_on(atoi(argv[1]));
    watch(listener, EPOLLIN, EPOLL_CTL_ADD);
    for (;;) {
        struct epoll_event events[512];
        int n = epoll_wait(epfd, events, 512, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener) {
                accept_all(listener);
                continue;
            }
            on_event(events[i].data.fd, events[i].events);
        }
    }
}
