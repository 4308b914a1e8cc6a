/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Listeners: sockets (main thread) and what each worker has of them. A listener is the same one
 * over generations when its name and addresses are; then its sockets and connections stay.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/diag.h"
#include "core/snapshot.h"
#include "core/worker.h"
#include "io/loop.h"

#define MP_LISTENER_ADDRS_MAX 16

enum mp_pause { MP_PAUSE_FDS = 1, MP_PAUSE_OVERLOAD = 2 };

struct mp_accept_sock {
    struct mp_io io; /* first */
    struct mp_listener_local *lst;
    uint64_t last_turn; /* of the loop in which connections were last accepted */
    uint32_t streak;    /* turns in a row that found the queue not empty */
};

struct mp_listener_local {
    struct mp_list link; /* cw->listeners */
    struct mp_core_worker *cw;
    struct mp_listener_conf *conf;     /* entered */
    struct mp_http *http;              /* entered; current */
    const struct mp_chain_conf *chain; /* in conf */
    struct mp_stat_scope *http_scope;
    struct mp_list old_scopes; /* of former stat prefixes, while connections count in them */
    const struct mp_stat_block *stats, *http_stats;
    struct mp_accept_sock socks[MP_LISTENER_ADDRS_MAX];
    uint32_t n_socks;
    struct mp_list conns;
    uint32_t n_conns;
    /* A listener with several filter chains has a local for each; those but the first have no
     * sockets, and are not in a list of the worker until they are removed. */
    struct mp_listener_local **chains; /* of the first: itself and the others */
    uint32_t n_chains;                 /* 1 for the others */
    bool removed;                      /* freed with its last connection */
    uint8_t paused;                    /* bits of enum mp_pause: accepting is paused */
    bool freeing;
    uint64_t generation; /* of the last snapshot that had it */
    struct mp_timer resume_timer;
    struct mp_timer cut_timer; /* when what is left of a removed listener's connections is cut */
    struct mp_task free_task;
    struct mp_str name;
};

/* Worker thread. fds: one per address, owned by the local afterwards. */
struct mp_listener_local *mp_listener_local_new(struct mp_core_worker *cw,
                                                struct mp_listener_conf *conf, const int *fds,
                                                uint32_t n_fds);
/* The listener has a new configuration with the same addresses. */
void mp_listener_local_update(struct mp_listener_local *l, struct mp_listener_conf *conf);
/* Stops accepting; connections drain, and are cut after the manager's drain_timeout. */
void mp_listener_local_remove(struct mp_listener_local *l);
/* The overload manager stops accepting, or lets it go on. */
void mp_listener_local_stop(struct mp_listener_local *l, bool stop);
void mp_listener_local_conn_gone(struct mp_listener_local *l);
struct mp_conn;
/* The connection belongs to another filter chain of the same listener. */
void mp_listener_local_move(struct mp_conn *c, struct mp_listener_local *to);
/* Stops accepting and lets connections end after their current response; the listener stays. */
void mp_listener_local_drain(struct mp_listener_local *l);
/* Cuts every connection; details: what the access log says of their streams. */
void mp_listener_local_close_all(struct mp_listener_local *l, const char *details);
/* At the end of this turn; no connection may be left. */
void mp_listener_local_free(struct mp_listener_local *l);
