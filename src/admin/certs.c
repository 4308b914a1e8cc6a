/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* /certs: certificates in use, and when they end. */
#include <time.h>

#include "admin/pages.h"
#include "core/engine.h"
#include "core/snapshot.h"
#include "io/tls.h"

static void add_time(struct mp_sb *out, const char *key, int64_t s)
{
    char text[32];
    struct tm tm;
    time_t t = (time_t)s;
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
    mp_sb_printf(out, "     \"%s\": \"%s\",\n", key, text);
}

static void add_text(struct mp_sb *out, const char *key, const char *text)
{
    mp_sb_printf(out, "     \"%s\": ", key);
    mp_sb_add_json(out, mp_str_c(text));
    mp_sb_add_c(out, ",\n");
}

static void add_cert(struct mp_sb *out, const struct mp_tls_cert_info *c, int64_t now_s)
{
    add_text(out, "subject", c->subject);
    add_text(out, "issuer", c->issuer);
    add_text(out, "serial_number", c->serial);
    add_text(out, "subject_alt_names", c->sans);
    add_time(out, "valid_from", c->not_before_s);
    add_time(out, "expiration_time", c->not_after_s);
    int64_t left = c->not_after_s - now_s;
    mp_sb_printf(out, "     \"days_until_expiration\": \"%lld\"\n",
                 (long long)(left > 0 ? left / 86400 : 0));
}

struct writer {
    struct mp_sb *out;
    int64_t now_s;
    bool any;
};

static void add_context(struct writer *w, struct mp_str owner, const char *kind,
                        const struct mp_tls_ctx *c)
{
    for (uint32_t i = 0; c != NULL && i < mp_tls_ctx_certs(c); i++) {
        struct mp_tls_cert_info info = mp_tls_ctx_cert(c, i);
        mp_sb_add_c(w->out, w->any ? ",\n    {\n" : "\n    {\n");
        w->any = true;
        mp_sb_printf(w->out, "     \"%s\": ", kind);
        mp_sb_add_json(w->out, owner);
        mp_sb_printf(w->out, ",\n     \"use\": \"%s\",\n", info.ca ? "ca_cert" : "cert_chain");
        add_cert(w->out, &info, w->now_s);
        mp_sb_add_c(w->out, "    }");
    }
}

void mp_admin_page_certs(struct mp_admin_call *call)
{
    const struct mp_snapshot *snap = call->engine->snap;
    struct writer w = {.out = &call->out,
                       .now_s =
                           (int64_t)(mp_loop_wall_ns(call->engine->opts.main_loop) / 1000000000u)};
    call->content_type = MP_ADMIN_JSON;
    mp_sb_add_c(w.out, "{\n \"certificates\": [");
    for (uint32_t i = 0; i < snap->n_listeners; i++) {
        const struct mp_listener_conf *l = snap->listeners[i];
        for (uint32_t k = 0; k < l->n_chains; k++) {
            add_context(&w, l->obj.name, "listener", l->chains[k].tls);
        }
    }
    for (uint32_t i = 0; i < snap->n_clusters; i++) {
        add_context(&w, snap->clusters[i]->obj.name, "cluster", snap->clusters[i]->tls);
    }
    mp_sb_add_c(w.out, w.any ? "\n ]\n}\n" : "]\n}\n");
}
