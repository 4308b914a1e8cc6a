/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Access log lines as datagrams of RFC 5424, to a Unix socket or over UDP. The writer's thread
 * never waits: a full receiver is tried again later, one that is gone is connected to again, at
 * most once a second. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "core/access_log_int.h"
#include "core/civil.h"
#include "io/open.h"

#define SEVERITY_INFO 6
#define RETRY_MS      1000

/* A host name as a field of the line: no blanks, something at all. */
static void host_name(char out[256])
{
    if (gethostname(out, 256) != 0 || out[0] == '\0') {
        strcpy(out, "-");
    }
    out[255] = '\0';
    for (char *p = out; *p != '\0'; p++) {
        *p = *p <= ' ' || *p >= 0x7f ? '_' : *p;
    }
}

void mp_alog_syslog_prepare(struct alog_sink *k, const struct mp_conf_alog *conf)
{
    char host[256];
    host_name(host);
    snprintf(k->syslog.head, sizeof(k->syslog.head), "<%u>1 ",
             (conf->facility * 8u + SEVERITY_INFO) & 0xff);
    snprintf(k->syslog.tail, sizeof(k->syslog.tail), " %s " MP_STR_FMT " %d - - ", host,
             MP_STR_ARG(conf->app_name), (int)getpid());
}

int mp_alog_syslog_open(const struct alog_sink *k)
{
    /* The path is the address and what tells two outputs apart. */
    char address[256];
    snprintf(address, sizeof(address), "%.*s", (int)strcspn(k->path, " "), k->path);
    return mp_open_datagrams(address);
}

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static int send_once(struct alog_sink *k, const char *line, size_t n)
{
    char stamp[MP_RFC3339_MS_SIZE];
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    mp_rfc3339_ms((uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec, stamp);
    struct iovec iov[] = {{k->syslog.head, strlen(k->syslog.head)},
                          {stamp, sizeof(stamp)},
                          {k->syslog.tail, strlen(k->syslog.tail)},
                          {(void *)(uintptr_t)line, n}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = MP_COUNTOF(iov)};
    for (;;) {
        if (sendmsg(k->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
            return 0;
        }
        if (errno != EINTR) {
            return -errno;
        }
    }
}

int mp_alog_syslog_send(struct alog_sink *k, const char *line, size_t n)
{
    int r = k->fd >= 0 ? send_once(k, line, n) : -ENOTCONN;
    if (r == 0 || r == -EAGAIN || r == -ENOBUFS || r == -EMSGSIZE ||
        now_ms() < k->syslog.retry_ms) {
        return r;
    }
    k->syslog.retry_ms = now_ms() + RETRY_MS;
    int fd = mp_alog_syslog_open(k);
    if (fd < 0) {
        return r;
    }
    if (k->fd >= 0) {
        close(k->fd);
    }
    k->fd = fd;
    return send_once(k, line, n);
}
