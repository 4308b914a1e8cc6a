/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "proxy/safe_open.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 16

/* The way that is left to go. */
struct walk {
    int dir;
    unsigned links;
    bool shared; /* dir is like /tmp: others may write, but not move what is not theirs */
    char rest[PATH_MAX];
};

/* Nobody but root can have made or moved what lies in the folder; or it is shared. */
static int judge(struct walk *w)
{
    struct stat st;
    if (fstat(w->dir, &st) < 0) {
        return -errno;
    }
    bool others = (st.st_mode & (S_IWGRP | S_IWOTH)) != 0;
    w->shared = others && (st.st_mode & S_ISVTX) != 0;
    return st.st_uid == geteuid() && (!others || w->shared) ? 0 : -EPERM;
}

static int enter(struct walk *w, const char *name)
{
    int fd = openat(w->dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    close(w->dir);
    w->dir = fd;
    return judge(w);
}

static int start(struct walk *w, bool absolute)
{
    if (w->dir >= 0) {
        close(w->dir);
    }
    w->dir = open(absolute ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (w->dir < 0) {
        return -errno;
    }
    return judge(w);
}

/* Puts the link's target in front of the rest. */
static int follow(struct walk *w, const char *name, const char *rest)
{
    char target[PATH_MAX], joined[PATH_MAX];
    if (++w->links > LINKS_MAX) {
        return -ELOOP;
    }
    ssize_t n = readlinkat(w->dir, name, target, sizeof(target) - 1);
    if (n < 0) {
        return -errno;
    }
    target[n] = '\0';
    int len = snprintf(joined, sizeof(joined), "%s%s%s", target, rest[0] != '\0' ? "/" : "", rest);
    if (len < 0 || (size_t)len >= sizeof(joined)) {
        return -ENAMETOOLONG;
    }
    memcpy(w->rest, joined, (size_t)len + 1);
    return target[0] == '/' ? start(w, true) : 0;
}

static int open_last(struct walk *w, const char *name, bool append, uid_t uid, gid_t gid)
{
    int flags = O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int fd = openat(w->dir, name, flags | (append ? O_WRONLY | O_APPEND : O_RDONLY));
    if (fd < 0 && errno == ENOENT && append) {
        fd = openat(w->dir, name, flags | O_WRONLY | O_APPEND | O_CREAT | O_EXCL, 0640);
        if (fd >= 0 && fchown(fd, uid, gid) < 0) {
            int err = errno;
            close(fd);
            return -err;
        }
    }
    struct stat st;
    if (fd < 0) {
        return -errno;
    }
    /* A second name of a file might lie elsewhere. */
    if (fstat(fd, &st) < 0 || !(S_ISREG(st.st_mode) || (append && S_ISFIFO(st.st_mode))) ||
        (append && st.st_nlink > 1)) {
        close(fd);
        return -ENXIO;
    }
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    return fd;
}

/* One component; 1: go on, else the result. */
static int step(struct walk *w, bool append, uid_t uid, gid_t gid)
{
    char name[NAME_MAX + 1];
    struct stat st;
    const char *p = w->rest + strspn(w->rest, "/");
    size_t n = strcspn(p, "/");
    if (n == 0) {
        return -EISDIR;
    }
    if (n > NAME_MAX) {
        return -ENAMETOOLONG;
    }
    memcpy(name, p, n);
    name[n] = '\0';
    const char *rest = p + n + strspn(p + n, "/");
    bool there = fstatat(w->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (!there && (errno != ENOENT || rest[0] != '\0')) {
        return -errno;
    }
    int r;
    if (w->shared && (rest[0] == '\0' || (there && !S_ISDIR(st.st_mode)))) {
        return -EPERM; /* only folders of root's are beyond doubt there */
    }
    if (there && S_ISLNK(st.st_mode)) {
        r = follow(w, name, rest);
        return r < 0 ? r : 1;
    }
    if (rest[0] == '\0') {
        return open_last(w, name, append, uid, gid);
    }
    r = enter(w, name);
    memmove(w->rest, rest, strlen(rest) + 1);
    return r < 0 ? r : 1;
}

int mp_safe_open(const char *path, bool append, uid_t uid, gid_t gid)
{
    struct walk w = {.dir = -1};
    if (strlen(path) >= sizeof(w.rest)) {
        return -ENAMETOOLONG;
    }
    strcpy(w.rest, path);
    int r = start(&w, path[0] == '/');
    if (r == 0) {
        do {
            r = step(&w, append, uid, gid);
        } while (r == 1 && w.dir >= 0);
    }
    if (w.dir >= 0) {
        close(w.dir);
    }
    return r;
}
