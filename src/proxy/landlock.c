/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Landlock: which files the data process may touch by itself. Everything else that a configuration
 * names comes from the broker as an open descriptor, to which Landlock does not apply.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"
#include "proxy/privs.h"

/* Of kernels that are newer than the headers. */
#define FS_TRUNCATE  (1ull << 14) /* ABI 3 */
#define FS_IOCTL_DEV (1ull << 15) /* ABI 5 */
#define SCOPE_SIGNAL (1ull << 1)  /* ABI 6 */

struct ruleset_attr {
    uint64_t fs, net, scoped;
};

#define READ   (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITE  (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | FS_TRUNCATE)
#define SOCKET (LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE)

static const struct {
    const char *path;
    uint64_t access;
} rules[] = {
    /* Libraries that are loaded late (stack traces, OpenSSL's providers), certificates of the
     * system, time zones. */
    {"/usr/lib", READ},
    {"/lib", READ},
    {"/lib64", READ},
    {"/usr/local/lib", READ},
    {"/usr/share/zoneinfo", READ},
    {"/usr/share/ca-certificates", READ},
    {"/usr/local/share/ca-certificates", READ},
    {"/etc/ssl", READ},
    {"/etc/ca-certificates", READ},
    {"/etc/pki", READ},
    {"/etc/ld.so.cache", LANDLOCK_ACCESS_FS_READ_FILE},
    {"/etc/localtime", LANDLOCK_ACCESS_FS_READ_FILE},
    /* Names. */
    {"/etc/resolv.conf", LANDLOCK_ACCESS_FS_READ_FILE},
    {"/run/systemd/resolve", READ},
    {"/etc/hosts", LANDLOCK_ACCESS_FS_READ_FILE},
    {"/etc/host.conf", LANDLOCK_ACCESS_FS_READ_FILE},
    {"/etc/nsswitch.conf", LANDLOCK_ACCESS_FS_READ_FILE},
    {"/etc/services", LANDLOCK_ACCESS_FS_READ_FILE},
    {"/etc/gai.conf", LANDLOCK_ACCESS_FS_READ_FILE},
    /* What we learn about ourselves and the machine. */
    {"/proc/self", READ},
    {"/proc/meminfo", LANDLOCK_ACCESS_FS_READ_FILE},
    {"/proc/net", READ},
    {"/proc/sys/net", READ},
    {"/proc/sys/kernel", READ},
    {"/sys/devices/system", READ},
    {"/sys/fs/cgroup", READ},
    {"/sys/class/net", READ},
    {"/dev/null", LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE},
    {"/dev/urandom", LANDLOCK_ACCESS_FS_READ_FILE},
    /* Unix sockets that we listen on; the folders' owners and modes decide besides. */
    {"/run", SOCKET},
    {"/tmp", SOCKET},
    {"/var/tmp", SOCKET},
    {"/var/lib", SOCKET},
    /* The guard's list of denials. */
    {"/var/lib/marchproxy", READ | SOCKET | WRITE},
};

static uint64_t all_fs(int abi)
{
    uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
    if (abi >= 2) {
        all |= LANDLOCK_ACCESS_FS_REFER;
    }
    if (abi >= 3) {
        all |= FS_TRUNCATE;
    }
    if (abi >= 5) {
        all |= FS_IOCTL_DEV;
    }
    return all;
}

/* A path that is not there needs no rule. */
static bool add_rule(int ruleset, const char *path, uint64_t access, uint64_t handled)
{
    access &= handled;
    struct stat st;
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) {
        return true;
    }
    if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode)) {
        access &= LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE;
    }
    struct landlock_path_beneath_attr attr = {.allowed_access = access, .parent_fd = fd};
    bool ok = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &attr, 0) == 0;
    close(fd);
    return ok;
}

bool mp_landlock_enter(const char **ret_why)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1) {
        *ret_why = strerror(errno);
        return false;
    }
    struct ruleset_attr attr = {.fs = all_fs((int)abi), .scoped = abi >= 6 ? SCOPE_SIGNAL : 0};
    size_t size = abi >= 6 ? sizeof(attr) : abi >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    if (ruleset < 0) {
        *ret_why = strerror(errno);
        return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < MP_COUNTOF(rules); i++) {
        ok = add_rule(ruleset, rules[i].path, rules[i].access, attr.fs);
    }
    ok = ok && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    *ret_why = ok ? "" : strerror(errno);
    close(ruleset);
    return ok;
}
