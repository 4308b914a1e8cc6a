/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "io/passed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

struct passed {
    int fd;
    bool used;
    char *name;
    struct mp_addr addr;
    char path[MP_ADDR_UNIX_MAX + 2]; /* what addr.path points to */
};
static struct {
    struct passed *v;
    uint32_t n;
} all;

union sock_addr {
    struct sockaddr any;
    struct sockaddr_in ip4;
    struct sockaddr_in6 ip6;
    struct sockaddr_un un;
};

static void set_unix_path(struct passed *p, const struct sockaddr_un *un, socklen_t n)
{
    size_t len =
        n > offsetof(struct sockaddr_un, sun_path) ? n - offsetof(struct sockaddr_un, sun_path) : 0;
    memcpy(p->path, un->sun_path, len);
    if (len > 0 && p->path[0] == '\0') {
        p->path[0] = '@';
    }
    p->path[len] = '\0';
    p->addr.family = MP_ADDR_UNIX;
    p->addr.path = p->path;
}

/* False: not a listening stream socket of a family that we have. */
static bool look_at(struct passed *p)
{
    union sock_addr k = {.any = {.sa_family = AF_UNSPEC}};
    socklen_t n = sizeof(k), size = sizeof(int);
    int type = 0, listens = 0;
    if (getsockopt(p->fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM ||
        getsockopt(p->fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 || !listens ||
        getsockname(p->fd, &k.any, &n) < 0) {
        return false;
    }
    if (k.any.sa_family == AF_INET) {
        p->addr.family = MP_ADDR_IP4;
        p->addr.port = ntohs(k.ip4.sin_port);
        memcpy(p->addr.ip, &k.ip4.sin_addr, 4);
    } else if (k.any.sa_family == AF_INET6) {
        p->addr.family = MP_ADDR_IP6;
        p->addr.port = ntohs(k.ip6.sin6_port);
        p->addr.scope_id = k.ip6.sin6_scope_id;
        memcpy(p->addr.ip, &k.ip6.sin6_addr, 16);
    } else if (k.any.sa_family == AF_UNIX) {
        set_unix_path(p, &k.un, n);
    }
    return p->addr.family != MP_ADDR_NONE;
}

/* As if we had made it: what accepted connections inherit, too. */
static bool make_ours(struct passed *p)
{
    int one = 1, flags = fcntl(p->fd, F_GETFL);
    if (flags < 0 || fcntl(p->fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(p->fd, F_SETFD, FD_CLOEXEC) < 0) {
        return false;
    }
    return p->addr.family == MP_ADDR_UNIX ||
           setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0;
}

uint32_t mp_passed_init(int first, uint32_t n, const char *names)
{
    struct mp_str rest = mp_str_c(names), name;
    all.v = mp_xcalloc(n > 0 ? n : 1, sizeof(*all.v));
    for (uint32_t i = 0; i < n; i++) {
        struct passed *p = &all.v[all.n];
        *p = (struct passed){.fd = first + (int)i};
        if (!mp_str_split(&rest, ':', &name)) {
            name = mp_str(NULL, 0);
        }
        if (!look_at(p) || !make_ours(p)) {
            close(p->fd);
            continue;
        }
        p->name = mp_str_dup_c(name);
        all.n++;
    }
    return all.n;
}

static struct passed *find(const struct mp_addr *addr, struct mp_str name)
{
    for (uint32_t i = 0; i < all.n; i++) {
        const struct mp_addr *a = &all.v[i].addr;
        bool is_unix = a->family == MP_ADDR_UNIX;
        if (a->family == addr->family &&
            (is_unix ? strcmp(a->path, addr->path) == 0 : mp_addr_eq(a, addr))) {
            return &all.v[i];
        }
    }
    for (uint32_t i = 0; name.n > 0 && i < all.n; i++) {
        if (mp_str_eq(mp_str_c(all.v[i].name), name)) {
            return &all.v[i];
        }
    }
    return NULL;
}

int mp_passed_take(const struct mp_addr *addr, struct mp_str name)
{
    struct passed *p = find(addr, name);
    if (p == NULL) {
        return -ENOENT;
    }
    int fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    p->used = true;
    return fd;
}

bool mp_passed_unused(uint32_t i, struct mp_str *ret_name, struct mp_addr *ret_addr)
{
    for (uint32_t k = 0; k < all.n; k++) {
        if (!all.v[k].used && i-- == 0) {
            *ret_name = mp_str_c(all.v[k].name);
            *ret_addr = all.v[k].addr;
            return true;
        }
    }
    return false;
}

void mp_passed_fini(void)
{
    for (uint32_t i = 0; i < all.n; i++) {
        close(all.v[i].fd);
        free(all.v[i].name);
    }
    free(all.v);
    all.v = NULL;
    all.n = 0;
}
