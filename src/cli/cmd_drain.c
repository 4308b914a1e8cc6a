/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/commands.h"
#include "cli/http.h"

#define WAIT_STEP_MS 100

/* Open downstream connections, without those of the admin interface; false: complained. */
static bool connections(const struct mp_cli *cli, uint64_t *ret, int *ret_rc)
{
    struct mp_cli_answer a;
    *ret_rc = mp_cli_request(cli, "GET", "/stats?filter=^server\\.total_connections$", &a);
    if (*ret_rc != MP_CLI_OK) {
        return false;
    }
    struct mp_str rest = mp_sb_str(&a.body), line;
    ptrdiff_t at = mp_str_split(&rest, '\n', &line) ? mp_str_chr(line, ' ', 0) : -1;
    bool ok =
        at >= 0 && !mp_is_err(mp_str_to_u64(mp_str(line.p + at + 1, line.n - (size_t)at - 1), ret));
    mp_cli_answer_fini(&a);
    if (!ok) {
        *ret_rc = mp_cli_fail(MP_CLI_UNREACHABLE, "the proxy does not count its connections");
    }
    return ok;
}

static int wait_idle(const struct mp_cli *cli, uint64_t seconds)
{
    uint64_t left = 0;
    int rc;
    for (uint64_t ms = 0;; ms += WAIT_STEP_MS) {
        if (!connections(cli, &left, &rc)) {
            return rc;
        }
        if (left == 0) {
            return MP_CLI_OK;
        }
        if (ms >= seconds * 1000) {
            return mp_cli_fail(MP_CLI_REFUSED, "%llu connections are still open",
                               (unsigned long long)left);
        }
        nanosleep(&(struct timespec){.tv_nsec = WAIT_STEP_MS * 1000000L}, NULL);
    }
}

static int run(struct mp_cli *cli)
{
    bool health = mp_cli_value(cli, "health-only") != NULL;
    bool undo = mp_cli_value(cli, "undo") != NULL, quit = mp_cli_value(cli, "quit") != NULL;
    const char *wait = mp_cli_value(cli, "wait");
    uint64_t seconds = 0;
    if (health + undo + quit > 1 || (wait != NULL && (health || undo || quit))) {
        return mp_cli_fail(MP_CLI_USAGE,
                           "--health-only, --undo, --quit and --wait exclude each other");
    }
    if (wait != NULL && !mp_cli_number("--wait", wait, 0, 86400, &seconds)) {
        return MP_CLI_USAGE;
    }
    struct mp_cli_answer a;
    int rc = mp_cli_request(cli, "POST",
                            health ? "/healthcheck/fail"
                            : undo ? "/healthcheck/ok"
                            : quit ? "/quitquitquit"
                                   : "/drain_listeners",
                            &a);
    if (rc != MP_CLI_OK) {
        return rc;
    }
    mp_cli_answer_fini(&a);
    rc = wait != NULL ? wait_idle(cli, seconds) : MP_CLI_OK;
    if (rc == MP_CLI_OK) {
        puts(cli->json ? "{\"ok\": true}" : "OK");
    }
    return rc;
}

static const struct mp_cli_opt opts[] = {
    {"wait", "SECONDS", "return when no connection is left; 1 when some are after SECONDS", NULL},
    {"quit", NULL, "drain, then end the proxy", NULL},
    {"health-only", NULL, "only let /ready and health checks fail; go on serving", NULL},
    {"undo", NULL, "take --health-only back", NULL},
    {NULL, NULL, NULL, NULL},
};

const struct mp_cli_cmd mp_cmd_drain = {
    .name = "drain",
    .args = "",
    .help = "stop accepting connections; open ones close after their current response",
    .more = "Draining cannot be undone. /ready answers DRAINING from now on.",
    .opts = opts,
    .run = run,
};
