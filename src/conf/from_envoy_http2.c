/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* http2_protocol_options, of either side. */
#include "conf/build.h"

#define WINDOW_MIN 65535
#define WINDOW_MAX INT32_MAX

static void build_keepalive(struct mp_conf_build *b,
                            const Envoy__Config__Core__V3__KeepaliveSettings *m,
                            struct mp_conf_http2 *ret)
{
    mp_build_ms(b, "interval", m->interval, &ret->ka_interval_ms);
    mp_build_ms(b, "connection_idle_interval", m->connection_idle_interval, &ret->ka_idle_ms);
    mp_build_ms(b, "timeout", m->timeout, &ret->ka_timeout_ms);
    if (ret->ka_timeout_ms == 0) {
        mp_build_missing(b, "timeout", "add timeout: 5s", "there is no time for the answer");
    }
    if (ret->ka_interval_ms == 0 && ret->ka_idle_ms == 0) {
        mp_build_missing(b, "interval", "add interval: 30s", "nothing says when to ask");
    }
}

void mp_build_http2(struct mp_conf_build *b, const Envoy__Config__Core__V3__Http2ProtocolOptions *m,
                    struct mp_conf_http2 *ret)
{
    const struct {
        const char *name;
        const pb_u32 *value;
        uint32_t min, max;
        uint32_t *to;
    } fields[] = {
        {"hpack_table_size", m->hpack_table_size, 0, 1 << 20, &ret->table_size},
        {"max_concurrent_streams", m->max_concurrent_streams, 1, INT32_MAX,
         &ret->max_concurrent_streams},
        {"initial_stream_window_size", m->initial_stream_window_size, WINDOW_MIN, WINDOW_MAX,
         &ret->stream_window},
        {"initial_connection_window_size", m->initial_connection_window_size, WINDOW_MIN,
         WINDOW_MAX, &ret->conn_window},
        {"max_outbound_control_frames", m->max_outbound_control_frames, 1, UINT32_MAX,
         &ret->outbound_control_frames_max},
        {"max_consecutive_inbound_frames_with_empty_payload",
         m->max_consecutive_inbound_frames_with_empty_payload, 1, UINT32_MAX,
         &ret->empty_frames_max},
        {"max_inbound_priority_frames_per_stream", m->max_inbound_priority_frames_per_stream, 1,
         UINT32_MAX, &ret->priority_frames_per_stream},
        {"max_inbound_window_update_frames_per_data_frame_sent",
         m->max_inbound_window_update_frames_per_data_frame_sent, 1, UINT32_MAX,
         &ret->window_updates_per_data_frame},
    };
    for (size_t i = 0; i < MP_COUNTOF(fields); i++) {
        mp_build_u32(b, fields[i].name, fields[i].value, fields[i].min, fields[i].max,
                     fields[i].to);
    }
    ret->table_size_set = m->hpack_table_size != NULL;
    ret->allow_connect = m->allow_connect;
    if (m->connection_keepalive) {
        size_t mark = mp_build_enter(b, "connection_keepalive");
        build_keepalive(b, m->connection_keepalive, ret);
        mp_build_leave(b, mark);
    }
}
