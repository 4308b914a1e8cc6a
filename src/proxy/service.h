/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The service manager: sd_notify(3) and socket activation, as systemd documents them. Without one
 * (no NOTIFY_SOCKET, no LISTEN_FDS) everything here does nothing.
 */
#pragma once
#include <stdint.h>
#include "base/err.h"

struct mp_engine;

/* Reads the environment and clears it; takes passed sockets (io/passed.h). Before there are threads
 * and before rights are given up. */
void mp_service_init(void);
void mp_service_fini(void);
/* The configuration is live, at start or after a reload; also when a reload was refused. status is
 * shown by systemctl. */
void mp_service_ready(const char *status);
void mp_service_reloading(void);
void mp_service_stopping(const char *status);
/* Main thread. When the manager wants to be told that we live: told while every worker answers. */
void mp_service_watch(struct mp_engine *e);
/* Before the engine's loops end. */
void mp_service_unwatch(struct mp_engine *e);
/* Warns of passed sockets that no listener has taken. */
void mp_service_check_sockets(void);
