/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* upgrade_configs of the HTTP manager and of routes: which protocols a request may change to. */
#include "conf/build.h"
#include "envoy_extensions_filters_network_http_connection_manager_v3.pb-c.h"

typedef Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager
    pb_manager;

/* RFC 9110 5.6.2: what the Upgrade field can say, version included. */
static bool is_protocol(const char *z)
{
    static const char others[] = "!#$%&'*+-.^_`|~/";
    for (const char *p = z; *p; p++) {
        bool alnum =
            (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z');
        if (!alnum && !strchr(others, *p)) {
            return false;
        }
    }
    return z[0] != '\0';
}

static void build_one(struct mp_conf_build *b, const char *type, const pb_bool *enabled,
                      struct mp_conf_upgrade *list, uint32_t at)
{
    struct mp_conf_upgrade *ret = &list[at];
    ret->type = mp_build_str(b, type);
    ret->is_connect = mp_str_ieq(ret->type, MP_STR("CONNECT"));
    ret->enabled = true;
    mp_build_bool(enabled, &ret->enabled);
    if (type[0] == '\0') {
        mp_build_missing(b, "upgrade_type", "use websocket or CONNECT", "upgrade_type is missing");
        return;
    }
    if (!is_protocol(type)) {
        (void)mp_build_error(b, "upgrade_type", "use one name, such as websocket",
                             "\"%s\" is not the name of a protocol", type);
        return;
    }
    if (mp_str_ieq(ret->type, MP_STR("h2c"))) {
        (void)mp_build_error(b, "upgrade_type", "remove it",
                             "HTTP/2 is served without an upgrade only");
        return;
    }
    for (uint32_t i = 0; i < at; i++) {
        if (mp_str_ieq(list[i].type, ret->type)) {
            (void)mp_build_error(b, "upgrade_type", "keep one of them",
                                 "upgrade_type \"%s\" is that of an earlier entry too", type);
        }
    }
}

void mp_build_http_upgrades(struct mp_conf_build *b, const ProtobufCMessage *manager,
                            struct mp_conf_http *ret)
{
    const pb_manager *m = (const pb_manager *)manager;
    ret->upgrades = mp_build_take(b, m->n_upgrade_configs, sizeof(*ret->upgrades));
    ret->n_upgrades = (uint32_t)m->n_upgrade_configs;
    for (uint32_t i = 0; i < ret->n_upgrades; i++) {
        size_t mark = mp_build_enter(b, "upgrade_configs[%u]", i);
        build_one(b, m->upgrade_configs[i]->upgrade_type, m->upgrade_configs[i]->enabled,
                  ret->upgrades, i);
        mp_build_leave(b, mark);
    }
}

static bool has_connect(const struct mp_conf_upgrade *list, uint32_t n, bool otherwise)
{
    for (uint32_t i = 0; i < n; i++) {
        if (list[i].is_connect) {
            return list[i].enabled;
        }
    }
    return otherwise;
}

void mp_build_route_upgrades(struct mp_conf_build *b,
                             const Envoy__Config__Route__V3__RouteAction *m,
                             const struct mp_conf_http *http, struct mp_conf_route *ret)
{
    ret->upgrades = mp_build_take(b, m->n_upgrade_configs, sizeof(*ret->upgrades));
    ret->n_upgrades = (uint32_t)m->n_upgrade_configs;
    for (uint32_t i = 0; i < ret->n_upgrades; i++) {
        const Envoy__Config__Route__V3__RouteAction__UpgradeConfig *u = m->upgrade_configs[i];
        size_t mark = mp_build_enter(b, "upgrade_configs[%u]", i);
        build_one(b, u->upgrade_type, u->enabled, ret->upgrades, i);
        ret->upgrades[i].terminate = u->connect_config != NULL;
        if (u->connect_config && u->upgrade_type[0] && !ret->upgrades[i].is_connect) {
            (void)mp_build_error(b, "connect_config", "remove it",
                                 "connect_config is for upgrade_type CONNECT");
        }
        mp_build_leave(b, mark);
    }
    bool manager = has_connect(http->upgrades, http->n_upgrades, false);
    if (ret->path_kind == MP_PATH_CONNECT &&
        !has_connect(ret->upgrades, ret->n_upgrades, manager)) {
        (void)mp_build_error(b, NULL, "add upgrade_configs: [{upgrade_type: CONNECT}]",
                             "CONNECT is not forwarded without an upgrade_type CONNECT");
    }
}
