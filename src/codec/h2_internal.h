/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Between the files of the HTTP/2 session. */
#pragma once
#include <nghttp2/nghttp2.h>
#include "codec/h2_session.h"

/* Fields as nghttp2 takes them; values lie behind the array when they are a copy. */
struct mp_h2_fields {
    size_t size, n;
    nghttp2_nv v[];
};

/* ---- h2_head.c: the block under way ---- */
void mp_h2_head_begin(struct mp_h2_session *h, struct mp_h2_stream *st, bool trailers);
void mp_h2_head_field(struct mp_h2_session *h, struct mp_str name, struct mp_str value);
/* The block is complete; end: END_STREAM. Returns the verdict, st->fault_text says why. */
enum mp_h2_fault mp_h2_head_end(struct mp_h2_session *h, bool end);

/* ---- h2_out.c ---- */
void mp_h2_out_free(struct mp_h2_stream *st);
ssize_t mp_h2_on_read(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t n, uint32_t *flags,
                      nghttp2_data_source *source, void *arg);
int mp_h2_on_send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *hd, size_t n,
                       nghttp2_data_source *source, void *arg);
int mp_h2_on_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *arg);

/* ---- h2_flood.c ---- */
void mp_h2_flood_init(struct mp_h2_session *h);
void mp_h2_flood_tick(struct mp_h2_session *h, uint64_t now_ms);
/* False: the budget is used up, GOAWAY has been queued and the session has ended. */
bool mp_h2_spend(struct mp_h2_session *h, enum mp_h2_flood kind);
bool mp_h2_flood_frame(struct mp_h2_session *h, const nghttp2_frame_hd *hd);
void mp_h2_flood_end(struct mp_h2_session *h, enum mp_h2_flood kind);

/* ---- h2_session.c ---- */
void mp_h2_end(struct mp_h2_session *h, enum mp_h2_code code);
/* We have reset the stream: frames that were under way are ignored. */
void mp_h2_note_cut(struct mp_h2_session *h, uint32_t id);
void mp_h2_malformed(struct mp_h2_stream *st, const char *why);
