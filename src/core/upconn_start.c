/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Between a connect and the first request: PROXY header and TLS, where the cluster has them. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "codec/proxy_proto.h"
#include "core/snapshot.h"
#include "core/stats.h"
#include "core/upconn.h"
#include "io/sock.h"
#include "io/tls.h"

static bool put_end(const struct mp_addr *a, struct mp_proxy_header *h, struct mp_proxy_end *e)
{
    uint8_t family = a->family == MP_ADDR_IP4 ? 4 : a->family == MP_ADDR_IP6 ? 6 : 0;
    if (family == 0 || (h->family != 0 && h->family != family)) {
        return false;
    }
    h->family = family;
    e->port = a->port;
    memcpy(e->ip, a->ip, family == 4 ? 4 : 16);
    return true;
}

/* The header is the connection's, so the connection is for the one request whose client it names.
 */
static int send_proxy_header(struct mp_upconn *uc, uint8_t version)
{
    struct mp_upreq *u = uc->for_req;
    struct mp_proxy_header h = {.version = version};
    struct mp_addr from, to;
    char out[MP_PROXY_OUT_MAX];
    if (u == NULL) {
        return -ECANCELED;
    }
    uc->proxy_serial = u->serial;
    if (u->ops->client == NULL || !u->ops->client(u, &from, &to) || !put_end(&from, &h, &h.from) ||
        !put_end(&to, &h, &h.to)) {
        h.family = 0;
    }
    size_t n = mp_proxy_write(&h, out);
    ssize_t w = mp_sock_send(uc->cw->w.loop, uc->ch.io.fd, out, n);
    /* A fresh socket takes a hundred bytes; one that does not is of no use. */
    return w == (ssize_t)n ? 0 : w < 0 ? (int)w : -EIO;
}

static int begin(struct mp_upconn *uc, const struct mp_cluster *c)
{
    int err = mp_sock_connect_result(uc->cw->w.loop, uc->ch.io.fd);
    if (err == -EINPROGRESS || err == -EALREADY) {
        return -EAGAIN;
    }
    if (err == 0 && c->conf->proxy_protocol > 0) {
        err = send_proxy_header(uc, c->conf->proxy_protocol);
    }
    uc->connected = true;
    if (err < 0 || c->tls == NULL) {
        return err;
    }
    const char *sni = c->conf->tls->sni.p;
    return mp_chan_tls_begin(uc->cw, &uc->ch, c->tls, sni, mp_addr_hash(&uc->host->addr)) ? 0
                                                                                          : -ENOMEM;
}

static int handshake(struct mp_upconn *uc)
{
    const struct mp_stat_block *stats = uc->host->cluster->stats;
    int r = mp_chan_handshake(uc->cw, &uc->ch);
    if (r == -EAGAIN) {
        return r;
    }
    const struct mp_tls *t = mp_chan_tls(&uc->ch);
    if (r == 1) {
        mp_stats_tls_done(stats, MP_ST_CLUSTER_TLS_HANDSHAKE, t);
        return 0;
    }
    mp_stats_tls_failed(stats, MP_ST_CLUSTER_TLS_HANDSHAKE, t);
    mp_log(MP_LOG_WARNING, "TLS to an upstream failed",
           kv_str("cluster", mp_cluster_name(uc->host->cluster)), kv_str("host", uc->host->text),
           kv_c("cause", r == -EPROTO ? mp_tls_failure_text(t) : "the connection was closed"));
    return r;
}

int mp_upconn_start(struct mp_upconn *uc, unsigned events)
{
    const struct mp_cluster *c = uc->host->cluster->conf;
    if (c == NULL) {
        return -ECANCELED; /* the cluster went while we connected */
    }
    if (!uc->connected) {
        if ((events & (MP_IO_OUT | MP_IO_ERR | MP_IO_HUP)) == 0) {
            return -EAGAIN;
        }
        int err = begin(uc, c);
        if (err < 0) {
            return err;
        }
    } else if ((events & MP_IO_OUT) != 0 && uc->ch.q.n > 0) {
        (void)mp_chan_on_writable(uc->cw, &uc->ch);
    }
    return mp_chan_tls(&uc->ch) != NULL ? handshake(uc) : 0;
}

bool mp_upconn_is_for(const struct mp_upconn *uc, const struct mp_upreq *u)
{
    return uc->proxy_serial == 0 || (u != NULL && uc->proxy_serial == u->serial);
}
