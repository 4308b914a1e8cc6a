/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "proxy/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "conf/load.h"
#include "io/broker.h"
#include "io/open.h"
#include "proxy/broker_names.h"
#include "proxy/config.h"
#include "proxy/options.h"
#include "proxy/parts.h"
#include "proxy/privs.h"
#include "proxy/safe_open.h"

/* Files of root, files given away, ports, and acting for the data process's user. */
#define BROKER_CAPS                                                                     \
    ((1ull << CAP_DAC_OVERRIDE) | (1ull << CAP_DAC_READ_SEARCH) | (1ull << CAP_CHOWN) | \
     (1ull << CAP_SETUID) | (1ull << CAP_SETGID) | (1ull << CAP_NET_BIND_SERVICE))

struct broker {
    const struct mp_broker_opts *opts;
    struct mp_broker_names names;
    int fd;
    struct mp_broker_request rq;
    struct mp_broker_answer answer;
};

/* ---- names ---- */

static void take_name(void *arg, struct mp_str path, enum mp_conf_named_kind kind)
{
    mp_broker_names_add_path(arg, path, kind);
    mp_parts_name(NULL, path, kind);
}

/* Also of a file that is refused: who names a file is the one who writes the configuration. */
static void read_names(struct broker *b)
{
    struct mp_conf_names names = {take_name, &b->names};
    struct mp_diag diag;
    struct mp_conf *conf;
    b->names.reading++;
    mp_parts_begin();
    take_name(&b->names, mp_str_c(b->opts->options->config), MP_NAMED_READ);
    mp_diag_init(&diag, NULL);
    if (!mp_is_err(mp_config_load_named(b->opts->options, &names, &diag, &conf))) {
        mp_broker_names_add_addrs(&b->names, conf);
        mp_conf_free(conf);
    }
    mp_parts_end();
    mp_diag_fini(&diag);
}

/* ---- requests ---- */

static int open_plain(const char *path, bool append)
{
    int fd =
        append ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640)
               : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        return -errno;
    }
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    return fd;
}

/* First as the data process's user, who may do what he likes with his own; what only root may open
 * has to lie where only root writes. */
static int open_file(const struct broker *b, const char *path, bool append)
{
    if (!b->opts->root) {
        return open_plain(path, append);
    }
    if (setegid(b->opts->gid) < 0 || seteuid(b->opts->uid) < 0) {
        return -errno;
    }
    int fd = open_plain(path, append);
    if (seteuid(0) < 0 || setegid(0) < 0) {
        _exit(1); /* not who we think we are */
    }
    return fd == -EACCES ? mp_safe_open(path, append, b->opts->uid, b->opts->gid) : fd;
}

static int find_files(struct broker *b, const char *pattern)
{
    char *paths;
    size_t n;
    int r = mp_glob(pattern, &paths, &n);
    if (r < 0) {
        return r;
    }
    bool fits = n <= sizeof(b->answer.bytes);
    if (fits) {
        memcpy(b->answer.bytes, paths, n);
        b->answer.n = (uint32_t)n;
    }
    free(paths);
    return fits ? 0 : -E2BIG;
}

static void refuse(const char *what, const char *name)
{
    mp_log(MP_LOG_WARNING, "the broker refuses what the configuration does not name",
           kv_c("request", what), kv_c("name", name));
}

static int handle_path(struct broker *b, enum mp_conf_named_kind kind, int *ret_fd)
{
    char path[PATH_MAX];
    if (b->rq.n == 0 || b->rq.n >= sizeof(path) || memchr(b->rq.bytes, '\0', b->rq.n) != NULL) {
        return -EINVAL;
    }
    memcpy(path, b->rq.bytes, b->rq.n);
    path[b->rq.n] = '\0';
    if (!mp_broker_names_has_path(&b->names, path, kind)) {
        refuse(kind == MP_NAMED_READ ? "read" : kind == MP_NAMED_APPEND ? "append" : "glob", path);
        return -EACCES;
    }
    if (kind == MP_NAMED_GLOB) {
        return find_files(b, path);
    }
    int fd = open_file(b, path, kind == MP_NAMED_APPEND);
    if (fd < 0) {
        return fd;
    }
    *ret_fd = fd;
    return 0;
}

static int handle_bind(struct broker *b, int passed)
{
    struct sockaddr_storage ss = {0};
    if (passed < 0 || b->rq.n < sizeof(sa_family_t) || b->rq.n > sizeof(ss)) {
        return -EINVAL;
    }
    memcpy(&ss, b->rq.bytes, b->rq.n);
    if (!mp_broker_names_has_addr(&b->names, (const struct sockaddr *)&ss, b->rq.n)) {
        refuse("bind", "an address");
        return -EACCES;
    }
    return bind(passed, (const struct sockaddr *)&ss, b->rq.n) < 0 ? -errno : 0;
}

static int handle(struct broker *b, int passed, int *ret_fd)
{
    switch ((enum mp_broker_op)b->rq.op) {
    case MP_BROKER_READ:
        return handle_path(b, MP_NAMED_READ, ret_fd);
    case MP_BROKER_APPEND:
        return handle_path(b, MP_NAMED_APPEND, ret_fd);
    case MP_BROKER_GLOB:
        return handle_path(b, MP_NAMED_GLOB, ret_fd);
    case MP_BROKER_BIND:
        return handle_bind(b, passed);
    case MP_BROKER_REFRESH:
        read_names(b);
        return 0;
    case MP_BROKER_STATE: {
        struct mp_parts_state s;
        mp_parts_look(&s);
        memcpy(b->answer.bytes, &s, sizeof(s));
        b->answer.n = sizeof(s);
        return 0;
    }
    case MP_BROKER_COMMIT:
        mp_broker_names_commit(&b->names);
        return 0;
    }
    return -EINVAL;
}

/* ---- packets ---- */

/* False: the data process has ended. */
static bool receive(struct broker *b, int *ret_fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = &b->rq, .iov_len = sizeof(b->rq)};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof(control.bytes)};
    ssize_t n;
    do {
        n = recvmsg(b->fd, &m, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    *ret_fd = -1;
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
    if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
    }
    if (n <= 0) {
        return false;
    }
    if (n < (ssize_t)offsetof(struct mp_broker_request, bytes) ||
        b->rq.n != (size_t)n - offsetof(struct mp_broker_request, bytes)) {
        b->rq.op = 0; /* answered with EINVAL */
    }
    return true;
}

static void answer(struct broker *b, int fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = &b->answer,
                        .iov_len = offsetof(struct mp_broker_answer, bytes) + b->answer.n};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        m.msg_control = control.bytes;
        m.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
    }
    ssize_t n;
    do {
        n = sendmsg(b->fd, &m, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
}

static void serve(struct broker *b)
{
    int passed;
    read_names(b);
    while (receive(b, &passed)) {
        int fd = -1;
        b->answer.n = 0;
        b->answer.result = handle(b, passed, &fd);
        answer(b, fd);
        if (fd >= 0) {
            close(fd);
        }
        if (passed >= 0) {
            close(passed);
        }
    }
}

/* ---- the process ---- */

/* Standard error stays, for the log. */
static void close_others(int keep)
{
    if (keep > 3) {
        (void)close_range(3, (unsigned)keep - 1, 0);
    }
    (void)close_range((unsigned)keep + 1, ~0u, 0);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        (void)dup2(null, STDIN_FILENO);
        (void)dup2(null, STDOUT_FILENO);
        close(null);
    }
}

static _Noreturn void run(const struct mp_broker_opts *opts, int fd)
{
    /* Signals of a terminal or a service manager go to all processes; we end after the last
     * request, with the data process. */
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE};
    for (size_t i = 0; i < MP_COUNTOF(ignored); i++) {
        signal(ignored[i], SIG_IGN);
    }
    (void)prctl(PR_SET_NAME, "mproxy-broker");
    close_others(fd);
    if (opts->root && (setgroups(0, NULL) < 0 || !mp_privs_limit_caps(BROKER_CAPS))) {
        mp_log(MP_LOG_ERROR, "the broker cannot give up rights", kv_c("error", strerror(errno)));
        _exit(1);
    }
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    struct broker *b = calloc(1, sizeof(*b));
    if (b == NULL) {
        _exit(1);
    }
    b->opts = opts;
    b->fd = fd;
    serve(b);
    _exit(0);
}

mp_err mp_broker_start(const struct mp_broker_opts *opts)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        return mp_err_from_errno(errno);
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(pair[0]);
        run(opts, pair[1]);
    }
    int err = errno;
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return mp_err_from_errno(err);
    }
    mp_open_set_broker(pair[0]);
    return MP_OK;
}
