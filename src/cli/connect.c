/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "cli/connect.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* False at the deadline. */
static bool wait_for(const struct mp_cli_link *l, short events, struct mp_sb *error)
{
    struct pollfd p = {.fd = l->fd, .events = events};
    for (;;) {
        uint64_t now = now_ms();
        int left = now < l->deadline_ms ? (int)(l->deadline_ms - now) : 0;
        int n = poll(&p, 1, left);
        if (n > 0) {
            return true;
        }
        if (n == 0) {
            mp_sb_add_c(error, "no answer in time");
            return false;
        }
        if (errno != EINTR) {
            mp_sb_printf(error, "poll: %s", strerror(errno));
            return false;
        }
    }
}

static bool connect_fd(struct mp_cli_link *l, const struct sockaddr *sa, socklen_t n,
                       struct mp_sb *error)
{
    l->fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0) {
        mp_sb_printf(error, "socket: %s", strerror(errno));
        return false;
    }
    int rc = connect(l->fd, sa, n), err = rc < 0 ? errno : 0;
    if (err == EINPROGRESS && wait_for(l, POLLOUT, error)) {
        socklen_t size = sizeof(err);
        if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &err, &size) < 0) {
            err = errno;
        }
    }
    if (err == 0) {
        return true;
    }
    if (err != EINPROGRESS) {
        mp_sb_printf(error, "cannot connect: %s", strerror(err));
    }
    close(l->fd);
    l->fd = -1;
    return false;
}

static bool open_unix(struct mp_cli_link *l, const char *path, struct mp_sb *error)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if (n >= sizeof(sa.sun_path)) {
        mp_sb_add_c(error, "the path of the socket is too long");
        return false;
    }
    memcpy(sa.sun_path, path, n);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
    if (path[0] == '@') { /* an abstract name has no end mark */
        sa.sun_path[0] = '\0';
        size--;
    }
    snprintf(l->host, sizeof(l->host), "localhost");
    return connect_fd(l, (const struct sockaddr *)&sa, size, error);
}

/* Cuts "host:port" in two; out holds both. False: it is neither form. */
static bool split(const char *addr, char *out, size_t cap, const char **ret_host,
                  const char **ret_port)
{
    int n = snprintf(out, cap, "%s", addr);
    if (n <= 0 || (size_t)n >= cap) {
        return false;
    }
    if (out[n - 1] == '/') {
        out[n - 1] = '\0';
    }
    char *colon = strrchr(out, ':'), *end = strchr(out, ']');
    *ret_host = out;
    *ret_port = MP_CLI_PORT;
    if (out[0] == '[') {
        if (end == NULL || (end[1] != '\0' && end[1] != ':')) {
            return false;
        }
        *ret_host = out + 1;
        *end = '\0';
        *ret_port = end[1] == ':' ? end + 2 : MP_CLI_PORT;
    } else if (colon != NULL && strchr(out, ':') == colon) {
        *colon = '\0';
        *ret_port = colon + 1;
    } /* several colons: an IPv6 address without a port */
    return **ret_host != '\0' && **ret_port != '\0' && strchr(*ret_host, '/') == NULL;
}

static bool open_tcp(struct mp_cli_link *l, const char *addr, struct mp_sb *error)
{
    char text[256];
    const char *host, *port;
    if (!split(addr, text, sizeof(text), &host, &port)) {
        mp_sb_add_c(error, "not an address: use HOST:PORT or the path of a Unix socket");
        return false;
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list;
    int rc = getaddrinfo(host, port, &hints, &list);
    if (rc != 0) {
        mp_sb_printf(error, "%s", gai_strerror(rc));
        return false;
    }
    bool ip6 = strchr(host, ':') != NULL;
    snprintf(l->host, sizeof(l->host), "%s%s%s:%s", ip6 ? "[" : "", host, ip6 ? "]" : "", port);
    bool ok = false;
    for (struct addrinfo *a = list; a != NULL && !ok; a = a->ai_next) {
        mp_sb_reset(error);
        ok = connect_fd(l, a->ai_addr, a->ai_addrlen, error);
    }
    freeaddrinfo(list);
    return ok;
}

bool mp_cli_link_open(struct mp_cli_link *l, const char *addr, uint32_t timeout_ms,
                      struct mp_sb *error)
{
    *l = (struct mp_cli_link){.fd = -1, .deadline_ms = now_ms() + timeout_ms};
    if (strncmp(addr, "unix:", 5) == 0) {
        return open_unix(l, addr + 5, error);
    }
    if (addr[0] == '/' || addr[0] == '@' || strncmp(addr, "./", 2) == 0) {
        return open_unix(l, addr, error);
    }
    return open_tcp(l, strncmp(addr, "http://", 7) == 0 ? addr + 7 : addr, error);
}

void mp_cli_link_close(struct mp_cli_link *l)
{
    if (l->fd >= 0) {
        close(l->fd);
    }
    l->fd = -1;
}

bool mp_cli_link_write(struct mp_cli_link *l, const char *p, size_t n, struct mp_sb *error)
{
    while (n > 0) {
        ssize_t put = send(l->fd, p, n, MSG_NOSIGNAL);
        if (put > 0) {
            p += put;
            n -= (size_t)put;
        } else if (errno == EAGAIN) {
            if (!wait_for(l, POLLOUT, error)) {
                return false;
            }
        } else if (errno != EINTR) {
            mp_sb_printf(error, "cannot send: %s", strerror(errno));
            return false;
        }
    }
    return true;
}

ssize_t mp_cli_link_read(struct mp_cli_link *l, char *p, size_t n, struct mp_sb *error)
{
    for (;;) {
        /* Also when bytes come all the time: the deadline is that of the whole answer. */
        if (!wait_for(l, POLLIN, error)) {
            return -1;
        }
        if (now_ms() >= l->deadline_ms) {
            mp_sb_add_c(error, "the answer is not complete in time");
            return -1;
        }
        ssize_t got = recv(l->fd, p, n, 0);
        if (got >= 0) {
            return got;
        }
        if (errno != EINTR && errno != EAGAIN) {
            mp_sb_printf(error, "cannot receive: %s", strerror(errno));
            return -1;
        }
    }
}
