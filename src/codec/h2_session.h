/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* One HTTP/2 connection, client's or server's side: bytes in -> events out, calls -> bytes out. No
 * descriptor, no clock. Framing and HPACK are nghttp2's; what a message may look like, how much of
 * it, and how often a peer may annoy us is decided here (h2_head.c, h2_flood.c).
 *
 * Input: mp_h2_recv parses a piece, collects the heads that are complete in it, and hands them out
 * after the whole piece was parsed: a request that is reset by the same piece has never existed for
 * anybody else. Body bytes of streams that are known already are handed on at once, without a copy,
 * while the owner wants them; otherwise they wait in the stream. Windows follow consumption: bytes
 * count as consumed when on_data has taken them.
 *
 * Output: calls queue; mp_h2_flush turns what may be sent into bytes (ops->write) while
 * ops->writable allows it. The owner flushes once a turn. Body bytes wait in the stream (st->out)
 * until both windows and the socket have room: the owner stops producing above its limit and goes
 * on when on_drained tells.
 *
 * Events may call anything here but mp_h2_recv, mp_h2_flush and mp_h2_free.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/slab.h"
#include "codec/hdr.h"

struct nghttp2_session;
struct mp_h2_fields;
struct mp_h2_session;
struct mp_h2_stream;

#define MP_H2_PREFACE    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define MP_H2_PREFACE_N  24
#define MP_H2_REMEMBERED 512

/* Error codes of RFC 9113 7. */
enum mp_h2_code {
    MP_H2_NO_ERROR,
    MP_H2_PROTOCOL_ERROR,
    MP_H2_INTERNAL_ERROR,
    MP_H2_FLOW_CONTROL_ERROR,
    MP_H2_SETTINGS_TIMEOUT,
    MP_H2_STREAM_CLOSED,
    MP_H2_FRAME_SIZE_ERROR,
    MP_H2_REFUSED_STREAM,
    MP_H2_CANCEL,
    MP_H2_COMPRESSION_ERROR,
    MP_H2_CONNECT_ERROR,
    MP_H2_ENHANCE_YOUR_CALM,
    MP_H2_INADEQUATE_SECURITY,
    MP_H2_HTTP_1_1_REQUIRED
};

/* What a peer may do to annoy; each has its own budget. */
enum mp_h2_flood {
#define MP_H2_FLOOD(token, name, burst, per_second, help) MP_H2_FLOOD_##token,
#include "codec/h2_flood.def"
#undef MP_H2_FLOOD
    MP_H2_FLOODS
};

struct mp_h2_conf {
    bool server;
    bool allow_connect;              /* server: RFC 8441; client: use it when the peer allows */
    uint32_t max_concurrent_streams; /* that the peer may open */
    uint32_t stream_window, conn_window;
    uint32_t table_size;     /* HPACK, both directions */
    uint32_t head_bytes_max; /* names and values and 4 a field */
    uint16_t fields_max;     /* without crumbs of cookies */
    uint16_t crumbs_max;
    uint32_t cookie_bytes_max;
    /* Envoy's names; see its Http2ProtocolOptions */
    uint32_t outbound_control_frames_max; /* waiting to be sent */
    uint32_t empty_frames_max;            /* in a row */
    uint32_t priority_frames_per_stream;
    uint32_t window_updates_per_data_frame;
};
/* DESIGN's defaults. */
void mp_h2_conf_defaults(struct mp_h2_conf *c, bool server);

/* A head. Requests have the pseudo-header fields as members; hdrs holds the others ("host" too when
 * it came). For sending, hdrs is walked and hop-by-hop, framing and "host" entries are left out. */
struct mp_h2_head {
    enum mp_method method;
    struct mp_str method_name, path, authority, scheme;
    struct mp_str protocol; /* :protocol (RFC 8441); p NULL: none */
    unsigned status;
    bool has_content_length;
    uint64_t content_length;
    struct mp_hdrs hdrs;
};

/* Why a head was refused. MALFORMED resets the stream by itself. */
enum mp_h2_fault { MP_H2_HEAD_OK, MP_H2_HEAD_MALFORMED, MP_H2_HEAD_TOO_LARGE };

/* A stream, from its first frame until both sides are done with it; lives in the session's slab. */
struct mp_h2_stream {
    struct mp_h2_session *h;
    void *user; /* the owner's; NULL: the owner has let go, what comes is dropped */
    int32_t id;
    uint8_t fault;     /* enum mp_h2_fault */
    bool head_done;    /* final head complete */
    bool head_told;    /* and handed out */
    bool has_trailers; /* complete, to be told behind in */
    bool delivering;
    bool recv_end; /* END_STREAM was received */
    bool end_told;
    bool sent_head, sent_end; /* given to nghttp2; written */
    bool out_end;             /* everything is in out */
    bool deferred;            /* nghttp2 waits for more of out */
    bool reset;               /* we have reset it */
    bool gone;                /* client: complete for nghttp2, not yet for the owner */
    bool is_connect, head_request, tunnel;
    bool has_length;
    uint64_t left;       /* of content-length */
    uint32_t unconsumed; /* received and not yet counted as consumed */
    struct mp_buf in, out;
    struct mp_h2_fields *out_trailers; /* behind out */
    struct mp_h2_head *head;           /* under construction or waiting to be told */
    struct mp_hdrs trailers;           /* the same */
    const char *fault_text;
    struct mp_list link, ready_link, drained_link;
    uint64_t moved_ms; /* when bytes of out last left; the owner's clock */
};

struct mp_h2_ops {
    /* Server: a request begins; sets st->user. False: refused (REFUSED_STREAM). */
    bool (*on_begin)(struct mp_h2_session *h, struct mp_h2_stream *st);
    /* For a head or trailers; user is not NULL. NULL: the stream is reset. */
    struct mp_arena *(*arena)(struct mp_h2_session *h, struct mp_h2_stream *st);
    /* A final head, or (status 1xx) one before it. fault TOO_LARGE: the head is not complete, the
     * server answers 431; MALFORMED: the stream has been reset, only for the record. */
    void (*on_head)(struct mp_h2_session *h, struct mp_h2_stream *st, struct mp_h2_head *head,
                    enum mp_h2_fault fault, bool end);
    void (*on_data)(struct mp_h2_session *h, struct mp_h2_stream *st, struct mp_str data, bool end);
    void (*on_trailers)(struct mp_h2_session *h, struct mp_h2_stream *st, struct mp_hdrs *t);
    /* May on_data be called? Otherwise mp_h2_read_on later. */
    bool (*wants_data)(struct mp_h2_session *h, struct mp_h2_stream *st);
    /* st->out went below low_mark (mp_h2_session) after it had been above, or became empty. */
    void (*on_drained)(struct mp_h2_session *h, struct mp_h2_stream *st);
    /* The stream is gone with this code; st is freed. Called with user NULL too, and not for a
     * client's stream whose end has been told. unprocessed: the
     * peer says that it has done nothing for it (GOAWAY, REFUSED_STREAM). */
    void (*on_close)(struct mp_h2_session *h, struct mp_h2_stream *st, uint32_t code,
                     bool unprocessed);
    /* The peer's settings have come or changed (max_concurrent_streams, connect). */
    void (*on_settings)(struct mp_h2_session *h);
    void (*on_goaway)(struct mp_h2_session *h, uint32_t code);
    void (*on_ping_ack)(struct mp_h2_session *h, const uint8_t payload[8]);
    /* A budget is used up: GOAWAY is on its way. */
    void (*on_flood)(struct mp_h2_session *h, enum mp_h2_flood why);
    /* Something is to be flushed. */
    void (*want_flush)(struct mp_h2_session *h);
    /* Output. pre is small. */
    bool (*writable)(struct mp_h2_session *h);
    void (*write)(struct mp_h2_session *h, struct mp_str pre, struct mp_str data);
};

struct mp_h2_session {
    struct nghttp2_session *ng;
    const struct mp_h2_ops *ops;
    const struct mp_h2_conf *conf; /* borrowed */
    void *owner;
    struct mp_blocks *blocks;
    struct mp_slab *slab; /* cells of struct mp_h2_stream */
    struct mp_list streams, ready, drained;
    uint32_t n_streams;
    uint32_t low_mark;
    bool server;
    bool in_recv, in_flush;
    bool got_settings;
    bool stopped;  /* the owner has closed: no event any more */
    bool ended;    /* GOAWAY for an error is out or on its way: input is dropped */
    bool draining; /* we let no new stream begin, or the peer does not */
    bool flooded;
    uint64_t now_ms;
    /* the head under way */
    struct {
        struct mp_h2_stream *st;
        struct mp_hdrs *hdrs;
        uint32_t bytes, cookie_bytes;
        uint16_t fields, crumbs;
        uint8_t seen; /* pseudo-header fields */
        bool regular, trailers, host, informational;
    } dec;
    uint32_t frame_left; /* of a DATA frame without padding */
    uint32_t frame_flags;
    /* what the peer did, h2_flood.c */
    uint64_t refilled_ms;
    uint32_t tokens[MP_H2_FLOODS]; /* in 1/1000 */
    uint32_t empty_run;
    uint64_t streams_seen, data_sent, window_updates, priorities;
    /* of the last MP_H2_REMEMBERED streams that the peer could open: those it did, those we reset
     */
    uint32_t last_id;
    uint64_t opened[MP_H2_REMEMBERED / 64], cut[MP_H2_REMEMBERED / 64];
    uint32_t resets_out; /* RST_STREAM frames waiting to be sent */
};

/* The session's memory is the owner's; nothing is sent before the first flush (which writes the
 * client's preface and SETTINGS). False: out of memory. */
MP_MUST_USE bool mp_h2_init(struct mp_h2_session *h, const struct mp_h2_conf *conf,
                            const struct mp_h2_ops *ops, void *owner, struct mp_blocks *blocks,
                            struct mp_slab *slab, uint64_t now_ms);
/* Streams that are left are closed (on_close) unless stopped. Never from an event. */
void mp_h2_fini(struct mp_h2_session *h);
/* No event any more: the owner is about to go, mp_h2_fini follows at the end of the turn. */
void mp_h2_stop(struct mp_h2_session *h);

void mp_h2_recv(struct mp_h2_session *h, uint64_t now_ms, const char *p, size_t n);
void mp_h2_flush(struct mp_h2_session *h, uint64_t now_ms);
/* Neither side has anything to say any more: flush, then close. */
bool mp_h2_over(const struct mp_h2_session *h);

/* ---- streams ---- */

/* end: no body follows. Everything is copied. */
void mp_h2_send_response(struct mp_h2_stream *st, const struct mp_h2_head *head, bool end);
void mp_h2_send_1xx(struct mp_h2_stream *st, const struct mp_h2_head *head);
/* Client. NULL: out of stream ids or memory. */
struct mp_h2_stream *mp_h2_send_request(struct mp_h2_session *h, const struct mp_h2_head *head,
                                        bool end, void *user);
/* False: the worker's memory. */
MP_MUST_USE bool mp_h2_send_data(struct mp_h2_stream *st, struct mp_str data, bool end);
/* Copied. False: the worker's memory. */
MP_MUST_USE bool mp_h2_send_trailers(struct mp_h2_stream *st, const struct mp_hdrs *t);
void mp_h2_reset(struct mp_h2_stream *st, enum mp_h2_code code);
/* wants_data has become true. */
void mp_h2_read_on(struct mp_h2_stream *st);
/* The owner's object goes (for a client that is also how it takes note of the end): st->user
 * becomes NULL, what comes is dropped; what was given is still sent. */
void mp_h2_detach(struct mp_h2_stream *st);

/* ---- the connection ---- */

/* First step of a drain: "no new streams soon". */
void mp_h2_shutdown_notice(struct mp_h2_session *h);
/* GOAWAY with the last stream that was processed. */
void mp_h2_goaway(struct mp_h2_session *h, enum mp_h2_code code);
void mp_h2_ping(struct mp_h2_session *h, const uint8_t payload[8]);
/* Client: how many streams the peer lets us have open; 0 before its SETTINGS is a guess of 100. */
uint32_t mp_h2_peer_streams_max(const struct mp_h2_session *h);
bool mp_h2_peer_allows_connect(const struct mp_h2_session *h);
/* Client: may another stream be opened? */
bool mp_h2_may_open(const struct mp_h2_session *h);

const char *mp_h2_flood_name(enum mp_h2_flood f);
const char *mp_h2_code_name(uint32_t code);
