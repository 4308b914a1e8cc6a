/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Sockets of the kernel.
 *
 * TCP_NODELAY is set on the listening socket: Linux hands it on to accepted sockets, which saves a
 * system call for every connection (tests/unit/io/test_sock.c checks that it does).
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#include "io/open.h"
#include "io/sock.h"

#define BACKLOG_DEFAULT      4096
#define UNIX_MODE_DEFAULT    0660
#define DEFER_ACCEPT_SECONDS 30
#define KEEPALIVE_MAX        32767u /* the kernel's limit for idle and interval */
#define KEEPALIVE_PROBES_MAX 127u

union sock_addr {
    struct sockaddr any;
    struct sockaddr_in ip4;
    struct sockaddr_in6 ip6;
    struct sockaddr_un un;
};

/* Length, or 0 when the address cannot be a socket's. */
static socklen_t to_kernel(const struct mp_addr *a, union sock_addr *k)
{
    memset(k, 0, sizeof *k);
    if (a->family == MP_ADDR_IP4) {
        k->ip4.sin_family = AF_INET;
        k->ip4.sin_port = htons(a->port);
        memcpy(&k->ip4.sin_addr, a->ip, 4);
        return sizeof k->ip4;
    }
    if (a->family == MP_ADDR_IP6) {
        k->ip6.sin6_family = AF_INET6;
        k->ip6.sin6_port = htons(a->port);
        k->ip6.sin6_scope_id = a->scope_id;
        memcpy(&k->ip6.sin6_addr, a->ip, 16);
        return sizeof k->ip6;
    }
    if (a->family != MP_ADDR_UNIX) {
        return 0;
    }
    size_t n = strlen(a->path);
    if (n == 0 || n >= sizeof k->un.sun_path) {
        return 0;
    }
    k->un.sun_family = AF_UNIX;
    memcpy(k->un.sun_path, a->path, n);
    if (a->path[0] == '@') {
        /* Abstract names have a length and no NUL. */
        k->un.sun_path[0] = '\0';
        return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    }
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
}

/* A Unix address comes back without its path: there is nobody to own the bytes. An IPv4 peer of a
 * dual-stack socket is told as IPv4, so that ranges and logs see one form. */
static void from_kernel(const union sock_addr *k, struct mp_addr *ret)
{
    struct mp_addr a = {.family = MP_ADDR_NONE};
    if (k->any.sa_family == AF_INET) {
        a.family = MP_ADDR_IP4;
        a.port = ntohs(k->ip4.sin_port);
        memcpy(a.ip, &k->ip4.sin_addr, 4);
    }
    if (k->any.sa_family == AF_INET6) {
        bool mapped = IN6_IS_ADDR_V4MAPPED(&k->ip6.sin6_addr);
        a.family = mapped ? MP_ADDR_IP4 : MP_ADDR_IP6;
        a.port = ntohs(k->ip6.sin6_port);
        a.scope_id = mapped ? 0 : k->ip6.sin6_scope_id;
        memcpy(a.ip, (const uint8_t *)&k->ip6.sin6_addr + (mapped ? 12 : 0), mapped ? 4 : 16);
    }
    if (k->any.sa_family == AF_UNIX) {
        a.family = MP_ADDR_UNIX;
        a.path = "";
    }
    *ret = a;
}

static int set_int(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) < 0 ? -errno : 0;
}

static int sock_new(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

/* Options of the operator that belong to this state of the socket. */
static int own_options(int fd, const struct mp_listen_opts *o, uint8_t state)
{
    int r = 0;
    for (uint8_t i = 0; r == 0 && i < o->n_options; i++) {
        if (o->options[i].state == state) {
            r = set_int(fd, o->options[i].level, o->options[i].name, o->options[i].value);
        }
    }
    return r;
}

static int listen_options(int fd, const struct mp_addr *addr, const struct mp_listen_opts *o)
{
    int r = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (r == 0) {
        r = set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    }
    if (r == 0 && o->reuse_port) {
        r = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    }
    if (r == 0 && addr->family == MP_ADDR_IP6) {
        r = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, o->ip6_only);
    }
    if (r == 0 && o->freebind) {
        r = addr->family == MP_ADDR_IP6 ? set_int(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1)
                                        : set_int(fd, IPPROTO_IP, IP_FREEBIND, 1);
    }
    if (r == 0 && o->defer_accept) {
        r = set_int(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, DEFER_ACCEPT_SECONDS);
    }
    return r;
}

/* A port below 1024 may be the broker's to bind. */
static int bind_inet(int fd, const union sock_addr *k, socklen_t n)
{
    int r = bind(fd, &k->any, n) < 0 ? -errno : 0;
    return r == -EACCES && mp_open_has_broker() ? mp_broker_bind(fd, &k->any, n) : r;
}

/* A port is shared silently among sockets with SO_REUSEPORT of one user: without it, the kernel
 * tells whether somebody listens there. */
static int probe_port(const union sock_addr *k, socklen_t n, const struct mp_addr *addr,
                      const struct mp_listen_opts *o)
{
    int fd = sock_new(k->any.sa_family);
    if (fd < 0) {
        return fd;
    }
    struct mp_listen_opts alone = {.ip6_only = o->ip6_only, .freebind = o->freebind};
    int r = listen_options(fd, addr, &alone);
    if (r == 0) {
        r = bind_inet(fd, k, n);
    }
    close(fd);
    return r;
}

/* True when the path is a socket that nobody listens on. */
static bool unix_is_stale(const union sock_addr *k, socklen_t n)
{
    struct stat st;
    if (lstat(k->un.sun_path, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        return false;
    }
    int probe = sock_new(AF_UNIX);
    if (probe < 0) {
        return false;
    }
    bool refused = connect(probe, &k->any, n) < 0 && errno == ECONNREFUSED;
    close(probe);
    return refused;
}

/* The mode is set on the socket before bind, which creates the file with it (less the umask): at no
 * time is the file open to more users than asked for. */
static int bind_unix(int fd, const union sock_addr *k, socklen_t n, mode_t mode)
{
    const char *path = k->un.sun_path;
    if (path[0] == '\0') {
        return bind(fd, &k->any, n) < 0 ? -errno : 0;
    }
    if (fchmod(fd, mode) < 0) {
        return -errno;
    }
    int r = bind(fd, &k->any, n) < 0 ? -errno : 0;
    if (r == -EADDRINUSE && unix_is_stale(k, n)) {
        unlink(path);
        r = bind(fd, &k->any, n) < 0 ? -errno : 0;
    }
    if (r == 0 && chmod(path, mode) < 0) {
        r = -errno;
        unlink(path);
    }
    return r;
}

int mp_sock_listen(struct mp_loop *l, const struct mp_addr *addr, const struct mp_listen_opts *opts)
{
    (void)l;
    union sock_addr k;
    socklen_t n = to_kernel(addr, &k);
    if (n == 0) {
        return -EINVAL;
    }
    int fd = sock_new(k.any.sa_family);
    if (fd < 0) {
        return fd;
    }
    int r;
    if (addr->family == MP_ADDR_UNIX) {
        r = bind_unix(fd, &k, n, opts->unix_mode ? opts->unix_mode : UNIX_MODE_DEFAULT);
    } else {
        r = opts->probe && opts->reuse_port && addr->port != 0 ? probe_port(&k, n, addr, opts) : 0;
        if (r == 0) {
            r = listen_options(fd, addr, opts);
        }
        if (r == 0) {
            r = own_options(fd, opts, 0);
        }
        if (r == 0) {
            r = bind_inet(fd, &k, n);
        }
        if (r == 0) {
            r = own_options(fd, opts, 1);
        }
    }
    uint32_t backlog = opts->backlog ? opts->backlog : BACKLOG_DEFAULT;
    if (r == 0 && listen(fd, (int)MP_MIN(backlog, (uint32_t)INT32_MAX)) < 0) {
        r = -errno;
        if (addr->family == MP_ADDR_UNIX && k.un.sun_path[0] != '\0') {
            unlink(k.un.sun_path);
        }
    }
    if (r == 0 && addr->family != MP_ADDR_UNIX) {
        r = own_options(fd, opts, 2);
    }
    if (r < 0) {
        close(fd);
        return r;
    }
    return fd;
}

int mp_sock_local_addr(struct mp_loop *l, int fd, struct mp_addr *ret)
{
    (void)l;
    union sock_addr k;
    socklen_t n = sizeof k;
    k.any.sa_family = AF_UNSPEC;
    if (getsockname(fd, &k.any, &n) < 0) {
        return -errno;
    }
    from_kernel(&k, ret);
    return 0;
}

int mp_sock_accept(struct mp_loop *l, int fd, struct mp_addr *ret_peer)
{
    (void)l;
    for (;;) {
        union sock_addr k;
        socklen_t n = sizeof k;
        k.any.sa_family = AF_UNSPEC;
        int conn = accept4(fd, &k.any, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (MP_LIKELY(conn >= 0)) {
            from_kernel(&k, ret_peer);
            return conn;
        }
        /* The connection at the head of the queue died before we came: take the next. */
        if (errno != EINTR && errno != ECONNABORTED && errno != EPROTO) {
            return -errno;
        }
    }
}

static int bind_source(int fd, const struct mp_addr *to, const struct mp_addr *source)
{
    union sock_addr k;
    socklen_t n = to_kernel(source, &k);
    if (n == 0 || source->family != to->family) {
        return -EINVAL;
    }
    if (source->family != MP_ADDR_UNIX && source->port == 0) {
        /* The port is chosen by connect, which knows the destination: 4-tuples, not ports, run out.
         */
        int r = set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
        if (r < 0) {
            return r;
        }
    }
    return bind(fd, &k.any, n) < 0 ? -errno : 0;
}

int mp_sock_connect(struct mp_loop *l, const struct mp_addr *to, const struct mp_addr *source)
{
    (void)l;
    union sock_addr k;
    socklen_t n = to_kernel(to, &k);
    if (n == 0) {
        return -EINVAL;
    }
    int fd = sock_new(k.any.sa_family);
    if (fd < 0) {
        return fd;
    }
    int r = to->family == MP_ADDR_UNIX ? 0 : set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (r == 0 && source) {
        r = bind_source(fd, to, source);
    }
    if (r == 0 && connect(fd, &k.any, n) < 0 && errno != EINPROGRESS && errno != EINTR) {
        r = -errno;
    }
    if (r < 0) {
        close(fd);
        return r;
    }
    return fd;
}

int mp_sock_connect_result(struct mp_loop *l, int fd)
{
    (void)l;
    int e = 0;
    socklen_t n = sizeof e;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n) < 0) {
        return -errno;
    }
    return -e;
}

int mp_sock_keepalive(struct mp_loop *l, int fd, const struct mp_keepalive *ka)
{
    (void)l;
    int r = set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (r == 0 && ka->idle_s) {
        r = set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)MP_MIN(ka->idle_s, KEEPALIVE_MAX));
    }
    if (r == 0 && ka->interval_s) {
        r = set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, (int)MP_MIN(ka->interval_s, KEEPALIVE_MAX));
    }
    if (r == 0 && ka->probes) {
        r = set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, (int)MP_MIN(ka->probes, KEEPALIVE_PROBES_MAX));
    }
    return r;
}

/* Raw system calls: in a program with threads, libc's wrappers pay for cancellation points that we
 * have no use for (2 % of a proxied request). */
ssize_t mp_sock_recv(struct mp_loop *l, int fd, void *buf, size_t n)
{
    (void)l;
    ssize_t r;
    do {
        r = syscall(SYS_recvfrom, fd, buf, n, 0, NULL, NULL);
    } while (MP_UNLIKELY(r < 0 && errno == EINTR));
    return r < 0 ? -errno : r;
}

ssize_t mp_sock_send(struct mp_loop *l, int fd, const void *buf, size_t n)
{
    (void)l;
    ssize_t r;
    do {
        r = syscall(SYS_sendto, fd, buf, n, MSG_NOSIGNAL, NULL, 0);
    } while (MP_UNLIKELY(r < 0 && errno == EINTR));
    return r < 0 ? -errno : r;
}

ssize_t mp_sock_sendv(struct mp_loop *l, int fd, const struct iovec *iov, int n_iov)
{
    if (n_iov == 1) {
        return mp_sock_send(l, fd, iov->iov_base, iov->iov_len);
    }
    /* sendmsg only reads the vector. */
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n_iov};
    ssize_t r;
    do {
        r = syscall(SYS_sendmsg, fd, &m, MSG_NOSIGNAL);
    } while (MP_UNLIKELY(r < 0 && errno == EINTR));
    return r < 0 ? -errno : r;
}

int mp_sock_shutdown_write(struct mp_loop *l, int fd)
{
    (void)l;
    return shutdown(fd, SHUT_WR) < 0 ? -errno : 0;
}

void mp_sock_set_reset_on_close(struct mp_loop *l, int fd)
{
    (void)l;
    /* Fails only where there is no connection to reset. */
    struct linger lg = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &lg, sizeof lg);
}

void mp_sock_close(struct mp_loop *l, int fd)
{
    (void)l;
    close(fd);
}
