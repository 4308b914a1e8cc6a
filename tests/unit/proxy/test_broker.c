/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The broker as a process, with a configuration that the test writes: what it does, and what it
 * refuses. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/model.h"
#include "conf/named.h"
#include "io/broker.h"
#include "io/open.h"
#include "proxy/broker.h"
#include "proxy/config.h"
#include "proxy/options.h"
#include "t.h"

static char folder[64];
static struct mp_options options;

static const char *in_folder(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static void put(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) {
        abort();
    }
    close(fd);
}

/* Lines of the file: "r PATH", "a PATH", "g PATTERN". Runs in the broker. Stands in for
 * proxy/config.c: the configuration is always refused, and its names count all the same. */
mp_err mp_config_load_named(const struct mp_options *o, const struct mp_conf_names *names,
                            struct mp_diag *diag, struct mp_conf **ret)
{
    FILE *f = fopen(o->config, "r");
    char line[256];
    (void)diag;
    (void)ret;
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        struct mp_str path = mp_str(line + 2, strcspn(line + 2, "\n"));
        names->named(names->arg, path,
                     line[0] == 'r'   ? MP_NAMED_READ
                     : line[0] == 'a' ? MP_NAMED_APPEND
                                      : MP_NAMED_GLOB);
    }
    if (f != NULL) {
        fclose(f);
    }
    return MP_FAIL(INVALID);
}

static int open_close(const char *path, bool append)
{
    int fd = mp_broker_open(path, append);
    if (fd >= 0) {
        close(fd);
        return 0;
    }
    return fd;
}

static void opens_what_is_named(void)
{
    char text[512];
    snprintf(text, sizeof(text), "r %s/key\na %s/log\ng %s/conf.d/*\n", folder, folder, folder);
    put(options.config, text, 0600);
    put(in_folder("key"), "secret", 0600);
    put(in_folder("other"), "x", 0600);
    T_EQ(mkdir(in_folder("conf.d"), 0700), 0);
    put(in_folder("conf.d/b"), "", 0600);
    put(in_folder("conf.d/a"), "", 0600);
    mp_broker_refresh();
    int fd = mp_broker_open(in_folder("key"), false);
    T_OK(fd >= 0);
    char bytes[16] = "";
    T_EQ(read(fd, bytes, sizeof(bytes)), 6);
    T_OK(memcmp(bytes, "secret", 6) == 0);
    T_OK((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY && (fcntl(fd, F_GETFD) & FD_CLOEXEC));
    close(fd);
    T_EQ(open_close(options.config, false), 0);
    fd = mp_broker_open(in_folder("log"), true);
    T_OK(fd >= 0 && (fcntl(fd, F_GETFL) & O_APPEND));
    close(fd);
}

static void refuses_the_rest(void)
{
    T_EQ(open_close(in_folder("other"), false), -EACCES);
    T_EQ(open_close("/etc/shadow", false), -EACCES);
    T_EQ(open_close(in_folder("key"), true), -EACCES);
    T_EQ(open_close(in_folder("log"), false), -EACCES);
    char longer[256];
    snprintf(longer, sizeof(longer), "%s/../%s/key", folder, folder + 5);
    T_EQ(open_close(longer, false), -EACCES);
    T_EQ(open_close("", false), -EINVAL);
    char huge[5000];
    memset(huge, 'x', sizeof(huge));
    huge[sizeof(huge) - 1] = '\0';
    T_EQ(open_close(huge, false), -ENAMETOOLONG);
}

static void globs(void)
{
    char *paths;
    size_t n;
    T_EQ(mp_broker_glob(in_folder("conf.d/*"), &paths, &n), 0);
    size_t one = strlen(in_folder("conf.d/a")) + 1;
    bool ok = n == 2 * one && strcmp(paths, in_folder("conf.d/a")) == 0 &&
              strcmp(paths + one, in_folder("conf.d/b")) == 0;
    free(paths);
    T_OK(ok);
    T_EQ(mp_broker_glob("/etc/*", &paths, &n), -EACCES);
}

static void names_come_and_go(void)
{
    char text[256];
    snprintf(text, sizeof(text), "r %s/other\n", folder);
    put(options.config, text, 0600);
    T_EQ(open_close(in_folder("other"), false), -EACCES); /* not before it is asked to read */
    mp_broker_refresh();
    T_EQ(open_close(in_folder("other"), false), 0);
    T_EQ(open_close(in_folder("key"), false), 0); /* the running configuration's */
    mp_broker_commit();
    T_EQ(open_close(in_folder("key"), false), -EACCES);
    T_EQ(open_close(in_folder("other"), false), 0);
}

static void refuses_addresses(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(22)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    T_EQ(mp_broker_bind(fd, (struct sockaddr *)&a, sizeof(a)), -EACCES);
    T_EQ(mp_broker_bind(fd, (struct sockaddr *)&a, 1), -EINVAL);
    T_EQ(mp_broker_bind(fd, (struct sockaddr *)&a, 3), -EACCES);
    close(fd);
}

/* What a data process that is no longer ours might send. */
static void survives_nonsense(void)
{
    int pair = -1;
    for (int fd = 3; fd < 64 && pair < 0; fd++) { /* the broker's socket is ours, too */
        int type = 0;
        socklen_t n = sizeof(type);
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_SEQPACKET) {
            pair = fd;
        }
    }
    T_OK(pair >= 0);
    static const char *const packets[] = {"x", "12345678", "\1\0\0\0\xff\xff\xff\xff",
                                          "\1\0\0\0\0\0\0\0"};
    static const size_t sizes[] = {1, 8, 8, 8};
    for (size_t i = 0; i < 4; i++) {
        struct mp_broker_answer a;
        T_EQ(send(pair, packets[i], sizes[i], 0), (ssize_t)sizes[i]);
        T_OK(recv(pair, &a, sizeof(a), 0) >= 8);
        T_EQ(a.result, -EINVAL);
    }
    T_EQ(open_close(in_folder("other"), false), 0);
}

int main(void)
{
    snprintf(folder, sizeof(folder), "/tmp/mp-test-broker-%d", (int)getpid());
    if (mkdir(folder, 0700) != 0) {
        return 1;
    }
    char config[128];
    snprintf(config, sizeof(config), "%s/config", folder);
    options.config = config;
    put(config, "", 0600);
    const struct mp_broker_opts bo = {
        .options = &options, .uid = 65534, .gid = 65534, .root = geteuid() == 0};
    if (mp_is_err(mp_broker_start(&bo))) {
        return 1;
    }
    T_RUN(opens_what_is_named);
    T_RUN(refuses_the_rest);
    T_RUN(globs);
    T_RUN(names_come_and_go);
    T_RUN(refuses_addresses);
    T_RUN(survives_nonsense);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command) == 0 ? T_DONE() : 1;
}
