/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "proxy/service.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "core/engine.h"
#include "io/passed.h"

#define FIRST_FD 3
#define FDS_MAX  1024

static struct {
    int fd; /* connected to NOTIFY_SOCKET; -1: nobody listens */
    uint64_t watchdog_us;
    struct mp_timer timer;
    struct mp_engine *engine;
    bool asking; /* workers have been asked and not all have answered */
} service = {.fd = -1};

/* ---- the environment ---- */

static bool env_number(const char *name, uint64_t *ret)
{
    const char *text = getenv(name);
    return text != NULL && !mp_is_err(mp_str_to_u64(mp_str_c(text), ret));
}

/* LISTEN_PID and WATCHDOG_PID: meant for us, and not for a parent that did not clean up. */
static bool is_for_us(const char *name, bool if_absent)
{
    uint64_t pid;
    if (getenv(name) == NULL) {
        return if_absent;
    }
    return env_number(name, &pid) && pid == (uint64_t)getpid();
}

static void open_notify(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    size_t n = path != NULL ? strlen(path) : 0;
    if (n == 0 || n >= sizeof(sa.sun_path) || (path[0] != '/' && path[0] != '@')) {
        return;
    }
    memcpy(sa.sun_path, path, n);
    if (path[0] == '@') {
        sa.sun_path[0] = '\0';
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&sa, size) < 0) {
        mp_log(MP_LOG_WARNING, "the service manager does not listen", kv_c("socket", path),
               kv_c("error", strerror(errno)));
        close(fd);
        fd = -1;
    }
    service.fd = fd;
}

void mp_service_init(void)
{
    static const char *const names[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
                                        "LISTEN_FDS",    "LISTEN_PID",    "LISTEN_FDNAMES"};
    uint64_t n;
    open_notify(getenv("NOTIFY_SOCKET"));
    if (service.fd >= 0 && is_for_us("WATCHDOG_PID", true)) {
        (void)env_number("WATCHDOG_USEC", &service.watchdog_us);
    }
    if (is_for_us("LISTEN_PID", false) && env_number("LISTEN_FDS", &n) && n > 0 && n <= FDS_MAX) {
        uint32_t usable = mp_passed_init(FIRST_FD, (uint32_t)n, getenv("LISTEN_FDNAMES"));
        mp_log(usable == n ? MP_LOG_INFO : MP_LOG_WARNING, "sockets were passed",
               kv_u64("sockets", n), kv_u64("usable", usable));
    }
    for (size_t i = 0; i < MP_COUNTOF(names); i++) {
        (void)unsetenv(names[i]);
    }
}

void mp_service_fini(void)
{
    if (service.fd >= 0) {
        close(service.fd);
    }
    service.fd = -1;
    mp_passed_fini();
}

void mp_service_check_sockets(void)
{
    struct mp_str name;
    struct mp_addr addr;
    for (uint32_t i = 0; mp_passed_unused(i, &name, &addr); i++) {
        char text[MP_ADDR_TEXT_MAX];
        mp_addr_format(&addr, text);
        mp_log(MP_LOG_WARNING, "no listener has the address of a passed socket",
               kv_str("name", name), kv_c("address", text));
    }
}

/* ---- messages ---- */

/* A manager that does not read must not hold us up. */
static void notify(const char *text)
{
    if (service.fd >= 0 && send(service.fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
        errno != EAGAIN) {
        mp_log(MP_LOG_WARNING, "the service manager cannot be told",
               kv_c("error", strerror(errno)));
    }
}

void mp_service_ready(const char *status)
{
    char text[256];
    snprintf(text, sizeof(text), "READY=1\nSTATUS=%s", status);
    notify(text);
}

void mp_service_reloading(void)
{
    struct timespec ts;
    char text[128];
    clock_gettime(CLOCK_MONOTONIC, &ts);
    snprintf(text, sizeof(text),
             "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=reading the configuration",
             (unsigned long long)ts.tv_sec * 1000000 + (unsigned long long)ts.tv_nsec / 1000);
    notify(text);
}

void mp_service_stopping(const char *status)
{
    char text[256];
    snprintf(text, sizeof(text), "STOPPING=1\nSTATUS=%s", status);
    notify(text);
}

/* ---- watchdog ---- */

static void answer(struct mp_core_worker *cw, void *arg)
{
    (void)cw;
    (void)arg;
}

static void all_answered(void *arg)
{
    (void)arg;
    service.asking = false;
    notify("WATCHDOG=1");
}

/* A third of the time that we have, so that one turn may be late. */
static void arm(void)
{
    uint64_t ms = service.watchdog_us / 3000;
    mp_timer_in(service.engine->opts.main_loop, &service.timer, ms > 0 ? ms : 1);
}

static void on_timer(struct mp_timer *t)
{
    (void)t;
    arm();
    if (!service.asking) {
        service.asking = true;
        mp_engine_for_each_worker(service.engine, answer, all_answered, NULL);
    }
}

void mp_service_watch(struct mp_engine *e)
{
    if (service.watchdog_us == 0) {
        return;
    }
    service.engine = e;
    mp_timer_init(&service.timer, on_timer);
    arm();
}

void mp_service_unwatch(struct mp_engine *e)
{
    if (service.engine != NULL) {
        mp_wheel_remove(mp_loop_wheel(e->opts.main_loop), &service.timer);
        service.engine = NULL;
    }
}
