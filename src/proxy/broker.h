/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The privileged broker: a child process that keeps the rights which the data process gives up. It
 * opens files and binds sockets that the configuration file names (io/broker.h); it reads that file
 * itself, so the data process cannot widen the list. It ends with the data process.
 */
#pragma once
#include <sys/types.h>
#include "base/err.h"

struct mp_options;
struct mp_broker_opts {
    const struct mp_options *options;
    uid_t uid; /* of the data process */
    gid_t gid;
    bool root; /* we are root: files are opened with the data process's rights first */
};
/* Forks; in the data process the broker is set for io/open.h when it returns. Before there are
 * threads. */
MP_MUST_USE mp_err mp_broker_start(const struct mp_broker_opts *opts);
