/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <string.h>

#include "cli/commands.h"
#include "cli/http.h"

static int run(struct mp_cli *cli)
{
    struct mp_sb target;
    bool prometheus = mp_cli_value(cli, "prometheus") != NULL;
    const char *filter = cli->n_args > 0 ? cli->args[0] : mp_cli_value(cli, "filter");
    if (prometheus && cli->json) {
        return mp_cli_fail(MP_CLI_USAGE, "--prometheus and --json exclude each other");
    }
    if (cli->n_args > 0 && mp_cli_value(cli, "filter") != NULL) {
        return mp_cli_fail(MP_CLI_USAGE, "one filter only");
    }
    mp_sb_init(&target, 32768);
    mp_sb_add_c(&target, prometheus ? "/stats/prometheus" : "/stats");
    if (cli->json) {
        mp_cli_add_param(&target, "format", "json");
    }
    if (filter != NULL) {
        mp_cli_add_param(&target, "filter", filter);
    }
    if (mp_cli_value(cli, "type") != NULL) {
        mp_cli_add_param(&target, "type", mp_cli_value(cli, "type"));
    }
    if (mp_cli_value(cli, "used") != NULL) {
        mp_cli_add_param(&target, "usedonly", "");
    }
    int rc = target.overflow ? mp_cli_fail(MP_CLI_USAGE, "the filter is too long")
                             : mp_cli_show(cli, "GET", target.p);
    mp_sb_fini(&target);
    return rc;
}

static const struct mp_cli_opt opts[] = {
    {"filter", "REGEX", "only stats whose name has a part that matches", NULL},
    {"type", "KIND", "Counters, Gauges or Histograms", "Counters Gauges Histograms"},
    {"used", NULL, "only stats that have been written", NULL},
    {"prometheus", NULL, "in the text format of Prometheus", NULL},
    {NULL, NULL, NULL, NULL},
};

const struct mp_cli_cmd mp_cmd_stats = {
    .name = "stats",
    .args = "[REGEX]",
    .args_max = 1,
    .help = "print counters, gauges and histograms",
    .opts = opts,
    .run = run,
};
