/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Each layer of the sandbox alone, and all together: a child enters, then tries to get back what it
 * gave up. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/privs.h"
#include "proxy/safe_open.h"
#include "t.h"

enum layer { CAPS = 1, USER = 2, LANDLOCK = 4, SECCOMP = 8, ALL = 15 };
#define NOBODY 65534

/* What a child tells by its exit code. */
enum { REFUSED = 10, DONE, BROKEN };

static void enter(unsigned layers)
{
    const char *why = "";
    if (layers & (USER | CAPS)) {
        if (!mp_privs_drop_bounding(0)) {
            _exit(BROKEN);
        }
        if ((layers & USER) && !mp_privs_change_user(NOBODY, NOBODY)) {
            _exit(BROKEN);
        }
        if (!mp_privs_limit_caps(0) || !mp_privs_has_no_caps()) {
            _exit(BROKEN);
        }
    }
    if (((layers & LANDLOCK) && !mp_landlock_enter(&why)) ||
        ((layers & SECCOMP) && !mp_seccomp_enter(&why))) {
        fprintf(stderr, "%s\n", why);
        _exit(BROKEN);
    }
}

/* The child's status, and what it wrote to standard error. */
static int attempt(unsigned layers, int (*try)(void), char *said, size_t cap)
{
    int pipes[2], status = -1;
    if (pipe(pipes) < 0) {
        return -1;
    }
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pipes[1], STDERR_FILENO);
        enter(layers);
        _exit(try() < 0 ? REFUSED : DONE);
    }
    close(pipes[1]);
    ssize_t n = 0, got;
    while (n < (ssize_t)cap - 1 && (got = read(pipes[0], said + n, cap - 1 - (size_t)n)) > 0) {
        n += got;
    }
    said[MP_MAX(n, 0)] = '\0';
    close(pipes[0]);
    waitpid(pid, &status, 0);
    return status;
}

static bool exited(int status, int code)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == code;
}

/* ---- attempts ---- */

static int try_setuid(void)
{
    return setuid(0);
}

static int try_setgid(void)
{
    return syscall(SYS_setresgid, 0, 0, 0) < 0 ? -1 : 0;
}

static int try_setgroups(void)
{
    gid_t g = 0;
    return (int)syscall(SYS_setgroups, 1, &g);
}

static int try_shadow(void)
{
    return open("/etc/shadow", O_RDONLY);
}

static int try_passwd(void)
{
    return open("/etc/passwd", O_RDONLY);
}

static int try_write(void)
{
    return open("/tmp/mp-test-privs", O_WRONLY | O_CREAT, 0600);
}

static int try_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(80)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&a, sizeof(a));
}

static int try_ptrace(void)
{
    return (int)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static int try_execve(void)
{
    char *argv[] = {"true", NULL};
    execv("/bin/true", argv);
    return -1;
}

static int try_fork(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    return pid;
}

static int try_mount(void)
{
    return mount("none", "/mnt", "tmpfs", 0, NULL);
}

static int try_unshare(void)
{
    return unshare(CLONE_NEWUSER);
}

static int try_chroot(void)
{
    return chroot("/");
}

static int try_raw(void)
{
    return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
}

static int try_packet(void)
{
    return socket(AF_PACKET, SOCK_DGRAM, 0);
}

static int try_audit_netlink(void)
{
    return socket(AF_NETLINK, SOCK_RAW, 9);
}

static int try_bpf(void)
{
    return (int)syscall(SYS_bpf, 0, NULL, 0);
}

static int try_kill_parent(void)
{
    return kill(getppid(), 0);
}

static int try_keep_caps(void)
{
    return prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
}

static int try_read_parent_memory(void)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/mem", (int)getppid());
    return open(path, O_RDONLY);
}

static int try_hardlink(void)
{
    return link("/etc/passwd", "/tmp/mp-test-privs-link");
}

static const struct {
    const char *name;
    int (*fn)(void);
    unsigned held_by; /* layers of which each alone refuses it */
} attempts[] = {
    {"setuid", try_setuid, USER | SECCOMP},
    {"setresgid", try_setgid, USER | SECCOMP},
    {"setgroups", try_setgroups, USER | CAPS | SECCOMP},
    {"read /etc/shadow", try_shadow, USER | LANDLOCK},
    {"read /etc/passwd", try_passwd, LANDLOCK},
    {"write in /tmp", try_write, LANDLOCK},
    {"bind port 80", try_port, USER | CAPS},
    {"ptrace", try_ptrace, USER | LANDLOCK | SECCOMP},
    {"execve", try_execve, LANDLOCK | SECCOMP},
    {"fork", try_fork, SECCOMP},
    {"mount", try_mount, USER | CAPS | SECCOMP},
    {"unshare", try_unshare, SECCOMP},
    {"chroot", try_chroot, USER | CAPS | SECCOMP},
    {"raw socket", try_raw, USER | CAPS | SECCOMP},
    {"packet socket", try_packet, USER | CAPS | SECCOMP},
    {"netlink but routes", try_audit_netlink, SECCOMP},
    {"bpf", try_bpf, SECCOMP},
    {"kill another process", try_kill_parent, USER | LANDLOCK | SECCOMP},
    {"keep capabilities", try_keep_caps, SECCOMP},
    {"read another's memory", try_read_parent_memory, LANDLOCK},
    {"link /etc/passwd", try_hardlink, LANDLOCK | SECCOMP},
};

static bool needs_newer_kernel(size_t i, unsigned layer)
{
    return layer == LANDLOCK && attempts[i].fn == try_kill_parent &&
           syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 6;
}

static bool holds(unsigned layers, size_t i)
{
    char said[512];
    int status = attempt(layers, attempts[i].fn, said, sizeof(said));
    bool ended = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS &&
                 strstr(said, "the sandbox does not allow the system call ") != NULL;
    if (!ended && !exited(status, REFUSED)) {
        printf("# %s with layers %u: status %#x, %s\n", attempts[i].name, layers, (unsigned)status,
               said);
        return false;
    }
    return true;
}

static void nothing_comes_back(void)
{
    for (size_t i = 0; i < MP_COUNTOF(attempts); i++) {
        T_OK(holds(ALL, i));
    }
}

static void each_layer_holds_alone(void)
{
    for (size_t i = 0; i < MP_COUNTOF(attempts); i++) {
        for (unsigned layer = CAPS; layer <= SECCOMP; layer *= 2) {
            if ((attempts[i].held_by & layer) && !needs_newer_kernel(i, layer)) {
                T_OK(holds(layer, i));
            }
        }
    }
}

/* The attempts would succeed otherwise: what is tested is the sandbox, not the machine. */
static void nothing_is_refused_outside(void)
{
    static int (*const plain[])(void) = {try_setuid, try_setgid, try_shadow,      try_passwd,
                                         try_port,   try_raw,    try_kill_parent, try_fork};
    char said[512];
    for (size_t i = 0; i < MP_COUNTOF(plain); i++) {
        T_OK(exited(attempt(0, plain[i], said, sizeof(said)), DONE));
    }
}

/* ---- what has to work ---- */

static void *thread_main(void *arg)
{
    *(int *)arg = 1;
    return NULL;
}

static int use_thread(void)
{
    pthread_t t;
    int ran = 0;
    return pthread_create(&t, NULL, thread_main, &ran) == 0 && pthread_join(t, NULL) == 0 && ran
               ? 0
               : -1;
}

static int use_sockets(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof(a);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0), peer = socket(AF_INET, SOCK_STREAM, 0);
    return bind(fd, (struct sockaddr *)&a, n) == 0 && listen(fd, 1) == 0 &&
                   getsockname(fd, (struct sockaddr *)&a, &n) == 0 &&
                   connect(peer, (struct sockaddr *)&a, n) == 0 &&
                   socket(AF_UNIX, SOCK_DGRAM, 0) >= 0 && socket(AF_INET6, SOCK_DGRAM, 0) >= 0 &&
                   socket(AF_NETLINK, SOCK_RAW, 0) >= 0 && if_nametoindex("lo") > 0
               ? 0
               : -1;
}

static int use_files(void)
{
    char name[16] = "";
    return open("/etc/resolv.conf", O_RDONLY) >= 0 && open("/proc/self/statm", O_RDONLY) >= 0 &&
                   open("/dev/null", O_WRONLY) >= 0 && prctl(PR_SET_NAME, "inside", 0, 0, 0) == 0 &&
                   prctl(PR_GET_NAME, name, 0, 0, 0) == 0 && strcmp(name, "inside") == 0
               ? 0
               : -1;
}

static int use_unix_listener(void)
{
    struct sockaddr_un {
        sa_family_t family;
        char path[108];
    } a = {.family = AF_UNIX};
    snprintf(a.path, sizeof(a.path), "/tmp/mp-test-privs-%d.sock", (int)getpid());
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    return bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && unlink(a.path) == 0 ? 0 : -1;
}

/* Refused by the kernel for its descriptor, not by the filter. */
static int use_maps(void)
{
    union bpf_attr attr = {.map_fd = (uint32_t)-1};
    bool looked = syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr)) < 0 && errno == EBADF;
    bool loaded = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr)) < 0 && errno == EPERM;
    return looked && loaded ? 0 : -1;
}

static void work_goes_on(void)
{
    static int (*const uses[])(void) = {use_thread, use_sockets, use_files, use_unix_listener,
                                        use_maps};
    char said[512];
    for (size_t i = 0; i < MP_COUNTOF(uses); i++) {
        int status = attempt(ALL, uses[i], said, sizeof(said));
        if (!exited(status, DONE)) {
            printf("# use %zu: status %#x, %s\n", i, (unsigned)status, said);
        }
        T_OK(exited(status, DONE));
    }
}

static void the_message_names_the_call(void)
{
    char said[512];
    int status = attempt(SECCOMP, try_execve, said, sizeof(said));
    T_OK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
    char wanted[128];
    snprintf(wanted, sizeof(wanted),
             "marchproxy: the sandbox does not allow the system call execve (%d)", SYS_execve);
    T_OK(strncmp(said, wanted, strlen(wanted)) == 0);
    status = attempt(SECCOMP, try_fork, said, sizeof(said));
    T_OK(strstr(said, "call clone (") != NULL);
}

static int caps_of_self(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    unsigned zero = 0;
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "Cap", 3) == 0 && colon != NULL) {
            zero += strtoull(colon + 1, NULL, 16) == 0;
        }
    }
    return zero == 5 ? 0 : -1;
}

static void every_capability_set_is_empty(void)
{
    char said[512];
    T_OK(exited(attempt(USER | CAPS, caps_of_self, said, sizeof(said)), DONE));
    T_OK(exited(attempt(0, caps_of_self, said, sizeof(said)), REFUSED));
}

/* ---- files with root's rights ---- */

static char folder[64];

static const char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static int open_close(const char *path, bool append)
{
    int fd = mp_safe_open(path, append, NOBODY, NOBODY);
    if (fd >= 0) {
        close(fd);
        return 0;
    }
    return fd;
}

static void put_file(const char *path, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT, mode);
    if (fd >= 0) {
        close(fd);
    }
}

static void safe_paths(void)
{
    struct stat st;
    put_file(in_folder("key"), 0600);
    T_EQ(open_close(in_folder("key"), false), 0);
    T_EQ(open_close(in_folder("none"), false), -ENOENT);
    T_EQ(open_close(in_folder("key/x"), false), -ENOTDIR);
    T_EQ(open_close(folder, false), -ENXIO);
    T_EQ(open_close(in_folder("new.log"), true), 0);
    T_OK(stat(in_folder("new.log"), &st) == 0 && st.st_uid == NOBODY &&
         (st.st_mode & 07777) == 0640);
    /* Links that root made. */
    T_EQ(symlink("key", in_folder("link")), 0);
    T_EQ(open_close(in_folder("link"), false), 0);
    T_EQ(symlink("loop", in_folder("loop")), 0);
    T_EQ(open_close(in_folder("loop"), false), -ELOOP);
    T_EQ(mkfifo(in_folder("fifo"), 0600), 0);
    T_EQ(open_close(in_folder("fifo"), false), -ENXIO);
    char copy[128];
    snprintf(copy, sizeof(copy), "%s", in_folder("key"));
    T_EQ(link(copy, in_folder("second")), 0);
    T_EQ(open_close(in_folder("key"), true), -ENXIO);
    T_EQ(open_close(in_folder("key"), false), 0);
}

static void paths_that_others_can_bend(void)
{
    char target[128];
    T_EQ(mkdir(in_folder("theirs"), 0755), 0);
    snprintf(target, sizeof(target), "%s", in_folder("theirs/log"));
    put_file(target, 0644);
    T_EQ(chown(in_folder("theirs"), NOBODY, NOBODY), 0);
    T_EQ(open_close(target, true), -EPERM);
    T_EQ(open_close(target, false), -EPERM);
    /* Root's link into their folder. */
    T_EQ(symlink("theirs/log", in_folder("to-theirs")), 0);
    T_EQ(open_close(in_folder("to-theirs"), false), -EPERM);
    /* A folder that a group may write to. */
    T_EQ(mkdir(in_folder("shared"), 0775), 0);
    T_EQ(chmod(in_folder("shared"), 0775), 0);
    T_EQ(open_close(in_folder("shared/x"), true), -EPERM);
    /* /tmp is everybody's, but folders there have owners. */
    char ours[64];
    snprintf(ours, sizeof(ours), "/tmp/mp-test-privs-%d", (int)getpid());
    T_EQ(mkdir(ours, 0700), 0);
    snprintf(target, sizeof(target), "%s/key", ours);
    put_file(target, 0600);
    int inside = open_close(target, false);
    int given = chown(ours, NOBODY, NOBODY) == 0 ? open_close(target, false) : 0;
    unlink(target);
    T_EQ(symlink("/etc", target), 0);
    int linked = chown(ours, 0, 0) == 0 ? open_close(target, false) : 0;
    unlink(target);
    rmdir(ours);
    T_EQ(inside, 0);
    T_EQ(given, -EPERM);
    T_EQ(linked, -ENXIO);
    T_EQ(symlink("/run", ours), 0);
    snprintf(target, sizeof(target), "%s/none", ours);
    linked = open_close(target, false);
    unlink(ours);
    T_EQ(linked, -EPERM);
    T_EQ(open_close("/tmp/mp-test-none", true), -EPERM);
}

int main(void)
{
    if (geteuid() != 0) {
        printf("1..0 # skip: only root has something to give up\n");
        return 0;
    }
    T_RUN(nothing_is_refused_outside);
    T_RUN(nothing_comes_back);
    T_RUN(each_layer_holds_alone);
    T_RUN(work_goes_on);
    T_RUN(the_message_names_the_call);
    T_RUN(every_capability_set_is_empty);
    snprintf(folder, sizeof(folder), "/run/mp-test-privs-%d", (int)getpid());
    if (mkdir(folder, 0755) == 0) {
        T_RUN(safe_paths);
        T_RUN(paths_that_others_can_bend);
        char command[128];
        snprintf(command, sizeof(command), "rm -rf %s", folder);
        if (system(command) != 0) {
            return 1;
        }
    }
    return T_DONE();
}
