/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Subcommands that are one request. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/commands.h"
#include "cli/http.h"

static int run_listeners(struct mp_cli *cli)
{
    return mp_cli_show(cli, "GET", cli->json ? "/listeners?format=json" : "/listeners");
}

const struct mp_cli_cmd mp_cmd_listeners = {
    .name = "listeners",
    .args = "",
    .help = "print the listeners and their addresses",
    .run = run_listeners,
};

/* ---- ready ---- */

static int run_ready(struct mp_cli *cli)
{
    struct mp_cli_answer a;
    struct mp_sb error;
    mp_sb_init(&error, 4096);
    int rc = mp_cli_try(cli, "GET", "/ready", &a, &error);
    if (rc != MP_CLI_OK) {
        (void)mp_cli_fail(rc, "%s: %s", cli->admin, error.n > 0 ? error.p : "no answer");
        mp_sb_fini(&error);
        return rc;
    }
    mp_sb_fini(&error);
    struct mp_str state = mp_sb_str(&a.body);
    while (state.n > 0 && state.p[state.n - 1] == '\n') {
        state.n--;
    }
    bool denied = a.status == 401 || a.status == 403;
    if (denied) {
        (void)mp_cli_fail(MP_CLI_DENIED, MP_STR_FMT, MP_STR_ARG(state));
    } else if (cli->json) {
        struct mp_sb out;
        mp_sb_init(&out, MP_CLI_ANSWER_MAX);
        mp_sb_printf(&out, "{\"ready\": %s, \"state\": ", a.status == 200 ? "true" : "false");
        mp_sb_add_json(&out, state);
        mp_sb_add_c(&out, "}\n");
        fwrite(out.p, 1, out.n, stdout);
        mp_sb_fini(&out);
    } else {
        printf(MP_STR_FMT "\n", MP_STR_ARG(state));
    }
    rc = denied ? MP_CLI_DENIED : a.status == 200 ? MP_CLI_OK : MP_CLI_REFUSED;
    mp_cli_answer_fini(&a);
    return rc;
}

const struct mp_cli_cmd mp_cmd_ready = {
    .name = "ready",
    .args = "",
    .help = "print the proxy's state; exit status 0 when it is LIVE, 1 when not",
    .run = run_ready,
};

/* ---- log-level, reopen-logs ---- */

static int print_ok(const struct mp_cli *cli, const char *target)
{
    struct mp_cli_answer a;
    int rc = mp_cli_request(cli, "POST", target, &a);
    if (rc == MP_CLI_OK) {
        if (cli->json) {
            puts("{\"ok\": true}");
        } else {
            fwrite(a.body.p, 1, a.body.n, stdout);
        }
        mp_cli_answer_fini(&a);
    }
    return rc;
}

static int run_log_level(struct mp_cli *cli)
{
    struct mp_sb target;
    mp_sb_init(&target, 4096);
    mp_sb_add_c(&target, "/logging");
    if (cli->n_args > 0) {
        mp_cli_add_param(&target, "level", cli->args[0]);
    }
    int rc = print_ok(cli, target.p);
    mp_sb_fini(&target);
    return rc;
}

const struct mp_cli_cmd mp_cmd_log_level = {
    .name = "log-level",
    .args = "[LEVEL]",
    .args_max = 1,
    .words = "trace debug info warning error critical off",
    .help = "print or set the level of the proxy's log",
    .more =
        "LEVEL is trace, debug, info, warning, error, critical or off; it lasts until the proxy "
        "ends.",
    .run = run_log_level,
};

static int run_reopen_logs(struct mp_cli *cli)
{
    return print_ok(cli, "/reopen_logs");
}

const struct mp_cli_cmd mp_cmd_reopen_logs = {
    .name = "reopen-logs",
    .args = "",
    .help = "have the proxy reopen its log files, as SIGUSR1 does",
    .run = run_reopen_logs,
};

/* ---- get, post ---- */

static int run_raw(struct mp_cli *cli)
{
    if (cli->args[0][0] != '/') {
        return mp_cli_fail(MP_CLI_USAGE, "a path begins with '/'");
    }
    for (const char *p = cli->args[0]; *p != '\0'; p++) {
        if (*p <= ' ' || *p == 0x7f || *p == '#') {
            return mp_cli_fail(MP_CLI_USAGE, "a path has no blanks: write them as %%20");
        }
    }
    return mp_cli_show(cli, strcmp(cli->cmd->name, "get") == 0 ? "GET" : "POST", cli->args[0]);
}

const struct mp_cli_cmd mp_cmd_get = {
    .name = "get",
    .args = "PATH",
    .args_min = 1,
    .args_max = 1,
    .help = "print a page of the admin interface",
    .more = "marchctl get /help lists the pages.",
    .run = run_raw,
};

const struct mp_cli_cmd mp_cmd_post = {
    .name = "post",
    .args = "PATH",
    .args_min = 1,
    .args_max = 1,
    .help = "send a POST to a page of the admin interface",
    .run = run_raw,
};

/* ---- version ---- */

/* The value of "version" in /server_info, which is ours and has it as its first member. */
static struct mp_str version_of(struct mp_str text)
{
    static const struct mp_str key = {"\"version\": \"", 12};
    ptrdiff_t at = mp_str_find(text, key);
    if (at < 0) {
        return MP_STR("unknown");
    }
    struct mp_str rest = mp_str(text.p + at + key.n, text.n - (size_t)at - key.n), value;
    return mp_str_split(&rest, '"', &value) ? value : MP_STR("unknown");
}

static int run_version(struct mp_cli *cli)
{
    struct mp_cli_answer a;
    bool server = mp_cli_value(cli, "server") != NULL;
    if (!server) {
        puts(cli->json ? "{\"marchctl\": \"" MP_VERSION "\"}" : "marchctl " MP_VERSION);
        return MP_CLI_OK;
    }
    int rc = mp_cli_request(cli, "GET", "/server_info", &a);
    if (rc == MP_CLI_OK) {
        struct mp_str v = version_of(mp_sb_str(&a.body));
        printf(cli->json ? "{\"marchctl\": \"%s\", \"server\": \"%.*s\"}\n"
                         : "marchctl %s\nserver %.*s\n",
               MP_VERSION, MP_STR_ARG(v));
        mp_cli_answer_fini(&a);
    }
    return rc;
}

static const struct mp_cli_opt version_opts[] = {
    {"server", NULL, "ask the proxy for its version as well", NULL},
    {NULL, NULL, NULL, NULL},
};

const struct mp_cli_cmd mp_cmd_version = {
    .name = "version",
    .args = "",
    .help = "print versions",
    .opts = version_opts,
    .run = run_version,
};
