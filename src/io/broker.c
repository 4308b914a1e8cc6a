/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The data process's side of the broker. */
#include "io/broker.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/open.h"

static int broker_fd = -1; /* written once, before there are threads */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void mp_open_set_broker(int fd)
{
    broker_fd = fd;
}

bool mp_open_has_broker(void)
{
    return broker_fd >= 0;
}

static int send_request(const struct mp_broker_request *rq, int pass_fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)rq,
                        .iov_len = offsetof(struct mp_broker_request, bytes) + rq->n};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (pass_fd >= 0) {
        m.msg_control = control.bytes;
        m.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &pass_fd, sizeof(int));
    }
    ssize_t n;
    do {
        n = sendmsg(broker_fd, &m, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* *ret_fd: the descriptor that came along, or -1. */
static int receive(struct mp_broker_answer *a, int *ret_fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = a, .iov_len = sizeof(*a)};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof(control.bytes)};
    ssize_t n;
    do {
        n = recvmsg(broker_fd, &m, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
    *ret_fd = -1;
    if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
    }
    if (n < (ssize_t)offsetof(struct mp_broker_answer, bytes) ||
        a->n != (size_t)n - offsetof(struct mp_broker_answer, bytes)) {
        return -EPIPE; /* the broker has ended */
    }
    return a->result;
}

/* answer may be NULL. */
static int call(enum mp_broker_op op, const void *bytes, size_t n, int pass_fd, int *ret_fd,
                struct mp_broker_answer *answer)
{
    struct mp_broker_request rq = {.op = op, .n = (uint32_t)n};
    int fd = -1;
    if (broker_fd < 0) {
        return -EACCES;
    }
    if (n > sizeof(rq.bytes)) {
        return -ENAMETOOLONG;
    }
    memcpy(rq.bytes, bytes, n);
    struct mp_broker_answer *a = answer != NULL ? answer : mp_xmalloc(sizeof(*a));
    pthread_mutex_lock(&lock);
    int r = send_request(&rq, pass_fd);
    if (r == 0) {
        r = receive(a, &fd);
    }
    pthread_mutex_unlock(&lock);
    if (answer == NULL) {
        free(a);
    }
    if (fd >= 0 && (r < 0 || ret_fd == NULL)) {
        close(fd);
        fd = -1;
    }
    if (ret_fd != NULL) {
        *ret_fd = fd;
        return r == 0 && fd < 0 ? -EPIPE : r;
    }
    return r;
}

int mp_broker_open(const char *path, bool append)
{
    int fd;
    int r = call(append ? MP_BROKER_APPEND : MP_BROKER_READ, path, strlen(path), -1, &fd, NULL);
    return r < 0 ? r : fd;
}

int mp_broker_bind(int fd, const struct sockaddr *addr, size_t n)
{
    return call(MP_BROKER_BIND, addr, n, fd, NULL, NULL);
}

int mp_broker_glob(const char *pattern, char **ret_paths, size_t *ret_n)
{
    struct mp_broker_answer *a = mp_xmalloc(sizeof(*a));
    int r = call(MP_BROKER_GLOB, pattern, strlen(pattern), -1, NULL, a);
    if (r == 0 && a->n > 0 && a->bytes[a->n - 1] != '\0') {
        r = -EPIPE;
    }
    if (r == 0) {
        *ret_paths = mp_xmalloc((size_t)a->n + 1);
        memcpy(*ret_paths, a->bytes, a->n);
        *ret_n = a->n;
    }
    free(a);
    return r;
}

int mp_broker_state(void *ret, size_t n)
{
    struct mp_broker_answer *a = mp_xmalloc(sizeof(*a));
    int r = call(MP_BROKER_STATE, "", 0, -1, NULL, a);
    if (r == 0 && a->n != n) {
        r = -EPIPE;
    }
    if (r == 0) {
        memcpy(ret, a->bytes, n);
    }
    free(a);
    return r;
}

void mp_broker_refresh(void)
{
    (void)call(MP_BROKER_REFRESH, "", 0, -1, NULL, NULL);
}

void mp_broker_commit(void)
{
    (void)call(MP_BROKER_COMMIT, "", 0, -1, NULL, NULL);
}
