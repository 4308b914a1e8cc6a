/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The plugin API: what a filter sees of a stream. This header, base, codec and conf are all that a
 * filter includes.
 *
 * A filter is one const struct mp_filter_type. For every stream that passes a chain, each filter
 * has an instance: a struct mp_filter followed by state_size zeroed bytes, in the stream's arena
 * (nothing to allocate, nothing to free). Requests pass the chain first to last, responses last to
 * first. The last filter is terminal: it takes the request (router, admin) and never passes it on.
 *
 * Verdicts:
 *   CONTINUE  go on with the next filter.
 *   PAUSE     stop here. Later data of this direction is kept by the chain (with backpressure, up
 * to the buffer limit: then 413 for requests, 503 for responses) until mp_filter_resume_*. In a
 * data callback the data at hand is kept too, and the following filters get all of it at once after
 * the resume. A response head that is paused has not been sent. REPLY     the filter has called
 * mp_filter_reply: the request goes no further. ABORT     reset the stream (HTTP/1: the connection
 * is closed). TAKEN     (data and trailers) the filter has passed on itself what is to go on.
 *
 * Local replies pass the response callbacks of all filters of the chain, also of those whose
 * request callback was never called (their state is all zero then): so metrics and headers see
 * every answer.
 *
 * Threads: everything of one stream happens on its worker. No callback may block.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/stat.h"
#include "base/str.h"
#include "codec/hdr.h"
#include "conf/registry.h"

struct mp_conf_header_match;
struct mp_filter_host;
struct mp_stream;
struct mp_route;

enum mp_verdict {
    MP_VERDICT_CONTINUE,
    MP_VERDICT_PAUSE,
    MP_VERDICT_REPLY,
    MP_VERDICT_ABORT,
    MP_VERDICT_TAKEN
};

/* Heads. Pseudo-header fields are members. path, authority, scheme may be replaced by filters
 * before the router (arena memory); mp_filter_clear_route makes the change count for routing. */
struct mp_req_head {
    enum mp_method method;
    struct mp_str method_name;
    struct mp_str path; /* normalised path and query */
    struct mp_str authority;
    struct mp_str scheme; /* "http" or "https" */
    /* The protocol to change to ("websocket"), "CONNECT" for CONNECT; empty: none. Such a head
     * comes without end, and no body follows: data are the tunnel's bytes, once it is open
     * (core/upgrade.h). */
    struct mp_str upgrade;
    struct mp_hdrs hdrs;
    uint64_t content_length; /* valid when has_content_length */
    bool has_content_length;
    bool ws_key_ours;  /* sec-websocket-key was made here, for a client that needs none */
    bool connect_here; /* CONNECT ends here: the upstream gets the tunnel's bytes alone */
};
struct mp_resp_head {
    unsigned status;
    struct mp_hdrs hdrs;
    uint64_t content_length;
    bool has_content_length;
};

struct mp_filter {
    const struct mp_filter_type *type;
    const void *conf; /* the route's override when there is one, else the chain's; lives as long as
                         the stream. NULL: disabled here, but the type guards */
    struct mp_stream *stream;
    uint64_t timer_ms; /* loop time at which timer_fire runs; 0: none */
    void (*timer_fire)(struct mp_filter *f);
    uint16_t index; /* in the chain */
};
/* The instance's own state. */
static inline void *mp_filter_state(struct mp_filter *f)
{
    return (void *)(f + 1);
}

struct mp_filter_type {
    const char *name;
    size_t state_size;
    /* An instance is made where the filter is disabled, too, with conf NULL: services trust fields
     * that are this filter's to set, so a client's must go there as everywhere. */
    bool guards;
    enum mp_verdict (*on_request_headers)(struct mp_filter *f, struct mp_req_head *h, bool end);
    enum mp_verdict (*on_request_data)(struct mp_filter *f, struct mp_str data, bool end);
    enum mp_verdict (*on_request_trailers)(struct mp_filter *f, struct mp_hdrs *t);
    enum mp_verdict (*on_response_headers)(struct mp_filter *f, struct mp_resp_head *h, bool end);
    enum mp_verdict (*on_response_data)(struct mp_filter *f, struct mp_str data, bool end);
    enum mp_verdict (*on_response_trailers)(struct mp_filter *f, struct mp_hdrs *t);
    /* Terminal filters: output towards the client has drained; more may be produced. */
    void (*on_response_writable)(struct mp_filter *f);
    /* Terminal filters: the route's timeout has come (mp_filter_set_deadline). */
    void (*on_deadline)(struct mp_filter *f);
    /* The stream is over (finished, reset, timed out); called once for every instance, before the
     * access log. Release what is outside the arena. */
    void (*on_end)(struct mp_filter *f);
    /* On the main thread, after a configuration has become current and after a change of what
     * mp_filter_host_proxies says: makes stats visible before traffic, sets gauges that tell of
     * configuration. confs: this type's in the chains of all listeners, in their order; n may be 0.
     */
    void (*on_published)(struct mp_filter_host *host, const void *const *confs, uint32_t n);
    /* Chain configuration: optional per-worker or per-generation preparation is done in the conf
     * parser (conf/registry.h); conf memory lives in the snapshot's arena. */
};

/* ---- services for filters ---- */

/* Answers the request here. body is copied; headers: pairs name,value ended by a NULL name (may be
 * NULL), borrowed until the stream ends. content-length and, when the body is not empty and none is
 * given, content-type: text/plain are added. details: static text for %RESPONSE_CODE_DETAILS%.
 * Returns MP_VERDICT_REPLY. */
struct mp_reply_header {
    struct mp_str name, value;
};
enum mp_verdict mp_filter_reply(struct mp_filter *f, unsigned status,
                                const struct mp_reply_header *headers, struct mp_str body,
                                const char *details);

/* For filters that change bodies: from inside a data or trailers callback, any number of times;
 * that callback returns TAKEN, and the following filters have seen what was passed, nothing else.
 * end must come as it came, with the last piece; trailers that are taken become data with end. Such
 * a filter does not pause, and has seen to content-length. */
void mp_filter_pass_request(struct mp_filter *f, struct mp_str data, bool end);
void mp_filter_pass_response(struct mp_filter *f, struct mp_str data, bool end);

/* Go on after PAUSE; never from inside the callback that will return PAUSE. */
void mp_filter_resume_request(struct mp_filter *f);
void mp_filter_resume_response(struct mp_filter *f);

/* Terminal filters produce the response with these. A head without end is followed by data, then
 * trailers or end. */
void mp_filter_respond_1xx(struct mp_filter *f, struct mp_resp_head *h);
void mp_filter_respond_headers(struct mp_filter *f, struct mp_resp_head *h, bool end);
void mp_filter_respond_data(struct mp_filter *f, struct mp_str data, bool end);
void mp_filter_respond_trailers(struct mp_filter *f, struct mp_hdrs *t);
/* Terminal filters: whether more of the request's body may come now. */
void mp_filter_want_request(struct mp_filter *f, bool wanted);
/* Terminal filters: on_deadline is called after ms; 0 cancels. */
void mp_filter_set_deadline(struct mp_filter *f, uint64_t ms);
/* False: stop producing until on_response_writable. */
bool mp_filter_response_wanted(const struct mp_filter *f);
/* The response cannot be completed: before its head a local reply of that status is sent, after it
 * the stream is reset. flags: bits of enum mp_response_flag (core/stream.h). */
void mp_filter_fail(struct mp_filter *f, unsigned status, uint32_t flags, struct mp_str body,
                    const char *details);

/* The stream's arena and facts. */
struct mp_arena *mp_filter_arena(const struct mp_filter *f);
struct mp_req_head *mp_filter_request(const struct mp_filter *f);
/* Wall clock in ns; monotonic clock in ns. */
uint64_t mp_filter_wall_ns(const struct mp_filter *f);
uint64_t mp_filter_now_ns(const struct mp_filter *f);
/* Reads the monotonic clock now (about 25 ns), where mp_filter_now_ns is that of the loop's turn:
 * for times that may be shorter than a turn. */
uint64_t mp_filter_clock_ns(const struct mp_filter *f);
/* Monotonic ns when the request's first byte was seen. */
uint64_t mp_filter_start_ns(const struct mp_filter *f);
uint64_t mp_filter_random(const struct mp_filter *f);
/* Index of the worker for mp_stat_block. */
uint32_t mp_filter_writer(const struct mp_filter *f);
/* This worker's block of the schema's stats for a name ("": the only one of its schema). Counters
 * outlive configurations. A schema has at most 256 names in the process; later ones count under
 * "other". schema: a constant. No lock but for the first sight of a name. */
const struct mp_stat_block *
mp_filter_stats(const struct mp_filter *f, const struct mp_stat_schema *schema, struct mp_str name);
/* Bits that filters of one stream leave for those behind them. */
enum {
    MP_FILTER_MARK_AUTH = 1 /* auth has looked at it */,
    MP_FILTER_MARK_EXEMPT = 2 /* and its path is exempt */,
    MP_FILTER_MARK_HEALTH_CHECK = 4 /* asks whether we live */
};
void mp_filter_mark(struct mp_filter *f, uint32_t bits);
uint32_t mp_filter_marks(const struct mp_filter *f);
/* How many proxies run under the licence as the control plane reports it; false: nothing was
 * reported. */
bool mp_filter_proxies(const struct mp_filter *f, uint32_t *ret);
/* The same for on_published; the block is the main thread's. */
const struct mp_stat_block *mp_filter_host_stats(struct mp_filter_host *host,
                                                 const struct mp_stat_schema *schema,
                                                 struct mp_str name);
/* Some thread has asked for the schema's stats before. */
bool mp_filter_host_has_stats(const struct mp_filter_host *host,
                              const struct mp_stat_schema *schema);
bool mp_filter_host_proxies(const struct mp_filter_host *host, uint32_t *ret);
/* Bytes of body so far, without heads and framing. */
uint64_t mp_filter_request_bytes(const struct mp_filter *f);
uint64_t mp_filter_response_bytes(const struct mp_filter *f);
/* Status of the response, 0 before its head. */
unsigned mp_filter_response_status(const struct mp_filter *f);
/* True while the proxy is draining or was failed by hand (admin): health_check answers 503. */
bool mp_filter_server_draining(const struct mp_filter *f);
/* Forgets the route that was chosen; the next look chooses again. */
void mp_filter_clear_route(struct mp_filter *f);
/* All conditions hold. Regular expressions are not for filters: refuse MP_MATCH_REGEX when parsing.
 */
bool mp_filter_headers_match(const struct mp_conf_header_match *list, uint32_t n,
                             const struct mp_req_head *h);
/* Text address without port of the client, after trusted hops; valid for the stream's life. */
struct mp_str mp_filter_client_ip(const struct mp_filter *f);
/* Wakes the filter on its worker after ms; one timer per instance; 0 cancels. */
void mp_filter_set_timer(struct mp_filter *f, uint64_t ms, void (*fire)(struct mp_filter *f));

/* ---- for filters/registry.c ---- */

/* The terminal filter of ordinary chains (core/router.h). */
extern const struct mp_conf_filter_type mp_conf_filter_router;
/* conf/registry.h check_format: format strings with %OPERATORS% (core/subst.h). */
mp_err mp_subst_check(struct mp_str format, const char **ret_cause);
