/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "io/sock.h"
#include "t.h"
#include "unit/io/util.h"

static struct mp_loop *loop;
static char dir[] = "/tmp/mp-test-sock-XXXXXX";

struct watch {
    struct mp_io io;
    unsigned events;
};
static void watch_ready(struct mp_io *io, unsigned events)
{
    MP_CONTAINER_OF(io, struct watch, io)->events |= events;
}

static int get_int(int fd, int level, int option)
{
    int v = -1;
    socklen_t n = sizeof v;
    return getsockopt(fd, level, option, &v, &n) < 0 ? -1 : v;
}

/* Listens on text, connects, accepts. The address connected to in *at. */
struct pair {
    int listener, client, server;
    struct mp_addr at, peer;
};
static bool pair_open(struct pair *p, const char *text)
{
    struct mp_listen_opts o = {0};
    struct mp_addr a = addr_of(text);
    struct watch w = {0};
    p->client = p->server = -1;
    p->listener = mp_sock_listen(loop, &a, &o);
    if (p->listener < 0) {
        printf("# listen %s: %d\n", text, p->listener);
        return false;
    }
    p->at = a;
    if (a.family != MP_ADDR_UNIX && mp_sock_local_addr(loop, p->listener, &p->at) < 0) {
        return false;
    }
    p->client = mp_sock_connect(loop, &p->at, NULL);
    if (p->client < 0 || mp_is_err(mp_io_open(loop, &w.io, p->client, watch_ready))) {
        return false;
    }
    RUN_UNTIL(loop, w.events & MP_IO_OUT);
    mp_io_steal(loop, &w.io);
    if (mp_sock_connect_result(loop, p->client) != 0) {
        return false;
    }
    p->server = mp_sock_accept(loop, p->listener, &p->peer);
    return p->server >= 0;
}
static void pair_close(struct pair *p)
{
    mp_sock_close(loop, p->server);
    mp_sock_close(loop, p->client);
    mp_sock_close(loop, p->listener);
}

static void check_transfer(struct pair *p)
{
    char buf[64];
    struct iovec iov[3] = {{"one", 3}, {"", 0}, {"two", 3}};
    T_EQ(mp_sock_recv(loop, p->server, buf, sizeof buf), -EAGAIN);
    T_EQ(mp_sock_send(loop, p->client, "hello", 5), 5);
    T_EQ(mp_sock_sendv(loop, p->client, iov, 3), 6);
    T_EQ(mp_sock_sendv(loop, p->client, iov, 1), 3);
    size_t got = 0;
    for (int i = 0; i < 1000 && got < 14; i++) {
        ssize_t n = mp_sock_recv(loop, p->server, buf + got, sizeof buf - got);
        got += n > 0 ? (size_t)n : 0;
        if (n < 0) {
            mp_loop_turn(loop, 1);
        }
    }
    T_EQ(got, 14);
    T_OK(memcmp(buf, "helloonetwoone", 14) == 0);
    T_EQ(mp_sock_shutdown_write(loop, p->client), 0);
    ssize_t n;
    for (int i = 0; (n = mp_sock_recv(loop, p->server, buf, 1)) == -EAGAIN && i < 1000; i++) {
        mp_loop_turn(loop, 1);
    }
    T_EQ(n, 0);
    T_EQ(mp_sock_send(loop, p->server, "back", 4), 4);   /* the other direction lives */
    T_EQ(mp_sock_send(loop, p->client, "x", 1), -EPIPE); /* and no SIGPIPE */
    T_EQ(mp_sock_sendv(loop, p->client, iov, 3), -EPIPE);
    T_OK(fcntl(p->server, F_GETFL) & O_NONBLOCK);
    T_OK(fcntl(p->server, F_GETFD) & FD_CLOEXEC);
    T_OK(fcntl(p->client, F_GETFL) & O_NONBLOCK);
    T_OK(fcntl(p->client, F_GETFD) & FD_CLOEXEC);
    T_OK(fcntl(p->listener, F_GETFD) & FD_CLOEXEC);
    T_EQ(mp_sock_accept(loop, p->listener, &p->peer), -EAGAIN);
}

static void check_tcp(const char *text, enum mp_addr_family family)
{
    struct pair p;
    struct mp_addr client, server;
    T_OK(pair_open(&p, text));
    T_EQ(mp_sock_local_addr(loop, p.client, &client), 0);
    T_EQ(mp_sock_local_addr(loop, p.server, &server), 0);
    T_EQ(p.peer.family, family);
    T_OK(p.at.port != 0);
    T_OK(mp_addr_eq(&client, &p.peer));
    T_OK(mp_addr_eq(&server, &p.at));
    /* Inherited from the listener: accept sets nothing. */
    T_EQ(get_int(p.server, IPPROTO_TCP, TCP_NODELAY), 1);
    T_EQ(get_int(p.client, IPPROTO_TCP, TCP_NODELAY), 1);
    check_transfer(&p);
    pair_close(&p);
}

static void tcp4(void)
{
    check_tcp("127.0.0.1:0", MP_ADDR_IP4);
}

static void tcp6(void)
{
    check_tcp("[::1]:0", MP_ADDR_IP6);
}

static void dual_stack_tells_ip4(void)
{
    for (int only = 0; only < 2; only++) {
        struct mp_listen_opts o = {.ip6_only = only};
        struct mp_addr any = addr_of("[::]:0"), at, to = addr_of("127.0.0.1:0"), peer;
        int fd = mp_sock_listen(loop, &any, &o);
        T_OK(fd >= 0);
        T_EQ(mp_sock_local_addr(loop, fd, &at), 0);
        T_EQ(at.family, MP_ADDR_IP6);
        to.port = at.port;
        struct watch w = {0};
        int c = mp_sock_connect(loop, &to, NULL);
        T_OK(c >= 0);
        T_OK(!mp_is_err(mp_io_open(loop, &w.io, c, watch_ready)));
        RUN_UNTIL(loop, w.events);
        T_EQ(mp_sock_connect_result(loop, c), only ? -ECONNREFUSED : 0);
        if (!only) {
            int s = mp_sock_accept(loop, fd, &peer);
            T_OK(s >= 0);
            T_EQ(peer.family, MP_ADDR_IP4);
            T_OK(mp_addr_ip_eq(&peer, &to));
            mp_sock_close(loop, s);
        }
        mp_io_close(loop, &w.io);
        mp_sock_close(loop, fd);
    }
}

static void unix_path(void)
{
    char text[80];
    struct stat st;
    struct pair p;
    snprintf(text, sizeof text, "unix:%s/a", dir);
    T_OK(pair_open(&p, text));
    T_EQ(p.peer.family, MP_ADDR_UNIX);
    T_OK(strcmp(p.peer.path, "") == 0);
    T_EQ(stat(text + 5, &st), 0);
    T_EQ(st.st_mode & 0777, 0660);
    check_transfer(&p);
    /* Somebody listens: not taken over. */
    struct mp_addr a = addr_of(text);
    struct mp_listen_opts o = {.unix_mode = 0600};
    T_EQ(mp_sock_listen(loop, &a, &o), -EADDRINUSE);
    pair_close(&p);
    /* Nobody does any more: replaced. */
    mode_t mask = umask(0);
    int fd = mp_sock_listen(loop, &a, &o);
    umask(mask);
    T_OK(fd >= 0);
    T_EQ(stat(text + 5, &st), 0);
    T_EQ(st.st_mode & 0777, 0600);
    mp_sock_close(loop, fd);
    /* The mode is exact whatever the umask. */
    mask = umask(0777);
    o.unix_mode = 0666;
    fd = mp_sock_listen(loop, &a, &o);
    umask(mask);
    T_OK(fd >= 0);
    T_EQ(stat(text + 5, &st), 0);
    T_EQ(st.st_mode & 0777, 0666);
    mp_sock_close(loop, fd);
    unlink(text + 5);
}

static void unix_never_removes_others(void)
{
    char text[80], link[80];
    struct stat st;
    struct mp_listen_opts o = {0};
    snprintf(text, sizeof text, "unix:%s/file", dir);
    int file = open(text + 5, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    T_OK(file >= 0);
    close(file);
    struct mp_addr a = addr_of(text);
    T_EQ(mp_sock_listen(loop, &a, &o), -EADDRINUSE);
    T_EQ(lstat(text + 5, &st), 0);
    /* Nor through a link. */
    snprintf(link, sizeof link, "unix:%s/link", dir);
    T_EQ(symlink(text + 5, link + 5), 0);
    a = addr_of(link);
    T_EQ(mp_sock_listen(loop, &a, &o), -EADDRINUSE);
    T_EQ(lstat(link + 5, &st), 0);
    unlink(link + 5);
    unlink(text + 5);
    a = addr_of("unix:/nonexistent/x");
    T_EQ(mp_sock_listen(loop, &a, &o), -ENOENT);
}

static void unix_abstract(void)
{
    char text[64];
    struct pair p;
    snprintf(text, sizeof text, "@mp-test-%d", (int)getpid());
    T_OK(pair_open(&p, text));
    check_transfer(&p);
    struct mp_addr a = addr_of(text);
    struct mp_listen_opts o = {0};
    T_EQ(mp_sock_listen(loop, &a, &o), -EADDRINUSE);
    pair_close(&p);
    int fd = mp_sock_listen(loop, &a, &o);
    T_OK(fd >= 0);
    mp_sock_close(loop, fd);
}

static void unix_longest_path(void)
{
    char path[120];
    int n = snprintf(path, sizeof path, "%s/", dir);
    memset(path + n, 'p', sizeof path - (size_t)n);
    for (size_t len = 106; len <= 108; len++) {
        struct mp_addr a = {.family = MP_ADDR_UNIX, .path = path};
        struct mp_listen_opts o = {0};
        path[len] = '\0';
        int fd = mp_sock_listen(loop, &a, &o);
        T_EQ(fd >= 0, len <= 107);
        if (fd >= 0) {
            mp_sock_close(loop, fd);
            T_EQ(unlink(path), 0);
        } else {
            T_EQ(fd, -EINVAL);
            T_EQ(mp_sock_connect(loop, &a, NULL), -EINVAL);
        }
        path[len] = 'p';
    }
    struct mp_addr none = {0}, empty = {.family = MP_ADDR_UNIX, .path = ""};
    struct mp_listen_opts o = {0};
    T_EQ(mp_sock_listen(loop, &none, &o), -EINVAL);
    T_EQ(mp_sock_listen(loop, &empty, &o), -EINVAL);
}

static void listen_options(void)
{
    struct mp_addr a = addr_of("127.0.0.1:0"), at;
    struct mp_listen_opts o = {.reuse_port = true, .freebind = true, .defer_accept = true};
    int first = mp_sock_listen(loop, &a, &o);
    T_OK(first >= 0);
    T_EQ(get_int(first, SOL_SOCKET, SO_REUSEPORT), 1);
    T_EQ(get_int(first, IPPROTO_IP, IP_FREEBIND), 1);
    T_OK(get_int(first, IPPROTO_TCP, TCP_DEFER_ACCEPT) > 0);
    T_EQ(mp_sock_local_addr(loop, first, &at), 0);
    int second = mp_sock_listen(loop, &at, &o);
    T_OK(second >= 0);
    o.reuse_port = false;
    T_EQ(mp_sock_listen(loop, &at, &o), -EADDRINUSE);
    mp_sock_close(loop, first);
    mp_sock_close(loop, second);
    o = (struct mp_listen_opts){0};
    int plain = mp_sock_listen(loop, &a, &o);
    T_EQ(get_int(plain, SOL_SOCKET, SO_REUSEPORT), 0);
    T_EQ(get_int(plain, IPPROTO_TCP, TCP_DEFER_ACCEPT), 0);
    mp_sock_close(loop, plain);
    /* An address that is not ours. */
    a = addr_of("192.0.2.1:0");
    T_EQ(mp_sock_listen(loop, &a, &o), -EADDRNOTAVAIL);
    o.freebind = true;
    int foreign = mp_sock_listen(loop, &a, &o);
    T_OK(foreign >= 0);
    mp_sock_close(loop, foreign);
    a = addr_of("[2001:db8::1]:0");
    foreign = mp_sock_listen(loop, &a, &o);
    T_OK(foreign >= 0);
    mp_sock_close(loop, foreign);
}

static void connect_refused(void)
{
    struct mp_addr a = addr_of("127.0.0.1:0"), at;
    struct mp_listen_opts o = {0};
    struct watch w = {0};
    int fd = mp_sock_listen(loop, &a, &o);
    T_EQ(mp_sock_local_addr(loop, fd, &at), 0);
    mp_sock_close(loop, fd);
    int c = mp_sock_connect(loop, &at, NULL);
    T_OK(c >= 0);
    T_OK(!mp_is_err(mp_io_open(loop, &w.io, c, watch_ready)));
    RUN_UNTIL(loop, w.events);
    T_OK(w.events & MP_IO_ERR);
    T_OK(w.events & MP_IO_OUT);
    T_EQ(mp_sock_connect_result(loop, c), -ECONNREFUSED);
    mp_io_close(loop, &w.io);
    struct mp_addr u = addr_of("@mp-test-nobody-listens-here");
    T_EQ(mp_sock_connect(loop, &u, NULL), -ECONNREFUSED);
}

static void fire(struct mp_timer *t)
{
    (void)t;
}

/* The accept queue is full: no answer comes, a timer of ours ends the attempt. */
static void connect_without_answer(void)
{
    struct mp_addr a = addr_of("127.0.0.1:0"), at;
    struct mp_listen_opts o = {.backlog = 1};
    struct watch w[16];
    int fd = mp_sock_listen(loop, &a, &o);
    T_EQ(mp_sock_local_addr(loop, fd, &at), 0);
    memset(w, 0, sizeof w);
    struct mp_timer t;
    mp_timer_init(&t, fire);
    for (size_t i = 0; i < MP_COUNTOF(w); i++) {
        int c = mp_sock_connect(loop, &at, NULL);
        T_OK(c >= 0);
        T_OK(!mp_is_err(mp_io_open(loop, &w[i].io, c, watch_ready)));
    }
    mp_timer_in(loop, &t, 100);
    RUN_UNTIL(loop, !mp_timer_is_set(&t));
    size_t answered = 0;
    for (size_t i = 0; i < MP_COUNTOF(w); i++) {
        answered += w[i].events != 0;
        mp_io_close(loop, &w[i].io);
    }
    T_OK(answered > 0);
    T_OK(answered < MP_COUNTOF(w));
    mp_sock_close(loop, fd);
}

static void connect_from_source(void)
{
    struct mp_listen_opts o = {0};
    struct mp_addr a = addr_of("127.0.0.1:0"), at, from = addr_of("127.0.0.9:0"), peer, local;
    struct mp_addr six = addr_of("[::1]:0");
    int fd = mp_sock_listen(loop, &a, &o);
    T_EQ(mp_sock_local_addr(loop, fd, &at), 0);
    int c = mp_sock_connect(loop, &at, &from);
    T_OK(c >= 0);
    int s = -EAGAIN;
    for (int i = 0; s == -EAGAIN && i < 1000; i++) {
        mp_loop_turn(loop, 1);
        s = mp_sock_accept(loop, fd, &peer);
    }
    T_OK(s >= 0);
    T_OK(mp_addr_ip_eq(&peer, &from));
    T_OK(peer.port != 0);
    T_EQ(mp_sock_local_addr(loop, c, &local), 0);
    T_OK(mp_addr_eq(&peer, &local));
    mp_sock_close(loop, s);
    mp_sock_close(loop, c);
    T_EQ(mp_sock_connect(loop, &at, &six), -EINVAL);
    struct mp_addr foreign = addr_of("192.0.2.1:0");
    T_EQ(mp_sock_connect(loop, &at, &foreign), -EADDRNOTAVAIL);
    /* IPv6 with a source as well. */
    int fd6 = mp_sock_listen(loop, &six, &o);
    T_EQ(mp_sock_local_addr(loop, fd6, &at), 0);
    c = mp_sock_connect(loop, &at, &six);
    T_OK(c >= 0);
    mp_sock_close(loop, c);
    mp_sock_close(loop, fd6);
    mp_sock_close(loop, fd);
}

static void reset_on_close(void)
{
    for (int reset = 0; reset < 2; reset++) {
        struct pair p;
        char c;
        T_OK(pair_open(&p, "127.0.0.1:0"));
        struct watch w = {0};
        T_OK(!mp_is_err(mp_io_open(loop, &w.io, p.server, watch_ready)));
        mp_loop_turn(loop, 0);
        w.events = 0;
        if (reset) {
            mp_sock_set_reset_on_close(loop, p.client);
        }
        mp_sock_close(loop, p.client);
        RUN_UNTIL(loop, w.events & MP_IO_HUP);
        T_EQ(!!(w.events & MP_IO_ERR), reset);
        T_EQ(mp_sock_recv(loop, p.server, &c, 1), reset ? -ECONNRESET : 0);
        mp_io_close(loop, &w.io);
        mp_sock_close(loop, p.listener);
    }
}

static void keepalive(void)
{
    struct pair p;
    T_OK(pair_open(&p, "127.0.0.1:0"));
    int idle = get_int(p.client, IPPROTO_TCP, TCP_KEEPIDLE);
    struct mp_keepalive ka = {0};
    T_EQ(get_int(p.client, SOL_SOCKET, SO_KEEPALIVE), 0);
    T_EQ(mp_sock_keepalive(loop, p.client, &ka), 0);
    T_EQ(get_int(p.client, SOL_SOCKET, SO_KEEPALIVE), 1);
    T_EQ(get_int(p.client, IPPROTO_TCP, TCP_KEEPIDLE), idle);
    ka = (struct mp_keepalive){11, 12, 13};
    T_EQ(mp_sock_keepalive(loop, p.client, &ka), 0);
    T_EQ(get_int(p.client, IPPROTO_TCP, TCP_KEEPIDLE), 11);
    T_EQ(get_int(p.client, IPPROTO_TCP, TCP_KEEPINTVL), 12);
    T_EQ(get_int(p.client, IPPROTO_TCP, TCP_KEEPCNT), 13);
    ka = (struct mp_keepalive){UINT32_MAX, UINT32_MAX, UINT32_MAX};
    T_EQ(mp_sock_keepalive(loop, p.client, &ka), 0);
    T_EQ(get_int(p.client, IPPROTO_TCP, TCP_KEEPIDLE), 32767);
    T_EQ(get_int(p.client, IPPROTO_TCP, TCP_KEEPCNT), 127);
    pair_close(&p);
}

/* A connection that its client reset while it waited: accept hands it out or skips it, never fails.
 */
static void accept_after_abort(void)
{
    struct mp_listen_opts o = {0};
    struct mp_addr a = addr_of("127.0.0.1:0"), at, peer;
    int fd = mp_sock_listen(loop, &a, &o);
    T_EQ(mp_sock_local_addr(loop, fd, &at), 0);
    int c = mp_sock_connect(loop, &at, NULL);
    mp_sock_set_reset_on_close(loop, c);
    mp_loop_turn(loop, 1);
    mp_sock_close(loop, c);
    int s = mp_sock_accept(loop, fd, &peer);
    T_OK(s >= 0 || s == -EAGAIN);
    if (s >= 0) {
        mp_sock_close(loop, s);
    }
    mp_sock_close(loop, fd);
}

static void errors(void)
{
    struct mp_addr a;
    struct mp_keepalive ka = {1, 1, 1};
    char c;
    T_EQ(mp_sock_recv(loop, -1, &c, 1), -EBADF);
    T_EQ(mp_sock_send(loop, -1, &c, 1), -EBADF);
    T_EQ(mp_sock_accept(loop, -1, &a), -EBADF);
    T_EQ(mp_sock_local_addr(loop, -1, &a), -EBADF);
    T_EQ(mp_sock_connect_result(loop, -1), -EBADF);
    T_EQ(mp_sock_keepalive(loop, -1, &ka), -EBADF);
    T_EQ(mp_sock_shutdown_write(loop, -1), -EBADF);
}

int main(void)
{
    if (!mkdtemp(dir)) {
        return 1;
    }
    loop = mp_loop_new();
    T_RUN(tcp4);
    T_RUN(tcp6);
    T_RUN(dual_stack_tells_ip4);
    T_RUN(unix_path);
    T_RUN(unix_never_removes_others);
    T_RUN(unix_abstract);
    T_RUN(unix_longest_path);
    T_RUN(listen_options);
    T_RUN(connect_refused);
    T_RUN(connect_without_answer);
    T_RUN(connect_from_source);
    T_RUN(reset_on_close);
    T_RUN(keepalive);
    T_RUN(accept_after_abort);
    T_RUN(errors);
    loop = mp_loop_free(loop);
    rmdir(dir);
    return T_DONE();
}
