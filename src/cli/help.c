/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "cli/help.h"

#include <string.h>

#include "cli/commands.h"

static bool starts_with_word(const char *name, const char *word)
{
    size_t n = strlen(word);
    return strncmp(name, word, n) == 0 && (name[n] == ' ' || name[n] == '\0');
}

bool mp_cli_is_group(const char *word)
{
    for (const struct mp_cli_cmd *const *c = mp_cli_commands; *c != NULL; c++) {
        if (strchr((*c)->name, ' ') != NULL && starts_with_word((*c)->name, word)) {
            return true;
        }
    }
    return false;
}

const struct mp_cli_cmd *mp_cli_find(char *const *words, uint32_t n, uint32_t *ret_used)
{
    for (const struct mp_cli_cmd *const *c = mp_cli_commands; n > 0 && *c != NULL; c++) {
        const char *blank = strchr((*c)->name, ' ');
        if (blank == NULL && strcmp((*c)->name, words[0]) == 0) {
            *ret_used = 1;
            return *c;
        }
        if (blank != NULL && n > 1 && starts_with_word((*c)->name, words[0]) &&
            strcmp(blank + 1, words[1]) == 0) {
            *ret_used = 2;
            return *c;
        }
    }
    return NULL;
}

static void print_opts(FILE *f, const struct mp_cli_opt *opts)
{
    for (; opts != NULL && opts->name != NULL; opts++) {
        char text[64];
        snprintf(text, sizeof(text), "--%s%s%s", opts->name, opts->arg != NULL ? " " : "",
                 opts->arg != NULL ? opts->arg : "");
        fprintf(f, "  %-24s %s\n", text, opts->help);
    }
}

void mp_cli_help_all(FILE *f, const char *group)
{
    fprintf(f, "Usage: marchctl [options] %s [arguments]\n\n", group != NULL ? group : "COMMAND");
    for (const struct mp_cli_cmd *const *c = mp_cli_commands; *c != NULL; c++) {
        if (group == NULL || starts_with_word((*c)->name, group)) {
            char text[64];
            snprintf(text, sizeof(text), "%s%s%s", (*c)->name, (*c)->args[0] != '\0' ? " " : "",
                     (*c)->args);
            fprintf(f, "  %-24s %s\n", text, (*c)->help);
        }
    }
    fputs("\nOptions of all commands:\n", f);
    print_opts(f, mp_cli_globals);
    fputs("\nExit status: 0 done, 1 refused, 2 wrong command line, 3 proxy not reached, "
          "4 not authorised.\n'marchctl help COMMAND' says more about one of them.\n",
          f);
}

void mp_cli_help_command(FILE *f, const struct mp_cli_cmd *cmd)
{
    bool opts = cmd->opts != NULL;
    fprintf(f, "Usage: marchctl %s%s%s%s\n\n%c%s.\n", cmd->name, opts ? " [options]" : "",
            cmd->args[0] != '\0' ? " " : "", cmd->args,
            (char)(cmd->help[0] - (cmd->help[0] >= 'a' && cmd->help[0] <= 'z' ? 32 : 0)),
            cmd->help + 1);
    if (cmd->more != NULL) {
        fprintf(f, "%s\n", cmd->more);
    }
    if (opts) {
        fputs("\nOptions:\n", f);
        print_opts(f, cmd->opts);
    }
    fputs("\nOptions of all commands:\n", f);
    print_opts(f, mp_cli_globals);
}

static int run_help(struct mp_cli *cli)
{
    uint32_t used;
    if (cli->n_args == 0) {
        mp_cli_help_all(stdout, NULL);
        return MP_CLI_OK;
    }
    const struct mp_cli_cmd *cmd = mp_cli_find(cli->args, cli->n_args, &used);
    if (cmd != NULL) {
        mp_cli_help_command(stdout, cmd);
        return MP_CLI_OK;
    }
    if (mp_cli_is_group(cli->args[0])) {
        mp_cli_help_all(stdout, cli->args[0]);
        return MP_CLI_OK;
    }
    return mp_cli_fail(MP_CLI_USAGE, "unknown command '%s' (try 'marchctl help')", cli->args[0]);
}

const struct mp_cli_cmd mp_cmd_help = {
    .name = "help",
    .args = "[COMMAND]",
    .args_max = 2,
    .words = "@command",
    .help = "print help, or help about one command",
    .run = run_help,
};

/* ---- the man page ---- */

static void man_text(FILE *f, const char *z)
{
    for (const char *p = z; *p != '\0'; p++) {
        if (*p == '-') {
            fputs("\\-", f);
        } else if (*p == '\\') {
            fputs("\\e", f);
        } else if ((*p == '.' || *p == '\'') && (p == z || p[-1] == '\n')) {
            fprintf(f, "\\&%c", *p);
        } else {
            fputc(*p, f);
        }
    }
}

static void man_opts(FILE *f, const struct mp_cli_opt *opts)
{
    for (; opts != NULL && opts->name != NULL; opts++) {
        fputs(".TP\n.B \\-\\-", f);
        man_text(f, opts->name);
        if (opts->arg != NULL) {
            fprintf(f, " \\fI%s\\fR", opts->arg);
        }
        fputc('\n', f);
        man_text(f, opts->help);
        fputs(".\n", f);
    }
}

static const char man_head[] =
    ".\\\" SPDX-License-Identifier: AGPL-3.0-or-later\n"
    ".\\\" Made by \"marchctl --man\": change src/cli, not this file.\n"
    ".TH MARCHCTL 1 \"\" \"MarchProxy\" \"User commands\"\n"
    ".SH NAME\nmarchctl \\- asks and steers a running marchproxy\n"
    ".SH SYNOPSIS\n.B marchctl\n.RI [ options ] \" COMMAND \" [ arguments ]\n"
    ".SH DESCRIPTION\n"
    "Talks to the admin interface of\n.BR marchproxy (8)\n"
    "over TCP or a Unix socket. Options may stand anywhere.\n";
static const char man_tail[] =
    ".SH EXIT STATUS\n"
    ".TP\n.B 0\nDone.\n"
    ".TP\n.B 1\nThe proxy refused, or the answer is no: the configuration is refused, the proxy is "
    "not ready.\n"
    ".TP\n.B 2\nWrong command line.\n"
    ".TP\n.B 3\nThe proxy was not reached, did not answer in time, or not in HTTP.\n"
    ".TP\n.B 4\nNot authorised: the token is missing, wrong, or may only read.\n"
    ".SH ENVIRONMENT\n"
    ".TP\n.B MARCHPROXY_ADMIN\nDefault of\n.BR \\-\\-admin .\n"
    ".TP\n.B MARCHPROXY_TOKEN_FILE\nDefault of\n.BR \\-\\-token\\-file .\n"
    ".SH SEE ALSO\n.BR marchproxy (8)\n";

void mp_cli_man(FILE *f)
{
    fputs(man_head, f);
    fputs(".SH OPTIONS\n", f);
    man_opts(f, mp_cli_globals);
    fputs(".SH COMMANDS\n", f);
    for (const struct mp_cli_cmd *const *c = mp_cli_commands; *c != NULL; c++) {
        fputs(".SS \"", f);
        man_text(f, (*c)->name);
        if ((*c)->args[0] != '\0') {
            fputc(' ', f);
            man_text(f, (*c)->args);
        }
        fputs("\"\n", f);
        fputc((*c)->help[0] >= 'a' && (*c)->help[0] <= 'z' ? (*c)->help[0] - 32 : (*c)->help[0], f);
        man_text(f, (*c)->help + 1);
        fputs(".\n", f);
        if ((*c)->more != NULL) {
            man_text(f, (*c)->more);
            fputc('\n', f);
        }
        man_opts(f, (*c)->opts);
    }
    fputs(man_tail, f);
}
