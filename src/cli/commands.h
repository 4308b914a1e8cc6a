/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* One line for each subcommand; cmd_*.c and help.c define them. */
#pragma once
#include "cli/cli.h"

extern const struct mp_cli_cmd mp_cmd_clusters;
extern const struct mp_cli_cmd mp_cmd_completion;
extern const struct mp_cli_cmd mp_cmd_config_dump;
extern const struct mp_cli_cmd mp_cmd_config_reload;
extern const struct mp_cli_cmd mp_cmd_config_schema;
extern const struct mp_cli_cmd mp_cmd_config_validate;
extern const struct mp_cli_cmd mp_cmd_drain;
extern const struct mp_cli_cmd mp_cmd_get;
extern const struct mp_cli_cmd mp_cmd_guard_allow;
extern const struct mp_cli_cmd mp_cmd_guard_deny;
extern const struct mp_cli_cmd mp_cmd_guard_list;
extern const struct mp_cli_cmd mp_cmd_guard_remove;
extern const struct mp_cli_cmd mp_cmd_help;
extern const struct mp_cli_cmd mp_cmd_kernel;
extern const struct mp_cli_cmd mp_cmd_listeners;
extern const struct mp_cli_cmd mp_cmd_log_level;
extern const struct mp_cli_cmd mp_cmd_post;
extern const struct mp_cli_cmd mp_cmd_ready;
extern const struct mp_cli_cmd mp_cmd_reopen_logs;
extern const struct mp_cli_cmd mp_cmd_stats;
extern const struct mp_cli_cmd mp_cmd_top;
extern const struct mp_cli_cmd mp_cmd_version;
