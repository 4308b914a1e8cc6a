/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Runs a stream through its filters: core's side of core/filter.h. */
#pragma once
#include <stdbool.h>
#include "core/stream.h"

/* Makes the instances. False: out of memory. */
bool mp_chain_new(struct mp_stream *s);
void mp_chain_end(struct mp_stream *s);
void mp_chain_request_headers(struct mp_stream *s, bool end);
void mp_chain_request_data(struct mp_stream *s, struct mp_str data, bool end);
void mp_chain_request_trailers(struct mp_stream *s);
void mp_chain_local_reply(struct mp_stream *s, struct mp_resp_head *h, struct mp_str body);
void mp_chain_writable(struct mp_stream *s);
void mp_chain_fire_timers(struct mp_stream *s, uint64_t now_ms);
void mp_chain_fire_deadline(struct mp_stream *s);

/* stream.c: the end of the response chain. */
void mp_stream_send_1xx(struct mp_stream *s, struct mp_resp_head *h);
void mp_stream_send_headers(struct mp_stream *s, struct mp_resp_head *h, bool end);
void mp_stream_send_data(struct mp_stream *s, struct mp_str data, bool end);
void mp_stream_send_trailers(struct mp_stream *s, struct mp_hdrs *t);
void mp_stream_free(struct mp_stream *s);
