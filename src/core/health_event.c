/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The event logs: one JSON line for each change of a host's health, with Envoy's names. They are
 * written like access logs, so that a full disk holds up nothing. */
#include "core/access_log.h"
#include "core/civil.h"
#include "core/health_int.h"

#define EVENT_MAX 2048

static void begin(struct mp_sb *out, struct mp_monitor *m)
{
    char at[MP_RFC3339_MS_SIZE];
    mp_rfc3339_ms(mp_loop_wall_ns(mp_monitor_loop(m)), at);
    mp_sb_init(out, EVENT_MAX);
    mp_sb_printf(out, "{\"timestamp\":\"%.*s\",\"cluster_name\":", MP_RFC3339_MS_SIZE, at);
    mp_sb_add_json(out, m->cluster->shared->name);
}

static void end(struct mp_sb *out, struct mp_monitor *m, struct mp_alog *log)
{
    mp_sb_add_c(out, "}\n");
    mp_alog_write_line(log, m->pool.cw, mp_sb_str(out));
    mp_sb_fini(out);
}

static void add_address(struct mp_sb *out, const struct mp_host_local *h)
{
    if (h->addr.family == MP_ADDR_UNIX) {
        mp_sb_add_c(out, "{\"pipe\":{\"path\":");
        mp_sb_add_json(out, h->text);
        mp_sb_add_c(out, "}}");
        return;
    }
    char ip[MP_ADDR_TEXT_MAX];
    size_t n = mp_addr_format_ip(&h->addr, ip);
    mp_sb_printf(out, "{\"socket_address\":{\"address\":\"%.*s\",\"port_value\":%u}}", (int)n, ip,
                 h->addr.port);
}

void mp_health_event(struct mp_check *ck, const char *event, const char *failure, bool first)
{
    struct mp_monitor *m = ck->monitor;
    struct mp_sb out;
    if (m->cluster->check_log == NULL) {
        return;
    }
    begin(&out, m);
    mp_sb_printf(&out, ",\"health_checker_type\":\"%s\",\"host\":",
                 mp_check_conf(ck)->is_http ? "HTTP" : "TCP");
    add_address(&out, ck->local);
    mp_sb_printf(&out, ",\"%s\":{", event);
    if (failure != NULL) {
        mp_sb_printf(&out, "\"failure_type\":\"%s\"%s", failure, first ? "," : "");
    }
    mp_sb_add_c(&out, first ? "\"first_check\":true}" : "}");
    end(&out, m, m->cluster->check_log);
}

void mp_outlier_event(struct mp_monitor *m, const struct mp_host_shared *h, bool eject,
                      const char *type, bool enforced)
{
    struct mp_sb out;
    if (m->cluster->outlier_log == NULL) {
        return;
    }
    begin(&out, m);
    mp_sb_add_c(&out, ",\"upstream_url\":");
    mp_sb_add_json(&out, h->text);
    mp_sb_printf(&out, ",\"action\":\"%s\",\"num_ejections\":%u,\"enforced\":%s",
                 eject ? "EJECT" : "UNEJECT", h->ejections + (eject && enforced),
                 enforced ? "true" : "false");
    if (type != NULL) {
        mp_sb_printf(&out, ",\"type\":\"%s\"", type);
    }
    end(&out, m, m->cluster->outlier_log);
}
