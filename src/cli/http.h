/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A small blocking HTTP/1.1 client for the admin interface: one request a connection, strict
 * (codec/h1_parse), bounded in time and size.
 */
#pragma once
#include "base/str.h"
#include "cli/cli.h"

#define MP_CLI_ANSWER_MAX ((size_t)256 << 20)

struct mp_cli_answer {
    unsigned status;
    struct mp_sb body;
};

/* target: path and query. MP_CLI_OK when an answer with a status below 400 is in *ret, which the
 * caller ends with mp_cli_answer_fini; otherwise the complaint has been printed and *ret is empty.
 */
int mp_cli_request(const struct mp_cli *cli, const char *method, const char *target,
                   struct mp_cli_answer *ret);
/* The same, without complaint and with any status: MP_CLI_OK or MP_CLI_UNREACHABLE. */
int mp_cli_try(const struct mp_cli *cli, const char *method, const char *target,
               struct mp_cli_answer *ret, struct mp_sb *error);
void mp_cli_answer_fini(struct mp_cli_answer *a);
/* Requests, and prints the body as it is. */
int mp_cli_show(const struct mp_cli *cli, const char *method, const char *target);

/* Adds "?name=value" or "&name=value", percent-encoded. */
void mp_cli_add_param(struct mp_sb *target, const char *name, const char *value);
