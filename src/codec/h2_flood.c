/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* How often a peer may do what costs us and brings it nothing. Each kind has a budget that is spent
 * one by one and regained with time; when one is used up the connection ends with
 * ENHANCE_YOUR_CALM. */
#include "codec/h2_internal.h"

static const struct {
    const char *name;
    uint32_t burst, per_second;
} kinds[MP_H2_FLOODS] = {
#define MP_H2_FLOOD(token, name, burst, per_second, help) {name, burst, per_second},
#include "codec/h2_flood.def"
#undef MP_H2_FLOOD
};

const char *mp_h2_flood_name(enum mp_h2_flood f)
{
    return (unsigned)f < MP_H2_FLOODS ? kinds[f].name : "?";
}

void mp_h2_flood_init(struct mp_h2_session *h)
{
    for (unsigned i = 0; i < MP_H2_FLOODS; i++) {
        h->tokens[i] = kinds[i].burst * 1000;
    }
    h->refilled_ms = h->now_ms;
}

/* Time gives back, in steps of a tenth of a second. */
void mp_h2_flood_tick(struct mp_h2_session *h, uint64_t now_ms)
{
    h->now_ms = now_ms;
    uint64_t passed = now_ms - h->refilled_ms;
    if (MP_LIKELY(passed < 100)) {
        return;
    }
    h->refilled_ms = now_ms;
    passed = MP_MIN(passed, UINT64_C(1000000));
    for (unsigned i = 0; i < MP_H2_FLOODS; i++) {
        uint64_t more = h->tokens[i] + passed * kinds[i].per_second;
        h->tokens[i] = (uint32_t)MP_MIN(more, (uint64_t)kinds[i].burst * 1000);
    }
}

void mp_h2_flood_end(struct mp_h2_session *h, enum mp_h2_flood kind)
{
    if (h->ended) {
        return;
    }
    h->flooded = true;
    mp_h2_end(h, MP_H2_ENHANCE_YOUR_CALM);
    if (!h->stopped) {
        h->ops->on_flood(h, kind);
    }
}

bool mp_h2_spend(struct mp_h2_session *h, enum mp_h2_flood kind)
{
    if (h->tokens[kind] >= 1000) {
        h->tokens[kind] -= 1000;
        return true;
    }
    mp_h2_flood_end(h, kind);
    return false;
}

static bool is_empty(const nghttp2_frame_hd *hd)
{
    bool ends = (hd->flags & NGHTTP2_FLAG_END_STREAM) != 0 && hd->type != NGHTTP2_CONTINUATION;
    return hd->length == 0 && !ends &&
           (hd->type == NGHTTP2_DATA || hd->type == NGHTTP2_HEADERS ||
            hd->type == NGHTTP2_CONTINUATION);
}

/* A window update is earned by data that we have sent, a priority by a stream that was opened. */
static bool window_update(struct mp_h2_session *h)
{
    uint64_t earned =
        5 + 2 * (h->streams_seen + h->conf->window_updates_per_data_frame * h->data_sent);
    return ++h->window_updates <= earned || mp_h2_spend(h, MP_H2_FLOOD_WINDOW_UPDATE);
}

static bool priority(struct mp_h2_session *h)
{
    uint64_t earned = (uint64_t)h->conf->priority_frames_per_stream * (1 + h->streams_seen);
    return ++h->priorities <= earned || mp_h2_spend(h, MP_H2_FLOOD_PRIORITY);
}

bool mp_h2_flood_frame(struct mp_h2_session *h, const nghttp2_frame_hd *hd)
{
    if (MP_UNLIKELY(is_empty(hd))) {
        if (++h->empty_run > h->conf->empty_frames_max) {
            mp_h2_flood_end(h, MP_H2_FLOOD_EMPTY);
            return false;
        }
        if (!mp_h2_spend(h, MP_H2_FLOOD_EMPTY)) {
            return false;
        }
    } else {
        h->empty_run = 0;
    }
    switch (hd->type) {
    case NGHTTP2_SETTINGS:
        return (hd->flags & NGHTTP2_FLAG_ACK) != 0 || mp_h2_spend(h, MP_H2_FLOOD_SETTINGS);
    case NGHTTP2_PING:
        return (hd->flags & NGHTTP2_FLAG_ACK) != 0 || mp_h2_spend(h, MP_H2_FLOOD_PING);
    case NGHTTP2_CONTINUATION:
        return mp_h2_spend(h, MP_H2_FLOOD_CONTINUATION);
    case NGHTTP2_WINDOW_UPDATE:
        return window_update(h);
    case NGHTTP2_PRIORITY:
    case NGHTTP2_PRIORITY_UPDATE:
        return priority(h);
    default: /* RST_STREAM is judged by what it resets */
        return true;
    }
}
