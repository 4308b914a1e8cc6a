/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "proxy/watch.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/str.h"

#define EVENTS \
    (IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_MOVE_SELF | IN_DELETE_SELF | IN_ONLYDIR)

/* Another file, or another state of it. False also while there is none: the next event will tell.
 */
static bool look(struct mp_watch *w)
{
    struct stat now;
    if (stat(w->path, &now) < 0) {
        return false;
    }
    const struct stat *s = &w->seen;
    bool same = w->there && s->st_dev == now.st_dev && s->st_ino == now.st_ino &&
                s->st_size == now.st_size && s->st_mtim.tv_sec == now.st_mtim.tv_sec &&
                s->st_mtim.tv_nsec == now.st_mtim.tv_nsec &&
                s->st_ctim.tv_sec == now.st_ctim.tv_sec &&
                s->st_ctim.tv_nsec == now.st_ctim.tv_nsec;
    w->seen = now;
    w->there = true;
    return !same;
}

static void wait_quiet(struct mp_watch *w)
{
    uint64_t now = mp_loop_now_ms(w->loop);
    w->first_ms = w->first_ms != 0 ? w->first_ms : now;
    uint64_t latest = w->first_ms + MP_WATCH_LATEST_MS;
    mp_timer_in(w->loop, &w->timer, latest > now ? MP_MIN(MP_WATCH_QUIET_MS, latest - now) : 0);
}

static bool watch_folder(struct mp_watch *w)
{
    w->wd = inotify_add_watch(w->io.fd, w->folder, EVENTS);
    return w->wd >= 0;
}

static void on_timer(struct mp_timer *t)
{
    struct mp_watch *w = MP_CONTAINER_OF(t, struct mp_watch, timer);
    w->first_ms = 0;
    if (w->wd < 0 && !watch_folder(w)) {
        mp_timer_in(w->loop, &w->timer, MP_WATCH_RETRY_MS);
        return;
    }
    if (look(w)) {
        w->changed(w->arg);
    }
}

/* The folder was moved or removed; another one may come in its place. */
static void lose_folder(struct mp_watch *w)
{
    if (w->wd >= 0) {
        mp_log(MP_LOG_WARNING, "the folder of the configuration has gone, waiting for it",
               kv_c("folder", w->folder));
        (void)inotify_rm_watch(w->io.fd, w->wd);
    }
    w->wd = -1;
    mp_timer_in(w->loop, &w->timer, MP_WATCH_QUIET_MS);
}

/* A file that has only been created is not whole yet, its end will be told; a symbolic link is. */
static bool is_symlink(const struct mp_watch *w, const struct inotify_event *e)
{
    char path[PATH_MAX];
    struct stat st;
    int n = snprintf(path, sizeof(path), "%s/%s", w->folder, e->len > 0 ? e->name : "");
    return n > 0 && (size_t)n < sizeof(path) && lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

static void on_event(struct mp_watch *w, const struct inotify_event *e)
{
    if (e->mask & IN_Q_OVERFLOW) {
        wait_quiet(w);
        return;
    }
    if (e->wd != w->wd) {
        return; /* of a watch that has been given up */
    }
    if (e->mask & (IN_IGNORED | IN_MOVE_SELF | IN_DELETE_SELF | IN_UNMOUNT)) {
        lose_folder(w);
        return;
    }
    if ((e->mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) || is_symlink(w, e)) {
        wait_quiet(w);
    }
}

static void on_ready(struct mp_io *io, unsigned events)
{
    struct mp_watch *w = MP_CONTAINER_OF(io, struct mp_watch, io);
    char buf[8192] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n;
    (void)events;
    while ((n = read(w->io.fd, buf, sizeof(buf))) > 0 || (n < 0 && errno == EINTR)) {
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const struct inotify_event *)(const void *)(buf + at);
            at += (ssize_t)(sizeof(*e) + e->len);
            on_event(w, e);
        }
    }
}

void mp_watch_init(struct mp_watch *w, const char *path)
{
    *w = (struct mp_watch){.wd = -1};
    w->io.fd = -1;
    w->path = mp_str_dup_c(mp_str_c(path));
    const char *slash = strrchr(path, '/');
    struct mp_str folder =
        slash == NULL ? MP_STR(".") : mp_str(path, MP_MAX((size_t)(slash - path), 1));
    w->folder = mp_str_dup_c(folder);
    mp_timer_init(&w->timer, on_timer);
    (void)look(w);
}

mp_err mp_watch_open(struct mp_watch *w, struct mp_loop *l, void (*changed)(void *arg), void *arg)
{
    w->loop = l;
    w->changed = changed;
    w->arg = arg;
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0) {
        w->loop = NULL;
        return mp_err_from_errno(errno);
    }
    w->io.fd = fd;
    if (!watch_folder(w)) {
        int err = errno;
        w->io.fd = -1;
        w->loop = NULL;
        close(fd);
        return mp_err_from_errno(err);
    }
    w->io.fd = -1;
    mp_err e = mp_io_open(l, &w->io, fd, on_ready);
    if (mp_is_err(e)) {
        w->loop = NULL;
        close(fd);
        return e;
    }
    wait_quiet(w);
    return MP_OK;
}

void mp_watch_close(struct mp_watch *w)
{
    if (w->loop != NULL) {
        mp_wheel_remove(mp_loop_wheel(w->loop), &w->timer);
        mp_io_close(w->loop, &w->io);
    }
    free(w->path);
    free(w->folder);
    w->path = w->folder = NULL;
}
