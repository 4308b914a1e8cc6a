/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Instruction counts of one whole proxied request: bytes of a client on a kept connection to bytes
 * of the response, through listener, codec, stream, chain, router, pool and back. Runs on the
 * simulated backend; its own code and the peers here are not counted (tools/callgrind_gate.py
 * counts src/ without the simulation).
 */
#include "base/assert.h"
#include "callgrind/cg.h"
#include "callgrind/token.h"
#include "conf/load.h"
#include "core/engine.h"
#include "filters/registry.h"
#include "io/sim.h"
#include "io/sock.h"
#include "unit/codec/heads.h"

#define POST_HEAD                                                                  \
    "POST /form HTTP/1.1\r\nHost: www.example.com\r\nContent-Type: text/plain\r\n" \
    "Content-Length: 16384\r\n\r\n"
#define POST_BODY 16384
#define RESPONSE_HEAD \
    "HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: text/html\r\nContent-Length: 1024\r\n\r\n"
#define RESPONSE_BODY 1024

static const char CONFIG[] = "listen: 10.9.9.9:10000\n"
                             "admin: off\n"
                             "access_log: off\n"
                             "services:\n"
                             "- {name: web, hosts: [10.0.0.1], port: 8080}\n"
                             "routes:\n"
                             "- {name: all, prefix: /, cluster_name: web}\n";
static const char *filters = ""; /* the end of the file */
static const struct mp_addr front = {.family = MP_ADDR_IP4, .port = 10000, .ip = {10, 9, 9, 9}};
static const struct mp_addr back = {.family = MP_ADDR_IP4, .port = 8080, .ip = {10, 0, 0, 1}};

/* One end of a connection: counts what comes in, sends what is due. */
struct peer {
    struct mp_io io; /* first */
    size_t in, out, out_n;
};

static struct mp_loop *proxy_loop, *main_loop, *peer_loop;
static struct mp_engine *engine;
static struct mp_io accept_io;
static struct peer client, upstream;
static char request[sizeof(POST_HEAD) + POST_BODY], response[2048];
static size_t request_n, response_n, expected;

/* ---- peers ---- */

static void push(struct peer *p, const char *bytes)
{
    while (p->out < p->out_n) {
        ssize_t w = mp_sock_send(peer_loop, p->io.fd, bytes + p->out, p->out_n - p->out);
        if (w <= 0) {
            return;
        }
        p->out += (size_t)w;
    }
}

static void pull(struct peer *p)
{
    static char buf[65536];
    ssize_t r;
    while ((r = mp_sock_recv(peer_loop, p->io.fd, buf, sizeof(buf))) > 0) {
        p->in += (size_t)r;
    }
}

static void on_client(struct mp_io *io, unsigned events)
{
    struct peer *p = (struct peer *)io;
    pull(p);
    push(p, request);
}

/* Answers when more than the request's body has come in: the head came first, and in one piece. */
static void on_upstream(struct mp_io *io, unsigned events)
{
    struct peer *p = (struct peer *)io;
    pull(p);
    if (p->in >= expected && p->out_n == 0) {
        p->out_n = response_n;
    }
    push(p, response);
}

static void on_accept(struct mp_io *io, unsigned events)
{
    struct mp_addr from;
    int fd = mp_sock_accept(peer_loop, io->fd, &from);
    if (fd >= 0 && mp_is_err(mp_io_open(peer_loop, &upstream.io, fd, on_upstream))) {
        abort();
    }
}

/* ---- the proxy ---- */

static void start_engine(void)
{
    struct mp_diag diag;
    struct mp_conf *conf;
    struct mp_snapshot *snap;
    const struct mp_engine_opts opts = {.n_workers = 1,
                                        .loops = &proxy_loop,
                                        .main_loop = main_loop,
                                        .seed = 1,
                                        .registry = &mp_filters_registry};
    const struct mp_conf_load_opts load = {.registry = &mp_filters_registry};
    char config[sizeof(CONFIG) + 256];
    snprintf(config, sizeof(config), "%s%s", CONFIG, filters);
    mp_diag_init(&diag, "cg.yaml");
    if (mp_is_err(mp_engine_new(&opts, &engine)) ||
        mp_is_err(mp_conf_load_text(mp_str_c(config), "cg.yaml", &load, &diag, &conf)) ||
        mp_is_err(mp_engine_build(engine, engine->snap, conf, &diag, &snap)) ||
        mp_is_err(mp_engine_apply(engine, snap, &diag))) {
        struct mp_sb text;
        mp_sb_init(&text, 65536);
        mp_diag_format(&diag, &text);
        fprintf(stderr, MP_STR_FMT, MP_STR_ARG(mp_sb_str(&text)));
        abort();
    }
    mp_diag_fini(&diag);
}

static bool never(void *arg)
{
    return false;
}

static bool answered(void *arg)
{
    return client.in > RESPONSE_BODY && upstream.out == upstream.out_n && upstream.out_n > 0;
}

static void prepare(void)
{
    const struct mp_sim_opts so = {.seed = 1, .sock_buffer = 1 << 20};
    mp_sim_begin(&so);
    proxy_loop = mp_loop_new();
    main_loop = mp_loop_new();
    peer_loop = mp_loop_new();
    memcpy(response, RESPONSE_HEAD, sizeof(RESPONSE_HEAD) - 1);
    memset(response + sizeof(RESPONSE_HEAD) - 1, 'b', RESPONSE_BODY);
    response_n = sizeof(RESPONSE_HEAD) - 1 + RESPONSE_BODY;
    const struct mp_listen_opts lo = {0};
    int fd = mp_sock_listen(peer_loop, &back, &lo);
    if (fd < 0 || mp_is_err(mp_io_open_listener(peer_loop, &accept_io, fd, on_accept))) {
        abort();
    }
    start_engine();
    (void)mp_sim_run_until(never, NULL, 100); /* the workers have the snapshot */
    fd = mp_sock_connect(peer_loop, &front, NULL);
    if (fd < 0 || mp_is_err(mp_io_open(peer_loop, &client.io, fd, on_client))) {
        abort();
    }
    (void)mp_sim_run_until(never, NULL, 100);
}

static void one_request(void)
{
    client.in = client.out = upstream.in = upstream.out = upstream.out_n = 0;
    client.out_n = request_n;
    push(&client, request);
    if (!mp_sim_run_until(answered, NULL, 1000)) {
        fprintf(stderr, "no answer: client got %zu bytes, upstream %zu\n", client.in, upstream.in);
        abort();
    }
    (void)mp_sim_run_until(never, NULL, 1); /* the end of the turn */
}

/* What comes round only now and then (timers, pools) has its share too. */
static void many_requests(void)
{
    for (int i = 0; i < 1000; i++) {
        one_request();
    }
}

static void set_request(const char *head, size_t body)
{
    size_t n = strlen(head);
    memcpy(request, head, n);
    memset(request + n, 'q', body);
    request_n = n + body;
    expected = body > 0 ? body + 1 : 1;
    prepare();
    one_request(); /* connects the upstream */
}

static void prepare_small(void)
{
    set_request(HEAD_SMALL, 0);
}

static void prepare_browser(void)
{
    set_request(HEAD_BROWSER, 0);
}

static void prepare_post(void)
{
    set_request(POST_HEAD, POST_BODY);
}

/* The browser's with a token: by itself, and what a stock filter adds to it, from its callbacks to
 * the fields that it has written. */
static void prepare_token(const char *conf)
{
    static char head[sizeof(HEAD_BROWSER) + 256];
    char token[192];
    filters = conf;
    cg_make_token(token, sizeof(token));
    snprintf(head, sizeof(head), "%.*sAuthorization: Bearer %s\r\n\r\n",
             (int)sizeof(HEAD_BROWSER) - 3, HEAD_BROWSER, token);
    set_request(head, 0);
    one_request(); /* what is remembered, is now */
}

static void prepare_token_alone(void)
{
    prepare_token("");
}

static void prepare_token_auth(void)
{
    prepare_token("filters: {auth: {jwt_secret: secret}}\n");
}

static void prepare_token_license(void)
{
    prepare_token("filters: {license: {license_key: PENG-1234-5678-90AB-CDEF-WXYZ, "
                  "is_enterprise: true, max_proxies: 100}}\n");
}

static void prepare_token_metrics(void)
{
    prepare_token("filters: {metrics: {}}\n");
}

int main(int argc, char **argv)
{
    static const struct cg_case cases[] = {
        {"small", prepare_small, one_request},
        {"browser", prepare_browser, one_request},
        {"browser_1000", prepare_browser, many_requests},
        {"post_16k", prepare_post, one_request},
        {"token", prepare_token_alone, one_request},
        {"token_auth", prepare_token_auth, one_request},
        {"token_license", prepare_token_license, one_request},
        {"token_metrics", prepare_token_metrics, one_request},
    };
    return cg_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
