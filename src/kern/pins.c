/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "kern/pins.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "bpf/shared/guard.h"

#define USUAL_PLACE   "/sys/fs/bpf"
#define BPF_FS_NUMBER 0xcafe4a11u

static bool is_bpf_fs(const char *path)
{
    struct statfs s;
    return statfs(path, &s) == 0 && (unsigned)s.f_type == BPF_FS_NUMBER;
}

/* Each folder on the way; those that are there are left alone. */
static bool make_folders(char *path)
{
    for (char *p = path + 1; *p != '\0'; p++) {
        if (*p == '/') {
            *p = '\0';
            int rc = mkdir(path, 0700);
            *p = '/';
            if (rc < 0 && errno != EEXIST) {
                return false;
            }
        }
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

bool mp_pins_open(const char *base, char dir[MP_PIN_PATH_MAX], const char **ret_why)
{
    size_t n = sizeof(USUAL_PLACE) - 1;
    int size = snprintf(dir, MP_PIN_PATH_MAX, "%s/v%d", base, MP_GUARD_ABI);
    if (size < 0 || size >= MP_PIN_PATH_MAX) {
        *ret_why = "pin_path is too long";
        return false;
    }
    if (strncmp(base, USUAL_PLACE, n) == 0 && (base[n] == '/' || base[n] == '\0') &&
        !is_bpf_fs(USUAL_PLACE)) {
        (void)mount("bpf", USUAL_PLACE, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700");
    }
    if (!make_folders(dir)) {
        *ret_why = strerror(errno);
        return false;
    }
    if (!is_bpf_fs(dir)) {
        (void)rmdir(dir);
        *ret_why = "it is in no BPF file system (mount -t bpf bpf /sys/fs/bpf)";
        return false;
    }
    return true;
}

bool mp_pins_path(const char *dir, const char *name, char out[MP_PIN_PATH_MAX])
{
    int n = snprintf(out, MP_PIN_PATH_MAX, "%s/%s", dir, name);
    /* A dot has a meaning of its own there, and names of interfaces have them. */
    for (char *p = n > 0 && n < MP_PIN_PATH_MAX ? strrchr(out, '/') : NULL; p != NULL && *p; p++) {
        *p = *p == '.' ? ':' : *p;
    }
    return n > 0 && n < MP_PIN_PATH_MAX;
}

void mp_pins_close(const char *dir)
{
    char parent[MP_PIN_PATH_MAX];
    snprintf(parent, sizeof(parent), "%s", dir);
    (void)rmdir(dir);
    char *slash = strrchr(parent, '/');
    if (slash != NULL) {
        *slash = '\0';
        (void)rmdir(parent);
    }
}
