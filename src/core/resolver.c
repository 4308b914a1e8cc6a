/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/resolver.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "core/build.h"
#include "core/cluster.h"
#include "core/health.h"
#include "core/stats.h"
#include "core/upstream.h"
#include "io/dns.h"

/* One endpoint of a cluster: a name (or an address given as text) and what it stands for now. */
struct name {
    struct entry *entry;
    const struct mp_conf_endpoint *conf;
    struct mp_dns_query *query;
    struct mp_addr *addrs;
    uint32_t n;
    bool is_ip; /* given as an address: needs no resolving */
    uint32_t ttl_s;
};

/* A cluster that is resolved by name. */
struct entry {
    struct mp_list link;
    struct mp_resolver *resolver;
    struct mp_cluster *cluster;  /* a reference */
    struct mp_endpoint_set *set; /* last one handed out */
    struct name *names;
    uint32_t n_names;
    uint32_t waiting; /* queries under way */
    bool warm;        /* every name has been answered once */
    bool published;   /* in the snapshot that the workers have */
    bool keep;
    struct mp_timer refresh;
};

/* Name servers that a cluster names instead of the system's; one resolver for each list. */
struct own_servers {
    struct mp_list link;
    char *servers;
    struct mp_dns *dns;
};

struct mp_resolver {
    struct mp_engine *engine;
    struct mp_list own_servers;
    struct mp_list entries;
    void (*warmed)(void *arg);
    void *warmed_arg;
};

/* ---- handing out ---- */

struct hosts_msg {
    struct mp_msg msg;
    uint32_t cluster_id;
    struct mp_endpoint_set *set;
};

static void deliver_hosts(struct mp_msg *m, void *receiver)
{
    struct hosts_msg *h = MP_CONTAINER_OF(m, struct hosts_msg, msg);
    struct mp_cluster_local *c = mp_cluster_find(receiver, h->cluster_id);
    if (c != NULL) {
        mp_cluster_local_set_endpoints(c, h->set);
    }
    mp_endpoint_set_unref(h->set);
    free(h);
}

static void hand_out(struct entry *en)
{
    struct mp_engine *e = en->resolver->engine;
    mp_health_hosts(e, en->cluster, en->set);
    for (uint32_t i = 0; i <= e->n_workers; i++) {
        struct hosts_msg *m = calloc(1, sizeof(*m));
        MP_ASSERT(m != NULL);
        m->msg.deliver = deliver_hosts;
        m->cluster_id = en->cluster->id;
        m->set = en->set;
        mp_endpoint_set_ref(en->set);
        mp_mailbox_post(&e->workers[i]->w.mailbox, &m->msg);
    }
}

static struct mp_endpoint_set *make_set(const struct entry *en)
{
    struct mp_endpoint_set *s = calloc(1, sizeof(*s));
    MP_ASSERT(s != NULL);
    s->refs = 1;
    mp_arena_init(&s->arena, NULL, 0, &mp_block_source_heap, 1024, 1 << 30);
    uint32_t total = 0;
    for (uint32_t i = 0; i < en->n_names; i++) {
        total += en->names[i].n;
    }
    s->v = mp_arena_zalloc(&s->arena, (total + 1) * sizeof(*s->v));
    MP_ASSERT(s->v != NULL);
    bool one = en->cluster->conf->discovery == MP_CLUSTER_LOGICAL_DNS;
    for (uint32_t i = 0; i < en->n_names; i++) {
        const struct name *nm = &en->names[i];
        for (uint32_t k = 0; k < nm->n && (k == 0 || !one); k++) {
            struct mp_endpoint *out = &s->v[s->n++];
            out->addr = nm->addrs[k];
            out->addr.port = nm->conf->addr.port;
            out->hostname = mp_arena_dup(&s->arena, nm->conf->hostname.n > 0 ? nm->conf->hostname
                                                                             : nm->conf->addr.host);
            mp_endpoint_fill(en->resolver->engine, en->cluster->shared, nm->conf, out);
        }
    }
    return s;
}

static bool same_set(const struct mp_endpoint_set *a, const struct mp_endpoint_set *b)
{
    if (a == NULL || a->n != b->n) {
        return false;
    }
    for (uint32_t i = 0; i < a->n; i++) {
        if (!mp_addr_eq(&a->v[i].addr, &b->v[i].addr) || a->v[i].weight != b->v[i].weight) {
            return false;
        }
    }
    return true;
}

/* ---- resolving ---- */

/* The model holds Envoy's number. */
_Static_assert(MP_DNS_AUTO == 0 && MP_DNS_V4_ONLY == 1 && MP_DNS_V6_ONLY == 2 &&
                   MP_DNS_V4_PREFERRED == 3 && MP_DNS_ALL == 4,
               "order of Cluster.DnsLookupFamily");

static struct mp_dns *dns_for(struct mp_resolver *r, struct mp_str servers)
{
    if (servers.n == 0) {
        return r->engine->dns;
    }
    MP_LIST_FOREACH (it, &r->own_servers) {
        struct own_servers *o = MP_CONTAINER_OF(it, struct own_servers, link);
        if (mp_str_eq(mp_str_c(o->servers), servers)) {
            return o->dns;
        }
    }
    struct mp_dns *dns;
    if (mp_is_err(mp_dns_new(r->engine->opts.main_loop, servers.p, &dns))) {
        mp_log(MP_LOG_ERROR, "name servers cannot be used, taking the system's",
               kv_str("servers", servers));
        return r->engine->dns;
    }
    struct own_servers *o = calloc(1, sizeof(*o));
    MP_ASSERT(o != NULL);
    o->servers = mp_str_dup_c(servers);
    o->dns = dns;
    mp_list_push_back(&r->own_servers, &o->link);
    return dns;
}

static void start(struct entry *en);

static void on_refresh(struct mp_timer *t)
{
    start(MP_CONTAINER_OF(t, struct entry, refresh));
}

static bool all_warm(const struct mp_resolver *r)
{
    MP_LIST_FOREACH (it, &r->entries) {
        if (!MP_CONTAINER_OF(it, struct entry, link)->warm) {
            return false;
        }
    }
    return true;
}

static void round_done(struct entry *en)
{
    struct mp_resolver *r = en->resolver;
    const struct mp_conf_cluster *conf = en->cluster->conf;
    const struct mp_stat_block *st = mp_stat_block(en->cluster->stats, r->engine->main->w.writer);
    struct mp_endpoint_set *set = make_set(en);
    if (set->n > 0) {
        mp_stat_inc(st, MP_ST_CLUSTER_UPDATE_SUCCESS);
    }
    if (same_set(en->set, set)) {
        mp_endpoint_set_unref(set);
    } else {
        mp_endpoint_set_unref(en->set);
        en->set = set;
        mp_stat_inc(st, MP_ST_CLUSTER_MEMBERSHIP_CHANGE);
        if (en->published) {
            hand_out(en);
        }
    }
    uint64_t ms = conf->dns_refresh_ms > 0 ? conf->dns_refresh_ms : 5000;
    if (conf->respect_dns_ttl) {
        uint32_t ttl = UINT32_MAX;
        for (uint32_t i = 0; i < en->n_names; i++) {
            ttl = en->names[i].ttl_s > 0 ? MP_MIN(ttl, en->names[i].ttl_s) : ttl;
        }
        ms = ttl != UINT32_MAX ? (uint64_t)ttl * 1000 : ms;
    }
    mp_timer_in(r->engine->opts.main_loop, &en->refresh, ms);
    en->warm = true;
    if (r->warmed != NULL && all_warm(r)) {
        void (*warmed)(void *) = r->warmed;
        r->warmed = NULL;
        warmed(r->warmed_arg);
    }
}

static void on_answer(void *arg, const struct mp_dns_answer *a)
{
    struct name *nm = arg;
    struct entry *en = nm->entry;
    struct mp_engine *e = en->resolver->engine;
    const struct mp_stat_block *st = mp_stat_block(en->cluster->stats, e->main->w.writer);
    nm->query = NULL;
    if (mp_is_err(a->err)) {
        mp_stat_inc(st, MP_ST_CLUSTER_UPDATE_FAILURE);
        mp_stat_inc(e->main->server_stats, MP_ST_SERVER_DNS_FAILURES);
        mp_log(MP_LOG_WARNING, "name resolution failed", kv_str("cluster", en->cluster->obj.name),
               kv_str("name", nm->conf->addr.host), kv_c("cause", a->detail));
    } else if (a->n == 0) {
        mp_stat_inc(st, MP_ST_CLUSTER_UPDATE_EMPTY);
    } else {
        free(nm->addrs);
        nm->addrs = malloc(a->n * sizeof(*nm->addrs));
        MP_ASSERT(nm->addrs != NULL);
        memcpy(nm->addrs, a->addrs, a->n * sizeof(*nm->addrs));
        nm->n = a->n;
        nm->ttl_s = a->ttl_s;
    }
    if (--en->waiting == 0) {
        round_done(en);
    }
}

static void start(struct entry *en)
{
    struct mp_engine *e = en->resolver->engine;
    const struct mp_stat_block *st = mp_stat_block(en->cluster->stats, e->main->w.writer);
    mp_stat_inc(st, MP_ST_CLUSTER_UPDATE_ATTEMPT);
    struct mp_dns *dns = dns_for(en->resolver, en->cluster->conf->dns_servers);
    en->waiting = 1; /* guard against an answer to the first before the last is asked */
    for (uint32_t i = 0; i < en->n_names; i++) {
        struct name *nm = &en->names[i];
        struct mp_addr ip;
        if (nm->n == 0 &&
            !mp_is_err(mp_addr_parse_ip(nm->conf->addr.host, nm->conf->addr.port, &ip))) {
            nm->addrs = malloc(sizeof(ip));
            MP_ASSERT(nm->addrs != NULL);
            nm->addrs[0] = ip;
            nm->n = 1;
            nm->is_ip = true;
        }
        if (nm->is_ip) {
            continue;
        }
        en->waiting++;
        mp_stat_inc(e->main->server_stats, MP_ST_SERVER_DNS_QUERIES);
        nm->query =
            mp_dns_resolve(dns, nm->conf->addr.host,
                           (enum mp_dns_family)en->cluster->conf->dns_family, on_answer, nm);
    }
    if (--en->waiting == 0) {
        round_done(en);
    }
}

/* ---- which clusters ---- */

static struct entry *entry_new(struct mp_resolver *r, struct mp_cluster *c)
{
    struct entry *en = calloc(1, sizeof(*en));
    MP_ASSERT(en != NULL);
    en->resolver = r;
    en->cluster = c;
    mp_obj_ref(&c->obj);
    en->n_names = c->conf->n_endpoints;
    en->names = calloc(en->n_names + 1, sizeof(*en->names));
    MP_ASSERT(en->names != NULL);
    for (uint32_t i = 0; i < en->n_names; i++) {
        en->names[i].entry = en;
        en->names[i].conf = &c->conf->endpoints[i];
    }
    mp_timer_init(&en->refresh, on_refresh);
    mp_list_push_back(&r->entries, &en->link);
    return en;
}

static void entry_free(struct entry *en)
{
    for (uint32_t i = 0; i < en->n_names; i++) {
        if (en->names[i].query != NULL) {
            mp_dns_cancel(en->names[i].query);
        }
        free(en->names[i].addrs);
    }
    mp_wheel_remove(mp_loop_wheel(en->resolver->engine->opts.main_loop), &en->refresh);
    mp_list_remove(&en->link);
    mp_endpoint_set_unref(en->set);
    mp_obj_unref(&en->cluster->obj);
    free(en->names);
    free(en);
}

struct mp_resolver *mp_resolver_new(struct mp_engine *e)
{
    struct mp_resolver *r = calloc(1, sizeof(*r));
    MP_ASSERT(r != NULL);
    r->engine = e;
    mp_list_init(&r->entries);
    mp_list_init(&r->own_servers);
    return r;
}

struct mp_resolver *mp_resolver_free(struct mp_resolver *r)
{
    if (r == NULL) {
        return NULL;
    }
    MP_LIST_FOREACH_SAFE (it, &r->entries) {
        entry_free(MP_CONTAINER_OF(it, struct entry, link));
    }
    struct mp_list *it;
    while ((it = mp_list_pop_front(&r->own_servers)) != NULL) {
        struct own_servers *o = MP_CONTAINER_OF(it, struct own_servers, link);
        mp_dns_free(o->dns);
        free(o->servers);
        free(o);
    }
    free(r);
    return NULL;
}

static struct entry *find_entry(struct mp_resolver *r, const struct mp_cluster *c)
{
    MP_LIST_FOREACH (it, &r->entries) {
        struct entry *en = MP_CONTAINER_OF(it, struct entry, link);
        if (en->cluster == c) {
            return en;
        }
    }
    return NULL;
}

/* Clusters of a publication that was overtaken: nobody waits for their names any more. */
static void drop_overtaken(struct mp_resolver *r, const struct mp_snapshot *snap)
{
    bool overtaken = false;
    MP_LIST_FOREACH (it, &r->entries) {
        struct entry *en = MP_CONTAINER_OF(it, struct entry, link);
        en->keep = en->published;
        overtaken |= !en->published;
    }
    for (uint32_t i = 0; overtaken && i < snap->n_clusters; i++) {
        struct entry *en = find_entry(r, snap->clusters[i]);
        if (en != NULL) {
            en->keep = true;
        }
    }
    MP_LIST_FOREACH_SAFE (it, &r->entries) {
        struct entry *en = MP_CONTAINER_OF(it, struct entry, link);
        if (!en->keep) {
            entry_free(en);
        }
    }
}

bool mp_resolver_prepare(struct mp_resolver *r, const struct mp_snapshot *snap,
                         void (*warmed)(void *arg), void *arg)
{
    r->warmed = NULL;
    drop_overtaken(r, snap);
    for (uint32_t i = 0; i < snap->n_clusters; i++) {
        struct mp_cluster *c = snap->clusters[i];
        if (c->conf->discovery != MP_CLUSTER_STATIC && find_entry(r, c) == NULL) {
            start(entry_new(r, c));
        }
    }
    if (all_warm(r)) {
        return true;
    }
    r->warmed = warmed;
    r->warmed_arg = arg;
    return false;
}

void mp_resolver_published(struct mp_resolver *r, const struct mp_snapshot *snap)
{
    r->warmed = NULL;
    MP_LIST_FOREACH (it, &r->entries) {
        MP_CONTAINER_OF(it, struct entry, link)->keep = false;
    }
    for (uint32_t i = 0; i < snap->n_clusters; i++) {
        struct entry *en = find_entry(r, snap->clusters[i]);
        if (en == NULL) {
            continue;
        }
        en->keep = true;
        if (!en->published) {
            en->published = true;
            if (en->set != NULL) {
                hand_out(en);
            }
        }
    }
    MP_LIST_FOREACH_SAFE (it, &r->entries) {
        struct entry *en = MP_CONTAINER_OF(it, struct entry, link);
        if (!en->keep) {
            entry_free(en);
        }
    }
}
