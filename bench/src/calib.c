/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* How fast is this CPU at this moment? A loopback ping-pong (300 bytes there, 1300 back: two sends
 * and two receives, what a proxied request costs the kernel) for 60 ms of CPU time. Prints
 * nanoseconds per round. Run pinned to the proxy's CPU before and after each sample; samples taken
 * while the machine was slow are dropped.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_NS 60e6
#define BATCH     100

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void check(int failed, const char *what)
{
    if (failed) {
        perror(what);
        exit(1);
    }
}

static void connect_pair(int *ret_a, int *ret_b)
{
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(where);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    check(bind(listener, (struct sockaddr *)&where, n) < 0, "bind");
    check(getsockname(listener, (struct sockaddr *)&where, &n) < 0, "getsockname");
    check(listen(listener, 1) < 0, "listen");
    *ret_a = socket(AF_INET, SOCK_STREAM, 0);
    check(connect(*ret_a, (struct sockaddr *)&where, n) < 0, "connect");
    *ret_b = accept(listener, NULL, NULL);
    check(*ret_b < 0, "accept");
    close(listener);
    int on = 1;
    setsockopt(*ret_a, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(*ret_b, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void pass(int from, int to, size_t n)
{
    static char buf[4096];
    check(send(from, buf, n, 0) != (ssize_t)n, "send");
    for (size_t got = 0; got < n;) {
        ssize_t k = recv(to, buf, sizeof(buf), 0);
        check(k <= 0, "recv");
        got += (size_t)k;
    }
}

int main(void)
{
    int a, b;
    connect_pair(&a, &b);
    unsigned rounds = 0;
    double begin = cpu_ns(), now;
    do {
        for (int i = 0; i < BATCH; i++) {
            pass(a, b, 300);
            pass(b, a, 1300);
        }
        rounds += BATCH;
        now = cpu_ns();
    } while (now - begin < ROUNDS_NS);
    printf("%.1f\n", (now - begin) / rounds);
    return 0;
}
