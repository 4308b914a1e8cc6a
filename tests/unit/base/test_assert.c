/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "t.h"

static int lines;
static char last[3000];

static void sink(void *arg, const char *line, size_t n)
{
    lines++;
    memcpy(last, line, n);
    last[n] = '\0';
}

static void fails(void)
{
    int fd[2];
    T_EQ(pipe(fd), 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fd[1], STDERR_FILENO);
        MP_ASSERT(1 + 1 == 2);
        MP_ASSERT(1 + 1 == 3);
        _exit(0);
    }
    close(fd[1]);
    char text[4096];
    size_t n = 0;
    ssize_t got;
    while (n < sizeof(text) - 1 && (got = read(fd[0], text + n, sizeof(text) - 1 - n)) > 0) {
        n += (size_t)got;
    }
    text[n] = '\0';
    close(fd[0]);
    int status;
    T_EQ(waitpid(pid, &status, 0), pid);
    T_OK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    T_OK(strncmp(text, "assertion failed: 1 + 1 == 3 at ", 32) == 0);
    T_OK(strstr(text, "test_assert.c:"));
    T_OK(strstr(text, "test_base_assert")); /* the backtrace names the program */
}

static int site(int c)
{
    return MP_BUG_ONCE(c == 0);
}

static void bug_once(void)
{
    mp_log_set_sink(sink, NULL);
    uint64_t before = mp_bug_count();
    T_OK(!site(1));
    T_EQ(mp_bug_count(), before);
    for (int i = 0; i < 5; i++) {
        T_OK(site(0));
    }
    T_EQ(mp_bug_count(), before + 5);
    T_EQ(lines, 1);
    T_OK(strstr(last, " error suspected bug, carrying on condition=\"c == 0\" file="));
    T_OK(MP_BUG_ONCE(last[0]));
    T_EQ(lines, 2); /* another site */
    mp_log_set_level(MP_LOG_OFF);
    T_OK(MP_BUG_ONCE(last[0] != 0));
    T_EQ(lines, 2);
    mp_log_set_level(MP_LOG_INFO);
    mp_log_set_sink(NULL, NULL);
}

/* Past the size of the table of sites further sites are counted and not logged. */
static void many_sites(void)
{
    mp_log_set_sink(sink, NULL);
    lines = 0;
    uint64_t before = mp_bug_count();
    for (int line = 1; line <= 300; line++) {
        mp_bug_report("many", "file.c", line);
        mp_bug_report("many", "file.c", line);
    }
    T_EQ(mp_bug_count(), before + 600);
    T_OK(lines > 240 && lines <= 256);
    mp_log_set_sink(NULL, NULL);
}

static void magic(void)
{
    struct {
        uint32_t magic;
    } obj = {0x1234};
    MP_CHECK_MAGIC(&obj, 0x1234);
    MP_DEBUG_ASSERT(obj.magic == 0x1234);
    T_EQ(obj.magic, 0x1234);
}

int main(void)
{
    T_RUN(fails);
    T_RUN(bug_once);
    T_RUN(many_sites);
    T_RUN(magic);
    return T_DONE();
}
