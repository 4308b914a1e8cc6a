/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/outlier.h"

#include <stdlib.h>

#include "base/assert.h"
#include "core/engine.h"

struct found_msg {
    struct mp_msg msg;
    struct mp_cluster_shared *cluster;
    struct mp_host_shared *host; /* a reference */
    enum mp_outlier_kind kind;
};

static void deliver_found(struct mp_msg *m, void *receiver)
{
    struct found_msg *f = MP_CONTAINER_OF(m, struct found_msg, msg);
    (void)receiver;
    mp_outlier_found(f->cluster, f->host, f->kind);
    mp_host_shared_unref(f->host);
    free(f);
}

/* Once for each limit that is reached: rare enough to allocate. */
static void tell(struct mp_upreq *u, enum mp_outlier_kind kind)
{
    struct found_msg *f = calloc(1, sizeof(*f));
    MP_ASSERT(f != NULL);
    f->msg.deliver = deliver_found;
    f->cluster = u->cluster->shared;
    f->host = u->host->shared;
    f->kind = kind;
    mp_host_shared_ref(f->host);
    mp_mailbox_post(&u->cw->engine->main->w.mailbox, &f->msg);
}

static void fail_row(struct mp_upreq *u, uint32_t *row, uint32_t limit, enum mp_outlier_kind kind)
{
    if (limit > 0 && __atomic_add_fetch(row, 1, __ATOMIC_RELAXED) == limit) {
        tell(u, kind);
    }
}

/* The line is written after a failure only: a healthy host's is shared in peace. */
static void end_row(uint32_t *row)
{
    if (__atomic_load_n(row, __ATOMIC_RELAXED) != 0) {
        __atomic_store_n(row, 0, __ATOMIC_RELAXED);
    }
}

static void add(uint32_t *cell, bool yes)
{
    if (yes) {
        __atomic_store_n(cell, *cell + 1, __ATOMIC_RELAXED);
    }
}

static struct mp_host_counts *counts_of(const struct mp_upreq *u)
{
    struct mp_host_counts *all = __atomic_load_n(&u->host->shared->counts, __ATOMIC_ACQUIRE);
    return all != NULL ? &all[u->cw->w.id] : NULL;
}

static void count_code(struct mp_upreq *u, unsigned status)
{
    const struct mp_conf_outlier *o = u->cluster->conf->conf->outlier;
    struct mp_host_shared *h = u->host->shared;
    struct mp_host_counts *n = counts_of(u);
    if (n != NULL) {
        add(&n->total, true);
        add(&n->ok, status < 500);
    }
    if (status < 500) {
        end_row(&h->row_5xx);
        end_row(&h->row_gateway);
        return;
    }
    if (status >= 502 && status <= 504) {
        fail_row(u, &h->row_gateway, o->consecutive_gateway, MP_OUTLIER_GATEWAY);
    } else {
        end_row(&h->row_gateway);
    }
    fail_row(u, &h->row_5xx, o->consecutive_5xx, MP_OUTLIER_5XX);
}

void mp_outlier_count_status(struct mp_upreq *u, unsigned status)
{
    struct mp_host_counts *n = counts_of(u);
    if (n != NULL) {
        add(&n->local_total, true);
        add(&n->local_ok, true);
    }
    end_row(&u->host->shared->row_local);
    count_code(u, status);
}

void mp_outlier_count_local(struct mp_upreq *u, bool timeout)
{
    const struct mp_conf_outlier *o = u->cluster->conf->conf->outlier;
    if (!o->split_local) {
        count_code(u, timeout ? 504 : 503);
        return;
    }
    struct mp_host_counts *n = counts_of(u);
    if (n != NULL) {
        add(&n->local_total, true);
    }
    fail_row(u, &u->host->shared->row_local, o->consecutive_local, MP_OUTLIER_LOCAL);
}
