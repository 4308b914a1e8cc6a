/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* One simulated world: clients, upstreams, and what stands between them (nothing, or the proxy).
 *
 * A *stream* is one request and its response, numbered over the whole run. What both sides do with
 * stream i (plan) is a function of the world's seed and i: nothing is negotiated, so a peer that
 * gets another stream's bytes cannot take them for its own. Each side writes down how far it came;
 * the other side checks that it never sees more than was sent.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "base/list.h"
#include "base/rand.h"
#include "io/addr.h"
#include "io/loop.h"
#include "io/sim.h"

#define SIM_CLUSTERS       3
#define SIM_INSTANCES      3 /* of each cluster */
#define SIM_UPSTREAM_PORT  8080
#define SIM_TUNNEL_CLUSTER SIM_CLUSTERS /* the one behind /t/ */

enum sim_method { SIM_GET, SIM_HEAD, SIM_POST, SIM_PUT };
enum sim_framing { SIM_F_NONE, SIM_F_LENGTH, SIM_F_CHUNKED, SIM_F_CLOSE };
enum sim_fault {
    SIM_FAULT_NONE,
    SIM_FAULT_RST,     /* reset after fault_at response bytes */
    SIM_FAULT_FIN,     /* orderly close after fault_at response bytes: the message is cut */
    SIM_FAULT_NO_READ, /* answers at once and closes with request bytes unread */
};

struct sim_plan {
    uint64_t id;
    uint32_t cluster;
    enum sim_method method;
    enum sim_framing req_framing, resp_framing;
    uint32_t req_len, resp_len; /* body */
    uint32_t req_pad, resp_pad; /* length of a header field */
    bool req_trailer, resp_trailer;
    bool expect;         /* Expect: 100-continue */
    bool early;          /* the response starts when the request's head is there */
    bool announce_close; /* Connection: close in the response */
    uint32_t hints;      /* 103 responses before the final one */
    int status;
    uint32_t head_delay_us;
    uint32_t pause_at, pause_us; /* in the response; 0: none */
    uint32_t stall_at, stall_us; /* the upstream stops reading the request body; 0: none */
    enum sim_fault fault;
    uint32_t fault_at;
};

/* How the streams of a run turned out, from the client's side. */
enum sim_outcome {
    SIM_PENDING,
    SIM_OK,        /* the planned response, whole and right */
    SIM_LOCAL,     /* an answer that does not come from the upstream */
    SIM_BROKEN,    /* the connection ended before the response did */
    SIM_ABANDONED, /* the client gave up by its own plan */
    SIM_OUTCOMES
};

struct sim_stream {
    uint8_t outcome;
    uint8_t attempts; /* requests started */
    uint8_t seen;     /* heads that reached an upstream */
    bool req_sent;    /* all of it, once at least */
    bool resp_sent;   /* all of it */
    bool tolerated;   /* touched by a planned fault */
};

struct sim_world_opts {
    uint64_t seed;
    uint32_t n_conns;     /* client connections planned */
    uint32_t n_tunnels;   /* beside them; only through a front */
    uint32_t streams_max; /* per connection, 1 .. */
    uint32_t body_max;    /* cap of the larger bodies */
    uint32_t spread_ms;   /* over which the connections start */
    bool peer_faults;     /* upstreams and clients misbehave by plan */
    bool net_faults;      /* resets, refused connects */
    bool calm;            /* no short calls, no reordering: for very large runs */
    bool idle_close;      /* upstreams close idle connections */
    bool front;           /* clients connect to front_addr, which forwards by path /<cluster>/ */
    struct mp_addr front_addr;
    uint32_t retries; /* of streams of cluster 1 that end before their head */
};

struct sim_world {
    struct sim_world_opts opts;
    struct mp_rand rand;
    struct mp_loop *client_loop, *upstream_loop;
    struct sim_stream *streams;
    uint32_t n_streams, n_resolved;
    uint32_t outcomes[SIM_OUTCOMES];
    uint32_t clients_left, clients_open;
    struct mp_list clients; /* struct sim_client.link */
    struct sim_upstream *upstreams[SIM_CLUSTERS * SIM_INSTANCES];
    struct sim_tunnels *tunnels; /* NULL: none */
    uint64_t body_bytes;         /* verified, both directions */
    uint32_t failures;
    char first_failure[256];
};

/* Peers, loops and streams come into being; the simulation has begun. */
void sim_world_init(struct sim_world *w, const struct sim_world_opts *opts);
/* Until every stream has an outcome; a stream that has none after max_virtual_ms is a failure. */
void sim_world_run(struct sim_world *w, uint64_t max_virtual_ms);
void sim_world_fini(struct sim_world *w);
/* The faults of the simulation that go with the options. */
void sim_world_faults(const struct sim_world_opts *opts, struct mp_sim_opts *ret);
void sim_plan_make(const struct sim_world *w, uint64_t id, struct sim_plan *ret);
void sim_world_fail(struct sim_world *w, uint64_t stream, const char *fmt, ...) MP_PRINTF(3, 4);
void sim_world_resolve(struct sim_world *w, uint64_t stream, enum sim_outcome outcome);
/* How often upstreams may have seen the stream's request by now. */
uint32_t sim_seen_max(const struct sim_world *w, const struct sim_plan *p);
struct mp_addr sim_upstream_addr(uint32_t cluster, uint32_t instance);

/* sim_client.c: a connection that carries streams [first, first + n). */
struct sim_client;
struct sim_client *sim_client_start(struct sim_world *w, uint64_t first, uint32_t n);
void sim_client_drop_all(struct sim_world *w);
void sim_client_describe_all(const struct sim_world *w);

/* sim_upstream.c */
struct sim_upstream;
struct sim_upstream *sim_upstream_new(struct sim_world *w, uint32_t cluster, uint32_t instance);
struct sim_upstream *sim_upstream_free(struct sim_upstream *u);

/* sim_tunnel.c: n tunnels behind upgrades, from now on; once the front is there. */
struct sim_tunnels;
struct sim_tunnels *sim_tunnels_new(struct sim_world *w, uint32_t n);
uint32_t sim_tunnels_left(const struct sim_tunnels *ts);
struct sim_tunnels *sim_tunnels_free(struct sim_tunnels *ts);
