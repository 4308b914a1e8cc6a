/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Help, made from the table of subcommands. */
#pragma once
#include <stdio.h>
#include "cli/cli.h"

/* All subcommands; of a group only ("config") when group is not NULL. */
void mp_cli_help_all(FILE *f, const char *group);
void mp_cli_help_command(FILE *f, const struct mp_cli_cmd *cmd);
/* The table's part of marchctl.1. */
void mp_cli_man(FILE *f);
void mp_cli_completion_bash(FILE *f);
void mp_cli_completion_zsh(FILE *f);
/* The subcommand that words[0..n) begin with and how many of them are its name (1 or 2); NULL:
 * none.
 */
const struct mp_cli_cmd *mp_cli_find(char *const *words, uint32_t n, uint32_t *ret_used);
bool mp_cli_is_group(const char *word);
