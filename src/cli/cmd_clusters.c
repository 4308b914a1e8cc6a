/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The admin page has a line per value; a person wants a line per host. */
#include <string.h>

#include "cli/commands.h"
#include "cli/http.h"
#include "cli/out.h"

static const char *const titles[] = {"CLUSTER",  "HOST",   "HEALTH",   "CONNECTIONS",
                                     "REQUESTS", "WEIGHT", "PRIORITY", "NAME"};
enum { HEALTH, CX, RQ, WEIGHT, PRIORITY, NAME, VALUES };
static const char *const keys[VALUES] = {"health_flags", "cx_active", "rq_active",
                                         "weight",       "priority",  "hostname"};

struct host {
    struct mp_str cluster, host;
    struct mp_str values[VALUES];
};

/* Cuts the part behind the last "::" off *s. */
static struct mp_str cut_last(struct mp_str *s)
{
    for (size_t i = s->n; i >= 2; i--) {
        if (s->p[i - 1] == ':' && s->p[i - 2] == ':') {
            struct mp_str last = mp_str(s->p + i, s->n - i);
            s->n = i - 2;
            return last;
        }
    }
    return mp_str(NULL, 0);
}

static void add_host(struct mp_cli_table *t, const struct host *h)
{
    if (h->host.n == 0) {
        return;
    }
    mp_cli_cell(t, MP_STR_FMT, MP_STR_ARG(h->cluster));
    mp_cli_cell(t, MP_STR_FMT, MP_STR_ARG(h->host));
    for (size_t i = 0; i < VALUES; i++) {
        mp_cli_cell(t, MP_STR_FMT, MP_STR_ARG(h->values[i]));
    }
}

/* "cluster::host::key::value"; the lines of a host follow each other. A host is an address, so the
 * separators are found from the end: names of clusters may hold "::". */
static void take_line(struct mp_cli_table *t, struct host *h, struct mp_str line)
{
    struct mp_str rest = line;
    struct mp_str value = cut_last(&rest), key = cut_last(&rest);
    struct mp_str host = cut_last(&rest);
    size_t at = 0;
    while (at < VALUES && !mp_str_eq(key, mp_str_c(keys[at]))) {
        at++;
    }
    if (at == VALUES || host.p == NULL) {
        return; /* a limit, or a value that has no column */
    }
    /* "[::1]:80" is cut inside; its first part ends with '['. */
    ptrdiff_t bracket = mp_str_find(rest, MP_STR("::["));
    if (bracket >= 0 && memchr(host.p, ']', host.n) != NULL) {
        host =
            mp_str(rest.p + bracket + 2, (size_t)(host.p + host.n - rest.p) - (size_t)bracket - 2);
        rest.n = (size_t)bracket;
    }
    if (!mp_str_eq(h->host, host) || !mp_str_eq(h->cluster, rest)) {
        add_host(t, h);
        *h = (struct host){.cluster = rest, .host = host};
    }
    h->values[at] = value;
}

static void print(struct mp_str text, const char *only)
{
    struct mp_cli_table t;
    struct host h = {0};
    struct mp_str line;
    mp_cli_table_init(&t, titles, MP_COUNTOF(titles), 0x78);
    while (mp_str_split(&text, '\n', &line)) {
        if (only == NULL ||
            (mp_str_starts(line, mp_str_c(only)) &&
             mp_str_starts(mp_str(line.p + strlen(only), line.n - strlen(only)), MP_STR("::")))) {
            take_line(&t, &h, line);
        }
    }
    add_host(&t, &h);
    mp_cli_table_print(&t, stdout);
    mp_cli_table_fini(&t);
}

static int run(struct mp_cli *cli)
{
    bool raw = mp_cli_value(cli, "raw") != NULL;
    const char *only = cli->n_args > 0 ? cli->args[0] : NULL;
    if ((raw || cli->json) && only != NULL) {
        return mp_cli_fail(MP_CLI_USAGE, "--raw and --json print all clusters");
    }
    if (raw || cli->json) {
        return mp_cli_show(cli, "GET", cli->json ? "/clusters?format=json" : "/clusters");
    }
    struct mp_cli_answer a;
    int rc = mp_cli_request(cli, "GET", "/clusters", &a);
    if (rc == MP_CLI_OK) {
        print(mp_sb_str(&a.body), only);
        mp_cli_answer_fini(&a);
    }
    return rc;
}

static const struct mp_cli_opt opts[] = {
    {"raw", NULL, "the admin page as it is, with limits and every value", NULL},
    {NULL, NULL, NULL, NULL},
};

const struct mp_cli_cmd mp_cmd_clusters = {
    .name = "clusters",
    .args = "[CLUSTER]",
    .args_max = 1,
    .help = "print the hosts of clusters with their health and load",
    .opts = opts,
    .run = run,
};
