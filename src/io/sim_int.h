/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Private to the simulation: the world (clock, event queue, trace), its loops and its sockets.
 *
 * sim_core.c  clock, event queue, scheduler, trace        loop_sim.c  the loops (io/loop.h)
 * sim_net.c   connections, segments in flight, edges      sock_sim.c  the calls (io/sock.h)
 * sim_connect.c  listeners, handshake, backlog
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/assert.h"
#include "base/list.h"
#include "base/rand.h"
#include "base/timerwheel.h"
#include "io/addr.h"
#include "io/loop.h"
#include "io/sim.h"
#include "io/sock.h"

#define SIM_FD_BASE 1000000
#define SIM_NEVER   UINT64_MAX
#define SIM_HOOKS   8
#define SIM_LOOPS   64
#define SIM_US      1000ull
#define SIM_MS      1000000ull
#define SIM_S       1000000000ull
#define SIM_WALL_NS (1700000000ull * SIM_S) /* wall clock at virtual time 0 */

enum sim_ev_kind {
    SIM_EV_CALL,    /* mp_sim_at */
    SIM_EV_WAKE,    /* a wake-up reaches its loop */
    SIM_EV_PIPE,    /* the first segment in flight of a direction arrives */
    SIM_EV_SPACE,   /* a sender learns that there is room again */
    SIM_EV_SYN,     /* a connect reaches the other machine */
    SIM_EV_SYNACK,  /* ... and its answer comes back */
    SIM_EV_REFUSED, /* ... or an error does */
    SIM_EV_UNDEFER, /* defer_accept gives up waiting for bytes */
    SIM_EV_DNS,     /* a name has been resolved */
};

struct sim_conn;
struct sim_ev {
    uint64_t at_ns, tie;
    uint64_t num;          /* loop id, query id, errno: by kind */
    struct sim_conn *conn; /* a reference */
    void (*fn)(void *arg);
    void *arg;
    uint8_t kind, side;
};

/* Bytes and marks of one direction. [head, avail) has arrived and is unread; the rest of len is in
 * flight. */
enum { SIM_SEG_FIN = 1, SIM_SEG_RST = 2, SIM_SEG_EST = 4 };
struct sim_seg {
    uint64_t at_ns;
    uint32_t n;
    uint32_t flags;
};
struct sim_pipe {
    char *buf;
    size_t cap, head, len, avail;
    struct sim_seg *segs;
    uint32_t seg_cap, seg_head, seg_n;
    uint32_t ev_n; /* SIM_EV_PIPE events under way */
    bool space_ev; /* a SIM_EV_SPACE is under way */
    bool closed;   /* FIN or RST has been queued */
    bool fin_arrived;
};

struct sim_sock;
/* A connection lives as long as one end is open or an event refers to it. pipe[i] is written by
 * end[i]. */
struct sim_conn {
    uint32_t refs, id;
    struct sim_sock *end[2]; /* 0: who connected; NULL: closed, or not there yet */
    struct sim_pipe pipe[2];
    struct mp_addr addr[2]; /* of each end, as the peer sees it */
    int listener_fd;
    uint32_t syn_tries;
    bool established; /* the handshake is over, for good or ill */
};

enum sim_kind { SIM_LISTENER, SIM_STREAM };
enum sim_state { SIM_CONNECTING, SIM_OPEN, SIM_DEAD };
#define SIM_SOCK_MAGIC 0x50c7a11eu

struct sim_sock {
    uint32_t magic;
    int fd; /* -1: waiting to be accepted */
    enum sim_kind kind;

    /* Registration. */
    struct mp_loop *loop; /* NULL: not registered */
    struct mp_io *io;
    struct mp_list ready; /* in loop->ready when pending */
    unsigned pending;     /* edges not yet fetched */
    uint32_t reg_index;   /* in loop->regs */
    uint32_t batch_index; /* in loop->batch + 1; 0: not fetched */
    bool paused;

    /* Stream. */
    struct sim_conn *conn;
    uint8_t side;
    enum sim_state state;
    int err; /* what the next call reports, positive; 0: nothing */
    bool shut_wr, nospace, reset_on_close;

    /* Listener. */
    struct mp_addr addr;
    char *path; /* owned copy of a Unix path */
    struct mp_listen_opts opts;
    struct sim_sock **queue;
    uint32_t queue_cap, queue_head, queue_n;
    uint32_t half_open;
    struct mp_list listeners; /* in sim.listeners */
    /* Streams withheld until their first bytes (defer_accept): head in the listener, link in the
     * stream. */
    struct mp_list deferred;
};

struct sim_batch {
    struct sim_sock *sock; /* NULL: closed since, or the wake-up */
    unsigned events;
    bool wake;
};

struct mp_loop {
    uint32_t id;
    struct mp_wheel wheel;
    struct mp_list ready, tasks;
    struct sim_sock **regs;
    uint32_t regs_n, regs_cap;
    struct sim_batch *batch;
    uint32_t batch_n, batch_cap;
    uint64_t busy_until_ns;
    bool stopped, wake_sent, wake_arrived;
    void (*on_wake)(void *arg);
    void *on_wake_arg;
    struct {
        void (*fn)(void *arg);
        void *arg;
    } hooks[SIM_HOOKS];
    uint32_t hooks_n;
    struct mp_loop_stats stats;
    uint64_t date_s;
    char date[32];
};

struct sim {
    bool active, trace_print;
    struct mp_sim_opts opts;
    struct mp_rand rand; /* the world's choices */
    struct mp_rand user; /* the harness */
    struct mp_rand ent;  /* mp_entropy */
    uint64_t now_ns, seq, hash, steps;
    struct sim_ev *heap;
    size_t heap_n, heap_cap;
    struct mp_loop *loops[SIM_LOOPS]; /* by id; NULL when freed */
    uint32_t loops_made, loops_open;
    struct mp_loop *turn; /* whose turn it is; NULL: the harness */
    struct sim_sock **socks;
    uint32_t socks_made, socks_cap, socks_open;
    struct mp_list listeners;
    uint32_t conns_made, conns_open;
    uint16_t next_port;
};
extern struct sim sim;

/* sim_core.c */
bool sim_chance(uint32_t p_65536);
uint64_t sim_between(uint64_t lo, uint64_t hi);
uint64_t sim_latency_ns(void);
void sim_push(struct sim_ev ev);
/* Runs the next thing; false when there is none before limit_ns. */
bool sim_step(uint64_t limit_ns);

/* loop_sim.c */
/* When the loop wants its turn; SIM_NEVER: not before something happens. */
uint64_t sim_loop_due(const struct mp_loop *l);
void sim_loop_turn(struct mp_loop *l);
void sim_loop_woken(uint64_t loop_id);
/* Two loops are two threads: during a turn only the objects of that loop may be touched. */
void sim_check_owner(const struct mp_loop *l);

/* sim_net.c */
unsigned sim_sock_mask(const struct sim_sock *s);
void sim_edge(struct sim_sock *s, unsigned events);
struct sim_sock *sim_sock_new(enum sim_kind kind);
void sim_sock_give_fd(struct sim_sock *s);
struct sim_sock *sim_sock_get(int fd);
void sim_sock_free(struct sim_sock *s);
struct sim_conn *sim_conn_new(void);
void sim_conn_unref(struct sim_conn *c);
void sim_conn_ev(struct sim_conn *c, enum sim_ev_kind kind, uint8_t side, uint64_t at_ns,
                 uint64_t num);
void sim_conn_on_ev(const struct sim_ev *ev);
void sim_conn_reset_by(struct sim_conn *c, uint8_t side);
void sim_conn_reset_both(struct sim_conn *c);
void sim_pipe_write(struct sim_conn *c, uint8_t side, const void *p, size_t n);
size_t sim_pipe_read(struct sim_conn *c, uint8_t side, void *p, size_t n);
void sim_pipe_mark(struct sim_conn *c, uint8_t side, uint32_t flags);
void sim_pipe_hold_rest(struct sim_conn *c, uint8_t side);

/* sim_connect.c */
struct sim_sock *sim_listener_for(const struct mp_addr *to);
/* Frees the place in the backlog; the listener, or NULL when it has closed since. */
struct sim_sock *sim_handshake_over(struct sim_conn *c);
void sim_handshake_done(struct sim_conn *c);
void sim_conn_accepting(struct sim_conn *c, struct sim_sock *listener);
void sim_undefer(struct sim_conn *c);
void sim_syn_arrives(struct sim_conn *c);
void sim_synack_arrives(struct sim_conn *c);
void sim_refusal_arrives(struct sim_conn *c, int err);

/* dns_sim.c */
void sim_dns_on_ev(uint64_t query_id);
void sim_dns_reset(void);
