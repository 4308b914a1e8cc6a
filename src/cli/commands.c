/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "cli/commands.h"

const struct mp_cli_cmd *const mp_cli_commands[] = {
    &mp_cmd_stats,
    &mp_cmd_top,
    &mp_cmd_clusters,
    &mp_cmd_listeners,
    &mp_cmd_ready,
    &mp_cmd_config_dump,
    &mp_cmd_config_validate,
    &mp_cmd_config_reload,
    &mp_cmd_config_schema,
    &mp_cmd_guard_list,
    &mp_cmd_guard_deny,
    &mp_cmd_guard_allow,
    &mp_cmd_guard_remove,
    &mp_cmd_kernel,
    &mp_cmd_drain,
    &mp_cmd_log_level,
    &mp_cmd_reopen_logs,
    &mp_cmd_get,
    &mp_cmd_post,
    &mp_cmd_version,
    &mp_cmd_completion,
    &mp_cmd_help,
    NULL,
};
