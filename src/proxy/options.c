/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "proxy/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "conf/schema.h"
#include "filters/registry.h"

#define WORKERS_MAX 256
#define DRAIN_S_MAX 86400
#define SCHEMA_MAX  (1 << 20)

static const char help[] =
    "Usage: marchproxy -c FILE [options]\n"
    "\n"
    "  -c, --config FILE        configuration: march.yaml or an Envoy v3 bootstrap (YAML or JSON)\n"
    "      --config-path FILE   the same\n"
    "  -t, --mode validate      check the configuration and exit (0: good, 1: refused)\n"
    "      --allow-unsupported  what the proxy does not act on is a warning instead of an error\n"
    "      --watch              reload when the configuration file changes\n"
    "      --concurrency N      worker threads (default: one for each CPU this process may use)\n"
    "  -l, --log-level LEVEL    trace, debug, info, warning, error, critical or off (default: "
    "$LOGLEVEL, info)\n"
    "      --log-format FORMAT  text or json (default: text)\n"
    "      --drain-time-s N     seconds that open requests are given on SIGTERM (default: 30)\n"
    "      --user USER          what root becomes after the start: name or number (default: user: "
    "of "
    "the file)\n"
    "      --group GROUP        its group (default: group: of the file, the user's own)\n"
    "      --sandbox WHEN       auto, on or off: Landlock, seccomp and a broker (default: auto, "
    "with "
    "a user)\n"
    "      --schema             print the JSON Schema of march.yaml\n"
    "      --on-exit WHAT       detach or keep: the guard's programs after a clean stop (default: "
    "xdp.on_exit, detach)\n"
    "  -V, --version            print the version\n"
    "  -h, --help               print this text\n"
    "\n"
    "Signals: SIGTERM and SIGINT stop gracefully (a second one at once), SIGHUP reloads the "
    "configuration,\n"
    "SIGUSR1 reopens log files.\n";

enum {
    OPT_MODE = 256,
    OPT_CONCURRENCY,
    OPT_ALLOW,
    OPT_LOG_FORMAT,
    OPT_DRAIN,
    OPT_WATCH,
    OPT_USER,
    OPT_GROUP,
    OPT_SANDBOX,
    OPT_SCHEMA,
    OPT_ON_EXIT
};

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"config-path", required_argument, NULL, 'c'},
    {"mode", required_argument, NULL, OPT_MODE},
    {"allow-unsupported", no_argument, NULL, OPT_ALLOW},
    {"concurrency", required_argument, NULL, OPT_CONCURRENCY},
    {"log-level", required_argument, NULL, 'l'},
    {"log-format", required_argument, NULL, OPT_LOG_FORMAT},
    {"drain-time-s", required_argument, NULL, OPT_DRAIN},
    {"watch", no_argument, NULL, OPT_WATCH},
    {"user", required_argument, NULL, OPT_USER},
    {"group", required_argument, NULL, OPT_GROUP},
    {"sandbox", required_argument, NULL, OPT_SANDBOX},
    {"schema", no_argument, NULL, OPT_SCHEMA},
    {"on-exit", required_argument, NULL, OPT_ON_EXIT},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool number(const char *name, const char *text, uint64_t min, uint64_t max, uint32_t *ret)
{
    uint64_t v;
    if (mp_is_err(mp_str_to_u64(mp_str_c(text), &v)) || v < min || v > max) {
        fprintf(stderr, "marchproxy: --%s %s: must be a number from %llu to %llu\n", name, text,
                (unsigned long long)min, (unsigned long long)max);
        return false;
    }
    *ret = (uint32_t)v;
    return true;
}

static bool word(const char *name, const char *text, const char *a, const char *b)
{
    if (strcmp(text, a) == 0 || strcmp(text, b) == 0) {
        return true;
    }
    fprintf(stderr, "marchproxy: --%s %s: must be %s or %s\n", name, text, a, b);
    return false;
}

static bool sandbox(const char *text, enum mp_sandbox *ret)
{
    static const char *const words[] = {
        [MP_SANDBOX_AUTO] = "auto", [MP_SANDBOX_ON] = "on", [MP_SANDBOX_OFF] = "off"};
    for (size_t i = 0; i < MP_COUNTOF(words); i++) {
        if (strcmp(text, words[i]) == 0) {
            *ret = (enum mp_sandbox)i;
            return true;
        }
    }
    fprintf(stderr, "marchproxy: --sandbox %s: must be auto, on or off\n", text);
    return false;
}

/* given: the argument as typed. */
static bool take(int opt, const char *given, struct mp_options *o)
{
    switch (opt) {
    case 'c':
        o->config = optarg;
        return true;
    case 't':
        o->validate = true;
        return true;
    case 'l':
        o->log_level = optarg;
        return true;
    case OPT_MODE:
        o->validate = strcmp(optarg, "validate") == 0;
        return word("mode", optarg, "validate", "serve");
    case OPT_ALLOW:
        o->allow_unsupported = true;
        return true;
    case OPT_WATCH:
        o->watch = true;
        return true;
    case OPT_LOG_FORMAT:
        o->log_json = strcmp(optarg, "json") == 0;
        return word("log-format", optarg, "text", "json");
    case OPT_CONCURRENCY:
        return number("concurrency", optarg, 1, WORKERS_MAX, &o->concurrency);
    case OPT_DRAIN:
        return number("drain-time-s", optarg, 0, DRAIN_S_MAX, &o->drain_time_s);
    case OPT_ON_EXIT:
        o->on_exit = optarg;
        return word("on-exit", optarg, "detach", "keep");
    case OPT_USER:
        o->user = optarg;
        return true;
    case OPT_GROUP:
        o->group = optarg;
        return true;
    case OPT_SANDBOX:
        return sandbox(optarg, &o->sandbox);
    case ':':
        fprintf(stderr, "marchproxy: option '%s' needs an argument\nTry 'marchproxy --help'.\n",
                given);
        return false;
    default:
        fprintf(stderr, "marchproxy: unknown option '%s'\nTry 'marchproxy --help'.\n", given);
        return false;
    }
}

static void print_schema(void)
{
    struct mp_sb sb;
    mp_sb_init(&sb, SCHEMA_MAX);
    mp_conf_schema(&mp_filters_registry, &sb);
    fwrite(sb.p, 1, sb.n, stdout);
    mp_sb_fini(&sb);
}

enum mp_options_result mp_options_parse(int argc, char **argv, struct mp_options *ret)
{
    *ret = (struct mp_options){.drain_time_s = 30};
    int opt;
    opterr = 0; /* messages are ours */
    while ((opt = getopt_long(argc, argv, ":c:tl:Vh", long_options, NULL)) != -1) {
        if (opt == 'h') {
            fputs(help, stdout);
            return MP_OPTIONS_EXIT_OK;
        }
        if (opt == OPT_SCHEMA) {
            print_schema();
            return MP_OPTIONS_EXIT_OK;
        }
        if (opt == 'V') {
            printf("marchproxy %s\n", MP_VERSION);
            return MP_OPTIONS_EXIT_OK;
        }
        if (!take(opt, argv[optind - 1], ret)) {
            return MP_OPTIONS_EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "marchproxy: unexpected argument '%s'\nTry 'marchproxy --help'.\n",
                argv[optind]);
        return MP_OPTIONS_EXIT_USAGE;
    }
    if (ret->config == NULL) {
        fprintf(stderr,
                "marchproxy: no configuration given: use -c FILE\nTry 'marchproxy --help'.\n");
        return MP_OPTIONS_EXIT_USAGE;
    }
    return MP_OPTIONS_RUN;
}
