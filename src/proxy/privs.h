/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Giving up rights: user and groups, capabilities, NO_NEW_PRIVS, Landlock, seccomp. Once, at start,
 * before there are threads; afterwards there is no way back, and mp_privs_enter checks that.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/err.h"

struct mp_conf;
struct mp_diag;
struct mp_options;

struct mp_privs {
    bool root;    /* we are root now */
    bool change;  /* take the user's and the group's ids */
    bool sandbox; /* Landlock, seccomp, and the broker */
    uid_t uid;
    gid_t gid;
    const char *user; /* for the log */
};
/* What the command line and the configuration ask for; looks names up. On failure diag says why. */
MP_MUST_USE mp_err mp_privs_resolve(const struct mp_options *o, const struct mp_conf *conf,
                                    struct mp_diag *diag, struct mp_privs *ret);
/* Starts the broker when the sandbox is wanted, and gives up everything else. Logs what holds. */
MP_MUST_USE mp_err mp_privs_enter(const struct mp_privs *p, const struct mp_options *o);

/* ---- the parts, each of which holds alone (tests/unit/proxy/test_privs.c) ---- */

/* All ids, real, effective and saved; keeps no supplementary group but the user's own. */
bool mp_privs_change_user(uid_t uid, gid_t gid);
/* The most that any later execve could give. Only while we have CAP_SETPCAP; without it nothing
 * happens. */
bool mp_privs_drop_bounding(uint64_t keep);
/* Effective, permitted and bounding set become caps (a bit each); inheritable and ambient empty. */
bool mp_privs_limit_caps(uint64_t caps);
bool mp_privs_has_no_caps(void);
/* After which all that is not listed in landlock.c is refused with EACCES. False: *ret_why says
 * what the kernel lacks. */
bool mp_landlock_enter(const char **ret_why);
/* After which a system call that syscalls.def does not list ends the process with a message that
 * names it. */
bool mp_seccomp_enter(const char **ret_why);
