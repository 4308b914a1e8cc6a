/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Completion for shells, made from the table: one function that knows, for each subcommand, its
 * options, their values, and its arguments. */
#include <string.h>

#include "cli/commands.h"
#include "cli/help.h"

static void add_opts(FILE *f, const struct mp_cli_opt *opts)
{
    for (; opts != NULL && opts->name != NULL; opts++) {
        fprintf(f, " --%s", opts->name);
    }
}

/* Once for each name in front: the groups and the commands of one word. */
static void first_words(FILE *f, const char *sep)
{
    const char *last = "";
    for (const struct mp_cli_cmd *const *c = mp_cli_commands; *c != NULL; c++) {
        size_t n = strcspn((*c)->name, " ");
        if (strncmp(last, (*c)->name, n) != 0 || last[n] != ' ') {
            fprintf(f, "%s%.*s", *last != '\0' ? sep : "", (int)n, (*c)->name);
        }
        last = (*c)->name;
    }
}

/* ---- bash ---- */

static void bash_words(FILE *f, const char *words)
{
    if (strcmp(words, "@file") == 0) {
        fputs("COMPREPLY=($(compgen -f -- \"$cur\")); compopt -o filenames 2>/dev/null", f);
    } else if (strcmp(words, "@command") == 0) {
        fputs("COMPREPLY=($(compgen -W \"$commands\" -- \"$cur\"))", f);
    } else {
        fprintf(f, "COMPREPLY=($(compgen -W \"%s\" -- \"$cur\"))", words);
    }
}

static void bash_values(FILE *f, const struct mp_cli_opt *opts)
{
    for (; opts != NULL && opts->name != NULL; opts++) {
        if (opts->arg != NULL) {
            fprintf(f, "        --%s) ", opts->name);
            if (opts->words != NULL) {
                bash_words(f, opts->words);
                fputs("; ", f);
            }
            fputs("return ;;\n", f);
        }
    }
}

static void bash_groups(FILE *f)
{
    for (const struct mp_cli_cmd *const *c = mp_cli_commands; *c != NULL; c++) {
        const char *blank = strchr((*c)->name, ' ');
        size_t n = blank != NULL ? (size_t)(blank - (*c)->name) : 0;
        if (blank == NULL ||
            (c > mp_cli_commands && strncmp(c[-1]->name, (*c)->name, n + 1) == 0)) {
            continue;
        }
        fprintf(f, "        %.*s) words=\"", (int)n, (*c)->name);
        for (const struct mp_cli_cmd *const *d = mp_cli_commands; *d != NULL; d++) {
            if (strncmp((*d)->name, (*c)->name, n + 1) == 0) {
                fprintf(f, "%s%s", d == c ? "" : " ", (*d)->name + n + 1);
            }
        }
        fputs("\" ;;\n", f);
    }
}

void mp_cli_completion_bash(FILE *f)
{
    fputs("# bash completion for marchctl; made by \"marchctl completion bash\"\n"
          "_marchctl() {\n"
          "    local cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
          "    local commands=\"",
          f);
    first_words(f, " ");
    fputs("\" command=\"\" words=\"\" opts=\"\" i word skip=\"\"\n    COMPREPLY=()\n"
          "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
          "        word=\"${COMP_WORDS[i]}\"\n"
          "        if [ -n \"$skip\" ]; then skip=\"\"; continue; fi\n"
          "        case \"$word\" in\n",
          f);
    for (const struct mp_cli_opt *o = mp_cli_globals; o->name != NULL; o++) {
        if (o->arg != NULL) {
            fprintf(f, "        --%s) skip=1 ;;\n", o->name);
        }
    }
    fputs("        -*) ;;\n"
          "        *) command=\"${command:+$command }$word\" ;;\n"
          "        esac\n    done\n"
          "    case \"$prev\" in\n",
          f);
    bash_values(f, mp_cli_globals);
    fputs("    esac\n    case \"$command\" in\n        \"\") words=\"$commands\" ;;\n", f);
    bash_groups(f);
    for (const struct mp_cli_cmd *const *c = mp_cli_commands; *c != NULL; c++) {
        fprintf(f, "        \"%s\"|\"%s \"*)\n        opts=\"", (*c)->name, (*c)->name);
        add_opts(f, (*c)->opts);
        fputs("\"\n        case \"$prev\" in\n", f);
        bash_values(f, (*c)->opts);
        fputs("        esac\n", f);
        if ((*c)->words != NULL) {
            fputs("        case \"$cur\" in -*) ;; *) ", f);
            bash_words(f, (*c)->words);
            fputs("; return ;; esac\n", f);
        }
        fputs("        ;;\n", f);
    }
    fputs("    esac\n    case \"$cur\" in\n"
          "        -*) COMPREPLY=($(compgen -W \"$opts",
          f);
    add_opts(f, mp_cli_globals);
    fputs("\" -- \"$cur\")) ;;\n"
          "        *) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")) ;;\n"
          "    esac\n}\ncomplete -F _marchctl marchctl\n",
          f);
}

/* ---- zsh ---- */

/* Inside '...' of an _arguments specification. */
static void zsh_text(FILE *f, const char *z)
{
    for (; *z != '\0'; z++) {
        if (*z == '\'') {
            fputs("'\\''", f);
        } else {
            fprintf(f, strchr("[]:\\", *z) != NULL ? "\\%c" : "%c", *z);
        }
    }
}

static void zsh_words(FILE *f, const char *words)
{
    if (words == NULL) {
        fputs(" ", f);
    } else if (strcmp(words, "@file") == 0) {
        fputs("_files", f);
    } else if (strcmp(words, "@command") == 0) {
        fputc('(', f);
        first_words(f, " ");
        fputc(')', f);
    } else {
        fprintf(f, "(%s)", words);
    }
}

static void zsh_opts(FILE *f, const struct mp_cli_opt *opts)
{
    for (; opts != NULL && opts->name != NULL; opts++) {
        fprintf(f, " \\\n            '--%s[", opts->name);
        zsh_text(f, opts->help);
        fputc(']', f);
        if (opts->arg != NULL) {
            fprintf(f, ":%s:", opts->arg);
            zsh_words(f, opts->words);
        }
        fputc('\'', f);
    }
}

static void zsh_command(FILE *f, const struct mp_cli_cmd *cmd)
{
    const char *blank = strchr(cmd->name, ' ');
    fprintf(f, "        '%s')\n            _arguments", cmd->name);
    zsh_opts(f, mp_cli_globals);
    zsh_opts(f, cmd->opts);
    fputs(" \\\n            '1: :'", f);
    if (blank != NULL) {
        fputs(" '2: :'", f);
    }
    if (cmd->args_max > 0) {
        fprintf(f, " '*:%s:", "argument");
        zsh_words(f, cmd->words);
        fputc('\'', f);
    }
    fputs(" ;;\n", f);
}

void mp_cli_completion_zsh(FILE *f)
{
    fputs("#compdef marchctl\n# made by \"marchctl completion zsh\"\n"
          "_marchctl() {\n"
          "    local -a commands found\n    local word command skip\n    commands=(\n",
          f);
    for (const struct mp_cli_cmd *const *c = mp_cli_commands; *c != NULL; c++) {
        fprintf(f, "        '%s:", (*c)->name);
        zsh_text(f, (*c)->help);
        fputs("'\n", f);
    }
    fputs("    )\n"
          "    for word in ${words[2,CURRENT-1]}; do\n"
          "        if [[ -n $skip ]]; then skip=; continue; fi\n"
          "        case $word in\n            ",
          f);
    const char *bar = "";
    for (const struct mp_cli_opt *o = mp_cli_globals; o->name != NULL; o++) {
        if (o->arg != NULL) {
            fprintf(f, "%s--%s", bar, o->name);
            bar = "|";
        }
    }
    fputs(") skip=1 ;;\n            -*) ;;\n"
          "            *) command=\"${command:+$command }$word\"\n"
          "               [[ -n ${(M)commands:#${command}:*} ]] && break ;;\n"
          "        esac\n    done\n"
          "    case $command in\n",
          f);
    for (const struct mp_cli_cmd *const *c = mp_cli_commands; *c != NULL; c++) {
        zsh_command(f, *c);
    }
    fputs("        *)\n"
          "            found=(${${(M)commands:#${command:+$command }*}#${command:+$command }})\n"
          "            if [[ -z $command ]]; then\n"
          "                found=(${(u)${commands%%:*}%% *})\n"
          "                _arguments",
          f);
    zsh_opts(f, mp_cli_globals);
    fputs(" \\\n            '1:command:($found)'\n"
          "            else\n                _describe command found\n            fi ;;\n"
          "    esac\n}\n_marchctl \"$@\"\n",
          f);
}

static int run_completion(struct mp_cli *cli)
{
    if (strcmp(cli->args[0], "bash") == 0) {
        mp_cli_completion_bash(stdout);
        return MP_CLI_OK;
    }
    if (strcmp(cli->args[0], "zsh") == 0) {
        mp_cli_completion_zsh(stdout);
        return MP_CLI_OK;
    }
    return mp_cli_fail(MP_CLI_USAGE, "completion for '%s' does not exist: use bash or zsh",
                       cli->args[0]);
}

const struct mp_cli_cmd mp_cmd_completion = {
    .name = "completion",
    .args = "bash|zsh",
    .args_min = 1,
    .args_max = 1,
    .words = "bash zsh",
    .help = "print the completion script of a shell",
    .more = "For one session: source <(marchctl completion bash).",
    .run = run_completion,
};
