/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A stream: one request and its response, on one worker, whatever the protocols on both sides.
 *
 *   downstream codec (h1_server.c) --request events--> mp_stream --> chain (chain.c) --> terminal
 * filter (router.c) downstream codec <--write calls-- mp_stream <-- chain, backwards <-- terminal
 * filter
 *
 * The struct is the first part of its own arena's first block (1 KiB cell of the worker's pool) and
 * goes with it. Life: created by the codec at the request's head; ended exactly once by
 * mp_stream_end (both directions complete, or reset); its memory is given back at the end of the
 * loop's turn.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/timerwheel.h"
#include "core/filter.h"
#include "io/addr.h"
#include "io/loop.h"

struct mp_conn;
struct mp_core_worker;
struct mp_h2_stream;
struct mp_http;
struct mp_route;
struct mp_route_target;
struct mp_stream_codec;

enum mp_response_flag {
#define MP_FLAG(token, name, text) MP_FLAG_BIT_##token,
#include "core/response_flag.def"
#undef MP_FLAG
    MP_FLAG_BITS
};
enum {
#define MP_FLAG(token, name, text) MP_FLAG_##token = 1u << MP_FLAG_BIT_##token,
#include "core/response_flag.def"
#undef MP_FLAG
};

#define MP_STREAM_MAGIC 0x6d705374u /* "mpSt" */

struct mp_stream {
    uint32_t magic;
    uint32_t response_flags;
    struct mp_conn *conn;
    const struct mp_stream_codec *codec;
    struct mp_core_worker *cw;
    struct mp_http *http;                 /* pinned */
    const struct mp_stat_block *stats;    /* of http's scope */
    const struct mp_route *route;         /* in http's route table; NULL: none (yet) */
    const struct mp_route_target *target; /* of route, once the router has chosen; NULL: none */
    bool route_known;

    /* progress */
    bool req_end;        /* the codec has delivered the whole request */
    bool req_end_passed; /* the terminal filter has it all */
    bool resp_started;   /* final head given to the codec */
    bool resp_end;       /* everything given to the codec */
    bool resp_head_seen; /* final head has entered the chain */
    bool resp_end_seen;
    bool local_reply;
    bool upgraded;      /* the response opens a tunnel (core/upgrade.h) */
    bool tunnel_open;   /* and it has been sent */
    uint8_t grpc_reply; /* status + 1 of a local reply to a gRPC request; 0: by its HTTP status */
    bool ended;         /* mp_stream_end has run; callbacks ignore the stream */
    bool in_request_chain, in_response_chain;
    bool reset;
    bool req_unwanted; /* the terminal filter's output is full */
    bool codec_waits;  /* the codec stopped reading and waits for read_on */
    bool req_pause_in_data, resp_pause_in_data;

    /* chain */
    struct mp_filter **filters;
    uint16_t n_filters;
    uint16_t req_at, resp_at; /* filter that paused the direction */
    bool req_paused, resp_paused;
    bool req_headers_passed,
        resp_headers_passed;           /* false: the head itself waits at the paused filter */
    struct mp_buf req_held, resp_held; /* data kept by a pause */
    bool req_trailers_held, resp_trailers_held;
    bool req_more, resp_more; /* held data is being released, and this is not the last of it */
    uint32_t filter_marks;    /* MP_FILTER_MARK_* */

    struct mp_req_head req;
    struct mp_resp_head *resp; /* current final response head, in the arena */
    struct mp_hdrs req_trailers, resp_trailers;
    bool has_req_trailers, has_resp_trailers;

    /* facts, for the log and filters */
    uint64_t id;
    uint64_t start_ns; /* first byte of the request seen */
    uint64_t start_wall_ns;
    uint64_t req_end_ns, upstream_first_ns, resp_first_ns, end_ns; /* 0: not yet */
    uint64_t bytes_in, bytes_out;                                  /* body bytes */
    const char *details;         /* RESPONSE_CODE_DETAILS; static; NULL: "-" */
    struct mp_addr client;       /* after trusted hops */
    char *client_ip;             /* text, made on demand */
    struct mp_str upstream_host; /* text "ip:port" (persistent until the stream's end) */
    struct mp_str upstream_cluster;
    uint8_t protocol_minor; /* of HTTP/1.x; 20: HTTP/2 */

    /* the codec's */
    struct mp_h2_stream *h2; /* NULL: gone, or HTTP/1 */
    uint8_t resp_framing;    /* enum mp_body_kind of the response as written */
    uint64_t resp_left;

    /* deadlines in loop ms, 0: none; one timer serves all */
    uint64_t request_deadline, idle_deadline, route_deadline, filter_deadline, duration_deadline;
    uint64_t idle_timeout_ms;
    struct mp_timer timer;

    struct mp_list link; /* worker's list of streams */
    struct mp_arena arena;
    size_t cell_size;
};

/* What a downstream protocol implements. Calls may end the stream (check s->ended afterwards). */
struct mp_stream_codec {
    const char *name;
    void (*write_1xx)(struct mp_stream *s, struct mp_resp_head *h);
    void (*write_headers)(struct mp_stream *s, struct mp_resp_head *h, bool end);
    /* In a tunnel, end is a half close: the stream goes on. */
    void (*write_data)(struct mp_stream *s, struct mp_str data, bool end);
    void (*write_trailers)(struct mp_stream *s, struct mp_hdrs *t);
    /* Response complete or stream given up; the codec must forget the stream. */
    void (*closed)(struct mp_stream *s, bool reset);
    /* Bytes written and not yet taken by the kernel. */
    size_t (*queued)(const struct mp_stream *s);
    /* Backpressure has gone: read on (request body). */
    void (*read_on)(struct mp_stream *s);
};

/* ---- codec -> stream ---- */
/* A stream whose req head is filled in by the codec afterwards. NULL: the worker's memory limit. */
struct mp_stream *mp_stream_new(struct mp_core_worker *cw, struct mp_conn *conn,
                                const struct mp_stream_codec *codec, struct mp_http *http);
/* The head is complete: connection-manager work (x-forwarded-*, request id, path policy), then the
 * chain. */
void mp_stream_on_headers(struct mp_stream *s, bool end);
void mp_stream_on_data(struct mp_stream *s, struct mp_str data, bool end);
void mp_stream_on_trailers(struct mp_stream *s);
/* The client's side is broken (reset, protocol error inside the body). */
void mp_stream_on_reset(struct mp_stream *s, uint32_t flags, const char *details);
/* The codec's output has drained below the low mark. */
void mp_stream_on_writable(struct mp_stream *s);
/* May the codec read more of this request's body? Otherwise read_on is called later. */
bool mp_stream_wants_request(const struct mp_stream *s);

/* ---- chain -> stream ---- */
void mp_stream_local_reply(struct mp_stream *s, unsigned status,
                           const struct mp_reply_header *headers, struct mp_str body,
                           uint32_t flags, const char *details);
/* Gives up: reset towards the client (HTTP/1: connection closed). */
void mp_stream_abort(struct mp_stream *s, uint32_t flags, const char *details);
/* Both directions of a tunnel have ended, and the upstream has all of it. */
void mp_stream_tunnel_end(struct mp_stream *s);
const struct mp_route *mp_stream_route(struct mp_stream *s);
void mp_stream_touch(struct mp_stream *s); /* activity: moves the idle deadline */
void mp_stream_arm(struct mp_stream *s);   /* after changing a deadline */
/* Text of DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT. */
struct mp_str mp_stream_client_ip(struct mp_stream *s);
/* The bit of "UF"; 0: there is no such flag. */
uint32_t mp_response_flag_of(struct mp_str name);
/* "UF,URX" text of the flags; "-" when none. */
size_t mp_response_flags_format(uint32_t flags, char *out, size_t cap);
