/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The kernel tier's guard: its lists, and what the kernel offers it. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/http.h"

static int run_list(struct mp_cli *cli)
{
    return mp_cli_show(cli, "GET", cli->json ? "/deny_list?format=json" : "/deny_list");
}

const struct mp_cli_cmd mp_cmd_guard_list = {
    .name = "guard list",
    .args = "",
    .help = "print who is denied and who is allowed",
    .more = "Entries come from the configuration, by hand, from verdicts on requests (xdp.ban), or "
            "are hosts that the proxy sends requests to.",
    .run = run_list,
};

/* An address or a prefix has nothing that a query must escape. */
static int change(struct mp_cli *cli, const char *what, const char *more)
{
    char target[200];
    const char *source = cli->args[0];
    if (source[strspn(source, "0123456789abcdefABCDEF.:/")] != '\0' || strlen(source) > 80) {
        return mp_cli_fail(MP_CLI_USAGE, "'%s' is neither an address nor a prefix", source);
    }
    snprintf(target, sizeof(target), "/deny_list/%s?source=%s%s", what, source, more);
    struct mp_cli_answer a;
    int rc = mp_cli_request(cli, "POST", target, &a);
    if (rc == MP_CLI_OK) {
        puts(cli->json ? "{\"ok\": true}" : "OK");
        mp_cli_answer_fini(&a);
    }
    return rc;
}

static int run_deny(struct mp_cli *cli)
{
    const char *text = mp_cli_value(cli, "seconds");
    uint64_t seconds = 0;
    char more[40];
    if (text != NULL && !mp_cli_number("--seconds", text, 1, 1000000000, &seconds)) {
        return MP_CLI_USAGE;
    }
    snprintf(more, sizeof(more), "&seconds=%llu", (unsigned long long)seconds);
    return change(cli, "deny", more);
}

static const struct mp_cli_opt deny_opts[] = {
    {"seconds", "N", "for how long; default: until it is removed", NULL},
    {NULL, NULL, NULL, NULL},
};

const struct mp_cli_cmd mp_cmd_guard_deny = {
    .name = "guard deny",
    .args = "SOURCE",
    .args_min = 1,
    .args_max = 1,
    .help = "drop the packets of an address or prefix",
    .more = "Without a program in the kernel its connections are refused instead. Who is on the "
            "allow list is not concerned.",
    .opts = deny_opts,
    .run = run_deny,
};

static int run_allow(struct mp_cli *cli)
{
    return change(cli, "allow", "");
}

const struct mp_cli_cmd mp_cmd_guard_allow = {
    .name = "guard allow",
    .args = "SOURCE",
    .args_min = 1,
    .args_max = 1,
    .help = "never deny an address or prefix, and set it no limit",
    .run = run_allow,
};

static int run_remove(struct mp_cli *cli)
{
    return change(cli, "remove", "");
}

const struct mp_cli_cmd mp_cmd_guard_remove = {
    .name = "guard remove",
    .args = "SOURCE",
    .args_min = 1,
    .args_max = 1,
    .help = "take an address or prefix off both lists",
    .more = "What the configuration holds is removed there.",
    .run = run_remove,
};

static int run_kernel(struct mp_cli *cli)
{
    return mp_cli_show(cli, "GET", cli->json ? "/kernel?format=json" : "/kernel");
}

const struct mp_cli_cmd mp_cmd_kernel = {
    .name = "kernel",
    .args = "",
    .help = "print what the kernel offers the guard, what each missing feature costs, and where it "
            "is attached",
    .run = run_kernel,
};
