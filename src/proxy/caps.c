/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Ids and capabilities of the process. */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proxy/privs.h"

#define CAP_WORDS _LINUX_CAPABILITY_U32S_3

bool mp_privs_change_user(uid_t uid, gid_t gid)
{
    const struct passwd *pw = getpwuid(uid);
    int groups = pw != NULL ? initgroups(pw->pw_name, gid) : setgroups(0, NULL);
    return groups == 0 && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0;
}

bool mp_privs_drop_bounding(uint64_t keep)
{
    for (int cap = 0; cap < 64; cap++) {
        int has = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
        if (has < 0) {
            return cap > 0; /* past the last one that the kernel knows */
        }
        if (has == 1 && !((keep >> cap) & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 &&
            errno != EPERM) {
            return false;
        }
    }
    return true;
}

bool mp_privs_limit_caps(uint64_t caps)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[CAP_WORDS];
    if (!mp_privs_drop_bounding(caps) || syscall(SYS_capget, &head, data) < 0) {
        return false;
    }
    for (int i = 0; i < CAP_WORDS; i++) {
        data[i].permitted &= (uint32_t)(caps >> (32 * i));
        data[i].effective = data[i].permitted;
        data[i].inheritable = 0;
    }
    /* Kernels before 4.3 know no ambient set: nothing to clear. */
    bool ambient = prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0 || errno == EINVAL;
    return ambient && syscall(SYS_capset, &head, data) == 0;
}

bool mp_privs_has_no_caps(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[CAP_WORDS];
    uint32_t any = 0;
    if (syscall(SYS_capget, &head, data) < 0) {
        return false;
    }
    for (int i = 0; i < CAP_WORDS; i++) {
        any |= data[i].effective | data[i].permitted | data[i].inheritable;
    }
    return any == 0;
}
