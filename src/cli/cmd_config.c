/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/http.h"

/* ---- dump ---- */

static int run_dump(struct mp_cli *cli)
{
    struct mp_sb target;
    mp_sb_init(&target, 32768);
    mp_sb_add_c(&target, "/config_dump");
    if (mp_cli_value(cli, "resource") != NULL) {
        mp_cli_add_param(&target, "resource", mp_cli_value(cli, "resource"));
    }
    if (mp_cli_value(cli, "name") != NULL) {
        mp_cli_add_param(&target, "name_regex", mp_cli_value(cli, "name"));
    }
    if (mp_cli_value(cli, "include-eds") != NULL) {
        mp_cli_add_param(&target, "include_eds", "");
    }
    int rc = target.overflow ? mp_cli_fail(MP_CLI_USAGE, "the options are too long")
                             : mp_cli_show(cli, "GET", target.p);
    mp_sb_fini(&target);
    return rc;
}

static const struct mp_cli_opt dump_opts[] = {
    {"resource", "FIELD", "only the items of this field, such as static_clusters",
     "static_clusters static_listeners static_route_configs bootstrap"},
    {"name", "REGEX", "only resources whose whole name matches", NULL},
    {"include-eds", NULL, "endpoints, as they are resolved now, as well", NULL},
    {NULL, NULL, NULL, NULL},
};

const struct mp_cli_cmd mp_cmd_config_dump = {
    .name = "config dump",
    .args = "",
    .help = "print the running configuration as JSON; secrets are redacted",
    .opts = dump_opts,
    .run = run_dump,
};

/* ---- validate ---- */

/* marchproxy beside this program, else on the PATH. */
static void find_proxy(char out[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 16);
    char *slash = n > 0 ? memrchr(out, '/', (size_t)n) : NULL;
    if (slash != NULL) {
        strcpy(slash + 1, "marchproxy");
        if (access(out, X_OK) == 0) {
            return;
        }
    }
    strcpy(out, "marchproxy");
}

static int run_validate(struct mp_cli *cli)
{
    char path[PATH_MAX];
    bool allow = mp_cli_value(cli, "allow-unsupported") != NULL;
    find_proxy(path);
    char *argv[] = {"marchproxy", "--mode",     "validate",
                    "-c",         cli->args[0], allow ? "--allow-unsupported" : NULL,
                    NULL};
    fflush(stdout);
    execvp(path, argv);
    return mp_cli_fail(MP_CLI_UNREACHABLE, "cannot run %s: %s", path, strerror(errno));
}

static const struct mp_cli_opt validate_opts[] = {
    {"allow-unsupported", NULL, "what the proxy does not act on is a warning", NULL},
    {NULL, NULL, NULL, NULL},
};

const struct mp_cli_cmd mp_cmd_config_validate = {
    .name = "config validate",
    .args = "FILE",
    .args_min = 1,
    .args_max = 1,
    .words = "@file",
    .help = "check a configuration file; no proxy has to run",
    .more = "Runs marchproxy --mode validate: exit status 0 when the file is good, 1 when it is "
            "refused.",
    .opts = validate_opts,
    .run = run_validate,
};

/* ---- schema ---- */

static int run_schema(struct mp_cli *cli)
{
    char path[PATH_MAX];
    (void)cli;
    find_proxy(path);
    char *argv[] = {"marchproxy", "--schema", NULL};
    fflush(stdout);
    execvp(path, argv);
    return mp_cli_fail(MP_CLI_UNREACHABLE, "cannot run %s: %s", path, strerror(errno));
}

const struct mp_cli_cmd mp_cmd_config_schema = {
    .name = "config schema",
    .args = "",
    .help = "print the JSON Schema of march.yaml, for editors; no proxy has to run",
    .run = run_schema,
};

/* ---- reload ---- */

static int run_reload(struct mp_cli *cli)
{
    struct mp_cli_answer a;
    int rc = mp_cli_request(cli, "POST", "/reload", &a);
    if (rc != MP_CLI_OK) {
        return rc;
    }
    if (cli->json) {
        struct mp_sb out;
        mp_sb_init(&out, MP_CLI_ANSWER_MAX);
        mp_sb_add_c(&out, "{\"live\": true, \"message\": ");
        mp_sb_add_json(&out, mp_sb_str(&a.body));
        mp_sb_add_c(&out, "}\n");
        fwrite(out.p, 1, out.n, stdout);
        mp_sb_fini(&out);
    } else {
        fwrite(a.body.p, 1, a.body.n, stdout);
    }
    mp_cli_answer_fini(&a);
    return MP_CLI_OK;
}

const struct mp_cli_cmd mp_cmd_config_reload = {
    .name = "config reload",
    .args = "",
    .help = "have the proxy read its file again; prints why when it is refused",
    .more = "Returns when every worker runs the new configuration. A refused one changes nothing.",
    .run = run_reload,
};
