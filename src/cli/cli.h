/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* marchctl is a table of subcommands (commands.c). A subcommand is one struct mp_cli_cmd in a file
 * of its own; help, completion and the man page are made from the table, so what is listed there is
 * all that exists.
 *
 * Output: what was asked for on standard output, complaints on standard error. --json makes the
 * output JSON; it is the program's interface, the text is for people.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/str.h"

/* What main returns; part of the interface (marchctl.1). */
enum mp_cli_exit {
    MP_CLI_OK = 0,
    MP_CLI_REFUSED = 1,     /* the proxy said no, or the answer is no */
    MP_CLI_USAGE = 2,       /* wrong command line */
    MP_CLI_UNREACHABLE = 3, /* no connection, no answer in time, or an answer that is not HTTP */
    MP_CLI_DENIED = 4       /* 401 or 403: the token is missing, wrong, or may only read */
};

struct mp_cli_opt {
    const char *name;  /* without the dashes */
    const char *arg;   /* "REGEX"; NULL: a flag */
    const char *help;  /* one line */
    const char *words; /* values for completion, separated by blanks; NULL: none; "@file": paths */
};

struct mp_cli;
struct mp_cli_cmd {
    const char *name; /* "config dump": at most two words */
    const char *args; /* "[FILE]" as shown; "" when there are none */
    uint8_t args_min, args_max;
    const char *words;             /* of arguments, as in struct mp_cli_opt */
    const char *help;              /* one line, lower case, no full stop */
    const char *more;              /* sentences for help and man page; NULL: none */
    const struct mp_cli_opt *opts; /* ends with a NULL name; NULL: none */
    int (*run)(struct mp_cli *cli);
};

#define MP_CLI_OPTS_MAX 16
struct mp_cli {
    const struct mp_cli_cmd *cmd;
    const char *admin;      /* address */
    const char *token_file; /* NULL: none */
    uint32_t timeout_ms;
    bool json;
    const char *values[MP_CLI_OPTS_MAX]; /* beside cmd->opts; NULL: not given */
    char **args;
    uint32_t n_args;
};

/* commands.c: every subcommand, in the order of help; ends with NULL. */
extern const struct mp_cli_cmd *const mp_cli_commands[];
/* main.c: what all subcommands take. */
extern const struct mp_cli_opt mp_cli_globals[];

/* The value of an option of the running subcommand ("" for a flag); NULL: not given. */
const char *mp_cli_value(const struct mp_cli *cli, const char *name);
/* Prints "marchctl: ..." to standard error; returns code. */
int mp_cli_fail(enum mp_cli_exit code, const char *fmt, ...) MP_PRINTF(2, 3);
/* A number of min to max; false: complained. */
bool mp_cli_number(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *ret);
