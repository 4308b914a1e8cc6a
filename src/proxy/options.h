/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The command line. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* AUTO: on when root becomes another user. */
enum mp_sandbox { MP_SANDBOX_AUTO, MP_SANDBOX_ON, MP_SANDBOX_OFF };

struct mp_options {
    const char *config; /* -c */
    bool validate;      /* -t, --mode validate */
    bool allow_unsupported;
    bool log_json;
    bool watch;               /* --watch: reload when the file changes */
    uint32_t concurrency;     /* 0: one worker for each allowed CPU */
    const char *log_level;    /* NULL: LOGLEVEL, else info */
    const char *user, *group; /* NULL: the configuration's */
    enum mp_sandbox sandbox;
    const char *on_exit;   /* detach, keep; NULL: xdp.on_exit of the configuration */
    uint32_t drain_time_s; /* how long open requests may take after SIGTERM; default 30 */
};
enum mp_options_result { MP_OPTIONS_RUN, MP_OPTIONS_EXIT_OK, MP_OPTIONS_EXIT_USAGE };
/* Prints help, version and errors itself. */
enum mp_options_result mp_options_parse(int argc, char **argv, struct mp_options *ret);
