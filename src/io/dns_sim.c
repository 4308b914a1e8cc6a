/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Name resolution from a table, with seeded delays and failures. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "io/dns.h"
#include "io/sim_int.h"

#define DELAY_MIN_US 200
#define DELAY_MAX_US 40000
#define TIMEOUT_S    10

struct dns_name {
    struct mp_list link;
    char *name;
    struct mp_addr *addrs;
    uint32_t n, ttl_s;
};
static struct mp_list names = {&names, &names};
static struct mp_list queries = {&queries, &queries};
static uint64_t queries_made;

struct mp_dns {
    struct mp_loop *loop;
};

struct mp_dns_query {
    struct mp_task answer; /* the loop's turn in which the callback runs */
    struct mp_list link;
    uint64_t id;
    struct mp_dns *dns;
    char *name;
    enum mp_dns_family family;
    mp_err fail; /* chosen when asked */
    void (*done)(void *arg, const struct mp_dns_answer *a);
    void *arg;
};

static void name_free(struct dns_name *e)
{
    mp_list_remove(&e->link);
    free(e->name);
    free(e->addrs);
    free(e);
}

/* The dot of the root at the end does not matter. */
static char *dup_name(struct mp_str name)
{
    if (name.n > 0 && name.p[name.n - 1] == '.') {
        name.n--;
    }
    return mp_str_dup_c(name);
}

static struct dns_name *name_find(const char *name)
{
    MP_LIST_FOREACH (it, &names) {
        struct dns_name *e = MP_CONTAINER_OF(it, struct dns_name, link);
        if (strcasecmp(e->name, name) == 0) {
            return e;
        }
    }
    return NULL;
}

static int addr_cmp(const void *a, const void *b)
{
    const struct mp_addr *x = a, *y = b;
    return x->family != y->family ? x->family - y->family : memcmp(x->ip, y->ip, sizeof(x->ip));
}

void mp_sim_dns_set(const char *name, const struct mp_addr *addrs, uint32_t n, uint32_t ttl_s)
{
    char *copy = dup_name(mp_str_c(name));
    struct dns_name *old = name_find(copy);
    if (old) {
        name_free(old);
    }
    if (n == 0) {
        free(copy);
        return;
    }
    struct dns_name *e = calloc(1, sizeof(*e));
    MP_ASSERT(e);
    e->addrs = calloc(n, sizeof(*e->addrs));
    MP_ASSERT(e->addrs);
    e->name = copy;
    e->ttl_s = ttl_s;
    for (uint32_t i = 0; i < n; i++) {
        e->addrs[i] = addrs[i];
        e->addrs[i].port = 0;
    }
    qsort(e->addrs, n, sizeof(*e->addrs), addr_cmp);
    for (uint32_t i = 0; i < n; i++) {
        if (e->n == 0 || addr_cmp(&e->addrs[e->n - 1], &e->addrs[i]) != 0) {
            e->addrs[e->n++] = e->addrs[i];
        }
    }
    mp_list_push_back(&names, &e->link);
}

void sim_dns_reset(void)
{
    MP_ASSERT(mp_list_empty(&queries));
    while (!mp_list_empty(&names)) {
        name_free(MP_CONTAINER_OF(names.next, struct dns_name, link));
    }
    queries_made = 0;
}

mp_err mp_dns_new(struct mp_loop *l, const char *servers, struct mp_dns **ret)
{
    sim_check_owner(l);
    struct mp_dns *d = calloc(1, sizeof(*d));
    MP_ASSERT(d);
    d->loop = l;
    *ret = d;
    return MP_OK;
}

static void query_free(struct mp_dns_query *q)
{
    mp_task_cancel(&q->answer);
    mp_list_remove(&q->link);
    free(q->name);
    free(q);
}

struct mp_dns *mp_dns_free(struct mp_dns *d)
{
    if (!d) {
        return NULL;
    }
    MP_LIST_FOREACH_SAFE (it, &queries) {
        struct mp_dns_query *q = MP_CONTAINER_OF(it, struct mp_dns_query, link);
        if (q->dns == d) {
            query_free(q);
        }
    }
    free(d);
    return NULL;
}

static uint32_t pick(const struct dns_name *e, uint8_t family, struct mp_addr *out, uint32_t n)
{
    for (uint32_t i = 0; i < e->n; i++) {
        if (e->addrs[i].family == family) {
            out[n++] = e->addrs[i];
        }
    }
    return n;
}

static uint32_t select_addrs(const struct dns_name *e, enum mp_dns_family family,
                             struct mp_addr *out)
{
    uint32_t n = 0;
    if (family == MP_DNS_ALL) {
        return pick(e, MP_ADDR_IP6, out, pick(e, MP_ADDR_IP4, out, 0));
    }
    bool v6_first = family == MP_DNS_AUTO || family == MP_DNS_V6_ONLY;
    n = pick(e, v6_first ? MP_ADDR_IP6 : MP_ADDR_IP4, out, 0);
    if (n == 0 && family != MP_DNS_V4_ONLY && family != MP_DNS_V6_ONLY) {
        n = pick(e, v6_first ? MP_ADDR_IP4 : MP_ADDR_IP6, out, 0);
    }
    return n;
}

static void answer_run(struct mp_task *t)
{
    struct mp_dns_query *q = MP_CONTAINER_OF(t, struct mp_dns_query, answer);
    struct mp_dns_answer a = {.err = q->fail, .detail = "simulated failure"};
    struct mp_addr literal;
    struct dns_name one = {.n = 1, .addrs = &literal};
    struct dns_name *e = NULL;
    if (!mp_is_err(q->fail)) {
        bool is_ip = !mp_is_err(mp_addr_parse_ip(mp_str_c(q->name), 0, &literal));
        e = is_ip ? &one : name_find(q->name);
        a.err = e ? MP_OK : MP_FAIL(NOT_FOUND);
        a.detail = e ? "found" : "no such name";
    }
    struct mp_addr *out = NULL;
    if (e) {
        out = calloc(e->n, sizeof(*out));
        MP_ASSERT(out);
        a.addrs = out;
        a.n = select_addrs(e, q->family, out);
        a.ttl_s = e->ttl_s;
    }
    if (e && a.n == 0) {
        a.err = MP_FAIL(NOT_FOUND);
        a.detail = "no address of this family";
    }
    mp_sim_trace_event("dns", (int64_t)q->id, a.err.code, a.n);
    void (*done)(void *arg, const struct mp_dns_answer *a) = q->done;
    void *arg = q->arg;
    query_free(q);
    done(arg, &a);
    free(out);
}

struct mp_dns_query *mp_dns_resolve(struct mp_dns *d, struct mp_str name, enum mp_dns_family family,
                                    void (*done)(void *arg, const struct mp_dns_answer *a),
                                    void *arg)
{
    sim_check_owner(d->loop);
    struct mp_dns_query *q = calloc(1, sizeof(*q));
    MP_ASSERT(q);
    q->id = ++queries_made;
    q->dns = d;
    q->name = dup_name(name);
    q->family = family;
    q->done = done;
    q->arg = arg;
    uint64_t delay = sim_between(DELAY_MIN_US * SIM_US, DELAY_MAX_US * SIM_US);
    if (sim_chance(sim.opts.dns_fail)) {
        bool silent = mp_rand_below(&sim.rand, 3) == 0;
        q->fail = silent ? MP_FAIL(TIMEOUT) : MP_FAIL(DNS);
        delay = silent ? TIMEOUT_S * SIM_S : delay;
    }
    mp_task_init(&q->answer, answer_run);
    mp_list_push_back(&queries, &q->link);
    sim_push((struct sim_ev){.at_ns = sim.now_ns + delay, .kind = SIM_EV_DNS, .num = q->id});
    return q;
}

void sim_dns_on_ev(uint64_t query_id)
{
    MP_LIST_FOREACH (it, &queries) {
        struct mp_dns_query *q = MP_CONTAINER_OF(it, struct mp_dns_query, link);
        if (q->id == query_id) {
            mp_task_defer(q->dns->loop, &q->answer);
            return;
        }
    }
}

void mp_dns_cancel(struct mp_dns_query *q)
{
    if (q) {
        sim_check_owner(q->dns->loop);
        query_free(q);
    }
}
