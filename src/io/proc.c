/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "io/proc.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "io/open.h"

#define TEXT_MAX ((size_t)64 * 1024)

static char *read_text(const char *path)
{
    struct mp_str text;
    int errnum;
    return mp_is_err(mp_read_file(path, TEXT_MAX, &text, &errnum)) ? NULL
                                                                   : (char *)(uintptr_t)text.p;
}

uint64_t mp_proc_resident_bytes(void)
{
    char *text = read_text("/proc/self/statm");
    /* Pages: all, then those in memory. */
    const char *second = text != NULL ? strchr(text, ' ') : NULL;
    uint64_t resident = second != NULL ? strtoull(second, NULL, 10) : 0;
    free(text);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t machine_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
}

/* The number in a file such as memory.max; UINT64_MAX: no limit, or no such file. */
static uint64_t limit_in(const char *path)
{
    char *text = read_text(path);
    char *end = text;
    uint64_t v = text != NULL ? strtoull(text, &end, 10) : 0; /* "max": no digits */
    bool found = end != text;
    free(text);
    return found ? v : UINT64_MAX;
}

/* A group is also bound by those above it. path: as in /proc/self/cgroup; is shortened. */
static uint64_t group_limit(const char *mount, const char *file, char *path)
{
    uint64_t min = UINT64_MAX;
    for (;;) {
        char full[1024];
        snprintf(full, sizeof(full), "%s%s/%s", mount, path, file);
        uint64_t v = limit_in(full);
        min = MP_MIN(min, v);
        char *slash = strrchr(path, '/');
        if (slash == NULL) {
            return min;
        }
        *slash = '\0';
    }
}

uint64_t mp_proc_memory_limit(void)
{
    uint64_t limit = machine_memory();
    char *groups = read_text("/proc/self/cgroup");
    char *rest = groups, *line;
    while (rest != NULL && (line = strsep(&rest, "\n")) != NULL) {
        /* "0::/path" (version 2), "9:memory:/path" (version 1) */
        char *controllers = strchr(line, ':');
        char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (path == NULL) {
            continue;
        }
        *path++ = '\0';
        uint64_t v = UINT64_MAX;
        if (controllers[1] == '\0') {
            v = group_limit("/sys/fs/cgroup", "memory.max", path);
        } else if (strcmp(controllers + 1, "memory") == 0) {
            v = group_limit("/sys/fs/cgroup/memory", "memory.limit_in_bytes", path);
        }
        limit = limit == 0 || v < limit ? v : limit;
    }
    free(groups);
    return limit == UINT64_MAX ? 0 : limit;
}

static uint64_t count_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    uint64_t n = 0;
    if (d == NULL) {
        return 0;
    }
    while (readdir(d) != NULL) {
        n++;
    }
    closedir(d);
    return n > 3 ? n - 3 : 0; /* two dots, and the one that reads */
}

uint64_t mp_proc_descriptors(void)
{
    struct stat st;
    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0) {
        return (uint64_t)st.st_size; /* since Linux 6.2 */
    }
    return count_descriptors();
}
