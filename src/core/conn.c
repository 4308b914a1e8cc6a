/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Client connections: accepting, keeping input, closing. */
#include "core/conn.h"

#include <string.h>

#include "base/assert.h"
#include "core/admit.h"
#include "core/engine.h"
#include "core/listener.h"
#include "core/stats.h"
#include "io/sock.h"

void mp_conn_accept(struct mp_listener_local *lst, int fd, const struct mp_addr *peer,
                    bool source_counted)
{
    struct mp_core_worker *cw = lst->cw;
    struct mp_conn *c = mp_slab_get(&cw->conns);
    if (c == NULL) {
        mp_sock_close(cw->w.loop, fd);
        if (source_counted) {
            mp_admit_gone(lst, peer);
        }
        return;
    }
    memset(c, 0, sizeof(*c));
    c->magic = MP_CONN_MAGIC;
    c->cw = cw;
    c->lst = lst;
    c->peer = *peer;
    c->source_counted = source_counted;
    c->idle = true;
    c->id = cw->next_id++;
    c->accepted_ns = mp_loop_now_ns(cw->w.loop);
    c->proto = &mp_start_proto;
    mp_timer_init(&c->timer, mp_conn_start_on_timer);
    if (mp_is_err(mp_chan_open(cw, &c->ch, fd, mp_conn_start_on_ready))) {
        mp_sock_close(cw->w.loop, fd);
        mp_slab_put(&cw->conns, c);
        if (source_counted) {
            mp_admit_gone(lst, peer);
        }
        return;
    }
    mp_list_push_back(&lst->conns, &c->link);
    lst->n_conns++;
    __atomic_add_fetch(&lst->conf->shared->connections, 1, __ATOMIC_RELAXED);
    cw->n_conns++;
    if (cw != cw->engine->main) {
        __atomic_add_fetch(&cw->engine->connections, 1, __ATOMIC_RELAXED);
    }
    mp_stat_inc(lst->stats, MP_ST_LISTENER_CX_TOTAL);
    mp_stat_inc(lst->stats, MP_ST_LISTENER_CX_ACTIVE);
    mp_conn_start(c);
}

bool mp_conn_local_addr(const struct mp_conn *c, struct mp_addr *ret)
{
    if (c->ch.more != NULL && c->ch.more->proxied) {
        *ret = c->ch.more->local;
        return true;
    }
    return mp_chan_is_open(&c->ch) && mp_sock_local_addr(c->cw->w.loop, c->ch.io.fd, ret) >= 0;
}

void mp_conn_count_http(struct mp_conn *c)
{
    struct mp_listener_local *lst = c->lst;
    c->stats = lst->http_stats;
    c->http_counted = true;
    mp_stat_inc(c->stats, MP_ST_HTTP_CX_TOTAL);
    mp_stat_inc(c->stats, MP_ST_HTTP_CX_ACTIVE);
    mp_conn_arm_first(c);
}

void mp_conn_arm_first(struct mp_conn *c)
{
    const struct mp_listener_local *lst = c->lst;
    uint64_t first = lst->http->conf->request_headers_timeout_ms;
    uint64_t idle = lst->http->conf->idle_timeout_ms;
    uint64_t longest = lst->http->conf->max_connection_duration_ms;
    uint64_t wait = first == 0 || (idle > 0 && idle < first) ? idle : first;
    wait = wait == 0 || (longest > 0 && longest < wait) ? longest : wait;
    if (wait > 0) {
        mp_timer_in(c->cw->w.loop, &c->timer, wait);
    }
}

static void uncount_http(const struct mp_conn *c, bool tls)
{
    mp_stat_inc(c->stats, MP_ST_HTTP_CX_DESTROY);
    mp_stat_dec(c->stats, MP_ST_HTTP_CX_ACTIVE);
    if (tls) {
        mp_stat_dec(c->stats, MP_ST_HTTP_CX_SSL_ACTIVE);
    }
    mp_stat_add(c->stats, MP_ST_HTTP_CX_RX_BYTES, c->ch.rx);
    mp_stat_add(c->stats, MP_ST_HTTP_CX_TX_BYTES, c->ch.tx);
    mp_stat_record(c->stats, MP_ST_HTTP_CX_LENGTH,
                   (mp_loop_now_ns(c->cw->w.loop) - c->accepted_ns) / 1000);
}

void mp_conn_close(struct mp_conn *c)
{
    if (c->dead) {
        return;
    }
    struct mp_core_worker *cw = c->cw;
    struct mp_listener_local *lst = c->lst;
    c->dead = true;
    if (c->proto->closed != NULL) {
        c->proto->closed(c);
    }
    bool was_tls = mp_chan_tls(&c->ch) != NULL;
    const struct mp_chan_more *more = c->ch.more;
    struct mp_addr source = more != NULL && more->proxied ? more->direct : c->peer;
    mp_chan_close(cw, &c->ch);
    mp_conn_drop_input(c);
    mp_wheel_remove(mp_loop_wheel(cw->w.loop), &c->timer);
    mp_stat_inc(lst->stats, MP_ST_LISTENER_CX_DESTROY);
    mp_stat_dec(lst->stats, MP_ST_LISTENER_CX_ACTIVE);
    if (MP_LIKELY(c->http_counted)) {
        uncount_http(c, was_tls);
    }
    mp_list_remove(&c->link);
    mp_list_push_back(&cw->dead_conns, &c->link);
    mp_task_defer(cw->w.loop, &cw->reap_task);
    cw->n_conns--;
    if (cw != cw->engine->main) {
        __atomic_sub_fetch(&cw->engine->connections, 1, __ATOMIC_RELAXED);
    } else {
        mp_engine_fill_reserve(cw->engine);
    }
    if (c->source_counted) {
        mp_admit_gone(lst, &source);
    }
    mp_listener_local_conn_gone(lst);
}

/* Blocks are whole KiB; what is kept has been in the scratch buffer, so it is no larger. */
static size_t in_size(const struct mp_conn *c)
{
    return (size_t)c->in_kib * 1024;
}

void mp_conn_drop_input(struct mp_conn *c)
{
    if (c->in != NULL) {
        mp_blocks_put(&c->cw->w.blocks, c->in, in_size(c));
    }
    c->in = NULL;
    c->in_n = c->in_kib = 0;
}

bool mp_conn_keep_input(struct mp_conn *c, const char *p, size_t n)
{
    if (n == 0) {
        mp_conn_drop_input(c);
        return true;
    }
    if (c->in == NULL || n > in_size(c)) {
        size_t size = n;
        char *in = mp_blocks_get(&c->cw->w.blocks, &size);
        if (in == NULL) {
            return false;
        }
        memcpy(in, p, n);
        mp_conn_drop_input(c);
        c->in = in;
        c->in_kib = (uint16_t)(size / 1024);
    } else {
        memmove(c->in, p, n);
    }
    c->in_n = (uint32_t)n;
    return true;
}
