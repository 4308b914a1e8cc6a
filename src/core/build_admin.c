/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The listeners of the admin server: the manager is its own, address and access logs are the
 * configuration's. */
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "core/build.h"

static struct mp_listener_conf *old_of(const struct mp_snapshot *base, struct mp_str name)
{
    for (uint32_t i = 0; base != NULL && i < base->n_admins; i++) {
        if (mp_str_eq(base->admins[i]->obj.name, name)) {
            return base->admins[i];
        }
    }
    return NULL;
}

static struct mp_conf_listener *make_listener(const struct mp_conf_admin *conf, struct mp_str name,
                                              const struct mp_conf_addr *from,
                                              const struct mp_conf_http *manager)
{
    struct mp_arena *arena = &conf->part->arena;
    struct mp_conf_listener *l = mp_arena_zalloc(arena, sizeof(*l));
    struct mp_conf_addr *addr = mp_arena_zalloc(arena, sizeof(*addr));
    struct mp_conf_http *http = mp_arena_zalloc(arena, sizeof(*http));
    MP_ASSERT(l != NULL);
    MP_ASSERT(addr != NULL);
    MP_ASSERT(http != NULL);
    *addr = *from;
    addr->host = mp_arena_dup(arena, from->host);
    *http = *manager;
    http->alogs = conf->alogs;
    http->n_alogs = conf->n_alogs;
    l->part = conf->part;
    l->name = l->stat_prefix = name;
    l->addrs = addr;
    l->n_addrs = 1;
    l->backlog = 128;
    l->buffer_limit = 1 << 20;
    l->http = http;
    l->source.packed.p =
        mp_arena_printf(arena, "%d %u %o %s %llx", addr->is_unix, addr->port, addr->unix_mode,
                        addr->host.p, (unsigned long long)conf->source.hash);
    MP_ASSERT(l->source.packed.p != NULL);
    l->source.packed.n = strlen(l->source.packed.p);
    l->source.hash = mp_hash_fnv(MP_FNV_SEED, l->source.packed.p, l->source.packed.n);
    return l;
}

static mp_err build_one(struct mp_engine *e, const struct mp_snapshot *base, struct mp_str name,
                        const struct mp_conf_addr *addr, const struct mp_conf_http *manager,
                        struct mp_snapshot *s, struct mp_diag *diag)
{
    MP_TRY(mp_core_build_listener(e, make_listener(&s->conf->admin, name, addr, manager),
                                  old_of(base, name), diag, &s->admins[s->n_admins]));
    s->n_admins++;
    return MP_OK;
}

mp_err mp_core_build_admins(struct mp_engine *e, const struct mp_snapshot *base,
                            struct mp_snapshot *s, struct mp_diag *diag)
{
    const struct mp_conf_admin *a = &s->conf->admin;
    if (!a->present || e->opts.admin_http == NULL) {
        return MP_OK;
    }
    if (e->opts.admin_prepare != NULL) {
        MP_TRY(e->opts.admin_prepare(a, &s->conf->arena, diag, &s->admin_access));
    }
    MP_TRY(build_one(e, base, MP_STR("admin"), &a->addr, e->opts.admin_http, s, diag));
    if (a->has_metrics && e->opts.metrics_http != NULL) {
        MP_TRY(build_one(e, base, MP_STR("metrics"), &a->metrics, e->opts.metrics_http, s, diag));
    }
    return MP_OK;
}
