/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Between accept and the protocol: PROXY header, choice of the filter chain, TLS, and the first
 * bytes of the protocol, each where it is configured. Without any of them a connection goes
 * straight to its first bytes, which go along in the worker's scratch, so that a client of HTTP/1
 * costs no system call and no copy for this. */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "codec/client_hello.h"
#include "codec/proxy_proto.h"
#include "core/conn.h"
#include "core/engine.h"
#include "core/hs_budget.h"
#include "core/snapshot.h"
#include "core/stats.h"
#include "io/tls.h"

/* RFC 9113 3.4 */
static const char h2_preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#define H2_PREFACE_N (sizeof(h2_preface) - 1)

static const struct mp_conf_listener *conf_of(const struct mp_conn *c)
{
    return c->lst->conf->conf;
}

static void set_timer(struct mp_conn *c, uint64_t ms)
{
    if (ms > 0) {
        mp_timer_in(c->cw->w.loop, &c->timer, ms);
    } else {
        mp_timer_unset(&c->timer);
    }
}

static void peer_gone(struct mp_conn *c)
{
    if (c->http_counted) {
        mp_stat_inc(c->stats, MP_ST_HTTP_CX_DESTROY_REMOTE);
    }
    mp_conn_close(c);
}

/* ---- which protocol ---- */

enum choice { CHOICE_MORE, CHOICE_HTTP1, CHOICE_HTTP2 };

static enum choice choose(const struct mp_conn *c, const char *p, size_t n)
{
    struct mp_tls *tls = mp_chan_tls(&c->ch);
    switch (mp_conn_http(c)->conf->codec) {
    case MP_CODEC_HTTP1:
        return CHOICE_HTTP1;
    case MP_CODEC_HTTP2:
        return CHOICE_HTTP2;
    default:
        break;
    }
    if (MP_UNLIKELY(tls != NULL)) {
        struct mp_str alpn = mp_tls_alpn(tls);
        if (alpn.n > 0) {
            return mp_str_eq(alpn, MP_STR("h2")) ? CHOICE_HTTP2 : CHOICE_HTTP1;
        }
    }
    if (MP_LIKELY(p[0] != 'P') || memcmp(p, h2_preface, MP_MIN(n, H2_PREFACE_N)) != 0) {
        return CHOICE_HTTP1;
    }
    return n < H2_PREFACE_N ? CHOICE_MORE : CHOICE_HTTP2;
}

static bool keep(struct mp_conn *c, const char *p, size_t n)
{
    if (mp_conn_keep_input(c, p, n)) {
        return true;
    }
    if (c->http_counted) {
        mp_stat_inc(c->stats, MP_ST_HTTP_RQ_OVERLOAD);
    }
    mp_conn_close(c);
    return false;
}

/* Too little to tell. The first such bytes start the time for a request head. */
static void wait_for_more(struct mp_conn *c, const char *p, size_t n)
{
    uint64_t ms = mp_conn_http(c)->conf->request_headers_timeout_ms;
    c->idle = false;
    if (!c->head_wait && ms > 0) {
        c->head_wait = true;
        set_timer(c, ms);
    }
    (void)keep(c, p, n);
}

/* The first n bytes of the protocol are at the beginning of the scratch. */
static void hand_over(struct mp_conn *c, char *scratch, size_t n)
{
    switch (choose(c, scratch, n)) {
    case CHOICE_HTTP1:
        mp_h1_server_begin(c, scratch, n);
        return;
    case CHOICE_HTTP2:
        mp_conn_drop_input(c);
        mp_h2_server_begin(c, scratch, n);
        return;
    case CHOICE_MORE:
        wait_for_more(c, scratch, n);
    }
}

/* ---- reading ---- */

/* Bytes at the beginning of the scratch, kept ones first; 0: none, or the connection is over. */
static size_t read_some(struct mp_conn *c)
{
    char *scratch = c->cw->w.scratch;
    size_t kept = c->in_n;
    if (kept > 0) {
        memcpy(scratch, c->in, kept);
    }
    ssize_t r = mp_chan_recv(c->cw, &c->ch, scratch + kept, MP_SCRATCH_SIZE - kept);
    if (r == -EAGAIN) {
        c->ch.readable = false;
        return 0;
    }
    if (r <= 0) {
        peer_gone(c);
        return 0;
    }
    c->in_n = 0;
    c->ch.readable = (size_t)r == MP_SCRATCH_SIZE - kept || c->ch.hup;
    return kept + (size_t)r;
}

/* Reads until the protocol is known or the socket is empty. */
static void read_first(struct mp_conn *c)
{
    while (!c->dead && c->proto == &mp_start_proto) {
        size_t n = read_some(c);
        if (n == 0) {
            return;
        }
        hand_over(c, c->cw->w.scratch, n);
        if (!c->ch.readable) {
            return;
        }
    }
}

/* ---- TLS ---- */

static const struct mp_addr *source_of(const struct mp_conn *c)
{
    return &c->peer;
}

static void handshake_failed(struct mp_conn *c, int err)
{
    const struct mp_tls *t = mp_chan_tls(&c->ch);
    if (c->ch.rx == 0 && err != -EPROTO) {
        peer_gone(c); /* came and went: somebody who looks whether the port is open */
        return;
    }
    mp_stats_tls_failed(c->lst->stats, MP_ST_LISTENER_TLS_HANDSHAKE, t);
    mp_hs_budget_count(c->cw, source_of(c), mp_loop_now_ms(c->cw->w.loop));
    mp_log(MP_LOG_DEBUG, "TLS handshake failed", kv_str("listener", c->lst->name),
           kv_c("cause", err == -EPROTO ? mp_tls_failure_text(t) : "the client went away"));
    mp_conn_close(c);
}

static void handshake(struct mp_conn *c)
{
    int r = mp_chan_handshake(c->cw, &c->ch);
    if (r == -EAGAIN) {
        c->ch.readable = false;
        return;
    }
    if (r < 0) {
        handshake_failed(c, r);
        return;
    }
    c->tls_wait = false;
    c->idle = true;
    mp_stats_tls_done(c->lst->stats, MP_ST_LISTENER_TLS_HANDSHAKE, mp_chan_tls(&c->ch));
    mp_conn_arm_first(c);
    read_first(c); /* what came with the client's last flight */
}

/* first[0..n): what of TLS has been read. */
static void begin_tls(struct mp_conn *c, struct mp_tls_ctx *ctx, const char *first, size_t n)
{
    const struct mp_conf_chain *chain = c->lst->chain->conf;
    uint64_t ms = chain != NULL ? chain->connect_timeout_ms : 0;
    if (mp_hs_budget_spent(c->cw, source_of(c), conf_of(c)->handshake_failures_max,
                           mp_loop_now_ms(c->cw->w.loop))) {
        mp_stat_inc(c->lst->stats, MP_ST_LISTENER_HANDSHAKE_BUDGET);
        mp_conn_close(c);
        return;
    }
    if (!mp_chan_tls_begin(c->cw, &c->ch, ctx, NULL, 0)) {
        mp_stat_inc(c->stats, MP_ST_HTTP_RQ_OVERLOAD);
        mp_conn_close(c);
        return;
    }
    mp_stat_inc(c->stats, MP_ST_HTTP_CX_SSL_TOTAL);
    mp_stat_inc(c->stats, MP_ST_HTTP_CX_SSL_ACTIVE);
    c->tls_wait = true;
    c->idle = false;
    if (ms > 0) {
        set_timer(c, ms);
    }
    if (n > 0) {
        mp_chan_tls_feed(c->cw, &c->ch, first, n);
        mp_conn_drop_input(c);
        handshake(c);
    }
}

/* ---- the filter chain ---- */

/* How well a name fits: 0 not at all, 1 without conditions. */
static size_t name_fit(const struct mp_conf_chain *k, struct mp_str name)
{
    size_t best = k->n_server_names == 0 ? 1 : 0;
    for (uint32_t i = 0; i < k->n_server_names; i++) {
        struct mp_str want = k->server_names[i];
        if (mp_str_eq(want, name)) {
            return 1000;
        }
        bool wild = want.n > 1 && want.p[0] == '*';
        if (wild && name.n > want.n - 1 && mp_str_ends(name, mp_str(want.p + 1, want.n - 1))) {
            best = MP_MAX(best, want.n);
        }
    }
    return best;
}

static bool offers(const struct mp_hello *h, struct mp_str alpn)
{
    for (size_t i = 0; i < h->alpn_n; i += 1u + (uint8_t)h->alpn[i]) {
        if (mp_str_eq(mp_str(h->alpn + i + 1, (uint8_t)h->alpn[i]), alpn)) {
            return true;
        }
    }
    return false;
}

static size_t chain_fit(const struct mp_conf_chain *k, bool tls, const struct mp_hello *h)
{
    if ((k->transport == MP_TRANSPORT_TLS && !tls) || (k->transport == MP_TRANSPORT_RAW && tls)) {
        return 0;
    }
    size_t fit = name_fit(k, mp_str_c(h->name)) * 4;
    bool alpn = k->n_alpn == 0;
    for (uint32_t i = 0; i < k->n_alpn && !alpn; i++) {
        alpn = offers(h, k->alpn[i]);
    }
    if (fit == 0 || !alpn) {
        return 0;
    }
    return fit + (k->transport != MP_TRANSPORT_ANY ? 2 : 0) + (k->n_alpn > 0 ? 1 : 0);
}

/* Envoy's order: the name counts most, then the transport, then the protocols. */
static struct mp_listener_local *find_chain(struct mp_conn *c, bool tls, const struct mp_hello *h)
{
    struct mp_listener_local *root = c->lst, *best = NULL;
    size_t best_fit = 0;
    for (uint32_t i = 0; i < root->n_chains; i++) {
        struct mp_listener_local *l = root->chains[i];
        size_t fit = l->chain->conf != NULL ? chain_fit(l->chain->conf, tls, h) : 1;
        if (fit > best_fit) {
            best = l;
            best_fit = fit;
        }
    }
    return best;
}

/* The chain is known: with TLS, or not. */
static void enter_chain(struct mp_conn *c, struct mp_listener_local *l, char *first, size_t n)
{
    c->chain_known = true;
    if (l != c->lst) {
        mp_listener_local_move(c, l);
    }
    mp_conn_count_http(c);
    if (l->chain->tls != NULL) {
        begin_tls(c, l->chain->tls, first, n);
        return;
    }
    if (n > 0) {
        char *scratch = c->cw->w.scratch;
        memmove(scratch, first, n);
        hand_over(c, scratch, n);
    }
}

static void choose_chain(struct mp_conn *c, char *first, size_t n)
{
    struct mp_hello hello = {.name = ""};
    bool tls = false;
    if (conf_of(c)->inspect) {
        char tmp[MP_HELLO_MAX];
        switch (n > 0 ? mp_hello_parse(first, n, tmp, &hello) : MP_HELLO_MORE) {
        case MP_HELLO_MORE:
            (void)keep(c, first, n);
            return;
        case MP_HELLO_OK:
            tls = true;
            break;
        case MP_HELLO_NONE:
            break;
        case MP_HELLO_BAD:
            mp_stat_inc(c->lst->stats, MP_ST_LISTENER_TLS_CONNECTION_ERROR);
            mp_hs_budget_count(c->cw, source_of(c), mp_loop_now_ms(c->cw->w.loop));
            mp_conn_close(c);
            return;
        }
    }
    struct mp_listener_local *l = find_chain(c, tls, &hello);
    if (l == NULL) {
        mp_stat_inc(c->lst->stats, MP_ST_LISTENER_NO_CHAIN);
        mp_conn_close(c);
        return;
    }
    enter_chain(c, l, first, n);
}

/* ---- PROXY header ---- */

static bool trusted(const struct mp_conn *c)
{
    const struct mp_listener_conf *l = c->lst->conf;
    uint32_t n = l->conf->n_proxy_from;
    for (uint32_t i = 0; i < n; i++) {
        if (mp_cidr_has(&l->proxy_from[i], &c->peer)) {
            return true;
        }
    }
    return n == 0;
}

static struct mp_addr addr_of(const struct mp_proxy_header *h, const struct mp_proxy_end *e)
{
    struct mp_addr a = {.family = h->family == 4 ? MP_ADDR_IP4 : MP_ADDR_IP6, .port = e->port};
    memcpy(a.ip, e->ip, h->family == 4 ? 4 : 16);
    return a;
}

/* Returns the header's length; 0: more is needed, or the connection is over. SIZE_MAX: no header,
 * and none has to be. */
static size_t take_proxy_header(struct mp_conn *c, const char *p, size_t n)
{
    struct mp_proxy_header h;
    size_t used = 0;
    switch (mp_proxy_parse(p, n, &h, &used)) {
    case MP_PROXY_MORE:
        (void)keep(c, p, n);
        return 0;
    case MP_PROXY_NONE:
        if (conf_of(c)->proxy_optional) {
            return SIZE_MAX;
        }
        break;
    case MP_PROXY_BAD:
        break;
    case MP_PROXY_OK: {
        struct mp_chan_more *m = h.family != 0 ? mp_chan_get_more(c->cw, &c->ch) : NULL;
        if (m != NULL) {
            m->proxied = true;
            m->direct = c->peer;
            m->local = addr_of(&h, &h.to);
            c->peer = addr_of(&h, &h.from);
        }
        return used;
    }
    }
    mp_stat_inc(c->lst->stats, MP_ST_LISTENER_PROXY_ERROR);
    mp_conn_close(c);
    return 0;
}

/* Raw bytes, before the chain is known. */
static void read_raw(struct mp_conn *c)
{
    while (!c->dead && !c->chain_known) {
        size_t n = read_some(c), used = 0;
        char *p = c->cw->w.scratch;
        if (n == 0) {
            return;
        }
        c->idle = false;
        if (c->proxy_wait) {
            used = take_proxy_header(c, p, n);
            if (used == 0) {
                continue;
            }
            c->proxy_wait = false;
            used = used == SIZE_MAX ? 0 : used;
        }
        mp_conn_drop_input(c);
        choose_chain(c, p + used, n - used);
        if (!c->dead && !c->ch.readable) {
            return;
        }
    }
}

/* ---- events ---- */

static void go_on(struct mp_conn *c)
{
    if (!c->chain_known) {
        read_raw(c);
    }
    if (!c->dead && c->tls_wait && c->ch.readable) {
        handshake(c);
    } else if (!c->dead && c->chain_known && !c->tls_wait && c->ch.readable) {
        read_first(c);
    }
}

void mp_conn_start(struct mp_conn *c)
{
    const struct mp_listener_conf *l = c->lst->conf;
    if (MP_LIKELY(l->plain)) {
        c->chain_known = true;
        mp_conn_count_http(c);
        return;
    }
    c->proxy_wait = l->conf->proxy_protocol && trusted(c);
    if (c->proxy_wait || l->conf->inspect) {
        set_timer(c, l->conf->filters_timeout_ms);
        return;
    }
    enter_chain(c, c->lst, NULL, 0);
}

void mp_conn_start_on_ready(struct mp_io *io, unsigned events)
{
    struct mp_conn *c = MP_CONTAINER_OF(io, struct mp_conn, ch.io);
    MP_CHECK_MAGIC(c, MP_CONN_MAGIC);
    if ((events & MP_IO_OUT) != 0 && c->ch.q.n > 0) {
        (void)mp_chan_on_writable(c->cw, &c->ch);
    }
    if ((events & MP_IO_ERR) != 0) {
        peer_gone(c);
    } else if ((events & (MP_IO_IN | MP_IO_HUP)) != 0) {
        c->ch.readable = true;
        c->ch.hup |= (events & MP_IO_HUP) != 0;
        go_on(c);
    }
    mp_cork_flush(c->cw);
}

void mp_conn_start_on_timer(struct mp_timer *t)
{
    struct mp_conn *c = MP_CONTAINER_OF(t, struct mp_conn, timer);
    MP_CHECK_MAGIC(c, MP_CONN_MAGIC);
    if (!c->chain_known || c->tls_wait) {
        mp_stat_inc(c->lst->stats,
                    c->tls_wait ? MP_ST_LISTENER_TLS_TIMEOUT : MP_ST_LISTENER_PRE_CX_TIMEOUT);
        if (c->tls_wait && c->ch.rx > 0) {
            mp_hs_budget_count(c->cw, source_of(c), mp_loop_now_ms(c->cw->w.loop));
        }
        mp_conn_close(c);
        return;
    }
    if (c->in_n == 0) {
        mp_stat_inc(c->stats, MP_ST_HTTP_CX_IDLE_TIMEOUT);
        mp_conn_close(c);
        return;
    }
    /* Whatever it was going to be, it gets the answer to a head that is too slow. */
    size_t n = c->in_n;
    memcpy(c->cw->w.scratch, c->in, n);
    c->in_n = 0;
    mp_h1_server_begin(c, c->cw->w.scratch, n);
    if (!c->dead && c->proto == &mp_h1_server_proto && c->head_wait) {
        c->timer.fire(t);
    }
    mp_cork_flush(c->cw);
}

static void drain(struct mp_conn *c)
{
    /* What waits in the kernel was sent before anybody could know: it is served. A handshake under
     * way is: the first response says that it is the last. */
    if (c->idle || !c->chain_known) {
        c->ch.readable = true;
        go_on(c);
    }
    if (c->dead) {
        return;
    }
    if (c->proto != &mp_start_proto) {
        c->proto->drain(c);
    } else if (c->idle && !c->tls_wait) {
        mp_conn_close(c);
    }
}

static void cut(struct mp_conn *c, const char *details)
{
    (void)details;
    mp_conn_close(c);
}

const struct mp_conn_proto mp_start_proto = {.name = "start", .drain = drain, .cut = cut};
