/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "io/open.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "io/addr.h"

static int open_retry(const char *path, int flags, mode_t mode)
{
    int fd;
    do {
        fd = open(path, flags | O_CLOEXEC | O_NOCTTY, mode);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

static bool is_refused(int r)
{
    return (r == -EACCES || r == -EPERM) && mp_open_has_broker();
}

int mp_open_read(const char *path)
{
    int r = open_retry(path, O_RDONLY, 0);
    return is_refused(r) ? mp_broker_open(path, false) : r;
}

int mp_open_append(const char *path)
{
    int r = open_retry(path, O_WRONLY | O_APPEND | O_CREAT, 0640);
    return is_refused(r) ? mp_broker_open(path, true) : r;
}

int mp_open_fifo(const char *path)
{
    int r = open_retry(path, O_WRONLY | O_NONBLOCK, 0);
    if (!is_refused(r)) {
        return r;
    }
    int fd = mp_broker_open(path, true);
    if (fd >= 0 && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

static int connect_datagrams(const struct sockaddr *to, socklen_t n)
{
    int fd = socket(to->sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    if (connect(fd, to, n) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

int mp_open_datagrams(const char *where)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct mp_addr a;
    if (strncmp(where, "unix:/", 6) == 0) {
        size_t n = strlen(where) - 5;
        if (n >= sizeof(un.sun_path)) {
            return -EINVAL;
        }
        memcpy(un.sun_path, where + 5, n);
        return connect_datagrams((const struct sockaddr *)(const void *)&un, sizeof(un));
    }
    if (strncmp(where, "udp:", 4) != 0 || mp_is_err(mp_addr_parse(mp_str_c(where + 4), &a))) {
        return -EINVAL;
    }
    if (a.family == MP_ADDR_IP4) {
        struct sockaddr_in ip4 = {.sin_family = AF_INET, .sin_port = htons(a.port)};
        memcpy(&ip4.sin_addr, a.ip, 4);
        return connect_datagrams((const struct sockaddr *)(const void *)&ip4, sizeof(ip4));
    }
    if (a.family != MP_ADDR_IP6) {
        return -EINVAL;
    }
    struct sockaddr_in6 ip6 = {
        .sin6_family = AF_INET6, .sin6_port = htons(a.port), .sin6_scope_id = a.scope_id};
    memcpy(&ip6.sin6_addr, a.ip, 16);
    return connect_datagrams((const struct sockaddr *)(const void *)&ip6, sizeof(ip6));
}

int mp_open_own_output(int fd)
{
    struct stat st;
    char path[64];
    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    if (!S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode)) {
        return -EINVAL;
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open_retry(path, O_WRONLY | O_NONBLOCK | O_APPEND, 0);
}

/* Reads to the end of file or until max + 1 bytes are there. The size that fstat tells is a first
 * guess only: files of /proc say 0, and a file may grow meanwhile. */
static int read_all(int fd, size_t max, char **ret_p, size_t *ret_n)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    size_t cap = st.st_size > 0 && (uint64_t)st.st_size <= max ? (size_t)st.st_size + 2 : 4096;
    size_t n = 0;
    char *p = malloc(cap);
    while (p && n <= max) {
        if (n + 1 == cap) {
            cap *= 2;
            char *grown = realloc(p, cap);
            if (!grown) {
                free(p);
                abort();
            }
            p = grown;
        }
        ssize_t got = read(fd, p + n, MP_MIN(cap - n - 1, max - n + 1));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            int e = -errno;
            free(p);
            return e;
        }
        if (got == 0) {
            break;
        }
        n += (size_t)got;
    }
    if (!p) {
        abort();
    }
    p[n] = '\0';
    *ret_p = p;
    *ret_n = n;
    return 0;
}

mp_err mp_read_file(const char *path, size_t max, struct mp_str *ret, int *ret_errno)
{
    char *p = NULL;
    size_t n = 0;
    int fd = mp_open_read(path);
    int r = fd < 0 ? fd : read_all(fd, MP_MIN(max, SIZE_MAX / 4), &p, &n);
    if (fd >= 0) {
        close(fd);
    }
    if (r == 0 && n > max) {
        free(p);
        r = -EFBIG;
    }
    if (r < 0) {
        if (ret_errno) {
            *ret_errno = -r;
        }
        return r == -EFBIG ? MP_FAIL(LIMIT) : mp_err_from_errno(-r);
    }
    *ret = mp_str(p, n);
    return MP_OK;
}

int mp_glob(const char *pattern, char **ret_paths, size_t *ret_n)
{
    if (mp_open_has_broker()) {
        return mp_broker_glob(pattern, ret_paths, ret_n);
    }
    glob_t g = {0};
    int r = glob(pattern, GLOB_BRACE, NULL, &g);
    size_t n = 0;
    if (r != 0 && r != GLOB_NOMATCH) {
        return -EIO;
    }
    for (size_t i = 0; r == 0 && i < g.gl_pathc; i++) {
        n += strlen(g.gl_pathv[i]) + 1;
    }
    char *p = malloc(n + 1);
    if (!p) {
        abort();
    }
    *ret_paths = p;
    *ret_n = n;
    for (size_t i = 0; r == 0 && i < g.gl_pathc; i++) {
        p = stpcpy(p, g.gl_pathv[i]) + 1;
    }
    if (r == 0) {
        globfree(&g);
    }
    return 0;
}

int mp_fd_dup(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return copy < 0 ? -errno : copy;
}
