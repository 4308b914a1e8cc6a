/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Notices that a file has another content: written in place, replaced by rename, or reached through
 * a symbolic link that was swapped (Kubernetes mounts swap "..data"). The folder is watched, and
 * what counts is whether the path now leads to another file or state of it.
 */
#pragma once
#include <stdbool.h>
#include <sys/stat.h>
#include "base/err.h"
#include "io/loop.h"

/* Changes are told when nothing has happened for this long, but at most WATCH_LATEST after the
 * first. */
#define MP_WATCH_QUIET_MS  50
#define MP_WATCH_LATEST_MS 1000
#define MP_WATCH_RETRY_MS  1000 /* between attempts while the folder is not there */

struct mp_watch {
    struct mp_io io;
    struct mp_loop *loop;
    char *path, *folder;
    int wd; /* -1: the folder is not watched */
    struct stat seen;
    bool there;
    uint64_t first_ms; /* of a burst; 0: none under way */
    struct mp_timer timer;
    void (*changed)(void *arg);
    void *arg;
};

/* Remembers the state of the file as it is now: before it is read for the first time. */
void mp_watch_init(struct mp_watch *w, const char *path);
/* Begins. changed runs also for what has happened since init. */
MP_MUST_USE mp_err mp_watch_open(struct mp_watch *w, struct mp_loop *l, void (*changed)(void *arg),
                                 void *arg);
/* After init, opened or not. */
void mp_watch_close(struct mp_watch *w);
