/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* seccomp: which system calls the data process may make (syscalls.def). The kernel keeps a bitmap
 * of the calls that are allowed whatever their arguments are, so the length of the program costs
 * those nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"
#include "proxy/privs.h"
#include "syscall_numbers.h"

#if defined(__x86_64__)
#define ARCH    AUDIT_ARCH_X86_64
#define X32_BIT 0x40000000u
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
#define THREAD_FLAG 0x00010000u /* CLONE_THREAD: <sched.h> */
#define PROGRAM_MAX 1024

/* ---- the message ---- */

static const struct {
    int nr;
    const char *name;
} names[] = {
#define MP_SYSCALL(nr, name) {nr, name},
    MP_SYSCALLS
#undef MP_SYSCALL
};

static const char *name_of(int nr)
{
    for (size_t i = 0; i < MP_COUNTOF(names); i++) {
        if (names[i].nr == nr) {
            return names[i].name;
        }
    }
    return "unknown";
}

static size_t put(char *out, size_t at, size_t cap, const char *z)
{
    for (; *z != '\0' && at < cap; z++) {
        out[at++] = *z;
    }
    return at;
}

static size_t put_number(char *out, size_t at, size_t cap, unsigned v)
{
    char digits[12];
    size_t i = sizeof(digits);
    digits[--i] = '\0';
    do {
        digits[--i] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    return put(out, at, cap, digits + i);
}

/* Says which call it was, and ends the process by the same signal. Nothing here takes a lock. */
static void on_sigsys(int sig, siginfo_t *si, void *arg)
{
    char text[256];
    (void)arg;
    size_t n =
        put(text, 0, sizeof(text), "marchproxy: the sandbox does not allow the system call ");
    n = put(text, n, sizeof(text), name_of(si->si_syscall));
    n = put(text, n, sizeof(text), " (");
    n = put_number(text, n, sizeof(text), (unsigned)si->si_syscall);
    n = put(text, n, sizeof(text), "): the process ends; --sandbox off runs without it\n");
    ssize_t ignored = write(STDERR_FILENO, text, n);
    (void)ignored;
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    sigset_t set;
    sigaction(SIGSYS, &dfl, NULL);
    sigemptyset(&set);
    sigaddset(&set, sig);
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), sig);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    _exit(128 + SIGSYS);
}

/* ---- the program ---- */

struct program {
    struct sock_filter v[PROGRAM_MAX];
    unsigned short n;
};

#define NR_OFFSET offsetof(struct seccomp_data, nr)
#define ARG_OFFSET(i)                                                          \
    (offsetof(struct seccomp_data, args) + 8 * (i)) /* low half: little endian \
                                                     */
#define LOAD(p, offset)   emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)(offset), 0, 0)
#define RETURN(p, action) emit(p, BPF_RET | BPF_K, (action), 0, 0)

static void emit(struct program *p, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
    if (p->n < PROGRAM_MAX) {
        p->v[p->n] = (struct sock_filter){code, jt, jf, k};
    }
    p->n++;
}

static void return_if(struct program *p, uint32_t value, uint32_t action)
{
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
    RETURN(p, action);
}

static void return_if_any(struct program *p, uint32_t arg, const uint32_t *values, size_t n,
                          uint32_t otherwise)
{
    LOAD(p, ARG_OFFSET(arg));
    for (size_t i = 0; i < n; i++) {
        return_if(p, values[i], SECCOMP_RET_ALLOW);
    }
    RETURN(p, otherwise);
}

#define REFUSE(e) (SECCOMP_RET_ERRNO | (uint32_t)(e))

/* TCP, UDP, Unix, and routing messages; no raw and no packet sockets. */
static void check_socket(struct program *p)
{
    static const uint32_t families[] = {AF_UNIX, AF_INET, AF_INET6};
    static const uint32_t types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    LOAD(p, ARG_OFFSET(0));
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 3);
    LOAD(p, ARG_OFFSET(2));
    return_if(p, 0, SECCOMP_RET_ALLOW); /* NETLINK_ROUTE */
    LOAD(p, ARG_OFFSET(0));
    for (size_t i = 0; i < MP_COUNTOF(families); i++) {
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, families[i], (uint8_t)(MP_COUNTOF(families) - i), 0);
    }
    RETURN(p, REFUSE(EACCES));
    LOAD(p, ARG_OFFSET(1));
    emit(p, BPF_ALU | BPF_AND | BPF_K, 0xf, 0, 0);
    for (size_t i = 0; i < MP_COUNTOF(types); i++) {
        return_if(p, types[i], SECCOMP_RET_ALLOW);
    }
    RETURN(p, REFUSE(EACCES));
}

/* Threads, no processes. */
static void check_clone(struct program *p)
{
    LOAD(p, ARG_OFFSET(0));
    emit(p, BPF_JMP | BPF_JSET | BPF_K, THREAD_FLAG, 0, 1);
    RETURN(p, SECCOMP_RET_ALLOW);
    RETURN(p, SECCOMP_RET_TRAP);
}

static void check_ioctl(struct program *p)
{
    static const uint32_t allowed[] = {TCGETS,  TIOCGWINSZ,  FIONREAD,     FIONBIO,    TIOCOUTQ,
                                       FIOCLEX, SIOCGIFNAME, SIOCGIFINDEX, SIOCGIFCONF};
    return_if_any(p, 1, allowed, MP_COUNTOF(allowed), REFUSE(EPERM));
}

static void check_prctl(struct program *p)
{
    static const uint32_t allowed[] = {PR_SET_NAME,         PR_GET_NAME,    PR_SET_VMA,
                                       PR_GET_NO_NEW_PRIVS, PR_GET_SECCOMP, PR_GET_DUMPABLE,
                                       PR_SET_TIMERSLACK,   PR_CAPBSET_READ};
    return_if_any(p, 0, allowed, MP_COUNTOF(allowed), REFUSE(EPERM));
}

/* Reading and writing maps that were opened before, and exchanging the program of a link: all of
 * them take descriptors, which a process without rights cannot get. Nothing is loaded or created.
 */
static void check_bpf(struct program *p)
{
    static const uint32_t allowed[] = {BPF_MAP_LOOKUP_ELEM,
                                       BPF_MAP_UPDATE_ELEM,
                                       BPF_MAP_DELETE_ELEM,
                                       BPF_MAP_GET_NEXT_KEY,
                                       BPF_MAP_LOOKUP_AND_DELETE_ELEM,
                                       BPF_MAP_LOOKUP_BATCH,
                                       BPF_MAP_LOOKUP_AND_DELETE_BATCH,
                                       BPF_MAP_UPDATE_BATCH,
                                       BPF_MAP_DELETE_BATCH,
                                       BPF_OBJ_GET_INFO_BY_FD,
                                       BPF_LINK_UPDATE,
                                       BPF_LINK_DETACH};
    return_if_any(p, 0, allowed, MP_COUNTOF(allowed), REFUSE(EPERM));
}

/* To ourselves only. */
static void check_pid(struct program *p, bool zero)
{
    const uint32_t pids[] = {(uint32_t)getpid(), 0};
    return_if_any(p, 0, pids, zero ? 2 : 1, REFUSE(EPERM));
}

static void check_kill(struct program *p)
{
    check_pid(p, false);
}

static void check_tgkill(struct program *p)
{
    check_pid(p, false);
}

/* Its only argument is a thread, of any process: Landlock's scope and the user's rights decide. */
static void check_tkill(struct program *p)
{
    RETURN(p, REFUSE(EPERM));
}

static void check_prlimit64(struct program *p)
{
    check_pid(p, true);
}

static void add_checked(struct program *p, uint32_t nr, void (*check)(struct program *p))
{
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 0);
    unsigned short at = p->n;
    check(p);
    if (at <= PROGRAM_MAX && p->n <= PROGRAM_MAX) {
        p->v[at - 1].jf = (uint8_t)(p->n - at);
    }
}

/* Entries of syscalls.def that this architecture has. */
static const struct {
    uint32_t nr;
    uint32_t action;
    void (*check)(struct program *p);
} calls[] = {
#define OK(name)      {MP_NR_##name, SECCOMP_RET_ALLOW, NULL},
#define SOFT(name, e) {MP_NR_##name, REFUSE(e), NULL},
#define CHECK(name)   {MP_NR_##name, 0, check_##name},
#include "proxy/syscalls.def"
#undef OK
#undef SOFT
#undef CHECK
};

static void make_program(struct program *p)
{
    LOAD(p, offsetof(struct seccomp_data, arch));
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
    RETURN(p, SECCOMP_RET_KILL_PROCESS);
    LOAD(p, NR_OFFSET);
#ifdef X32_BIT
    emit(p, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
    RETURN(p, SECCOMP_RET_KILL_PROCESS);
#endif
    for (size_t i = 0; i < MP_COUNTOF(calls); i++) {
        if (calls[i].nr == MP_NR_NONE) {
            continue;
        }
        if (calls[i].check != NULL) {
            add_checked(p, calls[i].nr, calls[i].check);
        } else {
            return_if(p, calls[i].nr, calls[i].action);
        }
    }
    RETURN(p, SECCOMP_RET_TRAP);
}

bool mp_seccomp_enter(const char **ret_why)
{
    static struct program p;
    p.n = 0;
    make_program(&p);
    if (p.n > PROGRAM_MAX) {
        *ret_why = "the program is too long";
        return false;
    }
    struct sigaction sa = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO | SA_NODEFER};
    struct sock_fprog prog = {.len = p.n, .filter = p.v};
    if (sigaction(SIGSYS, &sa, NULL) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0) {
        *ret_why = strerror(errno);
        return false;
    }
    *ret_why = "";
    return true;
}
