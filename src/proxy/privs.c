/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "proxy/privs.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/log.h"
#include "conf/model.h"
#include "proxy/broker.h"
#include "proxy/options.h"

/* ---- what is asked for ---- */

static mp_err unknown(struct mp_diag *diag, const char *what, const char *name)
{
    return mp_diag_error(diag, MP_E_INVALID, 0, what, NULL, "there is no %s \"%s\"", what, name);
}

static mp_err find_user(const char *name, struct mp_diag *diag, struct mp_privs *p)
{
    uint64_t number;
    const struct passwd *pw = getpwnam(name);
    if (pw == NULL && !mp_is_err(mp_str_to_u64(mp_str_c(name), &number)) && number < UINT32_MAX) {
        pw = getpwuid((uid_t)number);
        p->uid = (uid_t)number;
        p->gid = (gid_t)number;
    } else if (pw == NULL) {
        return unknown(diag, "user", name);
    }
    if (pw != NULL) {
        p->uid = pw->pw_uid;
        p->gid = pw->pw_gid;
    }
    p->change = true;
    p->user = name;
    return MP_OK;
}

static mp_err find_group(const char *name, struct mp_diag *diag, struct mp_privs *p)
{
    uint64_t number;
    const struct group *gr = getgrnam(name);
    if (gr != NULL) {
        p->gid = gr->gr_gid;
        return MP_OK;
    }
    if (mp_is_err(mp_str_to_u64(mp_str_c(name), &number)) || number >= UINT32_MAX) {
        return unknown(diag, "group", name);
    }
    p->gid = (gid_t)number;
    return MP_OK;
}

mp_err mp_privs_resolve(const struct mp_options *o, const struct mp_conf *conf,
                        struct mp_diag *diag, struct mp_privs *ret)
{
    const char *user = o->user != NULL ? o->user : conf->user.n > 0 ? conf->user.p : NULL;
    const char *group = o->group != NULL ? o->group : conf->group.n > 0 ? conf->group.p : NULL;
    struct mp_privs p = {.root = geteuid() == 0, .uid = geteuid(), .gid = getegid(), .user = ""};
    if (group != NULL && user == NULL) {
        return mp_diag_error(diag, MP_E_INVALID, 0, "group", "name a user as well",
                             "a group without a user");
    }
    if (user != NULL) {
        MP_TRY(find_user(user, diag, &p));
    }
    if (group != NULL) {
        MP_TRY(find_group(group, diag, &p));
    }
    if (p.change && !p.root) {
        if (!o->validate && (p.uid != geteuid() || p.gid != getegid())) {
            return mp_diag_error(diag, MP_E_INVALID, 0, "user", "start as root, or remove it",
                                 "only root can become user \"%s\"", user);
        }
        p.change = false;
    }
    p.sandbox = o->sandbox == MP_SANDBOX_ON || (o->sandbox == MP_SANDBOX_AUTO && p.change);
    *ret = p;
    return MP_OK;
}

/* Asks the kernel instead of trusting the calls above. */
static bool is_bare(const struct mp_privs *p)
{
    uid_t ru, eu, su;
    gid_t rg, eg, sg;
    if (getresuid(&ru, &eu, &su) < 0 || getresgid(&rg, &eg, &sg) < 0 ||
        prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) {
        return false;
    }
    if (p->uid != 0 && (setuid(0) == 0 || seteuid(0) == 0)) {
        return false;
    }
    return ru == p->uid && eu == p->uid && su == p->uid && rg == p->gid && eg == p->gid &&
           sg == p->gid && mp_privs_has_no_caps();
}

/* ---- all of it ---- */

static mp_err fail(const char *what)
{
    int err = errno;
    mp_log(MP_LOG_CRITICAL, "cannot give up rights", kv_c("step", what),
           kv_c("error", strerror(err)));
    return mp_err_from_errno(err);
}

static mp_err enter_sandbox(void)
{
    const char *why = "";
    bool landlock = mp_landlock_enter(&why);
    if (!landlock) {
        mp_log(MP_LOG_WARNING, "the sandbox is without Landlock", kv_c("cause", why));
    }
    bool seccomp = mp_seccomp_enter(&why);
    if (!seccomp) {
        mp_log(MP_LOG_WARNING, "the sandbox is without seccomp", kv_c("cause", why));
    }
    mp_log(MP_LOG_INFO, "the sandbox is closed", kv_bool("landlock", landlock),
           kv_bool("seccomp", seccomp));
    return MP_OK;
}

mp_err mp_privs_enter(const struct mp_privs *p, const struct mp_options *o)
{
    if (!p->change && !p->sandbox) {
        if (p->root) {
            mp_log(MP_LOG_INFO, "running as root: --user NAME would give up its rights");
        }
        return MP_OK;
    }
    /* The broker outlives this call; one process has one. */
    static struct mp_broker_opts bo;
    bo = (struct mp_broker_opts){.options = o, .uid = p->uid, .gid = p->gid, .root = p->root};
    mp_err err = mp_broker_start(&bo);
    if (mp_is_err(err)) {
        return fail("start of the broker");
    }
    if (p->root && !mp_privs_drop_bounding(0)) {
        return fail("bounding set");
    }
    if (p->change && !mp_privs_change_user(p->uid, p->gid)) {
        return fail("user and group");
    }
    if (!mp_privs_limit_caps(0)) {
        return fail("capabilities");
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        return fail("no_new_privs");
    }
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* keys are no core file's business */
    if (!is_bare(p)) {
        errno = EPERM;
        return fail("check");
    }
    if (p->change) {
        mp_log(MP_LOG_INFO, "rights are given up", kv_c("user", p->user), kv_u64("uid", p->uid),
               kv_u64("gid", p->gid));
    }
    return p->sandbox ? enter_sandbox() : MP_OK;
}
