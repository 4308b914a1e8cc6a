/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The program marchctl: finds the subcommand, reads options, runs it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "cli/cli.h"
#include "cli/help.h"

#define WORDS_MAX  64
#define TIMEOUT_MS 5000

const struct mp_cli_opt mp_cli_globals[] = {
    {"admin", "ADDRESS",
     "HOST:PORT or the path of a Unix socket (default: $MARCHPROXY_ADMIN, 127.0.0.1:9901)", NULL},
    {"token-file", "FILE", "file with the bearer token (default: $MARCHPROXY_TOKEN_FILE, none)",
     "@file"},
    {"timeout", "SECONDS", "for one answer of the proxy (default: 5)", NULL},
    {"json", NULL, "print JSON", NULL},
    {"help", NULL, "print help", NULL},
    {NULL, NULL, NULL, NULL},
};

enum global { G_ADMIN, G_TOKEN_FILE, G_TIMEOUT, G_JSON, G_HELP, G_COUNT };

struct line {
    char *words[WORDS_MAX]; /* what is no option, in order */
    uint32_t n_words;
    const char *global[G_COUNT];
};

int mp_cli_fail(enum mp_cli_exit code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("marchctl: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return code;
}

const char *mp_cli_value(const struct mp_cli *cli, const char *name)
{
    for (uint32_t i = 0; cli->cmd->opts != NULL && cli->cmd->opts[i].name != NULL; i++) {
        if (strcmp(cli->cmd->opts[i].name, name) == 0) {
            return cli->values[i];
        }
    }
    MP_ASSERT(false); /* of a subcommand that asks for an option it does not list */
    return NULL;
}

bool mp_cli_number(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    uint64_t v;
    if (mp_is_err(mp_str_to_u64(mp_str_c(text), &v)) || v < min || v > max) {
        (void)mp_cli_fail(MP_CLI_USAGE, "%s '%s': must be a number from %llu to %llu", what, text,
                          (unsigned long long)min, (unsigned long long)max);
        return false;
    }
    *ret = v;
    return true;
}

/* ---- options ---- */

static int find_opt(const struct mp_cli_opt *opts, const char *name, size_t n)
{
    for (int i = 0; opts != NULL && opts[i].name != NULL; i++) {
        if (strlen(opts[i].name) == n && memcmp(opts[i].name, name, n) == 0) {
            return i;
        }
    }
    return -1;
}

/* Takes argv[*at] (which begins with "--", or is a short form); false: complained. */
static bool take_opt(struct mp_cli *cli, struct line *line, int argc, char **argv, int *at)
{
    const char *word = argv[*at], *name = word + 2;
    if (word[1] != '-') {
        name = strcmp(word, "-h") == 0   ? "help"
               : strcmp(word, "-a") == 0 ? "admin"
               : strcmp(word, "-j") == 0 ? "json"
                                         : "";
    }
    const char *equals = strchr(name, '=');
    size_t n = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const struct mp_cli_opt *own = cli->cmd != NULL ? cli->cmd->opts : NULL;
    int g = find_opt(mp_cli_globals, name, n), c = find_opt(own, name, n);
    if (g < 0 && c < 0) {
        (void)mp_cli_fail(MP_CLI_USAGE, "unknown option '%s'%s%s", word,
                          cli->cmd != NULL ? " of " : "", cli->cmd != NULL ? cli->cmd->name : "");
        return false;
    }
    const struct mp_cli_opt *opt = c >= 0 ? &own[c] : &mp_cli_globals[g];
    const char *value = equals != NULL ? equals + 1 : "";
    if (opt->arg == NULL && equals != NULL) {
        (void)mp_cli_fail(MP_CLI_USAGE, "option '--%s' takes no value", opt->name);
        return false;
    }
    if (opt->arg != NULL && equals == NULL) {
        if (*at + 1 >= argc) {
            (void)mp_cli_fail(MP_CLI_USAGE, "option '--%s' needs a value: %s", opt->name, opt->arg);
            return false;
        }
        value = argv[++*at];
    }
    *(c >= 0 ? &cli->values[c] : &line->global[g]) = value;
    return true;
}

/* Options may stand anywhere; those of a subcommand after its name. */
static bool read_line(struct mp_cli *cli, struct line *line, int argc, char **argv)
{
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        if (!only_words && strcmp(argv[i], "--") == 0) {
            only_words = true;
        } else if (!only_words && argv[i][0] == '-' && argv[i][1] != '\0') {
            if (!take_opt(cli, line, argc, argv, &i)) {
                return false;
            }
        } else if (line->n_words == WORDS_MAX) {
            (void)mp_cli_fail(MP_CLI_USAGE, "too many arguments");
            return false;
        } else {
            uint32_t used;
            line->words[line->n_words++] = argv[i];
            if (line->n_words <= 2) {
                cli->cmd = mp_cli_find(line->words, line->n_words, &used);
            }
        }
    }
    return true;
}

static bool set_globals(struct mp_cli *cli, const struct line *line)
{
    const char *env = getenv("MARCHPROXY_ADMIN");
    cli->admin = line->global[G_ADMIN]           ? line->global[G_ADMIN]
                 : env != NULL && env[0] != '\0' ? env
                                                 : "127.0.0.1:9901";
    env = getenv("MARCHPROXY_TOKEN_FILE");
    cli->token_file = line->global[G_TOKEN_FILE]      ? line->global[G_TOKEN_FILE]
                      : env != NULL && env[0] != '\0' ? env
                                                      : NULL;
    cli->json = line->global[G_JSON] != NULL;
    cli->timeout_ms = TIMEOUT_MS;
    if (line->global[G_TIMEOUT] != NULL) {
        uint64_t s;
        if (!mp_cli_number("--timeout", line->global[G_TIMEOUT], 1, 86400, &s)) {
            return false;
        }
        cli->timeout_ms = (uint32_t)s * 1000;
    }
    return true;
}

/* ---- the subcommand ---- */

static int no_command(const struct line *line)
{
    bool asked = line->global[G_HELP] != NULL;
    if (line->n_words == 0 || (line->n_words == 1 && mp_cli_is_group(line->words[0]))) {
        mp_cli_help_all(asked ? stdout : stderr, line->n_words > 0 ? line->words[0] : NULL);
        return asked ? MP_CLI_OK : MP_CLI_USAGE;
    }
    bool two = line->n_words > 1 && mp_cli_is_group(line->words[0]);
    return mp_cli_fail(MP_CLI_USAGE, "unknown command '%s%s%s' (try 'marchctl help')",
                       line->words[0], two ? " " : "", two ? line->words[1] : "");
}

static int run(struct mp_cli *cli, struct line *line)
{
    uint32_t used = 0;
    cli->cmd = mp_cli_find(line->words, line->n_words, &used);
    if (cli->cmd == NULL) {
        return no_command(line);
    }
    if (line->global[G_HELP] != NULL) {
        mp_cli_help_command(stdout, cli->cmd);
        return MP_CLI_OK;
    }
    cli->args = line->words + used;
    cli->n_args = line->n_words - used;
    if (cli->n_args < cli->cmd->args_min || cli->n_args > cli->cmd->args_max) {
        return mp_cli_fail(MP_CLI_USAGE, "usage: marchctl %s%s%s", cli->cmd->name,
                           cli->cmd->args[0] != '\0' ? " " : "", cli->cmd->args);
    }
    return cli->cmd->run(cli);
}

int main(int argc, char **argv)
{
    struct mp_cli cli = {0};
    struct line line = {0};
    if (argc == 2 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)) {
        puts("marchctl " MP_VERSION);
        return MP_CLI_OK;
    }
    if (argc == 2 && strcmp(argv[1], "--man") == 0) {
        mp_cli_man(stdout); /* for the build */
        return MP_CLI_OK;
    }
    if (!read_line(&cli, &line, argc, argv) || !set_globals(&cli, &line)) {
        return MP_CLI_USAGE;
    }
    int rc = run(&cli, &line);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return rc != MP_CLI_OK ? rc : mp_cli_fail(MP_CLI_UNREACHABLE, "cannot write the output");
    }
    return rc;
}
