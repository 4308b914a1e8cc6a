/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "admin/address.h"
#include "admin/pages.h"
#include "core/engine.h"

void mp_admin_add_address_text(struct mp_sb *out, struct mp_str host, uint16_t port, bool is_unix)
{
    bool ip6 = !is_unix && mp_str_chr(host, ':', 0) >= 0;
    mp_sb_add_c(out, ip6 ? "[" : "");
    mp_sb_add(out, host);
    mp_sb_add_c(out, ip6 ? "]" : "");
    if (!is_unix) {
        mp_sb_printf(out, ":%u", port);
    }
}

void mp_admin_add_address_json(struct mp_sb *out, struct mp_str host, uint16_t port, bool is_unix)
{
    mp_sb_add_c(out, is_unix ? "{\"pipe\": {\"path\": " : "{\"socket_address\": {\"address\": ");
    mp_sb_add_json(out, host);
    if (!is_unix) {
        mp_sb_printf(out, ", \"port_value\": %u", port);
    }
    mp_sb_add_c(out, "}}");
}

static void add_text(struct mp_sb *out, const struct mp_conf_listener *l)
{
    for (uint32_t i = 0; i < l->n_addrs; i++) {
        const struct mp_conf_addr *a = &l->addrs[i];
        mp_sb_printf(out, MP_STR_FMT "::", MP_STR_ARG(l->name));
        mp_admin_add_address_text(out, a->host, a->port, a->is_unix);
        mp_sb_add_char(out, '\n');
    }
}

static void add_json(struct mp_sb *out, const struct mp_conf_listener *l)
{
    mp_sb_add_c(out, "\n  {\n   \"name\": ");
    mp_sb_add_json(out, l->name);
    for (uint32_t i = 0; i < l->n_addrs; i++) {
        const struct mp_conf_addr *a = &l->addrs[i];
        mp_sb_add_c(out, i == 0   ? ",\n   \"local_address\": "
                         : i == 1 ? ",\n   \"additional_local_addresses\": [\n    "
                                  : ",\n    ");
        mp_admin_add_address_json(out, a->host, a->port, a->is_unix);
    }
    mp_sb_add_c(out, l->n_addrs > 1 ? "\n   ]\n  }" : "\n  }");
}

void mp_admin_page_listeners(struct mp_admin_call *call)
{
    bool json;
    const struct mp_snapshot *snap = call->engine->snap;
    struct mp_sb *out = &call->out;
    if (!mp_admin_wants_json(call, &json)) {
        return;
    }
    mp_sb_add_c(out, json ? "{\n \"listener_statuses\": [" : "");
    for (uint32_t i = 0; i < snap->n_listeners; i++) {
        if (json) {
            mp_sb_add_c(out, i > 0 ? "," : "");
            add_json(out, snap->listeners[i]->conf);
        } else {
            add_text(out, snap->listeners[i]->conf);
        }
    }
    mp_sb_add_c(out, json ? "\n ]\n}\n" : "");
}

bool mp_admin_wants_json(struct mp_admin_call *call, bool *ret_json)
{
    const struct mp_str *format = mp_admin_param(call, "format");
    *ret_json = format != NULL && mp_str_eq(*format, MP_STR("json"));
    if (format != NULL && !*ret_json && !mp_str_eq(*format, MP_STR("text"))) {
        mp_admin_fail(call, 400, "usage: " MP_STR_FMT "?format=(json|text)\n",
                      MP_STR_ARG(call->path));
        return false;
    }
    if (*ret_json) {
        call->content_type = MP_ADMIN_JSON;
    }
    return true;
}
