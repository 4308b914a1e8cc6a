/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "kern/state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_MAX   ((size_t)64 << 20)
#define NS_PER_MS  1000000u
#define FIRST_LINE "marchproxy deny list 1\n"

/* Times in the file are of the wall clock, in ms: the monotonic one begins anew with the machine.
 */
static uint64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / NS_PER_MS;
}

static uint64_t to_mono(uint64_t ms, uint64_t now_ms, uint64_t now_ns)
{
    int64_t delta = (int64_t)(ms - now_ms) * (int64_t)NS_PER_MS;
    return delta < 0 && (uint64_t)-delta >= now_ns ? 1 : now_ns + (uint64_t)delta;
}

/* The next number of a line; false: there is none. */
static bool next_u64(char **at, uint64_t *ret)
{
    char *end;
    *ret = strtoull(*at, &end, 10);
    bool found = end != *at;
    *at = end;
    return found;
}

/* deny 1.2.3.4/32 2 1795247412000 1795247000000 3: list, prefix, origin, expiry, since, reason. */
static void read_line(char *line, struct mp_lists *lists, uint64_t now_ms, uint64_t now_ns)
{
    char list[8], prefix[80];
    uint64_t origin, expires, since, reason;
    struct mp_list_entry e = {0};
    int words = 0; /* bytes of the first two */
    if (sscanf(line, "%7s %79s%n", list, prefix, &words) != 2) {
        return;
    }
    char *at = line + words;
    if (!next_u64(&at, &origin) || !next_u64(&at, &expires) || !next_u64(&at, &since) ||
        !next_u64(&at, &reason) || !mp_conf_prefix_parse(prefix, &e.prefix) ||
        (origin & MP_LIST_DYNAMIC) == 0) {
        return; /* a line that was cut by a crash */
    }
    e.origin = (uint32_t)origin & MP_LIST_DYNAMIC;
    e.reason = (uint32_t)reason;
    e.since_ns = to_mono(since, now_ms, now_ns);
    e.expires_ns = expires == 0 ? 0 : to_mono(expires, now_ms, now_ns);
    bool live = expires == 0 || expires > now_ms;
    if (live && mp_is_err(mp_lists_add(lists, strcmp(list, "deny") == 0, &e))) {
        return; /* the list is full */
    }
}

static void read_all(int fd, struct mp_lists *lists, uint64_t now_ns)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size <= 0 || (size_t)st.st_size > FILE_MAX) {
        return;
    }
    char *text = malloc((size_t)st.st_size + 1), *save = NULL;
    ssize_t n = text != NULL ? pread(fd, text, (size_t)st.st_size, 0) : -1;
    if (n > 0) {
        text[n] = '\0';
        uint64_t now_ms = wall_ms();
        for (char *line = strtok_r(text, "\n", &save); line != NULL;
             line = strtok_r(NULL, "\n", &save)) {
            read_line(line, lists, now_ms, now_ns);
        }
    }
    free(text);
}

int mp_state_open(const char *path, struct mp_lists *lists, uint64_t now_ns)
{
    char folder[512];
    snprintf(folder, sizeof(folder), "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash != NULL && slash != folder) {
        *slash = '\0';
        (void)mkdir(folder, 0750);
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0) {
        return -errno;
    }
    read_all(fd, lists, now_ns);
    return fd;
}

struct writing {
    struct mp_sb out;
    uint64_t now_ns, now_ms;
    bool deny;
};

static uint64_t to_wall(const struct writing *w, uint64_t ns)
{
    return w->now_ms + (uint64_t)((int64_t)(ns - w->now_ns) / (int64_t)NS_PER_MS);
}

static void write_entry(void *arg, const struct mp_list_entry *e)
{
    struct writing *w = arg;
    char prefix[MP_PREFIX_TEXT];
    if ((e->origin & MP_LIST_DYNAMIC) == 0) {
        return;
    }
    mp_prefix_format(&e->prefix, prefix);
    mp_sb_printf(&w->out, "%s %s %u %" PRIu64 " %" PRIu64 " %u\n", w->deny ? "deny" : "allow",
                 prefix, e->origin & MP_LIST_DYNAMIC,
                 e->expires_ns == 0 ? 0 : to_wall(w, e->expires_ns), to_wall(w, e->since_ns),
                 e->reason);
}

int mp_state_write(int fd, struct mp_lists *lists, uint64_t now_ns)
{
    struct writing w = {.now_ns = now_ns, .now_ms = wall_ms()};
    int rc = 0;
    mp_sb_init(&w.out, FILE_MAX);
    mp_sb_add_c(&w.out, FIRST_LINE);
    w.deny = true;
    mp_lists_walk(lists, true, write_entry, &w);
    w.deny = false;
    mp_lists_walk(lists, false, write_entry, &w);
    for (size_t at = 0; rc == 0 && at < w.out.n;) {
        ssize_t n = pwrite(fd, w.out.p + at, w.out.n - at, (off_t)at);
        rc = n < 0 && errno != EINTR ? -errno : 0;
        at += n > 0 ? (size_t)n : 0;
    }
    if (rc == 0 && ftruncate(fd, (off_t)w.out.n) < 0) {
        rc = -errno;
    }
    mp_sb_fini(&w.out);
    return rc;
}
