/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The handlers of the table in admin.c. Private to this folder. */
#pragma once
#include "admin/page.h"

/* The table, sorted by path. */
const struct mp_admin_page *mp_admin_find_page(struct mp_str path);
const struct mp_admin_page *const *mp_admin_pages(uint32_t *ret_n);
void mp_admin_quit(struct mp_engine *e);
/* Those that the address for metrics serves. */
bool mp_admin_is_metrics_page(const struct mp_admin_page *p);
/* "  /ready: print ..." lines. */
void mp_admin_list_pages(struct mp_sb *out);

/* help.c */
void mp_admin_page_index(struct mp_admin_call *call);
void mp_admin_page_help(struct mp_admin_call *call);
/* server.c */
void mp_admin_page_ready(struct mp_admin_call *call);
void mp_admin_page_server_info(struct mp_admin_call *call);
void mp_admin_page_memory(struct mp_admin_call *call);
void mp_admin_page_hot_restart_version(struct mp_admin_call *call);
void mp_admin_page_healthcheck_fail(struct mp_admin_call *call);
void mp_admin_page_healthcheck_ok(struct mp_admin_call *call);
void mp_admin_page_drain_listeners(struct mp_admin_call *call);
void mp_admin_page_quit(struct mp_admin_call *call);
void mp_admin_page_reset_counters(struct mp_admin_call *call);
void mp_admin_page_reopen_logs(struct mp_admin_call *call);
void mp_admin_page_logging(struct mp_admin_call *call);
/* runtime.c */
void mp_admin_page_runtime(struct mp_admin_call *call);
void mp_admin_page_absent(struct mp_admin_call *call);
/* stats.c */
void mp_admin_page_stats(struct mp_admin_call *call);
void mp_admin_page_prometheus(struct mp_admin_call *call);
/* config_dump.c */
void mp_admin_page_config_dump(struct mp_admin_call *call);
/* clusters.c, listeners.c */
void mp_admin_page_clusters(struct mp_admin_call *call);
void mp_admin_page_certs(struct mp_admin_call *call);
void mp_admin_page_listeners(struct mp_admin_call *call);
