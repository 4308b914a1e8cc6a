/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The admin server: an HTTP manager of core like any other, served by the main worker, whose chain
 * is one terminal filter that looks the path up in a table of pages. Paths, names and formats are
 * Envoy's.
 *
 * Order at start: mp_admin_register (owners of further pages), mp_admin_http for the engine's
 * options, mp_engine_new, mp_admin_bind.
 */
#pragma once
#include "admin/page.h"
#include "base/diag.h"
#include "conf/model.h"

struct mp_engine;

/* The manager's model; constant. */
const struct mp_conf_http *mp_admin_http(void);
/* That of the address for /ready and metrics alone. */
const struct mp_conf_http *mp_admin_metrics_http(void);
/* For mp_engine_opts: reads the tokens. */
mp_err mp_admin_prepare(const struct mp_conf_admin *conf, struct mp_arena *arena,
                        struct mp_diag *diag, void **ret);
/* The engine that the pages speak of; before it is bound they answer 503. NULL: unbound again. */
void mp_admin_bind(struct mp_engine *e);
/* Adds a page, borrowed for the program's life; a page with the same path is replaced. */
void mp_admin_register(const struct mp_admin_page *page);
/* What /quitquitquit does once its answer is on its way; NULL: mp_engine_stop. */
void mp_admin_set_quit(void (*quit)(void *arg), void *arg);
/* Brings the gauges up to date that nobody writes when they change (uptime, state ...). Main
 * thread, before stats are read; the pages do it themselves. */
void mp_admin_refresh(struct mp_engine *e);
